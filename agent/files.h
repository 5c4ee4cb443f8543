/* Files: opening credential and manifest files, and watching their folders, for a process that may not. The keeper does it on
 * request, from a list that is fixed before the agent reads its first byte from the network; in tests it is done directly. */
#pragma once

#include "common/err.h"
#include "common/loop.h"

struct files;

/* fd is owned by the callee when r == 0; otherwise r is why not (-EACCES: not on the list). */
typedef void (*files_open_fn)(void *userdata, int fd, int r);
/* wd: the watch's descriptor, or why there is none (-EACCES: not on the list). */
typedef void (*files_watch_fn)(void *userdata, int wd);

struct files_vtable {
	int (*allow_file)(struct files *f, const char *path);
	int (*allow_dir)(struct files *f, const char *path);
	int (*allow_watch)(struct files *f, const char *folder, uint32_t mask);
	int (*open)(struct files *f, const char *path, files_open_fn fn, void *userdata);
	int (*watch)(struct files *f, int inotify_fd, const char *folder, files_watch_fn fn, void *userdata);
	void (*cancel)(struct files *f, void *userdata);
	void (*free)(struct files *f);
};
struct files {
	const struct files_vtable *vtable;
};

/* Puts a path on the list (absolute; a dir: itself, and every file directly or deeper beneath it). Only before the list is
 * fixed: afterwards -EPERM. */
static inline int files_allow_file(struct files *f, const char *path)
{
	return f->vtable->allow_file(f, path);
}
static inline int files_allow_dir(struct files *f, const char *path)
{
	return f->vtable->allow_dir(f, path);
}
/* Puts a folder on the list of those that may be watched, with inotify(7)'s mask; with several of them if it is put there as
 * often. That it may be opened it does not say. */
static inline int files_allow_watch(struct files *f, const char *folder, uint32_t mask)
{
	return f->vtable->allow_watch(f, folder, mask);
}
/* Opens for reading (O_RDONLY|O_CLOEXEC|O_NOCTTY|O_NONBLOCK). fn is called once, later, from the loop. */
static inline int files_open(struct files *f, const char *path, files_open_fn fn, void *userdata)
{
	return f->vtable->open(f, path, fn, userdata);
}
/* Adds a watch of the folder, with the list's mask, to an inotify instance (borrowed). fn is called once, later, from the loop;
 * events may be read before that. */
static inline int files_watch(struct files *f, int inotify_fd, const char *folder, files_watch_fn fn, void *userdata)
{
	return f->vtable->watch(f, inotify_fd, folder, fn, userdata);
}
/* Requests with this userdata will not be answered any more. */
static inline void files_cancel(struct files *f, void *userdata)
{
	f->vtable->cancel(f, userdata);
}
static inline void files_free(struct files *f)
{
	if (f)
		f->vtable->free(f);
}

/* Whether path is a file that a dir on the list allows: beneath it by name, without leading out of it again. Links in it
 * are the operator's own choice. */
bool files_is_beneath(const char *path, const char *dir);

/* Opens by itself, without a list; for tests and for commands without a daemon. */
int files_direct_new(struct loop *l, struct files **ret_f);
