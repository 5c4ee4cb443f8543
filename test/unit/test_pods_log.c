/* Pods: what one change may write into the log, where a pod has hundreds of volumes. */
#include "agent/pods.h"

#include <sys/mman.h>
#include <unistd.h>

#include "agent/codec.h"
#include "common/log.h"
#include "test/unit/publishing.h"

enum { VOLUMES = 300, LINES_MAX = 101 };

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
	log_set_level(LOG_LEVEL_ERROR);
	pods_free(node.pods);
	store_free(node.store);
	return teardown(state);
}

/* With so many volumes of the Secret s. */
static void say_pod(const char *name, unsigned n_volumes)
{
	cleanup_buf struct buf text = BUF_INIT(1 << 20);
	cleanup_json json_t *doc = NULL;
	cleanup_pod struct pod *pod = NULL;

	buf_printf(&text, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"uid\":\"%s\"},\"spec\":{\"volumes\":[",
		   name, name);
	for (unsigned i = 0; i < n_volumes; i++)
		buf_printf(&text, "%s{\"name\":\"v%u\",\"secret\":{\"secretName\":\"s\"}}", i ? "," : "", i);
	buf_add_str(&text, "],\"containers\":[{\"name\":\"c\",\"volumeMounts\":[");
	for (unsigned i = 0; i < n_volumes; i++)
		buf_printf(&text, "%s{\"name\":\"v%u\",\"mountPath\":\"/v%u\"}", i ? "," : "", i, i);
	assert_int_equal(buf_add_str(&text, "]}]}}"), 0);
	assert_int_equal(json_parse(text.data, text.len, &doc, NULL), 0);
	assert_int_equal(codec_pod(doc, &pod, NULL), 0);
	pods_pod_changed(node.pods, pod);
}

static void say_secret(const char *revision)
{
	cleanup_free char *text =
		str_format("{\"metadata\":{\"name\":\"s\",\"namespace\":\"ns\",\"resourceVersion\":\"%s\"},"
			   "\"data\":{\"k\":\"MQ==\",\"r%s\":\"\"}}",
			   revision, revision);
	cleanup_secret_object struct secret *s = NULL;
	cleanup_json json_t *doc = NULL;

	assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
	assert_int_equal(codec_secret(doc, &s, NULL), 0);
	store_object_changed(node.store, OBJECT_SECRET, "ns", "s", s);
}

/* Lines of what is said while the loop settles, with this in them. */
static size_t lines_with(void (*fn)(const char *arg), const char *arg, const char *what)
{
	cleanup_fd int file = memfd_create("log", MFD_CLOEXEC), saved = dup(STDERR_FILENO);
	static char text[1 << 20];
	ssize_t len;
	size_t n = 0;

	assert_true(dup2(file, STDERR_FILENO) >= 0);
	log_set_level(LOG_LEVEL_INFO);
	fn(arg);
	for (int i = 0; i < 50; i++)
		run();
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	len = pread(file, text, sizeof(text) - 1, 0);
	assert_true(len >= 0);
	text[len] = '\0';
	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

static void come(const char *revision)
{
	f.log.max = 1U << 28;
	say_pod("p", VOLUMES);
	say_secret(revision);
}

static void one_change_writes_a_hundred_lines_about_a_pod(void **state)
{
	assert_in_range(lines_with(come, "1", "\n"), 1, LINES_MAX);
	assert_in_range(lines_with(say_secret, "2", "\n"), 0, LINES_MAX);
}

static void come_few(const char *revision)
{
	say_pod("q", 3);
	run();
	say_secret(revision);
}

static void another_pods_lines_are_not_left_out(void **state)
{
	lines_with(come, "1", "\n");
	assert_int_equal(lines_with(come_few, "2", "volume is ready pod=ns/q"), 3);
	assert_int_equal(lines_with(say_secret, "3", "volume is updated pod=ns/q"), 3);
}

static void what_is_not_written_takes_no_room(void **state)
{
	come("1");
	for (int i = 0; i < 50; i++)
		run();
	assert_in_range(lines_with(say_secret, "2", "volume is updated pod=ns/p"), 50, LINES_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_change_writes_a_hundred_lines_about_a_pod, node_setup,
						node_teardown),
		cmocka_unit_test_setup_teardown(another_pods_lines_are_not_left_out, node_setup, node_teardown),
		cmocka_unit_test_setup_teardown(what_is_not_written_takes_no_room, node_setup, node_teardown),
	};

	log_init("test", LOG_LEVEL_ERROR);
	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
