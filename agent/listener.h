/* Listener: the pages (pages.h) on a TCP port, for a scraper or a probe. Nobody is asked who he is: what is told has no
 * names and no values in it, and whoever listens on more than the loopback address has wanted it. */
#pragma once

#include "agent/bind_address.h"
#include "agent/pages.h"
#include "common/err.h"
#include "common/loop.h"

struct listener;

/* With the privileges that the port takes. */
int listener_open(const struct bind_address *address, int *ret_fd, struct err *e);

struct listener_options {
	unsigned pages; /* 1U << PAGE_METRICS | ...; the others are 404 */
	page_fn page;
	void *userdata;
	uint64_t life_usec; /* of a connection, from its beginning to its end; 0: 10 s */
	uint64_t fresh_usec; /* for so long a page is told again as it was made; 0: 1 s */
};
int listener_new(struct loop *l, int take_fd, const struct listener_options *o, struct listener **ret_l, struct err *e);
void listener_free(struct listener *l);
DEFINE_CLEANUP(struct listener *, listener_free);
