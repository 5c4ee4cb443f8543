/* YAML out of JSON, by libyaml's emitter: for people and for tools that read YAML rather than JSON. Only ASCII comes out,
 * so that no terminal can be steered. */
#pragma once

#include "common/json.h"

/* Called with a piece of the text; 0, or -1 to stop. */
typedef int (*yaml_emit_write)(const char *data, size_t len, void *userdata);

/* One document that reads back as the same JSON, by the rules of YAML 1.1 and of 1.2. marked: it begins with a line
 * "---", as one of several. -ENOMEM; -EIO: write stopped it. */
int yaml_emit(const json_t *root, bool marked, yaml_emit_write write, void *userdata);
