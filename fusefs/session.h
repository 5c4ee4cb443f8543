/* Session: libfuse's low-level session on the keeper's /dev/fuse fd, driven by our loop. It patches the INIT reply for
 * what libfuse 3.14 does not know (PARALLEL_DIROPS, NO_EXPORT_SUPPORT, ALLOW_IDMAP), granting only what the kernel's
 * INIT offered, and counts requests by opcode. */
#pragma once

#include "common/err.h"
#include "common/loop.h"
#include "fusefs/tree.h"

struct session;
struct publish;

#define SESSION_OPCODES 64

struct session_stats {
	uint64_t requests[SESSION_OPCODES]; /* by FUSE opcode */
	uint64_t n_refused;                 /* changing operations answered EROFS */
	uint64_t kernel_flags, our_flags;   /* INIT: what was offered, what we asked for */
	unsigned proto_major, proto_minor;
	bool initialised;
};

/* The kernel ended the connection (-ENODEV: unmounted) or reading failed. */
typedef void (*session_end_fn)(void *userdata, int r);

/* Serves `t` on fuse_fd (taken, made non-blocking). Changing operations are accepted from the publisher that `p` has
 * attached, when they match what is staged. */
int session_new(struct loop *l, int take_fuse_fd, struct tree *t, struct publish *p, session_end_fn end,
		void *userdata, struct session **ret_s, struct err *e);
void session_free(struct session *s);
DEFINE_CLEANUP(struct session *, session_free);
const struct session_stats *session_stats(const struct session *s);
/* "LOOKUP", "READ", ...; NULL for an opcode that has no name. */
const char *session_opcode_name(unsigned opcode);
/* What this kernel does not offer and what is lost with it, one sentence each; NULL-terminated, borrowed. Empty until
 * INIT has arrived. */
const char *const *session_missing(const struct session *s);
