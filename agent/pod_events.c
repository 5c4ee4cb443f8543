/* Pod events: the kubelet's words where it has them. A pod that is only remembered, or ends, is in no trouble. */
#include "agent/pod_events.h"

#include "common/str.h"

/* what the kubelet says when its cache has no answer yet */
static const char NO_ANSWER[] = "failed to sync secret cache: timed out waiting for the condition";

static struct event_pod event_pod(const struct pod_state *s)
{
	return (struct event_pod){
		.ns = s->pod->ns, .name = s->pod->name, .uid = s->pod->uid, .resource_version = s->pod->resource_version
	};
}

/* Its Secret was asked for, and no answer has come. */
static bool is_asked_for(const struct volume *v)
{
	return v->entry && v->entry->state == STORE_UNSYNCED && !v->entry->error[0];
}

/* The source's trouble is the volume's. */
static bool is_of_the_source(const struct volume *v)
{
	return v->entry && v->entry->error[0] && str_eq(v->entry->error, v->error);
}

bool pod_events_trouble(const struct volume *v, struct event_trouble *ret)
{
	const struct pod_state *s = v->pod;

	if (!v->error[0] || s->cached || s->pod->deleting)
		return false;
	*ret = (struct event_trouble){ .pod = event_pod(s), .volume = v->spec->name, .text = v->error };
	if (is_asked_for(v))
		ret->text = NO_ANSWER;
	if (!is_asked_for(v) && !is_of_the_source(v))
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

char *pod_events_rotation(const struct volume *v)
{
	const char *secret = v->spec->secret_name;

	if (str_empty(v->resource_version))
		return str_format("Updated volume \"%s\": secret \"%s\" does not exist any more", v->spec->name,
				  secret);
	return str_format("Updated volume \"%s\": secret \"%s\" is at resourceVersion %s", v->spec->name, secret,
			  v->resource_version);
}

void pod_events_rotated(struct event_sender *s, const struct volume *v)
{
	const struct event_pod pod = event_pod(v->pod);
	cleanup_free char *message = pod_events_rotation(v);

	if (message)
		event_sender_rotated(s, &pod, message);
}
