/* Mount: by the new mount calls, which need no path but the mount point's and name what they refuse in a log of their
 * own. glibc 2.36 has wrappers for all of them. Which mounts are there is read from mountinfo (proc_pid_mountinfo(5)). */
#include "fusefs/mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "common/file.h"
#include "fusefs/probe.h"

#define MOUNTINFO_MAX (64u << 20)
#define MOUNTS_MAX    64 /* stacked on one path; more is a loop of somebody's */

/* --- mountinfo --- */

/* Undoes the \ooo escapes in place. */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
		    s[3] <= '7') {
			*out++ = (s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0');
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = 0;
}

/* "36 35 98:0 /root /mount/point opts [optional...] - fstype source superopts"; false: not such a line. */
static bool line_parse(char *line, char **ret_path, char **ret_fstype, uint64_t *ret_device)
{
	char *path = NULL, *dash = strstr(line, " - ");
	unsigned major = 0, minor = 0;
	char *save = NULL;
	int field = 0;

	if (!dash)
		return false;
	*dash = 0;
	for (char *s = strtok_r(line, " ", &save); s; s = strtok_r(NULL, " ", &save), field++) {
		if (field == 2 && sscanf(s, "%u:%u", &major, &minor) != 2)
			return false;
		if (field == 4)
			path = s;
	}
	if (!path)
		return false;
	*ret_device = makedev(major, minor);
	unescape(path);
	*ret_path = path;
	*ret_fstype = dash + 3;
	(*ret_fstype)[strcspn(*ret_fstype, " ")] = 0;
	return true;
}

/* The file system type and device number of the topmost mount on this path; "" if there is none. */
static int top_mount(const char *path, char *fstype, size_t size, uint64_t *ret_device, struct err *e)
{
	cleanup_free char *text = NULL;
	char *save = NULL;
	size_t len;
	int r;

	r = file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, &len, e);
	if (r < 0)
		return r;
	*fstype = 0;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *at, *type;
		uint64_t device;

		/* of several mounts on one path the last line is the topmost */
		if (!line_parse(line, &at, &type, &device) || !str_eq(at, path))
			continue;
		snprintf(fstype, size, "%s", type);
		*ret_device = device;
	}
	return 0;
}

static bool is_ours(const char *fstype)
{
	return str_eq(fstype, MOUNT_FSTYPE);
}

/* --- those of an earlier run --- */

int mount_probe(const char *pods_dir, enum mount_state *ret_state, char *ret_fstype, size_t fstype_size, struct err *e)
{
	char fstype[64];
	uint64_t device;
	bool dead = false;
	int r;

	r = top_mount(pods_dir, fstype, sizeof fstype, &device, e);
	if (r < 0)
		return r;
	if (!*fstype) {
		*ret_state = MOUNT_NONE;
	} else if (!is_ours(fstype)) {
		*ret_state = MOUNT_FOREIGN;
	} else {
		r = probe_dead(pods_dir, &dead, e);
		if (r < 0)
			return r;
		*ret_state = dead ? MOUNT_DEAD : MOUNT_ALIVE;
	}
	if (ret_fstype)
		snprintf(ret_fstype, fstype_size, "%s", fstype);
	return 0;
}

int mount_clear(const char *pods_dir, bool abort, struct err *e)
{
	int flags = MNT_DETACH | UMOUNT_NOFOLLOW | (abort ? MNT_FORCE : 0), r;
	uint64_t device;
	char fstype[64];

	for (int i = 0; i < MOUNTS_MAX; i++) {
		r = top_mount(pods_dir, fstype, sizeof fstype, &device, e);
		if (r < 0)
			return r;
		if (!is_ours(fstype))
			return 0;
		if (umount2(pods_dir, flags) < 0)
			return err_set(e, -errno, "unmount %s: %m", pods_dir);
	}
	return err_set(e, -ELOOP, "too many mounts on %s", pods_dir);
}

/* --- mounting --- */

/* The first line of the fs context's log: "e fuse: Bad value for 'fd'". */
static int context_error(int fs, int code, const char *what, struct err *e)
{
	char text[256] = "";
	ssize_t n = read(fs, text, sizeof text - 1);

	if (n <= 2)
		return err_set(e, code, "%s: %s", what, strerror(-code));
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	return err_set(e, code, "%s: %s (%s)", what, strerror(-code), text + 2);
}

static int context_new(int fuse, int *ret_fs, struct err *e)
{
	cleanup_fd int fs = fsopen("fuse", FSOPEN_CLOEXEC);
	char fd_text[16];
	const struct {
		const char *key, *value; /* no value: a flag */
	} options[] = {
		{ "source", "secretlet" }, { "subtype", strchr(MOUNT_FSTYPE, '.') + 1 },
		{ "fd", fd_text },	   { "rootmode", "40711" }, /* octal, S_IFDIR | 0711 */
		{ "user_id", "0" },	   { "group_id", "0" },
		{ "allow_other", NULL },   { "default_permissions", NULL },
	};

	if (fs < 0)
		return err_set(e, -errno, "fsopen fuse: %m");
	snprintf(fd_text, sizeof fd_text, "%d", fuse);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		unsigned cmd = options[i].value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

		if (fsconfig(fs, cmd, options[i].key, options[i].value, 0) < 0)
			return context_error(fs, -errno, options[i].key, e);
	}
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return context_error(fs, -errno, "fsconfig create", e);
	*ret_fs = TAKE_FD(fs);
	return 0;
}

/* The writable twin of a mount that is attached already. */
static int private_clone(int public, int *ret_private, struct err *e)
{
	struct mount_attr writable = { .attr_clr = MOUNT_ATTR_RDONLY };
	cleanup_fd int private = open_tree(public, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (private < 0)
		return err_set(e, -errno, "open_tree: %m");
	if (mount_setattr(private, "", AT_EMPTY_PATH, &writable, sizeof writable) < 0)
		return err_set(e, -errno, "mount_setattr: %m");
	*ret_private = TAKE_FD(private);
	return 0;
}

int mount_create(const char *pods_dir, struct mount_fds *ret_fds, struct err *e)
{
	cleanup_fd int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC), fs = -1, public = -1;
	int r;

	if (fuse < 0)
		return err_set(e, -errno, "open /dev/fuse: %m");
	r = context_new(fuse, &fs, e);
	if (r < 0)
		return err_wrap(e, r, "mount");
	public = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
	if (public < 0)
		return context_error(fs, -errno, "fsmount", e);
	if (move_mount(public, "", AT_FDCWD, pods_dir, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_set(e, -errno, "mount on %s: %m", pods_dir);

	r = private_clone(public, &ret_fds->private, e);
	if (r < 0) {
		umount2(pods_dir, MNT_DETACH | UMOUNT_NOFOLLOW);
		return r;
	}
	ret_fds->fuse = TAKE_FD(fuse);
	return 0;
}

int mount_device(const char *pods_dir, uint64_t *ret_device, struct err *e)
{
	uint64_t device = 0;
	char fstype[64];
	int r;

	r = top_mount(pods_dir, fstype, sizeof fstype, &device, e);
	if (r < 0)
		return r;
	if (!is_ours(fstype))
		return err_set(e, -ENOENT, "nothing of ours is mounted on %s", pods_dir);
	*ret_device = device;
	return 0;
}

int mount_make_writable(int private)
{
	cleanup_fd int fs = -1;
	struct statfs st;

	if (fstatfs(private, &st) < 0)
		return -errno;
	if (!(st.f_flags & ST_RDONLY))
		return MOUNT_WRITABLE;
	fs = fspick(private, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_FLAG, "rw", NULL, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		return -errno;
	return 0;
}

/* The path ends at the mount's root, for which the kernel asks nobody. */
int mount_adopt(const char *pods_dir, uint64_t device, int *ret_private, struct err *e)
{
	cleanup_fd int public = -1;
	uint64_t found = 0;
	int r;

	r = mount_device(pods_dir, &found, e);
	if (r < 0)
		return r;
	if (found != device)
		return err_set(e, -ENOENT, "what is mounted on %s is not of the connection that was kept", pods_dir);
	public = open_tree(AT_FDCWD, pods_dir, OPEN_TREE_CLOEXEC);
	if (public < 0)
		return err_set(e, -errno, "open_tree %s: %m", pods_dir);
	return private_clone(public, ret_private, e);
}
