/* The text of the health checks, and which path is which page. */
#include "agent/health.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/pages.h"

static void what_is_well_is_ok(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(1024), verbose = BUF_INIT(1024);
	struct health h = { .n = 0 };

	health_add(&h, "loop", NULL);
	health_add(&h, "mount", NULL);
	assert_true(health_is_good(&h));
	assert_int_equal(health_text(&h, "healthz", false, &b), 0);
	assert_string_equal(b.data, "ok");
	assert_int_equal(health_text(&h, "healthz", true, &verbose), 0);
	assert_string_equal(verbose.data, "[+]loop ok\n[+]mount ok\nhealthz check passed\n");
}

static void what_fails_says_why(void **state)
{
	struct health h = { .n = 0 };

	health_add(&h, "loop", NULL);
	health_add(&h, "sync", "the first list has %d gaps", 3);
	assert_false(health_is_good(&h));
	for (int verbose = 0; verbose < 2; verbose++) {
		cleanup_buf struct buf b = BUF_INIT(1024);

		assert_int_equal(health_text(&h, "readyz", verbose, &b), 0);
		assert_string_equal(b.data,
				    "[+]loop ok\n[-]sync failed: the first list has 3 gaps\nreadyz check failed\n");
	}
}

static void a_text_that_does_not_fit_is_an_error(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(16);
	struct health h = { .n = 0 };

	health_add(&h, "loop", NULL);
	assert_int_equal(health_text(&h, "readyz", true, &b), -ENOBUFS);
}

static void a_path_is_a_page_or_none(void **state)
{
	assert_int_equal(page_find("/metrics"), PAGE_METRICS);
	assert_int_equal(page_find("/healthz"), PAGE_HEALTHZ);
	assert_int_equal(page_find("/readyz"), PAGE_READYZ);
	assert_int_equal(page_find("metrics"), PAGES_N);
	assert_int_equal(page_find("/metrics/"), PAGES_N);
	assert_int_equal(page_find("//metrics"), PAGES_N);
	assert_int_equal(page_find("/"), PAGES_N);
	assert_int_equal(page_find(""), PAGES_N);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_well_is_ok),
		cmocka_unit_test(what_fails_says_why),
		cmocka_unit_test(a_text_that_does_not_fit_is_an_error),
		cmocka_unit_test(a_path_is_a_page_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
