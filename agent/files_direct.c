/* Files, opened directly: what the keeper does for the agent, in the process itself. The list counts here, too, so that a
 * path that was not put on it fails in a test and not only in production. open(2) of a local file is taken to be quick;
 * the answer still comes from the loop, as it does from the keeper. */
#include <fcntl.h>

#include "agent/files.h"
#include "common/list.h"
#include "common/str.h"

struct path {
	struct list link;
	bool is_dir;
	char text[];
};
struct request {
	struct list link;
	files_open_fn fn;
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

static int allow(struct files *f, const char *text, bool is_dir)
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
	p->is_dir = is_dir;
	memcpy(p->text, text, strlen(text) + 1);
	list_append(&d->paths, &p->link);
	return 0;
}

static int allow_file(struct files *f, const char *path)
{
	return allow(f, path, false);
}

static int allow_dir(struct files *f, const char *path)
{
	return allow(f, path, true);
}

static bool is_allowed(struct files_direct *d, const char *text)
{
	struct path *p;

	list_for_each (p, &d->paths, link) {
		if (p->is_dir ? files_is_beneath(text, p->text) : str_eq(text, p->text))
			return true;
	}
	return false;
}

static void answer_one(struct files_direct *d, struct request *q)
{
	int fd = -EACCES;

	if (is_allowed(d, q->path)) {
		fd = open(q->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		fd = fd < 0 ? -errno : fd;
	}
	q->fn(q->userdata, fd < 0 ? -1 : fd, fd < 0 ? fd : 0);
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

static int open_later(struct files *f, const char *path, files_open_fn fn, void *userdata)
{
	struct files_direct *d = direct_of(f);
	struct request *q = calloc(1, sizeof(*q) + strlen(path) + 1);
	int r;

	if (!q)
		return -ENOMEM;
	q->fn = fn;
	q->userdata = userdata;
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
	.open = open_later,
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
