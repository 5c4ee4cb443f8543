/* Outage: what a fleet does is decided here, for when a server is back, all clients find out by themselves.
 *
 * After T seconds without a server a client's next try is GROWTH * T^(3/4) away, between FIRST and LAST. That is how far apart
 * client-go's tries are, in the mean, at any T, or a little less: so as many clients come in the busiest second.
 * What is random is only the phase of each client: at any moment the next tries of a fleet are spread over the interval to come, as
 * many in one part of it as in the next, and nobody waits longer than one interval. (With a random delay after each try, as
 * client-go has, the longest wait is up to twice the shortest, and the tries are bunched around the sums of the first few delays.)
 *
 * phase(T) is the number of tries up to T, the integral of 1/interval. A client's tries are where it is a whole number and the
 * client's phase.
 *
 * Who has found the server takes only a part of an interval for all that it follows: the clients are what is spread, for so half of
 * them are whole again after half of the time. That part is there to even out what chance makes of it where few clients come in a
 * second: so it is shorter after a short outage. */
#include "agent/outage.h"

#include <math.h>

/* seconds; client-go's reflectors: 0.8 to 1.6 at first, 45 in the mean at last */
static const double FIRST = 0.8, GROWTH = 1.2, LAST = 46.0;
static const double WINDOW_SHARE = 0.2; /* of the last interval */
static const double EACH_MAX = 0.3, EACH_MIN = 0.003; /* seconds of the window for each who comes */
static const uint64_t WELL_USEC = 120 * USEC_PER_SEC; /* as client-go's backoff is reset */

/* GROWTH * T^(3/4) */
static double interval_at(double t)
{
	return MIN(MAX(GROWTH * pow(t, 0.75), FIRST), LAST);
}

static double time_of_interval(double interval)
{
	return pow(interval / GROWTH, 4.0 / 3);
}

/* The integral of the middle part. */
static double middle_phase(double t)
{
	return 4 / GROWTH * pow(t, 0.25);
}

static double phase_at(double t)
{
	double first_end = time_of_interval(FIRST), last_begin = time_of_interval(LAST);
	double middle = MIN(MAX(t, first_end), last_begin);

	return MIN(t, first_end) / FIRST + middle_phase(middle) - middle_phase(first_end) +
	       MAX(t - last_begin, 0.0) / LAST;
}

static double time_of(double phase)
{
	double first_end = time_of_interval(FIRST), last_begin = time_of_interval(LAST);

	if (phase <= phase_at(first_end))
		return phase * FIRST;
	if (phase >= phase_at(last_begin))
		return last_begin + (phase - phase_at(last_begin)) * LAST;
	return pow((phase - phase_at(first_end) + middle_phase(first_end)) * GROWTH / 4, 4);
}

static double lasted(const struct outage *o, uint64_t now_usec)
{
	return o->runs && now_usec > o->began_usec ? (double)(now_usec - o->began_usec) / USEC_PER_SEC : 0;
}

void outage_begin(struct outage *o, uint64_t now_usec, double r01)
{
	if (o->runs)
		return;
	if (o->ended_usec > 0 && now_usec - o->ended_usec <= WELL_USEC) {
		o->began_usec += now_usec - o->ended_usec;
		o->runs = true;
	} else {
		outage_restart(o, now_usec, r01);
	}
}

void outage_restart(struct outage *o, uint64_t now_usec, double r01)
{
	*o = (struct outage){ .runs = true, .phase = r01, .began_usec = now_usec };
}

void outage_end(struct outage *o, uint64_t now_usec)
{
	o->runs = false;
	o->ended_usec = now_usec;
	o->not_before_usec = 0;
}

void outage_wait(struct outage *o, uint64_t now_usec, uint64_t delay_usec)
{
	o->not_before_usec = MAX(o->not_before_usec, now_usec + delay_usec);
}

uint64_t outage_next(const struct outage *o, uint64_t now_usec)
{
	uint64_t from = MAX(now_usec, o->not_before_usec), due;
	double t = lasted(o, from), n = floor(phase_at(t) - o->phase) + 1;

	due = o->began_usec + (uint64_t)(time_of(n + o->phase) * USEC_PER_SEC);
	/* where rounding makes it the one that has just been */
	if (due <= from + USEC_PER_MSEC)
		due = o->began_usec + (uint64_t)(time_of(n + 1 + o->phase) * USEC_PER_SEC);
	return due - now_usec;
}

uint64_t outage_window(const struct outage *o, uint64_t now_usec, size_t n)
{
	double interval = interval_at(lasted(o, now_usec)), each = (double)n;
	double most = WINDOW_SHARE * interval * interval / LAST;

	return (uint64_t)(MAX(EACH_MIN * each, MIN(EACH_MAX * each, most)) * USEC_PER_SEC);
}

uint64_t outage_turn(struct outage_turns *t, double r01)
{
	double part = t->n > 0 ? (double)t->window_usec / (double)t->n : 0;

	return (uint64_t)(part * ((double)MIN(t->next++, t->n) + r01));
}
