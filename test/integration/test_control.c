/* Control and its client, over a real socket: a loop in a thread answers from a made-up node, the tests are its
 * clients. */

#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent/client.h"
#include "agent/control.h"
#include "common/str.h"
#include "test/lib/served.h"
#include "test/lib/skip.h"

#define UID_WEB	      "4c2f9d5e-8a61-4b0e-9c39-2f7a4f2a1d10"
#define PATIENCE_USEC (20 * USEC_PER_SEC)

/* The node: pod default/web with this UID, ready when the flag says so; a pod "default/late" that is unknown until
 * `late` is set; "default/broken" whose look-up fails. */
struct server {
	char dir[64], path[96];
	struct served *served;
	atomic_bool ready, late, starting;
	atomic_int n_looks, n_told; /* whether a pod is ready; what there is to say of it */
	/* those of whom the answer is still to come: containers whose name begins with "later" */
	struct control_later *later[200];
	atomic_int n_later, n_cancelled, pid;
};

static struct server *test_server;

static int fake_status(void *userdata, json_t **ret, struct err *e)
{
	*ret = json_pack("{s:b,s:s}", "healthy", 1, "hostile", "\033[2J\x7f\xc2\x85");
	return *ret ? 0 : -ENOMEM;
}

static json_t *pod_json(const char *name, bool ready)
{
	return json_pack("{s:s,s:s,s:s,s:b,s:[]}", "namespace", "default", "name", name, "uid", UID_WEB, "ready", ready,
			 "volumes");
}

static int fake_pods(void *userdata, json_t **ret, struct err *e)
{
	struct server *s = userdata;

	if (s->starting)
		return err_set(e, -EAGAIN, "the pods are not known yet");
	*ret = json_pack("{s:[o]}", "pods", pod_json("web", s->ready));
	return *ret ? 0 : -ENOMEM;
}

static bool fake_may_be_ready(void *userdata, const char *ref)
{
	struct server *s = userdata;

	s->n_looks++;
	if (str_eq(ref, "default/late"))
		return s->late;
	return s->ready || str_eq(ref, "team/wait") || str_eq(ref, "default/broken");
}

static int fake_pod(void *userdata, const char *ref, json_t **ret, struct err *e)
{
	struct server *s = userdata;

	s->n_told++;
	if (str_eq(ref, "default/broken"))
		return err_set(e, -EIO, "the shelf is broken");
	if (str_eq(ref, "custom-uid") || str_eq(ref, UID_WEB) || str_eq(ref, "default/web"))
		*ret = pod_json("web", s->ready);
	else if (str_eq(ref, "team/wait"))
		*ret = pod_json("wait", true);
	else if (str_eq(ref, "default/late") && s->late)
		*ret = pod_json("late", true);
	else
		return err_set(e, -ENOENT, "no pod %s on this node", ref);
	return *ret ? 0 : -ENOMEM;
}

static int fake_mounts(void *userdata, const char *ref, const char *container, struct control_later *later,
		       json_t **ret, struct err *e)
{
	if (!str_eq(container, "app"))
		return err_set(e, -ENOENT, "pod %s has no container %s", ref, container);
	*ret = json_pack("[{s:s,s:s}]", "destination", "/etc/creds", "source", ref);
	return *ret ? 0 : -ENOMEM;
}

static void cancel(void *owner)
{
	struct control_later **later = owner;

	*later = NULL;
	test_server->n_cancelled++;
}

/* For the container "answer" all those are answered first, the container "refuse" has them refused. */
static int fake_env(void *userdata, const char *ref, const char *container, struct control_later *later, json_t **ret,
		    struct err *e)
{
	struct server *s = userdata;

	s->pid = later->pid;
	if (str_starts(container, "later")) {
		later->cancel = cancel;
		later->owner = &s->later[s->n_later];
		s->later[s->n_later++] = later;
		return CONTROL_LATER;
	}
	for (int i = 0; i < s->n_later; i++) {
		struct control_later *who = s->later[i];

		s->later[i] = NULL;
		if (who && str_eq(container, "refuse"))
			control_answer(who, err_set(e, -EACCES, "not today"), NULL, e);
		else if (who)
			control_answer(who, 0, json_pack("{s:s}", "answer", "late"), NULL);
	}
	s->n_later = 0;
	if (str_eq(container, "off"))
		return err_set(e, -EACCES, "it is switched off");
	*ret = json_pack("{s:s, s:s}", "pod", ref, "container", container);
	return *ret ? 0 : -ENOMEM;
}

static int fake_pull_config(void *userdata, const char *ref, const char *container, struct control_later *later,
			    json_t **ret, struct err *e)
{
	*ret = json_pack("{s:s}", "pull", ref);
	return *ret ? 0 : -ENOMEM;
}

static int fake_page(void *userdata, enum page page, bool verbose, struct buf *text)
{
	const struct server *s = userdata;
	int r = buf_printf(text, "%s%s\n", page_name(page), verbose ? " verbose" : "");

	if (page == PAGE_READYZ && !s->ready)
		return PAGE_BAD;
	return r < 0 ? r : PAGE_GOOD;
}

static const struct control_ops fake_ops = {
	.status = fake_status,
	.pods = fake_pods,
	.pod = fake_pod,
	.may_be_ready = fake_may_be_ready,
	.mounts = fake_mounts,
	.env = fake_env,
	.pull_config = fake_pull_config,
	.page = fake_page,
};

static int setup(void **state)
{
	struct server *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	snprintf(s->dir, sizeof(s->dir), "/tmp/test-control-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	assert_int_equal(chmod(s->dir, 0755), 0);
	snprintf(s->path, sizeof(s->path), "%s/control.sock", s->dir);
	s->served = served_start(s->dir, &fake_ops, s);
	*state = test_server = s;
	return 0;
}

static int teardown(void **state)
{
	struct server *s = *state;

	served_stop(s->served);
	unlink(s->path);
	rmdir(s->dir);
	free(s);
	return 0;
}

static unsigned get(struct server *s, const char *path, json_t **ret_json)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	struct err e = ERR_INIT;
	int r = client_get(s->dir, path, PATIENCE_USEC, &reply, &e);

	if (r < 0)
		fail_msg("%s: %s", path, err_text(&e));
	if (ret_json)
		*ret_json = json_incref(reply.json);
	else if (reply.status != 200)
		assert_true(json_is_string(json_object_get(reply.json, "error")) ||
			    json_object_get(reply.json, "ready"));
	return reply.status;
}

/* Sends bytes and reads until the end, or until nothing comes any more. Returns the HTTP status, 0: there was none. */
static unsigned talk_msec(const char *path, const char *bytes, size_t len, char *answer, size_t size, int patience_msec)
{
	cleanup_fd int fd = served_connect(path);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned status = 0;
	size_t have = 0;

	if (fd < 0)
		return 0;
	for (size_t sent = 0; sent < len;) {
		ssize_t n = send(fd, bytes + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0)
			break;
		sent += (size_t)n;
	}
	shutdown(fd, SHUT_WR);
	while (have + 1 < size && poll(&p, 1, patience_msec) > 0) {
		ssize_t n = recv(fd, answer + have, size - 1 - have, 0);

		if (n <= 0)
			break;
		have += (size_t)n;
	}
	answer[have] = '\0';
	sscanf(answer, "HTTP/1.%*d %u", &status);
	return status;
}

static unsigned talk(const char *path, const char *bytes, size_t len, char *answer, size_t size)
{
	return talk_msec(path, bytes, len, answer, size, 20000);
}

static unsigned talk_str(struct server *s, const char *bytes)
{
	char answer[4096];

	return talk(s->path, bytes, strlen(bytes), answer, sizeof(answer));
}

static void each_route_answers(void **state)
{
	static const struct {
		const char *path;
		unsigned status;
		const char *key, *value; /* of the answer, or of its first element */
	} cases[] = {
		{ "/v1/status", 200, NULL, NULL },
		{ "/v1/pods", 200, NULL, NULL },
		{ "/v1/pods/default/web", 200, "name", "web" },
		{ "/v1/pods/" UID_WEB, 200, "name", "web" },
		{ "/v1/pods/custom-uid", 200, "name", "web" },
		{ "/v1/pods/team/wait", 200, "name", "wait" },
		{ "/v1/pods/team/wait/wait", 200, "name", "wait" },
		{ "/v1/pods/default/web/containers/app/mounts", 200, "source", "default/web" },
		{ "/v1/pods/" UID_WEB "/containers/app/mounts", 200, "source", UID_WEB },
		{ "/v1/pods/%64efault/%77%65%62", 200, "name", "web" },
		{ "/v1/pods/default/nobody", 404, "error", "no pod default/nobody on this node" },
		{ "/v1/pods/default/web/containers/db/mounts", 404, "error", "pod default/web has no container db" },
		{ "/v1/pods/default/broken", 500, "error", "the shelf is broken" },
		{ "/v1/pods/default/broken/wait", 500, "error", "the shelf is broken" },
		{ "/v1/pods/default/web/wait?timeout=0", 504, "name", "web" },
		{ "/v1/pods/" UID_WEB "/wait?timeout=0", 504, "name", "web" },
		{ "/v1/pods/custom-uid/wait?timeout=0s", 504, "name", "web" },
		{ "/v1/pods/default/nobody/wait?timeout=0", 504, "error", "no pod default/nobody on this node" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_json json_t *json = NULL;
		unsigned status = get(*state, cases[i].path, &json);
		const json_t *at = json_is_array(json) ? json_array_get(json, 0) : json;

		if (status != cases[i].status)
			fail_msg("%s: status %u", cases[i].path, status);
		if (cases[i].key)
			assert_string_equal(json_string_value(json_object_get(at, cases[i].key)), cases[i].value);
	}
}

static void bad_paths_and_parameters_are_refused(void **state)
{
	static const struct {
		const char *path;
		unsigned status;
	} cases[] = {
		{ "/", 404 },
		{ "//", 404 },
		{ "/v1", 404 },
		{ "/v1/", 404 },
		{ "/v2/status", 404 },
		{ "/v1/status/", 404 },
		{ "/v1/Status", 404 },
		{ "/v1/statuses", 404 },
		{ "/v1/pods/", 404 },
		{ "/v1/pods//web", 404 },
		{ "/v1/pods/a/b/c", 404 },
		{ "/v1/pods/a/b/containers", 404 },
		{ "/v1/pods/a/b/containers/c", 404 },
		{ "/v1/pods/a/b/containers/c/mounts/d", 404 },
		{ "/v1/pods/a/b/containers/c/mounts/d/e/f/g/h/i/j", 404 },
		{ "/v1/pods/default%2Fweb", 400 },
		{ "/v1/pods/default/we%00b", 400 },
		{ "/v1/pods/default/we%zzb", 400 },
		{ "/v1/pods/default/web%", 400 },
		{ "/v1/pods/default/web%2", 400 },
		{ "/v1/pods/default/..", 400 },
		{ "/v1/pods/..", 400 },
		{ "/v1/pods/%2e%2e/web", 400 },
		{ "/v1/pods/Default/web", 400 },
		{ "/v1/pods/default/web_1", 400 },
		{ "/v1/pods/a%20b", 400 },
		{ "/v1/pods/%ff%fe", 400 },
		{ "/v1/pods/gr%c3%bc", 400 },
		{ "/v1/pods/a%1b%5b2J", 400 },
		{ "/v1/pods/default/web/containers/a.b/mounts", 400 },
		{ "/v1/pods/default/web/containers/%2e%2e/mounts", 400 },
		{ "/v1/pods/default/web/wait?timeout=", 400 },
		{ "/v1/pods/default/web/wait?timeout=soon", 400 },
		{ "/v1/pods/default/web/wait?timeout=-1s", 400 },
		{ "/v1/pods/default/web/wait?timeout=11m", 400 },
		{ "/v1/pods/default/web/wait?timeout=99999999999999999999h", 400 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned status = get(*state, cases[i].path, NULL);

		if (status != cases[i].status)
			fail_msg("%s: status %u", cases[i].path, status);
	}
}

static void a_path_that_is_too_long_is_refused(void **state)
{
	char path[1500] = "/v1/pods/";

	memset(path + strlen(path), 'a', 1100);
	assert_int_equal(get(*state, path, NULL), 404);
	path[9 + 254] = '\0';
	assert_int_equal(get(*state, path, NULL), 400);
}

static void only_get_and_head_are_possible(void **state)
{
	static const char *const methods[] = { "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE" };
	struct server *s = *state;
	char request[256], answer[4096];

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		snprintf(request, sizeof(request), "%s /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			 methods[i]);
		assert_int_equal(talk(s->path, request, strlen(request), answer, sizeof(answer)), 405);
		assert_non_null(strstr(answer, "Allow: GET, HEAD\r\n"));
	}
	assert_int_equal(talk_str(s, "HEAD /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 200);
	assert_int_equal(talk_str(s, "POST /v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 404);
}

static void bodies_are_ignored_and_bounded(void **state)
{
	static const char
		small[] = "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
		chunk[] = "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
			  "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		head[] = "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n";
	cleanup_free char *large = calloc(1, sizeof(head) + 1000000);
	struct server *s = *state;
	char answer[4096];

	assert_int_equal(talk_str(s, small), 200);
	assert_int_equal(talk_str(s, chunk), 200);
	assert_non_null(large);
	memset(large, 'x', sizeof(head) - 1 + 1000000);
	memcpy(large, head, sizeof(head) - 1);
	assert_int_not_equal(talk(s->path, large, sizeof(head) - 1 + 1000000, answer, sizeof(answer)), 200);
	assert_int_equal(get(s, "/v1/status", NULL), 200);
}

static void garbage_does_not_end_the_process(void **state)
{
	static const char *const cases[] = {
		"\r\n\r\n\r\n",
		"GET\r\n\r\n",
		"GET /v1/status\r\n\r\n",
		"GET /v1/status HTTP/9.9\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"GET /v1/status HTTP/1.1\r\nno colon here\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\n folded\r\n\r\n",
		"GET %00%ff?%zz=%&&&== HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://other/v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	};
	struct server *s = *state;
	char bytes[20000], answer[4096];
	unsigned seed = 7;

	/* not all of it is answered: what could still become a request is waited for */
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		talk_msec(s->path, cases[i], strlen(cases[i]), answer, sizeof(answer), 20);
	for (size_t i = 0; i < 200; i++) {
		size_t len = (size_t)rand_r(&seed) % sizeof(bytes);

		for (size_t j = 0; j < len; j++)
			bytes[j] = (char)rand_r(&seed);
		/* half of them look like a request at first */
		if (i % 2 && len > 32)
			memcpy(bytes, "GET /v1/status HTTP/1.1\r\nHost: ", 31);
		talk_msec(s->path, bytes, len, answer, sizeof(answer), 20);
	}
	/* headers without an end: refused once the connection's memory is full */
	memset(bytes, 'h', sizeof(bytes));
	memcpy(bytes, "GET /v1/status HTTP/1.1\r\nh: ", 28);
	assert_int_not_equal(talk(s->path, bytes, sizeof(bytes), answer, sizeof(answer)), 200);
	assert_int_equal(get(s, "/v1/status", NULL), 200);
}

static void pages_are_plain_text(void **state)
{
	static const struct {
		const char *target;
		unsigned status;
		const char *body;
	} cases[] = {
		{ "/metrics", 200, "metrics\n" },
		{ "/healthz", 200, "healthz\n" },
		{ "/healthz?verbose", 200, "healthz verbose\n" },
		{ "/healthz?verbose=1&x", 200, "healthz verbose\n" },
		{ "/healthz?verbosely", 200, "healthz\n" },
		{ "/readyz", 500, "readyz\n" },
		{ "/readyz/", 404, NULL },
		{ "/v1/metrics", 404, NULL },
	};
	struct server *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char request[256], answer[4096];
		const char *body;

		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			 cases[i].target);
		assert_int_equal(talk(s->path, request, strlen(request), answer, sizeof(answer)), cases[i].status);
		body = strstr(answer, "\r\n\r\n");
		assert_non_null(body);
		if (!cases[i].body) {
			assert_non_null(strstr(answer, "Content-Type: application/json\r\n"));
			continue;
		}
		assert_non_null(strstr(answer, "Content-Type: text/plain; "));
		assert_string_equal(body + 4, cases[i].body);
	}
	s->ready = true;
	assert_int_equal(talk_str(s, "HEAD /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 200);
	assert_int_equal(talk_str(s, "POST /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 405);
}

static void control_characters_leave_as_escapes(void **state)
{
	static const char request[] = "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct server *s = *state;
	char answer[4096];

	assert_int_equal(talk(s->path, request, strlen(request), answer, sizeof(answer)), 200);
	assert_null(strchr(answer, '\033'));
	assert_null(strchr(answer, 0x85));
	assert_non_null(strstr(answer, "\\u001B[2J"));
	assert_non_null(strstr(answer, "Content-Type: application/json\r\n"));
}

static void one_connection_takes_many_requests(void **state)
{
	static const char requests[] = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
				       "GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n"
				       "GET /v1/pods/default/web/wait?timeout=1ms HTTP/1.1\r\nHost: x\r\n\r\n"
				       "GET /v1/pods HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct server *s = *state;
	size_t n = 0;
	char answer[8192];

	assert_int_equal(talk(s->path, requests, strlen(requests), answer, sizeof(answer)), 200);
	for (const char *p = answer; (p = strstr(p, "HTTP/1.1 ")); p++)
		n++;
	assert_int_equal(n, 4);
}

/* The status that a process with these ids is answered; 1000: it could not become that, 1001: it saw a pod's name. */
static int status_of_as(const struct server *s, const char *path, uid_t uid, gid_t gid, const gid_t *groups,
			size_t n_groups, const char *reason)
{
	cleanup_free char *request = str_format("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
	int status, out[2], got = -1;
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char answer[4096];
		int r = 1000;

		if (seteuid(0) == 0 && setgroups(n_groups, groups) == 0 && setgid(gid) == 0 && setuid(uid) == 0) {
			r = talk(s->path, request, strlen(request), answer, sizeof(answer));
			if (r == 403 && strstr(answer, "default"))
				r = 1001;
			if (r == 403 && !strstr(answer, reason))
				r = 1002;
		}
		_exit(write(out[1], &r, sizeof(r)) == sizeof(r) ? 0 : 1);
	}
	close(out[1]);
	assert_int_equal(read(out[0], &got, sizeof(got)), sizeof(got));
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return got;
}

static int status_as(const struct server *s, uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups,
		     const char *reason)
{
	return status_of_as(s, "/v1/pods", uid, gid, groups, n_groups, reason);
}

static void another_user_gets_403(void **state)
{
	struct server *s = *state;

	if (geteuid() != 0)
		skip_because("needs root");
	assert_int_equal(status_as(s, 65534, 65534, NULL, 0, "only root may use this socket"), 403);
	assert_int_equal(status_as(s, 65534, 0, (gid_t[]){ 0 }, 1, "only root may use this socket"), 403);
	assert_int_equal(status_as(s, 0, 65534, NULL, 0, ""), 200);
	assert_int_equal(get(s, "/v1/pods", NULL), 200);
}

/* What else there is of the user as which the agent runs is no more the agent than anybody else. */
static void nor_is_the_agents_own_user_answered(void **state)
{
	struct server *s = *state;

	if (geteuid() != 0)
		skip_because("needs root");
	assert_int_equal(seteuid(65534), 0); /* of all threads */
	assert_int_equal(status_as(s, 65534, 65534, NULL, 0, "only root may use this socket"), 403);
	assert_int_equal(status_as(s, 0, 0, NULL, 0, ""), 200);
	assert_int_equal(seteuid(0), 0);
}

static void members_of_the_group_are_answered_and_nobody_else(void **state)
{
	const char *reason = "only root and the members of controlSocketGroup may use this socket";
	const gid_t many[] = { 1, 2, 3, 4242, 5 }, others[] = { 1, 2, 3, 4241, 4243 };
	struct server *s = *state;

	if (geteuid() != 0)
		skip_because("needs root");
	served_allow_group(s->served, 4242);
	assert_int_equal(status_as(s, 65534, 4242, NULL, 0, reason), 200);
	assert_int_equal(status_as(s, 65534, 65534, many, ARRAY_SIZE(many), reason), 200);
	assert_int_equal(status_as(s, 65534, 65534, others, ARRAY_SIZE(others), reason), 403);
	assert_int_equal(status_as(s, 65534, 65534, NULL, 0, reason), 403);
	assert_int_equal(status_as(s, 4242, 65534, NULL, 0, reason), 403);
	assert_int_equal(status_as(s, 0, 0, NULL, 0, reason), 200);
}

#define ENV_OF(container) "/v1/pods/default/web/containers/" container "/env"

static void values_are_for_root_alone(void **state)
{
	static const char *const paths[] = { ENV_OF("app"), "/v1/pods/" UID_WEB "/containers/app/env",
					     "/v1/pods/default/web/pull-config", "/v1/pods/" UID_WEB "/pull-config" };
	const char *reason = "only root is given values of Secrets";
	struct server *s = *state;

	if (geteuid() != 0)
		skip_because("needs root");
	served_allow_group(s->served, 4242);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_int_equal(status_of_as(s, paths[i], 65534, 4242, NULL, 0, reason), 403);
		/* root's group is not root */
		assert_int_equal(status_of_as(s, paths[i], 65534, 0, (gid_t[]){ 0, 4242 }, 2, reason), 403);
		assert_int_equal(status_of_as(s, paths[i], 65534, 65534, NULL, 0, ""), 403);
		assert_int_equal(status_of_as(s, paths[i], 0, 0, NULL, 0, ""), 200);
	}
	assert_int_equal(status_of_as(s, "/v1/pods/default/web/containers/app/mounts", 65534, 4242, NULL, 0, ""), 200);
}

static void a_pod_may_be_called_like_a_verb(void **state)
{
	struct server *s = *state;
	json_t *json = NULL;

	assert_int_equal(get(s, "/v1/pods/" UID_WEB "/pull-config", &json), 200);
	assert_string_equal(json_string_value(json_object_get(json, "pull")), UID_WEB);
	json_decref(json);
	/* the pod pull-config in the namespace default */
	assert_int_equal(get(s, "/v1/pods/default/pull-config", NULL), 404);
	assert_int_equal(get(s, "/v1/pods/team/wait/pull-config", &json), 200);
	assert_string_equal(json_string_value(json_object_get(json, "pull")), "team/wait");
	json_decref(json);
	assert_int_equal(get(s, ENV_OF("off"), NULL), 403);
}

static void a_starting_daemon_says_503(void **state)
{
	struct server *s = *state;

	s->starting = true;
	assert_int_equal(get(s, "/v1/pods", NULL), 503);
}

/* Waits */

static void wait_until_looked(struct server *s, int n)
{
	for (int i = 0; s->n_looks < n && i < 20000; i++)
		usleep(1000);
	assert_true(s->n_looks >= n);
}

struct waiter {
	struct server *server;
	const char *path;
	pthread_t thread;
	struct client_reply reply;
	int r;
};

static void *waiter_thread(void *userdata)
{
	struct waiter *w = userdata;
	struct err e = ERR_INIT;

	w->r = client_get(w->server->dir, w->path, PATIENCE_USEC, &w->reply, &e);
	return NULL;
}

static void waiter_start(struct waiter *w, struct server *s, const char *path)
{
	*w = (struct waiter){ .server = s, .path = path };
	assert_int_equal(pthread_create(&w->thread, NULL, waiter_thread, w), 0);
}

/* The status; 0: the connection broke. */
static unsigned waiter_end(struct waiter *w)
{
	unsigned status;

	pthread_join(w->thread, NULL);
	status = w->r < 0 ? 0 : w->reply.status;
	if (w->r >= 0)
		client_reply_deinit(&w->reply);
	return status;
}

static void wait_ends_when_the_pod_is_ready(void **state)
{
	struct server *s = *state;
	struct waiter w;

	waiter_start(&w, s, "/v1/pods/default/web/wait?timeout=10m");
	wait_until_looked(s, 1);
	served_notify(s->served); /* still not ready: waits on */
	wait_until_looked(s, 2);
	assert_int_equal(s->n_told, 0); /* what a pod has may be much, and others wait, too */
	s->ready = true;
	served_notify(s->served);
	assert_int_equal(waiter_end(&w), 200);
	assert_int_equal(s->n_told, 1);
}

static void wait_for_a_pod_that_comes_later(void **state)
{
	struct server *s = *state;
	struct waiter w;

	waiter_start(&w, s, "/v1/pods/default/late/wait?timeout=10m");
	wait_until_looked(s, 1);
	s->late = true;
	served_notify(s->served);
	assert_int_equal(waiter_end(&w), 200);
}

static void wait_answers_504_when_time_is_up(void **state)
{
	cleanup_json json_t *json = NULL;

	assert_int_equal(get(*state, "/v1/pods/default/web/wait?timeout=50ms", &json), 504);
	assert_string_equal(json_string_value(json_object_get(json, "name")), "web");
	assert_true(json_is_false(json_object_get(json, "ready")));
	assert_int_equal(get(*state, "/v1/pods/default/nobody/wait?timeout=50ms", NULL), 504);
}

static void fifty_waits_end_together(void **state)
{
	struct waiter waiters[50];
	struct server *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
		waiter_start(&waiters[i], s,
			     i % 2 ? "/v1/pods/default/web/wait?timeout=5m" : "/v1/pods/" UID_WEB "/wait?timeout=5m");
	wait_until_looked(s, ARRAY_SIZE(waiters));
	assert_int_equal(get(s, "/v1/status", NULL), 200);
	s->ready = true;
	served_notify(s->served);
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
		assert_int_equal(waiter_end(&waiters[i]), 200);
}

/* Answers that come later */

static void wait_until(atomic_int *number, int n)
{
	for (int i = 0; *number < n && i < 20000; i++)
		usleep(1000);
	assert_true(*number >= n);
}

static void an_answer_may_come_later(void **state)
{
	struct server *s = *state;
	struct waiter waiters[50];
	json_t *json = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
		waiter_start(&waiters[i], s, ENV_OF("later"));
	wait_until(&s->n_later, ARRAY_SIZE(waiters));
	assert_int_equal(s->pid, getpid());
	/* they wait for no pod */
	s->ready = true;
	served_notify(s->served);
	usleep(50000);
	assert_int_equal(get(s, "/v1/status", NULL), 200);
	assert_int_equal(s->n_looks, 0);
	assert_int_equal(get(s, ENV_OF("answer"), &json), 200);
	assert_string_equal(json_string_value(json_object_get(json, "container")), "answer");
	json_decref(json);
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
		assert_int_equal(waiter_end(&waiters[i]), 200);
	assert_int_equal(s->n_cancelled, 0);
}

static void a_refusal_may_come_later(void **state)
{
	struct server *s = *state;
	struct waiter w;

	waiter_start(&w, s, ENV_OF("later"));
	wait_until(&s->n_later, 1);
	assert_int_equal(get(s, ENV_OF("refuse"), NULL), 200);
	assert_int_equal(waiter_end(&w), 403);
}

static int begin_later(struct server *s)
{
	static const char request[] = "GET " ENV_OF("later") " HTTP/1.1\r\nHost: x\r\n\r\n";
	int fd = served_connect(s->path);

	assert_true(fd >= 0);
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	return fd;
}

static void who_leaves_is_given_up(void **state)
{
	struct server *s = *state;
	int fds[100];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = begin_later(s);
	wait_until(&s->n_later, ARRAY_SIZE(fds));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	wait_until(&s->n_cancelled, ARRAY_SIZE(fds));
	assert_int_equal(get(s, ENV_OF("answer"), NULL), 200);
}

static void too_many_of_them_are_refused(void **state)
{
	struct server *s = *state;
	int fds[192];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = begin_later(s);
	wait_until(&s->n_later, ARRAY_SIZE(fds));
	assert_int_equal(get(s, ENV_OF("later"), NULL), 503);
	assert_int_equal(get(s, "/v1/status", NULL), 200);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static void the_end_gives_up_those_that_wait(void **state)
{
	struct server *s = *state;
	int fd = begin_later(s);

	wait_until(&s->n_later, 1);
	served_stop(TAKE_PTR(s->served));
	assert_int_equal(s->n_cancelled, 1);
	close(fd);
}

static int begin_wait(struct server *s)
{
	static const char request[] = "GET /v1/pods/default/web/wait?timeout=10m HTTP/1.1\r\nHost: x\r\n\r\n";
	int fd = served_connect(s->path);

	assert_true(fd >= 0);
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	return fd;
}

static void clients_that_leave_free_their_places(void **state)
{
	struct server *s = *state;

	/* many more than may be connected at once */
	for (int round = 0; round < 10; round++) {
		int fds[100], looked = s->n_looks;

		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			fds[i] = begin_wait(s);
		wait_until_looked(s, looked + (int)ARRAY_SIZE(fds));
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			close(fds[i]);
		assert_int_equal(get(s, "/v1/status", NULL), 200);
	}
}

static void too_many_waits_are_refused_and_others_served(void **state)
{
	struct server *s = *state;
	int fds[192];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = begin_wait(s);
	wait_until_looked(s, ARRAY_SIZE(fds));
	assert_int_equal(get(s, "/v1/pods/default/web/wait?timeout=10s", NULL), 503);
	assert_int_equal(get(s, "/v1/status", NULL), 200);
	/* what need not wait takes no place */
	assert_int_equal(get(s, "/v1/pods/default/web/containers/app/mounts", NULL), 200);
	assert_int_equal(get(s, ENV_OF("now"), NULL), 200);
	/* and what has to is given up */
	assert_int_equal(get(s, ENV_OF("later"), NULL), 503);
	assert_int_equal(s->n_cancelled, 1);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static void idle_connections_beyond_the_limit_wait_their_turn(void **state)
{
	struct server *s = *state;
	int fds[256];
	struct waiter w;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = served_connect(s->path);
		assert_true(fds[i] >= 0);
	}
	waiter_start(&w, s, "/v1/status");
	usleep(50000);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	assert_int_equal(waiter_end(&w), 200);
}

static void the_end_with_waits_open_is_clean(void **state)
{
	struct waiter waiters[20];
	struct server *s = *state;
	int fds[20];

	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++) {
		waiter_start(&waiters[i], s, "/v1/pods/default/web/wait?timeout=5m");
		fds[i] = begin_wait(s);
	}
	wait_until_looked(s, 40);
	served_stop(TAKE_PTR(s->served));
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++) {
		assert_int_equal(waiter_end(&waiters[i]), 0);
		close(fds[i]);
	}
}

/* The client against no or strange daemons */

static void client_says_that_nobody_is_there(void **state)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	struct server *s = *state;
	struct err e = ERR_INIT;
	char sentence[256];

	served_stop(TAKE_PTR(s->served));
	assert_int_equal(client_get(s->dir, "/v1/status", PATIENCE_USEC, &reply, &e), -ENOTCONN);
	snprintf(
		sentence, sizeof(sentence),
		"cannot reach secretlet at %s: nobody listens there: it does not run, see `systemctl status secretlet`",
		s->path);
	assert_string_equal(err_text(&e), sentence);

	unlink(s->path);
	assert_int_equal(client_get(s->dir, "/v1/status", PATIENCE_USEC, &reply, &e), -ENOTCONN);
	snprintf(sentence, sizeof(sentence),
		 "cannot reach secretlet at %s: no such file: it does not run (see `systemctl status secretlet`), or "
		 "has another --runtime-dir",
		 s->path);
	assert_string_equal(err_text(&e), sentence);
	assert_null(reply.json);
}

static void client_refuses_a_folder_that_is_too_long(void **state)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	char dir[200] = "/";

	memset(dir + 1, 'd', sizeof(dir) - 2);
	assert_int_equal(client_get(dir, "/v1/status", PATIENCE_USEC, &reply, NULL), -ENAMETOOLONG);
}

struct stranger {
	int listen_fd;
	const char *answer;
};

static void *stranger_thread(void *userdata)
{
	const struct stranger *st = userdata;
	cleanup_fd int fd = accept(st->listen_fd, NULL, NULL);
	char request[4096];

	if (fd >= 0 && recv(fd, request, sizeof(request), 0) > 0)
		send(fd, st->answer, strlen(st->answer), MSG_NOSIGNAL);
	return NULL;
}

static void client_refuses_what_is_no_answer(void **state)
{
	static const struct {
		const char *answer;
		int r;
	} cases[] = {
		{ "", -ECONNRESET },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", -ECONNRESET },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", -EPROTO },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", -EPROTO },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\": 1} x", 0 },
		{ "HTTP/1.1 302 Found\r\nLocation: http://secretlet/\r\nContent-Length: 2\r\n\r\n{}", 0 },
	};
	struct server *s = *state;

	served_stop(TAKE_PTR(s->served));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_client_reply struct client_reply reply = { .status = 0 };
		struct stranger st = { .answer = cases[i].answer };
		pthread_t thread;
		int r;

		st.listen_fd = served_listen(s->path);
		assert_int_equal(pthread_create(&thread, NULL, stranger_thread, &st), 0);
		r = client_get(s->dir, "/v1/status", PATIENCE_USEC, &reply, NULL);
		pthread_join(thread, NULL);
		close(st.listen_fd);
		if (r != cases[i].r)
			fail_msg("answer %zu: %d", i, r);
	}
}

static void client_gives_up_when_nothing_comes(void **state)
{
	cleanup_client_reply struct client_reply reply = { .status = 0 };
	struct server *s = *state;
	int fd;

	served_stop(TAKE_PTR(s->served));
	fd = served_listen(s->path);
	assert_int_equal(client_get(s->dir, "/v1/status", 50 * USEC_PER_MSEC, &reply, NULL), -ETIMEDOUT);
	close(fd);
}

static void client_makes_paths_of_pods_only(void **state)
{
	static const char *const refused[] = { "", "/", "a/", "/a", "a/b/c", "a//b" };
	cleanup_free char *path = NULL, *uid = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		assert_int_equal(client_pod_path(refused[i], "", &path, NULL), -EINVAL);
	assert_null(path);
	assert_int_equal(client_pod_path("a b/c?d", "/wait", &path, NULL), 0);
	assert_string_equal(path, "/v1/pods/a%20b/c%3Fd/wait");
	assert_int_equal(client_pod_path(UID_WEB, "", &uid, NULL), 0);
	assert_string_equal(uid, "/v1/pods/" UID_WEB);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(each_route_answers),
		SERVED(bad_paths_and_parameters_are_refused),
		SERVED(a_path_that_is_too_long_is_refused),
		SERVED(only_get_and_head_are_possible),
		SERVED(bodies_are_ignored_and_bounded),
		SERVED(garbage_does_not_end_the_process),
		SERVED(pages_are_plain_text),
		SERVED(control_characters_leave_as_escapes),
		SERVED(one_connection_takes_many_requests),
		SERVED(another_user_gets_403),
		SERVED(nor_is_the_agents_own_user_answered),
		SERVED(members_of_the_group_are_answered_and_nobody_else),
		SERVED(a_starting_daemon_says_503),
		SERVED(values_are_for_root_alone),
		SERVED(a_pod_may_be_called_like_a_verb),
		SERVED(an_answer_may_come_later),
		SERVED(a_refusal_may_come_later),
		SERVED(who_leaves_is_given_up),
		SERVED(too_many_of_them_are_refused),
		SERVED(the_end_gives_up_those_that_wait),
		SERVED(wait_ends_when_the_pod_is_ready),
		SERVED(wait_for_a_pod_that_comes_later),
		SERVED(wait_answers_504_when_time_is_up),
		SERVED(fifty_waits_end_together),
		SERVED(clients_that_leave_free_their_places),
		SERVED(too_many_waits_are_refused_and_others_served),
		SERVED(idle_connections_beyond_the_limit_wait_their_turn),
		SERVED(the_end_with_waits_open_is_clean),
		SERVED(client_says_that_nobody_is_there),
		SERVED(client_refuses_a_folder_that_is_too_long),
		SERVED(client_refuses_what_is_no_answer),
		SERVED(client_gives_up_when_nothing_comes),
		cmocka_unit_test(client_makes_paths_of_pods_only),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
