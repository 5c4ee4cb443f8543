/* API calls: how often the API server was asked for what, and what it answered. Of a path only the resource is kept, of a
 * status only those of a list. */
#pragma once

#include "common/base.h"

enum api_verb { API_GET, API_LIST, API_WATCH, API_POST, API_PATCH, API_VERBS_N };
enum api_kind {
	API_PODS,
	API_SECRETS,
	API_CONFIG_MAPS,
	API_NODES,
	API_ACCOUNTS,
	API_TOKENS,
	API_EVENTS,
	API_HEALTH,
	API_OTHER,
	API_KINDS_N,
};
#define API_CODES_N 24

struct api_call {
	enum api_verb verb;
	enum api_kind kind;
};
struct api_calls {
	uint64_t n[API_VERBS_N][API_KINDS_N][API_CODES_N];
};

/* target: "/api/v1/namespaces/NS/secrets?..."; method: NULL for GET. */
struct api_call api_call_of(const char *method, const char *target, bool watch);
/* status 0: no answer. */
void api_calls_count(struct api_calls *c, struct api_call call, int status);

/* "LIST", "secrets", "200"; of a status that is not listed its class ("4xx"), "<error>" for no answer. */
const char *api_verb_name(enum api_verb verb);
const char *api_kind_name(enum api_kind kind);
const char *api_code_name(size_t code);
