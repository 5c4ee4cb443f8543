/* Environment: the env and envFrom of a container as text, and a pull secret. What is made of them keeps to what the
 * headers promise: names and values that a process can be given, within the limit; credentials that tools can read. The
 * first byte says which, and what is hidden. */
#include "test/fuzz/fuzz.h"

#include "agent/codec.h"
#include "agent/environment.h"
#include "agent/pull_config.h"
#include "common/b64.h"
#include "common/str.h"

enum { SECMEM_BYTES = 16 << 20, PULL_SECRET = 1, HIDDEN = 2, OLD_TYPE = 4 };

static struct secret *object; /* of both kinds, under any name but "none" */

static struct secret *secret_of(const char *type, const char *key, const void *data, size_t len)
{
	cleanup_secret char *encoded = NULL;
	cleanup_json json_t *doc = NULL;
	struct json_issue issue;
	struct secret *s = NULL;

	FUZZ_CHECK(b64_encode(data, len, &encoded) == 0);
	doc = json_pack("{s:{s:s,s:s}, s:s, s:{s:s, s:s, s:s}}", "metadata", "namespace", "ns", "name", "s", "type",
			type, "data", key, encoded, "1", "MQ==", "bytes", "/wA=");
	FUZZ_CHECK(doc && codec_secret(doc, &s, &issue) == 0);
	return s;
}

static int find(void *userdata, enum object_kind kind, const char *name, const struct secret **ret, struct err *e)
{
	const bool *hides = userdata;

	if (*hides && kind == OBJECT_SECRET)
		return ENVIRONMENT_HIDDEN;
	if (str_eq(name, "none"))
		return err_set(e, -ENOENT, "secret \"none\" not found");
	*ret = object;
	return 0;
}

static int count(void *userdata, enum object_kind kind, const char *name, struct err *e)
{
	FUZZ_CHECK(name && (kind == OBJECT_SECRET || kind == OBJECT_CONFIG_MAP));
	++*(size_t *)userdata;
	return 0;
}

static void check_environment(const struct environment *env)
{
	cleanup_json json_t *json = environment_json(env);
	size_t n_bytes = 0;

	FUZZ_CHECK(json_array_size(json) == environment_count(env));
	for (size_t i = 0; i < environment_count(env); i++) {
		const char *name = environment_name(env, i), *value;
		size_t len = 0;

		value = environment_value(env, i, &len);
		FUZZ_CHECK(*name && !strchr(name, '=') && strlen(value) == len && str_is_utf8(value, len));
		for (const char *c = name; *c; c++)
			FUZZ_CHECK(*c >= ' ' && *c <= '~');
		for (size_t j = 0; j < i && i < 64; j++)
			FUZZ_CHECK(!str_eq(name, environment_name(env, j)));
		n_bytes += len;
	}
	FUZZ_CHECK(n_bytes <= ENVIRONMENT_BYTES_MAX);
}

static void try_environment(char *text, bool hides)
{
	static char ns[] = "ns", name[] = "p", uid[] = "u", c_name[] = "c";
	struct pod_container c = { .name = c_name, .env = text };
	struct pod pod = { .refs = 1, .ns = ns, .name = name, .uid = uid, .containers = &c, .n_containers = 1 };
	const struct environment_options options = { .find = find, .userdata = &hides };
	cleanup_environment struct environment *env = NULL;
	cleanup_buf struct buf path = BUF_INIT(65536);
	struct err e = ERR_INIT, why = ERR_INIT;
	size_t n_references = 0;
	int r, refers;

	refers = environment_refer(&c, count, &n_references, &why);
	r = environment_make(&pod, &c, &options, &env, &e);
	FUZZ_CHECK((r == 0) == (env != NULL) && (r == 0 || *err_text(&e)));
	/* what can be made has been understood before */
	FUZZ_CHECK(refers == 0 || r < 0);
	if (env) {
		check_environment(env);
		/* the text itself may have the word */
		if (environment_expand_path(env, text, &path, &e) == 0 && hides && !strstr(text, "CANARY"))
			FUZZ_CHECK(!path.data || !strstr(path.data, "CANARY"));
	}
	free(pod.display);
}

static void try_pull_secret(const char *text, size_t len, bool is_old)
{
	const char *type = is_old ? "kubernetes.io/dockercfg" : "kubernetes.io/dockerconfigjson";
	cleanup_secret_object struct secret *s =
		secret_of(type, is_old ? ".dockercfg" : ".dockerconfigjson", text, len);
	cleanup_json json_t *auths = json_pack("{s:{s:s}}", "own.example.com", "auth", "dTpw");
	struct err e = ERR_INIT;
	const char *server;
	json_t *entry;
	int r = pull_config_add(auths, s, &e);

	FUZZ_CHECK(r == 0 || r == -EINVAL || r == -ENOMEM || r == -EFBIG);
	FUZZ_CHECK(r == 0 || (*err_text(&e) && json_object_size(auths) == 1));
	json_object_foreach (auths, server, entry)
		FUZZ_CHECK(json_is_object(entry) &&
			   (!json_object_get(entry, "auth") || json_string_length(json_object_get(entry, "auth")) > 0));
	FUZZ_CHECK(
		str_eq(json_string_value(json_object_get(json_object_get(auths, "own.example.com"), "auth")), "dTpw"));
}

static void set_up(void)
{
	struct err e = ERR_INIT;

	json_setup();
	FUZZ_CHECK(secmem_init(SECMEM_BYTES, &e) == 0);
	object = secret_of("Opaque", "k", "CANARY$(A)$$", 12);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };
	cleanup_free char *text = NULL;
	size_t len;
	uint8_t what;

	if (!object)
		set_up();
	what = fuzz_u8(&in);
	len = in.len;
	text = fuzz_text(in);
	if (what & PULL_SECRET)
		try_pull_secret(text, len, what & OLD_TYPE);
	else
		try_environment(text, what & HIDDEN);
	return 0;
}
