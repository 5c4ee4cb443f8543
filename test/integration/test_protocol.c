/* The protocol: every answer that an API server, or what stands in between, can give to a list or a watch, played by the
 * test API server to the source. Each asserts what was asked and how often, that nothing good is lost, and that another
 * Secret's reflector and the pods' do not notice.
 *
 * Where the rows of kubelet-parity 8.7 are tested (r: unit/test_reflector, s: integration/test_source_api, p: here):
 *
 *   107 absent, added, deleted    p absent_added_and_deleted_follow_each_other
 *   108 many references           s secret_is_told_with_each_change_and_its_end; p nothing_happens_without_need
 *   114 slow first list           r slow_first_list_is_waited_for
 *   115 list versions, expired    r list_versions_when_a_page_expires; p pods_come_in_pages
 *   116 version too large         r list_versions_when_they_are_too_large; p list_with_a_version_too_large
 *   117 watch expired             r watch_410_relists_once; p watch_410_expired
 *   118 connection refused        r refused_connection_keeps_the_version
 *   119 bookmark                  r bookmark_moves_the_version_and_tells_nothing; s watch_goes_on_from_the_bookmark
 *   120 wrong kind in the stream  r what_was_not_asked_for_is_passed_over; p watch_event_of_another_kind
 *   121 WatchList                 r watch_list_is_synced_only_after_its_bookmark; p watch_list_is_one_request_each
 *   122 WatchList refused         r watch_list_refused_falls_back_at_once; p watch_list_refused_is_asked_for_once
 *   -   restored etcd             r sentinel_lists_after_a_lost_watch; p restored_etcd_is_followed
 *   109-113 (immutable, idle) belong to the change detection strategies. */
#include "agent/source_api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <ftw.h>
#include <sys/stat.h>

#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/str.h"
#include "test/apiserver/apiserver.h"
#include "test/lib/kubeconfig.h"
#include "test/lib/patience.h"

struct told {
	struct secret *last;
	unsigned n_changed, n_failed, n_absent;
	char failure[ERR_TEXT_MAX];
};

/* What goes wrong with `s` and what that costs. */
struct trouble {
	int n_times; /* 0: once */
	/* instead of the answer to the next request whose target contains it; or: */
	const char *match;
	int status; /* 0: the connection is cut */
	const char *body;
	int retry_after;
	/* into the running watch; and then, or alone: */
	const char *inject;
	bool ends, cut;
	bool endless; /* more than any event can be */

	const char *failure; /* what is told; NULL: nothing */
	unsigned n_lists, n_watches; /* of `s` in all */
	const char *value; /* of `s` afterwards; NULL: as before */
};

struct rig {
	const struct trouble *trouble;
	char dir[64];
	struct apiserver *server;
	struct loop *loop;
	struct files *files;
	struct source *source;
	unsigned qps, burst;
	enum apiserver_watch_list watch_list;
	enum source_strategy strategy;
	struct told s, o, n; /* n: of all whose names begin with it */
	size_t n_pods;
	unsigned n_synced;
};

static void settle(struct rig *t)
{
	run_for(t->loop, 60 * USEC_PER_MSEC);
}

/* ---- the sink ---- */

static struct told *told(struct rig *t, const char *name)
{
	return str_eq(name, "s") ? &t->s : *name == 'n' ? &t->n : &t->o;
}

static void on_secret_changed(void *userdata, enum object_kind kind, const char *ns, const char *name,
			      struct secret *secret)
{
	struct told *told_of = told(userdata, name);

	secret_unref(told_of->last);
	told_of->last = secret ? secret_ref(secret) : NULL;
	told_of->n_absent += !secret;
	told_of->n_changed++;
	told_of->failure[0] = '\0';
}

static void on_secret_failed(void *userdata, enum object_kind kind, const char *ns, const char *name,
			     const struct err *e)
{
	struct told *told_of = told(userdata, name);

	snprintf(told_of->failure, sizeof(told_of->failure), "%s", err_text(e));
	told_of->n_failed++;
}

static void on_pod_changed(void *userdata, struct pod *pod)
{
	((struct rig *)userdata)->n_pods++;
}

static void on_pod_removed(void *userdata, const char *uid)
{
	((struct rig *)userdata)->n_pods--;
}

static void on_pods_synced(void *userdata)
{
	((struct rig *)userdata)->n_synced++;
}

static const struct source_sink SINK = {
	.pod_changed = on_pod_changed,
	.pod_removed = on_pod_removed,
	.pods_synced = on_pods_synced,
	.object_changed = on_secret_changed,
	.object_failed = on_secret_failed,
};

/* ---- the rig ---- */

static void start_source(struct rig *t)
{
	cleanup_free char *path = file_join(t->dir, "kubeconfig");
	struct err e = ERR_INIT;

	kubeconfig_write(path, apiserver_url(t->server), "", "");
	if (source_api_new(t->loop, t->files,
			   &(struct source_api_options){ .kubeconfig = path,
							 .node_name = "node-1",
							 .kube_api_qps = t->qps,
							 .kube_api_burst = t->burst,
							 .tuning = { .strategy = t->strategy } },
			   &SINK, t, &t->source, &e) < 0 ||
	    source_start(t->source, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static int setup(void **state)
{
	struct rig *t = calloc(1, sizeof(*t));
	struct err e = ERR_INIT;

	t->trouble = *state;
	snprintf(t->dir, sizeof(t->dir), "/tmp/test_protocol.XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(files_direct_new(t->loop, &t->files), 0);
	if (apiserver_start(&(struct apiserver_options){ .port = 0 }, &t->server, &e) < 0)
		fail_msg("%s", err_text(&e));
	*state = t;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct rig *t = *state;

	source_free(t->source);
	apiserver_stop(t->server);
	files_free(t->files);
	loop_free(t->loop);
	secret_unref(t->s.last);
	secret_unref(t->o.last);
	secret_unref(t->n.last);
	nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(secmem_stats().n_blocks, 0);
	free(t);
	return 0;
}

static size_t n_watches(const struct rig *t)
{
	struct source_health h;

	source_health(t->source, &h);
	return h.n_watches;
}

static bool is_away(const struct rig *t)
{
	struct source_health h;

	source_health(t->source, &h);
	return strstr(h.last_error, "Connection refused");
}

static uint64_t put_secret(struct rig *t, const char *name, const char *value)
{
	cleanup_free char *text =
		str_format("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\","
			   "\"name\":\"%s\"},\"stringData\":{\"k\":\"%s\"}}",
			   name, value);

	return apiserver_put_text(t->server, text);
}

static void put_pod(struct rig *t, unsigned i)
{
	cleanup_free char *text =
		str_format("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":"
			   "\"p%u\"},\"spec\":{\"nodeName\":\"node-1\",\"containers\":[]}}",
			   i);

	apiserver_put_text(t->server, text);
}

static void want(struct rig *t, const char *name)
{
	assert_int_equal(source_want(t->source, OBJECT_SECRET, "ns", name), 0);
}

static bool has_value(const struct told *of, const char *value)
{
	const struct secret_key *k = of->last ? secret_find_key(of->last, "k") : NULL;

	return k && k->value.len == strlen(value) && memcmp(secspan_data(&k->value), value, strlen(value)) == 0;
}

/* How many requests had both in them. */
static size_t asked(struct rig *t, const char *a, const char *b)
{
	size_t n = 0;
	char *line;

	for (size_t i = 0; (line = apiserver_request(t->server, i)); i++) {
		n += strstr(line, a) && strstr(line, b);
		free(line);
	}
	return n;
}

static void assert_asked(struct rig *t, const char *whose, size_t n_list, size_t n_watch)
{
	size_t watches = asked(t, whose, "watch=true"), lists = asked(t, whose, "") - watches;

	if (lists != n_list || watches != n_watch)
		fail_msg("%zu lists and %zu watches of %s, not %zu and %zu", lists, watches, whose, n_list, n_watch);
}

#define OF_S	   "metadata.name%3Ds&"
#define OF_O	   "metadata.name%3Do&"
#define OF_PODS	   "/api/v1/pods?"
#define LIST_OF_S  OF_S "limit="
#define WATCH_OF_S OF_S "resourceVersion="

/* `o` and the pods go on as if nothing had happened. */
static void assert_others_undisturbed(struct rig *t)
{
	assert_asked(t, OF_O, 1, 1);
	assert_asked(t, OF_PODS, 1, 2); /* WatchList was tried */
	assert_int_equal(t->n_synced, 1);
	assert_int_equal(t->o.n_failed, 0);
	assert_int_equal(t->o.n_changed, 1);
	put_secret(t, "o", "two");
	eventually(t, has_value(&t->o, "two"));
	put_pod(t, 0);
	eventually(t, t->n_pods == 1);
}

static void start_with_o(struct rig *t)
{
	start_source(t);
	eventually(t, t->n_synced == 1);
	put_secret(t, "o", "one");
	put_secret(t, "s", "one");
	want(t, "o");
	eventually(t, has_value(&t->o, "one") && n_watches(t) == 2);
}

static void assert_told_failure(struct rig *t, const char *failure, unsigned n)
{
	if (!failure) {
		assert_int_equal(t->s.n_failed, 0);
		return;
	}
	assert_int_equal(t->s.n_failed, n);
}

/* Another's watch goes on, a Secret that is new comes, and a pod. Says how long it took. */
static uint64_t serve_others(struct rig *t, unsigned i)
{
	uint64_t begin = clock_monotonic_usec();
	char name[16];

	snprintf(name, sizeof(name), "n%u", i);
	put_secret(t, "o", name);
	put_secret(t, name, name);
	put_pod(t, i);
	want(t, name);
	eventually(t, has_value(&t->o, name) && has_value(&t->n, name) && t->n_pods == i + 1);
	return clock_monotonic_usec() - begin;
}

/* While `s` is in trouble, and cannot come out of it: the others do not wait for what it waits for, if it does, which is
 * 0.8 seconds at least. A slow machine may take as long: then once more, after the next failure. */
static void assert_others_served_meanwhile(struct rig *t, bool s_waits)
{
	uint64_t limit = clock_monotonic_usec() + PATIENCE_USEC;
	bool undelayed = false;
	size_t n_before;
	unsigned i;

	for (i = 0; !undelayed && clock_monotonic_usec() < limit; i++) {
		n_before = asked(t, OF_S, "");
		undelayed = serve_others(t, i) < 400 * USEC_PER_MSEC || !s_waits;
		while (!undelayed && asked(t, OF_S, "") == n_before && clock_monotonic_usec() < limit)
			loop_run_once(t->loop, 5 * USEC_PER_MSEC);
	}
	assert_true(undelayed);
	assert_asked(t, OF_O, 1, 1);
	assert_asked(t, OF_PODS, 1, 2);
	assert_int_equal(t->n_synced, 1);
	assert_int_equal(t->o.n_failed + t->n.n_failed, 0);
	assert_int_equal(t->o.n_changed, 1 + i);
	assert_int_equal(t->n.n_changed, i);
}

/* ---- lists ---- */

static void trouble_at_the_list(void **state)
{
	struct rig *t = *state;
	const struct trouble *tr = t->trouble;

	start_with_o(t);
	apiserver_fail(t->server, tr->match, tr->status, tr->body, tr->retry_after, tr->n_times ? tr->n_times : 1);
	want(t, "s");
	if (tr->failure) {
		eventually(t, *t->s.failure);
		if (!strstr(t->s.failure, tr->failure))
			fail_msg("%s", t->s.failure);
	}
	eventually(t, has_value(&t->s, "one") && n_watches(t) == 3);
	settle(t);
	assert_asked(t, OF_S, tr->n_lists, tr->n_watches);
	assert_told_failure(t, tr->failure, 1);
	assert_int_equal(t->s.n_changed, 1);
	put_secret(t, "s", "two");
	eventually(t, has_value(&t->s, "two"));
	assert_others_undisturbed(t);
}

static void trouble_at_the_list_is_no_others(void **state)
{
	struct rig *t = *state;
	const struct trouble *tr = t->trouble;

	start_with_o(t);
	apiserver_fail(t->server, tr->match, tr->status, tr->body, tr->retry_after, -1);
	want(t, "s");
	eventually(t, asked(t, OF_S, "") > 0 && (!tr->failure || *t->s.failure));
	assert_others_served_meanwhile(t, true);
	assert_int_equal(t->s.n_changed, 0);
}

#define STATUS(code, reason, message)                                                                                  \
	"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"code\":" #code ",\"reason\":\"" reason    \
	"\",\"message\":\"" message "\"}"
#define SECRET_LIST "{\"kind\":\"SecretList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"1\"},"
#define AT_LIST	    .match = LIST_OF_S, .retry_after = -1, .n_lists = 2, .n_watches = 1
#define HTML	    "<html><head><title>Sign in</title></head>\n<body>proxy</body></html>\n"

static struct trouble LIST_403 = { AT_LIST, .status = 403, .failure = "403" };
static struct trouble LIST_404 = { AT_LIST, .status = 404, .failure = "404" };
static struct trouble LIST_410 = { AT_LIST, .status = 410 };
static struct trouble LIST_429 = { AT_LIST, .status = 429, .failure = "429" };
static struct trouble LIST_500 = { AT_LIST, .status = 500, .failure = "500" };
static struct trouble LIST_503_LATER = {
	.match = LIST_OF_S, .status = 503, .retry_after = 2, .failure = "503", .n_lists = 2, .n_watches = 1
};
static struct trouble LIST_TOO_LARGE = {
	AT_LIST, .status = 504, .body = STATUS(504, "Timeout", "Timeout: Too large resource version: 9, current: 1")
};
/* twice: the first on a connection that was used before is tried again by the HTTP library, silently */
static struct trouble LIST_CUT = { .match = LIST_OF_S,
				   .retry_after = -1,
				   .n_lists = 3,
				   .n_watches = 1,
				   .status = 0,
				   .n_times = 2,
				   .failure = "http" };
static struct trouble LIST_HTML = { AT_LIST, .status = 200, .body = HTML, .failure = "the server's list of secrets" };
static struct trouble LIST_HTML_502 = { AT_LIST, .status = 502, .body = HTML, .failure = "502 Bad Gateway" };
static struct trouble LIST_EMPTY_BODY = { AT_LIST, .status = 200, .body = "",
					  .failure = "the server's list of secrets" };
static struct trouble LIST_HALF = { AT_LIST, .status = 200, .body = SECRET_LIST "\"items\":[{\"meta",
				    .failure = "the server's list of secrets" };
static struct trouble LIST_OTHER_KIND = {
	AT_LIST, .status = 200,
	.body = "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}",
	.failure = "kind is not SecretList"
};
static struct trouble LIST_DUPLICATE_KEYS = { AT_LIST, .status = 200, .body = SECRET_LIST "\"items\":[],\"items\":[]}",
					      .failure = "duplicate" };

/* ---- watches ---- */

static void provoke(struct rig *t, const struct trouble *tr, int n)
{
	if (tr->match) {
		apiserver_fail(t->server, tr->match, tr->status, tr->body, tr->retry_after, n);
		reach(t, apiserver_end_watch(t->server, "Secret", "s", false));
	}
	if (tr->inject)
		reach(t, apiserver_inject_one(t->server, "Secret", "s", tr->inject));
	if (tr->endless) {
		cleanup_free char *line = malloc(5 << 20);

		memset(line, 'x', (5 << 20) - 1);
		line[(5 << 20) - 1] = '\0';
		reach(t, apiserver_inject_one(t->server, "Secret", "s", line));
	}
	if (tr->ends)
		reach(t, apiserver_end_watch(t->server, "Secret", "s", tr->cut));
}

static void start_with_o_and_s(struct rig *t)
{
	start_with_o(t);
	want(t, "s");
	eventually(t, has_value(&t->s, "one") && n_watches(t) == 3);
	/* a watch without an event that ends at once is another trouble */
	put_secret(t, "s", "first");
	eventually(t, has_value(&t->s, "first"));
}

static void trouble_at_the_watch(void **state)
{
	struct rig *t = *state;
	const struct trouble *tr = t->trouble;

	start_with_o_and_s(t);
	provoke(t, tr, 1);
	if (tr->failure) {
		eventually(t, *t->s.failure);
		if (!strstr(t->s.failure, tr->failure))
			fail_msg("%s", t->s.failure);
	}
	if (tr->value)
		eventually(t, has_value(&t->s, tr->value));
	else
		assert_true(has_value(&t->s, "first"));
	eventually(t, asked(t, OF_S, "watch=true") == tr->n_watches && n_watches(t) == 3);
	put_secret(t, "s", "last");
	eventually(t, has_value(&t->s, "last"));
	settle(t);
	assert_asked(t, OF_S, tr->n_lists, tr->n_watches);
	assert_told_failure(t, tr->failure, 1);
	assert_int_equal(t->s.n_absent, 0);
	assert_others_undisturbed(t);
}

static void trouble_at_the_watch_is_no_others(void **state)
{
	struct rig *t = *state;
	const struct trouble *tr = t->trouble;
	bool goes_on = tr->n_lists == 1 && tr->n_watches == 1;

	start_with_o_and_s(t);
	if (!tr->match)
		apiserver_fail(t->server, OF_S, 500, NULL, -1, -1); /* it cannot begin anew */
	provoke(t, tr, -1);
	eventually(t, (goes_on || asked(t, OF_S, "") > 2) && (!tr->failure || *t->s.failure));
	assert_others_served_meanwhile(t, !goes_on);
	assert_int_equal(t->s.n_absent, 0);
	assert_true(tr->value || has_value(&t->s, "first"));
}

#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define META		    "\"metadata\":{\"namespace\":\"ns\",\"name\":\"s\",\"resourceVersion\":\"9\"}"
#define SECRET(rest)	    "{\"apiVersion\":\"v1\",\"kind\":\"Secret\"," META rest "}"
#define RELISTS		    .n_lists = 2, .n_watches = 2
#define RESUMES		    .n_lists = 1, .n_watches = 2
#define GOES_ON		    .n_lists = 1, .n_watches = 1

static struct trouble WATCH_410 = { .inject = EVENT("ERROR", STATUS(410, "Expired", "too old resource version")),
				    RELISTS };
static struct trouble WATCH_ERROR_500 = { .inject = EVENT("ERROR", STATUS(500, "InternalError", "etcd is away")),
					  .failure = "etcd is away",
					  RELISTS };
static struct trouble WATCH_CLOSED = { .ends = true, RESUMES };
static struct trouble WATCH_CUT = {
	.inject = "{\"type\":\"MODIFIED\",\"object\":{\"ki", .ends = true, .cut = true, RESUMES
};
static struct trouble WATCH_CLOSED_HALF = { .inject = "{\"type\":\"MODIFIED\",\"object\":{\"ki",
					    .ends = true,
					    .failure = "in the middle of a message",
					    RELISTS };
static struct trouble WATCH_GARBAGE = { .inject = "\x01\x02garbage\n", .failure = "a message in the watch", RELISTS };
static struct trouble WATCH_HTML = { .inject = HTML, .failure = "a message in the watch", RELISTS };
static struct trouble WATCH_ENDLESS = { .endless = true, .failure = "more than 4 MiB", RELISTS };
static struct trouble WATCH_DUPLICATE_KEYS = {
	.inject = EVENT("MODIFIED", SECRET(",\"data\":{\"k\":\"YQ==\"},\"data\":{\"k\":\"Yg==\"}")),
	.failure = "a message in the watch",
	RELISTS
};
static struct trouble WATCH_OTHER_KIND = {
	.inject = EVENT("MODIFIED", "{\"apiVersion\":\"v1\",\"kind\":\"Pod\"," META "}"), GOES_ON
};
static struct trouble WATCH_OTHER_NAME = { .inject = EVENT("DELETED",
							   "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{"
							   "\"namespace\":\"ns\",\"name\":\"o\",\"resourceVersion\":"
							   "\"9\"}}"),
					   GOES_ON };
static struct trouble WATCH_OTHER_TYPE = { .inject = EVENT("RENAMED", SECRET("")), GOES_ON };
static struct trouble VALUE_NULL = { .inject = EVENT("MODIFIED", SECRET(",\"data\":{\"k\":null}")),
				     .value = "",
				     GOES_ON };
static struct trouble VALUE_WITH_LINE_BREAKS = {
	.inject = EVENT("MODIFIED", SECRET(",\"data\":{\"k\":\"Ym\\r\\nFz\\nZQ==\\n\"}")), .value = "base", GOES_ON
};
static struct trouble VALUE_NOT_BASE64 = { .inject = EVENT("MODIFIED", SECRET(",\"data\":{\"k\":\"%%%\"}")),
					   .failure = "data.k: illegal base64 data",
					   GOES_ON };
static struct trouble VALUE_NO_STRING = { .inject = EVENT("MODIFIED", SECRET(",\"data\":{\"k\":7}")),
					  .failure = "data.k: must be a string",
					  GOES_ON };
static struct trouble WATCH_ANSWERED_429 = {
	.match = WATCH_OF_S, .status = 429, .retry_after = 1, .failure = "429", .n_lists = 1, .n_watches = 3
};
static struct trouble WATCH_ANSWERED_503 = {
	.match = WATCH_OF_S, .status = 503, .retry_after = -1, .failure = "503", .n_lists = 1, .n_watches = 3
};
static struct trouble WATCH_ANSWERED_403 = {
	.match = WATCH_OF_S, .status = 403, .retry_after = -1, .failure = "403", .n_lists = 2, .n_watches = 3
};
static struct trouble WATCH_ANSWERED_410 = {
	.match = WATCH_OF_S, .status = 410, .retry_after = -1, .n_lists = 2, .n_watches = 3
};
static struct trouble WATCH_VERY_SHORT = {
	.match = WATCH_OF_S, .status = 200, .body = "", .retry_after = -1, .n_lists = 2, .n_watches = 3
};
static struct trouble WATCH_ANSWERED_HTML = { .match = WATCH_OF_S,
					      .status = 200,
					      .body = HTML,
					      .retry_after = -1,
					      .failure = "a message in the watch",
					      .n_lists = 2,
					      .n_watches = 3 };

/* ---- what is no trouble ---- */

static void nothing_happens_without_need(void **state)
{
	struct rig *t = *state;

	start_with_o(t);
	settle(t);
	assert_asked(t, "GET ", 3, 3); /* with the node */
	assert_others_undisturbed(t);
	assert_asked(t, "GET ", 3, 3); /* with the node */
}

static void absent_added_and_deleted_follow_each_other(void **state)
{
	struct rig *t = *state;

	start_source(t);
	want(t, "s");
	eventually(t, t->s.n_absent == 1 && n_watches(t) == 2);
	put_secret(t, "s", "one");
	eventually(t, has_value(&t->s, "one"));
	assert_true(apiserver_delete(t->server, "Secret", "ns", "s"));
	eventually(t, t->s.n_absent == 2);
	assert_int_equal(t->s.n_changed, 3);
	assert_asked(t, OF_S, 1, 1);
}

static void data_null_is_a_secret_without_keys(void **state)
{
	struct rig *t = *state;

	start_with_o(t);
	want(t, "s");
	eventually(t, has_value(&t->s, "one") && n_watches(t) == 3);
	reach(t, apiserver_inject_one(t->server, "Secret", "s", EVENT("MODIFIED", SECRET(",\"data\":null"))));
	eventually(t, t->s.n_changed == 2);
	assert_non_null(t->s.last);
	assert_int_equal(t->s.last->n_keys, 0);
	assert_int_equal(t->s.n_failed, 0);
	assert_asked(t, OF_S, 1, 1);
}

/* The list at version 0 comes whole out of the server's cache; only one of the most recent state has pages. */
static void pods_come_in_pages(void **state)
{
	struct rig *t = *state;

	for (unsigned i = 0; i < 1200; i++)
		put_pod(t, i);
	apiserver_fail(t->server, "/pods?", 410, NULL, -1, 1);
	start_source(t);
	eventually(t, t->n_synced == 1);
	assert_int_equal(t->n_pods, 1200);
	assert_int_equal(asked(t, OF_PODS, "continue="), 2);
	eventually(t, n_watches(t) == 1);
	assert_asked(t, OF_PODS, 3, 2);
}

/* ---- a server that has gone back in time ---- */

/* The real one answers a watch from a version that it has not reached with silence; so does the test server. */
static void server_with_lower_versions_is_followed(struct rig *t)
{
	uint16_t port = apiserver_port(t->server);
	struct err e = ERR_INIT;

	put_pod(t, 1);
	start_with_o(t);
	want(t, "s");
	for (unsigned i = 0; i < 50; i++)
		put_secret(t, "s", i == 49 ? "last" : "x");
	reach(t, apiserver_bookmark(t->server));
	eventually(t, has_value(&t->s, "last") && n_watches(t) == 3 && t->n_pods == 1);
	settle(t);

	apiserver_stop(t->server);
	if (apiserver_start(&(struct apiserver_options){ .port = port, .watch_list = t->watch_list }, &t->server, &e) <
	    0)
		fail_msg("%s", err_text(&e));
	put_secret(t, "s", "old");
	put_pod(t, 7);
	/* what it has is shown, and what it lacks stays for now: it may just be younger than the state that is restored */
	eventually(t, has_value(&t->s, "old") && t->n_pods == 2 && n_watches(t) == 3);
	eventually(t, t->o.n_failed > 0);
	assert_int_equal(t->s.n_absent + t->o.n_absent, 0);

	put_secret(t, "s", "new");
	put_secret(t, "o", "new");
	put_pod(t, 8);
	eventually(t, has_value(&t->s, "new") && has_value(&t->o, "new") && t->n_pods == 3);
	/* silent watches, one that is refused as too large, the lists, the watches, and the pod that is missing */
	assert_in_range(apiserver_counts(t->server).n_requests, 7, 18);
}

static void restored_etcd_is_followed(void **state)
{
	server_with_lower_versions_is_followed(*state);
}

static void restored_etcd_is_followed_with_watch_list(void **state)
{
	struct rig *t = *state;

	t->watch_list = APISERVER_WATCH_LIST_SERVED;
	apiserver_set_watch_list(t->server, t->watch_list);
	server_with_lower_versions_is_followed(t);
}

/* ---- a machine that slept ---- */

static void after_a_sleep_watches_go_on_over_new_connections(void **state)
{
	struct rig *t = *state;
	uint64_t n_lists;

	start_with_o(t);
	want(t, "s");
	eventually(t, has_value(&t->s, "one") && n_watches(t) == 3);
	put_secret(t, "s", "two"); /* a watch without an event that is over at once is another trouble */
	put_secret(t, "o", "two");
	eventually(t, has_value(&t->s, "two") && has_value(&t->o, "two"));
	n_lists = asked(t, OF_S, "limit=") + asked(t, OF_O, "limit=");
	source_slept(t->source);
	eventually(t, asked(t, OF_S, "watch=true") == 2 && asked(t, OF_O, "watch=true") == 2);
	eventually(t, n_watches(t) == 3);
	put_secret(t, "s", "three");
	put_secret(t, "o", "three");
	put_pod(t, 1);
	eventually(t, has_value(&t->s, "three") && has_value(&t->o, "three") && t->n_pods == 1);
	settle(t);
	assert_int_equal(asked(t, OF_S, "limit=") + asked(t, OF_O, "limit="), n_lists);
	assert_int_equal(t->s.n_changed, 3);
	assert_int_equal(t->s.n_failed, 0);
}

/* A node that waits longer and longer before it asks again. Nobody is answered, not after the sleep either: the first answer to
 * any request would end the waiting. */
struct waiter {
	enum source_strategy strategy;
	struct rig *t;
	size_t n_asked;
	uint64_t asked_usec;
	uint64_t awake_usec; /* since the sleep; while the machine has no time for us does not count */
	bool patient, slept, again; /* patient: it waits for 4 s, or more, the next time */
};

static void waiter_start(struct waiter *w)
{
	setup((void **)&w->t);
	w->t->strategy = w->strategy;
	apiserver_fail(w->t->server, "/api/", 0, NULL, -1, -1);
	start_source(w->t);
	want(w->t, "s");
}

static void waiter_look(struct waiter *w)
{
	uint64_t now = clock_monotonic_usec();
	size_t n = asked(w->t, "/api/", "");

	if (n == w->n_asked) {
		/* what became of the last request is known by now: 3.6 seconds, or more, before it would ask again */
		if (w->patient && !w->slept && now - w->asked_usec > 400 * USEC_PER_MSEC) {
			source_slept(w->t->source);
			w->slept = true;
		}
		return;
	}
	w->again = w->slept;
	w->patient = w->n_asked > 0 && now - w->asked_usec > 4 * USEC_PER_SEC;
	w->n_asked = n;
	w->asked_usec = now;
}

static void after_a_sleep_nobody_waits_on_for_the_server(void **state)
{
	struct waiter waiters[] = { { .strategy = SOURCE_WATCH }, { .strategy = SOURCE_CACHE } };
	uint64_t limit = clock_monotonic_usec() + 3 * PATIENCE_USEC, before = clock_monotonic_usec(), passed;
	size_t n_again = 0;

	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
		waiter_start(&waiters[i]);
	while (n_again < ARRAY_SIZE(waiters)) {
		passed = MIN(clock_monotonic_usec() - before, 20 * USEC_PER_MSEC);
		before = clock_monotonic_usec();
		n_again = 0;
		for (size_t i = 0; i < ARRAY_SIZE(waiters); i++) {
			struct waiter *w = &waiters[i];

			w->awake_usec += w->slept ? passed : 0;
			loop_run_once(w->t->loop, 2 * USEC_PER_MSEC);
			waiter_look(w);
			n_again += w->again;
			if (!w->again && (w->awake_usec > 2 * USEC_PER_SEC || before > limit))
				fail_msg("strategy %d: nothing was asked for after the sleep", (int)w->strategy);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
		teardown((void **)&waiters[i].t);
}

/* ---- the limit of requests ---- */

static void lists_keep_to_kube_api_qps_and_burst(void **state)
{
	struct rig *t = *state;
	uint64_t begin = clock_monotonic_usec();
	char name[16];

	t->qps = 20;
	t->burst = 5;
	start_source(t);
	for (unsigned i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		want(t, name);
	}
	while (t->n.n_absent < 30 && clock_monotonic_usec() - begin < PATIENCE_USEC) {
		size_t n = apiserver_counts(t->server).n_list;
		uint64_t msec = (clock_monotonic_usec() - begin) / USEC_PER_MSEC;

		if (n > t->burst + msec * t->qps / 1000 + 1)
			fail_msg("%zu lists after %llu ms", n, (unsigned long long)msec);
		loop_run_once(t->loop, 5 * USEC_PER_MSEC);
	}
	assert_int_equal(t->n.n_absent, 30);
	/* 31 lists, 5 at once, the others each 50 ms */
	assert_true(clock_monotonic_usec() - begin >= 1250 * USEC_PER_MSEC);
	eventually(t, n_watches(t) == 31);
	assert_asked(t, "GET ", 32, 32); /* with the node */
}

/* ---- WatchList ---- */

static void watch_list_is_one_request_each(void **state)
{
	struct rig *t = *state;

	apiserver_set_watch_list(t->server, APISERVER_WATCH_LIST_SERVED);
	put_pod(t, 1);
	start_with_o(t);
	assert_int_equal(t->n_pods, 1);
	want(t, "s");
	eventually(t, has_value(&t->s, "one") && n_watches(t) == 3);
	put_secret(t, "s", "two");
	eventually(t, has_value(&t->s, "two"));
	assert_asked(t, "GET ", 1, 3); /* the node */
	assert_int_equal(asked(t, "sendInitialEvents=true", "resourceVersionMatch=NotOlderThan"), 3);
	/* an ordinary watch goes on from where it was */
	reach(t, apiserver_end_watch(t->server, "Secret", "s", false));
	eventually(t, asked(t, OF_S, "") == 2);
	assert_int_equal(asked(t, "sendInitialEvents=true", ""), 3);
	put_secret(t, "s", "three");
	eventually(t, has_value(&t->s, "three"));
	assert_int_equal(t->s.n_changed, 3);
}

static void watch_list_deletes_what_it_does_not_mention(void **state)
{
	struct rig *t = *state;

	apiserver_set_watch_list(t->server, APISERVER_WATCH_LIST_SERVED);
	put_pod(t, 1);
	put_pod(t, 2);
	start_with_o(t);
	want(t, "s");
	eventually(t, has_value(&t->s, "one") && n_watches(t) == 3 && t->n_pods == 2);
	apiserver_pause(t->server);
	eventually(t, n_watches(t) == 0);
	apiserver_delete(t->server, "Secret", "ns", "s");
	apiserver_delete(t->server, "Pod", "ns", "p1");
	apiserver_compact(t->server);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, t->s.n_absent == 1 && t->n_pods == 1 && n_watches(t) == 3);
	/* the other Secret's watch may still be good for a resumption: nothing that it has seen was compacted away */
	assert_in_range(asked(t, "sendInitialEvents=true", ""), 5, 6);
	assert_int_equal(asked(t, "limit=", ""), 0);
	assert_int_equal(t->o.n_absent, 0);
}

static void watch_list_refused_is_asked_for_once(void **state)
{
	struct rig *t = *state;

	start_with_o(t);
	want(t, "s");
	eventually(t, has_value(&t->s, "one") && n_watches(t) == 3);
	assert_int_equal(asked(t, "sendInitialEvents=true", ""), 1);
	assert_asked(t, OF_S, 1, 1);
	assert_others_undisturbed(t);
}

/* 1.18 and before answer with a watch like any other, which is one, but without an end of the list */
static void watch_list_ignored_is_found_out(void **state)
{
	struct rig *t = *state;

	apiserver_set_watch_list(t->server, APISERVER_WATCH_LIST_IGNORED);
	put_pod(t, 1);
	start_source(t);
	want(t, "s");
	put_secret(t, "s", "one");
	/* nobody waits for the one who tries */
	eventually(t, has_value(&t->s, "one") && t->n_pods == 1);
	assert_int_equal(t->n_synced, 0);
	eventually(t, t->n_synced == 1 && n_watches(t) == 2);
	assert_int_equal(asked(t, "sendInitialEvents=true", ""), 1);
	assert_asked(t, OF_PODS, 1, 2);
	assert_asked(t, OF_S, 1, 1);
}

static void watch_list_is_asked_for_again_when_the_server_was_away(void **state)
{
	struct rig *t = *state;

	start_with_o(t);
	assert_int_equal(asked(t, "sendInitialEvents=true", ""), 1);
	apiserver_pause(t->server);
	eventually(t, is_away(t));
	apiserver_set_watch_list(t->server, APISERVER_WATCH_LIST_SERVED);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, n_watches(t) == 2);
	want(t, "s");
	eventually(t, has_value(&t->s, "one") && n_watches(t) == 3);
	assert_asked(t, OF_S, 0, 1);
	assert_int_equal(asked(t, OF_S, "sendInitialEvents=true"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TROUBLE(test, func, what)                                                                                      \
	{                                                                                                              \
		test, func, setup, teardown, &what                                                                     \
	}
#define LIST_TEST(test, what)                                                                                          \
	TROUBLE(test, trouble_at_the_list, what), TROUBLE(test "_is_no_others", trouble_at_the_list_is_no_others, what)
#define WATCH_TEST(test, what)                                                                                         \
	TROUBLE(test, trouble_at_the_watch, what),                                                                     \
		TROUBLE(test "_is_no_others", trouble_at_the_watch_is_no_others, what)
	const struct CMUnitTest tests[] = {
		LIST_TEST("list_403_of_a_fresh_secret", LIST_403),
		LIST_TEST("list_404", LIST_404),
		LIST_TEST("list_410_expired", LIST_410),
		LIST_TEST("list_429", LIST_429),
		LIST_TEST("list_500", LIST_500),
		LIST_TEST("list_503_with_retry_after", LIST_503_LATER),
		LIST_TEST("list_with_a_version_too_large", LIST_TOO_LARGE),
		LIST_TEST("list_cut_by_the_connection", LIST_CUT),
		LIST_TEST("list_is_html_of_a_proxy", LIST_HTML),
		LIST_TEST("list_502_with_html_of_a_proxy", LIST_HTML_502),
		LIST_TEST("list_with_an_empty_body", LIST_EMPTY_BODY),
		LIST_TEST("list_ends_in_the_middle", LIST_HALF),
		LIST_TEST("list_of_another_kind", LIST_OTHER_KIND),
		LIST_TEST("list_with_duplicate_keys", LIST_DUPLICATE_KEYS),
		WATCH_TEST("watch_410_expired", WATCH_410),
		WATCH_TEST("watch_error_event_500", WATCH_ERROR_500),
		WATCH_TEST("watch_closed_cleanly", WATCH_CLOSED),
		WATCH_TEST("watch_cut_in_the_middle_of_an_object", WATCH_CUT),
		WATCH_TEST("watch_closed_in_the_middle_of_an_object", WATCH_CLOSED_HALF),
		WATCH_TEST("watch_with_garbage", WATCH_GARBAGE),
		WATCH_TEST("watch_with_html", WATCH_HTML),
		WATCH_TEST("watch_with_an_endless_line", WATCH_ENDLESS),
		WATCH_TEST("watch_event_with_duplicate_keys", WATCH_DUPLICATE_KEYS),
		WATCH_TEST("watch_event_of_another_kind", WATCH_OTHER_KIND),
		WATCH_TEST("watch_event_of_another_name", WATCH_OTHER_NAME),
		WATCH_TEST("watch_event_of_another_type", WATCH_OTHER_TYPE),
		WATCH_TEST("value_null_is_empty", VALUE_NULL),
		WATCH_TEST("value_with_line_breaks_is_decoded", VALUE_WITH_LINE_BREAKS),
		WATCH_TEST("value_that_is_not_base64_keeps_the_last", VALUE_NOT_BASE64),
		WATCH_TEST("value_that_is_no_string_keeps_the_last", VALUE_NO_STRING),
		WATCH_TEST("watch_answered_with_429_and_retry_after", WATCH_ANSWERED_429),
		WATCH_TEST("watch_answered_with_503", WATCH_ANSWERED_503),
		WATCH_TEST("watch_answered_with_403", WATCH_ANSWERED_403),
		WATCH_TEST("watch_answered_with_410", WATCH_ANSWERED_410),
		WATCH_TEST("watch_that_is_very_short", WATCH_VERY_SHORT),
		WATCH_TEST("watch_answered_with_html_of_a_proxy", WATCH_ANSWERED_HTML),
		TEST(nothing_happens_without_need),
		TEST(absent_added_and_deleted_follow_each_other),
		TEST(data_null_is_a_secret_without_keys),
		TEST(pods_come_in_pages),
		TEST(restored_etcd_is_followed),
		TEST(restored_etcd_is_followed_with_watch_list),
		TEST(after_a_sleep_watches_go_on_over_new_connections),
		cmocka_unit_test(after_a_sleep_nobody_waits_on_for_the_server),
		TEST(lists_keep_to_kube_api_qps_and_burst),
		TEST(watch_list_is_one_request_each),
		TEST(watch_list_deletes_what_it_does_not_mention),
		TEST(watch_list_refused_is_asked_for_once),
		TEST(watch_list_ignored_is_found_out),
		TEST(watch_list_is_asked_for_again_when_the_server_was_away),
	};
	struct err e = ERR_INIT;

	json_setup();
	log_init("test", LOG_LEVEL_ERROR);
	if (secmem_init(16 * 1024 * 1024, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
