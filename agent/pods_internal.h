/* What the parts of pods share: pods.c (which pods there are, and what happens to them), pods_due.c (when a volume is looked at),
 * pods_volume.c (what it shows) and pods_errands.c (what else is ordered for them). For nobody else. */
#pragma once

#include "agent/pods.h"
#include "common/map.h"

struct pods {
	struct loop *loop;
	struct store *store;
	struct publish *publish;
	pods_changed_fn fn;
	void *userdata;
	pods_updated_fn updated; /* NULL: nobody asks */
	void *updated_userdata;
	pods_mistaken_fn mistaken; /* the same */
	void *mistaken_userdata;
	struct map by_uid;
	struct map by_entry; /* address of a store entry -> struct object_users */
	struct list asking;
	struct list due[DUE_KINDS_N]; /* pods that have some of the kind, the one whose turn it is first */
	struct loop_source *turn; /* makes some of them */
	uint64_t turn_usec; /* loop_now() of the turn of the loop in which the last volume was made, */
	size_t turn_cost; /* and of what was made in it */
	struct list flights; /* of all volumes, and of some that have gone */
	size_t n_files_waiting; /* in them */
	struct pod_state **sorted;
	size_t n_sorted, sorted_size;
	struct loop_source *retry; /* pods with a `next` */
	struct backoff backoff;
	struct list errands; /* that are under way, or to be run again */
	struct loop_source *errands_retry;
	struct backoff errands_backoff;
	bool errands_wait; /* for it */
	struct pairs allocatable;
	bool knows_node;
	struct pods_times times;
};

/* The volumes' sources that show one object. */
struct object_users {
	const struct store_entry *entry; /* its address is the key */
	struct list sources;
};

extern const struct backoff_policy PODS_RETRY;

/* A pod may have a thousand volumes of one Secret, each with a line whenever that changes. What is left out is told with `volumes`. */
#define PODS_LOG_LIMIT LOG_LIMIT_INIT(10 * USEC_PER_SEC, 100)

/* ---- pods.c ---- */

/* Whether something of this pod (plugin and volume NULL), or this volume, is to be there. */
bool pods_want(const struct pods *p, const char *uid, const char *plugin, const char *volume);
/* A newer state of the pod waits to be set up: which volumes it will have is not known. */
bool pods_is_postponed(const struct pods *p, const char *uid);
/* As pods_retain(), for what is published of this pod alone. */
int pods_retain_volumes(struct pods *p, const char *uid);

/* ---- pods_errands.c ---- */

int errands_init(struct pods *p);
/* What is under way goes on. */
void errands_deinit(struct pods *p);
/* Each is run until it is done, unless the pods change so that it is not wanted any more. -ENOMEM: it was not begun. */
int errands_remove_pod(struct pods *p, const char *uid);
int errands_remove_volume(struct pods *p, const char *uid, const char *plugin, const char *volume);
/* <pods>/by-name/<ns>/<name> of a pod that has volumes. */
int errands_name_pod(struct pods *p, const char *uid);
/* What has failed is run again now. */
void errands_hurry(struct pods *p);

/* ---- pods_volume.c ---- */

/* A volume (zeroed) of the state's pod: what is readable of it, and its objects, with a reference to each. On failure, too, it is
 * the caller's to volume_deinit(). -ENOMEM. */
int volume_init(struct volume *v, struct pod_state *s, const struct pod_volume *spec);
/* Frees what it has; a payload on its way goes on. */
void volume_deinit(struct volume *v);
/* Takes over what is known of a volume of the pod's previous revision. */
void volume_inherit(struct volume *v, struct volume *old);
/* A source that the volume's previous revision did not have, or has in another place. What an earlier agent has published
 * is not new, nor is a pod that the source has not told. */
void volume_need_sources(struct volume *v, const struct volume *before);
/* What an earlier agent has published can be read, whatever becomes of it. */
void volume_find(struct volume *v);
/* Looks at the volume from the start, now. For pods_due.c. */
void volume_make(struct volume *v);
/* Of the pods' end: flights do without them from now on. */
void pods_drop_flights(struct pods *p);

/* ---- pods_due.c ---- */

/* Looks at the volume again from the start: now, or in one of the next turns of the loop. */
void volume_update(struct volume *v);
/* The same, because an object of it has changed just now. */
void volume_object_changed(struct volume *v);
/* It is due no more. */
void volume_leave_due(struct volume *v);
/* A flight has landed: there may be room for what is due. */
void pods_go_on(struct pods *p);
int pods_due_init(struct pods *p);
void pod_due_init(struct pod_state *s);
/* Of a pod that has no volumes any more. */
void pod_due_deinit(struct pod_state *s);
