/* Reflector: the states are
 *
 *   LISTING --complete--> WATCHING --ended--> WATCHING (from the last resource version)
 *      ^  \                  |  \--expired--> LISTING
 *      |   \--failed--v      v--failed
 *      +-----------WAITING (then LISTING or WATCHING)
 *
 * Where the server has WatchList (server.h), STREAMING is in LISTING's place: one request whose first events are the
 * list; the bookmark that ends them makes it WATCHING without another request. Whatever fails in STREAMING, the next
 * try is a plain list, so this mode can cost a round trip but never the progress. A server that is too old to refuse
 * (before 1.19) answers with a watch like any other; its silence where the bookmark should come gives it away.
 *
 * What a failure leads to is decided in three places, list_failed(), stream_failed() and watch_failed(). A list never
 * empties anything before it is complete, so what was told last stays in force through any trouble. And a list with
 * anything in it that was not asked for is no list: whoever made it says nothing about what is missing in it.
 *
 * A watch from a version that the server has not reached yet is answered with silence, until it gets there. So when the
 * etcd behind it was restored from an older state, or another server took its place, every watch that just goes on
 * would be dead (measured with 1.20.2). One reflector, the sentinel, therefore lists after each watch that was lost: at
 * its version, which the server answers out of its cache, or refuses as too large.
 *
 * Two backoffs: one that is quick at first for an object that was never seen, because a node is not allowed to read a
 * fresh pod's Secret until the authorizer has noticed the pod (some milliseconds, sometimes seconds), and client-go's
 * for all else. */
#include "agent/reflector.h"

#include <inttypes.h>

#include "agent/codec.h"
#include "agent/frames.h"
#include "common/backoff.h"
#include "common/buf.h"
#include "common/heap.h"
#include "common/json_thin.h"
#include "common/log.h"
#include "common/str.h"

enum {
	PAGE_SIZE = 500,
	PAGES_MAX = 200, /* of one list: a server that always has one more would keep us busy for ever */
	WATCH_MIN_SEC = 1800, /* each watch ends by itself after a random time in [min, 2 * min) */
	WATCH_MARGIN_SEC = 60,
	SHORT_WATCHES_MAX = 3, /* in a row, with events, before it is taken for trouble */
	FRESH_TRIES = 12, /* about 10 s */
	FAILURE_BODY_MAX = 65536,
	VERSION_MAX = 1024,
	CONTINUE_MAX = 8192,
};
static const uint64_t LIST_SILENCE_USEC = 30 * USEC_PER_SEC;
static const uint64_t LIST_TIMEOUT_USEC = 300 * USEC_PER_SEC;
static const uint64_t SHORT_WATCH_USEC = USEC_PER_SEC;
/* without an event or the bookmark, once the stream has begun; servers with #126958 took a second and more */
static const uint64_t STREAM_SILENCE_USEC = 5 * USEC_PER_SEC;
static const char INITIAL_EVENTS_END[] = "k8s.io/initial-events-end";

enum state { STATE_NEW, STATE_LISTING, STATE_STREAMING, STATE_WATCHING, STATE_WAITING, STATE_STOPPED };

/* What an event made of the watch. */
enum verdict { VERDICT_NONE, VERDICT_EXPIRED, VERDICT_FAILED };

struct reflector {
	const struct api_resource *resource;
	struct server *server;
	const struct reflector_env *env;
	const struct reflector_handler *handler;
	void *userdata;

	enum state state, next; /* next: after WAITING */
	bool synced;
	char *version; /* the last one seen; NULL: none */
	uint64_t epoch, list_epoch; /* the server's: of `version`, of the list that runs */
	bool is_sentinel;
	char *failure; /* what was told to failed(); NULL: all is well */

	bool unreachable; /* WAITING because the server did not answer */
	uint64_t not_before_usec; /* WAITING: the server has asked for it (Retry-After); 0: it has not */
	bool hurried; /* that wait was cut short */
	bool heard; /* an answer has begun, whatever became of it */
	bool runs; /* a request is under way */
	struct buf body; /* of a list, or of an answer that is no 200 */
	int status; /* 0: no head yet */

	char *continue_token; /* the next page's */
	unsigned n_pages; /* taken of this list */
	bool list_latest; /* ask for the most recent state, not for one at least as new as `version` */
	bool told_latest; /* it was, for the list that was told last */
	bool list_unlimited; /* a page had expired: all in one */
	bool list_admitted; /* WAITING only for its turn */
	bool list_plain; /* no stream this time: it has just failed */
	uint64_t stream_usec; /* the last sign of life of the stream */

	struct frames frames;
	uint64_t watch_since; /* when the head came */
	unsigned watch_sec; /* how long it was asked to last */
	uint64_t n_events; /* of this watch */
	unsigned n_expired; /* watches in a row that expired before they had lasted */
	unsigned n_refused; /* watches in a row that did not begin */
	unsigned n_short; /* watches in a row that were over at once */
	bool odd_told; /* something was ignored and logged during this watch */
	enum verdict verdict;
	struct api_failure *watch_failure; /* why the watch is over; in watch_body() only */

	struct backoff backoff, fresh;
	unsigned n_fresh;
};

static void start_sync(struct reflector *r);
static void start_watch(struct reflector *r);

/* ---- telling ---- */

/* Telling runs foreign code, which may stop us: whoever calls these looks at is_stopped() before going on. */
static bool is_stopped(const struct reflector *r)
{
	return r->state == STATE_STOPPED;
}

static void tell_failed(struct reflector *r, const struct err *e, int status)
{
	char *text;

	if (r->failure && str_eq(r->failure, err_text(e)))
		return;
	text = strdup(err_text(e));
	free(r->failure);
	r->failure = text;
	r->handler->failed(r->userdata, e, status);
}

static void tell_recovered(struct reflector *r)
{
	if (!r->failure)
		return;
	free(TAKE_PTR(r->failure));
	r->handler->recovered(r->userdata);
}

static void log_odd(struct reflector *r, const char *what)
{
	const struct api_resource *resource = r->resource;

	if (r->odd_told)
		return;
	r->odd_told = true;
	log_warning(
		LOG_F({ "kind", resource->kind }, { "namespace", resource->ns }, { "selector", resource->field_value }),
		"ignored in the watch: %s", what);
}

/* ---- waiting ---- */

static void wait_then(struct reflector *r, enum state next, uint64_t delay_usec)
{
	r->state = STATE_WAITING;
	r->next = next;
	r->unreachable = r->list_admitted = false;
	r->env->wake_after(r->userdata, delay_usec);
}

static bool is_fresh_trouble(const struct reflector *r, int status, int code)
{
	return !r->synced && r->n_fresh < FRESH_TRIES && (status == 403 || status == 404 || code == -ECONNREFUSED);
}

static uint64_t next_delay(struct reflector *r, int status, int code, int64_t retry_after_sec)
{
	double random = r->env->random01(r->userdata);
	uint64_t now = r->env->now(r->userdata), delay;

	if (is_fresh_trouble(r, status, code)) {
		r->n_fresh++;
		delay = backoff_next(&r->fresh, now, random);
	} else {
		delay = backoff_next(&r->backoff, now, random);
	}
	return server_retry_delay(retry_after_sec, delay, random, now, &r->not_before_usec);
}

static void fail_then(struct reflector *r, enum state next, const struct err *e, int status, int64_t retry_after_sec)
{
	wait_then(r, next, next_delay(r, status, e->code, retry_after_sec));
	r->unreachable = server_is_unreachable(r->heard, r->hurried, e->code);
	r->hurried = false;
	if (e->code != -ECONNABORTED) /* our own doing: nothing is wrong, and it is asked again */
		tell_failed(r, e, status);
}

static void cancel_request(struct reflector *r)
{
	if (!r->runs)
		return;
	r->runs = false;
	r->env->cancel(r->userdata);
}

static void end_request(struct reflector *r)
{
	buf_deinit(&r->body);
	r->body = BUF_INIT(REFLECTOR_LIST_BYTES_MAX);
	frames_reset(&r->frames);
	r->status = 0;
}

static void start_request(struct reflector *r, enum state state, const struct reflector_get *get, int r_target)
{
	struct err e = ERR_INIT;
	int r_get;

	end_request(r);
	r->heard = false;
	r->state = state;
	r_get = r_target < 0 ? r_target : r->env->get(r->userdata, get);
	r->runs = r_get == 0;
	if (r->runs)
		return;
	err_set(&e, r_get, "start a request: %s", strerror(-r_get));
	fail_then(r, state, &e, 0, -1);
}

/* ---- listing ---- */

static const char *list_version(const struct reflector *r)
{
	if (r->list_latest)
		return "";
	return r->version ? r->version : "0";
}

static void send_list(struct reflector *r)
{
	const char *version = list_version(r);
	/* with any other version a limit would keep the server from answering out of its cache */
	bool pages = !r->list_unlimited && (str_empty(version) || str_eq(version, "0"));
	const struct api_list list = { .limit = pages ? PAGE_SIZE : 0,
				       .resource_version = version,
				       .continue_token = r->continue_token };
	cleanup_free char *target = NULL;
	int r_target;

	r_target = api_list_target(r->resource, &list, &target);
	start_request(r, STATE_LISTING,
		      &(struct reflector_get){
			      .target = target, .timeout_usec = LIST_TIMEOUT_USEC, .silence_usec = LIST_SILENCE_USEC },
		      r_target);
}

static void start_list(struct reflector *r)
{
	uint64_t delay = server_admit(r->server, r->env->now(r->userdata));

	if (delay == 0) {
		send_list(r);
		return;
	}
	end_request(r);
	wait_then(r, STATE_LISTING, delay);
	r->list_admitted = true;
}

static void restart_list(struct reflector *r)
{
	free(TAKE_PTR(r->continue_token));
	start_sync(r);
}

static void list_failed(struct reflector *r, const struct api_failure *f)
{
	bool had_page = r->continue_token, was_latest = r->list_latest;

	free(TAKE_PTR(r->continue_token));
	if (had_page && api_failure_is_expired(f) && !r->list_unlimited) {
		r->list_unlimited = true;
		start_list(r);
		return;
	}
	if (api_failure_is_expired(f) || f->version_too_large) {
		r->list_latest = true;
		if (!was_latest) {
			start_list(r);
			return;
		}
	}
	fail_then(r, STATE_LISTING, &f->err, f->code, f->retry_after_sec);
}

static void list_broken(struct reflector *r, const char *why)
{
	struct api_failure f = { .retry_after_sec = -1 };

	err_set(&f.err, -EBADMSG, "the server's list of %s: %s", r->resource->plural, why);
	list_failed(r, &f);
}

/* Whether an object is what was asked for; a server or a proxy in between may answer something else. */
static const char *odd_object(const struct reflector *r, const json_t *obj)
{
	const struct api_resource *resource = r->resource;
	const json_t *meta = json_object_get(obj, "metadata");
	const char *name = json_string_value(json_object_get(meta, "name"));
	const char *ns = json_string_value(json_object_get(meta, "namespace"));

	if (!json_is_object(obj))
		return "something that is no object";
	if (resource->ns && !str_eq(ns, resource->ns))
		return "an object of another namespace";
	if (str_eq(resource->field, "metadata.name") && !str_eq(name, resource->field_value))
		return "an object with another name";
	return NULL;
}

static const char *odd_item(const struct reflector *r, const json_t *items)
{
	const char *odd = NULL;
	const json_t *item;
	size_t i;

	json_array_foreach (items, i, item) {
		odd = odd_object(r, item);
		if (odd)
			break;
	}
	return odd;
}

static void tell_items(struct reflector *r, const json_t *items)
{
	const json_t *item;
	size_t i;

	json_array_foreach (items, i, item) {
		r->handler->object(r->userdata, REFLECTOR_LISTED, item);
		if (is_stopped(r))
			return;
	}
}

static int keep_version(struct reflector *r, const json_t *obj)
{
	const char *version = codec_resource_version(obj);
	char *copy;

	if (!version || strlen(version) > VERSION_MAX)
		return -EINVAL;
	if (str_eq(version, r->version))
		return 0;
	copy = strdup(version);
	if (!copy)
		return -ENOMEM;
	free(r->version);
	r->version = copy;
	return 0;
}

/* Of a complete list: it may be a lower one. */
static int keep_list_version(struct reflector *r, const json_t *list)
{
	const char *version = codec_resource_version(list);

	if (version && r->version && server_goes_back(r->server, r->epoch, r->version, version)) {
		r->list_epoch = r->server->epoch;
		r->env->went_back(r->userdata);
	}
	return keep_version(r, list);
}

static int keep_continue(struct reflector *r, const json_t *list)
{
	const char *token = json_string_value(json_object_get(json_object_get(list, "metadata"), "continue"));

	free(TAKE_PTR(r->continue_token));
	if (str_empty(token))
		return 0;
	if (strlen(token) > CONTINUE_MAX)
		return -EINVAL;
	r->continue_token = strdup(token);
	return r->continue_token ? 0 : -ENOMEM;
}

static void list_complete(struct reflector *r)
{
	r->told_latest = r->list_latest;
	r->list_latest = r->list_unlimited = r->list_plain = false;
	r->epoch = r->list_epoch;
	r->synced = true;
	r->n_fresh = 0;
	backoff_reset(&r->fresh);
	r->handler->list_end(r->userdata);
	if (!is_stopped(r))
		tell_recovered(r);
}

static void take_page(struct reflector *r, const json_t *list)
{
	const json_t *items = json_object_get(list, "items");
	const char *odd = odd_item(r, items);
	bool first = !r->continue_token;

	if (!json_is_null(items) && !json_is_array(items))
		odd = "items must be an array";
	if (odd) {
		list_broken(r, odd);
		return;
	}
	if (first) {
		r->n_pages = 0;
		r->handler->list_begin(r->userdata);
	}
	if (!is_stopped(r))
		tell_items(r, items);
	if (is_stopped(r))
		return;
	if (keep_continue(r, list) < 0) {
		list_broken(r, "the continue token is too long");
		return;
	}
	if (r->continue_token && ++r->n_pages >= PAGES_MAX) {
		list_broken(r, "it does not end");
		return;
	}
	if (r->continue_token) {
		start_list(r);
		return;
	}
	if (keep_list_version(r, list) < 0) {
		list_broken(r, "it has no resourceVersion");
		return;
	}
	list_complete(r);
	if (!is_stopped(r))
		start_watch(r);
}

static void list_arrived(struct reflector *r)
{
	cleanup_json json_t *doc = NULL;
	struct json_issue issue = { .reason = "" };
	struct err e = ERR_INIT;

	if (json_parse_thin(r->body.len ? r->body.data : "", r->body.len, &doc, &e) < 0) {
		list_broken(r, err_text(&e));
		return;
	}
	end_request(r);
	if (codec_expect(doc, "v1", r->resource->list_kind, &issue) < 0) {
		err_set(&e, -EBADMSG, "%s %s", issue.path, issue.reason);
		list_broken(r, err_text(&e));
		return;
	}
	take_page(r, doc);
}

/* Why there is no 200 with a proper end. */
static void read_failure(const struct reflector *r, const struct http_result *result, struct api_failure *ret)
{
	*ret = (struct api_failure){ .retry_after_sec = result->retry_after_sec };
	if (result->err.code != 0) {
		ret->err = result->err;
		return;
	}
	api_failure_from_body(result->status, r->body.data, r->body.len, ret);
	ret->retry_after_sec = MAX(ret->retry_after_sec, result->retry_after_sec);
}

static void list_done(struct reflector *r, const struct http_result *result)
{
	size_t len = r->body.len;
	struct api_failure f;

	if (result->err.code == 0 && result->status == 200) {
		list_arrived(r);
		heap_give_back(len);
		return;
	}
	read_failure(r, result, &f);
	list_failed(r, &f);
}

/* ---- watching, with or without the list in front ---- */

static void start_long(struct reflector *r, enum state state)
{
	unsigned timeout_sec = WATCH_MIN_SEC + (unsigned)(r->env->random01(r->userdata) * WATCH_MIN_SEC);
	cleanup_free char *target = NULL;
	int r_target;

	r->n_events = 0;
	r->odd_told = false;
	r->verdict = VERDICT_NONE;
	r->watch_sec = timeout_sec;
	if (state == STATE_STREAMING)
		r_target = api_stream_target(r->resource, r->list_latest ? "" : r->version, timeout_sec, &target);
	else
		r_target = api_watch_target(r->resource, r->version, timeout_sec, &target);
	start_request(r, state,
		      &(struct reflector_get){ .target = target,
					       .timeout_usec = (timeout_sec + WATCH_MARGIN_SEC) * USEC_PER_SEC,
					       .is_watch = true },
		      r_target);
}

static void start_watch(struct reflector *r)
{
	start_long(r, STATE_WATCHING);
	if (r->state == STATE_WATCHING)
		r->env->wake_after(r->userdata, LIST_SILENCE_USEC); /* for the head */
}

static void start_sync(struct reflector *r)
{
	uint64_t now = r->env->now(r->userdata);

	r->list_epoch = r->server->epoch;
	if (r->list_plain || !server_may_stream(r->server, r, now)) {
		start_list(r);
		return;
	}
	start_long(r, STATE_STREAMING);
	if (r->state != STATE_STREAMING) {
		server_stream_undecided(r->server, r);
		return;
	}
	r->stream_usec = now;
	r->env->wake_after(r->userdata, LIST_SILENCE_USEC);
}

/* The server cannot do it, or not well enough. */
static void stream_refused(struct reflector *r, const char *why)
{
	if (r->server->stream != SERVER_STREAM_REFUSED)
		log_info(NULL, "the API server has no WatchList (%s): lists are used", why);
	server_stream_refused(r->server, r, r->env->now(r->userdata));
	r->env->wake_off(r->userdata);
	r->list_plain = true;
	start_list(r);
}

static bool says_nothing_about_streams(const struct api_failure *f)
{
	return f->code == 0 || f->code == 401 || f->code == 403 || f->code == 429 || f->code >= 500;
}

/* The stream did not begin. */
static void stream_failed(struct reflector *r, const struct api_failure *f)
{
	bool is_version = api_failure_is_expired(f) || f->version_too_large;

	if (!is_version && !says_nothing_about_streams(f)) {
		stream_refused(r, err_text(&f->err));
		return;
	}
	server_stream_undecided(r->server, r);
	r->env->wake_off(r->userdata);
	/* who did not answer at all, or was busy, has not seen what was asked for */
	r->list_plain = f->code != 0 && f->code != 429;
	r->list_latest |= is_version;
	if (is_version)
		start_list(r);
	else
		fail_then(r, STATE_LISTING, &f->err, f->code, f->retry_after_sec);
}

/* It had begun and broke off before the list was complete. */
static void stream_broken(struct reflector *r, const struct api_failure *f)
{
	struct err e = f->err;

	if (e.code == 0) {
		stream_refused(r, "it ended a watch before the initial events");
		return;
	}
	if (e.code == -ECONNRESET)
		e.code = -ECONNABORTED; /* where an answer has begun it is http_reopen() that says so */
	server_stream_undecided(r->server, r);
	r->env->wake_off(r->userdata);
	r->list_plain = true;
	fail_then(r, STATE_LISTING, &e, f->code, f->retry_after_sec);
}

/* By an ERROR event, or by something that is no event. */
static void stream_broken_by_message(struct reflector *r, const struct api_failure *f)
{
	if (f->code != 0)
		stream_failed(r, f);
	else
		stream_refused(r, err_text(&f->err));
}

static void stream_done(struct reflector *r, const struct http_result *result)
{
	struct api_failure f = { .retry_after_sec = result->retry_after_sec, .err = result->err };

	if (r->status == 200) {
		stream_broken(r, &f);
		return;
	}
	read_failure(r, result, &f);
	stream_failed(r, &f);
}

/* No bookmark in time, or no answer. */
static void stream_looked_at(struct reflector *r)
{
	uint64_t silent = r->env->now(r->userdata) - r->stream_usec;
	struct api_failure f = { .retry_after_sec = -1 };

	if (r->status == 200 && silent < STREAM_SILENCE_USEC) {
		r->env->wake_after(r->userdata, STREAM_SILENCE_USEC - silent);
		return;
	}
	cancel_request(r);
	if (r->status == 200) {
		stream_refused(r, "no bookmark ended the initial events");
		return;
	}
	err_set(&f.err, -ETIMEDOUT, "no answer to a watch of %s", r->resource->plural);
	server_stream_undecided(r->server, r);
	r->list_plain = true;
	fail_then(r, STATE_LISTING, &f.err, 0, -1);
}

static void stream_complete(struct reflector *r)
{
	r->env->wake_off(r->userdata);
	server_stream_works(r->server, r);
	r->n_refused = 0;
	r->hurried = false;
	r->state = STATE_WATCHING;
	list_complete(r);
}

/* The first time at once; again and again only with pauses. Events say nothing: each WatchList begins with some. */
static void watch_expired(struct reflector *r, bool has_lasted)
{
	if (has_lasted)
		r->n_expired = 0;
	if (r->n_expired++ == 0)
		restart_list(r);
	else
		wait_then(r, STATE_LISTING, next_delay(r, 410, 0, -1));
}

/* The watch did not begin. The version is still good when the server was not there or was busy, and asking again from
 * it is cheap. But where only watches fail, lists must keep us up to date. */
static void watch_failed(struct reflector *r, const struct api_failure *f)
{
	bool keeps_version = f->err.code == -ECONNREFUSED || f->code == 429;
	bool may_keep_version = f->code == 0 || f->code >= 500;

	if (api_failure_is_expired(f)) {
		watch_expired(r, false);
		return;
	}
	r->n_refused++;
	fail_then(r, keeps_version || (may_keep_version && r->n_refused == 1) ? STATE_WATCHING : STATE_LISTING, &f->err,
		  f->code, f->retry_after_sec);
}

static void begin_anew(struct reflector *r, uint64_t delay_usec)
{
	if (delay_usec > 0)
		wait_then(r, STATE_WATCHING, delay_usec);
	else
		start_watch(r);
}

/* The watch had begun and its stream is over. */
static void watch_ended(struct reflector *r, const struct http_result *result)
{
	uint64_t lasted = r->env->now(r->userdata) - r->watch_since;
	bool is_short = lasted < SHORT_WATCH_USEC;
	/* not if it was our own doing: connections are renewed */
	bool is_lost = lasted / USEC_PER_SEC + 1 < r->watch_sec && result->err.code != -ECONNABORTED;
	struct err e = ERR_INIT;

	r->n_short = is_short ? r->n_short + 1 : 0;
	if (!is_short)
		r->n_expired = 0;
	if (frames_pending(&r->frames) > 0 && result->err.code == 0) {
		err_set(&e, -EBADMSG, "the watch of %s ended in the middle of a message", r->resource->plural);
		fail_then(r, STATE_LISTING, &e, 0, -1);
	} else if (is_short && (r->n_events == 0 || r->n_short > SHORT_WATCHES_MAX)) {
		log_debug(LOG_F({ "namespace", r->resource->ns }, { "selector", r->resource->field_value }),
			  "very short watch of %s", r->resource->plural);
		wait_then(r, STATE_LISTING, next_delay(r, 0, result->err.code, -1));
	} else if (r->is_sentinel && is_lost) {
		/* whether the server can stream is asked when not all nodes ask at the same time */
		r->list_plain = r->server->stream != SERVER_STREAM_WORKS;
		restart_list(r);
	} else {
		begin_anew(r, is_lost && r->env->lost ? r->env->lost(r->userdata) : 0);
	}
}

static void watch_done(struct reflector *r, const struct http_result *result)
{
	struct api_failure f;

	if (r->status == 200) {
		watch_ended(r, result);
		return;
	}
	read_failure(r, result, &f);
	watch_failed(r, &f);
}

static const struct {
	const char *type;
	enum reflector_event event;
} EVENTS[] = {
	{ "ADDED", REFLECTOR_ADDED },
	{ "MODIFIED", REFLECTOR_MODIFIED },
	{ "DELETED", REFLECTOR_DELETED },
};

static enum reflector_event event_of(const struct reflector *r, enum reflector_event event)
{
	return r->state == STATE_STREAMING && event == REFLECTOR_ADDED ? REFLECTOR_LISTED : event;
}

static bool ends_initial_events(const json_t *bookmark)
{
	const json_t *annotations = json_object_get(json_object_get(bookmark, "metadata"), "annotations");

	return str_eq(json_string_value(json_object_get(annotations, INITIAL_EVENTS_END)), "true");
}

static void take_bookmark(struct reflector *r, const json_t *obj)
{
	bool is_end = r->state == STATE_STREAMING && ends_initial_events(obj);

	if (r->state == STATE_STREAMING && !is_end)
		return;
	if ((is_end ? keep_list_version(r, obj) : keep_version(r, obj)) < 0)
		log_odd(r, "a bookmark without resourceVersion");
	else if (is_end)
		stream_complete(r);
}

/* Positive: the watch is over, r->verdict says why. */
static int take_nonsense(struct reflector *r, const char *what)
{
	err_set(&r->watch_failure->err, -EBADMSG, "a message in the watch of %s: %s", r->resource->plural, what);
	r->verdict = VERDICT_FAILED;
	return 1;
}

/* The same. What was not asked for is passed over among changes; among initial events it makes no list. */
static int take_odd(struct reflector *r, const char *what)
{
	if (r->state == STATE_STREAMING)
		return take_nonsense(r, what);
	log_odd(r, what);
	return 0;
}

/* The same. */
static int take_object(struct reflector *r, const char *type, const json_t *obj)
{
	const char *odd = odd_object(r, obj);

	/* what a stream begins with has been added; other changes may go on for ever */
	if (str_eq(type, "ADDED"))
		r->stream_usec = r->env->now(r->userdata);
	for (size_t i = 0; i < ARRAY_SIZE(EVENTS); i++) {
		if (!str_eq(type, EVENTS[i].type))
			continue;
		/* initial events are in no order: the list's version is the bookmark's */
		if (odd)
			return take_odd(r, odd);
		if (r->state == STATE_WATCHING && keep_version(r, obj) < 0)
			log_odd(r, "an object without resourceVersion");
		else
			r->handler->object(r->userdata, event_of(r, EVENTS[i].event), obj);
		return 0;
	}
	log_odd(r, "an event of unknown type");
	return 0;
}

/* The same. */
static int take_error(struct reflector *r, const json_t *status)
{
	api_failure_from_status(status, r->watch_failure);
	r->verdict = api_failure_is_expired(r->watch_failure) ? VERDICT_EXPIRED : VERDICT_FAILED;
	return 1;
}

static int take_event(struct reflector *r, const json_t *doc)
{
	const char *type = json_string_value(json_object_get(doc, "type"));
	const json_t *obj = json_object_get(doc, "object");
	struct json_issue issue;
	int r_event = 0;

	if (!type || !json_is_object(obj))
		return -EBADMSG;
	if (str_eq(type, "ERROR"))
		return take_error(r, obj);
	r->n_events++;
	if (codec_expect(obj, "v1", r->resource->kind, &issue) < 0)
		r_event = take_odd(r, "an object of another kind");
	else if (str_eq(type, "BOOKMARK"))
		take_bookmark(r, obj);
	else
		r_event = take_object(r, type, obj);
	return is_stopped(r) ? 1 : r_event;
}

static int take_text(struct reflector *r, const char *text, size_t len)
{
	cleanup_json json_t *doc = NULL;
	struct err e = ERR_INIT;
	int r_event;

	r_event = json_parse_thin(text, len, &doc, &e);
	if (r_event == 0) {
		err_set(&e, -EBADMSG, "neither event nor object in it");
		r_event = take_event(r, doc);
	}
	return r_event >= 0 ? r_event : take_nonsense(r, err_text(&e));
}

static int take_frame(void *userdata, const char *text, size_t len)
{
	int r_event = take_text(userdata, text, len);

	heap_give_back(len);
	return r_event;
}

static void watch_body(struct reflector *r, const char *data, size_t len)
{
	bool has_lasted = r->env->now(r->userdata) - r->watch_since >= SHORT_WATCH_USEC;
	struct api_failure failure = { .retry_after_sec = -1 };
	int r_feed;

	r->watch_failure = &failure;
	r_feed = frames_feed(&r->frames, data, len, take_frame, r);
	r->watch_failure = NULL;
	if (r_feed == 0 || is_stopped(r))
		return;
	if (r_feed < 0) {
		err_set(&failure.err, r_feed, "a message in the watch of %s: %s", r->resource->plural,
			r_feed == -EFBIG ? "more than 4 MiB" : strerror(-r_feed));
		r->verdict = VERDICT_FAILED;
	}
	cancel_request(r);
	end_request(r);
	if (r->state == STATE_STREAMING)
		stream_broken_by_message(r, &failure);
	else if (r->verdict == VERDICT_EXPIRED)
		watch_expired(r, has_lasted);
	else
		fail_then(r, STATE_LISTING, &failure.err, failure.code, failure.retry_after_sec);
}

/* ---- from outside ---- */

void reflector_head(struct reflector *r, int status)
{
	if (is_stopped(r))
		return;
	r->status = status;
	r->heard = true;
	if (status != 200)
		return;
	r->watch_since = r->env->now(r->userdata);
	if (r->state == STATE_STREAMING) {
		r->stream_usec = r->watch_since;
		r->env->wake_after(r->userdata, STREAM_SILENCE_USEC);
		r->handler->list_begin(r->userdata);
	} else if (r->state == STATE_WATCHING) {
		r->env->wake_off(r->userdata);
		r->n_refused = 0;
		r->hurried = false;
		tell_recovered(r);
	}
}

/* An answer longer than anybody would make it: what is known of a failure will do, a list is refused. */
static void body_too_long(struct reflector *r)
{
	struct http_result result = { .status = r->status, .retry_after_sec = -1 };

	cancel_request(r);
	if (r->status == 200)
		err_set(&result.err, -EFBIG, "the server's list of %s is too large", r->resource->plural);
	reflector_done(r, &result);
}

/* The watch was taken but never answered, or refused without an end. */
static void watch_looked_at(struct reflector *r)
{
	struct http_result result = { .status = r->status, .retry_after_sec = -1 };

	if (r->status == 200)
		return;
	cancel_request(r);
	if (r->status == 0)
		err_set(&result.err, -ETIMEDOUT, "no answer to a watch of %s", r->resource->plural);
	reflector_done(r, &result);
}

/* A list of one object is no longer than that object in a watch would be; hundreds of them may come at once. */
static size_t body_max(const struct reflector *r)
{
	if (r->status != 200)
		return FAILURE_BODY_MAX;
	return str_eq(r->resource->field, "metadata.name") ? FRAMES_BYTES_MAX : REFLECTOR_LIST_BYTES_MAX;
}

void reflector_body(struct reflector *r, const char *data, size_t len)
{
	size_t max = body_max(r);

	if (is_stopped(r))
		return;
	if ((r->state == STATE_WATCHING || r->state == STATE_STREAMING) && r->status == 200)
		watch_body(r, data, len);
	else if (r->body.len + len > max || buf_add(&r->body, data, len) < 0)
		body_too_long(r);
}

void reflector_done(struct reflector *r, const struct http_result *result)
{
	r->runs = false;
	if (r->state == STATE_LISTING)
		list_done(r, result);
	else if (r->state == STATE_STREAMING)
		stream_done(r, result);
	else if (r->state == STATE_WATCHING)
		watch_done(r, result);
	if (r->state == STATE_WAITING || r->state == STATE_STOPPED)
		end_request(r);
}

void reflector_wake(struct reflector *r)
{
	if (r->state == STATE_STREAMING) {
		stream_looked_at(r);
		return;
	}
	if (r->state == STATE_WATCHING) {
		watch_looked_at(r);
		return;
	}
	if (r->state != STATE_WAITING)
		return;
	if (r->list_admitted)
		send_list(r);
	else if (r->next == STATE_WATCHING)
		start_watch(r);
	else
		restart_list(r);
}

void reflector_be_sentinel(struct reflector *r)
{
	r->is_sentinel = true;
}

void reflector_start(struct reflector *r)
{
	assert(r->state == STATE_NEW);
	start_sync(r);
}

static void drop_what_runs(struct reflector *r)
{
	cancel_request(r);
	if (r->state == STATE_WAITING || r->state == STATE_STREAMING || r->state == STATE_WATCHING)
		r->env->wake_off(r->userdata);
	if (r->state == STATE_STREAMING)
		server_stream_undecided(r->server, r);
}

void reflector_stop(struct reflector *r)
{
	drop_what_runs(r);
	r->state = STATE_STOPPED;
}

void reflector_refresh(struct reflector *r)
{
	if (is_stopped(r))
		return;
	free(TAKE_PTR(r->failure)); /* whoever asks wants an answer, also if it is the same */
	r->not_before_usec = 0;
	r->list_latest = true;
	if (r->state == STATE_WAITING && r->list_admitted && !r->unreachable) {
		free(TAKE_PTR(r->continue_token));
		return;
	}
	drop_what_runs(r);
	restart_list(r);
}

bool reflector_list_next(struct reflector *r)
{
	if (r->state == STATE_WAITING && r->next == STATE_WATCHING) {
		r->next = STATE_LISTING;
		r->list_plain = r->server->stream != SERVER_STREAM_WORKS; /* as after a watch that was lost */
	}
	return r->state != STATE_WATCHING;
}

bool reflector_waits(const struct reflector *r)
{
	return r->state == STATE_WAITING;
}

bool reflector_waits_for_server(const struct reflector *r)
{
	return r->state == STATE_WAITING && r->unreachable;
}

void reflector_hold(struct reflector *r, const struct err *e)
{
	if (r->state != STATE_WAITING)
		return;
	r->env->wake_off(r->userdata);
	if (r->unreachable)
		return;
	r->unreachable = true;
	r->list_admitted = false; /* that turn was for now */
	if (e)
		tell_failed(r, e, 0);
}

static uint64_t until_allowed(const struct reflector *r)
{
	uint64_t now = r->env->now(r->userdata);

	return r->not_before_usec > now ? r->not_before_usec - now : 0;
}

void reflector_server_answers(struct reflector *r, uint64_t delay_usec)
{
	if (!reflector_waits_for_server(r))
		return;
	r->unreachable = false;
	r->hurried = true;
	r->env->wake_after(r->userdata, MAX(delay_usec, until_allowed(r)));
}

const char *reflector_version(const struct reflector *r)
{
	return r->version;
}

bool reflector_is_synced(const struct reflector *r)
{
	return r->synced;
}

bool reflector_told_latest(const struct reflector *r)
{
	return r->told_latest;
}

bool reflector_is_listing(const struct reflector *r)
{
	return r->state == STATE_LISTING || r->state == STATE_STREAMING ||
	       (r->state == STATE_WAITING && r->list_admitted);
}

bool reflector_is_watching(const struct reflector *r)
{
	return r->state == STATE_WATCHING && r->status == 200;
}

int reflector_new(const struct api_resource *resource, struct server *server, const struct reflector_env *env,
		  const struct reflector_handler *handler, void *userdata, struct reflector **ret_r)
{
	struct reflector *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->resource = resource;
	r->server = server;
	r->env = env;
	r->handler = handler;
	r->userdata = userdata;
	r->state = STATE_NEW;
	r->body = BUF_INIT(REFLECTOR_LIST_BYTES_MAX);
	r->frames = FRAMES_INIT(FRAMES_BYTES_MAX);
	r->backoff = BACKOFF_INIT(&BACKOFF_REFLECTOR);
	r->fresh = BACKOFF_INIT(&BACKOFF_FRESH);
	*ret_r = r;
	return 0;
}

void reflector_free(struct reflector *r)
{
	if (!r)
		return;
	reflector_stop(r);
	buf_deinit(&r->body);
	frames_deinit(&r->frames);
	free(r->version);
	free(r->failure);
	free(r->continue_token);
	free(r);
}
