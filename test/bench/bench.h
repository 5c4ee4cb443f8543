/* What the measuring programs share: the clock and the statistics. All times are nanoseconds of CLOCK_MONOTONIC, which is
 * one clock for all processes of a machine. */
#pragma once

#include <time.h>

#include "common/base.h"

#define NSEC_PER_SEC UINT64_C(1000000000)

static inline uint64_t now_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static inline void sleep_nsec(uint64_t nsec)
{
	nanosleep(&(struct timespec){ .tv_sec = (time_t)(nsec / NSEC_PER_SEC), .tv_nsec = (long)(nsec % NSEC_PER_SEC) },
		  NULL);
}

/* The same numbers in each run; a generator of its own for each use. */
static inline uint32_t random_next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

static inline int bench_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static inline void sort_numbers(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), bench_compare);
}

/* Of n > 0 sorted numbers: the smallest that at least the part q of them do not exceed; for q = 0.5 the median. */
static inline double quantile(const double *sorted, size_t n, double q)
{
	size_t rank = (size_t)(q * (double)n);

	if (q == 0.5 && n % 2 == 0)
		return (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
	return sorted[MIN(rank, n - 1)];
}
