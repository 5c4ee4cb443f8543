/* The Node object of this node, for its annotation node.alpha.kubernetes.io/ttl: how old a Secret may become under the
 * strategy Cache. The cluster's controller writes it, the more seconds the more nodes there are. And for what is
 * allocatable on it, which some pods show. It is asked for once at the start, which also tells whether there is such a
 * node at all, and at every sync under Cache or when some pod needs it. */
#include "agent/source_api_internal.h"

#include "agent/codec.h"
#include "common/log.h"
#include "common/str.h"

#define TTL_ANNOTATION "node.alpha.kubernetes.io/ttl"
#define TTL_MAX_SEC    (UINT64_C(24) * 3600)
static const double SYNC_JITTER = 0.5; /* as the kubelet's pod workers */

static int64_t parse_ttl(const json_t *obj)
{
	const json_t *annotations = json_object_get(json_object_get(obj, "metadata"), "annotations");
	const char *text = json_string_value(json_object_get(annotations, TTL_ANNOTATION));
	uint64_t sec;

	if (!text || str_parse_u64(text, TTL_MAX_SEC, &sec) < 0)
		return -1;
	return (int64_t)sec;
}

static void node_says_ttl(struct source_api *s, int64_t ttl_sec)
{
	if (ttl_sec == s->node_ttl_sec)
		return;
	s->node_ttl_sec = ttl_sec;
	if (s->tuning.strategy == SOURCE_CACHE)
		api_objects_retune(s, SOURCE_CACHE);
}

static void node_says_allocatable(struct source_api *s, const json_t *obj)
{
	cleanup(pairs_deinit) struct pairs fresh = { .n = 0 };
	struct json_issue issue = { .reason = "" };
	struct err e = ERR_INIT;
	int r = codec_allocatable(obj, &fresh, &issue);

	if (r < 0) {
		/* it is asked for at each sync */
		err_set(&e, r, "the node's %s: %s", issue.path, issue.reason);
		if (!str_eq(s->node_refused, err_text(&e)) &&
		    api_warn_of_refusal(s, LOG_F({ "node", s->node_name }), err_text(&e)))
			api_keep_text(&s->node_refused, err_text(&e));
		return;
	}
	api_keep_text(&s->node_refused, NULL);
	if (pairs_same(&fresh, &s->allocatable) || !s->sink->node_changed)
		return;
	pairs_deinit(&s->allocatable);
	s->allocatable = fresh;
	fresh = (struct pairs){ .n = 0 };
	s->sink->node_changed(s->userdata, &s->allocatable);
}

static void node_list_begin(void *userdata)
{
	((struct follower *)userdata)->source->node_seen = false;
}

static void node_object(void *userdata, enum reflector_event event, const json_t *obj)
{
	struct source_api *s = ((struct follower *)userdata)->source;

	s->node_seen = true;
	s->node_missing_told = false;
	node_says_ttl(s, parse_ttl(obj));
	node_says_allocatable(s, obj);
}

static void node_list_end(void *userdata)
{
	struct source_api *s = ((struct follower *)userdata)->source;

	if (s->node_seen)
		return;
	if (!s->node_missing_told)
		log_info(LOG_F({ "node", s->node_name }),
			 "the cluster has no Node object of this name; pods that are bound to it are served all the "
			 "same");
	s->node_missing_told = true;
	node_says_ttl(s, -1);
}

static void node_failed(void *userdata, const struct err *e, int status)
{
	struct source_api *s = ((struct follower *)userdata)->source;

	log_debug(LOG_F({ "node", s->node_name }), "node: %s", err_text(e));
}

static void node_recovered(void *userdata)
{
}

static const struct reflector_handler NODE_HANDLER = {
	.list_begin = node_list_begin,
	.object = node_object,
	.list_end = node_list_end,
	.failed = node_failed,
	.recovered = node_recovered,
};

uint64_t api_node_ttl(const struct source_api *s)
{
	return s->node_ttl_sec >= 0 ? (uint64_t)s->node_ttl_sec * USEC_PER_SEC : s->tuning.cache_ttl_usec;
}

static void set_pace(struct source_api *s)
{
	bool polls = s->node_needed || s->tuning.strategy == SOURCE_CACHE;

	follower_set_pace(&s->node, &(struct poller_pace){ .period_usec = polls ? s->tuning.sync_usec : 0,
							   .jitter = SYNC_JITTER });
}

void api_node_init(struct source_api *s)
{
	s->node_ttl_sec = -1;
	follower_init(&s->node, s,
		      &(struct api_resource){ .plural = "nodes",
					      .kind = "Node",
					      .list_kind = "NodeList",
					      .field = "metadata.name",
					      .field_value = s->node_name },
		      &NODE_HANDLER, s);
	set_pace(s);
}

void api_node_deinit(struct source_api *s)
{
	follower_deinit(&s->node);
	pairs_deinit(&s->allocatable);
	free(s->node_refused);
}

void api_need_node(struct source *source)
{
	struct source_api *s = api_of(source);

	if (s->node_needed)
		return;
	s->node_needed = true;
	set_pace(s);
	if (s->started)
		follower_do_later(&s->node, TODO_ASK);
}

int api_node_start(struct source_api *s)
{
	return follower_do_later(&s->node, TODO_START);
}

void api_node_retune(struct source_api *s)
{
	set_pace(s);
	if (s->started && s->tuning.strategy == SOURCE_CACHE)
		follower_do_later(&s->node, TODO_ASK);
}
