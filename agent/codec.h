/* Codec: JSON objects of the core/v1 API (Secret, ConfigMap, Pod) -> struct secret, struct pod. Unknown fields are ignored, as a client must;
 * wrong types are an error that names the path, and nothing else is changed by it. */
#pragma once

#include "agent/pod.h"
#include "agent/secret.h"
#include "common/json.h"

/* obj is a v1 Secret. data: base64 values, `null` is empty. Keys are checked (they become file names), the sum of
 * decoded bytes is at most SECRET_BYTES_MAX. -EINVAL: see issue; -ENOMEM: the secret memory's budget is used up, or
 * the heap; issue->reason says which. Value bytes never get into issue. */
int codec_secret(const json_t *obj, struct secret **ret_s, struct json_issue *issue);
/* The same of either kind. A ConfigMap's data is text, its binaryData base64; a key is in one of them only. */
int codec_object(enum object_kind kind, const json_t *obj, struct secret **ret_s, struct json_issue *issue);
/* obj is a v1 Pod. */
int codec_pod(const json_t *obj, struct pod **ret_p, struct json_issue *issue);
/* Letters, digits and '-': it becomes a folder's name. */
bool codec_is_uid(const char *s);
/* obj is a v1 Node: its status.allocatable, as { "cpu": "4" }. */
int codec_allocatable(const json_t *obj, struct pairs *ret_pairs, struct json_issue *issue);
/* obj is a v1 ServiceAccount: its imagePullSecrets, if it has any, are a list of objects, each with a string as its
 * name or none, and no more of them than pod_pull_secrets_read() reads. -EINVAL. */
int codec_check_account(const json_t *obj, struct json_issue *issue);
/* apiVersion and kind are what is expected. -EINVAL. */
int codec_expect(const json_t *obj, const char *api_version, const char *kind, struct json_issue *issue);
/* metadata.resourceVersion of any object or list; NULL if there is none. Borrowed. */
const char *codec_resource_version(const json_t *obj);
