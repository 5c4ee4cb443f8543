/* Poller: what is asked for, when and how, on a clock of our own. The numbers of kubelet-parity 8.6 are in the names'
 * ends. */
#include "agent/poller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/str.h"

#define TARGET "/api/v1/namespaces/ns/secrets/s"

struct rig {
	struct poller *p;
	struct server server; /* without a limit unless a test says so */
	uint64_t now, wake_at; /* wake_at 0: off */
	double random;
	bool runs, refuse_get;
	unsigned n_asked, n_cancelled, n_told, n_absent, n_failed, n_recovered;
	char target[128], version[32], failure[ERR_TEXT_MAX];
	bool seen, stop_when_told;
};

static uint64_t env_now(void *userdata)
{
	return ((struct rig *)userdata)->now;
}

static double env_random01(void *userdata)
{
	return ((struct rig *)userdata)->random;
}

static int env_get(void *userdata, const struct reflector_get *get)
{
	struct rig *t = userdata;

	assert_false(t->runs);
	if (t->refuse_get)
		return -ENOMEM;
	assert_false(get->is_watch);
	snprintf(t->target, sizeof(t->target), "%s", get->target);
	t->runs = true;
	t->n_asked++;
	return 0;
}

static void env_cancel(void *userdata)
{
	struct rig *t = userdata;

	assert_true(t->runs);
	t->runs = false;
	t->n_cancelled++;
}

static void env_wake_after(void *userdata, uint64_t delay_usec)
{
	struct rig *t = userdata;

	t->wake_at = t->now + delay_usec;
}

static void env_wake_off(void *userdata)
{
	((struct rig *)userdata)->wake_at = 0;
}

static const struct reflector_env ENV = {
	.now = env_now,
	.random01 = env_random01,
	.get = env_get,
	.cancel = env_cancel,
	.wake_after = env_wake_after,
	.wake_off = env_wake_off,
};

static void on_list_begin(void *userdata)
{
	((struct rig *)userdata)->seen = false;
}

static void on_object(void *userdata, enum reflector_event event, const json_t *obj)
{
	struct rig *t = userdata;
	const json_t *meta = json_object_get(obj, "metadata");

	assert_int_equal(event, REFLECTOR_LISTED);
	t->seen = true;
	t->n_told++;
	snprintf(t->version, sizeof(t->version), "%s", json_string_value(json_object_get(meta, "resourceVersion")));
	if (t->stop_when_told)
		poller_stop(t->p);
}

static void on_list_end(void *userdata)
{
	struct rig *t = userdata;

	assert_false(t->stop_when_told);
	t->n_absent += !t->seen;
}

static void on_failed(void *userdata, const struct err *e, int status)
{
	struct rig *t = userdata;

	t->n_failed++;
	snprintf(t->failure, sizeof(t->failure), "%s", err_text(e));
}

static void on_recovered(void *userdata)
{
	((struct rig *)userdata)->n_recovered++;
}

static const struct reflector_handler HANDLER = {
	.list_begin = on_list_begin,
	.object = on_object,
	.list_end = on_list_end,
	.failed = on_failed,
	.recovered = on_recovered,
};

static const struct api_resource SECRET = { .plural = "secrets", .kind = "Secret", .ns = "ns", .field_value = "s" };
static const struct poller_pace CACHE = { .period_usec = 60 * USEC_PER_SEC },
				GET = { .period_usec = 60 * USEC_PER_SEC, .always_latest = true };

static int setup(void **state)
{
	struct rig *t = calloc(1, sizeof(*t));

	t->now = 1000 * USEC_PER_SEC;
	assert_int_equal(poller_new(&SECRET, &t->server, &ENV, &HANDLER, t, &t->p), 0);
	poller_set_pace(t->p, &CACHE);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct rig *t = *state;

	poller_free(t->p);
	assert_false(t->runs);
	free(t);
	return 0;
}

static void pass(struct rig *t, uint64_t sec)
{
	uint64_t end = t->now + sec * USEC_PER_SEC;

	while (t->wake_at && t->wake_at <= end) {
		t->now = t->wake_at;
		t->wake_at = 0;
		poller_wake(t->p);
	}
	t->now = end;
}

static void answer(struct rig *t, int status, const char *body)
{
	struct http_result result = { .status = status, .retry_after_sec = -1 };

	assert_true(t->runs);
	t->runs = false;
	poller_head(t->p, status);
	if (t->p && body)
		poller_body(t->p, body, strlen(body));
	poller_done(t->p, &result);
}

static void answer_version(struct rig *t, const char *version)
{
	cleanup_free char *text = str_format(
		"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"s\","
		"\"resourceVersion\":\"%s\"}}",
		version);

	answer(t, 200, text);
}

static void answer_not_found(struct rig *t)
{
	answer(t, 404,
	       "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"secrets \\\"s\\\" not "
	       "found\",\"reason\":\"NotFound\",\"details\":{\"name\":\"s\",\"kind\":\"secrets\"},\"code\":404}");
}

static void break_connection(struct rig *t, int code)
{
	struct http_result result = { .retry_after_sec = -1 };

	err_set(&result.err, code, "connect: %s", strerror(-code));
	t->runs = false;
	poller_done(t->p, &result);
}

static void first_get_is_of_the_latest_and_refreshes_of_the_cache(void **state)
{
	struct rig *t = *state;

	poller_ask(t->p);
	assert_string_equal(t->target, TARGET);
	answer_version(t, "10");
	assert_string_equal(t->version, "10");
	pass(t, 60);
	assert_string_equal(t->target, TARGET "?resourceVersion=0");
	answer_version(t, "10");
	assert_int_equal(t->n_asked, 2);
}

static void nothing_is_asked_before_it_is_needed_94(void **state)
{
	struct rig *t = *state;

	pass(t, 3600);
	assert_int_equal(t->n_asked, 0);
}

static void not_found_replaces_what_was_there_96(void **state)
{
	struct rig *t = *state;

	poller_ask(t->p);
	answer_version(t, "10");
	pass(t, 60);
	answer_not_found(t);
	/* a cache that is behind says so, too: the storage has the last word */
	assert_int_equal(t->n_absent, 0);
	assert_string_equal(t->target, TARGET);
	answer_not_found(t);
	assert_int_equal(t->n_absent, 1);
	assert_int_equal(t->n_failed, 0);
	/* and when it comes back, it is told, whatever its version */
	pass(t, 1);
	assert_string_equal(t->target, TARGET);
	answer_version(t, "5");
	assert_string_equal(t->version, "5");
}

static void get_asks_once_more_behind_a_request_that_runs_97(void **state)
{
	struct rig *t = *state;

	poller_set_pace(t->p, &GET);
	for (int i = 0; i < 10; i++)
		poller_ask(t->p);
	assert_int_equal(t->n_asked, 1);
	answer_version(t, "10");
	assert_int_equal(t->n_asked, 2);
	assert_string_equal(t->target, TARGET);
	answer_version(t, "10");
	assert_int_equal(t->n_asked, 2);
	pass(t, 60);
	assert_string_equal(t->target, TARGET);
	answer_version(t, "11");
}

static void needs_at_the_same_time_are_one_request_98(void **state)
{
	struct rig *t = *state;

	for (int i = 0; i < 100; i++)
		poller_ask(t->p);
	answer_version(t, "10");
	pass(t, 59);
	assert_int_equal(t->n_asked, 1);
}

static void another_ttl_counts_from_the_last_answer_99(void **state)
{
	struct rig *t = *state;

	poller_ask(t->p);
	answer_version(t, "10");
	pass(t, 40);
	poller_set_pace(t->p, &(struct poller_pace){ .period_usec = 300 * USEC_PER_SEC });
	pass(t, 200);
	assert_int_equal(t->n_asked, 1);
	pass(t, 60);
	assert_int_equal(t->n_asked, 2);
	answer_version(t, "10");
	poller_set_pace(t->p, &CACHE);
	pass(t, 55);
	assert_int_equal(t->n_asked, 2);
	pass(t, 5);
	assert_int_equal(t->n_asked, 3);
	answer_version(t, "10");
}

static void older_answer_is_not_told_but_settled_by_the_storage_106(void **state)
{
	struct rig *t = *state;

	poller_ask(t->p);
	answer_version(t, "100");
	pass(t, 60);
	answer_version(t, "99");
	assert_string_equal(t->version, "100");
	assert_int_equal(t->n_told, 1);
	assert_string_equal(t->target, TARGET);
	answer_version(t, "101");
	assert_string_equal(t->version, "101");
	assert_int_equal(t->n_asked, 3);
}

static void restored_older_storage_is_the_truth(void **state)
{
	struct rig *t = *state;

	poller_ask(t->p);
	answer_version(t, "100");
	pass(t, 60);
	answer_version(t, "7");
	answer_version(t, "7");
	assert_string_equal(t->version, "7");
}

static void requests_per_minute_are_one_and_jitter_only_makes_them_fewer(void **state)
{
	static const double randoms[] = { 0, 0.5, 0.999 };
	struct rig *t = *state;

	poller_set_pace(t->p, &(struct poller_pace){ .period_usec = 60 * USEC_PER_SEC, .jitter = 0.5 });
	for (size_t i = 0; i < ARRAY_SIZE(randoms); i++) {
		t->random = randoms[i];
		t->n_asked = 0;
		if (i == 0) {
			poller_ask(t->p);
			answer_version(t, "10");
			t->n_asked = 0;
		}
		for (int sec = 0; sec < 3600; sec++) {
			pass(t, 1);
			if (t->runs)
				answer_version(t, "10");
		}
		assert_in_range(t->n_asked, 38, 60);
	}
}

static void failures_keep_what_was_told_and_are_told_once(void **state)
{
	struct rig *t = *state;

	poller_ask(t->p);
	answer_version(t, "10");
	pass(t, 60);
	for (int i = 0; i < 5; i++) {
		answer(t, 503, "no");
		assert_int_not_equal(t->wake_at, 0);
		pass(t, 60);
	}
	assert_int_equal(t->n_failed, 1);
	assert_int_equal(t->n_absent, 0);
	answer_version(t, "11");
	assert_int_equal(t->n_recovered, 1);
	assert_string_equal(t->version, "11");
}

#define NOT_FOUND(details)                                                                                             \
	"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"something not found\","       \
	"\"reason\":\"NotFound\",\"details\":" details "}"

static void answers_that_are_none_are_failures(void **state)
{
	static const struct {
		int status;
		const char *body, *expected;
	} cases[] = {
		{ 200, "", "the server's Secret s" },
		{ 200, "<html>", "the server's Secret s" },
		{ 200, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}", "kind" },
		{ 200,
		  "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"t\","
		  "\"resourceVersion\":\"1\"}}",
		  "another name" },
		{ 200,
		  "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"no\",\"name\":\"s\","
		  "\"resourceVersion\":\"1\"}}",
		  "another namespace" },
		{ 200, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"s\"}}",
		  "no resourceVersion" },
		{ 404, "<html>a proxy's</html>", "404" },
		{ 404, NOT_FOUND("{}"), "not found" },
		{ 404, NOT_FOUND("{\"name\":\"t\",\"kind\":\"secrets\"}"), "not found" },
		{ 404, NOT_FOUND("{\"name\":\"s\",\"kind\":\"namespaces\"}"), "not found" },
		{ 410, NOT_FOUND("{\"name\":\"s\",\"kind\":\"secrets\"}"), "not found" },
		{ 500, "", "500" },
		{ 403, "", "403" },
	};
	struct rig *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		poller_refresh(t->p);
		answer(t, cases[i].status, cases[i].body);
		if (!strstr(t->failure, cases[i].expected))
			fail_msg("%zu: %s", i, t->failure);
		assert_int_equal(t->n_failed, i + 1);
	}
	assert_int_equal(t->n_told + t->n_absent, 0);
}

static void secret_of_a_fresh_pod_is_asked_for_again_within_milliseconds(void **state)
{
	struct rig *t = *state;

	poller_ask(t->p);
	answer(t, 403, NULL);
	assert_in_range(t->wake_at - t->now, 1, 10 * USEC_PER_MSEC);
}

/* ---- need: kubernetes #129645 ---- */

static void need_is_answered_by_the_storage(void **state)
{
	struct rig *t = *state;

	poller_ask(t->p);
	answer_version(t, "10");
	assert_int_equal(poller_answered_need(t->p), 0);
	poller_need(t->p, 3);
	poller_ask(t->p);
	assert_string_equal(t->target, TARGET);
	answer_version(t, "10");
	assert_int_equal(poller_answered_need(t->p), 3);
	pass(t, 60);
	assert_string_equal(t->target, TARGET "?resourceVersion=0");
	answer_version(t, "10");
}

static void need_is_not_answered_by_what_was_asked_before(void **state)
{
	struct rig *t = *state;

	poller_need(t->p, 1);
	poller_ask(t->p);
	poller_need(t->p, 2);
	poller_ask(t->p);
	assert_int_equal(t->n_asked, 1);
	answer_version(t, "10");
	assert_int_equal(poller_answered_need(t->p), 1);
	assert_string_equal(t->target, TARGET);
	assert_int_equal(t->n_asked, 2);
	answer_version(t, "11");
	assert_int_equal(poller_answered_need(t->p), 2);
	assert_int_equal(t->n_asked, 2);
}

static void need_is_asked_for_until_there_is_an_answer(void **state)
{
	struct rig *t = *state;

	poller_set_pace(t->p, &(struct poller_pace){ .period_usec = 0 });
	poller_ask(t->p);
	answer_version(t, "10");
	poller_need(t->p, 1);
	poller_ask(t->p);
	answer(t, 403, NULL);
	assert_in_range(t->wake_at - t->now, 1, 10 * USEC_PER_MSEC);
	pass(t, 1);
	answer(t, 500, NULL);
	assert_int_not_equal(t->wake_at, 0);
	pass(t, 60);
	assert_string_equal(t->target, TARGET);
	answer_not_found(t);
	assert_int_equal(t->n_absent, 1);
	assert_int_equal(poller_answered_need(t->p), 1);
	assert_int_equal(t->wake_at, 0);
}

static void absent_one_is_asked_for_soon_then_ever_more_slowly(void **state)
{
	struct rig *t = *state;
	uint64_t last = 0;

	poller_ask(t->p);
	for (int i = 0; i < 7; i++) {
		answer_not_found(t);
		assert_true(t->wake_at - t->now > last);
		last = t->wake_at - t->now;
		pass(t, last / USEC_PER_SEC + 1);
	}
	assert_in_range(last, 30 * USEC_PER_SEC, 60 * USEC_PER_SEC);
	answer_not_found(t);
	assert_int_equal(t->wake_at - t->now, 60 * USEC_PER_SEC);
}

static void on_demand_nothing_follows_an_answer_nor_a_failure(void **state)
{
	struct rig *t = *state;

	poller_set_pace(t->p, &(struct poller_pace){ .period_usec = 0 });
	poller_ask(t->p);
	answer_version(t, "10");
	assert_int_equal(t->wake_at, 0);
	poller_ask(t->p);
	answer(t, 500, NULL);
	assert_int_equal(t->wake_at, 0);
	poller_ask(t->p);
	answer_not_found(t);
	answer_not_found(t); /* the storage */
	assert_int_equal(t->wake_at, 0);
	assert_int_equal(t->n_asked, 4);
}

static void refresh_drops_what_runs_and_tells_a_failure_anew(void **state)
{
	struct rig *t = *state;

	poller_ask(t->p);
	answer_version(t, "10");
	pass(t, 60);
	poller_refresh(t->p);
	assert_int_equal(t->n_cancelled, 1);
	assert_string_equal(t->target, TARGET);
	answer(t, 500, NULL);
	poller_refresh(t->p);
	answer(t, 500, NULL);
	assert_int_equal(t->n_failed, 2);
}

/* After a sleep, whether something is to follow by itself or not. */
static void request_that_the_client_gives_up_is_asked_again_and_no_failure(void **state)
{
	static const struct poller_pace PACES[] = { { .period_usec = 60 * USEC_PER_SEC }, { .period_usec = 0 } };
	struct rig *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(PACES); i++) {
		poller_set_pace(t->p, &PACES[i]);
		poller_refresh(t->p);
		answer_version(t, "10");
		poller_refresh(t->p);
		t->target[0] = '\0';
		break_connection(t, -ECONNABORTED);
		assert_false(t->runs);
		pass(t, 10);
		assert_true(t->runs);
		assert_string_equal(t->target, TARGET);
		break_connection(t, -ECONNABORTED);
		pass(t, 10);
		answer_version(t, "11");
		assert_string_equal(t->version, "11");
	}
	assert_int_equal(t->n_failed, 0);
	assert_int_equal(t->n_recovered, 0);
}

static void server_that_is_back_is_asked_at_once(void **state)
{
	struct rig *t = *state;

	poller_ask(t->p);
	answer_version(t, "10");
	pass(t, 60);
	for (int i = 0; i < 8; i++) {
		break_connection(t, -ETIMEDOUT);
		if (i < 7)
			pass(t, 60);
	}
	assert_true(t->wake_at - t->now > USEC_PER_SEC);
	assert_true(poller_waits_for_server(t->p));
	poller_server_answers(t->p, 100 * USEC_PER_MSEC);
	assert_int_equal(t->wake_at - t->now, 100 * USEC_PER_MSEC);
	assert_false(poller_waits_for_server(t->p));
}

static void who_is_held_tells_why_and_waits_without_an_end(void **state)
{
	struct rig *t = *state;
	struct err e = ERR_INIT;

	err_set(&e, -ECONNREFUSED, "connect to https://x: Connection refused");
	poller_ask(t->p);
	poller_hold(t->p, &e); /* it asks */
	assert_int_equal(t->n_failed, 0);
	answer_version(t, "10");
	assert_true(poller_waits(t->p) && !poller_waits_for_server(t->p));
	poller_hold(t->p, &e);
	poller_hold(t->p, &e);
	assert_int_equal(t->n_failed, 1);
	assert_int_equal(t->wake_at, 0);
	poller_set_pace(t->p, &GET); /* no reason to try */
	assert_int_equal(t->wake_at, 0);
	poller_server_answers(t->p, USEC_PER_MSEC);
	pass(t, 1);
	answer_version(t, "10");
	assert_int_equal(t->n_recovered, 1);
	poller_hold(t->p, &e);
	poller_refresh(t->p); /* somebody asks */
	assert_int_equal(t->n_asked, 3);
}

static void who_is_held_after_an_answer_keeps_its_retry_after(void **state)
{
	struct rig *t = *state;

	t->random = 0;
	poller_ask(t->p);
	t->runs = false;
	poller_head(t->p, 503);
	poller_done(t->p, &(struct http_result){ .status = 503, .retry_after_sec = 30 });
	assert_int_equal(t->n_failed, 1);
	poller_hold(t->p, NULL);
	assert_int_equal(t->n_failed, 1);
	assert_int_equal(t->wake_at, 0);
	assert_true(poller_waits_for_server(t->p));
	t->now += 10 * USEC_PER_SEC;
	poller_server_answers(t->p, 200 * USEC_PER_MSEC);
	assert_int_equal(t->wake_at - t->now, 20 * USEC_PER_SEC);
	poller_hold(t->p, NULL);
	t->now += 20 * USEC_PER_SEC;
	poller_server_answers(t->p, 200 * USEC_PER_MSEC);
	assert_int_equal(t->wake_at - t->now, 200 * USEC_PER_MSEC);
}

static void answer_that_makes_no_sense_is_not_asked_for_early(void **state)
{
	struct rig *t = *state;

	t->random = 0;
	poller_ask(t->p);
	break_connection(t, -EPROTONOSUPPORT);
	poller_server_answers(t->p, 200 * USEC_PER_MSEC);
	assert_true(t->wake_at - t->now >= 800 * USEC_PER_MSEC);
	pass(t, 10);
	poller_head(t->p, 200);
	break_connection(t, -EIO);
	poller_server_answers(t->p, 200 * USEC_PER_MSEC);
	assert_true(t->wake_at - t->now >= 800 * USEC_PER_MSEC);
	pass(t, 10);
	break_connection(t, -EIO); /* without an answer: once, and then not again */
	poller_server_answers(t->p, 200 * USEC_PER_MSEC);
	assert_true(t->wake_at - t->now < 800 * USEC_PER_MSEC);
	pass(t, 1);
	break_connection(t, -EIO);
	poller_server_answers(t->p, 200 * USEC_PER_MSEC);
	assert_true(t->wake_at - t->now >= 800 * USEC_PER_MSEC);
}

static void request_that_cannot_be_started_is_a_failure(void **state)
{
	struct rig *t = *state;

	t->refuse_get = true;
	poller_ask(t->p);
	assert_int_equal(t->n_failed, 1);
	t->refuse_get = false;
	pass(t, 60);
	answer_version(t, "10");
	assert_int_equal(t->n_recovered, 1);
}

static void stopped_in_the_middle_of_an_answer_it_tells_no_more(void **state)
{
	struct rig *t = *state;

	t->stop_when_told = true;
	poller_ask(t->p);
	answer_version(t, "10");
	assert_int_equal(t->wake_at, 0);
	poller_ask(t->p);
	poller_refresh(t->p);
	poller_set_pace(t->p, &GET);
	assert_int_equal(t->n_asked, 1);
}

static void endless_answer_is_cut(void **state)
{
	static char block[65536];
	struct rig *t = *state;

	memset(block, ' ', sizeof(block));
	poller_ask(t->p);
	poller_head(t->p, 200);
	for (int i = 0; i < 1000 && t->runs; i++)
		poller_body(t->p, block, sizeof(block));
	assert_int_equal(t->n_cancelled, 1);
	assert_non_null(strstr(t->failure, "too large"));
}

/* ---- the limit of requests ---- */

static void spend_all_tokens(struct rig *t)
{
	t->server.qps = t->server.burst = 1;
	t->server.due_nsec = 0;
	assert_int_equal(server_admit(&t->server, t->now), 0);
}

static void request_waits_for_its_turn(void **state)
{
	struct rig *t = *state;

	spend_all_tokens(t);
	for (int i = 0; i < 10; i++)
		poller_ask(t->p);
	assert_int_equal(t->n_asked, 0);
	assert_int_equal(t->wake_at - t->now, USEC_PER_SEC);
	poller_server_answers(t->p, USEC_PER_MSEC); /* no reason to push forward */
	poller_set_pace(t->p, &GET);
	assert_int_equal(t->wake_at - t->now, USEC_PER_SEC);
	pass(t, 1);
	assert_int_equal(t->n_asked, 1);
	answer_version(t, "10");
	assert_int_equal(server_admit(&t->server, t->now), USEC_PER_SEC); /* one turn was taken */
}

static void every_request_takes_a_turn(void **state)
{
	struct rig *t = *state;

	poller_ask(t->p);
	answer_version(t, "10");
	pass(t, 60);
	spend_all_tokens(t);
	answer_version(t, "9"); /* an older one: the storage is asked */
	assert_int_equal(t->n_asked, 2);
	pass(t, 1);
	assert_int_equal(t->n_asked, 3);
	answer(t, 500, NULL);
	spend_all_tokens(t);
	t->server.due_nsec += 3600 * USEC_PER_SEC * NSEC_PER_USEC;
	pass(t, 600); /* the try after the failure */
	assert_int_equal(t->n_asked, 3);
}

static void refresh_keeps_its_turn(void **state)
{
	struct rig *t = *state;

	poller_ask(t->p);
	answer_version(t, "10");
	spend_all_tokens(t);
	pass(t, 59);
	spend_all_tokens(t);
	t->server.due_nsec += 9 * USEC_PER_SEC * NSEC_PER_USEC;
	pass(t, 1);
	for (int i = 0; i < 10; i++)
		poller_refresh(t->p);
	assert_int_equal(t->n_asked, 1);
	pass(t, 12);
	assert_int_equal(t->n_asked, 2);
	assert_string_equal(t->target, TARGET); /* not the cache's any more */
	answer_version(t, "11");
}

static void stopped_before_its_turn_it_asks_no_more(void **state)
{
	struct rig *t = *state;

	spend_all_tokens(t);
	poller_ask(t->p);
	poller_stop(t->p);
	assert_int_equal(t->wake_at, 0);
	poller_wake(t->p);
	assert_int_equal(t->n_asked, 0);
}

#define with_rig(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		with_rig(first_get_is_of_the_latest_and_refreshes_of_the_cache),
		with_rig(nothing_is_asked_before_it_is_needed_94),
		with_rig(not_found_replaces_what_was_there_96),
		with_rig(get_asks_once_more_behind_a_request_that_runs_97),
		with_rig(needs_at_the_same_time_are_one_request_98),
		with_rig(another_ttl_counts_from_the_last_answer_99),
		with_rig(older_answer_is_not_told_but_settled_by_the_storage_106),
		with_rig(restored_older_storage_is_the_truth),
		with_rig(requests_per_minute_are_one_and_jitter_only_makes_them_fewer),
		with_rig(failures_keep_what_was_told_and_are_told_once),
		with_rig(answers_that_are_none_are_failures),
		with_rig(secret_of_a_fresh_pod_is_asked_for_again_within_milliseconds),
		with_rig(need_is_answered_by_the_storage),
		with_rig(need_is_not_answered_by_what_was_asked_before),
		with_rig(need_is_asked_for_until_there_is_an_answer),
		with_rig(absent_one_is_asked_for_soon_then_ever_more_slowly),
		with_rig(on_demand_nothing_follows_an_answer_nor_a_failure),
		with_rig(refresh_drops_what_runs_and_tells_a_failure_anew),
		with_rig(request_that_the_client_gives_up_is_asked_again_and_no_failure),
		with_rig(server_that_is_back_is_asked_at_once),
		with_rig(who_is_held_tells_why_and_waits_without_an_end),
		with_rig(who_is_held_after_an_answer_keeps_its_retry_after),
		with_rig(answer_that_makes_no_sense_is_not_asked_for_early),
		with_rig(request_that_cannot_be_started_is_a_failure),
		with_rig(stopped_in_the_middle_of_an_answer_it_tells_no_more),
		with_rig(endless_answer_is_cut),
		with_rig(request_waits_for_its_turn),
		with_rig(every_request_takes_a_turn),
		with_rig(refresh_keeps_its_turn),
		with_rig(stopped_before_its_turn_it_asks_no_more),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
