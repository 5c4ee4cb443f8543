/* Outage: when a client asks whether its API server is there again, and how those that have waited for it come back. Pure
 * arithmetic; time (monotonic, microseconds) and chance are arguments.
 *
 * One client asks about as often as one of client-go's reflectors does, however many objects it follows: from every 0.8 s
 * at first to every 46 s, where the intervals grow with the time that the server has been away. */
#pragma once

#include "common/base.h"

struct outage {
	bool runs;
	double phase; /* in [0,1): this client's place among all */
	uint64_t began_usec, ended_usec; /* began: moved on by the time in which all was well, where that was short */
	uint64_t not_before_usec; /* the server has asked for it (Retry-After) */
};
#define OUTAGE_INIT ((struct outage){ .runs = false })

/* Nobody answers. One that follows another within two minutes is its continuation: a server that answers now and then is
 * not asked any sooner for that. r01 in [0,1). Nothing happens if one runs. */
void outage_begin(struct outage *o, uint64_t now_usec, double r01);
/* Somebody has answered. */
void outage_end(struct outage *o, uint64_t now_usec);
/* While it runs: as if it had begun now. */
void outage_restart(struct outage *o, uint64_t now_usec, double r01);
/* The server wants to be asked nothing for so long. It has only to be said by whom it was asked; who waits after it,
 * waits for his next moment as well, so that not all come when it ends. */
void outage_wait(struct outage *o, uint64_t now_usec, uint64_t delay_usec);
/* While it runs: how long until the server is asked again; more than 0. */
uint64_t outage_next(const struct outage *o, uint64_t now_usec);
/* The time over which n come back when it ends: it grows with their number, up to a part of the interval of asking. */
uint64_t outage_window(const struct outage *o, uint64_t now_usec, size_t n);

/* Those who come back, one after the other, each at a random moment of his part of the window. */
struct outage_turns {
	uint64_t window_usec;
	size_t n, next;
};
/* How long the next one waits. */
uint64_t outage_turn(struct outage_turns *t, double r01);
