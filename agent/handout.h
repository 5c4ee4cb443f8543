/* Handout: answers the questions of the control socket that take more than what the pods' volumes have: a container's
 * environment, a pod's pull credentials, and mounts with a path that is made of the environment. What is needed for that
 * is fetched when it is asked for, handed out, and forgotten. */
#pragma once

#include "agent/config.h"
#include "agent/control.h"
#include "agent/event_sender.h"
#include "agent/pods.h"
#include "agent/store.h"

struct handout;

/* All borrowed. */
struct handout_world {
	const struct config *config;
	struct source *source;
	const struct store *store;
	const struct pods *pods;
	struct event_sender *events; /* NULL: there is no API server to be told */
};

int handout_new(const struct handout_world *world, struct handout **ret_h);
/* After the control socket: nothing is under way then. */
void handout_free(struct handout *h);
DEFINE_CLEANUP(struct handout *, handout_free);

/* As control_ops has it. -EACCES: serveEnvironment is off. */
int handout_env(struct handout *h, const struct pod_state *s, const char *container, struct control_later *later,
		json_t **ret, struct err *e);
int handout_pull_config(struct handout *h, const struct pod_state *s, struct control_later *later, json_t **ret,
			struct err *e);
/* No value of a Secret is in it, and none is fetched. */
int handout_mounts(struct handout *h, const struct pod_state *s, const char *container, struct control_later *later,
		   json_t **ret, struct err *e);
