/* Opener: one answer is kept at most, for the agent is not listened to until it has taken it: one that asks and does not read
 * costs no memory. */
#include "agent/opener.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/inotify.h>

#include "agent/files.h"
#include "agent/link.h"

#define ALLOWED_MAX 4096

struct allowed {
	bool open, dir; /* dir: and what is beneath */
	uint32_t watch; /* inotify's mask; 0: it may not be watched */
	char path[];
};

void opener_reset(struct opener *o)
{
	struct allowed *a;

	for (size_t it = 0; (a = map_next(&o->allowed, &it));) {
		map_remove_str(&o->allowed, a->path);
		free(a);
	}
	o->sealed = false;
	o->owes = false;
	o->owed_fd = close_fd(o->owed_fd);
}

void opener_deinit(struct opener *o)
{
	opener_reset(o);
	map_deinit(&o->allowed);
}

/* Takes the first name off *path and goes there from `place`, which has neither "//" nor "." nor "..". false: that is longer
 * than a path can be. */
static bool path_step(const char **path, char place[PATH_MAX])
{
	const char *name = *path + strspn(*path, "/");
	size_t len = strcspn(name, "/"), at = strlen(place);

	*path = name + len;
	if (len == 2 && name[0] == '.' && name[1] == '.') {
		while (at > 0 && place[--at] != '/')
			;
		place[at] = 0;
	} else if (len > 0 && !(len == 1 && name[0] == '.')) {
		if (at + 1 + len >= PATH_MAX)
			return false;
		place[at++] = '/';
		memcpy(place + at, name, len);
		place[at + len] = 0;
	}
	return true;
}

/* Whether the path comes to this folder, be it to leave it again. */
static bool path_comes_to(const char *path, const char *folder)
{
	char place[PATH_MAX] = "", goal[PATH_MAX] = "";

	while (*folder)
		if (!path_step(&folder, goal))
			return false;
	while (*path)
		if (!path_step(&path, place) || str_eq(place, goal))
			return true;
	return false;
}

/* However it is written: what is looked up in there waits for the agent, and then nobody can start another. (Where a link
 * leads is the operator's own choice.) */
static bool is_never(const struct opener *o, const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(o->never); i++)
		if (o->never[i] && path_comes_to(path, o->never[i]))
			return true;
	return false;
}

/* The path's place on the list, which is new if it has none. */
static int opener_place(struct opener *o, const char *path, struct allowed **ret_a)
{
	cleanup_free struct allowed *a = NULL;
	size_t size = sizeof(*a) + strlen(path) + 1;
	int r;

	if (o->sealed)
		return -EPERM;
	*ret_a = map_get_str(&o->allowed, path);
	if (*ret_a)
		return 0;
	if (path[0] != '/' || map_count(&o->allowed) >= ALLOWED_MAX)
		return -EINVAL;
	if (is_never(o, path))
		return -EDEADLK;
	a = calloc(1, size);
	if (!a)
		return -ENOMEM;
	memcpy(a->path, path, strlen(path) + 1);
	r = map_add_str(&o->allowed, a->path, a);
	if (r < 0)
		return r;
	*ret_a = TAKE_PTR(a);
	return 0;
}

int opener_allow(struct opener *o, const char *path, bool dir)
{
	struct allowed *a;
	int r = opener_place(o, path, &a);

	if (r < 0)
		return r;
	a->open = true;
	a->dir |= dir;
	return 0;
}

int opener_allow_watch(struct opener *o, const char *folder, uint32_t mask)
{
	struct allowed *a;
	int r = opener_place(o, folder, &a);

	if (r < 0)
		return r;
	a->watch |= mask;
	return 0;
}

void opener_seal(struct opener *o)
{
	o->sealed = true;
}

bool opener_allows(const struct opener *o, const char *path)
{
	struct allowed *a = map_get_str(&o->allowed, path);

	if (!o->sealed || is_never(o, path))
		return false;
	if (a && a->open)
		return true;
	for (size_t it = 0; (a = map_next(&o->allowed, &it));) {
		if (a->dir && files_is_beneath(path, a->path))
			return true;
	}
	return false;
}

int opener_flush(struct opener *o, int link)
{
	int r;

	if (!o->owes)
		return 0;
	r = link_send(link, LINK_OPENED, o->owed_id, o->owed_value, NULL, o->owed_fd);
	if (r < 0 && r != -EAGAIN && r != -EPIPE && o->owed_fd >= 0) {
		/* the fd cannot travel: then it gets an error, and may ask again */
		o->owed_fd = close_fd(o->owed_fd);
		o->owed_value = r;
		r = link_send(link, LINK_OPENED, o->owed_id, r, NULL, -1);
	}
	if (r == -EAGAIN)
		return r;
	o->owes = false;
	o->owed_fd = close_fd(o->owed_fd);
	return r;
}

/* -EACCES: that is the answer, for it is not on the list. */
static int opener_tell(struct opener *o, int link, uint32_t id, int value, bool allowed)
{
	int r;

	o->owes = true;
	o->owed_id = id;
	o->owed_value = allowed ? value : -EACCES;
	r = opener_flush(o, link);
	if (!allowed)
		return -EACCES;
	return r == -EAGAIN || r == -EPIPE ? 0 : r;
}

int opener_answer(struct opener *o, int link, uint32_t id, const char *path)
{
	bool allowed = opener_allows(o, path);
	int value = 0;

	assert(!o->owes);

	if (allowed) {
		o->owed_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		value = o->owed_fd < 0 ? -errno : 0;
	}
	return opener_tell(o, link, id, value, allowed);
}

int opener_watch(struct opener *o, int link, uint32_t id, const char *folder, int inotify_fd)
{
	const struct allowed *a = map_get_str(&o->allowed, folder);
	bool allowed = o->sealed && a && a->watch;
	int wd = 0;

	assert(!o->owes);

	if (allowed) {
		wd = inotify_add_watch(inotify_fd, folder, a->watch);
		wd = wd < 0 ? -errno : wd;
	}
	return opener_tell(o, link, id, wd, allowed);
}
