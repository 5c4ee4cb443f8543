/* Fair queue: the order in which those who wait have their turns. */
#include "agent/fair_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { N = 9 };

struct rig {
	struct fair_queue queue;
	struct fair_item items[N];
};

/* Item i belongs to the flow flows[i]. */
static void begin(struct rig *t, const char *flows)
{
	*t = (struct rig){ .items = { { .flow = NULL } } };
	fair_queue_init(&t->queue);
	for (size_t i = 0; flows[i]; i++)
		assert_int_equal(fair_join(&t->queue, &t->items[i], (char[]){ flows[i], '\0' }), 0);
}

static void wait_all(struct rig *t, const char *items)
{
	for (; *items; items++)
		fair_wait(&t->queue, &t->items[*items - '0']);
}

static void assert_turns(struct rig *t, const char *expected)
{
	struct fair_item *i;
	char turns[N + 1] = "";

	for (size_t n = 0; n < N && (i = fair_first(&t->queue)); n++) {
		assert_true(fair_waits(i));
		fair_take(&t->queue, i);
		assert_false(fair_waits(i));
		turns[n] = (char)('0' + (i - t->items));
	}
	assert_string_equal(turns, expected);
	assert_null(fair_first(&t->queue));
}

static void end(struct rig *t)
{
	for (size_t i = 0; i < N; i++)
		fair_leave(&t->queue, &t->items[i]);
	assert_int_equal(map_count(&t->queue.flows), 0);
	assert_true(list_empty(&t->queue.waiting));
	fair_queue_deinit(&t->queue);
}

static void flows_take_turns_and_within_one_the_first_is_first(void **state)
{
	static const struct {
		const char *flows, *wait, *turns;
	} CASES[] = {
		{ "", "", "" },
		{ "a", "0", "0" },
		{ "aaa", "210", "210" },
		{ "aaaab", "01234", "04123" },
		{ "aaabbc", "012345", "035142" },
		{ "aaa", "0010", "01" }, /* waiting twice is waiting */
	};
	struct rig t;

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		begin(&t, CASES[i].flows);
		wait_all(&t, CASES[i].wait);
		assert_turns(&t, CASES[i].turns);
		end(&t);
	}
}

static void one_that_comes_later_is_served_in_the_next_round(void **state)
{
	struct rig t;

	begin(&t, "aaaabb");
	wait_all(&t, "0123");
	fair_take(&t.queue, fair_first(&t.queue));
	wait_all(&t, "45");
	assert_turns(&t, "14253");
	end(&t);
}

static void who_leaves_waits_no_longer_and_its_flow_neither(void **state)
{
	struct rig t;

	begin(&t, "aabc");
	wait_all(&t, "0123");
	fair_leave(&t.queue, &t.items[0]);
	fair_leave(&t.queue, &t.items[2]);
	assert_int_equal(map_count(&t.queue.flows), 2);
	assert_false(fair_waits(&t.items[0]));
	assert_turns(&t, "13");
	end(&t);
}

static void who_has_not_joined_may_leave(void **state)
{
	struct fair_queue q;
	struct fair_item i = { .flow = NULL };

	fair_queue_init(&q);
	assert_false(fair_waits(&i));
	fair_leave(&q, &i);
	fair_queue_deinit(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flows_take_turns_and_within_one_the_first_is_first),
		cmocka_unit_test(one_that_comes_later_is_served_in_the_next_round),
		cmocka_unit_test(who_leaves_waits_no_longer_and_its_flow_neither),
		cmocka_unit_test(who_has_not_joined_may_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
