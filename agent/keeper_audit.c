/* Keeper, the audit process: starts it and its successors, and connects it with each new agent. Nobody waits for it: what is opened
 * while there is none stays in the notification group, which is ours (audit.h), for the next one. */
#include "agent/keeper_internal.h"

#include <signal.h>
#include <sys/socket.h>

#include "agent/link.h"

void keeper_drop_audit_link(struct keeper *k)
{
	loop_source_free(TAKE_PTR(k->audit_link_source));
	k->audit_group.link = close_fd(k->audit_group.link);
}

void keeper_connect_audit(struct keeper *k)
{
	cleanup_fd int theirs = -1, agents = -1;
	int pair[2], r;

	if (!k->audit.pid || k->stage != STAGE_READY || k->stopping)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		log_error(NULL, "connect the audit process: socketpair: %m");
		return;
	}
	theirs = pair[0];
	agents = pair[1];
	r = link_send(k->link, LINK_AUDIT, 0, 0, NULL, agents);
	if (r == 0)
		r = link_send(k->audit_group.link, LINK_AUDIT, 0, 0, NULL, theirs);
	/* it asks again */
	if (r < 0 && r != -EPIPE)
		log_warning(NULL, "connect the audit process: %s", strerror(-r));
}

static void keeper_audit_link_readable(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	static struct link_message m; /* 4 KiB, one thread */
	struct keeper *k = userdata;
	int with = -1, r = link_receive(fd, &m, &with);

	close_fd(with);
	if (r == -EPIPE) /* its death is told by the child watch */
		loop_source_free(TAKE_PTR(k->audit_link_source));
	else if (r == 0 && m.type == LINK_AUDIT)
		keeper_connect_audit(k);
}

static int keeper_start_audit(struct keeper *k, struct err *e)
{
	static char program[] = "secretlet-audit", command[] = "internal-audit";
	struct audit_group *g = &k->audit_group;
	cleanup_free char **argv = NULL;
	cleanup_fd int theirs = -1;
	int pair[2], r;

	r = audit_group_open(g, e);
	if (r < 0)
		return r;
	r = keeper_argv(k, program, command, audit_reason_name(g->reason), &argv);
	if (r < 0)
		return err_set(e, r, "out of memory");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return err_set(e, -errno, "socketpair: %m");
	keeper_drop_audit_link(k);
	g->link = pair[0];
	theirs = pair[1];
	r = loop_add_io(k->loop, g->link, EPOLLIN, keeper_audit_link_readable, k, &k->audit_link_source);
	if (r < 0)
		return err_set(e, r, "watch its link: %s", strerror(-r));
	r = child_spawn(&k->world, &k->audit, argv,
			(int[]){ theirs, k->conn.mount.private, g->group, g->counts, k->config_text }, 5,
			keeper_audit_died, k, e);
	if (r < 0)
		return r;
	g->reason = AUDIT_PROCESS;
	keeper_connect_audit(k);
	return 0;
}

void keeper_audit_restart(struct loop_source *s, void *userdata)
{
	struct keeper *k = userdata;
	struct err e = ERR_INIT;

	if (k->stopping || k->audit.pid || !k->config->audit_log || !fsconn_is_open(&k->conn))
		return;
	if (keeper_start_audit(k, &e) < 0) {
		log_error(NULL, "start the audit process: %s", err_text(&e));
		loop_timer_set(k->audit.restart, backoff_next(&k->audit.backoff, loop_now(k->loop), random01()));
	}
}

void keeper_audit_died(struct loop_source *s, pid_t pid, int code, int status, void *userdata)
{
	struct keeper *k = userdata;
	uint64_t delay;
	char end[64];

	child_forget(&k->audit);
	keeper_drop_audit_link(k);
	if (k->stopping) {
		keeper_exit_if_stopped(k);
		return;
	}
	/* of an earlier connection: another is on its way */
	delay = k->audit_group.reason != AUDIT_PROCESS ? 0
		: loop_now(k->loop) - k->audit.started_usec >= CHILD_STEADY_USEC
			? 0
			: backoff_next(&k->audit.backoff, loop_now(k->loop), random01());
	if (k->audit_group.reason == AUDIT_PROCESS)
		log_error(NULL, "the audit process (pid %d) %s, starting another in %u ms", (int)pid,
			  child_end(code, status, end), (unsigned)(delay / USEC_PER_MSEC));
	if (k->stage == STAGE_READY)
		loop_timer_set(k->audit.restart, delay);
}
