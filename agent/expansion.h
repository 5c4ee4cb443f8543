/* Expansion: $(NAME) in a text becomes the variable's value, as Kubernetes has it in env, command and args
 * (third_party/forked/golang/expansion): "$$" is "$", a reference that is not closed or to no variable stays as it is,
 * and what a value brings along is not expanded again. */
#pragma once

#include "common/buf.h"

enum { EXPANSION_UNDEFINED = 1 };
/* Appends the value of the variable with this name, which has no NUL behind it. 0; EXPANSION_UNDEFINED: there is none; a
 * negative return ends it and is passed on. */
typedef int (*expansion_fn)(void *userdata, const char *name, size_t len, struct buf *out);

/* Appends the expanded text. -ENOMEM, -ENOBUFS. */
int expansion_expand(const char *text, expansion_fn fn, void *userdata, struct buf *out);
