/* Manifest: YAML tree -> JSON -> validate -> codec, object by object, so that one bad object in a file does not take the
 * others with it. The YAML tree is kept until the end, because it alone knows where things are: an issue's path is looked
 * up in it to get a line. */
#include "agent/manifest.h"

#include <inttypes.h>
#include <sodium.h>

#include "agent/codec.h"
#include "agent/validate.h"
#include "agent/yaml.h"
#include "common/secmem.h"
#include "common/str.h"

#define SHOWN "%.64s"

struct reader {
	const char *file;
	const char *text;
	size_t len;
	const struct sealing_keys *keys;
	uint64_t *revision;
	struct manifest_object *objects;
	size_t n_objects, size;
	struct err *e;
};

void manifest_object_deinit(struct manifest_object *o)
{
	free(o->key);
	free(o->ns);
	free(o->name);
	free(o->uid);
	free(o->volumes);
	finding_free(o->problem);
	for (size_t i = 0; i < o->n_warnings; i++)
		finding_free(o->warnings[i]);
	free(o->warnings);
	secret_unref(o->secret);
	pod_unref(o->pod);
	json_decref(o->json);
	*o = (struct manifest_object){ .kind = MANIFEST_UNKNOWN };
}

void manifest_objects_free(struct manifest_object *objects, size_t n_objects)
{
	for (size_t i = 0; objects && i < n_objects; i++)
		manifest_object_deinit(&objects[i]);
	free(objects);
}

bool manifest_is_file_name(const char *name)
{
	static const char *const endings[] = { ".yaml", ".yml", ".json" };
	size_t len = strlen(name);

	for (size_t i = 0; *name != '.' && i < ARRAY_SIZE(endings); i++) {
		size_t n = strlen(endings[i]);

		if (len > n && str_eq(name + len - n, endings[i]))
			return true;
	}
	return false;
}

static int no_memory(struct reader *r)
{
	return err_set(r->e, -ENOMEM, "%s: out of memory", r->file);
}

/* ---- one object ---- */

static const char *kind_name(enum manifest_kind kind)
{
	static const char *const names[] = { [MANIFEST_UNKNOWN] = "object",
					     [MANIFEST_POD] = "pod",
					     [MANIFEST_SECRET] = "secret",
					     [MANIFEST_CONFIG_MAP] = "configmap" };

	return names[kind];
}

static int note(struct reader *r, const struct manifest_object *o, enum finding_level level, struct manifest_place at,
		const char *path, const char *reason, struct finding **ret_f)
{
	const struct finding f = {
		.level = level,
		.line = at.line,
		.column = at.column,
		.file = (char *)(uintptr_t)r->file,
		.object = o->key ? o->key : (char *)(uintptr_t)kind_name(o->kind),
		.field = (char *)(uintptr_t)path,
		.reason = (char *)(uintptr_t)reason,
	};

	return finding_new(&f, ret_f) < 0 ? no_memory(r) : 0;
}

static struct manifest_place place_of(const struct yaml_node *n)
{
	return (struct manifest_place){ n->line, n->column };
}

/* Sets o->problem. */
static int refuse(struct reader *r, struct manifest_object *o, const struct yaml_node *at, const char *path,
		  const char *reason)
{
	return note(r, o, FINDING_ERROR, place_of(at), path, reason, &o->problem);
}

/* What the issue calls data may have been written as stringData or sealedData. */
static const struct yaml_node *find_issue(const struct yaml_node *root, const char *path)
{
	const struct yaml_node *n = yaml_find(root, path);
	char other[JSON_PATH_MAX + 16];

	if (n != root || !str_starts(path, "data"))
		return n;
	snprintf(other, sizeof(other), "stringData%.*s", JSON_PATH_MAX, path + strlen("data"));
	n = yaml_find(root, other);
	if (n != root)
		return n;
	snprintf(other, sizeof(other), "sealedData%.*s", JSON_PATH_MAX, path + strlen("data"));
	return yaml_find(root, other);
}

static int refuse_issue(struct reader *r, struct manifest_object *o, const struct yaml_node *root,
			const struct json_issue *issue)
{
	return refuse(r, o, find_issue(root, issue->path), issue->path, issue->reason);
}

struct warning {
	struct reader *reader;
	struct manifest_object *object;
	const struct yaml_node *root;
};

static int warn(struct reader *r, struct manifest_object *o, enum finding_level level, struct manifest_place at,
		const char *path, const char *reason)
{
	struct finding **warnings;
	int k;

	if (o->n_warnings == MANIFEST_WARNINGS_MAX)
		return 0;
	warnings = reallocarray(o->warnings, o->n_warnings + 1, sizeof(*warnings));
	if (!warnings)
		return no_memory(r);
	o->warnings = warnings;
	k = note(r, o, level, at, path, reason, &warnings[o->n_warnings]);
	o->n_warnings += k == 0;
	return k;
}

static int add_warning(void *userdata, const struct json_issue *issue)
{
	struct warning *w = userdata;

	return warn(w->reader, w->object, FINDING_WARNING, place_of(find_issue(w->root, issue->path)), issue->path,
		    issue->reason);
}

/* ---- mistakes in an annotation ---- */

/* The n-th line of a text, from 1; NULL: it has less. */
static const char *line_of(const char *text, size_t len, size_t n)
{
	const char *end = text + len;

	for (; text && n > 1; n--) {
		text = memchr(text, '\n', (size_t)(end - text));
		text = text ? text + 1 : NULL;
	}
	return text && text < end ? text : NULL;
}

static size_t indent_of(const char *line, const char *end)
{
	size_t n = 0;

	while (line + n < end && line[n] == ' ')
		n++;
	return n;
}

/* Where a line of a literal block (`|`) is in the file: as many lines below its head, further in by what all of its lines are.
 * Of a text that is written otherwise nobody knows, and its beginning is said. */
static struct manifest_place place_in(const struct reader *r, const struct yaml_node *n, const struct pod_mistake *m)
{
	const char *end = r->text + r->len, *head = line_of(r->text, r->len, n->line);
	const char *in_file = line_of(r->text, r->len, n->line + m->line);
	const char *in_value = line_of(n->scalar, n->scalar_len, m->line);
	size_t outer = 0, inner = 0;

	if (!m->line || !head || (size_t)(end - head) < n->column || head[n->column - 1] != '|')
		return place_of(n);
	/* where something is missing at the end there is no line */
	if (in_file && in_value) {
		outer = indent_of(in_file, end);
		inner = indent_of(in_value, n->scalar + n->scalar_len);
	}
	return (struct manifest_place){ n->line + m->line, m->column + (outer > inner ? outer - inner : 0) };
}

static int add_mistake(struct reader *r, struct manifest_object *o, const struct yaml_node *root,
		       const struct pod_mistake *m)
{
	const struct json_at top = JSON_ROOT, meta = JSON_AT(&top, "metadata"), all = JSON_AT(&meta, "annotations"),
			     at = JSON_AT(&all, m->annotation);
	const struct yaml_node *n;
	struct json_issue issue;

	json_issue_set(&issue, &at, "%s", m->text);
	n = find_issue(root, issue.path);
	return warn(r, o, m->is_of_volume ? FINDING_ERROR : FINDING_WARNING,
		    n->scalar ? place_in(r, n, m) : place_of(n), issue.path, issue.reason);
}

/* A name's text; `otherwise` when it is absent or empty, NULL when it is no string (`namespace: n` is a boolean). */
static const char *name_text(const struct yaml_node *n, const char *otherwise)
{
	if (!n || n->kind == YAML_NULL)
		return otherwise;
	if (n->kind != YAML_STRING || strlen(n->scalar) != n->scalar_len)
		return NULL;
	return *n->scalar ? n->scalar : otherwise;
}

/* Shaped like a UUID (version 8: by our own rule, RFC 9562), so that whoever sorts pods by uid finds what it expects. */
static void derive_uid(const char *key, char uid[static 37])
{
	static const char domain[] = "secretlet manifest uid";
	unsigned char h[16];

	crypto_generichash(h, sizeof(h), (const unsigned char *)key, strlen(key), (const unsigned char *)domain,
			   sizeof(domain) - 1);
	h[6] = (h[6] & 0x0f) | 0x80;
	h[8] = (h[8] & 0x3f) | 0x80;
	snprintf(uid, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", h[0], h[1], h[2],
		 h[3], h[4], h[5], h[6], h[7], h[8], h[9], h[10], h[11], h[12], h[13], h[14], h[15]);
}

static int keep_uid(struct reader *r, struct manifest_object *o, const struct yaml_node *given)
{
	char derived[37];

	if (!given || given->kind == YAML_NULL)
		derive_uid(o->key, derived);
	else
		derived[0] = '\0';
	o->uid = strdup(*derived ? derived : name_text(given, "") ?: "");
	return o->uid ? 0 : no_memory(r);
}

/* Of an object that may be refused later: enough to know whose last good version is to be kept. What validate accepts
 * has a key. */
static int read_identity(struct reader *r, struct manifest_object *o, const struct yaml_node *root)
{
	const struct yaml_node *meta = yaml_get(root, "metadata");
	const char *name = name_text(yaml_get(meta, "name"), NULL),
		   *ns = name_text(yaml_get(meta, "namespace"), "default");

	if (!name || !ns || !str_is_dns_subdomain(name) || !str_is_dns_label(ns))
		return 0;
	o->ns = strdup(ns);
	o->name = strdup(name);
	o->key = str_format("%s %s/%s", kind_name(o->kind), ns, name);
	if (!o->ns || !o->name || !o->key)
		return no_memory(r);
	return o->kind == MANIFEST_POD ? keep_uid(r, o, yaml_get(meta, "uid")) : 0;
}

/* What a server gives to an object when it stores it. */
static int set_server_fields(struct reader *r, const struct manifest_object *o, json_t *obj)
{
	json_t *meta = json_object_get(obj, "metadata"), *uid = json_object_get(meta, "uid");
	char text[37];

	if (!uid || json_is_null(uid)) {
		derive_uid(o->key, text);
		if (json_object_set_new(meta, "uid", json_string(text)) < 0)
			return no_memory(r);
	}
	snprintf(text, sizeof(text), "%" PRIu64, ++*r->revision);
	return json_object_set_new(meta, "resourceVersion", json_string(text)) < 0 ? no_memory(r) : 0;
}

/* The API server's SetDefaults_Pod: what has a limit, and no request of its own, asks for as much. */
static int default_requests(struct reader *r, json_t *containers)
{
	json_t *container;
	size_t i;

	json_array_foreach (containers, i, container) {
		json_t *resources = json_object_get(container, "resources"),
		       *limits = json_object_get(resources, "limits");
		json_t *requests = json_object_get(resources, "requests"), *limit;
		const char *name;

		if (json_object_size(limits) == 0)
			continue;
		if (!requests || json_is_null(requests)) {
			requests = json_object();
			if (json_object_set_new(resources, "requests", requests) < 0)
				return no_memory(r);
		}
		/* what is no object the codec refuses */
		json_object_foreach (limits, name, limit)
			if (json_is_object(requests) && !json_object_get(requests, name) &&
			    json_object_set(requests, name, limit) < 0)
				return no_memory(r);
	}
	return 0;
}

/* What a server gives to a pod when it is made. */
static int set_pod_defaults(struct reader *r, json_t *obj)
{
	json_t *spec = json_object_get(obj, "spec");

	return default_requests(r, json_object_get(spec, "containers"))
		       ?: default_requests(r, json_object_get(spec, "initContainers"));
}

/* "by-name" is a folder beside the pods' folders. */
static int check_pod_uid(const struct pod *p, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, meta = JSON_AT(&root, "metadata"), at = JSON_AT(&meta, "uid");

	return str_eq(p->uid, "by-name") ? json_issue_set(issue, &at, "is reserved") : 0;
}

/* -EINVAL and -ENOMEM with an issue: the object is refused. */
static int decode(struct reader *r, struct manifest_object *o, json_t *obj, struct json_issue *issue)
{
	int k = 0;

	/* without a name validate refuses it */
	if (o->kind == MANIFEST_SECRET && o->key && json_is_object(obj))
		k = sealing_open_secret(r->keys, o->ns, o->name, obj, issue);
	if (k < 0)
		return k;
	if (o->kind == MANIFEST_POD)
		k = validate_pod(obj, issue);
	else if (o->kind == MANIFEST_SECRET)
		k = validate_secret(obj, issue);
	else
		k = validate_config_map(obj, issue);
	if (k < 0)
		return k;
	assert(o->key);
	k = set_server_fields(r, o, obj);
	if (k == 0 && o->kind == MANIFEST_POD)
		k = set_pod_defaults(r, obj);
	if (k < 0)
		return k;
	if (o->kind == MANIFEST_POD)
		k = codec_pod(obj, &o->pod, issue);
	else
		k = codec_object(o->kind == MANIFEST_SECRET ? OBJECT_SECRET : OBJECT_CONFIG_MAP, obj, &o->secret,
				 issue);
	if (k < 0)
		return k;
	return o->pod ? check_pod_uid(o->pod, issue) : 0;
}

void manifest_source_path(const struct pod *pod, size_t volume, size_t source, char ret_path[static JSON_PATH_MAX])
{
	const struct pod_volume *v = &pod->volumes[volume];
	const char *type = pod_source_type(&v->sources[source]);
	const char *name = v->kind == POD_VOLUME_SECRET ? ".secretName" : v->sources[source].name ? ".name" : "";

	if (v->kind == POD_VOLUME_PROJECTED)
		snprintf(ret_path, JSON_PATH_MAX, "spec.volumes[%zu].projected.sources[%zu].%s%s", volume, source, type,
			 name);
	else
		snprintf(ret_path, JSON_PATH_MAX, "spec.volumes[%zu].%s%s", volume, type, name);
}

static int place_volumes(struct reader *r, struct manifest_object *o, const struct yaml_node *root)
{
	char path[JSON_PATH_MAX];
	size_t n = 0;

	for (size_t i = 0; i < o->pod->n_volumes; i++)
		n += o->pod->volumes[i].n_sources;
	o->volumes = calloc(n + 1, sizeof(*o->volumes));
	if (!o->volumes)
		return no_memory(r);
	n = 0;
	for (size_t i = 0; i < o->pod->n_volumes; i++) {
		for (size_t j = 0; j < o->pod->volumes[i].n_sources; j++) {
			const struct yaml_node *at;

			manifest_source_path(o->pod, i, j, path);
			at = yaml_find(root, path);
			o->volumes[n++] = (struct manifest_place){ at->line, at->column };
		}
	}
	return 0;
}

static enum validate_kind validate_kind_of(enum manifest_kind kind)
{
	return kind == MANIFEST_POD ? VALIDATE_POD : kind == MANIFEST_SECRET ? VALIDATE_SECRET : VALIDATE_CONFIG_MAP;
}

static int read_object(struct reader *r, struct manifest_object *o, const struct yaml_node *root)
{
	cleanup_json json_t *obj = NULL;
	struct json_issue issue = { .reason = "" };
	struct err e = ERR_INIT;
	const char *reason;
	int k;

	k = read_identity(r, o, root);
	if (k < 0)
		return k;
	k = yaml_to_json(root, &obj, &e);
	if (k < 0) {
		/* "line:column: reason" */
		reason = strchr(err_text(&e), ' ');
		return k == -ENOMEM ? no_memory(r) : refuse(r, o, root, NULL, reason ? reason + 1 : err_text(&e));
	}
	k = validate_unknown_fields(obj, validate_kind_of(o->kind), add_warning, &(struct warning){ r, o, root });
	if (k < 0)
		return k;
	k = decode(r, o, obj, &issue);
	if (k < 0) {
		secret_unref(TAKE_PTR(o->secret));
		pod_unref(TAKE_PTR(o->pod));
		o->starved = k == -ENOMEM;
		o->secmem_full = o->starved && o->kind != MANIFEST_POD && secmem_was_full(NULL);
		return *issue.reason ? refuse_issue(r, o, root, &issue) : k;
	}
	for (size_t i = 0; o->pod && i < o->pod->n_mistakes; i++) {
		k = add_mistake(r, o, root, &o->pod->mistakes[i]);
		if (k < 0)
			return k;
	}
	if (o->pod) {
		json_object_del(json_object_get(obj, "metadata"), "resourceVersion");
		o->json = TAKE_PTR(obj);
		return place_volumes(r, o, root);
	}
	return 0;
}

/* ---- documents ---- */

static int add_object(struct reader *r, const struct yaml_node *at, struct manifest_object **ret_o)
{
	if (r->n_objects == r->size) {
		size_t size = r->size ? r->size * 2 : 4;
		struct manifest_object *objects = reallocarray(r->objects, size, sizeof(*objects));

		if (!objects)
			return no_memory(r);
		r->objects = objects;
		r->size = size;
	}
	*ret_o = &r->objects[r->n_objects++];
	**ret_o = (struct manifest_object){ .line = at->line, .column = at->column };
	return 0;
}

static int refuse_node(struct reader *r, const struct yaml_node *at, const char *path, const char *reason)
{
	struct manifest_object *o = NULL;
	int k;

	k = add_object(r, at, &o);
	if (k < 0)
		return k;
	assert(o);
	return refuse(r, o, at, path, reason);
}

static const char *text_of(const struct yaml_node *n)
{
	return n && n->kind == YAML_STRING ? n->scalar : "";
}

enum { KIND_POD, KIND_SECRET, KIND_CONFIG_MAP, KIND_LIST, KIND_REFUSED };

/* KIND_REFUSED: it has been noted. */
static int read_kind(struct reader *r, const struct yaml_node *root, int *ret_kind)
{
	static const char *const kinds[] = { "Pod", "Secret", "ConfigMap", "List" };
	const struct yaml_node *kind = yaml_get(root, "kind"), *version = yaml_get(root, "apiVersion");
	char reason[256];

	*ret_kind = KIND_REFUSED;
	if (root->kind != YAML_MAPPING)
		return refuse_node(r, root, NULL, "must be a mapping (`field: value` lines)");
	if (!*text_of(kind))
		return refuse_node(r, kind ? kind : root, "kind", "Required value");
	if (!*text_of(version))
		return refuse_node(r, version ? version : root, "apiVersion", "Required value");
	for (int i = 0; i < KIND_REFUSED; i++)
		if (str_eq(kind->scalar, kinds[i]) && str_eq(version->scalar, "v1")) {
			*ret_kind = i;
			return 0;
		}
	snprintf(reason, sizeof(reason),
		 "\"" SHOWN "\" of \"" SHOWN "\" is not read here; Pod, Secret, ConfigMap and List of v1 are",
		 kind->scalar, version->scalar);
	return refuse_node(r, kind, "kind", reason);
}

static int read_plain(struct reader *r, const struct yaml_node *root, int kind)
{
	struct manifest_object *o = NULL;
	int k;

	k = add_object(r, root, &o);
	if (k < 0)
		return k;
	assert(o);
	o->kind = kind == KIND_POD ? MANIFEST_POD : kind == KIND_SECRET ? MANIFEST_SECRET : MANIFEST_CONFIG_MAP;
	return read_object(r, o, root);
}

static int read_list(struct reader *r, const struct yaml_node *root)
{
	const struct yaml_node *items = yaml_get(root, "items");
	int kind, k;

	if (!items || items->kind == YAML_NULL)
		return 0;
	if (items->kind != YAML_SEQUENCE)
		return refuse_node(r, items, "items", "must be a list");
	for (size_t i = 0; i < items->n_items; i++) {
		const struct yaml_node *item = items->items[i];

		k = read_kind(r, item, &kind);
		if (k == 0 && kind == KIND_LIST)
			k = refuse_node(r, item, "kind", "a List must not be in a List");
		else if (k == 0 && kind != KIND_REFUSED)
			k = read_plain(r, item, kind);
		if (k < 0)
			return k;
	}
	return 0;
}

static int read_document(struct reader *r, const struct yaml_node *root)
{
	int kind, k;

	/* also what a template leaves when its condition is false */
	if (!root || root->kind == YAML_NULL)
		return 0;
	k = read_kind(r, root, &kind);
	if (k < 0 || kind == KIND_REFUSED)
		return k;
	return kind == KIND_LIST ? read_list(r, root) : read_plain(r, root, kind);
}

int manifest_parse(const char *file, const char *text, size_t len, const struct sealing_keys *keys, uint64_t *revision,
		   struct manifest_object **ret_objects, size_t *ret_n_objects, struct err *e)
{
	struct reader r = { .file = file, .text = text, .len = len, .keys = keys, .revision = revision, .e = e };
	struct yaml_doc *docs = NULL;
	struct err reason = ERR_INIT;
	size_t n_docs = 0;
	int k;

	k = yaml_parse(text, len, &docs, &n_docs, &reason);
	if (k < 0)
		return err_set(e, k, "%s:%s", file, err_text(&reason));
	for (size_t i = 0; k == 0 && i < n_docs; i++)
		k = read_document(&r, docs[i].root);
	yaml_docs_free(docs, n_docs);
	if (k < 0) {
		manifest_objects_free(r.objects, r.n_objects);
		return k;
	}
	*ret_objects = r.objects;
	*ret_n_objects = r.n_objects;
	return 0;
}
