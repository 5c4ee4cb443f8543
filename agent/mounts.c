/* Mounts: always read-only, whatever volumeMounts says, as the kubelet has it for secret volumes. The options name
 * nosuid, nodev and noexec although our mount does not have them: a runtime sets exactly what it is told (runc and crun
 * drop the source's flags), and none of them can keep a container from starting because the source has no locked flag. */
#include "agent/mounts.h"

#include "common/buf.h"
#include "common/str.h"

#define MOUNT_NAMES_MAX 512
#define SUB_PATH_MAX	((size_t)4096)

int mounts_find_container(const struct pod *pod, const char *name, const struct pod_container **ret_c, struct err *e)
{
	const struct pod_container *c = pod_find_container(pod, name);
	cleanup_buf struct buf names = BUF_INIT(MOUNT_NAMES_MAX);

	if (c) {
		*ret_c = c;
		return 0;
	}
	for (size_t i = 0; i < pod->n_containers; i++) {
		if (buf_printf(&names, "%s%s", i ? ", " : "", pod->containers[i].name) < 0)
			break;
	}
	return err_set(e, -ENOENT, "pod %s has no container %s (it has: %s)", pod_display(pod), name,
		       names.data ? names.data : "none");
}

/* Names that start with two dots have no live file. */
static bool has_dotted(const char *path)
{
	return str_starts(path, "..") || strstr(path, "/..");
}

/* What comes behind the volume, made of the pod's environment if it is an expression; NULL: nothing. */
static int sub_path_of(const struct pod *pod, const struct pod_mount *m, const struct environment *env, char **ret,
		       struct err *e)
{
	cleanup_buf struct buf b = BUF_INIT(SUB_PATH_MAX);
	int r = 0;

	if (m->sub_path_expr)
		r = environment_expand_path(env, m->sub_path_expr, &b, e);
	else
		r = buf_add_str(&b, m->sub_path ?: "");
	if (r < 0)
		return err_wrap(e, r, "volume mount %s of pod %s: %s", m->volume, pod_display(pod),
				m->sub_path_expr ? "subPathExpr" : "subPath");
	/* as the core validation and the kubelet have it */
	if (b.len > 0 && (b.data[0] == '/' || str_has_dotdot(b.data)))
		return err_set(e, -EINVAL,
			       "volume mount %s of pod %s: subPath must be relative and must not contain '..'",
			       m->volume, pod_display(pod));
	*ret = b.len > 0 ? buf_take(&b) : NULL;
	return b.len == 0 || *ret ? 0 : err_set(e, -ENOMEM, "out of memory");
}

/* What a subPath of a live volume leads to follows updates. Not what is inside of a version's folder, which is asked for by
 * name. */
static int mount_make(const struct pod *pod, const struct pod_volume *volume, const struct pod_mount *m,
		      const char *pods_dir, const struct environment *env, json_t **ret, struct err *e)
{
	cleanup_free char *source = NULL, *sub_path = NULL;
	int r;

	r = sub_path_of(pod, m, env, &sub_path, e);
	if (r < 0)
		return r;
	if (volume->live && sub_path && !has_dotted(sub_path))
		source = str_format("%s/%s/live/%s/%s", pods_dir, pod->uid, m->volume, sub_path);
	else
		source = str_format("%s/%s/volumes/%s/%s%s%s", pods_dir, pod->uid, pod_volume_plugin(volume), m->volume,
				    sub_path ? "/" : "", sub_path ?: "");
	if (!source)
		return err_set(e, -ENOMEM, "out of memory");
	*ret = json_pack("{s:s, s:s, s:s, s:[s,s,s,s,s]}", "destination", m->mount_path, "type", "bind", "source",
			 source, "options", "rbind", "ro", "nosuid", "nodev", "noexec");
	if (!*ret)
		return err_set(e, -EINVAL, "volume mount %s of pod %s: its paths are not UTF-8, or out of memory",
			       m->volume, pod_display(pod));
	return 0;
}

/* NULL: none of ours. */
static const struct pod_volume *mount_volume(const struct pod *pod, const struct pod_mount *m)
{
	const struct pod_volume *volume = pod_find_volume(pod, m->volume);

	return volume && volume->kind != POD_VOLUME_OTHER ? volume : NULL;
}

bool mounts_need_environment(const struct pod *pod, const struct pod_container *c)
{
	for (size_t i = 0; i < c->n_mounts; i++)
		if (c->mounts[i].sub_path_expr && mount_volume(pod, &c->mounts[i]))
			return true;
	return false;
}

int mounts_make(const struct pod *pod, const struct pod_container *c, const char *pods_dir,
		const struct environment *env, json_t **ret_mounts, struct err *e)
{
	cleanup_json json_t *mounts = json_array();
	int r;

	if (!mounts)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < c->n_mounts; i++) {
		const struct pod_volume *volume = mount_volume(pod, &c->mounts[i]);
		json_t *mount;

		if (!volume)
			continue;
		r = mount_make(pod, volume, &c->mounts[i], pods_dir, env, &mount, e);
		if (r < 0)
			return r;
		if (json_array_append_new(mounts, mount) < 0)
			return err_set(e, -ENOMEM, "out of memory");
	}
	*ret_mounts = TAKE_PTR(mounts);
	return 0;
}
