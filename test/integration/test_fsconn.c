/* What the keeper does for the arena between two agents. Needs root, as the keeper does. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "agent/fsconn.h"
#include "common/secmem.h"
#include "test/lib/skip.h"

#define HEAP (1u << 20)

static size_t page;

/* Whether a page of the keeper's own mapping is there: only such a one is locked by it. */
static bool is_held(const struct fsconn *c, size_t at)
{
	cleanup_fd int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &entry, sizeof(entry), (off_t)(((uintptr_t)c->heap + at) / page * sizeof(entry))),
			 sizeof(entry));
	return entry >> 63;
}

static void what_agents_leave_is_held(void **state)
{
	/* beyond what the kernel maps around a page that is asked for */
	const size_t first = HEAP / 4, second = HEAP / 2;
	char dir[] = "/var/tmp/test-fsconn-XXXXXX";
	struct notify nobody = NOTIFY_INIT;
	struct fsconn c = FSCONN_INIT;
	struct err e = ERR_INIT;
	volatile char *agents;

	if (geteuid() != 0)
		skip_because("needs root");
	page = (size_t)sysconf(_SC_PAGESIZE);
	assert_non_null(mkdtemp(dir));
	if (fsconn_create(dir, HEAP, &c, &e) < 0)
		fail_msg("%s", err_text(&e));
	if (c.lock_error == -EPERM || c.lock_error == -ENOMEM) {
		fsconn_end(&c, dir, true, &nobody);
		assert_int_equal(rmdir(dir), 0);
		skip_because("memory cannot be locked here");
	}
	assert_int_equal(c.lock_error, 0);
	assert_true(c.undumped);
	assert_true(secmem_look((char *)c.heap + ARENA_HEAD_SIZE, HEAP).locked);
	agents = mmap(NULL, HEAP, PROT_READ | PROT_WRITE, MAP_SHARED, c.arena, 0);
	assert_true(agents != MAP_FAILED);

	agents[first] = 'a';
	assert_false(is_held(&c, first));
	fsconn_lock(&c);
	assert_true(is_held(&c, first));
	/* as much goes as comes: an update. Before Linux 6.13 times of change are those of the clock's ticks */
	usleep(20000);
	agents[second] = 'b';
	assert_int_equal(fallocate(c.arena, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)first, (off_t)page), 0);
	assert_false(is_held(&c, second));
	fsconn_lock(&c);
	assert_true(is_held(&c, second));
	assert_false(is_held(&c, first));

	munmap((void *)(uintptr_t)agents, HEAP);
	fsconn_end(&c, dir, true, &nobody);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_agents_leave_is_held) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
