/* Pods, one volume: from what its objects are now to a payload, and what became of that. It is looked at from the start
 * each time; what is kept between two looks is only what people are told, since when, and the flights of its payloads.
 * Each that lands tells what it shows, and only the last one whether the volume is ready and what is wrong with it. */
#include "agent/pods_internal.h"

#include <inttypes.h>

#include "agent/pod_options.h"
#include "agent/token.h"
#include "agent/views.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"

/* per-volume operation backoff of the kubelet: 500 ms doubling to 2m2s */
const struct backoff_policy PODS_RETRY = { .first_usec = 500 * USEC_PER_MSEC,
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
	struct list in_volume; /* oldest first */
	struct pods *pods; /* NULL: they have gone, or it is not on its way */
	struct list in_pods;
	uint64_t begun_usec;
	uint64_t event_usec; /* of the first change that those before it do not show; 0: they show all */
	char *resource_version;
	size_t n_files;
	uint64_t n_bytes;
	bool outlived; /* what was to follow it cannot be shown: what is wrong with the volume is known */
};

static void volume_flight_free(struct volume_flight *f)
{
	list_remove(&f->in_volume);
	list_remove(&f->in_pods);
	if (f->pods) {
		f->pods->n_files_waiting -= f->n_files;
		pods_go_on(f->pods);
	}
	free(f->resource_version);
	free(f);
}
DEFINE_CLEANUP(struct volume_flight *, volume_flight_free);

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

/* There is room for one more line of this level about the pod's volumes. */
static bool volume_may_log(const struct volume *v, enum log_level level)
{
	struct pod_state *s = v->pod;

	if (log_get_level() < level || !log_limit_ok(&s->lines, loop_now(s->pods->loop)))
		return false;
	if (s->lines.n_held_before > 0)
		log_write(level, LOG_F({ "pod", pod_display(s->pod) }),
			  "%" PRIu64 " more lines about its volumes were left out", s->lines.n_held_before);
	return true;
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
	if (volume_may_log(v, LOG_LEVEL_WARNING))
		log_warning(LOG_F({ "pod", pod_display(v->pod->pod) }), "%s", text);
	if (p->mistaken && !v->pod->cached && !v->pod->pod->deleting)
		p->mistaken(p->mistaken_userdata, v->pod, text);
}

static void volume_log(const struct volume *v, enum log_level level, const char *what, const char *why)
{
	struct log_field fields[4];

	if (log_get_level() >= level && (level == LOG_LEVEL_DEBUG || volume_may_log(v, level)))
		log_write(level, volume_fields(v, fields), "%s: %s", what, why);
}

/* Says what is wrong with a volume, once for each reason. What is wrong with the source is the source's to say: it would
 * be said again for every volume. */
static void volume_set_error(struct volume *v, const char *text, enum reason reason)
{
	const struct volume_path at = { .pod_uid = v->pod->pod->uid,
					.plugin = pod_volume_plugin(v->spec),
					.name = v->spec->name };
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
	if (v->condition == VOLUME_READY)
		volume_log(v, asked || (trouble && str_eq(text, trouble->error)) ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING,
			   "volume keeps its last good content", text);
	else if (v->condition == VOLUME_WAITING)
		volume_log(v, asked ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "volume waits", text);
	else
		volume_log(v, LOG_LEVEL_WARNING, "volume cannot be set up", text);
}

static void volume_changed(struct volume *v)
{
	v->pod->pods->fn(v->pod->pods->userdata);
}

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
static void volume_tell(struct volume *v, struct volume_flight *f, bool unchanged, const struct publish_result *res)
{
	cleanup_free char *before = NULL;
	bool first = v->updated_usec == 0;
	struct log_field fields[6];

	before = v->resource_version;
	v->resource_version = TAKE_PTR(f->resource_version);
	snprintf(v->version, sizeof(v->version), "%s", res->version);
	v->updated_usec = res->realtime_usec;
	v->n_files = f->n_files;
	v->n_bytes = f->n_bytes;
	volume_fields(v, fields);
	fields[3] = (struct log_field){ "revision", v->resource_version };
	fields[4] = (struct log_field){ "version", v->version };
	fields[5] = (struct log_field){ NULL, NULL };
	if (unchanged && !first) /* a first one was shown before it could be told */
		log_debug(fields, "volume is as it was");
	else if (volume_may_log(v, LOG_LEVEL_INFO))
		log_info(fields, first ? "volume is ready" : "volume is updated");
	if (!unchanged && !first && v->pod->pods->updated)
		v->pod->pods->updated(v->pod->pods->updated_userdata, v, before);
}

/* It is the last one's, and what was wrong with the volume before is not any more. */
static void volume_settle(struct volume *v, struct volume_flight *f, bool unchanged, const struct publish_result *res)
{
	const struct store_entry *trouble = volume_trouble(v);
	bool stays = res->flat != (v->spec->layout == POD_LAYOUT_FLAT);

	v->condition = VOLUME_READY;
	backoff_reset(&v->backoff);
	if (f->outlived)
		volume_set_error(v, v->error, v->reason); /* the same, for those who read a volume that is new, too */
	else if (trouble)
		volume_set_error(v, trouble->error, trouble->reason);
	else
		volume_set_error(v, stays ? LAYOUT_STAYS : "", stays ? REASON_LAYOUT_STAYS : REASON_NONE);
	volume_tell(v, f, unchanged, res);
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

/* It has shown nothing: its change is the next one's to show, or of one that is still to be made. */
static void volume_pass_on(struct volume *v, const struct volume_flight *f)
{
	struct list *next = f->in_volume.next;
	uint64_t *event_usec = &v->event_usec;

	if (next != &v->flights)
		event_usec = &list_entry(next, struct volume_flight, in_volume)->event_usec;
	if (f->event_usec)
		*event_usec = f->event_usec;
}

static void volume_flight_landed(void *userdata, int r, const struct publish_result *res, const struct err *e)
{
	cleanup(volume_flight_freep) struct volume_flight *f = userdata;
	struct volume *v = f->volume;
	bool shown;

	if (!v)
		return;
	/* one that is held behind the switch; but nobody starts with what is not whole */
	shown = res && (r >= 0 || v->condition == VOLUME_READY);
	if (shown && r != PUBLISH_UNCHANGED)
		volume_measure(v, f, res);
	else if (r < 0)
		volume_pass_on(v, f);
	if (v->flight != f) {
		/* before anything can be read nobody is told: the pod's earlier revision may have asked for it */
		if (shown && v->updated_usec) {
			volume_tell(v, f, r == PUBLISH_UNCHANGED, res);
			volume_changed(v);
		}
		return;
	}
	v->flight = NULL;
	if (shown)
		volume_settle(v, f, r == PUBLISH_UNCHANGED, res);
	if (r < 0 && r != -ESTALE) {
		if (v->condition != VOLUME_READY)
			v->condition = VOLUME_FAILED;
		volume_set_error(v, err_text(e),
				 r == -ETIMEDOUT ? REASON_FOLDER_HELD
				 : r == -ENOLCK	 ? REASON_RENAME_HELD
				 : e->reason	 ? (enum reason)e->reason
						 : REASON_PUBLISH_FAILED);
		volume_retry_later(v);
	}
	volume_changed(v);
}

static void volume_drop_flights(struct volume *v)
{
	struct volume_flight *f;

	while ((f = list_first(&v->flights, struct volume_flight, in_volume))) {
		list_remove(&f->in_volume);
		f->volume = NULL;
	}
	v->flight = NULL;
}

void pods_drop_flights(struct pods *p)
{
	struct volume_flight *f;

	while ((f = list_first(&p->flights, struct volume_flight, in_pods))) {
		list_remove(&f->in_pods);
		f->pods = NULL;
	}
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
	list_init(&f->in_volume);
	list_init(&f->in_pods);
	f->resource_version = TAKE_PTR(view->resource_version);
	f->volume = v;
	f->begun_usec = clock_monotonic_usec();
	f->event_usec = v->event_usec;
	f->n_files = view->n_files;
	f->n_bytes = view->n_bytes;
	r = publish_volume(v->pod->pods->publish, &at, TAKE_PTR(payload), volume_flight_landed, f);
	if (r < 0)
		return r;
	v->event_usec = 0;
	list_append(&v->flights, &f->in_volume);
	f->pods = v->pod->pods;
	list_append(&f->pods->flights, &f->in_pods);
	f->pods->n_files_waiting += f->n_files;
	v->flight = TAKE_PTR(f);
	if (v->condition != VOLUME_READY)
		v->condition = VOLUME_PUBLISHING;
	return 0;
}

void volume_make(struct volume *v)
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
	} else if (r == -ENOMEM) {
		/* nobody tells when there is memory again */
		volume_retry_later(v);
	}
	if (r < 0) {
		if (v->condition != VOLUME_READY)
			v->condition = r == -EAGAIN || r == -ENOENT ? VOLUME_WAITING : VOLUME_FAILED;
		volume_set_error(v, err_text(&e), reason_of_error(&e));
		if (v->flight)
			v->flight->outlived = true;
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

void volume_deinit(struct volume *v)
{
	volume_drop_flights(v);
	loop_source_free(v->retry);
	list_remove(&v->asking);
	volume_leave_due(v);
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

/* They show what the pod's previous revision has asked for: none of them is the last one. */
static void volume_inherit_flights(struct volume *v, struct volume *old)
{
	struct volume_flight *f;

	while ((f = list_first(&old->flights, struct volume_flight, in_volume))) {
		list_remove(&f->in_volume);
		list_append(&v->flights, &f->in_volume);
		f->volume = v;
	}
	old->flight = NULL;
}

void volume_inherit(struct volume *v, struct volume *old)
{
	volume_inherit_flights(v, old);
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

void volume_find(struct volume *v)
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

int volume_init(struct volume *v, struct pod_state *s, const struct pod_volume *spec)
{
	v->pod = s;
	v->spec = spec;
	v->condition = VOLUME_WAITING;
	v->error = ERR_NOTE_NONE;
	v->backoff = BACKOFF_INIT(&PODS_RETRY);
	list_init(&v->asking);
	list_init(&v->due);
	list_init(&v->flights);
	if (spec->on_change)
		list_append(&s->pods->asking, &v->asking);
	if (s->pod->mirror)
		return 0;
	volume_find(v);
	return volume_use_objects(v);
}

void volume_need_sources(struct volume *v, const struct volume *before)
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
