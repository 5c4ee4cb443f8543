/* Publisher: runs orders. Everything it needs is in static memory or on the stack and opened before the filter is on,
 * so that nineteen system calls are enough for ever. Contents are read with sendfile(2) into /dev/null: they come
 * into the kernel's page cache and never into this process.
 *
 * What the kernel is to drop of a live file it is told here and not by the agent: it waits for pages that are just being
 * read, and so for the agent.
 *
 * Without capabilities uid 0 is an ordinary user that owns the folders of the tree, which is all that it takes. It also owns
 * most of the host, and both the orders and the links that a path meets in the tree are the agent's, which talks to the
 * network: so the private mount is this process's root folder, and no path leads out of it. */
#include "fusefs/publisher.h"

#include <cap-ng.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fuse.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "common/clock.h"
#include "common/landlock.h"
#include "common/log.h"
#include "common/sysfilter.h"
#include "fusefs/order.h"

#ifndef SYS_renameat
#define SYS_renameat SYSFILTER_NO_CALL
#endif

#define SENDFILE_MAX (1u << 20)

struct publisher {
	int socket, root, null;
	int fuse; /* of the message that is being run; -1: it has brought none */
};

struct inval {
	struct fuse_out_header head;
	struct fuse_notify_inval_inode_out what;
};

/* O_NONBLOCK: a container's root can hold a lease on its file, and an open that breaks it would wait for 45 seconds, and
 * with it every other pod. */
static int run_read_file(const struct publisher *p, const char *path)
{
	cleanup_fd int fd = openat(p->root, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = sendfile(p->null, fd, NULL, SENDFILE_MAX);
	while (n > 0);
	if (n < 0)
		return -errno;
	/* reading makes the cached access time stale; asking here saves the first reader from it */
	return fstatat(fd, "", &st, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int run_read_link(const struct publisher *p, const char *path)
{
	char target[ORDER_PATH_MAX];
	struct stat st;

	if (readlinkat(p->root, path, target, sizeof target) < 0)
		return -errno;
	return fstatat(p->root, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* Opening has brought the folder's time of change up to date, for which alone the kernel keeps a listing. */
static int run_read_dir(const struct publisher *p, const char *path)
{
	static char entries[32 << 10];
	cleanup_fd int fd = openat(p->root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	long n;

	if (fd < 0)
		return -errno;
	do
		n = syscall(SYS_getdents64, fd, entries, sizeof entries);
	while (n > 0);
	return n < 0 || fstatat(fd, "", &st, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* With pages it waits for those that are just being read, for which the agent has the answer. A node that the kernel does not
 * know has nothing to be dropped. */
static int run_inval(const struct publisher *p, uint64_t node, bool pages)
{
	const struct inval inval = {
		.head = { .len = sizeof inval, .error = FUSE_NOTIFY_INVAL_INODE },
		.what = { .ino = node, .off = pages ? 0 : -1 },
	};

	if (p->fuse < 0)
		return -EBADF;
	return write(p->fuse, &inval, sizeof inval) < 0 && errno != ENOENT ? -errno : 0;
}

static int run_step(const struct publisher *p, const struct order_step *s, const char *path, const char *path2)
{
	static const struct timespec now[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };
	struct stat st;
	int r;

	switch (s->op) {
	case ORDER_MKDIR:
		r = mkdirat(p->root, path, 0755);
		break;
	case ORDER_CHMOD:
		r = fchmodat(p->root, path, 0755, 0);
		break;
	case ORDER_SYMLINK:
		r = symlinkat(path2, p->root, path);
		break;
	case ORDER_RENAME:
		r = renameat(p->root, path, p->root, path2);
		break;
	case ORDER_UNLINK:
		r = unlinkat(p->root, path, 0);
		break;
	case ORDER_RMDIR:
		r = unlinkat(p->root, path, AT_REMOVEDIR);
		break;
	case ORDER_MKNOD:
		r = mknodat(p->root, path, S_IFREG | 0644, 0);
		break;
	case ORDER_INVAL_ATTR:
		return run_inval(p, s->node, false);
	case ORDER_INVAL:
		return run_inval(p, s->node, true);
	case ORDER_TOUCH:
		r = utimensat(p->root, path, now, AT_SYMLINK_NOFOLLOW);
		break;
	case ORDER_STAT:
		r = fstatat(p->root, path, &st, AT_SYMLINK_NOFOLLOW);
		break;
	case ORDER_READ_FILE:
		return run_read_file(p, path);
	case ORDER_READ_LINK:
		return run_read_link(p, path);
	case ORDER_READ_DIR:
		return run_read_dir(p, path);
	default:
		return -EINVAL;
	}
	return r < 0 ? -errno : 0;
}

/* A path of `len` bytes with its NUL at *at; NULL if there is no such thing in the message. */
static const char *path_get(const char *msg, size_t size, size_t *at, size_t len)
{
	const char *path = msg + *at;

	if (len == 0 || len > ORDER_PATH_MAX || len > size - *at || path[len - 1] != 0)
		return NULL;
	*at += len;
	return path;
}

static void run_order(const struct publisher *p, const char *msg, size_t size, struct order_answer *a)
{
	struct order_head head;
	size_t at = sizeof head;

	memcpy(&head, msg, sizeof head);
	*a = (struct order_answer){ .id = head.id, .failed = ORDER_DONE };
	for (uint32_t i = 0; i < head.n_steps; i++) {
		struct order_step s = { 0 };
		const char *path = NULL, *path2 = NULL;
		bool good = false;
		int r = -EBADMSG;

		if (size - at >= sizeof s) {
			memcpy(&s, msg + at, sizeof s);
			at += sizeof s;
			path = path_get(msg, size, &at, s.path_len);
			path2 = s.path2_len ? path_get(msg, size, &at, s.path2_len) : "";
			good = path && path2;
		}
		/* a path must not be walked with /dev/fuse in hand: see order.h */
		if (good && p->fuse >= 0 && !order_op_needs_fuse(s.op))
			good = false;
		if (good)
			r = run_step(p, &s, path, path2);
		if (r < 0 && (!good || (s.ignored != ORDER_IGNORE_ALL && s.ignored != -r))) {
			a->failed = s.index;
			a->error = -r;
			return;
		}
		if (s.mark)
			a->realtime_usec = clock_realtime_usec();
	}
}

/* Nothing else is ever asked for: whoever does is somebody else. What the agent sends has the first number that is free. The number
 * of /dev/null stays its own: what is in the tree goes there and nowhere else, as to the log. */
static int filter_load(int null)
{
	int fuse = dup(STDERR_FILENO);
	const struct sysfilter_rule calls[] = {
		CALL_ALLOW(recvmsg),
		CALL_ALLOW(sendto),
		CALL_ALLOW(mkdirat),
		CALL_ALLOW(fchmodat),
		CALL_ALLOW(symlinkat),
		CALL_ALLOW(renameat),
		CALL_ALLOW(renameat2),
		CALL_ALLOW(unlinkat),
		CALL_ALLOW_IF(mknodat, ARG_HAS(2, S_IFMT, S_IFREG)),
		CALL_ALLOW_IF(utimensat, ARG_IS(3, AT_SYMLINK_NOFOLLOW)),
		CALL_ALLOW_IF(write, ARG_IS(0, (uint32_t)fuse), ARG_IS(2, sizeof(struct inval))),
		CALL_DO_IF(close, SECCOMP_RET_KILL_PROCESS, ARG_IS(0, (uint32_t)null)),
		CALL_ALLOW(close),
		CALL_ALLOW(newfstatat),
		CALL_ALLOW(getdents64),
		CALL_ALLOW_IF(sendfile, ARG_IS(0, (uint32_t)null)),
		CALL_ALLOW(readlinkat),
		CALL_ALLOW(exit_group),
		CALL_ALLOW(clock_gettime),
		CALL_ALLOW_IF(openat, ARG_HAS(2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)),
	};
	int r;

	if (fuse < 0)
		return -errno;
	close(fuse);
	r = sysfilter_install(calls, ARRAY_SIZE(calls), SECCOMP_RET_KILL_PROCESS);

	return r == -EOPNOTSUPP ? 0 : r; /* the agent says what the kernel does not have */
}

/* Beneath the root what an update takes; no other file, no TCP, no signal. */
static int landlock_load(int root)
{
	cleanup_landlock struct landlock l = LANDLOCK_INIT;
	int r = landlock_begin(&l, LANDLOCK_ALL);

	if (r == 0)
		r = landlock_allow(&l, root, NULL,
				   LANDLOCK_READ_FILE | LANDLOCK_READ_DIR | LANDLOCK_MAKE_DIR | LANDLOCK_MAKE_SYM |
					   LANDLOCK_MAKE_REG | LANDLOCK_REMOVE_DIR | LANDLOCK_REMOVE_FILE |
					   LANDLOCK_REFER);
	if (r == 0)
		r = landlock_enforce(&l);
	return r == -EOPNOTSUPP ? 0 : r;
}

int publisher_confine(int root, int null)
{
	const struct rlimit none = { 0, 0 };
	int r;

	/* only a privileged parent can grant groups in the first place; without CAP_SETGID they stay as they are */
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return -errno;
	capng_clear(CAPNG_SELECT_BOTH);
	if (fchdir(root) < 0 || chroot(".") < 0)
		return -errno;
	/* the bounding set while CAP_SETPCAP is there */
	if (capng_apply(CAPNG_SELECT_BOUNDS) != 0 || capng_apply(CAPNG_SELECT_CAPS) != 0)
		return -EPERM;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	r = landlock_load(root);
	return r < 0 ? r : filter_load(null);
}

/* The next message, and the fd that it brings. */
static ssize_t order_receive(struct publisher *p, char msg[ORDER_MAX])
{
	union {
		char bytes[CMSG_LEN(sizeof(int))]; /* room for one and no more */
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec iov = { msg, ORDER_MAX };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes
	};
	ssize_t n = recvmsg(p->socket, &m, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m);

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&p->fuse, CMSG_DATA(c), sizeof(int));
	return n;
}

int publisher_run(int socket, int private_mount)
{
	static char msg[ORDER_MAX];
	struct publisher p = { .socket = socket, .root = private_mount, .fuse = -1 };
	int r;

	p.null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (p.null < 0) {
		log_error(NULL, "open /dev/null: %m");
		_exit(1);
	}
	r = publisher_confine(p.root, p.null);
	if (r < 0) {
		log_error(NULL, "cannot confine the publisher: %s", strerror(-r));
		_exit(1);
	}

	for (;;) {
		ssize_t n = order_receive(&p, msg);
		struct order_answer a;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < (ssize_t)sizeof(struct order_head))
			_exit(n == 0 || (n < 0 && errno == ECONNRESET) ? 0 : 1);
		run_order(&p, msg, n, &a);
		p.fuse = close_fd(p.fuse);
		if (send(p.socket, &a, sizeof a, MSG_NOSIGNAL) < 0)
			_exit(0);
	}
}
