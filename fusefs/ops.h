/* Ops: the table of FUSE operations, for session.c. */
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "common/base.h"

struct arena_slot;
struct publish;
struct tree;

/* What is known of a request that an earlier process may have carried out already, in part or whole. */
struct ops_replay {
	pid_t publisher; /* of the earlier process */
	/* the lookup count that it was about to change last, and how many FORGETs of a batch it had done; 0: none */
	uint64_t count_id, count_after, n_forgotten;
};

/* libfuse's userdata. */
struct ops {
	struct tree *tree;
	struct publish *publish;
	struct arena_slot *slot;
	const struct ops_replay *replay; /* NULL: the request under way comes for the first time */
	uint64_t *n_refused; /* counts changes that were refused */
	bool hide_xattrs;
};

extern const struct fuse_lowlevel_ops OPS_TABLE;
