/* Codec: one pass over an object that reads what concerns us. Names that become folder or file names are checked here
 * once more, although the API server has checked them, because everything behind this file relies on it: a server that
 * lies must not get a path of its choice. An object is built completely or not at all. */
#include "agent/codec.h"

#include "agent/codec_fields.h"
#include "agent/pod_env.h"
#include "common/b64.h"
#include "common/str.h"

enum {
	KEYS_MAX = 65536, /* of one Secret or ConfigMap */
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
	s->keys = calloc(MAX(n, (size_t)1), sizeof(*s->keys));
	if (!s->keys)
		return no_memory(issue, &at);
	for (size_t i = 0; i < n_values; i++) {
		r = read_key_names(s, &values[i], &total, issue);
		if (r < 0)
			return r;
	}
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

/* ---- ServiceAccount ---- */

int codec_check_account(const json_t *obj, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, list_at = JSON_AT(&root, "imagePullSecrets");
	const json_t *array = NULL;
	const char *name = NULL;
	size_t n = 0;
	int r;

	r = codec_expect(obj, "v1", "ServiceAccount", issue);
	if (r < 0)
		return r;
	r = field_list(obj, "imagePullSecrets", &root, PULL_SECRETS_MAX, &array, &n, issue);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const json_t *ref = json_array_get(array, i);
		const struct json_at at = JSON_AT_INDEX(&list_at, i);

		r = expect_object(ref, &at, issue);
		if (r == 0)
			r = json_get_str(ref, "name", &at, &name, issue);
	}
	return r;
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
