/* Agent: the unprivileged process that holds the secrets, serves FUSE and talks to the API server. Started by the
 * keeper with the fds of keeper.h. */
#pragma once

#include "agent/config.h"
#include "agent/reload.h"

/* `parse` makes the configuration anew when it is to be reloaded. Returns the exit status. */
int agent_run(const struct config *c, reload_parse_fn parse, void *parse_userdata);
