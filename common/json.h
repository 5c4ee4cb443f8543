/* JSON: jansson set up to wipe what it frees and to reject duplicate keys, and typed getters that name the path of
 * what is wrong. */
#pragma once

#include <jansson.h>

#include "common/base.h"
#include "common/err.h"

#define JSON_PATH_MAX	192
#define JSON_MEMORY_MAX ((size_t)256 << 20) /* of one document; "[],[],[]" takes forty times its length */

/* Where in a document something is wrong: "spec.volumes[2].secret.secretName" and why. */
struct json_issue {
	char path[JSON_PATH_MAX];
	char reason[256];
};

/* A string for people from anywhere: bytes that are no UTF-8, which JSON cannot have, become U+FFFD. NULL: out of
 * memory. */
json_t *json_text(const char *s);
/* Any value in one line of printable ASCII, everything else escaped: names in it do nothing to the terminal of who reads it.
 * NULL: out of memory. */
char *json_dump_printable(const json_t *json);

/* A position in a document while it is walked; lives on the walker's stack. */
struct json_at {
	const struct json_at *parent; /* NULL: the document itself */
	const char *key; /* NULL: an array element */
	size_t index;
};
#define JSON_ROOT	     ((const struct json_at){ .parent = NULL })
#define JSON_AT(up, k)	     ((const struct json_at){ .parent = (up), .key = (k) })
#define JSON_AT_INDEX(up, i) ((const struct json_at){ .parent = (up), .key = NULL, .index = (i) })

/* Once per process, before the first JSON. */
void json_setup(void);
/* At most 2048 levels (jansson's own limit), duplicate keys refused, NUL in strings allowed. Secrets may be in it: e
 * gets position and reason, never the text near it. -EINVAL: not such a document; -EFBIG: it would take more than
 * JSON_MEMORY_MAX; -ENOMEM. */
int json_parse(const char *text, size_t len, json_t **ret_doc, struct err *e);
/* The same; `taken`: what is kept for it elsewhere, so many bytes less may it take. */
int json_parse_beside(const char *text, size_t len, size_t taken, json_t **ret_doc, struct err *e);
#define cleanup_json cleanup(json_decrefp) /* json_decrefp() is jansson's own */

/* Fills issue (may be NULL) with the path of `at` (the root is called "document"; keys that are no plain field names
 * stand in brackets: data[tls.crt]) and the reason; returns -EINVAL. */
int json_issue_set(struct json_issue *issue, const struct json_at *at, const char *fmt, ...) attr_printf(3, 4);

/* Getters. `null` counts as absent, as Go's decoder has it. Absent: 0 and *ret is untouched, unless the name ends in
 * _required. Wrong type, or NUL in a string: -EINVAL and the issue names obj's path + key. Strings are borrowed from
 * the document. */
int json_get_str(const json_t *obj, const char *key, const struct json_at *at, const char **ret,
		 struct json_issue *issue);
int json_get_str_required(const json_t *obj, const char *key, const struct json_at *at, const char **ret,
			  struct json_issue *issue);
int json_get_bool(const json_t *obj, const char *key, const struct json_at *at, bool *ret, struct json_issue *issue);
int json_get_int(const json_t *obj, const char *key, const struct json_at *at, int64_t min, int64_t max, int64_t *ret,
		 struct json_issue *issue);
int json_get_object(const json_t *obj, const char *key, const struct json_at *at, const json_t **ret,
		    struct json_issue *issue);
int json_get_array(const json_t *obj, const char *key, const struct json_at *at, const json_t **ret,
		   struct json_issue *issue);
