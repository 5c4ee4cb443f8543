/* secretlet status: the daemon's health as sections of aligned keys and values. */

#include "agent/cli.h"

#include <inttypes.h>

#include "common/buf.h"
#include "common/str.h"

#define LINE_MAX_BYTES ((size_t)4096)

static void key(struct table *t, const char *name)
{
	table_add(t, TABLE_PLAIN, name);
}

static void add_str(struct table *t, const char *name, const char *value)
{
	key(t, name);
	table_add(t, TABLE_PLAIN, value);
}

static void add_int(struct table *t, const char *name, const json_t *obj, const char *member)
{
	key(t, name);
	table_addf(t, TABLE_PLAIN, "%" PRIi64, cli_int(obj, member));
}

static void add_bool(struct table *t, const char *name, bool value)
{
	key(t, name);
	table_add(t, value ? TABLE_GOOD : TABLE_BAD, value ? "yes" : "no");
}

static const char *format_bytes(int64_t n, char text[static 32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)n;
	size_t i = 0;

	while (value >= 1024 && i + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		i++;
	}
	snprintf(text, 32, i == 0 || value == (double)(int64_t)value ? "%.0f %s" : "%.1f %s", value, units[i]);
	return text;
}

static void add_daemon(struct table *t, const json_t *status)
{
	char age[STR_AGE_MAX];

	table_add_heading(t, "daemon");
	add_str(t, "version", cli_str(status, "version"));
	add_str(t, "node", cli_str(status, "nodeName"));
	add_str(t, "pods dir", cli_str(status, "podsDir"));
	add_str(t, "up", cli_age(cli_int(status, "uptimeSeconds"), age));
}

static void add_source(struct table *t, const json_t *source)
{
	const char *last = cli_str(source, "lastContact");
	char age[STR_AGE_MAX];

	table_add_heading(t, "source");
	add_str(t, "kind", cli_str(source, "kind"));
	add_str(t, "location", cli_str(source, "location"));
	if (*cli_str(source, "strategy"))
		add_str(t, "strategy", cli_str(source, "strategy"));
	add_bool(t, "connected", cli_bool(source, "connected"));
	add_bool(t, "pods listed", cli_bool(source, "podsSynced"));
	key(t, "last answer");
	table_addf(t, TABLE_PLAIN, "%s%s", cli_since(last, age), *last ? " ago" : "");
	add_str(t, "last error", cli_str(source, "lastError"));
	key(t, "secrets");
	table_addf(t, TABLE_PLAIN, "%" PRIi64 " of %" PRIi64 " known", cli_int(source, "secretsSynced"),
		   cli_int(source, "secrets"));
	key(t, "configmaps");
	table_addf(t, TABLE_PLAIN, "%" PRIi64 " of %" PRIi64 " known", cli_int(source, "configMapsSynced"),
		   cli_int(source, "configMaps"));
	key(t, "tokens");
	table_addf(t, TABLE_PLAIN, "%" PRIi64 " of %" PRIi64 " valid", cli_int(source, "tokensSynced"),
		   cli_int(source, "tokens"));
	add_int(t, "watches", source, "watches");
	add_int(t, "rejected", source, "rejected");
	add_int(t, "warnings", source, "warnings");
	add_int(t, "requests", source, "requests");
	add_int(t, "connections", source, "connections");
}

static void add_counts(struct table *t, const json_t *pods, const json_t *volumes)
{
	table_add_heading(t, "pods");
	key(t, "ready");
	table_addf(t, TABLE_PLAIN, "%" PRIi64 " of %" PRIi64, cli_int(pods, "ready"),
		   cli_int(pods, "total") - cli_int(pods, "finished"));
	add_int(t, "finished", pods, "finished");
	table_add_heading(t, "volumes");
	key(t, "ready");
	table_addf(t, TABLE_PLAIN, "%" PRIi64 " of %" PRIi64, cli_int(volumes, "ready"), cli_int(volumes, "total"));
	add_int(t, "waiting", volumes, "waiting");
	add_int(t, "failed", volumes, "failed");
	add_int(t, "outdated", volumes, "stale");
}

static void add_memory(struct table *t, const json_t *memory)
{
	char used[32], limit[32];

	table_add_heading(t, "secret memory");
	key(t, "used");
	table_addf(t, TABLE_PLAIN, "%s of %s", format_bytes(cli_int(memory, "usedBytes"), used),
		   format_bytes(cli_int(memory, "limitBytes"), limit));
	add_int(t, "blocks", memory, "blocks");
	add_bool(t, "locked", cli_bool(memory, "locked"));
	add_bool(t, "heap locked", cli_bool(memory, "heapLocked"));
}

static void add_fuse(struct table *t, const json_t *fuse, const json_t *tree)
{
	cleanup_buf struct buf requests = BUF_INIT(LINE_MAX_BYTES), missing = BUF_INIT(LINE_MAX_BYTES);
	const json_t *value;
	const char *name;
	size_t i;

	/* what does not fit a line is not needed on it: -o json has it all */
	json_object_foreach ((json_t *)json_object_get(fuse, "requests"), name, value)
		if (json_integer_value(value) > 0)
			buf_printf(&requests, "%s%s %" PRIi64, requests.len ? ", " : "", name,
				   (int64_t)json_integer_value(value));
	json_array_foreach (json_object_get(fuse, "missing"), i, value)
		buf_printf(&missing, "%s%s", missing.len ? ", " : "", json_string_value(value) ?: "");
	table_add_heading(t, "file system");
	add_int(t, "nodes", tree, "nodes");
	add_str(t, "requests", requests.data);
	add_int(t, "refused", fuse, "refused");
	add_str(t, "missing", missing.data);
}

static void add_publisher(struct table *t, const json_t *publisher)
{
	table_add_heading(t, "publisher");
	add_bool(t, "attached", cli_bool(publisher, "attached"));
	add_int(t, "published", publisher, "published");
	add_int(t, "unchanged", publisher, "unchanged");
	add_int(t, "failed", publisher, "failed");
	add_int(t, "removed", publisher, "removed");
	add_int(t, "queued", publisher, "queued");
}

static void add_offline(struct table *t, const json_t *offline)
{
	const char *written = cli_str(offline, "written");
	char age[STR_AGE_MAX];

	if (!offline)
		return;
	table_add_heading(t, "offline cache");
	add_str(t, "dir", cli_str(offline, "dir"));
	add_int(t, "pods", offline, "pods");
	add_int(t, "secrets", offline, "secrets");
	add_int(t, "configmaps", offline, "configMaps");
	key(t, "written");
	table_addf(t, TABLE_PLAIN, "%s%s%s", cli_since(written, age), *written ? " ago" : "",
		   cli_bool(offline, "pending") ? ", more to come" : "");
	add_int(t, "shown", offline, "shownPods");
	add_int(t, "refused", offline, "refused");
	add_str(t, "error", cli_str(offline, "error"));
}

static void add_audit(struct table *t, const json_t *audit)
{
	if (!audit)
		return;
	table_add_heading(t, "audit");
	add_str(t, "log", cli_str(audit, "log"));
	add_bool(t, "running", cli_bool(audit, "running"));
	add_int(t, "opens", audit, "opens");
	add_int(t, "written", audit, "written");
	add_int(t, "unwritten", audit, "unwritten");
	add_int(t, "lost", audit, "lost");
	add_int(t, "queue full", audit, "queueFull");
	add_str(t, "error", cli_str(audit, "error"));
}

static void add_events(struct table *t, const json_t *events)
{
	if (!events)
		return;
	table_add_heading(t, "events");
	add_int(t, "sent", events, "sent");
	add_int(t, "queued", events, "queued");
	add_int(t, "held back", events, "heldBack");
	add_int(t, "dropped", events, "dropped");
	add_int(t, "failed", events, "failed");
	add_str(t, "error", cli_str(events, "error"));
}

static void add_signals(struct table *t, const json_t *signals)
{
	/* nobody has asked, and nobody would be heard */
	if (!cli_bool(signals, "enabled") && cli_int(signals, "volumes") == 0)
		return;
	table_add_heading(t, "signals");
	add_bool(t, "enabled", cli_bool(signals, "enabled"));
	add_bool(t, "running", cli_bool(signals, "running"));
	add_int(t, "volumes", signals, "volumes");
	add_int(t, "pending", signals, "pending");
	add_int(t, "sent", signals, "sent");
	add_int(t, "not caught", signals, "notCaught");
	add_int(t, "failed", signals, "failed");
}

static void print_health(const json_t *status)
{
	const json_t *problem;
	bool first = true;
	size_t i;

	if (cli_bool(status, "healthy")) {
		puts("healthy");
		return;
	}
	fputs("not healthy", stdout);
	json_array_foreach (json_object_get(status, "problems"), i, problem) {
		cleanup_free char *text = table_escape(json_string_value(problem) ?: "");

		printf("%s%s", first ? ": " : "; ", text ?: "out of memory");
		first = false;
	}
	putchar('\n');
}

static int print_table(const json_t *status)
{
	struct table *t;
	int r;

	r = cli_table_new(2, NULL, &t);
	if (r != CLI_OK)
		return r;
	add_daemon(t, status);
	add_source(t, json_object_get(status, "source"));
	add_counts(t, json_object_get(status, "pods"), json_object_get(status, "volumes"));
	add_memory(t, json_object_get(status, "secretMemory"));
	add_fuse(t, json_object_get(status, "fuse"), json_object_get(status, "tree"));
	add_publisher(t, json_object_get(status, "publisher"));
	add_offline(t, json_object_get(status, "offlineCache"));
	add_audit(t, json_object_get(status, "audit"));
	add_events(t, json_object_get(status, "events"));
	add_signals(t, json_object_get(status, "signals"));
	table_add_heading(t, "log");
	add_int(t, "dropped", json_object_get(status, "log"), "dropped");
	print_health(status);
	return cli_print_table(t);
}

int cli_status(const struct options *o, char *const *words)
{
	cleanup_json json_t *status = NULL;
	int r;

	r = cli_fetch(o, "/v1/status", &status);
	if (r != CLI_OK)
		return r;
	r = o->output == OUTPUT_JSON ? cli_print_json(status) : print_table(status);
	if (r != CLI_OK)
		return r;
	return cli_bool(status, "healthy") ? CLI_OK : CLI_FAILED;
}
