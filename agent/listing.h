/* Listing: what a command lists, declared once: where the rows are in an answer, and which columns a table of them has.
 * All that may be asked of a listing comes from here: table, wide, json, yaml, and watching it. */
#pragma once

#include "agent/cli.h"

#define LISTING_COLUMNS_MAX 16
#define LISTING_KEYS_MAX    4

enum listing_shown { SHOWN_ALWAYS, SHOWN_WIDE, SHOWN_NARROW };

/* One cell of `row`, of what its member says. */
typedef void (*listing_cell)(struct table *t, const json_t *row, const char *member);

struct listing_column {
	const char *title;
	const char *member;
	listing_cell cell; /* NULL: the member as it is: text, a number, or yes or no */
	enum listing_shown shown;
	bool passing; /* it changes as time goes by, which is no news; that of these members is */
	const char *news[2];
	bool state; /* says so when the row has gone */
};

struct listing {
	const struct listing_column *columns;
	size_t n_columns;
	/* The rows, as an array of objects; document may be anything at all. -EPROTO: it is not what it should be, e
	 * says so; -ENOMEM. */
	int (*rows)(const json_t *document, json_t **ret_rows, struct err *e);
	/* The members that tell one row from all others; NULL: there are no more. */
	const char *keys[LISTING_KEYS_MAX];
	/* Its tables are of another form. NULL: they are not. */
	int (*print)(const json_t *document, const json_t *rows);
	bool whole; /* the rows are no objects of their own: programs are given the document whenever one changes */
};

/* An answer as --output says. Returns an exit status, as the next ones do. */
int listing_print(const struct listing *l, const struct options *o, const json_t *document);
/* Asks for path and prints the answer; with --watch, again what has changed, until it is ended. *ret_document may be NULL: it is
 * not wanted. */
int listing_show(const struct listing *l, const struct options *o, const char *path, json_t **ret_document);
/* Parts of it. The rows of an answer that this output shows: not, in a narrow table, those with "wide": true. */
int listing_rows(const struct listing *l, enum options_output output, const json_t *document, json_t **ret_rows,
		 struct err *e);
/* Rows as a table; columns becomes those that are shown, NULL-terminated. */
int listing_table(const struct listing *l, enum options_output output, const json_t *rows,
		  const struct listing_column *columns[static LISTING_COLUMNS_MAX], struct table **ret_table);
/* The loop of --watch. */
int listing_watch(const struct listing *l, const struct options *o, const char *path);

extern const struct listing cli_volumes_listing;

/* Cells. */
void listing_member(struct table *t, const json_t *row, const char *member); /* as it is; yes is good, and no is bad */
void listing_since(struct table *t, const json_t *row, const char *member); /* "3m4s", of a time */
void listing_state(struct table *t, const json_t *row, const char *member); /* of a volume, coloured */
void listing_count(struct table *t, const json_t *row, const char *member); /* of an array's elements */
void listing_flag(struct table *t, const json_t *row, const char *member); /* yes or no, neither of which is bad */
/* Rows. */
int listing_rows_all(const json_t *document, json_t **ret_rows, struct err *e); /* the document is the array */
