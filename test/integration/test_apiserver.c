/* The test API server, seen by an HTTP client: what the agent's tests stand on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <pthread.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/str.h"
#include "test/apiserver/apiserver.h"
#include "test/lib/certs.h"

#define BODY_MAX      (64 * 1024 * 1024)
#define PATIENCE_USEC (20 * USEC_PER_SEC)

static const char secrets[] = "/api/v1/namespaces/ns/secrets";

/* Waits until cond holds, with a limit that only a broken server reaches. */
#define eventually(cond)                                                                                               \
	do {                                                                                                           \
		uint64_t limit_ = clock_monotonic_usec() + PATIENCE_USEC;                                              \
		while (!(cond) && clock_monotonic_usec() < limit_)                                                     \
			usleep(2000);                                                                                  \
		assert_true(cond);                                                                                     \
	} while (0)

static struct apiserver *start(const struct apiserver_options *o)
{
	struct apiserver_options none = { .port = 0 };
	struct apiserver *a = NULL;
	struct err e = ERR_INIT;

	if (apiserver_start(o ? o : &none, &a, &e) < 0)
		fail_msg("%s", err_text(&e));
	return a;
}

static uint64_t put_secret(struct apiserver *a, const char *name, const char *value)
{
	cleanup_free char *text = str_format("{\"kind\":\"Secret\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\"},"
					     "\"stringData\":{\"k\":\"%s\"}}",
					     name, value);

	return apiserver_put_text(a, text);
}

static uint64_t put_pod(struct apiserver *a, const char *name, const char *node, const char *secret)
{
	cleanup_free char *text = str_format(
		"{\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\"},\"spec\":{\"nodeName\":\"%s\","
		"\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"%s\"}}]}}",
		name, node, secret);

	return apiserver_put_text(a, text);
}

/* ---- a client ---- */

struct credentials {
	const char *dir; /* NULL: plain HTTP */
	const char *name; /* NULL: no client certificate */
	const char *token;
};

struct answer {
	CURLcode result;
	long code;
	curl_off_t retry_after;
	json_t *json; /* NULL: the body is none */
};

static size_t collect(char *data, size_t size, size_t n, void *userdata)
{
	return buf_add(userdata, data, size * n) < 0 ? 0 : size * n;
}

static CURL *client(struct apiserver *a, const char *path, const struct credentials *as,
		    struct curl_slist **ret_headers)
{
	cleanup_free char *url = str_format("%s%s", apiserver_url(a), path);
	CURL *c = curl_easy_init();

	assert_non_null(c);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	if (as && as->dir) {
		cleanup_free char *ca = file_join(as->dir, "ca.crt");

		curl_easy_setopt(c, CURLOPT_CAINFO, ca);
	}
	if (as && as->name) {
		cleanup_free char *cert = str_format("%s/%s.crt", as->dir, as->name);
		cleanup_free char *key = str_format("%s/%s.key", as->dir, as->name);

		curl_easy_setopt(c, CURLOPT_SSLCERT, cert);
		curl_easy_setopt(c, CURLOPT_SSLKEY, key);
	}
	if (as && as->token) {
		cleanup_free char *header = str_format("Authorization: Bearer %s", as->token);

		*ret_headers = curl_slist_append(*ret_headers, header);
	}
	return c;
}

static struct answer ask(struct apiserver *a, const char *method, const char *path, const char *body,
			 const struct credentials *as)
{
	struct curl_slist *headers =
		curl_slist_append(NULL, str_eq(method, "PATCH") ? "Content-Type: application/merge-patch+json"
								: "Content-Type: application/json");
	cleanup_buf struct buf out = BUF_INIT(BODY_MAX);
	CURL *c = client(a, path, as, &headers);
	struct answer answer = { .json = NULL };

	curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	if (body)
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, collect);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &out);
	answer.result = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &answer.code);
	curl_easy_getinfo(c, CURLINFO_RETRY_AFTER, &answer.retry_after);
	answer.json = json_loadb(out.data ? out.data : "", out.len, 0, NULL);
	curl_easy_cleanup(c);
	curl_slist_free_all(headers);
	return answer;
}

static struct answer get(struct apiserver *a, const char *path)
{
	return ask(a, "GET", path, NULL, NULL);
}

/* A value at a dotted path: "metadata.name", "items.0.metadata.name". Integers come as text. */
static const char *at(const json_t *json, const char *path)
{
	static char number[32];
	cleanup_free char *words = strdup(path);
	char *rest = words, *word;

	while ((word = strsep(&rest, ".")))
		json = json_is_array(json) ? json_array_get(json, (size_t)atoi(word)) : json_object_get(json, word);
	snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(json));
	return json_is_string(json) ? json_string_value(json) : json_is_integer(json) ? number : "(none)";
}

static void expect_status(struct answer answer, long code, const char *reason, const char *message)
{
	assert_int_equal(answer.result, CURLE_OK);
	assert_int_equal(answer.code, code);
	assert_string_equal(at(answer.json, "kind"), "Status");
	assert_string_equal(at(answer.json, "status"), "Failure");
	assert_string_equal(at(answer.json, "reason"), reason);
	assert_int_equal(atol(at(answer.json, "code")), code);
	if (!strstr(at(answer.json, "message"), message))
		fail_msg("message is: %s", at(answer.json, "message"));
	json_decref(answer.json);
}

/* ---- a watching client: a thread that collects lines ---- */

struct watcher {
	pthread_t thread;
	pthread_mutex_t lock;
	struct buf in;
	CURL *curl;
	struct curl_slist *headers;
	CURLcode result;
	_Atomic bool ended, cancel;
};

static size_t watcher_collect(char *data, size_t size, size_t n, void *userdata)
{
	struct watcher *w = userdata;
	int r;

	pthread_mutex_lock(&w->lock);
	r = buf_add(&w->in, data, size * n);
	pthread_mutex_unlock(&w->lock);
	return r < 0 ? 0 : size * n;
}

static int watcher_progress(void *userdata, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	struct watcher *w = userdata;

	return w->cancel ? 1 : 0;
}

static void *watcher_main(void *userdata)
{
	struct watcher *w = userdata;

	w->result = curl_easy_perform(w->curl);
	curl_easy_cleanup(w->curl);
	w->ended = true;
	return NULL;
}

static struct watcher *watch_as(struct apiserver *a, const char *path, const struct credentials *as)
{
	struct watcher *w = calloc(1, sizeof(*w));
	uint64_t before = apiserver_counts(a).n_watch;

	assert_non_null(w);
	w->in = BUF_INIT(BODY_MAX);
	pthread_mutex_init(&w->lock, NULL);
	w->curl = client(a, path, as, &w->headers);
	curl_easy_setopt(w->curl, CURLOPT_HTTPHEADER, w->headers);
	curl_easy_setopt(w->curl, CURLOPT_WRITEFUNCTION, watcher_collect);
	curl_easy_setopt(w->curl, CURLOPT_WRITEDATA, w);
	curl_easy_setopt(w->curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(w->curl, CURLOPT_XFERINFOFUNCTION, watcher_progress);
	curl_easy_setopt(w->curl, CURLOPT_XFERINFODATA, w);
	assert_int_equal(pthread_create(&w->thread, NULL, watcher_main, w), 0);
	eventually(apiserver_counts(a).n_watch == before + 1);
	return w;
}

static struct watcher *watch(struct apiserver *a, const char *path)
{
	return watch_as(a, path, NULL);
}

/* The next line as text without its newline; NULL: the watch has ended without one. */
static char *watcher_line(struct watcher *w)
{
	uint64_t limit = clock_monotonic_usec() + PATIENCE_USEC;
	bool ended = false;
	char *line = NULL;

	while (!line && !ended) {
		if (clock_monotonic_usec() > limit)
			fail_msg("no line came");
		ended = w->ended;
		pthread_mutex_lock(&w->lock);
		char *end = w->in.len ? memchr(w->in.data, '\n', w->in.len) : NULL;
		if (end) {
			line = strndup(w->in.data, (size_t)(end - w->in.data));
			buf_consume(&w->in, (size_t)(end - w->in.data) + 1);
		}
		pthread_mutex_unlock(&w->lock);
		if (!line && !ended)
			usleep(1000);
	}
	return line;
}

static json_t *watcher_frame(struct watcher *w)
{
	cleanup_free char *line = watcher_line(w);
	json_t *frame;

	assert_non_null(line);
	frame = json_loads(line, 0, NULL);
	if (!frame)
		fail_msg("no JSON: %s", line);
	return frame;
}

static void expect_frame(struct watcher *w, const char *type, const char *name, uint64_t rv)
{
	cleanup(json_decrefp) json_t *frame = watcher_frame(w);

	assert_string_equal(at(frame, "type"), type);
	assert_string_equal(at(frame, "object.metadata.name"), name);
	assert_string_equal(at(frame, "object.apiVersion"), "v1");
	if (rv)
		assert_int_equal(atoll(at(frame, "object.metadata.resourceVersion")), rv);
}

/* Joins and frees; returns how the transfer ended. */
static CURLcode watcher_end(struct watcher *w)
{
	CURLcode result;

	pthread_join(w->thread, NULL);
	result = w->result;
	buf_deinit(&w->in);
	curl_slist_free_all(w->headers);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return result;
}

static void watcher_cancel(struct watcher *w)
{
	w->cancel = true;
	watcher_end(w);
}

/* ---- reading ---- */

static void list_items_have_no_kind(void **state)
{
	struct apiserver *a = start(NULL);
	struct answer list;

	put_secret(a, "b", "2");
	put_secret(a, "a", "1");
	list = get(a, secrets);
	assert_int_equal(list.code, 200);
	assert_string_equal(at(list.json, "kind"), "SecretList");
	assert_string_equal(at(list.json, "apiVersion"), "v1");
	assert_string_equal(at(list.json, "metadata.resourceVersion"), "3");
	assert_string_equal(at(list.json, "items.0.metadata.name"), "a");
	assert_string_equal(at(list.json, "items.0.data.k"), "MQ==");
	assert_string_equal(at(list.json, "items.0.type"), "Opaque");
	assert_string_equal(at(list.json, "items.0.kind"), "(none)");
	assert_string_equal(at(list.json, "items.1.metadata.name"), "b");
	json_decref(list.json);
	apiserver_stop(a);
}

static void get_has_kind_and_a_stable_uid(void **state)
{
	struct apiserver *a = start(NULL);
	struct answer first, second;

	put_secret(a, "a", "1");
	first = get(a, "/api/v1/namespaces/ns/secrets/a");
	put_secret(a, "a", "2");
	second = get(a, "/api/v1/namespaces/ns/secrets/a?resourceVersion=0");
	assert_string_equal(at(first.json, "kind"), "Secret");
	assert_string_equal(at(first.json, "metadata.resourceVersion"), "2");
	assert_string_equal(at(second.json, "metadata.resourceVersion"), "3");
	assert_string_equal(at(first.json, "metadata.uid"), at(second.json, "metadata.uid"));
	json_decref(first.json);
	json_decref(second.json);
	apiserver_stop(a);
}

static void pods_get_defaults(void **state)
{
	struct apiserver *a = start(NULL);
	struct answer pod;

	put_pod(a, "p", "n", "s");
	pod = get(a, "/api/v1/namespaces/ns/pods/p");
	assert_string_equal(at(pod.json, "status.phase"), "Pending");
	assert_string_equal(at(pod.json, "spec.volumes.0.secret.defaultMode"), "420");
	json_decref(pod.json);
	apiserver_stop(a);
}

static void refusals_are_status_objects(void **state)
{
	static const struct {
		const char *method, *path, *body;
		long code;
		const char *reason, *message;
	} cases[] = {
		{ "GET", "/nothing", NULL, 404, "NotFound", "the server could not find the requested resource" },
		{ "GET", "/api/v1/widgets", NULL, 404, "NotFound", "could not find the requested resource" },
		{ "GET", "/api/v1/namespaces/ns/secrets/a/b", NULL, 404, "NotFound", "could not find the requested" },
		{ "GET", "/api/v1/namespaces/ns/secrets/b", NULL, 404, "NotFound", "secrets \"b\" not found" },
		{ "GET", "/api/v1/namespaces/no/secrets/a", NULL, 404, "NotFound", "secrets \"a\" not found" },
		{ "GET", "/api/v1/secrets?fieldSelector=foo%3Dbar", NULL, 400, "BadRequest",
		  "field label not supported: foo" },
		{ "GET", "/api/v1/secrets?fieldSelector=spec.nodeName%3Dn", NULL, 400, "BadRequest",
		  "field label not supported: spec.nodeName" },
		{ "GET", "/api/v1/secrets?fieldSelector=metadata.name", NULL, 400, "BadRequest", "invalid selector" },
		{ "GET", "/api/v1/secrets?labelSelector=a%3Db", NULL, 400, "BadRequest", "label selectors" },
		{ "GET", "/api/v1/secrets?limit=abc", NULL, 400, "BadRequest", "invalid syntax" },
		{ "GET", "/api/v1/secrets?continue=abc", NULL, 400, "BadRequest", "invalid continue token" },
		{ "GET", "/api/v1/secrets?resourceVersion=99", NULL, 504, "Timeout",
		  "Timeout: Too large resource version: 99, current: 2" },
		{ "GET", "/api/v1/namespaces/ns/secrets/a?resourceVersion=99", NULL, 504, "Timeout", "Too large" },
		{ "GET", "/api/v1/secrets?watch=true&sendInitialEvents=true", NULL, 422, "Invalid", "NotOlderThan" },
		{ "PUT", "/api/v1/namespaces/ns/secrets", "{}", 405, "MethodNotAllowed", "does not allow this method" },
		{ "POST", "/api/v1/namespaces/ns/secrets/a", "{}", 405, "MethodNotAllowed", "does not allow" },
		{ "DELETE", "/api/v1/namespaces/ns/secrets", NULL, 405, "MethodNotAllowed", "does not allow" },
		{ "DELETE", "/api/v1/namespaces/ns/secrets/b", NULL, 404, "NotFound", "secrets \"b\" not found" },
		{ "POST", "/api/v1/namespaces/ns/secrets", "{bad", 400, "BadRequest", "json parse error" },
		{ "POST", "/api/v1/namespaces/ns/secrets", "[]", 400, "BadRequest", "unrecognized" },
		{ "POST", "/api/v1/namespaces/ns/secrets", "{\"kind\":\"Pod\"}", 400, "BadRequest", "as a Secret" },
		{ "POST", "/api/v1/namespaces/ns/secrets", "{\"metadata\":{\"name\":\"a\"}}", 409, "AlreadyExists",
		  "secrets \"a\" already exists" },
		{ "POST", "/api/v1/namespaces/ns/secrets", "{\"metadata\":{\"name\":\"b\",\"namespace\":\"x\"}}", 400,
		  "BadRequest", "the namespace of the provided object does not match" },
		{ "POST", "/api/v1/namespaces/ns/secrets", "{\"metadata\":{}}", 422, "Invalid", "Required value" },
		{ "POST", "/api/v1/namespaces/ns/secrets", "{\"metadata\":{\"name\":\"A_\"}}", 422, "Invalid",
		  "Secret \"A_\" is invalid: metadata.name: Invalid value: \"A_\": a lowercase RFC 1123 subdomain" },
		{ "POST", "/api/v1/namespaces/ns/secrets",
		  "{\"metadata\":{\"name\":\"b\"},\"stringData\":{\"k/\":\"\"}}", 422, "Invalid",
		  "data[k/]: Invalid value" },
		{ "POST", "/api/v1/namespaces/ns/secrets",
		  "{\"metadata\":{\"name\":\"b\"},\"stringData\":{\"..k\":\"\"}}", 422, "Invalid",
		  "must not start with '..'" },
		{ "POST", "/api/v1/namespaces/ns/secrets", "{\"metadata\":{\"name\":\"b\"},\"data\":{\"k\":\"%\"}}",
		  400, "BadRequest", "illegal base64 data" },
		{ "POST", "/api/v1/namespaces/ns/secrets", "{\"metadata\":{\"name\":\"b\"},\"data\":{\"k\":1}}", 400,
		  "BadRequest", "base64Codec: invalid input" },
		{ "POST", "/api/v1/namespaces/ns/secrets",
		  "{\"metadata\":{\"name\":\"b\"},\"type\":\"kubernetes.io/tls\"}", 422, "Invalid",
		  "[data[tls.crt]: Required value, data[tls.key]: Required value]" },
		{ "PUT", "/api/v1/namespaces/ns/secrets/b", "{}", 404, "NotFound", "secrets \"b\" not found" },
		{ "PUT", "/api/v1/namespaces/ns/secrets/a", "{\"metadata\":{\"name\":\"b\"}}", 400, "BadRequest",
		  "the name of the object (b) does not match the name on the URL (a)" },
		{ "PUT", "/api/v1/namespaces/ns/secrets/a", "{\"metadata\":{\"resourceVersion\":\"1\"}}", 409,
		  "Conflict", "the object has been modified" },
		{ "PUT", "/api/v1/namespaces/ns/secrets/a", "{\"type\":\"x\"}", 422, "Invalid", "field is immutable" },
		{ "PATCH", "/api/v1/namespaces/ns/secrets/b", "{}", 404, "NotFound", "not found" },
	};
	struct apiserver *a = start(NULL);

	put_secret(a, "a", "1");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("# %s %s\n", cases[i].method, cases[i].path);
		expect_status(ask(a, cases[i].method, cases[i].path, cases[i].body, NULL), cases[i].code,
			      cases[i].reason, cases[i].message);
	}
	assert_int_equal(put_secret(a, "a", "1"), 3);
	apiserver_stop(a);
}

static void too_large_resource_version_names_its_cause(void **state)
{
	struct apiserver *a = start(NULL);
	struct answer r = get(a, "/api/v1/pods?resourceVersion=7");

	assert_string_equal(at(r.json, "details.causes.0.reason"), "ResourceVersionTooLarge");
	assert_string_equal(at(r.json, "details.retryAfterSeconds"), "1");
	json_decref(r.json);
	apiserver_stop(a);
}

static void selectors_select(void **state)
{
	static const struct {
		const char *path;
		size_t n;
	} cases[] = {
		{ "/api/v1/pods", 3 },
		{ "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", 2 },
		{ "/api/v1/pods?fieldSelector=spec.nodeName=n2", 1 },
		{ "/api/v1/pods?fieldSelector=spec.nodeName==n2", 1 },
		{ "/api/v1/pods?fieldSelector=spec.nodeName!=n2", 2 },
		{ "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1,metadata.name%3Dp1", 1 },
		{ "/api/v1/pods?fieldSelector=spec.nodeName%3Dn3", 0 },
		{ "/api/v1/namespaces/other/pods", 0 },
		{ "/api/v1/secrets", 3 },
		{ "/api/v1/namespaces/ns/secrets", 2 },
		{ "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Da", 1 },
		{ "/api/v1/secrets?fieldSelector=metadata.namespace%3Dother", 1 },
		{ "/api/v1/secrets?fieldSelector=type%3DOpaque", 3 },
	};
	struct apiserver *a = start(NULL);

	put_pod(a, "p1", "n1", "s");
	put_pod(a, "p2", "n1", "s");
	put_pod(a, "p3", "n2", "s");
	put_secret(a, "a", "1");
	put_secret(a, "b", "1");
	apiserver_put_text(a, "{\"kind\":\"Secret\",\"metadata\":{\"name\":\"a\",\"namespace\":\"other\"}}");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct answer r = get(a, cases[i].path);

		print_message("# %s\n", cases[i].path);
		assert_int_equal(r.code, 200);
		assert_int_equal(json_array_size(json_object_get(r.json, "items")), cases[i].n);
		json_decref(r.json);
	}
	apiserver_stop(a);
}

static void put_many(struct apiserver *a, int n)
{
	for (int i = 0; i < n; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%02d", i);
		put_secret(a, name, "v");
	}
}

static char *next_page(struct apiserver *a, const char *token, const char *first, size_t n)
{
	cleanup_free char *path = str_format("%s?limit=4&continue=%s", secrets, token);
	struct answer page = get(a, path);
	const char *next = at(page.json, "metadata.continue");
	char *copy = str_eq(next, "(none)") ? NULL : strdup(next);

	assert_int_equal(page.code, 200);
	assert_string_equal(at(page.json, "items.0.metadata.name"), first);
	assert_string_equal(at(page.json, "metadata.resourceVersion"), "11");
	assert_int_equal(json_array_size(json_object_get(page.json, "items")), n);
	json_decref(page.json);
	return copy;
}

static void pages_show_the_revision_of_the_first(void **state)
{
	struct apiserver *a = start(NULL);
	cleanup_free char *second = NULL, *third = NULL, *none = NULL;

	put_many(a, 10);
	second = next_page(a, "", "s00", 4);
	assert_non_null(second);
	apiserver_delete(a, "Secret", "ns", "s04");
	put_secret(a, "s055", "new");
	put_secret(a, "s09", "changed");
	third = next_page(a, second, "s04", 4);
	assert_non_null(third);
	none = next_page(a, third, "s08", 2);
	assert_null(none);
	apiserver_stop(a);
}

static void compaction_expires_pages(void **state)
{
	struct apiserver *a = start(NULL);
	cleanup_free char *second = NULL, *path = NULL;

	put_many(a, 10);
	second = next_page(a, "", "s00", 4);
	put_secret(a, "new", "v");
	apiserver_compact(a);
	path = str_format("%s?limit=4&continue=%s", secrets, second);
	expect_status(get(a, path), 410, "Expired", "The provided continue parameter is too old");
	apiserver_stop(a);
}

static void resource_version_0_is_not_paged(void **state)
{
	struct apiserver *a = start(NULL);
	struct answer r;

	put_many(a, 10);
	r = get(a, "/api/v1/secrets?limit=4&resourceVersion=0");
	assert_int_equal(json_array_size(json_object_get(r.json, "items")), 10);
	assert_string_equal(at(r.json, "metadata.continue"), "(none)");
	json_decref(r.json);
	apiserver_stop(a);
}

/* ---- writing ---- */

static void objects_are_made_changed_and_removed_over_http(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *w = watch(a, "/api/v1/namespaces/ns/secrets?watch=true&resourceVersion=1");
	struct answer r;

	r = ask(a, "POST", secrets, "{\"metadata\":{\"name\":\"a\"},\"stringData\":{\"k\":\"v\"}}", NULL);
	assert_int_equal(r.code, 201);
	assert_string_equal(at(r.json, "data.k"), "dg==");
	json_decref(r.json);
	r = ask(a, "PUT", "/api/v1/namespaces/ns/secrets/a", "{\"data\":{\"k\":\"dg==\"}}", NULL);
	assert_int_equal(r.code, 200);
	assert_string_equal(at(r.json, "metadata.resourceVersion"), "2"); /* nothing has changed */
	json_decref(r.json);
	r = ask(a, "PATCH", "/api/v1/namespaces/ns/secrets/a", "{\"data\":{\"k\":null,\"l\":\"dg==\"}}", NULL);
	assert_int_equal(r.code, 200);
	assert_string_equal(at(r.json, "data.k"), "(none)");
	json_decref(r.json);
	r = ask(a, "DELETE", "/api/v1/namespaces/ns/secrets/a", NULL, NULL);
	assert_int_equal(r.code, 200);
	assert_string_equal(at(r.json, "status"), "Success");
	json_decref(r.json);
	expect_frame(w, "ADDED", "a", 2);
	expect_frame(w, "MODIFIED", "a", 3);
	expect_frame(w, "DELETED", "a", 4);
	watcher_cancel(w);
	apiserver_stop(a);
}

static void events_are_made_and_counted(void **state)
{
	static const char events[] = "/api/v1/namespaces/ns/events", name[] = "/api/v1/namespaces/ns/events/web.1";
	static const char event[] =
		"{\"metadata\":{\"name\":\"web.1\"},\"involvedObject\":{\"kind\":\"Pod\",\"namespace\":"
		"\"ns\"},\"count\":1,\"firstTimestamp\":\"2026-01-02T03:04:05Z\"}";
	struct apiserver *a = start(NULL);
	struct answer r;

	r = ask(a, "POST", events, event, NULL);
	assert_int_equal(r.code, 201);
	assert_string_equal(at(r.json, "kind"), "Event");
	assert_string_equal(at(r.json, "status"), "(none)");
	json_decref(r.json);
	expect_status(ask(a, "POST", events, event, NULL), 409, "AlreadyExists", "events \"web.1\" already exists");
	r = ask(a, "PATCH", name, "{\"count\":2}", NULL);
	assert_int_equal(r.code, 200);
	assert_string_equal(at(r.json, "count"), "2");
	assert_string_equal(at(r.json, "firstTimestamp"), "2026-01-02T03:04:05Z");
	json_decref(r.json);
	r = get(a, "/api/v1/namespaces/ns/events?fieldSelector=involvedObject.kind%3DPod");
	assert_string_equal(at(r.json, "items.0.metadata.name"), "web.1");
	json_decref(r.json);
	expect_status(ask(a, "PATCH", "/api/v1/namespaces/ns/events/none", "{\"count\":2}", NULL), 404, "NotFound",
		      "events \"none\" not found");
	expect_status(ask(a, "PATCH", name, "{\"count\":\"2\"}", NULL), 400, "BadRequest", "count");
	expect_status(ask(a, "PATCH", name, "{\"lastTimestamp\":\"now\"}", NULL), 400, "BadRequest", "lastTimestamp");
	expect_status(ask(a, "POST", "/api/v1/namespaces/other/events", event, NULL), 422, "Invalid",
		      "does not match event.namespace");
	apiserver_stop(a);
}

static void immutable_secrets_stay(void **state)
{
	static const char path[] = "/api/v1/namespaces/ns/secrets/a";
	struct apiserver *a = start(NULL);
	struct answer r;

	put_secret(a, "a", "1");
	r = ask(a, "PATCH", path, "{\"immutable\":true}", NULL);
	assert_int_equal(r.code, 200);
	json_decref(r.json);
	expect_status(ask(a, "PATCH", path, "{\"stringData\":{\"k\":\"2\"}}", NULL), 422, "Invalid",
		      "data: Forbidden: field is immutable when `immutable` is set");
	expect_status(ask(a, "PATCH", path, "{\"immutable\":null}", NULL), 422, "Invalid", "immutable: Forbidden");
	r = ask(a, "PATCH", path, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", NULL);
	assert_int_equal(r.code, 200);
	json_decref(r.json);
	apiserver_stop(a);
}

static char *secret_of_size(size_t bytes)
{
	char *value = malloc(bytes + 1), *text;

	memset(value, 'x', bytes);
	value[bytes] = '\0';
	text = str_format("{\"metadata\":{\"name\":\"big\"},\"stringData\":{\"k\":\"%s\"}}", value);
	free(value);
	return text;
}

static void a_secret_has_at_most_one_mebibyte(void **state)
{
	struct apiserver *a = start(NULL);
	cleanup_free char *fits = secret_of_size(1048576), *more = secret_of_size(1048577),
			  *most = secret_of_size(4 << 20);
	struct answer r;

	expect_status(ask(a, "POST", secrets, more, NULL), 422, "Invalid", "Too long");
	expect_status(ask(a, "POST", secrets, most, NULL), 413, "RequestEntityTooLarge", "too large");
	r = ask(a, "POST", secrets, fits, NULL);
	assert_int_equal(r.code, 201);
	json_decref(r.json);
	apiserver_stop(a);
}

static void pods_can_finish_and_linger(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *w;
	struct answer r;

	put_pod(a, "p", "n", "s");
	w = watch(a, "/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dn&resourceVersion=2");
	r = ask(a, "PATCH", "/api/v1/namespaces/ns/pods/p/status", "{\"status\":{\"phase\":\"Succeeded\"}}", NULL);
	assert_string_equal(at(r.json, "status.phase"), "Succeeded");
	json_decref(r.json);
	expect_frame(w, "MODIFIED", "p", 3);
	r = ask(a, "DELETE", "/api/v1/namespaces/ns/pods/p?gracePeriodSeconds=30", NULL, NULL);
	assert_string_equal(at(r.json, "metadata.deletionGracePeriodSeconds"), "30");
	json_decref(r.json);
	expect_frame(w, "MODIFIED", "p", 4);
	r = ask(a, "DELETE", "/api/v1/namespaces/ns/pods/p?gracePeriodSeconds=0", NULL, NULL);
	assert_string_equal(at(r.json, "kind"), "Pod");
	json_decref(r.json);
	expect_frame(w, "DELETED", "p", 5);
	watcher_cancel(w);
	apiserver_stop(a);
}

/* ---- watching ---- */

static void watch_goes_on_from_its_revision(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *w;

	put_secret(a, "a", "1");
	put_secret(a, "b", "1");
	w = watch(a, "/api/v1/secrets?watch=1&resourceVersion=2");
	expect_frame(w, "ADDED", "b", 3);
	put_secret(a, "a", "2");
	expect_frame(w, "MODIFIED", "a", 4);
	watcher_cancel(w);
	apiserver_stop(a);
}

static void watch_without_revision_begins_with_what_there_is(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *w;

	put_secret(a, "b", "1");
	put_secret(a, "a", "1");
	w = watch(a, "/api/v1/secrets?watch=1&resourceVersion=0");
	expect_frame(w, "ADDED", "a", 3);
	expect_frame(w, "ADDED", "b", 2);
	apiserver_delete(a, "Secret", "ns", "a");
	expect_frame(w, "DELETED", "a", 4);
	watcher_cancel(w);
	apiserver_stop(a);
}

static void watch_events_are_relative_to_the_selector(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *one = watch(a, "/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1");
	struct watcher *two = watch(a, "/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn2");

	put_pod(a, "p", "", "s");
	put_pod(a, "p", "n1", "s");
	put_pod(a, "p", "n2", "s");
	put_secret(a, "p", "1");
	apiserver_delete(a, "Pod", "ns", "p");
	expect_frame(one, "ADDED", "p", 3);
	expect_frame(one, "DELETED", "p", 4);
	expect_frame(two, "ADDED", "p", 4);
	expect_frame(two, "DELETED", "p", 6);
	watcher_cancel(one);
	watcher_cancel(two);
	apiserver_stop(a);
}

static void watch_from_a_compacted_revision_is_told_so(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *w;
	json_t *frame;

	for (int i = 0; i < 9; i++)
		put_secret(a, "a", "1");
	apiserver_compact(a);
	w = watch(a, "/api/v1/secrets?watch=1&resourceVersion=5");
	frame = watcher_frame(w);
	assert_string_equal(at(frame, "type"), "ERROR");
	assert_string_equal(at(frame, "object.kind"), "Status");
	assert_string_equal(at(frame, "object.code"), "410");
	assert_string_equal(at(frame, "object.reason"), "Expired");
	assert_string_equal(at(frame, "object.message"), "too old resource version: 5 (10)");
	json_decref(frame);
	assert_int_equal(watcher_end(w), CURLE_OK);

	/* the revision of the compaction itself is good */
	w = watch(a, "/api/v1/secrets?watch=1&resourceVersion=10");
	put_secret(a, "a", "2");
	expect_frame(w, "MODIFIED", "a", 11);
	watcher_cancel(w);
	apiserver_stop(a);
}

static void bookmarks_only_for_those_who_asked(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *with = watch(a, "/api/v1/secrets?watch=1&allowWatchBookmarks=true");
	struct watcher *without = watch(a, "/api/v1/secrets?watch=1");

	put_pod(a, "p", "n", "s");
	assert_int_equal(apiserver_bookmark(a), 1);
	put_secret(a, "a", "1");
	expect_frame(with, "BOOKMARK", "(none)", 2);
	expect_frame(with, "ADDED", "a", 3);
	expect_frame(without, "ADDED", "a", 3);
	watcher_cancel(with);
	watcher_cancel(without);
	apiserver_stop(a);
}

static void bookmarks_come_by_themselves(void **state)
{
	struct apiserver *a = start(&(struct apiserver_options){ .bookmark_msec = 20 });
	struct watcher *w = watch(a, "/api/v1/pods?watch=1&allowWatchBookmarks=true");

	expect_frame(w, "BOOKMARK", "(none)", 1);
	expect_frame(w, "BOOKMARK", "(none)", 1);
	watcher_cancel(w);
	apiserver_stop(a);
}

static void initial_events_end_with_a_bookmark(void **state)
{
	struct apiserver *a = start(&(struct apiserver_options){ .watch_list = APISERVER_WATCH_LIST_SERVED });
	struct watcher *w;
	json_t *frame;

	put_secret(a, "a", "1");
	w = watch(a, "/api/v1/secrets?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
		     "&allowWatchBookmarks=true");
	expect_frame(w, "ADDED", "a", 2);
	frame = watcher_frame(w);
	assert_string_equal(at(frame, "type"), "BOOKMARK");
	assert_string_equal(
		json_string_value(json_object_get(
			json_object_get(json_object_get(json_object_get(frame, "object"), "metadata"), "annotations"),
			"k8s.io/initial-events-end")),
		"true");
	json_decref(frame);
	watcher_cancel(w);
	apiserver_stop(a);
}

static void timeout_seconds_ends_a_watch_cleanly(void **state)
{
	struct apiserver *a = start(NULL);
	uint64_t begin = clock_monotonic_usec();
	struct watcher *w = watch(a, "/api/v1/secrets?watch=1&timeoutSeconds=1");

	assert_null(watcher_line(w));
	assert_int_equal(watcher_end(w), CURLE_OK);
	assert_true(clock_monotonic_usec() - begin >= USEC_PER_SEC);
	eventually(apiserver_counts(a).n_watches_running == 0);
	apiserver_stop(a);
}

static void a_client_that_leaves_is_noticed(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *w = watch(a, "/api/v1/secrets?watch=1");

	assert_int_equal(apiserver_counts(a).n_watches_running, 1);
	watcher_cancel(w);
	eventually(apiserver_counts(a).n_watches_running == 0);
	eventually(apiserver_counts(a).n_connections == 0);
	apiserver_stop(a);
}

static void large_frames_arrive_whole(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *w = watch(a, "/api/v1/secrets?watch=1");
	cleanup_free char *text = secret_of_size(1000000);
	struct answer r = ask(a, "POST", secrets, text, NULL);
	json_t *frame = watcher_frame(w);

	assert_int_equal(strlen(at(frame, "object.data.k")), 1333336);
	json_decref(frame);
	json_decref(r.json);
	watcher_cancel(w);
	apiserver_stop(a);
}

static void many_watches_each_get_every_event(void **state)
{
	enum { N = 100, EVENTS = 20 };
	struct apiserver *a = start(NULL);
	struct watcher *w[N];

	for (size_t i = 0; i < N; i++)
		w[i] = watch(a, "/api/v1/secrets?watch=1&resourceVersion=1");
	for (size_t i = 0; i < EVENTS; i++)
		put_secret(a, "a", "1");
	for (size_t i = 0; i < N; i++)
		for (size_t k = 0; k < EVENTS; k++)
			expect_frame(w[i], k ? "MODIFIED" : "ADDED", "a", 2 + k);
	assert_int_equal(apiserver_counts(a).n_watches_running, N);
	assert_int_equal(apiserver_end_watches(a, false), N);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(watcher_end(w[i]), CURLE_OK);
	apiserver_stop(a);
}

/* ---- trouble on demand ---- */

static void watches_end_cleanly_or_torn(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *w = watch(a, "/api/v1/secrets?watch=1");

	put_secret(a, "a", "1");
	assert_int_equal(apiserver_end_watches(a, false), 1);
	expect_frame(w, "ADDED", "a", 2);
	assert_int_equal(watcher_end(w), CURLE_OK);

	w = watch(a, "/api/v1/secrets?watch=1&resourceVersion=2");
	assert_int_equal(apiserver_end_watches(a, true), 1);
	eventually(w->ended);
	assert_null(watcher_line(w));
	assert_true(w->in.len > 0); /* half a line */
	assert_int_not_equal(watcher_end(w), CURLE_OK);
	apiserver_stop(a);
}

static void injected_bytes_reach_watches_of_the_kind(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *w = watch(a, "/api/v1/secrets?watch=1");
	struct watcher *pods = watch(a, "/api/v1/pods?watch=1");
	cleanup_free char *line = NULL;

	assert_int_equal(apiserver_inject(a, "Secret", "no json at all\n"), 1);
	put_secret(a, "a", "1");
	put_pod(a, "p", "n", "s");
	line = watcher_line(w);
	assert_string_equal(line, "no json at all");
	expect_frame(w, "ADDED", "a", 2);
	expect_frame(pods, "ADDED", "p", 3);
	watcher_cancel(w);
	watcher_cancel(pods);
	apiserver_stop(a);
}

static void faults_count_down(void **state)
{
	struct apiserver *a = start(NULL);
	struct answer r;

	apiserver_fail(a, "/secrets", 429, NULL, 7, 2);
	apiserver_fail(a, "/pods", 500, "boom", -1, -1);
	r = get(a, secrets);
	assert_int_equal(r.code, 429);
	assert_int_equal(r.retry_after, 7);
	json_decref(r.json);
	expect_status(get(a, secrets), 429, "TooManyRequests", "429");
	r = get(a, secrets);
	assert_int_equal(r.code, 200);
	assert_int_equal(r.retry_after, 0);
	json_decref(r.json);

	for (int i = 0; i < 3; i++) {
		r = get(a, "/api/v1/pods");
		assert_int_equal(r.code, 500);
		assert_null(r.json);
	}
	apiserver_fail(a, "/pods", 0, NULL, -1, 0);
	r = get(a, "/api/v1/pods");
	assert_int_equal(r.code, 200);
	json_decref(r.json);
	apiserver_stop(a);
}

static void fault_0_cuts_the_connection(void **state)
{
	struct apiserver *a = start(NULL);
	struct answer r;

	apiserver_fail(a, "/secrets", 0, NULL, -1, 1);
	r = get(a, secrets);
	assert_int_not_equal(r.result, CURLE_OK);
	json_decref(r.json);
	r = get(a, secrets);
	assert_int_equal(r.code, 200);
	json_decref(r.json);
	apiserver_stop(a);
}

static void pause_cuts_and_resume_listens_on_the_same_port(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *w = watch(a, "/api/v1/secrets?watch=1");
	uint16_t port = apiserver_port(a);
	struct err e = ERR_INIT;
	struct answer r;

	for (int i = 0; i < 3; i++) {
		apiserver_pause(a);
		assert_int_not_equal(watcher_end(w), CURLE_OK);
		r = get(a, secrets);
		assert_int_equal(r.result, CURLE_COULDNT_CONNECT);
		put_secret(a, "a", "1");
		assert_int_equal(apiserver_resume(a, &e), 0);
		assert_int_equal(apiserver_port(a), port);
		w = watch(a, "/api/v1/secrets?watch=1&resourceVersion=1");
		expect_frame(w, "ADDED", "a", 2);
	}
	watcher_cancel(w);
	apiserver_stop(a);
}

static void stop_while_paused_and_while_watched(void **state)
{
	struct apiserver *a = start(NULL);
	struct watcher *w;

	apiserver_pause(a);
	apiserver_stop(a);

	a = start(NULL);
	w = watch(a, "/api/v1/secrets?watch=1");
	apiserver_stop(a);
	assert_int_not_equal(watcher_end(w), CURLE_OK);
}

static void requests_are_remembered(void **state)
{
	struct apiserver *a = start(NULL);
	cleanup_free char *first = NULL, *second = NULL, *third = NULL;
	struct apiserver_counts counts;

	json_decref(get(a, "/api/v1/secrets?fieldSelector=metadata.name%3Da&limit=1").json);
	json_decref(get(a, "/api/v1/namespaces/ns/pods/p").json);
	first = apiserver_request(a, 0);
	second = apiserver_request(a, 1);
	third = apiserver_request(a, 2);
	assert_string_equal(first, "GET /api/v1/secrets?fieldSelector=metadata.name%3Da&limit=1");
	assert_string_equal(second, "GET /api/v1/namespaces/ns/pods/p");
	assert_null(third);
	counts = apiserver_counts(a);
	assert_int_equal(counts.n_requests, 2);
	assert_int_equal(counts.n_list, 1);
	assert_int_equal(counts.n_get, 1);
	assert_int_equal(counts.n_watch, 0);
	apiserver_stop(a);
}

static void a_taken_port_is_refused(void **state)
{
	struct apiserver *a = start(NULL), *b = NULL;
	struct apiserver_options o = { .port = apiserver_port(a) };
	struct err e = ERR_INIT;

	assert_int_equal(apiserver_start(&o, &b, &e), -EADDRINUSE);
	assert_null(b);
	apiserver_stop(a);
}

/* ---- who asks ---- */

static char *certs_dir;

static char *pem(const char *name)
{
	cleanup_free char *path = file_join(certs_dir, name);
	struct err e = ERR_INIT;
	char *text = NULL;
	size_t len;

	if (file_read(AT_FDCWD, path, 65536, &text, &len, &e) < 0)
		fail_msg("%s", err_text(&e));
	return text;
}

static struct apiserver *start_tls(bool node_authorizer, const char *token)
{
	cleanup_free char *cert = pem("server.crt"), *key = pem("server.key"), *ca = pem("ca.crt");

	return start(&(struct apiserver_options){
		.cert = cert, .key = key, .client_ca = ca, .token = token, .node_authorizer = node_authorizer });
}

static void https_asks_for_a_certificate(void **state)
{
	struct apiserver *a = start_tls(false, NULL);
	struct answer r;

	assert_true(str_starts(apiserver_url(a), "https://"));
	expect_status(ask(a, "GET", secrets, NULL, &(struct credentials){ certs_dir, NULL, NULL }), 401, "Unauthorized",
		      "Unauthorized");
	expect_status(ask(a, "GET", secrets, NULL, &(struct credentials){ certs_dir, "stranger", NULL }), 401,
		      "Unauthorized", "Unauthorized");
	expect_status(ask(a, "GET", secrets, NULL, &(struct credentials){ certs_dir, NULL, "guess" }), 401,
		      "Unauthorized", "Unauthorized");
	r = ask(a, "GET", secrets, NULL, &(struct credentials){ certs_dir, "node-1", NULL });
	assert_int_equal(r.code, 200);
	json_decref(r.json);
	assert_int_equal(apiserver_counts(a).n_unauthorised, 3);
	apiserver_stop(a);
}

static void a_token_will_do_as_well(void **state)
{
	struct apiserver *a = start_tls(false, "right"),
			 *plain = start(&(struct apiserver_options){ .token = "right" });
	struct answer r = ask(a, "GET", secrets, NULL, &(struct credentials){ certs_dir, NULL, "right" });

	assert_int_equal(r.code, 200);
	json_decref(r.json);
	r = ask(plain, "GET", secrets, NULL, &(struct credentials){ .token = "right" });
	assert_int_equal(r.code, 200);
	json_decref(r.json);
	expect_status(ask(plain, "GET", secrets, NULL, &(struct credentials){ .token = "rightly" }), 401,
		      "Unauthorized", "Unauthorized");
	expect_status(get(plain, secrets), 401, "Unauthorized", "Unauthorized");
	apiserver_stop(a);
	apiserver_stop(plain);
}

static void https_watches_stream(void **state)
{
	struct credentials node = { certs_dir, "node-1", NULL };
	struct apiserver *a = start_tls(false, NULL);
	struct watcher *w = watch_as(a, "/api/v1/secrets?watch=1", &node);
	struct err e = ERR_INIT;

	for (size_t i = 0; i < 50; i++) {
		put_secret(a, "a", "1");
		expect_frame(w, i ? "MODIFIED" : "ADDED", "a", 2 + i);
	}
	apiserver_pause(a);
	assert_int_not_equal(watcher_end(w), CURLE_OK);
	assert_int_equal(apiserver_resume(a, &e), 0);
	w = watch_as(a, "/api/v1/secrets?watch=1&resourceVersion=50", &node);
	expect_frame(w, "MODIFIED", "a", 51);
	watcher_cancel(w);
	eventually(apiserver_counts(a).n_watches_running == 0);
	apiserver_stop(a);
}

static void nodes_see_only_what_their_pods_name(void **state)
{
	static const struct {
		const char *who, *path;
		const char *reason; /* NULL: allowed */
	} cases[] = {
		{ "admin", "/api/v1/secrets", NULL },
		{ "node-1", "/api/v1/secrets", "can only read namespaced object of this type" },
		{ "node-1", "/api/v1/namespaces/ns/secrets", "No Object name found" },
		{ "node-1", "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name!%3Dmine", "No Object name" },
		{ "node-1", "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Dmine", NULL },
		{ "node-1", "/api/v1/namespaces/ns/secrets/mine", NULL },
		{ "node-1", "/api/v1/namespaces/ns/secrets/theirs",
		  "secrets \"theirs\" is forbidden: User \"system:node:node-1\" cannot get resource \"secrets\" in API "
		  "group \"\" in the namespace \"ns\": no relationship found between node 'node-1' and this object" },
		{ "node-1", "/api/v1/namespaces/other/secrets/mine", "no relationship found" },
		{ "node-1", "/api/v1/namespaces/ns/secrets?watch=1&fieldSelector=metadata.name%3Dtheirs",
		  "cannot watch resource" },
		{ "node-2", "/api/v1/namespaces/ns/secrets/theirs", NULL },
		{ "node-2", "/api/v1/namespaces/ns/secrets/env", NULL },
		{ "node-1", "/api/v1/namespaces/ns/secrets/env", "no relationship found" },
		{ "node-1", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1", NULL },
		{ "node-1", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-2", "spec.nodeName field selector" },
		{ "node-1", "/api/v1/pods", "spec.nodeName field selector" },
	};
	struct apiserver *a = start_tls(true, NULL);

	put_pod(a, "p1", "node-1", "mine");
	put_pod(a, "p2", "node-2", "theirs");
	put_pod(a, "p3", "", "nobodys");
	apiserver_put_text(
		a, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p4\",\"namespace\":\"ns\"},\"spec\":{"
		   "\"nodeName\":\"node-2\",\"containers\":[{\"envFrom\":[{\"secretRef\":{\"name\":\"env\"}}]}]}}");
	put_secret(a, "mine", "1");
	put_secret(a, "theirs", "1");
	put_secret(a, "env", "1");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct answer r =
			ask(a, "GET", cases[i].path, NULL, &(struct credentials){ certs_dir, cases[i].who, NULL });

		print_message("# %s %s\n", cases[i].who, cases[i].path);
		if (cases[i].reason)
			expect_status(r, 403, "Forbidden", cases[i].reason);
		else
			assert_int_equal(r.code, 200);
		if (!cases[i].reason)
			json_decref(r.json);
	}
	expect_status(ask(a, "DELETE", "/api/v1/namespaces/ns/secrets/mine", NULL,
			  &(struct credentials){ certs_dir, "node-1", NULL }),
		      403, "Forbidden", "cannot delete resource");
	apiserver_stop(a);
}

static void nodes_make_events_and_do_not_read_them(void **state)
{
	static const char events[] = "/api/v1/namespaces/ns/events", name[] = "/api/v1/namespaces/ns/events/e";
	static const char event[] = "{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"namespace\":\"ns\"}}";
	const struct credentials node = { certs_dir, "node-1", NULL };
	struct apiserver *a = start_tls(true, NULL);
	struct answer r;

	r = ask(a, "POST", events, event, &node);
	assert_int_equal(r.code, 201);
	json_decref(r.json);
	r = ask(a, "PATCH", name, "{\"count\":2}", &node);
	assert_int_equal(r.code, 200);
	json_decref(r.json);
	expect_status(ask(a, "GET", name, NULL, &node), 403, "Forbidden", "cannot get resource \"events\"");
	expect_status(
		ask(a, "GET", events, NULL, &node), 403, "Forbidden",
		"events is forbidden: User \"system:node:node-1\" cannot list resource \"events\" in API group \"\" "
		"in the namespace \"ns\"");
	expect_status(ask(a, "DELETE", name, NULL, &node), 403, "Forbidden", "cannot delete resource \"events\"");
	apiserver_stop(a);
}

static void without_certificates_any_nodes_pods_count(void **state)
{
	struct apiserver *a = start(&(struct apiserver_options){ .node_authorizer = true });
	struct answer r;

	put_pod(a, "bound", "node-7", "mine");
	put_pod(a, "unbound", "", "waiting");
	put_secret(a, "waiting", "1");
	r = ask(a, "POST", secrets, "{\"metadata\":{\"name\":\"mine\"}}", NULL);
	assert_int_equal(r.code, 201);
	json_decref(r.json);
	r = get(a, "/api/v1/namespaces/ns/secrets/mine");
	assert_int_equal(r.code, 200);
	json_decref(r.json);
	expect_status(get(a, "/api/v1/namespaces/ns/secrets/waiting"), 403, "Forbidden", "no relationship found");
	expect_status(get(a, secrets), 403, "Forbidden", "No Object name found");
	apiserver_stop(a);
}

static void a_bad_certificate_is_refused(void **state)
{
	struct apiserver_options o = { .cert = "no", .key = "no" };
	struct apiserver *a = NULL;
	struct err e = ERR_INIT;

	assert_true(apiserver_start(&o, &a, &e) < 0);
	assert_null(a);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	struct err e = ERR_INIT;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	certs_dir = str_format("%s/apiserver.XXXXXX", getenv("TEST_DIR") ? getenv("TEST_DIR") : "/tmp");
	if (!certs_dir || !mkdtemp(certs_dir) || certs_make(certs_dir, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	nftw(certs_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(certs_dir);
	curl_global_cleanup();
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(list_items_have_no_kind),
		cmocka_unit_test(get_has_kind_and_a_stable_uid),
		cmocka_unit_test(pods_get_defaults),
		cmocka_unit_test(refusals_are_status_objects),
		cmocka_unit_test(too_large_resource_version_names_its_cause),
		cmocka_unit_test(selectors_select),
		cmocka_unit_test(pages_show_the_revision_of_the_first),
		cmocka_unit_test(compaction_expires_pages),
		cmocka_unit_test(resource_version_0_is_not_paged),
		cmocka_unit_test(objects_are_made_changed_and_removed_over_http),
		cmocka_unit_test(events_are_made_and_counted),
		cmocka_unit_test(immutable_secrets_stay),
		cmocka_unit_test(a_secret_has_at_most_one_mebibyte),
		cmocka_unit_test(pods_can_finish_and_linger),
		cmocka_unit_test(watch_goes_on_from_its_revision),
		cmocka_unit_test(watch_without_revision_begins_with_what_there_is),
		cmocka_unit_test(watch_events_are_relative_to_the_selector),
		cmocka_unit_test(watch_from_a_compacted_revision_is_told_so),
		cmocka_unit_test(bookmarks_only_for_those_who_asked),
		cmocka_unit_test(bookmarks_come_by_themselves),
		cmocka_unit_test(initial_events_end_with_a_bookmark),
		cmocka_unit_test(timeout_seconds_ends_a_watch_cleanly),
		cmocka_unit_test(a_client_that_leaves_is_noticed),
		cmocka_unit_test(large_frames_arrive_whole),
		cmocka_unit_test(many_watches_each_get_every_event),
		cmocka_unit_test(watches_end_cleanly_or_torn),
		cmocka_unit_test(injected_bytes_reach_watches_of_the_kind),
		cmocka_unit_test(faults_count_down),
		cmocka_unit_test(fault_0_cuts_the_connection),
		cmocka_unit_test(pause_cuts_and_resume_listens_on_the_same_port),
		cmocka_unit_test(stop_while_paused_and_while_watched),
		cmocka_unit_test(requests_are_remembered),
		cmocka_unit_test(a_taken_port_is_refused),
		cmocka_unit_test(https_asks_for_a_certificate),
		cmocka_unit_test(a_token_will_do_as_well),
		cmocka_unit_test(https_watches_stream),
		cmocka_unit_test(nodes_see_only_what_their_pods_name),
		cmocka_unit_test(nodes_make_events_and_do_not_read_them),
		cmocka_unit_test(without_certificates_any_nodes_pods_count),
		cmocka_unit_test(a_bad_certificate_is_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
