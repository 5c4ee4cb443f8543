/* Locked memory: that bytes are really gone, that the region is really locked and left out of cores, that the budget
 * holds, and that damage ends the process. What ends a process runs in a child. */
#include "common/secmem.h"

#include <inttypes.h>
#include <cap-ng.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "common/file.h"
#include "test/lib/skip.h"
#include "test/lib/valgrind.h"

#define LIMIT ((size_t)1 << 20)

static int region_setup(void **state)
{
	return secmem_init(LIMIT, NULL);
}

static int region_teardown(void **state)
{
	secmem_deinit();
	return 0;
}

static struct secblock *block(size_t len, int byte)
{
	struct secblock *b = NULL;

	assert_int_equal(secblock_new(len, &b, NULL), 0);
	memset(b->data, byte, len);
	return b;
}

/* Where the region starts: the first block of a fresh one lies on its first page. */
static uint8_t *region_base(void)
{
	struct secblock *b = block(1, 0);
	uint8_t *base = (uint8_t *)((uintptr_t)b & ~(uintptr_t)(sysconf(_SC_PAGESIZE) - 1));

	secblock_unref(b);
	return base;
}

/* Whether 16 bytes of this value lie next to each other anywhere in the region. */
static bool region_holds(const uint8_t *base, uint8_t byte)
{
	uint8_t run[16];

	memset(run, byte, sizeof(run));
	return memmem(base, secmem_stats().limit_bytes, run, sizeof(run)) != NULL;
}

/* The line of the mapping at `place` in smaps, as "VmFlags: ...". */
static void smaps_line(const void *place, const char *name, char *text, size_t size)
{
	cleanup_file FILE *smaps = fopen("/proc/self/smaps", "re");
	bool ours = false;
	char line[1024];

	assert_non_null(smaps);
	text[0] = '\0';
	while (fgets(line, sizeof(line), smaps)) {
		uintptr_t start, end;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2)
			ours = start <= (uintptr_t)place && (uintptr_t)place < end;
		else if (ours && strncmp(line, name, strlen(name)) == 0)
			snprintf(text, size, "%.*s ", (int)strcspn(line, "\n"), line);
	}
}

static bool has_flag(const void *place, const char *flag)
{
	char line[256];

	smaps_line(place, "VmFlags:", line, sizeof(line));
	return strstr(line, flag) != NULL;
}

struct ending {
	int status;
	char text[4096]; /* of stderr */
};

static struct ending run_child(void (*run)(void))
{
	struct ending ending = { .status = 0 };
	size_t len = 0;
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		signal(SIGSEGV, SIG_DFL); /* cmocka catches it */
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		run();
		_exit(0);
	}
	close(fds[1]);
	while (len < sizeof(ending.text) - 1) {
		ssize_t n = read(fds[0], ending.text + len, sizeof(ending.text) - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	close(fds[0]);
	assert_int_equal(waitpid(pid, &ending.status, 0), pid);
	return ending;
}

static void assert_child_succeeds(void (*run)(void))
{
	struct ending ending = run_child(run);

	if (!WIFEXITED(ending.status) || WEXITSTATUS(ending.status) != 0)
		fail_msg("status %#x: %s", (unsigned)ending.status, ending.text);
}

#define CHILD_CHECK(condition)                                                                                         \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "line %d: not true: %s\n", __LINE__, #condition);                              \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

/* ---- blocks ---- */

static void new_block_is_zeroed_aligned_and_has_one_reference(void **state)
{
	static const size_t SIZES[] = { 0, 1, 15, 16, 17, 1000, 4096, 100000 };

	for (size_t i = 0; i < ARRAY_SIZE(SIZES); i++) {
		struct secblock *b = NULL;

		secblock_unref(block(SIZES[i] + 32, 0xa5));
		assert_int_equal(secblock_new(SIZES[i], &b, NULL), 0);
		assert_int_equal(b->refs, 1);
		assert_int_equal(b->len, SIZES[i]);
		assert_int_equal((uintptr_t)b->data % 16, 0);
		for (size_t at = 0; at < SIZES[i]; at++)
			assert_int_equal(b->data[at], 0);
		secblock_unref(b);
	}
	secblock_unref(NULL);
}

static void last_reference_wipes_and_frees(void **state)
{
	static const size_t SIZES[] = { 16, 33, 1000, 4096, 5000, 300000 };
	const uint8_t *base = region_base();

	for (size_t i = 0; i < ARRAY_SIZE(SIZES); i++) {
		struct secblock *before = block(100, 1), *b = block(SIZES[i], 0xa5), *after = block(100, 2);

		assert_ptr_equal(secblock_ref(b), b);
		secblock_unref(b);
		assert_true(region_holds(base, 0xa5));
		assert_int_equal(secmem_stats().n_blocks, 3);
		secblock_unref(b);
		assert_false(region_holds(base, 0xa5));
		assert_int_equal(secmem_stats().n_blocks, 2);
		assert_true(before->data[99] == 1 && after->data[99] == 2);
		secblock_unref(before);
		secblock_unref(after);
	}
	assert_int_equal(secmem_stats().used_bytes, 0);
}

static bool kernel_can_release_locked_pages(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool can = p != MAP_FAILED && madvise(p, page, 24 /* MADV_DONTNEED_LOCKED */) == 0;

	munmap(p, page);
	return can;
}

static size_t count_resident(uint8_t *base)
{
	size_t n_pages = LIMIT / (size_t)sysconf(_SC_PAGESIZE), n = 0;
	unsigned char resident[LIMIT / 4096];

	assert_int_equal(mincore(base, LIMIT, resident), 0);
	for (size_t i = 0; i < n_pages; i++)
		n += resident[i] & 1;
	return n;
}

static void freed_pages_go_back_to_the_kernel(void **state)
{
	/* across page borders, and with each header at the start of a page */
	static const size_t SIZES[] = { 10000, 8192 - 32, 500 };
	uint8_t *base = region_base();

	if (!kernel_can_release_locked_pages())
		skip_because("the kernel has no MADV_DONTNEED_LOCKED");
	for (size_t i = 0; i < ARRAY_SIZE(SIZES); i++) {
		struct secblock *b[64];
		size_t n_filled;

		for (size_t at = 0; at < ARRAY_SIZE(b); at++)
			b[at] = block(SIZES[i], 0xa5);
		n_filled = count_resident(base);
		for (size_t at = 0; at < ARRAY_SIZE(b); at += 2)
			secblock_unref(b[at]);
		if (SIZES[i] > 8000)
			assert_true(count_resident(base) < n_filled * 9 / 10);
		for (size_t at = 1; at < ARRAY_SIZE(b); at += 2)
			secblock_unref(b[at]);
		assert_int_equal(count_resident(base), 1); /* the header of all that is free */
	}
}

static void budget_holds_and_the_error_has_the_numbers(void **state)
{
	struct secblock *b = block(LIMIT / 2, 1), *second = NULL;
	struct err e = ERR_INIT;
	char want[128];

	assert_false(secmem_was_full(&e));
	assert_int_equal(secblock_new(LIMIT / 2, &second, &e), -ENOMEM);
	assert_int_equal(e.reason, SECMEM_FULL);
	snprintf(want, sizeof(want),
		 "no memory for a secret of %zu bytes: %zu of %zu bytes (secretMemoryLimit) are in use", LIMIT / 2,
		 secmem_stats().used_bytes, LIMIT);
	assert_string_equal(err_text(&e), want);
	assert_int_equal(secblock_new(LIMIT, &second, NULL), -ENOMEM);
	assert_int_equal(secblock_new(SIZE_MAX, &second, NULL), -ENOMEM);
	assert_int_equal(secblock_new(SIZE_MAX - 32, &second, NULL), -ENOMEM);
	assert_null(second);
	secblock_unref(b);
	assert_null(secmem_alloc(LIMIT));
	e = ERR_INIT;
	assert_true(secmem_was_full(&e));
	assert_int_equal(e.reason, SECMEM_FULL);
	snprintf(want, sizeof(want),
		 "no memory for a secret of %zu bytes: 0 of %zu bytes (secretMemoryLimit) are in use", LIMIT, LIMIT);
	assert_string_equal(err_text(&e), want);
	secblock_unref(block(LIMIT - 32, 1));
	assert_false(secmem_was_full(&e));
}

static void small_blocks_cost_little(void **state)
{
	struct secblock *b[512];
	size_t n = 0;

	while (n < ARRAY_SIZE(b))
		b[n++] = block(1024, 1);
	assert_true(secmem_stats().used_bytes <= n * (1024 + 48));
	assert_int_equal(secmem_stats().n_blocks, n);
	while (n > 0)
		secblock_unref(b[--n]);
}

static void memory_is_whole_again_in_whatever_order_it_is_freed(void **state)
{
	static const size_t STEPS[] = { 1, 2, 3, 7, 61 };

	for (size_t i = 0; i < ARRAY_SIZE(STEPS); i++) {
		struct secblock *b[1024], *all = NULL;
		size_t n = 0;

		while (n < ARRAY_SIZE(b) && secblock_new(n * 37 % 1500, &b[n], NULL) == 0)
			n++;
		for (size_t from = 0; from < STEPS[i]; from++)
			for (size_t at = from; at < n; at += STEPS[i])
				secblock_unref(b[n - 1 - at]);
		assert_int_equal(secmem_stats().used_bytes, 0);
		assert_int_equal(secmem_stats().n_blocks, 0);
		assert_int_equal(secblock_new(LIMIT - 32, &all, NULL), 0);
		secblock_unref(all);
	}
}

static void random_use_keeps_contents_and_accounts(void **state)
{
	static struct secblock *b[700];
	unsigned seed = 1;
	size_t n_live = 0, n_refused = 0;

	for (int i = 0; i < 60000; i++) {
		size_t at = (size_t)rand_r(&seed) % ARRAY_SIZE(b), len;

		if (b[at]) {
			for (size_t j = 0; j < b[at]->len; j += 13)
				assert_int_equal(b[at]->data[j], at & 0xff);
			secblock_unref(TAKE_PTR(b[at]));
			n_live--;
			continue;
		}
		len = (size_t)rand_r(&seed) % (rand_r(&seed) % 50 == 0 ? 100000 : 2000);
		if (secblock_new(len, &b[at], NULL) < 0) {
			n_refused++;
			continue;
		}
		memset(b[at]->data, (int)at, len);
		n_live++;
		assert_int_equal(secmem_stats().n_blocks, n_live);
		assert_true(secmem_stats().used_bytes <= LIMIT);
	}
	assert_true(n_refused > 0 && n_refused < 30000);
	for (size_t i = 0; i < ARRAY_SIZE(b); i++)
		secblock_unref(TAKE_PTR(b[i]));
	assert_int_equal(secmem_stats().used_bytes, 0);
	assert_false(region_holds(region_base(), 0x55));
}

/* ---- the region ---- */

static void second_init_is_refused(void **state)
{
	struct err e = ERR_INIT;

	assert_int_equal(secmem_init(LIMIT, &e), -EALREADY);
	assert_true(e.text[0]);
}

static void impossible_limits_are_refused(void **state)
{
	static const size_t LIMITS[] = { 0, SIZE_MAX, SIZE_MAX - 4096, (size_t)1 << 40 };

	for (size_t i = 0; i < ARRAY_SIZE(LIMITS); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(secmem_init(LIMITS[i], &e), -EINVAL);
		assert_true(e.text[0]);
		assert_int_equal(secmem_stats().limit_bytes, 0);
	}
	secmem_deinit();
}

static void limit_is_rounded_up_to_pages(void **state)
{
	assert_int_equal(secmem_init(1, NULL), 0);
	assert_int_equal(secmem_stats().limit_bytes, sysconf(_SC_PAGESIZE));
	secblock_unref(block(100, 1));
	secmem_deinit();
}

static void region_can_be_set_up_again_after_its_end(void **state)
{
	for (int i = 0; i < 3; i++) {
		assert_int_equal(secmem_init(LIMIT, NULL), 0);
		block(1000, 1); /* ends with the region */
		secmem_deinit();
		assert_int_equal(secmem_stats().used_bytes, 0);
	}
}

static void region_stays_out_of_cores_and_children(void **state)
{
	struct secblock *b = block(100, 1);

	assert_true(has_flag(b, " dd "));
	assert_true(has_flag(b, " wf "));
	secblock_unref(b);
}

static struct secblock *inherited;

static void run_look_at_inherited(void)
{
	for (size_t i = 0; i < 100; i++)
		CHILD_CHECK(inherited->data[i] == 0);
}

static void child_sees_no_bytes(void **state)
{
	inherited = block(100, 0xa5);
	assert_child_succeeds(run_look_at_inherited);
	assert_int_equal(inherited->data[50], 0xa5);
	secblock_unref(inherited);
}

static void run_touch_before(void)
{
	volatile uint8_t *base;

	CHILD_CHECK(secmem_init(LIMIT, NULL) == 0);
	base = region_base();
	base[0] = base[LIMIT - 1] = 1;
	fputs("inside", stderr);
	base[-1] = 1;
}

static void run_touch_behind(void)
{
	volatile uint8_t *base;

	CHILD_CHECK(secmem_init(LIMIT, NULL) == 0);
	base = region_base();
	base[0] = base[LIMIT - 1] = 1;
	fputs("inside", stderr);
	base[LIMIT] = 1;
}

static void guard_pages_stop_what_runs_over(void **state)
{
	static void (*const RUNS[])(void) = { run_touch_before, run_touch_behind };

	for (size_t i = 0; i < ARRAY_SIZE(RUNS); i++) {
		struct ending ending = run_child(RUNS[i]);

		assert_true(WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGSEGV);
		assert_string_equal(ending.text, "inside");
	}
}

/* ---- the lock ---- */

static void lock_is_checked_with_the_kernel(void **state)
{
	struct secblock *b = block(100, 1);

	if (under_valgrind()) {
		secblock_unref(b);
		skip_because("valgrind does not know mlock2()");
	}
	assert_int_equal(secmem_stats().locked, has_flag(b, " lo "));
	if (geteuid() == 0 && capng_have_capability(CAPNG_EFFECTIVE, CAP_IPC_LOCK))
		assert_true(secmem_stats().locked);
	secblock_unref(b);
}

static void lock_limit_drop(size_t limit)
{
	CHILD_CHECK(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ limit, limit }) == 0);
	capng_get_caps_process();
	capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_IPC_LOCK);
	CHILD_CHECK(capng_apply(CAPNG_SELECT_CAPS) == 0);
}

static void use_region(void)
{
	struct secblock *b = NULL;

	CHILD_CHECK(secblock_new(5000, &b, NULL) == 0);
	memset(b->data, 1, 5000);
	secblock_unref(b);
}

static void run_lock_refused(void)
{
	static const size_t LIMITS[] = { 65536, 0 };

	for (size_t i = 0; i < ARRAY_SIZE(LIMITS); i++) {
		lock_limit_drop(LIMITS[i]);
		CHILD_CHECK(secmem_init(LIMIT, NULL) == 0);
		CHILD_CHECK(!secmem_stats().locked);
		use_region();
		secmem_deinit();
	}
}

static void region_without_the_lock_is_usable_and_says_so(void **state)
{
	assert_child_succeeds(run_lock_refused);
}

/* Answers the call with success and does nothing. */
static void pretend(int call)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	CHILD_CHECK(filter && seccomp_rule_add(filter, SCMP_ACT_ERRNO(0), call, 0) == 0);
	CHILD_CHECK(seccomp_load(filter) == 0);
	seccomp_release(filter);
}

static void run_lock_pretended(void)
{
	pretend(SCMP_SYS(mlock2));
	CHILD_CHECK(secmem_init(LIMIT, NULL) == 0);
	CHILD_CHECK(!secmem_stats().locked);
	use_region();
	secmem_deinit();
}

static void lock_that_a_sandbox_only_pretends_is_not_believed(void **state)
{
	assert_child_succeeds(run_lock_pretended);
}

static void run_dump_verified(void)
{
	CHILD_CHECK(secmem_init(LIMIT, NULL) == 0);
	CHILD_CHECK(secmem_stats().undumped);
	secmem_deinit();
}

static void run_dump_pretended(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	CHILD_CHECK(filter && seccomp_rule_add(filter, SCMP_ACT_ERRNO(0), SCMP_SYS(madvise), 1,
					       SCMP_A2(SCMP_CMP_EQ, MADV_DONTDUMP)) == 0);
	CHILD_CHECK(seccomp_load(filter) == 0);
	seccomp_release(filter);
	CHILD_CHECK(secmem_init(LIMIT, NULL) == 0);
	CHILD_CHECK(!secmem_stats().undumped);
	secmem_deinit();
}

static void leaving_it_out_of_cores_is_not_believed_either(void **state)
{
	assert_child_succeeds(run_dump_verified);
	assert_child_succeeds(run_dump_pretended);
}

/* Where the limit cannot be lifted, it is pretended: CAP_IPC_LOCK does without. False: there is neither. */
static bool lift_lock_limit(void)
{
	capng_get_caps_process();
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_RESOURCE))
		return true;
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_IPC_LOCK))
		return false;
	pretend(SCMP_SYS(prlimit64));
	return true;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true /* they only pretend mlockall(2) themselves */
#else
#define SANITIZED false
#endif

static void run_process_locked(void)
{
	char *p;

	if (SANITIZED || !lift_lock_limit())
		return;
	CHILD_CHECK(!secmem_stats().process_locked);
	CHILD_CHECK(secmem_lock_process() == 0);
	CHILD_CHECK(secmem_stats().process_locked);
	p = malloc(4 << 20);
	CHILD_CHECK(p != NULL);
	memset(p, 1, 4 << 20);
	CHILD_CHECK(has_flag(p, " lo "));
	CHILD_CHECK(has_flag(&p, " lo "));
	free(p);
}

static void run_process_lock_pretended(void)
{
	if (!lift_lock_limit())
		return;
	pretend(SCMP_SYS(mlockall));
	CHILD_CHECK(secmem_lock_process() == -EOPNOTSUPP);
	CHILD_CHECK(!secmem_stats().process_locked);
}

static void run_process_lock_refused(void)
{
	char *p;

	CHILD_CHECK(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ 65536, 65536 }) == 0);
	capng_get_caps_process();
	capng_updatev(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_IPC_LOCK, CAP_SYS_RESOURCE, -1);
	CHILD_CHECK(capng_apply(CAPNG_SELECT_CAPS) == 0);
	CHILD_CHECK(secmem_lock_process() == -EPERM);
	CHILD_CHECK(!secmem_stats().process_locked);
	p = malloc(4 << 20);
	CHILD_CHECK(p != NULL);
	free(p);
}

static void process_is_locked_or_left_as_it_was(void **state)
{
	assert_child_succeeds(run_process_locked);
	assert_child_succeeds(run_process_lock_pretended);
	assert_child_succeeds(run_process_lock_refused);
}

static void run_lock_stays(void)
{
	struct secblock *b = NULL;
	char line[128];
	unsigned kb = 0;

	CHILD_CHECK(secmem_init(LIMIT, NULL) == 0);
	if (!secmem_stats().locked)
		return;
	lock_limit_drop(0);
	CHILD_CHECK(secblock_new(100000, &b, NULL) == 0);
	memset(b->data, 1, 100000);
	smaps_line(b, "Locked:", line, sizeof(line));
	CHILD_CHECK(sscanf(line, "Locked: %u kB", &kb) == 1);
	CHILD_CHECK(kb >= 96);
	secblock_unref(b);
	secmem_deinit();
}

static void lock_stays_when_the_capability_is_gone(void **state)
{
	assert_child_succeeds(run_lock_stays);
}

/* ---- damage ---- */

static void run_overflow(void)
{
	struct secblock *a, *b;

	CHILD_CHECK(secmem_init(LIMIT, NULL) == 0);
	a = block(100, 1);
	b = block(100, 1);
	memset(a->data + 100, 'x', 20);
	secblock_unref(b);
}

static void run_overflow_into_free(void)
{
	struct secblock *a;

	CHILD_CHECK(secmem_init(LIMIT, NULL) == 0);
	a = block(100, 1);
	memset(a->data + 100, 'x', 20);
	block(100, 1);
}

static void run_unref_twice(void)
{
	struct secblock *a;

	CHILD_CHECK(secmem_init(LIMIT, NULL) == 0);
	a = block(100, 1);
	block(100, 1);
	secblock_unref(a);
	secblock_unref(a);
}

static void run_unref_inside(void)
{
	struct secblock *a;

	CHILD_CHECK(secmem_init(LIMIT, NULL) == 0);
	a = block(100, 1);
	secblock_unref((struct secblock *)(a->data + 32));
}

static void damage_ends_the_process_with_a_message(void **state)
{
	static const struct {
		void (*run)(void);
		const char *text;
	} CASES[] = {
		{ run_overflow, "locked memory is damaged" },
		{ run_overflow_into_free, "locked memory is damaged" },
		{ run_unref_twice, "" },
		{ run_unref_inside, "locked memory is damaged" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct ending ending = run_child(CASES[i].run);

		assert_true(WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGABRT);
		assert_non_null(strstr(ending.text, CASES[i].text));
	}
}

/* ---- spans and digests ---- */

static void spans_are_equal_by_their_bytes(void **state)
{
	struct secblock *a = block(10, 0), *b = block(10, 0);

	memcpy(a->data, "0123456789", 10);
	memcpy(b->data, "xx0123xx89", 10);
	struct {
		struct secspan a, b;
		bool equal;
	} CASES[] = {
		{ { a, 0, 4 }, { b, 2, 4 }, true },	{ { a, 0, 5 }, { b, 2, 5 }, false },
		{ { a, 0, 4 }, { b, 2, 3 }, false },	{ { a, 0, 0 }, { b, 5, 0 }, true },
		{ { NULL, 0, 0 }, { a, 3, 0 }, true },	{ { NULL, 0, 0 }, { NULL, 0, 0 }, true },
		{ { NULL, 0, 0 }, { a, 3, 1 }, false }, { { a, 0, 10 }, { a, 0, 10 }, true },
		{ { a, 8, 2 }, { b, 8, 2 }, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		assert_int_equal(secspan_eq(&CASES[i].a, &CASES[i].b), CASES[i].equal);
		assert_int_equal(secspan_eq(&CASES[i].b, &CASES[i].a), CASES[i].equal);
	}
	secblock_unref(a);
	secblock_unref(b);
}

static void digests_follow_the_content(void **state)
{
	struct digest a = digest_of("value", 5), again = digest_of("value", 5), other = digest_of("Value", 5);
	struct digest empty = digest_of("", 0), none = digest_of(NULL, 0);

	assert_true(digest_eq(&a, &again));
	assert_false(digest_eq(&a, &other));
	assert_false(digest_eq(&a, &empty));
	assert_true(digest_eq(&empty, &none));
}

static void digest_needs_the_key_of_the_process(void **state)
{
	uint8_t plain[DIGEST_LEN];
	struct digest a = digest_of("value", 5);

	assert_int_equal(crypto_generichash(plain, sizeof(plain), (const uint8_t *)"value", 5, NULL, 0), 0);
	assert_memory_not_equal(a.b, plain, sizeof(plain));
}

#define with_region(test) cmocka_unit_test_setup_teardown(test, region_setup, region_teardown)

/* It is the last of many that are too small, and there is no larger one. */
static void the_one_piece_that_is_large_enough_is_found(void **state)
{
	void *large, *small[64], *p;

	secmem_deinit();
	assert_int_equal(secmem_init(64 << 10, NULL), 0);
	large = secmem_alloc(256);
	assert_non_null(secmem_alloc(16));
	for (size_t i = 0; i < ARRAY_SIZE(small); i++) {
		small[i] = secmem_alloc(240);
		assert_non_null(secmem_alloc(16));
	}
	while (secmem_alloc(16))
		;
	secmem_free(large);
	for (size_t i = 0; i < ARRAY_SIZE(small); i++)
		secmem_free(small[i]);
	p = secmem_alloc(256);
	assert_ptr_equal(p, large);
	assert_null(secmem_alloc(256));
	secmem_deinit();
}

/* One chunk that is all of it, and one with a small one behind it: as large as their headers can say. Nothing of it is touched. */
static void the_largest_region_can_be_used(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct secmem_use last = { .offset = SECMEM_LIMIT_MAX - 16, .len = 16 };
	cleanup_fd int fd = memfd_create("largest", MFD_CLOEXEC);
	void *p;

	secmem_deinit();
	assert_int_equal(ftruncate(fd, (off_t)(SECMEM_LIMIT_MAX + page)), 0);
	assert_int_equal(secmem_init_shared(fd, 0, SECMEM_LIMIT_MAX + page, NULL), -EINVAL);
	assert_int_equal(secmem_init(SECMEM_LIMIT_MAX + 1, NULL), -EINVAL);
	assert_int_equal(secmem_init_shared(fd, 0, SECMEM_LIMIT_MAX, NULL), 0);
	assert_int_equal(secmem_stats().limit_bytes, SECMEM_LIMIT_MAX);
	assert_int_equal(secmem_adopt(&last, 1, NULL), 0);
	secmem_free(secmem_at(last.offset, last.len));
	assert_int_equal(secmem_stats().n_blocks, 0);
	for (int i = 0; i < 2; i++) {
		p = secmem_alloc(1);
		assert_int_equal(secmem_offset(p), 16);
		secmem_free(p);
	}
	assert_null(secmem_alloc(SECMEM_LIMIT_MAX));
	secmem_deinit();

	assert_int_equal(secmem_init_shared(fd, 0, SECMEM_LIMIT_MAX, NULL), 0);
	assert_int_equal(secmem_adopt(NULL, 0, NULL), 0);
	p = secmem_alloc(100);
	assert_int_equal(secmem_offset(p), 16);
	secmem_free(p);
	secmem_deinit();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_region(new_block_is_zeroed_aligned_and_has_one_reference),
		with_region(last_reference_wipes_and_frees),
		with_region(freed_pages_go_back_to_the_kernel),
		with_region(budget_holds_and_the_error_has_the_numbers),
		with_region(small_blocks_cost_little),
		with_region(memory_is_whole_again_in_whatever_order_it_is_freed),
		with_region(random_use_keeps_contents_and_accounts),
		cmocka_unit_test(the_one_piece_that_is_large_enough_is_found),
		with_region(second_init_is_refused),
		cmocka_unit_test(impossible_limits_are_refused),
		cmocka_unit_test(limit_is_rounded_up_to_pages),
		cmocka_unit_test(the_largest_region_can_be_used),
		cmocka_unit_test(region_can_be_set_up_again_after_its_end),
		with_region(region_stays_out_of_cores_and_children),
		with_region(child_sees_no_bytes),
		cmocka_unit_test(guard_pages_stop_what_runs_over),
		with_region(lock_is_checked_with_the_kernel),
		cmocka_unit_test(region_without_the_lock_is_usable_and_says_so),
		cmocka_unit_test(leaving_it_out_of_cores_is_not_believed_either),
		cmocka_unit_test(process_is_locked_or_left_as_it_was),
		cmocka_unit_test(lock_that_a_sandbox_only_pretends_is_not_believed),
		cmocka_unit_test(lock_stays_when_the_capability_is_gone),
		cmocka_unit_test(damage_ends_the_process_with_a_message),
		with_region(spans_are_equal_by_their_bytes),
		cmocka_unit_test(digests_follow_the_content),
		cmocka_unit_test(digest_needs_the_key_of_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
