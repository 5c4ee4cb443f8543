/* Thin JSON: this is no parser. It finds out where strings begin and end, which takes no more than the quotes and backslashes, and
 * writes the document once more with something short in place of each long string that is easily read. jansson parses
 * that, and then the strings are put where they belong. What it refuses is parsed once more as it came, so that it is refused for
 * what is there.
 *
 * What stands in for a string begins with a number that is drawn when the document has come: nobody can have written that
 * number into it. */
#include "common/json_thin.h"

#include <sodium.h>

#include "common/buf.h"
#include "common/str.h"

enum {
	CUT_MIN = 64, /* a shorter one is parsed in the time that this takes */
	DEPTH_MAX = 4, /* a value of a Secret in a list; what is deeper stays */
	NONCE_LEN = 8,
	NONCE_TEXT_LEN = 2 * NONCE_LEN,
	STAND_IN_LEN = NONCE_TEXT_LEN + 8,
	OUT_BEGIN = 1024,
	MUCH = 1024 * 1024, /* of what is written once more for strings alone: then it has to be worth it */
};
static const char SKIPPED[] = "managedFields";

struct cut {
	const char *at;
	size_t len;
};

struct thin {
	const char *at, *end; /* what is to be looked at */
	const char *copied; /* what comes before is in `out` */
	struct buf out;
	struct cut *cuts;
	size_t n_cuts, cuts_size, n_restored;
	char nonce[NONCE_TEXT_LEN + 1]; /* from the first cut on */
	unsigned depth;
	bool skipped;
};

static void thin_deinit(struct thin *t)
{
	buf_deinit(&t->out);
	free(t->cuts);
}

static void nonce_draw(struct thin *t)
{
	unsigned char bytes[NONCE_LEN];

	randombytes_buf(bytes, sizeof(bytes));
	sodium_bin2hex(t->nonce, sizeof(t->nonce), bytes, sizeof(bytes));
}

/* ---- the text ---- */

/* The quote that ends the string which begins at `at`: the first before which there are an even number of backslashes. NULL: there is
 * none. */
static const char *string_end(const char *at, const char *end)
{
	for (const char *quote = at; (quote = memchr(quote, '"', (size_t)(end - quote))); quote++) {
		const char *c = quote;

		while (c > at && c[-1] == '\\')
			c--;
		if ((quote - c) % 2 == 0)
			return quote;
	}
	return NULL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *after_blanks(const char *at, const char *end)
{
	while (at < end && is_blank(*at))
		at++;
	return at;
}

/* Behind the bracket that closes the one at `at`. NULL: there is none. */
static const char *list_end(const char *at, const char *end)
{
	size_t depth = 0;

	for (; at < end; at++) {
		if (*at == '"') {
			at = string_end(at + 1, end);
			if (!at)
				return NULL;
		} else if (*at == '[' || *at == '{') {
			depth++;
		} else if (*at == ']' || *at == '}') {
			if (--depth == 0)
				return at + 1;
		}
	}
	return NULL;
}

/* ASCII without a control character. Eight at a time: the top bit says that a byte has it, or was less than a blank. */
static bool is_ascii(const char *s, size_t len)
{
	const uint64_t tops = UINT64_C(0x8080808080808080), blanks = UINT64_C(0x2020202020202020);
	uint64_t bad = 0, word;
	size_t i = 0;

	for (; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, s + i, sizeof(word));
		bad |= word | (word - blanks);
	}
	for (; i < len; i++)
		bad |= (unsigned char)s[i] < 0x20 || (unsigned char)s[i] > 0x7f ? tops : 0;
	return !(bad & tops);
}

/* What a letter behind a backslash means; '\0': not to us. A \u may be half a character, or none. */
static char escaped(char letter)
{
	static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	const char *at = memchr(letters, letter, strlen(letters));

	return at ? meanings[at - letters] : '\0';
}

/* Writes what a string means to `out`, which has room for `len` bytes; NULL: only looks. Returns how many they are, -EINVAL: that is
 * jansson's to find out. */
static ssize_t unescape(const char *s, size_t len, char *out)
{
	const char *end = s + len;
	size_t n = 0;

	while (s < end) {
		const char *next = memchr(s, '\\', (size_t)(end - s)) ?: end;

		if (out)
			memcpy(out + n, s, (size_t)(next - s));
		n += (size_t)(next - s);
		s = next;
		if (s == end)
			break;
		if (s + 1 == end || !escaped(s[1]))
			return -EINVAL;
		if (out)
			out[n] = escaped(s[1]);
		n++;
		s += 2;
	}
	return (ssize_t)n;
}

/* jansson would only copy it. */
static bool is_plain(const char *s, size_t len)
{
	return is_ascii(s, len) && unescape(s, len, NULL) >= 0;
}

/* ---- out of it ---- */

static int copy_until(struct thin *t, const char *until)
{
	int r = buf_add(&t->out, t->copied, (size_t)(until - t->copied));

	t->copied = until;
	return r;
}

static int cut_add(struct thin *t, const char *at, size_t len)
{
	size_t size = t->cuts_size ? t->cuts_size * 2 : 8;
	struct cut *grown;

	if (t->n_cuts == t->cuts_size) {
		grown = reallocarray(t->cuts, size, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		t->cuts = grown;
		t->cuts_size = size;
	}
	t->cuts[t->n_cuts++] = (struct cut){ .at = at, .len = len };
	return 0;
}

static int cut_out(struct thin *t, const char *at, size_t len)
{
	char stand_in[STAND_IN_LEN + 1];
	int r;

	if (t->n_cuts == 0)
		nonce_draw(t);
	snprintf(stand_in, sizeof(stand_in), "%s%08x", t->nonce, (unsigned)t->n_cuts);
	r = cut_add(t, at, len);
	r = r ?: copy_until(t, at);
	r = r ?: buf_add(&t->out, stand_in, STAND_IN_LEN);
	t->copied = at + len;
	return r;
}

/* A list behind a key that is not to be read. */
static int skip_list(struct thin *t, const char *list)
{
	const char *end = list_end(list, t->end);
	int r;

	if (!end)
		return -EINVAL;
	r = copy_until(t, list);
	r = r ?: buf_add_str(&t->out, "[]");
	t->copied = t->at = end;
	t->skipped = true;
	return r;
}

/* t->at is behind its first quote. */
static int look_at_string(struct thin *t)
{
	const char *at = t->at, *quote = string_end(at, t->end), *next;
	size_t len;

	if (!quote)
		return -EINVAL;
	len = (size_t)(quote - at);
	t->at = quote + 1;
	next = after_blanks(t->at, t->end);
	if (next == t->end || *next != ':')
		return len >= CUT_MIN && t->depth <= DEPTH_MAX && is_plain(at, len) ? cut_out(t, at, len) : 0;
	if (len != strlen(SKIPPED) || memcmp(at, SKIPPED, len) != 0)
		return 0;
	next = after_blanks(next + 1, t->end);
	return next < t->end && *next == '[' ? skip_list(t, next) : 0;
}

/* Whether what is not written yet is to be: it takes memory as long as the document is parsed. What was skipped always is: jansson
 * would take some twenty times its text. Of strings it takes no more than they are long. */
static bool is_worth_it(const struct thin *t, size_t len)
{
	size_t kept = t->out.len + (size_t)(t->end - t->copied);

	return t->skipped || (t->n_cuts > 0 && (kept <= MUCH || kept <= len / 2));
}

/* -EINVAL: it is no JSON, or too little is gained. */
static int make_thin(struct thin *t)
{
	size_t len = (size_t)(t->end - t->at);
	char *room;
	int r = buf_reserve(&t->out, MIN(len, (size_t)OUT_BEGIN), &room);

	while (r == 0 && t->at < t->end) {
		char c = *t->at++;

		if (c == '"')
			r = look_at_string(t);
		else if (c == '{' || c == '[')
			t->depth++;
		else if (c == '}' || c == ']')
			t->depth -= t->depth > 0;
	}
	if (r == 0 && !is_worth_it(t, len))
		r = -EINVAL;
	return r ?: copy_until(t, t->end);
}

/* ---- back into the document ---- */

/* NULL: it does not stand in for anything. */
static const struct cut *cut_of(const struct thin *t, const json_t *value)
{
	const char *text = json_string_value(value);
	size_t i;

	if (!text || json_string_length(value) != STAND_IN_LEN || memcmp(text, t->nonce, NONCE_TEXT_LEN) != 0)
		return NULL;
	i = strtoul(text + NONCE_TEXT_LEN, NULL, 16);
	return i < t->n_cuts ? &t->cuts[i] : NULL;
}

static json_t *cut_string(const struct cut *cut)
{
	cleanup_buf struct buf text = BUF_INIT(cut->len);
	ssize_t len;
	char *room;

	if (!memchr(cut->at, '\\', cut->len))
		return json_stringn_nocheck(cut->at, cut->len);
	if (buf_reserve(&text, cut->len, &room) < 0)
		return NULL;
	len = unescape(cut->at, cut->len, room);
	return len < 0 ? NULL : json_stringn_nocheck(room, (size_t)len);
}

static bool is_wanting(const struct thin *t)
{
	return t->n_restored < t->n_cuts;
}

static int restore(struct thin *t, json_t *container, unsigned depth);

static int restore_value(struct thin *t, json_t *value, unsigned depth, json_t **ret_fresh)
{
	const struct cut *cut = cut_of(t, value);

	if (!cut)
		return depth < DEPTH_MAX ? restore(t, value, depth + 1) : 0;
	*ret_fresh = cut_string(cut);
	t->n_restored++;
	return *ret_fresh ? 0 : -ENOMEM;
}

/* Calls itself, at most DEPTH_MAX deep. */
static int restore(struct thin *t, json_t *container, unsigned depth)
{
	int r = 0;

	if (json_is_object(container)) {
		for (void *it = json_object_iter(container); it && r == 0 && is_wanting(t);
		     it = json_object_iter_next(container, it)) {
			json_t *fresh = NULL;

			r = restore_value(t, json_object_iter_value(it), depth, &fresh);
			if (fresh && json_object_iter_set_new(container, it, fresh) < 0)
				r = -ENOMEM;
		}
	}
	for (size_t i = 0; i < json_array_size(container) && r == 0 && is_wanting(t); i++) {
		json_t *fresh = NULL;

		r = restore_value(t, json_array_get(container, i), depth, &fresh);
		if (fresh && json_array_set_new(container, i, fresh) < 0)
			r = -ENOMEM;
	}
	return r;
}

/* -EINVAL: it is to be parsed as it came. */
static int parse_thin(const char *text, size_t len, json_t **ret_doc, struct err *e)
{
	cleanup(thin_deinit) struct thin t = { .at = text, .end = text + len, .copied = text, .out = BUF_INIT(len) };
	cleanup_json json_t *doc = NULL;
	int r;

	r = make_thin(&t);
	r = r ?: json_parse_beside(t.out.data, t.out.len, t.out.len, &doc, e);
	r = r ?: restore(&t, doc, 1);
	if (r == -ENOMEM)
		return err_set(e, r, "out of memory");
	if (r == 0 && is_wanting(&t))
		r = -EINVAL;
	if (r == 0)
		*ret_doc = TAKE_PTR(doc);
	return r;
}

/* All that the attempt has taken is free again before the other, which may have room for a document for which the first had none: it
 * has no second text. */
int json_parse_thin(const char *text, size_t len, json_t **ret_doc, struct err *e)
{
	struct err why = ERR_INIT;
	int r = parse_thin(text, len, ret_doc, &why);

	if (r == -ENOMEM)
		return err_set(e, r, "%s", err_text(&why));
	return r < 0 ? json_parse(text, len, ret_doc, e) : 0;
}
