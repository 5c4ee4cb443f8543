/* Mounts: what a container runtime needs for one container's volumeMounts of secret volumes, as the OCI runtime
 * specification's `mounts`. */
#pragma once

#include "agent/pod.h"
#include "common/json.h"

/* [{"destination", "type": "bind", "source", "options"}], in the order of volumeMounts. -ENOENT: no such container (e
 * names the ones that there are); -EINVAL: subPath with "..", or subPathExpr, which needs the container's environment. */
int mounts_make(const struct pod *pod, const char *container, const char *pods_dir, json_t **ret_mounts, struct err *e);
