/* Backoff: exponential delay with jitter, as pure arithmetic. Kubernetes' reflector: 800 ms doubling to 30 s,
 * jitter factor 1.0, reset after 2 minutes without failure (client-go reflector.go). */
#pragma once

#include "common/base.h"

struct backoff_policy {
	uint64_t first_usec, max_usec, reset_usec;
	double factor, jitter; /* delay * (1 + jitter * random in [0,1)) */
};
extern const struct backoff_policy BACKOFF_REFLECTOR; /* 800 ms x2 .. 30 s, jitter 1.0, reset 2 min */
extern const struct backoff_policy BACKOFF_FRESH; /* 5 ms x2 .. 2 s, jitter 0.5, reset 1 min */

struct backoff {
	const struct backoff_policy *policy;
	uint64_t next_usec, last_usec;
	unsigned n_failures;
};
#define BACKOFF_INIT(p) ((struct backoff){ .policy = (p) })

/* The delay before the next try; now is monotonic, r01 in [0,1). */
uint64_t backoff_next(struct backoff *b, uint64_t now_usec, double r01);
void backoff_reset(struct backoff *b);
/* Uniform in [0,1) from the kernel's random numbers. */
double random01(void);
