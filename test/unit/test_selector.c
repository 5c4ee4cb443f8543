/* Selector: what is selected, and where what is wrong. */
#include "agent/selector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char app[] = "app", web[] = "web", canary[] = "canary", empty[] = "", level[] = "example.com/level",
	    five[] = "5", in[] = "in";
/* sorted by key */
static const struct label LABELS[] = {
	{ app, web },
	{ canary, empty },
	{ level, five },
	{ web, in },
};

static void what_is_selected(void **state)
{
	static const struct {
		const char *text;
		bool yes;
	} cases[] = {
		{ "", true },
		{ " \t\n ", true },
		{ "app", true },
		{ "ap", false },
		{ "!app", false },
		{ "!other", true },
		{ " ! other ", true },
		{ "app=web", true },
		{ "app==web", true },
		{ " app = web ", true },
		{ "app=db", false },
		{ "app=we", false },
		{ "other=web", false },
		{ "app!=db", true },
		{ "app!=web", false },
		{ "other!=web", true },
		{ "canary=", true },
		{ "canary=,app", true },
		{ "app=", false },
		{ "app!=", true },
		{ "canary", true },
		{ "app in (db,web)", true },
		{ "app in(db, web)", true },
		{ "app in ( db )", false },
		{ "app in (,)", false },
		{ "canary in (,)", true },
		{ "canary in ()", true },
		{ "app in ()", false },
		{ "app notin ()", true },
		{ "canary in (x,)", true },
		{ "canary in (,x)", true },
		{ "canary in (x,,y)", true },
		{ "app notin (db,cache)", true },
		{ "app notin (db,web)", false },
		{ "other notin (db)", true },
		{ "other in (db)", false },
		{ "web in (in, notin)", true },
		{ "web=in", true },
		{ "web!=notin", true },
		{ "example.com/level=5", true },
		{ "example.com/level>4", true },
		{ "example.com/level>5", false },
		{ "example.com/level < 6", true },
		{ "example.com/level<5", false },
		{ "example.com/level>-1", true },
		{ "app>1", false },
		{ "other<1", false },
		{ "app=web,canary", true },
		{ "app=web,canary,!canary", false },
		{ "app=db,canary", false },
		{ "app,app in (web),app notin (db),app!=x", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(selector_freep) struct selector *sel = NULL;
		struct err e = ERR_INIT;

		if (selector_parse(cases[i].text, &sel, &e) < 0)
			fail_msg("%s: %s", cases[i].text, err_text(&e));
		if (selector_matches(sel, LABELS, ARRAY_SIZE(LABELS)) != cases[i].yes)
			fail_msg("%s", cases[i].text);
	}
}

static void nothing_has_no_labels(void **state)
{
	static const struct {
		const char *text;
		bool yes;
	} cases[] = { { "", true }, { "app", false }, { "!app", true }, { "app!=web", true }, { "app=", false } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(selector_freep) struct selector *sel = NULL;

		assert_int_equal(selector_parse(cases[i].text, &sel, NULL), 0);
		assert_int_equal(selector_matches(sel, NULL, 0), cases[i].yes);
	}
}

static void refusals_name_the_place(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{ ",", "column 1: a label's key is expected, not ','" },
		{ "app,", "column 5: a label's key is expected, it ends there" },
		{ "app,,b", "column 5: a label's key is expected, not ','" },
		{ "=web", "column 1: a label's key is expected, not '='" },
		{ "!", "column 2: a label's key is expected, it ends there" },
		{ "!!app", "column 2: a label's key is expected, not '!'" },
		{ "!app=web", "column 5: ',' is expected, not '='" },
		{ "app web", "column 5: ',' or one of = == != > < in notin is expected, not 'web'" },
		{ "app)", "column 4: ',' or one of = == != > < in notin is expected, not ')'" },
		{ "app=web db", "column 9: ',' or the end" },
		{ "app===web", "column 6: a value is expected, not '='" },
		{ "app=(web)", "column 5: a value is expected, not '('" },
		{ "app in", "column 7: '(' is expected, it ends there" },
		{ "app in web", "column 8: '(' is expected, not 'web'" },
		{ "app in (web", "column 12: ',' or ')' is expected, it ends there" },
		{ "app in (web db)", "column 13: ',' or ')' is expected, not 'db'" },
		{ "app in (web=db)", "column 12: ',' or ')' is expected, not '='" },
		{ "app in (web) x", "column 14: ',' or the end" },
		{ "in (a)", "column 1: a label's key is expected, not 'in'" },
		{ "a>", "column 3: a whole number is expected, it ends there" },
		{ "a>b", "column 3: a whole number is expected, not 'b'" },
		{ "a>9999999999999999999", "column 3: a whole number is expected" },
		{ "-app", "column 1: this is no label's key" },
		{ "a/b/c", "column 1: this is no label's key" },
		{ "Not_DNS/b", "column 1: this is no label's key" },
		{ "/b", "column 1: this is no label's key" },
		{ "x=-b", "column 3: this is no label's value" },
		{ "x=a/b", "column 3: this is no label's value" },
		{ "x in (a, b.)", "column 10: this is no label's value" },
		{ "x=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "column 3: this is no" },
		{ "x=\xc3\xa4", "column 3: this is no label's value" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct selector *sel = NULL;
		struct err e = ERR_INIT;

		if (selector_parse(cases[i].text, &sel, &e) != -EINVAL)
			fail_msg("%s is accepted", cases[i].text);
		assert_null(sel);
		if (strncmp(err_text(&e), cases[i].expected, strlen(cases[i].expected)) != 0)
			fail_msg("%s: %s", cases[i].text, err_text(&e));
	}
}

static void longest_is_accepted_and_one_more_is_not(void **state)
{
	cleanup_free char *text = calloc(1, SELECTOR_TEXT_MAX + 2);
	struct selector *sel = NULL;
	struct err e = ERR_INIT;

	memset(text, ' ', SELECTOR_TEXT_MAX);
	assert_int_equal(selector_parse(text, &sel, &e), 0);
	selector_free(sel);
	text[SELECTOR_TEXT_MAX] = ' ';
	assert_int_equal(selector_parse(text, &sel, &e), -EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_selected),
		cmocka_unit_test(nothing_has_no_labels),
		cmocka_unit_test(refusals_name_the_place),
		cmocka_unit_test(longest_is_accepted_and_one_more_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
