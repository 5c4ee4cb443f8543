/* What the test API server's files share. Everything here is called with the lock held unless it says otherwise. */
#pragma once

#include <microhttpd.h>
#include <pthread.h>

#include "common/buf.h"
#include "common/list.h"
#include "test/apiserver/apiserver.h"
#include "test/apiserver/objects.h"

#define BODY_MAX    (3 * 1024 * 1024)
#define USER_MAX    256
#define NODE_PREFIX "system:node:"

struct watch {
	struct list link;
	struct apiserver *a;
	struct MHD_Connection *connection;
	uint64_t id, end_usec;
	uint64_t from_rv; /* from a revision that is not there yet, it is silent, as the real server's is */
	const struct kind *kind;
	struct object_selector selector;
	struct buf out;
	uint64_t held_rv; /* what it has not heard begins behind this; 0: it is not held */
	bool bookmarks;
	bool initial_end_due; /* with the next bookmark */
	bool suspended; /* the connection is, right now */
	bool ended; /* nothing is queued any more; what is queued is still sent, */
	bool torn; /* and then the connection is cut in the middle of the response */
	bool gone; /* the client is */
};

struct apiserver {
	struct apiserver_options options;
	char *cert, *key, *client_ca, *token, *url;
	uint16_t port;
	int holder_fd; /* bound, never listening: keeps the port ours while paused */
	int epoll_fd, wake_fd;
	pthread_t ticker;
	bool ticker_started;

	pthread_mutex_t lock;
	struct MHD_Daemon *daemon; /* NULL while paused; changed by the caller's thread only */
	bool stopping; /* connections are being cut */
	bool quit;
	struct objects *objects;
	struct list watches, faults;
	uint64_t next_watch_id, next_bookmark_usec;
	struct apiserver_counts counts;
	char **requests;
	char host[256];
	FILE *request_log;
	size_t n_requests, requests_size;
};

struct reply {
	int code;
	json_t *json; /* or: */
	char *text;
	struct MHD_Response *stream;
	int retry_after;
	bool cut;
};

/* Who asks, as the Node authorizer sees it. */
struct user {
	char name[USER_MAX];
	bool node;
	const char *node_name; /* NULL: any node's pods count */
};

/* A request of the API, taken apart. */
struct call {
	struct MHD_Connection *connection;
	const char *method, *ns, *name, *subresource;
	const struct kind *kind;
	struct object_selector selector;
	struct buf *body;
	bool watch;
};

/* Never NULL: out of memory ends the process, this is a test tool. */
static inline void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static inline char *copy(const char *s)
{
	return s ? must(strdup(s)) : NULL;
}

/* watch.c */

struct watch_options {
	uint64_t rv; /* what to go on from; 0: from what there is */
	uint64_t timeout_sec;
	bool bookmarks;
	bool initial; /* all there is, then a bookmark that says so */
};
/* Takes c's selector. The connection's response; what it owns ends with it. */
struct MHD_Response *watch_start(struct apiserver *a, struct call *c, const struct watch_options *o);
/* It hears what is sent. */
bool watch_runs(const struct watch *w);
/* Ends it after what is queued, cleanly or by cutting the connection. */
void watch_end(struct watch *w, bool torn);
void watch_send(struct watch *w, const char *bytes, size_t len);
/* Looks at a connection that may be suspended once more: a->stopping is new. */
void watch_resume(struct watch *w);
void watch_feed_all(struct apiserver *a, const struct change *c);
/* From now on, or from its beginning on, it hears of nothing, and then of all that it has missed. */
void watch_hold(struct watch *w, bool hold);
/* How many got one. */
size_t watch_bookmark_all(struct apiserver *a);
/* The second thread's main function; takes the lock itself. */
void *watch_ticker(void *cls);
void watch_wake_ticker(struct apiserver *a);

/* access.c */

bool access_authenticate(struct apiserver *a, struct MHD_Connection *connection, struct user *ret_user);
/* NULL: allowed; else a 403 Status. */
json_t *access_authorize(struct apiserver *a, const struct user *user, const struct call *c);

/* api.c */

/* body: what came with the request; too_large: it was cut off. */
struct reply api_serve(struct apiserver *a, struct MHD_Connection *connection, const char *method, const char *url,
		       struct buf *body, bool too_large);
struct reply api_reply_text(int code, const char *text);
struct reply api_reply_status(json_t *take_status);
