/* Validate meta: what validate.h does, for the metadata of any object. */
#pragma once

#include "common/json.h"

/* The object's metadata, with its default namespace filled in; *ret_meta is in obj. */
int validate_meta(json_t *obj, json_t **ret_meta, struct json_issue *issue);
/* A label, or an annotation, whose value may be anything. at: what is said to be wrong. value: NULL: it is the key alone. */
int validate_label(const char *key, const json_t *value, const struct json_at *at, struct json_issue *issue);
int validate_annotation(const char *key, const json_t *value, const struct json_at *at, struct json_issue *issue);
