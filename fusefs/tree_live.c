/* Live files: what they show, and what the kernel is told of it. A live file has nothing of its own but a path, so nothing here
 * is switched; what there is to know is what the kernel may still have of before (in flux). Only that is written down, in the
 * number of the node's record. */
#include "fusefs/tree_internal.h"

#define PAGE_SIZE 4096u /* that the kernel's pages have at least */

/* Cuts the next name off *path; false: there is none, or none that a file can have. */
static bool path_cut(const char **path, char name[PAYLOAD_NAME_MAX + 1])
{
	size_t len = strcspn(*path, "/");

	if (len == 0 || len > PAYLOAD_NAME_MAX)
		return false;
	memcpy(name, *path, len);
	name[len] = 0;
	*path += len + ((*path)[len] == '/' && (*path)[len + 1]);
	return true;
}

/* Behind "<pod>/volumes/<plugin>/<volume>/"; NULL: this is no target of a live file. */
static const char *live_target_in_volume(const char *target)
{
	static const char *const fixed[] = { NULL, "volumes", NULL, NULL };
	char name[PAYLOAD_NAME_MAX + 1];

	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (!path_cut(&target, name) || str_eq(name, ".") || str_starts(name, "..") ||
		    (fixed[i] && !str_eq(name, fixed[i])))
			return NULL;
	return target;
}

bool live_target_is_good(const char *target)
{
	const char *rest = live_target_in_volume(target);
	char name[PAYLOAD_NAME_MAX + 1];
	bool version = false;
	int n = 0;

	for (; rest && *rest; n++) {
		if (!path_cut(&rest, name))
			return false;
		if (n == 0 && str_eq(name, TREE_DATA_LINK))
			version = true;
		else if (str_eq(name, ".") || str_starts(name, ".."))
			return false;
	}
	return n > version;
}

static struct node *child_shown(const struct tree *t, const struct node *dir, const char *name)
{
	struct node *n = dir && dir->kind == NODE_DIR ? tree_find(t, dir, name) : NULL;

	return n && n->committed ? n : NULL;
}

/* The file at a path of names below dir. hidden: also what only an overtaken path walk finds. */
static struct node *file_below(const struct tree *t, const struct node *dir, const char *path, bool hidden)
{
	char name[PAYLOAD_NAME_MAX + 1];
	struct node *n = NULL;

	while (dir && *path) {
		n = path_cut(&path, name) ? child_shown(t, dir, name) : NULL;
		dir = n && (hidden || !n->hidden) ? n : NULL;
	}
	return dir && n && n->kind == NODE_FILE ? n : NULL;
}

/* The volume's folder, and the key's path in its newest version or, a flat one, in it. */
static struct node *live_volume(const struct tree *t, const struct node *live, const char **ret_path, bool *ret_flat)
{
	const char *at = live->target, *end = live_target_in_volume(at);
	struct node *n = t->root;
	char name[PAYLOAD_NAME_MAX + 1];

	assert(end); /* it was looked at when the node was made */
	while (n && at < end && path_cut(&at, name))
		n = child_shown(t, n, name);
	*ret_flat = !str_starts(end, TREE_DATA_LINK "/");
	*ret_path = *ret_flat ? end : end + strlen(TREE_DATA_LINK "/");
	return n;
}

struct node *tree_follow(const struct tree *t, const struct node *n)
{
	struct node *dir, *data;
	const char *path;
	bool flat;

	if (n->kind != NODE_LIVE)
		return tree_node(t, n->id);
	/* out of the tree: so is the volume, or it will be */
	if (!n->parent)
		return NULL;
	dir = live_volume(t, n, &path, &flat);
	if (!flat) {
		data = child_shown(t, dir, TREE_DATA_LINK);
		if (!data || data->kind != NODE_LINK)
			return NULL;
		dir = child_shown(t, dir, data->target);
	}
	return file_below(t, dir, path, false);
}

bool node_is_in_flux(const struct node *n)
{
	return n->flux;
}

bool node_may_be_of_before(const struct node *live)
{
	return live->flux && live->size != TREE_SIZE_UNKNOWN;
}

/* No time of a node's is one of these: they are whole microseconds. */
static struct timespec flux_time(struct tree *t)
{
	if (++t->flux_nsec % NSEC_PER_USEC == 0)
		t->flux_nsec++;
	return (struct timespec){ .tv_sec = t->flux_nsec / (USEC_PER_SEC * NSEC_PER_USEC),
				  .tv_nsec = t->flux_nsec % (USEC_PER_SEC * NSEC_PER_USEC) };
}

int tree_stat(struct tree *t, const struct node *n, struct stat *ret_st)
{
	const struct node *file;

	if (n->kind != NODE_LIVE) {
		node_stat(n, ret_st);
		return 0;
	}
	file = tree_follow(t, n);
	if (!file)
		return -ESTALE;
	node_stat(file, ret_st);
	ret_st->st_ino = n->id;
	if (n->flux) {
		ret_st->st_size = n->size == TREE_SIZE_UNKNOWN ? file->content.len : n->size;
		ret_st->st_mtim = ret_st->st_ctim = flux_time(t);
	}
	return 0;
}

/* As a record's number; 0: unknown. */
static uint64_t size_number(uint64_t size)
{
	return size == TREE_SIZE_UNKNOWN ? 0 : size + 1;
}

static uint64_t number_size(uint64_t number)
{
	return number == 0 ? TREE_SIZE_UNKNOWN : number - 1;
}

/* What the kernel is told of the size while it may have pages of before. If it were told of a greater size than that of
 * before, it would show zeros behind the bytes that it has; if of a smaller one, it would cut what it has off, in the
 * middle of somebody's read. So it is told the size of before, until it has been given the page in which the end that comes
 * first is: then that page is one of now, and none of before (it would not have asked for it). */
void tree_note_read(struct tree *t, struct node *n, uint64_t off, size_t size)
{
	const struct node *file = n->flux ? tree_follow(t, n) : NULL;
	uint64_t end;

	if (!file)
		return;
	end = MIN(n->size, file->content.len) / PAGE_SIZE * PAGE_SIZE;
	if (off <= end && end < off + size)
		n->size = file->content.len;
}

/* With the mark goes what the smallest size is that the kernel has got pages of: files of a flat volume are nowhere to be found
 * once they have been replaced. */
void tree_unsettle(struct tree *t, struct node *live)
{
	const struct node *file = tree_follow(t, live);
	uint64_t size = file ? file->content.len : TREE_SIZE_UNKNOWN, noted;

	assert(live->kind == NODE_LIVE);
	noted = live->flux && live->record ? number_size(arena_record_number(live->record)) : TREE_SIZE_UNKNOWN;
	if (!live->flux)
		live->size = size;
	live->flux = true;
	node_store_number(live, size_number(MIN(size, noted)));
}

void tree_note_dropped(struct tree *t, struct node *live)
{
	live->size = TREE_SIZE_UNKNOWN;
}

/* Without a number beside its state: a binary that does not know of those must find none. */
void tree_settle(struct tree *t, struct node *live)
{
	live->flux = false;
	node_store_number(live, 0);
}

/* Which version the kernel has pages of, nobody knows any more: it is told the smallest size. */
void live_restore(struct tree *t, struct node *live)
{
	const struct node *file, *vol;
	const char *path = NULL;
	bool flat = false;

	live->size = number_size(arena_record_number(live->record));
	vol = live->parent ? live_volume(t, live, &path, &flat) : NULL;
	if (vol && flat) {
		file = file_below(t, vol, path, true);
		live->size = file ? MIN(live->size, file->content.len) : live->size;
		return;
	}
	for (size_t i = 0; vol && vol->kind == NODE_DIR && i < vol->dir.n; i++) {
		file = vol->dir.v[i]->kind == NODE_DIR ? file_below(t, vol->dir.v[i], path, true) : NULL;
		if (file)
			live->size = MIN(live->size, file->content.len);
	}
}
