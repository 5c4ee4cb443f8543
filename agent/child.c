/* Child: fork, and ourselves again. A child inherits nothing but the files that it is given: whoever started us may have left
 * something open, and the loop's signals are ours. */
#include "agent/child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "agent/keeper.h"
#include "common/clock.h"
#include "common/log.h"

#define CHILD_FD_HIGH	     64
#define YOUNG_DELAY_USEC     (10 * USEC_PER_MSEC)
#define YOUNG_DELAY_MAX_USEC (500 * USEC_PER_MSEC)
#define YOUNG_DOUBLINGS_MAX  8u

/* For children that cannot be started. */
const struct backoff_policy CHILD_RESTART = { .first_usec = 20 * USEC_PER_MSEC,
					      .max_usec = 10 * USEC_PER_SEC,
					      .reset_usec = 60 * USEC_PER_SEC,
					      .factor = 2.0,
					      .jitter = 0.2 };

static _Noreturn void child_fail(const char *program, const char *what)
{
	log_error(NULL, "start %s: %s: %m", program, what);
	_exit(EX_OSERR);
}

/* In the child: puts fds where keeper.h says, resets what we inherited from the loop, and becomes `argv`. */
static _Noreturn void child_exec(const struct child_world *w, char *const *argv, const int *fds, size_t n_fds)
{
	sigset_t none;
	int high[CHILD_FDS_MAX], self;

	assert(n_fds <= CHILD_FDS_MAX);

	sigemptyset(&none);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	/* the keeper decides when children end; a terminal's ^C or systemd's SIGTERM goes to all of the group */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != w->keeper)
		_exit(EX_OSERR); /* it has died before that */
	/* out of the way of the fixed numbers first, the binary's own fd too */
	self = fcntl(w->self, F_DUPFD_CLOEXEC, CHILD_FD_HIGH);
	for (size_t i = 0; i < n_fds; i++) {
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, CHILD_FD_HIGH);
		if (self < 0 || high[i] < 0)
			child_fail(argv[0], "prepare its files");
	}
	for (size_t i = 0; i < n_fds; i++) {
		if (dup2(high[i], KEEPER_FD_LINK + (int)i) < 0)
			child_fail(argv[0], "prepare its files");
	}
	/* whoever started us may have left something open, which is no business of a process without privileges */
	if (close_range(KEEPER_FD_LINK + (unsigned)n_fds, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		child_fail(argv[0], "close what is not its own");
	fexecve(self, argv, environ);
	child_fail(argv[0], "execute it");
}

int child_spawn(const struct child_world *w, struct child *c, char *const *argv, const int *fds, size_t n_fds,
		loop_child_fn died, void *userdata, struct err *e)
{
	int r;

	c->pid = fork();
	if (c->pid < 0) {
		c->pid = 0;
		return err_set(e, -errno, "fork: %m");
	}
	if (c->pid == 0)
		child_exec(w, argv, fds, n_fds);
	c->n_starts++;
	c->started_usec = loop_now(w->loop);
	r = loop_add_child(w->loop, c->pid, died, userdata, &c->watch);
	if (r < 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
		c->pid = 0;
		return err_set(e, r, "watch %s: %s", c->name, strerror(-r));
	}
	return 0;
}

void child_forget(struct child *c)
{
	loop_source_free(TAKE_PTR(c->watch));
	c->pid = 0;
}

void child_kill(struct child *c)
{
	if (c->pid == 0)
		return;
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	child_forget(c);
}

bool child_kill_within(struct child *c, uint64_t usec)
{
	uint64_t end = clock_monotonic_usec() + usec;

	if (c->pid == 0)
		return true;
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, NULL, WNOHANG) == 0) {
		if (clock_monotonic_usec() >= end)
			return false;
		usleep(USEC_PER_MSEC);
	}
	child_forget(c);
	return true;
}

/* How long to wait before another is started. One that has served is replaced soon, however often: readers wait. One that
 * could not be started is tried again ever more slowly, but never so that the connection would be aborted for the delay
 * alone. */
uint64_t child_delay(const struct child_world *w, struct child *c, bool served)
{
	uint64_t now = loop_now(w->loop), delay;

	if (!served) {
		delay = backoff_next(&c->backoff, now, random01());
		return MIN(delay, w->delay_max_usec);
	}
	backoff_reset(&c->backoff);
	if (now - c->started_usec >= CHILD_STEADY_USEC) {
		c->n_young = 0;
		return 0;
	}
	delay = YOUNG_DELAY_USEC << MIN(c->n_young, YOUNG_DOUBLINGS_MAX);
	c->n_young++;
	return MIN(delay, YOUNG_DELAY_MAX_USEC);
}

const char *child_end(int code, int status, char text[static 64])
{
	if (code == CLD_EXITED)
		snprintf(text, 64, "exited with status %d", status);
	else
		snprintf(text, 64, "was killed by %s", sigabbrev_np(status) ? sigabbrev_np(status) : "a signal");
	return text;
}

/* While somebody traces the child, the first notice is the tracer's, and when we may reap it no second one may come (seen with
 * strace and Linux 6.18). */
void child_look_after(struct child *c, loop_child_fn died, void *userdata)
{
	siginfo_t info = { .si_pid = 0 };

	if (c->pid > 0 && waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG) == 0 && info.si_pid == c->pid)
		died(NULL, c->pid, info.si_code, info.si_status, userdata);
}
