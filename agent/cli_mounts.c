/* secretlet mounts: what a runtime's config.json needs for one container. */

#include "agent/listing.h"

static void add_options(struct table *t, const json_t *mount, const char *member)
{
	char options[128] = "";
	const json_t *option;
	size_t i;

	json_array_foreach (json_object_get(mount, member), i, option) {
		size_t len = strlen(options);

		snprintf(options + len, sizeof(options) - len, "%s%s", len ? "," : "", json_string_value(option) ?: "");
	}
	table_add(t, TABLE_PLAIN, options);
}

static const struct listing_column columns[] = {
	{ "DESTINATION", "destination" },
	{ "TYPE", "type", .shown = SHOWN_WIDE },
	{ "SOURCE", "source" },
	{ "OPTIONS", "options", add_options },
};

static const struct listing listing = {
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.rows = listing_rows_all,
};

int cli_mounts(const struct options *o, char *const *words)
{
	cleanup_free char *path = NULL, *suffix = NULL;
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
	return listing_show(&listing, o, path, NULL);
}
