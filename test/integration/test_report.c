/* The report of a daemon's state: what its JSON has, and what makes it unhealthy. */
#include "agent/report.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/audit_names.h"
#include "agent/codec.h"
#include "agent/pages.h"
#include "agent/report_health.h"
#include "agent/report_metrics.h"
#include "common/clock.h"
#include "common/str.h"
#include "test/lib/rig.h"

static struct fixture {
	struct rig *rig;
	struct store *store;
	struct pods *pods;
	struct source source;
	struct source_health health;
	size_t n_refused; /* pods, by the source */
	struct config config;
	struct report_state report;
	struct audit_names *audit;
	struct signals *signals;
	int process; /* the other end of the last socket that one was attached with */
	uint64_t now_usec; /* of the next report */
	json_t *json;
	const char *text;
} f;

static int on_want(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
	return 0;
}

static void on_unwant(struct source *s, enum object_kind kind, const char *ns, const char *name)
{
}

static void source_say_health(const struct source *s, struct source_health *ret)
{
	*ret = f.health;
}

static void say_refusals(const struct source *s, source_refusal_fn fn, void *userdata)
{
	for (size_t i = 0; i < f.n_refused; i++) {
		cleanup_free char *name = str_format("p-%zu", i), *uid = str_format("uid-%s", name);

		fn(userdata,
		   &(struct source_refusal){ .ns = "ns", .name = name, .uid = uid, .file = "", .error = name });
	}
}

static const struct source_vtable VTABLE = {
	.want = on_want,
	.unwant = on_unwant,
	.health = source_say_health,
	.refusals = say_refusals,
};

static void store_changed(void *userdata, const struct store_entry *entry)
{
	pods_object_changed(f.pods, entry);
}

static void pods_changed(void *userdata)
{
}

static void make_on_loop(struct rig *rig, void *arg)
{
	static char node[] = "node-1", dir[] = "/caf\xe9/pods";

	f.source.vtable = &VTABLE;
	f.health = (struct source_health){ .kind = "manifests", .connected = true, .pods_synced = true };
	snprintf(f.health.location, sizeof(f.health.location), "/caf\xe9");
	f.config.node_name = node;
	assert(store_new(store_changed, NULL, &f.store) == 0);
	store_set_source(f.store, &f.source);
	assert(pods_new(rig_loop(rig), f.store, rig_publisher(rig), pods_changed, NULL, &f.pods) == 0);
	f.report = (struct report_state){ .config = &f.config,
					  .pods_dir = dir,
					  .pods = f.pods,
					  .store = f.store,
					  .source = &f.source,
					  .session = rig_session(rig),
					  .publish = rig_publisher(rig),
					  .tree = rig_tree(rig) };
}

static void free_on_loop(struct rig *rig, void *arg)
{
	audit_names_free(f.audit);
	signals_free(f.signals);
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
	json_decref(f.json);
	rig_call(f.rig, free_on_loop, NULL);
	rig_free(f.rig);
	return 0;
}

static void pod_on_loop(struct rig *rig, void *arg)
{
	cleanup_pod struct pod *pod = NULL;
	cleanup_json json_t *j = NULL;

	assert(json_parse(f.text, strlen(f.text), &j, NULL) == 0);
	assert(codec_pod(j, &pod, NULL) == 0);
	pods_pod_changed(f.pods, pod);
}

/* A pod whose volume "v" shows Secret "s". */
static void say_pod(const char *name, const char *phase)
{
	cleanup_free char *text = str_format(
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\","
		"\"uid\":\"uid-%s\"},\"spec\":{\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s\"}}],"
		"\"containers\":[{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]}]},"
		"\"status\":{\"phase\":\"%s\"}}",
		name, name, phase);

	f.text = text;
	rig_call(f.rig, pod_on_loop, NULL);
}

static void failed_on_loop(struct rig *rig, void *arg)
{
	struct err e = ERR_INIT;

	err_set(&e, -EIO, "%s", (const char *)arg);
	store_object_failed(f.store, OBJECT_SECRET, "ns", "s", &e);
}

static void status_on_loop(struct rig *rig, void *arg)
{
	json_decref(f.json);
	f.json = report_status(&f.report, f.now_usec);
}

static void pods_on_loop(struct rig *rig, void *arg)
{
	json_decref(f.json);
	f.json = report_pods(&f.report);
}

static const json_t *status(void)
{
	rig_call(f.rig, status_on_loop, NULL);
	assert_non_null(f.json);
	return f.json;
}

/* All problems that status has, each ended by a newline. "secret memory is not locked" depends on the machine. */
static const char *problems(void)
{
	static char text[2048];
	const json_t *problem;
	size_t i, len = 0;

	text[0] = 0;
	json_array_foreach (json_object_get(status(), "problems"), i, problem) {
		if (str_eq(json_string_value(problem), "secret memory is not locked"))
			continue;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\n", json_string_value(problem));
	}
	return text;
}

static void what_is_wrong_is_a_problem(void **state)
{
	assert_string_equal(problems(), "");
	f.health.pods_synced = false;
	assert_string_equal(problems(), "the pods of this node are not known yet\n");
	snprintf(f.health.last_error, sizeof(f.health.last_error), "no route");
	assert_string_equal(problems(), "the pods of this node are not known yet: no route\n");
	f.health.pods_synced = true;
	f.health.connected = false;
	assert_string_equal(problems(), "no connection to /caf\xef\xbf\xbd: no route\n");
	assert_true(json_is_false(json_object_get(f.json, "healthy")));
	f.health.connected = true;
	f.health.n_rejected = 1;
	assert_string_equal(problems(), "1 object was rejected: no route\n");
	f.health.n_rejected = 2;
	assert_string_equal(problems(), "2 objects were rejected: no route\n");
	f.health.n_rejected = 0;
	say_pod("a", "Running");
	assert_string_equal(problems(), "1 volume waits\n");
	say_pod("b", "Running");
	assert_string_equal(problems(), "2 volumes wait\n");
	rig_kill_publisher(f.rig);
	assert_string_equal(problems(), "2 volumes wait\nno publisher is running\n");
}

/* "s", with so many keys, all empty. */
static void secret_on_loop(struct rig *rig, void *arg)
{
	cleanup_secret_object struct secret *secret = NULL;
	cleanup_json json_t *j =
		json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s}, s:{}}", "apiVersion", "v1", "kind", "Secret", "metadata",
			  "name", "s", "namespace", "ns", "uid", "u", "resourceVersion", "1", "data");
	char name[16];

	for (int i = 0; i < *(const int *)arg; i++) {
		snprintf(name, sizeof(name), "key-%d", i);
		json_object_set_new(json_object_get(j, "data"), name, json_string(""));
	}
	assert(codec_secret(j, &secret, NULL) == 0);
	store_object_changed(f.store, OBJECT_SECRET, "ns", "s", secret);
}

static void pod_report_on_loop(struct rig *rig, void *arg)
{
	json_decref(f.json);
	f.json = report_pod(&f.report, pods_find(f.pods, arg));
}

/* Of the pod's first volume the first source. */
static const json_t *first_source(const json_t *pod)
{
	const json_t *volume = json_array_get(json_object_get(pod, "volumes"), 0);

	return json_array_get(json_object_get(volume, "sources"), 0);
}

/* A Secret may have many keys, and many volumes may show it. */
static void names_of_keys_are_told_of_one_pod_and_not_all(void **state)
{
	static struct {
		int n_keys;
		size_t n_told;
	} cases[] = { { 3, 3 }, { 5000, 100 } };
	const json_t *source;

	say_pod("a", "Running");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		rig_call(f.rig, secret_on_loop, &cases[i].n_keys);
		rig_call(f.rig, pod_report_on_loop, (char[]){ "uid-a" });
		source = first_source(f.json);
		assert_int_equal(json_array_size(json_object_get(source, "keys")), cases[i].n_told);
		assert_int_equal(json_array_size(json_object_get(f.json, "containers")), 1);
		rig_call(f.rig, pods_on_loop, NULL);
		assert_null(json_object_get(json_array_get(json_object_get(f.json, "pods"), 0), "containers"));
		source = first_source(json_array_get(json_object_get(f.json, "pods"), 0));
		assert_string_equal(json_string_value(json_object_get(source, "state")), "present");
		assert_null(json_object_get(source, "keys"));
		assert_null(json_object_get(source, "asked"));
	}
}

/* A pod with three volumes of so many sources each, all the same Secret. */
static void say_pod_with_sources(size_t n)
{
	cleanup_buf struct buf text = BUF_INIT(1 << 20);

	buf_printf(&text, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"ns\","
			  "\"uid\":\"uid-a\"},\"spec\":{\"volumes\":[");
	for (int i = 0; i < 3; i++) {
		buf_printf(&text, "%s{\"name\":\"v%d\",\"projected\":{\"sources\":[", i ? "," : "", i);
		for (size_t k = 0; k < n; k++)
			buf_printf(&text, "%s{\"secret\":{\"name\":\"s\",\"optional\":true}}", k ? "," : "");
		buf_printf(&text, "]}}");
	}
	buf_printf(&text, "],\"containers\":[{\"name\":\"c\",\"volumeMounts\":[{\"name\":\"v0\",\"mountPath\":\"/0\"},"
			  "{\"name\":\"v1\",\"mountPath\":\"/1\"},{\"name\":\"v2\",\"mountPath\":\"/2\"}]}]},"
			  "\"status\":{\"phase\":\"Running\"}}");
	assert_non_null(text.data);
	f.text = text.data;
	rig_call(f.rig, pod_on_loop, NULL);
}

static size_t count_sources(const json_t *pod, size_t expected_of_each)
{
	const json_t *volume;
	size_t i, n = 0;

	json_array_foreach (json_object_get(pod, "volumes"), i, volume) {
		assert_int_equal(json_integer_value(json_object_get(volume, "sourceCount")), expected_of_each);
		n += json_array_size(json_object_get(volume, "sources"));
	}
	return n;
}

/* Whoever can make a pod can make one with so many sources that the list of all were too long for an answer. */
static void of_many_sources_the_first_are_told(void **state)
{
	static int n_keys = 50;
	size_t n_names = 0, i, k;
	const json_t *volume, *source;

	say_pod_with_sources(20);
	rig_call(f.rig, pods_on_loop, NULL);
	assert_int_equal(count_sources(json_array_get(json_object_get(f.json, "pods"), 0), 20), 60);
	say_pod_with_sources(1000);
	rig_call(f.rig, secret_on_loop, &n_keys);
	rig_call(f.rig, pods_on_loop, NULL);
	assert_int_equal(count_sources(json_array_get(json_object_get(f.json, "pods"), 0), 1000), 100);
	rig_call(f.rig, pod_report_on_loop, (char[]){ "uid-a" });
	assert_int_equal(count_sources(f.json, 1000), 1000);
	json_array_foreach (json_object_get(f.json, "volumes"), i, volume)
		json_array_foreach (json_object_get(volume, "sources"), k, source)
			n_names += json_array_size(json_object_get(source, "keys"));
	assert_int_equal(n_names, 10000);
}

static void secrets_on_loop(struct rig *rig, void *arg)
{
	json_decref(f.json);
	f.json = report_secrets(&f.report, ~0U, NULL);
}

static void secret_report_on_loop(struct rig *rig, void *arg)
{
	json_decref(f.json);
	f.json = report_secret(store_find(f.store, OBJECT_SECRET, "ns", "s"));
}

static void of_many_keys_the_first_are_told_in_the_list(void **state)
{
	static struct {
		int n_keys;
		size_t n_listed;
	} cases[] = { { 0, 0 }, { 100, 100 }, { 101, 100 }, { 5000, 100 } };
	const json_t *secret;

	say_pod("a", "Running");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		rig_call(f.rig, secret_on_loop, &cases[i].n_keys);
		rig_call(f.rig, secrets_on_loop, NULL);
		secret = json_array_get(json_object_get(f.json, "secrets"), 0);
		assert_int_equal(json_array_size(json_object_get(secret, "keys")), cases[i].n_listed);
		assert_int_equal(json_integer_value(json_object_get(secret, "keyCount")), cases[i].n_keys);
		rig_call(f.rig, secret_report_on_loop, NULL);
		assert_int_equal(json_array_size(json_object_get(f.json, "keys")), cases[i].n_keys);
	}
}

static int64_t pods_member(const char *name)
{
	return json_integer_value(json_object_get(json_object_get(status(), "pods"), name));
}

static void metrics_on_loop(struct rig *rig, void *arg)
{
	assert(report_metrics(&f.report, NULL, UINT64_C(7) * USEC_PER_SEC, arg) == 0);
}

static void expect_sample(const char *line)
{
	cleanup_buf struct buf text = BUF_INIT(PAGE_BYTES_MAX);
	cleanup_free char *whole = str_format("\n%s\n", line);

	rig_call(f.rig, metrics_on_loop, &text);
	if (!strstr(text.data, whole))
		fail_msg("no '%s' in\n%s", line, text.data);
}

static void expect_no_sample(const char *start)
{
	cleanup_buf struct buf text = BUF_INIT(PAGE_BYTES_MAX);
	cleanup_free char *begin = str_format("\n%s", start);

	rig_call(f.rig, metrics_on_loop, &text);
	if (strstr(text.data, begin))
		fail_msg("'%s' in\n%s", start, text.data);
}

static void metrics_say_what_there_is(void **state)
{
	say_pod("a", "Running");
	say_pod("b", "Succeeded");
	expect_sample("secretlet_pods{state=\"waiting\"} 1");
	expect_sample("secretlet_pods{state=\"finished\"} 1");
	expect_sample("secretlet_volumes{state=\"waiting\"} 1");
	expect_sample("secretlet_volumes{state=\"ready\"} 0");
	rig_call(f.rig, failed_on_loop, (void *)(uintptr_t) "no");
	expect_sample("secretlet_publishes_total{result=\"published\"} 0");
	expect_sample("secretlet_publish_duration_seconds_count 0");
	f.health.n_secrets = 3;
	f.health.n_secrets_synced = 2;
	f.health.n_rejected = 4;
	expect_sample("secretlet_source_objects{kind=\"secret\",state=\"synced\"} 2");
	expect_sample("secretlet_source_objects{kind=\"secret\",state=\"unsynced\"} 1");
	expect_sample("secretlet_source_rejected_objects{source=\"manifests\"} 4");
	expect_no_sample("secretlet_process_restarts_total");
	f.report.restarts.told = true;
	f.report.restarts.n_publishers = 2;
	expect_sample("secretlet_process_restarts_total{process=\"agent\"} 0");
	expect_sample("secretlet_process_restarts_total{process=\"publisher\"} 2");
	expect_sample("secretlet_event_visible_seconds_count{type=\"projected\"} 0");
}

static void refused_pod_on_loop(struct rig *rig, void *arg)
{
	json_decref(f.json);
	f.json = report_refused_pod(&f.report, arg);
}

/* In the list of all there are a hundred of them. */
static void a_pod_says_why_it_is_refused_however_many_are(void **state)
{
	char last[] = "ns/p-149", none[] = "ns/p-150", uid[] = "uid-p-149", no_uid[] = "uid-p-150";
	const json_t *one;

	f.n_refused = 150;
	rig_call(f.rig, pods_on_loop, NULL);
	assert_int_equal(json_array_size(json_object_get(f.json, "refused")), 100);
	rig_call(f.rig, refused_pod_on_loop, last);
	assert_int_equal(json_array_size(f.json), 1);
	one = json_array_get(f.json, 0);
	assert_string_equal(json_string_value(json_object_get(one, "name")), "p-149");
	assert_string_equal(json_string_value(json_object_get(one, "error")), "p-149");
	rig_call(f.rig, refused_pod_on_loop, none);
	assert_true(json_is_array(f.json) && json_array_size(f.json) == 0);
	rig_call(f.rig, refused_pod_on_loop, uid);
	assert_int_equal(json_array_size(f.json), 1);
	assert_string_equal(json_string_value(json_object_get(json_array_get(f.json, 0), "name")), "p-149");
	rig_call(f.rig, refused_pod_on_loop, no_uid);
	assert_true(json_is_array(f.json) && json_array_size(f.json) == 0);
}

/* ---- what is there beside the agent ---- */

static void want_on_loop(struct rig *rig, void *arg)
{
	static char log[] = "/l";
	assert(audit_names_new(rig_loop(rig), rig_tree(rig), f.pods, rig_publisher(rig), &f.audit) == 0);
	assert(signals_new(rig_loop(rig), f.pods, true, &f.signals) == 0);
	f.config.audit_log = log;
	f.report.audit = f.audit;
	f.report.signals = f.signals;
}

static void attach_on_loop(struct rig *rig, void *arg)
{
	int pair[2];

	assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	assert((arg ? audit_names_attach(f.audit, pair[0]) : signals_attach(f.signals, pair[0])) == 0);
	f.process = pair[1];
}

static bool audit_has_told(struct rig *rig, void *arg)
{
	struct audit_state a;

	audit_names_state(f.audit, &a);
	return a.told;
}

static bool audit_is_absent(struct rig *rig, void *arg)
{
	struct audit_state a;

	audit_names_state(f.audit, &a);
	return !a.attached;
}

static bool signaller_is_absent(struct rig *rig, void *arg)
{
	return !signals_is_running(f.signals);
}

static bool says(const char *object, const char *member)
{
	return json_is_true(json_object_get(json_object_get(status(), object), member));
}

/* As an audit process says what it has counted. */
static void tell_counts(uint64_t n_opens, uint64_t n_lost)
{
	const struct audit_ask ask = { .kind = AUDIT_ASK_TELL,
				       .tell.counts = { .n_opens = n_opens, .n_written = n_opens, .n_lost = n_lost } };

	assert_int_equal(send(f.process, &ask, sizeof(ask), 0), sizeof(ask));
	assert_true(rig_until(f.rig, audit_has_told, NULL));
}

/* An agent's successor hears of what was counted before it from the audit process: 0 until then would be a reset, and what
 * comes after it an increase of all there ever was. */
static void what_the_audit_process_has_not_told_yet_is_not_0(void **state)
{
	rig_call(f.rig, want_on_loop, NULL);
	expect_no_sample("secretlet_audit");
	expect_no_sample("secretlet_process_restarts_total{process=\"audit\"}");
	rig_call(f.rig, attach_on_loop, &f);
	expect_no_sample("secretlet_audit");
	tell_counts(1000, 3);
	expect_sample("secretlet_audit_opens_total 1000");
	expect_sample("secretlet_audit_records_dropped_total{reason=\"process_ended\"} 3");
	expect_sample("secretlet_process_restarts_total{process=\"audit\"} 0");
	/* it stays what it was while there is none */
	close(f.process);
	assert_true(rig_until(f.rig, audit_is_absent, NULL));
	expect_sample("secretlet_audit_opens_total 1000");
}

static const struct {
	const char *member, *problem;
} MOMENTS[] = {
	{ "audit", "opens are not recorded: no audit process is running\n" },
	{ "signals", "containers get no signals: their process is not running\n" },
};

static uint64_t away_since(size_t i)
{
	struct audit_state a;

	audit_names_state(f.audit, &a);
	return i == 0 ? a.presence.absent_since_usec : signals_presence(f.signals)->absent_since_usec;
}

/* Whether that process, which is away since then, is a problem. */
static void assert_away(size_t i, uint64_t since_usec)
{
	f.now_usec = since_usec + 9 * USEC_PER_SEC;
	assert_null(strstr(problems(), MOMENTS[i].problem));
	assert_true(says(MOMENTS[i].member, "starting"));
	f.now_usec = since_usec + 11 * USEC_PER_SEC;
	assert_non_null(strstr(problems(), MOMENTS[i].problem));
	assert_false(says(MOMENTS[i].member, "starting"));
}

static void attach(size_t i)
{
	rig_call(f.rig, attach_on_loop, i == 0 ? &f : NULL);
	if (i == 0)
		tell_counts(0, 0);
	assert_null(strstr(problems(), MOMENTS[i].problem));
	assert_false(says(MOMENTS[i].member, "starting"));
}

static void a_process_has_a_moment_to_begin_and_none_for_each_of_its_deaths(void **state)
{
	rig_call(f.rig, want_on_loop, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(MOMENTS); i++) {
		uint64_t since = away_since(i);

		assert_away(i, since);
		for (int n = 0; n < 3; n++) {
			attach(i);
			close(f.process);
			assert_true(rig_until(f.rig, i == 0 ? audit_is_absent : signaller_is_absent, NULL));
			assert_int_equal(away_since(i), since);
			assert_away(i, since);
		}
	}
}

static void a_process_that_was_there_has_a_moment_again(void **state)
{
	const uint64_t s = USEC_PER_SEC;
	struct presence p = { .absent_since_usec = 100 * s };

	assert_true(presence_is_starting(&p, 109 * s));
	assert_false(presence_is_starting(&p, 110 * s));
	presence_came(&p, 120 * s);
	assert_false(presence_is_starting(&p, 120 * s));
	presence_came(&p, 129 * s); /* it says so again */
	presence_went(&p, 130 * s);
	presence_went(&p, 131 * s);
	assert_true(presence_is_starting(&p, 139 * s));
	assert_false(presence_is_starting(&p, 140 * s));
	presence_came(&p, 140 * s);
	presence_went(&p, 149 * s);
	assert_false(presence_is_starting(&p, 149 * s));
}

static bool is_said_to_hang(struct rig *rig, void *arg)
{
	json_decref(f.json);
	f.json = report_status(&f.report, 0);
	return json_is_true(json_object_get(json_object_get(f.json, "publisher"), "hangs"));
}

/* It is there, and its socket is open: only what it has been asked tells. */
static void a_publisher_that_is_stopped_is_said_to_hang(void **state)
{
	struct rig_wait w = { .done = false };
	bool said, attached, is_problem;

	assert_false(says("publisher", "hangs"));
	kill(rig_publisher_pid(f.rig), SIGSTOP);
	rig_publish_start(f.rig, "uid-x", "v", rig_payload(f.rig, (struct rig_file[]){ { "k", "v" }, { 0 } }, -1, NULL),
			  &w);
	said = rig_until(f.rig, is_said_to_hang, NULL);
	attached = says("publisher", "attached");
	is_problem = str_starts(problems(), "the publisher hangs: one order takes ");
	kill(rig_publisher_pid(f.rig), SIGCONT);
	assert_int_equal(rig_wait(f.rig, &w, NULL), 0);
	assert_true(said);
	assert_true(attached);
	assert_true(is_problem);
	assert_false(says("publisher", "hangs"));
}

static struct unread {
	char path[PATH_MAX];
	pthread_t thread;
} unread;

static void *unread_main(void *userdata)
{
	struct stat st;

	assert(stat(unread.path, &st) < 0);
	return NULL;
}

#define IDLE_USEC (300 * USEC_PER_MSEC)

/* The loop is here and reads no request. arg: when it was idle, and nobody asked. */
static void keep_waiting_on_loop(struct rig *rig, void *arg)
{
	const uint64_t *idle_since = arg;
	uint64_t first;

	assert(session_waiting_usec(rig_session(rig)) == 0);
	assert(pthread_create(&unread.thread, NULL, unread_main, NULL) == 0);
	while ((first = session_waiting_usec(rig_session(rig))) == 0)
		usleep(1000);
	assert(first < clock_monotonic_usec() - *idle_since - IDLE_USEC / 2);
	usleep(1000);
	assert(session_waiting_usec(rig_session(rig)) > first);
}

static bool nobody_waits(struct rig *rig, void *arg)
{
	return session_waiting_usec(rig_session(rig)) == 0;
}

static void a_request_that_nobody_has_read_has_an_age(void **state)
{
	uint64_t idle_since;

	snprintf(unread.path, sizeof(unread.path), "%s/nobody-is-called-so", rig_dir(f.rig));
	assert_true(rig_until(f.rig, nobody_waits, NULL));
	idle_since = clock_monotonic_usec();
	usleep(IDLE_USEC);
	rig_call(f.rig, keep_waiting_on_loop, &idle_since);
	pthread_join(unread.thread, NULL);
	assert_true(rig_until(f.rig, nobody_waits, NULL));
	expect_sample("secretlet_inflight_age_seconds{process=\"agent\"} 0");
}

/* What a check fails with; "": none does. */
static const char *failures(uint64_t beat_usec, uint64_t now_usec, bool only_alive)
{
	static char text[2 * ERR_TEXT_MAX];
	struct health h;
	size_t len = 0;

	if (only_alive)
		report_alive(&f.report, beat_usec, now_usec, &h);
	else
		report_ready(&f.report, beat_usec, now_usec, &h);
	text[0] = 0;
	for (size_t i = 0; i < h.n; i++)
		if (h.checks[i].reason[0])
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s: %s\n", h.checks[i].name,
						h.checks[i].reason);
	return text;
}

static void what_is_not_ready_says_why(void **state)
{
	f.config.agent_hang_usec = 10 * USEC_PER_SEC;
	assert_string_equal(failures(0, 10 * USEC_PER_SEC, false), "");
	assert_string_equal(failures(0, 11 * USEC_PER_SEC, false), "loop: it has given no sign of life for 11 s\n");
	assert_string_equal(failures(12 * USEC_PER_SEC, 0, false), "");
	f.health.pods_synced = false;
	assert_string_equal(failures(0, 0, false), "sync: the first list of pods has not arrived\n");
	assert_string_equal(failures(0, 0, true), "");
}

static void finished_pods_are_counted_apart(void **state)
{
	say_pod("a", "Running");
	say_pod("b", "Succeeded");
	say_pod("c", "Failed");
	assert_string_equal(problems(), "1 volume waits\n");
	assert_int_equal(pods_member("total"), 3);
	assert_int_equal(pods_member("finished"), 2);
	assert_int_equal(pods_member("ready"), 0);
}

/* Reports must not fail because of a text in them: nobody could ask any more what is wrong. */
static void texts_that_are_no_utf8_are_shown_as_well_as_can_be(void **state)
{
	const json_t *pod, *volume;

	snprintf(f.health.last_error, sizeof(f.health.last_error), "/caf\xe9/x.yaml:1:1: no");
	f.health.n_rejected = 1;
	assert_string_equal(problems(), "1 object was rejected: /caf\xef\xbf\xbd/x.yaml:1:1: no\n");
	assert_string_equal(json_string_value(json_object_get(f.json, "podsDir")), "/caf\xef\xbf\xbd/pods");

	say_pod("a", "Running");
	rig_call(f.rig, failed_on_loop, (void *)(uintptr_t) "because \xff");
	rig_call(f.rig, pods_on_loop, NULL);
	pod = json_array_get(json_object_get(f.json, "pods"), 0);
	volume = json_array_get(json_object_get(pod, "volumes"), 0);
	assert_string_equal(json_string_value(json_object_get(volume, "error")), "because \xef\xbf\xbd");
	assert_string_equal(json_string_value(json_object_get(volume, "path")),
			    "/caf\xef\xbf\xbd/pods/uid-a/volumes/kubernetes.io~secret/v");
}

/* Scripts lean on these; a member may be added, not taken away. */
static void members_are_what_scripts_know(void **state)
{
	static const char *const STATUS[] = { "version",       "healthy", "problems",  "nodeName", "podsDir",
					      "uptimeSeconds", "source",  "pods",      "volumes",  "secretMemory",
					      "tree",	       "fuse",	  "publisher", "log" };
	static const char *const SOURCE[] = {
		"kind",		 "connected",  "podsSynced",	   "lastContact", "lastError",	  "secrets",
		"secretsSynced", "configMaps", "configMapsSynced", "tokens",	  "tokensSynced", "watches",
		"rejected",	 "warnings",   "requests",	   "connections"
	};
	static const char *const POD[] = {
		"namespace", "name", "uid", "phase", "ready", "finished", "since", "volumes"
	};
	static const char *const VOLUME[] = { "name",	 "type",    "secret", "optional",
					      "sources", "path",    "state",  "resourceVersion",
					      "version", "updated", "files",  "bytes",
					      "error" };
	const json_t *pod;

	for (size_t i = 0; i < ARRAY_SIZE(STATUS); i++)
		assert_non_null(json_object_get(status(), STATUS[i]));
	for (size_t i = 0; i < ARRAY_SIZE(SOURCE); i++)
		assert_non_null(json_object_get(json_object_get(status(), "source"), SOURCE[i]));
	say_pod("a", "Running");
	rig_call(f.rig, pods_on_loop, NULL);
	pod = json_array_get(json_object_get(f.json, "pods"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(POD); i++)
		assert_non_null(json_object_get(pod, POD[i]));
	for (size_t i = 0; i < ARRAY_SIZE(VOLUME); i++)
		assert_non_null(json_object_get(json_array_get(json_object_get(pod, "volumes"), 0), VOLUME[i]));
	assert_true(json_is_null(json_object_get(json_array_get(json_object_get(pod, "volumes"), 0), "updated")));
}

int main(void)
{
#define REPORT(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		REPORT(what_is_wrong_is_a_problem),
		REPORT(names_of_keys_are_told_of_one_pod_and_not_all),
		REPORT(of_many_sources_the_first_are_told),
		REPORT(of_many_keys_the_first_are_told_in_the_list),
		REPORT(metrics_say_what_there_is),
		REPORT(what_is_not_ready_says_why),
		REPORT(finished_pods_are_counted_apart),
		REPORT(texts_that_are_no_utf8_are_shown_as_well_as_can_be),
		REPORT(members_are_what_scripts_know),
		REPORT(a_pod_says_why_it_is_refused_however_many_are),
		REPORT(what_the_audit_process_has_not_told_yet_is_not_0),
		REPORT(a_process_has_a_moment_to_begin_and_none_for_each_of_its_deaths),
		REPORT(a_process_that_was_there_has_a_moment_again),
		REPORT(a_publisher_that_is_stopped_is_said_to_hang),
		REPORT(a_request_that_nobody_has_read_has_an_age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
