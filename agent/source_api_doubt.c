/* Doubt: two lists of pods are not believed at once: one that has none of those that were there before, and one of a server
 * that has gone back to an older state (a lower version) and that lacks some of them. The first may be what is left after
 * a change of permissions, the answer of another cluster or of a filter in between, and to believe it would take every
 * pod's volumes away; the second is what an old backup has. So each of the missing is asked for by its name, one after the
 * other, in its most recent state: what is not found, or is another pod or another node's now, is said to be gone; anything else
 * keeps it, and is asked again with backoff until a list is believed.
 *
 * Nor is it enough that each is said to be gone. A cluster whose etcd came up empty or out of a backup, or another cluster behind the
 * same address, says that, too, and kubelets then kill their pods, but whoever mends it has a chance. What tells these from a
 * server whose last pod here was deleted while nobody watched is memory: the storage is asked what pods it had at the last
 * version at which all were known (resourceVersionMatch=Exact: from etcd, or since 1.34 from copies of the server's cache that it drops
 * when it lists anew). One that is empty or of another cluster
 * has never had that version, or has other pods at it; a restored one, too, even where its versions were moved up, for
 * the pods that it lacks are younger than the backup. So if all of them are there in its memory, it has lost nothing, and what it
 * says counts, once each has been asked for again: behind a load balancer memory and answers may be two servers'.
 *
 * A list of nothing but other pods, without a lower version, is believed: so it is when all were replaced while the node was cut off,
 * and to doubt it would keep the new ones waiting for what is optional and not there.
 *
 * Where it does not remember, as after a compaction (kube-apiserver has one each five minutes), where the pods are what an agent before
 * this one was told, or where the server has gone back, it has to be said twice, by a list and of each pod, with some time
 * in between. So what remains of the price is that the volumes of a node's last pods, deleted while nobody watched, stay for some
 * minutes longer than the outage in which that was. A pod that is deleted while the agent watches, or one of several, goes at once.
 *
 * Meanwhile no word that a Secret is not there is believed either; nor is it after the server was lost, until the pods have been
 * listed: a Secret may be asked for first, and whoever has lost everything has lost the Secrets, too. */
#include "agent/source_api_internal.h"

#include <inttypes.h>

#include "agent/codec.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/heap.h"
#include "common/json_thin.h"
#include "common/str.h"

enum { BODY_MAX = 4 << 20, STATUS_OK = 200, STATUS_FORBIDDEN = 403, STATUS_TOO_MANY = 429, STATUS_UNAVAILABLE = 503 };
static const uint64_t TIMEOUT_USEC = 30 * USEC_PER_SEC;
static const struct backoff_policy AGAIN = { .first_usec = USEC_PER_SEC,
					     .max_usec = 120 * USEC_PER_SEC,
					     .reset_usec = 600 * USEC_PER_SEC,
					     .factor = 2.0,
					     .jitter = 0.5 };
/* Until it has to be said again: so many times syncFrequency, within a limit. */
enum { CONFIRM_SYNCS = 5 };
enum { RECALLS_MAX = 3 };
static const uint64_t CONFIRM_MAX_USEC = 300 * USEC_PER_SEC;

static struct known_pod *next_in_doubt(struct source_api *s)
{
	struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		if (k->in_doubt && !k->said_gone)
			return k;
	return NULL;
}

static size_t count_in_doubt(const struct source_api *s)
{
	const struct known_pod *k;
	size_t n = 0;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		n += k->in_doubt;
	return n;
}

/* All of them are to be asked for, anew. */
static void forget_answers(struct source_api *s)
{
	struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		k->said_gone = false;
}

static void ask_next(struct source_api *s);

bool api_doubt_has_gone_back(const struct source_api *s)
{
	return s->server.epoch != s->pods_epoch;
}

/* One that is under way is as good, and would never come to its end if it were begun anew each time. */
static void list_again(struct source_api *s)
{
	if (!follower_is_listing(&s->pods))
		follower_do_later(&s->pods, TODO_REFRESH);
}

static void ask_again_later(struct source_api *s, const char *key, const char *why)
{
	struct err e = ERR_INIT;

	err_set(&e, -EAGAIN, "the list of pods %s, and whether pod %s is gone is not certain: %s",
		api_doubt_has_gone_back(s) ? "is of an older state" : "is empty", key, why);
	if (!str_eq(s->doubt.failure, err_text(&e)))
		log_warning(LOG_F({ "server", http_server(s->http) }, { "node", s->node_name }), "%s", err_text(&e));
	api_keep_text(&s->doubt.failure, err_text(&e));
	loop_timer_set(s->doubt.timer, backoff_next(&s->doubt.backoff, loop_now(s->loop), random01()));
}

/* A sleep has ended what was asked: nothing is wrong, and nobody is told. */
static void ask_again_soon(struct source_api *s)
{
	loop_timer_set(s->doubt.timer, (uint64_t)(random01() * (double)AGAIN.first_usec));
}

static const char *meta(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(json_object_get(obj, "metadata"), key));
}

static const char *node_of(const json_t *obj)
{
	return json_string_value(json_object_get(json_object_get(obj, "spec"), "nodeName"));
}

/* A 200 with anything else, as a page in JSON or a Status, says nothing of the pod. Nor does one with a part of it: a pod that
 * has been on a node is never on none. */
static bool is_that_pod(const struct known_pod *k, const json_t *obj)
{
	const char *ns = meta(obj, "namespace"), *name = meta(obj, "name"), *uid = meta(obj, "uid");
	size_t len = ns ? strlen(ns) : 0;

	return str_eq(json_string_value(json_object_get(obj, "kind")), "Pod") && uid && *uid && ns && name &&
	       strncmp(k->key, ns, len) == 0 && k->key[len] == '/' && str_eq(k->key + len + 1, name) &&
	       (!str_eq(uid, k->uid) || !str_empty(node_of(obj)));
}

/* The pod is there, with the uid that we know, on our node. */
static bool is_the_same(const struct source_api *s, const struct known_pod *k, const json_t *obj)
{
	return str_eq(meta(obj, "uid"), k->uid) && str_eq(node_of(obj), s->node_name);
}

/* Some pod is there of which nobody doubts it. */
static bool has_others(const struct source_api *s)
{
	const struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		if (k->uid && !k->in_doubt && !k->mirror)
			return true;
	return false;
}

/* A proxy has its own 404, and so has a server that knows no such path: it is an API server's word that counts. */
static void refused(struct source_api *s, struct known_pod *k, int status, const struct buf *body)
{
	const char *slash = strchr(k->key, '/');
	const struct api_resource resource = { .plural = "pods", .field_value = slash + 1 };
	struct api_failure f;

	/* a list that has others says so to whoever may not ask */
	if (api_says_absent(&resource, status, body->data, body->len) ||
	    (status == STATUS_FORBIDDEN && api_doubt_has_gone_back(s) && has_others(s))) {
		k->said_gone = true;
		ask_next(s);
		return;
	}
	api_failure_from_body(status, body->data, body->len, &f);
	ask_again_later(s, k->key, err_text(&f.err));
}

static void answered(struct source_api *s, struct known_pod *k, const struct http_result *result,
		     const struct buf *body)
{
	cleanup_json json_t *obj = NULL;
	struct err e = ERR_INIT;

	if (result->err.code == -ECONNABORTED) {
		ask_again_soon(s);
	} else if (result->err.code != 0) {
		ask_again_later(s, k->key, err_text(&result->err));
	} else if (result->status != STATUS_OK) {
		refused(s, k, result->status, body);
	} else if (json_parse(body->len ? body->data : "", body->len, &obj, &e) < 0) {
		ask_again_later(s, k->key, err_text(&e));
	} else if (!is_that_pod(k, obj)) {
		ask_again_later(s, k->key, "the answer is not that pod");
	} else if (is_the_same(s, k, obj)) {
		s->doubt.phase = DOUBT_ASKS;
		forget_answers(s);
		ask_again_later(s, k->key, "it is there");
		list_again(s);
	} else {
		k->said_gone = true;
		ask_next(s);
	}
}

static void on_head(void *userdata, int status)
{
	struct source_api *s = userdata;

	s->last_contact_usec = clock_realtime_usec();
	api_answered(s, status);
}

static void on_done(void *userdata, const struct http_result *result)
{
	struct source_api *s = userdata;
	struct known_pod *k = map_get_str(&s->known_pods, s->doubt.key);
	cleanup_buf struct buf body = s->doubt.body;

	s->doubt.body = BUF_INIT(BODY_MAX);
	s->doubt.request = NULL;
	if (!k || !k->in_doubt)
		ask_next(s);
	else
		answered(s, k, result, &body);
}

/* An answer that is longer than it may be is done. */
static void keep_body(struct source_api *s, const char *data, size_t len,
		      void (*done)(void *userdata, const struct http_result *result))
{
	struct http_result result = { .retry_after_sec = -1 };

	if (buf_add(&s->doubt.body, data, len) == 0)
		return;
	http_cancel(s->doubt.request);
	err_set(&result.err, -EFBIG, "the answer is too long");
	done(s, &result);
}

static void on_body(void *userdata, const char *data, size_t len)
{
	keep_body(userdata, data, len, on_done);
}

static void ask(struct source_api *s, const struct known_pod *k)
{
	static const struct http_callbacks callbacks = { .head = on_head, .body = on_body, .done = on_done };
	const char *slash = strchr(k->key, '/');
	cleanup_free char *ns = strndup(k->key, (size_t)(slash - k->key)), *target = NULL;
	const struct api_resource resource = { .plural = "pods", .ns = ns, .field_value = slash + 1 };
	int r = ns ? api_object_target(&resource, NULL, &target) : -ENOMEM;

	api_keep_text(&s->doubt.key, k->key);
	if (r == 0 && s->doubt.key)
		r = http_get(s->http, &(struct http_get){ .target = target, .timeout_usec = TIMEOUT_USEC }, &callbacks,
			     s, &s->doubt.request);
	if (r < 0 || !s->doubt.key)
		ask_again_later(s, k->key, "out of memory");
}

/* Whom the last list does not have either, and nobody was to be asked for: of which nothing was ever told, so it has no volumes, or
 * that came with an older state and went while it was doubted. Who has come since then is of a later list, or of the watch. */
static void drop_unlisted(struct source_api *s)
{
	struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		if (k->generation < s->doubt.generation)
			api_pod_gone(s, k);
}

/* A list may be believed: another pod has come, and it says which of those before are gone to whoever cannot ask for them; or
 * all are there again, where the others prove nothing. */
static bool is_list_worth_it(const struct source_api *s)
{
	return api_doubt_has_gone_back(s) ? count_in_doubt(s) == 0 : has_others(s);
}

static void wait_for_confirmation(struct source_api *s)
{
	uint64_t wait_usec = MIN(CONFIRM_SYNCS * s->tuning.sync_usec, CONFIRM_MAX_USEC);
	size_t n = count_in_doubt(s);
	struct err e = ERR_INIT;
	char who[96];

	if (api_doubt_has_gone_back(s))
		snprintf(who, sizeof(who), "the API server has gone back to an older state; %zu %s", n,
			 n == 1 ? "pod has" : "pods have");
	else
		snprintf(who, sizeof(who), n == 1 ? "the one pod of the node has" : "all %zu pods of the node have", n);
	err_set(&e, -EAGAIN,
		"%s vanished at once, by the API server's word: the volumes stay until it says so again, in %" PRIu64
		" s",
		who, (wait_usec + USEC_PER_SEC - 1) / USEC_PER_SEC);
	log_warning(LOG_F({ "server", http_server(s->http) }, { "node", s->node_name }), "%s", err_text(&e));
	api_keep_text(&s->doubt.failure, err_text(&e));
	s->doubt.phase = DOUBT_WAITS;
	loop_timer_set(s->doubt.timer, wait_usec);
	if (is_list_worth_it(s))
		list_again(s);
}

/* It was said of each, and twice of whoever has volumes. */
static void believe(struct source_api *s)
{
	bool has_elders = false;
	struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));) {
		if (!k->in_doubt)
			continue;
		has_elders |= k->has_elder;
		api_pod_gone(s, k);
	}
	/* now there is room for these */
	if (has_elders)
		list_again(s);
	drop_unlisted(s);
	api_doubt_end(s);
	if (map_count(&s->known_pods) == 0)
		log_info(LOG_F({ "node", s->node_name }), "no pod of this node is left");
	api_pods_told(s);
}

/* ---- what the storage remembers ---- */

static bool may_remember(const struct source_api *s)
{
	return s->doubt.phase == DOUBT_ASKS && !s->doubt.has_recalled && s->doubt.version && count_in_doubt(s) > 0 &&
	       !api_doubt_has_gone_back(s);
}

static void note_recalled(struct source_api *s, const json_t *obj)
{
	const char *ns = meta(obj, "namespace"), *name = meta(obj, "name");
	cleanup_free char *key = ns && name ? str_format("%s/%s", ns, name) : NULL;
	struct known_pod *k = key ? map_get_str(&s->known_pods, key) : NULL;

	if (k && is_the_same(s, k, obj))
		k->recalled = true;
}

/* An answer with anything else than what was asked for remembers nothing. */
static bool remembers_all(struct source_api *s, const struct buf *body)
{
	cleanup_json json_t *list = NULL;
	struct json_issue issue;
	struct known_pod *k;
	const json_t *obj;
	size_t i;

	if (json_parse_thin(body->len ? body->data : "", body->len, &list, NULL) < 0 ||
	    codec_expect(list, "v1", "PodList", &issue) < 0 || !str_eq(codec_resource_version(list), s->doubt.version))
		return false;
	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		k->recalled = false;
	json_array_foreach (json_object_get(list, "items"), i, obj)
		note_recalled(s, obj);
	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		if (k->in_doubt && !k->recalled)
			return false;
	return true;
}

/* Nobody has answered, or not for now. Who does so each time, as one for whom it takes too long to read all pods of the cluster
 * from its storage, is as one that does not remember. */
static bool is_to_be_asked_again(struct source_api *s, const struct http_result *result)
{
	if (++s->doubt.n_recalls >= RECALLS_MAX)
		return false;
	return (result->err.code != 0 && result->err.code != -EFBIG) || result->status == STATUS_TOO_MANY ||
	       result->status == STATUS_UNAVAILABLE;
}

static void on_recalled(void *userdata, const struct http_result *result)
{
	struct source_api *s = userdata;
	cleanup_buf struct buf body = s->doubt.body;
	size_t len = body.len;

	s->doubt.body = BUF_INIT(BODY_MAX);
	s->doubt.request = NULL;
	if (result->err.code == -ECONNABORTED) {
		ask_again_soon(s);
		return;
	}
	if (is_to_be_asked_again(s, result)) {
		ask_again_later(s, s->doubt.key, "the API server does not say what it remembers");
		return;
	}
	s->doubt.has_recalled = true;
	if (result->err.code == 0 && result->status == STATUS_OK && remembers_all(s, &body)) {
		s->doubt.phase = DOUBT_CONFIRMS;
		forget_answers(s);
	}
	buf_deinit(&body);
	heap_give_back(len);
	ask_next(s);
}

static void on_recalled_body(void *userdata, const char *data, size_t len)
{
	keep_body(userdata, data, len, on_recalled);
}

static void recall(struct source_api *s)
{
	static const struct http_callbacks callbacks = { .head = on_head,
							 .body = on_recalled_body,
							 .done = on_recalled };
	const struct api_list list = { .resource_version = s->doubt.version, .exact = true };
	cleanup_free char *target = NULL;
	int r = api_list_target(&s->pods.resource, &list, &target);

	s->doubt.body = BUF_INIT(REFLECTOR_LIST_BYTES_MAX); /* as any list of pods */
	if (r == 0)
		r = http_get(s->http, &(struct http_get){ .target = target, .timeout_usec = TIMEOUT_USEC }, &callbacks,
			     s, &s->doubt.request);
	if (r < 0)
		ask_again_later(s, s->doubt.key, "out of memory");
}

/* ---- one after the other ---- */

static void ask_next(struct source_api *s)
{
	const struct known_pod *k = next_in_doubt(s);
	uint64_t delay;

	if (!k && !may_remember(s)) {
		if (s->doubt.phase == DOUBT_ASKS && count_in_doubt(s) > 0)
			wait_for_confirmation(s);
		else
			believe(s);
		return;
	}
	delay = s->doubt.admitted ? 0 : server_admit_prompt(&s->server, loop_now(s->loop), UINT64_MAX);
	s->doubt.admitted = delay > 0;
	if (delay > 0)
		loop_timer_set(s->doubt.timer, delay);
	else if (k)
		ask(s, k);
	else
		recall(s);
}

static void on_timer(struct loop_source *source, void *userdata)
{
	struct source_api *s = userdata;

	if (s->doubt.phase == DOUBT_WAITS) {
		s->doubt.phase = DOUBT_LISTS;
		list_again(s);
		return;
	}
	if (s->doubt.request)
		return;
	if (!s->doubt.admitted && is_list_worth_it(s))
		list_again(s);
	ask_next(s);
}

/* Those that this list does not have. */
static size_t put_in_doubt(struct source_api *s)
{
	struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		k->in_doubt = api_doubt_concerns(s, k);
	return count_in_doubt(s);
}

bool api_doubt_concerns(const struct source_api *s, const struct known_pod *k)
{
	bool came_with_it = api_doubt_has_gone_back(s) && s->doubt.phase != DOUBT_NONE &&
			    k->first_generation >= s->doubt.first_generation;

	return k->uid && k->generation != s->generation && !came_with_it;
}

void api_doubt_begin(struct source_api *s)
{
	size_t n = put_in_doubt(s);

	s->doubt.generation = s->generation;
	switch (s->doubt.phase) {
	case DOUBT_NONE:
		log_warning(
			LOG_F({ "server", http_server(s->http) }, { "node", s->node_name }),
			api_doubt_has_gone_back(s)
				? "the list of pods is of an older state; each of the %zu that it lacks is asked for "
				  "before its volumes go"
				: "the list of pods is empty; each of the %zu known ones is asked for before its "
				  "volumes go",
			n);
		if (!s->doubt.timer && loop_add_timer(s->loop, on_timer, s, &s->doubt.timer) < 0)
			return; /* nothing goes; the next list is another chance */
		s->doubt.first_generation = s->generation;
		s->doubt.phase = DOUBT_ASKS;
		break;
	case DOUBT_WAITS:
		if (!next_in_doubt(s))
			return;
		s->doubt.phase = DOUBT_ASKS; /* for those that have come and vanished since then */
		break;
	case DOUBT_LISTS:
		s->doubt.phase = DOUBT_CONFIRMS;
		forget_answers(s);
		break;
	case DOUBT_ASKS:
	case DOUBT_CONFIRMS:
		return;
	}
	loop_timer_set(s->doubt.timer, 0);
}

/* The phase stays: what that list says is what counts, and if it is empty, too, there is all the more to be confirmed. */
void api_doubt_pod_came(struct source_api *s)
{
	if ((s->doubt.phase == DOUBT_ASKS || s->doubt.phase == DOUBT_WAITS) &&
	    (!api_doubt_has_gone_back(s) || count_in_doubt(s) == 0))
		list_again(s);
}

void api_doubt_list_begins(struct source_api *s)
{
	if (s->doubt.phase == DOUBT_NONE)
		api_keep_text(&s->doubt.version, s->pods.reflector ? reflector_version(s->pods.reflector) : NULL);
}

bool api_doubt_is_general(const struct source_api *s)
{
	return s->doubt.phase != DOUBT_NONE || s->expects_pods || s->pods_lost;
}

void api_doubt_end(struct source_api *s)
{
	struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		k->in_doubt = k->said_gone = false;
	http_cancel(TAKE_PTR(s->doubt.request));
	buf_deinit(&s->doubt.body);
	s->doubt.body = BUF_INIT(BODY_MAX);
	if (s->doubt.timer)
		loop_timer_off(s->doubt.timer);
	backoff_reset(&s->doubt.backoff);
	api_keep_text(&s->doubt.failure, NULL);
	s->doubt.phase = DOUBT_NONE;
	s->doubt.admitted = s->doubt.has_recalled = false;
	s->doubt.n_recalls = 0;
}

void api_doubt_init(struct source_api *s)
{
	s->doubt.backoff = BACKOFF_INIT(&AGAIN);
	s->doubt.body = BUF_INIT(BODY_MAX);
}

void api_doubt_deinit(struct source_api *s)
{
	http_cancel(TAKE_PTR(s->doubt.request));
	loop_source_free(s->doubt.timer);
	buf_deinit(&s->doubt.body);
	free(s->doubt.failure);
	free(s->doubt.key);
	free(s->doubt.version);
}
