/* For harnesses that set secret memory up for each input: the kernel refuses to lock it. Whether it has locked it is looked
 * up in /proc/self/smaps otherwise, which takes longer than all else where a sanitizer has its terabytes of addresses. */
#pragma once

#include <errno.h>
#include <sys/mman.h>

int mlock2(const void *addr, size_t len, unsigned int flags)
{
	errno = ENOSYS;
	return -1;
}
