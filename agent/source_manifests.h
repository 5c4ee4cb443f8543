/* A folder of Pod and Secret manifests as a source: for nodes without a cluster and for trying secretlet out. It plays
 * the API server's part, so it validates and defaults what the API server validates and defaults. */
#pragma once

#include "agent/files.h"
#include "agent/source.h"
#include "common/loop.h"

struct source_manifests_options {
	const char *dir;       /* path */
	const char *node_name; /* pods with another spec.nodeName are not ours; without one they are */
};

int source_manifests_new(struct loop *l, struct files *files, const struct source_manifests_options *options,
			 const struct source_sink *sink, void *userdata, struct source **ret_s, struct err *e);
