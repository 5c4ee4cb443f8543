/* Base: attributes, cleanup helpers and small macros that every file uses. */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Each argument is evaluated once. Not for constant expressions. */
#define MIN(a, b)	 BASE_PICK(a, <, b, BASE_JOIN(a_, __COUNTER__), BASE_JOIN(b_, __COUNTER__))
#define MAX(a, b)	 BASE_PICK(a, >, b, BASE_JOIN(a_, __COUNTER__), BASE_JOIN(b_, __COUNTER__))
#define BASE_JOIN(x, y)	 BASE_JOIN_(x, y)
#define BASE_JOIN_(x, y) x##y
/* names of their own: one may be an argument of the other */
#define BASE_PICK(a, op, b, a_name, b_name)                                                                            \
	({                                                                                                             \
		__auto_type a_name = (a);                                                                              \
		__auto_type b_name = (b);                                                                              \
		a_name op b_name ? a_name : b_name;                                                                    \
	})

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define attr_printf(fmt, args) __attribute__((__format__(__printf__, fmt, args)))
#define attr_unused	       __attribute__((__unused__))
#define attr_warn_unused       __attribute__((__warn_unused_result__))

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC  UINT64_C(1000000)
#define NSEC_PER_USEC UINT64_C(1000)
#define USEC_INFINITY UINT64_MAX

/* Hand an owned pointer or fd over; what held it is empty afterwards. */
#define TAKE_PTR(p)                                                                                                    \
	({                                                                                                             \
		typeof(p) *p_ = &(p);                                                                                  \
		typeof(p) taken_ = *p_;                                                                                \
		*p_ = NULL;                                                                                            \
		taken_;                                                                                                \
	})
#define TAKE_FD(fd)                                                                                                    \
	({                                                                                                             \
		int *f_ = &(fd);                                                                                       \
		int t_ = *f_;                                                                                          \
		*f_ = -1;                                                                                              \
		t_;                                                                                                    \
	})

/* Run func(x) when a local goes out of scope: `cleanup(cleanup_freep) char *name = NULL;` */
#define cleanup(func) __attribute__((__cleanup__(func)))

/* Defines cleanup function `func`p for a pointer type whose destructor takes NULL. */
#define DEFINE_CLEANUP(type, func)                                                                                     \
	static inline void func##p(type *p)                                                                            \
	{                                                                                                              \
		if (*p)                                                                                                \
			func(*p);                                                                                      \
	}                                                                                                              \
	static_assert(1, "swallow the semicolon")

static inline void base_freep(void *p)
{
	free(*(void **)p);
}
#define cleanup_free cleanup(base_freep)

/* Closes fd if it is one, keeps errno. Returns -1 so that `fd = close_fd(fd)` reads well. */
static inline int close_fd(int fd)
{
	if (fd >= 0) {
		int saved = errno;

		close(fd);
		errno = saved;
	}
	return -1;
}
static inline void base_closep(int *fd)
{
	close_fd(*fd);
}
#define cleanup_fd cleanup(base_closep)

static inline void base_fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}
#define cleanup_file cleanup(base_fclosep)

static inline bool str_eq(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Calls without a bound on what they write. */
#ifndef __clang__ /* there glibc makes macros of them, which cannot be poisoned */
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets
#endif
