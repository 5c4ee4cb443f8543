/* Codec: one pass over an object that reads what concerns us. Names that become folder or file names are checked here
 * once more, although the API server has checked them, because everything behind this file relies on it: a server that
 * lies must not get a path of its choice. An object is built completely or not at all. */
#include "agent/codec.h"

#include "agent/codec_fields.h"
#include "agent/codec_volumes.h"
#include "agent/downward.h"
#include "agent/pod_env.h"
#include "agent/pod_options.h"
#include "common/b64.h"
#include "common/map.h"
#include "common/str.h"

enum {
	KEYS_MAX = 65536, /* of one Secret or ConfigMap */
	GROUP_ID_MAX = INT32_MAX, /* core validation: IsValidGroupID */
	KEY_SHOWN_MAX = 64, /* so much of a foreign key is shown in a message */
};

/* ---- Secret, ConfigMap ---- */

/* A field of values. A Secret's are in base64, a ConfigMap's are text, or in base64 in another field. */
struct values {
	const char *field;
	bool base64;
	const json_t *map;
};

/* The path of a key: json.c writes it as `data.key` or `data[key.name]`; cut, because a foreign key may be long. */
static int key_issue(struct json_issue *issue, const struct values *values, const char *key, const char *problem)
{
	const struct json_at root = JSON_ROOT, up = JSON_AT(&root, values->field);
	char shown[KEY_SHOWN_MAX + sizeof("...")];

	snprintf(shown, sizeof(shown), "%.*s%s", KEY_SHOWN_MAX, key, strlen(key) > KEY_SHOWN_MAX ? "..." : "");
	return json_issue_set(issue, &JSON_AT(&up, shown), "%s", problem);
}

/* How many bytes it decodes to if it is base64; line breaks do not count. */
static size_t decoded_len(const char *text, size_t len)
{
	size_t n_chars = len, n_pads = 0;

	if (len > 0 && (memchr(text, '\n', len) || memchr(text, '\r', len)))
		for (size_t i = 0; i < len; i++)
			n_chars -= text[i] == '\r' || text[i] == '\n';
	/* the padding, and line breaks between and behind it, are all that is at the end */
	for (size_t i = len; i > 0 && (text[i - 1] == '=' || text[i - 1] == '\r' || text[i - 1] == '\n'); i--)
		n_pads += text[i - 1] == '=';
	return n_chars < 4 ? 0 : n_chars / 4 * 3 - MIN(n_pads, (size_t)2);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(((const struct secret_key *)a)->name, ((const struct secret_key *)b)->name);
}

/* Names and lengths; *total grows by the lengths. */
static int read_key_names(struct secret *s, const struct values *values, size_t *total, struct json_issue *issue)
{
	const char *key;
	json_t *value;

	json_object_foreach (for_iteration(values->map), key, value) {
		const char *problem = secret_key_problem(key);
		struct secret_key *k = &s->keys[s->n_keys];
		size_t len = json_string_length(value);

		if (*problem)
			return key_issue(issue, values, key, problem);
		if (!json_is_string(value) && !json_is_null(value))
			return key_issue(issue, values, key, "must be a string");
		k->name = strdup(key);
		if (!k->name)
			return no_memory(issue, &JSON_ROOT);
		s->n_keys++;
		k->value.len = values->base64 ? decoded_len(json_string_value(value), len) : len;
		k->binary = values->base64 && s->kind == OBJECT_CONFIG_MAP;
		*total += k->value.len;
	}
	return 0;
}

/* The value of a key, and which field it is in. */
static const json_t *find_value(const struct values *values, size_t n_values, const char *key,
				const struct values **ret_values)
{
	const json_t *value = NULL;

	for (size_t i = 0; i < n_values && !value; i++) {
		value = json_object_get(values[i].map, key);
		*ret_values = &values[i];
	}
	return value;
}

static int read_values(struct secret *s, const struct values *values, size_t n_values, struct json_issue *issue)
{
	const struct values *in = values;
	size_t off = 0, len;

	for (size_t i = 0; i < s->n_keys; i++) {
		struct secret_key *k = &s->keys[i];
		const json_t *value = find_value(values, n_values, k->name, &in);
		uint8_t *out = s->block->data + off;

		len = 0;
		if (json_is_string(value) && in->base64 &&
		    b64_decode(json_string_value(value), json_string_length(value), out, k->value.len, &len) < 0)
			return key_issue(issue, in, k->name, "illegal base64 data");
		if (json_is_string(value) && !in->base64) {
			len = k->value.len;
			memcpy(out, json_string_value(value), len);
		}
		k->value = (struct secspan){ .block = s->block, .off = off, .len = len };
		k->digest = digest_of(out, len);
		off += len;
	}
	return 0;
}

/* Of a key that is in both fields the API server would not know which value is meant. */
static int refuse_doubles(const struct secret *s, const struct values *last, struct json_issue *issue)
{
	for (size_t i = 1; i < s->n_keys; i++)
		if (str_eq(s->keys[i - 1].name, s->keys[i].name))
			return key_issue(issue, last, s->keys[i].name, "is there twice");
	return 0;
}

static int read_data(struct secret *s, const json_t *obj, struct values *values, size_t n_values,
		     struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, at = JSON_AT(&root, values[0].field);
	struct err e = ERR_INIT;
	size_t total = 0, n = 0;
	int r;

	for (size_t i = 0; i < n_values; i++) {
		r = json_get_object(obj, values[i].field, &root, &values[i].map, issue);
		if (r < 0)
			return r;
		n += json_object_size(values[i].map);
	}
	if (n > KEYS_MAX)
		return json_issue_set(issue, &at, "more than %d keys", KEYS_MAX);
	s->keys = n > 0 ? calloc(n, sizeof(*s->keys)) : NULL;
	if (n > 0 && !s->keys)
		return no_memory(issue, &at);
	for (size_t i = 0; i < n_values; i++) {
		r = read_key_names(s, &values[i], &total, issue);
		if (r < 0)
			return r;
	}
	if (n > 0)
		qsort(s->keys, s->n_keys, sizeof(*s->keys), compare_keys);
	r = refuse_doubles(s, &values[n_values - 1], issue);
	if (r < 0)
		return r;
	if (total > SECRET_BYTES_MAX)
		return json_issue_set(issue, &at, "Too long: may not be more than %zu bytes", SECRET_BYTES_MAX);
	r = secblock_new(total, &s->block, &e);
	if (r < 0) {
		json_issue_set(issue, &at, "%s", err_text(&e));
		return r;
	}
	return read_values(s, values, n_values, issue);
}

static int read_labels(struct secret *s, const json_t *meta, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, up = JSON_AT(&root, "metadata");
	struct pairs labels = { .n = 0 };
	int r = field_pairs(&labels, meta, "labels", false, &up, issue);

	s->labels = labels.all;
	s->n_labels = labels.n;
	return r;
}

static int read_object(struct secret *s, const json_t *obj, struct values *values, size_t n_values,
		       struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT;
	const json_t *meta = NULL;
	int r;

	r = field_meta(obj, &(struct meta){ &s->ns, &s->name, &s->uid, &s->resource_version }, false, &meta, issue);
	if (r < 0)
		return r;
	r = s->kind == OBJECT_SECRET ? field_str(obj, "type", &root, &s->type, issue) : 0;
	if (r < 0)
		return r;
	r = json_get_bool(obj, "immutable", &root, &s->immutable, issue);
	if (r < 0)
		return r;
	r = read_labels(s, meta, issue);
	if (r < 0)
		return r;
	return read_data(s, obj, values, n_values, issue);
}

int codec_object(enum object_kind kind, const json_t *obj, struct secret **ret_s, struct json_issue *issue)
{
	struct values secret[] = { { .field = "data", .base64 = true } };
	struct values config_map[] = { { .field = "data" }, { .field = "binaryData", .base64 = true } };
	cleanup_secret_object struct secret *s = NULL;
	int r;

	if (secret_new(&s) < 0)
		return no_memory(issue, &JSON_ROOT);
	s->kind = kind;
	if (kind == OBJECT_SECRET)
		r = read_object(s, obj, secret, ARRAY_SIZE(secret), issue);
	else
		r = read_object(s, obj, config_map, ARRAY_SIZE(config_map), issue);
	if (r < 0)
		return r;
	*ret_s = TAKE_PTR(s);
	return 0;
}

int codec_secret(const json_t *obj, struct secret **ret_s, struct json_issue *issue)
{
	return codec_object(OBJECT_SECRET, obj, ret_s, issue);
}

/* ---- Pod ---- */

static int read_mount(struct pod_mount *m, const json_t *obj, const struct json_at *at, struct json_issue *issue)
{
	const char *sub_path = NULL, *expr = NULL;
	int r;

	r = expect_object(obj, at, issue);
	if (r < 0)
		return r;
	r = field_str_filled(obj, "name", at, &m->volume, issue);
	if (r < 0)
		return r;
	r = field_str_filled(obj, "mountPath", at, &m->mount_path, issue);
	if (r < 0)
		return r;
	r = json_get_str(obj, "subPath", at, &sub_path, issue);
	if (r < 0)
		return r;
	r = json_get_str(obj, "subPathExpr", at, &expr, issue);
	if (r < 0)
		return r;
	r = field_copy(str_empty(sub_path) ? NULL : sub_path, at, &m->sub_path, issue);
	if (r < 0)
		return r;
	r = field_copy(str_empty(expr) ? NULL : expr, at, &m->sub_path_expr, issue);
	if (r < 0)
		return r;
	return json_get_bool(obj, "readOnly", at, &m->read_only, issue);
}

static int read_container(struct pod_container *c, const json_t *obj, const struct json_at *up,
			  struct json_issue *issue)
{
	const struct json_at list_at = JSON_AT(up, "volumeMounts");
	const json_t *array = NULL;
	size_t n = 0;
	int r;

	r = expect_object(obj, up, issue);
	if (r < 0)
		return r;
	r = field_name(obj, "name", up, &RULE_LABEL, &c->name, issue);
	if (r < 0)
		return r;
	if (pod_env_read(obj, &c->env) < 0)
		return no_memory(issue, up);
	r = field_list(obj, "volumeMounts", up, POD_LIST_MAX, &array, &n, issue);
	if (r < 0 || n == 0)
		return r;
	c->mounts = calloc(n, sizeof(*c->mounts));
	if (!c->mounts)
		return no_memory(issue, &list_at);
	c->n_mounts = n;
	for (size_t i = 0; i < n; i++) {
		const struct json_at at = JSON_AT_INDEX(&list_at, i);

		r = read_mount(&c->mounts[i], json_array_get(array, i), &at, issue);
		if (r < 0)
			return r;
	}
	return 0;
}

static const struct {
	const char *key;
	enum pod_container_kind kind;
} CONTAINER_LISTS[] = {
	{ "initContainers", POD_CONTAINER_INIT },
	{ "containers", POD_CONTAINER_REGULAR },
	{ "ephemeralContainers", POD_CONTAINER_EPHEMERAL },
};

static int read_container_list(struct pod *p, const json_t *array, size_t n, enum pod_container_kind kind,
			       const struct json_at *list_at, struct map *names, struct json_issue *issue)
{
	int r;

	for (size_t i = 0; i < n; i++) {
		const struct json_at at = JSON_AT_INDEX(list_at, i);
		struct pod_container *c = &p->containers[p->n_containers++];

		c->kind = kind;
		r = read_container(c, json_array_get(array, i), &at, issue);
		if (r < 0)
			return r;
		r = field_unique_name(names, c->name, c, &at, issue);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_containers(struct pod *p, const json_t *spec, const struct json_at *up, struct json_issue *issue)
{
	const json_t *arrays[ARRAY_SIZE(CONTAINER_LISTS)] = { 0 };
	size_t n[ARRAY_SIZE(CONTAINER_LISTS)] = { 0 }, n_all = 0;
	struct map names = MAP_INIT;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(CONTAINER_LISTS); i++) {
		r = field_list(spec, CONTAINER_LISTS[i].key, up, POD_LIST_MAX, &arrays[i], &n[i], issue);
		if (r < 0)
			return r;
		n_all += n[i];
	}
	if (n_all == 0)
		return 0;
	p->containers = calloc(n_all, sizeof(*p->containers));
	if (!p->containers)
		return no_memory(issue, up);
	for (size_t i = 0; i < ARRAY_SIZE(CONTAINER_LISTS) && r == 0; i++) {
		const struct json_at at = JSON_AT(up, CONTAINER_LISTS[i].key);

		r = read_container_list(p, arrays[i], n[i], CONTAINER_LISTS[i].kind, &at, &names, issue);
	}
	map_deinit(&names);
	return r;
}

static int read_security_context(struct pod *p, const json_t *spec, const struct json_at *up, struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "securityContext");
	const json_t *context = NULL;
	int64_t group = -1;
	int r;

	r = json_get_object(spec, "securityContext", up, &context, issue);
	if (r < 0 || !context)
		return r;
	r = json_get_int(context, "fsGroup", &at, 0, GROUP_ID_MAX, &group, issue);
	if (r < 0 || group < 0)
		return r;
	p->has_fs_group = true;
	p->fs_group = (gid_t)group;
	return 0;
}

/* user stays as it is when the object says none */
static int read_run_as_user(const json_t *obj, const struct json_at *up, int64_t *user, struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "securityContext");
	const json_t *context = NULL;
	int r;

	r = json_get_object(obj, "securityContext", up, &context, issue);
	if (r < 0 || !context)
		return r;
	return json_get_int(context, "runAsUser", &at, 0, GROUP_ID_MAX, user, issue);
}

static int read_users(struct pod *p, const json_t *spec, const struct json_at *spec_at, struct json_issue *issue)
{
	int64_t pods_user = -1;
	size_t n = 0;
	int r;

	r = read_run_as_user(spec, spec_at, &pods_user, issue);
	for (size_t i = 0; i < ARRAY_SIZE(CONTAINER_LISTS); i++) {
		const struct json_at list_at = JSON_AT(spec_at, CONTAINER_LISTS[i].key);
		const json_t *array = json_object_get(spec, CONTAINER_LISTS[i].key);

		for (size_t j = 0; r == 0 && j < json_array_size(array); j++, n++) {
			int64_t user = pods_user;

			r = read_run_as_user(json_array_get(array, j), &JSON_AT_INDEX(&list_at, j), &user, issue);
			p->containers[n].has_user = user >= 0;
			p->containers[n].user = (uid_t)MAX(user, INT64_C(0));
		}
	}
	return r;
}

/* An empty name is what the admission makes `default` of. */
static int read_account(struct pod *p, const json_t *spec, const struct json_at *up, struct json_issue *issue)
{
	const char *account = NULL;
	int r;

	r = json_get_str(spec, "serviceAccountName", up, &account, issue);
	if (r < 0)
		return r;
	if (!str_empty(account) && !str_is_dns_subdomain(account))
		return json_issue_set(issue, &JSON_AT(up, "serviceAccountName"), "is not a DNS-1123 subdomain");
	return field_copy(str_empty(account) ? "default" : account, up, &p->service_account, issue);
}

static int read_spec(struct pod *p, const json_t *obj, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, at = JSON_AT(&root, "spec");
	const json_t *spec = NULL;
	int r;

	r = json_get_object(obj, "spec", &root, &spec, issue);
	if (r < 0)
		return r;
	if (!spec)
		return json_issue_set(issue, &at, "is missing");
	r = field_str(spec, "nodeName", &at, &p->node_name, issue);
	if (r < 0)
		return r;
	r = read_account(p, spec, &at, issue);
	if (r < 0)
		return r;
	if (pod_pull_secrets_read(spec, &p->pull_secrets) < 0)
		return no_memory(issue, &at);
	r = read_security_context(p, spec, &at, issue);
	if (r < 0)
		return r;
	r = codec_volumes(p, spec, &at, issue);
	if (r < 0)
		return r;
	r = read_containers(p, spec, &at, issue);
	return r < 0 ? r : read_users(p, spec, &at, issue);
}

static int read_pod_rest(struct pod *p, const json_t *obj, const json_t *meta, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, meta_at = JSON_AT(&root, "metadata"),
			     status_at = JSON_AT(&root, "status");
	const json_t *annotations = NULL, *status = NULL;
	const char *deleted = NULL;
	int r;

	r = json_get_str(meta, "deletionTimestamp", &meta_at, &deleted, issue);
	if (r < 0)
		return r;
	p->deleting = deleted;
	r = json_get_object(meta, "annotations", &meta_at, &annotations, issue);
	if (r < 0)
		return r;
	p->mirror = annotations && json_object_get(annotations, "kubernetes.io/config.mirror");
	if (pod_options_read(p, annotations) < 0)
		return no_memory(issue, &meta_at);
	r = json_get_object(obj, "status", &root, &status, issue);
	if (r < 0)
		return r;
	return status ? field_str(status, "phase", &status_at, &p->phase, issue) : 0;
}

/* Some item of a volume shows this. */
static bool pod_shows(const struct pod *p, bool resources, enum downward_field field)
{
	for (size_t i = 0; i < p->n_volumes; i++) {
		const struct pod_volume *v = &p->volumes[i];

		for (size_t j = 0; j < v->n_sources; j++) {
			const struct pod_volume_source *s = &v->sources[j];

			for (size_t k = 0; k < s->n_items && s->kind == POD_SOURCE_DOWNWARD_API; k++) {
				enum downward_field shown = DOWNWARD_FIELDS_N;
				const char *key;
				size_t len;

				if (!s->items[k].container)
					(void)downward_field_parse(s->items[k].key, &shown, &key, &len);
				if (resources ? s->items[k].container != NULL : shown == field)
					return true;
			}
		}
	}
	return false;
}

static int read_resources(struct pod_container *c, const json_t *obj, const struct json_at *up,
			  struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "resources");
	const json_t *resources = NULL;
	int r;

	r = json_get_object(obj, "resources", up, &resources, issue);
	if (r < 0)
		return r;
	r = field_pairs(&c->limits, resources, "limits", true, &at, issue);
	return r < 0 ? r : field_pairs(&c->requests, resources, "requests", true, &at, issue);
}

static int read_all_resources(struct pod *p, const json_t *obj, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, spec_at = JSON_AT(&root, "spec");
	const json_t *spec = json_object_get(obj, "spec");
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(CONTAINER_LISTS); i++) {
		const struct json_at list_at = JSON_AT(&spec_at, CONTAINER_LISTS[i].key);
		const json_t *array = json_object_get(spec, CONTAINER_LISTS[i].key);

		for (size_t j = 0; r == 0 && j < json_array_size(array); j++)
			r = read_resources(&p->containers[n++], json_array_get(array, j), &JSON_AT_INDEX(&list_at, j),
					   issue);
	}
	return r;
}

/* What a volume or an environment shows of the pod itself. */
static int read_shown(struct pod *p, const json_t *obj, const json_t *meta, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, meta_at = JSON_AT(&root, "metadata");
	int r = 0;

	if (pod_shows(p, false, DOWNWARD_LABELS) || pod_env_mentions(p, "metadata.labels"))
		r = field_pairs(&p->labels, meta, "labels", false, &meta_at, issue);
	if (r == 0 && (pod_shows(p, false, DOWNWARD_ANNOTATIONS) || pod_env_mentions(p, "metadata.annotations")))
		r = field_pairs(&p->annotations, meta, "annotations", false, &meta_at, issue);
	if (r == 0 && (pod_shows(p, true, DOWNWARD_FIELDS_N) || pod_env_mentions(p, "resourceFieldRef")))
		r = read_all_resources(p, obj, issue);
	if (r == 0 && pod_env_mentions(p, "status.") && pod_addresses_read(p, json_object_get(obj, "status")) < 0)
		r = no_memory(issue, &meta_at);
	return r;
}

int codec_pod(const json_t *obj, struct pod **ret_p, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT;
	cleanup_pod struct pod *p = NULL;
	const json_t *meta = NULL;
	int r;

	if (pod_new(&p) < 0)
		return no_memory(issue, &root);
	r = field_meta(obj, &(struct meta){ &p->ns, &p->name, &p->uid, &p->resource_version }, true, &meta, issue);
	if (r < 0)
		return r;
	r = read_spec(p, obj, issue);
	if (r < 0)
		return r;
	r = read_pod_rest(p, obj, meta, issue);
	if (r < 0)
		return r;
	r = read_shown(p, obj, meta, issue);
	if (r < 0)
		return r;
	*ret_p = TAKE_PTR(p);
	return 0;
}

/* ---- Node ---- */

int codec_allocatable(const json_t *obj, struct pairs *ret_pairs, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, at = JSON_AT(&root, "status");
	cleanup(pairs_deinit) struct pairs pairs = { .n = 0 };
	const json_t *status = NULL;
	int r;

	r = json_get_object(obj, "status", &root, &status, issue);
	if (r < 0)
		return r;
	r = field_pairs(&pairs, status, "allocatable", true, &at, issue);
	if (r < 0)
		return r;
	*ret_pairs = pairs;
	pairs = (struct pairs){ .n = 0 };
	return 0;
}

/* ---- any object ---- */

static int expect_str(const json_t *obj, const char *key, const char *expected, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, at = JSON_AT(&root, key);
	const char *s = NULL;
	int r;

	r = json_get_str_required(obj, key, &root, &s, issue);
	if (r < 0)
		return r;
	return str_eq(s, expected) ? 0 : json_issue_set(issue, &at, "is not %s", expected);
}

int codec_expect(const json_t *obj, const char *api_version, const char *kind, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT;
	int r;

	r = expect_object(obj, &root, issue);
	if (r < 0)
		return r;
	r = expect_str(obj, "apiVersion", api_version, issue);
	return r < 0 ? r : expect_str(obj, "kind", kind, issue);
}

const char *codec_resource_version(const json_t *obj)
{
	const char *version = json_string_value(json_object_get(json_object_get(obj, "metadata"), "resourceVersion"));

	return str_empty(version) ? NULL : version;
}
