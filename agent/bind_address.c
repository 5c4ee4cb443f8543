/* Bind address: addresses only; a name would have to be looked up, and could be several. */
#include "agent/bind_address.h"

#include <arpa/inet.h>

#include "common/str.h"

#define PORT_MAX 65535

int bind_address_make(const char *ip, unsigned port, struct bind_address *ret_a)
{
	struct bind_address a = { .len = 0 };

	if (port == 0 || port > PORT_MAX)
		return -EINVAL;
	if (inet_pton(AF_INET, ip, &a.v4.sin_addr) == 1) {
		a.len = sizeof(a.v4);
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons((uint16_t)port);
	} else if (inet_pton(AF_INET6, ip, &a.v6.sin6_addr) == 1) {
		a.len = sizeof(a.v6);
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons((uint16_t)port);
	} else {
		return -EINVAL;
	}
	*ret_a = a;
	return 0;
}

int bind_address_parse(const char *text, struct bind_address *ret_a)
{
	const char *colon = strrchr(text, ':');
	char ip[INET6_ADDRSTRLEN];
	bool brackets;
	uint64_t port;
	size_t len;

	if (!colon || str_parse_u64(colon + 1, PORT_MAX, &port) < 0)
		return -EINVAL;
	len = (size_t)(colon - text);
	brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';
	text += brackets;
	len -= brackets ? 2 : 0;
	/* without brackets nobody could tell the port from the address */
	if (len >= sizeof(ip) || brackets != (memchr(text, ':', len) != NULL))
		return -EINVAL;
	memcpy(ip, text, len);
	ip[len] = '\0';
	return bind_address_make(ip, (unsigned)port, ret_a);
}
