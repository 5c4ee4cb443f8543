/* Sandbox: what the agent gives up before it reads its first byte from the network. */
#pragma once

#include "common/err.h"

struct sandbox_user {
	uid_t uid;
	gid_t gid;
	bool dynamic; /* no such account: an unused id of the range that systemd keeps for DynamicUser= */
};

/* The account `name`; if there is none and it is the default one, an unused uid that is the same on every start with the
 * same pods dir. -ENOENT for any other name. */
int sandbox_find_user(const char *name, const char *pods_dir, struct sandbox_user *ret_user, struct err *e);
/* Not dumpable, no core, dies with the keeper. As early as possible. */
int sandbox_begin(struct err *e);
/* Becomes the user: groups, ids, every capability (bounding set too), no_new_privs. Checks that there is no way back. */
int sandbox_drop(const struct sandbox_user *u, struct err *e);
