/* JSON: what is refused and how it is said, and that the document never leaks into an error. */
#include "common/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/buf.h"
#include "test/lib/skip.h"
#include "test/lib/valgrind.h"

static json_t *parse(const char *text)
{
	struct err e = ERR_INIT;
	json_t *doc = NULL;

	if (json_parse(text, strlen(text), &doc, &e) < 0)
		fail_msg("%s: %s", text, err_text(&e));
	return doc;
}

static void refused_documents_name_place_and_reason_only(void **state)
{
	static const struct {
		const char *text, *error;
	} CASES[] = {
		{ "", "line 1 column 0: '[' or '{' expected" },
		{ "{\"a\": hunter2}", "line 1 column 12: invalid token" },
		{ "{\"a\":\n \"x\" \"hunter2\"}", "line 2 column 14: '}' expected" },
		{ "{\"a\": \"hunter2", "line 1 column 14: premature end of input" },
		{ "{\"a\": \"hunter\\u00zz2\"}", "line 1 column 18: invalid escape" },
		{ "{\"a\": \"hunter\\ud800\\u0041\"}", "line 1 column 26: invalid Unicode" },
		{ "{\"a\": \"hunter\\udc00\"}", "line 1 column 20: invalid Unicode" },
		{ "{\"a\": \"hunter\x01\"}", "line 1 column 13: control character" },
		{ "{\"a\": \"hunter\xff\"}", "line 1 column 13: unable to decode byte" },
		{ "{\"hunter2\": 1, \"hunter2\": 2}", "line 1 column 24: duplicate object key" },
		{ "{\"a\": 9223372036854775808}", "line 1 column 25: too big integer" },
		{ "{\"a\": -9223372036854775809}", "line 1 column 26: too big negative integer" },
		{ "{\"a\": 1e999}", "line 1 column 11: real number overflow" },
		{ "{} hunter2", "line 1 column 9: end of file expected" },
		{ "[1,]", "line 1 column 4: unexpected token" },
		{ "{\"a\":1,}", "line 1 column 8: string or '}' expected" },
		{ "{'hunter2': 1}", "line 1 column 2: string or '}' expected" },
		{ "{\"a\":01}", "line 1 column 6: invalid token" },
		{ "\"hunter2\"", "line 1 column 9: '[' or '{' expected" },
		{ "{\"a\" \"hunter2 near hunter2\"}", "line 1 column 27: ':' expected" },
		{ "{\"a\": \"hunter\n2\"}", "line 1 column 13: unexpected newline" },
		{ "{\"hunter\\u00002\": 1}", "line 1 column 16: NUL byte in object key not supported" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct err e = ERR_INIT;
		json_t *doc = NULL;

		assert_int_equal(json_parse(CASES[i].text, strlen(CASES[i].text), &doc, &e), -EINVAL);
		assert_null(doc);
		assert_null(strstr(err_text(&e), "hunter"));
		assert_string_equal(err_text(&e), CASES[i].error);
	}
}

static void nul_byte_outside_a_string_is_refused(void **state)
{
	struct err e = ERR_INIT;
	json_t *doc = NULL;

	assert_int_equal(json_parse("{}\0", 3, &doc, &e), -EINVAL);
	assert_int_equal(json_parse("{\"a\": \"x\0y\"}", 12, &doc, &e), -EINVAL);
	assert_null(doc);
}

static void nesting_is_bounded(void **state)
{
	for (size_t depth = 2000; depth <= 100000; depth *= 50) {
		cleanup_buf struct buf b = BUF_INIT(1 << 20);
		cleanup_json json_t *doc = NULL;
		struct err e = ERR_INIT;

		for (size_t i = 0; i < depth; i++)
			assert_int_equal(buf_add_str(&b, "["), 0);
		for (size_t i = 0; i < depth; i++)
			assert_int_equal(buf_add_str(&b, "]"), 0);
		assert_int_equal(json_parse(b.data, b.len, &doc, &e), depth > 2048 ? -EINVAL : 0);
	}
}

static void memory_is_bounded_however_short_the_text(void **state)
{
	static const char ELEMENT[] = "[],";
	const size_t n = JSON_MEMORY_MAX / 64, len = 3 * n + 4;
	cleanup_free char *text = NULL;
	cleanup_json json_t *doc = NULL;
	struct err e = ERR_INIT;

	if (under_valgrind())
		skip_because("valgrind takes minutes for so many blocks");
	text = malloc(len);
	assert_non_null(text);
	text[0] = '[';
	for (size_t i = 0; i < n; i++)
		memcpy(text + 1 + 3 * i, ELEMENT, 3);
	memcpy(text + 1 + 3 * n, "[]]", 3);
	assert_int_equal(json_parse(text, len, &doc, &e), -EFBIG);
	assert_null(doc);
	assert_string_equal(err_text(&e), "takes more than 256 MiB of memory");
	assert_int_equal(json_parse("[[]]", 4, &doc, &e), 0);
}

static void what_is_kept_elsewhere_is_a_part_of_the_bound(void **state)
{
	static const char TEXT[] = "[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]";
	cleanup_json json_t *doc = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(json_parse_beside(TEXT, strlen(TEXT), JSON_MEMORY_MAX - 1024, &doc, &e), -EFBIG);
	assert_string_equal(err_text(&e), "takes more than 256 MiB of memory");
	assert_int_equal(json_parse_beside(TEXT, strlen(TEXT), JSON_MEMORY_MAX, &doc, &e), -EFBIG);
	assert_int_equal(json_parse_beside(TEXT, strlen(TEXT), SIZE_MAX, &doc, &e), -EFBIG);
	assert_null(doc);
	assert_int_equal(json_parse_beside(TEXT, strlen(TEXT), JSON_MEMORY_MAX - 8192, &doc, &e), 0);
}

static void extreme_integers_are_exact(void **state)
{
	cleanup_json json_t *doc = parse("{\"a\": 9223372036854775807, \"b\": -9223372036854775808}");
	int64_t a = 0, b = 0;

	assert_int_equal(json_get_int(doc, "a", &JSON_ROOT, INT64_MIN, INT64_MAX, &a, NULL), 0);
	assert_int_equal(json_get_int(doc, "b", &JSON_ROOT, INT64_MIN, INT64_MAX, &b, NULL), 0);
	assert_true(a == INT64_MAX && b == INT64_MIN);
}

static void parse_takes_a_length_and_no_terminator(void **state)
{
	cleanup_json json_t *doc = NULL;

	assert_int_equal(json_parse("{}hunter2", 2, &doc, NULL), 0);
	assert_int_equal(json_parse(NULL, 0, &doc, NULL), -EINVAL);
}

static const char DOC[] =
	"{\"s\": \"text\", \"empty\": \"\", \"nul\": \"a\\u0000b\", \"n\": 7, \"real\": 7.0, \"t\": true,"
	" \"f\": false, \"o\": {\"k\": 1}, \"l\": [1], \"z\": null}";

static void getters_read_their_type(void **state)
{
	cleanup_json json_t *doc = parse(DOC);
	const char *s = NULL, *empty = NULL;
	const json_t *o = NULL, *l = NULL;
	bool t = false, f = true;
	int64_t n = 0;

	assert_int_equal(json_get_str(doc, "s", &JSON_ROOT, &s, NULL), 0);
	assert_int_equal(json_get_str_required(doc, "empty", &JSON_ROOT, &empty, NULL), 0);
	assert_int_equal(json_get_bool(doc, "t", &JSON_ROOT, &t, NULL), 0);
	assert_int_equal(json_get_bool(doc, "f", &JSON_ROOT, &f, NULL), 0);
	assert_int_equal(json_get_int(doc, "n", &JSON_ROOT, 7, 7, &n, NULL), 0);
	assert_int_equal(json_get_object(doc, "o", &JSON_ROOT, &o, NULL), 0);
	assert_int_equal(json_get_array(doc, "l", &JSON_ROOT, &l, NULL), 0);
	assert_string_equal(s, "text");
	assert_string_equal(empty, "");
	assert_true(t && !f);
	assert_int_equal(n, 7);
	assert_ptr_equal(o, json_object_get(doc, "o"));
	assert_ptr_equal(l, json_object_get(doc, "l"));
}

static void absent_and_null_leave_the_result_alone(void **state)
{
	static const char *const KEYS[] = { "z", "nothing" };
	cleanup_json json_t *doc = parse(DOC);

	for (size_t i = 0; i < ARRAY_SIZE(KEYS); i++) {
		const char *s = "before";
		const json_t *o = doc;
		int64_t n = 5;
		bool t = true;
		struct json_issue issue = { .path = "untouched" };

		assert_int_equal(json_get_str(doc, KEYS[i], &JSON_ROOT, &s, &issue), 0);
		assert_int_equal(json_get_bool(doc, KEYS[i], &JSON_ROOT, &t, &issue), 0);
		assert_int_equal(json_get_int(doc, KEYS[i], &JSON_ROOT, 0, 1, &n, &issue), 0);
		assert_int_equal(json_get_object(doc, KEYS[i], &JSON_ROOT, &o, &issue), 0);
		assert_int_equal(json_get_array(doc, KEYS[i], &JSON_ROOT, &o, &issue), 0);
		assert_string_equal(s, "before");
		assert_string_equal(issue.path, "untouched");
		assert_true(t && n == 5 && o == doc);

		assert_int_equal(json_get_str_required(doc, KEYS[i], &JSON_ROOT, &s, &issue), -EINVAL);
		assert_string_equal(issue.path, KEYS[i]);
		assert_string_equal(issue.reason, "is required");
	}
}

static void wrong_types_are_refused_with_path_and_types(void **state)
{
	cleanup_json json_t *doc = parse(DOC);
	const char *s = "before";
	const json_t *o = doc;
	int64_t n = 5;
	bool t = true;
	struct json_issue issue;

	assert_int_equal(json_get_str(doc, "n", &JSON_AT(&JSON_ROOT, "spec"), &s, &issue), -EINVAL);
	assert_string_equal(issue.path, "spec.n");
	assert_string_equal(issue.reason, "expected a string, found a number");
	assert_int_equal(json_get_str_required(doc, "o", &JSON_ROOT, &s, &issue), -EINVAL);
	assert_string_equal(issue.reason, "expected a string, found an object");
	assert_int_equal(json_get_bool(doc, "s", &JSON_ROOT, &t, &issue), -EINVAL);
	assert_string_equal(issue.reason, "expected a boolean, found a string");
	assert_int_equal(json_get_bool(doc, "n", &JSON_ROOT, &t, &issue), -EINVAL);
	assert_int_equal(json_get_int(doc, "real", &JSON_ROOT, 0, 10, &n, &issue), -EINVAL);
	assert_string_equal(issue.reason, "expected an integer, found a number with a fraction or exponent");
	assert_int_equal(json_get_int(doc, "t", &JSON_ROOT, 0, 10, &n, &issue), -EINVAL);
	assert_string_equal(issue.reason, "expected an integer, found a boolean");
	assert_int_equal(json_get_object(doc, "l", &JSON_ROOT, &o, &issue), -EINVAL);
	assert_string_equal(issue.reason, "expected an object, found an array");
	assert_int_equal(json_get_array(doc, "o", &JSON_ROOT, &o, &issue), -EINVAL);
	assert_string_equal(issue.reason, "expected an array, found an object");
	assert_int_equal(json_get_array(doc, "s", &JSON_ROOT, &o, NULL), -EINVAL);
	assert_true(str_eq(s, "before") && t && n == 5 && o == doc);
}

static void integers_out_of_range_are_refused(void **state)
{
	cleanup_json json_t *doc = parse(DOC);
	struct json_issue issue;
	int64_t n = 5;

	assert_int_equal(json_get_int(doc, "n", &JSON_ROOT, 8, 100, &n, &issue), -EINVAL);
	assert_string_equal(issue.reason, "must be between 8 and 100");
	assert_int_equal(json_get_int(doc, "n", &JSON_ROOT, -100, 6, &n, &issue), -EINVAL);
	assert_int_equal(n, 5);
}

static void string_with_nul_is_refused(void **state)
{
	cleanup_json json_t *doc = parse(DOC);
	struct json_issue issue;
	const char *s = NULL;

	assert_int_equal(json_get_str(doc, "nul", &JSON_ROOT, &s, &issue), -EINVAL);
	assert_string_equal(issue.path, "nul");
	assert_string_equal(issue.reason, "contains a NUL character");
	assert_null(s);
}

static void paths_read_like_kubernetes_field_paths(void **state)
{
	const struct json_at *root = &JSON_ROOT, *spec = &JSON_AT(root, "spec"), *volumes = &JSON_AT(spec, "volumes");
	const struct json_at *second = &JSON_AT_INDEX(volumes, 2), *data = &JSON_AT(root, "data");
	const struct {
		const struct json_at *at;
		const char *path;
	} CASES[] = {
		{ root, "document" },
		{ NULL, "document" },
		{ spec, "spec" },
		{ second, "spec.volumes[2]" },
		{ &JSON_AT(&JSON_AT(second, "secret"), "secretName"), "spec.volumes[2].secret.secretName" },
		{ &JSON_AT(data, "tls.crt"), "data[tls.crt]" },
		{ &JSON_AT(data, ""), "data[]" },
		{ &JSON_AT(data, "a\nb"), "data[a?b]" },
		{ &JSON_AT(&JSON_AT_INDEX(root, 0), "kind"), "[0].kind" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct json_issue issue;

		assert_int_equal(json_issue_set(&issue, CASES[i].at, "no %d", 1), -EINVAL);
		assert_string_equal(issue.path, CASES[i].path);
		assert_string_equal(issue.reason, "no 1");
	}
	assert_int_equal(json_issue_set(NULL, root, "no"), -EINVAL);
}

static void too_long_path_keeps_its_end(void **state)
{
	struct json_at chain[60] = { JSON_ROOT };
	struct json_issue issue;
	char key[300];

	for (size_t i = 1; i < ARRAY_SIZE(chain); i++)
		chain[i] = JSON_AT(&chain[i - 1], i % 2 ? "template" : "spec");
	json_issue_set(&issue, &chain[59], "x");
	assert_true(strlen(issue.path) < JSON_PATH_MAX && strlen(issue.path) > JSON_PATH_MAX / 2);
	assert_int_equal(strncmp(issue.path, "...", 3), 0);
	assert_string_equal(issue.path + strlen(issue.path) - 14, ".spec.template");

	memset(key, 'k', sizeof(key));
	key[sizeof(key) - 1] = '\0';
	json_issue_set(&issue, &JSON_AT(&JSON_ROOT, key), "%s", key);
	assert_int_equal(strncmp(issue.path, "...", 3), 0);
	assert_int_equal(strlen(issue.reason), sizeof(issue.reason) - 1);
}

static json_malloc_t real_malloc;
static json_free_t real_free;
static size_t n_until_failure;

static void *failing_malloc(size_t size)
{
	if (n_until_failure == 0)
		return real_malloc(PTRDIFF_MAX);
	n_until_failure--;
	return real_malloc(size);
}

/* Without this ASan ends the process at the allocation that cannot be. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1:max_allocation_size_mb=1024";
}

static void out_of_memory_is_said_at_whatever_allocation_it_happens(void **state)
{
	static const char TEXT[] = "{\"a\": {\"b\": [1, 2.5, true, null]}, \"c\": \"a string that is long enough\"}";
	int r = -ENOMEM;

	json_get_alloc_funcs(&real_malloc, &real_free);
	json_set_alloc_funcs(failing_malloc, real_free);
	for (size_t n = 0; r < 0; n++) {
		struct err e = ERR_INIT;
		json_t *doc = NULL;

		n_until_failure = n;
		r = json_parse(TEXT, strlen(TEXT), &doc, &e);
		if (r < 0) {
			assert_null(doc);
			if (r != -ENOMEM)
				fail_msg("allocation %zu: %s", n, err_text(&e));
		}
		json_decref(doc);
		assert_true(n < 1000);
	}
	json_set_alloc_funcs(real_malloc, real_free);
}

static void syntax_error_after_out_of_memory_is_a_syntax_error(void **state)
{
	struct err e = ERR_INIT;
	json_t *doc = NULL;

	json_get_alloc_funcs(&real_malloc, &real_free);
	json_set_alloc_funcs(failing_malloc, real_free);
	n_until_failure = 0;
	assert_int_equal(json_parse("[]", 2, &doc, &e), -ENOMEM);
	json_set_alloc_funcs(real_malloc, real_free);
	assert_int_equal(json_parse("[", 1, &doc, &e), -EINVAL);
}

static void jansson_frees_through_us(void **state)
{
	json_malloc_t m;
	json_free_t f;

	json_get_alloc_funcs(&m, &f);
	assert_ptr_not_equal(f, free);
	f(NULL);
	f(m(100));
}

static void text_that_is_no_utf8_becomes_a_string_all_the_same(void **state)
{
	static const char *const cases[][2] = {
		{ "", "" },
		{ "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "caf\xe9", "caf\xef\xbf\xbd" },
		{ "\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "cut \xe2\x82", "cut \xef\xbf\xbd\xef\xbf\xbd" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_json json_t *text = json_text(cases[i][0]);

		assert_string_equal(json_string_value(text), cases[i][1]);
	}
}

static void what_is_printed_is_printable(void **state)
{
	static const char *const cases[][2] = {
		{ "", "\"\"" },
		{ "plain ~", "\"plain ~\"" },
		{ "\"\\/", "\"\\\"\\\\/\"" },
		{ "a\nb\x1b[2J", "\"a\\nb\\u001B[2J\"" },
		{ "\x7f", "\"\\u007F\"" },
		{ "\x7f\x7f-\x7f", "\"\\u007F\\u007F-\\u007F\"" },
		{ "\xc2\x9b\xc3\xa9\xe2\x80\xaf", "\"\\u009B\\u00E9\\u202F\"" },
	};
	cleanup_json json_t *document = json_pack("{s:s, s:i}", "\x7f", "\x7f", "b", 1);
	cleanup_free char *whole = json_dump_printable(document);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_json json_t *text = json_string(cases[i][0]);
		cleanup_free char *printed = json_dump_printable(text);

		assert_string_equal(printed, cases[i][1]);
	}
	assert_string_equal(whole, "{\"\\u007F\":\"\\u007F\",\"b\":1}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_printed_is_printable),
		cmocka_unit_test(text_that_is_no_utf8_becomes_a_string_all_the_same),
		cmocka_unit_test(refused_documents_name_place_and_reason_only),
		cmocka_unit_test(nul_byte_outside_a_string_is_refused),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(memory_is_bounded_however_short_the_text),
		cmocka_unit_test(what_is_kept_elsewhere_is_a_part_of_the_bound),
		cmocka_unit_test(extreme_integers_are_exact),
		cmocka_unit_test(parse_takes_a_length_and_no_terminator),
		cmocka_unit_test(getters_read_their_type),
		cmocka_unit_test(absent_and_null_leave_the_result_alone),
		cmocka_unit_test(wrong_types_are_refused_with_path_and_types),
		cmocka_unit_test(integers_out_of_range_are_refused),
		cmocka_unit_test(string_with_nul_is_refused),
		cmocka_unit_test(paths_read_like_kubernetes_field_paths),
		cmocka_unit_test(too_long_path_keeps_its_end),
		cmocka_unit_test(out_of_memory_is_said_at_whatever_allocation_it_happens),
		cmocka_unit_test(syntax_error_after_out_of_memory_is_a_syntax_error),
		cmocka_unit_test(jansson_frees_through_us),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
