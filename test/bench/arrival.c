/* What happens at an API server that was away when it is there again, and a thousand nodes find out: a simulation with the
 * daemon's own code (the whole API server source: reflectors, pollers, backoff, the hint that the server answers) for each
 * node, and with time, chance, connections and the server made up. So ten minutes of a cluster take seconds.
 *
 *   arrival [NODES SECRETS OUTAGE_SEC SEED]
 *   arrival graceful NODES SECRETS [SEED]
 *   arrival cold NODES SECRETS [SEED]
 *
 * Nodes start over a minute, follow SECRETS Secrets each, and lose all connections when the server goes. While it is
 * away, a connection is refused at once. The server is as fast as one can be (REPLY_USEC for each request, however many there
 * are), for a slow one only spreads out what comes. Beside it: client-go's reflectors, each of which has only its own backoff,
 * with the same policy (common/backoff.h); they never hear from each other that the server is back.
 *
 * graceful: all streams end, and the server is well, as after a GOAWAY or where another one takes over. client-go begins
 * all watches anew at once.
 * cold: all nodes start within one second, as a rack does that gets its power back. The kubelet lists and watches the pods, and
 * then each Secret, its lists within the same limit (kubeAPIQPS, kubeAPIBurst). */
#include <inttypes.h>
#include <sys/mman.h>

#include "agent/files.h"
#include "agent/source_api.h"
#include "common/backoff.h"
#include "common/list.h"
#include "common/log.h"
#include "common/secmem.h"
#include "common/str.h"

enum {
	CONNECT_USEC = 1000, /* a connection, TLS included; or its refusal */
	REPLY_USEC = 2000,
	START_WITHIN_SEC = 60, /* 1 for a cold start */
	QPS = 50, /* kubeAPIQPS and kubeAPIBurst */
	BURST = 100,
	UP_SEC = 300, /* before the outage, and after it */
	LISTS_MAX = 64, /* of one client at the same time (http.c) */
	BOOKMARK_SEC = 60,
	BIN_MSEC = 100,
	N_BINS = UP_SEC * 1000 / BIN_MSEC,
	SECRET_MEMORY = 64 << 20,
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "arrival: %s\n", what);
	exit(1);
}

static void *must(void *p)
{
	if (!p)
		die("out of memory");
	return p;
}

/* ---- chance: the same in each run with the same seed ---- */

static uint64_t chance;

static uint64_t chance_next(void)
{
	uint64_t z = chance += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* In libc's place: where common/backoff.c has its jitter from. */
int getentropy(void *buffer, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buffer)[i] = (uint8_t)(chance_next() >> 56);
	return 0;
}

/* ---- time: what is due, in the order in which it is due ---- */

struct event {
	uint64_t due_usec, order;
	void (*fn)(void *userdata);
	void *userdata;
	size_t at; /* in the heap; SIZE_MAX: it is off */
};

static uint64_t now_usec, n_ordered;
static struct event **heap;
static size_t heap_len, heap_size;

static bool is_before(const struct event *a, const struct event *b)
{
	return a->due_usec != b->due_usec ? a->due_usec < b->due_usec : a->order < b->order;
}

static void heap_put(size_t at, struct event *e)
{
	heap[at] = e;
	e->at = at;
}

static void heap_up(struct event *e)
{
	size_t at = e->at;

	for (; at > 0 && is_before(e, heap[(at - 1) / 2]); at = (at - 1) / 2)
		heap_put(at, heap[(at - 1) / 2]);
	heap_put(at, e);
}

static void heap_down(struct event *e)
{
	size_t at = e->at, child;

	for (; (child = 2 * at + 1) < heap_len; at = child) {
		if (child + 1 < heap_len && is_before(heap[child + 1], heap[child]))
			child++;
		if (!is_before(heap[child], e))
			break;
		heap_put(at, heap[child]);
	}
	heap_put(at, e);
}

static void event_off(struct event *e)
{
	struct event *last;
	size_t at = e->at;

	if (at == SIZE_MAX)
		return;
	e->at = SIZE_MAX;
	last = heap[--heap_len];
	if (last == e)
		return;
	heap_put(at, last);
	heap_up(last);
	heap_down(last);
}

static void event_set(struct event *e, uint64_t delay_usec)
{
	event_off(e);
	if (heap_len == heap_size) {
		heap_size = MAX(2 * heap_size, (size_t)1024);
		heap = must(reallocarray(heap, heap_size, sizeof(struct event *)));
	}
	e->due_usec = now_usec + delay_usec;
	e->order = n_ordered++;
	e->at = heap_len++;
	heap_up(e);
}

static void run_until(uint64_t end_usec)
{
	while (heap_len > 0 && heap[0]->due_usec <= end_usec) {
		struct event *e = heap[0];

		now_usec = e->due_usec;
		event_off(e);
		e->fn(e->userdata);
	}
	now_usec = end_usec;
}

/* ---- the loop: in common/loop.c's place ---- */

struct loop_source {
	struct event event;
	loop_fn fn;
	void *userdata;
};

static void source_fire(void *userdata)
{
	struct loop_source *s = userdata;

	s->fn(s, s->userdata);
}

uint64_t loop_now(struct loop *l)
{
	return now_usec;
}

int loop_add_timer(struct loop *l, loop_fn fn, void *userdata, struct loop_source **ret_source)
{
	struct loop_source *s = must(calloc(1, sizeof(*s)));

	*s = (struct loop_source){ .event = { .fn = source_fire, .userdata = s, .at = SIZE_MAX },
				   .fn = fn,
				   .userdata = userdata };
	*ret_source = s;
	return 0;
}

int loop_timer_set(struct loop_source *s, uint64_t delay_usec)
{
	event_set(&s->event, delay_usec);
	return 0;
}

void loop_timer_off(struct loop_source *s)
{
	event_off(&s->event);
}

int loop_add_defer(struct loop *l, loop_fn fn, void *userdata, struct loop_source **ret_source)
{
	return loop_add_timer(l, fn, userdata, ret_source);
}

int loop_defer_set(struct loop_source *s)
{
	event_set(&s->event, 0);
	return 0;
}

void loop_source_free(struct loop_source *s)
{
	if (!s)
		return;
	event_off(&s->event);
	free(s);
}

/* ---- the server, as one client sees it: in agent/http.c's place ---- */

enum verb { LIST, WATCH, GET, VERBS_N };

static bool server_is_up = true;
static struct {
	uint64_t since_usec; /* when the server came back; 0: it has not been away */
	uint64_t n[VERBS_N], n_refused;
	unsigned bins[N_BINS];
} seen;

struct http {
	struct list waiting, running; /* without a connection or a turn; asked */
	struct event connect, bookmark;
	bool connected;
	size_t n_lists;
	size_t n_watching; /* answered watches */
	uint64_t complete_usec; /* when there were last as many as there are to be */
};

struct http_request {
	struct list link;
	struct http *http;
	const struct http_callbacks *callbacks;
	void *userdata;
	char *target;
	enum verb verb;
	struct event event;
	bool answered; /* a watch */
	bool counted; /* in n_lists */
};

static void request_free(struct http_request *r)
{
	event_off(&r->event);
	list_remove(&r->link);
	r->http->n_lists -= r->counted;
	r->http->n_watching -= r->answered;
	free(r->target);
	free(r);
}

static void request_done(struct http_request *r, int status, int code, const char *why)
{
	const struct http_callbacks *callbacks = r->callbacks;
	struct http_result result = { .status = status, .retry_after_sec = -1 };
	void *userdata = r->userdata;

	if (code < 0)
		err_set(&result.err, code, "%s", why);
	request_free(r);
	callbacks->done(userdata, &result);
}

static const char *field_of(const char *target, const char *field, size_t *ret_len)
{
	const char *at = strstr(target, field);

	if (!at)
		return NULL;
	at += strlen(field);
	*ret_len = strcspn(at, "&");
	return at;
}

static char *secret_text(const char *name, size_t len)
{
	return must(str_format("{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%.*s\","
			       "\"namespace\":\"default\",\"uid\":\"u-%.*s\",\"resourceVersion\":\"7\"},"
			       "\"data\":{\"key\":\"dmFsdWU=\"}}",
			       (int)len, name, (int)len, name));
}

static char *body_of(const struct http_request *r)
{
	const char *name, *kind = strstr(r->target, "/pods?") ? "PodList" : "SecretList";
	cleanup_free char *item = NULL;
	size_t len;

	if (r->verb == GET) {
		name = strrchr(r->target, '/') + 1;
		return secret_text(name, strcspn(name, "?"));
	}
	name = field_of(r->target, "metadata.name%3D", &len);
	item = name ? secret_text(name, len) : must(strdup(""));
	return must(str_format("{\"kind\":\"%s\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"9\"},"
			       "\"items\":[%s]}",
			       kind, item));
}

static void start_waiting(struct http *h);
static size_t n_secrets = 30;

/* A watch goes on for as long as it has asked for. */
static void watch_answered(struct http_request *r)
{
	const char *seconds;
	size_t len;

	if (r->answered) {
		request_done(r, 200, 0, NULL);
		return;
	}
	r->answered = true;
	if (++r->http->n_watching == n_secrets + 1)
		r->http->complete_usec = now_usec;
	seconds = field_of(r->target, "timeoutSeconds=", &len);
	event_set(&r->event, strtoull(seconds ? seconds : "1800", NULL, 10) * USEC_PER_SEC);
	r->callbacks->head(r->userdata, 200);
}

static const char no_stream[] =
	"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"reason\":\"Invalid\","
	"\"message\":\"sendInitialEvents is forbidden\",\"code\":422}";

/* What the callbacks do may be the end of the request: it is looked for each time. */
static bool is_running(const struct http *h, const struct http_request *r)
{
	struct http_request *other;

	list_for_each (other, &h->running, link)
		if (other == r)
			return true;
	return false;
}

static void on_answer(void *userdata)
{
	struct http_request *r = userdata;
	struct http *h = r->http;
	bool refused = strstr(r->target, "sendInitialEvents=true");
	cleanup_free char *body = NULL;
	int status = refused ? 422 : 200;

	if (r->verb == WATCH && !refused) {
		watch_answered(r);
		return;
	}
	body = refused ? must(strdup(no_stream)) : body_of(r);
	r->callbacks->head(r->userdata, status);
	if (is_running(h, r))
		r->callbacks->body(r->userdata, body, strlen(body));
	if (is_running(h, r))
		request_done(r, status, 0, NULL);
	start_waiting(h);
}

static void arrive(struct http_request *r)
{
	uint64_t bin = (now_usec - seen.since_usec) / (BIN_MSEC * USEC_PER_MSEC);

	if (seen.since_usec == 0)
		return;
	seen.n[r->verb]++;
	if (bin < N_BINS)
		seen.bins[bin]++;
}

static struct http_request *next_waiting(const struct http *h)
{
	struct http_request *r;

	list_for_each (r, &h->waiting, link)
		if (r->verb == WATCH || h->n_lists < LISTS_MAX)
			return r;
	return NULL;
}

/* Calls nobody back. */
static void start_waiting(struct http *h)
{
	struct http_request *r;

	if (!h->connected && !list_empty(&h->waiting) && h->connect.at == SIZE_MAX)
		event_set(&h->connect, CONNECT_USEC);
	while (h->connected && (r = next_waiting(h))) {
		h->n_lists += r->verb != WATCH;
		r->counted = r->verb != WATCH;
		list_remove(&r->link);
		list_append(&h->running, &r->link);
		arrive(r);
		event_set(&r->event, REPLY_USEC);
	}
}

/* All that are on it now, not what they start meanwhile. */
static void fail_all(struct list *requests, int code, const char *why)
{
	struct list batch = LIST_INIT(batch);
	struct http_request *r;

	while ((r = list_first(requests, struct http_request, link))) {
		list_remove(&r->link);
		list_append(&batch, &r->link);
	}
	while ((r = list_first(&batch, struct http_request, link)))
		request_done(r, r->answered ? 200 : 0, code, why);
}

static void on_connect(void *userdata)
{
	struct http *h = userdata;

	h->connected = server_is_up;
	if (h->connected) {
		start_waiting(h);
		return;
	}
	seen.n_refused++;
	fail_all(&h->waiting, -ECONNREFUSED, "connect to the server: Connection refused");
}

static void connection_lost(struct http *h)
{
	h->connected = false;
	fail_all(&h->running, -EIO, "read from the server: connection lost");
}

/* As kube-apiserver tells each watch once a minute. The callback may end its own request, no other. */
static void on_bookmark(void *userdata)
{
	struct http *h = userdata;
	struct http_request *r;

	event_set(&h->bookmark, BOOKMARK_SEC * USEC_PER_SEC);
	list_for_each (r, &h->running, link) {
		const char *kind = strstr(r->target, "/pods?") ? "Pod" : "Secret";
		cleanup_free char *line = NULL;

		if (!r->answered)
			continue;
		line = must(str_format("{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"%s\",\"apiVersion\":\"v1\","
				       "\"metadata\":{\"resourceVersion\":\"9\"}}}\n",
				       kind));
		r->callbacks->body(r->userdata, line, strlen(line));
	}
}

int http_new(struct loop *l, const struct http_options *o, struct http **ret_h, struct err *e)
{
	struct http *h = must(calloc(1, sizeof(*h)));

	list_init(&h->waiting);
	list_init(&h->running);
	h->connect = (struct event){ .fn = on_connect, .userdata = h, .at = SIZE_MAX };
	h->bookmark = (struct event){ .fn = on_bookmark, .userdata = h, .at = SIZE_MAX };
	event_set(&h->bookmark, (uint64_t)(random01() * BOOKMARK_SEC * USEC_PER_SEC));
	*ret_h = h;
	return 0;
}

void http_free(struct http *h)
{
	struct http_request *r;

	if (!h)
		return;
	while ((r = list_first(&h->waiting, struct http_request, link)) ||
	       (r = list_first(&h->running, struct http_request, link)))
		request_free(r);
	event_off(&h->connect);
	event_off(&h->bookmark);
	free(h);
}

static enum verb verb_of(const struct http_get *get)
{
	if (get->long_lived)
		return WATCH;
	return strstr(get->target, "fieldSelector=") ? LIST : GET;
}

int http_get(struct http *h, const struct http_get *get, const struct http_callbacks *callbacks, void *userdata,
	     struct http_request **ret_r)
{
	struct http_request *r = must(calloc(1, sizeof(*r)));

	*r = (struct http_request){ .http = h,
				    .callbacks = callbacks,
				    .userdata = userdata,
				    .target = must(strdup(get->target)),
				    .verb = verb_of(get),
				    .event = { .fn = on_answer, .userdata = r, .at = SIZE_MAX } };
	list_init(&r->link);
	list_append(&h->waiting, &r->link);
	start_waiting(h);
	*ret_r = r;
	return 0;
}

void http_cancel(struct http_request *r)
{
	if (r)
		request_free(r);
}

const char *http_server(const struct http *h)
{
	return "https://server";
}

struct http_stats http_stats(const struct http *h)
{
	return (struct http_stats){ .n_connections = h->connected };
}

struct http_target http_target(const struct http *h)
{
	return (struct http_target){ .port = 443 };
}

int http_set_token(struct http *h, const char *token)
{
	return 0;
}

int http_set_tls(struct http *h, const struct http_tls *tls)
{
	return 0;
}

void http_reopen(struct http *h)
{
}

/* ---- files: the credentials are in the kubeconfig ---- */

static int allow(struct files *f, const char *path)
{
	return 0;
}

static int open_file(struct files *f, const char *path, files_open_fn fn, void *userdata)
{
	return -EACCES;
}

static void cancel(struct files *f, void *userdata)
{
}

static void free_nothing(struct files *f)
{
}

static const struct files_vtable FILES = {
	.allow_file = allow, .allow_dir = allow, .open = open_file, .cancel = cancel, .free = free_nothing
};

/* ---- the nodes ---- */

struct node {
	struct source *source;
	struct event start;
	bool wants;
};

static size_t n_nodes = 1000;
static uint64_t outage_usec = 600 * USEC_PER_SEC;
static enum { AWAY, GRACEFUL, COLD } scene = AWAY;

static void ignore_pod(void *userdata, struct pod *pod)
{
}

static void ignore_uid(void *userdata, const char *uid)
{
}

static void on_pods_synced(void *userdata)
{
	struct node *n = userdata;
	char name[32];

	if (n->wants)
		return;
	n->wants = true;
	for (size_t i = 0; i < n_secrets; i++) {
		snprintf(name, sizeof(name), "secret-%zu", i);
		if (source_want(n->source, OBJECT_SECRET, "default", name) < 0)
			die("out of memory");
	}
}

static void ignore_object(void *userdata, enum object_kind kind, const char *ns, const char *name,
			  struct secret *secret)
{
}

static void ignore_failure(void *userdata, enum object_kind kind, const char *ns, const char *name, const struct err *e)
{
}

static const struct source_sink SINK = { .pod_changed = ignore_pod,
					 .pod_removed = ignore_uid,
					 .pods_synced = on_pods_synced,
					 .object_changed = ignore_object,
					 .object_failed = ignore_failure };

static void node_start(void *userdata)
{
	struct node *n = userdata;

	if (source_start(n->source, NULL) < 0)
		die("start a node");
}

static void node_init(struct node *n, const char *kubeconfig)
{
	static struct files files = { .vtable = &FILES };
	const struct source_api_options options = {
		.kubeconfig = kubeconfig, .node_name = "node", .kube_api_qps = QPS, .kube_api_burst = BURST
	};
	struct err e = ERR_INIT;

	if (source_api_new(NULL, &files, &options, &SINK, n, &n->source, &e) < 0)
		die(err_text(&e));
	n->start = (struct event){ .fn = node_start, .userdata = n, .at = SIZE_MAX };
	event_set(&n->start, (uint64_t)(random01() * (scene == COLD ? 1 : START_WITHIN_SEC) * USEC_PER_SEC));
}

/* When each node had all its watches again, after the server had come back. */
static uint64_t back_usec(const struct http *h)
{
	return h->complete_usec > seen.since_usec ? h->complete_usec - seen.since_usec : USEC_INFINITY;
}

/* ---- what is told ---- */

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static unsigned busiest(const unsigned *bins, size_t width)
{
	unsigned sum = 0, most = 0;

	for (size_t i = 0; i < N_BINS; i++) {
		sum += bins[i];
		sum -= i >= width ? bins[i - width] : 0;
		most = MAX(most, sum);
	}
	return most;
}

static unsigned total(const unsigned *bins)
{
	unsigned sum = 0;

	for (size_t i = 0; i < N_BINS; i++)
		sum += bins[i];
	return sum;
}

static double share_after(const unsigned *bins, double share)
{
	unsigned sum = 0, all = total(bins);

	for (size_t i = 0; i < N_BINS; i++) {
		sum += bins[i];
		if (sum >= share * all)
			return (double)(i + 1) * BIN_MSEC / 1000;
	}
	return 0;
}

static void print_bins(const char *who, const unsigned *bins)
{
	size_t last = 0;

	if (scene != AWAY)
		return;
	for (size_t i = 0; i < N_BINS; i++)
		if (bins[i] > 0)
			last = i;
	printf("{\"bench\":\"arrival\",\"what\":\"histogram\",\"who\":\"%s\",\"nodes\":%zu,\"secrets\":%zu,\"outage_"
	       "s\":%.0f,"
	       "\"bin_ms\":%d,\"requests\":[",
	       who, n_nodes, n_secrets, (double)outage_usec / USEC_PER_SEC, BIN_MSEC);
	for (size_t i = 0; i <= last; i++)
		printf("%s%u", i > 0 ? "," : "", bins[i]);
	printf("]}\n");
}

static void print_spread(const char *who, const unsigned *bins)
{
	static const char *const WHAT[] = { [AWAY] = "spread", [GRACEFUL] = "graceful", [COLD] = "cold" };

	printf("{\"bench\":\"arrival\",\"what\":\"%s\",\"who\":\"%s\",\"nodes\":%zu,\"secrets\":%zu", WHAT[scene], who,
	       n_nodes, n_secrets);
	if (scene == AWAY)
		printf(",\"outage_s\":%.0f", (double)outage_usec / USEC_PER_SEC);
	printf(",\"requests\":%u,\"busiest_100ms\":%u,\"busiest_1s\":%u,\"half_after_s\":%.1f,\"p90_after_s\":%.1f,"
	       "\"all_after_s\":%.1f",
	       total(bins), busiest(bins, 1), busiest(bins, 1000 / BIN_MSEC), share_after(bins, 0.5),
	       share_after(bins, 0.9), share_after(bins, 1.0));
}

static void print_tries(uint64_t n)
{
	if (scene == AWAY)
		printf(",\"tries_per_s_while_away\":%.1f", (double)n / ((double)outage_usec / USEC_PER_SEC));
}

/* When the nodes had all their watches again. */
static void print_back(uint64_t *back)
{
	uint64_t median, p99;

	qsort(back, n_nodes, sizeof(*back), compare);
	median = back[n_nodes / 2];
	p99 = back[n_nodes * 99 / 100];
	printf(",\"node_back_median_s\":%.2f,\"node_back_p99_s\":%.2f,\"node_back_last_s\":%.2f",
	       (double)median / USEC_PER_SEC, (double)p99 / USEC_PER_SEC, (double)back[n_nodes - 1] / USEC_PER_SEC);
}

/* ---- client-go's: each reflector by itself ---- */

struct model {
	unsigned bins[N_BINS];
	uint64_t *back; /* of each node */
	uint64_t n_tries;
};

static void model_request(struct model *m, size_t node, uint64_t at_usec)
{
	uint64_t bin = at_usec / (BIN_MSEC * USEC_PER_MSEC);

	m->bins[MIN(bin, (uint64_t)N_BINS - 1)]++;
	m->back[node] = MAX(m->back[node], at_usec + REPLY_USEC);
}

/* How long after the outage a reflector tries. */
static uint64_t comes_after(struct model *m)
{
	struct backoff b = BACKOFF_INIT(&BACKOFF_REFLECTOR);
	uint64_t t = 0;

	for (; t < outage_usec; m->n_tries++)
		t += backoff_next(&b, t, random01());
	return t - outage_usec;
}

static void model_away(struct model *m, size_t node)
{
	for (size_t i = 0; i <= n_secrets; i++)
		model_request(m, node, comes_after(m) + CONNECT_USEC);
}

static void model_graceful(struct model *m, size_t node)
{
	for (size_t i = 0; i <= n_secrets; i++)
		model_request(m, node, CONNECT_USEC);
}

static void model_cold(struct model *m, size_t node)
{
	uint64_t start = (uint64_t)(random01() * USEC_PER_SEC) + CONNECT_USEC, at;

	model_request(m, node, start);
	model_request(m, node, start + REPLY_USEC);
	for (size_t i = 1; i <= n_secrets; i++) { /* the pods' list was the first of the burst */
		at = start + REPLY_USEC + (i < BURST ? 0 : (i + 1 - BURST) * USEC_PER_SEC / QPS);
		model_request(m, node, at);
		model_request(m, node, at + REPLY_USEC);
	}
}

static void tell_client_go(void)
{
	static struct model m;

	m.back = must(calloc(n_nodes, sizeof(*m.back)));
	for (size_t i = 0; i < n_nodes; i++)
		(scene == AWAY ? model_away : scene == GRACEFUL ? model_graceful : model_cold)(&m, i);
	print_spread("client-go", m.bins);
	print_tries(m.n_tries);
	print_back(m.back);
	printf("}\n");
	print_bins("client-go", m.bins);
	free(m.back);
}

static void tell(struct http *const *clients)
{
	uint64_t *back = must(calloc(n_nodes, sizeof(*back)));
	size_t n_missing = 0;

	for (size_t i = 0; clients[i]; i++) {
		back[i] = clients[i]->n_watching == n_secrets + 1 ? back_usec(clients[i]) : USEC_INFINITY;
		n_missing += back[i] == USEC_INFINITY;
	}
	print_spread("secretlet", seen.bins);
	printf(",\"lists\":%" PRIu64 ",\"watches\":%" PRIu64 ",\"gets\":%" PRIu64, seen.n[LIST], seen.n[WATCH],
	       seen.n[GET]);
	print_tries(seen.n_refused);
	printf(",\"nodes_not_back\":%zu", n_missing);
	print_back(back);
	printf("}\n");
	print_bins("secretlet", seen.bins);
	free(back);
}

static size_t number(const char *text)
{
	uint64_t n = 0;

	if (str_parse_u64(text, 100000, &n) < 0 || n == 0)
		die("usage: arrival [NODES SECRETS OUTAGE_SEC SEED] | graceful|cold NODES SECRETS [SEED]");
	return (size_t)n;
}

static void make_nodes(struct node *nodes, struct http **clients)
{
	static const char text[] = "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: "
				   "\"https://server\"}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: x, context: "
				   "{cluster: c, user: u}}]\ncurrent-context: x\n";
	int fd = memfd_create("kubeconfig", 0);
	cleanup_free char *path = must(str_format("/proc/self/fd/%d", fd));

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die("write a kubeconfig");
	for (size_t i = 0; i < n_nodes; i++)
		node_init(&nodes[i], path);
	close(fd);
	/* time 0 is no time */
	run_until(scene == COLD ? 1 : START_WITHIN_SEC * USEC_PER_SEC);
	if (scene == COLD)
		seen.since_usec = now_usec;
	run_until(now_usec + UP_SEC * USEC_PER_SEC);
	for (size_t i = 0; i < n_nodes; i++)
		clients[i] = source_api_http(nodes[i].source);
}

static void lose_all(struct http *const *clients)
{
	server_is_up = false;
	for (size_t i = 0; clients[i]; i++)
		connection_lost(clients[i]);
	run_until(now_usec + outage_usec);
	server_is_up = true;
	seen.since_usec = now_usec;
}

static void end_all(struct http *const *clients)
{
	seen.since_usec = now_usec;
	for (size_t i = 0; clients[i]; i++) {
		clients[i]->connected = false;
		fail_all(&clients[i]->running, 0, NULL);
		start_waiting(clients[i]);
	}
}

static int take_scene(int argc, char **argv)
{
	int used = 0;

	if (argc > 1 && strcmp(argv[1], "graceful") == 0)
		scene = GRACEFUL, used = 1;
	else if (argc > 1 && strcmp(argv[1], "cold") == 0)
		scene = COLD, used = 1;
	return used;
}

int main(int argc, char **argv)
{
	struct http **clients;
	struct node *nodes;
	int used = take_scene(argc, argv), n = argc - used;

	argv += used;
	log_set_level(LOG_LEVEL_ERROR);
	n_nodes = n > 1 ? number(argv[1]) : n_nodes;
	n_secrets = n > 2 ? number(argv[2]) : n_secrets;
	if (scene == AWAY)
		outage_usec = n > 3 ? number(argv[3]) * USEC_PER_SEC : outage_usec;
	chance = n > (scene == AWAY ? 4 : 3) ? number(argv[scene == AWAY ? 4 : 3]) : 1;
	if (secmem_init(SECRET_MEMORY, NULL) < 0)
		die("no memory for Secrets");
	nodes = must(calloc(n_nodes, sizeof(*nodes)));
	clients = must(calloc(n_nodes + 1, sizeof(struct http *))); /* the last one is NULL */
	make_nodes(nodes, clients);
	for (size_t i = 0; clients[i]; i++)
		if (clients[i]->n_watching != n_secrets + 1)
			die("a node does not get its watches");

	if (scene == AWAY)
		lose_all(clients);
	else if (scene == GRACEFUL)
		end_all(clients);
	if (scene != COLD)
		run_until(now_usec + UP_SEC * USEC_PER_SEC);
	tell(clients);
	tell_client_go();
	return 0;
}
