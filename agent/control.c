/* Control: HTTP and JSON over the control socket (httpd.h): all is answered on the loop thread.
 *
 * - A request is answered in the second call of its handler: an answer in the first one would make libmicrohttpd close
 *   the connection.
 * - A wait is a suspended request. While it is suspended nobody reads its connection, so a source of our own watches for
 *   the client's leaving: otherwise abandoned waits would fill the connection limit. Notifications are coalesced to one
 *   look at the waits in WAIT_LOOK_USEC. */

#include "agent/control.h"

#include <sys/socket.h>

#include "agent/httpd.h"
#include "agent/urlpath.h"
#include "common/buf.h"
#include "common/list.h"
#include "common/log.h"
#include "common/str.h"

/* Limits: connections and waits (a runtime may wait for each of a node's 110 pods at once, and `status` must still get
 * in), memory of a connection, its idle time, body of a request, size of an answer. */
#define CONNECTIONS_MAX	    256
#define WAITS_MAX	    192
#define CONNECTION_MEMORY   ((size_t)8 * 1024)
#define CONNECTION_IDLE_SEC 10
#define BODY_MAX	    ((size_t)64 * 1024)
#define ANSWER_MAX	    ((size_t)64 * 1024 * 1024) /* as a client takes it */
#define WAIT_DEFAULT_USEC   (30 * USEC_PER_SEC)
#define WAIT_MAX_USEC	    (600 * USEC_PER_SEC)
#define WAIT_LOOK_USEC	    (5 * USEC_PER_MSEC)
#define REF_MAX		    512

struct control {
	struct loop *loop;
	struct httpd httpd;
	const struct control_ops *ops;
	void *userdata;
	bool has_group;
	gid_t group; /* whose members may ask, too */
	struct loop_source *look; /* look at the waits */
	struct list waits;
	size_t n_waits;
	uint64_t looked_usec;
};

struct request {
	struct control *control;
	struct MHD_Connection *connection;
	size_t body_len;
	const char *allow; /* the methods that its path takes */
	bool is_root;
	bool is_later; /* it waits, but not for a pod */
	struct control_later later;
	/* a wait: */
	struct list link;
	char *ref;
	struct loop_source *timer, *hangup;
	/* what a wait ended with; 0: it has not */
	unsigned status;
	json_t *answer;
};

struct answer {
	unsigned status;
	json_t *json;
	/* instead of it: */
	const char *type;
	struct buf text;
};

/* The sentence may quote the request, and so be no UTF-8. */
static json_t *json_error(const char *sentence)
{
	return json_pack("{s:o}", "error", json_text(sentence));
}

static int answer_error(struct answer *a, unsigned status, const struct err *e)
{
	a->status = status;
	a->json = json_error(err_text(e));
	return a->json ? 0 : -ENOMEM;
}

/* What an op returned -> the answer. */
static int answer_op(struct answer *a, int r, json_t *json, const struct err *e)
{
	if (r >= 0) {
		*a = (struct answer){ .status = MHD_HTTP_OK, .json = json };
		return 0;
	}
	switch (r) {
	case -ENOENT:
		return answer_error(a, MHD_HTTP_NOT_FOUND, e);
	case -EINVAL:
		return answer_error(a, MHD_HTTP_BAD_REQUEST, e);
	case -EACCES:
		return answer_error(a, MHD_HTTP_FORBIDDEN, e);
	case -EAGAIN:
		return answer_error(a, MHD_HTTP_SERVICE_UNAVAILABLE, e);
	default:
		return answer_error(a, MHD_HTTP_INTERNAL_SERVER_ERROR, e);
	}
}

/* Replies */

static int dump_to_buf(const char *data, size_t len, void *userdata)
{
	return buf_add(userdata, data, len) < 0 ? -1 : 0;
}

/* Empties it. */
static struct MHD_Response *response_of(struct buf *b)
{
	struct MHD_Response *response;
	size_t len = b->len;
	char *text = buf_take(b);

	if (!text)
		return NULL;
	response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (!response)
		free(text);
	return response;
}

static struct MHD_Response *response_new(const json_t *json)
{
	cleanup_buf struct buf b = BUF_INIT(ANSWER_MAX);

	/* other people's texts are in it: only ASCII leaves here, so that no terminal can be steered */
	if (json_dump_callback(json, dump_to_buf, &b, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0 ||
	    buf_add_str(&b, "\n") < 0)
		return NULL;
	return response_of(&b);
}

static struct MHD_Response *response_failed(void)
{
	static char text[] = "{\"error\": \"the answer is too large or there is no memory for it\"}\n";

	return MHD_create_response_from_buffer(sizeof(text) - 1, text, MHD_RESPMEM_PERSISTENT);
}

/* response: taken; NULL: there was no memory for it. */
static enum MHD_Result queue(struct request *rq, unsigned status, struct MHD_Response *response, const char *type)
{
	enum MHD_Result ok;

	if (!response) {
		response = response_failed();
		status = MHD_HTTP_INTERNAL_SERVER_ERROR;
		type = "application/json";
	}
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", rq->allow);
	if (status == MHD_HTTP_FORBIDDEN)
		MHD_add_response_header(response, "Connection", "close");
	ok = MHD_queue_response(rq->connection, status, response);
	MHD_destroy_response(response);
	return ok;
}

static enum MHD_Result reply(struct request *rq, unsigned status, const json_t *json)
{
	return queue(rq, status, json ? response_new(json) : NULL, "application/json");
}

static enum MHD_Result reply_answer(struct request *rq, struct answer *a)
{
	enum MHD_Result ok;

	if (a->type)
		return queue(rq, a->status, response_of(&a->text), a->type);
	ok = reply(rq, a->status, a->json);
	json_decref(a->json);
	return ok;
}

static enum MHD_Result reply_error(struct request *rq, unsigned status, const char *sentence)
{
	json_t *json = json_error(sentence);
	enum MHD_Result ok = reply(rq, status, json);

	json_decref(json);
	return ok;
}

/* Waits */

static bool wait_is_over(const struct request *rq)
{
	return rq->status != 0;
}

/* Nobody waits for the answer any more. */
static void later_cancel(struct request *rq)
{
	if (rq->later.cancel)
		rq->later.cancel(rq->later.owner);
	rq->later.cancel = NULL;
}

/* Out of the list; its sources end. The request itself ends in on_completed(). */
static void wait_leave(struct request *rq)
{
	if (!rq->ref)
		return;
	later_cancel(rq);
	loop_source_free(TAKE_PTR(rq->timer));
	loop_source_free(TAKE_PTR(rq->hangup));
	list_remove(&rq->link);
	free(TAKE_PTR(rq->ref));
	rq->control->n_waits--;
}

static void wait_end(struct request *rq, unsigned status, json_t *take_answer)
{
	struct control *c = rq->control;

	rq->status = status;
	rq->answer = take_answer;
	wait_leave(rq);
	MHD_resume_connection(rq->connection);
	httpd_again(&c->httpd);
}

static bool may_be_ready(struct control *c, const char *ref)
{
	return !c->ops->may_be_ready || c->ops->may_be_ready(c->userdata, ref);
}

/* Ends the wait if the pod is ready, cannot be had at all, or the time is up. */
static void wait_look(struct request *rq, bool expired)
{
	struct control *c = rq->control;
	struct err e = ERR_INIT;
	json_t *pod = NULL;
	int r;

	if (!expired && !may_be_ready(c, rq->ref))
		return;
	r = c->ops->pod(c->userdata, rq->ref, &pod, &e);
	if (r >= 0 && json_is_true(json_object_get(pod, "ready"))) {
		wait_end(rq, MHD_HTTP_OK, pod);
	} else if (r < 0 && r != -ENOENT && r != -EAGAIN) {
		wait_end(rq, MHD_HTTP_INTERNAL_SERVER_ERROR, json_error(err_text(&e)));
	} else if (expired) {
		wait_end(rq, MHD_HTTP_GATEWAY_TIMEOUT, r >= 0 ? pod : json_error(err_text(&e)));
	} else if (r >= 0) {
		json_decref(pod);
	}
}

static void on_wait_expired(struct loop_source *s, void *userdata)
{
	wait_look(userdata, true);
}

static void on_wait_hangup(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct request *rq = userdata;

	/* nobody reads it: the write fails and libmicrohttpd closes the connection */
	wait_end(rq, MHD_HTTP_GATEWAY_TIMEOUT, json_error("the client has gone"));
}

/* timeout_usec USEC_INFINITY: whoever is asked ends it. */
static int wait_watch(struct request *rq, uint64_t timeout_usec)
{
	const union MHD_ConnectionInfo *info;
	struct loop *l = rq->control->loop;
	int r;

	info = MHD_get_connection_info(rq->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!info)
		return -EBADF;
	r = loop_add_timer(l, on_wait_expired, rq, &rq->timer);
	if (r >= 0 && timeout_usec != USEC_INFINITY)
		r = loop_timer_set(rq->timer, timeout_usec);
	/* no events: HUP comes anyway, and it comes only when both directions are closed */
	if (r >= 0)
		r = loop_add_io(l, info->connect_fd, 0, on_wait_hangup, rq, &rq->hangup);
	return r;
}

static int answer_full(struct answer *a)
{
	struct err e = ERR_INIT;

	err_set(&e, -EAGAIN, "%d requests wait already", WAITS_MAX);
	return answer_error(a, MHD_HTTP_SERVICE_UNAVAILABLE, &e);
}

static int wait_enter(struct request *rq, const char *ref, uint64_t timeout_usec)
{
	struct control *c = rq->control;
	int r;

	rq->ref = strdup(ref);
	if (!rq->ref)
		return -ENOMEM;
	list_append(&c->waits, &rq->link);
	c->n_waits++;
	r = wait_watch(rq, timeout_usec);
	if (r < 0)
		wait_leave(rq);
	return r;
}

/* 1: the request waits now; 0: it is answered in *a. */
static int wait_begin(struct request *rq, const char *ref, uint64_t timeout_usec, struct answer *a)
{
	struct control *c = rq->control;
	struct err e = ERR_INIT;
	json_t *pod = NULL;
	int r;

	r = timeout_usec > 0 && !may_be_ready(c, ref) ? -ENOENT : c->ops->pod(c->userdata, ref, &pod, &e);
	if (r < 0 && r != -ENOENT && r != -EAGAIN)
		return answer_op(a, r, NULL, &e);
	if (r >= 0 && json_is_true(json_object_get(pod, "ready")))
		return answer_op(a, 0, pod, NULL);
	if (timeout_usec == 0) {
		*a = (struct answer){ .status = MHD_HTTP_GATEWAY_TIMEOUT,
				      .json = r >= 0 ? pod : json_error(err_text(&e)) };
		return a->json ? 0 : -ENOMEM;
	}
	json_decref(pod);
	if (c->n_waits >= WAITS_MAX)
		return answer_full(a);
	r = wait_enter(rq, ref, timeout_usec);
	if (r < 0)
		return r;
	MHD_suspend_connection(rq->connection);
	return 1;
}

/* Answers that come later */

typedef int (*later_op)(void *userdata, const char *ref, const char *container, struct control_later *later,
			json_t **ret, struct err *e);

/* As wait_begin(). What can be answered at once is no wait, and takes no place of one. */
static int later_begin(struct request *rq, later_op op, const char *ref, const char *container, struct answer *a)
{
	struct control *c = rq->control;
	struct err e = ERR_INIT;
	json_t *json = NULL;
	int r;

	r = op(c->userdata, ref, container, &rq->later, &json, &e);
	if (r != CONTROL_LATER)
		return answer_op(a, r, json, &e);
	if (c->n_waits >= WAITS_MAX) {
		later_cancel(rq);
		return answer_full(a);
	}
	rq->is_later = true;
	r = wait_enter(rq, ref, USEC_INFINITY);
	if (r < 0) {
		later_cancel(rq);
		return r;
	}
	MHD_suspend_connection(rq->connection);
	return 1;
}

void control_answer(struct control_later *later, int r, json_t *take_json, const struct err *e)
{
	struct request *rq = container_of(later, struct request, later);
	struct answer a = { .status = MHD_HTTP_INTERNAL_SERVER_ERROR };

	later->cancel = NULL;
	if (answer_op(&a, r, take_json, e) < 0)
		a.json = NULL; /* reply() says that there is no memory */
	wait_end(rq, a.status, a.json);
}

static void on_look(struct loop_source *s, void *userdata)
{
	struct control *c = userdata;
	struct request *rq;

	c->looked_usec = loop_now(c->loop);
	list_for_each (rq, &c->waits, link)
		if (!rq->is_later)
			wait_look(rq, false);
}

void control_notify(struct control *c)
{
	uint64_t now = loop_now(c->loop), due = c->looked_usec + WAIT_LOOK_USEC;

	if (!list_empty(&c->waits))
		loop_timer_set(c->look, due > now ? due - now : 0);
}

/* Routes: what a path's parts must be. Words are themselves; the others stand for a parameter. */

static const char PART_NAMESPACE[] = "namespace", PART_POD[] = "pod name", PART_UID[] = "pod UID",
		  PART_CONTAINER[] = "container name", PART_SECRET[] = "Secret's name";

static bool is_uid(const char *s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t len = strlen(s);

	return len > 0 && len <= 253 && strspn(s, allowed) == len && s[0] != '.';
}

static bool part_is_valid(const char *kind, const char *value)
{
	if (kind == PART_NAMESPACE || kind == PART_CONTAINER)
		return str_is_dns_label(value);
	if (kind == PART_POD || kind == PART_SECRET)
		return str_is_dns_subdomain(value);
	return is_uid(value);
}

static bool part_is_word(const char *kind)
{
	return kind != PART_NAMESPACE && kind != PART_POD && kind != PART_UID && kind != PART_CONTAINER &&
	       kind != PART_SECRET;
}

static int on_status(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	const struct control *c = rq->control;
	struct err e = ERR_INIT;
	json_t *json = NULL;
	int r = c->ops->status(c->userdata, &json, &e);

	return answer_op(a, r, json, &e);
}

static int on_pods(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	const struct control *c = rq->control;
	struct err e = ERR_INIT;
	json_t *json = NULL;
	int r = c->ops->pods(c->userdata, &json, &e);

	return answer_op(a, r, json, &e);
}

static int on_pod(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	const struct control *c = rq->control;
	cleanup_json json_t *refused = NULL;
	struct err e = ERR_INIT;
	json_t *json = NULL;
	int r = c->ops->pod(c->userdata, ref, &json, &e);

	if (r != -ENOENT)
		return answer_op(a, r, json, &e);
	refused = c->ops->refused ? c->ops->refused(c->userdata, ref) : json_array();
	r = answer_error(a, MHD_HTTP_NOT_FOUND, &e);
	if (r < 0 || json_object_set(a->json, "refused", refused) == 0)
		return r;
	json_decref(TAKE_PTR(a->json));
	return -ENOMEM;
}

static int on_mounts(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	return later_begin(rq, rq->control->ops->mounts, ref, container, a);
}

static int no_such_path(struct answer *a)
{
	struct err e = ERR_INIT;

	err_set(&e, -ENOENT, "no such path");
	return answer_error(a, MHD_HTTP_NOT_FOUND, &e);
}

/* The value of a query's argument; NULL: there is none. */
static int argument(const struct request *rq, const char *name, char **ret_value, struct err *e)
{
	const char *text = MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, name);
	int r;

	*ret_value = NULL;
	r = text ? urlpath_decode_value(text, ret_value) : 0;
	if (r < 0)
		err_set(e, r, "%s", r == -EINVAL ? "it is not percent-encoded correctly" : "out of memory");
	return r;
}

static int argument_selector(const struct request *rq, struct selector **ret_selector, struct err *e)
{
	cleanup_free char *value = NULL;
	int r;

	r = argument(rq, "labelSelector", &value, e);
	if (r == 0 && value)
		r = selector_parse(value, ret_selector, e);
	return r == -EINVAL ? err_wrap(e, r, "labelSelector") : r;
}

static int argument_kinds(const struct request *rq, unsigned *ret_kinds, struct err *e)
{
	cleanup_free char *value = NULL;
	int r;

	r = argument(rq, "kind", &value, e);
	if (r == 0 && object_kinds_parse(value ? value : "secret", ret_kinds) < 0)
		r = err_set(e, -EINVAL, "it is not secret, configMap, token or all");
	return r == -EINVAL ? err_wrap(e, r, "kind") : r;
}

static int on_secrets(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	cleanup(selector_freep) struct selector *selector = NULL;
	const struct control *c = rq->control;
	struct err e = ERR_INIT;
	json_t *json = NULL;
	unsigned kinds = 0;
	int r;

	if (!c->ops->secrets)
		return no_such_path(a);
	r = argument_selector(rq, &selector, &e);
	if (r == 0)
		r = argument_kinds(rq, &kinds, &e);
	if (r == 0)
		r = c->ops->secrets(c->userdata, kinds, selector, &json, &e);
	return answer_op(a, r, json, &e);
}

static int answer_secret(struct request *rq, int (*op)(void *, const char *, json_t **, struct err *), const char *ref,
			 struct answer *a)
{
	struct err e = ERR_INIT;
	json_t *json = NULL;
	int r;

	if (!op)
		return no_such_path(a);
	r = op(rq->control->userdata, ref, &json, &e);
	return answer_op(a, r, json, &e);
}

static int on_secret(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	return answer_secret(rq, rq->control->ops->secret, ref, a);
}

static int on_refresh(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	return answer_secret(rq, rq->control->ops->refresh, ref, a);
}

static int answer_values(struct request *rq, later_op op, const char *ref, const char *container, struct answer *a)
{
	struct err e = ERR_INIT;

	if (!op)
		return no_such_path(a);
	if (rq->is_root)
		return later_begin(rq, op, ref, container, a);
	err_set(&e, -EACCES, "only root is given values of Secrets");
	return answer_error(a, MHD_HTTP_FORBIDDEN, &e);
}

static int on_env(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	return answer_values(rq, rq->control->ops->env, ref, container, a);
}

static int on_pull_config(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	return answer_values(rq, rq->control->ops->pull_config, ref, container, a);
}

static int on_wait(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	const char *text = MHD_lookup_connection_value(rq->connection, MHD_GET_ARGUMENT_KIND, "timeout");
	uint64_t timeout_usec = WAIT_DEFAULT_USEC;
	struct err e = ERR_INIT;

	if (text && (str_parse_duration(text, &timeout_usec) < 0 || timeout_usec > WAIT_MAX_USEC)) {
		err_set(&e, -EINVAL, "timeout: '%s' is no duration of at most 10m", text);
		return answer_error(a, MHD_HTTP_BAD_REQUEST, &e);
	}
	return wait_begin(rq, ref, timeout_usec, a);
}

static int answer_page(struct request *rq, enum page page, struct answer *a)
{
	cleanup_buf struct buf text = BUF_INIT(PAGE_BYTES_MAX);
	const struct control *c = rq->control;
	int r;

	if (!c->ops->page)
		return no_such_path(a);
	r = c->ops->page(c->userdata, page, httpd_has_argument(rq->connection, "verbose"), &text);
	if (r < 0)
		return r;
	*a = (struct answer){ .status = (unsigned)r, .type = page_type(page), .text = text };
	text = (struct buf)BUF_INIT(0);
	return 0;
}

static int on_metrics(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	return answer_page(rq, PAGE_METRICS, a);
}

static int on_healthz(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	return answer_page(rq, PAGE_HEALTHZ, a);
}

static int on_readyz(struct request *rq, const char *ref, const char *container, struct answer *a)
{
	return answer_page(rq, PAGE_READYZ, a);
}

/* ref and container are what the path says, "" and NULL where it says none. Returns 0 with *a filled, or 1: the answer
 * comes later (a wait has begun). */
struct route {
	const char *parts[URLPATH_PARTS_MAX];
	int (*answer)(struct request *rq, const char *ref, const char *container, struct answer *a);
	bool post; /* else GET and HEAD */
};

static const struct route routes[] = {
	{ { "v1", "status" }, on_status },
	{ { "v1", "pods" }, on_pods },
	{ { "v1", "pods", PART_UID }, on_pod },
	{ { "v1", "pods", PART_UID, "wait" }, on_wait }, /* see uid_waits() */
	{ { "v1", "pods", PART_UID, "pull-config" }, on_pull_config }, /* the same */
	{ { "v1", "pods", PART_NAMESPACE, PART_POD }, on_pod },
	{ { "v1", "pods", PART_NAMESPACE, PART_POD, "wait" }, on_wait },
	{ { "v1", "pods", PART_UID, "containers", PART_CONTAINER, "mounts" }, on_mounts },
	{ { "v1", "pods", PART_NAMESPACE, PART_POD, "containers", PART_CONTAINER, "mounts" }, on_mounts },
	{ { "v1", "pods", PART_UID, "containers", PART_CONTAINER, "env" }, on_env },
	{ { "v1", "pods", PART_NAMESPACE, PART_POD, "containers", PART_CONTAINER, "env" }, on_env },
	{ { "v1", "pods", PART_NAMESPACE, PART_POD, "pull-config" }, on_pull_config },
	{ { "v1", "secrets" }, on_secrets },
	{ { "v1", "secrets", PART_NAMESPACE, PART_SECRET }, on_secret },
	{ { "v1", "secrets", PART_NAMESPACE, PART_SECRET, "refresh" }, on_refresh, .post = true },
	{ { "metrics" }, on_metrics },
	{ { "healthz" }, on_healthz },
	{ { "readyz" }, on_readyz },
};

/* UIDs as the API server (UUID) and the kubelet (static pods: 32 hexadecimal digits) make them. */
static bool is_usual_uid(const char *s)
{
	static const char hex[] = "0123456789abcdef";
	size_t len = strlen(s), n_digits = 0;

	for (size_t i = 0; i < len; i++) {
		bool dash = len == 36 && (i == 8 || i == 13 || i == 18 || i == 23);

		if (dash ? s[i] != '-' : !strchr(hex, s[i]))
			return false;
		n_digits += !dash;
	}
	return n_digits == 32;
}

/* "/v1/pods/X/wait" (or /pull-config): a wait for the pod with UID X, or the pod named "wait" in namespace X? The first if X looks like a
 * UID, cannot be a namespace, or is the UID of a pod that is here, or would be if it was not refused. */
static bool uid_waits(const struct control *c, const char *x)
{
	cleanup_json json_t *pod = NULL, *refused = NULL;

	if (is_usual_uid(x) || !str_is_dns_label(x))
		return true;
	if (c->ops->pod(c->userdata, x, &pod, NULL) >= 0)
		return true;
	refused = c->ops->refused ? c->ops->refused(c->userdata, x) : NULL;
	return json_array_size(refused) > 0;
}

static bool route_fits(const struct control *c, const struct route *route, const struct urlpath *p)
{
	for (size_t i = 0; i < URLPATH_PARTS_MAX; i++) {
		const char *want = route->parts[i], *have = i < p->n_parts ? p->parts[i] : NULL;

		if (!want || !have) {
			if (want || have)
				return false;
			break;
		}
		if (part_is_word(want) && !str_eq(want, have))
			return false;
	}
	if (route->parts[2] == PART_UID && (str_eq(route->parts[3], "wait") || str_eq(route->parts[3], "pull-config")))
		return uid_waits(c, p->parts[2]);
	return true;
}

/* Checks the parameters and calls the route's answer. */
static int route_answer(struct request *rq, const struct route *route, const struct urlpath *p, struct answer *a)
{
	const char *container = NULL;
	struct err e = ERR_INIT;
	char ref[REF_MAX] = "";

	for (size_t i = 0; i < p->n_parts; i++) {
		const char *kind = route->parts[i];

		if (part_is_word(kind))
			continue;
		if (!part_is_valid(kind, p->parts[i])) {
			err_set(&e, -EINVAL, "'%s' cannot be a %s", p->parts[i], kind);
			return answer_error(a, MHD_HTTP_BAD_REQUEST, &e);
		}
		if (kind == PART_CONTAINER)
			container = p->parts[i];
		else if (kind == PART_POD || kind == PART_SECRET)
			snprintf(ref, sizeof(ref), "%s/%s", p->parts[i - 1], p->parts[i]);
		else
			snprintf(ref, sizeof(ref), "%s", p->parts[i]);
	}
	return route->answer(rq, ref, container, a);
}

static enum MHD_Result dispatch(struct request *rq, const char *url, const char *method)
{
	const struct route *route = NULL;
	struct answer a = { .status = 0 };
	struct urlpath path;
	int r;

	r = urlpath_parse(url, &path);
	if (r == -EINVAL)
		return reply_error(rq, MHD_HTTP_BAD_REQUEST, "the path is not percent-encoded correctly");
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(routes) && !route; i++)
		if (route_fits(rq->control, &routes[i], &path))
			route = &routes[i];
	if (!route)
		return reply_error(rq, MHD_HTTP_NOT_FOUND, "no such path");
	rq->allow = route->post ? "POST" : "GET, HEAD";
	if (route->post && !str_eq(method, MHD_HTTP_METHOD_POST))
		return reply_error(rq, MHD_HTTP_METHOD_NOT_ALLOWED, "only POST is possible here");
	if (!route->post && !str_eq(method, MHD_HTTP_METHOD_GET) && !str_eq(method, MHD_HTTP_METHOD_HEAD))
		return reply_error(rq, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET is possible here");

	r = route_answer(rq, route, &path, &a);
	if (r > 0)
		return MHD_YES; /* it waits */
	if (r < 0)
		return reply_error(rq, MHD_HTTP_INTERNAL_SERVER_ERROR, strerror(-r));
	return reply_answer(rq, &a);
}

/* libmicrohttpd's callbacks */

static bool peer_is_member(int fd, gid_t group)
{
	cleanup_free gid_t *groups = NULL;
	socklen_t len = 0;

	/* cppcheck-suppress nullPointer ; of no bytes none are written, and the kernel says how many there are */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
		return false; /* it has none */
	groups = malloc(len);
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == group)
			return true;
	return false;
}

static bool peer_is_allowed(const struct control *c, struct request *rq)
{
	const union MHD_ConnectionInfo *info;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	info = MHD_get_connection_info(rq->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (!info || getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	rq->is_root = peer.uid == 0;
	rq->later.pid = peer.pid;
	return rq->is_root || (c->has_group && (peer.gid == c->group || peer_is_member(info->connect_fd, c->group)));
}

static enum MHD_Result request_begin(struct control *c, struct MHD_Connection *connection, void **con_cls)
{
	struct request *rq = calloc(1, sizeof(*rq));

	if (!rq)
		return MHD_NO;
	rq->control = c;
	rq->connection = connection;
	list_init(&rq->link);
	*con_cls = rq;
	/* answered before anything more of it is read */
	if (!peer_is_allowed(c, rq))
		return reply_error(rq, MHD_HTTP_FORBIDDEN,
				   c->has_group ? "only root and the members of controlSocketGroup may use this socket"
						: "only root may use this socket");
	return MHD_YES;
}

static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *body, size_t *body_len,
				  void **con_cls)
{
	struct control *c = userdata;
	struct request *rq = *con_cls;

	if (!rq)
		return request_begin(c, connection, con_cls);
	if (*body_len > 0) {
		rq->body_len += *body_len;
		*body_len = 0;
		return rq->body_len > BODY_MAX ? MHD_NO : MHD_YES;
	}
	if (wait_is_over(rq))
		return reply(rq, rq->status, rq->answer);
	return dispatch(rq, url, method);
}

static void on_completed(void *userdata, struct MHD_Connection *connection, void **con_cls,
			 enum MHD_RequestTerminationCode code)
{
	struct request *rq = *con_cls;

	if (!rq)
		return;
	*con_cls = NULL;
	wait_leave(rq);
	json_decref(rq->answer);
	free(rq);
}

static int start(struct control *c, int take_listen_fd, struct err *e)
{
	const struct httpd_options options = { .what = "control socket",
					       .connections_max = CONNECTIONS_MAX,
					       .idle_sec = CONNECTION_IDLE_SEC,
					       .connection_memory = CONNECTION_MEMORY,
					       .request = on_request,
					       .completed = on_completed,
					       .userdata = c };
	int r;

	r = httpd_start(&c->httpd, c->loop, take_listen_fd, &options, e);
	if (r < 0)
		return r;
	r = loop_add_timer(c->loop, on_look, c, &c->look);
	return r < 0 ? err_set(e, r, "control socket: %s", strerror(-r)) : 0;
}

int control_new(struct loop *l, int take_listen_fd, const struct control_ops *ops, void *userdata,
		struct control **ret_c, struct err *e)
{
	cleanup(control_freep) struct control *c = NULL;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c) {
		close_fd(take_listen_fd);
		return err_set(e, -ENOMEM, "control socket: out of memory");
	}
	c->loop = l;
	c->ops = ops;
	c->userdata = userdata;
	list_init(&c->waits);
	r = start(c, take_listen_fd, e);
	if (r < 0)
		return r;
	*ret_c = TAKE_PTR(c);
	return 0;
}

void control_allow_group(struct control *c, gid_t gid)
{
	c->has_group = true;
	c->group = gid;
}

void control_free(struct control *c)
{
	struct request *rq;

	if (!c)
		return;
	/* a suspended connection at the end is a panic of libmicrohttpd's */
	list_for_each (rq, &c->waits, link) {
		wait_leave(rq);
		MHD_resume_connection(rq->connection);
	}
	httpd_stop(&c->httpd);
	loop_source_free(c->look);
	free(c);
}
