/* Kills a process at the end of its N-th system call from now on: what the call has done is done, and no instruction comes
 * after it.
 *
 *   dieat PID N
 *
 * Says "ready" when it counts. A call that is under way then, as a rule the one in which an idle process waits, is the
 * first. SIGTERM lets the process go on. Exit status 0: it was killed; 2: let go before that; 3: it ended by itself. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base.h"

#define SYSCALL_STOP (SIGTRAP | 0x80)

static volatile sig_atomic_t let_go;
static pid_t pid;

static void on_term(int signo)
{
	let_go = 1;
}

/* The next stop; SIGTERM makes one. -1: none comes any more. */
static int next_stop(void)
{
	int status;

	while (waitpid(pid, &status, __WALL) != pid) {
		if (errno != EINTR)
			return -1;
		if (let_go)
			ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
	}
	return WIFSTOPPED(status) ? status >> 8 : -1;
}

static bool is_exit(void)
{
	struct __ptrace_syscall_info info;

	return ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) > 0 &&
	       info.op == PTRACE_SYSCALL_INFO_EXIT;
}

int main(int argc, char **argv)
{
	const struct sigaction term = { .sa_handler = on_term }; /* without SA_RESTART */
	unsigned n_left;
	int stop, signo;

	if (argc != 3)
		return 1;
	pid = atoi(argv[1]);
	n_left = (unsigned)atoi(argv[2]);
	sigaction(SIGTERM, &term, NULL);
	if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD)) < 0 ||
	    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
		return 1;
	while ((stop = next_stop()) >= 0) {
		static bool said;

		if (let_go)
			return 2; /* the kernel detaches it */
		if (stop == SYSCALL_STOP && is_exit() && --n_left == 0) {
			kill(pid, SIGKILL);
			while (waitpid(pid, NULL, __WALL) != pid && errno == EINTR)
				;
			return 0;
		}
		signo = stop == SYSCALL_STOP || stop >> 8 == PTRACE_EVENT_STOP ? 0 : stop & 0x7f;
		if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)signo) < 0 && errno == ESRCH)
			return 3;
		if (!said) {
			puts("ready");
			fflush(stdout);
			said = true;
		}
	}
	return 3;
}
