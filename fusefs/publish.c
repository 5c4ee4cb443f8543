/* Publish: a queue of jobs, one under way at a time. A job that begins becomes a plan; its steps travel to the publisher
 * in messages of bounded size, each after the answer to the one before it. A job whose publisher died is sent again from
 * its first step: steps whose result the tree shows are left out, a removal that finds nothing is a success.
 *
 * Where many volumes are to change, as those of the pods that share a Secret, each is switched first and all of them are tidied
 * up and read once then: a job whose new content is visible is put off (a rest) as long as the next one in the queue is the
 * update of another volume. Any other job comes after the rests, so nobody else finds a volume in between. The reads of a new volume
 * of many files are put off for them, too. */
#include "fusefs/publish_internal.h"

#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"
#include "fusefs/label.h"

/* Jobs that are put off. They keep what their volumes showed before, most of which may be one Secret's, so it is not counted: none
 * is put off while less than this part of the locked memory is free, of which others are not to be without what one of them would
 * give back. */
#define RESTS_MAX	 1024
#define RESTS_FREE_SHARE 4

#define BEFORE_RESTS_MAX 1024 /* updates that come before all of these; then they take turns, a message's steps each */

#define BEGUN_MAX 16 /* jobs in one turn that have nothing to be done for: whoever reads has the next turn */

#define TOLD_MAX 16384 /* results in one turn: more than are overtaken between two turns */

#define READ_ONLY_MAX 3 /* times that a job waits for a file system that was made read-only */

#define ERRNO_MAX 4095 /* the kernel's */

#define NEWER_PAYLOAD "overtaken by a newer payload"

/* --- jobs --- */

void job_free(struct job *j)
{
	if (!j)
		return;
	list_remove(&j->link);
	list_remove(&j->in_pod);
	plan_clear(&j->plan);
	payload_free(j->payload);
	free(j->old);
	pod_jobs_put(j->pod);
	free(j->plugin);
	free(j->name);
	free(j->ns);
	free(j->path);
	free(j);
}

int string_set(char **field, const char *s)
{
	if (!s)
		return 0;
	*field = strdup(s);
	return *field ? 0 : -ENOMEM;
}

int job_new(struct publish *p, enum job_kind kind, const char *uid, struct job **ret_j)
{
	cleanup_job struct job *j = calloc(1, sizeof *j);
	int r;

	if (!j)
		return -ENOMEM;
	list_init(&j->link);
	list_init(&j->in_pod);
	j->kind = kind;
	j->plan = PLAN_INIT(p->tree);
	r = pod_jobs_get(p, uid, &j->pod);
	if (r < 0)
		return r;
	j->uid = j->pod->uid;
	*ret_j = TAKE_PTR(j);
	return 0;
}

static void publish_wake(struct publish *p)
{
	loop_defer_set(p->turn);
}

/* It is in no queue, and is to be told. */
static void job_end(struct publish *p, struct job *j, int r)
{
	j->r = r;
	plan_clear(&j->plan);
	/* results may be many, where payloads are overtaken: they hold no locked memory */
	payload_free(TAKE_PTR(j->payload));
	if (r == PUBLISH_UNCHANGED)
		p->stats.n_unchanged++;
	else if (r == 0 && j->kind == JOB_VOLUME)
		p->stats.n_published++;
	else if (r == 0 && (j->kind == JOB_REMOVE_VOLUME || j->kind == JOB_REMOVE_POD))
		p->stats.n_removed++;
	else if (r < 0 && r != -ESTALE)
		p->stats.n_failed++;
	if (r < 0 && r != -ESTALE && !j->fn)
		log_warning(LOG_F({ "path", j->path }), "%s", err_text(&j->err));
	list_append(&p->done, &j->link);
	publish_wake(p);
}

static void job_finish(struct publish *p, struct job *j, int r)
{
	if (p->current == j)
		p->current = NULL;
	else
		job_leave_queue(p, j);
	p->stats.n_queued--;
	job_end(p, j, r);
}

static void job_cancel(struct publish *p, struct job *j, const char *why)
{
	err_set(&j->err, -ESTALE, "%s", why);
	job_finish(p, j, -ESTALE);
}

static int plan_new_content(struct publish *p, struct job *j)
{
	struct node *version, *files;
	struct volume *v;
	int r;

	r = volume_get(p, j->path, &v);
	if (r < 0)
		return r;
	j->old = calloc(1, sizeof *j->old);
	if (!j->old)
		return -ENOMEM;
	volume_trim(v);
	r = plan_volume(&j->plan, j->payload, volume_in_grace, v);
	if (r == 0 && plan_made(&j->plan, &version, &files))
		r = label_version(p->tree, version, files, j->payload, 0);
	return r;
}

static int job_plan(struct publish *p, struct job *j)
{
	j->plan.uid = j->uid;
	j->plan.plugin = j->plugin;
	j->plan.name = j->name;
	j->plan.ns = j->ns;
	j->plan.path = j->path;
	tree_set_time(p->tree, clock_realtime_usec());
	switch (j->kind) {
	case JOB_VOLUME:
		return plan_new_content(p, j);
	case JOB_REMOVE_VOLUME:
		return plan_remove_volume(&j->plan);
	case JOB_REMOVE_POD:
		return plan_remove_pod(&j->plan);
	case JOB_NAME_POD:
		return plan_name_pod(&j->plan);
	case JOB_EXPIRE:
		return plan_expire(&j->plan);
	case JOB_HEAL:
		return plan_heal(&j->plan, j->touch);
	case JOB_SWEEP:
		return plan_remove_staging(&j->plan);
	}
	return -EINVAL;
}

/* --- running a job --- */

/* What has failed is what is told. What could not be taken back stays, and is in nobody's way. */
static void job_cleaned(struct publish *p, struct job *j)
{
	plan_roll_back(&j->plan);
	job_finish(p, j, j->r);
}

static void job_fail(struct publish *p, struct job *j, int r, const struct err *why)
{
	struct volume *v = map_get_str(&p->volumes, j->path ?: "");

	if (j->cleaning) {
		log_warning(LOG_F({ "path", j->path }), "take back what was made: %s", err_text(why));
		job_cleaned(p, j);
		return;
	}
	j->err = *why;
	if (j->kind == JOB_VOLUME && v && plan_is_switched(&j->plan))
		v->good = false;
	if (j->kind == JOB_VOLUME && r == -ETIMEDOUT && (j->mends || plan_is_switched(&j->plan)))
		volume_shown(j);
	if (j->kind == JOB_REMOVE_VOLUME || j->kind == JOB_REMOVE_POD)
		volumes_doubt(p, j->path);
	if (j->kind == JOB_EXPIRE && r == -ETIMEDOUT)
		version_stays(p, j);
	j->r = r;
	plan_roll_back(&j->plan);
	j->n_done = j->n_sent = 0;
	j->cleaning = true;
	if (j->plan.n_steps == 0)
		job_finish(p, j, r);
}

/* What it has made stays: nobody could take it back without being held up there. */
static void job_fail_held(struct publish *p, struct job *j, const struct err *why)
{
	job_fail(p, j, why->code, why);
	if (p->current == j)
		job_fail(p, j, why->code, why);
}

int heal_enqueue(struct publish *p, const char *uid, const char *path, uint64_t touch)
{
	cleanup_job struct job *j = NULL;
	int r;

	r = job_new(p, JOB_HEAL, uid, &j);
	r = r ?: string_set(&j->path, path);
	if (r < 0)
		return r;
	j->touch = touch;
	job_enqueue(p, TAKE_PTR(j));
	return 0;
}

/* A publisher is believed as far as the tree shows what it has done. */
static int job_check(const struct job *j, struct err *e)
{
	bool removes = j->kind == JOB_REMOVE_VOLUME || j->kind == JOB_REMOVE_POD;

	if (removes && !j->cleaning && plan_find(&j->plan, j->path))
		return err_set(e, -EIO, "the publisher did not remove %s", j->path);
	for (size_t i = 0; i < j->plan.n_steps; i++) {
		const struct step *s = &j->plan.steps[i];

		if ((s->made_id || step_removes(s)) && !step_is_done(&j->plan, s))
			return err_set(e, -EIO, "the publisher did not %s %s", step_removes(s) ? "remove" : "make",
				       s->path);
	}
	return 0;
}

/* Whoever waits for the volume waits for these names, too. */
static void job_mend(struct publish *p, struct job *j)
{
	struct err e = ERR_INIT;
	int r;

	j->mends = true;
	j->n_done = j->n_sent = 0;
	plan_clear(&j->plan);
	r = plan_mend(&j->plan, j->payload);
	if (r == 0)
		return;
	err_set(&e, r, "publish %s: %s", j->path, strerror(-r));
	job_fail(p, j, r, &e);
}

/* A volume whose content is there, with all its names. */
static void volume_mended(struct publish *p, struct job *j)
{
	((struct volume *)map_get_str(&p->volumes, j->path))->good = true;
}

static void job_done(struct publish *p, struct job *j)
{
	struct err e = ERR_INIT;
	int r;

	r = job_check(j, &e);
	if (r < 0) {
		job_fail(p, j, r, &e);
		return;
	}
	if (j->cleaning) {
		job_cleaned(p, j);
		return;
	}
	switch (j->kind) {
	case JOB_VOLUME:
		if (j->mends) {
			volume_mended(p, j);
			break;
		}
		volume_published(p, j);
		if (j->plan.again) {
			job_mend(p, j);
			return;
		}
		break;
	case JOB_REMOVE_VOLUME:
		volume_drop(p, j->path);
		break;
	case JOB_REMOVE_POD:
		volumes_drop_pod(p, j->uid);
		break;
	case JOB_HEAL:
		volume_healed(p, j);
		break;
	case JOB_NAME_POD:
	case JOB_EXPIRE:
	case JOB_SWEEP:
		break;
	}
	job_finish(p, j, 0);
}

static void publish_detach(struct publish *p)
{
	loop_source_free(p->io);
	p->io = NULL;
	p->fd = close_fd(p->fd);
	p->pid = 0;
	p->sent_usec = p->asked_usec = 0;
}

/* Whether it may be done while the rests of others are put off: an update, and none of these is of its volume. */
static bool may_overtake(const struct publish *p, const struct job *j)
{
	const struct volume *v = j && j->kind == JOB_VOLUME ? map_get_str(&p->volumes, j->path) : NULL;

	return v && v->good && !v->rests;
}

static bool memory_is_scarce(void)
{
	struct secmem_stats s = secmem_stats();

	return s.limit_bytes - s.used_bytes < s.limit_bytes / RESTS_FREE_SHARE;
}

static bool next_waits(const struct publish *p)
{
	return p->n_rests < RESTS_MAX && p->n_before_rests < BEFORE_RESTS_MAX && !memory_is_scarce() &&
	       may_overtake(p, list_first(&p->queue, struct job, link));
}

bool job_may_rest(const struct publish *p, const struct job *j)
{
	return !j->cleaning && !(j->payload && j->payload->prompt) && next_waits(p) &&
	       !str_eq(list_first(&p->queue, struct job, link)->path, j->path);
}

static void job_rest(struct publish *p, struct job *j)
{
	struct volume *v = map_get_str(&p->volumes, j->path);

	v->rests = true;
	if (!j->rests_since_usec) /* or it is put off once more, in the middle of its rest */
		j->rests_since_usec = clock_monotonic_usec();
	p->current = NULL;
	list_append(&p->rests, &j->link);
	p->n_rests++;
	publish_wake(p);
}

/* The one that has been put off for longest becomes the current one. */
static void job_take_up(struct publish *p)
{
	struct job *j = list_first(&p->rests, struct job, link);
	struct volume *v = map_get_str(&p->volumes, j->path);

	v->rests = false;
	list_remove(&j->link);
	p->n_rests--;
	if (p->n_before_rests > 0)
		p->n_before_rests--;
	p->current = j;
}

/* Goes on with the current job. A message that cannot be sent means that the publisher is gone: its end of file follows
 * and the job waits for the next one. */
static void job_continue(struct publish *p)
{
	struct job *j = p->current;
	struct err e = ERR_INIT;
	int r;

	if (j->n_done == j->plan.n_steps) {
		job_done(p, j);
		j = p->current;
	}
	while (j && p->fd >= 0) {
		r = job_send(p, j);
		if (r != -ENOMEM && r != -ENOBUFS)
			return;
		err_set(&e, r, "publish %s: %s", j->path, strerror(-r));
		job_fail(p, j, r, &e);
		j = p->current;
	}
}

static bool is_unchanged(struct publish *p, struct job *j)
{
	const struct volume *v;
	struct plan_shown s;

	if (j->kind != JOB_VOLUME)
		return false;
	v = map_get_str(&p->volumes, j->path);
	j->plan.path = j->path;
	return v && v->good && digest_eq(&v->digest, &j->payload->digest) && plan_shown(&j->plan, &s) &&
	       plan_mount_dirs_are_whole(&j->plan, j->payload) && plan_live_is_whole(&j->plan, j->payload->live);
}

static void finish_unchanged(struct publish *p, struct job *j)
{
	const struct volume *v = map_get_str(&p->volumes, j->path);
	struct plan_shown shown;

	j->realtime_usec = v->realtime_usec;
	if (plan_shown(&j->plan, &shown)) {
		snprintf(j->plan.version, sizeof j->plan.version, "%s", shown.name);
		j->flat = shown.flat;
		volume_label(p, &shown, j->payload, v->realtime_usec);
	}
	job_finish(p, j, PUBLISH_UNCHANGED);
}

/* Nodes and the copies of a flat volume are in locked memory, all else of a plan is not. */
static void say_unplanned(const struct job *j, int r, struct err *e)
{
	if (r == -ENOMEM && secmem_was_full(e))
		err_wrap(e, r, "publish %s", j->path);
	else
		err_set(e, r, "publish %s: %s", j->path, strerror(-r));
}

/* The next job becomes the current one, if it can, or one that was put off. */
static void job_begin(struct publish *p)
{
	struct job *j = job_next(p);
	struct err e = ERR_INIT;
	int r;

	if (p->n_rests > 0 && !next_waits(p)) {
		if (p->fd < 0)
			return;
		job_take_up(p);
		if (held_refuses(p, p->current, &e) < 0)
			job_fail_held(p, p->current, &e);
		else
			job_continue(p);
		return;
	}
	if (!j)
		return;
	if (is_unchanged(p, j)) {
		finish_unchanged(p, j);
		return;
	}
	if (p->fd < 0)
		return;

	job_leave_queue(p, j);
	p->current = j;
	p->n_before_rests = p->n_rests > 0 ? p->n_before_rests + 1 : 0;
	r = held_refuses(p, j, &e);
	if (r == 0) {
		r = job_plan(p, j);
		if (r < 0)
			say_unplanned(j, r, &e);
		else
			r = held_refuses(p, j, &e);
	}
	if (r < 0)
		job_fail(p, j, r, &e);
	if (p->current)
		job_continue(p);
}

static void job_tell(struct job *take_j)
{
	cleanup_job struct job *j = take_j;
	struct publish_result res = { .version = j->plan.version, .realtime_usec = j->realtime_usec, .flat = j->flat };

	if (j->rests_since_usec)
		res.rested_usec = clock_monotonic_usec() - j->rests_since_usec;
	list_remove(&j->link);
	if (j->fn)
		j->fn(j->userdata, j->r, j->r >= 0 || j->shown ? &res : NULL, &j->err);
}

static bool has_work(const struct publish *p)
{
	return job_next(p) || p->n_rests > 0;
}

/* A callback may do anything, publish_free() included. */
static void publish_turn(struct loop_source *s, void *userdata)
{
	struct publish *p = userdata;
	size_t n_queued = 0; /* before the last one was begun: as many as now, and none of them can be */
	struct job *j;
	int n_told = 0;

	for (int n = 0; n < BEGUN_MAX && !p->current && n_queued != p->stats.n_queued; n++) {
		n_queued = p->stats.n_queued;
		job_begin(p);
	}
	p->is_telling = true;
	for (; n_told < TOLD_MAX && !p->is_freed && (j = list_first(&p->done, struct job, link)); n_told++)
		job_tell(j);
	p->is_telling = false;
	if (p->is_freed) {
		free(p);
		return;
	}
	if (!list_empty(&p->done) || (n_told > 0 && !p->current && has_work(p)))
		publish_wake(p);
}

static void publisher_lost(struct publish *p)
{
	void (*lost)(void *userdata) = p->lost;
	void *userdata = p->lost_userdata;

	publish_detach(p);
	if (lost)
		lost(userdata);
}

void publish_give_up(struct publish *p)
{
	struct job *j = p->current;
	struct err e = ERR_INIT;

	publish_detach(p);
	if (!j)
		return;
	err_set(&e, -ETIMEDOUT, "publish %s: %s", j->path, HELD);
	/* what stays is to go with the next payload, also where that is what is shown */
	volumes_doubt(p, j->path);
	job_fail_held(p, j, &e);
}

/* Whoever can make the file system read-only can do so at any moment, and again. */
static bool wait_for_writable(struct publish *p, struct job *j)
{
	if (!p->read_only || j->n_read_only >= READ_ONLY_MAX)
		return false;
	j->n_read_only++;
	return j->waits = p->read_only(p->read_only_userdata);
}

/* When steps are repeated, a later one may have removed the live file already. */
static void job_settle(struct publish *p, struct job *j)
{
	for (size_t i = j->n_done; i < j->n_sent; i++) {
		const struct step *s = &j->plan.steps[i];
		struct node *live = s->settles ? tree_node(p->tree, s->node_id) : NULL;

		if (live && s->op == ORDER_INVAL)
			tree_note_dropped(p->tree, live);
		else if (live)
			tree_settle(p->tree, live);
	}
}

static void answered(struct publish *p, const struct order_answer *a)
{
	struct job *j = p->current;
	struct err e = ERR_INIT;

	if (p->asked_usec && a->id == p->asked_id) {
		p->asked_usec = 0;
		p->n_answers++;
		return;
	}
	if (!j || a->id != j->order_id)
		return;
	p->sent_usec = 0;
	p->n_answers++;
	if (a->realtime_usec)
		j->realtime_usec = a->realtime_usec;
	if (a->failed != ORDER_DONE && a->failed < j->plan.n_steps) {
		const struct step *s = &j->plan.steps[a->failed];
		int r = a->error > 0 && a->error <= ERRNO_MAX ? -(int)a->error : -EIO;

		if (r == -EROFS && wait_for_writable(p, j))
			return;
		err_set(&e, r, "%s %s: %s", order_op_name(s->op), s->path, strerror(-r));
		job_fail(p, j, r, &e);
	} else {
		job_settle(p, j);
		j->n_done = j->n_sent;
		if (j->n_done >= j->plan.rest_step && j->n_done < j->plan.n_steps && job_may_rest(p, j))
			job_rest(p, j);
	}
	if (p->current)
		job_continue(p);
	/* before anybody is told: the publisher does not wait for it */
	if (!p->current)
		job_begin(p);
}

static void publish_readable(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct publish *p = userdata;
	struct order_answer a;
	ssize_t n = recv(fd, &a, sizeof a, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == (ssize_t)sizeof a)
		answered(p, &a);
	else
		publisher_lost(p);
}

void publish_on_healed(struct publish *p, publish_healed_fn fn, void *userdata)
{
	p->healed = fn;
	p->healed_userdata = userdata;
}

/* --- the interface --- */

int publish_new(struct loop *l, struct tree *t, struct publish **ret_p)
{
	cleanup(publish_freep) struct publish *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return -ENOMEM;
	p->loop = l;
	p->tree = t;
	p->fd = p->fuse = -1;
	list_init(&p->queue);
	list_init(&p->later);
	list_init(&p->done);
	list_init(&p->retired);
	list_init(&p->rests);
	list_init(&p->held);
	r = loop_add_defer(l, publish_turn, p, &p->turn);
	r = r ?: loop_add_timer(l, retired_due, p, &p->timer);
	r = r ?: loop_add_timer(l, held_due, p, &p->held_timer);
	if (r < 0)
		return r;
	*ret_p = TAKE_PTR(p);
	return 0;
}

/* Not yet told: a job's userdata would have no owner any more. */
static void job_abandon(struct job *j)
{
	struct err e = ERR_INIT;

	if (j && j->fn) {
		err_set(&e, -ECANCELED, "publishing has ended");
		j->fn(j->userdata, -ECANCELED, NULL, &e);
	}
	job_free(j);
}

void publish_free(struct publish *p)
{
	struct job *j;

	if (!p)
		return;
	publish_detach(p);
	loop_source_free(p->turn);
	loop_source_free(p->timer);
	loop_source_free(p->held_timer);
	job_abandon(p->current);
	while ((j = list_first(&p->rests, struct job, link)))
		job_abandon(j);
	while ((j = job_next(p)))
		job_abandon(j);
	while ((j = list_first(&p->done, struct job, link)))
		job_abandon(j);
	held_free_all(p);
	volumes_free(p);
	map_deinit(&p->waiting);
	map_deinit(&p->pods); /* where is_telling, one of them is still there */
	if (p->is_telling)
		p->is_freed = true;
	else
		free(p);
}

static void publish_restart(struct publish *p)
{
	if (!p->current)
		return;
	p->current->waits = false;
	p->current->n_done = 0;
	job_continue(p);
}

int publish_attach(struct publish *p, int take_fd, pid_t pid, void (*lost)(void *userdata), void *userdata)
{
	cleanup_fd int fd = take_fd;
	struct loop_source *io;
	int r;

	r = loop_add_io(p->loop, fd, EPOLLIN, publish_readable, p, &io);
	if (r < 0)
		return r;
	publish_detach(p);
	p->fd = TAKE_FD(fd);
	p->io = io;
	p->pid = pid;
	p->lost = lost;
	p->lost_userdata = userdata;

	publish_restart(p);
	publish_wake(p);
	return 0;
}

void publish_on_read_only(struct publish *p, publish_read_only_fn fn, void *userdata)
{
	p->read_only = fn;
	p->read_only_userdata = userdata;
}

void publish_repeat(struct publish *p)
{
	if (p->current && p->current->waits)
		publish_restart(p);
}

void publish_set_fuse(struct publish *p, int fd)
{
	p->fuse = fd;
}

bool publish_is_publisher(const struct publish *p, pid_t pid)
{
	return pid > 0 && p->pid == pid;
}

/* A name that becomes a folder or link of ours: nothing that climbs or that could be taken for one of our own. */
static bool is_name(const char *s)
{
	return s && *s && !strchr(s, '/') && strlen(s) <= PAYLOAD_NAME_MAX && !str_eq(s, ".") && !str_starts(s, "..");
}

static bool is_uid(const char *s)
{
	return is_name(s) && !str_eq(s, PLAN_BY_NAME);
}

int publish_name_pod(struct publish *p, const char *uid, const char *ns, const char *name, publish_fn fn,
		     void *userdata)
{
	cleanup_job struct job *j = NULL;
	int r;

	if (!is_uid(uid) || !is_name(ns) || !is_name(name))
		return -EINVAL;
	r = job_new(p, JOB_NAME_POD, uid, &j);
	r = r ?: string_set(&j->ns, ns);
	r = r ?: string_set(&j->name, name);
	r = r ?: string_set(&j->path, uid);
	if (r < 0)
		return r;
	j->fn = fn;
	j->userdata = userdata;
	job_enqueue(p, TAKE_PTR(j));
	return 0;
}

static int volume_job_new(struct publish *p, enum job_kind kind, const struct volume_path *at, publish_fn fn,
			  void *userdata, struct job **ret_j)
{
	cleanup_job struct job *j = NULL;
	int r;

	if (!is_uid(at->pod_uid) || !is_name(at->plugin) || !is_name(at->name))
		return -EINVAL;
	r = job_new(p, kind, at->pod_uid, &j);
	r = r ?: string_set(&j->plugin, at->plugin);
	r = r ?: string_set(&j->name, at->name);
	if (r < 0)
		return r;
	j->path = volume_path_text(at);
	if (!j->path)
		return -ENOMEM;
	j->fn = fn;
	j->userdata = userdata;
	*ret_j = TAKE_PTR(j);
	return 0;
}

/* The payload that waits for this volume is not wanted any more. */
static void cancel_waiting(struct publish *p, const char *path, const char *why)
{
	struct job *j = map_get_str(&p->waiting, path);

	if (j)
		job_cancel(p, j, why);
}

/* Of whatever kind: the removal does not wait for any of it, and the pod's name may be another one's next. */
static void cancel_waiting_of_pod(struct publish *p, const struct pod_jobs *pod)
{
	struct job *j;

	list_for_each (j, &pod->waiting, in_pod)
		if (j->kind != JOB_REMOVE_POD)
			job_cancel(p, j, "overtaken by the removal of the pod");
}

/* Nobody reads it. One that is not whole, or not healed yet, shows something all the same. */
static bool is_new(const struct publish *p, const char *path)
{
	const struct volume *v = map_get_str(&p->volumes, path);

	return !v || !v->realtime_usec;
}

int publish_volume(struct publish *p, const struct volume_path *at, struct payload *take_payload, publish_fn fn,
		   void *userdata)
{
	cleanup_payload struct payload *payload = take_payload;
	struct job *j, *waits;
	int r;

	assert(payload->sealed);
	r = volume_job_new(p, JOB_VOLUME, at, fn, userdata, &j);
	if (r < 0)
		return r;
	j->payload = TAKE_PTR(payload);
	j->fresh = is_new(p, j->path);
	waits = map_get_str(&p->waiting, j->path);
	if (waits && job_renew(waits, j)) {
		err_set(&j->err, -ESTALE, "%s", NEWER_PAYLOAD);
		job_end(p, j, -ESTALE);
		return 0;
	}
	cancel_waiting(p, j->path, NEWER_PAYLOAD);
	r = map_add_str(&p->waiting, j->path, j);
	if (r < 0) {
		job_free(j);
		return r;
	}
	job_enqueue(p, j);
	return 0;
}

int publish_remove_volume(struct publish *p, const struct volume_path *at, publish_fn fn, void *userdata)
{
	struct job *j;
	int r;

	r = volume_job_new(p, JOB_REMOVE_VOLUME, at, fn, userdata, &j);
	if (r < 0)
		return r;
	cancel_waiting(p, j->path, "overtaken by the removal of the volume");
	job_enqueue(p, j);
	return 0;
}

int publish_remove_pod(struct publish *p, const char *uid, publish_fn fn, void *userdata)
{
	cleanup_job struct job *j = NULL;
	int r;

	if (!is_uid(uid))
		return -EINVAL;
	r = job_new(p, JOB_REMOVE_POD, uid, &j);
	r = r ?: string_set(&j->path, uid);
	if (r < 0)
		return r;
	j->fn = fn;
	j->userdata = userdata;
	cancel_waiting_of_pod(p, j->pod);
	job_enqueue(p, TAKE_PTR(j));
	return 0;
}

struct publish_stats publish_stats(const struct publish *p)
{
	struct publish_stats stats = p->stats;
	const struct retired *r;

	list_for_each (r, &p->retired, link)
		stats.n_retired++;
	stats.n_volumes = map_count(&p->volumes);
	stats.n_aside = held_count(p);
	stats.attached = p->fd >= 0;
	stats.n_answers = p->n_answers;
	/* asked goes first; and what has come and was not read yet is an answer */
	if ((p->asked_usec || p->sent_usec) && !loop_source_is_pending(p->io))
		stats.unanswered_usec = loop_now(p->loop) - (p->asked_usec ?: p->sent_usec);
	return stats;
}
