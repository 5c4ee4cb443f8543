/* Reflector: keeps up with one kind of object at the API server: list, watch, relist, with resource versions,
 * bookmarks, WatchList, 410 and backoff as client-go's reflector has them. A state machine: requests, time and chance come from its
 * environment, so all of it is tested without a server and without sleeping. */
#pragma once

#include "agent/api.h"
#include "agent/http.h"
#include "agent/server.h"
#include "common/json.h"

struct reflector;

#define REFLECTOR_LIST_BYTES_MAX ((size_t)(32 * 1024 * 1024)) /* of one page; of an object asked for by name: 4 MiB */

struct reflector_get {
	const char *target; /* path and query */
	uint64_t timeout_usec; /* of the whole request */
	uint64_t silence_usec; /* 0: it may be silent */
	bool is_watch;
};

struct reflector_env {
	uint64_t (*now)(void *userdata); /* monotonic, microseconds */
	double (*random01)(void *userdata); /* in [0,1) */
	/* Starts a request; one at a time. It is answered later, by reflector_head(), reflector_body()... and
	 * reflector_done(), and never from inside get(). Negative errno: it could not be started. */
	int (*get)(void *userdata, const struct reflector_get *get);
	/* The request that runs will not be answered any more. */
	void (*cancel)(void *userdata);
	/* Calls reflector_wake() once, later. A new call replaces the old one. */
	void (*wake_after)(void *userdata, uint64_t delay_usec);
	void (*wake_off)(void *userdata);
	/* The server has gone back in time (server_goes_back()): all other reflectors must be refreshed, later. */
	void (*went_back)(void *userdata);
	/* A watch has ended before its time, as all do when the server or a connection goes: how long until it is begun
	 * anew; 0: at once. NULL: always at once. */
	uint64_t (*lost)(void *userdata);
};

enum reflector_event { REFLECTOR_LISTED, REFLECTOR_ADDED, REFLECTOR_MODIFIED, REFLECTOR_DELETED };

/* Each may call reflector_stop(), none reflector_free() or reflector_refresh(). */
struct reflector_handler {
	/* A list comes: LISTED objects, maybe in pages, maybe begun again. */
	void (*list_begin)(void *userdata);
	/* obj is borrowed. It is of the right kind, name and namespace. */
	void (*object)(void *userdata, enum reflector_event event, const json_t *obj);
	/* The list is complete: what was not in it is not there. */
	void (*list_end)(void *userdata);
	/* Something has failed and is tried again; told once for each change of the sentence. status: the HTTP status, 0 if
	 * there was no answer. Everything told before stays valid. */
	void (*failed)(void *userdata, const struct err *e, int status);
	/* What had failed works. */
	void (*recovered)(void *userdata);
};

/* resource, server, env, handler and their texts are borrowed until reflector_free(). */
int reflector_new(const struct api_resource *resource, struct server *server, const struct reflector_env *env,
		  const struct reflector_handler *handler, void *userdata, struct reflector **ret_r);
void reflector_free(struct reflector *r);
DEFINE_CLEANUP(struct reflector *, reflector_free);
/* Before the start: this is the one that finds out whether a server that was lost has gone back in time. */
void reflector_be_sentinel(struct reflector *r);
void reflector_start(struct reflector *r);
/* Cancels what runs; nothing is called any more. */
void reflector_stop(struct reflector *r);
/* Drops what runs and lists now, asking for the most recent state. A failure is told anew. Instead of
 * reflector_start() it starts. */
void reflector_refresh(struct reflector *r);

/* What it knows may be another server's word: if it waits, it is for a list, and not to go on with its watch. False: a watch
 * runs, or is asked for. */
bool reflector_list_next(struct reflector *r);
/* It waits for its next try; or for its turn, or to begin a watch anew. */
bool reflector_waits(const struct reflector *r);
/* It does so because the server did not answer, or answers nobody (reflector_hold()). */
bool reflector_waits_for_server(const struct reflector *r);
/* The server answers nobody, and e says why (NULL: that was told): if it waits, it does so until it is told to try: by
 * reflector_wake() or reflector_server_answers(). Its own time does not count any more. */
void reflector_hold(struct reflector *r, const struct err *e);
/* Somebody has got an answer: if it waits because there was none, it tries again after this time, but not before the server
 * wants to hear of it (Retry-After). */
void reflector_server_answers(struct reflector *r, uint64_t delay_usec);

/* From the environment. */
void reflector_head(struct reflector *r, int status);
void reflector_body(struct reflector *r, const char *data, size_t len);
void reflector_done(struct reflector *r, const struct http_result *result);
void reflector_wake(struct reflector *r);

/* The resource version of what was told last; in list_begin() still that of before. Borrowed until the next call; NULL: nothing was. */
const char *reflector_version(const struct reflector *r);
/* The first list was complete. */
bool reflector_is_synced(const struct reflector *r);
/* The list that was told last, or is at its list_end(), was asked for as the most recent state. */
bool reflector_told_latest(const struct reflector *r);
/* A list is under way, or waits for its turn. */
bool reflector_is_listing(const struct reflector *r);
/* A watch runs: the server has answered it. */
bool reflector_is_watching(const struct reflector *r);
