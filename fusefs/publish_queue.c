/* Publish queue: where a job goes. First come, first served; but a new volume of many files, which nobody reads before it is whole,
 * and of which the publisher makes and reads some hundred files in a message, waits until nobody else does. Otherwise a pod with
 * some of them would keep everybody's updates waiting for as many seconds. What concerns one pod stays in its order. */
#include "fusefs/publish_internal.h"

static bool is_of_one_pod(const struct job *a, const struct job *b)
{
	size_t len = strcspn(a->path, "/");

	return len == strcspn(b->path, "/") && memcmp(a->path, b->path, len) == 0;
}

/* Behind the first large one there are only others, and what is of their pods: all else has been put before it. */
static struct list *place_of(struct publish *p, const struct job *j)
{
	struct list *place = &p->queue;

	if (!p->large || j->large)
		return place;
	for (struct list *at = p->queue.prev;; at = at->prev) {
		struct job *other = list_entry(at, struct job, link);

		if (is_of_one_pod(other, j))
			return place;
		if (other->large)
			place = at;
		if (other == p->large)
			return place;
	}
}

void job_enqueue(struct publish *p, struct job *j)
{
	list_append(place_of(p, j), &j->link);
	if (j->large && !p->large)
		p->large = j;
	p->stats.n_queued++;
	loop_defer_set(p->turn);
}

void job_leave_queue(struct publish *p, struct job *j)
{
	struct list *next = j->link.next;

	while (p->large == j && next != &p->queue && !list_entry(next, struct job, link)->large)
		next = next->next;
	if (p->large == j)
		p->large = next == &p->queue ? NULL : list_entry(next, struct job, link);
	list_remove(&j->link);
	if (j->kind == JOB_VOLUME)
		map_remove_str(&p->waiting, j->path);
}
