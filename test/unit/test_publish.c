/* Publish: the order of the calls, failures and deaths of the publisher at every step. */
#include "test/unit/publishing.h"

#include "test/lib/full.h"

static void a_new_volume_is_one_mkdir_after_its_parents(void **state)
{
	struct result res;

	assert_int_equal(publish("a=1 dir/b=2 nested/mount", &res), 0);
	assert_log("mkdir uid\nmkdir uid/volumes\nmkdir uid/volumes/p\nmkdir " V "\n"
		   "readdir " V "\nreadlink " V "/..data\nreaddir " V "/..v\nreadfile " V "/..v/a\nreaddir " V
		   "/..v/dir\n"
		   "readfile " V "/..v/dir/b\nreadlink " V "/a\nreadlink " V "/dir\n"
		   "readdir " V "/nested\nreaddir " V "/nested/mount\n"
		   "stat uid/volumes/p\nstat uid/volumes\nstat uid\nstat .\n");
	assert_shown(V,
		     "..data>..v ..v/ ..v/a=1 ..v/dir/ ..v/dir/b=2 a>..data/a dir>..data/dir nested/ nested/mount/ ");
	assert_true(str_starts(res.version, "..20"));
	assert_int_equal(publish_stats(f.publish).n_published, 1);
}

static void an_update_makes_the_kubelets_calls_in_order(void **state)
{
	assert_int_equal(publish("gone/x=1 kept=1 sub/y=1", NULL), 0);
	buf_clear(&f.log);
	assert_int_equal(publish("kept=2 new=2 sub/y=2", NULL), 0);
	assert_log("mkdir " V "/..v\nchmod " V "/..v\nsymlink " V "/..data_tmp ..v\n"
		   "rename " V "/..data_tmp " V "/..data\nsymlink " V "/new ..data/new\nunlink " V "/gone\n"
		   "unlink " V "/..v/gone/x\nunlink " V "/..v/kept\nunlink " V "/..v/sub/y\n"
		   "readdir " V "/..v\nreadfile " V "/..v/kept\nreadfile " V "/..v/new\nreaddir " V "/..v/sub\n"
		   "readfile " V "/..v/sub/y\nreadlink " V "/..data\nreadlink " V "/new\nreaddir " V "\n");
	settle();
	assert_log("rmdir " V "/..v/sub\nrmdir " V "/..v/gone\nrmdir " V "/..v\nreaddir " V "\n");
	assert_shown(V, "..data>..v ..v/ ..v/kept=2 ..v/new=2 ..v/sub/ ..v/sub/y=2 kept>..data/kept new>..data/new "
			"sub>..data/sub ");
}

static void an_unchanged_payload_sends_nothing(void **state)
{
	struct result first, again;
	size_t n;

	assert_int_equal(publish("a=1 b=2", &first), 0);
	n = f.n_messages;
	assert_int_equal(publish("b=2 ./a=1", &again), PUBLISH_UNCHANGED);
	assert_int_equal(f.n_messages, n);
	assert_string_equal(again.version, first.version);
	assert_int_equal(publish_stats(f.publish).n_unchanged, 1);
}

#define UPDATE_STEPS 11
static const char before_update[] = "..data>..v ..v/ ..v/gone=1 ..v/kept=1 ..v/sub/ ..v/sub/y=1 gone>..data/gone "
				    "kept>..data/kept sub>..data/sub ";
static const char after_update[] =
	"..data>..v ..v/ ..v/kept=2 ..v/new/ ..v/new/z=2 ..v/sub/ ..v/sub/y=2 kept>..data/kept "
	"new>..data/new sub>..data/sub ";

static void a_failure_before_the_switch_leaves_the_volume_as_it_was(void **state)
{
	struct result res;

	assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
	for (int step = 1; step <= 4; step++) {
		size_t n_nodes = tree_stats(f.tree).n_nodes;

		f.fail_at = f.n_changes + step;
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", &res), -ENOSPC);
		assert_non_null(strstr(res.error, V));
		assert_shown(V, before_update);
		assert_int_equal(tree_stats(f.tree).n_nodes, n_nodes);
	}
	f.fail_at = 0;
	assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), PUBLISH_UNCHANGED);
	assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), 0);
	settle();
	assert_shown(V, after_update);
	assert_int_equal(publish_stats(f.publish).n_failed, 4);
}

static void a_failure_after_the_switch_is_healed_by_the_next_update(void **state)
{
	char path[256];
	struct node *n;

	for (int step = 5; step <= 9; step++) {
		assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
		settle();
		f.fail_at = f.n_changes + step;
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), -ENOSPC);
		f.fail_at = 0;
		/* what readers see meanwhile is the new content */
		n = resolve(V "/..data", strlen(V "/..data"));
		assert_non_null(n);
		snprintf(path, sizeof path, V "/%s/new/z", node_target(n));
		assert_non_null(resolve(path, strlen(path)));
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), 0);
		settle();
		assert_shown(V, after_update);
	}
}

/* Another agent follows, in the middle of the links. */
static void what_an_earlier_process_left_undone_is_not_whole_until_it_is_healed(void **state)
{
	struct publish_result res;
	int n_healed = 0, n = 0;
	uint64_t doubt = 0;
	bool whole;

	for (int step = 5; step <= 6; step++) {
		assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
		settle();
		whole = false;
		assert_true(publish_find(f.publish, &AT, &res, &whole));
		assert_true(whole);
		f.fail_at = f.n_changes + step;
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), -ENOSPC);
		f.fail_at = 0;
		publish_free(f.publish);
		close_fd(f.fd);
		assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
		publish_on_healed(f.publish, note_healed, &n_healed);
		assert_int_equal(publish_resume(f.publish, &doubt), 0);
		whole = true;
		assert_true(publish_find(f.publish, &AT, &res, &whole));
		assert_false(whole);
		attach();
		run();
		settle();
		assert_int_equal(n_healed, ++n);
		assert_true(publish_find(f.publish, &AT, &res, &whole));
		assert_true(whole);
		assert_shown(V, after_update);
	}
}

static void volumes_of_an_earlier_process_are_unheard_of_until_somebody_vouches(void **state)
{
	uint64_t doubt = 0;

	assert_int_equal(publish("a=1", NULL), 0);
	assert_null(publish_error(f.publish, V));
	publish_free(f.publish);
	close_fd(f.fd);
	assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
	publish_will_resume(f.publish);
	assert_non_null(publish_error(f.publish, V));
	assert_int_equal(publish_resume(f.publish, &doubt), 0);
	assert_non_null(publish_error(f.publish, V));
	assert_null(publish_error(f.publish, "uid/volumes/p/other"));
	publish_set_error(f.publish, &AT, "");
	assert_null(publish_error(f.publish, V));
	attach();
}

/* The last change of an earlier process may have got no answer: the kernel is made to look again before all is well. */
static void a_folder_in_doubt_is_looked_at_again(void **state)
{
	struct publish_result res;
	uint64_t doubt;
	int n_healed = 0;
	bool whole = true;

	assert_int_equal(publish("a=1 b/c=2", NULL), 0);
	settle();
	doubt = node_id(resolve(V, strlen(V)));
	publish_free(f.publish);
	close_fd(f.fd);
	buf_clear(&f.log);
	assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
	publish_on_healed(f.publish, note_healed, &n_healed);
	assert_int_equal(publish_resume(f.publish, &doubt), 0);
	assert_true(publish_find(f.publish, &AT, &res, &whole));
	assert_false(whole);
	attach();
	run();
	assert_int_equal(n_healed, 1);
	assert_int_equal(doubt, 0);
	assert_true(publish_find(f.publish, &AT, &res, &whole));
	assert_true(whole);
	assert_log("chmod " V "\nreaddir " V "\n");
}

static void live_files_are_forgotten_before_the_switch_and_dropped_after_it(void **state)
{
	size_t n;

	assert_int_equal(publish("LIVE a=1 b=1 s/c=1", NULL), 0);
	assert_live("a=1 b=1 s/c=1 ");
	buf_clear(&f.log);
	n = f.n_messages;
	assert_int_equal(publish("LIVE a=2 b=1 s/c=1 d=2", NULL), 0);
	assert_log("mkdir " V "/..v\nforget " L "/a\nchmod " V "/..v\nsymlink " V "/..data_tmp ..v\n"
		   "rename " V "/..data_tmp " V "/..data\ndrop " L "/a\ntouch " L "/a\nstat " L "/a\nmknod " L "/d\n"
		   "symlink " V "/d ..data/d\nunlink " V "/..v/a\nunlink " V "/..v/b\nunlink " V "/..v/s/c\n"
		   "readdir " V "/..v\nreadfile " V "/..v/a\nreadfile " V "/..v/b\nreadfile " V "/..v/d\n"
		   "readdir " V "/..v/s\nreadfile " V "/..v/s/c\nreadlink " V "/..data\nreadfile " L "/d\n"
		   "readlink " V "/d\nreadfile " L "/a\nreaddir " V "\n");
	/* what has /dev/fuse has nothing else in it, and what is waited for is not behind what is not */
	assert_int_equal(f.n_messages - n, 6);
	assert_live("a=2 b=1 s/c=1 d=2 ");
}

static void a_live_file_whose_key_goes_or_comes_changes_its_folder(void **state)
{
	assert_int_equal(publish("LIVE a=1 s/c=1", NULL), 0);
	assert_int_equal(publish("LIVE a=1", NULL), 0);
	assert_non_null(strstr(f.log.data, "drop " L "/s/c\ndrop " L "/s\n"));
	assert_live("a=1 ");
	buf_clear(&f.log);
	assert_int_equal(publish("LIVE a=1 s/c=3", NULL), 0);
	assert_non_null(strstr(f.log.data, "drop " L "/s/c\ndrop " L "/s\n"));
	assert_null(strstr(f.log.data, "mknod"));
	assert_live("a=1 s/c=3 ");
}

static void a_live_file_gives_way_to_a_folder_and_back(void **state)
{
	assert_int_equal(publish("LIVE s=1", NULL), 0);
	assert_live("s=1 ");
	assert_int_equal(publish("LIVE s/c=2", NULL), 0);
	assert_live("s/c=2 ");
	assert_int_equal(publish("LIVE s=3", NULL), 0);
	assert_live("s=3 ");
}

static void live_files_stay_with_the_volume_and_go_with_it(void **state)
{
	bool whole = false;

	assert_int_equal(publish("a=1", NULL), 0);
	assert_live("");
	assert_int_equal(publish("LIVE a=1", NULL), 0);
	assert_live("a=1 ");
	assert_int_equal(publish("LIVE a=1", NULL), PUBLISH_UNCHANGED);
	assert_int_equal(publish("a=2", NULL), 0);
	assert_live("a=2 ");
	assert_true(publish_find(f.publish, &AT, &(struct publish_result){ 0 }, &whole));
	assert_true(whole);
	assert_int_equal(publish_remove_volume(f.publish, &AT, NULL, NULL), 0);
	run();
	assert_null(resolve(L, strlen(L)));
}

#define LIVE_STEPS 20

/* The publisher's or the agent's; what is in flux is settled before all is well. */
static void live_files_survive_deaths_at_any_step(void **state)
{
	struct publish_result res;
	int n_healed = 0, n_unsettled = 0, r;
	uint64_t doubt = 0;
	bool whole;

	for (int step = 1; step <= LIVE_STEPS; step++) {
		for (int how = 0; how < 3; how++) {
			assert_true(publish("LIVE a=1 b=1 s/c=1", NULL) >= 0);
			settle();
			f.die_before = how == 0 ? f.n_changes + step : 0;
			f.die_after = how == 1 ? f.n_changes + step : 0;
			f.fail_at = how == 2 ? f.n_changes + step : 0;
			r = publish("LIVE a=2 b=1 d=2", NULL);
			/* a touch may fail */
			assert_true(r == 0 || (how == 2 && r == -ENOSPC));
			f.die_before = f.die_after = f.fail_at = 0;
			if (how < 2) {
				settle();
				assert_live("a=2 b=1 d=2 ");
				continue;
			}
			n_unsettled += node_is_in_flux(resolve(L "/a", strlen(L "/a")));
			publish_free(f.publish);
			close_fd(f.fd);
			assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
			publish_on_healed(f.publish, note_healed, &n_healed);
			assert_int_equal(publish_resume(f.publish, &doubt), 0);
			assert_true(publish_find(f.publish, &AT, &res, &whole));
			assert_true(!whole || !node_is_in_flux(resolve(L "/a", strlen(L "/a"))));
			attach();
			run();
			settle();
			assert_true(publish_find(f.publish, &AT, &res, &whole));
			assert_true(whole);
			if (resolve(L "/d", strlen(L "/d")))
				assert_live("a=2 b=1 d=2 ");
			else
				assert_live("a=1 b=1 s/c=1 ");
		}
	}
	assert_true(n_unsettled > 3 && n_unsettled < LIVE_STEPS);
}

/* A failed update is not wanted any more: what it has put in flux does not stay so. */
static void live_files_of_an_update_that_was_taken_back_are_settled(void **state)
{
	assert_int_equal(publish("LIVE a=1", NULL), 0);
	f.fail_at = f.n_changes + 3;
	assert_int_equal(publish("LIVE a=2", NULL), -ENOSPC);
	f.fail_at = 0;
	assert_live("a=1! ");
	assert_int_equal(publish("LIVE a=1", NULL), 0);
	assert_live("a=1 ");
	assert_int_equal(publish("LIVE a=1", NULL), PUBLISH_UNCHANGED);
}

static void a_new_volume_that_fails_leaves_nothing(void **state)
{
	for (int step = 1; step <= 4; step++) {
		f.fail_at = f.n_changes + step;
		assert_int_equal(publish("a=1 b/c=2", NULL), -ENOSPC);
		assert_shown("", "");
		assert_int_equal(tree_stats(f.tree).n_nodes, 1);
	}
	f.fail_at = 0;
	assert_int_equal(publish("a=1 b/c=2", NULL), 0);
}

static void a_publisher_may_die_at_any_step(void **state)
{
	for (int step = 1; step <= UPDATE_STEPS; step++) {
		for (int after = 0; after < 2; after++) {
			assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
			settle();
			assert_shown(V, before_update);
			f.die_before = after ? 0 : f.n_changes + step;
			f.die_after = after ? f.n_changes + step : 0;
			assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), 0);
			settle();
			assert_shown(V, after_update);
			f.die_before = f.die_after = 0;
		}
	}
}

static void a_publisher_may_die_in_a_new_volume(void **state)
{
	for (int step = 1; step <= 4; step++) {
		for (int after = 0; after < 2; after++) {
			struct result res = { 0 };

			f.die_before = after ? 0 : f.n_changes + step;
			f.die_after = after ? f.n_changes + step : 0;
			assert_int_equal(publish("a=1", NULL), 0);
			f.die_before = f.die_after = 0;
			assert_shown(V, "..data>..v ..v/ ..v/a=1 a>..data/a ");
			assert_int_equal(publish_remove_pod(f.publish, "uid", result_fn, &res), 0);
			run();
			assert_int_equal(res.n, 1);
			assert_int_equal(res.r, 0);
			assert_int_equal(tree_stats(f.tree).n_nodes, 1);
		}
	}
}

static void a_failure_and_a_death_while_it_is_taken_back(void **state)
{
	assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
	f.fail_at = f.n_changes + 4;
	f.die_before = f.n_changes + 5;
	assert_int_equal(publish("kept=2", NULL), -ENOSPC);
	assert_shown(V, before_update);
	f.fail_at = f.die_before = 0;
}

/* What could not be taken back is in nobody's way. */
static void a_failure_while_it_is_taken_back_is_healed_by_the_next_update(void **state)
{
	for (int step = 2; step <= 9; step++) {
		assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
		settle();
		f.fail_at = f.n_changes + step;
		f.n_fail = 1;
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), -ENOSPC);
		f.fail_at = f.n_fail = 0;
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), 0);
		settle();
		assert_shown(V, after_update);
	}
}

static void what_has_failed_first_is_what_is_told(void **state)
{
	struct result res;

	assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
	f.n_fail = 1;
	f.later_errno = EACCES;
	for (int step = 2; step <= 4; step++) {
		f.fail_at = f.n_changes + step;
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", &res), -ENOSPC);
		assert_non_null(strstr(res.error, strerror(ENOSPC)));
		assert_null(strstr(res.error, "rmdir"));
		assert_nothing_may_go(resolve(V, strlen(V)));
		/* it is still to be had */
		assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), PUBLISH_UNCHANGED);
	}
}

/* One that is stopped while it has nothing to do. */
static void an_idle_publisher_is_asked_for_a_sign_of_life(void **state)
{
	uint64_t n_answers;
	size_t n_messages;

	assert_int_equal(publish("a=1", NULL), 0);
	n_answers = publish_stats(f.publish).n_answers;
	n_messages = f.n_messages;
	assert_int_equal(publish_stats(f.publish).unanswered_usec, 0);
	for (int i = 0; i < 3; i++) {
		publish_ask(f.publish);
		while (publish_stats(f.publish).unanswered_usec == 0)
			assert_true(loop_run_once(f.loop, USEC_PER_MSEC) >= 0);
		/* once, as long as there is no answer; and an order does not wait for it */
		publish_ask(f.publish);
		if (i == 1)
			assert_int_equal(publish("a=2", NULL), 0);
		run();
		assert_int_equal(publish_stats(f.publish).unanswered_usec, 0);
		assert_true(publish_stats(f.publish).n_answers > n_answers);
		n_answers = publish_stats(f.publish).n_answers;
	}
	settle();
	assert_shown(V, "..data>..v ..v/ ..v/a=2 a>..data/a ");
	/* who dies meanwhile owes nothing any more */
	publish_ask(f.publish);
	publisher_dies();
	run();
	assert_int_equal(publish_stats(f.publish).unanswered_usec, 0);
	assert_true(f.n_messages > n_messages);
}

static void a_removal_that_has_not_come_is_no_success(void **state)
{
	struct result res = { 0 };

	assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
	f.lies_of_removals = true;
	assert_int_equal(publish("kept=2 new/z=2 sub/y=2", &res), -EIO);
	assert_non_null(strstr(res.error, "the publisher did not remove " V "/gone"));
	assert_nothing_may_go(resolve(V, strlen(V)));
	f.lies_of_removals = false;
	assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), 0);
	settle();
	assert_shown(V, after_update);
}

/* The folder that it is in does not go before. */
static void a_move_that_has_not_come_is_no_success(void **state)
{
	struct result res = { 0 };

	assert_int_equal(publish("FLAT a=1 b/c=1", NULL), 0);
	f.lies_of_renames = true;
	assert_int_equal(publish("FLAT a=2 b/c=2 d/e=2", &res), -ENOTEMPTY);
	assert_non_null(strstr(res.error, "rmdir uid/staging/v/"));
	assert_shown(V, "a=1 b/ b/c=1 ");
	assert_nothing_may_go(resolve(V, strlen(V)));
	f.lies_of_renames = false;
	assert_int_equal(publish("FLAT a=2 b/c=2 d/e=2", NULL), 0);
	assert_shown(V, "a=2 b/ b/c=2 d/ d/e=2 ");
}

/* Nor where it takes something back: what is told is what has failed before. */
static void what_is_not_taken_back_may_not_go_later(void **state)
{
	struct result res = { 0 };

	assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
	f.lies_of_removals = true;
	f.fail_at = f.n_changes + 4;
	assert_int_equal(publish("kept=2 new/z=2 sub/y=2", &res), -ENOSPC);
	assert_nothing_may_go(resolve(V, strlen(V)));
	f.lies_of_removals = false;
	f.fail_at = 0;
	assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), 0);
	settle();
	assert_shown(V, after_update);
}

/* The grace of the version before is over, but it stays where it is: the next update takes it away. */
static void a_version_that_does_not_expire_goes_with_the_next_update(void **state)
{
	assert_int_equal(publish("a=1", NULL), 0);
	assert_int_equal(publish("a=2", NULL), 0);
	f.lies_of_removals = true;
	settle();
	assert_nothing_may_go(resolve(V, strlen(V)));
	f.lies_of_removals = false;
	assert_int_equal(publish("a=3", NULL), 0);
	settle();
	assert_shown(V, "..data>..v ..v/ ..v/a=3 a>..data/a ");
}

static void a_name_that_could_not_be_taken_back_is_in_nobodys_way(void **state)
{
	struct result res = { 0 };

	assert_int_equal(publish_name_pod(f.publish, "uid", "ns", "web", NULL, NULL), 0);
	run();
	f.fail_at = f.n_changes + 2; /* the rename, and the unlink that takes the link back */
	f.n_fail = 1;
	assert_int_equal(publish_name_pod(f.publish, "uid2", "ns", "web", NULL, NULL), 0);
	run();
	f.fail_at = f.n_fail = 0;
	assert_int_equal(publish_name_pod(f.publish, "uid3", "ns", "web", NULL, NULL), 0);
	run();
	assert_shown("by-name", "ns/ ns/web>../../uid3 ");
	assert_int_equal(publish_remove_pod(f.publish, "uid3", result_fn, &res), 0);
	run();
	assert_int_equal(res.r, 0);
	assert_shown("", "by-name/ ");
}

static void long_orders_are_cut_into_messages(void **state)
{
	cleanup_buf struct buf spec = BUF_INIT(1 << 20);

	for (int i = 0; i < 2000; i++)
		assert_int_equal(buf_printf(&spec, "%s%d=%d", i ? " key-" : "key-", i, i), 0);
	assert_int_equal(publish(spec.data, NULL), 0);
	assert_true(f.n_messages > 4);
	assert_true(f.biggest <= ORDER_MAX);
	assert_int_equal(publish("one=1", NULL), 0);
	settle();
	assert_shown(V, "..data>..v ..v/ ..v/one=1 one>..data/one ");
	assert_true(f.biggest <= ORDER_MAX);
}

static void turn(int n)
{
	for (int i = 0; i < n; i++)
		assert_true(loop_run_once(f.loop, 0) >= 0);
}

static void waiting_payloads_are_overtaken(void **state)
{
	struct result res[4] = { 0 };
	struct volume_path other = { "uid", "p", "w" };

	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=1"), result_fn, &res[0]), 0);
	assert_int_equal(publish_volume(f.publish, &other, payload_make("a=1"), result_fn, &res[1]), 0);
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=2"), result_fn, &res[2]), 0);
	assert_int_equal(publish_stats(f.publish).n_queued, 2);
	run();
	assert_int_equal(res[0].r, -ESTALE);
	assert_string_equal(res[0].error, "overtaken by a newer payload");
	assert_int_equal(res[1].r, 0);
	assert_int_equal(res[2].r, 0);
	assert_shown(V, "..data>..v ..v/ ..v/a=2 a>..data/a ");

	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=3"), result_fn, &res[0]), 0);
	assert_int_equal(publish_remove_pod(f.publish, "uid", result_fn, &res[3]), 0);
	run();
	assert_int_equal(res[0].r, -ESTALE);
	assert_int_equal(res[3].r, 0);
	assert_shown("", "");
	for (size_t i = 0; i < ARRAY_SIZE(res); i++)
		assert_int_equal(res[i].n, i == 0 ? 2 : 1);
}

static void overtaken_payloads_are_all_told_in_one_turn(void **state)
{
	struct result res[4] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(res); i++)
		assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=1"), result_fn, &res[i]), 0);
	turn(1);
	for (size_t i = 0; i < ARRAY_SIZE(res) - 1; i++) {
		assert_int_equal(res[i].n, 1);
		assert_int_equal(res[i].r, -ESTALE);
	}
	assert_int_equal(res[3].n, 0);
	run();
	assert_int_equal(res[3].n, 1);
	assert_int_equal(res[3].r, 0);
}

static void result_that_ends_publishing(void *userdata, int r, const struct publish_result *res, const struct err *e)
{
	result_fn(userdata, r, res, e);
	publish_free(TAKE_PTR(f.publish));
}

/* Each of the others is told once, and nothing of it is touched afterwards. */
static void whoever_is_told_may_end_publishing(void **state)
{
	struct result res[4] = { 0 };

	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=0"), result_that_ends_publishing, &res[0]), 0);
	for (size_t i = 1; i < ARRAY_SIZE(res); i++)
		assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=1"), result_fn, &res[i]), 0);
	turn(3);
	assert_null(f.publish);
	for (size_t i = 0; i < ARRAY_SIZE(res); i++) {
		assert_int_equal(res[i].n, 1);
		assert_int_equal(res[i].r, i == 0 ? -ESTALE : -ECANCELED);
	}
}

/* However many there are before anybody has been told. */
static void overtaken_payloads_hold_no_memory(void **state)
{
	enum { N = 3000 };
	struct result res = { 0 };

	for (int i = 0; i < N; i++)
		assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=1"), result_fn, &res), 0);
	assert_in_range(secmem_stats().n_blocks, 1, 2);
	run();
	assert_int_equal(res.n, N);
	assert_int_equal(res.r, 0);
	assert_shown(V, "..data>..v ..v/ ..v/a=1 a>..data/a ");
}

/* A flat volume has copies of its own. */
static void full_locked_memory_is_told_as_that(void **state)
{
	struct payload *p = payload_make("FLAT a=1");
	struct result res = { 0 };
	void *held = NULL;

	secmem_fill(&held);
	assert_int_equal(publish_volume(f.publish, &AT, p, result_fn, &res), 0);
	run();
	assert_int_equal(res.r, -ENOMEM);
	assert_int_equal(res.reason, SECMEM_FULL);
	assert_non_null(strstr(res.error, "publish " V ": no memory for a secret of "));
	assert_non_null(strstr(res.error, "(secretMemoryLimit) are in use"));
	secmem_empty(&held);
	assert_int_equal(publish("FLAT a=1", NULL), 0);
}

static void names_come_and_go_with_their_pods(void **state)
{
	struct result res = { 0 };

	assert_int_equal(publish_name_pod(f.publish, "uid", "ns", "web", NULL, NULL), 0);
	assert_int_equal(publish("a=1", NULL), 0);
	assert_shown("by-name", "ns/ ns/web>../../uid ");
	assert_int_equal(publish_name_pod(f.publish, "uid2", "ns", "web", NULL, NULL), 0);
	assert_int_equal(publish_name_pod(f.publish, "uid3", "ns", "db", NULL, NULL), 0);
	run();
	assert_shown("by-name", "ns/ ns/db>../../uid3 ns/web>../../uid2 ");
	assert_int_equal(publish_remove_pod(f.publish, "uid", result_fn, &res), 0);
	run();
	assert_shown("by-name", "ns/ ns/db>../../uid3 ns/web>../../uid2 ");
	assert_int_equal(publish_remove_pod(f.publish, "uid2", result_fn, &res), 0);
	assert_int_equal(publish_remove_pod(f.publish, "uid3", NULL, NULL), 0);
	run();
	assert_shown("", "by-name/ ");
	assert_int_equal(res.n, 2);
}

static void what_is_under_way_ends_with_publish(void **state)
{
	struct result res = { 0 }, removed = { 0 };

	assert_int_equal(publish("a=1", NULL), 0);
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=2"), result_fn, &res), 0);
	assert_true(loop_run_once(f.loop, 0) >= 0);
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=3"), result_fn, &res), 0);
	assert_int_equal(publish_remove_pod(f.publish, "other", result_fn, &removed), 0);
	publish_free(f.publish);
	f.publish = NULL;
	assert_int_equal(res.n, 2);
	assert_int_equal(res.r, -ECANCELED);
	assert_int_equal(removed.n, 1);
	assert_int_equal(removed.r, -ECANCELED);
}

static void strange_answers_are_harmless(void **state)
{
	struct result res = { 0 };
	struct order_answer a = { .id = 999, .failed = 0, .error = EIO };
	static const uint32_t errors[] = { 0, 4096, INT32_MAX, UINT32_C(1) << 31, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		f.strange_error = &errors[i];
		f.fail_at = f.n_changes + 1;
		assert_int_equal(publish("a=0", &res), -EIO);
		res = (struct result){ 0 };
	}
	f.fail_at = 0;
	f.strange_error = NULL;
	assert_int_equal(send(f.fd, &a, sizeof a, 0), sizeof a);
	assert_int_equal(publish("a=1", NULL), 0);
	/* not an answer: whoever sends that is no publisher of ours */
	assert_int_equal(send(f.fd, "x", 1, 0), 1);
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=2"), result_fn, &res), 0);
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(f.loop, 0) >= 0);
	assert_false(publish_stats(f.publish).attached);
	assert_false(publish_is_publisher(f.publish, PID));
	assert_false(publish_is_publisher(f.publish, 0));
	publisher_dies();
	run();
	assert_true(publish_is_publisher(f.publish, PID));
	assert_int_equal(res.n, 1);
	assert_int_equal(res.r, 0);
}

/* An answer to an order that is not the present one says nothing of it, good or bad. */
static void an_answer_to_another_order_is_not_taken(void **state)
{
	static char msg[ORDER_MAX + 1];
	struct result res = { 0 };
	struct order_head head;
	uint64_t n_answers;

	assert_int_equal(publish("a=1", NULL), 0);
	n_answers = publish_stats(f.publish).n_answers;
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=2"), result_fn, &res), 0);
	turn(5);
	assert_true(recv(f.fd, msg, sizeof msg, MSG_PEEK) > (ssize_t)sizeof head);
	memcpy(&head, msg, sizeof head);
	for (int by = -1; by <= 1; by += 2) {
		struct order_answer done = { .id = head.id + by, .failed = ORDER_DONE },
				    failed = { .id = head.id + by, .failed = 0, .error = EIO };

		assert_int_equal(send(f.fd, &done, sizeof done, 0), sizeof done);
		assert_int_equal(send(f.fd, &failed, sizeof failed, 0), sizeof failed);
	}
	turn(10);
	assert_int_equal(res.n, 0);
	assert_int_equal(publish_stats(f.publish).n_answers, n_answers);
	run();
	assert_int_equal(res.n, 1);
	assert_int_equal(res.r, 0);
	assert_shown(V, "..data>..v ..v/ ..v/ ..v/a=2 a>..data/a ");
}

static int n_read_only;

static bool read_only_fn(void *userdata)
{
	n_read_only++;
	return userdata == NULL;
}

static void what_meets_a_read_only_file_system_waits_and_is_repeated(void **state)
{
	static const uint32_t error = EROFS;
	struct result last = { 0 };
	size_t n_messages, before;
	int n_waited = 0;

	publish_on_read_only(f.publish, read_only_fn, NULL);
	f.strange_error = &error;
	for (int step = 1;; step++, n_waited++) {
		cleanup_free char *spec = str_format("a=%d b%d=1", step, step);
		struct result res = { 0 };

		n_read_only = 0;
		f.fail_at = f.n_changes + step;
		assert_int_equal(publish_volume(f.publish, &AT, payload_make(spec), result_fn, &res), 0);
		run();
		if (n_read_only == 0)
			break; /* it has no such step */
		assert_int_equal(res.n, 0);
		assert_int_equal(publish_stats(f.publish).unanswered_usec, 0);
		if (step % 2) {
			publish_repeat(f.publish);
		} else { /* another publisher does it, too, and only once */
			publisher_dies();
			run();
			publish_repeat(f.publish);
		}
		run();
		assert_int_equal(res.n, 1);
		assert_int_equal(res.r, 0);
		assert_int_equal(n_read_only, 1);
	}
	assert_true(n_waited > 5);
	publish_repeat(f.publish); /* nothing waits */
	run();
	/* what is under way does not wait: it is not begun twice */
	f.fail_at = 0;
	n_messages = f.n_messages;
	assert_int_equal(publish("a=x", NULL), 0);
	n_messages = f.n_messages - n_messages;
	before = f.n_messages;
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=y"), result_fn, &last), 0);
	turn(5);
	publish_repeat(f.publish);
	run();
	assert_int_equal(last.n, 1);
	assert_int_equal(f.n_messages - before, n_messages);
}

static void a_file_system_that_stays_read_only_is_an_error(void **state)
{
	static const uint32_t error = EROFS;
	struct result res = { 0 };

	assert_int_equal(publish("a=1", NULL), 0);
	f.strange_error = &error;
	f.fail_at = f.n_changes + 1;
	f.n_fail = INT16_MAX;
	/* nobody would do anything about it */
	assert_int_equal(publish("a=2", NULL), -EROFS);
	publish_on_read_only(f.publish, read_only_fn, &res);
	assert_int_equal(publish("a=2", NULL), -EROFS);
	publish_on_read_only(f.publish, read_only_fn, NULL);
	n_read_only = 0;
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=2"), result_fn, &res), 0);
	for (int i = 0; i < 20 && res.n == 0; i++) {
		run();
		publish_repeat(f.publish);
	}
	assert_int_equal(res.n, 1);
	assert_int_equal(res.r, -EROFS);
	assert_in_range(n_read_only, 1, 5);
	f.fail_at = 0;
	assert_shown(V, "..data>..v ..v/ ..v/a=1 a>..data/a ");
	assert_int_equal(publish("a=2", NULL), 0);
}

static void an_order_without_an_answer_gets_older(void **state)
{
	struct result res = { 0 };

	assert_int_equal(publish_stats(f.publish).unanswered_usec, 0);
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=1"), result_fn, &res), 0);
	for (int i = 0; i < 1000 && publish_stats(f.publish).unanswered_usec < 2000; i++)
		assert_true(loop_run_once(f.loop, 1000) >= 0);
	assert_true(publish_stats(f.publish).unanswered_usec >= 2000);
	run();
	assert_int_equal(res.n, 1);
	assert_int_equal(publish_stats(f.publish).unanswered_usec, 0);
	/* nobody waits for one that is gone */
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=2"), result_fn, &res), 0);
	assert_true(loop_run_once(f.loop, 0) >= 0);
	publisher_dies();
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(f.loop, 1000) >= 0);
	assert_int_equal(publish_stats(f.publish).unanswered_usec, 0);
	run();
	assert_int_equal(res.n, 2);
}

static void a_publisher_that_lies_is_found_out(void **state)
{
	struct result res = { 0 };

	assert_int_equal(publish("a=1", NULL), 0);
	f.lies = true;
	assert_int_equal(publish("a=2", &res), -EIO);
	assert_non_null(strstr(res.error, "the publisher did not make " V));
	assert_int_equal(publish_remove_volume(f.publish, &AT, result_fn, &res), 0);
	run();
	assert_int_equal(res.r, -EIO);
	assert_int_equal(publish_remove_pod(f.publish, "uid", result_fn, &res), 0);
	run();
	assert_int_equal(res.r, -EIO);
	f.lies = false;
	assert_shown(V, "..data>..v ..v/ ..v/a=1 a>..data/a ");
	/* how far the removals came, nobody knows */
	assert_int_equal(publish("a=1", NULL), 0);
	assert_int_equal(publish("a=1", NULL), PUBLISH_UNCHANGED);
	assert_int_equal(publish("a=2", NULL), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_new_volume_is_one_mkdir_after_its_parents),
		TEST(an_update_makes_the_kubelets_calls_in_order),
		TEST(an_unchanged_payload_sends_nothing),
		TEST(a_failure_before_the_switch_leaves_the_volume_as_it_was),
		TEST(a_failure_after_the_switch_is_healed_by_the_next_update),
		TEST(what_an_earlier_process_left_undone_is_not_whole_until_it_is_healed),
		TEST(volumes_of_an_earlier_process_are_unheard_of_until_somebody_vouches),
		TEST(a_folder_in_doubt_is_looked_at_again),
		TEST(a_new_volume_that_fails_leaves_nothing),
		TEST(live_files_are_forgotten_before_the_switch_and_dropped_after_it),
		TEST(a_live_file_whose_key_goes_or_comes_changes_its_folder),
		TEST(a_live_file_gives_way_to_a_folder_and_back),
		TEST(live_files_stay_with_the_volume_and_go_with_it),
		TEST(live_files_survive_deaths_at_any_step),
		TEST(live_files_of_an_update_that_was_taken_back_are_settled),
		TEST(a_publisher_may_die_at_any_step),
		TEST(a_publisher_may_die_in_a_new_volume),
		TEST(a_failure_and_a_death_while_it_is_taken_back),
		TEST(a_failure_while_it_is_taken_back_is_healed_by_the_next_update),
		TEST(what_has_failed_first_is_what_is_told),
		TEST(an_idle_publisher_is_asked_for_a_sign_of_life),
		TEST(a_removal_that_has_not_come_is_no_success),
		TEST(a_move_that_has_not_come_is_no_success),
		TEST(what_is_not_taken_back_may_not_go_later),
		TEST(a_version_that_does_not_expire_goes_with_the_next_update),
		TEST(a_name_that_could_not_be_taken_back_is_in_nobodys_way),
		TEST(long_orders_are_cut_into_messages),
		TEST(waiting_payloads_are_overtaken),
		TEST(overtaken_payloads_are_all_told_in_one_turn),
		TEST(whoever_is_told_may_end_publishing),
		TEST(overtaken_payloads_hold_no_memory),
		TEST(full_locked_memory_is_told_as_that),
		TEST(names_come_and_go_with_their_pods),
		TEST(what_is_under_way_ends_with_publish),
		TEST(strange_answers_are_harmless),
		TEST(an_answer_to_another_order_is_not_taken),
		TEST(what_meets_a_read_only_file_system_waits_and_is_repeated),
		TEST(a_file_system_that_stays_read_only_is_an_error),
		TEST(an_order_without_an_answer_gets_older),
		TEST(a_publisher_that_lies_is_found_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
