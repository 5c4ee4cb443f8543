/* Table: which role may do what. */
#pragma once

#include "test/sandbox/role.h"

struct table_row {
	enum role role;
	const char *name;
	attempt_fn *fn;
	int expected; /* errno, or one of role.h's; 0: it is done */
	unsigned needs; /* of Landlock */
	bool memory; /* needs PR_SET_MDWE */
};

/* In the order in which they are made. */
extern const struct table_row attempts[];
extern const size_t n_attempts;
