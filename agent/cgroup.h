/* Cgroup: which container and which pod a process is in, from the path of its cgroup. The paths are conventions of the
 * runtimes and of the kubelet, not promises: what is not recognised is left empty, never guessed. */
#pragma once

#include "common/base.h"

#define CGROUP_POD_MAX	     37 /* a UUID, or the 32 hexadecimal digits of a static pod */
#define CGROUP_CONTAINER_MAX 128

struct cgroup_id {
	char pod[CGROUP_POD_MAX]; /* the UID, with dashes; "": none */
	char container[CGROUP_CONTAINER_MAX]; /* as its runtime calls it; "": none */
	const char *runtime; /* "containerd", "cri-o", ...; NULL: the path does not tell */
};

/* The innermost container and pod of one path. */
void cgroup_identify(const char *path, struct cgroup_id *ret_id);
/* The same from the text of /proc/PID/cgroup, which is cut into lines in place: of several hierarchies the one that says
 * most. Returns its path (in `text`), or NULL if there is none. */
const char *cgroup_parse(char *text, struct cgroup_id *ret_id);
/* How much of a path is the cgroup of the container itself, whose id that is; of the innermost unit, where there is no container.
 * What is behind it is of its own making. */
size_t cgroup_own_len(const char *path, const struct cgroup_id *id);
