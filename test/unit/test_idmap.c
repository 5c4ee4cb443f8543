/* The map of ids, against a plain array as its model. */
#include "common/idmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define cleanup_idmap cleanup(idmap_deinit)

static void empty_map_has_nothing(void **state)
{
	struct idmap m = IDMAP_INIT;
	size_t it = 0;

	assert_null(idmap_get(&m, 1));
	assert_null(idmap_remove(&m, 1));
	assert_null(idmap_first(&m, &it));
	idmap_deinit(&m);
	idmap_deinit(&m);
}

static void second_add_of_an_id_changes_nothing(void **state)
{
	cleanup_idmap struct idmap m = IDMAP_INIT;
	int one, two;

	assert_int_equal(idmap_add(&m, 7, &one), 0);
	assert_int_equal(idmap_add(&m, 7, &two), -EEXIST);
	assert_ptr_equal(idmap_get(&m, 7), &one);
	assert_int_equal(m.n_used, 1);
	assert_int_equal(idmap_add(&m, 0, &two), 0);
	assert_int_equal(idmap_add(&m, UINT64_MAX, &two), 0);
	assert_ptr_equal(idmap_get(&m, 0), &two);
	assert_ptr_equal(idmap_get(&m, UINT64_MAX), &two);
}

/* Added in order, as nodes are, and taken out in any. */
static void it_is_what_an_array_would_be(void **state)
{
	enum { IDS = 3000, STEPS = 200000 };
	cleanup_idmap struct idmap m = IDMAP_INIT;
	static char values[IDS];
	static bool there[IDS];
	uint64_t x = 88172645463325252u;
	size_t n = 0;

	for (int step = 0; step < STEPS; step++) {
		size_t id;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		id = x % IDS;
		assert_ptr_equal(idmap_get(&m, id), there[id] ? &values[id] : NULL);
		if (x >> 62 == 0 || (step / 20000) % 2 == 0) {
			assert_int_equal(idmap_add(&m, id, &values[id]), there[id] ? -EEXIST : 0);
			n += !there[id];
			there[id] = true;
		} else {
			assert_ptr_equal(idmap_remove(&m, id), there[id] ? &values[id] : NULL);
			n -= there[id];
			there[id] = false;
		}
		assert_int_equal(m.n_used, n);
	}
	for (size_t id = 0; id < IDS; id++)
		assert_ptr_equal(idmap_get(&m, id), there[id] ? &values[id] : NULL);
}

static void emptying_it_finds_each_once(void **state)
{
	for (uint64_t n = 1; n < 200; n++) {
		cleanup_idmap struct idmap m = IDMAP_INIT;
		uint64_t ids[200], *id, found = 0;

		for (uint64_t i = 0; i < n; i++) {
			ids[i] = i * 5;
			assert_int_equal(idmap_add(&m, ids[i], &ids[i]), 0);
		}
		for (size_t it = 0; (id = idmap_first(&m, &it)); found++)
			assert_ptr_equal(idmap_remove(&m, *id), id);
		assert_int_equal(found, n);
		assert_int_equal(m.n_used, 0);
	}
}

static void room_that_was_made_is_enough(void **state)
{
	for (size_t n = 1; n < 100; n++) {
		cleanup_idmap struct idmap m = IDMAP_INIT;
		const struct idmap_entry *before;
		int value;

		assert_int_equal(idmap_reserve(&m, n), 0);
		before = m.entries;
		for (size_t i = 0; i < n; i++)
			assert_int_equal(idmap_add(&m, i, &value), 0);
		assert_ptr_equal(m.entries, before);
	}
}

static void room_that_cannot_be_is_refused(void **state)
{
	cleanup_idmap struct idmap m = IDMAP_INIT;
	const struct idmap_entry *before;
	int value;

	assert_int_equal(idmap_add(&m, 3, &value), 0);
	before = m.entries;
	assert_int_equal(idmap_reserve(&m, SIZE_MAX), -ENOMEM);
	assert_ptr_equal(m.entries, before);
	assert_ptr_equal(idmap_get(&m, 3), &value);
}

/* Those of today would have the places of those that are still there of long ago, if places were counted as ids are. */
static void old_ids_are_not_in_the_way_of_new_ones(void **state)
{
	cleanup_idmap struct idmap m = IDMAP_INIT;
	size_t longest = 0, run = 0;
	int value;

	for (uint64_t i = 0; i < 3000; i++)
		assert_int_equal(idmap_add(&m, i, &value), 0);
	for (uint64_t i = 0; i < 3000; i++)
		assert_int_equal(idmap_add(&m, 8 * m.n_slots + i, &value), 0);
	for (size_t i = 0; i < m.n_slots; i++) {
		run = m.entries[i].value ? run + 1 : 0;
		longest = longest > run ? longest : run;
	}
	assert_true(longest < 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_map_has_nothing),
		cmocka_unit_test(second_add_of_an_id_changes_nothing),
		cmocka_unit_test(it_is_what_an_array_would_be),
		cmocka_unit_test(emptying_it_finds_each_once),
		cmocka_unit_test(room_that_was_made_is_enough),
		cmocka_unit_test(room_that_cannot_be_is_refused),
		cmocka_unit_test(old_ids_are_not_in_the_way_of_new_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
