/* Pulse: TCP_INFO tells to which sockets something was written while curl was asked a question, and what was received
 * since. So a server that hangs, or a proxy that has forgotten about us, is noticed; a dead host is noticed earlier by
 * TCP_USER_TIMEOUT and keep-alive. */
#include "agent/pulse.h"

#include <arpa/inet.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

struct pulse_socket {
	struct list link;
	int fd;
	uint16_t port; /* of this side; 0: it has none yet */
	uint64_t generation;
	bool silent; /* when last judged */
	bool asked;
	bool tried; /* to be asked; it may have no room for it */
	uint64_t written; /* before asking */
	uint64_t received; /* when last looked at */
};

void pulse_init(struct pulse *p)
{
	list_init(&p->sockets);
	p->generation = 0;
}

static void forget(struct pulse_socket *s)
{
	list_remove(&s->link);
	free(s);
}

void pulse_deinit(struct pulse *p)
{
	struct pulse_socket *s;

	while ((s = list_first(&p->sockets, struct pulse_socket, link)))
		forget(s);
}

int pulse_add(struct pulse *p, int fd)
{
	struct pulse_socket *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->fd = fd;
	s->generation = p->generation;
	list_append(&p->sockets, &s->link);
	return 0;
}

void pulse_remove(struct pulse *p, int fd)
{
	struct pulse_socket *s;

	list_for_each (s, &p->sockets, link) {
		if (s->fd != fd)
			continue;
		forget(s);
		return;
	}
}

bool pulse_is_empty(const struct pulse *p)
{
	return list_empty(&p->sockets);
}

void pulse_begin_generation(struct pulse *p)
{
	p->generation++;
}

void pulse_shut_older(struct pulse *p)
{
	struct pulse_socket *s;

	list_for_each (s, &p->sockets, link) {
		if (s->generation < p->generation)
			shutdown(s->fd, SHUT_RDWR);
	}
}

/* Both counts stay 0 where the kernel does not tell. */
static void count_bytes(int fd, uint64_t *ret_written, uint64_t *ret_received)
{
	struct tcp_info info = { .tcpi_state = 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		info = (struct tcp_info){ .tcpi_state = 0 };
	*ret_written = info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
	*ret_received = info.tcpi_bytes_received;
}

static uint16_t local_port(int fd)
{
	struct sockaddr_in6 a = { .sin6_family = AF_UNSPEC };
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0 || (a.sin6_family != AF_INET && a.sin6_family != AF_INET6))
		return 0;
	return ntohs(a.sin6_port);
}
static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port), "one place for both");

size_t pulse_judge(struct pulse *p, bool *ret_silent)
{
	uint64_t written, received;
	struct pulse_socket *s;
	bool silent = false;
	size_t n = 0;

	list_for_each (s, &p->sockets, link) {
		count_bytes(s->fd, &written, &received);
		s->port = s->port ?: local_port(s->fd);
		s->silent = received == s->received && !s->asked;
		silent |= s->silent;
		if (received == s->received && s->asked) {
			shutdown(s->fd, SHUT_RDWR);
			n++;
		}
		s->received = received;
		s->asked = s->tried = false;
	}
	*ret_silent = silent;
	return n;
}

void pulse_before_asking(struct pulse *p)
{
	struct pulse_socket *s;
	uint64_t received;

	list_for_each (s, &p->sockets, link)
		count_bytes(s->fd, &s->written, &received);
}

void pulse_after_asking(struct pulse *p)
{
	uint64_t written, received;
	struct pulse_socket *s;

	list_for_each (s, &p->sockets, link) {
		count_bytes(s->fd, &written, &received);
		s->asked |= s->silent && written > s->written && s->written > 0;
	}
}

void pulse_tried(struct pulse *p, uint16_t port)
{
	struct pulse_socket *s;

	list_for_each (s, &p->sockets, link)
		s->tried |= s->port == port;
}

bool pulse_is_to_ask(const struct pulse *p, uint16_t port)
{
	const struct pulse_socket *s;

	/* a kernel that does not tell what was received would not tell of an answer */
	list_for_each (s, &p->sockets, link)
		if (s->port == port)
			return s->silent && !s->asked && !s->tried && s->received > 0;
	return false;
}
