/* Configuration: every field, every refusal with its exact place, and the example file that ships. */
#include "agent/config.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/file.h"
#include "common/str.h"
#include "test/lib/skip.h"

#define HEAD "apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\n"

static char dir[64], file[96];

static int make_dir(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/test_config.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(file, sizeof(file), "%s/secretlet.yaml", dir);
	return 0;
}

static int remove_dir(void **state)
{
	unlink(file);
	return rmdir(dir);
}

static int load(struct config *c, const char *text, struct err *e)
{
	assert_int_equal(file_write_atomic(file, text, strlen(text), 0600, NULL), 0);
	return config_load(c, file, e);
}

static struct config *loaded(const char *text)
{
	struct config *c = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(config_new(&c), 0);
	if (load(c, text, &e) < 0)
		fail_msg("%s", err_text(&e));
	return c;
}

/* ---- the file ---- */

static void every_field_is_read(void **state)
{
	cleanup_config struct config *c =
		loaded(HEAD "kubeconfig: /k\nnodeName: node-1\npodsDir: /p\nruntimeDir: /r\n"
			    "user: agent\ncontrolSocketGroup: adm\nsecretMemoryLimit: 8Mi\n"
			    "memoryLock: warn\nlogLevel: debug\nserveEnvironment: true\n"
			    "kubeAPIQPS: 7\nkubeAPIBurst: 9\n"
			    "configMapAndSecretChangeDetectionStrategy: Cache\n"
			    "syncFrequency: 2m\nsecretCacheTTL: 0\n"
			    "mountFailureEvents: false\nrotationEvents: off\neventRecordQPS: 0\neventBurst: 3\n"
			    "signalContainers: true\nextendedAttributes: true\n"
			    "metricsBindAddress: '[::1]:10249'\nhealthzBindAddress: 10.0.0.1\nhealthzPort: 10248\n");
	cleanup_config struct config *m = loaded(HEAD "manifestsDir: /m\nsealedSecretsKeyFile: keys/sealing.key\n");
	cleanup_free char *key_file = str_format("%s/keys/sealing.key", dir);

	assert_string_equal(c->path, file);
	assert_string_equal(c->kubeconfig, "/k");
	assert_null(c->manifests_dir);
	assert_string_equal(c->node_name, "node-1");
	assert_string_equal(c->pods_dir, "/p");
	assert_string_equal(c->runtime_dir, "/r");
	assert_string_equal(c->user, "agent");
	assert_string_equal(c->control_group, "adm");
	assert_true(c->signal_containers);
	assert_false(m->signal_containers);
	assert_int_equal(c->secret_memory_limit, 8 << 20);
	assert_int_equal(c->memory_lock, CONFIG_LOCK_WARN);
	assert_string_equal(c->metrics_address, "[::1]:10249");
	assert_null(m->metrics_address);
	assert_string_equal(c->healthz_address, "10.0.0.1");
	assert_int_equal(c->healthz_port, 10248);
	assert_int_equal(m->healthz_port, 0);
	assert_true(c->serve_environment);
	assert_false(m->serve_environment);
	assert_int_equal(c->kube_api_qps, 7);
	assert_true(c->extended_attributes);
	assert_false(m->extended_attributes);
	assert_int_equal(c->kube_api_burst, 9);
	assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(c->tuning.strategy, SOURCE_CACHE);
	assert_int_equal(c->tuning.sync_usec, 120 * USEC_PER_SEC);
	assert_int_equal(c->tuning.cache_ttl_usec, 0);
	assert_int_equal(m->tuning.strategy, SOURCE_WATCH);
	assert_int_equal(m->tuning.sync_usec, 60 * USEC_PER_SEC);
	assert_int_equal(m->tuning.cache_ttl_usec, 60 * USEC_PER_SEC);
	assert_false(c->tuning.events.failures);
	assert_false(c->tuning.events.rotations);
	assert_int_equal(c->tuning.events.qps, 0);
	assert_int_equal(c->tuning.events.burst, 3);
	assert_true(m->tuning.events.failures);
	assert_true(m->tuning.events.rotations);
	assert_int_equal(m->tuning.events.qps, 5);
	assert_int_equal(m->tuning.events.burst, 10);
	assert_string_equal(m->manifests_dir, "/m");
	assert_string_equal(m->sealing_key_file, key_file);
	assert_null(c->sealing_key_file);
	assert_int_equal(m->log_level, LOG_LEVEL_INFO);
}

static void a_path_is_relative_to_the_file(void **state)
{
	cleanup_config struct config *c = loaded(HEAD "kubeconfig: a/kubelet.conf\n");
	cleanup_free char *path = file_join(dir, "a/kubelet.conf");

	assert_string_equal(c->kubeconfig, path);
}

static void null_is_absent(void **state)
{
	cleanup_config struct config *c =
		loaded(HEAD "nodeName: ~\npodsDir:\nsecretMemoryLimit: null\nlogLevel:\n---\n");

	assert_null(c->node_name);
	assert_null(c->pods_dir);
	assert_int_equal(c->secret_memory_limit, 0);
	assert_int_equal(c->log_level, LOG_LEVEL_INFO);
}

static const struct {
	const char *text;
	uint64_t bytes;
} QUANTITIES[] = {
	{ "2Mi", 2 << 20 },	  { "2097152", 2097152 },   { "'2097152'", 2097152 }, { "3M", 3000000 },
	{ "3000k", 3000000 },	  { "4096Ki", 4 << 20 },    { "1.5Gi", 1610612736 },  { "2.5M", 2500000 },
	{ "2097152.5", 2097153 }, { "2097151.9", 2097152 }, { "1G", 1000000000 },     { "32Gi", UINT64_C(32) << 30 },
	{ "0.25Gi", 256 << 20 },  { "5.Mi", 5 << 20 },
};

static void quantities_are_kubernetes_quantities(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(QUANTITIES); i++) {
		cleanup_free char *text = str_format(HEAD "secretMemoryLimit: %s\n", QUANTITIES[i].text);
		cleanup_config struct config *c = loaded(text);

		if (c->secret_memory_limit != QUANTITIES[i].bytes)
			fail_msg("%s: %llu", QUANTITIES[i].text, (unsigned long long)c->secret_memory_limit);
	}
}

#define NOT_A_QUANTITY ": secretMemoryLimit: must be a quantity of bytes, such as 256Mi"
#define NOT_A_PLACE    ": metricsBindAddress: must be an IP address and a port, such as 127.0.0.1:10249 or [::1]:10249"
#define NOT_A_PORT     ": healthzPort: must be a port between 1 and 65535, or 0 for none"
#define NOT_A_COUNT    ": kubeAPIQPS: must be a whole number between 1 and 100000"
#define OUT_OF_BOUNDS  ": secretMemoryLimit: must be between 2Mi and 32Gi"

/* Every text begins with HEAD unless it has a kind of its own. */
static const struct {
	const char *text, *reason; /* reason follows the file's name */
} REFUSED[] = {
	/* the document */
	{ "", ":1:1: the file is empty" },
	{ "# nothing\n---\n", ":1:1: the file is empty" },
	{ "- kind\n", ":1:1: must be a mapping (`field: value` lines)" },
	{ "words", ":1:1: must be a mapping (`field: value` lines)" },
	{ "a: 1\na: 2\n", ":2:1: this key is there already" },
	{ "a: [\n", ":2:1: did not find expected node content" },
	{ HEAD "---\n" HEAD, ":4:1: a second document; the configuration is a single one" },
	/* what it is */
	{ "kind: SecretletConfiguration\n", ":1:1: apiVersion: is missing; it must be secretlet.config/v1alpha1" },
	{ "apiVersion: secretlet.config/v1alpha1\n", ":1:1: kind: is missing; it must be SecretletConfiguration" },
	{ "apiVersion: secretlet.config/v1alpha1\nkind:\n",
	  ":2:6: kind: is missing; it must be SecretletConfiguration" },
	{ "apiVersion: v1\nkind: Config\nclusters: []\n", ":1:13: apiVersion: must be secretlet.config/v1alpha1" },
	{ "apiVersion: secretlet.config/v1alpha1\nkind: Secret\n", ":2:7: kind: must be SecretletConfiguration" },
	{ "apiVersion: 1\nkind: x\n", ":1:13: apiVersion: must be a string (put it in quotes)" },
	/* fields */
	{ HEAD "podDir: /p\n", ":3:1: unknown field `podDir`; did you mean `podsDir`?" },
	{ HEAD "PodsDir: /p\n", ":3:1: unknown field `PodsDir`; did you mean `podsDir`?" },
	{ HEAD "kubeConfig: /p\n", ":3:1: unknown field `kubeConfig`; did you mean `kubeconfig`?" },
	{ HEAD "manifestDir: /p\n", ":3:1: unknown field `manifestDir`; did you mean `manifestsDir`?" },
	{ HEAD "users: x\n", ":3:1: unknown field `users`; did you mean `user`?" },
	{ HEAD "loglevels: x\n", ":3:1: unknown field `loglevels`; did you mean `logLevel`?" },
	{ HEAD "x: 1\n", ":3:1: unknown field `x`" },
	{ HEAD "staticPodPath: /x\n", ":3:1: unknown field `staticPodPath`" },
	{ HEAD "yes: 1\n", ":3:1: unknown field `true`" },
	{ HEAD "kubeconfig: /k\nmanifestsDir: /m\n", ":4:1: kubeconfig and manifestsDir exclude each other" },
	/* types */
	{ HEAD "podsDir: 1\n", ":3:10: podsDir: must be a string (put it in quotes)" },
	{ HEAD "podsDir: [/p]\n", ":3:10: podsDir: must be a string" },
	{ HEAD "user: {a: b}\n", ":3:7: user: must be a string" },
	{ HEAD "user: yes\n", ":3:7: user: must be a string (put it in quotes)" },
	{ HEAD "nodeName: 0x10\n", ":3:11: nodeName: must be a string (put it in quotes)" },
	{ HEAD "podsDir: \"/p\\0x\"\n", ":3:10: podsDir: must not contain NUL" },
	{ HEAD "podsDir: ''\n", ":3:10: podsDir: must not be empty" },
	{ HEAD "kubeconfig: \"\"\n", ":3:13: kubeconfig: must not be empty" },
	{ HEAD "user: ''\n", ":3:7: user: must not be empty" },
	/* values */
	{ HEAD "podsDir: /a/../b\n", ":3:10: podsDir: must not contain `..`" },
	{ HEAD "podsDir: ..\n", ":3:10: podsDir: must not contain `..`" },
	{ HEAD "runtimeDir: /\n", ":3:13: runtimeDir: must not be the root folder" },
	{ HEAD "podsDir: //./\n", ":3:10: podsDir: must not be the root folder" },
	{ HEAD "nodeName: Node\n", ":3:11: nodeName: a node's name consists of lower-case letters, ..." },
	{ HEAD "nodeName: a_b\n", ":3:11: nodeName: a node's name ..." },
	{ HEAD "nodeName: -a\n", ":3:11: nodeName: a node's name ..." },
	{ HEAD "user: 'a b'\n", ":3:7: user: a user's name consists of letters, digits, `_`, `-` and `.`" },
	{ HEAD "user: a:b\n", ":3:7: user: a user's name consists of ..." },
	{ HEAD "user: '-a'\n", ":3:7: user: a user's name has at most 32 characters and does not begin with `-`" },
	{ HEAD "user: a23456789012345678901234567890123\n", ":3:7: user: a user's name has at most 32 ..." },
	{ HEAD "controlSocketGroup: a:b\n", ":3:21: controlSocketGroup: a group's name consists of letters, ..." },
	{ HEAD "controlSocketGroup: -a\n", ":3:21: controlSocketGroup: a group's name has at most 32 characters ..." },
	{ HEAD "user: root\n", ":3:7: user: must not be root: the agent runs without privileges" },
	{ HEAD "user: '0'\n", ":3:7: user: must not be root: the agent runs without privileges" },
	{ HEAD "metricsBindAddress: localhost:10249\n", ":3:21" NOT_A_PLACE },
	{ HEAD "metricsBindAddress: 10249\n", ":3:21: metricsBindAddress: must be a string (put it in quotes)" },
	{ HEAD "healthzBindAddress: 127.0.0.1:10248\n",
	  ":3:21: healthzBindAddress: must be an IP address, such as 127.0.0.1" },
	{ HEAD "healthzPort: 65536\n", ":3:14" NOT_A_PORT },
	{ HEAD "healthzPort: -1\n", ":3:14" NOT_A_PORT },
	{ HEAD "healthzPort: '1'\n", ":3:14" NOT_A_PORT },
	{ HEAD "kubeAPIQPS: 0\n", ":3:13" NOT_A_COUNT },
	{ HEAD "kubeAPIQPS: -1\n", ":3:13" NOT_A_COUNT },
	{ HEAD "kubeAPIQPS: 1.5\n", ":3:13" NOT_A_COUNT },
	{ HEAD "kubeAPIQPS: '5'\n", ":3:13" NOT_A_COUNT },
	{ HEAD "kubeAPIQPS: many\n", ":3:13" NOT_A_COUNT },
	{ HEAD "kubeAPIQPS: 100001\n", ":3:13" NOT_A_COUNT },
	{ HEAD "kubeAPIQPS: 99999999999999999999\n", ":3:13" NOT_A_COUNT },
	{ HEAD "kubeAPIBurst: []\n", ":3:15: kubeAPIBurst: must be a whole number between 1 and 100000" },
	{ HEAD "eventRecordQPS: -1\n", ":3:17: eventRecordQPS: must be a whole number between 0 and 100000" },
	{ HEAD "eventRecordQPS: '5'\n", ":3:17: eventRecordQPS: must be a whole number between 0 and 100000" },
	{ HEAD "eventRecordQPS: 100001\n", ":3:17: eventRecordQPS: must be a whole number between 0 and 100000" },
	{ HEAD "eventBurst: 0\n", ":3:13: eventBurst: must be a whole number between 1 and 100000" },
	{ HEAD "rotationEvents: 1\n", ":3:17: rotationEvents: must be true or false" },
	{ HEAD "mountFailureEvents: 'true'\n", ":3:21: mountFailureEvents: must be true or false" },
	{ HEAD "logLevel: loud\n", ":3:11: logLevel: must be one of error, warning, info, debug" },
	{ HEAD "logLevel: ''\n", ":3:11: logLevel: must be one of error, warning, info, debug" },
	{ HEAD "configMapAndSecretChangeDetectionStrategy: watch\n",
	  ":3:44: configMapAndSecretChangeDetectionStrategy: must be one of Watch, Cache, Get" },
	{ HEAD "configMapAndSecretChangeDetectionStrategy: 1\n",
	  ":3:44: configMapAndSecretChangeDetectionStrategy: must be a string (put it in quotes)" },
	{ HEAD "configMapAndSecretChangeDetectionStrateg: Get\n",
	  ":3:1: unknown field `configMapAndSecretChangeDetectionStrateg`; did you mean "
	  "`configMapAndSecretChangeDetectionStrategy`?" },
	{ HEAD "syncFrequency: often\n", ":3:16: syncFrequency: must be a duration, such as 1m30s" },
	{ HEAD "syncFrequency: 60\n", ":3:16: syncFrequency: must be a duration, such as 1m30s" },
	{ HEAD "syncFrequency: 0\n", ":3:16: syncFrequency: must be between 1s and 24h" },
	{ HEAD "syncFrequency: 999ms\n", ":3:16: syncFrequency: must be between 1s and 24h" },
	{ HEAD "syncFrequency: 25h\n", ":3:16: syncFrequency: must be between 1s and 24h" },
	{ HEAD "secretCacheTTL: -1s\n", ":3:17: secretCacheTTL: must be a duration, such as 1m30s" },
	{ HEAD "agentHangTimeout: 0\n", ":3:19: agentHangTimeout: must be between 1s and 24h" },
	{ HEAD "connectionAbortTimeout: 25h\n", ":3:25: connectionAbortTimeout: must be between 1s and 24h" },
	{ HEAD "connectionAbortTimeout: soon\n", ":3:25: connectionAbortTimeout: must be a duration, such as 1m30s" },
	{ HEAD "secretCacheTTL: 25h\n", ":3:17: secretCacheTTL: must be between 0 and 24h" },
	{ HEAD "secretMemoryLimit: much\n", ":3:20" NOT_A_QUANTITY },
	{ HEAD "secretMemoryLimit: ''\n", ":3:20" NOT_A_QUANTITY },
	{ HEAD "secretMemoryLimit: .\n", ":3:20" NOT_A_QUANTITY },
	{ HEAD "secretMemoryLimit: Mi\n", ":3:20" NOT_A_QUANTITY },
	{ HEAD "secretMemoryLimit: -1\n", ":3:20" NOT_A_QUANTITY },
	{ HEAD "secretMemoryLimit: 256MiB\n", ":3:20" NOT_A_QUANTITY },
	{ HEAD "secretMemoryLimit: 256 Mi\n", ":3:20" NOT_A_QUANTITY },
	{ HEAD "secretMemoryLimit: 256mi\n", ":3:20" NOT_A_QUANTITY },
	{ HEAD "secretMemoryLimit: 1.2.3Gi\n", ":3:20" NOT_A_QUANTITY },
	{ HEAD "secretMemoryLimit: 0x2000000\n", ":3:20" NOT_A_QUANTITY },
	{ HEAD "secretMemoryLimit: 1234567890123456789\n", ":3:20" NOT_A_QUANTITY },
	{ HEAD "secretMemoryLimit: 1Mi\n", ":3:20" OUT_OF_BOUNDS },
	{ HEAD "secretMemoryLimit: 0\n", ":3:20" OUT_OF_BOUNDS },
	{ HEAD "secretMemoryLimit: 32.001Gi\n", ":3:20" OUT_OF_BOUNDS },
	{ HEAD "secretMemoryLimit: 999999999999999999Gi\n", ":3:20" OUT_OF_BOUNDS },
	{ HEAD "memoryLock: true\n", ":3:13: memoryLock: must be a string (put it in quotes)" },
	{ HEAD "memoryLock: Require\n", ":3:13: memoryLock: must be one of require, requireAll, warn" },
	{ HEAD "secretMemoryLimit: true\n", ":3:20: secretMemoryLimit: must be a string (put it in quotes)" },
	{ HEAD "secretMemoryLimit: [1]\n", ":3:20: secretMemoryLimit: must be a string" },
};

static bool matches(const char *text, const char *pattern)
{
	size_t len = strlen(pattern);

	return str_eq(pattern + len - 3, "...") ? strncmp(text, pattern, len - 3) == 0 : str_eq(text, pattern);
}

static void mistakes_are_named_with_their_place(void **state)
{
	size_t n_wrong = 0;

	for (size_t i = 0; i < ARRAY_SIZE(REFUSED); i++) {
		cleanup_config struct config *c = NULL;
		cleanup_free char *reason = NULL;
		struct err e = ERR_INIT;
		int r;

		assert_int_equal(config_new(&c), 0);
		r = load(c, REFUSED[i].text, &e);
		reason = str_format("%s%s", file, REFUSED[i].reason);
		assert_non_null(reason);
		if (r == -EINVAL && e.code == r && matches(err_text(&e), reason) && !c->path && !c->pods_dir)
			continue;
		print_error("%s\n%d: %s\nnot: %s\n", REFUSED[i].text, r, err_text(&e), reason);
		n_wrong++;
	}
	assert_int_equal(n_wrong, 0);
}

static void a_file_that_is_not_there_is_told_apart(void **state)
{
	cleanup_config struct config *c = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(config_new(&c), 0);
	assert_int_equal(config_load(c, "/nonexistent/secretlet.yaml", &e), -ENOENT);
	assert_non_null(strstr(err_text(&e), "/nonexistent/secretlet.yaml"));
	assert_true(config_load(c, dir, &e) < 0);
}

static void a_bad_file_changes_nothing(void **state)
{
	cleanup_config struct config *c = loaded(HEAD "manifestsDir: /m\nlogLevel: error\nsecretMemoryLimit: 8Mi\n");
	struct err e = ERR_INIT;

	assert_int_equal(load(c, HEAD "manifestsDir: /n\nlogLevel: debug\nsecretMemoryLimit: 9Mi\nx: 1\n", &e),
			 -EINVAL);
	assert_string_equal(c->manifests_dir, "/m");
	assert_int_equal(c->log_level, LOG_LEVEL_ERROR);
	assert_int_equal(c->secret_memory_limit, 8 << 20);
}

static void a_second_file_is_read_over_the_first(void **state)
{
	cleanup_config struct config *c = loaded(HEAD "manifestsDir: /m\nuser: one\n");
	struct err e = ERR_INIT;

	assert_int_equal(load(c, HEAD "user: two\n", &e), 0);
	assert_string_equal(c->manifests_dir, "/m");
	assert_string_equal(c->user, "two");
}

/* ---- the whole ---- */

static struct config *with(const char *manifests_dir, const char *pods_dir, const char *runtime_dir)
{
	struct config *c = NULL;

	assert_int_equal(config_new(&c), 0);
	c->manifests_dir = manifests_dir ? strdup(manifests_dir) : NULL;
	c->pods_dir = pods_dir ? strdup(pods_dir) : NULL;
	c->runtime_dir = runtime_dir ? strdup(runtime_dir) : NULL;
	c->node_name = strdup("node");
	return c;
}

static void the_rest_is_defaulted(void **state)
{
	cleanup_config struct config *c = with("/m", NULL, NULL);
	struct err e = ERR_INIT;

	assert_int_equal(config_finish(c, &e), 0);
	assert_string_equal(c->pods_dir, "/var/lib/pods");
	assert_string_equal(c->runtime_dir, "/run/secretlet");
	assert_string_equal(c->user, "secretlet");
	assert_int_equal(c->secret_memory_limit, 256 << 20);
	assert_int_equal(c->memory_lock, CONFIG_LOCK_REQUIRED);
	assert_int_equal(c->kube_api_qps, 50);
	assert_int_equal(c->kube_api_burst, 100);
	assert_int_equal(c->log_level, LOG_LEVEL_INFO);
	assert_null(c->path);
}

static void the_node_is_named_like_the_host(void **state)
{
	cleanup_config struct config *c = with("/m", NULL, NULL);
	char name[256] = "";
	struct err e = ERR_INIT;

	assert_int_equal(gethostname(name, sizeof(name) - 1), 0);
	for (char *s = name; *s; s++)
		*s = tolower((unsigned char)*s);
	free(c->node_name);
	c->node_name = NULL;
	if (!str_is_dns_subdomain(name))
		skip_because("this machine's name is no DNS subdomain");
	assert_int_equal(config_finish(c, &e), 0);
	assert_string_equal(c->node_name, name);
}

static void paths_become_absolute_and_clean(void **state)
{
	cleanup_config struct config *c = with("m/./x//", "/a//b/", "./r");
	char cwd[PATH_MAX], manifests[PATH_MAX + 8], runtime[PATH_MAX + 8];
	struct err e = ERR_INIT;

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(manifests, sizeof(manifests), "%s/m/x", str_eq(cwd, "/") ? "" : cwd);
	snprintf(runtime, sizeof(runtime), "%s/r", str_eq(cwd, "/") ? "" : cwd);
	assert_int_equal(config_finish(c, &e), 0);
	assert_string_equal(c->manifests_dir, manifests);
	assert_string_equal(c->pods_dir, "/a/b");
	assert_string_equal(c->runtime_dir, runtime);
}

static void one_source_is_needed(void **state)
{
	cleanup_config struct config *none = with(NULL, NULL, NULL), *both = with("/m", NULL, NULL),
				     *from_file = with(NULL, NULL, NULL);
	struct err e = ERR_INIT;

	assert_int_equal(config_finish(none, &e), -EINVAL);
	assert_string_equal(err_text(&e),
			    "nothing says where Secrets come from: give --kubeconfig FILE (from an API server) "
			    "or --manifests DIR (from a folder), or set kubeconfig or manifestsDir in "
			    "/etc/secretlet/secretlet.yaml");
	from_file->path = strdup("/x.yaml");
	assert_int_equal(config_finish(from_file, &e), -EINVAL);
	assert_non_null(strstr(err_text(&e), "manifestsDir in /x.yaml"));
	both->kubeconfig = strdup("/k");
	assert_int_equal(config_finish(both, &e), -EINVAL);
	assert_string_equal(err_text(&e),
			    "kubeconfig (/k) and manifestsDir (/m) are both given; Secrets come from one place: "
			    "--kubeconfig FILE or --manifests DIR");
}

static const struct {
	const char *manifests_dir, *pods_dir, *runtime_dir, *reason;
} PLACES[] = {
	{ "/m", "/", "/r", "podsDir: /: must not be the root folder" },
	{ "/m", "/p", "//", "runtimeDir: //: must not be the root folder" },
	{ "/m", "/p/../r", "/r", "podsDir: /p/../r: must not contain `..`" },
	{ "/m", "/p\xe9", "/r", "podsDir: /p\xe9: must be UTF-8: container runtimes are given it as JSON" },
	{ "/m", "", "/r", "podsDir: must not be empty" },
	{ "", "/p", "/r", "manifestsDir: must not be empty" },
	{ "/m", "/p", "/p", "podsDir (/p) and runtimeDir (/p): one must not be inside the other" },
	{ "/m", "/p/x", "/p/", "podsDir (/p/x) and runtimeDir (/p): one must not be inside the other" },
	{ "/m", "/p", "/p//x", "podsDir (/p) and runtimeDir (/p/x): one must not be inside the other" },
	{ "/p/m", "/p", "/r", "manifestsDir (/p/m): must not be inside podsDir (/p)" },
	{ "/p", "/p", "/r", "manifestsDir (/p): must not be inside podsDir (/p)" },
	{ "/m", "/p",
	  "/r/"
	  "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
	  "runtimeDir: /r/"
	  "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789: "
	  "must have at most 90 characters (a socket's path is short)" },
};

static void places_that_cannot_be_are_refused(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(PLACES); i++) {
		cleanup_config struct config *c =
			with(PLACES[i].manifests_dir, PLACES[i].pods_dir, PLACES[i].runtime_dir);
		struct err e = ERR_INIT;

		assert_int_equal(config_finish(c, &e), -EINVAL);
		assert_string_equal(err_text(&e), PLACES[i].reason);
	}
}

static void keys_must_not_be_what_is_served(void **state)
{
	cleanup_config struct config *sealing = with("/m", "/p", "/r"), *cache = with("/m", "/p", "/r");
	struct err e = ERR_INIT;

	sealing->sealing_key_file = strdup("/p/by-name/key");
	assert_int_equal(config_finish(sealing, &e), -EINVAL);
	assert_string_equal(err_text(&e), "sealedSecretsKeyFile (/p/by-name/key): must not be inside podsDir (/p)");
	cache->offline_cache_dir = strdup("/c");
	cache->offline_cache_key_file = strdup("/p/key");
	assert_int_equal(config_finish(cache, &e), -EINVAL);
	assert_string_equal(err_text(&e), "offlineCacheKeyFile (/p/key): must not be inside podsDir (/p)");
}

static void the_audit_log_is_a_file_or_the_journal(void **state)
{
	static const struct {
		const char *log, *reason;
	} bad[] = {
		{ "/p/audit", "auditLog (/p/audit): must not be inside podsDir (/p)" },
		{ "/p", "auditLog (/p): must not be inside podsDir (/p)" },
		{ "/c/audit", "auditLog (/c/audit): must not be inside offlineCacheDir (/c)" },
		{ "/x/../p/audit", "auditLog: /x/../p/audit: must not contain `..`" },
		{ "/x/", "auditLog: /x/: must be a file, or journal" },
		{ "", "auditLog: must not be empty" },
	};
	cleanup_config struct config *journal = with("/m", "/p", "/r");
	cleanup_config struct config *relative = loaded(HEAD "manifestsDir: /m\nauditLog: log/audit.jsonl\n");
	cleanup_config struct config *word = loaded(HEAD "manifestsDir: /m\nauditLog: journal\n");
	cleanup_config struct config *off = loaded(HEAD "manifestsDir: /m\nauditLog: null\n");
	cleanup_free char *path = str_format("%s/log/audit.jsonl", dir);
	struct err e = ERR_INIT;
	char names[64];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		cleanup_config struct config *c = with("/m", "/p", "/r");

		c->audit_log = strdup(bad[i].log);
		c->offline_cache_dir = strdup("/c");
		assert_int_equal(config_finish(c, &e), -EINVAL);
		assert_string_equal(err_text(&e), bad[i].reason);
	}
	journal->audit_log = strdup("journal");
	assert_int_equal(config_finish(journal, &e), 0);
	assert_string_equal(journal->audit_log, "journal");
	assert_string_equal(word->audit_log, "journal");
	assert_string_equal(relative->audit_log, path);
	assert_null(off->audit_log);
	/* a daemon that runs does not change it */
	assert_int_equal(config_differences(word, relative, CONFIG_TAKES_RESTART, names, sizeof(names)), 1);
	assert_string_equal(names, "auditLog");
}

static void places_beside_each_other_are_fine(void **state)
{
	cleanup_config struct config *c = with("/pods-manifests", "/pods", "/pods-run");
	struct err e = ERR_INIT;

	assert_int_equal(config_finish(c, &e), 0);
}

static void what_the_command_line_says_is_checked_too(void **state)
{
	cleanup_config struct config *node = with("/m", NULL, NULL), *user = with("/m", NULL, NULL),
				     *memory = with("/m", NULL, NULL);
	struct err e = ERR_INIT;

	free(node->node_name);
	node->node_name = strdup("Node");
	assert_int_equal(config_finish(node, &e), -EINVAL);
	assert_true(str_starts(err_text(&e), "nodeName: Node: a node's name consists of"));
	user->user = strdup("root");
	assert_int_equal(config_finish(user, &e), -EINVAL);
	assert_string_equal(err_text(&e), "user: root: must not be root: the agent runs without privileges");
	memory->secret_memory_limit = 1;
	assert_int_equal(config_finish(memory, &e), -EINVAL);
	assert_string_equal(err_text(&e), "secretMemoryLimit: must be between 2Mi and 32Gi");
}

/* ---- two of them ---- */

static void differences_that_need_a_restart_are_named(void **state)
{
	cleanup_config struct config *a = loaded(HEAD "kubeconfig: /k\nuser: agent\nnodeName: node-1\n"),
				     *b = loaded(HEAD
						 "manifestsDir: /m\nuser: agent\nnodeName: node-1\n"
						 "serveEnvironment: true\nsecretMemoryLimit: 8Mi\nmemoryLock: warn\n"
						 "signalContainers: true\nextendedAttributes: true\nkubeAPIQPS: 7\n"),
				     *c = loaded(HEAD "kubeconfig: /k\nuser: agent\nnodeName: node-1\nlogLevel: debug\n"
						      "configMapAndSecretChangeDetectionStrategy: Get\n"
						      "syncFrequency: 2s\nsecretCacheTTL: 2s\n");
	char names[128], few[12];

	assert_int_equal(config_differences(a, b, CONFIG_TAKES_RESTART, names, sizeof(names)), 6);
	assert_string_equal(names,
			    "kubeconfig, manifestsDir, signalContainers, serveEnvironment, memoryLock, kubeAPIQPS");
	/* these are the mount's, with which a restart goes on */
	assert_int_equal(config_differences(a, b, CONFIG_TAKES_MOUNT, names, sizeof(names)), 2);
	assert_string_equal(names, "extendedAttributes, secretMemoryLimit");
	for (enum config_change change = CONFIG_TAKES_RESTART; change <= CONFIG_TAKES_MOUNT; change++) {
		assert_int_equal(config_differences(a, c, change, names, sizeof(names)), 0);
		assert_string_equal(names, "");
	}
	assert_int_equal(config_differences(a, b, CONFIG_TAKES_RESTART, few, sizeof(few)), 6);
	assert_string_equal(few, "kubeconfig,");
}

/* ---- what ships ---- */

static const char *const FIELDS[] = { "apiVersion",	    "kind",
				      "kubeconfig",	    "manifestsDir",
				      "nodeName",	    "podsDir",
				      "runtimeDir",	    "user",
				      "controlSocketGroup", "secretMemoryLimit",
				      "logLevel",	    "kubeAPIQPS",
				      "kubeAPIBurst",	    "configMapAndSecretChangeDetectionStrategy",
				      "syncFrequency",	    "secretCacheTTL",
				      "mountFailureEvents", "rotationEvents",
				      "eventRecordQPS",	    "eventBurst",
				      "agentHangTimeout",   "connectionAbortTimeout",
				      "memoryLock",	    "serveEnvironment",
				      "signalContainers",   "metricsBindAddress",
				      "healthzBindAddress", "healthzPort" };

static void expect_every_field(const char *path)
{
	cleanup_free char *text = NULL;
	size_t len = 0;

	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, &len, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(FIELDS); i++) {
		cleanup_free char *field = str_format("%s: ", FIELDS[i]);

		if (!strstr(text, field))
			fail_msg("%s does not have %s", path, FIELDS[i]);
	}
}

/* "#podsDir: x" becomes "podsDir: x", for every field but one. */
static char *uncomment(const char *path, const char *except)
{
	char *text = NULL;
	size_t len = 0;

	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, &len, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(FIELDS); i++) {
		cleanup_free char *line = str_format("\n#%s: ", FIELDS[i]);
		char *at = strstr(text, line);

		if (at && !str_eq(FIELDS[i], except))
			memmove(at + 1, at + 2, strlen(at + 2) + 1);
	}
	return text;
}

static void the_example_has_every_field_and_is_read(void **state)
{
	static const char path[] = "examples/secretlet.yaml";
	cleanup_config struct config *c = NULL, *all = NULL;
	cleanup_free char *text = NULL;
	struct err e = ERR_INIT;

	if (access(path, R_OK) < 0)
		skip_because("needs examples/ in the working directory");
	assert_int_equal(config_new(&c), 0);
	if (config_load(c, path, &e) < 0 || config_finish(c, &e) < 0)
		fail_msg("%s", err_text(&e));
	expect_every_field(path);

	/* what is commented out shows the defaults */
	text = uncomment(path, "kubeconfig");
	assert_int_equal(config_new(&all), 0);
	if (load(all, text, &e) < 0 || config_finish(all, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_string_equal(all->node_name, "worker-1.example.com");
	assert_string_equal(all->pods_dir, c->pods_dir);
	assert_string_equal(all->runtime_dir, c->runtime_dir);
	assert_string_equal(all->user, c->user);
	assert_int_equal(all->secret_memory_limit, c->secret_memory_limit);
	assert_int_equal(all->memory_lock, c->memory_lock);
	assert_int_equal(all->log_level, c->log_level);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_is_read),
		cmocka_unit_test(a_path_is_relative_to_the_file),
		cmocka_unit_test(null_is_absent),
		cmocka_unit_test(quantities_are_kubernetes_quantities),
		cmocka_unit_test(mistakes_are_named_with_their_place),
		cmocka_unit_test(a_file_that_is_not_there_is_told_apart),
		cmocka_unit_test(a_bad_file_changes_nothing),
		cmocka_unit_test(a_second_file_is_read_over_the_first),
		cmocka_unit_test(the_rest_is_defaulted),
		cmocka_unit_test(the_node_is_named_like_the_host),
		cmocka_unit_test(paths_become_absolute_and_clean),
		cmocka_unit_test(one_source_is_needed),
		cmocka_unit_test(places_that_cannot_be_are_refused),
		cmocka_unit_test(keys_must_not_be_what_is_served),
		cmocka_unit_test(the_audit_log_is_a_file_or_the_journal),
		cmocka_unit_test(places_beside_each_other_are_fine),
		cmocka_unit_test(what_the_command_line_says_is_checked_too),
		cmocka_unit_test(the_example_has_every_field_and_is_read),
		cmocka_unit_test(differences_that_need_a_restart_are_named),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
