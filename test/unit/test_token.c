/* Token: the request, the answer, and the kubelet's times of a refresh (kubelet-parity 8.8). */
#include "agent/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "agent/codec.h"
#include "common/str.h"
#include "test/lib/full.h"

static json_t *parse(const char *text)
{
	struct err e = ERR_INIT;
	json_t *doc = NULL;

	if (json_parse(text, strlen(text), &doc, &e) < 0)
		fail_msg("%s: %s", text, err_text(&e));
	return doc;
}

#define POD(account, source)                                                                                           \
	"{\"metadata\":{\"namespace\":\"ns\",\"name\":\"p\",\"uid\":\"u-1\"},\"spec\":{" account                       \
	"\"volumes\":[{\"name\":\"v\","                                                                                \
	"\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"token\"" source "}}]}}]}}"

static void names_say_all_that_is_asked_for(void **state)
{
	static const struct {
		const char *pod, *name, *body;
	} CASES[] = {
		{ POD("", ""), "default/p/u-1/3600/",
		  "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenRequest\",\"spec\":{\"audiences\":[],"
		  "\"expirationSeconds\":3600,\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":"
		  "\"p\","
		  "\"uid\":\"u-1\"}}}" },
		{ POD("\"serviceAccountName\":\"reader\",", ",\"expirationSeconds\":3607,\"audience\":\"https://x/y\""),
		  "reader/p/u-1/3607/https://x/y",
		  "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenRequest\",\"spec\":{\"audiences\":["
		  "\"https://x/"
		  "y\"],\"expirationSeconds\":3607,\"boundObjectRef\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\","
		  "\"name\":\"p\",\"uid\":\"u-1\"}}}" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_json json_t *doc = parse(CASES[i].pod), *expected = parse(CASES[i].body), *made = NULL;
		cleanup_free char *name = NULL, *target = NULL, *body = NULL, *expected_target = NULL;
		cleanup_pod struct pod *pod = NULL;
		char room[TOKEN_NAME_MAX];
		struct token_parts parts;

		assert_int_equal(codec_pod(doc, &pod, NULL), 0);
		assert_int_equal(pod->volumes[0].kind, POD_VOLUME_PROJECTED);
		name = token_name(pod, &pod->volumes[0].sources[0]);
		assert_string_equal(name, CASES[i].name);
		assert_int_equal(token_parse_name(name, room, &parts), 0);
		assert_int_equal(token_request("ns", &parts, &target, &body), 0);
		expected_target = str_format("/api/v1/namespaces/ns/serviceaccounts/%s/token", pod->service_account);
		assert_string_equal(target, expected_target);
		made = parse(body);
		assert_true(json_equal(made, expected));
	}
}

static void names_that_are_none_are_refused(void **state)
{
	static const char *const NAMES[] = { "", "a", "a/b/c/3600", "a/b/c/x/d", "a/b/c//d" };
	char room[TOKEN_NAME_MAX];
	struct token_parts parts;

	for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++)
		assert_int_equal(token_parse_name(NAMES[i], room, &parts), -EINVAL);
}

#define EXPIRES(time)	     "\"expirationTimestamp\":\"" time "\""
#define ANSWER(spec, status) "{\"kind\":\"TokenRequest\",\"spec\":{" spec "},\"status\":{" status "}}"

static void an_answer_is_a_token(void **state)
{
	cleanup_json json_t *doc = parse(ANSWER("\"expirationSeconds\":3600",
						"\"token\":\"ey.J\",\"expirationTimestamp\":\"2026-11-26T05:00:00Z\""));
	cleanup_secret_object struct secret *s = NULL;
	uint64_t expires = 0;
	int64_t sec = 0;

	assert_int_equal(token_from_answer(doc, "ns", "n", &s, &expires, &sec, NULL), 0);
	assert_int_equal(s->kind, OBJECT_TOKEN);
	assert_int_equal(s->n_keys, 1);
	assert_string_equal(s->keys[0].name, TOKEN_KEY);
	assert_int_equal(s->keys[0].value.len, 4);
	assert_memory_equal(secspan_data(&s->keys[0].value), "ey.J", 4);
	assert_string_equal(s->resource_version, "2026-11-26T05:00:00Z");
	assert_int_equal(expires / USEC_PER_SEC, 1795669200);
	assert_int_equal(sec, 3600);
}

/* What the server says of the time counts, however far off it is. */
static void any_expiry_is_taken(void **state)
{
	static const struct {
		const char *answer;
		uint64_t expires_sec;
	} CASES[] = {
		{ ANSWER("\"expirationSeconds\":1", "\"token\":\"t\"," EXPIRES("1970-01-01T00:00:00Z")), 0 },
		{ ANSWER("", "\"token\":\"t\"," EXPIRES("9999-12-31T23:59:59.123456789Z")), UINT64_C(253402300799) },
		{ ANSWER("\"expirationSeconds\":4294967296", "\"token\":\"t\"," EXPIRES("2106-02-07T06:28:16Z")),
		  UINT64_C(4294967296) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_json json_t *doc = parse(CASES[i].answer);
		cleanup_secret_object struct secret *s = NULL;
		uint64_t expires = 0;
		int64_t sec = 0;

		assert_int_equal(token_from_answer(doc, "ns", "n", &s, &expires, &sec, NULL), 0);
		assert_true(expires == CASES[i].expires_sec * USEC_PER_SEC);
	}
}

static void other_answers_are_refused(void **state)
{
	static const struct {
		const char *answer, *path;
	} CASES[] = {
		{ "{}", "status.token" },
		{ ANSWER("", ""), "status.token" },
		{ ANSWER("", "\"token\":\"\",\"expirationTimestamp\":\"2026-11-26T05:00:00Z\""), "status.token" },
		{ ANSWER("", "\"token\":1,\"expirationTimestamp\":\"2026-11-26T05:00:00Z\""), "status.token" },
		{ ANSWER("", "\"token\":\"t\""), "status.expirationTimestamp" },
		{ ANSWER("", "\"token\":\"t\",\"expirationTimestamp\":\"soon\""), "status.expirationTimestamp" },
		{ ANSWER("", "\"token\":\"t\",\"expirationTimestamp\":\"2026-11-26T05:00:00\""),
		  "status.expirationTimestamp" },
		{ ANSWER("", "\"token\":\"t\\u0000u\"," EXPIRES("2026-11-26T05:00:00Z")), "status.token" },
		{ ANSWER("", "\"token\":\"t\"," EXPIRES("2026-11-26T05:00:00Z\\u0000")), "status.expirationTimestamp" },
		{ ANSWER("", "\"token\":\"t\"," EXPIRES("1969-12-31T23:59:59Z")), "status.expirationTimestamp" },
		{ ANSWER("", "\"token\":\"t\"," EXPIRES("12026-11-26T05:00:00Z")), "status.expirationTimestamp" },
		{ ANSWER("", "\"token\":\"t\"," EXPIRES("2026-11-26T05:00:00+01:00")), "status.expirationTimestamp" },
		/* it is kept and shown */
		{ ANSWER("", "\"token\":\"t\"," EXPIRES("2026-11-26T05:00:00.000000000000000000000Z")),
		  "status.expirationTimestamp" },
		{ ANSWER("", "\"token\":\"t\"," EXPIRES("2026-11-26T                      05:00:00Z")),
		  "status.expirationTimestamp" },
		{ ANSWER("\"expirationSeconds\":0", "\"token\":\"t\"," EXPIRES("2026-11-26T05:00:00Z")),
		  "spec.expirationSeconds" },
		{ ANSWER("\"expirationSeconds\":4294967297", "\"token\":\"t\"," EXPIRES("2026-11-26T05:00:00Z")),
		  "spec.expirationSeconds" },
		{ ANSWER("\"expirationSeconds\":-1",
			 "\"token\":\"t\",\"expirationTimestamp\":\"2026-11-26T05:00:00Z\""),
		  "spec.expirationSeconds" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_json json_t *doc = parse(CASES[i].answer);
		struct json_issue issue = { .path = "" };
		struct secret *s = NULL;
		uint64_t expires;
		int64_t sec;

		assert_int_equal(token_from_answer(doc, "ns", "n", &s, &expires, &sec, &issue), -EINVAL);
		assert_null(s);
		assert_string_equal(issue.path, CASES[i].path);
	}
}

static void full_locked_memory_is_told_as_that(void **state)
{
	cleanup_json json_t *doc = parse(ANSWER("\"expirationSeconds\":3600",
						"\"token\":\"ey.J\",\"expirationTimestamp\":\"2026-11-26T05:00:00Z\""));
	struct json_issue issue = { .path = "" };
	struct secret *s = NULL;
	void *held = NULL;
	uint64_t expires;
	int64_t sec;

	secmem_fill(&held);
	assert_int_equal(token_from_answer(doc, "ns", "n", &s, &expires, &sec, &issue), -ENOMEM);
	secmem_empty(&held);
	assert_null(s);
	assert_non_null(strstr(issue.reason, "no memory for a secret of 4 bytes: "));
	assert_null(strstr(issue.reason, "ey.J"));
}

/* age and lifetime in minutes, as in the kubelet's token_manager_test.go */
static void refreshes_are_the_kubelets_123(void **state)
{
	static const struct {
		uint64_t age, lifetime;
		bool due;
	} CASES[] = { { 10, 60, false }, { 47, 60, false },	     { 50, 60, true },
		      { 70, 60, true },	 { 25 * 60, 60 * 60, true }, { 23 * 60, 60 * 60, false } };
	const uint64_t minute = 60 * USEC_PER_SEC, issued = 1795669200 * USEC_PER_SEC;

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++)
		for (int j = 0; j < 2; j++) {
			uint64_t at = token_refresh_usec(issued + CASES[i].lifetime * minute,
							 (int64_t)CASES[i].lifetime * 60, j ? 0.999 : 0);

			assert_int_equal(issued + CASES[i].age * minute >= at, CASES[i].due);
		}
	/* some of them a moment earlier than others */
	assert_int_equal(token_refresh_usec(issued + 60 * minute, 3600, 0) -
				 token_refresh_usec(issued + 60 * minute, 3600, 0.5),
			 5 * USEC_PER_SEC);
}

/* In minutes; both clocks go from 0 on, that of the wall `ahead` of the server's. The token lives for an hour, from the server's 1000 on. */
static void a_refresh_is_due_by_whichever_clock_comes_first(void **state)
{
	static const struct {
		const char *what;
		int64_t ahead, set; /* by how much it is ahead when the token comes, and set after that */
		uint64_t passed, paused; /* by all clocks, and by the wall's alone */
		bool due;
	} CASES[] = {
		{ "right, not yet", 0, 0, 47, 0, false },
		{ "right", 0, 0, 48, 0, true },
		{ "hours ahead, not yet", 480, 0, 47, 0, false },
		{ "hours ahead", 480, 0, 48, 0, true },
		{ "hours ahead and set back, not yet", 480, -480, 47, 0, false },
		{ "hours ahead and set back", 480, -480, 48, 0, true },
		{ "set back", 0, -100, 48, 0, true },
		{ "behind, not yet", -100, 0, 47, 0, false },
		{ "behind", -100, 0, 48, 0, true },
		{ "behind and set right", -100, 100, 48, 0, true },
		{ "a little ahead is earlier", 10, 0, 38, 0, true },
		{ "set forward", 0, 100, 1, 0, true },
		{ "paused, not yet", 0, 0, 10, 37, false },
		{ "paused", 0, 0, 10, 38, true },
	};
	const uint64_t minute = 60 * USEC_PER_SEC, wall = 1795669200 * USEC_PER_SEC;

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct token_times now = { .realtime_usec = wall + (uint64_t)CASES[i].ahead * minute,
					   .boottime_usec = 5 * minute };
		struct token_times refresh = token_refresh_times(wall + 60 * minute, 3600, 0, &now);
		bool due;

		now.realtime_usec += (uint64_t)CASES[i].set * minute + (CASES[i].passed + CASES[i].paused) * minute;
		now.boottime_usec += CASES[i].passed * minute;
		due = token_until_due(&refresh, &now) == 0;
		if (due != CASES[i].due)
			fail_msg("%s", CASES[i].what);
	}
}

static void the_next_look_is_no_later_than_the_refresh(void **state)
{
	const struct token_times refresh = { .realtime_usec = 100, .boottime_usec = 50 };

	assert_int_equal(token_until_due(&refresh, &(struct token_times){ 40, 10 }), 40);
	assert_int_equal(token_until_due(&refresh, &(struct token_times){ 70, 10 }), 30);
	assert_int_equal(token_until_due(&refresh, &(struct token_times){ 100, 10 }), 0);
	assert_int_equal(token_until_due(&refresh, &(struct token_times){ 40, 50 }), 0);
}

static void one_that_lives_for_a_moment_is_not_asked_for_in_a_hurry(void **state)
{
	const struct token_times now = { .realtime_usec = 1795669200 * USEC_PER_SEC, .boottime_usec = 100 };
	struct token_times t = token_refresh_times(now.realtime_usec + USEC_PER_SEC, 1, 0.5, &now);

	assert_int_equal(token_until_due(&t, &now), 5 * USEC_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_say_all_that_is_asked_for),
		cmocka_unit_test(names_that_are_none_are_refused),
		cmocka_unit_test(an_answer_is_a_token),
		cmocka_unit_test(any_expiry_is_taken),
		cmocka_unit_test(other_answers_are_refused),
		cmocka_unit_test(full_locked_memory_is_told_as_that),
		cmocka_unit_test(refreshes_are_the_kubelets_123),
		cmocka_unit_test(a_refresh_is_due_by_whichever_clock_comes_first),
		cmocka_unit_test(the_next_look_is_no_later_than_the_refresh),
		cmocka_unit_test(one_that_lives_for_a_moment_is_not_asked_for_in_a_hurry),
	};
	struct err e = ERR_INIT;

	json_setup();
	if (secmem_init(1 << 20, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
