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
static struct volume_source uses[3];
static struct volume volume;

static int setup(void **state)
{
	static char ns[] = "ns", name[] = "web", uid[] = "u1", version[] = "7", creds[] = "creds", db[] = "db";

	pod = (struct pod){ .ns = ns, .name = name, .uid = uid, .resource_version = version };
	state_of_pod = (struct pod_state){ .pod = &pod };
	memset(sources, 0, sizeof(sources));
	sources[0] = (struct pod_volume_source){ .kind = POD_SOURCE_SECRET, .name = db };
	spec = (struct pod_volume){ .name = creds, .kind = POD_VOLUME_SECRET, .sources = sources, .n_sources = 1 };
	entry = (struct store_entry){ .kind = OBJECT_SECRET, .ns = "ns", .name = "db", .error = ERR_NOTE_NONE };
	other = (struct store_entry){
		.kind = OBJECT_SECRET, .ns = "ns", .name = "well", .state = STORE_PRESENT, .error = ERR_NOTE_NONE
	};
	volume = (struct volume){
		.pod = &state_of_pod,
		.spec = &spec,
		.entries = entries,
		.sources = uses,
		.n_sources = ARRAY_SIZE(entries),
		.error = ERR_NOTE_NONE,
	};
	memset(uses, 0, sizeof(uses));
	return 0;
}

static int teardown(void **state)
{
	err_note_clear(&entry.error);
	err_note_clear(&volume.error);
	return 0;
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
		err_note_set(&entry.error, cases[i].source);
		err_note_set(&volume.error, cases[i].error);
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

/* Known for another pod, and asked for once more for this one. */
static void what_is_held_has_no_answer_yet(void **state)
{
	struct event_trouble t;

	volume.condition = VOLUME_WAITING;
	entry.state = STORE_PRESENT;
	uses[2].need = 1;
	err_note_set(&volume.error, "has not been fetched yet");
	assert_true(pod_events_trouble(&volume, &t));
	assert_string_equal(t.text, NO_ANSWER);
	assert_int_equal(t.doubt, EVENT_WAITING);
}

/* Its objects have come since. */
static void what_is_due_may_be_well(void **state)
{
	struct event_trouble t;

	volume.condition = VOLUME_WAITING;
	volume.is_due = true;
	entry.state = STORE_PRESENT;
	err_note_set(&volume.error, "has not been fetched yet");
	assert_true(pod_events_trouble(&volume, &t));
	assert_int_equal(t.doubt, EVENT_WAITING);
}

static void unmounted_volumes_are_listed(void **state)
{
	static char more[] = "more", bad[] = "bad", well[] = "well";
	struct pod_volume specs[] = { spec, { .name = more }, { .name = bad }, { .name = well } };
	static const enum volume_condition conditions[] = { VOLUME_WAITING, VOLUME_PUBLISHING, VOLUME_FAILED,
							    VOLUME_READY };
	struct volume volumes[4];
	struct event_trouble t;

	for (size_t i = 0; i < ARRAY_SIZE(volumes); i++)
		volumes[i] = (struct volume){ .pod = &state_of_pod, .spec = &specs[i], .condition = conditions[i] };
	state_of_pod.volumes = volumes;
	state_of_pod.n_volumes = ARRAY_SIZE(volumes);
	assert_true(pod_events_unmounted(&state_of_pod, &t));
	assert_string_equal(t.text, "unmounted volumes=[creds more bad], unattached volumes=[], failed to process "
				    "volumes=[bad]: timed out waiting for the condition");
	assert_string_equal(t.volume, "");
	assert_string_equal(t.pod.uid, "u1");
	assert_int_equal(t.doubt, EVENT_UNMOUNTED);
	pod.deleting = true;
	assert_false(pod_events_unmounted(&state_of_pod, &t));
	pod.deleting = false;
	for (size_t i = 0; i < ARRAY_SIZE(volumes); i++)
		volumes[i].condition = VOLUME_READY;
	assert_false(pod_events_unmounted(&state_of_pod, &t));
}

static void mirror_pods_trouble_is_certain(void **state)
{
	struct event_trouble t;

	volume.n_sources = 1;
	volume.condition = VOLUME_FAILED;
	err_note_set(&volume.error, "static pods may not reference secrets");
	assert_true(pod_events_trouble(&volume, &t));
	assert_int_equal(t.doubt, EVENT_CERTAIN);
}

static void some_are_in_no_trouble(void **state)
{
	struct event_trouble t;

	volume.condition = VOLUME_READY;
	assert_false(pod_events_trouble(&volume, &t));
	err_note_set(&volume.error, NOT_FOUND);
	assert_true(pod_events_trouble(&volume, &t));
	pod.deleting = true;
	assert_false(pod_events_trouble(&volume, &t));
	pod.deleting = false;
	state_of_pod.cached = true;
	assert_false(pod_events_trouble(&volume, &t));
}

static enum event_kind kind;

static char *rotation(const char *before, const char *now)
{
	char *message;

	volume.resource_version = (char *)(uintptr_t)now;
	assert_int_equal(pod_events_rotation(&volume, before, &kind, &message), 0);
	return message;
}

static void rotation_says_what_is_shown(void **state)
{
	cleanup_free char *there = rotation("12", "1234"), *gone = rotation("12", ""), *resumed = rotation(NULL, "5");

	assert_int_equal(kind, EVENT_SECRET_ROTATED);
	assert_null(rotation("12", "12")); /* but for modes or owners */
	assert_string_equal(there, "Updated volume \"creds\": secret \"db\" is at resourceVersion 1234");
	assert_string_equal(gone, "Updated volume \"creds\": secret \"db\" does not exist any more");
	assert_string_equal(resumed, "Updated volume \"creds\": secret \"db\" is at resourceVersion 5");
}

static void config_map_rotates_too(void **state)
{
	cleanup_free char *there = NULL, *gone = NULL;

	spec.kind = POD_VOLUME_CONFIG_MAP;
	sources[0].kind = POD_SOURCE_CONFIG_MAP;
	there = rotation("12", "1234");
	assert_int_equal(kind, EVENT_CONFIG_MAP_ROTATED);
	gone = rotation("12", "");
	assert_string_equal(there, "Updated volume \"creds\": configmap \"db\" is at resourceVersion 1234");
	assert_string_equal(gone, "Updated volume \"creds\": configmap \"db\" does not exist any more");
	spec.kind = POD_VOLUME_DOWNWARD_API;
	assert_null(rotation("", ""));
}

static void of_several_sources_a_secret_counts_most(void **state)
{
	cleanup_free char *message = NULL, *config = NULL, *both = NULL;

	spec.kind = POD_VOLUME_PROJECTED;
	spec.n_sources = 3;
	sources[0].kind = POD_SOURCE_TOKEN;
	sources[1].kind = POD_SOURCE_CONFIG_MAP;
	sources[2].kind = POD_SOURCE_SECRET;
	assert_null(rotation("1,2,3", "9,2,3"));
	config = rotation("1,2,3", "1,9,3");
	assert_string_equal(config, "Updated volume \"creds\": its sources are at resourceVersions 1,9,3");
	assert_int_equal(kind, EVENT_CONFIG_MAP_ROTATED);
	both = rotation("1,2,3", "1,9,4");
	assert_non_null(both);
	assert_int_equal(kind, EVENT_SECRET_ROTATED);
	assert_null(rotation(NULL, "1,2,3"));
	message = rotation("1,2,", "1,2,3");
	assert_string_equal(message, "Updated volume \"creds\": its sources are at resourceVersions 1,2,3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(doubt_is_how_the_trouble_may_end, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_held_has_no_answer_yet, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_due_may_be_well, setup, teardown),
		cmocka_unit_test_setup_teardown(unmounted_volumes_are_listed, setup, teardown),
		cmocka_unit_test_setup_teardown(mirror_pods_trouble_is_certain, setup, teardown),
		cmocka_unit_test_setup_teardown(some_are_in_no_trouble, setup, teardown),
		cmocka_unit_test_setup_teardown(rotation_says_what_is_shown, setup, teardown),
		cmocka_unit_test_setup_teardown(config_map_rotates_too, setup, teardown),
		cmocka_unit_test_setup_teardown(of_several_sources_a_secret_counts_most, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
