/* secretlet mounts: what a runtime's config.json needs for one container. */

#include "agent/cli.h"

#include "common/str.h"

static int print_table(const json_t *mounts)
{
	static const char *const headers[] = { "DESTINATION", "SOURCE", "OPTIONS" };
	const json_t *mount, *option;
	struct table *t;
	size_t i, j;
	int r;

	r = cli_table_new(ARRAY_SIZE(headers), headers, &t);
	if (r != CLI_OK)
		return r;
	json_array_foreach (mounts, i, mount) {
		char options[128] = "";

		json_array_foreach (json_object_get(mount, "options"), j, option) {
			size_t len = strlen(options);

			snprintf(options + len, sizeof(options) - len, "%s%s", len ? "," : "",
				 json_string_value(option) ?: "");
		}
		table_add(t, TABLE_PLAIN, cli_str(mount, "destination"));
		table_add(t, TABLE_PLAIN, cli_str(mount, "source"));
		table_add(t, TABLE_PLAIN, options);
	}
	return cli_print_table(t);
}

int cli_mounts(const struct options *o, char *const *words)
{
	cleanup_free char *path = NULL, *suffix = NULL;
	cleanup_json json_t *mounts = NULL;
	struct err e = ERR_INIT;
	int r;

	if (!str_is_dns_label(o->args[1])) {
		err_set(&e, -EINVAL, "'%s' cannot be a container's name", o->args[1]);
		return cli_fail(CLI_USAGE, &e);
	}
	if (str_printf(&suffix, "/containers/%s/mounts", o->args[1]) < 0)
		return cli_fail_memory();
	r = client_pod_path(o->args[0], suffix, &path, &e);
	if (r < 0)
		return cli_fail(r == -EINVAL ? CLI_USAGE : CLI_FAILED, &e);
	r = cli_fetch(o, path, &mounts);
	if (r != CLI_OK)
		return r;
	if (o->has_output && o->output == OUTPUT_TABLE)
		return print_table(mounts);
	return cli_print_json(mounts);
}
