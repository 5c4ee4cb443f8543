/* Xattr: what a volume says of itself by extended attributes: user.secretlet.resourceVersion, .uid, .updated, .error. All
 * of it is in memory. */
#pragma once

#include "fusefs/publish.h"
#include "fusefs/tree.h"

/* The value, without a NUL, and its length; valid until the next call of either. -ENODATA: the node has no such attribute
 * (now). -EOPNOTSUPP: nothing here has attributes of that kind (ACLs, capabilities), which callers need not ask for again.
 * -ERANGE: longer than an attribute may be. */
int xattr_get(struct tree *t, const struct publish *p, struct node *n, const char *name, const char **ret_value,
	      size_t *ret_len);
/* The names of those that the node has, each with its NUL. */
const char *xattr_list(struct tree *t, const struct publish *p, struct node *n, size_t *ret_len);
