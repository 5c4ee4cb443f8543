/* Places: where the keeper works: the runtime dir with the lock and the control socket, and the pods dir. Nothing here waits
 * for what is mounted. */
#pragma once

#include "agent/config.h"

struct places {
	const struct config *config; /* borrowed */
	char *pods_dir; /* resolved */
	char *made_pods_dir, *made_runtime_dir; /* the first folder of the path that we made; NULL: none */
	int lock, control; /* lock file, listening socket */
	char *lock_path, *control_path;
};
#define PLACES_INIT(c) ((struct places){ .config = (c), .lock = -1, .control = -1 })

/* Makes the runtime dir if need be, and locks it. -EBUSY: another keeper has it. */
int places_lock(struct places *p, struct err *e);
/* Makes the pods dir if need be; pods_dir is its resolved path afterwards. */
int places_resolve_pods_dir(struct places *p, struct err *e);
/* Unmounts what an earlier run has left there. -EBUSY: somebody else's mount. */
int places_clear_pods_dir(const struct places *p, struct err *e);
/* Goes on with `control` if it is the socket of an earlier keeper that is still there, else listens anew. */
int places_listen(struct places *p, struct err *e);
/* Removes what is ours. */
void places_remove(const struct places *p);
void places_deinit(struct places *p);
