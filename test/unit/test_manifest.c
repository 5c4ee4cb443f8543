/* Manifest: one text -> its objects, and the sentences for what is refused. */
#include "agent/manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/buf.h"
#include "common/secmem.h"
#include "common/str.h"
#include "test/lib/starved.h"

struct parsed {
	struct manifest_object *objects;
	size_t n;
	uint64_t revision;
	struct err e;
};

static int parse(const char *text, struct parsed *p)
{
	*p = (struct parsed){ .e = ERR_INIT };
	return manifest_parse("f.yaml", text, strlen(text), NULL, &p->revision, &p->objects, &p->n, &p->e);
}

static struct parsed parse_good(const char *text)
{
	struct parsed p;

	if (parse(text, &p) < 0)
		fail_msg("%s", err_text(&p.e));
	return p;
}

static void forget(struct parsed *p)
{
	manifest_objects_free(p->objects, p->n);
}

#define SECRET(name) "apiVersion: v1\nkind: Secret\nmetadata: {name: " name "}\n"
#define POD(meta)    "apiVersion: v1\nkind: Pod\nmetadata: {" meta "}\nspec: {containers: [{name: c}]}\n"

static void objects_come_in_the_order_of_the_text(void **state)
{
	struct parsed p = parse_good("# first\n" SECRET("a") "---\n---\n" POD(
		"name: b, namespace: x") "---\n~\n---\n" SECRET("c") "stringData: {k: v}\n");

	assert_int_equal(p.n, 3);
	assert_int_equal(p.objects[0].kind, MANIFEST_SECRET);
	assert_string_equal(p.objects[0].key, "secret default/a");
	assert_int_equal(p.objects[0].line, 2);
	assert_non_null(p.objects[0].secret);
	assert_null(p.objects[0].problem);
	assert_int_equal(p.objects[1].kind, MANIFEST_POD);
	assert_string_equal(p.objects[1].key, "pod x/b");
	assert_int_equal(p.objects[1].line, 7);
	assert_string_equal(p.objects[1].pod->ns, "x");
	assert_non_null(p.objects[1].json);
	assert_string_equal(p.objects[2].secret->type, "Opaque");
	assert_int_equal(p.objects[2].secret->n_keys, 1);
	forget(&p);
}

static void config_maps_are_read(void **state)
{
	struct parsed p = parse_good("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: |\n    x: 1\n"
				     "binaryData: {b: AP8=}\n---\n" SECRET("a"));

	assert_int_equal(p.n, 2);
	assert_int_equal(p.objects[0].kind, MANIFEST_CONFIG_MAP);
	assert_string_equal(p.objects[0].key, "configmap default/a");
	assert_null(p.objects[0].problem);
	assert_int_equal(p.objects[0].secret->kind, OBJECT_CONFIG_MAP);
	assert_int_equal(p.objects[0].secret->n_keys, 2);
	assert_int_equal(secret_find_key(p.objects[0].secret, "k")->value.len, 5);
	assert_int_equal(secret_find_key(p.objects[0].secret, "b")->value.len, 2);
	assert_string_not_equal(p.objects[0].secret->uid, p.objects[1].secret->uid);
	forget(&p);
}

static void nothing_gives_nothing(void **state)
{
	static const char *const texts[] = { "",
					     "# x\n",
					     "---\n---\n",
					     "~\n",
					     "apiVersion: v1\nkind: List\n",
					     "apiVersion: v1\nkind: List\nitems: []\n" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct parsed p = parse_good(texts[i]);

		assert_int_equal(p.n, 0);
		forget(&p);
	}
}

static void a_uid_depends_on_the_name_alone(void **state)
{
	static const char hex[] = "0123456789abcdef-";
	struct parsed a = parse_good(POD("name: a")),
		      again = parse_good("# x\n" POD("namespace: default, name: a, labels: {}")),
		      other = parse_good(POD("name: b") "---\n" POD("name: a, namespace: x") "---\n" SECRET("a"));
	const char *uid = a.objects[0].pod->uid;

	assert_int_equal(strlen(uid), 36);
	assert_int_equal(strspn(uid, hex), 36);
	assert_true(uid[8] == '-' && uid[13] == '-' && uid[14] == '8' && uid[18] == '-' && uid[23] == '-');
	assert_string_equal(uid, again.objects[0].pod->uid);
	assert_string_not_equal(uid, other.objects[0].pod->uid);
	assert_string_not_equal(uid, other.objects[1].pod->uid);
	assert_string_not_equal(uid, other.objects[2].secret->uid);
	/* it must not change from one release to the next: it names the pod's folder */
	assert_string_equal(uid, "40281ec4-0934-8eed-9984-edbfbf2fb697");
	forget(&a);
	forget(&again);
	forget(&other);
}

static void a_uid_that_is_given_is_taken(void **state)
{
	struct parsed p = parse_good(POD("name: a, uid: 5f0a-1") "---\n" POD("name: b, uid: ~"));

	assert_string_equal(p.objects[0].pod->uid, "5f0a-1");
	assert_int_equal(strlen(p.objects[1].pod->uid), 36);
	forget(&p);
}

static void revisions_count_on(void **state)
{
	struct parsed p = parse_good(SECRET("a") "---\n" POD("name: b, resourceVersion: '77'"));

	assert_string_equal(p.objects[0].secret->resource_version, "1");
	assert_string_equal(p.objects[1].pod->resource_version, "2");
	assert_null(json_object_get(json_object_get(p.objects[1].json, "metadata"), "resourceVersion"));
	assert_int_equal(p.revision, 2);
	forget(&p);
}

static const struct {
	const char *text, *key, *problem;
} REFUSED[] = {
	/* no object at all */
	{ "words\n", NULL, "f.yaml:1:1: object: must be a mapping (`field: value` lines)" },
	{ "- a\n", NULL, "f.yaml:1:1: object: must be a mapping (`field: value` lines)" },
	{ "{}", NULL, "f.yaml:1:1: object: kind: Required value" },
	{ "apiVersion: v1\n", NULL, "f.yaml:1:1: object: kind: Required value" },
	{ "kind: ''\n", NULL, "f.yaml:1:7: object: kind: Required value" },
	{ "kind: [x]\n", NULL, "f.yaml:1:7: object: kind: Required value" },
	{ "kind: Secret\n", NULL, "f.yaml:1:1: object: apiVersion: Required value" },
	{ "kind: Secret\napiVersion: 1\n", NULL, "f.yaml:2:13: object: apiVersion: Required value" },
	{ "apiVersion: apps/v1\nkind: Deployment\n", NULL,
	  "f.yaml:2:7: object: kind: \"Deployment\" of \"apps/v1\" is not read here; Pod, Secret, ConfigMap and List "
	  "of v1 are" },
	{ "apiVersion: v2\nkind: Secret\n", NULL,
	  "f.yaml:2:7: object: kind: \"Secret\" of \"v2\" is not read here; Pod, Secret, ConfigMap and List of v1 "
	  "are" },
	{ "apiVersion: v1\nkind: secret\n", NULL,
	  "f.yaml:2:7: object: kind: \"secret\" of \"v1\" is not read here; Pod, Secret, ConfigMap and List of v1 "
	  "are" },
	{ "apiVersion: v1\nkind: Service\n", NULL,
	  "f.yaml:2:7: object: kind: \"Service\" of \"v1\" is not read here; Pod, Secret, ConfigMap and List of v1 "
	  "are" },
	/* lists */
	{ "apiVersion: v1\nkind: List\nitems: x\n", NULL, "f.yaml:3:8: object: items: must be a list" },
	{ "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n", NULL,
	  "f.yaml:4:3: object: kind: a List must not be in a List" },
	{ "apiVersion: v1\nkind: List\nitems: [x]\n", NULL,
	  "f.yaml:3:9: object: must be a mapping (`field: value` lines)" },
	{ "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: a}\n  data:\n    "
	  "k: '?'\n",
	  "secret default/a", "f.yaml:8:8: secret default/a: data.k: illegal base64 data" },
	/* names */
	{ "apiVersion: v1\nkind: Secret\n", NULL, "f.yaml:1:1: secret: metadata.name: Required value" },
	{ "apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {}\n", NULL,
	  "f.yaml:4:3: pod: metadata.name: Required value" },
	{ "apiVersion: v1\nkind: Secret\nmetadata:\n  name: 1\n", NULL,
	  "f.yaml:4:9: secret: metadata.name: expected a string, found a number" },
	{ "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n  namespace: 1\n", NULL,
	  "f.yaml:5:14: secret: metadata.namespace: expected a string, found a number" },
	{ POD("name: a, uid: 'a/b'"), "pod default/a",
	  "f.yaml:3:26: pod default/a: metadata.uid: is not a UID: letters, digits and '-'" },
	{ POD("name: a, uid: by-name"), "pod default/a", "f.yaml:3:26: pod default/a: metadata.uid: is reserved" },
	/* the rest */
	{ SECRET("a") "data:\n  tls.crt: '?'\n", "secret default/a",
	  "f.yaml:5:12: secret default/a: data[tls.crt]: illegal base64 data" },
	{ SECRET("a") "data:\n  k: YQ\n", "secret default/a",
	  "f.yaml:5:6: secret default/a: data.k: illegal base64 data" },
	{ SECRET("a") "data:\n  k: _-8=\n", "secret default/a",
	  "f.yaml:5:6: secret default/a: data.k: illegal base64 data" },
	{ SECRET("a") "type: kubernetes.io/dockercfg\nstringData:\n  .dockercfg: x\n", "secret default/a",
	  "f.yaml:6:15: secret default/a: data[.dockercfg]: Invalid value: \"<secret contents redacted>\": must be a "
	  "JSON "
	  "object in base64" },
	{ SECRET("a") "stringData:\n  f: .nan\n", "secret default/a",
	  "f.yaml:1:1: secret default/a: not a number that JSON has" },
	{ POD("name: a") "---\n", NULL, NULL },
	/* the limits do not take the place of what is there */
	{ "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: c\n    resources:\n"
	  "      limits: {cpu: 1}\n      requests: '1'\n    env: [{name: A, valueFrom: {resourceFieldRef: {resource: "
	  "requests.cpu}}}]\n",
	  "pod default/a",
	  "f.yaml:9:17: pod default/a: spec.containers[0].resources.requests: expected an object, found a string" },
	{ "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: c\n    volumeMounts:\n"
	  "    - name: v\n      mountPath: /v\n",
	  "pod default/a", "f.yaml:8:13: pod default/a: spec.containers[0].volumeMounts[0].name: Not found: \"v\"" },
	{ "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{name: c}]\n  securityContext:\n"
	  "    fsGroup: -1\n",
	  "pod default/a",
	  "f.yaml:7:14: pod default/a: spec.securityContext.fsGroup: must be between 0 and 2147483647" },
};

static void what_is_refused_is_named_with_its_place(void **state)
{
	size_t n_wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(REFUSED); i++) {
		struct parsed p = parse_good(REFUSED[i].text);
		const struct manifest_object *o = &p.objects[0];

		assert_int_equal(p.n, 1);
		assert_int_equal(!o->secret && !o->pod, o->problem != NULL);
		if (!REFUSED[i].problem ? o->problem != NULL
					: !str_eq(o->problem ? o->problem->text : NULL, REFUSED[i].problem) ||
						  !str_eq(o->key, REFUSED[i].key)) {
			print_error("%s: %s: %s\n", REFUSED[i].text, o->key, o->problem ? o->problem->text : "none");
			n_wrong++;
		}
		forget(&p);
	}
	assert_int_equal(n_wrong, 0);
}

static void what_is_no_yaml_is_refused_as_a_whole(void **state)
{
	struct parsed p;

	assert_int_equal(parse(SECRET("a") "---\na: [\n", &p), -EINVAL);
	assert_null(p.objects);
	assert_string_equal(err_text(&p.e), "f.yaml:6:1: did not find expected node content");
	assert_int_equal(parse("a: &a [*a]\n", &p), -EINVAL);
	assert_string_equal(err_text(&p.e), "f.yaml:1:8: this alias is inside of what it stands for");
}

static void only_so_many_warnings_are_kept_of_one_object(void **state)
{
	struct buf b = BUF_INIT(65536);
	struct parsed p;

	assert_int_equal(buf_add_str(&b, SECRET("a")), 0);
	for (int i = 0; i < MANIFEST_WARNINGS_MAX + 5; i++)
		assert_int_equal(buf_printf(&b, "x%d: 1\n", i), 0);
	p = parse_good(b.data);
	assert_int_equal(p.objects[0].n_warnings, MANIFEST_WARNINGS_MAX);
	assert_non_null(p.objects[0].secret);
	assert_string_equal(p.objects[0].warnings[0]->text,
			    "f.yaml:4:5: secret default/a: x0: unknown field; it has no effect");
	forget(&p);
	buf_deinit(&b);
}

#define VOLUMES "spec: {containers: [{name: c}], volumes: [{name: v, secret: {secretName: s}}]}\n"
#define ABOUT	"pod default/p: metadata.annotations[secretlet.dev/volumes]: "

static void mistakes_in_an_annotation_have_their_own_place(void **state)
{
	static const struct {
		const char *annotation, *finding;
	} cases[] = {
		{ "|\n      v:\n        mdoe: 1\n", "f.yaml:7:9: " ABOUT "v.mdoe: there is no such option" },
		{ "|\n      # one\n\n      v: {mdoe: 1}\n", "f.yaml:8:11: " ABOUT "v.mdoe: there is no such option" },
		{ "|-  # as it is\n      v: {mdoe: 1}\n", "f.yaml:6:11: " ABOUT "v.mdoe: there is no such option" },
		{ "|2\n        v: {mdoe: 1}\n", "f.yaml:6:13: " ABOUT "v.mdoe: there is no such option" },
		{ "|\n      v: {\n", "f.yaml:7:1: " ABOUT "did not find expected node content" },
		/* of these only the beginning is known */
		{ "\"v: {mdoe: 1}\"\n", "f.yaml:5:28: " ABOUT "v.mdoe: there is no such option" },
		{ ">\n      v: {mdoe: 1}\n", "f.yaml:5:28: " ABOUT "v.mdoe: there is no such option" },
		{ "&a |\n      v: {mdoe: 1}\n", "f.yaml:5:28: " ABOUT "v.mdoe: there is no such option" },
		{ "'\n\n      |'\n", "f.yaml:5:28: " ABOUT "must be a map from the names of volumes to options" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_free char *text = str_format("apiVersion: v1\nkind: Pod\nmetadata:\n  annotations:\n"
						     "    secretlet.dev/volumes: %s  name: p\n" VOLUMES,
						     cases[i].annotation);
		struct parsed p = parse_good(text);

		assert_non_null(p.objects[0].pod);
		assert_int_equal(p.objects[0].n_warnings, 1);
		assert_int_equal(p.objects[0].warnings[0]->level, FINDING_ERROR);
		if (!str_eq(p.objects[0].warnings[0]->text, cases[i].finding))
			fail_msg("%s: %s", cases[i].annotation, p.objects[0].warnings[0]->text);
		forget(&p);
	}
}

static void a_mistake_that_holds_nothing_back_is_a_warning(void **state)
{
	struct parsed p =
		parse_good("apiVersion: v1\nkind: Pod\nmetadata: {name: p, annotations: {secretlet.dev/x: '', "
			   "secretlet.dev/volumes: 'w: {}'}}\n" VOLUMES);

	assert_int_equal(p.objects[0].n_warnings, 2);
	assert_int_equal(p.objects[0].warnings[0]->level, FINDING_WARNING);
	assert_int_equal(p.objects[0].warnings[1]->level, FINDING_WARNING);
	forget(&p);
}

static void a_foreign_name_forges_no_lines(void **state)
{
	struct parsed p = parse_good("apiVersion: v1\nkind: \"x\\ny\"\n");

	assert_null(strchr(p.objects[0].problem->text, '\n'));
	forget(&p);
}

static void more_than_the_memory_holds_is_refused(void **state)
{
	cleanup_free char *value = malloc(700001), *text = NULL;
	struct parsed p;
	size_t n_refused = 0;

	memset(value, 'x', 700000);
	value[700000] = '\0';
	text = str_format(SECRET("a") "stringData: {k: &v %s}\n---\n" SECRET("b") "stringData: {k: %s}\n---\n" SECRET(
				  "c") "stringData: {k: %s}\n",
			  value, value, value);
	p = parse_good(text);
	assert_int_equal(p.n, 3);
	for (size_t i = 0; i < p.n; i++)
		n_refused += p.objects[i].problem != NULL;
	assert_int_equal(n_refused, 1);
	assert_non_null(p.objects[2].problem);
	assert_true(str_starts(p.objects[2].problem->text, "f.yaml:"));
	forget(&p);
}

/* Whichever call it is that fails. */
static void want_of_memory_is_told_from_a_full_secret_memory(void **state)
{
	static const char TEXT[] = SECRET("a") "stringData: {k: v}\n";
	size_t n_starved = 0, i = 0;
	void *held = NULL, **piece;
	struct parsed p;
	bool failed;

	skip_unless_calls_can_fail();
	do {
		calls_left = ++i;
		(void)parse(TEXT, &p);
		failed = calls_left == 0;
		calls_left = 0;
		for (size_t j = 0; j < p.n; j++) {
			n_starved += p.objects[j].starved;
			assert_false(p.objects[j].secmem_full);
		}
		forget(&p);
	} while (failed);
	assert_true(n_starved > 0);

	while ((piece = secmem_alloc(4096)) || (piece = secmem_alloc(sizeof(*piece)))) {
		*piece = held;
		held = piece;
	}
	p = parse_good(TEXT);
	assert_true(p.objects[0].starved);
	assert_true(p.objects[0].secmem_full);
	forget(&p);
	while ((piece = held)) {
		held = *piece;
		secmem_free(piece);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_come_in_the_order_of_the_text),
		cmocka_unit_test(config_maps_are_read),
		cmocka_unit_test(nothing_gives_nothing),
		cmocka_unit_test(a_uid_depends_on_the_name_alone),
		cmocka_unit_test(a_uid_that_is_given_is_taken),
		cmocka_unit_test(revisions_count_on),
		cmocka_unit_test(what_is_refused_is_named_with_its_place),
		cmocka_unit_test(what_is_no_yaml_is_refused_as_a_whole),
		cmocka_unit_test(only_so_many_warnings_are_kept_of_one_object),
		cmocka_unit_test(mistakes_in_an_annotation_have_their_own_place),
		cmocka_unit_test(a_mistake_that_holds_nothing_back_is_a_warning),
		cmocka_unit_test(a_foreign_name_forges_no_lines),
		cmocka_unit_test(more_than_the_memory_holds_is_refused),
		cmocka_unit_test(want_of_memory_is_told_from_a_full_secret_memory),
	};
	struct err e = ERR_INIT;

	json_setup();
	if (secmem_init(2 << 20, &e) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
