/* The API server's Secrets and ConfigMaps, which are followed alike. How each wanted one is followed is the strategy's:
 *
 *   Watch  a reflector by name. An immutable Secret is seen once, and then its reflector is stopped: it rests. At every
 *          sync it is checked whether there is still the same object; and so is one whose watch has been silent since
 *          the last check, without even a bookmark. A check only compares; what differs is listed anew.
 *   Cache  a poller, with the TTL as its period.
 *   Get    a poller that always asks for the most recent state: at every sync.
 *
 * A pod that comes to need it is answered by the server's storage, whatever the strategy: a watch may be late, and caches
 * are. The first list is that answer, where there was none before; later the poller asks, and what it finds is compared
 * with what is known.
 *
 * What is told to the sink is compared with what was told before: a relist that brings nothing new stays silent, and so
 * does a retry that fails in the same way. */
#include "agent/source_api_internal.h"

#include "agent/codec.h"
#include "common/backoff.h"
#include "common/log.h"
#include "common/str.h"

static const uint64_t STARVED_RETRY_USEC = 10 * USEC_PER_SEC;
static const double SYNC_JITTER = 0.5, CACHE_JITTER = 0.1; /* the first is the kubelet's pod workers' */
enum { CHECK_GRID = 32 }; /* checks of one sync are done together, so many times in a period */

struct wanted {
	struct follower follower; /* the reflector */
	struct follower *poll; /* the poller, made when it is first asked: under Watch, for a check */
	enum object_kind kind;
	char *id; /* "secret ns/name" */
	const char *key, *name; /* the ends of it: "ns/name", "name" */
	char *ns;
	struct secret *secret; /* the last good one; NULL: absent, or not known yet */
	char *rejected; /* why the present object was refused; NULL: it was not */
	enum reason refusal; /* the same */
	bool seen; /* in the list that is coming in */
	bool settled; /* `secret` is a fact and not only a beginning */
	bool answer_due; /* a refresh was asked for */
	char *failure; /* the last that was told; NULL: the last was good news */
	struct said said;
	bool rejected_said; /* in the log */
	bool absence_held; /* it was said to be absent when that was not believed of anything */
	bool starved; /* refused for want of memory: to be fetched again */
	bool rests; /* immutable, and its reflector was stopped */
	bool check_differs; /* the poller's answer that is coming in, from what is known */
	bool failed_by_check; /* `failure` is the poller's, under Watch */
	uint64_t n_needs, fresh; /* calls of need; the last one that is answered */
	uint64_t fetch_need; /* the last one before the latest fetch */
	uint64_t check_due_usec, checked_usec;
};

static struct wanted *wanted_of(void *userdata)
{
	return ((struct follower *)userdata)->owner;
}

static bool is_watched(const struct wanted *w)
{
	return w->follower.source->tuning.strategy == SOURCE_WATCH;
}

static struct poller_pace pace_of(const struct source_api *s);
static const struct reflector_handler POLL_HANDLER;

static int poll_later(struct wanted *w, enum todo todo)
{
	const struct poller_pace pace = pace_of(w->follower.source);

	if (!w->poll) {
		w->poll = calloc(1, sizeof(*w->poll));
		if (!w->poll)
			return -ENOMEM;
		follower_init(w->poll, w->follower.source, &w->follower.resource, &POLL_HANDLER, w);
		follower_set_pace(w->poll, &pace);
	}
	return follower_do_later(w->poll, todo);
}

/* What is asked for from now on answers all needs so far. */
static int poll_for_needs(struct wanted *w, enum todo todo)
{
	int r = poll_later(w, todo);

	if (w->poll)
		w->poll->need = w->n_needs;
	return r;
}

/* The most recent state, soon. */
static int fetch(struct wanted *w)
{
	w->rests = false;
	w->fetch_need = w->n_needs;
	return is_watched(w) ? follower_do_later(&w->follower, TODO_REFRESH) : poll_for_needs(w, TODO_REFRESH);
}

static bool is_needed(const struct wanted *w)
{
	return w->n_needs > w->fresh;
}

static int ask_for_need(struct wanted *w)
{
	bool runs = w->fetch_need > w->fresh && w->follower.todo != TODO_REFRESH;

	/* one that runs may have begun before the last need: then secret_list_end() asks once more */
	if (is_watched(w) && !w->settled)
		return runs ? 0 : fetch(w);
	return poll_for_needs(w, TODO_ASK);
}

static void ask_if_needed(struct wanted *w)
{
	if (is_needed(w) && ask_for_need(w) < 0)
		log_error(LOG_F({ object_kind_word(w->kind), w->key }), "out of memory");
}

/* What is told now is news even if it is the same as before. */
static bool is_due(const struct wanted *w)
{
	return w->failure || w->answer_due || !w->settled;
}

static void secret_tell(struct wanted *w)
{
	const struct source_api *s = w->follower.source;

	api_keep_text(&w->failure, NULL);
	w->answer_due = w->failed_by_check = false;
	w->settled = true;
	s->sink->object_changed(s->userdata, w->kind, w->ns, w->name, w->secret);
}

static void secret_tell_failed(struct wanted *w, int code, enum reason reason, const char *text)
{
	const struct source_api *s = w->follower.source;
	struct err e = ERR_INIT;

	if (str_eq(w->failure, text) && !w->answer_due)
		return;
	api_keep_text(&w->failure, text);
	w->answer_due = false;
	reason_set(&e, reason, err_set(&e, code, "%s", text));
	s->sink->object_failed(s->userdata, w->kind, w->ns, w->name, &e);
}

/* The last good revision beside a refused one is older than who needs it. */
static void secret_is_fresh(struct wanted *w, uint64_t need)
{
	const struct source_api *s = w->follower.source;

	if (w->rejected || w->absence_held || need <= w->fresh)
		return;
	w->fresh = need;
	if (s->sink->object_fresh)
		s->sink->object_fresh(s->userdata, w->kind, w->ns, w->name, need);
}

static void secret_accepted(struct wanted *w)
{
	bool may_be_fresh = w->rejected || w->absence_held;

	w->starved = w->absence_held = false;
	if (may_be_fresh)
		ask_if_needed(w);
	if (!w->rejected)
		return;
	free(TAKE_PTR(w->rejected));
	w->follower.source->n_rejected--;
	if (w->rejected_said)
		log_info(LOG_F({ object_kind_word(w->kind), w->key }), "accepted again");
	w->rejected_said = false;
}

/* What is wrong with an object itself. */
static enum reason reason_of_refusal(int code)
{
	return code == -ENOMEM ? api_reason_of_no_memory() : REASON_OBJECT_INVALID;
}

static void secret_refused(struct wanted *w, int code, const struct json_issue *issue)
{
	struct source_api *s = w->follower.source;
	struct err e = ERR_INIT;

	w->refusal = reason_of_refusal(code);
	err_set(&e, code, "%s %s: %s%s%s", object_kind_word(w->kind), w->key, issue->path, *issue->path ? ": " : "",
		issue->reason);
	if (code == -ENOMEM) {
		w->starved = true;
		loop_timer_set(s->starved_timer, STARVED_RETRY_USEC);
	}
	if (api_is_news(s, &w->said, err_text(&e))) {
		w->rejected_said = true;
		log_warning(LOG_F({ object_kind_word(w->kind), w->key }), "%s", err_text(&e));
	}
	s->n_rejected += !w->rejected;
	api_keep_text(&w->rejected, err_text(&e));
	secret_tell_failed(w, code, w->refusal, err_text(&e));
}

static void on_starved_time(struct loop_source *source, void *userdata)
{
	struct source_api *s = userdata;
	struct wanted *w;

	follower_wake_untimed(s);
	for (size_t it = 0; (w = map_next(&s->wanted, &it));)
		if (w->starved)
			fetch(w);
}

/* The last good revision stays, as with anything else that makes no sense. */
static void tell_absence_held(struct wanted *w)
{
	struct err e = ERR_INIT;

	err_set(&e, -EAGAIN, "%s %s is not there, which is not believed %s", object_kind_word(w->kind), w->key,
		w->follower.source->pods_lost ? "before the pods have been listed"
					      : "while the list of pods is not either");
	secret_tell_failed(w, -EAGAIN, REASON_LIST_DOUBTED, err_text(&e));
}

static void secret_gone(struct wanted *w)
{
	struct source_api *s = w->follower.source;
	bool is_news = w->secret || is_due(w);

	if (api_doubt_is_general(s) && (w->secret || w->rejected || !w->settled)) {
		w->absence_held = s->absence_held = true;
		tell_absence_held(w);
		return;
	}
	secret_accepted(w);
	secret_unref(TAKE_PTR(w->secret));
	if (is_news)
		secret_tell(w);
}

static void secret_there(struct wanted *w, const json_t *obj)
{
	cleanup_secret_object struct secret *fresh = NULL;
	struct json_issue issue = { .reason = "" };
	bool is_news;
	int r;

	r = codec_object(w->kind, obj, &fresh, &issue);
	if (r < 0) {
		secret_refused(w, r, &issue);
		return;
	}
	is_news = is_due(w) || !w->secret || !str_eq(w->secret->resource_version, fresh->resource_version) ||
		  !secret_same(w->secret, fresh);
	secret_accepted(w);
	if (!is_news)
		return;
	secret_unref(w->secret);
	w->secret = TAKE_PTR(fresh);
	secret_tell(w);
}

/* Nothing more can come of an immutable Secret but its end, and its end is checked for. */
static void rest_if_immutable(struct wanted *w)
{
	if (!is_watched(w) || !w->secret || !w->secret->immutable || w->rejected)
		return;
	/* whoever was told has asked for more: it rests after that, or is gone */
	if (w->follower.todo != TODO_NOTHING)
		return;
	w->rests = true;
	follower_stop(&w->follower);
	follower_do_later(&w->follower, TODO_STOP);
}

static void secret_list_begin(void *userdata)
{
	wanted_of(userdata)->seen = false;
}

static void secret_object(void *userdata, enum reflector_event event, const json_t *obj)
{
	struct wanted *w = wanted_of(userdata);

	w->seen = true;
	if (event == REFLECTOR_DELETED)
		secret_gone(w);
	else
		secret_there(w, obj);
	/* pods may wait for the end of a list, also where that has begun with changes (WatchList) */
	if (!follower_is_listing(&w->follower))
		rest_if_immutable(w);
}

/* Under Watch. The fetch that waits for its turn is not this list's. */
static void list_answers_needs(struct wanted *w)
{
	const struct reflector *r = w->follower.reflector;

	if (!r || w->follower.todo != TODO_NOTHING)
		return;
	if (w->rejected || w->absence_held) {
		w->fetch_need = w->fresh; /* it was in vain */
		return;
	}
	if (reflector_told_latest(r))
		secret_is_fresh(w, w->fetch_need);
	if (w->n_needs > MAX(w->fresh, w->poll ? w->poll->need : 0))
		ask_if_needed(w);
}

static void secret_list_end(void *userdata)
{
	struct wanted *w = wanted_of(userdata);

	if (!w->seen)
		secret_gone(w);
	if (is_watched(w))
		list_answers_needs(w);
	rest_if_immutable(w);
}

/* Where the server is away, all fail at once, and the pods' reflector says so; an answer that makes no sense is this one's. */
static enum log_level level_of(int code, int status)
{
	bool is_away = status == 0 && code != -EBADMSG && code != -EFBIG && code != -EREMOTEIO;

	return is_away ? LOG_LEVEL_DEBUG : status == 403 ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;
}

static void secret_failed(void *userdata, const struct err *e, int status)
{
	struct wanted *w = wanted_of(userdata);

	w->failed_by_check = false;
	if (api_is_news(w->follower.source, &w->said, err_text(e)))
		log_write(level_of(e->code, status), LOG_F({ object_kind_word(w->kind), w->key }), "%s", err_text(e));
	secret_tell_failed(w, e->code, reason_of_answer(status, e), err_text(e));
}

static void secret_recovered(void *userdata)
{
	struct wanted *w = wanted_of(userdata);

	log_debug(LOG_F({ object_kind_word(w->kind), w->key }), "can be read again");
	if (w->rejected)
		secret_tell_failed(w, w->refusal == REASON_OBJECT_INVALID ? -EINVAL : -ENOMEM, w->refusal, w->rejected);
	else if (w->absence_held)
		tell_absence_held(w);
	else if (w->failure && w->settled)
		secret_tell(w);
}

static const struct reflector_handler SECRET_HANDLER = {
	.list_begin = secret_list_begin,
	.object = secret_object,
	.list_end = secret_list_end,
	.failed = secret_failed,
	.recovered = secret_recovered,
};

/* ---- the poller's answers: all there is to say under Cache and Get, a check under Watch ---- */

static const char *meta_str(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(json_object_get(obj, "metadata"), key));
}

/* Which revision was rejected is not kept: it is looked at again. So is one that was said to be absent. */
static bool is_known(const struct wanted *w, const json_t *obj)
{
	return !w->rejected && !w->absence_held && w->secret && str_eq(w->secret->uid, meta_str(obj, "uid")) &&
	       str_eq(w->secret->resource_version, meta_str(obj, "resourceVersion"));
}

/* obj NULL: there is none. */
static void check_found(struct wanted *w, const json_t *obj)
{
	w->check_differs = obj ? !is_known(w, obj) : w->secret || w->rejected || !w->settled;
}

static void check_ends(struct wanted *w)
{
	if (w->check_differs) {
		log_debug(LOG_F({ object_kind_word(w->kind), w->key }), "another revision than the one that is known");
		fetch(w);
		return;
	}
	if (w->failed_by_check)
		secret_tell(w);
	secret_is_fresh(w, poller_answered_need(w->poll->poller));
}

static void poll_list_begin(void *userdata)
{
	struct wanted *w = wanted_of(userdata);

	if (is_watched(w))
		check_found(w, NULL);
	else
		secret_list_begin(userdata);
}

static void poll_object(void *userdata, enum reflector_event event, const json_t *obj)
{
	struct wanted *w = wanted_of(userdata);

	if (is_watched(w))
		check_found(w, obj);
	else
		secret_object(userdata, event, obj);
}

static void poll_list_end(void *userdata)
{
	struct wanted *w = wanted_of(userdata);

	if (is_watched(w)) {
		check_ends(w);
		return;
	}
	secret_list_end(userdata);
	secret_is_fresh(w, poller_answered_need(w->poll->poller));
}

/* A check that fails is nobody's trouble but of a pod that waits for it. */
static void poll_failed(void *userdata, const struct err *e, int status)
{
	struct wanted *w = wanted_of(userdata);

	if (!is_watched(w) || is_needed(w)) {
		secret_failed(userdata, e, status);
		w->failed_by_check = is_watched(w);
		return;
	}
	log_debug(LOG_F({ object_kind_word(w->kind), w->key }), "check: %s", err_text(e));
}

static void poll_recovered(void *userdata)
{
	if (!is_watched(wanted_of(userdata)))
		secret_recovered(userdata);
}

static const struct reflector_handler POLL_HANDLER = {
	.list_begin = poll_list_begin,
	.object = poll_object,
	.list_end = poll_list_end,
	.failed = poll_failed,
	.recovered = poll_recovered,
};

/* ---- when ---- */

static struct poller_pace pace_of(const struct source_api *s)
{
	uint64_t ttl = api_node_ttl(s), sync = s->tuning.sync_usec;

	if (s->tuning.strategy == SOURCE_GET)
		return (struct poller_pace){ .period_usec = sync, .jitter = SYNC_JITTER, .always_latest = true };
	if (s->tuning.strategy == SOURCE_CACHE && ttl == 0)
		return (struct poller_pace){ .period_usec = sync, .jitter = SYNC_JITTER };
	if (s->tuning.strategy == SOURCE_CACHE)
		return (struct poller_pace){ .period_usec = ttl, .jitter = CACHE_JITTER };
	return (struct poller_pace){ .period_usec = 0 };
}

static void set_check_timer(struct source_api *s, uint64_t due_usec)
{
	uint64_t now = loop_now(s->loop);

	if (s->check_at_usec && s->check_at_usec <= due_usec)
		return;
	s->check_at_usec = due_usec;
	loop_timer_set(s->check_timer, due_usec > now ? due_usec - now : 0);
}

static void plan_check(struct wanted *w)
{
	struct source_api *s = w->follower.source;
	uint64_t grid = MAX(s->tuning.sync_usec / CHECK_GRID, UINT64_C(1));
	uint64_t due = loop_now(s->loop) + s->tuning.sync_usec +
		       (uint64_t)((double)s->tuning.sync_usec * SYNC_JITTER * random01());

	w->check_due_usec = (due + grid - 1) / grid * grid;
	set_check_timer(s, w->check_due_usec);
}

static void check(struct wanted *w)
{
	bool is_silent = follower_is_watching(&w->follower) && w->follower.heard_usec < w->checked_usec;

	/* nothing would come of it but more requests */
	if (w->follower.source->away.outage.runs && !is_needed(w))
		return;
	w->checked_usec = loop_now(w->follower.source->loop);
	/* what is not settled is answered by a list */
	if (is_needed(w) && w->settled)
		(void)poll_for_needs(w, TODO_ASK);
	else if (w->rests || is_silent || is_needed(w))
		(void)poll_later(w, TODO_ASK);
	else if (!w->follower.reflector)
		follower_do_later(&w->follower, TODO_START); /* there was no memory for it */
}

static void on_check_time(struct loop_source *source, void *userdata)
{
	struct source_api *s = userdata;
	uint64_t now = loop_now(s->loop);
	struct wanted *w;

	s->check_at_usec = 0;
	if (s->tuning.strategy != SOURCE_WATCH)
		return;
	for (size_t it = 0; (w = map_next(&s->wanted, &it));) {
		if (w->check_due_usec > now) {
			set_check_timer(s, w->check_due_usec);
			continue;
		}
		check(w);
		plan_check(w);
	}
}

static int wanted_start(struct wanted *w)
{
	if (!is_watched(w))
		return poll_for_needs(w, TODO_START);
	plan_check(w);
	return is_needed(w) ? fetch(w) : follower_do_later(&w->follower, TODO_START);
}

/* From one strategy to another. What is known stays, and the new one begins with nothing older: not with what a cache of
 * the server has. */
static void wanted_switch(struct wanted *w, enum source_strategy before)
{
	struct follower *last;

	w->rests = false;
	if (before != SOURCE_WATCH && !is_watched(w))
		return;
	last = is_watched(w) ? w->poll : &w->follower;
	if (last) {
		follower_stop(last);
		follower_do_later(last, TODO_STOP);
	}
	if (wanted_start(w) < 0 || fetch(w) < 0)
		log_error(LOG_F({ object_kind_word(w->kind), w->key }), "out of memory");
}

void api_objects_retune(struct source_api *s, enum source_strategy before)
{
	const struct poller_pace pace = pace_of(s);
	struct wanted *w;

	for (size_t it = 0; (w = map_next(&s->wanted, &it));) {
		if (w->poll)
			follower_set_pace(w->poll, &pace);
		if (s->started && s->tuning.strategy != before)
			wanted_switch(w, before);
		else if (s->started && is_watched(w))
			plan_check(w);
	}
}

/* ---- wanted ---- */

static void wanted_free(struct follower *f)
{
	struct wanted *w = wanted_of(f);

	follower_deinit(f);
	if (w->poll)
		follower_deinit(w->poll);
	free(w->poll);
	secret_unref(w->secret);
	free(w->rejected);
	free(w->failure);
	free(w->said.text);
	free(w->id);
	free(w->ns);
	free(w);
}

static int wanted_new(struct source_api *s, enum object_kind kind, const char *ns, const char *name,
		      struct wanted **ret_w)
{
	static const struct api_resource RESOURCES[OBJECT_KINDS_N] = {
		[OBJECT_SECRET] = { .plural = "secrets",
				    .kind = "Secret",
				    .list_kind = "SecretList",
				    .field = "metadata.name" },
		[OBJECT_CONFIG_MAP] = { .plural = "configmaps",
					.kind = "ConfigMap",
					.list_kind = "ConfigMapList",
					.field = "metadata.name" },
	};
	struct wanted *w = calloc(1, sizeof(*w));
	struct api_resource resource = RESOURCES[kind];

	if (!w)
		return -ENOMEM;
	w->kind = kind;
	w->follower.free = wanted_free;
	w->ns = strdup(ns);
	w->id = str_format("%s %s/%s", object_kind_word(kind), ns, name);
	if (w->ns && w->id) {
		w->key = w->id + strlen(object_kind_word(kind)) + 1;
		w->name = w->key + strlen(ns) + 1;
	}
	resource.ns = w->ns;
	resource.field_value = w->name;
	follower_init(&w->follower, s, &resource, &SECRET_HANDLER, w);
	if (!w->ns || !w->id) {
		wanted_free(&w->follower);
		return -ENOMEM;
	}
	*ret_w = w;
	return 0;
}

static struct wanted *find_wanted(const struct source_api *s, enum object_kind kind, const char *ns, const char *name)
{
	char id[512];
	int n = snprintf(id, sizeof(id), "%s %s/%s", object_kind_word(kind), ns, name);

	return n > 0 && (size_t)n < sizeof(id) ? map_get_str(&s->wanted, id) : NULL;
}

int api_want(struct source *source, enum object_kind kind, const char *ns, const char *name)
{
	struct source_api *s = api_of(source);
	struct wanted *w = NULL;
	int r;

	if (kind == OBJECT_TOKEN)
		return api_tokens_want(s, ns, name);
	if (!str_is_dns_label(ns) || !str_is_dns_subdomain(name))
		return -EINVAL;
	if (find_wanted(s, kind, ns, name))
		return -EEXIST;
	r = wanted_new(s, kind, ns, name, &w);
	if (r < 0)
		return r;
	r = map_add_str(&s->wanted, w->id, w);
	if (r < 0) {
		wanted_free(&w->follower);
		return r;
	}
	r = s->started ? wanted_start(w) : 0;
	if (r < 0) {
		map_remove_str(&s->wanted, w->id);
		wanted_free(&w->follower);
	}
	return r;
}

void api_unwant(struct source *source, enum object_kind kind, const char *ns, const char *name)
{
	struct source_api *s = api_of(source);
	struct wanted *w = kind == OBJECT_TOKEN ? NULL : find_wanted(s, kind, ns, name);

	if (kind == OBJECT_TOKEN)
		api_tokens_unwant(s, ns, name);
	if (!w)
		return;
	map_remove_str(&s->wanted, w->id);
	s->n_rejected -= !!w->rejected;
	follower_stop(&w->follower);
	if (w->poll)
		follower_stop(w->poll);
	/* its callbacks may be on the stack */
	follower_do_later(&w->follower, TODO_FREE);
}

int api_need(struct source *source, enum object_kind kind, const char *ns, const char *name)
{
	struct source_api *s = api_of(source);
	struct wanted *w;
	int r;

	if (kind == OBJECT_TOKEN)
		return 0;
	w = find_wanted(s, kind, ns, name);
	if (!w)
		return -ENOENT;
	w->n_needs++;
	r = s->started ? ask_for_need(w) : 0;
	return r < 0 ? r : SOURCE_ASKED;
}

int api_refresh(struct source *source, enum object_kind kind, const char *ns, const char *name)
{
	struct source_api *s = api_of(source);
	struct wanted *w;

	if (kind == OBJECT_TOKEN)
		return api_tokens_refresh(s, ns, name);
	w = find_wanted(s, kind, ns, name);
	if (!w)
		return -ENOENT;
	w->answer_due = true;
	return s->started ? fetch(w) : 0;
}

/* ---- all of them ---- */

int api_objects_init(struct source_api *s)
{
	int r = loop_add_timer(s->loop, on_starved_time, s, &s->starved_timer);

	return r < 0 ? r : loop_add_timer(s->loop, on_check_time, s, &s->check_timer);
}

void api_objects_deinit(struct source_api *s)
{
	struct wanted *w;

	for (size_t it = 0; (w = map_next(&s->wanted, &it));)
		wanted_free(&w->follower);
	map_deinit(&s->wanted);
	loop_source_free(s->starved_timer);
	loop_source_free(s->check_timer);
}

int api_objects_start(struct source_api *s)
{
	struct wanted *w;
	int r = 0;

	for (size_t it = 0; r == 0 && (w = map_next(&s->wanted, &it));)
		r = wanted_start(w);
	return r;
}

bool api_objects_any_watch(const struct source_api *s)
{
	const struct wanted *w;

	for (size_t it = 0; (w = map_next(&s->wanted, &it));)
		if (follower_is_watching(&w->follower))
			return true;
	return false;
}

size_t api_objects_n_waiting(const struct source_api *s)
{
	const struct wanted *w;
	size_t n = 0;

	for (size_t it = 0; (w = map_next(&s->wanted, &it));)
		n += follower_waits_for_server(&w->follower) + (w->poll && follower_waits_for_server(w->poll));
	return n;
}

void api_objects_server_answers(struct source_api *s, bool wanted_now, struct outage_turns *turns)
{
	struct wanted *w;

	for (size_t it = 0; (w = map_next(&s->wanted, &it));) {
		if (wanted_now != (!w->settled || is_needed(w)))
			continue;
		if (follower_waits_for_server(&w->follower))
			follower_server_answers(&w->follower, outage_turn(turns, random01()));
		if (w->poll && follower_waits_for_server(w->poll))
			follower_server_answers(w->poll, outage_turn(turns, random01()));
	}
}

void api_objects_refresh_all(struct source_api *s, const struct follower *except)
{
	struct wanted *w;

	for (size_t it = 0; (w = map_next(&s->wanted, &it));)
		if (&w->follower != except)
			fetch(w);
}

void api_objects_end_doubt(struct source_api *s)
{
	struct wanted *w;

	for (size_t it = 0; s->absence_held && (w = map_next(&s->wanted, &it));) {
		if (w->absence_held)
			fetch(w);
		w->absence_held = false;
	}
	s->absence_held = false;
}

void api_objects_health(const struct source_api *s, struct source_health *ret)
{
	const struct wanted *w;

	for (size_t it = 0; (w = map_next(&s->wanted, &it));) {
		bool is_secret = w->kind == OBJECT_SECRET;

		*(is_secret ? &ret->n_secrets : &ret->n_config_maps) += 1;
		*(is_secret ? &ret->n_secrets_synced : &ret->n_config_maps_synced) += w->settled;
		ret->n_watches += follower_is_watching(&w->follower);
	}
	api_tokens_health(s, ret);
}
