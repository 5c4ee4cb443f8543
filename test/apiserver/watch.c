/* Watches. A watch is a response whose callback hands out what was queued for it, and suspends its connection while
 * there is nothing. libmicrohttpd does not look at the socket of a suspended connection, so a second thread has all of
 * them in an epoll set of its own, only to learn that a client has gone. It also sends bookmarks and ends watches whose
 * timeoutSeconds are over.
 *
 * The lock is held while connections are suspended and resumed, so that "suspended" is always true to the fact;
 * libmicrohttpd calls us without its own locks, so the order is ours, then its. */
#include <inttypes.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "test/apiserver/internal.h"
#include "test/apiserver/status.h"

#define WATCH_QUEUE_MAX (256 * 1024 * 1024)
#define WATCH_BLOCK	(32 * 1024)

static uint64_t now_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / NSEC_PER_USEC;
}

void watch_resume(struct watch *w)
{
	if (!w->suspended)
		return;
	w->suspended = false;
	MHD_resume_connection(w->connection);
}

bool watch_runs(const struct watch *w)
{
	return !w->ended && !w->gone;
}

void watch_end(struct watch *w, bool torn)
{
	w->ended = true;
	w->torn = torn;
	watch_resume(w);
}

void watch_send(struct watch *w, const char *bytes, size_t len)
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

	if (w->held_rv || c->kind != w->kind || c->rv <= w->from_rv)
		return;
	before = selector_match(&w->selector, c->before);
	after = selector_match(&w->selector, c->after);
	if (after)
		watch_send_frame(w, before ? "MODIFIED" : "ADDED", object_full(c->kind, c->after, 0));
	else if (before)
		watch_send_frame(w, "DELETED", object_full(c->kind, c->before, c->rv));
}

void watch_hold(struct watch *w, bool hold)
{
	const struct change *change;
	uint64_t rv = w->held_rv;

	if (hold == (rv > 0))
		return;
	w->held_rv = hold ? objects_rv(w->a->objects) : 0;
	while (!hold && (change = objects_after(w->a->objects, rv))) {
		watch_feed(w, change);
		rv = change->rv;
	}
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

size_t watch_bookmark_all(struct apiserver *a)
{
	struct watch *w;
	size_t n = 0;

	list_for_each (w, &a->watches, link)
		if (watch_runs(w) && !w->held_rv && w->bookmarks && objects_rv(a->objects) >= w->from_rv) {
			watch_bookmark(w, objects_rv(a->objects), w->initial_end_due);
			w->initial_end_due = false;
			n++;
		}
	return n;
}

void watch_feed_all(struct apiserver *a, const struct change *c)
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

	pthread_mutex_lock(&a->lock);
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
	pthread_mutex_unlock(&a->lock);
	return n;
}

static void watch_free(void *cls)
{
	struct watch *w = cls;
	struct apiserver *a = w->a;

	pthread_mutex_lock(&a->lock);
	list_remove(&w->link);
	a->counts.n_watches_running--;
	pthread_mutex_unlock(&a->lock);
	selector_deinit(&w->selector);
	buf_deinit(&w->out);
	free(w);
}

void watch_wake_ticker(struct apiserver *a)
{
	eventfd_write(a->wake_fd, 1);
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
		watch_bookmark_all(a);
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

void *watch_ticker(void *cls)
{
	struct apiserver *a = cls;
	struct epoll_event events[64];
	eventfd_t count;

	pthread_mutex_lock(&a->lock);
	a->next_bookmark_usec = now_usec() + a->options.bookmark_msec * USEC_PER_MSEC;
	while (!a->quit) {
		int msec = ticker_wait_msec(a, now_usec()), n;

		pthread_mutex_unlock(&a->lock);
		n = epoll_wait(a->epoll_fd, events, ARRAY_SIZE(events), msec);
		pthread_mutex_lock(&a->lock);
		for (int i = 0; i < n; i++) {
			if (events[i].data.u64 == 0)
				eventfd_read(a->wake_fd, &count);
			else
				client_gone(a, events[i].data.u64);
		}
		tick(a, now_usec());
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* ---- beginning ---- */

/* What a watch has to send before anything new happens. */
static void watch_catch_up(struct apiserver *a, struct watch *w, uint64_t rv, bool initial)
{
	const struct change *change;
	json_t *all, *obj;
	size_t i;

	if (rv > 0 && !initial && rv < objects_compacted(a->objects)) {
		watch_send_frame(w, "ERROR", status_expired(rv, objects_compacted(a->objects)));
		watch_end(w, false);
		return;
	}
	if (rv > 0 && !initial) {
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
	w->initial_end_due = initial && a->options.watch_list == APISERVER_WATCH_LIST_LATE;
	if (initial && !w->initial_end_due)
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

struct MHD_Response *watch_start(struct apiserver *a, struct call *c, const struct watch_options *o)
{
	struct watch *w = must(calloc(1, sizeof(*w)));

	*w = (struct watch){
		.a = a,
		.connection = c->connection,
		.id = ++a->next_watch_id,
		.end_usec = now_usec() + o->timeout_sec * USEC_PER_SEC,
		.kind = c->kind,
		.selector = c->selector,
		.out = BUF_INIT(WATCH_QUEUE_MAX),
		.bookmarks = o->bookmarks,
		.from_rv = o->rv,
	};
	c->selector = (struct object_selector){ .ns = NULL };
	list_append(&a->watches, &w->link);
	a->counts.n_watch++;
	a->counts.n_watches_running++;
	watch_catch_up(a, w, o->rv, o->initial);
	watch_mind_client(a, w);
	watch_wake_ticker(a);
	return must(MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, WATCH_BLOCK, watch_read, w, watch_free));
}
