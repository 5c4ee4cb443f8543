/* Publish: what the publisher is sent (order.h). A job's steps go out in messages of bounded size, cut where /dev/fuse has to be with
 * some of them and where a live file is settled (step_group), and behind the switch, if another volume's update may come before the
 * rest. A message is made anew each time from what the tree shows, so one that is repeated has only what is still to be done. */
#include "fusefs/publish_internal.h"

#include <sys/socket.h>

#include "common/buf.h"

static int step_encode(struct buf *b, const struct step *s, size_t index)
{
	struct order_step wire = {
		.index = index,
		.op = s->op,
		.ignored = s->ignored,
		.path_len = strlen(s->path) + 1,
		.path2_len = s->path2 ? strlen(s->path2) + 1 : 0,
		.mark = s->mark,
		.node = s->node_id,
	};
	size_t len = b->len;
	int r;

	if (sizeof wire + wire.path_len + wire.path2_len > b->max - len)
		return -ENOBUFS;
	r = buf_add(b, &wire, sizeof wire);
	r = r ?: buf_add(b, s->path, wire.path_len);
	if (r == 0 && s->path2)
		r = buf_add(b, s->path2, wire.path2_len);
	return r;
}

/* fd: -1: none. */
static int order_send(int socket, const struct buf *b, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec iov = { b->data, b->len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
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
	return sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Steps of one group may be in one message: those with /dev/fuse in no other's, and after those that settle a live file nothing
 * else is waited for. */
enum step_group { STEP_PATH, STEP_FUSE, STEP_SETTLE };

static enum step_group step_group(const struct step *s)
{
	return order_op_needs_fuse(s->op) ? STEP_FUSE : s->settles || s->op == ORDER_TOUCH ? STEP_SETTLE : STEP_PATH;
}

int job_send(struct publish *p, struct job *j)
{
	cleanup_buf struct buf b = BUF_INIT(ORDER_MAX);
	struct order_head head = { .id = ++p->last_order_id };
	enum step_group group = STEP_PATH;
	int r;

	r = buf_add(&b, &head, sizeof head);
	if (r < 0)
		return r;
	for (j->n_sent = j->n_done; j->n_sent < j->plan.n_steps; j->n_sent++) {
		enum step_group its = step_group(&j->plan.steps[j->n_sent]);

		if (head.n_steps > 0 && j->n_sent == j->plan.rest_step && job_may_rest(p, j))
			break;
		if (step_is_done(&j->plan, &j->plan.steps[j->n_sent]))
			continue;
		if (head.n_steps > 0 && its != group)
			break;
		group = its;
		r = step_encode(&b, &j->plan.steps[j->n_sent], j->n_sent);
		if (r == -ENOBUFS && head.n_steps > 0)
			break;
		if (r < 0)
			return r;
		head.n_steps++;
	}
	memcpy(b.data, &head, sizeof head);
	j->order_id = head.id;
	r = order_send(p->fd, &b, group == STEP_FUSE ? p->fuse : -1);
	if (r < 0)
		return r;
	p->sent_usec = loop_now(p->loop);
	return 0;
}

/* What comes meanwhile is sent behind it. */
void publish_ask(struct publish *p)
{
	struct order_head head = { .id = p->last_order_id + 1 };

	if (p->fd < 0 || p->sent_usec || p->asked_usec)
		return;
	if (send(p->fd, &head, sizeof head, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
	p->asked_id = ++p->last_order_id;
	p->asked_usec = loop_now(p->loop);
}

const char *order_op_name(enum order_op op)
{
	static const char *const names[ORDER_OPS] = {
		"mkdir",
		"chmod",
		"symlink",
		"rename",
		"unlink",
		"rmdir",
		"mknod",
		"drop the attributes of",
		"drop the pages of",
		"touch",
		"stat",
		"read",
		"readlink",
		"readdir",
	};

	return op < ORDER_OPS ? names[op] : "?";
}
