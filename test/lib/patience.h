/* Patience: how a cmocka test waits for what a loop brings about: as long as it takes, with a limit that only something broken reaches.
 * `rig` is a pointer to the test's own struct, with its loop as `loop`. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/loop.h"

#define PATIENCE_USEC (60 * USEC_PER_SEC)

/* Runs the loop until cond holds. */
#define eventually(rig, cond)                                                                                          \
	do {                                                                                                           \
		uint64_t limit_ = clock_monotonic_usec() + PATIENCE_USEC;                                              \
		while (!(cond) && clock_monotonic_usec() < limit_)                                                     \
			loop_run_once((rig)->loop, 5 * USEC_PER_MSEC);                                                 \
		assert_true(cond);                                                                                     \
	} while (0)

/* Does something to running watches, as soon as there are any: call returns how many there were. */
#define reach(rig, call)                                                                                               \
	do {                                                                                                           \
		uint64_t limit_ = clock_monotonic_usec() + PATIENCE_USEC;                                              \
		size_t n_;                                                                                             \
		while (!(n_ = (call)) && clock_monotonic_usec() < limit_)                                              \
			loop_run_once((rig)->loop, 5 * USEC_PER_MSEC);                                                 \
		if (!n_)                                                                                               \
			fail_msg("%s", "no watch for " #call);                                                         \
	} while (0)

/* For "nothing more happens", and for what happens again and again. */
static inline void run_for(struct loop *l, uint64_t usec)
{
	uint64_t limit = clock_monotonic_usec() + usec;

	while (clock_monotonic_usec() < limit)
		loop_run_once(l, 5 * USEC_PER_MSEC);
}
