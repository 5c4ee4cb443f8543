/* The listener, over real connections: a loop in a thread answers, the tests are its scrapers, the hostile ones too. */
#include "agent/listener.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common/str.h"

#define LIFE_USEC     (400 * USEC_PER_MSEC)
#define PATIENCE_MSEC 20000
#define FOR_EVER      (3600 * USEC_PER_SEC)
#define CONNECTIONS   16 /* as many as it takes at the same time */

static struct fixture {
	struct loop *loop;
	struct loop_source *source;
	struct listener *listener;
	struct bind_address address;
	int stop; /* eventfd */
	pthread_t thread;
	size_t page_len;
	atomic_uint n_made[PAGES_N];
	atomic_int failure; /* of a page; 0: none */
} f;

static int fake_page(void *userdata, enum page page, bool verbose, struct buf *text)
{
	char *room;

	f.n_made[page]++;
	if (f.failure)
		return f.failure;
	if (page == PAGE_READYZ)
		return PAGE_BAD;
	if (page == PAGE_METRICS && f.page_len > 0) {
		if (buf_reserve(text, f.page_len, &room) < 0)
			return -ENOMEM;
		memset(room, 'x', f.page_len);
		buf_advance(text, f.page_len);
		return PAGE_GOOD;
	}
	return buf_printf(text, "%s%s", page_name(page), verbose ? " verbose" : "") < 0 ? -ENOMEM : PAGE_GOOD;
}

static void on_stop(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	loop_exit(f.loop, 0);
}

static void *thread_main(void *userdata)
{
	loop_run(f.loop);
	listener_free(TAKE_PTR(f.listener));
	return NULL;
}

static void start_with(unsigned pages, uint64_t life_usec, uint64_t fresh_usec)
{
	const struct listener_options o = {
		.pages = pages, .page = fake_page, .life_usec = life_usec, .fresh_usec = fresh_usec
	};
	struct err e = ERR_INIT;
	int fd = -1;

	f = (struct fixture){ .stop = eventfd(0, EFD_CLOEXEC) };
	assert_int_equal(bind_address_parse("127.0.0.1:1", &f.address), 0);
	f.address.v4.sin_port = 0;
	if (listener_open(&f.address, &fd, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_int_equal(getsockname(fd, &f.address.any, &f.address.len), 0);
	assert_int_equal(loop_new(&f.loop), 0);
	if (listener_new(f.loop, fd, &o, &f.listener, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_int_equal(loop_add_io(f.loop, f.stop, EPOLLIN, on_stop, NULL, &f.source), 0);
	assert_int_equal(pthread_create(&f.thread, NULL, thread_main, NULL), 0);
}

static void start(unsigned pages)
{
	start_with(pages, LIFE_USEC, 0);
}

#define ALL_PAGES (1U << PAGE_METRICS | 1U << PAGE_HEALTHZ | 1U << PAGE_READYZ)
static int setup(void **state)
{
	start(ALL_PAGES);
	return 0;
}

/* A page is good for as long as any test takes. */
static int setup_for_ever(void **state)
{
	start_with(ALL_PAGES, FOR_EVER, FOR_EVER);
	return 0;
}

/* A page is never good twice. */
static int setup_fleeting(void **state)
{
	start_with(ALL_PAGES, FOR_EVER, 1);
	return 0;
}

static int teardown(void **state)
{
	uint64_t n = 1;

	assert_int_equal(write(f.stop, &n, sizeof(n)), sizeof(n));
	pthread_join(f.thread, NULL);
	loop_source_free(f.source);
	loop_free(f.loop);
	close(f.stop);
	return 0;
}

static int visit(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, &f.address.any, f.address.len), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	(void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* All that comes until the end of the stream. Returns how much; what there is room for is in answer. */
static size_t hear(int fd, char *answer, size_t size)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char piece[4096];
	size_t have = 0;

	answer[0] = '\0';
	for (;;) {
		ssize_t n;

		if (poll(&p, 1, PATIENCE_MSEC) == 0)
			fail_msg("the connection is still open after %d ms", PATIENCE_MSEC);
		n = read(fd, piece, sizeof(piece));
		if (n <= 0)
			return have;
		if (have + (size_t)n < size) {
			memcpy(answer + have, piece, (size_t)n);
			answer[have + (size_t)n] = '\0';
		}
		have += (size_t)n;
	}
}

static unsigned ask(const char *request, char *answer, size_t size)
{
	cleanup_fd int fd = visit();
	unsigned status = 0;

	say(fd, request);
	hear(fd, answer, size);
	sscanf(answer, "HTTP/1.%*d %u", &status);
	return status;
}

static unsigned get(const char *target, char *answer, size_t size)
{
	cleanup_free char *request = str_format("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);

	return ask(request, answer, size);
}

static const char *body_of(const char *answer)
{
	const char *body = strstr(answer, "\r\n\r\n");

	assert_non_null(body);
	return body + 4;
}

static void pages_are_answered_and_nothing_else(void **state)
{
	static const struct {
		const char *target;
		unsigned status;
		const char *body;
	} cases[] = {
		{ "/metrics", 200, "metrics" },
		{ "/healthz", 200, "healthz" },
		{ "/healthz?verbose", 200, "healthz verbose" },
		{ "/readyz", 500, "" },
		{ "/", 404, "no such path\n" },
		{ "/metrics/", 404, "no such path\n" },
		{ "/%6detrics", 404, "no such path\n" },
		{ "/v1/status", 404, "no such path\n" },
		{ "/v1/pods", 404, "no such path\n" },
		{ "/../metrics", 404, "no such path\n" },
	};
	char answer[4096];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(get(cases[i].target, answer, sizeof(answer)), cases[i].status);
		assert_string_equal(body_of(answer), cases[i].body);
		assert_non_null(strstr(answer, "Connection: close\r\n"));
		assert_non_null(strstr(answer, "Content-Type: text/plain; "));
	}
}

static void only_get_and_head_are_possible(void **state)
{
	static const char *const methods[] = { "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "NONSENSE" };
	char answer[4096];

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		cleanup_free char *request = str_format("%s /metrics HTTP/1.1\r\nHost: x\r\n\r\n", methods[i]);

		assert_int_equal(ask(request, answer, sizeof(answer)), 405);
		assert_non_null(strstr(answer, "Allow: GET, HEAD\r\n"));
	}
	assert_int_equal(ask("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", answer, sizeof(answer)), 200);
	assert_string_equal(body_of(answer), "");
}

static void a_page_that_it_was_not_made_for_is_not_there(void **state)
{
	char answer[4096];

	start(1U << PAGE_HEALTHZ);
	assert_int_equal(get("/healthz", answer, sizeof(answer)), 200);
	assert_int_equal(get("/metrics", answer, sizeof(answer)), 404);
	assert_int_equal(get("/readyz", answer, sizeof(answer)), 404);
}

static void garbage_ends_the_connection_alone(void **state)
{
	static const char *const garbage[] = {
		"\r\n\r\n\r\n\r\n",
		"\x16\x03\x01\x02",
		"GET\r\n\r\n",
		"GET /metrics HTTP/9.9\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
		"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nabc",
	};
	char answer[4096];

	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++)
		(void)ask(garbage[i], answer, sizeof(answer));
	assert_int_equal(get("/metrics", answer, sizeof(answer)), 200);
}

static void heads_and_bodies_are_bounded(void **state)
{
	cleanup_free char *head = malloc(65537);
	cleanup_fd int fd = visit();
	char answer[4096];

	assert_non_null(head);
	memset(head, 'a', 65536);
	head[65536] = '\0';
	say(fd, "GET /metrics HTTP/1.1\r\nX: ");
	say(fd, head);
	say(fd, "\r\n\r\n");
	hear(fd, answer, sizeof(answer));
	assert_null(strstr(answer, " 200 "));

	fd = close_fd(fd);
	fd = visit();
	say(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n");
	say(fd, head);
	hear(fd, answer, sizeof(answer));
	assert_null(strstr(answer, " 200 "));
}

/* A byte now and then keeps libmicrohttpd's own limit away for ever. */
static void who_asks_slowly_is_sent_away(void **state)
{
	cleanup_fd int fd = visit();
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;
	int tries = 0;

	say(fd, "GET /metrics HTTP/1.1\r\nX: ");
	while (poll(&p, 1, 50) == 0) {
		say(fd, "a");
		assert_true(++tries < PATIENCE_MSEC / 50);
	}
	assert_true(read(fd, &byte, 1) <= 0);
}

static void who_reads_slowly_is_sent_away(void **state)
{
	struct pollfd p = { .events = POLLRDHUP };
	cleanup_fd int fd = -1;
	char answer[64];

	f.page_len = PAGE_BYTES_MAX - 4096;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ 2048 }, sizeof(int)), 0);
	assert_int_equal(connect(fd, &f.address.any, f.address.len), 0);
	say(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	p.fd = fd;
	(void)poll(&p, 1, (int)(3 * LIFE_USEC / USEC_PER_MSEC));
	assert_true(hear(fd, answer, sizeof(answer)) < f.page_len);
}

static void idle_connections_only_delay_the_others(void **state)
{
	int idle[2 * CONNECTIONS];
	char answer[4096];

	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		idle[i] = visit();
	assert_int_equal(get("/metrics", answer, sizeof(answer)), 200);
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		close(idle[i]);
}

static void who_leaves_gives_his_place_back(void **state)
{
	char answer[4096];

	for (int i = 0; i < 10 * CONNECTIONS; i++) {
		int fd = visit();

		say(fd, i % 2 ? "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" : "GET /me");
		close(fd);
	}
	assert_int_equal(get("/metrics", answer, sizeof(answer)), 200);
}

/* Teardown does it. */
static void the_end_with_connections_open_is_clean(void **state)
{
	char answer[4096];

	(void)visit();
	say(visit(), "GET /metrics HTTP/1.1\r\nX: ");
	assert_int_equal(get("/healthz", answer, sizeof(answer)), 200);
}

static void a_page_is_made_once_however_often_it_is_asked_for(void **state)
{
	char answer[4096];

	for (int i = 0; i < 10 * CONNECTIONS; i++) {
		assert_int_equal(get("/metrics?verbose", answer, sizeof(answer)), 200);
		assert_int_equal(get("/metrics", answer, sizeof(answer)), 200);
		assert_int_equal(ask("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", answer, sizeof(answer)), 200);
		assert_int_equal(get("/readyz", answer, sizeof(answer)), 500);
	}
	assert_int_equal(f.n_made[PAGE_METRICS], 1);
	assert_int_equal(f.n_made[PAGE_READYZ], 1);
	/* another text is another page */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(get("/healthz", answer, sizeof(answer)), 200);
		assert_string_equal(body_of(answer), "healthz");
		assert_int_equal(get("/healthz?verbose", answer, sizeof(answer)), 200);
		assert_string_equal(body_of(answer), "healthz verbose");
	}
	assert_int_equal(f.n_made[PAGE_HEALTHZ], 2);
}

/* All of them send the same text, in pieces, while it is replaced and when the listener goes. */
static void a_page_that_is_being_sent_may_be_replaced(void **state)
{
	char answer[8192];
	int slow[CONNECTIONS / 2];

	f.page_len = PAGE_BYTES_MAX - 4096;
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++) {
		slow[i] = visit();
		say(slow[i], "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
		assert_int_equal(recv(slow[i], answer, 1, MSG_PEEK), 1);
	}
	assert_int_equal(get("/metrics", answer, sizeof(answer)), 200);
	assert_int_equal(f.n_made[PAGE_METRICS], ARRAY_SIZE(slow) + 1);
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++) {
		assert_true(hear(slow[i], answer, sizeof(answer)) > f.page_len);
		close(slow[i]);
	}
}

static void a_page_that_cannot_be_made_is_not_tried_for_each_who_asks(void **state)
{
	char answer[4096];

	f.failure = -ENOMEM;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(get("/metrics", answer, sizeof(answer)), 500);
		assert_string_equal(body_of(answer), "Cannot allocate memory\n");
	}
	assert_int_equal(f.n_made[PAGE_METRICS], 1);
}

static void a_page_that_is_old_is_made_anew(void **state)
{
	char answer[4096];

	f.failure = -ENOMEM;
	assert_int_equal(get("/metrics", answer, sizeof(answer)), 500);
	f.failure = 0;
	for (int i = 0; i < 3; i++)
		assert_int_equal(get("/metrics", answer, sizeof(answer)), 200);
	assert_int_equal(f.n_made[PAGE_METRICS], 4);
}

static void a_port_that_is_taken_is_an_error(void **state)
{
	struct err e = ERR_INIT;
	int fd = -1;

	assert_int_equal(listener_open(&f.address, &fd, &e), -EADDRINUSE);
	assert_string_equal(err_text(&e), "bind: Address already in use");
	assert_int_equal(fd, -1);
}

int main(void)
{
#define LISTENING(t)	  cmocka_unit_test_setup_teardown(t, setup, teardown)
#define FOR_EVER_FRESH(t) cmocka_unit_test_setup_teardown(t, setup_for_ever, teardown)
#define FLEETING(t)	  cmocka_unit_test_setup_teardown(t, setup_fleeting, teardown)
	const struct CMUnitTest tests[] = {
		LISTENING(pages_are_answered_and_nothing_else),
		LISTENING(only_get_and_head_are_possible),
		cmocka_unit_test_teardown(a_page_that_it_was_not_made_for_is_not_there, teardown),
		LISTENING(garbage_ends_the_connection_alone),
		LISTENING(heads_and_bodies_are_bounded),
		LISTENING(who_asks_slowly_is_sent_away),
		LISTENING(who_reads_slowly_is_sent_away),
		LISTENING(idle_connections_only_delay_the_others),
		LISTENING(who_leaves_gives_his_place_back),
		LISTENING(the_end_with_connections_open_is_clean),
		FOR_EVER_FRESH(a_page_is_made_once_however_often_it_is_asked_for),
		FOR_EVER_FRESH(a_page_that_cannot_be_made_is_not_tried_for_each_who_asks),
		FLEETING(a_page_that_is_old_is_made_anew),
		FLEETING(a_page_that_is_being_sent_may_be_replaced),
		LISTENING(a_port_that_is_taken_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
