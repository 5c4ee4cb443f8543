/* YAML: what Kubernetes' own reader makes of a text is the measure for what it takes; positions are those of the text. */
#include "agent/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/buf.h"
#include "common/str.h"

struct parsed {
	struct yaml_doc *docs;
	size_t n_docs;
	struct err e;
	int r;
};

static struct parsed parse(const char *text, size_t len)
{
	struct parsed p = { .e = ERR_INIT };

	p.r = yaml_parse(text, len, &p.docs, &p.n_docs, &p.e);
	return p;
}

static struct parsed parse_good(const char *text)
{
	struct parsed p = parse(text, strlen(text));

	if (p.r < 0)
		fail_msg("%s: %s", text, err_text(&p.e));
	return p;
}

static void forget(struct parsed *p)
{
	yaml_docs_free(p->docs, p->n_docs);
}

/* The first document as JSON is this. */
static bool expect_json(const char *text, const char *json)
{
	struct parsed p = parse_good(text);
	cleanup_json json_t *doc = NULL;
	cleanup_free char *dump = NULL;

	assert_true(p.n_docs > 0 && p.docs[0].root);
	assert_int_equal(yaml_to_json(p.docs[0].root, &doc, NULL), 0);
	dump = json_dumps(doc, JSON_ENCODE_ANY | JSON_COMPACT);
	if (!str_eq(dump, json))
		print_error("%s: is %s, not %s\n", text, dump, json);
	forget(&p);
	return str_eq(dump, json);
}

/* ---- values ---- */

static const struct {
	const char *text, *json;
} VALUES[] = {
	/* null */
	{ "~", "null" },
	{ "null", "null" },
	{ "Null", "null" },
	{ "NULL", "null" },
	{ "nUll", "\"nUll\"" },
	/* booleans */
	{ "true", "true" },
	{ "True", "true" },
	{ "tRue", "\"tRue\"" },
	{ "yes", "true" },
	{ "Yes", "true" },
	{ "y", "true" },
	{ "on", "true" },
	{ "ON", "true" },
	{ "no", "false" },
	{ "n", "false" },
	{ "off", "false" },
	{ "Off", "false" },
	{ "false", "false" },
	{ "FALSE", "false" },
	{ "none", "\"none\"" },
	/* integers */
	{ "0", "0" },
	{ "-0", "0" },
	{ "+7", "7" },
	{ "420", "420" },
	{ "0644", "420" },
	{ "0o644", "420" },
	{ "0O644", "420" },
	{ "-0644", "-420" },
	{ "0x1A4", "420" },
	{ "0b110", "6" },
	{ "-0b110", "-6" },
	{ "1_000", "1000" },
	{ "9223372036854775807", "9223372036854775807" },
	{ "-9223372036854775808", "-9223372036854775808" },
	{ "08", "8" }, /* no octal digit: it becomes a float */
	{ "0x", "\"0x\"" },
	{ "0xg", "\"0xg\"" },
	{ "0o", "\"0o\"" },
	{ "0b2", "\"0b2\"" },
	{ "1__", "1" },
	{ "_1", "\"_1\"" },
	{ "+", "\"+\"" },
	{ "-1-", "\"-1-\"" },
	{ "1 2", "\"1 2\"" },
	/* floats */
	{ "0.5", "0.5" },
	{ ".5", "0.5" },
	{ "5.", "5" },
	{ "1e3", "1000" },
	{ "1E+3", "1000" },
	{ "-1.5e-1", "-0.14999999999999999" },
	{ "420.0", "420" },
	{ ".", "\".\"" },
	{ "1e", "\"1e\"" },
	{ "1e400", "\"1e400\"" },
	{ "1.2.3", "\"1.2.3\"" },
	{ "1:30", "\"1:30\"" }, /* no base 60 */
	{ "infinity", "\"infinity\"" },
	{ "nan", "\"nan\"" },
	/* strings */
	{ "''", "\"\"" },
	{ "\"\"", "\"\"" },
	{ "'yes'", "\"yes\"" },
	{ "\"0644\"", "\"0644\"" },
	{ "'it''s'", "\"it's\"" },
	{ "\"a\\tb\\u00e9\\x41\"", "\"a\\tb\xc3\xa9"
				   "A\"" },
	{ "\"a\\0b\"", "\"a\\u0000b\"" },
	{ "2001-01-01", "\"2001-01-01\"" },
	{ "2001-01-01T00:00:00Z", "\"2001-01-01T00:00:00Z\"" },
	{ "|\n  a\n  b\n", "\"a\\nb\\n\"" },
	{ "|-\n  a\n  b\n", "\"a\\nb\"" },
	{ ">\n  a\n  b\n", "\"a b\\n\"" },
	{ "a\n  b", "\"a b\"" },
	{ "<<", "\"<<\"" },
	{ "h\xc3\xa9", "\"h\xc3\xa9\"" },
	/* tags */
	{ "!!str 12", "\"12\"" },
	{ "! 12", "\"12\"" },
	{ "!!str", "\"\"" },
	{ "!!int 0644", "420" },
	{ "!!int '12'", "12" },
	{ "!!float 3", "3" },
	{ "!!bool yes", "true" },
	{ "!!null ~", "null" },
	{ "!!map {a: 1}", "{\"a\":1}" },
	{ "!!seq [1]", "[1]" },
	{ "!<tag:yaml.org,2002:str> 1", "\"1\"" },
	/* collections */
	{ "[]", "[]" },
	{ "{}", "{}" },
	{ "[1, [2, {a: [3]}], ]", "[1,[2,{\"a\":[3]}]]" },
	{ "- a\n- - b\n  - c\n-\n", "[\"a\",[\"b\",\"c\"],null]" },
	{ "a:\nb: c\n", "{\"a\":null,\"b\":\"c\"}" },
	{ "a:\n- 1\n- 2\n", "{\"a\":[1,2]}" },
	{ "? a\n: b\n", "{\"a\":\"b\"}" },
	{ "{a, b: 1}", "{\"a\":null,\"b\":1}" },
	/* keys are what they become in JSON */
	{ "on: 1", "{\"true\":1}" },
	{ "no: 1", "{\"false\":1}" },
	{ "0x10: 1", "{\"16\":1}" },
	{ "1.5: 1", "{\"1.5\":1}" },
	{ "2.0: 1", "{\"2\":1}" },
	{ "'on': 1", "{\"on\":1}" },
	{ "'': 1", "{\"\":1}" },
	{ "tls.crt: 1", "{\"tls.crt\":1}" },
	/* JSON */
	{ "{\"a\":1,\"b\":[true,null,\"x\\/y\"]}", "{\"a\":1,\"b\":[true,null,\"x/y\"]}" },
	{ "{\n\t\"a\":\t1,\n\t\"b\": 2\n}", "{\"a\":1,\"b\":2}" },
	{ "\xef\xbb\xbf{a: 1}", "{\"a\":1}" },
	/* aliases and merges */
	{ "a: &x {k: 1}\nb: *x\n", "{\"a\":{\"k\":1},\"b\":{\"k\":1}}" },
	{ "- &x 1\n- &x 2\n- *x\n", "[1,2,2]" },
	{ "- &k a\n- {*k : 1}\n", "[\"a\",{\"a\":1}]" },
	{ "a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\n", "{\"a\":{\"k\":1,\"l\":2},\"b\":{\"k\":3,\"l\":2}}" },
	{ "a: &x {k: 1, l: 2}\nb: {k: 3, <<: *x}\n", "{\"a\":{\"k\":1,\"l\":2},\"b\":{\"k\":3,\"l\":2}}" },
	{ "{<<: [{a: 1}, {a: 2, b: 2}], c: 3}", "{\"c\":3,\"a\":1,\"b\":2}" },
	{ "{<<: {<<: {a: 1}, b: 2}}", "{\"b\":2,\"a\":1}" },
	{ "{<<: {}, a: 1}", "{\"a\":1}" },
	{ "'<<': 1", "{\"<<\":1}" },
	{ "- {? &k << : &m {a: &v 1}}\n- [*k, *m, *v]\n", "[{\"a\":1},[\"<<\",{\"a\":1},1]]" },
	{ "- {<<: {a: &v [1]}, a: 2}\n- *v\n", "[{\"a\":2},[1]]" },
};

static void values_are_what_kubernetes_reads(void **state)
{
	size_t n_wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(VALUES); i++)
		n_wrong += !expect_json(VALUES[i].text, VALUES[i].json);
	assert_int_equal(n_wrong, 0);
}

static const struct {
	const char *text, *reason;
} REFUSED[] = {
	{ "a: 1\na: 2\n", "2:1: this key is there already" },
	{ "a: 1\n'a': 2\n", "2:1: this key is there already" },
	{ "on: 1\ntrue: 2\n", "2:1: this key is there already" },
	{ "16: 1\n0x10: 2\n", "2:1: this key is there already" },
	{ "b: {c: 1, d: 2, c: 3, d: 4}", "1:17: this key is there already" },
	{ "<<: {a: 1}\n<<: {b: 1}\n", "2:1: this key is there already" },
	{ "<<: 1\n", "1:5: `<<` needs a mapping or a list of mappings" },
	{ "<<: [{a: 1}, 2]\n", "1:14: `<<` needs a mapping or a list of mappings" },
	{ "<<:\n", "1:4: `<<` needs a mapping or a list of mappings" },
	{ "? [a]\n: b\n", "1:3: a key must be a scalar" },
	{ "? {a: 1}\n: b\n", "1:3: a key must be a scalar" },
	{ "a: &x [1]\n*x : 1\n", "1:4: a key must be a scalar" },
	{ "~: 1\n", "1:1: a key must not be null" },
	{ "? \n: 1\n", "1:2: a key must not be null" },
	{ "\"a\\0b\": 1\n", "1:1: a key must not contain NUL" },
	{ ".inf: 1\n", "1:1: not a number that can be a key" },
	{ "a: !x 1\n", "1:4: this tag is not supported ..." },
	{ "a: !!binary aGk=\n", "1:4: this tag is not supported ..." },
	{ "a: !!timestamp 2001-01-01\n", "1:4: this tag is not supported ..." },
	{ "a: !!set {x}\n", "1:4: this tag is not supported ..." },
	{ "a: !<x> [1]\n", "1:4: this tag is not supported ..." },
	{ "a: !!int x\n", "1:4: the value does not fit its tag" },
	{ "a: !!bool 1\n", "1:4: the value does not fit its tag" },
	{ "a: !!int 1.5\n", "1:4: the value does not fit its tag" },
	{ "a: !!map x\n", "1:4: the value does not fit its tag" },
	{ "a: !!map [x]\n", "1:4: the value does not fit its tag" },
	{ "a: !!str {x: 1}\n", "1:4: the value does not fit its tag" },
	{ "a: *x\n", "1:4: this alias has no anchor" },
	{ "a: &x 1\n---\nb: *x\n", "3:4: this alias has no anchor" },
	{ "a: &x [*x]\n", "1:8: this alias is inside of what it stands for" },
	{ "a: &x {b: {c: *x}}\n", "1:15: this alias is inside of what it stands for" },
	{ "a: [\n", "2:1: ..." },
	{ "a: {b: 1\n", "2:1: ..." },
	{ "a: 'x\n", "2:1: ..." },
	{ "a: b: c\n", "1:5: mapping values are not allowed in this context" },
	{ "a: 1\n b: 2\n", "2:3: mapping values are not allowed in this context" },
	{ "\ta: 1\n", "1:1: found character that cannot start any token" },
	{ "a:\n\t- 1\n", "2:1: found character that cannot start any token" },
	{ "a: %x\n", "1:4: found character that cannot start any token" },
	{ "a: @x\n", "1:4: found character that cannot start any token" },
	{ "- a\nb: 1\n", "2:1: did not find expected '-' indicator" },
	{ "a: 1\n- b\n", "2:1: did not find expected key" },
	{ "a: \"\\q\"\n", "1:5: found unknown escape character" },
	{ "a: \"\\ud83d\\ude00\"\n", "1:7: found invalid Unicode character escape code" },
	{ "a: x\n\xff\n", "2:1: invalid leading UTF-8 octet" },
	{ "a: x\nbc: \xc3(\n", "2:6: invalid trailing UTF-8 octet" },
	{ "a: \x01\n", "1:4: control characters are not allowed" },
	{ "%YAML 3.0\n---\na\n", "1:1: found incompatible YAML document" },
	{ "%TAG ! x\n%TAG ! y\n---\na\n", "2:1: found duplicate %TAG directive" },
};

static void what_is_wrong_is_refused_with_its_place(void **state)
{
	size_t n_wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(REFUSED); i++) {
		const char *reason = REFUSED[i].reason;
		size_t len = strlen(reason);
		struct parsed p = parse(REFUSED[i].text, strlen(REFUSED[i].text));

		if (str_eq(reason + len - 3, "..."))
			len -= 3;
		else
			len++;
		if (p.r == -EINVAL && p.e.code == -EINVAL && !p.docs && strncmp(err_text(&p.e), reason, len) == 0)
			continue;
		print_error("%s: %s, not %s\n", REFUSED[i].text, err_text(&p.e), reason);
		forget(&p);
		n_wrong++;
	}
	assert_int_equal(n_wrong, 0);
}

/* libyaml would guess it from the first bytes, and what is in it was counted as UTF-8. */
static void utf_16_is_refused(void **state)
{
	static const char *const texts[] = { "\xff\xfe"
					     "a\0:\0 \0b\0",
					     "\xfe\xff\0a\0:\0 \0b" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct parsed p = parse(texts[i], 10);

		assert_int_equal(p.r, -EINVAL);
		assert_string_equal(err_text(&p.e), "1:1: invalid leading UTF-8 octet");
	}
}

static void a_reason_never_shows_the_text(void **state)
{
	static const char *const texts[] = { "SECRET: 1\nSECRET: 2\n", "a: !!int SECRET\n",  "a: !SECRET 1\n",
					     "a: *SECRET\n",	       "a: \"\\uSECRET\"\n", "? [SECRET]\n: 1\n",
					     "a: SECRET: x\n" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct parsed p = parse(texts[i], strlen(texts[i]));

		assert_int_equal(p.r, -EINVAL);
		assert_null(strstr(err_text(&p.e), "SECRET"));
	}
}

static void numbers_that_json_has_not_are_refused_there(void **state)
{
	static const char *const texts[] = { ".nan", ".inf", "-.Inf", "+.INF" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct parsed p = parse_good(texts[i]);
		struct err e = ERR_INIT;
		json_t *doc = NULL;

		assert_int_equal(p.docs[0].root->kind, YAML_FLOAT);
		assert_int_equal(yaml_to_json(p.docs[0].root, &doc, &e), -EINVAL);
		assert_null(doc);
		assert_string_equal(err_text(&e), "1:1: not a number that JSON has");
		forget(&p);
	}
}

/* ---- limits ---- */

static void expect_too_much(const char *text, size_t len, const char *reason)
{
	struct parsed p = parse(text, len);

	assert_int_equal(p.r, -E2BIG);
	if (!strstr(err_text(&p.e), reason))
		fail_msg("%s, not %s", err_text(&p.e), reason);
}

static char *repeat(const char *head, const char *part, size_t n, const char *tail)
{
	struct buf b = BUF_INIT(YAML_BYTES_MAX * 2);

	assert_int_equal(buf_add_str(&b, head), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(buf_add_str(&b, part), 0);
	assert_int_equal(buf_add_str(&b, tail), 0);
	return buf_take(&b);
}

static void depth_is_limited(void **state)
{
	cleanup_free char *good = repeat("", "[", YAML_DEPTH_MAX, ""), *bad = repeat("", "[", YAML_DEPTH_MAX + 1, "");
	cleanup_free char *end = repeat(good, "]", YAML_DEPTH_MAX, ""), *maps = repeat("", "{a: ", 1000, "");
	struct parsed p = parse_good(end);
	cleanup_json json_t *doc = NULL;

	assert_int_equal(yaml_to_json(p.docs[0].root, &doc, NULL), 0);
	forget(&p);
	expect_too_much(bad, strlen(bad), "1:65: nested too deeply");
	expect_too_much(maps, strlen(maps), "nested too deeply");
}

static void depth_is_limited_through_aliases_too(void **state)
{
	cleanup_free char *open = repeat("a: &a ", "[", YAML_DEPTH_MAX - 1, "");
	cleanup_free char *anchor = repeat(open, "]", YAML_DEPTH_MAX - 1, "\n");
	cleanup_free char *good = repeat(anchor, "", 0, "b: *a\n"), *deeper = repeat(anchor, "", 0, "b: [[*a]]\n"),
			  *merged = repeat(anchor, "", 0, "b: {<<: {c: {d: *a}}}\n");
	struct parsed p = parse_good(good);

	forget(&p);
	cleanup_free char *at_the_end = repeat("a: &a [1]\nb: ", "[", YAML_DEPTH_MAX - 1, "*a"),
			  *before_it = repeat("a: &a [1]\nb: ", "[", YAML_DEPTH_MAX - 2, "*a"),
			  *fits = repeat(before_it, "]", YAML_DEPTH_MAX - 2, "\n");

	expect_too_much(deeper, strlen(deeper), "2:6: nested too deeply");
	expect_too_much(at_the_end, strlen(at_the_end), "2:67: nested too deeply");
	p = parse_good(fits);
	forget(&p);
	expect_too_much(merged, strlen(merged), "nested too deeply");
}

static void laughs_are_limited(void **state)
{
	static const char text[] = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
				   "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
				   "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
				   "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
				   "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
				   "f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
				   "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";

	expect_too_much(text, strlen(text), "too many values");
}

static void values_are_limited(void **state)
{
	cleanup_free char *many = repeat("[", "1,", YAML_NODES_MAX, "]");
	cleanup_free char *documents = repeat("", "---\n", YAML_NODES_MAX + 2, "");

	expect_too_much(many, strlen(many), "too many values");
	expect_too_much(documents, strlen(documents), "too many");
}

static void text_is_limited_also_through_aliases(void **state)
{
	cleanup_free char *long_value = repeat("a: &a ", "0123456789abcdef", 65536, "\n");
	cleanup_free char *good = repeat(long_value, "", 0, "b: [*a,*a,*a,*a,*a,*a,*a,*a]\n"),
			  *bad = repeat(long_value, "", 0, "b: [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"),
			  *huge = repeat("a: ", "x", YAML_BYTES_MAX, "\n");
	struct parsed p = parse_good(good);

	forget(&p);
	expect_too_much(bad, strlen(bad), "1:4: too much text");
	expect_too_much(huge, strlen(huge), "1:1: larger than 16 MiB");
}

static void anchors_are_limited(void **state)
{
	cleanup_free char *many = repeat("", "- &a 1\n", 1025, "");

	expect_too_much(many, strlen(many), "1025:3: too many anchors");
}

static void many_keys_take_no_quadratic_time(void **state)
{
	struct buf b = BUF_INIT(YAML_BYTES_MAX);
	struct parsed p;

	for (int i = 0; i < 90000; i++)
		assert_int_equal(buf_printf(&b, "k%d: 1\n", i), 0);
	p = parse(b.data, b.len);
	assert_int_equal(p.r, 0);
	assert_int_equal(p.docs[0].root->n_items, 90000);
	forget(&p);
	buf_deinit(&b);
}

/* ---- documents ---- */

static void an_empty_stream_has_no_documents(void **state)
{
	static const char *const texts[] = { "", "\n\n", "# a comment\n", " \n# x" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct parsed p = parse_good(texts[i]);

		assert_int_equal(p.n_docs, 0);
		forget(&p);
	}
}

static void empty_documents_have_no_root(void **state)
{
	struct parsed p = parse_good("---\n# nothing\n---\na: 1\n...\n# x\n---\n~\n---\n''\n---\n");

	assert_int_equal(p.n_docs, 5);
	assert_null(p.docs[0].root);
	assert_int_equal(p.docs[0].line, 1);
	assert_int_equal(p.docs[1].root->kind, YAML_MAPPING);
	assert_int_equal(p.docs[1].line, 3);
	assert_int_equal(p.docs[2].root->kind, YAML_NULL);
	assert_int_equal(p.docs[3].root->kind, YAML_STRING);
	assert_null(p.docs[4].root);
	assert_int_equal(p.docs[4].line, 11);
	forget(&p);
}

static void nothing_is_kept_of_the_documents_before_an_error(void **state)
{
	static const char text[] = "a: 1\n---\nb: [1, {c: &x 2, <<: {d: 3}}]\n---\nc: {d: [1, *y]}\n";
	struct parsed p = parse(text, strlen(text));

	assert_int_equal(p.r, -EINVAL);
	assert_null(p.docs);
	assert_string_equal(err_text(&p.e), "5:12: this alias has no anchor");
}

/* ---- looking ---- */

static const char TEXT[] = "apiVersion: v1\n" /* 1 */
			   "data:\n" /* 2 */
			   "  tls.crt: one\n" /* 3 */
			   "  tls: {crt: two}\n" /* 4 */
			   "  a[0]: three\n" /* 5 */
			   "  '': four\n" /* 6 */
			   "spec:\n" /* 7 */
			   "  volumes:\n" /* 8 */
			   "  - name: x\n" /* 9 */
			   "  - name: y\n" /* 10 */
			   "    secret:\n" /* 11 */
			   "      secretName: db\n" /* 12 */
			   "      items: [{key: a}, {}]\n"; /* 13 */

static const struct {
	const char *path;
	size_t line, column;
} PATHS[] = {
	{ "", 1, 1 },
	{ "document", 1, 1 },
	{ "apiVersion", 1, 13 },
	{ "apiVersion.x", 1, 13 },
	{ "data", 3, 3 },
	{ "data.tls.crt", 3, 12 },
	{ "data[tls.crt]", 3, 12 },
	{ "data.tls", 4, 8 },
	{ "data[tls].crt", 4, 14 },
	{ "data[a[0]]", 5, 9 },
	{ "data[]", 6, 7 },
	{ "data.none", 3, 3 },
	{ "data[none]", 3, 3 },
	{ "spec.volumes", 9, 3 },
	{ "spec.volumes[0].name", 9, 11 },
	{ "spec.volumes[1].secret.secretName", 12, 19 },
	{ "spec.volumes[1].secret.items[1].key", 13, 25 },
	{ "spec.volumes[2]", 9, 3 },
	{ "spec.volumes[2].name", 9, 3 },
	{ "spec.volumes[-1]", 9, 3 },
	{ "spec.volumes[ 1]", 9, 3 },
	{ "spec.volumes[99999999999999999999]", 9, 3 },
	{ "spec.volumes.name", 9, 3 },
	{ "spec.volume", 8, 3 },
	{ "spec[0]", 8, 3 },
	{ "...volumes[1]", 1, 1 },
};

static void a_path_leads_to_its_line(void **state)
{
	struct parsed p = parse_good(TEXT);

	for (size_t i = 0; i < ARRAY_SIZE(PATHS); i++) {
		const struct yaml_node *n = yaml_find(p.docs[0].root, PATHS[i].path);

		assert_non_null(n);
		if (n->line != PATHS[i].line || n->column != PATHS[i].column)
			fail_msg("%s: at %zu:%zu", PATHS[i].path, n->line, n->column);
	}
	forget(&p);
}

static void get_finds_keys_of_mappings_only(void **state)
{
	struct parsed p = parse_good("a: b\nc: [a]\non: 1\n");
	const struct yaml_node *root = p.docs[0].root;

	assert_string_equal(yaml_get(root, "a")->scalar, "b");
	assert_non_null(yaml_get(root, "true"));
	assert_null(yaml_get(root, "on"));
	assert_null(yaml_get(root, "b"));
	assert_null(yaml_get(yaml_get(root, "c"), "a"));
	assert_null(yaml_get(yaml_get(root, "a"), "a"));
	assert_null(yaml_get(NULL, "a"));
	forget(&p);
}

/* Texts that were mutilated at random (always in the same way) are parsed or refused, and nothing else happens: the
 * sanitizers watch. */
static void mutilated_texts_do_no_harm(void **state)
{
	static const char bits[] = "[]{}:,-?&*!|>'\"%@`#\n \t\\<~0x\xff\0";
	uint32_t seed = 1;

	for (size_t i = 0; i < 20000; i++) {
		const char *from = i % 8 ? VALUES[i % ARRAY_SIZE(VALUES)].text : TEXT;
		size_t len = strlen(from);
		cleanup_free char *text = strdup(from);
		struct parsed p;

		for (size_t k = 0; k < 1 + i % 4; k++) {
			seed = seed * 1664525 + 1013904223;
			text[(seed >> 8) % len] = bits[(seed >> 24) % (sizeof(bits) - 1)];
		}
		p = parse(text, len);
		for (size_t k = 0; k < p.n_docs; k++) {
			cleanup_json json_t *doc = NULL;

			if (p.docs[k].root && yaml_to_json(p.docs[k].root, &doc, NULL) == 0)
				assert_non_null(yaml_find(p.docs[k].root, "data[tls.crt].a[1]"));
		}
		forget(&p);
	}
}

/* Python writes what is beyond U+FFFF like this. */
static void surrogate_pairs_of_json_are_read(void **state)
{
	static const struct {
		const char *text, *json; /* NULL: refused */
	} cases[] = {
		{ "{\"a\": \"\\ud83d\\ude00\"}", "{\"a\":\"\xf0\x9f\x98\x80\"}" },
		{ "[\"x\\uD800\\uDC00y\\udbff\\udfff\", \"\\u00e9\"]",
		  "[\"x\xf0\x90\x80\x80y\xf4\x8f\xbf\xbf\",\"\xc3\xa9\"]" },
		/* a backslash that is escaped begins nothing */
		{ "[\"\\\\ud83d\\\\ude00\", \"\\ud83d\\ude00\"]", "[\"\\\\ud83d\\\\ude00\",\"\xf0\x9f\x98\x80\"]" },
		{ "[\"\\ud83d\"]", NULL },
		{ "[\"\\ude00\\ud83d\"]", NULL },
		{ "[\"\\ud83dx\\ude00\"]", NULL },
		/* YAML that is no JSON: there it is another text */
		{ "[\"\\ud83d\\ude00\", '\\ud83d\\ude00']", NULL },
		{ "{\"a\": 1, \"a\": \"\\ud83d\\ude00\"}", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct parsed p = parse(cases[i].text, strlen(cases[i].text));

		assert_int_equal(p.r, cases[i].json ? 0 : -EINVAL);
		assert_int_equal(p.e.code, p.r);
		forget(&p);
		if (cases[i].json)
			assert_true(expect_json(cases[i].text, cases[i].json));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_what_kubernetes_reads),
		cmocka_unit_test(what_is_wrong_is_refused_with_its_place),
		cmocka_unit_test(surrogate_pairs_of_json_are_read),
		cmocka_unit_test(utf_16_is_refused),
		cmocka_unit_test(a_reason_never_shows_the_text),
		cmocka_unit_test(numbers_that_json_has_not_are_refused_there),
		cmocka_unit_test(depth_is_limited),
		cmocka_unit_test(depth_is_limited_through_aliases_too),
		cmocka_unit_test(laughs_are_limited),
		cmocka_unit_test(values_are_limited),
		cmocka_unit_test(text_is_limited_also_through_aliases),
		cmocka_unit_test(anchors_are_limited),
		cmocka_unit_test(many_keys_take_no_quadratic_time),
		cmocka_unit_test(an_empty_stream_has_no_documents),
		cmocka_unit_test(empty_documents_have_no_root),
		cmocka_unit_test(nothing_is_kept_of_the_documents_before_an_error),
		cmocka_unit_test(a_path_leads_to_its_line),
		cmocka_unit_test(get_finds_keys_of_mappings_only),
		cmocka_unit_test(mutilated_texts_do_no_harm),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
