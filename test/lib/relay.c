/* Relay: blocking sockets that are only read when epoll says so. What is forwarded in tests fits the socket buffers. */
#include "test/lib/relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/list.h"
#include "common/str.h"

enum stage { STAGE_HEAD, STAGE_SOCKS_REQUEST, STAGE_FORWARD };

struct pair {
	struct list link;
	struct relay *relay;
	int client, server;
	struct loop_source *client_source, *server_source;
	enum stage stage;
	char head[4096];
	size_t len;
};

struct relay {
	struct loop *loop;
	struct relay_options options;
	int fd;
	uint16_t port;
	struct loop_source *listener;
	struct list pairs;
	size_t n_accepted;
	char asked[4096];
};

static void pair_free(struct pair *p)
{
	list_remove(&p->link);
	loop_source_free(p->client_source);
	loop_source_free(p->server_source);
	close_fd(p->client);
	close_fd(p->server);
	free(p);
}

static void forward(struct pair *p, int from, int to)
{
	char data[16384];
	ssize_t n = read(from, data, sizeof(data));

	if (n <= 0 || send(to, data, (size_t)n, MSG_NOSIGNAL) != n)
		pair_free(p);
}

static void on_server(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct pair *p = userdata;

	forward(p, fd, p->client);
}

static void connect_server(struct pair *p)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_port = htons(p->relay->options.target_port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	p->server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(p->server >= 0);
	if (connect(p->server, (struct sockaddr *)&sin, sizeof(sin)) < 0) {
		pair_free(p);
		return;
	}
	p->stage = STAGE_FORWARD;
	if (loop_add_io(p->relay->loop, p->server, EPOLLIN, on_server, p, &p->server_source) < 0)
		abort();
}

static void answer(struct pair *p, const char *data, size_t len)
{
	assert(send(p->client, data, len, MSG_NOSIGNAL) == (ssize_t)len);
}

static void take_connect(struct pair *p)
{
	static const char ok[] = "HTTP/1.1 200 Connection established\r\n\r\n";

	if (!strstr(p->head, "\r\n\r\n"))
		return;
	snprintf(p->relay->asked, sizeof(p->relay->asked), "%s", p->head);
	answer(p, ok, sizeof(ok) - 1);
	connect_server(p);
}

/* RFC 1928, names only: that is what we want to see asked. */
static void take_socks_request(struct pair *p)
{
	size_t name_len = p->len > 4 ? (unsigned char)p->head[4] : 0;
	static const char ok[] = { 5, 0, 0, 1, 0, 0, 0, 0, 0, 0 };
	unsigned port;

	if (p->len < 5 || p->len < 7 + name_len)
		return;
	if (p->head[3] == 3) {
		port = (unsigned)(unsigned char)p->head[5 + name_len] << 8 | (unsigned char)p->head[6 + name_len];
		snprintf(p->relay->asked, sizeof(p->relay->asked), "%.*s:%u", (int)name_len, p->head + 5, port);
	} else {
		snprintf(p->relay->asked, sizeof(p->relay->asked), "address of type %d", p->head[3]);
	}
	answer(p, ok, sizeof(ok));
	connect_server(p);
}

static void take_socks_greeting(struct pair *p)
{
	static const char no_authentication[] = { 5, 0 };

	if (p->len < 2 || p->len < 2 + (size_t)(unsigned char)p->head[1])
		return;
	p->len = 0;
	p->stage = STAGE_SOCKS_REQUEST;
	answer(p, no_authentication, sizeof(no_authentication));
}

static void on_client(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct pair *p = userdata;
	ssize_t n;

	if (p->stage == STAGE_FORWARD) {
		forward(p, fd, p->server);
		return;
	}
	n = read(fd, p->head + p->len, sizeof(p->head) - 1 - p->len);
	if (n <= 0) {
		pair_free(p);
		return;
	}
	p->len += (size_t)n;
	p->head[p->len] = '\0';
	if (p->relay->options.kind == RELAY_CONNECT)
		take_connect(p);
	else if (p->stage == STAGE_HEAD)
		take_socks_greeting(p);
	else
		take_socks_request(p);
}

static void on_accept(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct relay *r = userdata;
	struct pair *p = calloc(1, sizeof(*p));

	assert(p);
	p->relay = r;
	p->server = -1;
	p->client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	assert(p->client >= 0);
	list_append(&r->pairs, &p->link);
	r->n_accepted++;
	if (loop_add_io(r->loop, p->client, EPOLLIN, on_client, p, &p->client_source) < 0)
		abort();
	if (r->options.kind == RELAY_PLAIN)
		connect_server(p);
}

static int listen_on(const struct relay_options *o, uint16_t *ret_port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr *a = o->ipv6 ? (struct sockaddr *)&sin6 : (struct sockaddr *)&sin;
	socklen_t len = o->ipv6 ? sizeof(sin6) : sizeof(sin);
	int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, a, len) < 0 || listen(fd, 512) < 0 || getsockname(fd, a, &len) < 0)
		abort();
	*ret_port = ntohs(o->ipv6 ? sin6.sin6_port : sin.sin_port);
	return fd;
}

struct relay *relay_new(struct loop *l, const struct relay_options *o)
{
	struct relay *r = calloc(1, sizeof(*r));

	assert(r);
	r->loop = l;
	r->options = *o;
	list_init(&r->pairs);
	r->fd = listen_on(o, &r->port);
	if (loop_add_io(l, r->fd, EPOLLIN, on_accept, r, &r->listener) < 0)
		abort();
	return r;
}

void relay_free(struct relay *r)
{
	struct pair *p;

	if (!r)
		return;
	while ((p = list_first(&r->pairs, struct pair, link)))
		pair_free(p);
	loop_source_free(r->listener);
	close_fd(r->fd);
	free(r);
}

uint16_t relay_port(const struct relay *r)
{
	return r->port;
}

void relay_set_target(struct relay *r, uint16_t port)
{
	r->options.target_port = port;
}

static void freeze(struct pair *p)
{
	loop_source_free(TAKE_PTR(p->client_source));
	loop_source_free(TAKE_PTR(p->server_source));
}

void relay_freeze(struct relay *r)
{
	struct pair *p;

	list_for_each (p, &r->pairs, link)
		freeze(p);
}

void relay_freeze_oldest(struct relay *r)
{
	struct pair *p;

	list_for_each (p, &r->pairs, link) {
		if (!p->client_source)
			continue;
		freeze(p);
		return;
	}
}

size_t relay_n_accepted(const struct relay *r)
{
	return r->n_accepted;
}

/* Frozen ones are not counted. */
size_t relay_n_open(const struct relay *r)
{
	struct pair *p;
	size_t n = 0;

	list_for_each (p, (struct list *)(uintptr_t)&r->pairs, link)
		n += !!p->client_source;
	return n;
}

const char *relay_asked(const struct relay *r)
{
	return r->asked;
}
