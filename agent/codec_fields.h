/* Codec fields: what the codec's files read the fields of an object with, beside json_get_*(). `at` is the path of the object that the
 * field is in. 0, -EINVAL or -ENOMEM: issue says where and why. For nobody else. */
#pragma once

#include "agent/secret.h"
#include "common/json.h"
#include "common/map.h"

enum {
	LIST_MAX = 10000, /* labels, items of one volume */
	POD_LIST_MAX =
		1000, /* volumes, sources, containers, mounts of one container: each of these is looked for among others */
};

static inline int no_memory(struct json_issue *issue, const struct json_at *at)
{
	json_issue_set(issue, at, "out of memory");
	return -ENOMEM;
}

/* jansson iterates over non-const objects only; nothing is changed. */
static inline json_t *for_iteration(const json_t *obj)
{
	return (json_t *)(uintptr_t)obj;
}

static inline int expect_object(const json_t *value, const struct json_at *at, struct json_issue *issue)
{
	return json_is_object(value) ? 0 : json_issue_set(issue, at, "must be an object");
}

/* It is there, and is not null. */
static inline bool field_is_set(const json_t *obj, const char *field)
{
	const json_t *value = json_object_get(obj, field);

	return value && !json_is_null(value);
}

/* *ret becomes a copy of s, which may be NULL; what it was is freed. */
int field_copy(const char *s, const struct json_at *at, char **ret, struct json_issue *issue);
/* A string; *ret stays NULL when it is absent. */
int field_str(const json_t *obj, const char *key, const struct json_at *at, char **ret, struct json_issue *issue);
/* A string that must be there and not empty. */
int field_str_filled(const json_t *obj, const char *key, const struct json_at *at, char **ret,
		     struct json_issue *issue);

struct name_rule {
	bool (*ok)(const char *name);
	const char *problem;
};
extern const struct name_rule RULE_LABEL, RULE_SUBDOMAIN;
/* The same for which the rule holds. */
int field_name(const json_t *obj, const char *key, const struct json_at *at, const struct name_rule *rule, char **ret,
	       struct json_issue *issue);
/* Refuses a name that is in names already; else it is there from now on, as its owner's. at: that of the owner. */
int field_unique_name(struct map *names, const char *name, void *owner, const struct json_at *at,
		      struct json_issue *issue);

/* The array under key and its length; 0 when it is absent. */
int field_list(const json_t *obj, const char *key, const struct json_at *at, int max, const json_t **ret_array,
	       size_t *ret_n, struct json_issue *issue);
/* Strings by their names, in the order of these; numbers: they may be written as numbers. */
int field_pairs(struct pairs *p, const json_t *obj, const char *key, bool numbers, const struct json_at *at,
		struct json_issue *issue);
/* The text of a string, or of a quantity, which may be written as a number. NULL: no memory. */
char *field_text(const json_t *value);

/* Where each goes to. */
struct meta {
	char **ns, **name, **uid, **resource_version;
};
/* An object's metadata, whose rest is *ret_meta's. */
int field_meta(const json_t *obj, const struct meta *m, bool uid_required, const json_t **ret_meta,
	       struct json_issue *issue);
