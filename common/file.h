/* Files: bounded reads, atomic writes. */
#pragma once

#include "common/base.h"
#include "common/err.h"

/* Whole regular file (or pipe) into fresh NUL-terminated memory (the NUL is not counted). -EFBIG: more than `max`
 * bytes; other negative errno from open/read. e names the path. */
int file_read(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len, struct err *e);
/* The same from an open fd, from its current offset; `name` is for the message only. */
int file_read_fd(int fd, const char *name, size_t max, char **ret_data, size_t *ret_len, struct err *e);
/* Writes path through a temporary file in the same folder and rename(2). */
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e);
/* mkdir -p, mode (whatever the umask is) for each new folder; folders that exist are left as they are. -ENOTDIR when one is something else. */
int file_mkdirs(const char *path, mode_t mode, struct err *e);
/* dir + "/" + name, or a copy of name if it is absolute. NULL: out of memory. */
char *file_join(const char *dir, const char *name);
/* Everything up to the last slash ("." if there is none). NULL: out of memory. */
char *file_dirname(const char *path);
/* write(2) until all is written. */
int file_write_all(int fd, const void *data, size_t len);
