/* Urlpath: the path of a request as its decoded parts; and values of a query. */
#pragma once

#include "common/base.h"

#define URLPATH_MAX	  ((size_t)1024)
#define URLPATH_PARTS_MAX 7

struct urlpath {
	char text[URLPATH_MAX + 1];
	const char *parts[URLPATH_PARTS_MAX]; /* in text */
	size_t n_parts;
};

/* Splits an encoded path at its slashes and decodes each part then, so that "%2F" never separates. -ENOENT: it does not
 * begin with a slash, has empty, too many or too long parts; -EINVAL: it is not percent-encoded, or has a NUL. */
int urlpath_parse(const char *path, struct urlpath *ret_path);
/* A query's value, in which '+' stands for a space. -EINVAL: it is not percent-encoded, or has a NUL; -ENOMEM. */
int urlpath_decode_value(const char *text, char **ret_value);
/* Percent-encoded, for a path's part or a query's value. NULL: out of memory. */
char *urlpath_encode(const char *text);
