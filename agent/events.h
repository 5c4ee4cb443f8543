/* Events: which of what happens to volumes the API server is told, in which words, and how often. What is repeated is
 * counted, what is similar is combined, and what is too much is held back, as client-go's EventCorrelator does it for the
 * kubelet. Pure bookkeeping: nothing is sent here. now is monotonic, realtime since the epoch. Loop thread only. */
#pragma once

#include "agent/source.h"
#include "common/base.h"

struct events;

enum event_kind {
	EVENT_FAILED_MOUNT,
	EVENT_SECRET_ROTATED,
	EVENT_CONFIG_MAP_ROTATED,
	EVENT_INVALID_OPTION, /* a pod's annotations have a mistake that they did not have before */
	EVENT_NO_PULL_SECRET,
	EVENT_KINDS_N
};

/* What an event is about. */
struct event_pod {
	const char *ns, *name, *uid, *resource_version;
};

/* How long a trouble has to last before it is told. */
enum event_doubt {
	EVENT_CERTAIN, /* something is missing or wrong: EVENTS_CERTAIN_USEC */
	EVENT_WAITING, /* for an answer of the source: EVENTS_WAITING_USEC */
	EVENT_STALE, /* the same, and the last good content can be read meanwhile: EVENTS_STALE_USEC */
	EVENT_UNMOUNTED, /* of the pod as a whole, some volume is not there: EVENTS_UNMOUNTED_USEC */
	EVENT_DOUBTS_N
};
#define EVENTS_CERTAIN_USEC (1 * USEC_PER_SEC)
#define EVENTS_WAITING_USEC (10 * USEC_PER_SEC)
#define EVENTS_STALE_USEC   (60 * USEC_PER_SEC)
/* as long as the kubelet waits for a pod's volumes (podAttachAndMountTimeout) */
#define EVENTS_UNMOUNTED_USEC (123 * USEC_PER_SEC)
/* A trouble that an agent finds when it takes over has likely been told by the one before. */
#define EVENTS_RESUMED_USEC (60 * USEC_PER_SEC)
/* A trouble that stays is told again after the first of these, then ever more slowly. */
#define EVENTS_AGAIN_USEC     (5 * USEC_PER_SEC)
#define EVENTS_AGAIN_MAX_USEC (300 * USEC_PER_SEC)

#define EVENTS_QUEUE_MAX   1000 /* notices that wait; then the oldest is dropped */
#define EVENTS_MESSAGE_MAX 1024 /* what an API server takes */

/* What is wrong with a volume, or with a pod's volumes together. */
struct event_trouble {
	struct event_pod pod;
	const char *volume; /* "": the pod as a whole */
	const char *text;
	enum event_doubt doubt;
};
/* The trouble that this volume is in now, borrowed until the next call; false: none. */
typedef bool (*events_find_fn)(void *userdata, const char *uid, const char *volume, struct event_trouble *ret);

struct event_key {
	uint8_t bytes[16];
};

/* One that is to be sent. All strings are its own. */
struct event {
	enum event_kind kind;
	char *ns, *pod, *uid, *resource_version;
	char *volume; /* of a failed mount; "": of the pod as a whole */
	char *message;
	char *name; /* of the object: always the same for the same pod, kind and message, whichever agent it is */
	uint64_t first_usec, last_usec; /* since the epoch */
	unsigned count; /* 1: a new one */
	bool combined; /* its message may differ from that of the last time */
	uint64_t text_hash;
	struct event_key key;
};
void event_free(struct event *e);
DEFINE_CLEANUP(struct event *, event_free);
#define cleanup_event cleanup(event_freep)
/* "FailedMount", "SecretRotated" and the like; "Warning", "Normal" */
const char *event_reason(const struct event *e);
const char *event_type(const struct event *e);

/* resumes: another agent served before this one. */
int events_new(const struct source_events *tuning, bool resumes, events_find_fn find, void *userdata,
	       struct events **ret_ev);
void events_free(struct events *ev);
DEFINE_CLEANUP(struct events *, events_free);
/* What is switched off is forgotten. */
void events_tune(struct events *ev, const struct source_events *tuning);

/* All volumes in trouble, looked at one after the other between these two. What is not among them any more is forgotten.
 * events_look() knows only that it is in trouble: why is asked (events_find_fn) when it is told. */
void events_look_begin(struct events *ev);
void events_look(struct events *ev, const struct event_trouble *t, uint64_t now_usec);
void events_look_end(struct events *ev, uint64_t now_usec);
/* When the next one that waits is due, monotonic, and so has to be looked at; USEC_INFINITY: never. */
uint64_t events_due(const struct events *ev);

/* Something that happens once: a volume shows another revision than before (source_events.rotations), or any kind but
 * EVENT_FAILED_MOUNT (failures). */
void events_notice(struct events *ev, enum event_kind kind, const struct event_pod *pod, const char *message,
		   uint64_t realtime_usec);

/* The next one to send, the caller's then. -ENOENT: there is none; -ENOMEM: later. */
int events_next(struct events *ev, uint64_t now_usec, uint64_t realtime_usec, struct event **ret_e);
/* It is still true. */
bool events_holds(struct events *ev, const struct event *e);
/* The server counts it otherwise: an earlier agent has told it. */
void events_counted(struct events *ev, const struct event *e, unsigned count);
/* eventRecordQPS, eventBurst: how long to wait before the next request; 0: not at all, and it is counted. */
uint64_t events_admit(struct events *ev, uint64_t now_usec);

struct events_stats {
	size_t n_troubled; /* volumes */
	size_t n_queued; /* notices */
	uint64_t n_held_back; /* too many of one pod */
	uint64_t n_dropped; /* too many at all */
};
struct events_stats events_stats(const struct events *ev);
