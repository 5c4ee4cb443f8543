/* Store: a map from "kind namespace/name" to what is known. An error never takes away a revision that was good: it is kept
 * beside it until the source has something better to say. */
#include "agent/store.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/map.h"
#include "common/str.h"

enum { KEY_MAX = 2200 }; /* a namespace has 63 characters, a name 253, a token's TOKEN_NAME_MAX */

struct store_item {
	struct store_entry entry; /* first: the public view */
	char *key; /* "secret ns/name"; ns and name point into `names` */
	char *names;
};

struct store {
	struct map items;
	struct source *source;
	store_changed_fn fn;
	void *userdata;
};

static void store_item_free(struct store_item *item)
{
	secret_unref(item->entry.secret);
	err_note_clear(&item->entry.error);
	free(item->key);
	free(item->names);
	free(item);
}
DEFINE_CLEANUP(struct store_item *, store_item_free);

int store_new(store_changed_fn fn, void *userdata, struct store **ret_st)
{
	struct store *st = calloc(1, sizeof(*st));

	if (!st)
		return -ENOMEM;
	st->fn = fn;
	st->userdata = userdata;
	*ret_st = st;
	return 0;
}

void store_free(struct store *st)
{
	struct store_item *item;

	if (!st)
		return;
	for (size_t it = 0; (item = map_next(&st->items, &it));) {
		map_remove_str(&st->items, item->key);
		store_item_free(item);
	}
	map_deinit(&st->items);
	free(st);
}

void store_set_source(struct store *st, struct source *source)
{
	st->source = source;
}

/* Without an allocation: a word of the source must not be lost for want of memory. */
static struct store_item *store_item_find(const struct store *st, enum object_kind kind, const char *ns,
					  const char *name)
{
	char key[KEY_MAX];
	int n = snprintf(key, sizeof(key), "%s %s/%s", object_kind_word(kind), ns, name);

	return n > 0 && (size_t)n < sizeof(key) ? map_get_str(&st->items, key) : NULL;
}

static int store_item_new(enum object_kind kind, const char *ns, const char *name, struct store_item **ret_item)
{
	cleanup(store_item_freep) struct store_item *item = calloc(1, sizeof(*item));
	size_t ns_len = strlen(ns);

	if (!item)
		return -ENOMEM;
	item->entry.error = ERR_NOTE_NONE;
	item->key = str_format("%s %s/%s", object_kind_word(kind), ns, name);
	item->names = str_format("%s/%s", ns, name);
	if (!item->key || !item->names)
		return -ENOMEM;
	item->names[ns_len] = 0;
	item->entry.kind = kind;
	item->entry.ns = item->names;
	item->entry.name = item->names + ns_len + 1;
	item->entry.n_refs = 1;
	*ret_item = TAKE_PTR(item);
	return 0;
}

int store_ref(struct store *st, enum object_kind kind, const char *ns, const char *name,
	      const struct store_entry **ret_entry)
{
	cleanup(store_item_freep) struct store_item *fresh = NULL;
	struct store_item *item = store_item_find(st, kind, ns, name);
	int r;

	if (strlen(object_kind_word(kind)) + strlen(ns) + strlen(name) + sizeof(" /") > KEY_MAX)
		return -EINVAL;
	if (item) {
		item->entry.n_refs++;
		*ret_entry = &item->entry;
		return 0;
	}
	r = store_item_new(kind, ns, name, &fresh);
	if (r < 0)
		return r;
	r = map_add_str(&st->items, fresh->key, fresh);
	if (r < 0)
		return r;
	r = source_want(st->source, kind, ns, name);
	if (r < 0) {
		map_remove_str(&st->items, fresh->key);
		return r;
	}
	*ret_entry = &TAKE_PTR(fresh)->entry;
	return 0;
}

static struct store_item *item_of(const struct store_entry *entry)
{
	return container_of((struct store_entry *)(uintptr_t)entry, struct store_item, entry);
}

uint64_t store_need(struct store *st, const struct store_entry *entry)
{
	struct store_item *item = item_of(entry);
	uint64_t need = ++item->entry.n_needs;
	int r = source_need(st->source, entry->kind, entry->ns, entry->name);

	/* what is known is as good as it was before */
	if (r < 0)
		log_warning(LOG_F({ "namespace", entry->ns }, { object_kind_word(entry->kind), entry->name }),
			    "ask again: %s", strerror(-r));
	if (r != SOURCE_ASKED)
		item->entry.fresh = need;
	return need;
}

int store_refresh(struct store *st, enum object_kind kind, const char *ns, const char *name)
{
	return store_item_find(st, kind, ns, name) ? source_refresh(st->source, kind, ns, name) : -ENOENT;
}

void store_unref(struct store *st, const struct store_entry *entry)
{
	struct store_item *item = item_of(entry);

	assert(item->entry.n_refs > 0);
	if (--item->entry.n_refs > 0)
		return;
	source_unwant(st->source, entry->kind, entry->ns, entry->name);
	map_remove_str(&st->items, item->key);
	store_item_free(item);
}

const struct store_entry *store_find(const struct store *st, enum object_kind kind, const char *ns, const char *name)
{
	struct store_item *item = store_item_find(st, kind, ns, name);

	return item ? &item->entry : NULL;
}

const struct store_entry *store_next(const struct store *st, size_t *it)
{
	struct store_item *item = map_next(&st->items, it);

	return item ? &item->entry : NULL;
}

void store_object_changed(struct store *st, enum object_kind kind, const char *ns, const char *name,
			  struct secret *secret)
{
	struct store_item *item = store_item_find(st, kind, ns, name);
	struct secret *old;

	if (!item)
		return;
	old = item->entry.secret;
	item->entry.n_answers++;
	item->entry.secret = secret ? secret_ref(secret) : NULL;
	item->entry.state = secret ? STORE_PRESENT : STORE_ABSENT;
	err_note_clear(&item->entry.error);
	item->entry.reason = REASON_NONE;
	item->entry.failed_usec = 0;
	item->entry.cached = false;
	item->entry.synced_usec = clock_realtime_usec();
	st->fn(st->userdata, &item->entry);
	secret_unref(old);
}

void store_object_restored(struct store *st, enum object_kind kind, const char *ns, const char *name,
			   struct secret *secret, uint64_t synced_usec)
{
	struct store_item *item = store_item_find(st, kind, ns, name);

	if (!item || item->entry.state != STORE_UNSYNCED)
		return;
	item->entry.secret = secret ? secret_ref(secret) : NULL;
	item->entry.state = secret ? STORE_PRESENT : STORE_ABSENT;
	item->entry.cached = true;
	item->entry.synced_usec = synced_usec;
	st->fn(st->userdata, &item->entry);
}

void store_object_failed(struct store *st, enum object_kind kind, const char *ns, const char *name, const struct err *e)
{
	struct store_item *item = store_item_find(st, kind, ns, name);

	if (!item)
		return;
	item->entry.n_answers++;
	err_note_set(&item->entry.error, err_text(e));
	item->entry.reason = reason_of_error(e);
	if (!item->entry.failed_usec)
		item->entry.failed_usec = clock_realtime_usec();
	st->fn(st->userdata, &item->entry);
}

const struct store_entry *store_object_fresh(struct store *st, enum object_kind kind, const char *ns, const char *name,
					     uint64_t need)
{
	struct store_item *item = store_item_find(st, kind, ns, name);

	if (!item)
		return NULL;
	item->entry.fresh = MAX(item->entry.fresh, need);
	return &item->entry;
}
