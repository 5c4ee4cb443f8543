/* Attempts: sockets, and what can be reached by one. */
#include "test/sandbox/attempts.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include "test/sandbox/world.h"

static int try_socket(int domain, int type, int protocol)
{
	return result(syscall(SYS_socket, domain, type, protocol));
}

int try_packet(void)
{
	return try_socket(AF_PACKET, SOCK_RAW, 0);
}

int try_raw(void)
{
	return try_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

/* Of which no two kernels have the same: all, in each form. 0: one of them is known. First those that are mostly there: where there is
 * no rule no module is to be loaded for the others. */
int try_other_families(void)
{
	if (try_socket(AF_PACKET, SOCK_RAW, 0) != EAFNOSUPPORT)
		return 0;
	for (int domain = 0; domain < 64; domain++) {
		if (domain == AF_UNIX || domain == AF_INET || domain == AF_INET6 || domain == AF_NETLINK)
			continue;
		for (int type = SOCK_STREAM; type <= SOCK_PACKET; type++)
			if (try_socket(domain, type, 0) != EAFNOSUPPORT)
				return 0;
	}
	return EAFNOSUPPORT;
}

/* NETLINK_AUDIT is one of them. */
int try_other_netlink(void)
{
	if (try_socket(AF_NETLINK, SOCK_RAW, 15 /* NETLINK_KOBJECT_UEVENT */) != EAFNOSUPPORT)
		return 0;
	for (int protocol = 1; protocol < 32; protocol++)
		if (try_socket(AF_NETLINK, SOCK_RAW, protocol) != EAFNOSUPPORT)
			return 0;
	return EAFNOSUPPORT;
}

int try_netlink_route(void)
{
	return try_socket(AF_NETLINK, SOCK_RAW, 0);
}

int try_inet(void)
{
	return try_socket(AF_INET, SOCK_STREAM, 0);
}

int try_udplite(void)
{
	return try_socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE);
}

/* It makes a socket of any family, if the kernel has it or can load it, before it says whether that knows pairs. */
int try_socketpair(void)
{
	int pair[2];

	return result(socketpair(AF_INET, SOCK_STREAM, 0, pair));
}

/* A protocol over TCP that connects by itself, as SMC. */
int try_upper_protocol(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? errno : result(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "smc", 3));
}

int try_udp(void)
{
	return try_socket(AF_INET, SOCK_DGRAM, 0);
}

int try_udp6(void)
{
	return try_socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP);
}

int try_inet6(void)
{
	return try_socket(AF_INET6, SOCK_STREAM, 0);
}

static int try_connect(uint16_t port)
{
	struct sockaddr_in a = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&a, sizeof(a)));
}

int try_connect_server(void)
{
	return try_connect(world.port);
}

int try_connect_other(void)
{
	return try_connect(world.other_port);
}

/* MPTCP speaks TCP to who does not know it, and is none of the sockets whose ports Landlock rules. */
int try_connect_other_mptcp(void)
{
	struct sockaddr_in a = loopback(world.other_port);
	int fd = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);

	return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&a, sizeof(a)));
}

/* To who listens with the older protocol. */
static int try_connect_other6(int protocol)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(world.other_port) };
	int fd = socket(AF_INET6, SOCK_STREAM, protocol);

	inet_pton(AF_INET6, "::ffff:127.0.0.1", &a.sin6_addr);
	return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&a, sizeof(a)));
}

int try_connect_other_tcp6(void)
{
	return try_connect_other6(IPPROTO_TCP);
}

int try_connect_other_mptcp6(void)
{
	return try_connect_other6(IPPROTO_MPTCP);
}

/* What is sent first connects, and Landlock is not asked: by each of the three calls. */
static int try_fast_open(int call)
{
	struct sockaddr_in a = loopback(world.other_port);
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct mmsghdr m = { .msg_hdr = { &a, sizeof(a), &iov, 1, NULL, 0, 0 } };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		return errno;
	if (call == SYS_sendto)
		return result(sendto(fd, &byte, 1, MSG_FASTOPEN, (struct sockaddr *)&a, sizeof(a)));
	return result(call == SYS_sendmsg ? sendmsg(fd, &m.msg_hdr, MSG_FASTOPEN) : sendmmsg(fd, &m, 1, MSG_FASTOPEN));
}

int try_fast_open_sendto(void)
{
	return try_fast_open(SYS_sendto);
}

int try_fast_open_sendmsg(void)
{
	return try_fast_open(SYS_sendmsg);
}

int try_fast_open_sendmmsg(void)
{
	return try_fast_open(SYS_sendmmsg);
}

/* Nobody listens there, or perhaps somebody does. */
int try_connect_name_server(void)
{
	int r = try_connect(53);

	return r == ECONNREFUSED ? 0 : r;
}

int try_bind(void)
{
	struct sockaddr_in a = loopback(0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? errno : result(bind(fd, (struct sockaddr *)&a, sizeof(a)));
}

int try_listen(void)
{
	return result(syscall(SYS_listen, -1, 1));
}

static int try_unix(const struct sockaddr_un *a)
{
	socklen_t len = offsetof(struct sockaddr_un, sun_path) +
			(a->sun_path[0] ? strlen(a->sun_path) : 1 + strlen(a->sun_path + 1));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? errno : result(connect(fd, (const struct sockaddr *)a, len));
}

int try_abstract(void)
{
	return try_unix(&world.abstract);
}

int try_named(void)
{
	return try_unix(&world.named);
}

int try_raw6(void)
{
	return try_socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
}

int try_unix_seqpacket(void)
{
	return try_socket(AF_UNIX, SOCK_SEQPACKET, 0);
}

int try_socket_unix(void)
{
	return try_socket(AF_UNIX, SOCK_STREAM, 0);
}
