/* Manifests source: watches the folder and reads its files; what they mean together is manifest_set.c's business.
 *
 * Files are never read while they are being written, as far as inotify can tell: a file is read when its writer has
 * closed it or when it was renamed into place. IN_CREATE alone says that a writer has just begun, whatever was told of
 * the name before and whatever else is a reason to read it, except for symbolic and hard links, which are complete when
 * they appear. A hard link whose other name is gone when we look, as a file without a name that got one, cannot be told
 * from what is being written: such a file is read when it has not changed for some seconds. Events are gathered until
 * the folder has been quiet for a moment, so that a change of several files is taken as one.
 *
 * This process may have no right to the folder by its path: it lists it through an fd that was opened before privileges
 * were dropped, and files come from `files`. Nothing but the listing and reading of regular files touches a disk here.
 *
 * When the folder itself goes away, everything that was read stays, until a folder is there again (manifest_folder.c).
 *
 * A file for which there was no memory, or for an object in it, is read again by itself: a peak passes, as that of an update,
 * which has the old versions and the new ones.
 *
 * Private keys are read again when their file is written or replaced, and when somebody asks for it. All manifests are
 * read again then, because which values can be opened may have changed. Keys that cannot be read change nothing. */
#include "agent/source_manifests.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdalign.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "agent/manifest_fetch.h"
#include "agent/manifest_folder.h"
#include "agent/manifest_keys.h"
#include "agent/manifest_room.h"
#include "agent/manifest_set.h"
#include "agent/yaml.h"
#include "common/backoff.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/list.h"
#include "common/log.h"
#include "common/map.h"
#include "common/str.h"

#define FILES_MAX     10000 /* that are listed. More are known: those that have gone, until that is found out, */
#define HEARD_MAX     (2 * FILES_MAX) /* and what events name, */
#define KNOWN_MAX     (3 * FILES_MAX) /* and what a listing finds beside all these */
#define OPENING_MAX   16 /* requests at the keeper at one time */
#define QUIET_USEC    (5 * USEC_PER_MSEC)
#define WAIT_MAX_USEC (50 * USEC_PER_MSEC) /* and then a last QUIET_USEC at most */
#define BEGUN_USEC    (5 * USEC_PER_SEC) /* without a change, after which nobody is taken to be writing it */
#define READS_MAX     128 /* of events at one time: as many as the kernel's queue has room for, as a rule */
#define POSTPONED_MAX 20 /* batches that are not told because all is read again; then they are */

static const struct backoff_policy STARVED = { .first_usec = 10 * USEC_PER_SEC,
					       .max_usec = 160 * USEC_PER_SEC,
					       .reset_usec = 600 * USEC_PER_SEC,
					       .factor = 2.0,
					       .jitter = 0.1 };

struct manifest_file {
	struct list queue_link; /* in `queue`, or in no list */
	struct manifests *owner;
	char *path;
	const char *name; /* in path */
	bool listed; /* was there when the folder was listed last */
	bool asked; /* it was to be opened: what it gave may count */
	bool is_link;
	bool changed; /* to be read with the next batch, if it is complete */
	bool created; /* somebody has begun to write it */
	bool closed; /* since then: counts for what is opened from now on */
	struct {
		uint64_t since_usec; /* loop_now() when it was first seen so; 0: it is not, for all we know */
		off_t size;
		struct timespec mtime;
	} begun;
	bool opening;
	bool starved; /* there was no memory for all of it */
	struct manifest_share share; /* of `room` */
};

struct manifests {
	struct source source;
	struct loop *loop;
	struct files *files;
	struct manifest_set *set;
	struct manifest_keys keys;
	struct manifest_folder folder;
	int inotify_fd;
	struct loop_source *io, *batch_timer, *defer;
	struct map known; /* by name -> struct manifest_file */
	struct manifest_room room;
	struct list queue; /* to be opened */
	size_t n_opening, n_postponed;
	size_t n_links; /* of `known` */
	bool read_all, settle;
	bool room_freed; /* since those that had none were last read again */
	struct list fetches; /* answered by `defer` */
	uint64_t revision; /* the last resourceVersion */
	uint64_t batch_since_usec; /* 0: no batch is being gathered */
	uint64_t last_contact_usec, n_requests;
	struct loop_source *starved_timer; /* when those for which there was no memory are read again */
	struct backoff starved;
	bool starved_timer_runs;
	struct loop_source *begun_timer; /* when those that somebody has begun to write are looked at */
	bool begun_timer_runs;
};

static struct manifests *manifests_of(const struct source *s)
{
	return container_of((struct source *)(uintptr_t)s, struct manifests, source);
}

/* ---- files ---- */

static void file_free(struct manifest_file *f)
{
	if (!f)
		return;
	list_remove(&f->queue_link);
	free(f->path);
	free(f);
}
DEFINE_CLEANUP(struct manifest_file *, file_free);

/* -ENOBUFS: it would be one more than known_max. */
static int get_file(struct manifests *m, const char *name, size_t known_max, struct manifest_file **ret_f)
{
	cleanup(file_freep) struct manifest_file *f = NULL;
	int r;

	*ret_f = map_get_str(&m->known, name);
	if (*ret_f)
		return 0;
	if (map_count(&m->known) >= known_max)
		return -ENOBUFS;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	list_init(&f->queue_link);
	f->owner = m;
	f->path = str_format("%s/%s", str_eq(m->folder.path, "/") ? "" : m->folder.path, name);
	if (!f->path)
		return -ENOMEM;
	f->name = strrchr(f->path, '/') + 1;
	r = map_add_str(&m->known, f->name, f);
	if (r < 0)
		return r;
	*ret_f = TAKE_PTR(f);
	return 0;
}

static void gather(struct manifests *m);

static void take_room(struct manifests *m, struct manifest_file *f, size_t n_bytes, size_t n_objects)
{
	m->room_freed |= manifest_room_take(&m->room, &f->share, n_bytes, n_objects);
}

/* Counted: each name that is renamed and is no manifest's asks whether there are some. */
static void set_link(struct manifests *m, struct manifest_file *f, bool is_link)
{
	m->n_links = m->n_links + is_link - f->is_link;
	f->is_link = is_link;
}

static void forget_file(struct manifests *m, struct manifest_file *f)
{
	take_room(m, f, 0, 0);
	set_link(m, f, false);
	manifest_set_drop(m->set, f->path);
	map_remove_str(&m->known, f->name);
	file_free(f);
}

/* ---- reading ---- */

static void fail_file(struct manifests *m, struct manifest_file *f, const struct err *e)
{
	f->starved |= e->code == -ENOMEM;
	if (manifest_set_fail(m->set, f->path, err_text(e)) < 0)
		log_error(NULL, "%s: out of memory", f->path);
}

static int parse_file(struct manifests *m, struct manifest_file *f, const char *text, size_t len, struct err *e)
{
	struct manifest_object *objects = NULL;
	size_t n_objects = 0;
	int r;

	r = manifest_parse(f->path, text, len, m->keys.keys, &m->revision, &objects, &n_objects, e);
	if (r < 0)
		return r;
	r = manifest_room_ask(&m->room, &f->share, f->path, len, n_objects, e);
	if (r < 0) {
		manifest_objects_free(objects, n_objects);
		return r;
	}
	for (size_t i = 0; i < n_objects; i++)
		f->starved |= objects[i].starved;
	r = manifest_set_put(m->set, f->path, objects, n_objects);
	if (r < 0)
		return err_set(e, r, "%s: out of memory", f->path);
	take_room(m, f, len, n_objects);
	return 0;
}

/* Its close will be told. A second name of a file is complete at once. */
static bool is_being_written(struct manifests *m, struct manifest_file *f, const struct stat *st)
{
	const uint64_t now_usec = loop_now(m->loop), since_usec = f->begun.since_usec;
	const bool same = f->begun.size == st->st_size && f->begun.mtime.tv_sec == st->st_mtim.tv_sec &&
			  f->begun.mtime.tv_nsec == st->st_mtim.tv_nsec;

	/* what has been heard since it was opened may be of another one, which the next batch reads */
	if (f->changed && f->created)
		return true;
	f->begun.since_usec = 0;
	if (f->is_link || st->st_nlink > 1 || (since_usec && same && now_usec >= since_usec + BEGUN_USEC))
		f->created = false;
	if (!f->created)
		return false;
	f->begun.since_usec = since_usec && same ? since_usec : now_usec;
	f->begun.size = st->st_size;
	f->begun.mtime = st->st_mtim;
	if (!m->begun_timer_runs)
		m->begun_timer_runs = loop_timer_set(m->begun_timer, BEGUN_USEC) == 0;
	return true;
}

static void look_at_begun(struct loop_source *source, void *userdata)
{
	struct manifests *m = userdata;
	const uint64_t now_usec = loop_now(m->loop);
	uint64_t next_usec = UINT64_MAX;
	struct manifest_file *f;
	bool any = false;

	for (size_t it = 0; (f = map_next(&m->known, &it));) {
		if (!f->begun.since_usec)
			continue;
		if (now_usec >= f->begun.since_usec + BEGUN_USEC)
			any = f->changed = true;
		else
			next_usec = MIN(next_usec, f->begun.since_usec + BEGUN_USEC - now_usec);
	}
	if (any)
		gather(m);
	m->begun_timer_runs = next_usec != UINT64_MAX && loop_timer_set(m->begun_timer, next_usec) == 0;
}

static int read_file(struct manifests *m, struct manifest_file *f, int fd, struct err *e)
{
	char *text = NULL;
	struct stat st;
	size_t len = 0;
	int r;

	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: %m", f->path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: is not a regular file", f->path);
	if ((uint64_t)st.st_size > YAML_BYTES_MAX)
		return err_set(e, -EFBIG, "%s: has more than %zu bytes", f->path, YAML_BYTES_MAX);
	/* at the start: what an earlier agent shows for it must not be taken for what nobody wants */
	if (is_being_written(m, f, &st))
		return manifest_set_stats(m->set).settled
			       ? 0
			       : err_set(e, -EBUSY, "%s: is being written; it is read when that has ended", f->path);

	/* before it takes memory; how many objects it has is seen later */
	r = manifest_room_ask(&m->room, &f->share, f->path, (size_t)st.st_size, 0, e);
	if (r < 0)
		return r;
	r = file_read_fd(fd, f->path, YAML_BYTES_MAX, &text, &len, e);
	if (r < 0)
		return r;
	r = parse_file(m, f, text, len, e);
	explicit_bzero(text, len);
	free(text);
	return r;
}

static void tell_later(struct manifests *m)
{
	/* each batch goes on with it, too */
	if (loop_defer_set(m->defer) < 0)
		log_error(NULL, "%s: out of memory; changes are seen late", m->folder.path);
}

/* Once for all of them, after a batch. Those that never cease must not put it off. */
static void plan_starved(struct manifests *m)
{
	const struct manifest_file *f;
	bool any = false;

	for (size_t it = 0; !any && (f = map_next(&m->known, &it));)
		any = f->starved;
	if (!any)
		backoff_reset(&m->starved);
	else if (!m->starved_timer_runs)
		m->starved_timer_runs =
			loop_timer_set(m->starved_timer, backoff_next(&m->starved, loop_now(m->loop), random01())) == 0;
}

static void read_starved(struct loop_source *source, void *userdata)
{
	struct manifests *m = userdata;
	struct manifest_file *f;
	bool any = false;

	m->starved_timer_runs = false;
	for (size_t it = 0; (f = map_next(&m->known, &it));) {
		any |= f->starved;
		f->changed |= f->starved;
	}
	if (any)
		gather(m);
}

static void pump(struct manifests *m);
static void read_all_events(struct manifests *m);
static void sort_queue(struct manifests *m);

/* Before the batch is told: a file that was renamed is refused as long as its old name counts, and what is in it would be
 * told as gone. True: there are some. */
static bool queue_refused(struct manifests *m)
{
	struct manifest_file *f;
	bool any = false;

	for (size_t it = 0; m->room_freed && (f = map_next(&m->known, &it));) {
		if (!f->share.refused)
			continue;
		list_append(&m->queue, &f->queue_link);
		any = true;
	}
	m->room_freed = false;
	if (any)
		sort_queue(m);
	return any;
}

/* What was switched under our hands is read again before anything is told: a switch is one change. */
static bool is_overtaken(struct manifests *m)
{
	read_all_events(m);
	if (!m->read_all || !m->batch_since_usec || m->n_postponed == POSTPONED_MAX)
		return false;
	m->n_postponed++;
	return true;
}

static void opened(void *userdata, int take_fd, int r)
{
	struct manifest_file *f = userdata;
	struct manifests *m = f->owner;
	cleanup_fd int fd = take_fd;
	struct err e = ERR_INIT;

	f->opening = f->starved = false;
	m->n_opening--;
	read_all_events(m); /* it may have been made just before it was opened */
	/* the folder went away meanwhile: what was read stays */
	if (m->folder.wd < 0)
		r = -ECANCELED;
	if (r == -ENOENT && f->listed && f->is_link) {
		/* the next to last step of a ConfigMap's update: the link goes in a moment, another may have come */
		err_set(&e, r, "%s: is a link that leads to nothing", f->path);
		fail_file(m, f, &e);
	} else if (r == -ENOENT || r == -ENOTDIR) {
		/* it may have come again since */
		if (f->changed)
			gather(m);
		else
			forget_file(m, f);
	} else if (r < 0 && r != -ECANCELED) {
		err_set(&e, r, "%s: %s", f->path, strerror(-r));
		fail_file(m, f, &e);
	} else if (r == 0) {
		r = read_file(m, f, fd, &e);
		if (r < 0)
			fail_file(m, f, &e);
	}
	pump(m);
}

static void open_queue(struct manifests *m)
{
	struct manifest_file *f;
	struct err e = ERR_INIT;
	int r;

	while (m->n_opening < OPENING_MAX && (f = list_first(&m->queue, struct manifest_file, queue_link))) {
		list_remove(&f->queue_link);
		m->n_requests++;
		r = files_open(m->files, f->path, opened, f);
		if (r < 0) {
			err_set(&e, r, "%s: %s", f->path, strerror(-r));
			fail_file(m, f, &e);
			continue;
		}
		f->opening = true;
		m->n_opening++;
	}
}

/* Opens what waits; when nothing is left, the batch is complete. */
static void pump(struct manifests *m)
{
	open_queue(m);
	while (m->n_opening == 0 && queue_refused(m))
		open_queue(m);
	if (m->n_opening > 0 || !m->settle || is_overtaken(m))
		return;
	m->settle = false;
	m->n_postponed = 0;
	m->last_contact_usec = clock_realtime_usec();
	plan_starved(m);
	if (manifest_set_settle(m->set))
		tell_later(m);
}

/* ---- the folder ---- */

static void gather(struct manifests *m)
{
	uint64_t now_usec = loop_now(m->loop);

	if (!m->batch_since_usec)
		m->batch_since_usec = now_usec;
	/* it is set already, and setting it again would let it lose its turn: events that never cease must not keep it from
	 * running */
	if (now_usec >= m->batch_since_usec + WAIT_MAX_USEC)
		return;
	if (loop_timer_set(m->batch_timer, QUIET_USEC) < 0)
		log_error(NULL, "%s: no timer; changes will not be seen", m->folder.path);
}

static int note_listed(struct manifests *m, const struct dirent *d, size_t *n)
{
	struct manifest_file *f = NULL;
	int r;

	if (!manifest_is_file_name(d->d_name) || d->d_type == DT_DIR)
		return 0;
	if (++*n > FILES_MAX)
		return -E2BIG;
	r = get_file(m, d->d_name, KNOWN_MAX, &f);
	if (r < 0)
		return r;
	f->listed = true;
	/* a file system that does not tell gets no worse than an early reading */
	set_link(m, f, d->d_type == DT_LNK || d->d_type == DT_UNKNOWN);
	return 0;
}

static int list_folder(struct manifests *m, struct err *e)
{
	struct manifest_file *f;
	struct dirent *d;
	size_t n = 0;
	int fd, r = 0;
	DIR *dir;

	for (size_t it = 0; (f = map_next(&m->known, &it));)
		f->listed = false;
	fd = fcntl(m->folder.dirfd, F_DUPFD_CLOEXEC, 3);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		r = err_set(e, -errno, "%s: %m", m->folder.path);
		close_fd(fd);
		return r;
	}
	/* the offset is shared with the fd that was listed before */
	rewinddir(dir);
	while (r == 0 && (errno = 0, d = readdir(dir)))
		r = note_listed(m, d, &n);
	if (r == -E2BIG)
		err_set(e, r, "%s: more than %d manifest files", m->folder.path, FILES_MAX);
	else if (r == -ENOBUFS)
		err_set(e, r, "%s: the names of the manifest files change too fast", m->folder.path);
	else if (r < 0)
		err_set(e, r, "%s: out of memory", m->folder.path);
	else if (errno)
		r = err_set(e, -errno, "%s: %m", m->folder.path);
	closedir(dir);
	return r;
}

static int compare_names(const void *a, const void *b)
{
	const struct manifest_file *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* By name, so that it is the same files at each start for which there is no room. */
static void sort_queue(struct manifests *m)
{
	size_t n = 0, n_known = map_count(&m->known);
	cleanup_free struct manifest_file **files = calloc(n_known + 1, sizeof(struct manifest_file *));
	struct manifest_file *f;

	while (files && n < n_known && (f = list_first(&m->queue, struct manifest_file, queue_link))) {
		list_remove(&f->queue_link);
		files[n++] = f;
	}
	if (n > 0)
		qsort(files, n, sizeof(struct manifest_file *), compare_names);
	for (size_t i = 0; i < n; i++)
		list_append(&m->queue, &files[i]->queue_link);
}

static void queue_changed(struct manifests *m)
{
	struct manifest_file *f;

	for (size_t it = 0; (f = map_next(&m->known, &it));) {
		bool wanted = m->read_all || f->changed || !f->listed || !f->asked;

		if (!wanted)
			continue;
		/* its answer may be older than the change: once more, with the next batch, which sees by itself what
		 * is not listed */
		if (f->opening) {
			f->changed |= m->read_all;
			gather(m);
			continue;
		}
		f->created = f->created && !f->closed;
		f->changed = false;
		f->asked = true;
		list_remove(&f->queue_link);
		list_append(&m->queue, &f->queue_link);
	}
	sort_queue(m);
	m->read_all = false;
}

/* The folder could not be listed: names that it may never have as long as it is read are not collected. What was heard
 * of them is made up for by reading all when it can be. */
static void forget_unread(struct manifests *m)
{
	struct manifest_file *f;

	m->read_all = true;
	for (size_t it = 0; (f = map_next(&m->known, &it));)
		if (!f->asked)
			forget_file(m, f);
}

static void read_batch(struct loop_source *source, void *userdata)
{
	struct manifests *m = userdata;
	struct err e = ERR_INIT;
	int r;

	/* before the listing: a rename is told in two parts, and what has come and is not heard of would be missing */
	read_all_events(m);
	loop_timer_off(m->batch_timer);
	m->batch_since_usec = 0;
	if (!manifest_folder_is_there(&m->folder))
		return;
	r = list_folder(m, &e);
	if (r < 0) {
		/* without the whole list nobody knows what is gone; that there are fewer files is told */
		forget_unread(m);
		manifest_folder_fail(&m->folder, &e, r != -E2BIG);
		return;
	}
	manifest_set_drop(m->set, m->folder.path);
	queue_changed(m);
	m->settle = true;
	pump(m);
}

static void folder_gone(void *userdata)
{
	struct manifests *m = userdata;

	loop_timer_off(m->batch_timer);
	m->batch_since_usec = 0;
}

static void folder_suspect(void *userdata)
{
	gather(userdata);
}

static void folder_opened(void *userdata, bool another)
{
	struct manifests *m = userdata;
	struct manifest_file *f;

	/* it has other files by these names */
	for (size_t it = 0; another && (f = map_next(&m->known, &it));)
		f->created = false;
	m->read_all = true;
	gather(m);
	/* they may lie in it, or it may have gone with the folder above */
	if (another)
		manifest_keys_read(&m->keys);
}

/* ---- events ---- */

static void handle_name(struct manifests *m, const char *name, uint32_t mask)
{
	struct manifest_file *f = NULL;

	if (!manifest_is_file_name(name)) {
		/* links may lead through it: `..data` of a mounted ConfigMap */
		if (!(mask & IN_MOVED_TO) || m->n_links == 0)
			return;
		m->read_all = true;
		gather(m);
		return;
	}
	if (mask & IN_ISDIR)
		return;
	gather(m);
	/* there are too many, or memory is short: the listing says so, and whoever can be listed is read */
	if (get_file(m, name, HEARD_MAX, &f) < 0) {
		m->read_all = true;
		return;
	}
	f->changed = true;
	f->closed = !(mask & IN_CREATE);
	if (!(mask & IN_CREATE))
		return;
	/* what is known of the name is of a file that has gone; whether it is a link, the next listing says */
	f->created = true;
	set_link(m, f, false);
	f->begun.since_usec = 0;
}

static void handle_event(struct manifests *m, const struct inotify_event *ev)
{
	if (ev->mask & IN_Q_OVERFLOW) {
		log_warning(NULL, "%s: too many changes at once; all files are read again", m->folder.path);
		m->read_all = true;
		manifest_folder_miss(&m->folder);
		gather(m);
		manifest_keys_read(&m->keys);
		return;
	}
	if (manifest_keys_concerns(&m->keys, ev))
		manifest_keys_read(&m->keys);
	/* it may also be of a folder that was watched earlier, or of the keys */
	if (manifest_folder_hear(&m->folder, ev))
		handle_name(m, ev->name, ev->mask);
}

/* True: there were some, and may be more. */
static bool read_events(struct manifests *m)
{
	alignas(struct inotify_event) char room[16 * (sizeof(struct inotify_event) + NAME_MAX + 1)];
	ssize_t n;

	n = read(m->inotify_fd, room, sizeof(room));
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		log_error(NULL, "%s: inotify: %m", m->folder.path);
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *ev = (const struct inotify_event *)(room + at);

		at += sizeof(*ev) + ev->len;
		handle_event(m, ev);
	}
	return n > 0;
}

/* What waits to be heard. */
static void read_all_events(struct manifests *m)
{
	for (int n = 0; n < READS_MAX && read_events(m); n++)
		;
}

static void readable(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	read_events(userdata);
}

static void answer(struct loop_source *source, void *userdata)
{
	struct manifests *m = userdata;

	if (manifest_set_tell(m->set))
		tell_later(m);
	manifest_fetches_answer(&m->fetches, m->set);
}

static int manifests_fetch(struct source *s, enum source_thing thing, const char *ns, const char *name,
			   source_fetched_fn fn, void *userdata, struct source_fetch **ret_f)
{
	struct manifests *m = manifests_of(s);
	struct source_fetch *f;
	int r;

	r = manifest_fetch_new(&m->fetches, thing, ns, name, fn, userdata, &f);
	if (r < 0)
		return r;
	r = loop_defer_set(m->defer);
	if (r < 0) {
		manifest_fetch_free(f);
		return r;
	}
	*ret_f = f;
	return 0;
}

static void manifests_unfetch(struct source *s, struct source_fetch *f)
{
	manifest_fetch_free(f);
}

/* ---- the source ---- */

static int manifests_start(struct source *s, struct err *e)
{
	struct manifests *m = manifests_of(s);
	int r;

	r = manifest_keys_start(&m->keys, e);
	if (r < 0)
		return r;
	r = loop_add_io(m->loop, m->inotify_fd, EPOLLIN, readable, m, &m->io);
	if (r < 0)
		return err_set(e, r, "%s: cannot watch: %s", m->folder.path, strerror(-r));
	m->read_all = true;
	r = loop_timer_set(m->batch_timer, 0);
	if (r < 0)
		return err_set(e, r, "%s: no timer: %s", m->folder.path, strerror(-r));
	return 0;
}

static int manifests_want(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	struct manifests *m = manifests_of(s);
	int r;

	r = manifest_set_want(m->set, kind, ns, name);
	if (r < 0)
		return r;
	r = loop_defer_set(m->defer);
	if (r < 0)
		manifest_set_unwant(m->set, kind, ns, name);
	return r;
}

static void manifests_unwant(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	manifest_set_unwant(manifests_of(s)->set, kind, ns, name);
}

static int manifests_refresh(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	struct manifests *m = manifests_of(s);
	int r;

	r = manifest_set_refresh(m->set, kind, ns, name);
	if (r < 0)
		return r;
	m->read_all = true;
	return loop_timer_set(m->batch_timer, 0);
}

static void manifests_reread(struct source *s)
{
	manifest_keys_read(&manifests_of(s)->keys);
}

static void manifests_health(const struct source *s, struct source_health *ret)
{
	const struct manifests *m = manifests_of(s);
	struct manifest_set_stats stats = manifest_set_stats(m->set);

	*ret = (struct source_health){
		.kind = "manifests",
		.connected = true,
		.pods_synced = stats.settled,
		.last_contact_usec = m->last_contact_usec,
		.n_secrets = stats.n_wanted[OBJECT_SECRET],
		.n_secrets_synced = stats.settled ? stats.n_wanted[OBJECT_SECRET] : 0,
		.n_config_maps = stats.n_wanted[OBJECT_CONFIG_MAP],
		.n_config_maps_synced = stats.settled ? stats.n_wanted[OBJECT_CONFIG_MAP] : 0,
		.n_watches = m->folder.wd >= 0,
		.n_rejected = stats.n_rejected,
		.n_warnings = stats.n_warnings,
		.n_requests = m->n_requests,
	};
	snprintf(ret->location, sizeof(ret->location), "%s", m->folder.path);
	snprintf(ret->last_error, sizeof(ret->last_error), "%s", stats.last_error);
	ret->reason = *stats.last_error ? REASON_MANIFEST_INVALID : REASON_NONE;
}

struct refusals {
	source_refusal_fn fn;
	void *userdata;
};

/* Pods, and files that cannot be read at all, in which there may be some. */
static void tell_refusal(void *userdata, const struct finding *f, const struct manifest_object *o)
{
	const struct refusals *r = userdata;
	const char *ref = f->object && str_starts(f->object, "pod ") ? f->object + strlen("pod ") : NULL;
	const char *slash = ref ? strchr(ref, '/') : NULL;
	cleanup_free char *ns = slash ? strndup(ref, (size_t)(slash - ref)) : NULL;

	if (f->level != FINDING_ERROR || (f->object && !ns))
		return;
	r->fn(r->userdata, &(struct source_refusal){ .ns = ns ?: "",
						     .name = slash ? slash + 1 : "",
						     .uid = o && o->uid ? o->uid : "",
						     .file = f->file,
						     .line = f->line,
						     .column = f->column,
						     .error = f->text });
}

static void manifests_refusals(const struct source *s, source_refusal_fn fn, void *userdata)
{
	struct refusals r = { .fn = fn, .userdata = userdata };

	manifest_set_findings(manifests_of(s)->set, tell_refusal, &r);
}

static void manifests_free(struct source *s)
{
	struct manifests *m = manifests_of(s);
	struct manifest_file *f;

	manifest_fetches_free(&m->fetches);
	for (size_t it = 0; (f = map_next(&m->known, &it));) {
		if (f->opening)
			files_cancel(m->files, f);
		file_free(f);
	}
	manifest_folder_deinit(&m->folder);
	manifest_keys_deinit(&m->keys);
	map_deinit(&m->known);
	loop_source_free(m->io);
	loop_source_free(m->batch_timer);
	loop_source_free(m->starved_timer);
	loop_source_free(m->begun_timer);
	loop_source_free(m->defer);
	manifest_set_free(m->set);
	close_fd(m->inotify_fd);
	free(m);
}

static const struct source_vtable manifests_vtable = {
	.start = manifests_start,
	.want = manifests_want,
	.unwant = manifests_unwant,
	.reread = manifests_reread,
	.refresh = manifests_refresh,
	.fetch = manifests_fetch,
	.unfetch = manifests_unfetch,
	.health = manifests_health,
	.refusals = manifests_refusals,
	.free = manifests_free,
};

static int open_folder(struct manifests *m, const char *dir, struct err *e)
{
	if (m->inotify_fd < 0)
		m->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (m->inotify_fd < 0)
		return err_set(e, -errno, "inotify: %m");
	m->folder.loop = m->loop;
	m->folder.files = m->files;
	m->folder.set = m->set;
	m->folder.inotify_fd = m->inotify_fd;
	m->folder.suspect = folder_suspect;
	m->folder.gone = folder_gone;
	m->folder.opened = folder_opened;
	m->folder.userdata = m;
	return manifest_folder_open(&m->folder, dir, e);
}

static void keys_changed(void *userdata, bool others)
{
	struct manifests *m = userdata;

	m->read_all |= others;
	gather(m);
}

static int open_keys(struct manifests *m, const struct source_manifests_options *options, struct err *e)
{
	m->keys.files = m->files;
	m->keys.set = m->set;
	m->keys.inotify_fd = m->inotify_fd;
	m->keys.resumes = options->resumes;
	m->keys.changed = keys_changed;
	m->keys.userdata = m;
	return manifest_keys_open(&m->keys, options->key_file, e);
}

static int add_sources(struct manifests *m, struct err *e)
{
	if (loop_add_timer(m->loop, read_batch, m, &m->batch_timer) < 0 ||
	    loop_add_timer(m->loop, look_at_begun, m, &m->begun_timer) < 0 ||
	    loop_add_timer(m->loop, read_starved, m, &m->starved_timer) < 0 ||
	    loop_add_defer(m->loop, answer, m, &m->defer) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

/* -1: it is none. An instance is no file of any type. */
static int take_instance(int take_fd)
{
	struct stat st;

	if (take_fd <= 0 || (fstat(take_fd, &st) == 0 && (st.st_mode & S_IFMT) == 0))
		return take_fd > 0 ? take_fd : -1;
	close_fd(take_fd);
	return -1;
}

int source_manifests_new(struct loop *l, struct files *files, const struct source_manifests_options *options,
			 const struct source_sink *sink, void *userdata, struct source **ret_s, struct err *e)
{
	struct manifests *m = calloc(1, sizeof(*m));
	int r;

	if (!m) {
		if (options->take_inotify > 0)
			close_fd(options->take_inotify);
		return err_set(e, -ENOMEM, "out of memory");
	}
	m->source.vtable = &manifests_vtable;
	m->loop = l;
	m->files = files;
	m->folder = MANIFEST_FOLDER_INIT;
	m->inotify_fd = take_instance(options->take_inotify);
	list_init(&m->queue);
	list_init(&m->fetches);
	m->keys = MANIFEST_KEYS_INIT;
	m->starved = BACKOFF_INIT(&STARVED);

	r = manifest_set_new(options->node_name, sink, userdata, &m->set);
	if (r < 0)
		err_set(e, r, "out of memory");
	if (r == 0)
		r = open_folder(m, options->dir, e);
	if (r == 0 && options->key_file)
		r = open_keys(m, options, e);
	if (r == 0)
		r = add_sources(m, e);
	if (r < 0) {
		manifests_free(&m->source);
		return r;
	}
	*ret_s = &m->source;
	return 0;
}
