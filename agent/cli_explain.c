/* secretlet explain: asks the daemon for its state and the pod's, has explain.c say what that means, and looks at what the
 * daemon cannot see: whether there is one, and whether its mount is in this namespace. */

#include "agent/cli.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "agent/explain.h"
#include "common/str.h"

#define UNIT	     "secretlet.service"
#define REQUEST_USEC (10 * USEC_PER_SEC)

/* ---- where there is no daemon ---- */

static bool unit_is_installed(void)
{
	static const char *const dirs[] = { "/etc/systemd/system", "/run/systemd/system",
					    "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
					    "/lib/systemd/system" };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		cleanup_free char *path = str_format("%s/" UNIT, dirs[i]);

		if (path && access(path, F_OK) == 0)
			return true;
	}
	return false;
}

/* What systemd knows of it, without asking anybody: a unit has a control group while it has processes, and an invocation
 * as long as it is started, failed ones included. */
static const char *unit_state(void)
{
	if (access("/run/systemd/system", F_OK) < 0)
		return "systemd does not run here";
	if (access("/sys/fs/cgroup/system.slice/" UNIT, F_OK) == 0)
		return "the unit " UNIT " has processes: it is starting or hangs, or has another --runtime-dir";
	if (!unit_is_installed())
		return "there is no unit " UNIT;
	if (faccessat(AT_FDCWD, "/run/systemd/units/invocation:" UNIT, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return "the unit " UNIT " was started and has no processes any more: it has failed";
	return "the unit " UNIT " is installed and not started";
}

static void explain_no_daemon(struct explain *x, const struct options *o, int r, const struct err *e)
{
	const char *code = r == -EACCES ? "NotAllowed" : r == -ETIMEDOUT ? "DaemonSilent" : "NoDaemon";
	cleanup_free char *message = str_format("%s; %s", err_text(e), unit_state());

	explain_add(x, code, o->runtime_dir, r == -EACCES || !message ? err_text(e) : message);
}

/* ---- the mount ---- */

static void explain_mount(struct explain *x, const char *pods_dir)
{
	struct statfs sf;

	if (statfs(pods_dir, &sf) < 0) {
		/* who may not look learns nothing, and the daemon has its own eyes */
		if (errno != EACCES && errno != EPERM)
			explain_add(x, errno == ENOTCONN ? "MountDead" : "NotMounted", pods_dir, strerror(errno));
	} else if (sf.f_type != FUSE_SUPER_MAGIC) {
		explain_add(x, "NotMounted", pods_dir, "it is not mounted here");
	}
}

/* ---- for people ---- */

static const char *colour(const char *level, bool wanted)
{
	if (!wanted)
		return "";
	return str_eq(level, "problem") ? "\033[31m" : str_eq(level, "ok") ? "\033[32m" : "\033[33m";
}

static void print_line(const char *before, const char *text, const char *after)
{
	cleanup_free char *escaped = table_escape(text);

	printf("%s%s%s\n", before, escaped ?: "out of memory", after);
}

static void print_words(size_t indent, const char *text)
{
	if (table_print_words(stdout, indent, table_terminal_width(stdout), text) < 0)
		puts("out of memory");
}

static void print_lines(const char *before, const json_t *lines)
{
	const json_t *line;
	size_t i;

	json_array_foreach (lines, i, line)
		print_line(before, json_string_value(line) ?: "", "");
}

/* "volume creds: Secret default/db" */
static void print_subject(const json_t *f)
{
	const char *volume = cli_str(f, "volume"), *object = cli_str(f, "object");
	cleanup_free char *subject = NULL;

	if (*volume && str_eq(volume, object))
		subject = str_format("volume %s", volume);
	else
		subject = str_format("%s%s%s%s", *volume ? "volume " : "", volume, *volume ? ": " : "", object);
	print_line("", subject ?: "out of memory", "");
}

static void print_finding(const json_t *f, bool coloured)
{
	const char *since = cli_str(f, "since");
	cleanup_free char *what = NULL;
	char age[STR_AGE_MAX];

	print_subject(f);
	what = str_format("%s: %s%s%s%s", cli_str(f, "code"), cli_str(f, "message"), *since ? " (for " : "",
			  *since ? cli_since(since, age) : "", *since ? ")" : "");
	fputs(colour(cli_str(f, "level"), coloured), stdout);
	print_words(2, what ?: "out of memory");
	if (coloured)
		fputs("\033[0m", stdout);
	print_words(4, cli_str(f, "advice"));
	print_lines("    ", json_object_get(f, "details"));
	print_lines("    $ ", json_object_get(f, "commands"));
}

static int print_findings(const struct options *o, const struct explain *x, const json_t *findings)
{
	bool coloured = table_wants_colour(stdout);
	const json_t *f;
	size_t i;

	json_array_foreach (findings, i, f)
		print_finding(f, coloured);
	if (!explain_has_problem(x))
		printf("%s: all is well\n", o->args[0]);
	return CLI_OK;
}

/* ---- the command ---- */

static int finish(const struct options *o, struct explain *x, int status)
{
	cleanup_json json_t *findings = NULL;
	int r;

	if (explain_findings(x, &findings) < 0)
		return cli_fail_memory();
	r = cli_is_for_programs(o) ? cli_print(o, findings) : print_findings(o, x, findings);
	return r == CLI_OK ? status : r;
}

/* The pod, or that there is none, is explained. CLI_OK; else the reason was said. */
static int ask_for_pod(const struct options *o, struct explain *x, const char *path)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	cleanup_json json_t *pods = NULL;
	struct err e = ERR_INIT;
	int r;

	r = client_get(o->runtime_dir, path, REQUEST_USEC, &reply, &e);
	if (r < 0)
		return cli_fail(cli_request_status(r), &e);
	if (reply.status == 200) {
		explain_pod(x, reply.json, o->n_args > 1 ? o->args[1] : NULL);
		return CLI_OK;
	}
	/* none of that name, or not yet */
	if (reply.status != 404 && reply.status != 503)
		return cli_fail_reply(&reply);
	r = cli_fetch(o, "/v1/pods", &pods);
	if (r == CLI_OK)
		explain_unknown_pod(x, reply.json, pods);
	return r;
}

static int explain_without_daemon(const struct options *o, int why, const struct err *e)
{
	cleanup(explain_freep) struct explain *x = NULL;

	if (explain_new(NULL, o->args[0], &x) < 0)
		return cli_fail_memory();
	explain_no_daemon(x, o, why, e);
	return finish(o, x, CLI_UNREACHABLE);
}

int cli_explain(const struct options *o, char *const *words)
{
	cleanup_client_reply struct client_reply status = { .status = 0 };
	cleanup(explain_freep) struct explain *x = NULL;
	cleanup_free char *path = NULL;
	struct err e = ERR_INIT;
	int r;

	r = client_pod_path(o->args[0], "", &path, &e);
	if (r < 0)
		return cli_fail(r == -EINVAL ? CLI_USAGE : CLI_FAILED, &e);
	r = client_get(o->runtime_dir, "/v1/status", REQUEST_USEC, &status, &e);
	if (r < 0 && cli_request_status(r) == CLI_UNREACHABLE)
		return explain_without_daemon(o, r, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, &e);
	if (status.status == 403) {
		err_set(&e, -EACCES, "%s", cli_str(status.json, "error"));
		return explain_without_daemon(o, -EACCES, &e);
	}
	if (status.status != 200)
		return cli_fail_reply(&status);
	if (explain_new(status.json, o->args[0], &x) < 0)
		return cli_fail_memory();
	explain_daemon(x);
	explain_mount(x, cli_str(status.json, "podsDir"));
	r = ask_for_pod(o, x, path);
	return r == CLI_OK ? finish(o, x, explain_has_problem(x) ? CLI_FAILED : CLI_OK) : r;
}
