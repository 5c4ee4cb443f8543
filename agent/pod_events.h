/* Pod events: what of the pods' state is told as events, and in which words. */
#pragma once

#include "agent/event_sender.h"
#include "agent/pods.h"

/* events_look() for each volume that is in trouble. */
void pod_events_look(const struct pods *p, struct events *ev, uint64_t now_usec);
/* As events_find_fn. */
bool pod_events_find(const struct pods *p, const char *uid, const char *volume, struct event_trouble *ret);
/* As pods_updated_fn. Told is what shows another revision of a Secret or a ConfigMap. */
void pod_events_rotated(struct event_sender *s, const struct volume *v, const char *before);
/* As pods_mistaken_fn. */
void pod_events_mistaken(struct event_sender *s, const struct pod_state *pod, const char *text);

/* Those that know the words. false: it is in no trouble that is told. *ret_message NULL: nothing that is told has rotated. */
bool pod_events_trouble(const struct volume *v, struct event_trouble *ret);
/* Of the pod as a whole; its text is borrowed until the next call. */
bool pod_events_unmounted(const struct pod_state *s, struct event_trouble *ret);
int pod_events_rotation(const struct volume *v, const char *before, enum event_kind *ret_kind, char **ret_message);
