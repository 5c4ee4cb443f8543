/* Configuration: one table of fields; each knows where its value lives and what it must look like.
 *
 * A value is checked twice by the same rule: while the file is read, where the sentence has file, line and column, and in
 * config_finish(), which also sees what the command line has put there. A file is read into a configuration of its own
 * and moved over what was there when all of it was good, so that a bad file changes nothing.
 *
 * Paths are cleaned as text (no `.`, no doubled slash), so that "is one inside the other?" can be asked; symbolic links
 * are left alone, because the folders need not exist yet. */
#include "agent/config.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>

#include "agent/audit.h"
#include "agent/bind_address.h"
#include "agent/config_path.h"
#include "agent/kubeconfig.h"
#include "agent/yaml.h"
#include "agent/yaml_scalar.h"
#include "common/file.h"
#include "common/secmem.h"
#include "common/str.h"

#define RUNTIME_DIR_MAX 90 /* sockaddr_un has 108 bytes for it and the socket's name */
#define USER_MAX	32
#define MEMORY_MIN	(UINT64_C(2) << 20)
#define MEMORY_MAX	SECMEM_LIMIT_MAX
#define COUNT_MAX	100000
#define PORT_MAX	65535
/* the kubelet's up to 1.26: an agent has less to tell */
#define EVENT_RECORD_QPS 5
#define EVENT_BURST	 10
#define PROBLEM_MAX	 256
#define DURATION_MAX	 (24 * 3600 * USEC_PER_SEC)

enum field_kind {
	FIELD_CONST,
	FIELD_PATH,
	FIELD_STRING,
	FIELD_QUANTITY,
	FIELD_COUNT,
	FIELD_RATE,
	FIELD_PORT,
	FIELD_BOOL,
	FIELD_LOG_LEVEL,
	FIELD_STRATEGY,
	FIELD_LOCK,
	FIELD_DURATION
};

/* false: problem says why not */
typedef bool (*check_fn)(const char *value, char problem[static PROBLEM_MAX]);

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset; /* FIELD_PATH, FIELD_STRING: of the char *; FIELD_DURATION: of the uint64_t; FIELD_COUNT, FIELD_RATE,
			* FIELD_PORT: of the unsigned; FIELD_BOOL: of the bool */
	uint64_t min_usec, max_usec; /* FIELD_DURATION */
	check_fn check; /* may be NULL */
	const char *wanted; /* FIELD_CONST; FIELD_PATH: a word that is no path; may be NULL */
	unsigned number; /* FIELD_COUNT: the default; FIELD_RATE: the least */
	bool of_mount; /* a restart goes on with the mount that there is, which has the old value */
};

static bool refuse(char problem[static PROBLEM_MAX], const char *reason)
{
	snprintf(problem, PROBLEM_MAX, "%s", reason);
	return false;
}

/* Folders that are made, mounted over and cleaned up by us. */
static bool check_own_dir(const char *value, char problem[static PROBLEM_MAX])
{
	if (str_has_dotdot(value))
		return refuse(problem, "must not contain `..`");
	if (strspn(value, "/.") == strlen(value) && *value == '/')
		return refuse(problem, "must not be the root folder");
	if (!str_is_utf8(value, strlen(value)))
		return refuse(problem, "must be UTF-8: container runtimes are given it as JSON");
	return true;
}

static bool check_audit_log(const char *value, char problem[static PROBLEM_MAX])
{
	if (str_has_dotdot(value))
		return refuse(problem, "must not contain `..`");
	if (value[strlen(value) - 1] == '/')
		return refuse(problem, "must be a file, or " AUDIT_JOURNAL);
	return true;
}

static bool check_node_name(const char *value, char problem[static PROBLEM_MAX])
{
	return str_is_dns_subdomain(value) ||
	       refuse(problem,
		      "a node's name consists of lower-case letters, digits, `-` and `.`, begins and ends with a "
		      "letter or digit, and has at most 253 characters");
}

static bool check_account(const char *value, const char *whose, char problem[static PROBLEM_MAX])
{
	for (const char *s = value; *s; s++) {
		if (!isalnum((unsigned char)*s) && !strchr("_-.", *s)) {
			snprintf(problem, PROBLEM_MAX, "a %s's name consists of letters, digits, `_`, `-` and `.`",
				 whose);
			return false;
		}
	}
	if (strlen(value) <= USER_MAX && *value != '-')
		return true;
	snprintf(problem, PROBLEM_MAX, "a %s's name has at most 32 characters and does not begin with `-`", whose);
	return false;
}

static bool check_group(const char *value, char problem[static PROBLEM_MAX])
{
	return check_account(value, "group", problem);
}

static bool check_user(const char *value, char problem[static PROBLEM_MAX])
{
	size_t len = strlen(value);

	if (!check_account(value, "user", problem))
		return false;
	if (str_eq(value, "root") || strspn(value, "0") == len)
		return refuse(problem, "must not be root: the agent runs without privileges");
	return true;
}

static bool check_metrics_address(const char *value, char problem[static PROBLEM_MAX])
{
	struct bind_address a;

	return bind_address_parse(value, &a) == 0 ||
	       refuse(problem, "must be an IP address and a port, such as 127.0.0.1:10249 or [::1]:10249");
}

static bool check_healthz_address(const char *value, char problem[static PROBLEM_MAX])
{
	struct bind_address a;

	return bind_address_make(value, 1, &a) == 0 || refuse(problem, "must be an IP address, such as 127.0.0.1");
}

#define AT(member) .offset = offsetof(struct config, member)
static const struct field fields[] = {
	{ .name = "apiVersion", .kind = FIELD_CONST, .wanted = CONFIG_API_VERSION },
	{ .name = "kind", .kind = FIELD_CONST, .wanted = CONFIG_KIND },
	{ .name = "kubeconfig", .kind = FIELD_PATH, AT(kubeconfig) },
	{ .name = "manifestsDir", .kind = FIELD_PATH, AT(manifests_dir) },
	{ .name = "sealedSecretsKeyFile", .kind = FIELD_PATH, AT(sealing_key_file) },
	{ .name = "offlineCacheDir", .kind = FIELD_PATH, AT(offline_cache_dir), .check = check_own_dir },
	{ .name = "offlineCacheKeyFile", .kind = FIELD_PATH, AT(offline_cache_key_file) },
	{ .name = "extendedAttributes", .kind = FIELD_BOOL, AT(extended_attributes), .of_mount = true },
	{ .name = "auditLog", .kind = FIELD_PATH, AT(audit_log), .check = check_audit_log, .wanted = AUDIT_JOURNAL },
	{ .name = "signalContainers", .kind = FIELD_BOOL, AT(signal_containers) },
	{ .name = "nodeName", .kind = FIELD_STRING, AT(node_name), .check = check_node_name },
	{ .name = "podsDir", .kind = FIELD_PATH, AT(pods_dir), .check = check_own_dir, .of_mount = true },
	{ .name = "runtimeDir", .kind = FIELD_PATH, AT(runtime_dir), .check = check_own_dir },
	{ .name = "user", .kind = FIELD_STRING, AT(user), .check = check_user },
	{ .name = "controlSocketGroup", .kind = FIELD_STRING, AT(control_group), .check = check_group },
	{ .name = "metricsBindAddress", .kind = FIELD_STRING, AT(metrics_address), .check = check_metrics_address },
	{ .name = "healthzBindAddress", .kind = FIELD_STRING, AT(healthz_address), .check = check_healthz_address },
	{ .name = "healthzPort", .kind = FIELD_PORT, AT(healthz_port) },
	{ .name = "serveEnvironment", .kind = FIELD_BOOL, AT(serve_environment) },
	{ .name = "secretMemoryLimit", .kind = FIELD_QUANTITY, .of_mount = true },
	{ .name = "memoryLock", .kind = FIELD_LOCK },
	{ .name = "kubeAPIQPS", .kind = FIELD_COUNT, AT(kube_api_qps), .number = 50 },
	{ .name = "kubeAPIBurst", .kind = FIELD_COUNT, AT(kube_api_burst), .number = 100 },
	{ .name = "logLevel", .kind = FIELD_LOG_LEVEL },
	{ .name = "configMapAndSecretChangeDetectionStrategy", .kind = FIELD_STRATEGY },
	{ .name = "syncFrequency",
	  .kind = FIELD_DURATION,
	  AT(tuning.sync_usec),
	  .min_usec = USEC_PER_SEC,
	  .max_usec = DURATION_MAX },
	{ .name = "secretCacheTTL", .kind = FIELD_DURATION, AT(tuning.cache_ttl_usec), .max_usec = DURATION_MAX },
	{ .name = "mountFailureEvents", .kind = FIELD_BOOL, AT(tuning.events.failures) },
	{ .name = "rotationEvents", .kind = FIELD_BOOL, AT(tuning.events.rotations) },
	{ .name = "eventRecordQPS", .kind = FIELD_RATE, AT(tuning.events.qps) },
	{ .name = "eventBurst", .kind = FIELD_RATE, AT(tuning.events.burst), .number = 1 },
	{ .name = "agentHangTimeout",
	  .kind = FIELD_DURATION,
	  AT(agent_hang_usec),
	  .min_usec = USEC_PER_SEC,
	  .max_usec = DURATION_MAX },
	{ .name = "connectionAbortTimeout",
	  .kind = FIELD_DURATION,
	  AT(abort_usec),
	  .min_usec = USEC_PER_SEC,
	  .max_usec = DURATION_MAX },
};
#undef AT

static char **field_string(struct config *c, const struct field *f)
{
	return (char **)((char *)c + f->offset);
}

static unsigned *field_count(struct config *c, const struct field *f)
{
	return (unsigned *)(void *)((char *)c + f->offset);
}

/* Relative to nothing. */
static bool is_word(const struct field *f, const char *value)
{
	return f->kind != FIELD_PATH || (f->wanted && str_eq(value, f->wanted));
}

static bool is_string_field(const struct field *f)
{
	return f->kind == FIELD_PATH || f->kind == FIELD_STRING;
}

int config_new(struct config **ret_c)
{
	struct config *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->log_level = LOG_LEVEL_INFO;
	c->tuning = (struct source_tuning){
		.strategy = SOURCE_WATCH,
		.sync_usec = SOURCE_SYNC_USEC,
		.cache_ttl_usec = SOURCE_CACHE_TTL_USEC,
		.events = { .failures = true, .rotations = true, .qps = EVENT_RECORD_QPS, .burst = EVENT_BURST }
	};
	*ret_c = c;
	return 0;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (is_string_field(&fields[i]))
			free(*field_string(c, &fields[i]));
	free(c->path);
	free(c);
}

/* ---- quantities ---- */

static const struct {
	const char *text;
	uint64_t bytes;
} suffixes[] = {
	{ "", 1 },
	{ "k", 1000 },
	{ "M", 1000000 },
	{ "G", 1000000000 },
	{ "Ki", UINT64_C(1) << 10 },
	{ "Mi", UINT64_C(1) << 20 },
	{ "Gi", UINT64_C(1) << 30 },
};

/* resource.Quantity: "256Mi", "1.5Gi", "300M"; a fraction of a byte counts as one. Greater suffixes would be out of
 * bounds anyway. */
static bool parse_quantity(const char *text, uint64_t *ret_bytes)
{
	unsigned __int128 value = 0, scale = 1;
	size_t n_digits = 0;
	bool fraction = false;

	for (; isdigit((unsigned char)*text) || (*text == '.' && !fraction); text++) {
		if (*text == '.') {
			fraction = true;
			continue;
		}
		if (++n_digits > 18)
			return false;
		value = value * 10 + (*text - '0');
		scale *= fraction ? 10 : 1;
	}
	if (n_digits == 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		if (!str_eq(text, suffixes[i].text))
			continue;
		value = (value * suffixes[i].bytes + scale - 1) / scale;
		*ret_bytes = value > UINT64_MAX ? UINT64_MAX : (uint64_t)value;
		return true;
	}
	return false;
}

/* ---- the file ---- */

struct reader {
	const char *path, *dir;
	struct config *c;
	struct err *e;
};

static int fail_at(const struct reader *r, const struct yaml_node *n, const char *field, const char *reason)
{
	return err_set(r->e, -EINVAL, "%s:%zu:%zu: %s%s%s", r->path, n->line, n->column, field ? field : "",
		       field ? ": " : "", reason);
}

static int read_const(const struct reader *r, const struct field *f, const struct yaml_node *n)
{
	char problem[PROBLEM_MAX];

	if (str_eq(n->scalar, f->wanted))
		return 0;
	snprintf(problem, sizeof(problem), "must be %s", f->wanted);
	return fail_at(r, n, f->name, problem);
}

static int read_string(const struct reader *r, const struct field *f, const struct yaml_node *n)
{
	char problem[PROBLEM_MAX];
	char *value;

	if (n->scalar_len == 0)
		return fail_at(r, n, f->name, "must not be empty");
	if (f->check && !f->check(n->scalar, problem))
		return fail_at(r, n, f->name, problem);
	value = is_word(f, n->scalar) ? strdup(n->scalar) : file_join(r->dir, n->scalar);
	if (!value)
		return err_set(r->e, -ENOMEM, "%s: out of memory", r->path);
	*field_string(r->c, f) = value;
	return 0;
}

static int read_quantity(const struct reader *r, const struct field *f, const struct yaml_node *n)
{
	uint64_t bytes;

	if (!parse_quantity(n->scalar, &bytes))
		return fail_at(r, n, f->name, "must be a quantity of bytes, such as 256Mi");
	if (bytes < MEMORY_MIN || bytes > MEMORY_MAX)
		return fail_at(r, n, f->name, "must be between 2Mi and 32Gi");
	r->c->secret_memory_limit = bytes;
	return 0;
}

static int read_count(const struct reader *r, const struct field *f, const struct yaml_node *n)
{
	uint64_t count = 0;

	if (n->kind != YAML_INT || str_parse_u64(n->scalar, COUNT_MAX, &count) < 0 || count == 0)
		return fail_at(r, n, f->name, "must be a whole number between 1 and 100000");
	*field_count(r->c, f) = (unsigned)count;
	return 0;
}

/* In contrast to a count, 0 is not the same as absent. */
static int read_rate(const struct reader *r, const struct field *f, const struct yaml_node *n)
{
	uint64_t rate = 0;

	if (n->kind != YAML_INT || str_parse_u64(n->scalar, COUNT_MAX, &rate) < 0 || rate < f->number)
		return fail_at(r, n, f->name,
			       f->number ? "must be a whole number between 1 and 100000"
					 : "must be a whole number between 0 and 100000");
	*field_count(r->c, f) = (unsigned)rate;
	return 0;
}

/* As the kubelet has it: 0 is none. */
static int read_port(const struct reader *r, const struct field *f, const struct yaml_node *n)
{
	uint64_t port = 0;

	if (n->kind != YAML_INT || str_parse_u64(n->scalar, PORT_MAX, &port) < 0)
		return fail_at(r, n, f->name, "must be a port between 1 and 65535, or 0 for none");
	*field_count(r->c, f) = (unsigned)port;
	return 0;
}

static int read_bool(const struct reader *r, const struct field *f, const struct yaml_node *n)
{
	if (n->kind != YAML_BOOL)
		return fail_at(r, n, f->name, "must be true or false");
	*(bool *)((char *)r->c + f->offset) = yaml_scalar_is_true(n->scalar, n->scalar_len);
	return 0;
}

static int read_log_level(const struct reader *r, const struct field *f, const struct yaml_node *n)
{
	if (log_level_parse(n->scalar, &r->c->log_level) < 0)
		return fail_at(r, n, f->name, "must be one of error, warning, info, debug");
	return 0;
}

static int read_strategy(const struct reader *r, const struct field *f, const struct yaml_node *n)
{
	for (int i = 0; i < SOURCE_STRATEGIES_N; i++)
		if (str_eq(n->scalar, source_strategy_name(i))) {
			r->c->tuning.strategy = i;
			return 0;
		}
	return fail_at(r, n, f->name, "must be one of Watch, Cache, Get");
}

static int read_lock(const struct reader *r, const struct field *f, const struct yaml_node *n)
{
	if (str_eq(n->scalar, "require"))
		r->c->memory_lock = CONFIG_LOCK_REQUIRED;
	else if (str_eq(n->scalar, "requireAll"))
		r->c->memory_lock = CONFIG_LOCK_ALL_REQUIRED;
	else if (str_eq(n->scalar, "warn"))
		r->c->memory_lock = CONFIG_LOCK_WARN;
	else
		return fail_at(r, n, f->name, "must be one of require, requireAll, warn");
	return 0;
}

static int read_duration(const struct reader *r, const struct field *f, const struct yaml_node *n)
{
	uint64_t usec;

	if (str_parse_duration(n->scalar, &usec) < 0)
		return fail_at(r, n, f->name, "must be a duration, such as 1m30s");
	if (usec < f->min_usec || usec > f->max_usec)
		return fail_at(r, n, f->name, f->min_usec ? "must be between 1s and 24h" : "must be between 0 and 24h");
	*(uint64_t *)((char *)r->c + f->offset) = usec;
	return 0;
}

static int read_value(const struct reader *r, const struct field *f, const struct yaml_node *n)
{
	bool number = n->kind == YAML_INT || n->kind == YAML_FLOAT;

	assert(f);
	/* as everywhere in Kubernetes, null is as good as absent */
	if (n->kind == YAML_NULL)
		return 0;
	if (f->kind == FIELD_COUNT)
		return read_count(r, f, n);
	if (f->kind == FIELD_RATE)
		return read_rate(r, f, n);
	if (f->kind == FIELD_PORT)
		return read_port(r, f, n);
	if (f->kind == FIELD_BOOL)
		return read_bool(r, f, n);
	if (n->kind != YAML_STRING && !((f->kind == FIELD_QUANTITY || f->kind == FIELD_DURATION) && number))
		return fail_at(r, n, f->name, n->scalar ? "must be a string (put it in quotes)" : "must be a string");
	if (strlen(n->scalar) != n->scalar_len)
		return fail_at(r, n, f->name, "must not contain NUL");
	switch (f->kind) {
	case FIELD_CONST:
		return read_const(r, f, n);
	case FIELD_PATH:
	case FIELD_STRING:
		return read_string(r, f, n);
	case FIELD_QUANTITY:
		return read_quantity(r, f, n);
	case FIELD_COUNT:
	case FIELD_RATE:
	case FIELD_PORT:
	case FIELD_BOOL:
		break; /* above */
	case FIELD_LOG_LEVEL:
		return read_log_level(r, f, n);
	case FIELD_STRATEGY:
		return read_strategy(r, f, n);
	case FIELD_LOCK:
		return read_lock(r, f, n);
	case FIELD_DURATION:
		return read_duration(r, f, n);
	}
	return 0;
}

/* Levenshtein's distance, letters' case ignored; b has at most 63 bytes. Longer ones than that are far away. */
static size_t distance(const char *a, const char *b)
{
	size_t row[64], len = strlen(b);

	if (strlen(a) >= ARRAY_SIZE(row) || len >= ARRAY_SIZE(row))
		return SIZE_MAX;
	for (size_t j = 0; j <= len; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < len; j++) {
			size_t change = diagonal + (tolower((unsigned char)a[i]) != tolower((unsigned char)b[j]));

			diagonal = row[j + 1];
			row[j + 1] = MIN(change, MIN(row[j], diagonal) + 1);
		}
	}
	return row[len];
}

static int fail_unknown(const struct reader *r, const struct yaml_node *key)
{
	const struct field *nearest = NULL;
	size_t best = 4;
	char problem[PROBLEM_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		size_t d = distance(key->scalar, fields[i].name);

		/* a word that has little in common with the field is no misspelling of it */
		if (d < best && d * 2 < strlen(fields[i].name)) {
			best = d;
			nearest = &fields[i];
		}
	}
	if (nearest)
		snprintf(problem, sizeof(problem), "unknown field `%.64s`; did you mean `%s`?", key->scalar,
			 nearest->name);
	else
		snprintf(problem, sizeof(problem), "unknown field `%.64s`", key->scalar);
	return fail_at(r, key, NULL, problem);
}

static const struct field *find_field(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (str_eq(fields[i].name, name))
			return &fields[i];
	return NULL;
}

static int read_root(const struct reader *r, const struct yaml_node *root)
{
	static const char *const required[] = { "apiVersion", "kind" };
	const struct yaml_node *n;
	int k;

	if (root->kind != YAML_MAPPING)
		return fail_at(r, root, NULL, "must be a mapping (`field: value` lines)");
	for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
		n = yaml_get(root, required[i]);
		if (!n || n->kind == YAML_NULL)
			return fail_at(r, n ? n : root, required[i],
				       i == 0 ? "is missing; it must be " CONFIG_API_VERSION
					      : "is missing; it must be " CONFIG_KIND);
		/* before any other field: of another kind of file, those are not mistakes */
		k = read_value(r, find_field(required[i]), n);
		if (k < 0)
			return k;
	}
	for (size_t i = 0; i < root->n_items; i++) {
		const struct field *f = find_field(root->keys[i]->scalar);

		if (!f)
			return fail_unknown(r, root->keys[i]);
		k = read_value(r, f, root->items[i]);
		if (k < 0)
			return k;
		if (r->c->kubeconfig && r->c->manifests_dir)
			return fail_at(r, root->keys[i], NULL, "kubeconfig and manifestsDir exclude each other");
	}
	return 0;
}

static int read_documents(const struct reader *r, const struct yaml_doc *docs, size_t n_docs)
{
	const struct yaml_node *root = NULL;

	for (size_t i = 0; i < n_docs; i++) {
		if (docs[i].root && root)
			return fail_at(r, docs[i].root, NULL, "a second document; the configuration is a single one");
		root = docs[i].root ? docs[i].root : root;
	}
	if (!root)
		return err_set(r->e, -EINVAL, "%s:1:1: the file is empty", r->path);
	return read_root(r, root);
}

/* What the file has said replaces what was there. */
static void adopt(struct config *c, struct config *from)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		char **to;

		if (!is_string_field(&fields[i]) || !*field_string(from, &fields[i]))
			continue;
		to = field_string(c, &fields[i]);
		free(*to);
		*to = TAKE_PTR(*field_string(from, &fields[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (fields[i].kind == FIELD_COUNT && *field_count(from, &fields[i]))
			*field_count(c, &fields[i]) = *field_count(from, &fields[i]);
	if (from->secret_memory_limit)
		c->secret_memory_limit = from->secret_memory_limit;
	c->memory_lock = from->memory_lock ?: c->memory_lock;
	c->log_level = from->log_level;
	c->signal_containers = from->signal_containers;
	c->extended_attributes = from->extended_attributes;
	c->tuning = from->tuning;
	c->serve_environment = from->serve_environment;
	c->healthz_port = from->healthz_port;
	c->agent_hang_usec = from->agent_hang_usec ?: c->agent_hang_usec;
	c->abort_usec = from->abort_usec ?: c->abort_usec;
	free(c->path);
	c->path = TAKE_PTR(from->path);
}

int config_parse(struct config *c, const char *path, const char *text, size_t len, struct err *e)
{
	cleanup(config_freep) struct config *fresh = NULL;
	cleanup_free char *dir = NULL;
	struct yaml_doc *docs = NULL;
	struct err reason = ERR_INIT;
	size_t n_docs = 0;
	int r;

	if (len > CONFIG_BYTES_MAX)
		return err_set(e, -EFBIG, "%s: has more than %zu bytes", path, CONFIG_BYTES_MAX);
	r = config_new(&fresh);
	if (r < 0)
		return err_set(e, r, "%s: out of memory", path);
	fresh->log_level = c->log_level;
	fresh->signal_containers = c->signal_containers;
	fresh->extended_attributes = c->extended_attributes;
	fresh->tuning = c->tuning;
	fresh->serve_environment = c->serve_environment;
	fresh->healthz_port = c->healthz_port;
	fresh->path = strdup(path);
	dir = file_dirname(path);
	if (!fresh->path || !dir)
		return err_set(e, -ENOMEM, "%s: out of memory", path);

	r = yaml_parse(text, len, &docs, &n_docs, &reason);
	if (r < 0)
		return err_set(e, r, "%s:%s", path, err_text(&reason));
	r = read_documents(&(struct reader){ path, dir, fresh, e }, docs, n_docs);
	yaml_docs_free(docs, n_docs);
	if (r < 0)
		return r;

	adopt(c, fresh);
	return 0;
}

int config_load(struct config *c, const char *path, struct err *e)
{
	cleanup_free char *text = NULL;
	size_t len;
	int r;

	r = file_read(AT_FDCWD, path, CONFIG_BYTES_MAX, &text, &len, e);
	return r < 0 ? r : config_parse(c, path, text, len, e);
}

/* ---- the whole ---- */

static int default_string(char **value, const char *text)
{
	if (*value)
		return 0;
	*value = strdup(text);
	return *value ? 0 : -ENOMEM;
}

static int default_node_name(struct config *c, struct err *e)
{
	char name[HOST_NAME_MAX + 1] = "";

	if (c->node_name)
		return 0;
	if (gethostname(name, sizeof(name) - 1) < 0)
		return err_set(e, -errno, "gethostname: %m");
	for (char *s = name; *s; s++)
		*s = tolower((unsigned char)*s);
	if (!str_is_dns_subdomain(name))
		return err_set(e, -EINVAL,
			       "the host's name (`%s`) cannot be a node's name; give one with --node-name NAME", name);
	return default_string(&c->node_name, name) < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
}

/* Absolute, no empty and no `.` elements, no slash at the end. In place: it only gets shorter. */
static void clean_path(char *path)
{
	char *to = path;
	const char *from = path;

	while (*from) {
		size_t len = strcspn(from, "/");

		if (len > 0 && !(len == 1 && *from == '.')) {
			*to++ = '/';
			memmove(to, from, len);
			to += len;
		}
		from += len;
		from += *from == '/';
	}
	if (to == path)
		*to++ = '/';
	*to = '\0';
}

static int make_absolute(char **path, const char *cwd, struct err *e)
{
	cleanup_free char *absolute = NULL;

	if (!*path)
		return 0;
	/* the slash in front is what clean_path() leans on: its result is never longer */
	absolute = **path == '/' ? strdup(*path) : str_format("%s/%s", cwd, *path);
	if (!absolute)
		return err_set(e, -ENOMEM, "out of memory");
	clean_path(absolute);
	free(*path);
	*path = TAKE_PTR(absolute);
	return 0;
}

static int make_all_absolute(struct config *c, struct err *e)
{
	cleanup_free char *cwd = getcwd(NULL, 0);
	int r;

	if (!cwd)
		return err_set(e, -errno, "the current folder: %m");
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		char **value = fields[i].kind == FIELD_PATH ? field_string(c, &fields[i]) : NULL;

		if (!value || !*value || is_word(&fields[i], *value))
			continue;
		r = make_absolute(value, cwd, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_fields(struct config *c, struct err *e)
{
	char problem[PROBLEM_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const struct field *f = &fields[i];
		const char *value = is_string_field(f) ? *field_string(c, f) : NULL;

		if (!value)
			continue;
		if (!*value)
			return err_set(e, -EINVAL, "%s: must not be empty", f->name);
		if (f->check && !f->check(value, problem))
			return err_set(e, -EINVAL, "%s: %s: %s", f->name, value, problem);
	}
	if (c->secret_memory_limit && (c->secret_memory_limit < MEMORY_MIN || c->secret_memory_limit > MEMORY_MAX))
		return err_set(e, -EINVAL, "secretMemoryLimit: must be between 2Mi and 32Gi");
	return 0;
}

/* Both are clean. A path is inside itself. */
static bool is_inside(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || !path[len]);
}

/* What we read to be able to serve must not be what we serve. */
static int check_sources(const struct config *c, struct err *e)
{
	const struct {
		const char *name, *path;
	} sources[] = {
		{ "kubeconfig", c->kubeconfig },
		{ "manifestsDir", c->manifests_dir },
		{ "sealedSecretsKeyFile", c->sealing_key_file },
		{ "offlineCacheKeyFile", c->offline_cache_key_file },
	};

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		if (sources[i].path && is_inside(sources[i].path, c->pods_dir))
			return err_set(e, -EINVAL, "%s (%s): must not be inside podsDir (%s)", sources[i].name,
				       sources[i].path, c->pods_dir);
	}
	return 0;
}

/* What reads the mount to write into it would never end; the cache's folder has nothing else in it. */
static int check_audit(const struct config *c, struct err *e)
{
	const struct {
		const char *name, *path;
	} places[] = { { "podsDir", c->pods_dir }, { "offlineCacheDir", c->offline_cache_dir } };

	if (!c->audit_log || str_eq(c->audit_log, AUDIT_JOURNAL))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (places[i].path && is_inside(c->audit_log, places[i].path))
			return err_set(e, -EINVAL, "auditLog (%s): must not be inside %s (%s)", c->audit_log,
				       places[i].name, places[i].path);
	return 0;
}

static int check_places(const struct config *c, struct err *e)
{
	int r;

	if (str_eq(c->pods_dir, "/") || str_eq(c->runtime_dir, "/"))
		return err_set(e, -EINVAL, "%s: must not be the root folder",
			       str_eq(c->pods_dir, "/") ? "podsDir" : "runtimeDir");
	if (is_inside(c->pods_dir, c->runtime_dir) || is_inside(c->runtime_dir, c->pods_dir))
		return err_set(e, -EINVAL, "podsDir (%s) and runtimeDir (%s): one must not be inside the other",
			       c->pods_dir, c->runtime_dir);
	if (c->offline_cache_key_file && !c->offline_cache_dir)
		return err_set(e, -EINVAL, "offlineCacheKeyFile: has no effect without offlineCacheDir");
	if (c->offline_cache_dir &&
	    (is_inside(c->offline_cache_dir, c->pods_dir) || is_inside(c->pods_dir, c->offline_cache_dir)))
		return err_set(e, -EINVAL, "offlineCacheDir (%s) and podsDir (%s): one must not be inside the other",
			       c->offline_cache_dir, c->pods_dir);
	if (c->offline_cache_dir &&
	    (is_inside(c->offline_cache_dir, c->runtime_dir) || is_inside(c->runtime_dir, c->offline_cache_dir)))
		return err_set(e, -EINVAL, "offlineCacheDir (%s) and runtimeDir (%s): one must not be inside the other",
			       c->offline_cache_dir, c->runtime_dir);
	if (c->offline_cache_dir && c->offline_cache_key_file &&
	    is_inside(c->offline_cache_key_file, c->offline_cache_dir))
		return err_set(e, -EINVAL, "offlineCacheKeyFile (%s): must not be inside offlineCacheDir (%s)",
			       c->offline_cache_key_file, c->offline_cache_dir);
	if (strlen(c->runtime_dir) > RUNTIME_DIR_MAX)
		return err_set(e, -EINVAL, "runtimeDir: %s: must have at most %d characters (a socket's path is short)",
			       c->runtime_dir, RUNTIME_DIR_MAX);
	r = check_audit(c, e);
	if (r < 0)
		return r;
	return check_sources(c, e);
}

static int check_source(const struct config *c, struct err *e)
{
	if (c->kubeconfig && c->manifests_dir)
		return err_set(e, -EINVAL,
			       "kubeconfig (%s) and manifestsDir (%s) are both given; Secrets come from one place: "
			       "--kubeconfig FILE or --manifests DIR",
			       c->kubeconfig, c->manifests_dir);
	if (!c->kubeconfig && !c->manifests_dir && !c->in_cluster)
		return err_set(e, -EINVAL,
			       "nothing says where Secrets come from: give --kubeconfig FILE (from an API server) or "
			       "--manifests DIR (from a folder), or set kubeconfig or manifestsDir in %s",
			       c->path ? c->path : CONFIG_DEFAULT_PATH);
	return 0;
}

int config_finish(struct config *c, struct err *e)
{
	int r;

	c->in_cluster = !c->kubeconfig && !c->manifests_dir && kubeconfig_is_in_cluster(KUBECONFIG_IN_CLUSTER_DIR);
	r = check_source(c, e);
	if (r < 0)
		return r;
	if (default_string(&c->pods_dir, "/var/lib/pods") < 0 ||
	    default_string(&c->runtime_dir, "/run/secretlet") < 0 || default_string(&c->user, "secretlet") < 0 ||
	    default_string(&c->healthz_address, "127.0.0.1") < 0)
		return err_set(e, -ENOMEM, "out of memory");
	if (!c->memory_lock)
		c->memory_lock = CONFIG_LOCK_REQUIRED;
	if (!c->secret_memory_limit)
		c->secret_memory_limit = UINT64_C(256) << 20;
	if (!c->agent_hang_usec)
		c->agent_hang_usec = 10 * USEC_PER_SEC;
	if (!c->abort_usec)
		c->abort_usec = 300 * USEC_PER_SEC;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (fields[i].kind == FIELD_COUNT && !*field_count(c, &fields[i]))
			*field_count(c, &fields[i]) = fields[i].number;
	r = check_fields(c, e);
	if (r < 0)
		return r;
	r = default_node_name(c, e);
	if (r < 0)
		return r;
	r = make_all_absolute(c, e);
	if (r < 0)
		return r;
	return check_places(c, e);
}

int config_finish_cache(struct config *c, struct err *e)
{
	int r;

	r = check_fields(c, e);
	if (r < 0)
		return r;
	if (!c->offline_cache_dir)
		return err_set(e, -EINVAL, "%s: has no offlineCacheDir: there is no offline cache",
			       c->path ? c->path : CONFIG_DEFAULT_PATH);
	r = default_node_name(c, e);
	return r < 0 ? r : make_all_absolute(c, e);
}

static bool field_differs(const struct field *f, const struct config *a, const struct config *b)
{
	if (f->kind == FIELD_QUANTITY)
		return a->secret_memory_limit != b->secret_memory_limit;
	if (f->kind == FIELD_LOCK)
		return a->memory_lock != b->memory_lock;
	if (f->kind == FIELD_COUNT || f->kind == FIELD_PORT)
		return *field_count((struct config *)(uintptr_t)a, f) != *field_count((struct config *)(uintptr_t)b, f);
	if (f->offset == offsetof(struct config, extended_attributes))
		return a->extended_attributes != b->extended_attributes;
	if (f->offset == offsetof(struct config, agent_hang_usec))
		return a->agent_hang_usec != b->agent_hang_usec;
	if (f->offset == offsetof(struct config, serve_environment))
		return a->serve_environment != b->serve_environment;
	if (f->offset == offsetof(struct config, abort_usec))
		return a->abort_usec != b->abort_usec;
	if (f->offset == offsetof(struct config, signal_containers))
		return a->signal_containers != b->signal_containers;
	return is_string_field(f) &&
	       !str_eq(*(char *const *)((const char *)a + f->offset), *(char *const *)((const char *)b + f->offset)) &&
	       (*(char *const *)((const char *)a + f->offset) || *(char *const *)((const char *)b + f->offset));
}

size_t config_differences(const struct config *a, const struct config *b, enum config_change change, char *names,
			  size_t size)
{
	size_t n = 0, len = 0;

	names[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (fields[i].of_mount != (change == CONFIG_TAKES_MOUNT) || !field_differs(&fields[i], a, b))
			continue;
		len = strlen(names);
		snprintf(names + len, size - len, "%s%s", n ? ", " : "", fields[i].name);
		n++;
	}
	return n;
}
