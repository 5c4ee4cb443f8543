/* Environment: the variables that a container's env and envFrom make, as the kubelet makes them (kubelet_pods.go,
 * makeEnvironmentVariables()), but for those of Services, which are the runtime's business. Values are in it: it lives as
 * long as one answer takes, in memory that is wiped. */
#pragma once

#include "agent/pod.h"
#include "common/buf.h"
#include "common/json.h"

struct environment;

/* All names and values together, those that were replaced by a later one included: Linux gives a process no more by
 * default. */
#define ENVIRONMENT_BYTES_MAX	  ((size_t)2 << 20)
#define ENVIRONMENT_VARIABLES_MAX 65536 /* and elements of env */
/* One object counts each time that it is referred to. */
#define ENVIRONMENT_FROM_MAX ((size_t)1024) /* elements of envFrom */
#define ENVIRONMENT_KEYS_MAX 131072 /* keys of their objects */

/* Called for each Secret and ConfigMap that the environment refers to, in its order; some more than once. */
typedef int (*environment_refer_fn)(void *userdata, enum object_kind kind, const char *name, struct err *e);
/* -EINVAL: env or envFrom are not what they should be; what fn returns. */
int environment_refer(const struct pod_container *c, environment_refer_fn fn, void *userdata, struct err *e);

enum { ENVIRONMENT_HIDDEN = 1 };
/* 0: there it is, borrowed. ENVIRONMENT_HIDDEN: what is in it is not to be shown. -ENOENT: there is none, and that is
 * certain; e has the kubelet's words. Other failures are passed on. */
typedef int (*environment_find_fn)(void *userdata, enum object_kind kind, const char *name, const struct secret **ret,
				   struct err *e);
struct environment_options {
	const struct pairs *allocatable; /* of the node; NULL: not known */
	environment_find_fn find;
	void *userdata;
};
/* c is one of the pod's; both are borrowed. -EINVAL: it cannot be made, or a value cannot be handed on; -ENOENT: an object
 * or a key is not there; -EAGAIN: something of the pod or the node is not known yet; -E2BIG; -ENOMEM. */
int environment_make(const struct pod *pod, const struct pod_container *c, const struct environment_options *o,
		     struct environment **ret_env, struct err *e);
void environment_free(struct environment *env);
DEFINE_CLEANUP(struct environment *, environment_free);
#define cleanup_environment cleanup(environment_freep)

/* In the order in which they first appear. The value is borrowed; len may be NULL. */
size_t environment_count(const struct environment *env);
const char *environment_name(const struct environment *env, size_t i);
const char *environment_value(const struct environment *env, size_t i, size_t *ret_len);
/* ["NAME=VALUE", ...], as process.env of the OCI runtime specification. NULL: out of memory. */
json_t *environment_json(const struct environment *env);
/* A sentence about each of the first variables that refer to what looks like a Service's. */
size_t environment_count_notes(const struct environment *env);
const char *environment_note(const struct environment *env, size_t i);

/* Appends what the kubelet makes of a volumeMount's subPathExpr. -EINVAL: a variable is missing or empty, or what a Secret
 * says would be in the path. */
int environment_expand_path(const struct environment *env, const char *expr, struct buf *out, struct err *e);
