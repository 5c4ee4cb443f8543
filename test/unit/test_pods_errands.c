/* Pods: what is ordered beside a volume's contents and fails is run again. */
#include "agent/pods.h"

#include "agent/codec.h"
#include "common/str.h"
#include "test/unit/publishing.h"

static struct {
	struct store *store;
	struct pods *pods;
	struct source source;
} node;

static int on_want(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	return 0;
}

static void on_unwant(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
}

static const struct source_vtable source_vtable = { .want = on_want, .unwant = on_unwant };

static void store_changed(void *userdata, const struct store_entry *entry)
{
	pods_object_changed(node.pods, entry);
}

static void pods_changed(void *userdata)
{
}

static int node_setup(void **state)
{
	setup(state);
	node.source.vtable = &source_vtable;
	assert_int_equal(store_new(store_changed, NULL, &node.store), 0);
	store_set_source(node.store, &node.source);
	assert_int_equal(pods_new(f.loop, node.store, f.publish, pods_changed, NULL, &node.pods), 0);
	return 0;
}

static int node_teardown(void **state)
{
	pods_free(node.pods);
	store_free(node.store);
	return teardown(state);
}

/* With the Secret s in each of the named volumes. */
static void say_pod(const char *name, const char *const *volumes)
{
	struct buf b = BUF_INIT(1 << 16), mounts = BUF_INIT(1 << 16);
	cleanup_pod struct pod *pod = NULL;
	cleanup_json json_t *j = NULL;
	struct err e = ERR_INIT;

	buf_printf(&b, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"uid\":\"%s\"},\"spec\":{\"volumes\":[",
		   name, name);
	for (const char *const *v = volumes; *v; v++) {
		buf_printf(&b, "%s{\"name\":\"%s\",\"secret\":{\"secretName\":\"s\"}}", v == volumes ? "" : ",", *v);
		buf_printf(&mounts, "%s{\"name\":\"%s\",\"mountPath\":\"/%s\"}", v == volumes ? "" : ",", *v, *v);
	}
	buf_printf(&b, "],\"containers\":[{\"name\":\"c\",\"volumeMounts\":[%s]}]}}", mounts.data ?: "");
	assert_int_equal(json_parse(b.data, b.len, &j, &e), 0);
	assert_int_equal(codec_pod(j, &pod, NULL), 0);
	pods_pod_changed(node.pods, pod);
	buf_deinit(&b);
	buf_deinit(&mounts);
}

static void say_secret(void)
{
	static const char text[] = "{\"metadata\":{\"name\":\"s\",\"namespace\":\"ns\",\"uid\":\"su\","
				   "\"resourceVersion\":\"1\"},\"data\":{\"k\":\"MQ==\"}}";
	cleanup_secret_object struct secret *s = NULL;
	cleanup_json json_t *j = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(json_parse(text, strlen(text), &j, &e), 0);
	assert_int_equal(codec_secret(j, &s, NULL), 0);
	store_object_changed(node.store, OBJECT_SECRET, "ns", "s", s);
}

static const char *no_copy; /* of this text, as if there were no memory */
static size_t n_no_copies;

/* In front of libc's. */
char *strdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy;

	if (no_copy && str_eq(text, no_copy)) {
		n_no_copies++;
		return NULL;
	}
	copy = malloc(size);
	return copy ? memcpy(copy, text, size) : NULL;
}

static const char *const ONE[] = { "v", NULL }, *const TWO[] = { "v", "w", NULL }, *const NONE[] = { NULL };

static void all_fail(bool yes)
{
	f.fail_at = yes ? f.n_changes + 1 : 0;
	f.n_fail = INT16_MAX;
}

static bool there_is(const char *path)
{
	return resolve(path, strlen(path)) != NULL;
}

/* Whatever is run again is run: a second is enough for the first time. */
static void until(const char *path, bool there)
{
	for (int i = 0; i < 5000 && there_is(path) != there; i++) {
		assert_true(loop_run_once(f.loop, 2000) >= 0);
		run();
	}
	assert_true(there_is(path) == there);
}

#define SECRET "/volumes/kubernetes.io~secret/"

static bool read_only(void *userdata)
{
	++*(int *)userdata;
	return true;
}

/* Somebody makes the file system read-only again and again: more often than the removal waits for. */
static void a_removal_that_a_read_only_file_system_refuses_is_repeated(void **state)
{
	static const uint32_t error = EROFS;
	int n_read_only = 0;

	publish_on_read_only(f.publish, read_only, &n_read_only);
	say_pod("p", ONE);
	say_secret();
	run();
	assert_true(there_is("p" SECRET "v/..data"));
	f.strange_error = &error;
	all_fail(true);
	pods_pod_removed(node.pods, "p");
	for (int i = 0; i < 20 && publish_stats(f.publish).n_failed == 0; i++) {
		run();
		publish_repeat(f.publish);
	}
	assert_int_equal(publish_stats(f.publish).n_failed, 1);
	assert_in_range(n_read_only, 2, 5);
	all_fail(false);
	run();
	assert_true(there_is("p" SECRET "v/..data"));
	until("p", false);
	assert_shown("", "by-name/ ");
	assert_int_equal(publish_stats(f.publish).n_removed, 1);
}

static void so_is_that_of_a_volume(void **state)
{
	say_pod("p", TWO);
	say_secret();
	run();
	all_fail(true);
	say_pod("p", ONE);
	run();
	all_fail(false);
	assert_true(there_is("p" SECRET "w"));
	until("p" SECRET "w", false);
	assert_true(there_is("p" SECRET "v/..data"));
}

static void so_is_that_of_what_an_earlier_agent_has_left(void **state)
{
	struct result res[2] = { 0 };

	say_pod("p", ONE);
	say_secret();
	assert_int_equal(publish_volume(f.publish, &(struct volume_path){ "p", "kubernetes.io~secret", "w" },
					payload_make("a=1"), result_fn, &res[0]),
			 0);
	assert_int_equal(publish_volume(f.publish, &(struct volume_path){ "q", "kubernetes.io~secret", "v" },
					payload_make("a=1"), result_fn, &res[1]),
			 0);
	run();
	assert_true(there_is("p" SECRET "w") && there_is("q" SECRET "v"));
	all_fail(true);
	assert_int_equal(pods_retain(node.pods), 0);
	run();
	all_fail(false);
	assert_true(there_is("p" SECRET "w") && there_is("q" SECRET "v"));
	until("p" SECRET "w", false);
	until("q", false);
	assert_true(there_is("p" SECRET "v/..data"));
}

static void what_has_come_back_stays(void **state)
{
	say_pod("p", TWO);
	say_pod("q", ONE);
	say_secret();
	run();
	all_fail(true);
	say_pod("p", ONE);
	pods_pod_removed(node.pods, "q");
	run();
	all_fail(false);
	say_pod("p", TWO);
	say_pod("q", ONE);
	say_pod("r", ONE);
	run();
	/* until what has failed later than both was run again */
	all_fail(true);
	pods_pod_removed(node.pods, "r");
	run();
	all_fail(false);
	until("r", false);
	assert_true(there_is("p" SECRET "w/..data") && there_is("q" SECRET "v/..data"));
	assert_true(there_is("by-name/ns/q"));
}

static void what_comes_back_without_a_volume_loses_it(void **state)
{
	say_pod("p", TWO);
	say_pod("q", TWO);
	say_secret();
	run();
	all_fail(true);
	pods_pod_removed(node.pods, "p");
	run();
	say_pod("p", ONE);
	run();
	all_fail(false);
	until("p" SECRET "w", false);
	assert_true(there_is("p" SECRET "v/..data"));
	assert_true(there_is("q" SECRET "w/..data"));
}

/* There was no memory for one that had come back, and another one that had goes again meanwhile. */
static void what_comes_back_may_go_again(void **state)
{
	uint32_t queued;

	say_pod("p", TWO);
	say_pod("q", TWO);
	say_secret();
	run();
	all_fail(true);
	pods_pod_removed(node.pods, "p");
	pods_pod_removed(node.pods, "q");
	run();
	all_fail(false);
	say_pod("p", ONE);
	say_pod("q", ONE);
	run();
	no_copy = "w";
	for (int i = 0; i < 5000 && n_no_copies == 0; i++)
		assert_true(loop_run_once(f.loop, 2000) >= 0);
	no_copy = NULL;
	assert_true(n_no_copies > 0);
	/* its end is under way when the others are run again */
	pods_pod_removed(node.pods, "q");
	queued = publish_stats(f.publish).n_queued;
	for (int i = 0; i < 10000 && publish_stats(f.publish).n_queued == queued; i++)
		assert_true(loop_run_once(f.loop, 2000) >= 0);
	assert_true(publish_stats(f.publish).n_queued > queued);
	until("p" SECRET "w", false);
	until("q", false);
	assert_true(there_is("p" SECRET "v/..data"));
}

static void a_name_that_could_not_be_made_comes_later(void **state)
{
	all_fail(true);
	say_pod("p", ONE);
	run();
	assert_false(there_is("by-name/ns/p"));
	all_fail(false);
	until("by-name/ns/p", true);
	say_pod("q", ONE);
	run();
	/* nor is it made when its pod has no volume any more */
	all_fail(true);
	say_pod("r", ONE);
	run();
	all_fail(false);
	say_pod("r", NONE);
	pods_pod_removed(node.pods, "q");
	until("by-name/ns/q", false);
	assert_false(there_is("by-name/ns/r"));
}

/* One is to be run again, one is under way, when it all ends. */
static void what_is_not_done_yet_ends_with_the_pods(void **state)
{
	say_pod("p", ONE);
	say_pod("q", ONE);
	say_secret();
	run();
	all_fail(true);
	pods_pod_removed(node.pods, "p");
	run();
	pods_pod_removed(node.pods, "q");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, node_setup, node_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_removal_that_a_read_only_file_system_refuses_is_repeated),
		TEST(so_is_that_of_a_volume),
		TEST(so_is_that_of_what_an_earlier_agent_has_left),
		TEST(what_has_come_back_stays),
		TEST(what_comes_back_without_a_volume_loses_it),
		TEST(what_comes_back_may_go_again),
		TEST(a_name_that_could_not_be_made_comes_later),
		TEST(what_is_not_done_yet_ends_with_the_pods),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
