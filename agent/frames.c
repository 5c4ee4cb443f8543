/* Frames: a document that comes whole in one piece is handed on where it lies; only one that is split is copied. A
 * thousand idle watches therefore keep no buffer at all. */
#include "agent/frames.h"

void frames_deinit(struct frames *f)
{
	buf_deinit(&f->partial);
}

void frames_reset(struct frames *f)
{
	buf_deinit(&f->partial);
	f->partial = BUF_INIT(f->max);
	f->n_blank = 0;
}

size_t frames_pending(const struct frames *f)
{
	return f->partial.len;
}

static bool is_blank(const char *doc, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (doc[i] != ' ' && doc[i] != '\t' && doc[i] != '\r')
			return false;
	return true;
}

static int keep(struct frames *f, const char *data, size_t len)
{
	int r = buf_add(&f->partial, data, len);

	return r == -ENOBUFS ? -EFBIG : r;
}

static int hand_on(struct frames *f, const char *doc, size_t len, frames_fn fn, void *userdata)
{
	if (len > f->max)
		return -EFBIG;
	if (is_blank(doc, len)) {
		f->n_blank += len + 1;
		return f->n_blank > f->max ? -EFBIG : 0;
	}
	f->n_blank = 0;
	return fn(userdata, doc, len);
}

/* The rest of the document that was begun earlier. */
static int complete(struct frames *f, const char *rest, size_t len, frames_fn fn, void *userdata)
{
	struct buf whole;
	int r;

	r = keep(f, rest, len);
	if (r < 0)
		return r;
	whole = f->partial;
	f->partial = BUF_INIT(f->max);
	r = hand_on(f, whole.data, whole.len, fn, userdata);
	buf_deinit(&whole);
	return r;
}

int frames_feed(struct frames *f, const char *data, size_t len, frames_fn fn, void *userdata)
{
	const char *newline;
	size_t n;
	int r;

	while (len > 0 && (newline = memchr(data, '\n', len))) {
		n = (size_t)(newline - data);
		r = f->partial.len > 0 ? complete(f, data, n, fn, userdata) : hand_on(f, data, n, fn, userdata);
		if (r != 0)
			return r;
		data += n + 1;
		len -= n + 1;
	}
	return len > 0 ? keep(f, data, len) : 0;
}
