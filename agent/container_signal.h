/* Container signal: the signals that a container may be sent when a volume of its has changed. */
#pragma once

#include "common/base.h"

#define CONTAINER_SIGNAL_NAMES "SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGTERM"
#define CONTAINER_SIGNALS      5

/* "SIGHUP" -> its number. 0: it is none of these. */
int container_signal_parse(const char *name);
/* "SIGHUP". NULL: it is none of these, and never sent. */
const char *container_signal_name(int signo);
/* 0 to CONTAINER_SIGNALS - 1, for a table of them. Never one that has no name. */
size_t container_signal_index(int signo);
/* It asks the program to read its files again, and means something to a program alone that waits for it: others would be ended by
 * it. SIGTERM asks it to end, whether it waits for it or not. */
bool container_signal_is_notice(int signo);
