/* What a container tries that wants another pod's files. Linked without libraries: it runs in an empty root folder.
 *
 *   attack [all | NAME] MODE   MODE: what the container may do, of host (CAP_SYS_ADMIN and more), userns, hostpid,
 *                              break (as host, and nobody's Secrets are there afterwards)
 *   attack race MODE           until there is /control/end: all that can be held of the own volume is held and used
 *
 * It knows a lot: where pods are kept and what the other is called ($PODS $OWN $ALIEN: their UIDs; $OWN_GID $ALIEN_GID: their
 * fsGroups; $AGENT_UID, $PIDS: whom to look into where the host's processes can be seen, $SOCKET: the control socket).
 *
 * Each attack is made twice: at /secret, the own volume, and at a folder of the same form from which the same technique does
 * reach what lies beside it, /control/$OWN/.... One that finds nothing there proves nothing here. One line for each:
 *
 *   NAME secret|control SEEN... [ERRNO...]   SEEN: own, alien, control (those markers were read), wrote, nothing */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include "common/base.h"

#define PATH_LEN	 2048
#define UPS		 12 /* far enough out of any path here */
#define SPARE_IDS	 2000 /* how far above its own node an attacker looks */
#define FANOTIFY_SECONDS 2
#define CREDS		 "/volumes/kubernetes.io~secret/creds"
#define MOUNT_POINT	 "/control/mnt"

#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID 0x200
#endif

enum { OWN = 1, ALIEN = 2, CONTROL = 4, WROTE = 8 };
enum mode { HOST = 1, USERNS = 2, HOSTPID = 4, BREAK = 8 };

static struct found {
	unsigned seen, n_wrote;
	bool errors[140];
} * found; /* shared with the children that make the attacks */

static dev_t secret_dev;
static const char *own, *alien, *pods;

/* --- what is seen --- */

static int note(int r)
{
	if (r < 0 && errno < (int)ARRAY_SIZE(found->errors))
		found->errors[errno] = true;
	return r;
}

static void look_at_bytes(const char *buf, size_t len)
{
	if (memmem(buf, len, "own-marker", 10))
		found->seen |= OWN;
	if (memmem(buf, len, "alien-marker", 12))
		found->seen |= ALIEN;
	if (memmem(buf, len, "control-marker", 14))
		found->seen |= CONTROL;
}

static void look_at_fd(int fd)
{
	char buf[4096];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	n = note((int)pread(fd, buf, sizeof buf, 0));
	if (n > 0)
		look_at_bytes(buf, n);
}

static void look_at(int dir, const char *path)
{
	int fd = note(openat(dir, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));

	if (fd < 0)
		return;
	look_at_fd(fd);
	close(fd);
}

/* All files of our file system from this folder on. */
static void look_below(int dir, int depth)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct stat st;

	if (note(d ? 0 : -1) < 0 || !d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		int sub;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (note(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW)) < 0 || st.st_dev != secret_dev)
			continue;
		if (S_ISREG(st.st_mode))
			look_at(dirfd(d), e->d_name);
		sub = S_ISDIR(st.st_mode) && depth > 0 ? openat(dirfd(d), e->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC)
						       : -1;
		if (sub >= 0)
			look_below(sub, depth - 1);
		close_fd(sub);
	}
	closedir(d);
}

/* What could be in a folder that was reached: the other's volume, by all the names that it has. */
static void look_from(int dir)
{
	struct stat st;
	char path[PATH_LEN];

	snprintf(path, sizeof path, "%s" CREDS "/key", alien);
	look_at(dir, path);
	snprintf(path, sizeof path, "../%s" CREDS "/key", alien);
	look_at(dir, path);
	look_at(dir, "by-name/default/alien" CREDS "/key");
	snprintf(path, sizeof path, ".%s/%s" CREDS "/key", pods, alien);
	look_at(dir, path);
	look_at(dir, "key");
	if (fstat(dir, &st) == 0 && st.st_dev == secret_dev)
		look_below(dir, 8);
}

static void look_from_path(const char *path)
{
	int fd = note(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));

	if (fd < 0)
		return;
	look_from(fd);
	close(fd);
}

/* --- out of the bind mount by path --- */

static void go_up(char path[static PATH_LEN])
{
	size_t len = strlen(path);

	snprintf(path + len, PATH_LEN - len, "/..");
}

static void climb(int from)
{
	int fd = openat(from, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; i < UPS && fd >= 0; i++) {
		struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC };
		int up = i % 2 ? openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC)
			       : (int)syscall(SYS_openat2, fd, "..", &how, sizeof how);

		look_from(fd);
		close(fd);
		fd = note(up);
	}
	close_fd(fd);
}

static void climb_path(const char *path)
{
	int fd = note(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));

	if (fd >= 0)
		climb(fd);
	close_fd(fd);
}

static void climb_cwd(void)
{
	for (int i = 0; i < UPS; i++) {
		look_from(AT_FDCWD);
		note(chdir(".."));
	}
}

static void attack_path(const char *base)
{
	static const char *const starts[] = { "", "/..data", "/..data/..", "/..data/../..", "/../../.." };
	char path[PATH_LEN], link[PATH_LEN];
	int fd, root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		snprintf(path, sizeof path, "%s%s", base, starts[i]);
		climb_path(path);
		for (int up = 0; up < UPS; up++) {
			go_up(path);
			look_from_path(path);
		}
		/* through a link that is outside */
		snprintf(link, sizeof link, "/control/link-%d", getpid());
		unlink(link);
		if (symlink(path, link) == 0)
			look_from_path(link);
		unlink(link);
	}
	fd = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (int up = 0; up < UPS; up++) {
		snprintf(path, sizeof path, "/proc/self/fd/%d%.*s", fd, up * 3, "/../../../../../../../../../../../..");
		look_from_path(path);
	}
	if (note(chdir(base)) == 0)
		climb_cwd();
	/* out of a root folder that was changed below the working directory */
	if (note(fchdir(fd)) == 0 && note(chroot(base)) == 0)
		climb_cwd();
	if (note(fchdir(root)) == 0)
		climb_cwd();
	close(root);
	close(fd);
}

/* --- by handle --- */

struct any_handle {
	struct file_handle h;
	uint32_t room[32];
};

static bool try_handle(int mount_fd, struct any_handle *h)
{
	int fd = note(open_by_handle_at(mount_fd, &h->h, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	struct stat st;

	if (fd < 0)
		return errno != EPERM;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		climb(fd);
	else
		look_at_fd(fd);
	close(fd);
	return true;
}

static bool try_handle_of(int mount_fd, const char *path, int flags)
{
	struct any_handle h = { .h.handle_bytes = sizeof h.room };
	int mount_id;

	if (note(name_to_handle_at(AT_FDCWD, path, &h.h, &mount_id, AT_SYMLINK_FOLLOW | flags)) < 0)
		return true;
	return try_handle(mount_fd, &h);
}

/* A node as the kernel's FUSE writes it down: 0x81 and, with its parent, 0x82; and as simpler file systems do. */
static bool forge_handle(int mount_fd, uint64_t id, uint32_t generation)
{
	static const struct {
		int type;
		unsigned words;
	} forms[] = { { 0x81, 3 }, { 0x82, 6 }, { 1, 2 }, { 2, 4 } };

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct any_handle h = { .h = { .handle_bytes = forms[i].words * 4, .handle_type = forms[i].type } };
		uint32_t *words = (uint32_t *)h.h.f_handle;

		if (forms[i].type >= 0x81) {
			words[0] = id >> 32;
			words[1] = (uint32_t)id;
			words[2] = generation;
			if (forms[i].words == 6)
				words[4] = 1;
		} else {
			words[0] = (uint32_t)id;
			words[1] = generation;
		}
		if (!try_handle(mount_fd, &h))
			return false;
	}
	return true;
}

static void attack_handle(const char *base)
{
	bool control = strcmp(base, "/secret") != 0;
	const char *from = control ? "/controlbind" : base;
	int fd = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char path[PATH_LEN];
	struct stat st;

	if (note(fd) < 0)
		return;
	snprintf(path, sizeof path, "%s/key", from);
	try_handle_of(fd, from, 0);
	try_handle_of(fd, path, 0);
	try_handle_of(fd, path, AT_HANDLE_FID);
	if (control) { /* from a mount that shows one folder, a file beside it */
		snprintf(path, sizeof path, "/control/%s" CREDS "/key", alien);
		try_handle_of(fd, path, 0);
	} else if (stat(path, &st) == 0) {
		for (uint64_t id = 1; id < st.st_ino + SPARE_IDS; id++)
			if (!forge_handle(fd, id, 0) || !forge_handle(fd, id, 1))
				break;
	}
	close(fd);
}

/* --- by mounts --- */

static bool own_mounts(void)
{
	return note(unshare(CLONE_NEWNS)) == 0 && note(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) == 0;
}

static void attack_mount(const char *base)
{
	char path[PATH_LEN];
	int old = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (!own_mounts())
		return;
	snprintf(path, sizeof path, "%s", base);
	for (int up = 0; up < 8; up++) {
		for (unsigned recursive = 0; recursive <= AT_RECURSIVE; recursive += AT_RECURSIVE) {
			int tree = note(open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive));

			if (tree < 0)
				continue;
			climb(tree);
			if (note(move_mount(tree, "", AT_FDCWD, MOUNT_POINT, MOVE_MOUNT_F_EMPTY_PATH)) == 0) {
				climb(tree);
				climb_path(MOUNT_POINT);
				umount2(MOUNT_POINT, MNT_DETACH);
				climb(tree); /* nowhere any more */
			}
			close(tree);
		}
		if (note(mount(path, MOUNT_POINT, NULL, MS_BIND | MS_REC, NULL)) == 0) {
			climb_path(MOUNT_POINT);
			umount2(MOUNT_POINT, MNT_DETACH);
		}
		go_up(path);
	}
	if (note(mount(base, MOUNT_POINT, NULL, MS_MOVE, NULL)) == 0)
		climb_path(MOUNT_POINT);
	if (note(umount2(base, MNT_DETACH)) == 0)
		climb(old);
	climb_path(base);
	close(old);
}

/* Owners by a map of one's own: whoever is root there owns the files, but of what the mount shows. */
static void attack_idmap(const char *base)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP };
	char path[PATH_LEN], map[64];
	int pair[2], f;
	pid_t pid;

	if (!own_mounts() || pipe(pair) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		char c = unshare(CLONE_NEWUSER) == 0;

		if (write(pair[1], &c, 1) == 1)
			pause();
		_exit(0);
	}
	if (read(pair[0], map, 1) != 1 || !map[0])
		return;
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "/proc/%d/%s", pid, i ? "gid_map" : "uid_map");
		f = open(path, O_WRONLY | O_CLOEXEC);
		note((int)write(f, "0 0 100000", 10));
		close(f);
	}
	snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
	attr.userns_fd = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof path, "%s", base);
	for (int up = 0; up < 6; up++) {
		int tree = note(open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));

		if (tree >= 0 && note(mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof attr)) == 0) {
			climb(tree);
			if (note(move_mount(tree, "", AT_FDCWD, MOUNT_POINT, MOVE_MOUNT_F_EMPTY_PATH)) == 0)
				climb_path(MOUNT_POINT);
			umount2(MOUNT_POINT, MNT_DETACH);
		}
		close_fd(tree);
		go_up(path);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A device with the number of the mount, and the file system's own. */
static void attack_device(const char *base)
{
	bool control = strcmp(base, "/secret") != 0;
	static const char node[] = "/control/node", fuse[] = "/control/fuse";
	uint32_t fd_number;
	int fd;

	unlink(node);
	for (int i = 0; i < 2; i++) {
		dev_t dev = control ? makedev(1, 5) : secret_dev; /* the control: /dev/zero */

		if (note(mknod(node, (i ? S_IFBLK : S_IFCHR) | 0600, dev)) < 0)
			continue;
		fd = note(open(node, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
		unlink(node);
		if (fd >= 0) {
			char buf[4096];
			ssize_t n = read(fd, buf, sizeof buf);

			if (n > 0)
				look_at_bytes(buf, n);
			if (control && n == (ssize_t)sizeof buf)
				found->seen |= CONTROL;
			close(fd);
		}
	}
	if (control)
		return;
	unlink(fuse);
	note(mknod(fuse, S_IFCHR | 0600, makedev(10, 229)));
	fd = note(open(fuse, O_RDWR | O_NONBLOCK | O_CLOEXEC));
	unlink(fuse);
	if (fd < 0)
		return;
	for (fd_number = 0; fd_number < 256; fd_number++)
		if (note(ioctl(fd, FUSE_DEV_IOC_CLONE, &fd_number)) == 0)
			found->seen |= ALIEN;
	close(fd);
}

/* Events of a whole file system come with an open file each. */
static void attack_fanotify(const char *base)
{
	int group = note(fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC));
	time_t end = time(NULL) + FANOTIFY_SECONDS;
	char buf[8192] __attribute__((__aligned__(8)));

	if (group < 0)
		return;
	note(fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, base));
	note(fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN, AT_FDCWD, base));
	while (time(NULL) < end) {
		ssize_t n = read(group, buf, sizeof buf);
		struct fanotify_event_metadata *e = (void *)buf;

		if (n < 0)
			usleep(1000);
		for (; n > 0 && FAN_EVENT_OK(e, n); e = FAN_EVENT_NEXT(e, n)) {
			look_at_fd(e->fd);
			close_fd(e->fd);
		}
	}
	close(group);
}

/* --- through processes --- */

/* Memory that can be written, up to a limit: a marker in it. */
static void look_at_memory(const char *pid)
{
	static char buf[1 << 20];
	unsigned long from, to;
	char path[64], line[512], perms[8];
	FILE *maps;
	int mem;

	snprintf(path, sizeof path, "/proc/%s/mem", pid);
	mem = note(open(path, O_RDONLY | O_CLOEXEC));
	snprintf(path, sizeof path, "/proc/%s/maps", pid);
	maps = fopen(path, "re");
	note(maps ? 0 : -1);
	while (mem >= 0 && maps && fgets(line, sizeof line, maps)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, perms) != 3 || perms[1] != 'w')
			continue;
		for (; from < to; from += sizeof buf) {
			ssize_t n = pread(mem, buf, MIN(sizeof buf, to - from), (off_t)from);

			if (n <= 0)
				break;
			look_at_bytes(buf, n);
		}
	}
	if (maps)
		fclose(maps);
	close_fd(mem);
}

/* Of a process of the daemon's nothing at all may be had, whatever is in it; but for its maps, environment and the like, which
 * newer kernels show to CAP_SYS_ADMIN (may_access_mm()). */
static void open_up(const char *pid)
{
	static const char *const doors[] = { "root", "cwd", "exe", "ns/mnt", "mem", "fdinfo", "io", "syscall" };
	int pidfd = (int)syscall(SYS_pidfd_open, atoi(pid), 0), fd;
	char path[PATH_LEN], byte;
	struct iovec ours = { &byte, 1 }, theirs = { &pidfd, 1 };

	for (size_t i = 0; i < ARRAY_SIZE(doors); i++) {
		snprintf(path, sizeof path, "/proc/%s/%s", pid, doors[i]);
		fd = note(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
		/* of these an open proves nothing */
		if (fd >= 0 && (i < 6 || read(fd, &byte, 1) > 0))
			found->seen |= ALIEN;
		close_fd(fd);
	}
	for (int i = 0; pidfd >= 0 && i < 64; i++) {
		fd = note((int)syscall(SYS_pidfd_getfd, pidfd, i, 0));
		if (fd >= 0)
			found->seen |= ALIEN;
		close_fd(fd);
	}
	if (note((int)syscall(SYS_process_vm_readv, atoi(pid), &ours, 1, &theirs, 1, 0)) >= 0)
		found->seen |= ALIEN;
	if (note((int)ptrace(PTRACE_SEIZE, atoi(pid), 0, 0)) == 0)
		found->seen |= ALIEN; /* and this process's end lets it go */
	close_fd(pidfd);
}

static void look_into(const char *pid)
{
	static const char *const links[] = { "root", "cwd" };
	int pidfd = (int)syscall(SYS_pidfd_open, atoi(pid), 0);
	char path[PATH_LEN];
	DIR *d;
	int ns;

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		snprintf(path, sizeof path, "/proc/%s/%s", pid, links[i]);
		climb_path(path);
		snprintf(path, sizeof path, "/proc/%s/%s/secret", pid, links[i]);
		look_from_path(path);
	}
	snprintf(path, sizeof path, "/proc/%s/fd", pid);
	d = opendir(path);
	note(d ? 0 : -1);
	for (struct dirent *e; d && (e = readdir(d));) {
		struct stat st;

		if (e->d_name[0] == '.' || note(fstatat(dirfd(d), e->d_name, &st, 0)) < 0)
			continue;
		snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, e->d_name);
		if (S_ISREG(st.st_mode))
			look_at(AT_FDCWD, path);
		else if (S_ISDIR(st.st_mode))
			climb_path(path);
	}
	if (d)
		closedir(d);
	for (int i = 0; pidfd >= 0 && i < 64; i++) {
		int fd = note((int)syscall(SYS_pidfd_getfd, pidfd, i, 0));
		struct stat st;

		if (fd < 0)
			continue;
		if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
			climb(fd);
		look_at_fd(fd);
		close(fd);
	}
	close_fd(pidfd);
	look_at_memory(pid);
	snprintf(path, sizeof path, "/proc/%s/ns/mnt", pid);
	ns = note(open(path, O_RDONLY | O_CLOEXEC));
	if (ns >= 0 && note(setns(ns, CLONE_NEWNS)) == 0)
		look_from_path("/");
	close_fd(ns);
}

static void look_into_all(void)
{
	char *pids = getenv("PIDS"), *copy = pids ? strdup(pids) : NULL, *save = NULL, self[16];
	DIR *d = NULL;

	snprintf(self, sizeof self, "%d", getpid());
	if (copy && *copy) {
		for (char *pid = strtok_r(copy, " ", &save); pid; pid = strtok_r(NULL, " ", &save)) {
			open_up(pid);
			look_into(pid);
		}
	} else {
		d = opendir("/proc");
		for (struct dirent *e; d && (e = readdir(d));)
			if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && strcmp(e->d_name, self) != 0)
				look_into(e->d_name);
	}
	if (d)
		closedir(d);
	free(copy);
}

/* The control: another process, of the same user, whose root is where the marker is. */
static void attack_process(const char *base)
{
	char pid_text[16], c;
	int pair[2];
	pid_t pid;

	if (strcmp(base, "/secret") == 0) {
		look_into_all();
		return;
	}
	if (pipe(pair) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_DUMPABLE, 1);
		if (chdir("/control") < 0 || write(pair[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	if (read(pair[0], &c, 1) == 1) {
		snprintf(pid_text, sizeof pid_text, "%d", pid);
		look_into(pid_text);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void become(uid_t uid, gid_t gid)
{
	if (setgroups(1, &gid) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		_exit(3);
}

/* As the agent's own user: the kernel then asks for no capability, only whether the process may be looked into. */
static void attack_agent(const char *base)
{
	uid_t uid = atoi(getenv("AGENT_UID") ?: "1");

	become(uid, uid);
	attack_process(base);
}

static void attack_socket(const char *base)
{
	bool control = strcmp(base, "/secret") != 0;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
	    s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof a.sun_path, "%s", control ? "/control/socket" : getenv("SOCKET") ?: "");
	if (control) {
		unlink(a.sun_path);
		if (bind(listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(listener, 1) < 0)
			return;
	}
	if (note(connect(s, (struct sockaddr *)&a, sizeof a)) == 0)
		found->seen |= control ? CONTROL : ALIEN;
	close(s);
	close(listener);
}

/* --- what gives rights to who executes or opens it --- */

static void look_for_rights(int dir, int depth)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), sub;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct stat st;

	if (note(d ? 0 : -1) < 0 || !d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    note(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW)) < 0)
			continue;
		if (S_ISREG(st.st_mode) ? st.st_mode & 07000 : !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
			found->seen |= WROTE;
		else
			found->seen |= OWN;
		sub = S_ISDIR(st.st_mode) && depth > 0 ? openat(dirfd(d), e->d_name, O_PATH | O_CLOEXEC) : -1;
		if (sub >= 0)
			look_for_rights(sub, depth - 1);
		close_fd(sub);
	}
	closedir(d);
}

/* The flags of the mount are `secretlet mounts`'; without them it is the files' modes alone. */
static void attack_rights(const char *base)
{
	const unsigned long all = ST_NOSUID | ST_NODEV | ST_NOEXEC;
	int fd = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char path[PATH_LEN];
	struct statvfs st;

	if (strcmp(base, "/secret") != 0) {
		snprintf(path, sizeof path, "%s/set", base);
		close_fd(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
		chmod(path, 04755);
	}
	if (note(statvfs(base, &st)) == 0 && (st.f_flag & all) != all)
		found->seen |= CONTROL;
	look_for_rights(fd, 8);
	close_fd(fd);
}

/* --- as somebody else --- */

static void attack_group(const char *base)
{
	become(1000, atoi(getenv("ALIEN_GID") ?: "1"));
	attack_path(base);
}

static void attack_stranger(const char *base)
{
	become(1000, atoi(getenv("ALIEN_GID") ?: "1"));
	look_from_path(base);
}

static void attack_member(const char *base)
{
	become(1000, atoi(getenv("OWN_GID") ?: "1"));
	look_from_path(base);
}

/* --- changes --- */

static void wrote(int r)
{
	if (note(r) < 0)
		return;
	found->seen |= WROTE;
	found->n_wrote++;
}

static void wrote_fd(int fd)
{
	wrote(fd);
	close_fd(fd);
}

static void change_file(const char *path)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_NOW } };
	int fd = note(open(path, O_RDWR | O_CLOEXEC)), ro = open(path, O_RDONLY | O_CLOEXEC), flags = 0;
	struct fsxattr fsx = { 0 };
	struct stat st;
	off_t in = 0, out = 0;

	wrote_fd(open(path, O_WRONLY | O_TRUNC | O_CLOEXEC));
	wrote_fd(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
	wrote(truncate(path, 0));
	wrote(fstat(ro, &st) == 0 ? chmod(path, st.st_mode & 07777) : -1);
	wrote(chmod(path, 0666));
	wrote(chown(path, 1, 1));
	wrote(utimensat(AT_FDCWD, path, times, 0));
	wrote(setxattr(path, "user.x", "x", 1, 0));
	wrote(setxattr(path, "trusted.x", "x", 1, 0));
	wrote(setxattr(path, "security.x", "x", 1, 0));
	wrote(removexattr(path, "user.x"));
	wrote(ioctl(ro, FS_IOC_SETFLAGS, &flags));
	wrote(ioctl(ro, FS_IOC_FSSETXATTR, &fsx));
	if (fd >= 0) {
		wrote((int)pwrite(fd, "x", 1, 0));
		wrote(ftruncate(fd, 0));
		wrote(fallocate(fd, 0, 0, 8192));
		wrote(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1));
		wrote((int)copy_file_range(ro, &in, fd, &out, 1, 0));
	}
	close_fd(fd);
	close_fd(ro);
}

static void change_folder(const char *dir)
{
	char key[PATH_LEN], scratch[PATH_LEN], made[PATH_LEN];
	struct stat st;

	snprintf(key, sizeof key, "%s/key", dir);
	snprintf(scratch, sizeof scratch, "%s/scratch", dir);
	snprintf(made, sizeof made, "%s/made", dir);
	wrote(stat(dir, &st) == 0 ? chmod(dir, st.st_mode & 07777) : -1);
	wrote(chmod(dir, 0777));
	wrote(chown(dir, 1, 1));
	wrote_fd(open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	unlink(made);
	wrote_fd(open(dir, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600));
	wrote(mkdir(made, 0700));
	rmdir(made);
	wrote(symlink("key", made));
	unlink(made);
	wrote(mknod(made, S_IFIFO | 0600, 0));
	unlink(made);
	wrote(mknod(made, S_IFCHR | 0600, makedev(1, 3)));
	unlink(made);
	wrote(mknod(made, S_IFSOCK | 0600, 0));
	unlink(made);
	wrote(link(key, made));
	unlink(made);
	wrote(renameat2(AT_FDCWD, key, AT_FDCWD, scratch, RENAME_EXCHANGE));
	wrote(rename(key, made));
	wrote(rename(made, key));
	wrote(rename(scratch, key));
	snprintf(made, sizeof made, "%s/..data", dir);
	wrote(unlink(made));
	wrote(unlink(key));
	wrote(rmdir(dir));
}

static void change_all(const char *base)
{
	char path[PATH_LEN];

	snprintf(path, sizeof path, "%s/..data/key", base);
	change_file(path);
	snprintf(path, sizeof path, "%s/key", base);
	change_file(path);
	snprintf(path, sizeof path, "%s/..data", base);
	change_folder(path);
	change_folder(base);
}

static void attack_write(const char *base)
{
	char copy[PATH_LEN];

	if (strcmp(base, "/secret") == 0) {
		change_all(base);
		return;
	}
	/* the control: a folder that is thrown away */
	snprintf(copy, sizeof copy, "/control/thrown-%d", getpid());
	mkdir(copy, 0755);
	snprintf(copy + strlen(copy), sizeof copy - strlen(copy), "/key");
	close_fd(open(copy, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	*strrchr(copy, '/') = 0;
	change_all(copy);
}

/* With the mount made writable: what is left are the agent's own refusals. */
static void attack_remount(const char *base)
{
	if (!own_mounts())
		return;
	if (strcmp(base, "/secret") == 0 && note(mount(NULL, base, NULL, MS_REMOUNT | MS_BIND, NULL)) < 0)
		return;
	attack_write(base);
}

/* A page of the own volume can be changed by whoever has it mapped from a writable mount. It stays the own volume's. */
static void attack_map(const char *base)
{
	char path[PATH_LEN], *page;
	int fd;

	if (!own_mounts())
		return;
	mount(NULL, base, NULL, MS_REMOUNT | MS_BIND, NULL);
	snprintf(path, sizeof path, "%s/scratch", base);
	fd = note(open(path, O_RDWR | O_CLOEXEC));
	page = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page != MAP_FAILED) {
		page[0] = '#';
		found->seen |= WROTE;
	} else {
		note(-1);
	}
	close_fd(fd);
}

/* --- as root of a user namespace --- */

static bool own_user_namespace(void)
{
	char map[64];
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int f;

	if (note(unshare(CLONE_NEWUSER | CLONE_NEWNS)) < 0)
		return false;
	f = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
	note((int)write(f, "deny", 4));
	close(f);
	f = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
	note((int)write(f, map, snprintf(map, sizeof map, "0 %u 1", uid)));
	close(f);
	f = open("/proc/self/gid_map", O_WRONLY | O_CLOEXEC);
	note((int)write(f, map, snprintf(map, sizeof map, "0 %u 1", gid)));
	close(f);
	return geteuid() == 0;
}

static void apart(void (*attack)(const char *), const char *base)
{
	pid_t pid = fork();

	if (pid == 0) {
		attack(base);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void attack_userns(const char *base)
{
	if (!own_user_namespace())
		return;
	apart(attack_path, base);
	apart(attack_handle, base);
	apart(attack_mount, base);
	apart(attack_idmap, base);
	apart(attack_fanotify, base);
	if (strcmp(base, "/secret") == 0) {
		apart(attack_write, base);
		apart(attack_remount, base);
	}
}

/* What would end or change the file system for everybody. The control: the same on a file system of one's own. */
static void attack_superblock(const char *base)
{
	bool control = strcmp(base, "/secret") != 0;

	if (!(geteuid() == 0 && own_mounts()))
		return;
	if (control) {
		if (mount("own", MOUNT_POINT, "tmpfs", 0, NULL) == 0 &&
		    note(mount(NULL, MOUNT_POINT, NULL, MS_REMOUNT | MS_RDONLY, NULL)) == 0)
			found->seen |= CONTROL;
		umount2(MOUNT_POINT, MNT_DETACH);
		return;
	}
	wrote(mount(NULL, base, NULL, MS_REMOUNT | MS_RDONLY, NULL));
	wrote(mount("none", MOUNT_POINT, "fusectl", 0, NULL));
	wrote(umount2(base, MNT_FORCE));
}

/* Of these two the superblock's flags are everybody's. */
static void attack_readonly(const char *base)
{
	bool control = strcmp(base, "/secret") != 0;
	int fs;

	if (!own_mounts())
		return;
	if (control) {
		if (mount("own", MOUNT_POINT, "tmpfs", 0, NULL) < 0)
			return;
		base = MOUNT_POINT;
	}
	wrote(mount(NULL, base, NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID, NULL));
	fs = note((int)syscall(SYS_fspick, AT_FDCWD, base, FSPICK_CLOEXEC));
	if (fs >= 0 && note((int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "ro", NULL, 0)) == 0)
		wrote((int)syscall(SYS_fsconfig, fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
	close_fd(fs);
	if (control)
		umount2(MOUNT_POINT, MNT_DETACH);
}

/* --- racing a publish --- */

#define HELD 24

static unsigned long n_own, n_gone, n_odd, n_wrote;

static void race_note(ssize_t n, const char *buf)
{
	if (n > 0) {
		unsigned before = found->seen;

		found->seen = 0;
		look_at_bytes(buf, n);
		n_own += found->seen == OWN;
		n_odd += found->seen != OWN;
		found->seen |= before;
	} else if (n < 0 && (errno == ENOENT || errno == ESTALE)) {
		n_gone++;
	} else {
		note(-1);
		n_odd++;
	}
}

static void race_fd(int fd)
{
	static char buf[4096] __attribute__((__aligned__(4096)));
	int direct;
	char path[64];

	race_note(pread(fd, buf, sizeof buf, 0), buf);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* so that the agent is asked */
	race_note(pread(fd, buf, sizeof buf, 0), buf);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (direct < 0) {
		race_note(-1, "");
		return;
	}
	race_note(pread(direct, buf, sizeof buf, 0), buf);
	close(direct);
}

static void race_at(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		race_note(-1, "");
	else
		race_fd(fd);
	close_fd(fd);
}

/* The publisher's own calls, from a mount that was made writable: at the right moment one of them is staged. */
static void race_publisher(void)
{
	n_wrote += rename("/secret/..data_tmp", "/secret/..data") == 0;
	n_wrote += unlink("/secret/..data_tmp") == 0;
	n_wrote += unlink("/secret/key") == 0;
	n_wrote += chmod("/secret", 02755) == 0;
}

static int race(void)
{
	int files[HELD], paths[HELD], folders[HELD];
	unsigned long looks = 0;

	for (size_t i = 0; i < HELD; i++)
		files[i] = paths[i] = folders[i] = -1;
	if (!own_mounts() || mount(NULL, "/secret", NULL, MS_REMOUNT | MS_BIND, NULL) < 0 || chdir("/secret") < 0)
		return 1;
	for (; access("/control/end", F_OK) < 0; looks++) {
		size_t i = looks % HELD;

		/* the first ones are held to the end */
		if (i >= HELD / 2 || looks < HELD) {
			close_fd(files[i]);
			close_fd(paths[i]);
			close_fd(folders[i]);
			files[i] = open("/secret/key", O_RDONLY | O_CLOEXEC);
			paths[i] = open("/secret/key", O_PATH | O_CLOEXEC);
			folders[i] = open("/secret/..data", O_PATH | O_DIRECTORY | O_CLOEXEC);
		}
		race_at(AT_FDCWD, "/secret/key");
		race_at(AT_FDCWD, "key");
		race_at(AT_FDCWD, "..data/key");
		if (files[i] >= 0)
			race_fd(files[i]);
		if (folders[i] >= 0)
			race_at(folders[i], "key");
		if (paths[i] >= 0) {
			char path[64];

			snprintf(path, sizeof path, "/proc/self/fd/%d", paths[i]);
			race_at(AT_FDCWD, path);
		}
		look_from_path("/secret");
		race_publisher();
		if (looks % 16 == 0)
			usleep(1000); /* there are others on this machine */
		if (looks % 64 == 0) {
			printf("race: %lu looks, %lu own, %lu gone, %lu odd, alien %s\n", looks, n_own, n_gone, n_odd,
			       found->seen & ALIEN ? "seen" : "never");
			fflush(stdout);
		}
	}
	printf("race end: alien %s, wrote %lu, odd %lu:", found->seen & ALIEN ? "seen" : "never", n_wrote, n_odd);
	for (int i = 1; i < (int)ARRAY_SIZE(found->errors); i++)
		if (found->errors[i] && i != ENOENT && i != ESTALE)
			printf(" %s", strerrorname_np(i) ?: "?");
	printf("\n");
	return 0;
}

/* --- --- */

static const struct {
	const char *name;
	void (*run)(const char *base);
	unsigned modes;
} ATTACKS[] = {
	{ "path", attack_path, HOST | USERNS },
	{ "handle", attack_handle, HOST | USERNS },
	{ "mount", attack_mount, HOST | USERNS },
	{ "idmap", attack_idmap, HOST | USERNS },
	{ "device", attack_device, HOST | USERNS },
	{ "fanotify", attack_fanotify, HOST | USERNS },
	{ "process", attack_process, HOST | USERNS | HOSTPID },
	{ "agent", attack_agent, HOSTPID },
	{ "socket", attack_socket, HOST | USERNS | HOSTPID },
	{ "group", attack_group, HOST | USERNS },
	{ "stranger", attack_stranger, HOST },
	{ "member", attack_member, HOST },
	{ "rights", attack_rights, HOST | USERNS },
	{ "userns", attack_userns, HOST | USERNS },
	{ "superblock", attack_superblock, USERNS | BREAK },
	{ "readonly", attack_readonly, USERNS | BREAK },
	{ "write", attack_write, HOST | USERNS | HOSTPID },
	{ "remount", attack_remount, HOST | USERNS },
	{ "map", attack_map, HOST },
};

static const char *const MODES[] = { "host", "userns", "hostpid", "break" };

static void report(const char *name, const char *target)
{
	static const char *const names[] = { "own", "alien", "control", "wrote" };

	printf("%s %s", name, target);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (found->seen & 1u << i)
			printf(" %s", names[i]);
	if (!found->seen)
		printf(" nothing");
	if (found->n_wrote)
		printf(" changes=%u", found->n_wrote);
	for (int i = 1; i < (int)ARRAY_SIZE(found->errors); i++)
		if (found->errors[i])
			printf(" %s", strerrorname_np(i) ?: "?");
	printf("\n");
	fflush(stdout);
}

static void make(size_t i)
{
	char control[PATH_LEN];

	snprintf(control, sizeof control, "/control/%s" CREDS, own);
	for (int pass = 0; pass < 2; pass++) {
		memset(found, 0, sizeof *found);
		apart(ATTACKS[i].run, pass ? control : "/secret");
		report(ATTACKS[i].name, pass ? "control" : "secret");
	}
}

int main(int argc, char **argv)
{
	unsigned mode = 0;
	struct stat st;

	found = mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	own = getenv("OWN");
	alien = getenv("ALIEN");
	pods = getenv("PODS");
	if (argc != 3 || found == MAP_FAILED || !own || !alien || !pods || stat("/secret/.", &st) < 0) {
		fprintf(stderr,
			"usage: attack [all | NAME] host|userns|hostpid|break, attack race MODE; see attack.c\n");
		return 64;
	}
	secret_dev = st.st_dev;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (strcmp(argv[1], "race") == 0)
		return race();
	for (size_t i = 0; i < ARRAY_SIZE(MODES); i++)
		if (strcmp(argv[2], MODES[i]) == 0)
			mode = 1u << i;
	mkdir(MOUNT_POINT, 0755);
	for (size_t i = 0; i < ARRAY_SIZE(ATTACKS); i++)
		if ((ATTACKS[i].modes & mode) && (strcmp(argv[1], "all") == 0 || strcmp(argv[1], ATTACKS[i].name) == 0))
			make(i);
	printf("end\n");
	return 0;
}
