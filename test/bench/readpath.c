/* Read path: what programs do with the files of a volume, in folders that have the same files, in turns.
 *
 *   readpath KEYS SIZE THREADS SECONDS NAME=FOLDER[,COUNTER]...
 *
 * Prints one JSON object for each operation and folder. Ratios are to the first folder. Operations come one after the
 * other; each has rounds for SECONDS, and in a round each folder has its turn, in a random order, so that a noisy machine
 * disturbs all alike. The program does the same in each turn: some calls that are not measured, then calls that are timed
 * together (the figures but p99_ns), then calls that are timed one by one (p99_ns; with what it costs to look at the
 * clock). Each call takes the folder's next key. With several threads, all do that at the same time. What was measured while
 * somebody emptied the kernel's caches is measured again.
 *
 * COUNTER says how many requests the kernel has sent to the file system's process (FORGET excepted): the control socket of
 * a secretlet, or a file with a uint64_t. It is read before and after each turn.
 *
 * Before that each file is read in all folders, and has to be the same. */
#include <curl/curl.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/buf.h"
#include "common/str.h"
#include "test/bench/bench.h"

#define FOLDERS_MAX    8
#define THREADS_MAX    8
#define ROUNDS_MIN     9
#define ROUNDS_MAX     1000
#define CALLS_MAX      2000
#define SINGLES_MAX    50
#define SLOW_TURN_NSEC 3000000 /* of one that is much slower, which then has fewer calls in its turns */
#define TURN_NSEC      300000 /* of the first folder; short, so that few turns are interrupted */
#define TRIES	       5
#define SPINS	       10000
#define RESAMPLES      400
#define STATUS_MAX     (1u << 20)

struct key {
	char *path;
	int fd;
};

struct folder {
	const char *name, *path;
	char *counter;
	bool has_links;
	CURL *curl;
	const volatile uint64_t *count;
	struct folder *shares; /* its counter is this one's */
	uint64_t before, requests;
	struct key *keys;
	size_t next[THREADS_MAX]; /* of the keys, each thread's */
	/* of the operation that is measured */
	double nsec[ROUNDS_MAX], ratio[ROUNDS_MAX];
	double *singles;
	size_t n_singles;
	size_t calls_per_turn;
	uint64_t n_calls, n_requests;
};

static struct folder folders[FOLDERS_MAX];
static size_t n_folders, n_keys, key_size;
static unsigned n_threads;

static _Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "readpath: %s: %s\n", what, why);
	exit(1);
}

/* --- the operations: what a thread does with one key */

struct worker {
	pthread_t thread;
	char *bytes; /* key_size + 1 */
	double nsec_per_call;
	double singles[SINGLES_MAX];
	unsigned touched; /* so that no read of memory is left out */
};

static void op_open_read_close(struct worker *w, struct folder *f, size_t k)
{
	int fd = open(f->keys[k].path, O_RDONLY);

	if (fd < 0 || read(fd, w->bytes, key_size + 1) != (ssize_t)key_size)
		fail(f->keys[k].path, "open and read");
	close(fd);
}

static void op_stat(struct worker *w, struct folder *f, size_t k)
{
	struct stat st;

	if (stat(f->keys[k].path, &st) < 0 || (size_t)st.st_size != key_size)
		fail(f->keys[k].path, "stat");
}

static void op_readlink(struct worker *w, struct folder *f, size_t k)
{
	char target[256];

	if (readlink(f->keys[k].path, target, sizeof(target)) <= 0)
		fail(f->keys[k].path, "readlink");
}

static void op_readdir(struct worker *w, struct folder *f, size_t k)
{
	DIR *dir = opendir(f->path);
	size_t n = 0;

	if (!dir)
		fail(f->path, "opendir");
	while (readdir(dir))
		n++;
	if (n < n_keys + 2) /* with "." and ".." */
		fail(f->path, "readdir");
	closedir(dir);
}

static void op_pread(struct worker *w, struct folder *f, size_t k)
{
	if (pread(f->keys[k].fd, w->bytes, key_size + 1, 0) != (ssize_t)key_size)
		fail(f->keys[k].path, "pread");
}

static void op_mmap(struct worker *w, struct folder *f, size_t k)
{
	const volatile char *bytes = mmap(NULL, key_size, PROT_READ, MAP_SHARED, f->keys[k].fd, 0);

	if (bytes == MAP_FAILED)
		fail(f->keys[k].path, "mmap");
	for (size_t i = 0; i < key_size; i += 4096)
		w->touched += (unsigned char)bytes[i];
	munmap((void *)(uintptr_t)bytes, key_size);
}

struct operation {
	const char *name;
	void (*call)(struct worker *w, struct folder *f, size_t key);
	bool of_links;
};

static const struct operation operations[] = {
	{ "open+read+close", op_open_read_close },
	{ "stat", op_stat },
	{ "readlink", op_readlink, .of_links = true },
	{ "readdir", op_readdir },
	{ "pread", op_pread },
	{ "mmap", op_mmap },
};

/* --- a turn */

static struct worker workers[THREADS_MAX];
static pthread_barrier_t begin, end;
static atomic_uint n_there;
static struct {
	const struct operation *op;
	struct folder *folder;
	size_t n_calls, n_singles;
} turn;

static void call_next(struct worker *w)
{
	size_t *next = &turn.folder->next[w - workers];

	turn.op->call(w, turn.folder, *next);
	*next = *next + 1 < n_keys ? *next + 1 : 0;
}

static void take_turn(struct worker *w)
{
	uint64_t a, b;

	for (size_t i = 0; i <= turn.n_calls / 10; i++)
		call_next(w);
	/* one may have been woken later than the other */
	n_there++;
	for (unsigned i = 0; n_there < n_threads; i++)
		if (i > SPINS)
			sched_yield();
	a = now_nsec();
	for (size_t i = 0; i < turn.n_calls; i++)
		call_next(w);
	b = now_nsec();
	w->nsec_per_call = (double)(b - a) / (double)turn.n_calls;
	for (size_t i = 0; i < turn.n_singles; i++) {
		a = now_nsec();
		call_next(w);
		b = now_nsec();
		w->singles[i] = (double)(b - a);
	}
}

static void *work(void *arg)
{
	for (;;) {
		pthread_barrier_wait(&begin);
		take_turn(arg);
		pthread_barrier_wait(&end);
	}
	return NULL;
}

/* Nanoseconds per call, the mean of the threads. */
static double take_turns(const struct operation *op, struct folder *f, size_t n_calls, size_t n_singles)
{
	double sum = 0;

	turn.op = op, turn.folder = f, turn.n_calls = n_calls, turn.n_singles = n_singles;
	n_there = 0;
	pthread_barrier_wait(&begin);
	take_turn(&workers[0]);
	pthread_barrier_wait(&end);
	for (unsigned i = 0; i < n_threads; i++)
		sum += workers[i].nsec_per_call;
	return sum / n_threads;
}

/* --- requests */

static size_t status_data(char *data, size_t size, size_t n, void *userdata)
{
	return buf_add(userdata, data, size * n) < 0 ? 0 : size * n;
}

static uint64_t requests_of_secretlet(struct folder *f)
{
	cleanup_buf struct buf body = BUF_INIT(STATUS_MAX);
	const char *name;
	json_t *status, *n;
	uint64_t sum = 0;

	curl_easy_setopt(f->curl, CURLOPT_WRITEDATA, &body);
	if (curl_easy_perform(f->curl) != CURLE_OK)
		fail(f->counter, "no status");
	status = json_loadb(body.data ?: "", body.len, 0, NULL);
	if (!json_is_object(json_object_get(json_object_get(status, "fuse"), "requests")))
		fail(f->counter, "a status without requests");
	json_object_foreach (json_object_get(json_object_get(status, "fuse"), "requests"), name, n) {
		if (!strstr(name, "FORGET"))
			sum += (uint64_t)json_integer_value(n);
	}
	json_decref(status);
	return sum;
}

/* All counters are read, whoever had the turn: each turn begins with the same caches. */
static void look_at_counters(void)
{
	for (size_t i = 0; i < n_folders; i++) {
		struct folder *f = &folders[i];

		f->before = f->requests;
		if (f->shares)
			f->requests = f->shares->requests;
		else if (f->curl)
			f->requests = requests_of_secretlet(f);
		else if (f->count)
			f->requests = *f->count;
	}
}

static void open_counter(struct folder *f)
{
	struct stat st;
	int fd;

	for (struct folder *other = folders; other < f && !f->shares; other++)
		if (str_eq(other->counter, f->counter))
			f->shares = other;
	if (f->shares)
		return;
	if (stat(f->counter, &st) < 0)
		fail(f->counter, strerror(errno));
	if (S_ISSOCK(st.st_mode)) {
		f->curl = curl_easy_init();
		curl_easy_setopt(f->curl, CURLOPT_UNIX_SOCKET_PATH, f->counter);
		curl_easy_setopt(f->curl, CURLOPT_URL, "http://localhost/v1/status");
		curl_easy_setopt(f->curl, CURLOPT_FAILONERROR, 1L);
		curl_easy_setopt(f->curl, CURLOPT_WRITEFUNCTION, status_data);
		return;
	}
	fd = open(f->counter, O_RDONLY | O_CLOEXEC);
	f->count = mmap(NULL, sizeof(*f->count), PROT_READ, MAP_SHARED, fd, 0);
	if (fd < 0 || f->count == MAP_FAILED)
		fail(f->counter, strerror(errno));
	close(fd);
}

/* --- the folders */

static void parse_folder(char *arg)
{
	struct folder *f = &folders[n_folders++];
	char *equals = strchr(arg, '='), *comma = equals ? strchr(equals, ',') : NULL;

	if (!equals)
		fail(arg, "NAME=FOLDER[,COUNTER] is expected");
	*equals = 0;
	f->name = arg, f->path = equals + 1;
	if (comma) {
		*comma = 0;
		f->counter = comma + 1;
		open_counter(f);
	}
	for (unsigned i = 0; i < n_threads; i++)
		f->next[i] = n_keys / n_threads * i;
	f->keys = calloc(n_keys, sizeof(*f->keys));
	f->singles = calloc((size_t)ROUNDS_MAX * SINGLES_MAX * n_threads, sizeof(*f->singles));
	if (!f->keys || !f->singles)
		fail("start", "out of memory");
}

static int no_dots(const struct dirent *entry)
{
	return !str_starts(entry->d_name, ".");
}

static void find_keys(struct folder *f)
{
	struct dirent **entries;
	int n = scandir(f->path, &entries, no_dots, alphasort);
	struct stat st;

	if (n < 0 || (size_t)n != n_keys)
		fail(f->path, n < 0 ? strerror(errno) : "another number of keys");
	for (size_t k = 0; k < n_keys; k++) {
		f->keys[k].path = str_format("%s/%s", f->path, entries[k]->d_name);
		f->keys[k].fd = open(f->keys[k].path, O_RDONLY | O_CLOEXEC);
		if (f->keys[k].fd < 0)
			fail(f->keys[k].path, strerror(errno));
		free(entries[k]);
	}
	free(entries);
	f->has_links = lstat(f->keys[0].path, &st) == 0 && S_ISLNK(st.st_mode);
}

static void compare_keys(void)
{
	struct worker *w = &workers[0];
	char *first = malloc(key_size + 1);

	if (!first)
		fail("start", "out of memory");
	for (size_t k = 0; k < n_keys; k++) {
		for (size_t i = 0; i < n_folders; i++) {
			op_open_read_close(w, &folders[i], k);
			if (i == 0)
				memcpy(first, w->bytes, key_size);
			else if (memcmp(first, w->bytes, key_size) != 0)
				fail(folders[i].keys[k].path, "it has another content than the first folder's");
		}
	}
	free(first);
}

/* --- the figures */

/* The 95 % interval of the median, by resampling. */
static void interval(const double *v, size_t n, double *ret_low, double *ret_high)
{
	static double medians[RESAMPLES], sample[ROUNDS_MAX];
	uint64_t random = 1;

	for (size_t i = 0; i < RESAMPLES; i++) {
		for (size_t j = 0; j < n; j++)
			sample[j] = v[random_next(&random) % n];
		sort_numbers(sample, n);
		medians[i] = quantile(sample, n, 0.5);
	}
	sort_numbers(medians, RESAMPLES);
	*ret_low = quantile(medians, RESAMPLES, 0.025);
	*ret_high = quantile(medians, RESAMPLES, 0.975);
}

static void print_figures(const struct operation *op, struct folder *f, size_t n_rounds)
{
	double low, high;

	interval(f->ratio, n_rounds, &low, &high);
	sort_numbers(f->nsec, n_rounds);
	sort_numbers(f->ratio, n_rounds);
	sort_numbers(f->singles, f->n_singles);
	printf("{\"bench\": \"readpath\", \"case\": \"%s\", \"variant\": \"%s\", \"keys\": %zu, \"size\": %zu, "
	       "\"threads\": %u, \"median_ns\": %.1f, \"q1_ns\": %.1f, \"q3_ns\": %.1f, \"p99_ns\": %.0f, \"n\": %ju, "
	       "\"rounds\": %zu, \"fuse_requests\": %ju, \"base\": \"%s\", \"ratio\": %.4f, \"ratio_q1\": %.4f, "
	       "\"ratio_q3\": %.4f, \"ratio_low\": %.4f, \"ratio_high\": %.4f}\n",
	       op->name, f->name, n_keys, key_size, n_threads, quantile(f->nsec, n_rounds, 0.5),
	       quantile(f->nsec, n_rounds, 0.25), quantile(f->nsec, n_rounds, 0.75),
	       quantile(f->singles, f->n_singles, 0.99), (uintmax_t)f->n_calls, n_rounds, (uintmax_t)f->n_requests,
	       folders[0].name, quantile(f->ratio, n_rounds, 0.5), quantile(f->ratio, n_rounds, 0.25),
	       quantile(f->ratio, n_rounds, 0.75), low, high);
}

/* As many for all; only what is slow by far has fewer. */
static void choose_calls(const struct operation *op, struct folder **f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double usual = take_turns(op, f[i], i == 0 ? 20 : 5, 0);

		if (i == 0)
			f[0]->calls_per_turn = (size_t)MAX(MIN(TURN_NSEC / usual, CALLS_MAX), 2.0);
		else
			f[i]->calls_per_turn = MIN(f[0]->calls_per_turn, (size_t)MAX(SLOW_TURN_NSEC / usual, 2.0));
	}
}

static void one_round(const struct operation *op, struct folder **order, size_t n, size_t round, uint64_t *random)
{
	for (size_t i = n - 1; i > 0; i--) {
		size_t j = random_next(random) % (i + 1);
		struct folder *f = order[i];

		order[i] = order[j];
		order[j] = f;
	}
	for (size_t i = 0; i < n; i++) {
		struct folder *f = order[i];
		size_t n_calls = f->calls_per_turn, n_singles = MIN(n_calls, (size_t)SINGLES_MAX);

		f->nsec[round] = take_turns(op, f, n_calls, n_singles);
		look_at_counters();
		f->n_requests += f->requests - f->before;
		f->n_calls += (n_calls + n_calls / 10 + 1 + n_singles) * n_threads;
		for (unsigned t = 0; t < n_threads; t++) {
			memcpy(f->singles + f->n_singles, workers[t].singles, n_singles * sizeof(double));
			f->n_singles += n_singles;
		}
	}
	for (size_t i = 0; i < n; i++)
		order[i]->ratio[round] = order[i]->nsec[round] / folders[0].nsec[round];
}

/* How often somebody has emptied the kernel's caches. */
static uint64_t n_drops(void)
{
	cleanup_file FILE *f = fopen("/proc/vmstat", "re");
	char line[128];
	uint64_t sum = 0;
	uintmax_t n;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "drop_pagecache %ju", &n) == 1 || sscanf(line, "drop_slab %ju", &n) == 1)
			sum += n;
	return sum;
}

static bool measure_once(const struct operation *op, double seconds)
{
	struct folder *order[FOLDERS_MAX];
	size_t n = 0, round;
	uint64_t stop, drops = n_drops(), random = 1;

	for (size_t i = 0; i < n_folders; i++) {
		struct folder *f = &folders[i];

		f->n_singles = 0;
		f->n_calls = f->n_requests = 0;
		if (f->has_links || !op->of_links) {
			order[n++] = f;
			take_turns(op, f, n_keys, 0); /* once around: what is kept is there */
		}
	}
	if (n == 0 || order[0] != &folders[0])
		return true;
	choose_calls(op, order, n);
	look_at_counters();
	stop = now_nsec() + (uint64_t)(seconds * (double)NSEC_PER_SEC);
	for (round = 0; round < ROUNDS_MAX && (round < ROUNDS_MIN || now_nsec() < stop); round++)
		one_round(op, order, n, round, &random);
	if (n_drops() != drops)
		return false;
	for (size_t i = 0; i < n_folders; i++)
		if (folders[i].n_calls > 0)
			print_figures(op, &folders[i], round);
	fflush(stdout);
	return true;
}

static void measure(const struct operation *op, double seconds)
{
	for (size_t i = 0; i < TRIES; i++)
		if (measure_once(op, seconds))
			return;
	fail(op->name, "somebody empties the kernel's caches again and again");
}

int main(int argc, char **argv)
{
	struct rlimit files;
	uint64_t keys, size, threads;

	if (argc < 6 || argc > 5 + FOLDERS_MAX || str_parse_u64(argv[1], 100000, &keys) < 0 ||
	    str_parse_u64(argv[2], 1u << 30, &size) < 0 || str_parse_u64(argv[3], THREADS_MAX, &threads) < 0 ||
	    keys == 0 || size == 0 || threads == 0) {
		fprintf(stderr, "usage: readpath KEYS SIZE THREADS SECONDS NAME=FOLDER[,COUNTER]...\n");
		return 2;
	}
	n_keys = keys, key_size = size, n_threads = (unsigned)threads;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);

	pthread_barrier_init(&begin, NULL, n_threads);
	pthread_barrier_init(&end, NULL, n_threads);
	for (unsigned i = 0; i < n_threads; i++) {
		workers[i].bytes = malloc(key_size + 1);
		if (!workers[i].bytes || (i > 0 && pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0))
			fail("start", "out of memory");
	}
	for (int i = 5; i < argc; i++)
		parse_folder(argv[i]);
	for (size_t i = 0; i < n_folders; i++)
		find_keys(&folders[i]);
	compare_keys();
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
		measure(&operations[i], strtod(argv[4], NULL));
	return 0;
}
