/* What each process gives up, tried from inside: each role is taken in a child process, as the daemon takes it, and then
 * something is done that it must not do, or must be able to do. A child's exit status is the errno; 0: it was allowed.
 * Needs root, as the daemon does. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/random.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/sandbox.h"
#include "agent/sandbox_calls.h"
#include "common/landlock.h"
#include "common/str.h"
#include "fusefs/publisher.h"

#define UID 61999

#define KILLED	   1000 /* by SIGSYS */
#define NO_ROLE	   1001
#define OTHER_END  1002
#define EXIT_ROLE  254
#define EXIT_OTHER 253

/* What is there outside: made before the role is taken. */
static struct {
	char *dir; /* world-readable, and with a file `f` in it */
	int dirfd, elsewhere, apart; /* elsewhere, apart: folders that none of them has anything to do with */
	char *apart_dir;
	int terminal;
	int log; /* the audit process's folder, as it has it */
	pid_t parent, victim, root_victim; /* other processes of the same user */
	int pidfd, victim_pidfd; /* of root_victim, of victim */
	int proc; /* the signaller's root folder, as it has it */
	int null, socket; /* the publisher's */
	int zero; /* /dev/zero */
	uint16_t port, other_port;
	struct sockaddr_un abstract, named;
	struct file_handle *handle;
	char remote[16];
} world;

enum role {
	AGENT_CALLS, /* the agent's filter and nothing else */
	AGENT_NO_LANDLOCK, /* sealed, without an API server, on a kernel without Landlock */
	AGENT_CONFINED, /* before its libraries are loaded */
	AGENT_MANIFESTS, /* sealed, without an API server */
	AGENT_ADDRESS, /* sealed, with one that is given by address */
	AGENT_NAME, /* and by name */
	CACHE,
	AUDIT,
	SIGNALLER,
	PUBLISHER,
	KEEPER,
	/* on kernels without seccomp, or Landlock: what the other one refuses is refused all the same */
	AGENT_NO_SECCOMP, /* sealed, with an API server that is given by address */
	AGENT_NAME_NO_SECCOMP,
	CACHE_NO_SECCOMP,
	CACHE_NO_LANDLOCK,
	AUDIT_NO_SECCOMP,
	PUBLISHER_NO_SECCOMP,
	AUDIT_NO_LANDLOCK,
	PUBLISHER_NO_LANDLOCK,
	SIGNALLER_NO_SECCOMP,
	SIGNALLER_NO_LANDLOCK,
	/* where there is no rule: what is refused has to be possible there */
	UNCONFINED,
	AGENTS_USER, /* sandbox_drop() and nothing else */
	ALL_CONFINED, /* all agents that are confined, the cache, the audit process and the signaller; in the table only */
};

static bool take_agent(const struct sandbox_needs *needs)
{
	const struct sandbox_user u = { .uid = UID, .gid = UID };
	struct err e = ERR_INIT;

	if (sandbox_begin(&e) < 0 || sandbox_drop(&u, &e) < 0 || sandbox_confine(&e) < 0 ||
	    (needs && sandbox_seal(needs, true, &e) < 0)) {
		fprintf(stderr, "%s\n", err_text(&e));
		return false;
	}
	return true;
}

static bool take_audit(void)
{
	struct err e = ERR_INIT;

	world.log = dup(world.dirfd);
	if (sandbox_begin(&e) < 0 || sandbox_enter_proc(&world.log, &e) < 0 ||
	    sandbox_confine_audit(world.log, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return false;
	}
	return true;
}

static bool take_signaller(void)
{
	struct err e = ERR_INIT;
	int none = -1;

	if (sandbox_begin(&e) < 0 || sandbox_enter_proc(&none, &e) < 0 ||
	    (world.proc = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    sandbox_confine_signaller(world.proc, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return false;
	}
	return true;
}

static bool take_publisher(void)
{
	int pair[2];

	world.null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (world.null < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	world.socket = pair[0];
	return publisher_confine(world.dirfd, world.null) == 0;
}

static bool take_role(enum role role);

static bool take_role_without(int call, enum role role)
{
	const struct sysfilter_rule missing = { .call = call, .action = SYSFILTER_ERRNO(ENOSYS) };

	return sysfilter_install(&missing, 1, SECCOMP_RET_ALLOW) == 0 && take_role(role);
}

static bool take_role(enum role role)
{
	const struct sandbox_user u = { .uid = UID, .gid = UID };
	struct err e = ERR_INIT;

	switch (role) {
	case AGENT_CALLS:
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
		       sysfilter_install(SANDBOX_AGENT.rules, SANDBOX_AGENT.n, SANDBOX_AGENT.otherwise) == 0;
	case AGENT_NO_LANDLOCK:
		return take_role_without(SYS_landlock_create_ruleset, AGENT_MANIFESTS);
	case AGENT_CONFINED:
		return take_agent(NULL);
	case AGENT_MANIFESTS:
		return take_agent(&(struct sandbox_needs){ .port = 0 });
	case AGENT_ADDRESS:
		return take_agent(&(struct sandbox_needs){ .port = world.port });
	case AGENT_NAME:
		return take_agent(&(struct sandbox_needs){ .port = world.port, .names = true, .system_ca = true });
	case CACHE:
		return sandbox_begin(&e) == 0 && sandbox_drop(&u, &e) == 0 &&
		       sandbox_confine_cache(world.dirfd, &e) == 0;
	case AUDIT:
		return take_audit();
	case SIGNALLER:
		return take_signaller();
	case PUBLISHER:
		return take_publisher();
	case KEEPER:
		return sandbox_confine_keeper(&e) == 0;
	case AGENT_NO_SECCOMP:
		return take_role_without(SYS_seccomp, AGENT_ADDRESS);
	case AGENT_NAME_NO_SECCOMP:
		return take_role_without(SYS_seccomp, AGENT_NAME);
	case CACHE_NO_SECCOMP:
		return take_role_without(SYS_seccomp, CACHE);
	case AUDIT_NO_SECCOMP:
		return take_role_without(SYS_seccomp, AUDIT);
	case PUBLISHER_NO_SECCOMP:
		return take_role_without(SYS_seccomp, PUBLISHER);
	case CACHE_NO_LANDLOCK:
		return take_role_without(SYS_landlock_create_ruleset, CACHE);
	case AUDIT_NO_LANDLOCK:
		return take_role_without(SYS_landlock_create_ruleset, AUDIT);
	case PUBLISHER_NO_LANDLOCK:
		return take_role_without(SYS_landlock_create_ruleset, PUBLISHER);
	case SIGNALLER_NO_SECCOMP:
		return take_role_without(SYS_seccomp, SIGNALLER);
	case SIGNALLER_NO_LANDLOCK:
		return take_role_without(SYS_landlock_create_ruleset, SIGNALLER);
	case UNCONFINED:
		return true;
	case AGENTS_USER:
		return sandbox_begin(&e) == 0 && sandbox_drop(&u, &e) == 0;
	case ALL_CONFINED:
		break;
	}
	return false;
}

/* --- what is tried; each returns 0 or an errno --- */

static int result(long r)
{
	return r < 0 ? errno : 0;
}

/* What should not have come to be, goes: the attempts that follow are to find what they found. */
static int undone(long r, int dirfd, const char *name, int flags)
{
	return r < 0 ? errno : result(unlinkat(dirfd, name, flags));
}

static int try_execve(void)
{
	char *const argv[] = { NULL };

	return result(syscall(SYS_execve, "/bin/true", argv, argv));
}

static int try_execveat(void)
{
	char *const argv[] = { NULL };

	return result(syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, argv, 0));
}

/* What is allowed nevertheless ends at once. */
static int try_clone(unsigned long flags)
{
	long pid = syscall(SYS_clone, flags, 0, 0, 0, 0);

	if (pid == 0)
		syscall(SYS_exit_group, 0);
	return result(pid);
}

static int try_fork(void)
{
	return try_clone(SIGCHLD);
}

static int try_new_namespace(void)
{
	return try_clone(SIGCHLD | CLONE_NEWUSER);
}

/* For a filter that let the flags of a thread pass, whatever comes with them: the kernel itself says EINVAL. */
static int try_thread_in_new_namespace(void)
{
	return try_clone(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWUSER);
}

static int try_clone3(void)
{
	return result(syscall(SYS_clone3, NULL, 0));
}

static int try_unshare(void)
{
	return result(syscall(SYS_unshare, CLONE_NEWNS));
}

static int try_setns(void)
{
	return result(syscall(SYS_setns, -1, 0));
}

static int try_mount(void)
{
	return result(syscall(SYS_mount, "none", world.dir, "tmpfs", 0, NULL));
}

static int try_umount(void)
{
	return result(syscall(SYS_umount2, "/nowhere", 0));
}

static int try_fsopen(void)
{
	return result(syscall(SYS_fsopen, "tmpfs", 0));
}

static int try_open_tree(void)
{
	return result(syscall(SYS_open_tree, AT_FDCWD, "/", 1));
}

static int try_pivot_root(void)
{
	return result(syscall(SYS_pivot_root, ".", "."));
}

static int try_chroot(void)
{
	return result(syscall(SYS_chroot, "/"));
}

static int try_ptrace(void)
{
	return result(syscall(SYS_ptrace, PTRACE_SEIZE, world.victim, 0, 0));
}

static int try_ptrace_roots(void)
{
	return result(syscall(SYS_ptrace, PTRACE_SEIZE, world.root_victim, 0, 0));
}

static int try_process_vm_readv(void)
{
	char byte;
	struct iovec v = { &byte, 1 };

	return result(syscall(SYS_process_vm_readv, world.victim, &v, 1, &v, 1, 0));
}

static int try_process_vm_writev(void)
{
	char byte = 0;
	struct iovec v = { &byte, 1 };

	return result(syscall(SYS_process_vm_writev, world.victim, &v, 1, &v, 1, 0));
}

static int try_pidfd_getfd(void)
{
	return result(syscall(SYS_pidfd_getfd, -1, 0, 0));
}

static int try_open_by_handle(void)
{
	return result(syscall(SYS_open_by_handle_at, world.dirfd, world.handle, O_RDONLY));
}

static int try_bpf(void)
{
	return result(syscall(SYS_bpf, 0, NULL, 0));
}

static int try_io_uring(void)
{
	return result(syscall(SYS_io_uring_setup, 1, NULL));
}

static int try_userfaultfd(void)
{
	return result(syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */));
}

static int try_perf_event(void)
{
	return result(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
}

static int try_keyctl(void)
{
	return result(syscall(SYS_keyctl, 0, -3, 0));
}

static int try_memfd_secret(void)
{
	return result(syscall(SYS_memfd_secret, 0));
}

static int try_init_module(void)
{
	return result(syscall(SYS_init_module, NULL, 0, ""));
}

static int try_kexec(void)
{
	return result(syscall(SYS_kexec_load, 0, 0, NULL, ~0ul));
}

static int try_settime(void)
{
	return result(syscall(SYS_clock_settime, CLOCK_REALTIME, NULL));
}

static int try_setuid(void)
{
	return result(syscall(SYS_setuid, getuid()));
}

static int try_capset(void)
{
	return result(syscall(SYS_capset, NULL, NULL));
}

static int try_other_architecture(void)
{
#ifdef __x86_64__
	return result(syscall(0x40000000 | SYS_getpid));
#else
	raise(SIGSYS);
	return 0;
#endif
}

/* read(2)'s number there is close(2)'s here, which is on every list: nothing but the architecture is in the way. */
static int try_32_bits(void)
{
#ifdef __x86_64__
	long r = 3;

	__asm__ volatile("int $0x80"
			 : "+a"(r)
			 : "b"((long)world.zero), "c"(0L), "d"(0L)
			 : "memory", "cc", "r8", "r9", "r10", "r11");
	return r < 0 ? (int)-r : 0;
#else
	return ENOSYS;
#endif
}

static int try_kill(void)
{
	return result(syscall(SYS_kill, world.victim, 0));
}

/* The list lets SIGABRT pass, for abort(3); the filter in front of it, to itself alone. */
static int try_abort_other(void)
{
	return result(syscall(SYS_tgkill, world.victim, world.victim, SIGABRT));
}

/* Of a process of the same user, which the kernel asks no capability for. */
static int try_others_limit(void)
{
	const struct rlimit less = { 16, 16 };

	return result(prlimit(world.victim, RLIMIT_NOFILE, &less, NULL));
}

static int do_own_limit(void)
{
	struct rlimit now;

	return result(getrlimit(RLIMIT_NOFILE, &now) < 0 ? -1 : setrlimit(RLIMIT_NOFILE, &now));
}

static int try_tgkill_kill(void)
{
	return result(syscall(SYS_tgkill, getpid(), getpid(), SIGURG));
}

static int try_abort(void)
{
	abort();
}

static int try_open(const char *path, int flags)
{
	return result(syscall(SYS_openat, AT_FDCWD, path, flags, 0600));
}

static char *outside(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", world.dir, name);
	return path;
}

static int try_shadow(void)
{
	return try_open("/etc/shadow", O_RDONLY);
}

static int try_world_readable(void)
{
	return try_open(outside("f"), O_RDONLY);
}

static int try_world_writable(void)
{
	return try_open(outside("w"), O_WRONLY);
}

static int try_truncate(void)
{
	return try_open(outside("w"), O_RDONLY | O_TRUNC);
}

static int try_create(void)
{
	return try_open(outside("new"), O_RDONLY | O_CREAT);
}

static int try_mkdir(void)
{
	return undone(syscall(SYS_mkdirat, world.dirfd, "d", 0700), world.dirfd, "d", AT_REMOVEDIR);
}

static int try_proc(void)
{
	return try_open("/proc/self/status", O_RDONLY);
}

static int try_device(void)
{
	return try_open("/dev/zero", O_RDONLY);
}

static int try_folder(void)
{
	return try_open("/etc", O_RDONLY | O_DIRECTORY);
}

static int try_etc(void)
{
	return try_open("/etc/passwd", O_RDONLY);
}

static int try_library(void)
{
	return try_open("/lib/os-release", O_RDONLY) == 0 ? 0 : try_open("/usr/lib/os-release", O_RDONLY);
}

static int try_socket(int domain, int type, int protocol)
{
	return result(syscall(SYS_socket, domain, type, protocol));
}

static int try_packet(void)
{
	return try_socket(AF_PACKET, SOCK_RAW, 0);
}

static int try_raw(void)
{
	return try_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

/* Of which no two kernels have the same: all, in each form. 0: one of them is known. First those that are mostly there: where there is
 * no rule no module is to be loaded for the others. */
static int try_other_families(void)
{
	if (try_socket(AF_PACKET, SOCK_RAW, 0) != EAFNOSUPPORT)
		return 0;
	for (int domain = 0; domain < 64; domain++) {
		if (domain == AF_UNIX || domain == AF_INET || domain == AF_INET6 || domain == AF_NETLINK)
			continue;
		for (int type = SOCK_STREAM; type <= SOCK_PACKET; type++)
			if (try_socket(domain, type, 0) != EAFNOSUPPORT)
				return 0;
	}
	return EAFNOSUPPORT;
}

/* NETLINK_AUDIT is one of them. */
static int try_other_netlink(void)
{
	if (try_socket(AF_NETLINK, SOCK_RAW, 15 /* NETLINK_KOBJECT_UEVENT */) != EAFNOSUPPORT)
		return 0;
	for (int protocol = 1; protocol < 32; protocol++)
		if (try_socket(AF_NETLINK, SOCK_RAW, protocol) != EAFNOSUPPORT)
			return 0;
	return EAFNOSUPPORT;
}

static int try_netlink_route(void)
{
	return try_socket(AF_NETLINK, SOCK_RAW, 0);
}

static int try_inet(void)
{
	return try_socket(AF_INET, SOCK_STREAM, 0);
}

static int try_udplite(void)
{
	return try_socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
}

/* It makes a socket of any family, if the kernel has it or can load it, before it says whether that knows pairs. */
static int try_socketpair(void)
{
	int pair[2];

	return result(socketpair(AF_INET, SOCK_STREAM, 0, pair));
}

/* A protocol over TCP that connects by itself, as SMC. */
static int try_upper_protocol(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? errno : result(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "smc", 3));
}

static int try_udp(void)
{
	return try_socket(AF_INET, SOCK_DGRAM, 0);
}

static int try_udp6(void)
{
	return try_socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP);
}

static int try_inet6(void)
{
	return try_socket(AF_INET6, SOCK_STREAM, 0);
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int try_connect(uint16_t port)
{
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&a, sizeof(a)));
}

static int try_connect_server(void)
{
	return try_connect(world.port);
}

static int try_connect_other(void)
{
	return try_connect(world.other_port);
}

/* MPTCP speaks TCP to who does not know it, and is none of the sockets whose ports Landlock rules. */
static int try_connect_other_mptcp(void)
{
	struct sockaddr_in a = loopback(world.other_port);
	int fd = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);

	return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&a, sizeof(a)));
}

/* To who listens with the older protocol. */
static int try_connect_other6(int protocol)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(world.other_port) };
	int fd = socket(AF_INET6, SOCK_STREAM, protocol);

	inet_pton(AF_INET6, "::ffff:127.0.0.1", &a.sin6_addr);
	return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&a, sizeof(a)));
}

static int try_connect_other_tcp6(void)
{
	return try_connect_other6(IPPROTO_TCP);
}

static int try_connect_other_mptcp6(void)
{
	return try_connect_other6(IPPROTO_MPTCP);
}

/* What is sent first connects, and Landlock is not asked: by each of the three calls. */
static int try_fast_open(int call)
{
	struct sockaddr_in a = loopback(world.other_port);
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct mmsghdr m = { .msg_hdr = { &a, sizeof(a), &iov, 1, NULL, 0, 0 } };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		return errno;
	if (call == SYS_sendto)
		return result(sendto(fd, &byte, 1, MSG_FASTOPEN, (struct sockaddr *)&a, sizeof(a)));
	return result(call == SYS_sendmsg ? sendmsg(fd, &m.msg_hdr, MSG_FASTOPEN) : sendmmsg(fd, &m, 1, MSG_FASTOPEN));
}

static int try_fast_open_sendto(void)
{
	return try_fast_open(SYS_sendto);
}

static int try_fast_open_sendmsg(void)
{
	return try_fast_open(SYS_sendmsg);
}

static int try_fast_open_sendmmsg(void)
{
	return try_fast_open(SYS_sendmmsg);
}

/* Nobody listens there, or perhaps somebody does. */
static int try_connect_name_server(void)
{
	int r = try_connect(53);

	return r == ECONNREFUSED ? 0 : r;
}

static int try_bind(void)
{
	struct sockaddr_in a = loopback(0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? errno : result(bind(fd, (struct sockaddr *)&a, sizeof(a)));
}

static int try_listen(void)
{
	return result(syscall(SYS_listen, -1, 1));
}

static int try_unix(const struct sockaddr_un *a)
{
	socklen_t len = offsetof(struct sockaddr_un, sun_path) +
			(a->sun_path[0] ? strlen(a->sun_path) : 1 + strlen(a->sun_path + 1));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? errno : result(connect(fd, (const struct sockaddr *)a, len));
}

static int try_abstract(void)
{
	return try_unix(&world.abstract);
}

static int try_named(void)
{
	return try_unix(&world.named);
}

static int try_map(int protection)
{
	void *p = mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : 0;
}

static int try_map_code(void)
{
	return try_map(PROT_READ | PROT_EXEC);
}

static int try_map_writable_code(void)
{
	return try_map(PROT_READ | PROT_WRITE | PROT_EXEC);
}

static int try_make_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : result(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int try_dumpable(void)
{
	return result(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int try_keep_caps(void)
{
	return result(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
}

/* Of a terminal that is open already, which Landlock does not rule. */
static int try_terminal(void)
{
	int n;

	return result(ioctl(world.terminal, TIOCGPTN, &n));
}

static int try_set_owner(void)
{
	return result(fcntl(world.terminal, F_SETOWN, getpid()));
}

static int try_more_seccomp(void)
{
	return result(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &(uint32_t){ SECCOMP_RET_ALLOW }));
}

static int try_more_landlock(void)
{
	return result(syscall(SYS_landlock_create_ruleset, NULL, 0, 1)) == EPERM ? EPERM : 0;
}

static int try_landlock_rule(void)
{
	return result(syscall(SYS_landlock_add_rule, -1, 1, NULL, 0));
}

static int try_landlock_enforce(void)
{
	return result(syscall(SYS_landlock_restrict_self, -1, 0));
}

static int try_make_code_with_key(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : result(syscall(SYS_pkey_mprotect, p, 4096, PROT_READ | PROT_EXEC, -1));
}

static int try_raw6(void)
{
	return try_socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
}

static int try_unix_seqpacket(void)
{
	return try_socket(AF_UNIX, SOCK_SEQPACKET, 0);
}

static int try_unknown(void)
{
	return result(syscall(4000));
}

/* --- what must go on --- */

static void *thread(void *p)
{
	return p;
}

static int do_thread(void)
{
	pthread_t t;
	void *p = NULL;
	int r = pthread_create(&t, NULL, thread, &world);

	return r ? r : pthread_join(t, &p) ?: p != &world;
}

static int do_loop(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	struct itimerspec soon = { .it_value.tv_nsec = 1 };

	if (epoll < 0 || timer < 0 || timerfd_settime(timer, 0, &soon, NULL) < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &ev) < 0)
		return errno;
	return epoll_wait(epoll, &ev, 1, 1000) == 1 ? 0 : ETIME;
}

static int do_memory(void)
{
	char *p = malloc(1 << 20), *q;
	uint64_t random;

	if (!p)
		return ENOMEM;
	q = realloc(p, 8 << 20);
	if (!q)
		return ENOMEM;
	memset(q, 1, 8 << 20);
	free(q);
	return getrandom(&random, sizeof(random), 0) == sizeof(random) ? 0 : errno;
}

static int do_lookup(void)
{
	struct addrinfo *a = NULL, hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	int r = getaddrinfo("localhost", "443", &hints, &a);

	if (r == 0)
		freeaddrinfo(a);
	return r == 0 ? 0 : ENOENT;
}

static int do_nothing(void)
{
	return 0;
}

static int do_cache(void)
{
	char text[8] = "";
	int fd = openat(world.dirfd, "tmp-1", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), dir;

	if (fd < 0 || write(fd, "text", 4) != 4 || fsync(fd) < 0)
		return errno;
	close(fd);
	if (renameat(world.dirfd, "tmp-1", world.dirfd, "index") < 0 || fsync(world.dirfd) < 0)
		return errno;
	dir = openat(world.dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(world.dirfd, "index", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0 || syscall(SYS_getdents64, dir, text, 0) != -1 || fd < 0 || pread(fd, text, 4, 0) != 4)
		return errno;
	return unlinkat(world.dirfd, "index", 0) < 0 ? errno : 0;
}

static int send_file(int to)
{
	int fd = openat(world.dirfd, "f", O_RDONLY | O_NONBLOCK | O_NOFOLLOW);

	return fd < 0 ? errno : result(sendfile(to, fd, NULL, 1 << 20));
}

static int do_update(void)
{
	static const struct timespec touch[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };

	if (mkdirat(world.dirfd, "v", 0755) < 0 || fchmodat(world.dirfd, "v", 0755, 0) < 0 ||
	    symlinkat("v", world.dirfd, "..data_tmp") < 0 ||
	    renameat(world.dirfd, "..data_tmp", world.dirfd, "..data") < 0 ||
	    mknodat(world.dirfd, "live", S_IFREG | 0644, 0) < 0 ||
	    utimensat(world.dirfd, "live", touch, AT_SYMLINK_NOFOLLOW) < 0 || unlinkat(world.dirfd, "live", 0) < 0 ||
	    unlinkat(world.dirfd, "..data", 0) < 0 || unlinkat(world.dirfd, "v", AT_REMOVEDIR) < 0)
		return errno;
	return send_file(world.null);
}

/* Absolute paths of the publisher are beneath its root. */
static int try_publisher_create(void)
{
	return result(syscall(SYS_openat, world.dirfd, "new", O_WRONLY | O_CREAT, 0600));
}

static int try_publisher_write(void)
{
	return result(syscall(SYS_openat, world.dirfd, "w", O_WRONLY));
}

static int try_publisher_mknod(void)
{
	return undone(mknodat(world.dirfd, "dev", S_IFCHR | 0600, makedev(1, 3)), world.dirfd, "dev", 0);
}

static int try_publisher_touch_target(void)
{
	static const struct timespec touch[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };

	return result(utimensat(world.dirfd, "f", touch, 0));
}

/* To what it has open by itself, and more than a notification to what the agent sends it. */
static int try_publisher_output(void)
{
	return result(write(STDERR_FILENO, "0123456789012345678901234567890123456789", 40));
}

/* What it reads is for /dev/null: the log is on the disk. */
static int try_publisher_send_to_log(void)
{
	return send_file(STDERR_FILENO);
}

static int try_publisher_send_to_socket(void)
{
	return send_file(world.socket);
}

/* So that nothing else gets its number, as what the agent sends would. */
static int try_publisher_close_null(void)
{
	return result(close(world.null));
}

static int try_publisher_long_write(void)
{
	char bytes[41] = { 0 };
	int first_free = openat(world.dirfd, "f", O_RDONLY);

	return result(write(first_free, bytes, sizeof bytes));
}

/* A fd of a folder leads out of a root folder. */
static int try_elsewhere(void)
{
	return result(syscall(SYS_openat, world.elsewhere, "passwd", O_RDONLY));
}

static int try_socket_unix(void)
{
	return try_socket(AF_UNIX, SOCK_STREAM, 0);
}

static int try_cache_other_folder(void)
{
	return result(syscall(SYS_openat, world.dirfd, "..", O_RDONLY | O_DIRECTORY));
}

static int try_cache_overwrite(void)
{
	return result(syscall(SYS_openat, world.dirfd, "w", O_WRONLY));
}

static int try_truncate_own(void)
{
	return result(syscall(SYS_openat, world.dirfd, "w", O_RDONLY | O_TRUNC));
}

/* A device that lies in the folder, and that can be opened. */
static int try_device_ioctl(void)
{
	int n, fd = openat(world.dirfd, "random", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? ENODEV : result(ioctl(fd, RNDGETENTCNT, &n));
}

/* In a folder that everybody may write to. */
static int try_apart(void)
{
	return undone(syscall(SYS_openat, world.apart, "new", O_WRONLY | O_CREAT, 0600), world.apart, "new", 0);
}

static int try_apart_mkdir(void)
{
	return undone(mkdirat(world.apart, "new", 0700), world.apart, "new", AT_REMOVEDIR);
}

static int try_apart_symlink(void)
{
	return undone(symlinkat("f", world.apart, "new"), world.apart, "new", 0);
}

static int try_apart_mknod(void)
{
	return undone(mknodat(world.apart, "new", S_IFIFO | 0600, 0), world.apart, "new", 0);
}

static int try_publisher_rename_file(void)
{
	long r = syscall(SYS_renameat2, world.dirfd, "f", world.apart, "f", 0);

	return r < 0 ? errno : result(renameat(world.apart, "f", world.dirfd, "f"));
}

/* --- the audit process --- */

#define LOG_FLAGS (O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK)

static int try_abort_roots(void)
{
	return result(syscall(SYS_tgkill, world.root_victim, world.root_victim, SIGABRT));
}

static int try_signal(void)
{
	return result(syscall(SYS_pidfd_send_signal, world.pidfd, SIGURG, NULL, 0));
}

static int try_log_elsewhere(void)
{
	return undone(syscall(SYS_openat, world.apart, "new", LOG_FLAGS, 0600), world.apart, "new", 0);
}

static int try_log_out(void)
{
	return result(syscall(SYS_openat, world.log, "../../../etc/passwd", O_RDONLY));
}

static int try_log_overwrite(void)
{
	return result(syscall(SYS_openat, world.log, "w", O_RDWR | O_CREAT | O_NOFOLLOW));
}

static int try_log_follow(void)
{
	return result(syscall(SYS_openat, world.log, "w", O_RDWR | O_CREAT | O_APPEND));
}

static int try_log_truncate(void)
{
	return result(syscall(SYS_openat, world.log, "w", LOG_FLAGS | O_TRUNC));
}

static int try_log_mkdir(void)
{
	return undone(syscall(SYS_mkdirat, world.log, "d", 0700), world.log, "d", AT_REMOVEDIR);
}

/* Root owns it: the kernel would run what is written there. */
static int try_sysctl(void)
{
	return result(syscall(SYS_openat, AT_FDCWD, "/sys/kernel/core_pattern", LOG_FLAGS));
}

static int try_root_folder(void)
{
	return result(syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY));
}

static int try_keepers_files(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/%d/root/etc/passwd", (int)world.parent);
	return try_open(path, O_RDONLY);
}

static int try_setsockopt_but(int allowed)
{
	static const int levels[] = { SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP, IPPROTO_IPV6, SOL_NETLINK };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return errno;
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		for (int option = 0; option < 128; option++)
			if ((levels[i] != SOL_SOCKET || option != allowed) &&
			    result(setsockopt(fd, levels[i], option, &one, sizeof(one))) != ENOSYS)
				return 0;
	return ENOSYS;
}

/* The journal's socket is the audit process's, the agent's the signaller's; the cache sets nothing. */
static int try_other_setsockopt(void)
{
	return try_setsockopt_but(SO_SNDTIMEO);
}

static int try_signallers_setsockopt(void)
{
	return try_setsockopt_but(SO_SNDBUF);
}

static int try_any_setsockopt(void)
{
	return try_setsockopt_but(-1);
}

static int do_set_buffer(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 1 << 16;

	return fd < 0 ? errno : result(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
}

/* As the kernel does when it hands over an event: a file by a path that is none of this process's. */
static int do_event(void)
{
	char path[64], target[256];
	struct statx st;
	int fd = (int)syscall(SYS_openat, world.elsewhere, "passwd", O_RDONLY);

	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &st) < 0)
		return errno;
	snprintf(path, sizeof(path), "/self/fd/%d", fd);
	return readlink(path, target, sizeof(target)) < 0 ? errno : 0;
}

static int do_look_at_process(void)
{
	char path[64], text[16];
	int fd;

	snprintf(path, sizeof(path), "/%d/status", (int)world.root_victim);
	fd = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text)) <= 0)
		return errno;
	return syscall(SYS_pidfd_send_signal, world.pidfd, 0, NULL, 0) < 0 && errno != EPERM ? errno : 0;
}

static int do_log(void)
{
	struct stat st;
	char last;
	int fd = openat(world.log, "log", LOG_FLAGS, 0600);

	if (fd < 0 || write(fd, "ab\n", 3) != 3 || ftruncate(fd, 2) < 0 || fstat(fd, &st) < 0 || st.st_size != 2 ||
	    pread(fd, &last, 1, 1) != 1 || fstatat(world.log, "log", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno;
	return 0;
}

static int do_journal(void)
{
	const struct timeval limit = { .tv_sec = 1 };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "/self/fd/%d/socket", world.log);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return errno;
	return send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : errno;
}

/* --- the signaller --- */

static int send_signal(int pidfd, int signo, unsigned flags)
{
	return result(syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, flags));
}

static int try_each_other_signal(void)
{
	for (int signo = 1; signo <= 64; signo++) {
		if (signo == SIGHUP || signo == SIGUSR1 || signo == SIGUSR2 || signo == SIGWINCH || signo == SIGTERM)
			continue;
		if (send_signal(world.victim_pidfd, signo, 0) != EPERM || send_signal(world.pidfd, signo, 0) != EPERM)
			return 0;
	}
	return EPERM;
}

/* PIDFD_SIGNAL_PROCESS_GROUP and the other two. */
static int try_signal_group(void)
{
	for (unsigned flags = 1; flags <= 7; flags++)
		if (send_signal(world.victim_pidfd, SIGWINCH, flags) != EPERM)
			return 0;
	return EPERM;
}

static int try_queue_signal(void)
{
	siginfo_t info = { .si_code = SI_QUEUE };

	return result(syscall(SYS_rt_sigqueueinfo, world.victim, SIGWINCH, &info));
}

/* Whoever it is, of whichever user: that is what CAP_KILL is for. By default the signal is ignored. */
static int do_send_signal(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, world.victim, 0);

	return pidfd < 0 ? errno : send_signal(pidfd, SIGWINCH, 0) ?: send_signal(world.pidfd, SIGWINCH, 0);
}

static int do_find_process(void)
{
	static const char *const names[] = { "stat", "cgroup", "status", "mountinfo" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[64], text[16];
		int fd;

		snprintf(path, sizeof(path), "%d/%s", (int)world.victim, names[i]);
		fd = openat(world.proc, path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, text, sizeof(text)) <= 0)
			return errno;
	}
	return openat(world.proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0 ? errno : 0;
}

/* --- the table --- */

#define TRY(role, fn, ...)                                                                                             \
	{                                                                                                              \
		role, #fn, fn, __VA_ARGS__                                                                             \
	}

static const struct {
	enum role role;
	const char *name;
	int (*fn)(void);
	int expected; /* errno, or one of those at the top; 0: it is done */
	unsigned needs; /* of Landlock */
	bool memory; /* needs PR_SET_MDWE */
} attempts[] = {
	/* nothing honest */
	TRY(ALL_CONFINED, try_execve, KILLED),
	TRY(ALL_CONFINED, try_execveat, KILLED),
	TRY(ALL_CONFINED, try_unshare, KILLED),
	TRY(ALL_CONFINED, try_setns, KILLED),
	TRY(ALL_CONFINED, try_mount, KILLED),
	TRY(ALL_CONFINED, try_umount, KILLED),
	TRY(ALL_CONFINED, try_fsopen, KILLED),
	TRY(ALL_CONFINED, try_open_tree, KILLED),
	TRY(ALL_CONFINED, try_pivot_root, KILLED),
	TRY(ALL_CONFINED, try_chroot, KILLED),
	TRY(ALL_CONFINED, try_ptrace, KILLED),
	TRY(ALL_CONFINED, try_process_vm_readv, KILLED),
	TRY(ALL_CONFINED, try_process_vm_writev, KILLED),
	TRY(ALL_CONFINED, try_pidfd_getfd, KILLED),
	TRY(ALL_CONFINED, try_open_by_handle, KILLED),
	TRY(ALL_CONFINED, try_bpf, KILLED),
	TRY(ALL_CONFINED, try_io_uring, KILLED),
	TRY(ALL_CONFINED, try_userfaultfd, KILLED),
	TRY(ALL_CONFINED, try_perf_event, KILLED),
	TRY(ALL_CONFINED, try_keyctl, KILLED),
	TRY(ALL_CONFINED, try_memfd_secret, KILLED),
	TRY(ALL_CONFINED, try_init_module, KILLED),
	TRY(ALL_CONFINED, try_kexec, KILLED),
	TRY(ALL_CONFINED, try_settime, KILLED),
	TRY(ALL_CONFINED, try_setuid, KILLED),
	TRY(ALL_CONFINED, try_capset, KILLED),
	TRY(ALL_CONFINED, try_other_architecture, KILLED),
	TRY(ALL_CONFINED, try_32_bits, KILLED),
	/* processes */
	TRY(ALL_CONFINED, try_fork, EPERM),
	TRY(ALL_CONFINED, try_new_namespace, EPERM),
	TRY(ALL_CONFINED, try_thread_in_new_namespace, EPERM),
	TRY(ALL_CONFINED, try_clone3, ENOSYS),
	TRY(ALL_CONFINED, try_kill, ENOSYS),
	TRY(ALL_CONFINED, try_tgkill_kill, ENOSYS),
	TRY(ALL_CONFINED, try_unknown, ENOSYS),
	TRY(ALL_CONFINED, try_abort_other, EPERM),
	TRY(ALL_CONFINED, try_abort_roots, EPERM),
	TRY(AGENT_NO_LANDLOCK, try_abort_other, EPERM),
	TRY(AGENT_CONFINED, try_others_limit, EPERM),
	TRY(AGENT_CONFINED, do_own_limit, 0),
	TRY(ALL_CONFINED, try_abort, OTHER_END),
	TRY(ALL_CONFINED, try_dumpable, EINVAL),
	TRY(ALL_CONFINED, try_keep_caps, EINVAL),
	TRY(ALL_CONFINED, try_terminal, ENOTTY),
	TRY(ALL_CONFINED, try_set_owner, EINVAL),
	/* files */
	TRY(AGENT_CALLS, try_world_readable, 0),
	TRY(AGENT_CALLS, try_world_writable, EACCES),
	TRY(AGENT_CALLS, try_truncate, EACCES),
	TRY(AGENT_CALLS, try_create, EACCES),
	TRY(ALL_CONFINED, try_mkdir, ENOSYS),
	TRY(AGENT_NO_LANDLOCK, try_etc, EACCES),
	TRY(AGENT_NO_LANDLOCK, try_inet, EAFNOSUPPORT),
	TRY(AGENT_NO_LANDLOCK, try_map_code, EPERM),
	TRY(AGENT_NO_LANDLOCK, do_loop, 0),
	TRY(AGENT_CONFINED, try_library, 0),
	TRY(AGENT_CONFINED, try_etc, 0),
	TRY(AGENT_CONFINED, try_shadow, EACCES),
	TRY(AGENT_CONFINED, try_world_readable, EACCES, LANDLOCK_FILES),
	TRY(AGENT_CONFINED, try_proc, EACCES, LANDLOCK_FILES),
	TRY(AGENT_CONFINED, try_device, EACCES, LANDLOCK_FILES),
	TRY(AGENT_CONFINED, try_folder, EACCES, LANDLOCK_FILES),
	TRY(AGENT_MANIFESTS, try_etc, EACCES),
	TRY(AGENT_MANIFESTS, try_library, EACCES),
	TRY(AGENT_MANIFESTS, try_world_readable, EACCES),
	TRY(AGENT_ADDRESS, try_etc, EACCES),
	TRY(AGENT_NAME, try_etc, 0),
	TRY(AGENT_NAME, try_shadow, EACCES),
	TRY(AGENT_NAME, try_library, EACCES, LANDLOCK_FILES),
	TRY(AGENT_NAME, try_world_readable, EACCES, LANDLOCK_FILES),
	TRY(AGENT_NAME, try_proc, EACCES, LANDLOCK_FILES),
	TRY(CACHE, try_etc, EACCES, LANDLOCK_FILES),
	TRY(CACHE, try_proc, EACCES, LANDLOCK_FILES),
	TRY(CACHE, try_cache_other_folder, EACCES, LANDLOCK_FILES),
	TRY(CACHE, try_cache_overwrite, EACCES),
	/* network */
	TRY(ALL_CONFINED, try_packet, EAFNOSUPPORT),
	TRY(ALL_CONFINED, try_raw, EAFNOSUPPORT),
	TRY(ALL_CONFINED, try_raw6, EAFNOSUPPORT),
	TRY(ALL_CONFINED, try_unix_seqpacket, EAFNOSUPPORT),
	TRY(ALL_CONFINED, try_other_families, EAFNOSUPPORT),
	TRY(ALL_CONFINED, try_other_netlink, EAFNOSUPPORT),
	TRY(ALL_CONFINED, try_listen, ENOSYS),
	TRY(AGENT_MANIFESTS, try_inet, EAFNOSUPPORT),
	TRY(AGENT_MANIFESTS, try_inet6, EAFNOSUPPORT),
	TRY(AGENT_MANIFESTS, try_netlink_route, EAFNOSUPPORT),
	TRY(CACHE, try_inet, EAFNOSUPPORT),
	TRY(CACHE, try_any_setsockopt, ENOSYS),
	TRY(AGENT_ADDRESS, try_connect_server, 0),
	TRY(AGENT_ADDRESS, try_connect_other, EACCES, LANDLOCK_TCP),
	TRY(AGENT_ADDRESS, try_connect_other_tcp6, EACCES, LANDLOCK_TCP),
	TRY(AGENT_ADDRESS, try_connect_other_mptcp, EAFNOSUPPORT),
	TRY(AGENT_ADDRESS, try_connect_other_mptcp6, EAFNOSUPPORT),
	TRY(AGENT_ADDRESS, try_fast_open_sendto, EOPNOTSUPP),
	TRY(AGENT_ADDRESS, try_fast_open_sendmsg, EOPNOTSUPP),
	TRY(AGENT_ADDRESS, try_fast_open_sendmmsg, EOPNOTSUPP),
	TRY(AGENT_NAME, try_udplite, EAFNOSUPPORT),
	TRY(AGENT_NAME, try_socketpair, EAFNOSUPPORT),
	TRY(AGENT_NAME, try_upper_protocol, EPERM),
	TRY(AGENT_ADDRESS, try_udp, EAFNOSUPPORT),
	TRY(AGENT_ADDRESS, try_udp6, EAFNOSUPPORT),
	TRY(AGENT_ADDRESS, try_netlink_route, EAFNOSUPPORT),
	TRY(AGENT_ADDRESS, try_socket_unix, EAFNOSUPPORT),
	TRY(AGENT_NAME, try_udp, 0),
	TRY(AGENT_NAME, try_socket_unix, 0),
	TRY(AGENT_MANIFESTS, try_socket_unix, EAFNOSUPPORT),
	TRY(AGENT_ADDRESS, try_connect_name_server, EACCES, LANDLOCK_TCP),
	TRY(AGENT_ADDRESS, try_bind, EACCES, LANDLOCK_TCP),
	TRY(AGENT_NAME, try_connect_server, 0),
	TRY(AGENT_NAME, try_connect_other, EACCES, LANDLOCK_TCP),
	TRY(AGENT_NAME, try_connect_other_mptcp, EAFNOSUPPORT),
	TRY(AGENT_NAME, try_connect_other_mptcp6, EAFNOSUPPORT),
	TRY(AGENT_NAME, try_connect_name_server, 0),
	TRY(AGENT_NAME, try_bind, EACCES, LANDLOCK_TCP),
	TRY(AGENT_CONFINED, try_abstract, EPERM, LANDLOCK_SCOPES),
	TRY(CACHE, try_abstract, EPERM, LANDLOCK_SCOPES),
	/* code */
	TRY(AGENT_CONFINED, try_map_writable_code, EACCES, 0, true),
	TRY(AGENT_CONFINED, try_make_code, EACCES, 0, true),
	TRY(AGENT_MANIFESTS, try_map_code, EPERM),
	TRY(AGENT_NAME, try_map_code, EPERM),
	TRY(AGENT_NAME, try_make_code, EPERM),
	TRY(AGENT_NAME, try_more_seccomp, EPERM),
	TRY(AGENT_NAME, try_more_landlock, EPERM),
	TRY(AGENT_NAME, try_landlock_rule, EPERM),
	TRY(AGENT_NAME, try_landlock_enforce, EPERM),
	TRY(AGENT_NAME, try_make_code_with_key, EPERM),
	TRY(CACHE, try_map_code, EPERM),
	TRY(CACHE, try_make_code, EPERM),
	/* what must go on */
	TRY(AGENT_CONFINED, try_map_code, 0),
	TRY(AGENT_NAME, do_thread, 0),
	TRY(AGENT_NAME, do_lookup, 0),
	TRY(AGENT_NAME, do_loop, 0),
	TRY(AGENT_NAME, do_memory, 0),
	TRY(AGENT_NAME, try_named, 0),
	TRY(AGENT_MANIFESTS, do_loop, 0),
	TRY(AGENT_MANIFESTS, do_memory, 0),
	TRY(AGENT_MANIFESTS, try_named, 0),
	TRY(CACHE, do_memory, 0),
	TRY(CACHE, do_cache, 0),
	TRY(CACHE, try_named, 0),
	/* the audit process: /proc, and its log's folder */
	TRY(AUDIT, try_etc, ENOENT),
	TRY(AUDIT, try_library, ENOENT),
	TRY(AUDIT, try_world_readable, ENOENT),
	TRY(AUDIT, try_device, ENOENT),
	TRY(AUDIT, try_log_out, ENOENT),
	TRY(AUDIT, try_root_folder, EACCES, LANDLOCK_FILES),
	TRY(AUDIT, try_keepers_files, EACCES),
	TRY(AUDIT, try_sysctl, EROFS),
	TRY(AUDIT, try_log_elsewhere, EACCES, LANDLOCK_FILES),
	TRY(AUDIT, try_log_overwrite, EACCES),
	TRY(AUDIT, try_log_follow, EACCES),
	TRY(AUDIT, try_log_truncate, EACCES),
	TRY(AUDIT, try_truncate_own, EACCES),
	TRY(AUDIT, try_log_mkdir, ENOSYS),
	TRY(AUDIT, try_other_setsockopt, ENOSYS),
	TRY(AUDIT, try_inet, EAFNOSUPPORT),
	TRY(AUDIT, try_abstract, EPERM, LANDLOCK_SCOPES),
	TRY(AUDIT, try_signal, EPERM),
	TRY(AUDIT, try_map_code, EPERM),
	TRY(AUDIT, try_make_code, EPERM),
	TRY(AUDIT, do_event, 0),
	TRY(AUDIT, do_look_at_process, 0),
	TRY(AUDIT, do_log, 0),
	TRY(AUDIT, do_journal, 0),
	TRY(AUDIT, do_memory, 0),
	/* the signaller: /proc, and five signals */
	TRY(SIGNALLER, try_etc, ENOENT),
	TRY(SIGNALLER, try_library, ENOENT),
	TRY(SIGNALLER, try_world_readable, ENOENT),
	TRY(SIGNALLER, try_device, ENOENT),
	TRY(SIGNALLER, try_elsewhere, EACCES, LANDLOCK_FILES),
	TRY(SIGNALLER, try_truncate_own, EACCES),
	TRY(SIGNALLER, try_keepers_files, EACCES),
	TRY(SIGNALLER, try_sysctl, EACCES),
	TRY(SIGNALLER, try_apart, EACCES),
	TRY(SIGNALLER, try_signallers_setsockopt, ENOSYS),
	TRY(SIGNALLER, do_set_buffer, 0),
	TRY(SIGNALLER, try_inet, EAFNOSUPPORT),
	TRY(SIGNALLER, try_abstract, EPERM, LANDLOCK_SCOPES),
	TRY(SIGNALLER, try_signal, EPERM),
	TRY(SIGNALLER, try_each_other_signal, EPERM),
	TRY(SIGNALLER, try_signal_group, EPERM),
	TRY(SIGNALLER, try_queue_signal, ENOSYS),
	TRY(SIGNALLER, try_map_code, EPERM),
	TRY(SIGNALLER, try_make_code, EPERM),
	TRY(SIGNALLER, do_send_signal, 0),
	TRY(SIGNALLER, do_find_process, 0),
	TRY(SIGNALLER, do_memory, 0),
	/* the publisher: whatever is not an update ends it */
	TRY(PUBLISHER, do_nothing, 0),
	TRY(PUBLISHER, do_update, 0),
	TRY(PUBLISHER, try_elsewhere, EACCES, LANDLOCK_FILES),
	TRY(PUBLISHER, try_execve, KILLED),
	TRY(PUBLISHER, try_fork, KILLED),
	TRY(PUBLISHER, try_kill, KILLED),
	TRY(PUBLISHER, try_ptrace, KILLED),
	TRY(PUBLISHER, try_mount, KILLED),
	TRY(PUBLISHER, try_chroot, KILLED),
	TRY(PUBLISHER, try_unshare, KILLED),
	TRY(PUBLISHER, try_socket_unix, KILLED),
	TRY(PUBLISHER, try_map_code, KILLED),
	TRY(PUBLISHER, try_publisher_create, KILLED),
	TRY(PUBLISHER, try_publisher_write, KILLED),
	TRY(PUBLISHER, try_truncate_own, KILLED),
	TRY(PUBLISHER, try_publisher_mknod, KILLED),
	TRY(PUBLISHER, try_publisher_touch_target, KILLED),
	TRY(PUBLISHER, try_publisher_output, KILLED),
	TRY(PUBLISHER, try_publisher_long_write, KILLED),
	TRY(PUBLISHER, try_publisher_send_to_log, KILLED),
	TRY(PUBLISHER, try_publisher_send_to_socket, KILLED),
	TRY(PUBLISHER, try_publisher_close_null, KILLED),
	TRY(PUBLISHER, try_dumpable, KILLED),
	TRY(PUBLISHER, try_unknown, KILLED),
	TRY(PUBLISHER, try_other_architecture, KILLED),
	TRY(PUBLISHER, try_32_bits, KILLED),
	/* the keeper, and with it all of them; what it does itself it can still do */
	TRY(KEEPER, try_ptrace, EPERM),
	TRY(KEEPER, try_process_vm_readv, EPERM),
	TRY(KEEPER, try_process_vm_writev, EPERM),
	TRY(KEEPER, try_pidfd_getfd, EPERM),
	TRY(KEEPER, try_open_by_handle, EPERM),
	TRY(KEEPER, try_bpf, EPERM),
	TRY(KEEPER, try_io_uring, EPERM),
	TRY(KEEPER, try_userfaultfd, EPERM),
	TRY(KEEPER, try_perf_event, EPERM),
	TRY(KEEPER, try_keyctl, EPERM),
	TRY(KEEPER, try_memfd_secret, EPERM),
	TRY(KEEPER, try_init_module, EPERM),
	TRY(KEEPER, try_kexec, EPERM),
	TRY(KEEPER, try_settime, EPERM),
	TRY(KEEPER, try_pivot_root, EPERM),
	TRY(KEEPER, try_unshare, EPERM),
	TRY(KEEPER, try_setns, EPERM),
	TRY(KEEPER, try_new_namespace, EPERM),
	TRY(KEEPER, try_clone3, ENOSYS),
	TRY(KEEPER, try_other_architecture, KILLED),
	TRY(KEEPER, try_32_bits, KILLED),
	TRY(KEEPER, try_fork, 0),
	TRY(KEEPER, try_fsopen, 0),
	TRY(KEEPER, try_open_tree, 0),
	TRY(KEEPER, try_execve, 0),
	/* without seccomp */
	TRY(AGENT_NO_SECCOMP, try_etc, EACCES, LANDLOCK_FILES),
	TRY(AGENT_NO_SECCOMP, try_world_readable, EACCES, LANDLOCK_FILES),
	TRY(AGENT_NO_SECCOMP, try_world_writable, EACCES, LANDLOCK_FILES),
	TRY(AGENT_NO_SECCOMP, try_truncate, EACCES, LANDLOCK_FILES),
	TRY(AGENT_NO_SECCOMP, try_apart, EACCES, LANDLOCK_FILES),
	TRY(AGENT_NO_SECCOMP, try_apart_mkdir, EACCES, LANDLOCK_FILES),
	TRY(AGENT_NO_SECCOMP, try_apart_symlink, EACCES, LANDLOCK_FILES),
	TRY(AGENT_NO_SECCOMP, try_apart_mknod, EACCES, LANDLOCK_FILES),
	TRY(AGENT_NO_SECCOMP, try_connect_other, EACCES, LANDLOCK_TCP),
	TRY(AGENT_NO_SECCOMP, try_connect_server, 0),
	TRY(AGENT_NO_SECCOMP, try_abstract, EPERM, LANDLOCK_SCOPES),
	TRY(AGENT_NO_SECCOMP, try_kill, EPERM, LANDLOCK_SCOPES),
	TRY(AGENT_NO_SECCOMP, try_map_writable_code, EACCES, 0, true),
	TRY(CACHE_NO_SECCOMP, try_etc, EACCES, LANDLOCK_FILES),
	TRY(CACHE_NO_SECCOMP, try_connect_server, EACCES, LANDLOCK_TCP),
	TRY(CACHE_NO_SECCOMP, try_bind, EACCES, LANDLOCK_TCP),
	TRY(CACHE_NO_SECCOMP, try_abstract, EPERM, LANDLOCK_SCOPES),
	TRY(CACHE_NO_SECCOMP, try_kill, EPERM, LANDLOCK_SCOPES),
	TRY(CACHE_NO_SECCOMP, try_mkdir, EACCES, LANDLOCK_FILES),
	TRY(CACHE_NO_SECCOMP, try_map_writable_code, EACCES, 0, true),
	TRY(CACHE_NO_SECCOMP, try_truncate_own, EACCES, LANDLOCK_TCP), /* with ABI 3 */
	TRY(CACHE_NO_SECCOMP, try_device_ioctl, EACCES, LANDLOCK_DEVICES),
	TRY(CACHE_NO_SECCOMP, do_cache, 0),
	TRY(AUDIT_NO_SECCOMP, try_etc, ENOENT),
	TRY(AUDIT_NO_SECCOMP, try_apart, EACCES, LANDLOCK_FILES),
	TRY(AUDIT_NO_SECCOMP, try_log_mkdir, EACCES, LANDLOCK_FILES),
	TRY(AUDIT_NO_SECCOMP, try_connect_server, EACCES, LANDLOCK_TCP),
	TRY(AUDIT_NO_SECCOMP, try_abstract, EPERM, LANDLOCK_SCOPES),
	TRY(AUDIT_NO_SECCOMP, try_signal, EPERM, LANDLOCK_SCOPES),
	TRY(AUDIT_NO_SECCOMP, try_map_writable_code, EACCES, 0, true),
	TRY(AUDIT_NO_SECCOMP, try_ptrace_roots, EPERM),
	TRY(AUDIT_NO_SECCOMP, try_chroot, EPERM),
	TRY(AUDIT_NO_SECCOMP, try_device_ioctl, EACCES, LANDLOCK_DEVICES),
	TRY(AUDIT_NO_SECCOMP, do_log, 0),
	TRY(AUDIT_NO_SECCOMP, do_event, 0),
	TRY(PUBLISHER_NO_SECCOMP, try_elsewhere, EACCES, LANDLOCK_FILES),
	TRY(PUBLISHER_NO_SECCOMP, try_publisher_create, EACCES, LANDLOCK_FILES),
	TRY(PUBLISHER_NO_SECCOMP, try_publisher_write, EACCES, LANDLOCK_FILES),
	TRY(PUBLISHER_NO_SECCOMP, try_publisher_rename_file, EACCES, LANDLOCK_FILES),
	TRY(PUBLISHER_NO_SECCOMP, try_connect_server, EACCES, LANDLOCK_TCP),
	TRY(PUBLISHER_NO_SECCOMP, try_abstract, EPERM, LANDLOCK_SCOPES),
	TRY(PUBLISHER_NO_SECCOMP, try_signal, EPERM, LANDLOCK_SCOPES),
	TRY(PUBLISHER_NO_SECCOMP, try_ptrace_roots, EPERM),
	TRY(PUBLISHER_NO_SECCOMP, try_chroot, EPERM),
	TRY(PUBLISHER_NO_SECCOMP, try_device_ioctl, EACCES, LANDLOCK_DEVICES),
	TRY(PUBLISHER_NO_SECCOMP, do_update, 0),
	/* without Landlock, of which AGENT_NO_LANDLOCK is above */
	TRY(CACHE_NO_LANDLOCK, try_cache_overwrite, EACCES),
	TRY(CACHE_NO_LANDLOCK, try_truncate_own, EACCES),
	TRY(CACHE_NO_LANDLOCK, try_mkdir, ENOSYS),
	TRY(CACHE_NO_LANDLOCK, try_inet, EAFNOSUPPORT),
	TRY(CACHE_NO_LANDLOCK, try_kill, ENOSYS),
	TRY(CACHE_NO_LANDLOCK, try_abort_other, EPERM),
	TRY(CACHE_NO_LANDLOCK, do_cache, 0),
	TRY(PUBLISHER_NO_LANDLOCK, try_publisher_create, KILLED),
	TRY(PUBLISHER_NO_LANDLOCK, try_truncate_own, KILLED),
	TRY(PUBLISHER_NO_LANDLOCK, try_socket_unix, KILLED),
	TRY(PUBLISHER_NO_LANDLOCK, try_kill, KILLED),
	TRY(PUBLISHER_NO_LANDLOCK, do_update, 0),
	TRY(AUDIT_NO_LANDLOCK, try_signal, EPERM),
	TRY(AUDIT_NO_LANDLOCK, try_abort_roots, EPERM),
	TRY(AUDIT_NO_LANDLOCK, try_etc, ENOENT),
	TRY(AUDIT_NO_LANDLOCK, try_log_out, ENOENT),
	TRY(AUDIT_NO_LANDLOCK, try_sysctl, EROFS),
	TRY(AUDIT_NO_LANDLOCK, try_log_mkdir, ENOSYS),
	TRY(AUDIT_NO_LANDLOCK, do_look_at_process, 0),
	TRY(AUDIT_NO_LANDLOCK, do_log, 0),
	TRY(SIGNALLER_NO_SECCOMP, try_etc, ENOENT),
	TRY(SIGNALLER_NO_SECCOMP, try_elsewhere, EACCES, LANDLOCK_FILES),
	TRY(SIGNALLER_NO_SECCOMP, try_apart, EACCES, LANDLOCK_FILES),
	TRY(SIGNALLER_NO_SECCOMP, try_sysctl, EROFS),
	TRY(SIGNALLER_NO_SECCOMP, try_connect_other, EACCES, LANDLOCK_TCP),
	TRY(SIGNALLER_NO_SECCOMP, try_abstract, EPERM, LANDLOCK_SCOPES),
	TRY(SIGNALLER_NO_SECCOMP, try_map_writable_code, EACCES, 0, true),
	TRY(SIGNALLER_NO_SECCOMP, try_ptrace_roots, EPERM),
	TRY(SIGNALLER_NO_SECCOMP, do_send_signal, 0),
	TRY(SIGNALLER_NO_SECCOMP, do_find_process, 0),
	TRY(SIGNALLER_NO_LANDLOCK, try_etc, ENOENT),
	TRY(SIGNALLER_NO_LANDLOCK, try_apart, EACCES),
	TRY(SIGNALLER_NO_LANDLOCK, try_truncate_own, EACCES),
	TRY(SIGNALLER_NO_LANDLOCK, try_sysctl, EACCES),
	TRY(SIGNALLER_NO_LANDLOCK, try_abort_roots, EPERM),
	TRY(SIGNALLER_NO_LANDLOCK, try_each_other_signal, EPERM),
	TRY(SIGNALLER_NO_LANDLOCK, do_send_signal, 0),
	TRY(SIGNALLER_NO_LANDLOCK, do_find_process, 0),
};

static int end_of(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : OTHER_END;
	return WEXITSTATUS(status) == EXIT_ROLE ? NO_ROLE : WEXITSTATUS(status);
}

static pid_t start_victim(uid_t uid)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
			_exit(1);
		prctl(PR_SET_DUMPABLE, 1);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

/* Whatever an attempt that should have been refused has done to one of them, the next attempt finds both. */
static void need_victims(void)
{
	if (world.victim == 0 || waitpid(world.victim, NULL, WNOHANG) > 0) {
		close_fd(world.victim_pidfd);
		world.victim = start_victim(UID);
		world.victim_pidfd = (int)syscall(SYS_pidfd_open, world.victim, 0);
	}
	if (world.root_victim == 0 || waitpid(world.root_victim, NULL, WNOHANG) > 0) {
		close_fd(world.pidfd);
		world.root_victim = start_victim(0);
		world.pidfd = (int)syscall(SYS_pidfd_open, world.root_victim, 0);
	}
	assert_true(world.pidfd >= 0 && world.victim_pidfd >= 0);
}

static int attempt(enum role role, int (*fn)(void))
{
	pid_t pid;
	int r;

	need_victims();
	pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (!take_role(role))
			_exit(EXIT_ROLE);
		_exit(fn());
	}
	r = end_of(pid);
	/* who made it may have no call to remove it */
	unlinkat(world.apart, "new", 0);
	return r;
}

/* --- the world --- */

static void write_file(const char *name, mode_t mode)
{
	int fd = openat(world.dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0 && write(fd, "text", 4) == 4 && fchmod(fd, mode) == 0);
	close(fd);
}

static int listen_on(uint16_t *ret_port)
{
	struct sockaddr_in a = loopback(0);
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -1;
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static int bind_unix(const struct sockaddr_un *a, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 || bind(fd, (const struct sockaddr *)a, len) < 0 ? -1 : fd;
}

static int setup(void **state)
{
	char dir[] = "/var/tmp/test-sandbox-XXXXXX", apart[] = "/var/tmp/test-sandbox-apart-XXXXXX";
	int id;

	if (geteuid() != 0)
		return 0;
	umask(0);
	world.dir = strdup(mkdtemp(dir));
	world.dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world.elsewhere = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world.apart_dir = strdup(mkdtemp(apart));
	world.apart = open(apart, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world.terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	world.zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	assert_true(world.dirfd >= 0 && world.elsewhere >= 0 && world.apart >= 0 && world.terminal >= 0 &&
		    world.zero >= 0);
	assert_int_equal(fchmod(world.apart, 0777), 0);
	/* the cache's owner is the agent's user */
	assert_int_equal(fchmod(world.dirfd, 0755), 0);
	write_file("f", 0644);
	write_file("w", 0666);
	(void)mknodat(world.dirfd, "random", S_IFCHR | 0666, makedev(1, 9));
	world.handle = calloc(1, sizeof(*world.handle) + MAX_HANDLE_SZ);
	world.handle->handle_bytes = MAX_HANDLE_SZ;
	(void)name_to_handle_at(world.dirfd, "f", world.handle, &id, 0);
	world.parent = getpid();
	world.pidfd = world.victim_pidfd = -1;
	need_victims();
	assert_true(listen_on(&world.port) >= 0 && listen_on(&world.other_port) >= 0);
	world.abstract = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(world.abstract.sun_path + 1, sizeof(world.abstract.sun_path) - 1, "test-sandbox-%d", (int)getpid());
	assert_true(bind_unix(&world.abstract,
			      offsetof(struct sockaddr_un, sun_path) + 1 + strlen(world.abstract.sun_path + 1)) >= 0);
	world.named = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(world.named.sun_path, sizeof(world.named.sun_path), "%s/socket", world.dir);
	assert_true(bind_unix(&world.named, sizeof(world.named)) >= 0);
	return 0;
}

static int teardown(void **state)
{
	const char *const names[] = { "f",	"w",	      "socket",	  "new", "index", "tmp-1",
				      "..data", "..data_tmp", "nsswitch", "log", "random" };

	if (geteuid() != 0)
		return 0;
	kill(world.victim, SIGKILL);
	waitpid(world.victim, NULL, 0);
	kill(world.root_victim, SIGKILL);
	waitpid(world.root_victim, NULL, 0);
	unlinkat(world.apart, "new", 0);
	unlinkat(world.apart, "f", 0);
	rmdir(world.apart_dir);
	free(world.apart_dir);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlinkat(world.dirfd, names[i], 0);
	rmdir(world.dir);
	free(world.dir);
	free(world.handle);
	return 0;
}

#define NEEDS_ROOT()                                                                                                   \
	do {                                                                                                           \
		if (geteuid() != 0) {                                                                                  \
			print_message("# needs root\n");                                                               \
			skip();                                                                                        \
		}                                                                                                      \
	} while (0)

static bool has_memory_rule(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0) < 0 ? 1 : 0);
	return end_of(pid) == 0;
}

/* What is refused must be possible where there is no rule, or nothing is said by its refusal. */
static struct {
	const char *name;
	int (*fn)(void);
	enum role role;
	const char *needs; /* what this machine need not have; NULL: nothing */
	bool known;
	int result; /* if known */
} controls[] = {
#define CONTROL(role, fn, needs)                                                                                       \
	{                                                                                                              \
#fn, fn, role, needs, false, 0                                                                         \
	}
	CONTROL(UNCONFINED, try_32_bits, "calls of 32 bits, by int 0x80"),
	CONTROL(UNCONFINED, try_packet, "AF_PACKET and CAP_NET_RAW"),
	CONTROL(UNCONFINED, try_raw, "CAP_NET_RAW"),
	CONTROL(UNCONFINED, try_raw6, "IPv6 and CAP_NET_RAW"),
	CONTROL(UNCONFINED, try_unix_seqpacket, NULL),
	CONTROL(UNCONFINED, try_other_families, "a family beside unix, internet and netlink"),
	CONTROL(UNCONFINED, try_other_netlink, NULL),
	CONTROL(UNCONFINED, try_netlink_route, NULL),
	CONTROL(UNCONFINED, try_inet, NULL),
	CONTROL(UNCONFINED, try_inet6, "IPv6"),
	CONTROL(UNCONFINED, try_udp, NULL),
	CONTROL(UNCONFINED, try_udp6, "IPv6"),
	CONTROL(UNCONFINED, try_udplite, "UDP-Lite"),
	CONTROL(UNCONFINED, try_socket_unix, NULL),
	CONTROL(UNCONFINED, try_connect_other, NULL),
	CONTROL(UNCONFINED, try_connect_other_tcp6, "IPv6"),
	CONTROL(UNCONFINED, try_connect_other_mptcp, "MPTCP"),
	CONTROL(UNCONFINED, try_connect_other_mptcp6, "MPTCP over IPv6"),
	CONTROL(UNCONFINED, try_fast_open_sendto, "net.ipv4.tcp_fastopen"),
	CONTROL(UNCONFINED, try_fast_open_sendmsg, "net.ipv4.tcp_fastopen"),
	CONTROL(UNCONFINED, try_fast_open_sendmmsg, "net.ipv4.tcp_fastopen"),
	CONTROL(UNCONFINED, try_bind, NULL),
	CONTROL(UNCONFINED, try_abstract, NULL),
	CONTROL(UNCONFINED, try_terminal, NULL),
	CONTROL(UNCONFINED, try_set_owner, NULL),
	CONTROL(UNCONFINED, try_map_code, NULL),
	CONTROL(UNCONFINED, try_make_code, NULL),
	CONTROL(UNCONFINED, try_map_writable_code, NULL),
	CONTROL(UNCONFINED, try_device_ioctl, "a device node that can be made and opened"),
	CONTROL(AGENTS_USER, try_world_readable, NULL),
	CONTROL(AGENTS_USER, try_world_writable, NULL),
	CONTROL(AGENTS_USER, try_truncate, NULL),
	CONTROL(AGENTS_USER, try_apart, NULL),
	CONTROL(AGENTS_USER, try_apart_mkdir, NULL),
	CONTROL(AGENTS_USER, try_apart_symlink, NULL),
	CONTROL(AGENTS_USER, try_apart_mknod, NULL),
	CONTROL(AGENTS_USER, try_kill, NULL),
};

static int n_wrong;

static int control(size_t i)
{
	if (!controls[i].known)
		controls[i].result = attempt(controls[i].role, controls[i].fn);
	controls[i].known = true;
	return controls[i].result;
}

static bool says_something(int (*fn)(void))
{
	for (size_t i = 0; i < ARRAY_SIZE(controls); i++)
		if (controls[i].fn == fn)
			return control(i) == 0;
	return true;
}

static void what_is_refused_is_possible_without_a_rule(void **state)
{
	char lacking[4096] = "";
	size_t len = 0;

	NEEDS_ROOT();
	n_wrong = 0;
	for (size_t i = 0; i < ARRAY_SIZE(controls); i++) {
		int got = control(i);

		if (got == 0)
			continue;
		if (controls[i].needs) {
			len += (size_t)snprintf(lacking + len, sizeof(lacking) - len, "%s %s (%s)", len > 0 ? "," : "",
						controls[i].name, controls[i].needs);
		} else {
			n_wrong++;
			print_error("%s without a rule: %d\n", controls[i].name, got);
		}
	}
	assert_int_equal(n_wrong, 0);
	if (len > 0) {
		print_message("# left out, for this machine does not have what it takes:%s\n", lacking);
		skip();
	}
}

static void check_attempt(size_t i, enum role role)
{
	int got = attempt(role, attempts[i].fn);

	if (got == attempts[i].expected)
		return;
	n_wrong++;
	print_error("%s as role %d: %d instead of %d\n", attempts[i].name, (int)role, got, attempts[i].expected);
}

/* The roles of the table from `first` to `last`. */
static void try_roles(enum role first, enum role last)
{
	unsigned known = landlock_known();
	bool memory = has_memory_rule();
	size_t n_left_out = 0;

	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
		if ((attempts[i].needs & known) != attempts[i].needs || (attempts[i].memory && !memory) ||
		    (attempts[i].expected != 0 && !says_something(attempts[i].fn))) {
			n_left_out++;
			continue;
		}
		if (attempts[i].role == ALL_CONFINED) {
			for (enum role r = first; r <= last && r <= SIGNALLER; r++)
				if (r != AGENT_CALLS && r != AGENT_NO_LANDLOCK)
					check_attempt(i, r);
		} else if (attempts[i].role >= first && attempts[i].role <= last) {
			check_attempt(i, attempts[i].role);
		}
	}
	if (n_left_out > 0)
		print_message("%zu attempts are left out: this kernel does not have the rule, or what it refuses\n",
			      n_left_out);
}

static void check_roles(enum role first, enum role last)
{
	n_wrong = 0;
	try_roles(first, last);
	assert_int_equal(n_wrong, 0);
}

/* The agent's user's, in whose folder it works. */
static void try_cache(enum role role)
{
	assert_int_equal(fchown(world.dirfd, UID, UID), 0);
	try_roles(role, role);
	assert_int_equal(fchown(world.dirfd, 0, 0), 0);
}

static void agent_can_do_its_work_and_nothing_else(void **state)
{
	NEEDS_ROOT();
	check_roles(AGENT_CALLS, AGENT_NAME);
}

static void cache_process_has_its_folder_and_nothing_else(void **state)
{
	NEEDS_ROOT();
	n_wrong = 0;
	try_cache(CACHE);
	assert_int_equal(n_wrong, 0);
}

static void audit_process_reads_proc_and_appends_to_its_log(void **state)
{
	NEEDS_ROOT();
	check_roles(AUDIT, AUDIT);
}

static void signaller_reads_proc_and_sends_five_signals(void **state)
{
	NEEDS_ROOT();
	check_roles(SIGNALLER, SIGNALLER);
}

static void one_of_seccomp_and_landlock_holds_alone(void **state)
{
	NEEDS_ROOT();
	n_wrong = 0;
	try_roles(AGENT_NO_SECCOMP, AGENT_NO_SECCOMP);
	try_cache(CACHE_NO_SECCOMP);
	try_cache(CACHE_NO_LANDLOCK);
	try_roles(AUDIT_NO_SECCOMP, SIGNALLER_NO_LANDLOCK);
	assert_int_equal(n_wrong, 0);
}

/* What no process of ours does, by its number: with arguments that do no harm where it is done nevertheless. */
static int call_number;

static int try_number(void)
{
	setsid(); /* for vhangup */
	return result(syscall(call_number, -1L, -1L, -1L, -1L, -1L, -1L));
}

static const int NEVER[] = {
	SYS_bpf,
	SYS_delete_module,
	SYS_finit_module,
	SYS_init_module,
	SYS_io_uring_enter,
	SYS_io_uring_setup,
	SYS_kexec_load,
	SYS_keyctl,
	SYS_add_key,
	SYS_request_key,
	SYS_memfd_secret,
	SYS_perf_event_open,
	SYS_pidfd_getfd,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_ptrace,
	SYS_reboot,
	SYS_setns,
	SYS_swapoff,
	SYS_swapon,
	SYS_userfaultfd,
	SYS_kcmp,
	SYS_acct,
	SYS_adjtimex,
	SYS_clock_adjtime,
	SYS_clock_settime,
	SYS_settimeofday,
	SYS_setdomainname,
	SYS_sethostname,
	SYS_syslog,
	SYS_vhangup,
	SYS_unshare,
	SYS_open_by_handle_at,
	SYS_io_uring_register,
	SYS_pivot_root,
#ifdef __x86_64__
	SYS_ioperm,
	SYS_iopl,
	SYS_modify_ldt,
	SYS_kexec_file_load,
#endif
};
static const int NEVER_IN_A_CHILD[] = {
	SYS_execve,    SYS_execveat,  SYS_chroot,	 SYS_fsconfig,	 SYS_fsmount,	SYS_fsopen,
	SYS_fspick,    SYS_mount,     SYS_mount_setattr, SYS_move_mount, SYS_open_tree, SYS_umount2,
	SYS_capset,    SYS_setuid,    SYS_setgid,	 SYS_setreuid,	 SYS_setregid,	SYS_setresuid,
	SYS_setresgid, SYS_setgroups, SYS_setfsuid,	 SYS_setfsgid,
#ifdef __x86_64__
	SYS_fork,      SYS_vfork,
#endif
};

static void check_numbers(const int *calls, size_t n, enum role role, int expected)
{
	for (size_t i = 0; i < n; i++) {
		int got;

		call_number = calls[i];
		got = attempt(role, try_number);
		if (got == expected)
			continue;
		n_wrong++;
		print_error("call %d as role %d: %d instead of %d\n", call_number, (int)role, got, expected);
	}
}

static void each_call_that_nobody_makes_is_refused(void **state)
{
	NEEDS_ROOT();
	n_wrong = 0;
	check_numbers(NEVER, ARRAY_SIZE(NEVER), KEEPER, EPERM);
	check_numbers(NEVER, ARRAY_SIZE(NEVER), AGENT_CALLS, KILLED);
	check_numbers(NEVER_IN_A_CHILD, ARRAY_SIZE(NEVER_IN_A_CHILD), AGENT_CALLS, KILLED);
	assert_int_equal(n_wrong, 0);
}

static void publisher_can_update_and_nothing_else(void **state)
{
	NEEDS_ROOT();
	check_roles(PUBLISHER, PUBLISHER);
}

static void keeper_gives_up_what_it_never_does(void **state)
{
	NEEDS_ROOT();
	check_roles(KEEPER, KEEPER);
}

/* kept: a bit of CAP_KILL's word; 0: none. */
static bool has_capabilities_but(uint32_t kept)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];

	if (syscall(SYS_capget, &head, caps) < 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		if (caps[i].effective != kept || caps[i].permitted != kept || caps[i].inheritable)
			return true;
		kept = 0;
	}
	return false;
}

/* What ptrace(2) and the like would take is refused in several ways: by the filter above; and without it? */
static int ids_and_limits(uid_t uid, uint32_t capabilities)
{
	struct rlimit core;

	if (getuid() != uid || geteuid() != uid || getgid() != uid || getegid() != uid || getgroups(0, NULL) != 0)
		return 1;
	if (prctl(PR_GET_DUMPABLE) != 0)
		return 2;
	if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_max != 0)
		return 3;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 4;
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (prctl(PR_CAPBSET_READ, cap) > 0 || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) > 0)
			return 5;
	if (has_capabilities_but(capabilities))
		return 6;
	return 0;
}

/* A change of ids takes the death signal back. */
static bool dies_with_its_parent(void)
{
	int signo = 0;

	return prctl(PR_GET_PDEATHSIG, &signo) == 0 && signo == SIGKILL;
}

static int agents_ids_and_limits(void)
{
	return dies_with_its_parent() ? ids_and_limits(UID, 0) : 10;
}

static int audits_ids_and_limits(void)
{
	return dies_with_its_parent() ? ids_and_limits(0, 0) : 10;
}

static int signallers_ids_and_limits(void)
{
	return dies_with_its_parent() ? ids_and_limits(0, 1u << CAP_KILL) : 10;
}

static int publishers_ids_and_limits(void)
{
	return ids_and_limits(0, 0);
}

/* A daemon that was started with groups and capabilities to inherit gives none of them on. */
static int take_what_can_be_inherited(void)
{
	const gid_t groups[] = { 4242, 4243 };
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];

	if (setgroups(ARRAY_SIZE(groups), groups) < 0 || syscall(SYS_capget, &head, caps) < 0)
		return errno;
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		caps[i].inheritable = caps[i].permitted;
	if (syscall(SYS_capset, &head, caps) < 0)
		return errno;
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
	return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_SYS_ADMIN, 0, 0) == 1 ? 0 : EPERM;
}

static int attempt_with_more(enum role role, int (*fn)(void))
{
	const struct rlimit cores = { RLIM_INFINITY, RLIM_INFINITY };
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)setrlimit(RLIMIT_CORE, &cores);
		prctl(PR_SET_DUMPABLE, 1);
		if (take_what_can_be_inherited() != 0 || !take_role(role))
			_exit(EXIT_ROLE);
		_exit(fn());
	}
	return end_of(pid);
}

static void no_process_has_groups_capabilities_core_or_dump(void **state)
{
	NEEDS_ROOT();
	assert_int_equal(attempt_with_more(AGENT_NO_SECCOMP, agents_ids_and_limits), 0);
	assert_int_equal(attempt_with_more(CACHE_NO_SECCOMP, agents_ids_and_limits), 0);
	assert_int_equal(attempt_with_more(AUDIT_NO_SECCOMP, audits_ids_and_limits), 0);
	assert_int_equal(attempt_with_more(SIGNALLER_NO_SECCOMP, signallers_ids_and_limits), 0);
	assert_int_equal(attempt_with_more(PUBLISHER_NO_SECCOMP, publishers_ids_and_limits), 0);
}

/* Ends the child if it cannot be done: a file system of its own at `below`, in a mount namespace of its own, with this folder. */
static void make_elsewhere(const char *below, const char *folder)
{
	umask(022);
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", below, "tmpfs", 0, "mode=755") < 0 || (mkdir("/run/systemd", 0755) < 0 && errno != EEXIST) ||
	    (mkdir(folder, 0755) < 0 && errno != EEXIST))
		_exit(EXIT_ROLE);
}

/* A file of its own there, opened to be read. */
static int read_elsewhere(enum role role, const char *below, const char *folder, const char *file)
{
	pid_t pid = fork();
	int fd;

	assert_true(pid >= 0);
	if (pid > 0)
		return end_of(pid);
	make_elsewhere(below, folder);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || !take_role(role))
		_exit(EXIT_ROLE);
	close(fd);
	_exit(try_open(file, O_RDONLY));
}

/* A device where the agent may open files. */
static int command_device(enum role role)
{
	static const char device[] = "/run/NetworkManager/random";
	pid_t pid = fork();
	int fd, n;

	assert_true(pid >= 0);
	if (pid > 0)
		return end_of(pid);
	make_elsewhere("/run", "/run/NetworkManager");
	if (mknod(device, S_IFCHR | 0644, makedev(1, 9)) < 0 || !take_role(role))
		_exit(EXIT_ROLE);
	fd = open(device, O_RDONLY | O_CLOEXEC);
	_exit(fd < 0 ? ENODEV : result(ioctl(fd, RNDGETENTCNT, &n)));
}

/* The signaller can open none: what Landlock leaves it is /proc. */
static void agent_commands_no_device(void **state)
{
	NEEDS_ROOT();
	if (command_device(UNCONFINED) != 0) {
		print_message("# a device node cannot be made, or not be opened\n");
		skip();
	}
	assert_int_equal(command_device(AGENT_NAME), ENOTTY);
	if (!(landlock_known() & LANDLOCK_DEVICES)) {
		print_message("# the kernel has no such rule\n");
		skip();
	}
	assert_int_equal(command_device(AGENT_NAME_NO_SECCOMP), EACCES);
}

/* Each step of giving up must leave what the last one is to have. */
static void what_names_and_certificates_take_lies_outside_of_etc_too(void **state)
{
	static const struct {
		const char *below, *folder, *file;
	} needed[] = {
		{ "/run", "/run/systemd/resolve", "/run/systemd/resolve/stub-resolv.conf" },
		{ "/run", "/run/NetworkManager", "/run/NetworkManager/resolv.conf" },
		{ "/usr/local/share", "/usr/local/share/ca-certificates", "/usr/local/share/ca-certificates/own.crt" },
	};

	NEEDS_ROOT();
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		assert_int_equal(read_elsewhere(AGENT_NAME, needed[i].below, needed[i].folder, needed[i].file), 0);
		assert_int_equal(read_elsewhere(AGENT_ADDRESS, needed[i].below, needed[i].folder, needed[i].file),
				 EACCES);
	}
	if (landlock_known() & LANDLOCK_FILES)
		assert_int_equal(read_elsewhere(AGENT_NAME, "/run", "/run/other", "/run/other/file"), EACCES);
}

/* When the folder is made to which resolv.conf leads: as soon as the first rules hold, while the libraries are loaded,
 * at the end. */
enum moment { CONFINED, LOADING, SEALED };
static int turn_of_maker = -1, made_by_maker = -1; /* pipes */

static bool let_it_be_made(void)
{
	char byte = 0;

	return write(turn_of_maker, &byte, 1) == 1 && read(made_by_maker, &byte, 1) == 1;
}

static bool has_rules(void)
{
	cleanup_fd int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/status", O_RDONLY | O_CLOEXEC);

	return fd < 0 && errno == EACCES;
}

static bool waits_for_rules, is_forbidden;

/* The first look at resolv.conf since there are rules comes a moment too late; or somebody else, as AppArmor, forbids
 * it. */
int open_for_all(const char *path, int flags, ...) __asm__("open");
int open_for_all(const char *path, int flags, ...)
{
	unsigned mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, unsigned);
	va_end(ap);
	if (is_forbidden && str_eq(path, "/etc/resolv.conf")) {
		errno = EACCES;
		return -1;
	}
	if (waits_for_rules && str_eq(path, "/etc/resolv.conf") && has_rules()) {
		waits_for_rules = false;
		if (!let_it_be_made())
			_exit(EXIT_ROLE);
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* By somebody with privileges. */
static void make_name_servers(int turn, int made)
{
	char byte;
	int fd;

	if (read(turn, &byte, 1) != 1 || mkdir("/run/made", 0755) < 0 ||
	    (fd = open("/run/made/resolv.conf", O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) < 0 ||
	    write(made, &byte, 1) != 1)
		_exit(1);
	_exit(0);
}

/* Ends with 0 if it is known that the rules alone are in the way. */
static int hide_name_servers(enum moment moment)
{
	const struct sandbox_needs needs = { .port = world.port, .names = true, .system_ca = true };
	struct err e = ERR_INIT;
	int turn[2], made[2];
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return end_of(pid);
	umask(022);
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/run", "tmpfs", 0, "mode=755") < 0 || mount("none", "/etc", "tmpfs", 0, "mode=755") < 0 ||
	    symlink("/run/made/resolv.conf", "/etc/resolv.conf") < 0 || pipe(turn) < 0 || pipe(made) < 0)
		_exit(EXIT_ROLE);
	if (fork() == 0) {
		close(turn[1]);
		make_name_servers(turn[0], made[1]);
	}
	close(made[1]);
	turn_of_maker = turn[1];
	made_by_maker = made[0];
	waits_for_rules = moment == CONFINED;
	if (!take_agent(NULL))
		_exit(EXIT_ROLE);
	/* or nobody has looked */
	if ((moment == LOADING || waits_for_rules) && !let_it_be_made())
		_exit(EXIT_ROLE);
	waits_for_rules = false;
	if (sandbox_seal(&needs, true, &e) < 0)
		_exit(EXIT_ROLE);
	if (moment == SEALED && (sandbox_hides_name_servers() || !let_it_be_made()))
		_exit(EXIT_ROLE);
	_exit(sandbox_hides_name_servers() ? 0 : 1);
}

static void name_servers_that_come_too_late_for_a_rule_are_missed(void **state)
{
	NEEDS_ROOT();
	if (!(landlock_known() & LANDLOCK_FILES)) {
		print_message("# without Landlock nothing is hidden\n");
		skip();
	}
	assert_int_equal(hide_name_servers(CONFINED), 0);
	assert_int_equal(hide_name_servers(LOADING), 0);
	assert_int_equal(hide_name_servers(SEALED), 0);
}

static int forbid_name_servers(void)
{
	const struct sandbox_needs needs = { .port = world.port, .names = true, .system_ca = true };
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return end_of(pid);
	is_forbidden = true;
	if (!take_agent(&needs))
		_exit(EXIT_ROLE);
	_exit(sandbox_hides_name_servers() ? 1 : 0);
}

/* The next agent could not read them either. */
static void name_servers_that_others_hide_are_not_missed(void **state)
{
	NEEDS_ROOT();
	if (access("/etc/resolv.conf", R_OK) < 0)
		skip();
	assert_int_equal(forbid_name_servers(), 0);
}

/* glibc's own module that nothing else loads; an action in brackets stands before it. */
static int has_name_service(void)
{
	return dlopen("libnss_compat.so.2", RTLD_NOW | RTLD_NOLOAD) ? 0 : 1;
}

static void name_services_are_loaded_before_nothing_can_be(void **state)
{
	static const char line[] = "passwd: files\nhosts: files [NOTFOUND=continue]\tcompat dns\n";
	pid_t pid;
	int fd;

	NEEDS_ROOT();
	if (!dlopen("libnss_compat.so.2", RTLD_NOW)) {
		print_message("# libnss_compat.so.2 is not there\n");
		skip();
	}
	fd = openat(world.dirfd, "nsswitch", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, line, sizeof(line) - 1), sizeof(line) - 1);
	close(fd);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount(outside("nsswitch"), "/etc/nsswitch.conf", NULL, MS_BIND, NULL) < 0)
			_exit(EXIT_ROLE);
		execl("/proc/self/exe", "test_sandbox", "name-service", (char *)NULL);
		_exit(EXIT_ROLE);
	}
	assert_int_equal(end_of(pid), 0);
}

static enum sandbox_rule asked;

static int has_asked_rule(void)
{
	return sandbox_has(asked);
}

static void rules_in_force_are_known(void **state)
{
	const unsigned landlock[SANDBOX_RULES_N] = { [SANDBOX_FILES] = LANDLOCK_FILES,
						     [SANDBOX_TCP] = LANDLOCK_TCP,
						     [SANDBOX_DEVICES] = LANDLOCK_DEVICES,
						     [SANDBOX_SCOPES] = LANDLOCK_SCOPES };
	unsigned known = landlock_known();

	NEEDS_ROOT();
	for (asked = 0; asked < SANDBOX_RULES_N; asked++) {
		int expected = asked == SANDBOX_SECCOMP	 ? 1
			       : asked == SANDBOX_MEMORY ? has_memory_rule()
							 : (landlock[asked] & known) != 0;

		assert_non_null(sandbox_rule_name(asked));
		assert_int_equal(attempt(AGENT_NAME, has_asked_rule), expected);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_refused_is_possible_without_a_rule),
		cmocka_unit_test(agent_can_do_its_work_and_nothing_else),
		cmocka_unit_test(cache_process_has_its_folder_and_nothing_else),
		cmocka_unit_test(audit_process_reads_proc_and_appends_to_its_log),
		cmocka_unit_test(publisher_can_update_and_nothing_else),
		cmocka_unit_test(keeper_gives_up_what_it_never_does),
		cmocka_unit_test(each_call_that_nobody_makes_is_refused),
		cmocka_unit_test(signaller_reads_proc_and_sends_five_signals),
		cmocka_unit_test(one_of_seccomp_and_landlock_holds_alone),
		cmocka_unit_test(no_process_has_groups_capabilities_core_or_dump),
		cmocka_unit_test(what_names_and_certificates_take_lies_outside_of_etc_too),
		cmocka_unit_test(agent_commands_no_device),
		cmocka_unit_test(name_servers_that_come_too_late_for_a_rule_are_missed),
		cmocka_unit_test(name_servers_that_others_hide_are_not_missed),
		cmocka_unit_test(name_services_are_loaded_before_nothing_can_be),
		cmocka_unit_test(rules_in_force_are_known),
	};

	/* a process in which it has not been loaded */
	if (argc > 1 && str_eq(argv[1], "name-service"))
		return has_name_service() == 0 || !take_role(AGENT_NAME) ? 1 : has_name_service();
	return cmocka_run_group_tests(tests, setup, teardown);
}
