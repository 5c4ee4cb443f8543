/* Sandbox calls: the system calls of each process, as tables for common/sysfilter.h. */
#pragma once

#include "common/sysfilter.h"

struct sandbox_calls {
	const struct sysfilter_rule *rules;
	size_t n;
	uint32_t otherwise;
};

/* The agent, before it serves anything; and in addition when all its libraries are loaded. */
extern const struct sandbox_calls SANDBOX_AGENT;
extern const struct sandbox_calls SANDBOX_NO_NEW_CODE;
extern const struct sandbox_calls SANDBOX_NO_FILES; /* there is none that it opens by itself */
extern const struct sandbox_calls SANDBOX_NO_NAMES; /* it looks no host name up */
extern const struct sandbox_calls SANDBOX_NO_INTERNET; /* it talks to no API server */
/* The offline cache's process. */
extern const struct sandbox_calls SANDBOX_CACHE;
/* The audit process. */
extern const struct sandbox_calls SANDBOX_AUDIT;
/* The signaller. */
extern const struct sandbox_calls SANDBOX_SIGNALLER;
/* What neither the keeper nor anything that it starts ever does. */
extern const struct sandbox_calls SANDBOX_KEEPER;
