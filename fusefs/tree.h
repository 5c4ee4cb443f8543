/* Tree: the nodes under /var/lib/pods, their ids and lookup counts, and the changes that are staged for the publisher.
 * It knows no FUSE types; ops.c translates.
 *
 * Nothing appears or goes by itself. publish.c *stages* a change (a folder with all that is in it, a link, a removal),
 * orders the publisher to make the call of the same name, and the call arrives here as a commit. A call that matches
 * nothing staged is refused with -EROFS, whoever makes it. So the kernel's caches are changed by the kernel itself, and
 * every timeout is infinite.
 *
 * Ids are 64-bit, counted up, never reused; an id names one immutable content for ever. A node that is out of the tree
 * lives on until the kernel has forgotten it (lookup count 0), so open files and subPath binds keep their bytes.
 *
 * Two kinds of children can be found by name but are not listed (hidden): what a retired version contained, until its
 * folder is removed, and in a new version the top-level entries that only the old one had, until their links are gone.
 * With them a path walk that is overtaken by an update still ends at the old bytes instead of at ENOENT. Hidden entries
 * are answered with timeout 0.
 *
 * A live file (NODE_LIVE) is the exception to both: one node whose content follows the newest version of a key. It has none of
 * its own, only a path through the volume's "..data", if it has that link, which is walked at each request; so nothing has to be switched, and a
 * restart has nothing to restore. While its content changes and the kernel may still have bytes or attributes of before,
 * it is in flux: attributes are answered with timeout 0 and with a time that no other answer has or had.
 *
 * A tree that is kept in an arena (tree_open()) survives its process: each node is written down when it is staged, each
 * commit, forget and removal by the store of one word, and the next process finds what was committed, with the same ids
 * and lookup counts. What was only staged is gone then. */
#pragma once

#include <sys/stat.h>

#include "common/base.h"
#include "common/err.h"
#include "common/secmem.h"
#include "fusefs/arena.h"
#include "fusefs/origins.h"
#include "fusefs/payload.h"

#define TREE_ROOT_ID   UINT64_C(1)
#define TREE_DATA_LINK "..data" /* in a volume's folder: leads to its newest version */

struct tree;
struct node;

enum node_kind { NODE_DIR, NODE_FILE, NODE_LINK, NODE_LIVE };

struct tree_stats {
	size_t n_nodes; /* all that exist, detached ones included */
	size_t n_detached; /* out of the tree, still known to the kernel */
	size_t content_bytes;
};

int tree_new(uint64_t now_realtime_usec, struct tree **ret_t);
/* The tree that is kept in `a` (borrowed; secmem is its heap), with all that an earlier process has left there. Once per
 * arena and process. -EBADMSG: what is in it was not written by a tree. */
int tree_open(uint64_t now_realtime_usec, struct arena *a, struct tree **ret_t, struct err *e);
/* What is kept in an arena stays there. */
void tree_free(struct tree *t);
DEFINE_CLEANUP(struct tree *, tree_free);
struct tree_stats tree_stats(const struct tree *t);
/* The time that nodes get which are staged from now on, and folders that change. */
void tree_set_time(struct tree *t, uint64_t now_realtime_usec);

/* --- queries, for ops.c --- */

/* NULL: no such id. */
struct node *tree_node(const struct tree *t, uint64_t id);
/* A committed child; hidden ones too, with *ret_hidden set. NULL: ENOENT. A live file that shows nothing is not found. */
struct node *tree_lookup(const struct tree *t, const struct node *parent, const char *name, bool *ret_hidden);
/* Nothing can ever appear in this folder: negative answers may be cached for ever. */
bool node_is_immutable(const struct node *n);
uint64_t node_id(const struct node *n);
enum node_kind node_kind(const struct node *n);
const char *node_name(const struct node *n);
/* NULL: the root, or a node that is out of the tree. */
struct node *node_parent(const struct node *n);
/* Where it is or, once it is out of the tree, was: its folder, which may be out of the tree, too, and its name there (both
 * valid while the node is). NULL: the root, or nobody knows any more. */
struct node *tree_origin(const struct tree *t, const struct node *n, const char **ret_name);
/* NODE_LINK, NODE_LIVE: the target. NODE_FILE: the bytes, valid while the node is. */
const char *node_target(const struct node *n);
const struct secspan *node_content(const struct node *n);
/* NODE_FILE: of the bytes. The folder of a version: of what the volume is to contain. */
const struct digest *node_digest(const struct node *n);
bool node_is_hidden(const struct node *n);
/* Realtime microseconds: when it was made, renamed, or, a folder, changed. */
uint64_t node_changed(const struct node *n);
void node_stat(const struct node *n, struct stat *ret_st);
/* The file itself; of a live file the one that it shows now, NULL: the newest version has none. */
struct node *tree_follow(const struct tree *t, const struct node *n);
/* As node_stat(), of a live file with what it shows now. -ESTALE: that is nothing. */
int tree_stat(struct tree *t, const struct node *n, struct stat *ret_st);
/* A live file whose attributes are good for this one answer only. */
bool node_is_in_flux(const struct node *n);
/* The kernel may have pages of what a live file has shown before. */
bool node_may_be_of_before(const struct node *live);
/* What the version is made of that the node belongs to (a file to the object at *ret_index - 1, if that is not 0). NULL: it
 * belongs to none, or nobody has said. */
const struct origins *node_origins(const struct node *n, uint32_t *ret_index);
void tree_set_origins(struct tree *t, struct node *n, struct origins *o, uint32_t index);
/* The version whose folder this is is shown since then. */
void tree_note_shown(struct tree *t, struct node *version, uint64_t realtime_usec);
/* NULL: nothing is kept. */
struct arena *tree_arena(const struct tree *t);
/* The kernel is given this part of a live file: from now on it may know the end of what is shown now. */
void tree_note_read(struct tree *t, struct node *n, uint64_t off, size_t size);
/* The first committed, listed child behind a cookie (0: from the start); NULL at the end. Cookies stay good while the folder
 * changes: what takes another's name by a rename takes its cookie, too, and what comes is behind all that is there. So nobody
 * who reads a listing in parts is told of a name twice because it has changed. */
struct node *node_next_child(const struct node *n, uint64_t after);
/* At least 3. */
uint64_t node_cookie(const struct node *n);
/* One more / `count` fewer references held by the kernel. Unknown ids are ignored. */
void tree_ref_lookup(struct tree *t, struct node *n);
uint64_t node_lookups(const struct node *n);
void tree_forget(struct tree *t, uint64_t id, uint64_t count);

/* --- for publish.c, which may look at what is not committed yet --- */

/* A child by name whether committed or not. */
struct node *tree_find(const struct tree *t, const struct node *parent, const char *name);
/* A staged node: its mkdir or symlink call has come; all of its calls have (a rename too, where one is staged). */
bool node_is_linked(const struct node *n);
bool node_is_committed(const struct node *n);

/* Staging. All are undone by tree_unstage() on the same node as long as they are not committed.
 *
 * A folder that will exist once mkdir has been called for it. Its staged children are committed with it if added
 * with the tree_fill_* calls below. */
int tree_stage_dir(struct tree *t, struct node *parent, const char *name, mode_t mode, gid_t gid, struct node **ret_n);
/* The same for the folder of a volume's version, with the digest of what the volume is to contain (NULL: none). */
int tree_stage_version(struct tree *t, struct node *parent, const char *name, mode_t mode, gid_t gid,
		       const struct digest *digest, struct node **ret_n);
/* A link that will exist once symlink has been called for it. If final_name is not NULL, a rename of the link over
 * that name (in the same folder) is staged as well. */
int tree_stage_link(struct tree *t, struct node *parent, const char *name, const char *target, const char *final_name,
		    struct node **ret_n);
/* A live file that will exist once mknod has been called for it. The target is <pod>/volumes/<plugin>/<volume>/..data/<key>
 * or, in a flat volume, the same without "..data"; -EINVAL: this is none. */
int tree_stage_live(struct tree *t, struct node *parent, const char *name, const char *target, struct node **ret_n);
/* A rename of a file or folder that is there already, or filled, into another folder, under its name. What has that name there
 * then goes, if both are no folders. A folder takes along all that is in it. */
int tree_stage_move(struct tree *t, struct node *n, struct node *to);
/* unlink or rmdir of a committed child may come. A folder's whole subtree is detached by its rmdir. In a retired version
 * (tree_retire()) a file's unlink only hides it, until its folder goes. */
void tree_stage_removal(struct tree *t, struct node *n);
/* chmod by the publisher may come (it changes nothing; the kernel's watchers get their ATTRIB). */
void tree_unstage(struct tree *t, struct node *n);

/* Fills a *staged* (not yet committed) folder: these children need no call of their own. */
int tree_fill_dir(struct tree *t, struct node *dir, const char *name, mode_t mode, gid_t gid, struct node **ret_n);
int tree_fill_version(struct tree *t, struct node *dir, const char *name, mode_t mode, gid_t gid,
		      const struct digest *digest, struct node **ret_n);
int tree_fill_link(struct tree *t, struct node *dir, const char *name, const char *target, struct node **ret_n);
int tree_fill_file(struct tree *t, struct node *dir, const char *name, const struct payload_file *file,
		   struct node **ret_n);
/* A file that is to be moved over another, whose cookie it will have. Across processes, too: the kernel keeps listings. */
int tree_fill_file_over(struct tree *t, struct node *dir, const char *name, const struct payload_file *file,
			const struct node *over, struct node **ret_n);
int tree_fill_live(struct tree *t, struct node *dir, const char *name, const char *target, struct node **ret_n);
/* A copy of a committed node with all that is in it, with ids of its own. */
int tree_fill_copy(struct tree *t, struct node *dir, const struct node *src, struct node **ret_n);
/* Sets hidden on a filled or committed child (listed no more, found by name with timeout 0). */
void tree_hide(struct tree *t, struct node *n);
/* Takes the hidden children of a folder out of it for good. */
void tree_drop_hidden(struct tree *t, struct node *dir);
/* From now on unlinks inside this version folder hide instead of removing: as of one that was shown until a rename of the
 * volume's TREE_DATA_LINK was committed. */
void tree_retire(struct tree *t, struct node *version);

/* A live file's content is about to change; then: the kernel has no page of before any more; then: nor attributes. Survives
 * the process. */
void tree_unsettle(struct tree *t, struct node *live);
void tree_note_dropped(struct tree *t, struct node *live);
void tree_settle(struct tree *t, struct node *live);

/* --- commits, for ops.c: the publisher's calls. -EROFS: nothing like it is staged. Repeating a call that was
 * committed gives what the VFS would give (-EEXIST, -ENOENT). --- */

int tree_commit_mkdir(struct tree *t, struct node *parent, const char *name, struct node **ret_n);
int tree_commit_symlink(struct tree *t, struct node *parent, const char *name, const char *target, struct node **ret_n);
int tree_commit_mknod(struct tree *t, struct node *parent, const char *name, struct node **ret_n);
int tree_commit_rename(struct tree *t, struct node *parent, const char *name, struct node *to, const char *to_name);
/* Whether what is called `to_name` in this folder got there by a rename from `name` in `parent`: what a rename that is asked for
 * again has done the first time. */
bool tree_was_renamed(const struct tree *t, const struct node *parent, const char *name, const struct node *to,
		      const char *to_name);
int tree_commit_unlink(struct tree *t, struct node *parent, const char *name);
/* With all that is in it. -ENOTEMPTY: a rename of something in it, to where it could still be made, has not been committed. */
int tree_commit_rmdir(struct tree *t, struct node *parent, const char *name);
