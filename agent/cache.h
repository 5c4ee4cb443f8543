/* Cache: the offline cache as the agent uses it: reads it once, when nobody else knows the node's pods; writes down what
 * has changed, at most once a second. All the work on the folder is cache_io.c's. */
#pragma once

#include "agent/cache_io.h"
#include "agent/cache_set.h"

struct cache;

struct cache_ops {
	/* Fills `want` with what the cache is to have: items with a pod, a secret, `absent`, or neither, which means what
	 * there is already. -ENOMEM. */
	int (*collect)(void *userdata, struct cache_set *want);
	/* What was read, after cache_restore(): of each Pod all or nothing. Borrowed for the call. */
	void (*restored)(void *userdata, const struct cache_set *s);
	/* cache_stats() would say something else. */
	void (*changed)(void *userdata);
};

/* key and io are borrowed. Begins to read the index. */
int cache_new(struct loop *l, struct cache_io *io, const struct cache_key *key, const char *node,
	      const struct cache_ops *ops, void *userdata, struct cache **ret_c);
void cache_free(struct cache *c);
DEFINE_CLEANUP(struct cache *, cache_free);

/* Reads all records, soon; then restored() is called, unless nothing is there or all of it is refused. */
void cache_restore(struct cache *c);
/* Nobody wants them any more. */
void cache_restore_cancel(struct cache *c);
/* What is to be kept may have changed, and collect() knows all of it. */
void cache_touch(struct cache *c);

/* cache_io's process is another (cache_io_replace()): what the death of the last one has cut off is done again. */
void cache_resume(struct cache *c);

struct cache_stats {
	size_t n_pods, n_secrets, n_config_maps; /* on the disk */
	uint64_t generation, written_usec; /* of the index; 0: none */
	size_t n_refused; /* records that were not accepted by the last restore */
	bool refused; /* all of it was */
	bool restored; /* cache_restore() has ended */
	bool pending; /* something is to be written */
	uint64_t n_writes; /* of files */
	uint64_t busy_usec; /* the disk lets us wait for so long */
	char error[ERR_TEXT_MAX]; /* "": none */
};
void cache_stats(const struct cache *c, struct cache_stats *ret);
