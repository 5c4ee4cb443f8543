/* Pod same: does a new revision of a pod change anything for us? */
#pragma once

#include "agent/pod.h"

/* The two differ in nothing that volumes are made of. */
bool pod_same_view(const struct pod *a, const struct pod *b);
