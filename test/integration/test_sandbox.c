/* What each process gives up, tried from inside: each role is taken in a child process, as the daemon takes it, and then
 * something is done that it must not do, or must be able to do. A child's exit status is the errno; 0: it was allowed.
 * Needs root, as the daemon does. The roles, what they try and what comes of it are in test/sandbox/. */
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/random.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "common/landlock.h"
#include "common/str.h"
#include "test/lib/skip.h"
#include "test/sandbox/table.h"
#include "test/sandbox/world.h"

#define NEEDS_ROOT()                                                                                                   \
	do {                                                                                                           \
		if (geteuid() != 0)                                                                                    \
			skip_because("needs root");                                                                    \
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
	attempt_fn *fn;
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

static bool says_something(attempt_fn *fn)
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
		skip(); /* as the line before says */
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

	for (size_t i = 0; i < n_attempts; i++) {
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

static int attempt_with_more(enum role role, attempt_fn *fn)
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
	if (command_device(UNCONFINED) != 0)
		skip_because("a device node cannot be made, or not be opened");
	assert_int_equal(command_device(AGENT_NAME), ENOTTY);
	if (!(landlock_known() & LANDLOCK_DEVICES))
		skip_because("the kernel has no such rule");
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

	if (read(turn, &byte, 1) != 1 || mkdir("/run/made", 0755) < 0 ||
	    open("/run/made/resolv.conf", O_WRONLY | O_CREAT | O_CLOEXEC, 0644) < 0 || write(made, &byte, 1) != 1)
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
	if (!(landlock_known() & LANDLOCK_FILES))
		skip_because("without Landlock nothing is hidden");
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
		skip_because("/etc/resolv.conf cannot be read");
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
	if (!dlopen("libnss_compat.so.2", RTLD_NOW))
		skip_because("libnss_compat.so.2 is not there");
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
	return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
