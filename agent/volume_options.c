/* Volume options: an entry is read as a whole, all that is wrong in it is told, and a volume with an entry that is wrong
 * anywhere gets none of it but the reason: what remained could be less than what was asked for, for instance a mode that
 * hides a key.
 *
 * The text is foreign: yaml.c bounds its depth and what its aliases expand to, and what "*" copies to each volume is
 * counted here. */
#include "agent/volume_options.h"

#include "agent/container_signal.h"
#include "agent/pod_options.h"
#include "agent/yaml.h"
#include "common/str.h"
#include "fusefs/payload.h"

#define TEXT_MAX       ((size_t)64 << 10) /* an object has 256 KiB of annotations at most */
#define KEY_COST_MAX   ((size_t)1 << 20) /* bytes of memory for the keys of all volumes */
#define UTF8_BYTES_MAX 4
#define UID_LARGEST    (UINT32_MAX - 1) /* the one above is no user's */
#define MODE_DIGITS    5 /* "00400" */
#define ALL_VOLUMES    "*"

struct entry {
	bool has_layout, has_keys;
	enum pod_volume_layout layout;
	struct pod_file_options files;
	int on_change; /* 0: nothing is said */
	struct pod_key_options *keys;
	size_t n_keys;
	char *error; /* the first thing that is wrong; NULL: nothing */
};

struct reader {
	struct pod *pod;
	struct entry *entry; /* that is read; NULL: what is read is of none */
	size_t key_cost;
};

static void keys_free(struct pod_key_options *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(keys[i].path);
	free(keys);
}

static void entry_deinit(struct entry *e)
{
	keys_free(e->keys, e->n_keys);
	free(e->error);
}

/* ---- mistakes ---- */

static int mistake(struct reader *r, const struct yaml_node *n, const struct json_at *at, const char *fmt, ...)
	attr_printf(4, 5);
static int mistake(struct reader *r, const struct yaml_node *n, const struct json_at *at, const char *fmt, ...)
{
	struct pod_mistake m = { .line = n->line, .column = n->column };
	struct json_issue issue;
	char reason[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	(void)json_issue_set(&issue, at, "%s", reason);
	if (r->entry && !r->entry->error) {
		r->entry->error = str_format("%s: %s", issue.path, issue.reason);
		if (!r->entry->error)
			return -ENOMEM;
	}
	m.is_of_volume = r->entry;
	return pod_options_complain(r->pod, POD_OPTION_VOLUMES, &m, "%s: %s", issue.path, issue.reason);
}

static int volume_fail(struct pod_volume *v, const char *error)
{
	if (v->option_error)
		return 0;
	v->option_error = strdup(error);
	return v->option_error ? 0 : -ENOMEM;
}

static bool is_served(const struct pod_volume *v)
{
	return v->kind != POD_VOLUME_OTHER;
}

/* Nothing of the annotation is known. */
static int fail_all(struct pod *p, size_t line, size_t column, const char *reason)
{
	const struct pod_mistake m = { .line = line, .column = column, .is_of_volume = true };
	int r = 0;

	for (size_t i = 0; i < p->n_volumes && r == 0; i++)
		if (is_served(&p->volumes[i]))
			r = volume_fail(&p->volumes[i], reason);
	return r ?: pod_options_complain(p, POD_OPTION_VOLUMES, &m, "%s", reason);
}

/* ---- single options ---- */

/* Decimal digits, as they stand there: 010 and 0x10 are numbers in YAML, but not of a kind that people mean the same by. */
static int read_id(struct reader *r, const struct yaml_node *n, const struct json_at *at, bool *ret_has,
		   uint32_t *ret_id)
{
	uint64_t id;

	if (n->kind != YAML_INT || (n->scalar[0] == '0' && n->scalar[1]) ||
	    str_parse_u64(n->scalar, UID_LARGEST, &id) < 0)
		return mistake(r, n, at, "must be a number from 0 to %u, in decimal and without quotes", UID_LARGEST);
	*ret_has = true;
	*ret_id = (uint32_t)id;
	return 0;
}

static int read_owner(struct reader *r, struct pod_file_options *f, const struct yaml_node *n, const struct json_at *at)
{
	return read_id(r, n, at, &f->has_owner, &f->owner);
}

static int read_group(struct reader *r, struct pod_file_options *f, const struct yaml_node *n, const struct json_at *at)
{
	return read_id(r, n, at, &f->has_group, &f->group);
}

/* 0400 is octal as a number of YAML and as a string. 400 would be decimal as a number, 256 could be meant by nobody but a
 * JSON manifest, and "400" might be a decimal number in quotes: what does not begin with 0 is not guessed. */
static int read_mode(struct reader *r, struct pod_file_options *f, const struct yaml_node *n, const struct json_at *at)
{
	bool ok = (n->kind == YAML_STRING || n->kind == YAML_INT) && n->scalar[0] == '0' &&
		  n->scalar_len <= MODE_DIGITS && strspn(n->scalar, "01234567") == n->scalar_len;
	unsigned long mode = ok ? strtoul(n->scalar, NULL, 8) : 0;

	if (!ok || mode > 0777)
		return mistake(r, n, at, "must be octal digits, the first one 0, up to 0777, such as \"0400\"");
	f->has_mode = true;
	f->mode = (mode_t)mode;
	return 0;
}

static const struct file_option {
	const char *name;
	int (*read)(struct reader *r, struct pod_file_options *f, const struct yaml_node *n, const struct json_at *at);
} FILE_OPTIONS[] = {
	{ "owner", read_owner },
	{ "group", read_group },
	{ "mode", read_mode },
};

static const struct file_option *find_file_option(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(FILE_OPTIONS); i++)
		if (str_eq(FILE_OPTIONS[i].name, name))
			return &FILE_OPTIONS[i];
	return NULL;
}

/* "" of what is none. */
static const char *word(const struct yaml_node *n)
{
	return n->kind == YAML_STRING && strlen(n->scalar) == n->scalar_len ? n->scalar : "";
}

static int read_layout(struct reader *r, const struct yaml_node *n, const struct json_at *at)
{
	bool flat = str_eq(word(n), "flat");

	if (!flat && !str_eq(word(n), "kubelet"))
		return mistake(r, n, at, "must be kubelet or flat");
	r->entry->has_layout = true;
	r->entry->layout = flat ? POD_LAYOUT_FLAT : POD_LAYOUT_KUBELET;
	return 0;
}

static int read_on_change(struct reader *r, const struct yaml_node *n, const struct json_at *at)
{
	int number = container_signal_parse(word(n));

	if (!number)
		return mistake(r, n, at, "must be one of " CONTAINER_SIGNAL_NAMES);
	r->entry->on_change = number;
	return 0;
}

/* ---- keys ---- */

static int read_key(struct reader *r, struct pod_file_options *f, const struct yaml_node *n, const struct json_at *at)
{
	int k = 0;

	if (n->kind != YAML_MAPPING)
		return mistake(r, n, at, "must be a map of owner, group and mode");
	for (size_t i = 0; i < n->n_items && k == 0; i++) {
		const char *name = n->keys[i]->scalar;
		const struct file_option *o = find_file_option(name);
		const struct json_at here = JSON_AT(at, name);

		k = o ? o->read(r, f, n->items[i], &here) : mistake(r, n->keys[i], &here, "there is no such option");
	}
	return k;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(((const struct pod_key_options *)a)->path, ((const struct pod_key_options *)b)->path);
}

static int refuse_doubles(struct reader *r, const struct yaml_node *n, const struct json_at *at)
{
	const struct entry *e = r->entry;

	for (size_t i = 1; i < e->n_keys; i++)
		if (str_eq(e->keys[i - 1].path, e->keys[i].path))
			return mistake(r, n, at, "\"%.64s\" is there twice", e->keys[i].path);
	return 0;
}

static int read_keys(struct reader *r, const struct yaml_node *n, const struct json_at *at)
{
	struct entry *e = r->entry;
	int k;

	if (n->kind != YAML_MAPPING)
		return mistake(r, n, at, "must be a map from paths to owner, group and mode");
	e->has_keys = true;
	e->keys = calloc(n->n_items + 1, sizeof(*e->keys));
	if (!e->keys)
		return -ENOMEM;
	for (size_t i = 0; i < n->n_items; i++) {
		const struct json_at here = JSON_AT(at, n->keys[i]->scalar);
		struct pod_key_options *key = &e->keys[e->n_keys];
		struct err why = ERR_INIT;

		k = payload_clean_path(n->keys[i]->scalar, &key->path, &why);
		if (k == 0)
			e->n_keys++;
		if (k == 0 && str_eq(key->path, "."))
			k = mistake(r, n->keys[i], &here, "invalid path: is a directory: .");
		else if (k == 0)
			k = read_key(r, &key->files, n->items[i], &here);
		else if (k == -EINVAL)
			k = mistake(r, n->keys[i], &here, "%s", err_text(&why));
		if (k < 0)
			return k;
	}
	if (e->n_keys > 0)
		qsort(e->keys, e->n_keys, sizeof(*e->keys), compare_keys);
	return refuse_doubles(r, n, at);
}

/* What is in a volume whose sources all have a list of items is known without them. */
static bool has_known_paths(const struct pod_volume *v)
{
	if (v->error) /* it has lost its sources */
		return false;
	for (size_t i = 0; i < v->n_sources; i++)
		if (v->sources[i].n_items == 0)
			return false;
	return true;
}

struct paths {
	char **all; /* sorted */
	size_t n;
};

static void paths_deinit(struct paths *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->all[i]);
	free(p->all);
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int paths_of(const struct pod_volume *v, struct paths *p)
{
	size_t n = 0;

	for (size_t i = 0; i < v->n_sources; i++)
		n += v->sources[i].n_items;
	p->all = calloc(n + 1, sizeof(*p->all));
	if (!p->all)
		return -ENOMEM;
	for (size_t i = 0; i < v->n_sources; i++)
		for (size_t j = 0; j < v->sources[i].n_items; j++) {
			int r = payload_clean_path(v->sources[i].items[j].path, &p->all[p->n], NULL);

			if (r == -ENOMEM)
				return r;
			p->n += r == 0; /* a bad one fails the volume later */
		}
	qsort(p->all, p->n, sizeof(*p->all), compare_paths);
	return 0;
}

static int refuse_unknown_paths(struct reader *r, const struct pod_volume *v, const struct yaml_node *keys,
				const struct json_at *at)
{
	cleanup(paths_deinit) struct paths paths = { .n = 0 };
	int k;

	if (!has_known_paths(v))
		return 0;
	k = paths_of(v, &paths);
	for (size_t i = 0; i < keys->n_items && k == 0; i++) {
		const struct yaml_node *key = keys->keys[i];
		cleanup_free char *path = NULL;

		k = payload_clean_path(key->scalar, &path, NULL);
		if (k == 0 && !bsearch(&path, paths.all, paths.n, sizeof(*paths.all), compare_paths))
			k = mistake(r, key, &JSON_AT(at, key->scalar), "is no path of an item of this volume");
	}
	return k;
}

/* ---- an entry ---- */

static const struct volume_option {
	const char *name;
	int (*read)(struct reader *r, const struct yaml_node *n, const struct json_at *at);
} VOLUME_OPTIONS[] = {
	{ "layout", read_layout },
	{ "onChange", read_on_change },
	{ "keys", read_keys },
};

static int read_option(struct reader *r, const struct yaml_node *key, const struct yaml_node *n,
		       const struct json_at *at)
{
	const struct file_option *o = find_file_option(key->scalar);

	if (o)
		return o->read(r, &r->entry->files, n, at);
	for (size_t i = 0; i < ARRAY_SIZE(VOLUME_OPTIONS); i++)
		if (str_eq(VOLUME_OPTIONS[i].name, key->scalar))
			return VOLUME_OPTIONS[i].read(r, n, at);
	return mistake(r, key, at, "there is no such option");
}

static int read_entry(struct reader *r, const struct yaml_node *n, const struct json_at *at)
{
	int k = 0;

	if (n->kind != YAML_MAPPING)
		return mistake(r, n, at, "must be a map of options");
	for (size_t i = 0; i < n->n_items && k == 0; i++)
		k = read_option(r, n->keys[i], n->items[i], &JSON_AT(at, n->keys[i]->scalar));
	return k;
}

/* *ret_copy stays NULL when there are too many for one pod. */
static int copy_keys(struct reader *r, const struct entry *e, struct pod_key_options **ret_copy)
{
	struct pod_key_options *copy;
	size_t cost = 0;

	for (size_t i = 0; i < e->n_keys; i++)
		cost += sizeof(*copy) + strlen(e->keys[i].path);
	if (cost > KEY_COST_MAX - r->key_cost)
		return 0;
	copy = calloc(e->n_keys + 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	for (size_t i = 0; i < e->n_keys; i++) {
		copy[i] = e->keys[i];
		copy[i].path = strdup(e->keys[i].path);
		if (!copy[i].path) {
			keys_free(copy, i);
			return -ENOMEM;
		}
	}
	r->key_cost += cost;
	*ret_copy = copy;
	return 0;
}

static int apply_keys(struct reader *r, struct pod_volume *v, const struct entry *e, const struct yaml_node *n,
		      const char *name)
{
	const struct json_at root = JSON_ROOT, at = JSON_AT(&root, name);
	struct pod_key_options *copy = NULL;
	int k;

	k = copy_keys(r, e, &copy);
	if (k < 0)
		return k;
	if (!copy) {
		k = mistake(r, n, &at, "too many keys, with those of the pod's other volumes");
		return k ?: volume_fail(v, e->error);
	}
	keys_free(v->keys, v->n_keys);
	v->keys = copy;
	v->n_keys = e->n_keys;
	return 0;
}

/* What the entry says; all else stays as it is. */
static int apply(struct reader *r, struct pod_volume *v, const struct entry *e, const struct yaml_node *n,
		 const char *name)
{
	if (e->error)
		return volume_fail(v, e->error);
	if (e->has_layout)
		v->layout = e->layout;
	if (e->on_change)
		v->on_change = e->on_change;
	if (e->files.has_owner)
		v->files.owner = e->files.owner;
	if (e->files.has_group)
		v->files.group = e->files.group;
	if (e->files.has_mode)
		v->files.mode = e->files.mode;
	v->files.has_owner |= e->files.has_owner;
	v->files.has_group |= e->files.has_group;
	v->files.has_mode |= e->files.has_mode;
	return e->has_keys ? apply_keys(r, v, e, n, name) : 0;
}

static struct pod_volume *find_volume(struct pod *p, const char *name)
{
	for (size_t i = 0; i < p->n_volumes; i++)
		if (is_served(&p->volumes[i]) && str_eq(p->volumes[i].name, name))
			return &p->volumes[i];
	return NULL;
}

/* only NULL: of all that are served here */
static int read_and_apply(struct reader *r, const char *name, const struct yaml_node *n, struct pod_volume *only)
{
	const struct json_at root = JSON_ROOT, at = JSON_AT(&root, name);
	cleanup(entry_deinit) struct entry e = { .on_change = 0 };
	struct pod *p = r->pod;
	int k;

	r->entry = &e;
	k = read_entry(r, n, &at);
	if (k == 0 && only && e.has_keys && !e.error)
		k = refuse_unknown_paths(r, only, yaml_get(n, "keys"), &JSON_AT(&at, "keys"));
	if (k == 0 && only)
		k = apply(r, only, &e, n, name);
	for (size_t i = 0; i < p->n_volumes && k == 0 && !only; i++)
		if (is_served(&p->volumes[i]))
			k = apply(r, &p->volumes[i], &e, n, name);
	r->entry = NULL;
	return k;
}

static int read_map(struct pod *p, const struct yaml_node *root)
{
	const struct yaml_node *all = yaml_get(root, ALL_VOLUMES);
	const struct json_at document = JSON_ROOT;
	struct reader r = { .pod = p };
	int k;

	k = all ? read_and_apply(&r, ALL_VOLUMES, all, NULL) : 0;
	for (size_t i = 0; i < root->n_items && k == 0; i++) {
		const char *name = root->keys[i]->scalar;
		const struct json_at at = JSON_AT(&document, name);
		struct pod_volume *v = find_volume(p, name);

		if (root->items[i] == all)
			continue;
		k = v ? read_and_apply(&r, name, root->items[i], v)
		      : mistake(&r, root->keys[i], &at, "is no volume of this pod that is served here");
	}
	return k;
}

/* "LINE:COLUMN: reason" */
static int fail_unreadable(struct pod *p, const char *why)
{
	size_t line = 0, column = 0;
	char *end;

	line = strtoul(why, &end, 10);
	if (end != why && *end == ':')
		column = strtoul(end + 1, &end, 10);
	if (!column || !str_starts(end, ": "))
		return fail_all(p, 0, 0, why);
	return fail_all(p, line, column, end + 2);
}

/* One that is too long is so when it is read again; and it is cut where a character begins. */
static int keep_text(struct pod *p, const char *text, size_t len)
{
	size_t kept = MIN(len, TEXT_MAX + UTF8_BYTES_MAX);

	while (kept > 0 && kept < len && ((uint8_t)text[kept] & 0xc0) == 0x80)
		kept--;
	p->volume_options = malloc(kept + 1);
	if (!p->volume_options)
		return -ENOMEM;
	memcpy(p->volume_options, text, kept);
	p->volume_options[kept] = '\0';
	p->volume_options_len = kept;
	return 0;
}

int volume_options_read(struct pod *p, const char *text, size_t len)
{
	const struct yaml_node *root;
	struct yaml_doc *docs = NULL;
	struct err why = ERR_INIT;
	size_t n_docs = 0;
	int r;

	if (keep_text(p, text, len) < 0)
		return -ENOMEM;
	if (len > TEXT_MAX)
		return fail_all(p, 0, 0, "is too long: more than 64 KiB");
	r = yaml_parse(text, len, &docs, &n_docs, &why);
	if (r == -EINVAL || r == -E2BIG)
		return fail_unreadable(p, err_text(&why));
	if (r < 0)
		return r;

	root = n_docs > 0 ? docs[0].root : NULL;
	if (n_docs > 1)
		r = fail_all(p, docs[1].line, 1, "must be one document");
	else if (root && root->kind == YAML_MAPPING)
		r = read_map(p, root);
	else if (root && root->kind != YAML_NULL)
		r = fail_all(p, root->line, root->column, "must be a map from the names of volumes to options");
	yaml_docs_free(docs, n_docs);
	return r;
}
