/* Hook watch: a child does the work, so that the hook itself ends in time whatever the child waits for. */
#pragma once

#include "common/base.h"

/* Shared with the child. */
struct hook_watch;

/* In the child: from now on it may take this long. */
void hook_watch_limit(struct hook_watch *w, uint64_t usec);
/* In the child: what it is about to do, for whoever wonders why it did not come back. */
void hook_watch_doing(struct hook_watch *w, const char *fmt, ...) attr_printf(2, 3);

/* Runs `work` in a child, which has its standard input and no other file, and returns the exit status that it returns. Its
 * standard error goes to ours and to the system's log, line by line; its standard output to ours, but only after it has
 * returned 0. When the time is up the child is killed, and cli_status's 1 returned, without waiting for its end. */
int hook_watch_run(int (*work)(struct hook_watch *w, void *arg), void *arg, uint64_t limit_usec);

/* One line, to the standard error and to the system's log. */
void hook_watch_tell(const char *line);
