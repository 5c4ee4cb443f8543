/* YAML trees: their end, their JSON, and finding things in them. No walk recurses: the parser lets no tree be deeper than
 * YAML_DEPTH_MAX collections and a leaf, so a fixed stack is enough. */
#include "agent/yaml_tree.h"

#include "agent/yaml_scalar.h"

void yaml_leaf_free(struct yaml_node *n)
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
void yaml_node_free(struct yaml_node *root)
{
	struct yaml_node *stack[YAML_DEPTH_MAX + 1];
	size_t depth = 0;

	if (!root)
		return;
	stack[depth++] = root;
	while (depth > 0) {
		struct yaml_node *n = stack[depth - 1];

		if (n->n_items == 0) {
			yaml_leaf_free(n);
			depth--;
			continue;
		}
		n->n_items--;
		if (n->keys)
			yaml_leaf_free(n->keys[n->n_items]);
		stack[depth++] = n->items[n->n_items];
	}
}
void yaml_docs_free(struct yaml_doc *docs, size_t n_docs)
{
	for (size_t i = 0; docs && i < n_docs; i++)
		yaml_node_free(docs[i].root);
	free(docs);
}

/* ---- JSON ---- */

static int number_to_json(const struct yaml_node *n, json_t **ret_json, struct err *e)
{
	int64_t integer = 0;
	double real = 0;

	switch (yaml_scalar_number(n->scalar, n->scalar_len, &integer, &real)) {
	case YAML_NUMBER_NONE:
		return err_set(e, -EINVAL, "%zu:%zu: not a number that JSON has", n->line, n->column);
	case YAML_NUMBER_INTEGER:
		*ret_json = json_integer(integer);
		break;
	case YAML_NUMBER_REAL:
		*ret_json = json_real(real);
		break;
	}
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
		*ret_json = json_boolean(yaml_scalar_is_true(n->scalar, n->scalar_len));
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
