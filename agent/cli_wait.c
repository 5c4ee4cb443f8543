/* secretlet wait: long polls until the pod is ready or the time is up. The daemon may come later or be restarted
 * meanwhile; both are only reasons to ask again. */

#include "agent/cli.h"

#include <inttypes.h>
#include <time.h>

#include "common/clock.h"
#include "common/str.h"

#define POLL_USEC  (60 * USEC_PER_SEC) /* one request */
#define RETRY_USEC (100 * USEC_PER_MSEC)
#define GRACE_USEC (2 * USEC_PER_SEC) /* for a daemon that is slow to answer */

static void sleep_usec(uint64_t usec)
{
	struct timespec ts = { .tv_sec = (time_t)(usec / USEC_PER_SEC),
			       .tv_nsec = (long)(usec % USEC_PER_SEC * NSEC_PER_USEC) };

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

/* One long poll of at most timeout_usec. */
static int poll_once(const struct options *o, uint64_t timeout_usec, struct client_reply *ret, struct err *e)
{
	cleanup_free char *path = NULL;
	char suffix[64];
	int r;

	snprintf(suffix, sizeof(suffix), "/wait?timeout=%" PRIu64 "ms", timeout_usec / USEC_PER_MSEC);
	r = client_pod_path(o->args[0], suffix, &path, e);
	if (r < 0)
		return r;
	/* its timer may be 5 % late */
	return client_get(o->runtime_dir, path, timeout_usec + timeout_usec / 20 + GRACE_USEC, ret, e);
}

int cli_wait_for(const struct options *o, struct client_reply *ret, struct err *e)
{
	uint64_t end_usec = clock_monotonic_usec() + o->timeout_usec;

	for (;;) {
		uint64_t now = clock_monotonic_usec(), left_usec = end_usec > now ? end_usec - now : 0;
		struct client_reply reply = { .status = 0 };
		int r;

		*e = ERR_INIT;
		r = poll_once(o, MIN(left_usec, POLL_USEC), &reply, e);
		now = clock_monotonic_usec();
		if (!cli_is_passing(r, &reply) || now >= end_usec) {
			if (r >= 0)
				*ret = reply;
			return r;
		}
		/* a long poll that ended by itself has waited enough */
		if (r < 0 || reply.status == 503)
			sleep_usec(MIN(RETRY_USEC, end_usec - now));
		client_reply_deinit(&reply);
	}
}

static void say_why_not(const struct options *o, const json_t *pod)
{
	const json_t *volume;
	size_t i;

	if (cli_bool(pod, "finished"))
		fprintf(stderr, "%s: it has finished, its volumes are gone\n", o->args[0]);
	json_array_foreach (json_object_get(pod, "volumes"), i, volume) {
		cleanup_free char *line = NULL, *escaped = NULL;
		const char *state = cli_str(volume, "state"), *error = cli_str(volume, "error");

		if (str_eq(state, "ready"))
			continue;
		line = str_format("%s: volume %s: %s%s%s", o->args[0], cli_str(volume, "name"), state,
				  *error ? ": " : "", error);
		escaped = line ? table_escape(line) : NULL;
		fprintf(stderr, "%s\n", escaped ?: "out of memory");
	}
}

/* A pod is ready all the same: what it shows can be read. */
static void say_what_is_wrong(const struct options *o, const json_t *pod)
{
	const json_t *volume;
	size_t i;

	json_array_foreach (json_object_get(pod, "volumes"), i, volume) {
		cleanup_free char *line = NULL, *escaped = NULL;

		if (!*cli_str(volume, "error"))
			continue;
		line = str_format("%s: volume %s: ready, but: %s", o->args[0], cli_str(volume, "name"),
				  cli_str(volume, "error"));
		escaped = line ? table_escape(line) : NULL;
		fprintf(stderr, "%s\n", escaped ?: "out of memory");
	}
}

int cli_wait_say(const struct options *o, const struct client_reply *reply)
{
	char age[STR_AGE_MAX];

	if (o->quiet)
		return CLI_FAILED;
	if (reply->status != 504 || *cli_str(reply->json, "error"))
		return cli_fail_reply(reply);
	if (cli_is_for_programs(o))
		cli_print(o, reply->json);
	fprintf(stderr, "secretlet: %s is not ready after %s\n", o->args[0], str_format_age(o->timeout_usec, age));
	say_why_not(o, reply->json);
	return CLI_FAILED;
}

int cli_wait(const struct options *o, char *const *words)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	struct err e = ERR_INIT;
	size_t n_volumes;
	int r;

	r = cli_wait_for(o, &reply, &e);
	if (r == -EINVAL)
		return cli_fail(CLI_USAGE, &e);
	if (r < 0)
		return o->quiet ? cli_request_status(r) : cli_fail(cli_request_status(r), &e);
	if (reply.status != 200)
		return cli_wait_say(o, &reply);
	n_volumes = json_array_size(json_object_get(reply.json, "volumes"));
	if (cli_is_for_programs(o) && !o->quiet)
		return cli_print(o, reply.json);
	if (!o->quiet)
		printf("%s is ready: %zu volume%s\n", o->args[0], n_volumes, n_volumes == 1 ? "" : "s");
	if (!o->quiet)
		say_what_is_wrong(o, reply.json);
	return CLI_OK;
}
