/* fuzz: at most 2048 bytes
 * Payload: any paths, as a pod's items and its other mounts may have them. What is accepted is a tree: each path clean, no
 * way out of it, nothing both file and folder, nothing of the kubelet's own names at the top; and exactly that is refused
 * which is not, or has too many names. It is the same in whatever order it comes, and it fits into the tree.
 *
 * Input: one path after the other. */
#include "test/fuzz/fuzz.h"

#include "common/str.h"
#include "fusefs/payload.h"
#include "fusefs/plan.h"
#include "fusefs/tree.h"

enum { SECMEM_BYTES = 1 << 20, ENTRIES_MAX = 24, PATH_LEN_MAX = 5000 };

struct entry {
	char *path; /* as it came */
	char *clean; /* NULL: it cannot be */
	bool is_dir; /* a mount folder */
	bool is_deep; /* and for that alone it cannot be */
	mode_t mode;
};

static struct entry entries[ENTRIES_MAX];
static size_t n_entries;

/* --- the model, of lists of names --- */

static bool is_deep(const char *clean)
{
	size_t n = 1;

	for (; *clean; clean++)
		n += *clean == '/';
	return n > PAYLOAD_LEVELS_MAX;
}

/* There is room. */
static void add(char *path, const char *text)
{
	memcpy(path + strlen(path), text, strlen(text) + 1);
}

/* path.Clean() of what has no ".." in it, and the kubelet's rules. NULL: against them. */
static char *model_clean(const char *path)
{
	cleanup_free char *copy = strdup(path);
	char *clean = calloc(1, strlen(path) + 2), *save = NULL;
	bool good = *path && *path != '/' && strlen(path) <= PAYLOAD_PATH_MAX;

	/* the first name as it came may be no longer one that begins with ".." */
	good &= strncmp(path, "..", 2) != 0;
	for (char *s = strtok_r(copy, "/", &save); s; s = strtok_r(NULL, "/", &save)) {
		good &= !str_eq(s, "..") && strlen(s) <= PAYLOAD_NAME_MAX;
		if (str_eq(s, "."))
			continue;
		if (*clean)
			add(clean, "/");
		add(clean, s);
	}
	good &= strncmp(clean, "..", 2) != 0;
	if (!good) {
		free(clean);
		return NULL;
	}
	return clean; /* "": the volume itself */
}

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && path[len] == '/';
}

static bool same_top(const char *x, const char *y)
{
	size_t n = strcspn(x, "/");

	return n == strcspn(y, "/") && memcmp(x, y, n) == 0;
}

static bool model_is_good(void)
{
	for (size_t i = 0; i < n_entries; i++) {
		const struct entry *x = &entries[i];

		if (!x->clean)
			continue; /* was not taken */
		if (!*x->clean && !x->is_dir)
			return false;
		for (size_t k = 0; k < n_entries; k++) {
			const struct entry *y = &entries[k];

			if (!y->clean || x->is_dir)
				continue;
			if (!y->is_dir && is_below(y->clean, x->clean))
				return false;
			if (y->is_dir && *y->clean && same_top(x->clean, y->clean))
				return false;
		}
	}
	return true;
}

/* The last one of that path. */
static const struct entry *model_file(const char *clean)
{
	for (size_t i = n_entries; i > 0; i--)
		if (entries[i - 1].clean && !entries[i - 1].is_dir && str_eq(entries[i - 1].clean, clean))
			return &entries[i - 1];
	return NULL;
}

/* --- input --- */

static char *make_path(struct fuzz_input *in)
{
	static const char *const parts[] = { "a", "b",	"..",	 ".", "",	"..a", "...", "a.",  "a!",
					     "A", "a-", "a\x7f", "~", "..data", "x",   "ab",  "\xff" };
	char *path = calloc(1, PATH_LEN_MAX + 64);
	uint8_t how = fuzz_u8(in);
	struct fuzz_input bytes;

	FUZZ_CHECK(path);
	if (how >= 0xf0) { /* as it stands, or very long */
		bytes = fuzz_take(in, fuzz_u8(in));
		if (how & 8)
			memset(path, how & 4 ? 'x' : '/',
			       how & 2 ? PAYLOAD_NAME_MAX - 1 + (how & 1) : PAYLOAD_PATH_MAX - 2);
		for (size_t i = 0, at = strlen(path); i < bytes.len && bytes.data[i]; i++)
			path[at++] = (char)bytes.data[i];
		return path;
	}
	for (int i = 0; i <= how % 5; i++) {
		if (i > 0)
			add(path, "/");
		add(path, parts[fuzz_u8(in) % ARRAY_SIZE(parts)]);
	}
	if (how & 0x80)
		add(path, "/");
	return path;
}

static void entries_read(struct fuzz_input *in)
{
	n_entries = 0;
	while (in->len > 0 && n_entries < ENTRIES_MAX) {
		struct entry *x = &entries[n_entries++];
		uint8_t how = fuzz_u8(in);

		x->is_dir = how & 1;
		x->mode = (mode_t)(how << 4 | how);
		x->path = make_path(in);
		x->clean = model_clean(x->path);
		if (x->is_dir && x->clean && !*x->clean) {
			free(x->clean);
			x->clean = NULL;
		}
		x->is_deep = x->clean && is_deep(x->clean);
		if (x->is_deep) {
			free(x->clean);
			x->clean = NULL;
		}
	}
}

/* --- the payload --- */

enum order { FORWARD, BACKWARD, EVERY_OTHER };

static struct payload *make(bool fs_group, enum order order)
{
	struct secblock *b;
	struct payload *p;
	struct err e = ERR_INIT;

	FUZZ_CHECK(payload_new(&p) == 0 && secblock_new(ENTRIES_MAX, &b, NULL) == 0);
	for (size_t n = 0; n < n_entries; n++) {
		size_t i = order == BACKWARD ? n_entries - 1 - n : n;
		const struct secspan content = { .block = b, .off = i, .len = 1 };
		struct digest d;
		int r;

		/* mount folders stay what they are */
		if (order == EVERY_OTHER && i % 2 && !entries[i].is_dir)
			continue;
		b->data[i] = (uint8_t)i;
		d = digest_of(b->data + i, 1);
		r = entries[i].is_dir ? payload_add_mount_dir(p, entries[i].path, &e)
				      : payload_add(p, entries[i].path, &content, &d, entries[i].mode, &e);
		FUZZ_CHECK(r == (entries[i].clean ? 0 : entries[i].is_deep ? -E2BIG : -EINVAL));
		FUZZ_CHECK(r != -EINVAL || str_starts(err_text(&e), "invalid path: "));
	}
	secblock_unref(b);
	if (fs_group)
		payload_set_fs_group(p, 4711);
	return p;
}

static void check(const struct payload *p, bool fs_group)
{
	size_t n_dirs = 0;

	for (size_t i = 0; i < p->n_files; i++) {
		const struct payload_file *f = &p->files[i];
		const struct entry *x = model_file(f->path);

		FUZZ_CHECK(x && secspan_data(&f->content)[0] == x - entries);
		FUZZ_CHECK(f->mode == ((x->mode & 0777) | (fs_group ? 0440 : 0)));
		FUZZ_CHECK(f->gid == (fs_group ? 4711 : 0));
		for (size_t k = 0; k < i; k++)
			FUZZ_CHECK(!str_eq(p->files[k].path, f->path));
	}
	for (size_t i = 0; i < n_entries; i++) {
		size_t n = 0;

		if (!entries[i].clean)
			continue;
		n_dirs += entries[i].is_dir;
		for (size_t k = 0; k < (entries[i].is_dir ? p->n_mount_dirs : p->n_files); k++)
			n += str_eq(entries[i].is_dir ? p->mount_dirs[k] : p->files[k].path, entries[i].clean);
		FUZZ_CHECK(n == 1);
	}
	FUZZ_CHECK(p->n_mount_dirs <= n_dirs);
}

/* --- in the tree --- */

static bool no_grace(void *userdata, const char *version)
{
	return false;
}

/* What the kernel would make of the step. */
static int step_run(struct tree *t, const struct step *s)
{
	struct node *dir = tree_node(t, TREE_ROOT_ID), *n;
	cleanup_free char *copy = strdup(s->path);
	char *save = NULL, *name = strtok_r(copy, "/", &save), *next;
	bool hidden;

	while ((next = strtok_r(NULL, "/", &save))) {
		dir = tree_lookup(t, dir, name, &hidden);
		if (!dir)
			return -ENOENT;
		name = next;
	}
	switch (s->op) {
	case ORDER_MKDIR:
		return tree_commit_mkdir(t, dir, name, &n);
	case ORDER_SYMLINK:
		return tree_commit_symlink(t, dir, name, s->path2, &n);
	case ORDER_RENAME:
		return tree_commit_rename(t, dir, name, dir, strrchr(s->path2, '/') + 1);
	case ORDER_UNLINK:
		return tree_commit_unlink(t, dir, name);
	case ORDER_RMDIR:
		return tree_commit_rmdir(t, dir, name);
	default:
		return 0;
	}
}

static struct node *node_at(struct tree *t, struct node *from, const char *path)
{
	cleanup_free char *copy = strdup(path);
	char *save = NULL;

	for (char *s = strtok_r(copy, "/", &save); s && from; s = strtok_r(NULL, "/", &save))
		from = node_kind(from) == NODE_DIR ? tree_find(t, from, s) : NULL;
	return from && node_is_committed(from) ? from : NULL;
}

/* Each file is there, with its bytes and its mode, through the links, and nothing else is listed at the top. */
static void check_volume(struct tree *t, const struct plan *plan, const struct payload *p)
{
	struct node *vol = node_at(t, tree_node(t, TREE_ROOT_ID), plan->path), *version, *n = NULL;
	struct plan_shown shown;
	char path[PAYLOAD_PATH_MAX + 64];

	FUZZ_CHECK(vol && node_at(t, vol, "..data"));
	version = node_at(t, vol, node_target(node_at(t, vol, "..data")));
	FUZZ_CHECK(version && plan_shown(plan, &shown) && shown.version == version && plan_is_whole(plan, &shown));
	for (size_t i = 0; i < p->n_files; i++) {
		const char *name = p->files[i].path;
		struct stat st;

		snprintf(path, sizeof(path), "%.*s", (int)strcspn(name, "/"), name);
		n = node_at(t, vol, path);
		FUZZ_CHECK(n && node_kind(n) == NODE_LINK && str_starts(node_target(n), "..data/") &&
			   str_eq(node_target(n) + strlen("..data/"), path));
		n = node_at(t, version, name);
		FUZZ_CHECK(n && node_kind(n) == NODE_FILE && secspan_eq(node_content(n), &p->files[i].content));
		node_stat(n, &st);
		FUZZ_CHECK((st.st_mode & 07777) == p->files[i].mode && st.st_gid == p->files[i].gid);
	}
	for (size_t i = 0; i < p->n_mount_dirs; i++) {
		n = node_at(t, vol, p->mount_dirs[i]);
		FUZZ_CHECK(n && node_kind(n) == NODE_DIR);
	}
	for (uint64_t after = 0; (n = node_next_child(vol, after)); after = node_cookie(n)) {
		bool known = str_starts(node_name(n), "..") || node_kind(n) == NODE_DIR;

		for (size_t i = 0; i < p->n_files && !known; i++)
			known = same_top(p->files[i].path, node_name(n));
		FUZZ_CHECK(known);
	}
}

/* false: a path is too long for it. */
static bool publish(struct tree *t, const struct payload *p)
{
	struct plan plan = PLAN_INIT(t);
	int r;

	plan.uid = "u";
	plan.plugin = "secret";
	plan.name = "v";
	plan.path = "u/volumes/secret/v";
	r = plan_volume(&plan, p, no_grace, NULL);
	FUZZ_CHECK(r == 0 || r == -ENAMETOOLONG);
	if (r < 0)
		plan_roll_back(&plan);
	for (size_t i = 0; i < plan.n_steps; i++) {
		int err = step_run(t, &plan.steps[i]);

		FUZZ_CHECK(err == 0 || plan.steps[i].ignored == ORDER_IGNORE_ALL || plan.steps[i].ignored == -err);
	}
	if (r == 0)
		check_volume(t, &plan, p);
	plan_clear(&plan);
	return r == 0;
}

static void check_in_tree(const struct payload *p, const struct payload *next)
{
	struct tree *t;

	FUZZ_CHECK(tree_new(1, &t) == 0);
	if (publish(t, p))
		publish(t, next);
	tree_free(t);
}

static bool has_double(void)
{
	for (size_t i = 0; i < n_entries; i++)
		for (size_t k = 0; k < i; k++)
			if (entries[i].clean && entries[k].clean && !entries[i].is_dir && !entries[k].is_dir &&
			    str_eq(entries[i].clean, entries[k].clean))
				return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };
	static bool is_set_up;
	struct payload *p, *same, *part;
	struct err e = ERR_INIT;
	bool fs_group;
	int r;

	if (!is_set_up) {
		FUZZ_CHECK(secmem_init(SECMEM_BYTES, NULL) == 0);
		is_set_up = true;
	}
	fs_group = fuzz_u8(&in) & 1;
	entries_read(&in);
	p = make(fs_group, FORWARD);
	same = make(fs_group, BACKWARD);
	part = make(fs_group, EVERY_OTHER);
	r = payload_seal(p, &e);
	FUZZ_CHECK(r == (model_is_good() ? 0 : -EINVAL));
	FUZZ_CHECK(r == 0 || str_starts(err_text(&e), "invalid path: "));
	FUZZ_CHECK(payload_seal(same, &e) == r);
	if (r == 0) {
		check(p, fs_group);
		FUZZ_CHECK(payload_seal(part, &e) == 0);
		check_in_tree(p, part);
		FUZZ_CHECK(has_double() || digest_eq(&p->digest, &same->digest));
	}
	payload_free(p);
	payload_free(same);
	payload_free(part);
	for (size_t i = 0; i < n_entries; i++) {
		free(entries[i].path);
		free(entries[i].clean);
	}
	FUZZ_CHECK(secmem_stats().n_blocks == 0);
	return 0;
}
