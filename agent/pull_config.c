/* Pull config: an entry has its credentials in `auth`, or in `username` and `password`, as the kubelet's credentialprovider
 * reads it (config.go). What is made of it always has `auth`, because container tools know that alone; beside it there
 * are the tokens that some registries use. Anything else is left out. */
#include "agent/pull_config.h"

#include "common/b64.h"
#include "common/buf.h"
#include "common/str.h"

#define AUTH_MAX     ((size_t)64 * 1024)
#define SERVER_SHOWN "%.128s"

static const char *get_text(const json_t *entry, const char *key)
{
	return json_string_value(json_object_get(entry, key)) ?: "";
}

/* With or without padding, and with line ends anywhere, as base64(1) makes them, as the kubelet takes it; in `padded` with the one
 * and without the others, as most others want it. */
static bool read_auth(const char *text, struct buf *padded)
{
	cleanup_buf struct buf decoded = BUF_INIT(AUTH_MAX);
	size_t decoded_len = 0;
	char *room = NULL;

	if (strlen(text) > AUTH_MAX)
		return false;
	for (const char *c = text; *c; c += strspn(c, "\r\n")) {
		size_t len = strcspn(c, "\r\n");

		if (buf_add(padded, c, len) < 0)
			return false;
		c += len;
	}
	if (padded->len == 0)
		return false;
	while (padded->len % 4 && buf_add(padded, "=", 1) == 0)
		;
	if (buf_reserve(&decoded, padded->len, &room) < 0 ||
	    b64_decode(padded->data, padded->len, (uint8_t *)room, padded->len / 4 * 3, &decoded_len) < 0)
		return false;
	buf_advance(&decoded, decoded_len);
	return decoded_len > 0 && memchr(decoded.data, ':', decoded_len);
}

/* -EINVAL: it is no auth. */
static int set_auth(json_t *fresh, const json_t *entry)
{
	const char *auth = get_text(entry, "auth"), *user = get_text(entry, "username");
	cleanup_buf struct buf padded = BUF_INIT(AUTH_MAX + 4), pair = BUF_INIT(AUTH_MAX);
	cleanup_secret char *text = NULL;
	int r;

	if (*auth && !read_auth(auth, &padded))
		return -EINVAL;
	if (*auth)
		return json_object_set_new(fresh, "auth", json_string(padded.data)) < 0 ? -ENOMEM : 0;
	if (!*user)
		return 0;
	r = buf_printf(&pair, "%s:%s", user, get_text(entry, "password"));
	if (r == 0)
		r = b64_encode((const uint8_t *)pair.data, pair.len, &text);
	if (r < 0)
		return r == -ENOBUFS ? -EINVAL : r;
	return json_object_set_new(fresh, "auth", json_string(text)) < 0 ? -ENOMEM : 0;
}

static int make_entry(const json_t *entry, const char *server, json_t **ret, struct err *e)
{
	static const char *const others[] = { "email", "identitytoken", "registrytoken" };
	cleanup_json json_t *fresh = json_object();
	int r;

	if (!json_is_object(entry))
		return err_set(e, -EINVAL, "the entry of " SERVER_SHOWN " must be an object", server);
	r = fresh ? set_auth(fresh, entry) : -ENOMEM;
	if (r == -EINVAL)
		return err_set(e, r, "auth of " SERVER_SHOWN " must be base64(username:password)", server);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(others); i++) {
		const char *text = get_text(entry, others[i]);

		if (*text && json_object_set_new(fresh, others[i], json_string(text)) < 0)
			r = -ENOMEM;
	}
	if (r < 0)
		return err_set(e, r, "out of memory");
	*ret = TAKE_PTR(fresh);
	return 0;
}

static int make_entries(const json_t *found, json_t *fresh, struct err *e)
{
	const char *server;
	json_t *entry;
	int r;

	json_object_foreach ((json_t *)(uintptr_t)found, server, entry) {
		json_t *made = NULL;

		r = make_entry(entry, server, &made, e);
		if (r < 0)
			return r;
		if (json_object_set_new(fresh, server, made) < 0)
			return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

/* The key that the type has; NULL: it is another type. */
static const char *key_of(const struct secret *s)
{
	if (str_eq(s->type, "kubernetes.io/dockerconfigjson"))
		return ".dockerconfigjson";
	return str_eq(s->type, "kubernetes.io/dockercfg") ? ".dockercfg" : NULL;
}

static int parse(const struct secret *s, json_t **ret_doc, const json_t **ret_found, struct err *e)
{
	const char *name = key_of(s);
	const struct secret_key *key = name ? secret_find_key(s, name) : NULL;
	struct err why = ERR_INIT;
	json_t *doc = NULL;
	int r;

	if (!name)
		return err_set(e, -EINVAL,
			       "its type is %.64s, not kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg",
			       str_empty(s->type) ? "Opaque" : s->type);
	if (!key || key->value.len == 0)
		return err_set(e, -EINVAL, "it has no %s", name);
	r = json_parse((const char *)secspan_data(&key->value), key->value.len, &doc, &why);
	if (r < 0)
		return err_set(e, r, "%s: %s", name, err_text(&why));
	*ret_doc = doc;
	*ret_found = str_eq(name, ".dockercfg") ? doc : json_object_get(doc, "auths");
	if (!json_is_object(doc) || (*ret_found && !json_is_object(*ret_found)))
		return err_set(e, -EINVAL, "%s: %s must be an object", name, json_is_object(doc) ? "auths" : "it");
	return 0;
}

int pull_config_add(json_t *auths, const struct secret *s, struct err *e)
{
	cleanup_json json_t *doc = NULL, *fresh = json_object();
	const json_t *found = NULL;
	int r;

	if (!fresh)
		return err_set(e, -ENOMEM, "out of memory");
	r = parse(s, &doc, &found, e);
	if (r == 0 && found)
		r = make_entries(found, fresh, e);
	if (r < 0)
		return r;
	return json_object_update_missing(auths, fresh) < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
}
