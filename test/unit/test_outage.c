/* Outage: when one client asks, and how a fleet of them comes back. */
#include "agent/outage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/backoff.h"

enum { CLIENTS = 1000 };
static const uint64_t START = 5000 * USEC_PER_SEC;

/* How many tries there are within this time. */
static unsigned tries(double phase, uint64_t usec)
{
	struct outage o = OUTAGE_INIT;
	uint64_t now = START;
	unsigned n = 0;

	outage_begin(&o, now, phase);
	for (;; n++) {
		now += outage_next(&o, now);
		if (now > START + usec)
			return n;
	}
}

static void one_client_asks_as_often_as_one_reflector_of_client_go(void **state)
{
	static const uint64_t SEC[] = { 10, 60, 600, 3600 };

	for (size_t i = 0; i < ARRAY_SIZE(SEC); i++) {
		unsigned ours = 0, theirs = 0;

		for (unsigned c = 0; c < CLIENTS; c++) {
			struct backoff b = BACKOFF_INIT(&BACKOFF_REFLECTOR);

			ours += tries((double)c / CLIENTS, SEC[i] * USEC_PER_SEC);
			for (uint64_t t = backoff_next(&b, 0, random01()); t <= SEC[i] * USEC_PER_SEC; theirs++)
				t += backoff_next(&b, t, random01());
		}
		/* a little more often at first, within the first minute */
		assert_in_range(ours, theirs / 2, theirs + 3 * CLIENTS);
	}
}

static void it_is_asked_soon_at_first_and_every_46_seconds_at_last(void **state)
{
	struct outage o = OUTAGE_INIT;
	uint64_t now = START, last = 0, delay;

	outage_begin(&o, now, 0.5);
	assert_int_equal(outage_next(&o, now), 400 * USEC_PER_MSEC);
	while (now < START + 600 * USEC_PER_SEC) {
		delay = outage_next(&o, now);
		if (last > 0)
			assert_true(delay + 2 >= last || last == 400 * USEC_PER_MSEC);
		assert_in_range(delay, 1, 46 * USEC_PER_SEC + 2);
		last = delay;
		now += delay;
	}
	assert_in_range(last, 46 * USEC_PER_SEC - 2, 46 * USEC_PER_SEC + 2);
}

/* The next tries of all, from any moment on: none later than an interval, and of each part of it as many as of any other. */
static void the_next_tries_of_a_fleet_are_spread_evenly(void **state)
{
	static const double AFTER[] = { 0.3, 3, 10, 60, 120, 200, 600 };

	for (size_t i = 0; i < ARRAY_SIZE(AFTER); i++) {
		uint64_t now = START + (uint64_t)(AFTER[i] * USEC_PER_SEC), last = 0, first = UINT64_MAX;
		unsigned n_first_tenth = 0;

		for (unsigned c = 0; c < CLIENTS; c++) {
			struct outage o = OUTAGE_INIT;
			uint64_t next;

			outage_begin(&o, START, (double)c / CLIENTS);
			next = outage_next(&o, now);
			last = MAX(last, next);
			first = MIN(first, next);
		}
		for (unsigned c = 0; c < CLIENTS; c++) {
			struct outage o = OUTAGE_INIT;

			outage_begin(&o, START, (double)c / CLIENTS);
			n_first_tenth += outage_next(&o, now) <= last / 10;
		}
		assert_true(first <= last / 100);
		assert_true(last <= 47 * USEC_PER_SEC);
		/* the intervals grow meanwhile: at first there are more, but not twice as many */
		assert_in_range(n_first_tenth, CLIENTS / 10 - 10, CLIENTS / 5);
	}
}

static void a_try_that_takes_long_is_followed_by_the_next_moment_only(void **state)
{
	struct outage o = OUTAGE_INIT;
	uint64_t now = START + 200 * USEC_PER_SEC, next;

	outage_begin(&o, START, 0.25);
	next = now + outage_next(&o, now);
	/* asked again on the way there, it is the same moment */
	for (int i = 0; i < 10; i++) {
		now += (next - now) / 2;
		if (next - now > 10 * USEC_PER_MSEC)
			assert_in_range(now + outage_next(&o, now), next - 2, next + 2);
	}
}

static void server_that_answers_now_and_then_is_not_asked_sooner(void **state)
{
	struct outage o = OUTAGE_INIT;
	uint64_t now = START + 600 * USEC_PER_SEC, next;
	double phase;

	outage_begin(&o, START, 0.25);
	phase = o.phase;
	for (int i = 0; i < 100; i++) {
		next = outage_next(&o, now);
		now += next;
		outage_end(&o, now);
		now += 10 * USEC_PER_SEC;
		outage_begin(&o, now, 0.75);
		assert_true(o.runs && o.phase == phase);
		assert_true(outage_next(&o, now) > 40 * USEC_PER_SEC);
	}
	outage_end(&o, now);
	now += 121 * USEC_PER_SEC;
	outage_begin(&o, now, 0.5);
	assert_int_equal(outage_next(&o, now), 400 * USEC_PER_MSEC);
}

static void outage_that_runs_is_not_begun_again(void **state)
{
	struct outage o = OUTAGE_INIT;

	outage_begin(&o, START, 0.5);
	outage_begin(&o, START + 100 * USEC_PER_SEC, 0.1);
	assert_int_equal(o.began_usec, START);
	outage_restart(&o, START + 200 * USEC_PER_SEC, 0.25);
	assert_int_equal(outage_next(&o, START + 200 * USEC_PER_SEC), 200 * USEC_PER_MSEC);
}

static void what_the_server_asks_for_is_kept_but_not_by_all_at_its_end(void **state)
{
	uint64_t least = UINT64_MAX, most = 0;

	for (unsigned c = 0; c < CLIENTS; c++) {
		struct outage o = OUTAGE_INIT;
		uint64_t next;

		outage_begin(&o, START, (double)c / CLIENTS);
		outage_wait(&o, START, 30 * USEC_PER_SEC);
		outage_wait(&o, START, USEC_PER_SEC); /* the longer one counts */
		next = outage_next(&o, START);
		least = MIN(least, next);
		most = MAX(most, next);
	}
	assert_true(least >= 30 * USEC_PER_SEC);
	assert_true(most >= 42 * USEC_PER_SEC && most <= 80 * USEC_PER_SEC);
}

static void window_grows_with_the_number_and_with_the_outage(void **state)
{
	struct outage o = OUTAGE_INIT;
	uint64_t soon = START + 10 * USEC_PER_SEC, late = START + 600 * USEC_PER_SEC;

	outage_begin(&o, START, 0.5);
	assert_int_equal(outage_window(&o, late, 0), 0);
	assert_true(outage_window(&o, late, 1) < outage_window(&o, late, 10));
	assert_true(outage_window(&o, late, 10) < outage_window(&o, late, 30));
	assert_true(outage_window(&o, soon, 30) < outage_window(&o, late, 30));
	assert_in_range(outage_window(&o, soon, 31), 100 * USEC_PER_MSEC, 500 * USEC_PER_MSEC);
	assert_in_range(outage_window(&o, late, 110), 5 * USEC_PER_SEC, 10 * USEC_PER_SEC);
	assert_true(outage_window(&o, soon, 10000) >= 29 * USEC_PER_SEC);
}

static void each_turn_is_in_its_part_of_the_window(void **state)
{
	struct outage_turns t = { .window_usec = 10 * USEC_PER_SEC, .n = 10 }, none = { .window_usec = 0 };

	for (uint64_t i = 0; i < 10; i++)
		assert_in_range(outage_turn(&t, 0.5), i * USEC_PER_SEC, (i + 1) * USEC_PER_SEC);
	assert_true(outage_turn(&t, 0.99) <= 11 * USEC_PER_SEC); /* one more than was counted */
	assert_int_equal(outage_turn(&none, 0.5), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_client_asks_as_often_as_one_reflector_of_client_go),
		cmocka_unit_test(it_is_asked_soon_at_first_and_every_46_seconds_at_last),
		cmocka_unit_test(the_next_tries_of_a_fleet_are_spread_evenly),
		cmocka_unit_test(a_try_that_takes_long_is_followed_by_the_next_moment_only),
		cmocka_unit_test(server_that_answers_now_and_then_is_not_asked_sooner),
		cmocka_unit_test(outage_that_runs_is_not_begun_again),
		cmocka_unit_test(what_the_server_asks_for_is_kept_but_not_by_all_at_its_end),
		cmocka_unit_test(window_grows_with_the_number_and_with_the_outage),
		cmocka_unit_test(each_turn_is_in_its_part_of_the_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
