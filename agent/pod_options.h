/* Pod options: what a pod asks of us by annotation, beyond what a kubelet offers. A mistake costs the pod what it is a
 * mistake in, and is told. */
#pragma once

#include "agent/pod.h"
#include "common/json.h"

#define POD_OPTION_PREFIX "secretlet.dev/"
/* Names of volumes, with commas between them, or "*": their keys have live files, for subPath mounts that follow updates. */
#define POD_OPTION_LIVE POD_OPTION_PREFIX "live"
/* A map of volumes and what is asked of each (volume_options.h). */
#define POD_OPTION_VOLUMES POD_OPTION_PREFIX "volumes"

#define POD_MISTAKES_MAX   16 /* of one pod; more are not kept */
#define POD_LIVE_NAMES_MAX 1000 /* as many as a pod has volumes, at most; an annotation that has more names none */

/* Reads the annotations (NULL: none) of a pod whose volumes are known. What is wrong is in p->mistakes, and where it is
 * not known what is asked of a volume, in its option_error. -ENOMEM. */
int pod_options_read(struct pod *p, const json_t *annotations);
/* The annotations that say what was read; NULL: there is nothing to be said, or no memory. */
json_t *pod_options_write(const struct pod *p);
/* Both ask for the same, with the same mistakes. */
bool pod_options_same(const struct pod *a, const struct pod *b);
/* All mistakes, in one line; NULL: there is none, or no memory. */
char *pod_options_mistakes(const struct pod *p);

/* One more mistake, whose text is what follows; of `m` the rest counts. -ENOMEM. */
int pod_options_complain(struct pod *p, const char *annotation, const struct pod_mistake *m, const char *fmt, ...)
	attr_printf(4, 5);
