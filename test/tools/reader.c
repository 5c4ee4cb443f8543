/* A reader for test/chaos: looks at one volume in one way, for ever, and says what it must not see.
 *
 *   reader SHARED INDEX MODE VOLUME SECRET SEED
 *
 * Each value consists of records of 64 bytes that name Secret, key, generation and their own place, so a value that is
 * torn, mixed or somebody else's does not pass. SHARED is a file that all readers and the driver map: what anybody has
 * seen of a volume, nobody may see less of later. "extra-*" are keys that come and go; the others are always there.
 *
 * Errors go to stderr, one line each; the last line on stdout is a JSON object with what was done. Exit status 1: there
 * were errors. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base.h"
#include "common/str.h"

#define RECORD	      64
#define VALUE_MAX     (1u << 20)
#define N_HELD	      32
#define N_EXTRA	      4
#define ERRORS_SHOWN  20
#define EVENT_LATE_MS 60000

/* test/chaos/chaos.py has the same layout. */
struct shared_volume {
	uint64_t acknowledged; /* the driver's: this generation was reported as published */
	uint64_t seen; /* the newest that a reader has seen */
	uint64_t n_moved; /* by the inotify reader: MOVED_TO ..data */
	uint64_t armed; /* it watches */
	uint64_t others_seen[2]; /* in a flat volume "seen" is of the first key alone, and these of those behind it */
	uint64_t unused[2];
};

struct shared {
	uint64_t stop;
	uint64_t unused[7];
	struct shared_volume volumes[];
};

static struct shared *shared;
static struct shared_volume *volume;
static const char *mode, *path, *secret;
static bool flat; /* the volume has files instead of links: each key is of a generation of its own */
static uint64_t n_looks, n_errors, n_races, max_usec, rng;
static char value[VALUE_MAX] __attribute__((__aligned__(4096)));

static const char *const STABLE[] = { "small", "page", "big" };

static uint64_t now_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void error(const char *fmt, ...) attr_printf(1, 2);
static void error(const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (++n_errors > ERRORS_SHOWN)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	fprintf(stderr, "ERROR %" PRIu64 " %s %s: %s\n", now_usec(), mode, path, text);
	fflush(stderr);
}

static uint32_t pick(uint32_t n) /* xorshift */
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 16) % n;
}

static uint64_t *seen_of(const char *key)
{
	for (size_t i = 1; flat && i < ARRAY_SIZE(STABLE); i++)
		if (str_eq(key, STABLE[i]))
			return &volume->others_seen[i - 1];
	return &volume->seen;
}

static uint64_t floor_get(const char *key)
{
	uint64_t a = __atomic_load_n(&volume->acknowledged, __ATOMIC_SEQ_CST);
	uint64_t b = __atomic_load_n(seen_of(key), __ATOMIC_SEQ_CST);

	return MAX(a, b);
}

static void floor_raise(const char *key, uint64_t generation)
{
	uint64_t *seen = seen_of(key), old = __atomic_load_n(seen, __ATOMIC_SEQ_CST);

	while (old < generation &&
	       !__atomic_compare_exchange_n(seen, &old, generation, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static bool is_stable(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(STABLE); i++)
		if (str_eq(key, STABLE[i]))
			return true;
	return false;
}

static const char *random_key(void)
{
	static char extra[16];

	if (pick(4) > 0)
		return STABLE[pick(ARRAY_SIZE(STABLE))];
	snprintf(extra, sizeof extra, "extra-%u", pick(N_EXTRA));
	return extra;
}

/* Whether these bytes are one whole value of the key; its generation. */
static bool verify(const char *bytes, size_t len, const char *key, uint64_t *ret_generation)
{
	unsigned n = len / RECORD;
	uint64_t generation = 0;
	char record[2 * RECORD];

	if (len == 0 || len % RECORD) {
		error("%s: %zu bytes", key, len);
		return false;
	}
	if (sscanf(bytes + 39, "%10" SCNu64, &generation) != 1) {
		error("%s: no generation in it", key);
		return false;
	}
	for (unsigned i = 0; i < n; i++) {
		snprintf(record, sizeof record, "%-23.23s %-14.14s %010" PRIu64 " %06u/%06u\n", secret, key, generation,
			 i, n);
		if (memcmp(bytes + (size_t)i * RECORD, record, RECORD) != 0) {
			error("%s: record %u of %u is '%.63s', not '%.63s'", key, i, n, bytes + (size_t)i * RECORD,
			      record);
			return false;
		}
	}
	*ret_generation = generation;
	return true;
}

/* All of an open file into `value`; -1: an error was said. */
static ssize_t read_all(int fd, const char *key)
{
	size_t len = 0;
	struct stat st;
	ssize_t n;

	while ((n = pread(fd, value + len, sizeof value - len, (off_t)len)) > 0)
		len += (size_t)n;
	if (n < 0) {
		error("read %s: %m", key);
		return -1;
	}
	if (fstat(fd, &st) < 0) {
		error("fstat %s: %m", key);
		return -1;
	}
	if ((size_t)st.st_size != len) {
		error("%s: %zu bytes read, its size is %jd", key, len, (intmax_t)st.st_size);
		return -1;
	}
	return (ssize_t)len;
}

/* Reads the open file and checks it. 0: an error was said; otherwise the generation. */
static uint64_t read_checked(int fd, const char *key)
{
	uint64_t generation = 0;
	ssize_t len = read_all(fd, key);

	return len >= 0 && verify(value, (size_t)len, key, &generation) ? generation : 0;
}

/* Opens, reads, checks and returns the fd of a key of the volume; -1: there is no such key, or an error was said. */
static int open_checked(const char *key, int flags, uint64_t *ret_generation)
{
	uint64_t least = floor_get(key), generation;
	char file[4096];
	int fd;

	snprintf(file, sizeof file, "%s/%s", path, key);
	fd = open(file, O_RDONLY | O_CLOEXEC | flags);
	if (fd < 0) {
		if (errno != ENOENT || is_stable(key))
			error("open %s: %m", key);
		return -1;
	}
	if (pick(4) == 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	generation = read_checked(fd, key);
	if (generation && is_stable(key)) {
		if (generation < least)
			error("%s: generation %" PRIu64 " after %" PRIu64, key, generation, least);
		floor_raise(key, generation);
	}
	*ret_generation = generation;
	return fd;
}

static void look_open(void)
{
	uint64_t generation;

	close_fd(open_checked(random_key(), 0, &generation));
}

/* Every read is a request. */
static void look_direct(void)
{
	uint64_t generation;

	close_fd(open_checked(random_key(), O_DIRECT, &generation));
}

static void data_link(char target[PATH_MAX])
{
	char link[4096];
	ssize_t n;

	snprintf(link, sizeof link, "%s/..data", path);
	n = readlink(link, target, PATH_MAX - 1);
	if (n < 0)
		error("readlink ..data: %m");
	target[n > 0 ? n : 0] = 0;
}

/* Keys and nothing else, each once. */
static void look_flat(void)
{
	unsigned n_stable = 0;
	struct dirent *entry;
	struct stat st;
	char file[4096];
	DIR *dir = opendir(path);

	if (!dir) {
		error("opendir: %m");
		return;
	}
	while (errno = 0, (entry = readdir(dir))) {
		const char *name = entry->d_name;

		if (str_eq(name, ".") || str_eq(name, ".."))
			continue;
		n_stable += is_stable(name);
		if (!is_stable(name) && !str_starts(name, "extra-"))
			error("a foreign name: %s", name);
		snprintf(file, sizeof file, "%s/%s", path, name);
		if (lstat(file, &st) < 0 && (errno != ENOENT || is_stable(name)))
			error("stat %s: %m", name);
		else if (entry->d_type != DT_REG)
			error("%s is no file", name);
	}
	if (errno)
		error("readdir: %m");
	if (n_stable != ARRAY_SIZE(STABLE))
		error("the listing has %u times a key of %zu", n_stable, ARRAY_SIZE(STABLE));
	closedir(dir);
}

/* A listed name: may be gone when it is an extra one, but never dangle. */
static void look_at(const char *name, const char *version_before)
{
	char file[4096], version[PATH_MAX];
	struct stat st;

	snprintf(file, sizeof file, "%s/%s", path, name);
	if (stat(file, &st) == 0)
		return;
	if (errno != ENOENT || is_stable(name) || str_eq(name, "..data")) {
		error("stat %s: %m", name);
		return;
	}
	if (lstat(file, &st) == 0 && name[0] != '.') {
		data_link(version);
		if (str_eq(version, version_before))
			error("%s dangles", name);
		else
			n_races++;
	}
}

static void look_stat(void)
{
	char version[PATH_MAX];
	struct dirent *entry;
	unsigned n_stable = 0;
	bool data = false;
	DIR *dir;

	data_link(version);
	dir = opendir(path);
	if (!dir) {
		error("opendir: %m");
		return;
	}
	while (errno = 0, (entry = readdir(dir))) {
		n_stable += is_stable(entry->d_name);
		data |= str_eq(entry->d_name, "..data");
		if (strncmp(entry->d_name, "..", 2) != 0 || str_eq(entry->d_name, "..data"))
			look_at(entry->d_name, version);
	}
	if (errno)
		error("readdir: %m");
	if (n_stable != ARRAY_SIZE(STABLE) || !data)
		error("the listing has %u of %zu keys%s", n_stable, ARRAY_SIZE(STABLE), data ? "" : " and no ..data");
	closedir(dir);
}

struct held {
	int fd;
	char key[16];
	uint64_t generation;
	void *map;
	size_t len;
};

static void held_let_go(struct held *h)
{
	if (h->map)
		munmap(h->map, h->len);
	close_fd(h->fd);
	*h = (struct held){ .fd = -1 };
}

static struct held *held_one(void)
{
	static struct held held[N_HELD];
	static bool begun;
	struct held *h;

	for (size_t i = 0; !begun && i < N_HELD; i++)
		held[i].fd = -1;
	begun = true;
	h = &held[pick(N_HELD)];
	if (h->fd >= 0 && pick(4) > 0)
		return h;
	held_let_go(h);
	snprintf(h->key, sizeof h->key, "%s", random_key());
	h->fd = open_checked(h->key, 0, &h->generation);
	return h;
}

static void look_held(void)
{
	struct held *h = held_one();
	uint64_t generation;

	if (h->fd < 0)
		return;
	if (pick(2) == 0)
		posix_fadvise(h->fd, 0, 0, POSIX_FADV_DONTNEED);
	generation = read_checked(h->fd, h->key);
	if (generation && generation != h->generation)
		error("held %s: generation %" PRIu64 " became %" PRIu64, h->key, h->generation, generation);
}

static void look_mapped(void)
{
	struct held *h = held_one();
	uint64_t generation;
	struct stat st;

	if (h->fd < 0)
		return;
	if (!h->map) {
		if (fstat(h->fd, &st) < 0) {
			error("fstat %s: %m", h->key);
			return;
		}
		h->len = (size_t)st.st_size;
		h->map = mmap(NULL, h->len, PROT_READ, MAP_SHARED, h->fd, 0);
		if (h->map == MAP_FAILED) {
			h->map = NULL;
			error("mmap %s: %m", h->key);
			return;
		}
	}
	if (pick(2) == 0) {
		madvise(h->map, h->len, MADV_DONTNEED);
		posix_fadvise(h->fd, 0, 0, POSIX_FADV_DONTNEED);
	}
	if (verify(h->map, h->len, h->key, &generation) && generation != h->generation)
		error("mapped %s: generation %" PRIu64 " became %" PRIu64, h->key, h->generation, generation);
}

/* Whether the open folder is still what ..data leads to. */
static bool is_newest(int dir)
{
	struct stat ours, newest;
	char link[4096];

	snprintf(link, sizeof link, "%s/..data/", path);
	if (fstat(dir, &ours) < 0 || stat(link, &newest) < 0) {
		error("stat ..data: %m");
		return false;
	}
	return ours.st_ino == newest.st_ino;
}

/* One key through an open folder of a version. false: end the look at this folder. */
static bool look_in_version(int dir, const char *key, uint64_t *generation)
{
	int fd = openat(dir, key, O_RDONLY | O_CLOEXEC);
	uint64_t found;

	if (fd < 0) {
		if (errno != ENOENT)
			error("%s in a held version: %m", key);
		else if (is_stable(key) && is_newest(dir))
			error("%s is gone from the newest version (generation %" PRIu64 ")", key, *generation);
		return false;
	}
	if (pick(4) == 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	found = read_checked(fd, key);
	close(fd);
	if (!found)
		return false;
	if (!*generation)
		*generation = found;
	if (found != *generation) {
		error("%s: generation %" PRIu64 " beside %" PRIu64, key, found, *generation);
		return false;
	}
	return true;
}

static void look_version(void)
{
	uint64_t least = floor_get("small"), generation = 0;
	char name[4096];
	struct dirent *entry;
	bool more = true;
	DIR *dir;
	int fd;

	snprintf(name, sizeof name, "%s/..data", path);
	fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		error("open ..data: %m");
		return;
	}
	dir = fdopendir(fd);
	if (!dir) {
		error("fdopendir: %m");
		close(fd);
		return;
	}
	for (uint32_t i = 0, n = 1 + pick(4); i < n && more; i++) {
		unsigned n_stable = 0;

		more = look_in_version(fd, STABLE[pick(ARRAY_SIZE(STABLE))], &generation);
		if (more && i == 0 && generation < least)
			error("..data: generation %" PRIu64 " after %" PRIu64, generation, least);
		rewinddir(dir);
		while (more && (errno = 0, entry = readdir(dir))) {
			if (entry->d_name[0] == '.')
				continue;
			n_stable += is_stable(entry->d_name);
			more = look_in_version(fd, entry->d_name, &generation);
		}
		if (more && errno)
			error("readdir ..data: %m");
		else if (more && n_stable != ARRAY_SIZE(STABLE) && is_newest(fd))
			error("%u of %zu keys in the newest version", n_stable, ARRAY_SIZE(STABLE));
	}
	if (generation)
		floor_raise("small", generation);
	closedir(dir);
}

/* --- inotify --- */

static bool wait_events(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) > 0;
}

static void look_moved(void)
{
	static char events[16 << 10] __attribute__((__aligned__(8)));
	static int fd = -1;
	ssize_t n;

	if (fd < 0) {
		fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		if (inotify_add_watch(fd, path, IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR) < 0)
			error("inotify_add_watch: %m");
		__atomic_store_n(&volume->armed, 1, __ATOMIC_SEQ_CST);
	}
	if (!wait_events(fd, 100))
		return;
	n = read(fd, events, sizeof events);
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const void *)(events + at);

		if (e->mask & (IN_Q_OVERFLOW | IN_IGNORED | IN_DELETE_SELF | IN_UNMOUNT))
			error("inotify: event 0x%x", e->mask);
		else if (str_eq(e->name, "..data"))
			__atomic_add_fetch(&volume->n_moved, 1, __ATOMIC_SEQ_CST);
		at += (ssize_t)(sizeof *e + e->len);
	}
}

/* A watch on the file behind a key: ends when its version does. */
static void look_key(void)
{
	static int inotify = -1;
	static uint64_t generation, late_usec;
	char events[4096] __attribute__((__aligned__(8))), proc[64];
	struct stat ours, theirs;
	char file[4096];
	int fd;

	snprintf(file, sizeof file, "%s/small", path);
	if (inotify < 0) {
		fd = open_checked("small", 0, &generation);
		if (fd < 0)
			return;
		inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
		if (inotify_add_watch(inotify, proc, IN_ATTRIB | IN_DELETE_SELF) < 0)
			error("inotify_add_watch small: %m");
		late_usec = 0;
		/* one that was replaced in between may have been told already */
		if (fstat(fd, &ours) < 0 || stat(file, &theirs) < 0)
			error("stat small: %m");
		else if (ours.st_ino != theirs.st_ino)
			inotify = close_fd(inotify);
		close(fd);
		return;
	}
	if (wait_events(inotify, 100)) {
		if (read(inotify, events, sizeof events) <= 0)
			error("read inotify: %m");
		inotify = close_fd(inotify);
		return;
	}
	if (floor_get("small") <= generation)
		return;
	if (!late_usec)
		late_usec = now_usec();
	if (now_usec() - late_usec > (uint64_t)EVENT_LATE_MS * 1000) {
		error("no event for the end of generation %" PRIu64 ", %" PRIu64 " is there", generation,
		      floor_get("small"));
		inotify = close_fd(inotify);
	}
}

static const struct {
	const char *name;
	void (*look)(void);
	uint32_t pause_usec;
} MODES[] = {
	{ "open", look_open, 2000 },	   { "direct", look_direct, 3000 }, { "stat", look_stat, 3000 },
	{ "flat", look_flat, 3000 },	   { "held", look_held, 3000 },	    { "mapped", look_mapped, 3000 },
	{ "version", look_version, 3000 }, { "moved", look_moved, 0 },	    { "key", look_key, 0 },
};

static void faulted(int signo)
{
	static const char text[] = "ERROR a page of a mapped file could not be had (SIGBUS)\n";

	if (write(STDERR_FILENO, text, sizeof text - 1) > 0)
		_exit(1);
	_exit(1);
}

static bool is_flat(void)
{
	char link[4096];
	struct stat st;

	snprintf(link, sizeof link, "%s/..data", path);
	return lstat(link, &st) < 0;
}

static int map_shared(const char *file, const char *index)
{
	size_t i = strtoul(index, NULL, 10);
	cleanup_fd int fd = open(file, O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (offsetof(struct shared, volumes) + (i + 1) * sizeof(struct shared_volume) > (size_t)st.st_size)
		return -EINVAL;
	shared = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		return -errno;
	volume = &shared->volumes[i];
	return 0;
}

int main(int argc, char **argv)
{
	size_t m = 0;

	if (argc != 7) {
		fprintf(stderr, "usage: reader SHARED INDEX MODE VOLUME SECRET SEED\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGBUS, faulted);
	mode = argv[3];
	path = argv[4];
	secret = argv[5];
	flat = is_flat();
	rng = strtoull(argv[6], NULL, 10) * 2654435761u + 88172645463325252u;
	while (m < ARRAY_SIZE(MODES) && !str_eq(MODES[m].name, mode))
		m++;
	if (m == ARRAY_SIZE(MODES) || map_shared(argv[1], argv[2]) < 0) {
		fprintf(stderr, "reader: no such mode, or the shared file cannot be mapped\n");
		return 2;
	}
	while (!__atomic_load_n(&shared->stop, __ATOMIC_SEQ_CST)) {
		uint64_t begun = now_usec();

		MODES[m].look();
		n_looks++;
		if (MODES[m].pause_usec) {
			max_usec = MAX(max_usec, now_usec() - begun);
			usleep(pick(MODES[m].pause_usec));
		}
	}
	printf("{\"mode\": \"%s\", \"looks\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"races\": %" PRIu64
	       ", \"longestMs\": %.1f}\n",
	       mode, n_looks, n_errors, n_races, (double)max_usec / 1000);
	return n_errors > 0;
}
