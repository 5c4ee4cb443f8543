/* secretlet status: the daemon's health as sections of aligned keys and values. */

#include <inttypes.h>
#include <stdarg.h>

#include "agent/listing.h"
#include "common/buf.h"

#define LINE_MAX_BYTES ((size_t)4096)
#define READY_USEC     (5 * USEC_PER_SEC)

/* A row is { "section", "key", "value", "wide", "passing" }; see listing_rows(). */
struct rows {
	json_t *array;
	const char *section;
	bool wide, passing; /* the next ones */
	bool failed;
};

static void add(struct rows *t, const char *key, json_t *take_value)
{
	json_t *row = json_pack("{s:s, s:s, s:o, s:b, s:b}", "section", t->section, "key", key, "value", take_value,
				"wide", t->wide, "passing", t->passing);

	if (json_array_append_new(t->array, row) < 0)
		t->failed = true;
}

static void add_str(struct rows *t, const char *key, const char *value)
{
	add(t, key, json_text(value));
}

static void add_fmt(struct rows *t, const char *key, const char *fmt, ...) attr_printf(3, 4);
static void add_fmt(struct rows *t, const char *key, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add_str(t, key, text);
}

static void add_int(struct rows *t, const char *key, const json_t *obj, const char *member)
{
	add(t, key, json_integer(cli_int(obj, member)));
}

static void add_bool(struct rows *t, const char *key, bool value)
{
	add(t, key, json_boolean(value));
}

/* "3m4s ago" */
static void add_ago(struct rows *t, const char *key, const char *time, const char *more)
{
	char age[STR_AGE_MAX];

	t->passing = true;
	add_fmt(t, key, "%s%s%s", cli_since(time, age), *time ? " ago" : "", more);
	t->passing = false;
}

/* "in 3m4s" */
static void add_in(struct rows *t, const char *key, const char *time)
{
	char rest[STR_AGE_MAX];

	t->passing = true;
	add_fmt(t, key, "%s%s", *time ? "in " : "", cli_until(time, rest));
	t->passing = false;
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

/* The first line says it, but where there are only rows. */
static void add_health(struct rows *t, const json_t *status)
{
	cleanup_buf struct buf text = BUF_INIT(LINE_MAX_BYTES);
	const json_t *problem;
	size_t i;

	buf_add_str(&text, cli_bool(status, "healthy") ? "healthy" : "not healthy");
	json_array_foreach (json_object_get(status, "problems"), i, problem)
		buf_printf(&text, "%s%s", i ? "; " : ": ", json_string_value(problem) ?: "");
	add_str(t, "health", text.data ?: "");
}

static void add_daemon(struct rows *t, const json_t *status)
{
	char age[STR_AGE_MAX];

	t->section = "daemon";
	add_health(t, status);
	add_str(t, "version", cli_str(status, "version"));
	add_str(t, "node", cli_str(status, "nodeName"));
	add_str(t, "pods dir", cli_str(status, "podsDir"));
	t->passing = true;
	add_str(t, "up", cli_age(cli_int(status, "uptimeSeconds"), age));
	t->passing = false;
}

static void add_source(struct rows *t, const json_t *source)
{
	t->section = "source";
	add_str(t, "kind", cli_str(source, "kind"));
	add_str(t, "location", cli_str(source, "location"));
	if (*cli_str(source, "strategy"))
		add_str(t, "strategy", cli_str(source, "strategy"));
	add_bool(t, "connected", cli_bool(source, "connected"));
	add_bool(t, "pods listed", cli_bool(source, "podsSynced"));
	add_ago(t, "last answer", cli_str(source, "lastContact"), "");
	add_str(t, "last error", cli_str(source, "lastError"));
	add_in(t, "next try", cli_str(source, "nextTry"));
	add_fmt(t, "secrets", "%" PRIi64 " of %" PRIi64 " known", cli_int(source, "secretsSynced"),
		cli_int(source, "secrets"));
	add_fmt(t, "configmaps", "%" PRIi64 " of %" PRIi64 " known", cli_int(source, "configMapsSynced"),
		cli_int(source, "configMaps"));
	add_fmt(t, "tokens", "%" PRIi64 " of %" PRIi64 " valid", cli_int(source, "tokensSynced"),
		cli_int(source, "tokens"));
	add_int(t, "watches", source, "watches");
	add_int(t, "rejected", source, "rejected");
	add_int(t, "warnings", source, "warnings");
	add_int(t, "requests", source, "requests");
	add_int(t, "connections", source, "connections");
}

static void add_counts(struct rows *t, const json_t *pods, const json_t *volumes)
{
	t->section = "pods";
	add_fmt(t, "ready", "%" PRIi64 " of %" PRIi64, cli_int(pods, "ready"),
		cli_int(pods, "total") - cli_int(pods, "finished"));
	add_int(t, "finished", pods, "finished");
	t->section = "volumes";
	add_fmt(t, "ready", "%" PRIi64 " of %" PRIi64, cli_int(volumes, "ready"), cli_int(volumes, "total"));
	add_int(t, "waiting", volumes, "waiting");
	add_int(t, "failed", volumes, "failed");
	add_int(t, "outdated", volumes, "stale");
}

static void add_memory(struct rows *t, const json_t *memory)
{
	char used[32], limit[32];

	t->section = "secret memory";
	add_fmt(t, "used", "%s of %s", format_bytes(cli_int(memory, "usedBytes"), used),
		format_bytes(cli_int(memory, "limitBytes"), limit));
	add_int(t, "blocks", memory, "blocks");
	add_bool(t, "locked", cli_bool(memory, "locked"));
	add_bool(t, "heap locked", cli_bool(memory, "heapLocked"));
}

static void add_fuse(struct rows *t, const json_t *fuse, const json_t *tree)
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
	t->section = "file system";
	add_int(t, "nodes", tree, "nodes");
	t->wide = true;
	add_int(t, "detached", tree, "detached");
	add_int(t, "content bytes", tree, "contentBytes");
	t->wide = false;
	add_str(t, "requests", requests.data ?: "");
	add_int(t, "refused", fuse, "refused");
	add_str(t, "missing", missing.data ?: "");
}

static void add_publisher(struct rows *t, const json_t *publisher)
{
	t->section = "publisher";
	add_bool(t, "attached", cli_bool(publisher, "attached"));
	add_int(t, "published", publisher, "published");
	add_int(t, "unchanged", publisher, "unchanged");
	add_int(t, "failed", publisher, "failed");
	add_int(t, "removed", publisher, "removed");
	add_int(t, "queued", publisher, "queued");
	add_int(t, "put aside", publisher, "aside");
}

static void add_offline(struct rows *t, const json_t *offline)
{
	if (!offline)
		return;
	t->section = "offline cache";
	add_str(t, "dir", cli_str(offline, "dir"));
	add_int(t, "pods", offline, "pods");
	add_int(t, "secrets", offline, "secrets");
	add_int(t, "configmaps", offline, "configMaps");
	add_ago(t, "written", cli_str(offline, "written"), cli_bool(offline, "pending") ? ", more to come" : "");
	add_int(t, "shown", offline, "shownPods");
	add_int(t, "refused", offline, "refused");
	add_str(t, "error", cli_str(offline, "error"));
}

static void add_audit(struct rows *t, const json_t *audit)
{
	if (!audit)
		return;
	t->section = "audit";
	add_str(t, "log", cli_str(audit, "log"));
	add_bool(t, "running", cli_bool(audit, "running"));
	add_int(t, "opens", audit, "opens");
	add_int(t, "written", audit, "written");
	add_int(t, "unwritten", audit, "unwritten");
	add_int(t, "lost", audit, "lost");
	add_int(t, "queue full", audit, "queueFull");
	add_str(t, "error", cli_str(audit, "error"));
}

static void add_events(struct rows *t, const json_t *events)
{
	if (!events)
		return;
	t->section = "events";
	add_int(t, "sent", events, "sent");
	add_int(t, "queued", events, "queued");
	add_int(t, "held back", events, "heldBack");
	add_int(t, "dropped", events, "dropped");
	add_int(t, "failed", events, "failed");
	add_str(t, "error", cli_str(events, "error"));
}

static void add_signals(struct rows *t, const json_t *signals)
{
	/* nobody has asked, and nobody would be heard */
	if (!cli_bool(signals, "enabled") && cli_int(signals, "volumes") == 0)
		return;
	t->section = "signals";
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

/* What the kernel enforces, and what it does not have; as words, with commas. A gap is for everybody to see. */
static void add_sandbox(struct rows *t, const json_t *sandbox)
{
	static const struct {
		const char *key, *member;
		bool wide;
	} lists[] = { { "in force", "inForce", true }, { "missing", "missing", false } };

	t->section = "sandbox";
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		cleanup_buf struct buf text = BUF_INIT(LINE_MAX_BYTES);
		const json_t *word;
		size_t j;

		json_array_foreach (json_object_get(sandbox, lists[i].member), j, word)
			buf_printf(&text, "%s%s", j ? ", " : "", json_string_value(word) ?: "");
		t->wide = lists[i].wide || text.len == 0;
		add_str(t, lists[i].key, text.data ?: "");
	}
	t->wide = false;
}

static int status_rows(const json_t *status, json_t **ret_rows, struct err *e)
{
	cleanup_json json_t *array = json_array();
	struct rows rows = { .array = array };
	struct rows *t = &rows;

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
	add_sandbox(t, json_object_get(status, "sandbox"));
	t->section = "log";
	add_int(t, "dropped", json_object_get(status, "log"), "dropped");
	if (t->failed)
		return err_set(e, -ENOMEM, "out of memory");
	*ret_rows = TAKE_PTR(array);
	return 0;
}

/* The rows of a section stand below its name. */
static int print_sections(const json_t *status, const json_t *rows)
{
	const char *section = "";
	const json_t *row;
	struct table *t;
	size_t i;
	int r;

	r = cli_table_new(2, NULL, &t);
	if (r != CLI_OK)
		return r;
	json_array_foreach (rows, i, row) {
		if (str_eq(cli_str(row, "key"), "health"))
			continue;
		if (!str_eq(section, cli_str(row, "section")))
			table_add_heading(t, cli_str(row, "section"));
		section = cli_str(row, "section");
		table_add(t, TABLE_PLAIN, cli_str(row, "key"));
		listing_member(t, row, "value");
	}
	print_health(status);
	return cli_print_table(t);
}

static const struct listing_column columns[] = {
	{ "SECTION", "section" },
	{ "KEY", "key" },
	{ "VALUE", "value", .state = true },
};

static const struct listing listing = {
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.rows = status_rows,
	.keys = { "section", "key" },
	.print = print_sections,
	.whole = true,
};

/* What a probe asks: a volume that waits is no reason to think that the daemon does not serve. */
static int show_ready(const struct options *o)
{
	cleanup_free char *text = NULL;
	struct err e = ERR_INIT;
	unsigned status = 0;
	int r;

	r = client_get_text(o->runtime_dir, "/readyz?verbose", READY_USEC, &status, &text, &e);
	if (r < 0)
		return cli_fail(cli_request_status(r), &e);
	fputs(text, stdout);
	return status == 200 ? CLI_OK : CLI_FAILED;
}

int cli_status(const struct options *o, char *const *words)
{
	cleanup_json json_t *status = NULL;
	int r;

	if (o->ready)
		return show_ready(o);
	r = listing_show(&listing, o, "/v1/status", &status);
	return r != CLI_OK || o->watch || cli_bool(status, "healthy") ? r : CLI_FAILED;
}
