/* Listing: the rows of an answer as a table, and the answer itself for programs. */

#include "agent/listing.h"

#include <inttypes.h>

void listing_member(struct table *t, const json_t *row, const char *member)
{
	const json_t *value = json_object_get(row, member);

	if (json_is_integer(value))
		table_addf(t, TABLE_PLAIN, "%" PRIi64, (int64_t)json_integer_value(value));
	else if (json_is_boolean(value))
		table_add(t, json_is_true(value) ? TABLE_GOOD : TABLE_BAD, json_is_true(value) ? "yes" : "no");
	else
		table_add(t, TABLE_PLAIN, json_string_value(value));
}

void listing_since(struct table *t, const json_t *row, const char *member)
{
	char age[STR_AGE_MAX];

	table_add(t, TABLE_PLAIN, cli_since(cli_str(row, member), age));
}

void listing_state(struct table *t, const json_t *row, const char *member)
{
	const char *state = cli_str(row, member);

	table_add(t, cli_volume_style(state), state);
}

void listing_flag(struct table *t, const json_t *row, const char *member)
{
	table_add(t, TABLE_PLAIN, cli_bool(row, member) ? "yes" : "no");
}

void listing_count(struct table *t, const json_t *row, const char *member)
{
	table_addf(t, TABLE_PLAIN, "%zu", json_array_size(json_object_get(row, member)));
}

int listing_rows_all(const json_t *document, json_t **ret_rows, struct err *e)
{
	if (!json_is_array(document))
		return err_set(e, -EPROTO, "the answer is no list: daemon and command are of different versions?");
	*ret_rows = json_incref((json_t *)(uintptr_t)document);
	return 0;
}

static bool is_shown(const struct listing_column *c, enum options_output output)
{
	switch (c->shown) {
	case SHOWN_WIDE:
		return output != OUTPUT_TABLE;
	case SHOWN_NARROW:
		return output == OUTPUT_TABLE;
	default:
		return true;
	}
}

int listing_table(const struct listing *l, enum options_output output, const json_t *rows,
		  const struct listing_column *columns[static LISTING_COLUMNS_MAX], struct table **ret_table)
{
	const char *headers[LISTING_COLUMNS_MAX];
	size_t n = 0, i;
	const json_t *row;
	struct table *t;
	int r;

	assert(l->n_columns < LISTING_COLUMNS_MAX);
	for (i = 0; i < l->n_columns; i++) {
		if (!is_shown(&l->columns[i], output))
			continue;
		headers[n] = l->columns[i].title;
		columns[n++] = &l->columns[i];
	}
	columns[n] = NULL;
	r = cli_table_new(n, headers, &t);
	if (r != CLI_OK)
		return r;
	json_array_foreach (rows, i, row)
		for (size_t j = 0; j < n; j++)
			(columns[j]->cell ?: listing_member)(t, row, columns[j]->member);
	*ret_table = t;
	return CLI_OK;
}

int listing_rows(const struct listing *l, enum options_output output, const json_t *document, json_t **ret_rows,
		 struct err *e)
{
	json_t *rows;
	int r;

	r = l->rows(document, &rows, e);
	if (r < 0)
		return r;
	for (size_t i = json_array_size(rows); output == OUTPUT_TABLE && i-- > 0;)
		if (cli_bool(json_array_get(rows, i), "wide"))
			json_array_remove(rows, i);
	*ret_rows = rows;
	return 0;
}

int listing_print(const struct listing *l, const struct options *o, const json_t *document)
{
	const struct listing_column *columns[LISTING_COLUMNS_MAX];
	cleanup_json json_t *rows = NULL;
	struct err e = ERR_INIT;
	struct table *t;
	int r;

	if (cli_is_for_programs(o))
		return cli_print(o, document);
	r = listing_rows(l, o->output, document, &rows, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, &e);
	if (l->print)
		return l->print(document, rows);
	r = listing_table(l, o->output, rows, columns, &t);
	return r == CLI_OK ? cli_print_table(t) : r;
}

int listing_show(const struct listing *l, const struct options *o, const char *path, json_t **ret_document)
{
	cleanup_json json_t *document = NULL;
	int r;

	if (o->watch)
		return listing_watch(l, o, path);
	r = cli_fetch(o, path, &document);
	if (r == CLI_OK)
		r = listing_print(l, o, document);
	if (r == CLI_OK && ret_document)
		*ret_document = TAKE_PTR(document);
	return r;
}
