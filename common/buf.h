/* A growing byte buffer with a maximum given at init. Its memory is wiped when it grows and when it ends. */
#pragma once

#include <stdarg.h>

#include "common/base.h"

struct buf {
	char *data; /* always NUL-terminated once anything was added; NULL before */
	size_t len, size, max;
};
#define BUF_INIT(max_bytes) ((struct buf){ .max = (max_bytes) })

void buf_deinit(struct buf *b);
#define cleanup_buf cleanup(buf_deinit)
/* Empties and wipes, keeps the memory and the maximum. */
void buf_clear(struct buf *b);
/* 0, -ENOBUFS (would pass max), -ENOMEM; on failure the buffer is as before. */
int buf_add(struct buf *b, const void *data, size_t len);
int buf_add_str(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) attr_printf(2, 3);
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) attr_printf(2, 0);
/* Makes room for `len` more bytes and returns where they go; buf_advance() then says how many came. */
int buf_reserve(struct buf *b, size_t len, char **ret_room);
void buf_advance(struct buf *b, size_t len);
/* Removes the first n bytes, wiping what becomes free. */
void buf_consume(struct buf *b, size_t n);
/* The contents as a malloc'ed string ("" if empty); the buffer is empty afterwards. NULL: out of memory. */
char *buf_take(struct buf *b);
