/* Audit group: what a kernel does not tell. */
#include "agent/audit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void opens_through_overlayfs_are_told_since_linux_6_5(void **state)
{
	static const struct {
		const char *release;
		bool missing;
	} cases[] = {
		{ "5.15.0-91-generic", true },
		{ "6.1.0-28-amd64", true },
		{ "6.4.16", true },
		{ "2.6.78", true },
		{ "6.5.0", false },
		{ "6.12.48+deb13-amd64", false },
		{ "7.0-rc1", false },
		{ "10.1", false },
		/* who knows */
		{ "", false },
		{ "linux", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(audit_missing(cases[i].release) != NULL, cases[i].missing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_through_overlayfs_are_told_since_linux_6_5),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
