/* Cache box: the offline cache's key, and one file of it from plaintext to ciphertext and back. */
#pragma once

#include "common/base.h"
#include "common/buf.h"
#include "common/err.h"

#define CACHE_KEY_LEN	    32
#define CACHE_DIGEST_LEN    32
#define CACHE_CREDENTIAL    "secretlet-cache-key" /* in systemd's $CREDENTIALS_DIRECTORY */
#define CACHE_UNIT_CREDS    "/run/credentials/secretlet.service" /* where systemd keeps those of our unit */
#define CACHE_BLOCK	    ((size_t)4096) /* files are a multiple of it long */
#define CACHE_PLAINTEXT_MAX ((size_t)12 << 20)

struct cache_key;

/* Opens the file, or, if path is NULL, systemd's credential: in $CREDENTIALS_DIRECTORY, or, when it is not there, in
 * unit_credentials (may be NULL), which is for commands: only the unit itself has the variable. Refused, by name: a file that
 * others than its owner can use, or that is not ours. *ret_path is where it is, for cache_key_read(); the caller's to free. */
int cache_key_open(const char *path, const char *unit_credentials, int *ret_fd, char **ret_path, struct err *e);
/* 32 bytes, as they are or in base64; anything else is refused. When there is secret memory. */
int cache_key_read(int fd, const char *path, struct cache_key **ret_key, struct err *e);
/* For tests. */
int cache_key_new(const uint8_t bytes[static CACHE_KEY_LEN], struct cache_key **ret_key, struct err *e);
/* A new one into a new file. -EEXIST. */
int cache_key_generate(const char *path, struct err *e);
/* Wipes it. */
void cache_key_free(struct cache_key *key);
DEFINE_CLEANUP(struct cache_key *, cache_key_free);

/* What a file is: it opens as nothing else. */
struct cache_bind {
	const char *node, *kind, *id, *file;
	uint64_t generation;
};
/* Into out, which is emptied first. -EFBIG; -ENOMEM. */
int cache_seal(const struct cache_key *key, const struct cache_bind *b, const void *data, size_t len, struct buf *out);
/* The plaintext into out, which is emptied first. -EBADMSG: it is not what b says, or not whole; nothing is in out. */
int cache_unseal(const struct cache_key *key, const struct cache_bind *b, const void *file, size_t len, struct buf *out,
		 struct err *e);
/* The generation that the file says it has, to be tried with cache_unseal(). 0: it is none of ours. */
uint64_t cache_generation(const void *file, size_t len);

/* Of a file's bytes. */
void cache_digest(const void *data, size_t len, uint8_t ret[static CACHE_DIGEST_LEN]);
/* Of a plaintext; says nothing without the key. */
void cache_content_digest(const struct cache_key *key, const void *data, size_t len,
			  uint8_t ret[static CACHE_DIGEST_LEN]);
