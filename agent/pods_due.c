/* Pods, which volumes are due to be looked at again. One is, as a rule, at once. Where one object has many of them waiting, as a Secret
 * of 50,000 keys in a pod of a thousand volumes, they would keep everybody waiting, and their payloads would fill the memory before
 * the publisher has seen one: so a turn of the loop makes some, and where many files wait for the publisher none are made until some
 * have got there. Pods take turns, and the many volumes that have few files do not wait for the few that have many. */
#include "agent/pods_internal.h"
#include "agent/views.h"

#define TURN_COST    10000 /* what one turn makes, about: some milliseconds */
#define WAITING_MAX  65536 /* files on their way to the publisher, above which no more are sent after them */
#define VOLUME_COST  16 /* in files: what a volume takes that has none, */
#define SOURCE_COST  2 /* and a source of it */
#define SMALL_VOLUME 512

static size_t volume_cost(const struct volume *v)
{
	size_t cost = VOLUME_COST + view_nested_cost(v->pod->pod, v->spec->name);

	for (size_t i = 0; i < v->n_sources; i++) {
		const struct store_entry *entry = v->entries[i];

		cost += SOURCE_COST;
		if (v->spec->sources[i].n_items > 0)
			cost += v->spec->sources[i].n_items;
		else if (entry && entry->secret)
			cost += entry->secret->n_keys;
	}
	return cost;
}

static enum pods_due_kind kind_of_cost(size_t cost)
{
	return cost <= SMALL_VOLUME ? DUE_SMALL : DUE_LARGE;
}

/* Large ones leave room for small ones. */
static bool publisher_has_room(const struct pods *p, enum pods_due_kind kind)
{
	return p->n_files_waiting < (kind == DUE_SMALL ? 2 : 1) * (size_t)WAITING_MAX;
}

static void volume_make_now(struct volume *v, size_t cost)
{
	uint64_t before = v->event_usec;

	v->pod->pods->turn_cost += cost;
	/* what could not be shown, and is to be tried again, does not get younger by it */
	v->event_usec = before ?: v->due_event_usec;
	v->due_event_usec = 0;
	volume_make(v);
	if (v->event_usec) /* there is nothing to be shown of it */
		v->event_usec = before;
}

static void volume_defer(struct volume *v, enum pods_due_kind kind)
{
	struct pod_state *s = v->pod;

	v->is_due = true;
	list_append(&s->due[kind].volumes, &v->due);
	if (list_empty(&s->due[kind].in_pods))
		list_append(&s->pods->due[kind], &s->due[kind].in_pods);
}

void volume_update(struct volume *v)
{
	size_t cost = volume_cost(v);
	enum pods_due_kind kind = kind_of_cost(cost);
	struct pods *p = v->pod->pods;
	uint64_t now = loop_now(p->loop);

	if (v->is_due)
		return;
	if (p->turn_usec != now) {
		p->turn_usec = now;
		p->turn_cost = 0;
	}
	if (list_empty(&p->due[kind]) && p->turn_cost < TURN_COST && publisher_has_room(p, kind)) {
		volume_make_now(v, cost);
		return;
	}
	volume_defer(v, kind);
	loop_defer_set(p->turn);
}

void volume_object_changed(struct volume *v)
{
	if (!v->due_event_usec)
		v->due_event_usec = loop_now(v->pod->pods->loop);
	volume_update(v);
}

void volume_leave_due(struct volume *v)
{
	list_remove(&v->due);
	v->is_due = false;
}

/* The next volume of the pod whose turn it is. NULL: no pod has one. */
static struct volume *pods_next_due(struct pods *p, enum pods_due_kind kind)
{
	struct pod_due *due;

	while ((due = list_first(&p->due[kind], struct pod_due, in_pods))) {
		struct volume *v = list_first(&due->volumes, struct volume, due);

		list_remove(&due->in_pods);
		if (!v) /* they have gone meanwhile */
			continue;
		volume_leave_due(v);
		if (!list_empty(&due->volumes))
			list_append(&p->due[kind], &due->in_pods);
		return v;
	}
	return NULL;
}

static void pods_make_due(struct pods *p, enum pods_due_kind kind, size_t cost_max)
{
	struct volume *v;

	while (p->turn_cost < cost_max && publisher_has_room(p, kind) && (v = pods_next_due(p, kind))) {
		size_t cost = volume_cost(v);

		if (kind_of_cost(cost) == kind)
			volume_make_now(v, cost);
		else /* its objects have other keys now */
			volume_defer(v, kind_of_cost(cost));
	}
}

static void pods_turn(struct loop_source *source, void *userdata)
{
	struct pods *p = userdata;

	p->turn_usec = loop_now(p->loop);
	p->turn_cost = 0;
	/* none of the kinds keeps the other waiting */
	pods_make_due(p, DUE_SMALL, TURN_COST / 2);
	pods_make_due(p, DUE_LARGE, TURN_COST);
	pods_make_due(p, DUE_SMALL, TURN_COST);
	pods_go_on(p);
}

void pods_go_on(struct pods *p)
{
	for (enum pods_due_kind kind = 0; kind < DUE_KINDS_N; kind++)
		if (!list_empty(&p->due[kind]) && publisher_has_room(p, kind))
			loop_defer_set(p->turn);
}

int pods_due_init(struct pods *p)
{
	for (enum pods_due_kind kind = 0; kind < DUE_KINDS_N; kind++)
		list_init(&p->due[kind]);
	return loop_add_defer(p->loop, pods_turn, p, &p->turn);
}

void pod_due_init(struct pod_state *s)
{
	for (enum pods_due_kind kind = 0; kind < DUE_KINDS_N; kind++) {
		list_init(&s->due[kind].volumes);
		list_init(&s->due[kind].in_pods);
	}
}

void pod_due_deinit(struct pod_state *s)
{
	for (enum pods_due_kind kind = 0; kind < DUE_KINDS_N; kind++)
		list_remove(&s->due[kind].in_pods);
}
