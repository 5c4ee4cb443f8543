/* Sandbox calls. What is refused is answered in one of three ways:
 *
 * - KILL: what nothing here or in a library would ever ask for. Whoever asks is an attacker inside the process, and it ends; the
 *   keeper starts another and says that it was killed by SYS.
 * - an errno that callers expect: for calls that a library makes with arguments that we refuse.
 * - ENOSYS: everything else. It is what an older kernel answers to a call it does not know, so the next libc's new calls are not
 *   the end of the agent: libraries fall back.
 *
 * The keeper's list is inherited by its children, and must let them start; it answers EPERM, for the death of the keeper can
 * cost the mount.
 *
 * The lists were made from what strace(1) shows under the tests, and from what glibc's resolver, OpenSSL and libcurl are known
 * to do on other systems. */
#include "agent/sandbox_calls.h"

#include <asm/ioctls.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* younger architectures do without them */
#ifndef SYS_access
#define SYS_access SYSFILTER_NO_CALL
#endif
#ifndef SYS_epoll_wait
#define SYS_epoll_wait SYSFILTER_NO_CALL
#endif
#ifndef SYS_fork
#define SYS_fork SYSFILTER_NO_CALL
#endif
#ifndef SYS_getrlimit
#define SYS_getrlimit SYSFILTER_NO_CALL
#endif
#ifndef SYS_ioperm
#define SYS_ioperm SYSFILTER_NO_CALL
#endif
#ifndef SYS_iopl
#define SYS_iopl SYSFILTER_NO_CALL
#endif
#ifndef SYS_modify_ldt
#define SYS_modify_ldt SYSFILTER_NO_CALL
#endif
#ifndef SYS_poll
#define SYS_poll SYSFILTER_NO_CALL
#endif
#ifndef SYS_readlink
#define SYS_readlink SYSFILTER_NO_CALL
#endif
#ifndef SYS_renameat
#define SYS_renameat SYSFILTER_NO_CALL
#endif
#ifndef SYS_kexec_file_load
#define SYS_kexec_file_load SYSFILTER_NO_CALL
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret SYSFILTER_NO_CALL
#endif
#ifndef SYS_time
#define SYS_time SYSFILTER_NO_CALL
#endif
#ifndef SYS_vfork
#define SYS_vfork SYSFILTER_NO_CALL
#endif

#define NEW_NAMESPACES                                                                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/* What is started, watched or changed in others, in the kernel or in the tree of mounts. */
#define NEVER(DO)                                                                                                      \
	DO(bpf), DO(delete_module), DO(finit_module), DO(init_module), DO(io_uring_enter), DO(io_uring_register),      \
		DO(io_uring_setup), DO(ioperm), DO(iopl), DO(kexec_file_load), DO(kexec_load), DO(keyctl),             \
		DO(add_key), DO(request_key), DO(memfd_secret), DO(modify_ldt), DO(open_by_handle_at),                 \
		DO(perf_event_open), DO(pidfd_getfd), DO(pivot_root), DO(process_vm_readv), DO(process_vm_writev),     \
		DO(ptrace), DO(reboot), DO(setns), DO(swapoff), DO(swapon), DO(unshare), DO(userfaultfd), DO(kcmp),    \
		DO(acct), DO(adjtimex), DO(clock_adjtime), DO(clock_settime), DO(settimeofday), DO(setdomainname),     \
		DO(sethostname), DO(syslog), DO(vhangup)
/* The same for a process that starts none, and mounts nothing. */
#define NEVER_IN_A_CHILD(DO)                                                                                           \
	NEVER(DO), DO(execve), DO(execveat), DO(fork), DO(vfork), DO(chroot), DO(fsconfig), DO(fsmount), DO(fsopen),   \
		DO(fspick), DO(mount), DO(mount_setattr), DO(move_mount), DO(open_tree), DO(umount2), DO(capset),      \
		DO(setuid), DO(setgid), DO(setreuid), DO(setregid), DO(setresuid), DO(setresgid), DO(setgroups),       \
		DO(setfsuid), DO(setfsgid)

#define ALLOW_IOCTL(command)	   CALL_ALLOW_IF(ioctl, ARG_IS(1, command))
#define ALLOW_FCNTL(command)	   CALL_ALLOW_IF(fcntl, ARG_IS(1, command))
#define ALLOW_PRCTL(option)	   CALL_ALLOW_IF(prctl, ARG_IS(0, option))
#define SOCKET_IS(domain, type)	   ARG_IS(0, domain), ARG_HAS(1, (uint32_t) ~(SOCK_CLOEXEC | SOCK_NONBLOCK), type)
#define ALLOW_SOCKET(domain, type) CALL_ALLOW_IF(socket, SOCKET_IS(domain, type))
/* With the usual protocol alone: MPTCP, SCTP and SMC connect as well, and the ports that Landlock rules are TCP's. */
#define ALLOW_INTERNET(domain, type, protocol)                                                                         \
	CALL_ALLOW_IF(socket, SOCKET_IS(domain, type), ARG_IS(2, 0)),                                                  \
		CALL_ALLOW_IF(socket, SOCKET_IS(domain, type), ARG_IS(2, protocol))
#define NO_FAST_OPEN(name, flags)                                                                                      \
	CALL_DO_IF(name, SYSFILTER_ERRNO(EOPNOTSUPP), ARG_HAS(flags, MSG_FASTOPEN, MSG_FASTOPEN))
#define NEW_CODE(name) CALL_DO_IF(name, SYSFILTER_ERRNO(EPERM), ARG_HAS(2, PROT_EXEC, PROT_EXEC))
#define READ_ONLY      ARG_HAS(2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)
#define SET(list, rest)                                                                                                \
	{                                                                                                              \
		.rules = (list), .n = ARRAY_SIZE(list), .otherwise = (rest)                                            \
	}

/* What malloc, signals, the end of a process, the log and time take. */
#define BASE                                                                                                           \
	CALL_ALLOW(read), CALL_ALLOW(write), CALL_ALLOW(readv), CALL_ALLOW(writev), CALL_ALLOW(close),                 \
		CALL_ALLOW(fstat), CALL_ALLOW(newfstatat), CALL_ALLOW(lseek), CALL_ALLOW(pread64),                     \
		CALL_ALLOW(getdents64), CALL_ALLOW(brk), CALL_ALLOW(mmap), CALL_ALLOW(mprotect), CALL_ALLOW(mremap),   \
		CALL_ALLOW(munmap), CALL_ALLOW(madvise), CALL_ALLOW(futex), CALL_ALLOW(rt_sigaction),                  \
		CALL_ALLOW(rt_sigprocmask), CALL_ALLOW(rt_sigreturn), CALL_ALLOW(restart_syscall), CALL_ALLOW(exit),   \
		CALL_ALLOW(exit_group), CALL_ALLOW(getpid), CALL_ALLOW(gettid), CALL_ALLOW(getrandom),                 \
		CALL_ALLOW(clock_gettime), CALL_ALLOW(gettimeofday), CALL_ALLOW(time), CALL_ALLOW(sendto),             \
		CALL_ALLOW(sendmsg), CALL_ALLOW(recvfrom), CALL_ALLOW(connect), ALLOW_SOCKET(AF_UNIX, SOCK_DGRAM),     \
		ALLOW_FCNTL(F_GETFD), ALLOW_FCNTL(F_SETFD), ALLOW_FCNTL(F_GETFL), ALLOW_FCNTL(F_SETFL),                \
		ALLOW_FCNTL(F_DUPFD_CLOEXEC), ALLOW_IOCTL(TCGETS),                                                     \
		CALL_ALLOW_IF(tgkill, ARG_IS(2, SIGABRT)) /* abort(3); to itself alone, see sandbox.c */

static const struct sysfilter_rule agent[] = {
	NEVER_IN_A_CHILD(CALL_KILL),
	/* sending that connects, for which Landlock is not asked */
	NO_FAST_OPEN(sendto, 3),
	NO_FAST_OPEN(sendmsg, 2),
	NO_FAST_OPEN(sendmmsg, 3),
	BASE,
	/* the loop and FUSE */
	CALL_ALLOW(epoll_create1),
	CALL_ALLOW(epoll_ctl),
	CALL_ALLOW(epoll_wait),
	CALL_ALLOW(epoll_pwait),
	CALL_ALLOW(epoll_pwait2),
	CALL_ALLOW(timerfd_create),
	CALL_ALLOW(timerfd_settime),
	CALL_ALLOW(timerfd_gettime),
	CALL_ALLOW(signalfd4),
	CALL_ALLOW(eventfd2),
	CALL_ALLOW(inotify_init1),
	CALL_ALLOW(inotify_add_watch),
	CALL_ALLOW(inotify_rm_watch),
	CALL_ALLOW(pidfd_open),
	CALL_ALLOW(waitid),
	CALL_ALLOW(wait4),
	/* secret memory */
	CALL_ALLOW(mlock),
	CALL_ALLOW(mlock2),
	CALL_ALLOW(munlock),
	CALL_ALLOW(fallocate),
	/* the link, the control socket, the API server */
	CALL_ALLOW(recvmsg),
	CALL_ALLOW(recvmmsg),
	CALL_ALLOW(sendmmsg),
	CALL_ALLOW(accept4),
	CALL_ALLOW(shutdown),
	CALL_ALLOW(getsockname),
	CALL_ALLOW(getpeername),
	CALL_ALLOW(getsockopt),
	/* protocols over TCP, of which SMC connects by itself */
	CALL_DO_IF(setsockopt, SYSFILTER_ERRNO(EPERM), ARG_IS(1, IPPROTO_TCP), ARG_IS(2, TCP_ULP)),
	CALL_ALLOW(setsockopt),
	/* libcurl, to be woken by its resolver's thread; of others the kernel makes a socket, or loads a module, before it refuses */
	CALL_ALLOW_IF(socketpair, ARG_IS(0, AF_UNIX)),
	CALL_DO(socketpair, SYSFILTER_ERRNO(EAFNOSUPPORT)),
	ALLOW_SOCKET(AF_UNIX, SOCK_STREAM),
	ALLOW_INTERNET(AF_INET, SOCK_STREAM, IPPROTO_TCP),
	ALLOW_INTERNET(AF_INET, SOCK_DGRAM, IPPROTO_UDP),
	ALLOW_INTERNET(AF_INET6, SOCK_STREAM, IPPROTO_TCP),
	ALLOW_INTERNET(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
	/* getaddrinfo(3) asks for this machine's addresses */
	CALL_ALLOW_IF(socket, ARG_IS(0, AF_NETLINK), ARG_IS(2, 0 /* NETLINK_ROUTE */)),
	CALL_ALLOW(bind), /* netlink's; Landlock refuses TCP's, and without listen(2) there is no server */
	CALL_DO(socket, SYSFILTER_ERRNO(EAFNOSUPPORT)),
	ALLOW_IOCTL(FIONREAD),
	ALLOW_IOCTL(FIONBIO),
	CALL_DO(ioctl, SYSFILTER_ERRNO(ENOTTY)),
	ALLOW_FCNTL(F_DUPFD),
	ALLOW_FCNTL(F_GET_SEALS),
	CALL_DO(fcntl, SYSFILTER_ERRNO(EINVAL)),
	CALL_ALLOW(poll),
	CALL_ALLOW(ppoll),
	CALL_ALLOW(pselect6),
	/* libraries and their settings: reading, and what Landlock leaves of it */
	CALL_ALLOW_IF(openat, READ_ONLY),
	CALL_DO(openat, SYSFILTER_ERRNO(EACCES)),
	CALL_ALLOW(access),
	CALL_ALLOW(faccessat),
	CALL_ALLOW(faccessat2),
	CALL_ALLOW(readlink),
	CALL_ALLOW(readlinkat),
	CALL_ALLOW(statx),
	CALL_ALLOW(getcwd),
	CALL_ALLOW(uname),
	CALL_ALLOW(sysinfo),
	CALL_ALLOW(getuid),
	CALL_ALLOW(geteuid),
	CALL_ALLOW(getgid),
	CALL_ALLOW(getegid),
	CALL_ALLOW(getppid),
	CALL_ALLOW(getrusage),
	CALL_ALLOW(getrlimit),
	CALL_ALLOW_IF(prlimit64, ARG_IS(0, 0)), /* its own; without a capability they only go down */
	CALL_DO(prlimit64, SYSFILTER_ERRNO(EPERM)),
	CALL_ALLOW(clock_getres),
	CALL_ALLOW(clock_nanosleep),
	CALL_ALLOW(nanosleep),
	/* libcurl's resolver: threads, and nothing else that is cloned */
	CALL_ALLOW_IF(clone, ARG_HAS(0, NEW_NAMESPACES | CLONE_THREAD, CLONE_THREAD)),
	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),
	CALL_DO(clone3, SYSFILTER_ERRNO(ENOSYS)), /* its flags cannot be seen from here */
	CALL_ALLOW(set_robust_list),
	CALL_ALLOW(rseq),
	CALL_ALLOW(sigaltstack),
	CALL_ALLOW(sched_getaffinity),
	CALL_ALLOW(sched_yield),
	ALLOW_PRCTL(PR_SET_NAME),
	ALLOW_PRCTL(PR_GET_DUMPABLE),
	CALL_DO(prctl, SYSFILTER_ERRNO(EINVAL)),
	/* to give up more; gone afterwards */
	CALL_ALLOW(seccomp),
	CALL_ALLOW(landlock_create_ruleset),
	CALL_ALLOW(landlock_add_rule),
	CALL_ALLOW(landlock_restrict_self),
};

static const struct sysfilter_rule no_new_code[] = {
	NEW_CODE(mmap),
	NEW_CODE(mprotect),
	NEW_CODE(pkey_mprotect),
	CALL_DO(landlock_create_ruleset, SYSFILTER_ERRNO(EPERM)),
	CALL_DO(landlock_add_rule, SYSFILTER_ERRNO(EPERM)),
	CALL_DO(landlock_restrict_self, SYSFILTER_ERRNO(EPERM)),
	CALL_DO(seccomp, SYSFILTER_ERRNO(EPERM)),
};

static const struct sysfilter_rule no_files[] = { CALL_DO(openat, SYSFILTER_ERRNO(EACCES)) };

/* Name servers, systemd-resolved and nscd, and which addresses this machine has. The log's socket is AF_UNIX's, too. */
static const struct sysfilter_rule no_names[] = {
	CALL_DO_IF(socket, SYSFILTER_ERRNO(EAFNOSUPPORT), SOCKET_IS(AF_INET, SOCK_DGRAM)),
	CALL_DO_IF(socket, SYSFILTER_ERRNO(EAFNOSUPPORT), SOCKET_IS(AF_INET6, SOCK_DGRAM)),
	CALL_DO_IF(socket, SYSFILTER_ERRNO(EAFNOSUPPORT), SOCKET_IS(AF_UNIX, SOCK_STREAM)),
	CALL_DO_IF(socket, SYSFILTER_ERRNO(EAFNOSUPPORT), ARG_IS(0, AF_NETLINK)),
};

static const struct sysfilter_rule no_internet[] = {
	CALL_DO_IF(socket, SYSFILTER_ERRNO(EAFNOSUPPORT), ARG_IS(0, AF_INET)),
	CALL_DO_IF(socket, SYSFILTER_ERRNO(EAFNOSUPPORT), ARG_IS(0, AF_INET6)),
	CALL_DO_IF(socket, SYSFILTER_ERRNO(EAFNOSUPPORT), ARG_IS(0, AF_NETLINK)),
};

/* Its one folder is what Landlock leaves. */
static const struct sysfilter_rule cache[] = {
	NEVER_IN_A_CHILD(CALL_KILL),
	NEW_CODE(mmap),
	NEW_CODE(mprotect),
	BASE,
	CALL_ALLOW_IF(openat, READ_ONLY),
	CALL_ALLOW_IF(openat, ARG_HAS(2, O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC, O_WRONLY | O_CREAT | O_EXCL)),
	CALL_DO(openat, SYSFILTER_ERRNO(EACCES)),
	CALL_ALLOW(fsync),
	CALL_ALLOW(flock),
	CALL_ALLOW(renameat),
	CALL_ALLOW(renameat2),
	CALL_ALLOW(unlinkat),
	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),
	CALL_DO(fcntl, SYSFILTER_ERRNO(EINVAL)),
	CALL_DO(ioctl, SYSFILTER_ERRNO(ENOTTY)),
	CALL_DO(prctl, SYSFILTER_ERRNO(EINVAL)),
	CALL_DO(socket, SYSFILTER_ERRNO(EAFNOSUPPORT)),
};

/* What it reads is in /proc, its root folder; its log, and nothing else, is written, at the end. */
static const struct sysfilter_rule audit[] = {
	NEVER_IN_A_CHILD(CALL_KILL),
	NEW_CODE(mmap),
	NEW_CODE(mprotect),
	BASE,
	CALL_ALLOW(epoll_ctl),
	CALL_ALLOW(epoll_wait),
	CALL_ALLOW(epoll_pwait),
	CALL_ALLOW(epoll_pwait2),
	CALL_ALLOW(timerfd_settime),
	CALL_ALLOW(recvmsg), /* the keeper's messages, with a socket */
	CALL_ALLOW(poll),
	CALL_ALLOW(ppoll),
	CALL_ALLOW_IF(openat, READ_ONLY),
	CALL_ALLOW_IF(openat, ARG_HAS(2, O_ACCMODE | O_CREAT | O_APPEND | O_TRUNC | O_NOFOLLOW,
				      O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW)),
	CALL_DO(openat, SYSFILTER_ERRNO(EACCES)),
	CALL_ALLOW(readlink),
	CALL_ALLOW(readlinkat),
	CALL_ALLOW(statx),
	CALL_ALLOW(ftruncate), /* what a full disk has cut */
	CALL_ALLOW_IF(pidfd_send_signal, ARG_IS(1, 0)), /* is it there? */
	CALL_DO(pidfd_send_signal, SYSFILTER_ERRNO(EPERM)),
	CALL_ALLOW_IF(setsockopt, ARG_IS(1, SOL_SOCKET), ARG_IS(2, SO_SNDTIMEO)), /* the journal's */
	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),
	CALL_DO(fcntl, SYSFILTER_ERRNO(EINVAL)),
	CALL_DO(ioctl, SYSFILTER_ERRNO(ENOTTY)),
	CALL_DO(prctl, SYSFILTER_ERRNO(EINVAL)),
	CALL_DO(socket, SYSFILTER_ERRNO(EAFNOSUPPORT)),
};

/* What it reads is in /proc, its root folder; what it sends is one of container_signal.h's. */
static const struct sysfilter_rule signaller[] = {
	NEVER_IN_A_CHILD(CALL_KILL),
	NEW_CODE(mmap),
	NEW_CODE(mprotect),
	BASE,
	CALL_ALLOW(epoll_ctl),
	CALL_ALLOW(epoll_wait),
	CALL_ALLOW(epoll_pwait),
	CALL_ALLOW(epoll_pwait2),
	CALL_ALLOW(timerfd_settime),
	CALL_ALLOW(recvmsg), /* the keeper's messages, with a socket */
	CALL_ALLOW(poll),
	CALL_ALLOW(ppoll),
	CALL_ALLOW_IF(openat, READ_ONLY),
	CALL_DO(openat, SYSFILTER_ERRNO(EACCES)),
	CALL_ALLOW(pidfd_open),
	/* to one process: no flag, which could make it a group */
	CALL_ALLOW_IF(pidfd_send_signal, ARG_IS(1, SIGHUP), ARG_IS(3, 0)),
	CALL_ALLOW_IF(pidfd_send_signal, ARG_IS(1, SIGUSR1), ARG_IS(3, 0)),
	CALL_ALLOW_IF(pidfd_send_signal, ARG_IS(1, SIGUSR2), ARG_IS(3, 0)),
	CALL_ALLOW_IF(pidfd_send_signal, ARG_IS(1, SIGWINCH), ARG_IS(3, 0)),
	CALL_ALLOW_IF(pidfd_send_signal, ARG_IS(1, SIGTERM), ARG_IS(3, 0)),
	CALL_DO(pidfd_send_signal, SYSFILTER_ERRNO(EPERM)),
	CALL_ALLOW_IF(setsockopt, ARG_IS(1, SOL_SOCKET), ARG_IS(2, SO_SNDBUF)), /* the agent's */
	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),
	CALL_DO(fcntl, SYSFILTER_ERRNO(EINVAL)),
	CALL_DO(ioctl, SYSFILTER_ERRNO(ENOTTY)),
	CALL_DO(prctl, SYSFILTER_ERRNO(EINVAL)),
	CALL_DO(socket, SYSFILTER_ERRNO(EAFNOSUPPORT)),
};

#define REFUSE(name) CALL_DO(name, SYSFILTER_ERRNO(EPERM))
static const struct sysfilter_rule keeper[] = {
	NEVER(REFUSE),
	CALL_ALLOW_IF(clone, ARG_HAS(0, NEW_NAMESPACES, 0)),
	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),
	CALL_DO(clone3, SYSFILTER_ERRNO(ENOSYS)),
};

const struct sandbox_calls SANDBOX_AGENT = SET(agent, SYSFILTER_ERRNO(ENOSYS));
const struct sandbox_calls SANDBOX_NO_NEW_CODE = SET(no_new_code, SECCOMP_RET_ALLOW);
const struct sandbox_calls SANDBOX_NO_FILES = SET(no_files, SECCOMP_RET_ALLOW);
const struct sandbox_calls SANDBOX_NO_NAMES = SET(no_names, SECCOMP_RET_ALLOW);
const struct sandbox_calls SANDBOX_NO_INTERNET = SET(no_internet, SECCOMP_RET_ALLOW);
const struct sandbox_calls SANDBOX_CACHE = SET(cache, SYSFILTER_ERRNO(ENOSYS));
const struct sandbox_calls SANDBOX_AUDIT = SET(audit, SYSFILTER_ERRNO(ENOSYS));
const struct sandbox_calls SANDBOX_SIGNALLER = SET(signaller, SYSFILTER_ERRNO(ENOSYS));
const struct sandbox_calls SANDBOX_KEEPER = SET(keeper, SECCOMP_RET_ALLOW);
