/* Table: rows of text in aligned columns, for people. All cells are kept until the end, since a column is as wide as its
 * widest cell. Widths count code points: names are ASCII by Kubernetes' rules, and in the few free texts a wide
 * character moves one line a little. */

#include "agent/table.h"

#include <stdarg.h>
#include <sys/ioctl.h>

#include "common/buf.h"
#include "common/str.h"

#define TABLE_CELL_MAX ((size_t)4096)
#define TABLE_GAP      2
#define TABLE_INDENT   2

struct cell {
	char *text;
	size_t width;
	enum table_style style;
	bool heading;
};

struct table {
	size_t n_columns;
	struct cell *cells; /* a heading takes a whole row: its first cell */
	size_t n_cells, size;
	bool has_headings, failed;
};

static enum table_colour colour_mode = TABLE_COLOUR_AUTO;

static const char *const colours[] = {
	[TABLE_PLAIN] = "",
	[TABLE_GOOD] = "\033[32m",
	[TABLE_BUSY] = "\033[33m",
	[TABLE_BAD] = "\033[31m",
};

/* Bytes of the printable character that begins at s; 0: none does. */
static size_t printable(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t len;

	if (u[0] < 0x80)
		return u[0] >= 0x20 && u[0] != 0x7f;
	len = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
	if (strnlen(s, len) < len || !str_is_utf8(s, len))
		return 0;
	return u[0] == 0xc2 && u[1] < 0xa0 ? 0 : len;
}

static size_t text_width(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

char *table_escape(const char *text)
{
	cleanup_buf struct buf b = BUF_INIT(TABLE_CELL_MAX);
	int r = 0;

	while (*text && r >= 0) {
		size_t len = printable(text);

		if (len > 0) {
			r = buf_add(&b, text, len);
		} else {
			r = buf_printf(&b, "\\x%02x", (unsigned char)*text);
			len = 1;
		}
		text += len;
	}
	/* longer than any cell should be: cut */
	return r == -ENOMEM ? NULL : buf_take(&b);
}

static int cell_append(struct table *t, const struct cell *c)
{
	if (t->n_cells == t->size) {
		size_t size = t->size ? 2 * t->size : 64;
		struct cell *cells = reallocarray(t->cells, size, sizeof(*cells));

		if (!cells)
			return -ENOMEM;
		t->cells = cells;
		t->size = size;
	}
	t->cells[t->n_cells++] = *c;
	return 0;
}

static int cell_add(struct table *t, const char *text, enum table_style style, bool heading)
{
	cleanup_free char *escaped = table_escape(text);
	struct cell c;
	int r;

	if (!escaped)
		return -ENOMEM;
	c = (struct cell){ .text = escaped, .width = text_width(escaped), .style = style, .heading = heading };
	r = cell_append(t, &c);
	if (r < 0)
		return r;
	TAKE_PTR(escaped);
	return 0;
}

int table_new(size_t n_columns, const char *const *headers, struct table **ret_t)
{
	cleanup_table struct table *t = calloc(1, sizeof(*t));

	assert(n_columns > 0);
	if (!t)
		return -ENOMEM;
	t->n_columns = n_columns;
	for (size_t i = 0; headers && i < n_columns; i++)
		table_add(t, TABLE_PLAIN, headers[i]);
	if (t->failed)
		return -ENOMEM;
	*ret_t = TAKE_PTR(t);
	return 0;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
}

void table_add(struct table *t, enum table_style style, const char *text)
{
	if (t->failed)
		return;
	if (cell_add(t, str_empty(text) ? "-" : text, style, false) < 0)
		t->failed = true;
}

void table_addf(struct table *t, enum table_style style, const char *fmt, ...)
{
	char text[TABLE_CELL_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	table_add(t, style, text);
}

void table_add_heading(struct table *t, const char *text)
{
	t->has_headings = true;
	assert(t->n_cells % t->n_columns == 0);
	for (size_t i = 0; i < t->n_columns && !t->failed; i++)
		if (cell_add(t, i == 0 ? text : "", TABLE_PLAIN, true) < 0)
			t->failed = true;
}

static void pad(FILE *f, size_t n)
{
	while (n-- > 0)
		fputc(' ', f);
}

static size_t column_width(const struct table *t, size_t column)
{
	size_t width = 0;

	for (size_t i = column; i < t->n_cells; i += t->n_columns)
		if (!t->cells[i].heading)
			width = MAX(width, t->cells[i].width);
	return width;
}

static void row_print(const struct table *t, const struct cell *row, const size_t *widths, FILE *f, bool colour)
{
	if (!row->heading && t->has_headings)
		pad(f, TABLE_INDENT);
	for (size_t i = 0; i < t->n_columns; i++) {
		bool coloured = colour && row[i].style != TABLE_PLAIN;

		fprintf(f, "%s%s%s", coloured ? colours[row[i].style] : "", row[i].text, coloured ? "\033[0m" : "");
		if (row->heading)
			break;
		if (i + 1 < t->n_columns)
			pad(f, widths[i] - row[i].width + TABLE_GAP);
	}
	fputc('\n', f);
}

int table_print(const struct table *t, FILE *f, bool colour)
{
	cleanup_free size_t *widths = calloc(t->n_columns, sizeof(*widths));

	if (t->failed || !widths)
		return -ENOMEM;
	assert(t->n_cells % t->n_columns == 0);
	for (size_t i = 0; i < t->n_columns; i++)
		widths[i] = column_width(t, i);
	for (size_t i = 0; i < t->n_cells; i += t->n_columns)
		row_print(t, t->cells + i, widths, f, colour);
	return 0;
}

size_t table_rows(const struct table *t)
{
	return t->n_cells / t->n_columns;
}

const char *table_text(const struct table *t, size_t row, size_t column)
{
	return t->cells[row * t->n_columns + column].text;
}

int table_set(struct table *t, size_t row, size_t column, enum table_style style, const char *text)
{
	struct cell *c = &t->cells[row * t->n_columns + column];
	char *escaped = table_escape(text);

	if (!escaped)
		return -ENOMEM;
	free(c->text);
	*c = (struct cell){ .text = escaped, .width = text_width(escaped), .style = style };
	return 0;
}

int table_measure_row(const struct table *t, size_t row, size_t *widths)
{
	if (t->failed)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_columns; i++)
		widths[i] = MAX(widths[i], t->cells[row * t->n_columns + i].width);
	return 0;
}

void table_print_row(const struct table *t, size_t row, const size_t *widths, FILE *f, bool colour)
{
	row_print(t, t->cells + row * t->n_columns, widths, f, colour);
}

size_t table_terminal_width(FILE *f)
{
	struct winsize w;

	return isatty(fileno(f)) && ioctl(fileno(f), TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

int table_print_words(FILE *f, size_t indent, size_t width, const char *text)
{
	cleanup_free char *escaped = table_escape(text);
	size_t column = 0; /* 0: the line is empty */

	if (!escaped)
		return -ENOMEM;
	for (char *rest = escaped, *word; (word = strsep(&rest, width > 0 ? " " : "")) != NULL;) {
		size_t w = text_width(word);

		if (column > 0 && column + 1 + w > width) {
			fputc('\n', f);
			column = 0;
		}
		/* one space of many, and no line begins with it */
		if (column == 0 && !*word)
			continue;
		column += fprintf(f, "%*s", (int)(column == 0 ? indent : 1), "") + w;
		fputs(word, f);
	}
	fputc('\n', f);
	return 0;
}

int table_colour_parse(const char *name, enum table_colour *ret)
{
	static const char *const names[] = {
		[TABLE_COLOUR_AUTO] = "auto", [TABLE_COLOUR_ALWAYS] = "always", [TABLE_COLOUR_NEVER] = "never"
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (str_eq(name, names[i])) {
			*ret = (enum table_colour)i;
			return 0;
		}
	}
	return -EINVAL;
}

void table_set_colour(enum table_colour when)
{
	colour_mode = when;
}

bool table_wants_colour(FILE *f)
{
	const char *term = getenv("TERM");

	if (colour_mode != TABLE_COLOUR_AUTO)
		return colour_mode == TABLE_COLOUR_ALWAYS;
	return isatty(fileno(f)) && str_empty(getenv("NO_COLOR")) && !str_empty(term) && !str_eq(term, "dumb");
}
