/* Propagation: from the write of Secrets at the API server until their new bytes have arrived, at each station.
 *
 *   propagate URL NAMESPACE ROUNDS VOLUMES FIFO N_CONTAINERS [CACERT CERT KEYFILE]
 *
 * VOLUMES is a file with a line "SECRET FOLDER" for each volume; FOLDER shows the key "key" of SECRET. In a round all these
 * Secrets are written, many at once, and the round ends when each station has seen all of it:
 *
 *   event      a plain watch, with nothing but libcurl, has got the Secret's event (one watch for all of them)
 *   readable   the new bytes are there when the file is read again and again (of some volumes, or that would be all that the
 *              machine does)
 *   inotify    a process that waits for the volume's MOVED_TO ..data was woken
 *   container  a process in a container was woken by that, and has read the file (test/bench/woken.c). It writes "VOLUME
 *              GENERATION NANOSECONDS" to FIFO, where VOLUME is the number of the line in VOLUMES
 *
 * Prints a JSON object with quantiles and a histogram for the way from each write, and from each event, to each station. */
#include <curl/curl.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/inotify.h>
#include <sys/prctl.h>

#include "common/b64.h"
#include "common/str.h"
#include "test/bench/bench.h"

#define LINES_MAX	4096
#define WAIT_NSEC	(60 * NSEC_PER_SEC)
#define IN_FLIGHT_MAX	32 /* writes */
#define POLLED_MAX	16 /* volumes that are read again and again */
#define POLL_NSEC	20000
#define PAUSE_MAX_NSEC	20000000 /* between rounds, so that they do not fall into step with anything */
#define EVENT_LEN_MAX	(1u << 16)
#define PER_DECADE	10 /* of a histogram's buckets */
#define HISTOGRAM_FIRST 1000 /* its first bucket ends at a microsecond */
#define N_BUCKETS	(8 * PER_DECADE + 2)
#define KEY_IN_EVENT	"\"data\":{\"key\":\""

struct secret {
	char *name, *url, *body;
	uint64_t written, event;
};

struct volume {
	struct secret *secret;
	char *folder, *file;
	int watch;
	uint64_t readable, inotify, container;
};

static const char *base, *ns, *cacert, *cert, *keyfile;
static struct secret *secrets;
static struct volume *volumes;
static size_t n_secrets, n_volumes, n_polled, n_containers;
static size_t polled[POLLED_MAX];
/* The round, and what has been seen in it. Round 0 is what is there at the start: of it the watch shows all. */
static atomic_size_t generation, n_events, n_readable, n_inotify, n_container;
static uint64_t random_state = 1;
static int inotify_fd, fifo_fd;

static _Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "propagate: %s: %s\n", what, why);
	exit(1);
}

static void *must(void *p)
{
	if (!p)
		fail("start", "out of memory");
	return p;
}

static CURL *handle_new(const char *url)
{
	CURL *c = must(curl_easy_init());

	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	if (cacert) {
		curl_easy_setopt(c, CURLOPT_CAINFO, cacert);
		curl_easy_setopt(c, CURLOPT_SSLCERT, cert);
		curl_easy_setopt(c, CURLOPT_SSLKEY, keyfile);
	}
	return c;
}

/* --- the value says which generation it is of */

#define VALUE_LEN 31

static void value_make(size_t of, char text[static VALUE_LEN + 1])
{
	snprintf(text, VALUE_LEN + 1, "%08zu-this-is-the-generation", of);
}

/* -1: it is none of these. */
static long value_generation(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	return end == text + 8 && *end == '-' ? n : -1;
}

/* --- event: the plain watch */

/* The fields are where the API server puts them; a JSON parser would only make the watch slower. */
static void take_event(const char *line, uint64_t t)
{
	const char *name = strstr(line, "\"name\":\""), *data = strstr(line, KEY_IN_EVENT);
	uint8_t text[64];
	size_t len, name_len;

	if (!name || !data)
		return;
	name += strlen("\"name\":\"");
	name_len = strcspn(name, "\"");
	data += strlen(KEY_IN_EVENT);
	if (b64_decode(data, strcspn(data, "\""), text, sizeof(text) - 1, &len) < 0)
		return;
	text[len] = 0;
	if (value_generation((const char *)text) != (long)generation)
		return;
	for (size_t i = 0; i < n_secrets; i++) {
		struct secret *s = &secrets[i];

		if (strncmp(s->name, name, name_len) == 0 && !s->name[name_len] && !s->event) {
			s->event = t;
			n_events++;
		}
	}
}

static size_t watch_data(char *data, size_t size, size_t n, void *userdata)
{
	static char line[EVENT_LEN_MAX];
	static size_t len;
	uint64_t t = now_nsec();

	for (char *rest = data, *end = data + size * n; rest < end;) {
		char *newline = memchr(rest, '\n', (size_t)(end - rest));
		size_t part = (size_t)((newline ?: end) - rest);

		if (len + part >= sizeof(line))
			fail("watch", "an event is too long");
		memcpy(line + len, rest, part);
		len += part;
		rest += part + (newline ? 1 : 0);
		if (newline) {
			line[len] = 0;
			len = 0;
			take_event(line, t);
		}
	}
	return size * n;
}

static void *watch_thread(void *arg)
{
	CURL *c = handle_new(arg);

	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, watch_data);
	fail("watch", curl_easy_strerror(curl_easy_perform(c)));
}

/* --- readable: looks again and again */

static long read_generation(const char *file)
{
	cleanup_fd int fd = open(file, O_RDONLY | O_CLOEXEC);
	char text[64];
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (n < 0)
		fail(file, strerror(errno)); /* which no reader may see, at no time */
	text[n] = 0;
	return value_generation(text);
}

/* A pass of the poller and the beginning of a round can come at the same time. */
static pthread_mutex_t round_lock = PTHREAD_MUTEX_INITIALIZER;

/* What it has read counts only in the round that it is of: a file has the last round's content until the next one's comes. */
static void note_readable(struct volume *v, size_t of, uint64_t t)
{
	pthread_mutex_lock(&round_lock);
	if (of == generation && !v->readable) {
		v->readable = t;
		n_readable++;
	}
	pthread_mutex_unlock(&round_lock);
}

static void *poll_thread(void *arg)
{
	prctl(PR_SET_TIMERSLACK, 1000);
	for (;;) {
		size_t now = generation;

		for (size_t i = 0; i < n_polled; i++) {
			struct volume *v = &volumes[polled[i]];

			if (!v->readable && read_generation(v->file) == (long)now)
				note_readable(v, now, now_nsec());
		}
		sleep_nsec(n_readable < n_polled ? POLL_NSEC : 10 * POLL_NSEC);
	}
	return NULL;
}

/* --- inotify and container: are woken */

static struct volume *volume_of(int watch)
{
	/* they are given in this order, nearly always from 1 */
	if (watch >= 1 && (size_t)watch <= n_volumes && volumes[watch - 1].watch == watch)
		return &volumes[watch - 1];
	for (size_t i = 0; i < n_volumes; i++)
		if (volumes[i].watch == watch)
			return &volumes[i];
	return NULL;
}

static void *inotify_thread(void *arg)
{
	static char events[1 << 16] __attribute__((__aligned__(__alignof__(struct inotify_event))));

	for (;;) {
		ssize_t len = read(inotify_fd, events, sizeof(events));
		uint64_t t = now_nsec();

		if (len <= 0)
			fail("inotify", strerror(errno));
		for (char *p = events; p < events + len;) {
			const struct inotify_event *e = (void *)p;
			struct volume *v = volume_of(e->wd);

			p += sizeof(*e) + e->len;
			if (v && e->len > 0 && str_eq(e->name, "..data") && !v->inotify) {
				v->inotify = t;
				n_inotify++;
			}
		}
	}
	return NULL;
}

static void *container_thread(void *arg)
{
	cleanup_file FILE *f = fdopen(fifo_fd, "re");
	size_t v, of;
	uintmax_t t;

	while (f && fscanf(f, "%zu %zu %ju", &v, &of, &t) == 3) {
		if (v >= n_volumes || of != generation || volumes[v].container)
			fail("fifo", "a container has told something unexpected");
		volumes[v].container = t;
		n_container++;
	}
	fail("fifo", "it has ended");
}

/* --- the writer */

static size_t ignore(char *data, size_t size, size_t n, void *userdata)
{
	return size * n;
}

static void write_next(CURLM *multi, CURL *c, struct secret *s)
{
	cleanup_free char *value = NULL;
	char text[VALUE_LEN + 1];

	value_make(generation, text);
	if (b64_encode(text, strlen(text), &value) < 0)
		fail("write", "out of memory");
	free(s->body);
	s->body = must(
		str_format("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"%s\",\"namespace\":"
			   "\"%s\"},\"data\":{\"key\":\"%s\"}}",
			   s->name, ns, value));
	curl_easy_setopt(c, CURLOPT_URL, s->url);
	curl_easy_setopt(c, CURLOPT_POSTFIELDS, s->body);
	s->written = now_nsec();
	curl_multi_add_handle(multi, c);
}

static void write_all(CURLM *multi, CURL **handles)
{
	size_t next = 0, done = 0;
	CURLMsg *message;
	int n;

	for (; next < MIN(n_secrets, (size_t)IN_FLIGHT_MAX); next++)
		write_next(multi, handles[next], &secrets[next]);
	while (done < n_secrets) {
		curl_multi_perform(multi, &n);
		while ((message = curl_multi_info_read(multi, &n))) {
			if (message->data.result != CURLE_OK)
				fail("PUT", curl_easy_strerror(message->data.result));
			done++;
			curl_multi_remove_handle(multi, message->easy_handle);
			if (next < n_secrets)
				write_next(multi, message->easy_handle, &secrets[next++]);
		}
		if (done < n_secrets)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
}

static void wait_for(const char *what, atomic_size_t *n, size_t all)
{
	uint64_t end = now_nsec() + WAIT_NSEC;

	while (*n < all) {
		if (now_nsec() > end)
			fail(what, "it has not come to all within a minute");
		sleep_nsec(100000);
	}
}

/* --- the figures */

struct series {
	const char *name;
	double *nsec;
	size_t n;
};

static struct series all[] = {
	{ "write to event" },	  { "write to readable" },	   { "write to inotify" },
	{ "write to container" }, { "event to readable" },	   { "event to inotify" },
	{ "event to container" }, { "first write to last event" }, { "first write to last inotify" },
};
enum {
	WRITE_EVENT,
	WRITE_READABLE,
	WRITE_INOTIFY,
	WRITE_CONTAINER,
	EVENT_READABLE,
	EVENT_INOTIFY,
	EVENT_CONTAINER,
	ALL_EVENT,
	ALL_INOTIFY,
};

static void add(size_t which, uint64_t from, uint64_t to)
{
	if (from && to)
		all[which].nsec[all[which].n++] = (double)to - (double)from;
}

static void add_round(void)
{
	uint64_t first = UINT64_MAX, last_event = 0, last_inotify = 0;

	for (size_t i = 0; i < n_secrets; i++) {
		add(WRITE_EVENT, secrets[i].written, secrets[i].event);
		first = MIN(first, secrets[i].written);
		last_event = MAX(last_event, secrets[i].event);
	}
	for (size_t i = 0; i < n_volumes; i++) {
		const struct volume *v = &volumes[i];

		add(WRITE_READABLE, v->secret->written, v->readable);
		add(WRITE_INOTIFY, v->secret->written, v->inotify);
		add(WRITE_CONTAINER, v->secret->written, v->container);
		add(EVENT_READABLE, v->secret->event, v->readable);
		add(EVENT_INOTIFY, v->secret->event, v->inotify);
		add(EVENT_CONTAINER, v->secret->event, v->container);
		last_inotify = MAX(last_inotify, v->inotify);
	}
	add(ALL_EVENT, first, last_event);
	add(ALL_INOTIFY, first, last_inotify);
}

/* [upper bound, how many] of each bucket that is not empty; what came before its event is in that up to 0. */
static void print_histogram(const double *sorted, size_t n)
{
	const char *comma = "";
	size_t at = 0, before = 0;

	for (int b = 0; b < N_BUCKETS && at < n; b++) {
		double upper = b == 0 ? 0 : HISTOGRAM_FIRST * pow(10, (double)(b - 1) / PER_DECADE);

		for (; at < n && (sorted[at] <= upper || b == N_BUCKETS - 1); at++)
			;
		if (at > before) {
			printf("%s[%.0f, %zu]", comma, upper, at - before);
			comma = ", ";
			before = at;
		}
	}
}

static void print_series(const struct series *s)
{
	if (s->n == 0)
		return;
	sort_numbers(s->nsec, s->n);
	printf("{\"bench\": \"propagate\", \"case\": \"%s\", \"secrets\": %zu, \"volumes\": %zu, \"median_ns\": %.0f, "
	       "\"q1_ns\": %.0f, \"q3_ns\": %.0f, \"p90_ns\": %.0f, \"p99_ns\": %.0f, \"max_ns\": %.0f, \"n\": %zu, "
	       "\"histogram\": [",
	       s->name, n_secrets, n_volumes, quantile(s->nsec, s->n, 0.5), quantile(s->nsec, s->n, 0.25),
	       quantile(s->nsec, s->n, 0.75), quantile(s->nsec, s->n, 0.9), quantile(s->nsec, s->n, 0.99),
	       s->nsec[s->n - 1], s->n);
	print_histogram(s->nsec, s->n);
	printf("]}\n");
}

/* --- start */

static struct secret *secret_named(const char *name)
{
	struct secret *s;

	/* the lines of one Secret follow each other, or each has its own */
	if (n_secrets > 0 && str_eq(secrets[n_secrets - 1].name, name))
		return &secrets[n_secrets - 1];
	s = &secrets[n_secrets++];
	s->name = must(strdup(name));
	s->url = must(str_format("%s/api/v1/namespaces/%s/secrets/%s", base, ns, name));
	return s;
}

static void read_volumes(const char *path)
{
	cleanup_file FILE *f = fopen(path, "re");
	char name[256], folder[2048];

	if (!f)
		fail(path, strerror(errno));
	secrets = must(calloc(LINES_MAX, sizeof(*secrets)));
	volumes = must(calloc(LINES_MAX, sizeof(*volumes)));
	while (n_volumes < LINES_MAX && fscanf(f, "%255s %2047s", name, folder) == 2) {
		struct volume *v = &volumes[n_volumes++];

		v->secret = secret_named(name);
		v->folder = must(strdup(folder));
		v->file = must(str_format("%s/key", folder));
		v->watch = inotify_add_watch(inotify_fd, folder, IN_MOVED_TO | IN_ONLYDIR);
		if (v->watch < 0)
			fail(folder, strerror(errno));
	}
	if (n_volumes == 0)
		fail(path, "it names no volume");
	n_polled = MIN(n_volumes, (size_t)POLLED_MAX);
	/* one from each part */
	for (size_t i = 0; i < n_polled; i++)
		polled[i] = i * n_volumes / n_polled + random_next(&random_state) % (n_volumes / n_polled);
}

static void new_round(void)
{
	pthread_mutex_lock(&round_lock);
	for (size_t i = 0; i < n_secrets; i++)
		secrets[i].written = secrets[i].event = 0;
	for (size_t i = 0; i < n_volumes; i++)
		volumes[i].readable = volumes[i].inotify = volumes[i].container = 0;
	n_events = n_readable = n_inotify = n_container = 0;
	generation++;
	pthread_mutex_unlock(&round_lock);
}

static void start(void *(*run)(void *arg), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, arg) != 0)
		fail("start", "no thread");
}

static CURL *writer_new(void)
{
	CURL *c = handle_new(base);

	curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, "PUT");
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, must(curl_slist_append(NULL, "Content-Type: application/json")));
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, ignore);
	/* a connection each: the writes are not what is measured, and must not wait for each other */
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	return c;
}

int main(int argc, char **argv)
{
	CURL *handles[IN_FLIGHT_MAX];
	uint64_t n_rounds, containers;
	CURLM *multi;

	if ((argc != 7 && argc != 10) || str_parse_u64(argv[3], 100000, &n_rounds) < 0 ||
	    str_parse_u64(argv[6], LINES_MAX, &containers) < 0 || n_rounds == 0) {
		fprintf(stderr,
			"usage: propagate URL NAMESPACE ROUNDS VOLUMES FIFO N_CONTAINERS [CACERT CERT KEYFILE]\n");
		return 2;
	}
	base = argv[1], ns = argv[2];
	n_containers = containers;
	if (argc == 10)
		cacert = argv[7], cert = argv[8], keyfile = argv[9];
	curl_global_init(CURL_GLOBAL_DEFAULT);
	inotify_fd = inotify_init1(IN_CLOEXEC);
	fifo_fd = open(argv[5], O_RDWR | O_CLOEXEC);
	if (inotify_fd < 0 || fifo_fd < 0)
		fail("start", strerror(errno));
	read_volumes(argv[4]);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		all[i].nsec = must(calloc(n_rounds * MAX(n_volumes, n_secrets), sizeof(double)));
	multi = must(curl_multi_init());
	for (size_t i = 0; i < IN_FLIGHT_MAX; i++)
		handles[i] = writer_new();

	start(watch_thread,
	      must(n_secrets == 1
			   ? str_format("%s/api/v1/namespaces/%s/secrets?watch=true&fieldSelector=metadata.name%%3D%s",
					base, ns, secrets[0].name)
			   : str_format("%s/api/v1/namespaces/%s/secrets?watch=true", base, ns)));
	start(poll_thread, NULL);
	start(inotify_thread, NULL);
	start(container_thread, NULL);
	wait_for("the watch", &n_events, n_secrets);
	wait_for("the first reads", &n_readable, n_polled);
	wait_for("the containers", &n_container, n_containers);

	for (uint64_t round = 0; round < n_rounds; round++) {
		sleep_nsec(random_next(&random_state) % PAUSE_MAX_NSEC);
		new_round();
		write_all(multi, handles);
		wait_for("the watch event", &n_events, n_secrets);
		wait_for("the new content", &n_readable, n_polled);
		wait_for("inotify's event", &n_inotify, n_volumes);
		wait_for("a container", &n_container, n_containers);
		add_round();
	}
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		print_series(&all[i]);
	fflush(stdout);
	_exit(0); /* the threads end with the process */
}
