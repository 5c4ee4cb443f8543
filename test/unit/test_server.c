/* Server: who may try WatchList, and for how long a refusal holds. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_one_asks_while_it_is_unknown),
		cmocka_unit_test(all_use_it_once_it_works),
		cmocka_unit_test(refusal_holds_for_a_day),
		cmocka_unit_test(refusal_holds_until_the_server_was_away),
		cmocka_unit_test(one_refusal_is_for_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
