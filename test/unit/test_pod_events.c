/* Pod events: which state of a volume is a trouble, how sure that is, and the words. */
#include "agent/pod_events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/str.h"

#define NOT_FOUND "secret \"db\" not found"
#define FORBIDDEN "secrets \"db\" is forbidden: User \"system:node:n\" cannot list resource \"secrets\""
#define NO_ANSWER "failed to sync secret cache: timed out waiting for the condition"

static struct pod pod;
static struct pod_state state_of_pod;
static struct pod_volume spec;
static struct pod_volume_source sources[3];
static struct store_entry entry, other;
static const struct store_entry *entries[] = { NULL, &other, &entry };
static struct volume volume;

static int setup(void **state)
{
	static char ns[] = "ns", name[] = "web", uid[] = "u1", version[] = "7", creds[] = "creds", db[] = "db";

	pod = (struct pod){ .ns = ns, .name = name, .uid = uid, .resource_version = version };
	state_of_pod = (struct pod_state){ .pod = &pod };
	memset(sources, 0, sizeof(sources));
	sources[0] = (struct pod_volume_source){ .kind = POD_SOURCE_SECRET, .name = db };
	spec = (struct pod_volume){ .name = creds, .kind = POD_VOLUME_SECRET, .sources = sources, .n_sources = 1 };
	entry = (struct store_entry){ .kind = OBJECT_SECRET, .ns = "ns", .name = "db" };
	other = (struct store_entry){ .kind = OBJECT_SECRET, .ns = "ns", .name = "well", .state = STORE_PRESENT };
	volume = (struct volume){
		.pod = &state_of_pod, .spec = &spec, .entries = entries, .n_sources = ARRAY_SIZE(entries)
	};
	return 0;
}

static void set(char *where, const char *text)
{
	snprintf(where, ERR_TEXT_MAX, "%s", text);
}

static void doubt_is_how_the_trouble_may_end(void **state)
{
	static const struct {
		enum volume_condition condition;
		enum store_state known;
		const char *source, *error; /* what is wrong with the Secret, with the volume */
		const char *text;
		enum event_doubt doubt;
	} cases[] = {
		{ VOLUME_WAITING, STORE_ABSENT, "", NOT_FOUND, NOT_FOUND, EVENT_CERTAIN },
		{ VOLUME_FAILED, STORE_PRESENT, "", "invalid path: x", "invalid path: x", EVENT_CERTAIN },
		{ VOLUME_READY, STORE_ABSENT, "", NOT_FOUND, NOT_FOUND, EVENT_CERTAIN },
		{ VOLUME_WAITING, STORE_UNSYNCED, "", "has not been fetched yet", NO_ANSWER, EVENT_WAITING },
		{ VOLUME_WAITING, STORE_UNSYNCED, FORBIDDEN, FORBIDDEN, FORBIDDEN, EVENT_WAITING },
		{ VOLUME_READY, STORE_UNSYNCED, "", "has not been fetched yet", NO_ANSWER, EVENT_STALE },
		{ VOLUME_READY, STORE_PRESENT, FORBIDDEN, FORBIDDEN, FORBIDDEN, EVENT_STALE },
		{ VOLUME_READY, STORE_PRESENT, FORBIDDEN, "no space", "no space", EVENT_CERTAIN },
	};
	struct event_trouble t;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		volume.condition = cases[i].condition;
		entry.state = cases[i].known;
		set(entry.error, cases[i].source);
		set(volume.error, cases[i].error);
		assert_true(pod_events_trouble(&volume, &t));
		assert_string_equal(t.text, cases[i].text);
		if (t.doubt != cases[i].doubt)
			fail_msg("case %zu: %d", i, t.doubt);
		assert_string_equal(t.volume, "creds");
		assert_string_equal(t.pod.ns, "ns");
		assert_string_equal(t.pod.name, "web");
		assert_string_equal(t.pod.uid, "u1");
		assert_string_equal(t.pod.resource_version, "7");
	}
}

static void mirror_pods_trouble_is_certain(void **state)
{
	struct event_trouble t;

	volume.n_sources = 1;
	volume.condition = VOLUME_FAILED;
	set(volume.error, "static pods may not reference secrets");
	assert_true(pod_events_trouble(&volume, &t));
	assert_int_equal(t.doubt, EVENT_CERTAIN);
}

static void some_are_in_no_trouble(void **state)
{
	struct event_trouble t;

	volume.condition = VOLUME_READY;
	assert_false(pod_events_trouble(&volume, &t));
	set(volume.error, NOT_FOUND);
	assert_true(pod_events_trouble(&volume, &t));
	pod.deleting = true;
	assert_false(pod_events_trouble(&volume, &t));
	pod.deleting = false;
	state_of_pod.cached = true;
	assert_false(pod_events_trouble(&volume, &t));
}

static char *rotation(const char *before, const char *now)
{
	char *message;

	volume.resource_version = (char *)(uintptr_t)now;
	assert_int_equal(pod_events_rotation(&volume, before, &message), 0);
	return message;
}

static void rotation_says_what_is_shown(void **state)
{
	cleanup_free char *there = rotation("12", "1234"), *gone = rotation("12", ""), *resumed = rotation(NULL, "5");

	assert_null(rotation("12", "12")); /* but for modes or owners */
	assert_string_equal(there, "Updated volume \"creds\": secret \"db\" is at resourceVersion 1234");
	assert_string_equal(gone, "Updated volume \"creds\": secret \"db\" does not exist any more");
	assert_string_equal(resumed, "Updated volume \"creds\": secret \"db\" is at resourceVersion 5");
}

static void of_several_sources_only_secrets_rotate(void **state)
{
	cleanup_free char *message = NULL;

	spec.kind = POD_VOLUME_PROJECTED;
	spec.n_sources = 3;
	sources[0].kind = POD_SOURCE_TOKEN;
	sources[1].kind = POD_SOURCE_CONFIG_MAP;
	sources[2].kind = POD_SOURCE_SECRET;
	assert_null(rotation("1,2,3", "9,2,3"));
	assert_null(rotation("1,2,3", "1,9,3"));
	assert_null(rotation(NULL, "1,2,3"));
	message = rotation("1,2,", "1,2,3");
	assert_string_equal(message, "Updated volume \"creds\": its sources are at resourceVersions 1,2,3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(doubt_is_how_the_trouble_may_end, setup),
		cmocka_unit_test_setup(mirror_pods_trouble_is_certain, setup),
		cmocka_unit_test_setup(some_are_in_no_trouble, setup),
		cmocka_unit_test_setup(rotation_says_what_is_shown, setup),
		cmocka_unit_test_setup(of_several_sources_only_secrets_rotate, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
