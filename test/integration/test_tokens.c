/* The API server's tokens, where somebody wants thousands of them: who else is kept waiting, and for how long. And what becomes of them
 * when clocks are set and machines sleep: these two clocks are the test's. */
#include "agent/source_api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/syscall.h>

#include "common/log.h"
#include "common/secmem.h"
#include "common/str.h"
#include "test/lib/following.h"
#include "test/lib/patience.h"

enum { MANY = 2000, QPS = 20 };

struct rig {
	char kubeconfig[FOLLOWING_PATH_MAX];
	struct apiserver *server;
	struct loop *loop;
	struct files *files;
	struct source *source;
	unsigned n_synced, n_tokens, n_others; /* told: tokens, those of the namespace "other" */
	unsigned n_fetched, n_failed, n_secrets; /* n_secrets: told, there or not */
	bool may_fail;
	struct err fetch_err;
};

static void on_synced(void *userdata)
{
	((struct rig *)userdata)->n_synced++;
}

static void on_object(void *userdata, enum object_kind kind, const char *ns, const char *name, struct secret *secret)
{
	struct rig *t = userdata;

	t->n_tokens += kind == OBJECT_TOKEN && secret;
	t->n_secrets += kind == OBJECT_SECRET;
	t->n_others += kind == OBJECT_TOKEN && secret && str_eq(ns, "other");
}

static void on_failure(void *userdata, enum object_kind kind, const char *ns, const char *name, const struct err *e)
{
	struct rig *t = userdata;

	t->n_failed++;
	if (!t->may_fail)
		fail_msg("%s/%s: %s", ns, name, err_text(e));
}

static const struct source_sink SINK = {
	.pod_changed = following_ignores_pod,
	.pod_removed = following_ignores_uid,
	.pods_synced = on_synced,
	.object_changed = on_object,
	.object_failed = on_failure,
};

static int setup_with(enum source_strategy strategy, void **state)
{
	struct rig *t = calloc(1, sizeof(*t));

	following_setup("test_tokens", t->kubeconfig, &t->loop, &t->files, &t->server);
	t->source = following_start(
		t->loop, t->files,
		&(struct source_api_options){ .kubeconfig = t->kubeconfig,
					      .node_name = "node-1",
					      .kube_api_qps = QPS,
					      .kube_api_burst = 1,
					      .tuning = { .strategy = strategy, .sync_usec = 3600 * USEC_PER_SEC } },
		&SINK, t);
	following_give_tokens(t->server, FOLLOWING_NEVER);
	eventually(t, t->n_synced > 0);
	*state = t;
	return 0;
}

static int setup(void **state)
{
	return setup_with(SOURCE_WATCH, state);
}

static int get_setup(void **state)
{
	return setup_with(SOURCE_GET, state);
}

static int teardown(void **state)
{
	struct rig *t = *state;

	following_teardown(t->source, t->server, t->files, t->loop, t->kubeconfig);
	assert_int_equal(secmem_stats().n_blocks, 0);
	free(t);
	return 0;
}

/* What the clocks that may be set, and that goes on during sleep, have more than the kernel's. */
static int64_t realtime_ahead_sec, boottime_ahead_sec;

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ts);

	if (r == 0 && clock == CLOCK_REALTIME)
		ts->tv_sec += realtime_ahead_sec;
	if (r == 0 && clock == CLOCK_BOOTTIME)
		ts->tv_sec += boottime_ahead_sec;
	return r;
}

static int want(struct rig *t, const char *ns, unsigned i)
{
	cleanup_free char *name = str_format("default/p/u-1/3600/audience-%u", i);

	return source_want(t->source, OBJECT_TOKEN, ns, name);
}

static void unwant(struct rig *t, const char *ns, unsigned i)
{
	cleanup_free char *name = str_format("default/p/u-1/3600/audience-%u", i);

	source_unwant(t->source, OBJECT_TOKEN, ns, name);
}

static void want_many(struct rig *t)
{
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(want(t, "ns", i), 0);
	eventually(t, t->n_tokens > 0);
}

static void on_fetched(void *userdata, const struct source_fetched *fetched)
{
	struct rig *t = userdata;

	t->n_fetched++;
	if (fetched->err.code != 0)
		t->fetch_err = fetched->err;
}

static void fetch(struct rig *t)
{
	struct source_fetch *f = NULL;

	assert_int_equal(source_fetch(t->source, SOURCE_SECRET, "ns", "s", on_fetched, t, &f), 0);
}

/* They would take 100 seconds, and a fetch waits for 8. */
static void what_is_fetched_does_not_wait_for_thousands_of_tokens(void **state)
{
	struct rig *t = *state;

	following_put_secret(t->server, "s", "v", false);
	want_many(t);
	fetch(t);
	eventually(t, t->n_fetched == 1);
	assert_int_equal(t->fetch_err.code, 0);
	assert_true(t->n_tokens < MANY / 2);
}

/* Each Secret is asked for by itself and has taken its turn. Behind them one token came when all had been asked, and
 * the next when that was the case again. */
static void tokens_do_not_wait_for_hundreds_of_secrets(void **state)
{
	enum { SECRETS = 20 * QPS, TOKENS = 5 };
	struct rig *t = *state;

	for (unsigned i = 0; i < SECRETS; i++) {
		cleanup_free char *name = str_format("s-%u", i);

		assert_int_equal(source_want(t->source, OBJECT_SECRET, "ns", name), 0);
	}
	eventually(t, t->n_secrets > 0);
	for (unsigned i = 0; i < TOKENS; i++)
		assert_int_equal(want(t, "ns", i), 0);
	eventually(t, t->n_tokens == TOKENS);
	assert_true(t->n_secrets < SECRETS / 2);
}

static void what_cannot_be_fetched_in_time_is_refused_at_once(void **state)
{
	struct rig *t = *state;

	apiserver_pause(t->server);
	for (unsigned i = 0; i < 8 * QPS * 2; i++)
		fetch(t);
	eventually(t, t->n_fetched > 0);
	assert_string_equal(err_text(&t->fetch_err),
			    "secret ns/s: the API server does not answer: too many requests wait for it "
			    "(kubeAPIQPS)");
}

static void namespaces_take_turns(void **state)
{
	struct rig *t = *state;

	want_many(t);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(want(t, "other", i), 0);
	eventually(t, t->n_others == 3);
	assert_true(t->n_tokens < MANY / 2);
}

static void tokens_that_wait_may_be_unwanted(void **state)
{
	struct rig *t = *state;

	want_many(t);
	for (unsigned i = 0; i < MANY - 1; i++)
		unwant(t, "ns", i);
	t->n_tokens = 0;
	eventually(t, t->n_tokens == 1);
}

static void thousands_that_fail_do_not_flood_the_log(void **state)
{
	enum { LINES_MAX = 50 };
	struct rig *t = *state;
	cleanup_fd int file = memfd_create("log", MFD_CLOEXEC), saved = dup(STDERR_FILENO);
	char text[65536];
	size_t n = 0;
	ssize_t len;

	t->may_fail = true;
	apiserver_fail(t->server, FOLLOWING_TOKEN_PATH, 500, NULL, -1, -1);
	assert_true(dup2(file, STDERR_FILENO) >= 0);
	log_set_level(LOG_LEVEL_WARNING);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(want(t, "ns", i), 0);
	eventually(t, t->n_failed > LINES_MAX * 3 / 2);
	log_set_level(LOG_LEVEL_ERROR);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	len = pread(file, text, sizeof(text) - 1, 0);
	assert_true(len >= 0);
	text[len] = '\0';
	for (const char *at = text; (at = strstr(at, "failed to fetch a token")); at++)
		n++;
	assert_int_equal(n, LINES_MAX);
}

/* ---- clocks ---- */

enum { HOUR = 3600 };

/* A token as the server gives it by its clock, which is the kernel's. */
static void get_token(struct rig *t)
{
	char expires[32];
	struct timespec ts;
	struct tm tm;

	syscall(SYS_clock_gettime, CLOCK_REALTIME, &ts);
	ts.tv_sec += HOUR;
	strftime(expires, sizeof(expires), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&ts.tv_sec, &tm));
	following_give_tokens(t->server, expires);
	assert_int_equal(want(t, "ns", 0), 0);
	eventually(t, t->n_tokens == 1);
}

/* It is looked at within a minute anyhow. */
static void expect_another_at_once(struct rig *t)
{
	uint64_t before = clock_monotonic_usec();

	source_slept(t->source);
	eventually(t, t->n_tokens == 2);
	assert_true(clock_monotonic_usec() - before < 30 * USEC_PER_SEC);
}

static int clocks_teardown(void **state)
{
	realtime_ahead_sec = boottime_ahead_sec = 0;
	return teardown(state);
}

static void a_token_that_ended_during_sleep_is_asked_for_at_once(void **state)
{
	struct rig *t = *state;

	get_token(t);
	boottime_ahead_sec = realtime_ahead_sec = HOUR / 2;
	source_slept(t->source);
	run_for(t->loop, 1500 * USEC_PER_MSEC);
	assert_int_equal(t->n_tokens, 1);
	boottime_ahead_sec = realtime_ahead_sec = HOUR * 9 / 10;
	expect_another_at_once(t);
}

static void a_token_of_before_the_clock_was_set_back_is_refreshed(void **state)
{
	struct rig *t = *state;

	realtime_ahead_sec = 8 * HOUR;
	get_token(t);
	realtime_ahead_sec = boottime_ahead_sec = HOUR * 9 / 10; /* set right, and so much later */
	expect_another_at_once(t);
}

#define CLOCKS(f) cmocka_unit_test_setup_teardown(f, setup, clocks_teardown)
#define GET(f)	  cmocka_unit_test_setup_teardown(f, get_setup, teardown)
#define TEST(f)	  cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_fetched_does_not_wait_for_thousands_of_tokens),
		GET(tokens_do_not_wait_for_hundreds_of_secrets),
		TEST(what_cannot_be_fetched_in_time_is_refused_at_once),
		TEST(namespaces_take_turns),
		TEST(tokens_that_wait_may_be_unwanted),
		TEST(thousands_that_fail_do_not_flood_the_log),
		CLOCKS(a_token_that_ended_during_sleep_is_asked_for_at_once),
		CLOCKS(a_token_of_before_the_clock_was_set_back_is_refreshed),
	};
	following_init(16 << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
