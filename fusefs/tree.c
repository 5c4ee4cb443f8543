/* The tree: its nodes. Two maps find everything: ids to nodes, and {folder, name} to directory entries. An entry is an object of
 * its own, so that a rename only lets the target's entry point to the other node: a commit never allocates and so can
 * never fail for want of memory; all that is allocated is allocated when a change is staged.
 *
 * A folder's children are an array, ordered by their cookies, which are their ids until one takes another's name; the link that
 * is replaced with each update always has its folder's id, which is nobody's in it. So a readdir cookie (of the last child that
 * was listed) is found by bisection however the folder has changed. The next process has the same cookies, of that link and of
 * files that were moved over others (flat volumes), too; but another link that has taken one's place, as in by-name, has the cookie
 * of the one before only as long as this process lives, and its own id in the next.
 * Staged children are in the array too and are skipped by readers. Subtrees are walked with work lists, never with
 * recursion: how deep they are is decided by somebody else. */
#include "fusefs/tree_internal.h"

#define BLOCK_SIZE 4096

/* --- entries and nodes --- */

static size_t entry_key_len(const char *name)
{
	return sizeof(struct entry) - offsetof(struct entry, parent_id) + strlen(name);
}

static_assert(sizeof(struct entry) == offsetof(struct entry, name),
	      "the map's key is parent_id and name, without a gap");

struct entry *entry_find(const struct tree *t, const struct node *parent, const char *name)
{
	struct {
		uint64_t parent_id;
		char name[PAYLOAD_NAME_MAX + 1];
	} key = { .parent_id = parent->id };
	size_t len = strlen(name);

	if (len > PAYLOAD_NAME_MAX)
		return NULL;
	memcpy(key.name, name, len);
	return map_get(&t->by_name, &key, entry_key_len(name));
}

int entry_add(struct tree *t, const struct node *parent, const char *name, struct entry **ret_e)
{
	size_t len = strlen(name);
	struct entry *e;
	int r;

	if (len == 0 || len > PAYLOAD_NAME_MAX)
		return -ENAMETOOLONG;
	e = calloc(1, sizeof *e + len + 1);
	if (!e)
		return -ENOMEM;
	e->parent_id = parent->id;
	memcpy(e->name, name, len);
	r = map_add(&t->by_name, &e->parent_id, entry_key_len(name), e);
	if (r < 0) {
		free(e);
		return r;
	}
	*ret_e = e;
	return 0;
}

void entry_free(struct tree *t, struct entry *e)
{
	if (!e)
		return;
	map_remove(&t->by_name, &e->parent_id, entry_key_len(e->name));
	free(e);
}

/* Index of the first child behind a cookie. */
static size_t children_after(const struct children *c, uint64_t cookie)
{
	size_t lo = 0, hi = c->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->v[mid]->cookie > cookie)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

int children_reserve(struct children *c)
{
	size_t size = c->size ? c->size * 2 : 4;
	struct node **v;

	if (c->n + c->n_coming < c->size)
		return 0;
	v = reallocarray(c->v, size, sizeof *v);
	if (!v)
		return -ENOMEM;
	c->v = v;
	c->size = size;
	return 0;
}

void children_insert(struct children *c, struct node *n)
{
	size_t i = children_after(c, n->cookie);

	assert(c->n < c->size);
	memmove(c->v + i + 1, c->v + i, (c->n - i) * sizeof *c->v);
	c->v[i] = n;
	c->n++;
}

void children_remove(struct children *c, const struct node *n)
{
	size_t i = children_after(c, n->cookie - 1);

	/* no two have one cookie, but in an arena that has been tampered with */
	while (i < c->n && c->v[i] != n)
		i++;
	assert(i < c->n);
	memmove(c->v + i, c->v + i + 1, (c->n - i - 1) * sizeof *c->v);
	c->n--;
}

void node_touch(struct tree *t, struct node *n)
{
	n->changed_usec = t->now_usec;
	if (n->record)
		arena_record_set_changed(n->record, n->changed_usec);
	else if (t->arena && n == t->root)
		arena_set_root_changed(t->arena, n->changed_usec);
}

void node_parent_changed(struct tree *t, struct node *n, int by)
{
	if (n->kind == NODE_DIR)
		n->parent->dir.n_dirs += by;
	node_touch(t, n->parent);
}

static unsigned node_state(const struct node *n)
{
	return (n->committed ? ARENA_COMMITTED : 0) | (n->hidden ? ARENA_HIDDEN : 0) |
	       (n->retired ? ARENA_RETIRED : 0) | (n->renamed ? ARENA_RENAMED : 0) | (n->parent ? 0 : ARENA_DETACHED) |
	       (n->flux ? ARENA_FLUX : 0) | (n->moved ? ARENA_MOVED : 0);
}

void node_store(struct node *n)
{
	if (n->record)
		arena_record_set_state(n->record, node_state(n));
}

void node_store_number(struct node *n, uint64_t number)
{
	if (n->record)
		arena_record_set_number(n->record, node_state(n), number);
}

void node_free(struct tree *t, struct node *n)
{
	if (n->record)
		arena_remove(t->arena, n->record);
	origins_unref(n->origins);
	idmap_remove(&t->by_id, n->id);
	t->stats.n_nodes--;
	switch (n->kind) {
	case NODE_DIR:
		free(n->dir.v);
		break;
	case NODE_LINK:
	case NODE_LIVE:
		free(n->target);
		break;
	case NODE_FILE:
		t->stats.content_bytes -= n->content.len;
		secblock_unref(n->content.block);
		break;
	}
	free(n);
}

int node_new(struct tree *t, enum node_kind kind, mode_t mode, gid_t gid, struct node **ret_n)
{
	struct node *n = calloc(1, sizeof *n);
	int r;

	if (!n)
		return -ENOMEM;
	n->id = n->cookie = t->next_id++;
	if (t->arena)
		arena_set_next_id(t->arena, t->next_id);
	n->kind = kind;
	n->mode = mode;
	n->gid = gid;
	n->changed_usec = t->now_usec;
	list_init(&n->work);
	r = idmap_add(&t->by_id, n->id, n);
	if (r < 0) {
		free(n);
		return r;
	}
	t->stats.n_nodes++;
	*ret_n = n;
	return 0;
}

struct entry *final_take(struct tree *t, struct node *n)
{
	struct entry *final = n->final;
	struct node *to = tree_node(t, final->parent_id);

	if (to && final->parent_id != n->entry->parent_id)
		to->dir.n_coming--;
	if (final->node)
		final->node->awaited = false;
	n->final = NULL;
	return final;
}

void final_drop(struct tree *t, struct node *n)
{
	struct entry *final = n->final ? final_take(t, n) : NULL;

	if (final && !final->node)
		entry_free(t, final);
}

/* No name and no parent any more; it lives on only as long as the kernel knows it. */
static void node_orphan(struct tree *t, struct node *n)
{
	final_drop(t, n);
	if (n->awaited)
		n->entry->node = NULL;
	else
		entry_free(t, n->entry);
	n->awaited = false;
	n->entry = NULL;
	n->parent = NULL;
	n->committed = n->removal = false;
	n->hidden = true;
	if (n->n_lookup == 0) {
		node_free(t, n);
		return;
	}
	node_store(n);
	t->stats.n_detached++;
}

/* The top of the subtree first: with its record all that is in it is out of the tree. */
void node_detach(struct tree *t, struct node *n)
{
	if (node_is_listed(n))
		node_parent_changed(t, n, -1);
	children_remove(&n->parent->dir, n);

	list_append(&t->todo, &n->work);
	while ((n = list_first(&t->todo, struct node, work))) {
		list_remove(&n->work);
		if (n->kind == NODE_DIR) {
			for (size_t i = 0; i < n->dir.n; i++)
				list_append(&t->todo, &n->dir.v[i]->work);
			n->dir.n = n->dir.n_dirs = 0;
		}
		node_orphan(t, n);
	}
}

/* --- the tree --- */

int tree_new(uint64_t now_realtime_usec, struct tree **ret_t)
{
	struct tree *t = calloc(1, sizeof *t);
	int r;

	if (!t)
		return -ENOMEM;
	list_init(&t->todo);
	t->now_usec = now_realtime_usec;
	/* an earlier process has begun earlier, and has answered less than one question in a nanosecond */
	t->flux_nsec = now_realtime_usec * NSEC_PER_USEC;
	t->next_id = TREE_ROOT_ID;
	r = node_new(t, NODE_DIR, 0711, 0, &t->root);
	if (r < 0) {
		tree_free(t);
		return r;
	}
	t->root->committed = true;
	t->next_id = TREE_FIRST_ID;
	*ret_t = t;
	return 0;
}

void tree_free(struct tree *t)
{
	struct node *n;
	struct entry *e;

	if (!t)
		return;
	for (size_t it = 0; (e = map_next(&t->by_name, &it));)
		entry_free(t, e);
	for (size_t it = 0; (n = idmap_first(&t->by_id, &it));) {
		if (t->arena) {
			n->record = NULL;
			if (n->origins)
				origins_leave(n->origins);
			if (n->kind == NODE_FILE)
				n->content.block = NULL;
		}
		node_free(t, n);
	}
	map_deinit(&t->by_name);
	idmap_deinit(&t->by_id);
	free(t);
}

struct tree_stats tree_stats(const struct tree *t)
{
	return t->stats;
}

void tree_set_time(struct tree *t, uint64_t now_realtime_usec)
{
	t->now_usec = now_realtime_usec;
}

/* --- queries --- */

struct node *tree_node(const struct tree *t, uint64_t id)
{
	return idmap_get(&t->by_id, id);
}

struct node *tree_find(const struct tree *t, const struct node *parent, const char *name)
{
	struct entry *e = entry_find(t, parent, name);

	return e ? e->node : NULL;
}

struct node *tree_lookup(const struct tree *t, const struct node *parent, const char *name, bool *ret_hidden)
{
	struct node *n = tree_find(t, parent, name);
	bool hidden = false;

	/* one that is to be unlinked has to be found for it */
	if (!n || !n->committed || (n->kind == NODE_LIVE && !n->removal && !tree_follow(t, n)))
		return NULL;
	/* what is in a hidden folder is as short-lived as the folder */
	for (const struct node *up = n; up && !hidden; up = up->parent)
		hidden = up->hidden;
	*ret_hidden = hidden;
	return n;
}

bool node_is_immutable(const struct node *n)
{
	return n->immutable;
}

bool node_is_linked(const struct node *n)
{
	return n->committed;
}

bool node_is_committed(const struct node *n)
{
	return n->committed && !n->final;
}

uint64_t node_id(const struct node *n)
{
	return n->id;
}

enum node_kind node_kind(const struct node *n)
{
	return n->kind;
}

const char *node_name(const struct node *n)
{
	return n->entry ? n->entry->name : "";
}

struct node *node_parent(const struct node *n)
{
	return n->parent;
}

struct node *tree_origin(const struct tree *t, const struct node *n, const char **ret_name)
{
	struct arena_node a;

	if (n->parent) {
		*ret_name = node_name(n);
		return n->parent;
	}
	if (!n->record)
		return NULL;
	a = arena_record_node(n->record);
	*ret_name = n->renamed ? a.final_name : a.name;
	return tree_node(t, a.parent_id);
}

const char *node_target(const struct node *n)
{
	assert(n->kind == NODE_LINK || n->kind == NODE_LIVE);
	return n->target;
}

const struct secspan *node_content(const struct node *n)
{
	assert(n->kind == NODE_FILE);
	return &n->content;
}

const struct digest *node_digest(const struct node *n)
{
	return &n->digest;
}

bool node_is_hidden(const struct node *n)
{
	return n->hidden;
}

const struct origins *node_origins(const struct node *n, uint32_t *ret_index)
{
	*ret_index = n->origin;
	return n->origins;
}

void tree_set_origins(struct tree *t, struct node *n, struct origins *o, uint32_t index)
{
	origins_ref(o);
	origins_unref(n->origins);
	n->origins = o;
	n->origin = index;
}

void tree_note_shown(struct tree *t, struct node *version, uint64_t realtime_usec)
{
	if (version->origins)
		origins_set_updated(version->origins, realtime_usec);
}

struct arena *tree_arena(const struct tree *t)
{
	return t->arena;
}

uint64_t node_changed(const struct node *n)
{
	return n->changed_usec;
}

static struct timespec timespec_from_usec(uint64_t usec)
{
	return (struct timespec){ .tv_sec = usec / USEC_PER_SEC, .tv_nsec = usec % USEC_PER_SEC * NSEC_PER_USEC };
}

void node_stat(const struct node *n, struct stat *ret_st)
{
	static const mode_t types[] = {
		[NODE_DIR] = S_IFDIR, [NODE_FILE] = S_IFREG, [NODE_LINK] = S_IFLNK, [NODE_LIVE] = S_IFREG
	};
	struct stat st = { 0 };

	st.st_ino = n->id;
	st.st_mode = types[n->kind] | n->mode;
	st.st_uid = n->uid;
	st.st_gid = n->gid;
	/* a name that only an overtaken path walk can find is gone for everybody else: watchers of it have to see the
	 * end of the file and not to wait for ever */
	st.st_nlink = n->hidden ? 0 : n->kind == NODE_DIR ? 2 + n->dir.n_dirs : 1;
	if (n->kind == NODE_FILE)
		st.st_size = n->content.len;
	else if (n->kind == NODE_LINK)
		st.st_size = strlen(n->target);
	st.st_blksize = BLOCK_SIZE;
	if (n->kind == NODE_FILE)
		st.st_blocks = (st.st_size + BLOCK_SIZE - 1) / BLOCK_SIZE * (BLOCK_SIZE / 512);
	st.st_mtim = st.st_ctim = st.st_atim = timespec_from_usec(n->changed_usec);
	*ret_st = st;
}

uint64_t node_cookie(const struct node *n)
{
	return n->cookie;
}

struct node *node_next_child(const struct node *n, uint64_t after)
{
	if (n->kind != NODE_DIR)
		return NULL;
	for (size_t i = children_after(&n->dir, after); i < n->dir.n; i++)
		if (node_is_listed(n->dir.v[i]))
			return n->dir.v[i];
	return NULL;
}

void tree_ref_lookup(struct tree *t, struct node *n)
{
	if (n == t->root)
		return;
	n->n_lookup++;
	if (n->record)
		arena_record_set_lookups(t->arena, n->record, n->n_lookup);
}

uint64_t node_lookups(const struct node *n)
{
	return n->n_lookup;
}

void tree_forget(struct tree *t, uint64_t id, uint64_t count)
{
	struct node *n = tree_node(t, id);

	if (!n || n == t->root)
		return;
	n->n_lookup -= MIN(count, n->n_lookup);
	if (n->record)
		arena_record_set_lookups(t->arena, n->record, n->n_lookup);
	if (n->n_lookup == 0 && !n->parent) {
		t->stats.n_detached--;
		node_free(t, n);
	}
}
