/* Doubt: a list of pods that has none of those that were there before is not believed at once. It may be what is left after
 * a change of permissions, the answer of another cluster or of a filter in between, and to believe it would take every
 * pod's volumes away. So each of them is asked for by its name, one after the other, in its most recent state: what is
 * not found, or is another pod or another node's now, is said to be gone; anything else keeps it, and is asked again with
 * backoff until a list has pods again.
 *
 * Nor is it enough that each is said to be gone. A cluster whose etcd came up empty or out of an old backup, or another
 * cluster behind the same address, says that, too, and kubelets then kill their pods, but whoever mends it has a chance. So it
 * has to be said twice, by a list and of each pod, with some time in between. Nothing is lost by that: a pod that is deleted
 * while the agent watches, or one of several, goes at once, and those of a node that has lost all of them while nobody
 * watched have no containers any more that could read their volumes.
 *
 * Meanwhile no word that a Secret is not there is believed either; nor is it after the server was lost, until the pods have been
 * listed: a Secret may be asked for first, and whoever has lost everything has lost the Secrets, too. */
#include "agent/source_api_internal.h"

#include <inttypes.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/str.h"

enum { BODY_MAX = 4 << 20, STATUS_OK = 200 };
static const uint64_t TIMEOUT_USEC = 30 * USEC_PER_SEC;
static const struct backoff_policy AGAIN = { .first_usec = USEC_PER_SEC,
					     .max_usec = 120 * USEC_PER_SEC,
					     .reset_usec = 600 * USEC_PER_SEC,
					     .factor = 2.0,
					     .jitter = 0.5 };
/* Until it has to be said again: so many times syncFrequency, within a limit. */
enum { CONFIRM_SYNCS = 5 };
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

/* One that is under way is as good, and would never come to its end if it were begun anew each time. */
static void list_again(struct source_api *s)
{
	if (!follower_is_listing(&s->pods))
		follower_do_later(&s->pods, TODO_REFRESH);
}

static void ask_again_later(struct source_api *s, const char *key, const char *why)
{
	struct err e = ERR_INIT;

	err_set(&e, -EAGAIN, "the list of pods is empty, and whether pod %s is gone is not certain: %s", key, why);
	if (!str_eq(s->doubt.failure, err_text(&e)))
		log_warning(LOG_F({ "server", http_server(s->http) }, { "node", s->node_name }), "%s", err_text(&e));
	api_keep_text(&s->doubt.failure, err_text(&e));
	loop_timer_set(s->doubt.timer, backoff_next(&s->doubt.backoff, loop_now(s->loop), random01()));
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

/* A proxy has its own 404, and so has a server that knows no such path: it is an API server's word that counts. */
static void refused(struct source_api *s, struct known_pod *k, int status, const struct buf *body)
{
	const char *slash = strchr(k->key, '/');
	const struct api_resource resource = { .plural = "pods", .field_value = slash + 1 };
	struct api_failure f;

	if (api_says_absent(&resource, status, body->data, body->len)) {
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

	if (result->err.code != 0) {
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

static void on_body(void *userdata, const char *data, size_t len)
{
	struct http_result result = { .retry_after_sec = -1 };
	struct source_api *s = userdata;

	if (buf_add(&s->doubt.body, data, len) == 0)
		return;
	http_cancel(s->doubt.request);
	err_set(&result.err, -EFBIG, "the answer is too long");
	on_done(s, &result);
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

/* Those of which nothing was ever told have no volumes. Who has come since then is of a later list, or of the watch. */
static void drop_untold(struct source_api *s)
{
	struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		if (!k->uid && k->generation < s->doubt.generation)
			api_pod_gone(s, k);
}

/* Another has come: a list has pods again, and says which of the others are gone to whoever cannot ask for them. */
static bool is_populated(struct source_api *s)
{
	const struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		if (k->uid && !k->in_doubt && !k->mirror)
			return true;
	return false;
}

static void wait_for_confirmation(struct source_api *s)
{
	uint64_t wait_usec = MIN(CONFIRM_SYNCS * s->tuning.sync_usec, CONFIRM_MAX_USEC);
	size_t n = count_in_doubt(s);
	struct err e = ERR_INIT;
	char who[64];

	snprintf(who, sizeof(who), "all %zu pods of the node have", n);
	err_set(&e, -EAGAIN,
		"%s vanished at once, by the API server's word: the volumes stay until it says so again, in %" PRIu64
		" s",
		n == 1 ? "the one pod of the node has" : who, (wait_usec + USEC_PER_SEC - 1) / USEC_PER_SEC);
	log_warning(LOG_F({ "server", http_server(s->http) }, { "node", s->node_name }), "%s", err_text(&e));
	api_keep_text(&s->doubt.failure, err_text(&e));
	s->doubt.phase = DOUBT_WAITS;
	loop_timer_set(s->doubt.timer, wait_usec);
	if (is_populated(s))
		list_again(s);
}

/* It was said of each, and twice of whoever has volumes. */
static void believe(struct source_api *s)
{
	struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		if (k->in_doubt)
			api_pod_gone(s, k);
	drop_untold(s);
	api_doubt_end(s);
	if (map_count(&s->known_pods) == 0)
		log_info(LOG_F({ "node", s->node_name }), "no pod of this node is left");
	api_pods_told(s);
}

static void ask_next(struct source_api *s)
{
	const struct known_pod *k = next_in_doubt(s);
	uint64_t delay;

	if (!k) {
		if (s->doubt.phase == DOUBT_ASKS && count_in_doubt(s) > 0)
			wait_for_confirmation(s);
		else
			believe(s);
		return;
	}
	delay = s->doubt.admitted ? 0 : server_admit(&s->server, loop_now(s->loop));
	s->doubt.admitted = delay > 0;
	if (delay > 0)
		loop_timer_set(s->doubt.timer, delay);
	else
		ask(s, k);
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
	if (!s->doubt.admitted && is_populated(s))
		list_again(s);
	ask_next(s);
}

/* Those that this list does not have. */
static size_t put_in_doubt(struct source_api *s)
{
	struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		k->in_doubt = k->uid && k->generation != s->generation;
	return count_in_doubt(s);
}

void api_doubt_begin(struct source_api *s)
{
	size_t n = put_in_doubt(s);

	s->doubt.generation = s->generation;
	switch (s->doubt.phase) {
	case DOUBT_NONE:
		log_warning(LOG_F({ "server", http_server(s->http) }, { "node", s->node_name }),
			    "the list of pods is empty; each of the %zu known ones is asked for before its volumes go",
			    n);
		if (!s->doubt.timer && loop_add_timer(s->loop, on_timer, s, &s->doubt.timer) < 0)
			return; /* nothing goes; the next list is another chance */
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
	if (s->doubt.phase == DOUBT_WAITS)
		list_again(s);
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
	s->doubt.admitted = false;
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
}
