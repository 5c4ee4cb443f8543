"""What each process gives up: the rules of SECURITY.md's table, in its order.

What cannot be seen this way, because another protection stands in for it, or the kernel itself does:

- no_new_privs of agent, cache, publisher, audit process and signaller: without it (and CAP_SYS_ADMIN) the kernel lets no process take
  a filter of seccomp or rules of Landlock, so that the role is not taken at all. Of the keeper it is seen.
- PR_SET_DUMPABLE of agent and cache: the kernel switches it off when ids change (as fs.suid_dumpable says). Of the other three it is seen.
- the process's own check that nothing has remained (`privileges are still there`, has_more_capabilities()): it finds nothing as long as
  all else works.
- the agent's user: without setresuid() it is refused by that check, and no role is taken.
- LANDLOCK_REFER, which the kernel refuses to all that have rules of Landlock, unless a rule allows it.
- what ends a process and what is merely refused are two protections of one call: where the first is taken away the second remains. What
  is seen then is that the process goes on.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from mutant import Mutant, Test # pylint: disable=wrong-import-position

SANDBOX, CALLS, PUBLISH = "agent/sandbox.c", "agent/sandbox_calls.c", "fusefs/publisher.c"
FILTER, LANDLOCK = "common/sysfilter.c", "common/landlock.c"
AGENT = "agent_can_do_its_work_and_nothing_else"
CACHE = "cache_process_has_its_folder_and_nothing_else"
AUDIT = "audit_process_reads_proc_and_appends_to_its_log"
SIGNALLER = "signaller_reads_proc_and_sends_five_signals"
PUBLISHER = "publisher_can_update_and_nothing_else"
KEEPER = "keeper_gives_up_what_it_never_does"
ALONE = "one_of_seccomp_and_landlock_holds_alone"
NUMBERS = "each_call_that_nobody_makes_is_refused"
RIGHTS = "no_process_has_groups_capabilities_core_or_dump"
ELSEWHERE = "what_names_and_certificates_take_lies_outside_of_etc_too"
DEVICES = "agent_commands_no_device"
RULES = "rules_in_force_are_known"
NAME_SERVERS = "name_servers_that_come_too_late_for_a_rule_are_missed"
SCRIPT = "sandbox.sh"


# for calls that a list has by argument, in front of what refuses the rest
ANY_ARGUMENT = "	CALL_ALLOW(ioctl),\n	CALL_ALLOW(prctl),\n	CALL_ALLOW(socket),\n	CALL_ALLOW(fcntl),\n"
ARGUMENTS = ("try_dumpable try_inet try_keep_caps try_other_families try_other_netlink try_packet try_raw try_raw6 try_set_owner "
             "try_terminal try_unix_seqpacket")


def sandbox(cases, attempts=None):
    return Test("test_sandbox", cases, attempts)


def script(*cases):
    return Test(SCRIPT, list(cases))


def mutant(name, paths, old, new, *noticed_by):
    return Mutant(name, paths, old, new, list(noticed_by))


MUTANTS = [
    # --- system calls
    mutant("seccomp: no filter of the agent", SANDBOX, "set_own_calls(&SANDBOX_AGENT, e)", "0", sandbox([AGENT, DEVICES])),
    mutant("seccomp: no filter of the cache", SANDBOX, "set_own_calls(&SANDBOX_CACHE, e)", "0", sandbox([CACHE, ALONE])),
    mutant("seccomp: no filter of the audit process", SANDBOX, "set_own_calls(&SANDBOX_AUDIT, e)", "0", sandbox([AUDIT, ALONE])),
    mutant("seccomp: no filter of the signaller", SANDBOX, "set_own_calls(&SANDBOX_SIGNALLER, e)", "0",
           sandbox([SIGNALLER, ALONE])),
    mutant("seccomp: no filter of the publisher", PUBLISH, "return r < 0 ? r : filter_load(null);", "return r;",
           sandbox([PUBLISHER, ALONE])),
    mutant("seccomp: no filter of the keeper", SANDBOX, "set_calls(&SANDBOX_KEEPER, e)", "0", sandbox([KEEPER, NUMBERS])),
    mutant("seccomp: a call that nobody makes does not end the process", CALLS, "DO(ptrace), DO(reboot)", "DO(reboot)",
           # the keeper has no CAP_SYS_PTRACE either
           sandbox([AGENT, CACHE, AUDIT, SIGNALLER, NUMBERS], "try_ptrace")),
    mutant("seccomp: one that none which starts no other makes does not", CALLS, "DO(chroot), ", "",
           sandbox([AGENT, CACHE, AUDIT, SIGNALLER, NUMBERS], "try_chroot")),
    mutant("seccomp: the publisher has one call more", PUBLISH, "		CALL_ALLOW(exit_group),\n",
           "		CALL_ALLOW(exit_group),\n		CALL_ALLOW(socket),\n", sandbox([PUBLISHER, ALONE], "try_socket_unix")),
    mutant("seccomp: the agent has the calls that are on no list", CALLS, "SET(agent, SYSFILTER_ERRNO(ENOSYS))",
           "SET(agent, SECCOMP_RET_ALLOW)", sandbox([AGENT], "try_kill try_listen try_mkdir try_tgkill_kill")),
    mutant("seccomp: the cache has the calls that are on no list", CALLS, "SET(cache, SYSFILTER_ERRNO(ENOSYS))",
           "SET(cache, SECCOMP_RET_ALLOW)",
           sandbox([CACHE, ALONE], "try_any_setsockopt try_clone3 try_kill try_listen try_mkdir try_tgkill_kill")),
    mutant("seccomp: the audit process has the calls that are on no list", CALLS, "SET(audit, SYSFILTER_ERRNO(ENOSYS))",
           "SET(audit, SECCOMP_RET_ALLOW)",
           sandbox([AUDIT, ALONE], "try_clone3 try_kill try_listen try_log_mkdir try_mkdir try_other_setsockopt try_tgkill_kill")),
    mutant("seccomp: the signaller has the calls that are on no list", CALLS, "SET(signaller, SYSFILTER_ERRNO(ENOSYS))",
           "SET(signaller, SECCOMP_RET_ALLOW)",
           sandbox([SIGNALLER], "try_clone3 try_kill try_listen try_mkdir try_queue_signal try_signallers_setsockopt try_tgkill_kill")),
    mutant("seccomp: 32 bits", FILTER, "	add(&p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);\n	ret(&p, SECCOMP_RET_KILL_PROCESS);\n",
           "", sandbox([AGENT, CACHE, AUDIT, SIGNALLER, PUBLISHER, KEEPER], "try_32_bits")),
    mutant("seccomp: x32", FILTER, "	add(&p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);\n	ret(&p, SECCOMP_RET_KILL_PROCESS);\n", "",
           sandbox([AGENT, CACHE, AUDIT, SIGNALLER, KEEPER], "try_other_architecture")),
    # --- no child, only threads
    mutant("clone: the agent has children", CALLS, "CALL_ALLOW_IF(clone, ARG_HAS(0, NEW_NAMESPACES | CLONE_THREAD, CLONE_THREAD))",
           "CALL_ALLOW(clone)", sandbox([AGENT], "try_fork try_new_namespace try_thread_in_new_namespace")),
    mutant("clone: the agent's threads may be in a namespace", CALLS, "ARG_HAS(0, NEW_NAMESPACES | CLONE_THREAD, CLONE_THREAD)",
           "ARG_HAS(0, CLONE_THREAD, CLONE_THREAD)", sandbox([AGENT], "try_thread_in_new_namespace")),
    mutant("clone: clone3 of the agent", CALLS, "CALL_DO(clone3, SYSFILTER_ERRNO(ENOSYS)), /* its flags",
           "CALL_ALLOW(clone3), /* its flags", sandbox([AGENT], "try_clone3")),
    mutant("clone: the cache has children", CALLS, "	CALL_ALLOW(unlinkat),\n	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),\n",
           "	CALL_ALLOW(unlinkat),\n	CALL_ALLOW(clone),\n",
           sandbox([CACHE], "try_fork try_new_namespace try_thread_in_new_namespace")),
    mutant("clone: the audit process has children", CALLS, "/* the journal's */\n	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),\n",
           "/* the journal's */\n	CALL_ALLOW(clone),\n", sandbox([AUDIT], "try_fork try_thread_in_new_namespace")),
    mutant("clone: the signaller has children", CALLS, "/* the agent's */\n	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),\n",
           "/* the agent's */\n	CALL_ALLOW(clone),\n", sandbox([SIGNALLER], "try_fork try_thread_in_new_namespace")),
    mutant("clone: the keeper makes namespaces", CALLS, "CALL_ALLOW_IF(clone, ARG_HAS(0, NEW_NAMESPACES, 0))", "CALL_ALLOW(clone)",
           sandbox([KEEPER], "try_new_namespace")),
    # --- open only to read
    mutant("open: the agent writes", CALLS,
           "	CALL_ALLOW_IF(openat, READ_ONLY),\n	CALL_DO(openat, SYSFILTER_ERRNO(EACCES)),\n	CALL_ALLOW(access),",
           "	CALL_ALLOW(openat),\n	CALL_ALLOW(access),", sandbox([AGENT], "try_world_writable try_truncate try_create")),
    mutant("open: what is opened to be read is truncated", CALLS,
           "#define READ_ONLY      ARG_HAS(2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)",
           "#define READ_ONLY      ARG_HAS(2, O_ACCMODE | O_CREAT, O_RDONLY)",
           sandbox([AGENT, AUDIT, ALONE], "try_truncate try_truncate_own")),
    mutant("open: the cache overwrites", CALLS, "ARG_HAS(2, O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC, O_WRONLY | O_CREAT | O_EXCL)",
           "ARG_HAS(2, O_ACCMODE, O_WRONLY)", sandbox([CACHE, ALONE], "try_cache_overwrite")),
    mutant("open: the audit process overwrites", CALLS,
           "ARG_HAS(2, O_ACCMODE | O_CREAT | O_APPEND | O_TRUNC | O_NOFOLLOW,\n				      O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW)",
           "ARG_HAS(2, O_ACCMODE | O_CREAT | O_TRUNC | O_NOFOLLOW,\n				      O_RDWR | O_CREAT | O_NOFOLLOW)",
           sandbox([AUDIT], "try_log_overwrite")),
    mutant("open: the audit process truncates", CALLS, "O_ACCMODE | O_CREAT | O_APPEND | O_TRUNC | O_NOFOLLOW,",
           "O_ACCMODE | O_CREAT | O_APPEND | O_NOFOLLOW,", sandbox([AUDIT], "try_log_truncate")),
    mutant("open: the audit process follows links", CALLS,
           "O_TRUNC | O_NOFOLLOW,\n				      O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW)",
           "O_TRUNC,\n				      O_RDWR | O_CREAT | O_APPEND)", sandbox([AUDIT], "try_log_follow")),
    mutant("open: the signaller writes", CALLS,
           "	CALL_ALLOW_IF(openat, READ_ONLY),\n	CALL_DO(openat, SYSFILTER_ERRNO(EACCES)),\n	CALL_ALLOW(pidfd_open),",
           "	CALL_ALLOW(openat),\n	CALL_ALLOW(pidfd_open),", sandbox([SIGNALLER, ALONE], "try_apart try_sysctl try_truncate_own")),
    mutant("open: the publisher writes", PUBLISH, "CALL_ALLOW_IF(openat, ARG_HAS(2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY))",
           "CALL_ALLOW(openat)", sandbox([PUBLISHER, ALONE], "try_publisher_create try_publisher_write try_truncate_own")),
    # --- no file, no socket, where there is nothing to ask
    mutant("needs: files without names and certificates", SANDBOX, "r = set_calls(&SANDBOX_NO_FILES, e);", ";",
           sandbox([AGENT], "try_etc")),
    mutant("needs: internet sockets without an API server", SANDBOX, "r = set_calls(&SANDBOX_NO_INTERNET, e);", ";",
           sandbox([AGENT], "try_inet try_inet6")),
    mutant("needs: datagrams and streams without names", SANDBOX, "r = set_calls(&SANDBOX_NO_NAMES, e);", ";",
           sandbox([AGENT], "try_udp try_udp6 try_socket_unix try_netlink_route")),
    # --- sockets, ioctl, fcntl, prctl, signals, by argument
    mutant("arguments: the agent's sockets of any family", CALLS,
           "	CALL_DO(socket, SYSFILTER_ERRNO(EAFNOSUPPORT)),\n	ALLOW_IOCTL(FIONREAD),",
           "	CALL_ALLOW(socket),\n	ALLOW_IOCTL(FIONREAD),",
           sandbox([AGENT], "try_connect_other_mptcp try_connect_other_mptcp6 try_other_families try_other_netlink try_packet try_raw "
                   "try_raw6 try_udplite try_unix_seqpacket")),
    mutant("arguments: any protocol of netlink", CALLS,
           "CALL_ALLOW_IF(socket, ARG_IS(0, AF_NETLINK), ARG_IS(2, 0 /* NETLINK_ROUTE */))",
           "CALL_ALLOW_IF(socket, ARG_IS(0, AF_NETLINK))", sandbox([AGENT], "try_other_netlink")),
    mutant("arguments: the agent's ioctl", CALLS, "	CALL_DO(ioctl, SYSFILTER_ERRNO(ENOTTY)),\n	ALLOW_FCNTL(F_DUPFD),",
           "	CALL_ALLOW(ioctl),\n	ALLOW_FCNTL(F_DUPFD),", sandbox([AGENT, DEVICES], "try_terminal")),
    mutant("arguments: the agent's fcntl", CALLS, "	CALL_DO(fcntl, SYSFILTER_ERRNO(EINVAL)),\n	CALL_ALLOW(poll),",
           "	CALL_ALLOW(fcntl),\n	CALL_ALLOW(poll),", sandbox([AGENT], "try_set_owner")),
    mutant("arguments: the agent's prctl", CALLS, "	CALL_DO(prctl, SYSFILTER_ERRNO(EINVAL)),\n	/* to give up more",
           "	CALL_ALLOW(prctl),\n	/* to give up more", sandbox([AGENT], "try_dumpable try_keep_caps")),
    mutant("arguments: the cache's ioctl, prctl and sockets", CALLS,
           "	CALL_ALLOW(unlinkat),\n	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),\n	CALL_DO(fcntl, SYSFILTER_ERRNO(EINVAL)),\n",
           "	CALL_ALLOW(unlinkat),\n	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),\n" + ANY_ARGUMENT, sandbox([CACHE, ALONE], ARGUMENTS)),
    mutant("arguments: the audit process's ioctl, prctl and sockets", CALLS,
           "/* the journal's */\n	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),\n",
           "/* the journal's */\n	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),\n" + ANY_ARGUMENT, sandbox([AUDIT], ARGUMENTS)),
    mutant("arguments: the signaller's ioctl, prctl and sockets", CALLS,
           "/* the agent's */\n	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),\n",
           "/* the agent's */\n	CALL_DO(clone, SYSFILTER_ERRNO(EPERM)),\n" + ANY_ARGUMENT, sandbox([SIGNALLER], ARGUMENTS)),
    mutant("arguments: any signal to itself", CALLS, "CALL_ALLOW_IF(tgkill, ARG_IS(2, SIGABRT))", "CALL_ALLOW(tgkill)",
           sandbox([AGENT, CACHE, AUDIT, SIGNALLER], "try_tgkill_kill")),
    mutant("arguments: the audit process's setsockopt", CALLS,
           "CALL_ALLOW_IF(setsockopt, ARG_IS(1, SOL_SOCKET), ARG_IS(2, SO_SNDTIMEO))", "CALL_ALLOW(setsockopt)",
           sandbox([AUDIT], "try_other_setsockopt")),
    mutant("arguments: the signaller's setsockopt", CALLS, "CALL_ALLOW_IF(setsockopt, ARG_IS(1, SOL_SOCKET), ARG_IS(2, SO_SNDBUF))",
           "CALL_ALLOW(setsockopt)", sandbox([SIGNALLER], "try_signallers_setsockopt")),
    mutant("arguments: the cache's setsockopt", CALLS, "	CALL_ALLOW(fsync),\n", "	CALL_ALLOW(fsync),\n	CALL_ALLOW(setsockopt),\n",
           sandbox([CACHE], "try_any_setsockopt")),
    mutant("arguments: the publisher makes devices", PUBLISH, "CALL_ALLOW_IF(mknodat, ARG_HAS(2, S_IFMT, S_IFREG))",
           "CALL_ALLOW(mknodat)", sandbox([PUBLISHER], "try_publisher_mknod")),
    mutant("arguments: the publisher touches what a link leads to", PUBLISH,
           "CALL_ALLOW_IF(utimensat, ARG_IS(3, AT_SYMLINK_NOFOLLOW))", "CALL_ALLOW(utimensat)",
           sandbox([PUBLISHER], "try_publisher_touch_target")),
    mutant("arguments: the publisher writes to what it has open", PUBLISH,
           "CALL_ALLOW_IF(write, ARG_IS(0, (uint32_t)fuse), ARG_IS(2, sizeof(struct inval)))",
           "CALL_ALLOW_IF(write, ARG_IS(2, sizeof(struct inval)))", sandbox([PUBLISHER], "try_publisher_output")),
    mutant("arguments: the publisher writes more than a notification", PUBLISH, ", ARG_IS(2, sizeof(struct inval))", "",
           sandbox([PUBLISHER], "try_publisher_long_write")),
    mutant("arguments: the publisher closes /dev/null", PUBLISH,
           "		CALL_DO_IF(close, SECCOMP_RET_KILL_PROCESS, ARG_IS(0, (uint32_t)null)),\n", "",
           sandbox([PUBLISHER], "try_publisher_close_null")),
    mutant("arguments: the publisher sends what it reads anywhere", PUBLISH, "CALL_ALLOW_IF(sendfile, ARG_IS(0, (uint32_t)null))",
           "CALL_ALLOW(sendfile)", sandbox([PUBLISHER], "try_publisher_send_to_log try_publisher_send_to_socket")),
    # --- what connects and is not ruled by Landlock
    mutant("connections: MPTCP", CALLS, "ALLOW_INTERNET(AF_INET, SOCK_STREAM, IPPROTO_TCP)", "ALLOW_SOCKET(AF_INET, SOCK_STREAM)",
           sandbox([AGENT], "try_connect_other_mptcp")),
    mutant("connections: MPTCP over IPv6", CALLS, "ALLOW_INTERNET(AF_INET6, SOCK_STREAM, IPPROTO_TCP)",
           "ALLOW_SOCKET(AF_INET6, SOCK_STREAM)", sandbox([AGENT], "try_connect_other_mptcp6")),
    mutant("connections: UDP-Lite", CALLS, "ALLOW_INTERNET(AF_INET, SOCK_DGRAM, IPPROTO_UDP)", "ALLOW_SOCKET(AF_INET, SOCK_DGRAM)",
           sandbox([AGENT], "try_udplite")),
    mutant("connections: pairs of any family", CALLS, "CALL_ALLOW_IF(socketpair, ARG_IS(0, AF_UNIX))", "CALL_ALLOW(socketpair)",
           sandbox([AGENT], "try_socketpair")),
    mutant("connections: what is laid over TCP", CALLS,
           "	CALL_DO_IF(setsockopt, SYSFILTER_ERRNO(EPERM), ARG_IS(1, IPPROTO_TCP), ARG_IS(2, TCP_ULP)),\n", "",
           sandbox([AGENT], "try_upper_protocol")),
    mutant("connections: fast open by sendto", CALLS, "	NO_FAST_OPEN(sendto, 3),\n", "", sandbox([AGENT], "try_fast_open_sendto")),
    mutant("connections: fast open by sendmsg", CALLS, "	NO_FAST_OPEN(sendmsg, 2),\n", "",
           sandbox([AGENT], "try_fast_open_sendmsg")),
    mutant("connections: fast open by sendmmsg", CALLS, "	NO_FAST_OPEN(sendmmsg, 3),\n", "",
           sandbox([AGENT], "try_fast_open_sendmmsg")),
    # --- to itself alone
    mutant("others: abort()'s signal", SANDBOX, "int r = set_calls(&own_signals, e);", "int r = 0;",
           sandbox([AGENT, SIGNALLER, ALONE], "try_abort_other try_abort_roots")),
    mutant("others: limits", CALLS, "CALL_ALLOW_IF(prlimit64, ARG_IS(0, 0))", "CALL_ALLOW(prlimit64)",
           sandbox([AGENT], "try_others_limit")),
    # --- nothing becomes executable
    mutant("code: the sealed agent's", SANDBOX, "r = set_calls(&SANDBOX_NO_NEW_CODE, e);", ";",
           sandbox([AGENT], "try_landlock_enforce try_landlock_rule try_make_code try_make_code_with_key try_map_code try_more_landlock "
                   "try_more_seccomp")),
    mutant("code: by pkey_mprotect", CALLS, "	NEW_CODE(pkey_mprotect),\n", "", sandbox([AGENT], "try_make_code_with_key")),
    mutant("code: the cache's", CALLS, "	NEW_CODE(mmap),\n	NEW_CODE(mprotect),\n	BASE,\n	CALL_ALLOW_IF(openat, READ_ONLY),\n",
           "	BASE,\n	CALL_ALLOW_IF(openat, READ_ONLY),\n", sandbox([CACHE], "try_map_code try_make_code")),
    mutant("code: the audit process's", CALLS,
           "static const struct sysfilter_rule audit[] = {\n	NEVER_IN_A_CHILD(CALL_KILL),\n	NEW_CODE(mmap),\n	NEW_CODE(mprotect),\n",
           "static const struct sysfilter_rule audit[] = {\n	NEVER_IN_A_CHILD(CALL_KILL),\n",
           sandbox([AUDIT], "try_map_code try_make_code")),
    mutant("code: the signaller's", CALLS,
           "static const struct sysfilter_rule signaller[] = {\n	NEVER_IN_A_CHILD(CALL_KILL),\n	NEW_CODE(mmap),\n	NEW_CODE(mprotect),\n",
           "static const struct sysfilter_rule signaller[] = {\n	NEVER_IN_A_CHILD(CALL_KILL),\n",
           sandbox([SIGNALLER], "try_map_code try_make_code")),
    mutant("code: memory that can be written (PR_SET_MDWE)", SANDBOX, "prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0",
           "true", sandbox([AGENT, ALONE], "try_map_writable_code try_make_code")),
    # --- nothing more can be installed
    mutant("more: seccomp", CALLS, "	CALL_DO(seccomp, SYSFILTER_ERRNO(EPERM)),\n", "", sandbox([AGENT], "try_more_seccomp")),
    mutant("more: a ruleset of Landlock", CALLS, "	CALL_DO(landlock_create_ruleset, SYSFILTER_ERRNO(EPERM)),\n", "",
           sandbox([AGENT], "try_more_landlock")),
    mutant("more: a rule of Landlock", CALLS, "	CALL_DO(landlock_add_rule, SYSFILTER_ERRNO(EPERM)),\n", "",
           sandbox([AGENT], "try_landlock_rule")),
    mutant("more: Landlock enforced", CALLS, "	CALL_DO(landlock_restrict_self, SYSFILTER_ERRNO(EPERM)),\n", "",
           sandbox([AGENT], "try_landlock_enforce")),
    # --- Landlock, files
    mutant("files: the agent before it is sealed", SANDBOX,
           "		r = allow_certificates(&l, e);\n	return r < 0 ? r : set_paths(&l, what, e);\n}\n\n/* access(2)",
           "		r = allow_certificates(&l, e);\n	return r;\n}\n\n/* access(2)",
           sandbox([AGENT, NAME_SERVERS, ALONE, RULES], "try_abstract try_device try_folder try_kill try_proc try_world_readable")),
    mutant("files: the sealed agent", SANDBOX, "needs->port);\n	return r < 0 ? r : set_paths(&l, what, e);",
           "needs->port);\n	return r;",
           sandbox([AGENT, ALONE, RULES], "try_bind try_connect_name_server try_connect_other try_connect_other_tcp6 try_etc try_library")),
    mutant("files: names' although none are looked up", SANDBOX, "r = needs->names ? allow_name_files(&l, e) : 0;",
           "r = allow_name_files(&l, e);", sandbox([ALONE], "try_etc")),
    mutant("files: the cache", SANDBOX,
           "		r = landlock_allow(&l, dirfd, NULL, access);\n	if (r == 0)\n		r = landlock_enforce(&l);\n",
           "		r = landlock_allow(&l, dirfd, NULL, access);\n",
           sandbox([CACHE, ALONE], "try_abstract try_bind try_cache_other_folder try_connect_server try_device_ioctl try_etc try_kill "
                   "try_mkdir try_proc try_truncate_own")),
    mutant("files: the audit process", SANDBOX,
           "LANDLOCK_WRITE_FILE | LANDLOCK_TRUNCATE | LANDLOCK_MAKE_REG);\n	if (r == 0)\n		r = landlock_enforce(&l);\n",
           "LANDLOCK_WRITE_FILE | LANDLOCK_TRUNCATE | LANDLOCK_MAKE_REG);\n",
           sandbox([AUDIT, ALONE], "try_abstract try_apart try_connect_server try_device_ioctl try_log_elsewhere try_log_mkdir "
                   "try_root_folder try_signal")),
    mutant("files: the signaller", SANDBOX,
           "r = landlock_allow(&l, proc, NULL, LANDLOCK_READ_FILE | LANDLOCK_READ_DIR);\n	if (r == 0)\n		r = landlock_enforce(&l);\n",
           "r = landlock_allow(&l, proc, NULL, LANDLOCK_READ_FILE | LANDLOCK_READ_DIR);\n",
           sandbox([SIGNALLER, ALONE], "try_abstract try_apart try_connect_other try_elsewhere")),
    mutant("files: the publisher", PUBLISH, "	if (r == 0)\n		r = landlock_enforce(&l);\n", "",
           sandbox([PUBLISHER, ALONE], "try_abstract try_connect_server try_device_ioctl try_elsewhere try_publisher_create "
                   "try_publisher_rename_file try_publisher_write try_signal")),
    mutant("files: what is truncated", LANDLOCK, "(version >= 3 ? LANDLOCK_TRUNCATE : 0)", "0",
           sandbox([ALONE], "try_truncate_own")),
    mutant("files: commands for devices", LANDLOCK, "		a.handled_files |= FILES_IOCTL;\n", "		;\n",
           sandbox([ALONE, DEVICES], "try_device_ioctl")),
    # --- Landlock, TCP
    mutant("TCP: not ruled", LANDLOCK, "		a.handled_net = NET_ALL;\n", "		;\n",
           sandbox([AGENT, ALONE], "try_bind try_connect_name_server try_connect_other try_connect_other_tcp6 try_connect_server")),
    mutant("TCP: bind", LANDLOCK, "		a.handled_net = NET_ALL;\n", "		a.handled_net = NET_CONNECT;\n",
           sandbox([AGENT, ALONE], "try_bind")),
    mutant("TCP: the name servers' port although no names are looked up", SANDBOX,
           "if (r == 0 && needs->names && landlock_allow_connect(&l, DNS_PORT) < 0)",
           "if (r == 0 && landlock_allow_connect(&l, DNS_PORT) < 0)", sandbox([AGENT], "try_connect_name_server")),
    # --- signals
    mutant("signals: any", CALLS,
           "	CALL_DO(pidfd_send_signal, SYSFILTER_ERRNO(EPERM)),\n	CALL_ALLOW_IF(setsockopt, ARG_IS(1, SOL_SOCKET), ARG_IS(2, SO_SNDBUF))",
           "	CALL_ALLOW(pidfd_send_signal),\n	CALL_ALLOW_IF(setsockopt, ARG_IS(1, SOL_SOCKET), ARG_IS(2, SO_SNDBUF))",
           sandbox([SIGNALLER, ALONE], "try_each_other_signal try_signal try_signal_group")),
    mutant("signals: to a group", CALLS, "ARG_IS(1, SIGWINCH), ARG_IS(3, 0)", "ARG_IS(1, SIGWINCH)",
           sandbox([SIGNALLER], "try_signal_group")),
    mutant("signals: the audit process sends them", CALLS, "CALL_ALLOW_IF(pidfd_send_signal, ARG_IS(1, 0)), /* is it there? */",
           "CALL_ALLOW(pidfd_send_signal), /* is it there? */", sandbox([ALONE], "try_signal")),
    # --- Landlock, scopes
    mutant("scopes", LANDLOCK, "a.scoped = but_signals ? SCOPE_ALL & ~SCOPE_SIGNALS : SCOPE_ALL;", ";",
           sandbox([AGENT, CACHE, AUDIT, SIGNALLER, ALONE], "try_abstract try_kill try_signal")),
    mutant("scopes: signals", LANDLOCK, "SCOPE_ALL & ~SCOPE_SIGNALS : SCOPE_ALL;",
           "SCOPE_ALL & ~SCOPE_SIGNALS : SCOPE_ALL & ~SCOPE_SIGNALS;", sandbox([ALONE], "try_kill try_signal")),
    # --- another root folder
    mutant("root folder: the publisher's", PUBLISH, "fchdir(root) < 0 || chroot(\".\") < 0", "fchdir(root) < 0",
           Test("test_publisher", ["no_order_reaches_what_is_outside_the_mount"])),
    mutant("root folder: the audit process's and the signaller's", SANDBOX, "fchdir(proc) < 0 || chroot(\".\") < 0",
           "fchdir(proc) < 0", sandbox([AUDIT, SIGNALLER, ALONE])),
    mutant("root folder: theirs can be written to", SANDBOX, "MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, &proc",
           "MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, &proc", sandbox([AUDIT, ALONE], "try_sysctl")),
    # --- user, groups, capabilities, cores
    mutant("rights: the agent's groups", SANDBOX, "	if (setgroups(0, NULL) < 0)\n		return err_set(e, -errno, \"setgroups: %m\");\n",
           "", sandbox([RIGHTS])),
    mutant("rights: the others' groups", SANDBOX, "if (setgroups(0, NULL) < 0 && errno != EPERM)", "if (false)", sandbox([RIGHTS])),
    mutant("rights: the publisher's groups", PUBLISH, "if (setgroups(0, NULL) < 0 && errno != EPERM)", "if (false)",
           sandbox([RIGHTS])),
    mutant("rights: the agent's bounding set", SANDBOX, "if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)", "if (false)",
           sandbox([RIGHTS])),
    mutant("rights: the others' bounding set", SANDBOX, "cannot come back either */\n	(void)capng_apply(CAPNG_SELECT_BOUNDS);\n",
           "cannot come back either */\n", sandbox([RIGHTS])),
    mutant("rights: the publisher's bounding set", PUBLISH, "capng_apply(CAPNG_SELECT_BOUNDS) != 0 || ", "", sandbox([RIGHTS])),
    mutant("rights: the agent's capabilities to inherit", SANDBOX,
           "(unsigned)u->uid);\n	if (capng_apply(CAPNG_SELECT_CAPS) < 0)", "(unsigned)u->uid);\n	if (false)",
           sandbox([RIGHTS])),
    mutant("rights: the others' capabilities", SANDBOX, "if (capng_apply(CAPNG_SELECT_CAPS) < 0 || has_more_capabilities(keep))",
           "if (keep == 999 && has_more_capabilities(keep))", sandbox([ALONE, RIGHTS], "try_chroot")),
    mutant("rights: the signaller has one capability more", SANDBOX,
           "capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, (unsigned)keep);\n"
           "	if (capng_apply(CAPNG_SELECT_CAPS) < 0 || has_more_capabilities(keep))",
           "capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, (unsigned)keep, CAP_SYS_PTRACE, -1);\n"
           "	if (capng_apply(CAPNG_SELECT_CAPS) < 0 || (keep < 0 && has_more_capabilities(keep)))",
           sandbox([RIGHTS])),
    mutant("rights: the publisher's capabilities", PUBLISH, " || capng_apply(CAPNG_SELECT_CAPS) != 0", "",
           sandbox([ALONE, RIGHTS])),
    mutant("rights: a signal when the keeper dies", SANDBOX,
           "	r = sandbox_set_process(e);\n	if (r < 0)\n		return r;\n	if (setresuid", "	r = 0;\n	if (setresuid", sandbox([RIGHTS])),
    mutant("rights: cores", SANDBOX, "if (setrlimit(RLIMIT_CORE, &none) < 0)", "if (sizeof none == 0)", sandbox([RIGHTS])),
    mutant("rights: the publisher's core", PUBLISH, "setrlimit(RLIMIT_CORE, &none) < 0", "sizeof none == 0", sandbox([RIGHTS])),
    mutant("rights: the keeper's no_new_privs", SANDBOX,
           "	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)\n		return err_set(e, -errno, \"prctl(PR_SET_NO_NEW_PRIVS): %m\");\n	return set_calls(",
           "	return set_calls(", script("the keeper is filtered, no new privileges")),
    mutant("dumpable: audit process and signaller", SANDBOX, "if (prctl(PR_SET_DUMPABLE, 0) < 0)", "if (false)", sandbox([RIGHTS]),
           script(*[f"{role}: not dumpable: its own user does not see into it" for role in ("audit", "signaller")])),
    mutant("dumpable: the publisher", PUBLISH, "|| prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ", "", sandbox([RIGHTS]),
           script("publisher: not dumpable: its own user does not see into it")),
    # --- descriptors
    mutant("rights: the keeper has all capabilities", SANDBOX, "	r = drop_keepers_capabilities(e);\n", "	r = 0;\n",
           script("the keeper has the capabilities that it uses")),
    mutant("rights: the keeper has one more", SANDBOX, "	case CAP_KILL:\n", "	case CAP_KILL:\n	case CAP_SYS_PTRACE:\n",
           script("the keeper has the capabilities that it uses")),
    mutant("rights: the keeper passes capabilities on", SANDBOX, "		(void)capng_update(CAPNG_DROP, CAPNG_INHERITABLE, i);\n", "",
           script("the keeper has the capabilities that it uses")),
    mutant("rights: a hook may leave a core", "agent/cli_hook.c", "	cli_hide_memory();\n", "",
           Test("hook.sh", ["precreate: no core", "precreate: not dumpable"])),
    mutant("memory: the keeper does not lock it", "agent/fsconn.c", "mlock2(values, c->heap_size, MLOCK_ONFAULT) < 0 ? -errno : 0", "0",
           Test("test_fsconn", ["what_agents_leave_is_held"])),
    mutant("descriptors: what the keeper was started with", "agent/child.c",
           "if (close_range(KEEPER_FD_LINK + (unsigned)n_fds, ~0U, CLOSE_RANGE_CLOEXEC) < 0)", "if (false)",
           script("what the keeper was started with none of them has",
                  *[f"{role}: no descriptor but its own" for role in ("agent", "publisher", "audit", "signaller")])),
    mutant("descriptors: the agent's in the cache", "agent/cache_io.c", "if (close_range(FD_SOCKET + 1, ~0U, 0) < 0)", "if (false)",
           # which holds what tells it that the agent has gone
           script(*[f"{role}: no descriptor but its own" for role in ("agent", "cache")], "its cache process has gone with it")),
]
