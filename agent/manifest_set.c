/* Manifest set. Three layers of state:
 *
 *   file   -> entries: what a file says at the moment, in its order. An entry that was refused keeps the last good object
 *             of the same name from the same file.
 *   object: one for each name that some entry claims, with the version that counts (`secret` or `pod`), which changes
 *             only in settle().
 *   want:   Secrets and ConfigMaps that the store has asked for; `pending` ones are answered one by one from a list, because the sink
 *             may want and unwant while it is called.
 *
 * What has changed is told from lists, too, pods first, and only so much in one turn: thousands at once would keep the loop from
 * all else for longer than the keeper waits for a sign of life.
 *
 * settle() is a plain recomputation over all entries in the order of file and text. With a few thousand objects that is
 * well under a millisecond, and there is no incremental state that could go wrong. */
#include "agent/manifest_set.h"

#include "agent/validate.h"
#include "common/list.h"
#include "common/log.h"
#include "common/map.h"
#include "common/str.h"

/* Of one reading of a file, and of one settle: the log is no place for thousands of lines. */
#define NEWS_LOGGED ((size_t)20)

/* A refusal; the serial number tells the newest. */
struct problem {
	struct finding *f; /* NULL: none */
	uint64_t serial;
};

struct entry {
	struct manifest_object o; /* o.problem is moved to `refused` */
	struct problem refused; /* wrong in itself */
	struct problem conflict; /* wrong because of another object, of another file or of its earlier version */
};

struct file {
	char *name;
	bool dropped;
	struct problem problem; /* the file as a whole */
	struct entry *entries;
	size_t n_entries;
};

struct claim {
	const struct file *file;
	const struct entry *entry;
};

struct object {
	char *key;
	enum manifest_kind kind;
	struct secret *secret;
	struct pod *pod;
	json_t *json;
	bool told; /* a pod the sink knows */
	struct list untold; /* in `untold`, or in no list: there is another revision of it than the sink knows */
	char *problem;
	enum reason reason; /* of it */

	/* during settle() */
	bool changed;
	size_t n_claims; /* entries with its name */
	struct claim first, second; /* the first two of them */
	const char *complaint; /* becomes `problem` */
	enum reason complaint_reason;
};

struct want {
	struct list link; /* in `pending`, or in no list */
	bool refresh;
	struct secret *told; /* what the sink knows */
	enum object_kind kind;
	char *ns, *name;
	char key[];
};

struct manifest_set {
	char *node_name;
	const struct source_sink *sink;
	void *userdata;
	struct map files; /* by name */
	struct map objects; /* by key */
	struct map uids; /* of pods that count -> object */
	struct map wants; /* by key */
	struct list untold, pending;
	uint64_t serial;
	size_t n_conflicts; /* new since the last settle */
	bool decided; /* by a settle */
	bool settled; /* and all of that was told, once at least */
};

/* ---- problems ---- */

static void problem_clear(struct problem *p)
{
	finding_free(TAKE_PTR(p->f));
}

static const char *problem_text(const struct problem *p)
{
	return p->f ? p->f->text : NULL;
}

static enum reason reason_of_refusal(const struct entry *en)
{
	const struct finding *f = en->refused.f;

	if (f && en->o.starved)
		return en->o.secmem_full ? REASON_SECRET_MEMORY_FULL : REASON_OUT_OF_MEMORY;
	return f && f->field && str_starts(f->field, "sealedData") ? REASON_SEALED_UNREADABLE : REASON_MANIFEST_INVALID;
}

/* Logged when it is new. NULL: there was no memory for it; the one before stays. */
static void problem_set(struct manifest_set *s, struct problem *p, struct finding *take_f)
{
	cleanup_finding struct finding *f = take_f;

	if (!f || str_eq(problem_text(p), f->text))
		return;
	problem_clear(p);
	p->f = TAKE_PTR(f);
	p->serial = ++s->serial;
	if (++s->n_conflicts <= NEWS_LOGGED)
		log_warning(NULL, "%s", p->f->text);
}

static int new_finding(const char *file, size_t line, size_t column, const char *object, const char *field,
		       const char *reason, struct finding **ret_f)
{
	const struct finding f = {
		.line = line,
		.column = column,
		.file = (char *)(uintptr_t)file,
		.object = (char *)(uintptr_t)object,
		.field = (char *)(uintptr_t)field,
		.reason = (char *)(uintptr_t)reason,
	};

	return finding_new(&f, ret_f);
}

/* ---- files ---- */

static void entry_deinit(struct entry *en)
{
	manifest_object_deinit(&en->o);
	problem_clear(&en->refused);
	problem_clear(&en->conflict);
}

static void entries_free(struct entry *entries, size_t n_entries)
{
	for (size_t i = 0; entries && i < n_entries; i++)
		entry_deinit(&entries[i]);
	free(entries);
}

static void file_free(struct file *f)
{
	if (!f)
		return;
	entries_free(f->entries, f->n_entries);
	problem_clear(&f->problem);
	free(f->name);
	free(f);
}
DEFINE_CLEANUP(struct file *, file_free);

static int get_file(struct manifest_set *s, const char *name, struct file **ret_f)
{
	cleanup(file_freep) struct file *f = NULL;
	int r;

	*ret_f = map_get_str(&s->files, name);
	if (*ret_f)
		return 0;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->name = strdup(name);
	if (!f->name)
		return -ENOMEM;
	r = map_add_str(&s->files, f->name, f);
	if (r < 0)
		return r;
	*ret_f = TAKE_PTR(f);
	return 0;
}

static bool is_good(const struct entry *en)
{
	return en->o.secret || en->o.pod;
}

/* What an earlier reading of the file is good for: last good versions, and refusals that need not be logged again. */
static void carry_over(struct entry *fresh, struct map *by_key, struct map *by_text)
{
	struct entry *old = fresh->o.key ? map_get_str(by_key, fresh->o.key) : NULL;

	if (fresh->refused.f && old && is_good(old)) {
		fresh->o.secret = TAKE_PTR(old->o.secret);
		fresh->o.pod = TAKE_PTR(old->o.pod);
		fresh->o.json = TAKE_PTR(old->o.json);
	}
	if (old && old->conflict.f) {
		fresh->conflict = old->conflict;
		old->conflict.f = NULL;
	}
	old = fresh->refused.f ? map_get_str(by_text, fresh->refused.f->text) : NULL;
	if (old)
		fresh->refused.serial = old->refused.serial;
}

/* What has not been said of the file's earlier content; beyond the limit it is only counted. */
static void log_one(const struct finding *f, size_t *n_logged)
{
	if (++*n_logged <= NEWS_LOGGED)
		log_warning(NULL, "%s", f->text);
}

static void log_news(struct manifest_set *s, struct entry *en, const struct map *by_text, size_t *n_logged)
{
	if (en->refused.f && !en->refused.serial) {
		en->refused.serial = ++s->serial;
		log_one(en->refused.f, n_logged);
	}
	for (size_t i = 0; i < en->o.n_warnings; i++)
		if (!map_get_str(by_text, en->o.warnings[i]->text))
			log_one(en->o.warnings[i], n_logged);
}

/* Without memory for the tables nothing is carried over; the caller sees -ENOMEM first. */
static int index_entries(struct file *f, struct map *by_key, struct map *by_text)
{
	int r = 0;

	for (size_t i = 0; i < f->n_entries && r != -ENOMEM; i++) {
		struct entry *en = &f->entries[i];

		if (en->o.key)
			r = map_add_str(by_key, en->o.key, en);
		if (en->refused.f && r != -ENOMEM)
			r = map_add_str(by_text, en->refused.f->text, en);
		for (size_t k = 0; k < en->o.n_warnings && r != -ENOMEM; k++)
			r = map_add_str(by_text, en->o.warnings[k]->text, en);
	}
	return r == -ENOMEM ? r : 0;
}

static int replace_entries(struct manifest_set *s, struct file *f, struct manifest_object *objects, size_t n_objects)
{
	struct map by_key = MAP_INIT, by_text = MAP_INIT;
	struct entry *entries = calloc(n_objects + 1, sizeof(*entries));
	size_t n_logged = 0;
	int r;

	if (!entries)
		return -ENOMEM;
	r = index_entries(f, &by_key, &by_text);
	for (size_t i = 0; r == 0 && i < n_objects; i++) {
		struct entry *en = &entries[i];

		en->o = objects[i];
		objects[i] = (struct manifest_object){ .kind = MANIFEST_UNKNOWN };
		en->refused.f = TAKE_PTR(en->o.problem);
		carry_over(en, &by_key, &by_text);
		log_news(s, en, &by_text, &n_logged);
	}
	if (n_logged > NEWS_LOGGED)
		log_warning(NULL, "%s: %zu more refusals and warnings", f->name, n_logged - NEWS_LOGGED);
	map_deinit(&by_key);
	map_deinit(&by_text);
	if (r < 0) {
		free(entries);
		return r;
	}
	entries_free(f->entries, f->n_entries);
	f->entries = entries;
	f->n_entries = n_objects;
	return 0;
}

int manifest_set_put(struct manifest_set *s, const char *file, struct manifest_object *take_objects, size_t n_objects)
{
	struct file *f = NULL;
	int r;

	r = get_file(s, file, &f);
	if (r == 0)
		r = replace_entries(s, f, take_objects, n_objects);
	manifest_objects_free(take_objects, n_objects);
	if (r < 0)
		return r;
	problem_clear(&f->problem);
	f->dropped = false;
	return 0;
}

int manifest_set_fail(struct manifest_set *s, const char *file, const char *problem)
{
	cleanup_finding struct finding *fresh = NULL;
	struct file *f = NULL;
	int r;

	r = get_file(s, file, &f);
	if (r < 0)
		return r;
	r = new_finding(file, 0, 0, NULL, NULL, problem, &fresh);
	if (r < 0)
		return r;
	/* the sentence names the file already */
	if (str_starts(problem, file)) {
		free(fresh->text);
		fresh->text = strdup(problem);
		if (!fresh->text)
			return -ENOMEM;
	}
	problem_set(s, &f->problem, TAKE_PTR(fresh));
	f->dropped = false;
	return 0;
}

void manifest_set_drop(struct manifest_set *s, const char *file)
{
	struct file *f = map_get_str(&s->files, file);

	if (f)
		f->dropped = true;
}

static int compare_files(const void *a, const void *b)
{
	return strcmp((*(struct file *const *)a)->name, (*(struct file *const *)b)->name);
}

/* Sorted by name; dropped ones are freed. */
static int sort_files(struct manifest_set *s, struct file ***ret_files, size_t *ret_n)
{
	struct file **files = calloc(map_count(&s->files) + 1, sizeof(*files));
	struct file *f;
	size_t n = 0;

	if (!files)
		return -ENOMEM;
	for (size_t it = 0; (f = map_next(&s->files, &it));) {
		if (f->dropped) {
			map_remove_str(&s->files, f->name);
			file_free(f);
			continue;
		}
		files[n++] = f;
	}
	qsort(files, n, sizeof(*files), compare_files);
	*ret_files = files;
	*ret_n = n;
	return 0;
}

/* ---- wants ---- */

static void want_free(struct want *w)
{
	if (!w)
		return;
	list_remove(&w->link);
	secret_unref(w->told);
	free(w->ns);
	free(w->name);
	free(w);
}
DEFINE_CLEANUP(struct want *, want_free);

static void make_pending(struct manifest_set *s, struct want *w)
{
	list_remove(&w->link);
	list_append(&s->pending, &w->link);
}

/* The key as manifest.c makes it; fresh memory. */
static char *key_of(enum object_kind kind, const char *ns, const char *name)
{
	return str_format("%s %s/%s", object_kind_word(kind), ns, name);
}

static struct want *find_want(const struct manifest_set *s, enum object_kind kind, const char *ns, const char *name)
{
	cleanup_free char *key = key_of(kind, ns, name);

	return key ? map_get_str(&s->wants, key) : NULL;
}

int manifest_set_want(struct manifest_set *s, enum object_kind kind, const char *ns, const char *name)
{
	cleanup_free char *key = key_of(kind, ns, name);
	cleanup(want_freep) struct want *w = NULL;
	int r;

	if (!key)
		return -ENOMEM;
	w = calloc(1, sizeof(*w) + strlen(key) + 1);
	if (!w)
		return -ENOMEM;
	list_init(&w->link);
	memcpy(w->key, key, strlen(key) + 1);
	w->kind = kind;
	w->ns = strdup(ns);
	w->name = strdup(name);
	if (!w->ns || !w->name)
		return -ENOMEM;
	r = map_add_str(&s->wants, w->key, w);
	if (r < 0)
		return r;
	make_pending(s, TAKE_PTR(w));
	return 0;
}

void manifest_set_unwant(struct manifest_set *s, enum object_kind kind, const char *ns, const char *name)
{
	struct want *w = find_want(s, kind, ns, name);

	if (!w)
		return;
	map_remove_str(&s->wants, w->key);
	want_free(w);
}

int manifest_set_refresh(struct manifest_set *s, enum object_kind kind, const char *ns, const char *name)
{
	struct want *w = find_want(s, kind, ns, name);

	if (!w)
		return -ENOENT;
	w->refresh = true;
	return 0;
}

/* The sink may drop the want: it is not looked at after the last call. */
static void tell_one(struct manifest_set *s, struct want *w)
{
	const struct object *obj = map_get_str(&s->objects, w->key);
	struct secret *secret = obj ? obj->secret : NULL;
	cleanup_free char *ns = strdup(w->ns), *name = strdup(w->name);
	enum object_kind kind = w->kind;
	struct err e = ERR_INIT;
	bool known = secret && w->told == secret;

	if (!ns || !name)
		return;
	if (obj && obj->problem)
		reason_set(&e, obj->reason, err_set(&e, -EINVAL, "%s", obj->problem));
	secret_unref(w->told);
	w->told = secret ? secret_ref(secret) : NULL;
	if (!e.code || (secret && !known))
		s->sink->object_changed(s->userdata, kind, ns, name, secret);
	if (e.code)
		s->sink->object_failed(s->userdata, kind, ns, name, &e);
}

int manifest_set_get(const struct manifest_set *s, enum object_kind kind, const char *ns, const char *name,
		     struct secret **ret_secret, const char **ret_problem)
{
	cleanup_free char *key = key_of(kind, ns, name);
	const struct object *obj;

	if (!key)
		return -ENOMEM;
	if (!s->decided)
		return -EAGAIN;
	obj = map_get_str(&s->objects, key);
	*ret_secret = obj ? obj->secret : NULL;
	*ret_problem = obj ? obj->problem : NULL;
	return 0;
}

/* ---- objects ---- */

static void object_free(struct object *obj)
{
	if (!obj)
		return;
	list_remove(&obj->untold);
	secret_unref(obj->secret);
	pod_unref(obj->pod);
	json_decref(obj->json);
	free(obj->problem);
	free(obj->key);
	free(obj);
}
DEFINE_CLEANUP(struct object *, object_free);

static int get_object(struct manifest_set *s, const struct entry *en, struct object **ret_obj)
{
	cleanup(object_freep) struct object *obj = NULL;
	int r;

	*ret_obj = map_get_str(&s->objects, en->o.key);
	if (*ret_obj)
		return 0;
	obj = calloc(1, sizeof(*obj));
	if (!obj)
		return -ENOMEM;
	list_init(&obj->untold);
	obj->key = strdup(en->o.key);
	obj->kind = en->o.kind;
	if (!obj->key)
		return -ENOMEM;
	r = map_add_str(&s->objects, obj->key, obj);
	if (r < 0)
		return r;
	*ret_obj = TAKE_PTR(obj);
	return 0;
}

static void claim(struct manifest_set *s, const struct file *f, const struct entry *en)
{
	struct object *obj = NULL;

	if (!en->o.key)
		return;
	if (get_object(s, en, &obj) < 0) {
		log_error(NULL, "%s: out of memory", en->o.key);
		return;
	}
	if (obj->n_claims++ == 0)
		obj->first = (struct claim){ f, en };
	else if (obj->n_claims == 2)
		obj->second = (struct claim){ f, en };
}

static void forget_pod(struct manifest_set *s, struct object *obj)
{
	cleanup_pod struct pod *pod = TAKE_PTR(obj->pod);

	if (!pod)
		return;
	list_remove(&obj->untold);
	map_remove_str(&s->uids, pod->uid);
	if (obj->told)
		s->sink->pod_removed(s->userdata, pod->uid);
	obj->told = false;
}

static void remove_unclaimed(struct manifest_set *s)
{
	struct object *obj;

	for (size_t it = 0; (obj = map_next(&s->objects, &it));) {
		struct want *w;

		if (obj->n_claims > 0)
			continue;
		w = map_get_str(&s->wants, obj->key);
		if (w)
			make_pending(s, w);
		log_info(NULL, "%s is gone from the manifests", obj->key);
		map_remove_str(&s->objects, obj->key);
		forget_pod(s, obj);
		object_free(obj);
	}
}

/* The entry shares the version that counts when it says the same: the bytes are in locked memory once. */
static void adopt_secret(struct manifest_set *s, struct object *obj, struct entry *en, struct err *conflict)
{
	struct json_issue issue = { .reason = "" };

	if (obj->secret == en->o.secret)
		return;
	if (obj->secret && secret_same(obj->secret, en->o.secret)) {
		secret_unref(en->o.secret);
		en->o.secret = secret_ref(obj->secret);
		return;
	}
	if (obj->secret && validate_secret_update(obj->secret, en->o.secret, &issue) < 0) {
		err_set(conflict, -EINVAL, "%s: %s", issue.path, issue.reason);
		return;
	}
	secret_unref(obj->secret);
	obj->secret = secret_ref(en->o.secret);
	obj->changed = true;
}

static void adopt_pod(struct manifest_set *s, struct object *obj, struct entry *en, struct err *conflict)
{
	const struct object *other = map_get_str(&s->uids, en->o.pod->uid);

	if (obj->pod == en->o.pod)
		return;
	if (obj->pod && json_equal(obj->json, en->o.json)) {
		pod_unref(en->o.pod);
		en->o.pod = pod_ref(obj->pod);
		json_decref(en->o.json);
		en->o.json = json_incref(obj->json);
		return;
	}
	if (other && other != obj) {
		err_set(conflict, -EINVAL, "metadata.uid: is the uid of %s as well", other->key);
		return;
	}
	if (obj->pod && !str_eq(obj->pod->uid, en->o.pod->uid))
		forget_pod(s, obj);
	if (obj->pod)
		map_remove_str(&s->uids, obj->pod->uid);
	if (map_add_str(&s->uids, en->o.pod->uid, obj) < 0)
		err_set(conflict, -ENOMEM, "out of memory");
	pod_unref(obj->pod);
	json_decref(obj->json);
	obj->pod = pod_ref(en->o.pod);
	obj->json = json_incref(en->o.json);
	obj->changed = true;
}

/* What the entry does to its object; conflict is set if it may not. Which of two entries is meant nobody knows. */
static void decide(struct manifest_set *s, struct entry *en, struct object *obj, struct err *conflict)
{
	const struct claim *other = obj->first.entry == en ? &obj->second : &obj->first;

	if (obj->n_claims > 1)
		err_set(conflict, -EEXIST, "is in %s:%zu as well; none of them is taken", other->file->name,
			other->entry->o.line);
	else if (is_good(en) && en->o.secret)
		adopt_secret(s, obj, en, conflict);
	else if (is_good(en))
		adopt_pod(s, obj, en, conflict);
}

static void settle_entry(struct manifest_set *s, const struct file *f, struct entry *en)
{
	struct object *obj = en->o.key ? map_get_str(&s->objects, en->o.key) : NULL;
	struct finding *fresh = NULL;
	struct err conflict = ERR_INIT;

	if (!obj)
		return;
	decide(s, en, obj, &conflict);
	if (!conflict.code) {
		problem_clear(&en->conflict);
	} else {
		if (new_finding(f->name, en->o.line, en->o.column, en->o.key, NULL, conflict.text, &fresh) < 0)
			log_error(NULL, "%s: out of memory", en->o.key);
		problem_set(s, &en->conflict, fresh);
	}
	if (obj->first.entry == en) {
		obj->complaint = problem_text(&en->refused) ?: problem_text(&en->conflict);
		obj->complaint = obj->complaint ?: problem_text(&f->problem);
		obj->complaint_reason = reason_of_refusal(en);
	}
}

static void begin(struct manifest_set *s)
{
	struct object *obj;

	for (size_t it = 0; (obj = map_next(&s->objects, &it));) {
		obj->changed = false;
		obj->n_claims = 0;
		obj->complaint = NULL;
		obj->complaint_reason = REASON_NONE;
	}
}

/* Returns whether the complaint is another than before. */
static bool update_problem(struct object *obj)
{
	if (str_eq(obj->problem, obj->complaint))
		return false;
	free(obj->problem);
	obj->reason = obj->complaint_reason;
	obj->problem = obj->complaint ? strdup(obj->complaint) : NULL;
	return true;
}

static bool is_ours(const struct manifest_set *s, const struct pod *pod)
{
	return str_empty(pod->node_name) || str_eq(pod->node_name, s->node_name);
}

static void tell_pod(struct manifest_set *s, struct object *obj)
{
	bool ours = is_ours(s, obj->pod);

	if (obj->told && !ours)
		s->sink->pod_removed(s->userdata, obj->pod->uid);
	obj->told = ours;
	/* where it runs, as it would say of itself if somebody had bound it */
	if (ours && str_empty(obj->pod->node_name) && *s->node_name) {
		free(obj->pod->node_name);
		obj->pod->node_name = strdup(s->node_name);
	}
	if (ours)
		s->sink->pod_changed(s->userdata, obj->pod);
}

/* What is in its place when it is told counts: one that has gone meanwhile is in no list. */
static void note_changes(struct manifest_set *s)
{
	struct object *obj;
	struct want *w;

	for (size_t it = 0; (obj = map_next(&s->objects, &it));) {
		bool changed = update_problem(obj) || obj->changed;

		w = map_get_str(&s->wants, obj->key);
		if (w && changed)
			make_pending(s, w);
		if (obj->pod && obj->changed) {
			list_remove(&obj->untold);
			list_append(&s->untold, &obj->untold);
		}
	}
	for (size_t it = 0; (w = map_next(&s->wants, &it));) {
		if (w->refresh)
			make_pending(s, w);
		w->refresh = false;
	}
}

static bool tell_next_pod(struct manifest_set *s)
{
	struct object *obj = list_first(&s->untold, struct object, untold);

	if (!obj)
		return false;
	list_remove(&obj->untold);
	tell_pod(s, obj);
	return true;
}

static bool tell_next_want(struct manifest_set *s)
{
	struct want *w = list_first(&s->pending, struct want, link);

	if (!w)
		return false;
	list_remove(&w->link);
	tell_one(s, w);
	return true;
}

bool manifest_set_tell(struct manifest_set *s)
{
	size_t n = 0;

	if (!s->decided)
		return false;
	while (n < MANIFEST_SET_TOLD_MAX && tell_next_pod(s))
		n++;
	if (!list_empty(&s->untold))
		return true;
	if (!s->settled) {
		s->settled = true;
		s->sink->pods_synced(s->userdata);
	}
	while (n < MANIFEST_SET_TOLD_MAX && tell_next_want(s))
		n++;
	return !list_empty(&s->untold) || !list_empty(&s->pending);
}

bool manifest_set_settle(struct manifest_set *s)
{
	cleanup_free struct file **files = NULL;
	size_t n_files = 0;
	int r;

	r = sort_files(s, &files, &n_files);
	if (r < 0) {
		log_error(NULL, "manifests: out of memory; what was known before stays");
		return manifest_set_tell(s);
	}
	begin(s);
	for (size_t i = 0; i < n_files; i++)
		for (size_t k = 0; k < files[i]->n_entries; k++)
			claim(s, files[i], &files[i]->entries[k]);
	remove_unclaimed(s);
	for (size_t i = 0; i < n_files; i++)
		for (size_t k = 0; k < files[i]->n_entries; k++)
			settle_entry(s, files[i], &files[i]->entries[k]);
	if (s->n_conflicts > NEWS_LOGGED)
		log_warning(NULL, "manifests: %zu more refusals", s->n_conflicts - NEWS_LOGGED);
	s->n_conflicts = 0; /* files that fail are counted until the next settle */
	note_changes(s);
	s->decided = true;
	return manifest_set_tell(s);
}

/* ---- the whole ---- */

static void count_problem(const struct problem *p, struct manifest_set_stats *stats, uint64_t *newest)
{
	if (!p->f)
		return;
	stats->n_rejected++;
	if (p->serial < *newest)
		return;
	*newest = p->serial;
	stats->last_error = p->f->text;
}

struct manifest_set_stats manifest_set_stats(const struct manifest_set *s)
{
	struct manifest_set_stats stats = { .settled = s->settled, .last_error = "" };
	uint64_t newest = 0;
	const struct want *w;
	struct file *f;

	for (size_t it = 0; (w = map_next(&s->wants, &it));)
		stats.n_wanted[w->kind]++;
	for (size_t it = 0; (f = map_next(&s->files, &it));) {
		count_problem(&f->problem, &stats, &newest);
		for (size_t i = 0; i < f->n_entries; i++) {
			count_problem(&f->entries[i].refused, &stats, &newest);
			count_problem(&f->entries[i].conflict, &stats, &newest);
			stats.n_warnings += f->entries[i].o.n_warnings;
		}
	}
	return stats;
}

bool manifest_set_has(const struct manifest_set *s, const char *key)
{
	return map_get_str(&s->objects, key);
}

void manifest_set_findings(const struct manifest_set *s, manifest_set_finding_fn fn, void *userdata)
{
	struct file *f;

	for (size_t it = 0; (f = map_next(&s->files, &it));) {
		if (f->problem.f)
			fn(userdata, f->problem.f, NULL);
		for (size_t i = 0; i < f->n_entries; i++) {
			const struct entry *en = &f->entries[i];

			if (en->refused.f)
				fn(userdata, en->refused.f, &en->o);
			if (en->conflict.f)
				fn(userdata, en->conflict.f, &en->o);
			for (size_t k = 0; k < en->o.n_warnings; k++)
				fn(userdata, en->o.warnings[k], &en->o);
		}
	}
}

int manifest_set_new(const char *node_name, const struct source_sink *sink, void *userdata, struct manifest_set **ret_s)
{
	cleanup(manifest_set_freep) struct manifest_set *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	list_init(&s->untold);
	list_init(&s->pending);
	s->sink = sink;
	s->userdata = userdata;
	s->node_name = strdup(node_name ? node_name : "");
	if (!s->node_name)
		return -ENOMEM;
	*ret_s = TAKE_PTR(s);
	return 0;
}

void manifest_set_free(struct manifest_set *s)
{
	struct object *obj;
	struct want *w;
	struct file *f;

	if (!s)
		return;
	for (size_t it = 0; (f = map_next(&s->files, &it));)
		file_free(f);
	for (size_t it = 0; (w = map_next(&s->wants, &it));)
		want_free(w);
	for (size_t it = 0; (obj = map_next(&s->objects, &it));)
		object_free(obj);
	map_deinit(&s->files);
	map_deinit(&s->wants);
	map_deinit(&s->objects);
	map_deinit(&s->uids);
	free(s->node_name);
	free(s);
}
