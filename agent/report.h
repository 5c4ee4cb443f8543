/* Report: the agent's state as the JSON of the control API. Names, revisions, counts and reasons; never a value. */
#pragma once

#include "agent/audit_names.h"
#include "agent/config.h"
#include "agent/event_sender.h"
#include "agent/offline.h"
#include "agent/pods.h"
#include "agent/selector.h"
#include "agent/signals.h"
#include "agent/source.h"
#include "agent/store.h"
#include "common/json.h"
#include "fusefs/publish.h"
#include "fusefs/session.h"

/* Itself, and those that the agent is connected with. */
enum report_process {
	REPORT_AGENT,
	REPORT_PUBLISHER,
	REPORT_AUDIT,
	REPORT_SIGNALLER,
	REPORT_CACHE,
	REPORT_PROCESSES_N
};

struct report_state {
	const struct config *config;
	const char *pods_dir;
	const struct pods *pods;
	const struct store *store;
	const struct source *source;
	const struct offline *offline; /* NULL: no offline cache */
	const struct event_sender *events; /* NULL: there is no API server to be told */
	const struct audit_names *audit; /* used with auditLog only */
	const struct signals *signals; /* NULL: none are sent */
	const struct session *session;
	const struct publish *publish;
	const struct tree *tree;
	uint64_t started_usec; /* CLOCK_MONOTONIC */
	uint64_t started_realtime_usec;
	const char *unserved; /* why metrics or health are not on their port; "" or NULL: they are */
	/* agents and publishers after the first, since the daemon was started */
	struct {
		bool told; /* by the keeper */
		uint64_t n_agents, n_publishers;
	} restarts;
	uint64_t n_signallers, n_caches; /* that the keeper has connected this agent with */
};

/* Each returns NULL when out of memory. */
json_t *report_status(const struct report_state *s, uint64_t now_usec);
json_t *report_pod(const struct report_state *s, const struct pod_state *pod);
/* Why the source refuses this pod, of which nothing is there; empty: it does not. ref: NS/NAME or a UID. */
json_t *report_refused_pod(const struct report_state *s, const char *ref);
/* The same in a sentence, with -ENOENT: it is refused, or there is none. */
void report_why_unknown(const struct report_state *s, const char *ref, struct err *e);
/* All of them, without the containers and the names of keys that a single one has.
 * {"pods": [...], "synced": whether these are all} */
json_t *report_pods(const struct report_state *s);
/* Names, keys, lengths, revision: never a value. */
json_t *report_secret(const struct store_entry *entry);
/* {"secrets": [...], "synced": as with pods}, by kind, namespace and name; of the kinds whose bit is set; selector NULL: all. One that is absent has
 * no labels. */
json_t *report_secrets(const struct report_state *s, unsigned kinds, const struct selector *selector);
