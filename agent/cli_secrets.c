/* secretlet secrets and secretlet refresh: what is held of each Secret, never its values; and fetching one now. */

#include <time.h>

#include "agent/listing.h"
#include "agent/selector.h"
#include "agent/urlpath.h"
#include "common/buf.h"

#define LOOK_USEC  (20 * USEC_PER_MSEC)
#define LABELS_MAX 65536 /* of text */

/* "app=web,tier=db"; an empty value has its "=". */
static void add_labels(struct table *t, const json_t *secret, const char *member)
{
	cleanup_buf struct buf text = BUF_INIT(LABELS_MAX);
	json_t *labels = json_object_get(secret, member), *value;
	const char *key;

	json_object_foreach (labels, key, value)
		if (buf_printf(&text, "%s%s=%s", text.len ? "," : "", key, json_string_value(value) ?: "") < 0)
			break;
	table_add(t, TABLE_PLAIN, text.data ? text.data : "");
}

static void add_state(struct table *t, const json_t *secret, const char *member)
{
	const char *state = cli_str(secret, member);

	table_add(t, str_eq(state, "present") ? TABLE_GOOD : TABLE_BUSY, state);
}

static const struct listing_column columns[] = {
	{ "KIND", "kind" }, /* where they may be of several */
	{ "NAMESPACE", "namespace" },
	{ "NAME", "name" },
	{ "STATE", "state", add_state, .state = true },
	{ "TYPE", "type" },
	{ "KEYS", "keyCount" },
	{ "BYTES", "bytes" },
	{ "REVISION", "resourceVersion" },
	{ "VOLUMES", "references" },
	{ "SYNCED", "synced", listing_since, .passing = true },
	{ "LABELS", "labels", add_labels },
	{ "IMMUTABLE", "immutable", listing_flag, SHOWN_WIDE },
	{ "UID", "uid", .shown = SHOWN_WIDE },
	{ "ERROR", "error" },
};

static int secrets_rows(const json_t *document, json_t **ret_rows, struct err *e)
{
	json_t *secrets = json_object_get(document, "secrets"), *rows;

	if (secrets)
		return listing_rows_all(secrets, ret_rows, e);
	rows = json_pack("[O]", document);
	if (!rows)
		return err_set(e, -ENOMEM, "out of memory");
	*ret_rows = rows;
	return 0;
}

#define SECRETS_LISTING(first)                                                                                         \
	{                                                                                                              \
		.columns = columns + (first), .n_columns = ARRAY_SIZE(columns) - (first), .rows = secrets_rows,        \
		.keys = { "kind", "namespace", "name" },                                                               \
	}
static const struct listing of_one_kind = SECRETS_LISTING(1), of_all_kinds = SECRETS_LISTING(0);

/* The daemon selects; a selector that is wrong is refused without one. */
static int list_path(const struct options *o, char **ret_path)
{
	cleanup(selector_freep) struct selector *sel = NULL;
	cleanup_free char *encoded = NULL;
	struct err e = ERR_INIT;
	int r;

	if (o->selector) {
		r = selector_parse(o->selector, &sel, &e);
		if (r < 0) {
			err_wrap(&e, r, "--selector");
			return cli_fail(r == -EINVAL ? CLI_USAGE : CLI_FAILED, &e);
		}
		encoded = urlpath_encode(o->selector);
		if (!encoded)
			return cli_fail_memory();
	}
	*ret_path = str_format("/v1/secrets?kind=%s%s%s", o->kind ? o->kind : "secret",
			       encoded ? "&labelSelector=" : "", encoded ? encoded : "");
	return *ret_path ? CLI_OK : cli_fail_memory();
}

int cli_secrets(const struct options *o, char *const *words)
{
	cleanup_free char *path = NULL;
	int r;

	r = list_path(o, &path);
	return r == CLI_OK ? listing_show(o->kind ? &of_all_kinds : &of_one_kind, o, path, NULL) : r;
}

/* "/v1/secrets/NS/NAME"; the names need no encoding. */
static int secret_path(const char *ref, char **ret_path, struct err *e)
{
	const char *slash = strchr(ref, '/');
	cleanup_free char *ns = slash ? strndup(ref, (size_t)(slash - ref)) : NULL;

	if (!slash || !ns || !str_is_dns_label(ns) || !str_is_dns_subdomain(slash + 1))
		return err_set(e, -EINVAL, "'%s' is no Secret: NAMESPACE/NAME is expected", ref);
	*ret_path = str_format("/v1/secrets/%s", ref);
	return *ret_path ? 0 : err_set(e, -ENOMEM, "out of memory");
}

/* Looks until the source has answered once more than `before` says. */
static int await_answer(const struct options *o, const char *path, int64_t before, json_t **ret_json)
{
	const struct timespec pause = { .tv_nsec = LOOK_USEC * NSEC_PER_USEC };
	uint64_t waited_usec = 0;
	struct err e = ERR_INIT;
	int r;

	for (;;) {
		cleanup_json json_t *json = NULL;

		r = cli_fetch(o, path, &json);
		if (r != CLI_OK)
			return r;
		if (cli_int(json, "answers") > before) {
			*ret_json = TAKE_PTR(json);
			return CLI_OK;
		}
		if (waited_usec >= o->timeout_usec) {
			err_set(&e, -ETIMEDOUT, "no answer yet; what is known stays as it is");
			return cli_fail(CLI_FAILED, &e);
		}
		nanosleep(&pause, NULL);
		waited_usec += LOOK_USEC;
	}
}

static int print_refreshed(const struct options *o, const json_t *secret)
{
	struct err e = ERR_INIT;

	if (*cli_str(secret, "error")) {
		err_set(&e, -EIO, "%s", cli_str(secret, "error"));
		return cli_fail(CLI_FAILED, &e);
	}
	return listing_print(&of_one_kind, o, secret);
}

int cli_refresh(const struct options *o, char *const *words)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	cleanup_free char *path = NULL, *refresh = NULL;
	cleanup_json json_t *json = NULL;
	struct err e = ERR_INIT;
	int r;

	r = secret_path(o->args[0], &path, &e);
	if (r < 0)
		return cli_fail(r == -EINVAL ? CLI_USAGE : CLI_FAILED, &e);
	refresh = str_format("%s/refresh", path);
	if (!refresh)
		return cli_fail_memory();
	r = client_post(o->runtime_dir, refresh, o->timeout_usec + USEC_PER_SEC, &reply, &e);
	if (r < 0)
		return cli_fail(cli_request_status(r), &e);
	if (reply.status != 200)
		return cli_fail_reply(&reply);
	r = await_answer(o, path, cli_int(reply.json, "answers"), &json);
	return r == CLI_OK ? print_refreshed(o, json) : r;
}
