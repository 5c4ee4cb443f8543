/* The manual against --help and the example configuration: every command, option and field is in both, and nothing else
 * is. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/metrics.h"
#include "agent/reason.h"
#include "common/file.h"
#include "common/str.h"
#include "test/lib/program.h"

#define NAMES_MAX      64
#define NAME_MAX_BYTES 64
#define MANUAL_MAX     ((size_t)256 * 1024)

/* A set of names, in the order of their first mention. */
struct names {
	char names[NAMES_MAX][NAME_MAX_BYTES];
	size_t n;
};

static bool names_have(const struct names *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (str_eq(s->names[i], name))
			return true;
	return false;
}

static void names_add(struct names *s, const char *name, size_t len)
{
	char copy[NAME_MAX_BYTES];

	assert_true(len > 0 && len < sizeof(copy));
	snprintf(copy, sizeof(copy), "%.*s", (int)len, name);
	if (names_have(s, copy))
		return;
	assert_true(s->n < NAMES_MAX);
	memcpy(s->names[s->n++], copy, sizeof(copy));
}

static size_t word_len(const char *s)
{
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
}

/* The commands of `secretlet --help`: "  name   what it does". */
static void help_commands(struct names *ret)
{
	cleanup_program_result struct program_result r = program_run((const char *const[]){ "--help", NULL });
	const char *p = strstr(r.out, "Commands:\n");

	assert_int_equal(r.status, 0);
	assert_non_null(p);
	for (p += strlen("Commands:\n"); str_starts(p, "  "); p = strchr(p, '\n') + 1)
		names_add(ret, p + 2, word_len(p + 2));
	assert_true(ret->n >= 8);
}

/* The options of one command's help: "  -x, --name ARG   what it does". */
static void help_options(const char *command, struct names *ret_longs, struct names *ret_letters)
{
	cleanup_program_result struct program_result r = program_run((const char *const[]){ command, "--help", NULL });
	const char *p = strstr(r.out, "\nOptions:\n");

	assert_int_equal(r.status, 0);
	assert_non_null(p);
	for (p += strlen("\nOptions:\n"); str_starts(p, "  -"); p = strchr(p, '\n') + 1) {
		assert_true(str_starts(p + 4, ", --"));
		names_add(ret_letters, p + 3, 1);
		names_add(ret_longs, p + 8, word_len(p + 8));
	}
	assert_true(ret_longs->n >= 1);
}

static char *source(const char *name)
{
	const char *path = program_source(name);
	struct err e = ERR_INIT;
	char *text = NULL;
	size_t len;

	assert_non_null(path);
	if (file_read(-1, path, MANUAL_MAX, &text, &len, &e) < 0)
		fail_msg("%s", err_text(&e));
	return text;
}

/* The arguments of a macro: every "Fl -name" with what = "Fl -", all over the page. */
static void manual_names(const char *text, const char *what, struct names *ret)
{
	for (const char *p = text; (p = strstr(p, what)); p++) {
		const char *name = p + strlen(what);

		if (word_len(name) > 0 && strchr(" .\n", p[-1]))
			names_add(ret, name, word_len(name));
	}
}

static void assert_same(const struct names *help, const struct names *manual, const char *what)
{
	for (size_t i = 0; i < help->n; i++)
		if (!names_have(manual, help->names[i]))
			fail_msg("%s %s is in --help but not in the manual", what, help->names[i]);
	for (size_t i = 0; i < manual->n; i++)
		if (!names_have(help, manual->names[i]))
			fail_msg("%s %s is in the manual but not in --help", what, manual->names[i]);
}

static int needs_program(void **state)
{
	return program_path() ? 0 : -1;
}

static void commands_are_in_the_manual(void **state)
{
	cleanup_free char *text = source("man/secretlet.8");
	struct names help = { .n = 0 }, in_manual = { .n = 0 };

	help_commands(&help);
	manual_names(text, "Cm ", &in_manual);
	assert_same(&help, &in_manual, "command");
	for (size_t i = 0; i < help.n; i++) {
		cleanup_free char *section = str_format("\n.Ss secretlet %s\n", help.names[i]);

		if (!strstr(text, section))
			fail_msg("command %s has no section in the manual", help.names[i]);
	}
}

static void reasons_are_in_the_manual(void **state)
{
	cleanup_free char *text = source("man/secretlet.8");
	const char *list = strstr(text, "\n.Sh REASONS\n"), *end = list ? strstr(list, "\n.El\n") : NULL;
	size_t n = 0;

	assert_non_null(end);
	for (enum reason r = REASON_NONE + 1; r < REASONS_N; r++) {
		cleanup_free char *item = str_format("\n.It Li %s\n", reason_name(r));
		const char *at = strstr(list, item);

		if (!at || at > end)
			fail_msg("reason %s is not in the manual", reason_name(r));
	}
	for (const char *p = list; (p = strstr(p, "\n.It Li ")) && p < end; p++)
		n++;
	assert_int_equal(n, REASONS_N - 1);
}

static void options_are_in_the_manual(void **state)
{
	cleanup_free char *text = source("man/secretlet.8");
	struct names commands = { .n = 0 }, longs = { .n = 0 }, letters = { .n = 0 }, in_manual = { .n = 0 };

	help_commands(&commands);
	for (size_t i = 0; i < commands.n; i++)
		if (!str_eq(commands.names[i], "help"))
			help_options(commands.names[i], &longs, &letters);
	/* the one option that is a command */
	names_add(&longs, "version", strlen("version"));
	manual_names(text, "Fl -", &in_manual);
	assert_same(&longs, &in_manual, "option");

	in_manual.n = 0;
	manual_names(text, ".It Fl ", &in_manual);
	assert_same(&letters, &in_manual, "option");
}

/* Each command's synopses have the command's options, and no other ones. */
static void each_synopsis_has_the_options_of_its_command(void **state)
{
	cleanup_free char *text = source("man/secretlet.8"), *synopsis = NULL;
	struct names commands = { .n = 0 };
	const char *begin = strstr(text, "\n.Sh SYNOPSIS\n"), *end = strstr(text, "\n.Sh DESCRIPTION\n");

	assert_non_null(begin);
	assert_non_null(end);
	synopsis = strndup(begin, (size_t)(end - begin));
	assert_non_null(synopsis);
	help_commands(&commands);
	for (size_t i = 0; i < commands.n; i++) {
		struct names longs = { .n = 0 }, letters = { .n = 0 }, in_manual = { .n = 0 };
		cleanup_free char *start = str_format("\n.Cm %s\n", commands.names[i]);
		char *at = strstr(synopsis, start);

		if (!at)
			fail_msg("command %s has no synopsis", commands.names[i]);
		if (str_eq(commands.names[i], "help"))
			continue;
		for (; at; at = strstr(at + 1, start)) {
			cleanup_free char *part = strdup(at + 1);
			char *next = strstr(part, "\n.Nm\n");

			if (next)
				*next = '\0';
			manual_names(part, "Fl -", &in_manual);
		}
		names_add(&in_manual, "help", strlen("help"));
		help_options(commands.names[i], &longs, &letters);
		assert_same(&longs, &in_manual, commands.names[i]);
	}
}

/* "field: value" lines, those that are commented out ("#field: value") too. */
static void example_fields(const char *text, struct names *ret)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	for (const char *p = text; p; p = strchr(p, '\n')) {
		size_t len;

		p += *p == '\n';
		p += *p == '#';
		len = strspn(p, letters);
		if (len > 0 && p[len] == ':')
			names_add(ret, p, len);
	}
}

static void configuration_fields_are_in_the_manual(void **state)
{
	cleanup_free char *page = source("man/secretlet.yaml.5"), *example = source("examples/secretlet.yaml");
	struct names in_manual = { .n = 0 }, in_example = { .n = 0 };

	for (const char *p = page; (p = strstr(p, "\n.It Li ")); p++) {
		const char *name = p + strlen("\n.It Li ");

		names_add(&in_manual, name, strcspn(name, " \n"));
	}
	example_fields(example, &in_example);
	assert_true(in_manual.n >= 10);
	for (size_t i = 0; i < in_manual.n; i++)
		if (!names_have(&in_example, in_manual.names[i]))
			fail_msg("field %s is in the manual but not in the example", in_manual.names[i]);
	for (size_t i = 0; i < in_example.n; i++)
		if (!names_have(&in_manual, in_example.names[i]))
			fail_msg("field %s is in the example but not in the manual", in_example.names[i]);
}

/* What is described is made: the name stands as a string in the files that make records. The other direction is audit.sh's. */
static void members_of_audit_records_are_made(void **state)
{
	cleanup_free char *page = source("man/secretlet-audit.5"), *audit = source("agent/audit.c");
	cleanup_free char *proc = source("agent/audit_proc.c");
	struct names members = { .n = 0 };

	for (const char *p = page; (p = strstr(p, "\n.It Li ")); p++) {
		const char *name = p + strlen("\n.It Li ");

		/* ".It Li uid , euid , gid" */
		while (*name != '\n') {
			size_t len = strcspn(name, " ,\n");

			if (len > 0)
				names_add(&members, name, len);
			name += len + strspn(name + len, " ,");
		}
	}
	assert_true(members.n >= 20);
	for (size_t i = 0; i < members.n; i++) {
		cleanup_free char *quoted = str_format("\"%s\"", members.names[i]);

		if (!strstr(audit, quoted) && !strstr(proc, quoted))
			fail_msg("the manual has %s, but no record has", members.names[i]);
	}
}

/* ".It Li secretlet_pods Brq Li state": in the order of the table. */
static void metrics_are_in_the_manual(void **state)
{
	static const char item[] = "\n.It Li secretlet_";
	cleanup_free char *page = source("man/secretlet.8");
	const char *p = page;

	for (enum metric m = 0; m < METRICS_N; m++) {
		const char *name = metric_def(m)->name;

		p = strstr(p, item);
		if (!p)
			fail_msg("metric %s is not in the manual", name);
		p += strlen("\n.It Li ");
		if (strcspn(p, " \n") != strlen(name) || !str_starts(p, name))
			fail_msg("the manual has %.*s where %s should be", (int)strcspn(p, " \n"), p, name);
	}
	if (strstr(p, item))
		fail_msg("the manual has a metric that there is not: %.60s", strstr(p, item) + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(commands_are_in_the_manual, needs_program),
		cmocka_unit_test_setup(reasons_are_in_the_manual, needs_program),
		cmocka_unit_test_setup(options_are_in_the_manual, needs_program),
		cmocka_unit_test_setup(each_synopsis_has_the_options_of_its_command, needs_program),
		cmocka_unit_test(configuration_fields_are_in_the_manual),
		cmocka_unit_test(members_of_audit_records_are_made),
		cmocka_unit_test(metrics_are_in_the_manual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
