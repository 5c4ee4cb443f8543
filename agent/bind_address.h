/* Bind address: "127.0.0.1:10249", "[::1]:10249". */
#pragma once

#include <netinet/in.h>

#include "common/base.h"

struct bind_address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t len;
};

/* -EINVAL: it is no IP address with a port from 1 to 65535. */
int bind_address_parse(const char *text, struct bind_address *ret_a);
/* The same in two parts; an IPv6 address without brackets. */
int bind_address_make(const char *ip, unsigned port, struct bind_address *ret_a);
