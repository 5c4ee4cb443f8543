/* Options: one table of all command line options, of which each command takes a subset. getopt_long() does the parsing;
 * its own messages are off, because they would not name the command and its help. Abbreviations of long options, which it
 * accepts, are refused: a script that uses one would break when a later version adds an option. */

#include "agent/options.h"

#include <getopt.h>

#include "agent/secret.h"
#include "common/str.h"

static int set_text(struct options *o, size_t offset, const char *value);
static int set_runtime_dir(struct options *o, size_t offset, const char *value);
static int set_log_level(struct options *o, size_t offset, const char *value);
static int set_output(struct options *o, size_t offset, const char *value);
static int set_env_output(struct options *o, size_t offset, const char *value);
static int set_null(struct options *o, size_t offset, const char *value);
static int set_timeout(struct options *o, size_t offset, const char *value);
static int set_kind(struct options *o, size_t offset, const char *value);
static int set_flag(struct options *o, size_t offset, const char *value);

static const struct option_spec {
	const char *name;
	char letter;
	const char *arg; /* NULL: takes none */
	const char *help;
	int (*set)(struct options *o, size_t offset, const char *value);
	size_t offset;
	const char *expected; /* what a refused value should have been */
} specs[OPTIONS_N] = {
	[OPTION_CONFIG] = { "config", 'c', "FILE", "configuration; default: /etc/secretlet/secretlet.yaml if it exists",
			    set_text, offsetof(struct options, config) },
	[OPTION_KUBECONFIG] = { "kubeconfig", 'k', "FILE", "credentials and address of the API server", set_text,
				offsetof(struct options, kubeconfig) },
	[OPTION_MANIFESTS] = { "manifests", 'm', "DIR", "read Pods and Secrets from the YAML files of a folder instead",
			       set_text, offsetof(struct options, manifests) },
	[OPTION_NODE_NAME] = { "node-name", 'n', "NAME", "this node's name; default: the host's", set_text,
			       offsetof(struct options, node_name) },
	[OPTION_PODS_DIR] = { "pods-dir", 'd', "DIR", "where the volumes appear; default: /var/lib/pods", set_text,
			      offsetof(struct options, pods_dir) },
	[OPTION_RUNTIME_DIR] = { "runtime-dir", 'r', "DIR", "folder of the control socket; default: /run/secretlet",
				 set_runtime_dir },
	[OPTION_USER] = { "user", 'u', "NAME", "user that the agent process runs as; default: secretlet", set_text,
			  offsetof(struct options, user) },
	[OPTION_LOG_LEVEL] = { "log-level", 'l', "LEVEL", "error, warning, info or debug; default: info", set_log_level,
			       .expected = "error, warning, info or debug" },
	[OPTION_OUTPUT] = { "output", 'o', "FORMAT", "table or json", set_output, .expected = "table or json" },
	[OPTION_ENV_OUTPUT] = { "output", 'o', "FORMAT", "line, null or json; default: line", set_env_output,
				.expected = "line, null or json" },
	[OPTION_NULL] = { "null", '0', NULL, "the same as --output null: NUL behind each variable", set_null },
	[OPTION_TIMEOUT] = { "timeout", 't', "DURATION", "how long to wait, like 30s or 1m30s; default: 30s",
			     set_timeout, .expected = "a duration like 30s, at most 168h" },
	[OPTION_QUIET] = { "quiet", 'q', NULL, "print nothing, the exit status says it", set_flag,
			   offsetof(struct options, quiet) },
	[OPTION_SELECTOR] = { "selector", 'l', "SELECTOR", "only those with these labels, like app=web,tier!=db",
			      set_text, offsetof(struct options, selector) },
	[OPTION_KIND] = { "kind", 'k', "KIND", "secret, configMap, token or all; default: secret", set_kind,
			  .expected = "secret, configMap, token or all" },
	[OPTION_OUT] = { "out", 'w', "DIR", "where the files are written; default: the current folder", set_text,
			 offsetof(struct options, out) },
	[OPTION_PUBLIC_KEY] = { "public-key", 'p', "FILE", "the node's public key, sealing.pub", set_text,
				offsetof(struct options, public_key) },
	[OPTION_HELP] = { "help", 'h', NULL, "show this help", set_flag, offsetof(struct options, help) },
};

static int set_text(struct options *o, size_t offset, const char *value)
{
	*(const char **)((char *)o + offset) = value;
	return 0;
}

static int set_runtime_dir(struct options *o, size_t offset, const char *value)
{
	o->runtime_dir = value;
	o->has_runtime_dir = true;
	return 0;
}

static int set_log_level(struct options *o, size_t offset, const char *value)
{
	int r = log_level_parse(value, &o->log_level);

	if (r < 0)
		return r;
	o->has_log_level = true;
	return 0;
}

static int set_output(struct options *o, size_t offset, const char *value)
{
	if (!str_eq(value, "json") && !str_eq(value, "table"))
		return -EINVAL;
	o->output = str_eq(value, "json") ? OUTPUT_JSON : OUTPUT_TABLE;
	o->has_output = true;
	return 0;
}

static int set_env_output(struct options *o, size_t offset, const char *value)
{
	if (!str_eq(value, "line") && !str_eq(value, "null") && !str_eq(value, "json"))
		return -EINVAL;
	o->output = str_eq(value, "json") ? OUTPUT_JSON : str_eq(value, "null") ? OUTPUT_NULL : OUTPUT_LINE;
	o->has_output = true;
	return 0;
}

static int set_null(struct options *o, size_t offset, const char *value)
{
	return set_env_output(o, offset, "null");
}

static int set_timeout(struct options *o, size_t offset, const char *value)
{
	uint64_t usec;
	int r;

	r = str_parse_duration(value, &usec);
	if (r < 0)
		return r;
	if (usec > OPTIONS_WAIT_MAX_USEC)
		return -ERANGE;
	o->timeout_usec = usec;
	return 0;
}

static int set_kind(struct options *o, size_t offset, const char *value)
{
	unsigned kinds;

	o->kind = value;
	return object_kinds_parse(value, &kinds);
}

static int set_flag(struct options *o, size_t offset, const char *value)
{
	*(bool *)((char *)o + offset) = true;
	return 0;
}

/* What getopt_long() wants: ids from 256 on for the long forms, so that they cannot be letters. */
struct getopt_tables {
	struct option longs[OPTIONS_N + 1];
	char shorts[2 * OPTIONS_N + 2];
};

static void getopt_tables_fill(struct getopt_tables *t, uint32_t allowed)
{
	size_t n_longs = 0, n_shorts = 0;

	memset(t, 0, sizeof(*t));
	t->shorts[n_shorts++] = ':';
	for (size_t i = 0; i < OPTIONS_N; i++) {
		if (!(allowed & OPTION_BIT(i)))
			continue;
		t->longs[n_longs++] = (struct option){ .name = specs[i].name,
						       .has_arg = specs[i].arg ? required_argument : no_argument,
						       .val = 256 + (int)i };
		t->shorts[n_shorts++] = specs[i].letter;
		if (specs[i].arg)
			t->shorts[n_shorts++] = ':';
	}
}

/* The option that getopt_long() returned: a long one's id or a letter. NULL: none of the allowed ones. */
static const struct option_spec *spec_find(uint32_t allowed, int c)
{
	if (c >= 256 && c < 256 + OPTIONS_N)
		return &specs[c - 256];
	for (size_t i = 0; i < OPTIONS_N; i++)
		if ((allowed & OPTION_BIT(i)) && specs[i].letter == c)
			return &specs[i];
	return NULL;
}

/* The word is "--name" or "--name=value" with the whole name. */
static bool spelt_out(const struct option_spec *s, const char *word)
{
	size_t len = strlen(s->name);

	return strncmp(word + 2, s->name, len) == 0 && (word[2 + len] == '=' || word[2 + len] == '\0');
}

static int refuse_unknown(char **argv, struct err *e)
{
	if (optopt >= 256 && optopt < 256 + OPTIONS_N)
		return err_set(e, -EINVAL, "option --%s takes no value", specs[optopt - 256].name);
	if (optopt > 0 && optopt < 256)
		return err_set(e, -EINVAL, "unknown option -%c", optopt);
	return err_set(e, -EINVAL, "unknown option %s", argv[optind - 1]);
}

static int apply(const struct option_spec *s, struct options *o, const char *value, struct err *e)
{
	int r;

	if (s->arg && str_empty(value))
		return err_set(e, -EINVAL, "option --%s needs a value: %s", s->name, s->arg);
	r = s->set(o, s->offset, value);
	if (r < 0)
		return err_set(e, -EINVAL, "option --%s: '%s' is not %s", s->name, value, s->expected);
	return 0;
}

int options_parse(uint32_t allowed, int argc, char **argv, struct options *ret_o, struct err *e)
{
	struct options o = { .runtime_dir = OPTIONS_RUNTIME_DIR, .timeout_usec = OPTIONS_WAIT_USEC };
	const struct option_spec *s;
	struct getopt_tables t;
	int r;

	allowed |= OPTION_BIT(OPTION_HELP);
	getopt_tables_fill(&t, allowed);
	opterr = 0;
	optind = 0; /* glibc: begin anew */
	for (;;) {
		int c = getopt_long(argc, argv, t.shorts, t.longs, NULL);

		if (c == -1)
			break;
		if (c == '?')
			return refuse_unknown(argv, e);
		s = spec_find(allowed, c == ':' ? optopt : c);
		if (!s)
			return refuse_unknown(argv, e);
		if (c == ':')
			return err_set(e, -EINVAL, "option --%s needs a value: %s", s->name, s->arg);
		if (c >= 256) {
			/* the word before optind is the option, or its value in a word of its own */
			const char *word = argv[optind - 1];

			if (s->arg && optarg == word)
				word = argv[optind - 2];
			if (!spelt_out(s, word))
				return err_set(e, -EINVAL, "unknown option %s; is --%s meant?", word, s->name);
		}
		r = apply(s, &o, optarg, e);
		if (r < 0)
			return r;
	}
	o.args = argv + optind;
	o.n_args = (size_t)(argc - optind);
	*ret_o = o;
	return 0;
}

void options_print(FILE *f, uint32_t allowed)
{
	char left[40];

	allowed |= OPTION_BIT(OPTION_HELP);
	for (size_t i = 0; i < OPTIONS_N; i++) {
		if (!(allowed & OPTION_BIT(i)))
			continue;
		snprintf(left, sizeof(left), "-%c, --%s%s%s", specs[i].letter, specs[i].name, specs[i].arg ? " " : "",
			 specs[i].arg ?: "");
		fprintf(f, "  %-24s %s\n", left, specs[i].help);
	}
}
