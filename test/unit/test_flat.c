/* Flat volumes: the calls and their order, what is shown at any time in between, and deaths and failures at every step. */
#include "test/unit/publishing.h"

#define S "uid/staging/v"

static void a_new_volume_is_one_mkdir_after_its_parents(void **state)
{
	struct result res;

	assert_int_equal(publish("FLAT a=1 dir/b=2 nested/mount", &res), 0);
	assert_log("mkdir uid\nmkdir uid/staging\nmkdir " S "\nmkdir " S
		   "/new\nmkdir uid/volumes\nmkdir uid/volumes/p\n"
		   "mkdir " V "\nreaddir " V "\nreadfile " V "/a\nreaddir " V "/dir\nreadfile " V "/dir/b\n"
		   "readdir " V "/nested\nreaddir " V "/nested/mount\n"
		   "stat uid/volumes/p\nstat uid/volumes\nstat uid\nstat .\n");
	assert_shown(V, "a=1 dir/ dir/b=2 nested/ nested/mount/ ");
	assert_shown(S, "new/ ");
	assert_true(str_starts(res.version, "20"));
	assert_int_equal(publish_stats(f.publish).n_published, 1);
}

static void an_update_renames_what_has_changed_and_nothing_else(void **state)
{
	struct result res, again;
	struct stat before, after;
	uint64_t same, sub;

	assert_int_equal(publish("FLAT gone=1 kept=1 old/x=1 same=1 sub/same=1 sub/y=1", NULL), 0);
	same = node_id(resolve(V "/same", strlen(V "/same")));
	sub = node_id(resolve(V "/sub", strlen(V "/sub")));
	node_stat(tree_node(f.tree, same), &before);
	buf_clear(&f.log);
	assert_int_equal(publish("FLAT kept=2 more/w=2 new=2 same=1 sub/same=1 sub/y=2", &res), 0);
	assert_log("mkdir " S "/new\n"
		   "readfile " S "/new/files/kept\nreadfile " S "/new/files/more/w\nreadfile " S "/new/files/new\n"
		   "readfile " S "/new/files/sub/y\n"
		   "rename " S "/new/files/kept " V "/kept\nrename " S "/new/files/more " V "/more\n"
		   "rename " S "/new/files/new " V "/new\nrename " S "/new/files/sub/y " V "/sub/y\n"
		   "unlink " V "/gone\nunlink " V "/old/x\nrmdir " V "/old\n"
		   "rmdir " S "/new/files\nrmdir " S "/new\n"
		   "readfile " V "/kept\nreaddir " V "/more\nreadfile " V "/more/w\nreadfile " V "/new\n"
		   "readdir " V "/sub\nreadfile " V "/sub/y\nreaddir " V "\n");
	assert_shown(V, "kept=2 more/ more/w=2 new=2 same=1 sub/ sub/same=1 sub/y=2 ");
	assert_shown(S, "new/ ");
	assert_int_equal(node_id(resolve(V "/same", strlen(V "/same"))), same);
	assert_int_equal(node_id(resolve(V "/sub", strlen(V "/sub"))), sub);
	node_stat(tree_node(f.tree, same), &after);
	assert_memory_equal(&before, &after, sizeof before);
	assert_int_equal(publish("FLAT kept=2 more/w=2 new=2 same=1 sub/same=1 sub/y=2", &again), PUBLISH_UNCHANGED);
	assert_string_equal(again.version, res.version);
}

/* In the order in which it can be done: what is in the way goes first. */
static void a_file_gives_way_to_a_folder_and_back(void **state)
{
	assert_int_equal(publish("FLAT a=1 b/c=1 b/d/e=1", NULL), 0);
	buf_clear(&f.log);
	assert_int_equal(publish("FLAT a/x=2 b=2", NULL), 0);
	assert_non_null(strstr(f.log.data, "unlink " V "/a\nrename " S "/new/files/a " V "/a\n"));
	assert_non_null(strstr(f.log.data, "unlink " V "/b/c\nunlink " V "/b/d/e\nrmdir " V "/b/d\nrmdir " V "/b\n"
					   "rename " S "/new/files/b " V "/b\n"));
	assert_shown(V, "a/ a/x=2 b=2 ");
	assert_int_equal(publish("FLAT a=3 b/c/d=3", NULL), 0);
	assert_shown(V, "a=3 b/ b/c/ b/c/d=3 ");
	assert_int_equal(publish("FLAT a b/c=4", NULL), 0); /* a mount point */
	assert_shown(V, "a/ b/ b/c=4 ");
	assert_int_equal(publish("FLAT a/b", NULL), 0);
	assert_shown(V, "a/ a/b/ ");
	assert_int_equal(publish("FLAT", NULL), 0);
	assert_shown(V, "");
	assert_int_equal(publish("FLAT a=5", NULL), 0);
	assert_shown(V, "a=5 ");
}

/* Modes alone are a change, too. */
static void a_mode_or_an_owner_that_changes_makes_a_new_file(void **state)
{
	struct result res = { 0 };
	struct payload *p;
	struct stat st;

	assert_int_equal(publish("FLAT a=1 b=1", NULL), 0);
	p = payload_make_unsealed("FLAT a=1 b=1");
	p->files[0].mode = 0400;
	p->files[0].uid = 7;
	assert_int_equal(payload_seal(p, NULL), 0);
	buf_clear(&f.log);
	assert_int_equal(publish_volume(f.publish, &AT, p, result_fn, &res), 0);
	run();
	assert_int_equal(res.r, 0);
	assert_non_null(strstr(f.log.data, "rename " S "/new/files/a " V "/a\n"));
	assert_null(strstr(f.log.data, "files/b"));
	node_stat(resolve(V "/a", strlen(V "/a")), &st);
	assert_int_equal(st.st_mode, S_IFREG | 0400);
	assert_int_equal(st.st_uid, 7);
}

/* Both ways: what is asked for later is for the next volume of that name. */
static void a_volume_keeps_its_layout(void **state)
{
	struct publish_result res;
	bool whole;

	assert_int_equal(publish("a=1", NULL), 0);
	assert_int_equal(publish("FLAT a=2", NULL), 0);
	settle();
	assert_shown(V, "..data>..v ..v/ ..v/a=2 a>..data/a ");
	assert_true(publish_find(f.publish, &AT, &res, &whole));
	assert_false(res.flat);
	assert_int_equal(publish_remove_volume(f.publish, &AT, NULL, NULL), 0);
	assert_int_equal(publish("FLAT a=3", NULL), 0);
	assert_int_equal(publish("a=4", NULL), 0);
	assert_shown(V, "a=4 ");
	assert_true(publish_find(f.publish, &AT, &res, &whole));
	assert_true(res.flat && whole);
	assert_int_equal(publish_remove_volume(f.publish, &AT, NULL, NULL), 0);
	assert_int_equal(publish("a=5", NULL), 0);
	assert_shown(V, "..data>..v ..v/ ..v/a=5 a>..data/a ");
	assert_shown("uid/staging", "");
}

static void a_removed_volume_leaves_nothing(void **state)
{
	size_t n;

	assert_int_equal(publish("FLAT a=1", NULL), 0);
	assert_int_equal(publish("FLAT a=2 b=2", NULL), 0);
	assert_int_equal(publish_remove_volume(f.publish, &AT, NULL, NULL), 0);
	run();
	n = tree_stats(f.tree).n_nodes;
	assert_shown("uid", "staging/ volumes/ volumes/p/ ");
	assert_int_equal(publish("FLAT a=1", NULL), 0);
	assert_int_equal(publish_remove_volume(f.publish, &AT, NULL, NULL), 0);
	run();
	assert_int_equal(tree_stats(f.tree).n_nodes, n);
	assert_int_equal(publish_remove_pod(f.publish, "uid", NULL, NULL), 0);
	run();
	assert_int_equal(tree_stats(f.tree).n_nodes, 1);
	assert_int_equal(secmem_stats().n_blocks, 0);
}

static void next_agent(int *n_healed, uint64_t *doubt);

/* What says that it is flat went, the volume did not; then it is wanted again: the same, another thing, or with another layout. */
static void a_volume_that_is_wanted_again_after_half_a_removal_is_updated(void **state)
{
	static const char *const wanted[] = { "FLAT a=1 sub/b=1", "FLAT a=2", "a=2", "sub/b=2", "sub/b=1" };
	static const char *const shows[] = { "a=1 sub/ sub/b=1 ", "a=2 ", "a=2 ", "sub/ sub/b=2 ", "sub/ sub/b=1 " };
	uint64_t doubt = 0;
	int n_healed = 0;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(wanted); i++) {
		bool only_folders = i / 2 == ARRAY_SIZE(wanted) - 1;

		assert_true(publish(only_folders ? "FLAT sub/b=0" : "FLAT a=1 sub/b=1", NULL) >= 0);
		f.fail_at = f.n_changes + 2;
		assert_int_equal(publish_remove_volume(f.publish, &AT, NULL, NULL), 0);
		run();
		f.fail_at = 0;
		assert_shown("uid/staging", "");
		if (i % 2) {
			next_agent(&n_healed, &doubt);
			attach();
			run();
		}
		assert_int_equal(publish(wanted[i / 2], NULL), 0);
		assert_shown(V, shows[i / 2]);
		assert_shown(S, "new/ ");
		assert_int_equal(publish(wanted[i / 2], NULL), PUBLISH_UNCHANGED);
	}
}

/* A key's old bytes do not stay for the sake of its neighbour, as they would in a Secret's block. */
static void a_replaced_file_takes_its_bytes_along(void **state)
{
	struct secmem_stats one, two;

	assert_int_equal(publish("FLAT a=1 b=1", NULL), 0);
	one = secmem_stats();
	for (int i = 0; i < 5; i++) {
		assert_int_equal(publish(i % 2 ? "FLAT a=1 b=1" : "FLAT a=2 b=1", NULL), 0);
		two = secmem_stats();
		assert_int_equal(two.n_blocks, one.n_blocks);
	}
}

#define UPDATE_STEPS 7
static const char before_update[] = "gone=1 kept=1 sub/ sub/x=1 sub/y=1 ";
static const char after_update[] = "kept=2 new/ new/z=2 sub/ sub/x=1 sub/y=2 ";
#define BEFORE "FLAT gone=1 kept=1 sub/x=1 sub/y=1"
#define AFTER  "FLAT kept=2 new/z=2 sub/x=1 sub/y=2"

/* Each key is there with its old or its new bytes, and nothing else is. */
static void assert_old_or_new(void)
{
	static const char *const keys[] = { "gone=1 ", "kept=1 ",  "kept=2 ",  "new/ new/z=2 ",
					    "sub/ ",   "sub/x=1 ", "sub/y=1 ", "sub/y=2 " };
	cleanup_free char *have = shown(V);
	const char *rest = have;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (str_starts(rest, keys[i]))
			rest += strlen(keys[i]);
	assert_string_equal(rest, "");
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(!strstr(have, keys[1 + 5 * i]) + !strstr(have, keys[2 + 5 * i]), 1);
	assert_non_null(strstr(have, "sub/x=1 "));
}

static void a_failure_before_the_commit_leaves_the_volume_as_it_was(void **state)
{
	struct result res;
	size_t n_nodes;

	assert_int_equal(publish(BEFORE, NULL), 0);
	n_nodes = tree_stats(f.tree).n_nodes;
	f.fail_at = f.n_changes + 1;
	assert_int_equal(publish(AFTER, &res), -ENOSPC);
	assert_non_null(strstr(res.error, S));
	assert_shown(V, before_update);
	assert_int_equal(tree_stats(f.tree).n_nodes, n_nodes);
	f.fail_at = 0;
	assert_int_equal(publish(BEFORE, NULL), PUBLISH_UNCHANGED);
	assert_int_equal(publish(AFTER, NULL), 0);
	assert_shown(V, after_update);
	assert_int_equal(tree_stats(f.tree).n_nodes, n_nodes + 1);
}

static void a_failure_later_is_healed_by_the_next_update(void **state)
{
	int n = 0;

	for (int step = 2;; step++) {
		assert_true(publish(BEFORE, NULL) >= 0);
		assert_shown(V, before_update);
		f.fail_at = f.n_changes + step;
		if (publish(AFTER, NULL) == 0)
			break;
		n++;
		f.fail_at = 0;
		assert_old_or_new();
		/* and what is wanted may be another thing by then */
		if (step % 2)
			assert_int_equal(publish("FLAT kept=3", NULL), 0);
		else
			assert_int_equal(publish(AFTER, NULL), 0);
		assert_shown(V, step % 2 ? "kept=3 " : after_update);
		assert_shown(S, "new/ ");
	}
	f.fail_at = 0;
	assert_int_equal(n, UPDATE_STEPS - 1);
}

static void a_publisher_may_die_at_any_step(void **state)
{
	for (int step = 1; step <= UPDATE_STEPS; step++) {
		for (int after = 0; after < 2; after++) {
			assert_int_equal(publish(BEFORE, NULL), 0);
			f.die_before = after ? 0 : f.n_changes + step;
			f.die_after = after ? f.n_changes + step : 0;
			assert_int_equal(publish(AFTER, NULL), 0);
			assert_shown(V, after_update);
			assert_shown(S, "new/ ");
			f.die_before = f.die_after = 0;
		}
	}
}

static void a_publisher_may_die_in_a_new_volume(void **state)
{
	for (int step = 1; step <= 7; step++) {
		for (int how = 0; how < 3; how++) {
			struct result res = { 0 };

			f.die_before = how == 0 ? f.n_changes + step : 0;
			f.die_after = how == 1 ? f.n_changes + step : 0;
			f.fail_at = how == 2 ? f.n_changes + step : 0;
			assert_int_equal(publish("FLAT a=1 b/c=1", NULL), how == 2 ? -ENOSPC : 0);
			f.die_before = f.die_after = f.fail_at = 0;
			if (how == 2)
				assert_int_equal(tree_stats(f.tree).n_nodes, 1);
			else
				assert_shown(V, "a=1 b/ b/c=1 ");
			assert_int_equal(publish_remove_pod(f.publish, "uid", result_fn, &res), 0);
			run();
			assert_int_equal(res.r, 0);
			assert_int_equal(tree_stats(f.tree).n_nodes, 1);
		}
	}
}

/* What is repeated meets the new kind under the old one's name. */
static void a_publisher_may_die_where_kinds_change(void **state)
{
	for (int step = 1; step <= 12; step++) {
		for (int after = 0; after < 2; after++) {
			assert_true(publish("FLAT a=1 b/c=1 b/d/e=1 g=1", NULL) >= 0);
			f.die_before = after ? 0 : f.n_changes + step;
			f.die_after = after ? f.n_changes + step : 0;
			assert_int_equal(publish("FLAT a/x=2 b=2", NULL), 0);
			f.die_before = f.die_after = 0;
			assert_shown(V, "a/ a/x=2 b=2 ");
			assert_shown(S, "new/ ");
		}
	}
}

/* The agent's death: publish.c forgets all, the tree stays. Staged moves do not outlive a process. */
static void next_agent(int *n_healed, uint64_t *doubt)
{
	publish_free(f.publish);
	close_fd(f.fd);
	assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
	publish_on_healed(f.publish, note_healed, n_healed);
	assert_int_equal(publish_resume(f.publish, doubt), 0);
}

static void what_an_earlier_process_left_undone_is_ended(void **state)
{
	struct publish_result res;
	int n_healed = 0, n = 0, step;
	struct result failed;
	uint64_t doubt = 0;
	bool whole;

	for (step = 2;; step++) {
		assert_true(publish(BEFORE, NULL) >= 0);
		f.fail_at = f.n_changes + step;
		if (publish(AFTER, &failed) == 0)
			break;
		f.fail_at = 0;
		next_agent(&n_healed, &doubt);
		whole = true;
		assert_true(publish_find(f.publish, &AT, &res, &whole));
		/* that the last version's folder is still there is nobody's business */
		assert_int_equal(whole, step == UPDATE_STEPS);
		assert_true(res.flat);
		assert_old_or_new();
		attach();
		run();
		assert_int_equal(n_healed, ++n);
		assert_true(publish_find(f.publish, &AT, &res, &whole));
		assert_true(whole);
		assert_shown(V, after_update);
		assert_shown(S, "new/ ");
		/* its digest is known, too */
		assert_int_equal(publish(AFTER, NULL), PUBLISH_UNCHANGED);
	}
	assert_int_equal(step, UPDATE_STEPS + 1);
}

static void an_update_that_was_not_committed_is_taken_back(void **state)
{
	uint64_t doubt = 0;
	int n_healed = 0;

	assert_int_equal(publish(BEFORE, NULL), 0);
	f.fail_at = f.n_changes + 1;
	assert_int_equal(publish(AFTER, NULL), -ENOSPC);
	f.fail_at = 0;
	next_agent(&n_healed, &doubt);
	attach();
	run();
	assert_shown(V, before_update);
	assert_int_equal(publish(BEFORE, NULL), PUBLISH_UNCHANGED);
}

/* Also a folder among the keys. */
static void a_folder_in_doubt_is_looked_at_again(void **state)
{
	static const char *const folders[] = { V, V "/sub", S };
	struct publish_result res;
	uint64_t doubt;
	int n_healed = 0;
	bool whole;

	assert_int_equal(publish("FLAT a=1 sub/b=1", NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		bool its_own = i < 2;

		doubt = node_id(resolve(folders[i], strlen(folders[i])));
		next_agent(&n_healed, &doubt);
		assert_true(publish_find(f.publish, &AT, &res, &whole));
		assert_int_equal(whole, !its_own);
		buf_clear(&f.log);
		attach();
		run();
		assert_int_equal(doubt == 0, its_own);
		assert_true(publish_find(f.publish, &AT, &res, &whole));
		assert_true(whole);
		assert_log(i == 0   ? "chmod " V "\nreaddir " V "\n"
			   : i == 1 ? "chmod " V "/sub\nreaddir " V "/sub\nreaddir " V "\n"
				    : "");
	}
}

static void a_publisher_that_lies_is_found_out(void **state)
{
	struct result res;

	assert_int_equal(publish("FLAT a=1", NULL), 0);
	f.lies = true;
	assert_int_equal(publish("FLAT a=2", &res), -EIO);
	f.lies = false;
	assert_shown(V, "a=1 ");
	assert_int_equal(publish("FLAT a=2", NULL), 0);
	assert_shown(V, "a=2 ");
}

/* The renames did not happen, the folder of what was to be renamed is to go: it is what says, also to the next agent, that the
 * update has not come to its end. */
static void renames_that_did_not_happen_are_made_by_the_next_agent(void **state)
{
	struct publish_result res;
	uint64_t doubt = 0;
	int n_healed = 0;
	bool whole;

	assert_int_equal(publish(BEFORE, NULL), 0);
	f.lies_of_renames = true;
	assert_true(publish(AFTER, NULL) < 0);
	f.lies_of_renames = false;
	next_agent(&n_healed, &doubt);
	assert_true(publish_find(f.publish, &AT, &res, &whole));
	assert_false(whole);
	attach();
	run();
	assert_int_equal(n_healed, 1);
	assert_shown(V, after_update);
	assert_shown(S, "new/ ");
	assert_int_equal(publish(AFTER, NULL), PUBLISH_UNCHANGED);
}

/* Whether the volume is made then or not. */
static void what_was_staged_for_a_volume_that_never_came_goes(void **state)
{
	uint64_t doubt = 0;
	int n_healed = 0;

	for (int step = 4; step <= 7; step++) {
		f.n_fail = 100; /* nothing of it can be taken back, either: as a death leaves it */
		f.fail_at = f.n_changes + step;
		assert_int_equal(publish("FLAT a=1", NULL), -ENOSPC);
		f.n_fail = f.fail_at = 0;
		assert_null(resolve(V, strlen(V)));
		assert_non_null(resolve(S, strlen(S)));
		next_agent(&n_healed, &doubt);
		if (step % 2)
			assert_int_equal(publish_volume(f.publish, &AT, payload_make("FLAT a=2"), NULL, NULL), 0);
		attach();
		run();
		if (step % 2) {
			assert_shown(V, "a=2 ");
			assert_shown(S, "new/ ");
		} else {
			assert_shown("uid/staging", "");
		}
		assert_int_equal(n_healed, 0);
		assert_int_equal(publish_remove_pod(f.publish, "uid", NULL, NULL), 0);
		run();
	}
}

static void assert_revision(const char *want, uint64_t updated_usec)
{
	const struct origins *o = publish_origins(f.publish, &AT);

	assert_non_null(o);
	assert_string_equal(origins_at(o, 0)->resource_version, want);
	if (updated_usec)
		assert_int_equal(origins_updated(o), updated_usec);
}

/* Until all of its keys are there the volume is of the revision of before. */
static void a_revision_is_claimed_when_it_is_shown(void **state)
{
	struct publish_result res;
	uint64_t doubt = 0;
	int n_healed = 0;
	bool whole;

	for (int step = 2; step <= 6; step++) {
		for (int dies = 0; dies < 2; dies++) {
			assert_true(publish("FLAT @1 a=1 b=1", NULL) >= 0);
			assert_revision("1", 0);
			f.fail_at = f.n_changes + step;
			assert_int_equal(publish("FLAT @2 a=2 b=2", NULL), step == 6 ? 0 : -ENOSPC);
			f.fail_at = 0;
			assert_revision(step < 5 ? "1" : "2", 0);
			if (dies) {
				next_agent(&n_healed, &doubt);
				assert_revision(step < 5 ? "1" : "2", 0);
				attach();
				run();
				assert_true(publish_find(f.publish, &AT, &res, &whole));
				assert_true(res.realtime_usec > 0);
				if (step < 4)
					assert_int_equal(res.realtime_usec, 12345);
				assert_revision("2", res.realtime_usec);
				assert_int_equal(publish("FLAT @2 a=2 b=2", NULL), PUBLISH_UNCHANGED);
			} else {
				assert_true(publish("FLAT @2 a=2 b=2", NULL) >= 0);
				assert_true(publish_find(f.publish, &AT, &res, &whole));
			}
			assert_true(whole);
			assert_revision("2", res.realtime_usec);
		}
	}
}

/* --- live files --- */

static void live_files_are_forgotten_before_their_rename_and_dropped_after_it(void **state)
{
	assert_int_equal(publish("FLAT LIVE a=1 b=1 s/c=1", NULL), 0);
	assert_live("a=1 b=1 s/c=1 ");
	assert_string_equal(node_target(resolve(L "/s/c", strlen(L "/s/c"))), V "/s/c");
	buf_clear(&f.log);
	assert_int_equal(publish("FLAT LIVE a=2 b=1 s/c=1 d=2", NULL), 0);
	assert_log("mkdir " S "/new\nforget " L "/a\nreadfile " S "/new/files/a\nreadfile " S "/new/files/d\n"
		   "rename " S "/new/files/a " V "/a\nrename " S "/new/files/d " V "/d\n"
		   "drop " L "/a\ntouch " L "/a\nstat " L "/a\nmknod " L "/d\n"
		   "rmdir " S "/new/files\nrmdir " S "/new\n"
		   "readfile " V "/a\nreadfile " V "/d\nreaddir " V "\nreadfile " L "/a\n");
	assert_live("a=2 b=1 s/c=1 d=2 ");
	assert_int_equal(publish("FLAT LIVE a=2 b=1 s/c=1 d=2", NULL), PUBLISH_UNCHANGED);
}

static void live_files_come_to_a_volume_and_change_with_it(void **state)
{
	assert_int_equal(publish("FLAT a=1 s/c=1", NULL), 0);
	assert_live("");
	assert_int_equal(publish("FLAT LIVE a=1 s/c=1 mount/point", NULL), 0);
	assert_live("a=1 s/c=1 ");
	assert_null(resolve(L "/mount", strlen(L "/mount")));
	assert_int_equal(publish("FLAT LIVE a=1", NULL), 0);
	assert_live("a=1 ");
	assert_int_equal(publish("FLAT LIVE a=1 s=2", NULL), 0);
	assert_live("a=1 s=2 ");
	assert_int_equal(publish("FLAT LIVE s/c=3", NULL), 0);
	assert_live("s/c=3 ");
	assert_int_equal(publish_remove_volume(f.publish, &AT, NULL, NULL), 0);
	run();
	assert_null(resolve(L, strlen(L)));
}

#define LIVE_STEPS 24

/* The publisher's or the agent's; what is in flux is settled before all is well. */
static void live_files_survive_deaths_at_any_step(void **state)
{
	struct publish_result res;
	int n_healed = 0, n_unsettled = 0, r;
	uint64_t doubt = 0;
	bool whole;

	for (int step = 1; step <= LIVE_STEPS; step++) {
		for (int how = 0; how < 3; how++) {
			assert_true(publish("FLAT LIVE a=1 b=1 s/c=1", NULL) >= 0);
			f.die_before = how == 0 ? f.n_changes + step : 0;
			f.die_after = how == 1 ? f.n_changes + step : 0;
			f.fail_at = how == 2 ? f.n_changes + step : 0;
			r = publish("FLAT LIVE a=2 b=1 d=2", NULL);
			assert_true(r == 0 || (how == 2 && r == -ENOSPC));
			f.die_before = f.die_after = f.fail_at = 0;
			if (how < 2) {
				assert_live("a=2 b=1 d=2 ");
				continue;
			}
			n_unsettled += node_is_in_flux(resolve(L "/a", strlen(L "/a")));
			next_agent(&n_healed, &doubt);
			assert_true(publish_find(f.publish, &AT, &res, &whole));
			assert_true(!whole || !node_is_in_flux(resolve(L "/a", strlen(L "/a"))));
			attach();
			run();
			assert_true(publish_find(f.publish, &AT, &res, &whole));
			assert_true(whole);
			assert_live(step == 1 ? "a=1 b=1 s/c=1 " : "a=2 b=1 d=2 ");
		}
	}
	if (n_unsettled <= 3 || n_unsettled >= LIVE_STEPS)
		fail_msg("%d of %d deaths left something in flux", n_unsettled, LIVE_STEPS);
}

/* What is settled once more, when all is repeated, is gone by then: the kernel has forgotten it. */
static void a_live_file_that_gives_way_is_gone_when_its_steps_are_repeated(void **state)
{
	static const char *const layouts[] = { "FLAT LIVE", "LIVE" };
	char from[32], to[32];
	int n_changes;

	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		snprintf(from, sizeof from, "%s a=1", layouts[i]);
		snprintf(to, sizeof to, "%s a/x=1 b=1", layouts[i]);
		for (int step = 1; step <= LIVE_STEPS; step++) {
			for (int after = 0; after < 2; after++) {
				assert_int_equal(publish(from, NULL), 0);
				n_changes = f.n_changes;
				f.die_before = after ? 0 : n_changes + step;
				f.die_after = after ? n_changes + step : 0;
				assert_int_equal(publish(to, NULL), 0);
				f.die_before = f.die_after = 0;
				assert_live("b=1 ");
				assert_non_null(resolve(L "/a/x", strlen(L "/a/x")));
				assert_int_equal(publish_remove_pod(f.publish, "uid", NULL, NULL), 0);
				run();
				assert_int_equal(tree_stats(f.tree).n_nodes, 1);
			}
		}
	}
}

/* The second update is planned when the live file of before is away and that of the first has not come yet. */
static void a_live_file_does_not_come_and_go_with_one_update(void **state)
{
	static const char *const specs[][4] = {
		{ "FLAT LIVE a=1", "FLAT LIVE a/x=2", "FLAT LIVE a=3", "a=3 " },
		{ "FLAT LIVE s/c=1", "FLAT LIVE s=2", "FLAT LIVE s/c=3", "s/c=3 " },
		{ "FLAT LIVE b=1 s/c=1", "FLAT LIVE b=1 s=2", "FLAT LIVE b=1", "b=1 " },
	};
	struct result first, second;

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		first = second = (struct result){ 0 };
		assert_int_equal(publish(specs[i][0], NULL), 0);
		assert_int_equal(publish_volume(f.publish, &AT, payload_make(specs[i][1]), result_fn, &first), 0);
		assert_true(loop_run_once(f.loop, 0) > 0);
		buf_clear(&f.log);
		assert_int_equal(publish_volume(f.publish, &AT, payload_make(specs[i][2]), result_fn, &second), 0);
		run();
		assert_int_equal(first.n, 1);
		assert_int_equal(first.r, 0);
		assert_int_equal(second.n, 1);
		assert_int_equal(second.r, 0);
		assert_live(specs[i][3]);
		assert_int_equal(publish(specs[i][2], NULL), PUBLISH_UNCHANGED);
		assert_int_equal(publish_remove_pod(f.publish, "uid", NULL, NULL), 0);
		run();
		assert_int_equal(tree_stats(f.tree).n_nodes, 1);
	}
}

/* Also when what was begun cannot be taken back. */
static void what_a_failed_update_was_to_remove_may_not_go(void **state)
{
	static const char *const specs[][2] = {
		{ "FLAT LIVE a=1 b/c=1 gone=1", "FLAT LIVE a/x=2 b=2 new=2" },
		{ "LIVE a=1 b/c=1 gone=1 m/n", "LIVE a/x=2 b=2 new=2" },
	};
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		for (int n_fail = 0; n_fail < 2; n_fail++) {
			for (int step = 1;; step++) {
				assert_true(publish(specs[i][0], NULL) >= 0);
				f.fail_at = f.n_changes + step;
				f.n_fail = n_fail;
				if (publish(specs[i][1], NULL) == 0)
					break;
				f.fail_at = 0;
				assert_nothing_may_go(tree_node(f.tree, TREE_ROOT_ID));
				assert_int_equal(publish_remove_pod(f.publish, "uid", NULL, NULL), 0);
				run();
				n++;
			}
			f.fail_at = 0;
			assert_int_equal(publish_remove_pod(f.publish, "uid", NULL, NULL), 0);
			run();
		}
	}
	assert_true(n > 40);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_new_volume_is_one_mkdir_after_its_parents),
		TEST(an_update_renames_what_has_changed_and_nothing_else),
		TEST(a_file_gives_way_to_a_folder_and_back),
		TEST(a_mode_or_an_owner_that_changes_makes_a_new_file),
		TEST(a_volume_keeps_its_layout),
		TEST(a_removed_volume_leaves_nothing),
		TEST(a_volume_that_is_wanted_again_after_half_a_removal_is_updated),
		TEST(a_replaced_file_takes_its_bytes_along),
		TEST(a_failure_before_the_commit_leaves_the_volume_as_it_was),
		TEST(a_failure_later_is_healed_by_the_next_update),
		TEST(a_publisher_may_die_at_any_step),
		TEST(a_publisher_may_die_where_kinds_change),
		TEST(a_publisher_may_die_in_a_new_volume),
		TEST(what_an_earlier_process_left_undone_is_ended),
		TEST(an_update_that_was_not_committed_is_taken_back),
		TEST(a_folder_in_doubt_is_looked_at_again),
		TEST(a_publisher_that_lies_is_found_out),
		TEST(renames_that_did_not_happen_are_made_by_the_next_agent),
		TEST(what_was_staged_for_a_volume_that_never_came_goes),
		TEST(a_revision_is_claimed_when_it_is_shown),
		TEST(live_files_are_forgotten_before_their_rename_and_dropped_after_it),
		TEST(live_files_come_to_a_volume_and_change_with_it),
		TEST(live_files_survive_deaths_at_any_step),
		TEST(a_live_file_does_not_come_and_go_with_one_update),
		TEST(what_a_failed_update_was_to_remove_may_not_go),
		TEST(a_live_file_that_gives_way_is_gone_when_its_steps_are_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
