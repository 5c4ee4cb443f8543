/* Payload: what one volume is to contain. Paths are checked in the form in which they came, then cleaned, in the order
 * and with the words of the kubelet's validatePath(); what only cleaning brings to light ("./..data") is checked once
 * more, which the kubelet forgets. Files are sorted by path with '/' as the smallest character, so that everything
 * below a path follows it directly and a clash of file and folder is a matter of two neighbours. */
#include "fusefs/payload.h"

#include "common/buf.h"

#define DIGEST_TEXT_MAX	   (64u << 20)
#define FS_GROUP_FILE_BITS 0440
#define LARGE_NODES	   1024
#define LARGE_BYTES	   (16u << 20) /* a Secret of 1 MiB may be in many files */

int payload_new(struct payload **ret_p)
{
	struct payload *p = calloc(1, sizeof *p);

	if (!p)
		return -ENOMEM;
	*ret_p = p;
	return 0;
}

static void file_deinit(struct payload_file *f)
{
	secblock_unref(f->content.block);
	free(f->path);
}

static void text_free(const char *text)
{
	free((char *)(uintptr_t)text);
}

static void origin_free(struct origin *o)
{
	text_free(o->object);
	text_free(o->uid);
	text_free(o->resource_version);
}

void payload_free(struct payload *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_files; i++)
		file_deinit(&p->files[i]);
	for (size_t i = 0; i < p->n_mount_dirs; i++)
		free(p->mount_dirs[i]);
	for (size_t i = 0; i < p->n_origins; i++)
		origin_free(&p->origins[i]);
	free(p->files);
	free(p->mount_dirs);
	free(p->origins);
	free(p);
}

/* path.Clean() of a relative path without ".." elements; "." for what names the volume itself. */
static char *path_clean(const char *path)
{
	char *out = malloc(strlen(path) + 2);
	size_t len = 0;

	if (!out)
		return NULL;
	while (*path) {
		size_t n = strcspn(path, "/");

		if (n > 0 && !(n == 1 && path[0] == '.')) {
			if (len > 0)
				out[len++] = '/';
			memcpy(out + len, path, n);
			len += n;
		}
		path += n + (path[n] == '/');
	}
	if (len == 0)
		out[len++] = '.';
	out[len] = 0;
	return out;
}

static bool starts_reserved(const char *path)
{
	return path[0] == '.' && path[1] == '.' && path[2] != '/' && path[2] != 0;
}

static int path_check(const char *path, struct err *e)
{
	if (!*path)
		return err_set(e, -EINVAL, "invalid path: must not be empty: \"\"");
	if (*path == '/')
		return err_set(e, -EINVAL, "invalid path: must be relative path: %s", path);
	if (strlen(path) > PAYLOAD_PATH_MAX)
		return err_set(e, -EINVAL, "invalid path: must be less than or equal to %d characters",
			       PAYLOAD_PATH_MAX);
	for (const char *s = path;; s++) {
		size_t n = strcspn(s, "/");

		if (n == 2 && s[0] == '.' && s[1] == '.')
			return err_set(e, -EINVAL, "invalid path: must not contain '..': %s", path);
		if (n > PAYLOAD_NAME_MAX)
			return err_set(e, -EINVAL,
				       "invalid path: filenames must be less than or equal to %d characters",
				       PAYLOAD_NAME_MAX);
		s += n;
		if (!*s)
			break;
	}
	if (starts_reserved(path))
		return err_set(e, -EINVAL, "invalid path: must not start with '..': %s", path);
	return 0;
}

int payload_clean_path(const char *path, char **ret_clean, struct err *e)
{
	cleanup_free char *clean = NULL;
	int r;

	r = path_check(path, e);
	if (r < 0)
		return r;
	clean = path_clean(path);
	if (!clean)
		return err_set(e, -ENOMEM, "out of memory");
	if (starts_reserved(clean))
		return err_set(e, -EINVAL, "invalid path: must not start with '..': %s", path);

	*ret_clean = TAKE_PTR(clean);
	return 0;
}

static size_t count_levels(const char *clean)
{
	size_t n = 1;

	for (; (clean = strchr(clean, '/')); clean++)
		n++;
	return n;
}

/* The path of something that is to be in the volume. */
static int clean_new_path(const char *path, char **ret_clean, struct err *e)
{
	cleanup_free char *clean = NULL;
	int r;

	r = payload_clean_path(path, &clean, e);
	if (r < 0)
		return r;
	if (count_levels(clean) > PAYLOAD_LEVELS_MAX)
		return err_set(e, -E2BIG, "more than %d names in one path: %s", PAYLOAD_LEVELS_MAX, path);
	*ret_clean = TAKE_PTR(clean);
	return 0;
}

/* Room for one more element of `elem` bytes. */
static int array_grow(void **array, size_t *size, size_t n, size_t elem)
{
	size_t want = *size ? *size * 2 : 8;
	void *a;

	if (n < *size)
		return 0;
	a = reallocarray(*array, want, elem);
	if (!a)
		return -ENOMEM;
	*array = a;
	*size = want;
	return 0;
}

int payload_add_origin(struct payload *p, const char *object, const char *uid, const char *resource_version)
{
	struct origin o = { strdup(object), strdup(uid ?: ""), strdup(resource_version ?: "") };

	assert(!p->sealed);
	if (!o.object || !o.uid || !o.resource_version || p->n_origins >= PAYLOAD_NODES_MAX ||
	    array_grow((void **)&p->origins, &p->origins_size, p->n_origins, sizeof *p->origins) < 0) {
		origin_free(&o);
		return -ENOMEM;
	}
	p->origins[p->n_origins++] = o;
	return 0;
}

int payload_add_owned(struct payload *p, const char *path, const struct secspan *content, const struct digest *digest,
		      mode_t mode, uid_t uid, struct err *e)
{
	cleanup_free char *clean = NULL;
	int r;

	assert(!p->sealed);
	r = clean_new_path(path, &clean, e);
	if (r < 0)
		return r;
	if (p->n_files >= PAYLOAD_NODES_MAX)
		return err_set(e, -E2BIG, "more than %d files in one volume", PAYLOAD_NODES_MAX);
	if (array_grow((void **)&p->files, &p->files_size, p->n_files, sizeof *p->files) < 0)
		return err_set(e, -ENOMEM, "out of memory");

	p->files[p->n_files++] = (struct payload_file){
		.path = TAKE_PTR(clean),
		.content = *content,
		.digest = *digest,
		.mode = mode & 0777,
		.uid = uid,
		.origin = (uint32_t)p->n_origins,
	};
	if (content->block)
		secblock_ref(content->block);
	return 0;
}

int payload_add(struct payload *p, const char *path, const struct secspan *content, const struct digest *digest,
		mode_t mode, struct err *e)
{
	return payload_add_owned(p, path, content, digest, mode, 0, e);
}

void payload_set_exact(struct payload *p, size_t file, const struct payload_exact *x)
{
	struct payload_file *f = &p->files[file];

	assert(!p->sealed && file < p->n_files);
	if (x->has_uid)
		f->uid = x->uid;
	if (x->has_gid)
		f->gid = x->gid;
	if (x->has_mode)
		f->mode = x->mode & 0777;
	f->exact_gid |= x->has_gid;
	f->exact_mode |= x->has_mode;
}

int payload_add_mount_dir(struct payload *p, const char *path, struct err *e)
{
	cleanup_free char *clean = NULL;
	int r;

	assert(!p->sealed);
	r = clean_new_path(path, &clean, e);
	if (r < 0)
		return r;
	if (str_eq(clean, "."))
		return err_set(e, -EINVAL, "invalid path: is the volume itself: %s", path);
	if (p->n_mount_dirs >= PAYLOAD_NODES_MAX)
		return err_set(e, -E2BIG, "more than %d nested mount folders in one volume", PAYLOAD_NODES_MAX);
	if (array_grow((void **)&p->mount_dirs, &p->mount_dirs_size, p->n_mount_dirs, sizeof *p->mount_dirs) < 0)
		return err_set(e, -ENOMEM, "out of memory");

	p->mount_dirs[p->n_mount_dirs++] = TAKE_PTR(clean);
	return 0;
}

void payload_set_fs_group(struct payload *p, gid_t gid)
{
	assert(!p->sealed);
	p->has_fs_group = true;
	p->fs_group = gid;
}

void payload_set_live(struct payload *p)
{
	assert(!p->sealed);
	p->live = true;
}

void payload_set_flat(struct payload *p)
{
	assert(!p->sealed);
	p->flat = true;
}

void payload_set_prompt(struct payload *p)
{
	assert(!p->sealed);
	p->prompt = true;
}

static int path_rank(unsigned char c)
{
	return c == '/' ? 1 : c ? c + 1 : 0;
}

static int path_compare(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return path_rank(*a) - path_rank(*b);
}

static int index_compare(const void *a, const void *b, void *userdata)
{
	const struct payload_file *files = userdata;
	size_t ia = *(const size_t *)a, ib = *(const size_t *)b;
	int c = path_compare(files[ia].path, files[ib].path);

	return c ? c : ia < ib ? -1 : ia > ib;
}

static int mount_dir_compare(const void *a, const void *b)
{
	return path_compare(*(char *const *)a, *(char *const *)b);
}

/* Sorts by path; of several files with one path the one that was added last stays. */
static int files_sort(struct payload *p)
{
	cleanup_free size_t *order = NULL;
	struct payload_file *sorted;
	size_t n = 0;

	if (p->n_files == 0)
		return 0;
	order = calloc(p->n_files, sizeof *order);
	sorted = calloc(p->n_files, sizeof *sorted);
	if (!order || !sorted) {
		free(sorted);
		return -ENOMEM;
	}
	for (size_t i = 0; i < p->n_files; i++)
		order[i] = i;
	qsort_r(order, p->n_files, sizeof *order, index_compare, p->files);

	for (size_t i = 0; i < p->n_files; i++) {
		struct payload_file *f = &p->files[order[i]];

		if (n > 0 && str_eq(sorted[n - 1].path, f->path))
			file_deinit(&sorted[--n]);
		sorted[n++] = *f;
	}
	free(p->files);
	p->files = sorted;
	p->files_size = p->n_files;
	p->n_files = n;
	return 0;
}

static void mount_dirs_sort(struct payload *p)
{
	size_t n = 0;

	if (p->n_mount_dirs == 0)
		return;
	qsort(p->mount_dirs, p->n_mount_dirs, sizeof *p->mount_dirs, mount_dir_compare);
	for (size_t i = 0; i < p->n_mount_dirs; i++) {
		if (n > 0 && str_eq(p->mount_dirs[n - 1], p->mount_dirs[i]))
			free(p->mount_dirs[i]);
		else
			p->mount_dirs[n++] = p->mount_dirs[i];
	}
	p->n_mount_dirs = n;
}

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && path[n] == '/';
}

static int files_check(const struct payload *p, struct err *e)
{
	for (size_t i = 0; i < p->n_files; i++) {
		const char *path = p->files[i].path;

		if (str_eq(path, "."))
			return err_set(e, -EINVAL, "invalid path: is a directory: .");
		if (i > 0 && is_below(path, p->files[i - 1].path))
			return err_set(e, -EINVAL, "invalid path: %s is a file and a directory (%s)",
				       p->files[i - 1].path, path);
	}
	return 0;
}

/* A key's link and a mount folder both live in the volume's own folder. */
static int mount_dirs_check(const struct payload *p, struct err *e)
{
	size_t f = 0;

	for (size_t i = 0; i < p->n_mount_dirs; i++) {
		const char *dir = p->mount_dirs[i];
		size_t n = strcspn(dir, "/");

		/* both lists are sorted alike, so one walk over both will do */
		for (; f < p->n_files; f++) {
			const char *path = p->files[f].path;
			size_t len = strcspn(path, "/"), common = MIN(n, len);
			int c = memcmp(path, dir, common);

			if (c == 0 && len == n)
				return err_set(e, -EINVAL, "invalid path: %s is in the way of the mount point %s", path,
					       dir);
			if (c > 0 || (c == 0 && len > n))
				break;
		}
	}
	return 0;
}

static int digest_compute(const struct payload *p, struct digest *ret_d)
{
	cleanup_buf struct buf b = BUF_INIT(DIGEST_TEXT_MAX);
	uint64_t head[4] = { p->n_files, p->n_mount_dirs,
			     (unsigned)p->has_fs_group | (unsigned)p->live << 1 | (unsigned)p->flat << 2,
			     p->has_fs_group ? p->fs_group : 0 };
	int r;

	r = buf_add(&b, head, sizeof head);
	for (size_t i = 0; i < p->n_files && r == 0; i++) {
		const struct payload_file *f = &p->files[i];
		uint32_t facts[3] = { f->mode, f->uid, f->gid };

		/* the NUL ends the path, so no two payloads write the same bytes */
		r = buf_add(&b, f->path, strlen(f->path) + 1);
		r = r ?: buf_add(&b, facts, sizeof facts);
		r = r ?: buf_add(&b, &f->digest, sizeof f->digest);
	}
	for (size_t i = 0; i < p->n_mount_dirs && r == 0; i++)
		r = buf_add(&b, p->mount_dirs[i], strlen(p->mount_dirs[i]) + 1);
	if (r < 0)
		return r;

	*ret_d = digest_of(b.data, b.len);
	return 0;
}

static const char *file_path(const struct payload *p, size_t i)
{
	return p->files[i].path;
}

static const char *mount_dir_path(const struct payload *p, size_t i)
{
	return p->mount_dirs[i];
}

/* The first of a sorted list that is not before `path`; all that is below it follows. NULL: they all are. */
static const char *path_from(const struct payload *p, const char *(*nth)(const struct payload *p, size_t i), size_t n,
			     const char *path)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (path_compare(nth(p, mid), path) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n ? nth(p, lo) : NULL;
}

bool payload_has_mount_dir(const struct payload *p, const char *path)
{
	const char *dir = path_from(p, mount_dir_path, p->n_mount_dirs, path);

	return dir && (str_eq(dir, path) || is_below(dir, path));
}

enum payload_kind payload_find(const struct payload *p, const char *path)
{
	const char *file = path_from(p, file_path, p->n_files, path);

	if (file && str_eq(file, path))
		return PAYLOAD_FILE;
	return (file && is_below(file, path)) || payload_has_mount_dir(p, path) ? PAYLOAD_FOLDER : PAYLOAD_NOTHING;
}

struct payload_size payload_size(const struct payload *p)
{
	struct payload_size s = { .n_nodes = p->n_nodes };

	for (size_t i = 0; i < p->n_files; i++)
		s.n_bytes += p->files[i].content.len;
	return s;
}

bool payload_size_is_large(struct payload_size s)
{
	return s.n_nodes > LARGE_NODES || s.n_bytes > LARGE_BYTES;
}

bool payload_is_large(const struct payload *p)
{
	return payload_size_is_large(payload_size(p));
}

/* How many of its first names are those of an earlier one of a sorted list. */
static size_t count_common_levels(const char *earlier, const char *path)
{
	size_t n = 0;

	for (; *earlier && *earlier == *path; earlier++, path++)
		n += *path == '/';
	return n + (!*earlier && *path == '/');
}

/* A folder that is on the way to several is one. */
static size_t count_nodes(const struct payload *p, const char *(*nth)(const struct payload *p, size_t i), size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += count_levels(nth(p, i)) - (i > 0 ? count_common_levels(nth(p, i - 1), nth(p, i)) : 0);
	return sum;
}

static int nodes_check(struct payload *p, struct err *e)
{
	/* the two have no folder in common, see mount_dirs_check() */
	p->n_nodes = count_nodes(p, file_path, p->n_files) + count_nodes(p, mount_dir_path, p->n_mount_dirs);
	return p->n_nodes > PAYLOAD_NODES_MAX
		       ? err_set(e, -E2BIG, "more than %d files and folders in one volume", PAYLOAD_NODES_MAX)
		       : 0;
}

static int origins_digest_compute(const struct payload *p, struct digest *ret_d)
{
	cleanup_buf struct buf b = BUF_INIT(DIGEST_TEXT_MAX);
	int r = 0;

	for (size_t i = 0; i < p->n_origins && r == 0; i++) {
		const struct origin *o = &p->origins[i];

		r = buf_add(&b, o->object, strlen(o->object) + 1);
		r = r ?: buf_add(&b, o->uid, strlen(o->uid) + 1);
		r = r ?: buf_add(&b, o->resource_version, strlen(o->resource_version) + 1);
	}
	for (size_t i = 0; i < p->n_files && r == 0; i++)
		r = buf_add(&b, &p->files[i].origin, sizeof p->files[i].origin);
	if (r < 0)
		return r;
	*ret_d = digest_quick(b.data, b.len);
	return 0;
}

int payload_seal(struct payload *p, struct err *e)
{
	int r;

	assert(!p->sealed);
	r = files_sort(p);
	if (r < 0)
		return err_set(e, r, "out of memory");
	mount_dirs_sort(p);
	r = files_check(p, e);
	if (r < 0)
		return r;
	r = mount_dirs_check(p, e);
	r = r ?: nodes_check(p, e);
	if (r < 0)
		return r;

	for (size_t i = 0; i < p->n_files && p->has_fs_group; i++) {
		struct payload_file *f = &p->files[i];

		f->mode = f->exact_mode ? f->mode : f->mode | FS_GROUP_FILE_BITS;
		f->gid = f->exact_gid ? f->gid : p->fs_group;
	}
	r = digest_compute(p, &p->digest);
	r = r ?: origins_digest_compute(p, &p->origins_digest);
	if (r < 0)
		return err_set(e, r, "payload too big");
	p->sealed = true;
	return 0;
}
