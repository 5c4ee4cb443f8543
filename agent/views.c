/* Views: the payload rules of the kubelet's plugins (MakePayload() in pkg/volume/secret and pkg/volume/configmap,
 * collectData() in pkg/volume/projected) and of nested_volumes.go. One bad key fails the whole volume, so that nobody ever sees half of it. */
#include "agent/views.h"

#include "agent/downward.h"
#include "agent/pod_options.h"
#include "agent/reason.h"
#include "common/buf.h"
#include "common/map.h"
#include "common/str.h"

#define VERSIONS_MAX 65536 /* of text: sources times the length of a resourceVersion */

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

/* All volumes of a pod need its mounts' clean paths in order, so they are made once: a pod with a thousand of each would
 * keep everybody waiting otherwise. */
static int container_clean_paths(const struct pod_container *container)
{
	struct pod_container *c = (struct pod_container *)(uintptr_t)container;
	const size_t n = container->n_mounts;

	if (c->sorted_paths)
		return 0;
	if (!c->clean_paths)
		c->clean_paths = calloc(n + 1, sizeof(*c->clean_paths));
	for (size_t i = 0; c->clean_paths && i < n; i++) {
		if (!c->clean_paths[i])
			c->clean_paths[i] = path_clean(c->mounts[i].mount_path);
		if (!c->clean_paths[i])
			return -ENOMEM;
	}
	c->sorted_paths = c->clean_paths ? calloc(n + 1, sizeof(*c->sorted_paths)) : NULL;
	if (!c->sorted_paths)
		return -ENOMEM;
	memcpy(c->sorted_paths, c->clean_paths, n * sizeof(*c->sorted_paths));
	qsort(c->sorted_paths, n, sizeof(*c->sorted_paths), compare_paths);
	return 0;
}

/* The first one in order that is dir with this byte after it, or comes after such ones; with '/', all that are below
 * dir follow each other from there, and end where it is with the byte after that. */
static size_t first_from(const struct pod_container *c, const char *dir, unsigned char next)
{
	size_t low = 0, high = c->n_mounts, len = strlen(dir);

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const char *path = c->sorted_paths[middle];
		int r = strncmp(path, dir, len);

		if (r < 0 || (r == 0 && (unsigned char)path[len] < next))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int nested_in(const struct pod_container *c, const char *dir, int (*fn)(void *userdata, const char *path),
		     void *userdata)
{
	const size_t end = first_from(c, dir, '/' + 1);
	const char *last = NULL;
	int r;

	for (size_t i = first_from(c, dir, '/'); i < end; i++) {
		const char *path = c->sorted_paths[i];

		if (!path_is_below(path, dir))
			continue;
		/* those nested in a nested one are that one's business */
		if (last && path_is_below(path, last)) {
			i = first_from(c, last, '/' + 1) - 1;
			continue;
		}
		last = path;
		r = fn(userdata, path + strlen(dir) + 1);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What is nested in the container's i-th mount, if no other of the volume's mounts in it is at the same path. */
static int nested_of_mount(const struct pod_container *c, size_t i, struct map *places,
			   int (*fn)(void *userdata, const char *path), void *userdata, struct err *e)
{
	int r;

	r = container_clean_paths(c);
	if (r < 0)
		return err_set(e, r, "out of memory");
	if (str_starts(c->clean_paths[i], "../") || str_eq(c->clean_paths[i], ".."))
		return reason_set(e, REASON_MOUNT_PATH_INVALID,
				  err_set(e, -EINVAL, "invalid container mount point %s", c->clean_paths[i]));
	if (places)
		r = map_add_str(places, c->clean_paths[i], c->clean_paths[i]);
	if (r == -ENOMEM)
		return err_set(e, r, "out of memory");
	return r == -EEXIST ? 0 : nested_in(c, c->clean_paths[i], fn, userdata);
}

static bool in_same_container(const struct pod_mount_at *mounts, size_t n, size_t i, size_t j)
{
	return i < n && j < n && mounts[i].container == mounts[j].container;
}

int view_nested_mounts(const struct pod *pod, const char *volume, int (*fn)(void *userdata, const char *path),
		       void *userdata, struct err *e)
{
	struct map places = MAP_INIT; /* in one container, by their clean paths */
	const struct pod_mount_at *mounts;
	size_t n;
	int r;

	r = pod_volume_mounts(pod, volume, &mounts, &n);
	if (r < 0)
		return err_set(e, r, "out of memory");
	for (size_t i = 0; i < n && r >= 0; i++) {
		bool is_first = !in_same_container(mounts, n, i, i - 1);
		bool is_only = is_first && !in_same_container(mounts, n, i, i + 1);

		if (is_first)
			map_deinit(&places);
		r = nested_of_mount(&pod->containers[mounts[i].container], mounts[i].mount, is_only ? NULL : &places,
				    fn, userdata, e);
	}
	map_deinit(&places);
	return MIN(r, 0);
}

size_t view_nested_cost(const struct pod *pod, const char *volume)
{
	const struct pod_mount_at *mounts;
	size_t n, cost = 0;

	if (pod_volume_mounts(pod, volume, &mounts, &n) < 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		const struct pod_container *c = &pod->containers[mounts[i].container];
		const char *dir;

		if (container_clean_paths(c) < 0)
			return cost;
		dir = c->clean_paths[mounts[i].mount];
		cost += 1 + first_from(c, dir, '/' + 1) - first_from(c, dir, '/');
	}
	return cost;
}

/* --- payload --- */

static int view_add_key(struct view *v, const struct secret_key *key, const char *path, mode_t mode, struct err *e)
{
	return payload_add(v->payload, path, &key->value, &key->digest, mode, e);
}

static int view_add_all(struct view *v, mode_t mode, const struct secret *secret, struct err *e)
{
	int r;

	for (size_t i = 0; i < secret->n_keys; i++) {
		r = view_add_key(v, &secret->keys[i], secret->keys[i].name, mode, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A token is its owner's alone, where there is one; fsGroup lets the group read it afterwards. */
static int view_add_token(struct view *v, mode_t mode, const struct pod *pod, const struct pod_volume_source *source,
			  const struct secret *secret, struct err *e)
{
	const struct secret_key *key = secret_find_key(secret, source->items[0].key);
	uid_t owner = 0;
	bool has_owner = pod_common_user(pod, &owner);

	if (has_owner || pod->has_fs_group)
		mode = 0600;
	if (!key)
		return reason_set(e, REASON_OBJECT_INVALID, err_set(e, -ENOENT, "token without a value"));
	return payload_add_owned(v->payload, source->items[0].path, &key->value, &key->digest, mode, owner, e);
}

/* in the kubelet's words */
static const char *missing_key(const struct pod_volume_source *source)
{
	return source->kind == POD_SOURCE_SECRET ? "references non-existent secret key"
						 : "configmap references non-existent config key";
}

static int view_add_items(struct view *v, mode_t mode, const struct pod_volume_source *source,
			  const struct secret *secret, struct err *e)
{
	int r;

	for (size_t i = 0; i < source->n_items; i++) {
		const struct pod_item *item = &source->items[i];
		const struct secret_key *key = secret_find_key(secret, item->key);

		if (!key && source->optional)
			continue;
		if (!key)
			return reason_set(e, REASON_KEY_NOT_FOUND,
					  err_set(e, -ENOENT, "%s: %s", missing_key(source), item->key));
		r = view_add_key(v, key, item->path, item->has_mode ? item->mode : mode, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int view_add_pod(struct view *v, mode_t mode, const struct pod *pod, const struct pod_volume_source *source,
			const struct pairs *allocatable, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < source->n_items && r == 0; i++) {
		const struct pod_item *item = &source->items[i];
		struct secspan content;
		struct digest digest;

		r = downward_content(pod, item, allocatable, &content, &digest, e);
		if (r < 0)
			return r;
		r = payload_add(v->payload, item->path, &content, &digest, item->has_mode ? item->mode : mode, e);
		secblock_unref(content.block);
	}
	return r;
}

/* Of one that cannot be had. */
static int refuse_object(const struct store_entry *entry, struct err *e)
{
	static const enum reason absent[OBJECT_KINDS_N] = { [OBJECT_SECRET] = REASON_SECRET_NOT_FOUND,
							    [OBJECT_CONFIG_MAP] = REASON_CONFIG_MAP_NOT_FOUND,
							    [OBJECT_TOKEN] = REASON_NO_TOKENS };
	bool is_token = entry->kind == OBJECT_TOKEN;

	if (entry->state == STORE_UNSYNCED && entry->error[0])
		return reason_set(e, entry->reason, err_set(e, -EAGAIN, "%s", entry->error));
	if (entry->state == STORE_UNSYNCED && is_token)
		err_set(e, -EAGAIN, "the token has not been fetched yet");
	else if (entry->state == STORE_UNSYNCED)
		err_set(e, -EAGAIN, "%s \"%s\" has not been fetched yet", object_kind_word(entry->kind), entry->name);
	if (entry->state == STORE_UNSYNCED)
		return reason_set(e, REASON_NOT_FETCHED, -EAGAIN);
	if (is_token)
		err_set(e, -ENOENT, "there are no service account tokens without an API server");
	else
		err_set(e, -ENOENT, "%s \"%s\" not found", object_kind_word(entry->kind), entry->name);
	return reason_set(e, absent[entry->kind], -ENOENT);
}

/* What a later source adds takes the place of an earlier one's file of the same path, as the kubelet's projected plugin
 * has it (pkg/volume/projected/projected.go, collectData). */
static int view_add_object(struct view *v, mode_t mode, const struct pod *pod, const struct pod_volume_source *source,
			   const struct store_entry *entry, struct err *e)
{
	bool is_token = source->kind == POD_SOURCE_TOKEN;

	if (entry->state == STORE_ABSENT && source->optional && !is_token)
		return 0;
	if (entry->state != STORE_PRESENT)
		return refuse_object(entry, e);
	if (is_token)
		return view_add_token(v, mode, pod, source, entry->secret, e);
	return source->n_items > 0 ? view_add_items(v, mode, source, entry->secret, e)
				   : view_add_all(v, mode, entry->secret, e);
}

static int compare_path(const void *path, const void *key)
{
	return strcmp(path, ((const struct pod_key_options *)key)->path);
}

static void exact_take(struct payload_exact *x, const struct pod_file_options *o)
{
	if (o->has_owner)
		x->uid = o->owner;
	if (o->has_group)
		x->gid = o->group;
	if (o->has_mode)
		x->mode = o->mode;
	x->has_uid |= o->has_owner;
	x->has_gid |= o->has_group;
	x->has_mode |= o->has_mode;
}

/* What the pod asks of its files; of a single one before all. */
static void view_own(struct view *v, const struct pod_volume *volume)
{
	for (size_t i = 0; i < v->payload->n_files; i++) {
		const struct pod_key_options *key = NULL;
		struct payload_exact x = { .has_uid = false };

		if (volume->n_keys > 0)
			key = bsearch(v->payload->files[i].path, volume->keys, volume->n_keys, sizeof(*volume->keys),
				      compare_path);
		exact_take(&x, &volume->files);
		if (key)
			exact_take(&x, &key->files);
		payload_set_exact(v->payload, i, &x);
	}
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

char *view_object(const struct pod *pod, const struct pod_volume_source *source)
{
	if (source->kind == POD_SOURCE_DOWNWARD_API)
		return str_format("pod/%s", pod->name);
	return str_format("%s/%s", pod_source_type(source), source->name ?: "");
}

/* What the files of this source are of. A token is no object that somebody else could look at, and of the pod's revisions
 * only those are known that change something here. */
static int view_add_origin(struct view *v, const struct pod *pod, const struct pod_volume_source *source,
			   const struct store_entry *entry, struct err *e)
{
	cleanup_free char *object = view_object(pod, source);
	const char *uid = NULL, *version = NULL;

	if (source->kind == POD_SOURCE_DOWNWARD_API) {
		uid = pod->uid;
	} else if (source->kind != POD_SOURCE_TOKEN && entry && entry->state == STORE_PRESENT) {
		uid = entry->secret->uid;
		version = entry->secret->resource_version;
	}
	if (!object || payload_add_origin(v->payload, object, uid, version) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

static int view_fill(struct view *v, const struct pod *pod, const struct pod_volume *volume,
		     const struct store_entry *const *entries, const struct pairs *allocatable, struct err *e)
{
	struct mount_dir_sink sink = { .payload = v->payload, .e = e };
	int r;

	if (volume->option_error)
		return reason_set(e, REASON_OPTION_INVALID,
				  err_set(e, -EINVAL, "annotation " POD_OPTION_VOLUMES ": %s", volume->option_error));
	for (size_t i = 0; i < volume->n_sources; i++) {
		const struct pod_volume_source *source = &volume->sources[i];

		r = view_add_origin(v, pod, source, entries[i], e);
		if (r < 0)
			return r;
		if (entries[i])
			r = view_add_object(v, volume->default_mode, pod, source, entries[i], e);
		else
			r = view_add_pod(v, volume->default_mode, pod, source, allocatable, e);
		if (r < 0)
			return r;
	}
	view_own(v, volume);
	r = view_nested_mounts(pod, volume->name, view_add_mount_dir, &sink, e);
	if (r < 0)
		return r;
	if (pod->has_fs_group)
		payload_set_fs_group(v->payload, pod->fs_group);
	if (volume->live)
		payload_set_live(v->payload);
	if (volume->layout == POD_LAYOUT_FLAT)
		payload_set_flat(v->payload);
	if (volume->on_change)
		payload_set_prompt(v->payload);
	return payload_seal(v->payload, e);
}

/* What the payload refuses: it knows of no pods, and of no reasons. The content is only referred to, so it is never
 * the secret memory that is full. */
static enum reason reason_of_payload(int r)
{
	if (r == -ENOMEM)
		return REASON_OUT_OF_MEMORY;
	return r == -E2BIG || r == -EFBIG ? REASON_TOO_LARGE : REASON_PATH_INVALID;
}

static char *view_versions(const struct pod_volume *volume, const struct store_entry *const *entries)
{
	cleanup_buf struct buf text = BUF_INIT(VERSIONS_MAX);

	for (size_t i = 0; i < volume->n_sources; i++) {
		const char *version =
			entries[i] && entries[i]->state == STORE_PRESENT ? entries[i]->secret->resource_version : "";

		if (buf_printf(&text, "%s%s", i ? "," : "", version) < 0)
			return NULL;
	}
	return strdup(text.data ? text.data : "");
}

void view_deinit(struct view *v)
{
	payload_free(TAKE_PTR(v->payload));
	free(TAKE_PTR(v->resource_version));
}

int view_make(const struct pod *pod, const struct pod_volume *volume, const struct store_entry *const *entries,
	      const struct pairs *allocatable, struct view *ret_view, struct err *e)
{
	cleanup(view_deinit) struct view v = { .n_files = 0 };
	int r;

	if (volume->error)
		return reason_set(e, REASON_VOLUME_INVALID, err_set(e, -EINVAL, "%s", volume->error));
	r = payload_new(&v.payload);
	if (r < 0)
		return err_set(e, r, "out of memory");
	r = view_fill(&v, pod, volume, entries, allocatable, e);
	if (r < 0 && e && e->reason == REASON_NONE)
		e->reason = reason_of_payload(r);
	if (r < 0)
		return r;
	v.resource_version = view_versions(volume, entries);
	if (!v.resource_version)
		return err_set(e, -ENOMEM, "out of memory");
	v.n_files = v.payload->n_files;
	for (size_t i = 0; i < v.payload->n_files; i++)
		v.n_bytes += v.payload->files[i].content.len;
	*ret_view = v;
	v = (struct view){ .n_files = 0 };
	return 0;
}

int view_check_paths(const struct pod *pod, const struct pod_volume *volume, struct err *e)
{
	cleanup_payload struct payload *p = NULL;
	struct mount_dir_sink sink = { .e = e };
	int r;

	if (volume->error)
		return err_set(e, -EINVAL, "%s", volume->error);
	r = payload_new(&p);
	if (r < 0)
		return err_set(e, r, "out of memory");
	for (size_t i = 0; i < volume->n_sources; i++)
		for (size_t j = 0; j < volume->sources[i].n_items; j++) {
			r = payload_add(p, volume->sources[i].items[j].path, &(struct secspan){ .len = 0 },
					&(struct digest){ 0 }, 0, e);
			if (r < 0)
				return r;
		}
	sink.payload = p;
	r = view_nested_mounts(pod, volume->name, view_add_mount_dir, &sink, e);
	return r < 0 ? r : payload_seal(p, e);
}
