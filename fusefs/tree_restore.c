/* What an earlier process has left in the arena becomes the tree again. Records are believed only if a tree can have written
 * them: anything else is -EBADMSG. No node owns its record before all of them are nodes, so a tree that cannot be made takes
 * nothing out of the arena. */
#include "fusefs/tree_internal.h"

#include <inttypes.h>

#include "common/heap.h"

#define RESTORE_BYTES ((size_t)512) /* of heap for a record, about: node, name, maps, and what is needed meanwhile */

static bool is_attached(const struct tree *t, const struct node *n)
{
	return n == t->root || n->parent;
}

/* Whether the record is one of the tree, and not of what was only staged or is out of the tree. */
static bool record_is_live(const struct tree *t, const struct arena_record *r, const struct node *parent)
{
	unsigned state = arena_record_state(r);

	return (state & ARENA_COMMITTED) && !(state & ARENA_DETACHED) && parent && is_attached(t, parent);
}

/* A node as its record says, without content, name and parent; its record is not its own yet. */
static int node_restore(struct tree *t, const struct arena_record *r, const struct arena_node *a, struct node **ret_n)
{
	unsigned state = arena_record_state(r);
	struct node *n;
	int err;

	if (a->id < TREE_FIRST_ID || a->kind > NODE_LIVE || (a->mode & ~(mode_t)07777) ||
	    (a->kind == NODE_LINK || a->kind == NODE_LIVE) != (a->target != NULL) ||
	    (a->kind == NODE_LIVE && !live_target_is_good(a->target)) || (a->kind != NODE_FILE && a->content.block) ||
	    (a->kind != NODE_LIVE && (state & ARENA_FLUX)) ||
	    (a->kind != NODE_FILE && a->kind != NODE_DIR && (state & ARENA_MOVED)))
		return -EBADMSG;
	n = calloc(1, sizeof *n);
	if (!n)
		return -ENOMEM;
	list_init(&n->work);
	n->id = n->cookie = a->id;
	n->kind = a->kind;
	n->mode = a->mode;
	n->uid = a->uid;
	n->gid = a->gid;
	n->digest = a->digest;
	n->n_lookup = arena_record_lookups(r);
	n->changed_usec = arena_record_changed(r);
	n->retired = state & ARENA_RETIRED;
	n->renamed = state & ARENA_RENAMED;
	n->flux = state & ARENA_FLUX;
	n->moved = state & ARENA_MOVED;
	n->hidden = true;
	err = idmap_add(&t->by_id, n->id, n);
	if (err == 0 && a->target) {
		n->target = strdup(a->target);
		err = n->target ? 0 : -ENOMEM;
		if (err < 0)
			idmap_remove(&t->by_id, n->id);
	}
	if (err < 0) {
		free(n);
		return err;
	}
	t->stats.n_nodes++;
	*ret_n = n;
	return 0;
}

/* A rename over it was the last that the earlier process has written: it is out of the tree. */
static int node_overtaken(struct tree *t, struct node *old, const struct node *by)
{
	if (by->moved ? by->kind == NODE_DIR || old->kind == NODE_DIR : !by->renamed || old->kind != NODE_LINK)
		return -EBADMSG;
	if (old->id > by->id)
		return -EBADMSG;
	children_remove(&old->parent->dir, old);
	entry_free(t, old->entry);
	old->entry = NULL;
	old->parent = NULL;
	old->committed = false;
	old->hidden = true;
	return 0;
}

/* As node_record() writes it, of a node that was there before this one. 0: it is none. */
static uint64_t cookie_read(const struct node *n, const char *text)
{
	uint64_t cookie = strtoull(text, NULL, 16);
	char again[32];

	snprintf(again, sizeof again, "%" PRIx64, cookie);
	return str_eq(again, text) && cookie >= TREE_FIRST_ID && cookie < n->id ? cookie : 0;
}

static int node_attach(struct tree *t, struct node *n, struct node *parent, const struct arena_record *r,
		       const struct arena_node *a)
{
	const char *name = n->renamed ? a->final_name : a->name;
	int err;

	if (parent->kind != NODE_DIR || !name || strchr(name, '/'))
		return -EBADMSG;
	err = children_reserve(&parent->dir);
	err = err ?: entry_add(t, parent, name, &n->entry);
	if (err == -EEXIST) {
		err = node_overtaken(t, tree_find(t, parent, name), n);
		err = err ?: entry_add(t, parent, name, &n->entry);
	}
	if (err < 0)
		return err;
	n->entry->node = n;
	n->parent = parent;
	n->committed = true;
	n->hidden = arena_record_state(r) & ARENA_HIDDEN;
	n->immutable = parent->immutable || (n->kind == NODE_DIR && name[0] == '.' && name[1] == '.');
	n->cookie = cookie_in(parent, name, n->id);
	if (n->moved && n->kind == NODE_FILE && a->final_name)
		n->cookie = cookie_read(n, a->final_name) ?: n->cookie;
	children_insert(&parent->dir, n);
	return 0;
}

/* The records come by id, a folder before what is in it, and what is in it mostly together. What neither the tree nor the
 * kernel knows is left out. */
static int restore_nodes(struct tree *t, struct arena_record **records, struct node **nodes, size_t n)
{
	struct node *parent = t->root;
	int r;

	r = idmap_reserve(&t->by_id, n + 1);
	r = r ?: map_reserve(&t->by_name, n);
	for (size_t i = 0; i < n && r == 0; i++) {
		struct arena_node a = arena_record_node(records[i]);
		bool live;

		if (!parent || parent->id != a.parent_id)
			parent = tree_node(t, a.parent_id);
		live = record_is_live(t, records[i], parent);
		if (!live && arena_record_lookups(records[i]) == 0) {
			records[i] = NULL;
			continue;
		}
		r = node_restore(t, records[i], &a, &nodes[i]);
		if (r == 0 && live)
			r = node_attach(t, nodes[i], parent, records[i], &a);
	}
	return r;
}

/* From here on the records are the nodes' own. */
static void restore_settle(struct tree *t, struct arena_record **records, struct node **nodes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct node *node = nodes[i];

		if (!node)
			continue;
		node->record = records[i];
		if (node->kind == NODE_FILE) {
			node->content = arena_record_node(records[i]).content;
			t->stats.content_bytes += node->content.len;
		}
		if (!node->parent && node->n_lookup > 0) {
			node_store(node);
			t->stats.n_detached++;
		} else if (!node->parent) {
			node_free(t, node);
			nodes[i] = NULL;
		} else if (node->kind == NODE_DIR && node_is_listed(node)) {
			node->parent->dir.n_dirs++;
		}
	}
	for (size_t i = 0; i < n; i++)
		if (nodes[i] && nodes[i]->flux)
			live_restore(t, nodes[i]);
}

/* What a later note has said of a node counts. One that is of no node any more goes. */
static int restore_origins(struct tree *t, struct arena_note *note)
{
	cleanup_origins struct origins *o = NULL;
	const struct origins_node *nodes = NULL;
	size_t n = 0;
	int r;

	r = origins_restore(t->arena, note, &o, &nodes, &n);
	if (r == -EBADMSG)
		arena_note_remove(t->arena, note);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct node *node = tree_node(t, nodes[i].id);

		if (node && !node->origins && nodes[i].index <= origins_count(o))
			tree_set_origins(t, node, o, nodes[i].index);
	}
	return r == -ENOMEM ? r : 0;
}

static int tree_restore(struct tree *t, struct err *e)
{
	cleanup_free struct arena_record **records = NULL;
	cleanup_free struct arena_note **notes = NULL;
	cleanup_free struct node **nodes = NULL;
	size_t n, n_notes;
	int r;

	r = arena_load(t->arena, &records, &n, e);
	if (r < 0)
		return r;
	if (arena_load_notes(t->arena, &notes, &n_notes) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	heap_expect(n * RESTORE_BYTES);
	nodes = calloc(n + 1, sizeof(struct node *));
	r = nodes ? restore_nodes(t, records, nodes, n) : -ENOMEM;
	if (r < 0)
		return err_set(e, r, "state arena: %s", r == -EBADMSG ? "what is in it is no tree" : strerror(-r));
	r = arena_keep(t->arena, records, n, notes, n_notes, e);
	if (r < 0)
		return r;
	restore_settle(t, records, nodes, n);
	for (size_t i = 0; i < n_notes && r == 0; i++)
		r = notes[i] ? restore_origins(t, notes[i]) : 0;
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

int tree_open(uint64_t now_realtime_usec, struct arena *a, struct tree **ret_t, struct err *e)
{
	cleanup(tree_freep) struct tree *t = NULL;
	int r;

	r = tree_new(now_realtime_usec, &t);
	if (r < 0)
		return err_set(e, r, "out of memory");
	t->arena = a;
	t->next_id = MAX(arena_next_id(a), t->next_id);
	if (arena_root_changed(a))
		t->root->changed_usec = arena_root_changed(a);
	else
		node_touch(t, t->root);
	r = tree_restore(t, e);
	heap_settle();
	if (r < 0)
		return r;
	arena_set_next_id(a, t->next_id);
	*ret_t = TAKE_PTR(t);
	return 0;
}
