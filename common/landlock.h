/* Landlock: what a process without privileges may still reach, enforced by the kernel, whatever becomes of the process. By
 * system call: Debian 12 has no library for it, and its headers do not know the newer rules. What the running kernel does not
 * know is left out (landlock_known()). */
#pragma once

#include "common/base.h"

/* What can be ruled. */
#define LANDLOCK_FILES	 (1u << 0) /* ABI 1, Linux 5.13; truncation with ABI 3, Linux 6.2 */
#define LANDLOCK_TCP	 (1u << 1) /* ABI 4, Linux 6.7 */
#define LANDLOCK_DEVICES (1u << 2) /* ioctl of devices: ABI 5, Linux 6.10. With LANDLOCK_FILES only */
#define LANDLOCK_SCOPES	 (1u << 3) /* signals and abstract unix sockets: ABI 6, Linux 6.12 */
#define LANDLOCK_ALL	 (LANDLOCK_FILES | LANDLOCK_TCP | LANDLOCK_DEVICES | LANDLOCK_SCOPES)
/* With LANDLOCK_FILES: files can be opened to be read as without it. */
#define LANDLOCK_BUT_READING (1u << 4)
/* With LANDLOCK_SCOPES: signals can be sent as without it. */
#define LANDLOCK_BUT_SIGNALS (1u << 5)

/* What is allowed beneath a folder, or of a file. */
#define LANDLOCK_READ_FILE   (1ull << 2)
#define LANDLOCK_READ_DIR    (1ull << 3)
#define LANDLOCK_REMOVE_DIR  (1ull << 4)
#define LANDLOCK_REMOVE_FILE (1ull << 5)
#define LANDLOCK_MAKE_DIR    (1ull << 7)
#define LANDLOCK_MAKE_REG    (1ull << 8)
#define LANDLOCK_MAKE_SYM    (1ull << 12)
#define LANDLOCK_WRITE_FILE  (1ull << 1)
#define LANDLOCK_REFER	     (1ull << 13) /* rename into another folder */
#define LANDLOCK_TRUNCATE    (1ull << 14)

/* Which of them the kernel knows; 0: none, or Landlock is off. */
unsigned landlock_known(void);

struct landlock {
	int fd;
	uint64_t files, net; /* that it handles */
};
#define LANDLOCK_INIT ((struct landlock){ .fd = -1 })

/* Nothing of `what` is allowed, as far as the kernel knows it, but what follows. -EOPNOTSUPP: it knows none of it. */
int landlock_begin(struct landlock *l, unsigned what);
/* dirfd and path as openat(2); NULL: dirfd itself. 0 also if there is no such thing. */
int landlock_allow(struct landlock *l, int dirfd, const char *path, uint64_t access);
int landlock_allow_connect(struct landlock *l, uint16_t port);
/* For this process and what it starts. Needs no_new_privs. */
int landlock_enforce(struct landlock *l);
void landlock_deinit(struct landlock *l);
#define cleanup_landlock cleanup(landlock_deinit)
