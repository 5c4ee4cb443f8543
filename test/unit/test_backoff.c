/* Backoff: client-go's series, step by step. */
#include "common/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void delays_double_up_to_the_maximum(void **state)
{
	static const uint64_t WANT_MSEC[] = { 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000 };
	struct backoff b = BACKOFF_INIT(&BACKOFF_REFLECTOR);

	for (size_t i = 0; i < ARRAY_SIZE(WANT_MSEC); i++) {
		assert_int_equal(backoff_next(&b, i * USEC_PER_SEC, 0.0), WANT_MSEC[i] * USEC_PER_MSEC);
		assert_int_equal(b.n_failures, i + 1);
	}
}

static void jitter_comes_on_top_and_does_not_add_up(void **state)
{
	struct backoff b = BACKOFF_INIT(&BACKOFF_REFLECTOR);

	assert_int_equal(backoff_next(&b, 0, 0.5), 1200 * USEC_PER_MSEC);
	assert_int_equal(backoff_next(&b, 0, 0.0), 1600 * USEC_PER_MSEC);
	assert_int_equal(backoff_next(&b, 0, 0.25), 4000 * USEC_PER_MSEC);
	for (int i = 0; i < 10; i++)
		backoff_next(&b, 0, 0.0);
	assert_int_equal(backoff_next(&b, 0, 0.5), 45 * USEC_PER_SEC);
}

static void other_policy_has_its_own_numbers(void **state)
{
	struct backoff b = BACKOFF_INIT(&BACKOFF_FRESH);

	assert_int_equal(backoff_next(&b, 0, 0.5), 6250);
	assert_int_equal(backoff_next(&b, 0, 0.0), 10 * USEC_PER_MSEC);
	for (int i = 0; i < 20; i++)
		backoff_next(&b, 0, 0.0);
	assert_int_equal(backoff_next(&b, 0, 0.0), 2 * USEC_PER_SEC);
}

static void quiet_time_longer_than_reset_starts_again(void **state)
{
	struct backoff b = BACKOFF_INIT(&BACKOFF_REFLECTOR);
	uint64_t now = 1000 * USEC_PER_SEC;

	backoff_next(&b, now, 0.0);
	backoff_next(&b, now, 0.0);
	now += BACKOFF_REFLECTOR.reset_usec;
	assert_int_equal(backoff_next(&b, now, 0.0), 3200 * USEC_PER_MSEC); /* exactly the time: not yet */
	now += BACKOFF_REFLECTOR.reset_usec + 1;
	assert_int_equal(backoff_next(&b, now, 0.0), 800 * USEC_PER_MSEC);
	assert_int_equal(b.n_failures, 1);
}

static void reset_starts_again(void **state)
{
	struct backoff b = BACKOFF_INIT(&BACKOFF_REFLECTOR);

	backoff_next(&b, 5, 0.0);
	backoff_next(&b, 5, 0.0);
	backoff_reset(&b);
	assert_int_equal(b.n_failures, 0);
	assert_int_equal(backoff_next(&b, 6, 0.0), 800 * USEC_PER_MSEC);
}

static void clock_that_goes_back_does_not_reset(void **state)
{
	struct backoff b = BACKOFF_INIT(&BACKOFF_REFLECTOR);

	backoff_next(&b, 500 * USEC_PER_SEC, 0.0);
	assert_int_equal(backoff_next(&b, 1, 0.0), 1600 * USEC_PER_MSEC);
}

static void random_numbers_lie_in_the_interval_and_differ(void **state)
{
	double first = random01();
	bool differs = false;

	for (int i = 0; i < 1000; i++) {
		double x = random01();

		assert_true(x >= 0.0 && x < 1.0);
		differs |= x != first;
	}
	assert_true(differs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_double_up_to_the_maximum),
		cmocka_unit_test(jitter_comes_on_top_and_does_not_add_up),
		cmocka_unit_test(other_policy_has_its_own_numbers),
		cmocka_unit_test(quiet_time_longer_than_reset_starts_again),
		cmocka_unit_test(reset_starts_again),
		cmocka_unit_test(clock_that_goes_back_does_not_reset),
		cmocka_unit_test(random_numbers_lie_in_the_interval_and_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
