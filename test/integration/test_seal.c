/* secretlet keygen and secretlet seal as programs: what they write, what they refuse, and that no value is in it. Each
 * test has a folder of its own with a key pair in it, and works there. */

#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/manifest.h"
#include "common/file.h"
#include "common/json.h"
#include "common/str.h"
#include "test/lib/program.h"

#define CANARY	      "correct-horse-battery-staple"
#define CANARY_BASE64 "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ"

#define RUN(...) program_run((const char *const[]){ __VA_ARGS__, NULL })
#define SEAL(f)	 RUN("seal", "--public-key", "sealing.pub", f)

static int setup(void **state)
{
	char *dir = strdup("/tmp/test-seal-XXXXXX");

	assert_non_null(dir);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	*state = dir;
	if (!program_path())
		return -1;
	cleanup_program_result struct program_result r = RUN("keygen");

	assert_int_equal(r.status, 0);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static int teardown(void **state)
{
	assert_int_equal(chdir("/"), 0);
	nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(*state);
	return 0;
}

static void put(const char *name, const char *text)
{
	struct err e = ERR_INIT;

	if (file_write_atomic(name, text, strlen(text), 0600, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static char *get(const char *name)
{
	struct err e = ERR_INIT;
	char *text = NULL;
	size_t len;

	if (file_read(-100, name, 1 << 20, &text, &len, &e) < 0)
		fail_msg("%s", err_text(&e));
	return text;
}

static bool has_value(const char *text)
{
	return strstr(text, CANARY) || strstr(text, CANARY_BASE64);
}

struct opened {
	struct manifest_object *objects;
	size_t n;
};

/* As the daemon on the node reads it. */
static struct opened open_manifest(const char *text)
{
	cleanup_sealing_keys struct sealing_keys *keys = NULL;
	struct opened o = { .n = 0 };
	struct err e = ERR_INIT;
	uint64_t revision = 0;

	if (sealing_keys_read("sealing.key", &keys, &e) < 0 ||
	    manifest_parse("sealed.yaml", text, strlen(text), keys, &revision, &o.objects, &o.n, &e) < 0)
		fail_msg("%s", err_text(&e));
	return o;
}

static void assert_value(const struct secret *s, const char *key, const char *value)
{
	const struct secret_key *k = secret_find_key(s, key);

	assert_non_null(k);
	assert_int_equal(k->value.len, strlen(value));
	assert_memory_equal(secspan_data(&k->value), value, strlen(value));
}

#define SECRET(name) "apiVersion: v1\nkind: Secret\nmetadata: {name: " name "}\n"
#define FULL                                                                                                           \
	"# the password is " CANARY "\napiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n  namespace: shop\n"       \
	"  uid: 12ab-34\n"                                                                                             \
	"  labels: {app: web, version: \"1\"}\n  annotations:\n    note: \"a\\n\\\"b\\\"\"\n"                          \
	"    kubectl.kubernetes.io/last-applied-configuration: '{\"data\": \"" CANARY "\"}'\n"                         \
	"  managedFields: [" CANARY "]\nspec: " CANARY "\ntype: kubernetes.io/basic-auth\nimmutable: true\n"           \
	"data:\n  username: " CANARY_BASE64 "==\nstringData:\n  password: " CANARY "\n  empty: ''\n"

static void what_is_sealed_is_opened_on_the_node(void **state)
{
	put("db.yaml", FULL);
	cleanup_program_result struct program_result r = SEAL("db.yaml");
	struct opened o;

	assert_string_equal(r.err, "");
	assert_int_equal(r.status, 0);
	o = open_manifest(r.out);
	assert_int_equal(o.n, 1);
	assert_null(o.objects[0].problem);
	assert_int_equal(o.objects[0].n_warnings, 0);
	assert_string_equal(o.objects[0].key, "secret shop/db");
	assert_string_equal(o.objects[0].secret->type, "kubernetes.io/basic-auth");
	assert_string_equal(o.objects[0].secret->uid, "12ab-34");
	assert_true(o.objects[0].secret->immutable);
	assert_int_equal(o.objects[0].secret->n_labels, 2);
	assert_int_equal(o.objects[0].secret->n_keys, 3);
	assert_value(o.objects[0].secret, "username", CANARY);
	assert_value(o.objects[0].secret, "password", CANARY);
	assert_value(o.objects[0].secret, "empty", "");
	manifest_objects_free(o.objects, o.n);
}

static void no_value_is_in_what_is_written(void **state)
{
	put("db.yaml", FULL);
	cleanup_program_result struct program_result r = SEAL("db.yaml"), check = RUN("check", "db.yaml");

	assert_int_equal(r.status, 0);
	assert_false(has_value(r.out));
	assert_false(has_value(check.out));
	/* what cannot be known to be free of values is left out */
	assert_null(strstr(r.out, "spec"));
	assert_null(strstr(r.out, "#"));
	assert_null(strstr(r.out, "last-applied"));
	assert_null(strstr(r.out, "managedFields"));
	assert_non_null(strstr(r.out, "\n    \"note\": \"a\\n\\\"b\\\"\"\n"));
}

static void nothing_else_is_written(void **state)
{
	cleanup_free char *tmp = str_format("%s/tmp", (char *)*state);
	size_t n = 0;
	DIR *dir;

	put("db.yaml", FULL);
	assert_int_equal(mkdir("tmp", 0700), 0);
	assert_int_equal(setenv("TMPDIR", tmp, 1), 0);
	cleanup_program_result struct program_result r = SEAL("db.yaml");

	unsetenv("TMPDIR");
	assert_int_equal(r.status, 0);
	/* an empty folder can be removed */
	assert_int_equal(rmdir("tmp"), 0);
	dir = opendir(".");
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	assert_int_equal(n, 2 + 3);
}

static void a_sealed_manifest_for_another_name_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *from, *to, *problem;
	} cases[] = {
		{ "name: \"db\"", "name: \"ab\"",
		  "secret default/ab: sealedData.k: was sealed for a Secret of another name" },
		{ "\"default\"", "\"d\"", "secret d/db: sealedData.k: was sealed for a Secret of another namespace" },
		{ "\"k\": v1", "\"x\": v1", "secret default/db: sealedData.x: was sealed for another key" },
	};

	put("db.yaml", SECRET("db") "stringData: {k: " CANARY "}\n");
	cleanup_program_result struct program_result r = SEAL("db.yaml");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *at = strstr(r.out, cases[i].from);
		cleanup_free char *text = NULL;
		struct opened o;

		assert_non_null(at);
		text = str_format("%.*s%s%s", (int)(at - r.out), r.out, cases[i].to, at + strlen(cases[i].from));
		o = open_manifest(text);
		assert_null(o.objects[0].secret);
		assert_non_null(strstr(o.objects[0].problem->text, cases[i].problem));
		assert_true(str_starts(o.objects[0].problem->text, "sealed.yaml:8:8: "));
		manifest_objects_free(o.objects, o.n);
	}
}

/* What is wrong with an opened value is wrong in sealedData, whatever the API server would call it. */
static void the_place_of_an_opened_value_is_in_sealed_data(void **state)
{
	static const char type[] = "kubernetes.io/dockercfg";
	struct opened o;

	put("db.yaml", SECRET("db") "stringData: {.dockercfg: " CANARY "}\n");
	cleanup_program_result struct program_result r = SEAL("db.yaml");
	char *at = strstr(r.out, "Opaque");
	cleanup_free char *text = NULL;

	assert_non_null(at);
	text = str_format("%.*s%s%s", (int)(at - r.out), r.out, type, at + strlen("Opaque"));
	o = open_manifest(text);
	assert_null(o.objects[0].secret);
	assert_true(str_starts(o.objects[0].problem->text,
			       "sealed.yaml:8:17: secret default/db: data[.dockercfg]: Invalid value: \"<secret "
			       "contents redacted>\""));
	assert_false(has_value(o.objects[0].problem->text));
	manifest_objects_free(o.objects, o.n);
}

static void sealing_again_keeps_what_is_sealed(void **state)
{
	put("db.yaml", SECRET("db") "stringData: {k: " CANARY "}\n");
	cleanup_program_result struct program_result once = SEAL("db.yaml");

	put("sealed.yaml", once.out);
	{
		cleanup_program_result struct program_result twice = SEAL("sealed.yaml");

		assert_string_equal(once.out, twice.out);
	}
	{
		cleanup_free char *more = str_format("%sstringData: {added: new}\n", once.out);
		struct opened o;

		put("more.yaml", more);
		cleanup_program_result struct program_result both = SEAL("more.yaml");

		o = open_manifest(both.out);
		assert_int_equal(o.objects[0].secret->n_keys, 2);
		assert_value(o.objects[0].secret, "k", CANARY);
		assert_value(o.objects[0].secret, "added", "new");
		manifest_objects_free(o.objects, o.n);
	}
}

static void several_documents_are_sealed_in_one_go(void **state)
{
	put("two.yaml",
	    "---\n" SECRET("a") "stringData: {k: A}\n---\n# nothing\n---\n" SECRET("b") "data: {k: Qg==}\n");
	cleanup_program_result struct program_result r = SEAL("two.yaml");
	struct opened o = open_manifest(r.out);

	assert_int_equal(o.n, 2);
	assert_value(o.objects[0].secret, "k", "A");
	assert_value(o.objects[1].secret, "k", "B");
	manifest_objects_free(o.objects, o.n);
}

static void it_reads_standard_input(void **state)
{
	cleanup_free char *line = str_format("%s seal --public-key sealing.pub <db.yaml >out", program_path());
	cleanup_free char *out = NULL;
	struct opened o;

	put("db.yaml", SECRET("db") "stringData: {k: " CANARY "}\n");
	assert_int_equal(system(line), 0);
	out = get("out");
	assert_false(has_value(out));
	o = open_manifest(out);
	assert_value(o.objects[0].secret, "k", CANARY);
	manifest_objects_free(o.objects, o.n);
}

static void what_cannot_be_sealed_is_refused_and_nothing_written(void **state)
{
	static const struct {
		const char *text, *reason;
	} cases[] = {
		{ "", "secretlet: f.yaml: has no Secret in it\n" },
		{ "a: [\n", "secretlet: f.yaml:2:1: did not find expected node content\n" },
		{ SECRET("a") "data:\n  k: '" CANARY "'\n",
		  "secretlet: f.yaml:5:6: secret default/a: data.k: illegal base64 data\n" },
		{ SECRET("a") "stringdata: {k: " CANARY "}\n",
		  "secretlet: f.yaml:4:13: secret default/a: stringdata: unknown field; `stringData` is meant?\n" },
		{ SECRET("a") "stringData: {k: " CANARY "}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: "
			      "{containers: [{name: c}]}\n",
		  "secretlet: f.yaml:6:1: only Secrets are sealed, one in each document\n" },
		{ "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: a}\n",
		  "secretlet: f.yaml:1:1: only Secrets are sealed, one in each document\n" },
		{ SECRET("a") "sealedData: {k: " CANARY "}\n",
		  "secretlet: f.yaml:4:17: secret default/a: sealedData.k: is not a sealed value as secretlet seal "
		  "makes "
		  "it (v1:...)\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put("f.yaml", cases[i].text);
		{
			cleanup_program_result struct program_result r = SEAL("f.yaml");

			assert_string_equal(r.err, cases[i].reason);
			assert_string_equal(r.out, "");
			assert_int_equal(r.status, 1);
		}
	}
}

static void keys_are_asked_for_and_looked_at(void **state)
{
	put("f.yaml", SECRET("a") "stringData: {k: " CANARY "}\n");
	cleanup_program_result struct program_result none = RUN("seal", "f.yaml"),
						     gone = RUN("seal", "-p", "nothing.pub", "f.yaml"),
						     private = RUN("seal", "-p", "sealing.key", "f.yaml");

	assert_int_equal(none.status, 2);
	assert_string_equal(none.err, "secretlet: seal: option --public-key is needed; see secretlet seal --help\n");
	assert_int_equal(gone.status, 1);
	assert_non_null(strstr(gone.err, "nothing.pub"));
	assert_int_equal(private.status, 1);
	assert_string_equal(private.err, "secretlet: sealing.key: is not a public key as secretlet keygen makes it\n");
	assert_string_equal(private.out, "");
}

static void a_private_key_is_never_shown_and_never_written_over(void **state)
{
	cleanup_free char *key = get("sealing.key"), *again = NULL;
	const char *secret = strrchr(key, ' ') + 1;
	cleanup_program_result struct program_result over = RUN("keygen"), fresh = RUN("keygen", "--out", "other"),
						     made = { .out = NULL };
	struct stat st;

	key[strlen(key) - 1] = '\0';
	assert_int_equal(over.status, 1);
	assert_string_equal(over.err, "secretlet: ./sealing.key: exists already; a key is never written over\n");
	assert_int_equal(fresh.status, 1);
	assert_int_equal(mkdir("other", 0700), 0);
	made = RUN("keygen", "--out", "other");
	assert_int_equal(made.status, 0);
	assert_non_null(strstr(made.out, "other/sealing.key"));
	assert_int_equal(stat("other/sealing.key", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	again = get("other/sealing.key");
	assert_null(strstr(again, secret));
	again[strlen(again) - 1] = '\0';
	assert_null(strstr(made.out, strrchr(again, ' ') + 1));
}

static void check_looks_at_the_form_without_a_key(void **state)
{
	put("db.yaml", SECRET("db") "type: kubernetes.io/tls\nstringData: {tls.crt: c, tls.key: " CANARY "}\n");
	cleanup_program_result struct program_result sealed = SEAL("db.yaml");

	put("sealed.yaml", sealed.out);
	*strstr(sealed.out, "v1:") = 'V';
	put("broken.yaml", sealed.out);
	cleanup_program_result struct program_result good = RUN("check", "sealed.yaml"),
						     bad = RUN("check", "broken.yaml");

	assert_string_equal(good.out, "1 file with 0 pods and 1 secret: 0 errors, 0 warnings\n");
	assert_int_equal(bad.status, 1);
	assert_non_null(strstr(bad.out, "error: secret default/db: sealedData[tls.crt]: is not a sealed value"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_sealed_is_opened_on_the_node),
		TEST(no_value_is_in_what_is_written),
		TEST(nothing_else_is_written),
		TEST(a_sealed_manifest_for_another_name_is_refused_with_its_place),
		TEST(the_place_of_an_opened_value_is_in_sealed_data),
		TEST(sealing_again_keeps_what_is_sealed),
		TEST(several_documents_are_sealed_in_one_go),
		TEST(it_reads_standard_input),
		TEST(what_cannot_be_sealed_is_refused_and_nothing_written),
		TEST(keys_are_asked_for_and_looked_at),
		TEST(a_private_key_is_never_shown_and_never_written_over),
		TEST(check_looks_at_the_form_without_a_key),
	};
	struct err e = ERR_INIT;

	json_setup();
	if (secmem_init(16 << 20, &e) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
