/* Opener: a list of paths. */
#include "agent/opener.h"

#include "agent/files.h"

#define ALLOWED_MAX 4096

struct allowed {
	bool dir;
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
}

void opener_deinit(struct opener *o)
{
	opener_reset(o);
	map_deinit(&o->allowed);
}

int opener_allow(struct opener *o, const char *path, bool dir)
{
	cleanup_free struct allowed *a = NULL;
	size_t size = sizeof(*a) + strlen(path) + 1;
	int r;

	if (o->sealed)
		return -EPERM;
	if (path[0] != '/' || map_count(&o->allowed) >= ALLOWED_MAX)
		return -EINVAL;
	a = calloc(1, size);
	if (!a)
		return -ENOMEM;
	a->dir = dir;
	memcpy(a->path, path, strlen(path) + 1);
	r = map_add_str(&o->allowed, a->path, a);
	if (r == -EEXIST)
		return 0;
	if (r < 0)
		return r;
	TAKE_PTR(a);
	return 0;
}

void opener_seal(struct opener *o)
{
	o->sealed = true;
}

bool opener_allows(const struct opener *o, const char *path)
{
	struct allowed *a = map_get_str(&o->allowed, path);

	if (!o->sealed)
		return false;
	if (a)
		return true;
	for (size_t it = 0; (a = map_next(&o->allowed, &it));) {
		if (a->dir && files_is_beneath(path, a->path))
			return true;
	}
	return false;
}
