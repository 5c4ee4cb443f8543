/* Validate meta: names, and the strings by names (labels, annotations), whose keys have one rule and whose values have another. */
#include "agent/validate_meta.h"

#include "agent/validate_words.h"
#include "common/str.h"

#define ANNOTATION_BYTES_MAX ((size_t)256 << 10) /* keys and values */

/* In Kubernetes' words the key is what is invalid; the value is at hand for the labels' rule. */
typedef int (*check_string_fn)(const char *key, const json_t *value, const struct json_at *at,
			       struct json_issue *issue);

static int check_strings(const json_t *obj, const char *key, const struct json_at *up, check_string_fn check,
			 size_t *ret_bytes, struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, key);
	const json_t *strings = NULL;
	size_t n_bytes = 0;
	const char *name;
	json_t *value;
	int r;

	r = json_get_object(obj, key, up, &strings, issue);
	if (r < 0)
		return r;
	json_object_foreach (for_iteration(strings), name, value) {
		if (!json_is_string(value) && !json_is_null(value))
			return json_issue_set(issue, &JSON_AT(&at, name), "must be a string (put it in quotes)");
		r = check(name, value, &JSON_AT(&at, name), issue);
		if (r < 0)
			return r;
		n_bytes += strlen(name) + json_string_length(value);
	}
	*ret_bytes = n_bytes;
	return 0;
}

int validate_label(const char *key, const json_t *value, const struct json_at *at, struct json_issue *issue)
{
	const char *text = json_string_value(value);

	if (!str_is_qualified_name(key))
		return invalid(issue, at, key, QUALIFIED_RULE);
	if (str_empty(text))
		return 0;
	if (strlen(text) != json_string_length(value) || !str_is_label_name(text))
		return invalid(issue, at, text, VALUE_RULE);
	return 0;
}

/* The prefix may be in capitals: it is an annotation of long ago. The value may be anything. */
int validate_annotation(const char *key, const json_t *value, const struct json_at *at, struct json_issue *issue)
{
	cleanup_free char *lower = strdup(key);

	if (!lower)
		return no_memory(issue, at);
	for (char *c = lower; *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c;
	return str_is_qualified_name(lower) ? 0 : invalid(issue, at, key, QUALIFIED_RULE);
}

static int check_labels(const json_t *meta, const struct json_at *up, struct json_issue *issue)
{
	size_t n_bytes = 0;
	int r;

	r = check_strings(meta, "labels", up, validate_label, &n_bytes, issue);
	if (r < 0)
		return r;
	r = check_strings(meta, "annotations", up, validate_annotation, &n_bytes, issue);
	if (r < 0)
		return r;
	if (n_bytes > ANNOTATION_BYTES_MAX)
		return json_issue_set(issue, &JSON_AT(up, "annotations"), "Too long: must have at most %zu bytes",
				      ANNOTATION_BYTES_MAX);
	return 0;
}

static int default_namespace(json_t *meta, const struct json_at *at, struct json_issue *issue)
{
	const struct json_at here = JSON_AT(at, "namespace");
	const char *ns = NULL;
	int r;

	r = json_get_str(meta, "namespace", at, &ns, issue);
	if (r < 0)
		return r;
	if (str_empty(ns))
		return json_object_set_new(meta, "namespace", json_string("default")) < 0 ? no_memory(issue, &here) : 0;
	return str_is_dns_label(ns) ? 0 : invalid(issue, &here, ns, LABEL_RULE);
}

int validate_meta(json_t *obj, json_t **ret_meta, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, at = JSON_AT(&root, "metadata");
	json_t *meta = json_object_get(obj, "metadata");
	const char *name = NULL;
	int r;

	if (!meta || json_is_null(meta))
		return required(issue, &JSON_AT(&at, "name"));
	r = expect_object(meta, &at, issue);
	if (r < 0)
		return r;
	r = get_filled(meta, "name", &at, &name, issue);
	if (r < 0)
		return r;
	if (!str_is_dns_subdomain(name))
		return invalid(issue, &JSON_AT(&at, "name"), name, SUBDOMAIN_RULE);
	r = default_namespace(meta, &at, issue);
	if (r < 0)
		return r;
	r = check_labels(meta, &at, issue);
	if (r < 0)
		return r;
	*ret_meta = meta;
	return 0;
}
