/* Link: one fixed header and a path for each packet. Every packet that is not exactly that is refused as a whole, and
 * whatever fds came with it are closed, so that a confused (or hostile) agent can neither fill the keeper's descriptor
 * table nor make it read past what was sent. */
#include "agent/link.h"

#include <sys/socket.h>
#include <sys/uio.h>

#define LINK_HEADER offsetof(struct link_message, path)

int link_send(int link, enum link_type type, uint32_t id, int32_t value, const char *path, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct link_message head = { .type = type, .id = id, .value = value };
	size_t len = path ? strlen(path) : 0;
	struct iovec iov[2] = { { .iov_base = &head, .iov_len = LINK_HEADER },
				{ .iov_base = (void *)(uintptr_t)path, .iov_len = len } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = len ? 2 : 1 };
	struct cmsghdr *c;

	if (len >= sizeof(head.path))
		return -ENAMETOOLONG;
	head.path_len = len;
	if (fd >= 0) {
		m.msg_control = control.bytes;
		m.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	if (sendmsg(link, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

/* Takes the first fd out of the control data and closes all others. */
static int link_take_fd(struct msghdr *m, bool *ret_excess)
{
	int first = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (first < 0) {
				first = fd;
				continue;
			}
			close_fd(fd);
			*ret_excess = true;
		}
	}
	return first;
}

int link_receive(int link, struct link_message *ret_m, int *ret_fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 4)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = ret_m, .iov_len = sizeof(*ret_m) };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	cleanup_fd int fd = -1;
	bool excess = false;
	ssize_t n;

	n = recvmsg(link, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	fd = link_take_fd(&m, &excess); /* an empty packet may have some, too */
	if (n == 0)
		return fd < 0 ? -EPIPE : -EBADMSG;
	if (excess || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || (size_t)n < LINK_HEADER ||
	    ret_m->path_len >= sizeof(ret_m->path) || (size_t)n != LINK_HEADER + ret_m->path_len ||
	    memchr(ret_m->path, 0, ret_m->path_len))
		return -EBADMSG;

	ret_m->path[ret_m->path_len] = 0;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
