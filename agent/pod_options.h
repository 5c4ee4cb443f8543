/* Pod options: what a pod asks of us by annotation, beyond what a kubelet offers. A mistake in one costs the pod nothing but
 * the option. */
#pragma once

#include "agent/pod.h"
#include "common/json.h"

#define POD_OPTION_PREFIX "secretlet.dev/"
/* Names of volumes, with commas between them, or "*": their keys have live files, for subPath mounts that follow updates. */
#define POD_OPTION_LIVE POD_OPTION_PREFIX "live"

/* Reads the annotations (NULL: none) of a pod whose volumes are known. What is wrong is noted in p->option_error, the first
 * thing only. -ENOMEM. */
int pod_options_read(struct pod *p, const json_t *annotations);
/* The annotations that say what was understood; NULL: there is nothing to be said, or no memory. */
json_t *pod_options_write(const struct pod *p);
