/* Gather: fetches several objects of one namespace, a few at a time, and calls back when each has come or cannot be had. What
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

/* source and store are borrowed. bytes_max: what all names and values of keys may have together. */
int gather_new(struct source *source, const struct store *store, const char *ns, size_t bytes_max,
	       struct gather **ret_g);
/* One that is fetching is given up. */
void gather_free(struct gather *g);
DEFINE_CLEANUP(struct gather *, gather_free);
/* Before the start; again: nothing. A name that can be nobody's is not found. -E2BIG; -ENOMEM. */
int gather_add(struct gather *g, enum source_thing thing, const char *name);
size_t gather_count(const struct gather *g);
/* fn is called once, from the loop; not later than SOURCE_FETCH_USEC after until_usec (CLOCK_MONOTONIC), from which on what is
 * left counts as unanswered. 1: it is over at once, and fn is not called. */
int gather_start(struct gather *g, uint64_t until_usec, gather_fn fn, void *userdata);
/* When it is over: whether everything was asked for. -E2BIG: there is too much; -ENOMEM. */
int gather_result(const struct gather *g, struct err *e);
/* NULL: it was not added. */
const struct gather_object *gather_find(const struct gather *g, enum source_thing thing, const char *name);
const struct gather_object *gather_at(const struct gather *g, size_t i);
