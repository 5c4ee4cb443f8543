/* Pods: one object in many volumes. They are made some at a time, whoever else is there comes between, and what waits for the
 * publisher stays bounded. */
#include "test/unit/pods_node.h"

#include <unistd.h>

#include "common/clock.h"

enum { KEYS = 1000, VOLUMES = 100, SMALL_ONES = 1000, LOG_MAX = 64 << 20 };

static int many_setup(void **state)
{
	node_setup(state);
	f.log.max = LOG_MAX;
	assert_true(loop_run_once(f.loop, 0) >= 0); /* it has a time from now on */
	return 0;
}

/* With so many volumes, all of one Secret. */
static void say_pod(const char *name, const char *secret, size_t n, unsigned int mode)
{
	cleanup_buf struct buf text = BUF_INIT(16 << 20);
	cleanup_json json_t *j = NULL;
	cleanup_pod struct pod *pod = NULL;

	buf_printf(&text, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"uid\":\"%s\"},\"spec\":{\"volumes\":[",
		   name, name);
	for (size_t i = 0; i < n; i++)
		buf_printf(&text, "%s{\"name\":\"v%zu\",\"secret\":{\"secretName\":\"%s\",\"defaultMode\":%u}}",
			   i ? "," : "", i, secret, mode);
	buf_add_str(&text, "],\"containers\":[");
	for (size_t i = 0; i < n; i++)
		buf_printf(&text, "%s{\"name\":\"c%zu\",\"volumeMounts\":[{\"name\":\"v%zu\",\"mountPath\":\"/v\"}]}",
			   i ? "," : "", i, i);
	assert_int_equal(buf_add_str(&text, "]}}"), 0);
	j = json_from(text.data);
	assert_int_equal(codec_pod(j, &pod, NULL), 0);
	pods_pod_changed(node.pods, pod);
}

static void say_secret(const char *name, int revision, size_t n_keys)
{
	cleanup_buf struct buf text = BUF_INIT(16 << 20);
	cleanup_secret_object struct secret *s = NULL;
	cleanup_json json_t *j = NULL;

	buf_printf(&text,
		   "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"uid\":\"su\",\"resourceVersion\":\"%d\"},"
		   "\"data\":{",
		   name, revision);
	for (size_t i = 0; i < n_keys; i++)
		buf_printf(&text, "%s\"k%zu\":\"%s\"", i ? "," : "", i, revision % 2 ? "MQ==" : "Mg==");
	assert_int_equal(buf_add_str(&text, "}}"), 0);
	j = json_from(text.data);
	assert_int_equal(codec_secret(j, &s, NULL), 0);
	store_object_changed(node.store, OBJECT_SECRET, "ns", name, s);
}

static size_t n_due(const char *pod)
{
	const struct pod_state *s = pods_find(node.pods, pod);
	size_t n = 0;

	for (size_t i = 0; i < s->n_volumes; i++)
		n += s->volumes[i].is_due;
	return n;
}

/* Turns of the loop with the publisher asleep, until nothing happens. Returns the most volumes that one has made. */
static size_t turns(void)
{
	size_t most = 0, before;
	int r;

	do {
		before = publish_stats(f.publish).n_queued;
		r = loop_run_once(f.loop, 0);
		assert_true(r >= 0);
		most = MAX(most, publish_stats(f.publish).n_queued - before);
	} while (r > 0);
	return most;
}

static void is_shown(const char *pod, size_t volume, const char *key, const char *value)
{
	char path[128];
	const struct node *n;

	snprintf(path, sizeof(path), "%s/volumes/kubernetes.io~secret/v%zu/..data", pod, volume);
	n = resolve(path, strlen(path));
	assert_non_null(n);
	snprintf(path, sizeof(path), "%s/volumes/kubernetes.io~secret/v%zu/%s/%s", pod, volume, node_target(n), key);
	n = resolve(path, strlen(path));
	assert_non_null(n);
	assert_memory_equal(secspan_data(node_content(n)), value, 1);
}

static void many_large_volumes_are_made_some_at_a_time(void **state)
{
	size_t queued;

	say_pod("small", "t", 1, 420);
	say_secret("t", 1, 1);
	say_pod("huge", "s", VOLUMES, 420);
	run();
	assert_true(is_ready("small"));
	assert_int_equal(publish_stats(f.publish).n_queued, 0);

	/* as much as a turn may cost, and then until what waits is bounded */
	say_secret("s", 1, KEYS);
	queued = publish_stats(f.publish).n_queued;
	assert_in_range(queued, 1, 10);
	assert_in_range(turns(), 1, 10);
	queued = publish_stats(f.publish).n_queued;
	assert_in_range(queued, 10, 66);
	assert_int_equal(n_due("huge"), VOLUMES - queued);
	assert_false(is_ready("huge"));

	/* another's small one does not wait for them */
	say_secret("t", 2, 1);
	assert_int_equal(publish_stats(f.publish).n_queued, queued + 1);

	run();
	assert_true(is_ready("huge"));
	assert_int_equal(n_due("huge"), 0);
	for (size_t i = 0; i < VOLUMES; i++)
		is_shown("huge", i, "k999", "1");
	is_shown("small", 0, "k0", "2");
	settle();
}

static void small_volumes_are_made_some_at_a_time_and_pods_take_turns(void **state)
{
	say_pod("many", "s", SMALL_ONES, 420);
	say_pod("few", "t", 3, 420);
	run();
	say_secret("s", 1, 40);
	say_secret("t", 1, 1);
	assert_in_range(n_due("many"), 1, SMALL_ONES - 1);
	assert_int_equal(n_due("few"), 3);
	while (n_due("few") > 0)
		assert_true(loop_run_once(f.loop, 0) > 0);
	assert_true(n_due("many") > 3);
	run();
	assert_true(is_ready("many") && is_ready("few"));
	settle();
}

/* Small ones, but for what is nested in them: a thousand mounts in each, at one place. */
static void what_is_nested_in_volumes_counts_as_well(void **state)
{
	cleanup_buf struct buf text = BUF_INIT(16 << 20);
	cleanup_json json_t *j = NULL;
	cleanup_pod struct pod *pod = NULL;
	const char *comma = "";

	buf_add_str(&text, "{\"metadata\":{\"name\":\"deep\",\"namespace\":\"ns\",\"uid\":\"deep\"},\"spec\":{"
			   "\"volumes\":[{\"name\":\"e\",\"emptyDir\":{}}");
	for (size_t i = 0; i < VOLUMES; i++)
		buf_printf(&text, ",{\"name\":\"v%zu\",\"secret\":{\"secretName\":\"s\"}}", i);
	buf_add_str(&text, "],\"containers\":[{\"name\":\"c\",\"volumeMounts\":[");
	for (size_t i = 0; i < VOLUMES; i++, comma = ",")
		buf_printf(&text, "%s{\"name\":\"v%zu\",\"mountPath\":\"/%*sv\"}", comma, i, (int)i, "");
	for (size_t i = 0; i < 900; i++)
		buf_printf(&text, ",{\"name\":\"e\",\"mountPath\":\"/v/%zu\"}", i);
	assert_int_equal(buf_add_str(&text, "]}]}}"), 0);
	for (char *at = text.data; (at = strstr(at, "\"/ ")); at++)
		for (char *c = at + 2; *c == ' '; c++)
			*c = '/';
	j = json_from(text.data);
	assert_int_equal(codec_pod(j, &pod, NULL), 0);
	pods_pod_changed(node.pods, pod);
	run();
	say_secret("s", 1, 1);
	assert_in_range(publish_stats(f.publish).n_queued, 1, 10000 / 900);
	assert_in_range(turns(), 1, 10000 / 900);
	run();
	assert_true(is_ready("deep"));
	assert_int_equal(n_due("deep"), 0);
	settle();
}

static void what_is_due_shows_the_newest_and_is_measured_from_its_event(void **state)
{
	const struct histogram *visible = &pods_times(node.pods)->visible[POD_VOLUME_SECRET];
	size_t n_waits;
	uint64_t slept;

	say_pod("huge", "s", VOLUMES, 420);
	say_secret("s", 1, KEYS);
	run();
	settle();
	assert_int_equal(histogram_count(visible), 0);
	say_secret("s", 2, KEYS);
	turns();
	n_waits = n_due("huge");
	assert_true(n_waits > 0);
	slept = clock_monotonic_usec();
	usleep(20000);
	slept = clock_monotonic_usec() - slept;
	assert_true(loop_run_once(f.loop, 0) >= 0);
	say_secret("s", 4, KEYS);
	assert_true(n_due("huge") >= n_waits);
	run();
	for (size_t i = 0; i < VOLUMES; i++)
		is_shown("huge", i, "k0", "2");
	assert_int_equal(n_due("huge"), 0);
	/* those that were due, once, from the first of the two on */
	assert_true(histogram_count(visible) >= VOLUMES);
	assert_true(visible->sum_usec >= n_waits * slept);
	settle();
}

/* They are made from the store and the pod as these are then, and not at all if the pod has gone. */
static void what_is_due_may_change_or_go(void **state)
{
	size_t most;

	say_pod("huge", "s", VOLUMES, 420);
	say_pod("gone", "s", VOLUMES, 420);
	say_secret("s", 1, KEYS);
	turns();
	assert_true(n_due("huge") > 0 && n_due("gone") > 0);
	most = publish_stats(f.publish).n_queued;
	pods_pod_removed(node.pods, "gone");
	say_pod("huge", "s", VOLUMES / 2, 256);
	say_secret("s", 3, 2); /* they are small now */
	turns();
	assert_int_equal(n_due("huge"), 0);
	assert_true(publish_stats(f.publish).n_queued <= most + VOLUMES);
	run();
	assert_true(is_ready("huge"));
	assert_null(pods_find(node.pods, "gone"));
	assert_shown("gone", "(nothing)");
	is_shown("huge", VOLUMES / 2 - 1, "k1", "1");
	settle();

	/* pods may end while some are due */
	say_secret("s", 5, KEYS);
	turns();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(many_large_volumes_are_made_some_at_a_time, many_setup, node_teardown),
		cmocka_unit_test_setup_teardown(small_volumes_are_made_some_at_a_time_and_pods_take_turns, many_setup,
						node_teardown),
		cmocka_unit_test_setup_teardown(what_is_nested_in_volumes_counts_as_well, many_setup, node_teardown),
		cmocka_unit_test_setup_teardown(what_is_due_shows_the_newest_and_is_measured_from_its_event, many_setup,
						node_teardown),
		cmocka_unit_test_setup_teardown(what_is_due_may_change_or_go, many_setup, node_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
