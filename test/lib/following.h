/* Following: what tests of the API server's source begin and end with: a loop, the test API server, a kubeconfig for it, and the source.
 * All of it fails the running cmocka test if it cannot be done. */
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

/* For sinks whose owner does not look at pods. */
void following_ignores_pod(void *userdata, struct pod *pod);
void following_ignores_uid(void *userdata, const char *uid);
