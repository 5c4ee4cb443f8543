/* Pods, errands: what is ordered for a pod beside the contents of its volumes: the link with its name, and the end of its volumes. One
 * that has failed is run again, ever more slowly, until it is done or nobody wants it any more: a removal that nobody repeated would
 * leave the Secrets of a pod that has gone to be read until the next agent. */
#include "agent/pods_internal.h"

#include "common/log.h"
#include "common/str.h"

struct errand {
	struct list link;
	struct pods *pods; /* NULL: they have gone meanwhile */
	char *uid;
	char *plugin, *volume; /* of the one that is to go; NULL: all of the pod's are */
	bool names; /* it is the link */
	bool waits; /* has failed, and is to be run again */
	bool returned; /* its pod is there again */
	bool told; /* and people were told */
};

static void errand_free(struct errand *e)
{
	if (!e)
		return;
	list_remove(&e->link);
	free(e->uid);
	free(e->plugin);
	free(e->volume);
	free(e);
}
DEFINE_CLEANUP(struct errand *, errand_free);

static void errands_later(struct pods *p)
{
	if (p->errands_wait)
		return;
	p->errands_wait = true;
	loop_timer_set(p->errands_retry, backoff_next(&p->errands_backoff, loop_now(p->loop), random01()));
}

static const char *errand_text(const struct errand *e)
{
	return e->names ? "link the pod's name" : e->volume ? "remove a volume" : "remove a pod's volumes";
}

static void errand_failed(struct errand *e, const char *text)
{
	const struct log_field fields[] = { { "uid", e->uid }, { "volume", e->volume }, { NULL, NULL } };

	if (e->told)
		log_debug(fields, "%s: %s", errand_text(e), text);
	else if (e->names)
		log_warning(fields, "%s: %s; it is tried again", errand_text(e), text);
	else
		log_error(fields, "%s: %s; it is tried again", errand_text(e), text);
	e->told = e->waits = true;
	errands_later(e->pods);
}

static void errand_done(void *userdata, int r, const struct publish_result *res, const struct err *e)
{
	struct errand *errand = userdata;

	if (errand->pods && r < 0 && r != -ESTALE && r != -ECANCELED) {
		errand_failed(errand, err_text(e));
		return;
	}
	if (errand->told && r >= 0)
		log_info(LOG_F({ "uid", errand->uid }, { "volume", errand->volume }), "%s: done", errand_text(errand));
	errand_free(errand);
}

/* The state of things now decides: its pod may have come back, or gone. */
static bool errand_is_wanted(const struct errand *e)
{
	const struct pod_state *s = map_get_str(&e->pods->by_uid, e->uid);

	if (e->names)
		return s && s->n_volumes > 0 && !s->pod->mirror;
	return !pods_want(e->pods, e->uid, e->plugin, e->volume);
}

static void errand_run(struct errand *e)
{
	struct publish *publish = e->pods->publish;
	const struct volume_path at = { .pod_uid = e->uid, .plugin = e->plugin, .name = e->volume };
	const struct pod_state *s = map_get_str(&e->pods->by_uid, e->uid);
	int r;

	e->waits = e->returned = false;
	if (e->names)
		r = publish_name_pod(publish, e->uid, s->pod->ns, s->pod->name, errand_done, e);
	else if (e->volume)
		r = publish_remove_volume(publish, &at, errand_done, e);
	else
		r = publish_remove_pod(publish, e->uid, errand_done, e);
	if (r == -EINVAL) { /* it has no such name: nothing can be there */
		log_error(LOG_F({ "uid", e->uid }, { "volume", e->volume }), "%s: %s", errand_text(e), strerror(-r));
		errand_free(e);
	} else if (r < 0) {
		errand_failed(e, strerror(-r));
	}
}

static void errand_look(struct errand *e)
{
	e->returned = false; /* as it was found out last time */
	if (pods_is_postponed(e->pods, e->uid)) /* which volumes it has will be known later */
		errands_later(e->pods);
	else if (errand_is_wanted(e))
		errand_run(e);
	else if (e->names || e->volume)
		errand_free(e);
	else
		e->returned = true;
}

/* NULL: there is none. */
static struct errand *errands_returned(const struct pods *p)
{
	struct errand *e;

	list_for_each (e, &p->errands, link)
		if (e->returned)
			return e;
	return NULL;
}

/* What waits to be run again. A pod that has come back may have come without some of the volumes that were to go with it. */
static void errands_due(struct loop_source *s, void *userdata)
{
	struct pods *p = userdata;
	struct errand *e;

	p->errands_wait = false;
	list_for_each (e, &p->errands, link)
		if (e->waits)
			errand_look(e);
	while ((e = errands_returned(p))) {
		e->returned = e->waits = false;
		if (pods_retain_volumes(p, e->uid) < 0) {
			e->waits = true;
			errands_later(p);
			return;
		}
		errand_free(e);
	}
}

int errands_init(struct pods *p)
{
	list_init(&p->errands);
	p->errands_backoff = BACKOFF_INIT(&PODS_RETRY);
	return loop_add_timer(p->loop, errands_due, p, &p->errands_retry);
}

void errands_deinit(struct pods *p)
{
	struct errand *e;

	while ((e = list_first(&p->errands, struct errand, link))) {
		if (e->waits) {
			errand_free(e);
			continue;
		}
		e->pods = NULL;
		list_remove(&e->link);
	}
	loop_source_free(p->errands_retry);
}

void errands_hurry(struct pods *p)
{
	loop_timer_set(p->errands_retry, 0);
}

/* The same one that waits, which is run now. */
static struct errand *errands_find(const struct pods *p, const char *uid, const char *plugin, const char *volume,
				   bool names)
{
	struct errand *e;

	list_for_each (e, &p->errands, link)
		if (e->waits && e->names == names && str_eq(e->uid, uid) && str_eq(e->plugin, plugin) &&
		    str_eq(e->volume, volume))
			return e;
	return NULL;
}

static int errand_new(struct pods *p, const char *uid, const char *plugin, const char *volume, bool names,
		      struct errand **ret_e)
{
	cleanup(errand_freep) struct errand *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	list_init(&e->link);
	e->pods = p;
	e->names = names;
	e->uid = strdup(uid);
	e->plugin = plugin ? strdup(plugin) : NULL;
	e->volume = volume ? strdup(volume) : NULL;
	if (!e->uid || (plugin && !e->plugin) || (volume && !e->volume))
		return -ENOMEM;
	list_append(&p->errands, &e->link);
	*ret_e = TAKE_PTR(e);
	return 0;
}

static int errands_add(struct pods *p, const char *uid, const char *plugin, const char *volume, bool names)
{
	struct errand *e = errands_find(p, uid, plugin, volume, names);
	int r = e ? 0 : errand_new(p, uid, plugin, volume, names, &e);

	if (r < 0)
		return r;
	errand_run(e);
	return 0;
}

int errands_remove_pod(struct pods *p, const char *uid)
{
	return errands_add(p, uid, NULL, NULL, false);
}

int errands_remove_volume(struct pods *p, const char *uid, const char *plugin, const char *volume)
{
	return errands_add(p, uid, plugin, volume, false);
}

int errands_name_pod(struct pods *p, const char *uid)
{
	return errands_add(p, uid, NULL, NULL, true);
}
