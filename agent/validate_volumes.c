/* Validate volumes: of each volume that we make, and of each source of a projected one, a line of SOURCE_TYPES: the fields that there
 * are, and what is checked of them. Other volumes are nobody's business here, if they are not a misspelt one of ours. */
#include "agent/validate_volumes.h"

#include <inttypes.h>
#include <strings.h>

#include "agent/downward.h"
#include "agent/validate_env.h"
#include "agent/validate_meta.h"
#include "agent/validate_words.h"
#include "common/map.h"
#include "common/str.h"

static int check_mode(const json_t *obj, const char *key, const struct json_at *at, struct json_issue *issue)
{
	int64_t mode = 0;
	int r;

	r = json_get_int(obj, key, at, INT64_MIN, INT64_MAX, &mode, issue);
	if (r < 0)
		return r;
	if (mode < 0 || mode > 0777)
		return json_issue_set(issue, &JSON_AT(at, key),
				      "Invalid value: %" PRId64
				      ": must be a number between 0 and 0777 (octal), both inclusive",
				      mode);
	return 0;
}

static int check_item_path(const json_t *item, const struct json_at *at, struct json_issue *issue)
{
	const struct json_at path_at = JSON_AT(at, "path");
	const char *path = NULL;
	int r;

	r = get_filled(item, "path", at, &path, issue);
	if (r < 0)
		return r;
	r = check_descending(path, &path_at, issue);
	if (r < 0)
		return r;
	if (str_starts(path, ".."))
		return invalid(issue, &path_at, path, "must not start with '..'");
	return check_mode(item, "mode", at, issue);
}

static int check_item(const json_t *item, const struct json_at *at, void *userdata, struct json_issue *issue)
{
	static const char *const known[] = { "key", "path", "mode", NULL };
	const char *key = NULL;
	int r;

	r = refuse_unknown(item, at, known, issue);
	if (r < 0)
		return r;
	r = get_filled(item, "key", at, &key, issue);
	return r < 0 ? r : check_item_path(item, at, issue);
}

static int check_field_ref(const json_t *ref, const struct json_at *at, struct json_issue *issue)
{
	static const char *const known[] = { "apiVersion", "fieldPath", NULL };
	const struct json_at path_at = JSON_AT(at, "fieldPath");
	const char *path = NULL, *key;
	cleanup_free char *name = NULL;
	enum downward_field field;
	size_t len;
	int r;

	r = refuse_unknown(ref, at, known, issue);
	if (r < 0)
		return r;
	r = get_filled(ref, "fieldPath", at, &path, issue);
	if (r < 0)
		return r;
	if (downward_field_parse(path, &field, &key, &len) < 0)
		return json_issue_set(
			issue, &path_at,
			"Unsupported value: \"" SHOWN "\": supported values: \"metadata.annotations\", "
			"\"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
			path);
	if (len == 0)
		return 0;
	name = strndup(key, len);
	if (!name)
		return no_memory(issue, &path_at);
	return field == DOWNWARD_LABELS ? validate_label(name, NULL, &path_at, issue)
					: validate_annotation(name, NULL, &path_at, issue);
}

static int check_downward_item(const json_t *item, const struct json_at *at, void *userdata, struct json_issue *issue)
{
	static const char *const known[] = { "path", "mode", "fieldRef", "resourceFieldRef", NULL };
	const json_t *field = NULL, *resource = NULL;
	int r;

	r = refuse_unknown(item, at, known, issue);
	if (r < 0)
		return r;
	r = check_item_path(item, at, issue);
	if (r < 0)
		return r;
	r = json_get_object(item, "fieldRef", at, &field, issue);
	if (r < 0)
		return r;
	r = json_get_object(item, "resourceFieldRef", at, &resource, issue);
	if (r < 0)
		return r;
	if (field && resource)
		return invalid(issue, at, "resource",
			       "fieldRef and resourceFieldRef can not be specified simultaneously");
	if (!field && !resource)
		return json_issue_set(issue, at, "Required value: one of fieldRef and resourceFieldRef is required");
	return field ? check_field_ref(field, &JSON_AT(at, "fieldRef"), issue)
		     : validate_resource_ref(resource, true, &JSON_AT(at, "resourceFieldRef"), issue);
}

static int check_object_source(const json_t *source, const char *name_key, const struct json_at *at,
			       struct json_issue *issue)
{
	const char *name = NULL;
	bool optional;
	int r;

	r = get_filled(source, name_key, at, &name, issue);
	if (r < 0)
		return r;
	if (!str_is_dns_subdomain(name))
		return invalid(issue, &JSON_AT(at, name_key), name, SUBDOMAIN_RULE);
	r = json_get_bool(source, "optional", at, &optional, issue);
	if (r < 0)
		return r;
	return for_each(source, "items", at, check_item, NULL, issue);
}

static int check_downward_source(const json_t *source, const char *name_key, const struct json_at *at,
				 struct json_issue *issue)
{
	return for_each(source, "items", at, check_downward_item, NULL, issue);
}

static int check_token_source(const json_t *source, const char *name_key, const struct json_at *at,
			      struct json_issue *issue)
{
	const struct json_at path_at = JSON_AT(at, "path"), sec_at = JSON_AT(at, "expirationSeconds");
	const char *path = NULL, *audience = NULL;
	int64_t sec = 3600;
	int r;

	r = json_get_int(source, "expirationSeconds", at, INT64_MIN, INT64_MAX, &sec, issue);
	if (r < 0)
		return r;
	if (sec < 600)
		return json_issue_set(issue, &sec_at,
				      "Invalid value: %" PRId64 ": may not specify a duration less than 10 minutes",
				      sec);
	if (sec > INT64_C(1) << 32)
		return json_issue_set(issue, &sec_at,
				      "Invalid value: %" PRId64 ": may not specify a duration larger than 2^32 seconds",
				      sec);
	r = json_get_str(source, "audience", at, &audience, issue);
	if (r < 0)
		return r;
	r = get_filled(source, "path", at, &path, issue);
	if (r < 0)
		return r;
	r = check_descending(path, &path_at, issue);
	if (r < 0)
		return r;
	return str_starts(path, "..") ? invalid(issue, &path_at, path, "must not start with '..'") : 0;
}

/* What a volume or a source of a projected one can be made of; a token is a source only. */
static const struct source_type {
	const char *field;
	const char *volume_name; /* what names the object in a volume; in a source it is `name` */
	const char *in_volume[5], *in_source[4]; /* the fields that there are; NULL ends them */
	int (*check)(const json_t *source, const char *name_key, const struct json_at *at, struct json_issue *issue);
} SOURCE_TYPES[] = {
	{ "secret",
	  "secretName",
	  { "secretName", "items", "defaultMode", "optional" },
	  { "name", "items", "optional" },
	  check_object_source },
	{ "configMap",
	  "name",
	  { "name", "items", "defaultMode", "optional" },
	  { "name", "items", "optional" },
	  check_object_source },
	{ "downwardAPI", NULL, { "items", "defaultMode" }, { "items" }, check_downward_source },
	{ "serviceAccountToken", NULL, { NULL }, { "path", "audience", "expirationSeconds" }, check_token_source },
};

static int check_plain_volume(const json_t *source, const struct source_type *type, const struct json_at *at,
			      struct json_issue *issue)
{
	int r;

	r = refuse_unknown(source, at, type->in_volume, issue);
	if (r < 0)
		return r;
	r = check_mode(source, "defaultMode", at, issue);
	if (r < 0)
		return r;
	return type->check(source, type->volume_name, at, issue);
}

/* `Secret:`, `secrets:` or `secretName:` would make an empty folder of a secret volume. */
static bool is_meant_as_secret(const char *key)
{
	return strncasecmp(key, "secret", strlen("secret")) == 0 && !str_eq(key, "secret");
}

const char *validate_volume_meant(const char *key)
{
	if (is_meant_as_secret(key))
		return "secret";
	for (size_t i = 0; i < ARRAY_SIZE(SOURCE_TYPES); i++)
		if (strcasecmp(key, SOURCE_TYPES[i].field) == 0 && !str_eq(key, SOURCE_TYPES[i].field))
			return SOURCE_TYPES[i].field;
	return NULL;
}

/* What the API server looks for in all sources together. */
struct projection {
	const struct json_at *at;
	struct map paths;
};

static int check_projected_paths(const json_t *source, struct projection *p, struct json_issue *issue)
{
	const json_t *item;
	size_t i;

	json_array_foreach (json_object_get(source, "items"), i, item) {
		const char *path = json_string_value(json_object_get(item, "path"));
		static char present;
		int r = path ? map_add_str(&p->paths, path, &present) : 0;

		if (r == -EEXIST)
			return json_issue_set(issue, p->at, "Invalid value: \"" SHOWN "\": conflicting duplicate paths",
					      path);
		if (r < 0)
			return no_memory(issue, p->at);
	}
	return 0;
}

/* One type at most; `besides` is a field that is none. */
static int check_types(const json_t *obj, const char *besides, const struct json_at *at, struct json_issue *issue)
{
	size_t n_types = 0;
	const char *key;
	json_t *value;

	json_object_foreach (for_iteration(obj), key, value) {
		if (validate_volume_meant(key))
			return json_issue_set(issue, &JSON_AT(at, key), "unknown field; `%s` is meant?",
					      validate_volume_meant(key));
		if (str_eq(key, besides) || json_is_null(value))
			continue;
		if (++n_types > 1)
			return json_issue_set(issue, &JSON_AT(at, key),
					      "Forbidden: may not specify more than 1 volume type");
	}
	return 0;
}

static int check_source(const json_t *obj, const struct json_at *up, void *userdata, struct json_issue *issue)
{
	int r;

	r = check_types(obj, NULL, up, issue);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(SOURCE_TYPES); i++) {
		const struct json_at at = JSON_AT(up, SOURCE_TYPES[i].field);
		const json_t *source = NULL;

		r = json_get_object(obj, SOURCE_TYPES[i].field, up, &source, issue);
		if (r < 0 || !source)
			continue;
		r = refuse_unknown(source, &at, SOURCE_TYPES[i].in_source, issue);
		if (r == 0)
			r = SOURCE_TYPES[i].check(source, "name", &at, issue);
		if (r == 0)
			r = check_projected_paths(source, userdata, issue);
	}
	return r;
}

static int check_projected_volume(const json_t *projected, const struct json_at *at, struct json_issue *issue)
{
	static const char *const known[] = { "sources", "defaultMode", NULL };
	struct projection p = { .at = at, .paths = MAP_INIT };
	int r;

	r = refuse_unknown(projected, at, known, issue);
	if (r < 0)
		return r;
	r = check_mode(projected, "defaultMode", at, issue);
	if (r < 0)
		return r;
	r = for_each(projected, "sources", at, check_source, &p, issue);
	map_deinit(&p.paths);
	return r;
}

static int check_volume(const json_t *volume, const struct json_at *at, void *userdata, struct json_issue *issue)
{
	const json_t *projected = NULL;
	int r;

	r = check_unique_name(volume, at, userdata, issue);
	if (r < 0)
		return r;
	r = check_types(volume, "name", at, issue);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(SOURCE_TYPES); i++) {
		const json_t *source = NULL;

		if (!SOURCE_TYPES[i].in_volume[0])
			continue;
		r = json_get_object(volume, SOURCE_TYPES[i].field, at, &source, issue);
		if (r == 0 && source)
			r = check_plain_volume(source, &SOURCE_TYPES[i], &JSON_AT(at, SOURCE_TYPES[i].field), issue);
	}
	if (r < 0)
		return r;
	r = json_get_object(volume, "projected", at, &projected, issue);
	if (r < 0 || !projected)
		return r;
	return check_projected_volume(projected, &JSON_AT(at, "projected"), issue);
}

int validate_volumes(const json_t *spec, const struct json_at *at, struct map *names, struct json_issue *issue)
{
	return for_each(spec, "volumes", at, check_volume, names, issue);
}
