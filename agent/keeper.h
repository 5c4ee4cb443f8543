/* Keeper: the parent process. Opens /dev/fuse, mounts, keeps the fds, starts and restarts the agent and the publisher,
 * opens credential files for the agent. It parses nothing that comes from the network and never touches a path inside
 * the mount. */
#pragma once

#include "agent/config.h"

/* Fixed fd numbers that the children find. */
enum {
	KEEPER_FD_LINK = 3, /* agent: SOCK_SEQPACKET to the keeper; publisher: SOCK_SEQPACKET to the agent */
	KEEPER_FD_FUSE = 4, /* agent: /dev/fuse; publisher: the private mount */
	KEEPER_FD_CONTROL = 5, /* agent: the listening control socket */
};

/* The whole of `secretlet run`. `args` are the command line's words after "run" (NULL-terminated), given on to the
 * agent. Returns the exit status: 0 after SIGTERM or SIGINT, else 1 and the reason was logged. */
int keeper_run(const struct config *c, char *const *args);
