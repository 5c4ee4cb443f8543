/* Presence: since when a process of ours is away. One that comes and dies at once, again and again, is away since it has last been
 * there for as long as a process may take to begin. */
#pragma once

#include "common/clock.h"

#define PRESENCE_STARTING_USEC (10 * USEC_PER_SEC) /* that a process may take to begin, or to begin anew */

struct presence {
	uint64_t came_usec; /* CLOCK_MONOTONIC; 0: it is not there */
	uint64_t absent_since_usec; /* of use while it is not */
};

static inline void presence_came(struct presence *p, uint64_t now_usec)
{
	if (!p->came_usec)
		p->came_usec = now_usec;
}

static inline void presence_went(struct presence *p, uint64_t now_usec)
{
	if (p->came_usec && now_usec - p->came_usec >= PRESENCE_STARTING_USEC)
		p->absent_since_usec = now_usec;
	p->came_usec = 0;
}

/* It is not there, and may still come. */
static inline bool presence_is_starting(const struct presence *p, uint64_t now_usec)
{
	return !p->came_usec && now_usec < p->absent_since_usec + PRESENCE_STARTING_USEC;
}
