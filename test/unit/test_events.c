/* Events: what is told, when, how often, and under which name; with a clock that the test moves. */
#include "agent/events.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <inttypes.h>
#include <sodium.h>

#include "common/str.h"

#define SEC	    USEC_PER_SEC
#define REALTIME    (UINT64_C(1700000000) * SEC)
#define NOT_FOUND   "secret \"db\" not found"
#define VOLUMES_MAX 16384

static const struct source_events ALL = { .failures = true, .rotations = true };

/* A volume as the test has it. */
struct volume {
	char uid[32], name[32], text[256]; /* text "": it is well */
	enum event_doubt doubt;
};

static struct world {
	struct events *events;
	uint64_t now;
	struct volume *volumes;
	size_t n_volumes;
} w;

static struct event_trouble trouble_of(const struct volume *v)
{
	return (struct event_trouble){ .pod = { .ns = "ns", .name = "web", .uid = v->uid, .resource_version = "7" },
				       .volume = v->name,
				       .text = v->text,
				       .doubt = v->doubt };
}

static bool find(void *userdata, const char *uid, const char *volume, struct event_trouble *ret)
{
	for (size_t i = 0; i < w.n_volumes; i++) {
		if (!str_eq(w.volumes[i].uid, uid) || !str_eq(w.volumes[i].name, volume))
			continue;
		*ret = trouble_of(&w.volumes[i]);
		return *w.volumes[i].text;
	}
	return false;
}

static void begin(bool resumes, const struct source_events *tuning)
{
	events_free(TAKE_PTR(w.events));
	assert_int_equal(events_new(tuning, resumes, find, NULL, &w.events), 0);
}

static int setup(void **state)
{
	assert_true(sodium_init() >= 0);
	w = (struct world){ .now = 1000 * SEC };
	w.volumes = calloc(VOLUMES_MAX, sizeof(*w.volumes));
	begin(false, &ALL);
	return 0;
}

static int teardown(void **state)
{
	events_free(w.events);
	free(w.volumes);
	return 0;
}

static struct volume *volume(const char *uid, const char *name)
{
	for (size_t i = 0; i < w.n_volumes; i++)
		if (str_eq(w.volumes[i].uid, uid) && str_eq(w.volumes[i].name, name))
			return &w.volumes[i];
	assert_true(w.n_volumes < VOLUMES_MAX);
	snprintf(w.volumes[w.n_volumes].uid, sizeof(w.volumes[0].uid), "%s", uid);
	snprintf(w.volumes[w.n_volumes].name, sizeof(w.volumes[0].name), "%s", name);
	return &w.volumes[w.n_volumes++];
}

static void trouble(const char *uid, const char *name, const char *text, enum event_doubt doubt)
{
	struct volume *v = volume(uid, name);

	snprintf(v->text, sizeof(v->text), "%s", text);
	v->doubt = doubt;
}

static void look(void)
{
	events_look_begin(w.events);
	for (size_t i = 0; i < w.n_volumes; i++) {
		const struct event_trouble t = trouble_of(&w.volumes[i]);

		if (*w.volumes[i].text)
			events_look(w.events, &t, w.now);
	}
	events_look_end(w.events, w.now);
}

/* The next one to be sent now; NULL: none. */
static struct event *next(void)
{
	struct event *e = NULL;
	int r = events_next(w.events, w.now, REALTIME + w.now, &e);

	assert_int_equal(r, e ? 0 : -ENOENT);
	return e;
}

/* How many are to be sent now, and the last of them (the caller's, or NULL). */
static unsigned drain(struct event **ret_last)
{
	struct event *e;
	unsigned n = 0;

	if (ret_last)
		*ret_last = NULL;
	while ((e = next())) {
		n++;
		if (ret_last) {
			event_free(*ret_last);
			*ret_last = e;
		} else {
			event_free(e);
		}
	}
	return n;
}

static unsigned looked_after(uint64_t usec)
{
	w.now += usec;
	look();
	return drain(NULL);
}

static void rotate(const char *message)
{
	const struct event_pod pod = { .ns = "ns", .name = "web", .uid = "u1", .resource_version = "7" };

	events_notice(w.events, EVENT_SECRET_ROTATED, &pod, message, REALTIME + w.now);
}

static void rotate_n(unsigned n)
{
	char message[64];

	snprintf(message, sizeof(message), "revision %u", n);
	rotate(message);
}

/* ---- troubles ---- */

static void failure_has_the_kubelets_words(void **state)
{
	cleanup_event struct event *e = NULL;

	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	look();
	assert_int_equal(looked_after(EVENTS_CERTAIN_USEC - 1), 0);
	w.now++;
	look();
	e = next();
	assert_non_null(e);
	assert_string_equal(e->message, "MountVolume.SetUp failed for volume \"creds\" : secret \"db\" not found");
	assert_string_equal(event_reason(e), "FailedMount");
	assert_string_equal(event_type(e), "Warning");
	assert_string_equal(e->ns, "ns");
	assert_string_equal(e->pod, "web");
	assert_string_equal(e->uid, "u1");
	assert_string_equal(e->resource_version, "7");
	assert_int_equal(e->count, 1);
	assert_int_equal(e->first_usec, REALTIME + w.now);
	assert_int_equal(e->last_usec, REALTIME + w.now);
	assert_null(next());
}

static void what_only_waits_is_told_after_a_time(void **state)
{
	trouble("u1", "creds", "no answer", EVENT_WAITING);
	trouble("u2", "creds", "no answer", EVENT_STALE);
	look();
	assert_int_equal(looked_after(EVENTS_WAITING_USEC - 1), 0);
	assert_int_equal(looked_after(1), 1);
	assert_int_equal(looked_after(EVENTS_STALE_USEC - EVENTS_WAITING_USEC - 1), 1); /* u1 again */
	assert_int_equal(looked_after(1), 1);
}

/* The kubelet's second form, of all volumes of a pod. */
static void pod_whose_volumes_stay_away_is_told_after_two_minutes(void **state)
{
	static const char text[] =
		"unmounted volumes=[creds], unattached volumes=[], failed to process volumes=[]: timed "
		"out waiting for the condition";
	cleanup_event struct event *e = NULL;

	trouble("u1", "", text, EVENT_UNMOUNTED);
	look();
	assert_int_equal(events_stats(w.events).n_troubled, 0); /* it is no volume */
	assert_int_equal(looked_after(123 * SEC - 1), 0);
	w.now++;
	look();
	e = next();
	assert_string_equal(e->message,
			    "Unable to attach or mount volumes: unmounted volumes=[creds], unattached "
			    "volumes=[], failed to process volumes=[]: timed out waiting for the condition");
	assert_string_equal(event_reason(e), "FailedMount");
	assert_string_equal(event_type(e), "Warning");
	assert_true(events_holds(w.events, e));
	assert_int_equal(looked_after(123 * SEC - 1), 0);
	assert_int_equal(looked_after(1), 1);
	trouble("u1", "", "", EVENT_UNMOUNTED);
	assert_false(events_holds(w.events, e));
	assert_int_equal(looked_after(3600 * SEC), 0);
}

static void next_agent_counts_two_minutes_anew(void **state)
{
	begin(true, &ALL);
	trouble("u1", "", "unmounted", EVENT_UNMOUNTED);
	look();
	assert_int_equal(looked_after(123 * SEC - 1), 0);
	assert_int_equal(looked_after(1), 1);
}

static void answer_that_is_bad_is_told_soon(void **state)
{
	trouble("u1", "creds", "no answer", EVENT_WAITING);
	look();
	w.now += 2 * SEC;
	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	look();
	assert_int_equal(looked_after(EVENTS_CERTAIN_USEC), 1);
}

static void what_is_over_in_time_is_never_told(void **state)
{
	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	look();
	w.now += EVENTS_CERTAIN_USEC / 2;
	trouble("u1", "creds", "", EVENT_CERTAIN);
	assert_int_equal(looked_after(EVENTS_CERTAIN_USEC), 0);
	assert_int_equal(events_stats(w.events).n_troubled, 0);
	assert_int_equal(events_due(w.events), USEC_INFINITY);

	/* and not when it is over between the last look and its turn */
	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	look();
	w.now += EVENTS_CERTAIN_USEC;
	look();
	trouble("u1", "creds", "", EVENT_CERTAIN);
	assert_null(next());
}

static void what_is_told_is_what_is_true_then(void **state)
{
	cleanup_event struct event *e = NULL;

	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	look();
	w.now += EVENTS_CERTAIN_USEC;
	look();
	trouble("u1", "creds", "references non-existent secret key: k", EVENT_CERTAIN);
	e = next();
	assert_string_equal(e->message,
			    "MountVolume.SetUp failed for volume \"creds\" : references non-existent secret key: k");
	assert_true(events_holds(w.events, e));
	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	assert_false(events_holds(w.events, e));
	trouble("u1", "creds", "", EVENT_CERTAIN);
	assert_false(events_holds(w.events, e));
}

static void trouble_that_stays_is_counted_ever_more_slowly(void **state)
{
	struct event *first = NULL, *e = NULL;
	uint64_t interval = EVENTS_AGAIN_USEC;

	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	look();
	w.now += EVENTS_CERTAIN_USEC;
	look();
	assert_int_equal(drain(&first), 1);
	for (unsigned count = 2; count <= 12; count++) {
		assert_int_equal(events_due(w.events), w.now + interval);
		assert_int_equal(looked_after(interval - 1), 0);
		w.now++;
		look();
		assert_int_equal(drain(&e), 1);
		assert_int_equal(e->count, count);
		assert_string_equal(e->name, first->name);
		assert_int_equal(e->first_usec, first->first_usec);
		assert_int_equal(e->last_usec, REALTIME + w.now);
		event_free(e);
		interval = MIN(2 * interval, EVENTS_AGAIN_MAX_USEC);
	}
	assert_int_equal(interval, EVENTS_AGAIN_MAX_USEC);
	event_free(first);
}

static void other_words_are_another_event(void **state)
{
	struct event *a = NULL, *b = NULL;

	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	look();
	w.now += 400 * SEC;
	look();
	assert_int_equal(drain(&a), 1);
	trouble("u1", "creds", "references non-existent secret key: k", EVENT_CERTAIN);
	look();
	w.now += EVENTS_CERTAIN_USEC;
	look();
	assert_int_equal(drain(&b), 1);
	assert_string_not_equal(a->name, b->name);
	assert_int_equal(b->count, 1);
	event_free(a);
	event_free(b);
}

static void looks_in_between_change_nothing(void **state)
{
	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	look();
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(looked_after(EVENTS_CERTAIN_USEC / 200), 0);
	assert_int_equal(looked_after(EVENTS_CERTAIN_USEC), 1);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(looked_after(EVENTS_AGAIN_USEC / 200), 0);
}

static void agent_that_takes_over_waits_and_uses_the_same_names(void **state)
{
	struct event *before = NULL, *after = NULL;

	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	look();
	w.now += EVENTS_CERTAIN_USEC;
	look();
	assert_int_equal(drain(&before), 1);

	begin(true, &ALL);
	trouble("u1", "creds", "no answer", EVENT_STALE);
	look();
	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	trouble("u2", "creds", NOT_FOUND, EVENT_CERTAIN); /* a new one has nothing to do with it */
	look();
	assert_int_equal(looked_after(EVENTS_CERTAIN_USEC), 1);
	trouble("u2", "creds", "", EVENT_CERTAIN);
	assert_int_equal(looked_after(EVENTS_RESUMED_USEC - EVENTS_CERTAIN_USEC - 1), 0);
	w.now++;
	look();
	assert_int_equal(drain(&after), 1);
	assert_string_equal(after->name, before->name);
	assert_int_equal(after->count, 1);
	events_counted(w.events, after, 41);
	event_free(after);

	assert_int_equal(looked_after(EVENTS_AGAIN_MAX_USEC - 1), 0);
	w.now++;
	look();
	assert_int_equal(drain(&after), 1);
	assert_int_equal(after->count, 42);
	event_free(after);
	event_free(before);
}

static void switched_off_failures_are_not_told(void **state)
{
	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	look();
	events_tune(w.events, &(struct source_events){ .rotations = true });
	assert_int_equal(events_stats(w.events).n_troubled, 0);
	assert_int_equal(looked_after(400 * SEC), 0);
	assert_int_equal(looked_after(400 * SEC), 0);
	rotate_n(1);
	assert_int_equal(drain(NULL), 1);
	events_tune(w.events, &ALL);
	look();
	assert_int_equal(looked_after(EVENTS_CERTAIN_USEC), 1);
}

/* ---- rotations ---- */

static void rotations_come_in_their_order_behind_failures(void **state)
{
	static const char *const messages[] = { "MountVolume.SetUp failed for volume \"creds\" : " NOT_FOUND,
						"revision 1", "revision 2" };
	uint64_t rotated;

	rotate_n(1);
	rotate_n(2);
	rotated = REALTIME + w.now;
	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	look();
	w.now += EVENTS_CERTAIN_USEC;
	look();
	assert_int_equal(events_stats(w.events).n_queued, 2);
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		cleanup_event struct event *e = next();

		assert_string_equal(e->message, messages[i]);
		assert_int_equal(e->last_usec, i == 0 ? REALTIME + w.now : rotated);
		assert_string_equal(event_reason(e), i == 0 ? "FailedMount" : "SecretRotated");
		assert_string_equal(event_type(e), i == 0 ? "Warning" : "Normal");
	}
	assert_null(next());
}

static void mistake(const char *message)
{
	const struct event_pod pod = { .ns = "ns", .name = "web", .uid = "u1", .resource_version = "7" };

	events_notice(w.events, EVENT_INVALID_OPTION, &pod, message, REALTIME + w.now);
}

static void mistake_is_a_warning_that_is_told_once(void **state)
{
	cleanup_event struct event *e = NULL;

	mistake("annotation x: there is no such option");
	e = next();
	assert_string_equal(event_reason(e), "InvalidVolumeOption");
	assert_string_equal(event_type(e), "Warning");
	assert_string_equal(e->message, "annotation x: there is no such option");
	assert_true(events_holds(w.events, e));
	assert_null(next());
	assert_int_equal(looked_after(400 * SEC), 0);
}

static void mistakes_are_switched_off_with_failures(void **state)
{
	struct event *e;

	rotate_n(1);
	mistake("a");
	mistake("b");
	e = next();
	assert_string_equal(e->message, "revision 1");
	event_free(e);
	e = next();
	rotate_n(2); /* stays when the other kind goes */
	events_tune(w.events, &(struct source_events){ .rotations = true });
	assert_false(events_holds(w.events, e));
	event_free(e);
	mistake("c");
	e = next();
	assert_string_equal(e->message, "revision 2");
	event_free(e);
	assert_null(next());
	assert_int_equal(events_stats(w.events).n_queued, 0);
	assert_int_equal(events_stats(w.events).n_dropped, 0);
	events_tune(w.events, &(struct source_events){ .failures = true });
	rotate_n(3);
	mistake("d");
	e = next();
	assert_string_equal(e->message, "d");
	event_free(e);
}

/* The agent before has told it, or was asked to. */
static void agent_that_takes_over_tells_no_mistake_that_it_finds(void **state)
{
	begin(true, &ALL);
	mistake("a");
	look();
	assert_null(next());
	mistake("b");
	assert_int_equal(drain(NULL), 1);
}

static void oldest_rotation_is_dropped_and_counted(void **state)
{
	cleanup_event struct event *e = NULL;

	for (unsigned i = 1; i <= EVENTS_QUEUE_MAX + 3; i++)
		rotate_n(i);
	assert_int_equal(events_stats(w.events).n_queued, EVENTS_QUEUE_MAX);
	assert_int_equal(events_stats(w.events).n_dropped, 3);
	e = next();
	assert_string_equal(e->message, "revision 4");
}

static void switched_off_rotations_are_forgotten(void **state)
{
	struct event *e;

	rotate_n(1);
	rotate_n(2);
	e = next();
	assert_true(events_holds(w.events, e));
	events_tune(w.events, &(struct source_events){ .failures = true });
	assert_false(events_holds(w.events, e));
	event_free(e);
	rotate_n(3);
	assert_null(next());
	assert_int_equal(events_stats(w.events).n_queued, 0);
}

/* ---- notices ---- */

static void notice(enum event_kind kind)
{
	const struct event_pod pod = { .ns = "ns", .name = "web", .uid = "u1", .resource_version = "7" };

	events_notice(w.events, kind, &pod, "something is missing", REALTIME + w.now);
}

static void notices_are_told_with_the_failures(void **state)
{
	struct event *e;

	events_tune(w.events, &ALL);
	notice(EVENT_NO_PULL_SECRET);
	rotate("a rotation beside it");
	events_tune(w.events, &(struct source_events){ .failures = true });
	e = next();
	assert_string_equal(event_reason(e), "FailedToRetrieveImagePullSecret");
	assert_string_equal(event_type(e), "Warning");
	assert_string_equal(e->message, "something is missing");
	assert_true(events_holds(w.events, e));
	/* the rotation has been forgotten, the notice has not */
	assert_null(next());
	events_tune(w.events, &(struct source_events){ .rotations = true });
	assert_false(events_holds(w.events, e));
	notice(EVENT_NO_PULL_SECRET);
	assert_null(next());
	event_free(e);
}

static void what_is_queued_is_not_queued_again(void **state)
{
	const struct event_pod other = { .ns = "ns", .name = "web", .uid = "u2", .resource_version = "7" };
	struct event *e;

	rotate("somebody else's");
	for (unsigned i = 0; i < EVENTS_QUEUE_MAX + 3; i++)
		notice(EVENT_NO_PULL_SECRET);
	assert_int_equal(events_stats(w.events).n_queued, 2);
	assert_int_equal(events_stats(w.events).n_dropped, 0);
	/* another kind, pod or message is something else */
	notice(EVENT_INVALID_OPTION);
	events_notice(w.events, EVENT_NO_PULL_SECRET, &other, "something is missing", REALTIME + w.now);
	events_notice(w.events, EVENT_NO_PULL_SECRET, &other, "something else is missing", REALTIME + w.now);
	assert_int_equal(events_stats(w.events).n_queued, 5);
	for (unsigned i = 0; i < 5; i++) {
		e = next();
		assert_non_null(e);
		event_free(e);
	}
	/* what has been told is told again */
	notice(EVENT_NO_PULL_SECRET);
	e = next();
	assert_int_equal(e->count, 2);
	event_free(e);
}

/* ---- client-go's three stages ---- */

static void tenth_of_similar_ones_is_combined(void **state)
{
	struct event *e;
	char *name = NULL;

	for (unsigned i = 1; i <= 9; i++) {
		rotate_n(i);
		e = next();
		assert_false(e->combined);
		assert_int_equal(e->count, 1);
		event_free(e);
	}
	for (unsigned i = 10; i <= 20; i++) {
		char message[64];

		snprintf(message, sizeof(message), "(combined from similar events): revision %u", i);
		rotate_n(i);
		e = next();
		assert_true(e->combined);
		assert_string_equal(e->message, message);
		assert_int_equal(e->count, i - 9);
		if (name)
			assert_string_equal(e->name, name);
		free(name);
		name = strdup(e->name);
		event_free(e);
	}
	free(name);
	/* one that is known by itself stays so */
	rotate_n(9);
	e = next();
	assert_false(e->combined);
	assert_int_equal(e->count, 2);
	event_free(e);
}

static void similar_ones_are_forgotten_after_ten_minutes(void **state)
{
	struct event *e;

	for (unsigned i = 1; i <= 9; i++)
		rotate_n(i);
	assert_int_equal(drain(NULL), 9);
	w.now += 600 * SEC;
	rotate_n(10);
	e = next();
	assert_true(e->combined);
	event_free(e);
	w.now += 600 * SEC + 1;
	rotate_n(11);
	e = next();
	assert_false(e->combined);
	event_free(e);
}

static void pod_has_25_and_one_in_five_minutes(void **state)
{
	cleanup_event struct event *e = NULL;

	for (unsigned i = 1; i <= 100; i++)
		rotate_n(i);
	assert_int_equal(drain(NULL), 25);
	assert_int_equal(events_stats(w.events).n_held_back, 75);
	w.now += 300 * SEC - 1;
	rotate_n(101);
	assert_int_equal(drain(NULL), 0);
	w.now += 1;
	rotate_n(102);
	rotate_n(103);
	assert_int_equal(drain(NULL), 1);

	/* what was held back is counted */
	w.now += 300 * SEC;
	rotate_n(104);
	e = next();
	assert_true(e->combined);
	assert_int_equal(e->count, 104 - 9);
}

static void rotations_hide_no_failure_and_no_other_pod(void **state)
{
	const struct event_pod other = { .ns = "ns", .name = "web", .uid = "u2" };

	for (unsigned i = 1; i <= 100; i++)
		rotate_n(i);
	drain(NULL);
	trouble("u1", "creds", NOT_FOUND, EVENT_CERTAIN);
	look();
	assert_int_equal(looked_after(EVENTS_CERTAIN_USEC), 1);
	events_notice(w.events, EVENT_SECRET_ROTATED, &other, "revision 1", REALTIME);
	assert_int_equal(drain(NULL), 1);
}

static void names_tell_pods_kinds_and_messages_apart(void **state)
{
	const struct event_pod pods[] = {
		{ .ns = "a", .name = "web", .uid = "u1" },  { .ns = "b", .name = "web", .uid = "u1" },
		{ .ns = "a", .name = "web2", .uid = "u1" }, { .ns = "a", .name = "web", .uid = "u2" },
		{ .ns = "a", .name = "w", .uid = "ebu1" },
	};
	char names[ARRAY_SIZE(pods) + 1][300];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct event *e;

		events_notice(w.events, EVENT_SECRET_ROTATED, &pods[i % ARRAY_SIZE(pods)],
			      i < ARRAY_SIZE(pods) ? "x" : "y", REALTIME);
		e = next();
		assert_int_equal(e->count, 1);
		snprintf(names[i], sizeof(names[i]), "%s", e->name);
		assert_true(str_starts(e->name, e->pod));
		assert_int_equal(strlen(e->name), strlen(e->pod) + 17);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(strchr(names[i], '.'), strchr(names[j], '.'));
		event_free(e);
	}
}

static void long_names_and_messages_are_cut(void **state)
{
	char name[254], message[3000];
	const struct event_pod pod = { .ns = "ns", .name = name, .uid = "u1" };
	cleanup_event struct event *e = NULL;

	memset(name, 'a', 253);
	name[253] = '\0';
	name[234] = name[235] = '.';
	message[0] = 'x';
	for (size_t i = 1; i + 1 < sizeof(message); i += 2)
		memcpy(message + i, "\xc3\xa4", 2);
	message[sizeof(message) - 1] = '\0';
	events_notice(w.events, EVENT_SECRET_ROTATED, &pod, message, REALTIME);
	e = next();
	assert_int_equal(strlen(e->name), 234 + 17);
	assert_true(str_is_dns_subdomain(e->name));
	assert_int_equal(strlen(e->message), EVENTS_MESSAGE_MAX - 1);
	assert_true(str_is_utf8(e->message, strlen(e->message)));
}

static void requests_are_limited(void **state)
{
	events_tune(w.events, &(struct source_events){ .qps = 5, .burst = 10 });
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(events_admit(w.events, w.now), 0);
	assert_int_equal(events_admit(w.events, w.now), SEC / 5);
	assert_int_equal(events_admit(w.events, w.now), SEC / 5); /* nothing was taken */
	w.now += SEC;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(events_admit(w.events, w.now), 0);
	assert_int_not_equal(events_admit(w.events, w.now), 0);
	events_tune(w.events, &(struct source_events){ .qps = 0 });
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(events_admit(w.events, w.now), 0);
}

/* ---- a flood ---- */

static void ten_thousand_failing_pods_are_each_told_in_turn(void **state)
{
	const unsigned n = 10000;
	unsigned told = 0;

	for (unsigned i = 0; i < n; i++) {
		snprintf(w.volumes[i].uid, sizeof(w.volumes[i].uid), "u%u", i);
		snprintf(w.volumes[i].name, sizeof(w.volumes[i].name), "creds");
		snprintf(w.volumes[i].text, sizeof(w.volumes[i].text), NOT_FOUND);
	}
	w.n_volumes = n;
	events_tune(w.events, &(struct source_events){ .failures = true, .rotations = true, .qps = 5, .burst = 10 });
	look();
	for (unsigned sec = 0; sec < 200; sec++) {
		w.now += SEC;
		look();
		while (events_admit(w.events, w.now) == 0) {
			cleanup_event struct event *e = next();

			assert_non_null(e);
			assert_int_equal(e->count, 1); /* nobody a second time before each had its turn */
			told++;
		}
	}
	assert_in_range(told, 5 * 199, 5 * 200 + 10);
	assert_int_equal(events_stats(w.events).n_troubled, n);
	assert_int_equal(events_stats(w.events).n_dropped, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(failure_has_the_kubelets_words),
		TEST(what_only_waits_is_told_after_a_time),
		TEST(pod_whose_volumes_stay_away_is_told_after_two_minutes),
		TEST(next_agent_counts_two_minutes_anew),
		TEST(answer_that_is_bad_is_told_soon),
		TEST(what_is_over_in_time_is_never_told),
		TEST(what_is_told_is_what_is_true_then),
		TEST(trouble_that_stays_is_counted_ever_more_slowly),
		TEST(other_words_are_another_event),
		TEST(looks_in_between_change_nothing),
		TEST(agent_that_takes_over_waits_and_uses_the_same_names),
		TEST(switched_off_failures_are_not_told),
		TEST(rotations_come_in_their_order_behind_failures),
		TEST(mistake_is_a_warning_that_is_told_once),
		TEST(mistakes_are_switched_off_with_failures),
		TEST(agent_that_takes_over_tells_no_mistake_that_it_finds),
		TEST(oldest_rotation_is_dropped_and_counted),
		TEST(switched_off_rotations_are_forgotten),
		TEST(notices_are_told_with_the_failures),
		TEST(what_is_queued_is_not_queued_again),
		TEST(tenth_of_similar_ones_is_combined),
		TEST(similar_ones_are_forgotten_after_ten_minutes),
		TEST(pod_has_25_and_one_in_five_minutes),
		TEST(rotations_hide_no_failure_and_no_other_pod),
		TEST(names_tell_pods_kinds_and_messages_apart),
		TEST(long_names_and_messages_are_cut),
		TEST(requests_are_limited),
		TEST(ten_thousand_failing_pods_are_each_told_in_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
