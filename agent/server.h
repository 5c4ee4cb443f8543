/* Server: what all the reflectors of one API server share: whether it knows WatchList. Pure bookkeeping; time is an
 * argument. Loop thread only. */
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
