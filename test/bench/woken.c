/* What a program does that follows its Secret, for test/bench/propagate.c: waits in a container until the volume's ..data is
 * replaced, and reads the key again. Linked without libraries: it is all that its container has.
 *
 *   woken NUMBER FOLDER FIFO
 *
 * Writes "NUMBER GENERATION NANOSECONDS" (CLOCK_MONOTONIC, after the read) to FIFO, at the start and each time. */
#include <fcntl.h>
#include <sys/inotify.h>

#include "test/bench/bench.h"

static void fail(const char *what)
{
	fprintf(stderr, "woken: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void tell(const char *number, const char *file, int fifo)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	char text[64], line[128];
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	uint64_t t = now_nsec();
	int len;

	if (n < 0)
		fail(file);
	close(fd);
	text[n] = 0;
	len = snprintf(line, sizeof(line), "%s %ld %ju\n", number, strtol(text, NULL, 10), (uintmax_t)t);
	if (write(fifo, line, (size_t)len) != len)
		fail("write");
}

int main(int argc, char **argv)
{
	static char events[1 << 14] __attribute__((__aligned__(__alignof__(struct inotify_event))));
	char file[256];
	int inotify, fifo;

	if (argc != 4)
		return 2;
	inotify = inotify_init1(IN_CLOEXEC);
	fifo = open(argv[3], O_WRONLY | O_CLOEXEC);
	if (inotify < 0 || fifo < 0 || inotify_add_watch(inotify, argv[2], IN_MOVED_TO) < 0)
		fail("start");
	snprintf(file, sizeof(file), "%s/key", argv[2]);
	for (tell(argv[1], file, fifo);;) {
		ssize_t len = read(inotify, events, sizeof(events));

		if (len <= 0)
			fail("inotify");
		for (char *p = events; p < events + len;) {
			const struct inotify_event *e = (void *)p;

			p += sizeof(*e) + e->len;
			if (e->len > 0 && strcmp(e->name, "..data") == 0)
				tell(argv[1], file, fifo);
		}
	}
}
