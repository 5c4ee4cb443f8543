/* YAML scalars: what a plain one is, and its value. Part of yaml.h; for those who read single scalars. */
#pragma once

#include "agent/yaml.h"

enum yaml_number { YAML_NUMBER_NONE, YAML_NUMBER_INTEGER, YAML_NUMBER_REAL };

/* YAML_NULL, YAML_BOOL, YAML_INT, YAML_FLOAT or YAML_STRING. */
enum yaml_kind yaml_scalar_kind(const char *s, size_t len);
/* Of a YAML_BOOL. */
bool yaml_scalar_is_true(const char *s, size_t len);
/* Of a YAML_INT or YAML_FLOAT, as JSON has it: sets one of the two. NONE: not finite. */
enum yaml_number yaml_scalar_number(const char *s, size_t len, int64_t *ret_integer, double *ret_real);
