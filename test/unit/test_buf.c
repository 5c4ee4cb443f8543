/* The buffer: contents, the maximum, and that a failure changes nothing. */
#include "common/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/str.h"
#include "test/lib/skip.h"

static void pieces_are_joined_and_terminated(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(1000);

	assert_null(b.data);
	assert_int_equal(buf_add(&b, "ab\0c", 4), 0);
	assert_int_equal(buf_add_str(&b, "def"), 0);
	assert_int_equal(buf_printf(&b, "-%d-%s", 42, "x"), 0);
	assert_int_equal(b.len, 12);
	assert_memory_equal(b.data, "ab\0cdef-42-x", 13);
}

static void nothing_added_is_an_empty_string(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(0);

	assert_int_equal(buf_add(&b, NULL, 0), 0);
	assert_int_equal(buf_printf(&b, "%s", ""), 0);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.data, "");
}

static void maximum_is_exact_and_failure_changes_nothing(void **state)
{
	static const size_t MAXIMA[] = { 0, 1, 2, 63, 64, 65, 127, 1000 };
	char bytes[1001], *room;

	memset(bytes, 'b', sizeof(bytes));
	for (size_t i = 0; i < ARRAY_SIZE(MAXIMA); i++) {
		cleanup_buf struct buf b = BUF_INIT(MAXIMA[i]);

		assert_int_equal(buf_add(&b, bytes, MAXIMA[i] + 1), -ENOBUFS);
		assert_null(b.data);
		assert_int_equal(buf_add(&b, bytes, MAXIMA[i]), 0);
		assert_int_equal(buf_add(&b, "x", 1), -ENOBUFS);
		assert_int_equal(buf_add_str(&b, "x"), -ENOBUFS);
		assert_int_equal(buf_printf(&b, "%s", "xyz"), -ENOBUFS);
		assert_int_equal(buf_reserve(&b, 1, &room), -ENOBUFS);
		assert_int_equal(b.len, MAXIMA[i]);
		assert_true(b.size <= MAXIMA[i] + 1);
		assert_memory_equal(b.data, bytes, MAXIMA[i]);
		assert_int_equal(b.data[b.len], '\0');
	}
}

static void printf_that_does_not_fit_leaves_no_trace(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(100);

	assert_int_equal(buf_add_str(&b, "begin"), 0);
	assert_int_equal(buf_printf(&b, "%96s", "secret"), -ENOBUFS);
	assert_string_equal(b.data, "begin");
	assert_null(memmem(b.data, b.size, "secret", 6));
}

static void absurd_lengths_are_refused(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(SIZE_MAX);
	char *room = NULL;

	assert_int_equal(buf_add_str(&b, "x"), 0);
	assert_int_equal(buf_reserve(&b, SIZE_MAX, &room), -ENOBUFS);
	assert_int_equal(buf_reserve(&b, SIZE_MAX - 1, &room), -ENOBUFS);
	assert_null(room);
	assert_string_equal(b.data, "x");
}

static void allocation_failure_changes_nothing(void **state)
{
#ifdef __SANITIZE_ADDRESS__
	skip_because("ASan ends the process instead of failing a huge malloc");
#endif
	cleanup_buf struct buf b = BUF_INIT(SIZE_MAX);
	char *room = NULL;

	assert_int_equal(buf_add_str(&b, "x"), 0);
	assert_int_equal(buf_reserve(&b, SIZE_MAX / 4, &room), -ENOMEM);
	assert_null(room);
	assert_string_equal(b.data, "x");
}

static void reserve_and_advance_fill_in_place(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(1000);
	char *room;

	assert_int_equal(buf_add_str(&b, "ab"), 0);
	assert_int_equal(buf_reserve(&b, 500, &room), 0);
	memcpy(room, "cdef", 4);
	buf_advance(&b, 3);
	buf_advance(&b, 0);
	assert_int_equal(b.len, 5);
	assert_string_equal(b.data, "abcde");
}

static void consume_removes_the_front_and_wipes(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(1000);

	assert_int_equal(buf_add_str(&b, "headSECRET"), 0);
	buf_consume(&b, 0);
	assert_string_equal(b.data, "headSECRET");
	buf_consume(&b, 4);
	assert_int_equal(b.len, 6);
	assert_string_equal(b.data, "SECRET");
	buf_consume(&b, 6);
	assert_int_equal(b.len, 0);
	assert_null(memmem(b.data, b.size, "S", 1));
	assert_null(memmem(b.data, b.size, "T", 1));
}

static void clear_wipes_and_keeps_the_memory(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(1000);
	const char *data;

	buf_clear(&b);
	assert_int_equal(buf_add_str(&b, "SECRET"), 0);
	data = b.data;
	buf_clear(&b);
	assert_int_equal(b.len, 0);
	assert_ptr_equal(b.data, data);
	assert_int_equal(b.max, 1000);
	assert_string_equal(b.data, "");
	assert_null(memmem(b.data, b.size, "CRET", 4));
}

static void take_hands_over_and_leaves_an_empty_buffer(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(5);
	cleanup_free char *first = NULL, *second = NULL;

	assert_int_equal(buf_add_str(&b, "hello"), 0);
	first = buf_take(&b);
	assert_string_equal(first, "hello");
	assert_null(b.data);
	second = buf_take(&b);
	assert_string_equal(second, "");
	assert_int_equal(buf_add_str(&b, "again"), 0);
	assert_int_equal(buf_add_str(&b, "!"), -ENOBUFS);
}

static void printf_sees_errno(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(100);

	errno = ENOENT;
	assert_int_equal(buf_printf(&b, "%m"), 0);
	assert_string_equal(b.data, "No such file or directory");
}

static void growing_keeps_all_contents(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(1 << 20);

	for (unsigned i = 0; i < 20000; i++)
		assert_int_equal(buf_printf(&b, "%06u,", i), 0);
	assert_int_equal(b.len, 20000 * 7);
	for (unsigned i = 0; i < 20000; i += 777) {
		char want[16];

		snprintf(want, sizeof(want), "%06u,", i);
		assert_memory_equal(b.data + (size_t)i * 7, want, 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_joined_and_terminated),
		cmocka_unit_test(nothing_added_is_an_empty_string),
		cmocka_unit_test(maximum_is_exact_and_failure_changes_nothing),
		cmocka_unit_test(printf_that_does_not_fit_leaves_no_trace),
		cmocka_unit_test(absurd_lengths_are_refused),
		cmocka_unit_test(allocation_failure_changes_nothing),
		cmocka_unit_test(reserve_and_advance_fill_in_place),
		cmocka_unit_test(consume_removes_the_front_and_wipes),
		cmocka_unit_test(clear_wipes_and_keeps_the_memory),
		cmocka_unit_test(take_hands_over_and_leaves_an_empty_buffer),
		cmocka_unit_test(printf_sees_errno),
		cmocka_unit_test(growing_keeps_all_contents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
