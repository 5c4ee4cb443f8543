/* Starved: a call for memory of the heap that fails. For one file of a test program. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "test/lib/skip.h"
#include "test/lib/valgrind.h"

static size_t calls_left; /* until one gets no memory; 0: all get some */

#ifdef __SANITIZE_ADDRESS__ /* it has its own */
static const bool calls_can_fail = false;
#else
static const bool calls_can_fail = true;
#ifndef ANALYSIS_TEST /* to which each call would be one that fails */

static bool has_memory(void)
{
	return calls_left == 0 || --calls_left > 0;
}

/* glibc's, so that they can fail. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
	return has_memory() ? __libc_malloc(size) : NULL;
}

void *calloc(size_t n, size_t size)
{
	return has_memory() ? __libc_calloc(n, size) : NULL;
}

void *realloc(void *old, size_t size)
{
	return has_memory() ? __libc_realloc(old, size) : NULL;
}
#endif
#endif

static inline void skip_unless_calls_can_fail(void)
{
	if (!calls_can_fail || under_valgrind())
		skip_because("ASan's and valgrind's own calls cannot be made to fail");
}
