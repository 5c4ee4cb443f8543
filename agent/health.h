/* Health: the checks of /healthz and /readyz, and their text, as kube-apiserver writes it. */
#pragma once

#include "common/buf.h"
#include "common/err.h"

#define HEALTH_CHECKS_MAX 8

struct health {
	struct health_check {
		const char *name;
		char reason[ERR_TEXT_MAX]; /* "": it is well */
	} checks[HEALTH_CHECKS_MAX];
	size_t n;
};

/* One more check; fmt NULL: it is well. */
void health_add(struct health *h, const char *name, const char *fmt, ...) attr_printf(3, 4);
bool health_is_good(const struct health *h);
/* "ok"; or, verbose or if something fails, a line for each check and one for the whole: "[+]loop ok", "[-]sync failed:
 * the first list of pods has not arrived", "readyz check failed". */
int health_text(const struct health *h, const char *name, bool verbose, struct buf *out);
