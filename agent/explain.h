/* Explain: from what the daemon tells of itself and of a pod (the JSON of the control API), what is right and what is wrong
 * with its volumes, and what one does about it. Pure: asks nobody, and goes by reasons, never by sentences; a refusal's
 * sentence is only looked at for whom it names.
 *
 * What comes out is an array of findings: {"level": "ok", "note" or "problem", "code": "KeyNotFound", "volume": "creds" or null,
 * "object": "Secret default/db", "since": RFC 3339 or null, "message": what is said of it, "advice": what to do,
 * "commands": [for a shell...], "details": [more lines...]}. */
#pragma once

#include "common/err.h"
#include "common/json.h"

struct explain;

/* status: GET /v1/status, borrowed; NULL: there is none. ref: the pod as the user names it. */
int explain_new(const json_t *status, const char *ref, struct explain **ret_x);
void explain_free(struct explain *x);
DEFINE_CLEANUP(struct explain *, explain_free);
/* pod: GET /v1/pods/REF. volume: only this one; NULL: all. */
void explain_pod(struct explain *x, const json_t *pod, const char *volume);
/* There is no such pod. answer: what GET /v1/pods/REF says then, with why it is refused; pods: GET /v1/pods, where not all are that
 * are. */
void explain_unknown_pod(struct explain *x, const json_t *answer, const json_t *pods);
/* What is wrong with the daemon, if anything is. */
void explain_daemon(struct explain *x);
/* What somebody else has found: a code that advice.h knows. */
void explain_add(struct explain *x, const char *code, const char *object, const char *message);
/* Some finding is a problem. */
bool explain_has_problem(const struct explain *x);
/* All of them, those of the daemon first when they are about to explain the others. -ENOMEM: something is missing. */
int explain_findings(struct explain *x, json_t **ret_findings);
