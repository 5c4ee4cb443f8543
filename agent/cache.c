/* Cache. Three things are done, one at a time, each a row of orders to cache_io: the index is read at the start; the
 * records are read, if it comes to that; what has changed is written.
 *
 * Nothing is written before the API server has told what there is: `collect` is asked only after a cache_touch(). What
 * was refused (another key, a tampered index) is replaced then, too, for then there is something better.
 *
 * A flush finds out what is new, bit by bit; then it writes the new records, then the index, then removes the files that
 * the new index does not speak of. When something of it fails, the last good index and its records stay, what was written
 * so far is removed (a disk that is almost full must not become a full one by trying), and it is tried again later. What
 * could not be removed is tried again before the next flush: it may be a Secret that has no business here any more. */
#include "agent/cache.h"

#include <sodium.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

#define FLUSH_USEC USEC_PER_SEC
#define RETRY_USEC (30 * USEC_PER_SEC)

#define COMPARED_MAX 1000 /* items in one turn of the loop that cost little */

enum activity { IDLE, LISTING, READING_INDEX, RESTORING, COMPARING, WRITING, WRITING_INDEX, REMOVING };

struct cache {
	struct loop *loop;
	struct cache_io *io;
	const struct cache_key *key;
	char *node;
	const struct cache_ops *ops;
	void *userdata;

	struct loop_source *flush_timer, *step;
	struct cache_set now; /* as the index on the disk says, for all we know */
	struct cache_set next; /* is being written */
	struct cache_file *files; /* there, and needed until the next index is */
	size_t n_files;
	struct cache_file *garbage; /* to be removed */
	size_t n_garbage, n_left; /* left: could not be */
	uint64_t newest; /* generation of what was there at the start, as it said itself; newest_generation() */
	enum activity activity;
	size_t at; /* of now.items, next.items or garbage */
	bool loaded, dirty, restore;
	bool cut_off; /* cache_restore() by the death of the process */
	bool told; /* there was a cache_touch() */
	bool whole; /* a flush writes at least the index: which one is on the disk is open */
	bool changed; /* something of `next` is not as in `now` */
	bool failed; /* the last flush did */
	bool sweeps; /* removes before a flush */
	struct buf plain, sealed;
	struct cache_stats stats;
};

/* ---- errors ---- */

static void say(struct cache *c, enum log_level level, const char *text)
{
	if (strcmp(c->stats.error, text) == 0)
		return;
	snprintf(c->stats.error, sizeof(c->stats.error), "%s", text);
	if (*text)
		log_write(level, NULL, "offline cache: %s", text);
	c->ops->changed(c->userdata);
}

static void say_failed(struct cache *c, int r, const char *error)
{
	const char *ended = r == -EPIPE ? cache_io_ended(c->io) : NULL;
	char text[ERR_TEXT_MAX];

	/* an order that is not even taken has no sentence, and it is the same as that of the one that was cut off */
	snprintf(text, sizeof(text), "%s", error && *error ? error : ended ?: strerror(-r));
	/* its next attempt has another generation or file: once is enough */
	say(c, LOG_LEVEL_ERROR, text);
}

static void flush_later(struct cache *c, uint64_t usec)
{
	loop_timer_set(c->flush_timer, usec);
}

static void go_on(struct cache *c)
{
	loop_defer_set(c->step);
}

static void rest(struct cache *c)
{
	c->activity = IDLE;
	if (c->restore && c->loaded)
		go_on(c);
	else if (c->dirty && !c->failed)
		flush_later(c, FLUSH_USEC);
	else if (c->failed || c->n_garbage > 0)
		flush_later(c, RETRY_USEC);
}

static void forget_files(struct cache *c)
{
	free(TAKE_PTR(c->files));
	c->n_files = 0;
}

static bool has_file(const struct cache *c, const char *name)
{
	for (size_t i = 0; i < c->n_files; i++)
		if (str_eq(c->files[i].name, name))
			return true;
	return false;
}

/* ---- what is to be removed ---- */

/* Without memory it stays for the next start. */
static void add_garbage(struct cache *c, const char *name)
{
	struct cache_file *grown = reallocarray(c->garbage, c->n_garbage + 1, sizeof(*grown));

	if (!grown)
		return;
	c->garbage = grown;
	c->garbage[c->n_garbage] = (struct cache_file){ .generation = 0 };
	snprintf(c->garbage[c->n_garbage++].name, sizeof(grown->name), "%s", name);
}

/* There was an index that speaks of it. */
static void add_file(struct cache *c, const char *name)
{
	struct cache_file *grown = reallocarray(c->files, c->n_files + 1, sizeof(*grown));

	if (!grown)
		return;
	c->files = grown;
	c->files[c->n_files] = (struct cache_file){ .generation = 0 };
	snprintf(c->files[c->n_files++].name, sizeof(grown->name), "%s", name);
}

/* Of the folder's files, those that `keep` does not speak of: they are in the old index, or in nobody's. */
static void sort_out(struct cache *c, const struct cache_set *keep)
{
	struct map used = MAP_INIT;
	bool all = true;

	assert(c->files || c->n_files == 0);
	for (size_t i = 0; i < keep->n_items; i++)
		if (*keep->items[i]->file)
			all &= map_add_str(&used, keep->items[i]->file, keep->items[i]) != -ENOMEM;
	for (size_t i = 0; all && i < c->n_files; i++)
		if (!str_eq(c->files[i].name, CACHE_INDEX_NAME) && !map_get_str(&used, c->files[i].name))
			add_garbage(c, c->files[i].name);
	for (size_t i = 0; all && i < c->now.n_items; i++)
		if (*c->now.items[i]->file && !map_get_str(&used, c->now.items[i]->file))
			add_garbage(c, c->now.items[i]->file);
	map_deinit(&used);
	forget_files(c);
}

/* ---- the index, at the start ---- */

static void refuse_all(struct cache *c, const struct err *e)
{
	char text[ERR_TEXT_MAX];

	snprintf(text, sizeof(text), "nothing in it is used: %.400s", err_text(e));
	cache_set_deinit(&c->now);
	c->stats.refused = true;
	say(c, LOG_LEVEL_ERROR, text);
}

/* Records whose files have gone. */
static void mark_lost(struct cache *c)
{
	struct map there = MAP_INIT;
	bool known = true;

	for (size_t i = 0; known && i < c->n_files; i++)
		known = map_add_str(&there, c->files[i].name, &c->files[i]) != -ENOMEM;
	/* without memory none is taken for lost: what is lost is written anew, or goes */
	for (size_t i = 0; known && i < c->now.n_items; i++) {
		struct cache_item *item = c->now.items[i];

		item->lost = !item->absent && !map_get_str(&there, item->file);
	}
	map_deinit(&there);
}

/* Records one ahead of the index, which are of a flush that was cut off, must not put the next one two ahead: it may be
 * for want of the right key that the index is refused. */
static uint64_t newest_generation(const struct cache *c)
{
	uint64_t newest = 0, index = 0;

	for (size_t i = 0; i < c->n_files; i++) {
		if (c->files[i].generation >= UINT64_MAX / 2)
			continue;
		newest = MAX(newest, c->files[i].generation);
		if (str_eq(c->files[i].name, CACHE_INDEX_NAME))
			index = c->files[i].generation;
	}
	return index > 0 && newest == index + 1 ? index : newest;
}

static void loaded(struct cache *c)
{
	c->loaded = true;
	c->newest = newest_generation(c);
	mark_lost(c);
	/* of what is refused nothing goes before there is something better */
	if (!c->stats.refused) {
		sort_out(c, &c->now);
		say(c, LOG_LEVEL_INFO, ""); /* an attempt before may have failed */
	}
	rest(c);
	c->ops->changed(c->userdata);
}

static void load_failed(struct cache *c, int r, const char *error)
{
	c->activity = IDLE;
	forget_files(c);
	say_failed(c, r, error);
	flush_later(c, RETRY_USEC);
}

static void on_index(void *userdata, int r, const void *data, size_t len, const char *error)
{
	struct cache *c = userdata;
	struct err e = ERR_INIT;

	if (r == -EPIPE) { /* nothing is known of the index: another process reads it */
		load_failed(c, r, error);
		return;
	}
	if (r < 0)
		err_set(&e, r, "%s", error);
	else
		r = cache_index_open(&c->now, c->key, c->node, data, len, &c->plain, &e);
	r = r ?: cache_index_check(&c->now, true, c->files, c->n_files, &e);
	if (r < 0)
		refuse_all(c, &e);
	loaded(c);
}

static void on_list(void *userdata, int r, const void *data, size_t len, const char *error)
{
	struct cache *c = userdata;
	struct err e = ERR_INIT;

	if (r >= 0) {
		r = cache_files_take(data, len, &c->files, &c->n_files);
		error = r == -EBADMSG ? "its process says what cannot be in the folder" : NULL;
	}
	if (r < 0) {
		load_failed(c, r, error);
		return;
	}
	if (has_file(c, CACHE_INDEX_NAME)) {
		c->activity = READING_INDEX;
		r = cache_io_read(c->io, CACHE_INDEX_NAME, on_index, c);
		if (r < 0)
			load_failed(c, r, NULL);
		return;
	}
	if (cache_index_check(&c->now, false, c->files, c->n_files, &e) < 0)
		refuse_all(c, &e);
	loaded(c);
}

static void load(struct cache *c)
{
	int r;

	c->activity = LISTING;
	r = cache_io_list(c->io, on_list, c);
	if (r < 0)
		load_failed(c, r, NULL);
}

/* ---- restore ---- */

static void drop_secrets(struct cache *c)
{
	for (size_t i = 0; i < c->now.n_items; i++) {
		pod_unref(TAKE_PTR(c->now.items[i]->pod));
		secret_unref(TAKE_PTR(c->now.items[i]->secret));
	}
}

/* An object of a volume that is in the index, and could not be read. */
static const struct cache_item *missing_object(const struct cache *c, const struct pod *pod)
{
	for (size_t i = 0; i < pod->n_volumes; i++) {
		const struct pod_volume *v = &pod->volumes[i];
		size_t n_sources = pod_mounts_volume(pod, v->name) ? v->n_sources : 0;

		for (size_t j = 0; j < n_sources; j++) {
			cleanup_free char *id = NULL;
			const struct cache_item *item;
			enum object_kind kind;

			if (!pod_source_object(&v->sources[j], &kind) || kind == OBJECT_TOKEN)
				continue;
			id = str_format("%s/%s", pod->ns, v->sources[j].name);
			item = id ? cache_set_find(&c->now, cache_kind_of(kind), id) : NULL;
			if (item && !item->absent && !item->secret)
				return item;
		}
	}
	return NULL;
}

static void restore_end(struct cache *c)
{
	for (size_t i = 0; i < c->now.n_items; i++) {
		struct cache_item *item = c->now.items[i];
		const struct cache_item *missing = item->pod ? missing_object(c, item->pod) : NULL;

		if (!missing)
			continue;
		log_error(LOG_F({ "pod", pod_display(item->pod) }),
			  "offline cache: the pod is not restored: its %s cannot be", missing->key);
		pod_unref(TAKE_PTR(item->pod));
	}
	c->stats.restored = true;
	c->restore = false;
	c->ops->restored(c->userdata, &c->now);
	drop_secrets(c);
	rest(c);
	c->ops->changed(c->userdata);
}

static void restore_cut_off(struct cache *c, int r, const char *error)
{
	c->cut_off = c->restore && r == -EPIPE;
	c->restore = false;
	drop_secrets(c);
	say_failed(c, r, error);
	rest(c);
}

static void on_record(void *userdata, int r, const void *data, size_t len, const char *error)
{
	struct cache *c = userdata;
	struct cache_item *item = c->now.items[c->at];
	struct err e = ERR_INIT;

	if (r == -EPIPE) {
		restore_cut_off(c, r, error);
		return;
	}
	if (r < 0)
		err_set(&e, r, "%s (%s)", error, item->key);
	else
		r = cache_item_open(item, c->key, c->node, data, len, &c->plain, &e);
	if (r < 0) {
		item->lost = true;
		c->stats.n_refused++;
		log_error(NULL, "offline cache: %s", err_text(&e));
		snprintf(c->stats.error, sizeof(c->stats.error), "%s", err_text(&e));
	}
	c->at++;
	go_on(c);
}

static void restore_next(struct cache *c)
{
	int r;

	if (!c->restore) {
		drop_secrets(c);
		rest(c);
		return;
	}
	while (c->at < c->now.n_items && c->now.items[c->at]->absent)
		c->at++;
	if (c->at == c->now.n_items) {
		restore_end(c);
		return;
	}
	r = cache_io_read(c->io, c->now.items[c->at]->file, on_record, c);
	if (r < 0)
		restore_cut_off(c, r, NULL);
}

void cache_restore(struct cache *c)
{
	c->restore = true;
	if (c->activity == IDLE)
		go_on(c);
}

void cache_restore_cancel(struct cache *c)
{
	c->restore = c->cut_off = false;
}

/* ---- flush ---- */

static void remove_garbage(struct cache *c)
{
	c->activity = REMOVING;
	c->at = c->n_left = 0;
	go_on(c);
}

/* The disk has what `now` says. */
static void flush_failed(struct cache *c, int r, const char *error)
{
	for (size_t i = 0; i < c->next.n_items; i++) {
		const struct cache_item *item = c->next.items[i], *old = cache_set_find(&c->now, item->kind, item->id);

		if (*item->file && (!old || !str_eq(old->file, item->file)))
			add_garbage(c, item->file);
	}
	cache_set_deinit(&c->next);
	c->dirty = c->failed = true;
	say_failed(c, r, error);
	remove_garbage(c);
}

static void flush(struct cache *c);

static void removed_all(struct cache *c)
{
	bool sweeps = c->sweeps;

	c->n_garbage = c->n_left;
	c->sweeps = false;
	if (sweeps) {
		c->activity = IDLE;
		flush(c);
	} else {
		rest(c);
	}
	c->ops->changed(c->userdata);
}

static void on_removed(void *userdata, int r, const void *data, size_t len, const char *error)
{
	struct cache *c = userdata;

	if (r < 0) {
		say_failed(c, r, error);
		c->garbage[c->n_left++] = c->garbage[c->at];
	}
	c->at++;
	go_on(c);
}

static void remove_next(struct cache *c)
{
	int r;

	if (c->at == c->n_garbage) {
		removed_all(c);
		return;
	}
	r = cache_io_remove(c->io, c->garbage[c->at].name, on_removed, c);
	if (r < 0)
		on_removed(c, r, NULL, 0, NULL);
}

/* It is there, but the old one may come back; or which of the two is there has died with the process. What the old one
 * speaks of stays until the next one is written, as does what this one speaks of. */
static void index_is_unsure(struct cache *c, int r, const char *error)
{
	for (size_t i = 0; i < c->now.n_items; i++) {
		const struct cache_item *old = c->now.items[i], *item = cache_set_find(&c->next, old->kind, old->id);

		if (*old->file && (!item || !str_eq(item->file, old->file)))
			add_file(c, old->file);
	}
	c->whole = c->dirty = c->failed = true;
	say_failed(c, r, error);
}

static void on_index_written(void *userdata, int r, const void *data, size_t len, const char *error)
{
	struct cache *c = userdata;
	const bool cut_off = r == -EPIPE, unsure = r == CACHE_DIR_UNSURE || cut_off;

	if (r < 0 && !cut_off) {
		flush_failed(c, r, error);
		return;
	}
	c->stats.n_writes += !cut_off;
	c->whole = false;
	if (unsure)
		index_is_unsure(c, cut_off ? r : -EIO, error);
	else
		sort_out(c, &c->next);
	cache_set_deinit(&c->now);
	c->now = c->next;
	c->next = (struct cache_set){ .generation = 0 };
	if (!cut_off) {
		c->stats.refused = false;
		c->stats.n_refused = 0;
	}
	if (unsure) {
		rest(c);
		return;
	}
	if (c->stats.error[0])
		log_info(NULL, "offline cache: is written again");
	say(c, LOG_LEVEL_INFO, "");
	remove_garbage(c);
}

static void write_index(struct cache *c)
{
	const struct cache_bind bind = { .node = c->node,
					 .kind = CACHE_INDEX_KIND,
					 .id = "",
					 .file = CACHE_INDEX_NAME,
					 .generation = c->next.generation };
	int r;

	c->activity = WRITING_INDEX;
	c->next.written_usec = clock_realtime_usec();
	r = cache_index_encode(&c->next, &c->plain);
	if (r == 0)
		r = cache_seal(c->key, &bind, c->plain.data ?: "", c->plain.len, &c->sealed);
	if (r == 0)
		r = cache_io_write(c->io, CACHE_INDEX_NAME, c->sealed.data, c->sealed.len, true, on_index_written, c);
	buf_clear(&c->plain);
	if (r < 0)
		flush_failed(c, r, NULL);
}

static void on_written(void *userdata, int r, const void *data, size_t len, const char *error)
{
	struct cache *c = userdata;

	if (r < 0) {
		if (r == -EPIPE) /* it may be there, or half of it */
			add_garbage(c, CACHE_TEMPORARY);
		else
			*c->next.items[c->at]->file = '\0'; /* there is none */
		flush_failed(c, r, error);
		return;
	}
	c->stats.n_writes++;
	c->at++;
	go_on(c);
}

/* -EBADMSG: it is nothing that JSON can say. That there is no memory looks the same; then the next flush has it. */
static int encode(struct cache *c, const struct cache_item *item)
{
	int r = item->pod ? cache_pod_encode(item->pod, &c->plain) : cache_secret_encode(item->secret, &c->plain);

	return r == -ENOMEM ? -EBADMSG : r;
}

/* No matter of trying again: the others are kept. */
static bool costs_only_itself(int r)
{
	return r == -EFBIG || r == -ENOBUFS || r == -ENAMETOOLONG || r == -EBADMSG;
}

static void leave_out(struct cache *c, struct cache_item *item, int r)
{
	log_warning(NULL, "offline cache: %s is not kept: %s", item->key, strerror(-r));
	cache_set_remove(&c->next, item);
}

static int write_record(struct cache *c, struct cache_item *item)
{
	struct cache_bind bind = { .node = c->node,
				   .kind = cache_kind_name(item->kind),
				   .id = item->id,
				   .file = item->file,
				   .generation = c->next.generation };
	uint8_t name[CACHE_NAME_LEN / 2];
	int r;

	r = encode(c, item);
	if (r < 0)
		return r;
	randombytes_buf(name, sizeof(name));
	sodium_bin2hex(item->file, sizeof(item->file), name, sizeof(name));
	item->generation = c->next.generation;
	item->written_usec = clock_realtime_usec();
	r = cache_seal(c->key, &bind, c->plain.data ?: "", c->plain.len, &c->sealed);
	buf_clear(&c->plain);
	if (r < 0)
		return r;
	cache_digest(c->sealed.data, c->sealed.len, item->digest);
	pod_unref(TAKE_PTR(item->pod));
	secret_unref(TAKE_PTR(item->secret));
	return cache_io_write(c->io, item->file, c->sealed.data, c->sealed.len, false, on_written, c);
}

static void write_next(struct cache *c)
{
	struct cache_item *item;
	int r;

	while (c->at < c->next.n_items && !c->next.items[c->at]->pod && !c->next.items[c->at]->secret)
		c->at++;
	if (c->at == c->next.n_items) {
		write_index(c);
		return;
	}
	item = c->next.items[c->at];
	r = write_record(c, item);
	if (costs_only_itself(r)) {
		leave_out(c, item, r);
		go_on(c);
	} else if (r < 0) {
		*item->file = '\0';
		flush_failed(c, r, NULL);
	}
}

/* What is in the file that `now` has for it, if it is what is wanted. */
static void keep_file(struct cache_item *item, const struct cache_item *old)
{
	memcpy(item->file, old->file, sizeof(item->file));
	memcpy(item->digest, old->digest, sizeof(item->digest));
	item->generation = old->generation;
	item->written_usec = old->written_usec;
	pod_unref(TAKE_PTR(item->pod));
	secret_unref(TAKE_PTR(item->secret));
}

/* It is the same for as long as there is the pod. *ret_encoded: it was made now. */
static int pod_revision(struct cache *c, const struct cache_item *item, bool *ret_encoded)
{
	uint8_t digest[CACHE_DIGEST_LEN];
	char hex[2 * CACHE_DIGEST_LEN + 1];
	int r;

	if (item->pod->cache_revision)
		return 0;
	*ret_encoded = true;
	r = encode(c, item);
	if (r < 0)
		return r;
	cache_content_digest(c->key, c->plain.data ?: "", c->plain.len, digest);
	buf_clear(&c->plain);
	item->pod->cache_revision = strdup(sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest)));
	return item->pod->cache_revision ? 0 : -ENOMEM;
}

static int set_revision(struct cache *c, struct cache_item *item, bool *ret_encoded)
{
	int r = item->pod ? pod_revision(c, item, ret_encoded) : 0;

	if (r < 0)
		return r;
	if (item->pod)
		item->revision = strdup(item->pod->cache_revision);
	else
		item->revision = str_format("%s/%s", item->secret->uid ?: "", item->secret->resource_version ?: "");
	return item->revision ? 0 : -ENOMEM;
}

/* Finds out whether the item of `next` is on the disk already, and goes on to the next one. */
static int compare_item(struct cache *c, struct cache_item *item, bool *ret_encoded)
{
	const struct cache_item *old = cache_set_find(&c->now, item->kind, item->id);
	int r;

	if (old && old->lost)
		old = NULL;
	if (!item->pod && !item->secret && !item->absent) {
		if (!old) {
			cache_set_remove(&c->next, item);
			return 0;
		}
		item->absent = old->absent;
		item->revision = old->revision ? strdup(old->revision) : NULL;
		if (old->revision && !item->revision)
			return -ENOMEM;
		keep_file(item, old);
	} else if (item->absent) {
		item->written_usec = old && old->absent ? old->written_usec : clock_realtime_usec();
		c->changed |= !old || !old->absent;
	} else {
		r = set_revision(c, item, ret_encoded);
		if (costs_only_itself(r)) {
			leave_out(c, item, r);
			return 0;
		}
		if (r < 0)
			return r;
		if (old && str_eq(old->revision, item->revision))
			keep_file(item, old);
		else
			c->changed = true;
	}
	c->at++;
	return 0;
}

static void compared(struct cache *c);

/* A pod is made into JSON in a turn of its own: it may have tens of thousands of mounts. */
static void compare_next(struct cache *c)
{
	bool encoded = false;
	int r = 0;

	for (int n = 0; n < COMPARED_MAX && !encoded && r == 0 && c->at < c->next.n_items; n++)
		r = compare_item(c, c->next.items[c->at], &encoded);
	if (r < 0)
		flush_failed(c, r, NULL);
	else if (encoded || c->at < c->next.n_items)
		go_on(c);
	else
		compared(c);
}

static void flush(struct cache *c)
{
	int r;

	c->dirty = c->failed = false;
	r = c->ops->collect(c->userdata, &c->next);
	if (r < 0) {
		flush_failed(c, r, NULL);
		return;
	}
	c->changed = c->whole || c->now.generation == 0;
	c->activity = COMPARING;
	c->at = 0;
	compare_next(c);
}

/* A record that no index speaks of yet must not look too new for the one that is there, nor for the older one while
 * it is open which of two is there. So what is left over counts only where there is no index to be kept. */
static uint64_t next_generation(const struct cache *c)
{
	if (c->stats.refused)
		return c->newest + 1;
	return c->whole ? c->now.generation : c->now.generation + 1;
}

static void compared(struct cache *c)
{
	if (!c->changed && c->next.n_items == c->now.n_items) {
		cache_set_deinit(&c->next);
		if (c->n_garbage == 0 && !c->stats.n_refused)
			say(c, LOG_LEVEL_INFO, "");
		rest(c);
		return;
	}
	c->next.generation = next_generation(c);
	c->activity = WRITING;
	c->at = 0;
	write_next(c);
}

static void on_flush_time(struct loop_source *s, void *userdata)
{
	struct cache *c = userdata;

	if (c->activity != IDLE)
		return; /* it is taken up when that has ended */
	if (!c->loaded) {
		load(c);
	} else if (!c->told) {
		return;
	} else if (c->n_garbage > 0) {
		c->sweeps = true;
		remove_garbage(c);
	} else {
		flush(c);
	}
}

void cache_touch(struct cache *c)
{
	c->told = true;
	if (c->dirty)
		return;
	c->dirty = true;
	if (c->loaded && c->activity == IDLE)
		flush_later(c, FLUSH_USEC);
}

void cache_resume(struct cache *c)
{
	if (c->cut_off) {
		c->cut_off = false;
		cache_restore(c);
	}
	/* what has failed is tried again at once, or when what is under way has ended, and says whether all is well */
	c->failed = false;
	if (!c->loaded || c->dirty || c->n_garbage > 0)
		flush_later(c, USEC_PER_MSEC);
	else if (!c->stats.refused && !c->stats.n_refused)
		say(c, LOG_LEVEL_INFO, "");
	c->ops->changed(c->userdata);
}

/* ---- the whole ---- */

static void on_step(struct loop_source *s, void *userdata)
{
	struct cache *c = userdata;

	switch (c->activity) {
	case IDLE:
		if (!c->restore || !c->loaded)
			return;
		c->activity = RESTORING;
		c->at = 0;
		restore_next(c);
		return;
	case RESTORING:
		restore_next(c);
		return;
	case COMPARING:
		compare_next(c);
		return;
	case WRITING:
		write_next(c);
		return;
	case REMOVING:
		remove_next(c);
		return;
	case LISTING:
	case READING_INDEX:
	case WRITING_INDEX:
		return;
	}
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	loop_source_free(c->flush_timer);
	loop_source_free(c->step);
	cache_set_deinit(&c->now);
	cache_set_deinit(&c->next);
	buf_deinit(&c->plain);
	buf_deinit(&c->sealed);
	free(c->files);
	free(c->garbage);
	free(c->node);
	free(c);
}

int cache_new(struct loop *l, struct cache_io *io, const struct cache_key *key, const char *node,
	      const struct cache_ops *ops, void *userdata, struct cache **ret_c)
{
	cleanup(cache_freep) struct cache *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = l;
	c->io = io;
	c->key = key;
	c->ops = ops;
	c->userdata = userdata;
	c->plain = c->sealed = BUF_INIT(CACHE_FILE_MAX);
	c->node = strdup(node);
	if (!c->node)
		return -ENOMEM;
	r = loop_add_timer(l, on_flush_time, c, &c->flush_timer);
	if (r < 0)
		return r;
	r = loop_add_defer(l, on_step, c, &c->step);
	if (r < 0)
		return r;
	load(c);
	*ret_c = TAKE_PTR(c);
	return 0;
}

void cache_stats(const struct cache *c, struct cache_stats *ret)
{
	const char *ended = cache_io_ended(c->io);

	*ret = c->stats;
	if (ended)
		snprintf(ret->error, sizeof(ret->error), "%s", ended);
	for (size_t i = 0; i < c->now.n_items; i++) {
		ret->n_pods += c->now.items[i]->kind == CACHE_POD;
		ret->n_secrets += c->now.items[i]->kind == CACHE_SECRET && !c->now.items[i]->absent;
		ret->n_config_maps += c->now.items[i]->kind == CACHE_CONFIG_MAP && !c->now.items[i]->absent;
	}
	ret->generation = c->now.generation;
	ret->written_usec = c->now.written_usec;
	ret->pending = c->dirty || c->activity >= COMPARING;
	ret->busy_usec = cache_io_busy_usec(c->io);
}
