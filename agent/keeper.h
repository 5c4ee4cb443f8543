/* Keeper: the parent process. Opens /dev/fuse, mounts, keeps the fds, starts and restarts the agent, the publisher and the
 * audit process, opens credential files for the agent. It parses nothing that comes from the network and never touches a
 * path inside the mount.
 *
 * Agents come and go, the mount stays: a new one resumes with /dev/fuse and the state arena, which the keeper holds. Under
 * systemd the service manager holds them too, so that keepers come and go as well. */
#pragma once

#include "agent/config.h"

/* Fixed fd numbers that the children find. */
enum {
	KEEPER_FD_LINK = 3, /* agent: SOCK_SEQPACKET to the keeper; publisher: SOCK_SEQPACKET to the agent */
	KEEPER_FD_FUSE = 4, /* agent: /dev/fuse; publisher: the private mount */
	KEEPER_FD_CONTROL = 5, /* agent: the listening control socket */
	KEEPER_FD_ARENA = 6, /* agent: the state arena */
	KEEPER_FD_CONFIG = 7, /* agent, audit: the text of the configuration file; empty: there is none */
	KEEPER_FD_WATCHES =
		8, /* agent, with manifests: an inotify instance without a watch, see watches.h; or a file */
	/* audit: KEEPER_FD_LINK is its SOCK_SEQPACKET to the keeper, KEEPER_FD_FUSE the private mount */
	KEEPER_FD_AUDIT_GROUP = KEEPER_FD_CONTROL, /* the fanotify group */
	KEEPER_FD_AUDIT_COUNTS = KEEPER_FD_ARENA, /* struct audit_counts */
};

/* The agent's exit status when it cannot go on with what is in the arena: it needs a new mount. */
#define KEEPER_EXIT_REMOUNT 75

/* Its exit status when it makes room for another, which begins with privileges: it has served without its source for a while, or
 * its rules keep it from resolv.conf. It has said so. */
#define KEEPER_EXIT_AGAIN 76

/* keeper_run()'s, where a service manager starts it again: nothing is mounted, and an agent has said why it cannot serve. */
#define KEEPER_LATER 256

/* The whole of `secretlet run`. `args` are the command line's words after "run" (NULL-terminated), given on to the
 * agent, and config_text (borrowed) the file's text. Returns the exit status: 0 after SIGTERM or SIGINT, else 1 (or
 * KEEPER_LATER) and the reason was logged. */
int keeper_run(const struct config *c, int config_text, char *const *args);
