/* The API server's service account tokens. Each wanted one is a small state machine of its own: asked for at once,
 * again with backoff while that fails, and again when it is to be refreshed; one timer serves them all.
 *
 * Whoever can make a Pod can want thousands of them. So a token that is to be asked for waits in a queue in which the
 * namespaces take turns, and only the one whose turn is next is admitted: what waits here keeps nobody else from
 * asking. That one goes past the lists and polls (server_admit_prompt()), which take their places in advance, each by
 * itself: with one place at a time behind all of them a token would come once in as long as they wait. And nothing that
 * is done for one token walks the others: the timer is only ever brought forward, and walks them when it is due.
 *
 * A token that was told stays told while another one cannot be had: what is published is not touched, and the failure
 * is shown beside it. A fresh pod's token is refused by the Node authorizer until it has noticed the pod, as its
 * Secrets are, so the first tries follow each other quickly. */
#include "agent/source_api_internal.h"

#include <inttypes.h>

#include "agent/token.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/str.h"

enum {
	BODY_MAX = 1 << 20,
	FRESH_TRIES = 12,
	FAILURES_BURST = 50, /* lines of log in FAILURES_WINDOW_USEC */
	STATUS_OK = 200,
	STATUS_CREATED = 201,
	STATUS_UNAUTHORISED = 401,
	STATUS_FORBIDDEN = 403,
};
static const uint64_t TIMEOUT_USEC = 30 * USEC_PER_SEC;
/* The refresh is also due by the clock on the wall, which may be set. */
static const uint64_t LOOK_AGAIN_USEC = 60 * USEC_PER_SEC;
static const uint64_t FAILURES_WINDOW_USEC = 60 * USEC_PER_SEC;
static const uint64_t TOGETHER_USEC = USEC_PER_SEC;

struct wanted_token {
	struct source_api *source;
	char *id; /* "NS/" and the token's name */
	char *ns, *name;
	struct http_request *request;
	struct buf body;
	int status; /* of the answer that comes */
	bool too_long;
	struct fair_item turn; /* waits to be asked for */
	bool away; /* waits until the server is back */
	uint64_t not_before_usec; /* and at least until then: it has asked for it (Retry-After); 0: it has not */
	bool settled, answer_due;
	char *failure; /* the last that was told */
	uint64_t expires_usec; /* CLOCK_REALTIME, the server's; 0: there is none yet */
	struct token_times refresh; /* if there is one */
	uint64_t due_usec; /* monotonic: when it is looked at again; UINT64_MAX: it waits for something else */
	struct backoff backoff, fresh;
	unsigned n_fresh;
};

static void look_at(struct wanted_token *w);
static void serve(struct source_api *s, bool admitted);

/* ---- the timer ---- */

/* It may be due for one that has gone or is late by now. */
static void bring_timer_forward(struct source_api *s, uint64_t at_usec)
{
	uint64_t now = loop_now(s->loop);

	if (at_usec == UINT64_MAX || (s->token_at_usec > 0 && s->token_at_usec <= at_usec))
		return;
	s->token_at_usec = MAX(at_usec, 1u);
	loop_timer_set(s->token_timer, at_usec > now ? at_usec - now : 0);
}

static void be_due_at(struct wanted_token *w, uint64_t at_usec)
{
	w->due_usec = at_usec;
	bring_timer_forward(w->source, at_usec);
}

static void be_due_in(struct wanted_token *w, uint64_t delay_usec)
{
	be_due_at(w, loop_now(w->source->loop) + delay_usec);
}

static void on_token_time(struct loop_source *source, void *userdata)
{
	struct source_api *s = userdata;
	uint64_t now = loop_now(s->loop), first = UINT64_MAX;
	struct wanted_token *w;

	s->token_at_usec = 0;
	for (size_t it = 0; (w = map_next(&s->tokens, &it));) {
		if (w->due_usec <= now)
			look_at(w);
		first = MIN(first, w->due_usec);
	}
	bring_timer_forward(s, first);
	serve(s, false);
}

/* ---- answers ---- */

/* Asking for a token is the one thing that takes create on serviceaccounts/token. */
static enum reason reason_of_refusal(int status, const struct err *why)
{
	return status == STATUS_FORBIDDEN ? REASON_TOKEN_FORBIDDEN
	       : why->reason		  ? (enum reason)why->reason
					  : reason_of_answer(status, why);
}

/* Thousands may fail for one reason. */
static void log_failed(const struct wanted_token *w, enum log_level level, const char *text)
{
	struct log_limit *limit = &w->source->token_failures;

	if (log_get_level() < level || !log_limit_ok(limit, loop_now(w->source->loop)))
		return;
	if (limit->n_held_before > 0)
		log_write(level, NULL, "%" PRIu64 " more failures of tokens were left out", limit->n_held_before);
	log_write(level, LOG_F({ "namespace", w->ns }, { "token", w->name }), "%s", text);
}

static void tell_failed(struct wanted_token *w, int status, const struct err *why)
{
	struct source_api *s = w->source;
	bool has_one = w->expires_usec > clock_realtime_usec();
	struct err e = ERR_INIT;

	/* a volume may have tokens of several */
	err_set(&e, why->code, "failed to %s a token of service account %.*s: %s", has_one ? "refresh" : "fetch",
		(int)strcspn(w->name, "/"), w->name, err_text(why));
	e.reason = reason_of_refusal(status, why);
	if (str_eq(w->failure, err_text(&e)) && !w->answer_due)
		return;
	log_failed(w, status == STATUS_FORBIDDEN ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, err_text(&e));
	api_keep_text(&w->failure, err_text(&e));
	w->answer_due = false;
	s->sink->object_failed(s->userdata, OBJECT_TOKEN, w->ns, w->name, &e);
}

static void token_failed(struct wanted_token *w, int status, int64_t retry_after_sec, const struct err *why)
{
	struct source_api *s = w->source;
	bool is_fresh = !w->settled && w->n_fresh < FRESH_TRIES;
	uint64_t now = loop_now(s->loop), delay;
	double r01 = random01();

	if (status == STATUS_UNAUTHORISED)
		(void)credentials_doubt(s->credentials);
	is_fresh &= status == STATUS_FORBIDDEN || status == 404 || why->code == -ECONNREFUSED;
	w->n_fresh += is_fresh;
	delay = backoff_next(is_fresh ? &w->fresh : &w->backoff, now, r01);
	w->away = (status == 0 && http_is_silence(why->code)) || api_is_still_away(s, status);
	be_due_in(w, server_retry_delay(retry_after_sec, delay, r01, now, &w->not_before_usec));
	if (why->code != -ECONNABORTED) /* our own doing: nothing is wrong, and it is asked again */
		tell_failed(w, status, why);
}

static struct token_times times_now(void)
{
	return (struct token_times){ .realtime_usec = clock_realtime_usec(),
				     .boottime_usec = clock_usec(CLOCK_BOOTTIME) };
}

static uint64_t until_refresh(const struct wanted_token *w)
{
	const struct token_times now = times_now();

	return token_until_due(&w->refresh, &now);
}

/* Many are looked at together: each look walks all. */
static uint64_t next_look(const struct wanted_token *w)
{
	uint64_t at = loop_now(w->source->loop) + MIN(until_refresh(w), LOOK_AGAIN_USEC);

	return (at + TOGETHER_USEC - 1) / TOGETHER_USEC * TOGETHER_USEC;
}

static void token_there(struct wanted_token *w, struct secret *secret, uint64_t expires_usec, int64_t expiration_sec)
{
	const struct token_times now = times_now();
	struct source_api *s = w->source;

	w->expires_usec = expires_usec;
	w->refresh = token_refresh_times(expires_usec, expiration_sec, random01(), &now);
	w->settled = true;
	w->away = w->answer_due = false;
	backoff_reset(&w->backoff);
	api_keep_text(&w->failure, NULL);
	be_due_at(w, next_look(w));
	s->sink->object_changed(s->userdata, OBJECT_TOKEN, w->ns, w->name, secret);
}

static void take_answer(struct wanted_token *w, const struct buf *body)
{
	cleanup_secret_object struct secret *secret = NULL;
	struct json_issue issue = { .reason = "" };
	cleanup_json json_t *doc = NULL;
	uint64_t expires_usec = 0;
	int64_t expiration_sec = 0;
	struct err e = ERR_INIT;
	int r;

	r = json_parse(body->data ?: "", body->len, &doc, &e);
	if (r == 0) {
		r = token_from_answer(doc, w->ns, w->name, &secret, &expires_usec, &expiration_sec, &issue);
		if (r < 0)
			err_set(&e, r, "the server's answer: %s: %s", issue.path, issue.reason);
		if (r == -ENOMEM)
			e.reason = api_reason_of_no_memory();
	}
	if (r < 0)
		token_failed(w, STATUS_OK, -1, &e);
	else
		token_there(w, secret, expires_usec, expiration_sec);
}

static void on_head(void *userdata, int status)
{
	struct wanted_token *w = userdata;

	w->status = status;
	w->source->last_contact_usec = clock_realtime_usec();
	api_answered(w->source, status);
}

/* The API server's own word, and not that of somebody who knows no such path. */
static bool has_no_account(const struct wanted_token *w, int status, const struct buf *body)
{
	char room[TOKEN_NAME_MAX];
	struct token_parts parts;

	return token_parse_name(w->name, room, &parts) == 0 &&
	       api_says_absent(&(struct api_resource){ .plural = "serviceaccounts", .field_value = parts.account },
			       status, body->data ?: "", body->len);
}

static void on_done(void *userdata, const struct http_result *result)
{
	struct wanted_token *w = userdata;
	cleanup_buf struct buf body = w->body;
	struct api_failure f;
	struct err e = ERR_INIT;

	w->body = BUF_INIT(BODY_MAX);
	w->request = NULL;
	api_unanswered(w->source, result->status, result->retry_after_sec, &result->err);
	if (result->err.code != 0) {
		token_failed(w, result->status, result->retry_after_sec, &result->err);
	} else if (result->status == STATUS_OK || result->status == STATUS_CREATED) {
		if (w->too_long) {
			err_set(&e, -EFBIG, "the server's answer is too long");
			token_failed(w, result->status, -1, &e);
		} else {
			take_answer(w, &body);
		}
	} else {
		api_failure_from_body(result->status, body.data ?: "", body.len, &f);
		if (has_no_account(w, result->status, &body))
			f.err.reason = REASON_ACCOUNT_NOT_FOUND;
		token_failed(w, result->status, MAX(result->retry_after_sec, f.retry_after_sec), &f.err);
	}
}

static void on_body(void *userdata, const char *data, size_t len)
{
	struct wanted_token *w = userdata;

	if (buf_add(&w->body, data, len) == 0)
		return;
	/* maybe without an end */
	w->too_long = true;
	http_cancel(TAKE_PTR(w->request));
	on_done(w, &(struct http_result){ .status = w->status, .retry_after_sec = -1 });
}

/* ---- requests ---- */

static int send_request(struct wanted_token *w)
{
	static const struct http_callbacks callbacks = { .head = on_head, .body = on_body, .done = on_done };
	cleanup_free char *target = NULL, *body = NULL;
	char room[TOKEN_NAME_MAX];
	struct token_parts parts;
	int r;

	r = token_parse_name(w->name, room, &parts);
	if (r < 0)
		return r;
	r = token_request(w->ns, &parts, &target, &body);
	if (r < 0)
		return r;
	w->too_long = false;
	return http_get(w->source->http,
			&(struct http_get){ .target = target,
					    .timeout_usec = TIMEOUT_USEC,
					    .body = &(struct http_body){ .method = "POST",
									 .type = "application/json",
									 .data = body,
									 .len = strlen(body) } },
			&callbacks, w, &w->request);
}

/* Others ask whether the server is back; who has not been told yet that it is away asks once. */
static bool is_held(const struct wanted_token *w)
{
	return w->source->away.outage.runs && !w->answer_due && (w->failure || w->expires_usec > 0);
}

static void hold(struct wanted_token *w)
{
	w->away = true;
	if (!w->failure)
		tell_failed(w, 0, &w->source->away.why); /* one that ends meanwhile must not do so without a word */
}

static void ask(struct wanted_token *w)
{
	struct err e = ERR_INIT;
	int r = send_request(w);

	if (r < 0) {
		err_set(&e, r, "%s", strerror(-r));
		token_failed(w, 0, -1, &e);
	}
}

/* admitted: one request is. If nobody has a use for that any more it is lost. */
static void serve(struct source_api *s, bool admitted)
{
	struct fair_item *first;

	while (!s->token_admitted && (first = fair_first(&s->token_queue))) {
		struct wanted_token *w = container_of(first, struct wanted_token, turn);
		bool held = is_held(w);
		uint64_t now = loop_now(s->loop);
		uint64_t delay = held || admitted ? 0 : server_admit_prompt(&s->server, now, UINT64_MAX);

		if (delay > 0) {
			s->token_admitted = true;
			loop_timer_set(s->token_turn_timer, delay);
			return;
		}
		fair_take(&s->token_queue, first);
		admitted &= held;
		if (held)
			hold(w);
		else
			ask(w);
	}
}

static void on_turn(struct loop_source *source, void *userdata)
{
	struct source_api *s = userdata;

	s->token_admitted = false;
	serve(s, true);
}

/* It is due: waits for its turn if it is to be asked for. */
static void look_at(struct wanted_token *w)
{
	if (w->expires_usec > 0 && !w->failure && !w->answer_due && until_refresh(w) > 0) {
		w->due_usec = next_look(w);
		return;
	}
	w->due_usec = UINT64_MAX;
	w->away = false;
	fair_wait(&w->source->token_queue, &w->turn);
}

/* ---- wanted ---- */

static void wanted_free(struct wanted_token *w)
{
	if (!w)
		return;
	fair_leave(&w->source->token_queue, &w->turn);
	http_cancel(w->request);
	buf_deinit(&w->body);
	free(w->failure);
	free(w->id);
	free(w->ns);
	free(w->name);
	free(w);
}
DEFINE_CLEANUP(struct wanted_token *, wanted_free);

static struct wanted_token *find_wanted(const struct source_api *s, const char *ns, const char *name)
{
	char id[TOKEN_NAME_MAX + 64];
	int n = snprintf(id, sizeof(id), "%s/%s", ns, name);

	return n > 0 && (size_t)n < sizeof(id) ? map_get_str(&s->tokens, id) : NULL;
}

int api_tokens_want(struct source_api *s, const char *ns, const char *name)
{
	cleanup(wanted_freep) struct wanted_token *w = calloc(1, sizeof(*w));
	char room[TOKEN_NAME_MAX];
	struct token_parts parts;
	int r;

	if (!w)
		return -ENOMEM;
	w->source = s;
	if (!str_is_dns_label(ns) || token_parse_name(name, room, &parts) < 0 || !str_is_dns_subdomain(parts.account))
		return -EINVAL;
	w->body = BUF_INIT(BODY_MAX);
	w->backoff = BACKOFF_INIT(&BACKOFF_REFLECTOR);
	w->fresh = BACKOFF_INIT(&BACKOFF_FRESH);
	w->id = str_format("%s/%s", ns, name);
	w->ns = strdup(ns);
	w->name = strdup(name);
	if (!w->id || !w->ns || !w->name)
		return -ENOMEM;
	r = fair_join(&s->token_queue, &w->turn, ns);
	if (r == 0)
		r = map_add_str(&s->tokens, w->id, w);
	if (r < 0)
		return r;
	if (s->started)
		be_due_in(w, 0);
	TAKE_PTR(w);
	return 0;
}

void api_tokens_unwant(struct source_api *s, const char *ns, const char *name)
{
	struct wanted_token *w = find_wanted(s, ns, name);

	if (!w)
		return;
	map_remove_str(&s->tokens, w->id);
	wanted_free(w);
}

int api_tokens_refresh(struct source_api *s, const char *ns, const char *name)
{
	struct wanted_token *w = find_wanted(s, ns, name);

	if (!w)
		return -ENOENT;
	w->answer_due = true;
	if (s->started && !w->request && !fair_waits(&w->turn))
		be_due_in(w, 0);
	return 0;
}

/* ---- all of them ---- */

int api_tokens_init(struct source_api *s)
{
	int r;

	s->token_failures = LOG_LIMIT_INIT(FAILURES_WINDOW_USEC, FAILURES_BURST);
	fair_queue_init(&s->token_queue);
	r = loop_add_timer(s->loop, on_token_time, s, &s->token_timer);
	return r < 0 ? r : loop_add_timer(s->loop, on_turn, s, &s->token_turn_timer);
}

void api_tokens_deinit(struct source_api *s)
{
	struct wanted_token *w;

	for (size_t it = 0; (w = map_next(&s->tokens, &it));)
		wanted_free(w);
	map_deinit(&s->tokens);
	fair_queue_deinit(&s->token_queue);
	loop_source_free(s->token_timer);
	loop_source_free(s->token_turn_timer);
}

void api_tokens_start(struct source_api *s)
{
	bring_timer_forward(s, loop_now(s->loop));
}

size_t api_tokens_n_waiting(const struct source_api *s)
{
	const struct wanted_token *w;
	size_t n = 0;

	for (size_t it = 0; (w = map_next(&s->tokens, &it));)
		n += !w->request && w->away;
	return n;
}

void api_tokens_server_answers(struct source_api *s, struct outage_turns *turns)
{
	uint64_t now = loop_now(s->loop);
	struct wanted_token *w;

	for (size_t it = 0; (w = map_next(&s->tokens, &it));) {
		if (w->request || !w->away)
			continue;
		w->away = false;
		be_due_at(w, MAX(now + outage_turn(turns, random01()), w->not_before_usec));
	}
}

/* One that is away, is asked for or waits for its turn is not due; one that has failed has its own time. */
void api_tokens_slept(struct source_api *s)
{
	uint64_t now = loop_now(s->loop);
	struct wanted_token *w;

	for (size_t it = 0; (w = map_next(&s->tokens, &it));)
		if (w->due_usec != UINT64_MAX && w->expires_usec > 0 && !w->failure)
			be_due_at(w, MIN(w->due_usec, now));
}

void api_tokens_health(const struct source_api *s, struct source_health *ret)
{
	const struct wanted_token *w;

	for (size_t it = 0; (w = map_next(&s->tokens, &it));) {
		ret->n_tokens++;
		ret->n_tokens_synced += w->expires_usec > clock_realtime_usec();
	}
}
