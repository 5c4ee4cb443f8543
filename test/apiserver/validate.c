/* Defaults and validation. Only Secrets and Events are looked at closely; of a ConfigMap and a Pod the name alone, so that tests can
 * use skeletons of pods. Objects that a test puts with apiserver_put() are not validated: a client must also stand what no real
 * server sends. */
#include "test/apiserver/validate.h"

#include <time.h>

#include "common/b64.h"
#include "common/str.h"
#include "test/apiserver/status.h"

#define SECRET_BYTES_MAX 1048576
#define KEY_MAX		 253

#define NAME_RULE                                                                                                      \
	"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "     \
	"start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "              \
	"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
#define KEY_RULE                                                                                                       \
	"a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "           \
	"'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
#define KEY_CHARS "-._abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static void set_default(json_t *obj, const char *key, const char *value)
{
	if (str_empty(json_string_value(json_object_get(obj, key))))
		json_object_set_new(obj, key, json_string(value));
}

static json_t *object_at(json_t *obj, const char *key)
{
	if (!json_is_object(json_object_get(obj, key)))
		json_object_set_new(obj, key, json_object());
	return json_object_get(obj, key);
}

static void merge_string_data(json_t *obj)
{
	json_t *strings = json_object_get(obj, "stringData"), *data, *value;
	const char *key;

	if (json_object_size(strings) > 0) {
		data = object_at(obj, "data");
		json_object_foreach (strings, key, value) {
			cleanup_free char *text = NULL;

			if (b64_encode(json_string_value(value), json_string_length(value), &text) < 0)
				abort();
			json_object_set_new(data, key, json_string(text));
		}
	}
	json_object_del(obj, "stringData");
}

static void default_volumes(json_t *pod)
{
	json_t *volume, *source;
	size_t i;

	json_array_foreach (json_object_get(json_object_get(pod, "spec"), "volumes"), i, volume) {
		source = json_object_get(volume, "secret");
		if (!source)
			source = json_object_get(volume, "configMap");
		if (!source)
			source = json_object_get(volume, "projected");
		if (json_is_object(source) && !json_object_get(source, "defaultMode"))
			json_object_set_new(source, "defaultMode", json_integer(0644));
	}
}

void validate_default(const struct kind *kind, json_t *obj)
{
	json_object_del(obj, "kind");
	json_object_del(obj, "apiVersion");
	set_default(object_at(obj, "metadata"), "namespace", "default");
	if (str_eq(kind->name, "Secret")) {
		merge_string_data(obj);
		set_default(obj, "type", "Opaque");
	} else if (str_eq(kind->name, "Pod")) {
		set_default(object_at(obj, "status"), "phase", "Pending");
		default_volumes(obj);
	}
}

static json_t *decode_data(json_t *data)
{
	const char *key;
	json_t *value;

	json_object_foreach (data, key, value) {
		size_t len = json_string_length(value), decoded;
		cleanup_free uint8_t *bytes = malloc(b64_decoded_max(len) + 1);

		if (json_is_null(value))
			continue;
		if (!json_is_string(value))
			return status_bad_request("Secret in version \"v1\" cannot be handled as a Secret: "
						  "v1.Secret.Data: base64Codec: invalid input");
		if (!bytes)
			abort();
		if (b64_decode(json_string_value(value), len, bytes, b64_decoded_max(len) + 1, &decoded) < 0)
			return status_bad_request("Secret in version \"v1\" cannot be handled as a Secret: "
						  "v1.Secret.Data: decode base64: illegal base64 data");
	}
	return NULL;
}

static bool is_type(const json_t *value, json_type type)
{
	return !value || json_is_null(value) || json_typeof(value) == type;
}

static bool is_time(const json_t *value)
{
	const char *text = json_string_value(value);
	struct tm tm;

	if (!value || json_is_null(value))
		return true;
	text = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	return text && str_eq(text, "Z");
}

/* An Event's fields, as far as they are told to have a type. */
static json_t *decode_event(const json_t *obj)
{
	static const struct {
		const char *key;
		json_type type;
	} fields[] = {
		{ "metadata", JSON_OBJECT },
		{ "involvedObject", JSON_OBJECT },
		{ "source", JSON_OBJECT },
		{ "reason", JSON_STRING },
		{ "message", JSON_STRING },
		{ "type", JSON_STRING },
		{ "count", JSON_INTEGER },
		{ "reportingComponent", JSON_STRING },
		{ "reportingInstance", JSON_STRING },
	};
	static const char *const times[] = { "firstTimestamp", "lastTimestamp", "eventTime" };

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (!is_type(json_object_get(obj, fields[i].key), fields[i].type))
			return status_bad_request(
				"Event in version \"v1\" cannot be handled as a Event: %s has a wrong type",
				fields[i].key);
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		if (!is_time(json_object_get(obj, times[i])))
			return status_bad_request(
				"Event in version \"v1\" cannot be handled as a Event: parsing time of %s", times[i]);
	return NULL;
}

json_t *validate_decode(const struct kind *kind, const json_t *obj)
{
	const json_t *name = json_object_get(obj, "kind");
	json_t *strings = json_object_get(obj, "stringData"), *value;
	const char *key;

	if (!json_is_object(obj))
		return status_bad_request("the object provided is unrecognized (must be of type %s)", kind->name);
	if (json_is_string(name) && !str_eq(json_string_value(name), kind->name))
		return status_bad_request("%s in version \"v1\" cannot be handled as a %s", json_string_value(name),
					  kind->name);
	if (str_eq(kind->name, "Event"))
		return decode_event(obj);
	json_object_foreach (strings, key, value)
		if (!json_is_string(value))
			return status_bad_request("Secret in version \"v1\" cannot be handled as a Secret: "
						  "v1.Secret.StringData: ReadString: expects \" or n");
	return str_eq(kind->name, "Secret") ? decode_data(json_object_get(obj, "data")) : NULL;
}

/* ---- 422 ---- */

static void check_key(struct field_errors *f, const char *key)
{
	char field[KEY_MAX + 32];

	snprintf(field, sizeof(field), "data[%s]", key);
	if (strlen(key) > KEY_MAX)
		field_errors_add(f, "Invalid", field, "Invalid value: \"%s\": must be no more than %d characters", key,
				 KEY_MAX);
	else if (!*key || key[strspn(key, KEY_CHARS)])
		field_errors_add(f, "Invalid", field, "Invalid value: \"%s\": " KEY_RULE, key);
	else if (str_eq(key, "."))
		field_errors_add(f, "Invalid", field, "Invalid value: \".\": must not be '.'");
	else if (str_eq(key, ".."))
		field_errors_add(f, "Invalid", field, "Invalid value: \"..\": must not be '..'");
	else if (str_starts(key, ".."))
		field_errors_add(f, "Invalid", field, "Invalid value: \"%s\": must not start with '..'", key);
}

static size_t decoded_len(const char *text)
{
	size_t n = 0, pad = 0;

	for (; *text; text++) {
		n += *text != '\r' && *text != '\n';
		pad += *text == '=';
	}
	return n / 4 * 3 - pad;
}

static void check_data(struct field_errors *f, json_t *data)
{
	size_t total = 0;
	const char *key;
	json_t *value;

	json_object_foreach (data, key, value) {
		check_key(f, key);
		total += json_is_string(value) ? decoded_len(json_string_value(value)) : 0;
	}
	if (total > SECRET_BYTES_MAX)
		field_errors_add(f, "TooLong", "data", "Too long: must have at most %d bytes", SECRET_BYTES_MAX);
}

static void require_key(struct field_errors *f, json_t *data, const char *key)
{
	char field[64];

	snprintf(field, sizeof(field), "data[%s]", key);
	if (!json_object_get(data, key))
		field_errors_add(f, "Required", field, "Required value");
}

static void check_type(struct field_errors *f, const json_t *obj)
{
	static const struct {
		const char *type, *keys[2];
	} required[] = {
		{ "kubernetes.io/dockercfg", { ".dockercfg" } },
		{ "kubernetes.io/dockerconfigjson", { ".dockerconfigjson" } },
		{ "kubernetes.io/ssh-auth", { "ssh-privatekey" } },
		{ "kubernetes.io/tls", { "tls.crt", "tls.key" } },
	};
	const char *type = json_string_value(json_object_get(obj, "type"));
	json_t *data = json_object_get(obj, "data");
	const json_t *annotations = json_object_get(json_object_get(obj, "metadata"), "annotations");

	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		for (size_t k = 0; str_eq(type, required[i].type) && k < 2 && required[i].keys[k]; k++)
			require_key(f, data, required[i].keys[k]);
	if (str_eq(type, "kubernetes.io/basic-auth") && !json_object_get(data, "username") &&
	    !json_object_get(data, "password")) {
		require_key(f, data, "username");
		require_key(f, data, "password");
	}
	if (str_eq(type, "kubernetes.io/service-account-token") &&
	    str_empty(json_string_value(json_object_get(annotations, "kubernetes.io/service-account.name"))))
		field_errors_add(f, "Required", "metadata.annotations[kubernetes.io/service-account.name]",
				 "Required value");
}

static bool same(const json_t *x, const json_t *y, const char *key)
{
	const json_t *xv = json_object_get(x, key), *yv = json_object_get(y, key);

	return xv && yv ? json_equal(xv, yv) : json_object_size(xv ? xv : yv) == 0;
}

static void check_secret(struct field_errors *f, const json_t *obj, const json_t *old)
{
	static const char locked[] = "Forbidden: field is immutable when `immutable` is set";

	if (old && !same(obj, old, "type"))
		field_errors_add(f, "Invalid", "type", "Invalid value: \"%s\": field is immutable",
				 json_string_value(json_object_get(obj, "type")));
	if (old && json_is_true(json_object_get(old, "immutable"))) {
		if (!json_is_true(json_object_get(obj, "immutable")))
			field_errors_add(f, "Forbidden", "immutable", "%s", locked);
		if (!same(obj, old, "data"))
			field_errors_add(f, "Forbidden", "data", "%s", locked);
	}
	check_data(f, json_object_get(obj, "data"));
	check_type(f, obj);
}

/* legacyValidateEvent() of pkg/apis/core/validation, for an event without eventTime. */
static void check_event(struct field_errors *f, const json_t *obj)
{
	const char *ns = json_string_value(json_object_get(json_object_get(obj, "involvedObject"), "namespace"));
	const char *own = object_meta(obj, "namespace");

	if (!(str_empty(ns) ? str_eq(own, "default") : str_eq(own, ns)))
		field_errors_add(f, "Invalid", "involvedObject.namespace",
				 "Invalid value: \"%s\": does not match event.namespace", ns ? ns : "");
}

/* Of an Event, only what a path can hold is asked for. */
static bool is_name(const struct kind *kind, const char *name)
{
	if (str_eq(kind->name, "Event"))
		return !str_eq(name, ".") && !str_eq(name, "..") && !name[strcspn(name, "/%")];
	return str_is_dns_subdomain(name);
}

json_t *validate_object(const struct kind *kind, const json_t *obj, const json_t *old)
{
	struct field_errors f = { .causes = NULL };
	const char *name = object_meta(obj, "name"), *rv = object_meta(obj, "resourceVersion");

	if (old && *rv && !str_eq(rv, object_meta(old, "resourceVersion")))
		return status_failure(
			409, "Conflict", status_details(kind->resource, name),
			"Operation cannot be fulfilled on %s \"%s\": the object has been modified; please "
			"apply your changes to the latest version and try again",
			kind->resource, name);

	if (!*name)
		field_errors_add(&f, "Required", "metadata.name", "Required value: name or generateName is required");
	else if (!is_name(kind, name))
		field_errors_add(&f, "Invalid", "metadata.name", "Invalid value: \"%s\": " NAME_RULE, name);
	if (str_eq(kind->name, "Secret"))
		check_secret(&f, obj, old);
	if (str_eq(kind->name, "Event"))
		check_event(&f, obj);
	return field_errors_status(&f, kind->name, name);
}
