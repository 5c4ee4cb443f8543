/* Hook watch. A thread that waits for a FUSE server takes no signal but SIGKILL, and not even that once the server has read
 * the request. So nothing that could hang is done in the process that the runtime waits for, and the child has none of its
 * files: a runtime reads its hook's standard error to the end, and a child that cannot be killed would keep it open. */
#include "agent/hook_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "agent/cli.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/str.h"

#define OUTPUT_MAX ((size_t)64 << 20)
#define STACK_SIZE ((size_t)64 << 10) /* that is wiped, as main() does */
#define LINES_MAX  ((size_t)64 << 10)
#define READ_SIZE  ((size_t)64 << 10)
#define DOING_MAX  512
#define PREFIX	   "secretlet: " /* of messages; the log has the program's name by itself */
#define TELL_SEC   5 /* who does not read a line by then ends us, which the runtime takes for a failure */
#define LOG_MSEC   1000 /* for a log that is full, once: a reason that is late is worse than one that is lost there */
#define LOG_TAG	   "secretlet-hook"

struct hook_watch {
	_Atomic uint64_t end_usec;
	char doing[DOING_MAX]; /* may be half written while it is read, but ends */
};

enum { OUTPUT, LINES, CHILD, N_WAITED };

struct watched {
	struct hook_watch *shared;
	pid_t self, pid;
	struct pollfd fds[N_WAITED]; /* -1: it has ended */
	struct buf output, lines;
};

void hook_watch_limit(struct hook_watch *w, uint64_t usec)
{
	w->end_usec = clock_monotonic_usec() + usec;
}

void hook_watch_doing(struct hook_watch *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->doing, sizeof(w->doing), fmt, ap);
	va_end(ap);
}

/* --- the system's log --- */

static int log_connect(void)
{
	const struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = _PATH_LOG };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* As syslog(3), which would wait for as long as nobody reads. */
static void log_line(const char *line)
{
	static bool is_full;
	cleanup_free char *text = NULL;
	cleanup_fd int fd = log_connect();
	time_t now = time(NULL);
	char when[32] = "";
	struct tm tm;

	if (fd < 0)
		return;
	if (localtime_r(&now, &tm))
		strftime(when, sizeof(when), "%b %e %T ", &tm);
	text = str_format("<%d>%s" LOG_TAG "[%d]: %s", LOG_DAEMON | LOG_ERR, when, getpid(), line);
	if (!text || send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0 || errno != EAGAIN || is_full)
		return;
	is_full = poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, LOG_MSEC) <= 0 ||
		  send(fd, text, strlen(text), MSG_NOSIGNAL) < 0;
}

void hook_watch_tell(const char *line)
{
	alarm(TELL_SEC);
	fprintf(stderr, "%s\n", line);
	log_line(str_starts(line, PREFIX) ? line + strlen(PREFIX) : line);
	alarm(0);
}

/* --- the child --- */

static int run_child(const struct watched *p, int output, int lines, int (*work)(struct hook_watch *, void *),
		     void *arg)
{
	struct err e = ERR_INIT;

	/* the runtime has a limit for its hooks, too, and ends the parent alone */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != p->self || dup2(output, STDOUT_FILENO) < 0 ||
	    dup2(lines, STDERR_FILENO) < 0 || close_range(STDERR_FILENO + 1, ~0U, 0) < 0) {
		err_set(&e, -errno, "hook: prepare the process that does it: %m");
		return cli_fail(CLI_FAILED, &e);
	}
	return work(p->shared, arg);
}

static int start(struct watched *p, int (*work)(struct hook_watch *, void *), void *arg)
{
	int output[2] = { -1, -1 }, lines[2] = { -1, -1 };
	int r = 0;

	if (pipe2(output, O_CLOEXEC) < 0 || pipe2(lines, O_CLOEXEC) < 0) {
		r = -errno;
	} else {
		p->pid = fork();
		if (p->pid == 0) {
			int status = run_child(p, output[1], lines[1], work, arg);

			/* a container's environment may be in what it has read; it does not end in main() */
			sodium_stackzero(STACK_SIZE);
			exit(status);
		}
		r = p->pid < 0 ? -errno : 0;
	}
	close_fd(output[1]);
	close_fd(lines[1]);
	p->fds[OUTPUT].fd = output[0];
	p->fds[LINES].fd = lines[0];
	if (r < 0)
		return r;
	p->fds[CHILD].fd = pidfd_open(p->pid, 0);
	return p->fds[CHILD].fd < 0 ? -errno : 0;
}

/* --- the parent --- */

/* Whole lines; what is left at the end, or longer than any line should be, is one as well. */
static void tell_lines(struct buf *b, bool all)
{
	while (b->len > 0) {
		char *end = memchr(b->data, '\n', b->len);

		if (!end && !all)
			return;
		if (end)
			*end = '\0';
		hook_watch_tell(b->data);
		buf_consume(b, end ? (size_t)(end - b->data) + 1 : b->len);
	}
}

static int read_into(struct pollfd *p, struct buf *b)
{
	char *room;
	ssize_t n;
	int r;

	r = buf_reserve(b, READ_SIZE, &room);
	if (r < 0)
		return r;
	n = read(p->fd, room, READ_SIZE);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0)
		p->fd = close_fd(p->fd);
	buf_advance(b, (size_t)n);
	return 0;
}

static int handle(struct watched *p)
{
	int r = 0;

	if (p->fds[OUTPUT].revents)
		r = read_into(&p->fds[OUTPUT], &p->output);
	if (r == 0 && p->fds[LINES].revents) {
		r = read_into(&p->fds[LINES], &p->lines);
		tell_lines(&p->lines, p->fds[LINES].fd < 0 || p->lines.len >= LINES_MAX);
	}
	if (p->fds[CHILD].revents)
		p->fds[CHILD].fd = close_fd(p->fds[CHILD].fd);
	return r;
}

/* Until the child has ended and all that it wrote is here. */
static int wait_for(struct watched *p)
{
	while (p->fds[OUTPUT].fd >= 0 || p->fds[LINES].fd >= 0 || p->fds[CHILD].fd >= 0) {
		uint64_t now = clock_monotonic_usec(), end = p->shared->end_usec;
		int r;

		if (now >= end)
			return -ETIMEDOUT;
		r = poll(p->fds, N_WAITED, (int)((end - now) / USEC_PER_MSEC) + 1);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r <= 0)
			continue;
		r = handle(p);
		if (r < 0)
			return r;
	}
	return 0;
}

static int finish(struct watched *p, int r)
{
	struct err e = ERR_INIT;
	int status;

	if (r == 0) {
		if (waitpid(p->pid, &status, 0) < 0 || !WIFEXITED(status)) {
			hook_watch_tell(PREFIX "hook: the process that does it has ended in an unusual way");
			return CLI_FAILED;
		}
		if (WEXITSTATUS(status) != CLI_OK)
			return WEXITSTATUS(status);
		r = file_write_all(STDOUT_FILENO, p->output.data ?: "", p->output.len);
		if (r == 0)
			return CLI_OK;
	}
	if (r == -ETIMEDOUT)
		err_set(&e, r, PREFIX "hook: time is up: %.400s: does a file system hang? see `secretlet status`",
			p->shared->doing);
	else
		err_set(&e, r, PREFIX "hook: %s", strerrordesc_np(-r));
	hook_watch_tell(err_text(&e));
	if (p->pid > 0)
		kill(p->pid, SIGKILL);
	return CLI_FAILED;
}

/* What a runtime leaves to its hooks is not always what it should: the child's end has to be seen, and alarm() to act. */
static void reset_signals(void)
{
	sigset_t none;

	signal(SIGALRM, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int hook_watch_run(int (*work)(struct hook_watch *, void *), void *arg, uint64_t limit_usec)
{
	struct watched p = {
		.self = getpid(),
		.output = BUF_INIT(OUTPUT_MAX),
		.lines = BUF_INIT(LINES_MAX + READ_SIZE),
	};
	int r;

	for (size_t i = 0; i < N_WAITED; i++)
		p.fds[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
	p.shared = mmap(NULL, sizeof(*p.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p.shared == MAP_FAILED)
		return cli_fail_memory();
	hook_watch_limit(p.shared, limit_usec);
	fflush(NULL);
	reset_signals();
	r = start(&p, work, arg);
	if (r == 0)
		r = wait_for(&p);
	r = finish(&p, r);
	for (size_t i = 0; i < N_WAITED; i++)
		close_fd(p.fds[i].fd);
	buf_deinit(&p.output);
	buf_deinit(&p.lines);
	munmap(p.shared, sizeof(*p.shared));
	return r;
}
