/* API: what goes into a URL, and what is understood of a failure. */
#include "agent/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct api_resource PODS = {
	.plural = "pods", .kind = "Pod", .list_kind = "PodList", .field = "spec.nodeName", .field_value = "node-1"
};
static const struct api_resource SECRET = { .plural = "secrets",
					    .kind = "Secret",
					    .list_kind = "SecretList",
					    .ns = "ns",
					    .field = "metadata.name",
					    .field_value = "a.b" };
static const struct api_resource ALL = { .plural = "pods" };
static const struct api_resource EVIL = {
	.plural = "secrets", .ns = "a/../b?c#d", .field = "metadata.name", .field_value = "x&y=%z,\xc3\xa4 "
};

static void list_targets(void **state)
{
	static const struct {
		const struct api_resource *resource;
		struct api_list list;
		const char *target;
	} CASES[] = {
		{ &PODS,
		  { .resource_version = "7", .exact = true },
		  "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&resourceVersion=7&resourceVersionMatch=Exact" },
		{ &PODS,
		  { 500, "0", NULL },
		  "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&limit=500&resourceVersion=0" },
		{ &SECRET,
		  { 500, "0", NULL },
		  "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Da.b&limit=500&resourceVersion=0" },
		{ &SECRET,
		  { 0, "17", NULL },
		  "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Da.b&resourceVersion=17" },
		{ &SECRET,
		  { 500, "0", "c+/=" },
		  "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Da.b&limit=500&continue=c%2B%2F%3D" },
		{ &ALL, { 0, "", NULL }, "/api/v1/pods" },
		{ &ALL, { 0, NULL, NULL }, "/api/v1/pods" },
		{ &ALL, { 1, NULL, NULL }, "/api/v1/pods?limit=1" },
		{ &EVIL,
		  { 0, "1&watch=true", NULL },
		  "/api/v1/namespaces/a%2F..%2Fb%3Fc%23d/"
		  "secrets?fieldSelector=metadata.name%3Dx%26y%3D%25z%2C%C3%A4%20&"
		  "resourceVersion=1%26watch%3Dtrue" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_free char *target = NULL;

		assert_int_equal(api_list_target(CASES[i].resource, &CASES[i].list, &target), 0);
		assert_string_equal(target, CASES[i].target);
	}
}

static void watch_targets(void **state)
{
	cleanup_free char *of_secret = NULL, *of_all = NULL;

	assert_int_equal(api_watch_target(&SECRET, "17", 1800, &of_secret), 0);
	assert_string_equal(of_secret,
			    "/api/v1/namespaces/ns/secrets?allowWatchBookmarks=true&"
			    "fieldSelector=metadata.name%3Da.b&resourceVersion=17&timeoutSeconds=1800&watch=true");
	assert_int_equal(api_watch_target(&ALL, NULL, 1, &of_all), 0);
	assert_string_equal(of_all, "/api/v1/pods?allowWatchBookmarks=true&timeoutSeconds=1&watch=true");
}

static void endless_token_is_refused(void **state)
{
	cleanup_free char *token = malloc(20001), *target = NULL;

	memset(token, 'x', 20000);
	token[20000] = '\0';
	assert_int_equal(api_list_target(&PODS, &(struct api_list){ .continue_token = token }, &target), -ENOBUFS);
	assert_null(target);
}

static void failures_have_the_servers_words(void **state)
{
	static const struct {
		int status;
		const char *body, *text, *reason;
		int64_t retry_after_sec;
		int code;
		bool expired, too_large;
	} CASES[] = {
		{ 403, "{\"kind\":\"Status\",\"message\":\"secrets \\\"x\\\" is forbidden\",\"reason\":\"Forbidden\"}",
		  "secrets \"x\" is forbidden", "Forbidden", -1, -EACCES, false, false },
		{ 410, "{\"kind\":\"Status\",\"message\":\"old\",\"reason\":\"Expired\"}", "old", "Expired", -1,
		  -ESTALE, true, false },
		{ 410, "", "the server answered 410 Gone", "", -1, -ESTALE, true, false },
		{ 400, "{\"kind\":\"Status\",\"message\":\"old\",\"reason\":\"Gone\"}", "old", "Gone", -1, -EREMOTEIO,
		  true, false },
		{ 504, "{\"kind\":\"Status\",\"message\":\"Too large resource version: 9, current: 8\"}",
		  "Too large resource version: 9, current: 8", "", -1, -EAGAIN, false, true },
		{ 504,
		  "{\"kind\":\"Status\",\"message\":\"m\",\"details\":{\"causes\":[{},{\"reason\":"
		  "\"ResourceVersionTooLarge\"}],"
		  "\"retryAfterSeconds\":1}}",
		  "m", "", 1, -EAGAIN, false, true },
		{ 429, "{\"kind\":\"Status\",\"message\":\"m\",\"details\":{\"retryAfterSeconds\":999999999999}}", "m",
		  "", 120, -EAGAIN, false, false },
		{ 503, "<html>busy</html>", "the server answered 503 Service Unavailable", "", -1, -EAGAIN, false,
		  false },
		{ 502, "{\"message\":\"no Status\"}", "the server answered 502 Bad Gateway", "", -1, -EREMOTEIO, false,
		  false },
		{ 500, "{\"kind\":\"Status\",\"message\":7,\"reason\":[],\"details\":3,\"code\":\"x\"}",
		  "the server answered 500 Internal Server Error", "", -1, -EREMOTEIO, false, false },
		{ 418, "[]", "the server answered 418", "", -1, -EREMOTEIO, false, false },
		{ 404, "{\"kind\":\"Status\",\"message\":\"a\\nb\"}", "a?b", "", -1, -ENOENT, false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct api_failure f;

		api_failure_from_body(CASES[i].status, CASES[i].body, strlen(CASES[i].body), &f);
		assert_int_equal(f.code, CASES[i].status);
		assert_string_equal(err_text(&f.err), CASES[i].text);
		assert_string_equal(f.reason, CASES[i].reason);
		assert_int_equal(f.retry_after_sec, CASES[i].retry_after_sec);
		assert_int_equal(f.err.code, CASES[i].code);
		assert_int_equal(api_failure_is_expired(&f), CASES[i].expired);
		assert_int_equal(f.version_too_large, CASES[i].too_large);
	}
}

static void namespace_that_ends_is_a_cause(void **state)
{
	static const char ends[] =
		"{\"kind\":\"Status\",\"reason\":\"Forbidden\",\"message\":\"m\",\"details\":{\"causes\":["
		"{\"reason\":\"NamespaceTerminating\",\"field\":\"metadata.namespace\"}]}}";
	static const char other[] =
		"{\"kind\":\"Status\",\"reason\":\"Forbidden\",\"message\":\"NamespaceTerminating\"}";
	struct api_failure f;

	api_failure_from_body(403, ends, strlen(ends), &f);
	assert_true(f.namespace_ends);
	api_failure_from_body(403, other, strlen(other), &f);
	assert_false(f.namespace_ends);
}

static void status_of_an_event_brings_its_code(void **state)
{
	cleanup_json json_t *status = NULL, *odd = NULL;
	struct api_failure f;

	assert_int_equal(json_parse("{\"code\":410,\"message\":\"m\"}", 26, &status, NULL), 0);
	api_failure_from_status(status, &f);
	assert_int_equal(f.code, 410);
	assert_true(api_failure_is_expired(&f));
	assert_int_equal(json_parse("{\"code\":70000}", 14, &odd, NULL), 0);
	api_failure_from_status(odd, &f);
	assert_int_equal(f.code, 0);
	assert_true(f.err.code < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(list_targets),
		cmocka_unit_test(watch_targets),
		cmocka_unit_test(endless_token_is_refused),
		cmocka_unit_test(failures_have_the_servers_words),
		cmocka_unit_test(namespace_that_ends_is_a_cause),
		cmocka_unit_test(status_of_an_event_brings_its_code),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
