/* For harnesses that set secret memory up for each input: the kernel refuses to lock it, and there is no /proc/self/smaps. To
 * look up there whether it is locked takes longer than all else where a sanitizer has its terabytes of addresses: some
 * milliseconds each time. What is not locked is used all the same. */
#pragma once

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

int mlock2(const void *addr, size_t len, unsigned int flags)
{
	errno = ENOSYS;
	return -1;
}

/* All else is opened: libFuzzer writes its files so. */
FILE *fopen(const char *path, const char *mode)
{
	FILE *(*real)(const char *, const char *) = dlsym(RTLD_NEXT, "fopen");

	if (real && strcmp(path, "/proc/self/smaps") != 0)
		return real(path, mode);
	errno = ENOENT;
	return NULL;
}
