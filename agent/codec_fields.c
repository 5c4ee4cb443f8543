/* Codec fields: each reads one field that concerns us, refuses what has another shape, and copies what is kept. What a name may be is
 * decided here for all of them (RULE_*), because names become paths. */
#include "agent/codec_fields.h"

#include "agent/codec.h"
#include "common/str.h"

enum { UID_MAX = 253 };

int field_copy(const char *s, const struct json_at *at, char **ret, struct json_issue *issue)
{
	char *copy = s ? strdup(s) : NULL;

	if (s && !copy)
		return no_memory(issue, at);
	free(*ret);
	*ret = copy;
	return 0;
}

int field_str(const json_t *obj, const char *key, const struct json_at *at, char **ret, struct json_issue *issue)
{
	const char *s = NULL;
	int r;

	r = json_get_str(obj, key, at, &s, issue);
	return r < 0 ? r : field_copy(s, at, ret, issue);
}

int field_str_filled(const json_t *obj, const char *key, const struct json_at *at, char **ret, struct json_issue *issue)
{
	const struct json_at here = JSON_AT(at, key);
	const char *s = NULL;
	int r;

	r = json_get_str_required(obj, key, at, &s, issue);
	if (r < 0)
		return r;
	if (!*s)
		return json_issue_set(issue, &here, "must not be empty");
	return field_copy(s, at, ret, issue);
}

bool codec_is_uid(const char *s)
{
	return *s && strlen(s) <= UID_MAX &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == strlen(s);
}

const struct name_rule RULE_LABEL = { str_is_dns_label, "is not a DNS-1123 label" };
const struct name_rule RULE_SUBDOMAIN = { str_is_dns_subdomain, "is not a DNS-1123 subdomain" };
static const struct name_rule RULE_UID = { codec_is_uid, "is not a UID: letters, digits and '-'" };

int field_name(const json_t *obj, const char *key, const struct json_at *at, const struct name_rule *rule, char **ret,
	       struct json_issue *issue)
{
	const struct json_at here = JSON_AT(at, key);
	int r;

	r = field_str_filled(obj, key, at, ret, issue);
	if (r < 0)
		return r;
	if (!rule->ok(*ret))
		return json_issue_set(issue, &here, "%s", rule->problem);
	return 0;
}

int field_list(const json_t *obj, const char *key, const struct json_at *at, int max, const json_t **ret_array,
	       size_t *ret_n, struct json_issue *issue)
{
	const struct json_at here = JSON_AT(at, key);
	const json_t *array = NULL;
	int r;

	r = json_get_array(obj, key, at, &array, issue);
	if (r < 0)
		return r;
	if (json_array_size(array) > (size_t)max)
		return json_issue_set(issue, &here, "more than %d elements", max);
	*ret_array = array;
	*ret_n = json_array_size(array);
	return 0;
}

int field_meta(const json_t *obj, const struct meta *m, bool uid_required, const json_t **ret_meta,
	       struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, at = JSON_AT(&root, "metadata");
	const json_t *meta = NULL;
	int r;

	r = expect_object(obj, &root, issue);
	if (r < 0)
		return r;
	r = json_get_object(obj, "metadata", &root, &meta, issue);
	if (r < 0)
		return r;
	if (!meta)
		return json_issue_set(issue, &at, "is missing");
	r = field_name(meta, "namespace", &at, &RULE_LABEL, m->ns, issue);
	if (r < 0)
		return r;
	r = field_name(meta, "name", &at, &RULE_SUBDOMAIN, m->name, issue);
	if (r < 0)
		return r;
	r = uid_required ? field_name(meta, "uid", &at, &RULE_UID, m->uid, issue)
			 : field_str(meta, "uid", &at, m->uid, issue);
	if (r < 0)
		return r;
	r = field_str(meta, "resourceVersion", &at, m->resource_version, issue);
	if (r < 0)
		return r;
	*ret_meta = meta;
	return 0;
}

static int compare_labels(const void *a, const void *b)
{
	return strcmp(((const struct label *)a)->key, ((const struct label *)b)->key);
}

char *field_text(const json_t *value)
{
	if (json_is_integer(value))
		return str_format("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	if (json_is_real(value))
		return str_format("%.17g", json_real_value(value));
	return strdup(json_is_string(value) ? json_string_value(value) : "");
}

int field_pairs(struct pairs *p, const json_t *obj, const char *key, bool numbers, const struct json_at *up,
		struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, key);
	const json_t *pairs = NULL;
	const char *name;
	json_t *value;
	int r;

	r = json_get_object(obj, key, up, &pairs, issue);
	if (r < 0 || json_object_size(pairs) == 0)
		return r;
	if (json_object_size(pairs) > LIST_MAX)
		return json_issue_set(issue, &at, "more than %d %s", LIST_MAX, key);
	p->all = calloc(json_object_size(pairs), sizeof(*p->all));
	if (!p->all)
		return no_memory(issue, &at);
	json_object_foreach (for_iteration(pairs), name, value) {
		struct label *l = &p->all[p->n++];

		if (!json_is_string(value) && !json_is_null(value) && !(numbers && json_is_number(value)))
			return json_issue_set(issue, &at, "values must be strings");
		l->key = strdup(name);
		l->value = field_text(value);
		if (!l->key || !l->value)
			return no_memory(issue, &at);
	}
	qsort(p->all, p->n, sizeof(*p->all), compare_labels);
	return 0;
}

int field_unique_name(struct map *names, const char *name, void *owner, const struct json_at *up,
		      struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "name");
	int r = map_add_str(names, name, owner);

	if (r == -EEXIST)
		return json_issue_set(issue, &at, "Duplicate value: \"%s\"", name);
	return r < 0 ? no_memory(issue, &at) : 0;
}
