/* Followers: a reflector or a poller each, with the environment that it needs of the world: requests over the source's
 * HTTP client, a timer, time and chance. They are started, refreshed and freed by a deferred call.
 *
 * A 401 is not handed on at once: the files of the credentials are read first, and when there is something newer in them
 * than the request had, it is made once more. So a token that was revoked when the next one was written costs nobody a
 * failure. */
#include "agent/source_api_internal.h"

#include "common/backoff.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum { STATUS_UNAUTHORISED = 401, REFUSAL_BODY_MAX = 16384 };

static const uint64_t NO_MEMORY_RETRY_USEC = 5 * USEC_PER_SEC;

static uint64_t env_now(void *userdata)
{
	struct follower *f = userdata;

	return loop_now(f->source->loop);
}

static double env_random01(void *userdata)
{
	return random01();
}

static void heard(struct follower *f)
{
	f->source->last_contact_usec = clock_realtime_usec();
	f->heard_usec = loop_now(f->source->loop);
}

/* ---- what the server answers ---- */

static void hand_head(struct follower *f, int status)
{
	if (f->reflector)
		reflector_head(f->reflector, status);
	else
		poller_head(f->poller, status);
}

static void hand_body(struct follower *f, const char *data, size_t len)
{
	if (f->reflector)
		reflector_body(f->reflector, data, len);
	else
		poller_body(f->poller, data, len);
}

static void hand_done(struct follower *f, const struct http_result *result)
{
	if (f->reflector)
		reflector_done(f->reflector, result);
	else
		poller_done(f->poller, result);
}

/* ---- 401 ---- */

struct refusal {
	struct buf body;
	struct http_result result;
};

static void refusal_free(struct refusal *r)
{
	if (!r)
		return;
	buf_deinit(&r->body);
	free(r);
}
DEFINE_CLEANUP(struct refusal *, refusal_free);

static void forget_request(struct follower *f)
{
	free(TAKE_PTR(f->repeatable.target));
	refusal_free(TAKE_PTR(f->refusal));
	list_remove(&f->refused_link);
}

/* Only what came with the credentials of its time, and only once. */
static bool keep_refusal(struct follower *f)
{
	if (!f->repeatable.target)
		return false;
	f->refusal = calloc(1, sizeof(*f->refusal));
	if (!f->refusal)
		return false;
	f->refusal->body = BUF_INIT(REFUSAL_BODY_MAX);
	return true;
}

/* A cancel in between takes it off the list, and ends it. */
static void hand_refusal(struct follower *f)
{
	cleanup(refusal_freep) struct refusal *r = TAKE_PTR(f->refusal);
	struct list handing = LIST_INIT(handing);

	list_append(&handing, &f->refused_link);
	hand_head(f, r->result.status);
	if (r->body.len > 0)
		hand_body(f, r->body.data, r->body.len);
	if (list_empty(&f->refused_link))
		return;
	list_remove(&f->refused_link);
	hand_done(f, &r->result);
}

static int send_request(struct follower *f, const struct reflector_get *get);

/* Again, if there is something newer than it had; else it is what it is. */
static void settle_refusal(struct follower *f)
{
	cleanup_free char *target = TAKE_PTR(f->repeatable.target);
	struct reflector_get get = f->repeatable.get;
	bool is_stale = f->repeatable.generation != credentials_generation(f->source->credentials);

	list_remove(&f->refused_link);
	get.target = target;
	if (is_stale && send_request(f, &get) == 0)
		refusal_free(TAKE_PTR(f->refusal));
	else
		hand_refusal(f);
}

static void refused(struct follower *f, const struct http_result *result)
{
	struct source_api *s = f->source;

	f->refusal->result = *result;
	list_append(&s->refused, &f->refused_link);
	if (f->repeatable.generation != credentials_generation(s->credentials) || !credentials_doubt(s->credentials))
		settle_refusal(f);
}

void follower_on_credentials(void *userdata)
{
	struct source_api *s = userdata;
	struct follower *f;

	while ((f = list_first(&s->refused, struct follower, refused_link)))
		settle_refusal(f);
}

/* ---- requests ---- */

static void on_head(void *userdata, int status)
{
	struct follower *f = userdata;

	heard(f);
	api_answered(f->source, status);
	if (status == STATUS_UNAUTHORISED && keep_refusal(f))
		return;
	forget_request(f);
	hand_head(f, status);
}

static void on_body(void *userdata, const char *data, size_t len)
{
	struct follower *f = userdata;

	heard(f);
	if (!f->refusal) {
		hand_body(f, data, len);
		return;
	}
	if (buf_add(&f->refusal->body, data, len) == 0)
		return;
	/* longer than anybody would make it, maybe without an end */
	http_cancel(TAKE_PTR(f->request));
	refused(f, &(struct http_result){ .status = STATUS_UNAUTHORISED, .retry_after_sec = -1 });
}

static void on_done(void *userdata, const struct http_result *result)
{
	struct follower *f = userdata;
	bool was_watching = follower_is_watching(f);

	f->request = NULL;
	api_unanswered(f->source, result->status, result->retry_after_sec, &result->err);
	if (f->refusal)
		refused(f, result);
	else
		hand_done(f, result);
	/* where it is not just begun anew */
	if (f == &f->source->pods && was_watching && follower_list_next(f))
		f->source->pods_lost = true;
	api_hold_if_waiting(f, result->status);
}

static int send_request(struct follower *f, const struct reflector_get *get)
{
	static const struct http_callbacks callbacks = { .head = on_head, .body = on_body, .done = on_done };
	const struct http_get request = { .target = get->target,
					  .timeout_usec = get->timeout_usec,
					  .silence_usec = get->silence_usec,
					  .long_lived = get->is_watch };

	assert(!f->request);
	return http_get(f->source->http, &request, &callbacks, f, &f->request);
}

static int env_get(void *userdata, const struct reflector_get *get)
{
	struct follower *f = userdata;
	int r;

	forget_request(f);
	r = send_request(f, get);
	if (r < 0)
		return r;
	f->repeatable = (struct repeatable){ .get = *get,
					     .target = strdup(get->target), /* NULL: a 401 will not be repeated */
					     .generation = credentials_generation(f->source->credentials) };
	return 0;
}

static void env_cancel(void *userdata)
{
	struct follower *f = userdata;

	forget_request(f);
	http_cancel(TAKE_PTR(f->request));
}

void follower_wake(struct follower *f)
{
	if (f->reflector)
		reflector_wake(f->reflector);
	else if (f->poller)
		poller_wake(f->poller);
	else
		follower_do_later(f, TODO_START);
}

static void on_wake(struct loop_source *s, void *userdata)
{
	struct follower *f = userdata;

	if (!api_holds(f))
		follower_wake(f);
}

static void env_wake_after(void *userdata, uint64_t delay_usec)
{
	struct follower *f = userdata;
	int r = 0;

	api_release(f);
	if (!f->timer)
		r = loop_add_timer(f->source->loop, on_wake, f, &f->timer);
	if (r == 0)
		r = loop_timer_set(f->timer, delay_usec);
	if (r == 0)
		return;
	log_error(LOG_F({ "kind", f->resource.kind }, { "namespace", f->resource.ns }), "timer: %s", strerror(-r));
	list_append(&f->source->untimed, &f->held_link);
	loop_timer_set(f->source->starved_timer, NO_MEMORY_RETRY_USEC);
}

/* Each once: it may find that there is no memory yet. */
void follower_wake_untimed(struct source_api *s)
{
	struct list now = LIST_INIT(now);
	struct follower *f;

	while ((f = list_first(&s->untimed, struct follower, held_link))) {
		list_remove(&f->held_link);
		list_append(&now, &f->held_link);
	}
	while ((f = list_first(&now, struct follower, held_link))) {
		api_release(f);
		if (!api_holds(f))
			follower_wake(f);
	}
}

/* A watch that runs has no use for one, and of a thousand watches they would be a third of a megabyte. */
static void env_wake_off(void *userdata)
{
	struct follower *f = userdata;

	api_release(f);
	loop_source_free(TAKE_PTR(f->timer));
}

static uint64_t env_lost(void *userdata)
{
	return api_lost(userdata);
}

/* What is known of it is worth nothing any more. Each is asked for once, as fast as kubeAPIQPS lets. */
void api_went_back(struct follower *f)
{
	struct source_api *s = f->source;

	api_warn_of_refusal(s, LOG_F({ "server", http_server(s->http) }),
			    "the API server has gone back to an older state (restored?): all is fetched again");
	if (f != &s->pods) {
		s->pods_lost = true;
		follower_do_later(&s->pods, TODO_REFRESH);
	}
	api_objects_refresh_all(s, f);
}

static void env_went_back(void *userdata)
{
	api_went_back(userdata);
}

static const struct reflector_env ENV = {
	.now = env_now,
	.random01 = env_random01,
	.get = env_get,
	.cancel = env_cancel,
	.wake_after = env_wake_after,
	.wake_off = env_wake_off,
	.went_back = env_went_back,
	.lost = env_lost,
};

/* ---- their life ---- */

void follower_init(struct follower *f, struct source_api *s, const struct api_resource *resource,
		   const struct reflector_handler *handler, void *owner)
{
	f->source = s;
	f->owner = owner;
	f->resource = *resource;
	f->handler = handler;
	list_init(&f->todo_link);
	list_init(&f->refused_link);
	list_init(&f->held_link);
}

static void follower_end(struct follower *f)
{
	api_release(f);
	reflector_free(TAKE_PTR(f->reflector));
	poller_free(TAKE_PTR(f->poller));
	forget_request(f);
	http_cancel(TAKE_PTR(f->request));
	f->stopped = false;
	if (f->timer)
		loop_timer_off(f->timer);
}

void follower_deinit(struct follower *f)
{
	follower_end(f);
	api_gone(f);
	loop_source_free(f->timer);
	list_remove(&f->todo_link);
}

static int follower_make(struct follower *f)
{
	int r;

	if (!f->polls) {
		r = reflector_new(&f->resource, &f->source->server, &ENV, f->handler, f, &f->reflector);
		if (r == 0 && f == &f->source->pods)
			reflector_be_sentinel(f->reflector);
		return r;
	}
	r = poller_new(&f->resource, &f->source->server, &ENV, f->handler, f, &f->poller);
	if (r == 0)
		poller_set_pace(f->poller, &f->pace);
	return r;
}

static bool is_running(const struct follower *f)
{
	return (f->reflector || f->poller) && !f->stopped;
}

static void follower_start(struct follower *f, bool latest)
{
	int r;

	follower_end(f);
	r = follower_make(f);
	if (r < 0) {
		log_error(LOG_F({ "kind", f->resource.kind }, { "namespace", f->resource.ns }), "follow: %s",
			  strerror(-r));
		env_wake_after(f, NO_MEMORY_RETRY_USEC);
	} else if (f->polls) {
		poller_need(f->poller, f->need);
		poller_ask(f->poller);
	} else if (latest) {
		reflector_refresh(f->reflector);
	} else {
		reflector_start(f->reflector);
	}
}

static void follower_refresh(struct follower *f)
{
	if (f->polls)
		poller_refresh(f->poller);
	else
		reflector_refresh(f->reflector);
}

void follower_set_pace(struct follower *f, const struct poller_pace *pace)
{
	f->polls = true;
	f->pace = *pace;
	if (f->poller)
		poller_set_pace(f->poller, pace);
}

void follower_stop(struct follower *f)
{
	if (f->reflector)
		reflector_stop(f->reflector);
	if (f->poller)
		poller_stop(f->poller);
	f->stopped = true;
}

bool follower_is_listing(const struct follower *f)
{
	return f->reflector && reflector_is_listing(f->reflector);
}

bool follower_list_next(struct follower *f)
{
	return f->reflector && reflector_list_next(f->reflector);
}

bool follower_is_watching(const struct follower *f)
{
	return f->reflector && reflector_is_watching(f->reflector);
}

bool follower_waits_for_server(const struct follower *f)
{
	if (f->stopped)
		return false;
	return f->reflector ? reflector_waits_for_server(f->reflector)
			    : f->poller && poller_waits_for_server(f->poller);
}

void follower_server_answers(struct follower *f, uint64_t delay_usec)
{
	if (f->reflector)
		reflector_server_answers(f->reflector, delay_usec);
	else if (f->poller)
		poller_server_answers(f->poller, delay_usec);
}

int follower_do_later(struct follower *f, enum todo todo)
{
	int r;

	r = loop_defer_set(f->source->do_todo);
	if (r < 0 && todo != TODO_FREE)
		return r;
	if (f->todo == TODO_FREE || (todo == TODO_ASK && (f->todo == TODO_START || f->todo == TODO_REFRESH)))
		return 0;
	f->todo = todo;
	list_remove(&f->todo_link);
	list_append(&f->source->todo, &f->todo_link);
	return 0;
}

static void follower_do(struct follower *f, enum todo todo)
{
	if (f->poller)
		poller_need(f->poller, f->need);
	if (todo == TODO_FREE)
		f->free(f);
	else if (todo == TODO_STOP)
		follower_end(f);
	else if (todo == TODO_START || !is_running(f))
		follower_start(f, todo == TODO_REFRESH);
	else if (todo == TODO_ASK && f->polls)
		poller_ask(f->poller);
	else if (todo == TODO_REFRESH)
		follower_refresh(f);
}

void follower_on_todo(struct loop_source *source, void *userdata)
{
	struct source_api *s = userdata;
	struct follower *f;
	enum todo todo;

	while ((f = list_first(&s->todo, struct follower, todo_link))) {
		todo = f->todo;
		f->todo = TODO_NOTHING;
		list_remove(&f->todo_link);
		follower_do(f, todo);
	}
}
