/* Role: what one of the daemon's processes has given up. A child process takes it, as the daemon's does, and then does
 * one thing. Needs root. */
#pragma once

#include "agent/sandbox.h"
#include "common/base.h"
#include "test/sandbox/attempts.h"

/* How a child has ended, beside an errno. */
#define KILLED	  1000 /* by SIGSYS */
#define NO_ROLE	  1001
#define OTHER_END 1002
#define EXIT_ROLE 254 /* its exit status for NO_ROLE */

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

/* For this process and for ever; false: it could not be done, and stderr may say why. */
bool take_role(enum role role);
/* The agent's. needs NULL: it is not sealed. */
bool take_agent(const struct sandbox_needs *needs);
/* fn in a child process that has taken the role: its result, or KILLED, NO_ROLE, OTHER_END. */
int attempt(enum role role, attempt_fn *fn);
/* The same of a child that the caller has started; waits for it. */
int end_of(pid_t pid);
