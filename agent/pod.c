/* Pod: an immutable value shared by reference; no value of one is in it, so it lives on the heap. */
#include "agent/pod.h"

#include "common/str.h"

enum { FEW_CONTAINERS = 8 }; /* are looked through */

int pod_new(struct pod **ret_p)
{
	struct pod *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->refs = 1;
	*ret_p = p;
	return 0;
}

struct pod *pod_ref(struct pod *p)
{
	assert(p && p->refs > 0);
	p->refs++;
	return p;
}

void name_list_deinit(struct name_list *n)
{
	for (size_t i = 0; i < n->n; i++)
		free(n->all[i]);
	free(n->all);
	*n = (struct name_list){ .n = 0 };
}

static void source_deinit(struct pod_volume_source *s)
{
	for (size_t i = 0; i < s->n_items; i++) {
		free(s->items[i].key);
		free(s->items[i].path);
		free(s->items[i].container);
		free(s->items[i].divisor);
	}
	free(s->items);
	free(s->name);
	free(s->audience);
}

static void volume_drop_sources(struct pod_volume *v)
{
	for (size_t i = 0; i < v->n_sources; i++)
		source_deinit(&v->sources[i]);
	free(TAKE_PTR(v->sources));
	v->n_sources = 0;
}

static void volume_deinit(struct pod_volume *v)
{
	volume_drop_sources(v);
	for (size_t i = 0; i < v->n_keys; i++)
		free(v->keys[i].path);
	free(v->keys);
	free(v->option_error);
	free(v->error);
	free(v->name);
}

int pod_volume_spoil(struct pod_volume *v, const char *error)
{
	char *copy = strdup(error);

	if (!copy)
		return -ENOMEM;
	free(v->error);
	v->error = copy;
	volume_drop_sources(v);
	return 0;
}

static void container_deinit(struct pod_container *c)
{
	for (size_t i = 0; i < c->n_mounts; i++) {
		free(c->mounts[i].volume);
		free(c->mounts[i].mount_path);
		free(c->mounts[i].sub_path);
		free(c->mounts[i].sub_path_expr);
		if (c->clean_paths)
			free(c->clean_paths[i]);
	}
	free(c->clean_paths);
	free(c->sorted_paths);
	pairs_deinit(&c->limits);
	pairs_deinit(&c->requests);
	str_free_secret(c->env); /* some write passwords into it */
	free(c->mounts);
	free(c->name);
}

static void texts_free(struct pod_text *texts, const struct pairs *pairs)
{
	for (size_t i = 0; texts && i <= pairs->n; i++)
		secblock_unref(texts[i].block);
	free(texts);
}

static void pod_free(struct pod *p)
{
	for (size_t i = 0; i < p->n_volumes; i++)
		volume_deinit(&p->volumes[i]);
	for (size_t i = 0; i < p->n_containers; i++)
		container_deinit(&p->containers[i]);
	texts_free(p->label_texts, &p->labels);
	texts_free(p->annotation_texts, &p->annotations);
	pairs_deinit(&p->labels);
	pairs_deinit(&p->annotations);
	name_list_deinit(&p->pull_secrets);
	free(p->host_ips);
	free(p->pod_ips);
	free(p->volumes);
	free(p->containers);
	free(p->ns);
	free(p->name);
	free(p->uid);
	free(p->resource_version);
	free(p->node_name);
	free(p->phase);
	free(p->service_account);
	for (size_t i = 0; i < p->n_mistakes; i++) {
		free(p->mistakes[i].annotation);
		free(p->mistakes[i].text);
	}
	free(p->mistakes);
	free(p->volume_options);
	free(p->display);
	free(p->by_volume);
	free(p->by_name);
	free(p->cache_revision);
	free(p);
}

void pod_unref(struct pod *p)
{
	if (!p)
		return;
	assert(p->refs > 0);
	if (--p->refs == 0)
		pod_free(p);
}

const char *pod_volume_plugin(const struct pod_volume *v)
{
	static const char *const plugins[] = {
		[POD_VOLUME_SECRET] = "kubernetes.io~secret",
		[POD_VOLUME_CONFIG_MAP] = "kubernetes.io~configmap",
		[POD_VOLUME_DOWNWARD_API] = "kubernetes.io~downward-api",
		[POD_VOLUME_PROJECTED] = "kubernetes.io~projected",
		[POD_VOLUME_OTHER] = NULL,
	};

	return plugins[v->kind];
}

const char *pod_volume_type(const struct pod_volume *v)
{
	static const char *const types[] = {
		[POD_VOLUME_SECRET] = "secret",
		[POD_VOLUME_CONFIG_MAP] = "configMap",
		[POD_VOLUME_DOWNWARD_API] = "downwardAPI",
		[POD_VOLUME_PROJECTED] = "projected",
		[POD_VOLUME_OTHER] = NULL,
	};

	return types[v->kind];
}

const char *pod_source_type(const struct pod_volume_source *s)
{
	static const char *const types[] = { [POD_SOURCE_SECRET] = "secret",
					     [POD_SOURCE_CONFIG_MAP] = "configMap",
					     [POD_SOURCE_DOWNWARD_API] = "downwardAPI",
					     [POD_SOURCE_TOKEN] = "serviceAccountToken" };

	return types[s->kind];
}

bool pod_source_object(const struct pod_volume_source *s, enum object_kind *ret_kind)
{
	switch (s->kind) {
	case POD_SOURCE_SECRET:
		*ret_kind = OBJECT_SECRET;
		return true;
	case POD_SOURCE_CONFIG_MAP:
		*ret_kind = OBJECT_CONFIG_MAP;
		return true;
	case POD_SOURCE_TOKEN:
		*ret_kind = OBJECT_TOKEN;
		return true;
	default:
		return false;
	}
}

const struct pod_volume *pod_find_volume(const struct pod *p, const char *name)
{
	for (size_t i = 0; i < p->n_volumes; i++)
		if (str_eq(p->volumes[i].name, name))
			return &p->volumes[i];
	return NULL;
}

static int compare_names(const void *a, const void *b)
{
	const struct pod_container *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static int compare_name(const void *name, const void *container)
{
	const struct pod_container *const *c = container;

	return strcmp(name, (*c)->name);
}

/* Items that show a resource ask for one each: a pod with ten thousand of them, and thousands of containers, would
 * keep everybody waiting otherwise. Without memory it is slow. */
static void pod_sort_containers(struct pod *p)
{
	if (p->by_name || p->n_containers <= FEW_CONTAINERS)
		return;
	p->by_name = calloc(p->n_containers, sizeof(*p->by_name));
	if (!p->by_name)
		return;
	for (size_t i = 0; i < p->n_containers; i++)
		p->by_name[i] = &p->containers[i];
	qsort(p->by_name, p->n_containers, sizeof(*p->by_name), compare_names);
}

const struct pod_container *pod_find_container(const struct pod *p, const char *name)
{
	const struct pod_container **found;

	pod_sort_containers((struct pod *)(uintptr_t)p);
	if (p->by_name) {
		found = bsearch(name, p->by_name, p->n_containers, sizeof(*p->by_name), compare_name);
		return found ? *found : NULL;
	}
	for (size_t i = 0; i < p->n_containers; i++)
		if (str_eq(p->containers[i].name, name))
			return &p->containers[i];
	return NULL;
}

static const char *mounted_volume(const struct pod *p, const struct pod_mount_at *at)
{
	return p->containers[at->container].mounts[at->mount].volume ?: "";
}

static int compare_mounts(const void *a, const void *b, void *userdata)
{
	const struct pod_mount_at *x = a, *y = b;
	int r = strcmp(mounted_volume(userdata, x), mounted_volume(userdata, y));

	if (r == 0)
		r = x->container < y->container ? -1 : x->container > y->container;
	if (r == 0)
		r = x->mount < y->mount ? -1 : x->mount > y->mount;
	return r;
}

/* Each volume is asked for: a pod with a thousand of them, and of mounts tens of thousands, would keep everybody waiting otherwise. */
static int pod_sort_mounts(struct pod *p)
{
	size_t n = 0;

	if (p->by_volume)
		return 0;
	for (size_t i = 0; i < p->n_containers; i++)
		n += p->containers[i].n_mounts;
	p->by_volume = calloc(n + 1, sizeof(*p->by_volume));
	if (!p->by_volume)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_containers; i++)
		for (size_t j = 0; j < p->containers[i].n_mounts; j++)
			p->by_volume[p->n_by_volume++] =
				(struct pod_mount_at){ .container = (uint32_t)i, .mount = (uint32_t)j };
	qsort_r(p->by_volume, n, sizeof(*p->by_volume), compare_mounts, p);
	return 0;
}

/* How many are of volumes that come before it, or of it, too. */
static size_t mounts_before(const struct pod *p, const char *volume, bool of_it_too)
{
	size_t low = 0, high = p->n_by_volume;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int r = strcmp(mounted_volume(p, &p->by_volume[middle]), volume);

		if (r < 0 || (r == 0 && of_it_too))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int pod_volume_mounts(const struct pod *p, const char *volume, const struct pod_mount_at **ret, size_t *ret_n)
{
	int r = pod_sort_mounts((struct pod *)(uintptr_t)p);
	size_t first;

	if (r < 0)
		return r;
	first = mounts_before(p, volume, false);
	*ret = &p->by_volume[first];
	*ret_n = mounts_before(p, volume, true) - first;
	return 0;
}

static bool container_mounts_volume(const struct pod_container *c, const char *volume)
{
	for (size_t i = 0; i < c->n_mounts; i++)
		if (str_eq(c->mounts[i].volume, volume))
			return true;
	return false;
}

bool pod_mounts_volume(const struct pod *p, const char *volume)
{
	const struct pod_mount_at *mounts;
	size_t n;

	if (strchr(volume, '[')) /* no name has one */
		return true;
	if (pod_volume_mounts(p, volume, &mounts, &n) == 0)
		return n > 0;
	/* without memory it is slow */
	for (size_t i = 0; i < p->n_containers; i++)
		if (container_mounts_volume(&p->containers[i], volume))
			return true;
	return false;
}

bool pod_common_user(const struct pod *p, uid_t *ret_user)
{
	for (size_t i = 0; i < p->n_containers; i++)
		if (!p->containers[i].has_user || p->containers[i].user != p->containers[0].user)
			return false;
	if (p->n_containers > 0)
		*ret_user = p->containers[0].user;
	return p->n_containers > 0;
}

bool pod_is_finished(const struct pod *p)
{
	return str_eq(p->phase, "Succeeded") || str_eq(p->phase, "Failed");
}

const char *pod_display(const struct pod *p)
{
	/* Made when it is first asked for: the one thing in a pod that changes after it was made. */
	struct pod *made = (struct pod *)(uintptr_t)p;

	if (!made->display)
		made->display = str_format("%s/%s", p->ns ? p->ns : "", p->name ? p->name : "");
	return made->display ? made->display : p->name ? p->name : "";
}

/* ---- objects ---- */

/* A token is another one with each audience and lifetime. */
static int compare_objects(const void *a, const void *b)
{
	const struct pod_volume_source *x = *(const struct pod_volume_source *const *)a;
	const struct pod_volume_source *y = *(const struct pod_volume_source *const *)b;
	int r;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	r = strcmp(x->name ?: "", y->name ?: "");
	if (r == 0)
		r = strcmp(x->audience ?: "", y->audience ?: "");
	return r != 0 ? r : (x->expiration_sec > y->expiration_sec) - (x->expiration_sec < y->expiration_sec);
}

int pod_count_objects(struct pod *p)
{
	cleanup_free const struct pod_volume_source **all = NULL;
	enum object_kind kind;
	size_t n = 0;

	for (size_t i = 0; i < p->n_volumes; i++)
		n += p->volumes[i].n_sources;
	all = calloc(n + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	n = 0;
	for (size_t i = 0; i < p->n_volumes; i++)
		for (size_t j = 0; j < p->volumes[i].n_sources; j++)
			if (pod_source_object(&p->volumes[i].sources[j], &kind))
				all[n++] = &p->volumes[i].sources[j];
	qsort(all, n, sizeof(*all), compare_objects);
	p->n_objects = n > 0;
	for (size_t i = 1; i < n; i++)
		p->n_objects += compare_objects(&all[i - 1], &all[i]) != 0;
	return 0;
}

/* ---- weight ---- */

/* With the state that is kept of each; strings are short, where nothing is said of them. An object is a watch: docs/bench has what that
 * takes, most of which is libcurl's. */
enum {
	WEIGHT_POD = 4096,
	WEIGHT_VOLUME = 2048,
	WEIGHT_OBJECT = 17408,
	WEIGHT_SOURCE = 512,
	WEIGHT_PART = 256,
};

static size_t text_weight(const char *s)
{
	return s ? strlen(s) : 0;
}

static size_t pairs_weight(const struct pairs *p)
{
	size_t sum = p->n * sizeof(*p->all);

	for (size_t i = 0; i < p->n; i++)
		sum += text_weight(p->all[i].key) + text_weight(p->all[i].value);
	return sum;
}

/* There is no state of one that is not set up. */
static size_t volume_weight(const struct pod_volume *v, bool is_set_up)
{
	size_t sum = is_set_up ? WEIGHT_VOLUME : WEIGHT_PART;

	for (size_t i = 0; i < v->n_sources; i++)
		sum += (is_set_up ? WEIGHT_SOURCE : WEIGHT_PART) + v->sources[i].n_items * WEIGHT_PART;
	return sum + v->n_keys * WEIGHT_PART;
}

size_t pod_weight(const struct pod *p)
{
	size_t sum = WEIGHT_POD + pairs_weight(&p->labels) + pairs_weight(&p->annotations) + p->volume_options_len;

	if (!pod_is_finished(p))
		sum += p->n_objects * WEIGHT_OBJECT;
	for (size_t i = 0; i < p->n_volumes; i++)
		sum += volume_weight(&p->volumes[i], !pod_is_finished(p) && p->volumes[i].kind != POD_VOLUME_OTHER);
	for (size_t i = 0; i < p->n_containers; i++)
		sum += WEIGHT_SOURCE + p->containers[i].n_mounts * WEIGHT_PART + text_weight(p->containers[i].env) +
		       pairs_weight(&p->containers[i].limits) + pairs_weight(&p->containers[i].requests);
	return sum + (p->pull_secrets.n + p->n_mistakes) * WEIGHT_PART;
}
