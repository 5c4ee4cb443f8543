/* secretlet cache: the offline cache as a person sees it: names, revisions and ages; whether it is whole; its end. It works
 * on the folder itself, with or without a daemon. */

#include <sodium.h>

#include "agent/cache_set.h"
#include "agent/config_path.h"
#include "agent/listing.h"
#include "common/file.h"
#include "common/log.h"
#include "common/secmem.h"

#define MEMORY_MAX ((size_t)64 << 20)
#define ATTEMPTS   5 /* a running daemon may replace files while they are read */

struct look {
	struct config *config;
	struct cache_key *key;
	int dirfd;
	struct cache_set set;
	bool have_index;
	struct buf file, scratch;
};

static void look_deinit(struct look *l)
{
	cache_set_deinit(&l->set);
	cache_key_free(l->key);
	config_free(l->config);
	buf_deinit(&l->file);
	buf_deinit(&l->scratch);
	close_fd(l->dirfd);
}

static int read_config(const struct options *o, struct look *l, struct err *e)
{
	int r;

	r = config_new(&l->config);
	if (r < 0)
		return err_set(e, r, "out of memory");
	r = config_load(l->config, o->config ?: CONFIG_DEFAULT_PATH, e);
	if (r < 0)
		return r;
	if (o->node_name) {
		free(l->config->node_name);
		l->config->node_name = strdup(o->node_name);
		if (!l->config->node_name)
			return err_set(e, -ENOMEM, "out of memory");
	}
	return config_finish_cache(l->config, e);
}

static int read_key(struct look *l, struct err *e)
{
	cleanup_free char *path = NULL;
	cleanup_fd int fd = -1;
	int r;

	r = secmem_init(MEMORY_MAX, e);
	if (r == 0)
		r = cache_key_open(l->config->offline_cache_key_file, CACHE_UNIT_CREDS, &fd, &path, e);
	return r ?: cache_key_read(fd, path, &l->key, e);
}

static int open_cache(const struct options *o, struct look *l, bool with_key, struct err *e)
{
	int r;

	cli_hide_memory();
	r = read_config(o, l, e);
	if (r == 0 && with_key)
		r = read_key(l, e);
	return r ?: cache_dir_open(l->config->offline_cache_dir, &l->dirfd, e);
}

/* 0 also when there is no index and no record: an empty cache. */
static int read_index(struct look *l, struct err *e)
{
	cleanup_free struct cache_file *files = NULL;
	size_t n = 0;
	int r;

	cache_set_deinit(&l->set);
	buf_clear(&l->file);
	r = cache_dir_list(l->dirfd, &files, &n, e);
	if (r < 0)
		return r;
	r = cache_dir_read(l->dirfd, CACHE_INDEX_NAME, &l->file, e);
	l->have_index = r == 0;
	if (r == -ENOENT)
		*e = ERR_INIT;
	else if (r == 0)
		r = cache_index_open(&l->set, l->key, l->config->node_name, l->file.data, l->file.len, &l->scratch, e);
	if (r < 0 && r != -ENOENT)
		return r;
	return cache_index_check(&l->set, l->have_index, files, n, e);
}

/* How many records are not good; with `say` each is named. */
static size_t verify_records(struct look *l, bool say)
{
	size_t n_bad = 0;

	for (size_t i = 0; i < l->set.n_items; i++) {
		struct cache_item *item = l->set.items[i];
		struct err e = ERR_INIT;
		int r;

		if (item->absent)
			continue;
		buf_clear(&l->file);
		r = cache_dir_read(l->dirfd, item->file, &l->file, &e);
		if (r < 0)
			err_wrap(&e, r, "%s", item->key);
		else
			r = cache_item_open(item, l->key, l->config->node_name, l->file.data ?: "", l->file.len,
					    &l->scratch, &e);
		pod_unref(TAKE_PTR(item->pod));
		secret_unref(TAKE_PTR(item->secret));
		n_bad += r < 0;
		if (r < 0 && say)
			cli_fail(CLI_FAILED, &e);
	}
	return n_bad;
}

static int cache_verify(struct look *l)
{
	struct err e = ERR_INIT;
	size_t n_bad = 0;
	int r = 0;

	for (int i = 0; i < ATTEMPTS; i++) {
		e = ERR_INIT;
		r = read_index(l, &e);
		n_bad = r < 0 ? 1 : verify_records(l, i == ATTEMPTS - 1);
		if (n_bad == 0)
			break;
	}
	if (r < 0)
		return cli_fail(CLI_FAILED, &e);
	if (n_bad > 0)
		return CLI_FAILED;
	printf("%zu record%s of generation %llu, all good\n", l->set.n_items, l->set.n_items == 1 ? "" : "s",
	       (unsigned long long)l->set.generation);
	return CLI_OK;
}

static int compare_items(const void *a, const void *b)
{
	return strcmp((*(struct cache_item *const *)a)->key, (*(struct cache_item *const *)b)->key);
}

static json_t *item_json(const struct cache_item *item)
{
	char time[STR_TIME_MAX];

	return json_pack("{s:s, s:s, s:s, s:b, s:s, s:s}", "kind", cache_kind_name(item->kind), "id", item->id,
			 "revision", item->revision ?: "", "absent", item->absent, "file", item->file, "written",
			 str_format_time(item->written_usec, time));
}

static int list_new(const struct look *l, json_t **ret_list)
{
	cleanup_json json_t *items = json_array(), *list = NULL;

	for (size_t i = 0; i < l->set.n_items; i++)
		if (json_array_append_new(items, item_json(l->set.items[i])) < 0)
			return cli_fail_memory();
	list = json_pack("{s:I, s:O}", "generation", (json_int_t)l->set.generation, "records", items);
	if (!list)
		return cli_fail_memory();
	*ret_list = TAKE_PTR(list);
	return CLI_OK;
}

/* What tells it from others, without the name that is in front of it. */
static void add_revision(struct table *t, const json_t *record, const char *member)
{
	const char *revision = cli_str(record, member), *slash = strrchr(revision, '/');

	table_addf(t, TABLE_PLAIN, "%.12s", cli_bool(record, "absent") ? "absent" : slash ? slash + 1 : revision);
}

static void add_start(struct table *t, const json_t *record, const char *member)
{
	table_addf(t, TABLE_PLAIN, "%.12s", cli_str(record, member));
}

static const struct listing_column columns[] = {
	{ "KIND", "kind" },
	{ "NAME", "id" },
	{ "REVISION", "revision", add_revision, SHOWN_NARROW },
	{ "REVISION", "revision", .shown = SHOWN_WIDE },
	{ "ABSENT", "absent", listing_flag, SHOWN_WIDE },
	{ "WRITTEN", "written", listing_since },
	{ "FILE", "file", add_start, SHOWN_NARROW },
	{ "FILE", "file", .shown = SHOWN_WIDE },
};

static int records_rows(const json_t *document, json_t **ret_rows, struct err *e)
{
	return listing_rows_all(json_object_get(document, "records"), ret_rows, e);
}

static const struct listing records = {
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.rows = records_rows,
};

static int cache_list(struct look *l, const struct options *o)
{
	cleanup_json json_t *list = NULL;
	struct err e = ERR_INIT;
	int r = -1;

	for (int i = 0; i < ATTEMPTS && r < 0; i++) {
		e = ERR_INIT;
		r = read_index(l, &e);
	}
	if (r < 0)
		return cli_fail(CLI_FAILED, &e);
	if (l->set.n_items > 0)
		qsort(l->set.items, l->set.n_items, sizeof(struct cache_item *), compare_items);
	r = list_new(l, &list);
	return r == CLI_OK ? listing_print(&records, o, list) : r;
}

static int cache_wipe(struct look *l)
{
	cleanup_free struct cache_file *files = NULL;
	struct err e = ERR_INIT;
	size_t n = 0;
	int r;

	r = cache_dir_lock(l->dirfd, false, &e);
	if (r == 0)
		r = cache_dir_list(l->dirfd, &files, &n, &e);
	/* the index first: without it the rest is nothing */
	if (r == 0)
		r = cache_dir_remove(l->dirfd, CACHE_INDEX_NAME, &e);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = cache_dir_remove(l->dirfd, files[i].name, &e);
	if (r == 0 && fsync(l->dirfd) < 0)
		r = err_set(&e, -errno, "flush the folder: %m");
	if (r < 0) {
		err_wrap(&e, r, "%s", l->config->offline_cache_dir);
		return cli_fail(CLI_FAILED, &e);
	}
	printf("%zu file%s removed\n", n, n == 1 ? "" : "s");
	return CLI_OK;
}

static int cache_keygen(const char *path)
{
	struct err e = ERR_INIT;

	if (!path)
		return cli_fail(
			CLI_USAGE,
			(err_set(&e, -EINVAL, "cache keygen: words are missing: secretlet cache keygen FILE"), &e));
	cli_hide_memory();
	return cache_key_generate(path, &e) < 0 ? cli_fail(CLI_FAILED, &e) : CLI_OK;
}

int cli_cache(const struct options *o, char *const *words)
{
	const char *verb = o->args[0];
	cleanup(look_deinit) struct look l = { .dirfd = -1,
					       .file = BUF_INIT(CACHE_FILE_MAX + 131072),
					       .scratch = BUF_INIT(CACHE_FILE_MAX + 131072) };
	struct err e = ERR_INIT;

	if (str_eq(verb, "keygen"))
		return cache_keygen(o->n_args > 1 ? o->args[1] : NULL);
	if (!str_eq(verb, "list") && !str_eq(verb, "verify") && !str_eq(verb, "wipe")) {
		err_set(&e, -EINVAL, "cache: unknown verb '%s': list, verify, wipe or keygen", verb);
		return cli_fail(CLI_USAGE, &e);
	}
	if (o->n_args > 1) {
		err_set(&e, -EINVAL, "cache %s: too many words: '%s'", verb, o->args[1]);
		return cli_fail(CLI_USAGE, &e);
	}
	if (open_cache(o, &l, !str_eq(verb, "wipe"), &e) < 0)
		return cli_fail(CLI_FAILED, &e);
	if (str_eq(verb, "list"))
		return cache_list(&l, o);
	return str_eq(verb, "verify") ? cache_verify(&l) : cache_wipe(&l);
}
