/* Manifest: the text of one YAML or JSON file -> the Pods, Secrets and ConfigMaps in it, validated and defaulted as the API server
 * does it, or for each one that is refused the sentence that says why, with file, line and column. */
#pragma once

#include "agent/finding.h"
#include "agent/pod.h"
#include "agent/sealing.h"
#include "agent/secret.h"
#include "common/json.h"

enum manifest_kind { MANIFEST_UNKNOWN, MANIFEST_POD, MANIFEST_SECRET, MANIFEST_CONFIG_MAP };

#define MANIFEST_WARNINGS_MAX 32 /* of one object; more are not kept */

struct manifest_place {
	size_t line, column;
};
struct manifest_object {
	enum manifest_kind kind;
	char *key; /* "secret default/db"; NULL: not even that is known (and so problem is set) */
	char *ns, *name; /* NULL with key */
	char *uid; /* of a Pod, also of one that is refused; NULL with key */
	size_t line, column; /* where the object begins */
	struct secret *secret; /* a good Secret or ConfigMap */
	struct pod *pod; /* a good Pod */
	json_t *json; /* a Pod: what was read, to tell whether it has changed */
	struct manifest_place *
		volumes; /* a good Pod: where the Secret's name of each source of each of pod->volumes is, one after another */
	struct finding *problem; /* refused; NULL: it is good */
	bool starved; /* it is refused because there was no memory for it */
	bool secmem_full; /* and that was because the memory for secrets is used up (secmem.h) */
	struct finding **
		warnings; /* of a good one: what has no effect; as an error, what one of its volumes is held back for */
	size_t n_warnings;
};

/* All objects of all documents, Lists taken apart, in the order of the text. `file` is for messages only. Each object
 * gets the next *revision as its resourceVersion, and, unless it has one, a uid that depends on kind, namespace and name
 * alone, so that a pod's folder keeps its name. -EINVAL, -E2BIG: not YAML, e has `FILE:LINE:COLUMN: reason`; -ENOMEM.
 * Empty documents are skipped. `keys` open sealed values; NULL: they are refused. */
int manifest_parse(const char *file, const char *text, size_t len, const struct sealing_keys *keys, uint64_t *revision,
		   struct manifest_object **ret_objects, size_t *ret_n_objects, struct err *e);
/* The field that names the object of a source, or the source itself if it has none: "spec.volumes[0].secret.secretName". */
void manifest_source_path(const struct pod *pod, size_t volume, size_t source, char ret_path[static JSON_PATH_MAX]);
/* Ends in .yaml, .yml or .json and is not hidden: of a folder of manifests, such files are read. */
bool manifest_is_file_name(const char *name);
/* Frees what an object holds, not the struct itself. */
void manifest_object_deinit(struct manifest_object *o);
void manifest_objects_free(struct manifest_object *objects, size_t n_objects);
