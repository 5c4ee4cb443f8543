/* Source, absent: what stands in the place of a source that cannot be loaded (its kubeconfig, a file that it names or its folder
 * is missing or wrong) while volumes of an earlier process are served. It tells of no pod, so that nothing which is published
 * goes; whoever asks it for something is told why there is nothing. Only a process with privileges can load the source, so
 * after a while this one is to make room for another. */
#pragma once

#include "agent/source.h"
#include "common/loop.h"

/* How long until the source is tried anew, when it has been away for so long: a second at first, then ever longer. */
#define SOURCE_ABSENT_RETRY_MAX_USEC (30 * USEC_PER_SEC)
uint64_t source_absent_retry_usec(uint64_t away_usec);

/* Copied, `again` and userdata apart. */
struct source_absent_options {
	const char *kind, *location; /* as in struct source_health; kind: a literal */
	const struct err *why;
	uint64_t away_usec; /* for how long already */
	/* It is time for another process: source_absent_retry_usec() after the start, or soon after source_reread(). Once, from
	 * the loop. */
	void (*again)(void *userdata);
};

/* -ENOMEM. */
int source_absent_new(struct loop *l, const struct source_absent_options *options, const struct source_sink *sink,
		      void *userdata, struct source **ret_s);
