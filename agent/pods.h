/* Pods: this node's pods and the state of each of their volumes. Takes words from the source (through the agent) and from
 * the store, makes views of them and has them published. Nothing that was published is taken away by an error: only a
 * deleted or finished pod, or a changed spec, does that. */
#pragma once

#include "agent/metrics.h"
#include "agent/pod.h"
#include "agent/store.h"
#include "common/backoff.h"
#include "common/list.h"
#include "common/log.h"
#include "common/loop.h"
#include "fusefs/publish.h"

struct pods;
struct volume_flight;

enum volume_condition {
	VOLUME_WAITING, /* for an object or a key; error says for what */
	VOLUME_FAILED, /* it cannot be shown as it is specified; error says why */
	VOLUME_PUBLISHING, /* on its way for the first time */
	VOLUME_READY, /* readable; error set: the newest state of things cannot be shown, the last good one is */
};

/* One source of a volume. */
struct volume_source {
	struct volume *volume;
	struct list same_object; /* with the other sources of this entry */
	uint64_t need; /* what the entry's `fresh` must be before the volume is shown for the first time */
};

/* Read-only outside pods*.c. */
struct volume {
	struct pod_state *pod;
	const struct pod_volume *spec; /* in pod->pod */
	/* of spec->sources, one reference of ours to each; NULL: what the pod says of itself. All NULL: a mirror pod's */
	const struct store_entry **entries;
	struct volume_source *sources;
	size_t n_sources; /* that have been taken up */
	enum volume_condition condition;
	err_note error;
	enum reason reason; /* the same as a word */
	uint64_t error_usec; /* CLOCK_REALTIME since when it is for this reason; 0: there is no error */
	bool layout_stays; /* the error is only that it has not the layout that is asked for */
	/* of what is published */
	char *resource_version; /* of each source, with commas between */
	char version[64]; /* "..2026_11_22_...", of a flat volume without the dots */
	uint64_t updated_usec; /* CLOCK_REALTIME of the switch; 0: never */
	size_t n_files;
	uint64_t n_bytes;
	struct list asking; /* with the others that ask for a signal when they change (spec->on_change) */
	/* on its way */
	struct volume_flight *flight; /* the last one; NULL: it has landed, or was of an earlier revision of the pod */
	struct list flights; /* with those that it has overtaken */
	uint64_t event_usec; /* CLOCK_MONOTONIC, of the first change that none of these shows; 0: they show all */
	/* to be looked at again, soon: what is above is as it was before */
	bool is_due;
	struct list due; /* with the pod's others */
	uint64_t due_event_usec; /* of the first change that it has not been looked at for; 0: there is none */
	struct loop_source *retry;
	struct backoff backoff;
};

/* Volumes that are due are of two kinds, by their number of files. */
enum pods_due_kind { DUE_SMALL, DUE_LARGE, DUE_KINDS_N };
struct pod_due {
	struct list volumes;
	struct list in_pods; /* with the other pods that have some */
};

struct pod_state {
	struct pods *pods;
	char *uid;
	struct pod *pod;
	uint64_t since_usec; /* CLOCK_REALTIME when we first heard of it */
	struct volume *volumes; /* in the pod's order; none once it has finished */
	size_t n_volumes;
	struct pod_due due[DUE_KINDS_N];
	bool cached; /* from the offline cache: the source has not told it yet */
	char *mistakes; /* in its annotations, that have been told; NULL: none */
	struct log_limit lines; /* about its volumes */
	struct pod *next; /* a revision that there was no memory for; tried again. NULL: none */
};

/* Some pod or volume has another state now. */
typedef void (*pods_changed_fn)(void *userdata);

/* store and publish are borrowed and outlive it. */
int pods_new(struct loop *l, struct store *store, struct publish *publish, pods_changed_fn fn, void *userdata,
	     struct pods **ret_p);
/* What is readable of a volume has been replaced by something else; before: its resource_version then, NULL: of an earlier
 * agent. */
typedef void (*pods_updated_fn)(void *userdata, const struct volume *v, const char *before);
void pods_on_update(struct pods *p, pods_updated_fn fn, void *userdata);
/* A pod has other mistakes in its annotations than before; text: all of them, in one line. */
typedef void (*pods_mistaken_fn)(void *userdata, const struct pod_state *s, const char *text);
void pods_on_mistake(struct pods *p, pods_mistaken_fn fn, void *userdata);
void pods_free(struct pods *p);
DEFINE_CLEANUP(struct pods *, pods_free);

/* From the source's sink. */
void pods_pod_changed(struct pods *p, struct pod *pod);
void pods_pod_removed(struct pods *p, const char *uid);
/* From the offline cache. false: it is known already, or cannot be set up. */
bool pods_pod_restored(struct pods *p, struct pod *pod);
/* The first complete list of pods has come: those that are only in the offline cache go. */
void pods_drop_cached(struct pods *p);
/* The first complete list of pods has come: what is published for none of them goes. -ENOMEM: not all of it has gone. */
int pods_retain(struct pods *p);
/* It shows how much a container may use at most, which may be all that the node has. */
bool pod_needs_node(const struct pod *pod);
/* What the node has for its pods; copied. */
void pods_node_changed(struct pods *p, const struct pairs *allocatable);
/* NULL: not known. Borrowed until the next pods_node_changed(). */
const struct pairs *pods_allocatable(const struct pods *p);
/* From the store. */
void pods_object_changed(struct pods *p, const struct store_entry *entry);
/* Its `fresh` has grown. */
void pods_object_fresh(struct pods *p, const struct store_entry *entry);

/* How long things have taken. */
struct pods_times {
	struct histogram publish; /* from the order until it is readable */
	/* from an object's change until a volume that was readable before shows it; by the volume's kind */
	struct histogram visible[POD_VOLUME_OTHER];
};
const struct pods_times *pods_times(const struct pods *p);

size_t pods_count(const struct pods *p);
/* In the order of namespace and name. */
const struct pod_state *pods_at(const struct pods *p, size_t i);
/* "NS/NAME" (the newest of that name) or a UID; NULL: none. */
const struct pod_state *pods_find(const struct pods *p, const char *ref);
/* The volume after v that asks for a signal when it changes (spec->on_change), in no order; v NULL: the first. NULL: there are no
 * more. */
const struct volume *pods_next_asking(const struct pods *p, const struct volume *v);
/* The source whose file is at `path`, as the specification and the store have it now. NULL: none. */
const struct pod_volume_source *volume_find_source(const struct volume *v, const char *path);
/* The first source that was asked for and has no answer yet, good or bad. NULL: none. */
const struct store_entry *volume_asked_for(const struct volume *v);
/* Every volume that the pod has now can be read. A finished pod is not ready: its volumes are gone. */
bool pod_state_is_ready(const struct pod_state *s);
