/* Base64 as Go's StdEncoding reads it: standard alphabet, padding required, CR and LF skipped, everything else
 * refused (kubelet-visible behaviour of Secret.data). Decodes into the caller's memory, in constant time in the
 * values of the characters. */
#pragma once

#include "common/base.h"

/* An upper bound of the decoded size of `len` characters. */
size_t b64_decoded_max(size_t len);
/* 0; -EINVAL: not base64; -ENOBUFS: more than `size` bytes. *ret_len is the decoded length. On failure what was
 * written to out is wiped. */
int b64_decode(const char *text, size_t len, uint8_t *out, size_t size, size_t *ret_len);
/* Fresh NUL-terminated text. -ENOMEM. */
int b64_encode(const void *data, size_t len, char **ret_text);
