/* The API server's pods of this node: one reflector, by spec.nodeName. Pods are known by namespace and name, as in the
 * events, so that a pod that took another's name is told as one that went and one that came. */
#include "agent/source_api_internal.h"

#include "agent/codec.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

enum {
	KNOWN_PODS_MAX = 20000, /* finished ones stay at the server for a while; a kubelet runs some hundred */
	REFUSED_MAX = 1000, /* refused objects that are remembered: they must not take the place of good ones */
};

static void known_pod_free(struct known_pod *k)
{
	free(k->key);
	free(k->uid);
	free(k->version);
	free(k->rejected);
	free(k->rejected_uid);
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
		k->first_generation = s->generation;
		k->key = strdup(key);
		if (!k->key || map_add_str(&s->known_pods, k->key, k) < 0) {
			known_pod_free(k);
			return -ENOMEM;
		}
	}
	*ret_k = k;
	return 0;
}

static void pod_weigh(struct source_api *s, struct known_pod *k, size_t weight)
{
	bool less = weight < k->weight;

	s->pods_weight += weight - k->weight;
	k->weight = weight;
	/* who was refused for want of room is told again by a list */
	if (less && s->n_no_room > 0)
		follower_do_later(&s->pods, TODO_REFRESH);
}

static void pod_note_room(struct source_api *s, struct known_pod *k, bool no_room)
{
	s->n_no_room += no_room - k->no_room;
	k->no_room = no_room;
}

static void pod_accepted(struct source_api *s, struct known_pod *k)
{
	if (!k->rejected)
		return;
	free(TAKE_PTR(k->rejected));
	free(TAKE_PTR(k->rejected_uid));
	s->n_rejected--;
	if (k->rejected_said)
		log_info(LOG_F({ "pod", k->key }), "accepted again");
	k->rejected_said = false;
}

static void pod_refused(struct source_api *s, struct known_pod *k, const char *uid, const struct json_issue *issue)
{
	struct err e = ERR_INIT;

	api_keep_text(&k->rejected_uid, uid && codec_is_uid(uid) ? uid : NULL);
	err_set(&e, -EINVAL, "pod %s: %s%s%s", k->key, issue->path, *issue->path ? ": " : "", issue->reason);
	if (str_eq(k->rejected, err_text(&e)))
		return;
	k->rejected_said |= api_warn_of_refusal(s, LOG_F({ "pod", k->key }), err_text(&e));
	s->n_rejected += !k->rejected;
	api_keep_text(&k->rejected, err_text(&e));
	if (!k->uid && s->n_rejected > REFUSED_MAX)
		api_pod_gone(s, k);
}

void api_pod_gone(struct source_api *s, struct known_pod *k)
{
	map_remove_str(&s->known_pods, k->key);
	s->n_rejected -= !!k->rejected;
	pod_note_room(s, k, false);
	pod_weigh(s, k, 0);
	if (k->uid)
		s->sink->pod_removed(s->userdata, k->uid);
	known_pod_free(k);
}

void api_pod_refusals(const struct source *source, source_refusal_fn fn, void *userdata)
{
	const struct source_api *s = api_of(source);
	const struct known_pod *k;

	for (size_t it = 0; (k = map_next(&s->known_pods, &it));) {
		const char *slash = strchr(k->key, '/');
		cleanup_free char *ns = k->rejected && slash ? strndup(k->key, (size_t)(slash - k->key)) : NULL;

		if (ns)
			fn(userdata, &(struct source_refusal){ .ns = ns,
							       .name = slash + 1,
							       .uid = k->rejected_uid ?: "",
							       .file = "",
							       .error = k->rejected });
	}
}

const char *api_pod_no_room(const struct source_api *s)
{
	const struct known_pod *k;

	for (size_t it = 0; s->n_no_room > 0 && (k = map_next(&s->known_pods, &it));)
		if (k->no_room && k->rejected)
			return k->rejected;
	return NULL;
}

static void pod_there(struct source_api *s, struct known_pod *k, struct pod *pod)
{
	pod_accepted(s, k);
	if (k->uid && k->version && str_eq(k->version, pod->resource_version))
		return;
	if (!k->uid)
		api_keep_text(&k->uid, pod->uid);
	if (!k->uid)
		return;
	api_keep_text(&k->version, pod->resource_version);
	s->sink->pod_changed(s->userdata, pod);
}

/* As the codec sees it: also one that is refused for something else. */
static bool is_mirror(const json_t *obj)
{
	const json_t *annotations = json_object_get(json_object_get(obj, "metadata"), "annotations");

	return json_object_get(annotations, "kubernetes.io/config.mirror") != NULL;
}

/* NULL: none, or with NUL in it. */
static const char *meta_str(const json_t *obj, const char *key)
{
	const json_t *value = json_object_get(json_object_get(obj, "metadata"), key);
	const char *text = json_string_value(value);

	return text && strlen(text) == json_string_length(value) ? text : NULL;
}

/* Its name belongs to another pod now, even if that one makes no sense. */
static void pod_replaced(struct source_api *s, struct known_pod *k, const char *uid)
{
	cleanup_free char *old_uid = NULL;

	if (!k->uid || !uid || !codec_is_uid(uid) || str_eq(k->uid, uid))
		return;
	old_uid = TAKE_PTR(k->uid);
	api_keep_text(&k->version, NULL);
	pod_weigh(s, k, 0);
	s->sink->pod_removed(s->userdata, old_uid);
}

/* What was told of it before stays as it was. */
static bool pod_has_room(struct source_api *s, struct known_pod *k, const struct pod *pod, struct json_issue *issue)
{
	size_t weight = pod_weight(pod), others = s->pods_weight - k->weight;
	const struct json_at all = JSON_ROOT;

	if (weight > k->weight && weight > PODS_WEIGHT_MAX - MIN(others, PODS_WEIGHT_MAX)) {
		json_issue_set(
			issue, &all,
			"no room for it: it would take %zu KiB with its %zu volumes of %zu objects, and all pods "
			"of the node may take %zu KiB",
			weight >> 10, pod->n_volumes, pod->n_objects, PODS_WEIGHT_MAX >> 10);
		return false;
	}
	pod_weigh(s, k, weight);
	return true;
}

static void pod_decode(struct source_api *s, struct known_pod *k, const json_t *obj)
{
	cleanup_pod struct pod *pod = NULL;
	struct json_issue issue = { .reason = "" };
	bool no_room;
	int r;

	pod_replaced(s, k, meta_str(obj, "uid"));
	r = codec_pod(obj, &pod, &issue);
	no_room = r == 0 && !pod_has_room(s, k, pod, &issue);
	pod_note_room(s, k, no_room);
	if (r < 0 || no_room)
		pod_refused(s, k, meta_str(obj, "uid"), &issue);
	else
		pod_there(s, k, pod);
}

/* Whoever takes another's name is younger. Else it is a pod of before, out of a backup that is older than the one that is known. */
static bool is_elder(const struct known_pod *k, const json_t *obj)
{
	return k->uid && k->version && !str_eq(k->uid, meta_str(obj, "uid")) &&
	       server_is_lower(codec_resource_version(obj), k->version);
}

/* It cannot be told beside the other; it is when that is said to be gone. */
static void meet_elder(struct source_api *s, struct known_pod *k, const char *version)
{
	if (!k->has_elder)
		api_warn_of_refusal(s, LOG_F({ "pod", k->key }),
				    "ignored, for now: a pod from before the one of this name that is known");
	/* a watch says nothing of those that it lacks */
	if (!k->has_elder && !follower_is_listing(&s->pods))
		follower_do_later(&s->pods, TODO_REFRESH);
	k->has_elder = true;
	/* a storage that was restored may have been given a higher version */
	if (!api_doubt_has_gone_back(s) && server_goes_back(&s->server, s->server.epoch, k->version, version))
		api_went_back(&s->pods);
}

static void pod_object(void *userdata, enum reflector_event event, const json_t *obj)
{
	struct source_api *s = ((struct follower *)userdata)->source;
	const char *ns = meta_str(obj, "namespace"), *name = meta_str(obj, "name");
	const char *node = json_string_value(json_object_get(json_object_get(obj, "spec"), "nodeName"));
	struct known_pod *k = NULL;
	char key[512];
	int r;

	if (!ns || !name || snprintf(key, sizeof(key), "%s/%s", ns, name) >= (int)sizeof(key)) {
		api_warn_of_refusal(s, NULL, "ignored a pod without namespace or name");
		return;
	}
	if (event == REFLECTOR_DELETED) {
		k = map_get_str(&s->known_pods, key);
		if (k && k->has_elder && !str_eq(k->uid, meta_str(obj, "uid")))
			k->has_elder = false;
		else if (k)
			api_pod_gone(s, k);
		return;
	}
	if (!str_eq(node, s->node_name)) {
		api_warn_of_refusal(s, LOG_F({ "pod", key }), "ignored a pod of another node");
		return;
	}
	r = find_or_add_pod(s, key, &k);
	if (r < 0) {
		api_warn_of_refusal(s, LOG_F({ "pod", key }),
				    r == -ENOBUFS ? "ignored: too many pods" : "ignored: out of memory");
		return;
	}
	if (is_elder(k, obj)) {
		meet_elder(s, k, codec_resource_version(obj));
		return;
	}
	k->generation = s->generation;
	k->has_elder = false;
	k->in_doubt = k->said_gone = false; /* also of one that comes while the others are asked for */
	k->mirror = is_mirror(obj);
	s->n_listed += !k->mirror;
	if (!k->mirror)
		api_doubt_pod_came(s);
	pod_decode(s, k, obj);
}

static void pods_list_begin(void *userdata)
{
	struct source_api *s = ((struct follower *)userdata)->source;

	s->generation++;
	s->n_listed = 0;
	api_doubt_list_begins(s);
}

/* All that there were, at once. A mirror pod proves nothing: the kubelet makes it at any API server that has none. */
static bool have_all_vanished(const struct source_api *s)
{
	const struct known_pod *k;

	for (size_t it = 0; s->n_listed == 0 && (k = map_next(&s->known_pods, &it));)
		if (!k->mirror && k->generation != s->generation)
			return true;
	return false;
}

/* What a storage that has gone back does not have may just be younger than its memory. */
static bool lacks_some_of_before(const struct source_api *s)
{
	const struct known_pod *k;

	for (size_t it = 0; api_doubt_has_gone_back(s) && (k = map_next(&s->known_pods, &it));)
		if (!k->mirror && api_doubt_concerns(s, k))
			return true;
	return false;
}

static void pods_recovered(void *userdata)
{
	struct source_api *s = ((struct follower *)userdata)->source;

	api_keep_text(&s->pods_failure, NULL);
	if (!s->pods_failure_said)
		return;
	s->pods_failure_said = false;
	log_info(LOG_F({ "server", http_server(s->http) }, { "node", s->node_name }), "pods can be read again");
}

static void pods_list_end(void *userdata)
{
	struct source_api *s = ((struct follower *)userdata)->source;
	struct known_pod *k;

	/* the reflector forgets what it has told when it is refreshed */
	pods_recovered(userdata);
	s->pods_lost = false;
	if (have_all_vanished(s) || lacks_some_of_before(s)) {
		api_doubt_begin(s);
		return;
	}
	api_doubt_end(s);
	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		if (k->generation != s->generation)
			api_pod_gone(s, k);
	api_pods_told(s);
}

void api_pods_told(struct source_api *s)
{
	s->pods_told = true;
	s->pods_epoch = s->server.epoch;
	s->expects_pods = false;
	api_objects_end_doubt(s);
	s->sink->pods_synced(s->userdata);
}

/* An object that was refused is not there for anybody; its uid is what an earlier process had told. */
int api_expect_pod(struct source *source, const char *ns, const char *name, const char *uid)
{
	struct source_api *s = api_of(source);
	struct known_pod *k;
	char key[512];
	int r;

	if (snprintf(key, sizeof(key), "%s/%s", ns, name) >= (int)sizeof(key))
		return -ENAMETOOLONG;
	r = find_or_add_pod(s, key, &k);
	if (r < 0)
		return r;
	if (!k->uid)
		api_keep_text(&k->uid, uid);
	s->expects_pods = true;
	return k->uid ? 0 : -ENOMEM;
}

static void pods_failed(void *userdata, const struct err *e, int status)
{
	struct source_api *s = ((struct follower *)userdata)->source;

	if (!s->pods_failure)
		s->pods_failed_usec = clock_realtime_usec();
	api_keep_text(&s->pods_failure, err_text(e));
	s->pods_reason = reason_of_answer(status, e);
	if (!api_is_news(s, &s->pods_said, err_text(e)))
		return;
	s->pods_failure_said = true;
	log_warning(LOG_F({ "server", http_server(s->http) }, { "node", s->node_name }), "pods: %s", err_text(e));
}

static const struct reflector_handler POD_HANDLER = {
	.list_begin = pods_list_begin,
	.object = pod_object,
	.list_end = pods_list_end,
	.failed = pods_failed,
	.recovered = pods_recovered,
};

void api_pods_init(struct source_api *s)
{
	follower_init(&s->pods, s,
		      &(struct api_resource){ .plural = "pods",
					      .kind = "Pod",
					      .list_kind = "PodList",
					      .field = "spec.nodeName",
					      .field_value = s->node_name },
		      &POD_HANDLER, s);
}

void api_pods_deinit(struct source_api *s)
{
	struct known_pod *k;

	follower_deinit(&s->pods);
	api_doubt_deinit(s);
	for (size_t it = 0; (k = map_next(&s->known_pods, &it));)
		known_pod_free(k);
	map_deinit(&s->known_pods);
	free(s->pods_failure);
	free(s->pods_said.text);
}
