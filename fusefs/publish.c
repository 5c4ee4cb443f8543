/* Publish: a queue of jobs, one under way at a time. A job looks at the tree, stages what is to change, and becomes a
 * list of steps: first those that change something, then those that read it all once (so that readers find it in the
 * kernel's caches). The steps travel to the publisher in messages of bounded size, each after the answer to the one
 * before it.
 *
 * What is to be done is always worked out from what the tree shows, never from what an earlier job meant to do: so a
 * job whose publisher died is simply sent again from its first step (steps whose result the tree shows are left out, a
 * removal that finds nothing is a success), and an update heals what a failed one left behind.
 *
 * The order of an update is that of newer kubelets (kubernetes PR 122807): links of new keys after the switch. Two
 * things are added so that no path walk that is overtaken by the switch ends in ENOENT: the old version stays reachable
 * by name for PUBLISH_GRACE_USEC, and the new one has the keys that only the old one had until their links are gone. */
#include "fusefs/publish.h"

#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "common/buf.h"
#include "common/list.h"
#include "common/log.h"
#include "common/map.h"
#include "fusefs/order.h"

/* Versions in their grace, per volume: at least RETIRED_MIN. More while they are small, because a reader that is not
 * scheduled for some milliseconds can be overtaken by several quick updates. */
#define RETIRED_MIN	  4
#define RETIRED_MAX	  64
#define RETIRED_BYTES_MAX (1u << 20)

#define VERSION_MAX   64
#define BY_NAME	      "by-name"
#define DATA_LINK     "..data"
#define DATA_TMP      "..data_tmp"
#define NAME_TMP      "..name_tmp"
#define MODE_POD_DIR  0750
#define MODE_NAME_DIR 0711

struct volume {
	char *path; /* the map's key: uid/volumes/plugin/name */
	struct digest digest; /* of what is published */
	bool good; /* false: nothing is, or nobody knows how far the last update came */
	uint64_t realtime_usec;
	size_t bytes; /* locked memory that the published version holds on to */
	struct list retired; /* oldest first */
	size_t n_retired, retired_bytes;
};

/* A version in its grace. */
struct retired {
	struct list link, in_volume; /* all of them, and those of the volume; oldest first */
	struct volume *volume;
	uint64_t due_usec;
	size_t bytes;
	char version[VERSION_MAX];
};

enum job_kind { JOB_VOLUME, JOB_REMOVE_VOLUME, JOB_REMOVE_POD, JOB_NAME_POD, JOB_EXPIRE };

struct step {
	enum order_op op;
	uint16_t ignored;
	bool mark;
	struct node *node; /* what the step makes: the tree knows whether it has come */
	char *path, *path2;
};

struct job {
	struct list link;
	enum job_kind kind;
	char *uid, *plugin, *name, *ns; /* which of them are set depends on the kind */
	char *path; /* of the volume, or the pod's folder */
	struct payload *payload;
	publish_fn fn;
	void *userdata;

	struct step *steps;
	size_t n_steps, steps_size;
	size_t n_done, n_sent; /* steps that are answered for, steps that are on their way */
	size_t switch_step; /* with it the new content is visible */
	bool cleaning; /* the job has failed, its steps take back what they can */
	uint64_t order_id, realtime_usec;
	char version[VERSION_MAX], old_version[VERSION_MAX];

	int r;
	struct err err;
};

struct publish {
	struct loop *loop;
	struct tree *tree;
	struct map volumes;
	struct list queue, done, retired;
	struct job *current;
	struct loop_source *turn, *timer, *io;
	int fd;
	pid_t pid;
	void (*lost)(void *userdata);
	void *lost_userdata;
	uint64_t last_order_id;
	struct publish_stats stats;
};

static uint64_t now_realtime_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / NSEC_PER_USEC;
}

static bool is_version_name(const char *name)
{
	return name[0] == '.' && name[1] == '.';
}

/* --- volumes and their retired versions --- */

static void retired_free(struct retired *r)
{
	list_remove(&r->link);
	list_remove(&r->in_volume);
	r->volume->n_retired--;
	r->volume->retired_bytes -= r->bytes;
	free(r);
}

static void volume_free(struct volume *v)
{
	struct retired *r;

	while ((r = list_first(&v->retired, struct retired, in_volume)))
		retired_free(r);
	free(v->path);
	free(v);
}

static int volume_get(struct publish *p, const char *path, struct volume **ret_v)
{
	struct volume *v = map_get_str(&p->volumes, path);
	int r;

	if (!v) {
		v = calloc(1, sizeof *v);
		if (!v)
			return -ENOMEM;
		list_init(&v->retired);
		v->path = strdup(path);
		r = v->path ? map_add_str(&p->volumes, v->path, v) : -ENOMEM;
		if (r < 0) {
			volume_free(v);
			return r;
		}
	}
	*ret_v = v;
	return 0;
}

static void volume_drop(struct publish *p, const char *path)
{
	struct volume *v = map_remove_str(&p->volumes, path);

	if (v)
		volume_free(v);
}

static void volumes_drop_pod(struct publish *p, const char *uid)
{
	size_t len = strlen(uid);
	struct volume *v;

	for (size_t it = 0; (v = map_next(&p->volumes, &it));) {
		if (strncmp(v->path, uid, len) == 0 && v->path[len] == '/') {
			map_remove_str(&p->volumes, v->path);
			volume_free(v);
		}
	}
}

static bool volume_has_retired(const struct volume *v, const char *version)
{
	struct retired *r;

	list_for_each (r, &v->retired, in_volume)
		if (str_eq(r->version, version))
			return true;
	return false;
}

static void timer_arm(struct publish *p)
{
	struct retired *r = list_first(&p->retired, struct retired, link);
	uint64_t now = loop_now(p->loop);

	if (r)
		loop_timer_set(p->timer, r->due_usec > now ? r->due_usec - now : 0);
	else
		loop_timer_off(p->timer);
}

/* Without memory for the record the version goes with the next update. */
static void volume_retire(struct publish *p, struct volume *v, const char *version)
{
	struct retired *r = calloc(1, sizeof *r);

	if (!r)
		return;
	r->volume = v;
	r->due_usec = loop_now(p->loop) + PUBLISH_GRACE_USEC;
	r->bytes = v->bytes;
	snprintf(r->version, sizeof r->version, "%s", version);
	list_append(&p->retired, &r->link);
	list_append(&v->retired, &r->in_volume);
	v->n_retired++;
	v->retired_bytes += r->bytes;
	timer_arm(p);
}

/* --- jobs --- */

static void steps_free(struct job *j)
{
	for (size_t i = 0; i < j->n_steps; i++) {
		free(j->steps[i].path);
		free(j->steps[i].path2);
	}
	free(j->steps);
	j->steps = NULL;
	j->n_steps = j->steps_size = j->n_done = j->n_sent = 0;
}

static void job_free(struct job *j)
{
	if (!j)
		return;
	list_remove(&j->link);
	steps_free(j);
	payload_free(j->payload);
	free(j->uid);
	free(j->plugin);
	free(j->name);
	free(j->ns);
	free(j->path);
	free(j);
}
DEFINE_CLEANUP(struct job *, job_free);
#define cleanup_job cleanup(job_freep)

static int string_set(char **field, const char *s)
{
	if (!s)
		return 0;
	*field = strdup(s);
	return *field ? 0 : -ENOMEM;
}

static int job_new(enum job_kind kind, const char *uid, struct job **ret_j)
{
	cleanup_job struct job *j = calloc(1, sizeof *j);
	int r;

	if (!j)
		return -ENOMEM;
	list_init(&j->link);
	j->kind = kind;
	j->switch_step = SIZE_MAX;
	r = string_set(&j->uid, uid);
	if (r < 0)
		return r;
	*ret_j = TAKE_PTR(j);
	return 0;
}

static void publish_wake(struct publish *p)
{
	loop_defer_set(p->turn);
}

static void job_enqueue(struct publish *p, struct job *j)
{
	list_append(&p->queue, &j->link);
	p->stats.n_queued++;
	publish_wake(p);
}

static void job_finish(struct publish *p, struct job *j, int r)
{
	if (p->current == j)
		p->current = NULL;
	else
		list_remove(&j->link);
	p->stats.n_queued--;
	j->r = r;
	steps_free(j);
	if (r == PUBLISH_UNCHANGED)
		p->stats.n_unchanged++;
	else if (r == 0 && j->kind == JOB_VOLUME)
		p->stats.n_published++;
	else if (r == 0 && (j->kind == JOB_REMOVE_VOLUME || j->kind == JOB_REMOVE_POD))
		p->stats.n_removed++;
	else if (r < 0 && r != -ESTALE)
		p->stats.n_failed++;
	if (r < 0 && !j->fn)
		log_warning(LOG_F({ "path", j->path }), "%s", err_text(&j->err));
	list_append(&p->done, &j->link);
	publish_wake(p);
}

static void job_cancel(struct publish *p, struct job *j, const char *why)
{
	err_set(&j->err, -ESTALE, "%s", why);
	job_finish(p, j, -ESTALE);
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

static int step_add_path(struct job *j, enum order_op op, struct node *made, const char *path, const char *path2)
{
	size_t size = j->steps_size ? j->steps_size * 2 : 16;
	cleanup_free char *copy = strdup(path), *copy2 = path2 ? strdup(path2) : NULL;
	struct step *steps;
	uint16_t ignored = 0;

	if (!copy || (path2 && !copy2))
		return -ENOMEM;
	if (j->n_steps == j->steps_size) {
		steps = reallocarray(j->steps, size, sizeof *steps);
		if (!steps)
			return -ENOMEM;
		j->steps = steps;
		j->steps_size = size;
	}
	if (op == ORDER_UNLINK || op == ORDER_RMDIR)
		ignored = ENOENT;
	else if (op >= ORDER_STAT)
		ignored = ORDER_IGNORE_ALL; /* for instance EACCES: files that their owner may not read either */
	j->steps[j->n_steps++] = (struct step){
		.op = op,
		.ignored = ignored,
		.node = made,
		.path = TAKE_PTR(copy),
		.path2 = TAKE_PTR(copy2),
	};
	return 0;
}

static int step_add(struct job *j, enum order_op op, struct node *n, const char *path2)
{
	bool makes = op == ORDER_MKDIR || op == ORDER_SYMLINK;
	char path[ORDER_PATH_MAX];
	int r;

	r = node_path(n, path);
	return r ?: step_add_path(j, op, makes ? n : NULL, path, path2);
}

/* The same for a name in a folder, whatever node has it then. */
static int step_add_name(struct job *j, enum order_op op, struct node *made, const struct node *dir, const char *name,
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
	return step_add_path(j, op, made, path, new_name ? path2 : NULL);
}

/* The step that was added last makes the new content visible. */
static void step_is_switch(struct job *j)
{
	j->switch_step = j->n_steps - 1;
	j->steps[j->switch_step].mark = true;
}

/* What is staged is taken back if there is no step for it. */
static int stage_dir(struct publish *p, struct job *j, struct node *parent, const char *name, mode_t mode, gid_t gid,
		     struct node **ret_n)
{
	struct node *n;
	int r;

	r = tree_stage_dir(p->tree, parent, name, mode, gid, &n);
	if (r < 0)
		return r;
	r = step_add(j, ORDER_MKDIR, n, NULL);
	if (r < 0) {
		tree_unstage(p->tree, n);
		return r;
	}
	*ret_n = n;
	return 0;
}

static int stage_link(struct publish *p, struct job *j, struct node *parent, const char *name, const char *target,
		      const char *final, struct node **ret_n)
{
	struct node *n;
	int r;

	r = tree_stage_link(p->tree, parent, name, target, final, &n);
	if (r < 0)
		return r;
	r = step_add(j, ORDER_SYMLINK, n, target);
	if (r < 0) {
		tree_unstage(p->tree, n);
		return r;
	}
	*ret_n = n;
	return 0;
}

static int stage_removal(struct publish *p, struct job *j, struct node *n)
{
	tree_stage_removal(p->tree, n);
	return step_add(j, node_kind(n) == NODE_DIR ? ORDER_RMDIR : ORDER_UNLINK, n, NULL);
}

/* A folder that is there already or will be made. */
static int need_dir(struct publish *p, struct job *j, struct node *parent, const char *name, mode_t mode,
		    struct node **ret_n)
{
	struct node *n = tree_find(p->tree, parent, name);

	if (!n)
		return stage_dir(p, j, parent, name, mode, 0, ret_n);
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
static int warm_tree(struct job *j, struct node *top)
{
	int r = 0;

	for (struct node *n = top; n && r == 0; n = walk_next(top, n))
		r = step_add(j, warm_op(n), n, NULL);
	return r;
}

/* Folders that have changed: the kernel asks for their attributes again. */
static int warm_parents(struct job *j, struct node *n)
{
	int r = 0;

	for (n = node_parent(n); n && r == 0; n = node_parent(n))
		r = step_add(j, ORDER_STAT, n, NULL);
	return r;
}

static int unlink_files(struct publish *p, struct job *j, struct node *dir)
{
	int r = 0;

	for (struct node *n = walk_next(dir, dir); n && r == 0; n = walk_next(dir, n))
		if (node_kind(n) != NODE_DIR)
			r = stage_removal(p, j, n);
	return r;
}

/* Children first. */
static int remove_dirs(struct publish *p, struct job *j, struct node *top)
{
	size_t first = j->n_steps;
	int r = 0;

	for (struct node *n = top; n && r == 0; n = walk_next(top, n))
		if (node_kind(n) == NODE_DIR)
			r = stage_removal(p, j, n);
	for (size_t a = first, b = j->n_steps; a + 1 < b; a++) {
		struct step s = j->steps[a];

		j->steps[a] = j->steps[--b];
		j->steps[b] = s;
	}
	return r;
}

/* --- what a volume looks like --- */

static mode_t dir_mode(const struct payload *pl)
{
	return pl->has_fs_group ? 02755 : 0755;
}

static gid_t dir_gid(const struct payload *pl)
{
	return pl->has_fs_group ? pl->fs_group : 0;
}

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

static int fill_file(struct publish *p, struct node *dir, const struct payload *pl, const struct payload_file *f)
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

static int fill_version(struct publish *p, struct node *version, const struct payload *pl)
{
	int r = 0;

	for (size_t i = 0; i < pl->n_files && r == 0; i++)
		r = fill_file(p, version, pl, &pl->files[i]);
	return r;
}

static int link_target(const char *name, char target[PAYLOAD_NAME_MAX + 16])
{
	return snprintf(target, PAYLOAD_NAME_MAX + 16, DATA_LINK "/%s", name);
}

/* `staged`: the folder at `path` below vol is made by a step for one of its parents. */
static int add_mount_dir(struct publish *p, struct job *j, struct node *vol, bool staged, const char *path)
{
	const struct payload *pl = j->payload;
	char name[PAYLOAD_NAME_MAX + 1];
	struct node *dir = vol, *n;
	int r;

	while (path_element(&path, name)) {
		n = tree_find(p->tree, dir, name);
		if (n && node_kind(n) != NODE_DIR)
			return -EEXIST;
		r = n	     ? 0
		    : staged ? tree_fill_dir(p->tree, dir, name, dir_mode(pl), dir_gid(pl), &n)
			     : stage_dir(p, j, dir, name, dir_mode(pl), dir_gid(pl), &n);
		if (r < 0)
			return r;
		staged = staged || !node_is_committed(n);
		dir = n;
	}
	return 0;
}

static int add_mount_dirs(struct publish *p, struct job *j, struct node *vol, bool staged)
{
	int r = 0;

	for (size_t i = 0; i < j->payload->n_mount_dirs && r == 0; i++)
		r = add_mount_dir(p, j, vol, staged, j->payload->mount_dirs[i]);
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

static int remove_mount_dirs(struct publish *p, struct job *j, struct node *vol)
{
	size_t prefix = strlen(j->path) + 1;
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
		if (mount_dir_wanted(j->payload, path + prefix)) {
			n = walk_next(vol, n);
			continue;
		}
		r = stage_removal(p, j, n);
		if (r < 0)
			return r;
		n = walk_on(vol, n);
	}
	return 0;
}

/* As Go's os.MkdirTemp(dir, time.Now().UTC().Format("..2006_01_02_15_04_05.")) names it. */
static int version_name(struct publish *p, const struct node *vol, char version[VERSION_MAX])
{
	time_t now = now_realtime_usec() / USEC_PER_SEC;
	struct tm tm;
	uint32_t n;

	gmtime_r(&now, &tm);
	for (int tries = 0; tries < 100; tries++) {
		size_t len = strftime(version, VERSION_MAX, "..%Y_%m_%d_%H_%M_%S.", &tm);

		if (getrandom(&n, sizeof n, 0) != sizeof n)
			return -errno;
		snprintf(version + len, VERSION_MAX - len, "%u", n);
		if (!vol || !tree_find(p->tree, vol, version))
			return 0;
	}
	return -EEXIST;
}

/* --- jobs become steps --- */

static int build_new(struct publish *p, struct job *j)
{
	const struct payload *pl = j->payload;
	struct node *root = tree_node(p->tree, TREE_ROOT_ID), *pod, *volumes, *plugin, *vol, *version, *n;
	char target[PAYLOAD_NAME_MAX + 16];
	int r;

	r = version_name(p, NULL, j->version);
	r = r ?: need_dir(p, j, root, j->uid, MODE_POD_DIR, &pod);
	r = r ?: need_dir(p, j, pod, "volumes", MODE_POD_DIR, &volumes);
	r = r ?: need_dir(p, j, volumes, j->plugin, MODE_POD_DIR, &plugin);
	r = r ?: stage_dir(p, j, plugin, j->name, pl->has_fs_group ? 03777 : 01777, dir_gid(pl), &vol);
	if (r < 0)
		return r;
	step_is_switch(j);

	r = tree_fill_dir(p->tree, vol, j->version, dir_mode(pl), dir_gid(pl), &version);
	r = r ?: fill_version(p, version, pl);
	r = r ?: tree_fill_link(p->tree, vol, DATA_LINK, j->version, &n);
	if (r < 0)
		return r;
	for (struct node *c = node_next_child(version, 0); c; c = node_next_child(version, node_id(c))) {
		link_target(node_name(c), target);
		r = tree_fill_link(p->tree, vol, node_name(c), target, &n);
		if (r < 0)
			return r;
	}
	r = add_mount_dirs(p, j, vol, true);
	r = r ?: warm_tree(j, vol);
	return r ?: warm_parents(j, vol);
}

/* What only the old version has at its top is in the new one too, unlisted, until its link is gone. */
static int fill_hidden(struct publish *p, struct node *version, const struct node *old)
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
static int switch_links(struct publish *p, struct job *j, struct node *vol, const struct node *version)
{
	char target[PAYLOAD_NAME_MAX + 16];
	struct node *n;
	bool hidden;
	int r;

	for (struct node *c = node_next_child(version, 0); c; c = node_next_child(version, node_id(c))) {
		if (tree_find(p->tree, vol, node_name(c)))
			continue;
		link_target(node_name(c), target);
		r = stage_link(p, j, vol, node_name(c), target, NULL, &n);
		if (r < 0)
			return r;
	}
	for (struct node *c = node_next_child(vol, 0); c; c = node_next_child(vol, node_id(c))) {
		if (node_kind(c) != NODE_LINK || str_eq(node_name(c), DATA_LINK))
			continue;
		hidden = false;
		if (tree_lookup(p->tree, version, node_name(c), &hidden) && !hidden)
			continue;
		r = stage_removal(p, j, c);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Versions that are neither the current nor the old one nor in their grace. */
static int remove_stale_versions(struct publish *p, struct job *j, struct volume *v, const struct node *vol)
{
	int r;

	while (v->n_retired >= RETIRED_MIN && (v->n_retired >= RETIRED_MAX || v->retired_bytes > RETIRED_BYTES_MAX))
		retired_free(list_first(&v->retired, struct retired, in_volume));
	for (struct node *c = node_next_child(vol, 0); c; c = node_next_child(vol, node_id(c))) {
		const char *name = node_name(c);

		if (node_kind(c) != NODE_DIR || !is_version_name(name) || str_eq(name, j->old_version) ||
		    volume_has_retired(v, name))
			continue;
		r = unlink_files(p, j, c);
		r = r ?: remove_dirs(p, j, c);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What the steps so far have made, and the folders that they changed. */
static int warm_update(struct job *j, struct node *vol, struct node *version)
{
	size_t n_change = j->n_steps;
	int r;

	r = warm_tree(j, version);
	r = r ?: step_add_name(j, ORDER_READ_LINK, NULL, vol, DATA_LINK, NULL);
	for (size_t i = j->switch_step + 1; i < n_change && r == 0; i++)
		if (j->steps[i].node)
			r = step_add(j, warm_op(j->steps[i].node), j->steps[i].node, NULL);
	return r ?: step_add(j, ORDER_READ_DIR, vol, NULL);
}

static int build_update(struct publish *p, struct job *j, struct volume *v, struct node *vol)
{
	const struct payload *pl = j->payload;
	struct node *data = tree_find(p->tree, vol, DATA_LINK), *old = NULL, *version;
	int r;

	if (data) {
		snprintf(j->old_version, sizeof j->old_version, "%s", node_target(data));
		old = tree_find(p->tree, vol, j->old_version);
	}
	r = version_name(p, vol, j->version);
	r = r ?: add_mount_dirs(p, j, vol, false);
	r = r ?: stage_dir(p, j, vol, j->version, dir_mode(pl), dir_gid(pl), &version);
	r = r ?: fill_version(p, version, pl);
	r = r ?: step_add(j, ORDER_CHMOD, version, NULL);
	if (r == 0 && old)
		r = fill_hidden(p, version, old);
	r = r ?: stage_link(p, j, vol, DATA_TMP, j->version, DATA_LINK, &data);
	r = r ?: step_add_name(j, ORDER_RENAME, data, vol, DATA_TMP, DATA_LINK);
	if (r < 0)
		return r;
	step_is_switch(j);

	r = switch_links(p, j, vol, version);
	if (r == 0 && old) {
		tree_retire(p->tree, old);
		r = unlink_files(p, j, old);
	}
	r = r ?: remove_stale_versions(p, j, v, vol);
	r = r ?: remove_mount_dirs(p, j, vol);
	return r ?: warm_update(j, vol, version);
}

static struct node *find_path(struct publish *p, const char *path)
{
	struct node *n = tree_node(p->tree, TREE_ROOT_ID);
	char name[PAYLOAD_NAME_MAX + 1];

	while (n && path_element(&path, name))
		n = node_kind(n) == NODE_DIR ? tree_find(p->tree, n, name) : NULL;
	return n;
}

static int build_volume(struct publish *p, struct job *j)
{
	struct node *vol = find_path(p, j->path);
	struct volume *v;
	int r;

	r = volume_get(p, j->path, &v);
	if (r < 0)
		return r;
	if (!vol)
		return build_new(p, j);
	return build_update(p, j, v, vol);
}

static int build_remove_volume(struct publish *p, struct job *j)
{
	struct node *vol = find_path(p, j->path);
	int r;

	if (!vol)
		return 0;
	r = stage_removal(p, j, vol);
	return r ?: warm_parents(j, vol);
}

/* The link by-name/<ns>/<name> that leads to this pod. */
static struct node *find_name_link(struct publish *p, const char *uid)
{
	struct node *top = find_path(p, BY_NAME);

	for (struct node *n = top ? walk_next(top, top) : NULL; n; n = walk_next(top, n))
		if (node_kind(n) == NODE_LINK && str_eq(strrchr(node_target(n), '/') + 1, uid))
			return n;
	return NULL;
}

static int build_remove_pod(struct publish *p, struct job *j)
{
	struct node *pod = find_path(p, j->uid), *link = find_name_link(p, j->uid), *ns;
	int r = 0;

	if (link) {
		ns = node_parent(link);
		r = stage_removal(p, j, link);
		if (r == 0 && !node_next_child(ns, node_id(link)) && node_next_child(ns, 0) == link)
			r = stage_removal(p, j, ns);
	}
	if (r == 0 && pod) {
		r = stage_removal(p, j, pod);
		r = r ?: warm_parents(j, pod);
	}
	return r;
}

static int build_name_pod(struct publish *p, struct job *j)
{
	struct node *root = tree_node(p->tree, TREE_ROOT_ID), *by_name, *ns, *link;
	char target[PAYLOAD_NAME_MAX + 16];
	int r;

	snprintf(target, sizeof target, "../../%s", j->uid);
	r = need_dir(p, j, root, BY_NAME, MODE_NAME_DIR, &by_name);
	r = r ?: need_dir(p, j, by_name, j->ns, MODE_NAME_DIR, &ns);
	if (r < 0)
		return r;
	link = tree_find(p->tree, ns, j->name);
	if (!link)
		return stage_link(p, j, ns, j->name, target, NULL, &link);
	if (str_eq(node_target(link), target))
		return 0;
	r = stage_link(p, j, ns, NAME_TMP, target, j->name, &link);
	return r ?: step_add_name(j, ORDER_RENAME, link, ns, NAME_TMP, j->name);
}

/* The grace is over: the version's sub folders and then itself. */
static int build_expire(struct publish *p, struct job *j)
{
	struct node *vol = find_path(p, j->path);
	struct node *old = vol ? tree_find(p->tree, vol, j->old_version) : NULL;
	int r;

	if (!old)
		return 0;
	r = remove_dirs(p, j, old);
	return r ?: step_add(j, ORDER_READ_DIR, vol, NULL);
}

static int job_build(struct publish *p, struct job *j)
{
	static int (*const builds[])(struct publish * p, struct job * j) = {
		[JOB_VOLUME] = build_volume,	     [JOB_REMOVE_VOLUME] = build_remove_volume,
		[JOB_REMOVE_POD] = build_remove_pod, [JOB_NAME_POD] = build_name_pod,
		[JOB_EXPIRE] = build_expire,
	};

	tree_set_time(p->tree, now_realtime_usec());
	return builds[j->kind](p, j);
}

/* --- running a job --- */

static bool step_is_done(const struct step *s)
{
	if (!s->node)
		return false;
	/* a link that waits for its rename has had its symlink call all the same */
	return s->op == ORDER_SYMLINK ? node_is_linked(s->node) : node_is_committed(s->node);
}

static bool is_switched(const struct job *j)
{
	return j->switch_step < j->n_steps && step_is_done(&j->steps[j->switch_step]);
}

/* Takes back what was staged; what has been made already gets a step that unmakes it, unless the new content is
 * visible: then the next update goes on from what there is. */
static void job_roll_back(struct publish *p, struct job *j)
{
	bool keep = is_switched(j);
	struct job undo = { .link = LIST_INIT(undo.link) };

	for (size_t i = j->n_steps; i-- > 0;) {
		struct step *s = &j->steps[i];
		bool linked = s->node && node_is_linked(s->node);

		if (!s->node || (s->op != ORDER_MKDIR && s->op != ORDER_SYMLINK) || (keep && linked))
			continue;
		tree_unstage(p->tree, s->node);
		/* without memory for the step the folder stays, and the next update removes it */
		if (linked)
			(void)stage_removal(p, &undo, s->node);
	}
	steps_free(j);
	j->steps = undo.steps;
	j->n_steps = undo.n_steps;
	j->steps_size = undo.steps_size;
	j->switch_step = SIZE_MAX;
	j->cleaning = true;
}

static void job_fail(struct publish *p, struct job *j, int r)
{
	struct volume *v = map_get_str(&p->volumes, j->path ?: "");

	if (j->kind == JOB_VOLUME && v && is_switched(j))
		v->good = false;
	j->r = r;
	job_roll_back(p, j);
	if (j->n_steps == 0)
		job_finish(p, j, r);
}

/* A block is one Secret's revision, and its files follow each other more often than not: good enough for a limit. */
static size_t payload_bytes(const struct payload *pl)
{
	const struct secblock *last = NULL;
	size_t sum = 0;

	for (size_t i = 0; i < pl->n_files; i++) {
		const struct secblock *block = pl->files[i].content.block;

		if (block && block != last)
			sum += block->len;
		last = block;
	}
	return sum;
}

static void volume_published(struct publish *p, struct job *j)
{
	struct node *vol = find_path(p, j->path);
	struct node *version = vol ? tree_find(p->tree, vol, j->version) : NULL;
	struct volume *v = map_get_str(&p->volumes, j->path);

	if (version)
		tree_drop_hidden(p->tree, version);
	if (!j->realtime_usec)
		j->realtime_usec = now_realtime_usec();
	v->digest = j->payload->digest;
	v->good = true;
	v->realtime_usec = j->realtime_usec;
	if (j->old_version[0])
		volume_retire(p, v, j->old_version);
	v->bytes = payload_bytes(j->payload);
}

static void job_done(struct publish *p, struct job *j)
{
	if (j->cleaning) {
		job_finish(p, j, j->r);
		return;
	}
	for (size_t i = 0; i < j->n_steps; i++) {
		if (j->steps[i].node && !step_is_done(&j->steps[i])) {
			err_set(&j->err, -EIO, "the publisher did not make %s", j->steps[i].path);
			job_fail(p, j, -EIO);
			return;
		}
	}
	switch (j->kind) {
	case JOB_VOLUME:
		volume_published(p, j);
		break;
	case JOB_REMOVE_VOLUME:
		volume_drop(p, j->path);
		break;
	case JOB_REMOVE_POD:
		volumes_drop_pod(p, j->uid);
		break;
	case JOB_NAME_POD:
	case JOB_EXPIRE:
		break;
	}
	job_finish(p, j, 0);
}

static void publish_detach(struct publish *p)
{
	loop_source_free(p->io);
	p->io = NULL;
	p->fd = close_fd(p->fd);
	p->pid = 0;
}

static int step_encode(struct buf *b, const struct step *s, size_t index)
{
	struct order_step wire = {
		.index = index,
		.op = s->op,
		.ignored = s->ignored,
		.path_len = strlen(s->path) + 1,
		.path2_len = s->path2 ? strlen(s->path2) + 1 : 0,
		.mark = s->mark,
	};
	size_t len = b->len;
	int r;

	if (sizeof wire + wire.path_len + wire.path2_len > b->max - len)
		return -ENOBUFS;
	r = buf_add(b, &wire, sizeof wire);
	r = r ?: buf_add(b, s->path, wire.path_len);
	if (r == 0 && s->path2)
		r = buf_add(b, s->path2, wire.path2_len);
	return r;
}

/* Sends as many of the next steps as fit into one message. A repeated order leaves out what the tree shows. */
static int job_send(struct publish *p, struct job *j)
{
	cleanup_buf struct buf b = BUF_INIT(ORDER_MAX);
	struct order_head head = { .id = ++p->last_order_id };
	int r;

	r = buf_add(&b, &head, sizeof head);
	if (r < 0)
		return r;
	for (j->n_sent = j->n_done; j->n_sent < j->n_steps; j->n_sent++) {
		if (step_is_done(&j->steps[j->n_sent]))
			continue;
		r = step_encode(&b, &j->steps[j->n_sent], j->n_sent);
		if (r == -ENOBUFS && head.n_steps > 0)
			break;
		if (r < 0)
			return r;
		head.n_steps++;
	}
	memcpy(b.data, &head, sizeof head);
	j->order_id = head.id;
	if (send(p->fd, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return -errno;
	return 0;
}

/* Goes on with the current job. A message that cannot be sent means that the publisher is gone: its end of file follows
 * and the job waits for the next one. */
static void job_continue(struct publish *p)
{
	struct job *j = p->current;
	int r;

	if (j->n_done == j->n_steps) {
		job_done(p, j);
		j = p->current;
	}
	if (!j || p->fd < 0)
		return;
	r = job_send(p, j);
	if (r == -ENOMEM || r == -ENOBUFS) {
		err_set(&j->err, r, "publish %s: %s", j->path, strerror(-r));
		job_finish(p, j, r);
	}
}

static bool is_unchanged(struct publish *p, const struct job *j)
{
	const struct volume *v;

	if (j->kind != JOB_VOLUME)
		return false;
	v = map_get_str(&p->volumes, j->path);
	return v && v->good && digest_eq(&v->digest, &j->payload->digest) && find_path(p, j->path);
}

static void finish_unchanged(struct publish *p, struct job *j)
{
	const struct volume *v = map_get_str(&p->volumes, j->path);
	struct node *vol = find_path(p, j->path);
	struct node *data = vol ? tree_find(p->tree, vol, DATA_LINK) : NULL;

	j->realtime_usec = v->realtime_usec;
	if (data)
		snprintf(j->version, sizeof j->version, "%s", node_target(data));
	job_finish(p, j, PUBLISH_UNCHANGED);
}

/* The first job of the queue becomes the current one, if it can. */
static void job_begin(struct publish *p)
{
	struct job *j = list_first(&p->queue, struct job, link);
	int r;

	if (!j)
		return;
	if (is_unchanged(p, j)) {
		finish_unchanged(p, j);
		return;
	}
	if (p->fd < 0)
		return;

	list_remove(&j->link);
	p->current = j;
	r = job_build(p, j);
	if (r < 0) {
		err_set(&j->err, r, "publish %s: %s", j->path, strerror(-r));
		job_fail(p, j, r);
	}
	if (p->current)
		job_continue(p);
}

/* One result is delivered per turn, as the last act: the callback may do anything, publish_free() included. */
static void publish_turn(struct loop_source *s, void *userdata)
{
	cleanup_job struct job *j = NULL;
	struct publish *p = userdata;
	struct publish_result res;

	if (!p->current)
		job_begin(p);
	j = list_first(&p->done, struct job, link);
	if (!j)
		return;
	list_remove(&j->link);
	if (!list_empty(&p->done) || (!p->current && !list_empty(&p->queue)))
		publish_wake(p);

	if (!j->fn)
		return;
	res = (struct publish_result){ .version = j->version, .realtime_usec = j->realtime_usec };
	j->fn(j->userdata, j->r, j->r >= 0 ? &res : NULL, &j->err);
}

static void publisher_lost(struct publish *p)
{
	void (*lost)(void *userdata) = p->lost;
	void *userdata = p->lost_userdata;

	publish_detach(p);
	if (lost)
		lost(userdata);
}

static const char *op_name(enum order_op op)
{
	static const char *const names[ORDER_OPS] = {
		"mkdir", "chmod", "symlink", "rename", "unlink", "rmdir", "stat", "read", "readlink", "readdir",
	};

	return op < ORDER_OPS ? names[op] : "?";
}

static void answered(struct publish *p, const struct order_answer *a)
{
	struct job *j = p->current;

	if (!j || a->id != j->order_id)
		return;
	if (a->realtime_usec)
		j->realtime_usec = a->realtime_usec;
	if (a->failed != ORDER_DONE && a->failed < j->n_steps) {
		const struct step *s = &j->steps[a->failed];
		int r = a->error ? -(int)a->error : -EIO;

		err_set(&j->err, r, "%s %s: %s", op_name(s->op), s->path, strerror(-r));
		job_fail(p, j, r);
	} else {
		j->n_done = j->n_sent;
	}
	if (p->current)
		job_continue(p);
}

static void publish_readable(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct publish *p = userdata;
	struct order_answer a;
	ssize_t n = recv(fd, &a, sizeof a, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == (ssize_t)sizeof a)
		answered(p, &a);
	else
		publisher_lost(p);
}

static void publish_timer(struct loop_source *s, void *userdata)
{
	struct publish *p = userdata;
	uint64_t now = loop_now(p->loop);
	struct retired *r;

	while ((r = list_first(&p->retired, struct retired, link)) && r->due_usec <= now) {
		struct job *j;

		if (job_new(JOB_EXPIRE, NULL, &j) == 0) {
			if (string_set(&j->path, r->volume->path) == 0) {
				memcpy(j->old_version, r->version, sizeof j->old_version);
				job_enqueue(p, j);
			} else {
				job_free(j);
			}
		}
		retired_free(r);
	}
	timer_arm(p);
}

/* --- the interface --- */

int publish_new(struct loop *l, struct tree *t, struct publish **ret_p)
{
	cleanup(publish_freep) struct publish *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return -ENOMEM;
	p->loop = l;
	p->tree = t;
	p->fd = -1;
	list_init(&p->queue);
	list_init(&p->done);
	list_init(&p->retired);
	r = loop_add_defer(l, publish_turn, p, &p->turn);
	r = r ?: loop_add_timer(l, publish_timer, p, &p->timer);
	if (r < 0)
		return r;
	*ret_p = TAKE_PTR(p);
	return 0;
}

void publish_free(struct publish *p)
{
	struct volume *v;
	struct job *j;

	if (!p)
		return;
	publish_detach(p);
	loop_source_free(p->turn);
	loop_source_free(p->timer);
	job_free(p->current);
	while ((j = list_first(&p->queue, struct job, link)))
		job_free(j);
	while ((j = list_first(&p->done, struct job, link)))
		job_free(j);
	for (size_t it = 0; (v = map_next(&p->volumes, &it));) {
		map_remove_str(&p->volumes, v->path);
		volume_free(v);
	}
	map_deinit(&p->volumes);
	free(p);
}

int publish_attach(struct publish *p, int take_fd, pid_t pid, void (*lost)(void *userdata), void *userdata)
{
	cleanup_fd int fd = take_fd;
	struct loop_source *io;
	int r;

	r = loop_add_io(p->loop, fd, EPOLLIN, publish_readable, p, &io);
	if (r < 0)
		return r;
	publish_detach(p);
	p->fd = TAKE_FD(fd);
	p->io = io;
	p->pid = pid;
	p->lost = lost;
	p->lost_userdata = userdata;

	if (p->current) {
		p->current->n_done = 0;
		job_continue(p);
	}
	publish_wake(p);
	return 0;
}

bool publish_is_publisher(const struct publish *p, pid_t pid)
{
	return pid > 0 && p->pid == pid;
}

/* A name that becomes a folder or link of ours: nothing that climbs or that could be taken for one of our own. */
static bool is_name(const char *s)
{
	return s && *s && !strchr(s, '/') && strlen(s) <= PAYLOAD_NAME_MAX && !str_eq(s, ".") && !is_version_name(s);
}

static bool is_uid(const char *s)
{
	return is_name(s) && !str_eq(s, BY_NAME);
}

int publish_name_pod(struct publish *p, const char *uid, const char *ns, const char *name)
{
	cleanup_job struct job *j = NULL;
	int r;

	if (!is_uid(uid) || !is_name(ns) || !is_name(name))
		return -EINVAL;
	r = job_new(JOB_NAME_POD, uid, &j);
	r = r ?: string_set(&j->ns, ns);
	r = r ?: string_set(&j->name, name);
	r = r ?: string_set(&j->path, uid);
	if (r < 0)
		return r;
	job_enqueue(p, TAKE_PTR(j));
	return 0;
}

static int volume_job_new(enum job_kind kind, const struct volume_path *at, publish_fn fn, void *userdata,
			  struct job **ret_j)
{
	cleanup_job struct job *j = NULL;
	int r;

	if (!is_uid(at->pod_uid) || !is_name(at->plugin) || !is_name(at->name))
		return -EINVAL;
	r = job_new(kind, at->pod_uid, &j);
	r = r ?: string_set(&j->plugin, at->plugin);
	r = r ?: string_set(&j->name, at->name);
	if (r < 0)
		return r;
	if (asprintf(&j->path, "%s/volumes/%s/%s", at->pod_uid, at->plugin, at->name) < 0) {
		j->path = NULL;
		return -ENOMEM;
	}
	j->fn = fn;
	j->userdata = userdata;
	*ret_j = TAKE_PTR(j);
	return 0;
}

/* Payloads that wait for this volume (path) or pod (path NULL) are not wanted any more. */
static void cancel_waiting(struct publish *p, const char *uid, const char *path, const char *why)
{
	struct job *j;

	list_for_each (j, &p->queue, link)
		if (j->kind == JOB_VOLUME && (path ? str_eq(j->path, path) : str_eq(j->uid, uid)))
			job_cancel(p, j, why);
}

int publish_volume(struct publish *p, const struct volume_path *at, struct payload *take_payload, publish_fn fn,
		   void *userdata)
{
	cleanup_payload struct payload *payload = take_payload;
	struct job *j;
	int r;

	assert(payload->sealed);
	r = volume_job_new(JOB_VOLUME, at, fn, userdata, &j);
	if (r < 0)
		return r;
	j->payload = TAKE_PTR(payload);
	cancel_waiting(p, NULL, j->path, "overtaken by a newer payload");
	job_enqueue(p, j);
	return 0;
}

int publish_remove_volume(struct publish *p, const struct volume_path *at, publish_fn fn, void *userdata)
{
	struct job *j;
	int r;

	r = volume_job_new(JOB_REMOVE_VOLUME, at, fn, userdata, &j);
	if (r < 0)
		return r;
	cancel_waiting(p, NULL, j->path, "overtaken by the removal of the volume");
	job_enqueue(p, j);
	return 0;
}

int publish_remove_pod(struct publish *p, const char *uid, publish_fn fn, void *userdata)
{
	cleanup_job struct job *j = NULL;
	int r;

	if (!is_uid(uid))
		return -EINVAL;
	r = job_new(JOB_REMOVE_POD, uid, &j);
	r = r ?: string_set(&j->path, uid);
	if (r < 0)
		return r;
	j->fn = fn;
	j->userdata = userdata;
	cancel_waiting(p, uid, NULL, "overtaken by the removal of the pod");
	job_enqueue(p, TAKE_PTR(j));
	return 0;
}

struct publish_stats publish_stats(const struct publish *p)
{
	struct publish_stats stats = p->stats;
	const struct retired *r;

	list_for_each (r, &p->retired, link)
		stats.n_retired++;
	stats.attached = p->fd >= 0;
	return stats;
}
