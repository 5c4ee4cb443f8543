/* Relay: a TCP proxy on the test's own loop, between a client and a server of the same machine: forwards as it is, or after
 * an HTTP CONNECT or a SOCKS5 greeting; counts, remembers what was asked, and turns into a black hole on demand. */
#pragma once

#include "common/loop.h"

struct relay;

enum relay_kind { RELAY_PLAIN, RELAY_CONNECT, RELAY_SOCKS5 };

struct relay_options {
	enum relay_kind kind;
	bool ipv6; /* listens on ::1 instead of 127.0.0.1 */
	uint16_t target_port; /* on 127.0.0.1, whatever CONNECT or SOCKS5 ask for */
};

/* Asserts that it works. */
struct relay *relay_new(struct loop *l, const struct relay_options *o);
void relay_free(struct relay *r);
uint16_t relay_port(const struct relay *r);
/* For new connections. */
void relay_set_target(struct relay *r, uint16_t port);
/* Connections that are there now say and hear nothing any more, and do not end. */
void relay_freeze(struct relay *r);
/* Only the oldest of those that are left. */
void relay_freeze_oldest(struct relay *r);
size_t relay_n_accepted(const struct relay *r);
size_t relay_n_open(const struct relay *r);
/* The last head of a CONNECT, or "host:port" of SOCKS5; "" if there was none. */
const char *relay_asked(const struct relay *r);
