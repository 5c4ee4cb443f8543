/* Validate env: what validate.h does, for a container's environment and a pod's pull secrets. */
#pragma once

#include "common/json.h"

/* env and envFrom of a container. */
int validate_env(const json_t *container, const struct json_at *at, struct json_issue *issue);
/* imagePullSecrets of a pod's spec. */
int validate_pull_secrets(const json_t *spec, const struct json_at *at, struct json_issue *issue);
/* A resourceFieldRef; an environment's is of its own container if it names none. */
int validate_resource_ref(const json_t *ref, bool needs_container, const struct json_at *at, struct json_issue *issue);
