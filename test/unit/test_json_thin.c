/* Thin JSON: the document is the one that json_parse() makes, but for what nobody reads; and so is what is refused. */
#include "common/json_thin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sodium.h>

#include "common/buf.h"
#include "common/str.h"
#include "test/lib/skip.h"
#include "test/lib/valgrind.h"

/* 80 characters without an escape */
#define LONG "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3"

static const char FIELDS[] =
	"[{\"manager\":\"m\",\"fieldsV1\":{\"f:data\":{\".\":{},\"f:k]\\\"\":[1,{}]}}},{\"x\":\"\\\\\"}]";

static json_t *parse(int (*fn)(const char *, size_t, json_t **, struct err *), const char *text)
{
	struct err e = ERR_INIT;
	json_t *doc = NULL;

	if (fn(text, strlen(text), &doc, &e) < 0)
		fail_msg("%s: %s", text, err_text(&e));
	return doc;
}

static void a_document_is_the_one_that_json_parse_makes(void **state)
{
	static const char *const DOCS[] = {
		"{}",
		"[]",
		"{\"a\":\"short\"}",
		"{\"a\":\"" LONG "\"}",
		" {\t\"a\" :\n\"" LONG "\" , \"b\":\"" LONG "=\"\r}\n",
		"[\"" LONG "\",\"" LONG "1\",[[[\"" LONG "2\",[\"" LONG "3\"]]]]]",
		"{\"items\":[{\"data\":{\"k\":\"" LONG "\",\"l\":\"x\"}},{\"data\":{\"k\":\"" LONG "4\"}}]}",
		"{\"object\":{\"data\":{\"k\":\"" LONG "\"},\"type\":\"Opaque\"}}",
		/* a key may be as long */
		"{\"" LONG "\":\"" LONG "\",\"x\":{\"" LONG "\" : 1}}",
		/* escapes: of one letter, of one that is half of a character, at the ends, and many */
		"{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t" LONG "\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"b\":\"" LONG
		"\\\\\\\\\\\"" LONG "\\\\\"}",
		"{\"a\":\"" LONG "\\ud83d\\ude00\",\"b\":\"\\u0001" LONG "\"}",
		"{\"a\":\"" LONG "\\n\",\"b\":\"" LONG "\\u0041\",\"c\":\"\\\"" LONG "\",\"d\":\"" LONG "\\\\\"}",
		"{\"a\":\"" LONG "\xc3\xa4\",\"b\":\"\xe2\x82\xac" LONG "\",\"c\":\"" LONG "\x7f\"}",
		"{\"a\":\"" LONG "\\u0000\"}",
		/* what only looks like the end of a string, or of a list */
		"{\"a\":\"]}\\\",\",\"b\":[\"[{\",\"" LONG "\"],\"c\":\"" LONG ":\"}",
		/* managedFields that are something else */
		"{\"data\":{\"managedFields\":\"" LONG
		"\"},\"a\":{\"managedFields\":{\"b\":1}},\"b\":[\"managedFields\"]}",
		"{\"managedFields\":null,\"b\":\"managedFields\",\"" LONG "managedFields\":[1,2]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(DOCS); i++) {
		cleanup_json json_t *a = parse(json_parse, DOCS[i]), *b = parse(json_parse_thin, DOCS[i]);

		if (!json_equal(a, b))
			fail_msg("%s", DOCS[i]);
	}
}

static void managed_fields_are_empty(void **state)
{
	cleanup_free char *text = str_format("{\"metadata\":{\"name\":\"n\",\"managedFields\" : %s,\"uid\":\"u\"},"
					     "\"items\":[{\"managedFields\":%s,\"k\":\"" LONG "\"}]}",
					     FIELDS, FIELDS);
	cleanup_json json_t *doc = parse(json_parse_thin, text);
	cleanup_json json_t *want =
		parse(json_parse, "{\"metadata\":{\"name\":\"n\",\"managedFields\":[],\"uid\":\"u\"},"
				  "\"items\":[{\"managedFields\":[],\"k\":\"" LONG "\"}]}");

	assert_true(json_equal(doc, want));
}

/* A list of pods is large, and less than half of it is managedFields; jansson would take twenty times their text. */
static void managed_fields_of_a_large_list_are_empty_too(void **state)
{
	cleanup_buf struct buf text = BUF_INIT(8 << 20);
	cleanup_json json_t *doc = NULL;
	const json_t *items;

	assert_int_equal(buf_add_str(&text, "{\"items\":[{}"), 0);
	for (int i = 0; i < 20000; i++)
		assert_int_equal(buf_printf(&text,
					    ",{\"name\":\"n%d\",\"managedFields\":%s,\"spec\":{\"image\":"
					    "\"registry.example.com/team/app:v1.2\",\"other\":{}}}",
					    i, FIELDS),
				 0);
	assert_int_equal(buf_add_str(&text, "]}"), 0);
	assert_in_range(20000 * strlen(FIELDS), text.len * 2 / 5, text.len / 2);
	doc = parse(json_parse_thin, text.data);
	items = json_object_get(doc, "items");
	assert_int_equal(json_array_size(items), 20001);
	for (size_t i = 1; i < 20001; i++) {
		assert_int_equal(json_array_size(json_object_get(json_array_get(items, i), "managedFields")), 0);
		assert_non_null(json_object_get(json_array_get(items, i), "spec"));
	}
}

/* What is written once more is part of what a document may take (JSON_MEMORY_MAX). This one takes 224 MiB or some more, as it is. */
static void what_only_fits_as_it_came_is_parsed_as_it_came(void **state)
{
	const size_t n = 1 << 21, n_blanks = 40 << 20;
	cleanup_free char *text = NULL;
	cleanup_json json_t *doc = NULL;
	struct err e = ERR_INIT;
	size_t len;

	if (under_valgrind())
		skip_because("valgrind takes minutes for so many blocks");
	text = malloc(n * 3 + n_blanks + 64);
	assert_non_null(text);
	len = (size_t)snprintf(text, 64, "{\"managedFields\":[1],\"a\":[[]");
	for (size_t i = 1; i < n; i++, len += 3)
		memcpy(text + len, ",[]", 4);
	memset(text + len, ' ', n_blanks);
	len += n_blanks;
	text[len++] = ']';
	text[len++] = '}';
	if (json_parse_thin(text, len, &doc, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_int_equal(json_array_size(json_object_get(doc, "a")), n);
}

static void nobody_looks_into_managed_fields(void **state)
{
	cleanup_json json_t *doc = parse(json_parse_thin, "{\"managedFields\":[tru, {\"a\" 1}],\"b\":1}");
	cleanup_json json_t *want = parse(json_parse, "{\"managedFields\":[],\"b\":1}");

	assert_true(json_equal(doc, want));
}

static void what_is_refused_is_refused_in_the_same_words(void **state)
{
	static const char *const DOCS[] = {
		"",
		"\"" LONG "\"",
		"{\"a\":\"" LONG,
		"{\"a\":\"" LONG "\\",
		"{\"a\":\"" LONG "\\\"",
		"{\"a\":\"" LONG "\"",
		"{\"a\":\"" LONG "\"} x",
		"{\"a\":\"" LONG "\" \"" LONG "\"}",
		"{\"a\" \"" LONG "\"}",
		"{\"a\":\"" LONG "\",\"a\":\"" LONG "\"}",
		"{\"a\":\"" LONG "\",}",
		"{\"a\":\"" LONG "\x01\"}",
		"{\"a\":\"" LONG "\n\"}",
		"{\"a\":\"" LONG "\xff\"}",
		"{\"a\":\"" LONG "\\x\"}",
		"{\"a\":\"" LONG "\\u12\"}",
		"{\"a\":\"" LONG "\\ud83d\"}",
		"{\"a\":\"" LONG "\\N\"}",
		"{\"a\":\"" LONG "\",\n\"b\":tru}",
		"{\"managedFields\":[1,\"a\":\"" LONG "\"}",
		"{\"managedFields\":[\"a",
		"{\"managedFields\":[\"a\\",
		"{\"managedFields\":[],\"managedFields\":[1]}",
		"{\"managedFields\":[1]]}",
		"]}]",
	};

	for (size_t i = 0; i < ARRAY_SIZE(DOCS); i++) {
		struct err a = ERR_INIT, b = ERR_INIT;
		json_t *doc = NULL;

		assert_int_equal(json_parse(DOCS[i], strlen(DOCS[i]), &doc, &a), -EINVAL);
		assert_int_equal(json_parse_thin(DOCS[i], strlen(DOCS[i]), &doc, &b), -EINVAL);
		assert_null(doc);
		assert_string_equal(err_text(&a), err_text(&b));
	}
}

/* All lengths around those at which something else begins, each with a byte that is no plain one at each place. */
static void each_byte_of_a_string_counts(void **state)
{
	static const char ODD[] = { '\\', '\x1f', '\x7f', '\x80', ' ', '~' };

	for (size_t len = 60; len < 82; len++) {
		for (size_t at = 0; at < len * ARRAY_SIZE(ODD); at++) {
			char text[128] = "{\"a\":\"";
			struct err x = ERR_INIT, y = ERR_INIT;
			cleanup_json json_t *a = NULL, *b = NULL;
			int r;

			memset(text + 6, 'n', len);
			text[6 + at / ARRAY_SIZE(ODD)] = ODD[at % ARRAY_SIZE(ODD)];
			memcpy(text + 6 + len, "\"}", 3);
			r = json_parse(text, strlen(text), &a, &x);
			assert_int_equal(json_parse_thin(text, strlen(text), &b, &y), r);
			assert_string_equal(err_text(&x), err_text(&y));
			assert_true(r < 0 || json_equal(a, b));
		}
	}
}

static void many_strings_are_all_put_back(void **state)
{
	cleanup_buf struct buf text = BUF_INIT(1 << 20);
	cleanup_json json_t *a = NULL, *b = NULL;

	assert_int_equal(buf_add_str(&text, "{\"data\":{\"first\":\"\""), 0);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_printf(&text, ",\"key-%d\":\"" LONG "%d\"", i, i), 0);
	assert_int_equal(buf_add_str(&text, "}}"), 0);
	a = parse(json_parse, text.data);
	b = parse(json_parse_thin, text.data);
	assert_true(json_equal(a, b));
	assert_int_equal(json_object_size(json_object_get(b, "data")), 1001);
}

/* ---- what stands in ---- */

static unsigned char n_drawn;

static const char *counter_name(void)
{
	return "counter";
}

static uint32_t counter_random(void)
{
	return ++n_drawn;
}

static void counter_buf(void *buf, size_t size)
{
	memset(buf, ++n_drawn, size);
}

/* Who has seen what stood in for a string, as a fuzzer that watches comparisons has, writes it into the next document. */
static void what_stood_in_once_stands_in_for_nothing_later(void **state)
{
	static randombytes_implementation counter = { .implementation_name = counter_name,
						      .random = counter_random,
						      .buf = counter_buf };
	static const char DOC[] = "{\"a\":\"010101010101010100000000\",\"b\":\"" LONG "\"}";
	cleanup_json json_t *a = parse(json_parse, DOC), *b = NULL, *c = NULL;

	assert_int_equal(randombytes_set_implementation(&counter), 0);
	n_drawn = 0;
	b = parse(json_parse_thin, "{\"a\":\"" LONG "\"}");
	assert_int_equal(n_drawn, 1); /* so that DOC has it */
	c = parse(json_parse_thin, DOC);
	assert_int_equal(randombytes_set_implementation(&randombytes_sysrandom_implementation), 0);
	assert_true(json_equal(a, c));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_document_is_the_one_that_json_parse_makes),
		cmocka_unit_test(managed_fields_are_empty),
		cmocka_unit_test(managed_fields_of_a_large_list_are_empty_too),
		cmocka_unit_test(what_only_fits_as_it_came_is_parsed_as_it_came),
		cmocka_unit_test(nobody_looks_into_managed_fields),
		cmocka_unit_test(what_is_refused_is_refused_in_the_same_words),
		cmocka_unit_test(each_byte_of_a_string_counts),
		cmocka_unit_test(many_strings_are_all_put_back),
		cmocka_unit_test(what_stood_in_once_stands_in_for_nothing_later),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
