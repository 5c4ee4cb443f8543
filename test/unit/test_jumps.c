/* Jumps: what is told of a sleep and of a clock that was set, with times that are made up. */
#include "common/jumps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define SEC	 ((int64_t)USEC_PER_SEC)
#define HOUR_SEC (3600 * SEC)

static const struct jumps_times BEGIN = { 1000000 * SEC, 500 * SEC, 700 * SEC };

static struct jumps_times after(int64_t realtime, int64_t monotonic, int64_t boottime)
{
	return (struct jumps_times){ BEGIN.realtime_usec + (uint64_t)realtime,
				     BEGIN.monotonic_usec + (uint64_t)monotonic,
				     BEGIN.boottime_usec + (uint64_t)boottime };
}

static void jumps_are_told_apart(void **state)
{
	static const struct {
		int64_t realtime, monotonic, boottime, slept, set;
	} CASES[] = {
		{ 0, 0, 0, 0, 0 },
		{ SEC, SEC, SEC, 0, 0 },
		{ SEC + 9000, SEC, SEC - 9000, 0, 0 }, /* read one after the other */
		{ 8 * HOUR_SEC + SEC, SEC, 8 * HOUR_SEC + SEC, 8 * HOUR_SEC, 0 }, /* slept */
		{ HOUR_SEC + SEC, SEC, SEC, 0, HOUR_SEC }, /* set forward */
		{ SEC - HOUR_SEC, SEC, SEC, 0, -HOUR_SEC }, /* set back */
		{ SEC - HOUR_SEC, SEC, SEC + HOUR_SEC, HOUR_SEC, -2 * HOUR_SEC }, /* both */
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct jumps_times now = after(CASES[i].realtime, CASES[i].monotonic, CASES[i].boottime);
		struct jump jump = jumps_compare(&BEGIN, &now);

		if (CASES[i].realtime == SEC + 9000)
			assert_true(jump.set_usec == 0 || jump.set_usec == 18000);
		else
			assert_int_equal(jump.set_usec, CASES[i].set);
		assert_int_equal(jump.slept_usec, CASES[i].slept);
	}
}

struct told {
	unsigned n;
	struct jump last;
};

static void on_jump(void *userdata, const struct jump *jump)
{
	struct told *t = userdata;

	t->n++;
	t->last = *jump;
}

static void each_jump_is_told_once(void **state)
{
	cleanup(loop_freep) struct loop *l = NULL;
	cleanup(jumps_freep) struct jumps *c = NULL;
	struct told told = { .n = 0 };
	struct jumps_times now;

	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(jumps_new(l, on_jump, &told, &c), 0);
	jumps_read(&now);
	jumps_look(c, &now);
	assert_int_equal(told.n, 0);
	now.boottime_usec += USEC_PER_SEC;
	now.realtime_usec += USEC_PER_SEC;
	jumps_look(c, &now);
	assert_int_equal(told.n, 1);
	assert_in_range(told.last.slept_usec, 990000, 1010000);
	jumps_look(c, &now);
	assert_int_equal(told.n, 1);
}

static void clock_that_goes_on_wakes_nobody(void **state)
{
	cleanup(loop_freep) struct loop *l = NULL;
	cleanup(jumps_freep) struct jumps *c = NULL;
	struct told told = { .n = 0 };

	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(jumps_new(l, on_jump, &told, &c), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(loop_run_once(l, 5 * USEC_PER_MSEC), 0);
	assert_int_equal(told.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jumps_are_told_apart),
		cmocka_unit_test(each_jump_is_told_once),
		cmocka_unit_test(clock_that_goes_on_wakes_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
