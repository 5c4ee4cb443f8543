/* Hook mount. At createRuntime the container's init waits in its own mount namespace, with all that config.json mounts, but
 * before its root is switched. So the sources are opened where we are, cloned (open_tree), and, after setns, moved to a
 * place that openat2 finds within the root filesystem, whatever links are there. */
#include "agent/hook_mount.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "agent/hook.h"
#include "common/file.h"
#include "common/str.h"
#include "fusefs/mount.h"

#define MOUNTINFO_MAX ((size_t)64 << 20)
#define OPEN_TRIES    128 /* while somebody renames what a path goes through */
#define POINT_MODE    0755

/* --- namespaces --- */

static int open_proc(pid_t pid, const char *name, int proc)
{
	char path[64];

	snprintf(path, sizeof(path), "%d/%s", pid, name);
	return openat(proc, path, O_RDONLY | O_CLOEXEC);
}

static bool is_same(int fd, int proc, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && fstatat(proc, path, &b, 0) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int hook_target_open(pid_t pid, struct hook_target *ret, struct err *e)
{
	cleanup_hook_target struct hook_target t = HOOK_TARGET_INIT;

	t.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (t.proc < 0)
		return err_set(e, -errno, "open /proc: %m");
	t.mnt = open_proc(pid, "ns/mnt", t.proc);
	if (t.mnt >= 0)
		t.user = open_proc(pid, "ns/user", t.proc);
	if (t.mnt < 0 || t.user < 0)
		return err_set(e, -errno, "open the namespaces of process %d, which the state names: %m", pid);
	if (is_same(t.mnt, t.proc, "self/ns/mnt"))
		return err_set(e, -EINVAL,
			       "process %d, which the state names, has no mount namespace of its own: add one to "
			       "linux.namespaces of its config.json",
			       pid);
	if (is_same(t.user, t.proc, "self/ns/user"))
		t.user = close_fd(t.user);
	*ret = t;
	t = HOOK_TARGET_INIT;
	return 0;
}

void hook_target_deinit(struct hook_target *t)
{
	t->proc = close_fd(t->proc);
	t->mnt = close_fd(t->mnt);
	t->user = close_fd(t->user);
}

int hook_target_enter(const struct hook_target *t, struct err *e)
{
	if (setns(t->mnt, CLONE_NEWNS) < 0)
		return err_set(e, -errno, "enter the container's mount namespace: %m");
	return 0;
}

/* --- where a file is mounted --- */

static int mount_id(int fd, uint64_t *ret_id)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) < 0)
		return -errno;
	if (!(st.stx_mask & STATX_MNT_ID))
		return -EOPNOTSUPP;
	*ret_id = st.stx_mnt_id;
	return 0;
}

/* In the mount namespace that this process is in now. *ret_text (NULL: not wanted): all of it. */
static int mountinfo_of(int proc, int fd, struct hook_mountinfo *ret, char **ret_text, struct err *e)
{
	cleanup_free char *text = NULL;
	uint64_t id = 0;
	size_t len;
	int r;

	r = mount_id(fd, &id);
	if (r < 0)
		return err_set(e, r, "ask for the id of a mount: %s", strerrordesc_np(-r));
	r = file_read(proc, "self/mountinfo", MOUNTINFO_MAX, &text, &len, e);
	if (r < 0)
		return r;
	r = hook_mountinfo_find(text, id, ret);
	if (r < 0)
		return err_set(e, r, "its mount is not in mountinfo");
	if (ret_text)
		*ret_text = TAKE_PTR(text);
	return 0;
}

static int open_in(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
	const struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve };
	int fd = -1;

	for (int i = 0; i < OPEN_TRIES; i++) {
		fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd < 0 ? -errno : fd;
}

/* --- sources --- */

static int source_open(int proc, const char *path, int *ret_fd, struct err *e)
{
	struct hook_mountinfo info = { .shared = false };
	cleanup_fd int fd = -1;
	int r;

	fd = open_in(AT_FDCWD, path, O_PATH, RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return err_set(e, fd, "%s: %s%s", path, strerrordesc_np(-fd),
			       fd == -ENOENT ? ": the volume has no such file" : "");
	r = mountinfo_of(proc, fd, &info, NULL, e);
	if (r < 0)
		return err_wrap(e, r, "%s", path);
	if (!str_eq(info.fstype, MOUNT_FSTYPE))
		return err_set(e, -EXDEV, "%s is on a file system of type %s, and not on one of secretlet", path,
			       info.fstype);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The runtime looks the path up again, and that cannot be taken from it: no file descriptor of ours outlives the hook, and a
 * path without today's links may be gone with the next update. So who controls what is served could still lead it
 * elsewhere by a link, which createRuntime does not let him. */
int hook_source_check(const char *path, bool *ret_is_dir, struct err *e)
{
	cleanup_fd int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct stat st;
	int r;

	if (proc < 0)
		return err_set(e, -errno, "open /proc: %m");
	r = source_open(proc, path, &fd, e);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: %m", path);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s is neither a folder nor a file", path);
	*ret_is_dir = S_ISDIR(st.st_mode);
	return 0;
}

static int restrict_mount(int mount, int user)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
		.propagation = MS_PRIVATE,
	};

	if (mount_setattr(mount, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return -errno;
	if (user < 0)
		return 0;
	attr = (struct mount_attr){ .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user };
	/* a kernel that has no FUSE_ALLOW_IDMAP: files belong to nobody there, as CAVEATS of secretlet(8) has it */
	if (mount_setattr(mount, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 && errno != EINVAL)
		return -errno;
	return 0;
}

int hook_source_open(const struct hook_target *t, const char *path, int *ret_mount, struct err *e)
{
	cleanup_fd int fd = -1, mount = -1;
	int r;

	r = source_open(t->proc, path, &fd, e);
	if (r < 0)
		return r;
	mount = open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (mount < 0)
		return err_set(e, -errno, "clone the mount of %s: %m", path);
	r = restrict_mount(mount, t->user);
	if (r < 0)
		return err_set(e, r, "make the mount of %s read-only: %s", path, strerrordesc_np(-r));
	*ret_mount = TAKE_FD(mount);
	return 0;
}

/* --- mount points --- */

int hook_point_open(int root, const char *path)
{
	return open_in(root, path, O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* Makes the last element of a path in the folder that the rest of it leads to. */
static int make_element(int parent, const char *name, bool is_dir)
{
	cleanup_fd int file = -1;

	if (is_dir)
		return mkdirat(parent, name, POINT_MODE) < 0 && errno != EEXIST ? -errno : 0;
	file = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	return file < 0 && errno != EEXIST ? -errno : 0;
}

/* Every element is looked for from the root on, so that a link means what it means in the container. A link to nothing
 * stays one: what it leads to is not made. */
static int make_point(int root, const char *destination, bool is_dir, int *ret_fd)
{
	cleanup_free char *path = strdup(destination);
	cleanup_fd int parent = hook_point_open(root, "/");
	mode_t mask = umask(0);
	int r = parent < 0 ? parent : 0;

	if (!path)
		r = -ENOMEM;
	for (char *name = path; r == 0 && *(name += strspn(name, "/"));) {
		char *end = name + strcspn(name, "/"), cut = *end;
		bool is_last = end[strspn(end, "/")] == '\0';
		int fd;

		*end = '\0';
		fd = hook_point_open(root, path);
		if (fd == -ENOENT) {
			r = make_element(parent, name, is_dir || !is_last);
			fd = r < 0 ? r : hook_point_open(root, path);
		}
		*end = cut;
		name = end;
		close_fd(parent);
		parent = fd;
		r = fd < 0 ? fd : 0;
	}
	umask(mask);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(parent);
	return 0;
}

int hook_point_check_type(mode_t mode, bool is_dir, struct err *e)
{
	if (is_dir ? S_ISDIR(mode) : S_ISREG(mode))
		return 0;
	return err_set(e, is_dir ? -ENOTDIR : -EINVAL, "the volume has a %s, but in the image it is %s",
		       is_dir ? "folder" : "file",
		       S_ISDIR(mode)   ? "a folder"
		       : S_ISREG(mode) ? "a file"
				       : "something else");
}

/* The configuration's mounts were looked at by their names, and a link has another one: here are all, where they are. */
static int check_beneath(int proc, int point, const char *mountinfo, struct err *e)
{
	char name[64], path[PATH_MAX];
	const char *hidden;
	ssize_t n;

	snprintf(name, sizeof(name), "self/fd/%d", point);
	n = readlinkat(proc, name, path, sizeof(path));
	if (n <= 0 || (size_t)n == sizeof(path) || path[0] != '/')
		return err_set(e, n < 0 ? -errno : -ENAMETOOLONG, "look for where it is in the container");
	path[n] = '\0';
	hidden = hook_mountinfo_beneath(mountinfo, path);
	return hidden ? err_set(e, -EINVAL, "it would hide what is mounted in it, on %.*s",
				(int)MIN(strcspn(hidden, " \n"), (size_t)128), hidden)
		      : 0;
}

/* What would break more than this container's view of its volume is refused. */
static int check_point(const struct hook_target *t, int root, int point, bool is_dir, struct err *e)
{
	struct hook_mountinfo info = { .shared = false };
	cleanup_free char *text = NULL;
	struct stat st, root_st;
	struct statfs fs;
	int r;

	if (fstat(point, &st) < 0 || fstat(root, &root_st) < 0 || fstatfs(point, &fs) < 0)
		return err_set(e, -errno, "look at the mount point: %m");
	if (st.st_dev == root_st.st_dev && st.st_ino == root_st.st_ino)
		return err_set(e, -EINVAL, "in the image it is a link to the root folder");
	r = hook_point_check_type(st.st_mode, is_dir, e);
	if (r < 0)
		return r;
	/* what a container is confined with is told by files in there */
	if (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC)
		return err_set(e, -EINVAL, "in the container it leads into /proc or /sys");
	r = mountinfo_of(t->proc, point, &info, &text, e);
	if (r < 0)
		return r;
	if (info.shared)
		return err_set(
			e, -EINVAL,
			"in the container it leads into a shared mount: what is mounted there is seen outside of it; "
			"make that volume rslave");
	return check_beneath(t->proc, point, text, e);
}

int hook_target_place(const struct hook_target *t, int root, int mount, const char *destination, struct err *e)
{
	cleanup_fd int point = -1;
	struct stat st;
	int r = 0;

	if (fstat(mount, &st) < 0)
		return err_set(e, -errno, "mountPath %.256s: look at the volume: %m", destination);
	point = hook_point_open(root, destination);
	if (point == -ENOENT)
		r = make_point(root, destination, S_ISDIR(st.st_mode), &point);
	if (r < 0 || point < 0)
		return err_set(e, r < 0 ? r : point,
			       "mountPath %.256s: cannot make the mount point: %s; make it in the image", destination,
			       strerrordesc_np(r < 0 ? -r : -point));
	r = check_point(t, root, point, S_ISDIR(st.st_mode), e);
	if (r < 0)
		return err_wrap(e, r, "mountPath %.256s", destination);
	if (move_mount(mount, "", point, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_set(e, -errno, "mountPath %.256s: mount: %m", destination);
	return 0;
}

void hook_target_take_back(const struct hook_target *t, int mount)
{
	char path[64];

	/* the mount has no other name that a link could not lead elsewhere */
	snprintf(path, sizeof(path), "self/fd/%d", mount);
	if (fchdir(t->proc) == 0)
		umount2(path, MNT_DETACH);
}
