/* Options: what is accepted, what is refused and how it is named. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/options.h"

#define ALL	  ((OPTION_BIT(OPTIONS_N)) - 1)
#define WORDS_MAX 12

/* The words are copied: getopt_long() puts argv in order. */
static int parse(uint32_t allowed, const char *const *words, struct options *ret_o, struct err *e)
{
	static char *argv[WORDS_MAX + 2];
	int argc = 0;

	argv[argc++] = (char *)(uintptr_t) "command";
	for (size_t i = 0; i < WORDS_MAX && words[i]; i++)
		argv[argc++] = (char *)(uintptr_t)words[i];
	argv[argc] = NULL;
	return options_parse(allowed, argc, argv, ret_o, e);
}

static void nothing_given_means_the_defaults(void **state)
{
	static const char *const words[] = { NULL };
	struct options o;

	assert_int_equal(parse(ALL, words, &o, NULL), 0);
	assert_null(o.config);
	assert_null(o.kubeconfig);
	assert_null(o.manifests);
	assert_null(o.node_name);
	assert_null(o.pods_dir);
	assert_null(o.user);
	assert_string_equal(o.runtime_dir, "/run/secretlet");
	assert_false(o.has_runtime_dir);
	assert_false(o.has_log_level);
	assert_int_equal(o.output, OUTPUT_TABLE);
	assert_int_equal(o.timeout_usec, 30 * USEC_PER_SEC);
	assert_false(o.quiet);
	assert_false(o.help);
	assert_int_equal(o.n_args, 0);
}

static void long_options_are_read(void **state)
{
	static const char *const words[] = {
		"--config=/c", "--kubeconfig", "/k",	"--node-name",	  "n", "--pods-dir=/p", "--user",
		"u",	       "--log-level",  "debug", "--manifests=/m", NULL
	};
	struct options o;

	assert_int_equal(parse(ALL, words, &o, NULL), 0);
	assert_string_equal(o.config, "/c");
	assert_string_equal(o.kubeconfig, "/k");
	assert_string_equal(o.manifests, "/m");
	assert_string_equal(o.node_name, "n");
	assert_string_equal(o.pods_dir, "/p");
	assert_string_equal(o.user, "u");
	assert_true(o.has_log_level);
	assert_int_equal(o.log_level, LOG_LEVEL_DEBUG);
}

static void short_options_are_read(void **state)
{
	static const char *const words[] = { "-r/run/x", "-o", "json", "-qt", "1m30s", "-c", "=", NULL };
	struct options o;

	assert_int_equal(parse(ALL, words, &o, NULL), 0);
	assert_string_equal(o.runtime_dir, "/run/x");
	assert_true(o.has_runtime_dir);
	assert_int_equal(o.output, OUTPUT_JSON);
	assert_true(o.quiet);
	assert_int_equal(o.timeout_usec, 90 * USEC_PER_SEC);
	assert_string_equal(o.config, "=");
}

static void words_and_options_may_be_mixed(void **state)
{
	static const char *const words[] = { "a/b", "--output", "json", "c", "-q", "--", "-d", NULL };
	struct options o;

	assert_int_equal(parse(ALL, words, &o, NULL), 0);
	assert_int_equal(o.output, OUTPUT_JSON);
	assert_true(o.quiet);
	assert_int_equal(o.n_args, 3);
	assert_string_equal(o.args[0], "a/b");
	assert_string_equal(o.args[1], "c");
	assert_string_equal(o.args[2], "-d");
	assert_null(o.pods_dir);
}

static void the_last_of_an_option_counts(void **state)
{
	static const char *const words[] = { "-o", "json", "-o", "table", "-t", "1s", "--timeout", "0", NULL };
	struct options o;

	assert_int_equal(parse(ALL, words, &o, NULL), 0);
	assert_int_equal(o.output, OUTPUT_TABLE);
	assert_int_equal(o.timeout_usec, 0);
}

static void help_is_always_allowed(void **state)
{
	static const char *const lists[][2] = { { "--help" }, { "-h" } };
	struct options o;

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		assert_int_equal(parse(0, lists[i], &o, NULL), 0);
		assert_true(o.help);
	}
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *words[4];
		const char *sentence;
	} cases[] = {
		{ { "--nonsense" }, "unknown option --nonsense" },
		{ { "--nonsense=5" }, "unknown option --nonsense=5" },
		{ { "-Z" }, "unknown option -Z" },
		{ { "-qZ" }, "unknown option -Z" },
		{ { "-\033" }, "unknown option -?" },
		{ { "--\033[2J" }, "unknown option --?[2J" },
		{ { "--config" }, "option --config needs a value: FILE" },
		{ { "-q", "-c" }, "option --config needs a value: FILE" },
		{ { "--config=" }, "option --config needs a value: FILE" },
		{ { "--config", "" }, "option --config needs a value: FILE" },
		{ { "--runtime-dir", "" }, "option --runtime-dir needs a value: DIR" },
		{ { "--quiet=yes" }, "option --quiet takes no value" },
		{ { "--help=me" }, "option --help takes no value" },
		{ { "--conf", "x" }, "unknown option --conf; is --config meant?" },
		{ { "--conf=x" }, "unknown option --conf=x; is --config meant?" },
		{ { "--qui" }, "unknown option --qui; is --quiet meant?" },
		{ { "-o", "xml" }, "option --output: 'xml' is not table, wide, json or yaml" },
		{ { "-o", "JSON" }, "option --output: 'JSON' is not table, wide, json or yaml" },
		{ { "-o", "line" }, "option --output: 'line' is not table, wide, json or yaml" },
		{ { "--color", "red" }, "option --color: 'red' is not auto, always or never" },
		{ { "-t", "soon" }, "option --timeout: 'soon' is not a duration like 30s, at most 168h" },
		{ { "-t", "30" }, "option --timeout: '30' is not a duration like 30s, at most 168h" },
		{ { "-t", "-5s" }, "option --timeout: '-5s' is not a duration like 30s, at most 168h" },
		{ { "-t", "169h" }, "option --timeout: '169h' is not a duration like 30s, at most 168h" },
		{ { "-t", "999999999999999h" },
		  "option --timeout: '999999999999999h' is not a duration like 30s, at most 168h" },
		{ { "-l", "loud" }, "option --log-level: 'loud' is not error, warning, info or debug" },
		{ { "--log-level=INFO" }, "option --log-level: 'INFO' is not error, warning, info or debug" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = ERR_INIT;
		struct options o = { .config = "untouched" };

		if (parse(ALL, cases[i].words, &o, &e) != -EINVAL)
			fail_msg("%s: accepted", cases[i].words[0]);
		assert_string_equal(err_text(&e), cases[i].sentence);
		assert_string_equal(o.config, "untouched");
	}
}

static void options_of_other_commands_are_refused(void **state)
{
	static const struct {
		const char *words[3];
		const char *sentence;
	} cases[] = {
		{ { "--config", "x" }, "unknown option --config" },
		{ { "-c", "x" }, "unknown option -c" },
		{ { "--quiet" }, "unknown option --quiet" },
		{ { "-q" }, "unknown option -q" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e = ERR_INIT;
		struct options o;

		assert_int_equal(parse(OPTION_BIT(OPTION_OUTPUT), cases[i].words, &o, &e), -EINVAL);
		assert_string_equal(err_text(&e), cases[i].sentence);
	}
}

static void each_output_option_has_its_formats(void **state)
{
	static const struct {
		enum option_id id;
		enum options_output normal;
		const char *format; /* NULL: none is given */
		int output; /* -1: it is refused */
	} cases[] = {
		{ OPTION_OUTPUT, OUTPUT_TABLE, "yaml", OUTPUT_YAML },
		{ OPTION_OUTPUT, OUTPUT_TABLE, "wide", OUTPUT_WIDE },
		{ OPTION_OUTPUT, OUTPUT_TABLE, "null", -1 },
		{ OPTION_MOUNTS_OUTPUT, OUTPUT_JSON, "table", OUTPUT_TABLE },
		{ OPTION_MOUNTS_OUTPUT, OUTPUT_JSON, "line", -1 },
		{ OPTION_CHECK_OUTPUT, OUTPUT_LINE, "json", OUTPUT_JSON },
		{ OPTION_CHECK_OUTPUT, OUTPUT_LINE, "null", -1 },
		{ OPTION_ENV_OUTPUT, OUTPUT_LINE, "null", OUTPUT_NULL },
		{ OPTION_ENV_OUTPUT, OUTPUT_LINE, "yaml", OUTPUT_YAML },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *none[] = { NULL }, *words[] = { "-o", cases[i].format, NULL };
		struct options o;

		assert_int_equal(parse(OPTION_BIT(cases[i].id), none, &o, NULL), 0);
		assert_int_equal(o.output, cases[i].normal);
		if (cases[i].output < 0) {
			assert_int_equal(parse(OPTION_BIT(cases[i].id), words, &o, NULL), -EINVAL);
		} else {
			assert_int_equal(parse(OPTION_BIT(cases[i].id), words, &o, NULL), 0);
			assert_int_equal(o.output, cases[i].output);
		}
	}
}

static void help_lists_what_is_allowed(void **state)
{
	cleanup_free char *text = NULL;
	cleanup_file FILE *f = NULL;
	size_t len;

	f = open_memstream(&text, &len);
	assert_non_null(f);
	options_print(f, OPTION_BIT(OPTION_TIMEOUT));
	fflush(f);
	assert_non_null(strstr(text, "  -t, --timeout DURATION   how long"));
	assert_non_null(strstr(text, "  -h, --help               show"));
	assert_null(strstr(text, "--config"));
	fclose(TAKE_PTR(f));
	free(TAKE_PTR(text));
	f = open_memstream(&text, &len);
	assert_non_null(f);
	options_print(f, OPTION_BIT(OPTION_MOUNTS_OUTPUT));
	fflush(f);
	assert_non_null(strstr(text, "  -o, --output FORMAT      table, wide, json or yaml; default: json\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_given_means_the_defaults),
		cmocka_unit_test(long_options_are_read),
		cmocka_unit_test(short_options_are_read),
		cmocka_unit_test(words_and_options_may_be_mixed),
		cmocka_unit_test(the_last_of_an_option_counts),
		cmocka_unit_test(help_is_always_allowed),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(options_of_other_commands_are_refused),
		cmocka_unit_test(each_output_option_has_its_formats),
		cmocka_unit_test(help_lists_what_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
