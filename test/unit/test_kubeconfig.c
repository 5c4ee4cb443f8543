/* Kubeconfig: what is read, and that everything else is refused with its place. */
#include "agent/kubeconfig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "common/b64.h"
#include "common/file.h"
#include "common/log.h"
#include "common/str.h"

#define CERT "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n"
#define KEY  "-----BEGIN PRIVATE KEY-----\nYQ==\n-----END PRIVATE KEY-----\n"

static char dir[64];

static char *write_bytes(const char *name, const char *bytes, size_t len)
{
	char *path = file_join(dir, name);
	struct err e = ERR_INIT;

	if (file_write_atomic(path, bytes, len, 0600, &e) < 0)
		fail_msg("%s", err_text(&e));
	return path;
}

static char *write_file(const char *name, const char *text)
{
	return write_bytes(name, text, strlen(text));
}

static int load(const char *text, struct kubeconfig **ret_k, struct err *e)
{
	cleanup_free char *path = write_file("kubeconfig", text);

	return kubeconfig_load(path, ret_k, e);
}

static struct kubeconfig *loaded(const char *text)
{
	struct kubeconfig *k = NULL;
	struct err e = ERR_INIT;

	if (load(text, &k, &e) < 0)
		fail_msg("%s", err_text(&e));
	return k;
}

#define HEAD                                                                                                           \
	"apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n"                                                \
	"- {name: other, context: {cluster: none, user: none}}\n- {name: c, context: {cluster: k, user: u}}\n"
#define WITH(cluster, user)                                                                                            \
	HEAD "clusters:\n- name: k\n  cluster:\n    server: https://h:6443\n" cluster                                  \
	     "users:\n- name: u\n  user:\n    x: 1\n" user

static void files_and_data_are_read(void **state)
{
	cleanup_free char *ca = write_file("ca.crt", CERT), *cert = write_file("c.crt", CERT),
			  *key = write_file("c.key", KEY);
	cleanup_free char *cert64 = NULL, *key64 = NULL, *text = NULL, *absolute = NULL;
	cleanup_kubeconfig struct kubeconfig *by_file = NULL, *by_data = NULL, *by_path = NULL;

	by_file = loaded(WITH("    certificate-authority: ca.crt\n    tls-server-name: api.example\n",
			      "    client-certificate: ./c.crt\n    client-key: c.key\n"));
	assert_string_equal(by_file->server, "https://h:6443");
	assert_string_equal(by_file->tls_server_name, "api.example");
	assert_string_equal(by_file->ca, CERT);
	assert_string_equal(by_file->client_cert, CERT);
	assert_string_equal(by_file->client_key, KEY);
	assert_null(by_file->token);
	assert_null(by_file->token_file);
	assert_false(by_file->insecure);

	assert_int_equal(b64_encode(CERT, strlen(CERT), &cert64), 0);
	assert_int_equal(b64_encode(KEY, strlen(KEY), &key64), 0);
	text = str_format(WITH("    certificate-authority-data: %s\n    certificate-authority: missing\n",
			       "    client-certificate-data: %s\n    client-key-data: %s\n    client-key: missing\n"),
			  cert64, cert64, key64);
	by_data = loaded(text);
	assert_string_equal(by_data->ca, CERT);
	assert_string_equal(by_data->client_cert, CERT);
	assert_string_equal(by_data->client_key, KEY);

	absolute = str_format(WITH("    certificate-authority: %s\n", ""), ca);
	by_path = loaded(absolute);
	assert_string_equal(by_path->ca, CERT);
}

static void paths_start_at_the_kubeconfigs_folder(void **state)
{
	cleanup_free char *ca = write_file("ca.crt", CERT), *token = write_file("token", "t\n"), *path = NULL;
	cleanup_kubeconfig struct kubeconfig *k = NULL;
	struct err e = ERR_INIT;
	char cwd[4096];

	path = write_file("kubeconfig", WITH("    certificate-authority: ca.crt\n", "    tokenFile: token\n"));
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(chdir(dir), 0);
	if (kubeconfig_load("kubeconfig", &k, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_int_equal(chdir(cwd), 0);
	assert_true(k->token_file[0] == '/');
	assert_int_equal(access(k->token_file, R_OK), 0);
}

static void tokens_are_read(void **state)
{
	cleanup_free char *path = write_file("token", " \n\tfile-token\r\n \n");
	cleanup_kubeconfig struct kubeconfig *plain = NULL, *file = NULL, *both = NULL, *fallback = NULL;

	plain = loaded(WITH("", "    token: abc.def\n"));
	assert_string_equal(plain->token, "abc.def");
	assert_null(plain->token_file);
	file = loaded(WITH("", "    tokenFile: token\n"));
	assert_string_equal(file->token, "file-token");
	assert_string_equal(file->token_file, path);
	both = loaded(WITH("", "    tokenFile: token\n    token: other\n"));
	assert_string_equal(both->token, "file-token");
	fallback = loaded(WITH("", "    tokenFile: missing\n    token: other\n"));
	assert_string_equal(fallback->token, "other");
	assert_non_null(fallback->token_file);
}

static void harmless_fields_are_passed_over(void **state)
{
	cleanup_kubeconfig struct kubeconfig *k = loaded("preferences: {colors: true}\nextensions: []\n" WITH(
		"    disable-compression: true\n    proxy-url: \"\"\n    extensions: []\n    insecure-skip-tls-verify: "
		"yes\n",
		"    exec: null\n    username: \"\"\n"));

	assert_true(k->insecure);
	assert_null(k->ca);
}

static void insecure_false_is_false(void **state)
{
	static const char *const WORDS[] = { "false", "no", "off", "False", "FALSE" };
	cleanup_free char *ca = write_file("ca.crt", CERT);

	for (size_t i = 0; i < ARRAY_SIZE(WORDS); i++) {
		cleanup_free char *text = str_format(
			WITH("    insecure-skip-tls-verify: %s\n    certificate-authority: ca.crt\n", ""), WORDS[i]);
		cleanup_kubeconfig struct kubeconfig *k = loaded(text);

		assert_false(k->insecure);
	}
}

static void anonymous_user_is_allowed(void **state)
{
	cleanup_kubeconfig struct kubeconfig *k =
		loaded(HEAD "clusters: [{name: k, cluster: {server: http://h}}]\nusers: [{name: u, user: {}}]\n");

	assert_string_equal(k->server, "http://h");
	assert_null(k->client_cert);
}

static void scheme_may_be_written_in_capitals(void **state)
{
	cleanup_kubeconfig struct kubeconfig *k =
		loaded(HEAD "clusters: [{name: k, cluster: {server: \"HTTPS://H/Path\"}}]\n"
			    "users: [{name: u, user: {}}]\n");

	assert_string_equal(k->server, "https://H/Path");
}

static void refusals_name_line_column_and_field(void **state)
{
	static const struct {
		const char *text, *problem; /* after the path */
	} CASES[] = {
		{ "", ": must be one YAML document, has 0" },
		{ "[]\n", ":1:1: is not a kubeconfig" },
		{ "a: [\n", ":" },
		{ "a: 1\n---\nb: 1\n", ": must be one YAML document, has 2" },
		{ "kind: Secret\n", ":1:7: kind is not Config" },
		{ "apiVersion: v2\n", ":1:13: apiVersion is not v1" },
		{ "kind: Config\n", ":1:1: current-context is missing" },
		{ "current-context: 3\n", ":1:18: current-context must be a string" },
		{ "current-context: c\n", ":1:18: there is no context \"c\"" },
		{ "current-context: c\ncontexts: 3\n", ":2:11: contexts must be a list" },
		{ "current-context: c\ncontexts: [3]\n", ":2:12: contexts[0] must be a mapping" },
		{ "current-context: c\ncontexts: [{name: c}]\n", ":2:12: context \"c\" is empty" },
		{ "current-context: c\ncontexts: [{name: c, context: []}]\n", ":2:31: context must be a mapping" },
		{ "current-context: c\ncontexts: [{name: c, context: {user: u}}]\n",
		  ":2:31: context \"c\": cluster is missing" },
		{ "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n",
		  ":2:31: context \"c\": user is missing" },
		{ HEAD, ":6:32: there is no cluster \"k\"" },
		{ HEAD "clusters: [{name: k, cluster: {server: https://h}}]\n", ":6:41: there is no user \"u\"" },
		{ HEAD "clusters: [{name: k, cluster: {insecure-skip-tls-verify: true}}]\n", "server is missing" },
		{ HEAD "clusters: [{name: k, cluster: {server: \"h:6443\"}}]\n", "server must be a URL" },
		{ HEAD "clusters: [{name: k, cluster: {server: \"file:///etc/passwd\"}}]\n", "server must be a URL" },
		{ WITH("    tls-server-name: a/b\n", ""), "tls-server-name is not a DNS name" },
		{ WITH("    insecure-skip-tls-verify: maybe\n", ""), "insecure-skip-tls-verify must be true or false" },
		{ WITH("    certificate-authority: missing.crt\n", ""), "certificate-authority: " },
		{ WITH("    certificate-authority-data: '%%'\n", ""), "certificate-authority-data is not base64" },
		{ WITH("    certificate-authority-data: YQ==\n", ""),
		  "certificate-authority-data is not a PEM certificate" },
		{ WITH("    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t\n"
		       "    insecure-skip-tls-verify: true\n",
		       ""),
		  "specifying a root certificates file with the insecure flag is not allowed" },
		{ WITH("    proxy-url: ftp://hunter2@p\n", ""), ":11:16: proxy-url must be a URL with http://" },
		{ WITH("    proxy-url: p:3128\n", ""), "proxy-url must be a URL with http://" },
		{ WITH("    proxy-url: [x]\n", ""), "proxy-url must be a string" },
		{ WITH("", "    exec: {command: x}\n"), ":15:11: exec is not supported" },
		{ WITH("", "    auth-provider: {name: x}\n"), "auth-provider is not supported" },
		{ WITH("", "    username: x\n"), "username is not supported" },
		{ WITH("", "    password: x\n"), "password is not supported" },
		{ WITH("", "    as: x\n"), "as is not supported" },
		{ WITH("", "    as-uid: x\n"), "as-uid is not supported" },
		{ WITH("", "    as-groups: [x]\n"), "as-groups is not supported" },
		{ WITH("", "    as-user-extra: {a: [b]}\n"), "as-user-extra is not supported" },
		{ WITH("", "    client-certificate-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t\n"),
		  "client-certificate without client-key" },
		{ WITH("", "    client-key-data: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t\n"),
		  "client-key without client-certificate" },
		{ WITH("", "    client-key-data: LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFURSBLRVktLS0tLQ==\n"),
		  "client-key-data is encrypted" },
		{ WITH("", "    client-key-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t\n"),
		  "client-key-data is not a PEM private key" },
		{ WITH("", "    client-key-data: 7\n"), "client-key-data must be a string" },
		{ WITH("", "    token: 7\n"), "token must be a string" },
		{ WITH("", "    token: \"a\\nb\"\n"), "token holds characters" },
		{ WITH("", "    token: \"a b\"\n"), "token holds characters" },
		{ WITH("", "    tokenFile: missing\n"), ":15:16: tokenFile: open " },
		{ WITH("", "    tokenFile: empty\n"), "the token is empty" },
		{ WITH("", "    tokenFile: odd\n"), "the token holds characters" },
		{ WITH("", "    tokenFile: .\n"), "tokenFile: " },
		{ WITH("", "    tokenFile: nul-token\n"), "the token holds a NUL byte" },
		{ WITH("", "    tokenFile: fifo\n"), "tokenFile: " },
		{ WITH("", "    token: \"a\\0b\"\n"), "token must not hold a NUL byte" },
		{ WITH("    certificate-authority: nul.crt\n", ""), "nul.crt is not a PEM certificate" },
		/* the marker and a NUL byte */
		{ WITH("    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tAA==\n", ""),
		  "certificate-authority-data is not a PEM certificate" },
	};
	cleanup_free char *empty = write_file("empty", " \n"), *odd = write_file("odd", "a\nb\n"),
			  *nul_cert = write_bytes("nul.crt", CERT, sizeof(CERT)),
			  *nul_token = write_bytes("nul-token", "a\0b", 3), *fifo = file_join(dir, "fifo"),
			  *path = file_join(dir, "kubeconfig");

	assert_int_equal(mkfifo(fifo, 0600), 0);
	alarm(60); /* who opens a fifo may wait for ever */

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct kubeconfig *k = NULL;
		struct err e = ERR_INIT;

		if (load(CASES[i].text, &k, &e) == 0)
			fail_msg("accepted: %s", CASES[i].text);
		assert_null(k);
		assert_true(str_starts(err_text(&e), path));
		if (!strstr(err_text(&e) + strlen(path), CASES[i].problem))
			fail_msg("%s: %s", CASES[i].problem, err_text(&e));
	}
	alarm(0);
}

static void errors_hold_no_credential(void **state)
{
	static const char *const TEXTS[] = {
		WITH("", "    token: \"hunter2 hunter2\"\n"),
		WITH("", "    client-key-data: hunter2\n"),
		WITH("", "    client-key-data: aHVudGVyMg==\n"),
		WITH("", "    token: hunter2\n    token: hunter2\n"),
		WITH("", "    token: [hunter2\n"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(TEXTS); i++) {
		struct kubeconfig *k = NULL;
		struct err e = ERR_INIT;

		assert_true(load(TEXTS[i], &k, &e) < 0);
		assert_null(strstr(err_text(&e), "hunter2"));
	}
}

static void missing_and_huge_files_are_refused(void **state)
{
	cleanup_free char *big = malloc(5 * 1024 * 1024), *path = file_join(dir, "missing");
	struct kubeconfig *k = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(kubeconfig_load(path, &k, &e), -ENOENT);
	assert_non_null(strstr(err_text(&e), path));
	memset(big, '#', 5 * 1024 * 1024 - 1);
	big[5 * 1024 * 1024 - 1] = '\0';
	assert_int_equal(load(big, &k, &e), -EFBIG);
	assert_null(k);
}

static void huge_credentials_are_refused(void **state)
{
	const size_t data_len = 1536 * 1024, token_len = KUBECONFIG_TOKEN_MAX + 1;
	cleanup_free char *data = malloc(data_len + 1), *token = malloc(token_len + 1), *text = NULL, *path = NULL;
	cleanup_kubeconfig struct kubeconfig *k = NULL;
	struct err e = ERR_INIT;

	memset(data, 'A', data_len);
	data[data_len] = '\0';
	text = str_format(WITH("    certificate-authority-data: %s\n", ""), data);
	assert_int_equal(load(text, &k, &e), -EINVAL);
	assert_non_null(strstr(err_text(&e), "certificate-authority-data is too long"));
	memset(token, 't', token_len);
	token[token_len] = '\0';
	path = write_file("token", token);
	assert_int_equal(load(WITH("", "    tokenFile: token\n"), &k, &e), -EINVAL);
	assert_non_null(strstr(err_text(&e), "tokenFile: "));
	token[token_len - 1] = '\0';
	free(path);
	path = write_file("token", token);
	k = loaded(WITH("", "    tokenFile: token\n"));
	assert_string_equal(k->token, token);
}

static void pods_credentials_are_found(void **state)
{
	static const struct {
		const char *host, *port, *server;
	} CASES[] = {
		{ "10.96.0.1", "443", "https://10.96.0.1:443" },
		{ "fd00::1", "6443", "https://[fd00::1]:6443" },
		{ "[fd00::1]", "6443", "https://[fd00::1]:6443" },
		{ "api.example", "443", "https://api.example:443" },
	};
	cleanup_free char *ca = write_file("ca.crt", CERT), *token = write_file("token", "abc\n");

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_kubeconfig struct kubeconfig *k = NULL;
		struct err e = ERR_INIT;

		setenv("KUBERNETES_SERVICE_HOST", CASES[i].host, 1);
		setenv("KUBERNETES_SERVICE_PORT", CASES[i].port, 1);
		assert_true(kubeconfig_is_in_cluster(dir));
		if (kubeconfig_in_cluster(dir, &k, &e) < 0)
			fail_msg("%s", err_text(&e));
		assert_string_equal(k->server, CASES[i].server);
		assert_string_equal(k->token, "abc");
		assert_string_equal(k->token_file, token);
		assert_string_equal(k->ca, CERT);
		assert_string_equal(k->ca_file, ca);
		assert_null(k->client_cert);
		assert_false(k->insecure);
	}
}

static void incomplete_pods_credentials_are_refused(void **state)
{
	cleanup_free char *ca = write_file("ca.crt", CERT), *token = write_file("token", "abc\n");
	struct kubeconfig *k = NULL;
	struct err e = ERR_INIT;

	setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
	unsetenv("KUBERNETES_SERVICE_PORT");
	assert_false(kubeconfig_is_in_cluster(dir));
	assert_int_equal(kubeconfig_in_cluster(dir, &k, &e), -ENOENT);
	assert_non_null(strstr(err_text(&e), "KUBERNETES_SERVICE_PORT"));
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	unsetenv("KUBERNETES_SERVICE_HOST");
	assert_false(kubeconfig_is_in_cluster(dir));
	assert_int_equal(kubeconfig_in_cluster(dir, &k, &e), -ENOENT);
	setenv("KUBERNETES_SERVICE_HOST", "", 1);
	assert_false(kubeconfig_is_in_cluster(dir));
	setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	assert_int_equal(unlink(ca), 0);
	assert_false(kubeconfig_is_in_cluster(dir));
	assert_int_equal(kubeconfig_in_cluster(dir, &k, &e), -ENOENT);
	assert_non_null(strstr(err_text(&e), "ca.crt"));
	assert_int_equal(unlink(token), 0);
	free(ca);
	ca = write_file("ca.crt", CERT);
	assert_false(kubeconfig_is_in_cluster(dir));
	assert_int_equal(kubeconfig_in_cluster(dir, &k, &e), -ENOENT);
	assert_non_null(strstr(err_text(&e), "token"));
	unsetenv("KUBERNETES_SERVICE_HOST");
	unsetenv("KUBERNETES_SERVICE_PORT");
	assert_null(k);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int group_setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/test_kubeconfig.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_and_data_are_read),
		cmocka_unit_test(paths_start_at_the_kubeconfigs_folder),
		cmocka_unit_test(tokens_are_read),
		cmocka_unit_test(harmless_fields_are_passed_over),
		cmocka_unit_test(insecure_false_is_false),
		cmocka_unit_test(anonymous_user_is_allowed),
		cmocka_unit_test(scheme_may_be_written_in_capitals),
		cmocka_unit_test(refusals_name_line_column_and_field),
		cmocka_unit_test(errors_hold_no_credential),
		cmocka_unit_test(missing_and_huge_files_are_refused),
		cmocka_unit_test(huge_credentials_are_refused),
		cmocka_unit_test(pods_credentials_are_found),
		cmocka_unit_test(incomplete_pods_credentials_are_refused),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
