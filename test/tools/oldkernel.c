/* Runs a program as on an older kernel, or on one that is built without something:
 *
 *   oldkernel [--landlock ABI] [--no-mdwe] [--no-seccomp] [--no-fanotify] [--no-pidfd-events] PROGRAM [ARGUMENT...]
 *
 * ABI 0: no Landlock at all. A filter answers for the kernel; what it cannot answer by itself, the version of Landlock, is asked
 * of a process that stays beside the program until that and all that it has started have ended. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/base.h"

#define MDWE	     65
#define PIDFD_EVENTS 0x80

#define NUMBER		   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ARGUMENT(n)	   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[n]))
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define ANSWER(action)	   BPF_STMT(BPF_RET | BPF_K, action)

static int die(const char *what)
{
	fprintf(stderr, "oldkernel: %s: %s\n", what, strerror(errno));
	exit(125);
}

static int install(const struct sock_filter *code, unsigned short n, unsigned flags)
{
	const struct sock_fprog p = { .len = n, .filter = (struct sock_filter *)(uintptr_t)code };
	int r = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);

	return r < 0 ? die("seccomp") : r;
}

static void refuse(int call, int error)
{
	const struct sock_filter code[] = { NUMBER, IS((uint32_t)call, 0, 1),
					    ANSWER(SECCOMP_RET_ERRNO | (uint32_t)error), ANSWER(SECCOMP_RET_ALLOW) };

	install(code, ARRAY_SIZE(code), 0);
}

static void refuse_mdwe(void)
{
	const struct sock_filter code[] = { NUMBER,
					    IS(SYS_prctl, 0, 3),
					    ARGUMENT(0),
					    IS(MDWE, 0, 1),
					    ANSWER(SECCOMP_RET_ERRNO | EINVAL),
					    ANSWER(SECCOMP_RET_ALLOW) };

	install(code, ARRAY_SIZE(code), 0);
}

/* FAN_REPORT_PIDFD, Linux 5.15 */
static void refuse_pidfd_events(void)
{
	const struct sock_filter code[] = { NUMBER,
					    IS(SYS_fanotify_init, 0, 3),
					    ARGUMENT(0),
					    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PIDFD_EVENTS, 0, 1),
					    ANSWER(SECCOMP_RET_ERRNO | EINVAL),
					    ANSWER(SECCOMP_RET_ALLOW) };

	install(code, ARRAY_SIZE(code), 0);
}

static int ask_for_version(void)
{
	/* flags of landlock_create_ruleset: LANDLOCK_CREATE_RULESET_VERSION */
	const struct sock_filter code[] = {
		NUMBER,	     IS(SYS_landlock_create_ruleset, 0, 3), ARGUMENT(2),
		IS(1, 0, 1), ANSWER(SECCOMP_RET_USER_NOTIF),	    ANSWER(SECCOMP_RET_ALLOW)
	};

	return install(code, ARRAY_SIZE(code), SECCOMP_FILTER_FLAG_NEW_LISTENER);
}

static void answer_versions(int listener, int version)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	for (;;) {
		struct seccomp_notif n = { 0 };
		struct seccomp_notif_resp a = { 0 };

		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			die("poll");
		if (p.revents & POLLHUP)
			exit(0); /* nobody has the filter any more */
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n) < 0)
			continue; /* it has died meanwhile */
		a.id = n.id;
		a.val = version;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &a);
	}
}

/* The program keeps our pid. */
static void pretend_version(int version)
{
	int pair[2], listener;
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 || (pid = fork()) < 0)
		die("fork");
	if (pid == 0) {
		close(pair[1]);
		signal(SIGTERM, SIG_IGN);
		signal(SIGINT, SIG_IGN);
		if (recvmsg(pair[0], &m, MSG_CMSG_CLOEXEC) != 1 || !(c = CMSG_FIRSTHDR(&m)))
			exit(125);
		memcpy(&listener, CMSG_DATA(c), sizeof(listener));
		/* a reader of our output waits for the program alone */
		close_range(0, 2, 0);
		answer_versions(listener, version);
	}
	close(pair[0]);
	listener = ask_for_version();
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &listener, sizeof(listener));
	if (sendmsg(pair[1], &m, 0) != 1)
		die("sendmsg");
	close(listener);
	close(pair[1]);
}

int main(int argc, char **argv)
{
	bool no_seccomp = false;
	int i;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die("prctl");
	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--landlock") == 0 && i + 1 < argc) {
			int version = atoi(argv[++i]);

			if (version == 0)
				refuse(SYS_landlock_create_ruleset, ENOSYS);
			else
				pretend_version(version);
		} else if (strcmp(argv[i], "--no-mdwe") == 0) {
			refuse_mdwe();
		} else if (strcmp(argv[i], "--no-fanotify") == 0) {
			refuse(SYS_fanotify_init, ENOSYS);
		} else if (strcmp(argv[i], "--no-pidfd-events") == 0) {
			refuse_pidfd_events();
		} else if (strcmp(argv[i], "--no-seccomp") == 0) {
			no_seccomp = true;
		} else {
			break;
		}
	}
	if (i >= argc || argv[i][0] == '-') {
		fputs("usage: oldkernel [--landlock ABI] [--no-mdwe] [--no-seccomp] [--no-fanotify] "
		      "[--no-pidfd-events] PROGRAM [ARGUMENT...]\n",
		      stderr);
		return 125;
	}
	/* the last: no filter can be added after it */
	if (no_seccomp)
		refuse(SYS_seccomp, ENOSYS);
	execvp(argv[i], argv + i);
	return die(argv[i]);
}
