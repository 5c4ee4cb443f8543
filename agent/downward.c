/* Downward: a field's text is the API object's; a map has a line `key="value"` for each pair, by key, the value quoted as
 * Go's %q does it, and no newline at the end. A resource is a whole number: the quantity over the divisor, rounded up. */
#include "agent/downward.h"

#include <math.h>

#include "agent/reason.h"
#include "common/quantity.h"
#include "common/str.h"

#define CONTENT_MAX (4u << 20) /* a pod has 256 KiB of annotations, of which each byte may be shown as ten */

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

static int add_hex(struct buf *out, char kind, size_t n_digits, uint32_t c)
{
	char text[10] = { '\\', kind };

	for (size_t i = 0; i < n_digits; i++, c >>= 4)
		text[1 + n_digits - i] = "0123456789abcdef"[c & 0xf];
	return buf_add(out, text, 2 + n_digits);
}

static int add_quoted_char(struct buf *out, const char *text, size_t len, uint32_t c)
{
	static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";
	const char *escape = c < 0x80 && c ? strchr(from, (int)c) : NULL;

	if (escape)
		return buf_add(out, (char[]){ '\\', to[escape - from] }, 2);
	if (is_printable(c))
		return buf_add(out, text, len);
	if (c < ' ' || c == 0x7f)
		return add_hex(out, 'x', 2, c);
	return c < 0x10000 ? add_hex(out, 'u', 4, c) : add_hex(out, 'U', 8, c);
}

/* How much of it is shown as it is. */
static size_t plain_len(const char *text)
{
	size_t n = 0;

	while (text[n] >= ' ' && text[n] < 0x7f && text[n] != '"' && text[n] != '\\')
		n++;
	return n;
}

static int add_quoted(struct buf *out, const char *text)
{
	int r;

	r = buf_add(out, "\"", 1);
	while (r == 0 && *text) {
		size_t len = plain_len(text);
		uint32_t c;

		r = buf_add(out, text, len);
		text += len;
		len = decode_utf8(text, &c);
		if (r < 0 || !*text)
			break;
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

struct key {
	const char *text;
	size_t len;
};

static int compare_key(const void *key, const void *label)
{
	const struct key *k = key;
	const char *name = ((const struct label *)label)->key;

	return strncmp(k->text, name, k->len) ?: -(name[k->len] != 0);
}

static const struct label *find_label(const struct pairs *pairs, const char *key, size_t len)
{
	return pairs->n == 0
		       ? NULL
		       : bsearch(&(struct key){ key, len }, pairs->all, pairs->n, sizeof(*pairs->all), compare_key);
}

static const char *find_pair(const struct pairs *pairs, const char *key, size_t len)
{
	const struct label *label = find_label(pairs, key, len);

	return label ? label->value : NULL;
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

/* ---- contents ---- */

/* Where the pod keeps what a field shows. NULL in *ret_text: nowhere, for it is short. */
static int find_text(const struct pod *pod, const char *path, struct pod_text **ret_text)
{
	struct pod *made = (struct pod *)(uintptr_t)pod;
	const struct label *label = NULL;
	const struct pairs *pairs;
	enum downward_field field;
	struct pod_text **texts;
	const char *key;
	size_t len;

	*ret_text = NULL;
	if (downward_field_parse(path, &field, &key, &len) < 0 || field < DOWNWARD_LABELS)
		return 0;
	pairs = field == DOWNWARD_LABELS ? &pod->labels : &pod->annotations;
	texts = field == DOWNWARD_LABELS ? &made->label_texts : &made->annotation_texts;
	if (len > 0) {
		label = find_label(pairs, key, len);
		if (!label)
			return 0;
	}
	if (!*texts)
		*texts = calloc(pairs->n + 1, sizeof(**texts));
	if (!*texts)
		return -ENOMEM;
	*ret_text = *texts + (label ? (size_t)(label - pairs->all) : pairs->n);
	return 0;
}

static enum reason reason_of_text(int r)
{
	if (r == -EAGAIN)
		return REASON_NODE_NOT_FETCHED;
	if (r == -ENOMEM)
		return REASON_OUT_OF_MEMORY;
	return r == -ENOBUFS ? REASON_TOO_LARGE : REASON_FIELD_INVALID;
}

/* The bytes are in locked memory like all others: what serves them knows of no other. */
static int make_text(const struct pod *pod, const struct pod_item *item, const struct pairs *allocatable,
		     struct pod_text *ret_text, struct err *e)
{
	cleanup_buf struct buf text = BUF_INIT(CONTENT_MAX);
	struct secblock *block = NULL;
	int r;

	r = downward_text(pod, item, allocatable, &text, e);
	if (r < 0)
		return reason_set(e, reason_of_text(r), r);
	r = secblock_new(text.len, &block, e);
	if (r < 0)
		return reason_set(e, REASON_SECRET_MEMORY_FULL, r);
	if (text.len > 0)
		memcpy(block->data, text.data, text.len);
	*ret_text = (struct pod_text){ .block = block, .digest = digest_of(block->data, text.len) };
	return 0;
}

int downward_content(const struct pod *pod, const struct pod_item *item, const struct pairs *allocatable,
		     struct secspan *ret_content, struct digest *ret_digest, struct err *e)
{
	struct pod_text *kept = NULL, text = { .block = NULL };
	int r = 0;

	if (!item->container && find_text(pod, item->key, &kept) < 0)
		return reason_set(e, REASON_OUT_OF_MEMORY, err_set(e, -ENOMEM, "%s: out of memory", item->path));
	if (kept && kept->block)
		text = *kept;
	else
		r = make_text(pod, item, allocatable, &text, e);
	if (r < 0)
		return r;
	if (kept) {
		*kept = text;
		secblock_ref(text.block);
	}
	*ret_content = (struct secspan){ .block = text.block, .len = text.block->len };
	*ret_digest = text.digest;
	return 0;
}
