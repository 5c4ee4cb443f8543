/* Configuration: a text, as /etc/secretlet/secretlet.yaml has it. An error has file, line and column and changes nothing;
 * what was accepted and finished is within its limits. */
#include "test/fuzz/fuzz.h"

#include "agent/config.h"
#include "common/json.h"
#include "common/str.h"

static const char PATH[] = "/etc/f.yaml";

static void check(const struct config *c)
{
	FUZZ_CHECK(c->pods_dir[0] == '/' && c->runtime_dir[0] == '/');
	FUZZ_CHECK(!str_has_dotdot(c->pods_dir) && !str_has_dotdot(c->runtime_dir));
	FUZZ_CHECK(!c->offline_cache_dir || (c->offline_cache_dir[0] == '/' && !str_has_dotdot(c->offline_cache_dir)));
	FUZZ_CHECK(!c->audit_log || c->audit_log[0] == '/' || str_eq(c->audit_log, "journal"));
	FUZZ_CHECK(str_is_utf8(c->pods_dir, strlen(c->pods_dir)));
	FUZZ_CHECK(c->agent_hang_usec >= USEC_PER_SEC && c->tuning.sync_usec >= USEC_PER_SEC);
	FUZZ_CHECK(!c->kubeconfig || c->kubeconfig[0] == '/');
	FUZZ_CHECK(!c->manifests_dir || c->manifests_dir[0] == '/');
	FUZZ_CHECK(!c->sealing_key_file || c->sealing_key_file[0] == '/');
	FUZZ_CHECK(!!c->kubeconfig + !!c->manifests_dir + c->in_cluster == 1);
	FUZZ_CHECK(str_is_dns_subdomain(c->node_name));
	FUZZ_CHECK(c->kube_api_qps >= 1 && c->kube_api_qps <= 100000 && c->kube_api_burst >= 1);
	FUZZ_CHECK(c->kube_api_burst <= 100000 && c->secret_memory_limit > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_config struct config *c = NULL, *same = NULL;
	struct err e = ERR_INIT;
	char names[64];
	int r;

	json_setup();
	FUZZ_CHECK(config_new(&c) == 0 && config_new(&same) == 0);
	r = config_parse(c, PATH, (const char *)data, size, &e);
	FUZZ_CHECK(r <= 0 && config_parse(same, PATH, (const char *)data, size, NULL) == r);
	FUZZ_CHECK(config_differences(c, same, CONFIG_TAKES_RESTART, names, sizeof(names)) == 0);
	FUZZ_CHECK(config_differences(c, same, CONFIG_TAKES_MOUNT, names, sizeof(names)) == 0);
	if (r == -EINVAL)
		FUZZ_CHECK(str_starts(err_text(&e), "/etc/f.yaml:"));
	if (r == 0 && config_finish(c, &e) == 0)
		check(c);
	return 0;
}
