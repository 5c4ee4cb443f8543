/* Plan live: what an update means to the live files of its volume. From before the switch on, what the kernel is told of those
 * that change is good for one answer; after it, the kernel drops what it has of them. */
#include "fusefs/plan_steps.h"

struct node *live_folder(const struct plan *p)
{
	char uid[PAYLOAD_NAME_MAX + 1];
	const char *volume;
	struct node *n;

	volume_names(p, uid, &volume);
	n = plan_find(p, uid);
	n = n ? tree_find(p->tree, n, PLAN_LIVE) : NULL;
	return n ? tree_find(p->tree, n, volume) : NULL;
}

/* The file that a live file shows once this version is the newest. */
static struct node *live_in_version(const struct plan *p, const struct node *live, struct node *version)
{
	const char *path = node_target(live);
	char name[PAYLOAD_NAME_MAX + 1];
	struct node *n = version;

	/* <pod>/volumes/<plugin>/<volume>/ */
	for (int i = 0; i < 4; i++)
		(void)path_element(&path, name);
	if (p->flat)
		return flat_file(p, version, path);
	(void)path_element(&path, name); /* ..data */
	while (n && node_kind(n) == NODE_DIR && path_element(&path, name)) {
		n = tree_find(p->tree, n, name);
		if (n && node_is_hidden(n))
			n = NULL;
	}
	return n && !*path && node_kind(n) == NODE_FILE ? n : NULL;
}

static bool files_same(const struct node *a, const struct node *b)
{
	struct stat x, y;

	if (!a || !b)
		return a == b;
	node_stat(a, &x);
	node_stat(b, &y);
	return digest_eq(node_digest(a), node_digest(b)) && x.st_size == y.st_size && x.st_mode == y.st_mode &&
	       x.st_uid == y.st_uid && x.st_gid == y.st_gid;
}

int unsettle_live(struct plan *p, struct node *version)
{
	struct node *live = live_folder(p);
	int r = 0;

	for (struct node *n = live ? walk_next(live, live) : NULL; n && r == 0; n = walk_next(live, n)) {
		if (node_kind(n) != NODE_LIVE)
			continue;
		if (files_same(tree_follow(p->tree, n), live_in_version(p, n, version)) && !node_is_in_flux(n))
			continue;
		tree_unsettle(p->tree, n);
		r = step_add_inval(p, ORDER_INVAL_ATTR, n);
	}
	return r;
}

/* The kernel has still got pages of before, and lists of names. When they are gone it has to be told the size: what it was
 * told before may have come late and on top of what it was told then, and of a file's attributes only one question at a time
 * can be sure to be heard, with the answer to a change. That wakes the watchers, too. Of a file that is not uid 0's it can only
 * be asked for. */
int settle_live(struct plan *p, struct node *version)
{
	struct node *live = live_folder(p), *last = NULL;
	int r = 0;

	for (struct node *n = live ? walk_next(live, live) : NULL; n && r == 0; n = walk_next(live, n)) {
		if (node_kind(n) != NODE_LIVE || !node_is_in_flux(n))
			continue;
		r = step_add_inval(p, ORDER_INVAL, n);
		if (r < 0)
			return r;
		step_settles(p, n);
		if (node_parent(n) != last && !tree_follow(p->tree, n) != !live_in_version(p, n, version)) {
			last = node_parent(n);
			r = step_add_inval(p, ORDER_INVAL, last);
		}
	}
	for (struct node *n = live ? walk_next(live, live) : NULL; n && r == 0; n = walk_next(live, n)) {
		if (node_kind(n) != NODE_LIVE || !node_is_in_flux(n))
			continue;
		r = step_add(p, ORDER_TOUCH, n, NULL);
		r = r ?: step_add(p, ORDER_STAT, n, NULL);
		if (r == 0)
			step_settles(p, n);
	}
	return r;
}

static bool is_made_with_a_folder(const struct node *dir, const struct node *top)
{
	for (const struct node *n = dir; n; n = n == top ? NULL : node_parent(n))
		if (!node_is_committed(n))
			return true;
	return false;
}

/* As this node of the version, in the folder for live files. */
static int add_live_node(struct plan *p, struct node *live, struct node *dir, const struct node *like, const char *path)
{
	bool filled = is_made_with_a_folder(dir, live);
	const char *name = node_name(like);
	char target[ORDER_PATH_MAX];
	struct node *n;
	struct stat st;
	int r;

	if (node_kind(like) == NODE_DIR) {
		node_stat(like, &st);
		return filled ? tree_fill_dir(p->tree, dir, name, st.st_mode & 07777, st.st_gid, &n)
			      : stage_dir(p, dir, name, st.st_mode & 07777, st.st_gid, &n);
	}
	if (snprintf(target, sizeof target, "%s/%s%s", p->path, p->flat ? "" : PLAN_DATA_LINK "/", path) >=
	    (int)sizeof target)
		return -ENAMETOOLONG;
	if (filled)
		return tree_fill_live(p->tree, dir, name, target, &n);
	r = tree_stage_live(p->tree, dir, name, target, &n);
	if (r < 0)
		return r;
	r = step_add(p, ORDER_MKNOD, n, NULL);
	if (r < 0)
		tree_unstage(p->tree, n);
	return r;
}

/* Names of which an element starts with two dots have no live file: folders of that name never change. Folders are made for
 * the files' sake. */
static bool has_live_file(const struct node *n)
{
	const struct node *in = n;

	if (is_version_name(node_name(n)))
		return false;
	while (in && node_kind(in) == NODE_DIR)
		in = walk_next(n, in);
	return in && node_kind(in) == NODE_FILE;
}

/* The folder for the live file of this node of a version, below the folder for all of them. */
static struct node *live_parent(const struct plan *p, struct node *live, const char *path)
{
	char name[PAYLOAD_NAME_MAX + 1];

	while (live && path_element(&path, name) && *path)
		live = node_kind(live) == NODE_DIR ? tree_find(p->tree, live, name) : NULL;
	return live;
}

/* What is to be at the path of n, which is there now, is something else, or nothing. */
static bool is_to_give_way(const struct plan *p, const struct node *n, struct node *files, const char *path)
{
	const struct node *next = files ? node_below(p, files, path) : NULL;

	return next && (node_kind(next) == NODE_LINK || (node_kind(next) == NODE_DIR) != (node_kind(n) == NODE_DIR));
}

/* For the files below `top` that stay (files: of what changes, NULL: nothing does). What is there with another kind than it
 * should have goes; what should be there instead comes when it is gone. */
static int add_live_nodes(struct plan *p, struct node *live, struct node *top, struct node *files)
{
	struct node *n = walk_next(top, top), *dir, *there;
	char path[ORDER_PATH_MAX], prefix[ORDER_PATH_MAX];
	const char *rest;
	int r;

	r = node_path(top, prefix);
	while (n && r == 0) {
		enum node_kind kind = node_kind(n) == NODE_DIR ? NODE_DIR : NODE_LIVE;

		r = node_path(n, path);
		if (r < 0)
			return r;
		rest = path + strlen(prefix) + 1;
		dir = has_live_file(n) && !is_to_give_way(p, n, files, rest) ? live_parent(p, live, rest) : NULL;
		there = dir ? tree_find(p->tree, dir, node_name(n)) : NULL;
		if (there && node_kind(there) != kind) {
			/* one that is only coming cannot be removed */
			r = node_is_linked(there) ? stage_removal(p, there) : 0;
			p->live_again = true;
			dir = NULL;
		} else if (dir && !there) {
			r = add_live_node(p, live, dir, n, rest);
		}
		n = dir ? walk_next(top, n) : walk_on(top, n);
	}
	return r;
}

int add_live(struct plan *p, struct node *version)
{
	char uid[PAYLOAD_NAME_MAX + 1];
	struct node *live = live_folder(p), *vol = plan_find(p, p->path), *files, *pod, *top;
	const char *volume;
	struct stat st;
	int r;

	if (!live && !(p->payload && p->payload->live))
		return 0;
	if (!live) {
		volume_names(p, uid, &volume);
		pod = plan_find(p, uid);
		/* as a version's folder, which the volume's group can read */
		node_stat(vol, &st);
		r = pod ? need_dir(p, pod, PLAN_LIVE, MODE_POD_DIR, &top) : -ENOENT;
		r = r ?: stage_dir(p, top, volume, (st.st_mode & S_ISGID) | 0755, st.st_gid, &live);
		if (r < 0)
			return r;
	}
	if (!p->flat)
		return add_live_nodes(p, live, version, NULL);
	files = flat_files(p, version);
	r = add_live_nodes(p, live, vol, files);
	return r == 0 && files ? add_live_nodes(p, live, files, NULL) : r;
}

int warm_live(struct plan *p, struct node *version)
{
	struct node *live = live_folder(p);
	int r = 0;

	if (live && !node_is_committed(live))
		r = warm_tree(p, live);
	for (struct node *n = live ? walk_next(live, live) : NULL; n && r == 0; n = walk_next(live, n))
		if (node_kind(n) == NODE_LIVE && node_is_in_flux(n) && live_in_version(p, n, version))
			r = step_add(p, ORDER_READ_FILE, n, NULL);
	return r;
}

bool plan_live_is_whole(const struct plan *p, bool wanted)
{
	struct node *live = live_folder(p), *top, *dir, *n;
	char path[ORDER_PATH_MAX], prefix[ORDER_PATH_MAX];
	struct plan_shown s;

	if (!live || !plan_shown(p, &s))
		return !wanted;
	top = s.flat ? s.vol : s.version;
	for (n = walk_next(live, live); n; n = walk_next(live, n))
		if (node_is_in_flux(n))
			return false;
	if (node_path(top, prefix) < 0)
		return false;
	for (n = walk_next(top, top); n; n = dir ? walk_next(top, n) : walk_on(top, n)) {
		struct node *there;

		if (node_path(n, path) < 0)
			return false;
		dir = has_live_file(n) ? live_parent(p, live, path + strlen(prefix) + 1) : NULL;
		there = dir ? tree_find(p->tree, dir, node_name(n)) : NULL;
		if (has_live_file(n) && (!there || !node_is_committed(there) ||
					 (node_kind(there) == NODE_DIR) != (node_kind(n) == NODE_DIR)))
			return false;
	}
	return true;
}

int heal_live(struct plan *p, struct node *version)
{
	struct node *live = live_folder(p);
	int r;

	if (!live)
		return 0;
	for (struct node *n = live; n; n = walk_next(live, n)) {
		r = node_kind(n) == NODE_DIR ? step_add_inval(p, ORDER_INVAL, n) : 0;
		if (r < 0)
			return r;
	}
	r = settle_live(p, version);
	r = r ?: add_live(p, version);
	return r ?: warm_live(p, version);
}
