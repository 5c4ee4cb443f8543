/* secretlet check: what the daemon would say of these files, without one. Manifests go through the very modules of the
 * manifests source, so that the verdicts and the words are the same, and its volumes' paths through that of the payloads; what
 * only a look at all files can tell (an object that is there twice, a Secret that no file has) comes after the last one was
 * read.
 *
 * A file is a configuration when its apiVersion or kind says so, else it is manifests. */

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "agent/listing.h"
#include "agent/manifest_set.h"
#include "agent/views.h"
#include "agent/yaml.h"
#include "common/file.h"
#include "common/log.h"
#include "common/map.h"

#define FILES_MAX    20000
#define FINDINGS_MAX 100000
#define MEMORY_MAX   ((size_t)1 << 30) /* address space: the daemon's own limit is no matter of the files */
#define STDIN_NAME   "<stdin>"

/* A volume that needs an object. */
struct reference {
	struct finding *finding; /* in case that there is none */
	char *key; /* "secret default/db" */
};

struct listed {
	struct finding *finding;
	size_t file, nth; /* the order they are shown in */
};

struct check {
	struct manifest_set *set;
	char **files; /* in the order of the command line; a folder's by name */
	size_t n_files;
	struct map known; /* by name -> place in files + 1 */
	struct listed *findings;
	size_t n_findings;
	struct reference *references;
	size_t n_references;
	size_t n_pods, n_secrets, n_config_maps, n_errors, n_warnings;
	uint64_t revision;
	int r; /* why findings are missing; 0: none is */
};

static void check_deinit(struct check *c)
{
	for (size_t i = 0; i < c->n_files; i++)
		free(c->files[i]);
	for (size_t i = 0; i < c->n_findings; i++)
		finding_free(c->findings[i].finding);
	for (size_t i = 0; i < c->n_references; i++) {
		finding_free(c->references[i].finding);
		free(c->references[i].key);
	}
	free(c->files);
	free(c->findings);
	free(c->references);
	map_deinit(&c->known);
	manifest_set_free(c->set);
}

/* Room for one more element: at 0 and at each power of two it doubles. NULL: out of memory, and the old one stays. */
static void *grown(void *array, size_t n, size_t size)
{
	return n & (n - 1) ? array : reallocarray(array, n ? n * 2 : 1, size);
}

/* ---- findings ---- */

/* Takes f, which may be NULL: out of memory. */
static void add_finding(struct check *c, struct finding *take_f)
{
	cleanup_finding struct finding *f = take_f;
	struct listed *findings;

	if (c->n_findings == FINDINGS_MAX) {
		c->r = -EOVERFLOW;
		return;
	}
	findings = f ? grown(c->findings, c->n_findings, sizeof(*findings)) : NULL;
	if (!findings) {
		c->r = -ENOMEM;
		return;
	}
	c->findings = findings;
	c->n_errors += f->level == FINDING_ERROR;
	c->n_warnings += f->level == FINDING_WARNING;
	findings[c->n_findings] =
		(struct listed){ .file = (size_t)(uintptr_t)map_get_str(&c->known, f->file), .nth = c->n_findings };
	findings[c->n_findings++].finding = TAKE_PTR(f);
}

static void copy_finding(void *userdata, const struct finding *from)
{
	struct finding *f = NULL;

	finding_new(from, &f);
	add_finding(userdata, f);
}

static void copy_object_finding(void *userdata, const struct finding *from, const struct manifest_object *o)
{
	copy_finding(userdata, from);
}

/* `text` as modules make it: "FILE:LINE:COLUMN: FIELD: REASON", of which all but the reason may be missing. */
static void add_sentence(struct check *c, enum finding_level level, const char *file, const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	cleanup_free char *field = NULL;
	struct finding f = { .level = level, .file = (char *)(uintptr_t)file };
	size_t len = strlen(file), n_used = 0;

	if (strncmp(text, file, len) == 0 && text[len] == ':')
		text += len + 1;
	if (sscanf(text, "%zu:%zu: %zn", &f.line, &f.column, &n_used) == 2 && n_used > 0)
		text += n_used;
	text += strspn(text, " ");
	len = strspn(text, letters);
	if (f.line && len > 0 && str_starts(text + len, ": ")) {
		field = strndup(text, len);
		text += len + 2;
	}
	f.field = field;
	f.reason = (char *)(uintptr_t)text;
	copy_finding(c, &f);
}

static int compare_findings(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	if (x->finding->line != y->finding->line)
		return x->finding->line < y->finding->line ? -1 : 1;
	if (x->finding->column != y->finding->column)
		return x->finding->column < y->finding->column ? -1 : 1;
	return x->nth < y->nth ? -1 : x->nth > y->nth;
}

/* ---- which files ---- */

static int add_file(struct check *c, const char *name)
{
	cleanup_free char *copy = NULL;
	char **files;

	/* named twice on the command line, it is still one file */
	if (map_get_str(&c->known, name))
		return 0;
	if (c->n_files == FILES_MAX)
		return -E2BIG;
	files = grown(c->files, c->n_files, sizeof(*files));
	if (!files)
		return -ENOMEM;
	c->files = files;
	copy = strdup(name);
	if (!copy || map_add_str(&c->known, copy, (void *)(uintptr_t)(c->n_files + 1)) < 0)
		return -ENOMEM;
	files[c->n_files++] = TAKE_PTR(copy);
	return 0;
}

static int is_manifest(const struct dirent *d)
{
	return manifest_is_file_name(d->d_name) && d->d_type != DT_DIR;
}

static int add_folder(struct check *c, const char *dir)
{
	struct dirent **list = NULL;
	struct err e = ERR_INIT;
	int n, r = 0;

	n = scandir(dir, &list, is_manifest, alphasort);
	if (n < 0) {
		err_set(&e, -errno, "%s: %m", dir);
		add_sentence(c, FINDING_ERROR, dir, err_text(&e));
		return 0;
	}
	if (n == 0)
		add_sentence(c, FINDING_WARNING, dir, "no file in this folder has a name that is read");
	for (int i = 0; i < n; i++) {
		cleanup_free char *path = file_join(dir, list[i]->d_name);

		if (r == 0)
			r = path ? add_file(c, path) : -ENOMEM;
		free(list[i]);
	}
	free(list);
	return r;
}

static int add_word(struct check *c, const char *word)
{
	struct stat st;

	if (str_eq(word, "-"))
		return add_file(c, STDIN_NAME);
	if (stat(word, &st) == 0 && S_ISDIR(st.st_mode))
		return add_folder(c, word);
	return add_file(c, word);
}

/* ---- one file ---- */

static int add_reference(struct check *c, const char *file, const struct manifest_object *o, size_t volume,
			 size_t source, const struct manifest_place *at)
{
	const struct pod_volume_source *s = &o->pod->volumes[volume].sources[source];
	enum object_kind kind;
	cleanup_free char *reason = NULL, *key = NULL;
	cleanup_finding struct finding *f = NULL;
	struct reference *references;
	char field[JSON_PATH_MAX];

	if (!pod_source_object(s, &kind))
		return 0;
	manifest_source_path(o->pod, volume, source, field);
	key = str_format("%s %s/%s", object_kind_word(kind), o->ns, s->name ?: "");
	reason = kind == OBJECT_TOKEN
			 ? strdup("there are no service account tokens without an API server; the volume has to "
				  "wait for it")
			 : str_format("%s \"%s\" is in none of these files; the volume has to wait for it",
				      object_kind_name(kind), s->name);
	if (!reason || !key)
		return -ENOMEM;
	if (finding_new(&(struct finding){ .level = FINDING_WARNING,
					   .line = at->line,
					   .column = at->column,
					   .file = (char *)(uintptr_t)file,
					   .object = o->key,
					   .field = field,
					   .reason = reason },
			&f) < 0)
		return -ENOMEM;
	references = grown(c->references, c->n_references, sizeof(*references));
	if (!references)
		return -ENOMEM;
	c->references = references;
	references[c->n_references++] = (struct reference){ TAKE_PTR(f), TAKE_PTR(key) };
	return 0;
}

/* at: of the volume's first source. */
static int check_paths(struct check *c, const char *file, const struct manifest_object *o, size_t volume,
		       const struct manifest_place *at)
{
	const struct pod_volume *v = &o->pod->volumes[volume];
	cleanup_free char *field = str_format("spec.volumes[%zu]", volume);
	struct err e = ERR_INIT;
	struct finding f = { .level = FINDING_ERROR, .line = o->line, .column = o->column };
	int r;

	r = field ? view_check_paths(o->pod, v, &e) : -ENOMEM;
	if (r >= 0 || r == -ENOMEM)
		return r;
	if (v->n_sources > 0) {
		f.line = at->line;
		f.column = at->column;
	}
	f.file = (char *)(uintptr_t)file;
	f.object = o->key;
	f.field = v->error ? NULL : field; /* that says where it is */
	f.reason = (char *)(uintptr_t)err_text(&e);
	copy_finding(c, &f);
	return 0;
}

static int note_object(struct check *c, const char *file, const struct manifest_object *o)
{
	const struct manifest_place *at = o->volumes;
	int r = 0;

	c->n_pods += o->kind == MANIFEST_POD;
	c->n_secrets += o->kind == MANIFEST_SECRET;
	c->n_config_maps += o->kind == MANIFEST_CONFIG_MAP;
	for (size_t i = 0; o->pod && r == 0 && i < o->pod->n_volumes; i++) {
		const struct pod_volume *v = &o->pod->volumes[i];

		if (v->kind != POD_VOLUME_OTHER && pod_mounts_volume(o->pod, v->name))
			r = check_paths(c, file, o, i, at);
		for (size_t j = 0; r == 0 && j < v->n_sources; j++, at++) {
			if (!v->sources[j].optional && pod_mounts_volume(o->pod, v->name))
				r = add_reference(c, file, o, i, j, at);
		}
	}
	return r;
}

static int check_manifests(struct check *c, const char *file, const char *text, size_t len)
{
	struct manifest_object *objects = NULL;
	struct err e = ERR_INIT;
	size_t n_objects = 0;
	int r;

	r = manifest_parse(file, text, len, sealing_form_only(), &c->revision, &objects, &n_objects, &e);
	if (r < 0) {
		add_sentence(c, FINDING_ERROR, file, err_text(&e));
		return 0;
	}
	for (size_t i = 0; r == 0 && i < n_objects; i++)
		r = note_object(c, file, &objects[i]);
	if (r < 0) {
		manifest_objects_free(objects, n_objects);
		return r;
	}
	return manifest_set_put(c->set, file, objects, n_objects);
}

static int fill(char **s, const char *text)
{
	if (!*s)
		*s = strdup(text);
	return *s ? 0 : -ENOMEM;
}

/* What the command line or the host may still say is no mistake of the file. */
static int check_config(struct check *c, const char *file, const char *text, size_t len)
{
	cleanup_config struct config *config = NULL;
	struct err e = ERR_INIT;

	if (config_new(&config) < 0)
		return -ENOMEM;
	if (config_parse(config, file, text, len, &e) < 0) {
		add_sentence(c, FINDING_ERROR, file, err_text(&e));
		return 0;
	}
	if (!config->kubeconfig && !config->manifests_dir && fill(&config->kubeconfig, "/kubeconfig") < 0)
		return -ENOMEM;
	if (fill(&config->node_name, "node") < 0)
		return -ENOMEM;
	if (config_finish(config, &e) < 0)
		add_sentence(c, FINDING_ERROR, file, err_text(&e));
	return 0;
}

static bool starts_like_config(const struct yaml_node *root)
{
	const struct yaml_node *version = yaml_get(root, "apiVersion"), *kind = yaml_get(root, "kind");

	return (kind && str_eq(kind->scalar, CONFIG_KIND)) ||
	       (version && version->scalar && str_starts(version->scalar, "secretlet.config/"));
}

static bool is_config(const char *text, size_t len)
{
	struct yaml_doc *docs = NULL;
	size_t n_docs = 0;
	bool yes = false;

	if (yaml_parse(text, len, &docs, &n_docs, NULL) < 0)
		return false;
	for (size_t i = 0; i < n_docs && !yes; i++)
		yes = docs[i].root && starts_like_config(docs[i].root);
	yaml_docs_free(docs, n_docs);
	return yes;
}

static int read_text(const char *file, char **ret_text, size_t *ret_len, struct err *e)
{
	cleanup_fd int fd = -1;

	if (str_eq(file, STDIN_NAME))
		return file_read_fd(STDIN_FILENO, file, YAML_BYTES_MAX, ret_text, ret_len, e);
	fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_set(e, -errno, "%s: %m", file);
	return file_read_fd(fd, file, YAML_BYTES_MAX, ret_text, ret_len, e);
}

static int check_file(struct check *c, const char *file)
{
	struct err e = ERR_INIT;
	char *text = NULL;
	size_t len = 0;
	int r;

	r = read_text(file, &text, &len, &e);
	if (r < 0) {
		add_sentence(c, FINDING_ERROR, file, err_text(&e));
		return 0;
	}
	r = is_config(text, len) ? check_config(c, file, text, len) : check_manifests(c, file, text, len);
	explicit_bzero(text, len);
	free(text);
	return r;
}

/* ---- the whole ---- */

static void ignore_pod(void *userdata, struct pod *pod)
{
}

static void ignore_uid(void *userdata, const char *uid)
{
}

static void ignore_synced(void *userdata)
{
}

static const struct source_sink nobody = {
	.pod_changed = ignore_pod,
	.pod_removed = ignore_uid,
	.pods_synced = ignore_synced,
};

static int check_all(struct check *c, const struct options *o)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < o->n_args; i++)
		r = add_word(c, o->args[i]);
	for (size_t i = 0; r == 0 && i < c->n_files; i++)
		r = check_file(c, c->files[i]);
	if (r < 0)
		return r;
	(void)manifest_set_settle(c->set); /* nobody is told */
	manifest_set_findings(c->set, copy_object_finding, c);
	for (size_t i = 0; i < c->n_references; i++)
		if (!manifest_set_has(c->set, c->references[i].key))
			add_finding(c, TAKE_PTR(c->references[i].finding));
	if (c->n_findings > 0)
		qsort(c->findings, c->n_findings, sizeof(*c->findings), compare_findings);
	return c->r;
}

static const char *level_name(const struct finding *f)
{
	return f->level == FINDING_ERROR ? "error" : "warning";
}

static void print_finding(const struct finding *f)
{
	printf("%s:", f->file);
	if (f->line)
		printf("%zu:%zu:", f->line, f->column);
	printf(" %s: ", level_name(f));
	if (f->object)
		printf("%s: ", f->object);
	if (f->field)
		printf("%s: ", f->field);
	puts(f->reason);
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static int print_lines(const struct check *c)
{
	for (size_t i = 0; i < c->n_findings; i++)
		print_finding(c->findings[i].finding);
	printf("%zu file%s with %zu pod%s%s %zu secret%s", c->n_files, plural(c->n_files), c->n_pods, plural(c->n_pods),
	       c->n_config_maps ? "," : " and", c->n_secrets, plural(c->n_secrets));
	if (c->n_config_maps)
		printf(" and %zu configmap%s", c->n_config_maps, plural(c->n_config_maps));
	printf(": %zu error%s, %zu warning%s\n", c->n_errors, plural(c->n_errors), c->n_warnings,
	       plural(c->n_warnings));
	return CLI_OK;
}

static json_t *finding_json(const struct finding *f)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:s?, s:s?, s:s}", "level", level_name(f), "file", f->file, "line",
			 f->line ? json_integer((json_int_t)f->line) : json_null(), "column",
			 f->line ? json_integer((json_int_t)f->column) : json_null(), "object", f->object, "field",
			 f->field, "reason", f->reason);
}

static void add_level(struct table *t, const json_t *finding, const char *member)
{
	const char *level = cli_str(finding, member);

	table_add(t, str_eq(level, "error") ? TABLE_BAD : TABLE_BUSY, level);
}

static const struct listing_column columns[] = {
	{ "LEVEL", "level", add_level }, { "FILE", "file" },   { "LINE", "line" },     { "COLUMN", "column" },
	{ "OBJECT", "object" },		 { "FIELD", "field" }, { "REASON", "reason" },
};

static int findings_rows(const json_t *document, json_t **ret_rows, struct err *e)
{
	return listing_rows_all(json_object_get(document, "findings"), ret_rows, e);
}

static const struct listing listing = {
	.columns = columns,
	.n_columns = ARRAY_SIZE(columns),
	.rows = findings_rows,
};

static int print_listing(const struct check *c, const struct options *o)
{
	cleanup_json json_t *json = json_pack("{s:[], s:I, s:I, s:I, s:I, s:I, s:I}", "findings", "files",
					      (json_int_t)c->n_files, "pods", (json_int_t)c->n_pods, "secrets",
					      (json_int_t)c->n_secrets, "configMaps", (json_int_t)c->n_config_maps,
					      "errors", (json_int_t)c->n_errors, "warnings", (json_int_t)c->n_warnings);
	json_t *findings = json_object_get(json, "findings");

	for (size_t i = 0; i < c->n_findings; i++)
		if (json_array_append_new(findings, finding_json(c->findings[i].finding)) < 0)
			return cli_fail_memory();
	return json ? listing_print(&listing, o, json) : cli_fail_memory();
}

int cli_check(const struct options *o, char *const *words)
{
	cleanup(check_deinit) struct check c = { .known = MAP_INIT };
	struct err e = ERR_INIT;
	int r;

	log_init("check", LOG_LEVEL_ERROR);
	cli_hide_memory();
	r = secmem_init(MEMORY_MAX, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, &e);
	if (manifest_set_new(NULL, &nobody, NULL, &c.set) < 0)
		return cli_fail_memory();
	r = check_all(&c, o);
	if (r == -E2BIG)
		err_set(&e, r, "check: more than %d files", FILES_MAX);
	else if (r == -EOVERFLOW)
		err_set(&e, r, "check: more than %d errors and warnings", FINDINGS_MAX);
	if (e.code)
		return cli_fail(CLI_FAILED, &e);
	if (r < 0)
		return cli_fail_memory();
	r = o->output == OUTPUT_LINE ? print_lines(&c) : print_listing(&c, o);
	if (r != CLI_OK)
		return r;
	return c.n_errors > 0 ? CLI_FAILED : CLI_OK;
}
