/* Finding: what is wrong with a manifest or a configuration: where, of which object and field, and why. Values never get
 * into one. */
#pragma once

#include "common/base.h"

enum finding_level { FINDING_ERROR, FINDING_WARNING };

/* Texts have no control characters in them. */
struct finding {
	enum finding_level level;
	size_t line, column; /* from 1; 0: the file as a whole */
	char *file;
	char *object, *field; /* "secret default/db", "data[tls.crt]"; NULL: of none */
	char *reason;
	char *text; /* all of it in one line: FILE:LINE:COLUMN: OBJECT: FIELD: REASON */
};

/* Copies from `from`, text left out. -ENOMEM. */
int finding_new(const struct finding *from, struct finding **ret_f);
void finding_free(struct finding *f);
DEFINE_CLEANUP(struct finding *, finding_free);
#define cleanup_finding cleanup(finding_freep)
