/* The offline cache with its own process and a folder whose disk fails: what is left in the folder, and what is said. */
#include "agent/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/codec.h"
#include "common/file.h"
#include "common/json.h"
#include "common/str.h"
#include "test/lib/patience.h"

#define SECMEM_BYTES ((size_t)8 << 20)

/* Shared with the process that writes. */
static struct faults {
	_Atomic int n_fsync, fail_fsync; /* fsync(2) of a folder: how many there were, which one fails (0: none) */
	_Atomic int stop_fsync; /* the same, which one the process does not come back from */
	_Atomic bool fail_unlink; /* of records */
	_Atomic bool die_at_unlink; /* when it has been done */
	_Atomic bool stop_index; /* when the index is opened */
	_Atomic bool stop_write; /* when a record's text has been written, before it has its name */
	_Atomic bool stop_rename; /* when it has it */
} * faults;

/* In front of the library's. */
int fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		int n = ++faults->n_fsync;

		if (n == faults->stop_fsync)
			raise(SIGSTOP);
		if (n == faults->fail_fsync) {
			errno = EIO;
			return -1;
		}
	}
	return (int)syscall(SYS_fsync, fd);
}

int openat(int dirfd, const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	if (faults && faults->stop_index && str_eq(name, CACHE_INDEX_NAME))
		raise(SIGSTOP);
	return (int)syscall(SYS_openat, dirfd, name, flags, mode);
}

int unlinkat(int dirfd, const char *name, int flags)
{
	int r;

	if (faults->fail_unlink && cache_name_is_record(name)) {
		errno = EIO;
		return -1;
	}
	r = (int)syscall(SYS_unlinkat, dirfd, name, flags);
	if (faults->die_at_unlink && cache_name_is_record(name))
		_exit(EXIT_FAILURE);
	return r;
}

int renameat(int dirfd, const char *from, int to_dirfd, const char *name)
{
	int r;

	if (faults->stop_write && cache_name_is_record(name))
		raise(SIGSTOP);
	r = (int)syscall(SYS_renameat2, dirfd, from, to_dirfd, name, 0);
	if (faults->stop_rename && cache_name_is_record(name))
		raise(SIGSTOP);
	return r;
}

enum { PODS = 20 };

static struct fixture {
	char dir[64];
	struct loop *loop;
	struct cache_io *io;
	struct cache_key *key;
	struct cache *cache;
	unsigned revision;
	bool gone, odd; /* no Secret; a pod that cannot be written */
	struct pod *pods[PODS]; /* NULL: there are none */
	unsigned n_encoded; /* JSON texts so far */
	size_t n_restored;
	unsigned n_ended; /* processes */
	pid_t other; /* that has been put in the place of the first one */
} f;

/* In front of jansson's. */
char *json_dumps(const json_t *json, size_t flags)
{
	size_t size = json_dumpb(json, NULL, 0, flags);
	char *text = malloc(size + 1);

	f.n_encoded++;
	if (!text || size == 0)
		return NULL;
	json_dumpb(json, text, size, flags);
	text[size] = 0;
	return text;
}

static struct pod *pod_make(const char *uid)
{
	cleanup_free char *text =
		str_format("{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"namespace\": "
			   "\"default\", \"name\": \"a\", \"uid\": \"%s\"}, \"spec\": {\"nodeName\": \"n\"}}",
			   uid);
	cleanup_json json_t *doc = NULL;
	struct json_issue issue;
	struct pod *p = NULL;

	assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
	assert_int_equal(codec_pod(doc, &p, &issue), 0);
	return p;
}

static int add_pod(struct cache_set *want, struct pod *take_pod)
{
	cleanup_free char *id = cache_pod_id(take_pod);
	struct cache_item *item;

	assert_int_equal(cache_set_add(want, CACHE_POD, id, &item), 0);
	item->pod = take_pod;
	return 0;
}

static int add_odd_pod(struct cache_set *want)
{
	struct pod *p = pod_make("u");

	p->node_name[0] = '\xff';
	return add_pod(want, p);
}

static int collect(void *userdata, struct cache_set *want)
{
	cleanup_free char *text =
		str_format("{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {\"namespace\": "
			   "\"default\", \"name\": \"db\", \"uid\": \"u\", \"resourceVersion\": \"%u\"}, "
			   "\"data\": {\"a\": \"b25l\"}}",
			   f.revision);
	cleanup_json json_t *doc = NULL;
	struct json_issue issue;
	struct cache_item *item;

	if (f.odd)
		assert_int_equal(add_odd_pod(want), 0);
	for (size_t i = 0; i < PODS && f.pods[i]; i++)
		assert_int_equal(add_pod(want, pod_ref(f.pods[i])), 0);
	if (f.gone)
		return 0;
	assert_int_equal(cache_set_add(want, CACHE_SECRET, "default/db", &item), 0);
	assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
	return codec_secret(doc, &item->secret, &issue);
}

static void restored(void *userdata, const struct cache_set *s)
{
	f.n_restored = 0;
	for (size_t i = 0; i < s->n_items; i++)
		f.n_restored += s->items[i]->secret != NULL;
}

static void changed(void *userdata)
{
}

static void process_ended(void *userdata)
{
	f.n_ended++;
}

static const struct cache_ops OPS = { .collect = collect, .restored = restored, .changed = changed };

static void start(void)
{
	struct err e = ERR_INIT;

	assert_int_equal(loop_new(&f.loop), 0);
	if (cache_io_start(f.dir, NULL, &f.io, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_int_equal(cache_io_attach(f.io, f.loop, process_ended, NULL), 0);
	assert_int_equal(cache_new(f.loop, f.io, f.key, "node-1", &OPS, NULL, &f.cache), 0);
}

static void stop(void)
{
	cache_free(TAKE_PTR(f.cache));
	cache_io_free(TAKE_PTR(f.io));
	loop_free(TAKE_PTR(f.loop));
	if (f.other)
		waitpid(f.other, NULL, 0);
	f.other = 0;
}

static struct cache_stats stats(void)
{
	struct cache_stats s;

	cache_stats(f.cache, &s);
	return s;
}

static size_t count_files(bool records)
{
	DIR *d = opendir(f.dir);
	const struct dirent *entry;
	size_t n = 0;

	assert_non_null(d);
	while ((entry = readdir(d)))
		n += records ? cache_name_is_record(entry->d_name) : *entry->d_name != '.';
	closedir(d);
	return n;
}

static size_t n_records(void)
{
	return count_files(true);
}

/* And the index, and what is left over. */
static size_t n_files(void)
{
	return count_files(false);
}

static void write_one(void)
{
	uint64_t generation = stats().generation;

	f.revision++;
	cache_touch(f.cache);
	eventually(&f, stats().generation > generation && !stats().pending);
	assert_string_equal(stats().error, "");
	assert_int_equal(n_records(), 1);
}

/* As after a reboot. */
static void assert_restores(size_t n)
{
	stop();
	start();
	cache_restore(f.cache);
	eventually(&f, stats().restored);
	assert_int_equal(f.n_restored, n);
	assert_int_equal(stats().n_refused, 0);
}

static int setup(void **state)
{
	uint8_t bytes[CACHE_KEY_LEN] = { 7 };
	struct err e = ERR_INIT;

	json_setup();
	f = (struct fixture){ .revision = 1 };
	snprintf(f.dir, sizeof(f.dir), "/tmp/test-offline-cache-XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	*faults = (struct faults){ .n_fsync = 0 };
	if (secmem_init(SECMEM_BYTES, &e) < 0 || cache_key_new(bytes, &f.key, &e) < 0)
		fail_msg("%s", err_text(&e));
	start();
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static int teardown(void **state)
{
	stop();
	for (size_t i = 0; i < PODS; i++)
		pod_unref(f.pods[i]);
	cache_key_free(f.key);
	secmem_deinit();
	*faults = (struct faults){ .n_fsync = 0 };
	return nftw(f.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* The youngest child process. */
static pid_t process(void)
{
	cleanup_file FILE *children = NULL;
	char path[64];
	int pid = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)gettid());
	children = fopen(path, "re");
	assert_non_null(children);
	while (fscanf(children, "%d", &pid) == 1)
		;
	assert_true(pid > 0);
	return pid;
}

/* Dies, and another comes, which somebody else has started. */
static void replace_process(void)
{
	pid_t old = process();
	unsigned n = f.n_ended;
	int pair[2];

	kill(old, SIGKILL);
	eventually(&f, f.n_ended > n);
	assert_non_null(cache_io_ended(f.io));
	if (f.other)
		assert_int_equal(waitpid(f.other, NULL, 0), f.other);
	else
		eventually(&f, kill(old, 0) < 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	f.other = fork();
	if (f.other == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(pair[1], 3);
		cache_io_run(f.dir, NULL);
	}
	close(pair[1]);
	assert_int_equal(cache_io_replace(f.io, pair[0]), 0);
	cache_resume(f.cache);
	assert_null(cache_io_ended(f.io));
	assert_int_equal(f.n_ended, n + 1);
}

static void a_process_that_dies_is_replaced(void **state)
{
	write_one();
	for (int i = 0; i < 3; i++) {
		replace_process();
		assert_string_equal(stats().error, "");
		write_one();
		/* with an order under way: it is given again */
		f.revision++;
		kill(process(), SIGSTOP);
		cache_touch(f.cache);
		eventually(&f, cache_io_busy_usec(f.io) > 0);
		replace_process();
		eventually(&f, !stats().pending && !*stats().error);
		assert_int_equal(n_records(), 1);
	}
	assert_restores(1);
}

/* What was read of the records is nobody's fault: all of them are read again. */
static void a_restore_that_is_cut_off_is_begun_anew(void **state)
{
	write_one();
	stop();
	start();
	eventually(&f, stats().generation > 0);
	kill(process(), SIGSTOP);
	cache_restore(f.cache);
	eventually(&f, cache_io_busy_usec(f.io) > 0);
	replace_process();
	eventually(&f, stats().restored);
	assert_int_equal(f.n_restored, 1);
	assert_int_equal(stats().n_refused, 0);
	assert_string_equal(stats().error, "");
}

static void eventually_stopped(void)
{
	cleanup_free char *path = str_format("/proc/%d/stat", (int)process());
	char state = 0;

	for (uint64_t limit = clock_monotonic_usec() + PATIENCE_USEC; state != 'T';) {
		cleanup_file FILE *stat = fopen(path, "re");

		assert_non_null(stat);
		assert_int_equal(fscanf(stat, "%*d (%*[^)]) %c", &state), 1);
		assert_true(clock_monotonic_usec() < limit);
		assert_true(loop_run_once(f.loop, 5 * USEC_PER_MSEC) >= 0);
	}
}

/* Nor is what the index says: the cache is a good one. */
static void an_index_whose_reading_is_cut_off_is_read_again(void **state)
{
	write_one();
	stop();
	faults->stop_index = true;
	start();
	cache_restore(f.cache);
	eventually_stopped();
	faults->stop_index = false;
	replace_process();
	eventually(&f, stats().restored);
	assert_int_equal(f.n_restored, 1);
	assert_false(stats().refused);
	assert_string_equal(stats().error, "");
}

/* It may be there: what it speaks of stays as well as what the last one speaks of, until the next one is. */
static void an_index_whose_writing_is_cut_off_may_be_there(void **state)
{
	for (int n = 1; n <= 2; n++) { /* before and after it is renamed */
		unsigned n_ended;

		write_one();
		faults->stop_fsync = faults->n_fsync + n;
		f.revision++;
		cache_touch(f.cache);
		eventually_stopped();
		faults->die_at_unlink = true;
		n_ended = f.n_ended;
		replace_process();
		eventually(&f, f.n_ended == n_ended + 2); /* and now the machine is off, too */
		faults->die_at_unlink = false;
		assert_restores(1);
	}
}

/* Nor does a record that is written next make the last index that is there for certain look like one that was put
 * back. */
static void while_it_is_open_which_index_is_there_a_new_record_costs_nothing(void **state)
{
	for (int n = 1; n <= 3; n++) { /* before and after it is renamed; 3: and the next one, too */
		unsigned n_ended;

		write_one();
		faults->stop_fsync = faults->n_fsync + MIN(n, 2);
		f.revision++;
		cache_touch(f.cache);
		eventually_stopped();
		if (n == 3) {
			faults->stop_fsync = faults->n_fsync + 1;
			f.revision++;
			replace_process();
			eventually_stopped();
		}
		faults->stop_rename = true;
		f.revision++;
		replace_process();
		eventually_stopped();
		faults->stop_rename = false;
		n_ended = f.n_ended;
		kill(process(), SIGKILL);
		eventually(&f, f.n_ended > n_ended); /* and now the machine is off, too */
		assert_restores(1);
		f.revision++;
	}
}

/* Nor do those that several machines' ends in a row leave, each before there is an index that speaks of them. */
static void records_that_are_left_over_again_and_again_cost_nothing(void **state)
{
	write_one();
	for (int i = 0; i < 3; i++) {
		faults->stop_rename = true;
		f.revision++;
		cache_touch(f.cache);
		eventually_stopped();
		faults->stop_rename = false;
		assert_true(n_records() > 1);
		assert_restores(1);
	}
	write_one();
}

/* Nor do those that are left over while another key is there, which the index is not for. */
static void records_that_are_left_over_by_another_key_cost_nothing(void **state)
{
	uint8_t bytes[CACHE_KEY_LEN] = { 8 };
	struct cache_key *right = f.key;
	struct err e = ERR_INIT;

	write_one();
	assert_int_equal(cache_key_new(bytes, &f.key, &e), 0);
	for (int i = 0; i < 3; i++) {
		stop();
		start();
		eventually(&f, stats().refused);
		faults->stop_rename = true;
		f.revision++;
		cache_touch(f.cache);
		eventually_stopped();
		faults->stop_rename = false;
		assert_int_equal(n_records(), i + 2);
	}
	stop();
	cache_key_free(f.key);
	f.key = right;
	start();
	assert_restores(1);
	write_one();
}

/* It may be there, or half of it, and what it was written for may have gone since: nobody else would remove it
 * before the next start. */
static void a_record_whose_writing_is_cut_off_does_not_stay(void **state)
{
	for (int n = 1; n <= 2; n++) { /* before and after it has its name */
		write_one();
		faults->stop_write = n == 1;
		faults->stop_rename = n == 2;
		f.revision++;
		cache_touch(f.cache);
		eventually_stopped();
		faults->stop_write = faults->stop_rename = false;
		assert_int_equal(n_files(), 3);
		/* back to what the index says: there is nothing to write */
		f.revision--;
		replace_process();
		eventually(&f, !stats().pending && !*stats().error);
		eventually(&f, n_files() == 2);
		assert_restores(1);
	}
}

static size_t count(const char *text, const char *words)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, words)); at++)
		n++;
	return n;
}

/* What cannot even be asked for then is no other error: it is the same one. */
static void that_the_process_has_ended_is_said_once(void **state)
{
	cleanup_free char *path = str_format("%s.log", f.dir), *text = NULL;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600), before = dup(STDERR_FILENO);
	struct err e = ERR_INIT;
	size_t len;

	assert_true(fd >= 0 && before >= 0);
	write_one();
	faults->stop_write = true;
	f.revision++;
	cache_touch(f.cache);
	eventually_stopped();
	faults->stop_write = false;
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	kill(process(), SIGKILL);
	eventually(&f, f.n_ended == 1);
	for (int i = 0; i < 20; i++)
		assert_true(loop_run_once(f.loop, 5 * USEC_PER_MSEC) >= 0);
	assert_int_equal(dup2(before, STDERR_FILENO), STDERR_FILENO);
	close(before);
	close(fd);
	assert_int_equal(file_read(AT_FDCWD, path, 65536, &text, &len, &e), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(count(text, "the process that reads and writes the folder has ended"), 1);
	assert_int_equal(count(text, "\n"), 2); /* and how it has */
}

/* The records find room on a disk and the index does not: each attempt would take a little more of what there is. */
static void an_attempt_that_fails_leaves_nothing(void **state)
{
	write_one();
	faults->fail_fsync = faults->n_fsync + 1; /* before the index is renamed */
	f.revision++;
	cache_touch(f.cache);
	eventually(&f, *stats().error);
	assert_string_equal(stats().error, "flush the folder: Input/output error");
	eventually(&f, n_records() == 1);
	assert_int_equal(stats().generation, 1);
	assert_restores(1);
}

static void nor_does_one_after_a_refused_index(void **state)
{
	cleanup_free char *index = file_join(f.dir, CACHE_INDEX_NAME), *inside = file_join(index, "x");

	assert_int_equal(mkdir(index, 0700), 0); /* cannot be read, nor replaced */
	assert_int_equal(mkdir(inside, 0700), 0);
	stop();
	start();
	eventually(&f, stats().refused);
	cache_touch(f.cache);
	eventually(&f, strstr(stats().error, "rename"));
	eventually(&f, n_records() == 0);
}

/* The new index is there and the flush behind it fails: which of the two the next boot finds is open. */
static void both_states_stay_while_it_is_open_which_one_comes_back(void **state)
{
	cleanup_free char *index = file_join(f.dir, CACHE_INDEX_NAME), *copy = NULL;
	struct err e = ERR_INIT;
	size_t len;

	write_one();
	assert_int_equal(file_read(AT_FDCWD, index, CACHE_FILE_MAX, &copy, &len, &e), 0);
	faults->fail_fsync = faults->n_fsync + 2; /* after it was renamed */
	f.revision++;
	cache_touch(f.cache);
	eventually(&f, *stats().error);
	assert_string_equal(stats().error, "flush the folder: Input/output error");
	assert_true(stats().pending);
	assert_int_equal(n_records(), 2);
	assert_restores(1);
	assert_int_equal(stats().generation, 2);
	stop();
	assert_int_equal(file_write_atomic(index, copy, len, 0600, &e), 0);
	start();
	assert_restores(1);
	assert_int_equal(stats().generation, 1);
	/* and the next writer makes order */
	f.revision++;
	cache_touch(f.cache);
	eventually(&f, !stats().pending);
	assert_int_equal(n_records(), 1);
}

static void a_record_that_cannot_be_removed_is_not_forgotten(void **state)
{
	write_one();
	faults->fail_unlink = true;
	f.gone = true;
	cache_touch(f.cache);
	eventually(&f, strstr(stats().error, "remove "));
	assert_int_equal(n_records(), 1);
	faults->fail_unlink = false;
	/* at the latest after half a minute, or with the next change */
	cache_touch(f.cache);
	eventually(&f, n_records() == 0);
	eventually(&f, !*stats().error);
}

/* What an interrupted flush has left goes, even if what there is to be kept has not changed. */
static void a_record_that_cannot_be_written_costs_no_other(void **state)
{
	f.odd = true;
	write_one();
	write_one();
	assert_restores(1);
}

static void what_nobody_speaks_of_goes(void **state)
{
	static const char *const names[] = { "0123456789abcdef0123456789abcdef", "tmp-1" };
	uint64_t generation;

	write_one();
	generation = stats().generation;
	stop();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_free char *path = file_join(f.dir, names[i]);

		assert_int_equal(file_write_atomic(path, "x", 1, 0600, NULL), 0);
	}
	start();
	cache_touch(f.cache);
	eventually(&f, !stats().pending);
	assert_int_equal(n_records(), 1);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cleanup_free char *path = file_join(f.dir, names[i]);

		assert_int_equal(access(path, F_OK), -1);
	}
	assert_int_equal(stats().generation, generation);
	assert_restores(1);
}

/* Until the next flush has ended. Returns the most texts that a turn of the loop has made. */
static unsigned flush_by_turns(void)
{
	uint64_t limit = clock_monotonic_usec() + PATIENCE_USEC, n_writes = stats().n_writes;
	unsigned most = 0;

	cache_touch(f.cache);
	while (stats().n_writes == n_writes || stats().pending) {
		unsigned before = f.n_encoded;

		assert_true(clock_monotonic_usec() < limit);
		assert_true(loop_run_once(f.loop, 5 * USEC_PER_MSEC) >= 0);
		most = MAX(most, f.n_encoded - before);
	}
	return most;
}

/* A pod may be large, and changes seldom; something changes all the time. */
static void pods_become_json_one_at_a_time_and_once(void **state)
{
	for (size_t i = 0; i < PODS; i++) {
		cleanup_free char *uid = str_format("u%zu", i);

		f.pods[i] = pod_make(uid);
	}
	assert_int_equal(flush_by_turns(), 1);
	assert_string_equal(stats().error, "");
	assert_int_equal(stats().n_pods, PODS);
	/* what is compared and what is written of each, the Secret, the index */
	assert_int_equal(f.n_encoded, 2 * PODS + 2);
	f.n_encoded = 0;
	f.revision++;
	assert_int_equal(flush_by_turns(), 1);
	assert_int_equal(f.n_encoded, 2);

	/* another object of the same pod is nothing new on the disk */
	f.n_encoded = 0;
	f.revision++;
	pod_unref(f.pods[PODS / 2]);
	f.pods[PODS / 2] = pod_make("u10");
	assert_int_equal(flush_by_turns(), 1);
	assert_int_equal(f.n_encoded, 3);
	assert_int_equal(n_records(), PODS + 1);
	assert_restores(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_process_that_dies_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restore_that_is_cut_off_is_begun_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(an_index_whose_reading_is_cut_off_is_read_again, setup, teardown),
		cmocka_unit_test_setup_teardown(an_index_whose_writing_is_cut_off_may_be_there, setup, teardown),
		cmocka_unit_test_setup_teardown(while_it_is_open_which_index_is_there_a_new_record_costs_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(records_that_are_left_over_again_and_again_cost_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(records_that_are_left_over_by_another_key_cost_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_record_whose_writing_is_cut_off_does_not_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(that_the_process_has_ended_is_said_once, setup, teardown),
		cmocka_unit_test_setup_teardown(an_attempt_that_fails_leaves_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(nor_does_one_after_a_refused_index, setup, teardown),
		cmocka_unit_test_setup_teardown(both_states_stay_while_it_is_open_which_one_comes_back, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_record_that_cannot_be_removed_is_not_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(a_record_that_cannot_be_written_costs_no_other, setup, teardown),
		cmocka_unit_test_setup_teardown(what_nobody_speaks_of_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(pods_become_json_one_at_a_time_and_once, setup, teardown),
	};

	faults = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (faults == MAP_FAILED)
		return EXIT_FAILURE;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
