/* Codec volumes: spec.volumes of a Pod. For codec_pod() alone. */
#pragma once

#include "agent/pod.h"
#include "common/json.h"

/* at: the path of spec. A volume of ours that cannot be made is there with its error; -EINVAL: it is no list, or too long. -ENOMEM. */
int codec_volumes(struct pod *p, const json_t *spec, const struct json_at *at, struct json_issue *issue);
