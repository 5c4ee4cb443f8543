/* Child: a process that the keeper starts, watches, and starts again when it has died. */
#pragma once

#include "common/backoff.h"
#include "common/err.h"
#include "common/loop.h"

#define CHILD_FDS_MAX	  6
#define CHILD_STEADY_USEC USEC_PER_SEC /* one that has lived for so long is replaced at once when it dies */

/* What all of them share; borrowed. */
struct child_world {
	struct loop *loop;
	pid_t keeper; /* our own */
	int self; /* our own binary */
	uint64_t delay_max_usec; /* between two tries */
};

struct child {
	const char *name;
	pid_t pid; /* 0: not running */
	struct loop_source *watch, *restart; /* restart: the owner's */
	struct backoff backoff;
	unsigned n_starts, n_young; /* young: that have served and died within CHILD_STEADY_USEC, in a row */
	uint64_t started_usec;
};
extern const struct backoff_policy CHILD_RESTART;
#define CHILD_INIT(text) ((struct child){ .name = (text), .backoff = BACKOFF_INIT(&CHILD_RESTART) })

/* Executes ourselves as argv, with these files (borrowed) from KEEPER_FD_LINK on and no others. died is called once, when it
 * has been reaped; it begins with child_forget(). */
int child_spawn(const struct child_world *w, struct child *c, char *const *argv, const int *fds, size_t n_fds,
		loop_child_fn died, void *userdata, struct err *e);
/* It has been reaped. */
void child_forget(struct child *c);
/* Kills and reaps at once: only what can be killed, see keeper.c. */
void child_kill(struct child *c);
/* Kills it and waits for its end, but no longer than that: one that waits for a lock of the kernel's may not end. false: it is still
 * there. */
bool child_kill_within(struct child *c, uint64_t usec);
/* How long to wait before another is started. `served`: it has done what it is for. */
uint64_t child_delay(const struct child_world *w, struct child *c, bool served);
/* A death that the loop was not told of: died is called if there is one. */
void child_look_after(struct child *c, loop_child_fn died, void *userdata);
/* "was killed by KILL" */
const char *child_end(int code, int status, char text[static 64]);
