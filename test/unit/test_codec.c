/* Codec: Secrets and Pods as the API server writes them, and everything that is refused of them. */
#include "agent/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/str.h"

#define SECMEM_BYTES (4 * 1024 * 1024)
#define META                                                                                                           \
	"\"metadata\": {\"namespace\": \"default\", \"name\": \"web\", \"uid\": \"u-1\", \"resourceVersion\": \"7\"}"

static json_t *parse(const char *text)
{
	struct err e = ERR_INIT;
	json_t *doc = NULL;

	if (json_parse(text, strlen(text), &doc, &e) < 0)
		fail_msg("%s: %s", text, err_text(&e));
	return doc;
}

static struct secret *secret_of(const char *text)
{
	cleanup_json json_t *doc = parse(text);
	struct secret *s = NULL;
	struct json_issue issue;

	if (codec_secret(doc, &s, &issue) < 0)
		fail_msg("%s: %s: %s", text, issue.path, issue.reason);
	return s;
}

static struct pod *pod_of(const char *text)
{
	cleanup_json json_t *doc = parse(text);
	struct json_issue issue;
	struct pod *p = NULL;

	if (codec_pod(doc, &p, &issue) < 0)
		fail_msg("%s: %s: %s", text, issue.path, issue.reason);
	return p;
}

static void assert_value(const struct secret *s, const char *key, const char *value, size_t len)
{
	const struct secret_key *k = secret_find_key(s, key);
	struct digest digest = digest_of(value, len);

	assert_non_null(k);
	assert_int_equal(k->value.len, len);
	assert_memory_equal(secspan_data(&k->value), value, len);
	assert_true(digest_eq(&k->digest, &digest));
}

/* ---- Secret ---- */

static void secret_is_read(void **state)
{
	cleanup_secret_object struct secret *s =
		secret_of("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"default\",\"name\":"
			  "\"web.tls\","
			  "\"uid\":\"u-1\",\"resourceVersion\":\"42\",\"labels\":{\"b\":\"2\",\"a\":\"1\",\"c\":null},"
			  "\"future\":{}},"
			  "\"type\":\"Opaque\",\"immutable\":true,\"data\":{\"user\":\"YWRtaW4=\",\"nul\":\"AP8A\","
			  "\".hidden\":\"eA==\",\"pass\":\"aHVudGVyMg==\"}}");

	assert_string_equal(s->ns, "default");
	assert_string_equal(s->name, "web.tls");
	assert_string_equal(s->uid, "u-1");
	assert_string_equal(s->resource_version, "42");
	assert_string_equal(s->type, "Opaque");
	assert_true(s->immutable);
	assert_int_equal(s->n_labels, 3);
	assert_string_equal(s->labels[0].key, "a");
	assert_string_equal(s->labels[1].value, "2");
	assert_string_equal(s->labels[2].value, "");
	assert_int_equal(s->n_keys, 4);
	for (size_t i = 1; i < s->n_keys; i++)
		assert_true(strcmp(s->keys[i - 1].name, s->keys[i].name) < 0);
	assert_value(s, "user", "admin", 5);
	assert_value(s, "pass", "hunter2", 7);
	assert_value(s, "nul", "\0\xff\0", 3);
	assert_value(s, ".hidden", "x", 1);
	assert_null(secret_find_key(s, "none"));
}

static void absent_null_and_empty_data_are_no_keys(void **state)
{
	static const char *const DATA[] = { "", ", \"data\": null", ", \"data\": {}" };

	for (size_t i = 0; i < ARRAY_SIZE(DATA); i++) {
		cleanup_free char *text = str_format("{" META "%s}", DATA[i]);
		cleanup_secret_object struct secret *s = secret_of(text);

		assert_int_equal(s->n_keys, 0);
		assert_null(secret_find_key(s, "a"));
	}
}

static void empty_and_null_values_are_empty(void **state)
{
	cleanup_secret_object struct secret *s =
		secret_of("{" META ", \"data\": {\"a\": \"\", \"b\": null, \"c\": \"\\n\"}}");

	assert_value(s, "a", "", 0);
	assert_value(s, "b", "", 0);
	assert_value(s, "c", "", 0);
}

static void line_breaks_in_base64_are_skipped(void **state)
{
	cleanup_secret_object struct secret *s =
		secret_of("{" META ", \"data\": {\"a\": \"aHVu\\r\\ndGVy\\nMg=\\n=\", \"z\": \"eA==\"}}");

	assert_value(s, "a", "hunter2", 7);
	assert_value(s, "z", "x", 1);
}

static void escaped_base64_is_read(void **state)
{
	cleanup_secret_object struct secret *s =
		secret_of("{" META ", \"data\": {\"a\": \"\\u002b\\/\\u003d\\u003d\", \"b\": \"\\/\\/8\\u003d\"}}");

	assert_value(s, "a", "\xfb", 1);
	assert_value(s, "b", "\xff\xff", 2);
}

static void refused_secrets_name_the_place(void **state)
{
	static const struct {
		const char *text, *path, *reason;
	} CASES[] = {
		{ "[]", "document", "object" },
		{ "{}", "metadata", "" },
		{ "{\"metadata\": 1}", "metadata", "object" },
		{ "{\"metadata\": {\"namespace\": \"d\"}}", "metadata.name", "required" },
		{ "{\"metadata\": {\"name\": \"d\"}}", "metadata.namespace", "required" },
		{ "{\"metadata\": {\"name\": \"\", \"namespace\": \"d\"}}", "metadata.name", "empty" },
		{ "{\"metadata\": {\"name\": 1, \"namespace\": \"d\"}}", "metadata.name", "string" },
		{ "{\"metadata\": {\"name\": \"../x\", \"namespace\": \"d\"}}", "metadata.name", "DNS-1123" },
		{ "{\"metadata\": {\"name\": \"x\", \"namespace\": \"a/b\"}}", "metadata.namespace", "DNS-1123" },
		{ "{\"metadata\": {\"name\": \"x\", \"namespace\": \"a.b\"}}", "metadata.namespace", "DNS-1123" },
		{ "{\"metadata\": {\"name\": \"x\", \"namespace\": \"d\", \"labels\": [1]}}", "metadata.labels",
		  "object" },
		{ "{\"metadata\": {\"name\": \"x\", \"namespace\": \"d\", \"labels\": {\"a\": 1}}}", "metadata.labels",
		  "strings" },
		{ "{" META ", \"type\": 3}", "type", "string" },
		{ "{" META ", \"immutable\": \"true\"}", "immutable", "boolean" },
		{ "{" META ", \"data\": []}", "data", "object" },
		{ "{" META ", \"data\": {\"a\": 1}}", "data.a", "string" },
		{ "{" META ", \"data\": {\"a\": {}}}", "data.a", "string" },
		{ "{" META ", \"data\": {\"a\": \"!!!!\"}}", "data.a", "base64" },
		{ "{" META ", \"data\": {\"a\": \"YWRtaW4\"}}", "data.a", "base64" },
		{ "{" META ", \"data\": {\"a\": \"YWRtaW4==\"}}", "data.a", "base64" },
		{ "{" META ", \"data\": {\"a\": \"YWRt aW4=\"}}", "data.a", "base64" },
		{ "{" META ", \"data\": {\"a\": \"_-__\"}}", "data.a", "base64" },
		{ "{" META ", \"data\": {\"a\": \"====\"}}", "data.a", "base64" },
		{ "{" META ", \"data\": {\"a\": \"=\"}}", "data.a", "base64" },
		{ "{" META ", \"data\": {\"a\": \"YWRt\\u0000\"}}", "data.a", "base64" },
		{ "{" META ", \"data\": {\"\": \"\"}}", "data[]", "a valid config key must consist of" },
		{ "{" META ", \"data\": {\".\": \"\"}}", "data[.]", "must not be '.'" },
		{ "{" META ", \"data\": {\"..\": \"\"}}", "data[..]", "must not be '..'" },
		{ "{" META ", \"data\": {\"..data\": \"\"}}", "data[..data]", "must not start with '..'" },
		{ "{" META ", \"data\": {\"a/b\": \"\"}}", "data[a/b]", "a valid config key must consist of" },
		{ "{" META ", \"data\": {\"a\\nb\": \"\"}}", "data[a?b]", "a valid config key must consist of" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_json json_t *doc = parse(CASES[i].text);
		struct json_issue issue = { .path = "" };
		struct secret *s = NULL;

		assert_int_equal(codec_secret(doc, &s, &issue), -EINVAL);
		assert_null(s);
		assert_string_equal(issue.path, CASES[i].path);
		if (!strstr(issue.reason, CASES[i].reason))
			fail_msg("%s: %s", CASES[i].text, issue.reason);
	}
}

static void long_keys_are_refused_and_cut_in_the_message(void **state)
{
	char key[100001], text[100200];
	struct json_issue issue;
	struct secret *s = NULL;

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	snprintf(text, sizeof(text), "{" META ", \"data\": {\"%s\": \"\"}}", key);

	cleanup_json json_t *doc = parse(text);

	assert_int_equal(codec_secret(doc, &s, &issue), -EINVAL);
	assert_string_equal(issue.reason, "must be no more than 253 characters");
	assert_true(str_starts(issue.path, "data[kkkk"));
	assert_true(strlen(issue.path) < 90);
}

static void issues_hold_no_value(void **state)
{
	cleanup_json json_t *doc = parse("{" META ", \"data\": {\"a\": \"aHVudGVyMg==hunter2\"}}");
	struct json_issue issue;
	struct secret *s = NULL;

	assert_int_equal(codec_secret(doc, &s, &issue), -EINVAL);
	assert_null(strstr(issue.reason, "hunter2"));
	assert_null(strstr(issue.path, "hunter2"));
}

static void one_mebibyte_is_accepted_and_one_byte_more_is_not(void **state)
{
	/* 349525 groups of three are 1048575 bytes */
	for (size_t extra = 1; extra <= 2; extra++) {
		size_t n = 349525 * 4;
		cleanup_free char *big = calloc(1, n + 1);
		cleanup_json json_t *doc = parse("{" META ", \"data\": {\"small\": \"\"}}");
		json_t *data = json_object_get(doc, "data");
		struct json_issue issue;
		struct secret *s = NULL;
		int r;

		memset(big, 'A', n);
		json_object_set_new(data, "big", json_string(big));
		json_object_set_new(data, "small", json_string(extra == 1 ? "AA==" : "AAA="));
		r = codec_secret(doc, &s, &issue);
		if (extra == 1) {
			assert_int_equal(r, 0);
			assert_int_equal(secret_find_key(s, "big")->value.len, 1048575);
			secret_unref(s);
			continue;
		}
		assert_int_equal(r, -EINVAL);
		assert_string_equal(issue.path, "data");
		assert_string_equal(issue.reason, "Too long: may not be more than 1048576 bytes");
	}
}

static void used_up_budget_is_said(void **state)
{
	cleanup_json json_t *doc = parse("{" META ", \"data\": {}}");
	cleanup_secblock struct secblock *hog = NULL;
	cleanup_free char *big = calloc(1, 1200001);
	struct json_issue issue = { .reason = "" };
	struct secret *s = NULL;

	memset(big, 'A', 1200000);
	json_object_set_new(json_object_get(doc, "data"), "big", json_string(big));
	assert_int_equal(secblock_new(SECMEM_BYTES - 600000, &hog, NULL), 0);
	assert_int_equal(codec_secret(doc, &s, &issue), -ENOMEM);
	assert_null(s);
	assert_string_equal(issue.path, "data");
	assert_non_null(strstr(issue.reason, "900000"));
}

static void refused_secrets_leave_no_block(void **state)
{
	cleanup_json json_t *doc = parse("{" META ", \"data\": {\"a\": \"YWRtaW4=\", \"b\": \"!!!!\"}}");
	size_t before = secmem_stats().n_blocks;
	struct secret *s = NULL;

	assert_int_equal(codec_secret(doc, &s, NULL), -EINVAL);
	assert_int_equal(secmem_stats().n_blocks, before);
}

/* ---- secret objects ---- */

static void key_problems_are_the_api_servers_sentences(void **state)
{
	static const char charset[] =
		"a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
		"'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is "
		"'[-._a-zA-Z0-9]+')";
	static const struct {
		const char *name, *problem;
	} CASES[] = {
		{ "a", "" },
		{ "tls.crt", "" },
		{ ".dockerconfigjson", "" },
		{ "A-b_c.9", "" },
		{ "a..b", "" },
		{ "", charset },
		{ "a b", charset },
		{ "a/b", charset },
		{ "a*b", charset },
		{ "\xc3\xa4", charset },
		{ ".", "must not be '.'" },
		{ "..", "must not be '..'" },
		{ "...", "must not start with '..'" },
		{ "..a", "must not start with '..'" },
	};
	char name[SECRET_KEY_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++)
		assert_string_equal(secret_key_problem(CASES[i].name), CASES[i].problem);
	memset(name, 'a', sizeof(name));
	name[SECRET_KEY_MAX] = '\0';
	assert_string_equal(secret_key_problem(name), "");
	name[SECRET_KEY_MAX] = 'a';
	name[SECRET_KEY_MAX + 1] = '\0';
	assert_string_equal(secret_key_problem(name), "must be no more than 253 characters");
}

static void same_means_everything_but_the_revision(void **state)
{
	static const struct {
		const char *text;
		bool same;
	} CASES[] = {
		{ "{" META ", \"type\": \"Opaque\", \"data\": {\"a\": \"YQ==\"}}", true },
		{ "{\"metadata\": {\"namespace\": \"default\", \"name\": \"web\", \"uid\": \"u-1\", "
		  "\"resourceVersion\": "
		  "\"8\"}, \"type\": \"Opaque\", \"data\": {\"a\": \"YQ==\"}}",
		  true },
		{ "{\"metadata\": {\"namespace\": \"default\", \"name\": \"web\", \"uid\": \"u-2\"}, \"type\": "
		  "\"Opaque\", "
		  "\"data\": {\"a\": \"YQ==\"}}",
		  false },
		{ "{\"metadata\": {\"namespace\": \"default\", \"name\": \"web\", \"uid\": \"u-1\", \"labels\": "
		  "{\"a\": "
		  "\"b\"}}, \"type\": \"Opaque\", \"data\": {\"a\": \"YQ==\"}}",
		  false },
		{ "{" META ", \"type\": \"other\", \"data\": {\"a\": \"YQ==\"}}", false },
		{ "{" META ", \"type\": \"Opaque\", \"immutable\": true, \"data\": {\"a\": \"YQ==\"}}", false },
		{ "{" META ", \"type\": \"Opaque\", \"data\": {\"a\": \"Yg==\"}}", false },
		{ "{" META ", \"type\": \"Opaque\", \"data\": {\"b\": \"YQ==\"}}", false },
		{ "{" META ", \"type\": \"Opaque\", \"data\": {\"a\": \"YQ==\", \"b\": \"\"}}", false },
		{ "{" META ", \"type\": \"Opaque\"}", false },
	};
	cleanup_secret_object struct secret *first = secret_of(CASES[0].text);

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_secret_object struct secret *other = secret_of(CASES[i].text);

		assert_int_equal(secret_same(first, other), CASES[i].same);
		assert_int_equal(secret_same(other, first), CASES[i].same);
	}
}

/* ---- ConfigMap ---- */

static void config_map_is_text_and_bytes(void **state)
{
	cleanup_json json_t *doc = parse("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\"," META
					 ",\"immutable\":true,\"data\":{\"text\":\"gr\u00fc\u00df\\n\","
					 "\"not.base64\":\"!!!!\",\"b\":\"YQ==\",\"empty\":\"\",\"none\":null},"
					 "\"binaryData\":{\"a\":\"AP8A\",\"z\":\"\"}}");
	cleanup_secret_object struct secret *s = NULL;
	struct json_issue issue;

	if (codec_object(OBJECT_CONFIG_MAP, doc, &s, &issue) < 0)
		fail_msg("%s: %s", issue.path, issue.reason);
	assert_int_equal(s->kind, OBJECT_CONFIG_MAP);
	assert_null(s->type);
	assert_true(s->immutable);
	assert_int_equal(s->n_keys, 7);
	for (size_t i = 1; i < s->n_keys; i++)
		assert_true(strcmp(s->keys[i - 1].name, s->keys[i].name) < 0);
	assert_value(s, "text", "gr\xc3\xbc\xc3\x9f\n", 7);
	assert_value(s, "not.base64", "!!!!", 4);
	assert_value(s, "b", "YQ==", 4);
	assert_value(s, "a", "\0\xff\0", 3);
	assert_value(s, "empty", "", 0);
	assert_value(s, "none", "", 0);
	assert_value(s, "z", "", 0);
}

static void refused_config_maps_name_the_place(void **state)
{
	static const struct {
		const char *text, *path, *reason;
	} CASES[] = {
		{ "{" META ", \"data\": []}", "data", "object" },
		{ "{" META ", \"data\": {\"a\": 1}}", "data.a", "string" },
		{ "{" META ", \"binaryData\": {\"a\": 1}}", "binaryData.a", "string" },
		{ "{" META ", \"binaryData\": {\"a\": \"!!!!\"}}", "binaryData.a", "base64" },
		{ "{" META ", \"binaryData\": {\"a/b\": \"\"}}", "binaryData[a/b]", "config key" },
		{ "{" META ", \"data\": {\"..a\": \"\"}}", "data[..a]", "must not start" },
		{ "{" META ", \"data\": {\"a\": \"x\", \"b\": \"x\"}, \"binaryData\": {\"b\": \"\"}}", "binaryData.b",
		  "twice" },
		{ "{" META ", \"immutable\": 1}", "immutable", "boolean" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_json json_t *doc = parse(CASES[i].text);
		struct secret *s = NULL;
		struct json_issue issue;

		assert_int_equal(codec_object(OBJECT_CONFIG_MAP, doc, &s, &issue), -EINVAL);
		assert_null(s);
		if (!str_eq(issue.path, CASES[i].path) || !strstr(issue.reason, CASES[i].reason))
			fail_msg("%s: %s: %s", CASES[i].text, issue.path, issue.reason);
	}
}

static void config_map_has_the_secrets_limit(void **state)
{
	for (size_t over = 0; over < 2; over++) {
		cleanup_free char *value = malloc(SECRET_BYTES_MAX), *text = NULL;
		cleanup_secret_object struct secret *s = NULL;
		cleanup_json json_t *doc = NULL;
		struct json_issue issue;

		memset(value, 'x', SECRET_BYTES_MAX);
		value[SECRET_BYTES_MAX - 1] = '\0';
		text = str_format("{" META ", \"data\": {\"a\": \"%s\"}, \"binaryData\": {\"b\": \"%s\"}}", value,
				  over ? "AAA=" : "AA==");
		doc = parse(text);
		assert_int_equal(codec_object(OBJECT_CONFIG_MAP, doc, &s, &issue), over ? -EINVAL : 0);
		if (over)
			assert_non_null(strstr(issue.reason, "Too long"));
	}
}

/* ---- Pod ---- */

static void pod_is_read(void **state)
{
	cleanup_pod struct pod *p = pod_of(
		"{\"metadata\":{\"namespace\":\"default\",\"name\":\"web\",\"uid\":\"4c2f9d5e-8a61-4b0e-9c39-"
		"2f7a4f2a1d10\","
		"\"resourceVersion\":\"9\",\"deletionTimestamp\":\"2026-11-22T05:50:05Z\","
		"\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}},\"spec\":{\"nodeName\":\"node-1\","
		"\"securityContext\":{\"fsGroup\":2000},\"volumes\":["
		"{\"name\":\"plain\",\"secret\":{\"secretName\":\"s1\"}},"
		"{\"name\":\"picky\",\"secret\":{\"secretName\":\"s2\",\"optional\":true,\"defaultMode\":256,"
		"\"items\":[{\"key\":\"k\",\"path\":\"a/b\"},{\"key\":\"l\",\"path\":\"l\",\"mode\":0}]}},"
		"{\"name\":\"other\",\"emptyDir\":{}},{\"name\":\"null\",\"secret\":null}],"
		"\"initContainers\":[{\"name\":\"init\",\"volumeMounts\":[{\"name\":\"other\",\"mountPath\":\"/o\"}]}],"
		"\"containers\":[{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"plain\",\"mountPath\":\"/"
		"p\",\"readOnly\":true},"
		"{\"name\":\"picky\",\"mountPath\":\"/q\",\"subPath\":\"k\"},"
		"{\"name\":\"plain\",\"mountPath\":\"/"
		"e\",\"subPath\":\"\",\"subPathExpr\":\"$(X)\"}]},{\"name\":\"d\"}],"
		"\"ephemeralContainers\":[{\"name\":\"e\"}]},\"status\":{\"phase\":\"Running\"}}");

	assert_string_equal(pod_display(p), "default/web");
	assert_string_equal(p->uid, "4c2f9d5e-8a61-4b0e-9c39-2f7a4f2a1d10");
	assert_string_equal(p->resource_version, "9");
	assert_string_equal(p->node_name, "node-1");
	assert_string_equal(p->phase, "Running");
	assert_true(p->deleting);
	assert_true(p->mirror);
	assert_true(p->has_fs_group);
	assert_int_equal(p->fs_group, 2000);
	assert_false(pod_is_finished(p));

	assert_int_equal(p->n_volumes, 4);
	assert_int_equal(p->volumes[0].kind, POD_VOLUME_SECRET);
	assert_string_equal(p->volumes[0].sources[0].name, "s1");
	assert_int_equal(p->volumes[0].default_mode, 0644);
	assert_false(p->volumes[0].sources[0].optional);
	assert_int_equal(p->volumes[0].sources[0].n_items, 0);
	assert_true(p->volumes[1].sources[0].optional);
	assert_int_equal(p->volumes[1].default_mode, 0400);
	assert_int_equal(p->volumes[1].sources[0].n_items, 2);
	assert_string_equal(p->volumes[1].sources[0].items[0].path, "a/b");
	assert_false(p->volumes[1].sources[0].items[0].has_mode);
	assert_true(p->volumes[1].sources[0].items[1].has_mode);
	assert_int_equal(p->volumes[1].sources[0].items[1].mode, 0);
	assert_int_equal(p->volumes[2].kind, POD_VOLUME_OTHER);
	assert_int_equal(p->volumes[3].kind, POD_VOLUME_OTHER);

	assert_int_equal(p->n_containers, 4);
	assert_int_equal(pod_find_container(p, "init")->kind, POD_CONTAINER_INIT);
	assert_int_equal(pod_find_container(p, "e")->kind, POD_CONTAINER_EPHEMERAL);
	assert_int_equal(pod_find_container(p, "c")->kind, POD_CONTAINER_REGULAR);
	assert_int_equal(pod_find_container(p, "c")->n_mounts, 3);
	assert_true(pod_find_container(p, "c")->mounts[0].read_only);
	assert_null(pod_find_container(p, "c")->mounts[0].sub_path);
	assert_string_equal(pod_find_container(p, "c")->mounts[1].sub_path, "k");
	assert_null(pod_find_container(p, "c")->mounts[2].sub_path);
	assert_non_null(pod_find_container(p, "c")->mounts[2].sub_path_expr);
	assert_null(pod_find_container(p, "none"));
	assert_ptr_equal(pod_find_volume(p, "picky"), &p->volumes[1]);
	assert_null(pod_find_volume(p, "none"));
	assert_true(pod_mounts_volume(p, "other"));
	assert_false(pod_mounts_volume(p, "null"));
}

static void projected_volumes_are_read(void **state)
{
	cleanup_pod struct pod *p = pod_of(
		"{" META ", \"spec\": {\"volumes\": ["
		"{\"name\": \"all\", \"projected\": {\"defaultMode\": 256, \"sources\": ["
		"{\"secret\": {\"name\": \"a\"}}, {\"secret\": {\"name\": \"b\", \"optional\": true, \"items\": ["
		"{\"key\": \"k\", \"path\": \"x/y\", \"mode\": 288}]}}]}},"
		"{\"name\": \"empty\", \"projected\": {}},"
		"{\"name\": \"mixed\", \"projected\": {\"sources\": [{\"configMap\": {\"name\": \"a\", \"optional\": "
		"true}}, "
		"{\"secret\": {\"name\": \"a\"}, \"configMap\": null}]}},"
		"{\"name\": \"config\", \"configMap\": {\"name\": \"c\", \"defaultMode\": 292, \"items\": [{\"key\": "
		"\"k\", "
		"\"path\": \"p\"}]}},"
		"{\"name\": \"foreign\", \"projected\": {\"sources\": [{\"secret\": {\"name\": \"a\"}}, "
		"{\"clusterTrustBundle\": "
		"{\"path\": \"ca\"}}]}},"
		"{\"name\": \"nothing\", \"projected\": {\"sources\": [{\"secret\": null}]}},"
		"{\"name\": \"null\", \"projected\": null}]}}");
	const struct pod_volume *v = pod_find_volume(p, "all");

	assert_int_equal(v->kind, POD_VOLUME_PROJECTED);
	assert_string_equal(pod_volume_plugin(v), "kubernetes.io~projected");
	assert_string_equal(pod_volume_type(v), "projected");
	assert_int_equal(v->default_mode, 0400);
	assert_int_equal(v->n_sources, 2);
	assert_string_equal(v->sources[0].name, "a");
	assert_false(v->sources[0].optional);
	assert_int_equal(v->sources[0].n_items, 0);
	assert_string_equal(v->sources[1].name, "b");
	assert_true(v->sources[1].optional);
	assert_int_equal(v->sources[1].n_items, 1);
	assert_string_equal(v->sources[1].items[0].path, "x/y");
	assert_int_equal(v->sources[1].items[0].mode, 0440);

	v = pod_find_volume(p, "empty");
	assert_int_equal(v->kind, POD_VOLUME_PROJECTED);
	assert_int_equal(v->n_sources, 0);
	assert_int_equal(v->default_mode, 0644);

	v = pod_find_volume(p, "mixed");
	assert_int_equal(v->n_sources, 2);
	assert_int_equal(v->sources[0].kind, POD_SOURCE_CONFIG_MAP);
	assert_true(v->sources[0].optional);
	assert_int_equal(v->sources[1].kind, POD_SOURCE_SECRET);
	assert_string_equal(pod_source_type(&v->sources[0]), "configMap");

	v = pod_find_volume(p, "config");
	assert_int_equal(v->kind, POD_VOLUME_CONFIG_MAP);
	assert_string_equal(pod_volume_plugin(v), "kubernetes.io~configmap");
	assert_string_equal(pod_volume_type(v), "configMap");
	assert_int_equal(v->default_mode, 0444);
	assert_int_equal(v->n_sources, 1);
	assert_int_equal(v->sources[0].kind, POD_SOURCE_CONFIG_MAP);
	assert_string_equal(v->sources[0].name, "c");
	assert_string_equal(v->sources[0].items[0].path, "p");

	/* what is not known whole is not shown by halves */
	v = pod_find_volume(p, "foreign");
	assert_int_equal(v->kind, POD_VOLUME_PROJECTED);
	assert_int_equal(v->n_sources, 0);
	assert_string_equal(v->error,
			    "spec.volumes[4].projected.sources[1].clusterTrustBundle: secretlet does not serve "
			    "such sources");
	assert_string_equal(pod_find_volume(p, "nothing")->error,
			    "spec.volumes[5].projected.sources[0]: it is no source that secretlet serves");
	assert_null(pod_find_volume(p, "all")->error);
	assert_int_equal(pod_find_volume(p, "null")->kind, POD_VOLUME_OTHER);
}

/* row 80 of kubelet-parity */
static void the_common_user_is_that_of_all_containers(void **state)
{
#define USER(u) "\"securityContext\": {\"runAsUser\": " u "}"
	static const struct {
		const char *spec;
		int64_t user; /* -1: none */
	} CASES[] = {
		{ "\"containers\": []", -1 },
		{ "\"containers\": [{\"name\": \"a\"}]", -1 },
		{ USER("1000") ", \"containers\": [{\"name\": \"a\"}, {\"name\": \"b\"}]", 1000 },
		{ "\"containers\": [{\"name\": \"a\", " USER("1000") "}, {\"name\": \"b\"}]", -1 },
		{ "\"containers\": [{\"name\": \"a\", " USER("1000") "}, {\"name\": \"b\", " USER("1001") "}]", -1 },
		{ "\"containers\": [{\"name\": \"a\", " USER("0") "}, {\"name\": \"b\", " USER("0") "}]", 0 },
		{ USER("5") ", \"containers\": [{\"name\": \"a\", " USER("7") "}, {\"name\": \"b\", " USER("7") "}]",
		  7 },
		{ USER("5") ", \"containers\": [{\"name\": \"a\"}], \"initContainers\": [{\"name\": \"i\", " USER(
			  "6") "}]",
		  -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_free char *text = str_format("{" META ", \"spec\": {%s}}", CASES[i].spec);
		cleanup_pod struct pod *p = pod_of(text);
		uid_t user = 42;
		bool has = pod_common_user(p, &user);

		if (has != (CASES[i].user >= 0) || user != (has ? (uid_t)CASES[i].user : 42))
			fail_msg("%s: %d", CASES[i].spec, has ? (int)user : -1);
	}
}

static void smallest_pod_is_read(void **state)
{
	cleanup_pod struct pod *p = pod_of("{" META ", \"spec\": {\"volumes\": null, \"containers\": []}}");

	assert_int_equal(p->n_volumes, 0);
	assert_int_equal(p->n_containers, 0);
	assert_false(p->deleting);
	assert_false(p->mirror);
	assert_false(p->has_fs_group);
	assert_null(p->node_name);
	assert_null(p->phase);
}

static void finished_means_succeeded_or_failed(void **state)
{
	static const struct {
		const char *phase;
		bool finished;
	} CASES[] = {
		{ "Succeeded", true }, { "Failed", true }, { "Running", false }, { "Pending", false }, { "", false }
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_free char *text =
			str_format("{" META ", \"spec\": {}, \"status\": {\"phase\": \"%s\"}}", CASES[i].phase);
		cleanup_pod struct pod *p = pod_of(text);

		assert_int_equal(pod_is_finished(p), CASES[i].finished);
	}
}

static size_t weight_in_phase(const char *phase)
{
	cleanup_free char *text = str_format("{" META ", \"spec\": {\"volumes\": ["
					     "{\"name\": \"a\", \"secret\": {\"secretName\": \"s\"}},"
					     "{\"name\": \"b\", \"secret\": {\"secretName\": \"s\"}}]},"
					     "\"status\": {\"phase\": \"%s\"}}",
					     phase);
	cleanup_pod struct pod *p = pod_of(text);

	return pod_weight(p);
}

static void finished_pods_volumes_weigh_little(void **state)
{
	cleanup_pod struct pod *bare = pod_of("{" META ", \"spec\": {}, \"status\": {\"phase\": \"Running\"}}");
	size_t volumes = weight_in_phase("Running") - pod_weight(bare);

	assert_int_equal(weight_in_phase("Pending"), weight_in_phase("Running"));
	assert_in_range(weight_in_phase("Succeeded") - pod_weight(bare), 1, volumes / 4);
	assert_int_equal(weight_in_phase("Failed"), weight_in_phase("Succeeded"));
}

static void objects_are_counted_once_however_often_they_are_named(void **state)
{
	static const struct {
		const char *volumes;
		size_t n;
	} CASES[] = {
		{ "", 0 },
		{ "{\"name\": \"a\", \"emptyDir\": {}}", 0 },
		{ "{\"name\": \"a\", \"downwardAPI\": {\"items\": [{\"path\": \"p\", \"fieldRef\": {\"fieldPath\": "
		  "\"metadata.name\"}}]}}",
		  0 },
		{ "{\"name\": \"a\", \"secret\": {\"secretName\": \"s\"}}, {\"name\": \"b\", \"secret\": "
		  "{\"secretName\": "
		  "\"s\"}}",
		  1 },
		{ "{\"name\": \"a\", \"secret\": {\"secretName\": \"s\"}}, {\"name\": \"b\", \"configMap\": {\"name\": "
		  "\"s\"}}",
		  2 },
		{ "{\"name\": \"a\", \"secret\": {\"secretName\": \"s\"}}, {\"name\": \"b\", \"projected\": "
		  "{\"sources\": ["
		  "{\"secret\": {\"name\": \"t\"}}, {\"secret\": {\"name\": \"s\"}}, {\"secret\": {\"name\": "
		  "\"t\"}}]}}",
		  2 },
		{ "{\"name\": \"a\", \"projected\": {\"sources\": ["
		  "{\"serviceAccountToken\": {\"path\": \"1\"}}, {\"serviceAccountToken\": {\"path\": \"2\"}}, "
		  "{\"serviceAccountToken\": {\"path\": \"3\", \"audience\": \"x\"}}, "
		  "{\"serviceAccountToken\": {\"path\": \"4\", \"audience\": \"x\", \"expirationSeconds\": 600}}]}}",
		  3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_free char *text = str_format("{" META ", \"spec\": {\"volumes\": [%s]}}", CASES[i].volumes);
		cleanup_pod struct pod *p = pod_of(text);

		assert_int_equal(p->n_objects, CASES[i].n);
	}
}

/* So many optional sources of a projected volume, of as many names. */
static json_t *pod_of_names(size_t n)
{
	json_t *doc = parse("{" META ", \"spec\": {\"volumes\": [{\"name\": \"v\", \"projected\": {\"sources\": []}},"
			    "{\"name\": \"w\", \"projected\": {\"sources\": []}}]}}");
	json_t *volumes = json_object_get(json_object_get(doc, "spec"), "volumes");

	for (size_t i = 0; i < n; i++) {
		json_t *projected = json_object_get(json_array_get(volumes, i >= 1000), "projected");
		char name[32];

		snprintf(name, sizeof(name), "s%zu", i);
		json_array_append_new(json_object_get(projected, "sources"),
				      json_pack("{s:{s:s, s:b}}", "secret", "name", name, "optional", true));
	}
	return doc;
}

static void pod_of_too_many_objects_is_refused(void **state)
{
	cleanup_json json_t *most = pod_of_names(POD_OBJECTS_MAX), *more = pod_of_names(POD_OBJECTS_MAX + 1);
	struct json_issue issue;
	struct pod *p = NULL;

	assert_int_equal(codec_pod(most, &p, &issue), 0);
	assert_int_equal(p->n_objects, POD_OBJECTS_MAX);
	pod_unref(TAKE_PTR(p));
	assert_int_equal(codec_pod(more, &p, &issue), -EINVAL);
	assert_string_equal(issue.path, "spec.volumes");
	assert_string_equal(issue.reason, "more than 1000 different Secrets, ConfigMaps and tokens");
}

/* docs/bench: 16.5 KiB for each further Secret. */
static void objects_weigh_what_a_watch_takes(void **state)
{
	cleanup_json json_t *some_text = pod_of_names(40), *most_text = pod_of_names(POD_OBJECTS_MAX);
	cleanup_pod struct pod *some = NULL, *most = NULL;
	cleanup_free char *finished = NULL;

	assert_int_equal(codec_pod(some_text, &some, NULL), 0);
	assert_int_equal(codec_pod(most_text, &most, NULL), 0);
	/* 10,000 Secrets on a node */
	assert_in_range(250 * pod_weight(some), 10000 * 16896, PODS_WEIGHT_MAX);
	/* and not 16,000 */
	assert_in_range(16 * pod_weight(most), PODS_WEIGHT_MAX, 2 * PODS_WEIGHT_MAX);
	/* none is followed for one that is finished */
	finished = strdup("Succeeded");
	free(most->phase);
	most->phase = TAKE_PTR(finished);
	assert_true(pod_weight(most) < 1000 * 512);
}

#define VOLUME(v)    "{" META ", \"spec\": {\"volumes\": [{\"name\": \"ok\"}, " v "]}}"
#define SECRET(s)    VOLUME("{\"name\": \"v\", \"secret\": " s "}")
#define PROJECTED(s) VOLUME("{\"name\": \"v\", \"projected\": " s "}")
#define SOURCE(s)    PROJECTED("{\"sources\": [{\"secret\": {\"name\": \"a\"}}, " s "]}")
#define MOUNT(m)     "{" META ", \"spec\": {\"containers\": [{\"name\": \"c\", \"volumeMounts\": [" m "]}]}}"

/* Of the table's pods the first volume is in order, and the second is not: it alone is spoilt. */
static void expect_spoilt(const char *text, const struct pod *p, const char *path, const char *reason)
{
	const struct pod_volume *v = &p->volumes[1];

	assert_int_equal(p->n_volumes, 2);
	assert_string_equal(p->volumes[0].name, "ok");
	assert_null(p->volumes[0].error);
	if (!str_eq(v->name, "v")) {
		assert_string_equal(v->name, "volumes[1]");
		assert_true(pod_mounts_volume(p, v->name));
	}
	assert_int_equal(v->n_sources, 0);
	if (v->kind == POD_VOLUME_OTHER)
		return;
	if (strncmp(v->error, path, strlen(path)) != 0 || !strstr(v->error + strlen(path), reason))
		fail_msg("%s: %s", text, v->error);
	assert_non_null(pod_volume_plugin(v));
}

static void refused_pods_and_volumes_name_the_place(void **state)
{
	static const char mode[] = "must be a number between 0 and 0777 (octal), both inclusive";
	static const struct {
		const char *text, *path, *reason;
	} CASES[] = {
		{ "[]", "document", "object" },
		{ "{" META "}", "spec", "missing" },
		{ "{" META ", \"spec\": []}", "spec", "object" },
		{ "{\"metadata\": {\"namespace\": \"d\", \"name\": \"n\"}, \"spec\": {}}", "metadata.uid", "required" },
		{ "{\"metadata\": {\"namespace\": \"d\", \"name\": \"n\", \"uid\": \"a/b\"}, \"spec\": {}}",
		  "metadata.uid", "UID" },
		{ "{\"metadata\": {\"namespace\": \"d\", \"name\": \"n\", \"uid\": \"..\"}, \"spec\": {}}",
		  "metadata.uid", "UID" },
		{ "{\"metadata\": {\"namespace\": \"d\", \"name\": \"N\", \"uid\": \"u\"}, \"spec\": {}}",
		  "metadata.name", "DNS-1123" },
		{ "{" META ", \"spec\": {\"volumes\": {}}}", "spec.volumes", "array" },
		{ VOLUME("7"), "spec.volumes[1]", "object" },
		{ VOLUME("{}"), "spec.volumes[1].name", "required" },
		{ VOLUME("{\"name\": \"a/b\"}"), "spec.volumes[1].name", "DNS-1123" },
		{ VOLUME("{\"name\": \"..\"}"), "spec.volumes[1].name", "DNS-1123" },
		{ VOLUME("{\"name\": \"ok\"}"), "spec.volumes[1].name", "Duplicate" },
		{ VOLUME("{\"name\": \"ok\", \"secret\": {\"secretName\": \"a\"}}"), "spec.volumes[1].name",
		  "Duplicate" },
		{ VOLUME("{\"name\": \"../x\", \"secret\": {\"secretName\": \"a\"}}"), "spec.volumes[1].name",
		  "DNS-1123" },
		{ VOLUME("{\"name\": 1, \"secret\": {\"secretName\": \"a\"}}"), "spec.volumes[1].name", "string" },
		{ SECRET("7"), "spec.volumes[1].secret", "object" },
		{ SECRET("{}"), "spec.volumes[1].secret.secretName", "required" },
		{ SECRET("{\"secretName\": \"\"}"), "spec.volumes[1].secret.secretName", "empty" },
		{ SECRET("{\"secretName\": \"a/b\"}"), "spec.volumes[1].secret.secretName", "DNS-1123" },
		{ SECRET("{\"secretName\": \"a\", \"optional\": 1}"), "spec.volumes[1].secret.optional", "boolean" },
		{ SECRET("{\"secretName\": \"a\", \"defaultMode\": 512}"), "spec.volumes[1].secret.defaultMode", mode },
		{ SECRET("{\"secretName\": \"a\", \"defaultMode\": -1}"), "spec.volumes[1].secret.defaultMode", mode },
		{ SECRET("{\"secretName\": \"a\", \"defaultMode\": \"0644\"}"), "spec.volumes[1].secret.defaultMode",
		  "" },
		{ SECRET("{\"secretName\": \"a\", \"items\": [1]}"), "spec.volumes[1].secret.items[0]", "object" },
		{ SECRET("{\"secretName\": \"a\", \"items\": [{\"path\": \"p\"}]}"),
		  "spec.volumes[1].secret.items[0].key", "required" },
		{ SECRET("{\"secretName\": \"a\", \"items\": [{\"key\": \"k\"}]}"),
		  "spec.volumes[1].secret.items[0].path", "required" },
		{ SECRET("{\"secretName\": \"a\", \"items\": [{\"key\": \"k\", \"path\": \"\"}]}"),
		  "spec.volumes[1].secret.items[0].path", "empty" },
		{ SECRET("{\"secretName\": \"a\", \"items\": [{\"key\": \"k\", \"path\": \"p\", \"mode\": 4096}]}"),
		  "spec.volumes[1].secret.items[0].mode", mode },
		{ VOLUME("{\"name\": \"v\", \"configMap\": {}}"), "spec.volumes[1].configMap.name", "required" },
		{ SOURCE("{\"configMap\": {\"name\": \"A\"}}"), "spec.volumes[1].projected.sources[1].configMap.name",
		  "DNS-1123" },
		{ SOURCE("{\"downwardAPI\": {\"items\": [{\"path\": \"p\"}]}}"),
		  "spec.volumes[1].projected.sources[1].downwardAPI.items[0]", "one of fieldRef and resourceFieldRef" },
		{ SOURCE("{\"downwardAPI\": {\"items\": [{\"path\": \"p\", \"fieldRef\": {\"fieldPath\": "
			 "\"spec.nodeName\"}}]}}"),
		  "spec.volumes[1].projected.sources[1].downwardAPI.items[0].fieldRef.fieldPath", "unsupported" },
		{ VOLUME("{\"name\": \"v\", \"downwardAPI\": {\"items\": [{\"path\": \"p\", \"resourceFieldRef\": "
			 "{\"resource\": "
			 "\"limits.cpu\"}}]}}"),
		  "spec.volumes[1].downwardAPI.items[0].resourceFieldRef.containerName", "required" },
		{ SOURCE("{\"serviceAccountToken\": {}}"),
		  "spec.volumes[1].projected.sources[1].serviceAccountToken.path", "required" },
		{ SOURCE("{\"serviceAccountToken\": {\"path\": \"t\", \"expirationSeconds\": 0}}"),
		  "spec.volumes[1].projected.sources[1].serviceAccountToken.expirationSeconds", "" },
		{ "{" META ", \"spec\": {\"serviceAccountName\": \"a/b\"}}", "spec.serviceAccountName", "DNS-1123" },
		{ PROJECTED("7"), "spec.volumes[1].projected", "object" },
		{ PROJECTED("{\"sources\": {}}"), "spec.volumes[1].projected.sources", "array" },
		{ PROJECTED("{\"defaultMode\": 512}"), "spec.volumes[1].projected.defaultMode", mode },
		{ SOURCE("7"), "spec.volumes[1].projected.sources[1]", "object" },
		{ SOURCE("{\"clusterTrustBundle\": {\"name\": \"ca\", \"path\": \"p\"}}"),
		  "spec.volumes[1].projected.sources[1].clusterTrustBundle", "does not serve" },
		{ SOURCE("{\"podCertificate\": {\"keyType\": \"ED25519\"}}"),
		  "spec.volumes[1].projected.sources[1].podCertificate", "does not serve" },
		{ SOURCE("{\"somethingNew\": {}}"), "spec.volumes[1].projected.sources[1]", "no source that" },
		{ SOURCE("{\"secret\": {\"name\": \"b\", \"items\": [{\"key\": \"k\", \"path\": \"p\"}]}}, "
			 "{\"configMap\": {\"name\": \"c\", \"items\": [{\"key\": \"k\", \"path\": \"p\"}]}}"),
		  "spec.volumes[1].projected.sources[2]", "conflicting duplicate paths: p" },
		{ SOURCE("{\"secret\": []}"), "spec.volumes[1].projected.sources[1].secret", "object" },
		{ SOURCE("{\"secret\": {}}"), "spec.volumes[1].projected.sources[1].secret.name", "required" },
		{ SOURCE("{\"secret\": {\"name\": \"a/b\"}}"), "spec.volumes[1].projected.sources[1].secret.name",
		  "DNS-1123" },
		{ SOURCE("{\"secret\": {\"name\": \"a\", \"optional\": 1}}"),
		  "spec.volumes[1].projected.sources[1].secret.optional", "boolean" },
		{ SOURCE("{\"secret\": {\"name\": \"a\", \"items\": [{\"key\": \"k\"}]}}"),
		  "spec.volumes[1].projected.sources[1].secret.items[0].path", "required" },
		{ "{" META ", \"spec\": {\"securityContext\": {\"fsGroup\": -1}}}", "spec.securityContext.fsGroup",
		  "" },
		{ "{" META ", \"spec\": {\"securityContext\": {\"fsGroup\": 2147483648}}}",
		  "spec.securityContext.fsGroup", "" },
		{ "{" META ", \"spec\": {\"containers\": [{}]}}", "spec.containers[0].name", "required" },
		{ "{" META
		  ", \"spec\": {\"containers\": [{\"name\": \"c\"}], \"initContainers\": [{\"name\": \"c\"}]}}",
		  "spec.containers[0].name", "Duplicate" },
		{ MOUNT("{}"), "spec.containers[0].volumeMounts[0].name", "required" },
		{ MOUNT("{\"name\": \"v\"}"), "spec.containers[0].volumeMounts[0].mountPath", "required" },
		{ MOUNT("{\"name\": \"v\", \"mountPath\": \"/\", \"subPath\": 1}"),
		  "spec.containers[0].volumeMounts[0].subPath", "string" },
		{ "{" META ", \"spec\": {}, \"status\": 1}", "status", "object" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_json json_t *doc = parse(CASES[i].text);
		struct json_issue issue = { .path = "" };
		struct pod *p = NULL;

		if (str_starts(CASES[i].path, "spec.volumes[1]")) {
			assert_int_equal(codec_pod(doc, &p, &issue), 0);
			expect_spoilt(CASES[i].text, p, CASES[i].path, CASES[i].reason);
			pod_unref(p);
			continue;
		}
		if (codec_pod(doc, &p, &issue) != -EINVAL)
			fail_msg("accepted: %s", CASES[i].text);
		assert_null(p);
		assert_string_equal(issue.path, CASES[i].path);
		if (!strstr(issue.reason, CASES[i].reason))
			fail_msg("%s: %s", CASES[i].text, issue.reason);
	}
}

static void absurdly_long_lists_are_refused(void **state)
{
	cleanup_json json_t *doc = parse("{" META ", \"spec\": {\"volumes\": [], \"containers\": [{\"name\": \"c\", "
					 "\"volumeMounts\": []}]}}");
	json_t *spec = json_object_get(doc, "spec"), *volumes = json_object_get(spec, "volumes"),
	       *mounts = json_object_get(json_array_get(json_object_get(spec, "containers"), 0), "volumeMounts");
	struct json_issue issue;
	struct pod *p = NULL;
	char name[16];

	for (size_t i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "v%zu", i);
		json_array_append_new(volumes, json_pack("{s:s}", "name", name));
		json_array_append_new(mounts, json_pack("{s:s, s:s}", "name", name, "mountPath", "/x"));
	}
	assert_int_equal(codec_pod(doc, &p, &issue), 0);
	pod_unref(TAKE_PTR(p));
	json_array_append_new(mounts, json_pack("{s:s, s:s}", "name", name, "mountPath", "/x"));
	assert_int_equal(codec_pod(doc, &p, &issue), -EINVAL);
	assert_string_equal(issue.path, "spec.containers[0].volumeMounts");
	json_array_append_new(volumes, json_pack("{s:s}", "name", "one-more"));
	assert_int_equal(codec_pod(doc, &p, &issue), -EINVAL);
	assert_string_equal(issue.path, "spec.volumes");
}

/* ---- any object ---- */

static void expected_objects_are_recognised(void **state)
{
	static const struct {
		const char *text;
		int r;
	} CASES[] = {
		{ "{\"apiVersion\": \"v1\", \"kind\": \"Secret\"}", 0 },
		{ "{\"apiVersion\": \"v1\", \"kind\": \"Pod\"}", -EINVAL },
		{ "{\"apiVersion\": \"v2\", \"kind\": \"Secret\"}", -EINVAL },
		{ "{\"kind\": \"Secret\"}", -EINVAL },
		{ "{\"apiVersion\": \"v1\"}", -EINVAL },
		{ "{\"apiVersion\": 1, \"kind\": \"Secret\"}", -EINVAL },
		{ "[]", -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_json json_t *doc = parse(CASES[i].text);

		assert_int_equal(codec_expect(doc, "v1", "Secret", NULL), CASES[i].r);
	}
}

static void resource_version_is_found_or_null(void **state)
{
	static const struct {
		const char *text, *version;
	} CASES[] = {
		{ "{" META "}", "7" },
		{ "{\"metadata\": {\"resourceVersion\": \"\"}}", NULL },
		{ "{\"metadata\": {\"resourceVersion\": 7}}", NULL },
		{ "{\"metadata\": []}", NULL },
		{ "[]", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_json json_t *doc = parse(CASES[i].text);
		const char *version = codec_resource_version(doc);

		assert_true(str_eq(version, CASES[i].version));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(secret_is_read),
		cmocka_unit_test(absent_null_and_empty_data_are_no_keys),
		cmocka_unit_test(empty_and_null_values_are_empty),
		cmocka_unit_test(line_breaks_in_base64_are_skipped),
		cmocka_unit_test(escaped_base64_is_read),
		cmocka_unit_test(refused_secrets_name_the_place),
		cmocka_unit_test(long_keys_are_refused_and_cut_in_the_message),
		cmocka_unit_test(issues_hold_no_value),
		cmocka_unit_test(one_mebibyte_is_accepted_and_one_byte_more_is_not),
		cmocka_unit_test(used_up_budget_is_said),
		cmocka_unit_test(refused_secrets_leave_no_block),
		cmocka_unit_test(key_problems_are_the_api_servers_sentences),
		cmocka_unit_test(same_means_everything_but_the_revision),
		cmocka_unit_test(pod_is_read),
		cmocka_unit_test(config_map_is_text_and_bytes),
		cmocka_unit_test(refused_config_maps_name_the_place),
		cmocka_unit_test(config_map_has_the_secrets_limit),
		cmocka_unit_test(projected_volumes_are_read),
		cmocka_unit_test(the_common_user_is_that_of_all_containers),
		cmocka_unit_test(smallest_pod_is_read),
		cmocka_unit_test(finished_means_succeeded_or_failed),
		cmocka_unit_test(finished_pods_volumes_weigh_little),
		cmocka_unit_test(objects_are_counted_once_however_often_they_are_named),
		cmocka_unit_test(pod_of_too_many_objects_is_refused),
		cmocka_unit_test(objects_weigh_what_a_watch_takes),
		cmocka_unit_test(refused_pods_and_volumes_name_the_place),
		cmocka_unit_test(absurdly_long_lists_are_refused),
		cmocka_unit_test(expected_objects_are_recognised),
		cmocka_unit_test(resource_version_is_found_or_null),
	};
	struct err e = ERR_INIT;

	json_setup();
	if (secmem_init(SECMEM_BYTES, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
