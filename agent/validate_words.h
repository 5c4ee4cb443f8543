/* Validate words: the API server's sentences, and how an object is walked, for the files that validate. For nobody else. */
#pragma once

#include "common/json.h"
#include "common/map.h"
#include "common/str.h"

#define SHOWN "%.64s" /* so much of a foreign name is shown */
#define LABEL_RULE                                                                                                     \
	"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "              \
	"start and end with an alphanumeric character (at most 63)"
#define SUBDOMAIN_RULE                                                                                                 \
	"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "          \
	"must start and end with an alphanumeric character (at most 253)"
#define QUALIFIED_RULE                                                                                                 \
	"a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "   \
	"alphanumeric character (at most 63), behind an optional DNS subdomain and '/'"
#define VALUE_RULE                                                                                                     \
	"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "      \
	"start and end with an alphanumeric character (at most 63)"

static inline int required(struct json_issue *issue, const struct json_at *at)
{
	return json_issue_set(issue, at, "Required value");
}

static inline int no_memory(struct json_issue *issue, const struct json_at *at)
{
	json_issue_set(issue, at, "out of memory");
	return -ENOMEM;
}

static inline int invalid(struct json_issue *issue, const struct json_at *at, const char *value, const char *rule)
{
	return json_issue_set(issue, at, "Invalid value: \"" SHOWN "\": %s", value, rule);
}

/* jansson has no const iteration; nothing is changed. */
static inline json_t *for_iteration(const json_t *obj)
{
	return (json_t *)(uintptr_t)obj;
}

/* A string that must be there and not empty. */
static inline int get_filled(const json_t *obj, const char *key, const struct json_at *at, const char **ret,
			     struct json_issue *issue)
{
	const char *s = NULL;
	int r;

	r = json_get_str(obj, key, at, &s, issue);
	if (r < 0)
		return r;
	if (str_empty(s))
		return required(issue, &JSON_AT(at, key));
	*ret = s;
	return 0;
}

static inline int expect_object(const json_t *value, const struct json_at *at, struct json_issue *issue)
{
	return json_is_object(value) ? 0 : json_issue_set(issue, at, "must be an object");
}

/* known ends with NULL */
static inline bool is_known(const char *const known[], const char *key)
{
	while (*known && !str_eq(*known, key))
		known++;
	return *known;
}

static inline int refuse_unknown(const json_t *obj, const struct json_at *at, const char *const known[],
				 struct json_issue *issue)
{
	const char *key;
	json_t *value;

	json_object_foreach (for_iteration(obj), key, value)
		if (!is_known(known, key))
			return json_issue_set(issue, &JSON_AT(at, key), "unknown field");
	return 0;
}

/* Calls fn for each element of an array that may be absent. */
typedef int (*each_fn)(const json_t *element, const struct json_at *at, void *userdata, struct json_issue *issue);

static inline int for_each(const json_t *obj, const char *key, const struct json_at *up, each_fn fn, void *userdata,
			   struct json_issue *issue)
{
	const struct json_at list_at = JSON_AT(up, key);
	const json_t *array = NULL;
	int r;

	r = json_get_array(obj, key, up, &array, issue);
	for (size_t i = 0; r == 0 && i < json_array_size(array); i++) {
		const struct json_at at = JSON_AT_INDEX(&list_at, i);
		const json_t *element = json_array_get(array, i);

		r = expect_object(element, &at, issue);
		if (r == 0)
			r = fn(element, &at, userdata, issue);
	}
	return r;
}

/* Names that were seen, to find one twice; keys are borrowed from the document. */
static inline int remember(struct map *names, const char *name, const struct json_at *at, struct json_issue *issue)
{
	static char present;
	int r = map_add_str(names, name, &present);

	if (r == -EEXIST)
		return json_issue_set(issue, at, "Duplicate value: \"" SHOWN "\"", name);
	return r < 0 ? no_memory(issue, at) : 0;
}

/* A path below something. */
static inline int check_descending(const char *path, const struct json_at *at, struct json_issue *issue)
{
	if (*path == '/')
		return invalid(issue, at, path, "must be a relative path");
	if (str_has_dotdot(path))
		return invalid(issue, at, path, "must not contain '..'");
	return 0;
}

/* The name of an object in a list, a label that no other one has. */
static inline int check_unique_name(const json_t *obj, const struct json_at *up, struct map *names,
				    struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "name");
	const char *name = NULL;
	int r;

	r = get_filled(obj, "name", up, &name, issue);
	if (r < 0)
		return r;
	if (!str_is_dns_label(name))
		return invalid(issue, &at, name, LABEL_RULE);
	return remember(names, name, &at, issue);
}
