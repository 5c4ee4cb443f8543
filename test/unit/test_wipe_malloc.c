/* free() and realloc() that wipe, in the program that this test is. Reading freed memory is the point here; glibc keeps
 * the pages of small blocks mapped and writes its links over their first 16 bytes only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test/lib/skip.h"

static void free_wipes(void **state)
{
	skip_because("the sanitizer, or valgrind, has an allocator of its own");
}

static int run_none(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(free_wipes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#ifdef __SANITIZE_ADDRESS__

int main(void)
{
	return run_none();
}

#else

#include "common/wipe_malloc.c" /* NOLINT(bugprone-suspicious-include): under this program's own calls */

#include "common/base.h"
#include "test/lib/valgrind.h"

/* gcc knows what realloc() does and sees a use after free where a call fails on purpose */
static void *(*volatile realloc_fn)(void *p, size_t size) = realloc;
static void *(*volatile reallocarray_fn)(void *p, size_t n, size_t size) = reallocarray;

#define LINKS 16 /* glibc's own bytes in a freed block */

/* Whether the freed block at `place` holds this byte anywhere behind glibc's links. */
static bool freed_holds(uintptr_t place, size_t size, unsigned char byte)
{
	for (size_t i = LINKS; i < size; i++)
		if (((volatile unsigned char *)place)[i] == byte)
			return true;
	return false;
}

static void *filled(size_t size, int byte)
{
	void *p = malloc(size);

	assert_non_null(p);
	memset(p, byte, malloc_usable_size(p));
	return p;
}

static void assert_bytes(const void *p, int byte, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(((const unsigned char *)p)[i], byte);
}

static void freed_bytes_are_gone(void **state)
{
	static const size_t SIZES[] = { 24, 100, 1000, 1032, 5000, 60000 };

	for (size_t i = 0; i < ARRAY_SIZE(SIZES); i++) {
		void *p = filled(SIZES[i], 0xa5), *keep = malloc(16);
		uintptr_t place = (uintptr_t)p;
		size_t size = malloc_usable_size(p);

		free(p);
		assert_false(freed_holds(place, size, 0xa5));
		free(keep);
	}
}

static void *via_posix_memalign(size_t size)
{
	void *p = NULL;

	return posix_memalign(&p, 256, size) == 0 ? p : NULL;
}
static void *via_aligned_alloc(size_t size)
{
	return aligned_alloc(64, size);
}
static void *via_memalign(size_t size)
{
	return memalign(4096, size);
}
static void *via_calloc(size_t size)
{
	return calloc(1, size);
}
static void *via_realloc(size_t size)
{
	return realloc_fn(malloc(24), size);
}
static void *via_reallocarray(size_t size)
{
	return reallocarray_fn(NULL, size / 8, 8);
}
static void *via_getline(size_t size)
{
	cleanup_free char *text = malloc(size);
	size_t room = 0;
	char *line = NULL;
	FILE *f;

	memset(text, 'x', size);
	f = fmemopen(text, size, "r");
	assert_true(getline(&line, &room, f) > 0);
	fclose(f);
	return line;
}

/* Whatever makes a block, free() and realloc() wipe all of it that can be used. */
static void blocks_of_the_whole_family_are_wiped(void **state)
{
	static void *(*const MAKERS[])(
		size_t) = { malloc,	  via_calloc,	      via_realloc, via_reallocarray, via_aligned_alloc,
			    via_memalign, via_posix_memalign, valloc,	   pvalloc,	     via_getline };

	for (size_t i = 0; i < ARRAY_SIZE(MAKERS); i++) {
		for (int moves = 0; moves < 2; moves++) {
			void *p = MAKERS[i](2048), *keep = malloc(16), *moved = NULL;
			uintptr_t place = (uintptr_t)p;
			size_t size = p ? malloc_usable_size(p) : 0;

			assert_true(size >= 2048);
			memset(p, 0xa5, size);
			if (moves)
				moved = realloc_fn(p, 3 * size);
			else
				free(p);
			if (freed_holds(place, size, 0xa5))
				fail_msg("maker %zu: its bytes are still there after %s", i,
					 moves ? "realloc" : "free");
			free(moved);
			free(keep);
		}
	}
}

static void free_takes_null_and_keeps_errno(void **state)
{
	void *p = malloc(1 << 20);

	errno = EBUSY;
	free(NULL);
	free(p);
	assert_int_equal(errno, EBUSY);
}

static void realloc_that_moves_wipes_the_old_place(void **state)
{
	void *p = filled(1000, 0xa5), *keep = malloc(16), *moved;
	uintptr_t place = (uintptr_t)p;

	moved = realloc_fn(p, 4000);
	assert_non_null(moved);
	assert_true((uintptr_t)moved != place);
	assert_bytes(moved, 0xa5, 1000);
	assert_false(freed_holds(place, 1000, 0xa5));
	free(moved);
	free(keep);
}

static void realloc_that_shrinks_wipes_the_end(void **state)
{
	unsigned char *p = filled(1000, 0xa5), *q;
	size_t size = malloc_usable_size(p);

	q = realloc_fn(p, 600);
	assert_ptr_equal(q, p);
	assert_bytes(q, 0xa5, 600);
	assert_bytes(q + 600, 0, size - 600);

	q = realloc_fn(q, 100);
	assert_bytes(q, 0xa5, 100);
	assert_true(malloc_usable_size(q) < size);
	free(q);
}

static void realloc_has_its_corner_cases(void **state)
{
	void *p = realloc_fn(NULL, 10);

	assert_non_null(p);
	assert_null(realloc_fn(p, 0));
	p = filled(10, 1);
	errno = 0;
	assert_null(realloc_fn(p, PTRDIFF_MAX));
	assert_int_equal(errno, ENOMEM);
	assert_bytes(p, 1, 10);
	free(p);
}

static void reallocarray_refuses_overflow(void **state)
{
	volatile size_t huge = SIZE_MAX / 2;
	char *p = filled(16, 1);

	errno = 0;
	assert_null(reallocarray_fn(p, huge, 3));
	assert_int_equal(errno, ENOMEM);
	assert_bytes(p, 1, 16);
	p = reallocarray_fn(p, 100, 30);
	assert_non_null(p);
	assert_bytes(p, 1, 16);
	assert_true(malloc_usable_size(p) >= 3000);
	free(p);
}

static void calloc_is_zero_also_on_reused_memory(void **state)
{
	for (int i = 0; i < 100; i++) {
		unsigned char *p;

		free(filled(500, 0xa5));
		p = calloc(5, 100);
		assert_bytes(p, 0, 500);
		free(p);
	}
}

static void aligned_blocks_go_back_through_us(void **state)
{
	for (size_t alignment = 16; alignment <= 8192; alignment *= 2) {
		void *p = NULL, *q = aligned_alloc(alignment, 3 * alignment);

		assert_int_equal(posix_memalign(&p, alignment, 100), 0);
		assert_int_equal((uintptr_t)p % alignment, 0);
		assert_int_equal((uintptr_t)q % alignment, 0);
		memset(p, 1, 100);
		p = realloc_fn(p, 5000);
		assert_bytes(p, 1, 100);
		free(p);
		free(q);
	}
}

static void libraries_go_through_us(void **state)
{
	/* strdup() lies in libc and calls whatever malloc the program has */
	char *text = strdup("a token that libc has copied");
	uintptr_t place = (uintptr_t)text;

	free(text);
	assert_false(freed_holds(place, 24, 't'));
}

static void random_use_keeps_contents(void **state)
{
	static struct {
		unsigned char *p;
		size_t size;
	} blocks[200];
	unsigned seed = 1;

	for (int i = 0; i < 50000; i++) {
		size_t at = (size_t)rand_r(&seed) % ARRAY_SIZE(blocks), size = (size_t)rand_r(&seed) % 3000 + 1;
		unsigned char *p = blocks[at].p;
		int byte = (int)at;

		if (p)
			assert_true(p[0] == byte && p[blocks[at].size - 1] == byte);
		if (i % 3 == 0) {
			free(p);
			p = NULL;
		} else {
			p = realloc_fn(p, size);
			memset(p, byte, size);
		}
		blocks[at].p = p;
		blocks[at].size = size;
	}
	for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
		free(blocks[i].p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(freed_bytes_are_gone),
		cmocka_unit_test(blocks_of_the_whole_family_are_wiped),
		cmocka_unit_test(free_takes_null_and_keeps_errno),
		cmocka_unit_test(realloc_that_moves_wipes_the_old_place),
		cmocka_unit_test(realloc_that_shrinks_wipes_the_end),
		cmocka_unit_test(realloc_has_its_corner_cases),
		cmocka_unit_test(reallocarray_refuses_overflow),
		cmocka_unit_test(calloc_is_zero_also_on_reused_memory),
		cmocka_unit_test(aligned_blocks_go_back_through_us),
		cmocka_unit_test(libraries_go_through_us),
		cmocka_unit_test(random_use_keeps_contents),
	};

	if (under_valgrind())
		return run_none();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
