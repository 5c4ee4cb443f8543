/* API: everything that is put into a URL is percent-encoded here and nowhere else; everything that a server says about
 * a failure goes through struct err, which bounds and cleans it. */
#include "agent/api.h"

#include <inttypes.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/str.h"

enum {
	TARGET_MAX = 16384, /* continue tokens are the long part */
	RETRY_AFTER_MAX = 120,
};

/* ---- targets ---- */

/* What RFC 3986 calls unreserved. */
static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
	       c == '_' || c == '~';
}

static int add_encoded(struct buf *b, const char *text)
{
	int r = 0;

	for (size_t n = 0; r == 0 && text[n];) {
		if (is_plain(text[n])) {
			n++;
			continue;
		}
		r = buf_add(b, text, n);
		r = r ?: buf_printf(b, "%%%02X", (unsigned)(unsigned char)text[n]);
		text += n + 1;
		n = 0;
	}
	return r ?: buf_add_str(b, text);
}

static int add_path(struct buf *b, const struct api_resource *resource)
{
	int r;

	r = buf_add_str(b, "/api/v1");
	if (r == 0 && resource->ns)
		r = buf_add_str(b, "/namespaces/");
	if (r == 0 && resource->ns)
		r = add_encoded(b, resource->ns);
	if (r == 0)
		r = buf_add_str(b, "/");
	return r < 0 ? r : add_encoded(b, resource->plural);
}

/* The first one gets a question mark. */
static int add_param(struct buf *b, const char *key, const char *value)
{
	int r;

	r = buf_add_str(b, memchr(b->data, '?', b->len) ? "&" : "?");
	if (r == 0)
		r = buf_add_str(b, key);
	if (r == 0)
		r = buf_add_str(b, "=");
	return r < 0 ? r : add_encoded(b, value);
}

static int add_selector(struct buf *b, const struct api_resource *resource)
{
	cleanup_free char *selector = NULL;

	if (!resource->field)
		return 0;
	selector = str_format("%s=%s", resource->field, resource->field_value);
	return selector ? add_param(b, "fieldSelector", selector) : -ENOMEM;
}

static int take_target(struct buf *b, int r, char **ret_target)
{
	char *target;

	if (r < 0)
		return r;
	target = buf_take(b);
	if (!target)
		return -ENOMEM;
	*ret_target = target;
	return 0;
}

int api_list_target(const struct api_resource *resource, const struct api_list *list, char **ret_target)
{
	cleanup_buf struct buf b = BUF_INIT(TARGET_MAX);
	char limit[16];
	int r;

	snprintf(limit, sizeof(limit), "%u", list->limit);
	r = add_path(&b, resource);
	if (r == 0)
		r = add_selector(&b, resource);
	if (r == 0 && list->limit)
		r = add_param(&b, "limit", limit);
	if (r == 0 && list->continue_token)
		r = add_param(&b, "continue", list->continue_token);
	if (r == 0 && !list->continue_token && !str_empty(list->resource_version))
		r = add_param(&b, "resourceVersion", list->resource_version);
	if (r == 0 && list->exact)
		r = add_param(&b, "resourceVersionMatch", "Exact");
	return take_target(&b, r, ret_target);
}

int api_object_target(const struct api_resource *resource, const char *resource_version, char **ret_target)
{
	cleanup_buf struct buf b = BUF_INIT(TARGET_MAX);
	int r;

	r = add_path(&b, resource);
	if (r == 0)
		r = buf_add_str(&b, "/");
	if (r == 0)
		r = add_encoded(&b, resource->field_value);
	if (r == 0 && !str_empty(resource_version))
		r = add_param(&b, "resourceVersion", resource_version);
	return take_target(&b, r, ret_target);
}

static int make_watch_target(const struct api_resource *resource, const char *resource_version, bool initial,
			     unsigned timeout_sec, char **ret_target)
{
	cleanup_buf struct buf b = BUF_INIT(TARGET_MAX);
	char timeout[16];
	int r;

	snprintf(timeout, sizeof(timeout), "%u", timeout_sec);
	r = add_path(&b, resource);
	if (r == 0)
		r = add_param(&b, "allowWatchBookmarks", "true");
	if (r == 0)
		r = add_selector(&b, resource);
	/* sent even if it is empty, as client-go does: a server may insist on it beside resourceVersionMatch */
	if (r == 0 && (initial || !str_empty(resource_version)))
		r = add_param(&b, "resourceVersion", resource_version ? resource_version : "");
	if (r == 0 && initial)
		r = add_param(&b, "resourceVersionMatch", "NotOlderThan");
	if (r == 0 && initial)
		r = add_param(&b, "sendInitialEvents", "true");
	if (r == 0)
		r = add_param(&b, "timeoutSeconds", timeout);
	if (r == 0)
		r = add_param(&b, "watch", "true");
	return take_target(&b, r, ret_target);
}

int api_watch_target(const struct api_resource *resource, const char *resource_version, unsigned timeout_sec,
		     char **ret_target)
{
	return make_watch_target(resource, resource_version, false, timeout_sec, ret_target);
}

int api_stream_target(const struct api_resource *resource, const char *resource_version, unsigned timeout_sec,
		      char **ret_target)
{
	return make_watch_target(resource, resource_version, true, timeout_sec, ret_target);
}

/* ---- failures ---- */

static const struct {
	int status;
	const char *text;
} STATUS_TEXTS[] = {
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 422, "Unprocessable Entity" },
	{ 429, "Too Many Requests" },
	{ 500, "Internal Server Error" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
};

static const char *status_text(int status)
{
	for (size_t i = 0; i < ARRAY_SIZE(STATUS_TEXTS); i++)
		if (STATUS_TEXTS[i].status == status)
			return STATUS_TEXTS[i].text;
	return "";
}

static int errno_of(int status)
{
	switch (status) {
	case 401:
	case 403:
		return -EACCES;
	case 404:
		return -ENOENT;
	case 410:
		return -ESTALE;
	case 429:
	case 503:
	case 504:
		return -EAGAIN;
	default:
		return -EREMOTEIO;
	}
}

static bool has_cause(const json_t *details, const char *cause)
{
	const json_t *causes = json_object_get(details, "causes");

	for (size_t i = 0; i < json_array_size(causes); i++)
		if (str_eq(json_string_value(json_object_get(json_array_get(causes, i), "reason")), cause))
			return true;
	return false;
}

static void read_status(const json_t *status, struct api_failure *f)
{
	const json_t *details = json_object_get(status, "details");
	const json_t *retry = json_object_get(details, "retryAfterSeconds"), *code = json_object_get(status, "code");
	const char *message = json_string_value(json_object_get(status, "message"));
	const char *reason = json_string_value(json_object_get(status, "reason"));

	if (f->code == 0 && json_integer_value(code) >= 100 && json_integer_value(code) <= 599)
		f->code = (int)json_integer_value(code);
	snprintf(f->reason, sizeof(f->reason), "%s", reason ? reason : "");
	if (json_integer_value(retry) > 0)
		f->retry_after_sec = MIN(json_integer_value(retry), (json_int_t)RETRY_AFTER_MAX);
	f->version_too_large = has_cause(details, "ResourceVersionTooLarge") ||
			       (message && strstr(message, "Too large resource version"));
	f->namespace_ends = has_cause(details, "NamespaceTerminating");
	if (!str_empty(message))
		err_set(&f->err, errno_of(f->code), "%s", message);
}

static void complete(struct api_failure *f)
{
	const char *text = status_text(f->code);

	if (f->err.code == 0 && f->code == 0)
		err_set(&f->err, -EREMOTEIO, "the server tells of an error, and not of which");
	if (f->err.code == 0)
		err_set(&f->err, errno_of(f->code), "the server answered %d%s%s", f->code, *text ? " " : "", text);
}

void api_failure_from_status(const json_t *status, struct api_failure *ret)
{
	*ret = (struct api_failure){ .retry_after_sec = -1 };
	read_status(status, ret);
	complete(ret);
}

void api_failure_from_body(int http_status, const char *body, size_t len, struct api_failure *ret)
{
	cleanup_json json_t *doc = NULL;

	*ret = (struct api_failure){ .code = http_status, .retry_after_sec = -1 };
	if (len > 0 && json_parse(body, len, &doc, NULL) == 0 &&
	    str_eq(json_string_value(json_object_get(doc, "kind")), "Status"))
		read_status(doc, ret);
	complete(ret);
}

bool api_says_absent(const struct api_resource *resource, int http_status, const char *body, size_t len)
{
	cleanup_json json_t *doc = NULL;
	const json_t *details;

	if (http_status != 404 || len == 0 || json_parse(body, len, &doc, NULL) < 0)
		return false;
	details = json_object_get(doc, "details");
	return str_eq(json_string_value(json_object_get(doc, "kind")), "Status") &&
	       str_eq(json_string_value(json_object_get(doc, "reason")), "NotFound") &&
	       str_eq(json_string_value(json_object_get(details, "kind")), resource->plural) &&
	       str_eq(json_string_value(json_object_get(details, "name")), resource->field_value);
}

bool api_failure_is_expired(const struct api_failure *f)
{
	return f->code == 410 || str_eq(f->reason, "Expired") || str_eq(f->reason, "Gone");
}
