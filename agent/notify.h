/* Notify: what the keeper tells the service manager (sd_notify(3)'s protocol), without ever waiting for it. sd_notify()
 * itself waits when the manager's queue is full, and with it everybody who waits for the next agent.
 *
 * What cannot be sent is kept and sent later, in the same order. It is never much: what says the same again or the
 * opposite replaces what it makes void. */
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "common/base.h"

#define NOTIFY_OWED_MAX 16 /* three names that are stored and removed, and the four states */
#define NOTIFY_TEXT_MAX 128

struct notify_message {
	char text[NOTIFY_TEXT_MAX];
	int fd; /* a copy of our own; -1: none */
};

struct notify {
	int socket; /* -1: there is no service manager */
	struct sockaddr_un address;
	socklen_t address_len;
	struct notify_message owed[NOTIFY_OWED_MAX];
	size_t n_owed;
};
#define NOTIFY_INIT ((struct notify){ .socket = -1 })

/* To $NOTIFY_SOCKET (a path, or @ and an abstract name), which the environment does not have afterwards: it is not for our
 * children. Without it every call does nothing. */
int notify_open(struct notify *n);
void notify_close(struct notify *n);
static inline bool notify_is_open(const struct notify *n)
{
	return n->socket >= 0;
}

/* One variable, "READY=1". For RELOADING=1 a second line. */
void notify_state(struct notify *n, const char *text);
/* The same, but what cannot be sent now is not worth sending later: WATCHDOG=1. */
void notify_sign(struct notify *n, const char *text);
/* Has a copy of the fd kept under this name. */
void notify_fd_store(struct notify *n, const char *name, int fd);
/* Has what is kept under this name closed. */
void notify_fd_remove(struct notify *n, const char *name);
/* Tries again what is owed. */
void notify_flush(struct notify *n);
