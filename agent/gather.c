/* Gather: one fetch for each object; the last answer calls back. */
#include "agent/gather.h"

#include "common/map.h"
#include "common/str.h"

struct item {
	struct gather_object object; /* first: gather_find() */
	struct gather *gather;
	struct source_fetch *fetch; /* NULL: not under way */
	char *key;
};

struct gather {
	struct source *source;
	const struct store *store;
	char *ns;
	struct map by_key;
	struct item *items[GATHER_OBJECTS_MAX];
	size_t n_items, n_running;
	gather_fn fn;
	void *userdata;
};

static void item_free(struct item *it)
{
	if (!it)
		return;
	source_unfetch(it->gather->source, it->fetch);
	secret_unref(it->object.secret);
	json_decref(it->object.account);
	free(it->object.name);
	free(it->key);
	free(it);
}
DEFINE_CLEANUP(struct item *, item_free);

int gather_new(struct source *source, const struct store *store, const char *ns, struct gather **ret_g)
{
	cleanup(gather_freep) struct gather *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->source = source;
	g->store = store;
	g->ns = strdup(ns);
	if (!g->ns)
		return -ENOMEM;
	*ret_g = TAKE_PTR(g);
	return 0;
}

void gather_free(struct gather *g)
{
	if (!g)
		return;
	map_deinit(&g->by_key);
	for (size_t i = 0; i < g->n_items; i++)
		item_free(g->items[i]);
	free(g->ns);
	free(g);
}

static char *key_of(enum source_thing thing, const char *name)
{
	return str_format("%d/%s", (int)thing, name);
}

int gather_add(struct gather *g, enum source_thing thing, const char *name)
{
	cleanup(item_freep) struct item *it = calloc(1, sizeof(*it));
	int r;

	if (!it)
		return -ENOMEM;
	it->gather = g;
	it->object.thing = thing;
	it->object.name = strdup(name);
	it->key = key_of(thing, name);
	if (!it->object.name || !it->key)
		return -ENOMEM;
	if (map_get_str(&g->by_key, it->key))
		return 0;
	if (g->n_items == GATHER_OBJECTS_MAX)
		return -E2BIG;
	r = map_add_str(&g->by_key, it->key, it);
	if (r < 0)
		return r;
	g->items[g->n_items++] = TAKE_PTR(it);
	return 0;
}

size_t gather_count(const struct gather *g)
{
	return g->n_items;
}

const struct gather_object *gather_at(const struct gather *g, size_t i)
{
	return &g->items[i]->object;
}

const struct gather_object *gather_find(const struct gather *g, enum source_thing thing, const char *name)
{
	cleanup_free char *key = key_of(thing, name);
	const struct item *it = key ? map_get_str(&g->by_key, key) : NULL;

	return it ? &it->object : NULL;
}

/* What some pod's volume has of it. */
static void take_from_store(struct item *it)
{
	enum object_kind kind = it->object.thing == SOURCE_SECRET ? OBJECT_SECRET : OBJECT_CONFIG_MAP;
	const struct store_entry *entry;

	if (it->object.thing == SOURCE_ACCOUNT)
		return;
	entry = store_find(it->gather->store, kind, it->gather->ns, it->object.name);
	if (!entry || entry->state != STORE_PRESENT || !entry->secret || entry->synced_usec == 0)
		return;
	it->object.secret = secret_ref(entry->secret);
	it->object.as_of_usec = entry->synced_usec;
}

static void on_fetched(void *userdata, const struct source_fetched *fetched)
{
	struct item *it = userdata;
	struct gather *g = it->gather;

	it->fetch = NULL;
	it->object.err = fetched->err;
	it->object.unanswered = fetched->unanswered;
	if (fetched->secret)
		it->object.secret = secret_ref(fetched->secret);
	if (fetched->account)
		it->object.account = json_incref((json_t *)(uintptr_t)fetched->account);
	if (fetched->unanswered)
		take_from_store(it);
	if (--g->n_running == 0)
		g->fn(g->userdata);
}

static void not_found(struct item *it)
{
	err_set(&it->object.err, -ENOENT, "%s \"%.64s\" not found",
		it->object.thing == SOURCE_SECRET ? "secret" : "configmap", it->object.name);
}

int gather_start(struct gather *g, gather_fn fn, void *userdata)
{
	int r;

	g->fn = fn;
	g->userdata = userdata;
	for (size_t i = 0; i < g->n_items; i++) {
		struct item *it = g->items[i];

		if (!str_is_dns_subdomain(it->object.name)) {
			not_found(it);
			continue;
		}
		r = source_fetch(g->source, it->object.thing, g->ns, it->object.name, on_fetched, it, &it->fetch);
		if (r < 0)
			return r;
		g->n_running++;
	}
	return g->n_running == 0;
}
