/* Offline: what the offline cache is to the agent: keeps the pods and Secrets that the API server has told, and shows them
 * when it does not answer after a reboot. */
#pragma once

#include "agent/cache.h"
#include "agent/config.h"
#include "agent/pods.h"
#include "agent/sandbox.h"
#include "agent/source.h"
#include "agent/store.h"

struct offline;

struct offline_world {
	struct loop *loop;
	struct source *source;
	struct store *store;
	struct pods *pods;
	void (*changed)(void *userdata); /* offline_stats() would say something else */
	void (*process_ended)(void *userdata); /* another is wanted: offline_replace_process() */
	void *userdata;
};

/* With privileges, before there is anything to hide: starts the process that makes the folder and works in it. A folder
 * that cannot be used is no failure: it is logged and shown. *ret_o is NULL when the configuration wants no cache. */
int offline_new(const struct config *c, const struct sandbox_user *user, struct offline **ret_o, struct err *e);
void offline_free(struct offline *o);
DEFINE_CLEANUP(struct offline *, offline_free);
/* With privileges. -EPERM, -EINVAL and others: e says which file and why; without a key there is no cache. NULL is fine in
 * what follows. */
int offline_open_key(struct offline *o, struct err *e);
/* When there is secret memory. */
int offline_read_key(struct offline *o, struct err *e);
/* Nothing is kept or shown, for this reason. */
void offline_disable(struct offline *o, const char *reason);
/* may_show: the API server has told nothing since the mount was made, so that nothing can be put back to an older state:
 * all that is published, if anything is, has come from the same cache. */
int offline_start(struct offline *o, const struct offline_world *world, bool may_show);
/* A process that does what the one that has ended did, by our end of its socket. */
void offline_replace_process(struct offline *o, int take_fd);
/* A pod or a Secret may be another. */
void offline_touch(struct offline *o);
/* The first complete list of pods has come from the API server. */
void offline_pods_told(struct offline *o);

struct offline_stats {
	const char *dir; /* NULL: there is no cache */
	struct cache_stats cache;
	size_t n_shown; /* pods that are shown from the cache, unconfirmed */
};
void offline_stats(const struct offline *o, struct offline_stats *ret);
