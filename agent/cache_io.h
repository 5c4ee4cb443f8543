/* Cache io: the process that reads and writes the offline cache's folder. A disk may take as long as it likes, and the
 * agent has readers to answer: so each call on the folder is an order to a child that was forked before there was any
 * secret, has no privileges, and is given nothing but ciphertext. */
#pragma once

#include "agent/cache_dir.h"
#include "agent/sandbox.h"
#include "common/loop.h"

struct cache_io;

/* 0 or what went wrong (also CACHE_DIR_UNSURE), with its sentence; data is the answer's, borrowed for the call. */
typedef void (*cache_io_fn)(void *userdata, int r, const void *data, size_t len, const char *error);

/* Forks; while the process has privileges, one thread and nothing to hide. The child makes the folder (cache_dir_make())
 * and waits for its lock; what goes wrong with that is the answer to each order. user NULL: it stays who it is (for
 * tests). */
int cache_io_start(const char *path, const struct sandbox_user *user, struct cache_io **ret_io, struct err *e);
/* What the child does, in a process that was started for it: its socket is fd 3 (KEEPER_FD_LINK). */
_Noreturn void cache_io_run(const char *path, const struct sandbox_user *user);
/* From now on it can be asked. ended (may be NULL): it has ended, by itself or because it was killed; another can be had. Called
 * before the order that was under way is answered. */
int cache_io_attach(struct cache_io *io, struct loop *l, void (*ended)(void *userdata), void *userdata);
/* Another process in its place, by our end of its socket. It takes over fd, also when it fails. */
int cache_io_replace(struct cache_io *io, int take_fd);
void cache_io_free(struct cache_io *io);
DEFINE_CLEANUP(struct cache_io *, cache_io_free);

/* One order at a time (-EBUSY); -EPIPE: the process has ended; -ENOMEM. fn is called once, later, from the loop. The
 * answer to cache_io_list() is an array of struct cache_file. */
int cache_io_list(struct cache_io *io, cache_io_fn fn, void *userdata);
int cache_io_read(struct cache_io *io, const char *name, cache_io_fn fn, void *userdata);
int cache_io_write(struct cache_io *io, const char *name, const void *data, size_t len, bool commit, cache_io_fn fn,
		   void *userdata);
int cache_io_remove(struct cache_io *io, const char *name, cache_io_fn fn, void *userdata);

/* How long the order that is under way takes already; 0: none is. */
uint64_t cache_io_busy_usec(const struct cache_io *io);
/* NULL: it can be asked. */
const char *cache_io_ended(const struct cache_io *io);
