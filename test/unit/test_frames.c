/* Frames: any cut of a stream gives the same documents. */
#include "agent/frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct seen {
	struct buf all; /* each document followed by '|' */
	int result; /* of the callback */
	unsigned n;
	struct frames *deinit_at_first;
};

static int on_doc(void *userdata, const char *doc, size_t len)
{
	struct seen *s = userdata;

	assert_int_equal(buf_add(&s->all, doc, len), 0);
	assert_int_equal(buf_add_str(&s->all, "|"), 0);
	s->n++;
	if (s->deinit_at_first)
		frames_deinit(s->deinit_at_first);
	return s->result;
}

static void any_cut_gives_the_same_documents(void **state)
{
	static const char stream[] = "{\"a\":1}\n\n \r\n{\"b\":\"two\"}\r\n{}\n{\"c\":";
	static const char expected[] = "{\"a\":1}|{\"b\":\"two\"}\r|{}|";
	size_t len = strlen(stream);

	for (size_t step = 1; step <= len; step++) {
		struct frames f = FRAMES_INIT(64);
		struct seen s = { .all = BUF_INIT(1024) };

		for (size_t i = 0; i < len; i += step)
			assert_int_equal(frames_feed(&f, stream + i, MIN(step, len - i), on_doc, &s), 0);
		assert_string_equal(s.all.data, expected);
		assert_int_equal(frames_pending(&f), 5);
		frames_reset(&f);
		assert_int_equal(frames_pending(&f), 0);
		frames_deinit(&f);
		buf_deinit(&s.all);
	}
}

static void nothing_is_kept_of_whole_documents(void **state)
{
	struct frames f = FRAMES_INIT(64);
	struct seen s = { .all = BUF_INIT(1024) };

	assert_int_equal(frames_feed(&f, "{}\n{", 4, on_doc, &s), 0);
	assert_int_equal(frames_feed(&f, "}\n", 2, on_doc, &s), 0);
	assert_int_equal(s.n, 2);
	assert_null(f.partial.data);
	frames_deinit(&f);
	buf_deinit(&s.all);
}

static void the_longest_document_passes_and_one_byte_more_does_not(void **state)
{
	for (size_t len = 8; len <= 9; len++) {
		for (size_t step = 1; step <= 10; step++) {
			struct frames f = FRAMES_INIT(8);
			struct seen s = { .all = BUF_INIT(1024) };
			int r = 0;

			for (size_t i = 0; i < len + 1 && r == 0; i += step) {
				char part[16];
				size_t n = MIN(step, len + 1 - i);

				memset(part, 'x', n);
				if (i + n == len + 1)
					part[n - 1] = '\n';
				r = frames_feed(&f, part, n, on_doc, &s);
			}
			assert_int_equal(r, len == 8 ? 0 : -EFBIG);
			assert_int_equal(s.n, len == 8);
			frames_deinit(&f);
			buf_deinit(&s.all);
		}
	}
}

static void empty_lines_without_an_end_are_too_long(void **state)
{
	struct frames f = FRAMES_INIT(8);
	struct seen s = { .all = BUF_INIT(1024) };

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(frames_feed(&f, "\n \r\n\n\n\n\n{}\n", 11, on_doc, &s), 0);
	assert_int_equal(s.n, 4);
	assert_int_equal(frames_feed(&f, "\n\n\n\n\n\n\n\n", 8, on_doc, &s), 0);
	assert_int_equal(frames_feed(&f, "\n", 1, on_doc, &s), -EFBIG);
	frames_reset(&f);
	assert_int_equal(frames_feed(&f, "\n\n\n\n\n\n\n\n", 8, on_doc, &s), 0);
	frames_deinit(&f);
	buf_deinit(&s.all);
}

static void callbacks_result_ends_the_feeding(void **state)
{
	struct frames f = FRAMES_INIT(64);
	struct seen s = { .all = BUF_INIT(1024), .result = 7 };

	assert_int_equal(frames_feed(&f, "a\nb\n", 4, on_doc, &s), 7);
	assert_string_equal(s.all.data, "a|");
	frames_deinit(&f);
	buf_deinit(&s.all);
}

static void frames_may_end_inside_the_callback(void **state)
{
	struct frames *f = malloc(sizeof(*f));
	struct seen s = { .all = BUF_INIT(1024), .result = 1, .deinit_at_first = f };

	*f = FRAMES_INIT(64);
	assert_int_equal(frames_feed(f, "beg", 3, on_doc, &s), 0);
	assert_int_equal(frames_feed(f, "in\nmore\n", 8, on_doc, &s), 1);
	assert_string_equal(s.all.data, "begin|");
	free(f);
	buf_deinit(&s.all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_cut_gives_the_same_documents),
		cmocka_unit_test(nothing_is_kept_of_whole_documents),
		cmocka_unit_test(the_longest_document_passes_and_one_byte_more_does_not),
		cmocka_unit_test(empty_lines_without_an_end_are_too_long),
		cmocka_unit_test(callbacks_result_ends_the_feeding),
		cmocka_unit_test(frames_may_end_inside_the_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
