/* Status objects. The sentences are what kube-apiserver v1.20 answers, because clients tell some failures apart only by
 * them ("Too large resource version") and people search for them. */
#include "test/apiserver/status.h"

#include <inttypes.h>
#include <stdarg.h>

#include "common/buf.h"

#define STATUS_TEXT_MAX 8192

static char *format(const char *fmt, va_list ap)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	return text;
}

static json_t *failure(int code, const char *reason, json_t *take_details, const char *message)
{
	json_t *s = json_pack("{s:s, s:s, s:{}, s:s, s:s}", "kind", "Status", "apiVersion", "v1", "metadata", "status",
			      "Failure", "message", message);

	if (*reason)
		json_object_set_new(s, "reason", json_string(reason));
	if (take_details)
		json_object_set_new(s, "details", take_details);
	json_object_set_new(s, "code", json_integer(code));
	return s;
}

json_t *status_failure(int code, const char *reason, json_t *take_details, const char *fmt, ...)
{
	cleanup_free char *message = NULL;
	va_list ap;

	va_start(ap, fmt);
	message = format(fmt, ap);
	va_end(ap);
	return failure(code, reason, take_details, message);
}

json_t *status_success(const char *resource, const char *name, const char *uid)
{
	return json_pack("{s:s, s:s, s:{}, s:s, s:{s:s, s:s, s:s}}", "kind", "Status", "apiVersion", "v1", "metadata",
			 "status", "Success", "details", "name", name, "kind", resource, "uid", uid);
}

json_t *status_details(const char *resource, const char *name)
{
	return name ? json_pack("{s:s, s:s}", "name", name, "kind", resource) : json_pack("{s:s}", "kind", resource);
}

json_t *status_not_found(const char *resource, const char *name)
{
	return status_failure(404, "NotFound", status_details(resource, name), "%s \"%s\" not found", resource, name);
}

json_t *status_no_such_resource(void)
{
	return status_failure(404, "NotFound", json_object(), "the server could not find the requested resource");
}

json_t *status_method_not_allowed(void)
{
	return status_failure(405, "MethodNotAllowed", json_object(),
			      "the server does not allow this method on the requested resource");
}

json_t *status_unauthorized(void)
{
	return status_failure(401, "Unauthorized", NULL, "Unauthorized");
}

json_t *status_bad_request(const char *fmt, ...)
{
	cleanup_free char *message = NULL;
	va_list ap;

	va_start(ap, fmt);
	message = format(fmt, ap);
	va_end(ap);
	return failure(400, "BadRequest", NULL, message);
}

json_t *status_expired(uint64_t rv, uint64_t oldest)
{
	return status_failure(410, "Expired", NULL, "too old resource version: %" PRIu64 " (%" PRIu64 ")", rv, oldest);
}

json_t *status_continue_expired(const char *inconsistent_token)
{
	json_t *s = status_failure(
		410, "Expired", NULL,
		"The provided continue parameter is too old to display a consistent list result. You can start a new "
		"list without the continue parameter, or use the continue token in this response to retrieve the "
		"remainder of the results. Continuing with the provided token results in an inconsistent list - "
		"objects that were created, modified, or deleted between the time the first chunk was returned and "
		"now may show up in the list.");

	json_object_set_new(json_object_get(s, "metadata"), "continue", json_string(inconsistent_token));
	return s;
}

json_t *status_rv_too_large(uint64_t rv, uint64_t current)
{
	json_t *details = json_pack("{s:[{s:s, s:s}], s:i}", "causes", "reason", "ResourceVersionTooLarge", "message",
				    "Too large resource version", "retryAfterSeconds", 1);

	return status_failure(504, "Timeout", details,
			      "Timeout: Too large resource version: %" PRIu64 ", current: %" PRIu64, rv, current);
}

json_t *status_rv_invalid(const char *text)
{
	return status_failure(
		500, "", NULL,
		"resourceVersion: Invalid value: \"%s\": strconv.ParseUint: parsing \"%s\": invalid syntax", text,
		text);
}

int status_code(const json_t *status)
{
	return (int)json_integer_value(json_object_get(status, "code"));
}

void field_errors_add(struct field_errors *f, const char *what, const char *field, const char *fmt, ...)
{
	cleanup_free char *message = NULL, *reason = NULL;
	va_list ap;

	va_start(ap, fmt);
	message = format(fmt, ap);
	va_end(ap);
	if (asprintf(&reason, "FieldValue%s", what) < 0)
		abort();

	if (!f->causes)
		f->causes = json_array();
	json_array_append_new(f->causes,
			      json_pack("{s:s, s:s, s:s}", "reason", reason, "message", message, "field", field));
}

json_t *field_errors_status(struct field_errors *f, const char *kind, const char *name)
{
	cleanup_buf struct buf text = BUF_INIT(STATUS_TEXT_MAX);
	json_t *causes = TAKE_PTR(f->causes), *cause;
	size_t i;

	if (!causes)
		return NULL;

	json_array_foreach (causes, i, cause)
		buf_printf(&text, "%s%s: %s", i ? ", " : "", json_string_value(json_object_get(cause, "field")),
			   json_string_value(json_object_get(cause, "message")));
	return status_failure(422, "Invalid",
			      json_pack("{s:s, s:s, s:o}", "name", name, "kind", kind, "causes", causes),
			      json_array_size(causes) > 1 ? "%s \"%s\" is invalid: [%s]" : "%s \"%s\" is invalid: %s",
			      kind, name, text.data ? text.data : "");
}
