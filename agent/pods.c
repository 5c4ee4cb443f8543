/* Pods: level-triggered. Whatever happens (a pod, a Secret, an error), the volumes it concerns are looked at again from
 * the start: make the view, publish it. publish.c finds out that nothing has changed, so being told too often costs
 * little and being told in the wrong order costs nothing. */
#include "agent/pods_internal.h"

#include "agent/pod_env.h"
#include "agent/pod_options.h"
#include "agent/pod_same.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

/* --- one pod --- */

static void volumes_free(struct volume *volumes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		volume_deinit(&volumes[i]);
	free(volumes);
}

static void pod_state_free(struct pod_state *s)
{
	volumes_free(s->volumes, s->n_volumes);
	pod_due_deinit(s);
	pod_unref(s->pod);
	pod_unref(s->next);
	free(s->mistakes);
	free(s->uid);
	free(s);
}

static struct volume *pod_state_find_volume(const struct pod_state *s, const char *name)
{
	for (size_t i = 0; i < s->n_volumes; i++) {
		if (str_eq(s->volumes[i].spec->name, name))
			return &s->volumes[i];
	}
	return NULL;
}

static void on_healed(void *userdata, const char *uid, const char *name)
{
	struct pods *p = userdata;
	const struct pod_state *s = map_get_str(&p->by_uid, uid);
	struct volume *v = s ? pod_state_find_volume(s, name) : NULL;

	if (!v || v->condition == VOLUME_READY)
		return;
	/* a flat one was of the revision of before until now */
	free(TAKE_PTR(v->resource_version));
	volume_find(v);
	p->fn(p->userdata);
}

static void on_freed(void *userdata)
{
	struct pods *p = userdata;

	for (size_t i = 0; i < p->n_sorted; i++) {
		for (size_t j = 0; j < p->sorted[i]->n_volumes; j++) {
			struct volume *v = &p->sorted[i]->volumes[j];

			if (v->reason == REASON_FOLDER_HELD || v->reason == REASON_RENAME_HELD)
				volume_update(v);
		}
	}
	errands_hurry(p);
}

/* The volumes that the pod has now. New references come before the old ones go, so that a shared Secret stays. */
static int pod_state_make_volumes(struct pod_state *s, struct volume **ret_volumes, size_t *ret_n)
{
	const struct pod *pod = s->pod;
	struct volume *volumes;
	size_t n = 0;
	int r;

	volumes = calloc(pod->n_volumes + 1, sizeof(*volumes));
	if (!volumes)
		return -ENOMEM;
	for (size_t i = 0; i < pod->n_volumes && !pod_is_finished(pod); i++) {
		const struct pod_volume *spec = &pod->volumes[i];

		if (spec->kind == POD_VOLUME_OTHER || !pod_mounts_volume(pod, spec->name))
			continue;
		r = volume_init(&volumes[n], s, spec);
		if (r < 0) {
			volumes_free(volumes, n + 1);
			return r;
		}
		n++;
	}
	*ret_volumes = volumes;
	*ret_n = n;
	return 0;
}

static void volume_remove(struct pods *p, const char *uid, const struct pod_volume *spec)
{
	if (errands_remove_volume(p, uid, pod_volume_plugin(spec), spec->name) < 0)
		log_error(LOG_F({ "uid", uid }), "remove volume %s: out of memory", spec->name);
}

static void pod_remove_volumes(struct pods *p, const char *uid)
{
	if (errands_remove_pod(p, uid) < 0)
		log_error(LOG_F({ "uid", uid }), "remove a pod's volumes: out of memory");
}

/* The same volume: a name may have become one of another kind, in another folder. */
static struct volume *pod_state_find_same(const struct pod_state *s, const struct pod_volume *spec)
{
	struct volume *v = pod_state_find_volume(s, spec->name);

	return v && v->spec->kind == spec->kind ? v : NULL;
}

/* Gives the state another revision of its pod. */
static int pod_state_set_pod(struct pod_state *s, struct pod *pod)
{
	struct pod *old_pod = s->pod;
	struct volume *old = s->volumes, *volumes;
	size_t n_old = s->n_volumes, n;
	int r;

	s->pod = pod_ref(pod);
	r = pod_state_make_volumes(s, &volumes, &n);
	if (r < 0) {
		pod_unref(s->pod);
		s->pod = old_pod;
		return r;
	}
	for (size_t i = 0; i < n; i++) {
		struct volume *before = pod_state_find_same(s, volumes[i].spec);

		if (before)
			volume_inherit(&volumes[i], before);
		volume_need_sources(&volumes[i], before);
	}
	s->volumes = volumes;
	s->n_volumes = n;
	for (size_t i = 0; i < n_old; i++) {
		if (n > 0 && !pod_state_find_same(s, old[i].spec))
			volume_remove(s->pods, pod->uid, old[i].spec);
	}
	if (n == 0 && n_old > 0) {
		log_info(LOG_F({ "pod", pod_display(pod) }, { "uid", pod->uid }), "pod %s, its volumes go",
			 pod_is_finished(pod) ? "has finished" : "mounts no volume of ours any more");
		pod_remove_volumes(s->pods, pod->uid);
	}
	volumes_free(old, n_old);
	pod_unref(old_pod);
	return 0;
}

bool pod_state_is_ready(const struct pod_state *s)
{
	if (s->next || pod_is_finished(s->pod))
		return false;
	for (size_t i = 0; i < s->n_volumes; i++) {
		if (s->volumes[i].condition != VOLUME_READY)
			return false;
	}
	return true;
}

/* The volumes point into the pod they were made from, so a revision that changes nothing for us only replaces what is
 * shown of it. */
static void pod_state_refresh(struct pod_state *s, struct pod *pod)
{
	for (size_t i = 0; i < s->n_volumes; i++)
		s->volumes[i].spec = pod_find_volume(pod, s->volumes[i].spec->name);
	pod_ref(pod);
	pod_unref(s->pod);
	s->pod = pod;
}

/* --- all pods --- */

void pods_free(struct pods *p)
{
	if (!p)
		return;
	publish_on_healed(p->publish, NULL, NULL);
	publish_on_freed(p->publish, NULL, NULL);
	for (size_t i = 0; i < p->n_sorted; i++)
		pod_state_free(p->sorted[i]);
	pods_drop_flights(p);
	loop_source_free(p->turn);
	loop_source_free(p->retry);
	errands_deinit(p);
	map_deinit(&p->by_uid);
	map_deinit(&p->by_entry);
	pairs_deinit(&p->allocatable);
	free(p->sorted);
	free(p);
}

void pods_on_update(struct pods *p, pods_updated_fn fn, void *userdata)
{
	p->updated = fn;
	p->updated_userdata = userdata;
}

void pods_on_mistake(struct pods *p, pods_mistaken_fn fn, void *userdata)
{
	p->mistaken = fn;
	p->mistaken_userdata = userdata;
}

/* Once for each change of them. A pod that is only remembered is told of by its source. */
static void pod_state_tell_mistakes(struct pod_state *s)
{
	cleanup_free char *text = pod_is_finished(s->pod) ? NULL : pod_options_mistakes(s->pod);

	if (s->cached || str_eq(s->mistakes, text))
		return;
	free(s->mistakes);
	s->mistakes = TAKE_PTR(text);
	if (!s->mistakes)
		return;
	log_warning(LOG_F({ "pod", pod_display(s->pod) }), "%s", s->mistakes);
	if (s->pods->mistaken && !s->pod->deleting)
		s->pods->mistaken(s->pods->mistaken_userdata, s, s->mistakes);
}

static int pod_state_compare(const struct pod_state *a, const struct pod_state *b)
{
	int r = strcmp(a->pod->ns, b->pod->ns);

	if (r == 0)
		r = strcmp(a->pod->name, b->pod->name);
	return r;
}

/* Behind all that are not greater. */
static size_t pods_place(const struct pods *p, const struct pod_state *s)
{
	size_t low = 0, high = p->n_sorted;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (pod_state_compare(p->sorted[middle], s) > 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Keeps `sorted` in order; pods of one name stay in the order in which they came. */
static int pods_insert(struct pods *p, struct pod_state *s)
{
	size_t i;
	int r;

	if (p->n_sorted == p->sorted_size) {
		size_t size = p->sorted_size ? p->sorted_size * 2 : 16;
		struct pod_state **grown = reallocarray(p->sorted, size, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->sorted = grown;
		p->sorted_size = size;
	}
	r = map_add_str(&p->by_uid, s->uid, s);
	if (r < 0)
		return r;
	i = pods_place(p, s);
	memmove(&p->sorted[i + 1], &p->sorted[i], (p->n_sorted - i) * sizeof(*p->sorted));
	p->sorted[i] = s;
	p->n_sorted++;
	return 0;
}

static void pods_take_out(struct pods *p, struct pod_state *s)
{
	size_t i = 0;

	map_remove_str(&p->by_uid, s->uid);
	while (p->sorted[i] != s)
		i++;
	memmove(&p->sorted[i], &p->sorted[i + 1], (p->n_sorted - i - 1) * sizeof(*p->sorted));
	p->n_sorted--;
}

static int pods_add(struct pods *p, struct pod *pod, struct pod_state **ret_s)
{
	struct pod_state *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->pods = p;
	pod_due_init(s);
	s->since_usec = clock_realtime_usec();
	s->lines = PODS_LOG_LIMIT;
	s->pod = pod_ref(pod);
	s->uid = strdup(pod->uid);
	r = s->uid ? pods_insert(p, s) : -ENOMEM;
	if (r < 0) {
		pod_state_free(s);
		return r;
	}
	*ret_s = s;
	return 0;
}

static void pods_retry_later(struct pods *p)
{
	loop_timer_set(p->retry, backoff_next(&p->backoff, loop_now(p->loop), random01()));
}

static int pod_state_set_up(struct pod_state *s, struct pod *pod)
{
	struct pods *p = s->pods;
	int r;

	r = pod_state_set_pod(s, pod);
	if (r < 0) {
		pod_ref(pod);
		pod_unref(s->next);
		s->next = pod;
		pods_retry_later(p);
		return r;
	}
	pod_unref(TAKE_PTR(s->next));
	pod_state_tell_mistakes(s);
	if (s->n_volumes == 0)
		return 0;
	r = pod->mirror ? 0 : errands_name_pod(p, pod->uid);
	if (r < 0)
		log_warning(LOG_F({ "pod", pod_display(pod) }), "link its name: %s", strerror(-r));
	for (size_t i = 0; i < s->n_volumes; i++)
		volume_update(&s->volumes[i]);
	return 0;
}

static int pods_set_up(struct pods *p, struct pod *pod)
{
	struct pod_state *s = map_get_str(&p->by_uid, pod->uid);
	int r;

	if (s && !s->next && pod_same_view(s->pod, pod)) {
		pod_state_refresh(s, pod);
		pod_state_tell_mistakes(s);
		return 0;
	}
	if (!s) {
		r = pods_add(p, pod, &s);
		if (r < 0)
			return r;
	}
	return pod_state_set_up(s, pod);
}

static void pods_retry(struct loop_source *source, void *userdata)
{
	struct pods *p = userdata;

	for (size_t i = 0; i < p->n_sorted; i++) {
		struct pod_state *s = p->sorted[i];
		cleanup_pod struct pod *next = s->next ? pod_ref(s->next) : NULL;

		if (next && pod_state_set_up(s, next) == 0)
			log_info(LOG_F({ "pod", pod_display(next) }), "its volumes are set up now");
	}
	p->fn(p->userdata);
}

int pods_new(struct loop *l, struct store *store, struct publish *publish, pods_changed_fn fn, void *userdata,
	     struct pods **ret_p)
{
	cleanup(pods_freep) struct pods *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->loop = l;
	p->store = store;
	p->publish = publish;
	p->fn = fn;
	p->userdata = userdata;
	p->backoff = BACKOFF_INIT(&PODS_RETRY);
	list_init(&p->asking);
	list_init(&p->flights);
	publish_on_healed(publish, on_healed, p);
	publish_on_freed(publish, on_freed, p);
	r = errands_init(p);
	r = r ?: pods_due_init(p);
	r = r ?: loop_add_timer(l, pods_retry, p, &p->retry);
	if (r < 0)
		return r;
	*ret_p = TAKE_PTR(p);
	return 0;
}

static bool mounts_one_of_ours(const struct pod *pod)
{
	for (size_t i = 0; i < pod->n_volumes; i++)
		if (pod->volumes[i].kind != POD_VOLUME_OTHER && pod_mounts_volume(pod, pod->volumes[i].name))
			return true;
	return false;
}

void pods_pod_changed(struct pods *p, struct pod *pod)
{
	struct pod_state *s;
	int r;

	if (pod->mirror && !mounts_one_of_ours(pod)) {
		log_debug(LOG_F({ "pod", pod_display(pod) }), "mirror pod, nothing of it concerns us");
		return;
	}
	s = map_get_str(&p->by_uid, pod->uid);
	if (s)
		s->cached = false;
	r = pods_set_up(p, pod);
	if (r < 0)
		log_error(LOG_F({ "pod", pod_display(pod) }), "set up its volumes: %s", strerror(-r));
	p->fn(p->userdata);
}

bool pods_pod_restored(struct pods *p, struct pod *pod)
{
	struct pod_state *s;
	int r;

	if (map_get_str(&p->by_uid, pod->uid))
		return false;
	r = pods_add(p, pod, &s);
	if (r < 0) {
		log_error(LOG_F({ "pod", pod_display(pod) }), "restore it: %s", strerror(-r));
		return false;
	}
	s->cached = true;
	r = pod_state_set_up(s, pod);
	if (r < 0)
		log_error(LOG_F({ "pod", pod_display(pod) }), "set up its volumes: %s", strerror(-r));
	p->fn(p->userdata);
	return true;
}

static void pods_remove(struct pods *p, struct pod_state *s)
{
	log_info(LOG_F({ "pod", pod_display(s->pod) }, { "uid", s->uid }), "pod is gone, its volumes go with it");
	pods_take_out(p, s);
	pod_remove_volumes(p, s->pod->uid);
	pod_state_free(s);
	p->fn(p->userdata);
}

void pods_pod_removed(struct pods *p, const char *uid)
{
	struct pod_state *s = map_get_str(&p->by_uid, uid);

	if (!s) {
		/* an earlier agent was told of it */
		log_info(LOG_F({ "uid", uid }), "a pod of an earlier run is gone, its volumes go with it");
		pod_remove_volumes(p, uid);
		return;
	}
	pods_remove(p, s);
}

void pods_drop_cached(struct pods *p)
{
	for (size_t i = p->n_sorted; i > 0; i--)
		if (p->sorted[i - 1]->cached)
			pods_remove(p, p->sorted[i - 1]);
}

bool pods_is_postponed(const struct pods *p, const char *uid)
{
	const struct pod_state *s = map_get_str(&p->by_uid, uid);

	return s && s->next;
}

bool pods_want(const struct pods *p, const char *uid, const char *plugin, const char *volume)
{
	const struct pod_state *s = map_get_str(&p->by_uid, uid);
	const struct volume *v;

	if (s && s->next) /* it could not be set up yet */
		return true;
	if (!s || s->n_volumes == 0)
		return false;
	if (!volume)
		return true;
	v = pod_state_find_volume(s, volume);
	return v && str_eq(plugin, pod_volume_plugin(v->spec));
}

struct retain {
	struct pods *pods;
	const char *uid; /* of this pod alone; NULL: of all */
	int r;
};

static bool retain_if_wanted(void *userdata, const char *uid, const char *plugin, const char *volume)
{
	struct retain *retain = userdata;
	bool wanted = (retain->uid && !str_eq(uid, retain->uid)) || pods_want(retain->pods, uid, plugin, volume);
	int r = 0;

	if (!wanted && !volume)
		log_info(LOG_F({ "uid", uid }), "a pod of an earlier run is gone, its volumes go with it");
	if (!wanted)
		r = volume ? errands_remove_volume(retain->pods, uid, plugin, volume)
			   : errands_remove_pod(retain->pods, uid);
	if (r < 0)
		retain->r = r;
	return wanted;
}

int pods_retain(struct pods *p)
{
	struct retain retain = { .pods = p };

	publish_visit(p->publish, retain_if_wanted, &retain);
	return retain.r;
}

int pods_retain_volumes(struct pods *p, const char *uid)
{
	struct retain retain = { .pods = p, .uid = uid };

	publish_visit(p->publish, retain_if_wanted, &retain);
	return retain.r;
}

static bool shows_a_limit(const struct pod_volume *v)
{
	for (size_t i = 0; i < v->n_sources; i++)
		for (size_t j = 0; j < v->sources[i].n_items; j++)
			if (v->sources[i].items[j].container && str_starts(v->sources[i].items[j].key, "limits."))
				return true;
	return false;
}

bool pod_needs_node(const struct pod *pod)
{
	for (size_t i = 0; i < pod->n_volumes; i++)
		if (shows_a_limit(&pod->volumes[i]) && pod_mounts_volume(pod, pod->volumes[i].name))
			return true;
	return pod_env_mentions(pod, "\"limits.");
}

const struct pairs *pods_allocatable(const struct pods *p)
{
	return p->knows_node ? &p->allocatable : NULL;
}

void pods_node_changed(struct pods *p, const struct pairs *allocatable)
{
	struct pairs fresh = { .n = 0 };

	if (pairs_copy(allocatable, &fresh) < 0) {
		log_error(NULL, "what is allocatable on the node: out of memory");
		return;
	}
	pairs_deinit(&p->allocatable);
	p->allocatable = fresh;
	p->knows_node = true;
	for (size_t i = 0; i < p->n_sorted; i++)
		for (size_t j = 0; j < p->sorted[i]->n_volumes; j++)
			if (shows_a_limit(p->sorted[i]->volumes[j].spec))
				volume_update(&p->sorted[i]->volumes[j]);
}

/* A volume may have an object a thousand times, and is made once for all of them: its sources stand together in the list. */
void pods_object_changed(struct pods *p, const struct store_entry *entry)
{
	struct object_users *users = map_get(&p->by_entry, &entry, sizeof(entry));
	const struct volume *last = NULL;
	struct volume_source *source;

	if (!users)
		return;
	list_for_each (source, &users->sources, same_object) {
		if (source->volume != last)
			volume_object_changed(source->volume);
		last = source->volume;
	}
}

void pods_object_fresh(struct pods *p, const struct store_entry *entry)
{
	struct object_users *users = map_get(&p->by_entry, &entry, sizeof(entry));
	const struct volume *last = NULL;
	struct volume_source *source;

	if (!users)
		return;
	list_for_each (source, &users->sources, same_object) {
		if (source->volume != last && source->volume->condition == VOLUME_WAITING)
			volume_update(source->volume);
		last = source->volume;
	}
}

const struct pods_times *pods_times(const struct pods *p)
{
	return &p->times;
}

size_t pods_count(const struct pods *p)
{
	return p->n_sorted;
}

const struct pod_state *pods_at(const struct pods *p, size_t i)
{
	return i < p->n_sorted ? p->sorted[i] : NULL;
}

const struct volume *pods_next_asking(const struct pods *p, const struct volume *v)
{
	const struct list *next = v ? v->asking.next : p->asking.next;

	return next == &p->asking ? NULL : list_entry((struct list *)(uintptr_t)next, struct volume, asking);
}

const struct pod_state *pods_find(const struct pods *p, const char *ref)
{
	const char *slash = strchr(ref, '/');

	if (!slash)
		return map_get_str(&p->by_uid, ref);
	for (size_t i = p->n_sorted; i > 0; i--) {
		const struct pod *pod = p->sorted[i - 1]->pod;

		if (strlen(pod->ns) == (size_t)(slash - ref) && strncmp(pod->ns, ref, slash - ref) == 0 &&
		    str_eq(pod->name, slash + 1))
			return p->sorted[i - 1];
	}
	return NULL;
}
