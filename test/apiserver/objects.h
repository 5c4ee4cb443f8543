/* The test API server's objects and their history: what etcd and the watch cache are to the real one. Not thread-safe.
 * Out of memory ends the process: this is a test tool. */
#pragma once

#include <jansson.h>

#include "common/base.h"

struct kind {
	const char *name; /* "Secret" */
	const char *resource; /* "secrets" */
	const char *fields; /* fields that a selector may name beside metadata's: "\0"-ended words, then "" */
	const char *bookmark; /* JSON of an empty object, for bookmarks */
};
/* NULL: there is no such kind. */
const struct kind *kind_by_name(const char *name);
const struct kind *kind_by_resource(const char *resource);

#define SELECTOR_TERMS_MAX 8
struct object_selector {
	char *ns; /* NULL: all */
	size_t n_terms;
	struct selector_term {
		char *field, *value;
		bool negate;
	} terms[SELECTOR_TERMS_MAX];
};
/* text: a fieldSelector, decoded; NULL or "" selects everything. ns may be NULL. Returns NULL, or a 400 Status. On
 * failure sel is empty. */
json_t *object_selector_parse(struct object_selector *sel, const struct kind *kind, const char *ns, const char *text);
void selector_deinit(struct object_selector *sel);
#define cleanup_selector cleanup(selector_deinit)
bool selector_match(const struct object_selector *sel, const json_t *obj);
/* The value that an exact term demands of field ("metadata.name"); NULL if none does. */
const char *selector_exact(const struct object_selector *sel, const char *field);

/* One entry of the history. after is NULL for a deletion; before is NULL for a creation. */
struct change {
	uint64_t rv;
	const struct kind *kind;
	json_t *before, *after;
};

struct objects;
struct objects *objects_new(void);
void objects_free(struct objects *o);
uint64_t objects_rv(const struct objects *o);
/* The newest revision that the history no longer tells how to go on from; a watch or an exact list needs >= it. */
uint64_t objects_compacted(const struct objects *o);
void objects_compact(struct objects *o);

/* Objects are stored without kind and apiVersion, as lists show them. Borrowed until the next change; NULL: none. */
json_t *objects_get(const struct objects *o, const struct kind *kind, const char *ns, const char *name);
/* Creates or replaces; sets uid, creationTimestamp (kept from the old one) and resourceVersion. Borrowed until the
 * next change. */
const struct change *objects_put(struct objects *o, const struct kind *kind, json_t *take_obj);
/* NULL: there was none. */
const struct change *objects_delete(struct objects *o, const struct kind *kind, const char *ns, const char *name);
/* Fresh array of what sel selected at revision rv (compacted <= rv <= current), ordered by namespace and name. */
json_t *objects_list(const struct objects *o, const struct kind *kind, const struct object_selector *sel, uint64_t rv);
/* The first change after revision rv; NULL: none. Borrowed until the next change. */
const struct change *objects_after(const struct objects *o, uint64_t rv);

/* "NS/NAME" of an object. Caller frees. */
char *object_key(const json_t *obj);
const char *object_meta(const json_t *obj, const char *key);
/* Fresh object with kind and apiVersion in front; rv > 0 replaces its resourceVersion. */
json_t *object_full(const struct kind *kind, json_t *obj, uint64_t rv);
