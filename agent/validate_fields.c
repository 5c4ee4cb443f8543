/* Validate fields: which there are. The tables are core/v1's, so that a manifest for a cluster is not warned of because of what we do
 * not look at. */
#include "agent/validate_fields.h"

#include <strings.h>

#include "agent/validate_volumes.h"
#include "agent/validate_words.h"
#include "common/str.h"

static const char *const secret_fields[] = { "apiVersion", "kind",	"metadata", "data", "stringData",
					     "sealedData", "immutable", "type",	    NULL };

static const char *const config_map_fields[] = { "apiVersion", "kind",	    "metadata", "data",
						 "binaryData", "immutable", NULL };

static const char *const pod_fields[] = { "apiVersion", "kind", "metadata", "spec", "status", NULL };
static const char *const meta_fields[] = { "name",
					   "generateName",
					   "namespace",
					   "selfLink",
					   "uid",
					   "resourceVersion",
					   "generation",
					   "creationTimestamp",
					   "deletionTimestamp",
					   "deletionGracePeriodSeconds",
					   "labels",
					   "annotations",
					   "ownerReferences",
					   "finalizers",
					   "managedFields",
					   NULL };
/* core/v1 of Kubernetes 1.34 */
static const char *const spec_fields[] = { "volumes",
					   "initContainers",
					   "containers",
					   "ephemeralContainers",
					   "restartPolicy",
					   "terminationGracePeriodSeconds",
					   "activeDeadlineSeconds",
					   "dnsPolicy",
					   "nodeSelector",
					   "serviceAccountName",
					   "serviceAccount",
					   "automountServiceAccountToken",
					   "nodeName",
					   "hostNetwork",
					   "hostPID",
					   "hostIPC",
					   "shareProcessNamespace",
					   "securityContext",
					   "imagePullSecrets",
					   "hostname",
					   "subdomain",
					   "affinity",
					   "schedulerName",
					   "tolerations",
					   "hostAliases",
					   "priorityClassName",
					   "priority",
					   "dnsConfig",
					   "readinessGates",
					   "runtimeClassName",
					   "enableServiceLinks",
					   "preemptionPolicy",
					   "overhead",
					   "topologySpreadConstraints",
					   "setHostnameAsFQDN",
					   "os",
					   "hostUsers",
					   "schedulingGates",
					   "resourceClaims",
					   "resources",
					   "hostnameOverride",
					   "workloadRef",
					   NULL };
static const char *const container_fields[] = { "name",
						"image",
						"command",
						"args",
						"workingDir",
						"ports",
						"envFrom",
						"env",
						"resources",
						"resizePolicy",
						"restartPolicy",
						"restartPolicyRules",
						"volumeMounts",
						"volumeDevices",
						"livenessProbe",
						"readinessProbe",
						"startupProbe",
						"lifecycle",
						"terminationMessagePath",
						"terminationMessagePolicy",
						"imagePullPolicy",
						"securityContext",
						"stdin",
						"stdinOnce",
						"tty",
						"targetContainerName",
						NULL };

static const char *const volume_fields[] = { "name",
					     "awsElasticBlockStore",
					     "azureDisk",
					     "azureFile",
					     "cephfs",
					     "cinder",
					     "configMap",
					     "csi",
					     "downwardAPI",
					     "emptyDir",
					     "ephemeral",
					     "fc",
					     "flexVolume",
					     "flocker",
					     "gcePersistentDisk",
					     "gitRepo",
					     "glusterfs",
					     "hostPath",
					     "image",
					     "iscsi",
					     "nfs",
					     "persistentVolumeClaim",
					     "photonPersistentDisk",
					     "portworxVolume",
					     "projected",
					     "quobyte",
					     "rbd",
					     "scaleIO",
					     "secret",
					     "storageos",
					     "vsphereVolume",
					     NULL };

static const char *const *const fields[] = {
	[VALIDATE_POD] = pod_fields, [VALIDATE_SECRET] = secret_fields, [VALIDATE_CONFIG_MAP] = config_map_fields
};

/* The field that differs from key in upper and lower case alone: `stringdata:` would lose the values. */
static const char *misspelt(const char *const known[], const char *key)
{
	for (size_t i = 0; known[i]; i++)
		if (strcasecmp(known[i], key) == 0 && !str_eq(known[i], key))
			return known[i];
	return NULL;
}

int validate_spelling(const json_t *obj, enum validate_kind kind, const struct json_at *at, struct json_issue *issue)
{
	const char *key;
	json_t *value;

	json_object_foreach (for_iteration(obj), key, value)
		if (misspelt(fields[kind], key))
			return json_issue_set(issue, &JSON_AT(at, key), "unknown field; `%s` is meant?",
					      misspelt(fields[kind], key));
	return 0;
}

struct unknown {
	validate_note_fn fn;
	void *userdata;
	bool refuses_misspelt; /* what is refused is not warned of */
};

static int tell_unknown(const struct unknown *u, const json_t *obj, const struct json_at *at, const char *const known[])
{
	struct json_issue issue;
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach (for_iteration(obj), key, value) {
		if (is_known(known, key) || (u->refuses_misspelt && misspelt(known, key)) ||
		    (known == volume_fields && validate_volume_meant(key)))
			continue;
		json_issue_set(&issue, &JSON_AT(at, key), "unknown field; it has no effect");
		r = u->fn(u->userdata, &issue);
		if (r < 0)
			return r;
	}
	return r;
}

static int tell_unknown_of_list(const struct unknown *u, const json_t *spec, const char *list, const struct json_at *up,
				const char *const known[])
{
	const struct json_at list_at = JSON_AT(up, list);
	const json_t *array = json_object_get(spec, list);
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(array); i++)
		r = tell_unknown(u, json_array_get(array, i), &JSON_AT_INDEX(&list_at, i), known);
	return r;
}

int validate_unknown_fields(const json_t *obj, enum validate_kind kind, validate_note_fn fn, void *userdata)
{
	static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
	const struct json_at root = JSON_ROOT, meta_at = JSON_AT(&root, "metadata"), spec_at = JSON_AT(&root, "spec");
	const struct unknown top = { fn, userdata, .refuses_misspelt = kind != VALIDATE_POD }, u = { fn, userdata };
	const json_t *spec = json_object_get(obj, "spec");
	int r;

	r = tell_unknown(&top, obj, &root, fields[kind]);
	if (r == 0)
		r = tell_unknown(&u, json_object_get(obj, "metadata"), &meta_at, meta_fields);
	if (r < 0 || kind != VALIDATE_POD)
		return r;
	r = tell_unknown(&u, spec, &spec_at, spec_fields);
	if (r == 0)
		r = tell_unknown_of_list(&u, spec, "volumes", &spec_at, volume_fields);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(lists); i++)
		r = tell_unknown_of_list(&u, spec, lists[i], &spec_at, container_fields);
	return r;
}
