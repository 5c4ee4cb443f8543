/* Report metrics: the agent's state as the text of /metrics. */
#pragma once

#include "agent/http.h"
#include "agent/report.h"
#include "common/buf.h"

/* http: the API server's client; NULL: there is none. -ENOMEM, -ENOBUFS. */
int report_metrics(const struct report_state *s, const struct http *http, uint64_t realtime_usec, struct buf *out);
