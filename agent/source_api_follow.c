/* Followers: a reflector or a poller each, with the environment that it needs of the world: requests over the source's
 * HTTP client, a timer, time and chance. They are started, refreshed and freed by a deferred call. */
#include "agent/source_api_internal.h"

#include "common/backoff.h"
#include "common/clock.h"
#include "common/log.h"

static const uint64_t BACK_WITHIN_USEC = 200 * USEC_PER_MSEC;
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

/* The first answer after a time without: among many that wait, each for its own random time, one is soon to see that
 * the server is back, and the others need not wait any longer. */
static void server_is_back(struct source_api *s)
{
	s->server_away = false;
	server_was_away(&s->server);
	follower_server_answers(&s->pods, BACK_WITHIN_USEC);
	follower_server_answers(&s->node, BACK_WITHIN_USEC);
	api_secrets_server_answers(s, BACK_WITHIN_USEC);
}

static void heard(struct follower *f)
{
	f->source->last_contact_usec = clock_realtime_usec();
	f->heard_usec = loop_now(f->source->loop);
}

static void on_head(void *userdata, int status)
{
	struct follower *f = userdata;

	heard(f);
	if (f->source->server_away)
		server_is_back(f->source);
	if (f->reflector)
		reflector_head(f->reflector, status);
	else
		poller_head(f->poller, status);
}

static void on_body(void *userdata, const char *data, size_t len)
{
	struct follower *f = userdata;

	heard(f);
	if (f->reflector)
		reflector_body(f->reflector, data, len);
	else
		poller_body(f->poller, data, len);
}

static void on_done(void *userdata, const struct http_result *result)
{
	struct follower *f = userdata;

	f->request = NULL;
	f->source->server_away |= result->status == 0;
	if (f->reflector)
		reflector_done(f->reflector, result);
	else
		poller_done(f->poller, result);
}

static int env_get(void *userdata, const struct reflector_get *get)
{
	static const struct http_callbacks callbacks = { .head = on_head, .body = on_body, .done = on_done };
	const struct http_get request = { .target = get->target,
					  .timeout_usec = get->timeout_usec,
					  .silence_usec = get->silence_usec,
					  .long_lived = get->is_watch };
	struct follower *f = userdata;

	assert(!f->request);
	return http_get(f->source->http, &request, &callbacks, f, &f->request);
}

static void env_cancel(void *userdata)
{
	struct follower *f = userdata;

	http_cancel(TAKE_PTR(f->request));
}

static void on_wake(struct loop_source *s, void *userdata)
{
	struct follower *f = userdata;

	if (f->reflector)
		reflector_wake(f->reflector);
	else if (f->poller)
		poller_wake(f->poller);
	else
		follower_do_later(f, TODO_START);
}

static void env_wake_after(void *userdata, uint64_t delay_usec)
{
	struct follower *f = userdata;
	int r = 0;

	if (!f->timer)
		r = loop_add_timer(f->source->loop, on_wake, f, &f->timer);
	if (r == 0)
		r = loop_timer_set(f->timer, delay_usec);
	if (r < 0)
		log_error(LOG_F({ "kind", f->resource.kind }, { "namespace", f->resource.ns }), "timer: %s",
			  strerror(-r));
}

static void env_wake_off(void *userdata)
{
	struct follower *f = userdata;

	if (f->timer)
		loop_timer_off(f->timer);
}

/* What is known of it is worth nothing any more. Each is asked for once, as fast as kubeAPIQPS lets. */
static void env_went_back(void *userdata)
{
	struct follower *f = userdata;
	struct source_api *s = f->source;

	log_warning(LOG_F({ "server", http_server(s->http) }),
		    "the API server has gone back to an older state (restored?): all is fetched again");
	if (f != &s->pods)
		follower_do_later(&s->pods, TODO_REFRESH);
	api_secrets_refresh_all(s, f);
}

static const struct reflector_env ENV = {
	.now = env_now,
	.random01 = env_random01,
	.get = env_get,
	.cancel = env_cancel,
	.wake_after = env_wake_after,
	.wake_off = env_wake_off,
	.went_back = env_went_back,
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
}

static void follower_end(struct follower *f)
{
	reflector_free(TAKE_PTR(f->reflector));
	poller_free(TAKE_PTR(f->poller));
	http_cancel(TAKE_PTR(f->request));
	f->stopped = false;
	if (f->timer)
		loop_timer_off(f->timer);
}

void follower_deinit(struct follower *f)
{
	follower_end(f);
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

bool follower_is_watching(const struct follower *f)
{
	return f->reflector && reflector_is_watching(f->reflector);
}

void follower_server_answers(struct follower *f, uint64_t within_usec)
{
	if (f->reflector)
		reflector_server_answers(f->reflector, within_usec);
	if (f->poller)
		poller_server_answers(f->poller, within_usec);
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
