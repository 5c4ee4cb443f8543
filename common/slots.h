/* Slots: how large the tables of map.h and idmap.h are, which have open addressing: powers of two, at most three quarters full, so that
 * what is looked for is found, or found missing, after a few slots. */
#pragma once

#include "common/base.h"

#define SLOTS_MIN 16u

/* How many may be in use, those that were removed and are still in the way included. */
static inline size_t slots_room(size_t n_slots)
{
	return n_slots / 4 * 3;
}

/* The smallest table, of at least `least` slots (a power of two), of which n take no more than these quarters. -ENOMEM: there can be
 * none. */
static inline int slots_for(size_t n, unsigned quarters, size_t least, size_t *ret_n_slots)
{
	size_t n_slots = least;

	while (n > n_slots / 4 * quarters)
		if (__builtin_mul_overflow(n_slots, 2, &n_slots))
			return -ENOMEM;
	*ret_n_slots = n_slots;
	return 0;
}
