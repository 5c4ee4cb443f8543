/* Attempts: what is tried by a process that has taken a role (role.h); table.c says what comes of it. `try_`: there is
 * a role that must not; `do_`: work that must go on. They know nothing but the world (world.h), and leave it as it was,
 * if they still have the calls for it. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base.h"

/* Called once, in a child process of its own. 0: it was allowed; an errno; some do not return. */
typedef int attempt_fn(void);

/* attempts_calls.c: system calls that nobody honest makes, other processes, and new code */
attempt_fn try_execve, try_execveat, try_fork, try_new_namespace, try_thread_in_new_namespace, try_clone3, try_unshare,
	try_setns, try_mount, try_umount, try_fsopen, try_open_tree, try_pivot_root, try_chroot, try_ptrace,
	try_ptrace_roots, try_process_vm_readv, try_process_vm_writev, try_pidfd_getfd, try_open_by_handle, try_bpf,
	try_io_uring, try_userfaultfd, try_perf_event, try_keyctl, try_memfd_secret, try_init_module, try_kexec,
	try_settime, try_setuid, try_capset, try_other_architecture, try_32_bits, try_kill, try_abort_other,
	try_others_limit, do_own_limit, try_tgkill_kill, try_abort, try_map_code, try_map_writable_code, try_make_code,
	try_dumpable, try_keep_caps, try_more_seccomp, try_more_landlock, try_landlock_rule, try_landlock_enforce,
	try_make_code_with_key, try_unknown;

/* attempts_files.c: what lies outside, and what is open already */
attempt_fn try_shadow, try_world_readable, try_world_writable, try_truncate, try_create, try_mkdir, try_proc,
	try_device, try_folder, try_etc, try_library, try_terminal, try_set_owner, try_elsewhere, try_truncate_own,
	try_device_ioctl, try_apart, try_apart_mkdir, try_apart_symlink, try_apart_mknod;

/* attempts_network.c: sockets, and what can be reached by one */
attempt_fn try_packet, try_raw, try_other_families, try_other_netlink, try_netlink_route, try_inet, try_udplite,
	try_socketpair, try_upper_protocol, try_udp, try_udp6, try_inet6, try_connect_server, try_connect_other,
	try_connect_other_mptcp, try_connect_other_tcp6, try_connect_other_mptcp6, try_fast_open_sendto,
	try_fast_open_sendmsg, try_fast_open_sendmmsg, try_connect_name_server, try_bind, try_listen, try_abstract,
	try_named, try_raw6, try_unix_seqpacket, try_socket_unix;

/* attempts_work.c: what must go on, and what could be made of what that takes */
attempt_fn do_thread, do_loop, do_memory, do_lookup, do_nothing, do_cache, do_update, try_publisher_create,
	try_publisher_write, try_publisher_mknod, try_publisher_touch_target, try_publisher_output,
	try_publisher_send_to_log, try_publisher_send_to_socket, try_publisher_close_null, try_publisher_long_write,
	try_cache_other_folder, try_cache_overwrite, try_publisher_rename_file, try_abort_roots, try_signal,
	try_log_elsewhere, try_log_out, try_log_overwrite, try_log_follow, try_log_truncate, try_log_mkdir, try_sysctl,
	try_root_folder, try_keepers_files, try_other_setsockopt, try_signallers_setsockopt, try_any_setsockopt,
	do_set_buffer, do_event, do_look_at_process, do_log, do_journal, try_each_other_signal, try_signal_group,
	try_queue_signal, do_send_signal, do_find_process;

/* For attempts, and for those of single cases. */
static inline int result(long r)
{
	return r < 0 ? errno : 0;
}

/* What should not have come to be, goes: the attempts that follow are to find what they found. */
static inline int undone(long r, int dirfd, const char *name, int flags)
{
	return r < 0 ? errno : result(unlinkat(dirfd, name, flags));
}

static inline int try_open(const char *path, int flags)
{
	return result(syscall(SYS_openat, AT_FDCWD, path, flags, 0600));
}
