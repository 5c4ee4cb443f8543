/* Validate: core/v1's validation and defaulting for the part of a Pod, a Secret and a ConfigMap that concerns us, with the API
 * server's sentences ("Required value", "Duplicate value: ..."), so that a manifest that is refused here is refused by a
 * cluster for the same reason. One rule is left out on purpose: a container needs no image here. */
#include "agent/validate.h"

#include "agent/validate_env.h"
#include "agent/validate_fields.h"
#include "agent/validate_meta.h"
#include "agent/validate_volumes.h"
#include "agent/validate_words.h"
#include "common/b64.h"
#include "common/map.h"
#include "common/str.h"

/* ---- Secret ---- */

static int check_data(const json_t *obj, const char *field, const json_t **ret_data, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, at = JSON_AT(&root, field);
	const json_t *data = NULL;
	const char *key;
	json_t *value;
	int r;

	r = json_get_object(obj, field, &root, &data, issue);
	if (r < 0)
		return r;
	json_object_foreach (for_iteration(data), key, value) {
		const char *problem = secret_key_problem(key);

		if (*problem)
			return invalid(issue, &JSON_AT(&at, key), key, problem);
		if (!json_is_string(value) && !json_is_null(value))
			return json_issue_set(issue, &JSON_AT(&at, key), "must be a string (put it in quotes)");
	}
	*ret_data = data;
	return 0;
}

static int set_encoded(json_t *data, const char *key, const json_t *value)
{
	cleanup_secret char *text = NULL;

	if (b64_encode(json_string_value(value), json_string_length(value), &text) < 0)
		return -ENOMEM;
	return json_object_set_new(data, key, json_string(text)) < 0 ? -ENOMEM : 0;
}

static int merge_string_data(json_t *obj, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, at = JSON_AT(&root, "stringData");
	const json_t *strings = NULL, *data = NULL;
	const char *key;
	json_t *value;
	int r;

	r = check_data(obj, "data", &data, issue);
	if (r < 0)
		return r;
	r = check_data(obj, "stringData", &strings, issue);
	if (r < 0)
		return r;
	if (!data && json_object_set_new(obj, "data", json_object()) < 0)
		return no_memory(issue, &at);
	json_object_foreach (for_iteration(strings), key, value) {
		if (set_encoded(json_object_get(obj, "data"), key, value) < 0)
			return no_memory(issue, &at);
	}
	json_object_del(obj, "stringData");
	return 0;
}

static int default_type(json_t *obj, const char **ret_type, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT;
	const char *type = NULL;
	int r;

	r = json_get_str(obj, "type", &root, &type, issue);
	if (r < 0)
		return r;
	if (!str_empty(type)) {
		*ret_type = type;
		return 0;
	}
	if (json_object_set_new(obj, "type", json_string("Opaque")) < 0)
		return no_memory(issue, &JSON_AT(&root, "type"));
	*ret_type = "Opaque";
	return 0;
}

/* What a type asks for; the keys are alternatives or all needed. */
enum type_rule { RULE_ALL, RULE_ANY, RULE_FILLED, RULE_JSON };
static const struct {
	const char *type;
	enum type_rule rule;
	const char *keys[2];
} types[] = {
	{ "kubernetes.io/dockercfg", RULE_JSON, { ".dockercfg" } },
	{ "kubernetes.io/dockerconfigjson", RULE_JSON, { ".dockerconfigjson" } },
	{ "kubernetes.io/basic-auth", RULE_ANY, { "username", "password" } },
	{ "kubernetes.io/ssh-auth", RULE_FILLED, { "ssh-privatekey" } },
	{ "kubernetes.io/tls", RULE_ALL, { "tls.crt", "tls.key" } },
};

/* What Go decodes into a map: `null` as well, a key that is there twice, a number of any size. */
static int check_json_value(const json_t *value, const struct json_at *at, struct json_issue *issue)
{
	cleanup_json json_t *doc = NULL;
	size_t len = json_string_length(value), size = b64_decoded_max(len);
	uint8_t *bytes = malloc(size + 1);
	int r;

	if (!bytes)
		return no_memory(issue, at);
	r = b64_decode(len > 0 ? json_string_value(value) : "", len, bytes, size, &len);
	/* a larger one is refused for its size */
	if (r == 0 && len > 0 && len <= SECRET_BYTES_MAX)
		doc = json_loadb((const char *)bytes, len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL,
				 NULL);
	explicit_bzero(bytes, size);
	free(bytes);
	if (r == 0 && (json_is_object(doc) || json_is_null(doc) || len > SECRET_BYTES_MAX))
		return 0;
	return json_issue_set(issue, at,
			      "Invalid value: \"<secret contents redacted>\": must be a JSON object in base64");
}

static int check_keys(const json_t *data, enum type_rule rule, const char *const keys[2], struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, up = JSON_AT(&root, "data");
	const json_t *first = json_object_get(data, keys[0]);

	if (rule == RULE_ANY && !first && !json_object_get(data, keys[1]))
		return json_issue_set(issue, &JSON_AT(&up, keys[0]), "Required value (or data.%s)", keys[1]);
	for (size_t i = 0; rule != RULE_ANY && i < 2 && keys[i]; i++)
		if (!json_object_get(data, keys[i]))
			return required(issue, &JSON_AT(&up, keys[i]));
	if (rule == RULE_FILLED && json_string_length(first) == 0)
		return required(issue, &JSON_AT(&up, keys[0]));
	return rule == RULE_JSON ? check_json_value(first, &JSON_AT(&up, keys[0]), issue) : 0;
}

static int check_token_annotation(const json_t *meta, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, up = JSON_AT(&root, "metadata"), at = JSON_AT(&up, "annotations");
	const char *account = NULL;

	return get_filled(json_object_get(meta, "annotations"), "kubernetes.io/service-account.name", &at, &account,
			  issue);
}

static int check_type(const json_t *obj, const json_t *meta, const char *type, struct json_issue *issue)
{
	if (str_eq(type, "kubernetes.io/service-account-token"))
		return check_token_annotation(meta, issue);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (str_eq(types[i].type, type))
			return check_keys(json_object_get(obj, "data"), types[i].rule, types[i].keys, issue);
	return 0;
}

int validate_secret(json_t *obj, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT;
	const char *type = NULL;
	json_t *meta = NULL;
	bool immutable;
	int r;

	r = expect_object(obj, &root, issue);
	if (r < 0)
		return r;
	r = validate_meta(obj, &meta, issue);
	if (r < 0)
		return r;
	r = validate_spelling(obj, VALIDATE_SECRET, &root, issue);
	if (r < 0)
		return r;
	r = json_get_bool(obj, "immutable", &root, &immutable, issue);
	if (r < 0)
		return r;
	r = merge_string_data(obj, issue);
	if (r < 0)
		return r;
	r = default_type(obj, &type, issue);
	if (r < 0)
		return r;
	return check_type(obj, meta, type, issue);
}

/* ---- ConfigMap ---- */

int validate_config_map(json_t *obj, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, data_at = JSON_AT(&root, "data");
	const json_t *data = NULL, *binary = NULL;
	json_t *meta = NULL, *value;
	const char *key;
	bool immutable;
	int r;

	r = expect_object(obj, &root, issue);
	if (r < 0)
		return r;
	r = validate_meta(obj, &meta, issue);
	if (r < 0)
		return r;
	r = validate_spelling(obj, VALIDATE_CONFIG_MAP, &root, issue);
	if (r < 0)
		return r;
	r = json_get_bool(obj, "immutable", &root, &immutable, issue);
	if (r < 0)
		return r;
	r = check_data(obj, "data", &data, issue);
	if (r < 0)
		return r;
	r = check_data(obj, "binaryData", &binary, issue);
	if (r < 0)
		return r;
	json_object_foreach (for_iteration(data), key, value)
		if (json_object_get(binary, key))
			return invalid(issue, &JSON_AT(&data_at, key), key, "duplicate of key present in binaryData");
	return 0;
}

int validate_secret_update(const struct secret *old, const struct secret *fresh, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT;

	if (!str_eq(old->type, fresh->type))
		return invalid(issue, &JSON_AT(&root, "type"), fresh->type, "field is immutable");
	if (!old->immutable)
		return 0;
	if (!fresh->immutable)
		return json_issue_set(issue, &JSON_AT(&root, "immutable"),
				      "Forbidden: field is immutable when `immutable` is set");
	if (!secret_same_data(old, fresh))
		return json_issue_set(issue, &JSON_AT(&root, "data"),
				      "Forbidden: field is immutable when `immutable` is set");
	return 0;
}

/* ---- Pod ---- */

struct mounts {
	const struct map *volumes;
	struct map paths;
};

static int check_mount(const json_t *mount, const struct json_at *at, void *userdata, struct json_issue *issue)
{
	static const char *const known[] = { "name",	 "mountPath",	     "subPath",		  "subPathExpr",
					     "readOnly", "mountPropagation", "recursiveReadOnly", NULL };
	const struct json_at path_at = JSON_AT(at, "mountPath"), sub_at = JSON_AT(at, "subPath");
	const char *name = NULL, *path = NULL, *sub = NULL, *expr = NULL;
	struct mounts *mounts = userdata;
	static char present;
	int r;

	r = refuse_unknown(mount, at, known, issue);
	if (r < 0)
		return r;
	r = get_filled(mount, "name", at, &name, issue);
	if (r < 0)
		return r;
	if (!map_get_str(mounts->volumes, name))
		return json_issue_set(issue, &JSON_AT(at, "name"), "Not found: \"" SHOWN "\"", name);
	r = get_filled(mount, "mountPath", at, &path, issue);
	if (r < 0)
		return r;
	r = map_add_str(&mounts->paths, path, &present);
	if (r < 0)
		return r == -EEXIST ? invalid(issue, &path_at, path, "must be unique") : no_memory(issue, &path_at);
	r = json_get_str(mount, "subPath", at, &sub, issue);
	if (r < 0)
		return r;
	r = json_get_str(mount, "subPathExpr", at, &expr, issue);
	if (r < 0)
		return r;
	if (!str_empty(sub) && !str_empty(expr))
		return invalid(issue, &JSON_AT(at, "subPathExpr"), expr,
			       "subPathExpr and subPath are mutually exclusive");
	r = str_empty(sub) ? 0 : check_descending(sub, &sub_at, issue);
	if (r < 0)
		return r;
	return str_empty(expr) ? 0 : check_descending(expr, &JSON_AT(at, "subPathExpr"), issue);
}

struct names {
	struct map volumes, containers;
};

static int check_container(const json_t *container, const struct json_at *at, void *userdata, struct json_issue *issue)
{
	struct names *names = userdata;
	struct mounts mounts = { .volumes = &names->volumes, .paths = MAP_INIT };
	int r;

	r = check_unique_name(container, at, &names->containers, issue);
	if (r == 0)
		r = validate_env(container, at, issue);
	if (r < 0)
		return r;
	r = for_each(container, "volumeMounts", at, check_mount, &mounts, issue);
	map_deinit(&mounts.paths);
	return r;
}

static int check_node_name(const json_t *spec, const struct json_at *at, struct json_issue *issue)
{
	const char *name = NULL;
	int r;

	r = json_get_str(spec, "nodeName", at, &name, issue);
	if (r < 0)
		return r;
	if (!str_empty(name) && !str_is_dns_subdomain(name))
		return invalid(issue, &JSON_AT(at, "nodeName"), name, SUBDOMAIN_RULE);
	return 0;
}

static int check_spec(const json_t *spec, const struct json_at *at, struct names *names, struct json_issue *issue)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	const json_t *containers = NULL;
	int r;

	r = check_node_name(spec, at, issue);
	if (r == 0)
		r = validate_pull_secrets(spec, at, issue);
	if (r < 0)
		return r;
	r = validate_volumes(spec, at, &names->volumes, issue);
	if (r < 0)
		return r;
	r = json_get_array(spec, "containers", at, &containers, issue);
	if (r < 0)
		return r;
	if (json_array_size(containers) == 0)
		return required(issue, &JSON_AT(at, "containers"));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		r = for_each(spec, lists[i], at, check_container, names, issue);
		if (r < 0)
			return r;
	}
	return 0;
}

int validate_pod(json_t *obj, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, spec_at = JSON_AT(&root, "spec");
	struct names names = { MAP_INIT, MAP_INIT };
	const json_t *spec = NULL;
	json_t *meta = NULL;
	int r;

	r = expect_object(obj, &root, issue);
	if (r < 0)
		return r;
	r = validate_meta(obj, &meta, issue);
	if (r < 0)
		return r;
	r = json_get_object(obj, "spec", &root, &spec, issue);
	if (r < 0)
		return r;
	if (!spec)
		return required(issue, &spec_at);
	r = check_spec(spec, &spec_at, &names, issue);
	map_deinit(&names.volumes);
	map_deinit(&names.containers);
	if (r < 0)
		return r;

	json_object_del(obj, "status");
	json_object_del(meta, "deletionTimestamp");
	return 0;
}
