/* A hash map from numbers that we have counted up ourselves to pointers: open addressing. Numbers that follow each other lie side
 * by side, so that what was made together is found together, without a miss of the processor's cache for each. For numbers that
 * nobody else can choose: map.h has a seed, this has none. */
#pragma once

#include "common/base.h"

struct idmap_entry {
	uint64_t id;
	void *value; /* NULL: empty */
};
struct idmap {
	struct idmap_entry *entries;
	size_t n_slots, n_used;
};
#define IDMAP_INIT ((struct idmap){ .entries = NULL })

/* Frees the table, not the values. */
void idmap_deinit(struct idmap *m);
/* NULL: not there. */
void *idmap_get(const struct idmap *m, uint64_t id);
/* Room for n entries in all, so that none of them has to make it. -ENOMEM. */
int idmap_reserve(struct idmap *m, size_t n);
/* -EEXIST: the id is there (nothing changed); -ENOMEM. */
int idmap_add(struct idmap *m, uint64_t id, void *value);
/* Returns the removed value, NULL if there was none. */
void *idmap_remove(struct idmap *m, uint64_t id);
/* To empty it: for (size_t it = 0; (v = idmap_first(m, &it));), where each is removed before the next is asked for. */
void *idmap_first(const struct idmap *m, size_t *it);
