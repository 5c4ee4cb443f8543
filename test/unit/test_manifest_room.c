/* Manifest room: who is refused, what the sums are then, and when asking again is worth it. */
#include "agent/manifest_room.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static struct manifest_room room;

static bool put(struct manifest_share *f, size_t n_bytes, size_t n_objects)
{
	struct err e = ERR_INIT;

	if (manifest_room_ask(&room, f, "/m/f.yaml", n_bytes, n_objects, &e) < 0) {
		assert_int_equal(e.code, -E2BIG);
		assert_int_equal(strncmp(err_text(&e), "/m/f.yaml: no room for its ", 27), 0);
		return false;
	}
	manifest_room_take(&room, f, n_bytes, n_objects);
	return true;
}

static void all_together_may_have_so_many_bytes(void **state)
{
	struct manifest_share f[9] = { 0 };

	room = (struct manifest_room){ 0 };
	for (int i = 0; i < 8; i++)
		assert_true(put(&f[i], 16 * MIB, 1));
	assert_int_equal(room.n_bytes, MANIFEST_ROOM_BYTES);
	assert_false(put(&f[8], 1, 1));
	assert_true(f[8].refused);
	assert_int_equal(room.n_refused, 1);
	assert_int_equal(room.n_bytes, MANIFEST_ROOM_BYTES);
	/* as large as it was, and smaller */
	assert_true(put(&f[0], 16 * MIB, 1));
	assert_true(manifest_room_take(&room, &f[0], 16 * MIB - 1, 1));
	assert_true(put(&f[8], 1, 1));
	assert_int_equal(room.n_refused, 0);
	/* nobody waits for it */
	assert_false(manifest_room_take(&room, &f[0], 0, 0));
}

static void all_together_may_have_so_many_objects(void **state)
{
	struct manifest_share a = { 0 }, b = { 0 };

	room = (struct manifest_room){ 0 };
	assert_true(put(&a, 1, MANIFEST_ROOM_OBJECTS - 1));
	assert_false(put(&b, 1, 2));
	assert_true(put(&b, 1, 1));
	assert_false(put(&b, 1, 2));
	assert_int_equal(b.n_objects, 1);
	assert_false(put(&b, (size_t)-1, (size_t)-1));
	assert_int_equal(room.n_objects, MANIFEST_ROOM_OBJECTS);
	assert_int_equal(room.n_refused, 1);
	/* the one that is refused goes: that is room for nobody */
	assert_false(manifest_room_take(&room, &b, 0, 0));
	assert_int_equal(room.n_refused, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_together_may_have_so_many_bytes),
		cmocka_unit_test(all_together_may_have_so_many_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
