/* The test API server's HTTP side: libmicrohttpd in one thread of its own, and a second thread that watches the clock
 * and the watches' sockets.
 *
 * A watch is a response whose callback hands out what was queued for it, and suspends its connection while there is
 * nothing. libmicrohttpd does not look at the socket of a suspended connection, so the second thread has all of them in
 * an epoll set of its own, only to learn that a client has gone. It also sends bookmarks and ends watches whose
 * timeoutSeconds are over.
 *
 * One lock protects everything. It is held while connections are suspended and resumed, so that "suspended" is always
 * true to the fact; libmicrohttpd calls us without its own locks, so the order is ours, then its. */
#include "test/apiserver/apiserver.h"

#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

#include "common/b64.h"
#include "common/buf.h"
#include "common/list.h"
#include "common/str.h"
#include "test/apiserver/objects.h"
#include "test/apiserver/status.h"
#include "test/apiserver/validate.h"

#define BODY_MAX	  (3 * 1024 * 1024)
#define WATCH_QUEUE_MAX	  (256 * 1024 * 1024)
#define WATCH_BLOCK	  (32 * 1024)
#define CONNECTIONS_MAX	  16384
#define CONNECTION_MEMORY (64 * 1024)
#define REQUESTS_KEPT	  200000
#define USER_MAX	  256
#define NODE_PREFIX	  "system:node:"

struct fault {
	struct list link;
	char *match, *body;
	int status, retry_after, n;
};

struct watch {
	struct list link;
	struct apiserver *a;
	struct MHD_Connection *connection;
	uint64_t id, end_usec;
	const struct kind *kind;
	struct selector selector;
	struct buf out;
	bool bookmarks;
	bool suspended; /* the connection is, right now */
	bool ended; /* nothing is queued any more */
	bool torn; /* and after the queue is sent the connection is cut */
	bool gone; /* the client is */
};

struct apiserver {
	struct apiserver_options options;
	char *cert, *key, *client_ca, *token, *url;
	uint16_t port;
	int holder_fd; /* bound, never listening: keeps the port ours while paused */
	int epoll_fd, wake_fd;
	pthread_t ticker;
	bool ticker_started;

	pthread_mutex_t lock;
	struct MHD_Daemon *daemon; /* NULL while paused; changed by the caller's thread only */
	bool stopping; /* connections are being cut */
	bool quit;
	struct objects *objects;
	struct list watches, faults;
	uint64_t next_watch_id, next_bookmark_usec;
	struct apiserver_counts counts;
	char **requests;
	size_t n_requests, requests_size;
};

struct request {
	char *target;
	bool started, too_large;
	struct buf body;
};

struct reply {
	int code;
	json_t *json; /* or: */
	char *text;
	struct MHD_Response *stream;
	int retry_after;
	bool cut;
};

/* Who asks, as the Node authorizer sees it. */
struct user {
	char name[USER_MAX];
	bool node;
	const char *node_name; /* NULL: any node's pods count */
};

/* A request of the API, taken apart. */
struct call {
	struct MHD_Connection *connection;
	const char *method, *ns, *name, *subresource;
	const struct kind *kind;
	struct selector selector;
	struct buf *body;
	bool watch;
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static char *copy(const char *s)
{
	return s ? must(strdup(s)) : NULL;
}

static uint64_t now_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / NSEC_PER_USEC;
}

static void lock(struct apiserver *a)
{
	pthread_mutex_lock(&a->lock);
}

static void unlock(struct apiserver *a)
{
	pthread_mutex_unlock(&a->lock);
}

static void wake_ticker(struct apiserver *a)
{
	uint64_t one = 1;

	if (write(a->wake_fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

/* ---- watches (all under the lock) ---- */

static void watch_resume(struct watch *w)
{
	if (!w->suspended)
		return;
	w->suspended = false;
	MHD_resume_connection(w->connection);
}

static void watch_end(struct watch *w, bool torn)
{
	w->ended = true;
	w->torn = torn;
	watch_resume(w);
}

static void watch_send(struct watch *w, const char *bytes, size_t len)
{
	if (w->ended)
		return;
	if (buf_add(&w->out, bytes, len) < 0) {
		watch_end(w, true);
		return;
	}
	watch_resume(w);
}

static char *make_frame(const char *type, json_t *take_obj)
{
	json_t *frame = json_pack("{s:s, s:o}", "type", type, "object", take_obj);
	char *text = must(json_dumps(frame, JSON_COMPACT)), *line = NULL;

	if (asprintf(&line, "%s\n", text) < 0)
		abort();
	free(text);
	json_decref(frame);
	return line;
}

static void watch_send_frame(struct watch *w, const char *type, json_t *take_obj)
{
	cleanup_free char *line = make_frame(type, take_obj);

	watch_send(w, line, strlen(line));
}

/* What the change is to this watch, if anything. */
static void watch_feed(struct watch *w, const struct change *c)
{
	bool before, after;

	if (c->kind != w->kind)
		return;
	before = selector_match(&w->selector, c->before);
	after = selector_match(&w->selector, c->after);
	if (after)
		watch_send_frame(w, before ? "MODIFIED" : "ADDED", object_full(c->kind, c->after, 0));
	else if (before)
		watch_send_frame(w, "DELETED", object_full(c->kind, c->before, c->rv));
}

static void watch_bookmark(struct watch *w, uint64_t rv, bool initial_end)
{
	json_t *obj = json_loads(w->kind->bookmark, 0, NULL), *meta = json_object_get(obj, "metadata");
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, rv);
	json_object_set_new(meta, "resourceVersion", json_string(text));
	json_object_set_new(meta, "creationTimestamp", json_null());
	if (initial_end)
		json_object_set_new(meta, "annotations", json_pack("{s:s}", "k8s.io/initial-events-end", "true"));
	watch_send_frame(w, "BOOKMARK", obj);
}

static void bookmark_all(struct apiserver *a)
{
	struct watch *w;

	list_for_each (w, &a->watches, link)
		if (w->bookmarks)
			watch_bookmark(w, objects_rv(a->objects), false);
}

static void feed_all(struct apiserver *a, const struct change *c)
{
	struct watch *w;

	list_for_each (w, &a->watches, link)
		watch_feed(w, c);
}

static ssize_t watch_read(void *cls, uint64_t pos, char *out, size_t max)
{
	struct watch *w = cls;
	struct apiserver *a = w->a;
	ssize_t n = 0;

	lock(a);
	if (w->gone || a->stopping) {
		n = MHD_CONTENT_READER_END_WITH_ERROR;
	} else if (w->out.len > 0) {
		n = (ssize_t)MIN(w->out.len, max);
		memcpy(out, w->out.data, (size_t)n);
		buf_consume(&w->out, (size_t)n);
	} else if (w->ended) {
		n = w->torn ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
	} else {
		w->suspended = true;
		MHD_suspend_connection(w->connection);
	}
	unlock(a);
	return n;
}

static void watch_free(void *cls)
{
	struct watch *w = cls;
	struct apiserver *a = w->a;

	lock(a);
	list_remove(&w->link);
	a->counts.n_watches_running--;
	unlock(a);
	selector_deinit(&w->selector);
	buf_deinit(&w->out);
	free(w);
}

/* ---- the clock, and clients that went away ---- */

static int ticker_wait_msec(struct apiserver *a, uint64_t now)
{
	uint64_t next = a->options.bookmark_msec ? a->next_bookmark_usec : USEC_INFINITY;
	struct watch *w;

	list_for_each (w, &a->watches, link)
		if (!w->ended)
			next = MIN(next, w->end_usec);
	if (next == USEC_INFINITY)
		return -1;
	return next <= now ? 0 : (int)MIN((next - now) / USEC_PER_MSEC + 1, UINT64_C(1000000));
}

static void tick(struct apiserver *a, uint64_t now)
{
	struct watch *w;

	list_for_each (w, &a->watches, link)
		if (!w->ended && w->end_usec <= now)
			watch_end(w, false);
	if (a->options.bookmark_msec && now >= a->next_bookmark_usec) {
		bookmark_all(a);
		a->next_bookmark_usec = now + a->options.bookmark_msec * USEC_PER_MSEC;
	}
}

static void client_gone(struct apiserver *a, uint64_t id)
{
	struct watch *w;

	list_for_each (w, &a->watches, link)
		if (w->id == id) {
			w->gone = true;
			watch_resume(w);
		}
}

static void *ticker_main(void *cls)
{
	struct apiserver *a = cls;
	struct epoll_event events[64];
	uint64_t count;

	lock(a);
	while (!a->quit) {
		int msec = ticker_wait_msec(a, now_usec()), n;

		unlock(a);
		n = epoll_wait(a->epoll_fd, events, ARRAY_SIZE(events), msec);
		lock(a);
		for (int i = 0; i < n; i++) {
			if (events[i].data.u64 == 0)
				n = read(a->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN ? 0 : n;
			else
				client_gone(a, events[i].data.u64);
		}
		tick(a, now_usec());
	}
	unlock(a);
	return NULL;
}

/* ---- who asks, and whether they may ---- */

/* The common name of a client certificate that the CA has signed. */
static bool certificate_user(struct MHD_Connection *connection, char name[static USER_MAX])
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	const gnutls_datum_t *certs;
	gnutls_x509_crt_t cert;
	unsigned status = 1, n = 0;
	size_t size = USER_MAX;
	bool ok;

	if (!info || gnutls_certificate_verify_peers2(info->tls_session, &status) < 0 || status != 0)
		return false;
	certs = gnutls_certificate_get_peers(info->tls_session, &n);
	if (!certs || n == 0 || gnutls_x509_crt_init(&cert) < 0)
		return false;
	ok = gnutls_x509_crt_import(cert, &certs[0], GNUTLS_X509_FMT_DER) == 0 &&
	     gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size) == 0;
	gnutls_x509_crt_deinit(cert);
	return ok;
}

static bool authenticate(struct apiserver *a, struct MHD_Connection *connection, struct user *user)
{
	const char *bearer = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");

	*user = (struct user){ .name = NODE_PREFIX "test", .node = true };
	if (!a->client_ca && !a->token)
		return true;
	if (a->client_ca && certificate_user(connection, user->name)) {
		user->node = str_starts(user->name, NODE_PREFIX);
		user->node_name = user->node ? user->name + strlen(NODE_PREFIX) : NULL;
		return true;
	}
	return a->token && bearer && str_starts(bearer, "Bearer ") && str_eq(bearer + strlen("Bearer "), a->token);
}

/* Whether a "secretName", "secretRef.name" or the like anywhere in the pod is this name: the authorizer's graph, drawn
 * generously. Depth is bounded by jansson's parser. */
static bool names_secret(json_t *value, const char *key, const char *name)
{
	json_t *v;
	const char *k;
	size_t i;

	if (json_is_array(value)) {
		json_array_foreach (value, i, v)
			if (names_secret(v, key, name))
				return true;
		return false;
	}
	if (!json_is_object(value))
		return str_eq(key, "secretName") && str_eq(json_string_value(value), name);
	if ((str_eq(key, "secret") || str_eq(key, "secretRef") || str_eq(key, "secretKeyRef") ||
	     str_eq(key, "imagePullSecrets") || str_eq(key, "nodePublishSecretRef")) &&
	    str_eq(json_string_value(json_object_get(value, "name")), name))
		return true;
	json_object_foreach (value, k, v)
		if (names_secret(v, k, name))
			return true;
	return false;
}

static bool pod_names_secret(struct apiserver *a, const struct user *user, const char *ns, const char *secret)
{
	cleanup_selector struct selector in_ns;
	const struct kind *kind = kind_by_name("Pod");
	json_t *pods, *pod;
	bool found = false;
	size_t i;

	selector_parse(&in_ns, kind, ns, NULL);
	pods = objects_list(a->objects, kind, &in_ns, objects_rv(a->objects));

	json_array_foreach (pods, i, pod) {
		json_t *spec = json_object_get(pod, "spec");
		const char *node = json_string_value(json_object_get(spec, "nodeName"));

		if (!str_empty(node) && (!user->node_name || str_eq(node, user->node_name)))
			found = found || names_secret(spec, "", secret);
	}
	json_decref(pods);
	return found;
}

/* The reason why the Node authorizer says no; NULL: it does not. */
static const char *node_refuses(struct apiserver *a, const struct user *user, const struct call *c, const char *name,
				char reason[static USER_MAX + 128])
{
	const char *node = selector_exact(&c->selector, "spec.nodeName");

	if (str_eq(c->kind->name, "Pod")) {
		if (c->name || (node && (!user->node_name || str_eq(node, user->node_name))))
			return NULL;
		return "can only list/watch pods with spec.nodeName field selector";
	}
	if (!c->ns)
		return "can only read namespaced object of this type";
	if (!name)
		return "No Object name found";
	if (pod_names_secret(a, user, c->ns, name))
		return NULL;
	snprintf(reason, USER_MAX + 128, "no relationship found between node '%s' and this object",
		 user->name + strlen(NODE_PREFIX));
	return reason;
}

static const char *call_verb(const struct call *c)
{
	static const char *const verbs[][2] = {
		{ "POST", "create" }, { "PUT", "update" }, { "PATCH", "patch" }, { "DELETE", "delete" }
	};

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (str_eq(c->method, verbs[i][0]))
			return verbs[i][1];
	return c->watch ? "watch" : c->name ? "get" : "list";
}

static json_t *authorize(struct apiserver *a, const struct user *user, const struct call *c)
{
	const char *name = c->name ? c->name : selector_exact(&c->selector, "metadata.name"), *why = NULL;
	char reason[USER_MAX + 128], who[USER_MAX + 8] = "", where[320] = "at the cluster scope";
	bool reading = str_eq(c->method, "GET");

	if (!a->options.node_authorizer || !user->node)
		return NULL;
	/* without certificates nobody else could write */
	if (!reading && !user->node_name)
		return NULL;

	why = reading ? node_refuses(a, user, c, name, reason) : "can only read resources of this type";
	if (!why)
		return NULL;

	a->counts.n_forbidden++;
	if (name)
		snprintf(who, sizeof(who), " \"%.250s\"", name);
	if (c->ns)
		snprintf(where, sizeof(where), "in the namespace \"%.250s\"", c->ns);
	return status_failure(403, "Forbidden", status_details(c->kind->resource, name),
			      "%s%s is forbidden: User \"%s\" cannot %s resource \"%s\" in API group \"\" %s: %s",
			      c->kind->resource, who, user->name, call_verb(c), c->kind->resource, where, why);
}

/* ---- reading ---- */

static const char *argument(const struct call *c, const char *key)
{
	const char *value = MHD_lookup_connection_value(c->connection, MHD_GET_ARGUMENT_KIND, key);

	return value ? value : "";
}

static struct reply reply_json(int code, json_t *take_json)
{
	return (struct reply){ .code = code, .json = take_json, .retry_after = -1 };
}

static struct reply reply_status(json_t *take_status)
{
	return reply_json(status_code(take_status), take_status);
}

static struct reply reply_text(int code, const char *text)
{
	return (struct reply){ .code = code, .text = copy(text), .retry_after = -1 };
}

/* resourceVersion=: *ret_rv is 0 for "" and "0". Returns a Status if it is no number. */
static json_t *parse_rv(const char *text, uint64_t *ret_rv)
{
	uint64_t rv = 0;

	if (*text && str_parse_u64(text, UINT64_MAX, &rv) < 0)
		return status_rv_invalid(text);
	*ret_rv = rv;
	return NULL;
}

static struct reply serve_get(struct apiserver *a, const struct call *c)
{
	json_t *obj = objects_get(a->objects, c->kind, c->ns, c->name), *status;
	uint64_t rv;

	a->counts.n_get++;
	status = parse_rv(argument(c, "resourceVersion"), &rv);
	if (!status && rv > objects_rv(a->objects))
		status = status_rv_too_large(rv, objects_rv(a->objects));
	if (!status && !obj)
		status = status_not_found(c->kind->resource, c->name);
	return status ? reply_status(status) : reply_json(200, object_full(c->kind, obj, 0));
}

/* Continue tokens are base64url of {"v":..,"rv":..,"start":"NS/NAME"}, as the real server's; rv -1 means "whatever is
 * there now". */
static char *continue_token(int64_t rv, const char *start)
{
	json_t *j = json_pack("{s:s, s:I, s:s}", "v", "meta.k8s.io/v1", "rv", (json_int_t)rv, "start", start);
	cleanup_free char *text = must(json_dumps(j, JSON_COMPACT));
	char *token = NULL;

	json_decref(j);
	if (b64_encode(text, strlen(text), &token) < 0)
		abort();
	for (char *p = token; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	token[strcspn(token, "=")] = '\0';
	return token;
}

static json_t *parse_continue(const char *token, int64_t *ret_rv, char **ret_start)
{
	cleanup_free char *text = NULL;
	cleanup_free uint8_t *bytes = must(calloc(1, strlen(token) + 8));
	size_t len = 0, pad = (4 - strlen(token) % 4) % 4;
	json_t *j;

	if (asprintf(&text, "%s%.*s", token, (int)pad, "===") < 0)
		abort();
	for (char *p = text; *p; p++)
		*p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
	if (b64_decode(text, strlen(text), bytes, strlen(token) + 8, &len) < 0)
		return status_bad_request("invalid continue token: continue key is not valid: illegal base64 data");

	j = json_loadb((char *)bytes, len, 0, NULL);
	if (!json_is_string(json_object_get(j, "start")) || !json_is_integer(json_object_get(j, "rv"))) {
		json_decref(j);
		return status_bad_request(
			"invalid continue token: continue key is not valid: not a token of this server");
	}
	*ret_rv = json_integer_value(json_object_get(j, "rv"));
	*ret_start = copy(json_string_value(json_object_get(j, "start")));
	json_decref(j);
	return NULL;
}

/* The revision that a list is to show, and where it begins. */
static json_t *list_position(struct apiserver *a, const struct call *c, uint64_t *ret_rv, char **ret_start)
{
	const char *token = argument(c, "continue"), *text = argument(c, "resourceVersion");
	uint64_t current = objects_rv(a->objects), rv = 0;
	int64_t token_rv = -1;
	json_t *status = parse_rv(text, &rv);

	*ret_rv = current;
	if (status)
		return status;
	if (*token && rv > 0)
		return status_bad_request("specifying resource version is not allowed when using continue");
	if (*token) {
		status = parse_continue(token, &token_rv, ret_start);
		if (status || token_rv < 0)
			return status;
		rv = (uint64_t)token_rv;
	}
	if (rv > current)
		return status_rv_too_large(rv, current);
	if (*token && rv < objects_compacted(a->objects)) {
		cleanup_free char *inconsistent = continue_token(-1, *ret_start);

		return status_continue_expired(inconsistent);
	}
	if (str_eq(argument(c, "resourceVersionMatch"), "Exact") && rv < objects_compacted(a->objects))
		return status_failure(410, "Expired", NULL, "The resourceVersion for the provided list is too old.");
	if (*token || str_eq(argument(c, "resourceVersionMatch"), "Exact"))
		*ret_rv = rv;
	return NULL;
}

static struct reply list_page(const struct call *c, json_t *all, const char *start, uint64_t limit, uint64_t rv)
{
	json_t *items = json_array(), *meta = json_object(), *obj;
	cleanup_free char *next = NULL;
	size_t i, left = 0;
	char text[64];

	snprintf(text, sizeof(text), "%" PRIu64, rv);
	json_object_set_new(meta, "resourceVersion", json_string(text));
	json_array_foreach (all, i, obj) {
		cleanup_free char *key = object_key(obj);

		if (start && strcmp(key, start) < 0)
			continue;
		if (limit == 0 || json_array_size(items) < limit)
			json_array_append(items, obj);
		else if (left++ == 0)
			next = TAKE_PTR(key);
	}
	if (next) {
		cleanup_free char *token = continue_token((int64_t)rv, next);

		json_object_set_new(meta, "continue", json_string(token));
		if (c->selector.n_terms == 0)
			json_object_set_new(meta, "remainingItemCount", json_integer((json_int_t)left));
	}
	snprintf(text, sizeof(text), "%sList", c->kind->name);
	return reply_json(200, json_pack("{s:s, s:s, s:o, s:o}", "kind", text, "apiVersion", "v1", "metadata", meta,
					 "items", items));
}

static struct reply serve_list(struct apiserver *a, const struct call *c)
{
	cleanup_free char *start = NULL;
	const char *limit_text = argument(c, "limit");
	uint64_t rv, limit = 0;
	struct reply reply;
	json_t *status, *all;

	a->counts.n_list++;
	if (*limit_text && str_parse_u64(limit_text, INT64_MAX, &limit) < 0)
		return reply_status(status_bad_request("strconv.ParseInt: parsing \"%s\": invalid syntax", limit_text));
	status = list_position(a, c, &rv, &start);
	if (status)
		return reply_status(status);
	/* the watch cache, which answers resourceVersion=0, knows no pages */
	if (str_eq(argument(c, "resourceVersion"), "0") && !start)
		limit = 0;

	all = objects_list(a->objects, c->kind, &c->selector, rv);
	reply = list_page(c, all, start, limit, rv);
	json_decref(all);
	return reply;
}

static bool is_true(const char *text)
{
	return *text && !str_eq(text, "false") && !str_eq(text, "0");
}

/* What a watch has to send before anything new happens. */
static void watch_catch_up(struct apiserver *a, struct watch *w, const struct call *c, uint64_t rv,
			   bool initial_bookmark)
{
	const struct change *change;
	json_t *all, *obj;
	size_t i;

	if (rv > 0 && rv < objects_compacted(a->objects)) {
		watch_send_frame(w, "ERROR", status_expired(rv, objects_compacted(a->objects)));
		watch_end(w, false);
		return;
	}
	if (rv > 0 && !initial_bookmark) {
		while ((change = objects_after(a->objects, rv))) {
			watch_feed(w, change);
			rv = change->rv;
		}
		return;
	}
	all = objects_list(a->objects, w->kind, &w->selector, objects_rv(a->objects));
	json_array_foreach (all, i, obj)
		watch_send_frame(w, "ADDED", object_full(w->kind, obj, 0));
	json_decref(all);
	if (initial_bookmark)
		watch_bookmark(w, objects_rv(a->objects), true);
}

static void watch_mind_client(struct apiserver *a, struct watch *w)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(w->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct epoll_event event = { .events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = w->id };

	/* kept-alive connections may have had a watch before */
	if (epoll_ctl(a->epoll_fd, EPOLL_CTL_ADD, info->connect_fd, &event) < 0 && errno == EEXIST)
		epoll_ctl(a->epoll_fd, EPOLL_CTL_MOD, info->connect_fd, &event);
}

static struct reply serve_watch(struct apiserver *a, struct call *c)
{
	bool initial = is_true(argument(c, "sendInitialEvents"));
	const char *timeout_text = argument(c, "timeoutSeconds");
	uint64_t rv = 0, timeout = 3600;
	json_t *status = parse_rv(argument(c, "resourceVersion"), &rv);
	struct watch *w;

	if (!status && *timeout_text && str_parse_u64(timeout_text, 1000000, &timeout) < 0)
		status = status_bad_request("strconv.ParseInt: parsing \"%s\": invalid syntax", timeout_text);
	if (!status && initial && !str_eq(argument(c, "resourceVersionMatch"), "NotOlderThan"))
		status = status_failure(422, "Invalid", NULL,
					"ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: "
					"sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	if (status)
		return reply_status(status);

	w = must(calloc(1, sizeof(*w)));
	*w = (struct watch){
		.a = a,
		.connection = c->connection,
		.id = ++a->next_watch_id,
		.end_usec = now_usec() + timeout * USEC_PER_SEC,
		.kind = c->kind,
		.selector = c->selector,
		.out = BUF_INIT(WATCH_QUEUE_MAX),
		.bookmarks = is_true(argument(c, "allowWatchBookmarks")),
	};
	c->selector = (struct selector){ .ns = NULL };
	list_append(&a->watches, &w->link);
	a->counts.n_watch++;
	a->counts.n_watches_running++;
	watch_catch_up(a, w, c, rv, initial);
	watch_mind_client(a, w);
	wake_ticker(a);
	return (struct reply){ .code = 200,
			       .retry_after = -1,
			       .stream = must(MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, WATCH_BLOCK,
										watch_read, w, watch_free)) };
}

/* ---- writing ---- */

static json_t *parse_body(const struct call *c, json_t **ret_obj)
{
	json_error_t error;
	json_t *obj = json_loadb(c->body->data ? c->body->data : "", c->body->len, 0, &error), *status;

	if (!obj)
		return status_bad_request("the object provided is unrecognized (must be of type %s): couldn't get "
					  "version/kind; json parse error at %d:%d",
					  c->kind->name, error.line, error.column);
	status = validate_decode(c->kind, obj);
	if (status) {
		json_decref(obj);
		return status;
	}
	*ret_obj = obj;
	return NULL;
}

/* The namespace and the name of the path hold; the object may leave them out but not differ. */
static json_t *check_identity(const struct call *c, json_t *obj)
{
	json_t *meta = json_object_get(obj, "metadata");
	const char *name = object_meta(obj, "name"), *ns = object_meta(obj, "namespace");

	if (!json_is_object(meta)) {
		meta = json_object();
		json_object_set_new(obj, "metadata", meta);
	}
	if (c->ns && *ns && !str_eq(ns, c->ns))
		return status_bad_request(
			"the namespace of the provided object does not match the namespace sent on the request");
	if (c->name && *name && !str_eq(name, c->name))
		return status_bad_request("the name of the object (%s) does not match the name on the URL (%s)", name,
					  c->name);
	if (c->ns)
		json_object_set_new(meta, "namespace", json_string(c->ns));
	if (c->name)
		json_object_set_new(meta, "name", json_string(c->name));
	return NULL;
}

static bool unchanged(const json_t *obj, const json_t *old)
{
	json_t *x = json_deep_copy(obj), *y = json_deep_copy(old);
	static const char *const server_set[] = { "resourceVersion", "uid", "creationTimestamp" };
	bool equal;

	for (size_t i = 0; i < ARRAY_SIZE(server_set); i++) {
		json_object_del(json_object_get(x, "metadata"), server_set[i]);
		json_object_del(json_object_get(y, "metadata"), server_set[i]);
	}
	equal = json_equal(x, y);
	json_decref(x);
	json_decref(y);
	return equal;
}

static struct reply store_object(struct apiserver *a, const struct call *c, json_t *take_obj)
{
	const struct change *change;
	json_t *old, *status;

	status = check_identity(c, take_obj);
	if (!status) {
		validate_default(c->kind, take_obj);
		old = objects_get(a->objects, c->kind, object_meta(take_obj, "namespace"),
				  object_meta(take_obj, "name"));
		if (old && !c->name)
			status = status_failure(
				409, "AlreadyExists", status_details(c->kind->resource, object_meta(take_obj, "name")),
				"%s \"%s\" already exists", c->kind->resource, object_meta(take_obj, "name"));
		else if (!old && c->name)
			status = status_not_found(c->kind->resource, c->name);
		else
			status = validate_object(c->kind, take_obj, old);
	}
	if (status) {
		json_decref(take_obj);
		return reply_status(status);
	}
	if (old && unchanged(take_obj, old)) {
		json_decref(take_obj);
		return reply_json(200, object_full(c->kind, old, 0));
	}
	change = objects_put(a->objects, c->kind, take_obj);
	feed_all(a, change);
	return reply_json(old ? 200 : 201, object_full(c->kind, change->after, 0));
}

static struct reply serve_put(struct apiserver *a, const struct call *c)
{
	json_t *obj, *status = parse_body(c, &obj);

	return status ? reply_status(status) : store_object(a, c, obj);
}

/* PUT of pods/NAME/status: only the status counts. */
static struct reply serve_put_status(struct apiserver *a, const struct call *c)
{
	json_t *obj, *copy_of_old, *old = objects_get(a->objects, c->kind, c->ns, c->name),
				   *status = parse_body(c, &obj);

	if (status)
		return reply_status(status);
	if (!old) {
		json_decref(obj);
		return reply_status(status_not_found(c->kind->resource, c->name));
	}
	copy_of_old = json_deep_copy(old);
	json_object_set(copy_of_old, "status", json_object_get(obj, "status"));
	json_decref(obj);
	return store_object(a, c, copy_of_old);
}

/* RFC 7396. Nesting is bounded by jansson's parser. */
static void merge(json_t *target, json_t *patch)
{
	const char *key;
	json_t *value;

	json_object_foreach (patch, key, value) {
		if (json_is_null(value))
			json_object_del(target, key);
		else if (json_is_object(value) && json_is_object(json_object_get(target, key)))
			merge(json_object_get(target, key), value);
		else
			json_object_set_new(target, key, json_deep_copy(value));
	}
}

static struct reply serve_patch(struct apiserver *a, const struct call *c)
{
	const char *type = MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, "Content-Type");
	json_t *old = objects_get(a->objects, c->kind, c->ns, c->name), *obj, *patch, *status;

	if (!type || (!strstr(type, "merge-patch+json")))
		return reply_status(status_failure(415, "UnsupportedMediaType", NULL,
						   "the body of the request was in an unknown format - accepted media "
						   "types include: application/merge-patch+json"));
	if (!old)
		return reply_status(status_not_found(c->kind->resource, c->name));
	status = parse_body(c, &patch);
	if (status)
		return reply_status(status);
	obj = json_deep_copy(old);
	merge(obj, patch);
	json_decref(patch);
	return store_object(a, c, obj);
}

/* Pods on a node stay, marked, until their grace period's owner (the kubelet) deletes them for good. Here a grace
 * period has to be asked for. */
static struct reply delete_gracefully(struct apiserver *a, const struct call *c, json_t *old, uint64_t seconds)
{
	json_t *obj = json_deep_copy(old), *meta = json_object_get(obj, "metadata");
	char text[STR_TIME_MAX];

	json_object_set_new(meta, "deletionTimestamp",
			    json_string(str_format_time(((uint64_t)time(NULL) + seconds) * USEC_PER_SEC, text)));
	json_object_set_new(meta, "deletionGracePeriodSeconds", json_integer((json_int_t)seconds));
	return store_object(a, c, obj);
}

static struct reply serve_delete(struct apiserver *a, const struct call *c)
{
	json_t *old = objects_get(a->objects, c->kind, c->ns, c->name);
	const struct change *change;
	uint64_t grace = 0;

	if (!old)
		return reply_status(status_not_found(c->kind->resource, c->name));
	if (str_parse_u64(argument(c, "gracePeriodSeconds"), 3600, &grace) == 0 && grace > 0 &&
	    str_eq(c->kind->name, "Pod"))
		return delete_gracefully(a, c, old, grace);
	change = objects_delete(a->objects, c->kind, c->ns, c->name);
	feed_all(a, change);
	if (str_eq(c->kind->name, "Pod"))
		return reply_json(200, object_full(c->kind, change->before, change->rv));
	return reply_json(200, status_success(c->kind->resource, c->name, object_meta(change->before, "uid")));
}

/* ---- routing ---- */

static const struct route {
	const char *method;
	bool name, subresource; /* with a name in the path, with pods/NAME/status */
	struct reply (*serve)(struct apiserver *a, const struct call *c);
} routes[] = {
	{ "GET", false, false, serve_list },	 { "GET", true, false, serve_get },
	{ "GET", true, true, serve_get },	 { "POST", false, false, serve_put },
	{ "PUT", true, false, serve_put },	 { "PUT", true, true, serve_put_status },
	{ "PATCH", true, false, serve_patch },	 { "PATCH", true, true, serve_patch },
	{ "DELETE", true, false, serve_delete },
};

static struct reply serve_call(struct apiserver *a, struct call *c, const struct user *user)
{
	json_t *status = selector_parse(&c->selector, c->kind, c->ns, argument(c, "fieldSelector"));
	bool reading = str_eq(c->method, "GET");

	if (!status && *argument(c, "labelSelector"))
		status = status_bad_request("this test server knows no label selectors");
	if (!status)
		status = authorize(a, user, c);
	if (status)
		return reply_status(status);
	if (reading && c->watch && !c->name)
		return serve_watch(a, c);
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (str_eq(c->method, routes[i].method) && routes[i].name == (c->name != NULL) &&
		    routes[i].subresource == (c->subresource != NULL))
			return routes[i].serve(a, c);
	return reply_status(status_method_not_allowed());
}

/* /api/v1/[namespaces/NS/]RESOURCE[/NAME[/status]]; words points into path. */
static bool parse_path(char *path, struct call *c)
{
	char *words[8], *word;
	size_t n = 0, i = 2;

	while (n < ARRAY_SIZE(words) && (word = strsep(&path, "/")))
		if (*word || n > 0)
			words[n++] = word;
	if (n < 3 || path || !str_eq(words[0], "api") || !str_eq(words[1], "v1"))
		return false;
	if (n >= 5 && str_eq(words[2], "namespaces")) {
		c->ns = words[3];
		i = 4;
	}
	c->kind = kind_by_resource(words[i++]);
	c->name = i < n && *words[i] ? words[i] : NULL;
	c->subresource = i + 1 < n ? words[i + 1] : NULL;
	if (c->subresource && (!str_eq(c->subresource, "status") || !str_eq(c->kind ? c->kind->name : NULL, "Pod")))
		return false;
	return c->kind && i + 2 >= n && (c->ns || !c->name);
}

static struct reply route(struct apiserver *a, struct MHD_Connection *connection, const char *method, const char *url,
			  struct request *request)
{
	cleanup_free char *path = copy(url);
	struct call c = { .connection = connection, .method = method, .body = &request->body };
	struct user user;
	struct reply reply;

	if (str_eq(url, "/readyz") || str_eq(url, "/healthz") || str_eq(url, "/livez"))
		return reply_text(200, "ok");
	if (!authenticate(a, connection, &user)) {
		a->counts.n_unauthorised++;
		return reply_status(status_unauthorized());
	}
	if (str_eq(url, "/version"))
		return reply_json(200, json_pack("{s:s, s:s, s:s, s:s}", "major", "1", "minor", "20", "gitVersion",
						 "v1.20.2-test", "platform", "linux/amd64"));
	if (!parse_path(path, &c))
		return reply_status(status_no_such_resource());
	if (request->too_large)
		return reply_status(status_failure(413, "RequestEntityTooLarge", NULL,
						   "Request entity too large: limit is %d", BODY_MAX));
	c.watch = is_true(argument(&c, "watch"));
	reply = serve_call(a, &c, &user);
	selector_deinit(&c.selector);
	return reply;
}

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
		*ret_reply = f->body ? reply_text(f->status, f->body)
				     : reply_status(status_failure(f->status, reason, NULL, "told to fail with %d",
								   f->status));
		ret_reply->retry_after = f->retry_after;
		ret_reply->cut = f->status == 0;
		return true;
	}
	return false;
}

/* ---- libmicrohttpd ---- */

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
	if (a->stopping)
		reply.cut = true;
	else if (!faulty(a, request->target, &reply))
		reply = route(a, connection, method, url, request);
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
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	int r;

	a->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->epoll_fd < 0 || a->wake_fd < 0 || epoll_ctl(a->epoll_fd, EPOLL_CTL_ADD, a->wake_fd, &event) < 0)
		return err_set(e, -errno, "epoll: %m");

	a->holder_fd = open_socket(a->options.port, false, e);
	if (a->holder_fd < 0)
		return a->holder_fd;
	getsockname(a->holder_fd, (struct sockaddr *)&addr, &len);
	a->port = ntohs(addr.sin_port);
	if (asprintf(&a->url, "%s://127.0.0.1:%u", a->cert ? "https" : "http", a->port) < 0)
		abort();

	r = start_daemon(a, e);
	if (r < 0)
		return r;
	r = pthread_create(&a->ticker, NULL, ticker_main, a);
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
	a->next_bookmark_usec = now_usec() + o->bookmark_msec * USEC_PER_MSEC;

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
		wake_ticker(a);
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

	assert(kind && "apiserver_put: kind must be Secret or Pod");
	validate_default(kind, obj);
	lock(a);
	feed_all(a, objects_put(a->objects, kind, obj));
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

bool apiserver_delete(struct apiserver *a, const char *kind_name, const char *ns, const char *name)
{
	const struct kind *kind = kind_by_name(kind_name);
	const struct change *change;

	assert(kind && "apiserver_delete: kind must be Secret or Pod");
	lock(a);
	change = objects_delete(a->objects, kind, ns, name);
	if (change)
		feed_all(a, change);
	unlock(a);
	return change != NULL;
}

void apiserver_compact(struct apiserver *a)
{
	lock(a);
	objects_compact(a->objects);
	unlock(a);
}

void apiserver_end_watches(struct apiserver *a, bool torn)
{
	static const char half[] = "{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Sec";
	struct watch *w;

	lock(a);
	list_for_each (w, &a->watches, link) {
		if (torn)
			watch_send(w, half, strlen(half));
		watch_end(w, torn);
	}
	unlock(a);
}

void apiserver_bookmark(struct apiserver *a)
{
	lock(a);
	bookmark_all(a);
	unlock(a);
}

void apiserver_inject(struct apiserver *a, const char *kind_name, const char *bytes)
{
	struct watch *w;

	lock(a);
	list_for_each (w, &a->watches, link)
		if (str_eq(w->kind->name, kind_name))
			watch_send(w, bytes, strlen(bytes));
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

char *apiserver_request(struct apiserver *a, size_t i)
{
	char *target;

	lock(a);
	target = i < a->n_requests ? copy(a->requests[i]) : NULL;
	unlock(a);
	return target;
}
