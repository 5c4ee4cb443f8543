/* Look: what tests want to know of files and folders, in one call each. They fail the running cmocka test. */
#pragma once

#include "common/base.h"

/* Whole file; *ret_len may be NULL. Fresh, NUL-terminated. Fails if it cannot be read. */
char *look_read(const char *path, size_t *ret_len);
/* The file has exactly these bytes. */
void look_is_text(const char *path, const char *text);
void look_is_bytes(const char *path, const void *want, size_t want_len);
/* Permission bits (07777) of what the path leads to; of the path itself. */
mode_t look_mode(const char *path);
mode_t look_lmode(const char *path);
gid_t look_gid(const char *path);
uint64_t look_ino(const char *path);
/* A link's target; valid until the second call after it. */
const char *look_link(const char *path);
bool look_exists(const char *path);
/* Names in a folder, sorted, each followed by a space; "." and ".." and names that start with `skip` left out. Fresh. */
char *look_list(const char *path, const char *skip);
