/* HTTP: which connections are asked for a sign of life by a PING, where what libcurl runs meanwhile is not to be
 * foreseen. So it is this file's http_ping() that is called, and libcurl says that HTTP/2 is spoken: with HTTP/1.1 each
 * watch has a connection of its own. PINGs that libcurl sends are tested with a real proxy (test_connections). */
#include "agent/http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "agent/http_ping.h"
#include "common/dl.h"
#include "common/log.h"
#include "common/str.h"
#include "test/lib/patience.h"

enum { N = 6, PEERS_MAX = 64 };
static const uint64_t PING_USEC = 50 * USEC_PER_MSEC;

struct peer {
	int fd;
	struct loop_source *source;
};

struct watch {
	struct http_request *request;
	unsigned n_heads, n_done;
};

static struct rig {
	struct loop *loop;
	struct http *http;
	int fd;
	struct loop_source *listener;
	struct peer peers[PEERS_MAX];
	size_t n_peers;
	struct watch watches[N];
	unsigned n_pings;
	unsigned n_astray;
	CURL *last;
	bool shares; /* the first two watches are streams of one connection */
	long shared_port;
	bool is_first_mute;
	unsigned n_first, n_second; /* PINGs for these */
	bool is_deaf; /* the server */
	bool is_due; /* something that libcurl writes to the last watch's connection, and that is not answered */
	unsigned n_resets;
	bool (*ping)(struct rig *t, CURL *easy);
} rig;

/* ---- what http.c is linked with ---- */

static void *of_curl(struct dl *lib, const char *symbol)
{
	void *p;

	lib->handle = lib->handle ?: dlopen(lib->name, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(lib->handle);
	p = dlsym(lib->handle, symbol);
	assert_non_null(p);
	return p;
}

static struct watch *watch_of(struct rig *t, CURL *easy);

static bool has_port(int r, const struct sockaddr_in *sin, long port)
{
	return r == 0 && sin->sin_family == AF_INET && ntohs(sin->sin_port) == port;
}

static CURLcode get_info(CURL *easy, CURLINFO info, void *ret)
{
	static struct dl curl = { .name = "libcurl.so.4" };
	static CURLcode (*real)(CURL *, CURLINFO, ...);
	const struct watch *w;
	CURLcode code;

	if (info == CURLINFO_HTTP_VERSION) {
		*(long *)ret = CURL_HTTP_VERSION_2_0;
		return CURLE_OK;
	}
	if (!real)
		real = (typeof(real))of_curl(&curl, "curl_easy_getinfo");
	code = real(easy, info, ret);
	if (info != CURLINFO_LOCAL_PORT || !rig.shares)
		return code;
	w = watch_of(&rig, easy);
	if (w == &rig.watches[0])
		rig.shared_port = *(long *)ret;
	if (w == &rig.watches[1])
		*(long *)ret = rig.shared_port;
	return code;
}

static struct watch *watch_of(struct rig *t, CURL *easy)
{
	char *request = NULL;

	assert_int_equal(get_info(easy, CURLINFO_PRIVATE, &request), CURLE_OK);
	for (unsigned i = 0; i < N; i++)
		if ((char *)t->watches[i].request == request)
			return &t->watches[i];
	return NULL;
}

static int socket_of(CURL *easy)
{
	struct sockaddr_in sin = { .sin_family = AF_UNSPEC };
	socklen_t len;
	long port = 0;

	assert_int_equal(get_info(easy, CURLINFO_LOCAL_PORT, &port), CURLE_OK);
	for (int fd = 3; fd < 1024; fd++) {
		len = sizeof(sin);
		if (has_port(getsockname(fd, (struct sockaddr *)&sin, &len), &sin, port))
			return fd;
	}
	return -1;
}

bool http_ping(CURLM *multi, CURL *easy)
{
	int running;

	rig.n_pings++;
	if (watch_of(&rig, easy) == &rig.watches[N - 1])
		rig.last = easy;
	/* as with libcurl 8 */
	curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	return rig.ping && rig.ping(&rig, easy);
}

static CURLMcode socket_action(CURLM *multi, curl_socket_t fd, int events, int *ret_running)
{
	static struct dl curl = { .name = "libcurl.so.4" };
	static CURLMcode (*real)(CURLM *, curl_socket_t, int, int *);

	if (!real)
		real = (typeof(real))of_curl(&curl, "curl_multi_socket_action");
	if (rig.is_due && rig.last && rig.watches[N - 1].request && fd == CURL_SOCKET_TIMEOUT) {
		rig.n_resets += send(socket_of(rig.last), "RST", 3, MSG_NOSIGNAL) == 3;
		rig.is_due = false;
	}
	return real(multi, fd, events, ret_running);
}

void *dl_symbol(struct dl *lib, const char *symbol)
{
	if (str_eq(symbol, "curl_easy_getinfo"))
		return (void *)get_info;
	return str_eq(symbol, "curl_multi_socket_action") ? (void *)socket_action : of_curl(lib, symbol);
}

/* ---- the server ---- */

/* A watch's head, and a piece for whatever comes later. */
static void on_peer(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	static const char HEAD[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
	static const char EMPTY[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	static const char PIECE[] = "2\r\nho\r\n";
	struct peer *p = userdata;
	const char *answer;
	char text[8192];
	ssize_t n;

	n = read(fd, text, sizeof(text) - 1);
	if (n < 0 && errno == EAGAIN) /* write_ping() has had what the loop was about to tell */
		return;
	if (n <= 0) {
		loop_source_free(TAKE_PTR(p->source));
		p->fd = close_fd(p->fd);
		return;
	}
	if (rig.is_deaf)
		return;
	text[n] = '\0';
	if (str_starts(text, "RST") && !strstr(text, "PING"))
		return;
	answer = str_starts(text, "GET /livez") ? EMPTY : str_starts(text, "GET ") ? HEAD : PIECE;
	assert_int_equal(write(fd, answer, strlen(answer)), strlen(answer));
}

static void on_accept(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct rig *t = userdata;
	struct peer *p = &t->peers[t->n_peers++];

	assert_true(t->n_peers <= PEERS_MAX);
	/* cppcheck-suppress nullPointer ; accept4(2): nobody asks who connects */
	p->fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(p->fd >= 0);
	assert_int_equal(loop_add_io(t->loop, p->fd, EPOLLIN, on_peer, p, &p->source), 0);
}

/* ---- watches ---- */

static void on_head(void *userdata, int status)
{
	((struct watch *)userdata)->n_heads++;
}

static void on_body(void *userdata, const char *data, size_t len)
{
}

static void on_done(void *userdata, const struct http_result *result)
{
	struct watch *w = userdata;

	w->request = NULL;
	w->n_done++;
}

static int setup(void **state)
{
	static const struct http_callbacks callbacks = { .head = on_head, .body = on_body, .done = on_done };
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	struct err e = ERR_INIT;
	struct rig *t = &rig;
	char url[64];

	*t = (struct rig){ .n_pings = 0 };
	assert_int_equal(loop_new(&t->loop), 0);
	t->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(t->fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(t->fd, 64), 0);
	assert_int_equal(getsockname(t->fd, (struct sockaddr *)&sin, &len), 0);
	assert_int_equal(loop_add_io(t->loop, t->fd, EPOLLIN, on_accept, t, &t->listener), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", ntohs(sin.sin_port));
	assert_int_equal(http_new(t->loop,
				  &(struct http_options){
					  .server = url, .user_agent = "secretlet/test", .ping_usec = PING_USEC },
				  &t->http, &e),
			 0);
	for (unsigned i = 0; i < N; i++) {
		struct watch *w = &t->watches[i];

		assert_int_equal(http_get(t->http, &(struct http_get){ .target = "/watch", .long_lived = true },
					  &callbacks, w, &w->request),
				 0);
		eventually(t, w->n_heads == 1);
	}
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct rig *t = *state;

	http_free(t->http);
	for (size_t i = 0; i < t->n_peers; i++) {
		loop_source_free(t->peers[i].source);
		close_fd(t->peers[i].fd);
	}
	loop_source_free(t->listener);
	close_fd(t->fd);
	loop_free(t->loop);
	return 0;
}

/* ---- tests ---- */

/* The client's own, which is one to be asked, too, if this program was slow to answer it. */
static bool is_question(CURL *easy)
{
	char *url = NULL;

	assert_int_equal(get_info(easy, CURLINFO_EFFECTIVE_URL, &url), CURLE_OK);
	return strstr(url, "/livez/ping") != NULL;
}

/* libcurl has run what was due, and a pod that came to its end took the next watch along. */
static bool cancel_the_next(struct rig *t, CURL *easy)
{
	struct watch *w = watch_of(t, easy);

	assert_true(w || is_question(easy)); /* and is no request that has gone */
	if (w && w + 1 < t->watches + N)
		http_cancel(TAKE_PTR(w[1].request));
	return false;
}

static void any_request_may_be_cancelled_while_one_is_asked(void **state)
{
	struct rig *t = *state;

	t->ping = cancel_the_next;
	eventually(t, http_stats(t->http).n_running == N / 2 && t->n_pings >= N);
	for (unsigned i = 0; i < N; i += 2)
		assert_non_null(t->watches[i].request);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(t->watches[i].n_done, 0);
}

static void wait_for_input(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, PATIENCE_USEC / USEC_PER_MSEC), 1);
}

/* The answer is there at once: a busy machine's pauses are no silence. */
static bool write_ping(struct rig *t, CURL *easy)
{
	int fd = socket_of(easy);
	struct sockaddr_in sin = { .sin_family = AF_UNSPEC };
	socklen_t len;
	long port = 0;

	assert_int_equal(get_info(easy, CURLINFO_LOCAL_PORT, &port), CURLE_OK);
	assert_int_equal(write(fd, "PING", 4), 4);
	for (size_t i = 0; i < t->n_peers && !t->is_deaf; i++) {
		len = sizeof(sin);
		if (!has_port(getpeername(t->peers[i].fd, (struct sockaddr *)&sin, &len), &sin, port))
			continue;
		wait_for_input(t->peers[i].fd);
		on_peer(NULL, t->peers[i].fd, POLLIN, &t->peers[i]);
		wait_for_input(fd);
	}
	return true;
}

static bool ping_it(struct rig *t, CURL *easy)
{
	return write_ping(t, easy);
}

/* The first one's lands on the last one's connection, which had something to say just before. */
static bool ping_another(struct rig *t, CURL *easy)
{
	struct watch *w = watch_of(t, easy);

	if (w != &t->watches[0] || !t->last)
		return write_ping(t, easy);
	t->n_astray++;
	return write_ping(t, t->last);
}

/* For some rounds. */
static void expect_all_to_live(struct rig *t)
{
	unsigned n = t->n_pings;

	eventually(t, t->n_pings >= n + 6 * N);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(t->watches[i].n_done, 0);
}

static void connections_that_answer_stay(void **state)
{
	struct rig *t = *state;

	t->ping = ping_it;
	expect_all_to_live(t);
}

static void connection_whose_ping_went_astray_stays(void **state)
{
	struct rig *t = *state;

	t->ping = ping_another;
	expect_all_to_live(t);
	assert_true(t->n_astray > 1);
}

/* That one was not asked by this. */
static void connection_where_something_was_due_stays(void **state)
{
	struct rig *t = *state;

	t->ping = ping_it;
	eventually(t, (t->is_due = true, t->n_pings >= 6 * N));
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(t->watches[i].n_done, 0);
	assert_true(t->n_resets > 0);
}

static void connection_that_does_not_answer_is_given_up(void **state)
{
	struct rig *t = *state;

	t->ping = ping_it;
	t->is_deaf = true;
	for (unsigned i = 0; i < N; i++)
		eventually(t, t->watches[i].n_done == 1);
}

/* Nothing is written: there is no room. */
static bool keep_for_later(struct rig *t, CURL *easy)
{
	struct watch *w = watch_of(t, easy);

	if (w == &t->watches[0])
		t->n_first++;
	if (w == &t->watches[1])
		t->n_second++;
	return w != &t->watches[0] || !t->is_first_mute;
}

static void connection_without_room_has_one_ping_waiting_for_each_time(void **state)
{
	struct rig *t = *state;

	t->shares = true;
	t->ping = keep_for_later;
	eventually(t, t->n_first >= 3);
	assert_int_equal(t->n_second, 0);
}

static void other_stream_is_tried_where_one_has_sent_no_ping(void **state)
{
	struct rig *t = *state;

	t->shares = t->is_first_mute = true;
	t->ping = keep_for_later;
	eventually(t, t->n_second >= 3);
	assert_int_equal(t->n_second, t->n_first);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(any_request_may_be_cancelled_while_one_is_asked),
		TEST(connections_that_answer_stay),
		TEST(connection_whose_ping_went_astray_stays),
		TEST(connection_where_something_was_due_stays),
		TEST(connection_that_does_not_answer_is_given_up),
		TEST(connection_without_room_has_one_ping_waiting_for_each_time),
		TEST(other_stream_is_tried_where_one_has_sent_no_ping),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
