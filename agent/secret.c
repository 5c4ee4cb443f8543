/* Secret: an immutable value shared by reference. All values of a revision are in one block of locked memory, so that a
 * Secret with many small keys costs one allocation there; names and labels are no secrets and live on the heap. */
#include "agent/secret.h"

const char *object_kind_name(enum object_kind kind)
{
	static const char *const names[OBJECT_KINDS_N] = { "Secret", "ConfigMap", "Token" };

	return names[kind];
}

const char *object_kind_word(enum object_kind kind)
{
	static const char *const words[OBJECT_KINDS_N] = { "secret", "configmap", "token" };

	return words[kind];
}

int object_kinds_parse(const char *text, unsigned *ret_kinds)
{
	for (enum object_kind i = 0; i < OBJECT_KINDS_N; i++) {
		if (strcasecmp(text, object_kind_word(i)) == 0) {
			*ret_kinds = 1U << i;
			return 0;
		}
	}
	if (strcasecmp(text, "all") != 0)
		return -EINVAL;
	*ret_kinds = (1U << OBJECT_KINDS_N) - 1;
	return 0;
}

void pairs_deinit(struct pairs *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->all[i].key);
		free(p->all[i].value);
	}
	free(p->all);
	*p = (struct pairs){ .n = 0 };
}

int pairs_copy(const struct pairs *p, struct pairs *ret_p)
{
	cleanup(pairs_deinit) struct pairs copy = { .n = 0 };

	copy.all = calloc(p->n + 1, sizeof(*copy.all));
	if (!copy.all)
		return -ENOMEM;
	for (size_t i = 0; i < p->n; i++) {
		struct label *l = &copy.all[copy.n++];

		l->key = strdup(p->all[i].key);
		l->value = strdup(p->all[i].value);
		if (!l->key || !l->value)
			return -ENOMEM;
	}
	*ret_p = copy;
	copy = (struct pairs){ .n = 0 };
	return 0;
}

bool pairs_same(const struct pairs *a, const struct pairs *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!str_eq(a->all[i].key, b->all[i].key) || !str_eq(a->all[i].value, b->all[i].value))
			return false;
	return true;
}

int secret_new(struct secret **ret_s)
{
	struct secret *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->refs = 1;
	*ret_s = s;
	return 0;
}

struct secret *secret_ref(struct secret *s)
{
	assert(s && s->refs > 0);
	s->refs++;
	return s;
}

static void secret_free(struct secret *s)
{
	for (size_t i = 0; i < s->n_keys; i++)
		free(s->keys[i].name);
	for (size_t i = 0; i < s->n_labels; i++) {
		free(s->labels[i].key);
		free(s->labels[i].value);
	}
	secblock_unref(s->block);
	free(s->keys);
	free(s->labels);
	free(s->ns);
	free(s->name);
	free(s->uid);
	free(s->resource_version);
	free(s->type);
	free(s);
}

void secret_unref(struct secret *s)
{
	if (!s)
		return;
	assert(s->refs > 0);
	if (--s->refs == 0)
		secret_free(s);
}

static int compare_key(const void *name, const void *key)
{
	return strcmp(name, ((const struct secret_key *)key)->name);
}

const struct secret_key *secret_find_key(const struct secret *s, const char *name)
{
	if (s->n_keys == 0)
		return NULL;
	return bsearch(name, s->keys, s->n_keys, sizeof(*s->keys), compare_key);
}

static bool same_labels(const struct secret *a, const struct secret *b)
{
	if (a->n_labels != b->n_labels)
		return false;
	for (size_t i = 0; i < a->n_labels; i++)
		if (!str_eq(a->labels[i].key, b->labels[i].key) || !str_eq(a->labels[i].value, b->labels[i].value))
			return false;
	return true;
}

bool secret_same_data(const struct secret *a, const struct secret *b)
{
	if (a->n_keys != b->n_keys)
		return false;
	for (size_t i = 0; i < a->n_keys; i++)
		if (!str_eq(a->keys[i].name, b->keys[i].name) || a->keys[i].binary != b->keys[i].binary ||
		    a->keys[i].value.len != b->keys[i].value.len || !digest_eq(&a->keys[i].digest, &b->keys[i].digest))
			return false;
	return true;
}

bool secret_same(const struct secret *a, const struct secret *b)
{
	return str_eq(a->uid, b->uid) && str_eq(a->type, b->type) && a->immutable == b->immutable &&
	       same_labels(a, b) && secret_same_data(a, b);
}

static bool is_key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
	       c == '.';
}

static bool has_only_key_chars(const char *name)
{
	for (const char *p = name; *p; p++)
		if (!is_key_char(*p))
			return false;
	return *name;
}

const char *secret_key_problem(const char *name)
{
	if (strlen(name) > SECRET_KEY_MAX)
		return "must be no more than 253 characters";
	if (!has_only_key_chars(name))
		return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
		       "or "
		       "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
	if (str_eq(name, "."))
		return "must not be '.'";
	if (str_eq(name, ".."))
		return "must not be '..'";
	if (name[0] == '.' && name[1] == '.')
		return "must not start with '..'";
	return "";
}
