/* Signaller child. The device of the mount is on its command line: what the agent could change, the arena's note of it, is not
 * asked. One that has ended is followed by another whenever an agent is there, and what it had not done the agent tells again. */
#include "agent/signaller_child.h"

#include <signal.h>
#include <sys/socket.h>

#include "agent/link.h"
#include "common/log.h"
#include "fusefs/mount.h"

static void drop_link(struct signaller_child *s)
{
	loop_source_free(TAKE_PTR(s->link_source));
	s->link = close_fd(s->link);
}

/* One end of a fresh socket for each of the two, as often as one of them is new. */
static void connect_agent(struct signaller_child *s)
{
	cleanup_fd int theirs = -1, agents = -1;
	int pair[2], r;

	if (s->child.pid == 0 || s->ending || s->stopping)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		log_error(NULL, "connect the signaller: socketpair: %m");
		return;
	}
	theirs = pair[0];
	agents = pair[1];
	r = s->hand_over(s->userdata, agents);
	if (r == 0)
		r = link_send(s->link, LINK_SIGNALLER, 0, 0, NULL, theirs);
	/* it asks again */
	if (r < 0 && r != -EPIPE && r != -EAGAIN)
		log_warning(NULL, "connect the signaller: %s", strerror(-r));
}

static void on_link(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	static struct link_message m; /* 4 KiB, one thread */
	struct signaller_child *s = userdata;
	int with = -1, r = link_receive(fd, &m, &with);

	close_fd(with);
	if (r == -EPIPE) /* its death is told by the child watch */
		loop_source_free(TAKE_PTR(s->link_source));
	else if (r == 0 && m.type == LINK_SIGNALLER)
		connect_agent(s);
}

static void on_died(struct loop_source *source, pid_t pid, int code, int status, void *userdata)
{
	struct signaller_child *s = userdata;
	uint64_t delay;
	char end[64];

	child_forget(&s->child);
	drop_link(s);
	if (s->stopping) {
		s->ended(s->userdata);
		return;
	}
	if (s->ending || !s->wanted) {
		s->ending = false;
		loop_timer_set(s->child.restart, 0);
		return;
	}
	delay = child_delay(s->world, &s->child, code != CLD_EXITED);
	log_error(NULL, "the signaller (pid %d) %s, starting another in %u ms", (int)pid, child_end(code, status, end),
		  (unsigned)(delay / USEC_PER_MSEC));
	loop_timer_set(s->child.restart, delay);
}

static int start(struct signaller_child *s, struct err *e)
{
	static char program[] = "secretlet-signaller", command[] = "internal-signaller";
	char device[24], *const argv[] = { program, command, device, NULL };
	cleanup_fd int theirs = -1;
	uint64_t found;
	int pair[2], r;

	r = mount_device(s->pods_dir, &found, e);
	if (r < 0)
		return r;
	snprintf(device, sizeof(device), "%llu", (unsigned long long)found);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return err_set(e, -errno, "socketpair: %m");
	drop_link(s);
	s->link = pair[0];
	theirs = pair[1];
	r = loop_add_io(s->world->loop, s->link, EPOLLIN, on_link, s, &s->link_source);
	if (r < 0)
		return err_set(e, r, "watch its link: %s", strerror(-r));
	return child_spawn(s->world, &s->child, argv, (int[]){ theirs }, 1, on_died, s, e);
}

static void start_and_connect(struct signaller_child *s)
{
	struct err e = ERR_INIT;

	if (s->stopping || !s->wanted)
		return;
	if (s->child.pid == 0 && start(s, &e) < 0) {
		drop_link(s);
		log_error(NULL, "start the signaller: %s", err_text(&e));
		loop_timer_set(s->child.restart, child_delay(s->world, &s->child, false));
		return;
	}
	connect_agent(s);
}

static void on_restart(struct loop_source *source, void *userdata)
{
	start_and_connect(userdata);
}

void signaller_child_want(struct signaller_child *s)
{
	s->wanted = true;
	start_and_connect(s);
}

void signaller_child_end(struct signaller_child *s)
{
	s->wanted = false;
	if (s->child.pid == 0)
		return;
	s->ending = true;
	kill(s->child.pid, SIGKILL);
}

bool signaller_child_stop(struct signaller_child *s)
{
	s->stopping = true;
	return s->child.pid > 0 && link_send(s->link, LINK_STOP, 0, 0, NULL, -1) == 0;
}

void signaller_child_look_after(struct signaller_child *s)
{
	child_look_after(&s->child, on_died, s);
}

int signaller_child_init(struct signaller_child *s, const struct child_world *w, const char *pods_dir,
			 int (*hand_over)(void *userdata, int fd), void (*ended)(void *userdata), void *userdata)
{
	s->world = w;
	s->pods_dir = pods_dir;
	s->hand_over = hand_over;
	s->ended = ended;
	s->userdata = userdata;
	return loop_add_timer(w->loop, on_restart, s, &s->child.restart);
}

void signaller_child_deinit(struct signaller_child *s)
{
	signaller_child_end(s);
	child_forget(&s->child);
	drop_link(s);
	loop_source_free(TAKE_PTR(s->child.restart));
}
