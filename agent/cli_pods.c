/* secretlet pods: one line for each pod. */

#include "agent/cli.h"

#include "common/str.h"

static void add_pod(struct table *t, const json_t *pod)
{
	const json_t *volumes = json_object_get(pod, "volumes");
	size_t n = json_array_size(volumes), n_ready = 0;
	bool ready = cli_bool(pod, "ready");
	char age[STR_AGE_MAX];

	for (size_t i = 0; i < n; i++)
		n_ready += str_eq(cli_str(json_array_get(volumes, i), "state"), "ready");
	table_add(t, TABLE_PLAIN, cli_str(pod, "namespace"));
	table_add(t, TABLE_PLAIN, cli_str(pod, "name"));
	table_add(t, TABLE_PLAIN, cli_str(pod, "uid"));
	table_addf(t, ready ? TABLE_GOOD : TABLE_BUSY, "%zu/%zu", n_ready, n);
	table_add(t, TABLE_PLAIN, cli_str(pod, "phase"));
	table_add(t, TABLE_PLAIN, cli_since(cli_str(pod, "since"), age));
}

int cli_pods(const struct options *o, char *const *words)
{
	static const char *const headers[] = { "NAMESPACE", "NAME", "UID", "READY", "PHASE", "AGE" };
	cleanup_json json_t *json = NULL, *pods = NULL;
	struct table *t;
	int r;

	r = cli_fetch_pods(o, &json, &pods);
	if (r != CLI_OK)
		return r;
	if (o->output == OUTPUT_JSON)
		return cli_print_json(json);
	r = cli_table_new(ARRAY_SIZE(headers), headers, &t);
	if (r != CLI_OK)
		return r;
	for (size_t i = 0; i < json_array_size(pods); i++)
		add_pod(t, json_array_get(pods, i));
	return cli_print_table(t);
}
