/* Plan flat: volumes whose keys are regular files, right in the volume's folder. There is no link that could be switched: every
 * file that has changed is made beside the volume, and renamed over its key.
 *
 *   <pod>/staging/<volume>/<version>/files/<path>
 *
 * One mkdir of the version's folder commits an update: with it comes all that is to change, the new files and a link for each
 * path that is to go. From then on whoever looks at the tree can end the update, and nobody has to know what was wanted. When
 * it has come to its end "files" goes, and the version's folder stays, empty, as that which says what the volume shows.
 *
 * Folders among the files are only there for the path, if the volume has them; one that is new moves as a whole. What was in the
 * way as a file, or as a folder, goes before; what is gone goes last.
 *
 * Each file has a block of its own. The others in a Secret's block may change, and their old bytes would stay for the sake of
 * one that does not. */
#include "fusefs/plan_steps.h"

#define FILES	     "files"
#define GONE	     "gone" /* what links say: nobody reads it */
#define MODE_STAGING 0700

/* The update that is being made; `files` is made with the first thing that is to change. */
struct staging {
	struct plan *plan;
	struct node *vol, *version, *files;
};

static struct node *staging_folder(const struct plan *p)
{
	char uid[PAYLOAD_NAME_MAX + 1];
	const char *volume;
	struct node *n;

	volume_names(p, uid, &volume);
	n = plan_find(p, uid);
	n = n ? tree_find(p->tree, n, PLAN_STAGING) : NULL;
	return n ? tree_find(p->tree, n, volume) : NULL;
}

struct node *flat_version(const struct plan *p)
{
	struct node *folder = staging_folder(p), *newest = NULL;

	for (struct node *n = folder ? node_next_child(folder, 0) : NULL; n;
	     n = node_next_child(folder, node_cookie(n)))
		if (node_kind(n) == NODE_DIR)
			newest = n;
	return newest;
}

struct node *flat_made(const struct plan *p)
{
	struct node *folder = staging_folder(p);

	return folder ? tree_find(p->tree, folder, p->version) : NULL;
}

struct node *flat_file(const struct plan *p, const struct node *version, const char *path)
{
	struct node *staged = tree_find(p->tree, version, FILES), *there = plan_find(p, p->path), *n;
	char name[PAYLOAD_NAME_MAX + 1];

	while ((staged || there) && path_element(&path, name)) {
		n = staged && node_kind(staged) == NODE_DIR ? tree_find(p->tree, staged, name) : NULL;
		there = there && node_kind(there) == NODE_DIR ? tree_find(p->tree, there, name) : NULL;
		if (n && node_kind(n) == NODE_LINK)
			return NULL;
		if (n && there && (node_kind(n) != NODE_DIR || node_kind(there) != NODE_DIR))
			there = NULL;
		staged = n;
	}
	n = staged && node_kind(staged) == NODE_FILE ? staged : there;
	return n && !*path && node_kind(n) == NODE_FILE ? n : NULL;
}

struct node *flat_files(const struct plan *p, const struct node *version)
{
	return tree_find(p->tree, version, FILES);
}

bool flat_is_whole(const struct plan *p, const struct node *version)
{
	return !tree_find(p->tree, version, FILES);
}

/* --- what is to change --- */

/* The folder for the last name of a path below `top`, and that name. Folders that are missing are filled in. */
static int fill_parent(struct plan *p, struct node *top, const char *path, struct node **ret_dir,
		       char name[PAYLOAD_NAME_MAX + 1])
{
	struct node *dir = top, *n;
	int r;

	while (path_element(&path, name) && *path) {
		n = tree_find(p->tree, dir, name);
		r = n ? 0 : tree_fill_dir(p->tree, dir, name, dir_mode(p->payload), dir_gid(p->payload), &n);
		if (r < 0)
			return r;
		dir = n;
	}
	*ret_dir = dir;
	return 0;
}

/* over: the file in whose place it will be; NULL: there is none. */
static int fill_key(struct plan *p, struct node *top, const struct payload_file *f, const struct node *over)
{
	cleanup_secblock struct secblock *block = NULL;
	struct payload_file own = *f;
	char name[PAYLOAD_NAME_MAX + 1];
	struct node *dir, *n;
	int r;

	own.content = (struct secspan){ .len = f->content.len };
	if (own.content.len > 0) {
		r = secblock_new(own.content.len, &block, NULL);
		if (r < 0)
			return r;
		memcpy(block->data, secspan_data(&f->content), own.content.len);
		own.content.block = block;
	}
	r = fill_parent(p, top, f->path, &dir, name);
	return r ?: tree_fill_file_over(p->tree, dir, name, &own, over, &n);
}

static int fill_folder(struct plan *p, struct node *top, const char *path)
{
	char name[PAYLOAD_NAME_MAX + 1];
	struct node *dir, *n;
	int r;

	r = fill_parent(p, top, path, &dir, name);
	if (r < 0 || tree_find(p->tree, dir, name))
		return r;
	return tree_fill_dir(p->tree, dir, name, dir_mode(p->payload), dir_gid(p->payload), &n);
}

static int need_files(struct staging *s)
{
	return s->files ? 0 : tree_fill_dir(s->plan->tree, s->version, FILES, MODE_STAGING, 0, &s->files);
}

static bool shows_file(const struct node *n, const struct payload_file *f)
{
	struct stat st;

	if (!n || node_kind(n) != NODE_FILE)
		return false;
	node_stat(n, &st);
	return digest_eq(node_digest(n), &f->digest) && (size_t)st.st_size == f->content.len &&
	       (st.st_mode & 07777) == (f->mode & 0777) && st.st_uid == f->uid && st.st_gid == f->gid;
}

static int stage_new(struct staging *s)
{
	struct plan *p = s->plan;
	const struct payload *pl = p->payload;
	int r = 0;

	for (size_t i = 0; i < pl->n_files && r == 0; i++) {
		const struct node *there = node_below(p, s->vol, pl->files[i].path);

		if (shows_file(there, &pl->files[i]))
			continue;
		if (there && node_kind(there) != NODE_FILE)
			there = NULL;
		r = need_files(s);
		r = r ?: fill_key(p, s->files, &pl->files[i], there);
	}
	for (size_t i = 0; i < pl->n_mount_dirs && r == 0; i++) {
		const struct node *n = node_below(p, s->vol, pl->mount_dirs[i]);

		if (n && node_kind(n) == NODE_DIR)
			continue;
		r = need_files(s);
		r = r ?: fill_folder(p, s->files, pl->mount_dirs[i]);
	}
	return r;
}

static int stage_gone_path(struct staging *s, const char *path)
{
	struct plan *p = s->plan;
	char name[PAYLOAD_NAME_MAX + 1];
	struct node *dir, *n;
	int r;

	r = need_files(s);
	r = r ?: fill_parent(p, s->files, path, &dir, name);
	return r ?: tree_fill_link(p->tree, dir, name, GONE, &n);
}

/* What changes from a file into a folder, or the other way round, is among the new. */
static int stage_gone(struct staging *s)
{
	struct plan *p = s->plan;
	size_t prefix = strlen(p->path) + 1;
	struct node *n = walk_next(s->vol, s->vol);
	char path[ORDER_PATH_MAX];
	enum payload_kind wanted;
	int r;

	while (n) {
		r = node_path(n, path);
		if (r < 0)
			return r;
		wanted = payload_find(p->payload, path + prefix);
		r = wanted == PAYLOAD_NOTHING ? stage_gone_path(s, path + prefix) : 0;
		if (r < 0)
			return r;
		n = wanted == PAYLOAD_FOLDER && node_kind(n) == NODE_DIR ? walk_next(s->vol, n) : walk_on(s->vol, n);
	}
	return 0;
}

/* --- its steps --- */

static int remove_node(struct plan *p, struct node *n)
{
	int r;

	if (node_kind(n) != NODE_DIR)
		return stage_removal(p, n);
	r = unlink_files(p, n);
	return r ?: remove_dirs(p, n);
}

/* Of something in `files`: its path there, where it is to be, in which folder, and what is there now. */
struct place {
	char staged[ORDER_PATH_MAX], path[ORDER_PATH_MAX];
	struct node *to, *there;
};

static int place_of(const struct plan *p, struct node *vol, const struct node *files, const struct node *n,
		    struct place *ret)
{
	char top[ORDER_PATH_MAX], *rest, *slash;
	int r;

	r = node_path(files, top);
	r = r ?: node_path(n, ret->staged);
	if (r < 0)
		return r;
	rest = ret->staged + strlen(top) + 1;
	if (snprintf(ret->path, sizeof ret->path, "%s/%s", p->path, rest) >= (int)sizeof ret->path)
		return -ENAMETOOLONG;
	ret->there = node_below(p, vol, rest);
	ret->to = vol;
	slash = strrchr(rest, '/');
	if (slash) {
		*slash = 0;
		ret->to = node_below(p, vol, rest);
		*slash = '/';
	}
	return 0;
}

/* They come into the kernel's caches before they are where somebody reads them. */
static int warm_staged(struct plan *p, struct node *files)
{
	int r = 0;

	for (struct node *n = walk_next(files, files); n && r == 0; n = walk_next(files, n))
		if (node_kind(n) == NODE_FILE)
			r = step_add(p, ORDER_READ_FILE, n, NULL);
	return r;
}

static int move_node(struct plan *p, struct node *n, const struct place *at)
{
	int r = 0;

	if (!at->to || node_kind(at->to) != NODE_DIR)
		return -ENOTDIR;
	if (at->there && (node_kind(at->there) == NODE_DIR || node_kind(n) == NODE_DIR))
		r = remove_node(p, at->there);
	r = r ?: tree_stage_move(p->tree, n, at->to);
	if (r < 0)
		return r;
	r = step_add_path(p, ORDER_RENAME, n, at->staged, at->path);
	if (r < 0) {
		tree_unstage(p->tree, n);
		return r;
	}
	p->steps[p->n_steps - 1].moves = true;
	return 0;
}

static int move_new(struct plan *p, struct node *vol, struct node *files)
{
	struct node *n = walk_next(files, files);
	struct place at;
	int r;

	while (n) {
		r = place_of(p, vol, files, n, &at);
		if (r < 0)
			return r;
		if (node_kind(n) == NODE_DIR && at.there && node_kind(at.there) == NODE_DIR) {
			n = walk_next(files, n);
			continue;
		}
		r = node_kind(n) == NODE_LINK ? 0 : move_node(p, n, &at);
		if (r < 0)
			return r;
		n = walk_on(files, n);
	}
	return 0;
}

static int remove_gone(struct plan *p, struct node *vol, struct node *files)
{
	struct place at;
	int r = 0;

	for (struct node *n = walk_next(files, files); n && r == 0; n = walk_next(files, n)) {
		if (node_kind(n) != NODE_LINK)
			continue;
		r = place_of(p, vol, files, n, &at);
		if (r == 0 && at.there)
			r = remove_node(p, at.there);
	}
	return r;
}

/* Where they are then, and the folders that have changed. */
static int warm_moved(struct plan *p, struct node *vol, struct node *files)
{
	struct place at;
	int r = 0;

	for (struct node *n = walk_next(files, files); n && r == 0; n = walk_next(files, n)) {
		if (node_kind(n) == NODE_LINK)
			continue;
		r = place_of(p, vol, files, n, &at);
		r = r ?: step_add_path(p, warm_op(n), NULL, at.path, NULL);
	}
	return r ?: step_add(p, ORDER_READ_DIR, vol, NULL);
}

/* Other versions' folders go with all that is in them. */
static int remove_others(struct plan *p, const struct node *version)
{
	struct node *folder = staging_folder(p);
	int r = 0;

	for (struct node *n = node_next_child(folder, 0); n && r == 0; n = node_next_child(folder, node_cookie(n)))
		if (n != version)
			r = stage_removal(p, n);
	return r;
}

/* The step that is the last to show something new gives the time. */
static void mark_last_move(struct plan *p)
{
	size_t i = p->n_steps;

	while (i > 0 && !p->steps[i - 1].moves)
		i--;
	if (i > 0)
		p->steps[i - 1].mark = true;
}

/* From the commit on: the same for whoever begins the update and for whoever finds it unfinished. */
static int carry_out(struct plan *p, struct node *vol, struct node *version,
		     int (*end_live)(struct plan *p, struct node *version))
{
	struct node *files = tree_find(p->tree, version, FILES);
	int r;

	p->flat = true;
	r = unsettle_live(p, version);
	if (r == 0 && files) {
		r = warm_staged(p, files);
		r = r ?: move_new(p, vol, files);
		r = r ?: remove_gone(p, vol, files);
	}
	mark_last_move(p);
	r = r ?: end_live(p, version);
	if (r == 0 && files)
		r = stage_removal(p, files);
	r = r ?: remove_others(p, version);
	if (r == 0 && files)
		r = warm_moved(p, vol, files);
	return r ?: warm_live(p, version);
}

static int follow_live(struct plan *p, struct node *version)
{
	int r = settle_live(p, version);

	return r ?: add_live(p, version);
}

/* --- plans --- */

/* <pod>/staging/<volume>/<version>, made by the plan's next steps. */
static int stage_version_folder(struct plan *p, struct node **ret_version)
{
	char uid[PAYLOAD_NAME_MAX + 1];
	struct node *pod, *staging, *folder;
	const char *volume;
	int r;

	volume_names(p, uid, &volume);
	r = need_dir(p, tree_node(p->tree, TREE_ROOT_ID), uid, MODE_POD_DIR, &pod);
	r = r ?: need_dir(p, pod, PLAN_STAGING, MODE_STAGING, &staging);
	r = r ?: need_dir(p, staging, volume, MODE_STAGING, &folder);
	r = r ?: version_name(p, folder, "", p->version);
	return r ?: stage_folder(p, folder, p->version, MODE_STAGING, 0, &p->payload->digest, ret_version);
}

int flat_new(struct plan *p)
{
	const struct payload *pl = p->payload;
	struct node *version, *vol;
	int r;

	p->flat = true;
	r = stage_version_folder(p, &version);
	r = r ?: stage_volume(p, &vol);
	if (r < 0)
		return r;
	step_is_switch(p);
	for (size_t i = 0; i < pl->n_files && r == 0; i++)
		r = fill_key(p, vol, &pl->files[i], NULL);
	for (size_t i = 0; i < pl->n_mount_dirs && r == 0; i++)
		r = fill_folder(p, vol, pl->mount_dirs[i]);
	r = r ?: add_live(p, version);
	r = r ?: remove_others(p, version);
	rest_if_large(p);
	r = r ?: warm_tree(p, vol);
	r = r ?: warm_live(p, version);
	return r ?: warm_parents(p, vol);
}

int flat_update(struct plan *p, struct node *vol)
{
	struct staging s = { .plan = p, .vol = vol };
	int r;

	r = stage_version_folder(p, &s.version);
	if (r < 0)
		return r;
	step_is_switch(p);
	r = stage_new(&s);
	r = r ?: stage_gone(&s);
	return r ?: carry_out(p, vol, s.version, follow_live);
}

int flat_heal(struct plan *p, struct node *vol, struct node *version)
{
	snprintf(p->version, sizeof p->version, "%s", node_name(version));
	return carry_out(p, vol, version, heal_live);
}

int flat_remove(struct plan *p)
{
	struct node *folder = staging_folder(p);

	return folder ? stage_removal(p, folder) : 0;
}
