/* Sysfilter: seccomp filters, written as a table of system calls. A BPF program is made of it here and not by libseccomp,
 * which takes 2 ms for the agent's list, while readers wait for the agent; this takes some microseconds. */
#pragma once

#include <linux/seccomp.h>
#include <sys/syscall.h>

#include "common/base.h"

#define SYSFILTER_ARGS_MAX 3

/* (args[at] & mask) == value, of the lower 32 bits: what is compared here are ints and flags, of which the kernel takes no
 * more, or ignores the rest. */
struct sysfilter_arg {
	unsigned at;
	uint32_t mask, value;
};
struct sysfilter_rule {
	int call; /* SYSFILTER_NO_CALL: this architecture has none of that name */
	uint32_t action; /* SECCOMP_RET_... */
	unsigned n_args; /* all must hold; otherwise the next rule for the call is looked at */
	struct sysfilter_arg args[SYSFILTER_ARGS_MAX];
};

#define SYSFILTER_NO_CALL      (-1)
#define SYSFILTER_ERRNO(error) (SECCOMP_RET_ERRNO | (error))

#define CALL_DO(name, what)                                                                                            \
	{                                                                                                              \
		.call = SYS_##name, .action = (what)                                                                   \
	}
#define CALL_ALLOW(name) CALL_DO(name, SECCOMP_RET_ALLOW)
#define CALL_KILL(name)	 CALL_DO(name, SECCOMP_RET_KILL_PROCESS)
/* CALL_ALLOW_IF(socket, ARG_IS(0, AF_UNIX)) */
#define CALL_DO_IF(name, what, ...)                                                                                    \
	{                                                                                                              \
		.call = SYS_##name, .action = (what),                                                                  \
		.n_args = sizeof((struct sysfilter_arg[]){ __VA_ARGS__ }) / sizeof(struct sysfilter_arg),              \
		.args = { __VA_ARGS__ },                                                                               \
	}
#define CALL_ALLOW_IF(name, ...) CALL_DO_IF(name, SECCOMP_RET_ALLOW, __VA_ARGS__)
#define ARG_IS(n, v)                                                                                                   \
	{                                                                                                              \
		.at = (n), .mask = UINT32_MAX, .value = (v)                                                            \
	}
#define ARG_HAS(n, bits_mask, wanted)                                                                                  \
	{                                                                                                              \
		.at = (n), .mask = (bits_mask), .value = (wanted)                                                      \
	}

/* What is not in the table gets `otherwise`; of several rules for a call the first one that fits counts. For this process and
 * what it starts from now on, in addition to the filters that it has. Needs no_new_privs or CAP_SYS_ADMIN. Calls of another
 * architecture (32 bits, x32) end the process. -EOPNOTSUPP: neither the kernel nor this code can do it here. */
int sysfilter_install(const struct sysfilter_rule *rules, size_t n, uint32_t otherwise);
