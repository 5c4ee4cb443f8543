/* What it costs a new agent to take over what an earlier one has published, by the number of volumes: processor time, which
 * other load changes little, and page faults; and what it costs the kernel and the dynamic loader to start PROGRAM. Each
 * sample is a process of its own, as an agent is. Prints one JSON object for each.
 *
 *   resume PROGRAM VOLUMES...
 *   resume --once VOLUMES       take_over() for one number, once, for callgrind */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "common/str.h"
#include "fusefs/arena.h"
#include "fusefs/tree.h"
#include "test/bench/bench.h"

#define HEAP	  (256u << 20)
#define ROUNDS	  9
#define VALUE_LEN 1024

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

static void take_over(int fd, int out, const char *text)
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

/* Runs a sample in a process of its own, which writes it to the fd that it is given. */
static void sample(struct sample *ret_s, void (*take)(int arg, int out, const char *text), int arg, const char *text)
{
	int out[2];
	pid_t pid;

	if (pipe(out) < 0)
		die("pipe");
	pid = fork();
	if (pid == 0)
		take(arg, out[1], text);
	if (pid < 0 || read(out[0], ret_s, sizeof(*ret_s)) != sizeof(*ret_s) || waitpid(pid, NULL, 0) < 0)
		die("sample");
	close(out[0]);
	close(out[1]);
}

static void start_and_end(int null, int out, const char *program)
{
	struct sample s;
	struct rusage u;
	pid_t pid = fork();

	if (pid == 0) {
		dup2(null, STDOUT_FILENO);
		execl(program, program, "version", (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, NULL, 0, &u) < 0)
		die("start a program");
	s.usec = cpu_usec(&u);
	s.faults = u.ru_minflt;
	if (write(out, &s, sizeof(s)) != sizeof(s))
		die("write");
	_exit(0);
}

static void print_figures(const char *what, uint64_t n_volumes, const struct sample *s)
{
	double nsec[ROUNDS], faults[ROUNDS];

	for (size_t i = 0; i < ROUNDS; i++) {
		nsec[i] = s[i].usec * NSEC_PER_USEC;
		faults[i] = (double)s[i].faults;
	}
	sort_numbers(nsec, ROUNDS);
	sort_numbers(faults, ROUNDS);
	printf("{\"bench\": \"resume\", \"case\": \"%s\", \"volumes\": %ju, \"median_ns\": %.0f, \"q1_ns\": %.0f, "
	       "\"q3_ns\": %.0f, \"max_ns\": %.0f, \"n\": %d, \"page_faults\": %.0f}\n",
	       what, (uintmax_t)n_volumes, quantile(nsec, ROUNDS, 0.5), quantile(nsec, ROUNDS, 0.25),
	       quantile(nsec, ROUNDS, 0.75), nsec[ROUNDS - 1], ROUNDS, quantile(faults, ROUNDS, 0.5));
	fflush(stdout);
}

/* A new arena with so many volumes. */
static int arena_with(const char *number, uint64_t *ret_n_volumes)
{
	pid_t pid;
	int fd;

	if (str_parse_u64(number, 100000, ret_n_volumes) < 0)
		die(number);
	if (arena_create(HEAP, &fd, NULL) < 0)
		die("arena");
	pid = fork();
	if (pid == 0)
		fill(fd, (unsigned)*ret_n_volumes);
	if (pid < 0 || waitpid(pid, NULL, 0) < 0)
		die("fork");
	return fd;
}

int main(int argc, char **argv)
{
	struct sample s[ROUNDS];
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	uint64_t n_volumes;

	if (argc == 3 && str_eq(argv[1], "--once") && null >= 0)
		take_over(arena_with(argv[2], &n_volumes), null, NULL);
	if (argc < 3 || null < 0) {
		fprintf(stderr, "usage: resume PROGRAM VOLUMES...\n");
		return 2;
	}
	for (size_t i = 0; i < ROUNDS; i++)
		sample(&s[i], start_and_end, null, argv[1]);
	print_figures("start of a process, processor", 0, s);
	for (int a = 2; a < argc; a++) {
		int fd = arena_with(argv[a], &n_volumes);

		for (size_t i = 0; i < ROUNDS; i++)
			sample(&s[i], take_over, fd, NULL);
		close(fd);
		print_figures("taking over, processor", n_volumes, s);
	}
	return 0;
}
