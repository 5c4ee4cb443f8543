/* The map of ids: linear probing over a power of two, at most three quarters full. Ids are placed in groups: those of a group one
 * after the other, the groups anywhere. With all of them one after the other, the ids of today would meet those of long ago that
 * are still there in one long run. A removal moves up what had to give way to it, so there are no tombs. */
#include "common/idmap.h"

#include "common/slots.h"

#define GROUP 8u /* ids; their slots are two cache lines */

static size_t slot_of(uint64_t id, size_t n_slots)
{
	/* splitmix64's finish over the group */
	uint64_t x = id / GROUP;

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	x ^= x >> 31;
	return (size_t)((x * GROUP + id % GROUP) & (n_slots - 1));
}

void idmap_deinit(struct idmap *m)
{
	free(m->entries);
	*m = IDMAP_INIT;
}

/* Where it is, or where it would be put. There is a free slot. */
static struct idmap_entry *slot_find(struct idmap_entry *entries, size_t n_slots, uint64_t id)
{
	size_t i = slot_of(id, n_slots);

	while (entries[i].value && entries[i].id != id)
		i = (i + 1) & (n_slots - 1);
	return &entries[i];
}

void *idmap_get(const struct idmap *m, uint64_t id)
{
	return m->n_used > 0 ? slot_find(m->entries, m->n_slots, id)->value : NULL;
}

int idmap_reserve(struct idmap *m, size_t n)
{
	struct idmap_entry *entries;
	size_t n_slots;

	if (n <= slots_room(m->n_slots))
		return 0;
	if (slots_for(n, 3, m->n_slots ?: SLOTS_MIN, &n_slots) < 0)
		return -ENOMEM;
	entries = calloc(n_slots, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_slots; i++)
		if (m->entries[i].value)
			*slot_find(entries, n_slots, m->entries[i].id) = m->entries[i];
	free(m->entries);
	m->entries = entries;
	m->n_slots = n_slots;
	return 0;
}

int idmap_add(struct idmap *m, uint64_t id, void *value)
{
	struct idmap_entry *entry;
	int r;

	assert(value);
	if (idmap_get(m, id))
		return -EEXIST;
	r = idmap_reserve(m, m->n_used + 1);
	if (r < 0)
		return r;
	entry = slot_find(m->entries, m->n_slots, id);
	*entry = (struct idmap_entry){ .id = id, .value = value };
	m->n_used++;
	return 0;
}

void *idmap_remove(struct idmap *m, uint64_t id)
{
	struct idmap_entry *gap = m->n_used > 0 ? slot_find(m->entries, m->n_slots, id) : NULL;
	size_t mask = m->n_slots - 1;
	void *value = gap ? gap->value : NULL;

	if (!value)
		return NULL;
	m->n_used--;
	for (size_t i = (size_t)(gap - m->entries + 1) & mask; m->entries[i].value; i = (i + 1) & mask) {
		size_t own = slot_of(m->entries[i].id, m->n_slots), hole = (size_t)(gap - m->entries);

		/* it may not come before its own place */
		if (((i - own) & mask) < ((i - hole) & mask))
			continue;
		*gap = m->entries[i];
		gap = &m->entries[i];
	}
	*gap = (struct idmap_entry){ .value = NULL };
	return value;
}

/* What a removal moves up comes from behind the gap, or from the table's beginning, which is empty then. */
void *idmap_first(const struct idmap *m, size_t *it)
{
	for (; *it < m->n_slots; ++*it)
		if (m->entries[*it].value)
			return m->entries[*it].value;
	return NULL;
}
