/* Reflector: played through without a server, a clock or chance. What it asks for is compared as URLs, what it tells as
 * lines. */
#include "agent/reflector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/backoff.h"
#include "common/buf.h"
#include "common/log.h"
#include "common/str.h"

#define BASE	     "/api/v1/namespaces/ns/secrets?"
#define SELECTOR     "fieldSelector=metadata.name%3Dx"
#define LIST_FIRST   BASE SELECTOR "&limit=500&resourceVersion=0"
#define LIST_AT(rv)  BASE SELECTOR "&resourceVersion=" rv
#define LIST_LATEST  BASE SELECTOR "&limit=500"
#define WATCH_AT(rv) BASE "allowWatchBookmarks=true&" SELECTOR "&resourceVersion=" rv "&timeoutSeconds=2700&watch=true"

struct world {
	struct reflector *r;
	struct server server; /* without WatchList unless a test says so */
	uint64_t now, delay; /* delay: of wake_after; 0: none asked for */
	char *target; /* of the request that runs; NULL: none */
	unsigned n_requests, n_cancelled, n_went_back, n_lost;
	uint64_t lost_delay;
	struct reflector_get get;
	int get_result;
	double random;
	struct buf told;
	bool stop_at_object;
};

/* ---- the environment ---- */

static uint64_t env_now(void *userdata)
{
	return ((struct world *)userdata)->now;
}

static double env_random01(void *userdata)
{
	return ((struct world *)userdata)->random;
}

static int env_get(void *userdata, const struct reflector_get *get)
{
	struct world *w = userdata;

	assert_null(w->target); /* one at a time */
	if (w->get_result < 0)
		return w->get_result;
	w->target = strdup(get->target);
	w->get = *get;
	w->n_requests++;
	return 0;
}

static void env_cancel(void *userdata)
{
	struct world *w = userdata;

	assert_non_null(w->target);
	free(TAKE_PTR(w->target));
	w->n_cancelled++;
}

static void env_wake_after(void *userdata, uint64_t delay_usec)
{
	((struct world *)userdata)->delay = delay_usec;
}

static void env_wake_off(void *userdata)
{
	((struct world *)userdata)->delay = 0;
}

static void env_went_back(void *userdata)
{
	((struct world *)userdata)->n_went_back++;
}

static uint64_t env_lost(void *userdata)
{
	struct world *w = userdata;

	w->n_lost++;
	return w->lost_delay;
}

static const struct reflector_env ENV = {
	.now = env_now,
	.random01 = env_random01,
	.get = env_get,
	.cancel = env_cancel,
	.wake_after = env_wake_after,
	.wake_off = env_wake_off,
	.went_back = env_went_back,
	.lost = env_lost,
};

/* ---- the handler ---- */

static void tell(struct world *w, const char *fmt, ...) attr_printf(2, 3);
static void tell(struct world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	assert_int_equal(buf_vprintf(&w->told, fmt, ap), 0);
	va_end(ap);
}

static void on_list_begin(void *userdata)
{
	tell(userdata, "begin;");
}

static void on_object(void *userdata, enum reflector_event event, const json_t *obj)
{
	static const char *const NAMES[] = { "LISTED", "ADDED", "MODIFIED", "DELETED" };
	const json_t *meta = json_object_get(obj, "metadata");
	struct world *w = userdata;

	tell(w, "%s %s;", NAMES[event], json_string_value(json_object_get(meta, "resourceVersion")));
	if (w->stop_at_object)
		reflector_stop(w->r);
}

static void on_list_end(void *userdata)
{
	tell(userdata, "end;");
}

static void on_failed(void *userdata, const struct err *e, int status)
{
	tell(userdata, "failed %d: %s;", status, err_text(e));
}

static void on_recovered(void *userdata)
{
	tell(userdata, "recovered;");
}

static const struct reflector_handler HANDLER = {
	.list_begin = on_list_begin,
	.object = on_object,
	.list_end = on_list_end,
	.failed = on_failed,
	.recovered = on_recovered,
};

/* ---- the play ---- */

static const struct api_resource RESOURCE = {
	.plural = "secrets",
	.kind = "Secret",
	.list_kind = "SecretList",
	.ns = "ns",
	.field = "metadata.name",
	.field_value = "x",
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->now = 1000 * USEC_PER_SEC;
	w->random = 0.5;
	w->told = BUF_INIT(1 << 20);
	server_stream_refused(&w->server, NULL, w->now);
	assert_int_equal(reflector_new(&RESOURCE, &w->server, &ENV, &HANDLER, w, &w->r), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	reflector_free(w->r);
	free(w->target);
	buf_deinit(&w->told);
	free(w);
	return 0;
}

/* What was told since the last time. */
static void assert_told(struct world *w, const char *expected)
{
	assert_string_equal(w->told.data ? w->told.data : "", expected);
	buf_clear(&w->told);
}

static void assert_asks(struct world *w, const char *target)
{
	assert_non_null(w->target);
	assert_string_equal(w->target, target);
}

static void assert_waits(struct world *w, uint64_t min_usec, uint64_t max_usec)
{
	assert_null(w->target);
	if (w->delay < min_usec || w->delay > max_usec)
		fail_msg("waits %llu usec", (unsigned long long)w->delay);
}

/* A request runs, and a wake-up is due beside it. */
static void assert_waits_beside(struct world *w, uint64_t usec)
{
	assert_non_null(w->target);
	assert_int_equal(w->delay, usec);
}

static void wake(struct world *w)
{
	w->now += w->delay;
	w->delay = 0;
	reflector_wake(w->r);
}

static void done(struct world *w, int status, int64_t retry_after_sec, int code, const char *text)
{
	struct http_result result = { .status = status, .retry_after_sec = retry_after_sec };

	if (code < 0)
		err_set(&result.err, code, "%s", text);
	assert_non_null(w->target);
	free(TAKE_PTR(w->target));
	reflector_done(w->r, &result);
}

static void end(struct world *w)
{
	done(w, 200, -1, 0, NULL);
}

static void lose(struct world *w, int code, const char *text)
{
	done(w, 0, -1, code, text);
}

static void send(struct world *w, const char *text)
{
	reflector_body(w->r, text, strlen(text));
}

static void answer(struct world *w, int status, const char *body)
{
	reflector_head(w->r, status);
	if (w->target)
		send(w, body);
	if (w->target)
		done(w, status, -1, 0, NULL);
}

static void answer_status(struct world *w, int status, const char *reason, const char *message)
{
	cleanup_free char *body = str_format("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"code\":%d,\"reason\":\"%s\","
					     "\"message\":\"%s\"}",
					     status, reason, message);

	answer(w, status, body);
}

#define OBJECT(rv)                                                                                                     \
	"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"x\","                \
	"\"resourceVersion\":\"" rv "\"}}"
#define LIST(rv, items)                                                                                                \
	"{\"apiVersion\":\"v1\",\"kind\":\"SecretList\",\"metadata\":{\"resourceVersion\":\"" rv                       \
	"\"},\"items\":[" items "]}"
#define PAGE(rv, next, items)                                                                                          \
	"{\"apiVersion\":\"v1\",\"kind\":\"SecretList\",\"metadata\":{\"resourceVersion\":\"" rv                       \
	"\",\"continue\":\"" next "\"},\"items\":[" items "]}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define EXPIRED                                                                                                        \
	"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too old\"}"

/* Up to a running watch from 10. */
static void watch_from_10(struct world *w)
{
	reflector_start(w->r);
	assert_asks(w, LIST_FIRST);
	answer(w, 200, LIST("10", OBJECT("5")));
	assert_asks(w, WATCH_AT("10"));
	reflector_head(w->r, 200);
	assert_told(w, "begin;LISTED 5;end;");
	assert_true(reflector_is_watching(w->r));
}

/* ---- list and watch ---- */

static void list_then_watch_then_events(void **state)
{
	struct world *w = *state;

	assert_false(reflector_is_synced(w->r));
	watch_from_10(w);
	assert_true(reflector_is_synced(w->r));
	assert_true(w->get.is_watch);
	assert_true(w->get.timeout_usec > 2700 * USEC_PER_SEC);
	send(w, EVENT("MODIFIED", OBJECT("11")));
	send(w, EVENT("DELETED", OBJECT("12")) EVENT("ADDED", OBJECT("13")));
	assert_told(w, "MODIFIED 11;DELETED 12;ADDED 13;");
	end(w);
	assert_asks(w, WATCH_AT("13"));
	assert_told(w, "");
}

static void empty_list_is_complete(void **state)
{
	static const char *const BODIES[] = { LIST("10", ""),
					      "{\"apiVersion\":\"v1\",\"kind\":\"SecretList\",\"metadata\":"
					      "{\"resourceVersion\":\"10\"},\"items\":null}" };

	for (size_t i = 0; i < ARRAY_SIZE(BODIES); i++) {
		struct world *w;

		setup((void **)&w);
		reflector_start(w->r);
		answer(w, 200, BODIES[i]);
		assert_told(w, "begin;end;");
		assert_asks(w, WATCH_AT("10"));
		teardown((void **)&w);
	}
}

static void events_arrive_whole_however_they_are_cut(void **state)
{
	const char *stream = EVENT("MODIFIED", OBJECT("11")) "\n\r\n" EVENT("MODIFIED", OBJECT("12"));
	struct world *w = *state;

	watch_from_10(w);
	for (const char *p = stream; *p; p++)
		reflector_body(w->r, p, 1);
	assert_told(w, "MODIFIED 11;MODIFIED 12;");
}

static void pages_are_one_list(void **state)
{
	struct world *w = *state;

	reflector_start(w->r);
	answer(w, 200, PAGE("10", "to ken&", OBJECT("3")));
	assert_asks(w, BASE SELECTOR "&limit=500&continue=to%20ken%26");
	assert_false(reflector_is_synced(w->r));
	answer(w, 200, LIST("10", OBJECT("5")));
	assert_told(w, "begin;LISTED 3;LISTED 5;end;");
	assert_asks(w, WATCH_AT("10"));
}

static void pages_without_end_are_refused(void **state)
{
	struct world *w = *state;
	unsigned n = 0;

	reflector_start(w->r);
	for (; w->target && n < 10000; n++)
		answer(w, 200, PAGE("10", "t", OBJECT("3")));
	assert_true(n >= 100 && n < 10000);
	assert_waits(w, 1, 2 * USEC_PER_SEC);
	assert_non_null(strstr(w->told.data, "failed 0: the server's list of secrets: it does not end;"));
	assert_null(strstr(w->told.data, ";end;"));
	wake(w);
	assert_asks(w, LIST_FIRST);
	answer(w, 200, PAGE("10", "t", OBJECT("3")));
	assert_asks(w, BASE SELECTOR "&limit=500&continue=t"); /* counted anew */
}

static void expired_page_makes_one_list_of_all(void **state)
{
	struct world *w = *state;

	reflector_start(w->r);
	answer(w, 200, PAGE("10", "t", OBJECT("3")));
	answer_status(w, 410, "Expired", "the continue token is too old");
	assert_asks(w, LIST_AT("0"));
	answer(w, 200, LIST("11", OBJECT("5")));
	assert_told(w, "begin;LISTED 3;begin;LISTED 5;end;");
	assert_asks(w, WATCH_AT("11"));
}

static void slow_first_list_is_waited_for(void **state)
{
	struct world *w = *state;

	reflector_start(w->r);
	w->now += 120 * USEC_PER_SEC;
	assert_true(w->get.timeout_usec > 120 * USEC_PER_SEC);
	reflector_wake(w->r); /* nobody asked for it */
	reflector_server_answers(w->r, USEC_PER_SEC);
	assert_asks(w, LIST_FIRST);
	assert_false(reflector_is_synced(w->r));
	answer(w, 200, LIST("10", OBJECT("5")));
	assert_true(reflector_is_synced(w->r));
	assert_told(w, "begin;LISTED 5;end;");
	assert_int_equal(w->n_requests, 2);
}

/* kubelet-parity 115: 0, 10, continue, 10 without a limit */
static void list_versions_when_a_page_expires(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, EVENT("ERROR", EXPIRED));
	assert_asks(w, LIST_AT("10"));
	answer(w, 200, PAGE("11", "next", OBJECT("5")));
	assert_asks(w, BASE SELECTOR "&continue=next");
	answer_status(w, 410, "Expired", "the continue token is too old");
	assert_asks(w, LIST_AT("10"));
	answer(w, 200, LIST("11", OBJECT("5")));
	assert_asks(w, WATCH_AT("11"));
	assert_told(w, "begin;LISTED 5;begin;LISTED 5;end;");
	assert_int_equal(w->n_requests, 6);
}

/* kubelet-parity 116: 0, 20, "", 30, "", with the cause and with the old text alone */
static void list_versions_when_they_are_too_large(void **state)
{
	struct world *w = *state;

	reflector_start(w->r);
	assert_asks(w, LIST_FIRST);
	answer(w, 200, LIST("20", ""));
	reflector_head(w->r, 200);
	send(w, EVENT("ERROR", EXPIRED));
	assert_asks(w, LIST_AT("20"));
	answer(w, 504,
	       "{\"kind\":\"Status\",\"code\":504,\"reason\":\"Timeout\",\"message\":\"later\",\"details\":{\"causes\":"
	       "[{\"reason\":\"ResourceVersionTooLarge\",\"message\":\"Too large\"}]}}");
	assert_asks(w, LIST_LATEST);
	answer(w, 200, LIST("30", ""));
	reflector_head(w->r, 200);
	w->now += 2 * USEC_PER_SEC;
	send(w, EVENT("ERROR", EXPIRED));
	assert_asks(w, LIST_AT("30"));
	answer_status(w, 504, "Timeout", "Timeout: Too large resource version: 30, current: 7");
	assert_asks(w, LIST_LATEST);
	answer(w, 200, LIST("7", OBJECT("6")));
	assert_asks(w, WATCH_AT("7"));
	assert_told(w, "begin;end;begin;end;begin;LISTED 6;end;");
	assert_int_equal(w->n_requests, 8);
}

/* ---- WatchList ---- */

#define STREAM_AT(rv)                                                                                                  \
	BASE "allowWatchBookmarks=true&" SELECTOR "&resourceVersion=" rv                                               \
	     "&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&timeoutSeconds=2700&watch=true"
#define END(rv)                                                                                                        \
	EVENT("BOOKMARK", "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"" rv         \
			  "\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}")
#define BOOKMARK(rv)                                                                                                   \
	EVENT("BOOKMARK", "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"" rv "\"}}")

static void stream(struct world *w)
{
	w->server = SERVER_INIT;
	reflector_start(w->r);
	assert_asks(w, STREAM_AT(""));
	assert_true(w->get.is_watch);
}

/* kubelet-parity 121 */
static void watch_list_is_synced_only_after_its_bookmark(void **state)
{
	struct world *w = *state;

	stream(w);
	reflector_head(w->r, 200);
	send(w, EVENT("ADDED", OBJECT("5")));
	send(w, BOOKMARK("7"));
	assert_false(reflector_is_synced(w->r));
	assert_false(reflector_is_watching(w->r));
	assert_told(w, "begin;LISTED 5;");
	send(w, END("10"));
	assert_told(w, "end;");
	assert_true(reflector_is_synced(w->r));
	assert_true(reflector_is_watching(w->r));
	assert_int_equal(w->delay, 0);
	send(w, EVENT("MODIFIED", OBJECT("11")));
	assert_told(w, "MODIFIED 11;");
	assert_int_equal(w->n_requests, 1);
	end(w);
	assert_asks(w, WATCH_AT("11"));
}

static void watch_list_version_is_the_bookmarks(void **state)
{
	struct world *w = *state;

	stream(w);
	reflector_head(w->r, 200);
	send(w, EVENT("ADDED", OBJECT("99")) END("10"));
	w->now += 2 * USEC_PER_SEC;
	end(w);
	assert_asks(w, WATCH_AT("10"));
}

static void watch_list_is_used_for_a_relist(void **state)
{
	struct world *w = *state;

	stream(w);
	reflector_head(w->r, 200);
	send(w, EVENT("ADDED", OBJECT("5")) END("10"));
	send(w, EVENT("ERROR", EXPIRED));
	assert_asks(w, STREAM_AT("10"));
	reflector_head(w->r, 200);
	send(w, END("20"));
	assert_told(w, "begin;LISTED 5;end;begin;end;");
	reflector_refresh(w->r);
	assert_asks(w, STREAM_AT(""));
}

/* kubelet-parity 122 */
static void watch_list_refused_falls_back_at_once(void **state)
{
	static const int STATUSES[] = { 400, 404, 405, 415, 422 };

	for (size_t i = 0; i < ARRAY_SIZE(STATUSES); i++) {
		struct world *w;

		setup((void **)&w);
		stream(w);
		answer_status(w, STATUSES[i], "Invalid", "resourceVersionMatch is forbidden for watch");
		assert_asks(w, LIST_FIRST);
		assert_int_equal(w->server.stream, SERVER_STREAM_REFUSED);
		answer(w, 200, LIST("10", OBJECT("5")));
		assert_asks(w, WATCH_AT("10"));
		assert_told(w, "begin;LISTED 5;end;");
		reflector_head(w->r, 200);
		send(w, EVENT("ERROR", EXPIRED));
		assert_asks(w, LIST_AT("10")); /* remembered */
		teardown((void **)&w);
	}
}

static void watch_list_without_a_bookmark_falls_back_in_time(void **state)
{
	struct world *w = *state;

	stream(w);
	reflector_head(w->r, 200);
	w->now += 3 * USEC_PER_SEC;
	send(w, EVENT("ADDED", OBJECT("5")));
	w->delay = 2 * USEC_PER_SEC; /* what is left of the time since the head */
	wake(w);
	assert_asks(w, STREAM_AT("")); /* there was an event since */
	assert_waits_beside(w, 3 * USEC_PER_SEC);
	wake(w);
	assert_asks(w, LIST_FIRST);
	assert_int_equal(w->n_cancelled, 1);
	assert_int_equal(w->server.stream, SERVER_STREAM_REFUSED);
	answer(w, 200, LIST("10", OBJECT("5")));
	assert_told(w, "begin;LISTED 5;begin;LISTED 5;end;");
}

/* A server too old to know WatchList, with pods that change all the time. */
static void watch_list_without_a_bookmark_is_found_out_among_changes(void **state)
{
	struct world *w = *state;
	unsigned sec = 0;

	stream(w);
	reflector_head(w->r, 200);
	send(w, EVENT("ADDED", OBJECT("5")));
	for (; str_eq(w->target, STREAM_AT("")) && sec < 60; sec++) {
		uint64_t at = w->now + USEC_PER_SEC;

		send(w, EVENT("MODIFIED", OBJECT("6")));
		if (w->delay <= USEC_PER_SEC)
			wake(w);
		else
			w->delay -= USEC_PER_SEC;
		w->now = at;
	}
	assert_in_range(sec, 4, 6);
	assert_asks(w, LIST_FIRST);
}

static void watch_list_troubles_lead_to(void **state)
{
	static const struct {
		int status;
		const char *next;
		bool waits;
	} CASES[] = {
		{ 401, LIST_FIRST, true },   { 403, LIST_FIRST, true }, { 429, STREAM_AT(""), true },
		{ 500, LIST_FIRST, true },   { 503, LIST_FIRST, true }, { 504, LIST_FIRST, true },
		{ 410, LIST_LATEST, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct world *w;

		setup((void **)&w);
		stream(w);
		answer_status(w, CASES[i].status, "Because", "go away");
		assert_int_equal(w->server.stream, SERVER_STREAM_UNKNOWN);
		assert_int_equal(w->delay > 0, CASES[i].waits);
		if (CASES[i].waits)
			wake(w);
		assert_asks(w, CASES[i].next);
		teardown((void **)&w);
	}
}

static void watch_list_of_a_server_that_is_away_is_asked_again(void **state)
{
	struct world *w = *state;

	stream(w);
	lose(w, -ECONNREFUSED, "connect to https://x: Connection refused");
	wake(w);
	assert_asks(w, STREAM_AT(""));
	wake(w); /* no answer at all: 30 s */
	assert_waits(w, 1, 2 * USEC_PER_SEC);
	wake(w);
	assert_asks(w, LIST_FIRST);
	assert_int_equal(w->server.stream, SERVER_STREAM_UNKNOWN);
}

/* After a sleep: a list, a watch and a WatchList without an answer, and one that had begun. */
static void what_the_client_gives_up_is_asked_again_and_no_failure(void **state)
{
	struct world *w = *state, *s;

	reflector_start(w->r);
	lose(w, -ECONNABORTED, "the machine has slept");
	assert_waits(w, 1, 2 * USEC_PER_SEC);
	wake(w);
	assert_asks(w, LIST_FIRST);
	answer(w, 200, LIST("10", ""));
	lose(w, -ECONNABORTED, "the machine has slept");
	assert_waits(w, 1, 4 * USEC_PER_SEC);
	wake(w);
	assert_asks(w, WATCH_AT("10"));
	assert_told(w, "begin;end;");

	setup((void **)&s);
	stream(s);
	lose(s, -ECONNABORTED, "the machine has slept");
	assert_waits(s, 1, 2 * USEC_PER_SEC);
	wake(s);
	assert_asks(s, STREAM_AT(""));
	reflector_head(s->r, 200);
	done(s, 200, -1, -ECONNRESET, "the machine has slept");
	assert_waits(s, 1, 4 * USEC_PER_SEC);
	wake(s);
	assert_asks(s, LIST_FIRST);
	assert_told(s, "begin;");
	teardown((void **)&s);
}

static void watch_list_that_breaks_is_followed_by_a_list(void **state)
{
	static const struct {
		const char *sends;
		int code;
		bool waits, refused;
	} CASES[] = {
		{ EVENT("ADDED", OBJECT("5")), -EIO, true, false }, /* cut */
		{ EVENT("ADDED", OBJECT("5")), 0, false, true }, /* closed */
		{ "garbage\n", 0, false, true },
		{ EVENT("ERROR", "{\"kind\":\"Status\",\"code\":500,\"message\":\"etcd\"}"), 0, true, false },
		{ EVENT("ERROR", "{\"kind\":\"Status\",\"code\":422,\"message\":\"no\"}"), 0, false, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct world *w;

		setup((void **)&w);
		stream(w);
		reflector_head(w->r, 200);
		send(w, CASES[i].sends);
		if (w->target && str_eq(w->target, STREAM_AT("")))
			done(w, 200, -1, CASES[i].code, "connection lost");
		assert_int_equal(w->delay > 0, CASES[i].waits);
		if (CASES[i].waits)
			wake(w);
		assert_asks(w, LIST_FIRST);
		assert_int_equal(w->server.stream == SERVER_STREAM_REFUSED, CASES[i].refused);
		assert_false(reflector_is_synced(w->r));
		answer(w, 200, LIST("10", OBJECT("5")));
		assert_true(reflector_is_synced(w->r));
		assert_asks(w, WATCH_AT("10"));
		teardown((void **)&w);
	}
}

static void watch_list_stopped_lets_another_try(void **state)
{
	struct world *w = *state;
	int other = 0;

	stream(w);
	assert_false(server_may_stream(&w->server, &other, w->now));
	reflector_stop(w->r);
	assert_true(server_may_stream(&w->server, &other, w->now));
}

/* ---- 410 ---- */

static void watch_410_relists_once(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, EVENT("MODIFIED", OBJECT("11")));
	end(w);
	answer_status(w, 410, "Expired", "too old resource version");
	assert_asks(w, LIST_AT("11"));
	answer(w, 200, LIST("20", OBJECT("15")));
	assert_asks(w, WATCH_AT("20"));
	assert_told(w, "MODIFIED 11;begin;LISTED 15;end;");
	assert_int_equal(w->n_cancelled, 0);
}

static void error_event_expired_relists(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, EVENT("ERROR", EXPIRED));
	assert_int_equal(w->n_cancelled, 1);
	assert_asks(w, LIST_AT("10"));
	answer(w, 200, LIST("20", ""));
	assert_told(w, "begin;end;");
}

static void expired_again_and_again_is_slowed_down(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, EVENT("ERROR", EXPIRED));
	answer(w, 200, LIST("10", ""));
	reflector_head(w->r, 200);
	send(w, EVENT("ERROR", EXPIRED));
	assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
	wake(w);
	assert_asks(w, LIST_AT("10"));
}

/* The outages of a node are days apart. */
static void expired_after_a_watch_that_lasted_relists_at_once_again(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, EVENT("ERROR", EXPIRED));
	assert_asks(w, LIST_AT("10"));
	answer(w, 200, LIST("20", ""));
	reflector_head(w->r, 200);
	w->now += 3600 * USEC_PER_SEC;
	end(w);
	assert_asks(w, WATCH_AT("20"));
	reflector_head(w->r, 200);
	send(w, EVENT("ERROR", EXPIRED));
	assert_asks(w, LIST_AT("20"));
}

/* A watch that begins well and expires at once, every time: no progress that counts. */
static void expired_after_each_event_is_slowed_down(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, BOOKMARK("10") EVENT("ERROR", EXPIRED));
	answer(w, 200, LIST("10", ""));
	reflector_head(w->r, 200);
	send(w, BOOKMARK("10") EVENT("ERROR", EXPIRED));
	assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
	wake(w);
	answer(w, 200, LIST("10", ""));
	reflector_head(w->r, 200);
	w->now += 60 * USEC_PER_SEC; /* it has lasted */
	send(w, EVENT("ERROR", EXPIRED));
	assert_asks(w, LIST_AT("10"));
}

static void expired_after_each_watch_list_is_slowed_down(void **state)
{
	struct world *w = *state;
	unsigned n = 0;

	stream(w);
	for (; w->target && n < 20; n++) {
		reflector_head(w->r, 200);
		send(w, EVENT("ADDED", OBJECT("5")) END("10"));
		send(w, EVENT("ERROR", EXPIRED));
	}
	assert_int_equal(n, 2);
	assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
}

static void expired_list_asks_for_the_latest(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, EVENT("ERROR", EXPIRED));
	answer_status(w, 410, "Expired", "gone");
	assert_asks(w, LIST_LATEST);
	answer_status(w, 410, "Expired", "gone");
	assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
	assert_told(w, "failed 410: gone;");
	wake(w);
	assert_asks(w, LIST_LATEST);
	answer(w, 200, LIST("20", ""));
	assert_told(w, "begin;end;recovered;");
	send(w, EVENT("ERROR", EXPIRED));
}

static void too_large_version_asks_for_the_latest(void **state)
{
	static const char *const BODIES[] = {
		"{\"kind\":\"Status\",\"code\":504,\"reason\":\"Timeout\",\"message\":\"Too large resource version: "
		"20\"}",
		"{\"kind\":\"Status\",\"code\":504,\"reason\":\"Timeout\",\"message\":\"later\",\"details\":{"
		"\"causes\":"
		"[{\"reason\":\"ResourceVersionTooLarge\",\"message\":\"Too large\"}]}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(BODIES); i++) {
		struct world *w;

		setup((void **)&w);
		watch_from_10(w);
		send(w, EVENT("ERROR", EXPIRED));
		answer(w, 504, BODIES[i]);
		assert_asks(w, LIST_LATEST);
		teardown((void **)&w);
	}
}

/* ---- bookmarks and the end of a watch ---- */

static void bookmark_moves_the_version_and_tells_nothing(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, EVENT("BOOKMARK",
		      "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"resourceVersion\":\"150\"}}"));
	w->now += 60 * USEC_PER_SEC;
	end(w);
	assert_asks(w, WATCH_AT("150"));
	assert_told(w, "");
}

static void watch_that_lasted_is_followed_by_another(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	w->now += 2 * USEC_PER_SEC;
	end(w);
	assert_asks(w, WATCH_AT("10"));
	reflector_head(w->r, 200);
	w->now += 2 * USEC_PER_SEC;
	done(w, 200, -1, -EIO, "connection lost");
	assert_asks(w, WATCH_AT("10"));
	assert_told(w, "");
}

static void very_short_watch_backs_off_and_relists(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	end(w);
	assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
	wake(w);
	assert_asks(w, LIST_AT("10"));
}

static void short_watches_with_events_do_not_spin_for_ever(void **state)
{
	struct world *w = *state;
	unsigned n = 0;

	watch_from_10(w);
	for (; w->target && n < 20; n++) {
		send(w, EVENT("BOOKMARK", OBJECT("11")));
		end(w);
		if (w->target)
			reflector_head(w->r, 200);
	}
	assert_in_range(n, 2, 10);
	assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
}

static void torn_watch_backs_off_and_relists(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, EVENT("MODIFIED", OBJECT("11")) "{\"type\":\"MODI");
	end(w);
	assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
	assert_told(w, "MODIFIED 11;failed 0: the watch of secrets ended in the middle of a message;");
	wake(w);
	assert_asks(w, LIST_AT("11"));
	answer(w, 200, LIST("12", OBJECT("12")));
	assert_told(w, "begin;LISTED 12;end;recovered;");
}

static void connection_lost_in_the_middle_of_an_event_resumes(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, EVENT("MODIFIED", OBJECT("11")) "{\"type\":\"MODI");
	done(w, 200, -1, -EIO, "connection lost");
	assert_asks(w, WATCH_AT("11"));
	reflector_head(w->r, 200);
	send(w, EVENT("MODIFIED", OBJECT("12")));
	assert_told(w, "MODIFIED 11;MODIFIED 12;");
}

static void garbage_ends_the_watch(void **state)
{
	static const char *const GARBAGE[] = {
		"garbage\n",
		"{\"type\":\"ADDED\"}\n",
		"{\"object\":{}}\n",
		"{\"type\":7,\"object\":{}}\n",
		"{\"type\":\"ADDED\",\"object\":[]}\n",
		"[]\n",
		"{\"type\":\"ADDED\",\"type\":\"ADDED\",\"object\":{}}\n",
		"\x00\x01\n",
		"{\"type\":\"ADDED\",\"object\":{}} trailing\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(GARBAGE); i++) {
		struct world *w;

		setup((void **)&w);
		watch_from_10(w);
		reflector_body(w->r, GARBAGE[i], strlen(GARBAGE[i]) ? strlen(GARBAGE[i]) : 3);
		assert_int_equal(w->n_cancelled, 1);
		assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
		assert_true(str_starts(w->told.data, "failed 0: a message in the watch of secrets: "));
		assert_null(strstr(w->told.data, "garbage"));
		buf_clear(&w->told);
		wake(w);
		assert_asks(w, LIST_AT("10"));
		teardown((void **)&w);
	}
}

static void endless_event_is_refused(void **state)
{
	struct world *w = *state;
	char chunk[65536];

	memset(chunk, 'x', sizeof(chunk));
	watch_from_10(w);
	for (size_t i = 0; i < 80 && w->target; i++)
		reflector_body(w->r, chunk, sizeof(chunk));
	assert_int_equal(w->n_cancelled, 1);
	assert_told(w, "failed 0: a message in the watch of secrets: more than 4 MiB;");
}

static void what_was_not_asked_for_is_passed_over(void **state)
{
	static const char *const ODD[] = {
		EVENT("ADDED",
		      "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"x\","
		      "\"resourceVersion\":\"11\"}}"),
		EVENT("ADDED",
		      "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"y\","
		      "\"resourceVersion\":\"11\"}}"),
		EVENT("ADDED",
		      "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"no\",\"name\":\"x\","
		      "\"resourceVersion\":\"11\"}}"),
		EVENT("ADDED",
		      "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"x\"}}"),
		EVENT("ADDED", "{}"),
		EVENT("RENAMED", OBJECT("11")),
		EVENT("BOOKMARK", "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{}}"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(ODD); i++) {
		struct world *w;

		setup((void **)&w);
		watch_from_10(w);
		send(w, ODD[i]);
		send(w, EVENT("MODIFIED", OBJECT("12")));
		assert_told(w, "MODIFIED 12;");
		assert_true(reflector_is_watching(w->r));
		teardown((void **)&w);
	}
}

#define OTHER(namespace, name)                                                                                         \
	"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"" namespace "\",\"name\":\"" name    \
											      "\","                    \
											      "\"resourceVersion\":"   \
											      "\"5\"}}"

/* It would say that what was asked for is not there. */
static void list_with_anything_else_in_it_is_not_believed(void **state)
{
	static const char *const LISTS[] = { LIST("10", OTHER("ns", "y")), LIST("10", OTHER("no", "x")),
					     LIST("10", "null"), LIST("10", OBJECT("5") "," OTHER("ns", "y")),
					     PAGE("10", "c", OTHER("ns", "y")) };

	for (size_t i = 0; i < ARRAY_SIZE(LISTS); i++) {
		struct world *w;

		setup((void **)&w);
		watch_from_10(w);
		reflector_refresh(w->r);
		answer(w, 200, LISTS[i]);
		if (!w->told.data || strncmp(w->told.data, "failed 0: the server's list of secrets: ", 40) != 0)
			fail_msg("%zu: %s", i, w->told.data ? w->told.data : "nothing");
		buf_clear(&w->told);
		wake(w);
		answer(w, 200, LIST("12", OBJECT("11")));
		assert_told(w, "begin;LISTED 11;end;recovered;");
		teardown((void **)&w);
	}
}

static void watch_list_with_anything_else_in_it_is_not_believed(void **state)
{
	static const char *const EVENTS[] = {
		EVENT("ADDED", OTHER("ns", "y")), EVENT("ADDED", OTHER("no", "x")), EVENT("MODIFIED", OTHER("ns", "y")),
		EVENT("ADDED", "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"5\"}}")
	};

	for (size_t i = 0; i < ARRAY_SIZE(EVENTS); i++) {
		struct world *w;

		setup((void **)&w);
		stream(w);
		reflector_head(w->r, 200);
		send(w, EVENTS[i]);
		assert_told(w, "begin;");
		assert_asks(w, LIST_FIRST);
		answer(w, 200, LIST("10", OBJECT("5")));
		assert_told(w, "begin;LISTED 5;end;");
		teardown((void **)&w);
	}
}

static void list_says_whether_it_is_the_latest(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	assert_false(reflector_told_latest(w->r));
	reflector_refresh(w->r);
	answer(w, 500, "");
	wake(w);
	answer(w, 200, LIST("10", OBJECT("5")));
	assert_true(reflector_told_latest(w->r));
	reflector_head(w->r, 200);
	send(w, EVENT("ERROR", EXPIRED));
	answer(w, 200, LIST("20", OBJECT("5")));
	assert_false(reflector_told_latest(w->r));
}

static void wrong_version_of_a_stranger_is_not_kept(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, EVENT("ADDED",
		      "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"y\","
		      "\"resourceVersion\":\"99\"}}"));
	end(w);
	assert_asks(w, WATCH_AT("10"));
}

/* ---- failures ---- */

static void refused_connection_keeps_the_version(void **state)
{
	struct world *w = *state;
	uint64_t last = 0;

	watch_from_10(w);
	w->now += 2 * USEC_PER_SEC;
	end(w);
	for (unsigned i = 0; i < 8; i++) {
		assert_asks(w, WATCH_AT("10"));
		lose(w, -ECONNREFUSED, "connect to https://x: Connection refused");
		assert_null(w->target);
		assert_true(w->delay >= last);
		assert_true(w->delay <= 60 * USEC_PER_SEC);
		last = w->delay;
		wake(w);
	}
	assert_true(last >= 30 * USEC_PER_SEC);
	assert_told(w, "failed 0: connect to https://x: Connection refused;");
	reflector_head(w->r, 200);
	assert_told(w, "recovered;");
}

/* Taken, but never answered: nothing would be told for as long as the watch was to last. */
static void watch_without_an_answer_is_given_up(void **state)
{
	struct world *w = *state;

	reflector_start(w->r);
	answer(w, 200, LIST("10", OBJECT("5")));
	assert_asks(w, WATCH_AT("10"));
	assert_waits_beside(w, 30 * USEC_PER_SEC);
	wake(w);
	assert_int_equal(w->n_cancelled, 1);
	assert_told(w, "begin;LISTED 5;end;failed 0: no answer to a watch of secrets;");
	assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
	wake(w);
	assert_asks(w, WATCH_AT("10"));
	reflector_head(w->r, 200);
	assert_int_equal(w->delay, 0);
	assert_told(w, "recovered;");
	w->now += 2 * USEC_PER_SEC;
	end(w);
	assert_waits_beside(w, 30 * USEC_PER_SEC);
	reflector_stop(w->r);
	assert_int_equal(w->delay, 0);
}

static void watch_that_is_refused_without_an_end_is_given_up(void **state)
{
	struct world *w = *state;

	reflector_start(w->r);
	answer(w, 200, LIST("10", OBJECT("5")));
	reflector_head(w->r, 503);
	send(w, "no");
	wake(w);
	assert_int_equal(w->n_cancelled, 1);
	assert_told(w, "begin;LISTED 5;end;failed 503: the server answered 503 Service Unavailable;");
	assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
}

static void failed_watches_lead_to(void **state)
{
	static const struct {
		int status;
		const char *first, *second; /* what is asked after the first and after the second failure */
	} CASES[] = {
		{ 429, WATCH_AT("10"), WATCH_AT("10") },
		{ 500, WATCH_AT("10"), LIST_AT("10") },
		{ 503, WATCH_AT("10"), LIST_AT("10") },
		{ 504, WATCH_AT("10"), LIST_AT("10") },
		{ 403, LIST_AT("10"), NULL },
		{ 401, LIST_AT("10"), NULL },
		{ 404, LIST_AT("10"), NULL },
		{ 400, LIST_AT("10"), NULL },
		{ 302, LIST_AT("10"), NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct world *w;

		setup((void **)&w);
		watch_from_10(w);
		w->now += 2 * USEC_PER_SEC;
		end(w);
		answer_status(w, CASES[i].status, "Because", "go away");
		assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
		wake(w);
		assert_asks(w, CASES[i].first);
		if (CASES[i].second) {
			answer_status(w, CASES[i].status, "Because", "go away");
			assert_waits(w, 1600 * USEC_PER_MSEC, 3200 * USEC_PER_MSEC);
			wake(w);
			assert_asks(w, CASES[i].second);
		}
		teardown((void **)&w);
	}
}

static void failed_list_is_tried_again_and_told_once(void **state)
{
	struct world *w = *state;
	static const int STATUSES[] = { 403, 404, 429, 500, 503, 401 };

	watch_from_10(w);
	send(w, EVENT("ERROR", EXPIRED));
	for (size_t i = 0; i < ARRAY_SIZE(STATUSES); i++) {
		assert_asks(w, LIST_AT("10"));
		answer_status(w, STATUSES[i], "Because", "go away");
		assert_waits(w, 1, 60 * USEC_PER_SEC);
		wake(w);
	}
	assert_told(w, "failed 403: go away;");
	lose(w, -ETIMEDOUT, "too late");
	assert_told(w, "failed 0: too late;");
	wake(w);
	answer(w, 200, LIST("11", ""));
	assert_told(w, "begin;end;recovered;");
}

static void bodies_that_are_no_list_are_failures(void **state)
{
	static const char *const BODIES[] = {
		"",
		"no",
		"[]",
		"{}",
		"{\"apiVersion\":\"v1\",\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"1\"}}",
		"{\"apiVersion\":\"v1\",\"kind\":\"SecretList\",\"metadata\":{},\"items\":[]}",
		"{\"apiVersion\":\"v1\",\"kind\":\"SecretList\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":{}}",
		"{\"apiVersion\":\"v1\",\"kind\":\"SecretList\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]",
		"<html>login</html>",
	};

	for (size_t i = 0; i < ARRAY_SIZE(BODIES); i++) {
		struct world *w;

		setup((void **)&w);
		reflector_start(w->r);
		answer(w, 200, BODIES[i]);
		assert_waits(w, 1, 2 * USEC_PER_SEC);
		assert_non_null(strstr(w->told.data, "failed 0: the server's list of secrets: "));
		assert_null(strstr(w->told.data, "end;"));
		assert_false(reflector_is_synced(w->r));
		wake(w);
		assert_asks(w, LIST_FIRST);
		teardown((void **)&w);
	}
}

static void endless_list_is_refused(void **state)
{
	cleanup_free char *chunk = calloc(1, 1 << 20);
	struct world *w = *state;
	size_t n = 0;

	reflector_start(w->r);
	reflector_head(w->r, 200);
	for (; n < 40 && w->target; n++)
		reflector_body(w->r, chunk, 1 << 20);
	assert_int_equal(w->n_cancelled, 1);
	assert_int_equal(n, 5); /* one object was asked for */
	assert_told(w, "failed 0: the server's list of secrets is too large;");
}

static void endless_failure_is_cut(void **state)
{
	struct world *w = *state;
	char chunk[4096];

	memset(chunk, 'x', sizeof(chunk));
	reflector_start(w->r);
	reflector_head(w->r, 503);
	for (size_t i = 0; i < 40 && w->target; i++)
		reflector_body(w->r, chunk, sizeof(chunk));
	assert_told(w, "failed 503: the server answered 503 Service Unavailable;");
}

static void fresh_objects_403_is_retried_quickly_at_first(void **state)
{
	struct world *w = *state;
	uint64_t waited = 0;
	unsigned quick = 0;

	reflector_start(w->r);
	for (unsigned i = 0; i < 20; i++) {
		answer_status(w, 403, "Forbidden", "no relationship found");
		quick += w->delay < 200 * USEC_PER_MSEC;
		waited += w->delay;
		wake(w);
	}
	assert_true(quick >= 4);
	assert_true(waited > 60 * USEC_PER_SEC);
	assert_told(w, "failed 403: no relationship found;");
	answer(w, 200, LIST("10", OBJECT("5")));
	assert_told(w, "begin;LISTED 5;end;recovered;");
}

static void first_retry_of_a_fresh_403_comes_within_milliseconds(void **state)
{
	struct world *w = *state;

	reflector_start(w->r);
	answer_status(w, 403, "Forbidden", "no relationship found");
	assert_waits(w, 1, 10 * USEC_PER_MSEC);
}

static void busy_server_is_never_asked_quickly(void **state)
{
	static const int STATUSES[] = { 429, 500, 503 };

	for (size_t i = 0; i < ARRAY_SIZE(STATUSES); i++) {
		struct world *w;

		setup((void **)&w);
		reflector_start(w->r);
		answer_status(w, STATUSES[i], "Busy", "busy");
		assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
		teardown((void **)&w);
	}
}

static void retry_after_is_waited_for(void **state)
{
	struct world *w = *state;

	reflector_start(w->r);
	reflector_head(w->r, 429);
	done(w, 429, 7, 0, NULL);
	assert_waits(w, 7 * USEC_PER_SEC, 9 * USEC_PER_SEC);
	wake(w);
	answer(w, 503,
	       "{\"kind\":\"Status\",\"code\":503,\"message\":\"later\",\"details\":{\"retryAfterSeconds\":9}}");
	assert_waits(w, 9 * USEC_PER_SEC, 12 * USEC_PER_SEC);
}

static void error_event_is_a_failure_with_its_message(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, EVENT("ERROR",
		      "{\"kind\":\"Status\",\"code\":500,\"reason\":\"InternalError\",\"message\":\"etcd is away\"}"));
	assert_told(w, "failed 500: etcd is away;");
	assert_waits(w, 800 * USEC_PER_MSEC, 1600 * USEC_PER_MSEC);
	wake(w);
	assert_asks(w, LIST_AT("10"));
}

static void request_that_cannot_start_is_tried_again(void **state)
{
	struct world *w = *state;

	w->get_result = -ENOMEM;
	reflector_start(w->r);
	assert_told(w, "failed 0: start a request: Cannot allocate memory;");
	assert_waits(w, 1, 2 * USEC_PER_SEC);
	w->get_result = 0;
	wake(w);
	assert_asks(w, LIST_FIRST);
}

static void answer_to_somebody_else_ends_the_wait_for_the_server_only(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	reflector_server_answers(w->r, 200 * USEC_PER_MSEC); /* not waiting */
	assert_int_equal(w->delay, 0);
	w->now += 2 * USEC_PER_SEC;
	end(w);
	assert_false(reflector_waits_for_server(w->r));
	lose(w, -ECONNREFUSED, "connect to https://x: Connection refused");
	assert_true(reflector_waits_for_server(w->r));
	reflector_server_answers(w->r, 200 * USEC_PER_MSEC);
	assert_waits(w, 200 * USEC_PER_MSEC, 200 * USEC_PER_MSEC);
	assert_false(reflector_waits_for_server(w->r));
	wake(w);
	assert_asks(w, WATCH_AT("10"));
	answer_status(w, 503, "Busy", "busy");
	reflector_server_answers(w->r, 200 * USEC_PER_MSEC);
	assert_waits(w, 800 * USEC_PER_MSEC, 60 * USEC_PER_SEC);
}

/* What one object's answers are like is no reason to ask for it whenever another's are good. */
static void answer_that_makes_no_sense_is_not_asked_for_early(void **state)
{
	struct world *w = *state;
	static const char *const ERRORS[] = { "{}", "{\"code\":[],\"reason\":7}" };

	watch_from_10(w);
	for (size_t i = 0; i < ARRAY_SIZE(ERRORS); i++) {
		cleanup_free char *event = NULL;

		assert_true(asprintf(&event, "{\"type\":\"ERROR\",\"object\":%s}\n", ERRORS[i]) > 0);
		send(w, event);
		reflector_server_answers(w->r, 200 * USEC_PER_MSEC);
		assert_waits(w, (800 * USEC_PER_MSEC) << i, 60 * USEC_PER_SEC);
		wake(w);
		answer(w, 200, LIST("10", OBJECT("5")));
		reflector_head(w->r, 200);
	}
	send(w, EVENT("ERROR", EXPIRED));
	reflector_head(w->r, 200);
	done(w, 200, -1, -EIO, "read from https://x: connection lost");
	reflector_server_answers(w->r, 200 * USEC_PER_MSEC);
	assert_waits(w, 3200 * USEC_PER_MSEC, 60 * USEC_PER_SEC);
	wake(w);
	lose(w, -EPROTONOSUPPORT, "connect to https://x: Received HTTP/0.9 when not allowed");
	reflector_server_answers(w->r, 200 * USEC_PER_MSEC);
	assert_waits(w, 6400 * USEC_PER_MSEC, 60 * USEC_PER_SEC);
	wake(w);
	lose(w, -ENOMEM, "connect to https://x: a header that is too long, or out of memory");
	reflector_server_answers(w->r, 200 * USEC_PER_MSEC);
	assert_waits(w, 12800 * USEC_PER_MSEC, 60 * USEC_PER_SEC);
}

/* A connection that is lost each time because of what is asked for: every second wait is a whole one. */
static void who_came_early_for_nothing_waits(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	send(w, EVENT("ERROR", EXPIRED));
	for (int i = 0; i < 3; i++) {
		lose(w, -EIO, "connect to https://x: connection closed without an answer");
		reflector_server_answers(w->r, 200 * USEC_PER_MSEC);
		assert_waits(w, 1, 200 * USEC_PER_MSEC);
		wake(w);
		lose(w, -EIO, "connect to https://x: connection closed without an answer");
		reflector_server_answers(w->r, 200 * USEC_PER_MSEC);
		assert_waits(w, USEC_PER_SEC, 60 * USEC_PER_SEC);
		wake(w);
	}
	/* where nobody is, it is not for what was asked */
	for (int i = 0; i < 3; i++) {
		lose(w, -ECONNREFUSED, "connect to https://x: Connection refused");
		reflector_server_answers(w->r, 200 * USEC_PER_MSEC);
		assert_waits(w, 1, 200 * USEC_PER_MSEC);
		wake(w);
	}
}

/* ---- a server that answers nobody ---- */

static const struct err *refused(void)
{
	static struct err e = ERR_INIT;

	err_set(&e, -ECONNREFUSED, "connect to https://x: Connection refused");
	return &e;
}

static void who_is_held_tells_why_and_waits_without_an_end(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	reflector_hold(w->r, refused()); /* its watch runs */
	assert_told(w, "");
	assert_asks(w, WATCH_AT("10"));
	w->now += 2 * USEC_PER_SEC;
	end(w);
	answer_status(w, 503, "Busy", "busy");
	assert_true(reflector_waits(w->r));
	assert_told(w, "failed 503: busy;");
	reflector_hold(w->r, refused());
	assert_told(w, "failed 0: connect to https://x: Connection refused;");
	assert_int_equal(w->delay, 0);
	reflector_hold(w->r, refused());
	assert_told(w, "");
	reflector_server_answers(w->r, USEC_PER_MSEC);
	assert_waits(w, USEC_PER_MSEC, USEC_PER_MSEC);
	wake(w);
	assert_asks(w, WATCH_AT("10"));
	reflector_head(w->r, 200);
	assert_told(w, "recovered;");
	assert_false(reflector_waits(w->r));
}

/* It told its own failure, and what the server has asked for counts more than that somebody else was answered. */
static void who_is_held_after_an_answer_keeps_its_retry_after(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	w->now += 2 * USEC_PER_SEC;
	end(w);
	assert_told(w, "");
	reflector_head(w->r, 503);
	done(w, 503, 30, 0, NULL);
	assert_told(w, "failed 503: the server answered 503 Service Unavailable;");
	reflector_hold(w->r, NULL);
	assert_told(w, "");
	assert_int_equal(w->delay, 0);
	assert_true(reflector_waits_for_server(w->r));
	w->now += 10 * USEC_PER_SEC;
	reflector_server_answers(w->r, 200 * USEC_PER_MSEC);
	assert_waits(w, 20 * USEC_PER_SEC, 22 * USEC_PER_SEC);
	reflector_hold(w->r, NULL);
	w->now += 25 * USEC_PER_SEC;
	reflector_server_answers(w->r, 200 * USEC_PER_MSEC);
	assert_waits(w, 200 * USEC_PER_MSEC, 200 * USEC_PER_MSEC);
}

static void who_waits_to_go_on_may_be_told_to_list(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	assert_false(reflector_list_next(w->r));
	w->now += 2 * USEC_PER_SEC;
	end(w);
	assert_false(reflector_list_next(w->r)); /* asked for is as good as running */
	lose(w, -ECONNREFUSED, "connect to https://x: Connection refused");
	assert_true(reflector_list_next(w->r));
	wake(w);
	assert_asks(w, LIST_AT("10"));
	assert_true(reflector_list_next(w->r));
}

static void who_is_held_may_be_woken_or_refreshed(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	w->now += 2 * USEC_PER_SEC;
	end(w);
	lose(w, -ECONNREFUSED, "connect to https://x: Connection refused");
	reflector_hold(w->r, refused());
	reflector_wake(w->r);
	assert_asks(w, WATCH_AT("10"));
	lose(w, -ECONNREFUSED, "connect to https://x: Connection refused");
	reflector_hold(w->r, refused());
	reflector_refresh(w->r);
	assert_asks(w, LIST_LATEST);
}

static void who_is_held_before_its_turn_asks_when_it_is_refreshed(void **state)
{
	struct world *w = *state;

	w->server.qps = w->server.burst = 1;
	assert_int_equal(server_admit(&w->server, w->now), 0);
	reflector_start(w->r);
	assert_waits(w, USEC_PER_SEC, USEC_PER_SEC);
	reflector_hold(w->r, refused());
	assert_int_equal(w->delay, 0);
	w->now += 10 * USEC_PER_SEC;
	reflector_refresh(w->r);
	assert_asks(w, LIST_LATEST);
}

static void who_is_held_at_its_turn_takes_another_when_it_is_woken(void **state)
{
	struct world *w = *state;

	w->server.qps = w->server.burst = 1;
	assert_int_equal(server_admit(&w->server, w->now), 0);
	reflector_start(w->r);
	assert_waits(w, USEC_PER_SEC, USEC_PER_SEC);
	w->now += USEC_PER_SEC;
	reflector_hold(w->r, refused());
	assert_false(reflector_is_listing(w->r));
	reflector_server_answers(w->r, USEC_PER_MSEC);
	w->now += USEC_PER_MSEC;
	reflector_wake(w->r);
	/* others have had theirs meanwhile */
	assert_waits(w, 999 * USEC_PER_MSEC, 999 * USEC_PER_MSEC);
	wake(w);
	assert_asks(w, LIST_FIRST);
}

static void watch_that_is_lost_begins_anew_when_it_is_told(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	w->now += 2 * USEC_PER_SEC;
	w->lost_delay = 300 * USEC_PER_MSEC;
	done(w, 200, -1, -EIO, "read from https://x: connection lost");
	assert_waits(w, 300 * USEC_PER_MSEC, 300 * USEC_PER_MSEC);
	assert_false(reflector_waits_for_server(w->r));
	assert_told(w, "");
	wake(w);
	assert_asks(w, WATCH_AT("10"));
	/* one that has lasted as long as it was asked to is not lost, nor is one that we have ended */
	reflector_head(w->r, 200);
	w->now += 2700 * USEC_PER_SEC;
	end(w);
	assert_asks(w, WATCH_AT("10"));
	reflector_head(w->r, 200);
	w->now += 2 * USEC_PER_SEC;
	done(w, 200, -1, -ECONNABORTED, "https://x: the credentials have changed");
	assert_asks(w, WATCH_AT("10"));
	assert_int_equal(w->n_lost, 1);
}

/* ---- the limit of requests ---- */

static void spend_all_tokens(struct world *w)
{
	w->server.qps = 1;
	w->server.burst = 1;
	assert_int_equal(server_admit(&w->server, w->now), 0);
}

static void list_waits_for_its_turn(void **state)
{
	struct world *w = *state;

	spend_all_tokens(w);
	reflector_start(w->r);
	assert_waits(w, USEC_PER_SEC, USEC_PER_SEC);
	reflector_server_answers(w->r, USEC_PER_MSEC); /* no reason to push forward */
	assert_waits(w, USEC_PER_SEC, USEC_PER_SEC);
	wake(w);
	assert_asks(w, LIST_FIRST);
	answer(w, 200, LIST("10", OBJECT("5")));
	assert_told(w, "begin;LISTED 5;end;");
}

static void watch_needs_no_turn(void **state)
{
	struct world *w = *state;

	spend_all_tokens(w);
	reflector_start(w->r);
	wake(w);
	answer(w, 200, LIST("10", OBJECT("5")));
	assert_asks(w, WATCH_AT("10"));
	reflector_head(w->r, 200);
	w->now += 2;
	send(w, EVENT("BOOKMARK", OBJECT("11")));
	end(w);
	assert_asks(w, WATCH_AT("11"));
}

static void watch_list_needs_no_turn(void **state)
{
	struct world *w = *state;

	spend_all_tokens(w);
	stream(w);
}

static void each_page_has_its_turn(void **state)
{
	struct world *w = *state;

	spend_all_tokens(w);
	w->now += USEC_PER_SEC;
	reflector_start(w->r);
	answer(w, 200, PAGE("10", "t", OBJECT("3")));
	assert_waits(w, USEC_PER_SEC, USEC_PER_SEC);
	wake(w);
	assert_asks(w, BASE SELECTOR "&limit=500&continue=t");
	answer(w, 200, LIST("10", OBJECT("5")));
	assert_told(w, "begin;LISTED 3;LISTED 5;end;");
}

static void refresh_keeps_its_turn(void **state)
{
	struct world *w = *state;

	spend_all_tokens(w);
	reflector_start(w->r);
	for (unsigned i = 0; i < 100; i++)
		reflector_refresh(w->r);
	assert_waits(w, USEC_PER_SEC, USEC_PER_SEC);
	wake(w);
	assert_asks(w, LIST_LATEST);
	assert_int_equal(server_admit(&w->server, w->now), USEC_PER_SEC);
}

/* ---- a server that goes back in time ---- */

static void sentinel_lists_after_a_lost_watch(void **state)
{
	struct world *w = *state;

	reflector_be_sentinel(w->r);
	watch_from_10(w);
	w->now += 60 * USEC_PER_SEC;
	done(w, 200, -1, -EIO, "connection lost");
	assert_asks(w, LIST_AT("10")); /* out of the cache, not the most recent */
	answer(w, 200, LIST("20", OBJECT("5")));
	assert_asks(w, WATCH_AT("20"));
	reflector_head(w->r, 200);
	w->now += 2700 * USEC_PER_SEC;
	end(w);
	assert_asks(w, WATCH_AT("20")); /* it was time */
	reflector_head(w->r, 200);
	w->now += 60 * USEC_PER_SEC;
	done(w, 200, -1, -ECONNABORTED, "connections are renewed");
	assert_asks(w, WATCH_AT("20")); /* it was us */
	assert_int_equal(w->n_went_back, 0);
}

static void lower_version_of_a_list_is_told_once(void **state)
{
	struct world *w = *state;

	reflector_be_sentinel(w->r);
	watch_from_10(w);
	w->now += 60 * USEC_PER_SEC;
	done(w, 200, -1, -EIO, "connection lost");
	answer_status(w, 504, "Timeout", "Timeout: Too large resource version: 10, current: 3");
	assert_asks(w, LIST_LATEST);
	answer(w, 200, LIST("3", OBJECT("2")));
	assert_int_equal(w->n_went_back, 1);
	assert_int_equal(w->server.epoch, 1);
	assert_asks(w, WATCH_AT("3"));
	reflector_refresh(w->r);
	answer(w, 200, LIST("3", OBJECT("2")));
	reflector_refresh(w->r);
	answer(w, 200, LIST("2", "")); /* and again */
	assert_int_equal(w->n_went_back, 2);
}

static void lower_version_that_was_to_be_expected_is_not_told(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	w->server.epoch++; /* another one has noticed */
	reflector_refresh(w->r);
	answer(w, 200, LIST("3", OBJECT("2")));
	assert_int_equal(w->n_went_back, 0);
	assert_asks(w, WATCH_AT("3"));
	reflector_refresh(w->r);
	answer(w, 200, LIST("1", ""));
	assert_int_equal(w->n_went_back, 1);
}

/* ---- refresh and stop ---- */

static void refresh_asks_for_the_latest_from_any_state(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	reflector_refresh(w->r); /* watching */
	assert_asks(w, LIST_LATEST);
	reflector_refresh(w->r); /* listing */
	assert_asks(w, LIST_LATEST);
	answer_status(w, 500, "Because", "no");
	assert_true(w->delay > 0);
	reflector_refresh(w->r); /* waiting */
	assert_int_equal(w->delay, 0);
	assert_asks(w, LIST_LATEST);
	answer_status(w, 500, "Because", "no");
	assert_told(w, "failed 500: no;failed 500: no;");
	wake(w);
	answer(w, 200, LIST("12", OBJECT("12")));
	assert_told(w, "begin;LISTED 12;end;recovered;");
	assert_asks(w, WATCH_AT("12"));
}

static void stopped_reflector_is_silent(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	reflector_stop(w->r);
	assert_null(w->target);
	reflector_head(w->r, 200);
	reflector_body(w->r, "garbage\n", 8);
	reflector_wake(w->r);
	reflector_refresh(w->r);
	assert_null(w->target);
	assert_told(w, "");
}

static void stop_from_the_handler_of_an_event_ends_it(void **state)
{
	struct world *w = *state;

	watch_from_10(w);
	w->stop_at_object = true;
	send(w, EVENT("MODIFIED", OBJECT("11")) EVENT("MODIFIED", OBJECT("12")));
	assert_told(w, "MODIFIED 11;");
	assert_null(w->target);
}

static void stop_from_the_handler_of_a_list_ends_it(void **state)
{
	struct world *w = *state;

	reflector_start(w->r);
	w->stop_at_object = true;
	answer(w, 200, LIST("10", OBJECT("5")));
	assert_told(w, "begin;LISTED 5;");
	assert_null(w->target);
	assert_int_equal(w->delay, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(list_then_watch_then_events),
		TEST(empty_list_is_complete),
		TEST(events_arrive_whole_however_they_are_cut),
		TEST(pages_are_one_list),
		TEST(pages_without_end_are_refused),
		TEST(expired_page_makes_one_list_of_all),
		TEST(slow_first_list_is_waited_for),
		TEST(list_versions_when_a_page_expires),
		TEST(list_versions_when_they_are_too_large),
		TEST(watch_list_is_synced_only_after_its_bookmark),
		TEST(watch_list_version_is_the_bookmarks),
		TEST(watch_list_is_used_for_a_relist),
		TEST(watch_list_refused_falls_back_at_once),
		TEST(watch_list_without_a_bookmark_falls_back_in_time),
		TEST(watch_list_without_a_bookmark_is_found_out_among_changes),
		TEST(watch_list_troubles_lead_to),
		TEST(watch_list_of_a_server_that_is_away_is_asked_again),
		TEST(what_the_client_gives_up_is_asked_again_and_no_failure),
		TEST(watch_list_that_breaks_is_followed_by_a_list),
		TEST(watch_list_stopped_lets_another_try),
		TEST(watch_410_relists_once),
		TEST(error_event_expired_relists),
		TEST(expired_again_and_again_is_slowed_down),
		TEST(expired_after_a_watch_that_lasted_relists_at_once_again),
		TEST(expired_after_each_event_is_slowed_down),
		TEST(expired_after_each_watch_list_is_slowed_down),
		TEST(expired_list_asks_for_the_latest),
		TEST(too_large_version_asks_for_the_latest),
		TEST(bookmark_moves_the_version_and_tells_nothing),
		TEST(watch_that_lasted_is_followed_by_another),
		TEST(very_short_watch_backs_off_and_relists),
		TEST(short_watches_with_events_do_not_spin_for_ever),
		TEST(torn_watch_backs_off_and_relists),
		TEST(connection_lost_in_the_middle_of_an_event_resumes),
		TEST(garbage_ends_the_watch),
		TEST(endless_event_is_refused),
		TEST(what_was_not_asked_for_is_passed_over),
		TEST(wrong_version_of_a_stranger_is_not_kept),
		TEST(list_with_anything_else_in_it_is_not_believed),
		TEST(watch_list_with_anything_else_in_it_is_not_believed),
		TEST(list_says_whether_it_is_the_latest),
		TEST(refused_connection_keeps_the_version),
		TEST(watch_without_an_answer_is_given_up),
		TEST(watch_that_is_refused_without_an_end_is_given_up),
		TEST(failed_watches_lead_to),
		TEST(failed_list_is_tried_again_and_told_once),
		TEST(bodies_that_are_no_list_are_failures),
		TEST(endless_list_is_refused),
		TEST(endless_failure_is_cut),
		TEST(fresh_objects_403_is_retried_quickly_at_first),
		TEST(first_retry_of_a_fresh_403_comes_within_milliseconds),
		TEST(busy_server_is_never_asked_quickly),
		TEST(retry_after_is_waited_for),
		TEST(error_event_is_a_failure_with_its_message),
		TEST(request_that_cannot_start_is_tried_again),
		TEST(answer_to_somebody_else_ends_the_wait_for_the_server_only),
		TEST(answer_that_makes_no_sense_is_not_asked_for_early),
		TEST(who_came_early_for_nothing_waits),
		TEST(who_is_held_tells_why_and_waits_without_an_end),
		TEST(who_is_held_after_an_answer_keeps_its_retry_after),
		TEST(who_waits_to_go_on_may_be_told_to_list),
		TEST(who_is_held_may_be_woken_or_refreshed),
		TEST(who_is_held_before_its_turn_asks_when_it_is_refreshed),
		TEST(who_is_held_at_its_turn_takes_another_when_it_is_woken),
		TEST(watch_that_is_lost_begins_anew_when_it_is_told),
		TEST(list_waits_for_its_turn),
		TEST(watch_needs_no_turn),
		TEST(watch_list_needs_no_turn),
		TEST(each_page_has_its_turn),
		TEST(refresh_keeps_its_turn),
		TEST(sentinel_lists_after_a_lost_watch),
		TEST(lower_version_of_a_list_is_told_once),
		TEST(lower_version_that_was_to_be_expected_is_not_told),
		TEST(refresh_asks_for_the_latest_from_any_state),
		TEST(stopped_reflector_is_silent),
		TEST(stop_from_the_handler_of_an_event_ends_it),
		TEST(stop_from_the_handler_of_a_list_ends_it),
	};

	json_setup();
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
