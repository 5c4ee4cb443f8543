/* Handout: each question is a run: it gathers the objects that it takes, and then makes the answer of them. All that it
 * holds is freed, and so wiped, before the answer is given; the answer itself is the control socket's. Who was given
 * values is logged, whatever the log is set to but for warnings alone. */
#include "agent/handout.h"

#include "agent/environment.h"
#include "agent/gather.h"
#include "agent/mounts.h"
#include "agent/pod_env.h"
#include "agent/pull_config.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/str.h"

/* Limits: names that are told as missing; what is held for one question, so that a few of them do not fill the memory
 * that there is for Secrets. */
#define MISSING_MAX	      ((size_t)1024)
#define ENVIRONMENT_FETCH_MAX ((size_t)32 << 20)
#define PULL_FETCH_MAX	      ((size_t)16 << 20)

struct handout {
	struct handout_world world;
	struct list runs;
};

/* What is made of what was gathered. 0: *ret is the answer; CONTROL_LATER: more has to be gathered. */
struct run;
typedef int (*run_fn)(struct run *run, json_t **ret, struct err *e);

struct run {
	struct list link;
	struct handout *handout;
	struct pod *pod;
	const struct pod_container *container; /* in pod; NULL: it is about the pod */
	const char *what; /* for the log; NULL: there is no value in it */
	bool hides_secrets;
	struct gather *gather;
	uint64_t until_usec; /* from then on nothing more is fetched */
	run_fn make;
	struct control_later *later;
	json_t *notes;
};

static int no_memory(struct err *e)
{
	return err_set(e, -ENOMEM, "out of memory");
}

/* ---- runs ---- */

static void run_free(struct run *run)
{
	if (!run)
		return;
	list_remove(&run->link);
	gather_free(run->gather);
	json_decref(run->notes);
	pod_unref(run->pod);
	free(run);
}
DEFINE_CLEANUP(struct run *, run_free);

static void run_cancel(void *owner)
{
	run_free(owner);
}

static int run_new(struct handout *h, const struct pod_state *s, const struct pod_container *c,
		   struct control_later *later, run_fn make, size_t bytes_max, struct run **ret, struct err *e)
{
	cleanup(run_freep) struct run *run = calloc(1, sizeof(*run));

	if (!run)
		return no_memory(e);
	list_init(&run->link);
	run->handout = h;
	run->pod = pod_ref(s->pod);
	run->container = c;
	run->later = later;
	run->make = make;
	run->until_usec = clock_monotonic_usec() + SOURCE_FETCH_USEC;
	run->notes = json_array();
	if (!run->notes || gather_new(h->world.source, h->world.store, s->pod->ns, bytes_max, &run->gather) < 0)
		return no_memory(e);
	list_append(&h->runs, &run->link);
	*ret = TAKE_PTR(run);
	return 0;
}

static int note(struct run *run, const char *text)
{
	return json_array_append_new(run->notes, json_text(text));
}

static int run_add(struct run *run, enum source_thing thing, const char *name, struct err *e)
{
	int r = gather_add(run->gather, thing, name);

	if (r == -E2BIG)
		return err_set(e, -EINVAL, "pod %s: more than %d Secrets and ConfigMaps are referred to",
			       pod_display(run->pod), GATHER_OBJECTS_MAX);
	return r < 0 ? no_memory(e) : 0;
}

/* Of what is not fresh, or not as its file has it: so that nobody takes it for that. */
static int note_what_is_old(struct run *run)
{
	char text[2 * ERR_TEXT_MAX], time[STR_TIME_MAX];

	for (size_t i = 0; i < gather_count(run->gather); i++) {
		const struct gather_object *o = gather_at(run->gather, i);

		if (!o->secret || !o->err.text[0])
			continue;
		if (o->as_of_usec)
			snprintf(text, sizeof(text), "%s; taken is what was told of it at %s", err_text(&o->err),
				 str_format_time(o->as_of_usec, time));
		else
			snprintf(text, sizeof(text), "%s; taken is what was good before", err_text(&o->err));
		if (note(run, text) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Who has been given what; and who has not. */
static void log_run(const struct run *run, int r, const struct err *e)
{
	char pid[16];

	if (!run->what)
		return;
	snprintf(pid, sizeof(pid), "%d", (int)run->later->pid);
	log_info(LOG_F({ "pod", pod_display(run->pod) }, { "container", run->container ? run->container->name : NULL },
		       { "pid", pid }, { "uid", "0" }, { "error", r < 0 ? err_text(e) : NULL }),
		 r < 0 ? "%s: asked for, not handed out" : "%s: handed out", run->what);
}

static int make_gathered(struct run *run, json_t **ret, struct err *e)
{
	int r = gather_result(run->gather, e);

	return r < 0 ? r : run->make(run, ret, e);
}

/* The answer, once everything is there. */
static int run_make(struct run *run, json_t **ret, struct err *e)
{
	int r;

	r = make_gathered(run, ret, e);
	if (r != CONTROL_LATER)
		log_run(run, r, e);
	return r;
}

static void on_gathered(void *userdata)
{
	struct run *run = userdata;
	struct control_later *later = run->later;
	struct err e = ERR_INIT;
	json_t *json = NULL;
	int r;

	r = run_make(run, &json, &e);
	if (r == CONTROL_LATER)
		return;
	run_free(run);
	control_answer(later, r, json, &e);
}

/* CONTROL_LATER: the run goes on by itself; else it is over. */
static int run_start(struct run *take_run, json_t **ret, struct err *e)
{
	cleanup(run_freep) struct run *run = take_run;
	int r;

	r = gather_start(run->gather, run->until_usec, on_gathered, run) ? run_make(run, ret, e) : CONTROL_LATER;
	if (r != CONTROL_LATER)
		return r;
	run->later->cancel = run_cancel;
	run->later->owner = run;
	TAKE_PTR(run);
	return CONTROL_LATER;
}

/* ---- the environment ---- */

static enum source_thing thing_of(enum object_kind kind)
{
	return kind == OBJECT_SECRET ? SOURCE_SECRET : SOURCE_CONFIG_MAP;
}

static int refer(void *userdata, enum object_kind kind, const char *name, struct err *e)
{
	struct run *run = userdata;

	return run->hides_secrets && kind == OBJECT_SECRET ? 0 : run_add(run, thing_of(kind), name, e);
}

static int find(void *userdata, enum object_kind kind, const char *name, const struct secret **ret, struct err *e)
{
	const struct run *run = userdata;
	const struct gather_object *o;

	if (run->hides_secrets && kind == OBJECT_SECRET)
		return ENVIRONMENT_HIDDEN;
	o = gather_find(run->gather, thing_of(kind), name);
	if (!o)
		return no_memory(e);
	*ret = o->secret;
	return o->secret ? 0 : err_set(e, o->unanswered ? -EAGAIN : o->err.code, "%s", err_text(&o->err));
}

static int make_environment(struct run *run, struct environment **ret_env, struct err *e)
{
	const struct environment_options options = { .allocatable = pods_allocatable(run->handout->world.pods),
						     .find = find,
						     .userdata = run };

	return environment_make(run->pod, run->container, &options, ret_env, e);
}

static struct event_pod event_pod_of(const struct pod *pod)
{
	return (struct event_pod){
		.ns = pod->ns, .name = pod->name, .uid = pod->uid, .resource_version = pod->resource_version
	};
}

static int tell_notes(struct run *run, const struct environment *env)
{
	for (size_t i = 0; i < environment_count_notes(env); i++)
		if (note(run, environment_note(env, i)) < 0)
			return -ENOMEM;
	return 0;
}

static int make_env(struct run *run, json_t **ret, struct err *e)
{
	cleanup_environment struct environment *env = NULL;
	int r;

	r = make_environment(run, &env, e);
	if (r < 0)
		return r;
	if (note_what_is_old(run) < 0 || tell_notes(run, env) < 0)
		return no_memory(e);
	*ret = json_pack("{s:o, s:O}", "env", environment_json(env), "notes", run->notes);
	return *ret ? 0 : no_memory(e);
}

static int check_switch(const struct handout *h, struct err *e)
{
	if (h->world.config->serve_environment)
		return 0;
	return err_set(e, -EACCES,
		       "values of Secrets are not handed out: serveEnvironment is false (secretlet.yaml(5))");
}

int handout_env(struct handout *h, const struct pod_state *s, const char *container, struct control_later *later,
		json_t **ret, struct err *e)
{
	const struct pod_container *c = NULL;
	cleanup(run_freep) struct run *run = NULL;
	int r;

	r = check_switch(h, e);
	if (r < 0)
		return r;
	if (s->cached)
		return err_set(e, -EAGAIN,
			       "pod %s is known from the offline cache alone, which has no environment of it",
			       pod_display(s->pod));
	r = mounts_find_container(s->pod, container, &c, e);
	if (r < 0)
		return r;
	r = run_new(h, s, c, later, make_env, ENVIRONMENT_FETCH_MAX, &run, e);
	if (r < 0)
		return r;
	run->what = "environment";
	r = environment_refer(c, refer, run, e);
	return r < 0 ? r : run_start(TAKE_PTR(run), ret, e);
}

/* ---- mounts ---- */

static int make_mounts(struct run *run, json_t **ret, struct err *e)
{
	cleanup_environment struct environment *env = NULL;
	int r = 0;

	if (mounts_need_environment(run->pod, run->container))
		r = make_environment(run, &env, e);
	return r < 0 ? r : mounts_make(run->pod, run->container, run->handout->world.config->pods_dir, env, ret, e);
}

int handout_mounts(struct handout *h, const struct pod_state *s, const char *container, struct control_later *later,
		   json_t **ret, struct err *e)
{
	const struct pod_container *c = NULL;
	cleanup(run_freep) struct run *run = NULL;
	int r;

	r = mounts_find_container(s->pod, container, &c, e);
	if (r < 0)
		return r;
	r = run_new(h, s, c, later, make_mounts, ENVIRONMENT_FETCH_MAX, &run, e);
	if (r < 0)
		return r;
	run->hides_secrets = true;
	if (mounts_need_environment(s->pod, c))
		r = environment_refer(c, refer, run, e);
	return r < 0 ? r : run_start(TAKE_PTR(run), ret, e);
}

/* ---- pull secrets ---- */

static int tell_missing(const struct run *run, const char *names)
{
	cleanup_free char *text = str_format("Unable to retrieve some image pull secrets (%s); attempting to pull the "
					     "image may not succeed.",
					     names);
	const struct event_pod pod = event_pod_of(run->pod);

	if (!text)
		return -ENOMEM;
	if (run->handout->world.events)
		event_sender_notice(run->handout->world.events, EVENT_NO_PULL_SECRET, &pod, text);
	return 0;
}

static int note_skipped(struct run *run, const struct gather_object *o, const char *why)
{
	char text[2 * ERR_TEXT_MAX];

	if (o->secret)
		snprintf(text, sizeof(text), "secret %s/%s: %s: skipped", run->pod->ns, o->name, why);
	else
		snprintf(text, sizeof(text), "%s: skipped", why);
	return note(run, text);
}

/* Merges them in the order in which they were added. What is missing or malformed is left out, and that is noted. */
static int merge(struct run *run, json_t *auths, struct err *e)
{
	cleanup_buf struct buf missing = BUF_INIT(MISSING_MAX);
	int r;

	for (size_t i = 0; i < gather_count(run->gather); i++) {
		const struct gather_object *o = gather_at(run->gather, i);
		struct err why = ERR_INIT;

		if (!o->secret && o->unanswered)
			return err_set(e, -EAGAIN, "%s", err_text(&o->err));
		if (!o->secret) {
			(void)buf_printf(&missing, "%s%s", missing.len ? ", " : "", o->name);
			r = note_skipped(run, o, err_text(&o->err));
		} else {
			r = pull_config_add(auths, o->secret, &why);
			if (r == -EINVAL)
				r = note_skipped(run, o, err_text(&why));
		}
		if (r < 0)
			return no_memory(e);
	}
	return missing.len > 0 && tell_missing(run, missing.data) < 0 ? no_memory(e) : 0;
}

static int make_pull_config(struct run *run, json_t **ret, struct err *e)
{
	cleanup_json json_t *auths = json_object();
	int r;

	if (!auths)
		return no_memory(e);
	r = merge(run, auths, e);
	if (r < 0)
		return r;
	if (note_what_is_old(run) < 0)
		return no_memory(e);
	*ret = json_pack("{s:{s:O}, s:O}", "config", "auths", auths, "notes", run->notes);
	return *ret ? 0 : no_memory(e);
}

static int add_pull_secrets(struct run *run, const struct name_list *names, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < names->n; i++)
		r = run_add(run, SOURCE_SECRET, names->all[i], e);
	return r;
}

/* The pod has none of its own: those of its ServiceAccount, as they are now. */
static int take_account(struct run *run, json_t **ret, struct err *e)
{
	const struct gather_object *account = gather_at(run->gather, 0);
	cleanup(name_list_deinit) struct name_list names = { .n = 0 };
	char text[2 * ERR_TEXT_MAX];
	int r = 0;

	/* nobody knows whether there are any; an answer without them would replace good credentials by none */
	if (!account->account && account->err.code != -EACCES && account->err.code != -ENOENT &&
	    account->err.code != -EOPNOTSUPP)
		return err_set(e, account->unanswered ? -EAGAIN : account->err.code, "%s", err_text(&account->err));
	if (account->account)
		r = pod_pull_secrets_read(account->account, &names);
	if (r == 0 && !account->account && account->err.code != -EOPNOTSUPP) {
		snprintf(text, sizeof(text),
			 "%s: its imagePullSecrets, which the API server copies into each new pod, "
			 "are not looked at",
			 err_text(&account->err));
		r = note(run, text);
	}
	gather_free(TAKE_PTR(run->gather));
	if (r < 0 || gather_new(run->handout->world.source, run->handout->world.store, run->pod->ns, PULL_FETCH_MAX,
				&run->gather) < 0)
		return no_memory(e);
	r = add_pull_secrets(run, &names, e);
	if (r < 0)
		return r;
	run->make = make_pull_config;
	return gather_start(run->gather, run->until_usec, on_gathered, run) ? make_gathered(run, ret, e)
									    : CONTROL_LATER;
}

int handout_pull_config(struct handout *h, const struct pod_state *s, struct control_later *later, json_t **ret,
			struct err *e)
{
	bool has_own = s->pod->pull_secrets.n > 0;
	cleanup(run_freep) struct run *run = NULL;
	int r;

	r = check_switch(h, e);
	if (r < 0)
		return r;
	if (s->cached)
		return err_set(e, -EAGAIN,
			       "pod %s is known from the offline cache alone, which has no pull secrets of it",
			       pod_display(s->pod));
	r = run_new(h, s, NULL, later, has_own ? make_pull_config : take_account, PULL_FETCH_MAX, &run, e);
	if (r < 0)
		return r;
	run->what = "pull credentials";
	r = has_own ? add_pull_secrets(run, &s->pod->pull_secrets, e)
		    : run_add(run, SOURCE_ACCOUNT, s->pod->service_account, e);
	return r < 0 ? r : run_start(TAKE_PTR(run), ret, e);
}

/* ---- all of them ---- */

int handout_new(const struct handout_world *world, struct handout **ret_h)
{
	struct handout *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->world = *world;
	list_init(&h->runs);
	*ret_h = h;
	return 0;
}

void handout_free(struct handout *h)
{
	struct run *run;

	if (!h)
		return;
	while ((run = list_first(&h->runs, struct run, link)))
		run_free(run);
	free(h);
}
