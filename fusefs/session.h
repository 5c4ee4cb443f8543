/* Session: libfuse's low-level session on the keeper's /dev/fuse fd, driven by our loop. It patches the INIT reply for
 * what libfuse 3.14 does not know (PARALLEL_DIROPS, NO_EXPORT_SUPPORT, ALLOW_IDMAP), granting only what the kernel's
 * INIT offered, and counts requests by opcode.
 *
 * A connection outlives its session when both fd and arena do: a new session on them resumes. It replays INIT to libfuse,
 * finishes the request that the earlier one died of, and lets the kernel send again what it has had no answer to. */
#pragma once

#include "common/err.h"
#include "common/loop.h"
#include "fusefs/arena.h"
#include "fusefs/tree.h"

struct session;
struct publish;

#define SESSION_OPCODES 64

struct session_stats {
	uint64_t requests[SESSION_OPCODES]; /* by FUSE opcode */
	uint64_t n_refused; /* changing operations answered EROFS */
	uint64_t kernel_flags, our_flags; /* INIT: what was offered, what we asked for */
	unsigned proto_major, proto_minor;
	bool initialised;
	bool resumed; /* the connection is older than this session */
	uint64_t n_poison; /* requests answered EIO because agents died of them */
};

/* The kernel ended the connection (-ENODEV: unmounted) or reading failed. */
typedef void (*session_end_fn)(void *userdata, int r);

/* A request that so many processes have died of is answered EIO. */
#define SESSION_DEATHS_MAX 3

/* Serves `t` on fuse_fd (taken, made non-blocking). Changing operations are accepted from the publisher that `p` has
 * attached, when they match what is staged. `c` is the arena's connection (borrowed), whose fd this is; NULL: nothing is
 * kept. */
int session_new(struct loop *l, int take_fuse_fd, struct tree *t, struct publish *p, struct arena_connection *c,
		session_end_fn end, void *userdata, struct session **ret_s, struct err *e);
/* Before publish_resume(). A process that dies after a change and before its answer leaves it to the next one to answer; but if
 * the publisher dies, too, before that, then the kernel takes the request back and forgets it: it goes on showing its list
 * of that folder as it was. Notes the folder, until publish.c has had the kernel look again. */
void session_note_doubt(struct arena_connection *c);
/* There are no extended attributes: the kernel is told so once, and does not ask again as long as the connection lasts. */
void session_hide_xattrs(struct session *s);
/* One sentence more for session_missing() (static; NULL: none), of something that is not asked for here: who notes it logs it.
 * Before the loop runs. */
void session_note_missing(struct session *s, const char *sentence);
/* Answers what has come already, or the first part of it, before the loop does. */
void session_answer(struct session *s);
void session_free(struct session *s);
DEFINE_CLEANUP(struct session *, session_free);
const struct session_stats *session_stats(const struct session *s);
/* For how long the kernel's oldest request waits at most, if any does that has not been read; where more come than one turn of the
 * loop reads, since that turn. */
uint64_t session_waiting_usec(const struct session *s);
/* "LOOKUP", "READ", ...; NULL for an opcode that has no name. */
const char *session_opcode_name(unsigned opcode);
/* Of the request that is under way in somebody else's session; NULL: none is. */
const char *session_slot_name(const struct arena_slot *slot);
/* What this kernel does not offer and what is lost with it, one sentence each; NULL-terminated, borrowed. Empty until
 * INIT has arrived, but for what was noted. */
const char *const *session_missing(const struct session *s);
