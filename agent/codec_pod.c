/* Codec, of a Pod: who it is, what its containers mount and run as, and, only if something shows it, what it says of itself. Of a
 * field that nobody looks at no copy is kept: a node may have many pods, and their annotations may be long. */
#include "agent/codec.h"

#include "agent/codec_fields.h"
#include "agent/codec_volumes.h"
#include "agent/downward.h"
#include "agent/pod_env.h"
#include "agent/pod_options.h"
#include "common/str.h"

enum { GROUP_ID_MAX = INT32_MAX }; /* core validation: IsValidGroupID */

static int read_mount(struct pod_mount *m, const json_t *obj, const struct json_at *at, struct json_issue *issue)
{
	const char *sub_path = NULL, *expr = NULL;
	int r;

	r = expect_object(obj, at, issue);
	if (r < 0)
		return r;
	r = field_str_filled(obj, "name", at, &m->volume, issue);
	if (r < 0)
		return r;
	r = field_str_filled(obj, "mountPath", at, &m->mount_path, issue);
	if (r < 0)
		return r;
	r = json_get_str(obj, "subPath", at, &sub_path, issue);
	if (r < 0)
		return r;
	r = json_get_str(obj, "subPathExpr", at, &expr, issue);
	if (r < 0)
		return r;
	r = field_copy(str_empty(sub_path) ? NULL : sub_path, at, &m->sub_path, issue);
	if (r < 0)
		return r;
	r = field_copy(str_empty(expr) ? NULL : expr, at, &m->sub_path_expr, issue);
	if (r < 0)
		return r;
	return json_get_bool(obj, "readOnly", at, &m->read_only, issue);
}

static int read_container(struct pod_container *c, const json_t *obj, const struct json_at *up,
			  struct json_issue *issue)
{
	const struct json_at list_at = JSON_AT(up, "volumeMounts");
	const json_t *array = NULL;
	size_t n = 0;
	int r;

	r = expect_object(obj, up, issue);
	if (r < 0)
		return r;
	r = field_name(obj, "name", up, &RULE_LABEL, &c->name, issue);
	if (r < 0)
		return r;
	if (pod_env_read(obj, &c->env) < 0)
		return no_memory(issue, up);
	r = field_list(obj, "volumeMounts", up, POD_LIST_MAX, &array, &n, issue);
	if (r < 0 || n == 0)
		return r;
	c->mounts = calloc(n, sizeof(*c->mounts));
	if (!c->mounts)
		return no_memory(issue, &list_at);
	c->n_mounts = n;
	for (size_t i = 0; i < n; i++) {
		const struct json_at at = JSON_AT_INDEX(&list_at, i);

		r = read_mount(&c->mounts[i], json_array_get(array, i), &at, issue);
		if (r < 0)
			return r;
	}
	return 0;
}

static const struct {
	const char *key;
	enum pod_container_kind kind;
} CONTAINER_LISTS[] = {
	{ "initContainers", POD_CONTAINER_INIT },
	{ "containers", POD_CONTAINER_REGULAR },
	{ "ephemeralContainers", POD_CONTAINER_EPHEMERAL },
};

static int read_container_list(struct pod *p, const json_t *array, size_t n, enum pod_container_kind kind,
			       const struct json_at *list_at, struct map *names, struct json_issue *issue)
{
	int r;

	for (size_t i = 0; i < n; i++) {
		const struct json_at at = JSON_AT_INDEX(list_at, i);
		struct pod_container *c = &p->containers[p->n_containers++];

		c->kind = kind;
		r = read_container(c, json_array_get(array, i), &at, issue);
		if (r < 0)
			return r;
		r = field_unique_name(names, c->name, c, &at, issue);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_containers(struct pod *p, const json_t *spec, const struct json_at *up, struct json_issue *issue)
{
	const json_t *arrays[ARRAY_SIZE(CONTAINER_LISTS)] = { 0 };
	size_t n[ARRAY_SIZE(CONTAINER_LISTS)] = { 0 }, n_all = 0;
	struct map names = MAP_INIT;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(CONTAINER_LISTS); i++) {
		r = field_list(spec, CONTAINER_LISTS[i].key, up, POD_LIST_MAX, &arrays[i], &n[i], issue);
		if (r < 0)
			return r;
		n_all += n[i];
	}
	if (n_all == 0)
		return 0;
	p->containers = calloc(n_all, sizeof(*p->containers));
	if (!p->containers)
		return no_memory(issue, up);
	for (size_t i = 0; i < ARRAY_SIZE(CONTAINER_LISTS) && r == 0; i++) {
		const struct json_at at = JSON_AT(up, CONTAINER_LISTS[i].key);

		r = read_container_list(p, arrays[i], n[i], CONTAINER_LISTS[i].kind, &at, &names, issue);
	}
	map_deinit(&names);
	return r;
}

static int read_security_context(struct pod *p, const json_t *spec, const struct json_at *up, struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "securityContext");
	const json_t *context = NULL;
	int64_t group = -1;
	int r;

	r = json_get_object(spec, "securityContext", up, &context, issue);
	if (r < 0 || !context)
		return r;
	r = json_get_int(context, "fsGroup", &at, 0, GROUP_ID_MAX, &group, issue);
	if (r < 0 || group < 0)
		return r;
	p->has_fs_group = true;
	p->fs_group = (gid_t)group;
	return 0;
}

/* user stays as it is when the object says none */
static int read_run_as_user(const json_t *obj, const struct json_at *up, int64_t *user, struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "securityContext");
	const json_t *context = NULL;
	int r;

	r = json_get_object(obj, "securityContext", up, &context, issue);
	if (r < 0 || !context)
		return r;
	return json_get_int(context, "runAsUser", &at, 0, GROUP_ID_MAX, user, issue);
}

static int read_users(struct pod *p, const json_t *spec, const struct json_at *spec_at, struct json_issue *issue)
{
	int64_t pods_user = -1;
	size_t n = 0;
	int r;

	r = read_run_as_user(spec, spec_at, &pods_user, issue);
	for (size_t i = 0; i < ARRAY_SIZE(CONTAINER_LISTS); i++) {
		const struct json_at list_at = JSON_AT(spec_at, CONTAINER_LISTS[i].key);
		const json_t *array = json_object_get(spec, CONTAINER_LISTS[i].key);

		for (size_t j = 0; r == 0 && j < json_array_size(array); j++, n++) {
			int64_t user = pods_user;

			r = read_run_as_user(json_array_get(array, j), &JSON_AT_INDEX(&list_at, j), &user, issue);
			p->containers[n].has_user = user >= 0;
			p->containers[n].user = (uid_t)MAX(user, INT64_C(0));
		}
	}
	return r;
}

/* An empty name is what the admission makes `default` of. */
static int read_account(struct pod *p, const json_t *spec, const struct json_at *up, struct json_issue *issue)
{
	const char *account = NULL;
	int r;

	r = json_get_str(spec, "serviceAccountName", up, &account, issue);
	if (r < 0)
		return r;
	if (!str_empty(account) && !str_is_dns_subdomain(account))
		return json_issue_set(issue, &JSON_AT(up, "serviceAccountName"), "is not a DNS-1123 subdomain");
	return field_copy(str_empty(account) ? "default" : account, up, &p->service_account, issue);
}

static int read_spec(struct pod *p, const json_t *obj, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, at = JSON_AT(&root, "spec");
	const json_t *spec = NULL;
	int r;

	r = json_get_object(obj, "spec", &root, &spec, issue);
	if (r < 0)
		return r;
	if (!spec)
		return json_issue_set(issue, &at, "is missing");
	r = field_str(spec, "nodeName", &at, &p->node_name, issue);
	if (r < 0)
		return r;
	r = read_account(p, spec, &at, issue);
	if (r < 0)
		return r;
	if (pod_pull_secrets_read(spec, &p->pull_secrets) < 0)
		return no_memory(issue, &at);
	r = read_security_context(p, spec, &at, issue);
	if (r < 0)
		return r;
	r = codec_volumes(p, spec, &at, issue);
	if (r < 0)
		return r;
	r = read_containers(p, spec, &at, issue);
	return r < 0 ? r : read_users(p, spec, &at, issue);
}

static int read_pod_rest(struct pod *p, const json_t *obj, const json_t *meta, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, meta_at = JSON_AT(&root, "metadata"),
			     status_at = JSON_AT(&root, "status");
	const json_t *annotations = NULL, *status = NULL;
	const char *deleted = NULL;
	int r;

	r = json_get_str(meta, "deletionTimestamp", &meta_at, &deleted, issue);
	if (r < 0)
		return r;
	p->deleting = deleted;
	r = json_get_object(meta, "annotations", &meta_at, &annotations, issue);
	if (r < 0)
		return r;
	p->mirror = annotations && json_object_get(annotations, "kubernetes.io/config.mirror");
	if (pod_options_read(p, annotations) < 0)
		return no_memory(issue, &meta_at);
	r = json_get_object(obj, "status", &root, &status, issue);
	if (r < 0)
		return r;
	return status ? field_str(status, "phase", &status_at, &p->phase, issue) : 0;
}

/* Some item of a volume shows this. */
static bool pod_shows(const struct pod *p, bool resources, enum downward_field field)
{
	for (size_t i = 0; i < p->n_volumes; i++) {
		const struct pod_volume *v = &p->volumes[i];

		for (size_t j = 0; j < v->n_sources; j++) {
			const struct pod_volume_source *s = &v->sources[j];

			for (size_t k = 0; k < s->n_items && s->kind == POD_SOURCE_DOWNWARD_API; k++) {
				enum downward_field shown = DOWNWARD_FIELDS_N;
				const char *key;
				size_t len;

				if (!s->items[k].container)
					(void)downward_field_parse(s->items[k].key, &shown, &key, &len);
				if (resources ? s->items[k].container != NULL : shown == field)
					return true;
			}
		}
	}
	return false;
}

static int read_resources(struct pod_container *c, const json_t *obj, const struct json_at *up,
			  struct json_issue *issue)
{
	const struct json_at at = JSON_AT(up, "resources");
	const json_t *resources = NULL;
	int r;

	r = json_get_object(obj, "resources", up, &resources, issue);
	if (r < 0)
		return r;
	r = field_pairs(&c->limits, resources, "limits", true, &at, issue);
	return r < 0 ? r : field_pairs(&c->requests, resources, "requests", true, &at, issue);
}

static int read_all_resources(struct pod *p, const json_t *obj, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, spec_at = JSON_AT(&root, "spec");
	const json_t *spec = json_object_get(obj, "spec");
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(CONTAINER_LISTS); i++) {
		const struct json_at list_at = JSON_AT(&spec_at, CONTAINER_LISTS[i].key);
		const json_t *array = json_object_get(spec, CONTAINER_LISTS[i].key);

		for (size_t j = 0; r == 0 && j < json_array_size(array); j++)
			r = read_resources(&p->containers[n++], json_array_get(array, j), &JSON_AT_INDEX(&list_at, j),
					   issue);
	}
	return r;
}

/* What a volume or an environment shows of the pod itself. */
static int read_shown(struct pod *p, const json_t *obj, const json_t *meta, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, meta_at = JSON_AT(&root, "metadata");
	int r = 0;

	if (pod_shows(p, false, DOWNWARD_LABELS) || pod_env_mentions(p, "metadata.labels"))
		r = field_pairs(&p->labels, meta, "labels", false, &meta_at, issue);
	if (r == 0 && (pod_shows(p, false, DOWNWARD_ANNOTATIONS) || pod_env_mentions(p, "metadata.annotations")))
		r = field_pairs(&p->annotations, meta, "annotations", false, &meta_at, issue);
	if (r == 0 && (pod_shows(p, true, DOWNWARD_FIELDS_N) || pod_env_mentions(p, "resourceFieldRef")))
		r = read_all_resources(p, obj, issue);
	if (r == 0 && pod_env_mentions(p, "status.") && pod_addresses_read(p, json_object_get(obj, "status")) < 0)
		r = no_memory(issue, &meta_at);
	return r;
}

int codec_pod(const json_t *obj, struct pod **ret_p, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT;
	cleanup_pod struct pod *p = NULL;
	const json_t *meta = NULL;
	int r;

	if (pod_new(&p) < 0)
		return no_memory(issue, &root);
	r = field_meta(obj, &(struct meta){ &p->ns, &p->name, &p->uid, &p->resource_version }, true, &meta, issue);
	if (r < 0)
		return r;
	r = read_spec(p, obj, issue);
	if (r < 0)
		return r;
	r = read_pod_rest(p, obj, meta, issue);
	if (r < 0)
		return r;
	r = read_shown(p, obj, meta, issue);
	if (r < 0)
		return r;
	*ret_p = TAKE_PTR(p);
	return 0;
}
