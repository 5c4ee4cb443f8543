/* secretlet volumes: one line for each secret volume. */

#include "agent/cli.h"

#include "common/str.h"

static void add_volume(struct table *t, const json_t *pod, const json_t *volume)
{
	const char *state = cli_str(volume, "state"), *cached = cli_str(volume, "cached");
	const char *error = cli_str(volume, "error");
	char age[STR_AGE_MAX];

	table_addf(t, TABLE_PLAIN, "%s/%s", cli_str(pod, "namespace"), cli_str(pod, "name"));
	table_add(t, TABLE_PLAIN, cli_str(volume, "name"));
	table_add(t, TABLE_PLAIN, cli_str(volume, "type"));
	table_add(t, TABLE_PLAIN, cli_str(volume, "secret"));
	table_add(t, cli_volume_style(state), state);
	table_add(t, TABLE_PLAIN, cli_str(volume, "resourceVersion"));
	table_add(t, TABLE_PLAIN, cli_since(cli_str(volume, "updated"), age));
	if (*cached)
		table_addf(t, TABLE_PLAIN, "from the offline cache, %s old%s%s", cli_since(cached, age),
			   *error ? "; " : "", error);
	else
		table_add(t, TABLE_PLAIN, error);
}

int cli_volumes(const struct options *o, char *const *words)
{
	static const char *const headers[] = { "POD",	"VOLUME",   "TYPE",    "SECRET",
					       "STATE", "REVISION", "UPDATED", "ERROR" };
	cleanup_json json_t *json = NULL, *pods = NULL;
	const json_t *pod, *volume;
	struct table *t;
	size_t i, j;
	int r;

	r = cli_fetch_pods(o, &json, &pods);
	if (r != CLI_OK)
		return r;
	if (o->output == OUTPUT_JSON)
		return cli_print_json(json);
	r = cli_table_new(ARRAY_SIZE(headers), headers, &t);
	if (r != CLI_OK)
		return r;
	json_array_foreach (pods, i, pod)
		json_array_foreach (json_object_get(pod, "volumes"), j, volume)
			add_volume(t, pod, volume);
	return cli_print_table(t);
}
