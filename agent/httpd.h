/* Httpd: libmicrohttpd on the loop. Its epoll fd is one more fd of the loop and its next time-out one more timer, so that all
 * it does happens on the loop thread. */
#pragma once

#include <microhttpd.h>

#include "common/err.h"
#include "common/loop.h"

struct httpd {
	struct loop *loop;
	struct MHD_Daemon *daemon;
	struct loop_source *io, *timeout, *again; /* its epoll, its timer, more to do now */
	unsigned n_connections; /* after the last run */
	const char *what; /* "control socket": for errors */
};

struct httpd_options {
	const char *what; /* borrowed */
	unsigned connections_max, idle_sec;
	size_t connection_memory;
	MHD_AccessHandlerCallback request;
	MHD_RequestCompletedCallback completed;
	MHD_NotifyConnectionCallback connection; /* NULL: nobody asks */
	void *userdata; /* of all three */
};

/* take_fd: a listening socket. On failure h is as httpd_stop() leaves it. */
int httpd_start(struct httpd *h, struct loop *l, int take_fd, const struct httpd_options *o, struct err *e);
/* A connection was resumed, or shut down: it is looked at before the loop waits again. */
void httpd_again(struct httpd *h);
/* Whether a query has the argument, with a value or without one. */
bool httpd_has_argument(struct MHD_Connection *connection, const char *name);
/* No connection may be suspended. */
void httpd_stop(struct httpd *h);
