/* Views: what a volume of a pod is to contain, from the pod and the store; or in the kubelet's words why it cannot be
 * made. No state of its own. */
#pragma once

#include "agent/pod.h"
#include "agent/store.h"
#include "fusefs/payload.h"

struct view {
	struct payload *payload; /* sealed; owned */
	char *resource_version; /* of the objects, with commas between; "" for one that is absent, and for the pod; owned */
	size_t n_files;
	uint64_t n_bytes;
};

/* entries: what is known of volume->sources, one for each; NULL for what the pod says of itself. -EAGAIN: of one nothing is known yet; -ENOENT: a Secret or a
 * key is missing and not optional; -EINVAL: it cannot be shown as files, or what the pod asks of it is not known; -ENOMEM. One bad source fails all.
 * allocatable: the node's; NULL: not known. */
int view_make(const struct pod *pod, const struct pod_volume *volume, const struct store_entry *const *entries,
	      const struct pairs *allocatable, struct view *ret_view, struct err *e);
void view_deinit(struct view *v);
/* What view_make() would say of the volume's paths whatever its objects are: those of its items and of the mount points in it.
 * -EINVAL, -E2BIG: so it cannot be made; -ENOMEM. */
int view_check_paths(const struct pod *pod, const struct pod_volume *volume, struct err *e);
/* "secret/db", "pod/web": what a source is called in extended attributes. NULL: out of memory. */
char *view_object(const struct pod *pod, const struct pod_volume_source *source);

/* The folders below `volume`'s mount path at which the pod's other mounts need a mount point, as the kubelet's
 * getNestedMountpoints() finds them. fn is called with each path, relative to the volume; for mounts of the volume that
 * are at one place in a container, however it is spelt, once. -EINVAL: a mount path leads out
 * of the container's root. */
int view_nested_mounts(const struct pod *pod, const char *volume, int (*fn)(void *userdata, const char *path),
		       void *userdata, struct err *e);
/* How much that is, at most: mounts of the volume and mounts below them. Less, if there is no memory. */
size_t view_nested_cost(const struct pod *pod, const char *volume);
