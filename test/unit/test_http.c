/* HTTP: the client against a server of few lines on the same loop: it sends what it is told to, whole or in pieces, and
 * closes or keeps the connection. HTTP/2 and TLS are tested with real servers (test_source_api, e2e). */
#include "agent/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/buf.h"
#include "common/str.h"
#include "test/lib/patience.h"

#define PEERS_MAX 80

struct peer {
	int fd;
	struct loop_source *source;
	struct rig *rig;
};

struct rig {
	struct loop *loop;
	struct http *http;
	int fd;
	struct loop_source *listener;
	struct peer peers[PEERS_MAX];
	size_t n_peers;
	struct buf requests; /* all heads, one after the other */
	const char *response; /* NULL: the server is silent */
	bool close_after;
	char url[64];
};

/* One request and what came of it. */
struct answer {
	struct rig *rig;
	struct http_request *request;
	struct buf body;
	int head, status;
	unsigned n_done;
	int64_t retry_after_sec;
	struct err err;
	/* what the callbacks shall do */
	bool cancel_at_head, cancel_at_body, get_at_body;
	struct answer *cancel_other;
	struct answer *next;
};

static void settle(struct rig *t)
{
	for (unsigned i = 0; i < 50; i++)
		loop_run_once(t->loop, USEC_PER_MSEC);
}

/* ---- the server ---- */

static void peer_close(struct peer *p)
{
	loop_source_free(TAKE_PTR(p->source));
	p->fd = close_fd(p->fd);
}

static void on_peer(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct peer *p = userdata;
	struct rig *t = p->rig;
	char text[8192];
	ssize_t n;

	n = read(fd, text, sizeof(text));
	if (n <= 0) {
		peer_close(p);
		return;
	}
	assert_int_equal(buf_add(&t->requests, text, (size_t)n), 0);
	if (!t->response || n < 4 || memcmp(text + n - 4, "\r\n\r\n", 4) != 0)
		return;
	assert_int_equal(write(fd, t->response, strlen(t->response)), strlen(t->response));
	if (t->close_after)
		peer_close(p);
}

static void on_accept(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct rig *t = userdata;
	struct peer *p = &t->peers[t->n_peers++];

	assert_true(t->n_peers <= PEERS_MAX);
	p->rig = t;
	p->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(p->fd >= 0);
	assert_int_equal(loop_add_io(t->loop, p->fd, EPOLLIN, on_peer, p, &p->source), 0);
}

static size_t n_open(const struct rig *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n_peers; i++)
		n += t->peers[i].fd >= 0;
	return n;
}

static void send_all(struct rig *t, const char *text)
{
	for (size_t i = 0; i < t->n_peers; i++)
		if (t->peers[i].fd >= 0)
			assert_int_equal(write(t->peers[i].fd, text, strlen(text)), strlen(text));
}

static void new_client(struct rig *t, const char *url)
{
	struct err e = ERR_INIT;

	if (http_new(t->loop, &(struct http_options){ .server = url, .user_agent = "secretlet/test" }, &t->http, &e) <
	    0)
		fail_msg("%s", err_text(&e));
}

static int setup(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct rig *t = calloc(1, sizeof(*t));
	socklen_t len = sizeof(sin);

	t->requests = BUF_INIT(1 << 20);
	assert_int_equal(loop_new(&t->loop), 0);
	t->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(t->fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(t->fd, 64), 0);
	assert_int_equal(getsockname(t->fd, (struct sockaddr *)&sin, &len), 0);
	assert_int_equal(loop_add_io(t->loop, t->fd, EPOLLIN, on_accept, t, &t->listener), 0);
	snprintf(t->url, sizeof(t->url), "http://127.0.0.1:%u", ntohs(sin.sin_port));
	new_client(t, t->url);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct rig *t = *state;

	http_free(t->http);
	for (size_t i = 0; i < t->n_peers; i++)
		peer_close(&t->peers[i]);
	loop_source_free(t->listener);
	close_fd(t->fd);
	loop_free(t->loop);
	buf_deinit(&t->requests);
	free(t);
	return 0;
}

/* ---- requests ---- */

static void get(struct rig *t, struct answer *a, const char *target);

static void on_head(void *userdata, int status)
{
	struct answer *a = userdata;

	a->head = status;
	if (a->cancel_at_head)
		http_cancel(TAKE_PTR(a->request));
}

static void on_body(void *userdata, const char *data, size_t len)
{
	struct answer *a = userdata;

	assert_int_equal(buf_add(&a->body, data, len), 0);
	if (a->cancel_other)
		http_cancel(TAKE_PTR(a->cancel_other->request));
	if (a->get_at_body) {
		a->get_at_body = false;
		get(a->rig, a->next, "/next");
	}
	if (a->cancel_at_body)
		http_cancel(TAKE_PTR(a->request));
}

static void on_done(void *userdata, const struct http_result *result)
{
	struct answer *a = userdata;

	a->request = NULL;
	a->n_done++;
	a->status = result->status;
	a->retry_after_sec = result->retry_after_sec;
	a->err = result->err;
	if (a->next && !a->next->n_done && !a->next->request)
		get(a->rig, a->next, "/next");
}

static const struct http_callbacks CALLBACKS = { .head = on_head, .body = on_body, .done = on_done };

static void get_with(struct rig *t, struct answer *a, const struct http_get *g)
{
	a->rig = t;
	a->body = BUF_INIT(1 << 20);
	assert_int_equal(http_get(t->http, g, &CALLBACKS, a, &a->request), 0);
	assert_int_equal(a->n_done, 0);
}

static void get(struct rig *t, struct answer *a, const char *target)
{
	get_with(t, a, &(struct http_get){ .target = target });
}

static const char OK[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

static void answer_comes_whole(void **state)
{
	struct rig *t = *state;
	struct answer a = { .n_done = 0 };

	t->response = OK;
	get(t, &a, "/x?y=z");
	eventually(t, a.n_done);
	assert_int_equal(a.err.code, 0);
	assert_int_equal(a.head, 200);
	assert_int_equal(a.status, 200);
	assert_int_equal(a.retry_after_sec, -1);
	assert_string_equal(a.body.data, "hello");
	assert_true(str_starts(t->requests.data, "GET /x?y=z HTTP/1.1\r\n"));
	assert_non_null(strstr(t->requests.data, "User-Agent: secretlet/test\r\n"));
	assert_non_null(strstr(t->requests.data, "Accept: application/json\r\n"));
	assert_null(strstr(t->requests.data, "Accept-Encoding"));
	buf_deinit(&a.body);
}

static void body_is_sent_with_its_method_and_type(void **state)
{
	static const char *const methods[] = { "POST", "PATCH", "POST" };
	struct rig *t = *state;

	t->response = OK;
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		/* the end is what the server here waits for */
		cleanup_free char *body = str_format("{\"n\":%zu}\r\n\r\n", i), *line = NULL, *want = NULL;
		struct answer a = { .n_done = 0 };

		line = str_format("%s /x HTTP/1.1\r\n", methods[i]);
		want = str_format("\r\n\r\n%s", body);
		buf_clear(&t->requests);
		get_with(t, &a,
			 &(struct http_get){ .target = "/x",
					     .body = &(struct http_body){ .method = methods[i],
									  .type = "application/merge-patch+json",
									  .data = body,
									  .len = strlen(body) } });
		memset(body, 'x', strlen(body)); /* it has been copied */
		eventually(t, a.n_done);
		assert_int_equal(a.status, 200);
		assert_true(str_starts(t->requests.data, line));
		assert_non_null(strstr(t->requests.data, "\r\nContent-Type: application/merge-patch+json\r\n"));
		assert_non_null(strstr(t->requests.data, "\r\nAccept: application/json\r\n"));
		assert_non_null(strstr(t->requests.data, "\r\nContent-Length: 11\r\n"));
		assert_null(strstr(t->requests.data, "Expect"));
		assert_null(strstr(t->requests.data, "urlencoded"));
		assert_non_null(strstr(t->requests.data, want));
		buf_deinit(&a.body);
	}
	assert_int_equal(t->n_peers, 1);
}

static void body_is_of_one_request_alone(void **state)
{
	const struct http_body body = { .method = "POST", .type = "a/b", .data = "\r\n\r\n", .len = 4 };
	struct answer first = { .n_done = 0 }, second = { .n_done = 0 };
	struct rig *t = *state;

	t->response = OK;
	get_with(t, &first, &(struct http_get){ .target = "/x", .body = &body });
	eventually(t, first.n_done);
	buf_clear(&t->requests);
	get(t, &second, "/y");
	eventually(t, second.n_done);
	assert_true(str_starts(t->requests.data, "GET /y HTTP/1.1\r\n"));
	assert_null(strstr(t->requests.data, "Content-"));
	buf_deinit(&first.body);
	buf_deinit(&second.body);
}

static void connection_is_used_again(void **state)
{
	struct rig *t = *state;
	struct answer second = { .n_done = 0 }, first = { .next = &second };

	t->response = OK;
	get(t, &first, "/first");
	eventually(t, second.n_done);
	assert_int_equal(t->n_peers, 1);
	assert_int_equal(http_stats(t->http).n_requests, 2);
	assert_int_equal(http_stats(t->http).n_running, 0);
	assert_int_equal(http_stats(t->http).n_connections, 1);
	buf_deinit(&first.body);
	buf_deinit(&second.body);
}

/* With a watch, with a question that waits for its answer, and with nobody. */
static void connections_of_before_a_reopening_are_given_up(void **state)
{
	struct answer watch = { .n_done = 0 }, asked = { .n_done = 0 }, after = { .n_done = 0 },
		      idle[2] = { { .n_done = 0 } };
	struct rig *t = *state;

	t->response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	get_with(t, &watch, &(struct http_get){ .target = "/watch", .long_lived = true });
	eventually(t, watch.head == 200);
	t->response = OK;
	get(t, &idle[0], "/x");
	get(t, &idle[1], "/x");
	eventually(t, idle[0].n_done && idle[1].n_done && t->n_peers == 3);
	t->response = NULL;
	get(t, &asked, "/asked");
	eventually(t, strstr(t->requests.data, "GET /asked "));
	assert_int_equal(t->n_peers, 3);
	http_reopen(t->http);
	assert_int_equal(watch.err.code, -ECONNRESET);
	assert_int_equal(asked.err.code, -ECONNABORTED);
	assert_int_equal(http_stats(t->http).n_running, 0);
	t->response = OK;
	get(t, &after, "/after");
	eventually(t, after.n_done);
	assert_int_equal(after.err.code, 0);
	assert_int_equal(t->n_peers, 4);
	assert_int_equal(http_stats(t->http).n_connections, 1);
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		buf_deinit(&idle[i].body);
	buf_deinit(&watch.body);
	buf_deinit(&asked.body);
	buf_deinit(&after.body);
}

static void reopening_ends_what_waits_for_its_connection_and_nothing_that_has_not_begun(void **state)
{
	struct answer begun = { .n_done = 0 }, queued = { .n_done = 0 };
	struct rig *t = *state;

	t->response = OK;
	get(t, &begun, "/begun");
	eventually(t, http_stats(t->http).n_running == 1);
	get(t, &queued, "/queued");
	http_reopen(t->http);
	assert_int_equal(begun.err.code, -ECONNABORTED);
	assert_int_equal(begun.status, 0);
	eventually(t, queued.n_done);
	assert_int_equal(queued.err.code, 0);
	assert_int_equal(begun.n_done, 1);
	buf_deinit(&begun.body);
	buf_deinit(&queued.body);
}

/* It has not begun: whoever asked for it does not go on from where it was. */
static void reopening_ends_a_refused_watch_as_all_else(void **state)
{
	struct answer watch = { .n_done = 0 };
	struct rig *t = *state;

	t->response = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nbusy";
	get_with(t, &watch, &(struct http_get){ .target = "/watch", .long_lived = true });
	eventually(t, watch.head == 503);
	assert_int_equal(watch.n_done, 0);
	http_reopen(t->http);
	assert_int_equal(watch.n_done, 1);
	assert_int_equal(watch.err.code, -ECONNABORTED);
	buf_deinit(&watch.body);
}

/* How often something happens on the loop in this time. */
static unsigned n_woken(struct rig *t, uint64_t usec)
{
	uint64_t limit = clock_monotonic_usec() + usec;
	unsigned n = 0;

	while (clock_monotonic_usec() < limit)
		n += loop_run_once(t->loop, 5 * USEC_PER_MSEC) > 0;
	return n;
}

/* Whether the server takes the new credentials may show hours later, or never. */
static void watches_with_old_credentials_wait_for_the_first_one_without_a_stir(void **state)
{
	struct answer watches[3] = { { .n_done = 0 } }, anew = { .n_done = 0 };
	struct rig *t = *state;
	size_t n_done = 0;

	t->response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	for (size_t i = 0; i < ARRAY_SIZE(watches); i++)
		get_with(t, &watches[i], &(struct http_get){ .target = "/watch", .long_lived = true });
	for (size_t i = 0; i < ARRAY_SIZE(watches); i++)
		eventually(t, watches[i].head == 200);
	assert_int_equal(http_set_tls(t->http, &(struct http_tls){ .ca = NULL }), 0);
	eventually(t, watches[0].n_done || watches[1].n_done || watches[2].n_done);
	run_for(t->loop, 200 * USEC_PER_MSEC);
	assert_int_equal(n_woken(t, 500 * USEC_PER_MSEC), 0);
	t->response = OK;
	get(t, &anew, "/x");
	eventually(t, watches[0].n_done && watches[1].n_done && watches[2].n_done);
	for (size_t i = 0; i < ARRAY_SIZE(watches); i++) {
		n_done += watches[i].n_done;
		assert_int_equal(watches[i].err.code, -ECONNABORTED);
		buf_deinit(&watches[i].body);
	}
	assert_int_equal(n_done, 3);
	buf_deinit(&anew.body);
}

static void any_status_is_an_answer(void **state)
{
	static const struct {
		const char *text;
		int status;
		int64_t retry_after_sec;
	} CASES[] = {
		{ "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403, -1 },
		{ "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 503, 7 },
		{ "HTTP/1.1 429 Slow\r\nRetry-After: 99999999\r\nContent-Length: 0\r\n\r\n", 429, 120 },
		{ "HTTP/1.1 429 Slow\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", 429, -1 },
		{ "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 302, -1 },
		{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 Nothing\r\n\r\n", 204, -1 },
	};
	struct rig *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct answer a = { .n_done = 0 };

		t->response = CASES[i].text;
		get(t, &a, "/x");
		eventually(t, a.n_done);
		assert_int_equal(a.err.code, 0);
		assert_int_equal(a.status, CASES[i].status);
		assert_int_equal(a.head, CASES[i].status);
		assert_int_equal(a.retry_after_sec, CASES[i].retry_after_sec);
		buf_deinit(&a.body);
	}
	assert_null(strstr(t->requests.data, "elsewhere"));
}

static void broken_answers_are_errors(void **state)
{
	static const struct {
		const char *text;
		int status;
		bool is_no_http;
	} CASES[] = {
		{ "", 0 },
		{ "HTTP/1.1 200 O", 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", 200 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 200 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", 200 },
		{ "SSH-2.0-OpenSSH\r\n", 0, .is_no_http = true },
		{ "{\"kind\":\"SecretList\"}\r\n\r\n", 0, .is_no_http = true },
		{ "HTTP/7.3 200 OK\r\nContent-Length: 2\r\n\r\n{}", 0, .is_no_http = true },
		{ "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", 0, .is_no_http = true },
	};
	struct rig *t = *state;

	t->close_after = true;
	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct answer a = { .n_done = 0 };

		t->response = CASES[i].text;
		get(t, &a, "/x");
		eventually(t, a.n_done);
		assert_int_equal(a.n_done, 1);
		assert_true(a.err.code < 0);
		assert_int_equal(a.status, CASES[i].status);
		if (a.status == 0)
			assert_int_equal(http_is_silence(a.err.code), !CASES[i].is_no_http);
		assert_non_null(strstr(err_text(&a.err), t->url));
		buf_deinit(&a.body);
	}
}

static void headers_have_a_limit(void **state)
{
	static const struct {
		const char *begin, *line;
		int status;
	} CASES[] = {
		{ "HTTP/1.1 200 OK\r\n", "X: y\r\n", 0 },
		{ "", "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n", 0 },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", "X: y\r\n", 200 },
	};
	struct rig *t = *state;

	t->close_after = true;
	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_buf struct buf response = BUF_INIT(1 << 20);
		struct answer a = { .n_done = 0 };

		buf_add_str(&response, CASES[i].begin);
		while (response.len < 66000)
			buf_add_str(&response, CASES[i].line);
		t->response = response.data;
		get(t, &a, "/x");
		eventually(t, a.n_done);
		assert_int_equal(a.err.code, -EFBIG);
		assert_int_equal(a.status, CASES[i].status);
		assert_non_null(strstr(err_text(&a.err), "more than 64 KiB of headers"));
		buf_deinit(&a.body);
	}
}

static void refused_connection_fails_all_that_wait(void **state)
{
	struct rig *t = *state;
	struct answer a[40] = { { .n_done = 0 } };
	unsigned n = 0;

	loop_source_free(TAKE_PTR(t->listener));
	t->fd = close_fd(t->fd);
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		get(t, &a[i], "/x");
	for (size_t i = 0; i < ARRAY_SIZE(a); i++) {
		eventually(t, a[i].n_done);
		assert_int_equal(a[i].err.code, -ECONNREFUSED);
		assert_int_equal(a[i].status, 0);
		n += a[i].n_done;
	}
	assert_int_equal(n, ARRAY_SIZE(a));
	assert_true(str_starts(err_text(&a[0].err), "connect to http://127.0.0.1:"));
	assert_non_null(strstr(err_text(&a[0].err), ": Connection refused"));
}

/* Where one connection would do for all, one is tried for all. */
static void one_try_is_enough_for_all_that_wait(void **state)
{
	cleanup_free char *url = str_format("https%s", ((struct rig *)*state)->url + strlen("http"));
	struct answer a[40] = { { .n_done = 0 } };
	struct rig *t = *state;

	http_free(TAKE_PTR(t->http));
	new_client(t, url);
	loop_source_free(TAKE_PTR(t->listener));
	t->fd = close_fd(t->fd);
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		get(t, &a[i], "/x");
	for (size_t i = 0; i < ARRAY_SIZE(a); i++) {
		eventually(t, a[i].n_done);
		assert_int_equal(a[i].err.code, -ECONNREFUSED);
	}
	assert_int_equal(http_stats(t->http).n_requests, 1);
}

static void silence_is_an_error_after_its_time(void **state)
{
	struct rig *t = *state;
	struct answer silent = { .n_done = 0 }, late = { .n_done = 0 };

	get_with(t, &silent, &(struct http_get){ .target = "/x", .silence_usec = USEC_PER_SEC });
	get_with(t, &late, &(struct http_get){ .target = "/x", .timeout_usec = 50 * USEC_PER_MSEC });
	eventually(t, late.n_done);
	assert_int_equal(late.err.code, -ETIMEDOUT);
	assert_non_null(strstr(err_text(&late.err), "no answer in time"));
	assert_int_equal(silent.n_done, 0);
	eventually(t, silent.n_done);
	assert_int_equal(silent.err.code, -ETIMEDOUT);
}

/* ---- connections ---- */

/* The server takes the connection and says nothing, so TLS does not get to its end. */
static void start_silent_tls(struct rig *t, struct answer *a)
{
	cleanup_free char *url = str_format("https%s", t->url + strlen("http"));
	const struct http_options o = { .server = url,
					.user_agent = "secretlet/test",
					.connect_usec = 300 * USEC_PER_MSEC };
	struct err e = ERR_INIT;

	http_free(TAKE_PTR(t->http));
	if (http_new(t->loop, &o, &t->http, &e) < 0)
		fail_msg("%s", err_text(&e));
	get_with(t, a, &(struct http_get){ .target = "/x", .long_lived = true });
	eventually(t, a->n_done || t->requests.len > 5);
}

static void connection_that_is_not_made_in_time_is_an_error(void **state)
{
	struct answer a = { .n_done = 0 };

	start_silent_tls(*state, &a);
	eventually((struct rig *)*state, a.n_done);
	assert_int_equal(a.err.code, -ETIMEDOUT);
	assert_non_null(strstr(err_text(&a.err), "no answer in time"));
}

static unsigned u16_at(const uint8_t *data)
{
	return (unsigned)data[0] << 8 | data[1];
}

/* The body of the extension "supported_versions" of a ClientHello (RFC 8446 4.1.2, 4.2.1). */
static const uint8_t *offered_versions(const uint8_t *hello, size_t len)
{
	const uint8_t *end = hello + len, *p = hello + 5 + 4 + 2 + 32;

	p += 1 + p[0]; /* session */
	p += 2 + u16_at(p); /* cipher suites */
	p += 1 + p[0]; /* compression */
	for (p += 2; p + 4 <= end; p += 4 + u16_at(p + 2))
		if (u16_at(p) == 43)
			return p + 4;
	return NULL;
}

static void no_tls_before_1_2_is_offered(void **state)
{
	struct answer a = { .n_done = 0 };
	struct rig *t = *state;
	const uint8_t *versions;

	start_silent_tls(t, &a);
	eventually(t, t->requests.len >= 5 && t->requests.len >= 5 + (size_t)u16_at((uint8_t *)t->requests.data + 3));
	versions = offered_versions((uint8_t *)t->requests.data, t->requests.len);
	assert_non_null(versions);
	assert_true(versions[0] >= 2);
	for (size_t i = 0; i < versions[0]; i += 2)
		assert_in_range(u16_at(versions + 1 + i), 0x0303, 0x0304);
}

/* Our end of the connection to the server. */
static int client_socket(const struct rig *t)
{
	unsigned port = (unsigned)atoi(strrchr(t->url, ':') + 1);
	struct sockaddr_in sin = { .sin_port = 0 };

	for (int fd = 3; fd < 1024; fd++) {
		socklen_t len = sizeof(sin);

		if (getpeername(fd, (struct sockaddr *)&sin, &len) == 0 && sin.sin_family == AF_INET &&
		    ntohs(sin.sin_port) == port)
			return fd;
	}
	fail_msg("there is no connection to the server");
	return -1;
}

static int option_of(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

/* With and without data on its way; the kernel's own limits are hours and a quarter of an hour. */
static void kernel_finds_a_dead_peer_within_a_minute(void **state)
{
	struct answer a = { .n_done = 0 };
	struct rig *t = *state;
	int fd;

	get(t, &a, "/x");
	eventually(t, t->requests.len > 0);
	fd = client_socket(t);
	assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	/* TCP_USER_TIMEOUT ends the probing too, at the first probe behind it */
	assert_in_range(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE) + option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 2, 60);
	assert_in_range(option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 1000, 60000);
}

/* ---- streams ---- */

static void long_lived_request_streams(void **state)
{
	struct rig *t = *state;
	struct answer a = { .n_done = 0 };
	char big[9000];

	t->response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	get_with(t, &a, &(struct http_get){ .target = "/watch", .long_lived = true });
	eventually(t, a.head == 200);
	send_all(t, "3\r\none\r\n");
	eventually(t, a.body.len == 3);
	memset(big, 'x', sizeof(big));
	memcpy(big, "2000\r\n", 6); /* 8192 bytes, several buffers */
	memcpy(big + 6 + 8192, "\r\n", 3);
	send_all(t, big);
	eventually(t, a.body.len == 3 + 8192);
	assert_int_equal(a.n_done, 0);
	send_all(t, "0\r\n\r\n");
	eventually(t, a.n_done);
	assert_int_equal(a.err.code, 0);
	buf_deinit(&a.body);
}

static void each_stream_gets_its_own_connection_over_http1(void **state)
{
	struct rig *t = *state;
	struct answer a[40] = { { .n_done = 0 } };

	t->response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		get_with(t, &a[i], &(struct http_get){ .target = "/watch", .long_lived = true });
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		eventually(t, a[i].body.len == 2);
	assert_int_equal(http_stats(t->http).n_connections, ARRAY_SIZE(a));
	for (size_t i = 0; i < ARRAY_SIZE(a); i++) {
		http_cancel(a[i].request);
		buf_deinit(&a[i].body);
	}
	assert_int_equal(http_stats(t->http).n_running, 0);
	assert_int_equal(http_stats(t->http).n_connections, 0);
}

static void no_more_than_64_short_requests_run_and_watches_pass_them(void **state)
{
	struct rig *t = *state;
	struct answer a[70] = { { .n_done = 0 } }, watch = { .n_done = 0 };
	size_t n;

	/* the server is silent */
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		get(t, &a[i], "/list");
	get_with(t, &watch, &(struct http_get){ .target = "/watch", .long_lived = true });
	eventually(t, t->requests.data && strstr(t->requests.data, "GET /watch"));
	eventually(t, http_stats(t->http).n_running == 65);
	settle(t);
	n = http_stats(t->http).n_running;
	assert_int_equal(n, 65);
	/* the next one's turn comes when one has ended */
	http_cancel(TAKE_PTR(a[0].request));
	eventually(t, http_stats(t->http).n_requests == 66);
	for (size_t i = 1; i < ARRAY_SIZE(a); i++)
		http_cancel(a[i].request);
	http_cancel(watch.request);
}

static void cancelled_request_is_silent_and_its_connection_closed(void **state)
{
	struct rig *t = *state;
	struct answer queued = { .n_done = 0 }, waiting = { .n_done = 0 };

	get(t, &queued, "/never-sent");
	http_cancel(queued.request);
	get(t, &waiting, "/sent");
	eventually(t, t->requests.len > 0);
	http_cancel(waiting.request);
	http_cancel(NULL);
	eventually(t, n_open(t) == 0);
	settle(t);
	assert_int_equal(queued.n_done + waiting.n_done, 0);
	assert_null(strstr(t->requests.data, "never-sent"));
	assert_int_equal(http_stats(t->http).n_running, 0);
}

static void request_may_be_cancelled_in_its_own_callbacks(void **state)
{
	struct rig *t = *state;

	t->response = OK;
	for (unsigned i = 0; i < 2; i++) {
		struct answer a = { .cancel_at_head = i == 0, .cancel_at_body = i == 1 };

		get(t, &a, "/x");
		eventually(t, !a.request);
		settle(t);
		assert_int_equal(a.n_done, 0);
		assert_int_equal(a.body.len, i == 0 ? 0 : 5);
		assert_int_equal(http_stats(t->http).n_running, 0);
		buf_deinit(&a.body);
	}
}

static void callbacks_may_cancel_and_start_others(void **state)
{
	struct rig *t = *state;
	struct answer victim = { .n_done = 0 }, next = { .n_done = 0 };
	struct answer a = { .cancel_other = &victim, .get_at_body = true, .next = &next, .cancel_at_body = true };

	get(t, &victim, "/victim"); /* is not answered */
	eventually(t, t->requests.len > 0);
	t->response = OK;
	get(t, &a, "/x");
	eventually(t, next.n_done);
	assert_int_equal(next.err.code, 0);
	assert_string_equal(next.body.data, "hello");
	assert_int_equal(victim.n_done, 0);
	assert_int_equal(a.n_done, 0);
	assert_int_equal(http_stats(t->http).n_running, 0);
	buf_deinit(&a.body);
	buf_deinit(&next.body);
}

static void free_with_requests_running_is_clean(void **state)
{
	struct rig *t = *state;
	struct answer a[20] = { { .n_done = 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		get(t, &a[i], "/x");
	settle(t);
	http_free(TAKE_PTR(t->http));
	settle(t);
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		assert_int_equal(a[i].n_done, 0);
}

static void token_is_never_sent_in_the_clear(void **state)
{
	struct rig *t = *state;
	struct answer a = { .n_done = 0 };

	t->response = OK;
	assert_int_equal(http_set_token(t->http, "hunter2"), 0);
	get(t, &a, "/x");
	eventually(t, a.n_done);
	assert_null(strstr(t->requests.data, "hunter2"));
	assert_null(strstr(t->requests.data, "Authorization"));
	buf_deinit(&a.body);
}

static void prefix_of_the_url_is_kept_and_environment_proxies_are_not_asked(void **state)
{
	cleanup_free char *url = NULL;
	struct rig *t = *state;
	struct answer a = { .n_done = 0 };

	url = str_format("%s/a/b//", t->url);
	http_free(TAKE_PTR(t->http));
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	new_client(t, url);
	t->response = OK;
	get(t, &a, "/api");
	eventually(t, a.n_done);
	unsetenv("http_proxy");
	assert_int_equal(a.err.code, 0);
	assert_true(str_starts(t->requests.data, "GET /a/b/api HTTP/1.1\r\n"));
	assert_true(str_starts(http_server(t->http), t->url));
	buf_deinit(&a.body);
}

static void target_is_what_is_connected_to(void **state)
{
	static const struct {
		const char *server, *proxy, *ca;
		struct http_target expected;
	} CASES[] = {
		{ "https://10.0.0.1:6443", NULL, "x", { 6443, false, false } },
		{ "https://10.0.0.1", NULL, NULL, { 443, false, true } },
		{ "http://10.0.0.1/a", NULL, NULL, { 80, false, false } },
		{ "https://[fd00::1]:6443", NULL, "x", { 6443, false, false } },
		{ "https://api.example:6443", NULL, "x", { 6443, true, false } },
		{ "https://1.2.3.4.example", NULL, "x", { 443, true, false } },
		/* the proxy alone is connected to, and looked up */
		{ "https://api.example:6443", "http://10.0.0.2:3128", "x", { 3128, false, false } },
		{ "https://10.0.0.1:6443", "http://proxy.example:3128", "x", { 3128, true, false } },
		{ "https://10.0.0.1:6443", "https://[fd00::2]", "x", { 443, false, true } },
		{ "https://10.0.0.1:6443", "http://u:p@proxy.example:80", "x", { 80, true, false } },
		/* where curl goes without a port */
		{ "https://10.0.0.1:6443", "http://10.0.0.2", "x", { 1080, false, false } },
		{ "https://10.0.0.1:6443", "socks5://10.0.0.2", NULL, { 1080, false, true } },
	};
	struct rig *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		const struct http_options o = { .server = CASES[i].server,
						.proxy = CASES[i].proxy,
						.tls = { .ca = CASES[i].ca },
						.user_agent = "x" };
		struct err e = ERR_INIT;
		struct http_target got;
		struct http *h = NULL;

		if (http_new(t->loop, &o, &h, &e) < 0)
			fail_msg("%zu: %s", i, err_text(&e));
		got = http_target(h);
		assert_int_equal(got.port, CASES[i].expected.port);
		assert_int_equal(got.by_name, CASES[i].expected.by_name);
		assert_int_equal(got.system_ca, CASES[i].expected.system_ca);
		http_free(h);
	}
}

static void urls_that_are_none_are_refused(void **state)
{
	static const char *const URLS[] = { "",
					    "h",
					    "h:80",
					    "/x",
					    "ftp://h",
					    "file:///etc/passwd",
					    "https://",
					    "https:/h",
					    "https:///h",
					    "https://h:0x50",
					    "https://h:70000",
					    "https://user@h",
					    "https://user:hunter2@h",
					    "https://h?q",
					    "https://h#f",
					    "https://a b" };
	struct rig *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(URLS); i++) {
		struct http *h = NULL;
		struct err e = ERR_INIT;

		if (http_new(t->loop, &(struct http_options){ .server = URLS[i], .user_agent = "x" }, &h, &e) !=
		    -EINVAL)
			fail_msg("accepted: %s", URLS[i]);
		assert_null(h);
		assert_null(strstr(err_text(&e), "hunter2"));
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(answer_comes_whole),
		TEST(body_is_sent_with_its_method_and_type),
		TEST(body_is_of_one_request_alone),
		TEST(connection_is_used_again),
		TEST(connections_of_before_a_reopening_are_given_up),
		TEST(reopening_ends_what_waits_for_its_connection_and_nothing_that_has_not_begun),
		TEST(reopening_ends_a_refused_watch_as_all_else),
		TEST(watches_with_old_credentials_wait_for_the_first_one_without_a_stir),
		TEST(any_status_is_an_answer),
		TEST(broken_answers_are_errors),
		TEST(headers_have_a_limit),
		TEST(refused_connection_fails_all_that_wait),
		TEST(one_try_is_enough_for_all_that_wait),
		TEST(silence_is_an_error_after_its_time),
		TEST(connection_that_is_not_made_in_time_is_an_error),
		TEST(no_tls_before_1_2_is_offered),
		TEST(kernel_finds_a_dead_peer_within_a_minute),
		TEST(long_lived_request_streams),
		TEST(each_stream_gets_its_own_connection_over_http1),
		TEST(no_more_than_64_short_requests_run_and_watches_pass_them),
		TEST(cancelled_request_is_silent_and_its_connection_closed),
		TEST(request_may_be_cancelled_in_its_own_callbacks),
		TEST(callbacks_may_cancel_and_start_others),
		TEST(free_with_requests_running_is_clean),
		TEST(token_is_never_sent_in_the_clear),
		TEST(prefix_of_the_url_is_kept_and_environment_proxies_are_not_asked),
		TEST(target_is_what_is_connected_to),
		TEST(urls_that_are_none_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
