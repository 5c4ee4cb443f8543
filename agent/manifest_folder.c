/* Manifest folder. Where it is deleted, or another one is renamed over it while it is empty, its own watch tells nothing as
 * long as we have an fd of it; the folder above tells that the name has gone, or come, and then the link count tells.
 * Where that one is moved away, ours goes with it. Of those further up nothing is told. */
#include "agent/manifest_folder.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/str.h"

#define RETRY_USEC (2 * USEC_PER_SEC)
/* EXCL_UNLINK: what becomes of a file that has lost its name is told by it, and that may be another one's by then */
#define WATCH_MASK                                                                                                     \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF |        \
	 IN_ONLYDIR | IN_EXCL_UNLINK)
#define END_MASK   (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)
#define ABOVE_MASK (IN_DELETE | IN_MOVED_TO | IN_MOVE_SELF | IN_ONLYDIR | IN_MASK_ADD) /* ADD: / is above itself */

void manifest_folder_fail(struct manifest_folder *f, const struct err *e, bool retry)
{
	if (manifest_set_fail(f->set, f->path, err_text(e)) < 0)
		log_error(NULL, "%s", err_text(e));
	if (retry)
		loop_timer_set(f->retry_timer, RETRY_USEC);
}

/* Until it is there again. */
static void wait_for_folder(struct manifest_folder *f, int why)
{
	struct err e = ERR_INIT;

	if (why == -ENOENT)
		err_set(&e, why, "%s: the manifests folder is gone; what was read from it stays", f->path);
	else
		err_set(&e, why, "%s: the manifests folder cannot be watched: %s; what was read from it stays", f->path,
			strerror(-why));
	manifest_folder_fail(f, &e, true);
}

static void folder_gone(struct manifest_folder *f)
{
	if (f->wd < 0)
		return;
	inotify_rm_watch(f->inotify_fd, f->wd);
	f->wd = -1;
	f->gone(f->userdata);
	wait_for_folder(f, -ENOENT);
}

bool manifest_folder_is_there(struct manifest_folder *f)
{
	struct stat st;

	if (f->wd >= 0 && fstat(f->dirfd, &st) == 0 && st.st_nlink == 0)
		folder_gone(f);
	return f->wd >= 0;
}

/* Without its watch, only the end of a folder that had something in it is noticed. */
static void check_above(const struct manifest_folder *f)
{
	if (f->above_wd < 0)
		log_warning(NULL, "%s: cannot watch the folder above; its deletion may not be seen", f->path);
}

/* Another one takes its place. The watch may be the keys', too: they are read again when the folder is opened. */
static void leave_above(struct manifest_folder *f)
{
	if (f->above_wd >= 0 && f->above_wd != f->wd)
		inotify_rm_watch(f->inotify_fd, f->above_wd);
	f->above_wd = -1;
}

/* ---- opened anew ---- */

static void folder_refused(struct manifest_folder *f, int why)
{
	if (f->next_wd >= 0 && f->next_wd != f->wd)
		inotify_rm_watch(f->inotify_fd, f->next_wd);
	f->next_wd = -1;
	f->reopening = false;
	if (f->wd < 0)
		wait_for_folder(f, why);
	else
		loop_timer_set(f->retry_timer, RETRY_USEC); /* what is wrong with it has been said */
}

static void folder_opened(void *userdata, int take_fd, int r)
{
	struct manifest_folder *f = userdata;
	cleanup_fd int fd = take_fd;
	bool another;

	/* it may have been this one's, of which nothing more would be told */
	if (r == 0 && f->end_seen)
		r = -ENOENT;
	if (r < 0) {
		folder_refused(f, r);
		return;
	}
	another = f->wd != f->next_wd;
	if (another && f->wd >= 0)
		inotify_rm_watch(f->inotify_fd, f->wd);
	close_fd(f->dirfd);
	f->dirfd = TAKE_FD(fd);
	f->wd = f->next_wd;
	f->next_wd = -1;
	f->reopening = false;
	check_above(f);
	/* the one that could not be listed: whether it can be now is still to be seen */
	if (another)
		log_info(NULL, "%s: the manifests folder is watched again", f->path);
	f->opened(f->userdata, another);
}

static void folder_watched(void *userdata, int wd)
{
	struct manifest_folder *f = userdata;
	int r = wd;

	f->next_wd = MAX(wd, -1);
	if (wd >= 0)
		r = files_open(f->files, f->path, folder_opened, f);
	if (r < 0)
		folder_refused(f, r);
}

/* One that has gone with a folder further up is left only now, which may cost this try: its end is one. */
static void above_watched(void *userdata, int wd)
{
	struct manifest_folder *f = userdata;
	int r;

	if (wd != f->above_wd)
		leave_above(f);
	f->above_wd = MAX(wd, -1);
	r = files_watch(f->files, f->inotify_fd, f->path, folder_watched, f);
	if (r < 0)
		folder_refused(f, r);
}

/* Watched first, from above: if it is another one that is opened then, the end of one that is watched is told. */
static void retry_folder(struct loop_source *source, void *userdata)
{
	struct manifest_folder *f = userdata;
	int r;

	if (f->reopening)
		return;
	f->end_seen = false;
	f->reopening = true;
	r = files_watch(f->files, f->inotify_fd, f->above, above_watched, f);
	if (r < 0)
		folder_refused(f, r);
}

/* ---- events ---- */

static bool may_be_end(const struct manifest_folder *f, const struct inotify_event *ev)
{
	return f->wd >= 0 && ev->wd == f->above_wd && (ev->mask & (IN_DELETE | IN_MOVED_TO)) && ev->len > 0 &&
	       str_eq(ev->name, strrchr(f->path, '/') + 1);
}

bool manifest_folder_hear(struct manifest_folder *f, const struct inotify_event *ev)
{
	if (may_be_end(f, ev))
		f->suspect(f->userdata);
	f->end_seen |= (ev->mask & END_MASK) != 0;
	/* of a folder that was watched earlier, or nothing to us */
	if (ev->wd != f->wd && !(ev->wd == f->above_wd && (ev->mask & IN_MOVE_SELF)))
		return false;
	if (ev->mask & END_MASK) {
		if (ev->wd == f->above_wd)
			leave_above(f);
		folder_gone(f);
		return false;
	}
	return ev->len > 0;
}

void manifest_folder_miss(struct manifest_folder *f)
{
	f->end_seen = true; /* for all we know */
}

/* ---- the start and the end ---- */

static int watch_folder(struct manifest_folder *f, struct err *e)
{
	int why;

	/* in the order of retry_folder() */
	f->above_wd = inotify_add_watch(f->inotify_fd, f->above, ABOVE_MASK);
	f->wd = inotify_add_watch(f->inotify_fd, f->path, WATCH_MASK);
	why = errno;
	f->dirfd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->dirfd < 0)
		return err_set(e, -errno, "manifests folder %s: %m", f->path);
	if (f->wd < 0)
		return err_set(e, -why, "watch manifests folder %s: %s", f->path, strerror(why));
	check_above(f);
	return 0;
}

int manifest_folder_open(struct manifest_folder *f, const char *path, struct err *e)
{
	int r;

	f->path = realpath(path, NULL);
	if (!f->path)
		return err_set(e, -errno, "manifests folder %s: %m", path);
	f->above = file_dirname(f->path);
	if (!f->above || loop_add_timer(f->loop, retry_folder, f, &f->retry_timer) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	r = watch_folder(f, e);
	if (r < 0)
		return r;
	r = files_allow_dir(f->files, f->path);
	if (r == 0)
		r = files_allow_watch(f->files, f->path, WATCH_MASK);
	if (r == 0)
		r = files_allow_watch(f->files, f->above, ABOVE_MASK);
	return r < 0 ? err_set(e, r, "manifests folder %s: %s", f->path, strerror(-r)) : 0;
}

void manifest_folder_deinit(struct manifest_folder *f)
{
	if (f->files)
		files_cancel(f->files, f);
	loop_source_free(f->retry_timer);
	close_fd(f->dirfd);
	free(f->path);
	free(f->above);
}
