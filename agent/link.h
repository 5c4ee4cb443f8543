/* Link: the messages between the keeper and the agent, over a SOCK_SEQPACKET pair, with at most one fd each. */
#pragma once

#include <limits.h>

#include "common/base.h"

enum link_type {
	/* agent -> keeper */
	LINK_ALLOW_FILE = 1, /* path may be opened later on */
	LINK_ALLOW_DIR, /* path and every file beneath it may be opened later on */
	LINK_ALLOW_WATCH, /* the folder path may be watched later on; value: inotify's mask */
	LINK_SEAL, /* the list is complete: from now on the agent has no privileges and may not add to it */
	LINK_OPEN, /* open path for reading; answered by LINK_OPENED with the same id */
	LINK_WATCH, /* add a watch of the folder path to the inotify instance that comes with it; answered by LINK_OPENED, too */
	LINK_READY, /* all that the agent does is under way; value: LINK_READY_SOURCELESS, or 0 */
	LINK_PUBLISHER_HANGS, /* it has an order and does not answer: start another. path: where, id: publish_hanging()'s moves */
	LINK_SERVES, /* who waited has been answered: before LINK_READY, and before the API server is turned to */
	LINK_READ_ONLY, /* somebody has made the file system read-only; answered by LINK_WRITABLE */
	LINK_CACHE, /* the offline cache's process has ended: start another, which is answered by the same, with our end of its socket */
	LINK_RELOADED, /* id: of the last LINK_RELOAD; value: the log level in force now, or negative errno: all stays as it was */
	/* keeper -> agent; LINK_STOP and those behind LINK_RELOAD to the other processes, too */
	LINK_OPENED, /* value: 0 with an fd, of a folder that is watched its watch descriptor, or negative errno */
	LINK_PUBLISHER, /* value: the publisher's pid; with the agent's end of its socket */
	LINK_WRITABLE, /* it was made writable again, or could not be: the log has it */
	LINK_RESTARTS, /* id, value: agents and publishers after the first, those that their agent has taken along left out */
	LINK_STOP, /* finish */
	LINK_RELOAD, /* read the configuration again; answered by LINK_RELOADED */
	LINK_AUDIT, /* one end each of a socket between the agent and the audit process, which asks for it with the same */
	LINK_AUDIT_REOPEN, /* open the log anew */
	LINK_SIGNALLER, /* as LINK_AUDIT, between the agent and the signaller */
	LINK_PUBLISHER_ASIDE, /* value: the pid of one that was killed and does not end; path, id: as it was said, or empty */
	LINK_PUBLISHER_ENDED, /* value: the pid of one that was put aside */
};

/* Its source cannot be loaded, so it serves what is published, and will make room for another agent. */
#define LINK_READY_SOURCELESS 1

struct link_message {
	uint32_t type;
	uint32_t id;
	int32_t value;
	uint32_t path_len; /* without NUL; what is sent ends behind the path */
	char path[PATH_MAX];
};

/* Sends one message, with `fd` (not taken) unless it is -1. path may be NULL. Does not block: -EAGAIN when the other
 * side does not read. -ENAMETOOLONG. */
int link_send(int link, enum link_type type, uint32_t id, int32_t value, const char *path, int fd);
/* Receives one message. *ret_fd is the fd that came with it (owned by the caller) or -1. 0; -EAGAIN: none there;
 * -EPIPE: the other side is gone; -EBADMSG: not one of ours (its fds are closed). The path is NUL-terminated. */
int link_receive(int link, struct link_message *ret_m, int *ret_fd);
