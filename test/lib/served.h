/* Served: a control socket with made-up answers, on a loop in a thread of its own. */
#pragma once

#include "agent/control.h"

struct served;

/* Listens on dir/control.sock, for everybody; what is there is replaced. ops are called in the thread. The test fails
 * if that is impossible. */
struct served *served_start(const char *dir, const struct control_ops *ops, void *userdata);
/* control_allow_group(), before anything is asked. */
void served_allow_group(struct served *s, gid_t gid);
/* control_notify() in the thread, soon. */
void served_notify(struct served *s);
/* Ends it, with whatever requests wait; the socket's file stays. NULL is fine. */
void served_stop(struct served *s);

/* A listening socket at path, mode 0666; what is there is replaced. */
int served_listen(const char *path);
/* A connection to it; -1: errno. */
int served_connect(const char *path);
