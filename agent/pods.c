/* Pods: level-triggered. Whatever happens (a pod, a Secret, an error), the volumes it concerns are looked at again from
 * the start: make the view, publish it. publish.c finds out that nothing has changed, so being told too often costs
 * little and being told in the wrong order costs nothing. */
#include "agent/pods.h"

#include "agent/pod_env.h"
#include "agent/pod_options.h"
#include "agent/pod_same.h"
#include "agent/token.h"
#include "agent/views.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/map.h"
#include "common/str.h"

/* per-volume operation backoff of the kubelet: 500 ms doubling to 2m2s */
static const struct backoff_policy PODS_RETRY = { .first_usec = 500 * USEC_PER_MSEC,
						  .max_usec = 122 * USEC_PER_SEC,
						  .reset_usec = 300 * USEC_PER_SEC,
						  .factor = 2.0,
						  .jitter = 0.1 };

/* A mirror pod stands for a static pod of the kubelet's, whose volumes are under another uid. The API server refuses one
 * that refers to Secrets; one that is there all the same is shown as failed, in the kubelet's words. */
static const char STATIC_REFUSED[] = "static pods may not reference secrets";
static const char LAYOUT_STAYS[] =
	"a volume keeps the layout that it was made with: a new pod gets the one that is asked for";

/* A payload on its way to the publisher; outlives its volume if it must. */
struct volume_flight {
	struct volume *volume; /* NULL: the volume has gone meanwhile */
	uint64_t begun_usec;
	uint64_t event_usec; /* the volume's, when it was made: a later one it does not show */
	char *resource_version;
	size_t n_files;
	uint64_t n_bytes;
};

struct pods {
	struct loop *loop;
	struct store *store;
	struct publish *publish;
	pods_changed_fn fn;
	void *userdata;
	pods_updated_fn updated; /* NULL: nobody asks */
	void *updated_userdata;
	pods_mistaken_fn mistaken; /* the same */
	void *mistaken_userdata;
	struct map by_uid;
	struct map by_entry; /* address of a store entry -> struct object_users */
	struct list asking;
	struct pod_state **sorted;
	size_t n_sorted, sorted_size;
	struct loop_source *retry; /* pods with a `next` */
	struct backoff backoff;
	struct pairs allocatable;
	bool knows_node;
	struct pods_times times;
};

/* The volumes' sources that show one object. */
struct object_users {
	const struct store_entry *entry; /* its address is the key */
	struct list sources;
};

static void volume_flight_free(struct volume_flight *f)
{
	free(f->resource_version);
	free(f);
}
DEFINE_CLEANUP(struct volume_flight *, volume_flight_free);

/* --- one volume --- */

static const struct log_field *volume_fields(const struct volume *v, struct log_field fields[static 4])
{
	const struct pod_volume_source *only = v->spec->sources;
	enum object_kind kind;

	fields[0] = (struct log_field){ "pod", pod_display(v->pod->pod) };
	fields[1] = (struct log_field){ "volume", v->spec->name };
	/* of a projected volume the error names it */
	fields[2] = (struct log_field){ "secret", NULL };
	if (v->spec->kind != POD_VOLUME_PROJECTED && only && pod_source_object(only, &kind))
		fields[2] = (struct log_field){ object_kind_word(kind), only->name };
	fields[3] = (struct log_field){ NULL, NULL };
	return fields;
}

/* The first source that is not up to date. NULL: there is none. */
static const struct store_entry *volume_trouble(const struct volume *v)
{
	for (size_t i = 0; i < v->n_sources; i++) {
		if (v->entries[i] && v->entries[i]->error[0])
			return v->entries[i];
	}
	return NULL;
}

/* What is known of it is older than the volume, and was asked for once more. */
static bool source_is_held(const struct volume *v, size_t i)
{
	return v->condition != VOLUME_READY && v->entries[i] && v->entries[i]->fresh < v->sources[i].need;
}

const struct store_entry *volume_asked_for(const struct volume *v)
{
	for (size_t i = 0; i < v->n_sources; i++) {
		const struct store_entry *entry = v->entries[i];

		if (entry && !entry->error[0] && (entry->state == STORE_UNSYNCED || source_is_held(v, i)))
			return entry;
	}
	return NULL;
}

/* A pod's first content is never older than the pod: it waits for an answer that was asked for after the pod had come
 * (kubernetes #129645). Later ones come by the way of all changes. */
static int volume_hold(const struct volume *v, struct err *e)
{
	for (size_t i = 0; i < v->n_sources; i++) {
		const struct store_entry *entry = v->entries[i];

		if (!source_is_held(v, i))
			continue;
		if (entry->error[0])
			return reason_set(e, entry->reason, err_set(e, -EAGAIN, "%s", entry->error));
		return reason_set(e, REASON_NOT_FETCHED,
				  err_set(e, -EAGAIN, "%s \"%s\" has not been fetched yet",
					  object_kind_word(entry->kind), entry->name));
	}
	return 0;
}

/* It is a mistake in what the pod asks for, and nothing that keeps its content back. */
static void volume_tell_layout(struct volume *v)
{
	const struct pods *p = v->pod->pods;
	cleanup_free char *text = NULL;

	text = str_format("annotation " POD_OPTION_VOLUMES ": %s.layout: %s", v->spec->name, LAYOUT_STAYS);
	if (!text)
		return;
	log_warning(LOG_F({ "pod", pod_display(v->pod->pod) }), "%s", text);
	if (p->mistaken && !v->pod->cached && !v->pod->pod->deleting)
		p->mistaken(p->mistaken_userdata, v->pod, text);
}

/* Says what is wrong with a volume, once for each reason. What is wrong with the source is the source's to say: it would
 * be said again for every volume. */
static void volume_set_error(struct volume *v, const char *text, enum reason reason)
{
	const struct volume_path at = { .pod_uid = v->pod->pod->uid,
					.plugin = pod_volume_plugin(v->spec),
					.name = v->spec->name };
	struct log_field fields[4];
	const struct store_entry *trouble;
	const struct store_entry *asked;

	publish_set_error(v->pod->pods->publish, &at, text);
	if (!*text)
		v->error_usec = 0;
	else if (!v->error_usec || v->reason != reason)
		v->error_usec = clock_realtime_usec();
	v->reason = *text ? reason : REASON_NONE;
	if (strcmp(v->error, text) == 0)
		return;
	err_note_set(&v->error, text);
	v->layout_stays = str_eq(text, LAYOUT_STAYS);
	if (v->layout_stays)
		volume_tell_layout(v);
	if (!*text || v->layout_stays)
		return;
	asked = volume_asked_for(v);
	trouble = volume_trouble(v);
	if (v->condition == VOLUME_READY && (asked || (trouble && str_eq(text, trouble->error))))
		log_debug(volume_fields(v, fields), "volume keeps its last good content: %s", text);
	else if (v->condition == VOLUME_READY)
		log_warning(volume_fields(v, fields), "volume keeps its last good content: %s", text);
	else if (v->condition == VOLUME_WAITING && asked)
		log_debug(volume_fields(v, fields), "volume waits: %s", text);
	else if (v->condition == VOLUME_WAITING)
		log_info(volume_fields(v, fields), "volume waits: %s", text);
	else
		log_warning(volume_fields(v, fields), "volume cannot be set up: %s", text);
}

static void volume_changed(struct volume *v)
{
	v->pod->pods->fn(v->pod->pods->userdata);
}

static void volume_update(struct volume *v);

static void volume_retry(struct loop_source *s, void *userdata)
{
	volume_update(userdata);
}

static void volume_retry_later(struct volume *v)
{
	struct loop *l = v->pod->pods->loop;

	if (!v->retry && loop_add_timer(l, volume_retry, v, &v->retry) < 0)
		return;
	loop_timer_set(v->retry, backoff_next(&v->backoff, loop_now(l), random01()));
}

/* The flight's content is what is readable now, whether it had to be published or was there. */
static void volume_settle(struct volume *v, struct volume_flight *f, bool unchanged, const struct publish_result *res)
{
	cleanup_free char *before = NULL;
	const struct store_entry *trouble = volume_trouble(v);
	bool first = v->updated_usec == 0, stays = res->flat != (v->spec->layout == POD_LAYOUT_FLAT);
	struct log_field fields[6];

	before = v->resource_version;
	v->resource_version = TAKE_PTR(f->resource_version);
	snprintf(v->version, sizeof(v->version), "%s", res->version);
	v->updated_usec = res->realtime_usec;
	v->n_files = f->n_files;
	v->n_bytes = f->n_bytes;
	v->condition = VOLUME_READY;
	backoff_reset(&v->backoff);
	if (trouble)
		volume_set_error(v, trouble->error, trouble->reason);
	else
		volume_set_error(v, stays ? LAYOUT_STAYS : "", stays ? REASON_LAYOUT_STAYS : REASON_NONE);
	volume_fields(v, fields);
	fields[3] = (struct log_field){ "revision", v->resource_version };
	fields[4] = (struct log_field){ "version", v->version };
	fields[5] = (struct log_field){ NULL, NULL };
	if (unchanged)
		log_debug(fields, "volume is as it was");
	else
		log_info(fields, first ? "volume is ready" : "volume is updated");
	if (!unchanged && !first && v->pod->pods->updated)
		v->pod->pods->updated(v->pod->pods->updated_userdata, v, before);
}

/* What is readable now has been switched. */
static void volume_measure(struct volume *v, const struct volume_flight *f, const struct publish_result *res)
{
	struct pods_times *times = &v->pod->pods->times;
	uint64_t now = clock_monotonic_usec() - res->rested_usec;

	histogram_observe(&times->publish, now - f->begun_usec);
	if (f->event_usec && v->updated_usec && v->spec->kind < POD_VOLUME_OTHER)
		histogram_observe(&times->visible[v->spec->kind], now - f->event_usec);
}

static void volume_flight_landed(void *userdata, int r, const struct publish_result *res, const struct err *e)
{
	cleanup(volume_flight_freep) struct volume_flight *f = userdata;
	struct volume *v = f->volume;

	if (!v || v->flight != f)
		return;
	v->flight = NULL;
	if (r == 0)
		volume_measure(v, f, res);
	if (r >= 0) {
		v->event_usec = 0;
		volume_settle(v, f, r == PUBLISH_UNCHANGED, res);
	} else if (r != -ESTALE) {
		if (v->condition != VOLUME_READY)
			v->condition = VOLUME_FAILED;
		volume_set_error(v, err_text(e), REASON_PUBLISH_FAILED);
		volume_retry_later(v);
	}
	volume_changed(v);
}

static void volume_drop_flight(struct volume *v)
{
	if (v->flight)
		v->flight->volume = NULL;
	v->flight = NULL;
}

static int volume_publish(struct volume *v, struct view *view)
{
	cleanup(volume_flight_freep) struct volume_flight *f = calloc(1, sizeof(*f));
	cleanup_payload struct payload *payload = TAKE_PTR(view->payload);
	const struct volume_path at = { .pod_uid = v->pod->pod->uid,
					.plugin = pod_volume_plugin(v->spec),
					.name = v->spec->name };
	int r;

	if (!f)
		return -ENOMEM;
	f->resource_version = TAKE_PTR(view->resource_version);
	f->volume = v;
	f->begun_usec = clock_monotonic_usec();
	f->event_usec = v->event_usec;
	f->n_files = view->n_files;
	f->n_bytes = view->n_bytes;
	r = publish_volume(v->pod->pods->publish, &at, TAKE_PTR(payload), volume_flight_landed, f);
	if (r < 0)
		return r;
	volume_drop_flight(v);
	v->flight = TAKE_PTR(f);
	if (v->condition != VOLUME_READY)
		v->condition = VOLUME_PUBLISHING;
	return 0;
}

/* Looks at the volume again from the start. */
static void volume_update(struct volume *v)
{
	const struct pods *p = v->pod->pods;
	cleanup(view_deinit) struct view view = { .n_files = 0 };
	struct err e = ERR_INIT;
	int r;

	if (v->pod->pod->mirror) {
		v->condition = VOLUME_FAILED;
		volume_set_error(v, STATIC_REFUSED, REASON_STATIC_POD);
		volume_changed(v);
		return;
	}
	r = volume_hold(v, &e);
	if (r == 0)
		r = view_make(v->pod->pod, v->spec, v->entries, pods_allocatable(p), &view, &e);
	if (r == 0) {
		r = volume_publish(v, &view);
		if (r < 0) {
			reason_set(&e, REASON_PUBLISH_FAILED, err_set(&e, r, "publish: %s", strerror(-r)));
			volume_retry_later(v);
		}
	}
	if (r < 0) {
		if (v->condition != VOLUME_READY)
			v->condition = r == -EAGAIN || r == -ENOENT ? VOLUME_WAITING : VOLUME_FAILED;
		volume_set_error(v, err_text(&e), reason_of_error(&e));
	}
	volume_changed(v);
}

/* Gives the volume its next object, and finds it by that from now on. What the pod says of itself has no entry. */
static int volume_use_object(struct volume *v, const struct pod_volume_source *spec)
{
	struct volume_source *source = &v->sources[v->n_sources];
	struct pods *p = v->pod->pods;
	const struct store_entry *entry;
	cleanup_free char *token = NULL;
	struct object_users *users;
	enum object_kind kind;
	int r;

	if (!pod_source_object(spec, &kind)) {
		v->n_sources++;
		return 0;
	}
	token = kind == OBJECT_TOKEN ? token_name(v->pod->pod, spec) : NULL;
	if (kind == OBJECT_TOKEN && !token)
		return -ENOMEM;
	r = store_ref(p->store, kind, v->pod->pod->ns, token ?: spec->name, &entry);
	if (r < 0)
		return r;
	users = map_get(&p->by_entry, &entry, sizeof(entry));
	if (!users) {
		users = calloc(1, sizeof(*users));
		if (users) {
			users->entry = entry;
			list_init(&users->sources);
		}
		if (!users || map_add(&p->by_entry, &users->entry, sizeof(users->entry), users) < 0) {
			free(users);
			store_unref(p->store, entry);
			return -ENOMEM;
		}
	}
	v->entries[v->n_sources++] = entry;
	source->volume = v;
	list_append(&users->sources, &source->same_object);
	return 0;
}

static int volume_use_objects(struct volume *v)
{
	int r = 0;

	v->entries = calloc(v->spec->n_sources + 1, sizeof(struct store_entry *));
	v->sources = calloc(v->spec->n_sources + 1, sizeof(*v->sources));
	if (!v->entries || !v->sources)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < v->spec->n_sources; i++)
		r = volume_use_object(v, &v->spec->sources[i]);
	return r;
}

static void volume_leave_object(struct volume *v)
{
	const struct store_entry *entry = v->entries[--v->n_sources];
	struct pods *p = v->pod->pods;
	struct object_users *users;

	if (!entry)
		return;
	users = map_get(&p->by_entry, &entry, sizeof(entry));
	list_remove(&v->sources[v->n_sources].same_object);
	if (list_empty(&users->sources)) {
		map_remove(&p->by_entry, &entry, sizeof(entry));
		free(users);
	}
	store_unref(p->store, entry);
}

static void volume_deinit(struct volume *v)
{
	volume_drop_flight(v);
	loop_source_free(v->retry);
	list_remove(&v->asking);
	while (v->n_sources > 0)
		volume_leave_object(v);
	free(v->entries);
	free(v->sources);
	free(v->resource_version);
	err_note_clear(&v->error);
}

static bool source_has(const struct pod_volume_source *s, const struct store_entry *entry, const char *path)
{
	if (s->n_items == 0)
		return entry && entry->secret && secret_find_key(entry->secret, path);
	for (size_t i = 0; i < s->n_items; i++)
		if (str_eq(s->items[i].path, path))
			return true;
	return false;
}

const struct pod_volume_source *volume_find_source(const struct volume *v, const char *path)
{
	for (size_t i = v->n_sources; i > 0; i--)
		if (source_has(&v->spec->sources[i - 1], v->entries[i - 1], path))
			return &v->spec->sources[i - 1];
	return NULL;
}

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

/* Takes over what is known of a volume of the pod's previous revision. */
static void volume_inherit(struct volume *v, struct volume *old)
{
	v->condition = old->condition == VOLUME_READY ? VOLUME_READY : VOLUME_WAITING;
	free(v->resource_version); /* what volume_find() found */
	v->resource_version = TAKE_PTR(old->resource_version);
	memcpy(v->version, old->version, sizeof(v->version));
	err_note_set(&v->error, old->error);
	v->reason = old->reason;
	v->error_usec = old->error_usec;
	v->layout_stays = old->layout_stays;
	v->updated_usec = old->updated_usec;
	v->n_files = old->n_files;
	v->n_bytes = old->n_bytes;
}

/* As view_make() has it. NULL: it is not known. */
static char *versions_shown(const struct publish *publish, const struct volume_path *at)
{
	const struct origins *o = publish_origins(publish, at);
	cleanup_buf struct buf text = BUF_INIT(ORIGINS_TEXT_MAX);

	for (size_t i = 0; o && i < origins_count(o); i++)
		if (buf_printf(&text, "%s%s", i ? "," : "", origins_at(o, i)->resource_version) < 0)
			return NULL;
	return text.data ? strdup(text.data) : NULL;
}

/* What an earlier agent has published can be read, whatever becomes of it. */
static void volume_find(struct volume *v)
{
	const struct volume_path at = { .pod_uid = v->pod->pod->uid,
					.plugin = pod_volume_plugin(v->spec),
					.name = v->spec->name };
	struct publish_result res;
	bool whole = false;

	if (!publish_find(v->pod->pods->publish, &at, &res, &whole))
		return;
	/* a list of its keys may be that of neither revision until the publisher has been there */
	v->condition = whole ? VOLUME_READY : VOLUME_PUBLISHING;
	snprintf(v->version, sizeof(v->version), "%s", res.version);
	v->updated_usec = res.realtime_usec;
	if (!v->resource_version)
		v->resource_version = versions_shown(v->pod->pods->publish, &at);
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

static int volume_init(struct volume *v, struct pod_state *s, const struct pod_volume *spec)
{
	v->pod = s;
	v->spec = spec;
	v->condition = VOLUME_WAITING;
	v->error = ERR_NOTE_NONE;
	v->backoff = BACKOFF_INIT(&PODS_RETRY);
	list_init(&v->asking);
	if (spec->on_change)
		list_append(&s->pods->asking, &v->asking);
	if (s->pod->mirror)
		return 0;
	volume_find(v);
	return volume_use_objects(v);
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

static void volume_removed(void *userdata, int r, const struct publish_result *res, const struct err *e)
{
	cleanup_free char *what = userdata;

	if (r < 0 && r != -ESTALE && r != -ECANCELED)
		log_error(NULL, "remove %s: %s", what, err_text(e));
}

static void volume_remove(struct pods *p, const char *uid, const struct pod_volume *spec)
{
	const struct volume_path at = { .pod_uid = uid, .plugin = pod_volume_plugin(spec), .name = spec->name };
	char *what = str_format("volume %s of pod %s", spec->name, uid);

	if (what && publish_remove_volume(p->publish, &at, volume_removed, what) < 0) {
		log_error(NULL, "remove %s: out of memory", what);
		free(what);
	}
}

static void pod_remove_volumes(struct pods *p, const char *uid)
{
	char *what = str_format("pod %s", uid);

	if (what && publish_remove_pod(p->publish, uid, volume_removed, what) < 0) {
		log_error(NULL, "remove %s: out of memory", what);
		free(what);
	}
}

/* A source that the volume's previous revision did not have, or has in another place. What an earlier agent has published
 * is not new, nor is a pod that the source has not told. */
static void volume_need_sources(struct volume *v, const struct volume *before)
{
	if (v->pod->cached || (!before && v->condition == VOLUME_READY))
		return;
	for (size_t i = 0; i < v->n_sources; i++) {
		if (before && i < before->n_sources && before->entries[i] == v->entries[i])
			v->sources[i].need = before->sources[i].need;
		else if (v->entries[i])
			v->sources[i].need = store_need(v->pod->pods->store, v->entries[i]);
	}
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
	for (size_t i = 0; i < p->n_sorted; i++)
		pod_state_free(p->sorted[i]);
	loop_source_free(p->retry);
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
	s->since_usec = clock_realtime_usec();
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
	r = pod->mirror ? 0 : publish_name_pod(p->publish, pod->uid, pod->ns, pod->name);
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
	publish_on_healed(publish, on_healed, p);
	r = loop_add_timer(l, pods_retry, p, &p->retry);
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

static bool pod_is_wanted(void *userdata, const char *uid, const char *plugin, const char *volume)
{
	struct pods *p = userdata;
	const struct pod_state *s = map_get_str(&p->by_uid, uid);
	const struct volume *v;

	if (s && s->next) /* it could not be set up yet */
		return true;
	if (!s || s->n_volumes == 0) {
		log_info(LOG_F({ "uid", uid }), "a pod of an earlier run is gone, its volumes go with it");
		return false;
	}
	if (!volume)
		return true;
	v = pod_state_find_volume(s, volume);
	return v && str_eq(plugin, pod_volume_plugin(v->spec));
}

int pods_retain(struct pods *p)
{
	return publish_retain(p->publish, pod_is_wanted, p);
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

/* What overtakes something that is on its way, or to be tried again, does not make it younger. */
static void volume_object_changed(struct volume *v)
{
	if (!v->event_usec)
		v->event_usec = loop_now(v->pod->pods->loop);
	volume_update(v);
	if (!v->flight)
		v->event_usec = 0;
}

void pods_object_changed(struct pods *p, const struct store_entry *entry)
{
	struct object_users *users = map_get(&p->by_entry, &entry, sizeof(entry));
	struct volume_source *source;

	if (!users)
		return;
	list_for_each (source, &users->sources, same_object)
		volume_object_changed(source->volume);
}

void pods_object_fresh(struct pods *p, const struct store_entry *entry)
{
	struct object_users *users = map_get(&p->by_entry, &entry, sizeof(entry));
	struct volume_source *source;

	if (!users)
		return;
	list_for_each (source, &users->sources, same_object)
		if (source->volume->condition == VOLUME_WAITING)
			volume_update(source->volume);
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
