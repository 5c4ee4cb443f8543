/* Selector: a Kubernetes label selector, as kubectl's -l takes it: "app=web,tier in (front, back),!canary". Pure. */
#pragma once

#include "agent/secret.h"
#include "common/err.h"

#define SELECTOR_TEXT_MAX ((size_t)4096)

struct selector;

/* The whole grammar: key, !key, key=value, key==value, key!=value, key in (a,b), key notin (a,b), key>5, key<5, with
 * commas in between; all must hold, and an empty text selects everything. -EINVAL: e says the column and why; -ENOMEM. */
int selector_parse(const char *text, struct selector **ret_sel, struct err *e);
void selector_free(struct selector *sel);
DEFINE_CLEANUP(struct selector *, selector_free);
/* labels are sorted by key; none is as good as any: key!=value, notin and !key hold where there is no such label. */
bool selector_matches(const struct selector *sel, const struct label *labels, size_t n_labels);
