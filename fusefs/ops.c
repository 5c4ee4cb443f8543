/* Ops: each operation is one query or one commit, and exactly one reply. Nothing here waits, allocates or logs.
 *
 * Who may change something is decided by the pid alone: with ALLOW_IDMAP the kernel fills uid and gid with -1. Read
 * permission is the kernel's business (default_permissions). OPEN and OPENDIR are answered ENOSYS once; from then on
 * the kernel opens by itself and keeps pages and listings, which is right because a node's content never changes.
 *
 * Live files are the exception: their pages and attributes are dropped by the publisher, at each update. A lookup's answer does
 * not say how long their attributes are good: it may come to an inode that was not there yet when they were dropped.
 *
 * A request that an earlier process died of comes again (replay). Queries are simply answered. A change may have been
 * committed without the kernel having been told: then it is told now, or its caches and the tree would differ for ever.
 * And a lookup may have been counted: it is not counted twice. */
#include "fusefs/ops.h"

#include <linux/limits.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "fusefs/arena.h"
#include "fusefs/publish.h"
#include "fusefs/tree.h"
#include "fusefs/xattr.h"

#define FOREVER_SEC   1e9 /* fits into the kernel's jiffies, unlike ULONG_MAX seconds */
#define READDIR_MAX   (64u << 10)
#define COOKIE_DOT    1
#define COOKIE_DOTDOT 2 /* greater ones are nodes' */

/* INIT asks for these and no others; session.c adds what libfuse does not know. ATOMIC_O_TRUNC, libfuse's default, must
 * not be among them: with ENOSYS for OPEN the kernel would take a file for truncated that nobody truncated. */
#define CAPABILITIES (FUSE_CAP_ASYNC_READ | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA)

static struct ops *ops_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	conn->want = CAPABILITIES & conn->capable;
	conn->max_write = 4096;
}

/* --- queries --- */

/* The earlier process has changed this node's count for the request that is replayed. */
static bool is_counted(const struct ops *o, const struct node *n)
{
	return o->replay && o->replay->count_id == node_id(n) && o->replay->count_after == node_lookups(n);
}

/* The same to the next process, should this one die of the request too. */
static void note_count(struct arena_slot *slot, const struct node *n)
{
	slot->count_id = 0;
	atomic_signal_fence(memory_order_seq_cst);
	slot->count_after = node_lookups(n);
	atomic_signal_fence(memory_order_seq_cst);
	slot->count_id = node_id(n);
}

static void reply_node(fuse_req_t req, struct node *n, bool hidden)
{
	struct ops *o = ops_of(req);
	bool counted = is_counted(o, n);
	struct fuse_entry_param param = {
		.ino = node_id(n),
		.attr_timeout = hidden || node_kind(n) == NODE_LIVE ? 0 : FOREVER_SEC,
		.entry_timeout = hidden ? 0 : FOREVER_SEC,
	};

	if (tree_stat(o->tree, n, &param.attr) < 0)
		node_stat(n, &param.attr);
	if (counted)
		note_count(o->slot, n);
	else
		tree_ref_lookup(o->tree, n);
	/* the caller may be gone meanwhile: then the kernel has not counted this one. Unless it has had the answer from an
	 * earlier process: one reference too many is better than one too few. */
	if (fuse_reply_entry(req, &param) < 0 && !counted)
		tree_forget(o->tree, param.ino, 1);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent_id, const char *name)
{
	struct ops *o = ops_of(req);
	struct node *parent = tree_node(o->tree, parent_id), *n;
	bool hidden;

	if (!parent || node_kind(parent) != NODE_DIR) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	n = tree_lookup(o->tree, parent, name, &hidden);
	if (n)
		reply_node(req, n, hidden);
	else if (node_is_immutable(parent))
		fuse_reply_entry(req, &(struct fuse_entry_param){ .ino = 0, .entry_timeout = FOREVER_SEC });
	else
		fuse_reply_err(req, ENOENT);
}

static void op_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *forgets)
{
	struct ops *o = ops_of(req);
	size_t done = o->replay ? o->replay->n_forgotten : 0;

	for (size_t i = done; i < n; i++) {
		const struct node *node = tree_node(o->tree, forgets[i].ino);

		if (node && !(i == done && is_counted(o, node)))
			tree_forget(o->tree, forgets[i].ino, forgets[i].nlookup);
		o->slot->n_forgotten = i + 1;
	}
	fuse_reply_none(req);
}

static void op_forget(fuse_req_t req, fuse_ino_t id, uint64_t count)
{
	op_forget_multi(req, 1, &(struct fuse_forget_data){ .ino = id, .nlookup = count });
}

static void reply_attr(fuse_req_t req, const struct node *n)
{
	struct stat st;

	if (tree_stat(ops_of(req)->tree, n, &st) < 0)
		fuse_reply_err(req, ESTALE);
	else
		fuse_reply_attr(req, &st, st.st_nlink && !node_is_in_flux(n) ? FOREVER_SEC : 0);
}

static void op_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct node *n = tree_node(ops_of(req)->tree, id);

	if (n)
		reply_attr(req, n);
	else
		fuse_reply_err(req, ESTALE);
}

static void op_readlink(fuse_req_t req, fuse_ino_t id)
{
	struct node *n = tree_node(ops_of(req)->tree, id);

	if (n && node_kind(n) == NODE_LINK)
		fuse_reply_readlink(req, node_target(n));
	else
		fuse_reply_err(req, n ? EINVAL : ESTALE);
}

static void op_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	fuse_reply_err(req, ENOSYS);
}

/* The bytes go from locked memory to the kernel without a copy that would have to be wiped. */
static void op_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct tree *t = ops_of(req)->tree;
	struct node *n = tree_node(t, id), *file = n ? tree_follow(t, n) : NULL;
	const struct secspan *content;

	if (!file || node_kind(file) != NODE_FILE) {
		fuse_reply_err(req, file ? EISDIR : ESTALE);
		return;
	}
	content = node_content(file);
	if (off >= 0)
		tree_note_read(t, n, (uint64_t)off, size);
	if (off < 0 || (size_t)off >= content->len)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_buf(req, (const char *)secspan_data(content) + off, MIN(size, content->len - off));
}

struct listing {
	fuse_req_t req;
	char *buf;
	size_t len, size;
};

/* false: it does not fit any more. */
static bool listing_add(struct listing *l, const char *name, const struct node *n, uint64_t cookie)
{
	struct stat st;
	size_t need;

	if (tree_stat(ops_of(l->req)->tree, n, &st) < 0)
		return true; /* a live file that shows nothing now */
	need = fuse_add_direntry(l->req, l->buf + l->len, l->size - l->len, name, &st, cookie);
	if (need > l->size - l->len)
		return false;
	l->len += need;
	return true;
}

static void op_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t off, struct fuse_file_info *fi)
{
	static char buf[READDIR_MAX]; /* names, no secrets; there is one thread */
	size_t room = MIN(size, sizeof buf);
	struct listing l = { .req = req, .buf = buf, .size = room };
	struct node *dir = tree_node(ops_of(req)->tree, id), *n;
	uint64_t cookie = off;
	bool fits = true;

	if (!dir || node_kind(dir) != NODE_DIR) {
		fuse_reply_err(req, dir ? ENOTDIR : ESTALE);
		return;
	}
	if (cookie < COOKIE_DOT)
		fits = listing_add(&l, ".", dir, COOKIE_DOT);
	if (fits && cookie < COOKIE_DOTDOT)
		fits = listing_add(&l, "..", node_parent(dir) ?: dir, COOKIE_DOTDOT);
	cookie = MAX(cookie, (uint64_t)COOKIE_DOTDOT);
	while (fits && (n = node_next_child(dir, cookie))) {
		cookie = node_cookie(n);
		fits = listing_add(&l, node_name(n), n, cookie);
	}
	fuse_reply_buf(req, l.buf, l.len);
}

/* All of it, or its length if the caller has no room yet. */
static void reply_xattr(fuse_req_t req, const char *data, size_t len, size_t size)
{
	if (size == 0)
		fuse_reply_xattr(req, len);
	else if (len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, data, len);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size)
{
	const struct ops *o = ops_of(req);
	struct node *n = tree_node(o->tree, id);
	const char *value;
	size_t len;
	int r;

	r = o->hide_xattrs ? -ENOSYS : n ? xattr_get(o->tree, o->publish, n, name, &value, &len) : -ESTALE;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		reply_xattr(req, value, len, size);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t id, size_t size)
{
	const struct ops *o = ops_of(req);
	struct node *n = tree_node(o->tree, id);
	const char *list;
	size_t len;

	if (!n || o->hide_xattrs) {
		fuse_reply_err(req, o->hide_xattrs ? ENOSYS : ESTALE);
		return;
	}
	list = xattr_list(o->tree, o->publish, n, &len);
	reply_xattr(req, list, len, size);
}

/* What there is in all is the host's business: a volume shows no numbers of other pods. */
static void op_statfs(fuse_req_t req, fuse_ino_t id)
{
	struct tree_stats stats = { 0 };

	if (id == TREE_ROOT_ID)
		stats = tree_stats(ops_of(req)->tree);

	fuse_reply_statfs(req, &(struct statvfs){
				       .f_bsize = 4096,
				       .f_frsize = 4096,
				       .f_blocks = (stats.content_bytes + 4095) / 4096,
				       .f_files = stats.n_nodes,
				       .f_namemax = PAYLOAD_NAME_MAX,
			       });
}

/* --- changes: refused, unless the publisher makes one that is staged --- */

static void refuse(fuse_req_t req)
{
	++*ops_of(req)->n_refused;
	fuse_reply_err(req, EROFS);
}

/* A request of the earlier process's publisher that comes again. Nothing that it asks for is staged any more; what was
 * committed is confirmed. */
static bool is_replay(fuse_req_t req)
{
	const struct ops *o = ops_of(req);

	return o->replay && o->replay->publisher == fuse_req_ctx(req)->pid;
}

static struct node *node_for(fuse_req_t req, fuse_ino_t id)
{
	if (!is_replay(req) && !publish_is_publisher(ops_of(req)->publish, fuse_req_ctx(req)->pid))
		return NULL;
	return tree_node(ops_of(req)->tree, id);
}

static struct node *folder_for(fuse_req_t req, fuse_ino_t id)
{
	struct node *n = node_for(req, id);

	return n && node_kind(n) == NODE_DIR ? n : NULL;
}

static void reply_commit(fuse_req_t req, int r, struct node *n)
{
	if (r == -EROFS)
		refuse(req);
	else if (r < 0 || !n)
		fuse_reply_err(req, -r);
	else
		reply_node(req, n, false);
}

/* What is there under this name was made by the request that is replayed. */
static int confirm(fuse_req_t req, struct node *parent, const char *name, enum node_kind kind, struct node **ret_n)
{
	struct node *n = tree_find(ops_of(req)->tree, parent, name);

	if (!n || node_kind(n) != kind)
		return -EEXIST;
	*ret_n = n;
	return 0;
}

static void reply_removal(fuse_req_t req, int r)
{
	reply_commit(req, r == -ENOENT && is_replay(req) ? 0 : r, NULL);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent_id, const char *name, mode_t mode)
{
	struct node *parent = folder_for(req, parent_id), *n = NULL;
	int r = -EROFS;

	if (parent)
		tree_set_time(ops_of(req)->tree, clock_realtime_usec());
	if (parent)
		r = tree_commit_mkdir(ops_of(req)->tree, parent, name, &n);
	if (r == -EEXIST && is_replay(req))
		r = confirm(req, parent, name, NODE_DIR, &n);
	reply_commit(req, r, n);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent_id, const char *name)
{
	struct node *parent = folder_for(req, parent_id), *n = NULL;
	int r = -EROFS;

	if (parent)
		r = tree_commit_symlink(ops_of(req)->tree, parent, name, target, &n);
	if (r == -EEXIST && is_replay(req))
		r = confirm(req, parent, name, NODE_LINK, &n);
	reply_commit(req, r, n);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent_id, const char *name, fuse_ino_t to_id, const char *to_name,
		      unsigned flags)
{
	struct node *parent = folder_for(req, parent_id), *to = folder_for(req, to_id);
	int r = -EROFS;

	if (parent)
		tree_set_time(ops_of(req)->tree, clock_realtime_usec());
	if (parent && to && flags == 0)
		r = tree_commit_rename(ops_of(req)->tree, parent, name, to, to_name);
	if (r == -ENOENT && is_replay(req) && tree_was_renamed(ops_of(req)->tree, parent, name, to, to_name))
		r = 0;
	reply_commit(req, r, NULL);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent_id, const char *name)
{
	struct node *parent = folder_for(req, parent_id);

	reply_removal(req, parent ? tree_commit_unlink(ops_of(req)->tree, parent, name) : -EROFS);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent_id, const char *name)
{
	struct node *parent = folder_for(req, parent_id);

	reply_removal(req, parent ? tree_commit_rmdir(ops_of(req)->tree, parent, name) : -EROFS);
}

/* The publisher's chmod of a folder and its touch of a live file: they change nothing (the answer has the node's own mode and
 * time), and wake the node's watchers. */
static void op_setattr(fuse_req_t req, fuse_ino_t id, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct node *n = node_for(req, id);
	int what = to_set & ~(FUSE_SET_ATTR_CTIME | FUSE_SET_ATTR_MTIME_NOW);

	if (n && ((node_kind(n) == NODE_DIR && what == FUSE_SET_ATTR_MODE) ||
		  (node_kind(n) == NODE_LIVE && what == FUSE_SET_ATTR_MTIME)))
		reply_attr(req, n);
	else
		refuse(req);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent_id, const char *name, mode_t mode, dev_t dev)
{
	struct node *parent = S_ISREG(mode) ? folder_for(req, parent_id) : NULL, *n = NULL;
	int r = -EROFS;

	if (parent)
		r = tree_commit_mknod(ops_of(req)->tree, parent, name, &n);
	if (r == -EEXIST && is_replay(req))
		r = confirm(req, parent, name, NODE_LIVE, &n);
	reply_commit(req, r, n);
}

static void op_link(fuse_req_t req, fuse_ino_t id, fuse_ino_t parent, const char *name)
{
	refuse(req);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	refuse(req);
}

static void op_write(fuse_req_t req, fuse_ino_t id, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	refuse(req);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t id, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	refuse(req);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t id, const char *name, const char *value, size_t size, int flags)
{
	refuse(req);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t id, const char *name)
{
	refuse(req);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info *fi_in,
			       fuse_ino_t out, off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags)
{
	refuse(req);
}

/* What is missing is answered ENOSYS by libfuse, once: FLUSH, RELEASE and FSYNC then cost nothing, locks are local to the
 * node. */
const struct fuse_lowlevel_ops OPS_TABLE = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.readlink = op_readlink,
	.open = op_open,
	.opendir = op_open,
	.read = op_read,
	.readdir = op_readdir,
	.statfs = op_statfs,
	.mkdir = op_mkdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.setattr = op_setattr,
	.mknod = op_mknod,
	.link = op_link,
	.create = op_create,
	.write = op_write,
	.fallocate = op_fallocate,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.setxattr = op_setxattr,
	.removexattr = op_removexattr,
	.copy_file_range = op_copy_file_range,
};
