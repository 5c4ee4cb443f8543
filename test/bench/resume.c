/* What it costs a new agent to take over what an earlier one has published, by the number of volumes: processor time, which
 * other load changes little, and page faults; and what a page costs here, by a fault and together with others. Each sample
 * is a process of its own, as an agent is. */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "fusefs/arena.h"
#include "fusefs/tree.h"

#define HEAP	  (256u << 20)
#define ROUNDS	  9
#define VALUE_LEN 1024

static const unsigned sizes[] = { 10, 100, 1000, 10000 };

static void die(const char *what)
{
	fprintf(stderr, "bench: %s\n", what);
	exit(1);
}

/* A volume with one key, as publish.c makes it. */
static int add_volume(struct tree *t, unsigned i)
{
	struct node *root = tree_node(t, 1), *volume, *version, *n;
	const char *version_name = "..2026_01_02_03_04_05.123456789";
	struct payload_file file = { .mode = 0644 };
	struct secblock *block = NULL;
	struct digest digest;
	char name[32];
	int r;

	snprintf(name, sizeof(name), "volume-%u", i);
	digest = digest_of(name, strlen(name));
	r = secblock_new(VALUE_LEN, &block, NULL);
	if (r < 0)
		return r;
	memset(block->data, (int)i, VALUE_LEN);
	file.digest = digest_of(block->data, VALUE_LEN);
	file.content.block = block;
	file.content.len = VALUE_LEN;
	r = tree_stage_dir(t, root, name, 0755, 0, &volume);
	r = r ?: tree_fill_version(t, volume, version_name, 0755, 0, &digest, &version);
	r = r ?: tree_fill_file(t, version, "key", &file, &n);
	r = r ?: tree_fill_link(t, volume, "..data", version_name, &n);
	r = r ?: tree_fill_link(t, volume, "key", "..data/key", &n);
	r = r ?: tree_commit_mkdir(t, root, name, &n);
	secblock_unref(block);
	return r;
}

static void fill(int fd, unsigned n)
{
	struct arena *a;
	struct tree *t;

	if (arena_open(fd, &a, NULL) < 0 || tree_open(1, a, &t, NULL) < 0)
		die("arena");
	for (unsigned i = 0; i < n; i++)
		if (add_volume(t, i) < 0)
			die("add a volume");
	_exit(0);
}

struct sample {
	double usec; /* of the processor */
	long faults;
};

static double cpu_usec(const struct rusage *u)
{
	return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1e6 +
	       (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
}

static void take_over(int fd, int out)
{
	struct rusage before, after;
	struct sample s;
	struct arena *a;
	struct tree *t;

	getrusage(RUSAGE_SELF, &before);
	if (arena_open(fd, &a, NULL) < 0 || tree_open(1, a, &t, NULL) < 0)
		die("arena");
	getrusage(RUSAGE_SELF, &after);
	s.usec = cpu_usec(&after) - cpu_usec(&before);
	s.faults = after.ru_minflt - before.ru_minflt;
	if (write(out, &s, sizeof(s)) != sizeof(s))
		die("write");
	_exit(0);
}

static int compare(const void *x, const void *y)
{
	double a = ((const struct sample *)x)->usec, b = ((const struct sample *)y)->usec;

	return a < b ? -1 : a > b;
}

static struct sample median_of(int fd)
{
	struct sample s[ROUNDS];
	int out[2];

	if (pipe(out) < 0)
		die("pipe");
	for (int i = 0; i < ROUNDS; i++) {
		pid_t pid = fork();

		if (pid == 0)
			take_over(fd, out[1]);
		if (pid < 0 || read(out[0], &s[i], sizeof(s[i])) != sizeof(s[i]) || waitpid(pid, NULL, 0) < 0)
			die("sample");
	}
	close(out[0]);
	close(out[1]);
	qsort(s, ROUNDS, sizeof(s[0]), compare);
	return s[ROUNDS / 2];
}

static double page_usec(bool at_once)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), len = 4096 * page;
	struct rusage before, after;
	volatile char *p;

	getrusage(RUSAGE_SELF, &before);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		die("mmap");
	madvise((void *)(uintptr_t)p, len, MADV_NOHUGEPAGE);
	if (at_once)
		madvise((void *)(uintptr_t)p, len, MADV_POPULATE_WRITE);
	for (size_t i = 0; i < len; i += page)
		p[i] = 1;
	getrusage(RUSAGE_SELF, &after);
	munmap((void *)(uintptr_t)p, len);
	return (cpu_usec(&after) - cpu_usec(&before)) / 4096;
}

/* What the kernel and the dynamic loader do before a program's first line. */
static void start_of(const char *program)
{
	const char *base = strrchr(program, '/');
	struct rusage u;
	pid_t pid = fork();

	if (pid == 0) {
		if (!freopen("/dev/null", "w", stdout))
			_exit(1);
		execl(program, program, "version", (char *)NULL);
		_exit(1);
	}
	if (pid < 0 || wait4(pid, NULL, 0, &u) < 0)
		die("start a program");
	printf("Start of %s: %.1f ms cpu, %ld page faults\n", base ? base + 1 : program, cpu_usec(&u) / 1000,
	       u.ru_minflt);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		start_of(argv[i]);
	printf("Taking over an arena (median of %d new processes)\n%8s %9s %9s %12s %8s\n", ROUNDS, "volumes", "ms cpu",
	       "faults", "us/volume", "slope");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		static double before;
		struct sample s;
		pid_t pid;
		int fd;

		if (arena_create(HEAP, &fd, NULL) < 0)
			die("arena");
		pid = fork();
		if (pid == 0)
			fill(fd, sizes[i]);
		if (pid < 0 || waitpid(pid, NULL, 0) < 0)
			die("fork");
		s = median_of(fd);
		close(fd);
		printf("%8u %9.2f %9ld %12.2f", sizes[i], s.usec / 1000, s.faults, s.usec / sizes[i]);
		printf(i > 0 ? " %8.2f\n" : "\n", (s.usec - before) / (sizes[i] - (i > 0 ? sizes[i - 1] : 0)));
		before = s.usec;
	}
	printf("A page of memory here: %.2f us by a fault, %.2f us when asked for with others\n", page_usec(false),
	       page_usec(true));
	return 0;
}
