/* Publish: what is known of the volumes, and their retired versions. What a volume shows is the tree's to know; here is what it
 * cannot tell: whether the last update came to its end, and which versions are to stay for a while because a path walk may still
 * be in them. That is in memory alone, and of a volume that an earlier process has left it is found out, or made so
 * (publish_resume.c). */
#include "fusefs/publish_internal.h"

#include "common/clock.h"
#include "common/str.h"
#include "fusefs/label.h"

/* Versions in their grace, per volume: at least RETIRED_MIN. More while they are small, because a reader that is not
 * scheduled for some milliseconds can be overtaken by several quick updates. */
#define RETIRED_MIN	  4
#define RETIRED_MAX	  64
#define RETIRED_BYTES_MAX (1u << 20)

static void retired_free(struct retired *r)
{
	list_remove(&r->link);
	list_remove(&r->in_volume);
	r->volume->n_retired--;
	r->volume->retired_bytes -= r->bytes;
	free(r);
}

static void volume_free(struct volume *v)
{
	struct retired *r;

	while ((r = list_first(&v->retired, struct retired, in_volume)))
		retired_free(r);
	free(v->path);
	free(v->error);
	free(v);
}

char *volume_path_text(const struct volume_path *at)
{
	char *path;

	return asprintf(&path, "%s/volumes/%s/%s", at->pod_uid, at->plugin, at->name) < 0 ? NULL : path;
}

int volume_get(struct publish *p, const char *path, struct volume **ret_v)
{
	struct volume *v = map_get_str(&p->volumes, path);
	int r;

	if (!v) {
		v = calloc(1, sizeof *v);
		if (!v)
			return -ENOMEM;
		list_init(&v->retired);
		v->path = strdup(path);
		r = v->path ? map_add_str(&p->volumes, v->path, v) : -ENOMEM;
		if (r < 0) {
			volume_free(v);
			return r;
		}
	}
	*ret_v = v;
	return 0;
}

void volume_drop(struct publish *p, const char *path)
{
	struct volume *v = map_remove_str(&p->volumes, path);

	if (v)
		volume_free(v);
}

static bool volume_is_below(const struct volume *v, const char *top)
{
	size_t len = strlen(top);

	return strncmp(v->path, top, len) == 0 && (v->path[len] == '/' || v->path[len] == 0);
}

void volumes_drop_pod(struct publish *p, const char *uid)
{
	struct volume *v;

	for (size_t it = 0; (v = map_next(&p->volumes, &it));) {
		if (volume_is_below(v, uid)) {
			map_remove_str(&p->volumes, v->path);
			volume_free(v);
		}
	}
}

void volumes_free(struct publish *p)
{
	struct volume *v;

	for (size_t it = 0; (v = map_next(&p->volumes, &it));) {
		map_remove_str(&p->volumes, v->path);
		volume_free(v);
	}
	map_deinit(&p->volumes);
}

void volumes_doubt(struct publish *p, const char *top)
{
	struct volume *v;

	for (size_t it = 0; (v = map_next(&p->volumes, &it));)
		if (volume_is_below(v, top))
			v->good = false;
}

void volume_trim(struct volume *v)
{
	while (v->n_retired >= RETIRED_MIN && (v->n_retired >= RETIRED_MAX || v->retired_bytes > RETIRED_BYTES_MAX))
		retired_free(list_first(&v->retired, struct retired, in_volume));
}

static void timer_arm(struct publish *p)
{
	struct retired *r = list_first(&p->retired, struct retired, link);
	uint64_t now = loop_now(p->loop);

	if (r)
		loop_timer_set(p->timer, r->due_usec > now ? r->due_usec - now : 0);
	else
		loop_timer_off(p->timer);
}

static void volume_retire(struct publish *p, struct volume *v, const char *version, struct retired *r)
{
	r->volume = v;
	r->due_usec = loop_now(p->loop) + PUBLISH_GRACE_USEC;
	r->bytes = v->bytes;
	snprintf(r->version, sizeof r->version, "%s", version);
	list_append(&p->retired, &r->link);
	list_append(&v->retired, &r->in_volume);
	v->n_retired++;
	v->retired_bytes += r->bytes;
	timer_arm(p);
}

bool volume_in_grace(void *userdata, const char *version)
{
	const struct volume *v = userdata;
	const struct retired *r;

	list_for_each (r, &v->retired, in_volume)
		if (str_eq(r->version, version))
			return true;
	return false;
}

/* A block is one Secret's revision, and its files follow each other more often than not: good enough for a limit. */
static size_t payload_bytes(const struct payload *pl)
{
	const struct secblock *last = NULL;
	size_t sum = 0;

	for (size_t i = 0; i < pl->n_files; i++) {
		const struct secblock *block = pl->files[i].content.block;

		if (block && block != last)
			sum += block->len;
		last = block;
	}
	return sum;
}

uint64_t version_updated(const struct node *version)
{
	const struct origins *o;
	uint32_t index;

	o = version ? node_origins(version, &index) : NULL;
	return o ? origins_updated(o) : 0;
}

void volume_label(struct publish *p, const struct plan_shown *s, const struct payload *pl, uint64_t updated_usec)
{
	(void)label_refresh(p->tree, s->version, s->flat ? s->vol : s->version, pl, updated_usec);
}

void volume_shown(struct job *j)
{
	struct plan_shown s;

	/* names of what is new may be missing, and where files are switched one by one some are old ones */
	if (!plan_shown(&j->plan, &s) || !plan_is_whole(&j->plan, &s))
		return;
	j->flat = s.flat;
	j->realtime_usec = version_updated(s.version) ?: j->realtime_usec ?: clock_realtime_usec();
	snprintf(j->plan.version, sizeof j->plan.version, "%s", s.name);
	j->shown = true;
}

void volume_published(struct publish *p, struct job *j)
{
	struct volume *v = map_get_str(&p->volumes, j->path);
	struct plan_shown s;

	if (!j->realtime_usec)
		j->realtime_usec = clock_realtime_usec();
	if (plan_shown(&j->plan, &s)) {
		j->flat = s.flat;
		tree_drop_hidden(p->tree, s.version);
		j->realtime_usec = version_updated(s.version) ?: j->realtime_usec;
		volume_label(p, &s, j->payload, j->realtime_usec);
	}
	v->digest = j->payload->digest;
	v->good = !j->plan.again;
	v->realtime_usec = j->realtime_usec;
	if (j->plan.old_version[0])
		volume_retire(p, v, j->plan.old_version, TAKE_PTR(j->old));
	v->bytes = payload_bytes(j->payload);
	/* without memory for it the next update does it */
	if (j->plan.live_again)
		(void)heal_enqueue(p, j->uid, j->path, 0);
}

/* Versions that are not the current one: as after any update, they stay for their grace. */
static void retire_others(struct publish *p, struct volume *v, const struct node *vol, const char *version)
{
	for (struct node *c = node_next_child(vol, 0); c; c = node_next_child(vol, node_cookie(c))) {
		struct retired *r;

		if (node_kind(c) != NODE_DIR || node_name(c)[0] != '.' || node_name(c)[1] != '.' ||
		    str_eq(node_name(c), version) || volume_in_grace(v, node_name(c)))
			continue;
		r = calloc(1, sizeof *r);
		if (!r) /* the next update removes it */
			return;
		volume_retire(p, v, node_name(c), r);
	}
}

void volume_healed(struct publish *p, struct job *j)
{
	struct volume *v = map_get_str(&p->volumes, j->path);
	struct plan_shown s;

	if (!v || !plan_shown(&j->plan, &s))
		return;
	tree_drop_hidden(p->tree, s.version);
	if (!s.flat)
		retire_others(p, v, s.vol, s.name);
	/* its process died before it knew */
	if (!version_updated(s.version)) {
		v->realtime_usec = j->realtime_usec ?: s.changed_usec;
		tree_note_shown(p->tree, s.version, v->realtime_usec);
	}
	/* without memory for it the next payload does it */
	if (j->plan.again) {
		(void)heal_enqueue(p, j->uid, j->path, v->doubted);
		return;
	}
	v->good = true;
	if (v->doubted && *p->doubt == v->doubted)
		*p->doubt = 0;
	v->doubted = 0;
	if (p->healed)
		p->healed(p->healed_userdata, j->uid, node_name(s.vol));
}

static int retired_expire(struct publish *p, const struct retired *r)
{
	cleanup_free char *uid = strndup(r->volume->path, strcspn(r->volume->path, "/"));
	cleanup_job struct job *j = NULL;
	int err;

	err = uid ? job_new(p, JOB_EXPIRE, uid, &j) : -ENOMEM;
	err = err ?: string_set(&j->path, r->volume->path);
	err = err ?: held_refuses(p, j, NULL);
	if (err < 0)
		return err;
	memcpy(j->plan.old_version, r->version, sizeof j->plan.old_version);
	job_enqueue(p, TAKE_PTR(j));
	return 0;
}

void version_stays(struct publish *p, const struct job *j)
{
	struct volume *v = map_get_str(&p->volumes, j->path);
	struct retired *r = v ? calloc(1, sizeof *r) : NULL;

	if (r) /* or the next update removes it */
		volume_retire(p, v, j->plan.old_version, r);
}

/* A version for whose end there is no memory, or in whose folders a publisher hangs, stays for one grace more. */
void retired_due(struct loop_source *s, void *userdata)
{
	struct publish *p = userdata;
	uint64_t now = loop_now(p->loop);
	struct retired *r;

	while ((r = list_first(&p->retired, struct retired, link)) && r->due_usec <= now) {
		if (retired_expire(p, r) == 0) {
			retired_free(r);
			continue;
		}
		r->due_usec = now + PUBLISH_GRACE_USEC;
		list_remove(&r->link);
		list_append(&p->retired, &r->link);
	}
	timer_arm(p);
}

bool publish_find(const struct publish *p, const struct volume_path *at, struct publish_result *ret_res,
		  bool *ret_whole)
{
	cleanup_free char *path = volume_path_text(at);
	const struct volume *v = path ? map_get_str(&p->volumes, path) : NULL;
	struct plan plan = PLAN_INIT(p->tree);
	struct plan_shown s;

	plan.path = path;
	if (!v || !v->realtime_usec || !plan_shown(&plan, &s))
		return false;
	*ret_whole = v->good || (!v->doubted && plan_is_whole(&plan, &s));
	*ret_res = (struct publish_result){ .version = s.name, .realtime_usec = v->realtime_usec, .flat = s.flat };
	return true;
}

void publish_set_error(struct publish *p, const struct volume_path *at, const char *error)
{
	cleanup_free char *path = volume_path_text(at), *copy = *error ? strdup(error) : NULL;
	struct volume *v = path ? map_get_str(&p->volumes, path) : NULL;

	/* without memory for it the one of before is better than none */
	if (!v || (*error && !copy) || str_eq(v->error, copy))
		return;
	free(v->error);
	v->error = TAKE_PTR(copy);
}

const char *publish_error(const struct publish *p, const char *path)
{
	const struct volume *v = map_get_str(&p->volumes, path);

	return v ? v->error : p->unheard ? UNHEARD : NULL;
}

const struct origins *publish_origins(const struct publish *p, const struct volume_path *at)
{
	cleanup_free char *path = volume_path_text(at);
	struct plan plan = PLAN_INIT(p->tree);
	struct plan_shown s;
	uint32_t index;

	plan.path = path;
	return path && plan_shown(&plan, &s) ? node_origins(s.labelled, &index) : NULL;
}
