/* Sealing: values of a Secret encrypted to a node's public key (libsodium's sealed boxes: X25519, XSalsa20-Poly1305), so
 * that manifests can be kept where others read them. What is sealed is bound to the namespace, the name and the key that
 * it was made for: they are inside, and compared when it is opened.
 *
 * A sealed value is the text v1:KEYID:BASE64. KEYID says which public key it is for, in messages and to pick the private
 * one; that it is right is proved by the box alone. */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/json.h"
#include "common/secmem.h"

#define SEALING_KEY_LEN	 32
#define SEALING_ID_LEN	 8 /* hexadecimal digits */
#define SEALING_KEYS_MAX 16 /* private keys in one file */

struct sealing_public {
	uint8_t key[SEALING_KEY_LEN];
	char id[SEALING_ID_LEN + 1];
};
struct sealing_keys; /* private ones, in locked memory */

/* Makes a key pair and writes it: private_path with mode 0600, public_path with 0644. Neither may exist (-EEXIST);
 * on failure neither is left behind. */
int sealing_generate(const char *private_path, const char *public_path, struct sealing_public *ret_public,
		     struct err *e);
/* The key of a public key file. -EINVAL: it is none, or has not exactly one. */
int sealing_public_read(const char *path, struct sealing_public *ret_public, struct err *e);
/* All keys of a private key file: older ones may stay in it, so that what was sealed to them can still be opened. secmem
 * must be set up; no copy is left on the heap or the stack. -EPERM: others may read or write the file. */
int sealing_keys_read(const char *path, struct sealing_keys **ret_keys, struct err *e);
/* The same in two steps, the second without privileges: opens the file; reads it. Both look at who may use it, because
 * somebody else may have opened it. */
int sealing_keys_open(const char *path, int *ret_fd, struct err *e);
int sealing_keys_read_fd(int take_fd, const char *path, struct sealing_keys **ret_keys, struct err *e);
/* The same keys in the same order. */
bool sealing_keys_same(const struct sealing_keys *a, const struct sealing_keys *b);
void sealing_keys_free(struct sealing_keys *k);
DEFINE_CLEANUP(struct sealing_keys *, sealing_keys_free);
#define cleanup_sealing_keys cleanup(sealing_keys_freep)
/* Stands for keys that are not at hand: a value's form is checked, and some other value takes its place. Not to be
 * freed. */
const struct sealing_keys *sealing_form_only(void);

/* Fresh text. -ENOMEM. */
int sealing_seal(const struct sealing_public *to, const char *ns, const char *name, const char *key, const void *value,
		 size_t len, char **ret_text);
/* -EINVAL: *ret_reason says why not, with nothing of the value in it; -ENOMEM. */
int sealing_open(const struct sealing_keys *keys, const char *ns, const char *name, const char *key, const char *text,
		 size_t len, struct secblock **ret_value, const char **ret_reason);
/* Moves the sealedData of a Secret, opened, to its data. keys NULL: refused, if there is any. Of another shape than an
 * object of strings: refused. -EINVAL, -ENOMEM: obj may be half changed. */
int sealing_open_secret(const struct sealing_keys *keys, const char *ns, const char *name, json_t *obj,
			struct json_issue *issue);
