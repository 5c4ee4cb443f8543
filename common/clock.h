/* Clocks, in microseconds. On the loop's thread time is loop_now()'s; these are for stamps that people see, and for
 * programs without a loop. */
#pragma once

#include <time.h>

#include "common/base.h"

static inline uint64_t clock_usec(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / NSEC_PER_USEC;
}
/* Since the epoch. */
static inline uint64_t clock_realtime_usec(void)
{
	return clock_usec(CLOCK_REALTIME);
}
static inline uint64_t clock_monotonic_usec(void)
{
	return clock_usec(CLOCK_MONOTONIC);
}
