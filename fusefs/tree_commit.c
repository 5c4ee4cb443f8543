/* Commits: the publisher's calls, as they come in. Each is refused or done, and is done by one store in the arena that decides
 * whether the next process finds it done; what else changes with it follows from that store (tree_restore.c). */
#include "fusefs/tree_internal.h"

static struct node *version_of(const struct tree *t, const struct node *vol, const struct node *data)
{
	return data && data->kind == NODE_LINK ? tree_find(t, vol, data->target) : NULL;
}

/* The volume shows the version that its link leads to from now on. */
static void version_is_shown(struct tree *t, const struct node *vol)
{
	struct node *version = version_of(t, vol, tree_find(t, vol, TREE_DATA_LINK));

	if (version)
		tree_note_shown(t, version, t->now_usec);
}

int tree_commit_mkdir(struct tree *t, struct node *parent, const char *name, struct node **ret_n)
{
	struct node *n = tree_find(t, parent, name);

	if (n && n->committed)
		return -EEXIST;
	if (!n || n->kind != NODE_DIR)
		return -EROFS;
	node_commit(t, n);
	version_is_shown(t, n);
	*ret_n = n;
	return 0;
}

int tree_commit_symlink(struct tree *t, struct node *parent, const char *name, const char *target, struct node **ret_n)
{
	struct node *n = tree_find(t, parent, name);

	if (n && n->committed)
		return -EEXIST;
	if (!n || n->kind != NODE_LINK || strcmp(n->target, target) != 0)
		return -EROFS;
	node_commit(t, n);
	*ret_n = n;
	return 0;
}

int tree_commit_mknod(struct tree *t, struct node *parent, const char *name, struct node **ret_n)
{
	struct node *n = tree_find(t, parent, name);

	if (n && n->committed)
		return -EEXIST;
	if (!n || n->kind != NODE_LIVE)
		return -EROFS;
	node_commit(t, n);
	*ret_n = n;
	return 0;
}

/* A node that is renamed, to another name where it is or under its name into another folder. This is the one store that counts:
 * of two nodes with one name the one that came to it by a rename has it. */
static void rename_store(struct node *n, const struct node *to)
{
	if (n->parent == to) {
		n->renamed = true;
		node_store(n);
	} else {
		n->moved = true;
		node_store_number(n, to->id);
	}
}

/* Into the list of the folder that it is in now. */
static void children_move(struct node *n, struct node *to, uint64_t cookie)
{
	struct node *from = n->parent;

	children_remove(&from->dir, n);
	n->cookie = cookie;
	children_insert(&to->dir, n);
	from->dir.n_dirs -= n->kind == NODE_DIR;
	to->dir.n_dirs += n->kind == NODE_DIR;
	n->parent = to;
}

int tree_commit_rename(struct tree *t, struct node *parent, const char *name, struct node *to, const char *to_name)
{
	struct node *n = tree_find(t, parent, name), *old, *before;
	bool is_data = str_eq(to_name, TREE_DATA_LINK); /* asked now: the name may be the node's own, which goes */
	struct entry *final, *own;
	uint64_t cookie;

	if (!n || !n->committed || n->hidden)
		return -ENOENT;
	if (!n->final || n->final->parent_id != to->id || strcmp(n->final->name, to_name) != 0)
		return -EROFS;
	old = n->final->node;
	if (old && (n->kind == NODE_DIR || old->kind == NODE_DIR))
		return n->kind == NODE_DIR ? -EEXIST : -EISDIR;

	before = is_data ? version_of(t, parent, old) : NULL;
	final = final_take(t, n);
	rename_store(n, to);
	own = n->entry;
	n->entry = final;
	final->node = n;
	cookie = old ? old->cookie : cookie_in(to, to_name, n->id);
	if (old) {
		/* the old node leaves with the name that the new one gives up */
		old->entry = own;
		own->node = old;
		node_detach(t, old);
	} else {
		entry_free(t, own);
	}
	children_move(n, to, cookie);
	if (parent == to)
		node_touch(t, n);
	node_touch(t, parent);
	node_touch(t, to);
	if (before && before != version_of(t, parent, n))
		tree_retire(t, before);
	if (is_data)
		version_is_shown(t, parent);
	return 0;
}

bool tree_was_renamed(const struct tree *t, const struct node *parent, const char *name, const struct node *to,
		      const char *to_name)
{
	const struct node *n = tree_find(t, to, to_name);

	if (!n || !n->record || !str_eq(arena_record_node(n->record).name, name))
		return false;
	return parent == to ? n->renamed : n->moved && arena_record_made_in(n->record) == parent->id;
}

static bool is_in_retired(const struct node *n)
{
	for (; n; n = n->parent)
		if (n->retired)
			return true;
	return false;
}

int tree_commit_unlink(struct tree *t, struct node *parent, const char *name)
{
	struct node *n = tree_find(t, parent, name);

	if (!n || !n->committed || n->hidden)
		return -ENOENT;
	if (n->kind == NODE_DIR)
		return -EISDIR;
	if (!n->removal)
		return -EROFS;

	n->removal = false;
	if (is_in_retired(parent))
		tree_hide(t, n);
	else
		node_detach(t, n);
	return 0;
}

static bool is_on_its_way(struct tree *t, const struct node *n)
{
	const struct node *to = n->final ? tree_node(t, n->final->parent_id) : NULL;

	return to && (to->parent || to->id == TREE_ROOT_ID);
}

/* At any depth. A flat volume's folder of changes is what says to the next process that they have not all been made. */
static bool has_node_on_its_way(struct tree *t, struct node *dir)
{
	bool found = false;
	struct node *n;

	list_append(&t->todo, &dir->work);
	while ((n = list_first(&t->todo, struct node, work))) {
		list_remove(&n->work);
		found |= is_on_its_way(t, n);
		for (size_t i = 0; !found && n->kind == NODE_DIR && i < n->dir.n; i++)
			list_append(&t->todo, &n->dir.v[i]->work);
	}
	return found;
}

int tree_commit_rmdir(struct tree *t, struct node *parent, const char *name)
{
	struct node *n = tree_find(t, parent, name);

	if (!n || !n->committed || n->hidden)
		return -ENOENT;
	if (n->kind != NODE_DIR)
		return -ENOTDIR;
	if (!n->removal)
		return -EROFS;
	if (has_node_on_its_way(t, n))
		return -ENOTEMPTY;

	node_detach(t, n);
	return 0;
}
