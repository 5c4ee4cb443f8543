/* Opener: what the keeper opens and watches for the agent, the other side of files_keeper.h: credential and manifest files, and
 * their folders, from a list that is fixed before the agent reads its first byte from the network. */
#pragma once

#include "common/map.h"

struct opener {
	struct map allowed; /* path -> struct allowed */
	bool sealed; /* the agent has fixed its list */
	const char *never[2]; /* borrowed: folders in which nothing is opened; NULL: none */
	/* the answer that the agent's queue has not taken */
	bool owes;
	uint32_t owed_id;
	int owed_value, owed_fd;
};
#define OPENER_INIT ((struct opener){ .allowed = MAP_INIT, .owed_fd = -1 })

void opener_deinit(struct opener *o);
/* For the next agent: an empty list that is not fixed, and no answer. */
void opener_reset(struct opener *o);
/* Puts a path on the list; dir: and every file beneath it. -EPERM: the list is fixed. -EINVAL: not absolute, or too many.
 * -EDEADLK: in a folder in which nothing is opened. */
int opener_allow(struct opener *o, const char *path, bool dir);
/* The folder may be watched, with what it may be watched for already and this mask of inotify's. Errors as those of opener_allow(). */
int opener_allow_watch(struct opener *o, const char *folder, uint32_t mask);
void opener_seal(struct opener *o);
/* Whether the list is fixed and has it, and it is in no folder in which nothing is opened. */
bool opener_allows(const struct opener *o, const char *path);

/* Answers a request for path: opens it if it may be. An answer that the agent's queue does not take is kept: no
 * other may be asked for before opener_flush() has sent it. -EACCES: it is not on the list, and the agent is told. */
int opener_answer(struct opener *o, int link, uint32_t id, const char *path);
/* Answers a request to watch the folder, in the same way: adds a watch with the list's mask to inotify_fd (borrowed), which is the
 * agent's and may be anything. */
int opener_watch(struct opener *o, int link, uint32_t id, const char *folder, int inotify_fd);
/* Sends what is kept. -EAGAIN: not yet. Other errors: it is lost. */
int opener_flush(struct opener *o, int link);
