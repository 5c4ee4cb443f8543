/* A server that is away, and what the API server source asks of it meanwhile and after, against the test API server: the node as a
 * whole, however many Secrets it follows. */
#include "agent/source_api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "agent/event_sender.h"
#include "common/clock.h"
#include "common/str.h"
#include "test/lib/following.h"
#include "test/lib/patience.h"

#define FIRST_INTERVAL_USEC (800 * USEC_PER_MSEC) /* the shortest (outage.c) */
enum { N = 40, N_MAX = 256 };

struct rig {
	char kubeconfig[FOLLOWING_PATH_MAX];
	struct apiserver *server;
	struct loop *loop;
	struct files *files;
	struct source *source;
	size_t n; /* Secrets that are followed: s0, s1, ... */
	char failure[N_MAX][ERR_TEXT_MAX]; /* "" after good news */
	bool is_there[N_MAX];
	unsigned n_changed, n_fresh; /* that were told, of all Secrets */
	unsigned n_tokens, n_token_failures;
	unsigned n_pods;
	uint32_t qps; /* kubeAPIQPS; 0: no limit */
	size_t n_before; /* requests before what is looked at */
};

/* ---- the sink ---- */

static size_t number_of(const char *name)
{
	uint64_t i = N_MAX;

	assert_int_equal(str_parse_u64(name + 1, N_MAX - 1, &i), 0);
	return (size_t)i;
}

static void on_changed(void *userdata, enum object_kind kind, const char *ns, const char *name, struct secret *secret)
{
	struct rig *t = userdata;
	size_t i;

	if (kind == OBJECT_TOKEN) {
		t->n_tokens++;
		return;
	}
	i = number_of(name);
	t->n_changed++;
	t->is_there[i] = secret;
	t->failure[i][0] = '\0';
}

static void on_failed(void *userdata, enum object_kind kind, const char *ns, const char *name, const struct err *e)
{
	struct rig *t = userdata;

	if (kind == OBJECT_TOKEN)
		t->n_token_failures++;
	else
		snprintf(t->failure[number_of(name)], ERR_TEXT_MAX, "%s", err_text(e));
}

static void on_fresh(void *userdata, enum object_kind kind, const char *ns, const char *name, uint64_t need)
{
	((struct rig *)userdata)->n_fresh++;
}

static void on_pod(void *userdata, struct pod *pod)
{
	((struct rig *)userdata)->n_pods++;
}

static void ignore(void *userdata)
{
}

static const struct source_sink SINK = { .pod_changed = on_pod,
					 .pod_removed = following_ignores_uid,
					 .pods_synced = ignore,
					 .object_changed = on_changed,
					 .object_failed = on_failed,
					 .object_fresh = on_fresh };

/* ---- the rig ---- */

static struct source_health health(const struct rig *t)
{
	return following_health(t->source);
}

static size_t n_requests(const struct rig *t)
{
	return apiserver_counts(t->server).n_requests;
}

/* Since start_over(). */
static size_t n_asked(const struct rig *t)
{
	return n_requests(t) - t->n_before;
}

static size_t n_told_of_failure(const struct rig *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		n += *t->failure[i] != '\0';
	return n;
}

/* The place of the first request with this in its target since start_over(); SIZE_MAX: there is none. */
static size_t place_of(const struct rig *t, const char *what)
{
	char *line;
	bool is_it;

	for (size_t i = t->n_before; (line = apiserver_request(t->server, i)); i++) {
		is_it = strstr(line, what);
		free(line);
		if (is_it)
			return i - t->n_before;
	}
	return SIZE_MAX;
}

static size_t n_asked_for(const struct rig *t, const char *what)
{
	size_t n = 0;
	char *line;

	for (size_t i = t->n_before; (line = apiserver_request(t->server, i)); i++) {
		n += strstr(line, what) != NULL;
		free(line);
	}
	return n;
}

static void want(struct rig *t, size_t i)
{
	char name[16];

	snprintf(name, sizeof(name), "s%zu", i);
	following_put_secret(t->server, name, "v", false);
	assert_int_equal(source_want(t->source, OBJECT_SECRET, "ns", name), 0);
}

static bool all_watch(struct rig *t)
{
	return health(t).n_watches == t->n + 1;
}

static void start_source(struct rig *t, enum source_strategy strategy)
{
	const struct source_api_options options = {
		.kubeconfig = t->kubeconfig,
		.node_name = "node-1",
		.kube_api_qps = t->qps,
		.kube_api_burst = 1,
		.tuning = { .strategy = strategy, .cache_ttl_usec = 300 * USEC_PER_MSEC },
	};

	t->source = following_start(t->loop, t->files, &options, &SINK, t);
}

static void start_with(struct rig *t, enum source_strategy strategy)
{
	start_source(t, strategy);
	for (t->n = 0; t->n < N; t->n++)
		want(t, t->n);
}

static int bare_setup(void **state)
{
	struct rig *t = calloc(1, sizeof(*t));

	following_setup("test_away", t->kubeconfig, &t->loop, &t->files, &t->server);
	*state = t;
	return 0;
}

/* All are watched, for longer than a watch may be called very short. */
static int setup(void **state)
{
	struct rig *t;

	bare_setup(state);
	t = *state;
	start_with(t, SOURCE_WATCH);
	eventually(t, all_watch(t));
	run_for(t->loop, 1100 * USEC_PER_MSEC);
	return 0;
}

static int teardown(void **state)
{
	struct rig *t = *state;

	following_teardown(t->source, t->server, t->files, t->loop, t->kubeconfig);
	free(t);
	return 0;
}

static void start_over(struct rig *t)
{
	t->n_before = n_requests(t);
}

/* How it is away: nobody answers (status 0: connections are cut), or somebody in front of it does. */
static void go_away(struct rig *t, int status, int retry_after)
{
	apiserver_fail(t->server, "", status, NULL, retry_after, -1);
	start_over(t);
	assert_true(apiserver_end_watches(t->server, false) > 0);
}

static void come_back(struct rig *t)
{
	start_over(t);
	apiserver_fail(t->server, "", 0, NULL, -1, 0);
}

/* ---- away ---- */

/* libcurl repeats a request that a connection of before has swallowed, up to five times: so silence has a higher bound. */
static size_t n_asked_at_most(int status, uint64_t since_usec)
{
	return (4 + (clock_monotonic_usec() - since_usec) / FIRST_INTERVAL_USEC) * (status == 0 ? 6 : 1);
}

static void one_asks_for_all(struct rig *t, int status)
{
	uint64_t since;
	size_t at_first;

	go_away(t, status, -1);
	eventually(t, n_told_of_failure(t) == N && *health(t).last_error);
	at_first = n_asked(t);
	assert_true(at_first < N);
	since = clock_monotonic_usec();
	eventually(t, n_asked(t) > at_first);
	/* alone, each would ask twice in this time */
	run_for(t->loop, 3 * USEC_PER_SEC);
	assert_true(n_asked(t) - at_first <= n_asked_at_most(status, since));
	come_back(t);
	eventually(t, all_watch(t));
	assert_int_equal(n_told_of_failure(t), 0);
	assert_string_equal(health(t).last_error, "");
	/* each is begun once; only the pods are listed, for the server may have been restored meanwhile */
	run_for(t->loop, 300 * USEC_PER_MSEC);
	assert_true(n_asked(t) <= N + 4);
}

static void while_nobody_answers_one_asks_for_all(void **state)
{
	struct rig *t = *state;

	one_asks_for_all(t, 0);
	assert_int_equal(health(t).n_reconnects, 1);
}

static void while_a_proxy_answers_503_one_asks_for_all(void **state)
{
	one_asks_for_all(*state, 503);
}

static void connections_that_are_refused_are_one_at_a_time(void **state)
{
	struct rig *t = *state;

	apiserver_pause(t->server);
	eventually(t, n_told_of_failure(t) == N && *health(t).last_error);
	start_over(t);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, all_watch(t));
	assert_int_equal(n_told_of_failure(t), 0);
	assert_true(n_asked(t) <= N + 4);
}

static void what_is_polled_asks_no_more_while_the_server_is_away(void **state)
{
	struct rig *t = *state;
	uint64_t since;
	size_t at_first;

	start_with(t, SOURCE_CACHE);
	eventually(t, health(t).n_secrets_synced == N && health(t).connected);
	run_for(t->loop, 1100 * USEC_PER_MSEC);
	/* 503 and not silence: libcurl repeats a request that a connection of before has swallowed */
	go_away(t, 503, -1);
	eventually(t, n_told_of_failure(t) == N && *health(t).last_error);
	at_first = n_asked(t);
	since = clock_monotonic_usec();
	run_for(t->loop, 2 * USEC_PER_SEC); /* several times the TTL */
	assert_true(n_asked(t) - at_first <= n_asked_at_most(503, since));
	come_back(t);
	eventually(t, health(t).connected && n_told_of_failure(t) == 0);
}

/* A new pod's tokens: each is asked for once, so that its pod hears why there is none. */
static void tokens_wait_for_the_server_as_all_else(void **state)
{
	static const char *const NAMES[] = { "default/p/u-1/3600/", "default/p/u-2/3600/", "default/p/u-3/3600/" };
	struct rig *t = *state;

	go_away(t, 503, -1);
	eventually(t, n_told_of_failure(t) == N && *health(t).last_error);
	following_give_tokens(t->server, FOLLOWING_NEVER);
	start_over(t);
	for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++)
		assert_int_equal(source_want(t->source, OBJECT_TOKEN, "ns", NAMES[i]), 0);
	eventually(t, t->n_token_failures == ARRAY_SIZE(NAMES));
	run_for(t->loop, 3 * USEC_PER_SEC);
	assert_int_equal(n_asked_for(t, FOLLOWING_TOKEN_PATH), ARRAY_SIZE(NAMES));
	/* by hand: at once */
	assert_int_equal(source_refresh(t->source, OBJECT_TOKEN, "ns", NAMES[1]), 0);
	eventually(t, t->n_token_failures == ARRAY_SIZE(NAMES) + 1);
	come_back(t);
	eventually(t, t->n_tokens == ARRAY_SIZE(NAMES) && all_watch(t));
	assert_int_equal(n_asked_for(t, FOLLOWING_TOKEN_PATH), ARRAY_SIZE(NAMES));
}

static void retry_after_holds_for_the_whole_node(void **state)
{
	struct rig *t = *state;
	size_t at_first;

	go_away(t, 503, 15);
	eventually(t, n_told_of_failure(t) == N && *health(t).last_error);
	at_first = n_asked(t);
	run_for(t->loop, 1500 * USEC_PER_MSEC);
	assert_int_equal(n_asked(t), at_first);
	come_back(t);
	eventually(t, all_watch(t));
}

static void when_it_is_asked_next_is_known(void **state)
{
	uint64_t since = clock_realtime_usec(), next;
	struct rig *t = *state;

	assert_int_equal(health(t).next_try_usec, 0);
	go_away(t, 503, -1);
	eventually(t, health(t).next_try_usec > 0);
	/* each time that the moment comes it is asked, and there is another one */
	for (int i = 0; i < 3; i++) {
		eventually(t, (next = health(t).next_try_usec) > clock_realtime_usec());
		start_over(t);
		eventually(t, clock_realtime_usec() >= next);
		eventually(t, n_asked(t) > 0);
	}
	/* what the server asks for counts */
	come_back(t);
	apiserver_fail(t->server, "", 503, NULL, 100, -1);
	eventually(t, health(t).next_try_usec >= since + 100 * USEC_PER_SEC);
	come_back(t);
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s3"), 0);
	eventually(t, health(t).next_try_usec == 0);
}

/* The others are told that it is away, and so is a token that is to be refreshed: it ends meanwhile. */
static void token_that_is_due_while_the_server_is_away_is_told(void **state)
{
	struct rig *t = *state;

	/* by our clock it is over as soon as it has come, and is asked for again in 5 seconds */
	apiserver_fail(t->server, "/serviceaccounts/default/token", 201,
		       "{\"kind\":\"TokenRequest\",\"spec\":{\"expirationSeconds\":1},\"status\":{\"token\":\"x\","
		       "\"expirationTimestamp\":\"2020-01-01T00:00:00Z\"}}",
		       -1, -1);
	assert_int_equal(source_want(t->source, OBJECT_TOKEN, "ns", "default/p/u-1/3600/"), 0);
	eventually(t, t->n_tokens == 1);
	go_away(t, 503, -1);
	eventually(t, t->n_token_failures == 1);
	run_for(t->loop, USEC_PER_SEC);
	assert_int_equal(t->n_token_failures, 1);
	assert_int_equal(t->n_tokens, 1);
	come_back(t);
	eventually(t, t->n_tokens > 1);
}

/* All of it is spent by those that have not asked yet: whose turn comes first asks for the node. */
static void limit_of_requests_keeps_nobody_from_asking(void **state)
{
	struct rig *t = *state;

	/* that there is no WatchList is known when the pods are */
	t->qps = 4;
	start_source(t, SOURCE_WATCH);
	eventually(t, health(t).connected);
	run_for(t->loop, 1100 * USEC_PER_MSEC);
	go_away(t, 503, -1);
	eventually(t, *health(t).last_error);
	for (; t->n < N; t->n++)
		want(t, t->n);
	/* the pods', the first Secret's, and one that asks whether it is back */
	eventually(t, n_asked(t) >= 3);
	assert_true(n_told_of_failure(t) < N / 2);
	/* and all have another turn when it is back */
	come_back(t);
	eventually(t, all_watch(t));
}

/* ---- a server without its memory ---- */

static void put_pod(struct rig *t)
{
	following_put_pod(t->server, "a");
	eventually(t, t->n_pods > 0);
}

static void lose_all(struct rig *t)
{
	char name[24];

	apiserver_pause(t->server);
	eventually(t, !health(t).connected);
	apiserver_delete(t->server, "Pod", "ns", "a");
	for (size_t i = 0; i < t->n; i++) {
		snprintf(name, sizeof(name), "s%zu", i);
		apiserver_delete(t->server, "Secret", "ns", name);
	}
	apiserver_compact(t->server);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
}

static size_t n_not_believed(const struct rig *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		n += strstr(t->failure[i], "which is not believed") != NULL;
	return n;
}

/* What it says of the Secrets is no good news, and nobody begins with what it says is not there. */
static void absence_that_is_not_believed_is_no_recovery(void **state)
{
	struct rig *t = *state;
	unsigned n_changed;

	start_with(t, SOURCE_CACHE);
	eventually(t, health(t).n_secrets_synced == N && health(t).connected);
	put_pod(t);
	/* the pods are asked about first */
	apiserver_fail(t->server, "/secrets/", 503, NULL, -1, -1);
	lose_all(t);
	eventually(t, strstr(health(t).last_error, "the one pod of the node has vanished"));
	eventually(t, n_told_of_failure(t) == N);
	n_changed = t->n_changed;
	assert_int_equal(source_need(t->source, OBJECT_SECRET, "ns", "s3"), SOURCE_ASKED);
	apiserver_fail(t->server, "/secrets/", 0, NULL, -1, 0);
	eventually(t, n_not_believed(t) == N);
	run_for(t->loop, 500 * USEC_PER_MSEC); /* more than the TTL */
	assert_int_equal(n_not_believed(t), N);
	assert_int_equal(t->n_changed, n_changed);
	assert_int_equal(t->n_fresh, 0);
	/* one that is there again is well, whatever becomes of the others */
	following_put_secret(t->server, "s3", "v", false);
	eventually(t, t->n_fresh == 1 && !*t->failure[3]);
	assert_int_equal(n_not_believed(t), N - 1);
}

/* An etcd that came back empty answers so, and so does a restored one. */
static void absence_waits_for_the_list_of_pods_after_an_outage(void **state)
{
	struct rig *t = *state;

	put_pod(t);
	apiserver_fail(t->server, "/pods?", 500, NULL, -1, -1);
	apiserver_pause(t->server);
	eventually(t, n_told_of_failure(t) == N && *health(t).last_error);
	apiserver_delete(t->server, "Secret", "ns", "s3");
	apiserver_compact(t->server);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s3"), 0);
	eventually(t, strstr(t->failure[3], "which is not believed"));
	eventually(t, n_told_of_failure(t) == 1);
	assert_true(t->is_there[3]);
	/* the pod is there: so it is just this Secret that is not */
	apiserver_fail(t->server, "/pods?", 0, NULL, -1, 0);
	eventually(t, !t->is_there[3]);
	assert_string_equal(t->failure[3], "");
}

/* Their watch was not lost but renewed, and the new one did not begin: it would go on, and nobody would have them listed. */
static void pods_are_listed_after_an_outage_in_any_case(void **state)
{
	struct rig *t = *state;

	put_pod(t);
	apiserver_fail(t->server, "", 503, NULL, 2, -1);
	assert_int_equal(http_set_tls(source_api_http(t->source), &(struct http_tls){ .ca = NULL }), 0);
	eventually(t, n_told_of_failure(t) == N && *health(t).last_error);
	come_back(t);
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s3"), 0);
	eventually(t, all_watch(t));
	assert_int_equal(place_of(t, "/pods?fieldSelector="), place_of(t, "/pods?"));
	apiserver_delete(t->server, "Secret", "ns", "s3");
	eventually(t, !t->is_there[3]);
	assert_string_equal(t->failure[3], "");
}

/* Who asks for a pod in doubt waits for nobody, and hears first that the server is back. */
static void answer_about_a_pod_in_doubt_brings_all_back(void **state)
{
	struct rig *t = *state;

	put_pod(t);
	apiserver_fail(t->server, "/pods/a", 500, NULL, -1, -1);
	apiserver_pause(t->server);
	eventually(t, !health(t).connected);
	apiserver_delete(t->server, "Pod", "ns", "a");
	apiserver_compact(t->server);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, all_watch(t) && strstr(health(t).last_error, "is not certain"));
	run_for(t->loop, 1100 * USEC_PER_MSEC);
	/* by itself nobody asks any more */
	go_away(t, 503, 600);
	eventually(t, n_told_of_failure(t) == N);
	apiserver_fail(t->server, "/pods/a", 403, NULL, -1, -1);
	come_back(t);
	/* who was answered 503 keeps to what it said */
	eventually(t, health(t).n_watches > N / 2);
}

/* ---- answers that end no outage ---- */

/* Of its own accord it would come half a minute later. */
static void who_was_answered_503_comes_back_with_all_others(void **state)
{
	struct rig *t = *state;
	uint64_t since;

	go_away(t, 503, -1);
	eventually(t, n_told_of_failure(t) == N);
	for (int i = 0; i < 8; i++) {
		start_over(t);
		assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s7"), 0);
		eventually(t, n_asked_for(t, "metadata.name%3Ds7&") > 0);
		run_for(t->loop, 50 * USEC_PER_MSEC);
	}
	come_back(t);
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s30"), 0);
	since = clock_monotonic_usec();
	eventually(t, all_watch(t));
	assert_true(clock_monotonic_usec() - since < 20 * USEC_PER_SEC);
}

/* Of one that was sent away with a time of its own. */
static void retry_after_is_kept_when_the_server_is_back(void **state)
{
	struct rig *t = *state;

	apiserver_fail(t->server, "metadata.name%3Ds7&", 429, NULL, 600, -1);
	go_away(t, 503, -1);
	eventually(t, n_told_of_failure(t) == N);
	start_over(t);
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s7"), 0);
	eventually(t, n_asked_for(t, "metadata.name%3Ds7&") > 0);
	run_for(t->loop, 50 * USEC_PER_MSEC);
	apiserver_fail(t->server, "metadata.name%3Ds7&", 0, NULL, -1, 0);
	come_back(t);
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s30"), 0);
	eventually(t, health(t).n_watches == N);
	run_for(t->loop, 300 * USEC_PER_MSEC);
	assert_int_equal(n_asked_for(t, "metadata.name%3Ds7&"), 0);
	/* by hand it is asked at once */
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s7"), 0);
	eventually(t, all_watch(t));
}

static void look_for_no_trouble(void *userdata, struct events *ev, uint64_t now)
{
}

static bool find_no_trouble(void *userdata, const char *uid, const char *volume, struct event_trouble *ret)
{
	return false;
}

static uint64_t admit_event(void *userdata)
{
	return source_api_admit(((struct rig *)userdata)->source);
}

static struct http *event_http(void *userdata)
{
	return source_api_http(((struct rig *)userdata)->source);
}

static void event_answered(void *userdata, int status)
{
	source_api_answered(((struct rig *)userdata)->source, status);
}

/* As the agent's are sent. */
static struct event_sender *send_event(struct rig *t)
{
	const struct event_sender_world world = { .node_name = "node-1",
						  .look = look_for_no_trouble,
						  .find = find_no_trouble,
						  .admit = admit_event,
						  .http = event_http,
						  .answered = event_answered,
						  .userdata = t };
	const struct source_events tuning = { .rotations = true, .qps = 100, .burst = 100 };
	struct event_sender *sender;

	assert_int_equal(event_sender_new(t->loop, &world, &tuning, &sender), 0);
	event_sender_open(sender);
	event_sender_notice(sender, EVENT_SECRET_ROTATED,
			    &(struct event_pod){ .ns = "ns", .name = "a", .uid = "u-a", .resource_version = "7" },
			    "rotated");
	return sender;
}

/* As with a proxy that knows only some paths again. */
static void event_that_is_taken_brings_all_back(void **state)
{
	struct rig *t = *state;
	cleanup(event_sender_freep) struct event_sender *sender = NULL;
	uint64_t contact_usec;

	go_away(t, 503, 600);
	eventually(t, n_told_of_failure(t) == N && *health(t).last_error);
	come_back(t);
	run_for(t->loop, USEC_PER_SEC);
	assert_int_equal(n_asked(t), 0);
	contact_usec = health(t).last_contact_usec;
	sender = send_event(t);
	/* who was answered 503 keeps to what it said */
	eventually(t, health(t).n_watches > N / 2);
	assert_int_equal(place_of(t, "POST /api/v1/namespaces/ns/events"), 0);
	assert_true(health(t).last_contact_usec > contact_usec);
}

/* ---- not away ---- */

static void one_that_is_always_dropped_is_its_own_trouble(void **state)
{
	struct rig *t = *state;

	apiserver_fail(t->server, "metadata.name%3Ds7&", 0, NULL, -1, -1);
	start_over(t);
	assert_int_equal(apiserver_end_watch(t->server, "Secret", "s7", false), 1);
	eventually(t, *t->failure[7]);
	run_for(t->loop, 3 * USEC_PER_SEC);
	/* with its own backoff, and nobody else is disturbed */
	assert_true(n_asked_for(t, "metadata.name%3Ds7&") <= 4);
	assert_int_equal(n_asked(t), n_asked_for(t, "metadata.name%3Ds7&"));
	assert_int_equal(n_told_of_failure(t), 1);
	assert_int_equal(health(t).n_watches, N);
	assert_int_equal(health(t).n_reconnects, 0);
	/* what is new comes at once, whatever becomes of that one */
	want(t, t->n++);
	eventually(t, t->is_there[N]);
	apiserver_fail(t->server, "metadata.name%3Ds7&", 0, NULL, -1, 0);
	eventually(t, all_watch(t));
}

static void watches_that_end_while_the_server_is_well_begin_once_each(void **state)
{
	struct rig *t = *state;

	start_over(t);
	assert_int_equal(apiserver_end_watches(t->server, false), N + 1);
	eventually(t, n_asked_for(t, "watch=true") >= N + 1 && all_watch(t));
	run_for(t->loop, 300 * USEC_PER_MSEC);
	assert_int_equal(n_asked_for(t, "watch=true"), N + 1);
	assert_int_equal(n_asked(t), N + 2);
	assert_int_equal(n_told_of_failure(t), 0);
	assert_int_equal(health(t).n_reconnects, 0);
	assert_true(place_of(t, "/pods?") <= 2);
}

/* ---- by hand ---- */

static void who_refreshes_a_secret_is_answered_at_once(void **state)
{
	struct rig *t = *state;

	go_away(t, 503, -1);
	eventually(t, n_told_of_failure(t) == N && *health(t).last_error);
	/* the next time that it would be asked is far away now, or may be */
	run_for(t->loop, 3 * USEC_PER_SEC);
	start_over(t);
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s31"), 0);
	eventually(t, n_asked_for(t, "metadata.name%3Ds31&") > 0);
	assert_true(place_of(t, "metadata.name%3Ds31&") <= 2);
	/* and if there is an answer, all others need not wait either */
	come_back(t);
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s30"), 0);
	eventually(t, all_watch(t));
	assert_true(place_of(t, "metadata.name%3Ds30&") <= 2);
}

static void a_reload_asks_whether_it_is_back(void **state)
{
	const struct source_tuning tuning = { .strategy = SOURCE_WATCH };
	struct rig *t = *state;

	go_away(t, 503, -1);
	eventually(t, n_told_of_failure(t) == N && *health(t).last_error);
	run_for(t->loop, 3 * USEC_PER_SEC);
	/* without being asked it would do so once every few seconds now */
	start_over(t);
	for (int i = 0; i < 10; i++) {
		source_tune(t->source, &tuning);
		run_for(t->loop, 50 * USEC_PER_MSEC);
	}
	/* in PATIENCE_USEC it would be 5 times at the most */
	eventually(t, n_asked(t) >= 8);
	assert_true(n_asked(t) < N / 2);
	come_back(t);
	source_tune(t->source, &tuning);
	eventually(t, all_watch(t));
}

/* ---- back ---- */

static void pods_and_what_they_wait_for_come_first(void **state)
{
	struct rig *t = *state;

	for (; t->n < 200; t->n++)
		want(t, t->n);
	eventually(t, all_watch(t));
	run_for(t->loop, 1100 * USEC_PER_MSEC);
	go_away(t, 0, -1);
	eventually(t, n_told_of_failure(t) == t->n && *health(t).last_error);
	want(t, t->n++);
	eventually(t, *t->failure[200]);
	come_back(t);
	eventually(t, all_watch(t));
	assert_true(place_of(t, "/pods?") < t->n / 4);
	assert_true(place_of(t, "metadata.name%3Ds200&") < t->n / 4);
	assert_true(t->is_there[200]);
}

static void server_that_answers_only_the_pods_is_there(void **state)
{
	struct rig *t = *state;

	go_away(t, 0, -1);
	eventually(t, n_told_of_failure(t) == N && *health(t).last_error);
	apiserver_fail(t->server, "/secrets?", 0, NULL, -1, -1);
	apiserver_fail(t->server, "", 0, NULL, -1, 0);
	eventually(t, health(t).connected);
	/* each finds out for itself now, and keeps to its own backoff */
	start_over(t);
	run_for(t->loop, 3 * USEC_PER_SEC);
	assert_true(n_asked(t) <= 5 * N);
	assert_true(health(t).connected);
	apiserver_fail(t->server, "/secrets?", 0, NULL, -1, 0);
	eventually(t, all_watch(t));
}

static void source_may_end_while_the_server_is_away(void **state)
{
	struct rig *t = *state;

	go_away(t, 0, -1);
	eventually(t, n_told_of_failure(t) == N);
	for (size_t i = 0; i < N / 2; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%zu", i);
		source_unwant(t->source, OBJECT_SECRET, "ns", name);
		run_for(t->loop, 50 * USEC_PER_MSEC);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define BARE(name) cmocka_unit_test_setup_teardown(name, bare_setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(while_nobody_answers_one_asks_for_all),
		TEST(while_a_proxy_answers_503_one_asks_for_all),
		TEST(connections_that_are_refused_are_one_at_a_time),
		BARE(what_is_polled_asks_no_more_while_the_server_is_away),
		TEST(tokens_wait_for_the_server_as_all_else),
		TEST(retry_after_holds_for_the_whole_node),
		TEST(when_it_is_asked_next_is_known),
		TEST(token_that_is_due_while_the_server_is_away_is_told),
		BARE(limit_of_requests_keeps_nobody_from_asking),
		BARE(absence_that_is_not_believed_is_no_recovery),
		TEST(absence_waits_for_the_list_of_pods_after_an_outage),
		TEST(pods_are_listed_after_an_outage_in_any_case),
		TEST(answer_about_a_pod_in_doubt_brings_all_back),
		TEST(who_was_answered_503_comes_back_with_all_others),
		TEST(retry_after_is_kept_when_the_server_is_back),
		TEST(event_that_is_taken_brings_all_back),
		TEST(one_that_is_always_dropped_is_its_own_trouble),
		TEST(watches_that_end_while_the_server_is_well_begin_once_each),
		TEST(who_refreshes_a_secret_is_answered_at_once),
		TEST(a_reload_asks_whether_it_is_back),
		TEST(pods_and_what_they_wait_for_come_first),
		TEST(server_that_answers_only_the_pods_is_there),
		TEST(source_may_end_while_the_server_is_away),
	};

	following_init(16 << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
