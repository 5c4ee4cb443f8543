/* Plan: a plan is made from what the tree shows and from what is wanted, never from what an earlier plan meant to do; so
 * an update heals what a failed one left behind.
 *
 * The order of an update is that of newer kubelets (kubernetes PR 122807): links of new keys after the switch. Two
 * things are added so that no path walk that is overtaken by the switch ends in ENOENT: the old version stays reachable
 * by name until it is expired, and the new one has the keys that only the old one had until their links are gone. */
#include "fusefs/plan.h"

#include "fusefs/plan_steps.h"

#define DATA_TMP      "..data_tmp"
#define NAME_TMP      "..name_tmp"
#define MODE_NAME_DIR 0711

/* --- what a volume looks like --- */

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
		/* it was a key's until now, and a reader has it until the switch */
		if (n && node_kind(n) == NODE_LINK && dir == vol) {
			p->again = true;
			return 0;
		}
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

/* *n becomes the first folder from there on that nothing is to be mounted in, versions left out. NULL: there is none. */
static int find_unwanted(const struct plan *p, const struct payload *pl, const struct node *vol, struct node **n)
{
	size_t prefix = strlen(p->path) + 1;
	char path[ORDER_PATH_MAX];
	int r;

	while (*n) {
		if (node_kind(*n) != NODE_DIR || is_version_name(node_name(*n))) {
			*n = walk_on(vol, *n);
			continue;
		}
		r = node_path(*n, path);
		if (r < 0)
			return r;
		if (!payload_has_mount_dir(pl, path + prefix))
			return 0;
		*n = walk_next(vol, *n);
	}
	return 0;
}

static int remove_mount_dirs(struct plan *p, const struct node *vol)
{
	struct node *n = node_next_child(vol, 0);
	int r = find_unwanted(p, p->payload, vol, &n);

	while (r == 0 && n) {
		r = stage_removal(p, n);
		n = walk_on(vol, n);
		r = r ?: find_unwanted(p, p->payload, vol, &n);
	}
	return r;
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

/* --- plans --- */

static int build_new(struct plan *p)
{
	const struct payload *pl = p->payload;
	struct node *vol, *version, *n;
	char target[PAYLOAD_NAME_MAX + 16];
	int r;

	r = version_name(p, NULL, "..", p->version);
	r = r ?: stage_volume(p, &vol);
	if (r != 0)
		return r;
	step_is_switch(p);

	r = tree_fill_version(p->tree, vol, p->version, dir_mode(pl), dir_gid(pl), &pl->digest, &version);
	r = r ?: fill_version(p, version, pl);
	r = r ?: tree_fill_link(p->tree, vol, PLAN_DATA_LINK, p->version, &n);
	if (r < 0)
		return r;
	for (struct node *c = node_next_child(version, 0); c; c = node_next_child(version, node_cookie(c))) {
		link_target(node_name(c), target);
		r = tree_fill_link(p->tree, vol, node_name(c), target, &n);
		if (r < 0)
			return r;
	}
	r = add_mount_dirs(p, vol, true);
	r = r ?: add_live(p, version);
	rest_if_large(p);
	r = r ?: warm_tree(p, vol);
	r = r ?: warm_live(p, version);
	return r ?: warm_parents(p, vol);
}

/* What only the old version has at its top is in the new one too, unlisted, until its link is gone. */
static int fill_hidden(struct plan *p, struct node *version, const struct node *old)
{
	struct node *n;
	int r;

	for (struct node *c = node_next_child(old, 0); c; c = node_next_child(old, node_cookie(c))) {
		if (tree_find(p->tree, version, node_name(c)))
			continue;
		r = tree_fill_copy(p->tree, version, c, &n);
		if (r < 0)
			return r;
		tree_hide(p->tree, n);
	}
	return 0;
}

/* A folder has the name of a key: nothing is to be mounted there any more. Where that is known it goes with the others of its
 * kind (remove_mount_dirs()). */
static int give_way(struct plan *p, struct node *there)
{
	p->again = true;
	return p->payload ? 0 : stage_removal(p, there);
}

/* New top-level names get their links, then those that are gone lose theirs. */
static int switch_links(struct plan *p, struct node *vol, const struct node *version)
{
	char target[PAYLOAD_NAME_MAX + 16];
	struct node *n;
	bool hidden;
	int r;

	for (struct node *c = node_next_child(version, 0); c; c = node_next_child(version, node_cookie(c))) {
		n = tree_find(p->tree, vol, node_name(c));
		if (n && node_kind(n) == NODE_LINK)
			continue;
		link_target(node_name(c), target);
		r = n ? give_way(p, n) : stage_link(p, vol, node_name(c), target, NULL, &n);
		if (r < 0)
			return r;
	}
	for (struct node *c = node_next_child(vol, 0); c; c = node_next_child(vol, node_cookie(c))) {
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

	for (struct node *c = node_next_child(vol, 0); c; c = node_next_child(vol, node_cookie(c))) {
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

/* What these steps have made. */
static int warm_made(struct plan *p, size_t first, size_t end)
{
	struct node *made;
	int r = 0;

	for (size_t i = first; i < end && r == 0; i++) {
		made = tree_node(p->tree, p->steps[i].made_id);
		if (made)
			r = step_add(p, warm_op(made), made, NULL);
	}
	return r;
}

/* What the steps so far have made, and the folders that they changed. */
static int warm_update(struct plan *p, struct node *vol, struct node *version)
{
	size_t n_change = p->n_steps;
	int r;

	r = warm_tree(p, version);
	r = r ?: step_add_name(p, ORDER_READ_LINK, NULL, vol, PLAN_DATA_LINK, NULL);
	r = r ?: warm_made(p, p->switch_step + 1, n_change);
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
	r = version_name(p, vol, "..", p->version);
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
	p->rest_step = p->n_steps;
	if (r == 0 && old)
		r = unlink_files(p, old);
	r = r ?: remove_stale_versions(p, vol);
	r = r ?: remove_mount_dirs(p, vol);
	return r ?: warm_update(p, vol, version);
}

/* Outside of any version's folder. */
static bool has_files(const struct node *vol)
{
	const struct node *n = node_next_child(vol, 0);

	while (n && node_kind(n) != NODE_FILE)
		n = is_version_name(node_name(n)) ? walk_on(vol, n) : walk_next(vol, n);
	return n;
}

/* A volume stays as it was made. One with files of its own is flat, even if the rest of it went in a removal that came to no
 * end. */
static bool is_flat(const struct plan *p, const struct node *vol, bool wanted)
{
	return !tree_find(p->tree, vol, PLAN_DATA_LINK) && (flat_version(p) || wanted || has_files(vol));
}

int plan_volume(struct plan *p, const struct payload *payload, bool (*in_grace)(void *userdata, const char *version),
		void *userdata)
{
	struct node *vol = plan_find(p, p->path);

	p->payload = payload;
	p->in_grace = in_grace;
	p->userdata = userdata;
	if (!vol)
		return payload->flat ? flat_new(p) : build_new(p);
	return is_flat(p, vol, payload->flat) ? flat_update(p, vol) : build_update(p, vol);
}

int plan_mend(struct plan *p, const struct payload *payload)
{
	struct plan_shown s;
	int r;

	if (!plan_shown(p, &s) || s.flat)
		return -ENOENT;
	p->payload = payload;
	p->again = false;
	snprintf(p->version, sizeof p->version, "%s", s.name);
	r = add_mount_dirs(p, s.vol, false);
	r = r ?: switch_links(p, s.vol, s.version);
	if (r == 0 && p->again)
		r = -EEXIST;
	r = r ?: warm_made(p, 0, p->n_steps);
	return r ?: step_add(p, ORDER_READ_DIR, s.vol, NULL);
}

int plan_remove_volume(struct plan *p)
{
	struct node *vol = plan_find(p, p->path), *live = live_folder(p);
	int r;

	/* the volume last: whoever finds it, finds what is to be removed with it */
	r = live ? stage_removal(p, live) : 0;
	r = r ?: flat_remove(p);
	if (!vol)
		return r;
	r = r ?: stage_removal(p, vol);
	return r ?: warm_parents(p, vol);
}

int plan_remove_staging(struct plan *p)
{
	return flat_remove(p);
}

/* Each link by-name/<ns>/<name> that leads to this pod: a rename that came to no end has left a second one. */
static int remove_names_in(struct plan *p, struct node *ns, const char *uid)
{
	bool any = false, others = false;
	int r = 0;

	for (struct node *n = node_next_child(ns, 0); n && r == 0; n = node_next_child(ns, node_cookie(n))) {
		if (node_kind(n) == NODE_LINK && str_eq(strrchr(node_target(n), '/') + 1, uid)) {
			any = true;
			r = stage_removal(p, n);
		} else {
			others = true;
		}
	}
	return r == 0 && any && !others ? stage_removal(p, ns) : r;
}

int plan_remove_pod(struct plan *p)
{
	struct node *pod = plan_find(p, p->uid), *by_name = plan_find(p, PLAN_BY_NAME);
	struct node *ns = by_name ? node_next_child(by_name, 0) : NULL;
	int r = 0;

	for (; ns && r == 0; ns = node_next_child(by_name, node_cookie(ns)))
		r = remove_names_in(p, ns, p->uid);
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

	for (struct node *c = node_next_child(ns, 0); c && r == 0; c = node_next_child(ns, node_cookie(c)))
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
	if (r != 0)
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

/* Versions that are not the current one lose their files; their folders are for plan_expire(). Sets *any where there are some. */
static int retire_others(struct plan *p, const struct node *vol, bool *any)
{
	int r = 0;

	for (struct node *c = node_next_child(vol, 0); c && r == 0; c = node_next_child(vol, node_cookie(c))) {
		if (node_kind(c) != NODE_DIR || !is_version_name(node_name(c)) || str_eq(node_name(c), p->version))
			continue;
		*any = true;
		tree_retire(p->tree, c);
		r = unlink_files(p, c);
	}
	return r;
}

static int remove_tmp_links(struct plan *p, const struct node *vol)
{
	int r = 0;

	for (struct node *c = node_next_child(vol, 0); c && r == 0; c = node_next_child(vol, node_cookie(c)))
		if (node_kind(c) == NODE_LINK && is_version_name(node_name(c)) && !str_eq(node_name(c), PLAN_DATA_LINK))
			r = stage_removal(p, c);
	return r;
}

/* The version, all links and live files, which nobody may have read since the switch. */
static int warm_switched(struct plan *p, const struct node *vol, struct node *version)
{
	struct node *live = live_folder(p);
	int r = warm_tree(p, version);

	if (r == 0 && live)
		r = warm_tree(p, live);

	for (struct node *c = node_next_child(vol, 0); c && r == 0; c = node_next_child(vol, node_cookie(c)))
		if (node_kind(c) == NODE_LINK)
			r = step_add(p, ORDER_READ_LINK, c, NULL);
	return r;
}

/* Where another version is left, the last update came to no end, or only just: the reads are its last steps. */
static int heal_links(struct plan *p, struct node *vol, struct node *version)
{
	size_t first, end;
	bool others = false;
	int r;

	r = heal_live(p, version);
	first = p->n_steps;
	r = r ?: remove_tmp_links(p, vol);
	r = r ?: switch_links(p, vol, version);
	r = r ?: retire_others(p, vol, &others);
	end = p->n_steps;
	if (r == 0 && others)
		r = warm_switched(p, vol, version);
	return r ?: warm_made(p, first, end);
}

int plan_heal(struct plan *p, uint64_t touch)
{
	struct node *doubted = touch ? tree_node(p->tree, touch) : NULL;
	struct plan_shown s;
	int r;

	if (!plan_shown(p, &s))
		return -ENOENT;
	snprintf(p->version, sizeof p->version, "%s", s.name);
	r = s.flat ? flat_heal(p, s.vol, s.version) : heal_links(p, s.vol, s.version);
	/* the answer has the time of the change, which tells the kernel's list of names that it is old */
	if (r == 0 && doubted) {
		r = step_add(p, ORDER_CHMOD, doubted, NULL);
		if (r == 0 && doubted != s.vol)
			r = step_add(p, ORDER_READ_DIR, doubted, NULL);
	}
	if (r < 0 || p->n_steps == 0)
		return r;
	return step_add(p, ORDER_READ_DIR, s.vol, NULL);
}

bool plan_made(const struct plan *p, struct node **ret_version, struct node **ret_files)
{
	struct node *vol = plan_find(p, p->path), *version;

	if (!vol)
		return false;
	version = p->flat ? flat_made(p) : tree_find(p->tree, vol, p->version);
	*ret_version = version;
	*ret_files = version;
	if (version && p->flat)
		*ret_files = node_is_committed(vol) ? flat_files(p, version) : vol;
	return version;
}

bool plan_shown(const struct plan *p, struct plan_shown *ret_s)
{
	struct node *vol = plan_find(p, p->path), *data, *n;

	if (!vol || node_kind(vol) != NODE_DIR)
		return false;
	data = tree_find(p->tree, vol, PLAN_DATA_LINK);
	if (data && node_kind(data) != NODE_LINK)
		return false;
	n = data ? tree_find(p->tree, vol, node_target(data)) : flat_version(p);
	if (!n || node_kind(n) != NODE_DIR)
		return false;
	*ret_s = (struct plan_shown){
		.vol = vol,
		.version = n,
		.labelled = data || flat_is_whole(p, n) ? n : vol,
		.name = node_name(n),
		.changed_usec = node_changed(data ?: n),
		.flat = !data,
	};
	return true;
}

bool plan_mount_dirs_are_whole(const struct plan *p, const struct payload *payload)
{
	struct node *vol = plan_find(p, p->path), *n;

	for (size_t i = 0; i < payload->n_mount_dirs; i++) {
		n = vol ? node_below(p, vol, payload->mount_dirs[i]) : NULL;
		if (!n || node_kind(n) != NODE_DIR || !node_is_committed(n))
			return false;
	}
	/* in a flat volume there are those of keys beside them */
	n = vol && tree_find(p->tree, vol, PLAN_DATA_LINK) ? node_next_child(vol, 0) : NULL;
	return find_unwanted(p, payload, vol, &n) == 0 && !n;
}

size_t plan_shown_bytes(const struct plan_shown *s)
{
	const struct node *top = s->flat ? s->vol : s->version;
	const struct secblock *last = NULL;
	size_t sum = 0;

	for (const struct node *n = walk_next(top, top); n; n = walk_next(top, n)) {
		const struct secblock *block = node_kind(n) == NODE_FILE ? node_content(n)->block : NULL;

		if (!block)
			continue;
		if (block != last)
			sum += block->len;
		last = block;
	}
	return sum;
}

bool plan_is_whole(const struct plan *p, const struct plan_shown *s)
{
	struct node *n;
	bool hidden;

	if (!plan_live_is_whole(p, false))
		return false;
	if (s->flat)
		return flat_is_whole(p, s->version);
	for (struct node *c = node_next_child(s->version, 0); c; c = node_next_child(s->version, node_cookie(c))) {
		n = node_is_hidden(c) ? NULL : tree_find(p->tree, s->vol, node_name(c));
		if (!node_is_hidden(c) && (!n || node_kind(n) != NODE_LINK || !node_is_committed(n)))
			return false;
	}
	for (struct node *c = node_next_child(s->vol, 0); c; c = node_next_child(s->vol, node_cookie(c))) {
		if (node_kind(c) != NODE_LINK || str_eq(node_name(c), PLAN_DATA_LINK))
			continue;
		hidden = false;
		if (!tree_lookup(p->tree, s->version, node_name(c), &hidden) || hidden)
			return false;
	}
	return true;
}
