/* Audit names: what a node is called, for the audit process. Where an opened file is shown depends on who looks (a container
 * sees its bind mount and nothing above it), but its node's id is the same everywhere, and the agent knows what it is of.
 * Names and counts, never a value. */
#pragma once

#include "agent/audit.h"
#include "agent/pods.h"
#include "agent/presence.h"
#include "common/loop.h"
#include "fusefs/tree.h"

/* --- between the two, over SOCK_SEQPACKET --- */

#define AUDIT_ASK_MAX	 64 /* nodes in one question, and under way at a time */
#define AUDIT_ANSWER_MAX ((size_t)8192)
#define AUDIT_ERROR_MAX	 256

enum audit_ask_kind { AUDIT_ASK_NAMES, AUDIT_ASK_TELL };
struct audit_ask {
	uint32_t kind;
	uint32_t n; /* AUDIT_ASK_NAMES: answered one by one */
	union {
		uint64_t nodes[AUDIT_ASK_MAX];
		struct {
			struct audit_counts counts;
			char error[AUDIT_ERROR_MAX]; /* "": records are written */
		} tell;
	};
};
enum audit_name {
	AUDIT_POD_UID,
	AUDIT_POD_NAMESPACE, /* "" and the next one too: a pod that is not known any more */
	AUDIT_POD_NAME,
	AUDIT_VOLUME,
	AUDIT_SECRET, /* "": the volume's spec is not known any more, or which of its sources it is from */
	AUDIT_VERSION, /* "..2026_11_22_..." */
	AUDIT_KEY, /* the path in the volume */
	AUDIT_NAMES_N,
};
/* AUDIT_NAMES_N strings follow, each with its NUL; or none: it is no key that the agent knows. */
struct audit_answer {
	uint64_t node;
};

/* --- the agent's side --- */

struct audit_names;

struct audit_state {
	bool attached; /* an audit process is there and writes */
	struct presence presence; /* of one that is attached */
	bool told; /* one has told its counts to this agent */
	struct audit_counts counts; /* as it has told them last */
	char error[AUDIT_ERROR_MAX]; /* why records are not written; "": they are */
};

/* All is borrowed and outlives it. */
int audit_names_new(struct loop *l, const struct tree *t, const struct pods *pods, const struct publish *publish,
		    struct audit_names **ret_a);
void audit_names_free(struct audit_names *a);
DEFINE_CLEANUP(struct audit_names *, audit_names_free);
/* The agent's end of a socket to the audit process, from now on instead of the last one. Taken. */
int audit_names_attach(struct audit_names *a, int take_fd);
void audit_names_state(const struct audit_names *a, struct audit_state *ret_s);

/* The strings of one node, each with its NUL. 0: there are none. For tests. */
size_t audit_names_find(const struct audit_names *a, uint64_t node, char *names, size_t size);
