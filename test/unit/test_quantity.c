/* Quantity: apimachinery's quantity_test.go as far as it concerns us, and what is none. */
#include "common/quantity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void quantities_are_read(void **state)
{
	static const struct {
		const char *text;
		int64_t milli, value;
	} CASES[] = {
		{ "0", 0, 0 },
		{ "1", 1000, 1 },
		{ "+1", 1000, 1 },
		{ "100m", 100, 1 },
		{ "1500m", 1500, 2 },
		{ "1m", 1, 1 },
		{ "1u", 1, 1 },
		{ "1n", 1, 1 },
		{ ".5", 500, 1 },
		{ "5.", 5000, 5 },
		{ "0.0000000001", 1, 1 },
		{ "0.1", 100, 1 },
		{ "1.5Gi", 1610612736000, 1610612736 },
		{ "1Ki", 1024000, 1024 },
		{ "128974848", 128974848000, 128974848 },
		{ "129e6", 129000000000, 129000000 },
		{ "129E6", 129000000000, 129000000 },
		{ "129M", 129000000000, 129000000 },
		{ "123Mi", 128974848000, 128974848 },
		{ "1e-3", 1, 1 },
		{ "12k", 12000000, 12000 },
		{ "1E", INT64_MAX, 1000000000000000000 },
		{ "7Ei", INT64_MAX, 8070450532247928832 },
		{ "-1", -1000, -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct quantity q;

		if (quantity_parse(CASES[i].text, &q) < 0 || quantity_milli(&q) != CASES[i].milli ||
		    quantity_value(&q) != CASES[i].value)
			fail_msg("%s: %lld %lld", CASES[i].text, (long long)quantity_milli(&q),
				 (long long)quantity_value(&q));
	}
}

static void what_is_none_is_refused(void **state)
{
	static const char *const NONE[] = { "",	   ".",	 "m",	"1mm",	"1 ",  " 1",	"1 Gi", "1KI", "1ki", "1K",
					    "0x1", "1e", "1e+", "1ee3", "--1", "1.1.1", "x",	"1Bi", "Gi" };
	static const char *const LARGE[] = { "8Ei",  "10E",   "9223372036854775808",
					     "1e19", "1e400", "99999999999999999999999999" };
	struct quantity q = { 42 };

	for (size_t i = 0; i < ARRAY_SIZE(NONE); i++)
		if (quantity_parse(NONE[i], &q) != -EINVAL)
			fail_msg("%s", NONE[i]);
	for (size_t i = 0; i < ARRAY_SIZE(LARGE); i++)
		if (quantity_parse(LARGE[i], &q) != -ERANGE)
			fail_msg("%s", LARGE[i]);
	assert_true(q.nano == 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantities_are_read),
		cmocka_unit_test(what_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
