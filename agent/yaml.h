/* YAML: a bounded walk over libyaml's events into a small tree in which every node knows its line and column. For the
 * configuration, kubeconfigs and manifests; scalars may be secret, so nothing of a node is ever printed by this module. */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/json.h"

#define YAML_BYTES_MAX ((size_t)(16 * 1024 * 1024))
#define YAML_DEPTH_MAX 64
#define YAML_NODES_MAX 200000 /* after expanding aliases: no billion laughs */

enum yaml_kind { YAML_NULL, YAML_BOOL, YAML_INT, YAML_FLOAT, YAML_STRING, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_node {
	enum yaml_kind kind; /* of a plain scalar: by the rules of sigs.k8s.io/yaml (YAML 1.1 as Go's yaml.v2 has it) */
	size_t line, column; /* from 1 */
	char *scalar; /* the text of a scalar, NUL-terminated; NULL for collections */
	size_t scalar_len;
	struct yaml_node **items; /* SEQUENCE: elements; MAPPING: values */
	struct yaml_node **keys; /* MAPPING: keys (scalars) */
	size_t n_items;
};
struct yaml_doc {
	struct yaml_node *root; /* NULL: an empty document */
	size_t line; /* where it begins */
};

/* All documents of a stream. -EINVAL: e says `line:column: reason`. -E2BIG: too large, too deep, too many nodes.
 * Duplicate keys are an error; keys are what JSON will have (`on: x` is the key "true"); `<<` merges; tags other than
 * YAML's own are refused. JSON is read as well; behind an escaped surrogate pair columns may
 * be less than they are. */
int yaml_parse(const char *text, size_t len, struct yaml_doc **ret_docs, size_t *ret_n_docs, struct err *e);
void yaml_docs_free(struct yaml_doc *docs, size_t n_docs);
/* The value for a key of a mapping; NULL if it is not there (or n is no mapping). */
const struct yaml_node *yaml_get(const struct yaml_node *n, const char *key);
/* The JSON value that Kubernetes' own YAML reader would make of it. -ENOMEM; -EINVAL (a number that JSON has not: e says
 * `line:column: reason`). */
int yaml_to_json(const struct yaml_node *root, json_t **ret_json, struct err *e);
/* The node at a path as json_issue has it ("spec.volumes[2].secret", "data[tls.crt]"), or the nearest one above it that
 * exists; so that a JSON issue gets a line. Never NULL if root is not. */
const struct yaml_node *yaml_find(const struct yaml_node *root, const char *path);
