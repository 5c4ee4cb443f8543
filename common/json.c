/* JSON. jansson quotes the document in its error texts; a Secret must not come out that way, so only the reason in
 * front of the quote is passed on. */
#include "common/json.h"

#include <malloc.h>
#include <stdarg.h>
#include <sys/random.h>

#include "common/buf.h"
#include "common/str.h"

/* jansson's scanner takes a failed allocation for a syntax error; this knows better. */
static _Thread_local struct {
	bool runs, out_of_memory, out_of_room;
	size_t room;
} parse;

static void *json_note_malloc(size_t size)
{
	void *p = malloc(size);

	parse.out_of_memory |= !p;
	if (!p || !parse.runs)
		return p;
	if (malloc_usable_size(p) > parse.room) {
		parse.out_of_room = true;
		free(p);
		return NULL;
	}
	parse.room -= malloc_usable_size(p);
	return p;
}

static void json_wipe_free(void *p)
{
	if (!p)
		return;
	if (parse.runs)
		parse.room += malloc_usable_size(p);
	explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

void json_setup(void)
{
	size_t seed = 0;

	/* 0 lets jansson find a seed by itself */
	if (getentropy(&seed, sizeof(seed)) < 0)
		seed = 0;
	json_set_alloc_funcs(json_note_malloc, json_wipe_free);
	json_object_seed(seed);
}

/* Length of jansson's reason without what it quotes from the document. */
static int reason_len(const char *text)
{
	static const char *const QUOTES[] = { " near ", " '\\", " 0x" };
	size_t len = strlen(text);

	for (size_t i = 0; i < ARRAY_SIZE(QUOTES); i++) {
		const char *at = strstr(text, QUOTES[i]);

		if (at)
			len = MIN(len, (size_t)(at - text));
	}
	return (int)len;
}

int json_parse_beside(const char *text, size_t len, size_t taken, json_t **ret_doc, struct err *e)
{
	size_t room = taken < JSON_MEMORY_MAX ? JSON_MEMORY_MAX - taken : 0;
	json_error_t error;
	json_t *doc;

	parse = (typeof(parse)){ .runs = true, .room = room };
	doc = json_loadb(len > 0 ? text : "", len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	parse.runs = false;
	if (doc) {
		*ret_doc = doc;
		return 0;
	}
	if (parse.out_of_room)
		return err_set(e, -EFBIG, "takes more than %zu MiB of memory", JSON_MEMORY_MAX >> 20);
	if (parse.out_of_memory)
		return err_set(e, -ENOMEM, "out of memory");
	return err_set(e, -EINVAL, "line %d column %d: %.*s", error.line, error.column, reason_len(error.text),
		       error.text);
}

int json_parse(const char *text, size_t len, json_t **ret_doc, struct err *e)
{
	return json_parse_beside(text, len, 0, ret_doc, e);
}

/* Plain field names are written as `.name`, others (keys of a Secret, annotations) as `[name]`. */
static bool key_is_plain(const char *key)
{
	return *key && key[strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-$")] == '\0';
}

/* One element with its separator. Returns the length it would like to have, as snprintf does. */
static size_t element_format(const struct json_at *at, char *text, size_t size)
{
	int n;

	if (!at->key)
		n = snprintf(text, size, "[%zu]", at->index);
	else if (!key_is_plain(at->key))
		n = snprintf(text, size, "[%s]", at->key);
	else
		n = snprintf(text, size, "%s%s", at->parent->parent ? "." : "", at->key);
	return n < 0 ? 0 : (size_t)n;
}

/* Written from the leaf to the root into the end of a buffer: the part that matters stays when it is too long. */
static void path_format(const struct json_at *at, char text[static JSON_PATH_MAX])
{
	char tail[JSON_PATH_MAX], element[JSON_PATH_MAX];
	size_t start = sizeof(tail) - 1, n;
	bool cut = false;

	if (!at || !at->parent) {
		snprintf(text, JSON_PATH_MAX, "document");
		return;
	}
	tail[start] = '\0';
	for (; at->parent && !cut; at = at->parent) {
		n = element_format(at, element, sizeof(element));
		cut = n > start - strlen("...");
		if (cut)
			break;
		start -= n;
		memcpy(tail + start, element, n);
	}
	snprintf(text, JSON_PATH_MAX, "%s%s", cut ? "..." : "", tail + start);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

int json_issue_set(struct json_issue *issue, const struct json_at *at, const char *fmt, ...)
{
	va_list ap;

	if (!issue)
		return -EINVAL;
	path_format(at, issue->path);
	va_start(ap, fmt);
	if (vsnprintf(issue->reason, sizeof(issue->reason), fmt, ap) < 0)
		issue->reason[0] = '\0';
	va_end(ap);
	return -EINVAL;
}

static const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a number";
	case JSON_REAL:
		return "a number with a fraction or exponent";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		return "null";
	}
	return "something else";
}

/* obj[key]; NULL if it is absent or null. */
static const json_t *member(const json_t *obj, const char *key)
{
	const json_t *value = json_object_get(obj, key);

	return json_is_null(value) ? NULL : value;
}

static int wrong_type(const json_t *value, const char *want, const char *key, const struct json_at *at,
		      struct json_issue *issue)
{
	return json_issue_set(issue, &JSON_AT(at, key), "expected %s, found %s", want, type_name(value));
}

int json_get_str(const json_t *obj, const char *key, const struct json_at *at, const char **ret,
		 struct json_issue *issue)
{
	const json_t *value = member(obj, key);

	if (!value)
		return 0;
	if (!json_is_string(value))
		return wrong_type(value, "a string", key, at, issue);
	if (strlen(json_string_value(value)) != json_string_length(value))
		return json_issue_set(issue, &JSON_AT(at, key), "contains a NUL character");
	*ret = json_string_value(value);
	return 0;
}

int json_get_str_required(const json_t *obj, const char *key, const struct json_at *at, const char **ret,
			  struct json_issue *issue)
{
	if (!member(obj, key))
		return json_issue_set(issue, &JSON_AT(at, key), "is required");
	return json_get_str(obj, key, at, ret, issue);
}

int json_get_bool(const json_t *obj, const char *key, const struct json_at *at, bool *ret, struct json_issue *issue)
{
	const json_t *value = member(obj, key);

	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return wrong_type(value, "a boolean", key, at, issue);
	*ret = json_is_true(value);
	return 0;
}

int json_get_int(const json_t *obj, const char *key, const struct json_at *at, int64_t min, int64_t max, int64_t *ret,
		 struct json_issue *issue)
{
	const json_t *value = member(obj, key);
	int64_t n;

	if (!value)
		return 0;
	if (!json_is_integer(value))
		return wrong_type(value, "an integer", key, at, issue);
	n = json_integer_value(value);
	if (n < min || n > max)
		return json_issue_set(issue, &JSON_AT(at, key), "must be between %lld and %lld", (long long)min,
				      (long long)max);
	*ret = n;
	return 0;
}

int json_get_object(const json_t *obj, const char *key, const struct json_at *at, const json_t **ret,
		    struct json_issue *issue)
{
	const json_t *value = member(obj, key);

	if (!value)
		return 0;
	if (!json_is_object(value))
		return wrong_type(value, "an object", key, at, issue);
	*ret = value;
	return 0;
}

int json_get_array(const json_t *obj, const char *key, const struct json_at *at, const json_t **ret,
		   struct json_issue *issue)
{
	const json_t *value = member(obj, key);

	if (!value)
		return 0;
	if (!json_is_array(value))
		return wrong_type(value, "an array", key, at, issue);
	*ret = value;
	return 0;
}

json_t *json_text(const char *s)
{
	static const char replacement[] = "\xef\xbf\xbd";
	size_t len = strlen(s);
	cleanup_buf struct buf b = BUF_INIT(len * strlen(replacement));

	for (size_t i = 0, n; i < len; i += MAX(n, (size_t)1)) {
		n = str_utf8_len(s + i, len - i);
		if ((n > 0 ? buf_add(&b, s + i, n) : buf_add_str(&b, replacement)) < 0)
			return NULL;
	}
	return json_string(b.len ? b.data : "");
}

char *json_dump_printable(const json_t *json)
{
	static const char del[] = "\x7f", escaped[] = "\\u007F";
	cleanup_free char *text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
	cleanup_buf struct buf b = BUF_INIT(text ? strlen(text) * strlen(escaped) : 0);

	if (!text || !strpbrk(text, del))
		return TAKE_PTR(text);
	/* jansson escapes what is below and above, but not this one; outside of strings it cannot be */
	for (const char *s = text; *s;) {
		size_t n = strcspn(s, del);

		if ((n > 0 ? buf_add(&b, s, n) : buf_add_str(&b, escaped)) < 0)
			return NULL;
		s += MAX(n, (size_t)1);
	}
	return TAKE_PTR(b.data);
}
