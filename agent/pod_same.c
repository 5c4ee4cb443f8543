/* Pod same: compares what volumes are made of, field by field. A field of struct pod that a volume shows has to be here, too: a change
 * of it alone would not be seen otherwise. Environments are left out, since they are made of the newest revision when somebody
 * asks for one. */
#include "agent/pod_same.h"

#include "agent/pod_options.h"
#include "common/str.h"

static bool source_same(const struct pod_volume_source *a, const struct pod_volume_source *b)
{
	if (a->kind != b->kind || !str_eq(a->audience, b->audience) || a->expiration_sec != b->expiration_sec)
		return false;
	if (!str_eq(a->name, b->name) || a->optional != b->optional || a->n_items != b->n_items)
		return false;
	for (size_t i = 0; i < a->n_items; i++) {
		const struct pod_item *x = &a->items[i], *y = &b->items[i];

		if (!str_eq(x->key, y->key) || !str_eq(x->path, y->path) || x->has_mode != y->has_mode ||
		    x->mode != y->mode || !str_eq(x->container, y->container) || !str_eq(x->divisor, y->divisor))
			return false;
	}
	return true;
}

static bool volume_same(const struct pod_volume *a, const struct pod_volume *b)
{
	if (!str_eq(a->name, b->name) || a->kind != b->kind || a->default_mode != b->default_mode ||
	    a->n_sources != b->n_sources || !str_eq(a->error, b->error))
		return false;
	for (size_t i = 0; i < a->n_sources; i++) {
		if (!source_same(&a->sources[i], &b->sources[i]))
			return false;
	}
	return true;
}

static bool volumes_same(const struct pod *a, const struct pod *b)
{
	if (a->n_volumes != b->n_volumes)
		return false;
	for (size_t i = 0; i < a->n_volumes; i++) {
		if (!volume_same(&a->volumes[i], &b->volumes[i]))
			return false;
	}
	return true;
}

static bool mounts_same(const struct pod_container *a, const struct pod_container *b)
{
	if (a->n_mounts != b->n_mounts)
		return false;
	for (size_t i = 0; i < a->n_mounts; i++) {
		const struct pod_mount *x = &a->mounts[i], *y = &b->mounts[i];

		if (!str_eq(x->volume, y->volume) || !str_eq(x->mount_path, y->mount_path))
			return false;
	}
	return true;
}

static bool containers_same(const struct pod *a, const struct pod *b)
{
	if (a->n_containers != b->n_containers)
		return false;
	for (size_t i = 0; i < a->n_containers; i++) {
		if (!str_eq(a->containers[i].name, b->containers[i].name) ||
		    !mounts_same(&a->containers[i], &b->containers[i]) ||
		    a->containers[i].has_user != b->containers[i].has_user ||
		    a->containers[i].user != b->containers[i].user ||
		    !pairs_same(&a->containers[i].limits, &b->containers[i].limits) ||
		    !pairs_same(&a->containers[i].requests, &b->containers[i].requests))
			return false;
	}
	return true;
}

bool pod_same_view(const struct pod *a, const struct pod *b)
{
	return str_eq(a->ns, b->ns) && str_eq(a->name, b->name) && str_eq(a->service_account, b->service_account) &&
	       pod_is_finished(a) == pod_is_finished(b) && a->mirror == b->mirror &&
	       a->has_fs_group == b->has_fs_group && a->fs_group == b->fs_group && pairs_same(&a->labels, &b->labels) &&
	       pairs_same(&a->annotations, &b->annotations) && volumes_same(a, b) && containers_same(a, b) &&
	       pod_options_same(a, b);
}
