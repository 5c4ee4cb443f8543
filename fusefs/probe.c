/* Probe: a dead mount and one whose daemon hangs look alike from outside, except that statfs(2) on a dead one fails
 * without waiting for anybody. It is asked by a child, because on a hanging one it would never return. How long a child
 * takes says nothing, for it may be waiting for a processor: what says that it hangs is that it sleeps in the call and is
 * not woken, as proc_pid_status(5) shows it. */
#include "fusefs/probe.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "common/file.h"
#include "common/log.h"

#define STATUS_MAX   (64u << 10) /* with all its groups */
#define LOOK_MSEC    100
#define LOOKS_ASLEEP 30 /* in a row; a daemon that is just being killed gets the time to go */
#define LOOKS_SAID   50 /* then it is said that it takes long */
#define LOOKS_MAX    600

/* The mark that the next thing that it does is the call. */
enum { BEGUN_FD = STDERR_FILENO + 1 };

enum { EXIT_ALIVE, EXIT_DEAD, EXIT_NOT_ASKED };

/* It may outlive us: our lock must not live on with it, nor a connection. */
static _Noreturn void child(const char *path, int begun)
{
	struct statfs st = { .f_type = 0 };

	if (dup2(begun, BEGUN_FD) < 0)
		_exit(EXIT_NOT_ASKED);
	close_range(BEGUN_FD + 1, ~0U, 0);
	if (write(BEGUN_FD, "", 1) != 1)
		_exit(EXIT_NOT_ASKED);
	_exit(statfs(path, &st) < 0 && (errno == ENOTCONN || errno == ECONNABORTED) ? EXIT_DEAD : EXIT_ALIVE);
}

static int start(const char *path, int *ret_begun, pid_t *ret_pid)
{
	int ends[2], r;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		child(path, ends[1]);
	r = pid < 0 ? -errno : 0;
	close(ends[1]);
	if (r < 0) {
		close(ends[0]);
		return r;
	}
	*ret_begun = ends[0];
	*ret_pid = pid;
	return 0;
}

static uint64_t number_of(const char *status, const char *key)
{
	const char *at = strstr(status, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* How often it has gone to sleep so far, 0: it does not sleep. What cannot be read is no sleep that is seen. */
static uint64_t sleeps(pid_t pid)
{
	cleanup_free char *text = NULL;
	const char *state;
	char path[64];
	size_t len;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	if (file_read(AT_FDCWD, path, STATUS_MAX, &text, &len, NULL) < 0)
		return 0;
	state = strstr(text, "\nState:\t");
	if (!state || (state[8] != 'S' && state[8] != 'D'))
		return 0;
	return number_of(text, "\nvoluntary_ctxt_switches:\t") + 1;
}

/* 0: it has ended; 1: it sleeps in the call; -ETIMEDOUT. */
static int wait_for(const char *path, pid_t pid, int pidfd, int begun)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	uint64_t before = 0, now;
	bool asked = false;
	char mark;

	for (int i = 0, n_asleep = 0; i < LOOKS_MAX; i++) {
		if (poll(&p, 1, LOOK_MSEC) == 1)
			return 0;
		if (i == LOOKS_SAID)
			log_info(LOG_F({ "dir", path }), "it takes long to find out whether its mount is dead");
		asked = asked || read(begun, &mark, 1) == 1;
		now = asked ? sleeps(pid) : 0;
		n_asleep = now && now == before ? n_asleep + 1 : 0;
		before = now;
		if (n_asleep == LOOKS_ASLEEP)
			return 1;
	}
	return -ETIMEDOUT;
}

int probe_dead(const char *path, bool *ret_dead, struct err *e)
{
	cleanup_fd int begun = -1, pidfd = -1;
	int status = 0, r;
	pid_t pid = -1;

	r = start(path, &begun, &pid);
	if (r < 0)
		return err_set(e, r, "cannot ask whether %s is alive: %s", path, strerror(-r));
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	r = pidfd < 0 ? -errno : wait_for(path, pid, pidfd, begun);
	if (r == 0) {
		waitpid(pid, &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status) == EXIT_NOT_ASKED)
			return err_set(e, -EIO,
				       "cannot find out whether %s is alive: the child that asks has come to no answer",
				       path);
		*ret_dead = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DEAD;
		return 0;
	}
	/* a child that waits for a hanging daemon may not even be killable: it is reaped if it is gone, and left to whoever
	 * reaps this process's orphans if it is not */
	kill(pid, SIGKILL);
	waitpid(pid, NULL, WNOHANG);
	if (r < 0)
		return err_set(e, r, "cannot find out whether %s is alive: %s", path, strerror(-r));
	*ret_dead = false;
	return 0;
}
