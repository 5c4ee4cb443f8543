/* secretlet check as a program: verdicts, their words and places, and the exit status. Files are made in a folder of the
 * test's own, and named relative to it where that makes lines short. */

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/file.h"
#include "common/json.h"
#include "common/str.h"
#include "test/lib/program.h"

#define CANARY "correct-horse-battery-staple"

static int setup(void **state)
{
	char *dir = strdup("/tmp/test-check-XXXXXX");

	assert_non_null(dir);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	*state = dir;
	return program_path() ? 0 : -1;
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

#define CHECK(...) program_run((const char *const[]){ "check", __VA_ARGS__, NULL })

#define SECRET(name) "apiVersion: v1\nkind: Secret\nmetadata: {name: " name "}\n"
#define POD(name, more)                                                                                                \
	"apiVersion: v1\nkind: Pod\nmetadata: {name: " name "}\nspec:\n  volumes:\n  - name: v\n    secret: {" more    \
	"}\n  containers:\n  - name: c\n    volumeMounts: [{name: v, mountPath: /v}]\n"
#define CONFIG "apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\n"

static void each_finding_is_one_line_with_its_place(void **state)
{
	static const struct {
		const char *text, *out;
		int status;
	} cases[] = {
		{ SECRET("a") "stringData: {k: v}\n", "1 file with 0 pods and 1 secret: 0 errors, 0 warnings\n", 0 },
		{ "", "1 file with 0 pods and 0 secrets: 0 errors, 0 warnings\n", 0 },
		{ SECRET("a") "data:\n  k: '~~~'\n",
		  "f.yaml:5:6: error: secret default/a: data.k: illegal base64 data\n"
		  "1 file with 0 pods and 1 secret: 1 error, 0 warnings\n",
		  1 },
		{ SECRET("a") "stringdata: {k: v}\n",
		  "f.yaml:4:13: error: secret default/a: stringdata: unknown field; `stringData` is meant?\n"
		  "1 file with 0 pods and 1 secret: 1 error, 0 warnings\n",
		  1 },
		{ SECRET("a") "extra: 1\n",
		  "f.yaml:4:8: warning: secret default/a: extra: unknown field; it has no effect\n"
		  "1 file with 0 pods and 1 secret: 0 errors, 1 warning\n",
		  0 },
		{ POD("p", "secretname: s"),
		  "f.yaml:7:26: error: pod default/p: spec.volumes[0].secret.secretname: unknown field\n"
		  "1 file with 1 pod and 0 secrets: 1 error, 0 warnings\n",
		  1 },
		{ POD("p", "secretName: s"),
		  "f.yaml:7:26: warning: pod default/p: spec.volumes[0].secret.secretName: Secret \"s\" is in none of "
		  "these files; the volume has to wait for it\n"
		  "1 file with 1 pod and 0 secrets: 0 errors, 1 warning\n",
		  0 },
		{ POD("p", "secretName: s, optional: true"), "1 file with 1 pod and 0 secrets: 0 errors, 0 warnings\n",
		  0 },
		/* nobody waits for a volume that no container mounts, or that is none of a Secret */
		{ "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n"
		  "  volumes: [{name: v, secret: {secretName: s}}, {name: w, emptyDir: {}}]\n"
		  "  containers: [{name: c, volumeMounts: [{name: w, mountPath: /w}]}]\n",
		  "1 file with 1 pod and 0 secrets: 0 errors, 0 warnings\n", 0 },
		{ "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n"
		  "  volumes:\n  - {name: u, secret: {secretName: s}}\n  - name: v\n    projected:\n      sources:\n"
		  "      - {secret: {name: s}}\n      - {secret: {name: t, optional: true}}\n      - {secret: {name: "
		  "u}}\n"
		  "  containers: [{name: c, volumeMounts: [{name: u, mountPath: /u}, {name: v, mountPath: "
		  "/v}]}]\n---\n" SECRET("s"),
		  "f.yaml:12:25: warning: pod default/p: spec.volumes[1].projected.sources[2].secret.name: Secret "
		  "\"u\" is "
		  "in none of these files; the volume has to wait for it\n"
		  "1 file with 1 pod and 1 secret: 0 errors, 1 warning\n",
		  0 },
		{ "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n"
		  "  volumes: [{name: v, configMap: {name: a}}, {name: w, configMap: {name: b}}]\n"
		  "  containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}, {name: w, mountPath: /w}]}]\n---\n"
		  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n" SECRET("b"),
		  "f.yaml:5:74: warning: pod default/p: spec.volumes[1].configMap.name: ConfigMap \"b\" is in none of "
		  "these files; the volume has to wait for it\n"
		  "1 file with 1 pod, 1 secret and 1 configmap: 0 errors, 1 warning\n",
		  0 },
		{ "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: x}\nbinaryData:\n  k: AA==\n",
		  "f.yaml:4:11: error: configmap default/a: data.k: Invalid value: \"k\": duplicate of key present in "
		  "binaryData\n1 file with 0 pods, 0 secrets and 1 configmap: 1 error, 0 warnings\n",
		  1 },
		{ POD("p", "secretName: s") "---\n" SECRET("s"),
		  "1 file with 1 pod and 1 secret: 0 errors, 0 warnings\n", 0 },
		{ "a: [\n",
		  "f.yaml:2:1: error: did not find expected node content\n"
		  "1 file with 0 pods and 0 secrets: 1 error, 0 warnings\n",
		  1 },
		{ "kind: Deployment\napiVersion: apps/v1\n",
		  "f.yaml:1:7: error: object: kind: \"Deployment\" of \"apps/v1\" is not read here; Pod, Secret, "
		  "ConfigMap and List of v1 are\n1 file with 0 pods and 0 secrets: 1 error, 0 warnings\n",
		  1 },
		{ SECRET("a") "---\n" SECRET("a"),
		  "f.yaml:1:1: error: secret default/a: is in f.yaml:5 as well; none of them is taken\n"
		  "f.yaml:5:1: error: secret default/a: is in f.yaml:1 as well; none of them is taken\n"
		  "1 file with 0 pods and 2 secrets: 2 errors, 0 warnings\n",
		  1 },
		{ CONFIG, "1 file with 0 pods and 0 secrets: 0 errors, 0 warnings\n", 0 },
		{ CONFIG "podDir: /x\n",
		  "f.yaml:3:1: error: unknown field `podDir`; did you mean `podsDir`?\n"
		  "1 file with 0 pods and 0 secrets: 1 error, 0 warnings\n",
		  1 },
		{ CONFIG "logLevel: loud\n",
		  "f.yaml:3:11: error: logLevel: must be one of error, warning, info, debug\n"
		  "1 file with 0 pods and 0 secrets: 1 error, 0 warnings\n",
		  1 },
		{ CONFIG "podsDir: /a\nruntimeDir: /a/b\n",
		  "f.yaml: error: podsDir (/a) and runtimeDir (/a/b): one must not be inside the other\n"
		  "1 file with 0 pods and 0 secrets: 1 error, 0 warnings\n",
		  1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put("f.yaml", cases[i].text);
		{
			cleanup_program_result struct program_result r = CHECK("f.yaml");

			assert_string_equal(r.out, cases[i].out);
			assert_string_equal(r.err, "");
			assert_int_equal(r.status, cases[i].status);
		}
	}
}

#define A8	   "a/a/a/a/a/a/a/a/"
#define A64	   A8 A8 A8 A8 A8 A8 A8 A8
#define ITEM(path) POD("p", "secretName: s, items: [{key: k, path: " path "}]") "---\n" SECRET("s")

static void a_volume_whose_paths_cannot_be_is_an_error(void **state)
{
	static const struct {
		const char *text, *out;
	} cases[] = {
		{ ITEM(A64 "a"),
		  "f.yaml:7:26: error: pod default/p: spec.volumes[0]: more than 64 names in one path: " A64 "a\n"
		  "1 file with 1 pod and 1 secret: 1 error, 0 warnings\n" },
		{ ITEM(A8 "k"), "1 file with 1 pod and 1 secret: 0 errors, 0 warnings\n" },
		{ ITEM("a}, {key: l, path: a/b"),
		  "f.yaml:7:26: error: pod default/p: spec.volumes[0]: invalid path: a is a "
		  "file and a directory (a/b)\n"
		  "1 file with 1 pod and 1 secret: 1 error, 0 warnings\n" },
		/* another one's mount point */
		{ "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n"
		  "  volumes: [{name: w, emptyDir: {}}, {name: v, configMap: {name: a}}]\n  containers:\n"
		  "  - {name: c, volumeMounts: [{name: v, mountPath: /v}, {name: w, mountPath: /v/" A64 "a}]}\n---\n"
		  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
		  "f.yaml:5:66: error: pod default/p: spec.volumes[1]: more than 64 names in one path: " A64 "a\n"
		  "1 file with 1 pod, 0 secrets and 1 configmap: 1 error, 0 warnings\n" },
		/* which nobody makes */
		{ "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n"
		  "  volumes: [{name: v, secret: {secretName: s, items: [{key: k, path: " A64
		  "a}]}}, {name: w, emptyDir: {}}]\n"
		  "  containers: [{name: c, volumeMounts: [{name: w, mountPath: /w}]}]\n",
		  "1 file with 1 pod and 0 secrets: 0 errors, 0 warnings\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put("f.yaml", cases[i].text);
		{
			cleanup_program_result struct program_result r = CHECK("f.yaml");

			assert_string_equal(r.out, cases[i].out);
			assert_int_equal(r.status, strstr(r.out, " 1 error") ? 1 : 0);
		}
	}
}

/* What the codec has refused of a pod that it takes. */
static void a_volume_of_too_many_items_is_an_error(void **state)
{
	cleanup_buf struct buf b = BUF_INIT(1 << 20);

	buf_add_str(&b, "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  volumes:\n  - name: v\n    secret:\n"
			"      secretName: s\n      items:\n");
	for (int i = 0; i < 10001; i++)
		buf_printf(&b, "      - {key: k, path: k%d}\n", i);
	buf_add_str(&b, "  containers: [{name: c, volumeMounts: [{name: v, mountPath: /v}]}]\n");
	put("f.yaml", b.data);
	cleanup_program_result struct program_result r = CHECK("f.yaml");

	assert_string_equal(r.out,
			    "f.yaml:1:1: error: pod default/p: spec.volumes[0].secret.items: more than 10000 elements\n"
			    "1 file with 1 pod and 0 secrets: 1 error, 0 warnings\n");
	assert_int_equal(r.status, 1);
}

static void two_files_with_one_object_are_both_named(void **state)
{
	put("b.yaml", SECRET("x"));
	put("a.yaml", "# first\n" SECRET("x"));
	cleanup_program_result struct program_result r = CHECK("b.yaml", "a.yaml");

	assert_string_equal(r.out,
			    "b.yaml:1:1: error: secret default/x: is in a.yaml:2 as well; none of them is taken\n"
			    "a.yaml:2:1: error: secret default/x: is in b.yaml:1 as well; none of them is taken\n"
			    "2 files with 0 pods and 2 secrets: 2 errors, 0 warnings\n");
	assert_int_equal(r.status, 1);
}

static void a_file_that_is_named_twice_is_one_file(void **state)
{
	put("a.yaml", SECRET("x"));
	cleanup_program_result struct program_result r = CHECK("a.yaml", "a.yaml");

	assert_string_equal(r.out, "1 file with 0 pods and 1 secret: 0 errors, 0 warnings\n");
	assert_int_equal(r.status, 0);
}

static void a_reference_is_found_in_another_file(void **state)
{
	put("a.yaml", POD("p", "secretName: s"));
	/* a Secret that is refused is there all the same: one error is enough */
	put("b.yaml", SECRET("s") "data: {k: '?'}\n");
	cleanup_program_result struct program_result r = CHECK("a.yaml", "b.yaml");

	assert_string_equal(r.out, "b.yaml:4:11: error: secret default/s: data.k: illegal base64 data\n"
				   "2 files with 1 pod and 1 secret: 1 error, 0 warnings\n");
}

static void a_folder_means_the_files_that_the_daemon_reads(void **state)
{
	assert_int_equal(mkdir("d", 0700), 0);
	assert_int_equal(mkdir("d/sub.yaml", 0700), 0);
	assert_int_equal(mkdir("empty", 0700), 0);
	put("d/2.yml", SECRET("b"));
	put("d/1.json", "{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {\"name\": \"a\"}}\n");
	put("d/.hidden.yaml", "[");
	put("d/notes.txt", "[");
	put("d/sub.yaml/x.yaml", "[");
	cleanup_program_result struct program_result r = CHECK("d"), empty = CHECK("empty");

	assert_string_equal(r.out, "2 files with 0 pods and 2 secrets: 0 errors, 0 warnings\n");
	assert_int_equal(r.status, 0);
	assert_string_equal(empty.out, "empty: warning: no file in this folder has a name that is read\n"
				       "0 files with 0 pods and 0 secrets: 0 errors, 1 warning\n");
	assert_int_equal(empty.status, 0);
}

static void what_cannot_be_read_is_an_error(void **state)
{
	put("good.yaml", SECRET("a"));
	cleanup_program_result struct program_result r = CHECK("nothing.yaml", "good.yaml");

	assert_string_equal(r.out, "nothing.yaml: error: No such file or directory\n"
				   "2 files with 0 pods and 1 secret: 1 error, 0 warnings\n");
	assert_int_equal(r.status, 1);
}

static char *shell(const char *words, int *ret_status)
{
	cleanup_free char *line = str_format("%s %s >out 2>&1", program_path(), words);
	struct err e = ERR_INIT;
	char *text = NULL;
	size_t len;
	int status;

	assert_non_null(line);
	status = system(line);
	assert_true(WIFEXITED(status));
	*ret_status = WEXITSTATUS(status);
	assert_int_equal(file_read(-100, "out", 65536, &text, &len, &e), 0);
	return text;
}

static void standard_input_is_a_file(void **state)
{
	cleanup_free char *out = NULL;
	int status;

	put("f.yaml", SECRET("a") "extra: 1\n");
	out = shell("check - <f.yaml", &status);
	assert_string_equal(out, "<stdin>:4:8: warning: secret default/a: extra: unknown field; it has no effect\n"
				 "1 file with 0 pods and 1 secret: 0 errors, 1 warning\n");
	assert_int_equal(status, 0);
}

static void programs_get_json(void **state)
{
	put("f.yaml", SECRET("a") "data: {tls.crt: '?'}\n");
	cleanup_program_result struct program_result r = CHECK("-o", "json", "f.yaml");
	cleanup_json json_t *json = json_loads(r.out, 0, NULL);
	const json_t *one = json_array_get(json_object_get(json, "findings"), 0);

	assert_int_equal(r.status, 1);
	assert_non_null(one);
	assert_string_equal(json_string_value(json_object_get(one, "level")), "error");
	assert_string_equal(json_string_value(json_object_get(one, "file")), "f.yaml");
	assert_int_equal(json_integer_value(json_object_get(one, "line")), 4);
	assert_int_equal(json_integer_value(json_object_get(one, "column")), 17);
	assert_string_equal(json_string_value(json_object_get(one, "object")), "secret default/a");
	assert_string_equal(json_string_value(json_object_get(one, "field")), "data[tls.crt]");
	assert_string_equal(json_string_value(json_object_get(one, "reason")), "illegal base64 data");
	assert_int_equal(json_integer_value(json_object_get(json, "errors")), 1);
	assert_int_equal(json_integer_value(json_object_get(json, "warnings")), 0);
	assert_int_equal(json_integer_value(json_object_get(json, "secrets")), 1);
}

static json_t *check_json(const char *file, const char *other, int status)
{
	cleanup_program_result struct program_result r = CHECK("-o", "json", file, other);

	assert_int_equal(r.status, status);
	return json_loads(r.out, 0, NULL);
}

static void json_counts_and_tells_warnings_from_errors(void **state)
{
	put("pods.yaml", POD("a", "secretName: s") "---\n" POD("b", "secretName: t, optional: true") "---\n" POD(
				 "c", "secretName: s"));
	put("secret.yaml", SECRET("s") "extra: 1\n");
	cleanup_json json_t *json = check_json("pods.yaml", "secret.yaml", 0),
			    *gone = check_json("gone", "pods.yaml", 1);
	const json_t *findings = json_object_get(json, "findings"), *one = json_array_get(findings, 0);

	assert_int_equal(json_array_size(findings), 1);
	assert_string_equal(json_string_value(json_object_get(one, "level")), "warning");
	assert_string_equal(json_string_value(json_object_get(one, "field")), "extra");
	assert_int_equal(json_integer_value(json_object_get(json, "files")), 2);
	assert_int_equal(json_integer_value(json_object_get(json, "pods")), 3);
	assert_int_equal(json_integer_value(json_object_get(json, "secrets")), 1);
	assert_int_equal(json_integer_value(json_object_get(json, "errors")), 0);
	assert_int_equal(json_integer_value(json_object_get(json, "warnings")), 1);
	/* what is wrong with the file as a whole has no place in it */
	one = json_array_get(json_object_get(gone, "findings"), 0);
	assert_string_equal(json_string_value(json_object_get(one, "file")), "gone");
	assert_string_equal(json_string_value(json_object_get(one, "reason")), "No such file or directory");
	assert_true(json_is_null(json_object_get(one, "line")));
	assert_true(json_is_null(json_object_get(one, "column")));
	assert_true(json_is_null(json_object_get(one, "object")));
	assert_true(json_is_null(json_object_get(one, "field")));
}

/* Whatever is found when: by file as on the command line, and by line. */
static void findings_come_in_the_order_of_files_and_lines(void **state)
{
	put("b.yaml", SECRET("b") "extra: 1\n---\n" SECRET("x") "data: {k: '?'}\n");
	put("a.yaml", "a: [\n");
	put("c.yaml", SECRET("b"));
	cleanup_program_result struct program_result r = CHECK("c.yaml", "b.yaml", "a.yaml");

	assert_string_equal(r.out,
			    "c.yaml:1:1: error: secret default/b: is in b.yaml:1 as well; none of them is taken\n"
			    "b.yaml:1:1: error: secret default/b: is in c.yaml:1 as well; none of them is taken\n"
			    "b.yaml:4:8: warning: secret default/b: extra: unknown field; it has no effect\n"
			    "b.yaml:9:11: error: secret default/x: data.k: illegal base64 data\n"
			    "a.yaml:2:1: error: did not find expected node content\n"
			    "3 files with 0 pods and 3 secrets: 4 errors, 1 warning\n");
}

static void findings_are_limited(void **state)
{
	struct buf b = BUF_INIT(1 << 20);

	for (int i = 0; i < 60000; i++)
		assert_int_equal(buf_add_str(&b, "---\nx\n"), 0);
	put("a.yaml", b.data);
	put("b.yaml", b.data);
	buf_deinit(&b);
	cleanup_program_result struct program_result r = CHECK("a.yaml", "b.yaml");

	assert_int_equal(r.status, 1);
	assert_string_equal(r.out, "");
	assert_non_null(strstr(r.err, "check: more than 100000 errors and warnings"));
}

static void values_are_never_shown(void **state)
{
	static const char *const texts[] = {
		SECRET("a") "data: {k: " CANARY "}\n",
		SECRET("a") "stringData: {k: [" CANARY "]}\n",
		SECRET("a") "stringData: " CANARY "\n",
		SECRET("a") "type: kubernetes.io/dockerconfigjson\nstringData: {.dockerconfigjson: " CANARY "}\n",
		SECRET("a") "stringData: {k: \"" CANARY "\n",
		SECRET("a") "stringdata: {k: " CANARY "}\n",
		SECRET("a") "extra: " CANARY "\n",
		SECRET("a") "stringData: {k: " CANARY ", k: " CANARY "}\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		put("f.yaml", texts[i]);
		{
			cleanup_program_result struct program_result r = CHECK("f.yaml"),
								     json = CHECK("-ojson", "f.yaml");

			assert_null(strstr(r.out, CANARY));
			assert_null(strstr(json.out, CANARY));
			assert_string_equal(r.err, "");
			assert_null(strstr(r.out, "0 errors, 0 warnings"));
		}
	}
}

static void a_name_cannot_steer_the_terminal(void **state)
{
	put("f.yaml", SECRET("a") "stringData: {\"a\\e[2Jb\\nc\": x}\n");
	cleanup_program_result struct program_result r = CHECK("f.yaml");

	assert_int_equal(r.status, 1);
	assert_null(strchr(r.out, '\033'));
	assert_non_null(strstr(r.out, "\\x1b[2J"));
}

static void without_a_file_it_is_wrong_usage(void **state)
{
	cleanup_program_result struct program_result r = program_run((const char *const[]){ "check", NULL });

	assert_int_equal(r.status, 2);
	assert_non_null(strstr(r.err, "words are missing: secretlet check [OPTION...] FILE..."));
}

static void a_wrong_option_of_a_volume_has_its_place(void **state)
{
	put("pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations:\n"
			"    secretlet.dev/volumes: |\n      creds:\n        owner: root\n      other: {}\n"
			"spec: {containers: [{name: c}], volumes: [{name: creds, configMap: {name: c}}]}\n");
	cleanup_program_result struct program_result r = CHECK("pod.yaml");

	assert_int_equal(r.status, 1);
	assert_non_null(strstr(r.out, "pod.yaml:8:16: error: "));
	assert_non_null(strstr(r.out, "creds.owner: must be a number from 0 to 4294967294"));
	assert_non_null(strstr(r.out, "pod.yaml:9:7: warning: "));
	assert_non_null(strstr(r.out, ": 1 error, "));
}

static void the_examples_are_fine(void **state)
{
	static const char *const names[] = { "examples/secretlet.yaml", "examples/demo/web.yaml",
					     "examples/options.yaml" };
	cleanup_free char *config = strdup(program_source(names[0])), *demo = file_dirname(program_source(names[1])),
			  *options = strdup(program_source(names[2]));
	cleanup_program_result struct program_result r = CHECK(config, demo, options);

	assert_int_equal(r.status, 0);
	assert_non_null(strstr(r.out, ": 0 errors, 0 warnings\n"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_finding_is_one_line_with_its_place),
		TEST(a_volume_whose_paths_cannot_be_is_an_error),
		TEST(a_volume_of_too_many_items_is_an_error),
		TEST(two_files_with_one_object_are_both_named),
		TEST(a_file_that_is_named_twice_is_one_file),
		TEST(a_reference_is_found_in_another_file),
		TEST(a_folder_means_the_files_that_the_daemon_reads),
		TEST(what_cannot_be_read_is_an_error),
		TEST(standard_input_is_a_file),
		TEST(programs_get_json),
		TEST(json_counts_and_tells_warnings_from_errors),
		TEST(findings_come_in_the_order_of_files_and_lines),
		TEST(findings_are_limited),
		TEST(values_are_never_shown),
		TEST(a_name_cannot_steer_the_terminal),
		TEST(without_a_file_it_is_wrong_usage),
		TEST(a_wrong_option_of_a_volume_has_its_place),
		TEST(the_examples_are_fine),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
