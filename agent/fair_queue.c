/* Fair queue: a flow exists as long as somebody has joined it, so that waiting takes no memory and cannot fail. */
#include "agent/fair_queue.h"

struct fair_flow {
	struct list link; /* in the queue's, while somebody waits */
	struct list items; /* who wait */
	size_t n_joined;
	char key[];
};

void fair_queue_init(struct fair_queue *q)
{
	q->flows = MAP_INIT;
	list_init(&q->waiting);
}

void fair_queue_deinit(struct fair_queue *q)
{
	map_deinit(&q->flows);
}

static struct fair_flow *flow_new(struct fair_queue *q, const char *key)
{
	size_t len = strlen(key);
	struct fair_flow *f = calloc(1, sizeof(*f) + len + 1);

	if (!f)
		return NULL;
	list_init(&f->link);
	list_init(&f->items);
	memcpy(f->key, key, len);
	if (map_add_str(&q->flows, f->key, f) < 0) {
		free(f);
		return NULL;
	}
	return f;
}

int fair_join(struct fair_queue *q, struct fair_item *i, const char *key)
{
	struct fair_flow *f = map_get_str(&q->flows, key) ?: flow_new(q, key);

	if (!f)
		return -ENOMEM;
	f->n_joined++;
	list_init(&i->link);
	i->flow = f;
	return 0;
}

static void stop_waiting(struct fair_item *i)
{
	list_remove(&i->link);
	if (list_empty(&i->flow->items))
		list_remove(&i->flow->link);
}

void fair_leave(struct fair_queue *q, struct fair_item *i)
{
	struct fair_flow *f = i->flow;

	if (!f)
		return;
	stop_waiting(i);
	i->flow = NULL;
	if (--f->n_joined > 0)
		return;
	map_remove_str(&q->flows, f->key);
	free(f);
}

void fair_wait(struct fair_queue *q, struct fair_item *i)
{
	if (fair_waits(i))
		return;
	if (list_empty(&i->flow->items))
		list_append(&q->waiting, &i->flow->link);
	list_append(&i->flow->items, &i->link);
}

struct fair_item *fair_first(const struct fair_queue *q)
{
	const struct fair_flow *f = list_first(&q->waiting, struct fair_flow, link);

	return f ? list_first(&f->items, struct fair_item, link) : NULL;
}

void fair_take(struct fair_queue *q, struct fair_item *i)
{
	struct fair_flow *f = i->flow;

	list_remove(&i->link);
	list_remove(&f->link);
	if (!list_empty(&f->items))
		list_append(&q->waiting, &f->link);
}
