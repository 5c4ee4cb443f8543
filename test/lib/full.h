/* Full: all of the memory for secrets is taken, down to the last piece, and given back. For tests of what happens then. */
#pragma once

#include "common/secmem.h"

/* The pieces that are held; NULL: none. */
static inline void secmem_fill(void **held)
{
	void **piece;

	for (size_t size = (size_t)1 << 20; size >= sizeof(void *); size /= 2)
		while ((piece = secmem_alloc(size))) {
			*piece = *held;
			*held = piece;
		}
}

static inline void secmem_empty(void **held)
{
	void **piece;

	while ((piece = *held)) {
		*held = *piece;
		secmem_free(piece);
	}
}
