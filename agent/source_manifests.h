/* A folder of Pod and Secret manifests as a source: for nodes without a cluster and for trying secretlet out. It plays
 * the API server's part, so it validates and defaults what the API server validates and defaults.
 *
 * Read are *.yaml, *.yml and *.json directly in the folder, but no hidden files; folders in it are not descended into.
 * Links are followed: a mounted ConfigMap is such a folder, and the switch of its `..data` is one change. A link that leads
 * to nothing keeps what it gave until it is removed. A file is read when
 * its writer closes it or when it is renamed into place; what it gave before is then replaced as a whole. A file that is
 * no YAML keeps all that it gave, an object that is refused keeps its last good version; both are logged once and counted
 * (source_health). A changed Pod is a new revision of the same pod: its uid depends on namespace and name, unless the
 * manifest has one.
 *
 * Sealed values are opened with the private keys of a file, which is read again when it is written or replaced and on
 * source_reread(): what could not be opened before is opened then. A file that is wrong is said and counted, and the keys
 * that were read before stay.
 *
 * When the folder is removed or replaced, everything that was read stays, and its path is tried again every few seconds;
 * whether that works without privileges depends on the folder's mode. */
#pragma once

#include "agent/files.h"
#include "agent/source.h"
#include "common/loop.h"

struct source_manifests_options {
	const char *dir; /* path */
	int take_inotify; /* an inotify instance, non-blocking and without a watch; 0, or a file: it makes one of its own */
	const char *key_file; /* private keys for sealed values; NULL: there are none */
	bool resumes; /* an earlier process has served: a wrong key file is no reason not to start */
	const char *node_name; /* pods with another spec.nodeName are not ours; without one they are */
};

/* Called with all privileges: resolves and opens the folder, watches it, and puts it on the list of `files`. e says what
 * is wrong with it. sink must live as long as the source; options is not kept. take_inotify is closed in every case. */
int source_manifests_new(struct loop *l, struct files *files, const struct source_manifests_options *options,
			 const struct source_sink *sink, void *userdata, struct source **ret_s, struct err *e);
