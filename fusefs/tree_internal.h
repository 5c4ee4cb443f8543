/* What the parts of the tree share: tree.c (nodes and their names, and what is asked of them), tree_stage.c, tree_commit.c,
 * tree_live.c and tree_restore.c. For nobody else. */
#pragma once

#include "common/idmap.h"
#include "common/list.h"
#include "common/map.h"
#include "common/str.h"
#include "fusefs/tree.h"

#define TREE_FIRST_ID	  3 /* cookies 1 and 2 are "." and ".." */
#define TREE_SIZE_UNKNOWN UINT64_MAX

struct entry {
	struct node *node; /* NULL: the name is reserved for a staged rename */
	uint64_t parent_id;
	char name[];
};

struct children {
	struct node **v;
	size_t n, size;
	uint32_t n_dirs, n_coming; /* coming: there is room for one more than these */
};

struct node {
	uint64_t id, n_lookup;
	uint64_t cookie; /* in its folder's list */
	struct arena_record *record; /* NULL: the root, or not kept */
	struct origins *origins; /* NULL: not of a version, or not known */
	uint32_t origin; /* 0: all of them, else the one at origin - 1 */
	struct digest digest;
	struct node *parent; /* NULL: the root or detached */
	struct entry *entry; /* NULL: likewise */
	struct entry *final; /* staged rename: the entry that it will take over, here or in another folder */
	struct list work;
	const struct node *original; /* while tree_fill_copy() runs */
	uint64_t changed_usec;
	enum node_kind kind;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	bool committed : 1, hidden : 1, removal : 1, retired : 1, immutable : 1, renamed : 1, flux : 1;
	bool moved : 1;
	bool awaited : 1; /* its entry is the final one of another */
	union {
		struct children dir;
		struct {
			char *target;
			uint64_t size; /* NODE_LIVE in flux: what the kernel is told */
		};
		struct secspan content;
	};
};

struct tree {
	struct arena *arena; /* NULL: nothing is kept */
	struct idmap by_id;
	struct map by_name;
	struct node *root;
	struct list todo; /* of the one walk that is under way; empty otherwise */
	uint64_t next_id, now_usec;
	uint64_t flux_nsec; /* the last time that was answered for a live file in flux */
	struct tree_stats stats;
};

/* ---- tree.c: entries, a folder's list of children ---- */

/* Committed, reserved or neither; NULL: the name is free. */
struct entry *entry_find(const struct tree *t, const struct node *parent, const char *name);
/* An entry without a node. -EEXIST, -ENAMETOOLONG (an empty name, too), -ENOMEM. */
int entry_add(struct tree *t, const struct node *parent, const char *name, struct entry **ret_e);
/* Frees the name; e may be NULL. */
void entry_free(struct tree *t, struct entry *e);
/* Room for one child more, beside those that are to come by a rename. -ENOMEM. */
int children_reserve(struct children *c);
/* By its cookie. There is room for it. */
void children_insert(struct children *c, struct node *n);
void children_remove(struct children *c, const struct node *n);

/* The cookie of what has this name in the folder, if that decides; otherwise: if it does not. */
static inline uint64_t cookie_in(const struct node *dir, const char *name, uint64_t otherwise)
{
	return str_eq(name, TREE_DATA_LINK) && dir->id >= TREE_FIRST_ID ? dir->id : otherwise;
}

/* ---- tree.c: nodes ---- */

/* One that has no name, parent or record yet. -ENOMEM. */
int node_new(struct tree *t, enum node_kind kind, mode_t mode, gid_t gid, struct node **ret_n);
/* It is in no folder. The record goes before what it refers to. */
void node_free(struct tree *t, struct node *n);
/* Out of its folder, with all that is in it: freed, or without a name until the kernel has forgotten it. */
void node_detach(struct tree *t, struct node *n);
static inline bool node_is_listed(const struct node *n)
{
	return n->committed && !n->hidden;
}
/* It has changed now. */
void node_touch(struct tree *t, struct node *n);
/* Keeps the parent's link count and time right when a child appears (+1) or goes (-1). */
void node_parent_changed(struct tree *t, struct node *n, int by);
/* Writes down what has become of the node: one store. */
void node_store(struct node *n);
/* The same with the record's number. */
void node_store_number(struct node *n, uint64_t number);
/* The rename that is staged has come or comes no more. The entry is the caller's, if it was only reserved. */
struct entry *final_take(struct tree *t, struct node *n);
/* It comes no more, if there was one. */
void final_drop(struct tree *t, struct node *n);

/* ---- tree_stage.c ---- */

/* From now on it can be found, and its folder has changed. */
void node_commit(struct tree *t, struct node *n);

/* ---- tree_live.c ---- */

/* Whether the path can be a live file's target: that of a key, in a volume. */
bool live_target_is_good(const char *target);
/* Of one that an earlier process has left in flux. All nodes are there. */
void live_restore(struct tree *t, struct node *live);
