/* Codec volumes: the volumes of a pod, of each kind that we serve, and their sources. Each kind of source is a line of SOURCE_TYPES,
 * whether it is a volume by itself or a part of a projected one. What is wrong with one volume spoils that volume, and no other. */
#include "agent/codec_volumes.h"

#include "agent/codec_fields.h"
#include "agent/downward.h"
#include "agent/token.h"
#include "common/str.h"

enum { MODE_MAX = 0777 };

static int read_mode(const json_t *obj, const char *key, const struct json_at *at, bool *ret_has, mode_t *ret_mode,
		     struct json_issue *issue)
{
	const struct json_at here = JSON_AT(at, key);
	int64_t mode = -1;
	int r;

	if (!json_object_get(obj, key) || json_is_null(json_object_get(obj, key)))
		return 0;
	r = json_get_int(obj, key, at, INT64_MIN, INT64_MAX, &mode, issue);
	if (r < 0)
		return r;
	if (mode < 0 || mode > MODE_MAX)
		return json_issue_set(issue, &here, "must be a number between 0 and 0777 (octal), both inclusive");
	*ret_has = true;
	*ret_mode = (mode_t)mode;
	return 0;
}

static int read_item(struct pod_item *item, const json_t *obj, const struct json_at *at, struct json_issue *issue)
{
	int r;

	r = expect_object(obj, at, issue);
	if (r < 0)
		return r;
	r = field_str_filled(obj, "key", at, &item->key, issue);
	if (r < 0)
		return r;
	r = field_str_filled(obj, "path", at, &item->path, issue);
	if (r < 0)
		return r;
	return read_mode(obj, "mode", at, &item->has_mode, &item->mode, issue);
}

typedef int (*read_item_fn)(struct pod_item *item, const json_t *obj, const struct json_at *at,
			    struct json_issue *issue);

static int read_items(struct pod_volume_source *s, const json_t *source, const struct json_at *up,
		      struct json_issue *issue, read_item_fn read)
{
	const struct json_at list_at = JSON_AT(up, "items");
	const json_t *array = NULL;
	size_t n = 0;
	int r;

	r = field_list(source, "items", up, LIST_MAX, &array, &n, issue);
	if (r < 0 || n == 0)
		return r;
	s->items = calloc(n, sizeof(*s->items));
	if (!s->items)
		return no_memory(issue, &list_at);
	s->n_items = n;
	for (size_t i = 0; i < n; i++) {
		const struct json_at at = JSON_AT_INDEX(&list_at, i);

		r = read(&s->items[i], json_array_get(array, i), &at, issue);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_object_source(struct pod_volume_source *s, const json_t *obj, const char *name_key,
			      const struct json_at *at, struct json_issue *issue)
{
	int r;

	r = field_name(obj, name_key, at, &RULE_SUBDOMAIN, &s->name, issue);
	if (r < 0)
		return r;
	r = json_get_bool(obj, "optional", at, &s->optional, issue);
	if (r < 0)
		return r;
	return read_items(s, obj, at, issue, read_item);
}

static int read_field_ref(struct pod_item *item, const json_t *obj, const struct json_at *up, struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "fieldRef"), path_at = JSON_AT(&at, "fieldPath");
	enum downward_field field;
	const json_t *ref = NULL;
	const char *key;
	size_t len;
	int r;

	r = json_get_object(obj, "fieldRef", up, &ref, issue);
	if (r < 0)
		return r;
	r = field_str_filled(ref, "fieldPath", &at, &item->key, issue);
	if (r < 0)
		return r;
	if (downward_field_parse(item->key, &field, &key, &len) < 0)
		return json_issue_set(issue, &path_at, "unsupported fieldPath");
	return 0;
}

static int read_resource_ref(struct pod_item *item, const json_t *obj, const struct json_at *up,
			     struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "resourceFieldRef"), resource_at = JSON_AT(&at, "resource");
	const json_t *ref = NULL, *divisor;
	int r;

	r = json_get_object(obj, "resourceFieldRef", up, &ref, issue);
	if (r < 0)
		return r;
	if (!ref)
		return json_issue_set(issue, up, "one of fieldRef and resourceFieldRef is required");
	r = field_str_filled(ref, "containerName", &at, &item->container, issue);
	if (r < 0)
		return r;
	r = field_str_filled(ref, "resource", &at, &item->key, issue);
	if (r < 0)
		return r;
	if (!downward_resource_is_known(item->key))
		return json_issue_set(issue, &resource_at, "unsupported container resource");
	divisor = json_object_get(ref, "divisor");
	if (!json_is_number(divisor))
		return field_str(ref, "divisor", &at, &item->divisor, issue);
	item->divisor = field_text(divisor);
	return item->divisor ? 0 : no_memory(issue, &at);
}

static int read_downward_item(struct pod_item *item, const json_t *obj, const struct json_at *at,
			      struct json_issue *issue)
{
	int r;

	r = expect_object(obj, at, issue);
	if (r < 0)
		return r;
	r = field_str_filled(obj, "path", at, &item->path, issue);
	if (r < 0)
		return r;
	r = field_is_set(obj, "fieldRef") ? read_field_ref(item, obj, at, issue)
					  : read_resource_ref(item, obj, at, issue);
	if (r < 0)
		return r;
	return read_mode(obj, "mode", at, &item->has_mode, &item->mode, issue);
}

static int read_token_source(struct pod_volume_source *s, const json_t *obj, const char *name_key,
			     const struct json_at *at, struct json_issue *issue)
{
	int r;

	s->items = calloc(1, sizeof(*s->items));
	if (!s->items)
		return no_memory(issue, at);
	s->n_items = 1;
	s->items[0].key = strdup(TOKEN_KEY);
	if (!s->items[0].key)
		return no_memory(issue, at);
	r = field_str_filled(obj, "path", at, &s->items[0].path, issue);
	if (r < 0)
		return r;
	r = field_str(obj, "audience", at, &s->audience, issue);
	if (r < 0)
		return r;
	if (s->audience && strlen(s->audience) > TOKEN_AUDIENCE_MAX)
		return json_issue_set(issue, &JSON_AT(at, "audience"), "more than %d bytes", TOKEN_AUDIENCE_MAX);
	s->expiration_sec = TOKEN_EXPIRATION_SEC;
	return json_get_int(obj, "expirationSeconds", at, 1, INT64_C(1) << 32, &s->expiration_sec, issue);
}

static int read_downward_source(struct pod_volume_source *s, const json_t *obj, const char *name_key,
				const struct json_at *at, struct json_issue *issue)
{
	return read_items(s, obj, at, issue, read_downward_item);
}

/* 0644 is the API server's default. */
static int begin_sources(struct pod_volume *v, enum pod_volume_kind kind, const json_t *obj, size_t n,
			 const struct json_at *at, struct json_issue *issue)
{
	bool has_mode = false;

	v->kind = kind;
	v->sources = calloc(n + 1, sizeof(*v->sources));
	if (!v->sources)
		return no_memory(issue, at);
	v->n_sources = n;
	v->default_mode = 0644;
	return read_mode(obj, "defaultMode", at, &has_mode, &v->default_mode, issue);
}

/* Each can be a source of a projected volume, and most a volume by itself. */
static const struct source_type {
	const char *field;
	const char *volume_name; /* what names the object in a volume; in a source it is `name` */
	enum pod_volume_kind volume;
	enum pod_source_kind source;
	int (*read)(struct pod_volume_source *s, const json_t *obj, const char *name_key, const struct json_at *at,
		    struct json_issue *issue);
} SOURCE_TYPES[] = {
	{ "secret", "secretName", POD_VOLUME_SECRET, POD_SOURCE_SECRET, read_object_source },
	{ "configMap", "name", POD_VOLUME_CONFIG_MAP, POD_SOURCE_CONFIG_MAP, read_object_source },
	{ "downwardAPI", NULL, POD_VOLUME_DOWNWARD_API, POD_SOURCE_DOWNWARD_API, read_downward_source },
	{ "serviceAccountToken", NULL, POD_VOLUME_OTHER, POD_SOURCE_TOKEN, read_token_source },
};

/* NULL: it is none of these. */
static const struct source_type *type_of(const json_t *obj)
{
	for (size_t i = 0; i < ARRAY_SIZE(SOURCE_TYPES); i++)
		if (field_is_set(obj, SOURCE_TYPES[i].field))
			return &SOURCE_TYPES[i];
	return NULL;
}

/* Half of such a volume would be worth nothing. */
static int refuse_source(const json_t *source, const struct json_at *at, struct json_issue *issue)
{
	static const char *const known[] = { "clusterTrustBundle", "podCertificate" };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (field_is_set(source, known[i]))
			return json_issue_set(issue, &JSON_AT(at, known[i]), "secretlet does not serve such sources");
	return json_issue_set(issue, at, "it is no source that secretlet serves");
}

static int read_projected_source(struct pod_volume_source *s, const json_t *obj, const struct json_at *at,
				 struct json_issue *issue)
{
	const struct source_type *type;
	const json_t *source = NULL;
	int r;

	r = expect_object(obj, at, issue);
	if (r < 0)
		return r;
	type = type_of(obj);
	if (!type)
		return refuse_source(obj, at, issue);
	r = json_get_object(obj, type->field, at, &source, issue);
	s->kind = type->source;
	return r < 0 ? r : type->read(s, source, "name", &JSON_AT(at, type->field), issue);
}

/* As the API server has it (core validation, validateProjectionSources): what is named must have a path of its own. */
static int refuse_overlap(const struct pod_volume *v, const struct json_at *list_at, struct json_issue *issue)
{
	struct map paths = MAP_INIT;
	int r = 0;

	for (size_t i = 0; r == 0 && i < v->n_sources; i++) {
		const struct pod_volume_source *s = &v->sources[i];

		for (size_t j = 0; r == 0 && j < s->n_items && s->kind != POD_SOURCE_TOKEN; j++) {
			r = map_add_str(&paths, s->items[j].path, &s->items[j]);
			if (r == -EEXIST)
				r = json_issue_set(issue, &JSON_AT_INDEX(list_at, i), "conflicting duplicate paths: %s",
						   s->items[j].path);
			else if (r < 0)
				r = no_memory(issue, list_at);
		}
	}
	map_deinit(&paths);
	return r;
}

static int read_projected_volume(struct pod_volume *v, const json_t *obj, const struct json_at *up,
				 struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "projected"), list_at = JSON_AT(&at, "sources");
	const json_t *projected = NULL, *array = NULL;
	size_t n = 0;
	int r;

	r = json_get_object(obj, "projected", up, &projected, issue);
	if (r < 0 || !projected)
		return r;
	r = field_list(projected, "sources", &at, POD_LIST_MAX, &array, &n, issue);
	if (r < 0)
		return r;
	r = begin_sources(v, POD_VOLUME_PROJECTED, projected, n, &at, issue);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = read_projected_source(&v->sources[i], json_array_get(array, i), &JSON_AT_INDEX(&list_at, i), issue);
	return r < 0 ? r : refuse_overlap(v, &list_at, issue);
}

static int read_volume(struct pod_volume *v, const json_t *obj, const struct json_at *up, struct json_issue *issue)
{
	const struct source_type *type;
	const json_t *volume = NULL;
	int r;

	v->kind = POD_VOLUME_OTHER;
	r = expect_object(obj, up, issue);
	if (r < 0)
		return r;
	r = field_name(obj, "name", up, &RULE_LABEL, &v->name, issue);
	if (r < 0)
		return r;
	type = type_of(obj);
	if (!type || type->volume == POD_VOLUME_OTHER)
		return read_projected_volume(v, obj, up, issue);
	r = json_get_object(obj, type->field, up, &volume, issue);
	if (r < 0)
		return r;
	r = begin_sources(v, type->volume, volume, 1, &JSON_AT(up, type->field), issue);
	if (r < 0)
		return r;
	v->sources[0].kind = type->source;
	return type->read(&v->sources[0], volume, type->volume_name, &JSON_AT(up, type->field), issue);
}

/* It is shown under its own name, if no other volume has that, and is of the kind that it would have been. */
static int spoil_volume(struct pod_volume *v, const json_t *obj, size_t place, const struct map *names,
			const struct json_issue *why)
{
	cleanup_free char *error = str_format("%s: %s", why->path, why->reason);
	const struct source_type *type = type_of(obj);
	if (!v->name || !str_is_dns_label(v->name) || map_get_str(names, v->name) != v) {
		free(v->name);
		v->name = str_format("volumes[%zu]", place);
	}
	if (!error || !v->name)
		return -ENOMEM;
	if (type && type->volume != POD_VOLUME_OTHER)
		v->kind = type->volume;
	else
		v->kind = field_is_set(obj, "projected") ? POD_VOLUME_PROJECTED : POD_VOLUME_OTHER;
	return v->kind == POD_VOLUME_OTHER ? 0 : pod_volume_spoil(v, error);
}

/* What is wrong with one volume takes the others from no pod. */
static int read_volume_list(struct pod *p, const json_t *array, const struct json_at *list_at, struct map *names,
			    struct json_issue *issue)
{
	for (size_t i = 0; i < p->n_volumes; i++) {
		const struct json_at at = JSON_AT_INDEX(list_at, i);
		const json_t *obj = json_array_get(array, i);
		struct pod_volume *v = &p->volumes[i];
		struct json_issue own = { .reason = "" };
		int r, r_name = 0;

		r = read_volume(v, obj, &at, &own);
		if (v->name && str_is_dns_label(v->name))
			r_name = field_unique_name(names, v->name, v, &at, &own);
		r = r_name < 0 ? r_name : r;
		if (r < 0 && r != -ENOMEM)
			r = spoil_volume(v, obj, i, names, &own);
		if (r < 0)
			return no_memory(issue, &at);
	}
	return 0;
}

int codec_volumes(struct pod *p, const json_t *spec, const struct json_at *up, struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "volumes");
	struct map names = MAP_INIT;
	const json_t *array = NULL;
	size_t n = 0;
	int r;

	r = field_list(spec, "volumes", up, POD_LIST_MAX, &array, &n, issue);
	if (r < 0 || n == 0)
		return r;
	p->volumes = calloc(n, sizeof(*p->volumes));
	if (!p->volumes)
		return no_memory(issue, &at);
	p->n_volumes = n;
	r = read_volume_list(p, array, &at, &names, issue);
	map_deinit(&names);
	if (r < 0)
		return r;
	if (pod_count_objects(p) < 0)
		return no_memory(issue, &at);
	if (p->n_objects > POD_OBJECTS_MAX)
		return json_issue_set(issue, &at, "more than %d different Secrets, ConfigMaps and tokens",
				      POD_OBJECTS_MAX);
	return 0;
}
