/* Cache set. The index is JSON as the records are: both are read after they were authenticated, and yet by the decoders
 * that read what comes from a network.
 *
 * A record is never overwritten: a new revision has a new file, the index that speaks of it follows, then the old file
 * goes. So a crash at any moment leaves an index whose records are all there, and at most files of the generation after
 * it that nobody speaks of. */
#include "agent/cache_set.h"

#include <sodium.h>

#include "agent/codec.h"
#include "agent/pod_options.h"
#include "common/b64.h"
#include "common/json.h"
#include "common/str.h"

#define ITEMS_MAX 200000
#define ID_MAX	  1024

const char *cache_kind_name(enum cache_kind kind)
{
	static const char *const names[CACHE_KINDS_N] = { "Pod", "Secret", "ConfigMap" };

	return names[kind];
}

enum cache_kind cache_kind_of(enum object_kind kind)
{
	assert(kind != OBJECT_TOKEN);
	return kind == OBJECT_SECRET ? CACHE_SECRET : CACHE_CONFIG_MAP;
}

enum object_kind cache_object_kind(enum cache_kind kind)
{
	assert(kind != CACHE_POD);
	return kind == CACHE_SECRET ? OBJECT_SECRET : OBJECT_CONFIG_MAP;
}

static void item_free(struct cache_item *item)
{
	if (!item)
		return;
	pod_unref(item->pod);
	secret_unref(item->secret);
	free(item->id);
	free(item->key);
	free(item->revision);
	free(item);
}

void cache_set_deinit(struct cache_set *s)
{
	for (size_t i = 0; i < s->n_items; i++)
		item_free(s->items[i]);
	free(s->items);
	map_deinit(&s->by_key);
	*s = (struct cache_set){ .generation = 0 };
}

struct cache_item *cache_set_find(const struct cache_set *s, enum cache_kind kind, const char *id)
{
	char key[ID_MAX + 16];
	int n = snprintf(key, sizeof(key), "%s %s", cache_kind_name(kind), id);

	return n > 0 && (size_t)n < sizeof(key) ? map_get_str(&s->by_key, key) : NULL;
}

int cache_set_add(struct cache_set *s, enum cache_kind kind, const char *id, struct cache_item **ret_item)
{
	struct cache_item *item;
	int r = -ENOMEM;

	if (strlen(id) > ID_MAX || s->n_items >= ITEMS_MAX)
		return -ENOBUFS;
	if (s->n_items == s->size) {
		size_t size = s->size ? 2 * s->size : 64;
		struct cache_item **grown = reallocarray(s->items, size, sizeof(struct cache_item *));

		if (!grown)
			return -ENOMEM;
		s->items = grown;
		s->size = size;
	}
	item = calloc(1, sizeof(*item));
	if (!item)
		return -ENOMEM;
	item->kind = kind;
	item->id = strdup(id);
	item->key = str_format("%s %s", cache_kind_name(kind), id);
	if (item->id && item->key)
		r = map_add_str(&s->by_key, item->key, item);
	if (r < 0) {
		item_free(item);
		return r;
	}
	item->place = s->n_items;
	s->items[s->n_items++] = item;
	*ret_item = item;
	return 0;
}

void cache_set_remove(struct cache_set *s, struct cache_item *item)
{
	struct cache_item *last = s->items[--s->n_items];

	s->items[item->place] = last;
	last->place = item->place;
	map_remove_str(&s->by_key, item->key);
	item_free(item);
}

char *cache_pod_id(const struct pod *pod)
{
	return str_format("%s/%s/%s", pod->ns, pod->name, pod->uid);
}

/* ---- JSON, without a failure that is not noticed ---- */

/* Takes the value; whatever failed before ends as NULL. */
static void put(json_t **obj, const char *key, json_t *take_value)
{
	if (*obj && take_value && json_object_set_new(*obj, key, take_value) == 0)
		return;
	if (!*obj)
		json_decref(take_value);
	json_decref(*obj);
	*obj = NULL;
}

static void put_str(json_t **obj, const char *key, const char *value)
{
	if (value)
		put(obj, key, json_string(value));
}

static void append(json_t **array, json_t *take_value)
{
	if (*array && take_value && json_array_append_new(*array, take_value) == 0)
		return;
	if (!*array)
		json_decref(take_value);
	json_decref(*array);
	*array = NULL;
}

static int write_json(const json_t *doc, struct buf *out)
{
	cleanup_secret char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

	buf_clear(out);
	return text ? buf_add_str(out, text) : -ENOMEM;
}

/* ---- the index ---- */

static json_t *item_json(const struct cache_item *item)
{
	char digest[2 * CACHE_DIGEST_LEN + 1];
	json_t *obj = json_object();

	put_str(&obj, "kind", cache_kind_name(item->kind));
	put_str(&obj, "id", item->id);
	put(&obj, "written", json_integer((json_int_t)item->written_usec));
	if (item->absent) {
		put(&obj, "absent", json_true());
		return obj;
	}
	put_str(&obj, "revision", item->revision ?: "");
	put_str(&obj, "file", item->file);
	put(&obj, "generation", json_integer((json_int_t)item->generation));
	put_str(&obj, "digest", sodium_bin2hex(digest, sizeof(digest), item->digest, CACHE_DIGEST_LEN));
	return obj;
}

int cache_index_encode(const struct cache_set *s, struct buf *out)
{
	cleanup_json json_t *doc = json_object();
	json_t *items = json_array();

	for (size_t i = 0; i < s->n_items; i++)
		append(&items, item_json(s->items[i]));
	put(&doc, "version", json_integer(1));
	put(&doc, "generation", json_integer((json_int_t)s->generation));
	put(&doc, "written", json_integer((json_int_t)s->written_usec));
	put(&doc, "items", items);
	return write_json(doc, out);
}

static int get_u64(const json_t *obj, const char *key, uint64_t *ret)
{
	const json_t *value = json_object_get(obj, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return -EBADMSG;
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

static int decode_item(const json_t *obj, struct cache_set *s)
{
	const char *kind = json_string_value(json_object_get(obj, "kind"));
	const char *id = json_string_value(json_object_get(obj, "id"));
	const char *revision = json_string_value(json_object_get(obj, "revision"));
	const char *file = json_string_value(json_object_get(obj, "file"));
	const char *digest = json_string_value(json_object_get(obj, "digest"));
	struct cache_item *item;
	size_t n;
	int k = 0, r;

	while (k < CACHE_KINDS_N && !str_eq(kind, cache_kind_name(k)))
		k++;
	if (k == CACHE_KINDS_N || !id)
		return -EBADMSG;
	r = cache_set_add(s, k, id, &item);
	if (r < 0)
		return r == -ENOMEM ? r : -EBADMSG;
	r = get_u64(obj, "written", &item->written_usec);
	item->absent = json_is_true(json_object_get(obj, "absent"));
	if (r < 0 || item->absent)
		return r;
	if (!revision || !file || !cache_name_is_record(file) || !digest ||
	    get_u64(obj, "generation", &item->generation) < 0 || item->generation > s->generation ||
	    sodium_hex2bin(item->digest, sizeof(item->digest), digest, strlen(digest), NULL, &n, NULL) < 0 ||
	    n != sizeof(item->digest))
		return -EBADMSG;
	memcpy(item->file, file, sizeof(item->file));
	item->revision = strdup(revision);
	return item->revision ? 0 : -ENOMEM;
}

int cache_index_decode(const char *text, size_t len, struct cache_set *s, struct err *e)
{
	cleanup_json json_t *doc = NULL;
	struct err why = ERR_INIT;
	const json_t *items, *obj;
	uint64_t version;
	size_t i;
	int r;

	r = json_parse(text, len, &doc, &why);
	if (r < 0)
		return err_set(e, r == -ENOMEM ? r : -EBADMSG, CACHE_INDEX_NAME ": %s", err_text(&why));
	items = json_object_get(doc, "items");
	if (get_u64(doc, "version", &version) < 0 || version != 1 || get_u64(doc, "generation", &s->generation) < 0 ||
	    get_u64(doc, "written", &s->written_usec) < 0 || !json_is_array(items))
		return err_set(e, -EBADMSG, CACHE_INDEX_NAME ": is not an index of this version");
	json_array_foreach (items, i, obj) {
		r = decode_item(obj, s);
		if (r < 0)
			return err_set(e, r, CACHE_INDEX_NAME ": item %zu: %s", i,
				       r == -ENOMEM ? "out of memory" : "makes no sense");
	}
	return 0;
}

int cache_index_open(struct cache_set *s, const struct cache_key *key, const char *node, const void *file, size_t len,
		     struct buf *scratch, struct err *e)
{
	const struct cache_bind bind = { .node = node,
					 .kind = CACHE_INDEX_KIND,
					 .id = "",
					 .file = CACHE_INDEX_NAME,
					 .generation = cache_generation(file, len) };
	cleanup_cache_set struct cache_set fresh = { .generation = 0 };
	int r;

	r = cache_unseal(key, &bind, file, len, scratch, e);
	if (r == 0)
		r = cache_index_decode(scratch->data ?: "", scratch->len, &fresh, e);
	buf_clear(scratch);
	if (r < 0)
		return r;
	if (fresh.generation != bind.generation || fresh.generation == 0)
		return err_set(e, -EBADMSG, CACHE_INDEX_NAME ": is of another generation than it says");
	*s = fresh;
	fresh = (struct cache_set){ .generation = 0 };
	return 0;
}

int cache_index_check(const struct cache_set *s, bool have_index, const struct cache_file *files, size_t n_files,
		      struct err *e)
{
	for (size_t i = 0; i < n_files; i++) {
		if (!cache_name_is_record(files[i].name))
			continue;
		/* before the first index was written there may be records of generation 1 */
		if (!have_index && files[i].generation > 1)
			return err_set(e, -EBADMSG, CACHE_INDEX_NAME ": has gone, and records are there");
		if (have_index && files[i].generation > s->generation + 1)
			return err_set(e, -EBADMSG,
				       CACHE_INDEX_NAME ": is older (generation %llu) than the record %s (%llu)",
				       (unsigned long long)s->generation, files[i].name,
				       (unsigned long long)files[i].generation);
	}
	return 0;
}

/* ---- objects ---- */

static json_t *meta_json(const char *ns, const char *name, const char *uid)
{
	json_t *meta = json_object();

	put_str(&meta, "namespace", ns);
	put_str(&meta, "name", name);
	put_str(&meta, "uid", uid);
	return meta;
}

static void put_ref(json_t **item, const struct pod_item *i)
{
	json_t *ref = json_object();

	if (i->container) {
		put_str(&ref, "containerName", i->container);
		put_str(&ref, "resource", i->key);
		put_str(&ref, "divisor", i->divisor);
		put(item, "resourceFieldRef", ref);
	} else {
		put_str(&ref, "fieldPath", i->key);
		put(item, "fieldRef", ref);
	}
}

static json_t *items_json(const struct pod_volume_source *s)
{
	json_t *items = json_array();

	for (size_t i = 0; i < s->n_items; i++) {
		json_t *item = json_object();

		if (s->kind == POD_SOURCE_DOWNWARD_API)
			put_ref(&item, &s->items[i]);
		else
			put_str(&item, "key", s->items[i].key);
		put_str(&item, "path", s->items[i].path);
		if (s->items[i].has_mode)
			put(&item, "mode", json_integer(s->items[i].mode));
		append(&items, item);
	}
	return items;
}

static json_t *source_json(const struct pod_volume_source *s, const char *name_key)
{
	json_t *source = json_object();

	if (s->kind == POD_SOURCE_TOKEN) {
		put_str(&source, "path", s->items[0].path);
		put_str(&source, "audience", s->audience);
		put(&source, "expirationSeconds", json_integer(s->expiration_sec));
		return source;
	}
	put_str(&source, name_key, s->name);
	if (s->name)
		put(&source, "optional", json_boolean(s->optional));
	if (s->n_items > 0)
		put(&source, "items", items_json(s));
	return source;
}

static json_t *projected_json(const struct pod_volume *v)
{
	json_t *projected = json_object(), *sources = json_array();

	for (size_t i = 0; i < v->n_sources; i++) {
		json_t *source = json_object();

		put(&source, pod_source_type(&v->sources[i]), source_json(&v->sources[i], "name"));
		append(&sources, source);
	}
	put(&projected, "sources", sources);
	return projected;
}

static json_t *volume_json(const struct pod_volume *v)
{
	json_t *volume = json_object(), *kind;

	put_str(&volume, "name", v->name);
	if (v->kind == POD_VOLUME_OTHER || v->error)
		return volume;
	if (v->kind == POD_VOLUME_PROJECTED)
		kind = projected_json(v);
	else
		kind = source_json(&v->sources[0], v->kind == POD_VOLUME_SECRET ? "secretName" : "name");
	put(&kind, "defaultMode", json_integer(v->default_mode));
	put(&volume, pod_volume_type(v), kind);
	return volume;
}

static json_t *mount_json(const struct pod_mount *m)
{
	json_t *mount = json_object();

	put_str(&mount, "name", m->volume);
	put_str(&mount, "mountPath", m->mount_path);
	put_str(&mount, "subPath", m->sub_path);
	put_str(&mount, "subPathExpr", m->sub_path_expr);
	put(&mount, "readOnly", json_boolean(m->read_only));
	return mount;
}

static json_t *pairs_json(const struct pairs *p)
{
	json_t *pairs = json_object();

	for (size_t i = 0; i < p->n; i++)
		put_str(&pairs, p->all[i].key, p->all[i].value);
	return pairs;
}

static void put_pairs(json_t **obj, const char *key, const struct pairs *p)
{
	if (p->n > 0)
		put(obj, key, pairs_json(p));
}

/* Only what a path is made of. */
static void put_env(json_t **container, const struct pod_container *c)
{
	cleanup_json json_t *env = NULL;
	bool is_needed = false;

	for (size_t i = 0; i < c->n_mounts; i++)
		is_needed |= c->mounts[i].sub_path_expr != NULL;
	if (!is_needed || !c->env)
		return;
	if (!*container || json_parse(c->env, strlen(c->env), &env, NULL) < 0 ||
	    json_object_update(*container, env) < 0) {
		json_decref(*container);
		*container = NULL;
	}
}

static json_t *container_json(const struct pod_container *c)
{
	json_t *container = json_object(), *mounts = json_array(), *resources = json_object();

	if (c->has_user)
		put(&container, "securityContext", json_pack("{s:I}", "runAsUser", (json_int_t)c->user));
	put_pairs(&resources, "limits", &c->limits);
	put_pairs(&resources, "requests", &c->requests);
	put(&container, "resources", resources);

	for (size_t i = 0; i < c->n_mounts; i++)
		append(&mounts, mount_json(&c->mounts[i]));
	put_str(&container, "name", c->name);
	put(&container, "volumeMounts", mounts);
	put_env(&container, c);
	return container;
}

static json_t *containers_json(const struct pod *pod, enum pod_container_kind kind)
{
	json_t *containers = json_array();

	for (size_t i = 0; i < pod->n_containers; i++)
		if (pod->containers[i].kind == kind)
			append(&containers, container_json(&pod->containers[i]));
	return containers;
}

static json_t *spec_json(const struct pod *pod)
{
	json_t *spec = json_object(), *volumes = json_array();

	for (size_t i = 0; i < pod->n_volumes; i++)
		append(&volumes, volume_json(&pod->volumes[i]));
	put_str(&spec, "nodeName", pod->node_name);
	put_str(&spec, "serviceAccountName", pod->service_account);
	if (pod->has_fs_group)
		put(&spec, "securityContext", json_pack("{s:I}", "fsGroup", (json_int_t)pod->fs_group));
	put(&spec, "volumes", volumes);
	put(&spec, "initContainers", containers_json(pod, POD_CONTAINER_INIT));
	put(&spec, "containers", containers_json(pod, POD_CONTAINER_REGULAR));
	put(&spec, "ephemeralContainers", containers_json(pod, POD_CONTAINER_EPHEMERAL));
	return spec;
}

int cache_pod_encode(const struct pod *pod, struct buf *out)
{
	cleanup_json json_t *doc = json_object(), *options = pod_options_write(pod);
	json_t *meta = meta_json(pod->ns, pod->name, pod->uid);

	put_pairs(&meta, "labels", &pod->labels);
	put_pairs(&meta, "annotations", &pod->annotations);
	put_str(&doc, "apiVersion", "v1");
	put_str(&doc, "kind", "Pod");
	/* all of them are kept, or none: then those that say something to us */
	if (options && pod->annotations.n == 0)
		put(&meta, "annotations", TAKE_PTR(options));
	put(&doc, "metadata", meta);
	put(&doc, "spec", spec_json(pod));
	if (pod->phase)
		put(&doc, "status", json_pack("{s:s}", "phase", pod->phase));
	return write_json(doc, out);
}

/* Those of a ConfigMap's data, as text. */
static json_t *text_json(const struct secret *secret)
{
	json_t *data = json_object();

	for (size_t i = 0; i < secret->n_keys; i++) {
		const struct secret_key *key = &secret->keys[i];

		if (!key->binary)
			put(&data, key->name, json_stringn((const char *)secspan_data(&key->value), key->value.len));
	}
	return data;
}

static bool put_base64(json_t **data, const struct secret_key *key)
{
	cleanup_secret char *text = NULL;

	if (b64_encode(secspan_data(&key->value), key->value.len, &text) < 0)
		return false;
	put_str(data, key->name, text);
	return true;
}

/* In base64: all of a Secret's, and a ConfigMap's binaryData. */
static json_t *data_json(const struct secret *secret)
{
	json_t *data = json_object();

	for (size_t i = 0; i < secret->n_keys; i++) {
		const struct secret_key *key = &secret->keys[i];

		if ((secret->kind == OBJECT_CONFIG_MAP && !key->binary) || put_base64(&data, key))
			continue;
		json_decref(data);
		return NULL;
	}
	return data;
}

int cache_secret_encode(const struct secret *secret, struct buf *out)
{
	cleanup_json json_t *doc = json_object();
	json_t *meta = meta_json(secret->ns, secret->name, secret->uid), *labels = json_object();

	for (size_t i = 0; i < secret->n_labels; i++)
		put_str(&labels, secret->labels[i].key, secret->labels[i].value);
	put_str(&meta, "resourceVersion", secret->resource_version);
	put(&meta, "labels", labels);
	put_str(&doc, "apiVersion", "v1");
	put_str(&doc, "kind", object_kind_name(secret->kind));
	put(&doc, "metadata", meta);
	put_str(&doc, "type", secret->type);
	put(&doc, "immutable", json_boolean(secret->immutable));
	put(&doc, secret->kind == OBJECT_SECRET ? "data" : "binaryData", data_json(secret));
	if (secret->kind == OBJECT_CONFIG_MAP)
		put(&doc, "data", text_json(secret));
	return write_json(doc, out);
}

static int decode_pod(struct cache_item *item, const json_t *doc, struct json_issue *issue)
{
	cleanup_free char *id = NULL;
	int r = codec_expect(doc, "v1", "Pod", issue);

	r = r ?: codec_pod(doc, &item->pod, issue);
	if (r < 0)
		return r;
	id = cache_pod_id(item->pod);
	if (!id)
		return -ENOMEM;
	return str_eq(id, item->id) ? 0 : json_issue_set(issue, &JSON_ROOT, "is the Pod %s", id);
}

static int decode_object(struct cache_item *item, const json_t *doc, struct json_issue *issue)
{
	enum object_kind kind = cache_object_kind(item->kind);
	cleanup_free char *id = NULL;
	int r = codec_expect(doc, "v1", object_kind_name(kind), issue);

	r = r ?: codec_object(kind, doc, &item->secret, issue);
	if (r < 0)
		return r;
	id = str_format("%s/%s", item->secret->ns, item->secret->name);
	if (!id)
		return -ENOMEM;
	return str_eq(id, item->id) ? 0 : json_issue_set(issue, &JSON_ROOT, "is the %s %s", object_kind_name(kind), id);
}

int cache_item_decode(struct cache_item *item, const char *text, size_t len, struct err *e)
{
	cleanup_json json_t *doc = NULL;
	struct json_issue issue = { .reason = "" };
	struct err why = ERR_INIT;
	int r;

	r = json_parse(text, len, &doc, &why);
	if (r < 0)
		return err_set(e, r == -ENOMEM ? r : -EBADMSG, "%s (%s): %s", item->file, item->key, err_text(&why));
	r = item->kind == CACHE_POD ? decode_pod(item, doc, &issue) : decode_object(item, doc, &issue);
	if (r == 0)
		return 0;
	pod_unref(TAKE_PTR(item->pod));
	secret_unref(TAKE_PTR(item->secret));
	return err_set(e, r == -ENOMEM ? r : -EBADMSG, "%s (%s): %s%s%s", item->file, item->key, issue.path,
		       *issue.path ? ": " : "", *issue.reason ? issue.reason : strerror(-r));
}

int cache_item_open(struct cache_item *item, const struct cache_key *key, const char *node, const void *file,
		    size_t len, struct buf *scratch, struct err *e)
{
	const struct cache_bind bind = { .node = node,
					 .kind = cache_kind_name(item->kind),
					 .id = item->id,
					 .file = item->file,
					 .generation = item->generation };
	uint8_t digest[CACHE_DIGEST_LEN];
	int r;

	cache_digest(file, len, digest);
	if (memcmp(digest, item->digest, sizeof(digest)) != 0)
		return err_set(e, -EBADMSG, "%s (%s): is not the file that the index speaks of", item->file, item->key);
	r = cache_unseal(key, &bind, file, len, scratch, e);
	if (r == 0)
		r = cache_item_decode(item, scratch->data ?: "", scratch->len, e);
	buf_clear(scratch);
	return r;
}
