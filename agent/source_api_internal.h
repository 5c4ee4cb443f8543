/* What the parts of the API server source share: source_api.c (the source), source_api_follow.c (reflectors and
 * their environment), source_api_pods.c and source_api_secrets.c. For nobody else. */
#pragma once

#include "agent/credentials.h"
#include "agent/http.h"
#include "agent/kubeconfig.h"
#include "agent/reflector.h"
#include "agent/source_api.h"
#include "common/list.h"
#include "common/map.h"

enum todo { TODO_NOTHING, TODO_START, TODO_REFRESH, TODO_FREE };

/* A reflector and what it needs of the world. */
struct follower {
	struct source_api *source;
	struct api_resource resource;
	struct reflector *reflector;
	struct http_request *request;
	struct loop_source *timer; /* made when it is first needed */
	struct list todo_link;
	enum todo todo;
	void (*free)(struct follower *f);
};

struct source_api {
	struct source source;
	struct loop *loop;
	struct files *files;
	struct kubeconfig *kubeconfig;
	struct http *http;
	struct credentials *credentials;
	char *node_name;
	const struct source_sink *sink;
	void *userdata;

	struct follower pods;
	struct map known_pods;
	uint64_t generation;
	bool pods_told; /* pods_synced() */
	char *pods_failure;

	struct map wanted;
	size_t n_rejected;
	struct list todo;
	struct loop_source *do_todo, *starved_timer;
	bool started;
	bool server_away; /* a request got no answer, and none has since */
	uint64_t last_contact_usec;
};

static inline struct source_api *api_of(const struct source *s)
{
	return container_of((struct source *)(uintptr_t)s, struct source_api, source);
}

/* ---- source_api.c ---- */

/* Keeps a copy; what cannot be kept is told again, that is all. */
void api_keep_text(char **where, const char *text);

/* ---- source_api_follow.c ---- */

/* After a failure, too: follower_deinit(). */
int follower_init(struct follower *f, struct source_api *s, const struct api_resource *resource,
		  const struct reflector_handler *handler);
void follower_deinit(struct follower *f);
/* Does it from the loop, soon, never under the feet of a reflector that is just calling. TODO_FREE cannot fail. */
int follower_do_later(struct follower *f, enum todo todo);
/* The callback of do_todo. */
void follower_on_todo(struct loop_source *source, void *userdata);

/* ---- source_api_pods.c ---- */

int api_pods_init(struct source_api *s);
void api_pods_deinit(struct source_api *s);

/* ---- source_api_secrets.c ---- */

int api_secrets_init(struct source_api *s);
void api_secrets_deinit(struct source_api *s);
int api_secrets_start(struct source_api *s);
/* Each wanted Secret's reflector may try again: the server answers. */
void api_secrets_server_answers(struct source_api *s, uint64_t within_usec);
/* Fills in what concerns the Secrets. */
void api_secrets_health(const struct source_api *s, struct source_health *ret);
int api_want_secret(struct source *source, const char *ns, const char *name);
void api_unwant_secret(struct source *source, const char *ns, const char *name);
int api_refresh_secret(struct source *source, const char *ns, const char *name);
