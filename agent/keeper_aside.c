/* Keeper, publishers that cannot be killed. Whoever can open a folder of the tree can have it locked in the kernel
 * (publish_held.c), and a publisher that waits for the lock ends when it gets it, killed or not. So one that is still
 * there some time after it was killed, though the agent answers whatever it may have asked, is put aside: another is
 * started, and the agent leaves that pod alone. Each is a process that stays, so there may be a few and no more;
 * beyond that nothing is published before one has ended.
 *
 * The keeper knows the pods for the next agent. */
#include "agent/keeper_internal.h"

#include <signal.h>

#include "agent/link.h"

#define ASIDE_USEC (2 * USEC_PER_SEC) /* after it was killed */
#define END_USEC   (500 * USEC_PER_MSEC) /* for the end of one that is not held: some milliseconds are enough */

void keeper_end_publisher(struct keeper *k)
{
	if (k->publisher.pid == 0)
		return;
	kill(k->publisher.pid, SIGKILL);
	if (!k->publisher_killed_usec)
		k->publisher_killed_usec = loop_now(k->loop);
}

void keeper_note_hanging(struct keeper *k, const char *path, bool moves)
{
	free(k->hanging_in);
	k->hanging_in = *path ? strndup(path, strcspn(path, "/")) : NULL;
	k->hanging_moves = moves;
}

/* What the agent cannot take now it is told again. */
static void aside_tell(struct keeper *k, struct aside *a)
{
	int r = a->child.pid > 0 ? link_send(k->link, LINK_PUBLISHER_ASIDE, a->moves, a->pid, a->pod, -1)
				 : link_send(k->link, LINK_PUBLISHER_ENDED, 0, a->pid, NULL, -1);

	a->untold = r < 0;
}

static void aside_ended(struct loop_source *s, pid_t pid, int code, int status, void *userdata)
{
	struct keeper *k = userdata;

	for (size_t i = 0; i < ARRAY_SIZE(k->aside); i++) {
		struct aside *a = &k->aside[i];

		if (a->child.pid != pid)
			continue;
		child_forget(&a->child);
		if (!a->past) /* as it is to be */
			log_info(NULL, "the publisher that was put aside (pid %d) has ended", (int)pid);
		free(TAKE_PTR(a->pod));
		a->pid = pid;
		aside_tell(k, a);
	}
}

bool keeper_aside_died(struct keeper *k, pid_t pid)
{
	if (pid == k->publisher.pid)
		return false;
	aside_ended(NULL, pid, 0, 0, k);
	return true;
}

void keeper_tell_aside(struct keeper *k)
{
	for (size_t i = 0; i < ARRAY_SIZE(k->aside); i++) {
		k->aside[i].untold = false; /* of one that has ended it has never heard */
		if (k->aside[i].child.pid > 0)
			aside_tell(k, &k->aside[i]);
	}
}

static struct aside *keeper_put_aside(struct keeper *k)
{
	struct aside *a = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(k->aside) && !a; i++)
		if (k->aside[i].child.pid == 0 && !k->aside[i].untold)
			a = &k->aside[i];
	if (!a)
		return NULL;
	*a = (struct aside){ .child = CHILD_INIT("publisher"), .pid = k->publisher.pid, .moves = k->hanging_moves };
	a->pod = TAKE_PTR(k->hanging_in);
	a->child.pid = k->publisher.pid;
	a->child.watch = TAKE_PTR(k->publisher.watch);
	child_forget(&k->publisher);
	k->publisher_killed_usec = 0;
	return a;
}

bool keeper_start_waits(struct keeper *k)
{
	k->start_waits = false;
	for (size_t i = 0; i < ARRAY_SIZE(k->aside); i++)
		k->start_waits |= k->aside[i].child.pid > 0 && k->aside[i].untold;
	return k->start_waits;
}

void keeper_end_generations_publisher(struct keeper *k)
{
	if (child_kill_within(&k->publisher, END_USEC))
		k->publisher_killed_usec = 0;
	else
		(void)keeper_put_aside(k);
	/* none of them is in the next connection's folders */
	for (size_t i = 0; i < ARRAY_SIZE(k->aside); i++) {
		free(TAKE_PTR(k->aside[i].pod));
		k->aside[i].moves = false;
		k->aside[i].past = true;
	}
}

void keeper_look_after_aside(struct keeper *k)
{
	pid_t pid = k->publisher.pid;
	struct aside *a;

	for (size_t i = 0; i < ARRAY_SIZE(k->aside); i++) {
		child_look_after(&k->aside[i].child, aside_ended, k);
		if (k->stage == STAGE_READY && k->aside[i].untold)
			aside_tell(k, &k->aside[i]);
	}
	if (k->start_waits && !keeper_start_waits(k))
		loop_timer_set(k->publisher.restart, 0);
	if (k->stage != STAGE_READY || !k->publisher_killed_usec ||
	    loop_now(k->loop) - k->publisher_killed_usec < ASIDE_USEC)
		return;
	a = keeper_put_aside(k);
	if (!a) {
		if (log_limit_ok(&k->asides, loop_now(k->loop)))
			log_error(NULL,
				  "the publisher (pid %d) cannot be killed, as %zu others: nothing is published until "
				  "one of "
				  "them has ended",
				  (int)pid, ARRAY_SIZE(k->aside));
		return;
	}
	log_error(LOG_F({ "pod-uid", a->pod }),
		  "the publisher (pid %d) cannot be killed: somebody has the folder locked in which it is%s. It is put "
		  "aside, and another one is started%s",
		  (int)pid, a->moves ? ", or renames between folders, perhaps in another pod" : "",
		  a->pod ? "; the pod is left alone until it has ended" : "");
	if (!k->publisher_let_go)
		k->n_publisher_deaths++;
	aside_tell(k, a);
	keeper_note_publisher(k);
	loop_timer_set(k->publisher.restart, 0);
}

void keeper_forget_aside(struct keeper *k)
{
	for (size_t i = 0; i < ARRAY_SIZE(k->aside); i++) {
		child_forget(&k->aside[i].child);
		free(TAKE_PTR(k->aside[i].pod));
	}
	free(TAKE_PTR(k->hanging_in));
}
