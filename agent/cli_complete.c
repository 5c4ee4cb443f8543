/* secretlet internal-complete: what could stand in the place of the last word, for the shells' completion. They all ask here
 * (deploy/completion), so that there is one answer, and it is that of the tables --help is made of: commands and options with
 * their values, the words that a usage line names, and live names from the daemon. One candidate a line, a tab, what it is.
 * ":files" and ":dirs" mean that the shell knows better.
 *
 * Somebody waits with a finger on a key: a daemon that does not answer at once, or not to everybody, has no names. */

#include "agent/cli.h"

#include "common/str.h"

#define REQUEST_USEC (500 * USEC_PER_MSEC)
#define WORD_MAX     ((size_t)256)

struct completion {
	const char *word; /* what is there of the last one */
	const char *prefix; /* stands before each candidate: "--output=" */
	size_t prefix_len;
	const char *runtime_dir;
	const char *args[2]; /* words before that are no options */
	size_t n_args;
};

static void offer_text(const struct completion *c, const char *text, size_t len, const char *help)
{
	size_t n = strlen(c->word);
	cleanup_free char *candidate = strndup(text, len), *escaped = candidate ? table_escape(candidate) : NULL;
	cleanup_free char *escaped_help = table_escape(help); /* it may be a Secret's type */

	if (escaped && escaped_help && strncmp(escaped, c->word, n) == 0)
		printf("%.*s%s\t%s\n", (int)c->prefix_len, c->prefix, escaped, escaped_help);
}

static void offer(const struct completion *c, const char *text, const char *help)
{
	offer_text(c, text, strlen(text), help);
}

/* ---- live names ---- */

static json_t *ask(const struct completion *c, const char *path)
{
	struct client_reply reply = { .status = 0 };

	if (client_get(c->runtime_dir, path, REQUEST_USEC, &reply, NULL) < 0)
		return NULL;
	if (reply.status != 200)
		client_reply_deinit(&reply);
	return reply.json;
}

static json_t *ask_for_pod(const struct completion *c)
{
	cleanup_free char *path = NULL;

	return c->n_args > 0 && client_pod_path(c->args[0], "", &path, NULL) == 0 ? ask(c, path) : NULL;
}

/* "default/web", of an array of objects */
static void offer_full_names(const struct completion *c, const json_t *array, const char *help_member)
{
	const json_t *one;
	size_t i;

	json_array_foreach (array, i, one) {
		cleanup_free char *name = str_format("%s/%s", cli_str(one, "namespace"), cli_str(one, "name"));

		if (name)
			offer(c, name, cli_str(one, help_member));
	}
}

static void offer_names(const struct completion *c, const json_t *array, const char *help_member)
{
	const json_t *one;
	size_t i;

	json_array_foreach (array, i, one)
		offer(c, cli_str(one, "name"), cli_str(one, help_member));
}

static void offer_pods(const struct completion *c)
{
	cleanup_json json_t *json = ask(c, "/v1/pods");

	offer_full_names(c, json_object_get(json, "pods"), "phase");
}

static void offer_secrets(const struct completion *c)
{
	cleanup_json json_t *json = ask(c, "/v1/secrets");

	offer_full_names(c, json_object_get(json, "secrets"), "type");
}

static void offer_containers(const struct completion *c)
{
	cleanup_json json_t *pod = ask_for_pod(c);

	offer_names(c, json_object_get(pod, "containers"), "kind");
}

static void offer_volumes(const struct completion *c)
{
	cleanup_json json_t *pod = ask_for_pod(c);

	offer_names(c, json_object_get(pod, "volumes"), "state");
}

static void offer_commands(const struct completion *c)
{
	struct cli_command_info command;

	for (size_t i = 0; (command = cli_command_info(i)).name; i++)
		offer(c, command.name, command.help);
}

static void offer_files(const struct completion *c)
{
	puts(":files");
}

static void offer_dirs(const struct completion *c)
{
	puts(":dirs");
}

/* What a word of a usage line, or the argument of an option, is. */
static const struct {
	const char *name;
	void (*offer)(const struct completion *c);
} kinds[] = {
	{ "NAMESPACE/POD", offer_pods }, { "NAMESPACE/NAME", offer_secrets }, { "CONTAINER", offer_containers },
	{ "VOLUME", offer_volumes },	 { "COMMAND", offer_commands },	      { "FILE", offer_files },
	{ "DIR", offer_dirs },
};

static bool offer_kind(const struct completion *c, const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strlen(kinds[i].name) != len || strncmp(kinds[i].name, name, len) != 0)
			continue;
		kinds[i].offer(c);
		return true;
	}
	return false;
}

/* ---- options ---- */

/* "table, wide or json": each of them. */
static void offer_listed(const struct completion *c, const char *list, const char *help)
{
	while (*list) {
		size_t len = strcspn(list, ", ");

		if (len > 0 && !(len == 2 && str_starts(list, "or")))
			offer_text(c, list, len, help);
		list += len;
		list += strspn(list, ", ");
	}
}

static void offer_value(const struct completion *c, const struct option_info *o)
{
	static const char *const listed[] = { "FORMAT", "LEVEL", "KIND", "WHEN" };

	if (offer_kind(c, o->arg, strlen(o->arg)))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(listed); i++)
		if (str_eq(o->arg, listed[i]))
			offer_listed(c, o->expected, "");
}

/* The option that the word is: "--output", "--output=...", "-o", "-ojson". *ret_value: what of it is its value; NULL: that is
 * the next word. */
static bool find_option(uint32_t allowed, const char *word, struct option_info *ret_o, const char **ret_value)
{
	size_t len = strcspn(word, "=");

	for (enum option_id id = 0; id < OPTIONS_N; id++) {
		struct option_info o = options_info(id);
		bool is_long =
			str_starts(word, "--") && strlen(o.name) == len - 2 && strncmp(word + 2, o.name, len - 2) == 0;
		bool is_short = word[0] == '-' && word[1] == o.letter;

		if (!(allowed & OPTION_BIT(id)) || (!is_long && !is_short))
			continue;
		*ret_o = o;
		if (is_long)
			*ret_value = word[len] ? word + len + 1 : NULL;
		else
			*ret_value = word[2] ? word + 2 : NULL;
		return true;
	}
	return false;
}

static void offer_options(const struct completion *c, uint32_t allowed)
{
	for (enum option_id id = 0; id < OPTIONS_N; id++) {
		struct option_info o = options_info(id);
		const char *help = o.help ?: o.expected;
		char text[WORD_MAX];

		if (!(allowed & OPTION_BIT(id)))
			continue;
		snprintf(text, sizeof(text), "--%s", o.name);
		offer(c, text, help);
		snprintf(text, sizeof(text), "-%c", o.letter);
		/* nobody looks for those among all */
		if (str_eq(c->word, text))
			offer(c, text, help);
	}
}

/* ---- words ---- */

static bool next_word(const char **at, const char **ret_word, size_t *ret_len)
{
	*ret_word = *at + strspn(*at, " ");
	*ret_len = strcspn(*ret_word, " ");
	*at = *ret_word + *ret_len;
	return *ret_len > 0;
}

/* "FILE", or "list|verify" */
static void offer_alternatives(const struct completion *c, const char *text, size_t len)
{
	if (offer_kind(c, text, len) || !memchr(text, '|', len))
		return;
	for (size_t part; len > 0; text += part, len -= part) {
		part = MIN(strcspn(text, "|"), len);
		offer_text(c, text, part, "");
		part += part < len;
	}
}

/* The n-th word that a usage line has behind its options: "NAMESPACE/POD", "[VOLUME]", "list|verify", "FILE..." */
static void offer_argument(const struct completion *c, const char *usage)
{
	const char *word;
	size_t n = 0, len;

	while (next_word(&usage, &word, &len)) {
		if (str_starts(word, "[OPTION"))
			continue;
		/* an option that must be there, and its value */
		if (*word == '-') {
			(void)next_word(&usage, &word, &len);
			continue;
		}
		if (n++ < c->n_args && !memmem(word, len, "...", 3))
			continue;
		word += *word == '[';
		offer_alternatives(c, word, strcspn(word, "]. "));
		return;
	}
}

/* What is there already leaves these of the options. */
static uint32_t options_left(const struct cli_command_info *command, const char *word)
{
	uint32_t left = command->options;
	struct option_info o;
	const char *value;

	for (const struct cli_conflict *conflict = command->conflicts; conflict && conflict->refused; conflict++)
		if (str_eq(conflict->word, word) || find_option(conflict->option, word, &o, &value))
			left &= ~conflict->refused;
	return left;
}

/* words: after the command's name, the last is the one that is completed. */
static void complete(struct completion *c, const struct cli_command_info *command, char *const *words, size_t n)
{
	uint32_t allowed = command->options;
	const char *value = NULL;
	struct option_info o;
	bool over = false;

	for (size_t i = 0; i + 1 < n; i++) {
		bool is_option = !over && words[i][0] == '-' && words[i][1];

		allowed &= options_left(command, words[i]);
		if (!is_option) {
			if (c->n_args < ARRAY_SIZE(c->args))
				c->args[c->n_args] = words[i];
			c->n_args++;
		} else if (str_eq(words[i], "--")) {
			over = true;
		} else if (find_option(allowed, words[i], &o, &value) && o.arg && !value) {
			if (i + 2 == n) {
				offer_value(c, &o);
				return;
			}
			value = words[++i];
		}
		if (is_option && value && o.arg && str_eq(o.name, "runtime-dir"))
			c->runtime_dir = value;
		value = NULL;
	}
	if (!over && find_option(allowed, c->word, &o, &value) && o.arg && value) {
		c->prefix = c->word;
		c->prefix_len = (size_t)(value - c->word);
		c->word = value;
		offer_value(c, &o);
	} else if (!over && c->word[0] == '-') {
		offer_options(c, allowed);
	} else {
		offer_argument(c, command->usage);
	}
}

int cli_internal_complete(const struct options *o, char *const *words)
{
	struct completion c = { .word = "", .prefix = "", .runtime_dir = OPTIONS_RUNTIME_DIR };
	struct cli_command_info command;
	size_t i = 0;

	if (o->n_args > 0)
		c.word = o->args[o->n_args - 1];
	if (o->n_args <= 1) {
		offer_commands(&c);
		offer(&c, "help", "show this help, or that of a command");
		return CLI_OK;
	}
	if (str_eq(o->args[0], "help")) {
		if (o->n_args == 2)
			offer_commands(&c);
		return CLI_OK;
	}
	while ((command = cli_command_info(i)).name && !str_eq(command.name, o->args[0]))
		i++;
	if (command.name)
		complete(&c, &command, o->args + 1, o->n_args - 1);
	return CLI_OK;
}
