/* Fsconn: the connection to the kernel as the keeper holds it, and with it all that must outlive an agent: /dev/fuse, the
 * private mount and the state arena. The service manager keeps copies of the first and the last (sd_notify(3), FDSTORE), so
 * that a restart of the keeper itself is no end either. Nothing here waits for an agent. */
#pragma once

#include <time.h>

#include "agent/notify.h"
#include "common/err.h"
#include "fusefs/arena.h"
#include "fusefs/mount.h"

struct fsconn {
	struct mount_fds mount; /* -1: there is no connection */
	int arena;
	struct arena_connection *shared; /* the head of the arena; NULL: there is no connection */
	void *heap; /* mapped to be locked; NULL: it is not */
	/* 0: the part of it with values really is, as was read back; else why not. -EOPNOTSUPP: it was only pretended */
	int lock_error;
	bool undumped; /* read back as well */
	uint64_t heap_size, n_locked_blocks;
	struct timespec locked_change; /* of the arena, that fsconn_lock() has seen */
};
#define FSCONN_INIT ((struct fsconn){ .mount = { .fuse = -1, .private = -1 }, .arena = -1 })

static inline bool fsconn_is_open(const struct fsconn *c)
{
	return c->shared != NULL;
}

/* Whether its arena is as large as one for heap_bytes is made. */
bool fsconn_has_heap_of(const struct fsconn *c, uint64_t heap_bytes);
/* Mounts on pods_dir, with a new arena whose heap has (at least) heap_bytes. */
int fsconn_create(const char *pods_dir, uint64_t heap_bytes, struct fsconn *ret_c, struct err *e);
/* Takes over the connection of an earlier keeper, whose mount must still be on pods_dir. The fds are taken in every case. If
 * it cannot be taken over, its mount goes, too: nobody will serve it. */
int fsconn_adopt(const char *pods_dir, int take_fuse, int take_arena, struct fsconn *ret_c, struct err *e);
/* Gives copies to the service manager, if there is one; an fd that it has is not stored twice. */
void fsconn_store(const struct fsconn *c, struct notify *n);
/* Ends the connection: unmounts, and takes it out of the service manager's store. With `abort` whoever waits for an answer
 * gets an error at once; without, when the last fd is closed. */
void fsconn_end(struct fsconn *c, const char *pods_dir, bool abort, struct notify *n);
/* Lets go of it and leaves it to the service manager. */
void fsconn_release(struct fsconn *c);
/* Locks what of the arena is in memory: between two agents nobody else does. Cheap when nothing has changed. */
void fsconn_lock(struct fsconn *c);

/* Names in the service manager's store. */
#define FSCONN_FD_FUSE	"secretlet-fuse"
#define FSCONN_FD_ARENA "secretlet-arena"
