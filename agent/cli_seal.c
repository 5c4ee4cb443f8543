/* secretlet keygen, secretlet seal: a key pair, and Secret manifests whose values only its private half can open.
 *
 * What is written is made anew from what was understood, and not by changing the text: nothing that was not looked at
 * (comments, unknown fields, the annotation in which kubectl keeps a copy of the whole object) can carry a value along.
 * Plaintext comes from a file or the standard input, and is held in memory that is locked or wiped. */

#include "agent/cli.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "agent/manifest.h"
#include "agent/yaml.h"
#include "common/buf.h"
#include "common/file.h"
#include "common/log.h"

#define MEMORY_MAX ((size_t)256 << 20)
#define OUTPUT_MAX ((size_t)64 << 20)
#define STDIN_NAME "<stdin>"

/* ---- keygen ---- */

int cli_keygen(const struct options *o, char *const *words)
{
	const char *dir = o->out ?: ".";
	cleanup_free char *private_path = file_join(dir, "sealing.key"), *public_path = file_join(dir, "sealing.pub");
	struct sealing_public p;
	struct err e = ERR_INIT;
	int r;

	if (!private_path || !public_path)
		return cli_fail_memory();
	cli_hide_memory();
	r = secmem_init(1 << 20, &e);
	if (r == 0)
		r = sealing_generate(private_path, public_path, &p, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, &e);
	printf("key %s\nprivate: %s (for sealedSecretsKeyFile on the node, and nowhere else)\npublic:  %s (for "
	       "secretlet "
	       "seal)\n",
	       p.id, private_path, public_path);
	return CLI_OK;
}

/* ---- seal ---- */

struct seal {
	const char *file;
	struct sealing_public to;
	struct buf out;
	size_t n_documents;
	struct err e;
};

static int no_memory(struct seal *s)
{
	return err_set(&s->e, -ENOMEM, "%s: out of memory", s->file);
}

/* As JSON writes a string, which is YAML's double-quoted form as well. */
static int add_quoted(struct seal *s, const char *text)
{
	cleanup_json json_t *string = json_string(text);
	cleanup_secret char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;

	return quoted && buf_add_str(&s->out, quoted) == 0 ? 0 : no_memory(s);
}

/* "INDENT"KEY": "VALUE"" lines under a heading; nothing if there are none. */
static int add_strings(struct seal *s, const char *heading, const json_t *strings)
{
	const char *key;
	json_t *value;
	int r = 0;

	if (json_object_size(strings) == 0)
		return 0;
	if (buf_printf(&s->out, "  %s:\n", heading) < 0)
		return no_memory(s);
	json_object_foreach ((json_t *)(uintptr_t)strings, key, value) {
		if (buf_add_str(&s->out, "    ") < 0)
			return no_memory(s);
		r = add_quoted(s, key);
		if (r == 0 && buf_add_str(&s->out, ": ") < 0)
			return no_memory(s);
		if (r == 0)
			r = add_quoted(s, json_string_value(value) ?: "");
		if (r < 0 || buf_add_str(&s->out, "\n") < 0)
			return no_memory(s);
	}
	return r;
}

static int add_field(struct seal *s, const char *name, const char *value)
{
	int r;

	if (buf_add_str(&s->out, name) < 0)
		return no_memory(s);
	r = add_quoted(s, value);
	if (r < 0)
		return r;
	return buf_add_str(&s->out, "\n") < 0 ? no_memory(s) : 0;
}

static int add_metadata(struct seal *s, const struct manifest_object *o, const json_t *meta)
{
	json_t *annotations = json_object_get(meta, "annotations");
	const char *uid = json_string_value(json_object_get(meta, "uid"));
	int r;

	/* what kubectl keeps there has the values in it */
	json_object_del(annotations, "kubectl.kubernetes.io/last-applied-configuration");
	if (buf_add_str(&s->out, "apiVersion: v1\nkind: Secret\nmetadata:\n") < 0)
		return no_memory(s);
	r = add_field(s, "  name: ", o->name);
	if (r == 0)
		r = add_field(s, "  namespace: ", o->ns);
	if (r == 0 && uid)
		r = add_field(s, "  uid: ", uid);
	if (r == 0)
		r = add_strings(s, "labels", json_object_get(meta, "labels"));
	if (r == 0)
		r = add_strings(s, "annotations", annotations);
	return r;
}

/* What was sealed before stays as it is. */
static int add_value(struct seal *s, const struct manifest_object *o, const struct secret_key *key,
		     const json_t *sealed)
{
	const char *before = json_string_value(json_object_get(sealed, key->name));
	cleanup_free char *text = NULL;
	int r;

	if (!before &&
	    sealing_seal(&s->to, o->ns, o->name, key->name, secspan_data(&key->value), key->value.len, &text) < 0)
		return no_memory(s);
	if (buf_add_str(&s->out, "  ") < 0)
		return no_memory(s);
	r = add_quoted(s, key->name);
	if (r < 0)
		return r;
	return buf_printf(&s->out, ": %s\n", before ?: text) < 0 ? no_memory(s) : 0;
}

static int add_secret(struct seal *s, const struct manifest_object *o, const json_t *obj)
{
	int r;

	if (s->n_documents++ > 0 && buf_add_str(&s->out, "---\n") < 0)
		return no_memory(s);
	r = add_metadata(s, o, json_object_get(obj, "metadata"));
	if (r == 0)
		r = add_field(s, "type: ", o->secret->type);
	if (r < 0)
		return r;
	if (o->secret->immutable && buf_add_str(&s->out, "immutable: true\n") < 0)
		return no_memory(s);
	if (buf_add_str(&s->out, o->secret->n_keys > 0 ? "sealedData:\n" : "sealedData: {}\n") < 0)
		return no_memory(s);
	for (size_t i = 0; r == 0 && i < o->secret->n_keys; i++)
		r = add_value(s, o, &o->secret->keys[i], json_object_get(obj, "sealedData"));
	return r;
}

/* The Secret that is the whole document. Until one is none, there is one object for each document. */
static int check_object(struct seal *s, const struct yaml_node *root, const struct manifest_object *o)
{
	if (o && o->problem)
		return err_set(&s->e, -EINVAL, "%s", o->problem->text);
	if (o && o->secret && o->line == root->line && o->column == root->column)
		return 0;
	return err_set(&s->e, -EINVAL, "%s:%zu:%zu: only Secrets are sealed, one in each document", s->file, root->line,
		       root->column);
}

static int seal_documents(struct seal *s, const struct yaml_doc *docs, size_t n_docs,
			  const struct manifest_object *objects, size_t n_objects)
{
	size_t n_seen = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_docs; i++) {
		const struct manifest_object *o = n_seen < n_objects ? &objects[n_seen] : NULL;
		const struct yaml_node *root = docs[i].root;
		cleanup_json json_t *obj = NULL;

		if (!root || root->kind == YAML_NULL)
			continue;
		n_seen++;
		r = check_object(s, root, o);
		if (r == 0)
			r = yaml_to_json(root, &obj, &s->e);
		if (r == 0)
			r = add_secret(s, o, obj);
	}
	if (r == 0 && s->n_documents == 0)
		return err_set(&s->e, -EINVAL, "%s: has no Secret in it", s->file);
	return r;
}

/* Never print what the other side would not read. */
static int check_output(struct seal *s)
{
	struct manifest_object *objects = NULL;
	struct err e = ERR_INIT;
	uint64_t revision = 0;
	size_t n = 0;
	int r;

	r = manifest_parse(s->file, s->out.data, s->out.len, sealing_form_only(), &revision, &objects, &n, &e);
	if (r < 0)
		return err_set(&s->e, r, "what would be written cannot be read again: %s", err_text(&e));
	for (size_t i = 0; r == 0 && i < n; i++)
		if (objects[i].problem)
			r = err_set(&s->e, -EINVAL, "%s", objects[i].problem->text);
	manifest_objects_free(objects, n);
	return r;
}

static int seal_text(struct seal *s, const char *text, size_t len)
{
	struct manifest_object *objects = NULL;
	struct yaml_doc *docs = NULL;
	uint64_t revision = 0;
	size_t n_objects = 0, n_docs = 0;
	int r;

	r = manifest_parse(s->file, text, len, sealing_form_only(), &revision, &objects, &n_objects, &s->e);
	if (r < 0)
		return r;
	r = yaml_parse(text, len, &docs, &n_docs, &s->e);
	if (r == 0)
		r = seal_documents(s, docs, n_docs, objects, n_objects);
	yaml_docs_free(docs, n_docs);
	manifest_objects_free(objects, n_objects);
	return r < 0 ? r : check_output(s);
}

static int read_input(const char *file, char **ret_text, size_t *ret_len, struct err *e)
{
	if (str_eq(file, STDIN_NAME))
		return file_read_fd(STDIN_FILENO, file, YAML_BYTES_MAX, ret_text, ret_len, e);
	return file_read(AT_FDCWD, file, YAML_BYTES_MAX, ret_text, ret_len, e);
}

int cli_seal(const struct options *o, char *const *words)
{
	bool from_stdin = o->n_args == 0 || str_eq(o->args[0], "-");
	struct seal s = { .file = from_stdin ? STDIN_NAME : o->args[0], .out = BUF_INIT(OUTPUT_MAX), .e = ERR_INIT };
	char *text = NULL;
	size_t len = 0;
	int r;

	if (!o->public_key) {
		err_set(&s.e, -EINVAL, "seal: option --public-key is needed; see secretlet seal --help");
		return cli_fail(CLI_USAGE, &s.e);
	}
	log_init("seal", LOG_LEVEL_ERROR);
	cli_hide_memory();
	r = secmem_init(MEMORY_MAX, &s.e);
	if (r == 0)
		r = sealing_public_read(o->public_key, &s.to, &s.e);
	if (r == 0)
		r = read_input(s.file, &text, &len, &s.e);
	if (r == 0)
		r = seal_text(&s, text, len);
	if (r == 0)
		fwrite(s.out.data, 1, s.out.len, stdout);
	if (text)
		explicit_bzero(text, len);
	free(text);
	buf_deinit(&s.out);
	return r < 0 ? cli_fail(CLI_FAILED, &s.e) : CLI_OK;
}
