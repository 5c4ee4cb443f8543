/* YAML: libyaml's events gathered into a tree.
 *
 * Why not libyaml's own document API: it keeps no bound on what aliases expand to, has no merge keys, and types nothing.
 * Here every node is counted when it is made, an alias is a copy that is counted like text that was written out, and all
 * walks are loops over a stack of YAML_DEPTH_MAX frames: hostile input ends in -E2BIG, never in a deep C stack.
 *
 * Plain scalars are typed the way the Kubernetes API machinery's own reader (sigs.k8s.io/yaml, which is Go's yaml.v2) does
 * it: YAML 1.1's words for booleans, 0644 is octal, dates are strings. A key of a mapping becomes the text that JSON will
 * have ("on: x" is the key "true"), as that reader makes it, and so duplicates are found by what they become.
 *
 * Text may be a secret: error sentences hold positions and reasons only, and what a node held is wiped with it. */
#include "agent/yaml.h"

#include <inttypes.h>
#include <math.h>
#include <yaml.h>

#include "common/str.h"

#define ANCHORS_MAX 1024 /* in one document; they are searched one by one */
#define NUMBER_MAX  128 /* characters of a plain number; longer ones are strings */

struct anchor {
	char *name;
	const struct yaml_node *node; /* in the tree */
};

/* One collection that has begun and not ended. */
struct frame {
	struct yaml_node *node; /* in the tree */
	struct yaml_node *key; /* MAPPING: owned, waits for its value */
	struct yaml_node *merge; /* MAPPING: owned, the value of "<<" */
	bool key_is_merge;
	size_t size; /* room in items and keys */
};

struct parser {
	yaml_parser_t yaml;
	const char *text;
	size_t len;
	struct yaml_node *root; /* of the current document; owned */
	struct frame frames[YAML_DEPTH_MAX];
	size_t depth;
	struct anchor anchors[ANCHORS_MAX];
	size_t n_anchors;
	struct yaml_node **dead; /* in no tree any more, but an anchor may name them; until the document ends */
	size_t n_dead;
	size_t n_nodes, n_bytes; /* in all documents */
	struct yaml_doc *docs;
	size_t n_docs;
	struct err *e;
};

/* ---- nodes ---- */

static void leaf_free(struct yaml_node *n)
{
	if (!n)
		return;
	if (n->scalar)
		explicit_bzero(n->scalar, n->scalar_len);
	free(n->scalar);
	free(n->items);
	free(n->keys);
	free(n);
}

/* No tree is deeper than YAML_DEPTH_MAX collections and a leaf: the parser sees to that. */
static void node_free(struct yaml_node *root)
{
	struct yaml_node *stack[YAML_DEPTH_MAX + 1];
	size_t depth = 0;

	if (!root)
		return;
	stack[depth++] = root;
	while (depth > 0) {
		struct yaml_node *n = stack[depth - 1];

		if (n->n_items == 0) {
			leaf_free(n);
			depth--;
			continue;
		}
		n->n_items--;
		if (n->keys)
			leaf_free(n->keys[n->n_items]);
		stack[depth++] = n->items[n->n_items];
	}
}
DEFINE_CLEANUP(struct yaml_node *, node_free);

void yaml_docs_free(struct yaml_doc *docs, size_t n_docs)
{
	for (size_t i = 0; docs && i < n_docs; i++)
		node_free(docs[i].root);
	free(docs);
}

static int fail_at(struct parser *p, int code, size_t line, size_t column, const char *reason)
{
	return err_set(p->e, code, "%zu:%zu: %s", line, column, reason);
}

static int fail_mark(struct parser *p, int code, const yaml_mark_t *mark, const char *reason)
{
	return fail_at(p, code, mark->line + 1, mark->column + 1, reason);
}

static int no_memory(struct parser *p)
{
	return err_set(p->e, -ENOMEM, "out of memory");
}

/* Every node, copied ones as well, is made here and so counted. scalar NULL: a collection. */
static int node_new(struct parser *p, enum yaml_kind kind, size_t line, size_t column, const char *scalar, size_t len,
		    struct yaml_node **ret_n)
{
	cleanup(node_freep) struct yaml_node *n = NULL;

	if (p->n_nodes >= YAML_NODES_MAX)
		return fail_at(p, -E2BIG, line, column, "too many values (aliases count in full)");
	if (len > YAML_BYTES_MAX - p->n_bytes)
		return fail_at(p, -E2BIG, line, column, "too much text (aliases count in full)");

	n = calloc(1, sizeof(*n));
	if (!n)
		return no_memory(p);
	*n = (struct yaml_node){ .kind = kind, .line = line, .column = column };
	if (scalar) {
		n->scalar = malloc(len + 1);
		if (!n->scalar)
			return no_memory(p);
		memcpy(n->scalar, scalar, len);
		n->scalar[len] = '\0';
		n->scalar_len = len;
	}

	p->n_nodes++;
	p->n_bytes += len;
	*ret_n = TAKE_PTR(n);
	return 0;
}

/* ---- what a plain scalar is ---- */

/* Go's yaml.v2, resolve.go; each list ends with NULL. */
static const char *const null_words[] = { "", "~", "null", "Null", "NULL", NULL };
static const char *const true_words[] = {
	"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", NULL
};
static const char *const false_words[] = { "n",	    "N",     "no",  "No",  "NO",  "false",
					   "False", "FALSE", "off", "Off", "OFF", NULL };
static const char *const float_words[] = { ".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",	".INF", "+.inf",
					   "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", NULL };

static const struct {
	const char *const *list;
	enum yaml_kind kind;
} words[] = {
	{ null_words, YAML_NULL },
	{ true_words, YAML_BOOL },
	{ false_words, YAML_BOOL },
	{ float_words, YAML_FLOAT },
};

static bool is_in(const char *const *list, const char *s, size_t len)
{
	while (*list && (strlen(*list) != len || memcmp(*list, s, len) != 0))
		list++;
	return *list;
}

static bool is_true(const struct yaml_node *n)
{
	return is_in(true_words, n->scalar, n->scalar_len);
}

/* A copy without underscores ("1_000"). False: too long, or not all of it can belong to a number. */
static bool number_text(const char *s, size_t len, char text[static NUMBER_MAX])
{
	size_t n = 0;

	if (len == 0 || len >= NUMBER_MAX || !strchr("+-.0123456789", s[0]) || memchr(s, '\0', len))
		return false;
	for (size_t i = 0; i < len; i++)
		if (s[i] != '_')
			text[n++] = s[i];
	text[n] = '\0';
	return true;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/* strconv.ParseInt(s, 0, 64). */
static bool parse_int(const char *text, int64_t *ret_value)
{
	bool negative = *text == '-';
	uint64_t value = 0, limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
	int base = 10;

	if (*text == '+' || *text == '-')
		text++;
	if (text[0] == '0' && text[1]) {
		char c = text[1] | 0x20;

		base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
		text += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
	}
	if (!*text)
		return false;
	for (; *text; text++) {
		int digit = digit_value(*text);

		if (digit >= base || value > (limit - digit) / base)
			return false;
		value = value * base + digit;
	}
	*ret_value = negative ? (int64_t)(0 - value) : (int64_t)value;
	return true;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool parse_float(const char *text, double *ret_value)
{
	static const char digits[] = "0123456789";
	const char *s = text;
	size_t n;

	s += *s == '+' || *s == '-';
	n = strspn(s, digits);
	s += n;
	if (*s == '.') {
		size_t fraction = strspn(s + 1, digits);

		n += fraction;
		s += 1 + fraction;
	}
	if (n == 0)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		s += *s == '+' || *s == '-';
		n = strspn(s, digits);
		if (n == 0)
			return false;
		s += n;
	}
	if (*s)
		return false;
	*ret_value = strtod(text, NULL);
	return isfinite(*ret_value);
}

static enum yaml_kind plain_kind(const char *s, size_t len)
{
	char text[NUMBER_MAX];
	int64_t integer;
	double real;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (is_in(words[i].list, s, len))
			return words[i].kind;
	if (!number_text(s, len, text))
		return YAML_STRING;
	if (parse_int(text, &integer))
		return YAML_INT;
	if (parse_float(text, &real))
		return YAML_FLOAT;
	return YAML_STRING;
}

static const struct {
	const char *tag;
	enum yaml_kind kind;
} tags[] = {
	{ YAML_NULL_TAG, YAML_NULL },	 { YAML_BOOL_TAG, YAML_BOOL },	 { YAML_INT_TAG, YAML_INT },
	{ YAML_FLOAT_TAG, YAML_FLOAT },	 { YAML_STR_TAG, YAML_STRING },	 { "!", YAML_STRING },
	{ YAML_SEQ_TAG, YAML_SEQUENCE }, { YAML_MAP_TAG, YAML_MAPPING },
};

static int tag_kind(struct parser *p, const yaml_mark_t *mark, const yaml_char_t *tag, enum yaml_kind *ret_kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(tags); i++)
		if (str_eq((const char *)tag, tags[i].tag)) {
			*ret_kind = tags[i].kind;
			return 0;
		}
	return fail_mark(p, -EINVAL, mark,
			 "this tag is not supported (only !!str, !!int, !!float, !!bool, !!null, "
			 "!!map and !!seq are)");
}

static int scalar_kind(struct parser *p, const yaml_event_t *event, enum yaml_kind *ret_kind)
{
	const char *s = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	enum yaml_kind wanted, found;
	int r;

	if (!event->data.scalar.tag) {
		*ret_kind = event->data.scalar.plain_implicit ? plain_kind(s, len) : YAML_STRING;
		return 0;
	}

	r = tag_kind(p, &event->start_mark, event->data.scalar.tag, &wanted);
	if (r < 0)
		return r;
	found = plain_kind(s, len);
	if (wanted != YAML_STRING && wanted != found && !(wanted == YAML_FLOAT && found == YAML_INT))
		return fail_mark(p, -EINVAL, &event->start_mark, "the value does not fit its tag");
	*ret_kind = wanted;
	return 0;
}

static int collection_tag(struct parser *p, const yaml_event_t *event, const yaml_char_t *tag, enum yaml_kind wanted)
{
	enum yaml_kind kind;
	int r;

	if (!tag || str_eq((const char *)tag, "!"))
		return 0;
	r = tag_kind(p, &event->start_mark, tag, &kind);
	if (r < 0)
		return r;
	return kind == wanted ? 0 : fail_mark(p, -EINVAL, &event->start_mark, "the value does not fit its tag");
}

/* ---- values ---- */

/* As Go's encoding/json writes a float64 that is a whole number. */
static bool whole_number(double real, int64_t *ret_integer)
{
	if (!(fabs(real) < 9007199254740992.0) || real != trunc(real))
		return false;
	*ret_integer = (int64_t)real;
	return true;
}

static int number_to_json(const struct yaml_node *n, json_t **ret_json, struct err *e)
{
	char text[NUMBER_MAX];
	int64_t integer;
	double real;

	if (!number_text(n->scalar, n->scalar_len, text))
		return err_set(e, -EINVAL, "%zu:%zu: not a number that JSON has", n->line, n->column);
	if (parse_int(text, &integer))
		*ret_json = json_integer(integer);
	else if (!parse_float(text, &real))
		return err_set(e, -EINVAL, "%zu:%zu: not a number that JSON has", n->line, n->column);
	else
		*ret_json = whole_number(real, &integer) ? json_integer(integer) : json_real(real);
	return *ret_json ? 0 : err_set(e, -ENOMEM, "out of memory");
}

/* Of a collection: an empty one. */
static int leaf_to_json(const struct yaml_node *n, json_t **ret_json, struct err *e)
{
	switch (n->kind) {
	case YAML_NULL:
		*ret_json = json_null();
		break;
	case YAML_BOOL:
		*ret_json = json_boolean(is_true(n));
		break;
	case YAML_INT:
	case YAML_FLOAT:
		return number_to_json(n, ret_json, e);
	case YAML_STRING:
		*ret_json = json_stringn(n->scalar, n->scalar_len);
		break;
	case YAML_SEQUENCE:
		*ret_json = json_array();
		break;
	case YAML_MAPPING:
		*ret_json = json_object();
		break;
	}
	return *ret_json ? 0 : err_set(e, -ENOMEM, "out of memory");
}

int yaml_to_json(const struct yaml_node *root, json_t **ret_json, struct err *e)
{
	struct {
		const struct yaml_node *node;
		json_t *json; /* in the result */
		size_t next;
	} stack[YAML_DEPTH_MAX + 1];
	cleanup_json json_t *result = NULL;
	size_t depth = 0;
	int r;

	r = leaf_to_json(root, &result, e);
	if (r < 0)
		return r;
	stack[depth].node = root;
	stack[depth].json = result;
	stack[depth++].next = 0;
	while (depth > 0) {
		typeof(*stack) *top = &stack[depth - 1];
		const struct yaml_node *child, *key;
		json_t *value = NULL;

		if (top->next == top->node->n_items) {
			depth--;
			continue;
		}
		child = top->node->items[top->next];
		key = top->node->keys ? top->node->keys[top->next] : NULL;
		top->next++;
		if (key && !key->scalar)
			return err_set(e, -EINVAL, "%zu:%zu: a key must be a scalar", key->line, key->column);

		r = leaf_to_json(child, &value, e);
		if (r < 0)
			return r;
		if (key ? json_object_setn_new_nocheck(top->json, key->scalar, key->scalar_len, value) < 0
			: json_array_append_new(top->json, value) < 0)
			return err_set(e, -ENOMEM, "out of memory");
		if (child->n_items > 0) {
			stack[depth].node = child;
			stack[depth].json = value;
			stack[depth++].next = 0;
		}
	}

	*ret_json = TAKE_PTR(result);
	return 0;
}

/* ---- mappings ---- */

/* What a key that is no string becomes in JSON; as fmt.Sprint and strconv have it. */
static int key_to_text(struct parser *p, struct yaml_node *key)
{
	char text[NUMBER_MAX], *fresh;
	int64_t integer;
	double real = 0;

	if (!key->scalar)
		return fail_at(p, -EINVAL, key->line, key->column, "a key must be a scalar");
	if (key->kind == YAML_NULL)
		return fail_at(p, -EINVAL, key->line, key->column, "a key must not be null");
	if (memchr(key->scalar, '\0', key->scalar_len))
		return fail_at(p, -EINVAL, key->line, key->column, "a key must not contain NUL");
	if (key->kind == YAML_STRING)
		return 0;

	if (key->kind == YAML_BOOL) {
		fresh = strdup(is_true(key) ? "true" : "false");
	} else if (!number_text(key->scalar, key->scalar_len, text) ||
		   !(parse_int(text, &integer) || parse_float(text, &real))) {
		return fail_at(p, -EINVAL, key->line, key->column, "not a number that can be a key");
	} else if (parse_int(text, &integer) || whole_number(real, &integer)) {
		fresh = str_format("%" PRId64, integer);
	} else {
		fresh = str_format("%g", real);
	}
	if (!fresh)
		return no_memory(p);
	free(key->scalar);
	key->scalar = fresh;
	key->scalar_len = strlen(fresh);
	return 0;
}

static int grow(struct parser *p, struct yaml_node *n, size_t *size)
{
	size_t want = *size ? *size * 2 : 4;
	struct yaml_node **items;

	if (n->n_items < *size)
		return 0;
	items = reallocarray(n->items, want, sizeof(*items));
	if (!items)
		return no_memory(p);
	n->items = items;
	if (n->kind == YAML_MAPPING) {
		items = reallocarray(n->keys, want, sizeof(*items));
		if (!items)
			return no_memory(p);
		n->keys = items;
	}
	*size = want;
	return 0;
}

static int bury(struct parser *p, struct yaml_node *take_n)
{
	cleanup(node_freep) struct yaml_node *n = take_n;
	struct yaml_node **dead = p->dead;

	/* grows at each power of two */
	if ((p->n_dead & (p->n_dead - 1)) == 0)
		dead = reallocarray(p->dead, p->n_dead ? p->n_dead * 2 : 1, sizeof(*dead));
	if (!dead)
		return no_memory(p);
	p->dead = dead;
	p->dead[p->n_dead++] = TAKE_PTR(n);
	return 0;
}

/* Takes the node in every case. */
static int attach(struct parser *p, struct yaml_node *take_n)
{
	cleanup(node_freep) struct yaml_node *n = take_n;
	struct frame *f;
	int r;

	if (p->depth == 0) {
		p->root = TAKE_PTR(n);
		return 0;
	}
	f = &p->frames[p->depth - 1];
	if (f->node->kind == YAML_MAPPING && !f->key) {
		r = key_to_text(p, n);
		if (r < 0)
			return r;
		f->key = TAKE_PTR(n);
		return 0;
	}
	if (f->key_is_merge) {
		f->merge = TAKE_PTR(n);
		f->key_is_merge = false;
		return bury(p, TAKE_PTR(f->key));
	}
	r = grow(p, f->node, &f->size);
	if (r < 0)
		return r;
	if (f->key)
		f->node->keys[f->node->n_items] = TAKE_PTR(f->key);
	f->node->items[f->node->n_items++] = TAKE_PTR(n);
	return 0;
}

/* ---- anchors and aliases ---- */

static int remember_anchor(struct parser *p, const yaml_mark_t *mark, const yaml_char_t *name,
			   const struct yaml_node *n)
{
	char *copy;

	if (!name)
		return 0;
	if (p->n_anchors == ANCHORS_MAX)
		return fail_mark(p, -E2BIG, mark, "too many anchors");
	copy = strdup((const char *)name);
	if (!copy)
		return no_memory(p);
	p->anchors[p->n_anchors++] = (struct anchor){ copy, n };
	return 0;
}

static const struct yaml_node *find_anchor(const struct parser *p, const yaml_char_t *name)
{
	for (size_t i = p->n_anchors; i-- > 0;)
		if (str_eq(p->anchors[i].name, (const char *)name))
			return p->anchors[i].node;
	return NULL;
}

static bool is_open(const struct parser *p, const struct yaml_node *n)
{
	for (size_t i = 0; i < p->depth; i++)
		if (p->frames[i].node == n)
			return true;
	return false;
}

/* The node without what is in it, and room for that. */
static int copy_shallow(struct parser *p, const struct yaml_node *n, struct yaml_node **ret_n)
{
	cleanup(node_freep) struct yaml_node *copy = NULL;
	int r;

	r = node_new(p, n->kind, n->line, n->column, n->scalar, n->scalar_len, &copy);
	if (r < 0)
		return r;
	if (n->items) {
		copy->items = calloc(n->n_items + 1, sizeof(*copy->items));
		copy->keys = n->keys ? calloc(n->n_items + 1, sizeof(*copy->keys)) : NULL;
		if (!copy->items || (n->keys && !copy->keys))
			return no_memory(p);
	}
	*ret_n = TAKE_PTR(copy);
	return 0;
}

static int copy_deep(struct parser *p, const yaml_mark_t *mark, const struct yaml_node *n, struct yaml_node **ret_n)
{
	struct {
		const struct yaml_node *from;
		struct yaml_node *to;
	} stack[YAML_DEPTH_MAX + 1];
	cleanup(node_freep) struct yaml_node *copy = NULL;
	size_t depth = 0;
	int r;

	r = copy_shallow(p, n, &copy);
	if (r < 0)
		return r;
	stack[depth].from = n;
	stack[depth++].to = copy;
	while (depth > 0) {
		const struct yaml_node *from = stack[depth - 1].from;
		struct yaml_node *to = stack[depth - 1].to;
		cleanup(node_freep) struct yaml_node *key = NULL;
		struct yaml_node *item = NULL;

		if (to->n_items == from->n_items) {
			depth--;
			continue;
		}
		if (from->keys) {
			r = copy_shallow(p, from->keys[to->n_items], &key);
			if (r < 0)
				return r;
		}
		r = copy_shallow(p, from->items[to->n_items], &item);
		if (r < 0)
			return r;
		if (key)
			to->keys[to->n_items] = TAKE_PTR(key);
		to->items[to->n_items++] = item;
		if (from->items[to->n_items - 1]->n_items == 0)
			continue;
		if (p->depth + depth >= YAML_DEPTH_MAX)
			return fail_mark(p, -E2BIG, mark, "nested too deeply");
		stack[depth].from = from->items[to->n_items - 1];
		stack[depth++].to = item;
	}
	*ret_n = TAKE_PTR(copy);
	return 0;
}

/* ---- merge keys and the end of a collection ---- */

/* Appends copies: `from` may have an anchor that is used again. */
static int merge_one(struct parser *p, struct frame *f, const struct yaml_node *from)
{
	const yaml_mark_t mark = { .line = from->line - 1, .column = from->column - 1 };
	int r;

	if (from->kind != YAML_MAPPING)
		return fail_mark(p, -EINVAL, &mark, "`<<` needs a mapping or a list of mappings");
	for (size_t i = 0; i < from->n_items; i++) {
		cleanup(node_freep) struct yaml_node *key = NULL;
		struct yaml_node *item = NULL;

		r = grow(p, f->node, &f->size);
		if (r < 0)
			return r;
		r = copy_deep(p, &mark, from->keys[i], &key);
		if (r < 0)
			return r;
		r = copy_deep(p, &mark, from->items[i], &item);
		if (r < 0)
			return r;
		f->node->keys[f->node->n_items] = TAKE_PTR(key);
		f->node->items[f->node->n_items++] = item;
	}
	return 0;
}

static int merge_all(struct parser *p, struct frame *f)
{
	const struct yaml_node *merge = f->merge;
	int r;

	if (!merge)
		return 0;
	if (merge->kind != YAML_SEQUENCE)
		return merge_one(p, f, merge);
	for (size_t i = 0; i < merge->n_items; i++) {
		r = merge_one(p, f, merge->items[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

struct order {
	const struct yaml_node *key;
	size_t index;
};

static int compare_keys(const struct yaml_node *a, const struct yaml_node *b)
{
	int c = memcmp(a->scalar, b->scalar, MIN(a->scalar_len, b->scalar_len));

	return c ? c : (a->scalar_len > b->scalar_len) - (a->scalar_len < b->scalar_len);
}

static int compare_order(const void *a, const void *b)
{
	const struct order *x = a, *y = b;
	int c = compare_keys(x->key, y->key);

	return c ? c : (x->index > y->index) - (x->index < y->index);
}

/* Of keys that are there more than once, the first stays if the others were merged in; else it is an error. */
static int settle_duplicates(struct parser *p, struct yaml_node *n, size_t n_own)
{
	cleanup_free struct order *order = calloc(n->n_items + 1, sizeof(*order));
	size_t duplicate = n_own, kept = 0;

	if (!order)
		return no_memory(p);
	for (size_t i = 0; i < n->n_items; i++)
		order[i] = (struct order){ n->keys[i], i };
	qsort(order, n->n_items, sizeof(*order), compare_order);

	for (size_t i = 1; i < n->n_items; i++)
		if (order[i].index < duplicate && compare_keys(order[i - 1].key, order[i].key) == 0)
			duplicate = order[i].index;
	if (duplicate < n_own)
		return fail_at(p, -EINVAL, n->keys[duplicate]->line, n->keys[duplicate]->column,
			       "this key is there already");

	for (size_t i = n->n_items; i-- > 1;)
		if (compare_keys(order[i - 1].key, order[i].key) == 0)
			leaf_free(TAKE_PTR(n->keys[order[i].index]));
	for (size_t i = 0; i < n->n_items; i++) {
		if (!n->keys[i]) {
			node_free(n->items[i]);
			continue;
		}
		n->keys[kept] = n->keys[i];
		n->items[kept++] = n->items[i];
	}
	n->n_items = kept;
	return 0;
}

static int end_collection(struct parser *p)
{
	struct frame *f = &p->frames[p->depth - 1];
	size_t n_own = f->node->n_items;
	int r;

	if (f->node->kind == YAML_MAPPING) {
		r = merge_all(p, f);
		if (r < 0)
			return r;
		r = settle_duplicates(p, f->node, n_own);
		if (r < 0)
			return r;
		if (f->merge) {
			r = bury(p, TAKE_PTR(f->merge));
			if (r < 0)
				return r;
		}
	}
	p->depth--;
	return 0;
}

/* ---- events ---- */

static int on_alias(struct parser *p, const yaml_event_t *event)
{
	const struct yaml_node *n = find_anchor(p, event->data.alias.anchor);
	struct yaml_node *copy = NULL;
	int r;

	if (!n)
		return fail_mark(p, -EINVAL, &event->start_mark, "this alias has no anchor");
	if (is_open(p, n))
		return fail_mark(p, -EINVAL, &event->start_mark, "this alias is inside of what it stands for");
	if (n->items && p->depth >= YAML_DEPTH_MAX)
		return fail_mark(p, -E2BIG, &event->start_mark, "nested too deeply");
	r = copy_deep(p, &event->start_mark, n, &copy);
	if (r < 0)
		return r;
	return attach(p, copy);
}

static bool begins_merge(const struct parser *p, const yaml_event_t *event)
{
	const struct frame *f = p->depth > 0 ? &p->frames[p->depth - 1] : NULL;

	return f && f->node->kind == YAML_MAPPING && !f->key && event->data.scalar.plain_implicit &&
	       !event->data.scalar.tag && str_eq((const char *)event->data.scalar.value, "<<");
}

static int on_scalar(struct parser *p, const yaml_event_t *event)
{
	const yaml_mark_t *mark = &event->start_mark;
	bool merge = begins_merge(p, event);
	struct yaml_node *n = NULL;
	enum yaml_kind kind;
	int r;

	if (merge && p->frames[p->depth - 1].merge)
		return fail_mark(p, -EINVAL, mark, "this key is there already");
	r = scalar_kind(p, event, &kind);
	if (r < 0)
		return r;
	r = node_new(p, kind, mark->line + 1, mark->column + 1, (const char *)event->data.scalar.value,
		     event->data.scalar.length, &n);
	if (r < 0)
		return r;
	r = remember_anchor(p, mark, event->data.scalar.anchor, n);
	if (r < 0) {
		node_free(n);
		return r;
	}
	r = attach(p, n);
	if (r < 0)
		return r;
	if (merge)
		p->frames[p->depth - 1].key_is_merge = true;
	return 0;
}

static int on_collection(struct parser *p, const yaml_event_t *event, enum yaml_kind kind, const yaml_char_t *tag,
			 const yaml_char_t *anchor)
{
	const yaml_mark_t *mark = &event->start_mark;
	struct yaml_node *n = NULL;
	int r;

	if (p->depth == YAML_DEPTH_MAX)
		return fail_mark(p, -E2BIG, mark, "nested too deeply");
	r = collection_tag(p, event, tag, kind);
	if (r < 0)
		return r;
	r = node_new(p, kind, mark->line + 1, mark->column + 1, NULL, 0, &n);
	if (r < 0)
		return r;
	r = remember_anchor(p, mark, anchor, n);
	if (r < 0) {
		node_free(n);
		return r;
	}
	r = attach(p, n);
	if (r < 0)
		return r;
	p->frames[p->depth++] = (struct frame){ .node = n };
	return 0;
}

static void forget_document(struct parser *p)
{
	while (p->depth > 0) {
		struct frame *f = &p->frames[--p->depth];

		node_free(TAKE_PTR(f->key));
		node_free(TAKE_PTR(f->merge));
	}
	node_free(TAKE_PTR(p->root));
	while (p->n_dead > 0)
		node_free(p->dead[--p->n_dead]);
	free(TAKE_PTR(p->dead));
	while (p->n_anchors > 0)
		free(p->anchors[--p->n_anchors].name);
}

static int on_document_start(struct parser *p, const yaml_event_t *event)
{
	struct yaml_doc *docs;

	if (p->n_docs >= YAML_NODES_MAX)
		return fail_mark(p, -E2BIG, &event->start_mark, "too many documents");
	docs = p->docs;
	/* grows at each power of two */
	if ((p->n_docs & (p->n_docs - 1)) == 0) {
		docs = reallocarray(p->docs, p->n_docs ? p->n_docs * 2 : 1, sizeof(*docs));
		if (!docs)
			return no_memory(p);
		p->docs = docs;
	}
	docs[p->n_docs++] = (struct yaml_doc){ .line = event->start_mark.line + 1 };
	return 0;
}

static int on_document_end(struct parser *p)
{
	struct yaml_node *root = p->root;

	/* `---` and nothing: libyaml makes an empty plain scalar of it */
	if (!(root && root->kind == YAML_NULL && root->scalar_len == 0))
		p->docs[p->n_docs - 1].root = TAKE_PTR(p->root);
	forget_document(p);
	return 0;
}

static int on_event(struct parser *p, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		return on_document_start(p, event);
	case YAML_DOCUMENT_END_EVENT:
		return on_document_end(p);
	case YAML_SCALAR_EVENT:
		return on_scalar(p, event);
	case YAML_ALIAS_EVENT:
		return on_alias(p, event);
	case YAML_SEQUENCE_START_EVENT:
		return on_collection(p, event, YAML_SEQUENCE, event->data.sequence_start.tag,
				     event->data.sequence_start.anchor);
	case YAML_MAPPING_START_EVENT:
		return on_collection(p, event, YAML_MAPPING, event->data.mapping_start.tag,
				     event->data.mapping_start.anchor);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return end_collection(p);
	default:
		return 0;
	}
}

/* libyaml's reasons are fixed words of its own, so they can be shown. Its reader gives a byte offset and no mark. */
static int fail_libyaml(struct parser *p)
{
	const char *problem = p->yaml.problem ? p->yaml.problem : "not YAML";
	size_t line = 1, column = 1;

	if (p->yaml.error == YAML_MEMORY_ERROR)
		return no_memory(p);
	if (p->yaml.error != YAML_READER_ERROR)
		return fail_mark(p, -EINVAL, &p->yaml.problem_mark, problem);

	for (size_t i = 0; i < p->len && i < p->yaml.problem_offset; i++) {
		column = p->text[i] == '\n' ? 1 : column + 1;
		line += p->text[i] == '\n';
	}
	return fail_at(p, -EINVAL, line, column, problem);
}

static int parse_all(struct parser *p)
{
	bool done = false;
	int r = 0;

	while (!done) {
		yaml_event_t event;

		if (!yaml_parser_parse(&p->yaml, &event))
			return fail_libyaml(p);
		done = event.type == YAML_STREAM_END_EVENT;
		r = on_event(p, &event);
		yaml_event_delete(&event);
		if (r < 0)
			return r;
	}
	return 0;
}

int yaml_parse(const char *text, size_t len, struct yaml_doc **ret_docs, size_t *ret_n_docs, struct err *e)
{
	cleanup_free struct parser *p = NULL;
	int r;

	if (len > YAML_BYTES_MAX)
		return err_set(e, -E2BIG, "1:1: larger than %zu MiB", YAML_BYTES_MAX / 1048576);
	p = calloc(1, sizeof(*p));
	if (!p || !yaml_parser_initialize(&p->yaml))
		return err_set(e, -ENOMEM, "out of memory");
	p->text = text;
	p->len = len;
	p->e = e;
	/* never UTF-16: libyaml would guess it from the first bytes */
	yaml_parser_set_encoding(&p->yaml, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p->yaml, (const unsigned char *)text, len);

	r = parse_all(p);
	forget_document(p);
	yaml_parser_delete(&p->yaml);
	if (r < 0) {
		yaml_docs_free(p->docs, p->n_docs);
		return r;
	}
	*ret_docs = p->docs;
	*ret_n_docs = p->n_docs;
	return 0;
}

/* ---- looking ---- */

const struct yaml_node *yaml_get(const struct yaml_node *n, const char *key)
{
	if (!n || n->kind != YAML_MAPPING)
		return NULL;
	for (size_t i = 0; i < n->n_items; i++)
		if (str_eq(n->keys[i]->scalar, key))
			return n->items[i];
	return NULL;
}

/* "[12]" of a sequence; *path is moved behind it. */
static const struct yaml_node *find_element(const struct yaml_node *n, const char **path)
{
	char *end;
	unsigned long index;

	if (**path != '[' || !strchr("0123456789", (*path)[1]))
		return NULL;
	index = strtoul(*path + 1, &end, 10);
	if (*end != ']' || index >= n->n_items)
		return NULL;
	*path = end + 1;
	return n->items[index];
}

/* Keys may hold dots and brackets ("data.tls.crt", "data[tls.crt]"): the longest key that fits is meant. */
static const struct yaml_node *find_member(const struct yaml_node *n, const char **path)
{
	const char *at = *path + (**path == '.' || **path == '['), *end = **path == '[' ? "]" : ".[";
	const struct yaml_node *found = NULL;
	size_t best = 0;

	for (size_t i = 0; i < n->n_items; i++) {
		const struct yaml_node *key = n->keys[i];
		size_t len = key->scalar_len;

		if (strncmp(at, key->scalar, len) != 0 || !strchr(end, at[len]) || (found && len <= best))
			continue;
		found = n->items[i];
		best = len;
	}
	if (found)
		*path = at + best + (at[best] == ']');
	return found;
}

const struct yaml_node *yaml_find(const struct yaml_node *root, const char *path)
{
	const struct yaml_node *n = root, *next = root;

	while (next && *path) {
		if (n->kind == YAML_MAPPING)
			next = find_member(n, &path);
		else if (n->kind == YAML_SEQUENCE)
			next = find_element(n, &path);
		else
			next = NULL;
		n = next ? next : n;
	}
	return n;
}
