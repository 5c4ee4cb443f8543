/* Signaller child: the keeper's side of the signaller: starts it and its successors, and connects it with the agent. */
#pragma once

#include "agent/child.h"

struct signaller_child {
	const struct child_world *world;
	const char *pods_dir;
	/* Hands the agent its end of a socket (borrowed). -EAGAIN: there is no agent that could take it */
	int (*hand_over)(void *userdata, int fd);
	/* It has ended because it was told to */
	void (*ended)(void *userdata);
	void *userdata;
	struct child child;
	struct loop_source *link_source;
	int link; /* our end of its link; -1: it is not there */
	bool wanted, ending; /* ending: the one that is there is of an earlier mount, and was killed */
	bool stopping;
};
#define SIGNALLER_CHILD_INIT ((struct signaller_child){ .child = CHILD_INIT("signaller"), .link = -1 })

/* Nothing is started yet. All is borrowed. */
int signaller_child_init(struct signaller_child *s, const struct child_world *w, const char *pods_dir,
			 int (*hand_over)(void *userdata, int fd), void (*ended)(void *userdata), void *userdata);
void signaller_child_deinit(struct signaller_child *s);
/* There is a mount, and an agent: it is started if it is not there, and connected with this agent. */
void signaller_child_want(struct signaller_child *s);
/* The mount ends. Not waited for. Another one is started by signaller_child_want(). */
void signaller_child_end(struct signaller_child *s);
/* Tells it to do what is left and to end. false: it is not there. */
bool signaller_child_stop(struct signaller_child *s);
static inline bool signaller_child_is_there(const struct signaller_child *s)
{
	return s->child.pid > 0;
}
/* child_look_after() */
void signaller_child_look_after(struct signaller_child *s);
