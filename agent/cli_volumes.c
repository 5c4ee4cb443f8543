/* secretlet volumes: one line for each volume. */

#include "agent/cli.h"

#include "common/buf.h"
#include "common/str.h"

#define NAMES_MAX 65536 /* of text */

/* "db"; of a projected volume "secret:db,secret:tls" */
static void add_sources(struct table *t, const json_t *volume)
{
	bool projected = str_eq(cli_str(volume, "type"), "projected");
	cleanup_buf struct buf names = BUF_INIT(NAMES_MAX);
	const json_t *source;
	size_t i;

	json_array_foreach (json_object_get(volume, "sources"), i, source) {
		const char *type = projected ? cli_str(source, "type") : "", *name = cli_str(source, "name");

		if (buf_printf(&names, "%s%s%s%s", i ? "," : "", type, *type && *name ? ":" : "", name) < 0)
			break;
	}
	table_add(t, TABLE_PLAIN, names.data ? names.data : "");
}

static void add_volume(struct table *t, const json_t *pod, const json_t *volume)
{
	const char *state = cli_str(volume, "state"), *cached = cli_str(volume, "cached");
	const char *error = cli_str(volume, "error");
	char age[STR_AGE_MAX];

	table_addf(t, TABLE_PLAIN, "%s/%s", cli_str(pod, "namespace"), cli_str(pod, "name"));
	table_add(t, TABLE_PLAIN, cli_str(volume, "name"));
	table_add(t, TABLE_PLAIN, cli_str(volume, "type"));
	add_sources(t, volume);
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
	static const char *const headers[] = { "POD",	"VOLUME",   "TYPE",    "SOURCES",
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
