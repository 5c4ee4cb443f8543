/* Poller: keeps up with one object at the API server by asking for it, again and again or only when somebody needs it:
 * the strategies Cache and Get, the check of a silent watch, the node's annotations. A state machine as the reflector
 * is, in the same environment and with the same handler: an answer is told as a list of one object, or of none. */
#pragma once

#include "agent/reflector.h"

struct poller;

struct poller_pace {
	uint64_t
		period_usec; /* from one good answer to the next request; 0: only on demand, and failures are not retried */
	double jitter; /* period * (1 + jitter * random in [0,1)) */
	bool always_latest; /* each request asks for the most recent state, and so the server's storage */
};

/* resource (field_value is the object's name), server, env, handler and their texts are borrowed until poller_free(). */
int poller_new(const struct api_resource *resource, struct server *server, const struct reflector_env *env,
	       const struct reflector_handler *handler, void *userdata, struct poller **ret_p);
/* Not from inside a handler's call. */
void poller_free(struct poller *p);
DEFINE_CLEANUP(struct poller *, poller_free);
/* From now on, also for the wait that runs: what is older than the new period is asked for within its jitter. */
void poller_set_pace(struct poller *p, const struct poller_pace *pace);
/* Cancels what runs; nothing is called any more. */
void poller_stop(struct poller *p);
/* Asks now, or as soon as it is its turn (server_admit()). The first time for the most recent state, later for any that the server has at hand, unless the pace says
 * otherwise. What runs or waits for its turn will do; with always_latest, or for a need, it is asked once more behind one that
 * runs. */
void poller_ask(struct poller *p);
/* From now on somebody needs an answer of the storage to a request that is made after this: the next one is such a request,
 * and its failure is tried again whatever the pace. need: a number that grows. It asks nothing by itself. */
void poller_need(struct poller *p, uint64_t need);
/* In the handler of an answer, and after: the need that it is for. 0: none. */
uint64_t poller_answered_need(const struct poller *p);
/* Asks for the most recent state now; what runs is dropped. A failure is told anew. */
void poller_refresh(struct poller *p);
/* It has been admitted (server_admit()) for when its wait is over. */
bool poller_waits_for_turn(const struct poller *p);
/* As those of a reflector. */
bool poller_waits(const struct poller *p);
bool poller_waits_for_server(const struct poller *p);
void poller_hold(struct poller *p, const struct err *e);
void poller_server_answers(struct poller *p, uint64_t delay_usec);

/* From the environment. */
void poller_head(struct poller *p, int status);
void poller_body(struct poller *p, const char *data, size_t len);
void poller_done(struct poller *p, const struct http_result *result);
void poller_wake(struct poller *p);
