/* Strings: what the parsers take and, longer, what they refuse. */
#include "common/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <cmocka.h>

static void format_gives_fresh_memory(void **state)
{
	cleanup_free char *a = NULL, *b = NULL;

	assert_int_equal(str_printf(&a, "%s-%d", "x", 1), 0);
	b = str_format("%s", a);
	assert_string_equal(a, "x-1");
	assert_string_equal(b, "x-1");
	assert_ptr_not_equal(a, b);
}

static void numbers_are_decimal_and_bounded(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		int r;
		uint64_t value;
	} CASES[] = {
		{ "0", 0, 0, 0 },
		{ "00012", 12, 0, 12 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999999", UINT64_MAX, -ERANGE, 0 },
		{ "13", 12, -ERANGE, 0 },
		{ "99999999999999999999999999x", UINT64_MAX, -EINVAL, 0 },
		{ "", 9, -EINVAL, 0 },
		{ "-1", 9, -EINVAL, 0 },
		{ "+1", 9, -EINVAL, 0 },
		{ " 1", 9, -EINVAL, 0 },
		{ "1 ", 9, -EINVAL, 0 },
		{ "1\n", 9, -EINVAL, 0 },
		{ "0x1", 9, -EINVAL, 0 },
		{ "1e3", 9999, -EINVAL, 0 },
		{ "1.0", 9, -EINVAL, 0 },
		{ "\xd9\xa1", 9, -EINVAL, 0 }, /* Arabic digit one */
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		uint64_t value = 4711;

		assert_int_equal(str_parse_u64(CASES[i].text, CASES[i].max, &value), CASES[i].r);
		assert_int_equal(value, CASES[i].r < 0 ? 4711 : CASES[i].value);
	}
}

static void durations_are_read_as_go_does(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t usec;
	} CASES[] = {
		{ "0", 0, 0 },
		{ "0s", 0, 0 },
		{ "30s", 0, 30000000 },
		{ "1m30s", 0, 90000000 },
		{ "250ms", 0, 250000 },
		{ "1h", 0, UINT64_C(3600000000) },
		{ "1.5s", 0, 1500000 },
		{ ".5s", 0, 500000 },
		{ "1.s", 0, 1000000 },
		{ "100us", 0, 100 },
		{ "100\xc2\xb5s", 0, 100 },
		{ "100\xce\xbcs", 0, 100 },
		{ "1999ns", 0, 1 },
		{ "500ns500ns", 0, 1 },
		{ "1h1h", 0, UINT64_C(7200000000) },
		{ "0.333333333333333333333333333333h", 0, 1199999999 },
		{ "2562047h47m16.854775807s", 0, INT64_MAX / 1000 },
		{ "2562047h47m16.854775808s", -ERANGE, 0 },
		{ "2562048h", -ERANGE, 0 },
		{ "99999999999999999999s", -ERANGE, 0 },
		{ "5124095h5124095h5124095h5124095h", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "1", -EINVAL, 0 },
		{ "30", -EINVAL, 0 },
		{ "00", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ ".s", -EINVAL, 0 },
		{ ".", -EINVAL, 0 },
		{ "-1s", -EINVAL, 0 },
		{ "+1s", -EINVAL, 0 },
		{ "1s ", -EINVAL, 0 },
		{ " 1s", -EINVAL, 0 },
		{ "1 s", -EINVAL, 0 },
		{ "1S", -EINVAL, 0 },
		{ "1d", -EINVAL, 0 },
		{ "1min", -EINVAL, 0 },
		{ "1sm", -EINVAL, 0 },
		{ "1..5s", -EINVAL, 0 },
		{ "1.5.5s", -EINVAL, 0 },
		{ "1e3s", -EINVAL, 0 },
		{ "1h30", -EINVAL, 0 },
		{ "1\xc2s", -EINVAL, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		uint64_t usec = 4711;

		assert_int_equal(str_parse_duration(CASES[i].text, &usec), CASES[i].r);
		assert_int_equal(usec, CASES[i].r < 0 ? 4711 : CASES[i].usec);
	}
}

static void ages_have_at_most_two_units(void **state)
{
	static const struct {
		uint64_t usec;
		const char *text;
	} CASES[] = {
		{ 0, "0ms" },
		{ 999, "0ms" },
		{ 250000, "250ms" },
		{ 999999, "999ms" },
		{ 1000000, "1s" },
		{ 12000000, "12s" },
		{ 184 * USEC_PER_SEC, "3m4s" },
		{ 3599 * USEC_PER_SEC, "59m59s" },
		{ 18120 * USEC_PER_SEC, "5h2m" },
		{ (8 * 86400 + 3 * 3600 + 59) * USEC_PER_SEC, "8d3h" },
		{ UINT64_MAX, "213503982d8h" },
	};
	char text[STR_AGE_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++)
		assert_string_equal(str_format_age(CASES[i].usec, text), CASES[i].text);
}

static void times_are_rfc3339_in_utc(void **state)
{
	char text[STR_TIME_MAX];

	setenv("TZ", "Asia/Tokyo", 1);
	tzset();
	assert_string_equal(str_format_time(0, text), "1970-01-01T00:00:00Z");
	assert_string_equal(str_format_time(UINT64_C(1795326605999999), text), "2026-11-22T05:50:05Z");
	unsetenv("TZ");
	tzset();
	str_format_time(UINT64_MAX, text);
	assert_true(strlen(text) < STR_TIME_MAX);
}

static void dns_names_follow_rfc_1123(void **state)
{
	static const struct {
		const char *text;
		bool label, subdomain;
	} CASES[] = {
		{ "a", true, true },	  { "0", true, true },		{ "a-b", true, true },
		{ "a--b", true, true },	  { "a.b", false, true },	{ "kube-root-ca.crt", false, true },
		{ "", false, false },	  { "-a", false, false },	{ "a-", false, false },
		{ "-", false, false },	  { "A", false, false },	{ "a_b", false, false },
		{ "a b", false, false },  { "a\n", false, false },	{ "a/b", false, false },
		{ ".", false, false },	  { "..", false, false },	{ ".a", false, false },
		{ "a.", false, false },	  { "a..b", false, false },	{ "a.-b", false, false },
		{ "a-.b", false, false }, { "\xc3\xa9", false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		assert_int_equal(str_is_dns_label(CASES[i].text), CASES[i].label);
		assert_int_equal(str_is_dns_subdomain(CASES[i].text), CASES[i].subdomain);
	}
}

static void dns_names_have_maximum_lengths(void **state)
{
	char text[256];

	memset(text, 'a', sizeof(text));
	text[63] = '\0';
	assert_true(str_is_dns_label(text));
	text[63] = 'a';
	text[64] = '\0';
	assert_false(str_is_dns_label(text));
	assert_true(str_is_dns_subdomain(text)); /* as Kubernetes has it: only the whole is bounded */
	text[64] = 'a';
	text[253] = '\0';
	assert_true(str_is_dns_subdomain(text));
	text[253] = 'a';
	text[254] = '\0';
	assert_false(str_is_dns_subdomain(text));
}

static void label_names_follow_the_rules_of_kubernetes(void **state)
{
	static const struct {
		const char *text;
		bool name, qualified;
	} CASES[] = {
		{ "a", true, true },	   { "A", true, true },		 { "0", true, true },
		{ "A-b_c.9", true, true }, { "a..b", true, true },	 { "a.b/C_d", false, true },
		{ "0/a", false, true },	   { "", false, false },	 { "-a", false, false },
		{ "a-", false, false },	   { ".a", false, false },	 { "a_", false, false },
		{ "a b", false, false },   { "\xc3\xa9", false, false }, { "/a", false, false },
		{ "a/", false, false },	   { "a/b/c", false, false },	 { "A/b", false, false },
		{ "a_b/c", false, false }, { "/", false, false },	 { "a//b", false, false },
		{ "a/-b", false, false },
	};
	char text[512];

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		assert_int_equal(str_is_label_name(CASES[i].text), CASES[i].name);
		assert_int_equal(str_is_qualified_name(CASES[i].text), CASES[i].qualified);
	}
	for (int more = 0; more < 3; more++) {
		size_t prefix = 253 + (more == 1), name = 63 + (more == 2);

		memset(text, 'a', sizeof(text));
		text[prefix] = '/';
		text[prefix + 1 + name] = '\0';
		assert_int_equal(str_is_label_name(text + prefix + 1), more != 2);
		assert_int_equal(str_is_qualified_name(text), more == 0);
	}
}

static void utf8_is_strict(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		bool ok;
	} CASES[] = {
		{ "", 0, true },
		{ "abc\0def", 7, true },
		{ "\x7f", 1, true },
		{ "\xc2\x80", 2, true },
		{ "\xdf\xbf", 2, true },
		{ "\xe0\xa0\x80", 3, true },
		{ "\xed\x9f\xbf", 3, true },
		{ "\xee\x80\x80", 3, true },
		{ "\xef\xbf\xbf", 3, true },
		{ "\xf0\x90\x80\x80", 4, true },
		{ "\xf4\x8f\xbf\xbf", 4, true },
		{ "a\xc3\xa9z", 4, true },
		{ "\x80", 1, false },
		{ "\xbf", 1, false },
		{ "\xc0\x80", 2, false }, /* overlong NUL */
		{ "\xc1\xbf", 2, false },
		{ "\xe0\x9f\xbf", 3, false },
		{ "\xf0\x8f\xbf\xbf", 4, false },
		{ "\xed\xa0\x80", 3, false }, /* surrogates */
		{ "\xed\xbf\xbf", 3, false },
		{ "\xf4\x90\x80\x80", 4, false }, /* U+110000 */
		{ "\xf5\x80\x80\x80", 4, false },
		{ "\xff", 1, false },
		{ "\xfe", 1, false },
		{ "\xc3", 1, false }, /* ends early */
		{ "\xe2\x82", 2, false },
		{ "\xf0\x9f\x98", 3, false },
		{ "\xc3\xa9", 1, false }, /* what follows is not ours */
		{ "\xe2\x82z", 3, false },
		{ "\xe2z\xac", 3, false },
		{ "\xf0\x9f\x98z", 4, false },
		{ "ok\xc3(", 4, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++)
		assert_int_equal(str_is_utf8(CASES[i].text, CASES[i].len), CASES[i].ok);
}

static void utf8_agrees_with_the_definition_for_every_code_point(void **state)
{
	for (uint32_t c = 0x80; c < 0x120000; c++) {
		char text[4];
		size_t n = 0;

		if (c >= 0x10000)
			text[n++] = (char)(0xf0 | c >> 18);
		if (c >= 0x800)
			text[n++] = (char)(c >= 0x10000 ? 0x80 | (c >> 12 & 0x3f) : 0xe0 | c >> 12);
		text[n++] = (char)(c >= 0x800 ? 0x80 | (c >> 6 & 0x3f) : 0xc0 | c >> 6);
		text[n++] = (char)(0x80 | (c & 0x3f));
		if (str_is_utf8(text, n) != (c <= 0x10ffff && (c < 0xd800 || c > 0xdfff)))
			fail_msg("U+%04X", c);
	}
}

static void utf8_len_is_that_of_the_first_sequence(void **state)
{
	assert_int_equal(str_utf8_len("", 0), 0);
	assert_int_equal(str_utf8_len("ab", 2), 1);
	assert_int_equal(str_utf8_len("\xc3\xa9z", 3), 2);
	assert_int_equal(str_utf8_len("\xf0\x9f\x98\x80z", 5), 4);
	assert_int_equal(str_utf8_len("\xf0\x9f\x98\x80", 3), 0);
	assert_int_equal(str_utf8_len("\xa9", 1), 0);
}

static void free_secret_takes_null_and_keeps_errno(void **state)
{
	char *s = strdup("token");

	errno = EBUSY;
	str_free_secret(NULL);
	str_free_secret(s);
	assert_int_equal(errno, EBUSY);
}

static void dotdot_is_an_element_of_its_own(void **state)
{
	static const char *const with[] = { "..", "../a", "a/..", "a/../b", "/..", "//..//" };
	static const char *const without[] = { "", "/", ".", "...", "..a", "a..", "a..b/c", "a/...", "a/..b/c", "./a" };

	for (size_t i = 0; i < ARRAY_SIZE(with); i++)
		assert_true(str_has_dotdot(with[i]));
	for (size_t i = 0; i < ARRAY_SIZE(without); i++)
		assert_false(str_has_dotdot(without[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dotdot_is_an_element_of_its_own),
		cmocka_unit_test(format_gives_fresh_memory),
		cmocka_unit_test(numbers_are_decimal_and_bounded),
		cmocka_unit_test(durations_are_read_as_go_does),
		cmocka_unit_test(ages_have_at_most_two_units),
		cmocka_unit_test(times_are_rfc3339_in_utc),
		cmocka_unit_test(dns_names_follow_rfc_1123),
		cmocka_unit_test(label_names_follow_the_rules_of_kubernetes),
		cmocka_unit_test(dns_names_have_maximum_lengths),
		cmocka_unit_test(utf8_is_strict),
		cmocka_unit_test(utf8_agrees_with_the_definition_for_every_code_point),
		cmocka_unit_test(utf8_len_is_that_of_the_first_sequence),
		cmocka_unit_test(free_secret_takes_null_and_keeps_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
