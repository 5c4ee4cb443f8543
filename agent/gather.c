/* Gather: one fetch for each object, a few at a time; the last answer calls back. */
#include "agent/gather.h"

#include "common/clock.h"
#include "common/map.h"
#include "common/str.h"

#define IN_FLIGHT_MAX 8 /* each may be as large as an answer may */

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
	size_t at; /* the next that is fetched */
	size_t bytes_max, n_bytes;
	uint64_t until_usec;
	struct err err; /* why it was given up; code 0: it was not */
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

int gather_new(struct source *source, const struct store *store, const char *ns, size_t bytes_max,
	       struct gather **ret_g)
{
	cleanup(gather_freep) struct gather *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->source = source;
	g->store = store;
	g->bytes_max = bytes_max;
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

static size_t size_of(const struct secret *s)
{
	size_t size = 0;

	for (size_t i = 0; s && i < s->n_keys; i++)
		size += strlen(s->keys[i].name) + s->keys[i].value.len;
	return size;
}

/* One more object is there, or not. */
static int settle(struct item *it)
{
	struct gather *g = it->gather;

	if (it->object.unanswered)
		take_from_store(it);
	g->n_bytes += size_of(it->object.secret);
	if (g->n_bytes <= g->bytes_max)
		return 0;
	return err_set(&g->err, -E2BIG, "the Secrets and ConfigMaps that it takes have more than %zu bytes together",
		       g->bytes_max);
}

/* What runs is not waited for. */
static void give_up(struct gather *g)
{
	for (size_t i = 0; i < g->n_items; i++)
		source_unfetch(g->source, TAKE_PTR(g->items[i]->fetch));
	g->n_running = 0;
	g->at = g->n_items;
}

static int fetch_more(struct gather *g);

static void on_fetched(void *userdata, const struct source_fetched *fetched)
{
	struct item *it = userdata;
	struct gather *g = it->gather;
	int r;

	g->n_running--;
	it->fetch = NULL;
	it->object.err = fetched->err;
	it->object.unanswered = fetched->unanswered;
	if (fetched->secret)
		it->object.secret = secret_ref(fetched->secret);
	if (fetched->account)
		it->object.account = json_incref((json_t *)(uintptr_t)fetched->account);
	r = settle(it);
	if (r == 0)
		r = fetch_more(g);
	if (r < 0)
		give_up(g);
	if (g->n_running == 0)
		g->fn(g->userdata);
}

static const char *word_of(const struct item *it)
{
	static const char *const WORDS[] = {
		[SOURCE_SECRET] = "secret", [SOURCE_CONFIG_MAP] = "configmap", [SOURCE_ACCOUNT] = "serviceaccount"
	};

	return WORDS[it->object.thing];
}

static int no_time(struct item *it)
{
	it->object.unanswered = true;
	err_set(&it->object.err, -EAGAIN, "%s %s/%.64s: there was no time left to ask for it", word_of(it),
		it->gather->ns, it->object.name);
	return settle(it);
}

static int fetch_item(struct item *it)
{
	struct gather *g = it->gather;
	int r;

	if (!str_is_dns_subdomain(it->object.name)) {
		err_set(&it->object.err, -ENOENT, "%s \"%.64s\" not found", word_of(it), it->object.name);
		return 0;
	}
	if (clock_monotonic_usec() >= g->until_usec)
		return no_time(it);
	r = source_fetch(g->source, it->object.thing, g->ns, it->object.name, on_fetched, it, &it->fetch);
	if (r < 0)
		return err_set(&g->err, r, "fetch: %s", strerror(-r));
	g->n_running++;
	return 0;
}

static int fetch_more(struct gather *g)
{
	int r = 0;

	while (r == 0 && g->n_running < IN_FLIGHT_MAX && g->at < g->n_items)
		r = fetch_item(g->items[g->at++]);
	return r;
}

int gather_start(struct gather *g, uint64_t until_usec, gather_fn fn, void *userdata)
{
	g->fn = fn;
	g->userdata = userdata;
	g->until_usec = until_usec;
	if (fetch_more(g) < 0)
		give_up(g);
	return g->n_running == 0;
}

int gather_result(const struct gather *g, struct err *e)
{
	return g->err.code < 0 ? err_set(e, g->err.code, "%s", err_text(&g->err)) : 0;
}
