/* Urlpath: parts of good paths, and the refusal of all others. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/urlpath.h"

static void parts_are_split_and_decoded(void **state)
{
	static const struct {
		const char *path;
		const char *parts[URLPATH_PARTS_MAX + 1];
	} cases[] = {
		{ "/a", { "a" } },
		{ "/v1/pods/x", { "v1", "pods", "x" } },
		{ "/1/2/3/4/5/6/7", { "1", "2", "3", "4", "5", "6", "7" } },
		{ "/%61%62/c", { "ab", "c" } },
		{ "/a%2Fb/c", { "a/b", "c" } },
		{ "/a%2fb", { "a/b" } },
		{ "/..", { ".." } },
		{ "/%2e%2e/x", { "..", "x" } },
		{ "/%25", { "%" } },
		{ "/%2561", { "%61" } },
		{ "/%fF%01", { "\xff\x01" } },
		{ "/a+b", { "a+b" } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct urlpath p;
		size_t n = 0;

		if (urlpath_parse(cases[i].path, &p) < 0)
			fail_msg("%s: refused", cases[i].path);
		for (; cases[i].parts[n]; n++) {
			assert_true(n < p.n_parts);
			assert_string_equal(p.parts[n], cases[i].parts[n]);
		}
		assert_int_equal(p.n_parts, n);
	}
}

static void other_paths_are_refused(void **state)
{
	static const struct {
		const char *path;
		int r;
	} cases[] = {
		{ "", -ENOENT },
		{ "a", -ENOENT },
		{ "*", -ENOENT },
		{ "http://x/a", -ENOENT },
		{ "/", -ENOENT },
		{ "//", -ENOENT },
		{ "/a/", -ENOENT },
		{ "/a//b", -ENOENT },
		{ "//a", -ENOENT },
		{ "/1/2/3/4/5/6/7/8", -ENOENT },
		{ "/1/2/3/4/5/6/7/", -ENOENT },
		{ "/%", -EINVAL },
		{ "/%4", -EINVAL },
		{ "/%g0", -EINVAL },
		{ "/%0g", -EINVAL },
		{ "/% 1", -EINVAL },
		{ "/%/41", -EINVAL },
		{ "/%00", -EINVAL },
		{ "/a%00b", -EINVAL },
		{ "/a/b%", -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct urlpath p;

		if (urlpath_parse(cases[i].path, &p) != cases[i].r)
			fail_msg("'%s'", cases[i].path);
	}
}

static void the_length_has_a_limit(void **state)
{
	char path[URLPATH_MAX + 2];
	struct urlpath p;

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[URLPATH_MAX + 1] = '\0';
	assert_int_equal(urlpath_parse(path, &p), -ENOENT);
	path[URLPATH_MAX] = '\0';
	assert_int_equal(urlpath_parse(path, &p), 0);
	assert_int_equal(strlen(p.parts[0]), URLPATH_MAX - 1);
}

static void values_survive_their_encoding(void **state)
{
	static const char *const values[] = { "", "plain-._~09AZaz", "a=b,c in (d, e)", "100%+1",
					      "\xc3\xa4\x01\x7f/?#&" };

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		cleanup_free char *encoded = urlpath_encode(values[i]), *decoded = NULL;

		assert_non_null(encoded);
		assert_null(strpbrk(encoded, " =&+?#/(),"));
		assert_int_equal(urlpath_decode_value(encoded, &decoded), 0);
		assert_string_equal(decoded, values[i]);
	}
}

static void values_that_are_not_encoded_are_refused(void **state)
{
	static const char *const values[] = { "%", "%4", "%zz", "a%00b" };
	cleanup_free char *decoded = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		assert_int_equal(urlpath_decode_value(values[i], &decoded), -EINVAL);
	assert_null(decoded);
	assert_int_equal(urlpath_decode_value("a+b%2B", &decoded), 0);
	assert_string_equal(decoded, "a b+");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_are_split_and_decoded),
		cmocka_unit_test(other_paths_are_refused),
		cmocka_unit_test(the_length_has_a_limit),
		cmocka_unit_test(values_survive_their_encoding),
		cmocka_unit_test(values_that_are_not_encoded_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
