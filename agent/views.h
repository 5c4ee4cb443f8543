/* Views: what a pod's secret volume is to contain, from the pod and the store; or in the kubelet's words why it cannot
 * be made. No state of its own. */
#pragma once

#include "agent/pod.h"
#include "agent/store.h"
#include "fusefs/payload.h"

#define VIEW_PLUGIN_SECRET "kubernetes.io~secret"

struct view {
	struct payload *payload; /* sealed; owned */
	const char *resource_version; /* of the Secret; "" when it is optional and absent. Borrowed from the store */
	size_t n_files;
	uint64_t n_bytes;
};

/* -EAGAIN: not known yet; -ENOENT: the Secret or a key is missing and not optional; -EINVAL: it cannot be shown as
 * files; -ENOMEM. */
int view_make(const struct pod *pod, const struct pod_volume *volume, const struct store_entry *entry,
	      struct view *ret_view, struct err *e);

/* The folders below `volume`'s mount path at which the pod's other mounts need a mount point, as the kubelet's
 * getNestedMountpoints() finds them. fn is called with each path, relative to the volume. -EINVAL: a mount path leads out
 * of the container's root. */
int view_nested_mounts(const struct pod *pod, const char *volume, int (*fn)(void *userdata, const char *path),
		       void *userdata, struct err *e);
