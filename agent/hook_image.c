/* Hook image. At precreate there is the image, and no mount in it: so links are followed in the image, and what they lead to
 * is compared with where the configuration's mounts lead to. What lies in one of these mounts, as in a volume, is not to be
 * seen yet, and its links are the runtime's to look out for. Nothing holds the image still either, but only its container,
 * which does not run, has a reason to change it. */
#include "agent/hook_image.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "agent/hook_mount.h"
#include "common/str.h"

#define LINKS_MAX 40 /* as the kernel's */

/* The path of an open file; NULL: no memory, or too long. */
static char *path_of(int fd)
{
	char name[64], text[PATH_MAX];
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, text, sizeof(text));
	return n <= 0 || (size_t)n == sizeof(text) ? NULL : strndup(text, (size_t)n);
}

/* The place of `fd` below the root, and what of the path is not there yet. */
static int make_place(int root, int fd, const char *rest, char **ret)
{
	cleanup_free char *outer = path_of(root), *inner = path_of(fd);
	size_t len;

	if (!outer || !inner)
		return -ENOMEM;
	len = str_eq(outer, "/") ? 0 : strlen(outer);
	if (strncmp(inner, outer, len) != 0 || (inner[len] != '/' && inner[len] != '\0'))
		return -EXDEV;
	return str_printf(ret, "%s/%s", inner + len, rest) < 0 ? -ENOMEM : 0;
}

/* The path that a link of the image means, and what of the path is behind it. */
static int follow(int root, int parent, const char *name, const char *rest, char **ret)
{
	cleanup_free char *folder = NULL;
	char target[PATH_MAX];
	ssize_t n = readlinkat(parent, name, target, sizeof(target));
	int r;

	if (n < 0 || (size_t)n == sizeof(target))
		return n < 0 ? -errno : -ENAMETOOLONG;
	r = target[0] == '/' ? 0 : make_place(root, parent, "", &folder);
	if (r < 0)
		return r;
	return str_printf(ret, "%s/%.*s/%s", folder ?: "", (int)n, target, rest) < 0 ? -ENOMEM : 0;
}

/* The place and *ret_fd: what is there; -1: nothing yet. FOLLOW: a link to nothing is in the way, and *ret the path behind
 * it. */
enum { FOLLOW = 1 };
static int walk(int root, const char *destination, char **ret, int *ret_fd)
{
	cleanup_free char *path = strdup(destination);
	cleanup_fd int at = hook_point_open(root, "/");
	int r;

	if (!path || at < 0)
		return path ? at : -ENOMEM;
	for (char *name = path; *(name += strspn(name, "/"));) {
		char *end = name + strcspn(name, "/"), cut = *end;
		struct stat st;
		int fd;

		*end = '\0';
		fd = hook_point_open(root, path);
		if (fd == -ENOENT && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
			r = follow(root, at, name, destination + (end - path), ret);
			return r < 0 ? r : FOLLOW;
		}
		*end = cut;
		if (fd == -ENOENT) {
			*ret_fd = -1;
			return make_place(root, at, name, ret);
		}
		if (fd < 0)
			return fd;
		close_fd(at);
		at = fd;
		name = end;
	}
	r = make_place(root, at, "", ret);
	if (r == 0)
		*ret_fd = TAKE_FD(at);
	return r;
}

/* A link to what the image does not have may lead into a mount. *ret_dangling: there was one. */
static int find_place(int root, const char *destination, char **ret_place, int *ret_fd, bool *ret_dangling)
{
	cleanup_free char *path = strdup(destination);

	*ret_dangling = false;
	for (int i = 0; path && i < LINKS_MAX; i++) {
		char *next = NULL;
		int r = walk(root, path, &next, ret_fd);

		if (r == 0)
			*ret_place = next;
		if (r <= 0)
			return r;
		*ret_dangling = true;
		free(path);
		path = next;
		/* what is not there has no parent to go back to */
		if (str_has_dotdot(path))
			return -ENOENT;
	}
	return path ? -ELOOP : -ENOMEM;
}

/* One whose place is not found keeps its destination: the runtime will say what is wrong with it. */
static int resolve(int root, json_t *mount, struct err *e)
{
	const char *destination = json_string_value(json_object_get(mount, "destination"));
	cleanup_free char *place = NULL;
	cleanup_fd int fd = -1;
	bool dangling;

	if (!destination || find_place(root, destination, &place, &fd, &dangling) < 0)
		return 0;
	if (!str_is_utf8(place, strlen(place)))
		return err_set(e, -EILSEQ, "the mount on %.256s is in the image a link to a name that is not UTF-8",
			       destination);
	if (json_object_set_new(mount, "destination", json_string(place)) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

int hook_image_open(const json_t *config, struct hook_image *ret, struct err *e)
{
	const char *path = json_string_value(json_object_get(json_object_get(config, "root"), "path"));
	cleanup_hook_image struct hook_image im = HOOK_IMAGE_INIT;
	json_t *mount;
	size_t i;

	/* one that is relative is beside a config.json, of which the hook is not told where it is */
	if (path && path[0] == '/')
		im.root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	im.mounts = json_deep_copy(json_object_get(config, "mounts"));
	json_array_foreach (im.mounts, i, mount) {
		int r = im.root >= 0 ? resolve(im.root, mount, e) : 0;

		if (r < 0)
			return r;
	}
	*ret = im;
	im = HOOK_IMAGE_INIT;
	return 0;
}

void hook_image_deinit(struct hook_image *im)
{
	im->root = close_fd(im->root);
	json_decref(im->mounts);
	im->mounts = NULL;
}

int hook_image_check(const struct hook_image *im, const struct hook_mount *m, bool is_dir, struct err *e)
{
	cleanup_free char *place = NULL;
	cleanup_fd int fd = -1;
	bool dangling;
	struct stat st;
	int r;

	if (im->root < 0)
		return 0;
	r = find_place(im->root, m->destination, &place, &fd, &dangling);
	if (r < 0)
		return err_set(e, r, "mountPath %.256s: look for it in the image: %s", m->destination,
			       strerrordesc_np(-r));
	r = hook_place_check(im->mounts, place, m->destination, e);
	if (r == 0 && dangling && fd < 0)
		return err_set(e, -ENOENT,
			       "mountPath %.256s: in the image it is a link to nothing; make it in the image",
			       m->destination);
	if (r != 0 || fd < 0)
		return MIN(r, 0);
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "mountPath %.256s: %m", m->destination);
	r = hook_point_check_type(st.st_mode, is_dir, e);
	return r < 0 ? err_wrap(e, r, "mountPath %.256s", m->destination) : 0;
}
