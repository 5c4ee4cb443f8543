/* Table: alignment, and that no text can steer a terminal. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/table.h"

static void print(const struct table *t, bool colour, char *text, size_t size)
{
	cleanup_file FILE *f = fmemopen(text, size, "w");

	assert_non_null(f);
	assert_int_equal(table_print(t, f, colour), 0);
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
	static const char *const headers[] = { "POD", "N", "ERROR" };
	cleanup_table struct table *t = NULL;
	char text[512] = "";

	assert_int_equal(table_new(3, headers, &t), 0);
	table_add(t, TABLE_PLAIN, "a");
	table_addf(t, TABLE_PLAIN, "%d", 100000);
	table_add(t, TABLE_PLAIN, "");
	table_add(t, TABLE_PLAIN, "default/web");
	table_add(t, TABLE_PLAIN, NULL);
	table_add(t, TABLE_PLAIN, "not found");
	print(t, false, text, sizeof(text));
	assert_string_equal(text, "POD          N       ERROR\n"
				  "a            100000  -\n"
				  "default/web  -       not found\n");
}

static void a_table_without_rows_is_its_headers(void **state)
{
	static const char *const headers[] = { "A", "B" };
	cleanup_table struct table *t = NULL;
	char text[64] = "";

	assert_int_equal(table_new(2, headers, &t), 0);
	print(t, false, text, sizeof(text));
	assert_string_equal(text, "A  B\n");
}

static void rows_below_headings_are_indented(void **state)
{
	cleanup_table struct table *t = NULL;
	char text[256] = "";

	assert_int_equal(table_new(2, NULL, &t), 0);
	table_add_heading(t, "a long heading is no column");
	table_add(t, TABLE_PLAIN, "key");
	table_add(t, TABLE_PLAIN, "value");
	table_add_heading(t, "b");
	table_add(t, TABLE_PLAIN, "longer");
	table_add(t, TABLE_PLAIN, "v");
	print(t, false, text, sizeof(text));
	assert_string_equal(text, "a long heading is no column\n"
				  "  key     value\n"
				  "b\n"
				  "  longer  v\n");
}

static void colours_are_written_only_when_wanted(void **state)
{
	cleanup_table struct table *t = NULL;
	char text[256] = "";

	assert_int_equal(table_new(2, NULL, &t), 0);
	table_add(t, TABLE_GOOD, "ready");
	table_add(t, TABLE_PLAIN, "x");
	table_add(t, TABLE_BAD, "failed");
	table_add(t, TABLE_PLAIN, "y");
	print(t, true, text, sizeof(text));
	assert_string_equal(text, "\033[32mready\033[0m   x\n\033[31mfailed\033[0m  y\n");
	print(t, false, text, sizeof(text));
	assert_string_equal(text, "ready   x\nfailed  y\n");
}

static void no_text_can_steer_a_terminal(void **state)
{
	static const struct {
		const char *text, *escaped;
	} cases[] = {
		{ "", "" },
		{ "plain text, with \"quotes\" \\ and 'more'", "plain text, with \"quotes\" \\ and 'more'" },
		{ "\033[2J", "\\x1b[2J" },
		{ "a\nb\r\tc\x7f", "a\\x0ab\\x0d\\x09c\\x7f" },
		{ "\x9b"
		  "31m",
		  "\\x9b31m" },
		{ "\xc2\x9b"
		  "31m",
		  "\\xc2\\x9b31m" },
		{ "\xc2\xa0", "\xc2\xa0" },
		{ "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
		{ "\xe2\x82\xac\xf0\x9f\x98\x80", "\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "\xe2\x82", "\\xe2\\x82" },
		{ "\xe2\x82\033", "\\xe2\\x82\\x1b" },
		{ "\xc0\xaf", "\\xc0\\xaf" },
		{ "\xff\xfe", "\\xff\\xfe" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *escaped = table_escape(cases[i].text);

		assert_non_null(escaped);
		assert_string_equal(escaped, cases[i].escaped);
	}
}

static void cells_are_escaped_and_measured(void **state)
{
	cleanup_table struct table *t = NULL;
	char text[256] = "";

	assert_int_equal(table_new(2, NULL, &t), 0);
	table_add(t, TABLE_PLAIN, "gr\xc3\xbc\xc3\x9f");
	table_add(t, TABLE_PLAIN, "1");
	table_add(t, TABLE_PLAIN, "\033");
	table_addf(t, TABLE_PLAIN, "%s", "\n");
	print(t, false, text, sizeof(text));
	assert_string_equal(text, "gr\xc3\xbc\xc3\x9f  1\n\\x1b  \\x0a\n");
}

static void a_text_without_an_end_is_cut(void **state)
{
	cleanup_free char *longer = calloc(1, 100001), *escaped = NULL;

	assert_non_null(longer);
	memset(longer, '\033', 100000);
	escaped = table_escape(longer);
	assert_non_null(escaped);
	assert_true(strlen(escaped) <= 4096);
}

static void a_file_is_coloured_only_if_that_is_asked_for(void **state)
{
	cleanup_file FILE *f = tmpfile();
	enum table_colour when;

	assert_non_null(f);
	assert_false(table_wants_colour(f));
	assert_int_equal(table_colour_parse("always", &when), 0);
	table_set_colour(when);
	assert_true(table_wants_colour(f));
	assert_int_equal(table_colour_parse("never", &when), 0);
	table_set_colour(when);
	assert_false(table_wants_colour(f));
	assert_int_equal(table_colour_parse("auto", &when), 0);
	table_set_colour(when);
	assert_false(table_wants_colour(f));
	assert_int_equal(table_colour_parse("Auto", &when), -EINVAL);
	assert_int_equal(table_colour_parse("", &when), -EINVAL);
}

static void single_rows_keep_the_widths_that_were(void **state)
{
	static const char *const headers[] = { "A", "B" };
	cleanup_table struct table *t = NULL;
	cleanup_free char *text = NULL;
	cleanup_file FILE *f = NULL;
	size_t widths[2] = { 4, 0 }, len;

	assert_int_equal(table_new(2, headers, &t), 0);
	table_add(t, TABLE_PLAIN, "a");
	table_add(t, TABLE_PLAIN, "b");
	table_add(t, TABLE_PLAIN, "longer");
	table_add(t, TABLE_PLAIN, "b");
	assert_int_equal(table_rows(t), 3);
	assert_string_equal(table_text(t, 2, 0), "longer");
	assert_int_equal(table_set(t, 1, 1, TABLE_GOOD, "\033"), 0);
	assert_string_equal(table_text(t, 1, 1), "\\x1b");
	f = open_memstream(&text, &len);
	assert_non_null(f);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(table_measure_row(t, i, widths), 0);
		table_print_row(t, i, widths, f, false);
	}
	fflush(f);
	assert_string_equal(text, "A     B\na     \\x1b\nlonger  b\n");
}

/* As table_print_words() prints it. */
static void words_are(size_t indent, size_t width, const char *text, const char *expected)
{
	cleanup_free char *printed = NULL;
	cleanup_file FILE *f = NULL;
	size_t len;

	f = open_memstream(&printed, &len);
	assert_non_null(f);
	assert_int_equal(table_print_words(f, indent, width, text), 0);
	fflush(f);
	assert_string_equal(printed, expected);
}

static void words_fill_lines_of_a_width(void **state)
{
	words_are(2, 0, "one two  three", "  one two  three\n");
	words_are(2, 9, "one two three", "  one two\n  three\n");
	words_are(2, 8, "one two three", "  one\n  two\n  three\n");
	words_are(0, 4, "1234 123456 1", "1234\n123456\n1\n");
	words_are(4, 3, "word w", "    word\n    w\n");
	words_are(1, 4, "\xc3\xa4\xc3\xa4 \xc3\xa4 \033", " \xc3\xa4\xc3\xa4\n \xc3\xa4\n \\x1b\n");
	words_are(2, 9, "one two  three", "  one two\n  three\n");
	words_are(2, 9, "  one", "  one\n");
	words_are(0, 3, "one  two", "one\ntwo\n");
	words_are(1, 9, "", "\n");
}

static void a_file_is_no_terminal(void **state)
{
	cleanup_file FILE *f = tmpfile();

	assert_non_null(f);
	assert_int_equal(table_terminal_width(f), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
		cmocka_unit_test(a_table_without_rows_is_its_headers),
		cmocka_unit_test(rows_below_headings_are_indented),
		cmocka_unit_test(colours_are_written_only_when_wanted),
		cmocka_unit_test(no_text_can_steer_a_terminal),
		cmocka_unit_test(cells_are_escaped_and_measured),
		cmocka_unit_test(a_text_without_an_end_is_cut),
		cmocka_unit_test(a_file_is_coloured_only_if_that_is_asked_for),
		cmocka_unit_test(single_rows_keep_the_widths_that_were),
		cmocka_unit_test(words_fill_lines_of_a_width),
		cmocka_unit_test(a_file_is_no_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
