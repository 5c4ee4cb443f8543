/* The command line as a user has it: the built program against a control socket with made-up answers. What counts is
 * what is printed where, and the exit status. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent/yaml.h"
#include "common/str.h"
#include "common/version.h"
#include "test/lib/program.h"
#include "test/lib/served.h"

#define WAIT_LONG "2m" /* never used up when all is well */

struct fixture {
	char dir[64];
	struct served *served;
	_Atomic(const char *) status, pods, pod, mounts, env, pull_config, secrets, secret; /* JSON; NULL: none */
	atomic_int n_looks;
};

static int answer(const char *text, json_t **ret, struct err *e)
{
	if (!text)
		return err_set(e, -ENOENT, "no pod of that name on node node-1");
	*ret = json_loads(text, 0, NULL);
	assert_non_null(*ret);
	return 0;
}

static int fake_status(void *userdata, json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	return answer(f->status, ret, e);
}

static int fake_pods(void *userdata, json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	return answer(f->pods, ret, e);
}

static int fake_pod(void *userdata, const char *ref, json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	f->n_looks++;
	return answer(f->pod, ret, e);
}

static int fake_mounts(void *userdata, const char *ref, const char *container, struct control_later *later,
		       json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	return answer(f->mounts, ret, e);
}

static int fake_env(void *userdata, const char *ref, const char *container, struct control_later *later, json_t **ret,
		    struct err *e)
{
	struct fixture *f = userdata;

	return answer(f->env, ret, e);
}

static int fake_pull_config(void *userdata, const char *ref, const char *container, struct control_later *later,
			    json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	return answer(f->pull_config, ret, e);
}

static int fake_secrets(void *userdata, unsigned kinds, const struct selector *selector, json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	return answer(f->secrets, ret, e);
}

static int fake_secret(void *userdata, const char *ref, json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	return answer(f->secret, ret, e);
}

/* The next look at it has an answer more. */
static int fake_refresh(void *userdata, const char *ref, json_t **ret, struct err *e)
{
	*ret = json_pack("{s:i}", "answers", 0);
	return 0;
}

static const struct control_ops fake_ops = {
	.status = fake_status,
	.pods = fake_pods,
	.pod = fake_pod,
	.mounts = fake_mounts,
	.env = fake_env,
	.pull_config = fake_pull_config,
	.secrets = fake_secrets,
	.secret = fake_secret,
	.refresh = fake_refresh,
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-cli-XXXXXX");
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

/* The program with these words and --runtime-dir. */
#define RUN(f, ...)    program_run((const char *const[]){ __VA_ARGS__, "--runtime-dir", (f)->dir, NULL })
#define RUN_ALONE(...) program_run((const char *const[]){ __VA_ARGS__, NULL })

static void wrong_command_lines_are_named_in_one_line(void **state)
{
	static const struct {
		const char *words[6];
		const char *sentence;
	} cases[] = {
		{ { "bogus" }, "secretlet: unknown command bogus; see secretlet --help\n" },
		{ { "" }, "secretlet: unknown command ; see secretlet --help\n" },
		{ { "--bogus" }, "secretlet: unknown option --bogus; see secretlet --help\n" },
		{ { "help", "bogus" }, "secretlet: unknown command bogus; see secretlet --help\n" },
		{ { "help", "internal-agent" }, "secretlet: unknown command internal-agent; see secretlet --help\n" },
		{ { "a\033[2Jb" }, "secretlet: unknown command a\\x1b[2Jb; see secretlet --help\n" },
		{ { "pods", "--bogus" }, "secretlet: pods: unknown option --bogus; see secretlet pods --help\n" },
		{ { "pods", "a/b", "c" }, "secretlet: pods: too many words: 'c'; see secretlet pods --help\n" },
		{ { "status", "x" }, "secretlet: status: too many words: 'x'; see secretlet status --help\n" },
		{ { "run", "x" }, "secretlet: run: too many words: 'x'; see secretlet run --help\n" },
		{ { "wait", "-t" },
		  "secretlet: wait: option --timeout needs a value: DURATION; see secretlet wait --help\n" },
		{ { "mounts", "a/b" },
		  "secretlet: mounts: words are missing: secretlet mounts [OPTION...] NAMESPACE/POD CONTAINER; "
		  "see secretlet mounts --help\n" },
		{ { "wait", "a/b/c" }, "secretlet: 'a/b/c' is no pod: NAMESPACE/NAME or a UID is expected\n" },
		{ { "pods", "/b" }, "secretlet: '/b' is no pod: NAMESPACE/NAME or a UID is expected\n" },
		{ { "volumes", "" }, "secretlet: '' is no pod: NAMESPACE/NAME or a UID is expected\n" },
		{ { "mounts", "a/b", "../x" }, "secretlet: '../x' cannot be a container's name\n" },
		{ { "env", "a/b", "../x" }, "secretlet: '../x' cannot be a container's name\n" },
		{ { "env", "a/b", "c", "-oxml" },
		  "secretlet: env: option --output: 'xml' is not line, null, table, wide, json or yaml; see secretlet "
		  "env --help\n" },
		{ { "pods", "-oxml" },
		  "secretlet: pods: option --output: 'xml' is not table, wide, json or yaml; see secretlet pods "
		  "--help\n" },
		{ { "check", "-onull", "x" },
		  "secretlet: check: option --output: 'null' is not line, table, wide, json or yaml; see secretlet "
		  "check --help\n" },
		{ { "status", "--ready", "-ojson" },
		  "secretlet: status: option --output does not go with --ready; see secretlet status --help\n" },
		{ { "status", "-w", "-R" },
		  "secretlet: status: option --watch does not go with --ready; see secretlet status --help\n" },
		{ { "cache", "verify", "-o", "json" },
		  "secretlet: cache: option --output does not go with verify; see secretlet cache --help\n" },
		{ { "cache", "--output=yaml", "wipe" },
		  "secretlet: cache: option --output does not go with wipe; see secretlet cache --help\n" },
		{ { "cache", "keygen", "-owide", "/nonexistent/x" },
		  "secretlet: cache: option --output does not go with keygen; see secretlet cache --help\n" },
		{ { "pods", "-0" }, "secretlet: pods: unknown option -0; see secretlet pods --help\n" },
		{ { "pull-config" },
		  "secretlet: pull-config: words are missing: secretlet pull-config [OPTION...] NAMESPACE/POD; see "
		  "secretlet pull-config --help\n" },
		{ { "internal-agent" }, "secretlet: this command is started by secretlet run only\n" },
		{ { "internal-publisher" }, "secretlet: this command is started by secretlet run only\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_program_result struct program_result r = program_run(cases[i].words);

		assert_string_equal(r.err, cases[i].sentence);
		assert_string_equal(r.out, "");
		assert_int_equal(r.status, 2);
	}
}

static void without_a_command_the_help_goes_to_stderr(void **state)
{
	cleanup_program_result struct program_result r = program_run((const char *const[]){ NULL }),
						     help = RUN_ALONE("help");

	assert_int_equal(r.status, 2);
	assert_string_equal(r.out, "");
	assert_int_equal(help.status, 0);
	assert_string_equal(help.out, r.err);
	assert_string_equal(help.err, "");
	assert_null(strstr(help.out, "internal"));
	assert_non_null(strstr(help.out, "\nExit status: 0 if "));
}

static void version_is_one_line(void **state)
{
	static const char *const words[] = { "version", "--version", "-V" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		cleanup_program_result struct program_result r = RUN_ALONE(words[i]);

		assert_int_equal(r.status, 0);
		assert_string_equal(r.out, "secretlet " SECRETLET_VERSION "\n");
	}
}

static void a_wrong_configuration_is_said_by_run(void **state)
{
	cleanup_program_result struct program_result r = RUN_ALONE("run", "--config", "/nonexistent/x.yaml");

	assert_int_equal(r.status, 78);
	assert_non_null(strstr(r.err, "open /nonexistent/x.yaml: No such file or directory"));
	assert_non_null(strstr(r.err, "error keeper: "));
}

static void a_configuration_that_is_a_folder_is_wrong(void **state)
{
	cleanup_program_result struct program_result r = RUN_ALONE("run", "--config", "/");

	assert_int_equal(r.status, 78);
}

static void one_that_cannot_be_read_now_is_not_wrong(void **state)
{
	/* reading from address 0 gives EIO */
	cleanup_program_result struct program_result r = RUN_ALONE("run", "--config", "/proc/self/mem");

	assert_int_equal(r.status, 1);
	assert_non_null(strstr(r.err, "read /proc/self/mem: Input/output error"));
}

static int shell(const char *words)
{
	cleanup_free char *line = str_format("%s %s", program_path(), words);
	int status;

	assert_non_null(line);
	status = system(line);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void what_cannot_be_written_is_a_failure(void **state)
{
	assert_int_equal(shell("version >/dev/full 2>/dev/null"), 1);
	assert_int_equal(shell("--help >/dev/full 2>/dev/null"), 1);
}

/* Also where SIGPIPE is ignored. */
static void whoever_has_read_enough_is_told_nothing(void **state)
{
	int pipes[2], status;
	char said[64] = "";
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* stdout is a pipe whose other end is closed already */
		int broken[2];

		if (pipe(broken) < 0 || close(broken[0]) < 0 || dup2(broken[1], 1) < 0 || dup2(pipes[1], 2) < 0)
			_exit(126);
		signal(SIGPIPE, SIG_IGN);
		execl(program_path(), "secretlet", "--help", NULL);
		_exit(127);
	}
	close(pipes[1]);
	n = read(pipes[0], said, sizeof(said) - 1);
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_string_equal(said, "");
	assert_int_equal(n, 0);
	assert_int_equal(status, 1 << 8);
}

static void closed_standard_fds_do_no_harm(void **state)
{
	assert_int_equal(shell("version <&- >&- 2>&-"), 0);
	assert_int_equal(shell("bogus <&- >&- 2>&-"), 2);
}

static void no_daemon_is_status_3(void **state)
{
	static const char *const lists[][4] = {
		{ "status" },
		{ "pods" },
		{ "volumes", "a/b" },
		{ "mounts", "a/b", "c" },
		{ "wait", "-t0", "a/b" },
		{ "env", "a/b", "c" },
		{ "pull-config", "a/b" },
	};
	struct fixture *f = *state;

	served_stop(TAKE_PTR(f->served));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		const char *words[] = { lists[i][0], "-r", f->dir, lists[i][1], lists[i][2], NULL };
		cleanup_program_result struct program_result r = program_run(words);
		cleanup_free char *sentence =
			str_format("secretlet: cannot reach secretlet at %s/control.sock: nobody listens there: "
				   "it does not run, see `systemctl status secretlet`\n",
				   f->dir);

		assert_int_equal(r.status, 3);
		assert_string_equal(r.err, sentence);
		assert_string_equal(r.out, "");
	}
}

static void status_is_0_only_when_healthy(void **state)
{
	struct fixture *f = *state;

	f->status = "{\"healthy\": true, \"problems\": [], \"nodeName\": \"node-1\", \"volumes\": {\"ready\": 2, "
		    "\"total\": 2}}";
	{
		cleanup_program_result struct program_result r = RUN(f, "status");

		assert_int_equal(r.status, 0);
		assert_true(str_starts(r.out, "healthy\ndaemon\n"));
		assert_non_null(strstr(r.out, "\n  node         node-1\n"));
		assert_non_null(strstr(r.out, "\nvolumes\n  ready        2 of 2\n"));
		assert_string_equal(r.err, "");
	}

	f->status = "{\"healthy\": false, \"problems\": [\"one\", \"\\u001b[2Jtwo\"]}";
	{
		cleanup_program_result struct program_result r = RUN(f, "status"),
							     json = RUN(f, "status", "-o", "json");

		assert_int_equal(r.status, 1);
		assert_true(str_starts(r.out, "not healthy: one; \\x1b[2Jtwo\n"));
		assert_int_equal(json.status, 1);
		assert_true(str_starts(json.out, "{\n  \"healthy\": false,\n"));
	}
}

static void an_answer_of_other_types_does_no_harm(void **state)
{
	static const char *const cases[] = {
		"{}",
		"[]",
		"{\"healthy\": \"yes\", \"problems\": 5, \"source\": [1], \"volumes\": null, \"fuse\": "
		"{\"requests\": {\"A\": \"b\"}, \"missing\": [null]}}",
		"{\"pods\": 7}",
		"{\"pods\": [1, null, {\"volumes\": {\"a\": 1}}, {\"volumes\": [[], 3]}]}",
	};
	static const char *const commands[] = { "status", "pods", "volumes" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		f->status = f->pods = cases[i];
		for (size_t j = 0; j < ARRAY_SIZE(commands); j++) {
			cleanup_program_result struct program_result r = RUN(f, commands[j]);

			assert_true(r.status == 0 || r.status == 1);
		}
	}
}

#define POD(ready, volumes)                                                                                            \
	"{\"namespace\": \"default\", \"name\": \"web\", \"uid\": \"u-1\", \"phase\": \"Running\", \"ready\": " ready  \
	", \"since\": \"2999-01-01T00:00:00Z\", \"volumes\": [" volumes "]}"
#define VOLUME_READY                                                                                                   \
	"{\"name\": \"creds\", \"type\": \"secret\", \"sources\": [{\"type\": \"secret\", \"name\": \"db\"}], "        \
	"\"state\": \"ready\", \"resourceVersion\": "                                                                  \
	"\"42\", \"updated\": \"2999-01-01T00:00:00Z\", \"files\": 2, \"bytes\": 11, \"path\": "                       \
	"\"/var/lib/pods/u-1\", \"error\": \"\"}"
#define VOLUME_WAITING                                                                                                 \
	"{\"name\": \"tls\", \"type\": \"projected\", \"sourceCount\": 5, \"sources\": [{\"type\": \"secret\", "       \
	"\"name\": \"t\"}, "                                                                                           \
	"{\"type\": \"secret\", "                                                                                      \
	"\"name\": \"u\"}], \"state\": \"waiting\", \"resourceVersion\": "                                             \
	"\"\", \"updated\": null, \"error\": \"secret \\\"t\\\" not found\\u0007\"}"

#define SECRET                                                                                                         \
	"{\"kind\": \"Secret\", \"namespace\": \"default\", \"name\": \"db\", \"state\": \"present\", \"type\": "      \
	"\"Opaque\", "                                                                                                 \
	"\"keyCount\": 1, \"keys\": [\"a\"], \"bytes\": 6, \"resourceVersion\": \"42\", \"references\": 2, "           \
	"\"synced\": "                                                                                                 \
	"\"2999-01-01T00:00:00Z\", \"labels\": {\"app\": \"web\"}, \"immutable\": false, \"uid\": \"s-1\", "           \
	"\"error\": \"\"}"

static void pods_and_volumes_are_tables(void **state)
{
	struct fixture *f = *state;

	f->pods = "{\"pods\": [" POD("false", VOLUME_READY "," VOLUME_WAITING) "]}";
	{
		cleanup_program_result struct program_result pods = RUN(f, "pods"), volumes = RUN(f, "volumes");

		assert_int_equal(pods.status, 0);
		assert_string_equal(pods.out, "NAMESPACE  NAME  READY  PHASE    AGE\n"
					      "default    web   1/2    Running  0s\n");
		assert_int_equal(volumes.status, 0);
		assert_string_equal(volumes.out, "NAMESPACE  POD  VOLUME  TYPE       SOURCES                       "
						 "STATE    REVISION  UPDATED  ERROR\n"
						 "default    web  creds   secret     db                            "
						 "ready    42        0s       -\n"
						 "default    web  tls     projected  secret:t,secret:u and 3 more  "
						 "waiting  -         -        secret "
						 "\"t\" not found\\x07\n");
	}

	f->pods = "{\"pods\": []}";
	{
		cleanup_program_result struct program_result r = RUN(f, "pods"), json = RUN(f, "pods", "-o", "json");

		assert_string_equal(r.out, "NAMESPACE  NAME  READY  PHASE  AGE\n");
		assert_string_equal(json.out, "{\n  \"pods\": []\n}\n");
	}
}

static void a_wide_table_has_more_columns(void **state)
{
	struct fixture *f = *state;

	f->pods = "{\"pods\": [" POD("false", VOLUME_READY) "]}";
	f->secrets = "{\"secrets\": [" SECRET "]}";
	f->mounts = "[{\"destination\": \"/c\", \"type\": \"bind\", \"source\": \"/p\", \"options\": [\"ro\"]}]";
	f->status = "{\"healthy\": true, \"sandbox\": {\"inForce\": [\"seccomp\", \"landlock-files\"]}}";
	{
		cleanup_program_result struct program_result pods = RUN(f, "pods", "-owide"),
							     volumes = RUN(f, "volumes", "-owide"),
							     secrets = RUN(f, "secrets", "-owide"),
							     all = RUN(f, "secrets", "-owide", "-kall"),
							     mounts = RUN(f, "mounts", "a/b", "c", "-owide"),
							     status = RUN(f, "status", "-owide"),
							     narrow = RUN(f, "status");

		assert_string_equal(pods.out, "NAMESPACE  NAME  READY  PHASE    AGE  MISTAKES  UID\n"
					      "default    web   1/1    Running  0s   0         u-1\n");
		assert_non_null(strstr(volumes.out, "UPDATED  FILES  BYTES  PATH               ERROR\n"));
		assert_non_null(strstr(volumes.out, "0s       2      11     /var/lib/pods/u-1  -\n"));
		assert_string_equal(
			secrets.out,
			"NAMESPACE  NAME  STATE    TYPE    KEYS  BYTES  REVISION  VOLUMES  SYNCED  LABELS   "
			"IMMUTABLE  UID  ERROR\n"
			"default    db    present  Opaque  1     6      42        2        0s      app=web  "
			"no         s-1  -\n");
		assert_true(str_starts(all.out, "KIND    NAMESPACE  NAME"));
		assert_string_equal(mounts.out, "DESTINATION  TYPE  SOURCE  OPTIONS\n/c           bind  /p      ro\n");
		assert_non_null(strstr(status.out, "\nsandbox\n  in force       seccomp, landlock-files\n"));
		assert_null(strstr(narrow.out, "sandbox"));
	}
}

/* Whoever looks sees it without asking for it; on a node that has everything there is nothing to see. */
static void a_gap_of_the_sandbox_is_shown(void **state)
{
	struct fixture *f = *state;

	f->status = "{\"healthy\": true, \"sandbox\": {\"inForce\": [\"seccomp\"], \"missing\": [\"landlock-files\", "
		    "\"landlock-tcp\"]}}";
	{
		cleanup_program_result struct program_result narrow = RUN(f, "status"),
							     wide = RUN(f, "status", "-owide");

		assert_non_null(strstr(narrow.out, "\nsandbox\n  missing      landlock-files, landlock-tcp\nlog\n"));
		assert_non_null(strstr(wide.out, "\nsandbox\n  in force       seccomp\n"
						 "  missing        landlock-files, landlock-tcp\nlog\n"));
	}
	f->status = "{\"healthy\": true, \"sandbox\": {\"inForce\": [\"seccomp\"], \"missing\": []}}";
	{
		cleanup_program_result struct program_result narrow = RUN(f, "status"),
							     wide = RUN(f, "status", "-owide");

		assert_null(strstr(narrow.out, "sandbox"));
		assert_non_null(strstr(wide.out, "\nsandbox\n  in force       seccomp\n  missing        -\nlog\n"));
	}
}

static json_t *from_yaml(const char *text)
{
	struct yaml_doc *docs = NULL;
	struct err e = ERR_INIT;
	json_t *json = NULL;
	size_t n = 0;

	if (yaml_parse(text, strlen(text), &docs, &n, &e) < 0 || n != 1)
		fail_msg("%s:\n%s", err_text(&e), text);
	assert_int_equal(yaml_to_json(docs[0].root, &json, &e), 0);
	yaml_docs_free(docs, n);
	return json;
}

/* Strings that YAML could take for something else. */
#define NASTY                                                                                                          \
	"[\"true\", \"no\", \"null\", \"~\", \"42\", \"1e3\", \"0x1f\", \"1:30\", \"2026-11-26\", \"a: b\", \"a "      \
	"#b\", "                                                                                                       \
	"\"- a\", \"\", \" a \", \"a\\nb\\n\", \"\\ttab\", \"gr\\u00fc\\u00df\", \"\\ud83d\\ude00\", \"\\u001b[2J\", " \
	"\"\\u0085\", \"'\", \"\\\"\", {\"yes\": 1, \"a: b\": {}, \"5\": []}, 0.5, -7, true, null]"

static void words_fill(const char *ret_words[static 8], const char *const *command, const char *format, const char *dir)
{
	size_t n = 0;

	while (command[n]) {
		ret_words[n] = command[n];
		n++;
	}
	ret_words[n++] = "--output";
	ret_words[n++] = format;
	/* check asks no daemon */
	if (!str_eq(command[0], "check")) {
		ret_words[n++] = "--runtime-dir";
		ret_words[n++] = dir;
	}
	ret_words[n] = NULL;
}

static void every_listing_is_the_same_in_yaml(void **state)
{
	static const char *const commands[][4] = {
		{ "status" },
		{ "pods" },
		{ "volumes" },
		{ "pods", "a/b" },
		{ "volumes", "a/b" },
		{ "secrets" },
		{ "refresh", "a/b" },
		{ "mounts", "a/b", "c" },
		{ "env", "a/b", "c" },
		{ "wait", "a/b" },
		{ "check", "/nonexistent/a: b.yaml" },
	};
	struct fixture *f = *state;

	f->status = "{\"healthy\": true, \"problems\": " NASTY "}";
	f->pods = "{\"pods\": [" POD("true", VOLUME_READY "," VOLUME_WAITING) "], \"more\": " NASTY "}";
	f->pod = "{\"ready\": true, \"volumes\": [" VOLUME_READY "], \"more\": " NASTY "}";
	f->secrets = "{\"secrets\": [" SECRET ", " NASTY "]}";
	f->secret = "{\"answers\": 1, \"more\": " NASTY "}";
	f->mounts = f->env = NASTY;
	f->env = "{\"env\": " NASTY ", \"notes\": []}";
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const char *const *c = commands[i];
		const char *json_words[8], *yaml_words[8];

		words_fill(json_words, c, "json", f->dir);
		words_fill(yaml_words, c, "yaml", f->dir);
		{
			cleanup_program_result struct program_result j = program_run(json_words),
								     y = program_run(yaml_words);
			cleanup_json json_t *json = json_loads(j.out, 0, NULL), *yaml = from_yaml(y.out);

			assert_non_null(json);
			assert_int_equal(j.status, y.status);
			assert_string_equal(j.err, y.err);
			if (!json_equal(json, yaml))
				fail_msg("%s: JSON and YAML differ:\n%s\n%s", c[0], j.out, y.out);
			assert_true(y.out[0] != '{' && y.out[0] != '[');
		}
	}
}

static void one_pod_may_be_named(void **state)
{
	struct fixture *f = *state;

	f->pod = POD("true", VOLUME_READY);
	{
		cleanup_program_result struct program_result table = RUN(f, "volumes", "default/web"),
							     json = RUN(f, "volumes", "default/web", "-o", "json");

		assert_int_equal(table.status, 0);
		assert_non_null(strstr(table.out, "\ndefault    web  creds "));
		assert_true(str_starts(json.out, "{\n  \"namespace\": \"default\",\n"));
	}

	f->pod = NULL;
	{
		cleanup_program_result struct program_result r = RUN(f, "pods", "default/web");

		assert_int_equal(r.status, 1);
		assert_string_equal(r.err, "secretlet: no pod of that name on node node-1\n");
		assert_string_equal(r.out, "");
	}
}

static void mounts_are_json_unless_a_table_is_wanted(void **state)
{
	struct fixture *f = *state;

	f->mounts = "[{\"destination\": \"/etc/creds\", \"type\": \"bind\", \"source\": \"/p\", \"options\": "
		    "[\"rbind\", \"ro\"]}]";
	{
		cleanup_program_result struct program_result r = RUN(f, "mounts", "default/web", "app"),
							     table = RUN(f, "mounts", "a/b", "app", "-otable");
		json_t *json = json_loads(r.out, 0, NULL);

		assert_int_equal(r.status, 0);
		assert_int_equal(json_array_size(json), 1);
		json_decref(json);
		assert_string_equal(table.out, "DESTINATION  SOURCE  OPTIONS\n/etc/creds   /p      rbind,ro\n");
	}

	f->mounts = "[]";
	{
		cleanup_program_result struct program_result r = RUN(f, "mounts", "default/web", "app");

		assert_string_equal(r.out, "[]\n");
	}

	f->mounts = NULL;
	{
		cleanup_program_result struct program_result r = RUN(f, "mounts", "default/web", "app");

		assert_int_equal(r.status, 1);
		assert_string_equal(r.out, "");
	}
}

static void an_environment_is_lines_or_what_is_asked_for(void **state)
{
	struct fixture *f = *state;

	f->env = "{\"env\": [\"A=1\", \"B=\\u00fc=x \\u007f\"], \"notes\": [\"n\\u001bote\"]}";
	{
		cleanup_program_result struct program_result r = RUN(f, "env", "default/web", "app"),
							     n = RUN(f, "env", "a/b", "app", "-0"),
							     t = RUN(f, "env", "a/b", "app", "-o", "table"),
							     j = RUN(f, "env", "a/b", "app", "-o", "json");

		assert_int_equal(r.status, 0);
		assert_string_equal(r.out, "A=1\nB=\xc3\xbc=x \x7f\n");
		assert_string_equal(r.err, "secretlet: n\\x1bote\n");
		assert_string_equal(t.out, "NAME  VALUE\nA     1\nB     \xc3\xbc=x \\x7f\n");
		assert_memory_equal(n.out, "A=1\0B=\xc3\xbc=x \x7f\0", 13);
		assert_string_equal(j.out, "[\n  \"A=1\",\n  \"B=\\u00FC=x \\u007f\"\n]\n");
	}
	f->env = "{\"env\": [], \"notes\": []}";
	{
		cleanup_program_result struct program_result r = RUN(f, "env", "default/web", "app");

		assert_int_equal(r.status, 0);
		assert_string_equal(r.out, "");
		assert_string_equal(r.err, "");
	}
	f->env = NULL;
	{
		cleanup_program_result struct program_result r = RUN(f, "env", "default/web", "app");

		assert_int_equal(r.status, 1);
		assert_string_equal(r.err, "secretlet: no pod of that name on node node-1\n");
	}
}

static void what_a_line_cannot_show_is_no_line(void **state)
{
	static const struct {
		const char *env, *sentence;
	} cases[] = {
		{ "{\"env\": [\"A=1\", \"B=SECRET\\n\"]}", "variable B: its value has a line break" },
		{ "{\"env\": [\"A=1\", \"B=SECRET\\r\"]}", "variable B: its value ends with a carriage return" },
		{ "{\"env\": [\"A=1\", \"#B=SECRET\"]}", "variable #B: its name has white space or '#' in it" },
		{ "{\"env\": [\"A=1\", \"B C=SECRET\"]}", "variable B C: its name has white space or '#' in it" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		f->env = cases[i].env;
		{
			cleanup_program_result struct program_result r = RUN(f, "env", "default/web", "app"),
								     n = RUN(f, "env", "a/b", "app", "-o", "null");

			assert_int_equal(r.status, 1);
			assert_string_equal(r.out, "");
			assert_non_null(strstr(r.err, cases[i].sentence));
			assert_non_null(strstr(r.err, "use -o null or -o json"));
			assert_null(strstr(r.err, "SECRET"));
			assert_int_equal(n.status, 0);
		}
	}
}

static void pull_credentials_are_a_docker_configuration(void **state)
{
	struct fixture *f = *state;

	f->pull_config = "{\"config\": {\"auths\": {\"r.io\": {\"auth\": \"dTpw\"}}}, \"notes\": [\"one is missing\"]}";
	{
		cleanup_program_result struct program_result r = RUN(f, "pull-config", "default/web");
		cleanup_json json_t *json = json_loads(r.out, 0, NULL),
				    *expected = json_pack("{s:{s:{s:s}}}", "auths", "r.io", "auth", "dTpw");

		assert_int_equal(r.status, 0);
		assert_true(json_equal(json, expected));
		assert_string_equal(r.err, "secretlet: one is missing\n");
	}
}

static void what_cannot_be_handed_out_is_a_failure(void **state)
{
	struct fixture *f = *state;
	cleanup_free char *words = str_format("env a/b c -r %s >/dev/full 2>/dev/null", f->dir);

	f->env = "{\"env\": [\"A=1\"], \"notes\": []}";
	assert_int_equal(shell(words), 1);
}

static void wait_returns_at_once_when_ready(void **state)
{
	struct fixture *f = *state;

	f->pod = POD("true", VOLUME_READY);
	{
		cleanup_program_result struct program_result r = RUN(f, "wait", "default/web", "-t", WAIT_LONG),
							     quiet = RUN(f, "wait", "-q", "default/web"),
							     json = RUN(f, "wait", "-o", "json", "default/web");

		assert_int_equal(r.status, 0);
		assert_string_equal(r.out, "default/web is ready: 1 volume\n");
		assert_int_equal(quiet.status, 0);
		assert_string_equal(quiet.out, "");
		assert_int_equal(json.status, 0);
		assert_true(str_starts(json.out, "{\n  \"namespace\""));
	}
}

static void wait_says_why_not(void **state)
{
	struct fixture *f = *state;

	f->pod = POD("false", VOLUME_READY "," VOLUME_WAITING);
	{
		cleanup_program_result struct program_result r = RUN(f, "wait", "default/web", "--timeout", "50ms"),
							     once = RUN(f, "wait", "default/web", "--timeout", "0"),
							     quiet = RUN(f, "wait", "-qt1ms", "default/web");

		assert_int_equal(r.status, 1);
		assert_string_equal(r.out, "");
		assert_string_equal(r.err, "secretlet: default/web is not ready after 50ms\n"
					   "default/web: volume tls: waiting: secret \"t\" not found\\x07\n");
		assert_int_equal(once.status, 1);
		assert_int_equal(quiet.status, 1);
		assert_string_equal(quiet.out, "");
		assert_string_equal(quiet.err, "");
	}

	f->pod = "{\"ready\": false, \"finished\": true, \"phase\": \"Succeeded\", \"volumes\": []}";
	{
		cleanup_program_result struct program_result r = RUN(f, "wait", "default/web", "-t0");

		assert_int_equal(r.status, 1);
		assert_string_equal(r.err, "secretlet: default/web is not ready after 0ms\n"
					   "default/web: it has finished, its volumes are gone\n");
	}

	f->pod = NULL;
	{
		cleanup_program_result struct program_result r = RUN(f, "wait", "default/web", "-t50ms");

		assert_int_equal(r.status, 1);
		assert_string_equal(r.err, "secretlet: no pod of that name on node node-1\n");
	}
}

struct waiting {
	struct fixture *f;
	pthread_t thread;
	struct program_result result;
};

static void *waiting_thread(void *userdata)
{
	struct waiting *w = userdata;

	w->result = RUN(w->f, "wait", "default/web", "--timeout", WAIT_LONG);
	return NULL;
}

static void waiting_start(struct waiting *w, struct fixture *f)
{
	*w = (struct waiting){ .f = f };
	assert_int_equal(pthread_create(&w->thread, NULL, waiting_thread, w), 0);
}

static void waiting_ends_well(struct waiting *w)
{
	pthread_join(w->thread, NULL);
	assert_string_equal(w->result.err, "");
	assert_string_equal(w->result.out, "default/web is ready: 1 volume\n");
	assert_int_equal(w->result.status, 0);
	program_result_deinit(&w->result);
}

static void until_looked(struct fixture *f, int n)
{
	for (int i = 0; f->n_looks < n && i < 20000; i++)
		usleep(1000);
	assert_true(f->n_looks >= n);
}

static void wait_goes_on_until_the_pod_is_ready(void **state)
{
	struct fixture *f = *state;
	struct waiting w;

	waiting_start(&w, f);
	until_looked(f, 1);
	f->pod = POD("false", VOLUME_WAITING);
	served_notify(f->served);
	until_looked(f, 2);
	f->pod = POD("true", VOLUME_READY);
	served_notify(f->served);
	waiting_ends_well(&w);
}

static void wait_outlives_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct waiting w;

	waiting_start(&w, f);
	until_looked(f, 1);
	served_stop(TAKE_PTR(f->served));
	usleep(150000);
	f->pod = POD("true", VOLUME_READY);
	f->served = served_start(f->dir, &fake_ops, f);
	waiting_ends_well(&w);
}

static void wait_comes_before_the_daemon(void **state)
{
	struct fixture *f = *state;
	struct waiting w;

	served_stop(TAKE_PTR(f->served));
	f->pod = POD("true", VOLUME_READY);
	waiting_start(&w, f);
	usleep(150000);
	f->served = served_start(f->dir, &fake_ops, f);
	waiting_ends_well(&w);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(wrong_command_lines_are_named_in_one_line),
		SERVED(without_a_command_the_help_goes_to_stderr),
		SERVED(version_is_one_line),
		SERVED(a_wrong_configuration_is_said_by_run),
		SERVED(a_configuration_that_is_a_folder_is_wrong),
		SERVED(one_that_cannot_be_read_now_is_not_wrong),
		SERVED(what_cannot_be_written_is_a_failure),
		SERVED(whoever_has_read_enough_is_told_nothing),
		SERVED(closed_standard_fds_do_no_harm),
		SERVED(no_daemon_is_status_3),
		SERVED(status_is_0_only_when_healthy),
		SERVED(an_answer_of_other_types_does_no_harm),
		SERVED(pods_and_volumes_are_tables),
		SERVED(a_wide_table_has_more_columns),
		SERVED(a_gap_of_the_sandbox_is_shown),
		SERVED(every_listing_is_the_same_in_yaml),
		SERVED(one_pod_may_be_named),
		SERVED(mounts_are_json_unless_a_table_is_wanted),
		SERVED(an_environment_is_lines_or_what_is_asked_for),
		SERVED(what_a_line_cannot_show_is_no_line),
		SERVED(pull_credentials_are_a_docker_configuration),
		SERVED(what_cannot_be_handed_out_is_a_failure),
		SERVED(wait_returns_at_once_when_ready),
		SERVED(wait_says_why_not),
		SERVED(wait_goes_on_until_the_pod_is_ready),
		SERVED(wait_outlives_the_daemon),
		SERVED(wait_comes_before_the_daemon),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
