/* Watches: the inotify instance with which an agent watches its folder of manifests. The keeper makes it, and has a copy: whoever
 * closes the last one waits until the kernel's readers of watches have gone through (SRCU, 14 to 18 ms on Linux 6.18 with 250 Hz),
 * and a process that is killed is not dead before that. Readers that wait for the next agent would wait for that. */
#pragma once

#include "common/base.h"

#define WATCHES_SPENT_MAX 8

struct watches {
	int fd; /* of the present agent, or the next one; -1: there is none */
	int spent[WATCHES_SPENT_MAX]; /* of those that have died */
	size_t n_spent;
};
#define WATCHES_INIT ((struct watches){ .fd = -1 })

/* A new one for the next agent, in w->fd. Negative errno: there is none, and those of dead agents have been closed in vain. Does not
 * wait, unless agents die one after the other and faster than watches_tidy() is called, or no more instances are to be had. */
int watches_renew(struct watches *w);
/* Closes one of those that are spent, when nobody waits for an agent. */
void watches_tidy(struct watches *w);
void watches_deinit(struct watches *w);
