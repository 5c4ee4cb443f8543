/* Attempts: what must go on, and what could be made of what that takes. */
#include "test/sandbox/attempts.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>

#include "test/sandbox/world.h"

static void *thread(void *p)
{
	return p;
}

int do_thread(void)
{
	pthread_t t;
	void *p = NULL;
	int r = pthread_create(&t, NULL, thread, &world);

	return r ? r : pthread_join(t, &p) ?: p != &world;
}

int do_loop(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	struct itimerspec soon = { .it_value.tv_nsec = 1 };

	if (epoll < 0 || timer < 0 || timerfd_settime(timer, 0, &soon, NULL) < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &ev) < 0)
		return errno;
	return epoll_wait(epoll, &ev, 1, 1000) == 1 ? 0 : ETIME;
}

int do_memory(void)
{
	char *p = malloc(1 << 20), *q;
	uint64_t random;

	if (!p)
		return ENOMEM;
	q = realloc(p, 8 << 20);
	if (!q)
		return ENOMEM;
	memset(q, 1, 8 << 20);
	free(q);
	return getrandom(&random, sizeof(random), 0) == sizeof(random) ? 0 : errno;
}

int do_lookup(void)
{
	struct addrinfo *a = NULL, hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	int r = getaddrinfo("localhost", "443", &hints, &a);

	if (r == 0)
		freeaddrinfo(a);
	return r == 0 ? 0 : ENOENT;
}

int do_nothing(void)
{
	return 0;
}

/* --- the cache, the publisher --- */

int do_cache(void)
{
	char text[8] = "";
	int fd = openat(world.dirfd, "tmp-1", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), dir;

	if (fd < 0 || write(fd, "text", 4) != 4 || fsync(fd) < 0)
		return errno;
	close(fd);
	if (renameat(world.dirfd, "tmp-1", world.dirfd, "index") < 0 || fsync(world.dirfd) < 0)
		return errno;
	dir = openat(world.dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(world.dirfd, "index", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0 || syscall(SYS_getdents64, dir, text, 0) != -1 || fd < 0 || pread(fd, text, 4, 0) != 4)
		return errno;
	return unlinkat(world.dirfd, "index", 0) < 0 ? errno : 0;
}

static int send_file(int to)
{
	int fd = openat(world.dirfd, "f", O_RDONLY | O_NONBLOCK | O_NOFOLLOW);

	return fd < 0 ? errno : result(sendfile(to, fd, NULL, 1 << 20));
}

int do_update(void)
{
	static const struct timespec touch[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };

	if (mkdirat(world.dirfd, "v", 0755) < 0 || fchmodat(world.dirfd, "v", 0755, 0) < 0 ||
	    symlinkat("v", world.dirfd, "..data_tmp") < 0 ||
	    renameat(world.dirfd, "..data_tmp", world.dirfd, "..data") < 0 ||
	    mknodat(world.dirfd, "live", S_IFREG | 0644, 0) < 0 ||
	    utimensat(world.dirfd, "live", touch, AT_SYMLINK_NOFOLLOW) < 0 || unlinkat(world.dirfd, "live", 0) < 0 ||
	    unlinkat(world.dirfd, "..data", 0) < 0 || unlinkat(world.dirfd, "v", AT_REMOVEDIR) < 0)
		return errno;
	return send_file(world.null);
}

/* Absolute paths of the publisher are beneath its root. */
int try_publisher_create(void)
{
	return result(syscall(SYS_openat, world.dirfd, "new", O_WRONLY | O_CREAT, 0600));
}

int try_publisher_write(void)
{
	return result(syscall(SYS_openat, world.dirfd, "w", O_WRONLY));
}

int try_publisher_mknod(void)
{
	return undone(mknodat(world.dirfd, "dev", S_IFCHR | 0600, makedev(1, 3)), world.dirfd, "dev", 0);
}

int try_publisher_touch_target(void)
{
	static const struct timespec touch[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };

	return result(utimensat(world.dirfd, "f", touch, 0));
}

/* To what it has open by itself, and more than a notification to what the agent sends it. */
int try_publisher_output(void)
{
	return result(write(STDERR_FILENO, "0123456789012345678901234567890123456789", 40));
}

/* What it reads is for /dev/null: the log is on the disk. */
int try_publisher_send_to_log(void)
{
	return send_file(STDERR_FILENO);
}

int try_publisher_send_to_socket(void)
{
	return send_file(world.socket);
}

/* So that nothing else gets its number, as what the agent sends would. */
int try_publisher_close_null(void)
{
	return result(close(world.null));
}

int try_publisher_long_write(void)
{
	char bytes[41] = { 0 };
	int first_free = openat(world.dirfd, "f", O_RDONLY);

	return result(write(first_free, bytes, sizeof bytes));
}

int try_cache_other_folder(void)
{
	return result(syscall(SYS_openat, world.dirfd, "..", O_RDONLY | O_DIRECTORY));
}

int try_cache_overwrite(void)
{
	return result(syscall(SYS_openat, world.dirfd, "w", O_WRONLY));
}

int try_publisher_rename_file(void)
{
	long r = syscall(SYS_renameat2, world.dirfd, "f", world.apart, "f", 0);

	return r < 0 ? errno : result(renameat(world.apart, "f", world.dirfd, "f"));
}

/* --- the audit process --- */

#define LOG_FLAGS (O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK)

int try_abort_roots(void)
{
	return result(syscall(SYS_tgkill, world.root_victim, world.root_victim, SIGABRT));
}

int try_signal(void)
{
	return result(syscall(SYS_pidfd_send_signal, world.pidfd, SIGURG, NULL, 0));
}

int try_log_elsewhere(void)
{
	return undone(syscall(SYS_openat, world.apart, "new", LOG_FLAGS, 0600), world.apart, "new", 0);
}

int try_log_out(void)
{
	return result(syscall(SYS_openat, world.log, "../../../etc/passwd", O_RDONLY));
}

int try_log_overwrite(void)
{
	return result(syscall(SYS_openat, world.log, "w", O_RDWR | O_CREAT | O_NOFOLLOW));
}

int try_log_follow(void)
{
	return result(syscall(SYS_openat, world.log, "w", O_RDWR | O_CREAT | O_APPEND));
}

int try_log_truncate(void)
{
	return result(syscall(SYS_openat, world.log, "w", LOG_FLAGS | O_TRUNC));
}

int try_log_mkdir(void)
{
	return undone(syscall(SYS_mkdirat, world.log, "d", 0700), world.log, "d", AT_REMOVEDIR);
}

/* Root owns it: the kernel would run what is written there. */
int try_sysctl(void)
{
	return result(syscall(SYS_openat, AT_FDCWD, "/sys/kernel/core_pattern", LOG_FLAGS));
}

int try_root_folder(void)
{
	return result(syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY));
}

int try_keepers_files(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/%d/root/etc/passwd", (int)world.parent);
	return try_open(path, O_RDONLY);
}

static int try_setsockopt_but(int allowed)
{
	static const int levels[] = { SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP, IPPROTO_IPV6, SOL_NETLINK };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return errno;
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		for (int option = 0; option < 128; option++)
			if ((levels[i] != SOL_SOCKET || option != allowed) &&
			    result(setsockopt(fd, levels[i], option, &one, sizeof(one))) != ENOSYS)
				return 0;
	return ENOSYS;
}

/* The journal's socket is the audit process's, the agent's the signaller's; the cache sets nothing. */
int try_other_setsockopt(void)
{
	return try_setsockopt_but(SO_SNDTIMEO);
}

int try_signallers_setsockopt(void)
{
	return try_setsockopt_but(SO_SNDBUF);
}

int try_any_setsockopt(void)
{
	return try_setsockopt_but(-1);
}

int do_set_buffer(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 1 << 16;

	return fd < 0 ? errno : result(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
}

/* As the kernel does when it hands over an event: a file by a path that is none of this process's. */
int do_event(void)
{
	char path[64], target[256];
	struct statx st;
	int fd = (int)syscall(SYS_openat, world.elsewhere, "passwd", O_RDONLY);

	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &st) < 0)
		return errno;
	snprintf(path, sizeof(path), "/self/fd/%d", fd);
	return readlink(path, target, sizeof(target)) < 0 ? errno : 0;
}

int do_look_at_process(void)
{
	char path[64], text[16];
	int fd;

	snprintf(path, sizeof(path), "/%d/status", (int)world.root_victim);
	fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text)) <= 0)
		return errno;
	return syscall(SYS_pidfd_send_signal, world.pidfd, 0, NULL, 0) < 0 && errno != EPERM ? errno : 0;
}

int do_log(void)
{
	struct stat st;
	char last;
	int fd = openat(world.log, "log", LOG_FLAGS, 0600);

	if (fd < 0 || write(fd, "ab\n", 3) != 3 || ftruncate(fd, 2) < 0 || fstat(fd, &st) < 0 || st.st_size != 2 ||
	    pread(fd, &last, 1, 1) != 1 || fstatat(world.log, "log", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno;
	return 0;
}

int do_journal(void)
{
	const struct timeval limit = { .tv_sec = 1 };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "/self/fd/%d/socket", world.log);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return errno;
	return send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : errno;
}

/* --- the signaller --- */

static int send_signal(int pidfd, int signo, unsigned flags)
{
	return result(syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, flags));
}

int try_each_other_signal(void)
{
	for (int signo = 1; signo <= 64; signo++) {
		if (signo == SIGHUP || signo == SIGUSR1 || signo == SIGUSR2 || signo == SIGWINCH || signo == SIGTERM)
			continue;
		if (send_signal(world.victim_pidfd, signo, 0) != EPERM || send_signal(world.pidfd, signo, 0) != EPERM)
			return 0;
	}
	return EPERM;
}

/* PIDFD_SIGNAL_PROCESS_GROUP and the other two. */
int try_signal_group(void)
{
	for (unsigned flags = 1; flags <= 7; flags++)
		if (send_signal(world.victim_pidfd, SIGWINCH, flags) != EPERM)
			return 0;
	return EPERM;
}

int try_queue_signal(void)
{
	siginfo_t info = { .si_code = SI_QUEUE };

	return result(syscall(SYS_rt_sigqueueinfo, world.victim, SIGWINCH, &info));
}

/* Whoever it is, of whichever user: that is what CAP_KILL is for. By default the signal is ignored. */
int do_send_signal(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, world.victim, 0);

	return pidfd < 0 ? errno : send_signal(pidfd, SIGWINCH, 0) ?: send_signal(world.pidfd, SIGWINCH, 0);
}

int do_find_process(void)
{
	static const char *const names[] = { "stat", "cgroup", "status", "mountinfo" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[64], text[16];
		int fd;

		snprintf(path, sizeof(path), "%d/%s", (int)world.victim, names[i]);
		fd = openat(world.proc, path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, text, sizeof(text)) <= 0)
			return errno;
	}
	return openat(world.proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 ? errno : 0;
}
