/* What the parts of the keeper share: keeper.c (the mount, the processes and their end), keeper_audit.c (the audit process),
 * keeper_aside.c (publishers that cannot be killed) and keeper_link.c (what the agent asks for). For nobody else. */
#pragma once

#include "agent/audit.h"
#include "agent/child.h"
#include "agent/fsconn.h"
#include "agent/keeper.h"
#include "agent/notify.h"
#include "agent/opener.h"
#include "agent/places.h"
#include "agent/repair.h"
#include "agent/signaller_child.h"
#include "agent/watches.h"
#include "common/log.h"
#include "common/loop.h"

/* Who waits is answered first, then everything else is begun. */
enum agent_stage { STAGE_STARTS, STAGE_SERVES, STAGE_READY };

/* At the same time: well below the unit's TasksMax. */
#define ASIDES_MAX 16

/* A publisher that was killed and does not end. */
struct aside {
	struct child child;
	pid_t pid; /* its, also when it has ended */
	bool untold; /* that it is there, or that it has ended: the agent could not be told */
	char *pod; /* whose folder it is that it waits for; NULL: nobody knows */
	bool moves; /* perhaps between two folders */
	bool past; /* its connection has ended */
};

struct keeper {
	const struct config *config;
	int config_text;
	char *const *args;
	struct loop *loop;
	struct child_world world;
	struct loop_source *sigterm, *sigint, *sighup, *link_source, *stop_timer, *tick;

	struct places places;

	struct notify notify; /* open: the service manager may keep our fds */
	struct fsconn conn;
	uint64_t absent_usec; /* since when nobody answers; 0: somebody does */
	uint64_t tick_usec, ticked_usec; /* between two ticks; when the last one was */
	struct child agent, publisher, audit, cache; /* cache: once that which the agent has forked itself has ended */
	struct audit_group audit_group;
	struct signaller_child signaller;
	struct loop_source *audit_link_source;
	int link; /* our end of the agent's link */
	struct opener opener;
	struct repair repair;
	struct watches watches; /* of a folder of manifests */
	struct log_limit read_only; /* lines about that */
	struct log_limit complaints; /* about the agent's messages */
	bool ready_once; /* some agent has been ready, or an earlier keeper's was */
	enum agent_stage stage; /* of the present agent, or the next one */
	bool again; /* the last agent has only made room for it */
	bool publisher_let_go; /* the present one's agent has gone: we have killed it */
	uint64_t publisher_killed_usec; /* and a later agent has had time to answer it; 0: it was not killed */
	char *hanging_in; /* what the agent has said of where it hangs; NULL: nothing */
	bool hanging_moves;
	struct aside aside[ASIDES_MAX];
	bool start_waits; /* of the next publisher, until the agent knows of all of them */
	struct log_limit asides; /* lines about more than that */
	unsigned n_publisher_deaths; /* its agent has not gone with it */
	unsigned n_start_hangs; /* agents that hung before they were ready, in a row */
	unsigned n_reload_tries; /* agents that were told of the reload that is under way; 0: none is */
	uint32_t reload_id; /* of the last one that an agent was told of */
	bool refused; /* the first agent has said why it cannot serve */
	bool stopping;
};

/* ---- keeper.c ---- */

/* "run"'s words are given on; `word` (borrowed, may be NULL) comes before them. *ret_argv is the caller's to free, its strings are
 * not. -ENOMEM. */
int keeper_argv(const struct keeper *k, char *program, char *command, const char *word, char ***ret_argv);
/* A child whose end is waited for has gone. */
void keeper_exit_if_stopped(struct keeper *k);
/* Tells the agent of the deaths, for its metrics: it cannot know of those that were before it. */
void keeper_tell_restarts(struct keeper *k);
/* The arena has the present one's pid, or 0. */
void keeper_note_publisher(struct keeper *k);
/* k->publisher.restart's: starts it, if it is wanted and not there. */
void keeper_publisher_restart(struct loop_source *s, void *userdata);
/* Starts the offline cache's process anew; however often it is asked for, ever more slowly. -EINVAL: there is no cache. */
int keeper_want_cache(struct keeper *k);

/* ---- keeper_audit.c ---- */

/* Gives the agent and the audit process one end each of a fresh socket, as often as one of the two is new. */
void keeper_connect_audit(struct keeper *k);
void keeper_drop_audit_link(struct keeper *k);
/* k->audit's: starts it, if it is wanted and not there; and what is done when it has ended. */
void keeper_audit_restart(struct loop_source *s, void *userdata);
void keeper_audit_died(struct loop_source *s, pid_t pid, int code, int status, void *userdata);

/* ---- keeper_aside.c ---- */

/* Kills the publisher, if there is one: its end is another event, or does not come. */
void keeper_end_publisher(struct keeper *k);
/* The agent's words: the path begins with the pod's uid; "": it does not know. */
void keeper_note_hanging(struct keeper *k, const char *path, bool moves);
/* Its connection has ended: it goes, and if it cannot be killed within half a second nobody waits for it any more. */
void keeper_end_generations_publisher(struct keeper *k);
/* A publisher has ended. true: it was one of those that were put aside, and all is done. */
bool keeper_aside_died(struct keeper *k, pid_t pid);
/* Tells a new agent. */
void keeper_tell_aside(struct keeper *k);
/* There is one of which the agent could not be told: the next publisher would be sent where this one hangs. k->publisher.restart
 * is set when it has been told, or this one has ended. */
bool keeper_start_waits(struct keeper *k);
/* Now and then: puts the publisher aside, if it should have ended. */
void keeper_look_after_aside(struct keeper *k);
void keeper_forget_aside(struct keeper *k);

/* ---- keeper_link.c ---- */

/* The agent's end of the link has something to say, or has gone. */
void keeper_link_readable(struct loop_source *s, int fd, uint32_t revents, void *userdata);
/* The agent is to read its configuration anew, and the service manager is told that it does. */
void keeper_tell_reload(struct keeper *k);
/* k->repair's. */
void keeper_repaired(void *userdata, int r);
