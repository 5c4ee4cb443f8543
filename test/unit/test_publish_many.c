/* Many volumes that are to change at once, as those of the pods that share a Secret. */
#include "test/unit/publishing.h"

#include <unistd.h>

#include "common/clock.h"

#define N 3

static struct volume_path at(int i)
{
	static const char *const names[N] = { "a", "b", "c" };

	return (struct volume_path){ .pod_uid = "uid", .plugin = "p", .name = names[i] };
}

static void order_update(int i, const char *spec, struct result *res)
{
	const struct volume_path path = at(i);

	assert_int_equal(publish_volume(f.publish, &path, payload_make(spec), result_fn, res), 0);
}

static void update_all(const char *spec, struct result res[N])
{
	for (int i = 0; i < N; i++)
		order_update(i, spec, &res[i]);
}

static void begin_with(const char *spec)
{
	struct result res[N] = { 0 };

	update_all(spec, res);
	run();
	for (int i = 0; i < N; i++)
		assert_int_equal(res[i].r, 0);
	buf_clear(&f.log);
}

static void assert_all_show(const char *want)
{
	for (int i = 0; i < N; i++) {
		cleanup_free char *path = str_format("uid/volumes/p/%s", at(i).name);

		assert_shown(path, want);
	}
}

static void assert_told_once(const struct result res[N], int r)
{
	for (int i = 0; i < N; i++) {
		assert_int_equal(res[i].n, 1);
		assert_int_equal(res[i].r, r);
	}
}

/* The n'th line that begins with the word, counted from 1; its place among all lines, or -1. */
static int line_of(const char *word, int n)
{
	const char *text = f.log.data ?: "";
	int line = 0;

	for (; *text; text += strcspn(text, "\n") + 1, line++)
		if (str_starts(text, word) && --n == 0)
			return line;
	return -1;
}

static void turn_until_renamed(int n)
{
	while (line_of("rename", n) < 0) {
		assert_true(loop_run_once(f.loop, 0) >= 0);
		publisher_serve();
	}
}

static void each_is_switched_before_any_is_tidied_up(void **state)
{
	struct result res[N] = { 0 };

	begin_with("key=1");
	update_all("key=2", res);
	run();
	assert_told_once(res, 0);
	assert_all_show("..data>..v ..v/ ..v/ ..v/key=2 key>..data/key ");
	assert_int_equal(line_of("rename", N + 1), -1);
	assert_true(line_of("rename", N) < line_of("unlink", 1));
	assert_true(line_of("rename", N) < line_of("read", 1));
	/* and in the order in which they were asked for */
	assert_non_null(strstr(
		f.log.data, "rename uid/volumes/p/a/..data_tmp uid/volumes/p/a/..data\nmkdir uid/volumes/p/b/..v\n"));
	settle();
	assert_all_show("..data>..v ..v/ ..v/key=2 key>..data/key ");
}

static void alone_it_is_one_message(void **state)
{
	struct result res = { 0 };
	size_t before;

	begin_with("key=1");
	before = f.n_messages;
	order_update(0, "key=2", &res);
	run();
	assert_int_equal(res.r, 0);
	assert_int_equal(f.n_messages, before + 1);
}

/* A new one of its volume comes after the rest, whoever else waits; and nobody is told of anything twice. */
static void an_update_of_one_that_rests_comes_after_its_rest(void **state)
{
	struct result res[N] = { 0 }, again[N] = { 0 };

	begin_with("key=1");
	update_all("key=2", res);
	turn_until_renamed(1);
	update_all("key=3 new=3", again);
	run();
	assert_told_once(again, 0);
	assert_int_equal(res[0].n, 1);
	assert_int_equal(res[0].r, 0);
	for (int i = 1; i < N; i++) {
		assert_int_equal(res[i].n, 1);
		assert_true(res[i].r == 0 || res[i].r == -ESTALE);
	}
	settle();
	assert_all_show("..data>..v ..v/ ..v/key=3 ..v/new=3 key>..data/key new>..data/new ");
}

/* So there is nothing to put it off for, which would only be one message more. */
static void the_next_update_of_its_own_volume_is_no_reason_to_rest(void **state)
{
	struct result res[2] = { 0 };
	size_t before, alone;

	begin_with("LIVE key=1");
	before = f.n_messages;
	order_update(0, "LIVE key=2 a=2", &res[0]);
	run();
	settle();
	alone = f.n_messages - before;

	before = f.n_messages;
	order_update(0, "LIVE key=3 a=3 b=3", &res[0]);
	assert_true(loop_run_once(f.loop, 0) >= 0); /* it is under way */
	order_update(0, "LIVE key=4 a=4 b=4 c=4", &res[1]);
	run();
	settle();
	assert_int_equal(res[0].n, 2);
	assert_int_equal(res[0].r, 0);
	assert_int_equal(res[1].r, 0);
	assert_int_equal(f.n_messages - before, 2 * alone);
}

static void what_is_no_update_comes_after_the_rests(void **state)
{
	struct result res[N] = { 0 }, removed = { 0 }, made = { 0 };
	const struct volume_path other = { "uid2", "p", "other" };

	begin_with("key=1");
	update_all("key=2", res);
	turn_until_renamed(3);
	assert_int_equal(line_of("unlink", 2), -1);
	assert_int_equal(publish_volume(f.publish, &other, payload_make("key=1"), result_fn, &made), 0);
	assert_int_equal(publish_remove_pod(f.publish, "uid", result_fn, &removed), 0);
	run();
	assert_told_once(res, 0);
	assert_true(line_of("rename", 3) < line_of("unlink", 1));
	assert_true(line_of("unlink", 3) < line_of("mkdir uid2", 1));
	assert_true(line_of("mkdir uid2", 1) < line_of("rmdir", 1));
	assert_int_equal(made.r, 0);
	assert_int_equal(removed.r, 0);
	assert_shown("uid", "(nothing)");
}

/* Somebody acts on being told: a signal to a container. */
static void what_is_prompt_is_not_put_off(void **state)
{
	struct result res[N] = { 0 };

	begin_with("key=1");
	for (int i = 0; i < N; i++) {
		struct payload *p = payload_make_unsealed("key=2");
		const struct volume_path path = at(i);

		if (i == 0)
			payload_set_prompt(p);
		assert_int_equal(payload_seal(p, NULL), 0);
		assert_int_equal(publish_volume(f.publish, &path, p, result_fn, &res[i]), 0);
	}
	run();
	assert_told_once(res, 0);
	assert_true(line_of("unlink", 1) < line_of("rename", 2));
	assert_true(line_of("unlink", 2) > line_of("rename", 3));
}

static void failures_are_told_of_their_own_volume(void **state)
{
	struct result res[N] = { 0 };
	int n_steps;

	begin_with("key=1");
	n_steps = f.n_changes;
	update_all("key=2", res);
	run();
	settle();
	n_steps = f.n_changes - n_steps;
	for (int step = 1; step <= n_steps; step++) {
		int n_failed = 0;

		memset(res, 0, sizeof(res));
		f.fail_at = f.n_changes + step;
		update_all("key=3", res);
		run();
		settle();
		f.fail_at = 0;
		for (int i = 0; i < N; i++) {
			assert_int_equal(res[i].n, 1);
			n_failed += res[i].r < 0;
		}
		assert_true(n_failed <= 1); /* none: what failed was the end of a grace */
		update_all("key=2", res);
		run();
		settle();
		assert_all_show("..data>..v ..v/ ..v/key=2 key>..data/key ");
	}
}

static void the_publisher_may_die_at_any_step(void **state)
{
	struct result res[N] = { 0 };
	int n_steps;

	begin_with("key=1");
	n_steps = f.n_changes;
	update_all("key=2", res);
	run();
	n_steps = f.n_changes - n_steps;
	for (int step = 1; step <= n_steps; step++) {
		for (int after = 0; after < 2; after++) {
			memset(res, 0, sizeof(res));
			f.die_before = after ? 0 : f.n_changes + step;
			f.die_after = after ? f.n_changes + step : 0;
			update_all(after ? "key=4" : "key=5", res);
			run();
			settle();
			f.die_before = f.die_after = 0;
			assert_told_once(res, 0);
			assert_all_show(after ? "..data>..v ..v/ ..v/key=4 key>..data/key "
					      : "..data>..v ..v/ ..v/key=5 key>..data/key ");
		}
	}
}

/* It can be put off more than once, as its rest can be more than one message. */
static void how_long_it_has_rested_is_counted_from_the_first_time_on(void **state)
{
	struct result res[N] = { 0 };
	struct buf first = BUF_INIT(1 << 16), second = BUF_INIT(1 << 16);
	uint64_t slept_usec;

	for (int i = 0; i < 500; i++) {
		assert_int_equal(buf_printf(&first, "key%03d=1 ", i), 0);
		assert_int_equal(buf_printf(&second, "key%03d=2 ", i), 0);
	}
	order_update(0, first.data, &res[0]);
	order_update(1, "key=1", &res[1]);
	order_update(2, "key=1", &res[2]);
	run();
	buf_clear(&f.log);
	order_update(0, second.data, &res[0]);
	order_update(1, "key=2", &res[1]);
	turn_until_renamed(2);
	assert_int_equal(line_of("unlink uid/volumes/p/a/", 1), -1);
	slept_usec = clock_monotonic_usec();
	usleep(20000);
	slept_usec = clock_monotonic_usec() - slept_usec;
	while (line_of("unlink uid/volumes/p/a/", 1) < 0) {
		assert_true(loop_run_once(f.loop, 0) >= 0);
		publisher_serve();
	}
	order_update(2, "key=2", &res[2]);
	run();
	/* in the middle of its rest another came first */
	assert_true(line_of("rename", 3) > line_of("unlink uid/volumes/p/a/", 1));
	assert_true(line_of("rename", 3) < line_of("readlink uid/volumes/p/a/..data", 1));
	assert_int_equal(res[0].r, 0);
	assert_true(res[0].rested_usec >= slept_usec);
	buf_deinit(&first);
	buf_deinit(&second);
}

/* "key=xxx", with that many bytes. */
static char *spec_of(const char *key, int n_bytes)
{
	cleanup_free char *bytes = calloc(1, (size_t)n_bytes + 1);
	char *spec;

	assert_non_null(bytes);
	memset(bytes, 'x', (size_t)n_bytes);
	spec = str_format("%s=%s", key, bytes);
	assert_non_null(spec);
	return spec;
}

/* What they showed before takes locked memory until then, of which there are 8 MiB here (setup()). */
static void those_that_rest_do_not_keep_what_is_scarce(void **state)
{
	cleanup_free char *big = spec_of("key", 2 << 20);
	struct result res[N] = { 0 };

	begin_with(big);
	update_all("key=2", res);
	run();
	assert_told_once(res, 0);
	assert_true(line_of("rename", 1) < line_of("unlink uid/volumes/p/a/", 1));
	assert_true(line_of("unlink uid/volumes/p/a/", 1) < line_of("rename", 2));
	assert_true(line_of("rename", 2) < line_of("unlink uid/volumes/p/b/", 1));
	assert_true(line_of("unlink uid/volumes/p/b/", 1) < line_of("rename", 3));
	settle();
	/* and they may again, when that is gone */
	buf_clear(&f.log);
	memset(res, 0, sizeof(res));
	update_all("key=3", res);
	run();
	assert_true(line_of("rename", N) < line_of("unlink", 1));
}

static void publish_again(uint64_t *doubt)
{
	publish_free(f.publish);
	close_fd(f.fd);
	assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
	assert_int_equal(publish_resume(f.publish, doubt), 0);
	attach();
	run();
	buf_clear(&f.log);
}

static void nor_does_what_an_earlier_process_has_published(void **state)
{
	cleanup_free char *big = spec_of("sub/key", 2 << 20);
	struct result res[N] = { 0 };
	uint64_t doubt = 0;

	begin_with(big);
	publish_again(&doubt);
	order_update(0, "sub/key=2", &res[0]);
	order_update(1, "sub/key=2", &res[1]);
	run();
	assert_true(line_of("rename", 1) < line_of("unlink uid/volumes/p/a/", 1));
	assert_true(line_of("unlink uid/volumes/p/a/", 1) < line_of("rename", 2));
}

/* It is among the first to go, as it would be if this process had published it. */
static void a_large_one_of_an_earlier_process_has_no_long_grace(void **state)
{
	cleanup_free char *big = spec_of("sub/key", 2 << 20);
	struct result res = { 0 };
	uint64_t doubt = 0;

	order_update(0, big, &res);
	run();
	publish_again(&doubt);
	for (int i = 0; i < 6; i++) {
		cleanup_free char *spec = str_format("key=%d", i);

		order_update(0, spec, &res);
		run();
		assert_int_equal(res.r, 0);
	}
	/* or fewer, if this took as long as a grace */
	assert_true(publish_stats(f.publish).n_retired < 6);
	settle();
}

/* Tidying up one volume gives nothing back of it. */
static void what_volumes_share_is_no_reason_to_tidy_up_early(void **state)
{
	cleanup_secblock struct secblock *shared = NULL;
	struct result res[N] = { 0 };
	struct digest digest;

	assert_int_equal(secblock_new(5 << 20, &shared, NULL), 0);
	digest = digest_of(shared->data, shared->len);
	for (int i = 0; i < N; i++) {
		const struct secspan span = { .block = shared, .len = shared->len };
		struct payload *p = payload_make_unsealed("");
		const struct volume_path path = at(i);

		assert_int_equal(payload_add(p, "key", &span, &digest, 0644, NULL), 0);
		assert_int_equal(payload_seal(p, NULL), 0);
		assert_int_equal(publish_volume(f.publish, &path, p, result_fn, &res[i]), 0);
	}
	run();
	assert_told_once(res, 0);
	buf_clear(&f.log);
	memset(res, 0, sizeof(res));
	update_all("key=2", res);
	run();
	assert_told_once(res, 0);
	assert_true(line_of("rename", N) < line_of("unlink", 1));
}

/* All that was put off is for the next agent: to read what is new, too. */
static void what_rested_when_its_process_died_is_read_by_the_next(void **state)
{
	struct result res[N] = { 0 };
	uint64_t doubt = 0;

	begin_with("LIVE key=1 sub/more=1");
	update_all("LIVE key=2 sub/more=2", res);
	turn_until_renamed(2);
	publish_free(f.publish);
	close_fd(f.fd);
	assert_told_once(res, -ECANCELED);
	assert_int_equal(line_of("readfile", 1), -1);
	buf_clear(&f.log);
	assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
	assert_int_equal(publish_resume(f.publish, &doubt), 0);
	attach();
	run();
	for (int i = 0; i < 2; i++) {
		static const struct {
			const char *op, *folder, *path;
		} reads[] = {
			{ "readdir", "volumes/p", "..v" },     { "readfile", "volumes/p", "..v/key" },
			{ "readdir", "volumes/p", "..v/sub" }, { "readfile", "volumes/p", "..v/sub/more" },
			{ "readlink", "volumes/p", "..data" }, { "readlink", "volumes/p", "key" },
			{ "readlink", "volumes/p", "sub" },    { "readfile", "live", "key" },
			{ "readfile", "live", "sub/more" },
		};

		for (size_t j = 0; j < ARRAY_SIZE(reads); j++) {
			cleanup_free char *line = str_format("%s uid/%s/%s/%s\n", reads[j].op, reads[j].folder,
							     at(i).name, reads[j].path);

			if (line_of(line, 1) < 0)
				fail_msg("nobody does: %s", line);
		}
	}
	/* and after that it is as after any update */
	settle();
	update_all("LIVE key=2 sub/more=2", res);
	buf_clear(&f.log);
	run();
	assert_int_equal(res[0].r, PUBLISH_UNCHANGED);
	assert_int_equal(res[1].r, PUBLISH_UNCHANGED);
	assert_int_equal(line_of("readfile uid/volumes/p/a", 1), -1);
	assert_int_equal(line_of("readfile uid/live/a", 1), -1);
}

/* --- many files --- */

#define N_LARGE 3
enum { LARGE_FILES = 4000 };

static void order_many(const struct volume_path *at, int n_files, const char *rest, struct result *res)
{
	cleanup_buf struct buf spec = BUF_INIT(1 << 20);

	for (int k = 0; k < n_files; k++)
		assert_int_equal(buf_printf(&spec, "k%d= ", k), 0);
	assert_int_equal(buf_add_str(&spec, rest), 0);
	assert_int_equal(publish_volume(f.publish, at, payload_make(spec.data), result_fn, res), 0);
}

/* Of pod big-0, big-1 ... */
static void order_large(int i, bool flat, struct result *res)
{
	static const char *const uids[N_LARGE] = { "big-0", "big-1", "big-2" };

	order_many(&(struct volume_path){ uids[i], "p", "v" }, LARGE_FILES, flat ? "FLAT" : "", res);
}

/* The place of this line among all; they are one after the other. */
static size_t place_of(const char *line)
{
	const char *at = strstr(f.log.data, line);

	if (!at)
		fail_msg("no %s", line);
	return (size_t)(at - f.log.data);
}

static size_t last_place_of(const char *line)
{
	const char *at = NULL;

	for (const char *next = f.log.data; (next = strstr(next, line)); next++)
		at = next;
	if (!at)
		fail_msg("no %s", line);
	return (size_t)(at - f.log.data);
}

static void turn_until(const char *line)
{
	while (!f.log.data || !strstr(f.log.data, line)) {
		assert_true(loop_run_once(f.loop, 0) >= 0);
		publisher_serve();
	}
}

static void a_large_new_one_is_read_when_nobody_waits_for_content(void **state)
{
	for (int flat = 0; flat < 2; flat++) {
		struct result res[N] = { 0 }, large = { 0 };

		begin_with(flat ? "key=3" : "key=1");
		f.log.max = 16 << 20;
		order_large(flat, flat, &large);
		turn_until("readfile big-");
		assert_int_equal(large.n, 0);
		update_all(flat ? "key=4" : "key=2", res);
		run();
		assert_told_once(res, 0);
		assert_int_equal(large.n, 1);
		assert_int_equal(large.r, 0);
		assert_true(last_place_of("rename uid/") < last_place_of("readfile big-"));
		assert_int_equal(publish_stats(f.publish).n_queued, 0);
	}
}

/* It is the next one that waits, of whatever kind: an update, a new volume, a removal. */
static void large_new_ones_are_made_when_nobody_else_waits(void **state)
{
	struct result res[N] = { 0 }, large[N_LARGE] = { 0 }, fresh = { 0 }, of_it = { 0 }, gone = { 0 };
	const struct volume_path c = at(2);

	begin_with("key=1");
	f.log.max = 16 << 20;
	for (int i = 0; i < N_LARGE; i++)
		order_large(i, false, &large[i]);
	/* what is of its own pod keeps its place */
	assert_int_equal(publish_name_pod(f.publish, "big-1", "ns", "name", result_fn, &of_it), 0);
	turn_until("readfile big-0");
	order_update(0, "key=2", &res[0]);
	assert_int_equal(publish_volume(f.publish, &(struct volume_path){ "other", "p", "v" }, payload_make("key=1"),
					result_fn, &fresh),
			 0);
	order_update(1, "key=2", &res[1]);
	assert_int_equal(publish_remove_volume(f.publish, &c, result_fn, &gone), 0);
	run();
	for (int i = 0; i < N_LARGE; i++)
		assert_int_equal(large[i].n == 1 ? large[i].r : -1, 0);
	assert_int_equal(res[0].n == 1 && res[1].n == 1 && fresh.n == 1 && of_it.n == 1 && gone.n == 1, 1);
	assert_int_equal(res[0].r | res[1].r | fresh.r | of_it.r | gone.r, 0);
	assert_true(place_of("rename uid/volumes/p/a/..data_tmp") < last_place_of("readfile big-0"));
	assert_true(place_of("rename uid/volumes/p/a/..data_tmp") < place_of("mkdir other"));
	assert_true(place_of("mkdir other") < place_of("rename uid/volumes/p/b/..data_tmp"));
	assert_true(place_of("rename uid/volumes/p/b/..data_tmp") < place_of("rmdir uid/volumes/p/c\n"));
	assert_true(place_of("rmdir uid/volumes/p/c\n") < place_of("mkdir big-1"));
	assert_true(place_of("mkdir big-1") < place_of("mkdir big-2"));
	assert_true(place_of("mkdir big-1") < place_of("symlink by-name/ns/name"));
	assert_true(place_of("symlink by-name/ns/name") < place_of("mkdir big-2"));
}

/* One that is taken back is no one's place any more. */
static void large_ones_may_be_overtaken_by_removals(void **state)
{
	struct result large[N_LARGE] = { 0 }, again = { 0 }, gone = { 0 }, res = { 0 };

	begin_with("key=1");
	f.log.max = 16 << 20;
	for (int i = 0; i < N_LARGE; i++)
		order_large(i, false, &large[i]);
	turn_until("readfile big-0");
	assert_int_equal(publish_remove_pod(f.publish, "big-1", result_fn, &gone), 0);
	order_large(2, false, &again);
	order_update(0, "key=2", &res);
	run();
	assert_int_equal(large[0].r, 0);
	assert_int_equal(large[1].r, -ESTALE);
	assert_int_equal(large[2].r, -ESTALE);
	assert_int_equal(res.n == 1 && again.n == 1 && gone.n == 1, 1);
	assert_int_equal(res.r | again.r | gone.r, 0);
	assert_true(place_of("rename uid/volumes/p/a/..data_tmp") < place_of("mkdir big-2"));
	assert_null(strstr(f.log.data, "mkdir big-1"));
}

/* It has waited for one of its own pod, that is not wanted any more, and for no other pod's. */
static void what_waits_behind_a_large_one_that_is_taken_back_waits_no_longer(void **state)
{
	const struct volume_path more = { "big-2", "p", "more" }, at = { "big-2", "p", "v" };
	struct result large[N_LARGE] = { 0 }, res[3] = { 0 }, gone = { 0 };

	f.log.max = 16 << 20;
	for (int i = 0; i < N_LARGE; i++)
		order_large(i, false, &large[i]);
	turn_until("readfile big-0");
	order_many(&more, LARGE_FILES, "", &res[0]);
	assert_int_equal(publish_name_pod(f.publish, "big-2", "ns", "web", result_fn, &res[1]), 0);
	assert_int_equal(publish_remove_volume(f.publish, &more, result_fn, &gone), 0);
	assert_int_equal(publish_name_pod(f.publish, "big-2", "ns", "still", result_fn, &res[2]), 0);
	assert_int_equal(publish_remove_volume(f.publish, &at, result_fn, &gone), 0);
	run();
	assert_int_equal(large[2].r, -ESTALE);
	assert_int_equal(res[0].r, -ESTALE);
	assert_true(res[1].n == 1 && res[2].n == 1 && gone.n == 2);
	assert_int_equal(large[0].r | large[1].r | res[1].r | res[2].r | gone.r, 0);
	assert_true(place_of("symlink by-name/ns/web ") < place_of("symlink by-name/ns/still "));
	assert_true(place_of("symlink by-name/ns/still ") < place_of("mkdir big-1"));
}

/* Each of them is small, and the first one is not put behind anybody. */
static void many_new_ones_of_a_pod_are_as_a_large_one(void **state)
{
	enum { VOLUMES = 40 };
	struct result fresh[VOLUMES] = { 0 }, res = { 0 };
	char names[VOLUMES][12];

	begin_with("key=1");
	f.log.max = 16 << 20;
	for (int i = 0; i < VOLUMES; i++) {
		snprintf(names[i], sizeof names[i], "%d", i);
		order_many(&(struct volume_path){ "big-0", "p", names[i] }, 1000, "", &fresh[i]);
	}
	order_update(0, "key=2", &res);
	run();
	for (int i = 0; i < VOLUMES; i++)
		assert_int_equal(fresh[i].n == 1 ? fresh[i].r : -1, 0);
	assert_int_equal(res.n == 1 ? res.r : -1, 0);
	assert_true(place_of("mkdir big-0/volumes/p/0\n") < place_of("rename uid/volumes/p/a/..data_tmp"));
	assert_true(place_of("rename uid/volumes/p/a/..data_tmp") < place_of("mkdir big-0/volumes/p/1\n"));
	/* nothing of it is left: again the first one is small */
	buf_clear(&f.log);
	order_many(&(struct volume_path){ "big-0", "p", "more" }, 1000, "", &fresh[0]);
	order_update(0, "key=3", &res);
	run();
	assert_true(place_of("mkdir big-0/volumes/p/more\n") < place_of("rename uid/volumes/p/a/..data_tmp"));
}

/* Containers read it, whether it was healed already or not. */
static void a_large_one_of_an_earlier_process_is_no_new_one(void **state)
{
	struct result large = { 0 }, fresh = { 0 };
	uint64_t doubt = 0;

	order_large(0, false, &large);
	run();
	publish_free(f.publish);
	close_fd(f.fd);
	buf_clear(&f.log);
	f.log.max = 16 << 20;
	assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
	assert_int_equal(publish_resume(f.publish, &doubt), 0);
	order_many(&(struct volume_path){ "big-0", "p", "v" }, LARGE_FILES, "new=1", &large);
	assert_int_equal(publish_volume(f.publish, &(struct volume_path){ "other", "p", "v" }, payload_make("key=1"),
					result_fn, &fresh),
			 0);
	attach();
	run();
	settle();
	assert_true(large.n == 2 && fresh.n == 1);
	assert_int_equal(large.r | fresh.r, 0);
	assert_true(place_of("rename big-0/volumes/p/v/..data_tmp") < place_of("mkdir other"));
}

/* by-name is shared with the pod that follows. */
static void the_next_pod_of_a_name_is_named_after_the_end_of_the_last(void **state)
{
	struct result large[N_LARGE] = { 0 }, named[2] = { 0 }, gone = { 0 };

	f.log.max = 16 << 20;
	for (int i = 0; i < N_LARGE; i++)
		order_large(i, false, &large[i]);
	turn_until("mkdir big-0");
	assert_int_equal(publish_name_pod(f.publish, "big-2", "ns", "web", result_fn, &named[0]), 0);
	assert_int_equal(publish_remove_pod(f.publish, "big-2", result_fn, &gone), 0);
	assert_int_equal(publish_name_pod(f.publish, "b", "ns", "web", result_fn, &named[1]), 0);
	run();
	assert_int_equal(large[2].r, -ESTALE);
	assert_true(named[0].n == 1 && named[0].r == -ESTALE);
	assert_true(gone.n == 1 && named[1].n == 1);
	assert_int_equal(large[0].r | large[1].r | gone.r | named[1].r, 0);
	assert_shown("by-name", "ns/ ns/web>../../b ");
	assert_true(place_of("symlink by-name/ns/web ") < place_of("mkdir big-1"));
}

/* Its Secrets are not to be read any longer than others wait. */
static void the_end_of_a_pod_waits_for_nothing_that_waits(void **state)
{
	const struct volume_path small = { "big-2", "p", "small" };
	struct result large[N_LARGE] = { 0 }, res[3] = { 0 }, gone = { 0 }, update = { 0 };

	begin_with("key=1");
	f.log.max = 16 << 20;
	assert_int_equal(publish_volume(f.publish, &small, payload_make("key=1"), result_fn, &res[0]), 0);
	run();
	for (int i = 0; i < N_LARGE; i++)
		order_large(i, false, &large[i]);
	turn_until("mkdir big-0");
	assert_int_equal(publish_name_pod(f.publish, "big-2", "ns", "web", result_fn, &res[1]), 0);
	assert_int_equal(publish_remove_volume(f.publish, &small, result_fn, &res[2]), 0);
	assert_int_equal(publish_remove_pod(f.publish, "big-2", result_fn, &gone), 0);
	order_update(0, "key=2", &update);
	run();
	assert_true(res[1].n == 1 && res[1].r == -ESTALE);
	assert_true(res[2].n == 1 && res[2].r == -ESTALE);
	assert_true(gone.n == 1 && update.n == 1);
	assert_int_equal(gone.r | update.r | large[0].r | large[1].r, 0);
	assert_true(place_of("rmdir big-2\n") < place_of("mkdir big-1"));
	assert_true(place_of("rename uid/volumes/p/a/..data_tmp") < place_of("mkdir big-1"));
	assert_shown("by-name", "(nothing)");
}

/* Orders its next update as soon as one is done: two of them leave the publisher nothing else. */
struct busy {
	struct volume_path at;
	bool prompt;
	int *n_left;
};

static void busy_order(struct busy *b);

static void busy_done(void *userdata, int r, const struct publish_result *res, const struct err *e)
{
	struct busy *b = userdata;

	assert_int_equal(r, 0);
	if (--*b->n_left > 0)
		busy_order(b);
}

static void busy_order(struct busy *b)
{
	cleanup_free char *spec = str_format("key=%d", *b->n_left);
	struct payload *p = payload_make_unsealed(spec);

	if (b->prompt)
		payload_set_prompt(p);
	assert_int_equal(payload_seal(p, NULL), 0);
	assert_int_equal(publish_volume(f.publish, &b->at, p, busy_done, b), 0);
}

/* prompt: what is read of it comes last, too, where they are not put off for each other. */
static void a_large_one_waits_for_some_others_but_not_for_ever(void **state)
{
	enum { UPDATES = 10000 };

	for (int i = 0; i < 2; i++) {
		struct result large[2] = { 0 }, of_it = { 0 };
		int n_left = UPDATES;
		struct busy busy[2] = { { at(0), i == 1, &n_left }, { at(1), i == 1, &n_left } };
		const char *uid = i == 0 ? "big-0" : "big-1";

		begin_with(i == 0 ? "key=a" : "key=b");
		f.log.max = 64 << 20;
		busy_order(&busy[0]);
		busy_order(&busy[1]);
		order_large(i, false, &large[0]);
		assert_int_equal(publish_name_pod(f.publish, uid, "ns", "name", result_fn, &of_it), 0);
		order_large(2, false, &large[1]);
		while (n_left > 0 && !(large[0].n && large[1].n)) {
			assert_true(loop_run_once(f.loop, 0) >= 0);
			publisher_serve();
		}
		assert_in_range(n_left, 1, UPDATES - 1000);
		assert_true(large[0].n == 1 && of_it.n == 1 && large[1].n == 1);
		assert_int_equal(large[0].r | of_it.r | large[1].r, 0);
		n_left = 0;
		run();
		assert_int_equal(publish_remove_pod(f.publish, "big-2", NULL, NULL), 0);
		run();
	}
}

/* Jobs that come and have nothing to do. */
static void order_others(int n)
{
	const struct volume_path nothing = { "nobody", "p", "v" };

	for (int i = 0; i < n; i++)
		assert_int_equal(publish_remove_volume(f.publish, &nothing, NULL, NULL), 0);
}

/* Those that have overtaken another one have not overtaken it. */
static void a_large_one_that_comes_when_none_waits_waits_for_as_many(void **state)
{
	struct result large[2] = { 0 }, res[2] = { 0 };

	begin_with("key=1");
	f.log.max = 16 << 20;
	order_large(0, false, &large[0]);
	order_others(999);
	run();
	assert_int_equal(large[0].n == 1 ? large[0].r : -1, 0);
	order_large(1, false, &large[1]);
	order_update(0, "key=2", &res[0]);
	order_update(1, "key=2", &res[1]);
	run();
	assert_int_equal(large[1].r | res[0].r | res[1].r, 0);
	assert_true(place_of("rename uid/volumes/p/b/..data_tmp") < place_of("mkdir big-1"));
}

/* Where its Secret is written faster than it has its turn, it has it all the same: it waits for those for which the
 * old one would. */
static void a_newer_payload_has_the_place_of_the_one_that_waits(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct result large[4] = { 0 }, res[N] = { 0 };

		begin_with(i == 0 ? "key=1" : "key=3");
		f.log.max = 16 << 20;
		order_large(i, false, &large[0]);
		order_others(500);
		order_large(i, false, &large[1]);
		order_others(500); /* it has its turn */
		update_all(i == 0 ? "key=2" : "key=4", res);
		order_large(i, i == 1, &large[2]);
		order_large(i, i == 0, &large[3]);
		run();
		assert_told_once(res, 0);
		for (int n = 0; n < 4; n++)
			assert_int_equal(large[n].n == 1 ? large[n].r : 1, n < 3 ? -ESTALE : 0);
		assert_true(place_of(i == 0 ? "mkdir big-0" : "mkdir big-1") <
			    place_of("rename uid/volumes/p/a/..data_tmp"));
	}
}

/* It is no place for one that has grown, whoever else is there; and one that has shrunk is told once, too. */
static void a_small_one_that_has_grown_waits_as_a_large_one(void **state)
{
	const struct volume_path at = { "big-0", "p", "v" };
	struct result large[3] = { 0 }, res[N] = { 0 };

	begin_with("key=1");
	f.log.max = 16 << 20;
	order_many(&at, 1, "", &large[0]);
	order_large(0, false, &large[1]);
	update_all("key=2", res);
	order_many(&at, 2, "", &large[2]);
	run();
	assert_told_once(res, 0);
	for (int n = 0; n < 3; n++)
		assert_int_equal(large[n].n == 1 ? large[n].r : 1, n < 2 ? -ESTALE : 0);
	assert_true(place_of("rename uid/volumes/p/c/..data_tmp") < place_of("mkdir big-0"));
	/* nothing is counted that is not there any more */
	order_many(&(struct volume_path){ "big-0", "p", "more" }, 1000, "", &large[0]);
	update_all("key=3", res);
	buf_clear(&f.log);
	run();
	assert_true(place_of("mkdir big-0/volumes/p/more\n") < place_of("rename uid/volumes/p/a/..data_tmp"));
}

/* What its pod has ordered since is behind it. With what has come before it, it is no more than a small one may be. */
static void a_small_one_keeps_its_place_before_a_large_one_of_its_pod(void **state)
{
	const struct volume_path small[] = { { "big-0", "p", "0" }, { "big-0", "p", "1" } };
	struct result large[2] = { 0 }, fresh[2][3] = { 0 }, res[N] = { 0 };

	begin_with("key=1");
	f.log.max = 16 << 20;
	for (int i = 0; i < 2; i++)
		order_many(&small[i], 1, "", &fresh[i][0]);
	order_large(0, false, &large[0]);
	update_all("key=2", res);
	order_large(0, false, &large[1]);
	for (int n = 1; n < 3; n++)
		for (int i = 0; i < 2; i++)
			order_many(&small[i], n == 1 ? 2 : 600, "", &fresh[i][n]);
	run();
	assert_told_once(res, 0);
	for (int i = 0; i < 2; i++)
		for (int n = 0; n < 3; n++)
			assert_int_equal(fresh[i][n].n == 1 ? fresh[i][n].r : 1, n < 2 ? -ESTALE : 0);
	assert_int_equal(large[1].n == 1 ? large[1].r : -1, 0);
	assert_true(place_of("mkdir big-0/volumes/p/0\n") < place_of("rename uid/volumes/p/a/..data_tmp"));
	assert_true(place_of("rename uid/volumes/p/c/..data_tmp") < place_of("mkdir big-0/volumes/p/v\n"));
	assert_true(place_of("mkdir big-0/volumes/p/v\n") < place_of("mkdir big-0/volumes/p/1\n"));
}

static void those_that_rest_end_with_publish(void **state)
{
	struct result res[N] = { 0 };

	begin_with("key=1");
	update_all("key=2", res);
	turn_until_renamed(2);
	publish_free(TAKE_PTR(f.publish));
	assert_told_once(res, -ECANCELED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_is_switched_before_any_is_tidied_up),
		TEST(alone_it_is_one_message),
		TEST(an_update_of_one_that_rests_comes_after_its_rest),
		TEST(the_next_update_of_its_own_volume_is_no_reason_to_rest),
		TEST(what_is_no_update_comes_after_the_rests),
		TEST(what_is_prompt_is_not_put_off),
		TEST(failures_are_told_of_their_own_volume),
		TEST(the_publisher_may_die_at_any_step),
		TEST(how_long_it_has_rested_is_counted_from_the_first_time_on),
		TEST(those_that_rest_do_not_keep_what_is_scarce),
		TEST(nor_does_what_an_earlier_process_has_published),
		TEST(a_large_one_of_an_earlier_process_has_no_long_grace),
		TEST(what_volumes_share_is_no_reason_to_tidy_up_early),
		TEST(what_rested_when_its_process_died_is_read_by_the_next),
		TEST(a_large_new_one_is_read_when_nobody_waits_for_content),
		TEST(large_new_ones_are_made_when_nobody_else_waits),
		TEST(large_ones_may_be_overtaken_by_removals),
		TEST(what_waits_behind_a_large_one_that_is_taken_back_waits_no_longer),
		TEST(many_new_ones_of_a_pod_are_as_a_large_one),
		TEST(a_large_one_of_an_earlier_process_is_no_new_one),
		TEST(the_next_pod_of_a_name_is_named_after_the_end_of_the_last),
		TEST(the_end_of_a_pod_waits_for_nothing_that_waits),
		TEST(a_large_one_waits_for_some_others_but_not_for_ever),
		TEST(a_large_one_that_comes_when_none_waits_waits_for_as_many),
		TEST(a_newer_payload_has_the_place_of_the_one_that_waits),
		TEST(a_small_one_that_has_grown_waits_as_a_large_one),
		TEST(a_small_one_keeps_its_place_before_a_large_one_of_its_pod),
		TEST(those_that_rest_end_with_publish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
