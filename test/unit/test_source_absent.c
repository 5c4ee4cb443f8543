/* Source, absent: who asks is answered, later and with the reason; and when it is over. */
#include "agent/source_absent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "agent/reason.h"
#include "common/clock.h"

struct rig {
	struct loop *l;
	struct source *s;
	unsigned n_failed, n_fetched, n_again;
	char last[64]; /* the name of what was told last */
};

static void on_failed(void *userdata, enum object_kind kind, const char *ns, const char *name, const struct err *e)
{
	struct rig *t = userdata;

	assert_int_equal(kind, OBJECT_SECRET);
	assert_string_equal(err_text(e), "kubeconfig: gone");
	snprintf(t->last, sizeof(t->last), "%s/%s", ns, name);
	t->n_failed++;
}

static void on_fetched(void *userdata, const struct source_fetched *f)
{
	struct rig *t = userdata;

	assert_int_equal(f->err.code, -ENOENT);
	assert_true(f->unanswered);
	assert_null(f->secret);
	t->n_fetched++;
}

static void on_again(void *userdata)
{
	((struct rig *)userdata)->n_again++;
}

static const struct source_sink SINK = { .object_failed = on_failed };

static int setup(void **state)
{
	struct rig *t = calloc(1, sizeof(*t));
	struct err why = ERR_INIT;
	const struct source_absent_options o = { .kind = "api-server",
						 .location = "/etc/kubeconfig",
						 .why = &why,
						 .away_usec = 20 * USEC_PER_SEC,
						 .again = on_again };

	err_set(&why, -ENOENT, "kubeconfig: gone");
	assert_non_null(t);
	assert_int_equal(loop_new(&t->l), 0);
	assert_int_equal(source_absent_new(t->l, &o, &SINK, t, &t->s), 0);
	err_set(&why, -EIO, "it has its own");
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct rig *t = *state;

	source_free(t->s);
	loop_free(t->l);
	free(t);
	return 0;
}

/* All that is to be done without waiting. */
static void settle(struct rig *t)
{
	while (loop_run_once(t->l, 0) > 0)
		;
}

static void objects_fail_later(void **state)
{
	struct rig *t = *state;

	assert_int_equal(source_start(t->s, NULL), 0);
	assert_int_equal(source_want(t->s, OBJECT_SECRET, "ns", "a"), 0);
	assert_int_equal(source_want(t->s, OBJECT_SECRET, "ns", "b"), 0);
	source_unwant(t->s, OBJECT_SECRET, "ns", "b");
	assert_int_equal(t->n_failed, 0);
	settle(t);
	assert_int_equal(t->n_failed, 1);
	assert_string_equal(t->last, "ns/a");

	assert_int_equal(source_refresh(t->s, OBJECT_SECRET, "ns", "b"), -ENOENT);
	assert_int_equal(source_refresh(t->s, OBJECT_SECRET, "ns", "a"), 0);
	settle(t);
	assert_int_equal(t->n_failed, 2);
	/* what is shown is as current as it can be */
	assert_int_equal(source_need(t->s, OBJECT_SECRET, "ns", "a"), 0);
}

static void fetches_are_unanswered(void **state)
{
	struct source_fetch *f, *g;
	struct rig *t = *state;

	assert_int_equal(source_fetch(t->s, SOURCE_SECRET, "ns", "a", on_fetched, t, &f), 0);
	assert_int_equal(source_fetch(t->s, SOURCE_SECRET, "ns", "a", on_fetched, t, &g), 0);
	source_unfetch(t->s, g);
	assert_int_equal(t->n_fetched, 0);
	settle(t);
	assert_int_equal(t->n_fetched, 1);
	/* and one that is under way when it ends */
	assert_int_equal(source_fetch(t->s, SOURCE_SECRET, "ns", "a", on_fetched, t, &g), 0);
}

static void says_what_is_missing(void **state)
{
	struct source_health h = { .kind = "" };
	struct rig *t = *state;
	uint64_t now = clock_realtime_usec();

	assert_int_equal(source_start(t->s, NULL), 0);
	source_health(t->s, &h);
	assert_string_equal(h.kind, "api-server");
	assert_string_equal(h.location, "/etc/kubeconfig");
	assert_string_equal(h.last_error, "kubeconfig: gone");
	assert_int_equal(h.reason, REASON_SOURCE_UNUSABLE);
	assert_false(h.pods_synced);
	assert_false(h.connected);
	assert_true(h.failed_usec < now);
	assert_true(h.next_try_usec > now);
}

static void a_reload_is_a_try(void **state)
{
	struct rig *t = *state;

	assert_int_equal(source_start(t->s, NULL), 0);
	settle(t);
	assert_int_equal(t->n_again, 0);
	source_reread(t->s);
	while (t->n_again == 0)
		assert_true(loop_run_once(t->l, USEC_INFINITY) >= 0);
	assert_int_equal(t->n_again, 1);
}

static void tries_come_ever_more_slowly(void **state)
{
	uint64_t away = 0, usec, last = 0;
	unsigned n = 0;

	for (; last < SOURCE_ABSENT_RETRY_MAX_USEC; away += usec, n++) {
		usec = source_absent_retry_usec(away);
		assert_true(usec >= USEC_PER_SEC && usec >= last);
		last = usec;
	}
	assert_int_equal(last, SOURCE_ABSENT_RETRY_MAX_USEC);
	assert_true(n < 10);
	assert_int_equal(source_absent_retry_usec(UINT64_MAX / 2), SOURCE_ABSENT_RETRY_MAX_USEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(objects_fail_later, setup, teardown),
		cmocka_unit_test_setup_teardown(fetches_are_unanswered, setup, teardown),
		cmocka_unit_test_setup_teardown(says_what_is_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reload_is_a_try, setup, teardown),
		cmocka_unit_test(tries_come_ever_more_slowly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
