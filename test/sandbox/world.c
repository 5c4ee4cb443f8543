/* World. */
#include "test/sandbox/world.h"

#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <cmocka.h>

struct world world;

char *outside(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", world.dir, name);
	return path;
}

static pid_t start_victim(uid_t uid)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
			_exit(1);
		prctl(PR_SET_DUMPABLE, 1);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

void need_victims(void)
{
	if (world.victim == 0 || waitpid(world.victim, NULL, WNOHANG) > 0) {
		close_fd(world.victim_pidfd);
		world.victim = start_victim(UID);
		world.victim_pidfd = (int)syscall(SYS_pidfd_open, world.victim, 0);
	}
	if (world.root_victim == 0 || waitpid(world.root_victim, NULL, WNOHANG) > 0) {
		close_fd(world.pidfd);
		world.root_victim = start_victim(0);
		world.pidfd = (int)syscall(SYS_pidfd_open, world.root_victim, 0);
	}
	assert_true(world.pidfd >= 0 && world.victim_pidfd >= 0);
}

static void write_file(const char *name, mode_t mode)
{
	int fd = openat(world.dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0 && write(fd, "text", 4) == 4 && fchmod(fd, mode) == 0);
	close(fd);
}

static int listen_on(uint16_t *ret_port)
{
	struct sockaddr_in a = loopback(0);
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -1;
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static int bind_unix(const struct sockaddr_un *a, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 || bind(fd, (const struct sockaddr *)a, len) < 0 ? -1 : fd;
}

int world_setup(void **state)
{
	char dir[] = "/var/tmp/test-sandbox-XXXXXX", apart[] = "/var/tmp/test-sandbox-apart-XXXXXX";
	int id;

	if (geteuid() != 0)
		return 0;
	umask(0);
	world.dir = strdup(mkdtemp(dir));
	world.dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world.elsewhere = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world.apart_dir = strdup(mkdtemp(apart));
	world.apart = open(apart, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world.terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	world.zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	assert_true(world.dirfd >= 0 && world.elsewhere >= 0 && world.apart >= 0 && world.terminal >= 0 &&
		    world.zero >= 0);
	assert_int_equal(fchmod(world.apart, 0777), 0);
	/* the cache's owner is the agent's user */
	assert_int_equal(fchmod(world.dirfd, 0755), 0);
	write_file("f", 0644);
	write_file("w", 0666);
	(void)mknodat(world.dirfd, "random", S_IFCHR | 0666, makedev(1, 9));
	world.handle = calloc(1, sizeof(*world.handle) + MAX_HANDLE_SZ);
	world.handle->handle_bytes = MAX_HANDLE_SZ;
	(void)name_to_handle_at(world.dirfd, "f", world.handle, &id, 0);
	world.parent = getpid();
	world.pidfd = world.victim_pidfd = -1;
	need_victims();
	assert_true(listen_on(&world.port) >= 0 && listen_on(&world.other_port) >= 0);
	world.abstract = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(world.abstract.sun_path + 1, sizeof(world.abstract.sun_path) - 1, "test-sandbox-%d", (int)getpid());
	assert_true(bind_unix(&world.abstract,
			      offsetof(struct sockaddr_un, sun_path) + 1 + strlen(world.abstract.sun_path + 1)) >= 0);
	world.named = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(world.named.sun_path, sizeof(world.named.sun_path), "%s/socket", world.dir);
	assert_true(bind_unix(&world.named, sizeof(world.named)) >= 0);
	return 0;
}

int world_teardown(void **state)
{
	const char *const names[] = { "f",	"w",	      "socket",	  "new", "index", "tmp-1",
				      "..data", "..data_tmp", "nsswitch", "log", "random" };

	if (geteuid() != 0)
		return 0;
	kill(world.victim, SIGKILL);
	waitpid(world.victim, NULL, 0);
	kill(world.root_victim, SIGKILL);
	waitpid(world.root_victim, NULL, 0);
	unlinkat(world.apart, "new", 0);
	unlinkat(world.apart, "f", 0);
	rmdir(world.apart_dir);
	free(world.apart_dir);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlinkat(world.dirfd, names[i], 0);
	rmdir(world.dir);
	free(world.dir);
	free(world.handle);
	return 0;
}
