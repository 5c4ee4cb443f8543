/* Followers: a reflector each, with the environment that it needs of the world: requests over the source's HTTP client,
 * a timer, time and chance. They are started, refreshed and freed by a deferred call. */
#include "agent/source_api_internal.h"

#include "common/backoff.h"
#include "common/clock.h"
#include "common/log.h"

static const uint64_t BACK_WITHIN_USEC = 200 * USEC_PER_MSEC;

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
	reflector_server_answers(s->pods.reflector, BACK_WITHIN_USEC);
	api_secrets_server_answers(s, BACK_WITHIN_USEC);
}

static void on_head(void *userdata, int status)
{
	struct follower *f = userdata;

	f->source->last_contact_usec = clock_realtime_usec();
	if (f->source->server_away)
		server_is_back(f->source);
	reflector_head(f->reflector, status);
}

static void on_body(void *userdata, const char *data, size_t len)
{
	struct follower *f = userdata;

	f->source->last_contact_usec = clock_realtime_usec();
	reflector_body(f->reflector, data, len);
}

static void on_done(void *userdata, const struct http_result *result)
{
	struct follower *f = userdata;

	f->request = NULL;
	f->source->server_away |= result->status == 0;
	reflector_done(f->reflector, result);
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

	reflector_wake(f->reflector);
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

static const struct reflector_env ENV = {
	.now = env_now,
	.random01 = env_random01,
	.get = env_get,
	.cancel = env_cancel,
	.wake_after = env_wake_after,
	.wake_off = env_wake_off,
};

void follower_deinit(struct follower *f)
{
	reflector_free(f->reflector);
	http_cancel(f->request);
	loop_source_free(f->timer);
	list_remove(&f->todo_link);
}

int follower_init(struct follower *f, struct source_api *s, const struct api_resource *resource,
		  const struct reflector_handler *handler)
{
	f->source = s;
	f->resource = *resource;
	list_init(&f->todo_link);
	return reflector_new(&f->resource, &ENV, handler, f, &f->reflector);
}

int follower_do_later(struct follower *f, enum todo todo)
{
	int r;

	r = loop_defer_set(f->source->do_todo);
	if (r < 0 && todo != TODO_FREE)
		return r;
	/* a start that has not happened yet is as good as a refresh */
	if (f->todo != TODO_START || todo != TODO_REFRESH)
		f->todo = todo;
	list_remove(&f->todo_link);
	list_append(&f->source->todo, &f->todo_link);
	return 0;
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
		if (todo == TODO_START)
			reflector_start(f->reflector);
		else if (todo == TODO_REFRESH)
			reflector_refresh(f->reflector);
		else if (todo == TODO_FREE)
			f->free(f);
	}
}
