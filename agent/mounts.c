/* Mounts: always read-only, whatever volumeMounts says, as the kubelet has it for secret volumes. The options name
 * nosuid, nodev and noexec although our mount does not have them: a runtime sets exactly what it is told (runc and crun
 * drop the source's flags), and none of them can keep a container from starting because the source has no locked flag. */
#include "agent/mounts.h"

#include "common/buf.h"
#include "common/str.h"

#define MOUNT_NAMES_MAX 512

static int mounts_no_container(const struct pod *pod, const char *container, struct err *e)
{
	cleanup_buf struct buf names = BUF_INIT(MOUNT_NAMES_MAX);

	for (size_t i = 0; i < pod->n_containers; i++) {
		if (buf_printf(&names, "%s%s", i ? ", " : "", pod->containers[i].name) < 0)
			break;
	}
	return err_set(e, -ENOENT, "pod %s has no container %s (it has: %s)", pod_display(pod), container,
		       names.data ? names.data : "none");
}

/* Names that start with two dots have no live file. */
static bool has_dotted(const char *path)
{
	return str_starts(path, "..") || strstr(path, "/..");
}

/* What a subPath of a live volume leads to follows updates. Not what is inside of a version's folder, which is asked for by
 * name. */
static int mount_make(const struct pod *pod, const struct pod_volume *volume, const struct pod_mount *m,
		      const char *pods_dir, json_t **ret, struct err *e)
{
	cleanup_free char *source = NULL;

	if (m->has_sub_path_expr)
		return err_set(e, -EINVAL, "volume mount %s of pod %s: subPathExpr needs the container's environment",
			       m->volume, pod_display(pod));
	/* as the core validation has it */
	if (m->sub_path && (m->sub_path[0] == '/' || str_has_dotdot(m->sub_path)))
		return err_set(e, -EINVAL,
			       "volume mount %s of pod %s: subPath must be relative and must not contain '..'",
			       m->volume, pod_display(pod));
	if (volume->live && !str_empty(m->sub_path) && !has_dotted(m->sub_path))
		source = str_format("%s/%s/live/%s/%s", pods_dir, pod->uid, m->volume, m->sub_path);
	else
		source = str_format("%s/%s/volumes/%s/%s%s%s", pods_dir, pod->uid, pod_volume_plugin(volume), m->volume,
				    str_empty(m->sub_path) ? "" : "/", str_empty(m->sub_path) ? "" : m->sub_path);
	if (!source)
		return err_set(e, -ENOMEM, "out of memory");
	*ret = json_pack("{s:s, s:s, s:s, s:[s,s,s,s,s]}", "destination", m->mount_path, "type", "bind", "source",
			 source, "options", "rbind", "ro", "nosuid", "nodev", "noexec");
	if (!*ret)
		return err_set(e, -EINVAL, "volume mount %s of pod %s: its paths are not UTF-8, or out of memory",
			       m->volume, pod_display(pod));
	return 0;
}

int mounts_make(const struct pod *pod, const char *container, const char *pods_dir, json_t **ret_mounts, struct err *e)
{
	const struct pod_container *c = pod_find_container(pod, container);
	cleanup_json json_t *mounts = json_array();
	int r;

	if (!c)
		return mounts_no_container(pod, container, e);
	if (!mounts)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < c->n_mounts; i++) {
		const struct pod_volume *volume = pod_find_volume(pod, c->mounts[i].volume);
		json_t *mount;

		if (!volume || volume->kind == POD_VOLUME_OTHER)
			continue;
		r = mount_make(pod, volume, &c->mounts[i], pods_dir, &mount, e);
		if (r < 0)
			return r;
		if (json_array_append_new(mounts, mount) < 0)
			return err_set(e, -ENOMEM, "out of memory");
	}
	*ret_mounts = TAKE_PTR(mounts);
	return 0;
}
