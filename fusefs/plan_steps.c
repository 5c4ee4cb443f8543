/* Plan steps: the steps themselves, what is staged with them, walks over the tree, and how what was begun is taken back. */
#include "fusefs/plan_steps.h"

#include <sys/random.h>
#include <time.h>

void plan_clear(struct plan *p)
{
	for (size_t i = 0; i < p->n_steps; i++) {
		free(p->steps[i].path);
		free(p->steps[i].path2);
	}
	free(p->steps);
	p->steps = NULL;
	p->n_steps = p->steps_size = 0;
	p->switch_step = p->rest_step = SIZE_MAX;
}

/* --- steps --- */

int node_path(const struct node *n, char path[ORDER_PATH_MAX])
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

int step_add_path(struct plan *p, enum order_op op, struct node *made, const char *path, const char *path2)
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
		.made_id = made ? node_id(made) : 0,
		.path = TAKE_PTR(copy),
		.path2 = TAKE_PTR(copy2),
	};
	return 0;
}

int step_add(struct plan *p, enum order_op op, struct node *n, const char *path2)
{
	bool makes = op == ORDER_MKDIR || op == ORDER_SYMLINK || op == ORDER_MKNOD;
	char path[ORDER_PATH_MAX];
	int r;

	r = node_path(n, path);
	return r < 0 ? r : step_add_path(p, op, makes ? n : NULL, path, path2);
}

int step_add_inval(struct plan *p, enum order_op op, struct node *n)
{
	int r = step_add(p, op, n, NULL);

	if (r < 0)
		return r;
	p->steps[p->n_steps - 1].node_id = node_id(n);
	return 0;
}

void step_settles(struct plan *p, const struct node *live)
{
	p->steps[p->n_steps - 1].settles = true;
	p->steps[p->n_steps - 1].node_id = node_id(live);
}

int step_add_name(struct plan *p, enum order_op op, struct node *made, const struct node *dir, const char *name,
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

void step_is_switch(struct plan *p)
{
	p->switch_step = p->n_steps - 1;
	p->steps[p->switch_step].mark = true;
}

void rest_if_large(struct plan *p)
{
	if (payload_is_large(p->payload))
		p->rest_step = p->n_steps;
}

int stage_folder(struct plan *p, struct node *parent, const char *name, mode_t mode, gid_t gid,
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

int stage_volume(struct plan *p, struct node **ret_vol)
{
	const struct payload *pl = p->payload;
	struct node *pod, *volumes, *plugin;
	int r;

	r = need_dir(p, tree_node(p->tree, TREE_ROOT_ID), p->uid, MODE_POD_DIR, &pod);
	r = r ?: need_dir(p, pod, "volumes", MODE_POD_DIR, &volumes);
	r = r ?: need_dir(p, volumes, p->plugin, MODE_POD_DIR, &plugin);
	return r ?: stage_dir(p, plugin, p->name, pl->has_fs_group ? 03777 : 01777, dir_gid(pl), ret_vol);
}

int stage_dir(struct plan *p, struct node *parent, const char *name, mode_t mode, gid_t gid, struct node **ret_n)
{
	return stage_folder(p, parent, name, mode, gid, NULL, ret_n);
}

int stage_version(struct plan *p, struct node *vol, const struct payload *pl, struct node **ret_n)
{
	return stage_folder(p, vol, p->version, dir_mode(pl), dir_gid(pl), &pl->digest, ret_n);
}

int stage_link(struct plan *p, struct node *parent, const char *name, const char *target, const char *final,
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

int stage_removal(struct plan *p, struct node *n)
{
	int r = step_add(p, node_kind(n) == NODE_DIR ? ORDER_RMDIR : ORDER_UNLINK, n, NULL);

	if (r < 0)
		return r;
	p->steps[p->n_steps - 1].node_id = node_id(n);
	tree_stage_removal(p->tree, n);
	return 0;
}

int need_dir(struct plan *p, struct node *parent, const char *name, mode_t mode, struct node **ret_n)
{
	struct node *n = tree_find(p->tree, parent, name);

	if (!n)
		return stage_dir(p, parent, name, mode, 0, ret_n);
	if (node_kind(n) != NODE_DIR)
		return -ENOTDIR;
	*ret_n = n;
	return 0;
}

/* --- walks --- */

struct node *walk_on(const struct node *top, const struct node *n)
{
	struct node *next = NULL;

	for (; n != top && !next; n = node_parent(n))
		next = node_next_child(node_parent(n), node_cookie(n));
	return next;
}

struct node *walk_next(const struct node *top, const struct node *n)
{
	return node_next_child(n, 0) ?: walk_on(top, n);
}

enum order_op warm_op(const struct node *n)
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

int warm_tree(struct plan *p, struct node *top)
{
	int r = 0;

	for (struct node *n = top; n && r == 0; n = walk_next(top, n))
		r = step_add(p, warm_op(n), n, NULL);
	return r;
}

int warm_parents(struct plan *p, struct node *n)
{
	int r = 0;

	for (n = node_parent(n); n && r == 0; n = node_parent(n))
		r = step_add(p, ORDER_STAT, n, NULL);
	return r;
}

int unlink_files(struct plan *p, struct node *dir)
{
	int r = 0;

	for (struct node *n = walk_next(dir, dir); n && r == 0; n = walk_next(dir, n))
		if (node_kind(n) != NODE_DIR)
			r = stage_removal(p, n);
	return r;
}

int remove_dirs(struct plan *p, struct node *top)
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

void volume_names(const struct plan *p, char uid[PAYLOAD_NAME_MAX + 1], const char **ret_volume)
{
	const char *path = p->path;

	if (!path_element(&path, uid))
		uid[0] = 0;
	*ret_volume = strrchr(p->path, '/') + 1;
}

int version_name(const struct plan *p, const struct node *dir, const char *prefix, char version[PLAN_VERSION_MAX])
{
	time_t now = time(NULL);
	struct tm tm;
	uint32_t n;

	gmtime_r(&now, &tm);
	for (int tries = 0; tries < 100; tries++) {
		size_t len = (size_t)snprintf(version, PLAN_VERSION_MAX, "%s", prefix);

		len += strftime(version + len, PLAN_VERSION_MAX - len, "%Y_%m_%d_%H_%M_%S.", &tm);
		if (getrandom(&n, sizeof n, 0) != sizeof n)
			return -errno;
		snprintf(version + len, PLAN_VERSION_MAX - len, "%u", n);
		if (!dir || !tree_find(p->tree, dir, version))
			return 0;
	}
	return -EEXIST;
}

bool path_element(const char **path, char name[PAYLOAD_NAME_MAX + 1])
{
	size_t len = strcspn(*path, "/");

	if (len == 0 || len > PAYLOAD_NAME_MAX)
		return false;
	memcpy(name, *path, len);
	name[len] = 0;
	*path += len + ((*path)[len] == '/');
	return true;
}
struct node *node_below(const struct plan *p, struct node *dir, const char *path)
{
	char name[PAYLOAD_NAME_MAX + 1];
	struct node *n = dir;

	while (n && path_element(&path, name))
		n = node_kind(n) == NODE_DIR ? tree_find(p->tree, n, name) : NULL;
	return n;
}

struct node *plan_find(const struct plan *p, const char *path)
{
	return node_below(p, tree_node(p->tree, TREE_ROOT_ID), path);
}

bool step_removes(const struct step *s)
{
	return s->op == ORDER_UNLINK || s->op == ORDER_RMDIR;
}

bool step_is_done(const struct plan *p, const struct step *s)
{
	const struct node *n;

	if (step_removes(s)) {
		/* its name may be another's by now */
		n = tree_node(p->tree, s->node_id);
		return !n || node_is_hidden(n);
	}
	n = tree_node(p->tree, s->made_id);
	if (!n)
		return false;
	/* a link that waits for its rename has had its symlink call all the same */
	return s->op == ORDER_SYMLINK ? node_is_linked(n) : node_is_committed(n);
}

bool plan_is_switched(const struct plan *p)
{
	return p->switch_step < p->n_steps && step_is_done(p, &p->steps[p->switch_step]);
}

/* Takes back what was staged; what has been made already gets a step that unmakes it, unless the new content is
 * visible: then the next update goes on from what there is. */
void plan_roll_back(struct plan *p)
{
	struct plan undo = { .tree = p->tree };
	bool keep = plan_is_switched(p);

	for (size_t i = p->n_steps; i-- > 0;) {
		struct step *s = &p->steps[i];
		struct node *stays = step_removes(s) ? tree_node(p->tree, s->node_id) : NULL;
		struct node *made = tree_node(p->tree, s->made_id);
		bool linked = made && node_is_linked(made);

		if (stays && node_is_linked(stays))
			tree_unstage(p->tree, stays);
		if (made && s->moves)
			tree_unstage(p->tree, made);
		if (!made || (s->op != ORDER_MKDIR && s->op != ORDER_SYMLINK && s->op != ORDER_MKNOD) ||
		    (keep && linked))
			continue;
		tree_unstage(p->tree, made);
		/* without memory for the step the folder stays, and the next update removes it */
		if (linked)
			(void)stage_removal(&undo, made);
	}
	plan_clear(p);
	p->steps = undo.steps;
	p->n_steps = undo.n_steps;
	p->steps_size = undo.steps_size;
}
