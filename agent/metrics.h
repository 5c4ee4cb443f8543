/* Metrics: what there is to be measured, in one table, and its text in Prometheus' exposition format (version 0.0.4). Pure:
 * what is told comes from report_metrics.c. No label has a value that is not from a fixed list: names of pods and of Secrets
 * are none. */
#pragma once

#include "common/base.h"
#include "common/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum metric {
	METRIC_BUILD_INFO,
	METRIC_AGENT_START,
	METRIC_PROCESS_RESTARTS,
	METRIC_PODS,
	METRIC_VOLUMES,
	METRIC_PUBLISH_DURATION,
	METRIC_EVENT_VISIBLE,
	METRIC_PUBLISHES,
	METRIC_REMOVALS,
	METRIC_PUBLISH_QUEUE,
	METRIC_INFLIGHT_AGE,
	METRIC_SOURCE_CONNECTED,
	METRIC_SOURCE_SYNCED,
	METRIC_SOURCE_STALENESS,
	METRIC_SOURCE_OBJECTS,
	METRIC_SOURCE_REJECTED,
	METRIC_SOURCE_WATCHES,
	METRIC_SOURCE_RECONNECTS,
	METRIC_API_REQUESTS,
	METRIC_API_REQUESTS_RUNNING,
	METRIC_API_CONNECTIONS,
	METRIC_API_CONNECTIONS_OPENED,
	METRIC_FUSE_REQUESTS,
	METRIC_FUSE_REFUSED,
	METRIC_FUSE_POISONED,
	METRIC_TREE_NODES,
	METRIC_ARENA_USED,
	METRIC_ARENA_CONTENT,
	METRIC_LOCKED,
	METRIC_LOCKED_LIMIT,
	METRIC_LOG_DROPPED,
	METRIC_EVENTS_SENT,
	METRIC_EVENTS_DROPPED,
	METRIC_EVENTS_QUEUED,
	METRIC_AUDIT_OPENS,
	METRIC_AUDIT_WRITTEN,
	METRIC_AUDIT_DROPPED,
	METRIC_CACHE_PODS,
	METRIC_CACHE_WRITES,
	METRICS_N,
};

struct metric_def {
	const char *name, *help;
	enum metric_type type;
};
const struct metric_def *metric_def(enum metric m);
/* "counter" */
const char *metric_type_name(enum metric_type type);

/* Of durations; all have the same bounds, from 250 us to a minute. */
#define HISTOGRAM_BOUNDS 16
struct histogram {
	uint64_t counts[HISTOGRAM_BOUNDS + 1]; /* each its own; the last one: above all bounds */
	uint64_t sum_usec;
};
void histogram_observe(struct histogram *h, uint64_t usec);
/* How many there were. */
uint64_t histogram_count(const struct histogram *h);

/* Text that grows. What is wrong is kept until exposition_end(). */
struct exposition {
	struct buf *out;
	enum metric last; /* whose HELP and TYPE have been written; METRICS_N: none */
	int r;
};
#define EXPOSITION_INIT(buffer) ((struct exposition){ .out = (buffer), .last = METRICS_N })

struct metric_label {
	const char *name, *value; /* the value may be any text */
};
#define METRIC_LABELS_MAX 4
/* METRIC_LABELS({ "verb", "GET" }, { "code", "200" }); NULL for none */
#define METRIC_LABELS(...) ((const struct metric_label[]){ __VA_ARGS__, { NULL, NULL } })

/* One sample each. All of one metric come one after the other; the first writes HELP and TYPE. A metric without any is not in
 * the text. */
void exposition_count(struct exposition *x, enum metric m, const struct metric_label *labels, uint64_t n);
void exposition_usec(struct exposition *x, enum metric m, const struct metric_label *labels, uint64_t usec);
void exposition_histogram(struct exposition *x, enum metric m, const struct metric_label *labels,
			  const struct histogram *h);
/* 0; -ENOMEM, -ENOBUFS: it is not complete. */
int exposition_end(const struct exposition *x);
