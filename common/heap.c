#include "common/heap.h"

#include <limits.h>
#include <malloc.h>
#include <sys/mman.h>

/* glibc's defaults (mallopt(3)); once one of the first two is set it adapts none by itself. What is parsed takes about five times its
 * text. */
enum { THRESHOLD_DEFAULT = 128 * 1024, MMAPS_DEFAULT = 65536, EXPECT_MAX = 1 << 30, PARSED_MUCH = 128 * 1024 };

/* Nothing is mapped by itself meanwhile, large as it may be: it would get its pages one by one. */
void heap_expect(size_t bytes)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from, to;
	char *room;

	bytes = MIN(bytes, (size_t)EXPECT_MAX);
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	room = malloc(bytes);
	if (!room)
		return;
	from = ((uintptr_t)room + page - 1) / page * page;
	to = ((uintptr_t)room + bytes) / page * page;
	if (from < to)
		madvise((void *)from, to - from, MADV_POPULATE_WRITE); /* Linux 5.14; else they come one by one */
	free(room);
}

void heap_settle(void)
{
	mallopt(M_MMAP_MAX, MMAPS_DEFAULT);
	mallopt(M_MMAP_THRESHOLD, THRESHOLD_DEFAULT);
	mallopt(M_TRIM_THRESHOLD, THRESHOLD_DEFAULT);
}

void heap_give_back(size_t parsed)
{
	if (parsed >= PARSED_MUCH)
		malloc_trim(0);
}
