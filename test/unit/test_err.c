/* Errors: the sentence survives everything that foreign text can do to it. */
#include "common/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/str.h"

static void set_writes_the_sentence_and_returns_the_code(void **state)
{
	struct err e = ERR_INIT;

	assert_int_equal(err_set(&e, -ENOENT, "open %s: %d", "/x", 7), -ENOENT);
	assert_int_equal(e.code, -ENOENT);
	assert_string_equal(err_text(&e), "open /x: 7");
}

static void set_again_replaces_the_sentence(void **state)
{
	struct err e = ERR_INIT;

	err_set(&e, -ENOENT, "a long first sentence");
	err_set(&e, -EIO, "short");
	assert_int_equal(e.code, -EIO);
	assert_string_equal(err_text(&e), "short");
}

static void set_may_quote_the_sentence_it_replaces(void **state)
{
	struct err e = ERR_INIT;

	err_set(&e, -EIO, "disk");
	err_set(&e, -EINVAL, "%s, then %s", err_text(&e), e.text);
	assert_string_equal(err_text(&e), "disk, then disk");
}

static void percent_m_is_errno_and_errno_is_kept(void **state)
{
	struct err e = ERR_INIT;

	errno = ENOSPC;
	err_set(&e, -errno, "write: %m");
	assert_int_equal(errno, ENOSPC);
	assert_string_equal(err_text(&e), "write: No space left on device");
	err_wrap(&e, -EIO, "context");
	assert_int_equal(errno, ENOSPC);
}

static void null_error_is_only_the_code(void **state)
{
	assert_int_equal(err_set(NULL, -EIO, "%s", "x"), -EIO);
	assert_int_equal(err_wrap(NULL, -EPERM, "%s", "x"), -EPERM);
	assert_non_null(err_text(NULL));
}

static void text_without_a_sentence_is_the_code_in_words(void **state)
{
	struct err e = ERR_INIT;

	e.code = -EACCES;
	assert_string_equal(err_text(&e), "Permission denied");
	e.code = -100000;
	assert_string_equal(err_text(&e), "unknown error");
}

static void wrap_puts_context_in_front_and_keeps_the_code(void **state)
{
	struct err e = ERR_INIT;

	err_set(&e, -ENOENT, "open x");
	assert_int_equal(err_wrap(&e, -EIO, "pod %s", "p"), -ENOENT);
	assert_int_equal(e.code, -ENOENT);
	assert_string_equal(err_text(&e), "pod p: open x");
	err_wrap(&e, -EIO, "agent");
	assert_string_equal(err_text(&e), "agent: pod p: open x");
}

static void wrap_of_an_empty_error_takes_the_code(void **state)
{
	struct err e = ERR_INIT;

	assert_int_equal(err_wrap(&e, -ENOMEM, "read %s", "f"), -ENOMEM);
	assert_int_equal(e.code, -ENOMEM);
	assert_string_equal(err_text(&e), "read f: Cannot allocate memory");
}

static void control_characters_become_question_marks(void **state)
{
	static const struct {
		const char *in, *out;
	} CASES[] = {
		{ "a\nb", "a?b" },
		{ "\x1b[31mred", "?[31mred" },
		{ "\r\t\x7f", "???" },
		{ "c1 \xc2\x9b 31m", "c1 ?? 31m" },
		{ "caf\xc3\xa9 \xc2\xa0 \xe2\x82\xac", "caf\xc3\xa9 \xc2\xa0 \xe2\x82\xac" },
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		err_set(&e, -EINVAL, "%s", CASES[i].in);
		assert_string_equal(err_text(&e), CASES[i].out);
		err_set(&e, -EINVAL, "x");
		err_wrap(&e, -EINVAL, "%s", CASES[i].in);
		assert_int_equal(strncmp(err_text(&e), CASES[i].out, strlen(CASES[i].out)), 0);
	}
}

static void too_long_text_is_cut_and_ends_in_dots(void **state)
{
	char big[2 * ERR_TEXT_MAX];
	struct err e = ERR_INIT;

	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	err_set(&e, -EINVAL, "%s", big);
	assert_int_equal(strlen(err_text(&e)), ERR_TEXT_MAX - 1);
	assert_string_equal(err_text(&e) + ERR_TEXT_MAX - 5, "x...");

	err_wrap(&e, -EINVAL, "front");
	assert_int_equal(strncmp(err_text(&e), "front: xxx", 10), 0);
	assert_string_equal(err_text(&e) + ERR_TEXT_MAX - 5, "x...");

	/* the longest that fits */
	big[ERR_TEXT_MAX - 1] = '\0';
	err_set(&e, -EINVAL, "%s", big);
	assert_string_equal(err_text(&e), big);
}

static void cut_does_not_split_a_utf8_sequence(void **state)
{
	char big[2 * ERR_TEXT_MAX + 4];
	struct err e = ERR_INIT;

	for (size_t shift = 0; shift < 4; shift++) {
		size_t n = 0;

		while (n < shift)
			big[n++] = 'x';
		for (; n + 4 < sizeof(big); n += 4)
			memcpy(big + n, "\xf0\x9f\x98\x80", 4);
		big[n] = '\0';
		err_set(&e, -EINVAL, "%s", big);
		assert_true(str_is_utf8(err_text(&e), strlen(err_text(&e))));
		assert_string_equal(err_text(&e) + strlen(err_text(&e)) - 3, "...");
	}
}

static void a_note_is_a_copy(void **state)
{
	char text[] = "no route", big[2 * ERR_TEXT_MAX];
	err_note note = ERR_NOTE_NONE;

	assert_string_equal(note, "");
	err_note_set(&note, text);
	text[0] = 'X';
	assert_string_equal(note, "no route");
	err_note_set(&note, note);
	assert_string_equal(note, "no route");
	err_note_set(&note, note + 3);
	assert_string_equal(note, "route");
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	err_note_set(&note, big);
	assert_int_equal(strlen(note), ERR_TEXT_MAX - 1);
	err_note_clear(&note);
	assert_ptr_equal(note, ERR_NOTE_NONE);
	err_note_clear(&note);
	assert_ptr_equal(note, ERR_NOTE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_writes_the_sentence_and_returns_the_code),
		cmocka_unit_test(set_again_replaces_the_sentence),
		cmocka_unit_test(set_may_quote_the_sentence_it_replaces),
		cmocka_unit_test(percent_m_is_errno_and_errno_is_kept),
		cmocka_unit_test(null_error_is_only_the_code),
		cmocka_unit_test(text_without_a_sentence_is_the_code_in_words),
		cmocka_unit_test(wrap_puts_context_in_front_and_keeps_the_code),
		cmocka_unit_test(wrap_of_an_empty_error_takes_the_code),
		cmocka_unit_test(control_characters_become_question_marks),
		cmocka_unit_test(too_long_text_is_cut_and_ends_in_dots),
		cmocka_unit_test(cut_does_not_split_a_utf8_sequence),
		cmocka_unit_test(a_note_is_a_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
