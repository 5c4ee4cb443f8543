/* Signaller: the process that sends signals to containers (secretlet-signaller). It is there only if signalContainers is set, has
 * CAP_KILL and nothing else, and takes orders from the agent: "this volume of this pod has another version now". The agent
 * may have been taken over: whom it signals is found out by the process itself, from what the kernel says of mounts and
 * cgroups, and what is sent, and how often, is its own matter, too. */
#pragma once

#include "common/base.h"

/* Does not return before it is stopped. device: st_dev of the file system. KEEPER_FD_LINK is its link to the keeper. Returns
 * the exit status. */
int signaller_run(dev_t device);
