/* Selector: parsed as apimachinery's labels.Parse does it, with its oddities: between parentheses "in" and "notin" are
 * values like any other, "(,)", "()" and "key=" stand for the empty value. */
#include "agent/selector.h"

#include "common/str.h"

enum { SHOWN_MAX = 64 };

enum token { TOKEN_END, TOKEN_WORD, TOKEN_IN, TOKEN_NOTIN, TOKEN_SIGN };

enum op { OP_EXISTS, OP_MISSING, OP_IN, OP_NOTIN, OP_GREATER, OP_LESS };

struct requirement {
	char *key;
	enum op op;
	char **values;
	size_t n_values;
	int64_t number; /* of OP_GREATER and OP_LESS */
};
struct selector {
	struct requirement *requirements;
	size_t n;
};

/* ---- words ---- */

struct parser {
	const char *text, *at; /* at: behind the token */
	const char *start; /* of the token */
	size_t len;
	enum token token;
	struct err *e;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_sign(char c)
{
	return c && strchr("=!(),<>", c);
}

static bool is_token(const struct parser *p, const char *text)
{
	return p->len == strlen(text) && memcmp(p->start, text, p->len) == 0;
}

static void next(struct parser *p)
{
	while (is_space(*p->at))
		p->at++;
	p->start = p->at;
	if (!*p->at) {
		p->token = TOKEN_END;
	} else if (is_sign(*p->at)) {
		p->token = TOKEN_SIGN;
		p->at++;
		if (*p->at == '=' && (*p->start == '=' || *p->start == '!'))
			p->at++;
	} else {
		while (*p->at && !is_sign(*p->at) && !is_space(*p->at))
			p->at++;
		p->token = TOKEN_WORD;
	}
	p->len = (size_t)(p->at - p->start);
	if (p->token == TOKEN_WORD && is_token(p, "in"))
		p->token = TOKEN_IN;
	else if (p->token == TOKEN_WORD && is_token(p, "notin"))
		p->token = TOKEN_NOTIN;
}

static bool is_word(const struct parser *p)
{
	return p->token == TOKEN_WORD || p->token == TOKEN_IN || p->token == TOKEN_NOTIN;
}

static int refuse(struct parser *p, const char *why)
{
	return err_set(p->e, -EINVAL, "column %zu: %s", (size_t)(p->start - p->text) + 1, why);
}

static int refuse_token(struct parser *p, const char *expected)
{
	if (p->token == TOKEN_END)
		return err_set(p->e, -EINVAL, "column %zu: %s is expected, it ends there",
			       (size_t)(p->start - p->text) + 1, expected);
	return err_set(p->e, -EINVAL, "column %zu: %s is expected, not '%.*s'", (size_t)(p->start - p->text) + 1,
		       expected, (int)MIN(p->len, (size_t)SHOWN_MAX), p->start);
}

/* ---- requirements ---- */

static int take_key(struct parser *p, struct requirement *q)
{
	if (p->token != TOKEN_WORD)
		return refuse_token(p, "a label's key");
	q->key = strndup(p->start, p->len);
	if (!q->key)
		return -ENOMEM;
	if (!str_is_qualified_name(q->key))
		return refuse(p, "this is no label's key: [DNS-SUBDOMAIN/]NAME, at most 63 letters, digits, '-', '_' "
				 "and '.', the first and the last one a letter or a digit");
	next(p);
	return 0;
}

static int add_value(struct parser *p, struct requirement *q, const char *text, size_t len)
{
	char **grown = reallocarray(q->values, q->n_values + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	q->values = grown;
	q->values[q->n_values] = strndup(text, len);
	if (!q->values[q->n_values])
		return -ENOMEM;
	q->n_values++;
	if (len > 0 && !str_is_label_name(q->values[q->n_values - 1]))
		return refuse(p, "this is no label's value: at most 63 letters, digits, '-', '_' and '.', the first "
				 "and the last one a letter or a digit");
	return 0;
}

/* "=", "==" and "!=", with one value, which may be empty. */
static int take_value(struct parser *p, struct requirement *q)
{
	int r;

	next(p);
	if (p->token == TOKEN_END || is_token(p, ","))
		return add_value(p, q, "", 0);
	if (!is_word(p))
		return refuse_token(p, "a value");
	r = add_value(p, q, p->start, p->len);
	if (r == 0)
		next(p);
	return r;
}

/* "(a, b)"; where a value is missing between the signs, it is the empty one. */
static int take_values(struct parser *p, struct requirement *q)
{
	int r;

	next(p);
	if (!is_token(p, "("))
		return refuse_token(p, "'('");
	for (next(p);; next(p)) {
		r = is_word(p) ? add_value(p, q, p->start, p->len) : add_value(p, q, "", 0);
		if (r < 0)
			return r;
		if (is_word(p))
			next(p);
		if (is_token(p, ")"))
			break;
		if (!is_token(p, ","))
			return refuse_token(p, "',' or ')'");
	}
	next(p);
	return 0;
}

static bool parse_number(const char *text, int64_t *ret)
{
	uint64_t u;

	if (str_parse_u64(text + (*text == '-'), INT64_MAX, &u) < 0)
		return false;
	*ret = *text == '-' ? -(int64_t)u : (int64_t)u;
	return true;
}

static int take_number(struct parser *p, struct requirement *q)
{
	cleanup_free char *text = NULL;

	next(p);
	text = strndup(p->start, p->len);
	if (!text)
		return -ENOMEM;
	if (p->token != TOKEN_WORD || !parse_number(text, &q->number))
		return refuse_token(p, "a whole number");
	next(p);
	return 0;
}

static int take_condition(struct parser *p, struct requirement *q)
{
	if (p->token == TOKEN_END || is_token(p, ",")) {
		q->op = OP_EXISTS;
		return 0;
	}
	if (is_token(p, "=") || is_token(p, "==") || is_token(p, "!=")) {
		q->op = is_token(p, "!=") ? OP_NOTIN : OP_IN;
		return take_value(p, q);
	}
	if (p->token == TOKEN_IN || p->token == TOKEN_NOTIN) {
		q->op = p->token == TOKEN_IN ? OP_IN : OP_NOTIN;
		return take_values(p, q);
	}
	if (is_token(p, ">") || is_token(p, "<")) {
		q->op = is_token(p, ">") ? OP_GREATER : OP_LESS;
		return take_number(p, q);
	}
	return refuse_token(p, "',' or one of = == != > < in notin");
}

static int take_requirement(struct parser *p, struct requirement *q)
{
	int r;

	if (!is_token(p, "!")) {
		r = take_key(p, q);
		return r < 0 ? r : take_condition(p, q);
	}
	next(p);
	q->op = OP_MISSING;
	r = take_key(p, q);
	if (r < 0)
		return r;
	return p->token == TOKEN_END || is_token(p, ",") ? 0 : refuse_token(p, "','");
}

static int take_all(struct parser *p, struct selector *sel)
{
	int r;

	next(p);
	while (p->token != TOKEN_END) {
		struct requirement *grown = reallocarray(sel->requirements, sel->n + 1, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		sel->requirements = grown;
		sel->requirements[sel->n++] = (struct requirement){ .key = NULL };
		r = take_requirement(p, &sel->requirements[sel->n - 1]);
		if (r < 0)
			return r;
		if (p->token == TOKEN_END)
			break;
		if (!is_token(p, ","))
			return refuse_token(p, "',' or the end");
		next(p);
		if (p->token == TOKEN_END)
			return refuse_token(p, "a label's key");
	}
	return 0;
}

int selector_parse(const char *text, struct selector **ret_sel, struct err *e)
{
	cleanup(selector_freep) struct selector *sel = calloc(1, sizeof(*sel));
	struct parser p = { .text = text, .at = text, .e = e };
	int r;

	if (strlen(text) > SELECTOR_TEXT_MAX)
		return err_set(e, -EINVAL, "longer than %zu characters", SELECTOR_TEXT_MAX);
	r = sel ? take_all(&p, sel) : -ENOMEM;
	if (r == -ENOMEM)
		return err_set(e, r, "out of memory");
	if (r < 0)
		return r;
	*ret_sel = TAKE_PTR(sel);
	return 0;
}

void selector_free(struct selector *sel)
{
	if (!sel)
		return;
	for (size_t i = 0; i < sel->n; i++) {
		for (size_t j = 0; j < sel->requirements[i].n_values; j++)
			free(sel->requirements[i].values[j]);
		free(sel->requirements[i].values);
		free(sel->requirements[i].key);
	}
	free(sel->requirements);
	free(sel);
}

/* ---- matching ---- */

static int compare_key(const void *key, const void *label)
{
	return strcmp(key, ((const struct label *)label)->key);
}

static bool is_one_of(const struct requirement *q, const char *value)
{
	for (size_t i = 0; i < q->n_values; i++)
		if (str_eq(q->values[i], value))
			return true;
	return false;
}

static bool holds(const struct requirement *q, const char *value)
{
	int64_t number;

	switch (q->op) {
	case OP_EXISTS:
		return value;
	case OP_MISSING:
		return !value;
	case OP_IN:
		return value && is_one_of(q, value);
	case OP_NOTIN:
		return !value || !is_one_of(q, value);
	case OP_GREATER:
		return value && parse_number(value, &number) && number > q->number;
	case OP_LESS:
		return value && parse_number(value, &number) && number < q->number;
	}
	return false;
}

bool selector_matches(const struct selector *sel, const struct label *labels, size_t n_labels)
{
	for (size_t i = 0; i < sel->n; i++) {
		const struct label *label =
			n_labels ? bsearch(sel->requirements[i].key, labels, n_labels, sizeof(*labels), compare_key)
				 : NULL;

		if (!holds(&sel->requirements[i], label ? label->value : NULL))
			return false;
	}
	return true;
}
