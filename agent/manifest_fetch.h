/* Manifest fetch: what is asked for once (source_fetch()), of a folder of manifests. Loop thread only. */
#pragma once

#include "agent/manifest_set.h"
#include "agent/source.h"
#include "common/list.h"

/* In the list `fetches` until it is answered or freed. -ENOMEM. */
int manifest_fetch_new(struct list *fetches, enum source_thing thing, const char *ns, const char *name,
		       source_fetched_fn fn, void *userdata, struct source_fetch **ret_f);
/* It is not answered any more. */
void manifest_fetch_free(struct source_fetch *f);
void manifest_fetches_free(struct list *fetches);
/* Answers all that are in the list, and those that come meanwhile. */
void manifest_fetches_answer(struct list *fetches, const struct manifest_set *set);
