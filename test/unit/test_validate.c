/* Validate: each rule of the API server that concerns us, once kept and once broken, in its words and with its path.
 * Texts are YAML, because that is where they come from. */
#include "agent/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "agent/codec.h"
#include "agent/yaml.h"
#include "common/str.h"

static json_t *read_json(const char *text)
{
	struct yaml_doc *docs = NULL;
	struct err e = ERR_INIT;
	size_t n_docs = 0;
	json_t *obj = NULL;

	if (yaml_parse(text, strlen(text), &docs, &n_docs, &e) < 0 || yaml_to_json(docs[0].root, &obj, &e) < 0)
		fail_msg("%s: %s", text, err_text(&e));
	yaml_docs_free(docs, n_docs);
	return obj;
}

struct refusal {
	const char *text, *path, *reason;
};

static bool ends_open(const char *text, const char *pattern)
{
	size_t len = strlen(pattern);

	return len > 3 && str_eq(pattern + len - 3, "...") ? strncmp(text, pattern, len - 3) == 0
							   : str_eq(text, pattern);
}

static void expect_refusals(int (*validate)(json_t *obj, struct json_issue *issue), const struct refusal *refusals,
			    size_t n)
{
	size_t n_wrong = 0;

	for (size_t i = 0; i < n; i++) {
		cleanup_json json_t *obj = read_json(refusals[i].text);
		struct json_issue issue = { .path = "", .reason = "" };
		int r = validate(obj, &issue);

		if (r == (refusals[i].reason ? -EINVAL : 0) &&
		    str_eq(issue.path, refusals[i].path ? refusals[i].path : "") &&
		    ends_open(issue.reason, refusals[i].reason ? refusals[i].reason : ""))
			continue;
		print_error("%s: %d: %s: %s\n", refusals[i].text, r, issue.path, issue.reason);
		n_wrong++;
	}
	assert_int_equal(n_wrong, 0);
}

#define MUST_BE_STRING	"must be a string (put it in quotes)"
#define SUBDOMAIN(name) "Invalid value: \"" name "\": a lowercase RFC 1123 subdomain must consist of ..."
#define LABEL(name)	"Invalid value: \"" name "\": a lowercase RFC 1123 label must consist of ..."
#define QUALIFIED(key)	"Invalid value: \"" key "\": a qualified name must consist of ..."
#define L63		"a23456789012345678901234567890123456789012345678901234567890123"
#define L251                                                                                                           \
	L63 "." L63 "." L63 "."                                                                                        \
	    "b2345678901234567890123456789012345678901234567890123456789"

/* reason NULL: it is good */
static const struct refusal META[] = {
	{ "metadata: {name: a}", NULL, NULL },
	{ "metadata: {name: a.b-c.0, namespace: n-1}", NULL, NULL },
	{ "metadata: {name: a, labels: {x: z}, annotations: {x: ~}}", NULL, NULL },
	{ "metadata: {name: a, unknown: 1}", NULL, NULL },
	{ "metadata: {name: " L251 "}", NULL, NULL },
	{ "metadata: {name: a, namespace: " L63 "}", NULL, NULL },
	{ "[]", "document", "must be an object" },
	{ "x", "document", "must be an object" },
	{ "{}", "metadata.name", "Required value" },
	{ "metadata: ~", "metadata.name", "Required value" },
	{ "metadata: x", "metadata", "must be an object" },
	{ "metadata: {}", "metadata.name", "Required value" },
	{ "metadata: {name: ''}", "metadata.name", "Required value" },
	{ "metadata: {name: ~}", "metadata.name", "Required value" },
	{ "metadata: {generateName: a-}", "metadata.name", "Required value" },
	{ "metadata: {name: 12}", "metadata.name", "expected a string, found a number" },
	{ "metadata: {name: A}", "metadata.name", SUBDOMAIN("A") },
	{ "metadata: {name: a_b}", "metadata.name", SUBDOMAIN("a_b") },
	{ "metadata: {name: -a}", "metadata.name", SUBDOMAIN("-a") },
	{ "metadata: {name: a.}", "metadata.name", SUBDOMAIN("a.") },
	{ "metadata: {name: a..b}", "metadata.name", SUBDOMAIN("a..b") },
	{ "metadata: {name: ../x}", "metadata.name", SUBDOMAIN("../x") },
	{ "metadata: {name: " L251 ".abc}", "metadata.name", "Invalid value: ..." },
	{ "metadata: {name: \"a\\0b\"}", "metadata.name", "contains a NUL character" },
	{ "metadata: {name: a, namespace: A}", "metadata.namespace", LABEL("A") },
	{ "metadata: {name: a, namespace: a.b}", "metadata.namespace", LABEL("a.b") },
	{ "metadata: {name: a, namespace: " L63 "x}", "metadata.namespace", "Invalid value: ..." },
	{ "metadata: {name: a, namespace: 1}", "metadata.namespace", "expected a string, found a number" },
	{ "metadata: {name: a, labels: [x]}", "metadata.labels", "expected an object, found an array" },
	{ "metadata: {name: a, labels: {x: 1}}", "metadata.labels.x", MUST_BE_STRING },
	{ "metadata: {name: a, annotations: {a/b: yes}}", "metadata.annotations[a/b]", MUST_BE_STRING },
	{ "metadata: {name: a, labels: {a.b/C_d: A-b_c.9, e: '', " L63 ": " L63 "}}", NULL, NULL },
	{ "metadata: {name: a, labels: {a b: ''}}", "metadata.labels[a b]", QUALIFIED("a b") },
	{ "metadata: {name: a, labels: {'': ''}}", "metadata.labels[]", QUALIFIED("") },
	{ "metadata: {name: a, labels: {A/b: ''}}", "metadata.labels[A/b]", QUALIFIED("A/b") },
	{ "metadata: {name: a, labels: {" L63 "x: ''}}", "metadata.labels." L63 "x", "Invalid value: ..." },
	{ "metadata: {name: a, labels: {x: -a}}", "metadata.labels.x",
	  "Invalid value: \"-a\": a valid label must be an empty string or consist of ..." },
	{ "metadata: {name: a, labels: {x: \"a\\0b\"}}", "metadata.labels.x", "Invalid value: ..." },
	{ "metadata: {name: a, labels: {x: " L63 "x}}", "metadata.labels.x", "Invalid value: ..." },
	{ "metadata: {name: a, annotations: {A.b/c: \"a b\\n\\0\"}}", NULL, NULL },
	{ "metadata: {name: a, annotations: {a b: ''}}", "metadata.annotations[a b]", QUALIFIED("a b") },
	{ "metadata: {name: a, annotations: {a/b/c: ''}}", "metadata.annotations[a/b/c]", QUALIFIED("a/b/c") },
};

static void metadata_follows_the_rules(void **state)
{
	expect_refusals(validate_secret, META, ARRAY_SIZE(META));
}

static void annotations_have_a_size_in_all(void **state)
{
	const size_t max = (size_t)256 << 10;
	cleanup_free char *text = malloc(max);
	struct json_issue issue;

	assert_non_null(text);
	memset(text, 'x', max);
	for (size_t more = 0; more < 2; more++) {
		/* keys "a" and "b", value "yy" */
		size_t len = max - 4 + more;
		cleanup_json json_t *obj =
			json_pack("{s:{s:s, s:{s:s}, s:{s:s%, s:s}}}", "metadata", "name", "a", "labels", "not",
				  "counted", "annotations", "a", text, len, "b", "yy");

		assert_non_null(obj);
		assert_int_equal(validate_secret(obj, &issue), more ? -EINVAL : 0);
	}
	assert_string_equal(issue.path, "metadata.annotations");
	assert_string_equal(issue.reason, "Too long: must have at most 262144 bytes");
}

/* ---- Secret ---- */

#define S	 "metadata: {name: a}\n"
#define REDACTED "Invalid value: \"<secret contents redacted>\": must be a JSON object in base64"

static const struct refusal SECRETS[] = {
	{ S "apiVersion: v1\nkind: Secret\ntype: Opaque\nimmutable: true\ndata: {}\nstringData: {}", NULL, NULL },
	{ S "data: ~\nstringData: ~\ntype: ''\nimmutable: ~", NULL, NULL },
	{ S "data: {.key: '', a-B_c.1: ~}", NULL, NULL },
	{ S "type: anything/at-all", NULL, NULL },
	{ S "type: bootstrap.kubernetes.io/token", NULL, NULL },
	/* fields */
	{ S "stringdata: {a: b}", "stringdata", "unknown field; `stringData` is meant?" },
	{ S "Data: {a: b}", "Data", "unknown field; `data` is meant?" },
	{ S "spec: {}", NULL, NULL },
	{ S "immutable: 'true'", "immutable", "expected a boolean, found a string" },
	{ S "immutable: 1", "immutable", "expected a boolean, found a number" },
	{ S "type: 1", "type", "expected a string, found a number" },
	{ S "data: [a]", "data", "expected an object, found an array" },
	{ S "data: x", "data", "expected an object, found a string" },
	{ S "stringData: x", "stringData", "expected an object, found a string" },
	/* keys */
	{ S "data: {'a*b': ''}", "data[a*b]", "Invalid value: \"a*b\": a valid config key must consist of ..." },
	{ S "data: {'': ''}", "data[]", "Invalid value: \"\": a valid config key must consist of ..." },
	{ S "data: {.: ''}", "data[.]", "Invalid value: \".\": must not be '.'" },
	{ S "data: {..: ''}", "data[..]", "Invalid value: \"..\": must not be '..'" },
	{ S "data: {..a: ''}", "data[..a]", "Invalid value: \"..a\": must not start with '..'" },
	{ S "data: {a/b: ''}", "data[a/b]", "Invalid value: \"a/b\": ..." },
	{ S "stringData: {a b: ''}", "stringData[a b]", "Invalid value: \"a b\": ..." },
	{ S "stringData: {..2026: ''}", "stringData[..2026]", "Invalid value: \"..2026\": must not start with '..'" },
	/* values */
	{ S "data: {a: 1}", "data.a", MUST_BE_STRING },
	{ S "data: {a: {}}", "data.a", MUST_BE_STRING },
	{ S "stringData: {port: 8080}", "stringData.port", MUST_BE_STRING },
	{ S "stringData: {tls.crt: yes}", "stringData[tls.crt]", MUST_BE_STRING },
	/* types; "e30=" is {}, "W10=" is [] */
	{ S "type: kubernetes.io/tls\ndata: {tls.crt: '', tls.key: ''}", NULL, NULL },
	{ S "type: kubernetes.io/tls\nstringData: {tls.crt: a, tls.key: b}", NULL, NULL },
	{ S "type: kubernetes.io/tls", "data[tls.crt]", "Required value" },
	{ S "type: kubernetes.io/tls\ndata: {tls.crt: ''}", "data[tls.key]", "Required value" },
	{ S "type: kubernetes.io/tls\ndata: {tls.key: ''}", "data[tls.crt]", "Required value" },
	{ S "type: kubernetes.io/basic-auth\ndata: {username: ''}", NULL, NULL },
	{ S "type: kubernetes.io/basic-auth\nstringData: {password: x}", NULL, NULL },
	{ S "type: kubernetes.io/basic-auth\ndata: {user: ''}", "data.username", "Required value (or data.password)" },
	{ S "type: kubernetes.io/ssh-auth\ndata: {ssh-privatekey: YQ==}", NULL, NULL },
	{ S "type: kubernetes.io/ssh-auth\ndata: {ssh-privatekey: ''}", "data.ssh-privatekey", "Required value" },
	{ S "type: kubernetes.io/ssh-auth", "data.ssh-privatekey", "Required value" },
	{ S "type: kubernetes.io/dockerconfigjson\ndata: {.dockerconfigjson: e30=}", NULL, NULL },
	{ S "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: '{\"auths\": {}}'}", NULL, NULL },
	{ S "type: kubernetes.io/dockerconfigjson\ndata: {.dockercfg: e30=}", "data[.dockerconfigjson]",
	  "Required value" },
	{ S "type: kubernetes.io/dockerconfigjson\ndata: {.dockerconfigjson: ''}", "data[.dockerconfigjson]",
	  REDACTED },
	{ S "type: kubernetes.io/dockerconfigjson\ndata: {.dockerconfigjson: ~}", "data[.dockerconfigjson]", REDACTED },
	{ S "type: kubernetes.io/dockerconfigjson\ndata: {.dockerconfigjson: W10=}", "data[.dockerconfigjson]",
	  REDACTED },
	{ S "type: kubernetes.io/dockerconfigjson\ndata: {.dockerconfigjson: '{}'}", "data[.dockerconfigjson]",
	  REDACTED },
	{ S "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: bad}", "data[.dockerconfigjson]",
	  REDACTED },
	{ S "type: kubernetes.io/dockercfg\ndata: {.dockercfg: e30=}", NULL, NULL },
	{ S "type: kubernetes.io/dockercfg\nstringData: {.dockercfg: '{'}", "data[.dockercfg]", REDACTED },
	{ S "type: kubernetes.io/dockercfg", "data[.dockercfg]", "Required value" },
	/* as Go decodes into a map */
	{ S "type: kubernetes.io/dockercfg\nstringData: {.dockercfg: 'null'}", NULL, NULL },
	{ S "type: kubernetes.io/dockercfg\nstringData: {.dockercfg: '{\"a\": 1, \"a\": 99999999999999999999}'}", NULL,
	  NULL },
	{ S "type: kubernetes.io/dockercfg\nstringData: {.dockercfg: '{\"a\": \"\\u0000\"}'}", NULL, NULL },
	{ S "type: kubernetes.io/dockercfg\nstringData: {.dockercfg: '\"a\"'}", "data[.dockercfg]", REDACTED },
	{ S "type: kubernetes.io/dockercfg\nstringData: {.dockercfg: '{} {}'}", "data[.dockercfg]", REDACTED },
	{ S "type: kubernetes.io/dockercfg\nstringData: {.dockercfg: '1'}", "data[.dockercfg]", REDACTED },
	{ "metadata: {name: a, annotations: {kubernetes.io/service-account.name: x}}\n"
	  "type: kubernetes.io/service-account-token",
	  NULL, NULL },
	{ "metadata: {name: a, annotations: {kubernetes.io/service-account.name: ''}}\n"
	  "type: kubernetes.io/service-account-token",
	  "metadata.annotations[kubernetes.io/service-account.name]", "Required value" },
	{ S "type: kubernetes.io/service-account-token", "metadata.annotations[kubernetes.io/service-account.name]",
	  "Required value" },
};

static void secrets_follow_the_rules(void **state)
{
	expect_refusals(validate_secret, SECRETS, ARRAY_SIZE(SECRETS));
}

static void a_secret_is_defaulted(void **state)
{
	cleanup_json json_t *obj = read_json("metadata: {name: a}");
	cleanup_json json_t *wanted = read_json("metadata: {name: a, namespace: default}\ntype: Opaque\ndata: {}");

	assert_int_equal(validate_secret(obj, NULL), 0);
	assert_true(json_equal(obj, wanted));
}

static void string_data_is_laid_over_data(void **state)
{
	cleanup_json json_t *obj = read_json(S "data: {a: b25l, b: dHdv}\nstringData: {b: \"x\\0y\", c: '', d: ~}");
	cleanup_json json_t *wanted = read_json("metadata: {name: a, namespace: default}\ntype: Opaque\n"
						"data: {a: b25l, b: eAB5, c: '', d: ''}");

	assert_int_equal(validate_secret(obj, NULL), 0);
	assert_true(json_equal(obj, wanted));
}

static void a_value_never_gets_into_an_issue(void **state)
{
	static const char *const texts[] = {
		S "stringData: {'a*': HUNTER2}",
		S "type: kubernetes.io/dockercfg\nstringData: {.dockercfg: HUNTER2}",
		S "type: kubernetes.io/tls\nstringData: {a: HUNTER2}",
		S "data: {a: [HUNTER2]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		cleanup_json json_t *obj = read_json(texts[i]);
		struct json_issue issue;

		assert_int_equal(validate_secret(obj, &issue), -EINVAL);
		assert_null(strstr(issue.path, "HUNTER2"));
		assert_null(strstr(issue.reason, "HUNTER2"));
	}
}

/* ---- updates ---- */

static const struct {
	const char *old, *fresh, *path, *reason;
} UPDATES[] = {
	{ "data: {k: YQ==}", "data: {k: Yg==}", NULL, NULL },
	{ "data: {k: YQ==}", "data: {k: YQ==}\nimmutable: true", NULL, NULL },
	{ "immutable: true", "immutable: true", NULL, NULL },
	{ "immutable: true\ndata: {k: YQ==}", "immutable: true\nstringData: {k: a}", NULL, NULL },
	{ "type: Opaque", "{}", NULL, NULL },
	{ "type: Opaque", "type: x", "type", "Invalid value: \"x\": field is immutable" },
	{ "immutable: true", "type: x", "type", "Invalid value: \"x\": field is immutable" },
	{ "immutable: true", "immutable: false", "immutable", "Forbidden: field is immutable when `immutable` is set" },
	{ "immutable: true", "{}", "immutable", "Forbidden: field is immutable when `immutable` is set" },
	{ "immutable: true\ndata: {k: YQ==}", "immutable: true\ndata: {k: Yg==}", "data",
	  "Forbidden: field is immutable when `immutable` is set" },
	{ "immutable: true\ndata: {k: YQ==}", "immutable: true\ndata: {k: YWE=}", "data",
	  "Forbidden: field is immutable when `immutable` is set" },
	{ "immutable: true\ndata: {k: YQ==}", "immutable: true\ndata: {l: YQ==}", "data",
	  "Forbidden: field is immutable when `immutable` is set" },
	{ "immutable: true\ndata: {k: YQ==}", "immutable: true\ndata: {k: YQ==, l: ''}", "data",
	  "Forbidden: field is immutable when `immutable` is set" },
	{ "immutable: true\ndata: {k: ''}", "immutable: true", "data",
	  "Forbidden: field is immutable when `immutable` is set" },
};

static struct secret *secret_of(const char *text)
{
	cleanup_json json_t *obj = read_json(text);
	struct json_issue issue;
	struct secret *s = NULL;

	json_object_set_new(obj, "metadata", json_pack("{s:s}", "name", "a"));
	assert_int_equal(validate_secret(obj, &issue), 0);
	assert_int_equal(codec_secret(obj, &s, &issue), 0);
	return s;
}

struct told {
	char paths[512];
};

static int tell(void *userdata, const struct json_issue *issue)
{
	struct told *t = userdata;
	size_t len = strlen(t->paths);

	assert_string_equal(issue->reason, "unknown field; it has no effect");
	snprintf(t->paths + len, sizeof(t->paths) - len, "%s ", issue->path);
	return str_eq(issue->path, "spec.stop") ? -ENOMEM : 0;
}

static void fields_that_have_no_effect_are_told(void **state)
{
	static const struct {
		const char *text;
		enum validate_kind kind;
		const char *paths;
	} cases[] = {
		{ "metadata: {name: a, labels: {x: y}}\ndata: {k: ''}", VALIDATE_SECRET, "" },
		{ "metadata: {Name: a}\nspec: {}\nextra.field: 1\nstringdata: {}", VALIDATE_SECRET,
		  "spec [extra.field] metadata.Name " },
		{ "metadata: x\ndata: x", VALIDATE_SECRET, "" },
		{ "[]", VALIDATE_SECRET, "" },
		{ "kind: Pod\nspec: {containers: [{name: c, image: x, imagepullpolicy: y}], restart: 1, dnsPolicy: x}",
		  VALIDATE_POD, "spec.restart spec.containers[0].imagepullpolicy " },
		{ "data: {}\nspec: {initContainers: [{nam: c}, x], containers: x}", VALIDATE_POD,
		  "data spec.initContainers[0].nam " },
		{ "spec: {volumes: [{name: v, secrets: {}}, {name: w, emptydir: {}}]}", VALIDATE_POD,
		  "spec.volumes[1].emptydir " },
		{ "data: {}\nbinarydata: {}\nstringData: {}\ntype: x", VALIDATE_CONFIG_MAP, "stringData type " },
		{ "spec: {volumes: [{name: v, configmap: {}, Csi: {}}]}", VALIDATE_POD, "spec.volumes[0].Csi " },
		{ "spec: {stop: 1, after: 2}\n", VALIDATE_POD, "spec.stop " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_json json_t *obj = read_json(cases[i].text);
		struct told t = { "" };
		int r = validate_unknown_fields(obj, cases[i].kind, tell, &t);

		assert_string_equal(t.paths, cases[i].paths);
		assert_int_equal(r, strstr(cases[i].paths, "stop") ? -ENOMEM : 0);
	}
}

static void updates_follow_the_rules(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(UPDATES); i++) {
		cleanup_secret_object struct secret *old = secret_of(UPDATES[i].old),
						    *fresh = secret_of(UPDATES[i].fresh);
		struct json_issue issue = { .path = "", .reason = "" };

		assert_int_equal(validate_secret_update(old, fresh, &issue), UPDATES[i].reason ? -EINVAL : 0);
		assert_string_equal(issue.path, UPDATES[i].path ? UPDATES[i].path : "");
		assert_string_equal(issue.reason, UPDATES[i].reason ? UPDATES[i].reason : "");
	}
}

static void the_size_is_limited(void **state)
{
	cleanup_free char *fits = malloc(SECRET_BYTES_MAX + 2);
	cleanup_secret_object struct secret *s = NULL;
	cleanup_json json_t *good = NULL, *bad = NULL;
	struct json_issue issue;

	memset(fits, 'x', SECRET_BYTES_MAX + 1);
	fits[SECRET_BYTES_MAX + 1] = '\0';
	bad = json_pack("{s:{s:s},s:{s:s}}", "metadata", "name", "a", "stringData", "k", fits);
	fits[SECRET_BYTES_MAX] = '\0';
	good = json_pack("{s:{s:s},s:{s:s}}", "metadata", "name", "a", "stringData", "k", fits);
	assert_int_equal(validate_secret(good, &issue), 0);
	assert_int_equal(codec_secret(good, &s, &issue), 0);
	assert_int_equal(validate_secret(bad, &issue), 0);
	assert_int_equal(codec_secret(bad, &s, &issue), -EINVAL);
	assert_string_equal(issue.path, "data");
	assert_string_equal(issue.reason, "Too long: may not be more than 1048576 bytes");
}

/* ---- ConfigMap ---- */

static const struct refusal CONFIG_MAPS[] = {
	{ S "apiVersion: v1\nkind: ConfigMap\nimmutable: true\ndata: {a: x}\nbinaryData: {b: AA==}", NULL, NULL },
	{ S "data: ~\nbinaryData: ~\nimmutable: ~", NULL, NULL },
	{ S "data: {.key: '', a-B_c.1: ~}", NULL, NULL },
	{ S "unknown: 1", NULL, NULL },
	{ "data: {}", "metadata.name", "Required value" },
	{ S "data: []", "data", "expected an object, found an array" },
	{ S "data: {a: 1}", "data.a", MUST_BE_STRING },
	{ S "binaryData: {a: true}", "binaryData.a", MUST_BE_STRING },
	{ S "data: {a/b: x}", "data[a/b]", "Invalid value: \"a/b\": a valid config key must ..." },
	{ S "binaryData: {..b: x}", "binaryData[..b]", "Invalid value: \"..b\": must not start with '..'" },
	{ S "data: {a: x, b: x}\nbinaryData: {b: AA==}", "data.b",
	  "Invalid value: \"b\": duplicate of key present in binaryData" },
	{ S "immutable: 1", "immutable", "expected a boolean, found a number" },
	{ S "BinaryData: {}", "BinaryData", "unknown field; `binaryData` is meant?" },
};

static void config_maps_are_refused_as_by_the_server(void **state)
{
	expect_refusals(validate_config_map, CONFIG_MAPS, ARRAY_SIZE(CONFIG_MAPS));
}

/* ---- Pod ---- */

#define P		    "metadata: {name: a}\n"
#define C		    "containers: [{name: c}]"
#define VOLUME(text)	    P "spec: {" C ", volumes: [{name: v, secret: {" text "}}]}"
#define ITEM(text)	    VOLUME("secretName: s, items: [{key: k, path: p}, {" text "}]")
#define CONFIG_VOLUME(text) P "spec: {" C ", volumes: [{name: v, configMap: {" text "}}]}"
#define DOWNWARD(text)	    P "spec: {" C ", volumes: [{name: v, downwardAPI: {items: [{path: p, " text "}]}}]}"
#define PROJECTED(text)	    P "spec: {" C ", volumes: [{name: v, projected: {" text "}}]}"
#define SOURCE(text)	    PROJECTED("sources: [{secret: {name: s, items: [{key: k, path: p}]}}, {" text "}]")
#define MOUNT(text)                                                                                                    \
	P "spec: {volumes: [{name: v}], containers: [{name: c, volumeMounts: [{name: v, mountPath: /a}, {" text "}]}]" \
	  "}"
#define MODE_RULE   ": must be a number between 0 and 0777 (octal), both inclusive"
#define AT_VOLUME   "spec.volumes[0].secret."
#define AT_ITEM	    "spec.volumes[0].secret.items[1]."
#define AT_CONFIG   "spec.volumes[0].configMap."
#define AT_DOWNWARD "spec.volumes[0].downwardAPI.items[0]"
#define AT_PROJ	    "spec.volumes[0].projected"
#define AT_SOURCE   AT_PROJ ".sources[1]"
#define AT_MOUNT    "spec.containers[0].volumeMounts[1]."

static const struct refusal PODS[] = {
	{ P "spec: {" C "}", NULL, NULL },
	{ P "spec: {" C ", nodeName: n.example, dnsPolicy: x, unknown: {a: 1}}", NULL, NULL },
	{ P "spec: {" C ", nodeName: ''}", NULL, NULL },
	{ P, "spec", "Required value" },
	{ P "spec: []", "spec", "expected an object, found an array" },
	{ P "spec: {}", "spec.containers", "Required value" },
	{ P "spec: {containers: []}", "spec.containers", "Required value" },
	{ P "spec: {containers: ~, initContainers: [{name: c}]}", "spec.containers", "Required value" },
	{ P "spec: {containers: {}}", "spec.containers", "expected an array, found an object" },
	{ P "spec: {" C ", nodeName: Node}", "spec.nodeName", SUBDOMAIN("Node") },
	/* containers */
	{ P "spec: {containers: [x]}", "spec.containers[0]", "must be an object" },
	{ P "spec: {containers: [{}]}", "spec.containers[0].name", "Required value" },
	{ P "spec: {containers: [{name: ''}]}", "spec.containers[0].name", "Required value" },
	{ P "spec: {containers: [{name: A}]}", "spec.containers[0].name", LABEL("A") },
	{ P "spec: {containers: [{name: a.b}]}", "spec.containers[0].name", LABEL("a.b") },
	{ P "spec: {containers: [{name: c}, {name: c}]}", "spec.containers[1].name", "Duplicate value: \"c\"" },
	{ P "spec: {" C ", initContainers: [{name: c}]}", "spec.containers[0].name", "Duplicate value: \"c\"" },
	{ P "spec: {" C ", ephemeralContainers: [{name: c}]}", "spec.ephemeralContainers[0].name",
	  "Duplicate value: \"c\"" },
	/* volumes */
	{ P "spec: {" C ", volumes: [{name: v}, {name: w, emptyDir: {}}, {name: x, hostPath: {}, secret: ~}]}", NULL,
	  NULL },
	{ P "spec: {" C ", volumes: [x]}", "spec.volumes[0]", "must be an object" },
	{ P "spec: {" C ", volumes: [{}]}", "spec.volumes[0].name", "Required value" },
	{ P "spec: {" C ", volumes: [{name: V}]}", "spec.volumes[0].name", LABEL("V") },
	{ P "spec: {" C ", volumes: [{name: ../v}]}", "spec.volumes[0].name", LABEL("../v") },
	{ P "spec: {" C ", volumes: [{name: v}, {name: v}]}", "spec.volumes[1].name", "Duplicate value: \"v\"" },
	{ P "spec: {" C ", volumes: [{name: v, emptyDir: {}, secret: {secretName: s}}]}", "spec.volumes[0].secret",
	  "Forbidden: may not specify more than 1 volume type" },
	{ P "spec: {" C ", volumes: [{name: v, secretName: s}]}", "spec.volumes[0].secretName",
	  "unknown field; `secret` is meant?" },
	{ P "spec: {" C ", volumes: [{name: v, Secret: {secretName: s}}]}", "spec.volumes[0].Secret",
	  "unknown field; `secret` is meant?" },
	{ P "spec: {" C ", volumes: [{name: v, secrets: ~}]}", "spec.volumes[0].secrets",
	  "unknown field; `secret` is meant?" },
	{ P "spec: {" C ", volumes: [{name: v, somethingNew: {}}]}", NULL, NULL },
	{ P "spec: {" C ", volumes: [{name: v, secret: x}]}", "spec.volumes[0].secret",
	  "expected an object, found a string" },
	/* secret volumes */
	{ VOLUME("secretName: s"), NULL, NULL },
	{ VOLUME("secretName: s, defaultMode: 0777, optional: true, items: []"), NULL, NULL },
	{ VOLUME("secretName: s, defaultMode: 0"), NULL, NULL },
	{ VOLUME(""), AT_VOLUME "secretName", "Required value" },
	{ VOLUME("secretName: ''"), AT_VOLUME "secretName", "Required value" },
	{ VOLUME("secretname: s"), AT_VOLUME "secretname", "unknown field" },
	{ VOLUME("name: s"), AT_VOLUME "name", "unknown field" },
	{ VOLUME("secretName: A"), AT_VOLUME "secretName", SUBDOMAIN("A") },
	{ VOLUME("secretName: a/b"), AT_VOLUME "secretName", SUBDOMAIN("a/b") },
	{ VOLUME("secretName: s, defaultMode: 01000"), AT_VOLUME "defaultMode", "Invalid value: 512" MODE_RULE },
	{ VOLUME("secretName: s, defaultMode: -1"), AT_VOLUME "defaultMode", "Invalid value: -1" MODE_RULE },
	{ VOLUME("secretName: s, defaultMode: 644"), AT_VOLUME "defaultMode", "Invalid value: 644" MODE_RULE },
	{ VOLUME("secretName: s, defaultMode: '0644'"), AT_VOLUME "defaultMode",
	  "expected an integer, found a string" },
	{ VOLUME("secretName: s, defaultMode: 0.5"), AT_VOLUME "defaultMode",
	  "expected an integer, found a number ..." },
	{ VOLUME("secretName: s, optional: 'yes'"), AT_VOLUME "optional", "expected a boolean, found a string" },
	{ VOLUME("secretName: s, items: {}"), AT_VOLUME "items", "expected an array, found an object" },
	/* items */
	{ ITEM("key: k, path: a/b/..c, mode: 0400"), NULL, NULL },
	{ ITEM("key: k, path: p"), NULL, NULL },
	{ ITEM(""), AT_ITEM "key", "Required value" },
	{ ITEM("path: p"), AT_ITEM "key", "Required value" },
	{ ITEM("key: k"), AT_ITEM "path", "Required value" },
	{ ITEM("key: k, path: ''"), AT_ITEM "path", "Required value" },
	{ ITEM("key: k, path: /p"), AT_ITEM "path", "Invalid value: \"/p\": must be a relative path" },
	{ ITEM("key: k, path: ../foo"), AT_ITEM "path", "Invalid value: \"../foo\": must not contain '..'" },
	{ ITEM("key: k, path: foo/../bar"), AT_ITEM "path", "Invalid value: \"foo/../bar\": must not contain '..'" },
	{ ITEM("key: k, path: foo/.."), AT_ITEM "path", "Invalid value: \"foo/..\": must not contain '..'" },
	{ ITEM("key: k, path: ..foo"), AT_ITEM "path", "Invalid value: \"..foo\": must not start with '..'" },
	{ ITEM("key: k, path: ..."), AT_ITEM "path", "Invalid value: \"...\": must not start with '..'" },
	{ ITEM("key: k, path: p, mode: 01000"), AT_ITEM "mode", "Invalid value: 512" MODE_RULE },
	{ ITEM("key: k, path: p, defaultMode: 0400"), AT_ITEM "defaultMode", "unknown field" },
	{ ITEM("key: 1, path: p"), AT_ITEM "key", "expected a string, found a number" },
	/* configMap volumes */
	{ CONFIG_VOLUME("name: s"), NULL, NULL },
	{ CONFIG_VOLUME("name: s, defaultMode: 0400, optional: true, items: [{key: k, path: p, mode: 0}]"), NULL,
	  NULL },
	{ CONFIG_VOLUME(""), AT_CONFIG "name", "Required value" },
	{ CONFIG_VOLUME("name: a/b"), AT_CONFIG "name", SUBDOMAIN("a/b") },
	{ CONFIG_VOLUME("configMapName: s"), AT_CONFIG "configMapName", "unknown field" },
	{ CONFIG_VOLUME("name: s, defaultMode: 01000"), AT_CONFIG "defaultMode", "Invalid value: 512" MODE_RULE },
	{ CONFIG_VOLUME("name: s, items: [{key: k}]"), AT_CONFIG "items[0].path", "Required value" },
	{ P "spec: {" C ", volumes: [{name: v, configMap: {name: s}, secret: {secretName: s}}]}",
	  "spec.volumes[0].secret", "Forbidden: may not specify more than 1 volume type" },
	{ P "spec: {" C ", volumes: [{name: v, configmap: {name: s}}]}", "spec.volumes[0].configmap",
	  "unknown field; `configMap` is meant?" },
	/* downwardAPI volumes */
	{ DOWNWARD("fieldRef: {fieldPath: metadata.labels}, mode: 0400"), NULL, NULL },
	{ DOWNWARD("fieldRef: {apiVersion: v1, fieldPath: \"metadata.annotations['X.y/z']\"}"), NULL, NULL },
	{ DOWNWARD("resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 1m}"), NULL, NULL },
	{ DOWNWARD("resourceFieldRef: {containerName: c, resource: limits.memory, divisor: 1}"), NULL, NULL },
	{ DOWNWARD("resourceFieldRef: {containerName: c, resource: requests.hugepages-2Mi, divisor: 1Mi}"), NULL,
	  NULL },
	{ DOWNWARD(""), AT_DOWNWARD, "Required value: one of fieldRef and resourceFieldRef is required" },
	{ DOWNWARD("fieldRef: {fieldPath: metadata.uid}, resourceFieldRef: {containerName: c, resource: limits.cpu}"),
	  AT_DOWNWARD,
	  "Invalid value: \"resource\": fieldRef and resourceFieldRef can not be specified simultaneously" },
	{ DOWNWARD("fieldRef: {}"), AT_DOWNWARD ".fieldRef.fieldPath", "Required value" },
	{ DOWNWARD("fieldRef: {fieldPath: spec.nodeName}"), AT_DOWNWARD ".fieldRef.fieldPath",
	  "Unsupported value: \"spec.nodeName\": ..." },
	{ DOWNWARD("fieldRef: {fieldPath: \"metadata.labels['a/b/c']\"}"), AT_DOWNWARD ".fieldRef.fieldPath",
	  QUALIFIED("a/b/c") },
	{ DOWNWARD("resourceFieldRef: {resource: limits.cpu}"), AT_DOWNWARD ".resourceFieldRef.containerName",
	  "Required value" },
	{ DOWNWARD("resourceFieldRef: {containerName: c, resource: cpu}"), AT_DOWNWARD ".resourceFieldRef.resource",
	  "Unsupported value: \"cpu\": ..." },
	{ DOWNWARD("resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 1k}"),
	  AT_DOWNWARD ".resourceFieldRef.divisor",
	  "Invalid value: \"1k\": only divisor's values 1m and 1 are supported with the cpu resource" },
	{ DOWNWARD("key: k, fieldRef: {fieldPath: metadata.uid}"), AT_DOWNWARD ".key", "unknown field" },
	{ SOURCE("downwardAPI: {items: [{path: p, fieldRef: {fieldPath: metadata.uid}}]}"), AT_PROJ,
	  "Invalid value: \"p\": conflicting duplicate paths" },
	/* tokens */
	{ SOURCE("serviceAccountToken: {path: t, audience: a, expirationSeconds: 600}"), NULL, NULL },
	{ SOURCE("serviceAccountToken: {path: p}"), NULL, NULL }, /* not looked at, as in 1.20 */
	{ SOURCE("serviceAccountToken: {}"), AT_SOURCE ".serviceAccountToken.path", "Required value" },
	{ SOURCE("serviceAccountToken: {path: ../t}"), AT_SOURCE ".serviceAccountToken.path",
	  "Invalid value: \"../t\": must not contain '..'" },
	{ SOURCE("serviceAccountToken: {path: t, expirationSeconds: 599}"),
	  AT_SOURCE ".serviceAccountToken.expirationSeconds",
	  "Invalid value: 599: may not specify a duration less than 10 minutes" },
	{ SOURCE("serviceAccountToken: {path: t, expirationSeconds: 4294967297}"),
	  AT_SOURCE ".serviceAccountToken.expirationSeconds",
	  "Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds" },
	{ SOURCE("serviceAccountToken: {path: t, mode: 0400}"), AT_SOURCE ".serviceAccountToken.mode",
	  "unknown field" },
	/* projected volumes */
	{ PROJECTED(""), NULL, NULL },
	{ PROJECTED("sources: ~, defaultMode: 0400"), NULL, NULL },
	{ PROJECTED("sources: []"), NULL, NULL },
	{ PROJECTED("sources: {}"), AT_PROJ ".sources", "expected an array, found an object" },
	{ PROJECTED("sources: [x]"), AT_PROJ ".sources[0]", "must be an object" },
	{ PROJECTED("defaultMode: 01000"), AT_PROJ ".defaultMode", "Invalid value: 512" MODE_RULE },
	{ PROJECTED("secretName: s"), AT_PROJ ".secretName", "unknown field" },
	{ P "spec: {" C ", volumes: [{name: v, secret: {secretName: s}, projected: {}}]}", "spec.volumes[0].projected",
	  "Forbidden: may not specify more than 1 volume type" },
	{ SOURCE("secret: {name: t}"), NULL, NULL },
	{ SOURCE("secret: {name: s, optional: true, items: [{key: k, path: q, mode: 0440}]}"), NULL, NULL },
	{ SOURCE("clusterTrustBundle: {path: x}"), NULL, NULL },
	{ SOURCE("secret: {name: t}, clusterTrustBundle: {path: x}"), AT_SOURCE ".clusterTrustBundle",
	  "Forbidden: may not specify more than 1 volume type" },
	{ SOURCE("secret: {name: t}, configMap: {name: t}"), AT_SOURCE ".configMap",
	  "Forbidden: may not specify more than 1 volume type" },
	{ SOURCE("configMap: {name: t, optional: true, items: [{key: k, path: q}]}"), NULL, NULL },
	{ SOURCE("configMap: {items: []}"), AT_SOURCE ".configMap.name", "Required value" },
	{ SOURCE("configMap: {name: t, items: [{key: k, path: p}]}"), AT_PROJ,
	  "Invalid value: \"p\": conflicting duplicate paths" },
	{ SOURCE("configmap: {name: t}"), AT_SOURCE ".configmap", "unknown field; `configMap` is meant?" },
	{ SOURCE("Secret: {name: t}"), AT_SOURCE ".Secret", "unknown field; `secret` is meant?" },
	{ SOURCE("secrets: {name: t}"), AT_SOURCE ".secrets", "unknown field; `secret` is meant?" },
	{ SOURCE("secret: {}"), AT_SOURCE ".secret.name", "Required value" },
	{ SOURCE("secret: {secretName: t}"), AT_SOURCE ".secret.secretName", "unknown field" },
	{ SOURCE("secret: {name: t, defaultMode: 0400}"), AT_SOURCE ".secret.defaultMode", "unknown field" },
	{ SOURCE("secret: {name: A}"), AT_SOURCE ".secret.name", SUBDOMAIN("A") },
	{ SOURCE("secret: {name: t, optional: 1}"), AT_SOURCE ".secret.optional",
	  "expected a boolean, found a number" },
	{ SOURCE("secret: {name: t, items: [{key: k}]}"), AT_SOURCE ".secret.items[0].path", "Required value" },
	{ SOURCE("secret: {name: t, items: [{key: k, path: ../p}]}"), AT_SOURCE ".secret.items[0].path",
	  "Invalid value: \"../p\": must not contain '..'" },
	/* a path of two items, of whatever source; a whole Secret's keys are not looked at */
	{ SOURCE("secret: {name: t, items: [{key: k, path: p}]}"), AT_PROJ,
	  "Invalid value: \"p\": conflicting duplicate paths" },
	{ SOURCE("secret: {name: t, items: [{key: k, path: q}, {key: l, path: q}]}"), AT_PROJ,
	  "Invalid value: \"q\": conflicting duplicate paths" },
	/* mounts */
	{ MOUNT("name: v, mountPath: /b, subPath: x/y, readOnly: true, mountPropagation: None, recursiveReadOnly: "
		"Disabled"),
	  NULL, NULL },
	{ MOUNT("name: v, mountPath: relative"), NULL, NULL },
	{ MOUNT(""), AT_MOUNT "name", "Required value" },
	{ MOUNT("name: w, mountPath: /b"), AT_MOUNT "name", "Not found: \"w\"" },
	{ MOUNT("name: v"), AT_MOUNT "mountPath", "Required value" },
	{ MOUNT("name: v, mountPath: ''"), AT_MOUNT "mountPath", "Required value" },
	{ MOUNT("name: v, mountPath: /a"), AT_MOUNT "mountPath", "Invalid value: \"/a\": must be unique" },
	{ MOUNT("name: v, mountpath: /b"), AT_MOUNT "mountpath", "unknown field" },
	{ MOUNT("name: v, mountPath: /b, subPath: /x"), AT_MOUNT "subPath",
	  "Invalid value: \"/x\": must be a relative path" },
	{ MOUNT("name: v, mountPath: /b, subPath: x/../y"), AT_MOUNT "subPath",
	  "Invalid value: \"x/../y\": must not contain '..'" },
	{ MOUNT("name: v, mountPath: /b, subPathExpr: ../$(X)"), AT_MOUNT "subPathExpr",
	  "Invalid value: \"../$(X)\": must not contain '..'" },
	{ MOUNT("name: v, mountPath: /b, subPath: x, subPathExpr: z"), AT_MOUNT "subPathExpr",
	  "Invalid value: \"z\": subPathExpr and subPath are mutually exclusive" },
	{ P "spec: {containers: [{name: c, volumeMounts: x}]}", "spec.containers[0].volumeMounts",
	  "expected an array, found a string" },
	{ P "spec: {" C ", initContainers: [{name: i, volumeMounts: [{name: v, mountPath: /a}]}]}",
	  "spec.initContainers[0].volumeMounts[0].name", "Not found: \"v\"" },
};

#define ENV(text)	 P "spec: {containers: [{name: c, env: [{" text "}]}]}"
#define FROM(text)	 P "spec: {containers: [{name: c, envFrom: [{" text "}]}]}"
#define VALUE_FROM(text) ENV("name: A, valueFrom: {" text "}")
#define AT_ENV		 "spec.containers[0].env[0]."
#define AT_FROM		 "spec.containers[0].envFrom[0]"
#define NAME_RULE	 ": a valid environment variable name must consist only of printable ASCII characters other than '='"
#define NOT_ALONE	 "Invalid value: \"\": may not have more than one field specified at a time"

static const struct refusal ENVIRONMENTS[] = {
	{ ENV("name: A, value: x"), NULL, NULL },
	{ ENV("name: my.env-name_1, value: ''"), NULL, NULL },
	{ ENV("name: A, value: x, valueFrom: ~"), NULL, NULL },
	{ ENV("value: x"), AT_ENV "name", "Required value" },
	{ ENV("name: ''"), AT_ENV "name", "Required value" },
	{ ENV("name: 1A"), NULL, NULL },
	{ ENV("name: '#a (b):*~'"), NULL, NULL },
	{ ENV("name: ..a"), NULL, NULL },
	{ ENV("name: A=B"), AT_ENV "name", "Invalid value: \"A=B\"" NAME_RULE },
	{ ENV("name: '='"), AT_ENV "name", "Invalid value: \"=\"" NAME_RULE },
	{ ENV("name: \xc3\xa9"), AT_ENV "name", "Invalid value: \"\xc3\xa9\"" NAME_RULE },
	{ ENV("name: \"a\\x7f\""), AT_ENV "name", "Invalid value: \"a\x7f\"" NAME_RULE },
	{ ENV("name: A, value: 1"), AT_ENV "value", "expected a string, found a number" },
	{ ENV("name: A, Value: x"), AT_ENV "Value", "unknown field" },
	{ P "spec: {containers: [{name: c, env: {A: x}}]}", "spec.containers[0].env",
	  "expected an array, found an object" },
	{ P "spec: {containers: [{name: c, env: [x]}]}", "spec.containers[0].env[0]", "must be an object" },
	{ P "spec: {" C ", initContainers: [{name: i, env: [{name: '*='}]}]}", "spec.initContainers[0].env[0].name",
	  "Invalid value: \"*=\"" NAME_RULE },
	/* exactly one source */
	{ VALUE_FROM(""), AT_ENV "valueFrom",
	  "Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or "
	  "`secretKeyRef`" },
	{ VALUE_FROM("secretKeyRef: {name: s, key: k}, configMapKeyRef: {name: s, key: k}"), AT_ENV "valueFrom",
	  NOT_ALONE },
	{ ENV("name: A, value: x, valueFrom: {secretKeyRef: {name: s, key: k}}"), AT_ENV "valueFrom",
	  "Invalid value: \"\": may not be specified when `value` is not empty" },
	{ ENV("name: A, value: '', valueFrom: {secretKeyRef: {name: s, key: k}}"), NULL, NULL },
	/* keys */
	{ VALUE_FROM("secretKeyRef: {name: s, key: k.1, optional: true}"), NULL, NULL },
	{ VALUE_FROM("configMapKeyRef: {name: s, key: k}"), NULL, NULL },
	{ VALUE_FROM("secretKeyRef: {key: k}"), AT_ENV "valueFrom.secretKeyRef.name", "Required value" },
	{ VALUE_FROM("secretKeyRef: {name: s}"), AT_ENV "valueFrom.secretKeyRef.key", "Required value" },
	{ VALUE_FROM("configMapKeyRef: {name: s, key: a/b}"), AT_ENV "valueFrom.configMapKeyRef.key",
	  "Invalid value: \"a/b\": a valid config key must consist of ..." },
	{ VALUE_FROM("secretKeyRef: {name: s, key: k, optional: 1}"), AT_ENV "valueFrom.secretKeyRef.optional",
	  "expected a boolean, found a number" },
	{ VALUE_FROM("secretKeyRef: {name: s, key: k, optinal: true}"), AT_ENV "valueFrom.secretKeyRef.optinal",
	  "unknown field" },
	/* fields */
	{ VALUE_FROM("fieldRef: {fieldPath: metadata.name}"), NULL, NULL },
	{ VALUE_FROM("fieldRef: {apiVersion: v1, fieldPath: status.podIPs}"), NULL, NULL },
	{ VALUE_FROM("fieldRef: {fieldPath: spec.serviceAccountName}"), NULL, NULL },
	{ VALUE_FROM("fieldRef: {fieldPath: \"metadata.labels['a.b/c']\"}"), NULL, NULL },
	{ VALUE_FROM("fieldRef: {fieldPath: \"metadata.annotations['A.B/c']\"}"), NULL, NULL },
	{ VALUE_FROM("fieldRef: {fieldPath: metadata.labels}"), AT_ENV "valueFrom.fieldRef.fieldPath",
	  "Unsupported value: \"metadata.labels\": supported values: \"metadata.name\", ..." },
	{ VALUE_FROM("fieldRef: {fieldPath: status.phase}"), AT_ENV "valueFrom.fieldRef.fieldPath",
	  "Unsupported value: \"status.phase\": supported values: ..." },
	{ VALUE_FROM("fieldRef: {fieldPath: \"metadata.labels['a b']\"}"), AT_ENV "valueFrom.fieldRef.fieldPath",
	  "Invalid value: \"a b\": a qualified name must ..." },
	{ VALUE_FROM("fieldRef: {}"), AT_ENV "valueFrom.fieldRef.fieldPath", "Required value" },
	/* resources */
	{ VALUE_FROM("resourceFieldRef: {resource: limits.cpu}"), NULL, NULL },
	{ VALUE_FROM("resourceFieldRef: {containerName: c, resource: limits.memory, divisor: 1Mi}"), NULL, NULL },
	{ VALUE_FROM("resourceFieldRef: {}"), AT_ENV "valueFrom.resourceFieldRef.resource", "Required value" },
	{ VALUE_FROM("resourceFieldRef: {resource: limits.gpu}"), AT_ENV "valueFrom.resourceFieldRef.resource",
	  "Unsupported value: \"limits.gpu\": ..." },
	{ VALUE_FROM("resourceFieldRef: {resource: limits.cpu, divisor: 1Mi}"),
	  AT_ENV "valueFrom.resourceFieldRef.divisor",
	  "Invalid value: \"1Mi\": only divisor's values 1m and 1 are supported with the cpu resource" },
	/* envFrom */
	{ FROM("secretRef: {name: s}"), NULL, NULL },
	{ FROM("prefix: P_, configMapRef: {name: s, optional: true}"), NULL, NULL },
	{ FROM("prefix: ''"), AT_FROM, "Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`" },
	{ FROM("secretRef: {name: s}, configMapRef: {name: s}"), AT_FROM, NOT_ALONE },
	{ FROM("prefix: 1, secretRef: {name: s}"), AT_FROM ".prefix", "expected a string, found a number" },
	{ FROM("prefix: 1a, secretRef: {name: s}"), NULL, NULL },
	{ FROM("prefix: A=, secretRef: {name: s}"), AT_FROM ".prefix", "Invalid value: \"A=\"" NAME_RULE },
	{ FROM("secretRef: {}"), AT_FROM ".secretRef.name", "Required value" },
	{ FROM("secretRef: {name: s, key: k}"), AT_FROM ".secretRef.key", "unknown field" },
	{ FROM("secretKeyRef: {name: s, key: k}"), AT_FROM ".secretKeyRef", "unknown field" },
	/* imagePullSecrets */
	{ P "spec: {" C ", imagePullSecrets: [{name: s}, {name: ''}, {}]}", NULL, NULL },
	{ P "spec: {" C ", imagePullSecrets: [s]}", "spec.imagePullSecrets[0]", "must be an object" },
	{ P "spec: {" C ", imagePullSecrets: [{name: 7}]}", "spec.imagePullSecrets[0].name",
	  "expected a string, found a number" },
	{ P "spec: {" C ", imagePullSecrets: [{name: s, namespace: x}]}", "spec.imagePullSecrets[0].namespace",
	  "unknown field" },
};

static void environments_follow_the_rules(void **state)
{
	expect_refusals(validate_pod, ENVIRONMENTS, ARRAY_SIZE(ENVIRONMENTS));
}

static void pods_follow_the_rules(void **state)
{
	expect_refusals(validate_pod, PODS, ARRAY_SIZE(PODS));
}

static void pods_have_metadata_too(void **state)
{
	struct refusal refusals[ARRAY_SIZE(META)];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(META); i++)
		if (META[i].reason)
			refusals[n++] = META[i];
	expect_refusals(validate_pod, refusals, n);
}

static void two_containers_may_mount_at_the_same_place(void **state)
{
	cleanup_json json_t *obj = read_json(P "spec: {volumes: [{name: v}], containers: [\n"
					       "{name: c, volumeMounts: [{name: v, mountPath: /a}]},\n"
					       "{name: d, volumeMounts: [{name: v, mountPath: /a}]}]}");

	assert_int_equal(validate_pod(obj, NULL), 0);
}

static void only_a_server_sets_status_and_deletion(void **state)
{
	cleanup_json json_t *obj = read_json("metadata: {name: a, deletionTimestamp: '2026-01-01T00:00:00Z'}\n"
					     "spec: {" C "}\nstatus: {phase: Succeeded}");
	cleanup_json json_t *wanted = read_json("metadata: {name: a, namespace: default}\nspec: {" C "}");

	assert_int_equal(validate_pod(obj, NULL), 0);
	assert_true(json_equal(obj, wanted));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_maps_are_refused_as_by_the_server),
		cmocka_unit_test(metadata_follows_the_rules),
		cmocka_unit_test(annotations_have_a_size_in_all),
		cmocka_unit_test(secrets_follow_the_rules),
		cmocka_unit_test(a_secret_is_defaulted),
		cmocka_unit_test(string_data_is_laid_over_data),
		cmocka_unit_test(a_value_never_gets_into_an_issue),
		cmocka_unit_test(fields_that_have_no_effect_are_told),
		cmocka_unit_test(updates_follow_the_rules),
		cmocka_unit_test(the_size_is_limited),
		cmocka_unit_test(pods_follow_the_rules),
		cmocka_unit_test(environments_follow_the_rules),
		cmocka_unit_test(pods_have_metadata_too),
		cmocka_unit_test(two_containers_may_mount_at_the_same_place),
		cmocka_unit_test(only_a_server_sets_status_and_deletion),
	};
	struct err e = ERR_INIT;

	json_setup();
	if (secmem_init(16 << 20, &e) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
