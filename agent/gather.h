/* Gather: fetches several objects of one namespace, all at once, and calls back when each has come or cannot be had. What
 * came is held for as long as this lives. Where nobody answers, what the pods' volumes already have of the object serves
 * in its place; that is told. */
#pragma once

#include "agent/source.h"
#include "agent/store.h"
#include "common/loop.h"

struct gather;

#define GATHER_OBJECTS_MAX 256

/* secret and account NULL: why not is in err. */
struct gather_object {
	enum source_thing thing;
	char *name;
	struct err err; /* as in source_fetched */
	bool unanswered;
	struct secret *secret;
	json_t *account;
	uint64_t
		as_of_usec; /* CLOCK_REALTIME: it is what was told then, because nobody answers now (err); 0: it is fresh */
};
typedef void (*gather_fn)(void *userdata);

/* source and store are borrowed. */
int gather_new(struct source *source, const struct store *store, const char *ns, struct gather **ret_g);
/* One that is fetching is given up. */
void gather_free(struct gather *g);
DEFINE_CLEANUP(struct gather *, gather_free);
/* Before the start; again: nothing. A name that can be nobody's is not found. -E2BIG; -ENOMEM. */
int gather_add(struct gather *g, enum source_thing thing, const char *name);
size_t gather_count(const struct gather *g);
/* fn is called once, from the loop. 1: there is nothing to fetch, and it is not called. */
int gather_start(struct gather *g, gather_fn fn, void *userdata);
/* NULL: it was not added. */
const struct gather_object *gather_find(const struct gather *g, enum source_thing thing, const char *name);
const struct gather_object *gather_at(const struct gather *g, size_t i);
