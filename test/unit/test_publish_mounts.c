/* Publish: a name that is a key's in one payload and a nested mount point's in the next, and deaths in between. */
#include "test/unit/publishing.h"

#define KEY_SPEC   "a/x=1 b=1"
#define MOUNT_SPEC "b=2 a/sub c/d"
static const char as_key[] = "..data>..v ..v/ ..v/a/ ..v/a/x=1 ..v/b=1 a>..data/a b>..data/b ";
static const char as_mount[] = "..data>..v ..v/ ..v/b=2 a/ a/sub/ b>..data/b c/ c/d/ ";

static void a_key_gives_way_to_a_mount_point_and_back(void **state)
{
	struct result res;

	assert_int_equal(publish(KEY_SPEC, NULL), 0);
	for (int i = 0; i < 2; i++) {
		buf_clear(&f.log);
		assert_int_equal(publish(MOUNT_SPEC, &res), 0);
		/* the key is there until the new content is */
		assert_non_null(strstr(f.log.data, "..data\nunlink " V "/a\n"));
		settle();
		assert_shown(V, as_mount);
		assert_int_equal(publish(MOUNT_SPEC, NULL), PUBLISH_UNCHANGED);
		assert_int_equal(publish(KEY_SPEC, &res), 0);
		settle();
		assert_shown(V, as_key);
		assert_true(str_starts(res.version, "..20"));
		assert_int_equal(publish(KEY_SPEC, NULL), PUBLISH_UNCHANGED);
	}
}

#define CHANGE_STEPS 14

/* The publisher dies, or a step fails and the same payload comes once more. */
static void a_key_gives_way_to_a_mount_point_and_back_after_deaths(void **state)
{
	static const char *const specs[] = { MOUNT_SPEC, KEY_SPEC }, *const shows[] = { as_mount, as_key };
	int n_failed = 0;

	assert_int_equal(publish(KEY_SPEC, NULL), 0);
	for (int step = 1; step <= CHANGE_STEPS; step++) {
		for (int how = 0; how < 6; how++) {
			const char *spec = specs[how % 2];
			int r;

			f.die_before = how / 2 == 0 ? f.n_changes + step : 0;
			f.die_after = how / 2 == 1 ? f.n_changes + step : 0;
			f.fail_at = how / 2 == 2 ? f.n_changes + step : 0;
			r = publish(spec, NULL);
			assert_true(r == 0 || (how / 2 == 2 && r == -ENOSPC));
			n_failed += r != 0;
			f.die_before = f.die_after = f.fail_at = 0;
			if (r != 0)
				assert_int_equal(publish(spec, NULL), 0);
			settle();
			assert_shown(V, shows[how % 2]);
			assert_int_equal(publish(spec, NULL), PUBLISH_UNCHANGED);
		}
	}
	assert_true(n_failed > 0 && n_failed < 2 * CHANGE_STEPS);
}

/* An agent ends in the middle; the next one heals the volume, and then the payload comes once more. */
static void a_key_gives_way_to_a_mount_point_and_back_over_agents(void **state)
{
	static const char *const specs[] = { MOUNT_SPEC, KEY_SPEC }, *const shows[] = { as_mount, as_key };
	struct publish_result res;
	int n_healed = 0;
	uint64_t doubt = 0;
	bool whole;

	assert_int_equal(publish(KEY_SPEC, NULL), 0);
	for (int step = 1; step <= CHANGE_STEPS; step++) {
		for (int how = 0; how < 2; how++) {
			f.fail_at = f.n_changes + step;
			f.n_fail = 100; /* nothing is taken back either */
			(void)publish(specs[how], NULL);
			f.fail_at = f.n_fail = 0;
			publish_free(f.publish);
			close_fd(f.fd);
			assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
			publish_on_healed(f.publish, note_healed, &n_healed);
			assert_int_equal(publish_resume(f.publish, &doubt), 0);
			attach();
			run();
			settle();
			assert_true(publish_find(f.publish, &AT, &res, &whole));
			assert_true(whole);
			assert_true(publish(specs[how], NULL) >= 0);
			settle();
			assert_shown(V, shows[how]);
			assert_int_equal(publish(specs[how], NULL), PUBLISH_UNCHANGED);
		}
	}
	assert_true(n_healed >= 2 * CHANGE_STEPS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_key_gives_way_to_a_mount_point_and_back),
		TEST(a_key_gives_way_to_a_mount_point_and_back_after_deaths),
		TEST(a_key_gives_way_to_a_mount_point_and_back_over_agents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
