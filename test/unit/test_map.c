/* The map, against a plain array as its model. */
#include "common/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define cleanup_map cleanup(map_deinit)

static void empty_map_has_nothing(void **state)
{
	struct map m = MAP_INIT;
	size_t it = 0;

	assert_null(map_get_str(&m, "a"));
	assert_null(map_remove_str(&m, "a"));
	assert_null(map_next(&m, &it));
	assert_int_equal(map_count(&m), 0);
	map_deinit(&m);
	map_deinit(&m);
}

static void second_add_of_a_key_changes_nothing(void **state)
{
	cleanup_map struct map m = MAP_INIT;
	char one[] = "key", two[] = "key";

	assert_int_equal(map_add_str(&m, one, one), 0);
	assert_int_equal(map_add_str(&m, two, two), -EEXIST);
	assert_ptr_equal(map_get_str(&m, "key"), one);
	assert_int_equal(map_count(&m), 1);
}

static void keys_are_bytes_with_a_length(void **state)
{
	cleanup_map struct map m = MAP_INIT;
	int a, b, c, d;

	assert_int_equal(map_add(&m, "x\0y", 3, &a), 0);
	assert_int_equal(map_add(&m, "x\0z", 3, &b), 0);
	assert_int_equal(map_add(&m, "x", 1, &c), 0);
	assert_int_equal(map_add(&m, "", 0, &d), 0);
	assert_int_equal(map_add(&m, NULL, 0, &d), -EEXIST);
	assert_ptr_equal(map_get(&m, "x\0y", 3), &a);
	assert_ptr_equal(map_get(&m, "x\0z", 3), &b);
	assert_ptr_equal(map_get_str(&m, "x"), &c);
	assert_ptr_equal(map_get(&m, "", 0), &d);
	assert_null(map_get(&m, "x\0", 2));
}

static void removed_key_can_be_added_again(void **state)
{
	cleanup_map struct map m = MAP_INIT;
	int a, b;

	assert_int_equal(map_add_str(&m, "k", &a), 0);
	assert_ptr_equal(map_remove_str(&m, "k"), &a);
	assert_null(map_get_str(&m, "k"));
	assert_null(map_remove_str(&m, "k"));
	assert_int_equal(map_add_str(&m, "k", &b), 0);
	assert_ptr_equal(map_get_str(&m, "k"), &b);
	assert_int_equal(map_count(&m), 1);
}

struct named {
	char name[16];
	bool there, seen;
};
#define N_NAMED 2000
static struct named named[N_NAMED];

static void names_make(void)
{
	for (unsigned i = 0; i < N_NAMED; i++) {
		named[i] = (struct named){ .there = false };
		snprintf(named[i].name, sizeof(named[i].name), "name-%u", i);
	}
}

static void assert_agrees(const struct map *m)
{
	size_t it = 0, n = 0;
	struct named *x;

	for (size_t i = 0; i < N_NAMED; i++) {
		named[i].seen = false;
		n += named[i].there;
		assert_ptr_equal(map_get_str(m, named[i].name), named[i].there ? &named[i] : NULL);
	}
	assert_int_equal(map_count(m), n);
	while ((x = map_next(m, &it))) {
		assert_true(x->there && !x->seen);
		x->seen = true;
		n--;
	}
	assert_int_equal(n, 0);
}

static void random_adds_and_removes_agree_with_the_model(void **state)
{
	cleanup_map struct map m = MAP_INIT;
	unsigned seed = 1;

	names_make();
	for (unsigned i = 0; i < 60000; i++) {
		/* grows, then shrinks, then churns */
		size_t at = (size_t)rand_r(&seed) % N_NAMED;
		bool add = i < 20000 ? i % 4 : i < 40000 ? i % 4 == 0 : i % 2;

		if (add)
			assert_int_equal(map_add_str(&m, named[at].name, &named[at]), named[at].there ? -EEXIST : 0);
		else
			assert_ptr_equal(map_remove_str(&m, named[at].name), named[at].there ? &named[at] : NULL);
		named[at].there = add;
		if (i % 2500 == 0)
			assert_agrees(&m);
	}
	assert_agrees(&m);
}

static void churn_does_not_make_the_table_grow(void **state)
{
	cleanup_map struct map m = MAP_INIT;

	names_make();
	for (size_t i = 0; i < 100000; i++) {
		if (i >= 10)
			assert_non_null(map_remove_str(&m, named[(i - 10) % N_NAMED].name));
		assert_int_equal(map_add_str(&m, named[i % N_NAMED].name, &named[i % N_NAMED]), 0);
	}
	assert_int_equal(map_count(&m), 10);
	assert_true(m.n_slots <= 64);
	assert_true(m.n_used + m.n_tombs < m.n_slots);
}

static void a_table_is_never_more_than_four_times_too_large(void **state)
{
	cleanup_map struct map m = MAP_INIT;

	names_make();
	for (size_t n = 1; n <= N_NAMED; n++) {
		assert_int_equal(map_add_str(&m, named[n - 1].name, &named[n - 1]), 0);
		if (n >= 8 && m.n_slots >= 4 * n)
			fail_msg("%zu slots for %zu entries", m.n_slots, n);
	}
}

static void entry_just_returned_may_be_removed(void **state)
{
	cleanup_map struct map m = MAP_INIT;
	size_t it = 0, n = 0;
	struct named *x;

	names_make();
	for (size_t i = 0; i < N_NAMED; i++) {
		named[i].there = true;
		assert_int_equal(map_add_str(&m, named[i].name, &named[i]), 0);
	}
	while ((x = map_next(&m, &it))) {
		n++;
		if (n % 3) {
			assert_ptr_equal(map_remove_str(&m, x->name), x);
			x->there = false;
		}
	}
	assert_int_equal(n, N_NAMED);
	assert_agrees(&m);
}

static void room_that_was_made_is_enough(void **state)
{
	for (size_t n = 1; n < 200; n++) {
		cleanup_map struct map m = MAP_INIT;
		const struct map_entry *before;
		char keys[200];

		assert_int_equal(map_reserve(&m, n), 0);
		before = m.entries;
		assert_true(n <= m.n_slots / 4 * 3);
		for (size_t i = 0; i < n; i++) {
			keys[i] = (char)i;
			assert_int_equal(map_add(&m, &keys[i], 1, &keys[i]), 0);
		}
		assert_ptr_equal(m.entries, before);
		assert_int_equal(map_reserve(&m, n), 0);
		assert_ptr_equal(m.entries, before);
	}
}

static void room_that_cannot_be_is_refused(void **state)
{
	cleanup_map struct map m = MAP_INIT;
	const struct map_entry *before;
	char keys[20];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		keys[i] = (char)i;
		assert_int_equal(map_add(&m, &keys[i], 1, &keys[i]), 0);
	}
	assert_ptr_equal(map_remove(&m, &keys[0], 1), &keys[0]);
	before = m.entries;
	assert_int_equal(map_reserve(&m, SIZE_MAX), -ENOMEM);
	assert_ptr_equal(m.entries, before);
	assert_ptr_equal(map_get(&m, &keys[1], 1), &keys[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_map_has_nothing),
		cmocka_unit_test(second_add_of_a_key_changes_nothing),
		cmocka_unit_test(keys_are_bytes_with_a_length),
		cmocka_unit_test(removed_key_can_be_added_again),
		cmocka_unit_test(random_adds_and_removes_agree_with_the_model),
		cmocka_unit_test(a_table_is_never_more_than_four_times_too_large),
		cmocka_unit_test(churn_does_not_make_the_table_grow),
		cmocka_unit_test(entry_just_returned_may_be_removed),
		cmocka_unit_test(room_that_was_made_is_enough),
		cmocka_unit_test(room_that_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
