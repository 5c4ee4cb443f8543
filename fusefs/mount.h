/* Mount: the FUSE superblock mounted twice, for the keeper. The public mount on the pods dir is read-only and nothing
 * else (with nosuid, nodev or noexec locked on, runc cannot start a container in a user namespace); the private one is
 * detached and writable, and only the publisher's fd reaches it. None of these calls sends a FUSE request, so they do
 * not wait for the agent, except where it is said. */
#pragma once

#include "common/err.h"

#define MOUNT_FSTYPE "fuse.secretlet"

enum mount_state {
	MOUNT_NONE, /* nothing is mounted there */
	MOUNT_DEAD, /* one of ours whose daemon is gone */
	MOUNT_ALIVE, /* one of ours that is being served (or hangs) */
	MOUNT_FOREIGN, /* another file system */
};

/* What is mounted on exactly this (absolute, resolved) path, from /proc/self/mountinfo; whether one of ours is alive
 * is for probe.h to find out. ret_fstype (at least 64 bytes) may be NULL. */
int mount_probe(const char *pods_dir, enum mount_state *ret_state, char *ret_fstype, size_t fstype_size, struct err *e);
/* umount2(MNT_DETACH) of everything of ours on this path. With `abort` the connection ends at once, whoever still has its
 * fd: whatever waits for an answer gets an error. */
int mount_clear(const char *pods_dir, bool abort, struct err *e);

struct mount_fds {
	int fuse; /* /dev/fuse, unread */
	int private; /* the detached writable mount */
};
/* fsopen, fsmount(read-only), move_mount onto pods_dir, then open_tree(CLONE) of it made writable: in this order
 * because Linux before 6.15 cannot clone a mount that is not attached anywhere. */
int mount_create(const char *pods_dir, struct mount_fds *ret_fds, struct err *e);
/* The device number (st_dev) of what is mounted on pods_dir; -ENOENT: nothing of ours. */
int mount_device(const char *pods_dir, uint64_t *ret_device, struct err *e);
/* Whoever has CAP_SYS_ADMIN outside of user namespaces and reaches any mount of the file system can make all of it read-only, the
 * private mount too. Takes that back. 0; MOUNT_WRITABLE: nothing had to be done. It asks the agent, and may wait for whoever
 * holds the file system: in a child process only. */
enum { MOUNT_WRITABLE = 1 };
int mount_make_writable(int private);
/* The private mount of a mount that is there already and has this device number. -ENOENT: it is not there. */
int mount_adopt(const char *pods_dir, uint64_t device, int *ret_private, struct err *e);
