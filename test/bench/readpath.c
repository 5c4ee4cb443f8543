/* Read path: open+read+close, stat, readlink and pread of a key in two folders with the same layout, in turns, so that a
 * noisy machine disturbs both alike. Prints nanoseconds per call (the best of the rounds) and the ratio.
 *
 *   readpath KEY TMPFS-VOLUME OUR-VOLUME */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base.h"

#define ROUNDS 40
#define CALLS  5000

static char path[2][4096], link_path[2][4096];
static int open_fd[2];
static char bytes[65536];

static void fail(const char *what, int which)
{
	fprintf(stderr, "readpath: %s %s: %s\n", what, path[which], strerror(errno));
	exit(1);
}

static void call_open_read_close(int which)
{
	int fd = open(path[which], O_RDONLY);

	if (fd < 0 || read(fd, bytes, sizeof(bytes)) < 0)
		fail("open and read", which);
	close(fd);
}

static void call_pread(int which)
{
	if (pread(open_fd[which], bytes, sizeof(bytes), 0) < 0)
		fail("pread", which);
}

static void call_stat(int which)
{
	struct stat st;

	if (stat(path[which], &st) < 0)
		fail("stat", which);
}

static void call_readlink(int which)
{
	if (readlink(link_path[which], bytes, sizeof(bytes)) < 0)
		fail("readlink", which);
}

static const struct {
	const char *name;
	void (*call)(int which);
	const char *goal;
} cases[] = {
	{ "open+read+close", call_open_read_close, "at most 2.00" },
	{ "pread", call_pread, "at most 1.05" },
	{ "stat", call_stat, "" },
	{ "readlink", call_readlink, "" },
};

static double nsec_per_call(void (*call)(int which), int which)
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < CALLS; i++)
		call(which);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / CALLS;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: readpath KEY TMPFS-VOLUME OUR-VOLUME\n");
		return 2;
	}
	for (int i = 0; i < 2; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/%s", argv[2 + i], argv[1]);
		snprintf(link_path[i], sizeof(link_path[i]), "%s/..data", argv[2 + i]);
		open_fd[i] = open(path[i], O_RDONLY);
		if (open_fd[i] < 0)
			fail("open", i);
	}
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		double best[2] = { 1e18, 1e18 };

		for (int round = 0; round < ROUNDS; round++) {
			for (int which = 0; which < 2; which++) {
				double t = nsec_per_call(cases[c].call, which);

				best[which] = MIN(best[which], t);
			}
		}
		printf("%-18s %8.0f %8.0f %8.2f  %s\n", cases[c].name, best[0], best[1], best[1] / best[0],
		       cases[c].goal);
	}
	return 0;
}
