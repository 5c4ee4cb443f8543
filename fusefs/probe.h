/* Probe: whether the daemon behind a mount is gone. For the keeper, before it serves anybody: it may take as long as a busy
 * machine needs to answer. */
#pragma once

#include "common/err.h"

/* false: it is being served, or its daemon hangs. -ETIMEDOUT: for a minute nobody could find that out. */
int probe_dead(const char *path, bool *ret_dead, struct err *e);
