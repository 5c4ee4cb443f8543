/* Watching a listing: each second it is asked for anew, and what has changed since is printed, below what stands there
 * already, so that a pipe, a file and a terminal's history have all of it. A row that has gone is printed once more and
 * says so. The control socket has no notifications; an answer of a second ago is what people can read, anyway. */

#include "agent/listing.h"

#include <poll.h>
#include <signal.h>
#include <stdio_ext.h>

#include "agent/yaml_emit.h"
#include "common/buf.h"
#include "common/map.h"

#define POLL_MSEC 1000
#define KEY_MAX	  ((size_t)4096)

/* What one answer said. */
struct look {
	json_t *document, *rows;
	const struct listing_column *columns[LISTING_COLUMNS_MAX];
	struct table *table; /* its row 0 is the headers */
	char **keys;
	size_t n;
	struct map by_key; /* -> number of the row + 1 */
};

struct watch {
	const struct listing *listing;
	const struct options *options;
	size_t widths[LISTING_COLUMNS_MAX];
	bool lost; /* the daemon, and it was said */
};

static void look_free(struct look *k)
{
	if (!k)
		return;
	json_decref(k->document);
	json_decref(k->rows);
	table_free(k->table);
	for (size_t i = 0; k->keys && i < k->n; i++)
		free(k->keys[i]);
	free(k->keys);
	map_deinit(&k->by_key);
	free(k);
}
DEFINE_CLEANUP(struct look *, look_free);
#define cleanup_look cleanup(look_freep)

/* NULL: out of memory. */
static char *row_key(const struct listing *l, const json_t *row)
{
	cleanup_buf struct buf key = BUF_INIT(KEY_MAX);

	for (size_t i = 0; i < LISTING_KEYS_MAX && l->keys[i]; i++)
		if (buf_printf(&key, "%s\n", cli_str(row, l->keys[i])) < 0)
			return NULL;
	return buf_take(&key);
}

/* document NULL: there are no rows. Returns an exit status. */
static int look_new(const struct watch *w, json_t *take_document, struct look **ret_look)
{
	cleanup_look struct look *k = calloc(1, sizeof(*k));
	struct err e = ERR_INIT;
	int r;

	if (!k) {
		json_decref(take_document);
		return cli_fail_memory();
	}
	k->document = take_document;
	k->by_key = MAP_INIT;
	if (take_document)
		r = listing_rows(w->listing, w->options->output, take_document, &k->rows, &e);
	else
		r = (k->rows = json_array()) ? 0 : err_set(&e, -ENOMEM, "out of memory");
	if (r < 0)
		return cli_fail(CLI_FAILED, &e);
	r = listing_table(w->listing, w->options->output, k->rows, k->columns, &k->table);
	if (r != CLI_OK)
		return r;
	k->n = json_array_size(k->rows);
	k->keys = calloc(k->n + 1, sizeof(*k->keys));
	for (size_t i = 0; k->keys && i < k->n; i++) {
		k->keys[i] = row_key(w->listing, json_array_get(k->rows, i));
		if (!k->keys[i])
			return cli_fail_memory();
		/* the first of two that cannot be told apart counts */
		if (map_add_str(&k->by_key, k->keys[i], (void *)(uintptr_t)(i + 1)) == -ENOMEM)
			return cli_fail_memory();
	}
	if (!k->keys)
		return cli_fail_memory();
	*ret_look = TAKE_PTR(k);
	return CLI_OK;
}

/* Its place in rows + 1; 0: it is not there. */
static size_t look_find(const struct look *k, const char *key)
{
	return (size_t)(uintptr_t)map_get_str(&k->by_key, key);
}

static bool has_news(const struct listing_column *column, const json_t *old, const json_t *fresh)
{
	for (size_t i = 0; i < ARRAY_SIZE(column->news) && column->news[i]; i++)
		if (!str_eq(cli_str(old, column->news[i]), cli_str(fresh, column->news[i])))
			return true;
	return false;
}

static bool row_differs(const struct look *old, size_t i, const struct look *fresh, size_t j)
{
	const json_t *old_row = json_array_get(old->rows, i), *row = json_array_get(fresh->rows, j);

	if (cli_bool(row, "passing"))
		return false;
	for (size_t c = 0; c < LISTING_COLUMNS_MAX && fresh->columns[c]; c++)
		if (fresh->columns[c]->passing
			    ? has_news(fresh->columns[c], old_row, row)
			    : !str_eq(table_text(old->table, i + 1, c), table_text(fresh->table, j + 1, c)))
			return true;
	return false;
}

static int print_row(struct watch *w, const struct look *k, size_t row)
{
	if (table_measure_row(k->table, row, w->widths) < 0)
		return cli_fail_memory();
	table_print_row(k->table, row, w->widths, stdout, table_wants_colour(stdout));
	return CLI_OK;
}

static int print_headers(struct watch *w, const struct look *k)
{
	for (size_t i = 0; i < table_rows(k->table); i++)
		if (table_measure_row(k->table, i, w->widths) < 0)
			return cli_fail_memory();
	return print_row(w, k, 0);
}

static int write_to_stdout(const char *data, size_t len, void *userdata)
{
	fwrite(data, 1, len, stdout);
	return 0;
}

/* As the API server's watches have it; JSON on a line of its own. */
static int print_event(const struct watch *w, const char *type, json_t *object)
{
	cleanup_json json_t *event = json_pack("{s:s, s:O}", "type", type, "object", object);

	if (!event)
		return cli_fail_memory();
	if (w->options->output == OUTPUT_YAML)
		return yaml_emit(event, true, write_to_stdout, NULL) < 0 ? cli_fail_memory() : CLI_OK;
	return cli_print_json_line(event);
}

static int print_gone(struct watch *w, struct look *old, size_t i)
{
	if (cli_is_for_programs(w->options))
		return print_event(w, "DELETED", json_array_get(old->rows, i));
	for (size_t c = 0; c < LISTING_COLUMNS_MAX && old->columns[c]; c++)
		if (old->columns[c]->state && table_set(old->table, i + 1, c, TABLE_BUSY, "removed") < 0)
			return cli_fail_memory();
	return print_row(w, old, i + 1);
}

static int print_fresh(struct watch *w, const struct look *fresh, size_t j, bool added)
{
	if (cli_is_for_programs(w->options))
		return print_event(w, added ? "ADDED" : "MODIFIED", json_array_get(fresh->rows, j));
	return print_row(w, fresh, j + 1);
}

/* old NULL: all is new. */
static int print_changes(struct watch *w, struct look *old, const struct look *fresh)
{
	bool whole = w->listing->whole && cli_is_for_programs(w->options), changed = !old;
	int r = CLI_OK;

	for (size_t i = 0; old && r == CLI_OK && i < old->n; i++) {
		if (look_find(fresh, old->keys[i]))
			continue;
		changed = true;
		if (!whole)
			r = print_gone(w, old, i);
	}
	for (size_t j = 0; r == CLI_OK && j < fresh->n; j++) {
		size_t i = old ? look_find(old, fresh->keys[j]) : 0;

		if (i && !row_differs(old, i - 1, fresh, j))
			continue;
		changed = true;
		if (!whole)
			r = print_fresh(w, fresh, j, !i);
	}
	if (whole && changed)
		r = print_event(w, old ? "MODIFIED" : "ADDED", fresh->document);
	return r;
}

/* Whether somebody still reads what is printed. */
static bool flush(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	if (errno == EPIPE) {
		__fpurge(stdout);
		clearerr(stdout);
	}
	return false;
}

/* false: nobody reads any more. */
static bool pause_between(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO };

	return poll(&p, 1, POLL_MSEC) <= 0 || !(p.revents & (POLLERR | POLLHUP));
}

static void say_lost(struct watch *w, const struct err *e)
{
	struct err why = *e;

	if (w->lost)
		return;
	w->lost = true;
	err_wrap(&why, why.code, "waiting");
	cli_fail(CLI_UNREACHABLE, &why);
}

static void say_found(struct watch *w)
{
	struct err e = ERR_INIT;

	if (!w->lost)
		return;
	w->lost = false;
	err_set(&e, -EISCONN, "secretlet answers again");
	cli_fail(CLI_OK, &e);
}

/* CLI_OK and *ret_look NULL: no answer, so nothing is known. */
static int look_again(struct watch *w, const char *path, struct look **ret_look)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	struct err e = ERR_INIT;
	int r;

	*ret_look = NULL;
	r = cli_get(w->options, path, &reply, &e);
	if (cli_is_passing(r, &reply)) {
		if (r >= 0)
			err_set(&e, -EAGAIN, "%s", cli_str(reply.json, "error"));
		say_lost(w, &e);
		return CLI_OK;
	}
	if (r < 0)
		return cli_fail(cli_request_status(r), &e);
	say_found(w);
	/* a daemon that has just been started: what is missing may be there all the same */
	if (json_is_false(json_object_get(reply.json, "synced")))
		return CLI_OK;
	/* the pod that was asked for has gone, and may come again */
	if (reply.status == 404)
		return look_new(w, NULL, ret_look);
	if (reply.status != 200)
		return cli_fail_reply(&reply);
	return look_new(w, TAKE_PTR(reply.json), ret_look);
}

int listing_watch(const struct listing *l, const struct options *o, const char *path)
{
	struct watch w = { .listing = l, .options = o };
	cleanup_look struct look *old = NULL;
	json_t *document = NULL;
	int r;

	signal(SIGPIPE, SIG_IGN);
	r = cli_fetch(o, path, &document);
	if (r == CLI_OK)
		r = look_new(&w, document, &old);
	if (r == CLI_OK && !cli_is_for_programs(o))
		r = print_headers(&w, old);
	if (r == CLI_OK)
		r = print_changes(&w, NULL, old);
	while (r == CLI_OK && flush() && pause_between()) {
		cleanup_look struct look *fresh = NULL;

		r = look_again(&w, path, &fresh);
		if (r != CLI_OK || !fresh)
			continue;
		r = print_changes(&w, old, fresh);
		look_free(old);
		old = TAKE_PTR(fresh);
	}
	return r;
}
