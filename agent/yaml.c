/* YAML: libyaml's events gathered into a tree (yaml_tree.c has what is done with one, yaml_scalar.c the typing).
 *
 * Why not libyaml's own document API: it keeps no bound on what aliases expand to, has no merge keys, and types nothing.
 * Here every node is counted when it is made, an alias is a copy that is counted like text that was written out, and all
 * walks are loops over a stack of YAML_DEPTH_MAX frames: hostile input ends in -E2BIG, never in a deep C stack.
 *
 * A key of a mapping becomes the text that JSON will have ("on: x" is the key "true"), as Kubernetes' own reader makes it,
 * and so duplicates are found by what they become.
 *
 * Text may be a secret: error sentences hold positions and reasons only, and what a node held is wiped with it. */
#include "agent/yaml.h"

#include <ctype.h>
#include <inttypes.h>
#include <yaml.h>

#include "agent/yaml_scalar.h"
#include "agent/yaml_tree.h"
#include "common/str.h"

#define ANCHORS_MAX 1024 /* in one document; they are searched one by one */

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
	cleanup(yaml_node_freep) struct yaml_node *n = NULL;

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

/* ---- tags ---- */

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
		*ret_kind = event->data.scalar.plain_implicit ? yaml_scalar_kind(s, len) : YAML_STRING;
		return 0;
	}

	r = tag_kind(p, &event->start_mark, event->data.scalar.tag, &wanted);
	if (r < 0)
		return r;
	found = yaml_scalar_kind(s, len);
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

/* ---- mappings ---- */

/* What a key that is no string becomes in JSON; as fmt.Sprint and strconv have it. */
static int key_to_text(struct parser *p, struct yaml_node *key)
{
	enum yaml_number number;
	int64_t integer = 0;
	double real = 0;
	char *fresh;

	if (!key->scalar)
		return fail_at(p, -EINVAL, key->line, key->column, "a key must be a scalar");
	if (key->kind == YAML_NULL)
		return fail_at(p, -EINVAL, key->line, key->column, "a key must not be null");
	if (memchr(key->scalar, '\0', key->scalar_len))
		return fail_at(p, -EINVAL, key->line, key->column, "a key must not contain NUL");
	if (key->kind == YAML_STRING)
		return 0;

	number = yaml_scalar_number(key->scalar, key->scalar_len, &integer, &real);
	if (key->kind == YAML_BOOL)
		fresh = strdup(yaml_scalar_is_true(key->scalar, key->scalar_len) ? "true" : "false");
	else if (number == YAML_NUMBER_NONE)
		return fail_at(p, -EINVAL, key->line, key->column, "not a number that can be a key");
	else
		fresh = number == YAML_NUMBER_INTEGER ? str_format("%" PRId64, integer) : str_format("%g", real);
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
	cleanup(yaml_node_freep) struct yaml_node *n = take_n;
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
	cleanup(yaml_node_freep) struct yaml_node *n = take_n;
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
	cleanup(yaml_node_freep) struct yaml_node *copy = NULL;
	int r;

	r = node_new(p, n->kind, n->line, n->column, n->scalar, n->scalar_len, &copy);
	if (r < 0)
		return r;
	assert(copy);
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
	cleanup(yaml_node_freep) struct yaml_node *copy = NULL;
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
		cleanup(yaml_node_freep) struct yaml_node *key = NULL;
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
		cleanup(yaml_node_freep) struct yaml_node *key = NULL;
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
			yaml_leaf_free(TAKE_PTR(n->keys[order[i].index]));
	for (size_t i = 0; i < n->n_items; i++) {
		if (!n->keys[i]) {
			yaml_node_free(n->items[i]);
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
		yaml_node_free(n);
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
		yaml_node_free(n);
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

		yaml_node_free(TAKE_PTR(f->key));
		yaml_node_free(TAKE_PTR(f->merge));
	}
	yaml_node_free(TAKE_PTR(p->root));
	while (p->n_dead > 0)
		yaml_node_free(p->dead[--p->n_dead]);
	free(TAKE_PTR(p->dead));
	while (p->n_anchors > 0)
		free(p->anchors[--p->n_anchors].name);
}

static int on_document_start(struct parser *p, const yaml_event_t *event)
{
	struct yaml_doc *docs;

	docs = p->docs; /* as many as there are nodes at most: an empty one has a node, too */
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

static int parse_text(const char *text, size_t len, struct yaml_doc **ret_docs, size_t *ret_n_docs, struct err *e)
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

/* ---- JSON's surrogate pairs ---- */

/* "\\uXXXX" within [first, first + 0x3ff]. */
static bool read_surrogate(const char *text, const char *end, uint32_t first, uint32_t *ret)
{
	uint32_t value = 0;

	if (end - text < 6 || text[0] != '\\' || text[1] != 'u')
		return false;
	for (int i = 2; i < 6; i++) {
		if (!isxdigit((unsigned char)text[i]))
			return false;
		value = value * 16 +
			(uint32_t)(isdigit((unsigned char)text[i]) ? text[i] - '0' : (text[i] | 32) - 'a' + 10);
	}
	*ret = value - first;
	return value >= first && value - first < 0x400;
}

/* With each pair of escaped surrogates as the one escape that YAML has for it, which is shorter. Only for a text that is
 * JSON: there a backslash is always the beginning of an escape. NULL: there are none, or there is no memory. */
static char *join_surrogates(const char *text, size_t len)
{
	const char *end = text + len;
	char *out = malloc(len + 1), *to = out;
	uint32_t high, low;
	size_t n_pairs = 0;

	while (out && text < end) {
		if (read_surrogate(text, end, 0xd800, &high) && read_surrogate(text + 6, end, 0xdc00, &low)) {
			to += snprintf(to, (size_t)(end - text), "\\U%08x", 0x10000 + high * 0x400 + low);
			text += 12;
			n_pairs++;
			continue;
		}
		if (*text == '\\' && end - text > 1)
			*to++ = *text++;
		*to++ = *text++;
	}
	if (!out)
		return NULL;
	*to = '\0';
	if (n_pairs > 0)
		return out;
	explicit_bzero(out, len);
	free(out);
	return NULL;
}

static bool is_json(const char *text, size_t len)
{
	cleanup_json json_t *doc = NULL;

	return json_parse(text, len, &doc, NULL) == 0;
}

int yaml_parse(const char *text, size_t len, struct yaml_doc **ret_docs, size_t *ret_n_docs, struct err *e)
{
	cleanup_secret char *joined = NULL;
	int r;

	r = parse_text(text, len, ret_docs, ret_n_docs, e);
	if (r != -EINVAL || !memmem(text, len, "\\u", 2) || !is_json(text, len))
		return r;
	joined = join_surrogates(text, len);
	if (!joined)
		return r;
	if (e)
		*e = ERR_INIT;
	return parse_text(joined, strlen(joined), ret_docs, ret_n_docs, e);
}
