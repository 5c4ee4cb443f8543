/* Included before each file by scan-build and gcc -fanalyzer, which look at one file at a time: what the functions of
 * other files promise in their headers, in terms that an analyzer takes. Macros and not inline functions, because clang
 * follows calls to a depth of five and then forgets. ANALYSIS_AGENT: it is one of agent/; ANALYSIS_TEST: one with tests. */
#pragma once

#include "common/err.h"
#include "common/json.h"
#include "common/list.h"
#ifdef ANALYSIS_AGENT
#include "agent/cli.h"
#include "agent/reason.h"
#endif
#ifdef ANALYSIS_TEST
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#endif

#define ANALYSIS_PROMISE(r, holds)                                                                                     \
	({                                                                                                             \
		int promised_ = (r);                                                                                   \
		if (!(promised_ holds))                                                                                \
			__builtin_unreachable();                                                                       \
		promised_;                                                                                             \
	})
/* they return a code that is negative (err.h) */
#define err_set(...)  ANALYSIS_PROMISE(err_set(__VA_ARGS__), < 0)
#define err_wrap(...) ANALYSIS_PROMISE(err_wrap(__VA_ARGS__), < 0)
/* -EINVAL; 0 or -EINVAL (json.h) */
#define json_issue_set(...)	   ANALYSIS_PROMISE(json_issue_set(__VA_ARGS__), < 0)
#define json_get_str(...)	   ANALYSIS_PROMISE(json_get_str(__VA_ARGS__), <= 0)
#define json_get_str_required(...) ANALYSIS_PROMISE(json_get_str_required(__VA_ARGS__), <= 0)
#define json_get_bool(...)	   ANALYSIS_PROMISE(json_get_bool(__VA_ARGS__), <= 0)
#define json_get_int(...)	   ANALYSIS_PROMISE(json_get_int(__VA_ARGS__), <= 0)
#define json_get_object(...)	   ANALYSIS_PROMISE(json_get_object(__VA_ARGS__), <= 0)
#define json_get_array(...)	   ANALYSIS_PROMISE(json_get_array(__VA_ARGS__), <= 0)
#ifdef ANALYSIS_AGENT
/* an exit status that is not CLI_OK (cli.h) */
#define cli_fail(...)	      ANALYSIS_PROMISE(cli_fail(__VA_ARGS__), != CLI_OK)
#define cli_fail_memory()     ANALYSIS_PROMISE(cli_fail_memory(), != CLI_OK)
#define cli_fail_reply(reply) ANALYSIS_PROMISE(cli_fail_reply(reply), != CLI_OK)
/* the negative code that it is given (reason.h) */
#define reason_set(...) ANALYSIS_PROMISE(reason_set(__VA_ARGS__), < 0)
#endif

#ifdef ANALYSIS_TEST
/* A test ends where it fails: by longjmp(3), of which nothing is declared. */
#define ANALYSIS_HOLDS(condition)                                                                                      \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			__builtin_unreachable();                                                                       \
	} while (0)
#undef assert_true
#undef assert_false
#undef assert_null
#undef assert_non_null
#undef assert_int_equal
#undef assert_int_not_equal
#undef assert_string_equal
#undef assert_ptr_equal
#undef skip
#undef fail
#undef fail_msg
#define assert_true(c)		   ANALYSIS_HOLDS(c)
#define assert_false(c)		   ANALYSIS_HOLDS(!(c))
#define assert_null(p)		   ANALYSIS_HOLDS(!(p))
#define assert_non_null(p)	   ANALYSIS_HOLDS(p)
#define assert_int_equal(a, b)	   ANALYSIS_HOLDS((a) == (b))
#define assert_int_not_equal(a, b) ANALYSIS_HOLDS((a) != (b))
#define assert_ptr_equal(a, b)	   ANALYSIS_HOLDS((const void *)(a) == (const void *)(b))
#define assert_string_equal(a, b)  ANALYSIS_HOLDS((a) && (b))
#define skip()			   __builtin_unreachable()
#define fail()			   __builtin_unreachable()
#define fail_msg(...)		   __builtin_unreachable()
#endif

/* Clang 14 does not see that the cleanup attribute reads what a function owns at its end. */
#undef cleanup
#define cleanup(func) __attribute__((__cleanup__(func), __unused__))

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
