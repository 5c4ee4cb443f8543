/* Keeper: supervises. It owns the mount and every fd that must outlive a child, and does nothing that could block on
 * the file system it has mounted: no path below the pods dir is ever touched here.
 *
 * A generation is one FUSE connection, and outlives agents and publishers. When the agent dies, calls that wait for it go
 * on to wait, and the next agent answers them: nobody is told anything. What ends a generation early is an arena that
 * cannot be used any more, or that no agent could be started for connectionAbortTimeout; then the connection is aborted,
 * which is the only thing that releases a caller whose request was read and not answered, and the next generation mounts
 * anew.
 *
 * With auditLog a fourth process records who opens what (audit.h), with signalContainers another one sends signals
 * (signaller.h). They are started when an agent serves, and whatever becomes of them, nobody waits for them.
 *
 * Nothing here waits: a publisher that the agent has left in the middle of a call cannot even be killed before the next
 * agent has answered it, so it is signalled, and its death is an event like any other. */
#include "agent/keeper_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "agent/link.h"
#include "agent/sandbox.h"
#include "common/backoff.h"
#include "common/clock.h"
#include "common/str.h"
#include "fusefs/session.h"

#define KEEPER_FILES	 512 /* what each process may have open, at least */
#define KEEPER_STOP_USEC (5 * USEC_PER_SEC)

#define TICK_USEC (2 * USEC_PER_SEC)
/* that an agent's death may be told after that of its publisher, which then is not replaced before the agent is */
#define AGENT_LATE_USEC (50 * USEC_PER_MSEC)
/* that an agent may take before it is ready: the first one, which makes the arena, and the next ones, for which readers wait.
 * As often as one hangs there, the following one may take twice as long, so that a slow machine gets on */
#define START_MAX_USEC	  (60 * USEC_PER_SEC)
#define START_AGAIN_USEC  (3 * USEC_PER_SEC) /* at least */
#define START_AGAIN_HANGS 2 /* times agentHangTimeout */

#define FD_CONTROL "secretlet-control" /* in the service manager's store */

/* --- start-up checks --- */

static void names_free(char ***names)
{
	for (char **n = *names; n && *n; n++)
		free(*n);
	free(*names);
}

static void keeper_say_lock(const struct keeper *k)
{
	if (k->conn.lock_error < 0)
		log_warning(LOG_F({ "error", strerror(-k->conn.lock_error) }),
			    "the keeper cannot lock the memory for Secrets: between two agents it may be written to "
			    "the swap (CAP_IPC_LOCK, LimitMEMLOCK=)");
	if (!k->conn.undumped)
		log_warning(NULL, "the memory for Secrets cannot be left out of the keeper's cores (MADV_DONTDUMP)");
}

/* What an earlier keeper has left with the service manager. Without it, or if it cannot be used, we begin anew. */
static void keeper_adopt(struct keeper *k)
{
	cleanup_fd int fuse = -1, arena = -1;
	cleanup(names_free) char **names = NULL;
	struct err e = ERR_INIT;
	int n;

	n = sd_listen_fds_with_names(1, &names);
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		int *place = str_eq(names[i], FSCONN_FD_FUSE)	 ? &fuse
			     : str_eq(names[i], FSCONN_FD_ARENA) ? &arena
			     : str_eq(names[i], FD_CONTROL)	 ? &k->places.control
								 : NULL;

		if (place && *place < 0)
			*place = fd;
		else
			close(fd);
	}
	if (fuse < 0 || arena < 0) {
		if (fuse >= 0)
			notify_fd_remove(&k->notify, FSCONN_FD_FUSE);
		if (arena >= 0)
			notify_fd_remove(&k->notify, FSCONN_FD_ARENA);
		return;
	}
	if (fsconn_adopt(k->places.pods_dir, TAKE_FD(fuse), TAKE_FD(arena), &k->conn, &e) < 0) {
		log_error(NULL, "cannot go on with the mount of an earlier run: %s", err_text(&e));
		notify_fd_remove(&k->notify, FSCONN_FD_FUSE);
		notify_fd_remove(&k->notify, FSCONN_FD_ARENA);
		return;
	}
	/* it has died with its keeper, unless it waits for an answer */
	if (k->conn.shared->publisher > 0 && kill(k->conn.shared->publisher, 0) < 0)
		k->conn.shared->publisher = 0;
	k->ready_once = true;
	k->absent_usec = clock_monotonic_usec();
	k->audit_group.reason = AUDIT_KEEPER;
	log_info(LOG_F({ "pods-dir", k->places.pods_dir }), "goes on with the mount of an earlier run");
	/* volumes that are served are not taken away for it */
	keeper_say_lock(k);
	if (!fsconn_has_heap_of(&k->conn, k->config->secret_memory_limit))
		log_warning(NULL,
			    "secretMemoryLimit stays %" PRIu64
			    " bytes, as in the earlier run: it is the mount's; to change it, stop "
			    "the daemon, start it, and then the containers again",
			    k->conn.heap_size);
}

static int keeper_prepare_pods_dir(struct keeper *k, struct err *e)
{
	int r;

	r = places_resolve_pods_dir(&k->places, e);
	if (r < 0)
		return r;
	/* what we open must not wait for our own mount */
	k->opener.never[0] = k->places.pods_dir;
	k->opener.never[1] = k->config->pods_dir;
	keeper_adopt(k);
	if (fsconn_is_open(&k->conn))
		return 0;
	return places_clear_pods_dir(&k->places, e);
}

/* For the children: the agent alone may have as many connections as its control socket takes. */
static int keeper_raise_files(struct err *e)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_set(e, -errno, "getrlimit(RLIMIT_NOFILE): %m");
	if (files.rlim_cur >= KEEPER_FILES)
		return 0;
	files.rlim_cur = MIN(files.rlim_max, (rlim_t)KEEPER_FILES);
	if (files.rlim_cur < KEEPER_FILES)
		return err_set(e, -EMFILE, "the limit of open files is too low: %ju; %d are needed (LimitNOFILE=)",
			       (uintmax_t)files.rlim_max, KEEPER_FILES);
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_set(e, -errno, "setrlimit(RLIMIT_NOFILE): %m");
	return 0;
}

static int keeper_check(struct keeper *k, struct err *e)
{
	cleanup_fd int fuse = -1;
	int r;

	if (geteuid() != 0)
		return err_set(e, -EPERM, "must be started by root: it mounts a file system");
	r = keeper_raise_files(e);
	if (r < 0)
		return r;
	fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fuse < 0)
		return err_set(e, -errno, "open /dev/fuse: %m (is the fuse module loaded?)");
	k->world.self = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (k->world.self < 0)
		return err_set(e, -errno, "open /proc/self/exe: %m");

	r = places_lock(&k->places, e);
	if (r < 0)
		return r;
	/* who wants it must not learn later that there is none */
	r = k->config->audit_log ? audit_group_open(&k->audit_group, e) : 0;
	if (r < 0)
		return err_wrap(e, r, "auditLog");
	/* not by the agent, which may go on with a mount that is older than the wish for records */
	if (k->config->audit_log && audit_missing(NULL))
		log_warning(NULL, "this kernel lacks a feature: %s", audit_missing(NULL));
	r = keeper_prepare_pods_dir(k, e);
	if (r < 0)
		return r;
	return places_listen(&k->places, e);
}

/* --- children --- */

int keeper_argv(const struct keeper *k, char *program, char *command, const char *word, char ***ret_argv)
{
	static char option[] = "--pods-dir";
	size_t n_args = 0, n = 0;
	char **argv;

	while (k->args[n_args])
		n_args++;
	argv = calloc(n_args + 6, sizeof(*argv));
	if (!argv)
		return -ENOMEM;
	argv[n++] = program;
	argv[n++] = command;
	if (word)
		argv[n++] = (char *)(uintptr_t)word;
	for (size_t i = 0; i < n_args; i++)
		argv[n++] = k->args[i];
	/* resolved here: the agent must not walk a path that ends in its own mount */
	argv[n++] = option;
	argv[n++] = k->places.pods_dir;
	*ret_argv = argv;
	return 0;
}

void keeper_exit_if_stopped(struct keeper *k)
{
	if (!k->agent.pid && !k->audit.pid && !signaller_child_is_there(&k->signaller))
		loop_exit(k->loop, EXIT_SUCCESS);
}

static void keeper_publisher_died(struct loop_source *s, pid_t pid, int code, int status, void *userdata);
static void keeper_agent_died(struct loop_source *s, pid_t pid, int code, int status, void *userdata);

void keeper_tell_restarts(struct keeper *k)
{
	unsigned n_agents = k->agent.n_starts > 0 ? k->agent.n_starts - 1 : 0;

	(void)link_send(k->link, LINK_RESTARTS, n_agents, (int32_t)k->n_publisher_deaths, NULL, -1);
}

static int keeper_start_publisher(struct keeper *k, struct err *e)
{
	static char program[] = "secretlet-publisher", command[] = "internal-publisher";
	char *const argv[] = { program, command, NULL };
	cleanup_fd int ours = -1, theirs = -1;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, -errno, "socketpair: %m");
	ours = pair[0];
	theirs = pair[1];
	r = child_spawn(&k->world, &k->publisher, argv, (int[]){ theirs, k->conn.mount.private }, 2,
			keeper_publisher_died, k, e);
	if (r < 0)
		return r;
	k->publisher_let_go = false;
	k->publisher_killed_usec = 0;
	keeper_note_hanging(k, "", false);
	keeper_tell_restarts(k);
	r = link_send(k->link, LINK_PUBLISHER, 0, k->publisher.pid, NULL, ours);
	if (r < 0) {
		/* not waited for: the agent may have to answer it first. Its death starts another */
		keeper_end_publisher(k);
		return err_set(e, r, "hand the publisher to the agent: %s", strerror(-r));
	}
	return 0;
}

/* Whose calls the next agent takes for those of the last one's time: never a pid that may be another process by then. */
void keeper_note_publisher(struct keeper *k)
{
	if (fsconn_is_open(&k->conn))
		__atomic_store_n(&k->conn.shared->publisher, k->publisher.pid, __ATOMIC_RELAXED);
}

void keeper_publisher_restart(struct loop_source *s, void *userdata)
{
	struct keeper *k = userdata;
	struct err e = ERR_INIT;

	if (k->stopping || k->publisher.pid || k->stage != STAGE_READY || keeper_start_waits(k))
		return;
	if (keeper_start_publisher(k, &e) < 0) {
		log_error(NULL, "start the publisher: %s", err_text(&e));
		loop_timer_set(k->publisher.restart,
			       backoff_next(&k->publisher.backoff, loop_now(k->loop), random01()));
	}
}

static void keeper_publisher_died(struct loop_source *s, pid_t pid, int code, int status, void *userdata)
{
	struct keeper *k = userdata;
	/* it ends when the agent has gone, whose death is another event, and may be told later */
	bool with_agent = k->publisher_let_go || (code == CLD_EXITED && status == EXIT_SUCCESS);
	uint64_t delay;
	char end[64];

	if (keeper_aside_died(k, pid))
		return;
	child_forget(&k->publisher);
	k->publisher_killed_usec = 0;
	keeper_note_publisher(k);
	if (k->stopping)
		return;
	k->n_publisher_deaths += !with_agent;
	delay = k->publisher_let_go
			? 0
			: child_delay(&k->world, &k->publisher, code != CLD_EXITED || status == EXIT_SUCCESS);
	if (!with_agent)
		log_warning(NULL, "the publisher (pid %d) %s, starting another in %u ms", (int)pid,
			    child_end(code, status, end), (unsigned)(delay / USEC_PER_MSEC));
	else if (!k->publisher_let_go)
		delay = MAX(delay, AGENT_LATE_USEC);
	if (k->stage == STAGE_READY)
		loop_timer_set(k->publisher.restart, delay);
}

/* --- the offline cache's process --- */

static void keeper_cache_died(struct loop_source *s, pid_t pid, int code, int status, void *userdata)
{
	struct keeper *k = userdata;
	char end[64];

	child_forget(&k->cache);
	/* it ends when its agent has gone, or has got another; if not, the agent asks again */
	if (!k->stopping && (code != CLD_EXITED || status != EXIT_SUCCESS))
		log_error(NULL, "the offline cache's process (pid %d) %s", (int)pid, child_end(code, status, end));
}

static int keeper_start_cache(struct keeper *k, struct err *e)
{
	static char program[] = "secretlet-cache", command[] = "internal-cache";
	char *const argv[] = { program,	    command, k->config->offline_cache_dir, k->config->user, k->places.pods_dir,
			       (char *)NULL };
	cleanup_fd int ours = -1, theirs = -1;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, -errno, "socketpair: %m");
	ours = pair[0];
	theirs = pair[1];
	r = child_spawn(&k->world, &k->cache, argv, &theirs, 1, keeper_cache_died, k, e);
	if (r < 0)
		return r;
	/* without it the process ends by itself */
	r = link_send(k->link, LINK_CACHE, 0, 0, NULL, ours);
	return r < 0 ? err_set(e, r, "hand it to the agent: %s", strerror(-r)) : 0;
}

static void keeper_cache_restart(struct loop_source *s, void *userdata)
{
	struct keeper *k = userdata;
	struct err e = ERR_INIT;

	if (k->stopping || !k->agent.pid)
		return;
	/* it belonged to an agent that has gone, or has given it up; in a call that hangs it cannot even be killed, and is
	 * left to itself: the next one waits for the folder's lock */
	if (k->cache.pid > 0) {
		kill(k->cache.pid, SIGKILL);
		loop_timer_set(k->cache.restart, backoff_next(&k->cache.backoff, loop_now(k->loop), random01()));
		return;
	}
	if (keeper_start_cache(k, &e) < 0) {
		log_error(NULL, "start the offline cache's process: %s", err_text(&e));
		loop_timer_set(k->cache.restart, backoff_next(&k->cache.backoff, loop_now(k->loop), random01()));
	}
}

int keeper_want_cache(struct keeper *k)
{
	if (!k->config->offline_cache_dir)
		return -EINVAL;
	return loop_timer_set(k->cache.restart, backoff_next(&k->cache.backoff, loop_now(k->loop), random01()));
}

/* --- the signaller --- */

static int keeper_hand_over_signaller(void *userdata, int fd)
{
	struct keeper *k = userdata;

	return k->stage == STAGE_READY ? link_send(k->link, LINK_SIGNALLER, 0, 0, NULL, fd) : -EAGAIN;
}

static void keeper_signaller_ended(void *userdata)
{
	keeper_exit_if_stopped(userdata);
}

/* --- the agent --- */

static uint64_t keeper_start_limit(const struct keeper *k)
{
	uint64_t limit = MAX(START_AGAIN_HANGS * k->config->agent_hang_usec, START_AGAIN_USEC);

	if (!k->ready_once)
		return START_MAX_USEC;
	for (unsigned n = 0; n < k->n_start_hangs && limit < START_MAX_USEC; n++)
		limit *= 2;
	return MIN(limit, START_MAX_USEC);
}

static int keeper_start_agent(struct keeper *k, struct err *e)
{
	static char program[] = "secretlet-agent", command[] = "internal-agent";
	cleanup_free char **argv = NULL;
	cleanup_fd int theirs = -1;
	int pair[2], r;

	r = keeper_argv(k, program, command, NULL, &argv);
	if (r < 0)
		return err_set(e, r, "out of memory");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return err_set(e, -errno, "socketpair: %m");
	close_fd(k->link);
	k->link = pair[0];
	theirs = pair[1];
	opener_reset(&k->opener);
	r = loop_add_io(k->loop, k->link, EPOLLIN, keeper_link_readable, k, &k->link_source);
	if (r < 0)
		return err_set(e, r, "watch the link: %s", strerror(-r));
	k->publisher_let_go = k->publisher.pid > 0;
	/* of a publisher that died before it was told of it, the last agent may have noted the pid afterwards. An earlier
	 * keeper's publisher may still wait for an answer */
	if (k->agent.n_starts > 0)
		keeper_note_publisher(k);
	/* it is silent until it is ready */
	k->conn.shared->heartbeat_usec =
		clock_monotonic_usec() + keeper_start_limit(k) - MIN(k->config->agent_hang_usec, keeper_start_limit(k));
	/* without one the agent makes its own, and says why if it cannot; what it finds in the place then is no instance */
	if (k->config->manifests_dir)
		(void)watches_renew(&k->watches);
	return child_spawn(&k->world, &k->agent, argv,
			   (int[]){ theirs, k->conn.mount.fuse, k->places.control, k->conn.arena, k->config_text,
				    k->watches.fd >= 0 ? k->watches.fd : k->config_text },
			   k->config->manifests_dir ? 6 : 5, keeper_agent_died, k, e);
}

static void keeper_drop_link(struct keeper *k)
{
	loop_source_free(TAKE_PTR(k->link_source));
	k->link = close_fd(k->link);
}

/* The keeper's own lock, which alone holds the arena between two agents. */
static int keeper_require_lock(struct keeper *k, struct err *e)
{
	if (k->conn.lock_error == 0 || k->config->memory_lock == CONFIG_LOCK_WARN)
		return 0;
	return err_set(
		e, k->conn.lock_error,
		"the keeper cannot lock the memory for Secrets (%s), so it might be written to the swap. It takes "
		"CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=); with memoryLock: warn in the "
		"configuration the daemon starts without",
		strerror(-k->conn.lock_error));
}

/* Makes the mount if there is none, and starts what is not there. */
static int keeper_start(struct keeper *k, struct err *e)
{
	int r;

	if (!fsconn_is_open(&k->conn)) {
		r = fsconn_create(k->places.pods_dir, k->config->secret_memory_limit, &k->conn, e);
		if (r < 0)
			return r;
		r = keeper_require_lock(k, e);
		if (r < 0) {
			fsconn_end(&k->conn, k->places.pods_dir, true, &k->notify);
			/* trying again soon would not help */
			k->refused = !k->ready_once;
			return r;
		}
		keeper_say_lock(k);
	}
	if (notify_is_open(&k->notify)) {
		fsconn_store(&k->conn, &k->notify);
		notify_fd_store(&k->notify, FD_CONTROL, k->places.control);
	}
	return keeper_start_agent(k, e);
}

/* Everything of the present connection goes. Aborted, it leaves nobody who waits for an answer, and so could not be killed. */
static void keeper_end_generation(struct keeper *k)
{
	child_kill(&k->agent);
	k->stage = STAGE_STARTS;
	keeper_drop_link(k);
	fsconn_end(&k->conn, k->places.pods_dir, true, &k->notify);
	keeper_end_generations_publisher(k);
	/* not waited for: it may be in a write that takes for ever. Its death starts another, of the next connection */
	if (k->audit.pid > 0)
		kill(k->audit.pid, SIGKILL);
	audit_group_close(&k->audit_group);
	signaller_child_end(&k->signaller);
}

static void keeper_agent_restart(struct loop_source *s, void *userdata)
{
	struct keeper *k = userdata;
	struct err e = ERR_INIT;

	if (k->stopping || k->agent.pid)
		return;
	if (keeper_start(k, &e) < 0) {
		log_error(NULL, "start the agent: %s", err_text(&e));
		child_kill(&k->agent);
		keeper_drop_link(k);
		loop_timer_set(k->agent.restart, backoff_next(&k->agent.backoff, loop_now(k->loop), random01()));
	}
}

static void keeper_agent_died(struct loop_source *s, pid_t pid, int code, int status, void *userdata)
{
	bool remount = code == CLD_EXITED && status == KEEPER_EXIT_REMOUNT;
	struct keeper *k = userdata;
	/* one that has served and exits before it is ready has said why it cannot go on: trying again soon would not help */
	bool served = k->stage == STAGE_READY || (k->stage == STAGE_SERVES && code != CLD_EXITED);
	bool again = k->stage == STAGE_READY && code == CLD_EXITED && status == KEEPER_EXIT_AGAIN;
	uint64_t delay;
	char end[64];

	child_forget(&k->agent);
	fsconn_lock(&k->conn); /* what it has made since the last tick nobody else has locked */
	k->stage = STAGE_STARTS;
	k->again = again;
	if (k->stopping) {
		keeper_exit_if_stopped(k);
		return;
	}
	keeper_drop_link(k);
	if (!k->ready_once) {
		/* it has said why: bad credentials, an unreadable folder; it may be put right, but not at once */
		k->refused = code == CLD_EXITED;
		if (!k->refused)
			log_error(NULL, "the agent (pid %d) %s before it was ready", (int)pid,
				  child_end(code, status, end));
		loop_exit(k->loop, EXIT_FAILURE);
		return;
	}
	delay = child_delay(&k->world, &k->agent, served);
	if (!k->absent_usec)
		k->absent_usec = loop_now(k->loop);
	if (k->publisher.pid > 0) {
		k->publisher_let_go = true;
		keeper_end_publisher(k);
	}
	if (remount) {
		keeper_end_generation(k);
		log_error(NULL,
			  "the agent cannot go on with the mount: unmounted, running containers must be restarted");
	} else {
		/* it has said why it makes room, and where it was for a source, the next one says whether it has one */
		log_write(again ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, NULL,
			  "the agent (pid %d) %s, starting another in %u ms; what is mounted stays", (int)pid,
			  child_end(code, status, end), (unsigned)(delay / USEC_PER_MSEC));
	}
	if (!again)
		notify_state(&k->notify, "STATUS=restarting the agent");
	loop_timer_set(k->agent.restart, delay);
}

/* --- the watch over the agent --- */

static void keeper_kill_hanging(struct keeper *k, uint64_t silent_usec)
{
	const char *name = session_slot_name(&k->conn.shared->slot), *where = "";

	if (k->stage != STAGE_READY) {
		where = " at its start";
		silent_usec = loop_now(k->loop) - k->agent.started_usec;
		k->n_start_hangs++;
	}
	log_error(NULL, "the agent (pid %d) hangs%s: no sign of it for %" PRIu64 " s%s%s; killing it",
		  (int)k->agent.pid, where, silent_usec / USEC_PER_SEC, name ? ", it has not answered a " : "",
		  name ?: "");
	kill(k->agent.pid, SIGKILL);
}

/* Too many of the kernel's words: whoever waits is told an error now, and the next agent begins anew. */
static void keeper_give_up(struct keeper *k)
{
	log_error(NULL,
		  "no agent could be started for %" PRIu64
		  " s: whoever waits gets an error, and running containers must be "
		  "restarted (connectionAbortTimeout)",
		  k->config->abort_usec / USEC_PER_SEC);
	keeper_end_generation(k);
	k->absent_usec = 0;
	loop_timer_set(k->agent.restart, 0);
}

static void keeper_tick(struct loop_source *s, void *userdata)
{
	struct keeper *k = userdata;
	uint64_t now = clock_monotonic_usec(), last = k->ticked_usec, beat;
	/* after a pause of the whole machine the agent has its turn first */
	bool paused = last && now - last > 2 * k->tick_usec;

	k->ticked_usec = now;
	loop_timer_set(k->tick, k->tick_usec);
	notify_flush(&k->notify);
	notify_sign(&k->notify, "WATCHDOG=1");
	child_look_after(&k->publisher, keeper_publisher_died, k);
	child_look_after(&k->agent, keeper_agent_died, k);
	child_look_after(&k->audit, keeper_audit_died, k);
	child_look_after(&k->cache, keeper_cache_died, k);
	signaller_child_look_after(&k->signaller);
	if (k->stopping || !fsconn_is_open(&k->conn))
		return;
	fsconn_lock(&k->conn);
	if (k->stage == STAGE_READY)
		watches_tidy(&k->watches);
	beat = __atomic_load_n(&k->conn.shared->heartbeat_usec, __ATOMIC_RELAXED);
	if (!paused)
		keeper_look_after_aside(k);
	if (k->agent.pid > 0 && !paused && now > beat && now - beat > k->config->agent_hang_usec)
		keeper_kill_hanging(k, now - beat);
	if (k->absent_usec && now > k->absent_usec && now - k->absent_usec > k->config->abort_usec)
		keeper_give_up(k);
}

/* --- the end --- */

static void keeper_stop_late(struct loop_source *s, void *userdata)
{
	struct keeper *k = userdata;

	log_warning(NULL, "%s did not stop in time and is killed",
		    k->agent.pid   ? "the agent"
		    : k->audit.pid ? "the audit process"
				   : "the signaller");
	loop_exit(k->loop, EXIT_SUCCESS);
}

static void keeper_stop(struct loop_source *s, int signo, void *userdata)
{
	struct keeper *k = userdata;
	bool told, audit_told, signaller_told;

	if (k->stopping)
		return;
	k->stopping = true;
	log_info(NULL, "SIG%s: stopping", sigabbrev_np(signo));
	notify_state(&k->notify, "STOPPING=1");
	told = k->agent.pid > 0 && link_send(k->link, LINK_STOP, 0, 0, NULL, -1) == 0;
	audit_told = k->audit.pid > 0 && link_send(k->audit_group.link, LINK_STOP, 0, 0, NULL, -1) == 0;
	signaller_told = signaller_child_stop(&k->signaller);
	/* whether this is a stop or a restart, only the service manager knows: it has the fds, and drops them at a stop */
	if (!notify_is_open(&k->notify))
		fsconn_end(&k->conn, k->places.pods_dir, false, &k->notify);
	if (k->publisher.pid > 0)
		kill(k->publisher.pid, SIGKILL);
	if (!(told || audit_told || signaller_told) || loop_timer_set(k->stop_timer, KEEPER_STOP_USEC) < 0)
		loop_exit(k->loop, EXIT_SUCCESS);
}

static void keeper_reload(struct loop_source *s, int signo, void *userdata)
{
	struct keeper *k = userdata;

	if (k->stopping)
		return;
	if (k->audit.pid > 0)
		(void)link_send(k->audit_group.link, LINK_AUDIT_REOPEN, 0, 0, NULL, -1);
	if (k->stage != STAGE_READY) {
		log_info(NULL, "SIGHUP: the agent is being restarted and is told when it serves");
		k->n_reload_tries = 1;
		return;
	}
	k->n_reload_tries = 0;
	keeper_tell_reload(k);
}

static int keeper_setup_loop(struct keeper *k)
{
	uint64_t watchdog_usec;
	int r;

	r = loop_new(&k->loop);
	if (r < 0)
		return r;
	k->world.loop = k->loop;
	r = loop_add_signal(k->loop, SIGTERM, keeper_stop, k, &k->sigterm);
	if (r < 0)
		return r;
	r = loop_add_signal(k->loop, SIGINT, keeper_stop, k, &k->sigint);
	if (r < 0)
		return r;
	r = loop_add_signal(k->loop, SIGHUP, keeper_reload, k, &k->sighup);
	if (r < 0)
		return r;
	r = loop_add_timer(k->loop, keeper_agent_restart, k, &k->agent.restart);
	if (r < 0)
		return r;
	r = loop_add_timer(k->loop, keeper_publisher_restart, k, &k->publisher.restart);
	if (r < 0)
		return r;
	r = loop_add_timer(k->loop, keeper_audit_restart, k, &k->audit.restart);
	if (r < 0)
		return r;
	r = loop_add_timer(k->loop, keeper_cache_restart, k, &k->cache.restart);
	if (r < 0)
		return r;
	r = signaller_child_init(&k->signaller, &k->world, k->places.pods_dir, keeper_hand_over_signaller,
				 keeper_signaller_ended, k);
	if (r < 0)
		return r;
	r = repair_init(&k->repair, k->loop, keeper_repaired, k);
	if (r < 0)
		return r;
	r = loop_add_timer(k->loop, keeper_tick, k, &k->tick);
	if (r < 0)
		return r;
	k->tick_usec = TICK_USEC;
	if (sd_watchdog_enabled(0, &watchdog_usec) > 0)
		k->tick_usec = MIN(TICK_USEC, watchdog_usec / 3);
	loop_timer_set(k->tick, k->tick_usec);
	return loop_add_timer(k->loop, keeper_stop_late, k, &k->stop_timer);
}

/* What the next keeper goes on with stays; everything else goes. The children die with us (PR_SET_PDEATHSIG) if they
 * cannot be killed before. */
static void keeper_leave(struct keeper *k)
{
	if (k->agent.pid > 0)
		kill(k->agent.pid, SIGKILL);
	if (k->publisher.pid > 0)
		kill(k->publisher.pid, SIGKILL);
	if (k->audit.pid > 0)
		kill(k->audit.pid, SIGKILL);
	if (k->cache.pid > 0)
		kill(k->cache.pid, SIGKILL);
	child_forget(&k->agent);
	child_forget(&k->publisher);
	child_forget(&k->audit);
	child_forget(&k->cache);
	keeper_drop_link(k);
	fsconn_release(&k->conn);
}

static void keeper_remove_all(struct keeper *k)
{
	keeper_end_generation(k);
	places_remove(&k->places);
}

static void keeper_deinit(struct keeper *k)
{
	if (notify_is_open(&k->notify) && k->ready_once && k->conn.shared)
		keeper_leave(k);
	else
		keeper_remove_all(k);
	notify_close(&k->notify);
	keeper_drop_audit_link(k);
	audit_group_deinit(&k->audit_group);
	signaller_child_deinit(&k->signaller);
	keeper_forget_aside(k);
	repair_deinit(&k->repair);
	watches_deinit(&k->watches);
	opener_deinit(&k->opener);
	close_fd(k->world.self);
	loop_source_free(k->sigterm);
	loop_source_free(k->sigint);
	loop_source_free(k->sighup);
	loop_source_free(k->agent.restart);
	loop_source_free(k->publisher.restart);
	loop_source_free(k->audit.restart);
	loop_source_free(k->audit.watch);
	loop_source_free(k->cache.restart);
	loop_source_free(k->cache.watch);
	loop_source_free(k->stop_timer);
	loop_source_free(k->tick);
	loop_free(k->loop);
	places_deinit(&k->places);
}

int keeper_run(const struct config *c, int config_text, char *const *args)
{
	cleanup(keeper_deinit) struct keeper k = {
		.world = { .keeper = getpid(), .self = -1, .delay_max_usec = c->abort_usec / 4 },
		.config = c,
		.config_text = config_text,
		.args = args,
		.places = PLACES_INIT(c),
		.link = -1,
		.conn = FSCONN_INIT,
		.notify = NOTIFY_INIT,
		.opener = OPENER_INIT,
		.repair = REPAIR_INIT,
		.watches = WATCHES_INIT,
		.read_only = LOG_LIMIT_INIT(10 * USEC_PER_SEC, 3),
		.complaints = LOG_LIMIT_INIT(10 * USEC_PER_SEC, 10),
		.asides = LOG_LIMIT_INIT(60 * USEC_PER_SEC, 1),
		.agent = CHILD_INIT("agent"),
		.publisher = CHILD_INIT("publisher"),
		.audit = CHILD_INIT("audit process"),
		.cache = CHILD_INIT("offline cache's process"),
		.audit_group = AUDIT_GROUP_INIT,
		.signaller = SIGNALLER_CHILD_INIT,
	};
	struct err e = ERR_INIT;
	int r;

	r = sandbox_confine_keeper(&e);
	if (r < 0) {
		log_error(NULL, "%s", err_text(&e));
		return EXIT_FAILURE;
	}
	r = notify_open(&k.notify);
	if (r < 0)
		log_warning(NULL, "the service manager ($NOTIFY_SOCKET) cannot be told anything: %s", strerror(-r));
	r = keeper_check(&k, &e);
	if (r < 0) {
		log_error(NULL, "%s", err_text(&e));
		return EXIT_FAILURE;
	}
	r = keeper_setup_loop(&k);
	if (r < 0) {
		log_error(NULL, "event loop: %s", strerror(-r));
		return EXIT_FAILURE;
	}
	r = keeper_start(&k, &e);
	if (r < 0) {
		log_error(NULL, "%s", err_text(&e));
		return k.refused && notify_is_open(&k.notify) ? KEEPER_LATER : EXIT_FAILURE;
	}
	r = loop_run(k.loop);
	if (r < 0)
		log_error(NULL, "event loop: %s", strerror(-r));
	else if (k.ready_once)
		log_info(NULL, "stopped");
	if (k.refused && notify_is_open(&k.notify))
		return KEEPER_LATER;
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
