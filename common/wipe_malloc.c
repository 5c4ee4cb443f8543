/* The program's free() and realloc(), which wipe, in front of glibc's. libcurl, OpenSSL, jansson and libyaml copy
 * response bodies and the bearer token through the heap and free them as they are; this reaches all of them. The heap
 * stays glibc's, so the allocating functions that are not here go together with it: aligned_alloc, memalign, posix_memalign, valloc, pvalloc,
 * and what libc allocates for itself or its callers (strdup, getline, stdio's buffers) all end in this free().
 * test/unit/test_wipe_malloc.c sees a block of each wiped. What a library maps for itself (mmap) never comes here; none of ours
 * keeps secret bytes in such memory, which test/canary looks for.
 * realloc() never extends or shrinks inside glibc, where a cut-off end would go back to the heap with its bytes. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void __libc_free(void *p);

/* These two change nothing; glibc wants them replaced together with free() and realloc(). */
void *malloc(size_t size)
{
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return __libc_calloc(n, size);
}

void free(void *p)
{
	int saved = errno;

	if (!p)
		return;
	explicit_bzero(p, malloc_usable_size(p));
	__libc_free(p);
	errno = saved;
}

/* In place when that wastes at most half, and when shrinking has to succeed without memory for a copy. */
void *realloc(void *p, size_t size)
{
	void *moved = NULL;
	size_t old_size;

	if (!p)
		return malloc(size);
	if (size == 0) { /* as glibc has it */
		free(p);
		return NULL;
	}
	old_size = malloc_usable_size(p);
	if (size > old_size || size < old_size / 2)
		moved = malloc(size);
	if (moved) {
		memcpy(moved, p, size < old_size ? size : old_size);
		free(p);
		return moved;
	}
	if (size > old_size)
		return NULL;
	explicit_bzero((char *)p + size, old_size - size);
	return p;
}

void *reallocarray(void *p, size_t n, size_t size)
{
	if (__builtin_mul_overflow(n, size, &size)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, size);
}
