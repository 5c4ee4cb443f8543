/* Validate: what the API server checks and fills in when a Secret, a ConfigMap or a Pod is given to it, for sources that
 * have no API server. Only what concerns the volumes that we make, in its own words; the shape of everything that is read is checked by the
 * codec afterwards. Fields that do not exist are only warned of, as by the API server, except where that would silently
 * change what such a volume shows or where: in the volume, its sources and items and a volumeMount, a volume's field that
 * begins with `secret`, and a Secret's or ConfigMap's that differs from a field in upper and lower case alone. */
#pragma once

#include "agent/secret.h"
#include "common/json.h"

/* Told for each field that does not exist and is not refused; a negative return ends it and is passed on. */
typedef int (*validate_note_fn)(void *userdata, const struct json_issue *issue);
enum validate_kind { VALIDATE_POD, VALIDATE_SECRET, VALIDATE_CONFIG_MAP };
/* Of an object as it was read, of any shape; nothing is changed. */
int validate_unknown_fields(const json_t *obj, enum validate_kind kind, validate_note_fn fn, void *userdata);

/* Each changes obj in place to what the API server would store: metadata.namespace is `default` if it is not given.
 * -EINVAL, -ENOMEM: issue says what is wrong and where; obj may be half changed then. Value bytes never get into it. */

/* stringData is merged over data and gone afterwards; type is Opaque if it is not given. */
int validate_secret(json_t *obj, struct json_issue *issue);
int validate_config_map(json_t *obj, struct json_issue *issue);
/* status and metadata.deletionTimestamp are taken away: only a server sets them. */
int validate_pod(json_t *obj, struct json_issue *issue);
/* May `fresh` follow `old`? -EINVAL: it changes the type, or an immutable object. */
int validate_secret_update(const struct secret *old, const struct secret *fresh, struct json_issue *issue);
