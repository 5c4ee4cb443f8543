/* Opening through the keeper: each request gets an id, answers come back in any order. A cancelled request stays in the
 * list without a callback, so that the fd of its late answer is closed and not taken for another's. */
#include "agent/files_keeper.h"

#include "common/list.h"

#define FILES_PENDING_MAX 4096

struct files_request {
	struct list link;
	uint32_t id;
	files_open_fn opened; /* both NULL: cancelled */
	files_watch_fn watched;
	void *userdata;
};

struct files_keeper {
	struct files base;
	int link;
	bool sealed;
	uint32_t last_id;
	size_t n_pending;
	struct list pending;
};

static int files_keeper_allow(struct files *f, enum link_type type, const char *path, int32_t value)
{
	struct files_keeper *k = container_of(f, struct files_keeper, base);

	if (k->sealed)
		return -EPERM;
	if (path[0] != '/')
		return -EINVAL;
	return link_send(k->link, type, 0, value, path, -1);
}

static int files_keeper_allow_file(struct files *f, const char *path)
{
	return files_keeper_allow(f, LINK_ALLOW_FILE, path, 0);
}

static int files_keeper_allow_dir(struct files *f, const char *path)
{
	return files_keeper_allow(f, LINK_ALLOW_DIR, path, 0);
}

static int files_keeper_allow_watch(struct files *f, const char *folder, uint32_t mask)
{
	return files_keeper_allow(f, LINK_ALLOW_WATCH, folder, (int32_t)mask);
}

/* with: goes along, -1: nothing */
static int files_keeper_ask(struct files_keeper *k, enum link_type type, const char *path, int with,
			    const struct files_request *request)
{
	cleanup_free struct files_request *q = NULL;
	int r;

	if (k->n_pending >= FILES_PENDING_MAX)
		return -EBUSY;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	*q = *request;
	q->id = ++k->last_id;
	r = link_send(k->link, type, q->id, 0, path, with);
	if (r < 0)
		return r;
	list_append(&k->pending, &q->link);
	k->n_pending++;
	TAKE_PTR(q);
	return 0;
}

static int files_keeper_open(struct files *f, const char *path, files_open_fn fn, void *userdata)
{
	const struct files_request request = { .opened = fn, .userdata = userdata };

	return files_keeper_ask(container_of(f, struct files_keeper, base), LINK_OPEN, path, -1, &request);
}

static int files_keeper_watch(struct files *f, int inotify_fd, const char *folder, files_watch_fn fn, void *userdata)
{
	const struct files_request request = { .watched = fn, .userdata = userdata };

	return files_keeper_ask(container_of(f, struct files_keeper, base), LINK_WATCH, folder, inotify_fd, &request);
}

static void files_keeper_cancel(struct files *f, void *userdata)
{
	struct files_keeper *k = container_of(f, struct files_keeper, base);
	struct files_request *q;

	list_for_each (q, &k->pending, link) {
		if (q->userdata != userdata)
			continue;
		q->opened = NULL;
		q->watched = NULL;
	}
}

static void files_keeper_free(struct files *f)
{
	struct files_keeper *k = container_of(f, struct files_keeper, base);
	struct files_request *q;

	list_for_each (q, &k->pending, link) {
		list_remove(&q->link);
		free(q);
	}
	free(k);
}

static const struct files_vtable files_keeper_vtable = {
	.allow_file = files_keeper_allow_file,
	.allow_dir = files_keeper_allow_dir,
	.allow_watch = files_keeper_allow_watch,
	.open = files_keeper_open,
	.watch = files_keeper_watch,
	.cancel = files_keeper_cancel,
	.free = files_keeper_free,
};

int files_keeper_new(int link, struct files **ret_f)
{
	struct files_keeper *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->base.vtable = &files_keeper_vtable;
	k->link = link;
	list_init(&k->pending);
	*ret_f = &k->base;
	return 0;
}

int files_keeper_seal(struct files *f)
{
	struct files_keeper *k = container_of(f, struct files_keeper, base);

	k->sealed = true;
	return link_send(k->link, LINK_SEAL, 0, 0, NULL, -1);
}

void files_keeper_opened(struct files *f, const struct link_message *m, int take_fd)
{
	struct files_keeper *k = container_of(f, struct files_keeper, base);
	cleanup_fd int fd = take_fd;
	struct files_request *q, answered;
	int r = m->value;

	list_for_each (q, &k->pending, link) {
		if (q->id != m->id)
			continue;
		answered = *q;
		list_remove(&q->link);
		k->n_pending--;
		free(q);
		if (answered.watched)
			answered.watched(answered.userdata, r == 0 ? -EBADMSG : r);
		if (!answered.opened)
			return;
		if (r > 0 || (r == 0 && fd < 0))
			r = -EBADMSG;
		answered.opened(answered.userdata, r == 0 ? TAKE_FD(fd) : -1, r);
		return;
	}
}
