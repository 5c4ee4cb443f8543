/* Pull config: Secrets of the types kubernetes.io/dockerconfigjson and kubernetes.io/dockercfg -> one docker configuration
 * file, for podman, crictl and the like. Where several name the same registry the first one wins: its credentials are those
 * that the kubelet tries first. */
#pragma once

#include "agent/secret.h"
#include "common/json.h"

/* Adds what it has to `auths`, the object of that name. -EINVAL: it is of another type, or its data is malformed; then
 * nothing was added. The text names what is wrong, never what is there. -ENOMEM. */
int pull_config_add(json_t *auths, const struct secret *s, struct err *e);
