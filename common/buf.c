/* The growing buffer. It never calls realloc(): what moves is copied, and the old memory is wiped before it goes back
 * to the heap, because a buffer may hold a response body or a token. */
#include "common/buf.h"

#define BUF_SIZE_MIN ((size_t)64)

void buf_deinit(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->size);
	free(b->data);
	b->data = NULL;
	b->len = b->size = 0;
}

void buf_clear(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->len);
	b->len = 0;
}

/* Memory for `size` bytes, or more where doubling gives more and the maximum allows it. */
static int buf_grow(struct buf *b, size_t size)
{
	size_t limit = b->max < SIZE_MAX ? b->max + 1 : SIZE_MAX;
	size_t twice = b->size < limit / 2 ? b->size * 2 : limit;
	char *data;

	size = MAX(size, MIN(MAX(twice, BUF_SIZE_MIN), limit));
	data = malloc(size);
	if (!data)
		return -ENOMEM;

	if (b->data) {
		memcpy(data, b->data, b->len);
		explicit_bzero(b->data, b->size);
		free(b->data);
	}
	data[b->len] = '\0';
	b->data = data;
	b->size = size;
	return 0;
}

int buf_reserve(struct buf *b, size_t len, char **ret_room)
{
	int r;

	if (len > b->max - b->len || len >= SIZE_MAX - b->len)
		return -ENOBUFS;

	if (!b->data || len >= b->size - b->len) {
		r = buf_grow(b, b->len + len + 1);
		if (r < 0)
			return r;
	}
	*ret_room = b->data + b->len;
	return 0;
}

void buf_advance(struct buf *b, size_t len)
{
	if (len == 0)
		return;
	assert(len < b->size - b->len);
	b->len += len;
	b->data[b->len] = '\0';
}

int buf_add(struct buf *b, const void *data, size_t len)
{
	char *room;
	int r;

	r = buf_reserve(b, len, &room);
	if (r < 0)
		return r;

	if (len > 0)
		memcpy(room, data, len);
	buf_advance(b, len);
	return 0;
}

int buf_add_str(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return r;
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	int saved = errno;
	va_list again;
	char *room;
	int n, r;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return -EOVERFLOW;

	r = buf_reserve(b, n, &room);
	if (r < 0)
		return r;

	errno = saved; /* for %m */
	n = vsnprintf(room, (size_t)n + 1, fmt, ap);
	if (n < 0)
		return -EOVERFLOW;
	b->len += n;
	return 0;
}

void buf_consume(struct buf *b, size_t n)
{
	size_t rest;

	assert(n <= b->len);
	if (n == 0)
		return;
	rest = b->len - n;
	memmove(b->data, b->data + n, rest);
	explicit_bzero(b->data + rest, n);
	b->len = rest;
}

char *buf_take(struct buf *b)
{
	char *data = b->data ? b->data : strdup("");

	b->data = NULL;
	b->len = b->size = 0;
	return data;
}
