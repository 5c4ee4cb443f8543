/* Keeper, the link: what the agent asks for. The agent parses what comes from the network, so whatever it asks for may be anything, as
 * often as it likes: each message is one that the keeper knows, files come from the opener's list alone, and lines about what is
 * refused are limited. */
#include "agent/keeper_internal.h"

#include <inttypes.h>
#include <signal.h>

#include "agent/link.h"
#include "common/version.h"

#define RELOAD_TRIES_MAX 3 /* agents that may die of one reload */
#define LINK_BATCH	 64 /* messages of the agent in one turn: our signals come in between */

static void keeper_complain(struct keeper *k, const struct link_message *m, const char *what, int r)
{
	if (log_limit_ok(&k->complaints, loop_now(k->loop)))
		log_warning(LOG_F({ "path", m->path_len ? m->path : NULL }), "the agent's message %u: %s: %s", m->type,
			    what, strerror(-r));
}

/* with: the inotify instance that a folder's watch is for */
static void keeper_open(struct keeper *k, const struct link_message *m, int with)
{
	int r = m->type == LINK_OPEN ? opener_answer(&k->opener, k->link, m->id, m->path)
				     : opener_watch(&k->opener, k->link, m->id, m->path, with);

	if (r < 0)
		keeper_complain(k, m, r == -EACCES ? "a file that is not on its list" : "cannot be answered", r);
}

/* The agent has logged what became of it. */
static void keeper_reloaded(struct keeper *k, int log_level_or_error)
{
	k->n_reload_tries = 0;
	if (log_level_or_error >= LOG_LEVEL_ERROR && log_level_or_error <= LOG_LEVEL_DEBUG)
		log_set_level((enum log_level)log_level_or_error);
	notify_state(&k->notify, "READY=1");
}

/* Agents start with the configuration that we have read: what has changed since then must be told to one that lives. */
void keeper_tell_reload(struct keeper *k)
{
	char state[64];
	int r;

	if (k->n_reload_tries >= RELOAD_TRIES_MAX) {
		log_error(NULL, "SIGHUP: %u agents died of the reload, everything stays as it is", k->n_reload_tries);
		keeper_reloaded(k, -EIO);
		return;
	}
	k->n_reload_tries++;
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)loop_now(k->loop));
	notify_state(&k->notify, state);
	r = link_send(k->link, LINK_RELOAD, ++k->reload_id, 0, NULL, -1);
	if (r < 0 && r != -EPIPE) {
		log_error(NULL, "SIGHUP: tell the agent: %s", strerror(-r));
		keeper_reloaded(k, r);
	}
}

/* An agent that nobody has asked could silence our log. Of an earlier one of several it may speak: the answer to the last is still
 * to come. */
static int keeper_hear_reloaded(struct keeper *k, const struct link_message *m)
{
	if (k->n_reload_tries == 0 || k->stage != STAGE_READY)
		return -EPERM;
	if (m->id == k->reload_id)
		keeper_reloaded(k, m->value);
	return 0;
}

static void keeper_serves(struct keeper *k)
{
	if (k->absent_usec)
		log_write(k->again ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, NULL,
			  "the agent serves again; readers had to wait for %" PRIu64 " ms",
			  (loop_now(k->loop) - k->absent_usec) / USEC_PER_MSEC);
	k->absent_usec = 0;
	if (k->stage == STAGE_STARTS)
		k->stage = STAGE_SERVES;
}

static void keeper_ready(struct keeper *k, bool sourceless)
{
	keeper_serves(k);
	k->stage = STAGE_READY;
	keeper_tell_restarts(k);
	keeper_tell_aside(k);
	/* what it has asked for is answered from now on */
	if (k->publisher_killed_usec)
		k->publisher_killed_usec = loop_now(k->loop);
	k->n_start_hangs = 0;
	if (!k->ready_once)
		log_info(LOG_F({ "version", SECRETLET_VERSION }, { "node", k->config->node_name },
			       { "pods-dir", k->places.pods_dir }),
			 "ready");
	notify_state(&k->notify, sourceless
					 ? "STATUS=serving what was published: the source cannot be loaded, see the log"
					 : "STATUS=serving");
	notify_state(&k->notify, "READY=1");
	k->ready_once = true;
	/* only now: two programs that are loaded at the same time are both late, and readers wait for the agent alone. One
	 * that still hangs in a call of the last agent's time is followed by another when it has ended */
	loop_timer_set(k->publisher.restart, 0);
	loop_timer_set(k->audit.restart, 0);
	keeper_connect_audit(k);
	if (k->config->signal_containers)
		signaller_child_want(&k->signaller);
	/* its predecessor did not live to do it */
	if (k->n_reload_tries > 0)
		keeper_tell_reload(k);
}

/* Its death is told by the child watch, and another is started. */
static void keeper_kill_publisher(struct keeper *k, const struct link_message *m)
{
	if (k->publisher.pid == 0)
		return;
	log_error(NULL, "the publisher (pid %d) does not answer; killing it", (int)k->publisher.pid);
	keeper_note_hanging(k, m->path, m->id);
	keeper_end_publisher(k);
}

/* Who waits for it is told in every case: it tries again, or gives up. */
void keeper_repaired(void *userdata, int r)
{
	struct keeper *k = userdata;

	if (r != MOUNT_WRITABLE && log_limit_ok(&k->read_only, loop_now(k->loop))) {
		if (r == 0)
			log_error(NULL, "somebody with CAP_SYS_ADMIN has made the file system read-only: it is "
					"writable again");
		else
			log_error(NULL, "the file system is read-only and cannot be made writable: %s", strerror(-r));
	}
	/* another publisher begins anew, too */
	if (k->agent.pid > 0 && link_send(k->link, LINK_WRITABLE, 0, 0, NULL, -1) < 0)
		keeper_end_publisher(k);
}

static void keeper_repair(struct keeper *k)
{
	int r = repair_begin(&k->repair, k->conn.mount.private);

	if (r < 0)
		keeper_repaired(k, r);
}

static int keeper_handle(struct keeper *k, const struct link_message *m, int with)
{
	switch (m->type) {
	case LINK_ALLOW_FILE:
		return opener_allow(&k->opener, m->path, false);
	case LINK_ALLOW_DIR:
		return opener_allow(&k->opener, m->path, true);
	case LINK_ALLOW_WATCH:
		return opener_allow_watch(&k->opener, m->path, (uint32_t)m->value);
	case LINK_SEAL:
		opener_seal(&k->opener);
		return 0;
	case LINK_OPEN:
	case LINK_WATCH:
		keeper_open(k, m, with);
		return 0;
	case LINK_SERVES:
		keeper_serves(k);
		return 0;
	case LINK_READY:
		keeper_ready(k, m->value == LINK_READY_SOURCELESS);
		return 0;
	case LINK_PUBLISHER_HANGS:
		keeper_kill_publisher(k, m);
		return 0;
	case LINK_READ_ONLY:
		keeper_repair(k);
		return 0;
	case LINK_CACHE:
		return keeper_want_cache(k);
	case LINK_RELOADED:
		return keeper_hear_reloaded(k, m);
	default:
		return -EBADMSG;
	}
}

void keeper_link_readable(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	static struct link_message m; /* 4 KiB, one thread */
	struct keeper *k = userdata;

	loop_io_set_events(s, EPOLLIN);
	for (int i = 0; i < LINK_BATCH; i++) {
		int with = -1, r;

		if (opener_flush(&k->opener, fd) == -EAGAIN) {
			/* it is not listened to before it reads */
			loop_io_set_events(s, EPOLLOUT);
			return;
		}
		r = link_receive(fd, &m, &with);
		if (r == -EAGAIN)
			return;
		if (r == -EPIPE) {
			/* its death is told by the child watch */
			loop_source_free(TAKE_PTR(k->link_source));
			return;
		}
		if (r < 0)
			m = (struct link_message){ .type = 0 };
		else
			r = keeper_handle(k, &m, with);
		close_fd(with);
		if (r < 0)
			keeper_complain(k, &m, r == -EDEADLK ? "it is inside the pods dir" : "refused", r);
	}
}
