/* Ops: the table of FUSE operations, for session.c. */
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "common/base.h"

struct publish;
struct tree;

/* libfuse's userdata. */
struct ops {
	struct tree *tree;
	struct publish *publish;
	uint64_t *n_refused; /* counts changes that were refused */
};

extern const struct fuse_lowlevel_ops OPS_TABLE;
