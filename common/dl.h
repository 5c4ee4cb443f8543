/* Dl: shared libraries that are loaded when they are first used, and not when the program starts. libcurl, libmicrohttpd and
 * GnuTLS bring thirty others along, whose loading takes longer than all else that a new agent does before it can answer a
 * reader (`make bench` has the figures); the keeper, the publisher and most commands never use them.
 *
 * agent/lib_*.c define the libraries' functions with their own names and types, and hand the calls on. */
#pragma once

#include "common/base.h"
#include "common/err.h"

struct dl {
	const char *name; /* "libcurl.so.4" */
	void *handle; /* NULL: not loaded yet */
};

/* -ELIBACC: e says which library, and why. */
int dl_load(struct dl *lib, struct err *e);
/* Loads it if need be. Never NULL: without its library the program cannot go on, and ends with a line that says so. */
void *dl_symbol(struct dl *lib, const char *symbol);

/* A function with the library's own prototype. */
#define DL_FORWARD(lib, type, name, params, args)                                                                      \
	type name params                                                                                               \
	{                                                                                                              \
		static typeof(&name) real;                                                                             \
                                                                                                                       \
		if (!real)                                                                                             \
			real = (typeof(real))dl_symbol(lib, #name);                                                    \
		return real args;                                                                                      \
	}
#define DL_FORWARD_VOID(lib, name, params, args)                                                                       \
	void name params                                                                                               \
	{                                                                                                              \
		static typeof(&name) real;                                                                             \
                                                                                                                       \
		if (!real)                                                                                             \
			real = (typeof(real))dl_symbol(lib, #name);                                                    \
		real args;                                                                                             \
	}
