/* Validate env: core/v1's validation of env, envFrom and imagePullSecrets. */
#include "agent/validate_env.h"

#include "agent/downward.h"
#include "agent/pod_env.h"
#include "agent/secret.h"
#include "agent/validate_words.h"

/* ---- resources ---- */

/* A quantity; YAML reads `divisor: 1` as a number. */
static int check_divisor(const json_t *ref, const char *resource, const struct json_at *up, struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "divisor");
	const json_t *value = json_object_get(ref, "divisor");
	const char *divisor = NULL, *problem;
	char number[32];
	int r;

	if (json_is_integer(value)) {
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		divisor = number;
	} else {
		r = json_get_str(ref, "divisor", up, &divisor, issue);
		if (r < 0)
			return r;
	}
	problem = downward_divisor_problem(resource, divisor);
	return *problem ? invalid(issue, &at, divisor, problem) : 0;
}

int validate_resource_ref(const json_t *ref, bool needs_container, const struct json_at *at, struct json_issue *issue)
{
	static const char *const known[] = { "containerName", "resource", "divisor", NULL };
	const char *container = NULL, *resource = NULL;
	int r;

	r = refuse_unknown(ref, at, known, issue);
	if (r < 0)
		return r;
	r = needs_container ? get_filled(ref, "containerName", at, &container, issue)
			    : json_get_str(ref, "containerName", at, &container, issue);
	if (r < 0)
		return r;
	r = get_filled(ref, "resource", at, &resource, issue);
	if (r < 0)
		return r;
	if (!downward_resource_is_known(resource))
		return json_issue_set(issue, &JSON_AT(at, "resource"),
				      "Unsupported value: \"" SHOWN "\": supported values: \"limits.cpu\", "
				      "\"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", "
				      "\"requests.ephemeral-storage\", \"requests.memory\"",
				      resource);
	return check_divisor(ref, resource, at, issue);
}

/* ---- fields ---- */

/* The key of metadata.labels['KEY'] or of an annotation, whose prefix may be in capitals. */
static int check_field_key(const char *key, size_t len, bool is_label, const struct json_at *at,
			   struct json_issue *issue)
{
	cleanup_free char *name = strndup(key, len), *lower = strndup(key, len);

	if (!name || !lower)
		return no_memory(issue, at);
	for (char *c = lower; !is_label && *c; c++)
		*c = *c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c;
	return str_is_qualified_name(lower) ? 0 : invalid(issue, at, name, QUALIFIED_RULE);
}

static int check_field_ref(const json_t *ref, const struct json_at *up, struct json_issue *issue)
{
	static const char *const known[] = { "apiVersion", "fieldPath", NULL };
	static const char *const others[] = { "spec.nodeName",
					      "spec.serviceAccountName",
					      "status.hostIP",
					      "status.hostIPs",
					      "status.podIP",
					      "status.podIPs",
					      NULL };
	const struct json_at at = JSON_AT(up, "fieldPath");
	const char *path = NULL, *key;
	enum downward_field field;
	size_t len;
	int r;

	r = refuse_unknown(ref, up, known, issue);
	if (r == 0)
		r = get_filled(ref, "fieldPath", up, &path, issue);
	if (r < 0 || is_known(others, path))
		return r;
	/* all labels or annotations at once can be shown by a volume alone */
	if (downward_field_parse(path, &field, &key, &len) == 0 && (field < DOWNWARD_LABELS || len > 0))
		return len == 0 ? 0 : check_field_key(key, len, field == DOWNWARD_LABELS, &at, issue);
	return json_issue_set(issue, &at,
			      "Unsupported value: \"" SHOWN "\": supported values: \"metadata.name\", "
			      "\"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", "
			      "\"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", "
			      "\"status.podIPs\"",
			      path);
}

/* ---- env ---- */

static int check_name(const char *name, const struct json_at *at, struct json_issue *issue)
{
	const char *problem = pod_env_name_problem(name);

	return *problem ? invalid(issue, at, name, problem) : 0;
}

/* A Secret's or a ConfigMap's name; and a key of it. */
static int check_object_ref(const json_t *ref, bool has_key, const struct json_at *at, struct json_issue *issue)
{
	static const char *const known[] = { "name", "optional", NULL }, *const with_key[] = { "name", "key",
											       "optional", NULL };
	const char *name = NULL, *key = NULL, *problem;
	bool optional = false;
	int r;

	r = refuse_unknown(ref, at, has_key ? with_key : known, issue);
	if (r == 0)
		r = get_filled(ref, "name", at, &name, issue);
	if (r == 0)
		r = json_get_bool(ref, "optional", at, &optional, issue);
	if (r == 0 && has_key)
		r = get_filled(ref, "key", at, &key, issue);
	if (r < 0 || !has_key)
		return r;
	problem = secret_key_problem(key);
	return *problem ? invalid(issue, &JSON_AT(at, "key"), key, problem) : 0;
}

static int check_value_ref(const json_t *ref, const struct json_at *at, struct json_issue *issue)
{
	return check_object_ref(ref, true, at, issue);
}

static int check_resource_of_env(const json_t *ref, const struct json_at *at, struct json_issue *issue)
{
	return validate_resource_ref(ref, false, at, issue);
}

static int check_whole_ref(const json_t *ref, const struct json_at *at, struct json_issue *issue)
{
	return check_object_ref(ref, false, at, issue);
}

/* What can stand in an object of which one alone may be there. */
struct choice {
	const char *field;
	int (*check)(const json_t *ref, const struct json_at *at, struct json_issue *issue);
};

/* *ret_n: how many there are. */
static int check_choices(const json_t *obj, const struct choice *choices, size_t n_choices, const struct json_at *at,
			 size_t *ret_n, struct json_issue *issue)
{
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_choices; i++) {
		const json_t *ref = NULL;

		r = json_get_object(obj, choices[i].field, at, &ref, issue);
		n += ref != NULL;
		if (r == 0 && ref)
			r = choices[i].check(ref, &JSON_AT(at, choices[i].field), issue);
	}
	*ret_n = n;
	return r;
}

static int check_value_from(const json_t *from, const char *value, const struct json_at *at, struct json_issue *issue)
{
	static const struct choice choices[] = { { "fieldRef", check_field_ref },
						 { "resourceFieldRef", check_resource_of_env },
						 { "configMapKeyRef", check_value_ref },
						 { "secretKeyRef", check_value_ref } };
	size_t n = 0;
	int r;

	r = check_choices(from, choices, ARRAY_SIZE(choices), at, &n, issue);
	if (r < 0)
		return r;
	if (n == 0)
		return invalid(
			issue, at, "",
			"must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`");
	if (!str_empty(value))
		return invalid(issue, at, "", "may not be specified when `value` is not empty");
	return n > 1 ? invalid(issue, at, "", "may not have more than one field specified at a time") : 0;
}

static int check_variable(const json_t *variable, const struct json_at *at, void *userdata, struct json_issue *issue)
{
	static const char *const known[] = { "name", "value", "valueFrom", NULL };
	const char *name = NULL, *value = NULL;
	const json_t *from = NULL;
	int r;

	r = refuse_unknown(variable, at, known, issue);
	if (r == 0)
		r = get_filled(variable, "name", at, &name, issue);
	if (r == 0)
		r = check_name(name, &JSON_AT(at, "name"), issue);
	if (r == 0)
		r = json_get_str(variable, "value", at, &value, issue);
	if (r == 0)
		r = json_get_object(variable, "valueFrom", at, &from, issue);
	return r < 0 || !from ? r : check_value_from(from, value, &JSON_AT(at, "valueFrom"), issue);
}

static int check_from(const json_t *from, const struct json_at *at, void *userdata, struct json_issue *issue)
{
	static const struct choice choices[] = { { "configMapRef", check_whole_ref },
						 { "secretRef", check_whole_ref } };
	static const char *const known[] = { "prefix", "configMapRef", "secretRef", NULL };
	const char *prefix = NULL;
	size_t n = 0;
	int r;

	r = refuse_unknown(from, at, known, issue);
	if (r == 0)
		r = json_get_str(from, "prefix", at, &prefix, issue);
	if (r == 0 && !str_empty(prefix))
		r = check_name(prefix, &JSON_AT(at, "prefix"), issue);
	if (r == 0)
		r = check_choices(from, choices, ARRAY_SIZE(choices), at, &n, issue);
	if (r < 0)
		return r;
	if (n == 0)
		return invalid(issue, at, "", "must specify one of: `configMapRef` or `secretRef`");
	return n > 1 ? invalid(issue, at, "", "may not have more than one field specified at a time") : 0;
}

int validate_env(const json_t *container, const struct json_at *at, struct json_issue *issue)
{
	int r;

	r = for_each(container, "env", at, check_variable, NULL, issue);
	return r < 0 ? r : for_each(container, "envFrom", at, check_from, NULL, issue);
}

/* ---- imagePullSecrets ---- */

/* One without a name is none, as for the API server. */
static int check_pull_secret(const json_t *ref, const struct json_at *at, void *userdata, struct json_issue *issue)
{
	static const char *const known[] = { "name", NULL };
	const char *name = NULL;
	int r;

	r = refuse_unknown(ref, at, known, issue);
	return r < 0 ? r : json_get_str(ref, "name", at, &name, issue);
}

int validate_pull_secrets(const json_t *spec, const struct json_at *at, struct json_issue *issue)
{
	return for_each(spec, "imagePullSecrets", at, check_pull_secret, NULL, issue);
}
