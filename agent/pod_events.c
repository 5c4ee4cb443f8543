/* Pod events: the kubelet's words where it has them. A pod that is only remembered, or ends, is in no trouble. */
#include "agent/pod_events.h"

#include "common/buf.h"
#include "common/str.h"

/* what the kubelet says when its cache has no answer yet */
#define NO_ANSWER(what) "failed to sync " what " cache: timed out waiting for the condition"

static struct event_pod event_pod(const struct pod_state *s)
{
	return (struct event_pod){
		.ns = s->pod->ns, .name = s->pod->name, .uid = s->pod->uid, .resource_version = s->pod->resource_version
	};
}

/* A source's trouble is the volume's. */
static bool is_of_a_source(const struct volume *v)
{
	for (size_t i = 0; i < v->n_sources; i++)
		if (v->entries[i] && v->entries[i]->error[0] && str_eq(v->entries[i]->error, v->error))
			return true;
	return false;
}

bool pod_events_trouble(const struct volume *v, struct event_trouble *ret)
{
	const struct store_entry *asked = volume_asked_for(v);
	const struct pod_state *s = v->pod;

	if (!v->error[0] || v->layout_stays || s->cached || s->pod->deleting)
		return false;
	*ret = (struct event_trouble){ .pod = event_pod(s), .volume = v->spec->name, .text = v->error };
	if (asked && asked->kind == OBJECT_SECRET)
		ret->text = NO_ANSWER("secret");
	else if (asked && asked->kind == OBJECT_CONFIG_MAP)
		ret->text = NO_ANSWER("configmap");
	if (!asked && !v->is_due && !is_of_a_source(v))
		ret->doubt = EVENT_CERTAIN;
	else
		ret->doubt = v->condition == VOLUME_READY ? EVENT_STALE : EVENT_WAITING;
	return true;
}

/* "[a b]", as Go prints it; cut where there is no room. */
static void list_volumes(struct buf *b, const struct pod_state *s, bool failed_only)
{
	const char *space = "";

	buf_add_str(b, "[");
	for (size_t i = 0; i < s->n_volumes; i++) {
		const struct volume *v = &s->volumes[i];

		if (v->condition == VOLUME_READY || (failed_only && v->condition != VOLUME_FAILED))
			continue;
		buf_printf(b, "%s%s", space, v->spec->name);
		space = " ";
	}
	buf_add_str(b, "]");
}

static bool has_unmounted(const struct pod_state *s)
{
	for (size_t i = 0; i < s->n_volumes; i++)
		if (s->volumes[i].condition != VOLUME_READY)
			return true;
	return false;
}

/* WaitForAttachAndMount() of pkg/kubelet/volumemanager, since 1.25. Nothing of ours is attached first. */
bool pod_events_unmounted(const struct pod_state *s, struct event_trouble *ret)
{
	static char text[EVENTS_MESSAGE_MAX];
	cleanup_buf struct buf b = BUF_INIT(sizeof(text));

	if (s->cached || s->pod->deleting || !has_unmounted(s))
		return false;
	buf_add_str(&b, "unmounted volumes=");
	list_volumes(&b, s, false);
	buf_add_str(&b, ", unattached volumes=[], failed to process volumes=");
	list_volumes(&b, s, true);
	buf_add_str(&b, ": timed out waiting for the condition");
	snprintf(text, sizeof(text), "%.*s", (int)b.len, b.data ?: "");
	*ret = (struct event_trouble){ .pod = event_pod(s), .volume = "", .text = text, .doubt = EVENT_UNMOUNTED };
	return true;
}

void pod_events_look(const struct pods *p, struct events *ev, uint64_t now_usec)
{
	struct event_trouble trouble;

	for (size_t i = 0; i < pods_count(p); i++) {
		const struct pod_state *s = pods_at(p, i);

		for (size_t j = 0; j < s->n_volumes; j++)
			if (pod_events_trouble(&s->volumes[j], &trouble))
				events_look(ev, &trouble, now_usec);
		if (pod_events_unmounted(s, &trouble))
			events_look(ev, &trouble, now_usec);
	}
}

bool pod_events_find(const struct pods *p, const char *uid, const char *volume, struct event_trouble *ret)
{
	const struct pod_state *s = pods_find(p, uid);

	if (s && !*volume)
		return pod_events_unmounted(s, ret);
	for (size_t j = 0; s && j < s->n_volumes; j++)
		if (str_eq(s->volumes[j].spec->name, volume))
			return pod_events_trouble(&s->volumes[j], ret);
	return false;
}

/* Whether the first ones of what commas separate in two lists differ; of one that has ended it is "". Goes on to the next ones. */
static bool differ(const char **a, const char **b)
{
	size_t len_a = strcspn(*a, ","), len_b = strcspn(*b, ",");
	bool r = len_a != len_b || memcmp(*a, *b, len_a) != 0;

	*a += len_a + ((*a)[len_a] == ',');
	*b += len_b + ((*b)[len_b] == ',');
	return r;
}

/* What has rotated; a Secret counts more than a ConfigMap. Where an earlier agent has published it, nobody knows what it
 * showed but of a volume that shows nothing else. false: neither. */
static bool what_rotated(const struct volume *v, const char *before, enum event_kind *ret_kind)
{
	const struct pod_volume *spec = v->spec;
	bool differs = !str_eq(before, v->resource_version); /* else its modes or owners are others */
	bool config_map = differs && spec->kind == POD_VOLUME_CONFIG_MAP;
	bool secret = differs && spec->kind == POD_VOLUME_SECRET;
	const char *now = v->resource_version;

	for (size_t i = 0; before && spec->kind == POD_VOLUME_PROJECTED && i < spec->n_sources; i++) {
		if (!differ(&before, &now))
			continue;
		secret |= spec->sources[i].kind == POD_SOURCE_SECRET;
		config_map |= spec->sources[i].kind == POD_SOURCE_CONFIG_MAP;
	}
	*ret_kind = secret ? EVENT_SECRET_ROTATED : EVENT_CONFIG_MAP_ROTATED;
	return secret || config_map;
}

int pod_events_rotation(const struct volume *v, const char *before, enum event_kind *ret_kind, char **ret_message)
{
	const struct pod_volume *spec = v->spec;
	const char *object = spec->n_sources > 0 ? spec->sources[0].name : NULL;
	const char *word = spec->kind == POD_VOLUME_SECRET ? "secret" : "configmap";

	*ret_message = NULL;
	if (!what_rotated(v, before, ret_kind))
		return 0;
	if (spec->kind == POD_VOLUME_PROJECTED)
		*ret_message = str_format("Updated volume \"%s\": its sources are at resourceVersions %s", spec->name,
					  v->resource_version);
	else if (str_empty(v->resource_version))
		*ret_message = str_format("Updated volume \"%s\": %s \"%s\" does not exist any more", spec->name, word,
					  object);
	else
		*ret_message = str_format("Updated volume \"%s\": %s \"%s\" is at resourceVersion %s", spec->name, word,
					  object, v->resource_version);
	return *ret_message ? 0 : -ENOMEM;
}

void pod_events_rotated(struct event_sender *s, const struct volume *v, const char *before)
{
	const struct event_pod pod = event_pod(v->pod);
	cleanup_free char *message = NULL;
	enum event_kind kind;

	if (pod_events_rotation(v, before, &kind, &message) == 0 && message)
		event_sender_notice(s, kind, &pod, message);
}

void pod_events_mistaken(struct event_sender *s, const struct pod_state *pod, const char *text)
{
	const struct event_pod about = event_pod(pod);

	event_sender_notice(s, EVENT_INVALID_OPTION, &about, text);
}
