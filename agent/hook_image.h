/* Hook image: where the mount points of a configuration lead to in its image, before anything is mounted there. For
 * precreate, which leaves the mounts to the runtime. */
#pragma once

#include "agent/hook.h"

struct hook_image {
	int root; /* -1: the root filesystem is not where it could be looked at */
	json_t *mounts; /* those of the configuration, each with the place that its destination leads to */
};
#define HOOK_IMAGE_INIT ((struct hook_image){ .root = -1 })

int hook_image_open(const json_t *config, struct hook_image *ret, struct err *e);
void hook_image_deinit(struct hook_image *im);
#define cleanup_hook_image cleanup(hook_image_deinit)

/* That the mount can be put where its destination leads to. is_dir: what is mounted is a folder. */
int hook_image_check(const struct hook_image *im, const struct hook_mount *m, bool is_dir, struct err *e);
