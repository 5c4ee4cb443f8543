/* For LD_PRELOAD: who keeps what on the heap. The program's own malloc() and free() (common/wipe_malloc.c) call glibc's by their
 * internal names, __libc_malloc and so on, and these stand in front. Each block that is live is a slot in a table,
 * $HEAPSITES/PID, with the addresses that its allocation returned to; test/bench/memory.py reads it while the process runs.
 * The file is opened and mapped before main(), so no sandbox is in the way. Nothing of what is in a block is written.
 *
 * Not for a program that has not its own malloc(), where nobody calls these names. */
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "common/base.h"

/* test/bench/memory.py knows these */
enum {
	FRAMES = 14,
	SLOTS = 1 << 19, /* a power of two */
};

struct slot {
	uint64_t block; /* 0: free */
	uint64_t n_bytes; /* with malloc's own, as it is on the heap */
	uint64_t from[FRAMES]; /* return addresses, the innermost first; 0: no more */
};

static struct slot *slots;
static size_t n_used;
static atomic_flag busy = ATOMIC_FLAG_INIT;
static _Thread_local bool within; /* backtrace() may allocate */
static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void (*next_free)(void *);

static void lock(void)
{
	while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
		;
}

static void unlock(void)
{
	atomic_flag_clear_explicit(&busy, memory_order_release);
}

static size_t home_of(uint64_t block)
{
	return (size_t)((block >> 4) * 0x9e3779b97f4a7c15u >> 45) & (SLOTS - 1);
}

static void add(void *block)
{
	void *from[FRAMES + 2];
	int n;
	size_t at;

	if (!block || !slots || within)
		return;
	within = true;
	n = backtrace(from, FRAMES + 2);
	lock();
	if (n_used < SLOTS / 2) {
		for (at = home_of((uint64_t)block); slots[at].block; at = (at + 1) & (SLOTS - 1))
			;
		slots[at] = (struct slot){ .block = (uint64_t)block,
					   .n_bytes = malloc_usable_size(block) + sizeof(size_t) };
		for (int i = 2; i < n; i++) /* not this function and its caller */
			slots[at].from[i - 2] = (uint64_t)from[i];
		n_used++;
	} else {
		abort(); /* a table with a part of the blocks would lie */
	}
	unlock();
	within = false;
}

/* What comes behind in the same run moves up, so that a search ends at the first free slot. */
static void forget(void *block)
{
	size_t at, hole;

	if (!block || !slots || within)
		return;
	lock();
	for (at = home_of((uint64_t)block); slots[at].block && slots[at].block != (uint64_t)block;
	     at = (at + 1) & (SLOTS - 1))
		;
	if (slots[at].block) {
		n_used--;
		for (hole = at;;) {
			at = (at + 1) & (SLOTS - 1);
			if (!slots[at].block)
				break;
			if (((at - home_of(slots[at].block)) & (SLOTS - 1)) >= ((at - hole) & (SLOTS - 1))) {
				slots[hole] = slots[at];
				hole = at;
			}
		}
		slots[hole] = (struct slot){ 0 };
	}
	unlock();
}

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void __libc_free(void *p);

static void find_next(void)
{
	*(void **)&next_malloc = dlsym(RTLD_NEXT, "__libc_malloc");
	*(void **)&next_calloc = dlsym(RTLD_NEXT, "__libc_calloc");
	*(void **)&next_free = dlsym(RTLD_NEXT, "__libc_free");
}

/* Not inlined, nor the last call: backtrace() counts them. */
__attribute__((noinline)) void *__libc_malloc(size_t size)
{
	void *block;

	if (!next_malloc)
		find_next();
	block = next_malloc(size);
	add(block);
	return block;
}

__attribute__((noinline)) void *__libc_calloc(size_t n, size_t size)
{
	void *block;

	if (!next_calloc)
		find_next();
	block = next_calloc(n, size);
	add(block);
	return block;
}

void __libc_free(void *p)
{
	if (!next_free)
		find_next();
	forget(p);
	next_free(p);
}

__attribute__((constructor)) static void begin(void)
{
	char path[4096];
	void *from[1];
	int fd;

	if (!getenv("HEAPSITES"))
		return;
	backtrace(from, 1); /* it loads a library the first time */
	snprintf(path, sizeof path, "%s/%d", getenv("HEAPSITES"), getpid());
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)(SLOTS * sizeof(struct slot))) < 0)
		abort();
	slots = mmap(NULL, SLOTS * sizeof(struct slot), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (slots == MAP_FAILED)
		abort();
	close(fd);
}
