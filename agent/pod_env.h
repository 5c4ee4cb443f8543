/* Pod env: what a pod says of its containers' environment, and of the Secrets that its images are pulled with. It is kept
 * as text, and looked at when somebody asks for it (environment.h): what is wrong with it is no reason to refuse the pod. */
#pragma once

#include "agent/pod.h"
#include "common/json.h"

/* The container's env and envFrom, {"env": [...], "envFrom": [...]}, as text; NULL: it has neither. -ENOMEM. */
int pod_env_read(const json_t *container, char **ret_env);
/* Some container's environment has `word` in it, in a name or a value: "metadata.labels". */
bool pod_env_mentions(const struct pod *p, const char *word);
/* "" if an environment variable may be called so, else the API server's sentence for why not: that of Kubernetes 1.34, which
 * takes names that older ones do not. */
const char *pod_env_name_problem(const char *name);
/* Where the host and the pod can be reached, with commas between; from the pod's status. -ENOMEM. */
int pod_addresses_read(struct pod *p, const json_t *status);
#define PULL_SECRETS_MAX 1000 /* names that are read */
/* The names in obj's imagePullSecrets, which a pod's spec and a ServiceAccount have. What is none is left out, as the
 * kubelet does it; of a ServiceAccount that is what has no name (codec_check_account()). -ENOMEM. */
int pod_pull_secrets_read(const json_t *obj, struct name_list *ret_names);
