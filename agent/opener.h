/* Opener: what the keeper opens for the agent, the other side of files_keeper.h: credential and manifest files from a list that
 * is fixed before the agent reads its first byte from the network. */
#pragma once

#include "common/map.h"

struct opener {
	struct map allowed; /* path -> struct allowed */
	bool sealed; /* the agent has fixed its list */
};
#define OPENER_INIT ((struct opener){ .allowed = MAP_INIT })

void opener_deinit(struct opener *o);
/* For the next agent: an empty list that is not fixed. */
void opener_reset(struct opener *o);
/* Puts a path on the list; dir: and every file beneath it. -EPERM: the list is fixed. -EINVAL: not absolute, or too many. */
int opener_allow(struct opener *o, const char *path, bool dir);
void opener_seal(struct opener *o);
/* Whether the list is fixed and has it. */
bool opener_allows(const struct opener *o, const char *path);
