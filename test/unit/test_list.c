/* The list, through what its users do with it: append, remove anywhere, remove while walking. */
#include "common/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct item {
	int n;
	struct list link;
};

static void assert_items(struct list *head, const char *want)
{
	char text[32] = "";
	struct item *item;
	size_t n = 0;

	list_for_each (item, head, link)
		text[n++] = (char)('0' + item->n);
	assert_string_equal(text, want);
}

static void fill(struct list *head, struct item *items, int n)
{
	list_init(head);
	for (int i = 0; i < n; i++) {
		items[i].n = i;
		list_append(head, &items[i].link);
	}
}

static void fresh_list_is_empty(void **state)
{
	struct list head = LIST_INIT(head);

	assert_true(list_empty(&head));
	assert_null(list_first(&head, struct item, link));
	assert_items(&head, "");
}

static void append_keeps_the_order(void **state)
{
	struct item items[4];
	struct list head;

	fill(&head, items, 4);
	assert_false(list_empty(&head));
	assert_ptr_equal(list_first(&head, struct item, link), &items[0]);
	assert_items(&head, "0123");
}

static void remove_takes_from_anywhere_and_twice(void **state)
{
	struct item items[4];
	struct list head;

	fill(&head, items, 4);
	list_remove(&items[1].link);
	list_remove(&items[1].link);
	assert_items(&head, "023");
	list_remove(&items[0].link);
	list_remove(&items[3].link);
	assert_items(&head, "2");
	list_remove(&items[2].link);
	assert_true(list_empty(&head));
	list_append(&head, &items[1].link);
	assert_items(&head, "1");
}

static void the_current_entry_may_go_while_walking(void **state)
{
	struct list head, other = LIST_INIT(other);
	struct item items[5], *item;

	fill(&head, items, 5);
	list_for_each (item, &head, link) {
		if (item->n % 2 == 0) {
			list_remove(&item->link);
			list_append(&other, &item->link);
		}
	}
	assert_items(&head, "13");
	assert_items(&other, "024");
}

static void a_walk_can_stop_early(void **state)
{
	struct item items[3], *item;
	struct list head;
	int n = 0;

	fill(&head, items, 3);
	list_for_each (item, &head, link) {
		n++;
		if (item->n == 1)
			break;
	}
	assert_int_equal(n, 2);
	assert_ptr_equal(item, &items[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fresh_list_is_empty),
		cmocka_unit_test(append_keeps_the_order),
		cmocka_unit_test(remove_takes_from_anywhere_and_twice),
		cmocka_unit_test(the_current_entry_may_go_while_walking),
		cmocka_unit_test(a_walk_can_stop_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
