/* Origins: of which revisions of which objects one version of a volume is made, and since when it is shown. Its folder and
 * files share them, so a file that is held open goes on saying what it is of after the volume has gone on to another version.
 *
 * In an arena they are a note beside the records, with the ids of the nodes: a binary that does not know them reads the
 * records as ever and wipes the notes. */
#pragma once

#include "common/base.h"
#include "common/secmem.h"
#include "fusefs/arena.h"

/* One of a volume's sources. */
struct origin {
	const char *object; /* "secret/db" */
	const char *uid, *resource_version; /* "": there is none, or it is not known */
};

struct origins;

/* How many bytes the texts of one version may have; what is beyond is not known, as if nobody had said it. */
#define ORIGINS_TEXT_MAX ((size_t)1 << 20)

/* refs = 1. What is in `all` is copied; digest: of all that and of which file is of which. -ENOMEM. */
int origins_new(const struct origin *all, size_t n, const struct digest *digest, uint64_t updated_usec,
		struct origins **ret_o);
struct origins *origins_ref(struct origins *o);
/* The last one takes the note out of the arena. NULL is fine. */
void origins_unref(struct origins *o);
DEFINE_CLEANUP(struct origins *, origins_unref);
#define cleanup_origins cleanup(origins_unrefp)
size_t origins_count(const struct origins *o);
const struct origin *origins_at(const struct origins *o, size_t i);
const struct digest *origins_digest(const struct origins *o);
/* Not all that is to be labelled is, or they are not kept: it is to be done again. Not once they are kept. */
void origins_forget_digest(struct origins *o);
/* Realtime microseconds: since when this version is shown; 0: it is not. */
uint64_t origins_updated(const struct origins *o);
void origins_set_updated(struct origins *o, uint64_t realtime_usec);

/* A node that is made from the object at index - 1, or (0) from all of them. */
struct origins_node {
	uint64_t id;
	uint32_t index, reserved;
};
/* For a successor: they are those of these nodes, from now on. Once. -ENOMEM. */
int origins_keep(struct origins *o, struct arena *a, const struct origins_node *nodes, size_t n);
/* The note stays when the last reference goes: this process ends. */
void origins_leave(struct origins *o);

/* What a predecessor has kept: refs = 1, the nodes lie in the note. -EBADMSG: nothing that it can have written. -ENOMEM. */
int origins_restore(struct arena *a, struct arena_note *note, struct origins **ret_o,
		    const struct origins_node **ret_nodes, size_t *ret_n);
