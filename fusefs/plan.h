/* Plan: what one job changes in the tree, as a list of steps for the publisher, with all of it staged: first the steps
 * that change something, then those that read it once (so that readers find it in the kernel's caches). */
#pragma once

#include "fusefs/order.h"
#include "fusefs/payload.h"
#include "fusefs/tree.h"

#define PLAN_VERSION_MAX 64
#define PLAN_BY_NAME	 "by-name"
#define PLAN_LIVE	 "live" /* <pod>/live/<volume>/<key> */
#define PLAN_STAGING	 "staging" /* <pod>/staging/<volume>/<version>, of flat volumes */
#define PLAN_DATA_LINK	 TREE_DATA_LINK

struct step {
	enum order_op op;
	uint16_t ignored; /* as in struct order_step */
	bool mark;
	bool moves; /* the node, which it does not make */
	uint64_t
		made_id; /* what the step makes or moves: the tree knows whether it has come, or gone again; 0: nothing */
	bool settles; /* the live file node_id: after it the kernel has no page of before (ORDER_INVAL), or nothing at all */
	uint64_t node_id; /* as in struct order_step. The node may be gone when the step is repeated. */
	char *path, *path2;
};

struct plan {
	struct tree *tree;
	/* what it is about; which of them are set depends on the call. Borrowed. */
	const char *uid, *plugin, *name, *ns;
	const char *path; /* uid/volumes/plugin/name */

	struct step *steps;
	size_t n_steps, steps_size;
	size_t switch_step; /* with it the new content is visible; SIZE_MAX: there is none */
	size_t rest_step; /* from here on nobody waits for a step to see the new content; SIZE_MAX: there is no such step */
	bool flat; /* its volume is */
	bool again; /* a name that is to be another's is still in the way: plan_mend() does the rest when this one is done */
	bool live_again; /* a live file is in the way of another, which plan_heal() makes when this one is gone */
	char version[PLAN_VERSION_MAX], old_version[PLAN_VERSION_MAX]; /* old: "" in a new volume */

	/* while plan_volume() runs */
	const struct payload *payload;
	bool (*in_grace)(void *userdata, const char *version);
	void *userdata;
};
#define PLAN_INIT(t) ((struct plan){ .tree = (t), .switch_step = SIZE_MAX, .rest_step = SIZE_MAX })

/* Frees the steps; what is staged stays staged. */
void plan_clear(struct plan *p);

/* Each adds its steps and stages their changes. No steps: there is nothing to do. After an error (-ENOMEM;
 * -ENAMETOOLONG: a path that no system call would take; -EEXIST, -ENOTDIR: something is in the way) call
 * plan_roll_back(). */
int plan_volume(struct plan *p, const struct payload *payload, bool (*in_grace)(void *userdata, const char *version),
		void *userdata);
/* What plan_volume() has had to leave out (again), where its steps are done: the links of keys, and mount points. `version` is
 * set. */
int plan_mend(struct plan *p, const struct payload *payload);
int plan_remove_volume(struct plan *p);
/* What is left of a flat volume that was never made, nor removed to its end; path: <pod>/staging/<volume>. */
int plan_remove_staging(struct plan *p);
int plan_remove_pod(struct plan *p);
int plan_name_pod(struct plan *p);
/* Brings an update that an earlier process did not end to its end, or takes back what was not visible yet: afterwards the
 * volume shows `version`, which is set, and nothing else is listed but folders of versions without files. again: it takes another
 * one. touch: the kernel is made to look at this folder again (0: at none). -ENOENT: there is no such volume. */
int plan_heal(struct plan *p, uint64_t touch);

/* What plan_volume() has made: the folder that stands for the version, and the one below which its files are (of a flat volume's
 * update those that change; NULL: none does). false: nothing. */
bool plan_made(const struct plan *p, struct node **ret_version, struct node **ret_files);

/* What the volume at `path` shows, or begins to show. */
struct plan_shown {
	struct node *vol, *version; /* its folder, and that of its newest version */
	struct node *
		labelled; /* has the origins of what a reader finds: while a flat volume changes, still those of before */
	const char *name; /* of the version; valid while it is there */
	uint64_t changed_usec; /* about when it came */
	bool flat;
};
/* false: there is no such volume. */
bool plan_shown(const struct plan *p, struct plan_shown *ret_s);
/* Locked memory that its files hold on to: all of a block of which they show a part. */
size_t plan_shown_bytes(const struct plan_shown *s);
/* Whether a reader finds each key of that version in the volume, and no other; false while an update is under way. */
bool plan_is_whole(const struct plan *p, const struct plan_shown *s);
/* Whether the volume at `path` has all folders for what is mounted in it and, if it has links, no other. */
bool plan_mount_dirs_are_whole(const struct plan *p, const struct payload *payload);
/* Whether the volume (`path`) at `path` has its live files, if it has any or (wanted) should, and all of them are settled. */
bool plan_live_is_whole(const struct plan *p, bool wanted);
/* Removes old_version, whose files are unlinked already. */
int plan_expire(struct plan *p);

bool step_removes(const struct step *s);
/* The step makes or removes a node, and the tree shows that it has come or gone. */
bool step_is_done(const struct plan *p, const struct step *s);
bool plan_is_switched(const struct plan *p);
/* Replaces the steps by those that take back what has been made (none: nothing has); all else is unstaged. */
void plan_roll_back(struct plan *p);
/* The node at a path from the root, committed or not. */
struct node *plan_find(const struct plan *p, const char *path);
