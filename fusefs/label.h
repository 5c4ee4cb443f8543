/* Label: writes down in the tree of what a version of a volume is made. */
#pragma once

#include "fusefs/payload.h"
#include "fusefs/tree.h"

/* The folder `version` (staged or committed) stands for what has been made of this payload (sealed). Its files are below the
 * folder `files`, which may lack some of them (NULL: all). It is shown since updated_usec (0: it is not yet). Without memory in
 * the arena a successor will not know, until the next label_refresh() finds some. -ENOMEM. */
int label_version(struct tree *t, struct node *version, struct node *files, const struct payload *p,
		  uint64_t updated_usec);
/* The same once it is shown: at its end, and when the content has stayed and only the objects' revisions may have changed.
 * Nothing is done if all are labelled so. */
int label_refresh(struct tree *t, struct node *version, struct node *files, const struct payload *p,
		  uint64_t updated_usec);
