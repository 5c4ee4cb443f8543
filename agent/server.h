/* Server: what all the reflectors of one API server share: whether it knows WatchList, how many requests a second it may
 * be asked, and whether it has gone back in time. Pure bookkeeping; time is an argument. Loop thread only. */
#pragma once

#include "common/base.h"

/* WatchList: the list comes as the first events of the watch (sendInitialEvents=true) and its end as a bookmark. One
 * asks first, the others list meanwhile. A refusal holds for a day, or until the connection to the server was lost: it
 * may be another one then. */
enum server_stream { SERVER_STREAM_UNKNOWN, SERVER_STREAM_WORKS, SERVER_STREAM_REFUSED };

struct server {
	enum server_stream stream;
	const void *prober; /* who asks, while it is unknown; NULL: nobody */
	uint64_t refused_usec;

	uint64_t epoch; /* how often it has gone back */

	unsigned qps, burst; /* qps 0: no limit */
	uint64_t due_nsec; /* when the bucket would be full again */
	uint64_t prompt_nsec; /* the same of the part for server_admit_prompt() */
};
#define SERVER_INIT ((struct server){ .stream = SERVER_STREAM_UNKNOWN })

/* Whether `who` may try it; if so, one of the three below must follow. now is monotonic. */
bool server_may_stream(struct server *s, const void *who, uint64_t now_usec);
void server_stream_works(struct server *s, const void *who);
void server_stream_refused(struct server *s, const void *who, uint64_t now_usec);
/* The request failed for a reason that says nothing about this, or was given up. */
void server_stream_undecided(struct server *s, const void *who);
/* It did not answer for a time, and does again: it may be another one. */
void server_was_away(struct server *s);

/* Whether a request failed because nobody answered: then the first sign of the server ends the wait for the next try. Not
 * where it had begun to answer (heard), even if with nonsense or by half: else whoever is well would be a reason to ask
 * again for what is not. And whose wait was ended for nothing (hurried) waits its whole time now: a connection may be lost
 * each time because of what is asked for. */
bool server_is_unreachable(bool heard, bool hurried, int code);

/* The limit of requests that are no watches (kubeAPIQPS, kubeAPIBurst): a token bucket of `burst`, refilled with `qps` a
 * second. Takes one, and returns how long to wait before the request is made; 0: not at all. Who has waited does not
 * ask again. now is monotonic. */
uint64_t server_admit(struct server *s, uint64_t now_usec);
/* The same for what matters less: it is taken only while at least half of the bucket is left for the others. Else
 * nothing is taken, and it has to ask again after the time that is returned. */
uint64_t server_admit_spare(struct server *s, uint64_t now_usec);
/* The same for what somebody waits for at this moment, and no longer than within_usec: a quarter of the limit goes past
 * those who have taken one and wait. What would have to wait as long as that takes nothing, and does not wait. Who
 * needs many (tokens, pods in doubt; within_usec UINT64_MAX) takes the next one only when it has used the last, so that
 * all others are behind one of each at most. */
uint64_t server_admit_prompt(struct server *s, uint64_t now_usec, uint64_t within_usec);

/* How long to wait after a failure. retry_after_sec: what the server has asked for (Retry-After); <= 0: nothing. delay_usec: the
 * backoff's. Where the server wants more than that, a part of it comes on top (r01 in [0,1)): all clients that were sent away
 * must not come back at the same moment. *ret_not_before_usec: until when that counts even if the server is found to be well before; 0:
 * nothing was asked for. */
uint64_t server_retry_delay(int64_t retry_after_sec, uint64_t delay_usec, double r01, uint64_t now_usec,
			    uint64_t *ret_not_before_usec);

/* Whether version a is of before b; false if either is none that can be compared, or NULL. */
bool server_is_lower(const char *a, const char *b);
/* A version that is followed by a lower one: the etcd behind the server was restored from an older state, or it is another
 * server. epoch: server.epoch when `old` was told. True for the first who notices, for whom a new epoch begins; the
 * versions of all others are worth nothing any more. */
bool server_goes_back(struct server *s, uint64_t epoch, const char *old, const char *fresh);
