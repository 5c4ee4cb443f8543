/* TEST_FILTER=PATTERN in the environment: only the tests whose names match run, in any test program. It is a
 * constructor, so that no program needs a line for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void __attribute__((constructor)) filter_tests(void)
{
	const char *pattern = getenv("TEST_FILTER");

	if (pattern)
		cmocka_set_test_filter(pattern);
}
