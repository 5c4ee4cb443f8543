/* Command line: the table of subcommands, their help, and what they share. */

#include "agent/cli.h"

#include <ctype.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "agent/yaml_emit.h"
#include "common/str.h"

#define REQUEST_USEC (10 * USEC_PER_SEC)
#define RETRY_SEC    5

struct command {
	const char *name;
	int (*run)(const struct options *o, char *const *words);
	uint32_t options;
	size_t min_args, max_args;
	const char *usage; /* after the name */
	const char *help; /* one line; NULL: for the daemon's own use */
	const char *text; /* what else there is to say */
	const struct cli_conflict *conflicts;
};

#define OPTIONS_RUN                                                                                                    \
	(OPTION_BIT(OPTION_CONFIG) | OPTION_BIT(OPTION_KUBECONFIG) | OPTION_BIT(OPTION_MANIFESTS) |                    \
	 OPTION_BIT(OPTION_NODE_NAME) | OPTION_BIT(OPTION_PODS_DIR) | OPTION_BIT(OPTION_RUNTIME_DIR) |                 \
	 OPTION_BIT(OPTION_USER) | OPTION_BIT(OPTION_LOG_LEVEL))
#define OPTIONS_LIST   (OPTION_BIT(OPTION_RUNTIME_DIR) | OPTION_BIT(OPTION_OUTPUT) | OPTION_BIT(OPTION_COLOR))
#define OPTIONS_WATCH  (OPTIONS_LIST | OPTION_BIT(OPTION_WATCH))
#define OPTIONS_MOUNTS (OPTION_BIT(OPTION_RUNTIME_DIR) | OPTION_BIT(OPTION_MOUNTS_OUTPUT) | OPTION_BIT(OPTION_COLOR))
#define OPTIONS_ENV    (OPTION_BIT(OPTION_RUNTIME_DIR) | OPTION_BIT(OPTION_ENV_OUTPUT) | OPTION_BIT(OPTION_NULL))
#define OPTIONS_WAIT                                                                                                   \
	(OPTION_BIT(OPTION_RUNTIME_DIR) | OPTION_BIT(OPTION_OUTPUT) | OPTION_BIT(OPTION_TIMEOUT) |                     \
	 OPTION_BIT(OPTION_QUIET))

static const struct cli_conflict status_conflicts[] = {
	{ .option = OPTION_BIT(OPTION_READY), .refused = OPTION_BIT(OPTION_OUTPUT) | OPTION_BIT(OPTION_WATCH) },
	{ .refused = 0 },
};
static const struct cli_conflict cache_conflicts[] = {
	{ .word = "verify", .refused = OPTION_BIT(OPTION_OUTPUT) },
	{ .word = "wipe", .refused = OPTION_BIT(OPTION_OUTPUT) },
	{ .word = "keygen", .refused = OPTION_BIT(OPTION_OUTPUT) },
	{ .refused = 0 },
};

static const struct command commands[] = {
	{ "run", cli_run, OPTIONS_RUN, 0, 0, "[OPTION...]", "run the daemon, in the foreground",
	  "One of --kubeconfig and --manifests is needed, here or in the configuration; in a pod with\n"
	  "neither, its service account is used. What the command line says wins over the configuration." },
	{ "status", cli_status, OPTIONS_WATCH | OPTION_BIT(OPTION_READY), 0, 0, "[OPTION...]",
	  "show the daemon's health, source and counts",
	  "Exits 0 only if all is well; with --ready, if it serves. That is text, and printed once: --output and\n"
	  "--watch do not go with it.",
	  status_conflicts },
	{ "pods", cli_pods, OPTIONS_WATCH, 0, 1, "[OPTION...] [NAMESPACE/POD]", "list the pods of this node", NULL },
	{ "volumes", cli_volumes, OPTIONS_WATCH, 0, 1, "[OPTION...] [NAMESPACE/POD]",
	  "list the volumes: state, revision, last error", NULL },
	{ "top", cli_top, OPTION_BIT(OPTION_RUNTIME_DIR) | OPTION_BIT(OPTION_BATCH) | OPTION_BIT(OPTION_COLOR), 0, 0,
	  "[OPTION...]", "show, once a second, what the daemon is doing", "q ends it." },
	{ "explain", cli_explain, OPTIONS_LIST, 1, 2, "[OPTION...] NAMESPACE/POD [VOLUME]",
	  "say why a pod's volumes are there or not, and what to do",
	  "Exits 0 if all is well, 1 if something is wrong, 3 if no daemon answers." },
	{ "wait", cli_wait, OPTIONS_WAIT, 1, 1, "[OPTION...] NAMESPACE/POD",
	  "wait until every volume of a pod is ready",
	  "Exits 0 once they are; else 1, with the reasons on stderr. A pod or a daemon that is not\n"
	  "there yet is waited for, too." },
	{ "mounts", cli_mounts, OPTIONS_MOUNTS, 2, 2, "[OPTION...] NAMESPACE/POD CONTAINER",
	  "print a container's mounts for an OCI runtime, as JSON", NULL },
	{ "hook", cli_hook, OPTION_BIT(OPTION_RUNTIME_DIR) | OPTION_BIT(OPTION_TIMEOUT), 1, 1,
	  "[OPTION...] createRuntime|precreate", "be an OCI hook: give a container its volumes",
	  "A runtime starts it, with the container's state (createRuntime) or configuration (precreate) on\n"
	  "stdin. The annotations secretlet.dev/pod and secretlet.dev/container say whose volumes; without\n"
	  "them it does nothing. Under the Kubernetes CRI secretlet.dev/pod is self, and the CRI says which\n"
	  "pod and container it is. If it fails, the container is not started. See secretlet-runtimes(7)." },
	{ "env", cli_env, OPTIONS_ENV, 2, 2, "[OPTION...] NAMESPACE/POD CONTAINER",
	  "print a container's environment, values of Secrets included",
	  "As NAME=VALUE lines, as podman's --env-file reads them; only root may ask, and only where the\n"
	  "configuration has serveEnvironment: true." },
	{ "pull-config", cli_pull_config, OPTION_BIT(OPTION_RUNTIME_DIR), 1, 1, "[OPTION...] NAMESPACE/POD",
	  "print a pod's image pull credentials, as a docker configuration file",
	  "Only root may ask, and only where the configuration has serveEnvironment: true." },
	{ "secrets", cli_secrets, OPTIONS_WATCH | OPTION_BIT(OPTION_SELECTOR) | OPTION_BIT(OPTION_KIND), 0, 0,
	  "[OPTION...]", "list the Secrets (or ConfigMaps, tokens) that are held: never values",
	  "SELECTOR is a Kubernetes label selector: KEY, !KEY, KEY=VALUE, KEY!=VALUE, KEY in (A,B),\n"
	  "KEY notin (A,B), KEY>N, KEY<N, with commas in between." },
	{ "refresh", cli_refresh, OPTIONS_LIST | OPTION_BIT(OPTION_TIMEOUT), 1, 1, "[OPTION...] NAMESPACE/NAME",
	  "fetch a Secret now", "Exits 0 once the source has answered; else 1, with the reason on stderr." },
	{ "check", cli_check, OPTION_BIT(OPTION_CHECK_OUTPUT) | OPTION_BIT(OPTION_COLOR), 1, SIZE_MAX,
	  "[OPTION...] FILE...", "check manifests or a configuration, without a daemon",
	  "A folder means the files in it that the daemon would read, - stdin. All are taken together.\n"
	  "Exits 0 if there are no errors (warnings may be), else 1." },
	{ "keygen", cli_keygen, OPTION_BIT(OPTION_OUT), 0, 0, "[OPTION...]",
	  "make a key pair for sealed values: sealing.key and sealing.pub",
	  "sealing.key is for the node alone (sealedSecretsKeyFile), sealing.pub for secretlet seal." },
	{ "seal", cli_seal, OPTION_BIT(OPTION_PUBLIC_KEY), 0, 1, "--public-key FILE [FILE]",
	  "encrypt the values of a Secret manifest to a node's key",
	  "Reads the file, or stdin, and writes the sealed manifest to stdout." },
	{ "cache", cli_cache,
	  OPTION_BIT(OPTION_CONFIG) | OPTION_BIT(OPTION_NODE_NAME) | OPTION_BIT(OPTION_OUTPUT) |
		  OPTION_BIT(OPTION_COLOR),
	  1, 2, "[OPTION...] list|verify|wipe|keygen FILE",
	  "look at the offline cache, check it, remove it; make its key",
	  "list shows names, revisions and ages, never values. verify exits 0 if every record is good,\n"
	  "else 1, and names those that are not. wipe needs no key and no running daemon. --output is for\n"
	  "list alone.",
	  cache_conflicts },
	{ "version", cli_version, 0, 0, 0, "", "print the version", NULL },
	{ "internal-complete", cli_internal_complete, 0, 0, SIZE_MAX, "[--] WORD...", NULL, NULL },
	{ "internal-agent", cli_internal_agent, OPTIONS_RUN, 0, 0, "", NULL, NULL },
	{ "internal-publisher", cli_internal_publisher, 0, 0, 0, "", NULL, NULL },
	{ "internal-audit", cli_internal_audit, OPTIONS_RUN, 1, 1, "", NULL, NULL },
	{ "internal-cache", cli_internal_cache, 0, 3, 3, "", NULL, NULL },
	{ "internal-signaller", cli_internal_signaller, 0, 1, 1, "", NULL, NULL },
};

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (str_eq(commands[i].name, name))
			return &commands[i];
	return NULL;
}

struct cli_command_info cli_command_info(size_t i)
{
	for (size_t j = 0; j < ARRAY_SIZE(commands); j++)
		if (commands[j].help && i-- == 0)
			return (struct cli_command_info){ .name = commands[j].name,
							  .usage = commands[j].usage,
							  .help = commands[j].help,
							  .options = commands[j].options | OPTION_BIT(OPTION_HELP),
							  .conflicts = commands[j].conflicts };
	return (struct cli_command_info){ .name = NULL };
}

static void say(const char *fmt, ...) attr_printf(1, 2);
static void say(const char *fmt, ...)
{
	cleanup_free char *escaped = NULL;
	char text[ERR_TEXT_MAX + 128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	escaped = table_escape(text);
	fprintf(stderr, "secretlet: %s\n", escaped ?: "out of memory");
}

static void help_print(FILE *f)
{
	fputs("usage: secretlet COMMAND [OPTION...]\n\n"
	      "Kubernetes Secrets as files for the pods of this node.\n\n"
	      "Commands:\n",
	      f);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].help)
			fprintf(f, "  %-11s %s\n", commands[i].name, commands[i].help);
	fprintf(f, "  %-11s %s\n\n", "help", "show this help, or that of a command");
	fputs("`secretlet COMMAND --help` shows a command's options, secretlet(8) says it all.\n\n"
	      "Exit status: 0 if it worked; 1 if it failed, or is not healthy or not ready; 2 if the command line is\n"
	      "wrong; 3 if the daemon cannot be reached, or does not answer; 78 if the daemon's configuration is\n"
	      "wrong.\n",
	      f);
}

static void command_help_print(const struct command *c, FILE *f)
{
	fprintf(f, "usage: secretlet %s%s%s\n\n", c->name, *c->usage ? " " : "", c->usage);
	if (c->help)
		fprintf(f, "%c%s.\n", toupper(c->help[0]), c->help + 1);
	if (strstr(c->usage, "NAMESPACE/POD"))
		fputs("NAMESPACE/POD may also be a pod's UID.\n", f);
	if (c->text)
		fprintf(f, "%s\n", c->text);
	fputs("\nOptions:\n", f);
	options_print(f, c->options);
}

static int refuse_command(const char *word)
{
	say("unknown %s %s; see secretlet --help", word[0] == '-' ? "option" : "command", word);
	return CLI_USAGE;
}

static int help(int argc, char **argv)
{
	const struct command *c = NULL;

	if (argc > 1 && !str_eq(argv[1], "help") && !str_starts(argv[1], "-")) {
		c = command_find(argv[1]);
		if (!c || !c->help)
			return refuse_command(argv[1]);
	}
	if (c)
		command_help_print(c, stdout);
	else
		help_print(stdout);
	return CLI_OK;
}

static int refuse_usage(const struct command *c, const char *sentence)
{
	if (c->help)
		say("%s: %s; see secretlet %s --help", c->name, sentence, c->name);
	else
		say("%s: %s; see secretlet --help", c->name, sentence);
	return CLI_USAGE;
}

static int check_conflicts(const struct command *c, const struct options *o, struct err *e)
{
	for (const struct cli_conflict *conflict = c->conflicts; conflict && conflict->refused; conflict++) {
		const char *option = options_given(o, conflict->option), *refused = options_given(o, conflict->refused);

		if (refused && conflict->word && o->n_args > 0 && str_eq(o->args[0], conflict->word))
			return err_set(e, -EINVAL, "option --%s does not go with %s", refused, conflict->word);
		if (refused && option)
			return err_set(e, -EINVAL, "option --%s does not go with --%s", refused, option);
	}
	return 0;
}

static int command_run(const struct command *c, int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct options o;
	int r;

	r = options_parse(c->options, argc, argv, &o, &e);
	if (r < 0)
		return refuse_usage(c, err_text(&e));
	if (o.help) {
		command_help_print(c, stdout);
		return CLI_OK;
	}
	if (o.n_args > c->max_args) {
		err_set(&e, -EINVAL, "too many words: '%s'", o.args[c->max_args]);
		return refuse_usage(c, err_text(&e));
	}
	if (o.n_args < c->min_args) {
		err_set(&e, -EINVAL, "words are missing: secretlet %s %s", c->name, c->usage);
		return refuse_usage(c, err_text(&e));
	}
	if (check_conflicts(c, &o, &e) < 0)
		return refuse_usage(c, err_text(&e));
	table_set_colour(o.colour);
	return c->run(&o, argv + 1);
}

static int dispatch(int argc, char **argv)
{
	const struct command *c;

	if (argc < 2) {
		help_print(stderr);
		return CLI_USAGE;
	}
	if (str_eq(argv[1], "help") || str_eq(argv[1], "--help") || str_eq(argv[1], "-h"))
		return help(argc - 1, argv + 1);
	if (str_eq(argv[1], "--version") || str_eq(argv[1], "-V"))
		return cli_version(NULL, NULL);
	c = command_find(argv[1]);
	if (!c)
		return refuse_command(argv[1]);
	return command_run(c, argc - 1, argv + 1);
}

/* The unit does not start anew what cannot work (RestartPreventExitStatus=). With a unit that has failed the service manager
 * forgets what it has stored, and all mounts end; who has been handed that is started again, but not ten times a second. Nor
 * is who finds no kubeconfig, which may come later. */
static int pause_before_restart(int status)
{
	sigset_t none;

	if (status == CLI_LATER)
		say("tried again in %d seconds", RETRY_SEC);
	else if ((status == CLI_USAGE || status == CLI_CONFIG) && sd_listen_fds(0) > 0)
		say("what is mounted is kept meanwhile: tried again in %d seconds", RETRY_SEC);
	else
		return status;
	/* the loop, which has gone, has blocked what ends it */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	sleep(RETRY_SEC);
	return CLI_FAILED;
}

int cli_main(int argc, char **argv)
{
	int status = pause_before_restart(dispatch(argc, argv));

	if (fflush(stdout) < 0 || ferror(stdout)) {
		/* whoever has read enough wants no sentence */
		if (errno != EPIPE)
			say("write: %s", strerror(errno));
		return status == CLI_OK ? CLI_FAILED : status;
	}
	return status;
}

void cli_hide_memory(void)
{
	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
}

int cli_fail(enum cli_status status, const struct err *e)
{
	say("%s", err_text(e));
	return status;
}

int cli_fail_memory(void)
{
	say("out of memory");
	return CLI_FAILED;
}

int cli_request_status(int r)
{
	return r == -ENOTCONN || r == -EACCES || r == -ETIMEDOUT || r == -ECONNRESET ? CLI_UNREACHABLE : CLI_FAILED;
}

int cli_fail_reply(const struct client_reply *reply)
{
	const char *sentence = cli_str(reply->json, "error");

	if (*sentence)
		say("%s", sentence);
	else
		say("the daemon answered with HTTP status %u and no reason; its log may have one", reply->status);
	return CLI_FAILED;
}

int cli_get(const struct options *o, const char *path, struct client_reply *ret, struct err *e)
{
	return client_get(o->runtime_dir, path, REQUEST_USEC, ret, e);
}

bool cli_is_passing(int r, const struct client_reply *reply)
{
	if (r < 0)
		return r == -ENOTCONN || r == -ETIMEDOUT || r == -ECONNRESET;
	return reply->status == 503 || reply->status == 504;
}

int cli_fetch(const struct options *o, const char *path, json_t **ret_json)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	struct err e = ERR_INIT;
	int r;

	r = cli_get(o, path, &reply, &e);
	if (r < 0)
		return cli_fail(cli_request_status(r), &e);
	if (reply.status != 200)
		return cli_fail_reply(&reply);
	*ret_json = TAKE_PTR(reply.json);
	return CLI_OK;
}

int cli_pods_path(const struct options *o, char **ret_path)
{
	struct err e = ERR_INIT;
	int r;

	if (o->n_args == 0) {
		*ret_path = strdup("/v1/pods");
		return *ret_path ? CLI_OK : cli_fail_memory();
	}
	r = client_pod_path(o->args[0], "", ret_path, &e);
	if (r < 0)
		return cli_fail(r == -EINVAL ? CLI_USAGE : CLI_FAILED, &e);
	return CLI_OK;
}

/* Jansson leaves DEL as it is; everything else is ASCII or escaped by now. */
static int print_to_stdout(const char *data, size_t len, void *userdata)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] == 0x7f)
			fputs("\\u007f", stdout);
		else
			putchar(data[i]);
	return 0;
}

static int print_json(const json_t *json, size_t flags)
{
	if (json_dump_callback(json, print_to_stdout, NULL, flags | JSON_ENSURE_ASCII | JSON_ENCODE_ANY) < 0)
		return cli_fail_memory();
	putchar('\n');
	return CLI_OK;
}

int cli_print_json(const json_t *json)
{
	return print_json(json, JSON_INDENT(2));
}

int cli_print_json_line(const json_t *json)
{
	return print_json(json, JSON_COMPACT);
}

static int write_to_stdout(const char *data, size_t len, void *userdata)
{
	fwrite(data, 1, len, stdout); /* cli_main() asks whether it could be written */
	return 0;
}

bool cli_is_for_programs(const struct options *o)
{
	return o->output == OUTPUT_JSON || o->output == OUTPUT_YAML;
}

int cli_print(const struct options *o, const json_t *json)
{
	if (o->output != OUTPUT_YAML)
		return cli_print_json(json);
	return yaml_emit(json, false, write_to_stdout, NULL) < 0 ? cli_fail_memory() : CLI_OK;
}

int cli_table_new(size_t n_columns, const char *const *headers, struct table **ret_t)
{
	return table_new(n_columns, headers, ret_t) < 0 ? cli_fail_memory() : CLI_OK;
}

int cli_print_table(struct table *take_table)
{
	cleanup_table struct table *t = take_table;

	if (table_print(t, stdout, table_wants_colour(stdout)) < 0)
		return cli_fail_memory();
	return CLI_OK;
}

const char *cli_str(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key)) ?: "";
}

int64_t cli_int(const json_t *obj, const char *key)
{
	return json_integer_value(json_object_get(obj, key));
}

bool cli_bool(const json_t *obj, const char *key)
{
	return json_is_true(json_object_get(obj, key));
}

const char *cli_age(int64_t seconds, char text[static STR_AGE_MAX])
{
	/* a clock that was set back is no reason for a negative age */
	if (seconds <= 0)
		return memcpy(text, "0s", sizeof("0s"));
	return str_format_age((uint64_t)seconds * USEC_PER_SEC, text);
}

/* false: it is no time */
static bool parse_time(const char *rfc3339, time_t *ret)
{
	struct tm tm = { .tm_year = 0 };

	/* fractions of a second may follow */
	if (!strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm))
		return false;
	*ret = timegm(&tm);
	return true;
}

const char *cli_since(const char *rfc3339, char text[static STR_AGE_MAX])
{
	time_t at;

	return parse_time(rfc3339, &at) ? cli_age(time(NULL) - at, text) : memcpy(text, "-", sizeof("-"));
}

const char *cli_until(const char *rfc3339, char text[static STR_AGE_MAX])
{
	time_t at;

	return parse_time(rfc3339, &at) ? cli_age(at - time(NULL), text) : memcpy(text, "-", sizeof("-"));
}

enum table_style cli_volume_style(const char *state)
{
	if (str_eq(state, "ready"))
		return TABLE_GOOD;
	return str_eq(state, "failed") ? TABLE_BAD : TABLE_BUSY;
}
