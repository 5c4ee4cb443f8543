/* What the parts of the API server source share: source_api.c (the source), source_api_follow.c
 * (reflectors, pollers and their environment), source_api_away.c (what they do while the server is away, and after),
 * source_api_pods.c, source_api_objects.c and source_api_node.c. For nobody else. */
#pragma once

#include "agent/credentials.h"
#include "agent/fair_queue.h"
#include "agent/http.h"
#include "agent/kubeconfig.h"
#include "agent/outage.h"
#include "agent/poller.h"
#include "agent/reflector.h"
#include "agent/server.h"
#include "agent/source_api.h"
#include "common/backoff.h"
#include "common/buf.h"
#include "common/list.h"
#include "common/log.h"
#include "common/map.h"
#include "common/secmem.h"

enum todo { TODO_NOTHING, TODO_START, TODO_ASK, TODO_REFRESH, TODO_STOP, TODO_FREE };

/* What a request was, for as long as it may have to be repeated. */
struct repeatable {
	struct reflector_get get;
	char *target;
	uint64_t generation; /* of the credentials that it had */
};

/* What was last said in the log of what is wrong with somebody. */
struct said {
	char *text;
	uint64_t last_usec; /* when it was last wrong in this way, said or not */
	struct log_limit limit;
};

/* A 401 that is kept back until the files have been read. */
struct refusal;

/* A reflector or a poller, and what it needs of the world. */
struct follower {
	struct source_api *source;
	void *owner; /* whose it is; the handler's business */
	struct api_resource resource;
	const struct reflector_handler *handler;
	struct reflector *reflector; /* one of these, or none: stopped, or not started yet */
	struct poller *poller;
	bool polls;
	struct poller_pace pace; /* if it polls */
	uint64_t need; /* the same: of the next request (poller_need()) */
	bool stopped; /* what there is of these tells nothing any more */
	struct http_request *request;
	struct repeatable repeatable;
	struct refusal *refusal;
	struct list refused_link; /* waits for the files */
	uint64_t heard_usec; /* when the server last sent something for it */
	struct list
		held_link; /* waits until the server is back, or it is its turn to ask whether it is; or is untimed */
	struct loop_source *timer; /* made when it is first needed */
	struct list todo_link;
	enum todo todo;
	void (*free)(struct follower *f);
};

/* A pod of the server's, by namespace and name. */
struct known_pod {
	char *key;
	char *uid, *version; /* as told; NULL: never */
	char *rejected, *rejected_uid; /* why, and whose revision that is; uid NULL: it has none that is one */
	bool rejected_said; /* in the log */
	uint64_t first_generation, generation; /* of the list at which it came, of the last one that had it */
	size_t weight; /* as told */
	bool no_room; /* why it was refused last */
	bool mirror; /* of a static pod; the kubelet makes it again, whatever becomes of the others */
	bool in_doubt; /* a list says that it is gone, and is not believed yet */
	bool said_gone; /* and so did the answer when it was asked for by its name */
	bool recalled; /* but it was there, by the storage's own memory */
	bool has_elder; /* what lists have under its name is a pod from before it */
};

/* How far it is with pods that have vanished in a suspicious way (source_api_doubt.c). */
enum doubt_phase {
	DOUBT_NONE,
	DOUBT_ASKS, /* for each of them, and then what the storage remembers */
	DOUBT_WAITS, /* each is said to be gone */
	DOUBT_LISTS, /* a list is to say it again */
	DOUBT_CONFIRMS, /* has said it, and each is asked for again */
};

struct source_api {
	struct source source;
	struct loop *loop;
	struct files *files;
	struct kubeconfig *kubeconfig;
	struct http *http; /* NULL before the start */
	uint64_t ping_usec;
	char *where; /* the kubeconfig's path, for errors */
	struct credentials *credentials;
	struct server server;
	char *node_name;
	const struct source_sink *sink;
	void *userdata;

	struct source_tuning tuning;

	struct follower pods;
	struct map known_pods;
	size_t pods_weight; /* of all of them; PODS_WEIGHT_MAX */
	size_t n_no_room;
	uint64_t generation;
	bool pods_told; /* pods_synced() */
	uint64_t pods_epoch; /* the server's (server.h), when a list was last believed */
	bool expects_pods; /* until then: an earlier process was told of some */
	bool pods_lost; /* the server was, and they have not been listed since then: it may be another one */
	size_t n_listed; /* in the list that comes, without mirror pods */
	char *pods_failure;
	enum reason pods_reason;
	uint64_t pods_failed_usec; /* CLOCK_REALTIME since when there is one */
	struct said pods_said;
	bool pods_failure_said;
	struct {
		enum doubt_phase phase;
		bool admitted; /* the timer is for a request that has been admitted for when it fires */
		uint64_t first_generation, generation; /* of the list that began it, of the last one that was doubted */
		char *version; /* at which all pods were known, before that list; NULL: none */
		bool has_recalled; /* whether the storage remembers them was answered */
		unsigned n_recalls; /* times that it was asked */
		struct http_request *request;
		struct loop_source *timer; /* made when it is first needed */
		struct backoff backoff;
		char *key; /* whom the request is about */
		struct buf body;
		char *failure;
	} doubt;

	struct map wanted;
	struct map tokens;
	uint64_t token_at_usec; /* monotonic: when the timer is due at the latest; 0: it is not set */
	struct loop_source *token_timer, *token_turn_timer;
	struct fair_queue token_queue; /* by namespace */
	struct log_limit token_failures;
	bool token_admitted; /* the first in it is, for when token_turn_timer fires */
	size_t n_rejected;
	bool absence_held; /* of some wanted object: not believed, because of the pods */
	struct log_limit refusals;
	struct loop_source *check_timer, *starved_timer;
	struct list untimed; /* followers for whose timer there was no memory */
	uint64_t check_at_usec; /* when check_timer is set to; 0: it is not */

	struct follower node;
	bool node_seen, node_missing_told, node_needed;
	struct pairs allocatable; /* as told */
	char *node_refused; /* why what it says is not taken, as that was said; NULL: it is */
	int64_t node_ttl_sec; /* from the node's annotation; -1: it says none */

	struct list fetches;
	struct list todo, refused;
	struct loop_source *do_todo, *awake;
	bool started;
	bool server_away; /* the outage that runs is one without any answer, not one with 503 */
	struct {
		struct outage outage;
		struct err why;
		struct list held; /* who asks next is first */
		struct loop_source *timer; /* made when it is first needed */
		uint64_t next_usec; /* when the timer is due */
		bool is_due; /* there was nobody who could ask */
		bool pods_asked; /* the last time */
		struct follower *asks; /* who asks whether it is back; NULL: it is not known */
		uint64_t lost_usec; /* when a watch was last lost */
		size_t n_lost; /* that were lost together */
	} away;
	uint64_t n_reconnects;
	uint64_t last_contact_usec;
};

static inline struct source_api *api_of(const struct source *s)
{
	return container_of((struct source *)(uintptr_t)s, struct source_api, source);
}

/* ---- source_api.c ---- */

/* Of -ENOMEM, right behind what made an object: of which memory there is none. */
static inline enum reason api_reason_of_no_memory(void)
{
	return secmem_was_full(NULL) ? REASON_SECRET_MEMORY_FULL : REASON_OUT_OF_MEMORY;
}
/* Keeps a copy; what cannot be kept is told again, that is all. */
void api_keep_text(char **where, const char *text);
/* Whether it is to be logged. What is wrong again in the same way after it was well for a moment, as where each list is good
 * and each watch is not, is no news; and nobody is said to be wrong in ever new ways more often than now and then. */
bool api_is_news(struct source_api *s, struct said *said, const char *text);
/* A server can refuse to make sense as often as it likes: it is logged within bounds. */
bool api_warn_of_refusal(struct source_api *s, const struct log_field *fields, const char *text);

/* ---- source_api_follow.c ---- */

void follower_init(struct follower *f, struct source_api *s, const struct api_resource *resource,
		   const struct reflector_handler *handler, void *owner);
/* For one that polls. Takes effect at once. */
void follower_set_pace(struct follower *f, const struct poller_pace *pace);
void follower_deinit(struct follower *f);
/* Does it from the loop, soon, never under the feet of one that is just calling: starts anew, asks (a poller), fetches
 * the most recent state, stops, frees. What is not running is started instead. Of two that meet, the later one counts,
 * but nothing undoes a TODO_FREE, and a fetch or a start is more than an ask. TODO_FREE cannot fail. */
int follower_do_later(struct follower *f, enum todo todo);
/* Nothing is told any more; what it is goes later. */
void follower_stop(struct follower *f);
bool follower_is_listing(const struct follower *f);
bool follower_is_watching(const struct follower *f);
/* As that of a reflector. */
bool follower_list_next(struct follower *f);
/* It waits because the server does not answer. */
bool follower_waits_for_server(const struct follower *f);
void follower_server_answers(struct follower *f, uint64_t delay_usec);
/* Its wait is over: it asks, whatever else is the case. */
void follower_wake(struct follower *f);
/* Wakes those for whose timer there was no memory. */
void follower_wake_untimed(struct source_api *s);
/* This one has found that the server has gone back in time (server_goes_back()). */
void api_went_back(struct follower *f);
/* The files of the credentials have been read. */
void follower_on_credentials(void *userdata);
/* The callback of do_todo. */
void follower_on_todo(struct loop_source *source, void *userdata);

/* ---- source_api_away.c ---- */

void api_away_init(struct source_api *s);
void api_away_deinit(struct source_api *s);
/* An answer has begun, to whomever: if the server was away, it is back, unless it is one that says that it is not. */
void api_answered(struct source_api *s, int status);
/* A request has failed. status: 0 if nobody has answered it. */
void api_unanswered(struct source_api *s, int status, int64_t retry_after_sec, const struct err *e);
/* A follower's wait is over. True: the server is away, and it waits on. */
bool api_holds(struct follower *f);
/* A follower's request has ended, with this status (0: none): if it waits for the server from now on, its own time does not
 * count, but a Retry-After does. */
void api_hold_if_waiting(struct follower *f, int status);
/* There is an outage, and an answer with this status does not end it. */
bool api_is_still_away(const struct source_api *s, int status);
/* A follower waits no longer, or for something else. */
void api_release(struct follower *f);
void api_gone(struct follower *f);
/* A person wants to know: asks now, whatever the interval, if the server is away. */
void api_ask_whether_back(struct source_api *s);
/* The machine has slept: an outage of before says nothing any more. */
void api_awake(struct source_api *s);
/* Monotonic: when the node asks next whether the server is back; at the latest now if it does so. 0: there is no outage. */
uint64_t api_next_try(const struct source_api *s);
/* How long a follower waits that has lost its watch. */
uint64_t api_lost(struct follower *f);

/* ---- source_api_pods.c ---- */

void api_pods_init(struct source_api *s);
void api_pods_deinit(struct source_api *s);
/* Forgets it, and tells; k is gone afterwards. */
void api_pod_gone(struct source_api *s, struct known_pod *k);
/* What is said of one of those for which there is no room; NULL: there is none. */
const char *api_pod_no_room(const struct source_api *s);
void api_pod_refusals(const struct source *source, source_refusal_fn fn, void *userdata);
/* A complete list of pods has been told. */
void api_pods_told(struct source_api *s);
int api_expect_pod(struct source *source, const char *ns, const char *name, const char *uid);

/* ---- source_api_doubt.c ---- */

void api_doubt_init(struct source_api *s);
void api_doubt_deinit(struct source_api *s);
/* A list lacks pods that are known, and is not believed for that. Those that are gone are told, once that is certain, and then api_pods_told(). */
void api_doubt_begin(struct source_api *s);
/* One has come, and is no mirror pod: a new list, if it is only waited, for it may be well again. */
void api_doubt_pod_came(struct source_api *s);
/* Another list is believed: nobody is asked for any more. */
void api_doubt_end(struct source_api *s);
/* The server has gone back to an older state since a list was last believed. */
bool api_doubt_has_gone_back(const struct source_api *s);
/* The list that has just ended lacks it, and it is no pod that has come with that older state. */
bool api_doubt_concerns(const struct source_api *s, const struct known_pod *k);
/* A list of pods begins: what is known is of before it. */
void api_doubt_list_begins(struct source_api *s);
/* Whoever says now that an object is not there may have lost all it had: that is not believed. */
bool api_doubt_is_general(const struct source_api *s);

/* ---- source_api_objects.c ---- */

int api_objects_init(struct source_api *s);
void api_objects_deinit(struct source_api *s);
int api_objects_start(struct source_api *s);
/* The tuning or the node's TTL is another. */
void api_objects_retune(struct source_api *s, enum source_strategy before);
/* The server has answered the watch of one of them, and it has not ended yet. */
bool api_objects_any_watch(const struct source_api *s);
/* How many wait for the server. */
size_t api_objects_n_waiting(const struct source_api *s);
/* Those that pods wait for, or the others, have their turns. */
void api_objects_server_answers(struct source_api *s, bool wanted_now, struct outage_turns *turns);
/* Fetches each one's most recent state, but this follower's. */
void api_objects_refresh_all(struct source_api *s, const struct follower *except);
/* What was said to be absent and not believed is asked for again. */
void api_objects_end_doubt(struct source_api *s);
/* Fills in what concerns the Secrets. */
void api_objects_health(const struct source_api *s, struct source_health *ret);
int api_want(struct source *source, enum object_kind kind, const char *ns, const char *name);
void api_unwant(struct source *source, enum object_kind kind, const char *ns, const char *name);
int api_need(struct source *source, enum object_kind kind, const char *ns, const char *name);
int api_refresh(struct source *source, enum object_kind kind, const char *ns, const char *name);

/* ---- source_api_fetch.c ---- */

int api_fetch(struct source *source, enum source_thing thing, const char *ns, const char *name, source_fetched_fn fn,
	      void *userdata, struct source_fetch **ret_f);
void api_unfetch(struct source *source, struct source_fetch *f);
void api_fetches_deinit(struct source_api *s);

/* ---- source_api_tokens.c ---- */

int api_tokens_init(struct source_api *s);
void api_tokens_deinit(struct source_api *s);
void api_tokens_start(struct source_api *s);
/* As those of the objects. */
size_t api_tokens_n_waiting(const struct source_api *s);
void api_tokens_server_answers(struct source_api *s, struct outage_turns *turns);
/* The machine has slept: looks at all, whose times have passed meanwhile. */
void api_tokens_slept(struct source_api *s);
void api_tokens_health(const struct source_api *s, struct source_health *ret);
/* As api_want() and the others, of OBJECT_TOKEN. */
int api_tokens_want(struct source_api *s, const char *ns, const char *name);
void api_tokens_unwant(struct source_api *s, const char *ns, const char *name);
int api_tokens_refresh(struct source_api *s, const char *ns, const char *name);

/* ---- source_api_node.c ---- */

void api_node_init(struct source_api *s);
void api_node_deinit(struct source_api *s);
int api_node_start(struct source_api *s);
void api_node_retune(struct source_api *s);
/* How old a Secret may become under Cache. */
uint64_t api_node_ttl(const struct source_api *s);
void api_need_node(struct source *source);
