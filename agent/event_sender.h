/* Event sender: sends an API server the events that events.c lets through, one at a time, behind all other requests.
 * Nothing waits for it, and nothing of it is a problem of the daemon's: what cannot be told is counted. */
#pragma once

#include "agent/events.h"
#include "agent/http.h"
#include "common/err.h"
#include "common/loop.h"

struct event_sender;

struct event_sender_world {
	const char *node_name;
	bool resumes; /* another agent served before this one */
	/* Calls events_look() for each volume that is in trouble. */
	void (*look)(void *userdata, struct events *ev, uint64_t now_usec);
	events_find_fn find;
	/* How long the next request has to wait for others; USEC_INFINITY: the server is away. 0: it is counted. */
	uint64_t (*admit)(void *userdata);
	struct http *(*http)(void *userdata); /* asked for when admit has said 0 */
	/* The server has begun to answer. NULL: nobody wants to know. */
	void (*answered)(void *userdata, int status);
	void *userdata;
	uint64_t retry_usec; /* from one try to the next, and the first pause after a refusal; 0: 10 s */
};

/* All is copied but the userdata. */
int event_sender_new(struct loop *l, const struct event_sender_world *world, const struct source_events *tuning,
		     struct event_sender **ret_s);
/* Before the HTTP client goes. What was not sent is not sent. */
void event_sender_free(struct event_sender *s);
DEFINE_CLEANUP(struct event_sender *, event_sender_free);
void event_sender_tune(struct event_sender *s, const struct source_events *tuning);
/* All pods are known: it may begin. Again: nothing. */
void event_sender_open(struct event_sender *s);
/* Some volume's state has changed: it is looked for trouble, soon. */
void event_sender_look(struct event_sender *s);
/* events_notice(), now. */
void event_sender_notice(struct event_sender *s, enum event_kind kind, const struct event_pod *pod,
			 const char *message);

struct event_sender_stats {
	struct events_stats events;
	uint64_t n_sent, n_failed; /* taken by the server, given up */
	char error[ERR_TEXT_MAX]; /* why the last one was not taken; "" when it was */
};
void event_sender_stats(const struct event_sender *s, struct event_sender_stats *ret);
