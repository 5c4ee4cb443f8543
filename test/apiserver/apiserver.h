/* A Kubernetes API server for tests: pods, secrets and events, get/list/watch with field selectors, limit/continue,
 * resourceVersion, bookmarks, compaction (410), errors on demand, HTTP or HTTPS with client certificates or bearer
 * tokens. Runs in threads of its own inside a test, or as the program build/apiserver. All calls are thread-safe. */
#pragma once

#include <jansson.h>

#include "common/err.h"

struct apiserver;

/* What it does with sendInitialEvents=true: refuse it as 1.19 and later do where it is off, serve it, know nothing of it
 * and of resourceVersionMatch as 1.18 and earlier, or serve it and end the initial events only on apiserver_bookmark(). */
enum apiserver_watch_list {
	APISERVER_WATCH_LIST_REFUSED,
	APISERVER_WATCH_LIST_SERVED,
	APISERVER_WATCH_LIST_IGNORED,
	APISERVER_WATCH_LIST_LATE
};

struct apiserver_options {
	uint16_t port; /* 0: any free one */
	const char *cert, *key; /* PEM texts; NULL: plain HTTP */
	const char *client_ca; /* PEM text: client certificates are required and checked */
	const char *token; /* required as bearer token; NULL: not asked for */
	unsigned bookmark_msec; /* how often watches get a BOOKMARK; 0: only on apiserver_bookmark() */
	enum apiserver_watch_list watch_list;
	bool node_authorizer; /* secrets only one by one and only when a pod names them, events only to be made or changed, as for
			      * system:node: */
	const char *request_log; /* file to which each request is appended, a JSON object a line; NULL: none */
};

int apiserver_start(const struct apiserver_options *o, struct apiserver **ret_a, struct err *e);
void apiserver_stop(struct apiserver *a);
uint16_t apiserver_port(const struct apiserver *a);
/* "https://127.0.0.1:PORT" or "http://...". Borrowed. */
const char *apiserver_url(const struct apiserver *a);

/* Creates or replaces; sets uid (new objects), resourceVersion, creationTimestamp, and the defaults that the server sets.
 * kind is taken from the object (Secret, ConfigMap, Pod, Event). Returns the new resourceVersion. The JSON is borrowed, and not validated:
 * what comes by HTTP is. */
uint64_t apiserver_put(struct apiserver *a, const json_t *object);
/* The same from JSON text; asserts that it is JSON. */
uint64_t apiserver_put_text(struct apiserver *a, const char *json_text);
/* All objects of the kind at this moment. The caller's. */
json_t *apiserver_list(struct apiserver *a, const char *kind);
bool apiserver_delete(struct apiserver *a, const char *kind, const char *ns, const char *name);

/* Forgets the history: watches from an older resourceVersion get 410. */
void apiserver_compact(struct apiserver *a);
/* What is done to running watches says how many there were: a client may have said that it will watch, and nobody have
 * heard it yet. */

/* Ends all running watches: cleanly, or in the middle of a line. */
size_t apiserver_end_watches(struct apiserver *a, bool torn) attr_warn_unused;
/* Sends each running watch that wants them a BOOKMARK with the current resourceVersion. */
size_t apiserver_bookmark(struct apiserver *a) attr_warn_unused;
/* Sends bytes as they are into all running watches of the kind ("Secret", "ConfigMap", "Pod"). */
size_t apiserver_inject(struct apiserver *a, const char *kind, const char *bytes) attr_warn_unused;
/* The same, and apiserver_end_watches(), for the watches by metadata.name=name only. */
size_t apiserver_inject_one(struct apiserver *a, const char *kind, const char *name,
			    const char *bytes) attr_warn_unused;
size_t apiserver_end_watch(struct apiserver *a, const char *kind, const char *name, bool cut) attr_warn_unused;

/* Running watches of the kind hear of nothing any more, as behind a slow proxy; then of all that they have missed. */
size_t apiserver_hold_watches(struct apiserver *a, const char *kind, bool hold) attr_warn_unused;

/* From the next request on. */
void apiserver_set_watch_list(struct apiserver *a, enum apiserver_watch_list watch_list);
/* The bearer token that counts from the next request on. */
void apiserver_set_token(struct apiserver *a, const char *token);
/* The next n requests whose target (path?query) contains `match` are answered with this status and body (a Status object
 * when body is NULL) and Retry-After when retry_after >= 0; status 0 cuts the connection instead. n = -1: until called
 * again with n = 0. */
void apiserver_fail(struct apiserver *a, const char *match, int status, const char *body, int retry_after, int n);
/* Stops accepting and cuts all connections / starts again on the same port. */
void apiserver_pause(struct apiserver *a);
int apiserver_resume(struct apiserver *a, struct err *e);

struct apiserver_counts {
	uint64_t n_requests, n_get, n_list, n_watch, n_unauthorised, n_forbidden;
	size_t n_watches_running, n_connections;
};
struct apiserver_counts apiserver_counts(struct apiserver *a);
/* The target (path?query) of the i-th request since the start, "METHOD target"; NULL past the end. Caller frees. */
char *apiserver_request(struct apiserver *a, size_t i);
/* The Host header of the last request; "" if there was none. Caller frees. */
char *apiserver_host(struct apiserver *a);
