/* YAML out of JSON: it reads back as the same, whatever the strings look like. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/yaml.h"
#include "agent/yaml_emit.h"
#include "common/buf.h"
#include "common/str.h"

static int add(const char *data, size_t len, void *userdata)
{
	return buf_add(userdata, data, len) < 0 ? -1 : 0;
}

static char *emitted(const json_t *json, bool marked)
{
	cleanup_buf struct buf b = BUF_INIT(1 << 20);

	assert_int_equal(yaml_emit(json, marked, add, &b), 0);
	return buf_take(&b);
}

static void assert_reads_back(const json_t *json)
{
	cleanup_free char *text = emitted(json, false);
	cleanup_json json_t *again = NULL;
	struct yaml_doc *docs = NULL;
	struct err e = ERR_INIT;
	size_t n = 0;

	if (yaml_parse(text, strlen(text), &docs, &n, &e) < 0)
		fail_msg("%s:\n%s", err_text(&e), text);
	assert_int_equal(n, 1);
	assert_int_equal(yaml_to_json(docs[0].root, &again, &e), 0);
	if (!json_equal(json, again))
		fail_msg("it reads back as something else:\n%s", text);
	yaml_docs_free(docs, n);
}

static void what_it_looks_like(void **state)
{
	cleanup_json json_t *json = json_pack("{s:[{s:s, s:i, s:b, s:n}, s], s:[], s:{}, s:f}", "pods", "name", "web",
					      "count", 3, "ready", 1, "updated", "a b", "none", "empty", "real", 1e20);
	cleanup_free char *text = emitted(json, false), *marked = emitted(json, true);

	assert_string_equal(text, "pods:\n"
				  "- name: web\n"
				  "  count: 3\n"
				  "  ready: true\n"
				  "  updated: null\n"
				  "- a b\n"
				  "none: []\n"
				  "empty: {}\n"
				  "real: 1.0e+20\n");
	assert_true(str_starts(marked, "---\npods:\n"));
}

static const char *const strings[] = {
	"",
	" ",
	"a",
	"true",
	"True",
	"TRUE",
	"false",
	"yes",
	"No",
	"on",
	"OFF",
	"y",
	"N",
	"null",
	"Null",
	"~",
	"0",
	"42",
	"-1",
	"+1",
	"1_000",
	"0x1f",
	"0o17",
	"017",
	"0b1",
	"1.5",
	".5",
	"1e3",
	"1.0e+20",
	".inf",
	"-.INF",
	".nan",
	"1:30",
	"190:20:30",
	"2026-11-26",
	"2026-11-26T11:00:00Z",
	"<<",
	"=",
	"a: b",
	"a:",
	":a",
	"a #b",
	"#a",
	"- a",
	"-",
	"--- a",
	"---",
	"...",
	"? a",
	"[a]",
	"{a: b}",
	"&a",
	"*a",
	"!a",
	"|",
	">",
	"%a",
	"@a",
	"`a",
	"'a'",
	"\"a\"",
	"it's",
	"a\\b",
	"a\nb",
	"a\n",
	"\na",
	"a\n\n  b\n",
	"a\tb",
	"\t",
	"a\r\nb",
	" a",
	"a ",
	"a\x7f",
	"\033[2J",
	"\xc2\x85",
	"\xc2\x9b",
	"\xe2\x80\xa8",
	"\xef\xbb\xbf"
	"a",
	"gr\xc3\xbc\xc3\x9f",
	"\xf0\x9f\x98\x80",
	"/var/lib/pods/x y",
	"secret \"t\" not found",
	"open /a: No such file or directory",
};

static void strings_stay_strings(void **state)
{
	cleanup_json json_t *all = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		cleanup_json json_t *one = json_pack("{s:s}", "key", strings[i]);

		assert_reads_back(one);
		json_array_append_new(all, json_string(strings[i]));
	}
	assert_reads_back(all);
}

static void keys_stay_keys(void **state)
{
	cleanup_json json_t *all = json_object();
	cleanup_free char *longer = calloc(1, 1001);

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		json_object_set_new(all, strings[i], json_string(strings[i]));
	assert_non_null(longer);
	memset(longer, 'k', 1000);
	json_object_set_new(all, longer, json_string(longer));
	assert_reads_back(all);
}

static void only_ascii_comes_out(void **state)
{
	cleanup_json json_t *all = json_array();
	cleanup_free char *text = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		json_array_append_new(all, json_string(strings[i]));
	text = emitted(all, false);
	for (const char *p = text; *p; p++)
		if (*p != '\n' && (*p < 0x20 || *p > 0x7e))
			fail_msg("byte %02x comes out", (unsigned char)*p);
}

static void other_values_stay_what_they_are(void **state)
{
	static const char *const texts[] = {
		"null",
		"true",
		"5",
		"-9223372036854775808",
		"\"x\"",
		"[]",
		"{}",
		"[[], [[1], 2]]",
		"{\"a\": {}}",
		"[0.5, -2.5, 1e300]",
		"[null, {\"a\": [null]}]",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		cleanup_json json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);

		assert_non_null(json);
		assert_reads_back(json);
	}
}

static void depth_is_no_matter(void **state)
{
	cleanup_json json_t *json = json_array();
	cleanup_free char *text = NULL;

	for (int i = 0; i < 1000; i++)
		json = json_pack("[o]", json);
	text = emitted(json, false);
	assert_non_null(strstr(text, "- - - -"));
}

static int refuse(const char *data, size_t len, void *userdata)
{
	return -1;
}

static void who_does_not_take_it_ends_it(void **state)
{
	cleanup_json json_t *json = json_pack("[s]", "a");

	assert_int_equal(yaml_emit(json, false, refuse, NULL), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_it_looks_like),
		cmocka_unit_test(strings_stay_strings),
		cmocka_unit_test(keys_stay_keys),
		cmocka_unit_test(only_ascii_comes_out),
		cmocka_unit_test(other_values_stay_what_they_are),
		cmocka_unit_test(depth_is_no_matter),
		cmocka_unit_test(who_does_not_take_it_ends_it),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
