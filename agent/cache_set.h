/* Cache set: what the offline cache has, or is to have: a list of Pods, Secrets and ConfigMaps, each with the file that holds it; and
 * that list as the text of the index. */
#pragma once

#include "agent/cache_box.h"
#include "agent/cache_dir.h"
#include "agent/pod.h"
#include "agent/secret.h"
#include "common/map.h"

#define CACHE_INDEX_KIND "Index"

enum cache_kind { CACHE_POD, CACHE_SECRET, CACHE_CONFIG_MAP, CACHE_KINDS_N };
/* "Pod", "Secret", "ConfigMap" */
const char *cache_kind_name(enum cache_kind kind);
/* Not of OBJECT_TOKEN. */
enum cache_kind cache_kind_of(enum object_kind kind);
/* Not of CACHE_POD. */
enum object_kind cache_object_kind(enum cache_kind kind);

struct cache_item {
	enum cache_kind kind;
	char *id; /* "NS/NAME/UID" of a Pod, "NS/NAME" of another object */
	char *key; /* kind and id */
	char *revision; /* what is in the file; another one is to be written */
	bool absent; /* an object that the API server has not: there is no file */
	char file[CACHE_NAME_LEN + 1]; /* "": not written yet */
	uint64_t generation;
	uint8_t digest[CACHE_DIGEST_LEN]; /* of the file */
	uint64_t written_usec; /* CLOCK_REALTIME */
	bool lost; /* its file is not there or not good */
	size_t place; /* among the set's items */
	/* what is to be written or was read; NULL: neither */
	struct pod *pod;
	struct secret *secret;
};

struct cache_set {
	uint64_t generation; /* 0: was never written */
	uint64_t written_usec;
	struct cache_item **items;
	size_t n_items, size;
	struct map by_key;
};

void cache_set_deinit(struct cache_set *s);
#define cleanup_cache_set cleanup(cache_set_deinit)
/* NULL: not in it. */
struct cache_item *cache_set_find(const struct cache_set *s, enum cache_kind kind, const char *id);
/* A new, empty one. -EEXIST; -ENOMEM. */
int cache_set_add(struct cache_set *s, enum cache_kind kind, const char *id, struct cache_item **ret_item);
/* Takes it out and frees it. */
void cache_set_remove(struct cache_set *s, struct cache_item *item);

/* The index: node and key are bound by cache_seal(). -ENOBUFS; -ENOMEM. */
int cache_index_encode(const struct cache_set *s, struct buf *out);
/* s is empty. -EBADMSG: it is no index of ours. */
int cache_index_decode(const char *text, size_t len, struct cache_set *s, struct err *e);

/* The object as JSON of core/v1, which codec.h reads; of a Pod only what pod.h has, without what changes all the time. */
int cache_pod_encode(const struct pod *pod, struct buf *out);
int cache_secret_encode(const struct secret *secret, struct buf *out);
/* Into item->pod or item->secret. -EBADMSG: it is no such object, or another one than item->id says; -ENOMEM. */
int cache_item_decode(struct cache_item *item, const char *text, size_t len, struct err *e);

/* "NS/NAME/UID". NULL: out of memory. */
char *cache_pod_id(const struct pod *pod);
/* Opens a record's file, whose bytes these are, and decodes it. -EBADMSG: it is not the one that the index speaks of. */
int cache_item_open(struct cache_item *item, const struct cache_key *key, const char *node, const void *file,
		    size_t len, struct buf *scratch, struct err *e);
/* Opens the index, whose bytes these are. -EBADMSG. */
int cache_index_open(struct cache_set *s, const struct cache_key *key, const char *node, const void *file, size_t len,
		     struct buf *scratch, struct err *e);
/* Whether the folder, as it is listed, is one that this index was the last to be written to: a newer record, or records
 * without an index, say that somebody has put an older one in its place, or taken it away. have_index: s is one.
 * -EBADMSG. What an interrupted write has left is no such thing. */
int cache_index_check(const struct cache_set *s, bool have_index, const struct cache_file *files, size_t n_files,
		      struct err *e);
