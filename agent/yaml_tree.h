/* YAML trees: how nodes end. Part of yaml.h; only the parser needs it. */
#pragma once

#include "agent/yaml.h"

/* A node alone, without what is in it. NULL is fine. */
void yaml_leaf_free(struct yaml_node *n);
/* With all that is in it, wiped. NULL is fine. */
void yaml_node_free(struct yaml_node *root);
DEFINE_CLEANUP(struct yaml_node *, yaml_node_free);
