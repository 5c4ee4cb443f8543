/* Connections and credentials of the API server's source: what happens to running watches when certificates rotate, when
 * connections die, behind proxies and over HTTP/2. It takes long under ASan. */
#include "agent/source_api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/str.h"
#include "test/apiserver/apiserver.h"
#include "test/lib/certs.h"
#include "test/lib/kubeconfig.h"
#include "test/lib/patience.h"
#include "test/lib/relay.h"
#include "test/lib/skip.h"

#define PERIOD_USEC (20 * USEC_PER_MSEC)
#define SECRETS_MAX 320

/* What was told of the Secret "s<i>". */
struct told {
	char value[32];
	unsigned n_failed;
	char failure[ERR_TEXT_MAX];
};

/* Opens as `real` does, but only when it is let go on. */
struct slow_files {
	struct files files;
	struct files *real;
	unsigned n_tokens; /* opened */
	bool hold;
	char *path; /* that is being held back; NULL: none */
	files_open_fn fn;
	void *userdata;
};

struct rig {
	char dir[64];
	struct apiserver *server;
	struct relay *relay;
	struct loop *loop;
	struct slow_files slow;
	struct files *files;
	struct source *source;
	struct told secrets[SECRETS_MAX];
	unsigned n_synced, n_failed, n_pods;
	pid_t nghttpx; /* and its group's; 0: none */
	unsigned streams; /* that it allows on each connection; 0: 100 */
	uint64_t ping_usec, credentials_usec;
	int log, stderr_copy;
	size_t seen; /* of the log */
};

/* ---- the sink ---- */

static struct told *told(struct rig *t, const char *name)
{
	uint64_t i = SECRETS_MAX;

	assert_int_equal(str_parse_u64(name + 1, SECRETS_MAX - 1, &i), 0);
	return &t->secrets[i];
}

static void on_secret_changed(void *userdata, enum object_kind kind, const char *ns, const char *name,
			      struct secret *secret)
{
	const struct secret_key *k = secret ? secret_find_key(secret, "k") : NULL;
	struct told *s;

	if (kind == OBJECT_TOKEN)
		return;
	s = told(userdata, name);
	s->failure[0] = '\0';
	snprintf(s->value, sizeof(s->value), "%.*s", k ? (int)k->value.len : 0,
		 k ? (const char *)secspan_data(&k->value) : "");
}

static void on_secret_failed(void *userdata, enum object_kind kind, const char *ns, const char *name,
			     const struct err *e)
{
	struct rig *t = userdata;
	struct told *s;

	t->n_failed++;
	if (kind == OBJECT_TOKEN)
		return;
	s = told(userdata, name);
	s->n_failed++;
	snprintf(s->failure, sizeof(s->failure), "%s", err_text(e));
}

static void on_pod_changed(void *userdata, struct pod *pod)
{
	((struct rig *)userdata)->n_pods++;
}

static void on_pod_removed(void *userdata, const char *uid)
{
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

/* ---- files ---- */

static struct slow_files *slow_of(struct files *f)
{
	return container_of(f, struct slow_files, files);
}

static int slow_allow(struct files *f, const char *path)
{
	return files_allow_file(slow_of(f)->real, path);
}

static int slow_open(struct files *f, const char *path, files_open_fn fn, void *userdata)
{
	struct slow_files *s = slow_of(f);

	s->n_tokens += str_eq(strrchr(path, '/'), "/token");
	if (!s->hold)
		return files_open(s->real, path, fn, userdata);
	assert_null(s->path);
	s->path = strdup(path);
	s->fn = fn;
	s->userdata = userdata;
	return 0;
}

static void slow_cancel(struct files *f, void *userdata)
{
	free(TAKE_PTR(slow_of(f)->path));
	files_cancel(slow_of(f)->real, userdata);
}

/* Opens what is held back; the next one is held back again. */
static void slow_step(struct slow_files *s)
{
	cleanup_free char *path = TAKE_PTR(s->path);

	assert_int_equal(files_open(s->real, path, s->fn, s->userdata), 0);
}

static void slow_go_on(struct slow_files *s)
{
	s->hold = false;
	slow_step(s);
}

static const struct files_vtable SLOW = { .allow_file = slow_allow, .open = slow_open, .cancel = slow_cancel };

/* ---- the rig ---- */

static char *path_in(const struct rig *t, const char *name)
{
	char *path = file_join(t->dir, name);

	assert_non_null(path);
	return path;
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

static void write_file(const struct rig *t, const char *name, const char *text)
{
	cleanup_free char *path = path_in(t, name);
	struct err e = ERR_INIT;

	if (file_write_atomic(path, text, strlen(text), 0600, &e) < 0)
		fail_msg("%s", err_text(&e));
}

/* `to` gets what is in a, and then what is in b (unless it is NULL). */
static void install(const struct rig *t, const char *to, const char *a, const char *b)
{
	cleanup_free char *first = read_text(t, a), *second = b ? read_text(t, b) : strdup(""), *text = NULL;

	text = str_format("%s%s", first, second);
	write_file(t, to, text);
}

static void make_link(const struct rig *t, const char *name, const char *target)
{
	cleanup_free char *path = path_in(t, name), *next = path_in(t, "next");

	assert_int_equal(symlink(target, next), 0);
	assert_int_equal(rename(next, path), 0);
}

static int setup(void **state)
{
	struct rig *t = calloc(1, sizeof(*t));
	struct err e = ERR_INIT;

	snprintf(t->dir, sizeof(t->dir), "/tmp/test_connections.XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(files_direct_new(t->loop, &t->slow.real), 0);
	t->slow.files.vtable = &SLOW;
	t->files = &t->slow.files;
	if (certs_make(t->dir, &e) < 0)
		fail_msg("%s", err_text(&e));
	t->log = -1;
	*state = t;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void log_end(struct rig *t)
{
	if (t->log < 0)
		return;
	log_set_level(LOG_LEVEL_ERROR);
	dup2(t->stderr_copy, STDERR_FILENO);
	t->stderr_copy = close_fd(t->stderr_copy);
	t->log = close_fd(t->log);
}

static void stop_nghttpx(struct rig *t)
{
	if (t->nghttpx <= 0)
		return;
	kill(-t->nghttpx, SIGCONT);
	kill(-t->nghttpx, SIGKILL);
	waitpid(t->nghttpx, NULL, 0);
	t->nghttpx = 0;
}

static int teardown(void **state)
{
	struct rig *t = *state;

	log_end(t);
	source_free(t->source);
	relay_free(t->relay);
	stop_nghttpx(t);
	if (t->server)
		apiserver_stop(t->server);
	files_free(t->slow.real);
	loop_free(t->loop);
	nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(t);
	return 0;
}

/* The log goes to a file from here on. */
static void log_begin(struct rig *t)
{
	cleanup_free char *path = path_in(t, "log");

	t->log = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	t->stderr_copy = dup(STDERR_FILENO);
	assert_true(t->log >= 0 && t->stderr_copy >= 0 && dup2(t->log, STDERR_FILENO) >= 0);
	log_set_level(LOG_LEVEL_INFO);
}

static size_t log_count(struct rig *t, const char *words)
{
	cleanup_free char *text = read_text(t, "log");
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, words)); p++)
		n++;
	return n;
}

static void serve(struct rig *t, uint16_t port, const char *cert, const char *key, bool with_client_ca,
		  const struct apiserver_options *more)
{
	cleanup_free char *cert_text = read_text(t, cert), *key_text = read_text(t, key), *ca = read_text(t, "ca.crt");
	struct apiserver_options o = *more;
	struct err e = ERR_INIT;

	o.port = port;
	o.cert = cert_text;
	o.key = key_text;
	o.client_ca = with_client_ca ? ca : NULL;
	if (apiserver_start(&o, &t->server, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static void write_kubeconfig(const struct rig *t, const char *url, const char *cluster, const char *user)
{
	cleanup_free char *path = path_in(t, "kubeconfig");

	kubeconfig_write(path, url, cluster, user);
}

static void start_source(struct rig *t)
{
	cleanup_free char *path = path_in(t, "kubeconfig");
	const struct source_api_options o = {
		.kubeconfig = path,
		.node_name = "node-1",
		.credentials_usec = t->credentials_usec ? t->credentials_usec : PERIOD_USEC,
		.ping_usec = t->ping_usec,
	};
	struct err e = ERR_INIT;

	if (source_api_new(t->loop, t->files, &o, &SINK, t, &t->source, &e) < 0 || source_start(t->source, &e) < 0)
		fail_msg("%s", err_text(&e));
}

/* Then another may be started; a list of files is sealed when its source has started. */
static void end_source(struct rig *t)
{
	source_free(TAKE_PTR(t->source));
	files_free(TAKE_PTR(t->slow.real));
	assert_int_equal(files_direct_new(t->loop, &t->slow.real), 0);
	t->n_synced = 0;
}

static struct source_health health(const struct rig *t)
{
	struct source_health h;

	source_health(t->source, &h);
	return h;
}

static void put_secret(struct rig *t, unsigned i, const char *value)
{
	cleanup_free char *text =
		str_format("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"ns\","
			   "\"name\":\"s%u\"},\"stringData\":{\"k\":\"%s\"}}",
			   i, value);

	apiserver_put_text(t->server, text);
}

static void want_one(struct rig *t, unsigned i)
{
	char name[16];

	put_secret(t, i, "one");
	snprintf(name, sizeof(name), "s%u", i);
	assert_int_equal(source_want(t->source, OBJECT_SECRET, "ns", name), 0);
}

static void want(struct rig *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		want_one(t, i);
}

static void put_all(struct rig *t, unsigned n, const char *value)
{
	for (unsigned i = 0; i < n; i++)
		put_secret(t, i, value);
}

static bool have_all(struct rig *t, unsigned n, const char *value)
{
	for (unsigned i = 0; i < n; i++)
		if (!str_eq(t->secrets[i].value, value))
			return false;
	return true;
}

/* A relay before a server that asks for client certificates, and a source behind it that follows `n` Secrets. */
static void start_with_certificate(struct rig *t, unsigned n)
{
	cleanup_free char *url = NULL;

	serve(t, 0, "server.crt", "server.key", true, &(struct apiserver_options){ .port = 0 });
	t->relay = relay_new(t->loop, &(struct relay_options){ .target_port = apiserver_port(t->server) });
	url = str_format("https://127.0.0.1:%u", relay_port(t->relay));
	install(t, "my-ca.crt", "ca.crt", NULL);
	install(t, "my.crt", "node-1.crt", NULL);
	install(t, "my.key", "node-1.key", NULL);
	write_kubeconfig(t, url, ", certificate-authority: my-ca.crt",
			 "client-certificate: my.crt, client-key: my.key");
	start_source(t);
	want(t, n);
	eventually(t, have_all(t, n, "one") && health(t).n_watches == n + 1);
}

/* ---- rotation ---- */

static void rotated_certificate_moves_all_watches_and_loses_nothing(void **state)
{
	struct rig *t = *state;
	struct apiserver_counts before, after;
	size_t n_accepted;

	start_with_certificate(t, 20);
	before = apiserver_counts(t->server);
	n_accepted = relay_n_accepted(t->relay);
	install(t, "my.crt", "admin.crt", NULL);
	install(t, "my.key", "admin.key", NULL);
	eventually(t, relay_n_accepted(t->relay) > n_accepted);
	put_all(t, 20, "two");
	/* HTTP/1.1: one connection each, and each is a new one in the end */
	eventually(t, relay_n_accepted(t->relay) >= n_accepted + 21 && relay_n_open(t->relay) <= 21 &&
			      health(t).n_watches == 21);
	put_all(t, 20, "three");
	eventually(t, have_all(t, 20, "three"));
	after = apiserver_counts(t->server);
	assert_int_equal(after.n_list, before.n_list);
	assert_int_equal(after.n_watch, before.n_watch + 21);
	assert_int_equal(after.n_unauthorised, before.n_unauthorised);
	assert_int_equal(t->n_failed, 0);
	assert_string_equal(health(t).last_error, "");
}

/* Takes connections and never says a word. */
static int listen_silently(uint16_t *ret_port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(sin);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 128), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	*ret_port = ntohs(sin.sin_port);
	return fd;
}

static void rotated_certificate_moves_the_watches_a_few_at_a_time(void **state)
{
	struct rig *t = *state;
	cleanup_fd int silent = -1;
	size_t n_accepted;
	uint64_t n_watch;
	uint16_t port;

	start_with_certificate(t, 60);
	silent = listen_silently(&port);
	n_watch = apiserver_counts(t->server).n_watch;
	n_accepted = relay_n_accepted(t->relay);
	install(t, "my.crt", "admin.crt", NULL);
	install(t, "my.key", "admin.key", NULL);
	/* the first is let in; those that follow it do not come back */
	eventually(t, relay_n_accepted(t->relay) > n_accepted);
	relay_set_target(t->relay, port);
	eventually(t, apiserver_counts(t->server).n_watch > n_watch);
	/* twenty on the average */
	run_for(t->loop, USEC_PER_SEC);
	assert_in_range(health(t).n_watches, 25, 60);
}

static void half_of_the_pair_waits_for_the_other(void **state)
{
	cleanup_free char *key = path_in(*state, "my.key");
	struct rig *t = *state;

	start_with_certificate(t, 2);
	log_begin(t);
	assert_int_equal(unlink(key), 0);
	install(t, "my.crt", "admin.crt", NULL);
	eventually(t, log_count(t, "my.key: No such file or directory") > 0);
	run_for(t->loop, 5 * PERIOD_USEC);
	assert_int_equal(log_count(t, "stays in use"), 1);
	install(t, "my.key", "admin.key", NULL);
	eventually(t, log_count(t, "new client certificate in use") == 1);
	assert_int_equal(log_count(t, "stays in use"), 1);
}

/* The certificate for the same key, or the key as somebody else would write it. */
static void either_half_of_the_pair_may_be_written_anew(void **state)
{
	static const char *const HALVES[][2] = { { "my.crt", "node-1.crt" }, { "my.key", "node-1.key" } };
	struct rig *t = *state;

	start_with_certificate(t, 2);
	for (size_t i = 0; i < ARRAY_SIZE(HALVES); i++) {
		cleanup_free char *text = read_text(t, HALVES[i][1]), *anew = str_format("anew\n%s", text);
		size_t n_accepted = relay_n_accepted(t->relay);

		write_file(t, HALVES[i][0], anew);
		eventually(t, relay_n_accepted(t->relay) >= n_accepted + 3 && health(t).n_watches == 3);
	}
	assert_string_equal(health(t).last_error, "");
}

static void ca_that_is_away_stays_in_use(void **state)
{
	static const char *const NEXT[][2] = { { "admin.crt", "admin.key" }, { "node-1.crt", "node-1.key" } };
	cleanup_free char *ca = path_in(*state, "my-ca.crt");
	struct rig *t = *state;
	size_t n_accepted;

	start_with_certificate(t, 2);
	assert_int_equal(unlink(ca), 0);
	for (size_t i = 0; i < ARRAY_SIZE(NEXT); i++) {
		n_accepted = relay_n_accepted(t->relay);
		install(t, "my.crt", NEXT[i][0], NULL);
		install(t, "my.key", NEXT[i][1], NULL);
		eventually(t, relay_n_accepted(t->relay) >= n_accepted + 3 && health(t).n_watches == 3);
	}
	assert_string_equal(health(t).last_error, "");
}

static void linked_file_with_certificate_and_key_is_followed(void **state)
{
	cleanup_free char *url = NULL;
	struct rig *t = *state;

	serve(t, 0, "server.crt", "server.key", true, &(struct apiserver_options){ .node_authorizer = true });
	install(t, "kubelet-client-1.pem", "node-2.crt", "node-2.key");
	install(t, "kubelet-client-2.pem", "node-1.crt", "node-1.key");
	make_link(t, "kubelet-client-current.pem", "kubelet-client-1.pem");
	write_kubeconfig(t, apiserver_url(t->server), ", certificate-authority: ca.crt",
			 "client-certificate: kubelet-client-current.pem, client-key: kubelet-client-current.pem");
	start_source(t);
	/* not the pods of this node, says the server */
	eventually(t, *health(t).last_error);
	assert_int_equal(t->n_synced, 0);
	make_link(t, "kubelet-client-current.pem", "kubelet-client-2.pem");
	eventually(t, t->n_synced == 1);
}

static void file_with_certificate_and_key_may_be_exchanged_while_it_is_read(void **state)
{
	struct rig *t = *state;

	serve(t, 0, "server.crt", "server.key", true, &(struct apiserver_options){ .port = 0 });
	install(t, "my.pem", "node-1.crt", "node-1.key");
	write_kubeconfig(t, apiserver_url(t->server), ", insecure-skip-tls-verify: true",
			 "client-certificate: my.pem, client-key: my.pem");
	start_source(t);
	eventually(t, t->n_synced == 1);
	log_begin(t);
	t->slow.hold = true;
	eventually(t, t->slow.path);
	slow_step(&t->slow);
	eventually(t, t->slow.path);
	install(t, "my.pem", "admin.crt", "admin.key");
	slow_go_on(&t->slow);
	eventually(t, log_count(t, "new client certificate in use") == 1);
	assert_int_equal(log_count(t, "stays in use"), 0);
}

static void pair_that_does_not_match_keeps_the_old_one_with_one_line(void **state)
{
	static const struct {
		const char *cert, *key, *words;
	} CASES[] = {
		{ "admin.crt", "node-1.key", "the key is not the certificate's" },
		{ "node-1.key", "node-1.key", "my.crt is not a PEM certificate" },
		{ "node-1.crt", "node-1.crt", "my.key is not a PEM private key" },
		{ "half.crt", "node-1.key", "client-certificate: " },
		{ "empty", "node-1.key", "my.crt is not a PEM certificate" },
	};
	cleanup_free char *half = NULL;
	struct rig *t = *state;
	struct apiserver_counts before;
	size_t n_accepted;

	start_with_certificate(t, 2);
	half = read_text(t, "admin.crt");
	half[strlen(half) / 2] = '\0';
	write_file(t, "half.crt", half);
	write_file(t, "empty", "");
	before = apiserver_counts(t->server);
	n_accepted = relay_n_accepted(t->relay);
	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		log_begin(t);
		assert_int_equal(ftruncate(t->log, 0), 0);
		install(t, "my.key", CASES[i].key, NULL);
		install(t, "my.crt", CASES[i].cert, NULL);
		eventually(t, log_count(t, CASES[i].words) > 0);
		run_for(t->loop, 5 * PERIOD_USEC);
		assert_int_equal(log_count(t, "stays in use"), 1);
		assert_int_equal(log_count(t, "BEGIN"), 0);
		/* good again: the same as at the beginning, so nothing happens */
		install(t, "my.crt", "node-1.crt", NULL);
		install(t, "my.key", "node-1.key", NULL);
		run_for(t->loop, 5 * PERIOD_USEC);
		log_end(t);
	}
	put_all(t, 2, "two");
	eventually(t, have_all(t, 2, "two"));
	assert_int_equal(relay_n_accepted(t->relay), n_accepted);
	assert_int_equal(apiserver_counts(t->server).n_watch, before.n_watch);
}

static void certificate_that_the_server_refuses_costs_one_watch_only(void **state)
{
	struct rig *t = *state;

	start_with_certificate(t, 5);
	install(t, "my.crt", "stranger.crt", NULL);
	install(t, "my.key", "stranger.key", NULL);
	eventually(t, health(t).n_watches == 5);
	run_for(t->loop, USEC_PER_SEC);
	assert_int_equal(health(t).n_watches, 5);
	install(t, "my.crt", "admin.crt", NULL);
	install(t, "my.key", "admin.key", NULL);
	eventually(t, health(t).n_watches == 6 && relay_n_open(t->relay) == 6);
	put_all(t, 5, "two");
	eventually(t, have_all(t, 5, "two"));
}

static void rotated_ca_is_taken_before_the_server_has_changed(void **state)
{
	struct rig *t = *state;
	size_t n_accepted;
	uint16_t port;

	serve(t, 0, "server.crt", "server.key", false, &(struct apiserver_options){ .port = 0 });
	port = apiserver_port(t->server);
	t->relay = relay_new(t->loop, &(struct relay_options){ .target_port = port });
	install(t, "my-ca.crt", "ca.crt", NULL);
	{
		cleanup_free char *url = str_format("https://127.0.0.1:%u", relay_port(t->relay));

		write_kubeconfig(t, url, ", certificate-authority: my-ca.crt", "");
	}
	start_source(t);
	want(t, 3);
	eventually(t, have_all(t, 3, "one") && health(t).n_watches == 4);
	n_accepted = relay_n_accepted(t->relay);
	install(t, "my-ca.crt", "ca.crt", "other-ca.crt");
	eventually(t, relay_n_accepted(t->relay) >= n_accepted + 4 && health(t).n_watches == 4);
	assert_int_equal(t->n_failed, 0);
	apiserver_stop(t->server);
	serve(t, port, "stranger.crt", "stranger.key", false, &(struct apiserver_options){ .port = 0 });
	put_all(t, 3, "two");
	eventually(t, have_all(t, 3, "two"));
}

static void ca_that_is_none_keeps_the_old_one(void **state)
{
	struct rig *t = *state;

	start_with_certificate(t, 1);
	log_begin(t);
	write_file(t, "my-ca.crt", "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n");
	eventually(t, log_count(t, "certificate-authority: ") == 1);
	run_for(t->loop, 5 * PERIOD_USEC);
	assert_int_equal(log_count(t, "certificate-authority: "), 1);
	assert_int_equal(log_count(t, "in use"), 1);
	install(t, "my-ca.crt", "ca.crt", "other-ca.crt");
	eventually(t, log_count(t, "new certificate authority in use") == 1);
	log_end(t);
	put_all(t, 1, "two");
	eventually(t, have_all(t, 1, "two"));
}

static void token_rotates_without_a_refused_request(void **state)
{
	struct rig *t = *state;
	uint16_t port;

	serve(t, 0, "server.crt", "server.key", false, &(struct apiserver_options){ .token = "one" });
	port = apiserver_port(t->server);
	write_file(t, "token", "one\n");
	write_kubeconfig(t, apiserver_url(t->server), ", certificate-authority: ca.crt", "tokenFile: token");
	start_source(t);
	want(t, 1);
	eventually(t, have_all(t, 1, "one") && health(t).n_watches == 2);
	log_begin(t);
	write_file(t, "token", "two\n");
	eventually(t, log_count(t, "new token in use") == 1);
	run_for(t->loop, 5 * PERIOD_USEC);
	assert_int_equal(log_count(t, "new token in use"), 1);
	log_end(t);
	apiserver_stop(t->server);
	serve(t, port, "server.crt", "server.key", false, &(struct apiserver_options){ .token = "two" });
	put_all(t, 1, "two");
	eventually(t, have_all(t, 1, "two"));
	assert_int_equal(apiserver_counts(t->server).n_unauthorised, 0);
}

static size_t count_requests(struct rig *t, const char *words)
{
	cleanup_free char *request = NULL;
	size_t n = 0;

	for (size_t i = 0; (request = apiserver_request(t->server, i)); i++) {
		n += strstr(request, words) != NULL;
		free(TAKE_PTR(request));
	}
	return n;
}

/* A token in a file that nothing but a 401 makes anybody read, and `n` Secrets. */
static void start_with_token(struct rig *t, unsigned n)
{
	t->credentials_usec = 3600 * USEC_PER_SEC;
	serve(t, 0, "server.crt", "server.key", false, &(struct apiserver_options){ .token = "one" });
	write_file(t, "token", "one\n");
	write_kubeconfig(t, apiserver_url(t->server), ", certificate-authority: ca.crt", "tokenFile: token");
	start_source(t);
	want(t, n);
	eventually(t, have_all(t, n, "one") && health(t).n_watches == n + 1);
	/* asked once; refused later, it would have the file read before anybody else */
	eventually(t, count_requests(t, "/nodes/node-1") > 0);
}

static void refused_token_is_read_anew_and_nobody_hears_of_it(void **state)
{
	struct apiserver_counts before, after;
	struct rig *t = *state;

	start_with_token(t, 20);
	before = apiserver_counts(t->server);
	log_begin(t);
	write_file(t, "token", "two\n");
	apiserver_set_token(t->server, "two");
	reach(t, apiserver_end_watches(t->server, false));
	put_all(t, 20, "two");
	eventually(t, have_all(t, 20, "two") && health(t).n_watches == 21);
	after = apiserver_counts(t->server);
	assert_int_equal(t->n_failed, 0);
	assert_string_equal(health(t).last_error, "");
	assert_in_range(after.n_unauthorised - before.n_unauthorised, 1, 21);
	assert_int_equal(after.n_watch - before.n_watch, 21);
	assert_int_equal(log_count(t, "new token in use"), 1);
	assert_int_equal(log_count(t, "Unauthorized"), 0);
}

static void request_is_repeated_only_once(void **state)
{
	struct rig *t = *state;
	size_t n;

	start_with_token(t, 0);
	n = count_requests(t, "/pods?");
	write_file(t, "token", "two\n");
	apiserver_set_token(t->server, "three");
	reach(t, apiserver_end_watches(t->server, false));
	eventually(t, *health(t).last_error);
	assert_int_equal(count_requests(t, "/pods?"), n + 2);
	assert_string_equal(health(t).last_error, "Unauthorized");
	/* each try that follows makes the files be read again, though the failure is the same */
	write_file(t, "token", "three\n");
	eventually(t, health(t).n_watches == 1 && !*health(t).last_error);
}

static void token_that_is_the_same_is_not_tried_again_at_once(void **state)
{
	struct rig *t = *state;
	size_t n;

	start_with_token(t, 0);
	n = count_requests(t, "/pods?");
	apiserver_set_token(t->server, "two");
	reach(t, apiserver_end_watches(t->server, false));
	eventually(t, *health(t).last_error);
	assert_int_equal(count_requests(t, "/pods?"), n + 1);
	assert_string_equal(health(t).last_error, "Unauthorized");
}

static void files_are_read_once_a_second_at_most_however_much_is_refused(void **state)
{
	struct rig *t = *state;
	uint64_t begin;

	start_with_token(t, 20);
	assert_int_equal(t->slow.n_tokens, 0);
	apiserver_set_token(t->server, "two");
	begin = clock_monotonic_usec();
	/* each time anew, whatever the watches' delays have come to */
	for (unsigned i = 20; i < 40; i++) {
		want_one(t, i);
		run_for(t->loop, 40 * USEC_PER_MSEC);
	}
	eventually(t, apiserver_counts(t->server).n_unauthorised >= 20);
	assert_in_range(t->slow.n_tokens, 1, 1 + (clock_monotonic_usec() - begin) / USEC_PER_SEC);
}

static void file_that_was_not_usable_is_read_again_soon(void **state)
{
	struct rig *t = *state;

	start_with_token(t, 0);
	log_begin(t);
	write_file(t, "token", "\n");
	apiserver_set_token(t->server, "two");
	reach(t, apiserver_end_watches(t->server, false));
	eventually(t, log_count(t, "the token is empty") == 1);
	/* refused no more: nobody but the clock has it read */
	apiserver_set_token(t->server, "one");
	eventually(t, health(t).n_watches == 1);
	write_file(t, "token", "two\n");
	eventually(t, log_count(t, "new token in use") == 1);
}

/* The files are read for nobody then, or for the others. */
static void refused_request_may_be_given_up_meanwhile(void **state)
{
	struct rig *t = *state;
	uint64_t n;

	start_with_token(t, 2);
	t->slow.hold = true;
	n = apiserver_counts(t->server).n_watch;
	write_file(t, "token", "two\n");
	apiserver_set_token(t->server, "two");
	reach(t, apiserver_end_watches(t->server, false));
	eventually(t, apiserver_counts(t->server).n_unauthorised >= 3 && t->slow.path);
	run_for(t->loop, 100 * USEC_PER_MSEC);
	source_unwant(t->source, OBJECT_SECRET, "ns", "s0");
	run_for(t->loop, 20 * USEC_PER_MSEC);
	slow_go_on(&t->slow);
	eventually(t, health(t).n_watches == 2);
	run_for(t->loop, 100 * USEC_PER_MSEC);
	assert_int_equal(apiserver_counts(t->server).n_watch, n + 2);
	assert_int_equal(t->n_failed, 0);
}

static void source_may_end_while_refused_requests_wait(void **state)
{
	struct rig *t = *state;

	start_with_token(t, 2);
	t->slow.hold = true;
	apiserver_set_token(t->server, "two");
	reach(t, apiserver_end_watches(t->server, false));
	eventually(t, apiserver_counts(t->server).n_unauthorised >= 3 && t->slow.path);
	source_free(TAKE_PTR(t->source));
	assert_int_equal(t->n_failed, 0);
}

static void pods_credentials_open_the_door_and_rotate(void **state)
{
	const struct source_api_options o = { .node_name = "node-1",
					      .credentials_usec = PERIOD_USEC,
					      .service_account_dir = ((struct rig *)*state)->dir };
	struct rig *t = *state;
	struct err e = ERR_INIT;
	char port[8];
	uint16_t n;

	serve(t, 0, "server.crt", "server.key", false, &(struct apiserver_options){ .token = "one" });
	n = apiserver_port(t->server);
	write_file(t, "token", "one\n");
	snprintf(port, sizeof(port), "%u", n);
	setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1", 1);
	setenv("KUBERNETES_SERVICE_PORT", port, 1);
	if (source_api_new(t->loop, t->files, &o, &SINK, t, &t->source, &e) < 0 || source_start(t->source, &e) < 0)
		fail_msg("%s", err_text(&e));
	unsetenv("KUBERNETES_SERVICE_HOST");
	unsetenv("KUBERNETES_SERVICE_PORT");
	eventually(t, t->n_synced == 1);
	apiserver_stop(t->server);
	write_file(t, "token", "two\n");
	serve(t, n, "server.crt", "server.key", false, &(struct apiserver_options){ .token = "two" });
	want(t, 1);
	eventually(t, have_all(t, 1, "one"));
}

/* ---- proxies, addresses ---- */

/* A source whose server can be reached by nothing but the relay. */
static void start_through(struct rig *t, enum relay_kind kind, const char *server, const char *proxy_format)
{
	cleanup_free char *url = NULL, *proxy = NULL, *cluster = NULL;

	serve(t, 0, "server.crt", "server.key", false, &(struct apiserver_options){ .token = "sesame" });
	t->relay =
		relay_new(t->loop, &(struct relay_options){ .kind = kind, .target_port = apiserver_port(t->server) });
	url = str_format("https://%s", server);
	proxy = str_format("%s127.0.0.1:%u", proxy_format, relay_port(t->relay));
	cluster = str_format(", certificate-authority: ca.crt, tls-server-name: localhost, proxy-url: \"%s\"", proxy);
	write_kubeconfig(t, url, cluster, "token: sesame");
	start_source(t);
	want(t, 2);
}

static void http_proxy_is_asked_for_a_tunnel(void **state)
{
	struct rig *t = *state;

	log_begin(t);
	start_through(t, RELAY_CONNECT, "api.cluster.example:6443", "http://user:hunter2@");
	eventually(t, have_all(t, 2, "one") && health(t).n_watches == 3);
	assert_true(str_starts(relay_asked(t->relay), "CONNECT api.cluster.example:6443 HTTP/1.1\r\n"));
	/* base64 of user:hunter2; and what is for the server alone */
	assert_non_null(strstr(relay_asked(t->relay), "Proxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n"));
	assert_null(strstr(relay_asked(t->relay), "sesame"));
	apiserver_stop(TAKE_PTR(t->server));
	relay_free(TAKE_PTR(t->relay));
	eventually(t, *health(t).last_error);
	assert_non_null(strstr(health(t).last_error, " through http://127.0.0.1:"));
	assert_null(strstr(health(t).last_error, "hunter2"));
	assert_int_equal(log_count(t, "hunter2"), 0);
}

static void socks5_proxy_resolves_the_name(void **state)
{
	struct rig *t = *state;

	start_through(t, RELAY_SOCKS5, "api.cluster.example:6443", "socks5://");
	eventually(t, have_all(t, 2, "one") && health(t).n_watches == 3);
	assert_string_equal(relay_asked(t->relay), "api.cluster.example:6443");
}

static void proxy_url_counts_for_loopback_and_despite_no_proxy(void **state)
{
	struct rig *t = *state;

	setenv("NO_PROXY", "*", 1);
	start_through(t, RELAY_CONNECT, "127.0.0.1:1", "http://");
	eventually(t, have_all(t, 2, "one"));
	unsetenv("NO_PROXY");
	assert_true(str_starts(relay_asked(t->relay), "CONNECT 127.0.0.1:1 "));
}

static void environments_proxy_is_asked_unless_exempt(void **state)
{
	cleanup_free char *proxy = NULL, *url = NULL;
	struct rig *t = *state;

	serve(t, 0, "server.crt", "server.key", false, &(struct apiserver_options){ .port = 0 });
	t->relay = relay_new(
		t->loop, &(struct relay_options){ .kind = RELAY_CONNECT, .target_port = apiserver_port(t->server) });
	proxy = str_format("127.0.0.1:%u", relay_port(t->relay));
	setenv("HTTPS_PROXY", proxy, 1);
	write_kubeconfig(t, "https://api.cluster.example",
			 ", certificate-authority: ca.crt, tls-server-name: localhost", "");
	start_source(t);
	unsetenv("HTTPS_PROXY");
	eventually(t, t->n_synced == 1);
	assert_true(str_starts(relay_asked(t->relay), "CONNECT api.cluster.example:443 "));
}

static void loopback_server_needs_no_proxy_of_the_environment(void **state)
{
	struct rig *t = *state;

	serve(t, 0, "server.crt", "server.key", false, &(struct apiserver_options){ .port = 0 });
	setenv("HTTPS_PROXY", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	write_kubeconfig(t, apiserver_url(t->server), ", certificate-authority: ca.crt", "");
	start_source(t);
	unsetenv("HTTPS_PROXY");
	unsetenv("ALL_PROXY");
	eventually(t, t->n_synced == 1);
}

static void ipv6_literal_is_a_server(void **state)
{
	cleanup_free char *url = NULL;
	struct rig *t = *state;

	serve(t, 0, "server.crt", "server.key", false, &(struct apiserver_options){ .port = 0 });
	t->relay =
		relay_new(t->loop, &(struct relay_options){ .ipv6 = true, .target_port = apiserver_port(t->server) });
	url = str_format("https://[::1]:%u", relay_port(t->relay));
	write_kubeconfig(t, url, ", certificate-authority: ca.crt", "");
	/* a loopback address, in brackets, too */
	setenv("HTTPS_PROXY", "http://127.0.0.1:1", 1);
	start_source(t);
	unsetenv("HTTPS_PROXY");
	eventually(t, t->n_synced == 1);
	assert_string_equal(health(t).location, url);
}

static void tls_server_name_changes_neither_the_path_nor_the_host_that_is_asked_for(void **state)
{
	cleanup_free char *url = NULL, *host = NULL, *asked = NULL;
	struct rig *t = *state;

	serve(t, 0, "server.crt", "server.key", false, &(struct apiserver_options){ .port = 0 });
	url = str_format("%s/k8s/clusters/c-1", apiserver_url(t->server));
	write_kubeconfig(t, url, ", certificate-authority: ca.crt, tls-server-name: localhost", "");
	start_source(t);
	eventually(t, count_requests(t, "GET /k8s/clusters/c-1/api/v1/pods?") > 0);
	host = str_format("127.0.0.1:%u", apiserver_port(t->server));
	asked = apiserver_host(t->server);
	assert_string_equal(asked, host);
}

static void run(const char *const argv[])
{
	int status = -1;
	pid_t pid;

	assert_int_equal(posix_spawnp(&pid, argv[0], NULL, NULL, (char **)(uintptr_t)argv, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* The system's trust store gets our CA, in a mount namespace of this thread. */
static void the_systems_cas_count_only_if_no_ca_is_given(void **state)
{
	static const char SYSTEMS[] = "/etc/ssl/certs";
	cleanup_free char *store = NULL;
	struct rig *t = *state;

	if (access(SYSTEMS, X_OK) < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip_because("needs /etc/ssl/certs, root and mount namespaces");
	store = path_in(t, "store");
	assert_int_equal(mkdir(store, 0755), 0);
	install(t, "store/ca.pem", "ca.crt", NULL);
	run((const char *const[]){ "openssl", "rehash", store, NULL });
	install(t, "store/ca-certificates.crt", "ca.crt", NULL);
	assert_int_equal(mount(store, SYSTEMS, NULL, MS_BIND, NULL), 0);

	serve(t, 0, "server.crt", "server.key", false, &(struct apiserver_options){ .port = 0 });
	write_kubeconfig(t, apiserver_url(t->server), ", certificate-authority: other-ca.crt", "");
	start_source(t);
	eventually(t, t->n_synced > 0 || *health(t).last_error);
	assert_int_equal(apiserver_counts(t->server).n_requests, 0);
	end_source(t);
	write_kubeconfig(t, apiserver_url(t->server), "", "");
	start_source(t);
	eventually(t, t->n_synced > 0 || *health(t).last_error);
	assert_int_equal(umount2(SYSTEMS, MNT_DETACH), 0);
	assert_string_equal(health(t).last_error, "");
}

static void insecure_server_is_warned_of(void **state)
{
	struct rig *t = *state;

	serve(t, 0, "stranger.crt", "stranger.key", false, &(struct apiserver_options){ .port = 0 });
	write_kubeconfig(t, apiserver_url(t->server), ", insecure-skip-tls-verify: true", "");
	log_begin(t);
	start_source(t);
	eventually(t, t->n_synced == 1);
	assert_int_equal(log_count(t, "insecure-skip-tls-verify: the server is NOT authenticated"), 1);
}

static void a_server_without_tls_is_warned_of(void **state)
{
	struct rig *t = *state;
	struct err e = ERR_INIT;

	if (apiserver_start(&(struct apiserver_options){ .port = 0 }, &t->server, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_true(str_starts(apiserver_url(t->server), "http://"));
	write_kubeconfig(t, apiserver_url(t->server), "", "");
	log_begin(t);
	start_source(t);
	eventually(t, t->n_synced == 1);
	assert_int_equal(log_count(t, "no TLS: no credentials are sent, and all can be read on the way"), 1);
}

/* ---- HTTP/2 ---- */

static uint16_t free_port(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(sin);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	return ntohs(sin.sin_port);
}

static bool has_nghttpx(void)
{
	return access("/usr/sbin/nghttpx", X_OK) == 0 || access("/usr/bin/nghttpx", X_OK) == 0;
}

static bool is_listening(const char *address, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_port = htons(port),
				   .sin_addr.s_addr = inet_addr(address) };
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0;
}

/* TLS on `address`, with the certificate `name`; what comes is sent on to `back`, in the clear. */
static void spawn_nghttpx(struct rig *t, const char *address, uint16_t port, const char *name, uint16_t back_port,
			  const char *mode)
{
	cleanup_free char *front = str_format("-f%s,%u", address, port),
			  *back = str_format("-b127.0.0.1,%u", back_port), *key_name = str_format("%s.key", name),
			  *cert_name = str_format("%s.crt", name), *key = path_in(t, key_name),
			  *cert = path_in(t, cert_name), *more = strdup(mode);
	char *argv[] = { (char[]){ "nghttpx" },
			 front,
			 back,
			 more,
			 (char[]){ "--no-ocsp" },
			 (char[]){ "--single-thread" },
			 (char[]){ "--backend-read-timeout=1h" },
			 (char[]){ "--errorlog-file=/dev/null" },
			 (char[]){ "--conf=/dev/null" },
			 key,
			 cert,
			 NULL };
	char program[] = "/usr/sbin/nghttpx", other[] = "/usr/bin/nghttpx";
	posix_spawnattr_t attr;

	assert_int_equal(posix_spawnattr_init(&attr), 0);
	assert_int_equal(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP), 0);
	if (posix_spawn(&t->nghttpx, program, NULL, &attr, argv, environ) != 0)
		assert_int_equal(posix_spawn(&t->nghttpx, other, NULL, &attr, argv, environ), 0);
	posix_spawnattr_destroy(&attr);
	eventually(t, is_listening(address, port));
}

/* HTTP/2 with TLS on `port`, HTTP/1.1 to the API server. */
static void start_nghttpx(struct rig *t, uint16_t port)
{
	cleanup_free char *streams = str_format("--frontend-http2-max-concurrent-streams=%u", t->streams ?: 100);

	spawn_nghttpx(t, "127.0.0.1", port, "server", apiserver_port(t->server), streams);
}

static void start_http2(struct rig *t, unsigned n)
{
	uint16_t port = free_port();
	struct err e = ERR_INIT;

	if (apiserver_start(&(struct apiserver_options){ .port = 0 }, &t->server, &e) < 0)
		fail_msg("%s", err_text(&e));
	start_nghttpx(t, port);
	t->relay = relay_new(t->loop, &(struct relay_options){ .target_port = port });
	{
		cleanup_free char *url = str_format("https://127.0.0.1:%u", relay_port(t->relay));

		write_kubeconfig(t, url, ", certificate-authority: ca.crt", "");
	}
	start_source(t);
	want(t, n);
	eventually(t, have_all(t, n, "one") && health(t).n_watches == n + 1);
}

static void stream_limit_is_kept_by_opening_more_connections(void **state)
{
	struct rig *t = *state;

	if (!has_nghttpx())
		skip_because("needs nghttpx");
	start_http2(t, 300);
	/* 301 watches, 100 streams each; a list may find all of them taken for a moment */
	assert_in_range(relay_n_accepted(t->relay), 4, 6);
	assert_in_range(health(t).n_connections, 4, 6);
	put_all(t, 300, "two");
	eventually(t, have_all(t, 300, "two"));
	assert_in_range(relay_n_accepted(t->relay), 4, 6);
	assert_int_equal(t->n_failed, 0);
}

static void goaway_and_a_restarted_proxy_lose_nothing(void **state)
{
	struct rig *t = *state;
	uint16_t port;

	if (!has_nghttpx())
		skip_because("needs nghttpx");
	port = free_port();
	start_http2(t, 20);
	/* SIGQUIT: GOAWAY, and it ends when its streams have */
	kill(t->nghttpx, SIGQUIT);
	run_for(t->loop, 500 * USEC_PER_MSEC);
	put_all(t, 20, "two");
	eventually(t, have_all(t, 20, "two"));
	stop_nghttpx(t);
	start_nghttpx(t, port);
	relay_set_target(t->relay, port);
	put_all(t, 20, "three");
	eventually(t, have_all(t, 20, "three") && health(t).n_watches == 21);
	assert_in_range(relay_n_open(t->relay), 1, 2);
}

/* The peers' kernels go on acknowledging, so only an unanswered PING tells. */
static void connection_that_falls_silent_is_replaced(void **state)
{
	struct rig *t = *state;

	if (!has_nghttpx())
		skip_because("needs nghttpx");
	t->ping_usec = 200 * USEC_PER_MSEC;
	start_http2(t, 20);
	assert_int_equal(relay_n_accepted(t->relay), 1);
	run_for(t->loop, 5 * t->ping_usec);
	assert_int_equal(relay_n_accepted(t->relay), 1);
	relay_freeze(t->relay);
	put_all(t, 20, "two");
	eventually(t, have_all(t, 20, "two") && health(t).n_watches == 21);
	assert_in_range(relay_n_accepted(t->relay), 2, 4);
}

static void put_pod(struct rig *t)
{
	apiserver_put_text(t->server,
			   "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"p\"},"
			   "\"spec\":{\"nodeName\":\"node-1\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
}

/* The pods' watch is on the oldest, and where all streams are taken no request finds room. */
static void full_connection_that_falls_silent_is_replaced(void **state)
{
	struct rig *t = *state;
	size_t n_open;

	if (!has_nghttpx())
		skip_because("needs nghttpx");
	t->ping_usec = 200 * USEC_PER_MSEC;
	t->streams = 10;
	start_http2(t, 0);
	/* one after the other: a connection's first answer says how many it allows */
	for (unsigned i = 0; i < 45; i++) {
		want_one(t, i);
		eventually(t, health(t).n_watches == i + 2);
	}
	n_open = relay_n_open(t->relay);
	assert_true(n_open >= 5);
	/* those that answer stay */
	run_for(t->loop, 5 * t->ping_usec);
	assert_int_equal(relay_n_open(t->relay), n_open);
	assert_int_equal(relay_n_accepted(t->relay), n_open);
	relay_freeze_oldest(t->relay);
	put_pod(t);
	put_all(t, 45, "two");
	eventually(t, t->n_pods == 1 && have_all(t, 45, "two") && health(t).n_watches == 46);
	assert_true(relay_n_open(t->relay) >= n_open - 1);
}

/* Nobody at the other end says so, and to be asked takes the connection longer. */
static void after_a_sleep_a_dead_connection_is_not_waited_for(void **state)
{
	struct rig *t = *state;
	struct apiserver_counts before, after;

	if (!has_nghttpx())
		skip_because("needs nghttpx");
	t->ping_usec = 3600 * USEC_PER_SEC;
	start_http2(t, 20);
	run_for(t->loop, 1500 * USEC_PER_MSEC); /* what is over within a second is another trouble */
	before = apiserver_counts(t->server);
	relay_freeze(t->relay);
	put_all(t, 20, "two");
	source_slept(t->source);
	eventually(t, have_all(t, 20, "two") && health(t).n_watches == 21);
	after = apiserver_counts(t->server);
	assert_int_equal(after.n_watch, before.n_watch + 21);
	assert_int_equal(after.n_list, before.n_list + 1); /* of the pods, as after any watch of theirs that is lost */
	assert_int_equal(t->n_failed, 0);
}

/* A list and a token's request that are under way are asked for again, and no failure. Nobody is told of anything from inside
 * source_slept(). */
static void after_a_sleep_what_was_asked_for_is_asked_for_again(void **state)
{
	static const char TOKEN[] = "default/p/u-1/3600/";
	struct rig *t = *state;

	if (!has_nghttpx())
		skip_because("needs nghttpx");
	t->ping_usec = 3600 * USEC_PER_SEC;
	start_http2(t, 2);
	apiserver_fail(t->server, "/token", 201,
		       "{\"kind\":\"TokenRequest\",\"spec\":{\"expirationSeconds\":3600},\"status\":{\"token\":\"one\","
		       "\"expirationTimestamp\":\"2999-01-01T00:00:00Z\"}}",
		       -1, -1);
	relay_freeze(t->relay);
	want_one(t, 2);
	assert_int_equal(source_want(t->source, OBJECT_TOKEN, "ns", TOKEN), 0);
	run_for(t->loop, 300 * USEC_PER_MSEC);
	assert_int_equal(health(t).n_tokens_synced, 0);
	source_slept(t->source);
	assert_int_equal(t->n_failed, 0);
	eventually(t, have_all(t, 3, "one") && health(t).n_tokens_synced == 1 && health(t).n_watches == 4);
	assert_int_equal(t->n_failed, 0);
}

/* They are given up all the same, and nobody is sent from one that goes to another that does. */
static void after_a_sleep_live_connections_are_left_once(void **state)
{
	struct rig *t = *state;
	struct apiserver_counts before;

	if (!has_nghttpx())
		skip_because("needs nghttpx");
	start_http2(t, 20);
	run_for(t->loop, 1500 * USEC_PER_MSEC);
	before = apiserver_counts(t->server);
	source_slept(t->source);
	eventually(t, apiserver_counts(t->server).n_watch >= before.n_watch + 21 && health(t).n_watches == 21);
	run_for(t->loop, 3 * USEC_PER_SEC);
	assert_int_equal(apiserver_counts(t->server).n_watch, before.n_watch + 21);
	assert_int_equal(relay_n_accepted(t->relay), 2);
	assert_int_equal(relay_n_open(t->relay), 1);
	put_all(t, 20, "two");
	eventually(t, have_all(t, 20, "two"));
	assert_int_equal(t->n_failed, 0);
}

/* More than one buffer full in one event. */
static void big_change_arrives_whole_over_http2(void **state)
{
	cleanup_free char *big = malloc(400001);
	struct rig *t = *state;

	if (!has_nghttpx())
		skip_because("needs nghttpx");
	start_http2(t, 2);
	memset(big, 'x', 400000);
	big[400000] = '\0';
	for (unsigned i = 0; i < 10; i++) {
		memset(big, 'a' + (int)i, 16);
		put_secret(t, 0, big);
		eventually(t, t->secrets[0].value[0] == 'a' + (int)i);
	}
	assert_int_equal(t->n_failed, 0);
}

static void nobody_is_asked_for_a_sign_of_life_over_http1(void **state)
{
	struct rig *t = *state;
	size_t n_accepted;

	t->ping_usec = 50 * USEC_PER_MSEC;
	start_with_certificate(t, 3);
	run_for(t->loop, 5 * t->ping_usec);
	n_accepted = relay_n_accepted(t->relay);
	run_for(t->loop, 10 * t->ping_usec);
	assert_int_equal(count_requests(t, "/livez"), 0);
	assert_int_equal(relay_n_accepted(t->relay), n_accepted);
	assert_int_equal(health(t).n_watches, 4);
}

static void stopped_proxy_is_noticed_and_found_again(void **state)
{
	struct rig *t = *state;

	if (!has_nghttpx())
		skip_because("needs nghttpx");
	t->ping_usec = 200 * USEC_PER_MSEC;
	start_http2(t, 5);
	kill(-t->nghttpx, SIGSTOP);
	eventually(t, health(t).n_watches == 0);
	put_all(t, 5, "two");
	kill(-t->nghttpx, SIGCONT);
	eventually(t, have_all(t, 5, "two") && health(t).n_watches == 6);
}

/* ---- a proxy with TLS ---- */

static void https_proxy_is_authenticated_as_the_server_is(void **state)
{
	static const struct {
		const char *address, *certificate, *cluster;
		bool good;
	} CASES[] = {
		{ "127.0.0.1", "server", ", certificate-authority: ca.crt", true },
		{ "127.0.0.1", "stranger", ", certificate-authority: ca.crt", false },
		/* not a name of the certificate's */
		{ "127.0.0.2", "server", ", certificate-authority: ca.crt", false },
		/* no system's CA has signed it */
		{ "127.0.0.1", "server", "", false },
		{ "127.0.0.2", "stranger", ", insecure-skip-tls-verify: true", true },
	};
	struct rig *t = *state;

	if (!has_nghttpx())
		skip_because("needs nghttpx");
	serve(t, 0, "server.crt", "server.key", false, &(struct apiserver_options){ .token = "sesame" });
	t->relay = relay_new(
		t->loop, &(struct relay_options){ .kind = RELAY_CONNECT, .target_port = apiserver_port(t->server) });
	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		size_t n_accepted = relay_n_accepted(t->relay);
		cleanup_free char *cluster = NULL;
		uint16_t port = free_port();

		spawn_nghttpx(t, CASES[i].address, port, CASES[i].certificate, relay_port(t->relay), "--http2-proxy");
		cluster = str_format(", tls-server-name: localhost, proxy-url: \"https://%s:%u\"%s", CASES[i].address,
				     port, CASES[i].cluster);
		write_kubeconfig(t, "https://api.cluster.example:6443", cluster, "token: sesame");
		start_source(t);
		eventually(t, t->n_synced > 0 || *health(t).last_error);
		if (!!t->n_synced != CASES[i].good)
			fail_msg("case %zu: %s", i, health(t).last_error);
		if (CASES[i].good)
			assert_true(str_starts(relay_asked(t->relay), "CONNECT api.cluster.example:6443 HTTP/1.1\r\n"));
		else
			assert_int_equal(relay_n_accepted(t->relay), n_accepted);
		end_source(t);
		stop_nghttpx(t);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(rotated_certificate_moves_all_watches_and_loses_nothing),
		TEST(rotated_certificate_moves_the_watches_a_few_at_a_time),
		TEST(half_of_the_pair_waits_for_the_other),
		TEST(either_half_of_the_pair_may_be_written_anew),
		TEST(ca_that_is_away_stays_in_use),
		TEST(linked_file_with_certificate_and_key_is_followed),
		TEST(file_with_certificate_and_key_may_be_exchanged_while_it_is_read),
		TEST(pair_that_does_not_match_keeps_the_old_one_with_one_line),
		TEST(certificate_that_the_server_refuses_costs_one_watch_only),
		TEST(rotated_ca_is_taken_before_the_server_has_changed),
		TEST(ca_that_is_none_keeps_the_old_one),
		TEST(token_rotates_without_a_refused_request),
		TEST(refused_token_is_read_anew_and_nobody_hears_of_it),
		TEST(request_is_repeated_only_once),
		TEST(token_that_is_the_same_is_not_tried_again_at_once),
		TEST(files_are_read_once_a_second_at_most_however_much_is_refused),
		TEST(file_that_was_not_usable_is_read_again_soon),
		TEST(refused_request_may_be_given_up_meanwhile),
		TEST(source_may_end_while_refused_requests_wait),
		TEST(pods_credentials_open_the_door_and_rotate),
		TEST(http_proxy_is_asked_for_a_tunnel),
		TEST(socks5_proxy_resolves_the_name),
		TEST(proxy_url_counts_for_loopback_and_despite_no_proxy),
		TEST(environments_proxy_is_asked_unless_exempt),
		TEST(loopback_server_needs_no_proxy_of_the_environment),
		TEST(ipv6_literal_is_a_server),
		TEST(tls_server_name_changes_neither_the_path_nor_the_host_that_is_asked_for),
		TEST(the_systems_cas_count_only_if_no_ca_is_given),
		TEST(insecure_server_is_warned_of),
		TEST(a_server_without_tls_is_warned_of),
		TEST(stream_limit_is_kept_by_opening_more_connections),
		TEST(goaway_and_a_restarted_proxy_lose_nothing),
		TEST(connection_that_falls_silent_is_replaced),
		TEST(full_connection_that_falls_silent_is_replaced),
		TEST(after_a_sleep_a_dead_connection_is_not_waited_for),
		TEST(after_a_sleep_what_was_asked_for_is_asked_for_again),
		TEST(after_a_sleep_live_connections_are_left_once),
		TEST(stopped_proxy_is_noticed_and_found_again),
		TEST(big_change_arrives_whole_over_http2),
		TEST(nobody_is_asked_for_a_sign_of_life_over_http1),
		TEST(https_proxy_is_authenticated_as_the_server_is),
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
