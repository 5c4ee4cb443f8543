/* Intrusive doubly linked list. A list head and its links are the same type; an unlinked link points to itself. */
#pragma once

#include "common/base.h"

struct list {
	struct list *prev, *next;
};
#define LIST_INIT(l) ((struct list){ .prev = &(l), .next = &(l) })

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}
static inline void list_append(struct list *head, struct list *link)
{
	link->prev = head->prev;
	link->next = head;
	head->prev->next = link;
	head->prev = link;
}
/* Unlinks; safe on a link that is in no list (but initialised). */
static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}
#define list_entry(link, type, member) container_of(link, type, member)
#define list_first(head, type, member) (list_empty(head) ? NULL : list_entry((head)->next, type, member))
/* The current entry may be removed inside; others may not. */
#define list_for_each(var, head, member)                                                                               \
	for (typeof(var) next_##var = (var = list_entry((head)->next, typeof(*var), member),                           \
				      list_entry(var->member.next, typeof(*var), member));                             \
	     &var->member != (head);                                                                                   \
	     var = next_##var, next_##var = list_entry(var->member.next, typeof(*var), member))
