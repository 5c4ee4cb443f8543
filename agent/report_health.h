/* Report health: the checks of /healthz (restarting helps) and /readyz (it serves what it should). */
#pragma once

#include "agent/health.h"
#include "agent/report.h"

/* beat_usec: when the loop gave its last sign of life. now is monotonic. */
void report_alive(const struct report_state *s, uint64_t beat_usec, uint64_t now_usec, struct health *ret);
void report_ready(const struct report_state *s, uint64_t beat_usec, uint64_t now_usec, struct health *ret);
