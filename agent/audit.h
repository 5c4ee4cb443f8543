/* Audit: who opened which key, from fanotify(7). The keeper makes the notification group and keeps it, so that a process of
 * ours that dies loses what it had in its hands and nothing else; a process of its own (secretlet-audit) marks the file
 * system, reads the group and writes the records. It asks the agent what a node is called.
 *
 * Nobody waits for any of it: the events are notifications and not permissions, the kernel's queue is bounded and says when
 * it was full, and the reader of the queue is neither the agent, which answers FUSE requests, nor the keeper. */
#pragma once

#include "agent/config.h"
#include "common/err.h"

#define AUDIT_JOURNAL "journal" /* auditLog's other value */

/* Why a process begins: what its first record says. */
enum audit_reason {
	AUDIT_START, /* of a new mount */
	AUDIT_PROCESS, /* the last process ended, the group is the same */
	AUDIT_KEEPER, /* the last keeper ended, and its group with it */
	AUDIT_REASONS_N,
};
const char *audit_reason_name(enum audit_reason r);

/* Shared between the keeper, which only keeps it, and one audit process after the other. Every open that was read from the
 * kernel is written, failed or lost. */
struct audit_counts {
	uint64_t n_opens; /* read from the kernel */
	uint64_t n_written;
	uint64_t n_unnamed; /* of these: the agent could not say what it was */
	uint64_t n_failed; /* could not be written */
	uint64_t n_lost; /* a process that ended had read and not written them */
	uint64_t n_overflows; /* the kernel's queue was full: each time at least one open is missing */
	uint64_t n_gaps; /* processes after the first */
	uint64_t since_usec; /* CLOCK_REALTIME of the first mark; 0: not yet */
	/* what records have told already */
	uint64_t told_failed, told_lost, told_overflows;
};

/* What a kernel of that release (uname(2); NULL: this one) does not tell it, in a sentence. NULL: nothing is missing. */
const char *audit_missing(const char *release);

/* --- the keeper's side --- */

struct audit_group {
	int group, counts; /* -1: none */
	int link; /* our end of the audit process's */
	enum audit_reason reason; /* of the next process */
};
#define AUDIT_GROUP_INIT ((struct audit_group){ .group = -1, .counts = -1, .link = -1 })

/* What is not there yet is made. Needs CAP_SYS_ADMIN. */
int audit_group_open(struct audit_group *g, struct err *e);
/* The mount ends: what is in the queue is gone. */
void audit_group_close(struct audit_group *g);
void audit_group_deinit(struct audit_group *g);

/* --- the process --- */

/* Does not return before it is stopped. The fds are those of keeper.h. Returns the exit status. */
int audit_run(const struct config *c, enum audit_reason reason);
