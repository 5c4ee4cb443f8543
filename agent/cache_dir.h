/* Cache dir: the folder of the offline cache, as files of bytes. Knows nothing of what is in them, but where a file's
 * generation stands. All of it blocks; the agent has a process of its own for that (cache_io.h). */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"

#define CACHE_INDEX_NAME       "index"
#define CACHE_TEMPORARY_PREFIX "tmp-"
#define CACHE_TEMPORARY                                                                                                \
	CACHE_TEMPORARY_PREFIX "new" /* what is being written; one at a time, for the folder is locked */
#define CACHE_NAME_LEN 32 /* of a record's file: hexadecimal digits, drawn by lot */
#define CACHE_NAME_MAX 48 /* with NUL, of any file of ours */
#define CACHE_FILE_MAX ((size_t)16 << 20)

/* A file begins with these, then its generation (little-endian). */
#define CACHE_MAGIC	"slcache1"
#define CACHE_MAGIC_LEN ((size_t)8)

struct cache_file {
	char name[CACHE_NAME_MAX];
	uint64_t generation; /* as it says itself, which proves nothing; 0: it says none */
};

/* Makes the folder if it is not there and gives it to the user, with mode 0700. One that is somebody else's, or that has
 * other things in it, is refused. */
int cache_dir_make(const char *path, uid_t uid, gid_t gid, int *ret_fd, struct err *e);
/* Opens an existing one for reading, without following a link at its end. */
int cache_dir_open(const char *path, int *ret_fd, struct err *e);
/* For a single writer. -EBUSY: another process has it (only with wait == false). */
int cache_dir_lock(int dirfd, bool wait, struct err *e);
/* Whether this may be the name of a record. */
bool cache_name_is_record(const char *name);
/* Files of ours, the index and what an interrupted write has left included. *ret_files is the caller's to free. */
int cache_dir_list(int dirfd, struct cache_file **ret_files, size_t *ret_n, struct err *e);
/* The same from another process, as bytes that it has sent. -EBADMSG: it is no list of files of ours. */
int cache_files_take(const void *data, size_t len, struct cache_file **ret_files, size_t *ret_n);
/* -ENOENT: no such file; -EFBIG. */
int cache_dir_read(int dirfd, const char *name, struct buf *out, struct err *e);
/* Replaces it as a whole. With `commit` whatever was written before, and then this, is on the disk for good when it
 * returns; without, only the file's bytes are. CACHE_DIR_UNSURE, with a sentence in e: it has been replaced, but the last
 * flush failed, and the old one may come back with the next boot. */
enum { CACHE_DIR_UNSURE = 1 };
int cache_dir_write(int dirfd, const char *name, const void *data, size_t len, bool commit, struct err *e);
/* It is no error that there is none. */
int cache_dir_remove(int dirfd, const char *name, struct err *e);
