/* Attempts: system calls that nobody honest makes, other processes, and new code. */
#include "test/sandbox/attempts.h"

#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>

#include "test/sandbox/world.h"

int try_execve(void)
{
	char *const argv[] = { NULL };

	return result(syscall(SYS_execve, "/bin/true", argv, argv));
}

int try_execveat(void)
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

int try_fork(void)
{
	return try_clone(SIGCHLD);
}

int try_new_namespace(void)
{
	return try_clone(SIGCHLD | CLONE_NEWUSER);
}

/* For a filter that let the flags of a thread pass, whatever comes with them: the kernel itself says EINVAL. */
int try_thread_in_new_namespace(void)
{
	return try_clone(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWUSER);
}

int try_clone3(void)
{
	return result(syscall(SYS_clone3, NULL, 0));
}

int try_unshare(void)
{
	return result(syscall(SYS_unshare, CLONE_NEWNS));
}

int try_setns(void)
{
	return result(syscall(SYS_setns, -1, 0));
}

int try_mount(void)
{
	return result(syscall(SYS_mount, "none", world.dir, "tmpfs", 0, NULL));
}

int try_umount(void)
{
	return result(syscall(SYS_umount2, "/nowhere", 0));
}

int try_fsopen(void)
{
	return result(syscall(SYS_fsopen, "tmpfs", 0));
}

int try_open_tree(void)
{
	return result(syscall(SYS_open_tree, AT_FDCWD, "/", 1));
}

int try_pivot_root(void)
{
	return result(syscall(SYS_pivot_root, ".", "."));
}

int try_chroot(void)
{
	return result(syscall(SYS_chroot, "/"));
}

int try_ptrace(void)
{
	return result(syscall(SYS_ptrace, PTRACE_SEIZE, world.victim, 0, 0));
}

int try_ptrace_roots(void)
{
	return result(syscall(SYS_ptrace, PTRACE_SEIZE, world.root_victim, 0, 0));
}

int try_process_vm_readv(void)
{
	char byte;
	struct iovec v = { &byte, 1 };

	return result(syscall(SYS_process_vm_readv, world.victim, &v, 1, &v, 1, 0));
}

int try_process_vm_writev(void)
{
	char byte = 0;
	struct iovec v = { &byte, 1 };

	return result(syscall(SYS_process_vm_writev, world.victim, &v, 1, &v, 1, 0));
}

int try_pidfd_getfd(void)
{
	return result(syscall(SYS_pidfd_getfd, -1, 0, 0));
}

int try_open_by_handle(void)
{
	return result(syscall(SYS_open_by_handle_at, world.dirfd, world.handle, O_RDONLY));
}

int try_bpf(void)
{
	return result(syscall(SYS_bpf, 0, NULL, 0));
}

int try_io_uring(void)
{
	return result(syscall(SYS_io_uring_setup, 1, NULL));
}

int try_userfaultfd(void)
{
	return result(syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */));
}

int try_perf_event(void)
{
	return result(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
}

int try_keyctl(void)
{
	return result(syscall(SYS_keyctl, 0, -3, 0));
}

int try_memfd_secret(void)
{
	return result(syscall(SYS_memfd_secret, 0));
}

int try_init_module(void)
{
	return result(syscall(SYS_init_module, NULL, 0, ""));
}

int try_kexec(void)
{
	return result(syscall(SYS_kexec_load, 0, 0, NULL, ~0ul));
}

int try_settime(void)
{
	return result(syscall(SYS_clock_settime, CLOCK_REALTIME, NULL));
}

int try_setuid(void)
{
	return result(syscall(SYS_setuid, getuid()));
}

int try_capset(void)
{
	return result(syscall(SYS_capset, NULL, NULL));
}

int try_other_architecture(void)
{
#ifdef __x86_64__
	return result(syscall(0x40000000 | SYS_getpid));
#else
	raise(SIGSYS);
	return 0;
#endif
}

/* read(2)'s number there is close(2)'s here, which is on every list: nothing but the architecture is in the way. */
int try_32_bits(void)
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

int try_kill(void)
{
	return result(syscall(SYS_kill, world.victim, 0));
}

/* The list lets SIGABRT pass, for abort(3); the filter in front of it, to itself alone. */
int try_abort_other(void)
{
	return result(syscall(SYS_tgkill, world.victim, world.victim, SIGABRT));
}

/* Of a process of the same user, which the kernel asks no capability for. */
int try_others_limit(void)
{
	const struct rlimit less = { 16, 16 };

	return result(prlimit(world.victim, RLIMIT_NOFILE, &less, NULL));
}

int do_own_limit(void)
{
	struct rlimit now;

	return result(getrlimit(RLIMIT_NOFILE, &now) < 0 ? -1 : setrlimit(RLIMIT_NOFILE, &now));
}

int try_tgkill_kill(void)
{
	return result(syscall(SYS_tgkill, getpid(), getpid(), SIGURG));
}

int try_abort(void)
{
	abort();
}

static int try_map(int protection)
{
	void *p = mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : 0;
}

int try_map_code(void)
{
	return try_map(PROT_READ | PROT_EXEC);
}

int try_map_writable_code(void)
{
	return try_map(PROT_READ | PROT_WRITE | PROT_EXEC);
}

int try_make_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : result(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

int try_dumpable(void)
{
	return result(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

int try_keep_caps(void)
{
	return result(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
}

int try_more_seccomp(void)
{
	return result(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &(uint32_t){ SECCOMP_RET_ALLOW }));
}

int try_more_landlock(void)
{
	return result(syscall(SYS_landlock_create_ruleset, NULL, 0, 1)) == EPERM ? EPERM : 0;
}

int try_landlock_rule(void)
{
	return result(syscall(SYS_landlock_add_rule, -1, 1, NULL, 0));
}

int try_landlock_enforce(void)
{
	return result(syscall(SYS_landlock_restrict_self, -1, 0));
}

int try_make_code_with_key(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : result(syscall(SYS_pkey_mprotect, p, 4096, PROT_READ | PROT_EXEC, -1));
}

int try_unknown(void)
{
	return result(syscall(4000));
}
