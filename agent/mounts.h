/* Mounts: what a container runtime needs for one container's volumeMounts of secret volumes, as the OCI runtime
 * specification's `mounts`. */
#pragma once

#include "agent/environment.h"
#include "agent/pod.h"
#include "common/json.h"

/* -ENOENT: no such container; e names the ones that there are. */
int mounts_find_container(const struct pod *pod, const char *name, const struct pod_container **ret_c, struct err *e);
/* Some mount of it has a subPathExpr: its environment is needed. */
bool mounts_need_environment(const struct pod *pod, const struct pod_container *c);
/* [{"destination", "type": "bind", "source", "options"}], in the order of volumeMounts. env: may be NULL if it is not
 * needed. -EINVAL: subPath with "..", or a subPathExpr that cannot be expanded. */
int mounts_make(const struct pod *pod, const struct pod_container *c, const char *pods_dir,
		const struct environment *env, json_t **ret_mounts, struct err *e);
