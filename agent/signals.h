/* Signals: tells the signaller which volumes of this node's pods ask for a signal when they change (on_change), and in which
 * version each is. What it answers is kept for `secretlet status`. */
#pragma once

#include "agent/pods.h"
#include "agent/presence.h"
#include "agent/signal_order.h"
#include "common/json.h"
#include "common/loop.h"

#define SIGNALS_RECENT 16 /* outcomes that are kept */

struct signals;

/* pods is borrowed. !enabled: who asks is told in the log that the operator has not switched it on. */
int signals_new(struct loop *l, const struct pods *pods, bool enabled, struct signals **ret_s);
void signals_free(struct signals *s);
DEFINE_CLEANUP(struct signals *, signals_free);
/* Some pod or volume has another state now: those that ask are looked at within 10 ms, once for all changes meanwhile. */
void signals_look(struct signals *s);
/* The agent's end of a socket to the signaller, from now on instead of the last one. Taken. */
int signals_attach(struct signals *s, int take_fd);

/* The signaller is there; true also if it is not wanted. */
bool signals_is_running(const struct signals *s);
/* Since when it is not. Borrowed. */
const struct presence *signals_presence(const struct signals *s);
/* As it stands in the status. NULL: out of memory. */
json_t *signals_report(const struct signals *s);
