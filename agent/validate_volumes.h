/* Validate volumes: what validate.h does, for a pod's volumes. */
#pragma once

#include "common/json.h"
#include "common/map.h"

/* spec.volumes; their names go into names (borrowed from spec). */
int validate_volumes(const json_t *spec, const struct json_at *at, struct map *names, struct json_issue *issue);
/* The field of a volume that the key is another spelling of. NULL: none that we know. */
const char *validate_volume_meant(const char *key);
