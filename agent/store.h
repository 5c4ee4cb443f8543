/* Store: the Secrets and ConfigMaps that this node's pods refer to, counted; their current revision and what is wrong with them. It
 * stands between the source (one reflector for each wanted Secret) and the pods. */
#pragma once

#include "agent/reason.h"
#include "agent/secret.h"
#include "agent/source.h"
#include "common/err.h"

struct store;

enum store_state {
	STORE_UNSYNCED, /* nobody knows yet whether there is one */
	STORE_ABSENT, /* the source is sure that there is none */
	STORE_PRESENT,
};

struct store_entry {
	enum object_kind kind;
	const char *ns, *name;
	size_t n_refs;
	enum store_state state;
	struct secret *secret; /* STORE_PRESENT; also the last good one while error is set */
	err_note error; /* why it cannot be brought up to date; "" when all is well */
	enum reason reason; /* the same as a word */
	uint64_t failed_usec; /* CLOCK_REALTIME since when there is one; 0: there is none */
	uint64_t n_answers; /* words from the source, good or bad */
	uint64_t synced_usec; /* CLOCK_REALTIME of the last word from the source; 0: none */
	bool cached; /* state and secret are from the offline cache, as they were at synced_usec */
	uint64_t n_needs,
		fresh; /* calls of store_need(); of these, the last that state and secret are not older than */
};

/* An entry's state, secret or error has changed. Not called from inside store_ref() or store_unref(). */
typedef void (*store_changed_fn)(void *userdata, const struct store_entry *entry);

int store_new(store_changed_fn fn, void *userdata, struct store **ret_st);
void store_free(struct store *st);
DEFINE_CLEANUP(struct store *, store_free);
/* Before the first store_ref(); borrowed. */
void store_set_source(struct store *st, struct source *source);

/* One more reference; the first one makes the source want it. The entry is valid until the matching store_unref().
 * -ENOMEM, -EINVAL: no such name can be, and what the source says. */
int store_ref(struct store *st, enum object_kind kind, const char *ns, const char *name,
	      const struct store_entry **ret_entry);
/* A pod holds a reference that did not before: the source makes sure that what is told is current. Returns what entry->fresh
 * will be then, at least; it may be so already. */
uint64_t store_need(struct store *st, const struct store_entry *entry);
/* The source fetches it now; n_answers counts on when it has answered. -ENOENT: not referenced; -ENOMEM. */
int store_refresh(struct store *st, enum object_kind kind, const char *ns, const char *name);
/* The last one makes the source forget it, and the bytes go. */
void store_unref(struct store *st, const struct store_entry *entry);
/* NULL: not referenced. */
const struct store_entry *store_find(const struct store *st, enum object_kind kind, const char *ns, const char *name);
const struct store_entry *store_next(const struct store *st, size_t *it);

/* From the source's sink. */
void store_object_changed(struct store *st, enum object_kind kind, const char *ns, const char *name,
			  struct secret *secret);
/* From the offline cache: what was told at synced_usec (secret NULL: that there is none). Ignored when the source has
 * told anything since. */
void store_object_restored(struct store *st, enum object_kind kind, const char *ns, const char *name,
			   struct secret *secret, uint64_t synced_usec);
/* NULL: not referenced. Calls nobody. */
const struct store_entry *store_object_fresh(struct store *st, enum object_kind kind, const char *ns, const char *name,
					     uint64_t need);
void store_object_failed(struct store *st, enum object_kind kind, const char *ns, const char *name,
			 const struct err *e);
