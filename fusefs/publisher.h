/* Publisher: the process that makes the VFS calls in the private mount, one order at a time. It decides nothing. */
#pragma once

#include "common/base.h"

/* Runs until the socket ends: never returns to anything but _exit(). Makes private_mount its root folder, drops all capabilities but stays uid 0 (the tree's
 * owner), sets no_new_privs, not dumpable, and a seccomp filter of the calls that it makes. Logs go to stderr before the
 * filter is on; afterwards errors travel in the answers. */
int publisher_run(int socket, int private_mount);
/* What the process becomes: see there. Landlock leaves it the calls of an update beneath `root`, where the kernel has it; what it
 * reads goes to `null`. */
int publisher_confine(int root, int null);
