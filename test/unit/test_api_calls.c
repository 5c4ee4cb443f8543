/* What a request to the API server is counted as. */
#include "agent/api_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_call_is_named_by_verb_and_resource(void **state)
{
	static const struct {
		const char *method, *target;
		bool watch;
		const char *verb, *kind;
	} cases[] = {
		{ NULL, "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1", false, "LIST", "pods" },
		{ NULL, "/api/v1/pods?watch=true", true, "WATCH", "pods" },
		{ NULL, "/api/v1/namespaces/default/secrets?fieldSelector=a", false, "LIST", "secrets" },
		{ NULL, "/api/v1/namespaces/default/secrets?watch=1", true, "WATCH", "secrets" },
		{ NULL, "/api/v1/namespaces/default/secrets/db?resourceVersion=0", false, "GET", "secrets" },
		{ NULL, "/api/v1/namespaces/secrets/configmaps/pods", false, "GET", "configmaps" },
		{ NULL, "/api/v1/nodes/secrets", false, "GET", "nodes" },
		{ NULL, "/api/v1/namespaces/a/serviceaccounts/token", false, "GET", "serviceaccounts" },
		{ "POST", "/api/v1/namespaces/a/serviceaccounts/b/token", false, "POST", "serviceaccounts/token" },
		{ "POST", "/api/v1/namespaces/a/events", false, "POST", "events" },
		{ "PATCH", "/apis/events.k8s.io/v1/namespaces/a/events/b", false, "PATCH", "events" },
		{ NULL, "/livez/ping", false, "GET", "livez" },
		{ NULL, "/api/v1/namespaces/a/secretsx/b", false, "GET", "other" },
		{ NULL, "/api/v1/namespaces/a", false, "GET", "other" },
		{ NULL, "/api/v1", false, "GET", "other" },
		{ NULL, "/", false, "GET", "other" },
		{ NULL, "", false, "GET", "other" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct api_call call = api_call_of(cases[i].method, cases[i].target, cases[i].watch);

		assert_string_equal(api_verb_name(call.verb), cases[i].verb);
		assert_string_equal(api_kind_name(call.kind), cases[i].kind);
	}
}

/* The name of the one code that was counted. */
static const char *counted(int status)
{
	const struct api_call call = { .verb = API_GET, .kind = API_PODS };
	struct api_calls c = { .n = { { { 0 } } } };
	const char *name = NULL;
	size_t n = 0;

	api_calls_count(&c, call, status);
	for (size_t i = 0; i < API_CODES_N; i++) {
		n += c.n[API_GET][API_PODS][i];
		name = c.n[API_GET][API_PODS][i] ? api_code_name(i) : name;
	}
	assert_int_equal(n, 1);
	return name;
}

static void a_server_cannot_make_new_codes(void **state)
{
	static const struct {
		int status;
		const char *name;
	} cases[] = {
		{ 0, "<error>" }, { 200, "200" },  { 410, "410" },  { 504, "504" }, { 100, "1xx" },
		{ 299, "2xx" },	  { 302, "3xx" },  { 418, "4xx" },  { 599, "5xx" }, { 600, "other" },
		{ 99, "other" },  { -1, "other" }, { -4, "other" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(counted(cases[i].status), cases[i].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_is_named_by_verb_and_resource),
		cmocka_unit_test(a_server_cannot_make_new_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
