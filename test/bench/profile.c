/* What profile.sh counts instructions of: the same thing N times, so that what is counted for more of them less what is
 * counted for fewer is only their own.
 *
 *   profile event N    the watch of a Secret brings N new revisions, and the volume's content is made of each (in the agent: from
 *                      the bytes of the connection to what is published)
 *   profile publish N  N revisions of a volume are published: orders, and what becomes of them in the tree. The publisher is
 *                      in the process, for callgrind knows no mount; so FUSE's part is not in it
 *
 *   profile volumes N  N volumes are made, change together, and are asked for again as they are
 *
 *   profile tokens N   N tokens are wanted of an API server that is not there, and wait for their turns
 *
 *   profile mounts N   it is found out of N volumes of one pod whether they are mounted, and what is nested in them, by N mounts
 *   profile resources N  a volume of one pod shows N of its N containers' limits
 *   profile nested N   a volume with N nested mount points is made, and changes
 *
 * A Secret has one key of 1 KiB; that of `volumes` a shorter one. */
#include "agent/codec.h"
#include "agent/reflector.h"
#include "agent/source_api.h"
#include "agent/views.h"
#include "common/b64.h"
#include "common/secmem.h"
#include "test/unit/publishing.h"

enum { VALUE_LEN = 1024, SECRET_MEMORY = 16 << 20 };
#define USAGE "usage: profile event|publish|volumes|tokens|mounts|resources|nested N"

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "profile: %s\n", what);
	exit(1);
}

static char *must(char *text)
{
	if (!text)
		die("out of memory");
	return text;
}

static void value_make(size_t i, char value[static VALUE_LEN + 1])
{
	snprintf(value, VALUE_LEN + 1, "revision-%zu-", i);
	for (size_t at = strlen(value); at < VALUE_LEN; at++)
		value[at] = (char)('a' + (at * 7 + i) % 26);
	value[VALUE_LEN] = 0;
}

/* ---- events ---- */

static uint64_t env_now(void *userdata)
{
	return USEC_PER_SEC;
}

static double env_random01(void *userdata)
{
	return 0.5;
}

static int env_get(void *userdata, const struct reflector_get *get)
{
	return 0;
}

static void env_nothing(void *userdata)
{
}

static void env_wake_after(void *userdata, uint64_t delay_usec)
{
}

static const struct reflector_env ENV = { .now = env_now,
					  .random01 = env_random01,
					  .get = env_get,
					  .cancel = env_nothing,
					  .wake_after = env_wake_after,
					  .wake_off = env_nothing,
					  .went_back = env_nothing };

static struct pod *pod;
static size_t n_made;

static struct pod *pod_make(void)
{
	static const char text[] =
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"default\","
		"\"uid\":\"u1\"},\"spec\":{\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s\"}}],"
		"\"containers\":[{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]}]}}";
	cleanup_json json_t *doc = NULL;
	struct json_issue issue = { .path = "" };
	struct pod *p = NULL;

	if (json_parse(text, strlen(text), &doc, NULL) < 0 || codec_pod(doc, &p, &issue) < 0)
		die("the pod");
	return p;
}

static void on_object(void *userdata, enum reflector_event event, const json_t *obj)
{
	struct json_issue issue = { .path = "" };
	struct secret *secret = NULL;
	struct view view;

	if (codec_secret(obj, &secret, &issue) < 0)
		die("a Secret");
	const struct store_entry entry = { .kind = OBJECT_SECRET,
					   .ns = "default",
					   .name = "s",
					   .state = STORE_PRESENT,
					   .secret = secret,
					   .error = ERR_NOTE_NONE };

	if (view_make(pod, pod->volumes, (const struct store_entry *const[]){ &entry }, NULL, &view, NULL) < 0)
		die("a volume");
	view_deinit(&view);
	secret_unref(secret);
	n_made++;
}

static void on_failed(void *userdata, const struct err *e, int status)
{
	die(err_text(e));
}

static const struct reflector_handler HANDLER = { .list_begin = env_nothing,
						  .object = on_object,
						  .list_end = env_nothing,
						  .failed = on_failed,
						  .recovered = env_nothing };

static char *event_text(size_t i)
{
	cleanup_free char *encoded = NULL;
	char value[VALUE_LEN + 1];

	value_make(i, value);
	if (b64_encode(value, VALUE_LEN, &encoded) < 0)
		die("out of memory");
	/* with what kube-apiserver adds */
	return must(str_format(
		"{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
		"\"s\","
		"\"namespace\":\"default\",\"uid\":\"7d9c7a3e-6d1a-4c5e-9c1e-6f6f0f5f3c11\",\"resourceVersion\":\"%"
		"zu\","
		"\"creationTimestamp\":\"2026-01-02T03:04:05Z\",\"managedFields\":[{\"manager\":\"curl\",\"operation\":"
		"\"Update\",\"apiVersion\":\"v1\",\"time\":\"2026-01-02T03:04:05Z\",\"fieldsType\":\"FieldsV1\","
		"\"fieldsV1\":"
		"{\"f:data\":{\".\":{},\"f:key\":{}},\"f:type\":{}}}]},\"data\":{\"key\":\"%s\"},\"type\":\"Opaque\"}}"
		"\n",
		i + 2, encoded));
}

static void events(size_t n)
{
	static const char list[] =
		"{\"kind\":\"SecretList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"1\"},"
		"\"items\":[]}";
	const struct api_resource resource = { .plural = "secrets",
					       .kind = "Secret",
					       .list_kind = "SecretList",
					       .ns = "default",
					       .field = "metadata.name",
					       .field_value = "s" };
	struct server server = { .stream = SERVER_STREAM_REFUSED, .refused_usec = USEC_PER_SEC };
	cleanup(reflector_freep) struct reflector *r = NULL;

	pod = pod_make();
	if (secmem_init(SECRET_MEMORY, NULL) < 0 || reflector_new(&resource, &server, &ENV, &HANDLER, NULL, &r) < 0)
		die("start");
	reflector_start(r);
	reflector_head(r, 200);
	reflector_body(r, list, strlen(list));
	reflector_done(r, &(struct http_result){ .status = 200, .retry_after_sec = -1 });
	reflector_head(r, 200);
	for (size_t i = 0; i < n; i++) {
		cleanup_free char *text = event_text(i);

		reflector_body(r, text, strlen(text));
	}
	if (n_made != n)
		die("not each event has told of a Secret");
	pod_unref(pod);
}

/* ---- volumes ---- */

/* The versions in their grace go before this ends. How many of them go earlier is a matter of the machine's pace, and would make what
 * is counted one, too. */
static void outlive_grace(void)
{
	while (publish_stats(f.publish).n_retired > 0) {
		loop_run_once(f.loop, PUBLISH_GRACE_USEC);
		run();
	}
}

static void publishes(size_t n)
{
	char spec[sizeof("key=") + VALUE_LEN] = "key=";

	setup(NULL);
	for (size_t i = 0; i < n; i++) {
		struct result result;

		value_make(i, spec + strlen("key="));
		if (publish(spec, &result) < 0)
			die(result.error);
		f.log.len = 0;
	}
	outlive_grace();
	teardown(NULL);
}

static void ask_for_all(size_t n, const char *spec, int expected)
{
	cleanup_free struct result *results = calloc(n, sizeof(*results));

	for (size_t i = 0; i < n; i++) {
		cleanup_free char *uid = must(str_format("uid-%zu", i));
		const struct volume_path path = { .pod_uid = uid, .plugin = "p", .name = "v" };

		if (publish_volume(f.publish, &path, payload_make(spec), result_fn, &results[i]) < 0)
			die("a volume");
	}
	run();
	for (size_t i = 0; i < n; i++)
		if (results[i].n != 1 || results[i].r != expected)
			die("not each volume is as it was asked for");
}

static void volumes(size_t n)
{
	setup(NULL);
	f.log.max = 1U << 30;
	ask_for_all(n, "key=1", 0);
	ask_for_all(n, "key=2", 0);
	ask_for_all(n, "key=2", PUBLISH_UNCHANGED);
	teardown(NULL);
}

/* ---- mounts ---- */

#define POD_BEGIN                                                                                                      \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"default\",\"uid\":"      \
	"\"u1\"},"                                                                                                     \
	"\"spec\":{\"volumes\":["

static struct pod *pod_of(struct buf *text, const char *end)
{
	struct json_issue issue = { .path = "" };
	cleanup_json json_t *doc = NULL;
	struct pod *p = NULL;

	if (buf_add_str(text, end) < 0 || json_parse(text->data, text->len, &doc, NULL) < 0 ||
	    codec_pod(doc, &p, &issue) < 0)
		die("the pod");
	return p;
}

static struct pod *mounts_make(size_t n)
{
	cleanup_buf struct buf text = BUF_INIT(64 << 20);

	buf_add_str(&text, POD_BEGIN);
	for (size_t i = 0; i < n; i++)
		buf_printf(&text, "%s{\"name\":\"v%zu\",\"secret\":{\"secretName\":\"s\"}}", i ? "," : "", i);
	buf_add_str(&text, "],\"containers\":[{\"name\":\"c\",\"volumeMounts\":[");
	for (size_t i = 0; i < n; i++)
		buf_printf(&text, "%s{\"name\":\"v%zu\",\"mountPath\":\"/m/%zu\"}", i ? "," : "", n - 1 - i, i);
	return pod_of(&text, "]}]}}");
}

static int on_nested(void *userdata, const char *path)
{
	return -EINVAL;
}

static __attribute__((noinline)) void look_at_mounts(const struct pod *p)
{
	for (size_t i = 0; i < p->n_volumes; i++)
		if (!pod_mounts_volume(p, p->volumes[i].name) ||
		    view_nested_mounts(p, p->volumes[i].name, on_nested, NULL, NULL) < 0)
			die("the mounts");
}

static void mounts(size_t n)
{
	cleanup_pod struct pod *p = mounts_make(n);

	look_at_mounts(p);
}

/* The items' containers are not in the order of the pod's. */
static struct pod *resources_make(size_t n)
{
	cleanup_buf struct buf text = BUF_INIT(64 << 20);

	buf_add_str(&text, POD_BEGIN "{\"name\":\"v\",\"downwardAPI\":{\"items\":[");
	for (size_t i = 0; i < n; i++)
		buf_printf(&text,
			   "%s{\"path\":\"%zu\",\"resourceFieldRef\":{\"containerName\":\"c%zu\",\"resource\":"
			   "\"limits.cpu\"}}",
			   i ? "," : "", i, n - 1 - i);
	buf_add_str(&text, "]}}],\"containers\":[");
	for (size_t i = 0; i < n; i++)
		buf_printf(&text, "%s{\"name\":\"c%zu\",\"resources\":{\"limits\":{\"cpu\":\"2\"}}}", i ? "," : "", i);
	return pod_of(&text, "]}}");
}

static __attribute__((noinline)) void show_resources(const struct pod *p)
{
	struct view view = { .n_files = 0 };

	if (view_make(p, &p->volumes[0], (const struct store_entry *const[]){ NULL }, NULL, &view, NULL) < 0)
		die("the resources");
	view_deinit(&view);
}

static void resources(size_t n)
{
	cleanup_pod struct pod *p = resources_make(n);

	if (secmem_init(SECRET_MEMORY, NULL) < 0)
		die("secret memory");
	show_resources(p);
}

static void nested(size_t n)
{
	cleanup_buf struct buf spec = BUF_INIT(1U << 30);
	int r = 0;

	setup(NULL);
	f.log.max = 1U << 30;
	for (size_t i = 0; i < n && r == 0; i++)
		r = buf_printf(&spec, "m%zu/a ", i);
	if (r < 0 || buf_add_str(&spec, "key=1") < 0)
		die("out of memory");
	ask_for_all(1, spec.data, 0);
	spec.data[spec.len - 1] = '2';
	ask_for_all(1, spec.data, 0);
	teardown(NULL);
}

/* ---- tokens ---- */

static void told_of_pod(void *userdata, struct pod *p)
{
}

static void told_of_uid(void *userdata, const char *uid)
{
}

static void told_of_token(void *userdata, enum object_kind kind, const char *ns, const char *name,
			  struct secret *secret)
{
}

static void told_of_failure(void *userdata, enum object_kind kind, const char *ns, const char *name,
			    const struct err *e)
{
}

static const struct source_sink SINK = { .pod_changed = told_of_pod,
					 .pod_removed = told_of_uid,
					 .pods_synced = env_nothing,
					 .object_changed = told_of_token,
					 .object_failed = told_of_failure };

/* The turns of the loop are those in which they are found to be due. */
__attribute__((__noinline__)) static void want_all(struct loop *l, struct source *source, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		cleanup_free char *name = must(str_format("default/p/u1/3600/audience-%zu", i));

		if (source_want(source, OBJECT_TOKEN, "default", name) < 0)
			die("a token");
	}
	for (size_t i = 0; i < 4; i++)
		loop_run_once(l, USEC_PER_MSEC);
}

static void tokens(size_t n)
{
	char path[] = "/tmp/profile.XXXXXX";
	cleanup_fd int fd = mkstemp(path);
	struct source_api_options options = {
		.kubeconfig = path, .node_name = "node-1", .kube_api_qps = 50, .kube_api_burst = 100
	};
	struct source *source = NULL;
	struct files *files = NULL;
	struct loop *l = NULL;
	struct err e = ERR_INIT;

	if (fd < 0 || dprintf(fd, "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {"
				  "cluster: c, user: u}}], clusters: [{name: c, cluster: {server: "
				  "\"http://127.0.0.1:1\"}}], users: [{name: u, user: {}}]}\n") < 0)
		die("a kubeconfig");
	if (loop_new(&l) < 0 || files_direct_new(l, &files) < 0)
		die("start");
	if (source_api_new(l, files, &options, &SINK, NULL, &source, &e) < 0 || source_start(source, &e) < 0)
		die(err_text(&e));
	want_all(l, source, n);
	source_free(source);
	files_free(files);
	loop_free(l);
	unlink(path);
}

int main(int argc, char **argv)
{
	uint64_t n = 0;

	if (argc != 3 || str_parse_u64(argv[2], 1000000, &n) < 0)
		die(USAGE);
	if (str_eq(argv[1], "event"))
		events(n);
	else if (str_eq(argv[1], "publish"))
		publishes(n);
	else if (str_eq(argv[1], "volumes"))
		volumes(n);
	else if (str_eq(argv[1], "tokens"))
		tokens(n);
	else if (str_eq(argv[1], "resources"))
		resources(n);
	else if (str_eq(argv[1], "mounts"))
		mounts(n);
	else if (str_eq(argv[1], "nested"))
		nested(n);
	else
		die(USAGE);
	return 0;
}
