/* Client: requests to a running daemon over its control socket. */
#pragma once

#include "common/err.h"
#include "common/json.h"

struct client_reply {
	unsigned status; /* HTTP */
	json_t *json;
};
void client_reply_deinit(struct client_reply *r);
#define cleanup_client_reply cleanup(client_reply_deinit)

/* GET path ("/v1/...", percent-encoded) from <runtime_dir>/control.sock; blocks for at most timeout_usec. Any HTTP
 * status is success here. -ENOTCONN: nobody listens there; -EACCES: we may not; -ETIMEDOUT: no answer in time; -ECONNRESET: the connection
 * broke; -EPROTO: the answer is no JSON; -ENAMETOOLONG: runtime_dir does not fit a socket address; -ENOMEM. */
int client_get(const char *runtime_dir, const char *path, uint64_t timeout_usec, struct client_reply *ret,
	       struct err *e);
/* GET of what is text and no JSON: the metrics. */
int client_get_text(const char *runtime_dir, const char *path, uint64_t timeout_usec, unsigned *ret_status,
		    char **ret_text, struct err *e);
/* POST with an empty body, else the same. */
int client_post(const char *runtime_dir, const char *path, uint64_t timeout_usec, struct client_reply *ret,
		struct err *e);
/* "/v1/pods/REF" + suffix for "NS/NAME" or a UID. -EINVAL: it is neither; -ENOMEM. */
int client_pod_path(const char *ref, const char *suffix, char **ret_path, struct err *e);
