/* Table: rows of text in aligned columns, for people. Text may come from anywhere: what could steer a terminal is
 * escaped. */
#pragma once

#include "common/base.h"

struct table;

enum table_style { TABLE_PLAIN, TABLE_GOOD, TABLE_BUSY, TABLE_BAD };

/* headers: n_columns titles, or NULL for none. -ENOMEM. */
int table_new(size_t n_columns, const char *const *headers, struct table **ret_t);
void table_free(struct table *t);
DEFINE_CLEANUP(struct table *, table_free);
#define cleanup_table cleanup(table_freep)
/* The next cell, left to right; after the last column a new row begins. NULL or "" shows as "-". Out of memory is kept
 * for table_print(). */
void table_add(struct table *t, enum table_style style, const char *text);
void table_addf(struct table *t, enum table_style style, const char *fmt, ...) attr_printf(3, 4);
/* A line of its own, to the left of the rows after it, which are indented. */
void table_add_heading(struct table *t, const char *text);
/* All of it; colour: styles as terminal colours. -ENOMEM, when something could not be added. */
int table_print(const struct table *t, FILE *f, bool colour);

/* For who prints single rows, of a table without headings. Rows count from 0, which is the headers, if there are any. */
size_t table_rows(const struct table *t);
/* A cell as it would be printed; valid as long as the table is. */
const char *table_text(const struct table *t, size_t row, size_t column);
/* -ENOMEM: it stays as it was. */
int table_set(struct table *t, size_t row, size_t column, enum table_style style, const char *text);
/* widths has one number for each column, at first 0: each grows to what the row needs. -ENOMEM as table_print(). */
int table_measure_row(const struct table *t, size_t row, size_t *widths);
void table_print_row(const struct table *t, size_t row, const size_t *widths, FILE *f, bool colour);

/* The text with control characters (C0, DEL, C1) as \xNN; what is not UTF-8 too. NULL: out of memory. */
char *table_escape(const char *text);
/* A text of words, escaped, as lines that begin with indent spaces and have at most width characters (0: one line); a word that
 * is longer has a line of its own. -ENOMEM. */
int table_print_words(FILE *f, size_t indent, size_t width, const char *text);
/* Characters in a line of the terminal that f is; 0: it is none, or does not say. */
size_t table_terminal_width(FILE *f);

/* When there are colours: AUTO means on a terminal that is not dumb and whose user does not ask for none (NO_COLOR). */
enum table_colour { TABLE_COLOUR_AUTO, TABLE_COLOUR_ALWAYS, TABLE_COLOUR_NEVER };
/* "auto", "always" or "never". -EINVAL. */
int table_colour_parse(const char *name, enum table_colour *ret);
/* For the whole process. */
void table_set_colour(enum table_colour when);
bool table_wants_colour(FILE *f);
