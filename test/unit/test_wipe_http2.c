/* What nghttp2 has taken of an HTTP/2 connection's buffer is wiped, and what libcurl still points to is not. The server's side is
 * written by hand; the callback does as libcurl's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/wipe_http2.c" /* NOLINT(bugprone-suspicious-include): under this program's own calls */

enum { CALLBACK_FAILURE = -902 }; /* NGHTTP2_ERR_... */
#define MARK "the quick brown fox"

struct nghttp2_nv {
	uint8_t *name, *value;
	size_t name_len, value_len;
	uint8_t flags;
};

typedef ssize_t (*send_fn)(struct nghttp2_session *s, const uint8_t *data, size_t len, int flags, void *userdata);
typedef int (*close_fn)(struct nghttp2_session *s, int32_t stream, uint32_t code, void *userdata);

static int (*callbacks_new)(struct nghttp2_session_callbacks **ret);
static void (*callbacks_del)(struct nghttp2_session_callbacks *c);
static void (*set_send)(struct nghttp2_session_callbacks *c, send_fn fn);
static void (*set_close)(struct nghttp2_session_callbacks *c, close_fn fn);
static int (*client_new)(struct nghttp2_session **ret, const struct nghttp2_session_callbacks *c, void *userdata);
static int32_t (*submit_request)(struct nghttp2_session *s, const void *priority, const struct nghttp2_nv *nv, size_t n,
				 const void *body, void *userdata);
static int (*session_send)(struct nghttp2_session *s);

/* One end of a connection with one request. */
struct client {
	struct nghttp2_session *session;
	uint8_t in[4096]; /* libcurl's buffer */
	size_t len;
	char body[4096];
	size_t body_len;
	int answer; /* of the callback */
	bool is_closed;
};

static ssize_t on_send(struct nghttp2_session *s, const uint8_t *data, size_t len, int flags, void *userdata)
{
	return (ssize_t)len;
}

static int on_data(struct nghttp2_session *s, uint8_t flags, int32_t stream, const uint8_t *data, size_t len,
		   void *userdata)
{
	struct client *c = userdata;

	memcpy(c->body + c->body_len, data, len);
	c->body_len += len;
	return c->answer;
}

static int on_close(struct nghttp2_session *s, int32_t stream, uint32_t code, void *userdata)
{
	((struct client *)userdata)->is_closed = true;
	return 0;
}

static void put(struct client *c, const void *data, size_t len)
{
	memcpy(c->in + c->len, data, len);
	c->len += len;
}

static void put_data(struct client *c, const char *text, size_t len, bool is_last)
{
	put(c, (uint8_t[]){ 0, 0, (uint8_t)len, 0, is_last, 0, 0, 0, 1 }, 9);
	put(c, text, strlen(text));
}

static void put_answer(struct client *c)
{
	put(c, (uint8_t[]){ 0, 0, 0, 4, 0, 0, 0, 0, 0 }, 9); /* SETTINGS */
	put(c, (uint8_t[]){ 0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88 }, 10); /* HEADERS, :status 200 */
}

static struct nghttp2_nv nv(const char *name, const char *value)
{
	return (struct nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
				    strlen(value), 0 };
}

static void load(void)
{
	callbacks_new = (typeof(callbacks_new))dl_symbol(&curl, "nghttp2_session_callbacks_new");
	callbacks_del = (typeof(callbacks_del))dl_symbol(&curl, "nghttp2_session_callbacks_del");
	set_send = (typeof(set_send))dl_symbol(&curl, "nghttp2_session_callbacks_set_send_callback");
	set_close = (typeof(set_close))dl_symbol(&curl, "nghttp2_session_callbacks_set_on_stream_close_callback");
	client_new = (typeof(client_new))dl_symbol(&curl, "nghttp2_session_client_new");
	submit_request = (typeof(submit_request))dl_symbol(&curl, "nghttp2_submit_request");
	session_send = (typeof(session_send))dl_symbol(&curl, "nghttp2_session_send");
}

static void client_init(struct client *c)
{
	const struct nghttp2_nv head[] = { nv(":method", "GET"), nv(":scheme", "https"), nv(":authority", "a"),
					   nv(":path", "/") };
	struct nghttp2_session_callbacks *callbacks = NULL;

	load();
	*c = (struct client){ .answer = 0 };
	assert_int_equal(callbacks_new(&callbacks), 0);
	set_send(callbacks, on_send);
	set_close(callbacks, on_close);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	assert_int_equal(client_new(&c->session, callbacks, c), 0);
	callbacks_del(callbacks);
	assert_int_equal(submit_request(c->session, NULL, head, ARRAY_SIZE(head), NULL, NULL), 1);
	assert_int_equal(session_send(c->session), 0);
}

static void client_end(struct client *c)
{
	nghttp2_session_del(c->session);
	assert_true(list_empty(&sessions));
}

static void assert_wiped(const uint8_t *from, const uint8_t *to)
{
	for (; from < to; from++)
		assert_int_equal(*from, 0);
}

static ssize_t take(struct client *c, size_t at)
{
	return nghttp2_session_mem_recv(c->session, c->in + at, c->len - at);
}

static void what_was_taken_is_wiped(void **state)
{
	struct client c;

	client_init(&c);
	put_answer(&c);
	put_data(&c, MARK, strlen(MARK), true);
	assert_int_equal(take(&c, 0), c.len);
	assert_wiped(c.in, c.in + sizeof(c.in));
	assert_string_equal(c.body, MARK);
	assert_true(c.is_closed);
	client_end(&c);
}

static void what_ends_the_connection_is_wiped(void **state)
{
	struct client c;

	client_init(&c);
	put_answer(&c);
	put_data(&c, MARK, strlen(MARK), true);
	put_data(&c, MARK, strlen(MARK), true);
	c.answer = CALLBACK_FAILURE;
	assert_int_equal(take(&c, 0), CALLBACK_FAILURE);
	assert_wiped(c.in, c.in + sizeof(c.in));
	client_end(&c);
}

static void piece_that_libcurl_points_to_stays_until_it_goes_on(void **state)
{
	size_t in_front, all;
	struct client c;

	client_init(&c);
	put_answer(&c);
	put_data(&c, MARK, strlen(MARK), false);
	in_front = c.len;
	put_data(&c, MARK, strlen(MARK), true);
	all = c.len;
	c.answer = PAUSE;
	assert_int_equal(take(&c, 0), in_front);
	assert_wiped(c.in, c.in + in_front - strlen(MARK));
	assert_memory_equal(c.in + in_front - strlen(MARK), MARK, strlen(MARK));
	c.answer = 0;
	assert_int_equal(take(&c, in_front), all - in_front);
	assert_wiped(c.in, c.in + sizeof(c.in));
	assert_string_equal(c.body, MARK MARK);
	assert_true(c.is_closed);
	client_end(&c);
}

/* libcurl alone would ask nobody again, and the end of the answer be noticed with the next one. */
static void after_the_last_piece_libcurl_comes_again(void **state)
{
	struct client c;

	client_init(&c);
	put_answer(&c);
	put_data(&c, MARK, strlen(MARK), true);
	c.answer = PAUSE;
	assert_int_equal(take(&c, 0), c.len - 1);
	assert_memory_equal(c.in + c.len - strlen(MARK), MARK, strlen(MARK));
	assert_false(c.is_closed);
	assert_int_equal(take(&c, c.len - 1), 1);
	assert_wiped(c.in, c.in + sizeof(c.in));
	assert_string_equal(c.body, MARK);
	assert_true(c.is_closed);
	client_end(&c);
}

static void piece_may_be_cut_off_in_the_middle_of_its_frame(void **state)
{
	struct client c;

	client_init(&c);
	put_answer(&c);
	put_data(&c, MARK, 2 * strlen(MARK), true);
	c.answer = PAUSE;
	assert_int_equal(take(&c, 0), c.len - 1);
	assert_int_equal(take(&c, c.len - 1), 1);
	assert_false(c.is_closed);
	/* the buffer from its beginning */
	c.len = 0;
	put(&c, MARK, strlen(MARK));
	assert_int_equal(take(&c, 0), c.len - 1);
	assert_memory_equal(c.in, MARK, strlen(MARK));
	assert_int_equal(take(&c, c.len - 1), 1);
	assert_wiped(c.in, c.in + sizeof(c.in));
	assert_string_equal(c.body, MARK MARK);
	assert_true(c.is_closed);
	client_end(&c);
}

static void single_bytes_are_given_back_as_well(void **state)
{
	struct client c;

	client_init(&c);
	put_answer(&c);
	put_data(&c, "", strlen(MARK), true);
	assert_int_equal(take(&c, 0), c.len);
	c.answer = PAUSE;
	for (size_t i = 0; i < strlen(MARK); i++) {
		c.len = 0;
		put(&c, MARK + i, 1);
		assert_int_equal(take(&c, 0), 0);
		assert_int_equal(c.in[0], MARK[i]);
		assert_int_equal(take(&c, 0), 1);
		assert_wiped(c.in, c.in + sizeof(c.in));
	}
	assert_string_equal(c.body, MARK);
	assert_true(c.is_closed);
	client_end(&c);
}

/* libcurl has thrown it away with its request, and received anew. */
static void what_was_given_back_need_not_come_again(void **state)
{
	struct client c;

	client_init(&c);
	put_answer(&c);
	put_data(&c, MARK, strlen(MARK), false);
	c.answer = PAUSE;
	assert_int_equal(take(&c, 0), c.len - 1);
	c.answer = 0;
	c.len = 0;
	put_data(&c, MARK, strlen(MARK), true);
	assert_int_equal(take(&c, 0), c.len);
	assert_wiped(c.in, c.in + sizeof(c.in));
	assert_string_equal(c.body, MARK MARK);
	assert_true(c.is_closed);
	client_end(&c);
}

static void what_is_held_goes_with_its_own_connection(void **state)
{
	struct client c, other;
	size_t len;

	client_init(&c);
	client_init(&other);
	for (struct client *each = &c; each; each = each == &c ? &other : NULL) {
		put_answer(each);
		put_data(each, MARK, strlen(MARK), true);
		each->answer = PAUSE;
		assert_int_equal(take(each, 0), each->len - 1);
	}
	len = c.len;
	nghttp2_session_del(other.session);
	assert_wiped(other.in, other.in + sizeof(other.in));
	assert_memory_equal(c.in + len - strlen(MARK), MARK, strlen(MARK));
	client_end(&c);
	assert_wiped(c.in, c.in + sizeof(c.in));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_taken_is_wiped),
		cmocka_unit_test(what_ends_the_connection_is_wiped),
		cmocka_unit_test(piece_that_libcurl_points_to_stays_until_it_goes_on),
		cmocka_unit_test(after_the_last_piece_libcurl_comes_again),
		cmocka_unit_test(piece_may_be_cut_off_in_the_middle_of_its_frame),
		cmocka_unit_test(single_bytes_are_given_back_as_well),
		cmocka_unit_test(what_was_given_back_need_not_come_again),
		cmocka_unit_test(what_is_held_goes_with_its_own_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
