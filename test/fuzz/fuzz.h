/* What the harnesses share. Each is one file fuzz_NAME.c with LLVMFuzzerTestOneInput(); it is linked with libFuzzer (`make
 * fuzz`) and with replay.c, which `make test` runs over corpus/NAME. A broken promise ends the process with a sentence. */
#pragma once

#include <stdint.h>

#include "common/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold of everything that was accepted, beyond "no crash". Unlike assert() it is never compiled out. */
#define FUZZ_CHECK(condition)                                                                                          \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                 \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* An input that is read from its front; past its end there are zeros and empty pieces. */
struct fuzz_input {
	const uint8_t *data;
	size_t len;
};

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	if (in->len == 0)
		return 0;
	in->len--;
	return *in->data++;
}

static inline uint32_t fuzz_u32(struct fuzz_input *in)
{
	uint32_t n = 0;

	for (int i = 0; i < 4; i++)
		n = n << 8 | fuzz_u8(in);
	return n;
}

/* Up to `len` bytes, borrowed. */
static inline struct fuzz_input fuzz_take(struct fuzz_input *in, size_t len)
{
	size_t n = MIN(len, in->len);
	struct fuzz_input piece = { .data = in->data, .len = n };

	in->data += n;
	in->len -= n;
	return piece;
}

/* A copy with a NUL behind it, in memory of exactly that size, so that a read past the end is seen. Never NULL. */
static inline char *fuzz_text(struct fuzz_input piece)
{
	char *text = malloc(piece.len + 1);

	FUZZ_CHECK(text != NULL);
	if (piece.len > 0)
		memcpy(text, piece.data, piece.len);
	text[piece.len] = '\0';
	return text;
}
