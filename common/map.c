/* The hash map: linear probing over a power of two, at most three quarters full. A slot's value says what the slot is:
 * NULL is empty, TOMB was removed; the hash is kept, so that growing hashes nothing again. */
#include "common/map.h"

#include <pthread.h>
#include <sodium.h>

#include "common/slots.h"

static char tomb;
#define TOMB ((void *)&tomb)

static unsigned char map_seed[crypto_shorthash_KEYBYTES];

static void map_seed_draw(void)
{
	randombytes_buf(map_seed, sizeof(map_seed));
}

static uint64_t map_hash(const void *key, size_t key_len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint64_t hash;

	static_assert(sizeof(hash) == crypto_shorthash_BYTES, "SipHash-2-4 gives 64 bits");
	pthread_once(&once, map_seed_draw);
	crypto_shorthash((unsigned char *)&hash, key, key_len, map_seed);
	return hash;
}

void map_deinit(struct map *m)
{
	free(m->entries);
	*m = MAP_INIT;
}

static bool entry_is(const struct map_entry *entry, uint64_t hash, const void *key, size_t key_len)
{
	return entry->value != TOMB && entry->hash == hash && entry->key_len == key_len &&
	       (key_len == 0 || memcmp(entry->key, key, key_len) == 0);
}

static struct map_entry *map_find(const struct map *m, uint64_t hash, const void *key, size_t key_len)
{
	size_t mask = m->n_slots - 1;

	if (m->n_used == 0)
		return NULL;
	for (size_t i = hash & mask; m->entries[i].value; i = (i + 1) & mask)
		if (entry_is(&m->entries[i], hash, key, key_len))
			return &m->entries[i];
	return NULL;
}

void *map_get(const struct map *m, const void *key, size_t key_len)
{
	const struct map_entry *entry;

	if (m->n_used == 0)
		return NULL;
	entry = map_find(m, map_hash(key, key_len), key, key_len);
	return entry ? entry->value : NULL;
}

static void slots_put(struct map_entry *entries, size_t n_slots, const struct map_entry *entry)
{
	size_t i = entry->hash & (n_slots - 1);

	while (entries[i].value)
		i = (i + 1) & (n_slots - 1);
	entries[i] = *entry;
}

/* A table in which n entries take at most one half, without tombs: twice the slots will do when a table is full. */
static int map_rehash(struct map *m, size_t n)
{
	struct map_entry *entries;
	size_t n_slots;

	if (slots_for(n, 2, SLOTS_MIN, &n_slots) < 0)
		return -ENOMEM;
	entries = calloc(n_slots, sizeof(*entries));
	if (!entries)
		return -ENOMEM;

	for (size_t i = 0; i < m->n_slots; i++)
		if (m->entries[i].value && m->entries[i].value != TOMB)
			slots_put(entries, n_slots, &m->entries[i]);

	free(m->entries);
	m->entries = entries;
	m->n_slots = n_slots;
	m->n_tombs = 0;
	return 0;
}

int map_reserve(struct map *m, size_t n)
{
	return n <= slots_room(m->n_slots) - m->n_tombs ? 0 : map_rehash(m, n / 3 * 2 + 2);
}

int map_add(struct map *m, const void *key, size_t key_len, void *value)
{
	struct map_entry entry = { .key = key, .key_len = key_len, .value = value };
	int r;

	assert(value);
	entry.hash = map_hash(key, key_len);
	if (map_find(m, entry.hash, key, key_len))
		return -EEXIST;

	if (m->n_used + m->n_tombs + 1 > slots_room(m->n_slots)) {
		r = map_rehash(m, m->n_used + 1);
		if (r < 0)
			return r;
	}
	slots_put(m->entries, m->n_slots, &entry);
	m->n_used++;
	return 0;
}

void *map_remove(struct map *m, const void *key, size_t key_len)
{
	struct map_entry *entry;
	void *value;

	if (m->n_used == 0)
		return NULL;
	entry = map_find(m, map_hash(key, key_len), key, key_len);
	if (!entry)
		return NULL;

	value = entry->value;
	*entry = (struct map_entry){ .value = TOMB };
	m->n_used--;
	m->n_tombs++;

	/* an empty slot behind a run of tombs: no search needs to pass over them */
	if (!m->entries[(size_t)(entry - m->entries + 1) & (m->n_slots - 1)].value)
		for (size_t i = (size_t)(entry - m->entries); m->entries[i].value == TOMB;
		     i = (i - 1) & (m->n_slots - 1)) {
			m->entries[i].value = NULL;
			m->n_tombs--;
		}
	return value;
}

void *map_next(const struct map *m, size_t *it)
{
	while (*it < m->n_slots) {
		void *value = m->entries[(*it)++].value;

		if (value && value != TOMB)
			return value;
	}
	return NULL;
}
