/* Manifest set: the objects of all manifest files together -> which Pods, Secrets and ConfigMaps there are, told to a source's sink.
 *
 * What a file gives replaces what it gave before. An object that is refused keeps its last good version for as long as
 * some file names it. One that is there twice, in two files or in one, is refused in both places and changes nothing: what
 * was good before stays. Updates follow the API server's rules against the version that counts (type, immutability), and
 * a refusal is logged once.
 *
 * Files are put, failed and dropped first; manifest_set_settle() then works out what that means and tells it, so that an
 * object that moves from one file to another in one go is never seen missing. */
#pragma once

#include "agent/manifest.h"
#include "agent/source.h"

struct manifest_set;

struct manifest_set_stats {
	size_t n_wanted[OBJECT_KINDS_N];
	size_t n_rejected; /* objects and files refused and not yet corrected */
	size_t n_warnings; /* fields that have no effect */
	bool settled; /* all pods that were known at the first settle have been told */
	const char *last_error; /* the newest of these; "" if there is none; valid until the next call */
};

/* Pods whose spec.nodeName is another than node_name are not told. The sink is called by settle and tell only. */
int manifest_set_new(const char *node_name, const struct source_sink *sink, void *userdata,
		     struct manifest_set **ret_s);
void manifest_set_free(struct manifest_set *s);
DEFINE_CLEANUP(struct manifest_set *, manifest_set_free);

/* Takes the objects in every case. -ENOMEM: nothing has changed. */
int manifest_set_put(struct manifest_set *s, const char *file, struct manifest_object *take_objects, size_t n_objects);
/* The file cannot be read: it keeps what it gave before. `problem` is the whole sentence. -ENOMEM. */
int manifest_set_fail(struct manifest_set *s, const char *file, const char *problem);
/* The file is gone. */
void manifest_set_drop(struct manifest_set *s, const char *file);
/* Works out what has changed and begins to tell it. true: there is more than is told in one turn, manifest_set_tell() has the
 * rest. */
bool manifest_set_settle(struct manifest_set *s);
/* Tells the next of what has changed and is still to be answered, MANIFEST_SET_TOLD_MAX calls of the sink at most: pods first,
 * once all of the first settle's are told pods_synced, then Secrets and ConfigMaps. true: there is more. Nothing before the
 * first settle. */
#define MANIFEST_SET_TOLD_MAX ((size_t)100)
bool manifest_set_tell(struct manifest_set *s);

/* Secrets and ConfigMaps that somebody wants to hear of. Answered by the next settle or, after the first, tell. -EEXIST, -ENOMEM. */
int manifest_set_want(struct manifest_set *s, enum object_kind kind, const char *ns, const char *name);
void manifest_set_unwant(struct manifest_set *s, enum object_kind kind, const char *ns, const char *name);
/* Answers once more at the next settle. -ENOENT: not wanted. */
int manifest_set_refresh(struct manifest_set *s, enum object_kind kind, const char *ns, const char *name);

/* The one that counts, borrowed; NULL: there is none. `problem`: why a file's is refused; NULL: it is not. As of the last
 * settle. -EAGAIN: there was none yet; -ENOMEM. */
int manifest_set_get(const struct manifest_set *s, enum object_kind kind, const char *ns, const char *name,
		     struct secret **ret_secret, const char **ret_problem);
/* Some file names the object ("secret default/db"), good or not. As of the last settle. */
bool manifest_set_has(const struct manifest_set *s, const char *key);
/* All that is wrong at the moment: files in no order, the objects of one file in the order of its text. o: what it is about,
 * NULL: the file as a whole. Borrowed. */
typedef void (*manifest_set_finding_fn)(void *userdata, const struct finding *f, const struct manifest_object *o);
void manifest_set_findings(const struct manifest_set *s, manifest_set_finding_fn fn, void *userdata);
struct manifest_set_stats manifest_set_stats(const struct manifest_set *s);
