/* Attempts: what lies outside, and what is open already. */
#include "test/sandbox/attempts.h"

#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "test/sandbox/world.h"

int try_shadow(void)
{
	return try_open("/etc/shadow", O_RDONLY);
}

int try_world_readable(void)
{
	return try_open(outside("f"), O_RDONLY);
}

int try_world_writable(void)
{
	return try_open(outside("w"), O_WRONLY);
}

int try_truncate(void)
{
	return try_open(outside("w"), O_RDONLY | O_TRUNC);
}

int try_create(void)
{
	return try_open(outside("new"), O_RDONLY | O_CREAT);
}

int try_mkdir(void)
{
	return undone(syscall(SYS_mkdirat, world.dirfd, "d", 0700), world.dirfd, "d", AT_REMOVEDIR);
}

int try_proc(void)
{
	return try_open("/proc/self/status", O_RDONLY);
}

int try_device(void)
{
	return try_open("/dev/zero", O_RDONLY);
}

int try_folder(void)
{
	return try_open("/etc", O_RDONLY | O_DIRECTORY);
}

int try_etc(void)
{
	return try_open("/etc/passwd", O_RDONLY);
}

int try_library(void)
{
	return try_open("/lib/os-release", O_RDONLY) == 0 ? 0 : try_open("/usr/lib/os-release", O_RDONLY);
}

/* Of a terminal that is open already, which Landlock does not rule. */
int try_terminal(void)
{
	int n;

	return result(ioctl(world.terminal, TIOCGPTN, &n));
}

int try_set_owner(void)
{
	return result(fcntl(world.terminal, F_SETOWN, getpid()));
}

/* A fd of a folder leads out of a root folder. */
int try_elsewhere(void)
{
	return result(syscall(SYS_openat, world.elsewhere, "passwd", O_RDONLY));
}

int try_truncate_own(void)
{
	return result(syscall(SYS_openat, world.dirfd, "w", O_RDONLY | O_TRUNC));
}

/* A device that lies in the folder, and that can be opened. */
int try_device_ioctl(void)
{
	int n, fd = openat(world.dirfd, "random", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? ENODEV : result(ioctl(fd, RNDGETENTCNT, &n));
}

/* In a folder that everybody may write to. */
int try_apart(void)
{
	return undone(syscall(SYS_openat, world.apart, "new", O_WRONLY | O_CREAT, 0600), world.apart, "new", 0);
}

int try_apart_mkdir(void)
{
	return undone(mkdirat(world.apart, "new", 0700), world.apart, "new", AT_REMOVEDIR);
}

int try_apart_symlink(void)
{
	return undone(symlinkat("f", world.apart, "new"), world.apart, "new", 0);
}

int try_apart_mknod(void)
{
	return undone(mknodat(world.apart, "new", S_IFIFO | 0600, 0), world.apart, "new", 0);
}
