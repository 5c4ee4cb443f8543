/* Audit proc: the texts of /proc, and real processes. */
#include "agent/audit_proc.h"
#include "test/lib/skip.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "test/lib/valgrind.h"

#define REST " S 1 2 3 4 5 4194304 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21\n"

static void a_name_may_have_anything_in_it(void **state)
{
	static const struct {
		const char *text, *comm;
	} good[] = {
		{ "42 (cat)" REST, "cat" },
		{ "42 (a b)" REST, "a b" },
		{ "42 (a) S 1 (b)" REST, "a) S 1 (b" },
		{ "42 ())" REST, ")" },
		{ "42 (()" REST, "(" },
		{ "42 ()" REST, "" },
		{ "42 (a\nb 1 2 3)" REST, "a\nb 1 2 3" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct audit_proc p = { .start_ticks = 0 };

		assert_true(audit_proc_parse_stat(good[i].text, &p));
		assert_string_equal(p.comm, good[i].comm);
		assert_int_equal(p.start_ticks, 987654);
		assert_false(p.exiting);
	}
}

static void what_is_no_stat_is_refused(void **state)
{
	static const char *const bad[] = { "",
					   "42",
					   "42 cat S 1",
					   "42 (cat",
					   "42 (cat)",
					   "42 (cat) S",
					   ")(",
					   "42 (cat) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18",
					   "42 (cat) S 1 2 3 4 5 x 7 8 9 10 11 12 13 14 15 16 17 18 1",
					   "42 (cat) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (audit_proc_parse_stat(bad[i], &(struct audit_proc){ .start_ticks = 0 }))
			fail_msg("'%s' was taken", bad[i]);
}

static void one_that_ends_is_seen_by_its_flags(void **state)
{
	struct audit_proc p;

	assert_true(audit_proc_parse_stat("42 (cat) Z 1 2 3 4 5 4194308 7 8 9 10 11 12 13 14 15 16 17 18 19 20", &p));
	assert_true(p.exiting);
}

static void ids_are_the_real_and_the_effective_ones(void **state)
{
	struct audit_proc p;

	assert_true(audit_proc_parse_status("Name:\tcat\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n", &p));
	assert_int_equal(p.uid, 1);
	assert_int_equal(p.euid, 2);
	assert_int_equal(p.gid, 6);
	assert_false(audit_proc_parse_status("", &p));
	assert_false(audit_proc_parse_status("Name:\tcat\nUid:\t1\n", &p));
	assert_false(audit_proc_parse_status("Name:\tcat\nUid:\t1\t2\t3\t4\n", &p));
	/* a name is escaped by the kernel and cannot begin a line */
	assert_true(audit_proc_parse_status("Name:\t\\nUid:\t0\t0\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n", &p));
	assert_int_equal(p.uid, 1);
}

static pid_t begin_child(int *ret_pidfd)
{
	pid_t pid;

	if (under_valgrind())
		skip_because("valgrind does not know pidfd_open()");
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	*ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_true(*ret_pidfd >= 0);
	return pid;
}

static void a_process_is_read_until_it_is_reaped(void **state)
{
	cleanup_fd int pidfd = -1;
	struct audit_proc p;
	siginfo_t info;
	pid_t pid = begin_child(&pidfd);

	assert_true(audit_proc_read(pid, pidfd, &p));
	assert_string_equal(p.comm, "test_audit_proc");
	assert_int_equal(p.euid, geteuid());
	assert_int_equal(p.gid, getegid());
	assert_true(p.start_ticks > 0);
	assert_false(p.exiting);
	assert_int_equal(p.cgroup[0], '/');

	/* not reaped yet: still its own pid */
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_true(audit_proc_read(pid, pidfd, &p));
	assert_true(p.exiting);
	assert_string_not_equal(p.cgroup, "/");

	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(audit_proc_read(pid, pidfd, &p));
}

/* As if the pid had been given to another by the time it is looked at. */
static void another_process_with_the_pid_is_not_taken_for_it(void **state)
{
	cleanup_fd int pidfd = -1;
	struct audit_proc p;
	pid_t pid = begin_child(&pidfd);

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(audit_proc_read(getpid(), pidfd, &p));
	assert_false(audit_proc_read(getpid(), -1, &p));
	assert_false(audit_proc_read(0, pidfd, &p));
}

static void json_has_what_is_known(void **state)
{
	struct audit_proc p = {
		.comm = "a\xff", .start_ticks = 1, .uid = 1, .euid = 2, .gid = 3, .login_uid = (uid_t)-1
	};
	cleanup_json json_t *least = audit_proc_json(7, &p, 1000000), *most = NULL, *gone = audit_proc_gone(8);

	assert_int_equal(json_object_size(least), 7);
	assert_string_equal(json_string_value(json_object_get(least, "comm")), "a\xef\xbf\xbd");
	assert_string_equal(json_string_value(json_object_get(least, "started")), "1970-01-01T00:00:01Z");
	p.login_uid = 1000;
	snprintf(p.cgroup, sizeof(p.cgroup), "/x");
	snprintf(p.id.container, sizeof(p.id.container), "c");
	snprintf(p.id.pod, sizeof(p.id.pod), "u");
	p.id.runtime = "crun";
	most = audit_proc_json(7, &p, 0);
	assert_int_equal(json_object_size(most), 12);
	assert_int_equal(json_integer_value(json_object_get(most, "loginUID")), 1000);
	assert_string_equal(json_string_value(json_object_get(most, "container")), "c");
	assert_true(json_is_true(json_object_get(gone, "gone")));
	assert_int_equal(json_integer_value(json_object_get(gone, "pid")), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_may_have_anything_in_it),
		cmocka_unit_test(what_is_no_stat_is_refused),
		cmocka_unit_test(one_that_ends_is_seen_by_its_flags),
		cmocka_unit_test(ids_are_the_real_and_the_effective_ones),
		cmocka_unit_test(a_process_is_read_until_it_is_reaped),
		cmocka_unit_test(another_process_with_the_pid_is_not_taken_for_it),
		cmocka_unit_test(json_has_what_is_known),
	};

	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
