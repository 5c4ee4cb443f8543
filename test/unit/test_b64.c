/* Base64: Go's StdEncoding is the measure, in what it takes (line ends anywhere, stray bits) and in what it refuses. */
#include "common/b64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
	const char *text, *data; /* data NULL: refused */
} CASES[] = {
	{ "", "" },
	{ "Zg==", "f" },
	{ "Zm8=", "fo" },
	{ "Zm9v", "foo" },
	{ "Zm9vYg==", "foob" },
	{ "Zm9vYmFy", "foobar" },
	{ "+/+/", "\xfb\xff\xbf" },
	{ "\n", "" },
	{ "\r\n\r\n", "" },
	{ "Zm9v\n", "foo" },
	{ "Zm\r\n9v\nYmFy", "foobar" },
	{ "Z\ng\n=\n=\n", "f" },
	{ "Zm8\n=\r\n", "fo" },
	{ "Zh==", "f" }, /* bits behind the last byte: Go looks away */
	{ "Zm9=", "fo" },
	{ "Z", NULL },
	{ "Zg", NULL },
	{ "Zm8", NULL },
	{ "Zg=", NULL },
	{ "=", NULL },
	{ "==", NULL },
	{ "====", NULL },
	{ "Z=", NULL },
	{ "Z===", NULL },
	{ "Zg=g", NULL },
	{ "Zg===", NULL },
	{ "Zg==Zg==", NULL },
	{ "Zm8=Z", NULL },
	{ "Zm8==", NULL },
	{ "Zm9v=", NULL },
	{ "Zm9v====", NULL },
	{ "Zm9vZ", NULL },
	{ "Zm9vYg=", NULL },
	{ "Zm 9v", NULL },
	{ " Zm9v", NULL },
	{ "Zm9v ", NULL },
	{ "Zm9\t", NULL },
	{ "Zm9-", NULL }, /* URL alphabet */
	{ "Zm9_", NULL },
	{ "Zm9.", NULL },
	{ "Zm9:", NULL },
	{ "Zm9@", NULL },
	{ "Zm9[", NULL },
	{ "Zm9`", NULL },
	{ "Zm9{", NULL },
	{ "Zm\xc3\xa9", NULL },
	{ "Zm9\xff", NULL },
};

static void decode_takes_and_refuses_what_go_does(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		const char *text = CASES[i].text, *data = CASES[i].data;
		uint8_t out[32];
		size_t len = 4711;
		int r = b64_decode(text, strlen(text), out, sizeof(out), &len);

		if (r != (data ? 0 : -EINVAL))
			fail_msg("\"%s\" gave %d", text, r);
		assert_int_equal(len, data ? strlen(data) : 4711);
		if (data)
			assert_memory_equal(out, data, len);
	}
}

static void nul_is_not_base64(void **state)
{
	uint8_t out[8];
	size_t len;

	assert_int_equal(b64_decode("Zm9\0", 4, out, sizeof(out), &len), -EINVAL);
	assert_int_equal(b64_decode("Zm9v\0", 5, out, sizeof(out), &len), -EINVAL);
}

static void every_byte_outside_the_alphabet_is_refused(void **state)
{
	static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	/* at each place of a group that has another behind it; a line end is nowhere refused, and leaves the last one short */
	for (unsigned c = 0; c < 256; c++) {
		for (size_t place = 0; place < 4; place++) {
			char text[] = "AAAAAAAAAAAA";
			bool fits = c && strchr(ALPHABET, (int)c);
			uint8_t out[9] = { 0 };
			size_t len = 4711;

			text[4 + place] = (char)c;
			assert_int_equal(b64_decode(text, 12, out, sizeof(out), &len), fits ? 0 : -EINVAL);
			assert_int_equal(len, fits ? 9 : 4711);
		}
	}
	for (unsigned c = 0; c < 256; c++) {
		char text[4] = { 'A', 'A', 'A', (char)c };
		const char *at = c ? strchr(ALPHABET, (int)c) : NULL;
		uint8_t out[3];
		size_t len = 0;
		int r = b64_decode(text, 4, out, sizeof(out), &len);

		if (at) {
			assert_int_equal(r, 0);
			assert_int_equal(len, 3);
			assert_int_equal(out[2], at - ALPHABET);
		} else if (c == '=') {
			assert_int_equal(r, 0);
			assert_int_equal(len, 2);
		} else {
			assert_int_equal(r, -EINVAL);
		}
	}
}

static int value_of(char c)
{
	static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(ALPHABET, c) : NULL;

	return at ? (int)(at - ALPHABET) : -1;
}

/* Bit by bit. */
static void decode_slowly(const char *text, size_t len, uint8_t *out)
{
	memset(out, 0, len / 4 * 3);
	for (size_t i = 0; i < len * 6; i++)
		out[i / 8] |= (uint8_t)((value_of(text[i / 6]) >> (5 - i % 6) & 1) << (7 - i % 8));
}

/* Each byte at each place, in memory of just its size. */
static void a_long_text_is_taken_and_refused_as_a_short_one_is(void **state)
{
	for (size_t n = 33; n <= 69; n += 12) {
		cleanup_free char *text = NULL;
		uint8_t data[69], want[69];
		size_t text_len = n / 3 * 4;

		for (size_t i = 0; i < n; i++)
			data[i] = (uint8_t)(i * 89 + 7);
		assert_int_equal(b64_encode(data, n, &text), 0);
		for (size_t i = 0; i < (text_len - 4) * 256; i++) {
			cleanup_free uint8_t *out = malloc(n);
			size_t place = i / 256, len = 0;
			char was = text[place], c = (char)(i % 256);
			bool fits = value_of(c) >= 0;

			if (c == '\r' || c == '\n')
				continue; /* is passed over */
			assert_non_null(out);
			text[place] = c;
			assert_int_equal(b64_decode(text, text_len, out, n, &len), fits ? 0 : -EINVAL);
			assert_int_equal(len, fits ? n : 0);
			if (fits) {
				decode_slowly(text, text_len, want);
				assert_memory_equal(out, want, n);
			}
			text[place] = was;
		}
	}
}

static void bound_is_enough_for_all_that_is_valid(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		size_t n = strlen(CASES[i].text), max = b64_decoded_max(n), len;
		cleanup_free uint8_t *out = malloc(max + 1);

		assert_int_equal(b64_decode(CASES[i].text, n, out, max, &len), CASES[i].data ? 0 : -EINVAL);
	}
}

static void too_small_memory_is_said_and_left_clean(void **state)
{
	uint8_t out[6];
	size_t len = 4711;

	for (size_t size = 0; size < 6; size++) {
		memset(out, 0, sizeof(out));
		assert_int_equal(b64_decode("Zm9vYmFy", 8, out, size, &len), -ENOBUFS);
		assert_int_equal(len, 4711);
		for (size_t i = 0; i < sizeof(out); i++)
			assert_int_equal(out[i], 0);
	}
	assert_int_equal(b64_decode("Zm9vYmFy", 8, out, 6, &len), 0);
}

static void refused_text_leaves_no_bytes_behind(void **state)
{
	uint8_t out[16] = { 0 };
	size_t len;

	assert_int_equal(b64_decode("Zm9vYmFy!", 9, out, sizeof(out), &len), -EINVAL);
	for (size_t i = 0; i < sizeof(out); i++)
		assert_int_equal(out[i], 0);
}

static void encode_and_decode_are_inverse(void **state)
{
	uint8_t data[301], out[301];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 89 + i / 3);
	for (size_t n = 0; n <= sizeof(data); n++) {
		cleanup_free char *text = NULL;
		size_t len;

		assert_int_equal(b64_encode(data, n, &text), 0);
		assert_int_equal(strlen(text), (n + 2) / 3 * 4);
		assert_int_equal(b64_decode(text, strlen(text), out, n, &len), 0);
		assert_int_equal(len, n);
		assert_memory_equal(out, data, n);
	}
}

/* As of base64(1) and of MIME: lines of 76, of which each is of whole groups. */
static void lines_of_76_are_taken_wherever_the_line_ends(void **state)
{
	static const char *const ENDS[] = { "\n", "\r\n", "\n\n" };
	uint8_t data[300], out[300];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 89 + i / 3);
	for (size_t e = 0; e < ARRAY_SIZE(ENDS); e++) {
		/* 74 to 77: lines that end within a group, too */
		for (size_t line = 74; line <= 77; line++) {
			for (size_t n = sizeof(data) - 3; n <= sizeof(data); n++) {
				cleanup_free char *text = NULL;
				char lines[512];
				size_t at = 0, len = 0;

				assert_int_equal(b64_encode(data, n, &text), 0);
				for (const char *rest = text; *rest; rest += strnlen(rest, line))
					at += (size_t)snprintf(lines + at, sizeof(lines) - at, "%.*s%s", (int)line,
							       rest, ENDS[e]);
				assert_int_equal(b64_decode(lines, at, out, sizeof(out), &len), 0);
				assert_int_equal(len, n);
				assert_memory_equal(out, data, n);
				/* a bad byte in the second line */
				lines[line + strlen(ENDS[e]) + 1] = '-';
				assert_int_equal(b64_decode(lines, at, out, sizeof(out), &len), -EINVAL);
			}
		}
	}
}

static void absurd_length_is_refused_by_encode(void **state)
{
	char *text = NULL;

	assert_int_equal(b64_encode("x", SIZE_MAX, &text), -ENOMEM);
	assert_null(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decode_takes_and_refuses_what_go_does),
		cmocka_unit_test(nul_is_not_base64),
		cmocka_unit_test(every_byte_outside_the_alphabet_is_refused),
		cmocka_unit_test(a_long_text_is_taken_and_refused_as_a_short_one_is),
		cmocka_unit_test(bound_is_enough_for_all_that_is_valid),
		cmocka_unit_test(too_small_memory_is_said_and_left_clean),
		cmocka_unit_test(refused_text_leaves_no_bytes_behind),
		cmocka_unit_test(encode_and_decode_are_inverse),
		cmocka_unit_test(lines_of_76_are_taken_wherever_the_line_ends),
		cmocka_unit_test(absurd_length_is_refused_by_encode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
