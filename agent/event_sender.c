/* Event sender: the transport of client-go's recorder (tools/record/event.go): one request at a time, all others held
 * while one is tried again, twelve tries with ten seconds in between, and what the server refuses is dropped. A patch
 * of what is not there any more becomes a new object. The other way round, which client-go need not know: an object that is
 * there already was made by the agent before this one; its time is renewed, and the server's count learnt.
 *
 * A server that forbids it is asked again ever more rarely, and it is said once. */
#include "agent/event_sender.h"

#include "agent/api.h"
#include "common/backoff.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/str.h"

enum {
	TRIES_MAX = 12,
	FORBIDDEN_MAX = 60, /* times the time between two tries */
	ANSWER_MAX = 64 << 10,
	STATUS_OK = 200,
	STATUS_CREATED = 201,
	STATUS_UNAUTHORISED = 401,
	STATUS_FORBIDDEN = 403,
	STATUS_NOT_FOUND = 404,
	STATUS_CONFLICT = 409,
	STATUS_TOO_MANY = 429,
	STATUS_SERVER_ERROR = 500,
};
static const uint64_t LOOK_USEC = USEC_PER_SEC; /* at most so often */
static const uint64_t RETRY_USEC = 10 * USEC_PER_SEC;
static const uint64_t AWAY_USEC = 5 * USEC_PER_SEC;
static const uint64_t TIMEOUT_USEC = 10 * USEC_PER_SEC;

struct event_sender {
	struct loop *loop;
	struct event_sender_world world;
	char *node_name;
	struct events *events;
	struct loop_source *look_timer, *send_timer;
	uint64_t look_at_usec; /* what look_timer is set to; 0: it is off */
	bool open;

	/* the one that is to be sent, NULL: none */
	struct event *event;
	bool admitted; /* by eventRecordQPS */
	bool makes; /* POST; else PATCH */
	bool adopts; /* it is there, of an earlier agent */
	unsigned n_tries;
	struct http_request *request;
	struct buf answer;
	int status; /* of the answer that comes */

	uint64_t not_before_usec;
	struct backoff_policy forbidden_policy;
	struct backoff forbidden;
	bool is_forbidden; /* and that was said */
	struct log_limit limit;
	uint64_t n_sent, n_failed;
	char error[ERR_TEXT_MAX];
};

static void send_next(struct event_sender *s);

/* ---- what is sent ---- */

static json_t *json_time(uint64_t realtime_usec)
{
	char text[STR_TIME_MAX];

	return json_string(str_format_time(realtime_usec, text));
}

static json_t *new_object(const struct event_sender *s, const struct event *e)
{
	return json_pack(
		"{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s, s:s, s:s}, s:s, s:o, s:{s:s, s:s}, s:o, s:o, s:I, "
		"s:s, s:s, s:s}",
		"kind", "Event", "apiVersion", "v1", "metadata", "name", e->name, "namespace", e->ns, "involvedObject",
		"kind", "Pod", "apiVersion", "v1", "namespace", e->ns, "name", e->pod, "uid", e->uid, "resourceVersion",
		e->resource_version, "reason", event_reason(e), "message", json_text(e->message), "source", "component",
		"secretlet", "host", s->node_name, "firstTimestamp", json_time(e->first_usec), "lastTimestamp",
		json_time(e->last_usec), "count", (json_int_t)e->count, "type", event_type(e), "reportingComponent",
		"secretlet", "reportingInstance", s->node_name);
}

static json_t *changes(const struct event_sender *s, const struct event *e)
{
	cleanup_json json_t *patch = json_pack("{s:o}", "lastTimestamp", json_time(e->last_usec));

	if (!patch)
		return NULL;
	if (!s->adopts && json_object_set_new(patch, "count", json_integer((json_int_t)e->count)) < 0)
		return NULL;
	if (e->combined && json_object_set_new(patch, "message", json_text(e->message)) < 0)
		return NULL;
	return TAKE_PTR(patch);
}

static int make_target(const struct event_sender *s, char **ret_target)
{
	const struct api_resource resource = { .plural = "events", .ns = s->event->ns, .field_value = s->event->name };

	if (!s->makes)
		return api_object_target(&resource, NULL, ret_target);
	return api_list_target(&resource, &(struct api_list){ .limit = 0 }, ret_target);
}

/* ---- the end of one ---- */

static void end_event(struct event_sender *s)
{
	event_free(TAKE_PTR(s->event));
	s->n_tries = 0;
	s->admitted = s->adopts = false;
}

static void give_up(struct event_sender *s, const char *why)
{
	snprintf(s->error, sizeof(s->error), "%s", why);
	s->n_failed++;
	end_event(s);
}

/* The same event, in another way or once more. */
static void try_after(struct event_sender *s, uint64_t delay_usec)
{
	s->admitted = false;
	s->not_before_usec = loop_now(s->loop) + delay_usec;
}

static void try_again(struct event_sender *s, const char *why, int64_t retry_after_sec)
{
	/* all nodes' first ones are not at the same moment after the server has come back */
	uint64_t retry = s->world.retry_usec, delay = s->n_tries == 1 ? (uint64_t)((double)retry * random01()) : retry;

	if (retry_after_sec > 0)
		delay = MAX(delay, (uint64_t)retry_after_sec * USEC_PER_SEC);
	log_debug(LOG_F({ "event", s->event->name }), "not taken, to be tried again: %s", why);
	snprintf(s->error, sizeof(s->error), "%s", why);
	if (s->n_tries >= TRIES_MAX) {
		give_up(s, why);
		return;
	}
	try_after(s, delay);
}

/* The client itself has given it up, after a sleep: that says nothing of the event, and is no try of it. */
static void try_anew(struct event_sender *s)
{
	s->n_tries--;
	try_after(s, (uint64_t)((double)s->world.retry_usec * random01()));
}

static void accepted(struct event_sender *s)
{
	cleanup_json json_t *doc = NULL;
	int64_t count = 0;

	if (s->adopts && json_parse(s->answer.len ? s->answer.data : "", s->answer.len, &doc, NULL) == 0)
		count = json_integer_value(json_object_get(doc, "count"));
	if (count > 0 && count <= INT32_MAX)
		events_counted(s->events, s->event, (unsigned)count);
	log_debug(LOG_F({ "event", s->event->name }, { "reason", event_reason(s->event) }), "%s", s->event->message);
	if (s->is_forbidden)
		log_info(NULL, "events are taken again");
	s->is_forbidden = false;
	backoff_reset(&s->forbidden);
	s->error[0] = '\0';
	s->n_sent++;
	end_event(s);
}

static void forbidden(struct event_sender *s, const char *why)
{
	if (!s->is_forbidden)
		log_warning(NULL, "events cannot be told, which is not said again: %s", why);
	s->is_forbidden = true;
	s->not_before_usec = loop_now(s->loop) + backoff_next(&s->forbidden, loop_now(s->loop), random01());
	give_up(s, why);
}

static void dropped(struct event_sender *s, const struct api_failure *f)
{
	/* in a namespace that ends there is nobody to read it */
	if (!f->namespace_ends && f->code != STATUS_NOT_FOUND && log_limit_ok(&s->limit, loop_now(s->loop)))
		log_warning(LOG_F({ "event", s->event->name }), "the server refuses an event: %s", err_text(&f->err));
	give_up(s, err_text(&f->err));
}

static bool may_pass(int code)
{
	return code == STATUS_UNAUTHORISED || code == STATUS_TOO_MANY || code >= STATUS_SERVER_ERROR;
}

static void refused(struct event_sender *s, const struct http_result *result)
{
	struct api_failure f;

	api_failure_from_body(result->status, s->answer.data, s->answer.len, &f);
	if (f.code == STATUS_NOT_FOUND && !s->makes) {
		s->makes = true;
		try_after(s, 0);
	} else if (f.code == STATUS_CONFLICT && s->makes) {
		s->makes = false;
		s->adopts = true;
		try_after(s, 0);
	} else if (may_pass(f.code) || (f.code == STATUS_CONFLICT && !s->makes)) {
		try_again(s, err_text(&f.err), MAX(result->retry_after_sec, f.retry_after_sec));
	} else if (f.code == STATUS_FORBIDDEN && !f.namespace_ends) {
		forbidden(s, err_text(&f.err));
	} else {
		dropped(s, &f);
	}
	/* there one moment and gone the next, again and again */
	if (s->event && s->n_tries >= TRIES_MAX)
		give_up(s, err_text(&f.err));
}

/* ---- one request ---- */

static void on_head(void *userdata, int status)
{
	struct event_sender *s = userdata;

	s->status = status;
	if (s->world.answered)
		s->world.answered(s->world.userdata, status);
}

static void on_done(void *userdata, const struct http_result *result)
{
	struct event_sender *s = userdata;

	s->request = NULL;
	if (result->err.code == -ECONNABORTED)
		try_anew(s);
	else if (result->err.code != 0)
		try_again(s, err_text(&result->err), result->retry_after_sec);
	else if (result->status == STATUS_OK || result->status == STATUS_CREATED)
		accepted(s);
	else
		refused(s, result);
	send_next(s);
}

static void on_body(void *userdata, const char *data, size_t len)
{
	struct event_sender *s = userdata;

	if (buf_add(&s->answer, data, len) == 0)
		return;
	/* maybe without an end; what there is of it is no JSON */
	http_cancel(TAKE_PTR(s->request));
	on_done(s, &(struct http_result){ .status = s->status, .retry_after_sec = -1 });
}

static int transmit(struct event_sender *s)
{
	static const struct http_callbacks callbacks = { .head = on_head, .body = on_body, .done = on_done };
	cleanup_json json_t *object = s->makes ? new_object(s, s->event) : changes(s, s->event);
	cleanup_free char *text = object ? json_dumps(object, JSON_COMPACT) : NULL, *target = NULL;
	int r = text ? make_target(s, &target) : -ENOMEM;

	if (r < 0)
		return r;
	buf_clear(&s->answer);
	return http_get(
		s->world.http(s->world.userdata),
		&(struct http_get){ .target = target,
				    .timeout_usec = TIMEOUT_USEC,
				    .body = &(struct http_body){ .method = s->makes ? "POST" : "PATCH",
								 .type = s->makes ? "application/json"
										  : "application/merge-patch+json",
								 .data = text,
								 .len = strlen(text) } },
		&callbacks, s, &s->request);
}

/* ---- when ---- */

static void plan_look(struct event_sender *s, uint64_t at_usec)
{
	uint64_t now = loop_now(s->loop);

	if (at_usec == USEC_INFINITY || (s->look_at_usec && s->look_at_usec <= at_usec))
		return;
	s->look_at_usec = at_usec;
	loop_timer_set(s->look_timer, at_usec > now ? at_usec - now : 0);
}

/* There is one to be sent. */
static bool take_event(struct event_sender *s)
{
	int r;

	if (s->event && !events_holds(s->events, s->event))
		end_event(s);
	if (s->event)
		return true;
	r = events_next(s->events, loop_now(s->loop), clock_realtime_usec(), &s->event);
	plan_look(s, MAX(events_due(s->events), loop_now(s->loop) + LOOK_USEC));
	if (r == -ENOMEM)
		loop_timer_set(s->send_timer, s->world.retry_usec);
	if (r < 0)
		return false;
	s->makes = s->event->count == 1;
	return true;
}

/* How long it has to wait for its turn. */
static uint64_t admit(struct event_sender *s)
{
	uint64_t wait;

	if (!s->admitted) {
		wait = events_admit(s->events, loop_now(s->loop));
		if (wait > 0)
			return wait;
		s->admitted = true;
	}
	wait = s->world.admit(s->world.userdata);
	return MIN(wait, AWAY_USEC);
}

static void send_next(struct event_sender *s)
{
	uint64_t now = loop_now(s->loop), wait;

	if (!s->open || s->request)
		return;
	if (now < s->not_before_usec) {
		loop_timer_set(s->send_timer, s->not_before_usec - now);
		return;
	}
	if (!take_event(s))
		return;
	wait = admit(s);
	if (wait > 0) {
		loop_timer_set(s->send_timer, wait);
		return;
	}
	s->n_tries++;
	if (transmit(s) < 0) {
		try_again(s, "out of memory", -1);
		loop_timer_set(s->send_timer, s->world.retry_usec);
	}
}

static void on_send_time(struct loop_source *source, void *userdata)
{
	send_next(userdata);
}

static void look(struct event_sender *s)
{
	uint64_t now = loop_now(s->loop);

	s->look_at_usec = 0;
	events_look_begin(s->events);
	s->world.look(s->world.userdata, s->events, now);
	events_look_end(s->events, now);
	plan_look(s, MAX(events_due(s->events), now + LOOK_USEC));
	send_next(s);
}

static void on_look_time(struct loop_source *source, void *userdata)
{
	look(userdata);
}

/* ---- the sender ---- */

void event_sender_look(struct event_sender *s)
{
	if (s->open)
		plan_look(s, loop_now(s->loop) + LOOK_USEC);
}

void event_sender_open(struct event_sender *s)
{
	if (s->open)
		return;
	s->open = true;
	look(s);
}

void event_sender_notice(struct event_sender *s, enum event_kind kind, const struct event_pod *pod, const char *message)
{
	events_notice(s->events, kind, pod, message, clock_realtime_usec());
	/* not from inside what has told us, and the volumes that changed together are one batch */
	if (!s->event)
		loop_timer_set(s->send_timer, 0);
}

void event_sender_tune(struct event_sender *s, const struct source_events *tuning)
{
	events_tune(s->events, tuning);
	event_sender_look(s);
}

void event_sender_stats(const struct event_sender *s, struct event_sender_stats *ret)
{
	*ret = (struct event_sender_stats){ .events = events_stats(s->events),
					    .n_sent = s->n_sent,
					    .n_failed = s->n_failed };
	ret->events.n_queued += s->event != NULL;
	snprintf(ret->error, sizeof(ret->error), "%s", s->error);
}

int event_sender_new(struct loop *l, const struct event_sender_world *world, const struct source_events *tuning,
		     struct event_sender **ret_s)
{
	cleanup(event_sender_freep) struct event_sender *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->world = *world;
	s->answer = BUF_INIT(ANSWER_MAX);
	s->world.retry_usec = world->retry_usec ? world->retry_usec : RETRY_USEC;
	s->forbidden_policy = (struct backoff_policy){ .first_usec = s->world.retry_usec,
						       .max_usec = FORBIDDEN_MAX * s->world.retry_usec,
						       .reset_usec = 6 * FORBIDDEN_MAX * s->world.retry_usec,
						       .factor = 2.0,
						       .jitter = 0.1 };
	s->forbidden = BACKOFF_INIT(&s->forbidden_policy);
	s->limit = LOG_LIMIT_INIT(60 * USEC_PER_SEC, 5);
	s->node_name = strdup(world->node_name);
	if (!s->node_name)
		return -ENOMEM;
	r = events_new(tuning, world->resumes, world->find, world->userdata, &s->events);
	if (r == 0)
		r = loop_add_timer(l, on_look_time, s, &s->look_timer);
	if (r == 0)
		r = loop_add_timer(l, on_send_time, s, &s->send_timer);
	if (r < 0)
		return r;
	*ret_s = TAKE_PTR(s);
	return 0;
}

void event_sender_free(struct event_sender *s)
{
	if (!s)
		return;
	http_cancel(s->request);
	event_free(s->event);
	events_free(s->events);
	loop_source_free(s->look_timer);
	loop_source_free(s->send_timer);
	buf_deinit(&s->answer);
	free(s->node_name);
	free(s);
}
