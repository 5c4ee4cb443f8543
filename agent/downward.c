/* Downward: a field's text is the API object's; a map has a line `key="value"` for each pair, by key, the value quoted as
 * Go's %q does it, and no newline at the end. A resource is a whole number: the quantity over the divisor, rounded up. */
#include "agent/downward.h"

#include <inttypes.h>
#include <math.h>

#include "common/quantity.h"
#include "common/str.h"

static const char *const FIELDS[DOWNWARD_FIELDS_N] = {
	[DOWNWARD_NAME] = "metadata.name",
	[DOWNWARD_NAMESPACE] = "metadata.namespace",
	[DOWNWARD_UID] = "metadata.uid",
	[DOWNWARD_LABELS] = "metadata.labels",
	[DOWNWARD_ANNOTATIONS] = "metadata.annotations",
};

int downward_field_parse(const char *path, enum downward_field *ret_field, const char **ret_key, size_t *ret_key_len)
{
	const char *open = strstr(path, "['"), *end = path + strlen(path);
	size_t len = (size_t)(open ? open - path : end - path), key_len = 0;

	if (open && (end - open < 4 || !str_eq(end - 2, "']")))
		return -EINVAL;
	if (open)
		key_len = (size_t)(end - 2 - (open + 2));
	for (size_t i = 0; i < DOWNWARD_FIELDS_N; i++) {
		if (strlen(FIELDS[i]) != len || strncmp(FIELDS[i], path, len) != 0)
			continue;
		if (open && (key_len == 0 || i < DOWNWARD_LABELS))
			return -EINVAL;
		*ret_field = (enum downward_field)i;
		*ret_key = open ? open + 2 : end;
		*ret_key_len = key_len;
		return 0;
	}
	return -EINVAL;
}

/* ---- Go's %q ---- */

/* What Go's unicode.IsPrint() says of it, but for code points that no character has been given yet: those are shown. */
static bool is_printable(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} NOT[] = {
		{ 0x00, 0x1f },		 { 0x7f, 0xa0 },       { 0xad, 0xad },	     { 0x600, 0x605 },
		{ 0x61c, 0x61c },	 { 0x6dd, 0x6dd },     { 0x70f, 0x70f },     { 0x8e2, 0x8e2 },
		{ 0x1680, 0x1680 },	 { 0x180e, 0x180e },   { 0x2000, 0x200f },   { 0x2028, 0x202f },
		{ 0x205f, 0x206f },	 { 0x3000, 0x3000 },   { 0xd800, 0xf8ff },   { 0xfeff, 0xfeff },
		{ 0xfff0, 0xfffb },	 { 0x110bd, 0x110bd }, { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff },
		{ 0xf0000, UINT32_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(NOT); i++)
		if (c >= NOT[i].first && c <= NOT[i].last)
			return false;
	return true;
}

/* The code point at text, which is UTF-8, and its length; length 1 and U+FFFD: it is none. */
static size_t decode_utf8(const char *text, uint32_t *ret_c)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t len = *p < 0x80 ? 1 : *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc0 ? 2 : 0;
	uint32_t c = len > 1 ? *p & (0x7fU >> len) : *p;

	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			len = 0;
		else
			c = c << 6 | (p[i] & 0x3f);
	}
	*ret_c = len ? c : 0xfffd;
	return len ?: 1;
}

static int add_quoted_char(struct buf *out, const char *text, size_t len, uint32_t c)
{
	static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";
	const char *escape = c < 0x80 && c ? strchr(from, (int)c) : NULL;

	if (escape)
		return buf_printf(out, "\\%c", to[escape - from]);
	if (is_printable(c))
		return buf_add(out, text, len);
	if (c < ' ' || c == 0x7f)
		return buf_printf(out, "\\x%02" PRIx32, c);
	return c < 0x10000 ? buf_printf(out, "\\u%04" PRIx32, c) : buf_printf(out, "\\U%08" PRIx32, c);
}

static int add_quoted(struct buf *out, const char *text)
{
	int r;

	r = buf_add(out, "\"", 1);
	while (r == 0 && *text) {
		uint32_t c;
		size_t len = decode_utf8(text, &c);

		r = add_quoted_char(out, text, len, c);
		text += len;
	}
	return r < 0 ? r : buf_add(out, "\"", 1);
}

/* ---- fields ---- */

static int add_pairs(struct buf *out, const struct pairs *pairs)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < pairs->n; i++) {
		r = buf_printf(out, "%s%s=", i ? "\n" : "", pairs->all[i].key);
		if (r == 0)
			r = add_quoted(out, pairs->all[i].value);
	}
	return r;
}

static const char *find_pair(const struct pairs *pairs, const char *key, size_t len)
{
	for (size_t i = 0; i < pairs->n; i++)
		if (strlen(pairs->all[i].key) == len && strncmp(pairs->all[i].key, key, len) == 0)
			return pairs->all[i].value;
	return NULL;
}

static int add_field(const struct pod *pod, const char *path, struct buf *out)
{
	const struct pairs *pairs;
	enum downward_field field;
	const char *key, *value;
	size_t len;

	if (downward_field_parse(path, &field, &key, &len) < 0)
		return -EINVAL;
	switch (field) {
	case DOWNWARD_NAME:
		return buf_add_str(out, pod->name);
	case DOWNWARD_NAMESPACE:
		return buf_add_str(out, pod->ns);
	case DOWNWARD_UID:
		return buf_add_str(out, pod->uid);
	default:
		pairs = field == DOWNWARD_LABELS ? &pod->labels : &pod->annotations;
		value = find_pair(pairs, key, len);
		return len == 0 ? add_pairs(out, pairs) : buf_add_str(out, value ?: "");
	}
}

/* ---- resources ---- */

enum resource_kind { RESOURCE_CPU, RESOURCE_BYTES };

/* "limits.cpu" -> cpu. NULL: there is none. */
static const char *split_resource(const char *resource, bool *ret_is_limit, enum resource_kind *ret_kind)
{
	static const char hugepages[] = "hugepages-";
	const char *dot = strchr(resource, '.'), *name = dot ? dot + 1 : "";

	*ret_is_limit = str_starts(resource, "limits.");
	if (!*ret_is_limit && !str_starts(resource, "requests."))
		return NULL;
	*ret_kind = str_eq(name, "cpu") ? RESOURCE_CPU : RESOURCE_BYTES;
	if (str_eq(name, "cpu") || str_eq(name, "memory") || str_eq(name, "ephemeral-storage") ||
	    (str_starts(name, hugepages) && name[strlen(hugepages)]))
		return name;
	return NULL;
}

bool downward_resource_is_known(const char *resource)
{
	enum resource_kind kind;
	bool is_limit;

	return split_resource(resource, &is_limit, &kind);
}

const char *downward_divisor_problem(const char *resource, const char *divisor)
{
	static const char *const bytes[] = { "1",   "1k",  "1M",  "1G",	 "1T",	"1P", "1E",
					     "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei" };
	enum resource_kind kind;
	bool is_limit;

	if (str_empty(divisor) || str_eq(divisor, "0") || !split_resource(resource, &is_limit, &kind))
		return "";
	if (kind == RESOURCE_CPU)
		return str_eq(divisor, "1m") || str_eq(divisor, "1")
			       ? ""
			       : "only divisor's values 1m and 1 are supported with the cpu resource";
	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++)
		if (str_eq(divisor, bytes[i]))
			return "";
	return "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the "
	       "memory resource";
}

/* As for Go's, an absent quantity and an empty divisor are 0, and a divisor of 0 is 1. */
static int parse_quantity(const char *what, const char *text, struct quantity *ret_q, struct err *e)
{
	int r = str_empty(text) ? 0 : quantity_parse(text, ret_q);

	return r < 0 ? err_set(e, -EINVAL, "%s: %s is no quantity", what, text) : 0;
}

/* Of what a container has no limit for, it may use all that the node has. */
static int limit_of_node(const struct pod_item *item, const char *name, const struct pairs *allocatable,
			 struct quantity *ret_q, struct err *e)
{
	const char *value;

	if (str_starts(name, "hugepages-"))
		return 0;
	if (!allocatable)
		return err_set(e, -EAGAIN,
			       "%s: container \"%s\" has none, and what is allocatable on the node is not known",
			       item->key, item->container);
	value = find_pair(allocatable, name, strlen(name));
	return parse_quantity("the node's allocatable", value, ret_q, e);
}

static int add_resource(const struct pod *pod, const struct pod_item *item, const struct pairs *allocatable,
			struct buf *out, struct err *e)
{
	const struct pod_container *c = pod_find_container(pod, item->container);
	struct quantity q = { 0 }, divisor = { 0 };
	const struct pairs *pairs;
	enum resource_kind kind;
	const char *name;
	double result;
	bool is_limit;
	int r;

	name = split_resource(item->key, &is_limit, &kind);
	if (!name)
		return err_set(e, -EINVAL, "Unsupported container resource : %s", item->key);
	if (!c || c->kind == POD_CONTAINER_EPHEMERAL)
		return err_set(e, -EINVAL, "container %s not found", item->container);
	pairs = is_limit ? &c->limits : &c->requests;
	r = parse_quantity(item->key, find_pair(pairs, name, strlen(name)), &q, e);
	if (r == 0 && is_limit && q.nano == 0)
		r = limit_of_node(item, name, allocatable, &q, e);
	if (r == 0)
		r = parse_quantity("divisor", item->divisor, &divisor, e);
	if (r < 0)
		return r;
	if (divisor.nano == 0)
		(void)quantity_parse("1", &divisor);
	/* in floating point, as the kubelet does it: the same number for what is too large to be exact */
	if (kind == RESOURCE_CPU)
		result = ceil((double)quantity_milli(&q) / (double)quantity_milli(&divisor));
	else
		result = ceil((double)quantity_value(&q) / (double)quantity_value(&divisor));
	return buf_printf(out, "%.0f", result);
}

int downward_text(const struct pod *pod, const struct pod_item *item, const struct pairs *allocatable, struct buf *out,
		  struct err *e)
{
	int r;

	r = item->container ? add_resource(pod, item, allocatable, out, e) : add_field(pod, item->key, out);
	if (r == -EINVAL && !item->container)
		return err_set(e, r, "unsupported fieldPath: %s", item->key);
	if (r == -ENOMEM || r == -ENOBUFS)
		return err_set(e, r, "%s: %s", item->path, r == -ENOMEM ? "out of memory" : "too long");
	return r;
}
