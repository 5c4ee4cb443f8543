/* What scale.sh and apiload.sh need of an API server beside the daemon: its objects, their rotation, and the requests that
 * a node makes when it begins, with nothing but libcurl, as the daemon makes them: one multi handle on an epoll loop, HTTP/2
 * with at most 250 streams on a connection, at most 64 lists at the same time, each followed by its watch.
 *
 *   scale put URL FROM TO              Secrets FROM..TO-1 of 1 KiB
 *   scale pods URL NODE SECRETS PODS   pods that share these Secrets out among them, a volume for each; other pods go
 *   scale bare URL NODE SECRETS        the requests of a start; it goes on watching until its stdin ends. bare_heap_bytes is what
 *                                      the library keeps for that
 *   scale storm URL SECRETS PODS ROUND DIR
 *                                      writes each Secret anew, and waits until its volume below DIR (by-name/default)
 *                                      shows it
 *   scale ready SOCKET VOLUMES WATCHES waits until the daemon has so many volumes ready, and until so many watches run
 *
 * bare, storm and ready say what they have measured as one JSON object. SCALE_CACERT, SCALE_CERT and SCALE_KEY are files. */
#include <curl/curl.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "common/b64.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/list.h"
#include "common/str.h"

enum {
	VALUE_LEN = 1024,
	STREAMS_MAX = 250,
	LISTS_MAX = 64,
	WRITES_MAX = 32,
	BODY_MAX = 64 * 1024 * 1024,
	WAIT_SEC = 300,
	SILENCE_SEC = 30,
};

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "scale: %s: %s\n", what, why);
	exit(1);
}

static char *must(char *text)
{
	if (!text)
		die("start", "out of memory");
	return text;
}

static size_t number(const char *text)
{
	uint64_t n = 0;

	if (str_parse_u64(text, 1000000, &n) < 0)
		die(text, "not a number up to a million");
	return (size_t)n;
}

static double msec_since(uint64_t began)
{
	return (double)(clock_monotonic_usec() - began) / 1000;
}

/* ---- requests ---- */

struct request {
	struct list link; /* of those that curl has not been given yet */
	CURL *easy;
	size_t i; /* of which Secret */
	bool watches, has_head, placed;
	struct buf body;
	struct curl_slist *headers;
};

static CURLM *multi;
static int epoll_fd;
static uint64_t due_usec;
static const char *base;
static size_t n_requests, n_opened, n_watching, n_running, n_unplaced;
static struct list queued = LIST_INIT(queued);
static void (*on_done)(struct request *r, int status);

static int on_timer(CURLM *m, long msec, void *userdata)
{
	due_usec = msec < 0 ? USEC_INFINITY : clock_monotonic_usec() + (uint64_t)msec * USEC_PER_MSEC;
	return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *fd_data)
{
	struct epoll_event e = { .data.fd = fd };

	e.events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	if (what == CURL_POLL_REMOVE)
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(epoll_fd, fd_data ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll", strerror(errno));
	curl_multi_assign(multi, fd, what == CURL_POLL_REMOVE ? NULL : &epoll_fd);
	return 0;
}

static curl_socket_t on_open(void *userdata, curlsocktype purpose, struct curl_sockaddr *a)
{
	n_opened++;
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
	struct request *r = userdata;

	if (!r->watches && buf_add(&r->body, data, size * n) < 0)
		return 0;
	return size * n;
}

static size_t on_header(char *data, size_t size, size_t n, void *userdata)
{
	struct request *r = userdata;

	if (size * n <= 2 && !r->has_head) {
		r->has_head = true;
		n_watching += r->watches;
	}
	return size * n;
}

/* It has a connection, maybe a new one: the next one may find room there, too. */
static void place(struct request *r)
{
	n_unplaced -= !r->placed;
	r->placed = true;
}

static int on_placed(void *userdata, char *remote_ip, char *local_ip, int remote_port, int local_port)
{
	place(userdata);
	return CURL_PREREQFUNC_OK;
}

static void request_free(struct request *r)
{
	place(r);
	curl_multi_remove_handle(multi, r->easy);
	curl_easy_cleanup(r->easy);
	curl_slist_free_all(r->headers);
	buf_deinit(&r->body);
	free(r);
}

/* body NULL: GET. target is taken. */
static void request_start(const char *method, char *take_target, const char *body, size_t i, bool watches)
{
	cleanup_free char *target = take_target, *url = must(str_format("%s%s", base, target));
	struct request *r = calloc(1, sizeof(*r));

	if (!r || !(r->easy = curl_easy_init()))
		die("start", "out of memory");
	r->i = i;
	r->watches = watches;
	r->body = BUF_INIT(BODY_MAX);
	curl_easy_setopt(r->easy, CURLOPT_URL, url);
	curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
	curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(r->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(r->easy, CURLOPT_PREREQFUNCTION, on_placed);
	curl_easy_setopt(r->easy, CURLOPT_PREREQDATA, r);
	curl_easy_setopt(r->easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(r->easy, CURLOPT_USERAGENT, "scale");
	/* cppcheck-suppress leakNoVarFunctionCall ; it is not called here */
	curl_easy_setopt(r->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(r->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(r->easy, CURLOPT_HEADERDATA, r);
	if (watches)
		curl_easy_setopt(r->easy, CURLOPT_BUFFERSIZE, 1024L);
	curl_easy_setopt(r->easy, CURLOPT_CAINFO, getenv("SCALE_CACERT"));
	curl_easy_setopt(r->easy, CURLOPT_SSLCERT, getenv("SCALE_CERT"));
	curl_easy_setopt(r->easy, CURLOPT_SSLKEY, getenv("SCALE_KEY"));
	curl_easy_setopt(r->easy, CURLOPT_CUSTOMREQUEST, method);
	if (body) {
		r->headers = curl_slist_append(NULL, "Content-Type: application/json");
		curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
		curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
		curl_easy_setopt(r->easy, CURLOPT_COPYPOSTFIELDS, body);
	}
	n_requests++;
	n_running++;
	list_append(&queued, &r->link);
}

/* One by one, as agent/http.c does and says why. */
static void start_queued(void)
{
	struct request *r;
	int running;

	while (n_unplaced == 0 && (r = list_first(&queued, struct request, link))) {
		list_remove(&r->link);
		n_unplaced++;
		if (curl_multi_add_handle(multi, r->easy) != CURLM_OK)
			die("start", "out of memory");
		curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
}

static void settle(void)
{
	struct request *r;
	long status;
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(multi, &left))) {
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
		if (m->data.result != CURLE_OK)
			die("request", curl_easy_strerror(m->data.result));
		curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
		n_running--;
		on_done(r, (int)status);
		request_free(r);
	}
}

static void turn(void)
{
	struct epoll_event events[64];
	uint64_t now = clock_monotonic_usec();
	int n, running, msec = 100;

	start_queued();
	if (due_usec != USEC_INFINITY)
		msec = due_usec <= now ? 0 : (int)MIN((due_usec - now) / USEC_PER_MSEC + 1, (uint64_t)100);
	n = epoll_wait(epoll_fd, events, ARRAY_SIZE(events), msec);
	for (int i = 0; i < n; i++) {
		int what = (events[i].events & (EPOLLIN | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
			   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
			   (events[i].events & EPOLLERR ? CURL_CSELECT_ERR : 0);

		curl_multi_socket_action(multi, events[i].data.fd, what, &running);
	}
	if (due_usec != USEC_INFINITY && due_usec <= clock_monotonic_usec()) {
		due_usec = USEC_INFINITY;
		curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	settle();
}

static void requests_init(const char *url)
{
	base = url;
	due_usec = USEC_INFINITY;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!multi || epoll_fd < 0)
		die("start", "out of memory");
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(multi, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)STREAMS_MAX);
}

/* ---- objects ---- */

static void expect_written(struct request *r, int status)
{
	if (status / 100 == 2 || (status == 404 && r->i == SIZE_MAX))
		return;
	fprintf(stderr, "%.*s\n", (int)MIN(r->body.len, (size_t)500), r->body.data ? r->body.data : "");
	die("write", "the server refuses");
}

/* Begins with the round, and goes on as other bytes in each Secret. */
static void value_make(size_t i, size_t round, char value[static VALUE_LEN])
{
	uint64_t state = i * 1000003 + round + 1;
	int n = snprintf(value, VALUE_LEN, "round %zu of %zu: ", round, i);

	for (size_t at = (size_t)n; at < VALUE_LEN; at++) {
		state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		value[at] = (char)('a' + (state >> 33) % 26);
	}
}

static char *secret_json(size_t i, size_t round)
{
	cleanup_free char *encoded = NULL;
	char value[VALUE_LEN];

	value_make(i, round, value);
	if (b64_encode(value, sizeof(value), &encoded) < 0)
		die("start", "out of memory");
	return must(str_format("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s%zu\"},"
			       "\"data\":{\"key\":\"%s\"}}",
			       i, encoded));
}

static void write_secret(size_t i, size_t round, bool is_new)
{
	cleanup_free char *body = secret_json(i, round);
	const char *secrets = "/api/v1/namespaces/default/secrets";

	if (is_new)
		request_start("POST", must(strdup(secrets)), body, i, false);
	else
		request_start("PUT", must(str_format("%s/s%zu", secrets, i)), body, i, false);
}

static void write_secrets(size_t from, size_t to, size_t round, bool is_new)
{
	on_done = expect_written;
	for (size_t i = from; i < to;) {
		for (; i < to && n_running < WRITES_MAX; i++)
			write_secret(i, round, is_new);
		turn();
	}
	while (n_running > 0)
		turn();
}

static char *pod_json(const char *node, size_t pod, size_t n_secrets, size_t n_pods)
{
	json_t *volumes = json_array(), *mounts = json_array(), *obj;
	char *text;

	for (size_t i = pod; i < n_secrets; i += n_pods) {
		char name[32], secret[32], path[40];

		snprintf(name, sizeof(name), "v%zu", i);
		snprintf(secret, sizeof(secret), "s%zu", i);
		snprintf(path, sizeof(path), "/v/%s", name);
		json_array_append_new(volumes,
				      json_pack("{s:s, s:{s:s}}", "name", name, "secret", "secretName", secret));
		json_array_append_new(mounts, json_pack("{s:s, s:s}", "name", name, "mountPath", path));
	}
	obj = json_pack("{s:s, s:s, s:{s:o}, s:{s:s, s:s, s:o, s:[{s:s, s:s, s:o}]}}", "apiVersion", "v1", "kind",
			"Pod", "metadata", "name", json_sprintf("p%zu-%zu", n_pods, pod), "spec", "nodeName", node,
			"restartPolicy", "Never", "volumes", volumes, "containers", "name", "main", "image", "none",
			"volumeMounts", mounts);
	text = must(obj ? json_dumps(obj, JSON_COMPACT) : NULL);
	json_decref(obj);
	return text;
}

static void drain_requests(size_t at_most)
{
	while (n_running > at_most)
		turn();
}

static json_t *taken;

static void take_list(struct request *r, int status)
{
	struct err e = ERR_INIT;

	expect_written(r, status);
	if (json_parse(r->body.data, r->body.len, &taken, &e) < 0)
		die("list", err_text(&e));
}

static void delete_pods(void)
{
	static const char pods[] = "/api/v1/namespaces/default/pods";
	json_t *item;
	size_t i;

	on_done = take_list;
	request_start("GET", must(strdup(pods)), NULL, 0, false);
	drain_requests(0);
	on_done = expect_written;
	json_array_foreach (json_object_get(taken, "items"), i, item) {
		const char *name = json_string_value(json_object_get(json_object_get(item, "metadata"), "name"));

		request_start("DELETE", must(str_format("%s/%s?gracePeriodSeconds=0", pods, name)), NULL, SIZE_MAX,
			      false);
		drain_requests(WRITES_MAX);
	}
	drain_requests(0);
	json_decref(taken);
}

static void put_pods(const char *node, size_t n_secrets, size_t n_pods)
{
	delete_pods();
	for (size_t i = 0; i < n_pods; i++) {
		cleanup_free char *body = pod_json(node, i, n_secrets, n_pods);

		request_start("POST", must(strdup("/api/v1/namespaces/default/pods")), body, i, false);
		drain_requests(WRITES_MAX);
	}
	drain_requests(0);
}

/* ---- the requests of a start ---- */

static size_t n_listed, n_begun, n_lists_running;

static void start_watch(struct request *list)
{
	cleanup_json json_t *doc = NULL;
	struct err e = ERR_INIT;
	const char *version;

	/* as the daemon does, which needs what is in it */
	if (json_parse(list->body.data, list->body.len, &doc, &e) < 0)
		die("list", err_text(&e));
	version = json_string_value(json_object_get(json_object_get(doc, "metadata"), "resourceVersion"));
	request_start("GET",
		      must(str_format("/api/v1/namespaces/default/secrets?allowWatchBookmarks=true&fieldSelector="
				      "metadata.name%%3Ds%zu&resourceVersion=%s&timeoutSeconds=1800&watch=true",
				      list->i, version ? version : "0")),
		      NULL, list->i, true);
}

static void bare_done(struct request *r, int status)
{
	if (status != 200) {
		fprintf(stderr, "%.*s\n", (int)MIN(r->body.len, (size_t)500), r->body.data ? r->body.data : "");
		die("list or watch", "the server refuses");
	}
	if (r->i == SIZE_MAX || r->watches)
		return;
	n_listed++;
	n_lists_running--;
	start_watch(r);
}

static void start_lists(size_t n)
{
	for (; n_begun < n && n_lists_running < LISTS_MAX; n_begun++, n_lists_running++)
		request_start("GET",
			      must(str_format("/api/v1/namespaces/default/secrets?fieldSelector=metadata.name%%3Ds%zu"
					      "&limit=500&resourceVersion=0",
					      n_begun)),
			      NULL, n_begun, false);
}

static void bare(const char *node, size_t n)
{
	uint64_t began = clock_monotonic_usec();
	size_t heap = mallinfo2().uordblks;
	double listed = 0, watching;
	struct rusage u;
	char end;

	on_done = bare_done;
	request_start(
		"GET",
		must(str_format("/api/v1/pods?fieldSelector=spec.nodeName%%3D%s&limit=500&resourceVersion=0", node)),
		NULL, SIZE_MAX, false);
	drain_requests(0);
	while (n_watching < n) {
		start_lists(n);
		turn();
		if (n_listed == n && listed == 0)
			listed = msec_since(began);
		if (msec_since(began) > WAIT_SEC * 1000.0)
			die("bare", "not all was answered within 300 s");
	}
	watching = msec_since(began);
	getrusage(RUSAGE_SELF, &u);
	printf("{\"bare_listed_ms\":%.1f,\"bare_watching_ms\":%.1f,\"bare_requests\":%zu,\"bare_connections\":%zu,"
	       "\"bare_heap_bytes\":%zu,\"bare_cpu_ms\":%.1f}\n",
	       listed, watching, n_requests, n_opened, mallinfo2().uordblks - heap,
	       (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
		       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3);
	fflush(stdout);
	while (read(STDIN_FILENO, &end, 1) > 0)
		;
	_exit(0); /* the watches end with the process */
}

/* ---- a rotation storm ---- */

static bool shows(int dir, size_t i, size_t n_pods, size_t round)
{
	cleanup_free char *path =
		must(str_format("p%zu-%zu/volumes/kubernetes.io~secret/v%zu/key", n_pods, i % n_pods, i));
	char expected[VALUE_LEN], bytes[VALUE_LEN + 1];
	cleanup_fd int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(path, strerror(errno));
	value_make(i, round, expected);
	return read(fd, bytes, sizeof(bytes)) == VALUE_LEN && memcmp(bytes, expected, VALUE_LEN) == 0;
}

static void storm(size_t n, size_t n_pods, size_t round, const char *path)
{
	uint64_t began = clock_monotonic_usec();
	cleanup_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	double written;

	if (dir < 0)
		die(path, strerror(errno));
	write_secrets(0, n, round, false);
	written = msec_since(began);
	/* most are there by now: so the reads are few */
	for (size_t i = 0; i < n; i++) {
		while (!shows(dir, i, n_pods, round)) {
			if (msec_since(began) > WAIT_SEC * 1000.0)
				die("storm", "a volume does not show what was written");
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		}
	}
	printf("{\"storm_written_ms\":%.1f,\"storm_shown_ms\":%.1f}\n", written, msec_since(began));
}

/* ---- the daemon ---- */

static json_int_t count_of(const json_t *status, const char *what, const char *which)
{
	return json_integer_value(json_object_get(json_object_get(status, what), which));
}

static size_t keep_body(char *data, size_t size, size_t n, void *userdata)
{
	return buf_add(userdata, data, size * n) == 0 ? size * n : 0;
}

static json_t *ask_status(CURL *c)
{
	struct buf body = BUF_INIT(BODY_MAX);
	json_t *status = NULL;

	curl_easy_setopt(c, CURLOPT_WRITEDATA, &body);
	if (curl_easy_perform(c) != CURLE_OK || json_parse(body.data, body.len, &status, NULL) < 0)
		status = NULL;
	buf_deinit(&body);
	return status;
}

static void ready(const char *socket, json_int_t volumes, json_int_t watches)
{
	uint64_t began = clock_monotonic_usec();
	CURL *c = curl_easy_init();
	double ready_ms = 0;

	if (!c)
		die("start", "out of memory");
	curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, socket);
	curl_easy_setopt(c, CURLOPT_URL, "http://localhost/v1/status");
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep_body);
	for (;;) {
		cleanup_json json_t *status = ask_status(c);

		if (ready_ms == 0 && count_of(status, "volumes", "ready") >= volumes)
			ready_ms = msec_since(began);
		if (ready_ms > 0 && count_of(status, "source", "watches") >= watches)
			break;
		if (!status && msec_since(began) > SILENCE_SEC * 1000.0)
			die("ready", "the daemon does not answer");
		if (msec_since(began) > WAIT_SEC * 1000.0)
			die("ready", "not within 300 s");
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	printf("{\"ready_ms\":%.1f,\"watching_ms\":%.1f}\n", ready_ms, msec_since(began));
	curl_easy_cleanup(c);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (str_eq(what, "ready") && argc == 5) {
		ready(argv[2], (json_int_t)number(argv[3]), (json_int_t)number(argv[4]));
		return 0;
	}
	if (argc < 5)
		die("usage", "see the head of test/bench/scale.c");
	requests_init(argv[2]);
	if (str_eq(what, "put") && argc == 5)
		write_secrets(number(argv[3]), number(argv[4]), 0, true);
	else if (str_eq(what, "pods") && argc == 6)
		put_pods(argv[3], number(argv[4]), number(argv[5]));
	else if (str_eq(what, "bare") && argc == 5)
		bare(argv[3], number(argv[4]));
	else if (str_eq(what, "storm") && argc == 7)
		storm(number(argv[3]), number(argv[4]), number(argv[5]), argv[6]);
	else
		die("usage", "see the head of test/bench/scale.c");
	return 0;
}
