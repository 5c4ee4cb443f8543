/* Files, opened directly: what the keeper does for the agent, in the process itself. The list counts here, too, so that a
 * path that was not put on it fails in a test and not only in production. open(2) of a local file is taken to be quick;
 * the answer still comes from the loop, as it does from the keeper. */
#include <fcntl.h>
#include <sys/inotify.h>

#include "agent/files.h"
#include "common/list.h"
#include "common/str.h"

struct path {
	struct list link;
	enum { PATH_FILE, PATH_DIR, PATH_WATCH } kind;
	uint32_t mask; /* PATH_WATCH's */
	char text[];
};
struct request {
	struct list link;
	files_open_fn opened; /* or */
	files_watch_fn watched;
	int inotify_fd;
	void *userdata;
	char path[];
};
struct files_direct {
	struct files files;
	struct loop_source *answer;
	struct list paths, requests;
	bool fixed; /* the first request ends the time of putting paths on the list */
};

static struct files_direct *direct_of(struct files *f)
{
	return container_of(f, struct files_direct, files);
}

static int allow(struct files *f, const char *text, const struct path *like)
{
	struct files_direct *d = direct_of(f);
	struct path *p;

	if (d->fixed)
		return -EPERM;
	if (text[0] != '/')
		return -EINVAL;
	p = calloc(1, sizeof(*p) + strlen(text) + 1);
	if (!p)
		return -ENOMEM;
	*p = *like;
	memcpy(p->text, text, strlen(text) + 1);
	list_append(&d->paths, &p->link);
	return 0;
}

static int allow_file(struct files *f, const char *path)
{
	return allow(f, path, &(struct path){ .kind = PATH_FILE });
}

static int allow_dir(struct files *f, const char *path)
{
	return allow(f, path, &(struct path){ .kind = PATH_DIR });
}

static int allow_watch(struct files *f, const char *folder, uint32_t mask)
{
	return allow(f, folder, &(struct path){ .kind = PATH_WATCH, .mask = mask });
}

static bool is_allowed(struct files_direct *d, const char *text)
{
	struct path *p;

	list_for_each (p, &d->paths, link) {
		if (p->kind != PATH_WATCH && str_eq(text, p->text))
			return true;
		if (p->kind == PATH_DIR && files_is_beneath(text, p->text))
			return true;
	}
	return false;
}

/* 0: it may not be watched. */
static uint32_t mask_of(struct files_direct *d, const char *folder)
{
	uint32_t mask = 0;
	struct path *p;

	list_for_each (p, &d->paths, link) {
		if (p->kind == PATH_WATCH && str_eq(folder, p->text))
			mask |= p->mask;
	}
	return mask;
}

static void answer_watch(struct files_direct *d, struct request *q)
{
	uint32_t mask = mask_of(d, q->path);
	int wd = mask ? inotify_add_watch(q->inotify_fd, q->path, mask) : -EACCES;

	q->watched(q->userdata, mask && wd < 0 ? -errno : wd);
}

static void answer_one(struct files_direct *d, struct request *q)
{
	int fd = -EACCES;

	if (q->watched) {
		answer_watch(d, q);
		return;
	}
	if (is_allowed(d, q->path)) {
		fd = open(q->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		fd = fd < 0 ? -errno : fd;
	}
	q->opened(q->userdata, fd < 0 ? -1 : fd, fd < 0 ? fd : 0);
}

static void on_answer(struct loop_source *s, void *userdata)
{
	struct files_direct *d = userdata;
	struct request *q = list_first(&d->requests, struct request, link);

	if (!q)
		return;
	list_remove(&q->link);
	if (!list_empty(&d->requests))
		loop_defer_set(d->answer);
	answer_one(d, q); /* may free us */
	free(q);
}

static int answer_later(struct files_direct *d, const char *path, const struct request *like)
{
	struct request *q = calloc(1, sizeof(*q) + strlen(path) + 1);
	int r;

	if (!q)
		return -ENOMEM;
	*q = *like;
	memcpy(q->path, path, strlen(path) + 1);
	r = loop_defer_set(d->answer);
	if (r < 0) {
		free(q);
		return r;
	}
	d->fixed = true;
	list_append(&d->requests, &q->link);
	return 0;
}

static int open_later(struct files *f, const char *path, files_open_fn fn, void *userdata)
{
	return answer_later(direct_of(f), path, &(struct request){ .opened = fn, .userdata = userdata });
}

static int watch_later(struct files *f, int inotify_fd, const char *folder, files_watch_fn fn, void *userdata)
{
	const struct request q = { .watched = fn, .inotify_fd = inotify_fd, .userdata = userdata };

	return answer_later(direct_of(f), folder, &q);
}

static void cancel(struct files *f, void *userdata)
{
	struct request *q;

	list_for_each (q, &direct_of(f)->requests, link) {
		if (q->userdata != userdata)
			continue;
		list_remove(&q->link);
		free(q);
	}
}

static void direct_free(struct files *f)
{
	struct files_direct *d = direct_of(f);
	struct request *q;
	struct path *p;

	list_for_each (p, &d->paths, link) {
		list_remove(&p->link);
		free(p);
	}
	list_for_each (q, &d->requests, link) {
		list_remove(&q->link);
		free(q);
	}
	loop_source_free(d->answer);
	free(d);
}

static const struct files_vtable VTABLE = {
	.allow_file = allow_file,
	.allow_dir = allow_dir,
	.allow_watch = allow_watch,
	.open = open_later,
	.watch = watch_later,
	.cancel = cancel,
	.free = direct_free,
};

int files_direct_new(struct loop *l, struct files **ret_f)
{
	struct files_direct *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->files.vtable = &VTABLE;
	list_init(&d->paths);
	list_init(&d->requests);
	r = loop_add_defer(l, on_answer, d, &d->answer);
	if (r < 0) {
		free(d);
		return r;
	}
	*ret_f = &d->files;
	return 0;
}
