/* The agent's side of files.h over the link to the keeper. */
#pragma once

#include "agent/files.h"
#include "agent/link.h"

/* `link` is borrowed. The list is sent to the keeper as it grows. */
int files_keeper_new(int link, struct files **ret_f);
/* Fixes the list; the keeper will not take more. */
int files_keeper_seal(struct files *f);
/* A LINK_OPENED message has come; takes the fd. */
void files_keeper_opened(struct files *f, const struct link_message *m, int take_fd);
