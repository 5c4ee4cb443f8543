/* --watch as a user has it: the built program, a control socket with made-up answers that change, and a pipe or a terminal
 * to read from. They mostly wait: a second between one look of the program's and the next. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>

#include "agent/yaml.h"
#include "common/clock.h"
#include "common/str.h"
#include "test/lib/program.h"
#include "test/lib/running.h"
#include "test/lib/served.h"

#define GIVEN_UP_USEC (60 * USEC_PER_SEC) /* never used up when all is well */

struct fixture {
	char dir[64];
	struct served *served;
	_Atomic(const char *) status, pods, pod, secrets; /* JSON; NULL: there is none */
	atomic_int n_looks;
};

static int answer(struct fixture *f, const char *text, json_t **ret, struct err *e)
{
	f->n_looks++;
	if (!text)
		return err_set(e, -ENOENT, "no pod of that name on node node-1");
	*ret = json_loads(text, 0, NULL);
	assert_non_null(*ret);
	return 0;
}

static int fake_status(void *userdata, json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	return answer(f, f->status, ret, e);
}

static int fake_pods(void *userdata, json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	return answer(f, f->pods, ret, e);
}

static int fake_pod(void *userdata, const char *ref, json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	return answer(f, f->pod, ret, e);
}

static int fake_secrets(void *userdata, unsigned kinds, const struct selector *selector, json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	return answer(f, f->secrets, ret, e);
}

static const struct control_ops fake_ops = {
	.status = fake_status,
	.pods = fake_pods,
	.pod = fake_pod,
	.secrets = fake_secrets,
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-watch-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->served = served_start(f->dir, &fake_ops, f);
	*state = f;
	return program_path() ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[96];

	served_stop(f->served);
	snprintf(path, sizeof(path), "%s/control.sock", f->dir);
	unlink(path);
	rmdir(f->dir);
	free(f);
	return 0;
}

#define START(p, f, ...) running_start(p, NULL, (const char *const[]){ __VA_ARGS__, "--runtime-dir", (f)->dir, NULL })

/* Until the program has asked n times more, so that it has seen what there is now. */
static void until_asked(struct running *p, struct fixture *f, int n)
{
	uint64_t end = clock_monotonic_usec() + GIVEN_UP_USEC;

	for (n += f->n_looks; f->n_looks < n;) {
		running_read(p);
		assert_true(clock_monotonic_usec() < end);
	}
	running_read(p);
}

#define POD(name, uid, phase, since)                                                                                   \
	"{\"namespace\": \"default\", \"name\": \"" name "\", \"uid\": \"" uid "\", \"phase\": \"" phase               \
	"\", \"ready\": true, \"since\": \"" since "\", \"volumes\": []}"
#define NOW  "2999-01-01T00:00:00Z"
#define THEN "2020-01-01T00:00:00Z"

static void what_changes_is_appended(void **state)
{
	struct fixture *f = *state;
	cleanup_running struct running p;

	f->pods = "{\"pods\": [" POD("a", "1", "Pending", NOW) "," POD("b", "2", "Running", NOW) "]}";
	START(&p, f, "pods", "--watch");
	running_until(&p, p.text, "\ndefault    b ");
	assert_string_equal(p.text, "NAMESPACE  NAME  READY  PHASE    AGE\n"
				    "default    a     0/0    Pending  0s\n"
				    "default    b     0/0    Running  0s\n");
	running_forget(&p);

	/* an age is no news */
	f->pods = "{\"pods\": [" POD("a", "1", "Pending", THEN) "," POD("b", "2", "Running", THEN) "]}";
	until_asked(&p, f, 2);
	assert_string_equal(p.text, "");

	/* one changes, one goes, one comes */
	f->pods = "{\"pods\": [" POD("a", "1", "Running", NOW) "," POD("a-longer-one", "3", "Pending", NOW) "]}";
	running_until(&p, p.text, "a-longer-one");
	assert_true(str_starts(p.text, "default    b     0/0    removed  "));
	assert_non_null(strstr(p.text, "\ndefault    a     0/0    Running  0s\n"
				       "default    a-longer-one  0/0    Pending  0s\n"));
	running_forget(&p);

	/* another pod with the same name: one goes, one comes */
	f->pods = "{\"pods\": [" POD("a", "4", "Running", NOW) "," POD("a-longer-one", "3", "Pending", NOW) "]}";
	running_until(&p, p.text, "Running");
	assert_string_equal(p.text, "default    a             0/0    removed  0s\n"
				    "default    a             0/0    Running  0s\n");
	assert_string_equal(p.errors, "");
	assert_int_equal(running_end(&p, SIGINT), 128 + SIGINT);
}

static void programs_get_events(void **state)
{
	struct fixture *f = *state;
	cleanup_running struct running j, y;

	f->pods = "{\"pods\": [" POD("a", "1", "Pending", NOW) "]}";
	START(&j, f, "pods", "-w", "-ojson");
	START(&y, f, "pods", "-w", "-oyaml");
	running_until(&j, j.text, "\n");
	running_until(&y, y.text, "volumes: []\n");
	f->pods = "{\"pods\": [" POD("a", "1", "Running", NOW) "]}";
	running_until(&j, j.text, "MODIFIED");
	running_until(&y, y.text, "MODIFIED");
	f->pods = "{\"pods\": []}";
	running_until(&j, j.text, "DELETED");
	running_until(&y, y.text, "DELETED");
	running_end(&j, SIGTERM);
	running_end(&y, SIGTERM);
	assert_string_equal(j.text,
			    "{\"type\":\"ADDED\",\"object\":{\"namespace\":\"default\",\"name\":\"a\",\"uid\":\"1\","
			    "\"phase\":\"Pending\",\"ready\":true,\"since\":\"" NOW "\",\"volumes\":[]}}\n"
			    "{\"type\":\"MODIFIED\",\"object\":{\"namespace\":\"default\",\"name\":\"a\",\"uid\":\"1\","
			    "\"phase\":\"Running\",\"ready\":true,\"since\":\"" NOW "\",\"volumes\":[]}}\n"
			    "{\"type\":\"DELETED\",\"object\":{\"namespace\":\"default\",\"name\":\"a\",\"uid\":\"1\","
			    "\"phase\":\"Running\",\"ready\":true,\"since\":\"" NOW "\",\"volumes\":[]}}\n");
	{
		struct yaml_doc *docs = NULL;
		char *line = j.text;
		size_t n = 0;

		assert_int_equal(yaml_parse(y.text, strlen(y.text), &docs, &n, NULL), 0);
		assert_int_equal(n, 3);
		for (size_t i = 0; i < n; i++) {
			cleanup_json json_t *yaml = NULL, *json = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);

			assert_int_equal(yaml_to_json(docs[i].root, &yaml, NULL), 0);
			assert_true(json_equal(json, yaml));
			line = strchr(line, '\n') + 1;
		}
		yaml_docs_free(docs, n);
	}
}

static void volumes_secrets_and_status_are_watched_too(void **state)
{
	struct fixture *f = *state;
	cleanup_running struct running volumes, secrets, status, whole;

	f->pod = "{\"namespace\": \"a\", \"name\": \"b\", \"volumes\": [{\"name\": \"v\", \"state\": \"waiting\"}]}";
	f->secrets = "{\"secrets\": [{\"kind\": \"Secret\", \"namespace\": \"a\", \"name\": \"s\", \"state\": "
		     "\"absent\"}]}";
	f->status = "{\"healthy\": true, \"uptimeSeconds\": 1, \"publisher\": {\"published\": 1}}";
	START(&volumes, f, "volumes", "a/b", "-w");
	START(&secrets, f, "secrets", "-w");
	START(&status, f, "status", "-w");
	START(&whole, f, "status", "-w", "-ojson");
	running_until(&volumes, volumes.text, "waiting");
	running_until(&secrets, secrets.text, "absent");
	running_until(&status, status.text, "dropped");
	running_until(&whole, whole.text, "}}\n");
	assert_true(str_starts(status.text, "SECTION  "));
	assert_non_null(strstr(status.text, "\ndaemon         health       healthy\n"));
	assert_null(strstr(status.text, "sandbox"));
	running_forget(&status);
	running_forget(&whole);

	/* the pod goes, and comes again */
	f->pod = NULL;
	running_until(&volumes, volumes.text, "removed");
	f->pod = "{\"namespace\": \"a\", \"name\": \"b\", \"volumes\": [{\"name\": \"v\", \"state\": \"ready\"}]}";
	running_until(&volumes, volumes.text, "ready");
	f->secrets = "{\"secrets\": [{\"kind\": \"Secret\", \"namespace\": \"a\", \"name\": \"s\", \"state\": "
		     "\"present\"}]}";
	running_until(&secrets, secrets.text, "present");
	f->status = "{\"healthy\": false, \"problems\": [\"one\"], \"uptimeSeconds\": 2, \"publisher\": "
		    "{\"published\": 2}}";
	running_until(&status, status.text, "published");
	running_until(&whole, whole.text, "\n");
	assert_string_equal(status.text, "daemon         health       not healthy: one\n"
					 "publisher      published    2\n");
	assert_string_equal(whole.text, "{\"type\":\"MODIFIED\",\"object\":{\"healthy\":false,\"problems\":[\"one\"],"
					"\"uptimeSeconds\":2,\"publisher\":{\"published\":2}}}\n");
	running_end(&volumes, SIGTERM);
	running_end(&secrets, SIGTERM);
	running_end(&status, SIGTERM);
	running_end(&whole, SIGTERM);
}

/* How old what is from the offline cache is changes each second. */
static void the_age_of_what_is_cached_is_no_news(void **state)
{
	static const char VOLUME[] =
		"{\"namespace\": \"a\", \"name\": \"b\", \"volumes\": [{\"name\": \"v\", \"state\": \"ready\", "
		"\"error\": \"%s\", \"cached\": \"%s\"}]}";
	char then[STR_TIME_MAX];
	struct fixture *f = *state;
	cleanup_running struct running p;
	cleanup_free char *quiet = NULL, *troubled = NULL;

	str_format_time(clock_realtime_usec() - 90 * USEC_PER_SEC, then);
	quiet = str_format(VOLUME, "", then);
	troubled = str_format(VOLUME, "it is refused", then);
	f->pod = quiet;
	START(&p, f, "volumes", "a/b", "--watch");
	running_until(&p, p.text, "from the offline cache, ");
	running_forget(&p);
	until_asked(&p, f, 3);
	assert_string_equal(p.text, "");
	f->pod = troubled;
	running_until(&p, p.text, "it is refused");
	assert_int_equal(running_end(&p, SIGTERM), 128 + SIGTERM);
}

static void the_daemon_may_be_restarted(void **state)
{
	struct fixture *f = *state;
	cleanup_running struct running p;

	f->pods = "{\"pods\": [" POD("a", "1", "Pending", NOW) "," POD("b", "2", "Running", NOW) "]}";
	START(&p, f, "pods", "--watch");
	running_until(&p, p.text, "\ndefault    b ");
	running_forget(&p);
	served_stop(TAKE_PTR(f->served));
	running_until(&p, p.errors, "\n");
	assert_true(str_starts(p.errors, "secretlet: waiting: cannot reach secretlet at "));
	poll(NULL, 0, 1500);
	running_read(&p);
	assert_null(strchr(strchr(p.errors, '\n') + 1, '\n')); /* it is said once */
	running_forget(&p);

	/* of a daemon that does not know the pods yet nothing has gone */
	f->pods = "{\"pods\": [], \"synced\": false}";
	f->served = served_start(f->dir, &fake_ops, f);
	running_until(&p, p.errors, "secretlet: secretlet answers again\n");
	until_asked(&p, f, 2);
	assert_string_equal(p.text, "");
	f->pods = "{\"pods\": [" POD("a", "1", "Running", NOW) "," POD("b", "2", "Running", NOW) "], \"synced\": true}";
	running_until(&p, p.text, "\n");
	assert_string_equal(p.text, "default    a     0/0    Running  0s\n");
	assert_int_equal(running_end(&p, SIGTERM), 128 + SIGTERM);
}

static void what_cannot_be_had_at_first_is_a_failure(void **state)
{
	struct fixture *f = *state;
	cleanup_running struct running p;

	START(&p, f, "volumes", "a/b", "--watch");
	assert_int_equal(running_end(&p, 0), 1);
	assert_string_equal(p.errors, "secretlet: no pod of that name on node node-1\n");
	running_deinit(&p);
	served_stop(TAKE_PTR(f->served));
	START(&p, f, "pods", "--watch");
	assert_int_equal(running_end(&p, 0), 3);
}

static void it_ends_when_nobody_reads(void **state)
{
	struct fixture *f = *state;
	cleanup_running struct running p;

	f->pods = "{\"pods\": []}";
	START(&p, f, "pods", "--watch");
	running_until(&p, p.text, "\n");
	/* and nothing changes */
	close(p.out);
	p.out = -1;
	assert_int_equal(running_end(&p, 0), 0);
	running_deinit(&p);
	START(&p, f, "pods", "--watch");
	close(p.out);
	p.out = -1;
	assert_int_equal(running_end(&p, 0), 0);
}

static void there_are_colours_on_terminals_only(void **state)
{
	static const struct {
		const char *tty, *option, *no_color;
		bool coloured;
	} cases[] = {
		{ "xterm", NULL, NULL, true },
		{ "dumb", NULL, NULL, false },
		{ "", NULL, NULL, false },
		{ NULL, NULL, NULL, false },
		{ NULL, "--color=always", NULL, true },
		{ "xterm", "--color=never", NULL, false },
		{ "xterm", NULL, "1", false },
		{ "xterm", "--color=always", "1", true },
		{ "xterm", "--color=auto", "", true },
	};
	struct fixture *f = *state;

	f->pods = "{\"pods\": [" POD("a", "1", "Running", NOW) "]}";
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *words[] = { "pods", "-w", "-r", f->dir, cases[i].option, NULL };
		cleanup_running struct running p;

		if (cases[i].no_color)
			setenv("NO_COLOR", cases[i].no_color, 1);
		running_start(&p, cases[i].tty, words);
		unsetenv("NO_COLOR");
		running_until(&p, p.text, "Running");
		if (!strstr(p.text, "\033[32m0/0\033[0m") == cases[i].coloured)
			fail_msg("case %zu: %s", i, p.text);
		assert_int_equal(!strchr(p.text, '\033'), !cases[i].coloured);
		running_end(&p, SIGTERM);
	}
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(what_changes_is_appended),
		SERVED(programs_get_events),
		SERVED(volumes_secrets_and_status_are_watched_too),
		SERVED(the_age_of_what_is_cached_is_no_news),
		SERVED(the_daemon_may_be_restarted),
		SERVED(what_cannot_be_had_at_first_is_a_failure),
		SERVED(it_ends_when_nobody_reads),
		SERVED(there_are_colours_on_terminals_only),
	};

	unsetenv("NO_COLOR");
	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
