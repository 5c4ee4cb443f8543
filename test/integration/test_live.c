/* Live files: what a reader of one gets while its content changes under it, through a bind mount of the file as a runtime
 * makes it for a subPath. Each version's bytes say of which version they are. It takes long under ASan. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/str.h"
#include "test/lib/look.h"
#include "test/lib/rig.h"

#define PAGE	    4096u
#define SIZE_MAX_OF 300000u
#define GENERATIONS 20000
#define RUN_MSEC    4000
#define N_OLD	    16 /* what is older than allowed is recognised */

static struct rig *rig;

static int setup(void **state)
{
	rig = rig_new(NULL);
	return 0;
}

static int setup_flat(void **state)
{
	rig = rig_new(NULL);
	rig_set_flat(rig, true);
	return 0;
}

static int teardown(void **state)
{
	rig_free(rig);
	return 0;
}

#define FILES(...) ((const struct rig_file[]){ __VA_ARGS__, {} })

static int publish(const char *uid, const struct rig_file *files)
{
	struct rig_result res = { .r = 0 };
	int r = rig_publish(rig, uid, "v", rig_payload_live(rig, files, -1), &res);

	if (r < 0)
		print_message("publish: %s\n", res.error);
	return r;
}

static const char *live_path(const char *uid, const char *rest)
{
	static char paths[4][4096];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s/live/v%s%s", rig_dir(rig), uid, *rest ? "/" : "", rest);
	return path;
}

/* As a runtime does for a subPath. */
static const char *bind_file(const char *source)
{
	static char paths[8][128];
	static unsigned n;
	char *path = paths[n % ARRAY_SIZE(paths)];

	snprintf(path, sizeof paths[0], "%s/bind%u", rig_scratch(rig), n++);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	if (mount(source, path, NULL, MS_BIND, NULL) < 0)
		fail_msg("bind %s: %s", source, strerror(errno));
	return path;
}

/* --- what a live file is --- */

static void a_live_file_follows_its_key(void **state)
{
	const char *bound;
	struct stat a, b;

	assert_int_equal(publish("pod", FILES({ "k", "one" }, { "sub/k", "sub one", 0600 })), 0);
	bound = bind_file(live_path("pod", "k"));
	look_is_text(bound, "one");
	look_is_text(live_path("pod", "sub/k"), "sub one");
	assert_int_equal(stat(bound, &a), 0);
	assert_int_equal(a.st_mode, S_IFREG | 0644);

	assert_int_equal(publish("pod", FILES({ "k", "number two", 0640 }, { "sub/k", "sub one", 0600 })), 0);
	look_is_text(bound, "number two");
	assert_int_equal(stat(bound, &b), 0);
	assert_int_equal(b.st_ino, a.st_ino);
	assert_int_equal(b.st_mode, S_IFREG | 0640);
	assert_int_equal(b.st_size, strlen("number two"));
	look_is_text(live_path("pod", "sub/k"), "sub one");
	umount2(bound, MNT_DETACH);
}

static void a_key_that_is_gone_is_stale_and_comes_back_as_the_same(void **state)
{
	char b[16];
	const char *bound;
	cleanup_free char *names = NULL, *names2 = NULL;
	cleanup_fd int fd = -1;
	struct stat before, st;

	assert_int_equal(publish("gone", FILES({ "k", "one" }, { "l", "x" })), 0);
	bound = bind_file(live_path("gone", "k"));
	look_is_text(bound, "one");
	assert_int_equal(stat(bound, &before), 0);
	fd = open(bound, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);

	assert_int_equal(publish("gone", FILES({ "l", "x" })), 0);
	assert_int_equal(pread(fd, b, sizeof b, 0), -1);
	assert_int_equal(errno, ESTALE);
	assert_int_equal(stat(bound, &st), -1);
	assert_int_equal(errno, ESTALE);
	assert_int_equal(stat(live_path("gone", "k"), &st), -1);
	assert_int_equal(errno, ENOENT);
	names = look_list(live_path("gone", ""), NULL);
	assert_string_equal(names, "l ");

	assert_int_equal(publish("gone", FILES({ "k", "again" }, { "l", "x" })), 0);
	assert_int_equal(pread(fd, b, sizeof b, 0), 5);
	assert_memory_equal(b, "again", 5);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_ino, before.st_ino);
	look_is_text(bound, "again");
	names2 = look_list(live_path("gone", ""), NULL);
	assert_string_equal(names2, "k l ");
	umount2(bound, MNT_DETACH);
}

static void new_keys_get_live_files(void **state)
{
	cleanup_free char *names = NULL;

	assert_int_equal(publish("new", FILES({ "a", "1" })), 0);
	names = look_list(live_path("new", ""), NULL);
	assert_string_equal(names, "a ");
	assert_int_equal(publish("new", FILES({ "a", "1" }, { "b", "2" }, { "c/d/e", "3" })), 0);
	look_is_text(live_path("new", "b"), "2");
	look_is_text(live_path("new", "c/d/e"), "3");
	free(names);
	names = look_list(live_path("new", ""), NULL);
	assert_string_equal(names, "a b c ");
	/* a file becomes a folder, and a folder a file */
	assert_int_equal(publish("new", FILES({ "a/x", "4" }, { "c", "5" })), 0);
	rig_settle(rig);
	look_is_text(live_path("new", "a/x"), "4");
	look_is_text(live_path("new", "c"), "5");
}

static void folders_are_as_closed_as_the_volumes(void **state)
{
	struct stat st;
	char path[4096];

	assert_int_equal(rig_publish(rig, "modes", "v", rig_payload_live(rig, FILES({ "k", "1", 0400 }), 4242), NULL),
			 0);
	snprintf(path, sizeof path, "%s/modes/live", rig_dir(rig));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(stat(live_path("modes", ""), &st), 0);
	assert_int_equal(st.st_mode & 07777, 02755);
	assert_int_equal(st.st_gid, 4242);
	assert_int_equal(stat(live_path("modes", "k"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0440);
	assert_int_equal(st.st_gid, 4242);
}

static void only_pods_that_ask_for_it_have_a_live_folder(void **state)
{
	char path[4096];

	assert_int_equal(rig_publish(rig, "plain", "v", rig_payload(rig, FILES({ "k", "1" }), -1, NULL), NULL), 0);
	snprintf(path, sizeof path, "%s/plain/live", rig_dir(rig));
	assert_false(look_exists(path));
	/* asked for later, without any other change; and it stays, because a container may have it mounted */
	assert_int_equal(publish("plain", FILES({ "k", "1" })), 0);
	look_is_text(live_path("plain", "k"), "1");
	assert_int_equal(rig_publish(rig, "plain", "v", rig_payload(rig, FILES({ "k", "2" }), -1, NULL), NULL), 0);
	look_is_text(live_path("plain", "k"), "2");
	assert_int_equal(rig_remove_volume(rig, "plain", "v"), 0);
	assert_false(look_exists(live_path("plain", "")));
}

static void nobody_else_makes_one(void **state)
{
	char path[4096];
	const struct timespec now[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };

	assert_int_equal(publish("else", FILES({ "k", "1" })), 0);
	snprintf(path, sizeof path, "%s/else/live/v/other", rig_writable(rig));
	assert_int_equal(mknod(path, S_IFREG | 0644, 0), -1);
	assert_int_equal(errno, EROFS);
	snprintf(path, sizeof path, "%s/else/live/v/k", rig_writable(rig));
	assert_int_equal(utimensat(AT_FDCWD, path, now, 0), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(truncate(path, 0), -1);
	assert_int_equal(errno, EROFS);
	look_is_text(live_path("else", "k"), "1");
}

static void watchers_of_the_bound_file_are_woken(void **state)
{
	cleanup_fd int in = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd p = { .fd = in, .events = POLLIN };
	struct inotify_event e;
	const char *bound;

	assert_int_equal(publish("watch", FILES({ "k", "1" }, { "same", "x" })), 0);
	bound = bind_file(live_path("watch", "k"));
	assert_true(inotify_add_watch(in, bound, IN_ALL_EVENTS & ~(IN_OPEN | IN_ACCESS | IN_CLOSE_NOWRITE)) >= 0);
	assert_true(inotify_add_watch(in, live_path("watch", "same"), IN_MODIFY) >= 0);
	assert_int_equal(publish("watch", FILES({ "k", "2" }, { "same", "x" })), 0);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(read(in, &e, sizeof e), sizeof e);
	assert_int_equal(e.mask, IN_MODIFY);
	look_is_text(bound, "2");
	/* and nobody of a key that is as it was */
	assert_int_equal(read(in, &e, sizeof e), -1);
	umount2(bound, MNT_DETACH);
}

static void a_warm_live_file_costs_no_request(void **state)
{
	uint64_t before;

	assert_int_equal(publish("warm", FILES({ "k", "1" })), 0);
	assert_int_equal(publish("warm", FILES({ "k", "22" })), 0);
	rig_settle(rig);
	look_is_text(live_path("warm", "k"), "22");
	before = rig_requests(rig);
	for (int i = 0; i < 100; i++)
		look_is_text(live_path("warm", "k"), "22");
	assert_int_equal(rig_requests(rig), before);
}

/* --- what readers see while it changes --- */

static const uint32_t SIZES[] = { 0, 1, 100, 4096, 4097, 20000, SIZE_MAX_OF };

/* Shared with the processes of those who map. */
struct checks {
	uint32_t sizes[GENERATIONS]; /* of each generation */
	_Atomic uint32_t newest; /* that may be seen */
	_Atomic uint32_t acknowledged; /* whose publishing has ended */
	_Atomic bool stop;
	_Atomic unsigned n_reads, n_good, n_stable, n_cut, n_padded, n_bus;
	_Atomic unsigned n_mixed, n_old, n_torn;
	const char *uid, *path;
	pthread_mutex_t lock;
	char first[256]; /* that was wrong */
};

static struct checks *c;

/* Never 0. */
static uint8_t byte_at(uint32_t g, uint32_t i)
{
	uint32_t x = (g * 2654435761u) ^ ((i / 16 + 1) * 2246822519u);

	x ^= x >> 15;
	x *= 2654435761u;
	x ^= x >> 13;
	return (uint8_t)(1 + ((x >> (i % 16)) + i) % 255);
}

static void wrong(const char *fmt, ...) attr_printf(1, 2);
static void wrong(const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&c->lock);
	va_start(ap, fmt);
	if (!c->first[0])
		vsnprintf(c->first, sizeof c->first, fmt, ap);
	va_end(ap);
	pthread_mutex_unlock(&c->lock);
}

/* How many bytes are of this generation. */
static uint32_t match(const uint8_t *b, uint32_t off, uint32_t len, uint32_t g)
{
	uint32_t n = 0, size = c->sizes[g];

	while (n < len && off + n < size && b[n] == byte_at(g, off + n))
		n++;
	return n;
}

static bool is_zero(const uint8_t *b, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (b[i])
			return false;
	return true;
}

/* A part of one page. Since the read began, generations from `floor` on may be seen. */
static void check_page(const uint8_t *b, uint32_t off, uint32_t len, uint32_t floor, uint32_t newest, const char *who)
{
	uint32_t best = 0, of = 0, n, g;

	for (g = newest + 1; g-- > (floor > N_OLD ? floor - N_OLD : 0) && best < len;) {
		n = match(b, off, len, g);
		if (n > best || (n > 0 && n == best && of < floor)) {
			best = n;
			of = g;
		}
	}
	if (best < len && !is_zero(b + best, len - best)) {
		c->n_mixed++;
		wrong("%s: at %u, %u bytes, %u of generation %u (size %u), then another's; floor %u, newest %u", who,
		      off, len, best, of, c->sizes[of], floor, newest);
		return;
	}
	if (best < len)
		c->n_padded++;
	if (best > 16 && of < floor) {
		c->n_old++;
		wrong("%s: at %u: generation %u, and %u was published already", who, off, of, floor);
	}
}

static void check_read(const uint8_t *b, uint32_t off, uint32_t len, uint32_t floor, const char *who)
{
	uint32_t newest = atomic_load(&c->newest);

	while (len > 0) {
		uint32_t n = MIN(len, PAGE - off % PAGE);

		check_page(b, off, n, floor, newest, who);
		b += n;
		off += n;
		len -= n;
	}
}

/* The file's time and size were the same before and after: then all that was read is one version. */
static void check_whole(const uint8_t *b, uint32_t len, uint32_t size, uint32_t floor, const char *who)
{
	uint32_t newest = atomic_load(&c->newest), g;

	c->n_stable++;
	for (g = newest; g + 1 > floor; g--) {
		if (c->sizes[g] == size && len == size && match(b, 0, len, g) == len)
			return;
		if (g == 0)
			break;
	}
	c->n_torn++;
	wrong("%s: %u bytes, size %u, are no version from %u (size %u) to %u (size %u)", who, len, size, floor,
	      c->sizes[floor], newest, c->sizes[newest]);
}

/* Whoever asks for no more than these two need not ask the agent again for the time of access, which each read makes stale. */
static int time_and_size(int fd, struct stat *ret_st)
{
	struct statx x;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MTIME | STATX_SIZE, &x) < 0)
		return -1;
	*ret_st = (struct stat){ .st_size = (off_t)x.stx_size,
				 .st_mtim = { .tv_sec = x.stx_mtime.tv_sec, .tv_nsec = x.stx_mtime.tv_nsec } };
	return 0;
}

static bool same_time(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_size == b->st_size;
}

struct reader {
	pthread_t thread; /* or, of one that maps: */
	pid_t pid;
	const char *name;
	uint32_t chunk;
	bool keep; /* the same fd for ever */
	bool map;
	bool few; /* asks for time and size alone */
	bool evict; /* memory is short: pages go at any time */
};

static void read_once(struct reader *r, int fd, uint8_t *b)
{
	uint32_t floor_first = atomic_load(&c->acknowledged), at = 0;
	struct stat before, after;
	ssize_t n;

	if ((r->few ? time_and_size(fd, &before) : fstat(fd, &before)) < 0) {
		wrong("%s: fstat: %s", r->name, strerror(errno));
		c->n_torn++;
		return;
	}
	for (;;) {
		uint32_t floor = atomic_load(&c->acknowledged);

		n = pread(fd, b + at, MIN(r->chunk, 2 * SIZE_MAX_OF - at), at);
		if (n <= 0)
			break;
		check_read(b + at, at, (uint32_t)n, floor, r->name);
		at += (uint32_t)n;
		c->n_reads++;
	}
	if (n < 0 || (r->few ? time_and_size(fd, &after) : fstat(fd, &after)) < 0) {
		wrong("%s: read: %s", r->name, strerror(errno));
		c->n_torn++;
		return;
	}
	if (same_time(&before, &after))
		check_whole(b, at, (uint32_t)after.st_size, floor_first, r->name);
	else if (at != c->sizes[atomic_load(&c->acknowledged)])
		c->n_cut++;
}

static sigjmp_buf bus_jump;

static void on_bus(int signo)
{
	siglongjmp(bus_jump, 1);
}

/* The end may have come before the pages that are just being looked at. A page is no unit here: it can be another one from
 * one load to the next. */
static void map_once(const struct reader *r, int fd, const uint8_t *map, uint8_t *b)
{
	uint32_t floor = atomic_load(&c->acknowledged);
	struct stat before, after;

	if (fstat(fd, &before) < 0)
		return;
	if (sigsetjmp(bus_jump, 1)) {
		c->n_bus++;
		return;
	}
	memcpy(b, map, (size_t)before.st_size);
	c->n_reads++;
	if (fstat(fd, &after) == 0 && same_time(&before, &after))
		check_whole(b, (uint32_t)after.st_size, (uint32_t)after.st_size, floor, r->name);
}

/* The updates have a turn now and then. */
static void pause_a_little(unsigned *rng)
{
	usleep((*rng)++ * 97 % 500);
}

static int open_live(const struct reader *r)
{
	int fd = open(c->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		wrong("%s: open: %s", r->name, strerror(errno));
		c->n_torn++;
	}
	return fd;
}

static void *reader_main(void *userdata)
{
	struct reader *r = userdata;
	uint8_t *b = malloc(2 * SIZE_MAX_OF);
	unsigned rng = 0;
	int fd = -1;

	while (!atomic_load(&c->stop)) {
		if (fd < 0)
			fd = open_live(r);
		if (fd < 0)
			break;
		if (r->evict)
			posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		else
			read_once(r, fd, b);
		pause_a_little(&rng);
		if (!r->keep) {
			close(fd);
			fd = -1;
		}
	}
	close_fd(fd);
	free(b);
	return NULL;
}

/* A child of a process with threads: it allocates nothing, and leaves by _exit(). */
static _Noreturn void mapper_main(const struct reader *r, int fd, uint8_t *b)
{
	unsigned rng = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* nothing of the rig's is kept open here */
	if (dup2(fd, 3) != 3 || close_range(4, ~0u, 0) < 0)
		_exit(1);
	while (!atomic_load(&c->stop)) {
		uint8_t *map = mmap(NULL, 2 * SIZE_MAX_OF, PROT_READ, MAP_SHARED, 3, 0);

		if (map == MAP_FAILED)
			_exit(1);
		map_once(r, 3, map, b);
		munmap(map, 2 * SIZE_MAX_OF); /* what is mapped is not evicted */
		pause_a_little(&rng);
	}
	_exit(0);
}

/* Whoever maps what is served by his own process can be waited for by himself: a fault that has to read holds the
 * lock of the address space, of which the server takes it for each mmap(2) of malloc's. So that is a process. */
static void reader_start(struct reader *r)
{
	uint8_t *b;
	int fd;

	if (!r->map) {
		assert_int_equal(pthread_create(&r->thread, NULL, reader_main, r), 0);
		return;
	}
	b = malloc(2 * SIZE_MAX_OF);
	assert_non_null(b);
	fd = open_live(r);
	assert_true(fd >= 0);
	r->pid = fork();
	assert_true(r->pid >= 0);
	if (r->pid == 0)
		mapper_main(r, fd, b);
	close(fd);
	free(b);
}

static void reader_end(struct reader *r)
{
	int status;

	if (!r->map) {
		pthread_join(r->thread, NULL);
		return;
	}
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	assert_int_equal(status, 0);
}

static uint64_t now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void publish_generation(uint32_t g, uint32_t size)
{
	static char text[SIZE_MAX_OF + 1];
	const struct rig_file files[] = { { "k", text, 0, size }, { "same", "always" }, {} };

	for (uint32_t i = 0; i < size; i++)
		text[i] = (char)byte_at(g, i);
	text[size] = 0;
	c->sizes[g] = size;
	atomic_store(&c->newest, g);
	assert_true(publish(c->uid, files) >= 0); /* empty again: nothing has changed */
	atomic_store(&c->acknowledged, g);
}

static void checks_begin(void)
{
	pthread_mutexattr_t attr;

	if (c)
		munmap(c, sizeof *c);
	c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(c, MAP_FAILED);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&c->lock, &attr);
}

static void run_readers(const char *uid, struct reader *readers, size_t n_readers)
{
	const char *msec = getenv("LIVE_MSEC");
	uint64_t until = now_msec() + (msec ? (uint64_t)atoi(msec) : RUN_MSEC);
	uint32_t g = 0, rng = 12345, size = 100;

	checks_begin();
	signal(SIGBUS, on_bus);
	c->uid = uid;
	publish_generation(0, size);
	c->path = bind_file(live_path(uid, "k"));
	for (size_t i = 0; i < n_readers; i++)
		reader_start(&readers[i]);
	while (now_msec() < until && g + 1 < GENERATIONS) {
		rng = rng * 1103515245 + 12345;
		/* as big as before, often enough: then nobody can tell by the size alone */
		if (rng >> 31)
			size = SIZES[(rng >> 16) % ARRAY_SIZE(SIZES)];
		publish_generation(++g, size);
		usleep((rng >> 8) % 2000);
	}
	atomic_store(&c->stop, true);
	for (size_t i = 0; i < n_readers; i++)
		reader_end(&readers[i]);
	print_message(
		"# %u versions, %u reads, %u with the same time before and after, %u cut short, %u filled up with "
		"zeros, %u past the end of a mapping; mixed %u, too old %u, torn %u\n",
		g, c->n_reads, c->n_stable, c->n_cut, c->n_padded, c->n_bus, c->n_mixed, c->n_old, c->n_torn);
	umount2(c->path, MNT_DETACH);
	if (c->first[0])
		fail_msg("%s", c->first);
	assert_true(g > 20 && c->n_stable > 100);
}

static void readers_see_what_is_promised(void **state)
{
	struct reader readers[] = {
		{ .name = "open, 1 MiB", .chunk = 1 << 20 },
		{ .name = "open, page", .chunk = PAGE },
		{ .name = "open, 1000", .chunk = 1000 },
		{ .name = "kept, 64 KiB", .chunk = 64 << 10, .keep = true },
		{ .name = "kept, 7 pages", .chunk = 7 * PAGE, .keep = true },
		{ .name = "evict", .keep = true, .evict = true },
		{ .name = "map", .map = true },
	};

	run_readers("readers", readers, ARRAY_SIZE(readers));
}

static void readers_that_ask_for_time_and_size_alone_do_too(void **state)
{
	struct reader readers[] = {
		{ .name = "open, 1 MiB", .chunk = 1 << 20, .few = true },
		{ .name = "kept, 7 pages", .chunk = 7 * PAGE, .keep = true, .few = true },
		{ .name = "evict", .keep = true, .evict = true },
		{ .name = "evict, too", .keep = true, .evict = true },
	};

	run_readers("few", readers, ARRAY_SIZE(readers));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_live_file_follows_its_key),
		cmocka_unit_test(a_key_that_is_gone_is_stale_and_comes_back_as_the_same),
		cmocka_unit_test(new_keys_get_live_files),
		cmocka_unit_test(folders_are_as_closed_as_the_volumes),
		cmocka_unit_test(only_pods_that_ask_for_it_have_a_live_folder),
		cmocka_unit_test(nobody_else_makes_one),
		cmocka_unit_test(watchers_of_the_bound_file_are_woken),
		cmocka_unit_test(a_warm_live_file_costs_no_request),
		cmocka_unit_test(readers_see_what_is_promised),
		cmocka_unit_test(readers_that_ask_for_time_and_size_alone_do_too),
	};
	const struct CMUnitTest flat[] = {
		cmocka_unit_test(a_live_file_follows_its_key),
		cmocka_unit_test(a_key_that_is_gone_is_stale_and_comes_back_as_the_same),
		cmocka_unit_test(new_keys_get_live_files),
		cmocka_unit_test(folders_are_as_closed_as_the_volumes),
		cmocka_unit_test(watchers_of_the_bound_file_are_woken),
		cmocka_unit_test(a_warm_live_file_costs_no_request),
		cmocka_unit_test(readers_see_what_is_promised),
	};
	int n_failed = cmocka_run_group_tests_name("in volumes of links", tests, setup, teardown);

	return n_failed + cmocka_run_group_tests_name("in flat volumes", flat, setup_flat, teardown);
}
