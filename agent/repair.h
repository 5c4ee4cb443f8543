/* Repair: a file system that somebody has made read-only is made writable again, for the keeper. That may wait for whoever holds
 * the file system, so a child process does it, with a time limit. */
#pragma once

#include "common/base.h"
#include "common/loop.h"

/* r: 0, MOUNT_WRITABLE (it was not read-only), or why it could not be done; -ETIMEDOUT: in time. */
typedef void (*repair_fn)(void *userdata, int r);

struct repair {
	struct loop *loop;
	repair_fn done;
	void *userdata;
	pid_t pid; /* 0: none is under way */
	struct loop_source *watch, *timer;
	bool late; /* its end is not waited for any more */
};
#define REPAIR_INIT ((struct repair){ .pid = 0 })

int repair_init(struct repair *p, struct loop *l, repair_fn done, void *userdata);
/* done is called once for each call, or once for several that come while one is under way; never from inside this one. Negative
 * errno: it is not called. -EBUSY: one that did not come in time still hangs. */
int repair_begin(struct repair *p, int private_mount);
void repair_deinit(struct repair *p);
