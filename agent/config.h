/* Configuration: /etc/secretlet/secretlet.yaml, kind SecretletConfiguration, and what the command line says over it.
 * Field names are the kubelet's wherever it has them. */
#pragma once

#include "agent/source.h"
#include "common/base.h"
#include "common/err.h"
#include "common/log.h"

#define CONFIG_API_VERSION "secretlet.config/v1alpha1"
#define CONFIG_BYTES_MAX   ((size_t)(1024 * 1024))
#define CONFIG_KIND	   "SecretletConfiguration"

enum config_lock {
	CONFIG_LOCK_UNSET,
	CONFIG_LOCK_REQUIRED, /* no start without locked memory for Secrets */
	CONFIG_LOCK_ALL_REQUIRED, /* nor while the agent's heap is not locked */
	CONFIG_LOCK_WARN
};

struct config {
	char *path; /* the file it came from; NULL: defaults only */
	char *kubeconfig; /* kubeconfig: exactly one of this and manifests_dir */
	bool in_cluster; /* neither of the two is given, and a pod's credentials are there */
	char *manifests_dir; /* manifestsDir */
	char *sealing_key_file; /* sealedSecretsKeyFile: private keys, for manifests; may be NULL */
	char *offline_cache_dir; /* offlineCacheDir: NULL: there is no offline cache */
	char *offline_cache_key_file; /* offlineCacheKeyFile: NULL: systemd's credential secretlet-cache-key */
	bool extended_attributes; /* extendedAttributes: volumes say of what they are */
	char *audit_log; /* auditLog: a file, or AUDIT_JOURNAL; NULL: opens are not recorded */
	bool signal_containers; /* signalContainers: false; pods may ask for a signal when a volume has changed */
	char *node_name; /* nodeName: default the host's name, lower case */
	char *pods_dir; /* podsDir: /var/lib/pods */
	char *runtime_dir; /* runtimeDir: /run/secretlet */
	char *user; /* user: secretlet; the agent's */
	char *control_group; /* controlSocketGroup: NULL: root alone */
	char *metrics_address; /* metricsBindAddress: "127.0.0.1:10249"; NULL: metrics are on the control socket alone */
	char *healthz_address; /* healthzBindAddress: 127.0.0.1; without its port */
	unsigned healthz_port; /* healthzPort: 0: health is on the control socket, and where the metrics are */
	bool serve_environment; /* serveEnvironment: false; root may ask for environments and pull credentials */
	uint64_t secret_memory_limit; /* secretMemoryLimit: bytes, a Kubernetes quantity ("256Mi"); default 256Mi */
	enum config_lock memory_lock; /* memoryLock: require */
	unsigned kube_api_qps, kube_api_burst; /* kubeAPIQPS, kubeAPIBurst: 1 to 100000; default 50 and 100 */
	enum log_level log_level; /* logLevel: info */
	uint64_t agent_hang_usec; /* agentHangTimeout: 10s; an agent that gives no sign for so long is killed */
	/* connectionAbortTimeout: 5m; when no agent could be started for so long, readers that wait get an error */
	uint64_t abort_usec;
	/* configMapAndSecretChangeDetectionStrategy: Watch; syncFrequency: 1m; secretCacheTTL: 1m;
	 * mountFailureEvents, rotationEvents: true; eventRecordQPS: 5; eventBurst: 10 */
	struct source_tuning tuning;
};

int config_new(struct config **ret_c);
void config_free(struct config *c);
DEFINE_CLEANUP(struct config *, config_free);
#define cleanup_config cleanup(config_freep)

/* Reads the file over what is in c, which stays as it was on failure. Relative paths in it are relative to its folder.
 * Every error in it is `FILE:LINE:COLUMN: reason`; unknown fields are errors. -ENOENT when there is no such file. */
int config_load(struct config *c, const char *path, struct err *e);
/* The same with the file's text. */
int config_parse(struct config *c, const char *path, const char *text, size_t len, struct err *e);
/* Defaults what is still unset, makes paths absolute, and checks the whole. Exactly one of kubeconfig and manifests_dir
 * must be set, or in_cluster gets true: a command line that gives one takes the file's other one away before. */
int config_finish(struct config *c, struct err *e);
/* The same for a command that works on the offline cache alone: nothing else need be there. -EINVAL: no offlineCacheDir. */
int config_finish_cache(struct config *c, struct err *e);
/* What a field that a running daemon cannot change takes: a restart; or another mount, for under systemd a restart goes on with
 * the one that there is: so a stop and a start, after which containers have to be started again. */
enum config_change { CONFIG_TAKES_RESTART, CONFIG_TAKES_MOUNT };
/* The names of the fields of this kind in which two finished configurations differ, into `names` ("nodeName, user"; cut if
 * there are too many). Returns how many there are. */
size_t config_differences(const struct config *a, const struct config *b, enum config_change change, char *names,
			  size_t size);
