/* Pods: how long a change takes until it can be seen, where a volume changes for other reasons, too. */
#include "test/unit/pods_node.h"

#include <unistd.h>

#include "common/clock.h"

/* With a volume that shows the key k of the Secret s, and how much processor time there is on the node. */
static void say_pod(const char *name)
{
	cleanup_free char *text = str_format(
		"{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"uid\":\"%s\"},\"spec\":{\"volumes\":[{\"name\":"
		"\"v\",\"projected\":{\"sources\":[{\"secret\":{\"name\":\"s\",\"items\":[{\"key\":\"k\",\"path\":"
		"\"k\"}]}},"
		"{\"downwardAPI\":{\"items\":[{\"path\":\"cpu\",\"resourceFieldRef\":{\"containerName\":\"c\","
		"\"resource\":\"limits.cpu\"}}]}}]}}],\"containers\":[{\"name\":\"c\",\"volumeMounts\":"
		"[{\"name\":\"v\",\"mountPath\":\"/v\"}]}]}}",
		name, name);
	cleanup_json json_t *j = json_from(text);
	cleanup_pod struct pod *pod = NULL;

	assert_int_equal(codec_pod(j, &pod, NULL), 0);
	pods_pod_changed(node.pods, pod);
}

static void say_node(char *cpu)
{
	struct label allocatable = { (char[]){ "cpu" }, cpu };

	pods_node_changed(node.pods, &(struct pairs){ .all = &allocatable, .n = 1 });
}

/* value: base64 */
static void say_secret(const char *revision, const char *key, const char *value)
{
	cleanup_free char *text = str_format("{\"metadata\":{\"name\":\"s\",\"namespace\":\"ns\",\"uid\":\"su\","
					     "\"resourceVersion\":\"%s\"},\"data\":{\"%s\":\"%s\"}}",
					     revision, key, value);
	cleanup_secret_object struct secret *s = NULL;
	cleanup_json json_t *j = json_from(text);

	assert_int_equal(codec_secret(j, &s, NULL), 0);
	store_object_changed(node.store, OBJECT_SECRET, "ns", "s", s);
}

static size_t n_seen(void)
{
	return histogram_count(&pods_times(node.pods)->visible[POD_VOLUME_PROJECTED]);
}

static void serve_until(const char *line)
{
	while (!strstr(f.log.data ?: "", line))
		if (loop_run_once(f.loop, 0) == 0)
			publisher_serve();
}

/* Both volumes change as the node does, and the first one shows it and is put off for the other, when the Secret's change comes,
 * which cannot be shown. */
static void a_change_that_comes_after_what_is_shown_is_not_measured_with_it(void **state)
{
	say_node((char[]){ "1" });
	say_pod("p");
	say_pod("q");
	say_secret("1", "k", "MQ==");
	run();
	assert_true(is_ready("p") && is_ready("q"));
	buf_clear(&f.log);
	say_node((char[]){ "2" });
	serve_until("rename p/");
	assert_true(loop_run_once(f.loop, 0) >= 0);
	assert_null(strstr(f.log.data, "unlink"));
	usleep(2000);
	assert_true(loop_run_once(f.loop, 0) >= 0);
	say_secret("2", "other", "Mg==");
	run();
	assert_non_null(strstr(f.log.data, "rename q/"));
	assert_int_equal(n_seen(), 0);

	/* one that is shown is, in each of the two */
	say_secret("3", "k", "Mw==");
	run();
	assert_int_equal(n_seen(), 2);
	settle();
}

static uint64_t seen_usec(void)
{
	return pods_times(node.pods)->visible[POD_VOLUME_PROJECTED].sum_usec;
}

/* p and q show the change and rest, and r is to, when the next one comes: six changes are seen, and the three later ones have nothing
 * of the time before. */
static void a_change_that_is_overtaken_when_it_can_be_seen_is_measured(void **state)
{
	uint64_t begun, slept, woken, end;

	say_node((char[]){ "1" });
	say_pod("p");
	say_pod("q");
	say_pod("r");
	say_secret("1", "k", "MQ==");
	run();
	assert_true(is_ready("p") && is_ready("q") && is_ready("r"));
	assert_int_equal(n_seen(), 0);
	buf_clear(&f.log);
	begun = loop_now(f.loop);
	say_secret("2", "k", "Mg==");
	serve_until("rename q/");
	assert_null(strstr(f.log.data, "rename r/"));
	assert_null(strstr(f.log.data, "unlink"));
	while (loop_run_once(f.loop, 0) > 0) /* the answer about q is read: r is under way */
		;
	slept = clock_monotonic_usec();
	usleep(50000);
	woken = clock_monotonic_usec();
	assert_true(loop_run_once(f.loop, 0) >= 0); /* the loop's time */
	say_secret("3", "k", "Mw==");
	run();
	end = clock_monotonic_usec();
	assert_non_null(strstr(f.log.data, "rename r/"));
	assert_int_equal(n_seen(), 6);
	/* r's first one takes in the sleep, and no other; what else there is may go by at any moment */
	assert_true(seen_usec() <= 2 * (slept - begun) + (end - begun) + 6 * (end - woken));
	settle();
}

/* Nobody has seen the one that is overtaken while it waits, so the next one is late by its time. */
static void a_change_that_is_overtaken_unseen_is_measured_with_the_next(void **state)
{
	uint64_t slept;

	say_node((char[]){ "1" });
	say_pod("p");
	say_secret("1", "k", "MQ==");
	run();
	say_secret("2", "k", "Mg==");
	slept = clock_monotonic_usec();
	usleep(2000);
	slept = clock_monotonic_usec() - slept;
	say_node((char[]){ "2" });
	say_secret("3", "k", "Mw==");
	run();
	assert_int_equal(n_seen(), 1);
	assert_true(seen_usec() >= slept);
	settle();
}

/* The pod has a folder locked, and ..data leads to the new version. */
static void a_change_that_a_held_volume_shows_is_told_and_measured(void **state)
{
	const struct volume *v;
	int fd;

	say_node((char[]){ "1" });
	say_pod("p");
	say_secret("1", "k", "MQ==");
	run();
	for (int shown = 0; shown < 2; shown++) {
		size_t before = n_seen();

		f.hang_at = f.n_changes + (shown ? 5 : 4);
		say_secret(shown ? "3" : "2", "k", shown ? "Mw==" : "Mg==");
		run();
		assert_int_equal(n_seen(), before);
		f.hang_at = 0;
		fd = f.fd;
		publish_put_aside(f.publish, PID, "p/volumes", false);
		attach();
		run();
		v = &pods_find(node.pods, "p")->volumes[0];
		assert_int_equal(v->condition, VOLUME_READY);
		assert_int_equal(v->reason, REASON_FOLDER_HELD);
		assert_string_equal(v->resource_version, shown ? "3," : "1,");
		assert_int_equal(n_seen(), before + (size_t)shown);
		close_fd(fd);
		publish_aside_ended(f.publish, PID);
		while (v->reason == REASON_FOLDER_HELD) {
			assert_true(loop_run_once(f.loop, 1000) >= 0);
			publisher_serve();
		}
		assert_string_equal(v->resource_version, shown ? "3," : "2,");
		assert_int_equal(n_seen(), before + 1);
		settle();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_change_that_comes_after_what_is_shown_is_not_measured_with_it,
						node_setup, node_teardown),
		cmocka_unit_test_setup_teardown(a_change_that_is_overtaken_when_it_can_be_seen_is_measured, node_setup,
						node_teardown),
		cmocka_unit_test_setup_teardown(a_change_that_is_overtaken_unseen_is_measured_with_the_next, node_setup,
						node_teardown),
		cmocka_unit_test_setup_teardown(a_change_that_a_held_volume_shows_is_told_and_measured, node_setup,
						node_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
