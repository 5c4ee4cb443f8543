/* Token: what is asked of the API server for a serviceAccountToken source (TokenRequest), what it answers, and when it is
 * asked again. Pure: requests and timers are source_api_tokens.c's. */
#pragma once

#include "agent/pod.h"
#include "agent/secret.h"
#include "common/buf.h"
#include "common/json.h"

#define TOKEN_KEY	     "token" /* the one key of what is made of an answer */
#define TOKEN_AUDIENCE_MAX   1024
#define TOKEN_NAME_MAX	     2048
#define TOKEN_EXPIRATION_SEC 3600 /* the API server's default */

/* A token's name in the store: all that it is asked for with, so that equal sources share one. NULL: out of memory. */
char *token_name(const struct pod *pod, const struct pod_volume_source *source);
/* The parts of a name; -EINVAL: it is none. Borrowed from `room`, into which the name is copied. */
struct token_parts {
	const char *account, *pod, *uid;
	int64_t expiration_sec;
	const char *audience; /* "": the API server's own */
};
int token_parse_name(const char *name, char room[static TOKEN_NAME_MAX], struct token_parts *ret_p);

/* "/api/v1/namespaces/NS/serviceaccounts/NAME/token", and the TokenRequest. -ENOMEM. */
int token_request(const char *ns, const struct token_parts *p, char **ret_target, char **ret_body);
/* A token, as an object of one key that belongs to nobody but the store. -EINVAL: issue. */
int token_from_answer(const json_t *answer, const char *ns, const char *name, struct secret **ret_s,
		      uint64_t *ret_expires_usec, int64_t *ret_expiration_sec, struct json_issue *issue);
/* When another one is to be asked for: as the kubelet's token manager does it, when 80 % of its lifetime are over or
 * after a day, some seconds earlier by chance. All CLOCK_REALTIME; random01 in [0,1). */
uint64_t token_refresh_usec(uint64_t expires_usec, int64_t expiration_sec, double random01);
/* The same by two clocks, for neither is enough: CLOCK_REALTIME may be wrong when the token comes, and be set later; CLOCK_BOOTTIME stands
 * still while a virtual machine is paused. expires_usec is by the server's clock. Whichever comes first. */
struct token_times {
	uint64_t realtime_usec, boottime_usec;
};
struct token_times token_refresh_times(uint64_t expires_usec, int64_t expiration_sec, double random01,
				       const struct token_times *now);
/* How long until then; 0: it is due. */
uint64_t token_until_due(const struct token_times *refresh, const struct token_times *now);
