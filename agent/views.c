/* Views: the payload rules of the kubelet's secret plugin (pkg/volume/secret/secret.go, MakePayload) and of
 * nested_volumes.go. One bad key fails the whole volume, so that nobody ever sees half of it. */
#include "agent/views.h"

#include "common/str.h"

/* --- nested mount points --- */

/* filepath.Clean of an absolute or relative path into fresh memory. */
static char *path_clean(const char *path)
{
	size_t len = strlen(path), n = 0, floor;
	bool absolute = path[0] == '/';
	char *out = malloc(len + 2);

	if (!out)
		return NULL;
	if (absolute)
		out[n++] = '/';
	floor = n; /* ".." does not go above this */
	while (*path) {
		size_t part = strcspn(path, "/");

		if (part == 0 || (part == 1 && path[0] == '.')) {
			/* nothing */
		} else if (part == 2 && path[0] == '.' && path[1] == '.') {
			if (n > floor) {
				while (n > floor && out[n - 1] != '/')
					n--;
				if (n > floor)
					n--;
			} else if (!absolute) {
				if (n > 0)
					out[n++] = '/';
				memcpy(out + n, "..", 2);
				n += 2;
				floor = n;
			}
		} else {
			if (n > 0 && out[n - 1] != '/')
				out[n++] = '/';
			memcpy(out + n, path, part);
			n += part;
		}
		path += part;
		path += *path == '/';
	}
	if (n == 0)
		out[n++] = '.';
	out[n] = 0;
	return out;
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool path_is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && path[len] == '/' && path[len + 1];
}

struct mount_paths {
	char **all, **mine;
	size_t n_all, n_mine;
};

static void mount_paths_deinit(struct mount_paths *m)
{
	for (size_t i = 0; i < m->n_all; i++)
		free(m->all[i]);
	free(m->all);
	free(m->mine);
}

static int mount_paths_collect(const struct pod_container *c, const char *volume, struct mount_paths *m)
{
	m->all = calloc(c->n_mounts + 1, sizeof(*m->all));
	m->mine = calloc(c->n_mounts + 1, sizeof(*m->mine));
	if (!m->all || !m->mine)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_mounts; i++) {
		char *path = path_clean(c->mounts[i].mount_path);

		if (!path)
			return -ENOMEM;
		m->all[m->n_all++] = path;
		if (str_eq(c->mounts[i].volume, volume))
			m->mine[m->n_mine++] = path;
	}
	qsort(m->all, m->n_all, sizeof(*m->all), compare_paths);
	return 0;
}

static int nested_of_container(const struct pod_container *c, const char *volume,
			       int (*fn)(void *userdata, const char *path), void *userdata, struct err *e)
{
	cleanup(mount_paths_deinit) struct mount_paths m = { .n_all = 0 };
	int r;

	r = mount_paths_collect(c, volume, &m);
	if (r < 0)
		return err_set(e, r, "out of memory");
	for (size_t i = 0; i < m.n_mine; i++) {
		const char *mine = m.mine[i], *last = NULL;

		if (str_starts(mine, "../") || str_eq(mine, ".."))
			return err_set(e, -EINVAL, "invalid container mount point %s", mine);
		for (size_t j = 0; j < m.n_all; j++) {
			const char *path = m.all[j];

			/* one nested in a nested one is that one's business */
			if (!path_is_below(path, mine) || (last && path_is_below(path, last)))
				continue;
			last = path;
			r = fn(userdata, path + strlen(mine) + 1);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int view_nested_mounts(const struct pod *pod, const char *volume, int (*fn)(void *userdata, const char *path),
		       void *userdata, struct err *e)
{
	int r;

	for (size_t i = 0; i < pod->n_containers; i++) {
		r = nested_of_container(&pod->containers[i], volume, fn, userdata, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* --- payload --- */

static int view_add_key(struct view *v, const struct secret_key *key, const char *path, mode_t mode, struct err *e)
{
	return payload_add(v->payload, path, &key->value, &key->digest, mode, e);
}

static int view_add_all(struct view *v, const struct pod_volume *volume, const struct secret *secret, struct err *e)
{
	int r;

	for (size_t i = 0; i < secret->n_keys; i++) {
		r = view_add_key(v, &secret->keys[i], secret->keys[i].name, volume->default_mode, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int view_add_items(struct view *v, const struct pod_volume *volume, const struct secret *secret, struct err *e)
{
	int r;

	for (size_t i = 0; i < volume->n_items; i++) {
		const struct pod_item *item = &volume->items[i];
		const struct secret_key *key = secret_find_key(secret, item->key);

		if (!key && volume->optional)
			continue;
		if (!key)
			return err_set(e, -ENOENT, "references non-existent secret key: %s", item->key);
		r = view_add_key(v, key, item->path, item->has_mode ? item->mode : volume->default_mode, e);
		if (r < 0)
			return r;
	}
	return 0;
}

struct mount_dir_sink {
	struct payload *payload;
	struct err *e;
};

static int view_add_mount_dir(void *userdata, const char *path)
{
	struct mount_dir_sink *sink = userdata;

	return payload_add_mount_dir(sink->payload, path, sink->e);
}

static int view_fill(struct view *v, const struct pod *pod, const struct pod_volume *volume,
		     const struct store_entry *entry, struct err *e)
{
	struct mount_dir_sink sink = { .payload = v->payload, .e = e };
	int r = 0;

	if (entry->state == STORE_PRESENT && volume->n_items > 0)
		r = view_add_items(v, volume, entry->secret, e);
	else if (entry->state == STORE_PRESENT)
		r = view_add_all(v, volume, entry->secret, e);
	if (r < 0)
		return r;
	r = view_nested_mounts(pod, volume->name, view_add_mount_dir, &sink, e);
	if (r < 0)
		return r;
	if (pod->has_fs_group)
		payload_set_fs_group(v->payload, pod->fs_group);
	return payload_seal(v->payload, e);
}

int view_make(const struct pod *pod, const struct pod_volume *volume, const struct store_entry *entry,
	      struct view *ret_view, struct err *e)
{
	cleanup_payload struct payload *payload = NULL;
	struct view v = { .resource_version = "" };
	int r;

	if (entry->state == STORE_UNSYNCED) {
		if (entry->error[0])
			return err_set(e, -EAGAIN, "%s", entry->error);
		return err_set(e, -EAGAIN, "secret \"%s\" has not been fetched yet", entry->name);
	}
	if (entry->state == STORE_ABSENT && !volume->optional)
		return err_set(e, -ENOENT, "secret \"%s\" not found", entry->name);
	r = payload_new(&payload);
	if (r < 0)
		return err_set(e, r, "out of memory");
	v.payload = payload;
	r = view_fill(&v, pod, volume, entry, e);
	if (r < 0)
		return r;

	v.n_files = payload->n_files;
	for (size_t i = 0; i < payload->n_files; i++)
		v.n_bytes += payload->files[i].content.len;
	if (entry->state == STORE_PRESENT)
		v.resource_version = entry->secret->resource_version;
	TAKE_PTR(payload);
	*ret_view = v;
	return 0;
}
