/* The table of metrics, and their text. */
#include "agent/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/str.h"

static bool ends(const char *s, const char *suffix)
{
	size_t len = strlen(s), n = strlen(suffix);

	return len >= n && strcmp(s + len - n, suffix) == 0;
}

static void each_has_a_name_after_the_conventions(void **state)
{
	for (enum metric m = 0; m < METRICS_N; m++) {
		const struct metric_def *def = metric_def(m);

		assert_non_null(def->name);
		assert_true(str_starts(def->name, "secretlet_"));
		assert_int_equal(strspn(def->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(def->name));
		assert_int_equal(ends(def->name, "_total"), def->type == METRIC_COUNTER);
		if (def->type == METRIC_HISTOGRAM)
			assert_true(ends(def->name, "_seconds"));
		for (enum metric other = 0; other < m; other++)
			assert_string_not_equal(def->name, metric_def(other)->name);
	}
}

static void each_has_a_help_that_is_a_sentence(void **state)
{
	for (enum metric m = 0; m < METRICS_N; m++) {
		const char *help = metric_def(m)->help;

		assert_true(strlen(help) > 10);
		assert_true(ends(help, "."));
		assert_null(strpbrk(help, "\n\\"));
	}
}

static void a_metric_has_help_and_type_once(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(4096);
	struct exposition x = EXPOSITION_INIT(&b);

	exposition_count(&x, METRIC_PODS, METRIC_LABELS({ "state", "ready" }), 3);
	exposition_count(&x, METRIC_PODS, METRIC_LABELS({ "state", "waiting" }), 0);
	exposition_count(&x, METRIC_REMOVALS, NULL, UINT64_MAX);
	assert_int_equal(exposition_end(&x), 0);
	assert_string_equal(b.data, "# HELP secretlet_pods Pods of this node by state.\n"
				    "# TYPE secretlet_pods gauge\n"
				    "secretlet_pods{state=\"ready\"} 3\n"
				    "secretlet_pods{state=\"waiting\"} 0\n"
				    "# HELP secretlet_removals_total Volumes and pods that were removed.\n"
				    "# TYPE secretlet_removals_total counter\n"
				    "secretlet_removals_total 18446744073709551615\n");
}

static void labels_are_separated_and_escaped(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(4096);
	struct exposition x = EXPOSITION_INIT(&b);

	exposition_count(&x, METRIC_API_REQUESTS, METRIC_LABELS({ "verb", "a\"b\\c\nd" }, { "code", "<error>" }), 1);
	assert_int_equal(exposition_end(&x), 0);
	assert_non_null(
		strstr(b.data, "\nsecretlet_api_requests_total{verb=\"a\\\"b\\\\c\\nd\",code=\"<error>\"} 1\n"));
}

static void times_are_seconds(void **state)
{
	static const struct {
		uint64_t usec;
		const char *text;
	} cases[] = {
		{ 0, "0" }, { 1, "0.000001" }, { 250, "0.00025" }, { 1500000, "1.5" }, { 60 * USEC_PER_SEC, "60" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *line = str_format("\nsecretlet_inflight_age_seconds %s\n", cases[i].text);
		cleanup_buf struct buf b = BUF_INIT(4096);
		struct exposition x = EXPOSITION_INIT(&b);

		exposition_usec(&x, METRIC_INFLIGHT_AGE, NULL, cases[i].usec);
		assert_non_null(strstr(b.data, line));
	}
}

static void a_histogram_is_cumulative(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(8192);
	struct exposition x = EXPOSITION_INIT(&b);
	struct histogram h = { .sum_usec = 0 };

	histogram_observe(&h, 0);
	histogram_observe(&h, 250); /* a bound belongs to its bucket */
	histogram_observe(&h, 251);
	histogram_observe(&h, 61 * USEC_PER_SEC);
	assert_int_equal(histogram_count(&h), 4);
	exposition_histogram(&x, METRIC_EVENT_VISIBLE, METRIC_LABELS({ "a", "b" }), &h);
	assert_int_equal(exposition_end(&x), 0);
	assert_non_null(strstr(b.data, "# TYPE secretlet_event_visible_seconds histogram\n"
				       "secretlet_event_visible_seconds_bucket{a=\"b\",le=\"0.00025\"} 2\n"
				       "secretlet_event_visible_seconds_bucket{a=\"b\",le=\"0.0005\"} 3\n"));
	assert_non_null(strstr(b.data, "secretlet_event_visible_seconds_bucket{a=\"b\",le=\"60\"} 3\n"
				       "secretlet_event_visible_seconds_bucket{a=\"b\",le=\"+Inf\"} 4\n"
				       "secretlet_event_visible_seconds_sum{a=\"b\"} 61.000501\n"
				       "secretlet_event_visible_seconds_count{a=\"b\"} 4\n"));
}

static void too_much_text_is_an_error(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(128);
	struct exposition x = EXPOSITION_INIT(&b);

	for (int i = 0; i < 10; i++)
		exposition_count(&x, METRIC_REMOVALS, NULL, 1);
	assert_int_equal(exposition_end(&x), -ENOBUFS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_has_a_name_after_the_conventions),
		cmocka_unit_test(each_has_a_help_that_is_a_sentence),
		cmocka_unit_test(a_metric_has_help_and_type_once),
		cmocka_unit_test(labels_are_separated_and_escaped),
		cmocka_unit_test(times_are_seconds),
		cmocka_unit_test(a_histogram_is_cumulative),
		cmocka_unit_test(too_much_text_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
