/* Metrics: names after Prometheus' conventions: base units (seconds, bytes), _total for what only grows. Times are kept in
 * whole microseconds and written as seconds, so that no locale and no rounding comes in between. */
#include "agent/metrics.h"

#include <inttypes.h>

#include "common/str.h"

#define DEF(m, n, t, h) [METRIC_##m] = { .name = "secretlet_" n, .type = METRIC_##t, .help = (h) }
static const struct metric_def defs[METRICS_N] = {
	DEF(BUILD_INFO, "build_info", GAUGE, "The version that runs; always 1."),
	DEF(AGENT_START, "agent_start_time_seconds", GAUGE,
	    "When the agent process was started, since the epoch. It changes with each restart of the agent."),
	DEF(PROCESS_RESTARTS, "process_restarts_total", COUNTER,
	    "Processes that replaced one that had ended; agents, publishers and audit processes since the daemon was "
	    "started, the others since the agent was."),
	DEF(PODS, "pods", GAUGE, "Pods of this node by state."),
	DEF(VOLUMES, "volumes", GAUGE,
	    "Volumes by state; stale ones can be read, but do not show the newest state of things."),
	DEF(PUBLISH_DURATION, "publish_duration_seconds", HISTOGRAM,
	    "From the order to show a volume's content until it can be read, waiting in the queue included."),
	DEF(EVENT_VISIBLE, "event_visible_seconds", HISTOGRAM,
	    "From the arrival of an object's change until a volume that was readable before shows it, by the volume's "
	    "type."),
	DEF(PUBLISHES, "publishes_total", COUNTER, "Orders to show a volume's content by result."),
	DEF(REMOVALS, "removals_total", COUNTER, "Volumes and pods that were removed."),
	DEF(PUBLISH_QUEUE, "publish_queue_length", GAUGE, "Orders that wait for the publisher."),
	DEF(INFLIGHT_AGE, "inflight_age_seconds", GAUGE,
	    "For how long a process has not answered what it was asked, at most; 0: nothing is under way."),
	DEF(SOURCE_CONNECTED, "source_connected", GAUGE, "Whether the pods of this node are followed right now."),
	DEF(SOURCE_SYNCED, "source_synced", GAUGE, "Whether the first complete list of pods has arrived."),
	DEF(SOURCE_STALENESS, "source_staleness_seconds", GAUGE, "Time since the source was last heard."),
	DEF(SOURCE_OBJECTS, "source_objects", GAUGE,
	    "Objects that pods refer to, by kind, and whether the source has said what they are."),
	DEF(SOURCE_REJECTED, "source_rejected_objects", GAUGE, "Objects that were refused and are not yet corrected."),
	DEF(SOURCE_WATCHES, "source_watches", GAUGE, "Watches that are running."),
	DEF(SOURCE_RECONNECTS, "source_reconnects_total", COUNTER,
	    "How often the API server has answered again after a time in which nobody got an answer."),
	DEF(API_REQUESTS, "api_requests_total", COUNTER,
	    "Requests to the API server by verb, resource and status code; <error>: no answer."),
	DEF(API_REQUESTS_RUNNING, "api_requests_running", GAUGE,
	    "Requests to the API server that are under way, watches included."),
	DEF(API_CONNECTIONS, "api_connections", GAUGE, "Connections to the API server that are open."),
	DEF(API_CONNECTIONS_OPENED, "api_connections_opened_total", COUNTER,
	    "Connections to the API server that were opened."),
	DEF(FUSE_REQUESTS, "fuse_requests_total", COUNTER, "Requests of the kernel by FUSE operation."),
	DEF(FUSE_REFUSED, "fuse_refused_total", COUNTER, "Changing operations of others than the publisher, refused."),
	DEF(FUSE_POISONED, "fuse_poisoned_total", COUNTER,
	    "Requests answered with an error because agents have died of them."),
	DEF(TREE_NODES, "tree_nodes", GAUGE, "Files, folders and links; detached ones are only known to the kernel."),
	DEF(ARENA_USED, "arena_used_bytes", GAUGE, "What is used of the memory for Secrets, overhead included."),
	DEF(ARENA_CONTENT, "arena_content_bytes", GAUGE, "Bytes of the files that are served."),
	DEF(LOCKED, "locked_bytes", GAUGE,
	    "What is used of the memory for Secrets and locked; 0 where the lock was refused."),
	DEF(LOCKED_LIMIT, "locked_limit_bytes", GAUGE, "How much memory there is for Secrets (secretMemoryLimit)."),
	DEF(LOG_DROPPED, "log_lines_dropped_total", COUNTER, "Lines of the agent's log that nobody took in time."),
	DEF(EVENTS_SENT, "events_sent_total", COUNTER, "Kubernetes Events that the API server has taken."),
	DEF(EVENTS_DROPPED, "events_dropped_total", COUNTER, "Kubernetes Events that were not sent, by reason."),
	DEF(EVENTS_QUEUED, "events_queued", GAUGE, "Kubernetes Events that wait to be sent."),
	DEF(AUDIT_OPENS, "audit_opens_total", COUNTER, "Opens of files that the audit process was told of."),
	DEF(AUDIT_WRITTEN, "audit_records_written_total", COUNTER, "Audit records that were written."),
	DEF(AUDIT_DROPPED, "audit_records_dropped_total", COUNTER,
	    "Opens without an audit record, by reason; queue_full: each time at least one."),
	DEF(CACHE_PODS, "offline_cache_pods", GAUGE, "Pods in the offline cache, and those that are shown from it."),
	DEF(CACHE_WRITES, "offline_cache_writes_total", COUNTER, "Files of the offline cache that were written."),
};
#undef DEF

/* microseconds */
static const uint32_t bounds[HISTOGRAM_BOUNDS] = {
	250,	500,	1000,	2500,	 5000,	  10000,   25000,    50000,
	100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 60000000,
};

const struct metric_def *metric_def(enum metric m)
{
	return &defs[m];
}

const char *metric_type_name(enum metric_type type)
{
	static const char *const names[] = {
		[METRIC_COUNTER] = "counter",
		[METRIC_GAUGE] = "gauge",
		[METRIC_HISTOGRAM] = "histogram",
	};

	return names[type];
}

void histogram_observe(struct histogram *h, uint64_t usec)
{
	size_t i = 0;

	while (i < HISTOGRAM_BOUNDS && usec > bounds[i])
		i++;
	h->counts[i]++;
	h->sum_usec += usec;
}

uint64_t histogram_count(const struct histogram *h)
{
	uint64_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(h->counts); i++)
		n += h->counts[i];
	return n;
}

/* --- text --- */

#define SECONDS_MAX 32

/* "0.00025", "60", "1.5" */
static const char *format_seconds(uint64_t usec, char text[static SECONDS_MAX])
{
	int len = snprintf(text, SECONDS_MAX, "%" PRIu64 ".%06" PRIu64, usec / USEC_PER_SEC, usec % USEC_PER_SEC);

	while (text[len - 1] == '0')
		text[--len] = '\0';
	if (text[len - 1] == '.')
		text[--len] = '\0';
	return text;
}

static void add(struct exposition *x, const char *fmt, ...) attr_printf(2, 3);
static void add(struct exposition *x, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	x->r = x->r ?: buf_vprintf(x->out, fmt, ap);
	va_end(ap);
}

static void add_value(struct exposition *x, const char *value)
{
	for (const char *s = value; *s; s++) {
		if (*s == '\n')
			add(x, "\\n");
		else
			add(x, "%s%c", *s == '\\' || *s == '"' ? "\\" : "", *s);
	}
}

/* "name_suffix{labels,le=...} ", the metric's HELP and TYPE before its first one */
static void begin(struct exposition *x, enum metric m, const char *suffix, const struct metric_label *labels,
		  const char *le)
{
	const struct metric_def *def = metric_def(m);
	const char *between = "{";

	if (x->last != m)
		add(x, "# HELP %s %s\n# TYPE %s %s\n", def->name, def->help, def->name, metric_type_name(def->type));
	x->last = m;
	add(x, "%s%s", def->name, suffix);
	for (; labels && labels->name; labels++) {
		add(x, "%s%s=\"", between, labels->name);
		add_value(x, labels->value);
		add(x, "\"");
		between = ",";
	}
	if (le)
		add(x, "%sle=\"%s\"", between, le);
	add(x, "%s ", le || *between == ',' ? "}" : "");
}

void exposition_count(struct exposition *x, enum metric m, const struct metric_label *labels, uint64_t n)
{
	begin(x, m, "", labels, NULL);
	add(x, "%" PRIu64 "\n", n);
}

void exposition_usec(struct exposition *x, enum metric m, const struct metric_label *labels, uint64_t usec)
{
	char text[SECONDS_MAX];

	begin(x, m, "", labels, NULL);
	add(x, "%s\n", format_seconds(usec, text));
}

void exposition_histogram(struct exposition *x, enum metric m, const struct metric_label *labels,
			  const struct histogram *h)
{
	char text[SECONDS_MAX];
	uint64_t n = 0;

	for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
		n += h->counts[i];
		begin(x, m, "_bucket", labels, format_seconds(bounds[i], text));
		add(x, "%" PRIu64 "\n", n);
	}
	n += h->counts[HISTOGRAM_BOUNDS];
	begin(x, m, "_bucket", labels, "+Inf");
	add(x, "%" PRIu64 "\n", n);
	begin(x, m, "_sum", labels, NULL);
	add(x, "%s\n", format_seconds(h->sum_usec, text));
	begin(x, m, "_count", labels, NULL);
	add(x, "%" PRIu64 "\n", n);
}

int exposition_end(const struct exposition *x)
{
	return x->r;
}
