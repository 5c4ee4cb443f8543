/* What the API server does to an object before it is stored: defaults, and the checks that people meet. */
#pragma once

#include "test/apiserver/objects.h"

/* Fills in what the server fills in (namespace, Secret type, stringData into data, pod phase, defaultMode) and takes
 * kind and apiVersion off. obj is changed. */
void validate_default(const struct kind *kind, json_t *obj);
/* Before validate_default(): what does not decode as the kind (400). NULL: fine. */
json_t *validate_decode(const struct kind *kind, const json_t *obj);
/* After it: NULL, or a Status (409, 422). old is NULL for a creation. */
json_t *validate_object(const struct kind *kind, const json_t *obj, const json_t *old);
