/* Only the tests whose names match run, in any test program: `test_reflector 'watch_410*'`, or TEST_FILTER=PATTERN in the
 * environment. It is a constructor, so that no program needs a line for it; glibc gives it main()'s arguments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void __attribute__((constructor)) filter_tests(int argc, char **argv)
{
	const char *pattern = argc > 1 ? argv[1] : getenv("TEST_FILTER");

	if (pattern)
		cmocka_set_test_filter(pattern);
}
