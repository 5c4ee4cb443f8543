/* secretlet volumes: one line for each volume. */

#include "agent/listing.h"
#include "common/buf.h"

#define NAMES_MAX 65536 /* of text */

/* "db"; of a projected volume "secret:db,secret:tls", and how many more there are than were told */
static void add_sources(struct table *t, const json_t *volume, const char *member)
{
	bool projected = str_eq(cli_str(volume, "type"), "projected");
	json_t *sources = json_object_get(volume, member);
	int64_t n_more = cli_int(volume, "sourceCount") - (int64_t)json_array_size(sources);
	cleanup_buf struct buf names = BUF_INIT(NAMES_MAX);
	const json_t *source;
	size_t i;

	json_array_foreach (sources, i, source) {
		const char *type = projected ? cli_str(source, "type") : "", *name = cli_str(source, "name");

		if (buf_printf(&names, "%s%s%s%s", i ? "," : "", type, *type && *name ? ":" : "", name) < 0)
			break;
	}
	if (n_more > 0)
		buf_printf(&names, "%sand %lld more", names.len ? " " : "", (long long)n_more);
	table_add(t, TABLE_PLAIN, names.data ? names.data : "");
}

static void add_error(struct table *t, const json_t *volume, const char *member)
{
	const char *error = cli_str(volume, member), *cached = cli_str(volume, "cached");
	char age[STR_AGE_MAX];

	if (*cached)
		table_addf(t, TABLE_PLAIN, "from the offline cache, %s old%s%s", cli_since(cached, age),
			   *error ? "; " : "", error);
	else
		table_add(t, TABLE_PLAIN, error);
}

static const struct listing_column columns[] = {
	{ "NAMESPACE", "namespace" },
	{ "POD", "pod" },
	{ "VOLUME", "name" },
	{ "TYPE", "type" },
	{ "SOURCES", "sources", add_sources },
	{ "STATE", "state", listing_state, .state = true },
	{ "REVISION", "resourceVersion" },
	{ "UPDATED", "updated", listing_since, .passing = true },
	{ "FILES", "files", .shown = SHOWN_WIDE },
	{ "BYTES", "bytes", .shown = SHOWN_WIDE },
	{ "PATH", "path", .shown = SHOWN_WIDE },
	{ "ERROR", "error", add_error, .passing = true, .news = { "error", "cached" } },
};

/* A row is a volume that has its pod's names. */
static json_t *row_new(const json_t *pod, const json_t *volume)
{
	json_t *row = json_pack("{s:s, s:s, s:s}", "namespace", cli_str(pod, "namespace"), "pod", cli_str(pod, "name"),
				"podUID", cli_str(pod, "uid"));

	if (row && json_is_object(volume) && json_object_update(row, (json_t *)(uintptr_t)volume) < 0) {
		json_decref(row);
		return NULL;
	}
	return row;
}

static int volumes_rows(const json_t *document, json_t **ret_rows, struct err *e)
{
	cleanup_json json_t *pods = NULL, *rows = json_array();
	const json_t *pod, *volume;
	size_t i, j;
	int r;

	r = cli_pods_rows(document, &pods, e);
	if (r < 0)
		return r;
	json_array_foreach (pods, i, pod)
		json_array_foreach (json_object_get(pod, "volumes"), j, volume)
			if (json_array_append_new(rows, row_new(pod, volume)) < 0)
				return err_set(e, -ENOMEM, "out of memory");
	*ret_rows = TAKE_PTR(rows);
	return 0;
}

const struct listing cli_volumes_listing = {
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.rows = volumes_rows,
	.keys = { "namespace", "pod", "podUID", "name" },
};

int cli_volumes(const struct options *o, char *const *words)
{
	cleanup_free char *path = NULL;
	int r;

	r = cli_pods_path(o, &path);
	return r == CLI_OK ? listing_show(&cli_volumes_listing, o, path, NULL) : r;
}
