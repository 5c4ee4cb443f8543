/* Server: who may try WatchList, for how long a refusal holds, and the bucket of requests. */
#include "agent/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define DAY (24 * 3600 * USEC_PER_SEC)

static void only_one_asks_while_it_is_unknown(void **state)
{
	struct server s = SERVER_INIT;
	int a = 0, b = 0;

	assert_true(server_may_stream(&s, &a, 1));
	assert_true(server_may_stream(&s, &a, 2));
	assert_false(server_may_stream(&s, &b, 3));
	server_stream_undecided(&s, &b); /* not b's to say */
	assert_false(server_may_stream(&s, &b, 4));
	server_stream_undecided(&s, &a);
	assert_true(server_may_stream(&s, &b, 5));
}

static void all_use_it_once_it_works(void **state)
{
	struct server s = SERVER_INIT;
	int a = 0, b = 0;

	assert_true(server_may_stream(&s, &a, 1));
	server_stream_works(&s, &a);
	assert_true(server_may_stream(&s, &a, 2));
	assert_true(server_may_stream(&s, &b, 2));
	server_was_away(&s);
	assert_true(server_may_stream(&s, &a, 2));
	assert_true(server_may_stream(&s, &b, 2));
}

static void refusal_holds_for_a_day(void **state)
{
	struct server s = SERVER_INIT;
	int a = 0, b = 0;

	assert_true(server_may_stream(&s, &a, 1));
	server_stream_refused(&s, &a, 10);
	assert_false(server_may_stream(&s, &a, 11));
	assert_false(server_may_stream(&s, &b, 9 + DAY));
	assert_true(server_may_stream(&s, &b, 10 + DAY));
	assert_false(server_may_stream(&s, &a, 10 + DAY));
}

static void refusal_holds_until_the_server_was_away(void **state)
{
	struct server s = SERVER_INIT;
	int a = 0;

	server_stream_refused(&s, &a, 10);
	server_was_away(&s);
	assert_true(server_may_stream(&s, &a, 11));
}

static void one_refusal_is_for_all(void **state)
{
	struct server s = SERVER_INIT;
	int a = 0, b = 0;

	server_stream_works(&s, &a);
	server_stream_refused(&s, &b, 10);
	assert_false(server_may_stream(&s, &a, 11));
}

/* ---- the limit ---- */

static void burst_goes_at_once_and_the_rest_in_turn(void **state)
{
	struct server s = { .qps = 50, .burst = 100 };
	const uint64_t now = 1000 * USEC_PER_SEC;

	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(server_admit(&s, now), 0);
	for (unsigned i = 1; i <= 900; i++)
		assert_int_equal(server_admit(&s, now), i * 20 * USEC_PER_MSEC);
}

static void tokens_come_back_with_time(void **state)
{
	struct server s = { .qps = 10, .burst = 2 };
	uint64_t now = USEC_PER_SEC;

	assert_int_equal(server_admit(&s, now), 0);
	assert_int_equal(server_admit(&s, now), 0);
	assert_int_equal(server_admit(&s, now), 100 * USEC_PER_MSEC);
	now += 200 * USEC_PER_MSEC; /* one for the third, one more */
	assert_int_equal(server_admit(&s, now), 0);
	assert_int_equal(server_admit(&s, now), 100 * USEC_PER_MSEC);
}

static void long_pause_fills_the_bucket_and_no_more(void **state)
{
	struct server s = { .qps = 10, .burst = 3 };
	uint64_t now = USEC_PER_SEC;

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(server_admit(&s, now), 0);
		assert_int_equal(server_admit(&s, now), 100 * USEC_PER_MSEC);
		now += 86400 * USEC_PER_SEC;
	}
}

static void limits_at_the_edge_are_sane(void **state)
{
	struct server none = SERVER_INIT, one = { .qps = 1, .burst = 1 }, no_burst = { .qps = 1, .burst = 0 },
		      most = { .qps = 100000, .burst = 100000 };

	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(server_admit(&none, 1), 0);
	assert_int_equal(server_admit(&one, 1), 0);
	assert_int_equal(server_admit(&one, 1), USEC_PER_SEC);
	assert_int_equal(server_admit(&no_burst, 1), 0);
	assert_int_equal(server_admit(&no_burst, 1), USEC_PER_SEC);
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(server_admit(&most, 1), 0);
	assert_int_equal(server_admit(&most, 1), 10);
}

static void what_matters_less_leaves_half_of_the_bucket(void **state)
{
	struct server s = { .qps = 10, .burst = 8 };
	uint64_t now = USEC_PER_SEC;

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(server_admit_spare(&s, now), 0);
	assert_int_equal(server_admit_spare(&s, now), 100 * USEC_PER_MSEC);
	assert_int_equal(server_admit_spare(&s, now), 100 * USEC_PER_MSEC); /* nothing was taken */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(server_admit(&s, now), 0);
	assert_int_equal(server_admit(&s, now), 100 * USEC_PER_MSEC);
	now += 500 * USEC_PER_MSEC; /* 4 in the bucket */
	assert_int_equal(server_admit_spare(&s, now), 100 * USEC_PER_MSEC);
	now += 100 * USEC_PER_MSEC;
	assert_int_equal(server_admit_spare(&s, now), 0);
}

static void what_matters_less_gets_its_turn_in_a_small_bucket(void **state)
{
	struct server none = SERVER_INIT, one = { .qps = 1, .burst = 1 };

	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(server_admit_spare(&none, 1), 0);
	assert_int_equal(server_admit_spare(&one, 1), 0);
	assert_int_equal(server_admit_spare(&one, 1), USEC_PER_SEC);
	assert_int_equal(server_admit_spare(&one, 1 + USEC_PER_SEC), 0);
}

static void what_is_waited_for_goes_past_those_who_wait(void **state)
{
	struct server s = { .qps = 50, .burst = 100 };
	const uint64_t now = 1000 * USEC_PER_SEC;

	for (unsigned i = 0; i < 19000; i++)
		server_admit(&s, now);
	for (unsigned i = 0; i < 25; i++)
		assert_int_equal(server_admit_prompt(&s, now, 8 * USEC_PER_SEC), 0);
	for (unsigned i = 1; i < 100; i++)
		assert_int_equal(server_admit_prompt(&s, now, 8 * USEC_PER_SEC), i * 80 * USEC_PER_MSEC);
	/* who comes later pays for it */
	assert_int_equal(server_admit(&s, now), (19000 - 100 + 25 + 99 + 1) * 20 * USEC_PER_MSEC);
}

static void what_would_wait_too_long_takes_nothing(void **state)
{
	struct server s = { .qps = 10, .burst = 4 };
	const uint64_t now = USEC_PER_SEC;

	for (unsigned i = 0; i < 100; i++)
		server_admit(&s, now);
	assert_int_equal(server_admit_prompt(&s, now, USEC_PER_SEC), 0);
	assert_int_equal(server_admit_prompt(&s, now, USEC_PER_SEC), 400 * USEC_PER_MSEC);
	assert_int_equal(server_admit_prompt(&s, now, USEC_PER_SEC), 800 * USEC_PER_MSEC);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(server_admit_prompt(&s, now, USEC_PER_SEC), 1200 * USEC_PER_MSEC);
	assert_int_equal(server_admit(&s, now), (100 - 4 + 3 + 1) * 100 * USEC_PER_MSEC);
}

static void what_is_waited_for_has_the_whole_bucket_where_nobody_waits(void **state)
{
	struct server none = SERVER_INIT, s = { .qps = 10, .burst = 8 };
	uint64_t now = USEC_PER_SEC;

	assert_int_equal(server_admit_prompt(&none, now, 0), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(server_admit_prompt(&s, now, USEC_PER_SEC), 0);
	/* and its own part besides */
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(server_admit_prompt(&s, now, USEC_PER_SEC), 0);
	assert_int_equal(server_admit_prompt(&s, now, USEC_PER_SEC), 300 * USEC_PER_MSEC); /* the others' is sooner */
}

/* Tokens: one after the other, as they are made. */
static void what_is_taken_one_by_one_leaves_the_others_their_turn(void **state)
{
	struct server s = { .qps = 5, .burst = 8 };
	const uint64_t each = 800 * USEC_PER_MSEC;
	uint64_t now = 1000 * USEC_PER_SEC, wait;

	for (unsigned i = 0; i < 1000; i++)
		server_admit(&s, now);
	for (unsigned i = 0; i < 100; i++) {
		wait = server_admit_prompt(&s, now, UINT64_MAX);
		assert_true(wait <= each);
		if (i % 10 == 5) /* something is fetched, and then the next token waits for that one as well */
			assert_true(server_admit_prompt(&s, now, 8 * USEC_PER_SEC) <= 2 * each);
		now += i % 10 == 5 ? wait + each : wait;
	}
}

static void lower_versions_are_numbers_of_any_length(void **state)
{
	static const struct {
		const char *old, *fresh;
		bool back;
	} CASES[] = {
		{ "10", "9", true },
		{ "9", "10", false },
		{ "10", "10", false },
		{ "010", "9", true },
		{ "100000000000000000000000000001", "100000000000000000000000000000", true },
		{ "18446744073709551616", "18446744073709551615", true },
		{ "abc", "9", false },
		{ "10", "9a", false },
		{ "", "9", false },
		{ "10", "", false },
		{ NULL, "9", false },
		{ "1", "0", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct server s = SERVER_INIT;

		assert_int_equal(server_goes_back(&s, 0, CASES[i].old, CASES[i].fresh), CASES[i].back);
		assert_int_equal(s.epoch, CASES[i].back);
	}
}

static void retry_after_counts_if_it_is_longer_and_until_it_is_over(void **state)
{
	static const uint64_t NOW = 100 * USEC_PER_SEC, SEC = USEC_PER_SEC;
	static const struct {
		int64_t retry_after_sec;
		uint64_t delay, wait, not_before;
	} CASES[] = {
		{ -1, 4 * SEC, 4 * SEC, 0 },
		{ 0, 4 * SEC, 4 * SEC, 0 },
		{ 1, 4 * SEC, 4 * SEC, NOW + SEC }, /* who is told before that it is well need not wait for the rest */
		{ 4, 4 * SEC, 4 * SEC, NOW + 4 * SEC },
		{ 10, 4 * SEC, 12 * SEC, NOW + 12 * SEC },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		uint64_t not_before = 1;

		assert_int_equal(server_retry_delay(CASES[i].retry_after_sec, CASES[i].delay, 0.5, NOW, &not_before),
				 CASES[i].wait);
		assert_int_equal(not_before, CASES[i].not_before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_one_asks_while_it_is_unknown),
		cmocka_unit_test(all_use_it_once_it_works),
		cmocka_unit_test(refusal_holds_for_a_day),
		cmocka_unit_test(refusal_holds_until_the_server_was_away),
		cmocka_unit_test(one_refusal_is_for_all),
		cmocka_unit_test(burst_goes_at_once_and_the_rest_in_turn),
		cmocka_unit_test(tokens_come_back_with_time),
		cmocka_unit_test(long_pause_fills_the_bucket_and_no_more),
		cmocka_unit_test(limits_at_the_edge_are_sane),
		cmocka_unit_test(what_matters_less_leaves_half_of_the_bucket),
		cmocka_unit_test(what_matters_less_gets_its_turn_in_a_small_bucket),
		cmocka_unit_test(what_is_waited_for_goes_past_those_who_wait),
		cmocka_unit_test(what_would_wait_too_long_takes_nothing),
		cmocka_unit_test(what_is_waited_for_has_the_whole_bucket_where_nobody_waits),
		cmocka_unit_test(what_is_taken_one_by_one_leaves_the_others_their_turn),
		cmocka_unit_test(retry_after_counts_if_it_is_longer_and_until_it_is_over),
		cmocka_unit_test(lower_versions_are_numbers_of_any_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
