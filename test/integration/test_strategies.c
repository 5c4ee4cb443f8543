/* The change detection strategies against the test API server: what is asked for, how often, and what the sink learns.
 * Time is shortened: TEST_SYNC stands for the minute of syncFrequency and of the TTL. */
#include "agent/source_api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <systemd/sd-event.h>

#include "common/json.h"
#include "common/log.h"
#include "common/str.h"
#include "test/lib/following.h"
#include "test/lib/patience.h"
#include "test/lib/skip.h"

#define TEST_SYNC   (200 * USEC_PER_MSEC)
#define LONG	    (3600 * USEC_PER_SEC)
#define SECRETS_MAX 64

struct told_secret {
	char name[64];
	struct secret *last;
	unsigned n_changed, n_failed;
	unsigned failed_as; /* enum reason */
	bool absent;
	uint64_t fresh; /* the last need that was answered */
	unsigned n_changed_then; /* when it was */
};

struct rig {
	char kubeconfig[FOLLOWING_PATH_MAX];
	struct apiserver *server;
	struct loop *loop;
	struct files *files;
	struct source *source;
	struct told_secret secrets[SECRETS_MAX];
	size_t n_secrets, mark; /* mark: requests before it do not count */
	unsigned n_synced, n_pod_changed, qps, burst;
	bool refresh_when_told, unwant_when_told; /* once */
};

/* ---- the sink ---- */

static struct told_secret *told(struct rig *t, const char *name)
{
	for (size_t i = 0; i < t->n_secrets; i++)
		if (str_eq(t->secrets[i].name, name))
			return &t->secrets[i];
	assert_true(t->n_secrets < SECRETS_MAX);
	snprintf(t->secrets[t->n_secrets].name, sizeof(t->secrets[0].name), "%s", name);
	return &t->secrets[t->n_secrets++];
}

static void on_secret_changed(void *userdata, enum object_kind kind, const char *ns, const char *name,
			      struct secret *secret)
{
	struct told_secret *s = told(userdata, name);
	struct rig *t = userdata;

	secret_unref(s->last);
	s->last = secret ? secret_ref(secret) : NULL;
	s->absent = !secret;
	s->n_changed++;
	if (t->refresh_when_told)
		assert_int_equal(source_refresh(t->source, OBJECT_SECRET, ns, name), 0);
	if (t->unwant_when_told)
		source_unwant(t->source, OBJECT_SECRET, ns, name);
	t->refresh_when_told = t->unwant_when_told = false;
}

static void on_secret_failed(void *userdata, enum object_kind kind, const char *ns, const char *name,
			     const struct err *e)
{
	struct told_secret *s = told(userdata, name);

	s->n_failed++;
	s->failed_as = e->reason;
}

static void on_secret_fresh(void *userdata, enum object_kind kind, const char *ns, const char *name, uint64_t need)
{
	struct told_secret *s = told(userdata, name);

	assert_true(need > s->fresh);
	s->fresh = need;
	s->n_changed_then = s->n_changed;
}

static void on_pod_changed(void *userdata, struct pod *pod)
{
	((struct rig *)userdata)->n_pod_changed++;
}

static void on_pods_synced(void *userdata)
{
	((struct rig *)userdata)->n_synced++;
}

static const struct source_sink SINK = {
	.pod_changed = on_pod_changed,
	.pod_removed = following_ignores_uid,
	.pods_synced = on_pods_synced,
	.object_changed = on_secret_changed,
	.object_failed = on_secret_failed,
	.object_fresh = on_secret_fresh,
};

/* ---- the rig ---- */

static int setup(void **state)
{
	struct rig *t = calloc(1, sizeof(*t));

	following_setup("test_strategies", t->kubeconfig, &t->loop, &t->files, &t->server);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct rig *t = *state;

	following_teardown(t->source, t->server, t->files, t->loop, t->kubeconfig);
	for (size_t i = 0; i < t->n_secrets; i++)
		secret_unref(t->secrets[i].last);
	assert_int_equal(secmem_stats().n_blocks, 0);
	free(t);
	return 0;
}

static void start(struct rig *t, enum source_strategy strategy, uint64_t sync_usec, uint64_t ttl_usec)
{
	const struct source_api_options o = {
		.kubeconfig = t->kubeconfig,
		.node_name = "node-1",
		.kube_api_qps = t->qps,
		.kube_api_burst = t->burst,
		.tuning = { .strategy = strategy, .sync_usec = sync_usec, .cache_ttl_usec = ttl_usec },
	};

	t->source = following_start(t->loop, t->files, &o, &SINK, t);
	eventually(t, t->n_synced == 1);
}

static void put(struct rig *t, const char *name, const char *value, bool immutable)
{
	following_put_secret(t->server, name, value, immutable);
}

static void set_node_ttl(struct rig *t, const char *annotations)
{
	cleanup_free char *text =
		str_format("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"node-1\","
			   "\"resourceVersion\":\"1\"%s}}",
			   annotations);

	apiserver_fail(t->server, "/api/v1/nodes/node-1", 0, NULL, -1, 0);
	apiserver_fail(t->server, "/api/v1/nodes/node-1", 200, text, -1, -1);
}

static void want(struct rig *t, const char *name)
{
	assert_int_equal(source_want(t->source, OBJECT_SECRET, "ns", name), 0);
}

static void need(struct rig *t, const char *name)
{
	assert_int_equal(source_need(t->source, OBJECT_SECRET, "ns", name), SOURCE_ASKED);
}

static bool has_value(struct rig *t, const char *name, const char *value)
{
	const struct told_secret *s = told(t, name);
	const struct secret_key *k = s->last ? secret_find_key(s->last, "k") : NULL;

	return k && k->value.len == strlen(value) && memcmp(secspan_data(&k->value), value, strlen(value)) == 0;
}

static size_t n_requests(struct rig *t)
{
	size_t n = 0;
	char *line;

	while ((line = apiserver_request(t->server, n))) {
		free(line);
		n++;
	}
	return n;
}

static void mark(struct rig *t)
{
	t->mark = n_requests(t);
}

/* Requests since the mark that are exactly this, or begin with it where it ends with an asterisk. */
static size_t count(struct rig *t, const char *what)
{
	size_t len = strlen(what), n = 0;
	bool prefix = what[len - 1] == '*';
	char *line;

	for (size_t i = t->mark; (line = apiserver_request(t->server, i)); i++) {
		n += prefix ? strncmp(line, what, len - 1) == 0 : str_eq(line, what);
		free(line);
	}
	return n;
}

#define S_LATEST "GET /api/v1/namespaces/ns/secrets/s"
#define S_CACHED "GET /api/v1/namespaces/ns/secrets/s?resourceVersion=0"
#define S_ALL	 "GET /api/v1/namespaces/ns/secrets*"

static size_t n_watches(const struct rig *t)
{
	struct source_health h = following_health(t->source);

	return h.n_watches - h.connected;
}

static bool is_connected(const struct rig *t)
{
	return following_health(t->source).connected;
}

/* ---- Watch ---- */

static void watch_is_one_list_one_watch_and_nothing_in_a_minute(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	eventually(t, n_watches(t) == 1);
	run_for(t->loop, TEST_SYNC);
	assert_int_equal(count(t, S_ALL), 2);
}

static void watch_with_bookmarks_is_never_checked(void **state)
{
	struct rig *t = *state;
	uint64_t began;
	size_t n_late = 0;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, 2 * TEST_SYNC, 0);
	want(t, "s");
	eventually(t, n_watches(t) == 1);
	mark(t);
	for (int i = 0; i < 40; i++) {
		began = clock_monotonic_usec();
		reach(t, apiserver_bookmark(t->server));
		run_for(t->loop, TEST_SYNC / 4);
		n_late += clock_monotonic_usec() - began >
			  TEST_SYNC / 2; /* on a slow machine the watch may be silent for too long */
	}
	assert_in_range(count(t, S_ALL), 0, n_late);
}

static void silent_watch_is_checked_at_most_once_in_each_sync(void **state)
{
	struct rig *t = *state;
	uint64_t began;
	size_t n_syncs;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, TEST_SYNC, 0);
	want(t, "s");
	eventually(t, n_watches(t) == 1);
	mark(t);
	began = clock_monotonic_usec();
	eventually(t, count(t, S_ALL) >= 5);
	n_syncs = (clock_monotonic_usec() - began) / TEST_SYNC;
	assert_in_range(count(t, S_ALL), 5, n_syncs + 1);
	assert_int_equal(count(t, S_ALL), count(t, S_CACHED) + count(t, S_LATEST));
	assert_int_equal(count(t, S_LATEST), 1); /* its first */
	assert_int_equal(told(t, "s")->n_changed, 1);
}

static void deaf_watch_is_found_out_by_the_check(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, TEST_SYNC, 0);
	want(t, "s");
	eventually(t, has_value(t, "s", "1"));
	/* what a check is answered, and then what a list has, differ from what the watch said */
	apiserver_fail(t->server, "/secrets/s", 200,
		       "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"s\","
		       "\"uid\":\"other\",\"resourceVersion\":\"999\"}}",
		       -1, 1);
	mark(t);
	eventually(t, count(t, "GET /api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Ds&limit=500") == 1);
	eventually(t, n_watches(t) == 1);
	assert_true(has_value(t, "s", "1"));
}

/* The last good revision is kept beside the refusal, and is not what the check must find. */
static void deaf_watch_of_a_refused_secret_is_found_out_by_the_check(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, TEST_SYNC, 0);
	want(t, "s");
	eventually(t, has_value(t, "s", "1") && n_watches(t) == 1);
	reach(t, apiserver_inject(
			 t->server, "Secret",
			 "{\"type\":\"MODIFIED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{"
			 "\"namespace\":\"ns\",\"name\":\"s\",\"uid\":\"u\",\"resourceVersion\":\"999\"},"
			 "\"data\":{\"k\":\"?\"}}}\n"));
	eventually(t, told(t, "s")->n_failed == 1);
	eventually(t, told(t, "s")->n_changed == 2);
	assert_true(has_value(t, "s", "1"));
}

static void immutable_secret_keeps_no_watch(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", true);
	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	eventually(t, has_value(t, "s", "1"));
	run_for(t->loop, TEST_SYNC);
	assert_int_equal(n_watches(t), 0);
	assert_int_equal(count(t, S_ALL), 1);
}

/* Just when its reflector comes to rest, before and after. */
static void refresh_of_an_immutable_secret_is_never_lost(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", true);
	start(t, SOURCE_WATCH, LONG, 0);
	t->refresh_when_told = true;
	want(t, "s");
	eventually(t, told(t, "s")->n_changed == 2);
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s"), 0);
	eventually(t, told(t, "s")->n_changed == 3);
	run_for(t->loop, TEST_SYNC);
	assert_int_equal(n_watches(t), 0);
}

static void immutable_secret_may_be_unwanted_while_it_is_told(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", true);
	start(t, SOURCE_WATCH, LONG, 0);
	t->unwant_when_told = true;
	want(t, "s");
	eventually(t, told(t, "s")->n_changed == 1);
	secret_unref(told(t, "s")->last);
	told(t, "s")->last = NULL;
	run_for(t->loop, TEST_SYNC / 2);
	assert_int_equal(secmem_stats().n_blocks, 0);
}

static void secret_that_becomes_immutable_loses_its_watch(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	eventually(t, n_watches(t) == 1);
	put(t, "s", "2", true);
	eventually(t, has_value(t, "s", "2") && n_watches(t) == 0);
	eventually(t, apiserver_counts(t->server).n_watches_running == 1); /* the pods' */
}

/* Between the initial events of a WatchList and the bookmark that ends them: it rests when the pod has its answer. */
static void secret_that_becomes_immutable_before_its_list_ends_is_fresh(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	apiserver_set_watch_list(t->server, APISERVER_WATCH_LIST_SERVED);
	start(t, SOURCE_WATCH, LONG, 0);
	apiserver_set_watch_list(t->server, APISERVER_WATCH_LIST_LATE);
	want(t, "s");
	need(t, "s");
	eventually(t, has_value(t, "s", "1"));
	put(t, "s", "2", true);
	eventually(t, has_value(t, "s", "2"));
	assert_int_equal(told(t, "s")->fresh, 0);
	assert_true(apiserver_bookmark(t->server) > 0);
	eventually(t, told(t, "s")->fresh == 1);
	eventually(t, apiserver_counts(t->server).n_watches_running == 1); /* the pods' */
}

static void recreated_immutable_secret_is_noticed_at_the_next_sync(void **state)
{
	struct rig *t = *state;
	uint64_t began = clock_monotonic_usec();
	size_t n_syncs;

	put(t, "s", "1", true);
	start(t, SOURCE_WATCH, TEST_SYNC, 0);
	want(t, "s");
	eventually(t, has_value(t, "s", "1"));
	eventually(t, count(t, S_ALL) >= 3);
	n_syncs = (clock_monotonic_usec() - began) / TEST_SYNC;
	assert_int_equal(told(t, "s")->n_changed, 1);
	assert_in_range(count(t, S_ALL), 3, 1 + n_syncs);
	assert_int_equal(count(t, S_ALL) - count(t, S_LATEST) - count(t, S_CACHED), 1); /* the first list */
	assert_true(apiserver_delete(t->server, "Secret", "ns", "s"));
	put(t, "s", "2", true);
	eventually(t, has_value(t, "s", "2"));
	run_for(t->loop, TEST_SYNC);
	assert_int_equal(n_watches(t), 0);
}

static void deleted_immutable_secret_is_noticed_and_watched_for(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", true);
	start(t, SOURCE_WATCH, TEST_SYNC, 0);
	want(t, "s");
	eventually(t, has_value(t, "s", "1"));
	assert_true(apiserver_delete(t->server, "Secret", "ns", "s"));
	eventually(t, told(t, "s")->absent && n_watches(t) == 1);
}

static void recreated_immutable_secret_is_noticed_when_another_pod_needs_it(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", true);
	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	eventually(t, has_value(t, "s", "1"));
	assert_true(apiserver_delete(t->server, "Secret", "ns", "s"));
	put(t, "s", "2", true);
	mark(t);
	need(t, "s");
	eventually(t, has_value(t, "s", "2"));
	assert_int_equal(count(t, S_LATEST), 1);
}

/* ---- what a pod needs is not older than the pod: kubernetes #129645 ---- */

#define S_LIST "GET /api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Ds&limit=500"

static void first_pods_secret_is_listed_from_the_storage(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	need(t, "s");
	need(t, "s");
	eventually(t, told(t, "s")->fresh == 2 && n_watches(t) == 1);
	assert_int_equal(told(t, "s")->n_changed_then, 1);
	assert_int_equal(count(t, S_LIST), 1);
	assert_int_equal(count(t, S_ALL), 2);
}

static void pods_that_come_together_cost_a_watched_secret_one_get(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	eventually(t, n_watches(t) == 1);
	mark(t);
	for (int i = 0; i < 100; i++)
		need(t, "s");
	eventually(t, told(t, "s")->fresh == 100);
	run_for(t->loop, TEST_SYNC);
	assert_int_equal(count(t, S_LATEST), 1);
	assert_int_equal(n_requests(t) - t->mark, 1);
	assert_int_equal(told(t, "s")->n_changed, 1);
}

static void new_pod_waits_for_no_watch_that_is_late(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	eventually(t, n_watches(t) == 1);
	reach(t, apiserver_hold_watches(t->server, "Secret", true));
	put(t, "s", "2", false);
	run_for(t->loop, TEST_SYNC);
	assert_true(has_value(t, "s", "1"));
	need(t, "s");
	eventually(t, told(t, "s")->fresh == 1);
	assert_int_equal(told(t, "s")->n_changed_then, 2);
	assert_true(has_value(t, "s", "2"));
}

static void absent_secret_is_fresh_too(void **state)
{
	struct rig *t = *state;

	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	eventually(t, n_watches(t) == 1 && told(t, "s")->absent);
	need(t, "s");
	eventually(t, told(t, "s")->fresh == 1);
	reach(t, apiserver_hold_watches(t->server, "Secret", true));
	put(t, "s", "1", false);
	need(t, "s");
	eventually(t, told(t, "s")->fresh == 2);
	assert_true(has_value(t, "s", "1"));
}

/* As the Node authorizer does it until it has noticed the pod. */
static void forbidden_need_is_asked_again_within_milliseconds(void **state)
{
	for (int i = 0; i < SOURCE_STRATEGIES_N; i++) {
		struct rig *t;

		setup((void **)&t);
		put(t, "s", "1", false);
		start(t, (enum source_strategy)i, LONG, LONG);
		want(t, "s");
		eventually(t, has_value(t, "s", "1") && (i != SOURCE_WATCH || n_watches(t) == 1));
		mark(t);
		apiserver_fail(t->server, "/secrets/s", 403, NULL, -1, 3);
		need(t, "s");
		eventually(t, told(t, "s")->fresh == 1);
		assert_int_equal(count(t, S_LATEST), 4);
		assert_int_equal(told(t, "s")->n_failed, 1);
		/* and the trouble is over for all */
		assert_int_equal(told(t, "s")->n_changed_then, 2);
		assert_true(i != SOURCE_WATCH || n_watches(t) == 1);
		teardown((void **)&t);
	}
}

static void refused_secret_is_not_fresh_until_it_is_mended(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	eventually(t, n_watches(t) == 1);
	apiserver_put_text(t->server, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\","
				      "\"name\":\"s\"},\"data\":{\"k\":\"?\"}}");
	eventually(t, told(t, "s")->n_failed == 1);
	need(t, "s");
	run_for(t->loop, TEST_SYNC);
	assert_int_equal(told(t, "s")->fresh, 0);
	assert_true(has_value(t, "s", "1"));
	put(t, "s", "2", false);
	eventually(t, told(t, "s")->fresh == 1);
	assert_true(has_value(t, "s", "2"));
}

/* Another request was answered in vain: what comes by the watch is asked for once more, and not with the next sync. */
static void secret_that_was_refused_at_first_is_fresh_when_it_is_mended(void **state)
{
	struct rig *t = *state;

	apiserver_put_text(t->server, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\","
				      "\"name\":\"s\"},\"data\":{\"k\":\"?\"}}");
	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	need(t, "s");
	eventually(t, told(t, "s")->n_failed == 1 && n_watches(t) == 1);
	put(t, "s", "2", false);
	eventually(t, told(t, "s")->fresh == 1);
	assert_true(has_value(t, "s", "2"));
}

static bool no_timers;

int sd_event_add_time(sd_event *e, sd_event_source **s, clockid_t clock, uint64_t usec, uint64_t accuracy,
		      sd_event_time_handler_t fn, void *userdata)
{
	static typeof(sd_event_add_time) *next;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "sd_event_add_time");
	return no_timers ? -ENOMEM : next(e, s, clock, usec, accuracy, fn, userdata);
}

/* A watch that runs has no timer; when it ends and there is no memory for one, it is begun again all the same. */
static void watch_that_ends_without_memory_is_begun_again(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	eventually(t, has_value(t, "s", "1") && n_watches(t) == 1);
	no_timers = true;
	reach(t, apiserver_end_watches(t->server, false));
	run_for(t->loop, 3 * USEC_PER_SEC);
	no_timers = false;
	put(t, "s", "2", false);
	eventually(t, has_value(t, "s", "2"));
}

static _Thread_local bool no_memory; /* the server has threads of its own */
static _Thread_local size_t no_memory_for; /* pieces of this size; 0: there is */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) /* they have their own */
static const bool calls_can_fail = false;
#else
static const bool calls_can_fail = true;
#ifndef ANALYSIS_TEST /* to which each call would be one that fails */
extern void *__libc_calloc(size_t n, size_t size);
void *calloc(size_t n, size_t size)
{
	return no_memory || (no_memory_for && n == 1 && size == no_memory_for) ? NULL : __libc_calloc(n, size);
}
#endif
#endif

static void need_that_could_not_be_asked_for_is_answered_at_the_next_sync(void **state)
{
	struct rig *t = *state;

	if (!calls_can_fail)
		skip_because("there is memory with a sanitizer's calls, and the need would be asked for at once");
	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	eventually(t, n_watches(t) == 1);
	no_memory = true;
	(void)source_need(t->source, OBJECT_SECRET, "ns", "s");
	no_memory = false;
	source_tune(t->source, &(struct source_tuning){ .strategy = SOURCE_WATCH, .sync_usec = TEST_SYNC });
	eventually(t, told(t, "s")->fresh == 1);
}

/* secretMemoryLimit has nothing to do with it. */
static void memory_that_is_full_is_told_by_its_name(void **state)
{
	static const char TOKEN[] = "default/p/u-1/3600/";
	struct rig *t = *state;

	if (!calls_can_fail)
		skip_because("there is memory with ASan's calls");
	put(t, "s", "1", false);
	following_give_tokens(t->server, FOLLOWING_NEVER);
	start(t, SOURCE_WATCH, LONG, 0);
	no_memory_for = sizeof(struct secret);
	want(t, "s");
	assert_int_equal(source_want(t->source, OBJECT_TOKEN, "ns", TOKEN), 0);
	eventually(t, told(t, "s")->n_failed > 0 && told(t, TOKEN)->n_failed > 0);
	no_memory_for = 0;
	assert_int_equal(told(t, "s")->failed_as, REASON_OUT_OF_MEMORY);
	assert_int_equal(told(t, TOKEN)->failed_as, REASON_OUT_OF_MEMORY);
	eventually(t, has_value(t, "s", "1"));
}

static void secret_whose_absence_was_not_believed_is_fresh_when_it_comes(void **state)
{
	struct rig *t = *state;

	following_put_pod(t->server, "a");
	start(t, SOURCE_WATCH, LONG, 0);
	eventually(t, t->n_pod_changed >= 1 && is_connected(t));
	apiserver_fail(t->server, "/pods/a", 403, NULL, -1, -1);
	apiserver_pause(t->server);
	eventually(t, !is_connected(t));
	apiserver_delete(t->server, "Pod", "ns", "a");
	apiserver_compact(t->server);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, is_connected(t));
	run_for(t->loop, 1500 * USEC_PER_MSEC);
	want(t, "s");
	need(t, "s");
	eventually(t, told(t, "s")->n_failed == 1 && n_watches(t) == 1);
	put(t, "s", "2", false);
	eventually(t, told(t, "s")->fresh == 1);
}

/* ---- what is no word of the server's that there is none takes nothing away ---- */

#define STATUS(code, reason, details)                                                                                  \
	"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"told\",\"reason\":\"" reason  \
	"\",\"details\":" details ",\"code\":" code "}"
#define OTHER                                                                                                          \
	"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"other\","            \
	"\"resourceVersion\":\"99\"}}"
#define LIST(kind, items)                                                                                              \
	"{\"apiVersion\":\"v1\",\"kind\":\"" kind "\",\"metadata\":{\"resourceVersion\":\"99\"},\"items\":[" items "]" \
	"}"
#define BROKEN                                                                                                         \
	"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"s\","                \
	"\"resourceVersion\":\"99\"},\"data\":{\"k\":\"?\"}}"

static void only_the_servers_own_word_takes_a_secret_away(void **state)
{
	static const struct {
		int status;
		const char *body; /* NULL: a Status of its own */
	} answers[] = {
		{ 401, NULL },
		{ 403, NULL },
		{ 404, "<html>a proxy's</html>" },
		{ 404, STATUS("404", "NotFound", "{}") },
		{ 404, STATUS("404", "NotFound", "{\"name\":\"other\",\"kind\":\"secrets\"}") },
		{ 404, STATUS("404", "NotFound", "{\"name\":\"s\",\"kind\":\"namespaces\"}") },
		{ 429, NULL },
		{ 500, NULL },
		{ 500, STATUS("404", "NotFound", "{\"name\":\"s\",\"kind\":\"secrets\"}") },
		{ 503, "" },
		{ 200, "" },
		{ 200, "{}" },
		{ 200, "[]" },
		{ 200, "<html>a proxy's</html>" },
		{ 200, OTHER },
		{ 200, BROKEN },
		{ 200, STATUS("404", "NotFound", "{\"name\":\"s\",\"kind\":\"secrets\"}") },
		{ 200, LIST("SecretList", OTHER) },
		{ 200, LIST("SecretList", "null") },
		{ 200, LIST("SecretList", BROKEN) },
		{ 200, LIST("ConfigMapList", "") },
		{ 200, "{\"apiVersion\":\"v1\",\"kind\":\"SecretList\",\"metadata\":{},\"items\":[]}" },
		{ 200, "{\"apiVersion\":\"v1\",\"kind\":\"SecretList\",\"items\":{}}" },
	};

	for (int i = 0; i < SOURCE_STRATEGIES_N; i++) {
		struct rig *t;

		setup((void **)&t);
		put(t, "s", "1", false);
		start(t, (enum source_strategy)i, LONG, LONG);
		want(t, "s");
		eventually(t, has_value(t, "s", "1"));
		for (size_t j = 0; j < ARRAY_SIZE(answers); j++) {
			unsigned n_changed = told(t, "s")->n_changed;

			eventually(t, i != SOURCE_WATCH || n_watches(t) == 1);
			apiserver_fail(t->server, "/secrets", answers[j].status, answers[j].body, -1, 1);
			assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s"), 0);
			eventually(t, told(t, "s")->n_failed > j);
			if (!has_value(t, "s", "1") || told(t, "s")->n_changed != n_changed)
				fail_msg("strategy %d, answer %zu", i, j);
			assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s"), 0);
			eventually(t, told(t, "s")->n_changed > n_changed);
			assert_int_equal(told(t, "s")->n_failed, j + 1);
		}
		assert_true(apiserver_delete(t->server, "Secret", "ns", "s"));
		assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s"), 0);
		eventually(t, told(t, "s")->absent);
		teardown((void **)&t);
	}
}

/* ---- Cache ---- */

static void cache_is_one_get_in_each_ttl(void **state)
{
	struct rig *t = *state;
	uint64_t began;
	size_t n_ttls;

	put(t, "s", "1", false);
	start(t, SOURCE_CACHE, LONG, TEST_SYNC);
	began = clock_monotonic_usec();
	want(t, "s");
	eventually(t, count(t, S_ALL) >= 6);
	n_ttls = (clock_monotonic_usec() - began) / TEST_SYNC;
	assert_in_range(count(t, S_ALL), 6, n_ttls + 1);
	assert_int_equal(count(t, S_LATEST), 1);
	assert_int_equal(count(t, S_CACHED), count(t, S_ALL) - 1);
	assert_int_equal(told(t, "s")->n_changed, 1);
	assert_int_equal(n_watches(t), 0);
	put(t, "s", "2", false);
	eventually(t, has_value(t, "s", "2"));
}

static void cache_fetches_only_what_is_referenced_95(void **state)
{
	struct rig *t = *state;

	put(t, "a", "1", false);
	put(t, "b", "1", false);
	put(t, "c", "1", false);
	start(t, SOURCE_CACHE, LONG, LONG);
	want(t, "a");
	want(t, "b");
	source_unwant(t->source, OBJECT_SECRET, "ns", "b");
	want(t, "c");
	eventually(t, has_value(t, "a", "1") && has_value(t, "c", "1"));
	assert_int_equal(count(t, S_ALL), 2);
	assert_int_equal(source_need(t->source, OBJECT_SECRET, "ns", "b"), -ENOENT);
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "b"), -ENOENT);
}

static void hundred_pods_that_need_ten_cached_secrets_at_once_make_ten_gets_98(void **state)
{
	struct rig *t = *state;
	char name[16];

	start(t, SOURCE_CACHE, LONG, LONG);
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		put(t, name, "1", false);
		want(t, name);
		for (int pod = 0; pod < 10; pod++)
			need(t, name);
	}
	eventually(t, count(t, S_ALL) == 10);
	run_for(t->loop, TEST_SYNC);
	assert_int_equal(count(t, S_ALL), 10);
}

static void new_pod_invalidates_a_cached_secret_101(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_CACHE, LONG, LONG);
	want(t, "s");
	eventually(t, has_value(t, "s", "1"));
	put(t, "s", "2", false);
	need(t, "s");
	eventually(t, has_value(t, "s", "2"));
	assert_int_equal(count(t, S_ALL), 2);
}

static void stale_cached_secret_is_kept_on_error_and_gone_on_not_found_96(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_CACHE, LONG, TEST_SYNC);
	want(t, "s");
	eventually(t, has_value(t, "s", "1"));
	apiserver_fail(t->server, "/secrets/s", 500, NULL, -1, 1);
	eventually(t, told(t, "s")->n_failed == 1);
	assert_true(has_value(t, "s", "1"));
	assert_true(apiserver_delete(t->server, "Secret", "ns", "s"));
	eventually(t, told(t, "s")->absent);
	put(t, "s", "2", false);
	eventually(t, has_value(t, "s", "2"));
}

static void answer_older_than_the_cached_secret_is_ignored_106(void **state)
{
	struct rig *t = *state;

	put(t, "x", "1", false);
	put(t, "s", "1", false);
	start(t, SOURCE_CACHE, LONG, TEST_SYNC);
	want(t, "s");
	eventually(t, has_value(t, "s", "1"));
	apiserver_fail(t->server, "/secrets/s", 200,
		       "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"s\","
		       "\"uid\":\"u\",\"resourceVersion\":\"1\"},\"data\":{\"k\":\"b2xk\"}}",
		       -1, 1);
	mark(t);
	eventually(t, count(t, S_LATEST) == 1); /* the storage has the last word */
	run_for(t->loop, TEST_SYNC / 2);
	assert_true(has_value(t, "s", "1"));
	assert_int_equal(told(t, "s")->n_changed, 1);
}

static void nodes_annotation_is_the_ttl_100(void **state)
{
	static const struct {
		const char *annotations;
		bool fast;
	} cases[] = {
		{ ",\"annotations\":{\"node.alpha.kubernetes.io/ttl\":\"1\"}", true },
		{ ",\"annotations\":{\"node.alpha.kubernetes.io/ttl\":\"bad\"}", false },
		{ ",\"annotations\":{\"node.alpha.kubernetes.io/ttl\":\"-1\"}", false },
		{ ",\"annotations\":{\"node.alpha.kubernetes.io/ttl\":\"60\"}", false },
		{ ",\"annotations\":{}", false },
		{ "", false },
		{ ",\"annotations\":{\"node.alpha.kubernetes.io/ttl\":\"0\"}", true }, /* each sync */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *t;

		setup((void **)&t);
		put(t, "s", "1", false);
		set_node_ttl(t, cases[i].annotations);
		start(t, SOURCE_CACHE, TEST_SYNC, LONG);
		eventually(t, count(t, "GET /api/v1/nodes/node-1*") >= 1);
		want(t, "s");
		eventually(t, has_value(t, "s", "1"));
		if (cases[i].fast)
			eventually(t, count(t, S_ALL) >= 2);
		else
			run_for(t->loop, 3 * TEST_SYNC);
		if (!cases[i].fast && count(t, S_ALL) != 1)
			fail_msg("%zu: %s", i, cases[i].annotations);
		teardown((void **)&t);
	}
}

static void node_that_is_not_there_is_no_trouble(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, TEST_SYNC, 0);
	want(t, "s");
	eventually(t, has_value(t, "s", "1"));
	eventually(t, count(t, "GET /api/v1/nodes/*") == 1);
	run_for(t->loop, 2 * TEST_SYNC);
	assert_int_equal(count(t, "GET /api/v1/nodes/*"), 1);
}

/* ---- Get ---- */

static void get_is_one_quorum_get_for_each_pod_and_each_sync_97(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_GET, LONG, 0);
	for (int pod = 0; pod < 10; pod++) {
		if (pod == 0)
			want(t, "s");
		else
			need(t, "s");
		eventually(t, count(t, S_LATEST) == (size_t)pod + 1);
		eventually(t, has_value(t, "s", "1"));
	}
	source_tune(t->source, &(struct source_tuning){ .strategy = SOURCE_GET, .sync_usec = TEST_SYNC });
	eventually(t, count(t, S_LATEST) >= 14);
	assert_int_equal(count(t, S_ALL), count(t, S_LATEST));
	assert_int_equal(told(t, "s")->n_changed, 1);
}

/* ---- the limit of requests ---- */

static size_t n_limited(struct rig *t)
{
	struct apiserver_counts counts = apiserver_counts(t->server);

	return counts.n_requests - counts.n_watch;
}

static void single_gets_keep_to_kube_api_qps_and_burst(void **state)
{
	struct rig *t = *state;
	uint64_t began = clock_monotonic_usec();
	char name[16];

	t->qps = 20;
	t->burst = 5;
	start(t, SOURCE_GET, LONG, 0);
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		put(t, name, "1", false);
		want(t, name);
	}
	while (n_limited(t) < 32 && clock_monotonic_usec() - began < PATIENCE_USEC) {
		size_t n = n_limited(t);
		uint64_t msec = (clock_monotonic_usec() - began) / USEC_PER_MSEC;

		if (n > t->burst + msec * t->qps / 1000 + 1)
			fail_msg("%zu requests after %llu ms", n, (unsigned long long)msec);
		loop_run_once(t->loop, 5 * USEC_PER_MSEC);
	}
	/* with the pods' list and the node: 5 at once, the others each 50 ms */
	assert_true(clock_monotonic_usec() - began >= 1300 * USEC_PER_MSEC);
	eventually(t, has_value(t, "s29", "1"));
}

/* ---- pods ---- */

static void thousand_pod_updates_make_no_request(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, LONG, 0);
	want(t, "s");
	eventually(t, n_watches(t) == 1);
	mark(t);
	for (int i = 0; i < 1000; i++) {
		cleanup_free char *text = str_format(
			"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"p\"},"
			"\"spec\":{\"nodeName\":\"node-1\",\"containers\":[]},\"status\":{\"message\":\"%d\"}}",
			i);

		apiserver_put_text(t->server, text);
	}
	eventually(t, t->n_pod_changed == 1000);
	assert_int_equal(n_requests(t) - t->mark, 0);
}

/* ---- from one to another ---- */

static void strategy_is_switched_without_telling_anything_again(void **state)
{
	static const enum source_strategy order[] = { SOURCE_CACHE, SOURCE_WATCH, SOURCE_GET,
						      SOURCE_CACHE, SOURCE_GET,	  SOURCE_WATCH };
	struct rig *t = *state;
	char value[16];
	unsigned n_changed = 1;

	put(t, "s", "1", false);
	start(t, SOURCE_WATCH, TEST_SYNC, TEST_SYNC);
	want(t, "s");
	eventually(t, n_watches(t) == 1);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		source_tune(t->source, &(struct source_tuning){ .strategy = order[i],
								.sync_usec = TEST_SYNC,
								.cache_ttl_usec = TEST_SYNC });
		eventually(t, n_watches(t) == (order[i] == SOURCE_WATCH));
		run_for(t->loop, 2 * TEST_SYNC);
		assert_int_equal(told(t, "s")->n_changed, n_changed);
		snprintf(value, sizeof(value), "v%zu", i);
		put(t, "s", value, false);
		eventually(t, has_value(t, "s", value));
		n_changed++;
	}
	assert_int_equal(told(t, "s")->n_failed, 0);
}

/* What a cache of the server has may be older than what is known. */
static void switch_to_watch_begins_with_the_most_recent_state(void **state)
{
	struct rig *t = *state;

	put(t, "s", "1", false);
	start(t, SOURCE_CACHE, LONG, LONG);
	want(t, "s");
	eventually(t, has_value(t, "s", "1"));
	mark(t);
	source_tune(t->source, &(struct source_tuning){ .strategy = SOURCE_WATCH, .sync_usec = LONG });
	eventually(t, n_watches(t) == 1);
	assert_int_equal(count(t, "GET /api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Ds&limit=500"), 1);
}

/* The pods' list finds out; each Secret is then fetched in the strategy's own way. */
static void restored_older_state_is_followed_without_watches(void **state)
{
	static const enum source_strategy strategies[] = { SOURCE_CACHE, SOURCE_GET };

	for (size_t i = 0; i < ARRAY_SIZE(strategies); i++) {
		struct rig *t;

		setup((void **)&t);
		put(t, "s", "1", false);
		start(t, strategies[i], LONG, LONG);
		want(t, "s");
		eventually(t, has_value(t, "s", "1") && is_connected(t));
		mark(t);
		apiserver_fail(t->server, "/pods?", 200,
			       "{\"apiVersion\":\"v1\",\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"0\"},"
			       "\"items\":[]}",
			       -1, 1);
		reach(t, apiserver_inject(t->server, "Pod",
					  "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}\n"));
		eventually(t, count(t, S_LATEST) == 1);
		run_for(t->loop, TEST_SYNC);
		assert_int_equal(count(t, S_ALL), 1);
		teardown((void **)&t);
	}
}

static void refresh_fetches_now_in_every_strategy(void **state)
{
	struct rig *t = *state;
	unsigned n_changed;

	put(t, "s", "1", true);
	start(t, SOURCE_WATCH, LONG, LONG);
	want(t, "s");
	eventually(t, has_value(t, "s", "1"));
	for (int i = 0; i < SOURCE_STRATEGIES_N; i++) {
		source_tune(t->source, &(struct source_tuning){ .strategy = (enum source_strategy)i,
								.sync_usec = LONG,
								.cache_ttl_usec = LONG });
		run_for(t->loop, TEST_SYNC);
		n_changed = told(t, "s")->n_changed;
		mark(t);
		assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s"), 0);
		eventually(t, told(t, "s")->n_changed == n_changed + 1);
		assert_int_equal(count(t, S_ALL), 1);
		assert_int_equal(count(t, S_CACHED), 0);
	}
}

#define with_rig(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		with_rig(watch_is_one_list_one_watch_and_nothing_in_a_minute),
		with_rig(watch_with_bookmarks_is_never_checked),
		with_rig(silent_watch_is_checked_at_most_once_in_each_sync),
		with_rig(deaf_watch_is_found_out_by_the_check),
		with_rig(deaf_watch_of_a_refused_secret_is_found_out_by_the_check),
		with_rig(immutable_secret_keeps_no_watch),
		with_rig(refresh_of_an_immutable_secret_is_never_lost),
		with_rig(immutable_secret_may_be_unwanted_while_it_is_told),
		with_rig(secret_that_becomes_immutable_loses_its_watch),
		with_rig(secret_that_becomes_immutable_before_its_list_ends_is_fresh),
		with_rig(recreated_immutable_secret_is_noticed_at_the_next_sync),
		with_rig(deleted_immutable_secret_is_noticed_and_watched_for),
		with_rig(recreated_immutable_secret_is_noticed_when_another_pod_needs_it),
		with_rig(first_pods_secret_is_listed_from_the_storage),
		with_rig(pods_that_come_together_cost_a_watched_secret_one_get),
		with_rig(new_pod_waits_for_no_watch_that_is_late),
		with_rig(absent_secret_is_fresh_too),
		cmocka_unit_test(forbidden_need_is_asked_again_within_milliseconds),
		with_rig(refused_secret_is_not_fresh_until_it_is_mended),
		with_rig(secret_that_was_refused_at_first_is_fresh_when_it_is_mended),
		with_rig(secret_whose_absence_was_not_believed_is_fresh_when_it_comes),
		with_rig(watch_that_ends_without_memory_is_begun_again),
		with_rig(memory_that_is_full_is_told_by_its_name),
		with_rig(need_that_could_not_be_asked_for_is_answered_at_the_next_sync),
		cmocka_unit_test(only_the_servers_own_word_takes_a_secret_away),
		with_rig(cache_is_one_get_in_each_ttl),
		with_rig(cache_fetches_only_what_is_referenced_95),
		with_rig(hundred_pods_that_need_ten_cached_secrets_at_once_make_ten_gets_98),
		with_rig(new_pod_invalidates_a_cached_secret_101),
		with_rig(stale_cached_secret_is_kept_on_error_and_gone_on_not_found_96),
		with_rig(answer_older_than_the_cached_secret_is_ignored_106),
		cmocka_unit_test(nodes_annotation_is_the_ttl_100),
		with_rig(node_that_is_not_there_is_no_trouble),
		with_rig(get_is_one_quorum_get_for_each_pod_and_each_sync_97),
		with_rig(single_gets_keep_to_kube_api_qps_and_burst),
		with_rig(thousand_pod_updates_make_no_request),
		with_rig(strategy_is_switched_without_telling_anything_again),
		with_rig(switch_to_watch_begins_with_the_most_recent_state),
		cmocka_unit_test(restored_older_state_is_followed_without_watches),
		with_rig(refresh_fetches_now_in_every_strategy),
	};
	following_init(64 << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
