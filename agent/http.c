/* HTTP: libcurl's multi_socket interface on the loop. One multi handle shares its connections among all requests: with
 * HTTP/2 up to the server's limit of streams on each, then curl opens one more; with HTTP/1.1 one each.
 *
 * curl opens a connection for every request that finds no room at that moment, even while one is being opened that
 * would have room for all. So requests are given to curl one by one, each when the one before it has found its place;
 * when a connection cannot be opened, all that wait for it fail together.
 *
 * curl 7.88 forgets data of an HTTP/2 stream in its own buffers when more than one buffer full has come, until the
 * socket becomes readable for some other reason; so a stream that has delivered is made to look again ("nudged") until
 * it has nothing more. With that, buffers can be small, which counts with a thousand watches. What a connection has received
 * is wiped as curl takes it from there (common/wipe_http2.c), and what a request was given when we have taken it.
 *
 * curl reuses a connection only for a request with the same CA and certificate. So when they change nothing has to be
 * told to curl: a request takes along those of its time ("struct tls"), and the old connections go with their last
 * request.
 *
 * curl allows next to nothing from inside its callbacks, and ours may do anything. So a request that is started is only
 * queued and added by a deferred call, and one that is cancelled while curl is on the stack is marked, answers curl's
 * next callback with an error, and is removed when curl has returned ("the graveyard"). */
#include "agent/http.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "agent/http_ping.h"
#include "agent/http_server.h"
#include "agent/pulse.h"
#include "agent/reason.h"
#include "common/backoff.h"
#include "common/list.h"
#include "common/log.h"
#include "common/str.h"

enum {
	CONNECT_TIMEOUT_MSEC = 30000,
	KEEPALIVE_IDLE_SEC = 30,
	KEEPALIVE_INTERVAL_SEC = 15,
	UNACKED_MSEC = 30000, /* a dead peer is noticed although data is on its way to it */
	STREAMS_MAX = 250, /* the API server's own default; it may announce less */
	CACHED_CONNECTIONS_MAX = 16, /* idle ones kept open */
	CONNECTIONS_SEEN = 64,
	BUFFER_LONG_LIVED = 1024, /* curl's minimum */
	BUFFER_DEFAULT = 16384,
	RETRY_AFTER_MAX_SEC = 120, /* API servers ask for half a minute at most */
	OPENERS_MAX = 16, /* connections that are opened at the same time where each request needs its own */
	STARTS_PER_TURN = 64,
	DRAIN_AGE_MSEC = 2000, /* a younger watch would be taken for one that the server does not want */
	DRAIN_GAP_MSEC = 50, /* between two watches that are ended, on the average */
	PING_MSEC = 15000,
	HEAD_BYTES_MAX = 64 * 1024, /* interim answers and trailers included; an API server's are some hundred bytes */
	STATUS_OK = 200,
	SHORT_MAX = 64, /* lists at the same time: an API server takes 400 from all its clients together by default */
};

/* A token's header, shared by the requests that were started while it was valid. */
struct headers {
	size_t refs;
	struct curl_slist *list;
};

/* CA and client certificate, shared by the requests that were started while they were valid. */
struct tls {
	size_t refs;
	char *ca, *cert, *key;
	bool tried; /* a running watch was ended for it */
	bool proven; /* the server has answered on a connection with it */
};

struct http {
	struct loop *loop;
	struct loop_source *timer, *run_now, *start_soon, *drain, *ping;
	CURLM *multi;
	CURLSH *share; /* of TLS sessions: none is kept, but each request would have room for some of its own otherwise */
	struct pulse pulse;
	struct tls *tls;
	struct http_server server;
	struct http_options options;
	struct headers *headers;
	struct list queued, queued_short, running, graveyard, nudged; /* queued: long-lived ones */
	uint64_t n_asked;
	uint64_t ping_usec;
	bool multiplexes; /* HTTP/2, as far as we know */
	bool has_answered; /* so we know */
	bool in_curl;
	bool mute_told; /* that some connection cannot be asked */
	bool left_early; /* some request has, since requests were nudged last */
	size_t n_unplaced; /* given to curl, without a connection yet */
	size_t n_short; /* given to curl, not long-lived */
	struct http_stats stats;
	struct api_calls calls;
};

struct http_request {
	struct list link, nudge_link;
	struct http *http;
	CURL *easy;
	struct headers *headers;
	struct tls *tls;
	const struct http_callbacks *callbacks;
	void *userdata;
	struct api_call call;
	uint64_t head_usec; /* when the head came */
	size_t head_bytes;
	uint64_t number; /* in the order in which they were asked for */
	bool long_lived, added, placed, cancelled, has_head;
	bool mute; /* curl sent no PING for it when it should last */
	int status;
	uint64_t silence_usec, timeout_usec;
	char error[CURL_ERROR_SIZE];
};

/* ---- headers ---- */

static void headers_unref(struct headers *h)
{
	if (!h || --h->refs > 0)
		return;
	for (struct curl_slist *s = h->list; s; s = s->next)
		explicit_bzero(s->data, strlen(s->data));
	curl_slist_free_all(h->list);
	free(h);
}
DEFINE_CLEANUP(struct headers *, headers_unref);

static int headers_add(struct headers *h, const char *name, const char *value)
{
	cleanup_secret char *line = str_format("%s: %s", name, value);
	struct curl_slist *list = line ? curl_slist_append(h->list, line) : NULL;

	if (!list)
		return -ENOMEM;
	h->list = list;
	return 0;
}

static int headers_new(const struct http *h, const char *token, struct headers **ret)
{
	cleanup(headers_unrefp) struct headers *hs = calloc(1, sizeof(*hs));
	cleanup_secret char *bearer = token ? str_format("Bearer %s", token) : NULL;
	int r;

	if (!hs || (token && !bearer))
		return -ENOMEM;
	hs->refs = 1;
	r = headers_add(hs, "Accept", "application/json");
	if (r < 0)
		return r;
	r = h->server.host_header ? headers_add(hs, "Host", h->server.host_header) : 0;
	if (r < 0)
		return r;
	r = bearer ? headers_add(hs, "Authorization", bearer) : 0;
	if (r < 0)
		return r;
	*ret = TAKE_PTR(hs);
	return 0;
}

/* The same, and the body's type. */
static int headers_of_body(const struct headers *from, const struct http_body *body, struct headers **ret)
{
	cleanup(headers_unrefp) struct headers *hs = calloc(1, sizeof(*hs));
	struct curl_slist *list;
	int r;

	if (!hs)
		return -ENOMEM;
	hs->refs = 1;
	for (const struct curl_slist *s = from->list; s; s = s->next) {
		list = curl_slist_append(hs->list, s->data);
		if (!list)
			return -ENOMEM;
		hs->list = list;
	}
	r = headers_add(hs, "Content-Type", body->type);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(hs);
	return 0;
}

int http_set_token(struct http *h, const char *token)
{
	struct headers *fresh = NULL;
	int r;

	r = headers_new(h, h->server.https ? token : NULL, &fresh);
	if (r < 0)
		return r;
	headers_unref(h->headers);
	h->headers = fresh;
	return 0;
}

/* ---- CA and client certificate ---- */

static void tls_unref(struct tls *t)
{
	if (!t || --t->refs > 0)
		return;
	free(t->ca);
	free(t->cert);
	str_free_secret(t->key);
	free(t);
}
DEFINE_CLEANUP(struct tls *, tls_unref);

static int tls_new(const struct http_tls *from, struct tls **ret)
{
	cleanup(tls_unrefp) struct tls *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->refs = 1;
	t->ca = from->ca ? strdup(from->ca) : NULL;
	t->cert = from->cert ? strdup(from->cert) : NULL;
	t->key = from->key ? strdup(from->key) : NULL;
	if (!t->ca != !from->ca || !t->cert != !from->cert || !t->key != !from->key)
		return -ENOMEM;
	*ret = TAKE_PTR(t);
	return 0;
}

static void drain_later(struct http *h)
{
	loop_timer_set(h->drain, (uint64_t)(random01() * 2 * DRAIN_GAP_MSEC) * USEC_PER_MSEC);
}

int http_set_tls(struct http *h, const struct http_tls *tls)
{
	struct tls *fresh = NULL;
	struct http_request *r;
	int code;

	assert(!h->in_curl);
	code = tls_new(tls, &fresh);
	if (code < 0)
		return code;
	tls_unref(h->tls);
	h->tls = fresh;
	pulse_begin_generation(&h->pulse);
	/* the last one to go closes the connection behind it */
	list_for_each (r, &h->running, link)
		curl_easy_setopt(r->easy, CURLOPT_FORBID_REUSE, 1L);
	drain_later(h);
	return 0;
}

/* ---- requests: life ---- */

static bool has_queued(const struct http *h)
{
	return !list_empty(&h->queued) || !list_empty(&h->queued_short);
}

static void placed(struct http_request *r)
{
	struct http *h = r->http;

	if (r->placed || !r->added)
		return;
	r->placed = true;
	h->n_unplaced--;
	if (has_queued(h))
		loop_defer_set(h->start_soon);
}

static void short_ended(struct http_request *r)
{
	struct http *h = r->http;

	if (r->long_lived)
		return;
	h->n_short--;
	if (has_queued(h))
		loop_defer_set(h->start_soon);
}

static void request_free(struct http_request *r)
{
	placed(r);
	if (r->added) {
		curl_multi_remove_handle(r->http->multi, r->easy);
		short_ended(r);
	}
	curl_easy_cleanup(r->easy);
	list_remove(&r->link);
	list_remove(&r->nudge_link);
	headers_unref(r->headers);
	tls_unref(r->tls);
	free(r);
}

/* Of a request that ends before its answer does. curl may have stopped in the middle of what has come on the connection because
 * of it: another request there has to look for more. Where there is none the connection goes, and what lies there with it. */
static void leave_early(struct http_request *r)
{
	if (!r->placed)
		return;
	curl_easy_setopt(r->easy, CURLOPT_FORBID_REUSE, 1L); /* counts for the last one on the connection */
	r->http->left_early = true;
	loop_defer_set(r->http->run_now);
}

void http_cancel(struct http_request *r)
{
	if (!r || r->cancelled)
		return;
	leave_early(r);
	if (r->added)
		r->http->stats.n_running--;
	if (!r->http->in_curl) {
		request_free(r);
		return;
	}
	r->cancelled = true;
	list_remove(&r->link);
	list_append(&r->http->graveyard, &r->link);
}

static void bury(struct http *h)
{
	struct http_request *r;

	while ((r = list_first(&h->graveyard, struct http_request, link)))
		request_free(r);
}

static const char *reason_of(const struct http_request *r, CURLcode code, char text[static 128])
{
	long os_errno = 0;

	if (r->head_bytes > HEAD_BYTES_MAX)
		return "more than 64 KiB of headers";
	curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &os_errno);
	switch (code) {
	case CURLE_OUT_OF_MEMORY:
		/* curl takes the two for one */
		return r->has_head ? "out of memory" : "a header that is too long, or out of memory";
	case CURLE_COULDNT_CONNECT:
		snprintf(text, 128, "%s", os_errno ? strerror((int)os_errno) : "could not connect");
		return text;
	case CURLE_OPERATION_TIMEDOUT:
		return r->has_head ? "nothing more came in time" : "no answer in time";
	case CURLE_GOT_NOTHING:
		return "connection closed without an answer";
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return "connection lost";
	case CURLE_SEND_ERROR:
		return "connection lost while asking";
	default:
		return *r->error ? r->error : curl_easy_strerror(code);
	}
}

static int errno_of(const struct http_request *r, CURLcode code)
{
	long os_errno = 0;

	if (r->head_bytes > HEAD_BYTES_MAX)
		return -EFBIG;
	curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &os_errno);
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		return os_errno ? -(int)os_errno : -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return -EHOSTUNREACH;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
		return -EPROTONOSUPPORT; /* somebody is there, and speaks something else */
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
		return -EPROTO;
	default:
		return -EIO;
	}
}

/* OpenSSL's X509_V_ERR_*: curl hands them on as they are. */
enum {
	VERIFY_OK = 0,
	VERIFY_NOT_LOOKED_AT = 1, /* curl's !X509_V_OK */
	VERIFY_NOT_YET_VALID = 9,
	VERIFY_EXPIRED = 10,
};

static enum reason reason_of_certificate(const struct http_request *r)
{
	long server = VERIFY_OK, proxy = VERIFY_OK;

	curl_easy_getinfo(r->easy, CURLINFO_SSL_VERIFYRESULT, &server);
	curl_easy_getinfo(r->easy, CURLINFO_PROXY_SSL_VERIFYRESULT, &proxy);
	switch (server ?: proxy) {
	case VERIFY_OK:
	case VERIFY_NOT_LOOKED_AT:
		return REASON_CERTIFICATE_WRONG_NAME; /* which curl checks by itself */
	case VERIFY_EXPIRED:
		return REASON_CERTIFICATE_EXPIRED;
	case VERIFY_NOT_YET_VALID:
		return REASON_CERTIFICATE_NOT_YET_VALID;
	default:
		return REASON_CERTIFICATE_UNKNOWN_AUTHORITY;
	}
}

static void describe(const struct http_request *r, CURLcode code, struct err *e)
{
	char text[128];

	err_set(e, errno_of(r, code), "%s %s: %s", r->has_head ? "read from" : "connect to", r->http->server.shown,
		reason_of(r, code, text));
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		e->reason = reason_of_certificate(r);
}

/* The one that has waited longest. NULL: none waits. */
static struct http_request *first_queued(const struct http *h, bool and_short)
{
	struct http_request *r = list_first(&h->queued, struct http_request, link);
	struct http_request *s = and_short ? list_first(&h->queued_short, struct http_request, link) : NULL;

	return !r || (s && s->number < r->number) ? s : r;
}

/* It never got a connection, and neither will those that wait behind it. */
static void fail_queued(struct http *h, const struct err *e)
{
	const struct http_result result = { .retry_after_sec = -1, .err = *e };
	struct list batch = LIST_INIT(batch);
	const struct http_callbacks *callbacks;
	struct http_request *r;
	void *userdata;

	/* what a done callback starts meanwhile gets a try of its own */
	while ((r = first_queued(h, true))) {
		list_remove(&r->link);
		list_append(&batch, &r->link);
	}
	while ((r = list_first(&batch, struct http_request, link))) {
		callbacks = r->callbacks;
		userdata = r->userdata;
		api_calls_count(&h->calls, r->call, 0);
		request_free(r);
		callbacks->done(userdata, &result);
	}
}

static void finish(struct http_request *r, CURLcode code)
{
	const struct http_callbacks *callbacks = r->callbacks;
	struct http_result result = { .status = r->status, .retry_after_sec = -1 };
	bool had_place = r->placed;
	void *userdata = r->userdata;
	struct http *h = r->http;
	curl_off_t retry_after = 0;

	if (code == CURLE_OK && !r->has_head)
		code = CURLE_GOT_NOTHING;
	if (code != CURLE_OK)
		describe(r, code, &result.err);
	if (curl_easy_getinfo(r->easy, CURLINFO_RETRY_AFTER, &retry_after) == CURLE_OK && retry_after > 0)
		result.retry_after_sec = MIN(retry_after, RETRY_AFTER_MAX_SEC);
	h->stats.n_running--;
	if (!r->has_head)
		api_calls_count(&h->calls, r->call, 0);
	if (code != CURLE_OK)
		leave_early(r);
	request_free(r);
	callbacks->done(userdata, &result);
	if (code != CURLE_OK && !had_place)
		fail_queued(h, &result.err);
}

/* Hands out what has ended. A done callback may cancel others, whose messages curl forgets then, so it is asked anew
 * each time. */
static void settle(struct http *h)
{
	struct http_request *r;
	CURLMsg *m;
	int left;

	bury(h);
	while ((m = curl_multi_info_read(h->multi, &left))) {
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
		finish(r, m->data.result);
	}
}

/* ---- callbacks of curl ---- */

static int on_placed(void *userdata, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
	struct http_request *r = userdata;

	placed(r);
	return r->cancelled ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* The server takes them: what is still there with older ones may follow. */
static void prove(struct http *h, struct tls *t)
{
	if (t->tried && !t->proven)
		drain_later(h);
	t->proven = true;
}

static size_t on_header(char *line, size_t size, size_t n, void *userdata)
{
	struct http_request *r = userdata;
	size_t len = size * n;
	long status = 0, version = 0;

	if (r->cancelled)
		return 0;
	r->head_bytes += len;
	if (r->head_bytes > HEAD_BYTES_MAX)
		return 0;
	if (r->has_head || len > 2 || (line[0] != '\r' && line[0] != '\n'))
		return len;
	/* the empty line at the end of the head; of interim ones (1xx) another follows */
	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200)
		return len;
	r->has_head = true;
	r->status = (int)status;
	api_calls_count(&r->http->calls, r->call, r->status);
	r->head_usec = loop_now(r->http->loop);
	if (status != 401)
		prove(r->http, r->tls);
	curl_easy_getinfo(r->easy, CURLINFO_HTTP_VERSION, &version);
	r->http->has_answered = true;
	r->http->multiplexes = version == CURL_HTTP_VERSION_2_0;
	if (r->callbacks->head)
		r->callbacks->head(r->userdata, r->status);
	return r->cancelled ? 0 : len;
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
	struct http_request *r = userdata;

	if (r->cancelled)
		return 0;
	if (list_empty(&r->nudge_link))
		list_append(&r->http->nudged, &r->nudge_link);
	r->callbacks->body(r->userdata, data, size * n);
	/* curl's own buffer, which it keeps for the next piece; it is not const in curl's interface, and curl is through with it */
	explicit_bzero(data, size * n);
	return r->cancelled ? 0 : size * n;
}

static curl_socket_t on_open_socket(void *userdata, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http *h = userdata;
	unsigned unacked = UNACKED_MSEC;
	int fd;

	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (pulse_is_empty(&h->pulse))
		loop_timer_set(h->ping, h->ping_usec);
	if (pulse_add(&h->pulse, fd) < 0) {
		close_fd(fd);
		return CURL_SOCKET_BAD;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked, sizeof(unacked));
	h->stats.n_connections++;
	h->stats.n_opened++;
	return fd;
}

static int on_close_socket(void *userdata, curl_socket_t fd)
{
	struct http *h = userdata;

	h->stats.n_connections--;
	pulse_remove(&h->pulse, fd);
	close_fd(fd);
	return 0;
}

/* ---- the loop's side ---- */

/* By which its connection is known: the local port; 0: it has none. Of a request that runs curl does not tell the socket. */
static uint16_t connection_of(const struct http_request *r)
{
	long port = 0;

	if (r->placed)
		curl_easy_getinfo(r->easy, CURLINFO_LOCAL_PORT, &port);
	return port > 0 ? (uint16_t)port : 0;
}

/* One request on each connection is to be nudged; of more connections than there is room for, each. */
static void look_everywhere(struct http *h)
{
	uint16_t port, seen[CONNECTIONS_SEEN];
	struct http_request *r;
	size_t n = 0, i;

	list_for_each (r, &h->running, link) {
		port = connection_of(r);
		for (i = 0; i < n && seen[i] != port; i++)
			;
		if (port == 0 || i < n)
			continue;
		if (n < CONNECTIONS_SEEN)
			seen[n++] = port;
		if (list_empty(&r->nudge_link))
			list_append(&h->nudged, &r->nudge_link);
	}
}

/* Or may do so: nothing is known yet. */
static bool speaks_http2(const struct http_request *r)
{
	long version = 0;

	curl_easy_getinfo(r->easy, CURLINFO_HTTP_VERSION, &version);
	return version == 0 || version == CURL_HTTP_VERSION_2_0;
}

/* Holding an upload that there is not and letting it go on is curl's only way to be told "look at this one now". */
static void nudge(struct http *h)
{
	struct http_request *r;

	if (h->left_early && h->multiplexes)
		look_everywhere(h);
	h->left_early = false;
	while ((r = list_first(&h->nudged, struct http_request, nudge_link))) {
		list_remove(&r->nudge_link);
		if (!speaks_http2(r))
			continue;
		curl_easy_pause(r->easy, CURLPAUSE_SEND);
		curl_easy_pause(r->easy, CURLPAUSE_CONT);
	}
}

static void socket_action(struct http *h, curl_socket_t fd, int events)
{
	int running;

	assert(!h->in_curl);
	h->in_curl = true;
	curl_multi_socket_action(h->multi, fd, events, &running);
	h->in_curl = false;
	settle(h);
	nudge(h);
}

static void on_ready(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	int events = 0;

	if (revents & (EPOLLIN | EPOLLHUP))
		events |= CURL_CSELECT_IN;
	if (revents & EPOLLOUT)
		events |= CURL_CSELECT_OUT;
	if (revents & EPOLLERR)
		events |= CURL_CSELECT_ERR;
	socket_action(userdata, fd, events);
}

static void on_time(struct loop_source *s, void *userdata)
{
	socket_action(userdata, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer_wanted(CURLM *multi, long msec, void *userdata)
{
	struct http *h = userdata;

	if (msec <= 0)
		loop_timer_off(h->timer);
	if (msec < 0)
		return 0;
	if (msec == 0)
		return loop_defer_set(h->run_now) < 0 ? -1 : 0;
	return loop_timer_set(h->timer, (uint64_t)msec * USEC_PER_MSEC) < 0 ? -1 : 0;
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *userdata, void *fd_data)
{
	struct http *h = userdata;
	struct loop_source *s = fd_data;
	uint32_t events = 0;

	if (what == CURL_POLL_REMOVE) {
		loop_source_free(s);
		curl_multi_assign(h->multi, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	if (s)
		return loop_io_set_events(s, events) < 0 ? -1 : 0;
	if (loop_add_io(h->loop, fd, events, on_ready, h, &s) < 0)
		return -1;
	curl_multi_assign(h->multi, fd, s);
	return 0;
}

static void start(struct http_request *r)
{
	struct http *h = r->http;

	list_remove(&r->link);
	list_append(&h->running, &r->link);
	h->stats.n_requests++;
	h->stats.n_running++;
	if (curl_multi_add_handle(h->multi, r->easy) != CURLM_OK) {
		finish(r, CURLE_OUT_OF_MEMORY);
		return;
	}
	r->added = true;
	h->n_unplaced++;
	h->n_short += !r->long_lived;
	socket_action(h, CURL_SOCKET_TIMEOUT, 0); /* takes its place at once if there is room for it */
}

/* The next whose turn it is; NULL: none may start now. */
static struct http_request *next_queued(const struct http *h)
{
	if (h->n_unplaced >= (h->multiplexes ? 1 : OPENERS_MAX))
		return NULL;
	return first_queued(h, h->n_short < SHORT_MAX);
}

static void start_queued(struct loop_source *s, void *userdata)
{
	struct http *h = userdata;
	struct http_request *r;

	for (unsigned i = 0; i < STARTS_PER_TURN; i++) {
		r = next_queued(h);
		if (!r)
			return;
		start(r);
	}
	loop_defer_set(h->start_soon);
}

/* ---- old connections ---- */

static bool is_outdated(const struct http_request *r)
{
	return r->tls != r->http->tls;
}

/* Is there a request with credentials that are not ours any more? *ret_r: a watch among them that may be ended now. */
static bool find_outdated(struct http *h, struct http_request **ret_r)
{
	uint64_t now = loop_now(h->loop);
	struct http_request *r;
	bool found = false;

	list_for_each (r, &h->queued, link)
		found |= is_outdated(r);
	list_for_each (r, &h->queued_short, link)
		found |= is_outdated(r);
	list_for_each (r, &h->running, link) {
		found |= is_outdated(r);
		if (!is_outdated(r) || !r->long_lived || !r->has_head ||
		    now - r->head_usec < DRAIN_AGE_MSEC * USEC_PER_MSEC)
			continue;
		*ret_r = r;
		return true;
	}
	return found;
}

static void end_early(struct http_request *r, int code, const char *why)
{
	const struct http_callbacks *callbacks = r->callbacks;
	struct http_result result = { .status = r->status, .retry_after_sec = -1 };
	void *userdata = r->userdata;

	err_set(&result.err, code, "%s: %s", r->http->server.name, why);
	if (!r->has_head)
		api_calls_count(&r->http->calls, r->call, 0);
	r->http->stats.n_running--;
	leave_early(r);
	request_free(r);
	callbacks->done(userdata, &result);
}

static void on_drain(struct loop_source *s, void *userdata)
{
	struct http_request *r = NULL;
	struct http *h = userdata;

	if (!find_outdated(h, &r)) {
		pulse_shut_older(&h->pulse); /* what is left was idle */
		return;
	}
	if (h->tls->tried && !h->tls->proven)
		return;
	h->tls->tried |= r != NULL;
	/* else prove() goes on */
	if (!h->tls->tried || h->tls->proven)
		drain_later(h);
	/* as if the server had closed the stream */
	if (r)
		end_early(r, -ECONNABORTED, "the credentials have changed");
}

/* Their connections would match those of before in all that curl compares, so nobody may be left there. curl closes each behind
 * its last request; those that had none are shut, which curl sees when it looks for one. */
void http_reopen(struct http *h)
{
	struct list batch = LIST_INIT(batch);
	struct http_request *r;

	assert(!h->in_curl);
	pulse_begin_generation(&h->pulse);
	pulse_shut_older(&h->pulse);
	/* what a done callback starts is none of them */
	while ((r = list_first(&h->running, struct http_request, link))) {
		list_remove(&r->link);
		list_append(&batch, &r->link);
	}
	while ((r = list_first(&batch, struct http_request, link)))
		end_early(r, r->long_lived && r->status == STATUS_OK ? -ECONNRESET : -ECONNABORTED,
			  "the machine has slept");
}

/* ---- requests: making ---- */

/* Remembers the first failure, so that a row of them is checked once. */
#define SET(option, value)                                                                                             \
	do {                                                                                                           \
		if (code == CURLE_OK)                                                                                  \
			code = curl_easy_setopt(r->easy, option, value);                                               \
	} while (0)

static struct curl_blob blob_of(const char *text)
{
	return (struct curl_blob){ .data = (void *)(uintptr_t)text, .len = strlen(text), .flags = CURL_BLOB_NOCOPY };
}

static CURLcode set_tls(struct http_request *r)
{
	bool insecure = r->http->options.insecure;
	const struct tls *t = r->tls;
	CURLcode code = CURLE_OK;
	struct curl_blob blob;

	SET(CURLOPT_SSL_VERIFYPEER, insecure ? 0L : 1L);
	SET(CURLOPT_SSL_VERIFYHOST, insecure ? 0L : 2L);
	SET(CURLOPT_SHARE, r->http->share);
	SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
	SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_PROXY_SSL_VERIFYPEER, insecure ? 0L : 1L);
	SET(CURLOPT_PROXY_SSL_VERIFYHOST, insecure ? 0L : 2L);
	SET(CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (t->ca) {
		blob = blob_of(t->ca);
		SET(CURLOPT_CAINFO_BLOB, &blob);
		SET(CURLOPT_CAINFO, NULL); /* the blob goes before it; its name would be kept with each request */
		SET(CURLOPT_CAPATH, NULL);
		SET(CURLOPT_PROXY_CAINFO_BLOB, &blob);
		SET(CURLOPT_PROXY_CAINFO, NULL);
		SET(CURLOPT_PROXY_CAPATH, NULL);
	}
	if (t->cert) {
		blob = blob_of(t->cert);
		SET(CURLOPT_SSLCERT_BLOB, &blob);
		blob = blob_of(t->key);
		SET(CURLOPT_SSLKEY_BLOB, &blob);
		SET(CURLOPT_KEYPASSWD, ""); /* OpenSSL must never ask on a terminal */
	}
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	return code;
}

static CURLcode set_network(struct http_request *r)
{
	struct http *h = r->http;
	long connect_msec =
		h->options.connect_usec ? (long)(h->options.connect_usec / USEC_PER_MSEC) : CONNECT_TIMEOUT_MSEC;
	CURLcode code = CURLE_OK;

	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, h->server.https ? "https" : "http");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_CONNECTTIMEOUT_MS, connect_msec);
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_SEC);
	SET(CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_SEC);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(CURLOPT_OPENSOCKETDATA, h);
	SET(CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	SET(CURLOPT_CLOSESOCKETDATA, h);
	/* curl must not ask the environment itself */
	SET(CURLOPT_PROXY, h->server.proxy ? h->server.proxy : "");
	SET(CURLOPT_NOPROXY, "");
	if (h->server.connect_to)
		SET(CURLOPT_CONNECT_TO, h->server.connect_to);
	if (h->server.https)
		return code == CURLE_OK ? set_tls(r) : code;
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	return code;
}

static CURLcode set_body(struct http_request *r, const struct http_body *body)
{
	CURLcode code = CURLE_OK;

	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_CUSTOMREQUEST, body->method);
	SET(CURLOPT_POSTFIELDSIZE, (long)body->len);
	SET(CURLOPT_COPYPOSTFIELDS, body->data);
	return code;
}

static CURLcode set_request(struct http_request *r, const char *url, const struct http_get *get)
{
	CURLcode code = CURLE_OK;

	SET(CURLOPT_URL, url);
	SET(CURLOPT_PRIVATE, r);
	SET(CURLOPT_ERRORBUFFER, r->error);
	SET(CURLOPT_USERAGENT, r->http->options.user_agent);
	SET(CURLOPT_HTTPHEADER, r->headers->list);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, r);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, r);
	SET(CURLOPT_PREREQFUNCTION, on_placed);
	SET(CURLOPT_PREREQDATA, r);
	SET(CURLOPT_BUFFERSIZE, (long)(get->long_lived ? BUFFER_LONG_LIVED : BUFFER_DEFAULT));
	if (get->timeout_usec)
		SET(CURLOPT_TIMEOUT_MS, (long)(get->timeout_usec / USEC_PER_MSEC));
	if (get->silence_usec) {
		SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
		SET(CURLOPT_LOW_SPEED_TIME, (long)MAX(get->silence_usec / USEC_PER_SEC, UINT64_C(1)));
	}
	if (get->body && code == CURLE_OK)
		code = set_body(r, get->body);
	return code == CURLE_OK ? set_network(r) : code;
}

int http_get(struct http *h, const struct http_get *get, const struct http_callbacks *callbacks, void *userdata,
	     struct http_request **ret_r)
{
	cleanup_free char *url = str_format("%s%s", h->server.base, get->target);
	struct http_request *r = url ? calloc(1, sizeof(*r)) : NULL;

	if (!r)
		return -ENOMEM;
	list_init(&r->link);
	list_init(&r->nudge_link);
	r->http = h;
	r->callbacks = callbacks;
	r->userdata = userdata;
	r->long_lived = get->long_lived;
	r->call = api_call_of(get->body ? get->body->method : NULL, get->target, get->long_lived);
	r->tls = h->tls;
	r->tls->refs++;
	if (!get->body) {
		r->headers = h->headers;
		r->headers->refs++;
	} else if (headers_of_body(h->headers, get->body, &r->headers) < 0) {
		request_free(r);
		return -ENOMEM;
	}
	r->easy = curl_easy_init();
	if (!r->easy || set_request(r, url, get) != CURLE_OK || loop_defer_set(h->start_soon) < 0) {
		request_free(r);
		return -ENOMEM;
	}
	r->number = h->n_asked++;
	list_append(r->long_lived ? &h->queued : &h->queued_short, &r->link);
	*ret_r = r;
	return 0;
}
#undef SET

/* ---- connections that have died ---- */

static void ignore_body(void *userdata, const char *data, size_t len)
{
}

static void ignore_done(void *userdata, const struct http_result *result)
{
}

/* A request that anybody may make and that costs the server next to nothing. A proxy would answer a PING by itself. */
static void ask(struct http *h)
{
	static const struct http_callbacks callbacks = { .body = ignore_body, .done = ignore_done };
	const struct http_get question = { .target = "/livez/ping", .timeout_usec = h->ping_usec };
	struct http_request *r = NULL;

	if (http_get(h, &question, &callbacks, NULL, &r) < 0)
		return;
	pulse_before_asking(&h->pulse);
	start(r);
	pulse_after_asking(&h->pulse);
}

static bool may_ask(const struct http *h)
{
	return h->has_answered && h->stats.n_running > 0 && h->n_unplaced == 0 && !has_queued(h);
}

static bool is_to_ping(const struct http_request *r)
{
	uint16_t port = connection_of(r);

	return port > 0 && pulse_is_to_ask(&r->http->pulse, port) && speaks_http2(r);
}

static bool ping(struct http_request *r)
{
	struct http *h = r->http;
	bool is_asked;

	h->in_curl = true;
	is_asked = http_ping(h->multi, r->easy);
	h->in_curl = false;
	return is_asked;
}

static void tell_mute(struct http *h)
{
	if (h->mute_told)
		return;
	h->mute_told = true;
	log_warning(LOG_F({ "server", h->server.name }),
		    "libcurl sends no PING: whether a connection on which nothing comes still lives is not known");
}

/* curl has given the question to the first connection that had room; where all streams are taken none ever has. */
static void ask_others(struct http *h)
{
	struct http_request *r;
	bool is_mute = false;
	uint16_t port;

	loop_defer_set(h->run_now); /* something may end meanwhile */
	list_for_each (r, &h->running, link) {
		if (!is_to_ping(r))
			continue;
		/* what curl runs meanwhile may be written to first, and gets the PING: then that one has to answer */
		pulse_before_asking(&h->pulse);
		port = connection_of(r);
		r->mute = !ping(r);
		if (!r->mute) {
			pulse_after_asking(&h->pulse);
			/* where there was no room for it, each of the streams would have one more wait */
			pulse_tried(&h->pulse, port);
		}
		if (!list_empty(&h->graveyard))
			return; /* the walk's next one may be there now; what follows is asked the next time */
	}
	list_for_each (r, &h->running, link)
		is_mute |= r->mute && is_to_ping(r);
	if (is_mute)
		tell_mute(h);
}

static void on_ping(struct loop_source *s, void *userdata)
{
	struct http *h = userdata;
	bool silent = false;
	size_t n_dead = pulse_judge(&h->pulse, &silent);

	if (n_dead > 0)
		log_info(LOG_F({ "server", h->server.name }), "%zu connection%s not answer any more, giving up on %s",
			 n_dead, n_dead > 1 ? "s do" : " does", n_dead > 1 ? "them" : "it");
	/* with HTTP/1.1 a question would need a connection of its own */
	if (silent && h->multiplexes) {
		/* what is due may write to a silent connection, and not so that it answers */
		socket_action(h, CURL_SOCKET_TIMEOUT, 0);
		if (n_dead == 0 && may_ask(h))
			ask(h);
		ask_others(h);
	}
	if (!pulse_is_empty(&h->pulse))
		loop_timer_set(h->ping, h->ping_usec);
}

/* ---- the client ---- */

static int make_multi(struct http *h)
{
	h->multi = curl_multi_init();
	h->share = curl_share_init();
	if (!h->multi || !h->share)
		return -ENOMEM;
	if (curl_share_setopt(h->share, CURLSHOPT_SHARE, (long)CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted) != CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h) != CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) != CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h) != CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX) != CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)STREAMS_MAX) != CURLM_OK ||
	    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)CACHED_CONNECTIONS_MAX) != CURLM_OK)
		return -EINVAL;
	return 0;
}

static int make_loop_sources(struct http *h)
{
	int r;

	r = loop_add_timer(h->loop, on_time, h, &h->timer);
	if (r == 0)
		r = loop_add_timer(h->loop, on_drain, h, &h->drain);
	if (r == 0)
		r = loop_add_timer(h->loop, on_ping, h, &h->ping);
	if (r == 0)
		r = loop_add_defer(h->loop, on_time, h, &h->run_now);
	if (r == 0)
		r = loop_add_defer(h->loop, start_queued, h, &h->start_soon);
	return r;
}

int http_new(struct loop *l, const struct http_options *o, struct http **ret_h, struct err *e)
{
	cleanup(http_freep) struct http *h = calloc(1, sizeof(*h));
	int r;

	if (!h || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(TAKE_PTR(h));
		return err_set(e, -ENOMEM, "out of memory");
	}
	h->loop = l;
	h->options = *o;
	list_init(&h->queued);
	list_init(&h->queued_short);
	list_init(&h->running);
	list_init(&h->graveyard);
	list_init(&h->nudged);
	pulse_init(&h->pulse);
	h->ping_usec = o->ping_usec ? o->ping_usec : PING_MSEC * USEC_PER_MSEC;
	r = http_server_parse(o, &h->server, e);
	if (r < 0)
		return r;
	h->multiplexes = h->server.https;
	r = make_loop_sources(h);
	if (r < 0)
		return err_set(e, r, "event loop: %s", strerror(-r));
	r = make_multi(h);
	if (r < 0)
		return err_set(e, r, "libcurl: %s", strerror(-r));
	r = http_set_token(h, NULL);
	if (r == 0)
		r = tls_new(&o->tls, &h->tls);
	if (r < 0)
		return err_set(e, r, "out of memory");
	*ret_h = TAKE_PTR(h);
	return 0;
}

static void cancel_all(struct list *requests)
{
	struct http_request *r;

	while ((r = list_first(requests, struct http_request, link)))
		http_cancel(r);
}

void http_free(struct http *h)
{
	if (!h)
		return;
	assert(!h->in_curl);
	cancel_all(&h->queued);
	cancel_all(&h->queued_short);
	cancel_all(&h->running);
	bury(h);
	if (h->multi)
		curl_multi_cleanup(h->multi);
	curl_share_cleanup(h->share); /* NULL is well */
	pulse_deinit(&h->pulse);
	loop_source_free(h->drain);
	loop_source_free(h->ping);
	loop_source_free(h->timer);
	loop_source_free(h->run_now);
	loop_source_free(h->start_soon);
	headers_unref(h->headers);
	tls_unref(h->tls);
	http_server_deinit(&h->server);
	free(h);
	curl_global_cleanup();
}

struct http_target http_target(const struct http *h)
{
	return h->server.target;
}

const char *http_server(const struct http *h)
{
	return h->server.name;
}

struct http_stats http_stats(const struct http *h)
{
	return h->stats;
}

const struct api_calls *http_calls(const struct http *h)
{
	return &h->calls;
}
