/* World: what is there outside of a process that takes a role (role.h), made before it does; and what the role has kept
 * of it, which is the child's alone. Setup failures fail the test. */
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "common/base.h"

#define UID 61999 /* the agent's user, and the victim's */

/* log, proc, null and socket are set by take_role(). */
extern struct world {
	char *dir; /* world-readable, and with a file `f` in it */
	int dirfd, elsewhere, apart; /* elsewhere, apart: folders that none of them has anything to do with */
	char *apart_dir;
	int terminal;
	int log; /* the audit process's folder, as it has it */
	pid_t parent, victim, root_victim; /* other processes of the same user */
	int pidfd, victim_pidfd; /* of root_victim, of victim */
	int proc; /* the signaller's root folder, as it has it */
	int null, socket; /* the publisher's */
	int zero; /* /dev/zero */
	uint16_t port, other_port;
	struct sockaddr_un abstract, named;
	struct file_handle *handle;
} world;

/* Of a group of tests; nothing, if this is not root. */
int world_setup(void **state);
int world_teardown(void **state);
/* Whatever an attempt that should have been refused has done to one of them, the next attempt finds both. */
void need_victims(void);

/* In world.dir; valid until the next call. */
char *outside(const char *name);

static inline struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}
