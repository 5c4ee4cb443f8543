/* For LD_PRELOAD: the kernel's FUSE as one without the features in $OLDFUSE_WITHOUT (hexadecimal, bits of INIT's flags and
 * flags2). So what a feature protects from can be seen to happen without it, on any kernel. */
#include <dlfcn.h>
#include <linux/fuse.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/base.h"

static bool is_fuse(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(10, 229);
}

static void init_filter(int fd, void *buf, size_t n)
{
	struct fuse_in_header *head = buf;
	struct fuse_init_in *in = (void *)(head + 1);
	uint64_t without;

	if (n < sizeof *head + offsetof(struct fuse_init_in, unused) || head->opcode != FUSE_INIT || head->len != n ||
	    !is_fuse(fd))
		return;
	without = strtoull(getenv("OLDFUSE_WITHOUT") ?: "0", NULL, 16);
	in->flags &= ~(uint32_t)without;
	in->flags2 &= ~(uint32_t)(without >> 32);
}

ssize_t read(int fd, void *buf, size_t size)
{
	static ssize_t (*next)(int, void *, size_t);
	ssize_t n;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "read");
	n = next(fd, buf, size);
	if (n > 0)
		init_filter(fd, buf, n);
	return n;
}
