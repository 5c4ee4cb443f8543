/* Report: plain translation. What counts as healthy is decided here, in one place: problems[] is empty or says why not. */
#include "agent/report.h"

#include <stdarg.h>

#include "agent/sandbox.h"
#include "agent/views.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"
#include "common/version.h"

#define UNANSWERED_USEC_MAX (10 * USEC_PER_SEC)
#define ORDER_USEC_MAX	    (3 * USEC_PER_SEC) /* of a publisher's, which takes milliseconds; it is killed later on */

/* RFC 3339, or null for never */
static json_t *report_time(uint64_t realtime_usec)
{
	char text[STR_TIME_MAX];

	return realtime_usec ? json_string(str_format_time(realtime_usec, text)) : json_null();
}

static const char *condition_name(enum volume_condition c)
{
	static const char *const names[] = {
		[VOLUME_WAITING] = "waiting",
		[VOLUME_FAILED] = "failed",
		[VOLUME_PUBLISHING] = "publishing",
		[VOLUME_READY] = "ready",
	};

	return names[c];
}

/* What is shown of this source. NULL: nothing, or it is not known. */
static const struct origin *source_shown(const struct volume *v, size_t i, const struct origins *shown)
{
	const struct origin *o = shown && i < origins_count(shown) ? origins_at(shown, i) : NULL;
	cleanup_free char *object = o ? view_object(v->pod->pod, &v->spec->sources[i]) : NULL;

	return object && str_eq(object, o->object) ? o : NULL;
}

static const char *state_name(enum store_state state)
{
	static const char *const names[] = {
		[STORE_UNSYNCED] = "unknown",
		[STORE_ABSENT] = "absent",
		[STORE_PRESENT] = "present",
	};

	return names[state];
}

/* An object may have many keys with long names, and many volumes may show it; a thousand volumes may have a thousand sources each,
 * a thousand containers a thousand mounts. Whoever can make a pod or a Secret can make those, and an answer that has all of them
 * would be too long to be given, to everybody. So of each only the first ones are told. */
#define KEYS_TOLD_MAX	    100 /* in a list of a source's; in the list of all Secrets, of each */
#define LABELS_TOLD_MAX	    100 /* in the list of all Secrets, of each */
#define NAMES_OF_POD_MAX    10000 /* of keys, in the answer about one pod; none in the list of all */
#define NAMES_OF_ALL_MAX    100000 /* of keys and labels, in the list of all Secrets */
#define MOUNTS_TOLD_MAX	    1000 /* of a pod, in the answer about it; none in the list of all */
#define SOURCES_TOLD_MAX    1000 /* of a pod, in the answer about it */
#define SOURCES_IN_LIST_MAX 100 /* of each, in the list of all */
#define REFUSED_MAX	    100 /* pods in the list of all */

/* How much may still be told. */
struct room {
	size_t n_sources, n_names;
};

static bool room_take(size_t *n_left)
{
	return *n_left > 0 && (*n_left)-- > 0;
}

/* What this source asks for by name: all of it; or, of a known object, what is there and what is not. */
enum asked { ASKED_ALL, ASKED_THERE, ASKED_MISSING };

static json_t *report_asked(const struct pod_volume_source *spec, const struct store_entry *entry, enum asked which,
			    struct room *room)
{
	const struct secret *secret = entry ? entry->secret : NULL;
	cleanup_json json_t *keys = json_array();

	for (size_t i = 0; i < spec->n_items && json_array_size(keys) < KEYS_TOLD_MAX; i++) {
		const char *key = spec->items[i].key;
		bool there = !entry || (secret && secret_find_key(secret, key));

		if ((which == ASKED_MISSING && (there || !secret)) || (which == ASKED_THERE && !there))
			continue;
		if (!room_take(&room->n_names))
			break;
		if (json_array_append_new(keys, json_text(key)) < 0)
			return NULL;
	}
	return TAKE_PTR(keys);
}

static json_t *report_key_names(const struct secret *secret, size_t most, struct room *room)
{
	cleanup_json json_t *keys = json_array();

	for (size_t i = 0; secret && i < MIN(secret->n_keys, most) && room_take(&room->n_names); i++)
		if (json_array_append_new(keys, json_string(secret->keys[i].name)) < 0)
			return NULL;
	return TAKE_PTR(keys);
}

/* Names of keys: what is asked for, what of it is there, and what is not. */
static int report_source_keys(json_t *source, const struct pod_volume_source *spec, const struct store_entry *entry,
			      struct room *room)
{
	const struct secret *secret = entry ? entry->secret : NULL;
	bool takes_all = spec->n_items == 0 && entry;
	json_t *missing = report_asked(spec, entry, ASKED_MISSING, room);
	bool lacks = json_array_size(missing) > 0;
	int r;

	r = json_object_update_new(source, json_pack("{s:o, s:o, s:o}", "asked",
						     report_asked(spec, entry, ASKED_ALL, room), "keys",
						     takes_all ? report_key_names(secret, KEYS_TOLD_MAX, room)
							       : report_asked(spec, entry, ASKED_THERE, room),
						     "missing", missing));
	if (r == 0 && lacks)
		r = json_object_set_new(source, "available", report_key_names(secret, KEYS_TOLD_MAX, room));
	return r;
}

/* What is known of the object now, whatever is shown. */
static int report_source_state(json_t *source, const struct store_entry *entry)
{
	const struct secret *secret = entry->secret;

	return json_object_update_new(
		source, json_pack("{s:s, s:s, s:b, s:s, s:o, s:o}", "state", state_name(entry->state), "knownVersion",
				  secret && secret->resource_version ? secret->resource_version : "", "immutable",
				  secret && secret->immutable, "reason", reason_name(entry->reason), "error",
				  json_text(entry->error), "errorSince", report_time(entry->failed_usec)));
}

static json_t *report_sources(const struct report_state *s, const struct volume *v, bool with_keys, struct room *room)
{
	const struct volume_path at = { .pod_uid = v->pod->uid,
					.plugin = pod_volume_plugin(v->spec),
					.name = v->spec->name };
	const struct origins *shown = publish_origins(s->publish, &at);
	cleanup_json json_t *sources = json_array();

	for (size_t i = 0; i < v->spec->n_sources && room_take(&room->n_sources); i++) {
		const struct store_entry *entry = i < v->n_sources ? v->entries[i] : NULL;
		const struct pod_volume_source *spec = &v->spec->sources[i];
		const struct origin *o = source_shown(v, i, shown);
		json_t *source =
			json_pack("{s:s, s:s*, s:s*, s:s*, s:b, s:s, s:s, s:o}", "type", pod_source_type(spec),
				  "audience", spec->audience, "serviceAccount",
				  spec->kind == POD_SOURCE_TOKEN ? v->pod->pod->service_account : NULL, "name",
				  spec->name, "optional", spec->optional, "uid", o ? o->uid : "", "resourceVersion",
				  o ? o->resource_version : "", "synced", report_time(entry ? entry->synced_usec : 0));

		if (json_array_append_new(sources, source) < 0 ||
		    (with_keys && report_source_keys(source, spec, entry, room) < 0) ||
		    (entry && report_source_state(source, entry) < 0))
			return NULL;
	}
	return TAKE_PTR(sources);
}

/* The same text as the attribute of that name has. */
static json_t *report_updated(const struct volume *v)
{
	char text[STR_TIME_MAX];

	return v->updated_usec ? json_string(str_format_time_usec(v->updated_usec, text)) : json_null();
}

static json_t *report_age(const struct volume *v)
{
	uint64_t now = clock_realtime_usec();

	if (!v->updated_usec)
		return json_null();
	return json_integer((json_int_t)(now > v->updated_usec ? (now - v->updated_usec) / USEC_PER_SEC : 0));
}

static json_t *report_live(const struct report_state *s, const struct volume *v)
{
	cleanup_free char *path = str_format("%s/%s/live/%s", s->pods_dir, v->pod->uid, v->spec->name);

	return v->spec->live && v->updated_usec && path ? json_text(path) : json_null();
}

/* When the oldest of what is from the offline cache was current. */
static json_t *report_cached(const struct volume *v)
{
	uint64_t oldest = 0;

	for (size_t i = 0; i < v->n_sources; i++) {
		const struct store_entry *entry = v->entries[i];

		if (entry && entry->cached && (!oldest || entry->synced_usec < oldest))
			oldest = entry->synced_usec;
	}
	return report_time(oldest);
}

static json_t *report_volume(const struct report_state *s, const struct volume *v, bool with_keys, struct room *room)
{
	cleanup_free char *path =
		str_format("%s/%s/volumes/%s/%s", s->pods_dir, v->pod->uid, pod_volume_plugin(v->spec), v->spec->name);
	/* the members of a secret volume are older than its sources, of which it has one, or none if it is spoilt */
	const struct pod_volume_source *only = v->spec->sources;
	bool is_secret = v->spec->kind == POD_VOLUME_SECRET && v->spec->n_sources > 0;

	if (!path)
		return NULL;
	return json_pack(
		"{s:s, s:s, s:s*, s:o*, s:I, s:o, s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:o, s:s, s:o, s:o}",
		"name", v->spec->name, "type", pod_volume_type(v->spec), "secret", is_secret ? only->name : NULL,
		"optional", is_secret ? json_boolean(only->optional) : NULL, "sourceCount",
		(json_int_t)v->spec->n_sources, "sources", report_sources(s, v, with_keys, room), "path",
		json_text(path), "live", report_live(s, v), "state", condition_name(v->condition), "resourceVersion",
		v->resource_version ? v->resource_version : "", "version", v->version, "updated", report_updated(v),
		"ageSeconds", report_age(v), "files", (json_int_t)v->n_files, "bytes", (json_int_t)v->n_bytes, "error",
		json_text(v->error), "reason", reason_name(v->reason), "errorSince", report_time(v->error_usec),
		"cached", report_cached(v));
}

static json_t *report_mistakes(const struct pod *pod)
{
	cleanup_json json_t *mistakes = json_array();

	for (size_t i = 0; i < pod->n_mistakes; i++) {
		const struct pod_mistake *m = &pod->mistakes[i];

		if (json_array_append_new(mistakes,
					  json_pack("{s:o, s:I, s:I, s:o}", "annotation", json_text(m->annotation),
						    "line", (json_int_t)m->line, "column", (json_int_t)m->column,
						    "error", json_text(m->text))) < 0)
			return NULL;
	}
	return TAKE_PTR(mistakes);
}

static const char *container_kind_name(enum pod_container_kind kind)
{
	static const char *const names[] = {
		[POD_CONTAINER_INIT] = "init",
		[POD_CONTAINER_REGULAR] = "regular",
		[POD_CONTAINER_EPHEMERAL] = "ephemeral",
	};

	return names[kind];
}

static json_t *report_container_mounts(const struct pod_container *c, size_t *n_left)
{
	cleanup_json json_t *mounts = json_array();

	for (size_t i = 0; i<c->n_mounts && * n_left> 0; i++, (*n_left)--) {
		const struct pod_mount *m = &c->mounts[i];
		const char *sub_path = m->sub_path ?: m->sub_path_expr;

		if (json_array_append_new(mounts, json_pack("{s:o, s:o, s:o}", "volume", json_text(m->volume),
							    "mountPath", json_text(m->mount_path), "subPath",
							    sub_path ? json_text(sub_path) : json_null())) < 0)
			return NULL;
	}
	return TAKE_PTR(mounts);
}

static json_t *report_containers(const struct pod *pod)
{
	cleanup_json json_t *containers = json_array();
	size_t n_left = MOUNTS_TOLD_MAX;

	for (size_t i = 0; i < pod->n_containers; i++) {
		const struct pod_container *c = &pod->containers[i];

		if (json_array_append_new(containers, json_pack("{s:o, s:s, s:o}", "name", json_text(c->name), "kind",
								container_kind_name(c->kind), "mounts",
								report_container_mounts(c, &n_left))) < 0)
			return NULL;
	}
	return TAKE_PTR(containers);
}

struct refused {
	const char *ns, *name, *uid; /* only of this pod; NULL: of all */
	json_t *all; /* NULL: out of memory */
};

static bool is_refused(const struct refused *refused, const struct source_refusal *r)
{
	if (refused->uid)
		return str_eq(r->uid, refused->uid);
	return !refused->name || (str_eq(r->ns, refused->ns) && str_eq(r->name, refused->name));
}

static void refused_add(void *userdata, const struct source_refusal *r)
{
	struct refused *refused = userdata;
	json_t *one;

	if (!refused->all || json_array_size(refused->all) == REFUSED_MAX || !is_refused(refused, r))
		return;
	one = json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:o}", "namespace", json_text(r->ns), "name",
			json_text(r->name), "uid", json_text(r->uid), "file",
			*r->file ? json_text(r->file) : json_null(), "line", (json_int_t)r->line, "column",
			(json_int_t)r->column, "error", json_text(r->error));
	if (json_array_append_new(refused->all, one) == 0)
		return;
	json_decref(refused->all);
	refused->all = NULL;
}

/* What the source refuses of a pod; NULL: of all pods. */
static json_t *report_refused(const struct report_state *s, const struct pod *pod)
{
	struct refused r = { .ns = pod ? pod->ns : NULL, .name = pod ? pod->name : NULL, .all = json_array() };

	source_refusals(s->source, refused_add, &r);
	return r.all;
}

json_t *report_refused_pod(const struct report_state *s, const char *ref)
{
	const char *slash = strchr(ref, '/');
	cleanup_free char *ns = slash ? strndup(ref, (size_t)(slash - ref)) : NULL;
	struct refused r = { .ns = ns, .name = slash ? slash + 1 : NULL, .uid = slash ? NULL : ref };

	if (slash && !ns)
		return NULL;
	r.all = json_array();
	source_refusals(s->source, refused_add, &r);
	return r.all;
}

void report_why_unknown(const struct report_state *s, const char *ref, struct err *e)
{
	cleanup_json json_t *refused = report_refused_pod(s, ref);
	const json_t *first = json_array_get(refused, 0);
	const char *why = json_string_value(json_object_get(first, "error"));

	if (why)
		err_set(e, -ENOENT, "pod %s is refused: %s", ref, why);
	else
		err_set(e, -ENOENT, "no pod %s on node %s; `secretlet pods` lists those that there are", ref,
			s->config->node_name);
}

static json_t *report_one(const struct report_state *s, const struct pod_state *pod, bool whole)
{
	struct room room = { .n_sources = whole ? SOURCES_TOLD_MAX : SOURCES_IN_LIST_MAX, .n_names = NAMES_OF_POD_MAX };
	cleanup_json json_t *volumes = json_array();

	for (size_t i = 0; i < pod->n_volumes; i++) {
		if (json_array_append_new(volumes, report_volume(s, &pod->volumes[i], whole, &room)) < 0)
			return NULL;
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:o, s:o, s:o*, s:o*, s:O}", "namespace",
			 pod->pod->ns, "name", pod->pod->name, "uid", pod->uid, "phase",
			 pod->pod->phase ? pod->pod->phase : "", "ready", pod_state_is_ready(pod), "finished",
			 pod_is_finished(pod->pod), "deleting", pod->pod->deleting, "cached", pod->cached, "postponed",
			 pod->next != NULL, "since", report_time(pod->since_usec), "mistakes",
			 report_mistakes(pod->pod), "containers", whole ? report_containers(pod->pod) : NULL, "refused",
			 whole ? report_refused(s, pod->pod) : NULL, "volumes", volumes);
}

json_t *report_pod(const struct report_state *s, const struct pod_state *pod)
{
	return report_one(s, pod, true);
}

/* Whether the source has told of all pods of the node yet: until then something may be missing. */
static bool is_synced(const struct report_state *s)
{
	struct source_health h = { .kind = "" };

	source_health(s->source, &h);
	return h.pods_synced;
}

json_t *report_pods(const struct report_state *s)
{
	cleanup_json json_t *pods = json_array();

	for (size_t i = 0; i < pods_count(s->pods); i++) {
		if (json_array_append_new(pods, report_one(s, pods_at(s->pods, i), false)) < 0)
			return NULL;
	}
	return json_pack("{s:O, s:o, s:b}", "pods", pods, "refused", report_refused(s, NULL), "synced", is_synced(s));
}

struct totals {
	size_t n_pods, n_pods_ready, n_pods_finished;
	size_t n_volumes, n_ready, n_waiting, n_failed, n_stale;
};

static struct totals report_totals(const struct pods *pods)
{
	struct totals t = { .n_pods = pods_count(pods) };

	for (size_t i = 0; i < t.n_pods; i++) {
		const struct pod_state *s = pods_at(pods, i);

		t.n_pods_ready += pod_state_is_ready(s);
		t.n_pods_finished += pod_is_finished(s->pod);
		for (size_t j = 0; j < s->n_volumes; j++) {
			enum volume_condition c = s->volumes[j].condition;

			t.n_volumes++;
			t.n_ready += c == VOLUME_READY;
			t.n_waiting += c == VOLUME_WAITING || c == VOLUME_PUBLISHING;
			t.n_failed += c == VOLUME_FAILED;
			t.n_stale += c == VOLUME_READY && s->volumes[j].error[0];
		}
	}
	return t;
}

/* A list that lacks a problem would be a lie: it ends as NULL. */
static void problem_add(json_t **problems, const char *fmt, ...) attr_printf(2, 3);
static void problem_add(json_t **problems, const char *fmt, ...)
{
	char text[2 * ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (json_array_append_new(*problems, json_text(text)) == 0)
		return;
	json_decref(*problems);
	*problems = NULL;
}

static void problem_count(json_t **problems, size_t n, const char *one, const char *many)
{
	if (n > 0)
		problem_add(problems, "%zu %s", n, n == 1 ? one : many);
}

static void report_offline_problems(json_t **problems, const struct offline *offline)
{
	struct offline_stats o;

	offline_stats(offline, &o);
	if (!o.dir)
		return;
	problem_count(problems, o.n_shown, "pod is shown from the offline cache",
		      "pods are shown from the offline cache");
	if (o.cache.error[0])
		problem_add(problems, "offline cache: %s", o.cache.error);
	if (o.cache.busy_usec > UNANSWERED_USEC_MAX)
		problem_add(problems, "offline cache: the disk has not answered for %llu seconds",
			    (unsigned long long)(o.cache.busy_usec / USEC_PER_SEC));
}

static void report_audit_problems(json_t **problems, const struct report_state *s, uint64_t now_usec)
{
	struct audit_state a;

	if (!s->config->audit_log)
		return;
	audit_names_state(s->audit, &a);
	if (!a.attached && !presence_is_starting(&a.presence, now_usec))
		problem_add(problems, "opens are not recorded: no audit process is running");
	else if (a.error[0])
		problem_add(problems, "opens are not recorded: %s", a.error);
}

static void report_signal_problems(json_t **problems, const struct report_state *s, uint64_t now_usec)
{
	if (s->signals && !signals_is_running(s->signals) &&
	    !presence_is_starting(signals_presence(s->signals), now_usec))
		problem_add(problems, "containers get no signals: their process is not running");
}

static json_t *report_problems(const struct report_state *s, const struct totals *t, const struct source_health *h,
			       uint64_t now_usec)
{
	const char *colon = h->last_error[0] ? ": " : "";
	struct publish_stats publish = publish_stats(s->publish);
	json_t *problems = json_array();

	if (!h->pods_synced)
		problem_add(&problems, "the pods of this node are not known yet%s%s", colon, h->last_error);
	else if (!h->connected)
		problem_add(&problems, "no connection to %s%s%s", h->location, colon, h->last_error);
	if (h->n_rejected > 0)
		problem_add(&problems, "%zu object%s rejected%s%s", h->n_rejected,
			    h->n_rejected == 1 ? " was" : "s were", colon, h->last_error);
	problem_count(&problems, t->n_failed, "volume cannot be set up", "volumes cannot be set up");
	problem_count(&problems, t->n_waiting, "volume waits", "volumes wait");
	problem_count(&problems, t->n_stale, "volume shows its last good content",
		      "volumes show their last good content");
	if (!publish.attached)
		problem_add(&problems, "no publisher is running");
	if (publish.unanswered_usec > ORDER_USEC_MAX)
		problem_add(&problems, "the publisher hangs: one order takes %llu seconds already",
			    (unsigned long long)(publish.unanswered_usec / USEC_PER_SEC));
	problem_count(&problems, publish.n_aside, "publisher hangs in a folder that a pod keeps locked",
		      "publishers hang in folders that pods keep locked");
	report_offline_problems(&problems, s->offline);
	report_audit_problems(&problems, s, now_usec);
	report_signal_problems(&problems, s, now_usec);
	if (!str_empty(s->unserved))
		problem_add(&problems, "%s", s->unserved);
	if (!secmem_stats().locked)
		problem_add(&problems, "secret memory is not locked");
	return problems;
}

static json_t *report_fuse(const struct session *session)
{
	const struct session_stats *st = session_stats(session);
	const char *const *missing = session_missing(session);
	cleanup_json json_t *requests = json_object();
	cleanup_json json_t *lost = json_array();

	for (unsigned i = 0; i < SESSION_OPCODES; i++) {
		if (st->requests[i] && session_opcode_name(i))
			json_object_set_new(requests, session_opcode_name(i),
					    json_integer((json_int_t)st->requests[i]));
	}
	for (; *missing; missing++)
		json_array_append_new(lost, json_string(*missing));
	return json_pack("{s:O, s:I, s:O}", "requests", requests, "refused", (json_int_t)st->n_refused, "missing",
			 lost);
}

static json_t *report_source(const struct source_health *h)
{
	return json_pack("{s:s, s:o, s:s*, s:b, s:b, s:o, s:o, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:I, s:I, s:I}",
			 "kind", h->kind, "location", json_text(h->location), "strategy", h->strategy, "connected",
			 h->connected, "podsSynced", h->pods_synced, "lastContact", report_time(h->last_contact_usec),
			 "lastError", json_text(h->last_error), "reason", reason_name(h->reason), "errorSince",
			 report_time(h->failed_usec), "nextTry", report_time(h->next_try_usec), "secrets",
			 (json_int_t)h->n_secrets, "secretsSynced", (json_int_t)h->n_secrets_synced, "configMaps",
			 (json_int_t)h->n_config_maps, "configMapsSynced", (json_int_t)h->n_config_maps_synced,
			 "tokens", (json_int_t)h->n_tokens, "tokensSynced", (json_int_t)h->n_tokens_synced, "watches",
			 (json_int_t)h->n_watches, "rejected", (json_int_t)h->n_rejected, "warnings",
			 (json_int_t)h->n_warnings, "requests", (json_int_t)h->n_requests, "connections",
			 (json_int_t)h->n_connections);
}

static json_t *report_publisher(const struct publish *publish)
{
	struct publish_stats st = publish_stats(publish);

	return json_pack("{s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "attached", st.attached, "hangs",
			 st.unanswered_usec > ORDER_USEC_MAX, "unansweredSeconds",
			 (json_int_t)(st.unanswered_usec / USEC_PER_SEC), "published", (json_int_t)st.n_published,
			 "unchanged", (json_int_t)st.n_unchanged, "failed", (json_int_t)st.n_failed, "removed",
			 (json_int_t)st.n_removed, "queued", (json_int_t)st.n_queued, "aside", (json_int_t)st.n_aside);
}

/* NULL: there is none. */
static json_t *report_offline(const struct offline *offline)
{
	struct offline_stats o;

	offline_stats(offline, &o);
	if (!o.dir)
		return NULL;
	return json_pack("{s:o, s:I, s:I, s:I, s:I, s:o, s:b, s:I, s:I, s:I, s:o}", "dir", json_text(o.dir), "pods",
			 (json_int_t)o.cache.n_pods, "secrets", (json_int_t)o.cache.n_secrets, "configMaps",
			 (json_int_t)o.cache.n_config_maps, "generation", (json_int_t)o.cache.generation, "written",
			 report_time(o.cache.written_usec), "pending", o.cache.pending, "shownPods",
			 (json_int_t)o.n_shown, "refused", (json_int_t)o.cache.n_refused, "writes",
			 (json_int_t)o.cache.n_writes, "error", json_text(o.cache.error));
}

/* NULL: it is off. */
static json_t *report_audit(const struct report_state *s, uint64_t now_usec)
{
	struct audit_state a;

	if (!s->config->audit_log)
		return NULL;
	audit_names_state(s->audit, &a);
	return json_pack("{s:o, s:b, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "log",
			 json_text(s->config->audit_log), "running", a.attached, "starting",
			 presence_is_starting(&a.presence, now_usec), "since", report_time(a.counts.since_usec),
			 "opens", (json_int_t)a.counts.n_opens, "written", (json_int_t)a.counts.n_written, "unnamed",
			 (json_int_t)a.counts.n_unnamed, "unwritten", (json_int_t)a.counts.n_failed, "lost",
			 (json_int_t)a.counts.n_lost, "queueFull", (json_int_t)a.counts.n_overflows, "gaps",
			 (json_int_t)a.counts.n_gaps, "error", json_text(a.error));
}

static json_t *report_signals(const struct signals *signals, uint64_t now_usec)
{
	cleanup_json json_t *json = signals ? signals_report(signals) : NULL;
	bool starting =
		signals && !signals_is_running(signals) && presence_is_starting(signals_presence(signals), now_usec);

	if (!json || json_object_set_new(json, "starting", json_boolean(starting)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

/* NULL: there is no API server. Nothing of it makes the daemon unhealthy: the log and the volumes' states say the same. */
static json_t *report_events(const struct event_sender *events)
{
	struct event_sender_stats st;

	if (!events)
		return NULL;
	event_sender_stats(events, &st);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "sent", (json_int_t)st.n_sent, "queued",
			 (json_int_t)st.events.n_queued, "troubled", (json_int_t)st.events.n_troubled, "heldBack",
			 (json_int_t)st.events.n_held_back, "dropped", (json_int_t)st.events.n_dropped, "failed",
			 (json_int_t)st.n_failed, "error", json_text(st.error));
}

/* What the kernel enforces on this agent, and what it does not have. */
static json_t *report_sandbox(void)
{
	json_t *holds = json_array(), *missing = json_array();

	for (enum sandbox_rule i = 0; i < SANDBOX_RULES_N; i++)
		json_array_append_new(sandbox_has(i) ? holds : missing, json_string(sandbox_rule_name(i)));
	return json_pack("{s:o, s:o}", "inForce", holds, "missing", missing);
}

json_t *report_status(const struct report_state *s, uint64_t now_usec)
{
	struct secmem_stats mem = secmem_stats();
	struct totals t = report_totals(s->pods);
	cleanup_json json_t *problems = NULL;
	struct source_health h = { .kind = "" };

	source_health(s->source, &h);
	problems = report_problems(s, &t, &h, now_usec);
	return json_pack(
		"{s:s, s:b, s:O, s:s, s:o, s:I, s:o, s:{s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I, s:I},"
		" s:{s:I, s:I, s:I, s:b, s:b}, s:{s:I, s:I, s:I}, s:o, s:o, s:{s:I}, s:o, s:o*, s:o*, s:o*, s:o*}",
		"version", SECRETLET_VERSION, "healthy", json_array_size(problems) == 0, "problems", problems,
		"nodeName", s->config->node_name, "podsDir", json_text(s->pods_dir), "uptimeSeconds",
		(json_int_t)((now_usec - s->started_usec) / USEC_PER_SEC), "source", report_source(&h), "pods", "total",
		(json_int_t)t.n_pods, "ready", (json_int_t)t.n_pods_ready, "finished", (json_int_t)t.n_pods_finished,
		"volumes", "total", (json_int_t)t.n_volumes, "ready", (json_int_t)t.n_ready, "waiting",
		(json_int_t)t.n_waiting, "failed", (json_int_t)t.n_failed, "stale", (json_int_t)t.n_stale,
		"secretMemory", "usedBytes", (json_int_t)mem.used_bytes, "limitBytes", (json_int_t)mem.limit_bytes,
		"blocks", (json_int_t)mem.n_blocks, "locked", mem.locked, "heapLocked", mem.process_locked, "tree",
		"nodes", (json_int_t)tree_stats(s->tree).n_nodes, "detached",
		(json_int_t)tree_stats(s->tree).n_detached, "contentBytes",
		(json_int_t)tree_stats(s->tree).content_bytes, "fuse", report_fuse(s->session), "publisher",
		report_publisher(s->publish), "log", "dropped", (json_int_t)log_dropped(), "sandbox", report_sandbox(),
		"offlineCache", report_offline(s->offline), "audit", report_audit(s, now_usec), "events",
		report_events(s->events), "signals", report_signals(s->signals, now_usec));
}

/* ---- Secrets ---- */

static json_int_t secret_bytes(const struct secret *secret)
{
	size_t bytes = 0;

	for (size_t i = 0; secret && i < secret->n_keys; i++)
		bytes += secret->keys[i].value.len;
	return (json_int_t)bytes;
}

static json_t *report_labels(const struct secret *secret, size_t most, struct room *room)
{
	cleanup_json json_t *labels = json_object();

	for (size_t i = 0; secret && i < MIN(secret->n_labels, most) && room_take(&room->n_names); i++)
		if (json_object_set_new(labels, secret->labels[i].key, json_string(secret->labels[i].value)) < 0)
			return NULL;
	return TAKE_PTR(labels);
}

static json_t *report_entry(const struct store_entry *entry, size_t n_keys, size_t n_labels, struct room *room)
{
	const struct secret *secret = entry->secret;

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:o, s:I, s:s, s:s, s:o, s:I, s:o, s:s, s:s, s:o, s:I}",
			 "kind", object_kind_name(entry->kind), "namespace", entry->ns, "name", entry->name, "state",
			 state_name(entry->state), "type", secret && secret->type ? secret->type : "", "immutable",
			 secret && secret->immutable, "keyCount", (json_int_t)(secret ? secret->n_keys : 0), "keys",
			 report_key_names(secret, n_keys, room), "bytes", secret_bytes(secret), "resourceVersion",
			 secret ? secret->resource_version : "", "uid", secret && secret->uid ? secret->uid : "",
			 "labels", report_labels(secret, n_labels, room), "references", (json_int_t)entry->n_refs,
			 "synced", report_time(entry->synced_usec), "error", entry->error, "reason",
			 reason_name(entry->reason), "errorSince", report_time(entry->failed_usec), "answers",
			 (json_int_t)entry->n_answers);
}

json_t *report_secret(const struct store_entry *entry)
{
	return report_entry(entry, SIZE_MAX, SIZE_MAX, &(struct room){ .n_names = NAMES_OF_ALL_MAX });
}

static int compare_entries(const void *a, const void *b)
{
	const struct store_entry *const *x = a, *const *y = b;
	int r = (*x)->kind == (*y)->kind ? strcmp((*x)->ns, (*y)->ns) : (*x)->kind < (*y)->kind ? -1 : 1;

	return r ? r : strcmp((*x)->name, (*y)->name);
}

static bool is_selected(unsigned kinds, const struct selector *selector, const struct store_entry *entry)
{
	const struct secret *secret = entry->secret;

	if (!(kinds & 1U << entry->kind))
		return false;
	if (!selector)
		return true;
	return selector_matches(selector, secret ? secret->labels : NULL, secret ? secret->n_labels : 0);
}

json_t *report_secrets(const struct report_state *s, unsigned kinds, const struct selector *selector)
{
	cleanup_free const struct store_entry **sorted = NULL;
	struct room room = { .n_names = NAMES_OF_ALL_MAX };
	cleanup_json json_t *secrets = json_array();
	const struct store_entry *entry;
	size_t n = 0;

	for (size_t it = 0; store_next(s->store, &it);)
		n++;
	sorted = calloc(n + 1, sizeof(*sorted));
	if (!sorted)
		return NULL;
	n = 0;
	for (size_t it = 0; (entry = store_next(s->store, &it));)
		if (is_selected(kinds, selector, entry))
			sorted[n++] = entry;
	qsort(sorted, n, sizeof(*sorted), compare_entries);
	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(secrets, report_entry(sorted[i], KEYS_TOLD_MAX, LABELS_TOLD_MAX, &room)) < 0)
			return NULL;
	return json_pack("{s:O, s:b}", "secrets", secrets, "synced", is_synced(s));
}
