/* Secret: one revision of a Secret, or of a ConfigMap, which is kept and followed in the same way. Immutable once made;
 * shared by reference. */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/secmem.h"

#define SECRET_BYTES_MAX ((size_t)1048576) /* sum of decoded values: core/v1 MaxSecretSize; of a ConfigMap, too */
#define SECRET_KEY_MAX	 253 /* core validation: IsConfigMapKey */

/* A token is what token.h makes of a TokenRequest's answer: one that is nobody's but the pod's that asked for it. */
enum object_kind { OBJECT_SECRET, OBJECT_CONFIG_MAP, OBJECT_TOKEN, OBJECT_KINDS_N };
/* "Secret" */
const char *object_kind_name(enum object_kind kind);
/* "secret": in the kubelet's sentences, and in keys. */
const char *object_kind_word(enum object_kind kind);
/* "secret", "configMap", "token" or "all", in any case: one bit for each kind, 1 << kind. -EINVAL. */
int object_kinds_parse(const char *text, unsigned *ret_kinds);

struct secret_key {
	char *name;
	struct secspan value; /* in the secret's block */
	struct digest digest;
	bool binary; /* in a ConfigMap's binaryData, which no environment shows */
};
struct label {
	char *key, *value;
};
/* Sorted by key. */
struct pairs {
	struct label *all;
	size_t n;
};
void pairs_deinit(struct pairs *p);
int pairs_copy(const struct pairs *p, struct pairs *ret_p);
bool pairs_same(const struct pairs *a, const struct pairs *b);
struct secret {
	size_t refs;
	enum object_kind kind;
	char *ns, *name, *uid, *resource_version;
	char *type; /* NULL: a ConfigMap has none */
	bool immutable;
	struct label *labels; /* sorted by key */
	size_t n_labels;
	struct secblock *block; /* all values */
	struct secret_key *keys; /* sorted by name */
	size_t n_keys;
};

/* An empty one with refs = 1, for the codec to fill. */
int secret_new(struct secret **ret_s);
struct secret *secret_ref(struct secret *s);
void secret_unref(struct secret *s);
DEFINE_CLEANUP(struct secret *, secret_unref);
#define cleanup_secret_object cleanup(secret_unrefp)
/* NULL: no such key. */
const struct secret_key *secret_find_key(const struct secret *s, const char *name);
/* Same keys and values, in the same field. */
bool secret_same_data(const struct secret *a, const struct secret *b);
/* Same uid, type, immutability, labels, keys and values. */
bool secret_same(const struct secret *a, const struct secret *b);
/* "" if the name may be a key of data, else the API server's sentence for why not. */
const char *secret_key_problem(const char *name);
