/* Pod events: the kubelet's words where it has them. A pod that is only remembered, or ends, is in no trouble. */
#include "agent/pod_events.h"

#include "common/str.h"

/* what the kubelet says when its cache has no answer yet */
#define NO_ANSWER(what) "failed to sync " what " cache: timed out waiting for the condition"

static struct event_pod event_pod(const struct pod_state *s)
{
	return (struct event_pod){
		.ns = s->pod->ns, .name = s->pod->name, .uid = s->pod->uid, .resource_version = s->pod->resource_version
	};
}

/* The first of its sources that was asked for and has no answer yet. NULL: none. */
static const struct store_entry *asked_for(const struct volume *v)
{
	for (size_t i = 0; i < v->n_sources; i++) {
		const struct store_entry *entry = v->entries[i];

		if (entry && entry->state == STORE_UNSYNCED && !entry->error[0])
			return entry;
	}
	return NULL;
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
	const struct store_entry *asked = asked_for(v);
	const struct pod_state *s = v->pod;

	if (!v->error[0] || v->layout_stays || s->cached || s->pod->deleting)
		return false;
	*ret = (struct event_trouble){ .pod = event_pod(s), .volume = v->spec->name, .text = v->error };
	if (asked && asked->kind == OBJECT_SECRET)
		ret->text = NO_ANSWER("secret");
	else if (asked && asked->kind == OBJECT_CONFIG_MAP)
		ret->text = NO_ANSWER("configmap");
	if (!asked && !is_of_a_source(v))
		ret->doubt = EVENT_CERTAIN;
	else
		ret->doubt = v->condition == VOLUME_READY ? EVENT_STALE : EVENT_WAITING;
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
	}
}

bool pod_events_find(const struct pods *p, const char *uid, const char *volume, struct event_trouble *ret)
{
	const struct pod_state *s = pods_find(p, uid);

	for (size_t j = 0; s && j < s->n_volumes; j++)
		if (str_eq(s->volumes[j].spec->name, volume))
			return pod_events_trouble(&s->volumes[j], ret);
	return false;
}

/* The n-th of what commas separate; *ret_len 0: there is none. */
static const char *nth(const char *list, size_t n, size_t *ret_len)
{
	for (; n > 0 && *list; n--) {
		list += strcspn(list, ",");
		list += *list == ',';
	}
	*ret_len = strcspn(list, ",");
	return list;
}

/* Where an earlier agent has published it, nobody knows what it showed but of a volume that shows nothing else. */
static bool another_secret(const struct volume *v, const char *before)
{
	if (v->spec->kind == POD_VOLUME_SECRET)
		return !str_eq(before, v->resource_version); /* else its modes or owners are others */
	for (size_t i = 0; before && i < v->spec->n_sources; i++) {
		size_t len_a, len_b;
		const char *a = nth(before, i, &len_a), *b = nth(v->resource_version, i, &len_b);

		if (v->spec->sources[i].kind == POD_SOURCE_SECRET && (len_a != len_b || memcmp(a, b, len_a) != 0))
			return true;
	}
	return false;
}

int pod_events_rotation(const struct volume *v, const char *before, char **ret_message)
{
	const char *secret = v->spec->sources[0].name;

	*ret_message = NULL;
	if (!another_secret(v, before))
		return 0;
	if (v->spec->kind != POD_VOLUME_SECRET)
		*ret_message = str_format("Updated volume \"%s\": its sources are at resourceVersions %s",
					  v->spec->name, v->resource_version);
	else if (str_empty(v->resource_version))
		*ret_message = str_format("Updated volume \"%s\": secret \"%s\" does not exist any more", v->spec->name,
					  secret);
	else
		*ret_message = str_format("Updated volume \"%s\": secret \"%s\" is at resourceVersion %s",
					  v->spec->name, secret, v->resource_version);
	return *ret_message ? 0 : -ENOMEM;
}

void pod_events_rotated(struct event_sender *s, const struct volume *v, const char *before)
{
	const struct event_pod pod = event_pod(v->pod);
	cleanup_free char *message = NULL;

	if (pod_events_rotation(v, before, &message) == 0 && message)
		event_sender_notice(s, EVENT_SECRET_ROTATED, &pod, message);
}

void pod_events_mistaken(struct event_sender *s, const struct pod_state *pod, const char *text)
{
	const struct event_pod about = event_pod(pod);

	event_sender_notice(s, EVENT_INVALID_OPTION, &about, text);
}
