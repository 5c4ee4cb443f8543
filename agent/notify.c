/* Notify: the socket is not connected, because whoever listens may be another one after a while. An fd that is owed is a
 * copy: its number may be another file by then. */
#include "agent/notify.h"

#include <fcntl.h>

#include "common/log.h"

#define STORE  "FDSTORE=1\nFDNAME="
#define REMOVE "FDSTOREREMOVE=1\nFDNAME="

/* 0; -EINVAL: not a form that we know. */
static int address_parse(const char *path, struct sockaddr_un *ret_a, socklen_t *ret_len)
{
	size_t len = strlen(path);

	if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof ret_a->sun_path)
		return -EINVAL;
	*ret_a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret_a->sun_path, path, len);
	*ret_len = offsetof(struct sockaddr_un, sun_path) + len + 1;
	if (path[0] == '@') {
		/* no NUL at the end: it would be a part of the name */
		ret_a->sun_path[0] = 0;
		(*ret_len)--;
	}
	return 0;
}

int notify_open(struct notify *n)
{
	const char *path = getenv("NOTIFY_SOCKET");
	int r;

	*n = NOTIFY_INIT;
	if (!path)
		return 0;
	r = address_parse(path, &n->address, &n->address_len);
	unsetenv("NOTIFY_SOCKET");
	if (r < 0)
		return r;
	n->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return n->socket < 0 ? -errno : 0;
}

static void owed_drop(struct notify *n, size_t i)
{
	close_fd(n->owed[i].fd);
	n->n_owed--;
	memmove(&n->owed[i], &n->owed[i + 1], (n->n_owed - i) * sizeof n->owed[0]);
}

void notify_close(struct notify *n)
{
	while (n->n_owed > 0)
		owed_drop(n, n->n_owed - 1);
	n->socket = close_fd(n->socket);
}

static int notify_send(const struct notify *n, const char *text, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct msghdr m = { .msg_name = (void *)(uintptr_t)&n->address,
			    .msg_namelen = n->address_len,
			    .msg_iov = &iov,
			    .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		m.msg_control = control.bytes;
		m.msg_controllen = sizeof control.bytes;
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	return sendmsg(n->socket, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* Full, or being started anew. */
static bool may_pass(int r)
{
	return r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM || r == -ETOOMANYREFS || r == -ECONNREFUSED ||
	       r == -ENOENT;
}

void notify_flush(struct notify *n)
{
	while (n->n_owed > 0) {
		int r = notify_send(n, n->owed[0].text, n->owed[0].fd);

		if (may_pass(r))
			return;
		if (r < 0)
			log_warning(NULL, "tell the service manager %.*s: %s", (int)strcspn(n->owed[0].text, "\n"),
				    n->owed[0].text, strerror(-r));
		owed_drop(n, 0);
		if (n->n_owed == 0)
			log_debug(NULL, "the service manager has been told everything");
	}
}

/* Whether `text` makes `old` void: the same variable, or for fds the same name, as what removes one that was to be stored. */
static bool replaces(const char *text, const char *old)
{
	if (strncmp(text, REMOVE, strlen(REMOVE)) == 0 && strncmp(old, STORE, strlen(STORE)) == 0)
		return str_eq(text + strlen(REMOVE), old + strlen(STORE));
	if (strstr(text, "FDNAME="))
		return str_eq(text, old);
	return strncmp(text, old, strcspn(text, "=") + 1) == 0;
}

static void notify_tell(struct notify *n, const char *text, int fd)
{
	struct notify_message *m;

	if (!notify_is_open(n))
		return;
	for (size_t i = n->n_owed; i-- > 0;)
		if (replaces(text, n->owed[i].text))
			owed_drop(n, i);
	if (n->n_owed == NOTIFY_OWED_MAX) {
		log_error(NULL, "too much to tell the service manager; forgotten: %.*s",
			  (int)strcspn(n->owed[0].text, "\n"), n->owed[0].text);
		owed_drop(n, 0);
	}
	m = &n->owed[n->n_owed];
	m->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0 && m->fd < 0) {
		log_warning(NULL, "give an fd to the service manager: %m");
		return;
	}
	snprintf(m->text, sizeof m->text, "%s", text);
	n->n_owed++;
	notify_flush(n);
	if (n->n_owed == 1 && m == &n->owed[0])
		log_warning(NULL, "the service manager does not read what it is told; it is told later");
}

void notify_state(struct notify *n, const char *text)
{
	notify_tell(n, text, -1);
}

void notify_sign(struct notify *n, const char *text)
{
	if (notify_is_open(n))
		(void)notify_send(n, text, -1);
}

void notify_fd_store(struct notify *n, const char *name, int fd)
{
	char text[NOTIFY_TEXT_MAX];

	snprintf(text, sizeof text, STORE "%s", name);
	notify_tell(n, text, fd);
}

void notify_fd_remove(struct notify *n, const char *name)
{
	char text[NOTIFY_TEXT_MAX];

	snprintf(text, sizeof text, REMOVE "%s", name);
	notify_tell(n, text, -1);
}
