/* Staging: nodes are made here, and whatever a commit will need is allocated and written down here, the records of nodes and
 * the entries of names, too: a commit (tree_commit.c) has nothing left that could fail. What a staged folder is filled with is
 * committed at once, for nobody gets to it before the folder is. */
#include "fusefs/tree_internal.h"

#include <inttypes.h>

/* Writes a new node down. It must be complete, and is not committed. A file's final name is the cookie of what it will be moved
 * over. */
static int node_record(struct tree *t, struct node *n, const struct node *over)
{
	char cookie[32];
	struct arena_node a = {
		.id = n->id,
		.parent_id = n->parent->id,
		.kind = n->kind,
		.mode = n->mode,
		.uid = n->uid,
		.gid = n->gid,
		.name = n->entry->name,
		.final_name = n->final ? n->final->name : NULL,
		.digest = n->digest,
	};

	if (!t->arena)
		return 0;
	if (over) {
		snprintf(cookie, sizeof cookie, "%" PRIx64, over->cookie);
		a.final_name = cookie;
	}
	if (n->kind == NODE_LINK || n->kind == NODE_LIVE)
		a.target = n->target;
	else if (n->kind == NODE_FILE)
		a.content = n->content;
	return arena_add(t->arena, &a, 0, n->changed_usec, &n->record);
}

/* A new child, in the folder but not committed. -EEXIST: the name is taken. */
static int child_new(struct tree *t, struct node *parent, const char *name, enum node_kind kind, mode_t mode, gid_t gid,
		     struct node **ret_n)
{
	struct entry *e;
	struct node *n;
	int r;

	assert(parent->kind == NODE_DIR);
	r = children_reserve(&parent->dir);
	if (r < 0)
		return r;
	r = entry_add(t, parent, name, &e);
	if (r < 0)
		return r;
	r = node_new(t, kind, mode, gid, &n);
	if (r < 0) {
		entry_free(t, e);
		return r;
	}
	e->node = n;
	n->entry = e;
	n->parent = parent;
	n->immutable = parent->immutable || (kind == NODE_DIR && name[0] == '.' && name[1] == '.');
	n->cookie = cookie_in(parent, name, n->id);
	children_insert(&parent->dir, n);
	*ret_n = n;
	return 0;
}

/* The new child is complete: without a record it cannot stay. */
static int child_record(struct tree *t, struct node *n, const struct node *over, struct node **ret_n)
{
	int r = node_record(t, n, over);

	if (r < 0) {
		node_detach(t, n);
		return r;
	}
	*ret_n = n;
	return 0;
}

static int dir_new(struct tree *t, struct node *parent, const char *name, mode_t mode, gid_t gid,
		   const struct digest *digest, struct node **ret_n)
{
	struct node *n;
	int r;

	r = child_new(t, parent, name, NODE_DIR, mode, gid, &n);
	if (r < 0)
		return r;
	if (digest)
		n->digest = *digest;
	return child_record(t, n, NULL, ret_n);
}

int tree_stage_dir(struct tree *t, struct node *parent, const char *name, mode_t mode, gid_t gid, struct node **ret_n)
{
	return dir_new(t, parent, name, mode, gid, NULL, ret_n);
}

int tree_stage_version(struct tree *t, struct node *parent, const char *name, mode_t mode, gid_t gid,
		       const struct digest *digest, struct node **ret_n)
{
	return dir_new(t, parent, name, mode, gid, digest, ret_n);
}

static int live_new(struct tree *t, struct node *parent, const char *name, const char *target, struct node **ret_n)
{
	cleanup_free char *copy = strdup(target);
	struct node *n;
	int r;

	if (!copy)
		return -ENOMEM;
	if (!live_target_is_good(target))
		return -EINVAL;
	r = child_new(t, parent, name, NODE_LIVE, 0, 0, &n);
	if (r < 0)
		return r;
	n->target = TAKE_PTR(copy);
	return child_record(t, n, NULL, ret_n);
}

int tree_stage_live(struct tree *t, struct node *parent, const char *name, const char *target, struct node **ret_n)
{
	return live_new(t, parent, name, target, ret_n);
}

/* final: the entry that a staged rename will take over; NULL: there is none. It stays the caller's on failure. */
static int link_new(struct tree *t, struct node *parent, const char *name, const char *target, struct entry *final,
		    struct node **ret_n)
{
	/* as the kernel does it: in a setgid folder the group is the folder's */
	gid_t gid = parent->mode & S_ISGID ? parent->gid : 0;
	cleanup_free char *copy = strdup(target);
	struct node *n;
	int r;

	if (!copy)
		return -ENOMEM;
	r = child_new(t, parent, name, NODE_LINK, 0777, gid, &n);
	if (r < 0)
		return r;
	n->target = TAKE_PTR(copy);
	n->final = final;
	r = node_record(t, n, NULL);
	if (r < 0) {
		n->final = NULL;
		node_detach(t, n);
		return r;
	}
	*ret_n = n;
	return 0;
}

int tree_stage_link(struct tree *t, struct node *parent, const char *name, const char *target, const char *final_name,
		    struct node **ret_n)
{
	struct entry *final = NULL;
	int r;

	if (final_name) {
		final = entry_find(t, parent, final_name);
		r = final ? 0 : entry_add(t, parent, final_name, &final);
		if (r < 0)
			return r;
	}
	r = link_new(t, parent, name, target, final, ret_n);
	if (r < 0 && final && !final->node)
		entry_free(t, final);
	if (r == 0 && final && final->node)
		final->node->awaited = true;
	return r;
}

int tree_stage_move(struct tree *t, struct node *n, struct node *to)
{
	struct entry *final;
	int r;

	assert(n->parent && n->parent != to && to->kind == NODE_DIR && (n->kind == NODE_FILE || n->kind == NODE_DIR));
	final_drop(t, n);
	r = children_reserve(&to->dir);
	if (r < 0)
		return r;
	final = entry_find(t, to, n->entry->name);
	r = final ? 0 : entry_add(t, to, n->entry->name, &final);
	if (r < 0)
		return r;
	if (final->node)
		final->node->awaited = true;
	to->dir.n_coming++;
	n->final = final;
	return 0;
}

void tree_stage_removal(struct tree *t, struct node *n)
{
	assert(n->parent);
	n->removal = true;
}

void tree_unstage(struct tree *t, struct node *n)
{
	n->removal = false;
	if (!n->committed && n->parent) {
		node_detach(t, n);
		return;
	}
	/* it is there already, only the rename is taken back */
	final_drop(t, n);
}

void node_commit(struct tree *t, struct node *n)
{
	n->committed = true;
	node_store(n);
	node_parent_changed(t, n, 1);
}

int tree_fill_version(struct tree *t, struct node *dir, const char *name, mode_t mode, gid_t gid,
		      const struct digest *digest, struct node **ret_n)
{
	int r = dir_new(t, dir, name, mode, gid, digest, ret_n);

	if (r < 0)
		return r;
	node_commit(t, *ret_n);
	return 0;
}

int tree_fill_dir(struct tree *t, struct node *dir, const char *name, mode_t mode, gid_t gid, struct node **ret_n)
{
	return tree_fill_version(t, dir, name, mode, gid, NULL, ret_n);
}

int tree_fill_link(struct tree *t, struct node *dir, const char *name, const char *target, struct node **ret_n)
{
	int r = link_new(t, dir, name, target, NULL, ret_n);

	if (r < 0)
		return r;
	node_commit(t, *ret_n);
	return 0;
}

int tree_fill_live(struct tree *t, struct node *dir, const char *name, const char *target, struct node **ret_n)
{
	int r = live_new(t, dir, name, target, ret_n);

	if (r < 0)
		return r;
	node_commit(t, *ret_n);
	return 0;
}

int tree_fill_file(struct tree *t, struct node *dir, const char *name, const struct payload_file *file,
		   struct node **ret_n)
{
	return tree_fill_file_over(t, dir, name, file, NULL, ret_n);
}

int tree_fill_file_over(struct tree *t, struct node *dir, const char *name, const struct payload_file *file,
			const struct node *over, struct node **ret_n)
{
	struct node *n;
	int r;

	r = child_new(t, dir, name, NODE_FILE, file->mode & 0777, file->gid, &n);
	if (r < 0)
		return r;
	n->uid = file->uid;
	n->digest = file->digest;
	n->content = file->content;
	if (n->content.block)
		secblock_ref(n->content.block);
	t->stats.content_bytes += n->content.len;
	r = child_record(t, n, over, ret_n);
	if (r < 0)
		return r;
	node_commit(t, n);
	return 0;
}

static int fill_like(struct tree *t, struct node *dir, const struct node *src, struct node **ret_n)
{
	struct payload_file file = { .mode = src->mode, .uid = src->uid, .gid = src->gid };
	int r;

	switch (src->kind) {
	case NODE_DIR:
		return tree_fill_dir(t, dir, node_name(src), src->mode, src->gid, ret_n);
	case NODE_LINK:
		return tree_fill_link(t, dir, node_name(src), src->target, ret_n);
	case NODE_LIVE:
		return tree_fill_live(t, dir, node_name(src), src->target, ret_n);
	default:
		file.content = src->content;
		file.digest = src->digest;
		r = tree_fill_file(t, dir, node_name(src), &file, ret_n);
		if (r == 0 && src->origins)
			tree_set_origins(t, *ret_n, src->origins, src->origin);
		return r;
	}
}

/* The children of copy->original into copy; folders among them go to the work list. */
static int fill_children(struct tree *t, struct node *copy)
{
	const struct node *child;
	int r;

	for (uint64_t after = 0; (child = node_next_child(copy->original, after)); after = child->cookie) {
		struct node *n;

		r = fill_like(t, copy, child, &n);
		if (r < 0)
			return r;
		if (child->kind == NODE_DIR) {
			n->original = child;
			list_append(&t->todo, &n->work);
		}
	}
	return 0;
}

int tree_fill_copy(struct tree *t, struct node *dir, const struct node *src, struct node **ret_n)
{
	struct node *top, *copy;
	int r;

	r = fill_like(t, dir, src, &top);
	if (r < 0)
		return r;
	if (src->kind == NODE_DIR) {
		top->original = src;
		list_append(&t->todo, &top->work);
	}
	while ((copy = list_first(&t->todo, struct node, work))) {
		list_remove(&copy->work);
		if (r == 0)
			r = fill_children(t, copy);
		copy->original = NULL;
	}
	if (r < 0) {
		node_detach(t, top);
		return r;
	}
	*ret_n = top;
	return 0;
}

void tree_hide(struct tree *t, struct node *n)
{
	if (node_is_listed(n))
		node_parent_changed(t, n, -1);
	n->hidden = true;
	node_store(n);
}

void tree_drop_hidden(struct tree *t, struct node *dir)
{
	for (size_t i = dir->dir.n; i-- > 0;)
		if (dir->dir.v[i]->hidden)
			node_detach(t, dir->dir.v[i]);
}

void tree_retire(struct tree *t, struct node *version)
{
	version->retired = true;
	node_store(version);
}
