/* The API server as a source: a reflector for this node's pods, and one for each wanted Secret, by name, because that is
 * all that a node's identity may read. All their requests go over one HTTP client.
 *
 * What is told to the sink is compared with what was told before: a relist that brings nothing new stays silent, and so
 * does a retry that fails in the same way. The sink may call back (want, unwant, refresh) at any time; so reflectors are
 * started, refreshed and freed by a deferred call, never under their own feet. */
#include "agent/source_api.h"

#include <inttypes.h>

#include "agent/codec.h"
#include "agent/http.h"
#include "agent/kubeconfig.h"
#include "agent/reflector.h"
#include "common/backoff.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/map.h"
#include "common/str.h"

static const uint64_t TOKEN_REREAD_USEC = 50 * USEC_PER_SEC; /* client-go: stale after 1 min, 10 s leeway */
static const uint64_t TOKEN_REREAD_MIN_USEC = USEC_PER_SEC;
static const uint64_t BACK_WITHIN_USEC = 200 * USEC_PER_MSEC;
static const uint64_t STARVED_RETRY_USEC = 10 * USEC_PER_SEC;

enum {
	KNOWN_PODS_MAX = 20000, /* finished ones stay at the server for a while; a kubelet runs some hundred */
	REFUSALS_BURST = 20, /* lines of log about refused objects in REFUSALS_WINDOW_USEC */
};
static const uint64_t REFUSALS_WINDOW_USEC = 60 * USEC_PER_SEC;

enum todo { TODO_NOTHING, TODO_START, TODO_REFRESH, TODO_FREE };

/* A reflector and what it needs of the world. */
struct follower {
	struct source_api *source;
	struct api_resource resource;
	struct reflector *reflector;
	struct http_request *request;
	struct loop_source *timer; /* made when it is first needed */
	struct list todo_link;
	enum todo todo;
	void (*free)(struct follower *f);
};

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

/* A pod of the server's, by namespace and name. */
struct known_pod {
	char *key;
	char *uid, *version; /* as told; NULL: never */
	char *rejected;
	uint64_t generation; /* of the last list that had it */
};

struct source_api {
	struct source source;
	struct loop *loop;
	struct files *files;
	struct kubeconfig *kubeconfig;
	struct http *http;
	char *node_name;
	const struct source_sink *sink;
	void *userdata;

	struct follower pods;
	struct map known_pods;
	uint64_t generation;
	bool pods_told; /* pods_synced() */
	char *pods_failure;

	struct map wanted;
	size_t n_rejected;
	struct log_limit refusals;
	struct list todo;
	struct loop_source *do_todo, *token_timer, *starved_timer;
	bool started, token_is_read;
	uint64_t token_read_usec;
	char *token_failure;
	bool server_away; /* a request got no answer, and none has since */
	uint64_t last_contact_usec;
};

static struct source_api *api_of(const struct source *s)
{
	return container_of((struct source *)(uintptr_t)s, struct source_api, source);
}

static struct wanted *wanted_of(void *userdata)
{
	return container_of((struct follower *)userdata, struct wanted, follower);
}

/* Keeps a copy; what cannot be kept is told again, that is all. */
static void keep_text(char **where, const char *text)
{
	free(*where);
	*where = text ? strdup(text) : NULL;
}

/* A server can refuse to make sense as often as it likes. */
static void warn_of_refusal(struct source_api *s, const struct log_field *fields, const char *text)
{
	if (!log_limit_ok(&s->refusals, loop_now(s->loop)))
		return;
	if (s->refusals.n_held_before > 0)
		log_warning(NULL, "%" PRIu64 " more objects were refused and not logged", s->refusals.n_held_before);
	log_warning(fields, "%s", text);
}

/* ---- followers: the reflectors' environment ---- */

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
	struct wanted *w;

	s->server_away = false;
	reflector_server_answers(s->pods.reflector, BACK_WITHIN_USEC);
	for (size_t it = 0; (w = map_next(&s->wanted, &it));)
		reflector_server_answers(w->follower.reflector, BACK_WITHIN_USEC);
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

static void follower_deinit(struct follower *f)
{
	reflector_free(f->reflector);
	http_cancel(f->request);
	loop_source_free(f->timer);
	list_remove(&f->todo_link);
}

static int follower_init(struct follower *f, struct source_api *s, const struct api_resource *resource,
			 const struct reflector_handler *handler)
{
	f->source = s;
	f->resource = *resource;
	list_init(&f->todo_link);
	return reflector_new(&f->resource, &ENV, handler, f, &f->reflector);
}

static int do_later(struct follower *f, enum todo todo)
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

static void on_todo(struct loop_source *source, void *userdata)
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

/* ---- the bearer token ---- */

static void token_failed(struct source_api *s, const struct err *e)
{
	if (!str_eq(s->token_failure, err_text(e)))
		log_warning(NULL, "tokenFile: %s; the last token stays in use", err_text(e));
	keep_text(&s->token_failure, err_text(e));
}

static void use_token(struct source_api *s, const char *token, struct err *e)
{
	char *copy;

	keep_text(&s->token_failure, NULL);
	if (str_eq(token, s->kubeconfig->token))
		return;
	copy = strdup(token);
	if (!copy || http_set_token(s->http, token) < 0) {
		str_free_secret(copy);
		err_set(e, -ENOMEM, "out of memory");
		token_failed(s, e);
		return;
	}
	str_free_secret(s->kubeconfig->token);
	s->kubeconfig->token = copy;
	log_info(NULL, "tokenFile: new token in use");
}

static void on_token_file(void *userdata, int fd, int r)
{
	cleanup_secret char *token = NULL;
	cleanup_fd int owned = fd;
	struct source_api *s = userdata;
	struct err e = ERR_INIT;

	s->token_is_read = false;
	loop_timer_set(s->token_timer, TOKEN_REREAD_USEC);
	if (r < 0)
		err_set(&e, r, "open %s: %s", s->kubeconfig->token_file, strerror(-r));
	else
		r = kubeconfig_read_token(owned, s->kubeconfig->token_file, &token, &e);
	if (r < 0)
		token_failed(s, &e);
	else
		use_token(s, token, &e);
}

static void read_token(struct source_api *s)
{
	struct err e = ERR_INIT;
	int r;

	if (s->token_is_read)
		return;
	s->token_read_usec = loop_now(s->loop);
	r = files_open(s->files, s->kubeconfig->token_file, on_token_file, s);
	s->token_is_read = r == 0;
	if (r == 0)
		return;
	err_set(&e, r, "open %s: %s", s->kubeconfig->token_file, strerror(-r));
	token_failed(s, &e);
	loop_timer_set(s->token_timer, TOKEN_REREAD_USEC);
}

static void on_token_time(struct loop_source *source, void *userdata)
{
	read_token(userdata);
}

/* 401: the file may have a newer token than we. */
static void doubt_token(struct source_api *s)
{
	if (s->kubeconfig->token_file && loop_now(s->loop) - s->token_read_usec >= TOKEN_REREAD_MIN_USEC)
		read_token(s);
}

/* ---- Secrets ---- */

/* What is told now is news even if it is the same as before. */
static bool is_due(const struct wanted *w)
{
	return w->failure || w->answer_due || !w->settled;
}

static void secret_tell(struct wanted *w)
{
	const struct source_api *s = w->follower.source;

	keep_text(&w->failure, NULL);
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
	keep_text(&w->failure, text);
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
		warn_of_refusal(s, LOG_F({ "secret", w->key }), err_text(&e));
	s->n_rejected += !w->rejected;
	keep_text(&w->rejected, err_text(&e));
	secret_tell_failed(w, code, err_text(&e));
}

static void on_starved_time(struct loop_source *source, void *userdata)
{
	struct source_api *s = userdata;
	struct wanted *w;

	for (size_t it = 0; (w = map_next(&s->wanted, &it));)
		if (w->starved)
			do_later(&w->follower, TODO_REFRESH);
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
		doubt_token(w->follower.source);
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

static int api_want_secret(struct source *source, const char *ns, const char *name)
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
	r = s->started ? do_later(&w->follower, TODO_START) : 0;
	if (r < 0) {
		map_remove_str(&s->wanted, w->key);
		wanted_free(&w->follower);
	}
	return r;
}

static void api_unwant_secret(struct source *source, const char *ns, const char *name)
{
	struct source_api *s = api_of(source);
	struct wanted *w = find_wanted(s, ns, name);

	if (!w)
		return;
	map_remove_str(&s->wanted, w->key);
	s->n_rejected -= !!w->rejected;
	reflector_stop(w->follower.reflector);
	/* its callbacks may be on the stack */
	do_later(&w->follower, TODO_FREE);
}

static int api_refresh_secret(struct source *source, const char *ns, const char *name)
{
	struct source_api *s = api_of(source);
	struct wanted *w = find_wanted(s, ns, name);

	if (!w)
		return -ENOENT;
	w->answer_due = true;
	return s->started ? do_later(&w->follower, TODO_REFRESH) : 0;
}

/* ---- Pods ---- */

static void known_pod_free(struct known_pod *k)
{
	free(k->key);
	free(k->uid);
	free(k->version);
	free(k->rejected);
	free(k);
}

static int find_or_add_pod(struct source_api *s, const char *key, struct known_pod **ret_k)
{
	struct known_pod *k = map_get_str(&s->known_pods, key);

	if (!k) {
		if (map_count(&s->known_pods) >= KNOWN_PODS_MAX)
			return -ENOBUFS;
		k = calloc(1, sizeof(*k));
		if (!k)
			return -ENOMEM;
		k->key = strdup(key);
		if (!k->key || map_add_str(&s->known_pods, k->key, k) < 0) {
			known_pod_free(k);
			return -ENOMEM;
		}
	}
	*ret_k = k;
	return 0;
}

static void pod_accepted(struct source_api *s, struct known_pod *k)
{
	if (!k->rejected)
		return;
	free(TAKE_PTR(k->rejected));
	s->n_rejected--;
	log_info(LOG_F({ "pod", k->key }), "accepted again");
}

static void pod_refused(struct source_api *s, struct known_pod *k, const struct json_issue *issue)
{
	struct err e = ERR_INIT;

	err_set(&e, -EINVAL, "pod %s: %s%s%s", k->key, issue->path, *issue->path ? ": " : "", issue->reason);
	if (str_eq(k->rejected, err_text(&e)))
		return;
	warn_of_refusal(s, LOG_F({ "pod", k->key }), err_text(&e));
	s->n_rejected += !k->rejected;
	keep_text(&k->rejected, err_text(&e));
}

/* Forgets it; k is gone afterwards. */
static void pod_gone(struct source_api *s, struct known_pod *k)
{
	map_remove_str(&s->known_pods, k->key);
	s->n_rejected -= !!k->rejected;
	if (k->uid)
		s->sink->pod_removed(s->userdata, k->uid);
	known_pod_free(k);
}

static void pod_there(struct source_api *s, struct known_pod *k, struct pod *pod)
{
	pod_accepted(s, k);
	if (k->uid && k->version && str_eq(k->version, pod->resource_version))
		return;
	if (!k->uid)
		keep_text(&k->uid, pod->uid);
	if (!k->uid)
		return;
	keep_text(&k->version, pod->resource_version);
	s->sink->pod_changed(s->userdata, pod);
}

static const char *meta_str(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(json_object_get(obj, "metadata"), key));
}

/* Its name belongs to another pod now, even if that one makes no sense. */
static void pod_replaced(struct source_api *s, struct known_pod *k, const char *uid)
{
	cleanup_free char *old_uid = NULL;

	if (!k->uid || !uid || str_eq(k->uid, uid))
		return;
	old_uid = TAKE_PTR(k->uid);
	keep_text(&k->version, NULL);
	s->sink->pod_removed(s->userdata, old_uid);
}

static void pod_decode(struct source_api *s, struct known_pod *k, const json_t *obj)
{
	cleanup_pod struct pod *pod = NULL;
	struct json_issue issue = { .reason = "" };

	pod_replaced(s, k, meta_str(obj, "uid"));
	if (codec_pod(obj, &pod, &issue) < 0)
		pod_refused(s, k, &issue);
	else
		pod_there(s, k, pod);
}

static void pod_object(void *userdata, enum reflector_event event, const json_t *obj)
{
	struct source_api *s = container_of((struct follower *)userdata, struct source_api, pods);
	const char *ns = meta_str(obj, "namespace"), *name = meta_str(obj, "name");
	const char *node = json_string_value(json_object_get(json_object_get(obj, "spec"), "nodeName"));
	struct known_pod *k = NULL;
	char key[512];
	int r;

	if (!ns || !name || snprintf(key, sizeof(key), "%s/%s", ns, name) >= (int)sizeof(key)) {
		warn_of_refusal(s, NULL, "ignored a pod without namespace or name");
		return;
	}
	if (event == REFLECTOR_DELETED) {
		k = map_get_str(&s->known_pods, key);
		if (k)
			pod_gone(s, k);
		return;
	}
	if (!str_eq(node, s->node_name)) {
		warn_of_refusal(s, LOG_F({ "pod", key }), "ignored a pod of another node");
		return;
	}
	r = find_or_add_pod(s, key, &k);
	if (r < 0) {
		warn_of_refusal(s, LOG_F({ "pod", key }),
				r == -ENOBUFS ? "ignored: too many pods" : "ignored: out of memory");
		return;
	}
	k->generation = s->generation;
	pod_decode(s, k, obj);
}

static void pods_list_begin(void *userdata)
{
	struct source_api *s = container_of((struct follower *)userdata, struct source_api, pods);

	s->generation++;
}

static void pods_list_end(void *userdata)
{
	struct source_api *s = container_of((struct follower *)userdata, struct source_api, pods);
	struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		if (k->generation != s->generation)
			pod_gone(s, k);
	s->pods_told = true;
	s->sink->pods_synced(s->userdata);
}

static void pods_failed(void *userdata, const struct err *e, int status)
{
	struct source_api *s = container_of((struct follower *)userdata, struct source_api, pods);

	if (status == 401)
		doubt_token(s);
	keep_text(&s->pods_failure, err_text(e));
	log_warning(LOG_F({ "server", http_server(s->http) }, { "node", s->node_name }), "pods: %s", err_text(e));
}

static void pods_recovered(void *userdata)
{
	struct source_api *s = container_of((struct follower *)userdata, struct source_api, pods);

	keep_text(&s->pods_failure, NULL);
	log_info(LOG_F({ "server", http_server(s->http) }, { "node", s->node_name }), "pods can be read again");
}

static const struct reflector_handler POD_HANDLER = {
	.list_begin = pods_list_begin,
	.object = pod_object,
	.list_end = pods_list_end,
	.failed = pods_failed,
	.recovered = pods_recovered,
};

/* ---- the source ---- */

static int api_start(struct source *source, struct err *e)
{
	struct source_api *s = api_of(source);
	struct wanted *w;
	int r;

	if (s->started)
		return 0;
	r = do_later(&s->pods, TODO_START);
	for (size_t it = 0; r == 0 && (w = map_next(&s->wanted, &it));)
		r = do_later(&w->follower, TODO_START);
	if (r == 0 && s->kubeconfig->token_file)
		r = loop_timer_set(s->token_timer, TOKEN_REREAD_USEC);
	if (r < 0)
		return err_set(e, r, "start the API server source: %s", strerror(-r));
	s->started = true;
	log_info(LOG_F({ "server", http_server(s->http) }, { "node", s->node_name }), "following the API server");
	return 0;
}

static void api_health(const struct source *source, struct source_health *ret)
{
	const struct source_api *s = api_of(source);
	const struct http_stats stats = http_stats(s->http);
	const struct wanted *w;

	*ret = (struct source_health){ .kind = "api-server" };
	snprintf(ret->location, sizeof(ret->location), "%s", http_server(s->http));
	snprintf(ret->last_error, sizeof(ret->last_error), "%s", s->pods_failure ? s->pods_failure : "");
	ret->connected = reflector_is_watching(s->pods.reflector);
	ret->pods_synced = s->pods_told;
	ret->last_contact_usec = s->last_contact_usec;
	ret->n_watches = ret->connected;
	for (size_t it = 0; (w = map_next(&s->wanted, &it));) {
		ret->n_secrets++;
		ret->n_secrets_synced += w->settled;
		ret->n_watches += reflector_is_watching(w->follower.reflector);
	}
	ret->n_rejected = s->n_rejected;
	ret->n_requests = stats.n_requests;
	ret->n_connections = stats.n_connections;
}

static void api_free(struct source *source)
{
	struct source_api *s = api_of(source);
	struct known_pod *k;
	struct follower *f;
	struct wanted *w;

	if (s->files)
		files_cancel(s->files, s);
	for (size_t it = 0; (w = map_next(&s->wanted, &it));)
		wanted_free(&w->follower);
	follower_deinit(&s->pods);
	while ((f = list_first(&s->todo, struct follower, todo_link)))
		f->free(f);
	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		known_pod_free(k);
	map_deinit(&s->wanted);
	map_deinit(&s->known_pods);
	http_free(s->http);
	kubeconfig_free(s->kubeconfig);
	loop_source_free(s->do_todo);
	loop_source_free(s->token_timer);
	loop_source_free(s->starved_timer);
	free(s->node_name);
	free(s->pods_failure);
	free(s->token_failure);
	free(s);
}

static const struct source_vtable VTABLE = {
	.start = api_start,
	.want_secret = api_want_secret,
	.unwant_secret = api_unwant_secret,
	.refresh_secret = api_refresh_secret,
	.health = api_health,
	.free = api_free,
};

static int make_http(struct source_api *s, struct err *e)
{
	const struct kubeconfig *k = s->kubeconfig;
	const struct http_options options = { .server = k->server,
					      .tls_server_name = k->tls_server_name,
					      .ca = k->ca,
					      .cert = k->client_cert,
					      .key = k->client_key,
					      .insecure = k->insecure,
					      .user_agent = "secretlet/" SECRETLET_VERSION };
	int r;

	r = http_new(s->loop, &options, &s->http, e);
	if (r < 0)
		return r;
	if (k->insecure)
		log_warning(
			LOG_F({ "server", k->server }),
			"insecure-skip-tls-verify: the server is NOT authenticated; anybody in between can read and "
			"change every Secret");
	if (str_starts(k->server, "http://"))
		log_warning(LOG_F({ "server", k->server }),
			    "no TLS: no credentials are sent, and all can be read on the way");
	r = http_set_token(s->http, k->token);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

static int make_loop_sources(struct source_api *s)
{
	int r;

	r = loop_add_defer(s->loop, on_todo, s, &s->do_todo);
	if (r == 0)
		r = loop_add_timer(s->loop, on_token_time, s, &s->token_timer);
	if (r == 0)
		r = loop_add_timer(s->loop, on_starved_time, s, &s->starved_timer);
	return r;
}

static int setup(struct source_api *s, const struct source_api_options *options, struct err *e)
{
	int r;

	s->node_name = strdup(options->node_name);
	if (!s->node_name)
		return err_set(e, -ENOMEM, "out of memory");
	r = make_loop_sources(s);
	if (r < 0)
		return err_set(e, r, "event loop: %s", strerror(-r));
	r = follower_init(&s->pods, s,
			  &(struct api_resource){ .plural = "pods",
						  .kind = "Pod",
						  .list_kind = "PodList",
						  .field = "spec.nodeName",
						  .field_value = s->node_name },
			  &POD_HANDLER);
	if (r < 0)
		return err_set(e, r, "out of memory");
	r = kubeconfig_load(options->kubeconfig, &s->kubeconfig, e);
	if (r < 0)
		return r;
	r = make_http(s, e);
	if (r < 0)
		return err_wrap(e, r, "%s", options->kubeconfig);
	r = s->kubeconfig->token_file ? files_allow_file(s->files, s->kubeconfig->token_file) : 0;
	return r < 0 ? err_set(e, r, "tokenFile %s: %s", s->kubeconfig->token_file, strerror(-r)) : 0;
}

int source_api_new(struct loop *l, struct files *files, const struct source_api_options *options,
		   const struct source_sink *sink, void *userdata, struct source **ret_s, struct err *e)
{
	struct source_api *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->source.vtable = &VTABLE;
	s->loop = l;
	s->files = files;
	s->sink = sink;
	s->userdata = userdata;
	s->refusals = LOG_LIMIT_INIT(REFUSALS_WINDOW_USEC, REFUSALS_BURST);
	list_init(&s->todo);
	list_init(&s->pods.todo_link);
	r = setup(s, options, e);
	if (r < 0) {
		api_free(&s->source);
		return r;
	}
	*ret_s = &s->source;
	return 0;
}
