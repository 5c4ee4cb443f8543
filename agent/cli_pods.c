/* secretlet pods: one line for each pod. */

#include "agent/listing.h"

static void add_ready(struct table *t, const json_t *pod, const char *member)
{
	const json_t *volumes = json_object_get(pod, member);
	size_t n = json_array_size(volumes), n_ready = 0;

	for (size_t i = 0; i < n; i++)
		n_ready += str_eq(cli_str(json_array_get(volumes, i), "state"), "ready");
	table_addf(t, cli_bool(pod, "ready") ? TABLE_GOOD : TABLE_BUSY, "%zu/%zu", n_ready, n);
}

static const struct listing_column columns[] = {
	{ "NAMESPACE", "namespace" },
	{ "NAME", "name" },
	{ "READY", "volumes", add_ready },
	{ "PHASE", "phase", .state = true },
	{ "AGE", "since", listing_since, .passing = true },
	{ "MISTAKES", "mistakes", listing_count, SHOWN_WIDE },
	{ "UID", "uid", .shown = SHOWN_WIDE },
};

int cli_pods_rows(const json_t *document, json_t **ret_rows, struct err *e)
{
	json_t *pods = json_object_get(document, "pods"), *rows;

	if (pods)
		return listing_rows_all(pods, ret_rows, e);
	if (!json_is_array(json_object_get(document, "volumes")))
		return err_set(e, -EPROTO,
			       "the answer has no pods in it: daemon and command are of different versions?");
	rows = json_pack("[O]", document);
	if (!rows)
		return err_set(e, -ENOMEM, "out of memory");
	*ret_rows = rows;
	return 0;
}

static const struct listing pods = {
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.rows = cli_pods_rows,
	.keys = { "namespace", "name", "uid" },
};

int cli_pods(const struct options *o, char *const *words)
{
	cleanup_free char *path = NULL;
	int r;

	r = cli_pods_path(o, &path);
	return r == CLI_OK ? listing_show(&pods, o, path, NULL) : r;
}
