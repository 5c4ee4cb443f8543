/* Signal queue: which volumes have changed and whose containers are yet to be signalled. It sees to it that a container gets one
 * signal for a change and not two, at most one within SIGNAL_INTERVAL_USEC, and that none is forgotten when the agent is
 * another one in between. */
#pragma once

#include "agent/signal_finder.h"
#include "agent/signal_order.h"
#include "common/loop.h"

#define SIGNAL_SETTLE_USEC   (50 * USEC_PER_MSEC) /* volumes that change together are told together */
#define SIGNAL_INTERVAL_USEC USEC_PER_SEC /* between two signals to one process */
#define SIGNAL_TRIES	     10 /* so often, one interval apart, a program is waited for that does not catch it yet */
#define SIGNAL_QUEUE_MAX     8192 /* volumes that are known */

struct signal_queue;

/* The finder is borrowed. `lost` is called when the agent has gone, or is let go: it is to be connected anew. */
typedef void (*signal_queue_lost_fn)(void *userdata);
int signal_queue_new(struct loop *l, const struct signal_finder *f, signal_queue_lost_fn lost, void *userdata,
		     struct signal_queue **ret_q);
void signal_queue_free(struct signal_queue *q);
DEFINE_CLEANUP(struct signal_queue *, signal_queue_free);
/* The agent's socket, from now on instead of the last one. Taken. */
int signal_queue_attach(struct signal_queue *q, int take_fd);
bool signal_queue_is_attached(const struct signal_queue *q);
/* What the agent has said and what waits is done now. */
void signal_queue_finish(struct signal_queue *q);
const struct signal_counts *signal_queue_counts(const struct signal_queue *q);
