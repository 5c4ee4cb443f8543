/* Hook mount: puts what we serve into a container that is being created, by file descriptors: neither a link in the
 * image nor an answer of the daemon can lead a mount elsewhere. */
#pragma once

#include "common/err.h"

/* A container's namespaces, seen from the runtime's. */
struct hook_target {
	int proc; /* /proc of the runtime's namespace */
	int mnt; /* mount namespace */
	int user; /* user namespace; -1: it is ours */
};
#define HOOK_TARGET_INIT ((struct hook_target){ .proc = -1, .mnt = -1, .user = -1 })

/* -EINVAL: it has no mount namespace of its own. */
int hook_target_open(pid_t pid, struct hook_target *ret, struct err *e);
void hook_target_deinit(struct hook_target *t);
#define cleanup_hook_target cleanup(hook_target_deinit)

/* A detached mount of what is at `path`, read-only, nosuid, nodev, noexec and private, with the ids of the container's
 * user namespace. -EXDEV: it is nothing that secretlet serves. */
int hook_source_open(const struct hook_target *t, const char *path, int *ret_mount, struct err *e);
/* That secretlet serves what is there, a folder or a file. */
int hook_source_check(const char *path, bool *ret_is_dir, struct err *e);

/* From here on this process is in the container's mount namespace. */
int hook_target_enter(const struct hook_target *t, struct err *e);
/* Attaches the mount at `destination` in the root filesystem; makes the mount point if there is none. */
int hook_target_place(const struct hook_target *t, int root, int mount, const char *destination, struct err *e);
/* Ends what hook_target_place() has attached. */
void hook_target_take_back(const struct hook_target *t, int mount);

/* What is at `path`, as it leads there in a container with this root. Negative errno. */
int hook_point_open(int root, const char *path);
/* -ENOTDIR, -EINVAL: it is no folder where the volume has one, and so on. */
int hook_point_check_type(mode_t mode, bool is_dir, struct err *e);
