/* Pods, store and views on a really mounted tree: what a pod's volumes show through its life (kubelet-parity 5), with a
 * source that is driven by the test. */
#include "agent/pods.h"

#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#include "agent/codec.h"
#include "agent/token.h"
#include "common/file.h"
#include "common/str.h"
#include "test/lib/full.h"
#include "test/lib/look.h"
#include "test/lib/rig.h"

static struct fixture {
	struct rig *rig;
	struct store *store;
	struct pods *pods;
	struct source source;
	int n_changes, n_of_secret; /* told by the pods; of them inside the last store_object_changed() */
	int n_wants, n_unwants, n_needs, n_refusals; /* refusals: of so many wants from now on */
	bool asks; /* the source answers needs */
	uint64_t need; /* argument of a call on the loop's thread */
	const char *text, *name; /* arguments of a call on the loop's thread */
	struct err error;
	bool yes;
	char answer[ERR_TEXT_MAX];
} f;

/* --- a source that does nothing by itself --- */

static int on_want(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	if (f.n_refusals > 0) {
		f.n_refusals--;
		return -ENOMEM;
	}
	f.n_wants++;
	return 0;
}

static void on_unwant(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	f.n_unwants++;
}

static int on_need(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	f.n_needs++;
	return f.asks ? SOURCE_ASKED : 0;
}

static const struct source_vtable source_vtable = { .want = on_want, .unwant = on_unwant, .need = on_need };

static void store_changed(void *userdata, const struct store_entry *entry)
{
	pods_object_changed(f.pods, entry);
}

static void pods_changed(void *userdata)
{
	f.n_changes++;
}

static void make_on_loop(struct rig *rig, void *arg)
{
	f.source.vtable = &source_vtable;
	assert(store_new(store_changed, NULL, &f.store) == 0);
	store_set_source(f.store, &f.source);
	assert(pods_new(rig_loop(rig), f.store, rig_publisher(rig), pods_changed, NULL, &f.pods) == 0);
}

static void free_on_loop(struct rig *rig, void *arg)
{
	pods_free(f.pods);
	store_free(f.store);
}

static int setup(void **state)
{
	f = (struct fixture){ .rig = rig_new(NULL) };
	rig_call(f.rig, make_on_loop, NULL);
	return 0;
}

static int teardown(void **state)
{
	rig_call(f.rig, free_on_loop, NULL);
	rig_free(f.rig);
	return 0;
}

/* --- what the test says to pods and store --- */

static json_t *json_from(const char *text)
{
	struct err e = ERR_INIT;
	json_t *j = NULL;

	if (json_parse(text, strlen(text), &j, &e) < 0) {
		fprintf(stderr, "%s: %s\n", text, err_text(&e));
		abort();
	}
	return j;
}

static void pod_on_loop(struct rig *rig, void *arg)
{
	cleanup_json json_t *j = json_from(f.text);
	cleanup_pod struct pod *pod = NULL;

	assert(codec_pod(j, &pod, NULL) == 0);
	pods_pod_changed(f.pods, pod);
}

/* A pod "ns/<name>" with one volume "v" (its secret's fields given) that is mounted; extra fields for the object. */
static void say_pod(const char *name, const char *uid, const char *secret, const char *more)
{
	cleanup_free char *text =
		str_format("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\","
			   "\"uid\":\"%s\"},"
			   "\"spec\":{\"volumes\":[{\"name\":\"v\",\"secret\":{%s}}],\"containers\":[{\"name\":\"c\","
			   "\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]}]}%s}",
			   name, uid, secret, more);

	f.text = text;
	rig_call(f.rig, pod_on_loop, NULL);
}

#define SECRET(name) "\"secretName\":\"" name "\""

static void pod_removed_on_loop(struct rig *rig, void *arg)
{
	pods_pod_removed(f.pods, arg);
}

static void say_pod_removed(const char *uid)
{
	rig_call(f.rig, pod_removed_on_loop, (void *)(uintptr_t)uid);
}

static void secret_on_loop(struct rig *rig, void *arg)
{
	cleanup_secret_object struct secret *s = NULL;
	cleanup_json json_t *j = NULL;

	if (f.text) {
		j = json_from(f.text);
		assert(codec_secret(j, &s, NULL) == 0);
	}
	f.n_of_secret = -f.n_changes;
	store_object_changed(f.store, OBJECT_SECRET, "ns", f.name, s);
	f.n_of_secret += f.n_changes;
}

/* data: JSON fields of base64 values, NULL: the Secret does not exist */
static void say_secret(const char *name, const char *rv, const char *data)
{
	cleanup_free char *text = NULL;

	if (data)
		text = str_format(
			"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"%s\",\"namespace\":"
			"\"ns\",\"uid\":\"su\",\"resourceVersion\":\"%s\"},\"data\":{%s}}",
			name, rv, data);
	f.text = text;
	f.name = name;
	rig_call(f.rig, secret_on_loop, NULL);
}

#define ONE "\"k\":\"b25l\"" /* k=one */
#define TWO "\"k\":\"dHdv\"" /* k=two */

static void failed_on_loop(struct rig *rig, void *arg)
{
	store_object_failed(f.store, OBJECT_SECRET, "ns", f.name, &f.error);
}

static void say_secret_failed(const char *name, const char *why)
{
	f.name = name;
	err_set(&f.error, -EIO, "%s", why);
	rig_call(f.rig, failed_on_loop, NULL);
}

/* --- what it asks --- */

static bool is_condition(struct rig *rig, void *arg)
{
	const struct pod_state *s = pods_find(f.pods, f.name);
	enum volume_condition *c = arg;

	return s && s->n_volumes == 1 && s->volumes[0].condition == *c && !s->volumes[0].flight;
}

static void expect_condition(const char *ref, enum volume_condition c)
{
	f.name = ref;
	assert_true(rig_until(f.rig, is_condition, &c));
}

static void ready_on_loop(struct rig *rig, void *arg)
{
	const struct pod_state *s = pods_find(f.pods, arg);

	f.yes = s && pod_state_is_ready(s);
}

static bool pod_is_ready(const char *ref)
{
	rig_call(f.rig, ready_on_loop, (void *)(uintptr_t)ref);
	return f.yes;
}

static void error_on_loop(struct rig *rig, void *arg)
{
	const struct pod_state *s = pods_find(f.pods, f.name);

	snprintf(f.answer, sizeof(f.answer), "%s", s->volumes[0].error);
}

static const char *volume_error(const char *ref)
{
	f.name = ref;
	rig_call(f.rig, error_on_loop, NULL);
	return f.answer;
}

static void reason_on_loop(struct rig *rig, void *arg)
{
	*(enum reason *)arg = pods_find(f.pods, f.name)->volumes[0].reason;
}

static enum reason volume_reason(const char *ref)
{
	enum reason reason;

	f.name = ref;
	rig_call(f.rig, reason_on_loop, &reason);
	return reason;
}

static void expect_file(const char *uid, const char *key, const char *content)
{
	char bytes[64] = "";
	cleanup_fd int fd = open(rig_path(f.rig, uid, "v", key), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(read(fd, bytes, sizeof(bytes) - 1) >= 0);
	assert_string_equal(bytes, content);
}

static bool nothing_queued(struct rig *rig, void *arg)
{
	return publish_stats(rig_publisher(rig)).n_queued == 0;
}

static void expect_no_folder(const char *uid)
{
	assert_true(rig_until(f.rig, nothing_queued, NULL));
	assert_int_equal(access(rig_path(f.rig, uid, "v", NULL), F_OK), -1);
	assert_int_equal(errno, ENOENT);
}

static void published_on_loop(struct rig *rig, void *arg)
{
	*(uint64_t *)arg = publish_stats(rig_publisher(rig)).n_published;
}

static uint64_t n_published(void)
{
	uint64_t n;

	rig_call(f.rig, published_on_loop, &n);
	return n;
}

/* --- the tests --- */

static void a_secret_that_is_late_completes_its_pod(void **state)
{
	say_pod("p", "u1", SECRET("s"), "");
	expect_condition("ns/p", VOLUME_WAITING);
	assert_int_equal(f.n_wants, 1);
	expect_no_folder("u1");
	say_secret("s", "1", NULL);
	expect_condition("ns/p", VOLUME_WAITING);
	assert_string_equal(volume_error("ns/p"), "secret \"s\" not found");
	expect_no_folder("u1");
	say_secret("s", "2", ONE);
	expect_condition("ns/p", VOLUME_READY);
	expect_file("u1", "k", "one");
}

/* Whoever can make a pod can make one with a Secret a thousand times in a volume, each of them with all keys. */
static void a_volume_with_a_secret_many_times_is_made_once(void **state)
{
	static const char SOURCES[] =
		"{\"secret\":{\"name\":\"s\"}},{\"secret\":{\"name\":\"t\"}},{\"secret\":{\"name\":\"s\"}}";
	cleanup_free char *text = str_format(
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\","
		"\"uid\":\"u1\"},\"spec\":{\"volumes\":[{\"name\":\"v\",\"projected\":{\"sources\":[%s]}},{\"name\":"
		"\"w\","
		"\"projected\":{\"sources\":[%s]}}],\"containers\":[{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\","
		"\"mountPath\":\"/v\"},{\"name\":\"w\",\"mountPath\":\"/w\"}]}]}}",
		SOURCES, SOURCES);

	f.text = text;
	rig_call(f.rig, pod_on_loop, NULL);
	say_secret("s", "1", ONE);
	assert_int_equal(f.n_of_secret, 2);
	say_secret("t", "2", TWO);
	assert_int_equal(f.n_of_secret, 2);
}

static void a_reason_to_wait_is_shown(void **state)
{
	say_pod("p", "u1", SECRET("s"), "");
	say_secret_failed("s", "secrets \"s\" is forbidden");
	expect_condition("ns/p", VOLUME_WAITING);
	assert_string_equal(volume_error("ns/p"), "secrets \"s\" is forbidden");
	say_secret("s", "2", ONE);
	expect_condition("ns/p", VOLUME_READY);
	assert_string_equal(volume_error("ns/p"), "");
}

static void fresh_on_loop(struct rig *rig, void *arg)
{
	const struct store_entry *entry = store_object_fresh(f.store, OBJECT_SECRET, "ns", f.name, f.need);

	if (entry)
		pods_object_fresh(f.pods, entry);
}

static void say_fresh(const char *name, uint64_t need)
{
	f.name = name;
	f.need = need;
	rig_call(f.rig, fresh_on_loop, NULL);
}

/* kubernetes #129645: what is known for another pod may be older than the new one. */
static void a_new_pod_sees_nothing_older_than_itself(void **state)
{
	f.asks = true;
	say_pod("p1", "u1", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p1", VOLUME_WAITING);
	assert_string_equal(volume_error("ns/p1"), "secret \"s\" has not been fetched yet");
	say_fresh("s", 1);
	expect_condition("ns/p1", VOLUME_READY);
	say_pod("p2", "u2", SECRET("s"), "");
	expect_condition("ns/p2", VOLUME_WAITING);
	say_fresh("s", 1);
	expect_condition("ns/p2", VOLUME_WAITING);
	say_secret_failed("s", "forbidden");
	assert_string_equal(volume_error("ns/p2"), "forbidden");
	expect_no_folder("u2");
	expect_file("u1", "k", "one");
	/* the answer: another revision, for both */
	say_secret("s", "2", TWO);
	expect_condition("ns/p2", VOLUME_WAITING);
	say_fresh("s", 2);
	expect_condition("ns/p2", VOLUME_READY);
	expect_file("u2", "k", "two");
	expect_file("u1", "k", "two");
	assert_true(pod_is_ready("ns/p1"));
	assert_int_equal(f.n_needs, 2);
}

/* What it waits for is the pod's own need, whichever revision of the pod says so. */
static void a_pod_that_changes_meanwhile_waits_for_the_same_answer(void **state)
{
	f.asks = true;
	say_pod("p", "u", SECRET("s"), "");
	say_secret("s", "1", ONE);
	say_pod("p", "u", SECRET("s") ",\"defaultMode\":256", "");
	expect_condition("ns/p", VOLUME_WAITING);
	assert_int_equal(f.n_needs, 1);
	say_fresh("s", 1);
	expect_condition("ns/p", VOLUME_READY);
}

static void two_pods_share_one_secret(void **state)
{
	say_pod("p", "u1", SECRET("s"), "");
	say_pod("q", "u2", SECRET("s"), "");
	assert_int_equal(f.n_wants, 1);
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	expect_condition("ns/q", VOLUME_READY);
	say_secret("s", "2", TWO);
	expect_condition("ns/p", VOLUME_READY);
	expect_condition("ns/q", VOLUME_READY);
	expect_file("u1", "k", "two");
	expect_file("u2", "k", "two");
	say_pod_removed("u1");
	assert_int_equal(f.n_unwants, 0);
	expect_no_folder("u1");
	expect_file("u2", "k", "two");
	say_pod_removed("u2");
	assert_int_equal(f.n_unwants, 1);
	expect_no_folder("u2");
}

static void errors_never_take_away_what_was_shown(void **state)
{
	say_pod("p", "u1", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	say_secret_failed("s", "connection refused");
	expect_condition("ns/p", VOLUME_READY);
	assert_string_equal(volume_error("ns/p"), "connection refused");
	expect_file("u1", "k", "one");
	say_secret("s", "2", NULL); /* deleted, not optional */
	expect_condition("ns/p", VOLUME_READY);
	assert_string_equal(volume_error("ns/p"), "secret \"s\" not found");
	expect_file("u1", "k", "one");
	say_secret("s", "3", TWO); /* and created again */
	expect_condition("ns/p", VOLUME_READY);
	assert_string_equal(volume_error("ns/p"), "");
	expect_file("u1", "k", "two");
}

static void an_optional_secret_comes_and_goes(void **state)
{
	say_pod("p", "u1", SECRET("s") ",\"optional\":true", "");
	expect_condition("ns/p", VOLUME_WAITING); /* nobody knows yet */
	say_secret("s", "1", NULL);
	expect_condition("ns/p", VOLUME_READY);
	assert_int_equal(access(rig_path(f.rig, "u1", "v", "..data"), F_OK), 0);
	assert_int_equal(access(rig_path(f.rig, "u1", "v", "k"), F_OK), -1);
	say_secret("s", "2", ONE);
	expect_condition("ns/p", VOLUME_READY);
	expect_file("u1", "k", "one");
	say_secret("s", "3", NULL);
	expect_condition("ns/p", VOLUME_READY);
	assert_int_equal(access(rig_path(f.rig, "u1", "v", "k"), F_OK), -1);
}

/* --- volumes of several sources --- */

/* A pod "ns/p" with the volume "v" of these sources. */
static void say_projected(const char *spec, const char *sources)
{
	cleanup_free char *text = str_format(
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\"},\"spec\":{%s\"volumes\":["
		"{\"name\":\"v\",\"projected\":{\"defaultMode\":256,\"sources\":[%s]}}],\"containers\":["
		"{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]}]}}",
		spec, sources);

	f.text = text;
	rig_call(f.rig, pod_on_loop, NULL);
}

#define FROM(name, more) "{\"secret\":{\"name\":\"" name "\"" more "}}"
#define AS(key, path)	 ",\"items\":[{\"key\":\"" key "\",\"path\":\"" path "\"}]"

/* content NULL: there is no such file */
static void expect_projected(const char *path, const char *content, mode_t mode)
{
	cleanup_free char *where = str_format("%s/u1/volumes/kubernetes.io~projected/v/%s", rig_dir(f.rig), path);
	char bytes[64] = "";
	cleanup_fd int fd = open(where, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (!content) {
		assert_int_equal(fd, -1);
		assert_int_equal(errno, ENOENT);
		return;
	}
	assert_true(fd >= 0);
	assert_true(read(fd, bytes, sizeof(bytes) - 1) >= 0);
	assert_string_equal(bytes, content);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void several_secrets_are_one_volume(void **state)
{
	say_projected("", FROM("a", "") "," FROM("b", AS("k", "dir/k2")));
	assert_int_equal(f.n_wants, 2);
	say_secret("a", "1", ONE);
	expect_condition("ns/p", VOLUME_WAITING);
	assert_string_equal(volume_error("ns/p"), "secret \"b\" has not been fetched yet");
	expect_projected("k", NULL, 0); /* nothing before all is there */
	say_secret("b", "5", TWO);
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("k", "one", 0400);
	expect_projected("dir/k2", "two", 0400);
	expect_no_folder("u1"); /* below kubernetes.io~secret */

	say_secret("a", "2", TWO); /* each is followed */
	rig_settle(f.rig);
	expect_projected("k", "two", 0400);
	say_secret("b", "6", ONE);
	rig_settle(f.rig);
	expect_projected("dir/k2", "one", 0400);

	say_pod_removed("u1");
	assert_int_equal(f.n_unwants, 2);
	rig_settle(f.rig);
	expect_projected("k", NULL, 0);
}

static void a_bad_source_keeps_what_is_shown_of_all(void **state)
{
	say_projected("", FROM("a", "") "," FROM("b", AS("k", "k2")));
	say_secret("a", "1", ONE);
	say_secret("b", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	say_secret("b", "2", NULL);
	say_secret("a", "2", TWO); /* good, but half of the new state is no state */
	expect_condition("ns/p", VOLUME_READY);
	assert_string_equal(volume_error("ns/p"), "secret \"b\" not found");
	expect_projected("k", "one", 0400);
	expect_projected("k2", "one", 0400);
	say_secret("b", "3", TWO);
	expect_condition("ns/p", VOLUME_READY);
	assert_string_equal(volume_error("ns/p"), "");
	expect_projected("k", "two", 0400);
	expect_projected("k2", "two", 0400);
	say_secret_failed("b", "connection refused");
	assert_string_equal(volume_error("ns/p"), "connection refused");
	expect_projected("k2", "two", 0400);
}

static void optional_sources_and_keys_come_and_go(void **state)
{
	say_projected("", FROM("a", "") "," FROM("b", ",\"optional\":true" AS("k", "k2")));
	say_secret("a", "1", ONE);
	expect_condition("ns/p", VOLUME_WAITING); /* nobody knows yet */
	say_secret("b", "1", NULL);
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("k2", NULL, 0);
	say_secret("b", "2", "\"other\":\"b25l\""); /* there, and without the key */
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("k2", NULL, 0);
	say_secret("b", "3", TWO);
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("k2", "two", 0400);
	expect_projected("k", "one", 0400);
	say_secret("b", "4", NULL);
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("k2", NULL, 0);
	expect_projected("k", "one", 0400);
}

static void source_on_loop(struct rig *rig, void *arg)
{
	const struct pod_volume_source *s = volume_find_source(&pods_find(f.pods, "ns/p")->volumes[0], arg);

	snprintf(f.answer, sizeof(f.answer), "%s", s ? s->name : "none");
}

static const char *source_of(const char *path)
{
	rig_call(f.rig, source_on_loop, (void *)(uintptr_t)path);
	return f.answer;
}

static void a_file_is_of_the_last_source_that_has_it(void **state)
{
	say_projected("", FROM("a", "") "," FROM("b", AS("k", "dir/k2")) "," FROM("c", ""));
	say_secret("a", "1", ONE);
	say_secret("b", "1", ONE);
	say_secret("c", "1", "\"other\":\"b25l\"");
	expect_condition("ns/p", VOLUME_READY);
	assert_string_equal(source_of("k"), "a");
	assert_string_equal(source_of("dir/k2"), "b");
	assert_string_equal(source_of("other"), "c");
	assert_string_equal(source_of("dir"), "none");
	say_secret("c", "2", TWO);
	assert_string_equal(source_of("k"), "c");
}

static void one_secret_may_be_two_sources(void **state)
{
	say_projected("", FROM("a", AS("k", "x")) "," FROM("a", AS("k", "y")));
	assert_int_equal(f.n_wants, 1);
	say_secret("a", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("x", "one", 0400);
	say_secret("a", "2", TWO);
	rig_settle(f.rig);
	expect_projected("x", "two", 0400);
	expect_projected("y", "two", 0400);
	say_pod_removed("u1");
	assert_int_equal(f.n_unwants, 1);
}

static void fs_group_counts_for_each_source(void **state)
{
	cleanup_free char *dir = NULL;
	struct stat st;

	say_projected("\"securityContext\":{\"fsGroup\":1001},", FROM("a", "") "," FROM("b", AS("k", "k2")));
	say_secret("a", "1", ONE);
	say_secret("b", "1", TWO);
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("k", "one", 0440);
	expect_projected("k2", "two", 0440);
	dir = str_format("%s/u1/volumes/kubernetes.io~projected/v", rig_dir(f.rig));
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 03777);
	assert_int_equal(st.st_gid, 1001);
}

static void config_map_on_loop(struct rig *rig, void *arg)
{
	cleanup_secret_object struct secret *s = NULL;
	cleanup_json json_t *j = f.text ? json_from(f.text) : NULL;

	assert(!j || codec_object(OBJECT_CONFIG_MAP, j, &s, NULL) == 0);
	store_object_changed(f.store, OBJECT_CONFIG_MAP, "ns", f.name, s);
}

/* fields: of the ConfigMap, NULL: it does not exist */
static void say_config_map(const char *name, const char *fields)
{
	cleanup_free char *text = NULL;

	if (fields)
		text = str_format("{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"resourceVersion\":\"1\"},%s}",
				  name, fields);
	f.text = text;
	f.name = name;
	rig_call(f.rig, config_map_on_loop, NULL);
}

static void config_maps_and_secrets_make_one_volume(void **state)
{
	say_projected("", FROM("a", "") ",{\"configMap\":{\"name\":\"a\",\"optional\":true" AS("c", "dir/c") "}}");
	assert_int_equal(f.n_wants, 2);
	say_secret("a", "1", ONE);
	expect_condition("ns/p", VOLUME_WAITING);
	say_config_map("a", NULL);
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("dir/c", NULL, 0);
	say_config_map("a", "\"data\":{\"c\":\"plain text\"}");
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("dir/c", "plain text", 0400);
	say_config_map("a", "\"binaryData\":{\"c\":\"dHdv\"}");
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("dir/c", "two", 0400);
	expect_projected("k", "one", 0400);
}

static void a_config_map_volume_is_in_its_own_folder(void **state)
{
	cleanup_free char *path = str_format("%s/u1/volumes/kubernetes.io~configmap/v/k", rig_dir(f.rig));
	cleanup_fd int fd = -1;
	char bytes[16] = "";

	f.text = "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\"},\"spec\":{\"volumes\":[{\"name\":"
		 "\"v\","
		 "\"configMap\":{\"name\":\"c\"}}],\"containers\":[{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\","
		 "\"mountPath\":\"/v\"}]}]}}";
	rig_call(f.rig, pod_on_loop, NULL);
	say_secret("c", "1", TWO); /* is another object */
	say_config_map("c", NULL);
	expect_condition("ns/p", VOLUME_WAITING);
	assert_string_equal(volume_error("ns/p"), "configmap \"c\" not found");
	say_config_map("c", "\"data\":{\"k\":\"one\"}");
	expect_condition("ns/p", VOLUME_READY);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, bytes, sizeof(bytes) - 1), 3);
	assert_string_equal(bytes, "one");
}

static void *held;

static void fill_on_loop(struct rig *rig, void *arg)
{
	secmem_fill(&held);
}

static void empty_on_loop(struct rig *rig, void *arg)
{
	secmem_empty(&held);
}

/* No object of it will change and have it looked at again. */
static void what_a_pod_says_of_itself_is_shown_when_there_is_memory_again(void **state)
{
	rig_call(f.rig, fill_on_loop, NULL);
	f.text = "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\"},\"spec\":{\"volumes\":[{\"name\":"
		 "\"v\",\"downwardAPI\":{\"items\":[{\"path\":\"name\",\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}]"
		 "}}],"
		 "\"containers\":[{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]}]}}";
	rig_call(f.rig, pod_on_loop, NULL);
	expect_condition("ns/p", VOLUME_FAILED);
	assert_int_equal(volume_reason("ns/p"), REASON_SECRET_MEMORY_FULL);
	rig_call(f.rig, empty_on_loop, NULL);
	expect_condition("ns/p", VOLUME_READY);
	assert_string_equal(volume_error("ns/p"), "");
}

static void say_labelled(const char *labels)
{
	cleanup_free char *text =
		str_format("{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\",\"labels\":{%s}},"
			   "\"spec\":{\"volumes\":[{\"name\":\"v\","
			   "\"projected\":{\"defaultMode\":256,\"sources\":[" FROM(
				   "a", "") ",{\"downwardAPI\":{\"items\":[{\"path\":\"labels\",\"mode\":288,"
					    "\"fieldRef\":{\"fieldPath\":"
					    "\"metadata.labels\"}},{\"path\":\"cpu\",\"resourceFieldRef\":{"
					    "\"containerName\":\"c\",\"resource\":"
					    "\"limits.cpu\"}}]}}]}}],\"containers\":[{\"name\":\"c\",\"volumeMounts\":["
					    "{\"name\":\"v\",\"mountPath\":"
					    "\"/v\"}]}]}}",
			   labels);

	f.text = text;
	rig_call(f.rig, pod_on_loop, NULL);
}

static void node_on_loop(struct rig *rig, void *arg)
{
	struct label cpu = { (char[]){ "cpu" }, arg };

	pods_node_changed(f.pods, &(struct pairs){ .all = &cpu, .n = 1 });
}

static void what_a_pod_says_of_itself_is_followed(void **state)
{
	say_labelled("\"a\":\"1\"");
	say_secret("a", "1", ONE);
	expect_condition("ns/p", VOLUME_WAITING);
	assert_non_null(strstr(volume_error("ns/p"), "what is allocatable on the node is not known"));
	rig_call(f.rig, node_on_loop, (char[]){ "4" });
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("labels", "a=\"1\"", 0440);
	expect_projected("cpu", "4", 0400);
	expect_projected("k", "one", 0400);
	say_labelled("\"b\":\"2\",\"a\":\"1\"");
	rig_settle(f.rig);
	expect_projected("labels", "a=\"1\"\nb=\"2\"", 0440);
	rig_call(f.rig, node_on_loop, (char[]){ "5" });
	rig_settle(f.rig);
	expect_projected("cpu", "5", 0400);
	say_secret("a", "2", TWO);
	rig_settle(f.rig);
	expect_projected("k", "two", 0400);
	assert_int_equal(f.n_wants, 1);
	say_pod_removed("u1");
	assert_int_equal(f.n_unwants, 1);
}

/* --- tokens --- */

static void token_on_loop(struct rig *rig, void *arg)
{
	cleanup_secret_object struct secret *s = NULL;
	cleanup_json json_t *j = f.text ? json_from(f.text) : NULL;
	uint64_t expires;
	int64_t sec;

	assert(!j || token_from_answer(j, "ns", f.name, &s, &expires, &sec, NULL) == 0);
	store_object_changed(f.store, OBJECT_TOKEN, "ns", f.name, s);
}

static void token_failed_on_loop(struct rig *rig, void *arg)
{
	store_object_failed(f.store, OBJECT_TOKEN, "ns", f.name, &f.error);
}

static void say_token(const char *name, const char *value)
{
	cleanup_free char *text = NULL;

	if (value)
		text = str_format(
			"{\"spec\":{\"expirationSeconds\":3600},\"status\":{\"token\":\"%s\",\"expirationTimestamp\":"
			"\"2999-01-01T00:00:00Z\"}}",
			value);
	f.text = text;
	f.name = name;
	rig_call(f.rig, token_on_loop, NULL);
}

#define TOKEN_SOURCE "{\"serviceAccountToken\":{\"path\":\"token\"}}"
#define TOKEN_OF_P   "default/p/u1/3600/"

static uid_t owner_of(const char *path)
{
	cleanup_free char *where = str_format("%s/u1/volumes/kubernetes.io~projected/v/%s", rig_dir(f.rig), path);
	struct stat st;

	assert_int_equal(stat(where, &st), 0);
	return st.st_uid;
}

/* rows 76 and 79 of kubelet-parity; the containers' own users are test_codec's */
static void a_token_is_its_users(void **state)
{
	say_projected("", TOKEN_SOURCE "," FROM("a", ""));
	say_secret("a", "1", ONE);
	expect_condition("ns/p", VOLUME_WAITING);
	assert_string_equal(volume_error("ns/p"), "the token has not been fetched yet");
	say_token(TOKEN_OF_P, "first");
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("token", "first", 0400); /* the volume's defaultMode */
	assert_int_equal(owner_of("token"), 0);
	say_token(TOKEN_OF_P, "second");
	rig_settle(f.rig);
	expect_projected("token", "second", 0400);

	say_projected("\"securityContext\":{\"runAsUser\":1000},", TOKEN_SOURCE "," FROM("a", ""));
	rig_settle(f.rig);
	expect_projected("token", "second", 0600);
	assert_int_equal(owner_of("token"), 1000);
	expect_projected("k", "one", 0400);
	assert_int_equal(owner_of("k"), 0);

	say_projected("\"securityContext\":{\"fsGroup\":2000},", TOKEN_SOURCE "," FROM("a", ""));
	rig_settle(f.rig);
	expect_projected("token", "second", 0640);
	assert_int_equal(owner_of("token"), 0);
	assert_int_equal(f.n_wants, 2); /* all of this with one token */
}

static void a_token_is_as_asked_too(void **state)
{
	f.text =
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\",\"annotations\":{\"secretlet.dev/"
		"volumes\":"
		"\"v: {owner: 7, mode: '0440'}\"}},\"spec\":{\"securityContext\":{\"runAsUser\":1000,\"fsGroup\":2000},"
		"\"volumes\":[{\"name\":\"v\",\"projected\":{\"sources\":[" TOKEN_SOURCE "]}}],\"containers\":["
		"{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]}]}}";
	rig_call(f.rig, pod_on_loop, NULL);
	say_token(TOKEN_OF_P, "first");
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("token", "first", 0440);
	assert_int_equal(owner_of("token"), 7);
}

static void a_token_that_cannot_be_had_keeps_the_last(void **state)
{
	say_projected("", TOKEN_SOURCE);
	say_token(TOKEN_OF_P, NULL);
	expect_condition("ns/p", VOLUME_WAITING);
	assert_string_equal(volume_error("ns/p"), "there are no service account tokens without an API server");
	say_token(TOKEN_OF_P, "first");
	expect_condition("ns/p", VOLUME_READY);
	f.name = TOKEN_OF_P;
	err_set(&f.error, -EIO, "failed to refresh a token: no route");
	rig_call(f.rig, token_failed_on_loop, NULL);
	expect_condition("ns/p", VOLUME_READY);
	assert_string_equal(volume_error("ns/p"), "failed to refresh a token: no route");
	expect_projected("token", "first", 0400);
}

static void a_volume_without_sources_is_an_empty_one(void **state)
{
	cleanup_free char *dir = NULL;

	say_projected("", "");
	expect_condition("ns/p", VOLUME_READY);
	dir = str_format("%s/u1/volumes/kubernetes.io~projected/v/..data/", rig_dir(f.rig));
	assert_int_equal(access(dir, F_OK), 0);
	assert_int_equal(f.n_wants, 0);
}

static void a_volume_that_becomes_one_of_another_kind_moves(void **state)
{
	say_pod("p", "u1", SECRET("a"), "");
	say_secret("a", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	say_projected("", FROM("a", AS("k", "x")));
	expect_condition("ns/p", VOLUME_READY);
	expect_projected("x", "one", 0400);
	rig_settle(f.rig);
	expect_no_folder("u1");
	assert_int_equal(f.n_wants, 1);
	assert_int_equal(f.n_unwants, 0);
}

static void a_pod_that_finishes_gives_everything_back(void **state)
{
	say_pod("p", "u1", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	assert_true(pod_is_ready("ns/p"));
	say_pod("p", "u1", SECRET("s"), ",\"status\":{\"phase\":\"Succeeded\"}");
	expect_no_folder("u1");
	assert_int_equal(f.n_unwants, 1);
	assert_false(pod_is_ready("ns/p")); /* nobody should start a container of it */
}

static void a_pod_that_nothing_could_be_kept_of_is_tried_again(void **state)
{
	f.n_refusals = 1;
	say_pod("p", "u1", SECRET("s"), "");
	assert_int_equal(f.n_wants, 0);
	assert_false(pod_is_ready("ns/p")); /* although it has no volume that is not */
	expect_condition("ns/p", VOLUME_WAITING);
	assert_int_equal(f.n_wants, 1);
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	assert_true(pod_is_ready("ns/p"));

	f.n_refusals = 1;
	say_pod("p", "u1", SECRET("t"), ""); /* the revision before stays meanwhile */
	assert_false(pod_is_ready("ns/p"));
	expect_file("u1", "k", "one");
	say_pod("p", "u1", SECRET("t"), ",\"status\":{\"phase\":\"Running\"}");
	assert_int_equal(f.n_wants, 2);
	say_secret("t", "1", TWO);
	expect_condition("ns/p", VOLUME_READY);
	expect_file("u1", "k", "two");
	assert_true(pod_is_ready("ns/p"));
}

static void an_update_of_a_pod_that_changes_nothing_for_us_costs_nothing(void **state)
{
	uint64_t before;

	say_pod("p", "u1", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	before = n_published();
	for (int i = 0; i < 100; i++)
		say_pod("p", "u1", SECRET("s"), i % 2 ? ",\"status\":{\"phase\":\"Running\"}" : "");
	say_secret("s", "2", ONE); /* same bytes, other revision */
	expect_condition("ns/p", VOLUME_READY);
	assert_int_equal(n_published(), before);
	assert_int_equal(f.n_wants, 1);
	assert_int_equal(f.n_unwants, 0);
	say_secret("s", "3", TWO); /* and it still follows */
	expect_condition("ns/p", VOLUME_READY);
	expect_file("u1", "k", "two");
}

static void a_changed_mode_alone_is_shown(void **state)
{
	struct stat st;

	say_pod("p", "u1", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	say_pod("p", "u1", SECRET("s") ",\"defaultMode\":256", "");
	expect_condition("ns/p", VOLUME_READY);
	assert_int_equal(stat(rig_path(f.rig, "u1", "v", "k"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
}

/* --- what a pod asks by annotation --- */

static int n_mistakes;

static void on_mistake(void *userdata, const struct pod_state *s, const char *text)
{
	n_mistakes++;
	snprintf(f.answer, sizeof(f.answer), "%s", text);
}

static void watch_mistakes(struct rig *rig, void *arg)
{
	n_mistakes = 0;
	pods_on_mistake(f.pods, on_mistake, NULL);
}

static void say_asking(const char *options, const char *more)
{
	cleanup_free char *text = str_format(
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u1\",\"annotations\":{%s}},\"spec\":{%s"
		"\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s\",\"defaultMode\":256}}],\"containers\":[{"
		"\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]}]}}",
		options, more);

	f.text = text;
	rig_call(f.rig, pod_on_loop, NULL);
	rig_settle(f.rig);
}

/* "400:0:0" */
static void expect_owned(const char *path, const char *facts)
{
	char text[64];
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	snprintf(text, sizeof(text), "%o:%u:%u", st.st_mode & 07777, st.st_uid, st.st_gid);
	assert_string_equal(text, facts);
}

#define ASKS(options) "\"secretlet.dev/volumes\":\"" options "\""

static void owner_group_and_mode_are_as_asked_and_follow_the_annotation(void **state)
{
	cleanup_free char *live = str_format("%s/u1/live/v/k", rig_dir(f.rig));
	uint64_t before;

	say_asking(ASKS("v: {owner: 1000, mode: '0400'}") ",\"secretlet.dev/live\":\"v\"",
		   "\"securityContext\":{\"fsGroup\":1001},");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	expect_owned(rig_path(f.rig, "u1", "v", "k"), "400:1000:1001");
	expect_owned(live, "400:1000:1001");
	expect_owned(rig_path(f.rig, "u1", "v", NULL), "3777:0:1001");
	expect_owned(rig_path(f.rig, "u1", "v", "..data/"), "2755:0:1001"); /* folders stay the kubelet's */

	before = n_published();
	say_asking(ASKS("v: {owner: 1000, mode: '0400'} # again") ",\"secretlet.dev/live\":\"v\"",
		   "\"securityContext\":{\"fsGroup\":1001},");
	assert_int_equal(n_published(), before);
	say_asking(ASKS("v: {owner: 1000, mode: '0440'}") ",\"secretlet.dev/live\":\"v\"",
		   "\"securityContext\":{\"fsGroup\":1001},");
	expect_owned(rig_path(f.rig, "u1", "v", "k"), "440:1000:1001");
	expect_owned(live, "440:1000:1001");
	assert_int_equal(n_published(), before + 1);
	say_asking(
		ASKS("v: {owner: 1000, mode: '0440', keys: {k: {group: 0, owner: 5}}}") ",\"secretlet.dev/live\":\"v\"",
		"\"securityContext\":{\"fsGroup\":1001},");
	expect_owned(rig_path(f.rig, "u1", "v", "k"), "440:5:0");
	expect_owned(live, "440:5:0");
	say_asking("\"secretlet.dev/live\":\"v\"", "\"securityContext\":{\"fsGroup\":1001},");
	expect_owned(rig_path(f.rig, "u1", "v", "k"), "440:0:1001");
	say_secret("s", "2", TWO);
	rig_settle(f.rig);
	assert_int_equal(n_published(), before + 4);
	expect_file("u1", "k", "two");
}

static void volume_with_a_mistake_is_held_back_and_the_mistake_told_once(void **state)
{
	static const char wrong[] = "annotation secretlet.dev/volumes: v.mode: must be octal digits, the first one 0, "
				    "up to 0777, such as \"0400\"";

	rig_call(f.rig, watch_mistakes, NULL);
	say_asking(ASKS("v: {mode: 400}"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_FAILED);
	assert_string_equal(volume_error("ns/p"), wrong);
	expect_no_folder("u1");
	assert_int_equal(n_mistakes, 1);
	say_secret("s", "2", TWO);
	say_asking(ASKS("v: {mode: 400}"), "\"terminationGracePeriodSeconds\":1,");
	say_asking(ASKS("v: {mode: 400}"), "\"securityContext\":{\"fsGroup\":1001},");
	assert_int_equal(n_mistakes, 1);

	say_asking(ASKS("v: {mode: '0400'}"), "");
	expect_condition("ns/p", VOLUME_READY);
	expect_owned(rig_path(f.rig, "u1", "v", "k"), "400:0:0");
	assert_string_equal(volume_error("ns/p"), "");
	assert_int_equal(n_mistakes, 1);

	/* what is shown stays, mode and content */
	say_asking(ASKS("v: {mode: 440}"), "");
	assert_int_equal(n_mistakes, 2);
	assert_string_equal(volume_error("ns/p"), wrong);
	say_secret("s", "3", ONE);
	rig_settle(f.rig);
	expect_condition("ns/p", VOLUME_READY);
	expect_owned(rig_path(f.rig, "u1", "v", "k"), "400:0:0");
	expect_file("u1", "k", "two");
	say_asking(ASKS("v: {mode: '0440'}"), "");
	expect_owned(rig_path(f.rig, "u1", "v", "k"), "440:0:0");
	expect_file("u1", "k", "one");
	assert_string_equal(volume_error("ns/p"), "");
}

#define LAYOUT_STAYS "a volume keeps the layout that it was made with: a new pod gets the one that is asked for"

static void flat_volume_has_files_and_keeps_its_layout(void **state)
{
	cleanup_free char *live = str_format("%s/u1/live/v/k", rig_dir(f.rig));
	struct stat st;

	rig_call(f.rig, watch_mistakes, NULL);
	say_asking(ASKS("v: {layout: flat, owner: 1000, mode: '0440'}") ",\"secretlet.dev/live\":\"v\"",
		   "\"securityContext\":{\"fsGroup\":1001},");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	assert_int_equal(lstat(rig_path(f.rig, "u1", "v", "k"), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0440);
	expect_owned(rig_path(f.rig, "u1", "v", "k"), "440:1000:1001");
	expect_owned(live, "440:1000:1001");
	assert_false(look_exists(rig_path(f.rig, "u1", "v", "..data")));
	say_secret("s", "2", TWO);
	rig_settle(f.rig);
	expect_file("u1", "k", "two");
	look_is_text(live, "two");
	assert_int_equal(n_mistakes, 0);

	say_asking(ASKS("v: {owner: 1000, mode: '0400'}"), "\"securityContext\":{\"fsGroup\":1001},");
	assert_int_equal(n_mistakes, 1);
	assert_string_equal(f.answer, "annotation secretlet.dev/volumes: v.layout: " LAYOUT_STAYS);
	expect_owned(rig_path(f.rig, "u1", "v", "k"), "400:1000:1001");
	assert_false(look_exists(rig_path(f.rig, "u1", "v", "..data")));
	expect_condition("ns/p", VOLUME_READY);
	assert_string_equal(volume_error("ns/p"), LAYOUT_STAYS);
	say_secret("s", "3", ONE);
	rig_settle(f.rig);
	expect_file("u1", "k", "one");
	assert_int_equal(n_mistakes, 1);
	say_asking(ASKS("v: {layout: flat}"), "");
	assert_string_equal(volume_error("ns/p"), "");
	assert_int_equal(n_mistakes, 1);
}

/* Its content is there, and there is no room for copies of it. */
static void full_memory_is_the_reason_of_what_cannot_be_published(void **state)
{
	say_pod("q", "u2", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/q", VOLUME_READY);
	rig_call(f.rig, fill_on_loop, NULL);
	say_asking(ASKS("v: {layout: flat}"), "");
	expect_condition("ns/p", VOLUME_FAILED);
	assert_int_equal(volume_reason("ns/p"), REASON_SECRET_MEMORY_FULL);
	rig_call(f.rig, empty_on_loop, NULL);
	expect_condition("ns/p", VOLUME_READY);
	assert_int_equal(volume_reason("ns/p"), REASON_NONE);
}

static void volume_of_links_stays_one(void **state)
{
	rig_call(f.rig, watch_mistakes, NULL);
	say_asking("", "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	say_asking(ASKS("v: {layout: flat}"), "");
	expect_condition("ns/p", VOLUME_READY);
	assert_true(look_exists(rig_path(f.rig, "u1", "v", "..data")));
	assert_string_equal(volume_error("ns/p"), LAYOUT_STAYS);
	assert_int_equal(n_mistakes, 1);
	say_secret("s", "2", TWO);
	rig_settle(f.rig);
	expect_file("u1", "k", "two");
	assert_string_equal(volume_error("ns/p"), LAYOUT_STAYS);
	assert_int_equal(n_mistakes, 1);
}

static void mistake_that_is_of_no_volume_holds_nothing_back(void **state)
{
	rig_call(f.rig, watch_mistakes, NULL);
	say_asking(ASKS("w: {mode: '0400'}") ",\"secretlet.dev/vloumes\":\"\"", "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	assert_string_equal(volume_error("ns/p"), "");
	assert_int_equal(n_mistakes, 1);
	say_asking("\"secretlet.dev/vloumes\":\"\"", "");
	assert_int_equal(n_mistakes, 2);
	assert_string_equal(f.answer, "annotation secretlet.dev/vloumes: there is no such option");
}

static void a_pod_that_changes_its_secret_gives_the_old_one_back(void **state)
{
	say_pod("p", "u1", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	say_pod("p", "u1", SECRET("t"), "");
	assert_int_equal(f.n_wants, 2);
	assert_int_equal(f.n_unwants, 1);
	expect_file("u1", "k", "one"); /* until there is something to take its place */
	say_secret("t", "2", TWO);
	expect_condition("ns/p", VOLUME_READY);
	expect_file("u1", "k", "two");
}

static void what_cannot_be_shown_fails_with_a_reason_and_can_be_mended(void **state)
{
	say_pod("p", "u1", SECRET("s") ",\"items\":[{\"key\":\"k\",\"path\":\"a\"},{\"key\":\"k\",\"path\":\"a/b\"}]",
		"");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_FAILED);
	assert_true(volume_error("ns/p")[0]);
	expect_no_folder("u1");
	say_pod("p", "u1", SECRET("s") ",\"items\":[{\"key\":\"nokey\",\"path\":\"a\"}]", "");
	expect_condition("ns/p", VOLUME_WAITING);
	assert_string_equal(volume_error("ns/p"), "references non-existent secret key: nokey");
	say_pod("p", "u1", SECRET("s") ",\"items\":[{\"key\":\"k\",\"path\":\"a\"}]", "");
	expect_condition("ns/p", VOLUME_READY);
	expect_file("u1", "a", "one");
}

static void read_link(const char *path, char text[static 256])
{
	ssize_t n = readlink(path, text, 255);

	assert_true(n > 0);
	text[n] = 0;
}

static void a_pod_replaced_under_the_same_name_keeps_the_name(void **state)
{
	cleanup_free char *link = str_format("%s/by-name/ns/p", rig_dir(f.rig));
	char target[256];

	say_pod("p", "u1", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("u1", VOLUME_READY);
	say_pod("p", "u2", SECRET("s"), "");
	expect_condition("u2", VOLUME_READY);
	say_pod_removed("u1");
	expect_no_folder("u1");
	read_link(link, target);
	assert_string_equal(target, "../../u2");
	expect_file("u2", "k", "one");
}

static void a_pod_that_comes_back_with_its_uid_is_set_up_again(void **state)
{
	say_pod("p", "u1", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	say_pod_removed("u1");
	say_pod("p", "u1", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	expect_file("u1", "k", "one");
}

static void say_deleting_pod(const char *name, const char *uid)
{
	cleanup_free char *text =
		str_format("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\","
			   "\"uid\":\"%s\",\"deletionTimestamp\":\"2026-11-22T00:00:00Z\"},\"spec\":{\"volumes\":[{"
			   "\"name\":\"v\",\"secret\":{\"secretName\":\"s\"}}],\"containers\":[{\"name\":\"c\","
			   "\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]}]}}",
			   name, uid);

	f.text = text;
	rig_call(f.rig, pod_on_loop, NULL);
}

static void count_on_loop(struct rig *rig, void *arg)
{
	const struct store_entry *entry = store_find(f.store, OBJECT_SECRET, "ns", f.name);

	*(size_t *)arg = entry ? entry->n_refs : 0;
}

static size_t references(const char *name)
{
	size_t n = 0;

	f.name = name;
	rig_call(f.rig, count_on_loop, &n);
	return n;
}

static void mirror_pod_with_a_secret_is_refused_in_the_kubelets_words(void **state)
{
	f.text =
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"m\",\"namespace\":\"ns\",\"uid\":"
		"\"u1\","
		"\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}},\"spec\":{\"volumes\":[{\"name\":\"v\","
		"\"secret\":{\"secretName\":\"s\"}}],\"containers\":[{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\","
		"\"mountPath\":\"/v\"}]}]}}";
	rig_call(f.rig, pod_on_loop, NULL);
	assert_int_equal(f.n_wants, 0);
	expect_condition("ns/m", VOLUME_FAILED);
	assert_string_equal(volume_error("ns/m"), "static pods may not reference secrets");
	expect_no_folder("u1");
	rig_call(f.rig, pod_on_loop, NULL);
	assert_int_equal(pods_count(f.pods), 1);
	say_pod_removed("u1");
	assert_int_equal(pods_count(f.pods), 0);
	assert_int_equal(f.n_unwants, 0);
}

static void mirror_pod_without_secrets_is_none_of_our_business(void **state)
{
	f.text = "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"m\",\"namespace\":\"ns\",\"uid\":"
		 "\"u1\",\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}},\"spec\":{\"volumes\":[],"
		 "\"containers\":[{\"name\":\"c\"}]}}";
	rig_call(f.rig, pod_on_loop, NULL);
	assert_int_equal(pods_count(f.pods), 0);
}

static void stats_on_loop(struct rig *rig, void *arg)
{
	*(struct publish_stats *)arg = publish_stats(rig_publisher(rig));
}

static void thousand_updates_that_change_nothing_cost_nothing(void **state)
{
	struct publish_stats before, after;
	uint64_t requests;
	char more[128];

	say_pod("p", "u1", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	rig_settle(f.rig);
	rig_call(f.rig, stats_on_loop, &before);
	requests = rig_requests(f.rig);
	f.n_needs = 0;
	for (int i = 0; i < 1000; i++) {
		snprintf(more, sizeof(more), ",\"status\":{\"phase\":\"%s\"}", i % 2 ? "Running" : "Pending");
		say_pod("p", "u1", SECRET("s"), more);
	}
	rig_call(f.rig, stats_on_loop, &after);
	assert_int_equal(after.n_published, before.n_published);
	assert_int_equal(after.n_unchanged, before.n_unchanged);
	assert_int_equal(after.n_queued, 0);
	assert_int_equal(rig_requests(f.rig), requests);
	assert_int_equal(f.n_wants, 1);
	assert_int_equal(f.n_unwants, 0);
	assert_int_equal(f.n_needs, 0);
}

#define FEW  50
#define MANY 4000

static void many_pods_on_loop(struct rig *rig, void *arg)
{
	const int *range = arg;

	for (int i = range[0]; i < range[1]; i++) {
		cleanup_free char *text = str_format(
			"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p%d\",\"namespace\":\"ns\","
			"\"uid\":\"u%d\"},\"spec\":{\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s%d\"}}],"
			"\"containers\":[{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]}]}}",
			i, i, i);

		f.text = text;
		pod_on_loop(rig, NULL);
	}
}

/* The least CPU time, in nanoseconds, that a hundred words about one Secret took. */
static void word_cost_on_loop(struct rig *rig, void *arg)
{
	uint64_t *best = arg;
	struct timespec a, b;

	*best = UINT64_MAX;
	for (int i = 0; i < 20; i++) {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
		for (int j = 0; j < 100; j++)
			store_object_failed(f.store, OBJECT_SECRET, "ns", "s0", &f.error);
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
		*best = MIN(*best, (uint64_t)((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec));
	}
}

static void thousands_of_pods_make_a_secrets_change_no_slower(void **state)
{
	int few[] = { 0, FEW }, rest[] = { FEW, MANY };
	uint64_t with_few, with_many;

	err_set(&f.error, -EIO, "no");
	rig_call(f.rig, many_pods_on_loop, few);
	rig_call(f.rig, word_cost_on_loop, &with_few);
	rig_call(f.rig, many_pods_on_loop, rest);
	rig_call(f.rig, word_cost_on_loop, &with_many);
	if (with_many > 4 * with_few)
		fail_msg("%d pods: %llu ns, %d pods: %llu ns", FEW, (unsigned long long)with_few, MANY,
			 (unsigned long long)with_many);
}

static void pod_in_its_grace_period_keeps_its_volumes_until_it_is_gone(void **state)
{
	say_pod("p", "u1", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/p", VOLUME_READY);
	say_pod("p", "u1", SECRET("s"), ",\"status\":{\"phase\":\"Running\"}");
	say_deleting_pod("p", "u1");
	expect_condition("ns/p", VOLUME_READY);
	say_secret("s", "2", TWO);
	rig_settle(f.rig);
	expect_file("u1", "k", "two");
	assert_int_equal(f.n_unwants, 0);
	say_pod_removed("u1");
	expect_no_folder("u1");
	assert_int_equal(f.n_unwants, 1);
}

/* kubelet-parity 8.6, row 102: the same pod twice, another one, and their ends */
static void registering_twice_counts_once_102(void **state)
{
	say_pod("p", "u1", SECRET("s"), "");
	say_pod("p", "u1", SECRET("s"), "");
	assert_int_equal(references("s"), 1);
	say_pod("q", "u2", SECRET("s"), "");
	assert_int_equal(references("s"), 2);
	say_pod_removed("u1");
	say_pod_removed("u1");
	assert_int_equal(references("s"), 1);
	say_pod_removed("u2");
	assert_int_equal(references("s"), 0);
}

/* rows 101, 103 and 104: only what is new for a pod is needed anew */
static void update_needs_only_what_is_new_for_the_pod_104(void **state)
{
	say_pod("p", "u1", SECRET("s1"), "");
	say_pod("q", "u2", SECRET("s1"), "");
	f.n_needs = 0;
	say_pod("p", "u1", SECRET("s1") ",\"defaultMode\":256", "");
	assert_int_equal(f.n_needs, 0);
	say_pod("p", "u1", SECRET("s2"), "");
	assert_int_equal(f.n_needs, 1);
	assert_int_equal(references("s1"), 1);
	assert_int_equal(references("s2"), 1);
	say_pod("q", "u2", SECRET("s2"), "");
	assert_int_equal(f.n_needs, 2);
	assert_int_equal(references("s1"), 0);
	assert_int_equal(references("s2"), 2);
	assert_int_equal(f.n_unwants, 1);
}

static void times_on_loop(struct rig *rig, void *arg)
{
	*(struct pods_times *)arg = *pods_times(f.pods);
}

static struct pods_times times(void)
{
	struct pods_times t;

	rig_call(f.rig, times_on_loop, &t);
	return t;
}

static bool is_updated_twice(struct rig *rig, void *arg)
{
	return histogram_count(&pods_times(f.pods)->visible[POD_VOLUME_SECRET]) == 2;
}

/* The first time is none: nobody has waited for it from the change on. */
static void how_long_a_change_takes_is_measured(void **state)
{
	struct pods_times t;

	say_pod("web", "uid-1", SECRET("s"), "");
	say_secret("s", "1", ONE);
	expect_condition("ns/web", VOLUME_READY);
	t = times();
	assert_int_equal(histogram_count(&t.publish), 1);
	assert_int_equal(histogram_count(&t.visible[POD_VOLUME_SECRET]), 0);

	say_secret("s", "2", TWO);
	expect_condition("ns/web", VOLUME_READY);
	t = times();
	assert_int_equal(histogram_count(&t.publish), 2);
	assert_int_equal(histogram_count(&t.visible[POD_VOLUME_SECRET]), 1);

	/* what changes nothing that can be read is none */
	say_secret("s", "3", TWO);
	expect_condition("ns/web", VOLUME_READY);
	t = times();
	assert_int_equal(histogram_count(&t.visible[POD_VOLUME_SECRET]), 1);

	/* an error in between is no change */
	say_secret_failed("s", "unreadable");
	say_secret("s", "4", ONE);
	assert_true(rig_until(f.rig, is_updated_twice, NULL));
}

static void removing_a_pod_that_nobody_knows_is_nothing(void **state)
{
	say_pod_removed("nobody");
	assert_int_equal(f.n_unwants, 0);
}

/* --- kubelet-parity 8.4 and 8.5, each row on the mounted tree --- */

/* foo=foo, bar=bar */
#define FOO_BAR			   "\"foo\":\"Zm9v\",\"bar\":\"YmFy\""
#define ITEM(key, path)		   "{\"key\":\"" key "\",\"path\":\"" path "\"}"
#define ITEM_MODE(key, path, mode) "{\"key\":\"" key "\",\"path\":\"" path "\",\"mode\":" mode "}"
#define ITEMS(list)		   ",\"items\":[" list "]"
#define MODE(mode)		   ",\"defaultMode\":" mode
#define OPTIONAL		   ",\"optional\":true"
#define GID(gid)		   "\"securityContext\":{\"fsGroup\":" gid "},"
#define M(volume, path)		   "{\"name\":\"" volume "\",\"mountPath\":\"" path "\"}"

static const struct row {
	int number; /* in kubelet-parity.md */
	const char *volume, *spec, *mounts, *data;
	const char *tree; /* "path:mode:gid=content" of files, "path/:mode:gid" of folders, sorted; NULL: no volume */
	const char *error; /* when there is no volume */
} ROWS[] = {
	{ 62, "", "", NULL, FOO_BAR, "bar:644:0=bar foo:644:0=foo", NULL },
	{ 63, ITEMS(ITEM("foo", "path/to/foo.txt")), "", NULL, FOO_BAR,
	  "path/:755:0 path/to/:755:0 path/to/foo.txt:644:0=foo", NULL },
	{ 64, ITEMS(ITEM("foo", "a/1/2/foo.txt")), "", NULL, FOO_BAR,
	  "a/:755:0 a/1/:755:0 a/1/2/:755:0 a/1/2/foo.txt:644:0=foo", NULL },
	{ 65, ITEMS(ITEM("foo", "a/foo.txt") "," ITEM("bar", "b/bar.bin")), "", NULL, FOO_BAR,
	  "a/:755:0 a/foo.txt:644:0=foo b/:755:0 b/bar.bin:644:0=bar", NULL },
	{ 66, ITEMS(ITEM("foo", "foo") "," ITEM("zab", "zab")), "", NULL, FOO_BAR, NULL,
	  "references non-existent secret key: zab" },
	{ 67, ITEMS(ITEM_MODE("foo", "foo", "256") "," ITEM_MODE("bar", "bar", "256")), "", NULL, FOO_BAR,
	  "bar:400:0=bar foo:400:0=foo", NULL },
	{ 68, MODE("420") ITEMS(ITEM("foo", "foo") "," ITEM_MODE("bar", "bar", "384")), "", NULL, FOO_BAR,
	  "bar:600:0=bar foo:644:0=foo", NULL },
	{ 69, OPTIONAL ITEMS(ITEM("zab", "zab")), "", NULL, FOO_BAR, "", NULL },
	{ 70, OPTIONAL, "", NULL, NULL, "", NULL },
	{ 71, OPTIONAL ITEMS(ITEM("foo", "foo") "," ITEM("zab", "zab")), "", NULL, FOO_BAR, "foo:644:0=foo", NULL },
	{ 72, ITEMS(ITEM("missing", "missing")), "", NULL, FOO_BAR, NULL,
	  "references non-existent secret key: missing" },
	{ 0, "", "", NULL, NULL, NULL, "secret \"s\" not found" },
	{ 83, MODE("256"), GID("1001"), NULL, "\"k\":\"eA==\"", "k:440:1001=x", NULL },
	{ 84, MODE("420"), GID("1001"), NULL, "\"k\":\"eA==\"", "k:644:1001=x", NULL },
	{ 85, MODE("0"), GID("1001"), NULL, "\"k\":\"eA==\"", "k:440:1001=x", NULL },
	{ 86, MODE("384"), GID("1001"), NULL, "\"k\":\"eA==\"", "k:640:1001=x", NULL },
	{ 87, ITEMS(ITEM("k", "d/k")), GID("1001"), NULL, "\"k\":\"eA==\"", "d/:2755:1001 d/k:644:1001=x", NULL },
	{ 88, ITEMS(ITEM("k", "d/k")), "", NULL, "\"k\":\"eA==\"", "d/:755:0 d/k:644:0=x", NULL },
	{ 89, "", "", M("v", "/dir") "," M("o", "/dir/nested"), "\"k\":\"eA==\"", "k:644:0=x nested/:755:0", NULL },
	{ 90, "", "",
	  M("o", "/dir/nested/double") "," M("o", "/dir/nested") "," M("v", "/dir") "," M("o", "/dir/nested2"),
	  "\"k\":\"eA==\"", "k:644:0=x nested/:755:0 nested2/:755:0", NULL },
	{ 91, "", "", M("v", "/dir") "," M("o", "/dir/nested") "," M("v", "/other") "," M("o", "/other/nested2"),
	  "\"k\":\"eA==\"", "k:644:0=x nested/:755:0 nested2/:755:0", NULL },
	{ 92, "", "", M("v", "/mnt/dir") "," M("o", "/mnt/dir_ignore"), "\"k\":\"eA==\"", "k:644:0=x", NULL },
	{ 93, "", "", M("v", "foo/../../dir"), "\"k\":\"eA==\"", NULL, "invalid container mount point ../dir" },
};

static int walk_compare(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* What a program sees that follows links and leaves names with ".." alone. */
static void walk_tree(const char *root, char text[static 1024])
{
	char *const roots[] = { (char *)(uintptr_t)root, NULL };
	FTS *fts = fts_open(roots, FTS_LOGICAL, walk_compare);
	size_t len = 0, skip = strlen(root) + 1;
	FTSENT *at;

	assert_non_null(fts);
	text[0] = 0;
	while ((at = fts_read(fts))) {
		char content[64] = "";

		if (at->fts_level == 0 || at->fts_info == FTS_DP)
			continue;
		if (str_starts(at->fts_name, "..")) {
			fts_set(fts, at, FTS_SKIP);
			continue;
		}
		if (at->fts_info == FTS_F) {
			cleanup_fd int fd = open(at->fts_accpath, O_RDONLY | O_CLOEXEC);

			assert_true(fd >= 0 && read(fd, content, sizeof(content) - 1) >= 0);
		}
		len += snprintf(text + len, 1024 - len, "%s%s%s:%o:%u%s%s", len ? " " : "", at->fts_path + skip,
				at->fts_info == FTS_D ? "/" : "", at->fts_statp->st_mode & 07777, at->fts_statp->st_gid,
				at->fts_info == FTS_F ? "=" : "", content);
	}
	fts_close(fts);
}

static void say_row_pod(const struct row *row, const char *uid)
{
	cleanup_free char *text = str_format("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\","
					     "\"namespace\":\"ns\",\"uid\":\"%s\"},"
					     "\"spec\":{%s\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":"
					     "\"s\"%s}},{\"name\":\"o\",\"emptyDir\":{}}],"
					     "\"containers\":[{\"name\":\"c\",\"volumeMounts\":[%s]}]}}",
					     uid, row->spec, row->volume, row->mounts ? row->mounts : M("v", "/v"));

	f.text = text;
	rig_call(f.rig, pod_on_loop, NULL);
}

static void volumes_show_what_the_kubelet_would(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
		const struct row *row = &ROWS[i];
		char uid[32], tree[1024], root[PATH_MAX];
		struct stat st;

		print_message("row %d\n", row->number);
		snprintf(uid, sizeof(uid), "row-%zu", i);
		say_row_pod(row, uid);
		say_secret("s", "1", row->data);
		if (row->error) {
			expect_condition(uid, row->number == 93 ? VOLUME_FAILED : VOLUME_WAITING);
			assert_string_equal(volume_error(uid), row->error);
			expect_no_folder(uid);
		} else {
			expect_condition(uid, VOLUME_READY);
			snprintf(root, sizeof(root), "%s/%s/volumes/kubernetes.io~secret/v", rig_dir(f.rig),
				 uid); /* row 75 */
			walk_tree(root, tree);
			assert_string_equal(tree, row->tree);
			assert_int_equal(stat(root, &st), 0);
			assert_int_equal(st.st_mode & 07777, *row->spec ? 03777 : 01777);
			assert_int_equal(st.st_gid, *row->spec ? 1001 : 0);
		}
		say_pod_removed(uid);
		expect_no_folder(uid); /* row 74 */
	}
}

#define with_rig(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_rig(volumes_show_what_the_kubelet_would),
		with_rig(a_secret_that_is_late_completes_its_pod),
		with_rig(a_volume_with_a_secret_many_times_is_made_once),
		with_rig(a_reason_to_wait_is_shown),
		with_rig(a_new_pod_sees_nothing_older_than_itself),
		with_rig(a_pod_that_changes_meanwhile_waits_for_the_same_answer),
		with_rig(two_pods_share_one_secret),
		with_rig(errors_never_take_away_what_was_shown),
		with_rig(an_optional_secret_comes_and_goes),
		with_rig(several_secrets_are_one_volume),
		with_rig(a_bad_source_keeps_what_is_shown_of_all),
		with_rig(optional_sources_and_keys_come_and_go),
		with_rig(a_file_is_of_the_last_source_that_has_it),
		with_rig(one_secret_may_be_two_sources),
		with_rig(fs_group_counts_for_each_source),
		with_rig(config_maps_and_secrets_make_one_volume),
		with_rig(a_config_map_volume_is_in_its_own_folder),
		with_rig(what_a_pod_says_of_itself_is_followed),
		with_rig(what_a_pod_says_of_itself_is_shown_when_there_is_memory_again),
		with_rig(a_token_is_its_users),
		with_rig(a_token_is_as_asked_too),
		with_rig(a_token_that_cannot_be_had_keeps_the_last),
		with_rig(a_volume_without_sources_is_an_empty_one),
		with_rig(a_volume_that_becomes_one_of_another_kind_moves),
		with_rig(a_pod_that_finishes_gives_everything_back),
		with_rig(a_pod_that_nothing_could_be_kept_of_is_tried_again),
		with_rig(an_update_of_a_pod_that_changes_nothing_for_us_costs_nothing),
		with_rig(a_changed_mode_alone_is_shown),
		with_rig(owner_group_and_mode_are_as_asked_and_follow_the_annotation),
		with_rig(volume_with_a_mistake_is_held_back_and_the_mistake_told_once),
		with_rig(flat_volume_has_files_and_keeps_its_layout),
		with_rig(full_memory_is_the_reason_of_what_cannot_be_published),
		with_rig(volume_of_links_stays_one),
		with_rig(mistake_that_is_of_no_volume_holds_nothing_back),
		with_rig(a_pod_that_changes_its_secret_gives_the_old_one_back),
		with_rig(what_cannot_be_shown_fails_with_a_reason_and_can_be_mended),
		with_rig(a_pod_replaced_under_the_same_name_keeps_the_name),
		with_rig(a_pod_that_comes_back_with_its_uid_is_set_up_again),
		with_rig(mirror_pod_with_a_secret_is_refused_in_the_kubelets_words),
		with_rig(mirror_pod_without_secrets_is_none_of_our_business),
		with_rig(thousand_updates_that_change_nothing_cost_nothing),
		with_rig(thousands_of_pods_make_a_secrets_change_no_slower),
		with_rig(pod_in_its_grace_period_keeps_its_volumes_until_it_is_gone),
		with_rig(registering_twice_counts_once_102),
		with_rig(update_needs_only_what_is_new_for_the_pod_104),
		with_rig(how_long_a_change_takes_is_measured),
		with_rig(removing_a_pod_that_nobody_knows_is_nothing),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
