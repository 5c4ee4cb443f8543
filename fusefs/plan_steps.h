/* Plan steps: what the files plan_*.c share, and nobody else. A call that adds a step stages what the step commits; what is staged
 * is taken back if there is no step for it. All: 0, -ENOMEM, -ENAMETOOLONG. */
#pragma once

#include "fusefs/plan.h"

#define MODE_POD_DIR 0750

/* Of versions and of links that are renamed at once. */
static inline bool is_version_name(const char *name)
{
	return name[0] == '.' && name[1] == '.';
}

static inline mode_t dir_mode(const struct payload *pl)
{
	return pl->has_fs_group ? 02755 : 0755;
}

static inline gid_t dir_gid(const struct payload *pl)
{
	return pl->has_fs_group ? pl->fs_group : 0;
}

/* Cuts the next element off *path into name; false at the end. Elements fit: the payload has checked them. */
bool path_element(const char **path, char name[PAYLOAD_NAME_MAX + 1]);
/* Of `path`: the pod's and the volume's name in it. */
void volume_names(const struct plan *p, char uid[PAYLOAD_NAME_MAX + 1], const char **ret_volume);
/* A name that the folder has not got: as Go's os.MkdirTemp(dir, time.Now().UTC().Format(prefix + "2006_01_02_15_04_05."))
 * gives. -EEXIST. */
int version_name(const struct plan *p, const struct node *dir, const char *prefix, char version[PLAN_VERSION_MAX]);
/* What is at a path of names below a folder, committed or not; NULL: nothing. */
struct node *node_below(const struct plan *p, struct node *dir, const char *path);
/* Path from the root of the tree; -ENAMETOOLONG when no system call would take it. */
int node_path(const struct node *n, char path[ORDER_PATH_MAX]);

/* --- steps; made: the node that the step makes, NULL: it makes none --- */

int step_add_path(struct plan *p, enum order_op op, struct node *made, const char *path, const char *path2);
int step_add(struct plan *p, enum order_op op, struct node *n, const char *path2);
/* The kernel is to drop what it has of a node. */
int step_add_inval(struct plan *p, enum order_op op, struct node *n);
/* The step that was added last settles this live file, or drops its pages. */
void step_settles(struct plan *p, const struct node *live);
/* As step_add() for a name in a folder, whatever node has it then. */
int step_add_name(struct plan *p, enum order_op op, struct node *made, const struct node *dir, const char *name,
		  const char *new_name);
/* The step that was added last makes the new content visible. */
void step_is_switch(struct plan *p);
/* Of a new volume, before its reads. */
void rest_if_large(struct plan *p);

int stage_dir(struct plan *p, struct node *parent, const char *name, mode_t mode, gid_t gid, struct node **ret_n);
/* digest: of a version's volume; NULL: another folder. */
int stage_folder(struct plan *p, struct node *parent, const char *name, mode_t mode, gid_t gid,
		 const struct digest *digest, struct node **ret_n);
/* The folder of a volume that is not there yet, and those that it is in. */
int stage_volume(struct plan *p, struct node **ret_vol);
int stage_version(struct plan *p, struct node *vol, const struct payload *pl, struct node **ret_n);
int stage_link(struct plan *p, struct node *parent, const char *name, const char *target, const char *final,
	       struct node **ret_n);
int stage_removal(struct plan *p, struct node *n);
/* A folder that is there already or will be made. */
int need_dir(struct plan *p, struct node *parent, const char *name, mode_t mode, struct node **ret_n);

/* --- walks: pre-order over what is listed below top, top itself left out --- */

/* Past what is in n. */
struct node *walk_on(const struct node *top, const struct node *n);
struct node *walk_next(const struct node *top, const struct node *n);

enum order_op warm_op(const struct node *n);
/* The node and all that is in it. */
int warm_tree(struct plan *p, struct node *top);
/* Folders that have changed: the kernel asks for their attributes again. */
int warm_parents(struct plan *p, struct node *n);
int unlink_files(struct plan *p, struct node *dir);
/* Children first. */
int remove_dirs(struct plan *p, struct node *top);

/* --- live files (plan_live.c); version: the folder that is or will be the newest --- */

/* The volume's folder for them; NULL: it has none. */
struct node *live_folder(const struct plan *p);
/* From here on what the kernel is told of those that change is good for one answer only; and it forgets what it was told
 * before. */
int unsettle_live(struct plan *p, struct node *version);
/* The kernel drops what it has of them, and is told anew. */
int settle_live(struct plan *p, struct node *version);
/* A live file for each file of the version. They stay as long as the volume does: what a container has mounted must not go. */
int add_live(struct plan *p, struct node *version);
int warm_live(struct plan *p, struct node *version);
/* Nobody knows what an earlier process's publisher has told the kernel, nor what of it has come to the folders. */
int heal_live(struct plan *p, struct node *version);

/* --- volumes without links (plan_flat.c) --- */

/* The folder that says what the volume shows; NULL: the volume is none of these. */
struct node *flat_version(const struct plan *p);
/* The folder of the plan's own version, committed or not. NULL: it has none. */
struct node *flat_made(const struct plan *p);
/* The file at a path of keys once that version is shown wholly; NULL: none. */
struct node *flat_file(const struct plan *p, const struct node *version, const char *path);
/* The folder of what is to change yet; NULL: nothing is. */
struct node *flat_files(const struct plan *p, const struct node *version);
bool flat_is_whole(const struct plan *p, const struct node *version);
/* As plan_volume(), plan_heal(), plan_remove_volume(). */
int flat_new(struct plan *p);
int flat_update(struct plan *p, struct node *vol);
int flat_heal(struct plan *p, struct node *vol, struct node *version);
int flat_remove(struct plan *p);
