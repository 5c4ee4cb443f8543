/* A publisher that hangs in a folder that somebody has locked: it is put aside, and others go on. */
#include "test/unit/publishing.h"

#define STEPS_MAX 32

static const struct volume_path OTHER = { "other", "p", "v" };

static void order(const struct volume_path *at, const char *spec, struct result *res)
{
	*res = (struct result){ 0 };
	assert_int_equal(publish_volume(f.publish, at, payload_make(spec), result_fn, res), 0);
}

static int publish_at(const struct volume_path *at, const char *spec)
{
	struct result res;

	order(at, spec, &res);
	run();
	assert_int_equal(res.n, 1);
	return res.r;
}

/* Nobody may do anything that the order has asked for, whoever it is. */
static void assert_nothing_is_staged(const struct volume_path *at)
{
	cleanup_free char *path = str_format("%s/volumes/p/v", at->pod_uid);
	struct node *v = resolve(path, strlen(path)), *n;

	assert_non_null(v);
	assert_nothing_may_go(tree_node(f.tree, TREE_ROOT_ID));
	assert_true(tree_commit_rename(f.tree, v, "..data_tmp", v, "..data") < 0);
	assert_true(tree_commit_symlink(f.tree, v, "..data_tmp", "..x", &n) < 0);
}

/* As the keeper does: the present one was killed, does not end, and another is there. The old one's end of the socket stays open. */
static int put_aside(const char *path, bool moves)
{
	int fd = f.fd;

	f.hang_at = 0;
	publish_put_aside(f.publish, PID, path, moves);
	assert_false(publish_is_publisher(f.publish, PID));
	attach();
	return fd;
}

/* The pod is tried again after some time. */
static void until_it_is_published(const struct volume_path *at, const char *spec)
{
	int r = publish_at(at, spec);

	for (int i = 0; i < 5000 && r == -ETIMEDOUT; i++) {
		assert_true(loop_run_once(f.loop, 2000) >= 0);
		r = publish_at(at, spec);
	}
	assert_int_equal(r, 0);
}

static void count_freed(void *userdata)
{
	++*(int *)userdata;
}

/* The pods of each step hold their folders at the same time, and let them go at the same time. */
static void others_go_on_wherever_it_hangs(void **state)
{
	char uids[STEPS_MAX][16];
	int fds[STEPS_MAX], n = 0;

	assert_int_equal(publish_at(&OTHER, "a=0"), 0);
	for (int step = 1; step < STEPS_MAX; step++) {
		cleanup_free char *other = str_format("a=%d", step);
		struct volume_path at = { uids[n], "p", "v" };
		size_t n_messages;
		struct result res;
		const char *path;
		bool moves;

		snprintf(uids[n], sizeof uids[n], "uid%d", step);
		assert_int_equal(publish_at(&at, "a=0 gone=1"), 0);
		settle();
		f.hang_at = f.n_changes + step;
		order(&at, "a=1 new=1", &res);
		run();
		if (res.n) { /* it has no such step */
			assert_int_equal(res.r, 0);
			break;
		}
		path = publish_hanging(f.publish, &moves);
		assert_true(path && str_starts(path, uids[n]));
		assert_false(moves); /* ..data_tmp and ..data are in one folder */
		fds[n++] = put_aside(path, moves);
		run();
		assert_int_equal(res.n, 1);
		assert_int_equal(res.r, -ETIMEDOUT);
		assert_int_equal(publish_stats(f.publish).n_aside, n);
		assert_nothing_is_staged(&at);

		/* nobody is sent there again, whatever is to be done */
		n_messages = f.n_messages;
		assert_int_equal(publish_at(&at, "a=2"), -ETIMEDOUT);
		res = (struct result){ 0 };
		assert_int_equal(publish_remove_volume(f.publish, &at, result_fn, &res), 0);
		run();
		assert_int_equal(res.r, -ETIMEDOUT);
		assert_int_equal(f.n_messages, n_messages);
		assert_int_equal(publish_at(&OTHER, other), 0);
	}
	f.hang_at = 0;
	assert_in_range(n, 6, STEPS_MAX - 2);
	publish_aside_ended(f.publish, PID);
	assert_int_equal(publish_stats(f.publish).n_aside, 0);
	assert_int_equal(publish_at(&(struct volume_path){ uids[0], "p", "v" }, "a=2"), -ETIMEDOUT); /* not at once */
	for (int i = 0; i < n; i++) {
		cleanup_free char *v = str_format("%s/volumes/p/v", uids[i]);

		until_it_is_published(&(struct volume_path){ uids[i], "p", "v" }, "a=2");
		settle();
		assert_shown(v, "..data>..v ..v/ ..v/a=2 a>..data/a ");
		close_fd(fds[i]);
	}
}

/* What is to be done behind the switch is done for all of them then, where it has one folder of each locked. */
static void a_pod_hangs_one_publisher_whatever_is_put_off(void **state)
{
	static const struct volume_path VOLUMES[] = { { "uid", "p", "v" }, { "uid", "p", "w" }, { "uid", "p", "x" } };
	struct result res[ARRAY_SIZE(VOLUMES)];
	size_t n_messages;
	const char *path;
	bool moves;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(VOLUMES); i++)
		assert_int_equal(publish_at(&VOLUMES[i], "a=1"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(VOLUMES); i++)
		order(&VOLUMES[i], "a=2", &res[i]);
	f.hang_at = f.n_changes + 4 * (int)ARRAY_SIZE(VOLUMES) + 1;
	run();
	for (size_t i = 0; i < ARRAY_SIZE(VOLUMES); i++)
		assert_int_equal(res[i].n, 0);
	path = publish_hanging(f.publish, &moves);
	assert_true(path && str_eq(path, "uid/volumes/p/x"));
	n_messages = f.n_messages;
	fd = put_aside(path, moves);
	run();
	for (size_t i = 0; i < ARRAY_SIZE(VOLUMES); i++) {
		cleanup_free char *data = str_format("uid/volumes/p/%s/..data", VOLUMES[i].name);
		struct node *link = resolve(data, strlen(data));

		assert_int_equal(res[i].r, -ETIMEDOUT);
		assert_true(link && res[i].version[0]);
		assert_string_equal(res[i].version, node_target(link)); /* whose content is a=2 */
	}
	assert_int_equal(f.n_messages, n_messages);
	assert_shown("uid/volumes/p/v", "..data>..v ..v/ ..v/a=1 ..v/ ..v/a=2 a>..data/a ");
	publish_aside_ended(f.publish, PID);
	for (size_t i = 0; i < ARRAY_SIZE(VOLUMES); i++)
		until_it_is_published(&VOLUMES[i], "a=2");
	settle();
	assert_shown("uid/volumes/p/v", "..data>..v ..v/ ..v/a=2 a>..data/a ");
	close_fd(fd);
}

/* What was made for it is not what the volume shows, and goes. */
static void nothing_is_left_of_what_was_not_shown(void **state)
{
	struct result res;
	int fd;

	assert_int_equal(publish_at(&AT, "a=1"), 0);
	f.hang_at = f.n_changes + 2;
	order(&AT, "a=2", &res);
	run();
	fd = put_aside("uid", false);
	run();
	assert_int_equal(res.r, -ETIMEDOUT);
	assert_string_equal(res.version, "");
	assert_shown(V, "..data>..v ..v/ ..v/a=1 ..v/ ..v/a=2 a>..data/a ");
	publish_aside_ended(f.publish, PID);
	until_it_is_published(&AT, "a=1"); /* as it was before */
	settle();
	assert_shown(V, "..data>..v ..v/ ..v/a=1 a>..data/a ");
	close_fd(fd);
}

/* hangs: its end itself is what is waited for. */
static void expect_a_version_to_end(bool hangs)
{
	int fd = -1;

	assert_int_equal(publish_at(&AT, "a=1"), 0);
	assert_int_equal(publish_at(&AT, "a=2"), 0);
	assert_int_equal(publish_stats(f.publish).n_retired, 1);
	if (hangs) {
		f.hang_at = f.n_changes + 1;
		for (int i = 0; i < 5000 && !publish_hanging(f.publish, &(bool){ false }); i++) {
			assert_true(loop_run_once(f.loop, 1000) >= 0);
			publisher_serve();
		}
		fd = put_aside(publish_hanging(f.publish, &(bool){ false }), false);
	} else {
		publish_put_aside(f.publish, PID + 1, "uid", false);
	}
	for (uint64_t from = loop_now(f.loop); loop_now(f.loop) - from < 2 * PUBLISH_GRACE_USEC;) {
		assert_true(loop_run_once(f.loop, 1000) >= 0);
		assert_false(publisher_serve());
	}
	assert_shown(V, "..data>..v ..v/ ..v/ ..v/a=2 a>..data/a ");
	publish_aside_ended(f.publish, hangs ? PID : PID + 1);
	settle();
	assert_shown(V, "..data>..v ..v/ ..v/a=2 a>..data/a ");
	close_fd(fd);
}

static void a_version_that_cannot_end_ends_later(void **state)
{
	expect_a_version_to_end(false);
}

static void a_version_whose_end_hangs_ends_later(void **state)
{
	expect_a_version_to_end(true);
}

/* That is done in folders that it does not have. */
static void the_end_of_a_pod_does_not_wait(void **state)
{
	struct result res;
	int fd;

	assert_int_equal(publish_at(&AT, "a=1"), 0);
	f.hang_at = f.n_changes + 2;
	order(&AT, "a=2", &res);
	run();
	fd = put_aside("uid", false);
	run();
	assert_int_equal(res.r, -ETIMEDOUT);
	assert_int_equal(publish_name_pod(f.publish, "uid", "ns", "web", result_fn, &res), 0);
	run();
	assert_int_equal(res.r, 0);
	assert_shown("by-name", "ns/ ns/web>../../uid ");
	assert_int_equal(publish_remove_pod(f.publish, "uid", result_fn, &res), 0);
	run();
	assert_int_equal(res.r, 0);
	assert_shown("", "by-name/ ");
	assert_int_equal(publish_stats(f.publish).n_aside, 1);
	close_fd(fd);
}

/* The kernel lets nobody rename between two folders while somebody does. */
static void flat_volumes_wait_for_a_flat_one(void **state)
{
	static const struct volume_path FLAT = { "flat", "p", "v" }, FLAT_TOO = { "too", "p", "v" };
	struct result res;
	const char *path = NULL;
	bool moves = false;
	int fd;

	assert_int_equal(publish_at(&FLAT, "FLAT a=1"), 0);
	assert_int_equal(publish_at(&FLAT_TOO, "FLAT a=1"), 0);
	assert_int_equal(publish_at(&OTHER, "a=1"), 0);
	f.hang_at = f.n_changes + 4;
	order(&FLAT, "FLAT a=2", &res);
	run();
	assert_int_equal(res.n, 0);
	path = publish_hanging(f.publish, &moves);
	assert_true(path && moves);
	fd = put_aside(path, moves);
	run();
	assert_int_equal(res.r, -ETIMEDOUT);
	order(&FLAT_TOO, "FLAT a=2", &res);
	run();
	assert_int_equal(res.r, -ENOLCK);
	assert_non_null(strstr(res.error, "of the pod with the uid flat;"));
	assert_int_equal(publish_at(&OTHER, "a=2"), 0);
	assert_shown("too/volumes/p/v", "a=1 ");
	publish_aside_ended(f.publish, PID);
	assert_int_equal(publish_at(&FLAT_TOO, "FLAT a=2"), 0); /* at once: it has held nobody up */
	assert_shown("too/volumes/p/v", "a=2 ");
	until_it_is_published(&FLAT, "FLAT a=2");
	assert_shown("flat/volumes/p/v", "a=2 ");
	close_fd(fd);
}

/* Not before its last name is there and the last one that is gone has gone. A held update has two steps at least before that. */
static void told_as_shown_when_all_is(const char *layout, const char *whole)
{
	int fds[STEPS_MAX], n = 0, n_told = 0;

	for (int step = 1; step < STEPS_MAX; step++) {
		cleanup_free char *uid = str_format("%suid%d", layout, step), *v = str_format("%s/volumes/p/v", uid),
				  *first = str_format("%sa=0 gone=1", layout),
				  *second = str_format("%sa=1 gone=1", layout),
				  *third = str_format("%sa=2 new=1", layout);
		struct volume_path at = { uid, "p", "v" };
		struct result res;

		assert_int_equal(publish_at(&at, first), 0);
		assert_int_equal(publish_at(&at, second), 0);
		f.hang_at = f.n_changes + step;
		order(&at, third, &res);
		run();
		if (res.n) /* it has no such step */
			break;
		fds[n++] = put_aside(v, false);
		run();
		assert_int_equal(res.r, -ETIMEDOUT);
		if (res.version[0]) {
			cleanup_free char *text = shown(v);
			size_t len = strlen(text), whole_len = strlen(whole);

			/* names come last; before them are versions */
			assert_true(len >= whole_len);
			assert_string_equal(text + len - whole_len, whole);
			assert_null(strstr(text, "gone>"));
			n_told++;
		} else {
			assert_int_equal(n_told, 0);
		}
	}
	f.hang_at = 0;
	assert_in_range(n_told, 1, n - 2);
	while (n > 0)
		close_fd(fds[--n]);
}

static void a_held_volume_is_told_as_shown_when_all_of_it_is(void **state)
{
	told_as_shown_when_all_is("", "a>..data/a new>..data/new ");
}

static void a_held_flat_volume_is_told_as_shown_when_all_of_it_is(void **state)
{
	told_as_shown_when_all_is("FLAT ", "a=2 new=1 ");
}

/* It was an earlier agent's: the keeper knows the pod, or does not. */
static void of_an_earlier_agents_publisher_the_pod_is_left_alone(void **state)
{
	int n_freed = 0;

	publish_on_freed(f.publish, count_freed, &n_freed);
	assert_int_equal(publish_at(&AT, "a=1"), 0);
	publish_put_aside(f.publish, PID + 1, "", true);
	assert_int_equal(publish_at(&AT, "a=2"), 0);
	publish_put_aside(f.publish, PID + 2, "uid", false);
	assert_true(publish_is_publisher(f.publish, PID));
	assert_int_equal(publish_stats(f.publish).n_aside, 2);
	assert_int_equal(publish_at(&AT, "a=3"), -ETIMEDOUT);
	publish_aside_ended(f.publish, PID + 1); /* whatever it has held up */
	publish_aside_ended(f.publish, PID + 3);
	run();
	assert_int_equal(n_freed, 1);
	publish_aside_ended(f.publish, PID + 2);
	run();
	assert_int_equal(n_freed, 1);
	while (n_freed == 1)
		assert_true(loop_run_once(f.loop, USEC_PER_SEC) >= 0);
	assert_int_equal(publish_at(&AT, "a=3"), 0); /* at once */
}

/* What a pod has had before counts: each time it is left alone for longer. */
static void what_is_held_again_is_left_alone_for_longer(void **state)
{
	uint64_t before[2], waited[2];

	assert_int_equal(publish_at(&AT, "a=1"), 0);
	for (int i = 0; i < 2; i++) {
		cleanup_free char *spec = str_format("a=%d", i + 2);

		publish_put_aside(f.publish, PID + 1, "uid/volumes", false);
		publish_aside_ended(f.publish, PID + 1);
		before[i] = loop_now(f.loop);
		until_it_is_published(&AT, spec);
		waited[i] = loop_now(f.loop) - before[i];
	}
	assert_true(waited[1] > waited[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(others_go_on_wherever_it_hangs),
		TEST(a_pod_hangs_one_publisher_whatever_is_put_off),
		TEST(nothing_is_left_of_what_was_not_shown),
		TEST(a_version_that_cannot_end_ends_later),
		TEST(a_version_whose_end_hangs_ends_later),
		TEST(the_end_of_a_pod_does_not_wait),
		TEST(flat_volumes_wait_for_a_flat_one),
		TEST(a_held_volume_is_told_as_shown_when_all_of_it_is),
		TEST(a_held_flat_volume_is_told_as_shown_when_all_of_it_is),
		TEST(of_an_earlier_agents_publisher_the_pod_is_left_alone),
		TEST(what_is_held_again_is_left_alone_for_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
