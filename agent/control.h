/* Control: HTTP and JSON over the control socket (libmicrohttpd on the loop). It knows paths, methods, status codes and
 * peer credentials; what is answered comes from the agent through control_ops.
 *
 *   GET /v1/status                                  health, source, counts
 *   GET /v1/pods                                    {"pods": [POD...], "synced": BOOL}
 *   GET /v1/pods/NS/NAME  GET /v1/pods/UID          POD
 *   GET /v1/pods/NS/NAME/wait?timeout=30s           POD once it is ready (200), or as it is when time is up (504)
 *   GET /v1/pods/NS/NAME/containers/C/mounts        [OCI runtime-spec mount...]
 *   GET /v1/pods/NS/NAME/containers/C/env           {"env": ["NAME=VALUE"...], "notes": ["sentence"...]}; root alone
 *   GET /v1/pods/NS/NAME/pull-config                {"config": {"auths": {...}}, "notes": [...]}; root alone
 *   GET /v1/secrets[?labelSelector=app%3Dweb&kind=all] {"secrets": [SECRET...], "synced": BOOL}; names, sizes, revisions, never values
 *   GET /v1/secrets/NS/NAME                         SECRET
 *   POST /v1/secrets/NS/NAME/refresh                fetches it; SECRET as it was before. "answers" counts from there on
 *   GET /metrics  GET /healthz[?verbose]  GET /readyz[?verbose]   plain text
 *
 * (UID may stand for NS/NAME everywhere.) Errors are {"error": "sentence"}. */
#pragma once

#include "agent/pages.h"
#include "agent/selector.h"
#include "common/err.h"
#include "common/json.h"
#include "common/loop.h"

struct control;

/* An answer that comes later. */
struct control_later {
	pid_t pid; /* who asks; of our namespace */
	/* For who answers: called when nobody waits for the answer any more, which must not be given then. */
	void (*cancel)(void *owner);
	void *owner;
};
/* What an op returns that has kept `later` and set cancel. */
enum { CONTROL_LATER = 1 };
/* From the loop, once, not from inside the op: as if the op had returned this. */
void control_answer(struct control_later *later, int r, json_t *take_json, const struct err *e);

/* Each returns fresh JSON in *ret. -ENOENT becomes 404, -EINVAL 400, -EACCES 403, -EAGAIN 503, everything else 500; e has the
 * sentence. `ref` is "NS/NAME" or a pod UID. */
struct control_ops {
	int (*status)(void *userdata, json_t **ret, struct err *e);
	int (*pods)(void *userdata, json_t **ret, struct err *e);
	/* A pod nobody knows (yet) is -ENOENT; wait keeps waiting then, too. POD has a boolean "ready". */
	int (*pod)(void *userdata, const char *ref, json_t **ret, struct err *e);
	/* For waits, at each change of anything: false if such a pod is not known or not ready, so that the answer about it, which may
	 * be long, is not made. May be NULL: it is. */
	bool (*may_be_ready)(void *userdata, const char *ref);
	/* Why such a pod is refused: an array, empty if it is not. NULL: out of memory. May be NULL: nothing is refused. */
	json_t *(*refused)(void *userdata, const char *ref);
	/* ref is "NS/NAME". May be NULL, all three: 404. */
	/* kinds: as object_kinds_parse() has them; selector NULL: all */
	int (*secrets)(void *userdata, unsigned kinds, const struct selector *selector, json_t **ret, struct err *e);
	int (*secret)(void *userdata, const char *ref, json_t **ret, struct err *e);
	int (*refresh)(void *userdata, const char *ref, json_t **ret, struct err *e);
	int (*mounts)(void *userdata, const char *ref, const char *container, struct control_later *later, json_t **ret,
		      struct err *e);
	/* Values are in the answers: only root is given them. May be NULL, both: 404. */
	int (*env)(void *userdata, const char *ref, const char *container, struct control_later *later, json_t **ret,
		   struct err *e);
	int (*pull_config)(void *userdata, const char *ref, const char *container, struct control_later *later,
			   json_t **ret, struct err *e);
	page_fn page; /* may be NULL: 404 */
};

/* listen_fd: a listening unix socket (taken). Connections of peers other than root and the members of a group that was
 * allowed get 403; our own user, who is not root, is no exception. */
int control_new(struct loop *l, int take_listen_fd, const struct control_ops *ops, void *userdata,
		struct control **ret_c, struct err *e);
/* From now on processes of this group, as their own or as a supplementary one, may ask, too. */
void control_allow_group(struct control *c, gid_t gid);
void control_free(struct control *c);
DEFINE_CLEANUP(struct control *, control_free);
/* Some pod's state has changed: requests that wait are looked at again. */
void control_notify(struct control *c);
