/* Signal queue: which orders become signals, how many of them, and what an agent or a process that begins anew makes of them. The
 * processes are real, /proc is made up. */
#include "agent/signal_queue.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/str.h"
#include "test/lib/valgrind.h"

#define UID "6a2c9a4e-1111-4c3d-8e5f-0123456789ab"

/* A container: one process, which counts what it catches. */
struct box {
	pid_t pid;
	volatile unsigned *n_caught; /* shared with it */
};

static struct {
	char dir[40];
	struct signal_finder finder;
	struct loop *loop;
	struct signal_queue *queue;
	int agent; /* -1: there is none */
	unsigned n_lost;
	struct signal_report reports[256];
	size_t n_reports;
	struct box boxes[4];
	size_t n_boxes;
} t;

static void put(int pid, const char *name, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%d", pid);
	(void)mkdirat(t.finder.proc, path, 0755);
	snprintf(path, sizeof(path), "%d/%s", pid, name);
	fd = openat(t.finder.proc, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void show_signals(const struct box *b, const char *caught)
{
	cleanup_free char *status = str_format("Name:\tx\nSigIgn:\t0\nSigCgt:\t%s\n", caught);

	put(b->pid, "status", status);
}

/* volumes: "a" or "a b" */
static void show(const struct box *b, const char *volumes)
{
	cleanup_free char *stat = str_format("%d (x) S 1 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 %d 1 2\n", (int)b->pid,
					     (int)b->pid),
			  *cgroup = str_format("0::/box-%d.service\n", (int)b->pid),
			  *mounts = str_format("%d 1 0:50 / / rw - overlay x rw\n", (int)b->pid);
	cleanup_free char *list = strdup(volumes);
	char *save = NULL;

	for (char *v = strtok_r(list, " ", &save); v; v = strtok_r(NULL, " ", &save)) {
		char *more = str_format("%s7 6 0:98 /%s/volumes/kubernetes.io~secret/%s /v ro - fuse x ro\n", mounts,
					UID, v);

		free(mounts);
		mounts = more;
	}
	put(b->pid, "stat", stat);
	put(b->pid, "cgroup", cgroup);
	put(b->pid, "mountinfo", mounts);
	show_signals(b, "0000000000000201"); /* SIGHUP, SIGUSR1 */
}

static volatile unsigned *own_count;

static void catch_it(int signo)
{
	(*own_count)++;
}

static struct box *start_box(const char *volumes)
{
	struct box *b = &t.boxes[t.n_boxes++];
	int ready[2];
	char byte;

	b->n_caught = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(b->n_caught != MAP_FAILED && pipe(ready) == 0);
	own_count = b->n_caught;
	b->pid = fork();
	assert_true(b->pid >= 0);
	if (b->pid == 0) {
		close_fd(t.agent); /* its end is to be seen */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGHUP, catch_it);
		signal(SIGUSR1, catch_it);
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	show(b, volumes);
	return b;
}

static void on_lost(void *userdata)
{
	t.n_lost++;
}

static void start_queue(void)
{
	signal_queue_free(t.queue);
	t.queue = NULL;
	assert_int_equal(signal_queue_new(t.loop, &t.finder, on_lost, NULL, &t.queue), 0);
}

static void start_agent(void)
{
	int pair[2];

	t.agent = close_fd(t.agent);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	t.agent = pair[0];
	assert_int_equal(signal_queue_attach(t.queue, pair[1]), 0);
}

static int begin(void **state)
{
	memset(&t, 0, sizeof(t));
	t.agent = -1;
	snprintf(t.dir, sizeof(t.dir), "/tmp/test-signal-queue-XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	t.finder = (struct signal_finder){ .proc = open(t.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .minor = 98 };
	assert_true(t.finder.proc >= 0);
	put(1, "mountinfo", "5 1 0:50 / / rw - overlay x rw\n");
	assert_int_equal(loop_new(&t.loop), 0);
	start_queue();
	start_agent();
	return 0;
}

static int end(void **state)
{
	char command[64];

	for (size_t i = 0; i < t.n_boxes; i++) {
		kill(t.boxes[i].pid, SIGKILL);
		waitpid(t.boxes[i].pid, NULL, 0);
		munmap((void *)(uintptr_t)t.boxes[i].n_caught, 4096);
	}
	signal_queue_free(t.queue);
	loop_free(t.loop);
	close_fd(t.agent);
	close(t.finder.proc);
	snprintf(command, sizeof(command), "rm -r %s", t.dir);
	return system(command);
}

static struct signal_order order(const char *volume, const char *version, bool changed)
{
	struct signal_order o = {
		.kind = SIGNAL_ORDER_TELL, .signo = SIGHUP, .changed = changed, .uid = UID, .pod = "d/p"
	};

	snprintf(o.volume, sizeof(o.volume), "%s", volume);
	snprintf(o.version, sizeof(o.version), "%s", version);
	return o;
}

static void give(struct signal_order o)
{
	assert_int_equal(send(t.agent, &o, sizeof(o), MSG_NOSIGNAL), sizeof(o));
}

static void tell(const char *volume, const char *version, bool changed)
{
	give(order(volume, version, changed));
}

static void take_reports(void)
{
	while (t.agent >= 0 && t.n_reports < ARRAY_SIZE(t.reports) &&
	       recv(t.agent, &t.reports[t.n_reports], sizeof(t.reports[0]), MSG_DONTWAIT) == sizeof(t.reports[0]))
		t.n_reports++;
}

static size_t n_done(const char *version)
{
	size_t n = 0;

	take_reports();
	for (size_t i = 0; i < t.n_reports; i++)
		n += t.reports[i].done && str_eq(t.reports[i].version, version);
	return n;
}

static size_t n_outcomes(enum signal_outcome outcome)
{
	size_t n = 0;

	take_reports();
	for (size_t i = 0; i < t.n_reports; i++)
		n += t.reports[i].outcome == outcome && !t.reports[i].done;
	return n;
}

/* Until it is said to be done, `n` times. */
static void run_until_done(const char *version, size_t n)
{
	uint64_t until = clock_monotonic_usec() + 60 * USEC_PER_SEC;

	while (n_done(version) < n) {
		assert_true(clock_monotonic_usec() < until);
		loop_run_once(t.loop, 10 * USEC_PER_MSEC);
	}
}

static void run_for(uint64_t usec)
{
	uint64_t until = clock_monotonic_usec() + usec;

	while (clock_monotonic_usec() < until)
		loop_run_once(t.loop, MIN(usec, 10 * USEC_PER_MSEC));
}

/* As long as anything that was begun would take. */
static void run_for_a_while(void)
{
	run_for(4 * SIGNAL_SETTLE_USEC);
}

/* A signal that was sent is counted a little later. */
static unsigned n_caught(const struct box *b, unsigned expected)
{
	for (int i = 0; i < 1000 && *b->n_caught < expected; i++)
		usleep(1000);
	return *b->n_caught;
}

static void the_first_version_is_no_change(void **state)
{
	const struct box *b = start_box("a");

	tell("a", "v1", false);
	run_until_done("v1", 1);
	run_for_a_while();
	assert_int_equal(*b->n_caught, 0);
	assert_int_equal(signal_queue_counts(t.queue)->n_changes, 0);
}

static void a_change_is_one_signal(void **state)
{
	const struct box *b = start_box("a"), *other = start_box("b"), *both = start_box("b a");

	tell("a", "v1", false);
	tell("a", "v2", true);
	run_until_done("v2", 1);
	assert_int_equal(n_caught(b, 1), 1);
	assert_int_equal(n_caught(both, 1), 1);
	/* told again, it is none */
	tell("a", "v2", true);
	run_until_done("v2", 2);
	run_for_a_while();
	assert_int_equal(*b->n_caught, 1);
	assert_int_equal(*both->n_caught, 1);
	assert_int_equal(*other->n_caught, 0);
	assert_int_equal(n_outcomes(SIGNAL_OUTCOME_SENT), 2);
	assert_int_equal(signal_queue_counts(t.queue)->n_sent, 2);
}

static void a_report_says_who_was_signalled(void **state)
{
	const struct box *b = start_box("a");
	char container[64];

	tell("a", "v1", true);
	run_until_done("v1", 1);
	assert_int_equal(t.reports[0].outcome, SIGNAL_OUTCOME_SENT);
	assert_int_equal(t.reports[0].pid, b->pid);
	assert_int_equal(t.reports[0].signo, SIGHUP);
	assert_string_equal(t.reports[0].uid, UID);
	assert_string_equal(t.reports[0].volume, "a");
	snprintf(container, sizeof(container), "/box-%d.service", (int)b->pid);
	assert_string_equal(t.reports[0].container, container);
	assert_int_equal(t.reports[0].counts.n_sent, 1);
}

static void volumes_that_change_together_are_one_signal(void **state)
{
	const struct box *b = start_box("a b");

	tell("a", "v1", true);
	tell("b", "w1", true);
	run_until_done("v1", 1);
	run_until_done("w1", 1);
	run_for_a_while();
	assert_int_equal(n_caught(b, 1), 1);
}

/* Versions that come fast: not one signal for each, and the last one comes behind the last version. */
static void signals_keep_their_distance(void **state)
{
	const struct box *b = start_box("a");
	uint64_t begun = clock_monotonic_usec(), took;
	unsigned before;
	char version[16];

	for (int i = 0; i < 40; i++) {
		snprintf(version, sizeof(version), "v%d", i);
		tell("a", version, true);
		run_for(20 * USEC_PER_MSEC);
	}
	before = *b->n_caught;
	run_until_done("v39", 1);
	took = clock_monotonic_usec() - begun;
	assert_true(n_caught(b, before + 1) > before);
	assert_true(*b->n_caught <= took / SIGNAL_INTERVAL_USEC + 1);
}

static void another_agents_news_are_compared(void **state)
{
	const struct box *b = start_box("a");

	tell("a", "v1", false);
	run_until_done("v1", 1);
	/* it has published v2, and died before it told */
	start_agent();
	tell("a", "v2", false);
	run_until_done("v2", 1);
	assert_int_equal(n_caught(b, 1), 1);
	start_agent();
	tell("a", "v2", false);
	run_until_done("v2", 2);
	run_for_a_while();
	assert_int_equal(*b->n_caught, 1);
}

static void what_waits_outlives_the_agent(void **state)
{
	const struct box *b = start_box("a");

	tell("a", "v1", false);
	tell("a", "v2", true);
	t.agent = close_fd(t.agent);
	run_for_a_while();
	assert_int_equal(n_caught(b, 1), 1);
	assert_false(signal_queue_is_attached(t.queue));
	assert_true(t.n_lost > 0);
}

static void another_process_knows_what_is_not_done(void **state)
{
	const struct box *b = start_box("a");

	tell("a", "v2", true);
	start_queue();
	start_agent();
	tell("a", "v2", true);
	run_until_done("v2", 1);
	assert_int_equal(n_caught(b, 1), 1);
}

static void what_has_gone_is_forgotten(void **state)
{
	const struct box *b = start_box("a");
	struct signal_order gone = order("a", "v2", true);

	gone.kind = SIGNAL_ORDER_FORGET;
	tell("a", "v1", false);
	tell("a", "v2", true);
	give(gone);
	run_for_a_while();
	tell("a", "v3", false);
	run_until_done("v3", 1);
	run_for_a_while();
	assert_int_equal(*b->n_caught, 0);
}

static void who_does_not_catch_it_yet_is_waited_for(void **state)
{
	const struct box *b = start_box("a");

	show_signals(b, "0");
	tell("a", "v1", true);
	run_for_a_while();
	assert_int_equal(n_done("v1"), 0);
	show_signals(b, "1");
	run_until_done("v1", 1);
	assert_int_equal(n_caught(b, 1), 1);
	assert_int_equal(n_outcomes(SIGNAL_OUTCOME_NOT_CAUGHT), 0);
}

static void what_no_container_shows_is_done(void **state)
{
	(void)start_box("b");
	tell("a", "v1", true);
	run_until_done("v1", 1);
	assert_int_equal(n_outcomes(SIGNAL_OUTCOME_UNMOUNTED), 1);
	assert_int_equal(signal_queue_counts(t.queue)->n_unmounted, 1);
}

static void at_the_end_nothing_is_waited_for(void **state)
{
	const struct box *b = start_box("a"), *deaf = start_box("b");

	tell("a", "v1", true);
	run_until_done("v1", 1);
	assert_int_equal(n_caught(b, 1), 1);
	show_signals(deaf, "0");
	tell("a", "v2", true);
	tell("b", "w1", true);
	signal_queue_finish(t.queue);
	assert_int_equal(n_caught(b, 2), 2);
	assert_int_equal(n_outcomes(SIGNAL_OUTCOME_NOT_CAUGHT), 1);
	assert_int_equal(n_done("v2"), 1);
}

/* An agent that was taken over may say anything. */
static void orders_that_make_no_sense_are_refused(void **state)
{
	static const char *const names[] = { "", ".", "..", "a/b", "/", "../" UID };
	static const int signals[] = { 0, -1, SIGKILL, SIGSTOP, SIGINT, SIGQUIT, SIGSEGV, 64, 1000000 };
	const struct box *b = start_box("a");
	struct signal_order o;
	uint64_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		give(order(names[i], "v1", true));
		o = order("a", "v1", true);
		snprintf(o.uid, sizeof(o.uid), "%s", names[i]);
		give(o);
		n += 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++, n++) {
		o = order("a", "v1", true);
		o.signo = signals[i];
		give(o);
	}
	o = order("a", "v1", true);
	o.kind = 7;
	give(o);
	o = order("a", "v1", true);
	memset(o.uid, 'u', sizeof(o.uid));
	give(o);
	o = order("a", "v1", true);
	memset(o.version, 'v', sizeof(o.version));
	give(o);
	o = order("a", "v1", true);
	memset(o.pod, 'p', sizeof(o.pod));
	give(o);
	assert_int_equal(send(t.agent, &o, sizeof(o) - 1, 0), sizeof(o) - 1);
	assert_int_equal(send(t.agent, (char[sizeof(o) + 1]){ 0 }, sizeof(o) + 1, 0), sizeof(o) + 1);
	n += 6;
	run_for_a_while();
	assert_int_equal(signal_queue_counts(t.queue)->n_refused, n);
	assert_int_equal(*b->n_caught, 0);
	/* and it is listened to as before */
	tell("a", "v1", true);
	run_until_done("v1", 1);
	assert_int_equal(n_caught(b, 1), 1);
}

/* However many volumes it invents, memory and work are bounded, and a real one gets its turn. */
static void invented_volumes_are_bounded(void **state)
{
	const struct box *b = start_box("a");
	char name[32];

	for (int i = 0; i < SIGNAL_QUEUE_MAX + 100; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		tell(name, "v", false);
		while (loop_run_once(t.loop, 0) > 0)
			;
		take_reports();
		t.n_reports = 0;
	}
	tell("a", "v1", true);
	run_until_done("v1", 1);
	assert_int_equal(n_caught(b, 1), 1);
	assert_int_equal(signal_queue_counts(t.queue)->n_refused, 0);
}

/* Signals are rationed by process, whatever they are and whatever volume they are for. */
static void a_process_is_not_stormed(void **state)
{
	const struct box *b = start_box("a b c");
	uint64_t begun = clock_monotonic_usec(), took;

	for (int i = 0; i < 60; i++) {
		struct signal_order o = order(i % 3 == 0 ? "a" : i % 3 == 1 ? "b" : "c", i % 2 ? "v1" : "v2", true);

		o.signo = i % 2 ? SIGHUP : SIGUSR1;
		snprintf(o.version, sizeof(o.version), "v%d", i);
		give(o);
		run_for(20 * USEC_PER_MSEC);
	}
	took = clock_monotonic_usec() - begun;
	usleep(20000);
	assert_true(*b->n_caught >= 1);
	assert_true(*b->n_caught <= took / SIGNAL_INTERVAL_USEC + 1);
}

/* Two volumes with a signal each, that wait for somebody else: who has got both gets none again. */
static void each_of_two_signals_is_sent_once(void **state)
{
	const struct box *b = start_box("a b"), *late = start_box("a b");
	struct signal_order o = order("b", "w1", true);

	show_signals(late, "0");
	o.signo = SIGUSR1;
	tell("a", "v1", true);
	give(o);
	run_for(4 * SIGNAL_INTERVAL_USEC);
	assert_int_equal(n_done("v1") + n_done("w1"), 0);
	assert_int_equal(n_caught(b, 2), 2);
	show_signals(late, "0000000000000201");
	run_until_done("v1", 1);
	run_until_done("w1", 1);
	assert_int_equal(n_caught(late, 2), 2);
	assert_int_equal(signal_queue_counts(t.queue)->n_sent, 4);
}

/* Walks may be as far from each other as they like: who has got it for what still waits gets none again. */
static void what_was_sent_is_known_as_long_as_it_waits(void **state)
{
	const struct box *b = start_box("a"), *late = start_box("a");

	show_signals(late, "0");
	tell("a", "v1", true);
	run_for_a_while();
	assert_int_equal(n_caught(b, 1), 1);
	assert_int_equal(n_done("v1"), 0);
	usleep((SIGNAL_TRIES + 3) * SIGNAL_INTERVAL_USEC);
	show_signals(late, "1");
	run_until_done("v1", 1);
	assert_int_equal(n_caught(late, 1), 1);
	assert_int_equal(signal_queue_counts(t.queue)->n_sent, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
	/* valgrind 3.19 has no pidfd_open(2) */
	const struct CMUnitTest without_signals[] = {
		TEST(the_first_version_is_no_change),
		TEST(what_has_gone_is_forgotten),
		TEST(what_no_container_shows_is_done),
	};
	const struct CMUnitTest tests[] = {
		TEST(the_first_version_is_no_change),
		TEST(a_change_is_one_signal),
		TEST(a_report_says_who_was_signalled),
		TEST(volumes_that_change_together_are_one_signal),
		TEST(signals_keep_their_distance),
		TEST(another_agents_news_are_compared),
		TEST(what_waits_outlives_the_agent),
		TEST(another_process_knows_what_is_not_done),
		TEST(what_has_gone_is_forgotten),
		TEST(who_does_not_catch_it_yet_is_waited_for),
		TEST(what_no_container_shows_is_done),
		TEST(at_the_end_nothing_is_waited_for),
		TEST(orders_that_make_no_sense_are_refused),
		TEST(invented_volumes_are_bounded),
		TEST(a_process_is_not_stormed),
		TEST(each_of_two_signals_is_sent_once),
		TEST(what_was_sent_is_known_as_long_as_it_waits),
	};

	return under_valgrind() ? cmocka_run_group_tests(without_signals, NULL, NULL)
				: cmocka_run_group_tests(tests, NULL, NULL);
}
