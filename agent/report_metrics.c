/* Report metrics: plain translation, as report.c. What there is none of (no API server, no audit) has no samples, nor has what
 * is counted elsewhere and not told yet: a counter that comes back from 0 to what it was looks as if all of it had happened
 * now. */
#include "agent/report_metrics.h"

#include "agent/metrics.h"
#include "common/log.h"
#include "common/version.h"
#include "fusefs/tree.h"

#define ONE(name, value) METRIC_LABELS({ name, value })

/* The first one is none. The keeper counts agents and publishers; the offline cache's is forked by the agent itself, and the
 * audit processes count themselves, for they are connected with the agent more often than they are started. false: nobody
 * knows yet. */
static bool count_restarts(const struct report_state *s, enum report_process process, uint64_t *ret_n)
{
	struct audit_state a = { .attached = false };

	switch (process) {
	case REPORT_AGENT:
		*ret_n = s->restarts.n_agents;
		return s->restarts.told;
	case REPORT_PUBLISHER:
		*ret_n = s->restarts.n_publishers;
		return s->restarts.told;
	case REPORT_AUDIT:
		audit_names_state(s->audit, &a);
		*ret_n = a.counts.n_gaps;
		return a.told;
	case REPORT_CACHE:
		*ret_n = s->n_caches;
		return true;
	default:
		*ret_n = s->n_signallers > 0 ? s->n_signallers - 1 : 0;
		return true;
	}
}

static void tell_process(struct exposition *x, const struct report_state *s)
{
	static const char *const names[] = {
		[REPORT_AGENT] = "agent",	  [REPORT_PUBLISHER] = "publisher", [REPORT_AUDIT] = "audit",
		[REPORT_SIGNALLER] = "signaller", [REPORT_CACHE] = "offline-cache",
	};
	const bool runs[] = {
		[REPORT_AGENT] = true,
		[REPORT_PUBLISHER] = true,
		[REPORT_AUDIT] = s->config->audit_log != NULL,
		[REPORT_SIGNALLER] = s->config->signal_containers,
		[REPORT_CACHE] = s->offline != NULL,
	};
	uint64_t n;

	exposition_count(x, METRIC_BUILD_INFO, ONE("version", SECRETLET_VERSION), 1);
	exposition_usec(x, METRIC_AGENT_START, NULL, s->started_realtime_usec);
	for (enum report_process i = 0; i < REPORT_PROCESSES_N; i++)
		if (runs[i] && count_restarts(s, i, &n))
			exposition_count(x, METRIC_PROCESS_RESTARTS, ONE("process", names[i]), n);
}

enum pod_count { POD_READY, POD_WAITING, POD_FINISHED, POD_COUNTS_N };
enum volume_count { COUNT_READY, COUNT_STALE, COUNT_WAITING, COUNT_PUBLISHING, COUNT_FAILED, VOLUME_COUNTS_N };

static enum volume_count volume_state(const struct volume *v)
{
	switch (v->condition) {
	case VOLUME_READY:
		return v->error[0] ? COUNT_STALE : COUNT_READY;
	case VOLUME_WAITING:
		return COUNT_WAITING;
	case VOLUME_PUBLISHING:
		return COUNT_PUBLISHING;
	default:
		return COUNT_FAILED;
	}
}

static void tell_pods(struct exposition *x, const struct pods *pods)
{
	static const char *const pod_states[] = {
		[POD_READY] = "ready", [POD_WAITING] = "waiting", [POD_FINISHED] = "finished"
	};
	static const char *const volume_states[] = {
		[COUNT_READY] = "ready",	   [COUNT_STALE] = "stale",   [COUNT_WAITING] = "waiting",
		[COUNT_PUBLISHING] = "publishing", [COUNT_FAILED] = "failed",
	};
	size_t n_pods[POD_COUNTS_N] = { 0 }, n_volumes[VOLUME_COUNTS_N] = { 0 };

	for (size_t i = 0; i < pods_count(pods); i++) {
		const struct pod_state *s = pods_at(pods, i);

		n_pods[pod_is_finished(s->pod) ? POD_FINISHED : pod_state_is_ready(s) ? POD_READY : POD_WAITING]++;
		for (size_t j = 0; j < s->n_volumes; j++)
			n_volumes[volume_state(&s->volumes[j])]++;
	}
	for (size_t i = 0; i < POD_COUNTS_N; i++)
		exposition_count(x, METRIC_PODS, ONE("state", pod_states[i]), n_pods[i]);
	for (size_t i = 0; i < VOLUME_COUNTS_N; i++)
		exposition_count(x, METRIC_VOLUMES, ONE("state", volume_states[i]), n_volumes[i]);
	exposition_histogram(x, METRIC_PUBLISH_DURATION, NULL, &pods_times(pods)->publish);
	for (enum pod_volume_kind i = 0; i < POD_VOLUME_OTHER; i++)
		exposition_histogram(x, METRIC_EVENT_VISIBLE,
				     ONE("type", pod_volume_type(&(struct pod_volume){ .kind = i })),
				     &pods_times(pods)->visible[i]);
}

static void tell_publisher(struct exposition *x, const struct report_state *s, const struct offline_stats *offline)
{
	struct publish_stats st = publish_stats(s->publish);

	exposition_count(x, METRIC_PUBLISHES, ONE("result", "published"), st.n_published);
	exposition_count(x, METRIC_PUBLISHES, ONE("result", "unchanged"), st.n_unchanged);
	exposition_count(x, METRIC_PUBLISHES, ONE("result", "failed"), st.n_failed);
	exposition_count(x, METRIC_REMOVALS, NULL, st.n_removed);
	exposition_count(x, METRIC_PUBLISH_QUEUE, NULL, st.n_queued);
	exposition_usec(x, METRIC_INFLIGHT_AGE, ONE("process", "agent"), session_waiting_usec(s->session));
	exposition_usec(x, METRIC_INFLIGHT_AGE, ONE("process", "publisher"), st.unanswered_usec);
	if (offline->dir)
		exposition_usec(x, METRIC_INFLIGHT_AGE, ONE("process", "offline-cache"), offline->cache.busy_usec);
}

static void tell_objects(struct exposition *x, const char *kind, size_t n, size_t n_synced)
{
	exposition_count(x, METRIC_SOURCE_OBJECTS, METRIC_LABELS({ "kind", kind }, { "state", "synced" }), n_synced);
	exposition_count(x, METRIC_SOURCE_OBJECTS, METRIC_LABELS({ "kind", kind }, { "state", "unsynced" }),
			 n > n_synced ? n - n_synced : 0);
}

static void tell_source(struct exposition *x, const struct report_state *s, const struct http *http,
			uint64_t realtime_usec)
{
	struct source_health h = { .kind = "" };

	source_health(s->source, &h);
	exposition_count(x, METRIC_SOURCE_CONNECTED, ONE("source", h.kind), h.connected);
	exposition_count(x, METRIC_SOURCE_SYNCED, ONE("source", h.kind), h.pods_synced);
	/* the silence of a folder says nothing */
	if (http && h.last_contact_usec)
		exposition_usec(x, METRIC_SOURCE_STALENESS, ONE("source", h.kind),
				realtime_usec > h.last_contact_usec ? realtime_usec - h.last_contact_usec : 0);
	tell_objects(x, "secret", h.n_secrets, h.n_secrets_synced);
	tell_objects(x, "configMap", h.n_config_maps, h.n_config_maps_synced);
	tell_objects(x, "token", h.n_tokens, h.n_tokens_synced);
	exposition_count(x, METRIC_SOURCE_REJECTED, ONE("source", h.kind), h.n_rejected);
	exposition_count(x, METRIC_SOURCE_WATCHES, ONE("source", h.kind), h.n_watches);
	exposition_count(x, METRIC_SOURCE_RECONNECTS, ONE("source", h.kind), h.n_reconnects);
}

static void tell_api(struct exposition *x, const struct http *http)
{
	const struct api_calls *calls = http_calls(http);
	struct http_stats st = http_stats(http);

	for (size_t v = 0; v < API_VERBS_N; v++)
		for (size_t k = 0; k < API_KINDS_N; k++)
			for (size_t c = 0; c < API_CODES_N; c++)
				if (calls->n[v][k][c])
					exposition_count(x, METRIC_API_REQUESTS,
							 METRIC_LABELS({ "verb", api_verb_name(v) },
								       { "resource", api_kind_name(k) },
								       { "code", api_code_name(c) }),
							 calls->n[v][k][c]);
	exposition_count(x, METRIC_API_REQUESTS_RUNNING, NULL, st.n_running);
	exposition_count(x, METRIC_API_CONNECTIONS, NULL, st.n_connections);
	exposition_count(x, METRIC_API_CONNECTIONS_OPENED, NULL, st.n_opened);
}

static void tell_fuse(struct exposition *x, const struct report_state *s)
{
	const struct session_stats *st = session_stats(s->session);

	for (unsigned i = 0; i < SESSION_OPCODES; i++)
		if (st->requests[i] && session_opcode_name(i))
			exposition_count(x, METRIC_FUSE_REQUESTS, ONE("opcode", session_opcode_name(i)),
					 st->requests[i]);
	exposition_count(x, METRIC_FUSE_REFUSED, NULL, st->n_refused);
	exposition_count(x, METRIC_FUSE_POISONED, NULL, st->n_poison);
}

static void tell_memory(struct exposition *x, const struct tree *tree)
{
	struct secmem_stats mem = secmem_stats();
	struct tree_stats st = tree_stats(tree);

	exposition_count(x, METRIC_TREE_NODES, ONE("state", "attached"), st.n_nodes - st.n_detached);
	exposition_count(x, METRIC_TREE_NODES, ONE("state", "detached"), st.n_detached);
	exposition_count(x, METRIC_ARENA_USED, NULL, mem.used_bytes);
	exposition_count(x, METRIC_ARENA_CONTENT, NULL, st.content_bytes);
	exposition_count(x, METRIC_LOCKED, NULL, mem.locked ? mem.used_bytes : 0);
	exposition_count(x, METRIC_LOCKED_LIMIT, NULL, mem.limit_bytes);
}

static void tell_events(struct exposition *x, const struct event_sender *events)
{
	struct event_sender_stats st;

	if (!events)
		return;
	event_sender_stats(events, &st);
	exposition_count(x, METRIC_EVENTS_SENT, NULL, st.n_sent);
	exposition_count(x, METRIC_EVENTS_DROPPED, ONE("reason", "too_many_of_one_pod"), st.events.n_held_back);
	exposition_count(x, METRIC_EVENTS_DROPPED, ONE("reason", "too_many"), st.events.n_dropped);
	exposition_count(x, METRIC_EVENTS_DROPPED, ONE("reason", "refused"), st.n_failed);
	exposition_count(x, METRIC_EVENTS_QUEUED, NULL, st.events.n_queued);
}

static void tell_audit(struct exposition *x, const struct report_state *s)
{
	struct audit_state a;

	if (!s->config->audit_log)
		return;
	audit_names_state(s->audit, &a);
	if (!a.told)
		return;
	exposition_count(x, METRIC_AUDIT_OPENS, NULL, a.counts.n_opens);
	exposition_count(x, METRIC_AUDIT_WRITTEN, NULL, a.counts.n_written);
	exposition_count(x, METRIC_AUDIT_DROPPED, ONE("reason", "write_failed"), a.counts.n_failed);
	exposition_count(x, METRIC_AUDIT_DROPPED, ONE("reason", "process_ended"), a.counts.n_lost);
	exposition_count(x, METRIC_AUDIT_DROPPED, ONE("reason", "queue_full"), a.counts.n_overflows);
}

static void tell_offline(struct exposition *x, const struct offline_stats *st)
{
	if (!st->dir)
		return;
	exposition_count(x, METRIC_CACHE_PODS, ONE("state", "stored"), st->cache.n_pods);
	exposition_count(x, METRIC_CACHE_PODS, ONE("state", "shown"), st->n_shown);
	exposition_count(x, METRIC_CACHE_WRITES, NULL, st->cache.n_writes);
}

int report_metrics(const struct report_state *s, const struct http *http, uint64_t realtime_usec, struct buf *out)
{
	struct exposition x = EXPOSITION_INIT(out);
	struct offline_stats offline;

	offline_stats(s->offline, &offline);
	tell_process(&x, s);
	tell_pods(&x, s->pods);
	tell_publisher(&x, s, &offline);
	tell_source(&x, s, http, realtime_usec);
	if (http)
		tell_api(&x, http);
	tell_fuse(&x, s);
	tell_memory(&x, s->tree);
	exposition_count(&x, METRIC_LOG_DROPPED, NULL, log_dropped());
	tell_events(&x, s->events);
	tell_audit(&x, s);
	tell_offline(&x, &offline);
	return exposition_end(&x);
}
