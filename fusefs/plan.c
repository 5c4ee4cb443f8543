/* Plan: a plan is made from what the tree shows and from what is wanted, never from what an earlier plan meant to do; so
 * an update heals what a failed one left behind.
 *
 * The order of an update is that of newer kubelets (kubernetes PR 122807): links of new keys after the switch. Two
 * things are added so that no path walk that is overtaken by the switch ends in ENOENT: the old version stays reachable
 * by name until it is expired, and the new one has the keys that only the old one had until their links are gone. */
#include "fusefs/plan.h"

#include <sys/random.h>
#include <time.h>

#define DATA_TMP      "..data_tmp"
#define NAME_TMP      "..name_tmp"
#define MODE_POD_DIR  0750
#define MODE_NAME_DIR 0711

static bool is_version_name(const char *name)
{
	return name[0] == '.' && name[1] == '.';
}

void plan_clear(struct plan *p)
{
	for (size_t i = 0; i < p->n_steps; i++) {
		free(p->steps[i].path);
		free(p->steps[i].path2);
	}
	free(p->steps);
	p->steps = NULL;
	p->n_steps = p->steps_size = 0;
	p->switch_step = SIZE_MAX;
}

static mode_t dir_mode(const struct payload *pl)
{
	return pl->has_fs_group ? 02755 : 0755;
}

static gid_t dir_gid(const struct payload *pl)
{
	return pl->has_fs_group ? pl->fs_group : 0;
}

/* --- steps --- */

/* Path from the root of the tree; -ENAMETOOLONG when no system call would take it. */
static int node_path(const struct node *n, char path[ORDER_PATH_MAX])
{
	size_t at = ORDER_PATH_MAX - 1;

	path[at] = 0;
	for (; node_parent(n); n = node_parent(n)) {
		size_t len = strlen(node_name(n)), slash = path[at] != 0;

		if (len + slash > at)
			return -ENAMETOOLONG;
		if (slash)
			path[--at] = '/';
		at -= len;
		memcpy(path + at, node_name(n), len);
	}
	if (path[at] == 0)
		path[--at] = '.';
	memmove(path, path + at, ORDER_PATH_MAX - at);
	return 0;
}

static int step_add_path(struct plan *p, enum order_op op, struct node *made, const char *path, const char *path2)
{
	size_t size = p->steps_size ? p->steps_size * 2 : 16;
	cleanup_free char *copy = strdup(path), *copy2 = path2 ? strdup(path2) : NULL;
	struct step *steps;
	uint16_t ignored = 0;

	if (!copy || (path2 && !copy2))
		return -ENOMEM;
	if (p->n_steps == p->steps_size) {
		steps = reallocarray(p->steps, size, sizeof *steps);
		if (!steps)
			return -ENOMEM;
		p->steps = steps;
		p->steps_size = size;
	}
	if (op == ORDER_UNLINK || op == ORDER_RMDIR)
		ignored = ENOENT;
	else if (op >= ORDER_TOUCH)
		ignored = ORDER_IGNORE_ALL; /* for instance EACCES: files that their owner may not read either */
	p->steps[p->n_steps++] = (struct step){
		.op = op,
		.ignored = ignored,
		.node = made,
		.path = TAKE_PTR(copy),
		.path2 = TAKE_PTR(copy2),
	};
	return 0;
}

static int step_add(struct plan *p, enum order_op op, struct node *n, const char *path2)
{
	bool makes = op == ORDER_MKDIR || op == ORDER_SYMLINK || op == ORDER_MKNOD;
	char path[ORDER_PATH_MAX];
	int r;

	r = node_path(n, path);
	return r ?: step_add_path(p, op, makes ? n : NULL, path, path2);
}

/* The kernel is to drop what it has of a node. */
static int step_add_inval(struct plan *p, enum order_op op, struct node *n, struct node *live)
{
	int r = step_add(p, op, n, NULL);

	if (r < 0)
		return r;
	p->steps[p->n_steps - 1].node_id = node_id(n);
	p->steps[p->n_steps - 1].live = live;
	return 0;
}

/* As step_add() for a name in a folder, whatever node has it then. */
static int step_add_name(struct plan *p, enum order_op op, struct node *made, const struct node *dir, const char *name,
			 const char *new_name)
{
	char path[ORDER_PATH_MAX], path2[ORDER_PATH_MAX];
	size_t len;
	int r;

	r = node_path(dir, path);
	if (r < 0)
		return r;
	len = strlen(path);
	if (len + 1 + MAX(strlen(name), new_name ? strlen(new_name) : 0) >= sizeof path)
		return -ENAMETOOLONG;
	memcpy(path2, path, len);
	snprintf(path + len, sizeof path - len, "/%s", name);
	if (new_name)
		snprintf(path2 + len, sizeof path2 - len, "/%s", new_name);
	return step_add_path(p, op, made, path, new_name ? path2 : NULL);
}

/* The step that was added last makes the new content visible. */
static void step_is_switch(struct plan *p)
{
	p->switch_step = p->n_steps - 1;
	p->steps[p->switch_step].mark = true;
}

/* What is staged is taken back if there is no step for it. digest: of a version's volume; NULL: another folder. */
static int stage_folder(struct plan *p, struct node *parent, const char *name, mode_t mode, gid_t gid,
			const struct digest *digest, struct node **ret_n)
{
	struct node *n;
	int r;

	r = tree_stage_version(p->tree, parent, name, mode, gid, digest, &n);
	if (r < 0)
		return r;
	r = step_add(p, ORDER_MKDIR, n, NULL);
	if (r < 0) {
		tree_unstage(p->tree, n);
		return r;
	}
	*ret_n = n;
	return 0;
}

static int stage_dir(struct plan *p, struct node *parent, const char *name, mode_t mode, gid_t gid, struct node **ret_n)
{
	return stage_folder(p, parent, name, mode, gid, NULL, ret_n);
}

static int stage_version(struct plan *p, struct node *vol, const struct payload *pl, struct node **ret_n)
{
	return stage_folder(p, vol, p->version, dir_mode(pl), dir_gid(pl), &pl->digest, ret_n);
}

static int stage_link(struct plan *p, struct node *parent, const char *name, const char *target, const char *final,
		      struct node **ret_n)
{
	struct node *n;
	int r;

	r = tree_stage_link(p->tree, parent, name, target, final, &n);
	if (r < 0)
		return r;
	r = step_add(p, ORDER_SYMLINK, n, target);
	if (r < 0) {
		tree_unstage(p->tree, n);
		return r;
	}
	*ret_n = n;
	return 0;
}

static int stage_removal(struct plan *p, struct node *n)
{
	tree_stage_removal(p->tree, n);
	return step_add(p, node_kind(n) == NODE_DIR ? ORDER_RMDIR : ORDER_UNLINK, n, NULL);
}

/* A folder that is there already or will be made. */
static int need_dir(struct plan *p, struct node *parent, const char *name, mode_t mode, struct node **ret_n)
{
	struct node *n = tree_find(p->tree, parent, name);

	if (!n)
		return stage_dir(p, parent, name, mode, 0, ret_n);
	if (node_kind(n) != NODE_DIR)
		return -ENOTDIR;
	*ret_n = n;
	return 0;
}

/* --- walks: pre-order over what is listed below top, top itself left out --- */

static struct node *walk_on(const struct node *top, const struct node *n)
{
	struct node *next = NULL;

	for (; n != top && !next; n = node_parent(n))
		next = node_next_child(node_parent(n), node_id(n));
	return next;
}

static struct node *walk_next(const struct node *top, const struct node *n)
{
	return node_next_child(n, 0) ?: walk_on(top, n);
}

static enum order_op warm_op(const struct node *n)
{
	switch (node_kind(n)) {
	case NODE_DIR:
		return ORDER_READ_DIR;
	case NODE_LINK:
		return ORDER_READ_LINK;
	default:
		return ORDER_READ_FILE;
	}
}

/* The node and all that is in it. */
static int warm_tree(struct plan *p, struct node *top)
{
	int r = 0;

	for (struct node *n = top; n && r == 0; n = walk_next(top, n))
		r = step_add(p, warm_op(n), n, NULL);
	return r;
}

/* Folders that have changed: the kernel asks for their attributes again. */
static int warm_parents(struct plan *p, struct node *n)
{
	int r = 0;

	for (n = node_parent(n); n && r == 0; n = node_parent(n))
		r = step_add(p, ORDER_STAT, n, NULL);
	return r;
}

static int unlink_files(struct plan *p, struct node *dir)
{
	int r = 0;

	for (struct node *n = walk_next(dir, dir); n && r == 0; n = walk_next(dir, n))
		if (node_kind(n) != NODE_DIR)
			r = stage_removal(p, n);
	return r;
}

/* Children first. */
static int remove_dirs(struct plan *p, struct node *top)
{
	size_t first = p->n_steps;
	int r = 0;

	for (struct node *n = top; n && r == 0; n = walk_next(top, n))
		if (node_kind(n) == NODE_DIR)
			r = stage_removal(p, n);
	for (size_t a = first, b = p->n_steps; a + 1 < b; a++) {
		struct step s = p->steps[a];

		p->steps[a] = p->steps[--b];
		p->steps[b] = s;
	}
	return r;
}

/* --- what a volume looks like --- */

/* Cuts the next element off *path into name; false at the end. Elements fit: the payload has checked them. */
static bool path_element(const char **path, char name[PAYLOAD_NAME_MAX + 1])
{
	size_t len = strcspn(*path, "/");

	if (len == 0 || len > PAYLOAD_NAME_MAX)
		return false;
	memcpy(name, *path, len);
	name[len] = 0;
	*path += len + ((*path)[len] == '/');
	return true;
}

static int fill_file(struct plan *p, struct node *dir, const struct payload *pl, const struct payload_file *f)
{
	char name[PAYLOAD_NAME_MAX + 1];
	const char *rest = f->path;
	struct node *n;
	int r;

	while (path_element(&rest, name) && *rest) {
		n = tree_find(p->tree, dir, name);
		r = n ? 0 : tree_fill_dir(p->tree, dir, name, dir_mode(pl), dir_gid(pl), &n);
		if (r < 0)
			return r;
		dir = n;
	}
	return tree_fill_file(p->tree, dir, name, f, &n);
}

static int fill_version(struct plan *p, struct node *version, const struct payload *pl)
{
	int r = 0;

	for (size_t i = 0; i < pl->n_files && r == 0; i++)
		r = fill_file(p, version, pl, &pl->files[i]);
	return r;
}

static int link_target(const char *name, char target[PAYLOAD_NAME_MAX + 16])
{
	return snprintf(target, PAYLOAD_NAME_MAX + 16, PLAN_DATA_LINK "/%s", name);
}

/* `staged`: the folder at `path` below vol is made by a step for one of its parents. */
static int add_mount_dir(struct plan *p, struct node *vol, bool staged, const char *path)
{
	const struct payload *pl = p->payload;
	char name[PAYLOAD_NAME_MAX + 1];
	struct node *dir = vol, *n;
	int r;

	while (path_element(&path, name)) {
		n = tree_find(p->tree, dir, name);
		if (n && node_kind(n) != NODE_DIR)
			return -EEXIST;
		r = n	     ? 0
		    : staged ? tree_fill_dir(p->tree, dir, name, dir_mode(pl), dir_gid(pl), &n)
			     : stage_dir(p, dir, name, dir_mode(pl), dir_gid(pl), &n);
		if (r < 0)
			return r;
		staged = staged || !node_is_committed(n);
		dir = n;
	}
	return 0;
}

static int add_mount_dirs(struct plan *p, struct node *vol, bool staged)
{
	int r = 0;

	for (size_t i = 0; i < p->payload->n_mount_dirs && r == 0; i++)
		r = add_mount_dir(p, vol, staged, p->payload->mount_dirs[i]);
	return r;
}

static bool mount_dir_wanted(const struct payload *pl, const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < pl->n_mount_dirs; i++)
		if (strncmp(pl->mount_dirs[i], path, len) == 0 &&
		    (pl->mount_dirs[i][len] == '/' || pl->mount_dirs[i][len] == 0))
			return true;
	return false;
}

static int remove_mount_dirs(struct plan *p, struct node *vol)
{
	size_t prefix = strlen(p->path) + 1;
	char path[ORDER_PATH_MAX];
	struct node *n = node_next_child(vol, 0);
	int r;

	while (n) {
		if (node_kind(n) != NODE_DIR || is_version_name(node_name(n))) {
			n = walk_on(vol, n);
			continue;
		}
		r = node_path(n, path);
		if (r < 0)
			return r;
		if (mount_dir_wanted(p->payload, path + prefix)) {
			n = walk_next(vol, n);
			continue;
		}
		r = stage_removal(p, n);
		if (r < 0)
			return r;
		n = walk_on(vol, n);
	}
	return 0;
}

/* --- live files --- */

/* Paths of the volume's live folder, the pod's and the volume's name in it. */
static void live_names(const struct plan *p, char uid[PAYLOAD_NAME_MAX + 1], const char **ret_volume)
{
	const char *path = p->path;

	if (!path_element(&path, uid))
		uid[0] = 0;
	*ret_volume = strrchr(p->path, '/') + 1;
}

static struct node *live_folder(const struct plan *p)
{
	char uid[PAYLOAD_NAME_MAX + 1];
	const char *volume;
	struct node *n;

	live_names(p, uid, &volume);
	n = plan_find(p, uid);
	n = n ? tree_find(p->tree, n, PLAN_LIVE) : NULL;
	return n ? tree_find(p->tree, n, volume) : NULL;
}

/* The file that a live file shows once this version is the newest. */
static struct node *live_in_version(const struct plan *p, const struct node *live, struct node *version)
{
	const char *path = strstr(node_target(live), "/" PLAN_DATA_LINK "/") + strlen("/" PLAN_DATA_LINK "/");
	char name[PAYLOAD_NAME_MAX + 1];
	struct node *n = version;

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

/* From here on what the kernel is told of those that change is good for one answer only; and it forgets what it was told
 * before. */
static int unsettle_live(struct plan *p, struct node *version)
{
	struct node *live = live_folder(p);
	int r = 0;

	for (struct node *n = live ? walk_next(live, live) : NULL; n && r == 0; n = walk_next(live, n)) {
		if (node_kind(n) != NODE_LIVE)
			continue;
		if (files_same(tree_follow(p->tree, n), live_in_version(p, n, version)) && !node_is_in_flux(n))
			continue;
		tree_unsettle(p->tree, n);
		r = step_add_inval(p, ORDER_INVAL_ATTR, n, NULL);
	}
	return r;
}

/* The kernel has still got pages of before, and lists of names. When they are gone it has to be told the size: what it was
 * told before may have come late and on top of what it was told then, and of a file's attributes only one question at a time
 * can be sure to be heard, with the answer to a change. That wakes the watchers, too. Of a file that is not uid 0's it can only
 * be asked for. */
static int settle_live(struct plan *p, struct node *version)
{
	struct node *live = live_folder(p), *last = NULL;
	int r = 0;

	for (struct node *n = live ? walk_next(live, live) : NULL; n && r == 0; n = walk_next(live, n)) {
		if (node_kind(n) != NODE_LIVE || !node_is_in_flux(n))
			continue;
		r = step_add_inval(p, ORDER_INVAL, n, n);
		if (r == 0 && node_parent(n) != last && !tree_follow(p->tree, n) != !live_in_version(p, n, version)) {
			last = node_parent(n);
			r = step_add_inval(p, ORDER_INVAL, last, NULL);
		}
	}
	for (struct node *n = live ? walk_next(live, live) : NULL; n && r == 0; n = walk_next(live, n)) {
		if (node_kind(n) != NODE_LIVE || !node_is_in_flux(n))
			continue;
		r = step_add(p, ORDER_TOUCH, n, NULL);
		r = r ?: step_add(p, ORDER_STAT, n, NULL);
		if (r == 0)
			p->steps[p->n_steps - 1].live = n;
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
	if (snprintf(target, sizeof target, "%s/" PLAN_DATA_LINK "/%s", p->path, path) >= (int)sizeof target)
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

/* Names of which an element starts with two dots have no live file: folders of that name never change. */
static bool has_live_file(const struct node *n)
{
	return !is_version_name(node_name(n));
}

/* The folder for the live file of this node of a version, below the folder for all of them. */
static struct node *live_parent(const struct plan *p, struct node *live, const char *path)
{
	char name[PAYLOAD_NAME_MAX + 1];

	while (live && path_element(&path, name) && *path)
		live = node_kind(live) == NODE_DIR ? tree_find(p->tree, live, name) : NULL;
	return live;
}

/* What is there with another kind than it should have goes; what should be there instead comes when it is gone. */
static int add_live_nodes(struct plan *p, struct node *live, struct node *version)
{
	struct node *n = walk_next(version, version), *dir, *there;
	char path[ORDER_PATH_MAX], top[ORDER_PATH_MAX];
	const char *rest;
	int r;

	r = node_path(version, top);
	while (n && r == 0) {
		enum node_kind kind = node_kind(n) == NODE_DIR ? NODE_DIR : NODE_LIVE;

		r = node_path(n, path);
		if (r < 0)
			return r;
		rest = path + strlen(top) + 1;
		dir = has_live_file(n) ? live_parent(p, live, rest) : NULL;
		there = dir ? tree_find(p->tree, dir, node_name(n)) : NULL;
		if (there && node_kind(there) != kind) {
			r = stage_removal(p, there);
			p->live_again = true;
			dir = NULL;
		} else if (dir && !there) {
			r = add_live_node(p, live, dir, n, rest);
		}
		n = dir ? walk_next(version, n) : walk_on(version, n);
	}
	return r;
}

/* A live file for each file of the version. They stay as long as the volume does: what a container has mounted must not go. */
static int add_live(struct plan *p, struct node *version)
{
	char uid[PAYLOAD_NAME_MAX + 1];
	struct node *live = live_folder(p), *pod, *top;
	const char *volume;
	struct stat st;
	int r;

	if (!live && !(p->payload && p->payload->live))
		return 0;
	if (!live) {
		live_names(p, uid, &volume);
		pod = plan_find(p, uid);
		node_stat(version, &st);
		r = pod ? need_dir(p, pod, PLAN_LIVE, MODE_POD_DIR, &top) : -ENOENT;
		r = r ?: stage_dir(p, top, volume, st.st_mode & 07777, st.st_gid, &live);
		if (r < 0)
			return r;
	}
	return add_live_nodes(p, live, version);
}

static int warm_live(struct plan *p, struct node *version)
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
	struct node *live = live_folder(p), *vol = plan_find(p, p->path), *dir, *n;
	struct node *data = vol ? tree_find(p->tree, vol, PLAN_DATA_LINK) : NULL;
	struct node *version = data ? tree_find(p->tree, vol, node_target(data)) : NULL;
	char path[ORDER_PATH_MAX], top[ORDER_PATH_MAX];

	if (!live || !version)
		return !wanted;
	for (n = walk_next(live, live); n; n = walk_next(live, n))
		if (node_is_in_flux(n))
			return false;
	if (node_path(version, top) < 0)
		return false;
	for (n = walk_next(version, version); n; n = dir ? walk_next(version, n) : walk_on(version, n)) {
		struct node *there;

		if (node_path(n, path) < 0)
			return false;
		dir = has_live_file(n) ? live_parent(p, live, path + strlen(top) + 1) : NULL;
		there = dir ? tree_find(p->tree, dir, node_name(n)) : NULL;
		if (has_live_file(n) && (!there || !node_is_committed(there) ||
					 (node_kind(there) == NODE_DIR) != (node_kind(n) == NODE_DIR)))
			return false;
	}
	return true;
}

/* As Go's os.MkdirTemp(dir, time.Now().UTC().Format("..2006_01_02_15_04_05.")) names it. */
static int version_name(struct plan *p, const struct node *vol, char version[PLAN_VERSION_MAX])
{
	time_t now = time(NULL);
	struct tm tm;
	uint32_t n;

	gmtime_r(&now, &tm);
	for (int tries = 0; tries < 100; tries++) {
		size_t len = strftime(version, PLAN_VERSION_MAX, "..%Y_%m_%d_%H_%M_%S.", &tm);

		if (getrandom(&n, sizeof n, 0) != sizeof n)
			return -errno;
		snprintf(version + len, PLAN_VERSION_MAX - len, "%u", n);
		if (!vol || !tree_find(p->tree, vol, version))
			return 0;
	}
	return -EEXIST;
}

/* A name for a link that is renamed at once. One that an earlier job could not take back may be in the way. */
static int tmp_name(struct plan *p, const struct node *dir, const char *base, char name[PLAN_VERSION_MAX])
{
	snprintf(name, PLAN_VERSION_MAX, "%s", base);
	for (int i = 1; tree_find(p->tree, dir, name); i++) {
		if (i == 100)
			return -EEXIST;
		snprintf(name, PLAN_VERSION_MAX, "%s.%d", base, i);
	}
	return 0;
}

struct node *plan_find(const struct plan *p, const char *path)
{
	struct node *n = tree_node(p->tree, TREE_ROOT_ID);
	char name[PAYLOAD_NAME_MAX + 1];

	while (n && path_element(&path, name))
		n = node_kind(n) == NODE_DIR ? tree_find(p->tree, n, name) : NULL;
	return n;
}

/* --- plans --- */

static int build_new(struct plan *p)
{
	const struct payload *pl = p->payload;
	struct node *root = tree_node(p->tree, TREE_ROOT_ID), *pod, *volumes, *plugin, *vol, *version, *n;
	char target[PAYLOAD_NAME_MAX + 16];
	int r;

	r = version_name(p, NULL, p->version);
	r = r ?: need_dir(p, root, p->uid, MODE_POD_DIR, &pod);
	r = r ?: need_dir(p, pod, "volumes", MODE_POD_DIR, &volumes);
	r = r ?: need_dir(p, volumes, p->plugin, MODE_POD_DIR, &plugin);
	r = r ?: stage_dir(p, plugin, p->name, pl->has_fs_group ? 03777 : 01777, dir_gid(pl), &vol);
	if (r < 0)
		return r;
	step_is_switch(p);

	r = tree_fill_version(p->tree, vol, p->version, dir_mode(pl), dir_gid(pl), &pl->digest, &version);
	r = r ?: fill_version(p, version, pl);
	r = r ?: tree_fill_link(p->tree, vol, PLAN_DATA_LINK, p->version, &n);
	if (r < 0)
		return r;
	for (struct node *c = node_next_child(version, 0); c; c = node_next_child(version, node_id(c))) {
		link_target(node_name(c), target);
		r = tree_fill_link(p->tree, vol, node_name(c), target, &n);
		if (r < 0)
			return r;
	}
	r = add_mount_dirs(p, vol, true);
	r = r ?: add_live(p, version);
	r = r ?: warm_tree(p, vol);
	r = r ?: warm_live(p, version);
	return r ?: warm_parents(p, vol);
}

/* What only the old version has at its top is in the new one too, unlisted, until its link is gone. */
static int fill_hidden(struct plan *p, struct node *version, const struct node *old)
{
	struct node *n;
	int r;

	for (struct node *c = node_next_child(old, 0); c; c = node_next_child(old, node_id(c))) {
		if (tree_find(p->tree, version, node_name(c)))
			continue;
		r = tree_fill_copy(p->tree, version, c, &n);
		if (r < 0)
			return r;
		tree_hide(p->tree, n);
	}
	return 0;
}

/* New top-level names get their links, then those that are gone lose theirs. */
static int switch_links(struct plan *p, struct node *vol, const struct node *version)
{
	char target[PAYLOAD_NAME_MAX + 16];
	struct node *n;
	bool hidden;
	int r;

	for (struct node *c = node_next_child(version, 0); c; c = node_next_child(version, node_id(c))) {
		if (tree_find(p->tree, vol, node_name(c)))
			continue;
		link_target(node_name(c), target);
		r = stage_link(p, vol, node_name(c), target, NULL, &n);
		if (r < 0)
			return r;
	}
	for (struct node *c = node_next_child(vol, 0); c; c = node_next_child(vol, node_id(c))) {
		if (node_kind(c) != NODE_LINK || str_eq(node_name(c), PLAN_DATA_LINK))
			continue;
		hidden = false;
		if (tree_lookup(p->tree, version, node_name(c), &hidden) && !hidden)
			continue;
		r = stage_removal(p, c);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Versions that are neither the current nor the old one nor in their grace. */
static int remove_stale_versions(struct plan *p, const struct node *vol)
{
	int r;

	for (struct node *c = node_next_child(vol, 0); c; c = node_next_child(vol, node_id(c))) {
		const char *name = node_name(c);

		if (node_kind(c) != NODE_DIR || !is_version_name(name) || str_eq(name, p->old_version) ||
		    p->in_grace(p->userdata, name))
			continue;
		r = unlink_files(p, c);
		r = r ?: remove_dirs(p, c);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What the steps so far have made, and the folders that they changed. */
static int warm_update(struct plan *p, struct node *vol, struct node *version)
{
	size_t n_change = p->n_steps;
	int r;

	r = warm_tree(p, version);
	r = r ?: step_add_name(p, ORDER_READ_LINK, NULL, vol, PLAN_DATA_LINK, NULL);
	for (size_t i = p->switch_step + 1; i < n_change && r == 0; i++)
		if (p->steps[i].node)
			r = step_add(p, warm_op(p->steps[i].node), p->steps[i].node, NULL);
	r = r ?: warm_live(p, version);
	return r ?: step_add(p, ORDER_READ_DIR, vol, NULL);
}

static int build_update(struct plan *p, struct node *vol)
{
	const struct payload *pl = p->payload;
	struct node *data = tree_find(p->tree, vol, PLAN_DATA_LINK), *old = NULL, *version = NULL;
	char tmp[PLAN_VERSION_MAX];
	int r;

	if (data) {
		snprintf(p->old_version, sizeof p->old_version, "%s", node_target(data));
		old = tree_find(p->tree, vol, p->old_version);
	}
	r = version_name(p, vol, p->version);
	r = r ?: add_mount_dirs(p, vol, false);
	r = r ?: stage_version(p, vol, pl, &version);
	r = r ?: fill_version(p, version, pl);
	r = r ?: unsettle_live(p, version);
	r = r ?: step_add(p, ORDER_CHMOD, version, NULL);
	if (r == 0 && old)
		r = fill_hidden(p, version, old);
	r = r ?: tmp_name(p, vol, DATA_TMP, tmp);
	r = r ?: stage_link(p, vol, tmp, p->version, PLAN_DATA_LINK, &data);
	r = r ?: step_add_name(p, ORDER_RENAME, data, vol, tmp, PLAN_DATA_LINK);
	if (r < 0)
		return r;
	step_is_switch(p);

	r = settle_live(p, version);
	r = r ?: add_live(p, version);
	r = r ?: switch_links(p, vol, version);
	if (r == 0 && old) {
		tree_retire(p->tree, old);
		r = unlink_files(p, old);
	}
	r = r ?: remove_stale_versions(p, vol);
	r = r ?: remove_mount_dirs(p, vol);
	return r ?: warm_update(p, vol, version);
}

int plan_volume(struct plan *p, const struct payload *payload, bool (*in_grace)(void *userdata, const char *version),
		void *userdata)
{
	struct node *vol = plan_find(p, p->path);

	p->payload = payload;
	p->in_grace = in_grace;
	p->userdata = userdata;
	return vol ? build_update(p, vol) : build_new(p);
}

int plan_remove_volume(struct plan *p)
{
	struct node *vol = plan_find(p, p->path), *live = live_folder(p);
	int r;

	r = live ? stage_removal(p, live) : 0;
	if (!vol)
		return r;
	r = r ?: stage_removal(p, vol);
	return r ?: warm_parents(p, vol);
}

/* The link by-name/<ns>/<name> that leads to this pod. */
static struct node *find_name_link(struct plan *p, const char *uid)
{
	struct node *top = plan_find(p, PLAN_BY_NAME);

	for (struct node *n = top ? walk_next(top, top) : NULL; n; n = walk_next(top, n))
		if (node_kind(n) == NODE_LINK && str_eq(strrchr(node_target(n), '/') + 1, uid))
			return n;
	return NULL;
}

int plan_remove_pod(struct plan *p)
{
	struct node *pod = plan_find(p, p->uid), *link = find_name_link(p, p->uid), *ns;
	int r = 0;

	if (link) {
		ns = node_parent(link);
		r = stage_removal(p, link);
		if (r == 0 && !node_next_child(ns, node_id(link)) && node_next_child(ns, 0) == link)
			r = stage_removal(p, ns);
	}
	if (r == 0 && pod) {
		r = stage_removal(p, pod);
		r = r ?: warm_parents(p, pod);
	}
	return r;
}

/* No pod's name starts with two dots. */
static int remove_name_leftovers(struct plan *p, struct node *ns)
{
	int r = 0;

	for (struct node *c = node_next_child(ns, 0); c && r == 0; c = node_next_child(ns, node_id(c)))
		if (is_version_name(node_name(c)))
			r = stage_removal(p, c);
	return r;
}

int plan_name_pod(struct plan *p)
{
	struct node *root = tree_node(p->tree, TREE_ROOT_ID), *by_name, *ns, *link;
	char target[PAYLOAD_NAME_MAX + 16], tmp[PLAN_VERSION_MAX];
	int r;

	snprintf(target, sizeof target, "../../%s", p->uid);
	r = need_dir(p, root, PLAN_BY_NAME, MODE_NAME_DIR, &by_name);
	r = r ?: need_dir(p, by_name, p->ns, MODE_NAME_DIR, &ns);
	if (r < 0)
		return r;
	link = tree_find(p->tree, ns, p->name);
	if (!link)
		return stage_link(p, ns, p->name, target, NULL, &link);
	if (str_eq(node_target(link), target))
		return 0;
	r = tmp_name(p, ns, NAME_TMP, tmp);
	r = r ?: stage_link(p, ns, tmp, target, p->name, &link);
	r = r ?: step_add_name(p, ORDER_RENAME, link, ns, tmp, p->name);
	return r ?: remove_name_leftovers(p, ns);
}

/* The grace is over: the version's sub folders and then itself. */
int plan_expire(struct plan *p)
{
	struct node *vol = plan_find(p, p->path);
	struct node *old = vol ? tree_find(p->tree, vol, p->old_version) : NULL;
	int r;

	if (!old)
		return 0;
	r = remove_dirs(p, old);
	return r ?: step_add(p, ORDER_READ_DIR, vol, NULL);
}

/* Versions that are not the current one lose their files; their folders are for plan_expire(). */
static int retire_others(struct plan *p, const struct node *vol)
{
	int r = 0;

	for (struct node *c = node_next_child(vol, 0); c && r == 0; c = node_next_child(vol, node_id(c))) {
		if (node_kind(c) != NODE_DIR || !is_version_name(node_name(c)) || str_eq(node_name(c), p->version))
			continue;
		tree_retire(p->tree, c);
		r = unlink_files(p, c);
	}
	return r;
}

static int remove_tmp_links(struct plan *p, const struct node *vol)
{
	int r = 0;

	for (struct node *c = node_next_child(vol, 0); c && r == 0; c = node_next_child(vol, node_id(c)))
		if (node_kind(c) == NODE_LINK && is_version_name(node_name(c)) && !str_eq(node_name(c), PLAN_DATA_LINK))
			r = stage_removal(p, c);
	return r;
}

/* Nobody knows what an earlier process's publisher has told the kernel, nor what of it has come to the folders. */
static int heal_live(struct plan *p, struct node *version)
{
	struct node *live = live_folder(p);
	int r;

	if (!live)
		return 0;
	for (struct node *n = live; n; n = walk_next(live, n)) {
		r = node_kind(n) == NODE_DIR ? step_add_inval(p, ORDER_INVAL, n, NULL) : 0;
		if (r < 0)
			return r;
	}
	r = settle_live(p, version);
	r = r ?: add_live(p, version);
	return r ?: warm_live(p, version);
}

int plan_heal(struct plan *p, bool touch)
{
	struct node *vol = plan_find(p, p->path);
	struct node *data = vol ? tree_find(p->tree, vol, PLAN_DATA_LINK) : NULL, *version;
	int r;

	if (!data || node_kind(data) != NODE_LINK)
		return -ENOENT;
	version = tree_find(p->tree, vol, node_target(data));
	if (!version || node_kind(version) != NODE_DIR)
		return -ENOENT;
	snprintf(p->version, sizeof p->version, "%s", node_target(data));
	r = heal_live(p, version);
	r = r ?: remove_tmp_links(p, vol);
	r = r ?: switch_links(p, vol, version);
	r = r ?: retire_others(p, vol);
	/* the answer has the time of the change, which tells the kernel's list of names that it is old */
	r = r == 0 && touch ? step_add(p, ORDER_CHMOD, vol, NULL) : r;
	if (r < 0 || p->n_steps == 0)
		return r;
	return step_add(p, ORDER_READ_DIR, vol, NULL);
}

bool plan_is_whole(const struct plan *p, const struct node *vol, const struct node *version)
{
	struct node *n;
	bool hidden;

	if (!plan_live_is_whole(p, false))
		return false;
	for (struct node *c = node_next_child(version, 0); c; c = node_next_child(version, node_id(c))) {
		n = node_is_hidden(c) ? NULL : tree_find(p->tree, vol, node_name(c));
		if (!node_is_hidden(c) && (!n || !node_is_committed(n)))
			return false;
	}
	for (struct node *c = node_next_child(vol, 0); c; c = node_next_child(vol, node_id(c))) {
		if (node_kind(c) != NODE_LINK || str_eq(node_name(c), PLAN_DATA_LINK))
			continue;
		hidden = false;
		if (!tree_lookup(p->tree, version, node_name(c), &hidden) || hidden)
			return false;
	}
	return true;
}

bool step_is_done(const struct step *s)
{
	if (!s->node)
		return false;
	/* a link that waits for its rename has had its symlink call all the same */
	return s->op == ORDER_SYMLINK ? node_is_linked(s->node) : node_is_committed(s->node);
}

bool plan_is_switched(const struct plan *p)
{
	return p->switch_step < p->n_steps && step_is_done(&p->steps[p->switch_step]);
}

/* Takes back what was staged; what has been made already gets a step that unmakes it, unless the new content is
 * visible: then the next update goes on from what there is. */
void plan_roll_back(struct plan *p)
{
	struct plan undo = { .tree = p->tree };
	bool keep = plan_is_switched(p);

	for (size_t i = p->n_steps; i-- > 0;) {
		struct step *s = &p->steps[i];
		bool linked = s->node && node_is_linked(s->node);

		if (!s->node || (s->op != ORDER_MKDIR && s->op != ORDER_SYMLINK && s->op != ORDER_MKNOD) ||
		    (keep && linked))
			continue;
		tree_unstage(p->tree, s->node);
		/* without memory for the step the folder stays, and the next update removes it */
		if (linked)
			(void)stage_removal(&undo, s->node);
	}
	plan_clear(p);
	p->steps = undo.steps;
	p->n_steps = undo.n_steps;
	p->steps_size = undo.steps_size;
}
