/* Pull config: what Secrets of both types give, who wins, and what is refused. */
#include "agent/pull_config.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "agent/codec.h"
#include "common/b64.h"
#include "common/str.h"

#define JSON_TYPE "kubernetes.io/dockerconfigjson"
#define CFG_TYPE  "kubernetes.io/dockercfg"

static int setup(void **state)
{
	json_setup();
	return secmem_init((size_t)4 << 20, NULL);
}

static int teardown(void **state)
{
	assert_int_equal(secmem_stats().n_blocks, 0);
	secmem_deinit();
	return 0;
}

/* A Secret with one key; text has ' for ". */
static struct secret *secret_of(const char *type, const char *key, const char *text)
{
	cleanup_free char *value = strdup(text), *encoded = NULL;
	struct json_issue issue = { .path = "" };
	cleanup_json json_t *doc = NULL;
	struct secret *s = NULL;

	assert_non_null(value);
	for (char *c = value; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	assert_int_equal(b64_encode(value, strlen(value), &encoded), 0);
	doc = json_pack("{s:{s:s,s:s}, s:s, s:{s:s}}", "metadata", "namespace", "ns", "name", "s", "type", type, "data",
			key, encoded);
	assert_non_null(doc);
	assert_int_equal(codec_secret(doc, &s, &issue), 0);
	return s;
}

static int add(json_t *auths, const char *type, const char *key, const char *text, struct err *e)
{
	cleanup_secret_object struct secret *s = secret_of(type, key, text);

	return pull_config_add(auths, s, e);
}

static int add_json(json_t *auths, const char *text, struct err *e)
{
	return add(auths, JSON_TYPE, ".dockerconfigjson", text, e);
}

static json_t *expected_of(const char *text)
{
	cleanup_free char *json = strdup(text);
	json_t *expected;

	for (char *c = json; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	expected = json_loads(json, 0, NULL);
	assert_non_null(expected);
	return expected;
}

/* dTpw is u:p, */
static void both_types_become_auths(void **state)
{
	static const struct {
		const char *type, *key, *text, *auths;
	} CASES[] = {
		{ JSON_TYPE, ".dockerconfigjson", "{'auths':{'r.io':{'auth':'dTpw'}}}", "{'r.io':{'auth':'dTpw'}}" },
		/* in several lines, too */
		{ JSON_TYPE, ".dockerconfigjson",
		  "{'auths':{'r.io':{'auth':'dTpw\\ndzI='},'s.io':{'auth':'\\r\\ndTp\\nwd\\nw\\n'}}}",
		  "{'r.io':{'auth':'dTpwdzI='},'s.io':{'auth':'dTpwdw=='}}" },
		{ CFG_TYPE, ".dockercfg", "{'r.io':{'auth':'dTpw','email':'e'}}",
		  "{'r.io':{'auth':'dTpw','email':'e'}}" },
		/* tools know auth alone */
		{ JSON_TYPE, ".dockerconfigjson", "{'auths':{'r.io':{'username':'u','password':'p'}}}",
		  "{'r.io':{'auth':'dTpw'}}" },
		{ CFG_TYPE, ".dockercfg", "{'r.io':{'username':'u','password':'p'}}", "{'r.io':{'auth':'dTpw'}}" },
		/* auth wins over them, as for the kubelet; without padding, too: it gets one */
		{ JSON_TYPE, ".dockerconfigjson", "{'auths':{'r.io':{'auth':'dTpw','username':'x','password':'y'}}}",
		  "{'r.io':{'auth':'dTpw'}}" },
		{ JSON_TYPE, ".dockerconfigjson", "{'auths':{'r.io':{'auth':'dTpwdw'}}}",
		  "{'r.io':{'auth':'dTpwdw=='}}" },
		{ JSON_TYPE, ".dockerconfigjson", "{'auths':{'r.io':{'auth':'dTpwdzI'}}}",
		  "{'r.io':{'auth':'dTpwdzI='}}" },
		/* tokens; what else there is stays behind */
		{ JSON_TYPE, ".dockerconfigjson",
		  "{'HttpHeaders':{},'credsStore':'x','auths':{'https://index.docker.io/v1/"
		  "':{'auth':'dTpw','identitytoken':"
		  "'t','registrytoken':'r','other':1}}}",
		  "{'https://index.docker.io/v1/':{'auth':'dTpw','identitytoken':'t','registrytoken':'r'}}" },
		{ JSON_TYPE, ".dockerconfigjson", "{'auths':{'r.io':{}}}", "{'r.io':{}}" },
		{ JSON_TYPE, ".dockerconfigjson", "{}", "{}" },
		{ CFG_TYPE, ".dockercfg", "{}", "{}" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_json json_t *auths = json_object(), *expected = expected_of(CASES[i].auths);
		struct err e = ERR_INIT;

		if (add(auths, CASES[i].type, CASES[i].key, CASES[i].text, &e) < 0)
			fail_msg("%s: %s", CASES[i].text, err_text(&e));
		if (!json_equal(auths, expected))
			fail_msg("%s: %s", CASES[i].text, json_dumps(auths, 0));
	}
}

static void the_first_wins(void **state)
{
	cleanup_json json_t *auths = json_object(),
			    *expected = expected_of("{'a.io':{'auth':'dTpw'},'b.io':{'auth':'eDp5'}}");

	assert_int_equal(add_json(auths, "{'auths':{'a.io':{'auth':'dTpw'}}}", NULL), 0);
	assert_int_equal(add(auths, CFG_TYPE, ".dockercfg", "{'a.io':{'auth':'eDp5'},'b.io':{'auth':'eDp5'}}", NULL),
			 0);
	assert_true(json_equal(auths, expected));
}

static void what_is_malformed_is_refused_and_adds_nothing(void **state)
{
	static const struct {
		const char *type, *key, *text, *words;
	} CASES[] = {
		{ "Opaque", ".dockerconfigjson", "{}", "its type is Opaque, not kubernetes.io/dockerconfigjson" },
		{ JSON_TYPE, ".dockercfg", "{}", "it has no .dockerconfigjson" },
		{ CFG_TYPE, ".dockercfg", "", "it has no .dockercfg" },
		{ JSON_TYPE, ".dockerconfigjson", "{'auths':{'r.io':{'auth':'dTpw'}}", ".dockerconfigjson: line 1" },
		{ JSON_TYPE, ".dockerconfigjson", "[]", ".dockerconfigjson: it must be an object" },
		{ JSON_TYPE, ".dockerconfigjson", "{'auths':[]}", ".dockerconfigjson: auths must be an object" },
		{ CFG_TYPE, ".dockercfg", "[]", ".dockercfg: it must be an object" },
		{ JSON_TYPE, ".dockerconfigjson", "{'auths':{'a.io':{'auth':'dTpw'},'b.io':7}}",
		  "the entry of b.io must be an object" },
		/* base64 of what has no colon, and what is no base64 */
		{ JSON_TYPE, ".dockerconfigjson", "{'auths':{'a.io':{'auth':'dTpw'},'b.io':{'auth':'U0VDUkVU'}}}",
		  "auth of b.io must be base64(username:password)" },
		{ JSON_TYPE, ".dockerconfigjson", "{'auths':{'a.io':{'auth':'dTpw'},'b.io':{'auth':'SECRET!'}}}",
		  "auth of b.io must be base64(username:password)" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_json json_t *auths = json_object();
		struct err e = ERR_INIT;

		assert_int_equal(add(auths, CASES[i].type, CASES[i].key, CASES[i].text, &e), -EINVAL);
		if (!strstr(err_text(&e), CASES[i].words) || strstr(err_text(&e), "SECRET") ||
		    strstr(err_text(&e), "U0VDUkVU"))
			fail_msg("%s: %s", CASES[i].text, err_text(&e));
		assert_int_equal(json_object_size(auths), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_types_become_auths),
		cmocka_unit_test(the_first_wins),
		cmocka_unit_test(what_is_malformed_is_refused_and_adds_nothing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
