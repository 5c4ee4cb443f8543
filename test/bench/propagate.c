/* Propagation: how long after a plain watch on the same machine has got a Secret's event its new bytes are readable in
 * the volume. A thread watches the Secret with nothing but libcurl, another reads the file until it changes, the main
 * thread writes. Prints median, 90th and 99th percentile of (readable - event) and of (readable - written).
 *
 *   propagate URL NAMESPACE NAME KEY FILE N [CACERT CERT KEYFILE] */
#include <curl/curl.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "common/b64.h"
#include "common/base.h"
#include "common/str.h"

#define N_MAX	 100000
#define WAIT_SEC 30

static const char *url, *ns, *name, *key, *file, *cacert, *cert, *keyfile;
static size_t n_updates;
static uint64_t *written, *event, *readable;
static atomic_size_t n_events, n_readable;
static atomic_bool watching, stop;
/* base64 of each value, so that the watcher finds it without decoding */
static char **wanted;

static uint64_t now_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * USEC_PER_SEC + (uint64_t)t.tv_nsec / NSEC_PER_USEC;
}

static _Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "propagate: %s: %s\n", what, why);
	exit(1);
}

static CURL *handle_new(const char *target)
{
	CURL *c = curl_easy_init();

	if (!c)
		fail("curl", "out of memory");
	curl_easy_setopt(c, CURLOPT_URL, target);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
	if (cacert) {
		curl_easy_setopt(c, CURLOPT_CAINFO, cacert);
		curl_easy_setopt(c, CURLOPT_SSLCERT, cert);
		curl_easy_setopt(c, CURLOPT_SSLKEY, keyfile);
	}
	return c;
}

static size_t ignore(char *data, size_t size, size_t n, void *userdata)
{
	return size * n;
}

/* --- the plain watch --- */

static size_t watch_data(char *data, size_t size, size_t n, void *userdata)
{
	static char line[1 << 16];
	static size_t len;
	uint64_t t = now_usec();

	for (size_t i = 0; i < size * n; i++) {
		if (data[i] != '\n') {
			if (len < sizeof(line) - 1)
				line[len++] = data[i];
			continue;
		}
		line[len] = 0;
		len = 0;
		watching = true;
		size_t at = n_events;

		if (at < n_updates && strstr(line, wanted[at])) {
			event[at] = t;
			n_events = at + 1;
		}
	}
	return stop ? 0 : size * n;
}

static void *watch_thread(void *arg)
{
	cleanup_free char *target = str_format(
		"%s/api/v1/namespaces/%s/secrets?watch=true&fieldSelector=metadata.name%%3D%s", url, ns, name);
	CURL *c = handle_new(target);

	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, watch_data);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_perform(c);
	curl_easy_cleanup(c);
	return NULL;
}

/* --- the reader --- */

static void value_make(size_t i, char text[static 48])
{
	snprintf(text, 48, "value-%08zu-of-bench", i);
}

static void *read_thread(void *arg)
{
	char expected[48], bytes[64];

	for (size_t i = 0; i < n_updates && !stop; i++) {
		value_make(i, expected);
		for (;;) {
			cleanup_fd int fd = open(file, O_RDONLY | O_CLOEXEC);
			ssize_t n = fd >= 0 ? read(fd, bytes, sizeof(bytes) - 1) : -1;

			if (n < 0)
				fail(file, strerror(errno));
			bytes[n] = 0;
			if (strcmp(bytes, expected) == 0)
				break;
			if (stop)
				return NULL;
			nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
		}
		readable[i] = now_usec();
		n_readable = i + 1;
	}
	return NULL;
}

/* --- the writer --- */

static void put(CURL *c, size_t i)
{
	cleanup_free char *body = str_format(
		"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"},"
		"\"data\":{\"%s\":\"%s\"}}",
		name, ns, key, wanted[i]);
	CURLcode r;

	curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
	written[i] = now_usec();
	r = curl_easy_perform(c);
	if (r != CURLE_OK)
		fail("PUT", curl_easy_strerror(r));
}

static void wait_until(const char *what, atomic_size_t *n, size_t at_least)
{
	uint64_t end = now_usec() + WAIT_SEC * USEC_PER_SEC;

	while (*n < at_least) {
		if (now_usec() > end)
			fail(what, "did not come within 30 s");
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print_percentiles(const char *what, const uint64_t *from, const uint64_t *to, const char *goal)
{
	cleanup_free double *ms = calloc(n_updates, sizeof(*ms));

	for (size_t i = 0; i < n_updates; i++)
		ms[i] = ((double)to[i] - (double)from[i]) / 1000;
	qsort(ms, n_updates, sizeof(*ms), compare);
	printf("%-34s %7.2f %7.2f %7.2f %7.2f  %s\n", what, ms[n_updates / 2], ms[n_updates * 9 / 10],
	       ms[n_updates * 99 / 100], ms[n_updates - 1], goal);
}

int main(int argc, char **argv)
{
	struct curl_slist *headers = NULL;
	pthread_t watcher, reader;
	uint64_t end;
	CURL *c;

	if (argc != 7 && argc != 10) {
		fprintf(stderr, "usage: propagate URL NAMESPACE NAME KEY FILE N [CACERT CERT KEYFILE]\n");
		return 2;
	}
	url = argv[1], ns = argv[2], name = argv[3], key = argv[4], file = argv[5];
	n_updates = strtoul(argv[6], NULL, 10);
	if (argc == 10)
		cacert = argv[7], cert = argv[8], keyfile = argv[9];
	if (n_updates < 1 || n_updates > N_MAX)
		fail(argv[6], "not a number of updates");
	written = calloc(n_updates, sizeof(*written));
	event = calloc(n_updates, sizeof(*event));
	readable = calloc(n_updates, sizeof(*readable));
	wanted = calloc(n_updates, sizeof(*wanted));
	if (!written || !event || !readable || !wanted)
		fail("start", "out of memory");
	for (size_t i = 0; i < n_updates; i++) {
		char text[48];

		value_make(i, text);
		if (b64_encode(text, strlen(text), &wanted[i]) < 0)
			fail("start", "out of memory");
	}

	curl_global_init(CURL_GLOBAL_DEFAULT);
	cleanup_free char *target = str_format("%s/api/v1/namespaces/%s/secrets/%s", url, ns, name);
	c = handle_new(target);
	headers = curl_slist_append(NULL, "Content-Type: application/json");
	curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, "PUT");
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, ignore);
	pthread_create(&watcher, NULL, watch_thread, NULL);
	for (end = now_usec() + WAIT_SEC * USEC_PER_SEC; !watching;) {
		if (now_usec() > end)
			fail("watch", "does not start");
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	pthread_create(&reader, NULL, read_thread, NULL);
	for (size_t i = 0; i < n_updates; i++) {
		put(c, i);
		wait_until("the watch event", &n_events, i + 1);
		wait_until("the new content", &n_readable, i + 1);
	}
	stop = true;
	pthread_join(reader, NULL);

	printf("%-34s %7s %7s %7s %7s\n", "milliseconds", "median", "p90", "p99", "max");
	print_percentiles("plain watch event to readable", event, readable, "median at most 2, p99 at most 10");
	print_percentiles("written to plain watch event", written, event, "");
	print_percentiles("written to readable", written, readable, "");
	fflush(stdout);
	_exit(0); /* the watch ends with the process */
}
