/* A hash map from byte strings to pointers: open addressing, SipHash-2-4 with a per-process seed, so that names
 * chosen by somebody else cannot make it slow. Keys are borrowed: they live in the value and as long as it is in
 * the map. */
#pragma once

#include "common/base.h"

struct map_entry {
	const void *key;
	size_t key_len;
	void *value;
	uint64_t hash;
};
struct map {
	struct map_entry *entries;
	size_t n_slots, n_used, n_tombs;
};
#define MAP_INIT ((struct map){ .entries = NULL })

/* Frees the table, not the values. */
void map_deinit(struct map *m);
/* NULL: not there. */
void *map_get(const struct map *m, const void *key, size_t key_len);
static inline void *map_get_str(const struct map *m, const char *key)
{
	return map_get(m, key, strlen(key));
}
/* Room for n entries in all, so that none of them has to make it. -ENOMEM. */
int map_reserve(struct map *m, size_t n);
/* -EEXIST: the key is there (nothing changed); -ENOMEM. */
int map_add(struct map *m, const void *key, size_t key_len, void *value);
static inline int map_add_str(struct map *m, const char *key, void *value)
{
	return map_add(m, key, strlen(key), value);
}
/* Returns the removed value, NULL if there was none. */
void *map_remove(struct map *m, const void *key, size_t key_len);
static inline void *map_remove_str(struct map *m, const char *key)
{
	return map_remove(m, key, strlen(key));
}
static inline size_t map_count(const struct map *m)
{
	return m->n_used;
}
/* Iterates in no order: for (size_t it = 0; (v = map_next(m, &it));). Removing the entry just returned is
 * allowed; adding is not. */
void *map_next(const struct map *m, size_t *it);
