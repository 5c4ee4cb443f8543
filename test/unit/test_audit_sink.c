/* Audit sink: whole lines, or none; and the file that has the name. */
#include "agent/audit_sink.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/file.h"
#include "common/str.h"

static char dir[64], path[128];

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/audit-sink.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log/audit.jsonl", dir);
	return 0;
}

static int teardown(void **state)
{
	cleanup_free char *command = str_format("rm -rf %s", dir);

	return system(command);
}

static struct audit_sink *sink(void)
{
	struct audit_sink *s;

	assert_int_equal(audit_sink_new(path, &s), 0);
	return s;
}

static int put_at(struct audit_sink *s, const char *lines, uint64_t now_usec, size_t *ret_taken)
{
	struct err e = ERR_INIT;
	int r = audit_sink_write(s, lines, strlen(lines), now_usec, ret_taken, &e);

	assert_true(r == 0 || (e.code == r && e.text[0]));
	return r;
}

static void put(struct audit_sink *s, const char *lines)
{
	size_t taken;

	assert_int_equal(put_at(s, lines, 1, &taken), 0);
	assert_int_equal(taken, strlen(lines));
}

static void assert_contains(const char *file, const char *expected)
{
	cleanup_free char *text = NULL;
	size_t len;

	assert_int_equal(file_read(-1, file, 4096, &text, &len, NULL), 0);
	assert_string_equal(text, expected);
}

static void the_file_and_its_folder_are_roots_alone(void **state)
{
	cleanup(audit_sink_freep) struct audit_sink *s = sink();
	cleanup_free char *folder = file_dirname(path);
	struct stat st;

	umask(0);
	put(s, "one\n");
	put(s, "two\nthree\n");
	assert_contains(path, "one\ntwo\nthree\n");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(folder, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

static void what_is_there_stays(void **state)
{
	cleanup(audit_sink_freep) struct audit_sink *s = sink(), *next = sink();

	put(s, "one\n");
	put(next, "two\n");
	assert_contains(path, "one\ntwo\n");
}

static void half_a_line_of_an_earlier_time_is_ended(void **state)
{
	cleanup(audit_sink_freep) struct audit_sink *s = sink(), *next = sink();

	put(s, "one\nha");
	put(next, "two\n");
	assert_contains(path, "one\nha\ntwo\n");
}

static void the_name_is_followed(void **state)
{
	cleanup(audit_sink_freep) struct audit_sink *s = sink();
	cleanup_free char *old = str_format("%s.1", path);
	size_t taken;

	put(s, "one\n");
	put(s, "two\n");
	assert_int_equal(rename(path, old), 0);
	/* looked at once a second */
	assert_int_equal(put_at(s, "and\n", USEC_PER_SEC, &taken), 0);
	assert_contains(old, "one\ntwo\nand\n");
	assert_int_equal(put_at(s, "three\n", 1 + USEC_PER_SEC, &taken), 0);
	assert_contains(path, "three\n");
	/* and when told */
	assert_int_equal(rename(path, old), 0);
	audit_sink_reopen(s);
	put(s, "four\n");
	assert_contains(path, "four\n");
	assert_contains(old, "three\n");
	/* removed */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(put_at(s, "five\n", 1 + 3 * USEC_PER_SEC, &taken), 0);
	assert_contains(path, "five\n");
}

/* RLIMIT_FSIZE stands for the full disk: a write is cut short, the next one fails. */
static void a_file_that_cannot_grow_ends_in_a_whole_line(void **state)
{
	cleanup(audit_sink_freep) struct audit_sink *s = sink();
	struct rlimit limit, old;
	size_t taken;

	signal(SIGXFSZ, SIG_IGN);
	put(s, "zero\n");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){ .rlim_cur = 12, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(put_at(s, "one\ntwo\nthree\n", 1, &taken), -EFBIG);
	assert_int_equal(taken, 4);
	assert_contains(path, "zero\none\n");
	/* nothing of a line that has no room at all */
	assert_int_equal(put_at(s, "a long line\n", 1, &taken), -EFBIG);
	assert_int_equal(taken, 0);
	assert_contains(path, "zero\none\n");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	put(s, "four\n");
	assert_contains(path, "zero\none\nfour\n");
}

static void what_is_no_file_is_refused(void **state)
{
	cleanup(audit_sink_freep) struct audit_sink *s = sink();
	cleanup_free char *folder = file_dirname(path), *other = str_format("%s/other", dir);
	size_t taken;

	assert_int_equal(file_mkdirs(folder, 0700, NULL), 0);
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(put_at(s, "one\n", 1, &taken), -ELOOP);
	assert_int_equal(taken, 0);
	assert_int_equal(access(other, F_OK), -1);
	assert_int_equal(unlink(path), 0);
	/* nobody reads it: an open would wait */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(put_at(s, "one\n", 1, &taken), -EINVAL);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(put_at(s, "one\n", 1, &taken), -EISDIR);
	assert_int_equal(rmdir(path), 0);
	/* and tried again */
	put(s, "two\n");
	assert_contains(path, "two\n");
}

/* For a process that can reach nothing else. */
static void a_folder_that_is_kept_is_the_only_way(void **state)
{
	cleanup(audit_sink_freep) struct audit_sink *s = sink();
	cleanup_free char *folder = file_dirname(path), *moved = str_format("%s/moved", dir),
			  *file = str_format("%s/audit.jsonl", moved), *old = str_format("%s/old", moved);
	size_t taken;
	int fd = audit_sink_open_folder(s, NULL);

	assert_true(fd >= 0);
	audit_sink_keep_folder(s, fd);
	put(s, "one\n");
	assert_contains(path, "one\n");
	assert_int_equal(rename(folder, moved), 0);
	put(s, "two\n");
	assert_contains(file, "one\ntwo\n");
	/* the file's name is followed in there */
	assert_int_equal(rename(file, old), 0);
	assert_int_equal(put_at(s, "three\n", 1 + USEC_PER_SEC, &taken), 0);
	assert_contains(file, "three\n");
	assert_false(audit_sink_is_lost(s));
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(unlink(file) | unlink(old) | rmdir(moved), 0);
	assert_int_equal(put_at(s, "four\n", 1 + 2 * USEC_PER_SEC, &taken), -ENOENT);
	assert_true(audit_sink_is_lost(s));
}

static void without_a_folder_nothing_is_written(void **state)
{
	cleanup(audit_sink_freep) struct audit_sink *s = sink();
	cleanup_free char *folder = file_dirname(path);
	size_t taken;

	/* something else has its name */
	close(open(folder, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(audit_sink_open_folder(s, NULL), -ENOTDIR);
	assert_false(audit_sink_is_lost(s));
	audit_sink_keep_folder(s, -ENOTDIR);
	assert_int_equal(unlink(folder), 0);
	assert_int_equal(put_at(s, "one\n", 1, &taken), -ENOTDIR);
	assert_int_equal(taken, 0);
	assert_true(audit_sink_is_lost(s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_file_and_its_folder_are_roots_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_there_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(half_a_line_of_an_earlier_time_is_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(the_name_is_followed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_that_cannot_grow_ends_in_a_whole_line, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_file_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_folder_that_is_kept_is_the_only_way, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_folder_nothing_is_written, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
