/* Poller: IDLE -> QUEUED -> ASKING -> WAITING -> QUEUED ..., or back to IDLE when it asks only on demand. Where the limit
 * of requests leaves room, QUEUED takes no time.
 *
 * An answer out of the server's cache may be older than what was told before (another server of a set, one that has just
 * started), and so may be its word that there is no such object. It is not told; instead the storage itself is asked,
 * once, and its word counts whatever its version is: after an older backup was restored, that is the truth.
 *
 * Whoever needs it now (poller_need) gets an answer of the storage to a request that was made after that; until there is
 * one, failures are tried again whatever the pace.
 *
 * An object that is not there is asked for again soon, then ever more slowly, but at least once in each period: pods
 * wait for it. */
#include "agent/poller.h"

#include "agent/codec.h"
#include "common/backoff.h"
#include "common/buf.h"
#include "common/heap.h"
#include "common/json_thin.h"
#include "common/str.h"

enum {
	FRESH_TRIES = 12, /* about 10 s */
	FAILURE_BODY_MAX = 65536,
	VERSION_MAX = 1024,
};
#define OBJECT_BYTES_MAX ((size_t)(8 * 1024 * 1024))
static const uint64_t SILENCE_USEC = 30 * USEC_PER_SEC;
static const uint64_t TIMEOUT_USEC = 300 * USEC_PER_SEC;

/* as the kubelet's volume operations are retried */
static const struct backoff_policy ABSENT = { .first_usec = 500 * USEC_PER_MSEC,
					      .max_usec = 122 * USEC_PER_SEC,
					      .reset_usec = UINT64_MAX,
					      .factor = 2.0,
					      .jitter = 0.1 };

enum state { STATE_IDLE, STATE_QUEUED, STATE_ASKING, STATE_WAITING, STATE_STOPPED };

struct poller {
	const struct api_resource *resource;
	struct server *server;
	const struct reflector_env *env;
	const struct reflector_handler *handler;
	void *userdata;
	struct poller_pace pace;

	enum state state;
	bool runs; /* a request is under way */
	bool again; /* ask once more behind it */
	bool latest; /* the next request is for the most recent state */
	bool was_latest; /* the one that runs is */
	bool unreachable; /* WAITING because the server did not answer */
	uint64_t not_before_usec; /* WAITING: the server has asked for it (Retry-After); 0: it has not */
	bool hurried; /* that wait was cut short */
	bool failed_last, absent_last;
	bool synced; /* some answer was good */
	uint64_t answered_usec; /* when the last good one came */
	uint64_t need, asked_need, answered_need; /* the latest; of the request that runs; of the last good answer */
	char *version; /* of the object that was told last; NULL: none */
	char *failure; /* what was told to failed(); NULL: all is well */
	int status; /* 0: no head yet */
	struct buf body;

	struct backoff backoff, fresh, absent;
	unsigned n_fresh;
};

/* Telling runs foreign code, which may stop us. */
static bool is_stopped(const struct poller *p)
{
	return p->state == STATE_STOPPED;
}

static void tell_failed(struct poller *p, const struct err *e, int status)
{
	char *text;

	if (p->failure && str_eq(p->failure, err_text(e)))
		return;
	text = strdup(err_text(e));
	free(p->failure);
	p->failure = text;
	p->handler->failed(p->userdata, e, status);
}

static void tell_recovered(struct poller *p)
{
	if (!p->failure)
		return;
	free(TAKE_PTR(p->failure));
	p->handler->recovered(p->userdata);
}

/* ---- when ---- */

static bool is_needed(const struct poller *p)
{
	return p->need > p->answered_need;
}

static void wait_for(struct poller *p, uint64_t delay_usec)
{
	p->state = STATE_WAITING;
	p->env->wake_after(p->userdata, delay_usec);
}

static uint64_t jitter_of(struct poller *p)
{
	return (uint64_t)((double)p->pace.period_usec * p->pace.jitter * p->env->random01(p->userdata));
}

/* What is left of the period since the last good answer. */
static uint64_t remaining(struct poller *p)
{
	uint64_t age = p->env->now(p->userdata) - p->answered_usec;

	return age < p->pace.period_usec ? p->pace.period_usec - age : 0;
}

static void wait_period(struct poller *p)
{
	uint64_t delay = remaining(p) + jitter_of(p), soon;

	p->unreachable = false;
	if (p->pace.period_usec == 0) {
		p->state = STATE_IDLE;
		return;
	}
	if (p->absent_last) {
		soon = backoff_next(&p->absent, p->env->now(p->userdata), p->env->random01(p->userdata));
		delay = MIN(delay, soon);
	}
	wait_for(p, delay);
}

static uint64_t failure_delay(struct poller *p, int status, int code, int64_t retry_after_sec)
{
	bool fresh =
		(!p->synced || is_needed(p)) && p->n_fresh < FRESH_TRIES && (status == 403 || code == -ECONNREFUSED);
	double random = p->env->random01(p->userdata);
	uint64_t now = p->env->now(p->userdata), delay = backoff_next(fresh ? &p->fresh : &p->backoff, now, random);

	p->n_fresh += fresh;
	return server_retry_delay(retry_after_sec, delay, random, now, &p->not_before_usec);
}

static void ask_failed(struct poller *p, const struct err *e, int status, int64_t retry_after_sec)
{
	bool is_own_doing = e->code == -ECONNABORTED; /* nothing is wrong, and it is asked again */

	p->failed_last = true;
	p->state = STATE_IDLE;
	p->latest |= is_own_doing && p->was_latest;
	if (p->pace.period_usec > 0 || is_needed(p) || is_own_doing)
		wait_for(p, failure_delay(p, status, e->code, retry_after_sec));
	p->unreachable =
		p->state == STATE_WAITING && server_is_unreachable(status != 0 || p->status != 0, p->hurried, e->code);
	p->hurried = false;
	if (!is_own_doing)
		tell_failed(p, e, status);
}

/* ---- asking ---- */

static void end_request(struct poller *p)
{
	buf_deinit(&p->body);
	p->body = BUF_INIT(OBJECT_BYTES_MAX);
	p->status = 0;
}

static void cancel_request(struct poller *p)
{
	if (!p->runs)
		return;
	p->runs = false;
	p->env->cancel(p->userdata);
}

static void send(struct poller *p)
{
	cleanup_free char *target = NULL;
	struct err e = ERR_INIT;
	int r;

	end_request(p);
	p->was_latest = p->latest || p->pace.always_latest || !p->version || is_needed(p);
	p->asked_need = p->need;
	p->latest = p->again = false;
	p->state = STATE_ASKING;
	r = api_object_target(p->resource, p->was_latest ? NULL : "0", &target);
	if (r == 0)
		r = p->env->get(p->userdata, &(struct reflector_get){ .target = target,
								      .timeout_usec = TIMEOUT_USEC,
								      .silence_usec = SILENCE_USEC });
	p->runs = r == 0;
	if (p->runs)
		return;
	err_set(&e, r, "start a request: %s", strerror(-r));
	ask_failed(p, &e, 0, -1);
}

/* Each request takes its turn once, however often it is asked for before that. */
static void ask(struct poller *p)
{
	uint64_t delay = server_admit(p->server, p->env->now(p->userdata));

	if (delay == 0) {
		send(p);
		return;
	}
	p->state = STATE_QUEUED;
	p->unreachable = false;
	p->env->wake_after(p->userdata, delay);
}

static void ask_latest(struct poller *p)
{
	p->latest = true;
	ask(p);
}

static void stop_waiting(struct poller *p)
{
	if (p->state == STATE_WAITING || p->state == STATE_QUEUED)
		p->env->wake_off(p->userdata);
	p->state = STATE_IDLE;
}

void poller_stop(struct poller *p)
{
	cancel_request(p);
	stop_waiting(p);
	p->state = STATE_STOPPED;
}

void poller_ask(struct poller *p)
{
	if (is_stopped(p))
		return;
	if (p->state == STATE_ASKING) {
		p->again = p->pace.always_latest || p->need > p->asked_need;
		return;
	}
	if (p->state == STATE_QUEUED)
		return;
	stop_waiting(p);
	ask(p);
}

void poller_need(struct poller *p, uint64_t need)
{
	p->need = need;
}

uint64_t poller_answered_need(const struct poller *p)
{
	return p->answered_need;
}

void poller_refresh(struct poller *p)
{
	if (is_stopped(p))
		return;
	free(TAKE_PTR(p->failure)); /* whoever asks wants an answer, also if it is the same */
	p->not_before_usec = 0;
	p->latest = true;
	if (p->state == STATE_QUEUED)
		return;
	cancel_request(p);
	stop_waiting(p);
	ask(p);
}

void poller_set_pace(struct poller *p, const struct poller_pace *pace)
{
	p->pace = *pace;
	if (is_stopped(p) || p->state == STATE_ASKING || p->state == STATE_QUEUED || p->failed_last || !p->synced)
		return;
	stop_waiting(p);
	wait_period(p);
}

bool poller_waits(const struct poller *p)
{
	return p->state == STATE_WAITING || p->state == STATE_QUEUED;
}

bool poller_waits_for_turn(const struct poller *p)
{
	return p->state == STATE_QUEUED;
}

bool poller_waits_for_server(const struct poller *p)
{
	return p->state == STATE_WAITING && p->unreachable;
}

void poller_hold(struct poller *p, const struct err *e)
{
	if (!poller_waits(p))
		return;
	p->env->wake_off(p->userdata);
	p->state = STATE_WAITING;
	if (p->unreachable)
		return;
	p->unreachable = p->failed_last = true;
	if (e)
		tell_failed(p, e, 0);
}

void poller_server_answers(struct poller *p, uint64_t delay_usec)
{
	uint64_t now = p->env->now(p->userdata);

	if (!poller_waits_for_server(p))
		return;
	p->unreachable = false;
	p->hurried = true;
	wait_for(p, MAX(delay_usec, p->not_before_usec > now ? p->not_before_usec - now : 0));
}

/* ---- answers ---- */

static bool parse_version(const char *text, uint64_t *ret)
{
	return text && str_parse_u64(text, UINT64_MAX, ret) == 0;
}

static bool is_older(const char *version, const char *than)
{
	uint64_t a, b;

	return parse_version(version, &a) && parse_version(than, &b) && a < b;
}

static int keep_version(struct poller *p, const char *version)
{
	char *copy = NULL;

	if (version) {
		copy = strlen(version) <= VERSION_MAX ? strdup(version) : NULL;
		if (!copy)
			return -ENOMEM;
	}
	free(p->version);
	p->version = copy;
	return 0;
}

/* obj NULL: there is none. */
static void answered(struct poller *p, const json_t *obj)
{
	const struct reflector_handler *h = p->handler;

	p->synced = true;
	p->failed_last = false;
	p->absent_last = !obj;
	p->n_fresh = 0;
	p->answered_usec = p->env->now(p->userdata);
	if (p->was_latest)
		p->answered_need = p->asked_need;
	backoff_reset(&p->fresh);
	if (obj)
		backoff_reset(&p->absent);
	keep_version(p, obj ? codec_resource_version(obj) : NULL);
	h->list_begin(p->userdata);
	if (obj)
		h->object(p->userdata, REFLECTOR_LISTED, obj);
	if (!is_stopped(p))
		h->list_end(p->userdata);
	if (!is_stopped(p))
		tell_recovered(p);
	if (is_stopped(p))
		return;
	if (p->again)
		ask(p);
	else
		wait_period(p);
}

static const char *odd_object(const struct poller *p, const json_t *obj)
{
	const json_t *meta = json_object_get(obj, "metadata");
	const char *ns = json_string_value(json_object_get(meta, "namespace"));

	if (p->resource->ns && !str_eq(ns, p->resource->ns))
		return "it is of another namespace";
	if (!str_eq(json_string_value(json_object_get(meta, "name")), p->resource->field_value))
		return "it has another name";
	return codec_resource_version(obj) ? NULL : "it has no resourceVersion";
}

static void broken(struct poller *p, const char *why)
{
	struct err e = ERR_INIT;

	err_set(&e, -EBADMSG, "the server's %s %s: %s", p->resource->kind, p->resource->field_value, why);
	ask_failed(p, &e, 0, -1);
}

static void object_arrived(struct poller *p)
{
	cleanup_json json_t *doc = NULL;
	struct json_issue issue = { .reason = "" };
	struct err e = ERR_INIT;
	const char *odd;

	if (json_parse_thin(p->body.len ? p->body.data : "", p->body.len, &doc, &e) < 0) {
		broken(p, err_text(&e));
		return;
	}
	end_request(p);
	if (codec_expect(doc, "v1", p->resource->kind, &issue) < 0) {
		err_set(&e, -EBADMSG, "%s %s", issue.path, issue.reason);
		broken(p, err_text(&e));
		return;
	}
	odd = odd_object(p, doc);
	if (odd) {
		broken(p, odd);
		return;
	}
	if (!p->was_latest && is_older(codec_resource_version(doc), p->version))
		ask_latest(p);
	else
		answered(p, doc);
}

static void refused(struct poller *p, const struct http_result *result)
{
	struct api_failure f = { .retry_after_sec = -1 };

	api_failure_from_body(result->status, p->body.data, p->body.len, &f);
	if (!api_says_absent(p->resource, result->status, p->body.data, p->body.len))
		ask_failed(p, &f.err, f.code, MAX(f.retry_after_sec, result->retry_after_sec));
	else if (p->was_latest)
		answered(p, NULL);
	else
		ask_latest(p);
}

void poller_head(struct poller *p, int status)
{
	p->status = status;
	p->hurried = false;
}

void poller_body(struct poller *p, const char *data, size_t len)
{
	size_t max = p->status == 200 ? OBJECT_BYTES_MAX : FAILURE_BODY_MAX;
	struct http_result result = { .status = p->status, .retry_after_sec = -1 };

	if (p->body.len + len <= max && buf_add(&p->body, data, len) == 0)
		return;
	/* longer than anybody would make it: what is known of a failure will do */
	cancel_request(p);
	if (p->status == 200)
		err_set(&result.err, -EFBIG, "the server's %s is too large", p->resource->kind);
	poller_done(p, &result);
}

void poller_done(struct poller *p, const struct http_result *result)
{
	size_t len = p->body.len;

	p->runs = false;
	if (result->err.code != 0)
		ask_failed(p, &result->err, result->status == 200 ? 0 : result->status, result->retry_after_sec);
	else if (result->status == 200)
		object_arrived(p);
	else
		refused(p, result);
	if (!p->runs)
		end_request(p);
	heap_give_back(len);
}

void poller_wake(struct poller *p)
{
	if (p->state == STATE_QUEUED)
		send(p);
	else if (p->state == STATE_WAITING)
		ask(p);
}

int poller_new(const struct api_resource *resource, struct server *server, const struct reflector_env *env,
	       const struct reflector_handler *handler, void *userdata, struct poller **ret_p)
{
	struct poller *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->resource = resource;
	p->server = server;
	p->env = env;
	p->handler = handler;
	p->userdata = userdata;
	p->body = BUF_INIT(OBJECT_BYTES_MAX);
	p->backoff = BACKOFF_INIT(&BACKOFF_REFLECTOR);
	p->fresh = BACKOFF_INIT(&BACKOFF_FRESH);
	p->absent = BACKOFF_INIT(&ABSENT);
	*ret_p = p;
	return 0;
}

void poller_free(struct poller *p)
{
	if (!p)
		return;
	poller_stop(p);
	buf_deinit(&p->body);
	free(p->version);
	free(p->failure);
	free(p);
}
