/* Validate: what the API server checks and fills in when a Secret or a Pod is given to it, for sources that have no API
 * server. Only what concerns secret volumes, in its own words; the shape of everything that is read is checked by the
 * codec afterwards. Beyond the API server (and like kubectl, which validates strictly): fields that do not exist are
 * refused where a misspelling would silently lose a secret. */
#pragma once

#include "agent/secret.h"
#include "common/json.h"

/* Each changes obj in place to what the API server would store: metadata.namespace is `default` if it is not given.
 * -EINVAL, -ENOMEM: issue says what is wrong and where; obj may be half changed then. Value bytes never get into it. */

/* stringData is merged over data and gone afterwards; type is Opaque if it is not given. */
int validate_secret(json_t *obj, struct json_issue *issue);
/* status and metadata.deletionTimestamp are taken away: only a server sets them. */
int validate_pod(json_t *obj, struct json_issue *issue);
/* May `fresh` follow `old`? -EINVAL: it changes the type, or an immutable Secret. */
int validate_secret_update(const struct secret *old, const struct secret *fresh, struct json_issue *issue);
