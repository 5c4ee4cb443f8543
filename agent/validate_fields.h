/* Validate fields: the part of validate.h that is about fields that do not exist. */
#pragma once

#include "agent/validate.h"

/* Refuses a field that differs from one of the object's in upper and lower case alone. at: the object's path. */
int validate_spelling(const json_t *obj, enum validate_kind kind, const struct json_at *at, struct json_issue *issue);
