/* Manifest room: how much all files of a folder may have together, so that a folder that grows without end costs no more than
 * that. What a file gave counts until something else of it is taken. */
#pragma once

#include "common/err.h"

#define MANIFEST_ROOM_BYTES   ((size_t)128 << 20)
#define MANIFEST_ROOM_OBJECTS ((size_t)20000)

struct manifest_room {
	size_t n_bytes, n_objects;
	size_t n_refused; /* files */
};
/* A file's; zero at first. */
struct manifest_share {
	size_t n_bytes, n_objects;
	bool refused;
};

/* Whether the file may have this instead of what it has: one that gets smaller always may. -E2BIG: e names it, nothing has
 * changed but that it is noted as refused. */
int manifest_room_ask(struct manifest_room *room, struct manifest_share *share, const char *path, size_t n_bytes,
		      size_t n_objects, struct err *e);
/* It has this from now on; nothing at all once it is gone. true: there is more room than before, and who was refused may ask
 * again. */
bool manifest_room_take(struct manifest_room *room, struct manifest_share *share, size_t n_bytes, size_t n_objects);
