/* Included before each file by scan-build and gcc -fanalyzer, which look at one file at a time: what the functions of
 * other files promise in their headers, in terms that an analyzer takes. */
#pragma once

#include "common/err.h"
#include "common/json.h"
#include "common/list.h"

static inline int analysis_negative(int r)
{
	if (r >= 0)
		__builtin_unreachable();
	return r;
}
/* they return a code that is negative (err.h) */
#define err_set(...)  analysis_negative(err_set(__VA_ARGS__))
#define err_wrap(...) analysis_negative(err_wrap(__VA_ARGS__))
/* it returns -EINVAL (json.h) */
#define json_issue_set(...) analysis_negative(json_issue_set(__VA_ARGS__))

/* Neither follows an element through its neighbours: after list_remove() they still find it, freed, at the list's head. To
 * them each look at a list finds something else, or nothing; elements are freed by nobody twice all the same. */
void *analysis_element(struct list *at);
void analysis_changes(struct list *head, struct list *link);
#undef list_first
#undef list_for_each
#define list_append(head, link)		 analysis_changes(head, link)
#define list_remove(link)		 analysis_changes(NULL, link)
#define list_first(head, type, member)	 ((type *)analysis_element((struct list *)(head)))
#define list_for_each(var, head, member) while ((var = analysis_element((struct list *)(head))))
