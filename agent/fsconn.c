/* Fsconn: order matters where a death in between must not strand anybody. The arena names the mount's device before both
 * go to the store, so that a later keeper can tell its mount from somebody else's on the same path. */
#include "agent/fsconn.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "common/log.h"
#include "common/secmem.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

static void fsconn_close(struct fsconn *c)
{
	if (c->heap)
		munmap(c->heap, ARENA_HEAD_SIZE + c->heap_size);
	arena_unmap(c->shared);
	close_fd(c->mount.fuse);
	close_fd(c->mount.private);
	close_fd(c->arena);
	*c = FSCONN_INIT;
}

static int fsconn_map(struct fsconn *c, struct err *e)
{
	struct secmem_look look;
	void *values;
	int r;

	r = arena_map(c->arena, &c->shared, &c->heap_size, e);
	if (r < 0)
		return r;
	c->heap = mmap(NULL, ARENA_HEAD_SIZE + c->heap_size, PROT_READ, MAP_SHARED, c->arena, 0);
	if (c->heap == MAP_FAILED) {
		c->heap = NULL;
		return err_set(e, -errno, "state arena: %m");
	}
	madvise(c->heap, ARENA_HEAD_SIZE + c->heap_size, MADV_DONTDUMP);
	madvise(c->heap, ARENA_HEAD_SIZE + c->heap_size, MADV_DONTFORK);
	/* there is no value in the head; and so it takes the limit that the agent takes */
	values = (char *)c->heap + ARENA_HEAD_SIZE;
	c->lock_error = mlock2(values, c->heap_size, MLOCK_ONFAULT) < 0 ? -errno : 0;
	look = secmem_look(values, c->heap_size);
	if (c->lock_error == 0 && !look.locked)
		c->lock_error = -EOPNOTSUPP;
	c->undumped = look.undumped;
	return 0;
}

/* Whole pages. */
static uint64_t heap_size_of(uint64_t bytes)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

bool fsconn_has_heap_of(const struct fsconn *c, uint64_t heap_bytes)
{
	return c->heap_size == heap_size_of(heap_bytes);
}

int fsconn_create(const char *pods_dir, uint64_t heap_bytes, struct fsconn *ret_c, struct err *e)
{
	struct fsconn c = FSCONN_INIT;
	int r;

	r = arena_create(heap_size_of(heap_bytes), &c.arena, e);
	r = r ?: fsconn_map(&c, e);
	if (r == 0) {
		r = mount_create(pods_dir, &c.mount, e);
		r = r ?: mount_device(pods_dir, &c.shared->device, e);
		if (r < 0 && c.mount.fuse >= 0)
			(void)mount_clear(pods_dir, false, NULL);
	}
	if (r < 0) {
		fsconn_close(&c);
		return r;
	}
	*ret_c = c;
	return 0;
}

/* A connection that cannot be taken over: the service manager's copy of /dev/fuse would keep the mount, and whoever waits for
 * an answer from it, until it is closed. Never the mount of another connection. */
static int fsconn_abort(const struct fsconn *c, const char *pods_dir, int reason, struct err *e)
{
	uint64_t device, found;

	if (arena_device(c->arena, &device) < 0 || mount_device(pods_dir, &found, NULL) < 0 || found != device ||
	    mount_clear(pods_dir, true, NULL) < 0)
		return reason;
	return err_set(e, reason, "%s: unmounted, running containers get errors and must be restarted", err_text(e));
}

int fsconn_adopt(const char *pods_dir, int take_fuse, int take_arena, struct fsconn *ret_c, struct err *e)
{
	struct fsconn c = FSCONN_INIT;
	int r;

	c.mount.fuse = take_fuse;
	c.arena = take_arena;
	r = fsconn_map(&c, e);
	r = r ?: mount_adopt(pods_dir, c.shared->device, &c.mount.private, e);
	if (r < 0) {
		r = fsconn_abort(&c, pods_dir, r, e);
		fsconn_close(&c);
		return r;
	}
	*ret_c = c;
	return 0;
}

void fsconn_store(const struct fsconn *c, struct notify *n)
{
	/* an arena alone is nothing, but a connection alone keeps a mount alive that nobody can serve */
	notify_fd_store(n, FSCONN_FD_ARENA, c->arena);
	notify_fd_store(n, FSCONN_FD_FUSE, c->mount.fuse);
}

void fsconn_end(struct fsconn *c, const char *pods_dir, bool abort, struct notify *n)
{
	struct err e = ERR_INIT;

	if (!fsconn_is_open(c))
		return;
	notify_fd_remove(n, FSCONN_FD_FUSE);
	notify_fd_remove(n, FSCONN_FD_ARENA);
	if (mount_clear(pods_dir, abort, &e) < 0)
		log_error(NULL, "%s", err_text(&e));
	fsconn_close(c);
}

void fsconn_release(struct fsconn *c)
{
	fsconn_close(c);
}

void fsconn_lock(struct fsconn *c)
{
	off_t end = (off_t)(ARENA_HEAD_SIZE + c->heap_size), from, to;
	struct stat st;

	/* what comes adds blocks; what goes, so that as many may have come, is a change */
	if (!c->heap || fstat(c->arena, &st) < 0 ||
	    ((uint64_t)st.st_blocks == c->n_locked_blocks && st.st_ctim.tv_sec == c->locked_change.tv_sec &&
	     st.st_ctim.tv_nsec == c->locked_change.tv_nsec))
		return;
	for (from = 0; from < end; from = to) {
		from = lseek(c->arena, from, SEEK_DATA);
		to = from < 0 ? -1 : lseek(c->arena, from, SEEK_HOLE);
		if (to < 0)
			break;
		madvise((char *)c->heap + from, (size_t)(to - from), MADV_POPULATE_READ);
	}
	c->n_locked_blocks = (uint64_t)st.st_blocks;
	c->locked_change = st.st_ctim;
}
