/* Backoff as client-go does it: the base of the delay grows up to the maximum, the jitter comes on top of it, and a
 * series that saw no failure for a while starts again. */
#include "common/backoff.h"

#include <sys/random.h>

const struct backoff_policy BACKOFF_REFLECTOR = {
	.first_usec = 800 * USEC_PER_MSEC,
	.max_usec = 30 * USEC_PER_SEC,
	.reset_usec = 120 * USEC_PER_SEC,
	.factor = 2.0,
	.jitter = 1.0,
};

const struct backoff_policy BACKOFF_FRESH = {
	.first_usec = 5 * USEC_PER_MSEC,
	.max_usec = 2 * USEC_PER_SEC,
	.reset_usec = 60 * USEC_PER_SEC,
	.factor = 2.0,
	.jitter = 0.5,
};

uint64_t backoff_next(struct backoff *b, uint64_t now_usec, double r01)
{
	const struct backoff_policy *policy = b->policy;
	uint64_t base_usec;

	if (b->n_failures > 0 && now_usec > b->last_usec && now_usec - b->last_usec > policy->reset_usec)
		backoff_reset(b);

	base_usec = b->n_failures > 0 ? b->next_usec : policy->first_usec;
	b->next_usec = (uint64_t)MIN((double)base_usec * policy->factor, (double)policy->max_usec);
	b->last_usec = now_usec;
	if (b->n_failures < UINT32_MAX)
		b->n_failures++;
	return (uint64_t)((double)base_usec * (1.0 + policy->jitter * r01));
}

void backoff_reset(struct backoff *b)
{
	b->next_usec = b->last_usec = 0;
	b->n_failures = 0;
}

double random01(void)
{
	uint64_t bits;

	/* fails only where there is no getrandom(2); any fixed value is a correct, if poor, jitter */
	if (getentropy(&bits, sizeof(bits)) < 0)
		return 0.5;
	return (double)(bits >> 11) * 0x1.0p-53;
}
