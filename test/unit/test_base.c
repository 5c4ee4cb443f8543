/* Base: the macros. */
#include "common/base.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void the_smaller_and_the_larger_evaluate_once(void **state)
{
	int n = 0, m = 10;

	assert_int_equal(MIN(++n, 5), 1);
	assert_int_equal(MAX(++n, 1), 2);
	assert_int_equal(MIN(5, m--), 5);
	assert_int_equal(MAX(5, m--), 9);
	assert_int_equal(n, 2);
	assert_int_equal(m, 8);
}

static void they_may_be_each_others_arguments(void **state)
{
	int n = 0;

	assert_int_equal(MIN(3, MIN(2, MIN(1, ++n))), 1);
	assert_int_equal(MAX(MIN(++n, 7), MAX(1, 0)), 2);
	assert_int_equal(n, 2);
}

static void the_type_is_that_of_both(void **state)
{
	uint64_t large = UINT64_C(1) << 40;

	assert_true(MAX(1u, large) == large);
	assert_true(MIN(large, 7u) == 7);
	assert_int_equal(sizeof(MIN(large, 7u)), sizeof large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_smaller_and_the_larger_evaluate_once),
		cmocka_unit_test(they_may_be_each_others_arguments),
		cmocka_unit_test(the_type_is_that_of_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
