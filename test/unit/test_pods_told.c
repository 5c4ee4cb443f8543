/* Pods: what is said (log, and who asks for it) of an update that can be seen, whatever comes before it is told. */
#include "test/unit/pods_node.h"

#include <sys/mman.h>
#include <unistd.h>

#include "common/log.h"

static struct {
	struct buf updates; /* "1>2 " */
	int log, saved;
} told;

static void on_updated(void *userdata, const struct volume *v, const char *before)
{
	assert_int_equal(buf_printf(&told.updates, "%s>%s ", before, v->resource_version), 0);
}

static int told_setup(void **state)
{
	node_setup(state);
	told.updates = BUF_INIT(1 << 16);
	told.log = memfd_create("log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	told.saved = dup(STDERR_FILENO);
	assert_true(dup2(told.log, STDERR_FILENO) >= 0);
	log_set_level(LOG_LEVEL_INFO);
	pods_on_update(node.pods, on_updated, NULL);
	return 0;
}

static int told_teardown(void **state)
{
	log_set_level(LOG_LEVEL_ERROR);
	assert_true(dup2(told.saved, STDERR_FILENO) >= 0);
	close(told.saved);
	close(told.log);
	buf_deinit(&told.updates);
	return node_teardown(state);
}

/* Lines so far that begin with this, and have the other in them. */
static int n_lines(const char *what, const char *field)
{
	static char text[1 << 16];
	ssize_t len = pread(told.log, text, sizeof(text) - 1, 0);
	char *save = NULL;
	int n = 0;

	assert_true(len >= 0);
	text[len] = '\0';
	for (const char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		n += strstr(line, what) && strstr(line, field);
	return n;
}

static void assert_updates(const char *want)
{
	assert_string_equal(told.updates.data ?: "", want);
}

/* options: JSON of the annotation. */
static void say_pod(const char *options)
{
	cleanup_json json_t *j = json_from("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"p\","
					   "\"annotations\":{}},"
					   "\"spec\":{\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s\","
					   "\"items\":[{\"key\":\"k\",\"path\":\"k\"}]}}],"
					   "\"containers\":[{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\","
					   "\"mountPath\":\"/v\"}]}]}}");
	json_t *annotations = json_object_get(json_object_get(j, "metadata"), "annotations");
	cleanup_pod struct pod *pod = NULL;

	assert_int_equal(json_object_set_new(annotations, "secretlet.dev/volumes", json_string(options)), 0);
	assert_int_equal(codec_pod(j, &pod, NULL), 0);
	pods_pod_changed(node.pods, pod);
}

/* value: base64; NULL: it lacks the key */
static void say_secret(const char *revision, const char *value)
{
	cleanup_free char *text = str_format("{\"metadata\":{\"name\":\"s\",\"namespace\":\"ns\",\"uid\":\"su\","
					     "\"resourceVersion\":\"%s\"},\"data\":{\"%s\":\"%s\"}}",
					     revision, value ? "k" : "other", value ?: "");
	cleanup_secret_object struct secret *s = NULL;
	cleanup_json json_t *j = json_from(text);

	assert_int_equal(codec_secret(j, &s, NULL), 0);
	store_object_changed(node.store, OBJECT_SECRET, "ns", "s", s);
}

static const struct volume *volume(void)
{
	return &pods_find(node.pods, "p")->volumes[0];
}

/* The publisher has it, and what it answers has not been read. */
static void begin(const char *revision, const char *value)
{
	say_secret(revision, value);
	assert_true(loop_run_once(f.loop, 0) >= 0);
	assert_true(publisher_serve());
}

static void assert_shows(const char *revision, const char *content)
{
	cleanup_free char *want = str_format("..data>..v ..v/ ..v/k=%s k>..data/k ", content);

	run();
	settle();
	assert_string_equal(volume()->resource_version, revision);
	assert_int_equal(volume()->condition, VOLUME_READY);
	assert_shown("p/volumes/kubernetes.io~secret/v", want);
	assert_string_equal(volume()->version, node_target(resolve("p/volumes/kubernetes.io~secret/v/..data",
								   strlen("p/volumes/kubernetes.io~secret/v/..data"))));
}

static void an_update_that_is_overtaken_when_it_can_be_seen_is_told(void **state)
{
	say_pod("{}");
	say_secret("1", "MQ==");
	run();
	assert_int_equal(n_lines("volume is ready", "revision=1"), 1);
	begin("2", "Mg==");
	say_secret("3", "Mg==");
	assert_shows("3", "2");
	assert_updates("1>2 ");
	assert_int_equal(n_lines("volume is updated", "revision=2"), 1);
	/* so is one to other content, as what came in between */
	begin("4", "NA==");
	say_secret("5", "NQ==");
	assert_shows("5", "5");
	assert_updates("1>2 3>4 4>5 ");
}

/* Whatever is to be shown from then on. */
static void an_update_that_can_be_seen_when_its_pod_changes_is_told(void **state)
{
	say_pod("{}");
	say_secret("1", "MQ==");
	run();
	begin("2", "Mg==");
	say_pod("{\"other\": {}}");
	assert_shows("2", "2");
	assert_updates("1>2 ");
	assert_int_equal(n_lines("volume is updated", "revision=2"), 1);
	/* nothing is, as it is wrong */
	begin("3", "Mw==");
	say_pod("{\"v\": {\"layout\": \"round\"}}");
	assert_shows("3", "3");
	assert_updates("1>2 2>3 ");
	assert_int_equal(volume()->reason, REASON_OPTION_INVALID);
}

static void a_volume_that_is_new_when_its_pod_changes_is_ready_once(void **state)
{
	say_pod("{}");
	run();
	begin("1", "MQ==");
	say_secret("2", "MQ==");
	say_pod("{\"other\": {}}");
	assert_shows("2", "1");
	assert_updates("");
	assert_int_equal(n_lines("volume is ready", "revision=2"), 1);
	assert_int_equal(n_lines("volume is ", ""), 1);
}

/* The pod has a folder locked, and the next one has to wait. */
static void a_held_update_that_can_be_seen_is_told_when_another_waits(void **state)
{
	int fd;

	say_pod("{}");
	say_secret("1", "MQ==");
	run();
	f.hang_at = f.n_changes + 5;
	begin("2", "Mg==");
	say_secret("3", "Mw==");
	run();
	fd = f.fd;
	publish_put_aside(f.publish, PID, "p/volumes", false);
	attach();
	run();
	assert_updates("1>2 ");
	assert_string_equal(volume()->resource_version, "2");
	assert_int_equal(volume()->reason, REASON_FOLDER_HELD);
	close_fd(fd);
	publish_aside_ended(f.publish, PID);
	while (volume()->reason == REASON_FOLDER_HELD) {
		assert_true(loop_run_once(f.loop, 1000) >= 0);
		publisher_serve();
	}
	assert_shows("3", "3");
	assert_updates("1>2 2>3 ");
}

/* Whether anything could be read before or not. */
static void what_cannot_be_shown_is_said_when_what_was_before_it_lands(void **state)
{
	say_pod("{}");
	run();
	for (int i = 0; i < 2; i++) {
		begin(i ? "3" : "1", i ? "Mw==" : "MQ==");
		say_secret(i ? "4" : "2", NULL);
		assert_shows(i ? "3" : "1", i ? "3" : "1");
		assert_int_equal(volume()->reason, REASON_KEY_NOT_FOUND);
		assert_non_null(publish_error(f.publish, "p/volumes/kubernetes.io~secret/v"));
	}
	assert_updates("1>3 ");
	say_secret("5", "NQ==");
	assert_shows("5", "5");
	assert_string_equal(volume()->error, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, told_setup, told_teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_update_that_is_overtaken_when_it_can_be_seen_is_told),
		TEST(an_update_that_can_be_seen_when_its_pod_changes_is_told),
		TEST(a_volume_that_is_new_when_its_pod_changes_is_ready_once),
		TEST(a_held_update_that_can_be_seen_is_told_when_another_waits),
		TEST(what_cannot_be_shown_is_said_when_what_was_before_it_lands),
	};

	log_init("test", LOG_LEVEL_ERROR);
	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
