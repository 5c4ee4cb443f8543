/* The API server as a source, against the test API server: what the sink is told, through every trouble that a server
 * can make. It takes long under ASan. */
#include "agent/source_api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "common/buf.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/str.h"
#include "test/apiserver/apiserver.h"
#include "test/lib/certs.h"
#include "test/lib/kubeconfig.h"
#include "test/lib/patience.h"

#define SECRETS_MAX 512
#define PODS_MAX    256

/* What was told of one Secret. */
struct told_secret {
	char name[64];
	struct secret *last;
	unsigned n_changed, n_failed;
	bool absent;
	char failure[ERR_TEXT_MAX]; /* "" after good news */
};

struct rig {
	const char *answer; /* of those tests that are run with several */
	unsigned qps; /* with a burst of 1; 0: as many as it likes */
	char dir[64];
	struct apiserver *server;
	struct loop *loop;
	struct files *files;
	struct source *source;

	struct told_secret secrets[SECRETS_MAX];
	size_t n_secrets;
	struct pod *pods[PODS_MAX]; /* there, by uid */
	size_t n_pods;
	unsigned n_pod_changed, n_synced;
	char removed[64]; /* the last uid */
	bool unwant_at_change;
};

/* For "nothing more happens": long enough for what would happen at once. */
static void settle(struct rig *t)
{
	run_for(t->loop, 60 * USEC_PER_MSEC);
}

/* ---- the sink ---- */

static struct told_secret *told(struct rig *t, const char *name)
{
	for (size_t i = 0; i < t->n_secrets; i++)
		if (str_eq(t->secrets[i].name, name))
			return &t->secrets[i];
	assert_true(t->n_secrets < SECRETS_MAX);
	snprintf(t->secrets[t->n_secrets].name, sizeof(t->secrets[0].name), "%s", name);
	return &t->secrets[t->n_secrets++];
}

/* The name of what is no Secret begins with its kind: "configmap s". */
static struct told_secret *told_of(struct rig *t, enum object_kind kind, const char *name)
{
	cleanup_free char *full = str_format("%s%s%s", kind == OBJECT_SECRET ? "" : object_kind_word(kind),
					     kind == OBJECT_SECRET ? "" : " ", name);

	return told(t, full);
}

static void on_secret_changed(void *userdata, enum object_kind kind, const char *ns, const char *name,
			      struct secret *secret)
{
	struct rig *t = userdata;
	struct told_secret *s = told_of(t, kind, name);

	assert_string_equal(ns, "ns");
	secret_unref(s->last);
	s->last = secret ? secret_ref(secret) : NULL;
	s->absent = !secret;
	s->failure[0] = '\0';
	s->n_changed++;
	if (t->unwant_at_change)
		source_unwant(t->source, kind, ns, name);
}

static void on_secret_failed(void *userdata, enum object_kind kind, const char *ns, const char *name,
			     const struct err *e)
{
	struct told_secret *s = told_of(userdata, kind, name);

	assert_int_not_equal(e->code, 0);
	snprintf(s->failure, sizeof(s->failure), "%s", err_text(e));
	s->n_failed++;
}

static size_t find_pod(const struct rig *t, const char *uid)
{
	for (size_t i = 0; i < t->n_pods; i++)
		if (str_eq(t->pods[i]->uid, uid))
			return i;
	return t->n_pods;
}

static size_t find_named(const struct rig *t, const char *name)
{
	for (size_t i = 0; i < t->n_pods; i++)
		if (str_eq(t->pods[i]->name, name))
			return i;
	fail_msg("no pod %s", name);
	return 0;
}

static void on_pod_changed(void *userdata, struct pod *pod)
{
	struct rig *t = userdata;
	size_t i = find_pod(t, pod->uid);

	for (size_t k = 0; k < t->n_pods; k++)
		if (k != i)
			assert_false(str_eq(pod_display(t->pods[k]), pod_display(pod)));
	if (i < t->n_pods)
		pod_unref(t->pods[i]);
	else
		assert_true(t->n_pods++ < PODS_MAX);
	t->pods[i] = pod_ref(pod);
	t->n_pod_changed++;
}

static void on_pod_removed(void *userdata, const char *uid)
{
	struct rig *t = userdata;
	size_t i = find_pod(t, uid);

	assert_true(i < t->n_pods);
	pod_unref(t->pods[i]);
	t->pods[i] = t->pods[--t->n_pods];
	snprintf(t->removed, sizeof(t->removed), "%s", uid);
}

static void on_pods_synced(void *userdata)
{
	((struct rig *)userdata)->n_synced++;
}

static const struct source_sink SINK = {
	.pod_changed = on_pod_changed,
	.pod_removed = on_pod_removed,
	.pods_synced = on_pods_synced,
	.object_changed = on_secret_changed,
	.object_failed = on_secret_failed,
};

/* ---- the rig ---- */

static char *path_in(const struct rig *t, const char *name)
{
	char *path = file_join(t->dir, name);

	assert_non_null(path);
	return path;
}

static void write_file(const struct rig *t, const char *name, const char *text)
{
	cleanup_free char *path = path_in(t, name);
	struct err e = ERR_INIT;

	if (file_write_atomic(path, text, strlen(text), 0600, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static char *read_text(const struct rig *t, const char *name)
{
	cleanup_free char *path = path_in(t, name);
	struct err e = ERR_INIT;
	char *text = NULL;
	size_t len;

	if (file_read(AT_FDCWD, path, 1 << 20, &text, &len, &e) < 0)
		fail_msg("%s", err_text(&e));
	return text;
}

static void write_kubeconfig(const struct rig *t, const char *url, const char *cluster, const char *user)
{
	cleanup_free char *path = path_in(t, "kubeconfig");

	kubeconfig_write(path, url, cluster, user);
}

static void start_server(struct rig *t, const struct apiserver_options *o)
{
	struct err e = ERR_INIT;

	if (apiserver_start(o, &t->server, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static int new_source(struct rig *t, struct err *e)
{
	cleanup_free char *path = path_in(t, "kubeconfig");

	return source_api_new(
		t->loop, t->files,
		&(struct source_api_options){
			.kubeconfig = path, .node_name = "node-1", .kube_api_qps = t->qps, .kube_api_burst = 1 },
		&SINK, t, &t->source, e);
}

static void new_source_or_fail(struct rig *t)
{
	struct err e = ERR_INIT;

	if (new_source(t, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static void start_source(struct rig *t)
{
	struct err e = ERR_INIT;

	if (new_source(t, &e) < 0 || source_start(t->source, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static int bare_setup(void **state)
{
	struct rig *t = calloc(1, sizeof(*t));

	t->answer = *state;
	snprintf(t->dir, sizeof(t->dir), "/tmp/test_source_api.XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(files_direct_new(t->loop, &t->files), 0);
	*state = t;
	return 0;
}

/* A plain HTTP server without authentication, and a source that follows it. */
static int setup(void **state)
{
	struct rig *t;

	bare_setup(state);
	t = *state;
	start_server(t, &(struct apiserver_options){ .port = 0 });
	write_kubeconfig(t, apiserver_url(t->server), "", "");
	start_source(t);
	eventually(t, t->n_synced == 1);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct rig *t = *state;

	source_free(t->source);
	if (t->server)
		apiserver_stop(t->server);
	files_free(t->files);
	loop_free(t->loop);
	for (size_t i = 0; i < t->n_secrets; i++)
		secret_unref(t->secrets[i].last);
	for (size_t i = 0; i < t->n_pods; i++)
		pod_unref(t->pods[i]);
	nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(secmem_stats().n_blocks, 0);
	free(t);
	return 0;
}

static struct source_health health(const struct rig *t)
{
	struct source_health h;

	source_health(t->source, &h);
	return h;
}

static void put_secret(struct rig *t, const char *name, const char *value)
{
	cleanup_free char *text =
		str_format("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\","
			   "\"name\":\"%s\"},\"stringData\":{\"k\":\"%s\"}}",
			   name, value);

	apiserver_put_text(t->server, text);
}

static void put_pod_of(struct rig *t, const char *name, const char *secret, const char *node)
{
	cleanup_free char *text = str_format(
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"%s\"},"
		"\"spec\":{\"nodeName\":\"%s\",\"containers\":[{\"name\":\"c\",\"image\":\"i\","
		"\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]}],"
		"\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"%s\"}}]}}",
		name, node, secret);

	apiserver_put_text(t->server, text);
}

static void put_pod(struct rig *t, const char *name, const char *secret)
{
	put_pod_of(t, name, secret, "node-1");
}

static void want(struct rig *t, const char *name)
{
	assert_int_equal(source_want(t->source, OBJECT_SECRET, "ns", name), 0);
}

static bool has_value(struct rig *t, const char *name, const char *value)
{
	const struct told_secret *s = told(t, name);
	const struct secret_key *k = s->last ? secret_find_key(s->last, "k") : NULL;

	return k && k->value.len == strlen(value) && memcmp(secspan_data(&k->value), value, strlen(value)) == 0;
}

/* How many requests were made whose text contains all of `parts`. */
static size_t count_requests(struct rig *t, const char *a, const char *b)
{
	size_t n = 0;
	char *line;

	for (size_t i = 0; (line = apiserver_request(t->server, i)); i++) {
		n += strstr(line, a) && strstr(line, b);
		free(line);
	}
	return n;
}

/* ---- pods ---- */

static void pods_of_this_node_come_and_go(void **state)
{
	struct rig *t = *state;

	put_pod(t, "web", "s");
	put_pod_of(t, "other", "s", "node-2");
	eventually(t, t->n_pods == 1);
	assert_string_equal(pod_display(t->pods[0]), "ns/web");
	assert_int_equal(t->pods[0]->n_volumes, 1);
	assert_true(apiserver_delete(t->server, "Pod", "ns", "web"));
	eventually(t, t->n_pods == 0);
	assert_int_equal(
		count_requests(t, "GET /api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1&limit=500&resourceVersion=0",
			       ""),
		1);
}

#define POD_ON(name, uid, node)                                                                                        \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"" name                  \
	"\",\"uid\":\"" uid "\",\"resourceVersion\":\"1\"},\"spec\":{" node "\"containers\":[]}}"

/* A server, or what stands in between, may not know the selector. */
static void pods_of_other_nodes_in_a_list_are_passed_over(void **state)
{
	static const char list[] =
		"{\"apiVersion\":\"v1\",\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":"
		"[" POD_ON("theirs", "u1", "\"nodeName\":\"node-2\",") "," POD_ON(
			"ours", "u2",
			"\"nodeName\":\"node-1\",") "," POD_ON("prefix", "u3",
							       "\"nodeName\":\"node-10\",") "," POD_ON("nobodys", "u4",
												       "") "]}";
	struct rig *t = *state;

	start_server(t, &(struct apiserver_options){ .port = 0 });
	apiserver_fail(t->server, "spec.nodeName%3Dnode-1&limit=", 200, list, -1, 1);
	write_kubeconfig(t, apiserver_url(t->server), "", "");
	start_source(t);
	eventually(t, t->n_synced == 1);
	assert_int_equal(t->n_pods, 1);
	assert_string_equal(pod_display(t->pods[0]), "ns/ours");
	assert_int_equal(t->n_pod_changed, 1);
	assert_int_equal(health(t).n_rejected, 0);
}

static void pods_of_other_nodes_in_a_watch_are_passed_over(void **state)
{
	struct rig *t = *state;

	put_pod(t, "ours", "s");
	eventually(t, t->n_pods == 1 && t->n_pod_changed == 1);
	reach(t, apiserver_inject(t->server, "Pod",
				  "{\"type\":\"ADDED\",\"object\":" POD_ON(
					  "theirs", "u1",
					  "\"nodeName\":\"node-2\",") "}\n"
								      "{\"type\":\"MODIFIED\",\"object\":" POD_ON(
									      "nobodys", "u4", "") "}\n"));
	put_pod(t, "last", "s");
	eventually(t, t->n_pod_changed >= 2);
	assert_int_equal(t->n_pods, 2);
	assert_int_equal(t->n_pod_changed, 2);
	assert_true(str_eq(t->pods[1]->name, "last"));
	assert_int_equal(health(t).n_rejected, 0);
}

static void pod_that_is_another_nodes_now_is_removed(void **state)
{
	cleanup_free char *uid = NULL;
	struct rig *t = *state;

	put_pod(t, "a", "s");
	put_pod(t, "b", "s");
	eventually(t, t->n_pods == 2);
	uid = strdup(t->pods[find_named(t, "a")]->uid);
	/* in the watch the server says that it is deleted; in a list it is missing */
	put_pod_of(t, "a", "s", "node-2");
	eventually(t, t->n_pods == 1);
	assert_string_equal(t->removed, uid);
	assert_string_equal(t->pods[0]->name, "b");
	put_pod(t, "c", "s");
	eventually(t, t->n_pods == 2);
	apiserver_pause(t->server);
	eventually(t, !health(t).connected);
	put_pod_of(t, "b", "s", "node-2");
	apiserver_compact(t->server);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, t->n_pods == 1);
	assert_string_equal(t->pods[0]->name, "c");
}

static void pod_replaced_under_its_name_is_removed_first(void **state)
{
	cleanup_free char *uid = NULL;
	struct rig *t = *state;

	put_pod(t, "web", "s");
	eventually(t, t->n_pods == 1);
	uid = strdup(t->pods[0]->uid);
	/* both happen while nobody watches */
	apiserver_pause(t->server);
	eventually(t, !health(t).connected);
	apiserver_delete(t->server, "Pod", "ns", "web");
	put_pod(t, "web", "s");
	apiserver_compact(t->server);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, t->n_pods == 1 && !str_eq(t->pods[0]->uid, uid));
	assert_string_equal(t->removed, uid);
}

static void pods_that_went_while_nobody_watched_are_removed(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	put_pod(t, "b", "s");
	eventually(t, t->n_pods == 2);
	apiserver_pause(t->server);
	eventually(t, !health(t).connected);
	assert_int_equal(t->n_pods, 2);
	apiserver_delete(t->server, "Pod", "ns", "a");
	apiserver_compact(t->server);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, t->n_pods == 1);
	assert_string_equal(t->pods[0]->name, "b");
	assert_true(t->n_synced >= 2);
}

#define EMPTY_LIST                                                                                                     \
	"{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"1000000\"},\"items\":[]}"

/* The next lists of pods are empty, and one is asked for. */
static void empty_lists(struct rig *t, int n)
{
	apiserver_fail(t->server, "pods?fieldSelector", 200, EMPTY_LIST, -1, n);
	reach(t, apiserver_inject(t->server, "Pod", "garbage\n"));
}

/* That all of them have vanished is said twice within this test. */
static void confirm_soon(struct rig *t)
{
	source_tune(t->source, &(struct source_tuning){ .sync_usec = 20 * USEC_PER_MSEC });
}

static void empty_list_of_pods_that_are_there_is_not_believed(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	put_pod(t, "b", "s");
	eventually(t, t->n_pods == 2);
	empty_lists(t, 1);
	eventually(t, strstr(health(t).last_error, "the list of pods is empty, and whether pod ns/"));
	assert_non_null(strstr(health(t).last_error, "it is there"));
	assert_int_equal(t->n_pods, 2);
	/* the list is asked for again, and has them */
	eventually(t, !*health(t).last_error);
	assert_int_equal(t->n_pods, 2);
	apiserver_delete(t->server, "Pod", "ns", "a");
	eventually(t, t->n_pods == 1);
}

static void empty_list_without_the_right_to_ask_takes_no_pod(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	apiserver_fail(t->server, "/pods/a", 403, NULL, -1, -1);
	empty_lists(t, -1);
	eventually(t, strstr(health(t).last_error, "403"));
	settle(t);
	assert_int_equal(t->n_pods, 1);
	apiserver_fail(t->server, "/pods/a", 0, NULL, -1, 0);
	apiserver_fail(t->server, "pods?fieldSelector", 0, NULL, -1, 0);
	confirm_soon(t);
	apiserver_delete(t->server, "Pod", "ns", "a");
	eventually(t, t->n_pods == 0);
	eventually(t, !*health(t).last_error);
}

/* 404 is what a proxy says, too, or a server that does not know the path. */
static char NOT_FOUND_HTML[] = "<html><body>404 page not found</body></html>";
static char NOT_FOUND_TEXT[] = "404 page not found\n";
static char NOT_FOUND_NOTHING[] = "";
static char NOT_FOUND_OBJECT[] = "{}";
static char NOT_FOUND_FORBIDDEN[] =
	"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"reason\":\"Forbidden\",\"code\":404}";

static void empty_list_and_a_404_that_is_no_status(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	apiserver_fail(t->server, "/pods/a", 404, t->answer, -1, -1);
	empty_lists(t, -1);
	eventually(t, strstr(health(t).last_error, "whether pod ns/a is gone is not certain: "));
	settle(t);
	assert_int_equal(t->n_pods, 1);
	apiserver_fail(t->server, "/pods/a", 0, NULL, -1, 0);
	apiserver_fail(t->server, "pods?fieldSelector", 0, NULL, -1, 0);
	confirm_soon(t);
	apiserver_delete(t->server, "Pod", "ns", "a");
	eventually(t, t->n_pods == 0);
}

/* Nor is a 200 that has anything but the pod. */
static char OK_NOTHING[] = "{}";
static char OK_STATUS[] =
	"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"reason\":\"NotFound\",\"code\":404}";
static char OK_LIST[] = "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[]}";
static char OK_SECRET[] = "{\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"a\",\"uid\":\"u\"}}";
static char OK_ANOTHER[] = "{\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"b\",\"uid\":\"u\"}}";
static char OK_ELSEWHERE[] = "{\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"n\",\"name\":\"a\",\"uid\":\"u\"}}";
static char OK_NO_UID[] = "{\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"a\"}}";

static void empty_list_and_an_answer_that_is_not_the_pod(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	apiserver_fail(t->server, "/pods/a", 200, t->answer, -1, -1);
	empty_lists(t, -1);
	eventually(t, strstr(health(t).last_error, "whether pod ns/a is gone is not certain: the answer is not"));
	settle(t);
	assert_int_equal(t->n_pods, 1);
}

/* The rest of it may be missing: no pod leaves its node. */
static void empty_list_and_a_200_with_a_pod_without_node_take_no_pod(void **state)
{
	struct rig *t = *state;
	cleanup_free char *text = NULL;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	text = str_format("{\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"a\",\"uid\":\"%s\"}}",
			  t->pods[0]->uid);
	apiserver_fail(t->server, "/pods/a", 200, text, -1, -1);
	empty_lists(t, -1);
	eventually(t, strstr(health(t).last_error, "whether pod ns/a is gone is not certain: the answer is not"));
	settle(t);
	assert_int_equal(t->n_pods, 1);
}

static void empty_list_and_another_pod_under_the_name_is_believed(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	apiserver_fail(t->server, "/pods/a", 200,
		       "{\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"a\",\"uid\":\"another\"}}", -1,
		       -1);
	confirm_soon(t);
	empty_lists(t, -1);
	eventually(t, t->n_pods == 0);
}

/* Without the right to ask it is a list with pods that says so, and there is one as soon as a pod comes. */
static void doubt_that_nobody_answers_ends_with_the_next_pod(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	apiserver_fail(t->server, "/pods/a", 403, NULL, -1, -1);
	empty_lists(t, 1);
	eventually(t, strstr(health(t).last_error, "403"));
	assert_int_equal(t->n_pods, 1);
	confirm_soon(t); /* after a revision that is far off the real one is of an older state */
	/* it watches from there, and hears of none of these */
	apiserver_delete(t->server, "Pod", "ns", "a");
	put_pod(t, "b", "s");
	settle(t);
	assert_int_equal(t->n_pods, 1);
	reach(t,
	      apiserver_inject(t->server, "Pod",
			       "{\"type\":\"ADDED\",\"object\":" POD_ON("c", "u-c", "\"nodeName\":\"node-1\",") "}\n"));
	eventually(t, t->n_pods == 1 && str_eq(t->pods[0]->name, "b"));
	eventually(t, !*health(t).last_error);
}

static void put_refused_pod(struct rig *t, const char *name)
{
	cleanup_free char *text = str_format(
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"%s\"},"
		"\"spec\":{\"nodeName\":\"node-1\",\"serviceAccountName\":\"../../etc\"}}",
		name);

	apiserver_put_text(t->server, text);
}

static void pods_that_are_all_gone_are_asked_for_and_removed(void **state)
{
	struct rig *t = *state;
	unsigned n_synced;

	put_pod(t, "a", "s");
	put_pod(t, "b", "s");
	put_refused_pod(t, "never-told");
	eventually(t, t->n_pods == 2 && health(t).n_rejected == 1);
	confirm_soon(t);
	n_synced = t->n_synced;
	apiserver_pause(t->server);
	eventually(t, !health(t).connected);
	apiserver_delete(t->server, "Pod", "ns", "a");
	apiserver_delete(t->server, "Pod", "ns", "b");
	apiserver_delete(t->server, "Pod", "ns", "never-told");
	apiserver_compact(t->server);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, t->n_pods == 0);
	eventually(t, t->n_synced > n_synced);
	assert_int_equal(health(t).n_rejected, 0);
	assert_string_equal(health(t).last_error, "");
	/* each was asked for twice, with a list in between */
	assert_int_equal(count_requests(t, "/pods/a", ""), 2);
	assert_int_equal(count_requests(t, "/pods/b", ""), 2);
}

/* The server's memory is gone, as after a restart with an empty etcd or at another cluster. */
static void lose_all(struct rig *t)
{
	apiserver_pause(t->server);
	eventually(t, !health(t).connected);
	apiserver_delete(t->server, "Pod", "ns", "a");
	apiserver_delete(t->server, "Pod", "ns", "b");
	apiserver_delete(t->server, "Secret", "ns", "s");
	apiserver_compact(t->server);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
}

static void pods_that_all_vanish_stay_until_that_is_said_again(void **state)
{
	struct rig *t = *state;
	unsigned n_synced;

	put_pod(t, "a", "s");
	put_pod(t, "b", "s");
	eventually(t, t->n_pods == 2);
	n_synced = t->n_synced;
	lose_all(t);
	eventually(t, strstr(health(t).last_error, "all 2 pods of the node have vanished at once"));
	assert_int_equal(health(t).reason, REASON_LIST_DOUBTED);
	settle(t);
	assert_int_equal(t->n_pods, 2);
	assert_int_equal(t->n_synced, n_synced);
	assert_int_equal(count_requests(t, "/pods/a", ""), 1);
	/* a list that has pods is believed, of those that it does not have, too */
	put_pod(t, "c", "s");
	reach(t, apiserver_inject(t->server, "Pod", "garbage\n"));
	eventually(t, t->n_pods == 1 && str_eq(t->pods[0]->name, "c"));
	eventually(t, !*health(t).last_error);
}

/* Its volumes, also those whose Secret may be absent, do not wait until the others are certain to be gone. */
static void pod_that_comes_while_it_is_waited_ends_the_doubt(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	put_pod(t, "b", "s");
	eventually(t, t->n_pods == 2);
	lose_all(t);
	eventually(t, strstr(health(t).last_error, "all 2 pods of the node have vanished at once"));
	want(t, "optional");
	eventually(t, strstr(told(t, "optional")->failure, "which is not believed"));
	put_pod(t, "c", "optional");
	eventually(t, told(t, "optional")->absent);
	assert_int_equal(t->n_pods, 1);
	assert_string_equal(t->pods[0]->name, "c");
	assert_string_equal(health(t).last_error, "");
}

/* Nor until they can be asked for once more: without the right to, that is minutes. */
static void pod_that_comes_while_they_are_asked_for_ends_the_doubt(void **state)
{
	struct rig *t = *state;
	size_t n_asked;

	put_pod(t, "a", "s");
	put_pod(t, "b", "s");
	eventually(t, t->n_pods == 2);
	apiserver_fail(t->server, "/pods/", 403, NULL, -1, -1);
	lose_all(t);
	want(t, "optional");
	eventually(t, told(t, "optional")->failure && strstr(told(t, "optional")->failure, "which is not believed"));
	eventually(t, count_requests(t, "GET", "/pods/") >= 3); /* from now on there are seconds between two */
	n_asked = count_requests(t, "GET", "/pods/");
	put_pod(t, "c", "optional");
	eventually(t, told(t, "optional")->absent);
	assert_int_equal(count_requests(t, "GET", "/pods/"), n_asked);
	assert_string_equal(t->pods[0]->name, "c");
}

static void secret_that_vanishes_with_all_pods_stays(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	put_secret(t, "s", "one");
	want(t, "s");
	eventually(t, t->n_pods == 1 && has_value(t, "s", "one"));
	/* the pods' list first, then the Secret's */
	apiserver_fail(t->server, "/pods/a", 404,
		       "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"reason\":\"NotFound\","
		       "\"code\":404,"
		       "\"details\":{\"kind\":\"pods\",\"name\":\"a\"}}",
		       -1, -1);
	empty_lists(t, -1);
	eventually(t, strstr(health(t).last_error, "the one pod of the node has vanished"));
	apiserver_delete(t->server, "Secret", "ns", "s");
	eventually(t, strstr(told(t, "s")->failure, "which is not believed"));
	assert_true(has_value(t, "s", "one"));
	assert_false(told(t, "s")->absent);
	/* the pods are there again: now it is asked for, and what is said counts */
	apiserver_fail(t->server, "pods?fieldSelector", 0, NULL, -1, 0);
	reach(t, apiserver_inject(t->server, "Pod", "garbage\n"));
	eventually(t, told(t, "s")->absent);
	assert_int_equal(t->n_pods, 1);
}

/* The offline cache shows pods before the first list, and they want their Secrets. */
static void first_list_that_is_empty_takes_nothing_of_what_is_expected(void **state)
{
	struct rig *t = *state;

	start_server(t, &(struct apiserver_options){ .port = 0 });
	write_kubeconfig(t, apiserver_url(t->server), "", "");
	new_source_or_fail(t);
	assert_int_equal(source_expect_pod(t->source, "ns", "a", "u-a"), 0);
	want(t, "s");
	assert_int_equal(source_start(t->source, NULL), 0);
	eventually(t, strstr(health(t).last_error, "the one pod of the node has vanished"));
	eventually(t, strstr(told(t, "s")->failure, "which is not believed"));
	assert_string_equal(t->removed, "");
	assert_int_equal(t->n_synced, 0);
	assert_false(told(t, "s")->absent);
}

static void put_mirror_pod(struct rig *t)
{
	apiserver_put_text(
		t->server,
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"static\","
		"\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}},\"spec\":{\"nodeName\":\"node-1\"}}");
}

/* A kubelet makes them again at once, at a server that has lost everything. */
static void mirror_pods_make_no_list_believed(void **state)
{
	struct rig *t = *state;

	put_mirror_pod(t);
	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 2);
	lose_all(t);
	eventually(t, strstr(health(t).last_error, "the one pod of the node has vanished"));
	settle(t);
	assert_int_equal(t->n_pods, 2);
}

/* Deleted while nobody watched, at a server that has lost nothing: the storage remembers that there were such pods. */
static void pods_that_the_storage_remembers_go_at_once(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	put_pod(t, "b", "s");
	eventually(t, t->n_pods == 2);
	apiserver_pause(t->server);
	eventually(t, !health(t).connected);
	apiserver_delete(t->server, "Pod", "ns", "a");
	apiserver_delete(t->server, "Pod", "ns", "b");
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	/* it would be minutes else */
	eventually(t, t->n_pods == 0);
	eventually(t, !*health(t).last_error);
	assert_int_equal(count_requests(t, "resourceVersionMatch=Exact", ""), 1);
	/* each was asked for before and after */
	assert_int_equal(count_requests(t, "/pods/a", ""), 2);
	assert_int_equal(count_requests(t, "/pods/b", ""), 2);
}

static void delete_unwatched(struct rig *t, const char *name)
{
	apiserver_pause(t->server);
	eventually(t, !health(t).connected);
	apiserver_delete(t->server, "Pod", "ns", name);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
}

/* Another cluster, or a restored one whose versions were moved up: it has that version, but not this pod at it. And a server that
 * does not know what is asked for answers with what it has now. */
static void memory_of_something_else_is_none(void **state)
{
	static const struct {
		const char *version, *name, *uid, *node; /* version, uid NULL: as they were */
	} MEMORIES[] = {
		{ NULL, "b", NULL, "node-1" },
		{ NULL, "a", "another", "node-1" },
		{ NULL, "a", NULL, "node-2" },
		{ "1000000", "a", NULL, "node-1" },
	};
	struct rig *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(MEMORIES); i++) {
		cleanup_free char *list = NULL;

		put_pod(t, "a", "s");
		eventually(t, t->n_pods == 1 && !*health(t).last_error && health(t).connected);
		list = str_format("{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"%"
				  "s\"},\"items\":["
				  "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"%s\",\"uid\":\"%s\"},\"spec\":{"
				  "\"nodeName\":\"%s\"}}]}",
				  MEMORIES[i].version ?: t->pods[0]->resource_version, MEMORIES[i].name,
				  MEMORIES[i].uid ?: t->pods[0]->uid, MEMORIES[i].node);
		apiserver_fail(t->server, "resourceVersionMatch=Exact", 200, list, -1, -1);
		delete_unwatched(t, "a");
		eventually(t, strstr(health(t).last_error, "the one pod of the node has vanished at once"));
		settle(t);
		assert_int_equal(t->n_pods, 1);
		apiserver_fail(t->server, "resourceVersionMatch=Exact", 0, NULL, -1, 0);
	}
	assert_int_equal(count_requests(t, "resourceVersionMatch=Exact", ""), ARRAY_SIZE(MEMORIES));
}

/* One that is busy when it is asked is asked again. */
static void memory_may_be_slow_to_answer(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	apiserver_fail(t->server, "resourceVersionMatch=Exact", 429, NULL, -1, 1);
	delete_unwatched(t, "a");
	eventually(t, t->n_pods == 0);
	assert_int_equal(count_requests(t, "resourceVersionMatch=Exact", ""), 2);
}

/* While the n-th of these requests is under way: the server has it, and what it says has not been read. */
static void sleep_during(struct rig *t, const char *part, size_t n)
{
	uint64_t limit = clock_monotonic_usec() + PATIENCE_USEC;

	while (count_requests(t, part, "") < n && clock_monotonic_usec() < limit) {
		loop_run_once(t->loop, 0);
		usleep(20 * USEC_PER_MSEC);
	}
	assert_int_equal(count_requests(t, part, ""), n);
	source_slept(t->source);
}

static void sleep_says_nothing_of_pods_in_doubt(void **state)
{
	enum { SLEEPS = 4 };
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	delete_unwatched(t, "a");
	sleep_during(t, "/pods/a", 1);
	assert_null(strstr(health(t).last_error, "is not certain"));
	for (size_t i = 0; i < SLEEPS; i++) {
		sleep_during(t, "resourceVersionMatch=Exact", i + 1);
		assert_null(strstr(health(t).last_error, "is not certain"));
	}
	eventually(t, t->n_pods == 0);
	assert_int_equal(count_requests(t, "resourceVersionMatch=Exact", ""), SLEEPS + 1);
}

/* One that never answers does not keep them for ever. */
static void memory_that_is_never_told_is_none(void **state)
{
	struct rig *t = *state;

	confirm_soon(t);
	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	apiserver_fail(t->server, "resourceVersionMatch=Exact", 503, NULL, -1, -1);
	delete_unwatched(t, "a");
	eventually(t, t->n_pods == 0);
	assert_in_range(count_requests(t, "resourceVersionMatch=Exact", ""), 2, 4);
}

/* A full node's list is some megabytes. */
static void memory_may_be_long(void **state)
{
	cleanup_free char *blanks = malloc((6 << 20) + 1), *list = NULL;
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	assert_non_null(blanks);
	memset(blanks, ' ', 6 << 20);
	blanks[6 << 20] = '\0';
	list = str_format("{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"%s\"},"
			  "\"items\":[{\"metadata\":{\"namespace\":\"ns\",\"name\":\"a\",\"uid\":\"%s\"},"
			  "\"spec\":{\"nodeName\":\"node-1\"}}%s]}",
			  t->pods[0]->resource_version, t->pods[0]->uid, blanks);
	assert_non_null(list);
	apiserver_fail(t->server, "resourceVersionMatch=Exact", 200, list, -1, -1);
	delete_unwatched(t, "a");
	eventually(t, t->n_pods == 0);
	assert_int_equal(count_requests(t, "resourceVersionMatch=Exact", ""), 1);
}

/* ---- a server that has gone back ---- */

#define POD_OF_BEFORE(name, uid, version)                                                                              \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"" name                  \
	"\",\"uid\":\"" uid "\",\"resourceVersion\":\"" version                                                        \
	"\"},\"spec\":{\"nodeName\":\"node-1\",\"containers\":[]}}"
#define LIST_OF_BEFORE(version, items)                                                                                 \
	"{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"" version                     \
	"\"},\"items\":[" items "]}"
#define GONE(name)                                                                                                     \
	"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"reason\":\"NotFound\",\"code\":404,"      \
	"\"details\":{\"kind\":\"pods\",\"name\":\"" name "\"}}"

static bool is_told(const struct rig *t, const char *name, const char *uid)
{
	for (size_t i = 0; i < t->n_pods; i++)
		if (str_eq(t->pods[i]->name, name) && (!uid || str_eq(t->pods[i]->uid, uid)))
			return true;
	return false;
}

/* The backup has a pod of before, and is older than those that are known. */
static void restore(struct rig *t, const char *list)
{
	apiserver_fail(t->server, "pods?fieldSelector", 200, list, -1, -1);
	apiserver_compact(t->server);
	reach(t, apiserver_inject(t->server, "Pod", "garbage\n"));
}

static void list_of_strangers_by_a_restored_server_takes_no_pod_at_once(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	put_pod(t, "b", "s");
	eventually(t, t->n_pods == 2);
	apiserver_fail(t->server, "/pods/a", 404, GONE("a"), -1, -1);
	apiserver_fail(t->server, "/pods/b", 404, GONE("b"), -1, -1);
	restore(t, LIST_OF_BEFORE("1", POD_OF_BEFORE("old", "u-old", "1")));
	eventually(t, strstr(health(t).last_error,
			     "the API server has gone back to an older state; 2 pods have vanished at once"));
	assert_int_equal(health(t).reason, REASON_LIST_DOUBTED);
	/* what it has is shown, beside them */
	assert_true(is_told(t, "old", "u-old") && is_told(t, "a", NULL) && is_told(t, "b", NULL));
	assert_int_equal(count_requests(t, "resourceVersionMatch=Exact", ""), 0);
	/* somebody mends it */
	apiserver_fail(t->server, "pods?fieldSelector", 0, NULL, -1, 0);
	reach(t, apiserver_inject(t->server, "Pod", "garbage\n"));
	eventually(t, !*health(t).last_error);
	assert_true(t->n_pods == 2 && is_told(t, "a", NULL) && is_told(t, "b", NULL));
}

/* Nor where some are left. */
static void pod_that_a_restored_server_lacks_goes_when_it_says_so_again(void **state)
{
	struct rig *t = *state;

	cleanup_free char *list = NULL;
	unsigned n_synced;

	put_pod(t, "b", "s");
	eventually(t, t->n_pods == 1);
	list = str_format(LIST_OF_BEFORE("1", POD_OF_BEFORE("b", "%s", "1")), t->pods[0]->uid);
	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 2);
	n_synced = t->n_synced;
	confirm_soon(t);
	apiserver_fail(t->server, "/pods/a", 404, GONE("a"), -1, -1);
	restore(t, list);
	eventually(t, t->n_pods == 1);
	assert_true(is_told(t, "b", NULL));
	assert_int_equal(count_requests(t, "/pods/a", ""), 2);
	eventually(t, t->n_synced > n_synced && !*health(t).last_error);
}

/* A list that has others is all that there is to go by, twice. */
static void restored_server_that_may_not_be_asked_for_a_pod_is_believed_in_the_end(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	confirm_soon(t);
	apiserver_fail(t->server, "/pods/a", 403, NULL, -1, -1);
	restore(t, LIST_OF_BEFORE("1", POD_OF_BEFORE("old", "u-old", "1")));
	eventually(t, !is_told(t, "a", NULL));
	assert_true(is_told(t, "old", "u-old"));
	assert_int_equal(count_requests(t, "/pods/a", ""), 2);
}

/* Of a StatefulSet, say. That its versions were moved up does not make it younger. */
static void pod_of_before_takes_its_name_back_when_that_is_said_twice(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	confirm_soon(t);
	apiserver_fail(t->server, "/pods/a", 200, POD_OF_BEFORE("a", "u-old", "1"), -1, -1);
	restore(t, LIST_OF_BEFORE("2000000000", POD_OF_BEFORE("a", "u-old", "1")));
	eventually(t, is_told(t, "a", "u-old"));
	assert_int_equal(t->n_pods, 1);
	assert_int_equal(count_requests(t, "/pods/a", ""), 2);
	eventually(t, !*health(t).last_error);
}

/* It stands for the name until the other is gone. */
static void end_of_a_pod_of_before_is_not_that_of_the_one_that_is_known(void **state)
{
	static const char ELDER[] = POD_OF_BEFORE("a", "u-old", "1");
	cleanup_free char *added = str_format("{\"type\":\"ADDED\",\"object\":%s}\n", ELDER);
	cleanup_free char *deleted = str_format("{\"type\":\"DELETED\",\"object\":%s}\n", ELDER);
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	reach(t, apiserver_inject(t->server, "Pod", added));
	reach(t, apiserver_inject(t->server, "Pod", deleted));
	put_pod(t, "b", "s");
	eventually(t, is_told(t, "b", NULL));
	assert_true(is_told(t, "a", NULL) && !is_told(t, "a", "u-old"));
}

static void pod_of_the_older_state_that_goes_unseen_goes(void **state)
{
	struct rig *t = *state;

	source_tune(t->source, &(struct source_tuning){ .sync_usec = 200 * USEC_PER_MSEC });
	reach(t, apiserver_inject(t->server, "Pod",
				  "{\"type\":\"ADDED\",\"object\":" POD_OF_BEFORE("a", "u-a", "2000000000") "}\n"));
	eventually(t, t->n_pods == 1);
	apiserver_fail(t->server, "/pods/a", 404, GONE("a"), -1, -1);
	apiserver_fail(t->server, "pods?fieldSelector", 200,
		       LIST_OF_BEFORE("1000000", POD_OF_BEFORE("old", "u-old", "1")), -1, -1);
	reach(t, apiserver_inject(t->server, "Pod", "garbage\n"));
	eventually(t, strstr(health(t).last_error, "1 pod has vanished at once"));
	assert_true(is_told(t, "old", "u-old") && is_told(t, "a", NULL));
	/* it is deleted in that minute, and nobody watches */
	apiserver_fail(t->server, "pods?fieldSelector", 200,
		       LIST_OF_BEFORE("1000001", POD_OF_BEFORE("new", "u-new", "2")), -1, -1);
	eventually(t, !is_told(t, "a", NULL));
	eventually(t, is_told(t, "new", NULL) && !*health(t).last_error);
	settle(t);
	for (size_t i = 0; i < t->n_pods; i++)
		print_message("# told: %s\n", t->pods[i]->name);
	assert_false(is_told(t, "old", NULL));
}

static void node_of_mirror_pods_alone_is_one_without_pods(void **state)
{
	struct rig *t = *state;
	unsigned n_synced;

	put_mirror_pod(t);
	eventually(t, t->n_pods == 1);
	n_synced = t->n_synced;
	reach(t, apiserver_inject(t->server, "Pod", "garbage\n"));
	eventually(t, t->n_synced > n_synced);
	assert_string_equal(health(t).last_error, "");
}

/* Each of them waits for its turn, and for one only. */
static void pods_in_doubt_are_asked_for_within_the_limit_of_requests(void **state)
{
	struct rig *t = *state;

	t->qps = 20;
	start_server(t, &(struct apiserver_options){ .port = 0 });
	write_kubeconfig(t, apiserver_url(t->server), "", "");
	start_source(t);
	put_pod(t, "a", "s");
	put_pod(t, "b", "s");
	put_pod(t, "c", "s");
	eventually(t, t->n_pods == 3);
	apiserver_delete(t->server, "Pod", "ns", "b");
	eventually(t, t->n_pods == 2);
	confirm_soon(t);
	apiserver_pause(t->server);
	eventually(t, !health(t).connected);
	apiserver_delete(t->server, "Pod", "ns", "a");
	apiserver_delete(t->server, "Pod", "ns", "c");
	apiserver_compact(t->server);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, t->n_pods == 0);
	assert_int_equal(count_requests(t, "/pods/a", ""), 2);
	assert_int_equal(count_requests(t, "/pods/c", ""), 2);
}

/* Each of them would be behind the whole line else, and the storage remembers for some minutes only. */
static void pods_in_doubt_go_past_lists_that_wait(void **state)
{
	struct rig *t = *state;
	char name[16];

	t->qps = 20;
	start_server(t, &(struct apiserver_options){ .port = 0 });
	write_kubeconfig(t, apiserver_url(t->server), "", "");
	start_source(t);
	eventually(t, t->n_synced == 1);
	put_pod(t, "a", "s");
	put_pod(t, "b", "s");
	eventually(t, t->n_pods == 2);
	apiserver_pause(t->server);
	eventually(t, !health(t).connected);
	apiserver_delete(t->server, "Pod", "ns", "a");
	apiserver_delete(t->server, "Pod", "ns", "b");
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, count_requests(t, "/pods/", "") > 0);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		put_secret(t, name, "one");
		want(t, name);
	}
	eventually(t, t->n_pods == 0);
	assert_in_range(health(t).n_secrets_synced, 1, 299);
	assert_int_equal(count_requests(t, "/pods/a", ""), 2);
	assert_int_equal(count_requests(t, "/pods/b", ""), 2);
}

static void relist_tells_no_pod_again(void **state)
{
	struct rig *t = *state;
	unsigned n_changed;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	n_changed = t->n_pod_changed;
	reach(t, apiserver_inject(t->server, "Pod", "garbage\n"));
	eventually(t, t->n_synced == 2);
	assert_int_equal(t->n_pod_changed, n_changed);
}

static void refused_pod_leaves_the_others_and_its_last_state(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1);
	put_refused_pod(t, "a");
	put_pod(t, "b", "s");
	eventually(t, t->n_pods == 2);
	assert_int_equal(health(t).n_rejected, 1);
	put_pod(t, "a", "../../etc"); /* the volume's trouble, not the pod's */
	eventually(t, health(t).n_rejected == 0);
	assert_int_equal(t->n_pods, 2);
	put_pod(t, "a", "s2");
	eventually(t, health(t).n_rejected == 0);
	assert_int_equal(t->n_pods, 2);
}

static void refused_pod_in_place_of_another_ends_that_one(void **state)
{
	struct rig *t = *state;

	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1 && health(t).n_watches == 1);
	reach(t,
	      apiserver_inject(t->server, "Pod",
			       "{\"type\":\"MODIFIED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":"
			       "{\"namespace\":\"ns\",\"name\":\"a\",\"uid\":\"another\",\"resourceVersion\":\"9\"},"
			       "\"spec\":{\"nodeName\":\"node-1\",\"volumes\":7}}}\n"));
	eventually(t, t->n_pods == 0);
	assert_int_equal(health(t).n_rejected, 1);
	put_pod(t, "a", "s2");
	eventually(t, t->n_pods == 1 && health(t).n_rejected == 0);
}

static size_t lines_in(const struct rig *t, const char *name)
{
	cleanup_free char *path = str_format("%s/%s", t->dir, name), *text = NULL;
	size_t len = 0, n = 0;

	assert_int_equal(file_read(AT_FDCWD, path, 64 << 20, &text, &len, NULL), 0);
	for (size_t i = 0; i < len; i++)
		n += text[i] == '\n';
	return n;
}

static void flood_of_refused_pods_has_bounds(void **state)
{
	enum { PODS = 20050, REFUSED = 1000, LINES_MAX = 50 };
	cleanup_free char *path = str_format("%s/log", ((struct rig *)*state)->dir);
	cleanup_buf struct buf events = BUF_INIT(16 << 20);
	struct rig *t = *state;
	int saved = dup(STDERR_FILENO), fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);

	for (unsigned i = 0; i < PODS; i++)
		assert_int_equal(buf_printf(&events,
					    "{\"type\":\"ADDED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\","
					    "\"metadata\":{\"namespace\":\"ns\",\"name\":\"x%u\",\"resourceVersion\":"
					    "\"1\"},\"spec\":{\"nodeName\":\"node-1\"}}}\n",
					    i),
				 0);
	put_pod(t, "a", "s");
	eventually(t, t->n_pods == 1 && health(t).n_watches == 1);
	assert_true(saved >= 0 && fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	log_set_level(LOG_LEVEL_WARNING);
	reach(t, apiserver_inject(t->server, "Pod", events.data));
	eventually(t, health(t).n_rejected == REFUSED);
	put_pod(t, "a", "s2");
	eventually(t, t->n_pod_changed == 2);
	/* there is still room for good ones */
	put_pod(t, "b", "s");
	eventually(t, t->n_pods == 2);
	log_set_level(LOG_LEVEL_ERROR);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close_fd(saved);
	close_fd(fd);
	assert_int_equal(health(t).n_rejected, REFUSED);
	assert_in_range(lines_in(t, "log"), 1, LINES_MAX);
}

/* A pod of a thousand volumes. */
static void put_heavy_pod(struct rig *t, unsigned i)
{
	cleanup_buf struct buf text = BUF_INIT(1 << 20);

	assert_int_equal(
		buf_printf(&text,
			   "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":"
			   "\"heavy-%u\"},\"spec\":{\"nodeName\":\"node-1\",\"containers\":[],\"volumes\":[",
			   i),
		0);
	for (unsigned v = 0; v < 1000; v++)
		assert_int_equal(
			buf_printf(&text, "%s{\"name\":\"v%u\",\"secret\":{\"secretName\":\"s\"}}", v ? "," : "", v),
			0);
	assert_int_equal(buf_add_str(&text, "]}}"), 0);
	apiserver_put_text(t->server, text.data);
}

static bool has_pod(const struct rig *t, const char *name)
{
	for (size_t i = 0; i < t->n_pods; i++)
		if (str_eq(t->pods[i]->name, name))
			return true;
	return false;
}

static const char *told_pod_secret(const struct rig *t, const char *name)
{
	for (size_t i = 0; i < t->n_pods; i++)
		if (str_eq(t->pods[i]->name, name))
			return t->pods[i]->volumes[0].sources[0].name;
	return NULL;
}

/* What is told is kept; what is too much is named, and comes when there is room. */
static void pods_that_are_too_much_together_are_refused_and_come_later(void **state)
{
	enum { HEAVY = 120, GONE = 30 };
	struct rig *t = *state;
	size_t n_told, n_rejected;
	char name[32], said[64];

	put_pod(t, "a", "s");
	for (unsigned i = 0; i < HEAVY; i++)
		put_heavy_pod(t, i);
	eventually(t, has_pod(t, "a") && t->n_pods + health(t).n_rejected == HEAVY + 1);
	n_told = t->n_pods;
	n_rejected = health(t).n_rejected;
	assert_in_range(n_rejected, 2, GONE);
	assert_non_null(strstr(health(t).last_error, "pod ns/heavy-"));
	assert_non_null(strstr(health(t).last_error, ": no room for it: it would take "));
	assert_int_equal(health(t).reason, REASON_NO_ROOM_FOR_POD);
	/* what is said is of one that is there */
	assert_int_equal(sscanf(health(t).last_error, "pod ns/%31[^:]", name), 1);
	assert_true(apiserver_delete(t->server, "Pod", "ns", name));
	eventually(t, health(t).n_rejected == n_rejected - 1);
	n_rejected--;
	snprintf(said, sizeof(said), "pod ns/%s:", name);
	assert_null(strstr(health(t).last_error, said));
	assert_non_null(strstr(health(t).last_error, ": no room for it: it would take "));
	/* the others are followed */
	put_pod(t, "a", "s2");
	eventually(t, str_eq(told_pod_secret(t, "a"), "s2"));
	assert_int_equal(t->n_pods, n_told);
	for (unsigned i = 0, gone = 0; gone < n_rejected; i++) {
		snprintf(name, sizeof(name), "heavy-%u", i);
		if (!has_pod(t, name))
			continue;
		assert_true(apiserver_delete(t->server, "Pod", "ns", name));
		gone++;
	}
	eventually(t, health(t).n_rejected == 0 && t->n_pods == n_told);
	assert_true(has_pod(t, "a"));
	assert_string_equal(health(t).last_error, "");
	assert_int_equal(health(t).reason, REASON_NONE);
}

/* ---- secrets ---- */

static void secret_is_told_with_each_change_and_its_end(void **state)
{
	struct rig *t = *state;

	put_secret(t, "s", "one");
	want(t, "s");
	eventually(t, has_value(t, "s", "one"));
	put_secret(t, "s", "two");
	eventually(t, has_value(t, "s", "two"));
	assert_true(apiserver_delete(t->server, "Secret", "ns", "s"));
	eventually(t, told(t, "s")->absent);
	assert_int_equal(told(t, "s")->n_changed, 3);
	assert_int_equal(told(t, "s")->n_failed, 0);
	assert_int_equal(
		count_requests(t, "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Ds&limit=500", ""), 1);
	assert_int_equal(count_requests(t, "/api/v1/namespaces/ns/secrets", "watch=true"), 1);
}

static void put_config_map(struct rig *t, const char *name, const char *value)
{
	cleanup_free char *text =
		str_format("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"namespace\":"
			   "\"ns\",\"name\":\"%s\"},\"data\":{\"k\":\"%s\"}}",
			   name, value);

	apiserver_put_text(t->server, text);
}

static void config_map_is_followed_as_a_secret_is(void **state)
{
	struct rig *t = *state;

	put_secret(t, "s", "hidden");
	put_config_map(t, "s", "one");
	assert_int_equal(source_want(t->source, OBJECT_CONFIG_MAP, "ns", "s"), 0);
	eventually(t, has_value(t, "configmap s", "one"));
	put_config_map(t, "s", "two");
	eventually(t, has_value(t, "configmap s", "two"));
	want(t, "s"); /* another object */
	eventually(t, has_value(t, "s", "hidden"));
	assert_int_equal(health(t).n_secrets, 1);
	assert_int_equal(health(t).n_config_maps, 1);
	assert_int_equal(health(t).n_config_maps_synced, 1);
	assert_true(apiserver_delete(t->server, "ConfigMap", "ns", "s"));
	eventually(t, told(t, "configmap s")->absent);
	assert_int_equal(told(t, "configmap s")->n_changed, 3);
	assert_int_equal(
		count_requests(t, "/api/v1/namespaces/ns/configmaps?fieldSelector=metadata.name%3Ds&limit=500", ""), 1);
	assert_int_equal(count_requests(t, "/api/v1/namespaces/ns/configmaps", "watch=true"), 1);
	source_unwant(t->source, OBJECT_CONFIG_MAP, "ns", "s");
	put_config_map(t, "s", "three");
	put_secret(t, "s", "open");
	eventually(t, has_value(t, "s", "open"));
	assert_int_equal(told(t, "configmap s")->n_changed, 3);
}

/* ---- tokens ---- */

#define TOKEN_PATH "/serviceaccounts/default/token"
#define TOKEN_NAME "default/p/u-1/3600/"
#define ANSWER(token, seconds, expires)                                                                                \
	"{\"kind\":\"TokenRequest\",\"spec\":{\"expirationSeconds\":" seconds "},\"status\":{\"token\":\"" token       \
	"\",\"expirationTimestamp\":\"" expires "\"}}"

static bool has_token(struct rig *t, const char *value)
{
	const struct secret *s = told(t, "token " TOKEN_NAME)->last;

	return s && s->keys[0].value.len == strlen(value) &&
	       memcmp(secspan_data(&s->keys[0].value), value, strlen(value)) == 0;
}

static void want_token(struct rig *t)
{
	assert_int_equal(source_want(t->source, OBJECT_TOKEN, "ns", TOKEN_NAME), 0);
}

static void token_is_asked_for_once_while_it_lives(void **state)
{
	struct rig *t = *state;

	apiserver_fail(t->server, TOKEN_PATH, 201, ANSWER("one", "3600", "2999-01-01T00:00:00Z"), -1, -1);
	want_token(t);
	eventually(t, has_token(t, "one"));
	assert_int_equal(health(t).n_tokens, 1);
	assert_int_equal(health(t).n_tokens_synced, 1);
	settle(t);
	assert_int_equal(count_requests(t, "POST /api/v1/namespaces/ns" TOKEN_PATH, ""), 1);
	assert_int_equal(source_refresh(t->source, OBJECT_TOKEN, "ns", TOKEN_NAME), 0);
	eventually(t, told(t, "token " TOKEN_NAME)->n_changed == 2);
	assert_int_equal(count_requests(t, "POST /api/v1/namespaces/ns" TOKEN_PATH, ""), 2);
	source_unwant(t->source, OBJECT_TOKEN, "ns", TOKEN_NAME);
	assert_int_equal(health(t).n_tokens, 0);
	assert_int_equal(source_refresh(t->source, OBJECT_TOKEN, "ns", TOKEN_NAME), -ENOENT);
}

static void token_that_ends_is_replaced_and_kept_when_that_fails_124(void **state)
{
	struct rig *t = *state;

	/* by our clock it is over as soon as it has come */
	apiserver_fail(t->server, TOKEN_PATH, 201, ANSWER("one", "1", "2020-01-01T00:00:00Z"), -1, 1);
	want_token(t);
	eventually(t, has_token(t, "one"));
	apiserver_fail(t->server, TOKEN_PATH, 500, NULL, -1, -1);
	eventually(t, *told(t, "token " TOKEN_NAME)->failure);
	assert_non_null(
		strstr(told(t, "token " TOKEN_NAME)->failure, "failed to fetch a token of service account default: "));
	assert_true(has_token(t, "one"));
	assert_int_equal(told(t, "token " TOKEN_NAME)->n_changed, 1);
	apiserver_fail(t->server, TOKEN_PATH, 201, ANSWER("two", "3600", "2999-01-01T00:00:00Z"), -1, -1);
	eventually(t, has_token(t, "two"));
	assert_string_equal(told(t, "token " TOKEN_NAME)->failure, "");
}

static void forbidden_token_comes_as_soon_as_it_is_allowed(void **state)
{
	struct rig *t = *state;
	uint64_t before = clock_monotonic_usec();

	apiserver_fail(t->server, TOKEN_PATH, 403, NULL, -1, 5);
	want_token(t);
	eventually(t, told(t, "token " TOKEN_NAME)->n_failed == 1);
	apiserver_fail(t->server, TOKEN_PATH, 201, ANSWER("one", "3600", "2999-01-01T00:00:00Z"), -1, -1);
	eventually(t, has_token(t, "one"));
	assert_int_equal(told(t, "token " TOKEN_NAME)->n_failed, 1); /* once for one reason */
	assert_true(clock_monotonic_usec() - before < 4 * USEC_PER_SEC);
}

static void answer_that_is_no_token_is_none(void **state)
{
	struct rig *t = *state;

	apiserver_fail(t->server, TOKEN_PATH, 201, "{\"status\":{\"token\":\"\"}}", -1, -1);
	want_token(t);
	eventually(t, *told(t, "token " TOKEN_NAME)->failure);
	assert_string_equal(told(t, "token " TOKEN_NAME)->failure,
			    "failed to fetch a token of service account default: the server's answer: status.token: "
			    "must not be empty");
	assert_null(told(t, "token " TOKEN_NAME)->last);
}

static void token_may_be_unwanted_at_any_time(void **state)
{
	struct rig *t = *state;

	apiserver_fail(t->server, TOKEN_PATH, 201, ANSWER("one", "3600", "2999-01-01T00:00:00Z"), -1, -1);
	want_token(t);
	source_unwant(t->source, OBJECT_TOKEN, "ns", TOKEN_NAME);
	want_token(t);
	loop_run_once(t->loop, 5 * USEC_PER_MSEC); /* it is under way */
	source_unwant(t->source, OBJECT_TOKEN, "ns", TOKEN_NAME);
	t->unwant_at_change = true;
	want_token(t);
	eventually(t, has_token(t, "one"));
	assert_int_equal(health(t).n_tokens, 0);
	assert_int_equal(source_want(t->source, OBJECT_TOKEN, "ns", "no/token"), -EINVAL);
	assert_int_equal(source_want(t->source, OBJECT_TOKEN, "ns", "a.b/../x/u/3600/"), -EINVAL);
	assert_int_equal(source_want(t->source, OBJECT_TOKEN, "ns", "../p/u-1/3600/"), -EINVAL);
}

static void late_secret_is_absent_first_and_then_there(void **state)
{
	struct rig *t = *state;

	want(t, "late");
	eventually(t, told(t, "late")->absent);
	assert_int_equal(health(t).n_secrets_synced, 1);
	put_secret(t, "late", "now");
	eventually(t, has_value(t, "late", "now"));
}

static void relist_of_an_unchanged_secret_is_silent(void **state)
{
	struct rig *t = *state;
	uint64_t n_list;

	put_secret(t, "s", "one");
	want(t, "s");
	eventually(t, has_value(t, "s", "one") && health(t).n_watches == 2);
	n_list = apiserver_counts(t->server).n_list;
	apiserver_compact(t->server);
	put_secret(t, "other", "x");
	apiserver_compact(t->server);
	reach(t, apiserver_end_watches(t->server, false));
	eventually(t, apiserver_counts(t->server).n_list >= n_list + 2 && health(t).n_watches == 2);
	settle(t);
	assert_int_equal(told(t, "s")->n_changed, 1);
}

static void expired_watch_loses_nothing(void **state)
{
	struct rig *t = *state;

	put_secret(t, "s", "one");
	want(t, "s");
	eventually(t, has_value(t, "s", "one") && health(t).n_watches == 2);
	apiserver_pause(t->server);
	eventually(t, health(t).n_watches == 0);
	put_secret(t, "s", "two");
	apiserver_compact(t->server);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, has_value(t, "s", "two"));
	put_secret(t, "s", "three");
	eventually(t, has_value(t, "s", "three"));
}

static void watch_goes_on_from_the_bookmark(void **state)
{
	struct rig *t = *state;
	cleanup_free char *version = NULL;
	uint64_t rv;

	put_secret(t, "s", "one");
	want(t, "s");
	eventually(t, has_value(t, "s", "one") && health(t).n_watches == 2);
	rv = apiserver_put_text(t->server,
				"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\","
				"\"name\":\"other\"}}");
	version = str_format("resourceVersion=%llu&", (unsigned long long)rv);
	reach(t, apiserver_bookmark(t->server));
	settle(t);
	reach(t, apiserver_end_watches(t->server, false));
	eventually(t, count_requests(t, "/secrets?allowWatchBookmarks=true", version) == 1);
	assert_int_equal(told(t, "s")->n_changed, 1);
}

static void torn_and_garbled_watches_lose_nothing(void **state)
{
	static const char *const GARBAGE[] = { NULL, "garbage\n", "{\"type\":\"ADDED\"}\n" };
	struct rig *t = *state;
	char value[16];

	put_secret(t, "s", "one");
	want(t, "s");
	eventually(t, has_value(t, "s", "one"));
	for (size_t i = 0; i < ARRAY_SIZE(GARBAGE); i++) {
		eventually(t, health(t).n_watches == 2);
		if (GARBAGE[i])
			reach(t, apiserver_inject(t->server, "Secret", GARBAGE[i]));
		else
			reach(t, apiserver_end_watches(t->server, true));
		assert_non_null(told(t, "s")->last);
		snprintf(value, sizeof(value), "value%zu", i);
		put_secret(t, "s", value);
		eventually(t, has_value(t, "s", value));
	}
}

static void strange_objects_in_the_watch_are_passed_over(void **state)
{
	struct rig *t = *state;

	put_secret(t, "s", "one");
	want(t, "s");
	eventually(t, has_value(t, "s", "one") && health(t).n_watches == 2);
	reach(t, apiserver_inject(
			 t->server, "Secret",
			 "{\"type\":\"MODIFIED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":"
			 "{\"namespace\":\"ns\",\"name\":\"other\",\"resourceVersion\":\"9999\"},\"data\":{\"k\":\"\"}}"
			 "}\n"));
	put_secret(t, "s", "two");
	eventually(t, has_value(t, "s", "two"));
	assert_int_equal(told(t, "s")->n_changed, 2);
	assert_int_equal(told(t, "s")->n_failed, 0);
}

static void rejected_secret_keeps_the_last_and_harms_no_other(void **state)
{
	static const char bad[] =
		"{\"type\":\"MODIFIED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":"
		"{\"namespace\":\"ns\",\"name\":\"s\",\"resourceVersion\":\"9999\"},"
		"\"data\":{\"k\":\"%%%\"}}}\n";
	struct rig *t = *state;

	put_secret(t, "s", "one");
	put_secret(t, "o", "one");
	want(t, "s");
	want(t, "o");
	eventually(t, has_value(t, "s", "one") && has_value(t, "o", "one") && health(t).n_watches == 3);
	reach(t, apiserver_inject(t->server, "Secret", bad));
	eventually(t, *told(t, "s")->failure);
	assert_string_equal(told(t, "s")->failure, "secret ns/s: data.k: illegal base64 data");
	assert_true(has_value(t, "s", "one"));
	assert_int_equal(health(t).n_rejected, 1);
	assert_int_equal(told(t, "o")->n_failed, 0);
	reach(t, apiserver_inject(t->server, "Secret", bad));
	put_secret(t, "s", "two");
	eventually(t, has_value(t, "s", "two") && !*told(t, "s")->failure);
	assert_int_equal(told(t, "s")->n_failed, 1);
	assert_int_equal(health(t).n_rejected, 0);
}

static void forbidden_secret_comes_as_soon_as_it_is_allowed(void **state)
{
	struct rig *t = *state;

	put_secret(t, "s", "one");
	apiserver_fail(t->server, "metadata.name%3Ds", 403, NULL, -1, 4);
	want(t, "s");
	eventually(t, has_value(t, "s", "one"));
	assert_int_equal(told(t, "s")->n_failed, 1);
	assert_false(*told(t, "s")->failure);
	assert_int_equal(told(t, "s")->n_changed, 1);
}

static void failure_has_the_servers_own_words(void **state)
{
	struct rig *t = *state;

	apiserver_fail(
		t->server, "metadata.name%3Ds", 403,
		"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"secrets \\\"s\\\" is "
		"forbidden: no relationship found between node 'node-1' and this object\",\"reason\":\"Forbidden\","
		"\"code\":403}",
		-1, -1);
	want(t, "s");
	eventually(t, told(t, "s")->n_failed > 0);
	assert_string_equal(told(t, "s")->failure,
			    "secrets \"s\" is forbidden: no relationship found between node 'node-1' "
			    "and this object");
	assert_int_equal(health(t).n_secrets_synced, 0);
	apiserver_fail(t->server, "metadata.name%3Ds", 0, NULL, -1, 0);
	eventually(t, told(t, "s")->absent);
	assert_int_equal(told(t, "s")->n_failed, 1);
}

static void retry_after_of_a_busy_server_is_kept(void **state)
{
	struct rig *t = *state;
	uint64_t since = clock_monotonic_usec();

	put_secret(t, "s", "one");
	apiserver_fail(t->server, "metadata.name%3Ds", 503, NULL, 1, 1);
	want(t, "s");
	eventually(t, has_value(t, "s", "one"));
	assert_true(clock_monotonic_usec() - since >= USEC_PER_SEC);
}

static void server_away_and_back_keeps_the_last_good(void **state)
{
	struct rig *t = *state;

	put_secret(t, "s", "one");
	put_pod(t, "web", "s");
	want(t, "s");
	eventually(t, has_value(t, "s", "one") && t->n_pods == 1 && health(t).n_watches == 2);
	apiserver_pause(t->server);
	eventually(t, *told(t, "s")->failure && *health(t).last_error);
	assert_false(health(t).connected);
	assert_true(health(t).pods_synced);
	assert_true(has_value(t, "s", "one"));
	assert_int_equal(t->n_pods, 1);
	assert_int_equal(health(t).n_secrets_synced, 1);
	put_secret(t, "s", "two");
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, has_value(t, "s", "two") && health(t).connected);
	assert_false(*told(t, "s")->failure);
	assert_string_equal(health(t).last_error, "");
	assert_int_equal(t->n_pods, 1);
}

static void recovery_without_news_tells_the_secret_again(void **state)
{
	struct rig *t = *state;

	put_secret(t, "s", "one");
	want(t, "s");
	eventually(t, has_value(t, "s", "one") && health(t).n_watches == 2);
	apiserver_pause(t->server);
	eventually(t, *told(t, "s")->failure);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, !*told(t, "s")->failure);
	assert_true(has_value(t, "s", "one"));
	assert_int_equal(told(t, "s")->n_failed, 1);
}

static void refresh_is_answered_though_nothing_has_changed(void **state)
{
	struct rig *t = *state;

	put_secret(t, "s", "one");
	want(t, "s");
	eventually(t, has_value(t, "s", "one"));
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s"), 0);
	eventually(t, told(t, "s")->n_changed == 2);
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "none"), -ENOENT);
	put_secret(t, "s", "two");
	eventually(t, has_value(t, "s", "two"));
}

static void refresh_that_fails_as_before_is_answered(void **state)
{
	struct rig *t = *state;

	apiserver_fail(t->server, "metadata.name%3Ds", 500, NULL, -1, -1);
	want(t, "s");
	eventually(t, told(t, "s")->n_failed == 1);
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s"), 0);
	eventually(t, told(t, "s")->n_failed == 2);
}

static void unwanted_secret_is_watched_no_longer(void **state)
{
	struct rig *t = *state;

	put_secret(t, "s", "one");
	want(t, "s");
	eventually(t, has_value(t, "s", "one") && apiserver_counts(t->server).n_watches_running == 2);
	source_unwant(t->source, OBJECT_SECRET, "ns", "s");
	eventually(t, apiserver_counts(t->server).n_watches_running == 1);
	put_secret(t, "s", "two");
	settle(t);
	assert_true(has_value(t, "s", "one"));
	assert_int_equal(health(t).n_secrets, 0);
	want(t, "s");
	eventually(t, has_value(t, "s", "two"));
}

static void secret_may_be_unwanted_while_it_is_told(void **state)
{
	struct rig *t = *state;

	put_secret(t, "s", "one");
	t->unwant_at_change = true;
	want(t, "s");
	eventually(t, has_value(t, "s", "one"));
	eventually(t, apiserver_counts(t->server).n_watches_running == 1);
	assert_int_equal(health(t).n_secrets, 0);
	t->unwant_at_change = false;
	want(t, "s");
	eventually(t, told(t, "s")->n_changed == 2);
	eventually(t, health(t).n_watches == 2);
	t->unwant_at_change = true;
	put_secret(t, "s", "two"); /* an event this time */
	eventually(t, has_value(t, "s", "two"));
	eventually(t, apiserver_counts(t->server).n_watches_running == 1);
}

static void names_that_are_none_are_not_asked_for(void **state)
{
	static const char *const NAMES[] = { "", "../x", "a/b", "A", "a?b", "a%2fb" };
	struct rig *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
		assert_int_equal(source_want(t->source, OBJECT_SECRET, "ns", NAMES[i]), -EINVAL);
		assert_int_equal(source_want(t->source, OBJECT_SECRET, NAMES[i], "s"), -EINVAL);
		source_unwant(t->source, OBJECT_SECRET, "ns", NAMES[i]);
	}
	want(t, "s");
	assert_int_equal(source_want(t->source, OBJECT_SECRET, "ns", "s"), -EEXIST);
}

static bool all_have_value(struct rig *t, unsigned n, const char *value)
{
	char name[16];

	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		if (!has_value(t, name, value))
			return false;
	}
	return true;
}

static void three_hundred_secrets_at_once(void **state)
{
	struct rig *t = *state;
	char name[16];

	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		put_secret(t, name, "one");
		want(t, name);
	}
	eventually(t, all_have_value(t, 300, "one") && health(t).n_watches == 301);
	assert_int_equal(health(t).n_secrets_synced, 300);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		put_secret(t, name, "two");
	}
	eventually(t, all_have_value(t, 300, "two"));
	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		assert_int_equal(told(t, name)->n_changed, 2);
		source_unwant(t->source, OBJECT_SECRET, "ns", name);
	}
	eventually(t, apiserver_counts(t->server).n_watches_running == 1);
}

static void big_secret_arrives_whole(void **state)
{
	struct rig *t = *state;
	char *big = malloc(700001);

	memset(big, 'b', 700000);
	big[700000] = '\0';
	want(t, "s");
	eventually(t, told(t, "s")->absent && health(t).n_watches == 2);
	put_secret(t, "s", big); /* as an event */
	eventually(t, has_value(t, "s", big));
	assert_int_equal(source_refresh(t->source, OBJECT_SECRET, "ns", "s"), 0);
	eventually(t, told(t, "s")->n_changed == 3); /* as a list */
	assert_true(has_value(t, "s", big));
	free(big);
}

static void wants_before_the_start_are_kept(void **state)
{
	struct rig *t = *state;
	struct err e = ERR_INIT;

	start_server(t, &(struct apiserver_options){ .port = 0 });
	write_kubeconfig(t, apiserver_url(t->server), "", "");
	assert_int_equal(new_source(t, &e), 0);
	put_secret(t, "s", "one");
	want(t, "s");
	settle(t);
	assert_int_equal(apiserver_counts(t->server).n_requests, 0);
	assert_int_equal(source_start(t->source, &e), 0);
	eventually(t, has_value(t, "s", "one"));
}

static void url_may_have_a_path(void **state)
{
	cleanup_free char *url = NULL;
	struct rig *t = *state;
	struct err e = ERR_INIT;

	start_server(t, &(struct apiserver_options){ .port = 0 });
	url = str_format("%s/prefix/", apiserver_url(t->server));
	write_kubeconfig(t, url, "", "");
	assert_int_equal(new_source(t, &e), 0);
	assert_int_equal(source_start(t->source, &e), 0);
	eventually(t, count_requests(t, "GET /prefix/api/v1/pods?", "") >= 1);
	assert_false(health(t).pods_synced);
}

static void server_that_is_not_there_yet_is_found_later(void **state)
{
	struct rig *t = *state;

	start_server(t, &(struct apiserver_options){ .port = 0 });
	apiserver_pause(t->server);
	write_kubeconfig(t, apiserver_url(t->server), "", "");
	start_source(t);
	eventually(t, *health(t).last_error);
	assert_non_null(strstr(health(t).last_error, apiserver_url(t->server)));
	assert_non_null(strstr(health(t).last_error, "Connection refused"));
	assert_int_equal(health(t).last_contact_usec, 0);
	assert_int_equal(apiserver_resume(t->server, NULL), 0);
	eventually(t, health(t).connected && t->n_synced == 1);
	assert_true(health(t).last_contact_usec > 0);
}

/* ---- TLS and credentials ---- */

struct pki {
	char *ca, *cert, *key;
};

static struct pki start_tls(struct rig *t, const struct apiserver_options *more)
{
	struct apiserver_options o = *more;
	struct pki p = { NULL };
	struct err e = ERR_INIT;

	if (certs_make(t->dir, &e) < 0)
		fail_msg("%s", err_text(&e));
	p.ca = read_text(t, "ca.crt");
	p.cert = read_text(t, "server.crt");
	p.key = read_text(t, "server.key");
	o.cert = p.cert;
	o.key = p.key;
	if (o.client_ca)
		o.client_ca = p.ca;
	start_server(t, &o);
	return p;
}

static void pki_free(struct pki *p)
{
	free(p->ca);
	free(p->cert);
	free(p->key);
}

static void client_certificate_opens_the_door(void **state)
{
	struct rig *t = *state;
	struct pki p = start_tls(t, &(struct apiserver_options){ .client_ca = "" });

	write_kubeconfig(t, apiserver_url(t->server), ", certificate-authority: ca.crt",
			 "client-certificate: node-1.crt, client-key: node-1.key");
	start_source(t);
	eventually(t, t->n_synced == 1);
	put_secret(t, "s", "one");
	want(t, "s");
	eventually(t, has_value(t, "s", "one"));
	pki_free(&p);
}

static void strangers_certificate_is_refused(void **state)
{
	struct rig *t = *state;
	struct pki p = start_tls(t, &(struct apiserver_options){ .client_ca = "" });

	write_kubeconfig(t, apiserver_url(t->server), ", certificate-authority: ca.crt",
			 "client-certificate: stranger.crt, client-key: stranger.key");
	start_source(t);
	eventually(t, *health(t).last_error);
	assert_int_equal(t->n_synced, 0);
	pki_free(&p);
}

static void server_with_a_certificate_of_another_ca_gets_no_request(void **state)
{
	struct rig *t = *state;
	struct pki p = start_tls(t, &(struct apiserver_options){ .token = "sesame" });

	/* the stranger's certificate is no CA of anything here; neither are the system's */
	write_kubeconfig(t, apiserver_url(t->server), ", certificate-authority: stranger.crt", "token: sesame");
	start_source(t);
	eventually(t, *health(t).last_error);
	assert_non_null(strstr(health(t).last_error, "certificate"));
	assert_int_equal(apiserver_counts(t->server).n_requests, 0);
	pki_free(&p);
}

static void without_a_ca_the_systems_are_trusted_and_ours_is_not(void **state)
{
	struct rig *t = *state;
	struct pki p = start_tls(t, &(struct apiserver_options){ .port = 0 });

	write_kubeconfig(t, apiserver_url(t->server), "", "");
	start_source(t);
	eventually(t, *health(t).last_error);
	assert_int_equal(apiserver_counts(t->server).n_requests, 0);
	pki_free(&p);
}

static void insecure_takes_any_certificate(void **state)
{
	struct rig *t = *state;
	struct pki p = start_tls(t, &(struct apiserver_options){ .token = "sesame" });

	/* whoever signed it, and for whatever name */
	write_kubeconfig(t, apiserver_url(t->server),
			 ", insecure-skip-tls-verify: true, tls-server-name: elsewhere.example", "token: sesame");
	start_source(t);
	eventually(t, t->n_synced == 1);
	pki_free(&p);
}

static void tls_server_name_is_what_is_checked(void **state)
{
	static const struct {
		const char *name;
		bool good;
	} CASES[] = { { "localhost", true }, { "elsewhere.example", false } };

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_free char *cluster =
			str_format(", certificate-authority: ca.crt, tls-server-name: %s", CASES[i].name);
		struct rig *t = NULL;
		struct pki p;

		bare_setup((void **)&t);
		p = start_tls(t, &(struct apiserver_options){ .port = 0 });
		write_kubeconfig(t, apiserver_url(t->server), cluster, "");
		start_source(t);
		eventually(t, t->n_synced == 1 || *health(t).last_error);
		assert_int_equal(t->n_synced, CASES[i].good);
		assert_string_equal(health(t).location, apiserver_url(t->server));
		pki_free(&p);
		teardown((void **)&t);
	}
}

static void token_is_sent_over_tls(void **state)
{
	struct rig *t = *state;
	struct pki p = start_tls(t, &(struct apiserver_options){ .token = "sesame" });

	write_kubeconfig(t, apiserver_url(t->server), ", certificate-authority: ca.crt", "token: sesame");
	start_source(t);
	eventually(t, t->n_synced == 1);
	assert_int_equal(apiserver_counts(t->server).n_unauthorised, 0);
	pki_free(&p);
}

static void token_is_not_sent_without_tls(void **state)
{
	struct rig *t = *state;

	start_server(t, &(struct apiserver_options){ .token = "sesame" });
	write_kubeconfig(t, apiserver_url(t->server), "", "token: sesame");
	start_source(t);
	eventually(t, *health(t).last_error);
	assert_true(apiserver_counts(t->server).n_unauthorised >= 1);
	assert_int_equal(t->n_synced, 0);
}

static void rotated_token_file_is_read_when_the_old_one_is_refused(void **state)
{
	struct rig *t = *state;
	struct pki p = start_tls(t, &(struct apiserver_options){ .token = "sesame" });

	write_file(t, "token", "  old\n");
	write_kubeconfig(t, apiserver_url(t->server), ", certificate-authority: ca.crt", "tokenFile: token");
	start_source(t);
	eventually(t, *health(t).last_error);
	assert_int_equal(t->n_synced, 0);
	write_file(t, "token", "sesame\n");
	eventually(t, t->n_synced == 1);
	pki_free(&p);
}

static void node_authorizer_lets_a_pods_secret_through(void **state)
{
	struct rig *t = *state;
	struct pki p = start_tls(t, &(struct apiserver_options){ .client_ca = "", .node_authorizer = true });

	write_kubeconfig(t, apiserver_url(t->server), ", certificate-authority: ca.crt",
			 "client-certificate: node-1.crt, client-key: node-1.key");
	start_source(t);
	eventually(t, t->n_synced == 1);
	put_secret(t, "s", "one");
	want(t, "s");
	eventually(t, *told(t, "s")->failure);
	assert_non_null(strstr(told(t, "s")->failure, "forbidden"));
	put_pod(t, "web", "s");
	eventually(t, has_value(t, "s", "one"));
	pki_free(&p);
}

static void node_authorizer_lets_a_pods_config_map_through(void **state)
{
	struct rig *t = *state;
	struct pki p = start_tls(t, &(struct apiserver_options){ .client_ca = "", .node_authorizer = true });

	write_kubeconfig(t, apiserver_url(t->server), ", certificate-authority: ca.crt",
			 "client-certificate: node-1.crt, client-key: node-1.key");
	start_source(t);
	eventually(t, t->n_synced == 1);
	put_config_map(t, "s", "one");
	put_pod(t, "web", "s"); /* which names a Secret */
	assert_int_equal(source_want(t->source, OBJECT_CONFIG_MAP, "ns", "s"), 0);
	eventually(t, *told(t, "configmap s")->failure);
	assert_non_null(strstr(told(t, "configmap s")->failure, "configmaps \"s\" is forbidden"));
	apiserver_put_text(
		t->server,
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"other\"},"
		"\"spec\":{\"nodeName\":\"node-1\",\"containers\":[],\"volumes\":[{\"name\":\"v\",\"projected\":{"
		"\"sources\":[{\"configMap\":{\"name\":\"s\"}}]}}]}}");
	eventually(t, has_value(t, "configmap s", "one"));
	pki_free(&p);
}

static void unusable_kubeconfig_is_refused_at_once(void **state)
{
	static const struct {
		const char *url, *cluster, *user, *reason;
	} CASES[] = {
		{ "https://u:p@127.0.0.1:1", "", "", "must not hold a user or a password" },
		{ "https://127.0.0.1:1/?a=b", "", "", "query" },
		{ "https://127.0.0.1:99999", "", "", "URL" },
		{ "https://127.0.0.1:1", "", "exec: {command: x}", "exec is not supported" },
		{ "https://127.0.0.1:1", "", "tokenFile: missing", "No such file" },
	};
	struct rig *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct err e = ERR_INIT;

		write_kubeconfig(t, CASES[i].url, CASES[i].cluster, CASES[i].user);
		assert_true(new_source(t, &e) < 0 || source_start(t->source, &e) < 0);
		if (!strstr(err_text(&e), CASES[i].reason) || !str_starts(err_text(&e), t->dir))
			fail_msg("%s", err_text(&e));
		source_free(TAKE_PTR(t->source));
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define BARE(name) cmocka_unit_test_setup_teardown(name, bare_setup, teardown)
#define NO_STATUS(test, answer)                                                                                        \
	{                                                                                                              \
		test, empty_list_and_a_404_that_is_no_status, setup, teardown, answer                                  \
	}
#define NOT_THE_POD(test, answer)                                                                                      \
	{                                                                                                              \
		test, empty_list_and_an_answer_that_is_not_the_pod, setup, teardown, answer                            \
	}
	const struct CMUnitTest tests[] = {
		TEST(pods_of_this_node_come_and_go),
		BARE(pods_of_other_nodes_in_a_list_are_passed_over),
		TEST(pods_of_other_nodes_in_a_watch_are_passed_over),
		TEST(pod_that_is_another_nodes_now_is_removed),
		TEST(pod_replaced_under_its_name_is_removed_first),
		TEST(pods_that_went_while_nobody_watched_are_removed),
		TEST(empty_list_of_pods_that_are_there_is_not_believed),
		TEST(empty_list_without_the_right_to_ask_takes_no_pod),
		NO_STATUS("empty_list_and_a_404_in_html_take_no_pod", NOT_FOUND_HTML),
		NO_STATUS("empty_list_and_a_404_in_plain_text_take_no_pod", NOT_FOUND_TEXT),
		NO_STATUS("empty_list_and_a_404_without_a_body_take_no_pod", NOT_FOUND_NOTHING),
		NO_STATUS("empty_list_and_a_404_of_no_kind_take_no_pod", NOT_FOUND_OBJECT),
		NO_STATUS("empty_list_and_a_404_of_another_reason_take_no_pod", NOT_FOUND_FORBIDDEN),
		NOT_THE_POD("empty_list_and_a_200_with_nothing_take_no_pod", OK_NOTHING),
		NOT_THE_POD("empty_list_and_a_200_with_a_status_take_no_pod", OK_STATUS),
		NOT_THE_POD("empty_list_and_a_200_with_a_list_take_no_pod", OK_LIST),
		NOT_THE_POD("empty_list_and_a_200_with_a_secret_take_no_pod", OK_SECRET),
		NOT_THE_POD("empty_list_and_a_200_with_a_pod_of_another_name_take_no_pod", OK_ANOTHER),
		NOT_THE_POD("empty_list_and_a_200_with_a_pod_of_another_namespace_take_no_pod", OK_ELSEWHERE),
		NOT_THE_POD("empty_list_and_a_200_with_a_pod_without_uid_take_no_pod", OK_NO_UID),
		TEST(empty_list_and_a_200_with_a_pod_without_node_take_no_pod),
		TEST(empty_list_and_another_pod_under_the_name_is_believed),
		TEST(doubt_that_nobody_answers_ends_with_the_next_pod),
		TEST(pods_that_are_all_gone_are_asked_for_and_removed),
		TEST(pods_that_all_vanish_stay_until_that_is_said_again),
		TEST(pod_that_comes_while_it_is_waited_ends_the_doubt),
		TEST(pod_that_comes_while_they_are_asked_for_ends_the_doubt),
		TEST(secret_that_vanishes_with_all_pods_stays),
		TEST(pods_that_the_storage_remembers_go_at_once),
		TEST(memory_of_something_else_is_none),
		TEST(memory_may_be_slow_to_answer),
		TEST(memory_may_be_long),
		TEST(memory_that_is_never_told_is_none),
		TEST(sleep_says_nothing_of_pods_in_doubt),
		TEST(list_of_strangers_by_a_restored_server_takes_no_pod_at_once),
		TEST(pod_that_a_restored_server_lacks_goes_when_it_says_so_again),
		TEST(restored_server_that_may_not_be_asked_for_a_pod_is_believed_in_the_end),
		TEST(pod_of_before_takes_its_name_back_when_that_is_said_twice),
		TEST(end_of_a_pod_of_before_is_not_that_of_the_one_that_is_known),
		TEST(pod_of_the_older_state_that_goes_unseen_goes),
		BARE(first_list_that_is_empty_takes_nothing_of_what_is_expected),
		TEST(mirror_pods_make_no_list_believed),
		TEST(node_of_mirror_pods_alone_is_one_without_pods),
		BARE(pods_in_doubt_are_asked_for_within_the_limit_of_requests),
		BARE(pods_in_doubt_go_past_lists_that_wait),
		TEST(relist_tells_no_pod_again),
		TEST(refused_pod_leaves_the_others_and_its_last_state),
		TEST(refused_pod_in_place_of_another_ends_that_one),
		TEST(flood_of_refused_pods_has_bounds),
		TEST(pods_that_are_too_much_together_are_refused_and_come_later),
		TEST(secret_is_told_with_each_change_and_its_end),
		TEST(config_map_is_followed_as_a_secret_is),
		TEST(token_is_asked_for_once_while_it_lives),
		TEST(token_that_ends_is_replaced_and_kept_when_that_fails_124),
		TEST(forbidden_token_comes_as_soon_as_it_is_allowed),
		TEST(answer_that_is_no_token_is_none),
		TEST(token_may_be_unwanted_at_any_time),
		TEST(late_secret_is_absent_first_and_then_there),
		TEST(relist_of_an_unchanged_secret_is_silent),
		TEST(expired_watch_loses_nothing),
		TEST(watch_goes_on_from_the_bookmark),
		TEST(torn_and_garbled_watches_lose_nothing),
		TEST(strange_objects_in_the_watch_are_passed_over),
		TEST(rejected_secret_keeps_the_last_and_harms_no_other),
		TEST(forbidden_secret_comes_as_soon_as_it_is_allowed),
		TEST(failure_has_the_servers_own_words),
		TEST(retry_after_of_a_busy_server_is_kept),
		TEST(server_away_and_back_keeps_the_last_good),
		TEST(recovery_without_news_tells_the_secret_again),
		TEST(refresh_is_answered_though_nothing_has_changed),
		TEST(refresh_that_fails_as_before_is_answered),
		TEST(unwanted_secret_is_watched_no_longer),
		TEST(secret_may_be_unwanted_while_it_is_told),
		TEST(names_that_are_none_are_not_asked_for),
		TEST(three_hundred_secrets_at_once),
		TEST(big_secret_arrives_whole),
		BARE(wants_before_the_start_are_kept),
		BARE(url_may_have_a_path),
		BARE(server_that_is_not_there_yet_is_found_later),
		BARE(client_certificate_opens_the_door),
		BARE(strangers_certificate_is_refused),
		BARE(server_with_a_certificate_of_another_ca_gets_no_request),
		BARE(without_a_ca_the_systems_are_trusted_and_ours_is_not),
		BARE(insecure_takes_any_certificate),
		BARE(tls_server_name_is_what_is_checked),
		BARE(token_is_sent_over_tls),
		BARE(token_is_not_sent_without_tls),
		BARE(rotated_token_file_is_read_when_the_old_one_is_refused),
		BARE(node_authorizer_lets_a_pods_secret_through),
		BARE(node_authorizer_lets_a_pods_config_map_through),
		BARE(unusable_kubeconfig_is_refused_at_once),
	};
	struct err e = ERR_INIT;

	json_setup();
	log_init("test", LOG_LEVEL_ERROR);
	if (secmem_init(16 * 1024 * 1024, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
