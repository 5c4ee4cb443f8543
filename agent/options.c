/* Options: one table of all command line options, of which each command takes a subset. getopt_long() does the parsing;
 * its own messages are off, because they would not name the command and its help. Abbreviations of long options, which it
 * accepts, are refused: a script that uses one would break when a later version adds an option. */

#include "agent/options.h"

#include <getopt.h>

#include "agent/config_path.h"
#include "agent/secret.h"
#include "common/str.h"

#define FORMATS_TEXT_MAX 64

struct option_spec;
typedef int (*option_set)(const struct option_spec *s, struct options *o, const char *value);
static int set_text(const struct option_spec *s, struct options *o, const char *value);
static int set_runtime_dir(const struct option_spec *s, struct options *o, const char *value);
static int set_log_level(const struct option_spec *s, struct options *o, const char *value);
static int set_output(const struct option_spec *s, struct options *o, const char *value);
static int set_null(const struct option_spec *s, struct options *o, const char *value);
static int set_colour(const struct option_spec *s, struct options *o, const char *value);
static int set_timeout(const struct option_spec *s, struct options *o, const char *value);
static int set_kind(const struct option_spec *s, struct options *o, const char *value);
static int set_flag(const struct option_spec *s, struct options *o, const char *value);

#define FORMAT(output)	(1U << (output))
#define FORMATS_LISTING (FORMAT(OUTPUT_TABLE) | FORMAT(OUTPUT_WIDE) | FORMAT(OUTPUT_JSON) | FORMAT(OUTPUT_YAML))

/* In the order in which help and refusals name them. */
static const struct {
	const char *name;
	enum options_output output;
} formats[] = {
	{ "line", OUTPUT_LINE }, { "null", OUTPUT_NULL }, { "table", OUTPUT_TABLE },
	{ "wide", OUTPUT_WIDE }, { "json", OUTPUT_JSON }, { "yaml", OUTPUT_YAML },
};

static const struct option_spec {
	const char *name;
	char letter;
	const char *arg; /* NULL: takes none */
	const char *help;
	option_set set;
	size_t offset;
	const char *expected; /* what a refused value should have been */
	unsigned formats; /* else these, of which one is the default */
	enum options_output output;
} specs[OPTIONS_N] = {
	[OPTION_CONFIG] = { "config", 'c', "FILE", "configuration; default: " CONFIG_DEFAULT_PATH " if it exists",
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
	[OPTION_OUTPUT] = { "output", 'o', "FORMAT", NULL, set_output, .formats = FORMATS_LISTING },
	[OPTION_MOUNTS_OUTPUT] = { "output", 'o', "FORMAT", NULL, set_output, .formats = FORMATS_LISTING,
				   .output = OUTPUT_JSON },
	[OPTION_CHECK_OUTPUT] = { "output", 'o', "FORMAT", NULL, set_output,
				  .formats = FORMATS_LISTING | FORMAT(OUTPUT_LINE), .output = OUTPUT_LINE },
	[OPTION_ENV_OUTPUT] = { "output", 'o', "FORMAT", NULL, set_output,
				.formats = FORMATS_LISTING | FORMAT(OUTPUT_LINE) | FORMAT(OUTPUT_NULL),
				.output = OUTPUT_LINE },
	[OPTION_COLOR] = { "color", 'C', "WHEN", "auto, always or never; default: auto, on a terminal", set_colour,
			   .expected = "auto, always or never" },
	[OPTION_WATCH] = { "watch", 'w', NULL, "stay, and show what changes", set_flag,
			   offsetof(struct options, watch) },
	[OPTION_READY] = { "ready", 'R', NULL, "show whether it serves, as /readyz does: volumes may wait", set_flag,
			   offsetof(struct options, ready) },
	[OPTION_NULL] = { "null", '0', NULL, "the same as --output null: NUL behind each variable", set_null },
	[OPTION_BATCH] = { "batch", 'b', NULL, "print it once, as text, as where stdout is no terminal", set_flag,
			   offsetof(struct options, batch) },
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

static int set_text(const struct option_spec *s, struct options *o, const char *value)
{
	*(const char **)((char *)o + s->offset) = value;
	return 0;
}

static int set_runtime_dir(const struct option_spec *s, struct options *o, const char *value)
{
	o->runtime_dir = value;
	o->has_runtime_dir = true;
	return 0;
}

static int set_log_level(const struct option_spec *s, struct options *o, const char *value)
{
	int r = log_level_parse(value, &o->log_level);

	if (r < 0)
		return r;
	o->has_log_level = true;
	return 0;
}

static int set_output(const struct option_spec *s, struct options *o, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if ((s->formats & FORMAT(formats[i].output)) && str_eq(value, formats[i].name)) {
			o->output = formats[i].output;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_null(const struct option_spec *s, struct options *o, const char *value)
{
	o->output = OUTPUT_NULL;
	return 0;
}

static int set_colour(const struct option_spec *s, struct options *o, const char *value)
{
	return table_colour_parse(value, &o->colour);
}

static int set_timeout(const struct option_spec *s, struct options *o, const char *value)
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

static int set_kind(const struct option_spec *s, struct options *o, const char *value)
{
	unsigned kinds;

	o->kind = value;
	return object_kinds_parse(value, &kinds);
}

static int set_flag(const struct option_spec *s, struct options *o, const char *value)
{
	*(bool *)((char *)o + s->offset) = true;
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

/* "table, wide, json or yaml" */
static const char *format_names(const struct option_spec *s, char text[static FORMATS_TEXT_MAX])
{
	size_t len = 0, n_left = (size_t)__builtin_popcount(s->formats);

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (!(s->formats & FORMAT(formats[i].output)))
			continue;
		n_left--;
		len += (size_t)snprintf(text + len, FORMATS_TEXT_MAX - len, "%s%s", formats[i].name,
					n_left > 1    ? ", "
					: n_left == 1 ? " or "
						      : "");
	}
	return text;
}

static const char *format_name(enum options_output output)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (formats[i].output == output)
			return formats[i].name;
	return "";
}

static int apply(const struct option_spec *s, struct options *o, const char *value, struct err *e)
{
	char names[FORMATS_TEXT_MAX];
	int r;

	if (s->arg && str_empty(value))
		return err_set(e, -EINVAL, "option --%s needs a value: %s", s->name, s->arg);
	r = s->set(s, o, value);
	if (r < 0)
		return err_set(e, -EINVAL, "option --%s: '%s' is not %s", s->name, value,
			       s->expected ?: format_names(s, names));
	return 0;
}

int options_parse(uint32_t allowed, int argc, char **argv, struct options *ret_o, struct err *e)
{
	struct options o = { .runtime_dir = OPTIONS_RUNTIME_DIR, .timeout_usec = OPTIONS_WAIT_USEC };
	const struct option_spec *s;
	struct getopt_tables t;
	int r;

	allowed |= OPTION_BIT(OPTION_HELP);
	for (size_t i = OPTIONS_N; i-- > 0;)
		if ((allowed & OPTION_BIT(i)) && specs[i].formats)
			o.output = specs[i].output;
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
		o.given |= OPTION_BIT(s - specs);
	}
	o.args = argv + optind;
	o.n_args = (size_t)(argc - optind);
	*ret_o = o;
	return 0;
}

const char *options_given(const struct options *o, uint32_t ids)
{
	for (size_t i = 0; i < OPTIONS_N; i++)
		if (o->given & ids & OPTION_BIT(i))
			return specs[i].name;
	return NULL;
}

void options_print(FILE *f, uint32_t allowed)
{
	char left[40], names[FORMATS_TEXT_MAX];

	allowed |= OPTION_BIT(OPTION_HELP);
	for (size_t i = 0; i < OPTIONS_N; i++) {
		if (!(allowed & OPTION_BIT(i)))
			continue;
		snprintf(left, sizeof(left), "-%c, --%s%s%s", specs[i].letter, specs[i].name, specs[i].arg ? " " : "",
			 specs[i].arg ?: "");
		if (specs[i].formats)
			fprintf(f, "  %-24s %s; default: %s\n", left, format_names(&specs[i], names),
				format_name(specs[i].output));
		else
			fprintf(f, "  %-24s %s\n", left, specs[i].help);
	}
}

struct option_info options_info(enum option_id id)
{
	const struct option_spec *s = &specs[id];
	struct option_info info = { .name = s->name, .letter = s->letter, .arg = s->arg, .help = s->help };

	static_assert(FORMATS_TEXT_MAX <= sizeof(info.expected));
	if (s->formats)
		format_names(s, info.expected);
	else
		snprintf(info.expected, sizeof(info.expected), "%s", s->expected ?: "");
	return info;
}
