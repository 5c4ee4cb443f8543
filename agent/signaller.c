/* Signaller process. Rights: root's id and CAP_KILL, and of all files /proc, which becomes its root folder and cannot be written
 * to (sandbox_enter_proc(), sandbox_confine_signaller()); its system calls let no other signal pass than those of
 * container_signal.h. What it is told comes from the agent alone (signal_order.h), and is names: the rest is the finder's and
 * the queue's. */
#include "agent/signaller.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include "agent/keeper.h"
#include "agent/link.h"
#include "agent/sandbox.h"
#include "agent/signal_queue.h"
#include "common/log.h"
#include "common/loop.h"

#define RETRY_USEC USEC_PER_SEC

struct signaller {
	struct loop *loop;
	struct loop_source *link_source, *retry;
	struct signal_finder finder;
	struct signal_queue *queue;
	int link;
};

/* The keeper connects us with its next agent; and again with the same one, if that is what it takes. */
static void on_lost(void *userdata)
{
	struct signaller *s = userdata;

	loop_timer_set(s->retry, RETRY_USEC);
}

static void on_retry(struct loop_source *source, void *userdata)
{
	struct signaller *s = userdata;

	if (signal_queue_is_attached(s->queue))
		return;
	(void)link_send(s->link, LINK_SIGNALLER, 0, 0, NULL, -1);
	loop_timer_set(s->retry, RETRY_USEC);
}

static void attach(struct signaller *s, int take_fd)
{
	int r = take_fd < 0 ? -EBADMSG : signal_queue_attach(s->queue, take_fd);

	if (r == 0)
		return;
	log_error(NULL, "connect with the agent: %s", strerror(-r));
	loop_timer_set(s->retry, RETRY_USEC);
}

static void on_link(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	static struct link_message m; /* 4 KiB, one thread */
	struct signaller *s = userdata;

	for (;;) {
		int with = -1, r = link_receive(fd, &m, &with);

		if (r == -EAGAIN)
			return;
		if (r < 0) {
			loop_exit(s->loop, EXIT_FAILURE);
			return;
		}
		switch (m.type) {
		case LINK_SIGNALLER:
			attach(s, with);
			break;
		case LINK_STOP:
			close_fd(with);
			signal_queue_finish(s->queue);
			loop_exit(s->loop, EXIT_SUCCESS);
			return;
		default:
			close_fd(with);
			log_warning(NULL, "unknown message %u of the keeper", m.type);
		}
	}
}

static int setup_loop(struct signaller *s)
{
	int r = loop_new(&s->loop);

	if (r == 0)
		r = loop_add_io(s->loop, s->link, EPOLLIN, on_link, s, &s->link_source);
	if (r == 0)
		r = loop_add_timer(s->loop, on_retry, s, &s->retry);
	if (r == 0)
		r = loop_source_set_priority(s->link_source, -1);
	/* the first connection may fail at the keeper's side, of which we hear nothing */
	if (r == 0)
		loop_timer_set(s->retry, RETRY_USEC);
	return r;
}

static int setup(struct signaller *s, struct err *e)
{
	cleanup_fd int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int none = -1, r;

	if (proc < 0)
		return err_set(e, -errno, "open /proc: %m");
	s->finder.own_root = signal_finder_root(proc, "self");
	if (!s->finder.own_root)
		return err_set(e, -ENOENT, "/proc/self/mountinfo cannot be read");
	r = sandbox_begin(e);
	if (r < 0)
		return r;
	r = setup_loop(s);
	if (r == 0)
		r = signal_queue_new(s->loop, &s->finder, on_lost, s, &s->queue);
	if (r < 0)
		return err_set(e, r, "event loop: %s", strerror(-r));
	r = sandbox_enter_proc(&none, e);
	if (r < 0)
		return r;
	s->finder.proc = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->finder.proc < 0)
		return err_set(e, -errno, "open /proc: %m");
	return sandbox_confine_signaller(s->finder.proc, e);
}

int signaller_run(dev_t device)
{
	static struct signaller s = { .link = KEEPER_FD_LINK };
	struct err e = ERR_INIT;
	int r;

	s.finder = (struct signal_finder){
		.proc = -1, .major = major(device), .minor = minor(device), .keeper = getppid()
	};
	r = setup(&s, &e);
	if (r < 0) {
		log_error(NULL, "%s", err_text(&e));
		return EXIT_FAILURE;
	}
	r = loop_run(s.loop);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
