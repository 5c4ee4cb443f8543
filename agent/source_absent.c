/* Source, absent: whoever asks is answered later, as by any source, and always with the same words. */
#include "agent/source_absent.h"

#include "agent/reason.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/str.h"

#define RETRY_MIN_USEC (USEC_PER_SEC)
#define REREAD_USEC    (100 * USEC_PER_MSEC) /* whoever has asked for the reload is answered first */

struct wanted {
	struct list link;
	enum object_kind kind;
	char *ns, *name;
};

struct source_fetch {
	struct list link;
	source_fetched_fn fn;
	void *userdata;
};

struct absent {
	struct source source;
	struct loop *loop;
	struct loop_source *retry, *answer;
	const char *kind;
	char *location;
	struct err why;
	uint64_t failed_usec, next_try_usec; /* CLOCK_REALTIME; next_try 0: not started */
	uint64_t retry_usec;
	void (*again)(void *userdata);
	const struct source_sink *sink;
	void *userdata;
	struct list asked, told; /* struct wanted */
	struct list fetches;
};

static struct absent *absent_of(const struct source *s)
{
	return container_of((struct source *)(uintptr_t)s, struct absent, source);
}

uint64_t source_absent_retry_usec(uint64_t away_usec)
{
	return MIN(MAX(away_usec, RETRY_MIN_USEC), SOURCE_ABSENT_RETRY_MAX_USEC);
}

/* ---- objects ---- */

static void wanted_free(struct wanted *w)
{
	list_remove(&w->link);
	free(w->ns);
	free(w->name);
	free(w);
}

static struct wanted *wanted_in(struct list *list, enum object_kind kind, const char *ns, const char *name)
{
	struct wanted *w;

	list_for_each (w, list, link)
		if (w->kind == kind && str_eq(w->ns, ns) && str_eq(w->name, name))
			return w;
	return NULL;
}

static int absent_want(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	struct absent *a = absent_of(s);
	struct wanted *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	list_init(&w->link);
	w->kind = kind;
	w->ns = strdup(ns);
	w->name = strdup(name);
	if (!w->ns || !w->name) {
		wanted_free(w);
		return -ENOMEM;
	}
	list_append(&a->asked, &w->link);
	loop_defer_set(a->answer);
	return 0;
}

static void absent_unwant(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	struct absent *a = absent_of(s);
	struct wanted *w = wanted_in(&a->asked, kind, ns, name) ?: wanted_in(&a->told, kind, ns, name);

	if (w)
		wanted_free(w);
}

static int absent_refresh(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	struct absent *a = absent_of(s);
	struct wanted *w = wanted_in(&a->told, kind, ns, name);

	if (!w)
		return wanted_in(&a->asked, kind, ns, name) ? 0 : -ENOENT;
	list_remove(&w->link);
	list_append(&a->asked, &w->link);
	loop_defer_set(a->answer);
	return 0;
}

static int absent_fetch(struct source *s, enum source_thing thing, const char *ns, const char *name,
			source_fetched_fn fn, void *userdata, struct source_fetch **ret_f)
{
	struct absent *a = absent_of(s);
	struct source_fetch *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->fn = fn;
	f->userdata = userdata;
	list_init(&f->link);
	list_append(&a->fetches, &f->link);
	loop_defer_set(a->answer);
	*ret_f = f;
	return 0;
}

static void absent_unfetch(struct source *s, struct source_fetch *f)
{
	list_remove(&f->link);
	free(f);
}

/* Whoever is told may want, unwant and fetch. */
static void answer(struct loop_source *source, void *userdata)
{
	struct absent *a = userdata;
	struct source_fetch *f;
	struct wanted *w;

	while ((w = list_first(&a->asked, struct wanted, link))) {
		list_remove(&w->link);
		list_append(&a->told, &w->link);
		a->sink->object_failed(a->userdata, w->kind, w->ns, w->name, &a->why);
	}
	while ((f = list_first(&a->fetches, struct source_fetch, link))) {
		const struct source_fetched fetched = { .err = a->why, .unanswered = true };
		source_fetched_fn fn = f->fn;
		void *fn_userdata = f->userdata;

		absent_unfetch(&a->source, f);
		fn(fn_userdata, &fetched);
	}
}

/* ---- the source ---- */

static void retry(struct loop_source *source, void *userdata)
{
	struct absent *a = userdata;

	a->again(a->userdata);
}

static int retry_after(struct absent *a, uint64_t usec)
{
	a->next_try_usec = clock_realtime_usec() + usec;
	return loop_timer_set(a->retry, usec);
}

static int absent_start(struct source *s, struct err *e)
{
	struct absent *a = absent_of(s);
	int r = retry_after(a, a->retry_usec);

	return r < 0 ? err_set(e, r, "event loop: %s", strerror(-r)) : 0;
}

static void absent_reread(struct source *s)
{
	(void)retry_after(absent_of(s), REREAD_USEC);
}

static void absent_health(const struct source *s, struct source_health *ret)
{
	const struct absent *a = absent_of(s);

	*ret = (struct source_health){ .kind = a->kind,
				       .reason = reason_of_error(&a->why),
				       .failed_usec = a->failed_usec,
				       .next_try_usec = a->next_try_usec };
	snprintf(ret->location, sizeof(ret->location), "%s", a->location);
	snprintf(ret->last_error, sizeof(ret->last_error), "%s", err_text(&a->why));
}

static void absent_free(struct source *s)
{
	struct absent *a = absent_of(s);
	struct source_fetch *f;
	struct wanted *w;

	while ((w = list_first(&a->asked, struct wanted, link)) || (w = list_first(&a->told, struct wanted, link)))
		wanted_free(w);
	while ((f = list_first(&a->fetches, struct source_fetch, link)))
		absent_unfetch(s, f);
	loop_source_free(a->retry);
	loop_source_free(a->answer);
	free(a->location);
	free(a);
}

static const struct source_vtable VTABLE = {
	.start = absent_start,
	.want = absent_want,
	.unwant = absent_unwant,
	.reread = absent_reread,
	.refresh = absent_refresh,
	.fetch = absent_fetch,
	.unfetch = absent_unfetch,
	.health = absent_health,
	.free = absent_free,
};

int source_absent_new(struct loop *l, const struct source_absent_options *options, const struct source_sink *sink,
		      void *userdata, struct source **ret_s)
{
	struct absent *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->source.vtable = &VTABLE;
	a->loop = l;
	a->kind = options->kind;
	a->why = *options->why;
	(void)reason_set(&a->why, a->why.reason ?: REASON_SOURCE_UNUSABLE, 0);
	a->failed_usec = clock_realtime_usec() - options->away_usec;
	a->retry_usec = source_absent_retry_usec(options->away_usec);
	a->again = options->again;
	a->sink = sink;
	a->userdata = userdata;
	list_init(&a->asked);
	list_init(&a->told);
	list_init(&a->fetches);
	a->location = strdup(options->location);
	r = a->location ? 0 : -ENOMEM;
	r = r ?: loop_add_timer(l, retry, a, &a->retry);
	r = r ?: loop_add_defer(l, answer, a, &a->answer);
	if (r < 0) {
		absent_free(&a->source);
		return r;
	}
	*ret_s = &a->source;
	return 0;
}
