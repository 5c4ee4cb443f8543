/* Signal order: what agent and signaller say to each other, over SOCK_SEQPACKET: names and numbers, never a value. */
#pragma once

#include "common/base.h"

#define SIGNAL_UID_MAX	   256
#define SIGNAL_VOLUME_MAX  64
#define SIGNAL_VERSION_MAX 64
#define SIGNAL_POD_MAX	   320

enum signal_order_kind {
	SIGNAL_ORDER_TELL, /* the version that the volume has now */
	SIGNAL_ORDER_FORGET, /* the volume has gone, or does not ask any more */
};
struct signal_order {
	uint32_t kind;
	int32_t signo;
	/* the agent has seen the volume change to this version, and was not told yet that it is done. Otherwise only a process that
	 * knows of another version signals: an agent that begins anew cannot say what happened before it */
	uint32_t changed;
	char uid[SIGNAL_UID_MAX], volume[SIGNAL_VOLUME_MAX], version[SIGNAL_VERSION_MAX];
	char pod[SIGNAL_POD_MAX]; /* "default/web", for the log */
};

/* Since the process began. */
struct signal_counts {
	uint64_t n_changes; /* orders to signal, and versions that were found to be new */
	uint64_t n_sent, n_failed;
	uint64_t n_not_caught; /* containers whose program did not wait for the signal */
	uint64_t n_unmounted; /* changes of volumes that no container showed */
	uint64_t n_refused; /* orders that make no sense, or are too many */
};

enum signal_outcome {
	SIGNAL_OUTCOME_NONE,
	SIGNAL_OUTCOME_SENT,
	SIGNAL_OUTCOME_FAILED,
	SIGNAL_OUTCOME_NOT_CAUGHT,
	SIGNAL_OUTCOME_UNMOUNTED, /* no container shows the volume */
	SIGNAL_OUTCOMES_N,
};
struct signal_report {
	uint32_t done; /* uid, volume and version: whoever shows it was signalled, or cannot be */
	uint32_t outcome; /* one of a container (pid, container) or of the whole (SIGNAL_OUTCOME_UNMOUNTED) */
	int32_t signo, pid, error; /* error: a positive errno */
	struct signal_counts counts;
	char uid[SIGNAL_UID_MAX], volume[SIGNAL_VOLUME_MAX], version[SIGNAL_VERSION_MAX];
	char container[128]; /* as its runtime calls it, or its cgroup */
};
