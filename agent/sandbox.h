/* Sandbox: what each process gives up before it reads its first byte from outside. What the running kernel does not have is
 * left out and said, and the rest holds; a rule that it has and that cannot be set is an error. */
#pragma once

#include "common/err.h"

struct sandbox_user {
	uid_t uid;
	gid_t gid;
	bool dynamic; /* no such account: an unused id of the range that systemd keeps for DynamicUser= */
};

/* The account `name`; if there is none and it is the default one, an unused uid that is the same on every start with the
 * same pods dir. -ENOENT for any other name. */
int sandbox_find_user(const char *name, const char *pods_dir, struct sandbox_user *ret_user, struct err *e);
/* -ENOENT: there is none of that name. */
int sandbox_find_group(const char *name, gid_t *ret_gid, struct err *e);
/* Not dumpable, no core, dies with the keeper. As early as possible. */
int sandbox_begin(struct err *e);
/* Becomes the user: groups, ids, every capability (bounding set too), no_new_privs. Checks that there is no way back. */
int sandbox_drop(const struct sandbox_user *u, struct err *e);

/* What the kernel enforces on this process. */
enum sandbox_rule {
	SANDBOX_SECCOMP,
	SANDBOX_FILES,
	SANDBOX_TCP,
	SANDBOX_DEVICES,
	SANDBOX_SCOPES, /* no signal to, and no abstract unix socket of, another process */
	SANDBOX_MEMORY, /* none is writable and executable */
	SANDBOX_RULES_N,
};
bool sandbox_has(enum sandbox_rule rule);
/* "landlock-tcp" */
const char *sandbox_rule_name(enum sandbox_rule rule);

/* The agent, before it answers the first request: system calls, reading of libraries, of /etc and of what sandbox_seal() may
 * leave, no signals. Threads and library code are still allowed, connections not ruled. */
int sandbox_confine(struct err *e);

/* What the agent needs from now on, when everything is loaded. */
struct sandbox_needs {
	uint16_t port; /* the one TCP port that it connects to; 0: none, and no internet socket */
	bool names; /* host names are looked up: files in /etc, the name servers' port */
	bool system_ca; /* the system's CA certificates */
};
/* The agent, before the first byte from the network: no new code, no other file, no other port. Says once what holds and what
 * the kernel does not have; `quiet`: at debug level, for an agent that is not the first. */
int sandbox_seal(const struct sandbox_needs *needs, bool quiet, struct err *e);
/* Whether it is our rules alone that now keep this process from resolv.conf: when it was confined they did not, or it
 * was not there, and it would be so for no other process that begins now. false also if no names are looked up. */
bool sandbox_hides_name_servers(void);
/* The offline cache's process, which keeps dirfd alone (-1: not even that). After sandbox_drop(). */
int sandbox_confine_cache(int dirfd, struct err *e);
/* The audit process, before it gives up its rights: of all files it keeps /proc, which becomes its root folder and cannot be
 * written to, and what is beneath *dirfd (-1: nothing), which is replaced by a mount of its own that leads nowhere else. */
int sandbox_enter_proc(int *dirfd, struct err *e);
/* After that, when everything is open: no group and no capability; it appends to files beneath dirfd (-1: none). */
int sandbox_confine_audit(int dirfd, struct err *e);
/* The signaller, after sandbox_enter_proc(): no group, no capability but CAP_KILL; it reads beneath proc, its root folder, and
 * nowhere else, and sends the signals of container_signal.h and no others. */
int sandbox_confine_signaller(int proc, struct err *e);
/* The keeper and all that it starts: what no secretlet ever does. */
int sandbox_confine_keeper(struct err *e);
