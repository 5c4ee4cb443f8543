/* Agent: puts the modules together. The order of the start is the point: what needs privileges (locked memory, reading
 * credentials, the list of files) comes first, then they are dropped, and only then anything from outside is read. */
#include "agent/agent.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdatomic.h>

#include "agent/audit_names.h"
#include "agent/control.h"
#include "agent/event_sender.h"
#include "agent/files_keeper.h"
#include "agent/handout.h"
#include "agent/keeper.h"
#include "agent/link.h"
#include "agent/listener.h"
#include "agent/offline.h"
#include "agent/pod_events.h"
#include "agent/pods.h"
#include "agent/report.h"
#include "agent/report_health.h"
#include "agent/report_metrics.h"
#include "agent/sandbox.h"
#include "agent/signals.h"
#include "agent/source_absent.h"
#include "agent/source_api.h"
#include "agent/source_manifests.h"
#include "agent/store.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/jumps.h"
#include "common/loop.h"
#include "common/str.h"
#include "fusefs/publish.h"
#include "fusefs/session.h"
#include "fusefs/tree.h"

#define BEATS_PER_HANG		4 /* signs of life in agentHangTimeout */
#define LINK_TURN_USEC		(5 * USEC_PER_MSEC) /* and then it is others' turn: thousands of files may come in a row */
#define PUBLISHER_HANG_MAX_USEC (60 * USEC_PER_SEC) /* unless agentHangTimeout is longer */

/* One that is wanted has an address. */
enum { LISTENER_METRICS, LISTENER_HEALTHZ, LISTENERS_N };

struct agent {
	const struct config *config;
	reload_parse_fn parse;
	void *parse_userdata;
	struct reload *reload;
	uint32_t reload_id; /* the keeper's, of the last one */
	struct loop *loop;
	struct loop_source *link_source;
	struct jumps *jumps;
	int link;
	struct files *files;
	struct sandbox_user user;
	gid_t control_group; /* whose members may use the control socket; -1: there is none */
	struct source *source;
	struct offline *offline; /* NULL: no offline cache is wanted */
	struct store *store;
	struct pods *pods;
	struct event_sender *events; /* NULL: there is no API server to be told */
	struct audit_names *audit;
	struct signals *signals;
	struct arena *arena;
	struct source_tuning tuning; /* in force at the start */
	struct loop_source *heartbeat;
	struct tree *tree;
	struct publish *publish;
	struct session *session;
	struct control *control;
	int listening[LISTENERS_N]; /* -1: not wanted, taken, or not to be had */
	struct listener *listeners[LISTENERS_N];
	struct err unserved;
	struct handout *handout;
	bool begun; /* the mount is older than this agent */
	bool sourceless; /* what stands in the source's place only says why it cannot be loaded */
	bool publisher_hangs; /* the keeper has been told */
	unsigned n_publisher_hangs; /* since one has answered */
	unsigned n_beats;
	uint64_t n_publisher_answers; /* when that was looked at last */
	bool pods_told; /* all of a complete list */
	bool remount; /* what is in the arena cannot be used, or nobody can be served by this connection */
	bool retained; /* what an earlier agent has published and nobody wants any more is gone */
	struct report_state report;
};

/* What a reload has changed holds for the next agent, too; and whether the source has told anything since the mount was
 * made, which the offline cache must not put back to an older state. */
enum { NOTE_TUNED, NOTE_LOG_LEVEL, NOTE_STRATEGY, NOTE_SYNC_USEC, NOTE_CACHE_TTL_USEC, NOTE_TOLD, NOTE_EVENTS };

/* How the last of them says it all in one number; 0, as an older agent leaves it, says nothing. */
enum { EVENTS_NOTED = 1, EVENTS_FAILURES = 2, EVENTS_ROTATIONS = 4, EVENTS_QPS_SHIFT = 8, EVENTS_BURST_SHIFT = 32 };
#define EVENTS_NUMBER UINT64_C(0xffffff)

/* --- what the source says --- */

static void agent_note_told(struct agent *a)
{
	arena_connection(a->arena)->notes[NOTE_TOLD] = true;
}

/* Once the first complete list of pods has come, what an earlier agent has published and none of them wants goes. Not
 * while something is refused: the refused object may be the one that wants it. That is seen with a beat, and not with each
 * change, for all objects are looked at for it. */
static void agent_retain(struct agent *a)
{
	struct source_health h = { .kind = "" };

	if (a->retained || !a->pods_told)
		return;
	source_health(a->source, &h);
	if (h.n_rejected > 0)
		return;
	pods_drop_cached(a->pods);
	a->retained = pods_retain(a->pods) == 0;
}

static void agent_pod_changed(void *userdata, struct pod *pod)
{
	struct agent *a = userdata;

	agent_note_told(a);
	if (pod_needs_node(pod))
		source_need_node(a->source);
	pods_pod_changed(a->pods, pod);
}

static void agent_pod_removed(void *userdata, const char *uid)
{
	struct agent *a = userdata;

	pods_pod_removed(a->pods, uid);
}

static void agent_node_changed(void *userdata, const struct pairs *allocatable)
{
	struct agent *a = userdata;

	pods_node_changed(a->pods, allocatable);
}

static void agent_pods_synced(void *userdata)
{
	struct agent *a = userdata;

	log_debug(NULL, "the pods of this node are known: %zu", pods_count(a->pods));
	a->pods_told = true;
	agent_note_told(a);
	agent_retain(a);
	offline_pods_told(a->offline);
	if (a->events)
		event_sender_open(a->events);
	control_notify(a->control);
}

static void agent_object_changed(void *userdata, enum object_kind kind, const char *ns, const char *name,
				 struct secret *secret)
{
	struct agent *a = userdata;

	agent_note_told(a);
	store_object_changed(a->store, kind, ns, name, secret);
}

static void agent_object_failed(void *userdata, enum object_kind kind, const char *ns, const char *name,
				const struct err *e)
{
	struct agent *a = userdata;

	store_object_failed(a->store, kind, ns, name, e);
}

static void agent_object_fresh(void *userdata, enum object_kind kind, const char *ns, const char *name, uint64_t need)
{
	struct agent *a = userdata;
	const struct store_entry *entry = store_object_fresh(a->store, kind, ns, name, need);

	if (entry)
		pods_object_fresh(a->pods, entry);
}

static const struct source_sink agent_sink = {
	.pod_changed = agent_pod_changed,
	.pod_removed = agent_pod_removed,
	.node_changed = agent_node_changed,
	.pods_synced = agent_pods_synced,
	.object_changed = agent_object_changed,
	.object_failed = agent_object_failed,
	.object_fresh = agent_object_fresh,
};

static void agent_store_changed(void *userdata, const struct store_entry *entry)
{
	struct agent *a = userdata;

	pods_object_changed(a->pods, entry);
	offline_touch(a->offline);
}

static void agent_pods_changed(void *userdata)
{
	struct agent *a = userdata;

	offline_touch(a->offline);
	if (a->events)
		event_sender_look(a->events);
	signals_look(a->signals);
	control_notify(a->control);
}

/* The keeper starts another; this process may not. */
static void agent_offline_process_ended(void *userdata)
{
	struct agent *a = userdata;
	int r = link_send(a->link, LINK_CACHE, 0, 0, NULL, -1);

	if (r < 0)
		log_error(NULL, "offline cache: ask for another process: %s", strerror(-r));
}

static void agent_offline_changed(void *userdata)
{
	struct agent *a = userdata;

	control_notify(a->control);
}

/* --- what the API server is told --- */

static void agent_look_for_trouble(void *userdata, struct events *ev, uint64_t now_usec)
{
	struct agent *a = userdata;

	pod_events_look(a->pods, ev, now_usec);
}

static bool agent_find_trouble(void *userdata, const char *uid, const char *volume, struct event_trouble *ret)
{
	struct agent *a = userdata;

	return pod_events_find(a->pods, uid, volume, ret);
}

static uint64_t agent_admit_event(void *userdata)
{
	struct agent *a = userdata;

	return source_api_admit(a->source);
}

static struct http *agent_event_http(void *userdata)
{
	struct agent *a = userdata;

	return source_api_http(a->source);
}

static void agent_event_answered(void *userdata, int status)
{
	source_api_answered(((struct agent *)userdata)->source, status);
}

static void agent_volume_updated(void *userdata, const struct volume *v, const char *before)
{
	struct agent *a = userdata;

	pod_events_rotated(a->events, v, before);
}

static void agent_pod_mistaken(void *userdata, const struct pod_state *s, const char *text)
{
	struct agent *a = userdata;

	pod_events_mistaken(a->events, s, text);
}

static bool agent_has_api_server(const struct agent *a)
{
	return !a->sourceless && (a->config->kubeconfig || a->config->in_cluster);
}

static int agent_setup_events(struct agent *a)
{
	const struct event_sender_world world = { .node_name = a->config->node_name,
						  .resumes = a->begun,
						  .look = agent_look_for_trouble,
						  .find = agent_find_trouble,
						  .admit = agent_admit_event,
						  .http = agent_event_http,
						  .answered = agent_event_answered,
						  .userdata = a };
	int r;

	if (!agent_has_api_server(a))
		return 0;
	r = event_sender_new(a->loop, &world, &a->tuning.events, &a->events);
	if (r < 0)
		return r;
	pods_on_update(a->pods, agent_volume_updated, a);
	pods_on_mistake(a->pods, agent_pod_mistaken, a);
	return 0;
}

/* --- what the control socket asks --- */

static int agent_answer(json_t *json, json_t **ret, struct err *e)
{
	if (!json)
		return err_set(e, -ENOMEM, "out of memory");
	*ret = json;
	return 0;
}

static int agent_status(void *userdata, json_t **ret, struct err *e)
{
	struct agent *a = userdata;

	return agent_answer(report_status(&a->report, loop_now(a->loop)), ret, e);
}

static int agent_pods(void *userdata, json_t **ret, struct err *e)
{
	struct agent *a = userdata;

	return agent_answer(report_pods(&a->report), ret, e);
}

static int agent_find(struct agent *a, const char *ref, const struct pod_state **ret_s, struct err *e)
{
	struct source_health h = { .kind = "" };
	const struct pod_state *s = pods_find(a->pods, ref);

	if (s) {
		*ret_s = s;
		return 0;
	}
	source_health(a->source, &h);
	if (!h.pods_synced)
		return err_set(
			e, -EAGAIN,
			"pod %s is not known yet: the first list of pods has not arrived; see `secretlet status`", ref);
	report_why_unknown(&a->report, ref, e);
	return -ENOENT;
}

static int agent_pod(void *userdata, const char *ref, json_t **ret, struct err *e)
{
	struct agent *a = userdata;
	const struct pod_state *s;
	int r;

	r = agent_find(a, ref, &s, e);
	if (r < 0)
		return r;
	return agent_answer(report_pod(&a->report, s), ret, e);
}

static bool agent_may_be_ready(void *userdata, const char *ref)
{
	struct agent *a = userdata;
	const struct pod_state *s = pods_find(a->pods, ref);

	return s && pod_state_is_ready(s);
}

static json_t *agent_refused(void *userdata, const char *ref)
{
	struct agent *a = userdata;

	return report_refused_pod(&a->report, ref);
}

static int agent_mounts(void *userdata, const char *ref, const char *container, struct control_later *later,
			json_t **ret, struct err *e)
{
	struct agent *a = userdata;
	const struct pod_state *s;
	int r;

	r = agent_find(a, ref, &s, e);
	return r < 0 ? r : handout_mounts(a->handout, s, container, later, ret, e);
}

static int agent_env(void *userdata, const char *ref, const char *container, struct control_later *later, json_t **ret,
		     struct err *e)
{
	struct agent *a = userdata;
	const struct pod_state *s;
	int r;

	r = agent_find(a, ref, &s, e);
	return r < 0 ? r : handout_env(a->handout, s, container, later, ret, e);
}

static int agent_pull_config(void *userdata, const char *ref, const char *container, struct control_later *later,
			     json_t **ret, struct err *e)
{
	struct agent *a = userdata;
	const struct pod_state *s;
	int r;

	r = agent_find(a, ref, &s, e);
	return r < 0 ? r : handout_pull_config(a->handout, s, later, ret, e);
}

static int agent_secrets(void *userdata, unsigned kinds, const struct selector *selector, json_t **ret, struct err *e)
{
	struct agent *a = userdata;

	return agent_answer(report_secrets(&a->report, kinds, selector), ret, e);
}

/* ref is "NS/NAME", valid. */
static int agent_find_secret(struct agent *a, const char *ref, const struct store_entry **ret_entry, struct err *e)
{
	const char *slash = strchr(ref, '/');
	cleanup_free char *ns = strndup(ref, (size_t)(slash - ref));
	const struct store_entry *entry = ns ? store_find(a->store, OBJECT_SECRET, ns, slash + 1) : NULL;

	if (!entry)
		return err_set(
			e, -ENOENT,
			"no pod on node %s refers to a Secret %s; `secretlet secrets` lists those that are needed",
			a->config->node_name, ref);
	*ret_entry = entry;
	return 0;
}

static int agent_secret(void *userdata, const char *ref, json_t **ret, struct err *e)
{
	struct agent *a = userdata;
	const struct store_entry *entry;
	int r;

	r = agent_find_secret(a, ref, &entry, e);
	return r < 0 ? r : agent_answer(report_secret(entry), ret, e);
}

static int agent_refresh(void *userdata, const char *ref, json_t **ret, struct err *e)
{
	struct agent *a = userdata;
	const struct store_entry *entry;
	int r;

	r = agent_find_secret(a, ref, &entry, e);
	if (r < 0)
		return r;
	r = store_refresh(a->store, OBJECT_SECRET, entry->ns, entry->name);
	if (r < 0)
		return err_set(e, r, "fetch %s: %s", ref, strerror(-r));
	return agent_answer(report_secret(entry), ret, e);
}

static int agent_tell_metrics(struct agent *a, struct buf *text)
{
	const struct http *http = agent_has_api_server(a) ? source_api_http(a->source) : NULL;
	int r = report_metrics(&a->report, http, clock_realtime_usec(), text);

	return r < 0 ? r : PAGE_GOOD;
}

static int agent_page(void *userdata, enum page page, bool verbose, struct buf *text)
{
	struct agent *a = userdata;
	uint64_t beat = arena_connection(a->arena)->heartbeat_usec;
	struct health health;
	int r;

	if (page == PAGE_METRICS)
		return agent_tell_metrics(a, text);
	if (page == PAGE_HEALTHZ)
		report_alive(&a->report, beat, clock_monotonic_usec(), &health);
	else
		report_ready(&a->report, beat, clock_monotonic_usec(), &health);
	r = health_text(&health, page_name(page), verbose, text);
	return r < 0 ? r : health_is_good(&health) ? PAGE_GOOD : PAGE_BAD;
}

static const struct control_ops agent_control_ops = {
	.status = agent_status,
	.pods = agent_pods,
	.pod = agent_pod,
	.may_be_ready = agent_may_be_ready,
	.refused = agent_refused,
	.mounts = agent_mounts,
	.env = agent_env,
	.pull_config = agent_pull_config,
	.secrets = agent_secrets,
	.secret = agent_secret,
	.refresh = agent_refresh,
	.page = agent_page,
};

/* --- what the keeper says --- */

static void agent_attach_publisher(struct agent *a, const struct link_message *m, int take_fd)
{
	int r;

	if (take_fd < 0) {
		log_error(NULL, "the keeper sent a publisher without its socket");
		return;
	}
	/* for a successor, which may have to finish what this publisher has begun */
	arena_connection(a->arena)->publisher = m->value;
	a->publisher_hangs = false;
	r = publish_attach(a->publish, take_fd, m->value, NULL, NULL);
	if (r < 0)
		log_error(NULL, "attach the publisher (pid %d): %s", m->value, strerror(-r));
	control_notify(a->control);
}

static bool agent_read_only(void *userdata)
{
	struct agent *a = userdata;
	int r = link_send(a->link, LINK_READ_ONLY, 0, 0, NULL, -1);

	if (r < 0)
		log_error(NULL, "tell the keeper that the file system is read-only: %s", strerror(-r));
	return r == 0;
}

static void agent_attach_audit(struct agent *a, int take_fd)
{
	int r = take_fd < 0 ? -EBADMSG : audit_names_attach(a->audit, take_fd);

	if (r < 0)
		log_error(NULL, "attach the audit process: %s", strerror(-r));
}

static void agent_attach_signaller(struct agent *a, int take_fd)
{
	int r = take_fd < 0 ? -EBADMSG : signals_attach(a->signals, take_fd);

	a->report.n_signallers++;
	if (r < 0)
		log_error(NULL, "connect with the signaller: %s", strerror(-r));
}

static void agent_leave_notes(struct agent *a, int log_level, const struct source_tuning *tuning)
{
	uint64_t *notes = arena_connection(a->arena)->notes;

	notes[NOTE_TUNED] = false; /* whoever comes while this is half done does without */
	atomic_signal_fence(memory_order_seq_cst);
	notes[NOTE_LOG_LEVEL] = (uint64_t)log_level;
	notes[NOTE_STRATEGY] = tuning->strategy;
	notes[NOTE_SYNC_USEC] = tuning->sync_usec;
	notes[NOTE_CACHE_TTL_USEC] = tuning->cache_ttl_usec;
	notes[NOTE_EVENTS] = EVENTS_NOTED | (tuning->events.failures ? EVENTS_FAILURES : 0) |
			     (tuning->events.rotations ? EVENTS_ROTATIONS : 0) |
			     (uint64_t)tuning->events.qps << EVENTS_QPS_SHIFT |
			     (uint64_t)tuning->events.burst << EVENTS_BURST_SHIFT;
	atomic_signal_fence(memory_order_seq_cst);
	notes[NOTE_TUNED] = true;
}

static struct source_events agent_read_events(uint64_t note)
{
	return (struct source_events){ .failures = note & EVENTS_FAILURES,
				       .rotations = note & EVENTS_ROTATIONS,
				       .qps = (unsigned)(note >> EVENTS_QPS_SHIFT & EVENTS_NUMBER),
				       .burst = (unsigned)(note >> EVENTS_BURST_SHIFT & EVENTS_NUMBER) };
}

static void agent_read_notes(struct agent *a)
{
	const uint64_t *notes = arena_connection(a->arena)->notes;
	struct source_events events = a->config->tuning.events;

	a->tuning = a->config->tuning;
	if (notes[NOTE_TUNED] != 1 || notes[NOTE_STRATEGY] >= SOURCE_STRATEGIES_N ||
	    notes[NOTE_LOG_LEVEL] > LOG_LEVEL_DEBUG)
		return;
	if (notes[NOTE_EVENTS])
		events = agent_read_events(notes[NOTE_EVENTS]);
	a->tuning = (struct source_tuning){ .strategy = (enum source_strategy)notes[NOTE_STRATEGY],
					    .sync_usec = notes[NOTE_SYNC_USEC],
					    .cache_ttl_usec = notes[NOTE_CACHE_TTL_USEC],
					    .events = events };
	log_set_level((enum log_level)notes[NOTE_LOG_LEVEL]);
}

static void agent_reloaded(void *userdata, int log_level_or_error, const struct source_tuning *tuning)
{
	struct agent *a = userdata;
	int r;

	if (log_level_or_error >= 0)
		agent_leave_notes(a, log_level_or_error, tuning);
	if (log_level_or_error >= 0 && a->events)
		event_sender_tune(a->events, &tuning->events);
	r = link_send(a->link, LINK_RELOADED, a->reload_id, log_level_or_error, NULL, -1);

	if (r < 0)
		log_error(NULL, "tell the keeper: %s", strerror(-r));
}

static void agent_link_readable(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	static struct link_message m; /* 4 KiB, one thread */
	struct agent *a = userdata;
	int r, with;

	uint64_t until_usec = clock_monotonic_usec() + LINK_TURN_USEC;

	do {
		with = -1;
		r = link_receive(fd, &m, &with);
		if (r == -EAGAIN)
			return;
		if (r < 0) {
			if (r != -EPIPE)
				log_error(NULL, "a message of the keeper could not be read: %s", strerror(-r));
			loop_exit(a->loop, EXIT_FAILURE);
			return;
		}
		switch (m.type) {
		case LINK_OPENED:
			files_keeper_opened(a->files, &m, with);
			break;
		case LINK_PUBLISHER:
			agent_attach_publisher(a, &m, with);
			break;
		case LINK_PUBLISHER_ASIDE:
			close_fd(with);
			/* not slow: it has a lock to wait for, and the next one has as long as usual */
			if (publish_is_publisher(a->publish, m.value))
				a->n_publisher_hangs = 0;
			publish_put_aside(a->publish, m.value, m.path, m.id);
			break;
		case LINK_PUBLISHER_ENDED:
			close_fd(with);
			publish_aside_ended(a->publish, m.value);
			break;
		case LINK_WRITABLE:
			close_fd(with);
			publish_repeat(a->publish);
			break;
		case LINK_AUDIT:
			agent_attach_audit(a, with);
			break;
		case LINK_CACHE:
			a->report.n_caches++;
			if (with >= 0)
				offline_replace_process(a->offline, with);
			break;
		case LINK_RESTARTS:
			close_fd(with);
			a->report.restarts.told = true;
			a->report.restarts.n_agents = m.id;
			a->report.restarts.n_publishers = (uint32_t)m.value;
			break;
		case LINK_SIGNALLER:
			agent_attach_signaller(a, with);
			break;
		case LINK_RELOAD:
			close_fd(with);
			a->reload_id = m.id;
			reload_begin(a->reload, a->source);
			break;
		case LINK_STOP:
			loop_exit(a->loop, EXIT_SUCCESS);
			return;
		default:
			close_fd(with);
			log_warning(NULL, "unknown message %u of the keeper", m.type);
		}
	} while (clock_monotonic_usec() < until_usec);
}

static void agent_session_ended(void *userdata, int r)
{
	struct agent *a = userdata;

	/* by the keeper when it stops, or by somebody else (umount -f, fusectl): the keeper knows which. Such a connection
	 * never comes back */
	log_info(NULL, "the file system was unmounted");
	a->remount = true;
	loop_exit(a->loop, EXIT_FAILURE);
}

/* Times are kept as they are: what is told outside is never younger than nothing (cli_age()), what is measured inside is
 * measured on the monotonic clock, or as a token's age on that which goes on during sleep, and version names have a random part
 * beside the time. */
static void agent_clock_jumped(void *userdata, const struct jump *jump)
{
	struct agent *a = userdata;

	if (jump->set_usec != 0)
		log_info(NULL, "the clock was set %s by %" PRId64 " ms", jump->set_usec < 0 ? "back" : "forward",
			 (jump->set_usec < 0 ? -jump->set_usec : jump->set_usec) / (int64_t)USEC_PER_MSEC);
	if (jump->slept_usec == 0)
		return;
	log_info(NULL, "the machine has slept for %" PRIu64 " s", jump->slept_usec / USEC_PER_SEC);
	source_slept(a->source);
}

/* --- start --- */

/* What is in the arena cannot be used, and trying again would not change that. */
static int agent_cannot_go_on(struct agent *a, int r)
{
	a->remount = r == -EBADMSG || r == -EPROTO;
	return r;
}

/* Volumes that are served already are not taken away for it. */
static int agent_check_lock(struct agent *a, struct err *e)
{
	struct secmem_stats s = secmem_stats();
	int r;

	if (!s.locked && a->config->memory_lock != CONFIG_LOCK_WARN && !a->begun)
		return err_set(e, -EPERM,
			       "the memory for Secrets cannot be locked, so it might be written to the swap. It takes "
			       "CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=); with "
			       "memoryLock: warn in the configuration the daemon starts without");
	if (!s.locked)
		log_warning(NULL, "the memory for Secrets cannot be locked: it may be written to the swap "
				  "(CAP_IPC_LOCK, LimitMEMLOCK=)");
	if (!s.undumped)
		log_warning(NULL, "the memory for Secrets cannot be left out of cores (MADV_DONTDUMP)");
	r = secmem_lock_process();
	if (r < 0 && a->config->memory_lock == CONFIG_LOCK_ALL_REQUIRED && !a->begun)
		return err_set(e, r,
			       "the agent's heap cannot be locked (%s), so credentials and what passes through it "
			       "might be written to "
			       "the swap. It takes an unlimited RLIMIT_MEMLOCK (LimitMEMLOCK=infinity, ulimit -l "
			       "unlimited) or "
			       "CAP_SYS_RESOURCE; with memoryLock: require the daemon starts without",
			       strerror(-r));
	if (r < 0)
		log_write(a->begun ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, LOG_F({ "error", strerror(-r) }),
			  "the heap cannot be locked: what passes through it may be written to the swap "
			  "(LimitMEMLOCK=infinity)");
	return 0;
}

static int agent_setup_memory(struct agent *a, struct err *e)
{
	int r;

	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium cannot be initialised");
	json_setup();
	r = arena_open(KEEPER_FD_ARENA, &a->arena, e);
	if (r < 0)
		return agent_cannot_go_on(a, r);
	a->begun = arena_connection(a->arena)->init_len > 0;
	agent_read_notes(a);
	return agent_check_lock(a, e);
}

static int agent_load_source(struct agent *a, struct err *e)
{
	const struct config *c = a->config;

	if (agent_has_api_server(a)) {
		const struct source_api_options o = { .kubeconfig = c->kubeconfig,
						      .node_name = c->node_name,
						      .tuning = a->tuning,
						      .kube_api_qps = c->kube_api_qps,
						      .kube_api_burst = c->kube_api_burst };

		return source_api_new(a->loop, a->files, &o, &agent_sink, a, &a->source, e);
	}
	const struct source_manifests_options o = { .dir = c->manifests_dir,
						    .take_inotify = KEEPER_FD_WATCHES,
						    .key_file = c->sealing_key_file,
						    .resumes = a->begun,
						    .node_name = c->node_name };

	return source_manifests_new(a->loop, a->files, &o, &agent_sink, a, &a->source, e);
}

/* The next agent begins with privileges, which loading takes, and a rule for a folder. */
static void agent_make_room(void *userdata)
{
	struct agent *a = userdata;

	loop_exit(a->loop, KEEPER_EXIT_AGAIN);
}

/* What is served already is not given up for it: a file may be missing while it is being replaced. */
static int agent_go_on_without_source(struct agent *a, struct err *e)
{
	uint64_t now = clock_monotonic_usec(), since = arena_sourceless(a->arena);
	bool manifests = !agent_has_api_server(a);
	struct source_absent_options o = { .kind = manifests ? "manifests" : "api-server",
					   .location = (manifests ? a->config->manifests_dir : a->config->kubeconfig)
							       ?: "in-cluster credentials",
					   .why = e,
					   .again = agent_make_room };
	int r;

	if (!since || since > now)
		arena_set_sourceless(a->arena, since = now);
	o.away_usec = now - since;
	log_error(NULL, "%s: what is published is served on, the next try is in %u s", err_text(e),
		  (unsigned)(source_absent_retry_usec(o.away_usec) / USEC_PER_SEC));
	r = source_absent_new(a->loop, &o, &agent_sink, a, &a->source);
	if (r < 0)
		return err_set(e, r, "out of memory");
	a->sourceless = true;
	*e = ERR_INIT;
	return 0;
}

static int agent_setup_source(struct agent *a, struct err *e)
{
	int r;

	r = files_keeper_new(a->link, &a->files);
	if (r < 0)
		return err_set(e, r, "out of memory");
	r = agent_load_source(a, e);
	if (r == 0 && arena_sourceless(a->arena))
		log_info(NULL, "the source can be loaded again");
	if (r == 0)
		arena_set_sourceless(a->arena, 0);
	else if (a->begun)
		r = agent_go_on_without_source(a, e);
	if (r < 0)
		return r;
	r = reload_new(a->files, a->config, a->parse, a->parse_userdata, agent_reloaded, a, &a->reload);
	if (r < 0)
		return err_set(e, r, "configuration file: %s", strerror(-r));
	r = files_keeper_seal(a->files);
	if (r < 0)
		return err_set(e, r, "tell the keeper: %s", strerror(-r));
	return 0;
}

static int agent_open_listener(struct agent *a, const char *field, const char *text, const struct bind_address *address,
			       int *ret_fd, struct err *e)
{
	int r = listener_open(address, ret_fd, e);

	if (r == 0)
		return 0;
	r = err_wrap(e, r, "%s (%s)", field, text);
	/* what is served already is not given up for it */
	if (!a->begun)
		return r;
	log_error(NULL, "%s: goes on without", err_text(e));
	a->unserved = *e;
	*e = ERR_INIT;
	return 0;
}

/* With privileges, and while there is no rule against it: the port may be one of root's. */
static int agent_open_listeners(struct agent *a, struct err *e)
{
	const struct config *c = a->config;
	cleanup_free char *healthz = str_format("%s, port %u", c->healthz_address, c->healthz_port);
	struct bind_address address;
	int r = 0;

	if (!healthz)
		return err_set(e, -ENOMEM, "out of memory");
	if (c->metrics_address && bind_address_parse(c->metrics_address, &address) == 0)
		r = agent_open_listener(a, "metricsBindAddress", c->metrics_address, &address,
					&a->listening[LISTENER_METRICS], e);
	if (r == 0 && c->healthz_port && bind_address_make(c->healthz_address, c->healthz_port, &address) == 0)
		r = agent_open_listener(a, "healthzBindAddress", healthz, &address, &a->listening[LISTENER_HEALTHZ], e);
	return r;
}

static int agent_start_listeners(struct agent *a, struct err *e)
{
	static const unsigned health = 1U << PAGE_HEALTHZ | 1U << PAGE_READYZ;
	static const unsigned pages[] = {
		[LISTENER_METRICS] = health | 1U << PAGE_METRICS, [LISTENER_HEALTHZ] = health
	};

	for (size_t i = 0; i < LISTENERS_N; i++) {
		const struct listener_options o = { .pages = pages[i], .page = agent_page, .userdata = a };
		int r = a->listening[i] < 0 ? 0
					    : listener_new(a->loop, TAKE_FD(a->listening[i]), &o, &a->listeners[i], e);

		if (r < 0 && !a->begun)
			return r;
		if (r < 0) {
			log_error(NULL, "%s: goes on without", err_text(e));
			a->unserved = *e;
			*e = ERR_INIT;
		}
	}
	return 0;
}

static int agent_find_user(struct agent *a, struct err *e)
{
	const struct config *c = a->config;
	int r;

	r = sandbox_find_user(c->user, c->pods_dir, &a->user, e);
	if (r == 0 && a->user.dynamic)
		log_debug(NULL, "user %s does not exist; running as the unused uid %u", c->user, (unsigned)a->user.uid);
	return r;
}

/* The keeper has looked it up, too, and would not have begun without it. */
static void agent_find_control_group(struct agent *a)
{
	struct err e = ERR_INIT;

	if (a->config->control_group && sandbox_find_group(a->config->control_group, &a->control_group, &e) < 0)
		log_warning(NULL, "controlSocketGroup: %s: only root may use the control socket", err_text(&e));
}

/* A key that cannot be used is a mistake to be corrected before the start; later on, what runs goes on without. */
static int agent_check_cache_key(struct agent *a, int r, struct err *e)
{
	if (r == 0 || !a->begun)
		return r;
	offline_disable(a->offline, err_text(e));
	*e = ERR_INIT;
	return 0;
}

static int agent_start_offline(struct agent *a, struct err *e)
{
	const struct offline_world world = { .loop = a->loop,
					     .source = a->source,
					     .store = a->store,
					     .pods = a->pods,
					     .changed = agent_offline_changed,
					     .process_ended = agent_offline_process_ended,
					     .userdata = a };
	int r = offline_start(a->offline, &world, !arena_connection(a->arena)->notes[NOTE_TOLD]);

	return r < 0 ? err_set(e, r, "offline cache: %s", strerror(-r)) : 0;
}

static int agent_setup_fs(struct agent *a, struct err *e)
{
	int r;

	r = tree_open(clock_realtime_usec(), a->arena, &a->tree, e);
	if (r < 0)
		return r;
	session_note_doubt(arena_connection(a->arena));
	r = publish_new(a->loop, a->tree, &a->publish);
	if (r < 0)
		return err_set(e, r, "publish: %s", strerror(-r));
	publish_will_resume(a->publish);
	publish_on_read_only(a->publish, agent_read_only, a);
	publish_set_fuse(a->publish, KEEPER_FD_FUSE);
	r = session_new(a->loop, KEEPER_FD_FUSE, a->tree, a->publish, arena_connection(a->arena), agent_session_ended,
			a, &a->session, e);
	if (r == 0 && !a->config->extended_attributes)
		session_hide_xattrs(a->session);
	if (r == 0 && a->config->audit_log)
		session_note_missing(a->session, audit_missing(NULL));
	return r;
}

/* As often as one does not answer in time, the next one may take twice as long: on a slow machine it gets on. */
static void agent_watch_publisher(struct agent *a)
{
	struct publish_stats stats = publish_stats(a->publish);
	uint64_t limit = a->config->agent_hang_usec;
	const char *where;
	bool moves;

	if (stats.n_answers != a->n_publisher_answers)
		a->n_publisher_hangs = 0;
	a->n_publisher_answers = stats.n_answers;
	for (unsigned n = 0; n < a->n_publisher_hangs && limit < PUBLISHER_HANG_MAX_USEC; n++)
		limit *= 2;
	/* once per publisher: the next one has an answer to give of its own */
	if (stats.unanswered_usec <= limit || a->publisher_hangs)
		return;
	/* with the next beat, if the keeper does not read */
	where = publish_hanging(a->publish, &moves);
	if (link_send(a->link, LINK_PUBLISHER_HANGS, moves, 0, where, -1) < 0)
		return;
	a->publisher_hangs = true;
	a->n_publisher_hangs++;
}

/* libc would take it for a file that is not there, and ask this machine. */
static void agent_look_for_name_servers(struct agent *a)
{
	if (!sandbox_hides_name_servers())
		return;
	log_warning(NULL, "/etc/resolv.conf leads to where this process may not read: another one begins, which may");
	agent_make_room(a);
}

static void agent_beat(struct loop_source *s, void *userdata)
{
	struct agent *a = userdata;

	__atomic_store_n(&arena_connection(a->arena)->heartbeat_usec, clock_monotonic_usec(), __ATOMIC_RELAXED);
	loop_timer_set(a->heartbeat, a->config->agent_hang_usec / BEATS_PER_HANG);
	agent_watch_publisher(a);
	agent_retain(a); /* what was refused has been mended, or has gone */
	if (++a->n_beats % BEATS_PER_HANG != 0)
		return;
	publish_ask(a->publish);
	agent_look_for_name_servers(a);
}

/* Before the API server is turned to: whoever waits is answered first. */
static int agent_serve(struct agent *a, struct err *e)
{
	int r;

	r = agent_setup_fs(a, e);
	if (r < 0)
		return agent_cannot_go_on(a, r);
	r = loop_add_timer(a->loop, agent_beat, a, &a->heartbeat);
	if (r < 0)
		return err_set(e, r, "heartbeat: %s", strerror(-r));
	/* who waits, waits for nothing of what is still to come */
	session_answer(a->session);
	/* an agent that dies from here on has served */
	r = link_send(a->link, LINK_SERVES, 0, 0, NULL, -1);
	if (r < 0)
		return err_set(e, r, "tell the keeper: %s", strerror(-r));
	r = publish_resume(a->publish, &arena_connection(a->arena)->doubt);
	if (r < 0)
		return err_set(e, r, "publish: %s", strerror(-r));
	if (session_stats(a->session)->resumed)
		log_write(a->sourceless ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, NULL,
			  "resumed: %zu volumes are served as they were", publish_stats(a->publish).n_volumes);
	return 0;
}

static int agent_setup_handout(struct agent *a)
{
	const struct handout_world world = {
		.config = a->config, .source = a->source, .store = a->store, .pods = a->pods, .events = a->events
	};

	return handout_new(&world, &a->handout);
}

static int agent_setup_pods(struct agent *a, struct err *e)
{
	int r;

	r = store_new(agent_store_changed, a, &a->store);
	if (r < 0)
		return err_set(e, r, "store: %s", strerror(-r));
	store_set_source(a->store, a->source);
	r = pods_new(a->loop, a->store, a->publish, agent_pods_changed, a, &a->pods);
	if (r < 0)
		return err_set(e, r, "pods: %s", strerror(-r));
	r = agent_setup_events(a);
	if (r < 0)
		return err_set(e, r, "events: %s", strerror(-r));
	r = agent_setup_handout(a);
	if (r < 0)
		return err_set(e, r, "out of memory");
	r = audit_names_new(a->loop, a->tree, a->pods, a->publish, &a->audit);
	if (r < 0)
		return err_set(e, r, "audit: %s", strerror(-r));
	r = signals_new(a->loop, a->pods, a->config->signal_containers, &a->signals);
	if (r < 0)
		return err_set(e, r, "signals: %s", strerror(-r));
	a->report = (struct report_state){ .config = a->config,
					   .pods_dir = a->config->pods_dir,
					   .pods = a->pods,
					   .store = a->store,
					   .source = a->source,
					   .offline = a->offline,
					   .events = a->events,
					   .audit = a->audit,
					   .signals = a->signals,
					   .session = a->session,
					   .publish = a->publish,
					   .tree = a->tree,
					   .unserved = a->unserved.text,
					   .started_usec = loop_now(a->loop),
					   .started_realtime_usec = clock_realtime_usec() };
	r = control_new(a->loop, KEEPER_FD_CONTROL, &agent_control_ops, a, &a->control, e);
	if (r == 0 && a->control_group != (gid_t)-1)
		control_allow_group(a->control, a->control_group);
	return r < 0 ? r : agent_start_listeners(a, e);
}

/* What cannot be kept is looked through with the first complete list of pods, see agent_retain(). */
static void agent_expect_pod(void *userdata, const char *ns, const char *name, const char *uid)
{
	struct agent *a = userdata;

	(void)source_expect_pod(a->source, ns, name, uid);
}

/* Everything is loaded and set up, and the loop has not run: no byte has come from the API server. */
static int agent_seal(struct agent *a, struct err *e)
{
	struct sandbox_needs needs = { .port = 0 };

	if (agent_has_api_server(a)) {
		struct http_target t = source_api_target(a->source);

		needs = (struct sandbox_needs){ .port = t.port, .names = t.by_name, .system_ca = t.system_ca };
	}
	return sandbox_seal(&needs, a->begun, e);
}

static int agent_setup(struct agent *a, struct err *e)
{
	int r;

	r = sandbox_begin(e);
	if (r < 0)
		return r;
	r = agent_find_user(a, e);
	if (r < 0)
		return r;
	agent_find_control_group(a);
	/* its process is forked while there is nothing to be inherited */
	r = offline_new(a->config, &a->user, &a->offline, e);
	if (r < 0)
		return r;
	r = loop_new(&a->loop);
	if (r < 0)
		return err_set(e, r, "event loop: %s", strerror(-r));
	r = agent_setup_memory(a, e);
	if (r < 0)
		return r;
	r = agent_check_cache_key(a, offline_open_key(a->offline, e), e);
	if (r < 0)
		return r;
	r = agent_setup_source(a, e);
	if (r < 0)
		return r;
	r = agent_open_listeners(a, e);
	if (r < 0)
		return r;
	r = sandbox_drop(&a->user, e);
	if (r < 0)
		return r;
	r = sandbox_confine(e);
	if (r < 0)
		return r;
	r = agent_serve(a, e);
	if (r < 0)
		return r;
	r = agent_check_cache_key(a, offline_read_key(a->offline, e), e);
	if (r < 0)
		return r;
	r = agent_setup_pods(a, e);
	if (r < 0)
		return r;
	r = loop_add_io(a->loop, a->link, EPOLLIN, agent_link_readable, a, &a->link_source);
	if (r < 0)
		return err_set(e, r, "watch the link: %s", strerror(-r));
	/* before what it causes: LINK_STOP comes ahead of the unmounting */
	r = loop_source_set_priority(a->link_source, -1);
	if (r < 0)
		return err_set(e, r, "watch the link: %s", strerror(-r));
	r = jumps_new(a->loop, agent_clock_jumped, a, &a->jumps);
	if (r < 0)
		return err_set(e, r, "watch the clock: %s", strerror(-r));
	publish_names(a->publish, agent_expect_pod, a);
	r = source_start(a->source, e);
	if (r < 0)
		return r;
	r = agent_start_offline(a, e);
	if (r < 0)
		return r;
	r = agent_seal(a, e);
	if (r < 0)
		return r;
	/* until now the keeper has waited for it as for one that starts */
	agent_beat(a->heartbeat, a);
	r = link_send(a->link, LINK_READY, 0, a->sourceless ? LINK_READY_SOURCELESS : 0, NULL, -1);
	if (r < 0)
		return err_set(e, r, "tell the keeper: %s", strerror(-r));
	return 0;
}

static void agent_deinit(struct agent *a)
{
	for (size_t i = 0; i < LISTENERS_N; i++) {
		listener_free(a->listeners[i]);
		close_fd(a->listening[i]);
	}
	control_free(a->control);
	handout_free(a->handout);
	audit_names_free(a->audit);
	signals_free(a->signals);
	offline_free(a->offline);
	event_sender_free(a->events);
	pods_free(a->pods);
	source_free(a->source);
	store_free(a->store);
	session_free(a->session);
	publish_free(a->publish);
	tree_free(a->tree);
	reload_free(a->reload);
	files_free(a->files);
	loop_source_free(a->link_source);
	loop_source_free(a->heartbeat);
	jumps_free(a->jumps);
	loop_free(a->loop);
	secmem_deinit();
	arena_close(a->arena);
}

int agent_run(const struct config *c, reload_parse_fn parse, void *parse_userdata)
{
	cleanup(agent_deinit) struct agent a = {
		.config = c,
		.parse = parse,
		.parse_userdata = parse_userdata,
		.link = KEEPER_FD_LINK,
		.control_group = (gid_t)-1,
		.listening = { -1, -1 },
		.unserved = ERR_INIT,
	};
	struct err e = ERR_INIT;
	int r;

	r = agent_setup(&a, &e);
	if (r < 0) {
		log_error(NULL, "%s", err_text(&e));
		return a.remount ? KEEPER_EXIT_REMOUNT : EXIT_FAILURE;
	}
	r = loop_run(a.loop);
	if (r == 0)
		return EXIT_SUCCESS;
	return a.remount ? KEEPER_EXIT_REMOUNT : r == KEEPER_EXIT_AGAIN ? r : EXIT_FAILURE;
}
