/* secretlet env, secretlet pull-config: values of Secrets go from the daemon's answer to stdout, and nowhere else. They
 * are written at once and not through stdio, whose buffer would keep them. */

#include "agent/cli.h"

#include "agent/yaml_emit.h"
#include "common/buf.h"

#define ANSWER_USEC (20 * USEC_PER_SEC) /* more than the daemon takes for it: twice SOURCE_FETCH_USEC */
#define OUTPUT_MAX  ((size_t)64 * 1024 * 1024)

static int fetch(const struct options *o, const char *suffix, json_t **ret_json)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	cleanup_free char *path = NULL;
	struct err e = ERR_INIT;
	int r;

	r = client_pod_path(o->args[0], suffix, &path, &e);
	if (r < 0)
		return cli_fail(r == -EINVAL ? CLI_USAGE : CLI_FAILED, &e);
	r = client_get(o->runtime_dir, path, ANSWER_USEC, &reply, &e);
	if (r < 0)
		return cli_fail(cli_request_status(r), &e);
	if (reply.status != 200)
		return cli_fail_reply(&reply);
	*ret_json = TAKE_PTR(reply.json);
	return CLI_OK;
}

/* What the daemon has to say beside the answer. */
static void say_notes(const json_t *answer)
{
	const json_t *text;
	size_t i;

	json_array_foreach (json_object_get(answer, "notes"), i, text) {
		cleanup_free char *escaped = table_escape(json_string_value(text) ?: "");

		fprintf(stderr, "secretlet: %s\n", escaped ?: "out of memory");
	}
}

static int write_out(const struct buf *b)
{
	struct err e = ERR_INIT;

	for (size_t done = 0; done < b->len;) {
		ssize_t n = write(STDOUT_FILENO, b->data + done, b->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err_set(&e, -errno, "write: %m");
			return cli_fail(CLI_FAILED, &e);
		}
		done += (size_t)n;
	}
	return CLI_OK;
}

/* Jansson leaves DEL as it is; everything else is ASCII or escaped by now. */
static int add_json(const char *data, size_t len, void *userdata)
{
	for (size_t i = 0; i < len; i++)
		if ((data[i] == 0x7f ? buf_add_str(userdata, "\\u007f") : buf_add(userdata, &data[i], 1)) < 0)
			return -1;
	return 0;
}

static int add_yaml(const char *data, size_t len, void *userdata)
{
	return buf_add(userdata, data, len) < 0 ? -1 : 0;
}

static int write_json(const json_t *json)
{
	cleanup_buf struct buf b = BUF_INIT(OUTPUT_MAX);

	if (json_dump_callback(json, add_json, &b, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0 || buf_add_str(&b, "\n") < 0)
		return cli_fail_memory();
	return write_out(&b);
}

static int write_yaml(const json_t *json)
{
	cleanup_buf struct buf b = BUF_INIT(OUTPUT_MAX);

	return yaml_emit(json, false, add_yaml, &b) < 0 ? cli_fail_memory() : write_out(&b);
}

/* For people: what is long is cut, as in every table. */
static int write_table(const json_t *list)
{
	static const char *const headers[] = { "NAME", "VALUE" };
	cleanup_buf struct buf b = BUF_INIT(OUTPUT_MAX);
	cleanup_table struct table *t = NULL;
	const json_t *variable;
	size_t widths[2] = { 0 }, i;
	int r;

	r = cli_table_new(ARRAY_SIZE(headers), headers, &t);
	if (r != CLI_OK)
		return r;
	json_array_foreach (list, i, variable) {
		const char *text = json_string_value(variable) ?: "", *equals = strchrnul(text, '=');

		table_addf(t, TABLE_PLAIN, "%.*s", (int)(equals - text), text);
		table_add(t, TABLE_PLAIN, *equals ? equals + 1 : "");
	}
	for (i = 0; i < table_rows(t); i++)
		if (table_measure_row(t, i, widths) < 0)
			return cli_fail_memory();
	for (i = 0; i < table_rows(t); i++)
		if (buf_printf(&b, "%-*s  %s\n", (int)widths[0], table_text(t, i, 0), table_text(t, i, 1)) < 0)
			return cli_fail_memory();
	return write_out(&b);
}

/* What reads lines takes white space away at their ends, and a "#" at the beginning for a comment. */
static const char *line_problem(const char *text)
{
	size_t name_len = strcspn(text, "="), len = strlen(text);

	if (strpbrk(text, "\n"))
		return "its value has a line break";
	if (len > 0 && text[len - 1] == '\r')
		return "its value ends with a carriage return";
	for (size_t i = 0; i < name_len; i++)
		if (text[i] == ' ' || text[i] == '#')
			return "its name has white space or '#' in it";
	return NULL;
}

static int refuse_line(const char *text, const char *problem)
{
	struct err e = ERR_INIT;

	err_set(&e, -EINVAL, "variable %.*s: %s, which a line cannot show: use -o null or -o json",
		(int)MIN(strcspn(text, "="), (size_t)128), text, problem);
	return cli_fail(CLI_FAILED, &e);
}

static int write_list(const json_t *list, char end)
{
	cleanup_buf struct buf b = BUF_INIT(OUTPUT_MAX);
	const json_t *variable;
	size_t i;

	json_array_foreach (list, i, variable) {
		const char *text = json_string_value(variable) ?: "", *problem = end ? line_problem(text) : NULL;

		if (problem)
			return refuse_line(text, problem);
		if (buf_add_str(&b, text) < 0 || buf_add(&b, &end, 1) < 0)
			return cli_fail_memory();
	}
	return write_out(&b);
}

int cli_env(const struct options *o, char *const *words)
{
	cleanup_free char *suffix = NULL;
	cleanup_json json_t *answer = NULL;
	struct err e = ERR_INIT;
	const json_t *list;
	int r;

	cli_hide_memory();
	if (!str_is_dns_label(o->args[1])) {
		err_set(&e, -EINVAL, "'%s' cannot be a container's name", o->args[1]);
		return cli_fail(CLI_USAGE, &e);
	}
	if (str_printf(&suffix, "/containers/%s/env", o->args[1]) < 0)
		return cli_fail_memory();
	r = fetch(o, suffix, &answer);
	if (r != CLI_OK)
		return r;
	say_notes(answer);
	list = json_object_get(answer, "env");
	switch (o->output) {
	case OUTPUT_JSON:
		return write_json(list);
	case OUTPUT_YAML:
		return write_yaml(list);
	case OUTPUT_TABLE:
	case OUTPUT_WIDE:
		return write_table(list);
	default:
		return write_list(list, o->output == OUTPUT_NULL ? '\0' : '\n');
	}
}

int cli_pull_config(const struct options *o, char *const *words)
{
	cleanup_json json_t *answer = NULL;
	int r;

	cli_hide_memory();
	r = fetch(o, "/pull-config", &answer);
	if (r != CLI_OK)
		return r;
	say_notes(answer);
	return write_json(json_object_get(answer, "config"));
}
