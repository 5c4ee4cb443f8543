/* Publish: what an earlier process has published. Its volumes are found again, and what it has left undone is ordered; what
 * nobody wants any more goes when all pods are known. */
#include "common/str.h"
#include "fusefs/publish_internal.h"

static bool is_dir(const struct node *n)
{
	return n && node_kind(n) == NODE_DIR;
}

/* The folder in doubt, if it is the volume's: its own, or one among its keys; 0: it is not. */
static uint64_t doubt_of(const struct publish *p, const struct plan_shown *s)
{
	const struct node *n = *p->doubt ? tree_node(p->tree, *p->doubt) : NULL;

	if (n && s->flat && node_kind(n) == NODE_DIR)
		while (n != s->vol && node_parent(n))
			n = node_parent(n);
	return n == s->vol ? *p->doubt : 0;
}

static int resume_volume(struct publish *p, const struct node *pod, const struct node *plugin, struct node *vol)
{
	struct plan plan = PLAN_INIT(p->tree);
	cleanup_free char *path = NULL;
	struct plan_shown shown;
	struct volume *v;
	int r;

	path = volume_path_text(&(struct volume_path){ node_name(pod), node_name(plugin), node_name(vol) });
	if (!path)
		return -ENOMEM;
	plan.path = path;
	if (!plan_shown(&plan, &shown)) /* nothing that the publisher makes; the next payload makes a volume of it */
		return 0;
	r = volume_get(p, path, &v);
	if (r < 0)
		return r;
	v->digest = *node_digest(shown.version);
	v->realtime_usec = version_updated(shown.version) ?: shown.changed_usec;
	v->error = strdup(UNHEARD);
	if (!v->error)
		return -ENOMEM;
	v->bytes = plan_shown_bytes(&shown);
	v->doubted = doubt_of(p, &shown);
	return heal_enqueue(p, node_name(pod), path, v->doubted);
}

static bool has_volume(const struct publish *p, const struct node *volumes, const char *name)
{
	struct node *plugin = is_dir(volumes) ? node_next_child(volumes, 0) : NULL;

	while (plugin && !(is_dir(plugin) && tree_find(p->tree, plugin, name)))
		plugin = node_next_child(volumes, node_cookie(plugin));
	return plugin;
}

static int sweep_enqueue(struct publish *p, const struct node *pod, const char *volume)
{
	cleanup_job struct job *j = NULL;
	int r;

	r = job_new(p, JOB_SWEEP, node_name(pod), &j);
	if (r < 0)
		return r;
	if (asprintf(&j->path, "%s/" PLAN_STAGING "/%s", node_name(pod), volume) < 0) {
		j->path = NULL;
		return -ENOMEM;
	}
	job_enqueue(p, TAKE_PTR(j));
	return 0;
}

/* A death before a flat volume's mkdir leaves what was made before it. */
static int resume_staging(struct publish *p, const struct node *pod, const struct node *volumes)
{
	const struct node *staging = tree_find(p->tree, pod, PLAN_STAGING);
	int r = 0;

	for (struct node *n = is_dir(staging) ? node_next_child(staging, 0) : NULL; n && r == 0;
	     n = node_next_child(staging, node_cookie(n)))
		if (!has_volume(p, volumes, node_name(n)))
			r = sweep_enqueue(p, pod, node_name(n));
	return r;
}

/* Every committed child is listed or, in versions alone, hidden. */
static int resume_pod(struct publish *p, struct node *pod)
{
	struct node *volumes = tree_find(p->tree, pod, "volumes");
	int r;

	r = resume_staging(p, pod, volumes);
	if (r < 0 || !is_dir(volumes))
		return r;
	for (struct node *plugin = node_next_child(volumes, 0); plugin;
	     plugin = node_next_child(volumes, node_cookie(plugin)))
		for (struct node *vol = node_next_child(plugin, 0); vol && r == 0;
		     vol = node_next_child(plugin, node_cookie(vol)))
			r = is_dir(vol) ? resume_volume(p, pod, plugin, vol) : 0;
	return r;
}

/* The pods' folders; by-name is none. */
static struct node *next_pod(const struct publish *p, uint64_t after)
{
	const struct node *root = tree_node(p->tree, TREE_ROOT_ID);
	struct node *n = node_next_child(root, after);

	while (n && (!is_dir(n) || str_eq(node_name(n), PLAN_BY_NAME)))
		n = node_next_child(root, node_cookie(n));
	return n;
}

void publish_will_resume(struct publish *p)
{
	p->unheard = true;
}

int publish_resume(struct publish *p, uint64_t *doubt)
{
	int r = 0;

	p->doubt = doubt;
	p->unheard = false;
	for (struct node *pod = next_pod(p, 0); pod && r == 0; pod = next_pod(p, node_cookie(pod)))
		r = resume_pod(p, pod);
	return r;
}

void publish_names(const struct publish *p,
		   void (*fn)(void *userdata, const char *ns, const char *name, const char *uid), void *userdata)
{
	const struct node *top = tree_find(p->tree, tree_node(p->tree, TREE_ROOT_ID), PLAN_BY_NAME);

	for (struct node *ns = top ? node_next_child(top, 0) : NULL; ns; ns = node_next_child(top, node_cookie(ns)))
		for (struct node *link = node_next_child(ns, 0); link; link = node_next_child(ns, node_cookie(link)))
			if (node_kind(link) == NODE_LINK && strrchr(node_target(link), '/'))
				fn(userdata, node_name(ns), node_name(link), strrchr(node_target(link), '/') + 1);
}

static void visit_volumes(const struct publish *p, const struct node *pod, publish_visit_fn fn, void *userdata)
{
	struct node *volumes = tree_find(p->tree, pod, "volumes");

	if (!is_dir(volumes))
		return;
	for (struct node *plugin = node_next_child(volumes, 0); plugin;
	     plugin = node_next_child(volumes, node_cookie(plugin)))
		for (struct node *vol = node_next_child(plugin, 0); vol;
		     vol = node_next_child(plugin, node_cookie(vol)))
			(void)fn(userdata, node_name(pod), node_name(plugin), node_name(vol));
}

void publish_visit(const struct publish *p, publish_visit_fn fn, void *userdata)
{
	for (struct node *pod = next_pod(p, 0); pod; pod = next_pod(p, node_cookie(pod)))
		if (fn(userdata, node_name(pod), NULL, NULL))
			visit_volumes(p, pod, fn, userdata);
}
