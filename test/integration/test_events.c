/* The event sender against the test API server: what arrives there, and what becomes of it when the server will not have
 * it. When something is told is events.c's, and tested there. */
#include "agent/event_sender.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sodium.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/str.h"
#include "test/apiserver/apiserver.h"
#include "test/lib/patience.h"

#define NOT_FOUND "secret \"db\" not found"
#define EVENTS	  "/api/v1/namespaces/ns/events"

struct rig {
	struct apiserver *server;
	struct loop *loop;
	struct http *http;
	struct event_sender *sender;
	const char *trouble; /* of the one volume; NULL: none */
	bool away;
	uint64_t retry_usec;
	unsigned n_asked; /* whether it may send */
	unsigned n_answered;
	int status; /* of the last answer */
};

static bool find(void *userdata, const char *uid, const char *volume, struct event_trouble *ret)
{
	struct rig *t = userdata;

	*ret = (struct event_trouble){ .pod = { .ns = "ns", .name = "web", .uid = "u1", .resource_version = "7" },
				       .volume = "creds",
				       .text = t->trouble,
				       .doubt = EVENT_CERTAIN };
	return t->trouble;
}

static void look(void *userdata, struct events *ev, uint64_t now_usec)
{
	struct event_trouble trouble;

	if (find(userdata, "u1", "creds", &trouble))
		events_look(ev, &trouble, now_usec);
}

static uint64_t admit(void *userdata)
{
	struct rig *t = userdata;

	t->n_asked++;
	return t->away ? USEC_INFINITY : 0;
}

static void answered(void *userdata, int status)
{
	struct rig *t = userdata;

	t->n_answered++;
	t->status = status;
}

static struct http *http_of(void *userdata)
{
	return ((struct rig *)userdata)->http;
}

static void new_sender(struct rig *t)
{
	const struct event_sender_world world = { .node_name = "node-1",
						  .look = look,
						  .find = find,
						  .admit = admit,
						  .http = http_of,
						  .answered = answered,
						  .userdata = t,
						  .retry_usec = t->retry_usec };
	const struct source_events tuning = { .failures = true, .rotations = true, .qps = 100, .burst = 100 };

	event_sender_free(TAKE_PTR(t->sender));
	assert_int_equal(event_sender_new(t->loop, &world, &tuning, &t->sender), 0);
}

static int setup(void **state)
{
	struct rig *t = calloc(1, sizeof(*t));
	struct err e = ERR_INIT;

	assert_true(sodium_init() >= 0);
	assert_int_equal(loop_new(&t->loop), 0);
	if (apiserver_start(&(struct apiserver_options){ .port = 0 }, &t->server, &e) < 0 ||
	    http_new(t->loop, &(struct http_options){ .server = apiserver_url(t->server), .user_agent = "test" },
		     &t->http, &e) < 0)
		fail_msg("%s", err_text(&e));
	t->retry_usec = 100 * USEC_PER_MSEC;
	new_sender(t);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct rig *t = *state;

	event_sender_free(t->sender);
	http_free(t->http);
	loop_free(t->loop);
	apiserver_stop(t->server);
	free(t);
	return 0;
}

static struct event_sender_stats stats(const struct rig *t)
{
	struct event_sender_stats st;

	event_sender_stats(t->sender, &st);
	return st;
}

static void rotate(struct rig *t, const char *message)
{
	event_sender_notice(t->sender, EVENT_SECRET_ROTATED,
			    &(struct event_pod){ .ns = "ns", .name = "web", .uid = "u1", .resource_version = "7" },
			    message);
}

/* The one event with this message at the server, the caller's; NULL: there is none. */
static json_t *at_server(struct rig *t, const char *message)
{
	cleanup_json json_t *all = apiserver_list(t->server, "Event");
	json_t *event, *found = NULL;
	size_t i;

	json_array_foreach (all, i, event) {
		if (!str_eq(json_string_value(json_object_get(event, "message")), message))
			continue;
		assert_null(found);
		found = json_incref(event);
	}
	return found;
}

static size_t n_at_server(struct rig *t)
{
	cleanup_json json_t *all = apiserver_list(t->server, "Event");

	return json_array_size(all);
}

/* Requests so far that begin so. */
static unsigned n_requests(struct rig *t, const char *prefix)
{
	unsigned n = 0;

	for (size_t i = 0;; i++) {
		cleanup_free char *request = apiserver_request(t->server, i);

		if (!request)
			return n;
		n += str_starts(request, prefix);
	}
}

static int64_t count_of(struct rig *t, const char *message)
{
	cleanup_json json_t *event = at_server(t, message);

	return event ? json_integer_value(json_object_get(event, "count")) : 0;
}

static void event_is_as_the_kubelet_makes_it(void **state)
{
	static const char message[] = "MountVolume.SetUp failed for volume \"creds\" : " NOT_FOUND;
	cleanup_json json_t *event = NULL, *want = NULL;
	struct rig *t = *state;
	const char *name, *first;
	struct tm tm;

	t->trouble = NOT_FOUND;
	event_sender_open(t->sender);
	eventually(t, stats(t).n_sent == 1);
	event = at_server(t, message);
	assert_non_null(event);
	name = json_string_value(json_object_get(json_object_get(event, "metadata"), "name"));
	assert_true(str_starts(name, "web."));
	assert_true(str_is_dns_subdomain(name));
	first = json_string_value(json_object_get(event, "firstTimestamp"));
	assert_non_null(strptime(first, "%Y-%m-%dT%H:%M:%SZ", &tm));
	want = json_pack("{s:{s:s, s:s, s:s, s:s, s:s, s:s}, s:s, s:s, s:s, s:{s:s, s:s}, s:i, s:s, s:s, s:s, s:s}",
			 "involvedObject", "kind", "Pod", "apiVersion", "v1", "namespace", "ns", "name", "web", "uid",
			 "u1", "resourceVersion", "7", "type", "Warning", "reason", "FailedMount", "message", message,
			 "source", "component", "secretlet", "host", "node-1", "count", 1, "firstTimestamp", first,
			 "lastTimestamp", first, "reportingComponent", "secretlet", "reportingInstance", "node-1");
	json_object_del(event, "metadata");
	assert_true(json_equal(event, want));
}

/* Of each answer, whatever it is: what it says of the server is for others to know. */
static void answers_are_told_as_they_begin(void **state)
{
	struct rig *t = *state;

	apiserver_fail(t->server, EVENTS, 503, NULL, -1, 1);
	event_sender_open(t->sender);
	rotate(t, "one");
	eventually(t, t->n_answered == 1);
	assert_int_equal(t->status, 503);
	eventually(t, stats(t).n_sent == 1);
	assert_int_equal(t->n_answered, 2);
	assert_int_equal(t->status, 201);
}

static void nothing_is_sent_before_the_pods_are_known(void **state)
{
	struct rig *t = *state;

	t->trouble = NOT_FOUND;
	rotate(t, "rotated");
	event_sender_look(t->sender);
	run_for(t->loop, 1500 * USEC_PER_MSEC);
	assert_int_equal(apiserver_counts(t->server).n_requests, 0);
	event_sender_open(t->sender);
	eventually(t, n_at_server(t) == 2);
}

/* 1 s until it is told, and 5 s until the next time. */
static void trouble_that_stays_is_one_event_with_a_higher_count(void **state)
{
	static const char message[] = "MountVolume.SetUp failed for volume \"creds\" : " NOT_FOUND;
	struct rig *t = *state;

	t->trouble = NOT_FOUND;
	event_sender_open(t->sender);
	eventually(t, count_of(t, message) == 2);
	assert_int_equal(n_at_server(t), 1);
	assert_int_equal(n_requests(t, "POST " EVENTS), 1);
	assert_int_equal(n_requests(t, "PATCH " EVENTS), 1);
}

static void next_agent_counts_the_same_event_on(void **state)
{
	struct rig *t = *state;

	event_sender_open(t->sender);
	rotate(t, "rotated");
	rotate(t, "rotated");
	eventually(t, stats(t).n_sent == 2);
	assert_int_equal(count_of(t, "rotated"), 2);
	new_sender(t);
	event_sender_open(t->sender);
	rotate(t, "rotated");
	eventually(t, stats(t).n_sent == 1);
	assert_int_equal(count_of(t, "rotated"), 2); /* learnt */
	rotate(t, "rotated");
	eventually(t, stats(t).n_sent == 2);
	assert_int_equal(count_of(t, "rotated"), 3);
	assert_int_equal(n_at_server(t), 1);
	assert_int_equal(stats(t).n_failed, 0);
}

static void event_that_is_gone_is_made_anew(void **state)
{
	struct rig *t = *state;
	cleanup_json json_t *event = NULL;

	event_sender_open(t->sender);
	rotate(t, "rotated");
	eventually(t, stats(t).n_sent == 1);
	event = at_server(t, "rotated");
	assert_true(apiserver_delete(t->server, "Event", "ns",
				     json_string_value(json_object_get(json_object_get(event, "metadata"), "name"))));
	rotate(t, "rotated");
	eventually(t, stats(t).n_sent == 2);
	assert_int_equal(count_of(t, "rotated"), 2);
}

static void combined_event_has_the_newest_message(void **state)
{
	struct rig *t = *state;
	char message[64];

	event_sender_open(t->sender);
	for (unsigned i = 1; i <= 12; i++) {
		snprintf(message, sizeof(message), "revision %u", i);
		rotate(t, message);
	}
	eventually(t, stats(t).n_sent == 12);
	assert_int_equal(n_at_server(t), 10);
	assert_int_equal(count_of(t, "(combined from similar events): revision 12"), 3);
}

static void forbidden_ones_are_dropped_and_the_server_left_alone(void **state)
{
	struct rig *t = *state;

	t->retry_usec = 2 * USEC_PER_SEC;
	new_sender(t);
	apiserver_fail(t->server, "/events", 403, NULL, -1, -1);
	event_sender_open(t->sender);
	rotate(t, "first");
	rotate(t, "second");
	eventually(t, stats(t).n_failed == 1);
	run_for(t->loop, USEC_PER_SEC);
	assert_int_equal(n_requests(t, "POST " EVENTS), 1);
	assert_int_equal(stats(t).events.n_queued, 1);
	assert_string_equal(stats(t).error, "told to fail with 403");
	apiserver_fail(t->server, "/events", 0, NULL, -1, 0);
	eventually(t, count_of(t, "second") == 1);
	eventually(t, !*stats(t).error);
	assert_int_equal(count_of(t, "first"), 0);
}

/* Answers that nothing will come of: the next one is sent at once. */
static void refused_ones_are_dropped(void **state)
{
	static const struct {
		int status;
		const char *body;
	} answers[] = {
		{ 400, "nonsense" },
		{ 404, NULL },
		{ 422, "{\"kind\":\"Status\",\"message\":\"is invalid\",\"reason\":\"Invalid\",\"code\":422}" },
		{ 403, "{\"kind\":\"Status\",\"message\":\"because it is being terminated\",\"reason\":\"Forbidden\","
		       "\"details\":{\"causes\":[{\"reason\":\"NamespaceTerminating\"}]},\"code\":403}" },
	};
	struct rig *t = *state;
	char message[64];

	t->retry_usec = 3600 * USEC_PER_SEC;
	new_sender(t);
	event_sender_open(t->sender);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		apiserver_fail(t->server, "/events", answers[i].status, answers[i].body, -1, 1);
		snprintf(message, sizeof(message), "dropped %zu", i);
		rotate(t, message);
		eventually(t, stats(t).n_failed == i + 1);
		assert_int_equal(count_of(t, message), 0);
		snprintf(message, sizeof(message), "after %zu", i);
		rotate(t, message);
		eventually(t, count_of(t, message) == 1);
	}
}

static void what_may_pass_is_tried_again_and_holds_the_others(void **state)
{
	static const int statuses[] = { 429, 401, 500, 503, 0 };
	struct rig *t = *state;
	char message[64];

	event_sender_open(t->sender);
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		apiserver_fail(t->server, "/events", statuses[i], NULL, -1, 3);
		snprintf(message, sizeof(message), "after %d", statuses[i]);
		rotate(t, message);
		rotate(t, "behind it");
		eventually(t, count_of(t, message) == 1);
		eventually(t, count_of(t, "behind it") == (int64_t)i + 1);
		assert_int_equal(stats(t).n_failed, 0);
	}
}

static void retry_after_is_waited_for(void **state)
{
	struct rig *t = *state;
	uint64_t begun;

	event_sender_open(t->sender);
	apiserver_fail(t->server, "/events", 429, NULL, 1, 1);
	rotate(t, "rotated");
	begun = clock_monotonic_usec();
	eventually(t, count_of(t, "rotated") == 1);
	assert_true(clock_monotonic_usec() - begun >= USEC_PER_SEC);
}

static void twelve_tries_are_enough(void **state)
{
	struct rig *t = *state;

	t->retry_usec = 10 * USEC_PER_MSEC;
	new_sender(t);
	apiserver_fail(t->server, "/events", 503, NULL, -1, -1);
	event_sender_open(t->sender);
	rotate(t, "first");
	eventually(t, stats(t).n_failed == 1);
	assert_int_equal(n_requests(t, "POST " EVENTS), 12);
	apiserver_fail(t->server, "/events", 0, NULL, -1, 0);
	rotate(t, "second");
	eventually(t, count_of(t, "second") == 1);
	assert_int_equal(count_of(t, "first"), 0);
}

static void server_that_is_away_is_asked_nothing(void **state)
{
	struct rig *t = *state;

	t->away = true;
	event_sender_open(t->sender);
	rotate(t, "rotated");
	eventually(t, t->n_asked > 0);
	run_for(t->loop, USEC_PER_SEC);
	assert_int_equal(apiserver_counts(t->server).n_requests, 0);
	assert_true(t->n_asked <= 2);
	t->away = false;
	eventually(t, count_of(t, "rotated") == 1);
}

static void what_is_over_meanwhile_is_not_sent(void **state)
{
	struct rig *t = *state;

	t->away = true;
	t->trouble = NOT_FOUND;
	event_sender_open(t->sender);
	eventually(t, t->n_asked > 0);
	t->trouble = NULL;
	t->away = false;
	rotate(t, "rotated");
	eventually(t, count_of(t, "rotated") == 1);
	assert_int_equal(n_at_server(t), 1);
}

/* It takes connections and bytes, and that is all. */
static int start_silent_server(char url[static 64])
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(sin);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	snprintf(url, 64, "http://127.0.0.1:%u", ntohs(sin.sin_port));
	return fd;
}

static void there_is_one_request_at_a_time(void **state)
{
	struct rig *t = *state;
	cleanup_fd int fd = -1, connection = -1, another = -1;
	struct err e = ERR_INIT;
	char url[64];

	fd = start_silent_server(url);
	http_free(TAKE_PTR(t->http));
	assert_int_equal(http_new(t->loop, &(struct http_options){ .server = url, .user_agent = "test" }, &t->http, &e),
			 0);
	event_sender_open(t->sender);
	rotate(t, "first");
	eventually(t, t->n_asked > 0);
	t->trouble = NOT_FOUND;
	rotate(t, "second");
	event_sender_look(t->sender);
	run_for(t->loop, 3 * USEC_PER_SEC);
	connection = accept(fd, NULL, NULL);
	assert_true(connection >= 0);
	another = accept(fd, NULL, NULL);
	assert_int_equal(another, -1);
	assert_int_equal(t->n_asked, 1);
	event_sender_free(TAKE_PTR(t->sender));
}

static void what_a_sleep_ends_is_no_try(void **state)
{
	struct rig *t = *state;
	cleanup_fd int fd = -1;
	struct err e = ERR_INIT;
	char url[64];

	fd = start_silent_server(url);
	http_free(TAKE_PTR(t->http));
	assert_int_equal(http_new(t->loop, &(struct http_options){ .server = url, .user_agent = "test" }, &t->http, &e),
			 0);
	event_sender_open(t->sender);
	rotate(t, "rotated");
	for (unsigned i = 0; i < 20; i++) {
		eventually(t, http_stats(t->http).n_requests == i + 1);
		http_reopen(t->http);
		assert_string_equal(stats(t).error, "");
	}
	assert_int_equal(stats(t).n_failed, 0);
	assert_int_equal(stats(t).events.n_queued, 1);
	event_sender_free(TAKE_PTR(t->sender));
}

static void requests_keep_to_their_limit(void **state)
{
	struct rig *t = *state;
	uint64_t begun;

	event_sender_tune(t->sender, &(struct source_events){ .rotations = true, .qps = 4, .burst = 2 });
	begun = clock_monotonic_usec();
	event_sender_open(t->sender);
	for (char message[] = "a"; *message <= 'f'; ++*message)
		rotate(t, message);
	eventually(t, stats(t).n_sent == 6);
	assert_true(clock_monotonic_usec() - begun >= USEC_PER_SEC);
}

/* One is refused, for it is there; the other adopts it. */
static void both_requests_of_one_event_are_limited(void **state)
{
	struct rig *t = *state;
	uint64_t begun;

	event_sender_open(t->sender);
	rotate(t, "rotated");
	eventually(t, stats(t).n_sent == 1);
	new_sender(t);
	event_sender_tune(t->sender, &(struct source_events){ .rotations = true, .qps = 1, .burst = 1 });
	begun = clock_monotonic_usec();
	event_sender_open(t->sender);
	rotate(t, "rotated");
	eventually(t, stats(t).n_sent == 1);
	assert_true(clock_monotonic_usec() - begun >= USEC_PER_SEC);
}

static void sender_may_end_in_the_middle(void **state)
{
	struct rig *t = *state;

	event_sender_open(t->sender);
	for (char message[] = "a"; *message <= 'f'; ++*message)
		rotate(t, message);
	eventually(t, stats(t).n_sent > 0);
	event_sender_free(TAKE_PTR(t->sender));
	run_for(t->loop, 100 * USEC_PER_MSEC);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(event_is_as_the_kubelet_makes_it),
		TEST(answers_are_told_as_they_begin),
		TEST(nothing_is_sent_before_the_pods_are_known),
		TEST(trouble_that_stays_is_one_event_with_a_higher_count),
		TEST(next_agent_counts_the_same_event_on),
		TEST(event_that_is_gone_is_made_anew),
		TEST(combined_event_has_the_newest_message),
		TEST(forbidden_ones_are_dropped_and_the_server_left_alone),
		TEST(refused_ones_are_dropped),
		TEST(what_may_pass_is_tried_again_and_holds_the_others),
		TEST(retry_after_is_waited_for),
		TEST(twelve_tries_are_enough),
		TEST(server_that_is_away_is_asked_nothing),
		TEST(what_is_over_meanwhile_is_not_sent),
		TEST(there_is_one_request_at_a_time),
		TEST(what_a_sleep_ends_is_no_try),
		TEST(requests_keep_to_their_limit),
		TEST(both_requests_of_one_event_are_limited),
		TEST(sender_may_end_in_the_middle),
	};

	json_setup();
	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
