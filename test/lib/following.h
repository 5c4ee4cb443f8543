/* Following: what tests of the API server's source begin and end with: a loop, the test API server, a kubeconfig for
 * it, and the source; and what they all put into the server. All of it fails the running cmocka test if it cannot be
 * done. */
#pragma once

#include "agent/source_api.h"
#include "test/apiserver/apiserver.h"

enum { FOLLOWING_PATH_MAX = 64 };

/* json_setup(), errors alone in the log, so many bytes of locked memory: before the first test. */
void following_init(size_t secret_bytes);
/* The kubeconfig is "/tmp/NAME.XXXXXX". */
void following_setup(const char *name, char ret_kubeconfig[static FOLLOWING_PATH_MAX], struct loop **ret_loop,
		     struct files **ret_files, struct apiserver **ret_server);
/* A source that has begun. userdata is the sink's. */
struct source *following_start(struct loop *l, struct files *files, const struct source_api_options *options,
			       const struct source_sink *sink, void *userdata);
/* source and server may be NULL; removes the kubeconfig. */
void following_teardown(struct source *source, struct apiserver *server, struct files *files, struct loop *l,
			const char *kubeconfig);

/* The server has it from now on, in the namespace "ns": a Secret with the one key "k", a pod of node-1 without
 * containers. What it had of this name is replaced. */
void following_put_secret(struct apiserver *server, const char *name, const char *value, bool immutable);
void following_put_pod(struct apiserver *server, const char *name);
/* Who asks for a token of the service account "default" gets one that ends then (RFC 3339). */
void following_give_tokens(struct apiserver *server, const char *expires);
#define FOLLOWING_TOKEN_PATH "/serviceaccounts/default/token"
#define FOLLOWING_NEVER	     "2999-01-01T00:00:00Z"

/* source_health(), as a value. */
struct source_health following_health(const struct source *source);

/* For sinks whose owner does not look at pods. */
void following_ignores_pod(void *userdata, struct pod *pod);
void following_ignores_uid(void *userdata, const char *uid);
