/* Source: where Pods, Secrets, ConfigMaps and tokens come from. Three implementations: the API server
 * (source_api.c), a folder of manifests (source_manifests.c), which has no tokens, and what stands in the place of one of
 * these that cannot be loaded (source_absent.c). What is said of Secrets holds for the others, too.
 * Everything happens on the loop thread; a source calls its sink from the loop, never from inside a source_*() call. */
#pragma once

#include "agent/pod.h"
#include "agent/reason.h"
#include "agent/secret.h"
#include "common/err.h"
#include "common/json.h"

struct source;

/* How changes of Secrets are found, as the kubelet's configMapAndSecretChangeDetectionStrategy. */
enum source_strategy { SOURCE_WATCH, SOURCE_CACHE, SOURCE_GET, SOURCE_STRATEGIES_N };
/* "Watch", "Cache", "Get" */
const char *source_strategy_name(enum source_strategy strategy);

/* What an API server is told of its pods (events.h). */
struct source_events {
	bool failures, rotations;
	unsigned qps, burst; /* of these requests; qps 0: no limit */
};

/* What can be changed while a source runs. */
struct source_tuning {
	enum source_strategy strategy;
	uint64_t sync_usec; /* syncFrequency; 0: SOURCE_SYNC_USEC */
	uint64_t cache_ttl_usec; /* under Cache, when the node has no annotation; 0: at each sync */
	struct source_events events; /* the sender's, not the source's */
};
#define SOURCE_SYNC_USEC      (60 * USEC_PER_SEC)
#define SOURCE_CACHE_TTL_USEC (60 * USEC_PER_SEC)

/* What a source tells. Objects are borrowed for the call; take a reference to keep them. */
struct source_sink {
	/* A pod of this node is there or has changed. Finished pods are told too (phase). */
	void (*pod_changed)(void *userdata, struct pod *pod);
	/* The pod with this uid is gone. */
	void (*pod_removed)(void *userdata, const char *uid);
	/* What the node has for its pods has changed: status.allocatable. NULL: nobody wants to know. */
	void (*node_changed)(void *userdata, const struct pairs *allocatable);
	/* The first complete list of pods has been told. May be called again after a relist. */
	void (*pods_synced)(void *userdata);
	/* The current revision of a wanted Secret; NULL: the source is sure that there is none. */
	void (*object_changed)(void *userdata, enum object_kind kind, const char *ns, const char *name,
			       struct secret *secret);
	/* The Secret cannot be had at the moment (403, 5xx, rejected object, no connection). What was told last stays
	 * valid. Told on each change of the reason, not for each retry. */
	void (*object_failed)(void *userdata, enum object_kind kind, const char *ns, const char *name,
			      const struct err *e);
	/* The answer to the need-th source_need() since source_want(), and to those before it. NULL: nobody wants to know. */
	void (*object_fresh)(void *userdata, enum object_kind kind, const char *ns, const char *name, uint64_t need);
};

struct source_health {
	const char *kind; /* "api-server" or "manifests" */
	const char *strategy; /* how changes of Secrets are found; NULL: there is but one way */
	char location[256]; /* server URL or folder; no credentials */
	bool connected; /* the pod list is current: its watch runs (manifests that are loaded: always) */
	bool pods_synced;
	uint64_t last_contact_usec; /* CLOCK_REALTIME of the last answer; 0: never */
	char last_error[ERR_TEXT_MAX]; /* "" when all is well */
	enum reason reason; /* the same as a word */
	uint64_t failed_usec; /* CLOCK_REALTIME since when, where that is known; 0: it is not, or all is well */
	uint64_t
		next_try_usec; /* CLOCK_REALTIME when it is asked next whether it is back, not after now: it is being asked; 0: it is not
				 * away */
	size_t n_secrets; /* wanted */
	size_t n_secrets_synced; /* of these, known to be there or absent */
	size_t n_config_maps, n_config_maps_synced; /* the same */
	size_t n_tokens, n_tokens_synced; /* synced: there is one, and it is valid */
	size_t n_watches; /* running */
	size_t n_rejected; /* objects refused and not yet corrected */
	size_t n_warnings; /* manifests: fields that have no effect */
	uint64_t n_requests;
	size_t n_connections;
	uint64_t n_reconnects; /* how often it has answered again after it had not */
};

/* Why a pod is refused; what was good of it before, if anything was, stays. */
struct source_refusal {
	const char *ns, *name; /* "": of a manifest of which nobody can say what is in it */
	const char *uid; /* "": not known */
	const char *file; /* that says so; "": the API server does */
	size_t line, column; /* in it; 0: all of it */
	const char *error; /* the whole sentence, file and line included */
};
typedef void (*source_refusal_fn)(void *userdata, const struct source_refusal *r);

/* What is fetched once, for somebody who hands it on and keeps nothing. */
enum source_thing { SOURCE_SECRET, SOURCE_CONFIG_MAP, SOURCE_ACCOUNT };
struct source_fetched {
	struct err err; /* code 0: there it is; -ENOENT: the source is sure that there is none; -EACCES: it may not be
			 * read; -EOPNOTSUPP: it has no such things; -EBADMSG: the server's answer is not such an
			 * object; else why not. With code 0 a text says what is wrong with it nevertheless */
	bool unanswered; /* it is no word about the object: nobody answered, or not for now */
	struct secret *secret; /* borrowed for the call */
	const json_t *account; /* of a SOURCE_ACCOUNT: the ServiceAccount; borrowed */
};
typedef void (*source_fetched_fn)(void *userdata, const struct source_fetched *f);
struct source_fetch;

struct source_vtable {
	int (*start)(struct source *s, struct err *e);
	int (*want)(struct source *s, enum object_kind kind, const char *ns, const char *name);
	void (*unwant)(struct source *s, enum object_kind kind, const char *ns, const char *name);
	/* NULL: it does not ask for pods by name */
	int (*expect_pod)(struct source *s, const char *ns, const char *name, const char *uid);
	int (*need)(struct source *s, enum object_kind kind, const char *ns,
		    const char *name); /* NULL: what was told is current anyway */
	void (*need_node)(struct source *s); /* NULL: it knows of no node */
	void (*tune)(struct source *s, const struct source_tuning *tuning); /* NULL: there is nothing to tune */
	void (*reread)(struct source *s); /* NULL: there is nothing that is not followed anyway */
	int (*refresh)(struct source *s, enum object_kind kind, const char *ns, const char *name);
	int (*fetch)(struct source *s, enum source_thing thing, const char *ns, const char *name, source_fetched_fn fn,
		     void *userdata, struct source_fetch **ret_f);
	void (*unfetch)(struct source *s, struct source_fetch *f);
	void (*slept)(struct source *s); /* NULL: that is nothing to it */
	void (*health)(const struct source *s, struct source_health *ret);
	void (*refusals)(const struct source *s, source_refusal_fn fn, void *userdata); /* NULL: it refuses nothing */
	void (*free)(struct source *s);
};
struct source {
	const struct source_vtable *vtable;
};

/* Begins; the constructor was called with all privileges, this runs without. */
static inline int source_start(struct source *s, struct err *e)
{
	return s->vtable->start(s, e);
}
/* Before the start: an earlier process was told of this pod. It is told as gone when the source is sure of that, by
 * pod_removed, as if it had been told here. -ENOMEM. */
static inline int source_expect_pod(struct source *s, const char *ns, const char *name, const char *uid)
{
	return s->vtable->expect_pod ? s->vtable->expect_pod(s, ns, name, uid) : 0;
}
/* Called once when the first pod refers to the Secret, and unwant once when the last one has gone (the store counts).
 * Answered by object_changed or object_failed, later. */
static inline int source_want(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	return s->vtable->want(s, kind, ns, name);
}
static inline void source_unwant(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	s->vtable->unwant(s, kind, ns, name);
}
/* One more pod refers to a Secret that is wanted already. SOURCE_ASKED: the API server's storage is asked, what is news is
 * told, and then object_fresh() says that what was told is not older than this call; until that works it is tried again.
 * 0: nothing follows, what was told is current. -ENOENT: not wanted. */
#define SOURCE_ASKED 1
static inline int source_need(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	return s->vtable->need ? s->vtable->need(s, kind, ns, name) : 0;
}
/* Some pod shows what the node has: from now on that is kept up to date. */
static inline void source_need_node(struct source *s)
{
	if (s->vtable->need_node)
		s->vtable->need_node(s);
}
/* What was told stays. */
static inline void source_tune(struct source *s, const struct source_tuning *tuning)
{
	if (s->vtable->tune)
		s->vtable->tune(s, tuning);
}
/* Somebody has asked for a reload: files that were read at the start are read again. What was told stays. */
static inline void source_reread(struct source *s)
{
	if (s->vtable->reread)
		s->vtable->reread(s);
}
/* Fetch now; answered like want. -ENOENT: not wanted. */
static inline int source_refresh(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	return s->vtable->refresh(s, kind, ns, name);
}
/* The most recent state of an object that need not be wanted, within SOURCE_FETCH_USEC. fn is called once, from the loop,
 * and the fetch is gone then. -ENOMEM, -EINVAL: no such name can be. */
#define SOURCE_FETCH_USEC (8 * USEC_PER_SEC)
static inline int source_fetch(struct source *s, enum source_thing thing, const char *ns, const char *name,
			       source_fetched_fn fn, void *userdata, struct source_fetch **ret_f)
{
	return s->vtable->fetch(s, thing, ns, name, fn, userdata, ret_f);
}
/* It is not wanted any more: fn is not called. NULL is fine. */
static inline void source_unfetch(struct source *s, struct source_fetch *f)
{
	if (f)
		s->vtable->unfetch(s, f);
}
/* The machine has slept: whoever was at the other end of a connection may have given it up long ago. */
static inline void source_slept(struct source *s)
{
	if (s->vtable->slept)
		s->vtable->slept(s);
}
static inline void source_health(const struct source *s, struct source_health *ret)
{
	s->vtable->health(s, ret);
}
/* The pods that are refused at the moment, in no order. fn: may not change anything. */
static inline void source_refusals(const struct source *s, source_refusal_fn fn, void *userdata)
{
	if (s->vtable->refusals)
		s->vtable->refusals(s, fn, userdata);
}
static inline void source_free(struct source *s)
{
	if (s)
		s->vtable->free(s);
}
static inline void source_freep(struct source **s)
{
	source_free(*s);
}
