/* The API: paths to calls, calls to replies. Objects, history and selectors are objects.c's; what is checked before
 * something is stored is validate.c's. */
#include <inttypes.h>
#include <time.h>

#include "common/b64.h"
#include "common/str.h"
#include "test/apiserver/internal.h"
#include "test/apiserver/status.h"
#include "test/apiserver/validate.h"

/* ---- reading ---- */

static const char *argument(const struct call *c, const char *key)
{
	const char *value = MHD_lookup_connection_value(c->connection, MHD_GET_ARGUMENT_KIND, key);

	return value ? value : "";
}

static struct reply reply_json(int code, json_t *take_json)
{
	return (struct reply){ .code = code, .json = take_json, .retry_after = -1 };
}

struct reply api_reply_status(json_t *take_status)
{
	return reply_json(status_code(take_status), take_status);
}

struct reply api_reply_text(int code, const char *text)
{
	return (struct reply){ .code = code, .text = copy(text), .retry_after = -1 };
}

/* resourceVersion=: *ret_rv is 0 for "" and "0". Returns a Status if it is no number. */
static json_t *parse_rv(const char *text, uint64_t *ret_rv)
{
	uint64_t rv = 0;

	if (*text && str_parse_u64(text, UINT64_MAX, &rv) < 0)
		return status_rv_invalid(text);
	*ret_rv = rv;
	return NULL;
}

static struct reply serve_get(struct apiserver *a, const struct call *c)
{
	json_t *obj = objects_get(a->objects, c->kind, c->ns, c->name), *status;
	uint64_t rv = 0;

	a->counts.n_get++;
	status = parse_rv(argument(c, "resourceVersion"), &rv);
	if (!status && rv > objects_rv(a->objects))
		status = status_rv_too_large(rv, objects_rv(a->objects));
	if (!status && !obj)
		status = status_not_found(c->kind->resource, c->name);
	return status ? api_reply_status(status) : reply_json(200, object_full(c->kind, obj, 0));
}

/* Continue tokens are base64url of {"v":..,"rv":..,"start":"NS/NAME"}, as the real server's; rv -1 means "whatever is
 * there now". */
static char *continue_token(int64_t rv, const char *start)
{
	json_t *j = json_pack("{s:s, s:I, s:s}", "v", "meta.k8s.io/v1", "rv", (json_int_t)rv, "start", start);
	cleanup_free char *text = must(json_dumps(j, JSON_COMPACT));
	char *token = NULL;

	json_decref(j);
	if (b64_encode(text, strlen(text), &token) < 0)
		abort();
	for (char *p = token; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	token[strcspn(token, "=")] = '\0';
	return token;
}

static json_t *parse_continue(const char *token, int64_t *ret_rv, char **ret_start)
{
	cleanup_free char *text = NULL;
	cleanup_free uint8_t *bytes = must(calloc(1, strlen(token) + 8));
	size_t len = 0, pad = (4 - strlen(token) % 4) % 4;
	json_t *j;

	if (asprintf(&text, "%s%.*s", token, (int)pad, "===") < 0)
		abort();
	for (char *p = text; *p; p++)
		*p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
	if (b64_decode(text, strlen(text), bytes, strlen(token) + 8, &len) < 0)
		return status_bad_request("invalid continue token: continue key is not valid: illegal base64 data");

	j = json_loadb((char *)bytes, len, 0, NULL);
	if (!json_is_string(json_object_get(j, "start")) || !json_is_integer(json_object_get(j, "rv"))) {
		json_decref(j);
		return status_bad_request(
			"invalid continue token: continue key is not valid: not a token of this server");
	}
	*ret_rv = json_integer_value(json_object_get(j, "rv"));
	*ret_start = copy(json_string_value(json_object_get(j, "start")));
	json_decref(j);
	return NULL;
}

/* The revision that a list is to show, and where it begins. */
static json_t *list_position(struct apiserver *a, const struct call *c, uint64_t *ret_rv, char **ret_start)
{
	const char *token = argument(c, "continue"), *text = argument(c, "resourceVersion");
	uint64_t current = objects_rv(a->objects), rv = 0;
	int64_t token_rv = -1;
	json_t *status = parse_rv(text, &rv);

	*ret_rv = current;
	if (status)
		return status;
	if (*token && rv > 0)
		return status_bad_request("specifying resource version is not allowed when using continue");
	if (*token) {
		status = parse_continue(token, &token_rv, ret_start);
		if (status || token_rv < 0)
			return status;
		rv = (uint64_t)token_rv;
	}
	if (rv > current)
		return status_rv_too_large(rv, current);
	if (*token && rv < objects_compacted(a->objects)) {
		cleanup_free char *inconsistent = continue_token(-1, *ret_start);

		return status_continue_expired(inconsistent);
	}
	if (str_eq(argument(c, "resourceVersionMatch"), "Exact") && rv < objects_compacted(a->objects))
		return status_failure(410, "Expired", NULL, "The resourceVersion for the provided list is too old.");
	if (*token || str_eq(argument(c, "resourceVersionMatch"), "Exact"))
		*ret_rv = rv;
	return NULL;
}

static struct reply list_page(const struct call *c, json_t *all, const char *start, uint64_t limit, uint64_t rv)
{
	json_t *items = json_array(), *meta = json_object(), *obj;
	cleanup_free char *next = NULL;
	size_t i, left = 0;
	char text[64];

	snprintf(text, sizeof(text), "%" PRIu64, rv);
	json_object_set_new(meta, "resourceVersion", json_string(text));
	json_array_foreach (all, i, obj) {
		cleanup_free char *key = object_key(obj);

		if (start && strcmp(key, start) < 0)
			continue;
		if (limit == 0 || json_array_size(items) < limit)
			json_array_append(items, obj);
		else if (left++ == 0)
			next = TAKE_PTR(key);
	}
	if (next) {
		cleanup_free char *token = continue_token((int64_t)rv, next);

		json_object_set_new(meta, "continue", json_string(token));
		if (c->selector.n_terms == 0)
			json_object_set_new(meta, "remainingItemCount", json_integer((json_int_t)left));
	}
	snprintf(text, sizeof(text), "%sList", c->kind->name);
	return reply_json(200, json_pack("{s:s, s:s, s:o, s:o}", "kind", text, "apiVersion", "v1", "metadata", meta,
					 "items", items));
}

static struct reply serve_list(struct apiserver *a, const struct call *c)
{
	cleanup_free char *start = NULL;
	const char *limit_text = argument(c, "limit");
	uint64_t rv = 0, limit = 0;
	struct reply reply;
	json_t *status, *all;

	a->counts.n_list++;
	if (*limit_text && str_parse_u64(limit_text, INT64_MAX, &limit) < 0)
		return api_reply_status(
			status_bad_request("strconv.ParseInt: parsing \"%s\": invalid syntax", limit_text));
	status = list_position(a, c, &rv, &start);
	if (status)
		return api_reply_status(status);
	/* the watch cache, which answers resourceVersion=0, knows no pages */
	if (str_eq(argument(c, "resourceVersion"), "0") && !start)
		limit = 0;

	all = objects_list(a->objects, c->kind, &c->selector, rv);
	reply = list_page(c, all, start, limit, rv);
	json_decref(all);
	return reply;
}

static bool is_true(const char *text)
{
	return *text && !str_eq(text, "false") && !str_eq(text, "0");
}

static struct reply serve_watch(struct apiserver *a, struct call *c)
{
	struct watch_options o = { .timeout_sec = 3600,
				   .bookmarks = is_true(argument(c, "allowWatchBookmarks")),
				   .initial = is_true(argument(c, "sendInitialEvents")) };
	enum apiserver_watch_list mode = a->options.watch_list;
	const char *timeout = argument(c, "timeoutSeconds");
	json_t *status = parse_rv(argument(c, "resourceVersion"), &o.rv);

	if (!status && *timeout && str_parse_u64(timeout, 1000000, &o.timeout_sec) < 0)
		status = status_bad_request("strconv.ParseInt: parsing \"%s\": invalid syntax", timeout);
	if (mode == APISERVER_WATCH_LIST_IGNORED)
		o.initial = false;
	else if (!status && mode == APISERVER_WATCH_LIST_REFUSED && *argument(c, "resourceVersionMatch"))
		status = status_failure(422, "Invalid", NULL,
					"ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: "
					"resourceVersionMatch is forbidden for watch");
	if (!status && o.initial && !str_eq(argument(c, "resourceVersionMatch"), "NotOlderThan"))
		status = status_failure(422, "Invalid", NULL,
					"ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: "
					"sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	if (!status && o.initial && o.rv > objects_rv(a->objects))
		status = status_rv_too_large(o.rv, objects_rv(a->objects));
	if (status)
		return api_reply_status(status);
	return (struct reply){ .code = 200, .retry_after = -1, .stream = watch_start(a, c, &o) };
}

/* ---- writing ---- */

static json_t *parse_body(const struct call *c, json_t **ret_obj)
{
	json_error_t error;
	json_t *obj = json_loadb(c->body->data ? c->body->data : "", c->body->len, 0, &error), *status;

	if (!obj)
		return status_bad_request("the object provided is unrecognized (must be of type %s): couldn't get "
					  "version/kind; json parse error at %d:%d",
					  c->kind->name, error.line, error.column);
	status = validate_decode(c->kind, obj);
	if (status) {
		json_decref(obj);
		return status;
	}
	*ret_obj = obj;
	return NULL;
}

/* The namespace and the name of the path hold; the object may leave them out but not differ. */
static json_t *check_identity(const struct call *c, json_t *obj)
{
	json_t *meta = json_object_get(obj, "metadata");
	const char *name = object_meta(obj, "name"), *ns = object_meta(obj, "namespace");

	if (!json_is_object(meta)) {
		meta = json_object();
		json_object_set_new(obj, "metadata", meta);
	}
	if (c->ns && *ns && !str_eq(ns, c->ns))
		return status_bad_request(
			"the namespace of the provided object does not match the namespace sent on the request");
	if (c->name && *name && !str_eq(name, c->name))
		return status_bad_request("the name of the object (%s) does not match the name on the URL (%s)", name,
					  c->name);
	if (c->ns)
		json_object_set_new(meta, "namespace", json_string(c->ns));
	if (c->name)
		json_object_set_new(meta, "name", json_string(c->name));
	return NULL;
}

static bool unchanged(const json_t *obj, const json_t *old)
{
	json_t *x = json_deep_copy(obj), *y = json_deep_copy(old);
	static const char *const server_set[] = { "resourceVersion", "uid", "creationTimestamp" };
	bool equal;

	for (size_t i = 0; i < ARRAY_SIZE(server_set); i++) {
		json_object_del(json_object_get(x, "metadata"), server_set[i]);
		json_object_del(json_object_get(y, "metadata"), server_set[i]);
	}
	equal = json_equal(x, y);
	json_decref(x);
	json_decref(y);
	return equal;
}

static struct reply store_object(struct apiserver *a, const struct call *c, json_t *take_obj)
{
	const struct change *change;
	json_t *old, *status;

	status = check_identity(c, take_obj);
	if (!status) {
		validate_default(c->kind, take_obj);
		old = objects_get(a->objects, c->kind, object_meta(take_obj, "namespace"),
				  object_meta(take_obj, "name"));
		if (old && !c->name)
			status = status_failure(
				409, "AlreadyExists", status_details(c->kind->resource, object_meta(take_obj, "name")),
				"%s \"%s\" already exists", c->kind->resource, object_meta(take_obj, "name"));
		else if (!old && c->name)
			status = status_not_found(c->kind->resource, c->name);
		else
			status = validate_object(c->kind, take_obj, old);
	}
	if (status) {
		json_decref(take_obj);
		return api_reply_status(status);
	}
	if (old && unchanged(take_obj, old)) {
		json_decref(take_obj);
		return reply_json(200, object_full(c->kind, old, 0));
	}
	change = objects_put(a->objects, c->kind, take_obj);
	watch_feed_all(a, change);
	return reply_json(old ? 200 : 201, object_full(c->kind, change->after, 0));
}

static struct reply serve_put(struct apiserver *a, const struct call *c)
{
	json_t *obj = NULL, *status = parse_body(c, &obj);

	return status ? api_reply_status(status) : store_object(a, c, obj);
}

/* PUT of pods/NAME/status: only the status counts. */
static struct reply serve_put_status(struct apiserver *a, const struct call *c)
{
	json_t *obj = NULL, *copy_of_old, *old = objects_get(a->objects, c->kind, c->ns, c->name),
	       *status = parse_body(c, &obj);

	if (status)
		return api_reply_status(status);
	if (!old) {
		json_decref(obj);
		return api_reply_status(status_not_found(c->kind->resource, c->name));
	}
	copy_of_old = json_deep_copy(old);
	json_object_set(copy_of_old, "status", json_object_get(obj, "status"));
	json_decref(obj);
	return store_object(a, c, copy_of_old);
}

/* RFC 7396. Nesting is bounded by jansson's parser. */
static void merge(json_t *target, json_t *patch)
{
	const char *key;
	json_t *value;

	json_object_foreach (patch, key, value) {
		if (json_is_null(value))
			json_object_del(target, key);
		else if (json_is_object(value) && json_is_object(json_object_get(target, key)))
			merge(json_object_get(target, key), value);
		else
			json_object_set_new(target, key, json_deep_copy(value));
	}
}

static struct reply serve_patch(struct apiserver *a, const struct call *c)
{
	const char *type = MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, "Content-Type");
	json_t *old = objects_get(a->objects, c->kind, c->ns, c->name), *obj, *patch = NULL, *status;

	if (!type || (!strstr(type, "merge-patch+json")))
		return api_reply_status(
			status_failure(415, "UnsupportedMediaType", NULL,
				       "the body of the request was in an unknown format - accepted media "
				       "types include: application/merge-patch+json"));
	if (!old)
		return api_reply_status(status_not_found(c->kind->resource, c->name));
	status = parse_body(c, &patch);
	if (status)
		return api_reply_status(status);
	obj = json_deep_copy(old);
	merge(obj, patch);
	json_decref(patch);
	return store_object(a, c, obj);
}

/* Pods on a node stay, marked, until their grace period's owner (the kubelet) deletes them for good. Here a grace
 * period has to be asked for. */
static struct reply delete_gracefully(struct apiserver *a, const struct call *c, json_t *old, uint64_t seconds)
{
	json_t *obj = json_deep_copy(old), *meta = json_object_get(obj, "metadata");
	char text[STR_TIME_MAX];

	json_object_set_new(meta, "deletionTimestamp",
			    json_string(str_format_time(((uint64_t)time(NULL) + seconds) * USEC_PER_SEC, text)));
	json_object_set_new(meta, "deletionGracePeriodSeconds", json_integer((json_int_t)seconds));
	return store_object(a, c, obj);
}

static struct reply serve_delete(struct apiserver *a, const struct call *c)
{
	json_t *old = objects_get(a->objects, c->kind, c->ns, c->name);
	const struct change *change;
	uint64_t grace = 0;

	if (!old)
		return api_reply_status(status_not_found(c->kind->resource, c->name));
	if (str_parse_u64(argument(c, "gracePeriodSeconds"), 3600, &grace) == 0 && grace > 0 &&
	    str_eq(c->kind->name, "Pod"))
		return delete_gracefully(a, c, old, grace);
	change = objects_delete(a->objects, c->kind, c->ns, c->name);
	watch_feed_all(a, change);
	if (str_eq(c->kind->name, "Pod"))
		return reply_json(200, object_full(c->kind, change->before, change->rv));
	return reply_json(200, status_success(c->kind->resource, c->name, object_meta(change->before, "uid")));
}

/* ---- routing ---- */

static const struct route {
	const char *method;
	bool name, subresource; /* with a name in the path, with pods/NAME/status */
	struct reply (*serve)(struct apiserver *a, const struct call *c);
} routes[] = {
	{ "GET", false, false, serve_list },	 { "GET", true, false, serve_get },
	{ "GET", true, true, serve_get },	 { "POST", false, false, serve_put },
	{ "PUT", true, false, serve_put },	 { "PUT", true, true, serve_put_status },
	{ "PATCH", true, false, serve_patch },	 { "PATCH", true, true, serve_patch },
	{ "DELETE", true, false, serve_delete },
};

static struct reply serve_call(struct apiserver *a, struct call *c, const struct user *user)
{
	json_t *status = object_selector_parse(&c->selector, c->kind, c->ns, argument(c, "fieldSelector"));
	bool reading = str_eq(c->method, "GET");

	if (!status && *argument(c, "labelSelector"))
		status = status_bad_request("this test server knows no label selectors");
	if (!status)
		status = access_authorize(a, user, c);
	if (status)
		return api_reply_status(status);
	if (reading && c->watch && !c->name)
		return serve_watch(a, c);
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (str_eq(c->method, routes[i].method) && routes[i].name == (c->name != NULL) &&
		    routes[i].subresource == (c->subresource != NULL))
			return routes[i].serve(a, c);
	return api_reply_status(status_method_not_allowed());
}

/* /api/v1/[namespaces/NS/]RESOURCE[/NAME[/status]]; words points into path. */
static bool parse_path(char *path, struct call *c)
{
	char *words[8], *word;
	size_t n = 0, i = 2;

	while (n < ARRAY_SIZE(words) && (word = strsep(&path, "/")))
		if (*word || n > 0)
			words[n++] = word;
	if (n < 3 || path || !str_eq(words[0], "api") || !str_eq(words[1], "v1"))
		return false;
	if (n >= 5 && str_eq(words[2], "namespaces")) {
		c->ns = words[3];
		i = 4;
	}
	c->kind = kind_by_resource(words[i++]);
	c->name = i < n && *words[i] ? words[i] : NULL;
	c->subresource = i + 1 < n ? words[i + 1] : NULL;
	if (c->subresource && (!str_eq(c->subresource, "status") || !str_eq(c->kind ? c->kind->name : NULL, "Pod")))
		return false;
	return c->kind && i + 2 >= n && (c->ns || !c->name);
}

struct reply api_serve(struct apiserver *a, struct MHD_Connection *connection, const char *method, const char *url,
		       struct buf *body, bool too_large)
{
	cleanup_free char *path = copy(url);
	struct call c = { .connection = connection, .method = method, .body = body };
	struct user user;
	struct reply reply;

	if (str_eq(url, "/readyz") || str_eq(url, "/healthz") || str_eq(url, "/livez"))
		return api_reply_text(200, "ok");
	if (!access_authenticate(a, connection, &user)) {
		a->counts.n_unauthorised++;
		return api_reply_status(status_unauthorized());
	}
	if (str_eq(url, "/version"))
		return reply_json(200, json_pack("{s:s, s:s, s:s, s:s}", "major", "1", "minor", "20", "gitVersion",
						 "v1.20.2-test", "platform", "linux/amd64"));
	if (!parse_path(path, &c))
		return api_reply_status(status_no_such_resource());
	if (too_large)
		return api_reply_status(status_failure(413, "RequestEntityTooLarge", NULL,
						       "Request entity too large: limit is %d", BODY_MAX));
	c.watch = is_true(argument(&c, "watch"));
	reply = serve_call(a, &c, &user);
	selector_deinit(&c.selector);
	return reply;
}
