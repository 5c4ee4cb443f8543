/* The API server's Secrets: a reflector for each wanted one, by name. What is told to the sink is compared with what was
 * told before: a relist that brings nothing new stays silent, and so does a retry that fails in the same way. */
#include "agent/source_api_internal.h"

#include "agent/codec.h"
#include "common/log.h"
#include "common/str.h"

static const uint64_t STARVED_RETRY_USEC = 10 * USEC_PER_SEC;

struct wanted {
	struct follower follower;
	char *key; /* "ns/name" */
	char *ns, *name;
	struct secret *secret; /* the last good one; NULL: absent, or not known yet */
	char *rejected; /* why the present object was refused; NULL: it was not */
	bool seen; /* in the list that is coming in */
	bool settled; /* `secret` is a fact and not only a beginning */
	bool answer_due; /* a refresh was asked for */
	char *failure; /* the last that was told; NULL: the last was good news */
	bool starved; /* refused for want of memory: to be fetched again */
};

static struct wanted *wanted_of(void *userdata)
{
	return container_of((struct follower *)userdata, struct wanted, follower);
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
	w->answer_due = false;
	w->settled = true;
	s->sink->secret_changed(s->userdata, w->ns, w->name, w->secret);
}

static void secret_tell_failed(struct wanted *w, int code, const char *text)
{
	const struct source_api *s = w->follower.source;
	struct err e = ERR_INIT;

	if (str_eq(w->failure, text) && !w->answer_due)
		return;
	api_keep_text(&w->failure, text);
	w->answer_due = false;
	err_set(&e, code, "%s", text);
	s->sink->secret_failed(s->userdata, w->ns, w->name, &e);
}

static void secret_accepted(struct wanted *w)
{
	w->starved = false;
	if (!w->rejected)
		return;
	free(TAKE_PTR(w->rejected));
	w->follower.source->n_rejected--;
	log_info(LOG_F({ "secret", w->key }), "accepted again");
}

static void secret_refused(struct wanted *w, int code, const struct json_issue *issue)
{
	struct source_api *s = w->follower.source;
	struct err e = ERR_INIT;

	err_set(&e, code, "secret %s: %s%s%s", w->key, issue->path, *issue->path ? ": " : "", issue->reason);
	if (code == -ENOMEM) {
		w->starved = true;
		loop_timer_set(s->starved_timer, STARVED_RETRY_USEC);
	}
	if (!str_eq(w->rejected, err_text(&e)))
		log_warning(LOG_F({ "secret", w->key }), "%s", err_text(&e));
	s->n_rejected += !w->rejected;
	api_keep_text(&w->rejected, err_text(&e));
	secret_tell_failed(w, code, err_text(&e));
}

static void on_starved_time(struct loop_source *source, void *userdata)
{
	struct source_api *s = userdata;
	struct wanted *w;

	for (size_t it = 0; (w = map_next(&s->wanted, &it));)
		if (w->starved)
			follower_do_later(&w->follower, TODO_REFRESH);
}

static void secret_gone(struct wanted *w)
{
	bool is_news = w->secret || is_due(w);

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

	r = codec_secret(obj, &fresh, &issue);
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
}

static void secret_list_end(void *userdata)
{
	struct wanted *w = wanted_of(userdata);

	if (!w->seen)
		secret_gone(w);
}

/* Where the server is away, all fail at once, and the pods' reflector says so. */
static enum log_level level_of(int status)
{
	return status == 0 ? LOG_LEVEL_DEBUG : status == 403 ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;
}

static void secret_failed(void *userdata, const struct err *e, int status)
{
	struct wanted *w = wanted_of(userdata);

	if (status == 401)
		credentials_doubt(w->follower.source->credentials);
	log_write(level_of(status), LOG_F({ "secret", w->key }), "%s", err_text(e));
	secret_tell_failed(w, e->code, err_text(e));
}

static void secret_recovered(void *userdata)
{
	struct wanted *w = wanted_of(userdata);

	log_debug(LOG_F({ "secret", w->key }), "can be read again");
	if (w->rejected)
		secret_tell_failed(w, -EINVAL, w->rejected);
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

static void wanted_free(struct follower *f)
{
	struct wanted *w = wanted_of(f);

	follower_deinit(f);
	secret_unref(w->secret);
	free(w->rejected);
	free(w->failure);
	free(w->key);
	free(w->ns);
	free(w->name);
	free(w);
}

static int wanted_new(struct source_api *s, const char *ns, const char *name, struct wanted **ret_w)
{
	struct wanted *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (!w)
		return -ENOMEM;
	list_init(&w->follower.todo_link);
	w->follower.free = wanted_free;
	w->ns = strdup(ns);
	w->name = strdup(name);
	w->key = str_format("%s/%s", ns, name);
	if (w->ns && w->name && w->key)
		r = follower_init(&w->follower, s,
				  &(struct api_resource){ .plural = "secrets",
							  .kind = "Secret",
							  .list_kind = "SecretList",
							  .ns = w->ns,
							  .field = "metadata.name",
							  .field_value = w->name },
				  &SECRET_HANDLER);
	if (r < 0) {
		wanted_free(&w->follower);
		return r;
	}
	*ret_w = w;
	return 0;
}

static struct wanted *find_wanted(const struct source_api *s, const char *ns, const char *name)
{
	char key[512];
	int n = snprintf(key, sizeof(key), "%s/%s", ns, name);

	return n > 0 && (size_t)n < sizeof(key) ? map_get_str(&s->wanted, key) : NULL;
}

int api_want_secret(struct source *source, const char *ns, const char *name)
{
	struct source_api *s = api_of(source);
	struct wanted *w = NULL;
	int r;

	if (!str_is_dns_label(ns) || !str_is_dns_subdomain(name))
		return -EINVAL;
	if (find_wanted(s, ns, name))
		return -EEXIST;
	r = wanted_new(s, ns, name, &w);
	if (r < 0)
		return r;
	r = map_add_str(&s->wanted, w->key, w);
	if (r < 0) {
		wanted_free(&w->follower);
		return r;
	}
	r = s->started ? follower_do_later(&w->follower, TODO_START) : 0;
	if (r < 0) {
		map_remove_str(&s->wanted, w->key);
		wanted_free(&w->follower);
	}
	return r;
}

void api_unwant_secret(struct source *source, const char *ns, const char *name)
{
	struct source_api *s = api_of(source);
	struct wanted *w = find_wanted(s, ns, name);

	if (!w)
		return;
	map_remove_str(&s->wanted, w->key);
	s->n_rejected -= !!w->rejected;
	reflector_stop(w->follower.reflector);
	/* its callbacks may be on the stack */
	follower_do_later(&w->follower, TODO_FREE);
}

int api_refresh_secret(struct source *source, const char *ns, const char *name)
{
	struct source_api *s = api_of(source);
	struct wanted *w = find_wanted(s, ns, name);

	if (!w)
		return -ENOENT;
	w->answer_due = true;
	return s->started ? follower_do_later(&w->follower, TODO_REFRESH) : 0;
}

/* ---- all of them ---- */

int api_secrets_init(struct source_api *s)
{
	return loop_add_timer(s->loop, on_starved_time, s, &s->starved_timer);
}

void api_secrets_deinit(struct source_api *s)
{
	struct wanted *w;

	for (size_t it = 0; (w = map_next(&s->wanted, &it));)
		wanted_free(&w->follower);
	map_deinit(&s->wanted);
	loop_source_free(s->starved_timer);
}

int api_secrets_start(struct source_api *s)
{
	struct wanted *w;
	int r = 0;

	for (size_t it = 0; r == 0 && (w = map_next(&s->wanted, &it));)
		r = follower_do_later(&w->follower, TODO_START);
	return r;
}

void api_secrets_server_answers(struct source_api *s, uint64_t within_usec)
{
	struct wanted *w;

	for (size_t it = 0; (w = map_next(&s->wanted, &it));)
		reflector_server_answers(w->follower.reflector, within_usec);
}

void api_secrets_health(const struct source_api *s, struct source_health *ret)
{
	const struct wanted *w;

	for (size_t it = 0; (w = map_next(&s->wanted, &it));) {
		ret->n_secrets++;
		ret->n_secrets_synced += w->settled;
		ret->n_watches += reflector_is_watching(w->follower.reflector);
	}
}
