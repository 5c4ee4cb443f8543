/* The program's nghttp2_session_mem_recv(), in front of nghttp2's, for the libcurl that is loaded into it: what was taken from a
 * buffer is wiped as soon as it was. libcurl 7.88 receives into 32 KiB that live as long as an HTTP/2 connection and has
 * nghttp2 parse there; pieces of bodies are copied to the requests that they are for. Nothing would write over the place before
 * something else comes, which on a quiet connection is never.
 *
 * When a request has no room for a piece of its body libcurl answers nghttp2 NGHTTP2_ERR_PAUSE, and points to the piece until the
 * request has taken it. Nothing tells when it has, but that libcurl goes on with the buffer. So the piece is wiped then, or
 * when the connection ends. libcurl does not go on when the piece was the last in the buffer; it would even miss that the
 * answer is complete until something else comes. So one byte is given back to it then, as if it had not been taken.
 *
 * The program exports these functions (Makefile), and libcurl finds them there before it looks into its own libraries. One
 * thread uses HTTP/2. What does not come this way is not wiped here: an HTTP/1.1 answer is in its request's buffer
 * (agent/http.c), and OpenSSL's buffers, in which records are decrypted, are freed when they are empty
 * (SSL_MODE_RELEASE_BUFFERS, which libcurl sets), and free() wipes. */
#include <sys/types.h>

#include "common/dl.h"
#include "common/list.h"

enum { PAUSE = -526, NO_MEMORY = -901 }; /* NGHTTP2_ERR_... */

struct nghttp2_session;
struct nghttp2_session_callbacks;
typedef int (*piece_fn)(struct nghttp2_session *s, uint8_t flags, int32_t stream, const uint8_t *data, size_t len,
			void *userdata);

void nghttp2_session_callbacks_set_on_data_chunk_recv_callback(struct nghttp2_session_callbacks *c, piece_fn fn);
ssize_t nghttp2_session_mem_recv(struct nghttp2_session *s, const uint8_t *in, size_t len);
void nghttp2_session_del(struct nghttp2_session *s);

struct session {
	struct list link;
	const struct nghttp2_session *of;
	const uint8_t *held, *held_end; /* the piece that libcurl points to; NULL: none */
	const uint8_t *given_back; /* NULL: none */
};

static struct dl curl = { .name = "libcurl.so.4" };
static struct list sessions = LIST_INIT(sessions);
static piece_fn libcurls;
static const uint8_t *paused_at; /* the piece at which nghttp2 was told to stop; NULL: none */

static struct session *session_find(const struct nghttp2_session *of)
{
	struct session *s;

	list_for_each (s, &sessions, link)
		if (s->of == of)
			return s;
	return NULL;
}

static struct session *session_get(const struct nghttp2_session *of)
{
	struct session *s = session_find(of);

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->of = of;
	list_append(&sessions, &s->link);
	return s;
}

/* It is libcurl's, not const there, and libcurl is through with it. */
static void wipe(const uint8_t *start, const uint8_t *end)
{
	if (end > start)
		explicit_bzero((void *)(uintptr_t)start, (size_t)(end - start));
}

static void release(struct session *s)
{
	wipe(s->held, s->held_end);
	s->held = s->held_end = s->given_back = NULL;
}

/* Of `len` bytes nghttp2 has taken n, up to the end of a piece that is needed yet. Returns what libcurl is to believe. */
static ssize_t hold(struct session *s, const uint8_t *in, size_t len, ssize_t n)
{
	wipe(in, paused_at);
	s->held = paused_at;
	s->held_end = in + n;
	if ((size_t)n < len)
		return n;
	s->given_back = in + n - 1;
	return n - 1;
}

static int on_piece(struct nghttp2_session *s, uint8_t flags, int32_t stream, const uint8_t *data, size_t len,
		    void *userdata)
{
	int r = libcurls(s, flags, stream, data, len, userdata);

	if (r == PAUSE)
		paused_at = data;
	return r;
}

void nghttp2_session_callbacks_set_on_data_chunk_recv_callback(struct nghttp2_session_callbacks *c, piece_fn fn)
{
	static typeof(&nghttp2_session_callbacks_set_on_data_chunk_recv_callback) real;

	if (!real)
		real = (typeof(real))dl_symbol(&curl, "nghttp2_session_callbacks_set_on_data_chunk_recv_callback");
	libcurls = fn;
	real(c, on_piece);
}

ssize_t nghttp2_session_mem_recv(struct nghttp2_session *s, const uint8_t *in, size_t len)
{
	static typeof(&nghttp2_session_mem_recv) real;
	struct session *own = session_get(s);
	bool is_old;
	ssize_t n;

	if (!own)
		return NO_MEMORY;
	if (!real)
		real = (typeof(real))dl_symbol(&curl, "nghttp2_session_mem_recv");
	is_old = own->given_back && own->given_back == in && len == 1;
	release(own);
	paused_at = NULL;
	/* without a byte nghttp2 goes on in what it has stopped in the middle of */
	n = real(s, in, is_old ? 0 : len);
	if (n >= 0 && paused_at)
		return hold(own, in, len, n);
	wipe(in, in + (n < 0 ? (ssize_t)len : n));
	return is_old && n >= 0 ? 1 : n;
}

/* libcurl's buffer is still there, and freed next. */
void nghttp2_session_del(struct nghttp2_session *s)
{
	static typeof(&nghttp2_session_del) real;
	struct session *own = session_find(s);

	if (!real)
		real = (typeof(real))dl_symbol(&curl, "nghttp2_session_del");
	if (own) {
		release(own);
		list_remove(&own->link);
		free(own);
	}
	real(s);
}
