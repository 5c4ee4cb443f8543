/* Manifest keys: the file of private keys, and its folder, in which it may be replaced. It is opened by whoever started us, and read
 * once there is secret memory; after that it comes from `files`. A file that is wrong changes nothing: keys are taken as a whole. */
#include "agent/manifest_keys.h"

#include "common/file.h"
#include "common/log.h"
#include "common/str.h"

#define KEY_MASK   (IN_CLOSE_WRITE | IN_MOVED_TO) /* in its folder */
#define WATCH_MASK (KEY_MASK | IN_ONLYDIR | IN_MASK_ADD)

static void keys_refused(struct manifest_keys *k, const struct err *e)
{
	struct err all = ERR_INIT;

	err_set(&all, e->code, "%s; %s", err_text(e),
		k->keys ? "the keys that were read before stay" : "no sealed value can be opened");
	if (manifest_set_fail(k->set, k->path, err_text(&all)) < 0)
		log_error(NULL, "%s", err_text(&all));
}

int manifest_keys_open(struct manifest_keys *k, const char *path, struct err *e)
{
	cleanup_free char *dir = file_dirname(path), *real = dir ? realpath(dir, NULL) : NULL;
	const char *slash = strrchr(path, '/');
	int r;

	k->folder = real ? TAKE_PTR(real) : TAKE_PTR(dir);
	k->path = k->folder ? file_join(k->folder, slash ? slash + 1 : path) : NULL;
	if (!k->path)
		return err_set(e, -ENOMEM, "out of memory");
	r = files_allow_file(k->files, k->path);
	if (r == 0)
		r = files_allow_watch(k->files, k->folder, WATCH_MASK);
	if (r < 0)
		return err_set(e, r, "%s: %s", path, strerror(-r));
	k->wd = inotify_add_watch(k->inotify_fd, k->folder, WATCH_MASK);
	if (k->wd < 0)
		r = err_set(e, -errno, "%s: %m", path);
	else
		r = sealing_keys_open(path, &k->fd, e);
	if (r == 0 || !k->resumes)
		return r;
	keys_refused(k, e);
	return 0;
}

int manifest_keys_start(struct manifest_keys *k, struct err *e)
{
	int r;

	if (k->fd < 0)
		return 0;
	r = sealing_keys_read_fd(TAKE_FD(k->fd), k->path, &k->keys, e);
	if (r < 0 && !k->resumes)
		return r;
	if (r < 0)
		keys_refused(k, e);
	return 0;
}

static int take_keys(struct manifest_keys *k, int take_fd, struct err *e)
{
	cleanup_sealing_keys struct sealing_keys *fresh = NULL;
	int r;

	r = sealing_keys_read_fd(take_fd, k->path, &fresh, e);
	if (r < 0)
		return r;
	manifest_set_drop(k->set, k->path);
	if (k->keys && sealing_keys_same(k->keys, fresh)) {
		k->changed(k->userdata, false);
		return 0;
	}
	sealing_keys_free(k->keys);
	k->keys = TAKE_PTR(fresh);
	k->changed(k->userdata, true);
	log_info(NULL, "%s: the private keys are other ones; all manifests are read again", k->path);
	return 0;
}

static void keys_opened(void *userdata, int take_fd, int r)
{
	struct manifest_keys *k = userdata;
	struct err e = ERR_INIT;

	k->opening = false;
	if (r < 0)
		err_set(&e, r, "%s: %s", k->path, strerror(-r));
	else
		r = take_keys(k, take_fd, &e);
	if (r < 0)
		keys_refused(k, &e);
	if (k->again)
		manifest_keys_read(k);
}

/* Why it is none, whoever opens the file is told, too. */
static void folder_watched(void *userdata, int wd)
{
	struct manifest_keys *k = userdata;

	k->wd = MAX(wd, -1);
}

void manifest_keys_read(struct manifest_keys *k)
{
	struct err e = ERR_INIT;
	int r;

	if (!k->path)
		return;
	k->again = k->opening;
	if (k->opening)
		return;
	r = files_watch(k->files, k->inotify_fd, k->folder, folder_watched, k);
	if (r == 0)
		r = files_open(k->files, k->path, keys_opened, k);
	k->opening = r == 0;
	if (r == 0)
		return;
	err_set(&e, r, "%s: %s", k->path, strerror(-r));
	keys_refused(k, &e);
}

/* `..data` is what a mounted Secret replaces, with the key behind it. */
bool manifest_keys_concerns(const struct manifest_keys *k, const struct inotify_event *ev)
{
	return ev->wd == k->wd && (ev->mask & KEY_MASK) && ev->len > 0 &&
	       (str_eq(ev->name, strrchr(k->path, '/') + 1) || str_starts(ev->name, ".."));
}

void manifest_keys_deinit(struct manifest_keys *k)
{
	if (k->path)
		files_cancel(k->files, k);
	sealing_keys_free(k->keys);
	close_fd(k->fd);
	free(k->path);
	free(k->folder);
}
