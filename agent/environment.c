/* Environment: first envFrom in its order, then env in its order; what comes later replaces what has the same name. A
 * literal value is expanded when its turn comes, so it sees what stands before it. Where the kubelet leaves an order to
 * chance (a Go map), the order is that of the first appearance.
 *
 * What came of a Secret that is not to be shown (ENVIRONMENT_HIDDEN) taints: its variables, what is expanded with them,
 * and, because nobody knows which keys it has, every name with its prefix that an envFrom before it has set or that none
 * has. */
#include "agent/environment.h"

#include <inttypes.h>

#include "agent/downward.h"
#include "agent/expansion.h"
#include "agent/pod_env.h"
#include "common/map.h"
#include "common/str.h"

#define DIVISOR_MAX	 32
#define PREFIXES_MAX	 256 /* of objects that are hidden */
#define NOTES_MAX	 16
#define SERVICE_NAME_MAX 128

/* Where a value is from; object NULL: from the pod itself. Borrowed. */
struct origin {
	enum object_kind kind;
	const char *object, *key;
};

struct variable {
	char *name;
	struct buf value;
	struct origin origin; /* while the environment is made */
	bool hidden;
};

/* An object that is hidden may have set any name that begins with it. */
struct prefix {
	char *text;
	size_t len;
};

struct environment {
	struct map by_name;
	struct variable **all;
	size_t n, n_room;
	struct name_list notes;
	struct prefix hidden[PREFIXES_MAX];
	size_t n_hidden;
	size_t n_bytes; /* of all names and values so far */
	size_t n_keys; /* of envFrom's objects, looked at so far */
};

/* While it is made. */
struct maker {
	const struct pod *pod;
	const struct pod_container *container;
	const struct environment_options *o;
	struct environment *env;
	struct err *e;
};

static int no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

static int too_large(struct err *e)
{
	return err_set(e, -E2BIG, "the environment would have more than %zu bytes", ENVIRONMENT_BYTES_MAX);
}

/* What a buffer says, in words. */
static int buf_failed(int r, struct err *e)
{
	return r == -ENOBUFS ? too_large(e) : r == -ENOMEM ? no_memory(e) : r;
}

/* ---- variables ---- */

static void variable_free(struct variable *v)
{
	if (!v)
		return;
	buf_deinit(&v->value);
	free(v->name);
	free(v);
}
DEFINE_CLEANUP(struct variable *, variable_free);

static int add_variable(struct environment *env, const char *name, struct variable **ret_v)
{
	cleanup(variable_freep) struct variable *v = calloc(1, sizeof(*v));
	size_t n_room = env->n_room ? 2 * env->n_room : 16;
	void *all;

	if (env->n >= ENVIRONMENT_VARIABLES_MAX)
		return -E2BIG;
	if (v)
		v->name = strdup(name);
	if (!v || !v->name)
		return -ENOMEM;
	if (env->n == env->n_room) {
		all = reallocarray(env->all, n_room, sizeof(*env->all));
		if (!all)
			return -ENOMEM;
		env->all = all;
		env->n_room = n_room;
	}
	if (map_add_str(&env->by_name, v->name, v) < 0)
		return -ENOMEM;
	env->all[env->n++] = v;
	*ret_v = TAKE_PTR(v);
	return 0;
}

/* The value is taken, and *value is empty afterwards, whatever is returned. */
static int set(const struct maker *m, const char *name, struct buf *value, const struct origin *origin, bool hidden)
{
	struct variable *v = map_get_str(&m->env->by_name, name);
	int r = 0;

	m->env->n_bytes += strlen(name) + value->len;
	if (m->env->n_bytes > ENVIRONMENT_BYTES_MAX) {
		buf_deinit(value);
		return too_large(m->e);
	}
	if (!v)
		r = add_variable(m->env, name, &v);
	if (r < 0) {
		buf_deinit(value);
		return r == -E2BIG ? err_set(m->e, r, "the environment would have more than %d variables",
					     ENVIRONMENT_VARIABLES_MAX)
				   : no_memory(m->e);
	}
	buf_deinit(&v->value);
	v->value = *value;
	*value = BUF_INIT(0);
	v->origin = *origin;
	v->hidden = hidden;
	return 0;
}

/* For one more value: as large as the rest of all of them may be. */
static struct buf value_buf(const struct maker *m)
{
	size_t left = ENVIRONMENT_BYTES_MAX - MIN(m->env->n_bytes, ENVIRONMENT_BYTES_MAX);

	return BUF_INIT(left);
}

/* ---- what is written in env and envFrom ---- */

static int misshapen(const struct pod_container *c, const struct json_issue *issue, struct err *e)
{
	return err_set(e, -EINVAL, "container %s: %s: %s", c->name, issue->path, issue->reason);
}

static int parse(const struct pod_container *c, json_t **ret_doc, struct err *e)
{
	struct err why = ERR_INIT;
	int r;

	*ret_doc = NULL;
	if (!c->env)
		return 0;
	r = json_parse(c->env, strlen(c->env), ret_doc, &why);
	return r < 0 ? err_set(e, r, "container %s: its env: %s", c->name, err_text(&why)) : 0;
}

/* What one element refers to. */
struct reference {
	enum object_kind kind;
	const char *object, *key;
	bool optional;
};

/* name is "" where the API server let that pass. */
static int read_reference(const json_t *ref, enum object_kind kind, bool has_key, const struct json_at *at,
			  struct reference *ret, struct json_issue *issue)
{
	struct reference found = { .kind = kind, .object = "", .key = NULL };
	int r;

	r = json_get_str(ref, "name", at, &found.object, issue);
	if (r == 0 && has_key)
		r = json_get_str_required(ref, "key", at, &found.key, issue);
	if (r == 0)
		r = json_get_bool(ref, "optional", at, &found.optional, issue);
	if (r == 0)
		*ret = found;
	return r;
}

/* The first member of `obj` that is there, by its name in `fields`, which ends with NULL; *ret_i is its place there. */
static int get_one(const json_t *obj, const char *const fields[], const struct json_at *at, const json_t **ret,
		   size_t *ret_i, struct json_issue *issue)
{
	int r = 0;

	*ret = NULL;
	for (size_t i = 0; r == 0 && !*ret && fields[i]; i++) {
		r = json_get_object(obj, fields[i], at, ret, issue);
		*ret_i = i;
	}
	return r;
}

/* An element of envFrom. */
static int read_from(const json_t *element, const struct json_at *at, struct reference *ret, const char **ret_prefix,
		     struct json_issue *issue)
{
	static const char *const fields[] = { "configMapRef", "secretRef", NULL };
	const json_t *ref = NULL;
	size_t which = 0;
	int r;

	if (!json_is_object(element))
		return json_issue_set(issue, at, "must be an object");
	r = json_get_str(element, "prefix", at, ret_prefix, issue);
	if (r == 0 && **ret_prefix && *pod_env_name_problem(*ret_prefix))
		return json_issue_set(issue, &JSON_AT(at, "prefix"), "cannot begin a variable's name");
	if (r == 0)
		r = get_one(element, fields, at, &ref, &which, issue);
	if (r < 0)
		return r;
	if (!ref)
		return json_issue_set(issue, at, "neither configMapRef nor secretRef");
	return read_reference(ref, which == 0 ? OBJECT_CONFIG_MAP : OBJECT_SECRET, false, &JSON_AT(at, fields[which]),
			      ret, issue);
}

/* An element of env. The one field of valueFrom that counts is `source`; NULL: `value` is it. */
enum value_source { FROM_FIELD, FROM_RESOURCE, FROM_CONFIG_MAP, FROM_SECRET };
struct definition {
	const char *name, *value;
	const json_t *source;
	enum value_source from;
	struct reference ref; /* FROM_CONFIG_MAP, FROM_SECRET */
};

static int read_value_from(const json_t *element, const struct json_at *up, struct definition *d,
			   struct json_issue *issue)
{
	static const char *const fields[] = { [FROM_FIELD] = "fieldRef",
					      [FROM_RESOURCE] = "resourceFieldRef",
					      [FROM_CONFIG_MAP] = "configMapKeyRef",
					      [FROM_SECRET] = "secretKeyRef",
					      NULL };
	const struct json_at at = JSON_AT(up, "valueFrom");
	const json_t *from = NULL;
	size_t which = 0;
	int r;

	r = json_get_object(element, "valueFrom", up, &from, issue);
	if (r < 0 || !from)
		return r;
	r = get_one(from, fields, &at, &d->source, &which, issue);
	if (r < 0)
		return r;
	if (!d->source)
		return json_issue_set(issue, &at, "none of fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef");
	d->from = (enum value_source)which;
	if (which < FROM_CONFIG_MAP)
		return 0;
	return read_reference(d->source, which == FROM_SECRET ? OBJECT_SECRET : OBJECT_CONFIG_MAP, true,
			      &JSON_AT(&at, fields[which]), &d->ref, issue);
}

static int read_definition(const json_t *element, const struct json_at *at, struct definition *ret,
			   struct json_issue *issue)
{
	struct definition d = { .name = "", .value = "" };
	int r;

	if (!json_is_object(element))
		return json_issue_set(issue, at, "must be an object");
	r = json_get_str(element, "name", at, &d.name, issue);
	if (r == 0 && *pod_env_name_problem(d.name))
		return json_issue_set(issue, &JSON_AT(at, "name"), "cannot be a variable's name");
	if (r == 0)
		r = json_get_str(element, "value", at, &d.value, issue);
	if (r == 0 && !*d.value)
		r = read_value_from(element, at, &d, issue);
	if (r == 0)
		*ret = d;
	return r;
}

/* One object may stand in it over and over. */
static int check_length(const struct pod_container *c, const char *what, const json_t *list, size_t max, struct err *e)
{
	if (json_array_size(list) <= max)
		return 0;
	return err_set(e, -E2BIG, "container %s: %s has more than %zu elements", c->name, what, max);
}

/* Calls one of them for each element: first envFrom, then env. */
struct visitor {
	int (*from)(void *userdata, const struct reference *ref, const char *prefix, struct err *e);
	int (*definition)(void *userdata, const struct definition *d, const struct json_at *at, struct err *e);
	void *userdata;
};

static int visit_from(const struct pod_container *c, const json_t *doc, const struct visitor *v, struct err *e)
{
	const struct json_at root = JSON_ROOT, list_at = JSON_AT(&root, "envFrom");
	const json_t *list = NULL;
	struct json_issue issue;
	int r;

	r = json_get_array(doc, "envFrom", &root, &list, &issue);
	if (r < 0)
		return misshapen(c, &issue, e);
	r = check_length(c, "envFrom", list, ENVIRONMENT_FROM_MAX, e);
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const char *prefix = "";
		struct reference ref;

		r = read_from(json_array_get(list, i), &JSON_AT_INDEX(&list_at, i), &ref, &prefix, &issue);
		r = r < 0 ? misshapen(c, &issue, e) : v->from(v->userdata, &ref, prefix, e);
	}
	return r;
}

static int visit(const struct pod_container *c, const json_t *doc, const struct visitor *v, struct err *e)
{
	const struct json_at root = JSON_ROOT, list_at = JSON_AT(&root, "env");
	const json_t *list = NULL;
	struct json_issue issue;
	int r;

	r = visit_from(c, doc, v, e);
	if (r < 0)
		return r;
	r = json_get_array(doc, "env", &root, &list, &issue);
	if (r < 0)
		return misshapen(c, &issue, e);
	r = check_length(c, "env", list, ENVIRONMENT_VARIABLES_MAX, e);
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const struct json_at at = JSON_AT_INDEX(&list_at, i);
		struct definition d = { .source = NULL };

		r = read_definition(json_array_get(list, i), &at, &d, &issue);
		r = r < 0 ? misshapen(c, &issue, e) : v->definition(v->userdata, &d, &at, e);
	}
	return r;
}

/* ---- what is told beside it ---- */

static int add_text(struct name_list *list, char *take_text)
{
	char **all = take_text ? reallocarray(list->all, list->n + 1, sizeof(*all)) : NULL;

	if (!all) {
		free(take_text);
		return -ENOMEM;
	}
	list->all = all;
	all[list->n++] = take_text;
	return 0;
}

/* ---- which objects it takes ---- */

struct referrer {
	environment_refer_fn fn;
	void *userdata;
};

static int refer_from(void *userdata, const struct reference *ref, const char *prefix, struct err *e)
{
	const struct referrer *rr = userdata;

	return rr->fn(rr->userdata, ref->kind, ref->object, e);
}

static int refer_definition(void *userdata, const struct definition *d, const struct json_at *at, struct err *e)
{
	const struct referrer *rr = userdata;

	return d->source && d->from >= FROM_CONFIG_MAP ? rr->fn(rr->userdata, d->ref.kind, d->ref.object, e) : 0;
}

int environment_refer(const struct pod_container *c, environment_refer_fn fn, void *userdata, struct err *e)
{
	struct referrer rr = { fn, userdata };
	cleanup_json json_t *doc = NULL;
	int r;

	r = parse(c, &doc, e);
	if (r < 0 || !doc)
		return r;
	return visit(c, doc, &(struct visitor){ refer_from, refer_definition, &rr }, e);
}

/* ---- envFrom ---- */

static int set_key(const struct maker *m, const char *name, const struct reference *ref, const struct secret_key *key)
{
	const struct origin origin = { ref->kind, ref->object, key->name };
	cleanup_buf struct buf value = value_buf(m);
	int r;

	r = buf_add(&value, secspan_data(&key->value), key->value.len);
	return r < 0 ? buf_failed(r, m->e) : set(m, name, &value, &origin, false);
}

static int set_keys(const struct maker *m, const struct reference *ref, const char *prefix, const struct secret *s)
{
	int r = 0;

	m->env->n_keys += s->n_keys;
	if (m->env->n_keys > ENVIRONMENT_KEYS_MAX)
		return err_set(m->e, -E2BIG, "the objects of envFrom would have more than %d keys",
			       ENVIRONMENT_KEYS_MAX);
	for (size_t i = 0; r == 0 && i < s->n_keys; i++) {
		cleanup_free char *name = str_format("%s%s", prefix, s->keys[i].name);

		if (!name)
			return no_memory(m->e);
		if (!s->keys[i].binary)
			r = set_key(m, name, ref, &s->keys[i]);
	}
	return r;
}

/* No prefix twice: each reference to what is not there is compared with all of them. */
static int add_prefix(const struct maker *m, const char *text)
{
	struct environment *env = m->env;
	struct prefix fresh = { .len = strlen(text) };

	for (size_t i = 0; i < env->n_hidden; i++)
		if (str_eq(env->hidden[i].text, text))
			return 0;
	if (env->n_hidden == PREFIXES_MAX)
		return err_set(m->e, -E2BIG, "the Secrets of envFrom would have more than %d prefixes", PREFIXES_MAX);
	fresh.text = strdup(text);
	if (!fresh.text)
		return no_memory(m->e);
	env->hidden[env->n_hidden++] = fresh;
	return 0;
}

static int hide_names(const struct maker *m, const char *prefix)
{
	int r = add_prefix(m, prefix);

	for (size_t i = 0; r == 0 && i < m->env->n; i++)
		m->env->all[i]->hidden |= str_starts(m->env->all[i]->name, prefix);
	return r;
}

static int make_from(void *userdata, const struct reference *ref, const char *prefix, struct err *e)
{
	const struct secret *object = NULL;
	const struct maker *m = userdata;
	struct err why = ERR_INIT;
	int r;

	r = m->o->find(m->o->userdata, ref->kind, ref->object, &object, &why);
	if (r == ENVIRONMENT_HIDDEN)
		return hide_names(m, prefix);
	if (r == -ENOENT && ref->optional)
		return 0;
	return r < 0 ? err_set(e, r, "%s", err_text(&why)) : set_keys(m, ref, prefix, object);
}

/* ---- env ---- */

/* The values of other variables; and whether something that is hidden is among them. */
struct expander {
	const struct environment *env;
	bool hidden;
	char service[SERVICE_NAME_MAX]; /* the first that is not there and looks like a Service's; "": none */
};

/* MY_DB_SERVICE_HOST, MY_DB_SERVICE_PORT, MY_DB_SERVICE_PORT_HTTP, MY_DB_PORT, MY_DB_PORT_80_TCP_ADDR */
static bool is_service_name(const char *name)
{
	static const char *const ENDS[] = { "_SERVICE_HOST", "_SERVICE_PORT", "_PORT" };
	const char *port = strstr(name, "_PORT_");
	size_t len = strlen(name);

	if (strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != len)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(ENDS); i++)
		if (len > strlen(ENDS[i]) && str_eq(name + len - strlen(ENDS[i]), ENDS[i]))
			return true;
	return strstr(name, "_SERVICE_PORT_") || (port && port[6] >= '0' && port[6] <= '9');
}

/* v: the variable of this name; NULL: there is none that is known. */
static bool is_hidden(const struct environment *env, const struct variable *v, const char *name, size_t len)
{
	for (size_t i = 0; !v && i < env->n_hidden; i++)
		if (env->hidden[i].len <= len && memcmp(name, env->hidden[i].text, env->hidden[i].len) == 0)
			return true;
	return v && v->hidden;
}

static int add_value(void *userdata, const char *name, size_t len, struct buf *out)
{
	struct expander *x = userdata;
	const struct variable *v = map_get(&x->env->by_name, name, len);

	x->hidden |= is_hidden(x->env, v, name, len);
	if (!v && !*x->service && len < sizeof(x->service)) {
		snprintf(x->service, sizeof(x->service), "%.*s", (int)len, name);
		if (!is_service_name(x->service))
			*x->service = '\0';
	}
	return v ? buf_add(out, v->value.data ?: "", v->value.len) : EXPANSION_UNDEFINED;
}

/* The first of what commas separate. */
static size_t first_len(const char *list)
{
	return strcspn(list, ",");
}

static int add_pod_field(const struct maker *m, const char *name, const char *path, struct buf *out)
{
	const struct pod *pod = m->pod;
	const struct {
		const char *path, *text;
		bool first;
	} FIELDS[] = {
		{ "spec.nodeName", pod->node_name ?: "", false },
		{ "spec.serviceAccountName", pod->service_account ?: "", false },
		{ "status.hostIP", pod->host_ips, true },
		{ "status.hostIPs", pod->host_ips, false },
		{ "status.podIP", pod->pod_ips, true },
		{ "status.podIPs", pod->pod_ips, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(FIELDS); i++) {
		if (!str_eq(FIELDS[i].path, path))
			continue;
		if (!FIELDS[i].text)
			return err_set(m->e, -EAGAIN, "variable %s: %s of pod %s is not known", name, path,
				       pod_display(pod));
		return buf_add(out, FIELDS[i].text,
			       FIELDS[i].first ? first_len(FIELDS[i].text) : strlen(FIELDS[i].text));
	}
	return -EINVAL;
}

static int add_field(const struct maker *m, const struct definition *d, struct buf *out)
{
	const char *path = json_string_value(json_object_get(d->source, "fieldPath")) ?: "";
	cleanup_free char *key = strdup(path), *where = strdup(d->name);
	const struct pod_item item = { .key = key, .path = where };
	struct err why = ERR_INIT;
	int r;

	if (!key || !where)
		return no_memory(m->e);
	r = add_pod_field(m, d->name, path, out);
	if (r != -EINVAL)
		return buf_failed(r, m->e);
	r = downward_text(m->pod, &item, NULL, out, &why);
	return r < 0 ? err_set(m->e, r, "variable %s: %s", d->name, err_text(&why)) : 0;
}

static int add_resource(const struct maker *m, const struct definition *d, struct buf *out)
{
	const json_t *divisor_json = json_object_get(d->source, "divisor");
	const char *container = json_string_value(json_object_get(d->source, "containerName"));
	const char *resource = json_string_value(json_object_get(d->source, "resource"));
	char divisor[DIVISOR_MAX] = "";
	cleanup_free char *key = strdup(resource ?: ""), *where = strdup(d->name);
	cleanup_free char *name = strdup(str_empty(container) ? m->container->name : container);
	const struct pod_item item = { .key = key, .path = where, .container = name, .divisor = divisor };
	struct err why = ERR_INIT;
	int r;

	if (!key || !where || !name)
		return no_memory(m->e);
	if (json_is_integer(divisor_json))
		snprintf(divisor, sizeof(divisor), "%" JSON_INTEGER_FORMAT, json_integer_value(divisor_json));
	else
		snprintf(divisor, sizeof(divisor), "%s", json_string_value(divisor_json) ?: "");
	r = downward_text(m->pod, &item, m->o->allocatable, out, &why);
	return r < 0 ? err_set(m->e, r, "variable %s: %s", d->name, err_text(&why)) : 0;
}

/* 1: it is optional and not there. */
static int set_from_key(const struct maker *m, const struct definition *d)
{
	const struct origin origin = { d->ref.kind, d->ref.object, d->ref.key };
	cleanup_buf struct buf nothing = BUF_INIT(0);
	const struct secret *object = NULL;
	const struct secret_key *key;
	struct err why = ERR_INIT;
	int r;

	r = m->o->find(m->o->userdata, d->ref.kind, d->ref.object, &object, &why);
	if (r == ENVIRONMENT_HIDDEN)
		return set(m, d->name, &nothing, &origin, true);
	if (r == -ENOENT && d->ref.optional)
		return 0;
	if (r < 0)
		return err_set(m->e, r, "%s", err_text(&why));
	key = secret_find_key(object, d->ref.key);
	if (key && !key->binary)
		return set_key(m, d->name, &d->ref, key);
	if (d->ref.optional)
		return 0;
	return err_set(m->e, -ENOENT, "couldn't find key %s in %s %s/%s", d->ref.key, object_kind_name(d->ref.kind),
		       m->pod->ns, d->ref.object);
}

/* The kubelet knows the Services and puts in their values. */
static int note_service(const struct maker *m, const struct definition *d, const char *name)
{
	if (!*name || m->env->notes.n == NOTES_MAX)
		return 0;
	if (add_text(&m->env->notes, str_format("variable %s: $(%s) stays as it is: it looks like a Service's, and the "
						"variables of Services are not known here",
						d->name, name)) < 0)
		return no_memory(m->e);
	return 0;
}

static int make_definition(void *userdata, const struct definition *d, const struct json_at *at, struct err *e)
{
	const struct maker *m = userdata;
	cleanup_buf struct buf value = value_buf(m);
	struct expander x = { .env = m->env };
	int r;

	if (d->source && d->from >= FROM_CONFIG_MAP)
		return set_from_key(m, d);
	if (!d->source)
		r = buf_failed(expansion_expand(d->value, add_value, &x, &value), e);
	else if (d->from == FROM_FIELD)
		r = add_field(m, d, &value);
	else
		r = add_resource(m, d, &value);
	if (r == 0)
		r = note_service(m, d, x.service);
	return r < 0 ? r : set(m, d->name, &value, &(struct origin){ .object = NULL }, x.hidden);
}

/* ---- all of it ---- */

/* What no process can be given, and what a container runtime refuses: CRI's texts are UTF-8. */
static int check_value(const struct maker *m, const struct variable *v)
{
	const char *value = v->value.data ?: "", *what;

	if (strlen(value) != v->value.len)
		what = "has a NUL byte in it, which no environment can have";
	else if (!str_is_utf8(value, v->value.len))
		what = "is not UTF-8, which container runtimes refuse; a volume can show it";
	else
		return 0;
	if (!v->origin.object)
		return err_set(m->e, -EINVAL, "variable %s: its value %s", v->name, what);
	return err_set(m->e, -EINVAL, "variable %s: key %s of %s %s/%s %s", v->name, v->origin.key,
		       object_kind_name(v->origin.kind), m->pod->ns, v->origin.object, what);
}

static int make_all(const struct maker *m)
{
	struct visitor v = { make_from, make_definition, (void *)(uintptr_t)m };
	cleanup_json json_t *doc = NULL;
	int r;

	r = parse(m->container, &doc, m->e);
	if (r < 0 || !doc)
		return r;
	r = visit(m->container, doc, &v, m->e);
	for (size_t i = 0; r == 0 && i < m->env->n; i++) {
		r = check_value(m, m->env->all[i]);
		m->env->all[i]->origin = (struct origin){ .object = NULL };
	}
	return r;
}

int environment_make(const struct pod *pod, const struct pod_container *c, const struct environment_options *o,
		     struct environment **ret_env, struct err *e)
{
	cleanup_environment struct environment *env = calloc(1, sizeof(*env));
	const struct maker m = { .pod = pod, .container = c, .o = o, .env = env, .e = e };
	int r;

	if (!env)
		return no_memory(e);
	r = make_all(&m);
	if (r < 0)
		return r;
	*ret_env = TAKE_PTR(env);
	return 0;
}

void environment_free(struct environment *env)
{
	if (!env)
		return;
	map_deinit(&env->by_name);
	for (size_t i = 0; i < env->n; i++)
		variable_free(env->all[i]);
	name_list_deinit(&env->notes);
	for (size_t i = 0; i < env->n_hidden; i++)
		free(env->hidden[i].text);
	free(env->all);
	free(env);
}

size_t environment_count(const struct environment *env)
{
	return env->n;
}

const char *environment_name(const struct environment *env, size_t i)
{
	return env->all[i]->name;
}

const char *environment_value(const struct environment *env, size_t i, size_t *ret_len)
{
	const struct buf *value = &env->all[i]->value;

	if (ret_len)
		*ret_len = value->len;
	return value->data ?: "";
}

json_t *environment_json(const struct environment *env)
{
	cleanup_json json_t *list = json_array();

	for (size_t i = 0; i < env->n; i++) {
		json_t *text = json_sprintf("%s=%s", env->all[i]->name, env->all[i]->value.data ?: "");

		if (json_array_append_new(list, text) < 0)
			return NULL;
	}
	return TAKE_PTR(list);
}

size_t environment_count_notes(const struct environment *env)
{
	return env->notes.n;
}

const char *environment_note(const struct environment *env, size_t i)
{
	return env->notes.all[i];
}

/* ---- subPathExpr ---- */

#define PATH_BYTES_MAX ((size_t)4096)
#define NAME_SHOWN_MAX 64

/* The kubelet's ExpandContainerVolumeMounts(): what is empty is as good as missing. */
struct path_expander {
	struct expander x;
	struct buf missing;
	char hidden[NAME_SHOWN_MAX]; /* the first; "": none */
	bool hides;
};

static int add_path_value(void *userdata, const char *name, size_t len, struct buf *out)
{
	struct path_expander *p = userdata;
	const struct variable *v = map_get(&p->x.env->by_name, name, len);
	bool hidden = is_hidden(p->x.env, v, name, len);

	if (hidden && !p->hides)
		snprintf(p->hidden, sizeof(p->hidden), "%.*s", (int)MIN(len, sizeof(p->hidden)), name);
	p->hides |= hidden;
	if (!hidden && (!v || v->value.len == 0))
		(void)buf_printf(&p->missing, "%s%.*s", p->missing.len ? ", " : "", (int)MIN(len, PATH_BYTES_MAX),
				 name);
	return v ? buf_add(out, v->value.data ?: "", v->value.len) : 0;
}

int environment_expand_path(const struct environment *env, const char *expr, struct buf *out, struct err *e)
{
	struct path_expander p = { .x = { .env = env }, .missing = BUF_INIT(PATH_BYTES_MAX) };
	cleanup_buf struct buf path = BUF_INIT(PATH_BYTES_MAX);
	int r;

	r = expansion_expand(expr, add_path_value, &p, &path);
	if (p.hides)
		r = err_set(e, -EINVAL, "%s may come from a Secret, and a path would show it", p.hidden);
	else if (r == -ENOBUFS)
		r = err_set(e, -EINVAL, "the path would have more than %zu bytes", PATH_BYTES_MAX);
	else if (r == 0 && p.missing.len > 0)
		r = err_set(e, -EINVAL, "missing value for %s", p.missing.data);
	if (r == 0)
		r = buf_add(out, path.data ?: "", path.len);
	buf_deinit(&p.missing);
	return r == -ENOMEM || r == -ENOBUFS ? err_set(e, r, "out of memory") : r;
}
