/* Fair queue: who waits for one thing that is given out bit by bit. Those of one flow are served in the order in which they came, and the
 * flows take turns, so that one that has much to wait for keeps no other waiting. Loop thread only. */
#pragma once

#include "common/list.h"
#include "common/map.h"

struct fair_flow;
struct fair_queue {
	struct map flows; /* by key: each that somebody has joined */
	struct list waiting; /* flows in which somebody waits; whose turn it is is first */
};
/* Part of whoever may wait. */
struct fair_item {
	struct list link;
	struct fair_flow *flow;
};

void fair_queue_init(struct fair_queue *q);
/* All have left. */
void fair_queue_deinit(struct fair_queue *q);
/* i belongs to this flow until it leaves; it does not wait yet. -ENOMEM. */
int fair_join(struct fair_queue *q, struct fair_item *i, const char *key);
/* Safe on one that has not joined (but is zeroed). */
void fair_leave(struct fair_queue *q, struct fair_item *i);
/* It waits, behind those of its flow. Nothing if it does already. */
void fair_wait(struct fair_queue *q, struct fair_item *i);
static inline bool fair_waits(const struct fair_item *i)
{
	return i->flow && !list_empty(&i->link);
}
/* Whose turn it is; NULL: nobody waits. */
struct fair_item *fair_first(const struct fair_queue *q);
/* It has had its turn: it waits no longer, and its flow goes behind the others. */
void fair_take(struct fair_queue *q, struct fair_item *i);
