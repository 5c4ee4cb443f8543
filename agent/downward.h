/* Downward: what an item of a downwardAPI source shows of its pod, in the kubelet's format (pkg/fieldpath,
 * pkg/api/v1/resource): a field of the metadata, or how much of a resource a container asks for or may use. */
#pragma once

#include "agent/pod.h"
#include "common/buf.h"

/* "metadata.labels['app']" is the field metadata.labels with the key app. */
enum downward_field {
	DOWNWARD_NAME,
	DOWNWARD_NAMESPACE,
	DOWNWARD_UID,
	DOWNWARD_LABELS,
	DOWNWARD_ANNOTATIONS,
	DOWNWARD_FIELDS_N,
};
/* The key's place in path and its length; 0: all of it. -EINVAL: there is no such field, or it has no keys. */
int downward_field_parse(const char *path, enum downward_field *ret_field, const char **ret_key, size_t *ret_key_len);
/* "limits.cpu", "requests.hugepages-2Mi": whether there is such a resource to be shown. */
bool downward_resource_is_known(const char *resource);
/* "" if that is a divisor for the resource, else the API server's sentence. */
const char *downward_divisor_problem(const char *resource, const char *divisor);

/* Appends the text. allocatable: what the node has for its pods, which is what a container without a limit may use.
 * -EINVAL: the pod has no such container, or a quantity makes no sense; -EAGAIN: the node's are needed and not known;
 * -ENOMEM, -ENOBUFS. */
int downward_text(const struct pod *pod, const struct pod_item *item, const struct pairs *allocatable, struct buf *out,
		  struct err *e);
/* The same as what a file has; *ret_content's block is the caller's to unref. Labels and annotations, each and all of them, are
 * made once and kept with the pod: a Pod of 1.5 MiB can ask thousands of times for 1 MiB. e has the reason, too. -ENOMEM: of the
 * heap, or secretMemoryLimit. */
int downward_content(const struct pod *pod, const struct pod_item *item, const struct pairs *allocatable,
		     struct secspan *ret_content, struct digest *ret_digest, struct err *e);
