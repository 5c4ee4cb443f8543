/* The test API server: libmicrohttpd in one thread of its own, a second one for the clock (watch.c), faults on demand,
 * and the calls for tests. One lock protects everything; libmicrohttpd calls us without its own locks held. */
#include "test/apiserver/apiserver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "test/apiserver/internal.h"
#include "test/apiserver/status.h"
#include "test/apiserver/validate.h"

#define CONNECTIONS_MAX	  16384
#define CONNECTION_MEMORY (64 * 1024)
#define REQUESTS_KEPT	  200000

struct fault {
	struct list link;
	char *match, *body;
	int status, retry_after, n;
};

struct request {
	char *target;
	bool started, too_large;
	struct buf body;
};

static void lock(struct apiserver *a)
{
	pthread_mutex_lock(&a->lock);
}

static void unlock(struct apiserver *a)
{
	pthread_mutex_unlock(&a->lock);
}

/* ---- requests ---- */

/* A fault that is due for this request; counts it down. */
static bool faulty(struct apiserver *a, const char *target, struct reply *ret_reply)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = { { 401, "Unauthorized" },       { 403, "Forbidden" },
			{ 404, "NotFound" },	       { 410, "Expired" },
			{ 429, "TooManyRequests" },    { 500, "InternalError" },
			{ 503, "ServiceUnavailable" }, { 504, "Timeout" } };
	const char *reason = "";
	struct fault *f;

	list_for_each (f, &a->faults, link) {
		if (f->n == 0 || !strstr(target, f->match))
			continue;
		if (f->n > 0)
			f->n--;
		for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
			if (reasons[i].status == f->status)
				reason = reasons[i].reason;
		*ret_reply = f->body ? api_reply_text(f->status, f->body)
				     : api_reply_status(status_failure(f->status, reason, NULL, "told to fail with %d",
								       f->status));
		ret_reply->retry_after = f->retry_after;
		ret_reply->cut = f->status == 0;
		return true;
	}
	return false;
}

static void *on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
	struct request *request = must(calloc(1, sizeof(*request)));

	*request = (struct request){ .target = copy(target), .body = BUF_INIT(BODY_MAX) };
	return request;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **request_cls,
			 enum MHD_RequestTerminationCode code)
{
	struct request *request = *request_cls;

	if (!request)
		return;
	free(request->target);
	buf_deinit(&request->body);
	free(request);
	*request_cls = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_cls,
			  enum MHD_ConnectionNotificationCode code)
{
	struct apiserver *a = cls;

	lock(a);
	a->counts.n_connections += code == MHD_CONNECTION_NOTIFY_STARTED ? 1 : (size_t)-1;
	unlock(a);
}

static void remember(struct apiserver *a, const char *method, const char *target)
{
	a->counts.n_requests++;
	if (a->n_requests == REQUESTS_KEPT)
		return;
	if (a->n_requests == a->requests_size) {
		a->requests_size = MAX(2 * a->requests_size, (size_t)256);
		a->requests = must(reallocarray(a->requests, a->requests_size, sizeof(*a->requests)));
	}
	if (asprintf(&a->requests[a->n_requests++], "%s %s", method, target) < 0)
		abort();
}

/* As the audit log of kube-apiserver, as far as somebody reads it. */
static void write_down(struct apiserver *a, struct MHD_Connection *connection, const char *method, const char *target)
{
	const char *agent = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "User-Agent");
	uint64_t now = clock_realtime_usec();
	time_t second = (time_t)(now / USEC_PER_SEC);
	char when[48];
	struct tm tm;
	json_t *line;
	size_t len;

	if (!a->request_log)
		return;
	len = strftime(when, sizeof(when), "%FT%T", gmtime_r(&second, &tm));
	snprintf(when + len, sizeof(when) - len, ".%06uZ", (unsigned)(now % USEC_PER_SEC));
	line = must(json_pack("{s:s, s:s, s:s, s:s}", "requestReceivedTimestamp", when, "method", method, "requestURI",
			      target, "userAgent", agent ? agent : ""));
	json_dumpf(line, a->request_log, JSON_COMPACT);
	fputc('\n', a->request_log);
	json_decref(line);
}

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct reply *reply)
{
	struct MHD_Response *response = reply->stream;
	char text[24], *body = reply->text;
	enum MHD_Result r;

	if (reply->json) {
		body = must(json_dumps(reply->json, JSON_COMPACT));
		json_decref(reply->json);
	}
	if (reply->cut) {
		free(body);
		return MHD_NO;
	}
	if (!response)
		response = must(MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_FREE));
	MHD_add_response_header(response, "Content-Type",
				reply->text && *body != '{' ? "text/plain" : "application/json");
	MHD_add_response_header(response, "Cache-Control", "no-cache, private");
	if (reply->retry_after >= 0) {
		snprintf(text, sizeof(text), "%d", reply->retry_after);
		MHD_add_response_header(response, "Retry-After", text);
	}
	r = MHD_queue_response(connection, (unsigned)reply->code, response);
	MHD_destroy_response(response);
	return r;
}

static void remember_host(struct apiserver *a, struct MHD_Connection *connection)
{
	const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");

	snprintf(a->host, sizeof(a->host), "%s", host ? host : "");
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *upload, size_t *upload_len, void **request_cls)
{
	struct apiserver *a = cls;
	struct request *request = *request_cls;
	struct reply reply = { .retry_after = -1 };

	if (!request->started) {
		request->started = true;
		return MHD_YES;
	}
	if (*upload_len > 0) {
		request->too_large = request->too_large || buf_add(&request->body, upload, *upload_len) < 0;
		*upload_len = 0;
		return MHD_YES;
	}

	lock(a);
	remember(a, method, request->target);
	write_down(a, connection, method, request->target);
	remember_host(a, connection);
	if (a->stopping)
		reply.cut = true;
	else if (!faulty(a, request->target, &reply))
		reply = api_serve(a, connection, method, url, &request->body, request->too_large);
	unlock(a);
	return send_reply(connection, &reply);
}

/* ---- start and stop ---- */

static int open_socket(uint16_t port, bool do_listen, struct err *e)
{
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1;

	if (fd < 0)
		return err_set(e, -errno, "socket: %m");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_set(e, -errno, "bind 127.0.0.1:%u: %m", port);
	if (do_listen && listen(fd, 1024) < 0)
		return err_set(e, -errno, "listen on 127.0.0.1:%u: %m", port);
	return TAKE_FD(fd);
}

static int start_daemon(struct apiserver *a, struct err *e)
{
	struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_MEM_CERT, 0, a->cert },
		{ MHD_OPTION_HTTPS_MEM_KEY, 0, a->key },
		{ a->client_ca ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, a->client_ca },
		{ MHD_OPTION_END, 0, NULL },
	};
	struct MHD_OptionItem none[] = { { MHD_OPTION_END, 0, NULL } };
	unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC;
	int fd = open_socket(a->port, true, e);

	if (fd < 0)
		return fd;
	a->daemon = MHD_start_daemon(flags | (a->cert ? MHD_USE_TLS : 0), 0, NULL, NULL, on_request, a,
				     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
				     (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				     (size_t)CONNECTION_MEMORY, MHD_OPTION_URI_LOG_CALLBACK, on_target, a,
				     MHD_OPTION_NOTIFY_COMPLETED, on_completed, a, MHD_OPTION_NOTIFY_CONNECTION,
				     on_connection, a, MHD_OPTION_ARRAY, a->cert ? tls : none, MHD_OPTION_END);
	if (!a->daemon) {
		close_fd(fd);
		return err_set(e, -EIO, "the HTTP library does not start (certificate and key?)");
	}
	return 0;
}

static void stop_daemon(struct apiserver *a)
{
	struct watch *w;

	if (!a->daemon)
		return;
	lock(a);
	a->stopping = true;
	list_for_each (w, &a->watches, link)
		watch_resume(w);
	unlock(a);
	MHD_stop_daemon(TAKE_PTR(a->daemon));
	lock(a);
	a->stopping = false;
	unlock(a);
}

static int start(struct apiserver *a, struct err *e)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct sockaddr_in addr = { .sin_port = 0 };
	socklen_t len = sizeof(addr);
	int r;

	if (a->options.request_log && !(a->request_log = fopen(a->options.request_log, "ae")))
		return err_set(e, -errno, "open %s: %m", a->options.request_log);
	if (a->request_log)
		setvbuf(a->request_log, NULL, _IOLBF, 0);
	a->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->epoll_fd < 0 || a->wake_fd < 0 || epoll_ctl(a->epoll_fd, EPOLL_CTL_ADD, a->wake_fd, &event) < 0)
		return err_set(e, -errno, "epoll: %m");

	a->holder_fd = open_socket(a->options.port, false, e);
	if (a->holder_fd < 0)
		return a->holder_fd;
	if (getsockname(a->holder_fd, (struct sockaddr *)&addr, &len) < 0)
		return err_set(e, -errno, "getsockname: %m");
	a->port = ntohs(addr.sin_port);
	if (asprintf(&a->url, "%s://127.0.0.1:%u", a->cert ? "https" : "http", a->port) < 0)
		abort();

	r = start_daemon(a, e);
	if (r < 0)
		return r;
	r = pthread_create(&a->ticker, NULL, watch_ticker, a);
	if (r > 0)
		return err_set(e, -r, "start a thread: %s", strerror(r));
	a->ticker_started = true;
	return 0;
}

int apiserver_start(const struct apiserver_options *o, struct apiserver **ret_a, struct err *e)
{
	struct apiserver *a = must(calloc(1, sizeof(*a)));
	int r;

	*a = (struct apiserver){ .options = *o,
				 .cert = copy(o->cert),
				 .key = copy(o->key),
				 .client_ca = copy(o->client_ca),
				 .token = copy(o->token),
				 .holder_fd = -1,
				 .epoll_fd = -1,
				 .wake_fd = -1,
				 .objects = objects_new() };
	list_init(&a->watches);
	list_init(&a->faults);
	pthread_mutex_init(&a->lock, NULL);

	r = start(a, e);
	if (r < 0) {
		apiserver_stop(a);
		return r;
	}
	*ret_a = a;
	return 0;
}

static void fault_free(struct fault *f)
{
	list_remove(&f->link);
	free(f->match);
	free(f->body);
	free(f);
}

void apiserver_stop(struct apiserver *a)
{
	struct fault *f;

	if (!a)
		return;
	if (a->ticker_started) {
		lock(a);
		a->quit = true;
		watch_wake_ticker(a);
		unlock(a);
		pthread_join(a->ticker, NULL);
	}
	stop_daemon(a);
	list_for_each (f, &a->faults, link)
		fault_free(f);
	for (size_t i = 0; i < a->n_requests; i++)
		free(a->requests[i]);
	free(a->requests);
	objects_free(a->objects);
	close_fd(a->holder_fd);
	close_fd(a->epoll_fd);
	close_fd(a->wake_fd);
	if (a->request_log)
		fclose(a->request_log);
	pthread_mutex_destroy(&a->lock);
	free(a->cert);
	free(a->key);
	free(a->client_ca);
	free(a->token);
	free(a->url);
	free(a);
}

uint16_t apiserver_port(const struct apiserver *a)
{
	return a->port;
}

const char *apiserver_url(const struct apiserver *a)
{
	return a->url;
}

void apiserver_pause(struct apiserver *a)
{
	stop_daemon(a);
}

int apiserver_resume(struct apiserver *a, struct err *e)
{
	return a->daemon ? 0 : start_daemon(a, e);
}

/* ---- the caller's calls ---- */

uint64_t apiserver_put(struct apiserver *a, const json_t *object)
{
	const struct kind *kind = kind_by_name(json_string_value(json_object_get(object, "kind")));
	json_t *obj = json_deep_copy(object);
	uint64_t rv;

	assert(kind && "apiserver_put: kind must be Secret, ConfigMap, Pod or Event");
	validate_default(kind, obj);
	lock(a);
	watch_feed_all(a, objects_put(a->objects, kind, obj));
	rv = objects_rv(a->objects);
	unlock(a);
	return rv;
}

uint64_t apiserver_put_text(struct apiserver *a, const char *json_text)
{
	json_error_t error;
	json_t *obj = json_loads(json_text, 0, &error);
	uint64_t rv;

	if (!obj) {
		fprintf(stderr, "apiserver_put_text: %d:%d: %s\n", error.line, error.column, error.text);
		abort();
	}
	rv = apiserver_put(a, obj);
	json_decref(obj);
	return rv;
}

json_t *apiserver_list(struct apiserver *a, const char *kind_name)
{
	const struct kind *kind = kind_by_name(kind_name);
	const struct object_selector everything = { .ns = NULL };
	json_t *list, *copy_of_it;

	assert(kind && "apiserver_list: kind must be Secret, Pod or Event");
	lock(a);
	list = objects_list(a->objects, kind, &everything, objects_rv(a->objects));
	copy_of_it = json_deep_copy(list);
	json_decref(list);
	unlock(a);
	return copy_of_it;
}

bool apiserver_delete(struct apiserver *a, const char *kind_name, const char *ns, const char *name)
{
	const struct kind *kind = kind_by_name(kind_name);
	const struct change *change;

	assert(kind && "apiserver_delete: kind must be Secret, ConfigMap, Pod or Event");
	lock(a);
	change = objects_delete(a->objects, kind, ns, name);
	if (change)
		watch_feed_all(a, change);
	unlock(a);
	return change != NULL;
}

void apiserver_compact(struct apiserver *a)
{
	lock(a);
	objects_compact(a->objects);
	unlock(a);
}

/* name NULL: any. */
static bool is_meant(const struct watch *w, const char *kind_name, const char *name)
{
	if (!watch_runs(w) || !str_eq(w->kind->name, kind_name))
		return false;
	return !name || str_eq(selector_exact(&w->selector, "metadata.name"), name);
}

static size_t inject(struct apiserver *a, const char *kind_name, const char *name, const char *bytes)
{
	struct watch *w;
	size_t n = 0;

	lock(a);
	list_for_each (w, &a->watches, link)
		if (is_meant(w, kind_name, name)) {
			watch_send(w, bytes, strlen(bytes));
			n++;
		}
	unlock(a);
	return n;
}

size_t apiserver_inject(struct apiserver *a, const char *kind_name, const char *bytes)
{
	return inject(a, kind_name, NULL, bytes);
}

size_t apiserver_inject_one(struct apiserver *a, const char *kind_name, const char *name, const char *bytes)
{
	return inject(a, kind_name, name, bytes);
}

size_t apiserver_hold_watches(struct apiserver *a, const char *kind_name, bool hold)
{
	struct watch *w;
	size_t n = 0;

	lock(a);
	list_for_each (w, &a->watches, link)
		if (is_meant(w, kind_name, NULL)) {
			watch_hold(w, hold);
			n++;
		}
	unlock(a);
	return n;
}

size_t apiserver_end_watch(struct apiserver *a, const char *kind_name, const char *name, bool cut)
{
	struct watch *w;
	size_t n = 0;

	lock(a);
	list_for_each (w, &a->watches, link)
		if (is_meant(w, kind_name, name)) {
			watch_end(w, cut);
			n++;
		}
	unlock(a);
	return n;
}

size_t apiserver_end_watches(struct apiserver *a, bool torn)
{
	static const char half[] = "{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Sec";
	struct watch *w;
	size_t n = 0;

	lock(a);
	list_for_each (w, &a->watches, link) {
		n += watch_runs(w);
		if (torn)
			watch_send(w, half, strlen(half));
		watch_end(w, torn);
	}
	unlock(a);
	return n;
}

size_t apiserver_bookmark(struct apiserver *a)
{
	size_t n;

	lock(a);
	n = watch_bookmark_all(a);
	unlock(a);
	return n;
}

void apiserver_set_watch_list(struct apiserver *a, enum apiserver_watch_list watch_list)
{
	lock(a);
	a->options.watch_list = watch_list;
	unlock(a);
}

void apiserver_set_token(struct apiserver *a, const char *token)
{
	lock(a);
	free(a->token);
	a->token = copy(token);
	unlock(a);
}

void apiserver_fail(struct apiserver *a, const char *match, int status, const char *body, int retry_after, int n)
{
	struct fault *f, *fault;

	lock(a);
	list_for_each (f, &a->faults, link)
		if (str_eq(f->match, match))
			fault_free(f);
	if (n != 0) {
		fault = must(calloc(1, sizeof(*fault)));
		*fault = (struct fault){
			.match = copy(match), .body = copy(body), .status = status, .retry_after = retry_after, .n = n
		};
		list_append(&a->faults, &fault->link);
	}
	unlock(a);
}

struct apiserver_counts apiserver_counts(struct apiserver *a)
{
	struct apiserver_counts counts;

	lock(a);
	counts = a->counts;
	unlock(a);
	return counts;
}

char *apiserver_host(struct apiserver *a)
{
	char *host;

	lock(a);
	host = copy(a->host);
	unlock(a);
	return host;
}

char *apiserver_request(struct apiserver *a, size_t i)
{
	char *target;

	lock(a);
	target = i < a->n_requests ? copy(a->requests[i]) : NULL;
	unlock(a);
	return target;
}
