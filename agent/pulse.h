/* Pulse: finds TCP connections on which a question was asked and nothing came back, although the other side's kernel may
 * still acknowledge what we send. Loop thread only. */
#pragma once

#include "common/base.h"
#include "common/list.h"

struct pulse {
	struct list sockets;
	uint64_t generation;
};

void pulse_init(struct pulse *p);
/* Forgets all sockets; closes none. */
void pulse_deinit(struct pulse *p);
/* The fd is borrowed until pulse_remove(). -ENOMEM. */
int pulse_add(struct pulse *p, int fd);
void pulse_remove(struct pulse *p, int fd);
/* Sockets that were there before the last pulse_begin_generation() are shut down. */
void pulse_begin_generation(struct pulse *p);
void pulse_shut_older(struct pulse *p);
bool pulse_is_empty(const struct pulse *p);
/* Shuts down each socket that was asked before the last call and has received nothing since; its owner reads the end of
 * the stream then. Returns how many. *ret_silent: there is one that has received nothing since the last call, and should
 * be asked. */
size_t pulse_judge(struct pulse *p, bool *ret_silent);
/* Between these two the owner asks: a socket that had received nothing at the last pulse_judge(), and to which
 * something was written meanwhile, is expected to be answered. Not one from which something has come, to which it may
 * have been a reply; nor one that has no room for anything, which the kernel ends (TCP_USER_TIMEOUT). */
void pulse_before_asking(struct pulse *p);
void pulse_after_asking(struct pulse *p);
/* The socket with this local port is not to be asked again before the next pulse_judge(): what was given to it may wait
 * for room, or have been written to another one. */
void pulse_tried(struct pulse *p, uint16_t port);
/* The socket with this local port had received nothing at the last pulse_judge(), and was neither asked nor tried since. */
bool pulse_is_to_ask(const struct pulse *p, uint16_t port);
