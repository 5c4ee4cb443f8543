/* Offline. A reboot is not yet a reason to show what is in the cache: an API server that answers a moment later has
 * something better, and a container that starts in between must not get yesterday's credentials. So it is shown when a
 * request has failed, or when nothing has been heard for a while, and only before the first list of pods has come: from
 * then on the API server's word counts, and what it does not know goes.
 *
 * Nor is it shown to an agent that goes on with what an earlier one has published by the API server's word: that is as new
 * as the cache, or newer. One whose predecessors have had nothing but the cache either, or died before they came to it,
 * begins as they did. */
#include "agent/offline.h"

#include <sodium.h>

#include "common/log.h"
#include "common/str.h"

#define LOOK_USEC     (200 * USEC_PER_MSEC)
#define PATIENCE_USEC (5 * USEC_PER_SEC)

struct offline {
	const struct config *config;
	struct cache_io *io; /* NULL: the folder cannot be used */
	int key_fd; /* until it is read */
	char *key_path;
	struct cache_key *key;
	struct cache *cache; /* NULL: disabled */
	struct offline_world world;
	struct loop_source *look;
	uint64_t since_usec;
	bool told, shown;
	char reason[ERR_TEXT_MAX]; /* why it is disabled */
};

void offline_disable(struct offline *o, const char *reason)
{
	snprintf(o->reason, sizeof(o->reason), "%s", reason);
	log_error(NULL, "there is no offline cache: %s", reason);
}

int offline_new(const struct config *c, const struct sandbox_user *user, struct offline **ret_o, struct err *e)
{
	cleanup(offline_freep) struct offline *o = NULL;
	struct err why = ERR_INIT;

	*ret_o = NULL;
	if (!c->offline_cache_dir || c->manifests_dir)
		return 0;
	o = calloc(1, sizeof(*o));
	if (!o)
		return err_set(e, -ENOMEM, "out of memory");
	o->config = c;
	o->key_fd = -1;
	if (cache_io_start(c->offline_cache_dir, user, &o->io, &why) < 0)
		offline_disable(o, err_text(&why));
	*ret_o = TAKE_PTR(o);
	return 0;
}

void offline_free(struct offline *o)
{
	if (!o)
		return;
	loop_source_free(o->look);
	cache_free(o->cache);
	cache_io_free(o->io);
	cache_key_free(o->key);
	close_fd(o->key_fd);
	free(o->key_path);
	free(o);
}

int offline_open_key(struct offline *o, struct err *e)
{
	return o ? cache_key_open(o->config->offline_cache_key_file, NULL, &o->key_fd, &o->key_path, e) : 0;
}

int offline_read_key(struct offline *o, struct err *e)
{
	int r;

	if (!o || o->key_fd < 0)
		return 0;
	r = cache_key_read(o->key_fd, o->key_path, &o->key, e);
	o->key_fd = close_fd(o->key_fd);
	return r;
}

/* ---- what is to be kept ---- */

static int collect_pod(const struct pod_state *s, struct cache_set *want)
{
	cleanup_free char *id = NULL;
	struct cache_item *item;
	int r;

	if (s->pod->mirror || pod_is_finished(s->pod) || s->n_volumes == 0)
		return 0;
	id = cache_pod_id(s->pod);
	if (!id)
		return -ENOMEM;
	r = cache_set_add(want, CACHE_POD, id, &item);
	if (r < 0)
		return r;
	item->pod = pod_ref(s->pod);
	return 0;
}

static int collect_object(const struct store_entry *entry, struct cache_set *want)
{
	cleanup_free char *id = str_format("%s/%s", entry->ns, entry->name);
	struct cache_item *item;
	int r;

	if (!id)
		return -ENOMEM;
	r = cache_set_add(want, cache_kind_of(entry->kind), id, &item);
	if (r < 0)
		return r;
	item->absent = entry->state == STORE_ABSENT;
	/* of one that the API server has said nothing of, what is there stays */
	if (entry->state == STORE_PRESENT && !entry->cached)
		item->secret = secret_ref(entry->secret);
	return 0;
}

static int collect(void *userdata, struct cache_set *want)
{
	struct offline *o = userdata;
	const struct store_entry *entry;
	int r = 0;

	for (size_t i = 0; r == 0 && i < pods_count(o->world.pods); i++)
		r = collect_pod(pods_at(o->world.pods, i), want);
	/* a token would be of no use: it is asked for anew, of the very server that must be there for it */
	for (size_t it = 0; r == 0 && (entry = store_next(o->world.store, &it));)
		r = entry->kind == OBJECT_TOKEN ? 0 : collect_object(entry, want);
	return r;
}

/* ---- what is shown ---- */

static void show(struct offline *o, const struct cache_set *s)
{
	const struct cache_item *item;
	size_t n = 0;

	for (size_t i = 0; i < s->n_items; i++) {
		item = s->items[i];
		if (item->kind != CACHE_POD || !item->pod)
			continue;
		n += pods_pod_restored(o->world.pods, item->pod);
		/* an empty list of pods is doubted for its sake */
		(void)source_expect_pod(o->world.source, item->pod->ns, item->pod->name, item->pod->uid);
	}
	/* only now somebody refers to them */
	for (size_t i = 0; i < s->n_items; i++) {
		cleanup_free char *ns = NULL;
		const char *slash;

		item = s->items[i];
		slash = strchr(item->id, '/');
		if (item->kind == CACHE_POD || (!item->secret && !item->absent) || !slash)
			continue;
		ns = strndup(item->id, (size_t)(slash - item->id));
		if (ns)
			store_object_restored(o->world.store, cache_object_kind(item->kind), ns, slash + 1,
					      item->secret, item->written_usec);
	}
	if (n > 0)
		log_warning(NULL, "the API server does not answer: %zu pod%s shown from the offline cache", n,
			    n == 1 ? " is" : "s are");
}

static void restored(void *userdata, const struct cache_set *s)
{
	struct offline *o = userdata;

	if (!o->told)
		show(o, s);
}

static void changed(void *userdata)
{
	struct offline *o = userdata;

	o->world.changed(o->world.userdata);
}

static const struct cache_ops CACHE_OPS = { .collect = collect, .restored = restored, .changed = changed };

static void on_look(struct loop_source *s, void *userdata)
{
	struct offline *o = userdata;
	struct source_health h = { .kind = "" };

	if (o->told || o->shown)
		return;
	source_health(o->world.source, &h);
	if (!h.last_error[0] && loop_now(o->world.loop) - o->since_usec < PATIENCE_USEC) {
		loop_timer_set(o->look, LOOK_USEC);
		return;
	}
	o->shown = true;
	cache_restore(o->cache);
}

int offline_start(struct offline *o, const struct offline_world *world, bool may_show)
{
	int r;

	if (!o)
		return 0;
	o->world = *world;
	if (!o->io || !o->key)
		return 0;
	r = cache_io_attach(o->io, world->loop, world->process_ended, world->userdata);
	if (r == 0)
		r = cache_new(world->loop, o->io, o->key, o->config->node_name, &CACHE_OPS, o, &o->cache);
	if (r == 0)
		r = loop_add_timer(world->loop, on_look, o, &o->look);
	if (r < 0)
		return r;
	o->since_usec = loop_now(world->loop);
	o->shown = !may_show;
	if (may_show)
		loop_timer_set(o->look, LOOK_USEC);
	return 0;
}

void offline_replace_process(struct offline *o, int take_fd)
{
	int r;

	if (!o || !o->cache) {
		close_fd(take_fd);
		return;
	}
	r = cache_io_replace(o->io, take_fd);
	if (r < 0) {
		log_error(NULL, "offline cache: take another process: %s", strerror(-r));
		return;
	}
	log_info(NULL, "offline cache: another process reads and writes the folder");
	cache_resume(o->cache);
}

void offline_touch(struct offline *o)
{
	if (o && o->cache && o->told)
		cache_touch(o->cache);
}

void offline_pods_told(struct offline *o)
{
	if (!o || !o->cache || o->told)
		return;
	o->told = true;
	cache_restore_cancel(o->cache);
	offline_touch(o);
}

void offline_stats(const struct offline *o, struct offline_stats *ret)
{
	*ret = (struct offline_stats){ .dir = NULL };
	if (!o)
		return;
	ret->dir = o->config->offline_cache_dir;
	if (o->cache)
		cache_stats(o->cache, &ret->cache);
	else
		snprintf(ret->cache.error, sizeof(ret->cache.error), "%s", o->reason);
	for (size_t i = 0; o->world.pods && i < pods_count(o->world.pods); i++)
		ret->n_shown += pods_at(o->world.pods, i)->cached;
}
