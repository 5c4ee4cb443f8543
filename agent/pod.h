/* Pod: the parts of a Pod object that concern its volumes of ours. Immutable once made; shared by reference. */
#pragma once

#include "agent/secret.h"
#include "common/base.h"
#include "common/err.h"

enum pod_volume_kind {
	POD_VOLUME_SECRET,
	POD_VOLUME_CONFIG_MAP,
	POD_VOLUME_DOWNWARD_API,
	POD_VOLUME_PROJECTED, /* of sources that we know, each of them */
	POD_VOLUME_OTHER, /* not ours; known for nested mount points */
};
struct pod_item {
	char *key; /* in the object; of the pod itself the field or the container's resource: "metadata.uid", "limits.cpu" */
	char *path;
	char *container, *divisor; /* of a resource; divisor NULL: 1 */
	bool has_mode;
	mode_t mode;
};
/* What a volume is made of: one object, or of a projected volume several, one laid over the other. What the pod says of
 * itself is an object, too. */
enum pod_source_kind { POD_SOURCE_SECRET, POD_SOURCE_CONFIG_MAP, POD_SOURCE_DOWNWARD_API, POD_SOURCE_TOKEN };
struct pod_volume_source {
	enum pod_source_kind kind;
	char *name; /* of the object, in the pod's namespace; NULL: it is the pod itself */
	bool optional;
	char *audience; /* of a token; NULL: the API server's own */
	int64_t expiration_sec;
	struct pod_item *items;
	size_t n_items; /* 0: every key, of an object; a token has one */
};
/* What a pod asks of a volume by annotation (pod_options.h). */
enum pod_volume_layout { POD_LAYOUT_KUBELET, POD_LAYOUT_FLAT };
struct pod_file_options { /* what is set is exactly so, whatever fsGroup says */
	bool has_owner, has_group, has_mode;
	uid_t owner;
	gid_t group;
	mode_t mode;
};
struct pod_key_options {
	char *path; /* in the volume, cleaned */
	struct pod_file_options files; /* has_*: instead of the volume's */
};
struct pod_volume {
	char *name;
	enum pod_volume_kind kind;
	mode_t default_mode; /* 0644 when the object does not say, as the API server defaults it */
	bool live; /* with live files */
	enum pod_volume_layout layout;
	struct pod_file_options files;
	struct pod_key_options *keys; /* by path, as strcmp() has it */
	size_t n_keys;
	int on_change; /* a signal for the containers that mount it, whenever it has changed; 0: none */
	char *option_error; /* what of these is not known, because the annotation is wrong; NULL: nothing */
	struct pod_volume_source
		*sources; /* in the order in which they are laid; a volume that is not projected has one */
	size_t n_sources;
	char *error; /* why it cannot be shown as it is specified; it has no sources then. NULL: nothing is wrong */
};
struct pod_mount {
	char *volume, *mount_path, *sub_path; /* sub_path NULL: the whole volume */
	char *sub_path_expr; /* subPathExpr: made of the container's environment (mounts.h); NULL: there is none */
	bool read_only;
};
struct name_list {
	char **all;
	size_t n;
};
void name_list_deinit(struct name_list *n);
enum pod_container_kind { POD_CONTAINER_INIT, POD_CONTAINER_REGULAR, POD_CONTAINER_EPHEMERAL };
struct pod_container {
	char *name;
	enum pod_container_kind kind;
	struct pod_mount *mounts;
	size_t n_mounts;
	char **clean_paths,
		**sorted_paths; /* views.c's own: of the mounts, and the same in order. NULL: not made yet */
	struct pairs limits, requests; /* kept when a volume or an environment shows some */
	char *env; /* its env and envFrom, as text (pod_env.h); NULL: it has none */
	bool has_user; /* runAsUser, its own or the pod's */
	uid_t user;
};
/* Which container's which mount. */
struct pod_mount_at {
	uint32_t container, mount;
};
/* What a label, an annotation or all of them are as a file. */
struct pod_text {
	struct secblock *block; /* NULL: not made yet */
	struct digest digest;
};
/* An annotation of ours that is wrong. */
struct pod_mistake {
	char *annotation, *text; /* which one, and what is wrong with it */
	size_t line, column; /* in its value, from 1; 0: all of it */
	bool is_of_volume; /* some volume has an option_error by it; else nothing is held back */
};
struct pod {
	size_t refs;
	char *ns, *name, *uid, *resource_version, *node_name, *phase;
	char *service_account;
	struct pairs labels, annotations; /* kept when a volume or an environment shows them */
	struct pod_text *label_texts,
		*annotation_texts; /* downward.c's own: of each, and behind them of all of them. NULL: not made yet */
	char *host_ips, *pod_ips; /* with commas between, kept when an environment shows them; NULL: not known */
	struct name_list pull_secrets; /* imagePullSecrets */
	bool deleting; /* metadata.deletionTimestamp is set */
	bool mirror; /* annotation kubernetes.io/config.mirror */
	bool has_fs_group;
	gid_t fs_group;
	struct pod_volume *volumes;
	size_t n_volumes;
	size_t n_objects; /* different ones that they name (pod_count_objects()) */
	struct pod_container *containers;
	size_t n_containers;
	char *volume_options; /* the annotation that says them, as it is; NULL: there is none */
	size_t volume_options_len;
	struct pod_mistake *mistakes;
	size_t n_mistakes;
	char *display; /* pod_display()'s own */
	struct pod_mount_at *by_volume; /* pod_volume_mounts()'s own */
	size_t n_by_volume;
	const struct pod_container **by_name; /* pod_find_container()'s own */
	char *cache_revision; /* cache.c's own: what a record of it would be, as a digest */
};

int pod_new(struct pod **ret_p);
struct pod *pod_ref(struct pod *p);
void pod_unref(struct pod *p);
DEFINE_CLEANUP(struct pod *, pod_unref);
#define cleanup_pod cleanup(pod_unrefp)
/* The volume's kind as a folder below <pods dir>/<uid>/volumes, which is the name of the kubelet's plugin:
 * "kubernetes.io~secret". NULL: not one of ours. */
const char *pod_volume_plugin(const struct pod_volume *v);
/* The field that it is in the pod's spec: "secret". NULL: not one of ours. */
const char *pod_volume_type(const struct pod_volume *v);
/* The same of a source. */
const char *pod_source_type(const struct pod_volume_source *s);
/* false: it is none of an object in the store. */
bool pod_source_object(const struct pod_volume_source *s, enum object_kind *ret_kind);
const struct pod_volume *pod_find_volume(const struct pod *p, const char *name);
const struct pod_container *pod_find_container(const struct pod *p, const char *name);
/* Sets n_objects, for the volumes as they are now: each is followed, whether it is there or not, or fetched and renewed. -ENOMEM. */
int pod_count_objects(struct pod *p);
#define POD_OBJECTS_MAX 1000 /* some have tens */
/* What is wrong with it, for good: its sources go. -ENOMEM. */
int pod_volume_spoil(struct pod_volume *v, const char *error);
/* Some container (of any kind) mounts it. Others are not set up, as under the kubelet. One whose name nobody can use has its
 * place, "volumes[2]", as its name, and may be meant by any mount. */
bool pod_mounts_volume(const struct pod *p, const char *volume);
/* All mounts of the volume, in the order of the containers and of their mounts; *ret (borrowed) lives as long as p. -ENOMEM. */
int pod_volume_mounts(const struct pod *p, const char *volume, const struct pod_mount_at **ret, size_t *ret_n);
/* The user that all containers run as, if they say so: the owner of the pod's tokens. */
bool pod_common_user(const struct pod *p, uid_t *ret_user);
/* phase Succeeded or Failed: takes no volumes any more. */
bool pod_is_finished(const struct pod *p);
/* About how much memory there is for its sake, that of its objects' contents left out: its own, what pods.c and publish.c
 * keep for its volumes, and what it takes to follow its objects, as if no other pod had the same. */
size_t pod_weight(const struct pod *p);
/* Of all pods of a node together; 10,000 Secrets in 250 pods are three quarters of it. */
#define PODS_WEIGHT_MAX ((size_t)256 << 20)
/* "default/web", for messages; lives as long as p. */
const char *pod_display(const struct pod *p);
