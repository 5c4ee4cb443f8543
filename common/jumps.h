/* Jumps: tells when the machine has slept, and when its clock was set. Timers and everything that measures durations run
 * on CLOCK_MONOTONIC, which does neither notice; what has to do with the world outside must be told. */
#pragma once

#include "common/loop.h"

struct jumps;

struct jumps_times {
	uint64_t realtime_usec, monotonic_usec, boottime_usec;
};
struct jump {
	uint64_t slept_usec; /* since the last look */
	int64_t set_usec; /* how far the clock was set forward, or back (negative) */
};

void jumps_read(struct jumps_times *ret);
/* What happened between the two; differences under 10 ms are none. */
struct jump jumps_compare(const struct jumps_times *before, const struct jumps_times *now);

typedef void (*jumps_fn)(void *userdata, const struct jump *jump);
/* fn is called from the loop, soon after a sleep or a setting of the clock. */
int jumps_new(struct loop *l, jumps_fn fn, void *userdata, struct jumps **ret_c);
void jumps_free(struct jumps *c);
DEFINE_CLEANUP(struct jumps *, jumps_free);
/* As if the times were read now. For tests. */
void jumps_look(struct jumps *c, const struct jumps_times *now);
