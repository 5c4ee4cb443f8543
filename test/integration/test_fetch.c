/* Objects that are fetched once, from the test API server: what comes, what is tried again, and what is said when nothing
 * comes; and several of them at a time. */
#include "agent/gather.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/codec.h"
#include "agent/source_api.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/str.h"
#include "test/lib/following.h"
#include "test/lib/kubeconfig.h"
#include "test/lib/patience.h"

#define BYTES_MAX ((size_t)1 << 20)

/* What came of a fetch. */
struct came {
	struct err err;
	bool unanswered, has_account;
	char value[64];
	unsigned n;
};

struct rig {
	char kubeconfig[FOLLOWING_PATH_MAX];
	struct apiserver *server;
	struct loop *loop;
	struct files *files;
	struct source *source;
	struct store *store;
	bool synced;
};

static void on_synced(void *userdata)
{
	((struct rig *)userdata)->synced = true;
}

static void on_object(void *userdata, enum object_kind kind, const char *ns, const char *name, struct secret *secret)
{
	store_object_changed(((struct rig *)userdata)->store, kind, ns, name, secret);
}

static void on_failure(void *userdata, enum object_kind kind, const char *ns, const char *name, const struct err *e)
{
	store_object_failed(((struct rig *)userdata)->store, kind, ns, name, e);
}

static const struct source_sink SINK = {
	.pod_changed = following_ignores_pod,
	.pod_removed = following_ignores_uid,
	.pods_synced = on_synced,
	.object_changed = on_object,
	.object_failed = on_failure,
};

static void store_changed(void *userdata, const struct store_entry *entry)
{
}

/* A source for the server at this URL. */
static void follow(struct rig *t, const char *url)
{
	kubeconfig_write(t->kubeconfig, url, "", "");
	t->source = following_start(t->loop, t->files,
				    &(struct source_api_options){ .kubeconfig = t->kubeconfig, .node_name = "node-1" },
				    &SINK, t);
	store_set_source(t->store, t->source);
}

static int setup(void **state)
{
	struct rig *t = calloc(1, sizeof(*t));

	following_setup("test_fetch", t->kubeconfig, &t->loop, &t->files, &t->server);
	assert_int_equal(store_new(store_changed, t, &t->store), 0);
	follow(t, apiserver_url(t->server));
	eventually(t, t->synced);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct rig *t = *state;

	source_free(TAKE_PTR(t->source));
	store_free(t->store);
	following_teardown(t->source, t->server, t->files, t->loop, t->kubeconfig);
	assert_int_equal(secmem_stats().n_blocks, 0);
	free(t);
	return 0;
}

static void put(struct rig *t, const char *kind, const char *name, const char *value)
{
	cleanup_free char *text =
		str_format("{\"apiVersion\":\"v1\",\"kind\":\"%s\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"%s\"},"
			   "\"%s\":{\"k\":\"%s\"}}",
			   kind, name, str_eq(kind, "Secret") ? "stringData" : "data", value);

	apiserver_put_text(t->server, text);
}

/* ---- one ---- */

static void on_fetched(void *userdata, const struct source_fetched *f)
{
	struct came *c = userdata;

	c->n++;
	c->err = f->err;
	c->unanswered = f->unanswered;
	c->has_account = f->account;
	if (f->secret && f->secret->n_keys > 0)
		snprintf(c->value, sizeof(c->value), "%.*s", (int)f->secret->keys[0].value.len,
			 (const char *)secspan_data(&f->secret->keys[0].value));
}

static struct came fetch(struct rig *t, enum source_thing thing, const char *name)
{
	struct source_fetch *f = NULL;
	struct came c = { .n = 0 };

	assert_int_equal(source_fetch(t->source, thing, "ns", name, on_fetched, &c, &f), 0);
	assert_int_equal(c.n, 0);
	eventually(t, c.n > 0);
	return c;
}

static void the_most_recent_state_comes(void **state)
{
	struct rig *t = *state;
	struct came c;

	put(t, "Secret", "s", "one");
	put(t, "ConfigMap", "s", "text");
	c = fetch(t, SOURCE_SECRET, "s");
	assert_int_equal(c.err.code, 0);
	assert_string_equal(c.value, "one");
	put(t, "Secret", "s", "two");
	assert_string_equal(fetch(t, SOURCE_SECRET, "s").value, "two");
	assert_string_equal(fetch(t, SOURCE_CONFIG_MAP, "s").value, "text");
	assert_int_equal(secmem_stats().n_blocks, 0);
}

static void what_is_not_there_is_said_in_the_kubelets_words(void **state)
{
	struct came c = fetch(*state, SOURCE_SECRET, "none");

	assert_int_equal(c.err.code, -ENOENT);
	assert_false(c.unanswered);
	assert_string_equal(err_text(&c.err), "secret \"none\" not found");
	c = fetch(*state, SOURCE_CONFIG_MAP, "none");
	assert_string_equal(err_text(&c.err), "configmap \"none\" not found");
}

static void names_that_nothing_can_have_are_refused(void **state)
{
	struct rig *t = *state;
	struct source_fetch *f = NULL;

	assert_int_equal(source_fetch(t->source, SOURCE_SECRET, "ns", "../x", on_fetched, NULL, &f), -EINVAL);
	assert_int_equal(source_fetch(t->source, SOURCE_SECRET, "n/s", "x", on_fetched, NULL, &f), -EINVAL);
}

static void what_may_pass_is_tried_again(void **state)
{
	static const int statuses[] = { 401, 403, 429, 500, 503 };
	struct rig *t = *state;

	put(t, "Secret", "s", "value");
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		struct came c;

		apiserver_fail(t->server, "/secrets/s", statuses[i], NULL, -1, 3);
		c = fetch(t, SOURCE_SECRET, "s");
		if (!str_eq(c.value, "value"))
			fail_msg("%d: %s", statuses[i], err_text(&c.err));
	}
}

static void what_stays_forbidden_is_said(void **state)
{
	static const char status[] =
		"{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Forbidden\",\"code\":403,"
		"\"message\":\"secrets \\\"s\\\" is forbidden: no\"}";
	struct rig *t = *state;
	struct came c;

	apiserver_fail(t->server, "/secrets/s", 403, status, -1, -1);
	c = fetch(t, SOURCE_SECRET, "s");
	assert_int_equal(c.err.code, -EACCES);
	assert_false(c.unanswered);
	assert_string_equal(err_text(&c.err), "secret ns/s: secrets \"s\" is forbidden: no");
}

static void a_server_that_asks_for_more_patience_than_there_is_does_not_answer(void **state)
{
	struct rig *t = *state;
	struct came c;

	apiserver_fail(t->server, "/secrets/s", 429, NULL, 60, -1);
	c = fetch(t, SOURCE_SECRET, "s");
	assert_true(c.unanswered);
	assert_non_null(strstr(err_text(&c.err), "secret ns/s: the API server does not answer: "));
}

static void an_answer_that_is_none_is_refused(void **state)
{
#define OBJECT(kind, ns, name, rest)                                                                                   \
	"{\"apiVersion\":\"v1\",\"kind\":\"" kind "\",\"metadata\":{\"namespace\":\"" ns "\",\"name\":\"" name         \
	"\"}" rest "}"
	static const struct {
		const char *body, *words;
	} CASES[] = {
		{ "nonsense", "secret ns/s: the server's answer: " },
		{ "[]", "it is another object" },
		{ OBJECT("Secret", "ns", "t", ""), "it is another object" },
		{ OBJECT("Secret", "other", "s", ""), "it is another object" },
		{ OBJECT("ConfigMap", "ns", "s", ",\"data\":{\"k\":\"LIE\"}"), "kind: is not Secret" },
		{ OBJECT("Secret", "ns", "s", ",\"data\":{\"k\":\"LIE!\"}"), "data.k: illegal base64 data" },
	};
	struct rig *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct came c;

		apiserver_fail(t->server, "/secrets/s", 200, CASES[i].body, -1, 1);
		c = fetch(t, SOURCE_SECRET, "s");
		if (c.err.code != -EBADMSG || c.unanswered || *c.value || !strstr(err_text(&c.err), CASES[i].words) ||
		    strstr(err_text(&c.err), "LIE"))
			fail_msg("%s: %s", CASES[i].body, err_text(&c.err));
	}
}

/* Taken for one without pull secrets it would replace good credentials by none. */
static void an_account_of_wrong_types_is_none(void **state)
{
#define PULLS "serviceaccount ns/a: the server's answer: imagePullSecrets"
	static const struct {
		const char *pulls, *words; /* words NULL: it is good */
	} CASES[] = {
		{ "7", PULLS ": expected an array, found" },
		{ "{\"name\":\"s\"}", PULLS ": expected an array, found" },
		{ "\"s\"", PULLS ": expected an array, found" },
		{ "[{\"name\":\"s\"},\"t\"]", PULLS "[1]: must be an object" },
		{ "[{\"name\":\"s\"},null]", PULLS "[1]: must be an object" },
		{ "[{\"name\":7},{\"name\":\"s\"}]", PULLS "[0].name: expected a string, found" },
		{ "[{\"name\":\"s\\u0000\"}]", PULLS "[0].name: contains a NUL character" },
		{ "null", NULL },
		{ "[]", NULL },
		{ "[{},{\"name\":null},{\"name\":\"\"},{\"name\":\"s\"}]", NULL },
	};
	struct rig *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		cleanup_free char *body =
			str_format(OBJECT("ServiceAccount", "ns", "a", ",\"imagePullSecrets\":%s"), CASES[i].pulls);
		struct came c;

		apiserver_fail(t->server, "/serviceaccounts/a", 200, body, -1, 1);
		c = fetch(t, SOURCE_ACCOUNT, "a");
		if (c.has_account == !!CASES[i].words || c.err.code != (CASES[i].words ? -EBADMSG : 0) ||
		    !str_starts(err_text(&c.err), CASES[i].words ?: ""))
			fail_msg("%s: %s", CASES[i].pulls, err_text(&c.err));
	}
}

static void a_404_of_somebody_else_is_no_word_about_the_object(void **state)
{
	struct rig *t = *state;
	struct came c;

	apiserver_fail(t->server, "/secrets/s", 404, "not here", -1, 1);
	c = fetch(t, SOURCE_SECRET, "s");
	assert_int_equal(c.err.code, -EREMOTEIO);
	assert_null(strstr(err_text(&c.err), "not found:"));
}

static void an_account_comes_or_is_forbidden_at_once(void **state)
{
	struct rig *t = *state;
	struct came c;
	uint64_t before;

	apiserver_fail(t->server, "/serviceaccounts/a", 200, OBJECT("ServiceAccount", "ns", "a", ""), -1, 1);
	c = fetch(t, SOURCE_ACCOUNT, "a");
	assert_true(c.has_account);
	before = apiserver_counts(t->server).n_requests;
	apiserver_fail(t->server, "/serviceaccounts/a", 403, NULL, -1, -1);
	c = fetch(t, SOURCE_ACCOUNT, "a");
	assert_int_equal(c.err.code, -EACCES);
	assert_int_equal(apiserver_counts(t->server).n_requests - before, 1);
	/* only that is for good */
	apiserver_fail(t->server, "/serviceaccounts/a", 503, NULL, 60, -1);
	c = fetch(t, SOURCE_ACCOUNT, "a");
	assert_int_equal(c.err.code, -EREMOTEIO);
	assert_true(c.unanswered);
	apiserver_fail(t->server, "/serviceaccounts/a", 401, NULL, 60, -1);
	c = fetch(t, SOURCE_ACCOUNT, "a");
	assert_int_equal(c.err.code, -EREMOTEIO);
}

static void who_is_not_there_is_not_waited_for(void **state)
{
	struct rig *t = *state;
	struct came c;

	apiserver_stop(TAKE_PTR(t->server));
	c = fetch(t, SOURCE_SECRET, "s");
	assert_true(c.unanswered);
	assert_non_null(strstr(err_text(&c.err), "secret ns/s: the API server does not answer: "));
}

/* Takes connections and never says a word. */
static int listen_silently(uint16_t *ret_port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(sin);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	*ret_port = ntohs(sin.sin_port);
	return fd;
}

/* -1: nobody has come. */
static int accept_one(int fd)
{
	return accept(fd, NULL, NULL);
}

/* It waits behind a request that is given half a minute to be connected. */
static void who_says_nothing_is_waited_for_until_the_end_of_the_fetch(void **state)
{
	cleanup_fd int silent = -1, connection = -1;
	cleanup_free char *url = NULL;
	struct rig *t = *state;
	struct source_health health;
	struct came c;
	uint16_t port;

	silent = listen_silently(&port);
	url = str_format("https://127.0.0.1:%u", (unsigned)port);
	source_free(TAKE_PTR(t->source));
	follow(t, url);
	eventually(t, connection >= 0 || (connection = accept_one(silent)) >= 0);
	c = fetch(t, SOURCE_SECRET, "s");
	assert_int_equal(c.err.code, -ETIMEDOUT);
	assert_true(c.unanswered);
	assert_string_equal(err_text(&c.err), "secret ns/s: the API server does not answer: timed out");
	/* which is still tried */
	source_health(t->source, &health);
	assert_int_equal(health.n_connections, 1);
	assert_int_equal(accept_one(silent), -1);
}

static void one_that_is_given_up_tells_nothing(void **state)
{
	struct source_fetch *f = NULL, *left = NULL;
	struct came c = { .n = 0 };
	struct rig *t = *state;

	put(t, "Secret", "s", "value");
	assert_int_equal(source_fetch(t->source, SOURCE_SECRET, "ns", "s", on_fetched, &c, &f), 0);
	source_unfetch(t->source, f);
	assert_int_equal(source_fetch(t->source, SOURCE_SECRET, "ns", "s", on_fetched, &c, &f), 0);
	for (int i = 0; i < 3; i++)
		loop_run_once(t->loop, 0);
	source_unfetch(t->source, f);
	(void)fetch(t, SOURCE_SECRET, "s");
	assert_int_equal(c.n, 0);
	/* and one that is under way at the end */
	assert_int_equal(source_fetch(t->source, SOURCE_SECRET, "ns", "s", on_fetched, &c, &left), 0);
}

/* ---- several ---- */

static void on_gathered(void *userdata)
{
	++*(unsigned *)userdata;
}

static void all_come_before_it_is_told(void **state)
{
	cleanup(gather_freep) struct gather *g = NULL;
	struct rig *t = *state;
	unsigned n = 0;

	put(t, "Secret", "a", "1");
	put(t, "ConfigMap", "a", "2");
	assert_int_equal(gather_new(t->source, t->store, "ns", BYTES_MAX, &g), 0);
	assert_int_equal(gather_add(g, SOURCE_SECRET, "a"), 0);
	assert_int_equal(gather_add(g, SOURCE_CONFIG_MAP, "a"), 0);
	assert_int_equal(gather_add(g, SOURCE_SECRET, "a"), 0);
	assert_int_equal(gather_add(g, SOURCE_SECRET, "none"), 0);
	assert_int_equal(gather_add(g, SOURCE_SECRET, "No Name"), 0);
	assert_int_equal(gather_count(g), 4);
	assert_int_equal(gather_start(g, USEC_INFINITY, on_gathered, &n), 0);
	eventually(t, n > 0);
	assert_int_equal(n, 1);
	assert_non_null(gather_find(g, SOURCE_SECRET, "a")->secret);
	assert_non_null(gather_find(g, SOURCE_CONFIG_MAP, "a")->secret);
	assert_int_equal(gather_find(g, SOURCE_SECRET, "none")->err.code, -ENOENT);
	assert_string_equal(err_text(&gather_find(g, SOURCE_SECRET, "No Name")->err), "secret \"No Name\" not found");
	assert_null(gather_find(g, SOURCE_SECRET, "b"));
}

static void nothing_is_there_at_once(void **state)
{
	cleanup(gather_freep) struct gather *g = NULL;
	struct rig *t = *state;

	assert_int_equal(gather_new(t->source, t->store, "ns", BYTES_MAX, &g), 0);
	assert_int_equal(gather_start(g, USEC_INFINITY, on_gathered, NULL), 1);
}

static void there_is_a_limit(void **state)
{
	cleanup(gather_freep) struct gather *g = NULL;
	struct rig *t = *state;

	assert_int_equal(gather_new(t->source, t->store, "ns", BYTES_MAX, &g), 0);
	for (int i = 0; i <= GATHER_OBJECTS_MAX; i++) {
		cleanup_free char *name = str_format("s%d", i);

		assert_int_equal(gather_add(g, SOURCE_SECRET, name), i < GATHER_OBJECTS_MAX ? 0 : -E2BIG);
	}
}

static void what_volumes_have_serves_when_nobody_answers(void **state)
{
	const struct store_entry *entry = NULL;
	const struct gather_object *o;
	struct rig *t = *state;
	unsigned n = 0;

	put(t, "Secret", "held", "old");
	assert_int_equal(store_ref(t->store, OBJECT_SECRET, "ns", "held", &entry), 0);
	eventually(t, entry->state == STORE_PRESENT);
	for (int is_away = 0; is_away < 2; is_away++) {
		cleanup(gather_freep) struct gather *g = NULL;

		/* forbidden is an answer: what was there is not handed out any more */
		if (is_away)
			apiserver_stop(TAKE_PTR(t->server));
		else
			apiserver_fail(t->server, "/secrets/held", 403, NULL, -1, -1);
		assert_int_equal(gather_new(t->source, t->store, "ns", BYTES_MAX, &g), 0);
		assert_int_equal(gather_add(g, SOURCE_SECRET, "held"), 0);
		assert_int_equal(gather_add(g, SOURCE_SECRET, "other"), 0);
		assert_int_equal(gather_start(g, USEC_INFINITY, on_gathered, &n), 0);
		eventually(t, n == 1u + is_away);
		o = gather_find(g, SOURCE_SECRET, "held");
		assert_int_equal(o->secret != NULL, is_away);
		assert_int_equal(o->as_of_usec > 0, is_away);
		assert_null(gather_find(g, SOURCE_SECRET, "other")->secret);
		assert_int_equal(gather_find(g, SOURCE_SECRET, "other")->unanswered, is_away);
	}
	store_unref(t->store, entry);
}

/* A source that answers when the test says so. */
struct source_fetch {
	source_fetched_fn fn;
	void *userdata;
	char name[16];
};
static struct source_fetch *asked[64];
static size_t n_asked, n_given_up;

static int slow_fetch(struct source *s, enum source_thing thing, const char *ns, const char *name, source_fetched_fn fn,
		      void *userdata, struct source_fetch **ret_f)
{
	struct source_fetch *f = calloc(1, sizeof(*f));

	assert_true(f && n_asked < ARRAY_SIZE(asked));
	f->fn = fn;
	f->userdata = userdata;
	snprintf(f->name, sizeof(f->name), "%s", name);
	*ret_f = asked[n_asked++] = f;
	return 0;
}

static void forget(struct source_fetch *f)
{
	for (size_t i = 0; i < n_asked; i++)
		if (asked[i] == f)
			asked[i] = asked[--n_asked];
	free(f);
}

static void slow_unfetch(struct source *s, struct source_fetch *f)
{
	n_given_up++;
	forget(f);
}

static const struct source_vtable SLOW_VTABLE = { .fetch = slow_fetch, .unfetch = slow_unfetch };
static struct source slow_source = { .vtable = &SLOW_VTABLE };

/* secret NULL: there is none */
static void answer(struct source_fetch *f, struct secret *secret)
{
	struct source_fetch copy = *f;

	forget(f);
	copy.fn(copy.userdata, &(struct source_fetched){ .err = { .code = secret ? 0 : -ENOENT }, .secret = secret });
}

static void begin_slow(struct gather **ret_g, struct store *store, unsigned n, uint64_t until_usec, unsigned *told)
{
	n_asked = n_given_up = 0;
	*told = 0;
	assert_int_equal(gather_new(&slow_source, store, "ns", BYTES_MAX, ret_g), 0);
	for (unsigned i = 0; i < n; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%u", i);
		assert_int_equal(gather_add(*ret_g, SOURCE_SECRET, name), 0);
	}
	assert_int_equal(gather_start(*ret_g, until_usec, on_gathered, told), 0);
}

static void at_most_eight_are_under_way(void **state)
{
	cleanup(gather_freep) struct gather *g = NULL;
	struct rig *t = *state;
	unsigned told;

	begin_slow(&g, t->store, 20, USEC_INFINITY, &told);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(told, 0);
		assert_int_equal(n_asked, MIN(8u, 20 - i));
		answer(asked[0], NULL);
	}
	assert_int_equal(told, 1);
	assert_int_equal(n_given_up, 0);
	assert_int_equal(gather_result(g, NULL), 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(gather_at(g, i)->err.code, -ENOENT);
}

static struct secret *secret_of_bytes(size_t len)
{
	cleanup_free char *text = NULL;
	cleanup_json json_t *doc = NULL;
	struct secret *s = NULL;
	struct json_issue issue;

	text = str_format("{\"metadata\":{\"namespace\":\"ns\",\"name\":\"s\"},\"data\":{\"key\":\"%0*d\"}}",
			  (int)(len / 3 * 4), 0);
	assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
	assert_int_equal(codec_object(OBJECT_SECRET, doc, &s, &issue), 0);
	return s;
}

/* What one question takes does not fill the memory for Secrets. */
static void too_many_bytes_are_given_up(void **state)
{
	struct secret *s = secret_of_bytes(BYTES_MAX / 4);
	struct gather *g = NULL;
	struct rig *t = *state;
	struct err e = ERR_INIT;
	unsigned told;

	begin_slow(&g, t->store, 20, USEC_INFINITY, &told);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(told, 0);
		assert_int_equal(n_asked, 8);
		answer(asked[0], s);
	}
	/* with the names that is too much */
	assert_int_equal(told, 1);
	assert_int_equal(n_asked, 0);
	assert_int_equal(n_given_up, 7);
	assert_int_equal(gather_result(g, &e), -E2BIG);
	assert_string_equal(err_text(&e),
			    "the Secrets and ConfigMaps that it takes have more than 1048576 bytes together");
	gather_free(g);
	secret_unref(s);
}

static void there_is_one_deadline_for_all(void **state)
{
	cleanup(gather_freep) struct gather *g = NULL;
	struct rig *t = *state;
	unsigned told;

	begin_slow(&g, t->store, 20, clock_monotonic_usec() + 100 * USEC_PER_MSEC, &told);
	assert_int_equal(n_asked, 8);
	usleep(110000);
	while (n_asked > 0)
		answer(asked[0], NULL);
	assert_int_equal(told, 1);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(gather_at(g, i)->unanswered, i >= 8);
	assert_string_equal(err_text(&gather_at(g, 19)->err), "secret ns/s19: there was no time left to ask for it");
}

#define RIGGED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIGGED(the_most_recent_state_comes),
		RIGGED(what_is_not_there_is_said_in_the_kubelets_words),
		RIGGED(names_that_nothing_can_have_are_refused),
		RIGGED(what_may_pass_is_tried_again),
		RIGGED(what_stays_forbidden_is_said),
		RIGGED(a_server_that_asks_for_more_patience_than_there_is_does_not_answer),
		RIGGED(an_answer_that_is_none_is_refused),
		RIGGED(an_account_of_wrong_types_is_none),
		RIGGED(a_404_of_somebody_else_is_no_word_about_the_object),
		RIGGED(an_account_comes_or_is_forbidden_at_once),
		RIGGED(who_is_not_there_is_not_waited_for),
		RIGGED(who_says_nothing_is_waited_for_until_the_end_of_the_fetch),
		RIGGED(one_that_is_given_up_tells_nothing),
		RIGGED(all_come_before_it_is_told),
		RIGGED(nothing_is_there_at_once),
		RIGGED(there_is_a_limit),
		RIGGED(at_most_eight_are_under_way),
		RIGGED(too_many_bytes_are_given_up),
		RIGGED(there_is_one_deadline_for_all),
		RIGGED(what_volumes_have_serves_when_nobody_answers),
	};
	following_init(16 << 20);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
