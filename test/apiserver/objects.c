/* Objects and history. Every change is kept with the object before and after it, in order of the one revision counter.
 * From that follow all the views the real server gives: a watch from a revision is a walk over the history, what an
 * event is to a selector (ADDED, MODIFIED, DELETED) comes from before and after, and the list of an earlier revision,
 * which later pages of a list need, is today's with the changes since undone. JSON values are never changed once they
 * are here, so that everything shares them by reference. */
#include "test/apiserver/objects.h"

#include <inttypes.h>
#include <sys/random.h>
#include <time.h>

#include "test/apiserver/status.h"

/* Like the real watch cache, the history has an end. */
#define HISTORY_MAX 32768

static const struct kind kinds[] = {
	{ "ConfigMap", "configmaps", "", "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{}}" },
	{ "Secret", "secrets", "type\0", "{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{}}" },
	{ "Pod", "pods", "spec.nodeName\0spec.restartPolicy\0spec.serviceAccountName\0status.phase\0status.podIP\0",
	  "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{},\"spec\":{\"containers\":null},\"status\":{}}" },
	{ "Event", "events",
	  "involvedObject.kind\0involvedObject.namespace\0involvedObject.name\0involvedObject.uid\0reason\0type\0",
	  "{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"metadata\":{},\"involvedObject\":{},\"source\":{}}" },
};

struct object {
	const struct kind *kind;
	char *key; /* NS/NAME */
	json_t *value;
};

struct objects {
	uint64_t rv, compacted;
	struct object *objects; /* ordered by kind, key */
	size_t n_objects, objects_size;
	struct change *changes; /* ordered by rv */
	size_t n_changes, changes_size;
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

const struct kind *kind_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_eq(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

const struct kind *kind_by_resource(const char *resource)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_eq(kinds[i].resource, resource))
			return &kinds[i];
	return NULL;
}

/* ---- selectors ---- */

void selector_deinit(struct object_selector *sel)
{
	free(sel->ns);
	for (size_t i = 0; i < sel->n_terms; i++) {
		free(sel->terms[i].field);
		free(sel->terms[i].value);
	}
	*sel = (struct object_selector){ .ns = NULL };
}

static bool field_supported(const struct kind *kind, const char *field)
{
	if (str_eq(field, "metadata.name") || str_eq(field, "metadata.namespace"))
		return true;
	for (const char *f = kind->fields; *f; f += strlen(f) + 1)
		if (str_eq(f, field))
			return true;
	return false;
}

static json_t *term_parse(struct selector_term *term, const struct kind *kind, const char *text, const char *whole)
{
	const char *op = strpbrk(text, "=!");
	bool negate = op && *op == '!';
	const char *value;

	if (!op || (negate && op[1] != '='))
		return status_bad_request("invalid selector: '%s'; can't understand '%s'", whole, text);

	value = op + (negate || op[1] == '=' ? 2 : 1);
	*term = (struct selector_term){ .field = must(strndup(text, (size_t)(op - text))),
					.value = must(strdup(value)),
					.negate = negate };
	if (!field_supported(kind, term->field))
		return status_bad_request("field label not supported: %s", term->field);
	return NULL;
}

json_t *object_selector_parse(struct object_selector *sel, const struct kind *kind, const char *ns, const char *text)
{
	cleanup_free char *copy = must(strdup(text ? text : ""));
	char *rest = copy, *word;
	json_t *status = NULL;

	*sel = (struct object_selector){ .ns = ns ? must(strdup(ns)) : NULL };
	while (!status && (word = strsep(&rest, ","))) {
		if (!*word)
			continue;
		if (sel->n_terms == SELECTOR_TERMS_MAX)
			status = status_bad_request("invalid selector: '%s'; too many terms", text);
		else
			status = term_parse(&sel->terms[sel->n_terms++], kind, word, text);
	}
	if (status)
		selector_deinit(sel);
	return status;
}

/* A string at a dotted path; absent is "", as in the real server's field sets. */
static const char *field_value(const json_t *obj, const char *path)
{
	cleanup_free char *copy = must(strdup(path));
	char *rest = copy, *word;

	while ((word = strsep(&rest, ".")))
		obj = json_object_get(obj, word);
	return json_is_string(obj) ? json_string_value(obj) : "";
}

bool selector_match(const struct object_selector *sel, const json_t *obj)
{
	if (!obj || (sel->ns && !str_eq(sel->ns, object_meta(obj, "namespace"))))
		return false;
	for (size_t i = 0; i < sel->n_terms; i++)
		if (str_eq(field_value(obj, sel->terms[i].field), sel->terms[i].value) == sel->terms[i].negate)
			return false;
	return true;
}

const char *selector_exact(const struct object_selector *sel, const char *field)
{
	for (size_t i = 0; i < sel->n_terms; i++)
		if (!sel->terms[i].negate && str_eq(sel->terms[i].field, field))
			return sel->terms[i].value;
	return NULL;
}

/* ---- one object ---- */

const char *object_meta(const json_t *obj, const char *key)
{
	const char *value = json_string_value(json_object_get(json_object_get(obj, "metadata"), key));

	return value ? value : "";
}

static char *make_key(const char *ns, const char *name)
{
	char *key = NULL;

	if (asprintf(&key, "%s/%s", ns, name) < 0)
		abort();
	return key;
}

char *object_key(const json_t *obj)
{
	return make_key(object_meta(obj, "namespace"), object_meta(obj, "name"));
}

json_t *object_full(const struct kind *kind, json_t *obj, uint64_t rv)
{
	json_t *full = json_pack("{s:s, s:s}", "kind", kind->name, "apiVersion", "v1");
	char text[24];

	json_object_update(full, obj);
	if (rv) {
		json_t *meta = json_copy(json_object_get(obj, "metadata"));

		snprintf(text, sizeof(text), "%" PRIu64, rv);
		json_object_set_new(meta, "resourceVersion", json_string(text));
		json_object_set_new(full, "metadata", meta);
	}
	return full;
}

static json_t *new_uid(void)
{
	uint8_t b[16];
	char text[40];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		abort();
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	snprintf(text, sizeof(text), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return json_string(text);
}

static json_t *new_timestamp(void)
{
	time_t now = time(NULL);
	struct tm tm;
	char text[40];

	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	return json_string(text);
}

/* ---- the store ---- */

struct objects *objects_new(void)
{
	struct objects *o = must(calloc(1, sizeof(*o)));

	o->rv = o->compacted = 1;
	return o;
}

static void change_deinit(struct change *c)
{
	json_decref(c->before);
	json_decref(c->after);
}

void objects_free(struct objects *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->n_objects; i++) {
		free(o->objects[i].key);
		json_decref(o->objects[i].value);
	}
	for (size_t i = 0; i < o->n_changes; i++)
		change_deinit(&o->changes[i]);
	free(o->objects);
	free(o->changes);
	free(o);
}

uint64_t objects_rv(const struct objects *o)
{
	return o->rv;
}

uint64_t objects_compacted(const struct objects *o)
{
	return o->compacted;
}

static void forget(struct objects *o, size_t n)
{
	if (n == 0)
		return;
	o->compacted = o->changes[n - 1].rv;
	for (size_t i = 0; i < n; i++)
		change_deinit(&o->changes[i]);
	memmove(o->changes, o->changes + n, (o->n_changes - n) * sizeof(*o->changes));
	o->n_changes -= n;
}

void objects_compact(struct objects *o)
{
	forget(o, o->n_changes);
	o->compacted = o->rv;
}

static int object_cmp(const struct object *x, const struct kind *kind, const char *key)
{
	return x->kind == kind ? strcmp(x->key, key) : x->kind < kind ? -1 : 1;
}

/* Index of the object, or where it would go; *ret_found says which. */
static size_t find(const struct objects *o, const struct kind *kind, const char *key, bool *ret_found)
{
	size_t low = 0, high = o->n_objects;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (object_cmp(&o->objects[mid], kind, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*ret_found = low < o->n_objects && object_cmp(&o->objects[low], kind, key) == 0;
	return low;
}

json_t *objects_get(const struct objects *o, const struct kind *kind, const char *ns, const char *name)
{
	cleanup_free char *key = make_key(ns, name);
	bool found;
	size_t i = find(o, kind, key, &found);

	return found ? o->objects[i].value : NULL;
}

static const struct change *record(struct objects *o, const struct kind *kind, json_t *take_before, json_t *after)
{
	if (o->n_changes == HISTORY_MAX)
		forget(o, HISTORY_MAX / 2);
	if (o->n_changes == o->changes_size) {
		o->changes_size = MAX(2 * o->changes_size, (size_t)64);
		o->changes = must(reallocarray(o->changes, o->changes_size, sizeof(*o->changes)));
	}
	o->changes[o->n_changes] =
		(struct change){ .rv = o->rv, .kind = kind, .before = take_before, .after = json_incref(after) };
	return &o->changes[o->n_changes++];
}

const struct change *objects_put(struct objects *o, const struct kind *kind, json_t *take_obj)
{
	cleanup_free char *key = object_key(take_obj);
	json_t *meta = json_object_get(take_obj, "metadata"), *before = NULL;
	char text[24];
	bool found;
	size_t i = find(o, kind, key, &found);

	if (!found) {
		if (o->n_objects == o->objects_size) {
			o->objects_size = MAX(2 * o->objects_size, (size_t)64);
			o->objects = must(reallocarray(o->objects, o->objects_size, sizeof(*o->objects)));
		}
		memmove(o->objects + i + 1, o->objects + i, (o->n_objects - i) * sizeof(*o->objects));
		o->objects[i] = (struct object){ .kind = kind, .key = TAKE_PTR(key) };
		o->n_objects++;
		if (!json_is_string(json_object_get(meta, "uid")))
			json_object_set_new(meta, "uid", new_uid());
		json_object_set_new(meta, "creationTimestamp", new_timestamp());
	} else {
		before = TAKE_PTR(o->objects[i].value);
		json_object_set_new(meta, "uid", json_string(object_meta(before, "uid")));
		json_object_set_new(meta, "creationTimestamp", json_string(object_meta(before, "creationTimestamp")));
	}

	snprintf(text, sizeof(text), "%" PRIu64, ++o->rv);
	json_object_set_new(meta, "resourceVersion", json_string(text));
	o->objects[i].value = take_obj;
	return record(o, kind, before, take_obj);
}

const struct change *objects_delete(struct objects *o, const struct kind *kind, const char *ns, const char *name)
{
	cleanup_free char *key = make_key(ns, name);
	json_t *before;
	bool found;
	size_t i = find(o, kind, key, &found);

	if (!found)
		return NULL;
	before = o->objects[i].value;
	free(o->objects[i].key);
	memmove(o->objects + i, o->objects + i + 1, (o->n_objects - i - 1) * sizeof(*o->objects));
	o->n_objects--;
	o->rv++;
	return record(o, kind, before, NULL);
}

const struct change *objects_after(const struct objects *o, uint64_t rv)
{
	size_t low = 0, high = o->n_changes;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (o->changes[mid].rv <= rv)
			low = mid + 1;
		else
			high = mid;
	}
	return low < o->n_changes ? &o->changes[low] : NULL;
}

static int value_cmp(const void *x, const void *y)
{
	cleanup_free char *xk = object_key(*(json_t *const *)x), *yk = object_key(*(json_t *const *)y);

	return strcmp(xk, yk);
}

/* The objects of the kind at rv by key: today's with the changes since undone, newest first. */
static json_t *snapshot(const struct objects *o, const struct kind *kind, uint64_t rv)
{
	json_t *by_key = json_object();

	for (size_t i = 0; i < o->n_objects; i++)
		if (o->objects[i].kind == kind)
			json_object_set(by_key, o->objects[i].key, o->objects[i].value);
	for (size_t i = o->n_changes; i > 0 && o->changes[i - 1].rv > rv; i--) {
		const struct change *c = &o->changes[i - 1];
		cleanup_free char *key = object_key(c->before ? c->before : c->after);

		if (c->kind != kind)
			continue;
		if (c->before)
			json_object_set(by_key, key, c->before);
		else
			json_object_del(by_key, key);
	}
	return by_key;
}

json_t *objects_list(const struct objects *o, const struct kind *kind, const struct object_selector *sel, uint64_t rv)
{
	json_t *by_key, *list = json_array(), *obj;
	cleanup_free json_t **sorted = NULL;
	const char *key;
	size_t n = 0;

	if (rv == o->rv) {
		for (size_t i = 0; i < o->n_objects; i++)
			if (o->objects[i].kind == kind && selector_match(sel, o->objects[i].value))
				json_array_append(list, o->objects[i].value);
		return list;
	}

	by_key = snapshot(o, kind, rv);
	sorted = must(calloc(json_object_size(by_key) + 1, sizeof(*sorted)));
	json_object_foreach (by_key, key, obj)
		if (selector_match(sel, obj))
			sorted[n++] = obj;
	qsort(sorted, n, sizeof(*sorted), value_cmp);
	for (size_t i = 0; i < n; i++)
		json_array_append(list, sorted[i]);
	json_decref(by_key);
	return list;
}
