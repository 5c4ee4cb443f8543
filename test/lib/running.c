/* Running: the built secretlet while it runs, for tests of what it says as time goes by; to a pipe or to a terminal. */

#include "test/lib/running.h"

#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <utmp.h>

#include <cmocka.h>

#include "common/clock.h"
#include "test/lib/program.h"

#define GIVEN_UP_USEC (60 * USEC_PER_SEC) /* never used up when all is well */
#define WORDS_MAX     16

static void child(const char *tty, int out, int err, char *const *argv)
{
	if (tty) {
		setenv("TERM", tty, 1);
		if (login_tty(out) < 0)
			_exit(126);
	} else if (dup2(out, STDOUT_FILENO) < 0) {
		_exit(126);
	}
	if (dup2(err, STDERR_FILENO) < 0)
		_exit(126);
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	execv(program_path(), argv);
	_exit(127);
}

void running_start(struct running *p, const char *tty, const char *const *words)
{
	const char *argv[WORDS_MAX] = { "secretlet" }; /* execv() promises not to change it */
	int out[2], err[2];

	*p = (struct running){ .text = calloc(1, RUNNING_TEXT_MAX), .errors = calloc(1, RUNNING_TEXT_MAX) };
	assert_non_null(p->text);
	assert_non_null(p->errors);
	for (size_t i = 0; words[i]; i++) {
		assert_true(i + 2 < WORDS_MAX);
		argv[i + 1] = words[i];
	}
	assert_int_equal(tty ? openpty(&out[0], &out[1], NULL, NULL, NULL) : pipe(out), 0);
	assert_int_equal(pipe(err), 0);
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (p->pid == 0)
		child(tty, out[1], err[1], (char *const *)(uintptr_t)argv);
	close(out[1]);
	close(err[1]);
	p->out = out[0];
	p->err = err[0];
}

/* false: it has ended. */
static bool read_some(int fd, short revents, char *text)
{
	size_t len = strlen(text);
	ssize_t n;

	if (!revents)
		return fd >= 0;
	assert_true(len + 1 < RUNNING_TEXT_MAX);
	n = read(fd, text + len, RUNNING_TEXT_MAX - 1 - len);
	if (n <= 0)
		return false;
	text[len + (size_t)n] = '\0';
	return true;
}

bool running_read(struct running *p)
{
	struct pollfd fds[] = { { p->out, POLLIN, 0 }, { p->err, POLLIN, 0 } };
	bool any;

	poll(fds, ARRAY_SIZE(fds), 100);
	any = read_some(p->out, fds[0].revents, p->text);
	return read_some(p->err, fds[1].revents, p->errors) || any;
}

void running_until(struct running *p, const char *text, const char *what)
{
	uint64_t end = clock_monotonic_usec() + GIVEN_UP_USEC;

	while (!strstr(text, what)) {
		if (!running_read(p) || clock_monotonic_usec() > end)
			fail_msg("'%s' was not said, but\n%s\n%s", what, p->text, p->errors);
	}
}

void running_forget(struct running *p)
{
	p->text[0] = p->errors[0] = '\0';
}

int running_end(struct running *p, int signo)
{
	int status;

	if (signo)
		kill(p->pid, signo);
	/* a terminal takes only so much while nobody reads it */
	while (running_read(p))
		;
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void running_deinit(struct running *p)
{
	if (p->out >= 0)
		close(p->out);
	close(p->err);
	free(TAKE_PTR(p->text));
	free(TAKE_PTR(p->errors));
}
