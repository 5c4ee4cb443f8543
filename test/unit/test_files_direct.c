/* Files, opened directly: the list, and answers that come from the loop. */
#include "agent/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "common/file.h"
#include "common/str.h"

struct rig {
	char dir[64];
	struct loop *loop;
	struct files *files;
	int answers;
	int r;
	char text[64];
	bool ask_again;
};

static void on_open(void *userdata, int fd, int r)
{
	cleanup_fd int owned = fd;
	struct rig *t = userdata;
	ssize_t n;

	t->answers++;
	t->r = r;
	t->text[0] = '\0';
	if (r < 0) {
		assert_int_equal(fd, -1);
		return;
	}
	assert_int_equal(fcntl(owned, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	n = read(owned, t->text, sizeof(t->text) - 1);
	assert_true(n >= 0);
	t->text[n] = '\0';
}

static int setup(void **state)
{
	struct rig *t = calloc(1, sizeof(*t));

	snprintf(t->dir, sizeof(t->dir), "/tmp/test_files.XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	assert_int_equal(loop_new(&t->loop), 0);
	assert_int_equal(files_direct_new(t->loop, &t->files), 0);
	*state = t;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct rig *t = *state;

	files_free(t->files);
	loop_free(t->loop);
	nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(t);
	return 0;
}

static char *make(struct rig *t, const char *name)
{
	char *path = file_join(t->dir, name);

	assert_int_equal(file_write_atomic(path, name, strlen(name), 0600, NULL), 0);
	return path;
}

static void turn(struct rig *t)
{
	for (unsigned i = 0; i < 10; i++)
		loop_run_once(t->loop, 0);
}

static void file_on_the_list_is_opened_later(void **state)
{
	struct rig *t = *state;
	cleanup_free char *path = make(t, "a");

	assert_int_equal(files_allow_file(t->files, path), 0);
	assert_int_equal(files_open(t->files, path, on_open, t), 0);
	assert_int_equal(t->answers, 0);
	turn(t);
	assert_int_equal(t->answers, 1);
	assert_string_equal(t->text, "a");
}

static void several_requests_are_each_answered(void **state)
{
	struct rig *t = *state;
	cleanup_free char *path = make(t, "a");

	assert_int_equal(files_allow_dir(t->files, t->dir), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(files_open(t->files, path, on_open, t), 0);
	turn(t);
	assert_int_equal(t->answers, 5);
}

static void what_is_not_on_the_list_is_refused(void **state)
{
	static const char *const NAMES[] = { "b",      "a/",   "ab",	 "sub/../../a", "sub/",
					     "sub/..", "../x", "sub2/c", "sub/../sub/c" };
	struct rig *t = *state;
	cleanup_free char *a = make(t, "a"), *b = make(t, "b"), *sub = file_join(t->dir, "sub"), *c = NULL;

	assert_int_equal(mkdir(sub, 0700), 0);
	c = make(t, "sub/c");
	assert_int_equal(files_allow_file(t->files, a), 0);
	assert_int_equal(files_allow_dir(t->files, sub), 0);
	assert_int_equal(files_open(t->files, c, on_open, t), 0);
	turn(t);
	assert_int_equal(t->r, 0);
	for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
		cleanup_free char *path = file_join(t->dir, NAMES[i]);

		assert_int_equal(files_open(t->files, path, on_open, t), 0);
		turn(t);
		if (t->r != -EACCES)
			fail_msg("%s: %d", path, t->r);
	}
}

static void on_watch(void *userdata, int wd)
{
	struct rig *t = userdata;

	t->answers++;
	t->r = wd;
}

static void only_folders_on_the_list_are_watched(void **state)
{
	struct rig *t = *state;
	cleanup_fd int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	cleanup_free char *sub = file_join(t->dir, "sub"), *a = make(t, "a");
	char events[256];

	assert_int_equal(mkdir(sub, 0700), 0);
	assert_int_equal(files_allow_dir(t->files, sub), 0);
	assert_int_equal(files_allow_watch(t->files, t->dir, IN_DELETE), 0);
	assert_int_equal(files_watch(t->files, inotify, t->dir, on_watch, t), 0);
	assert_int_equal(t->answers, 0);
	turn(t);
	assert_int_equal(t->answers, 1);
	assert_true(t->r > 0);
	assert_int_equal(unlink(a), 0);
	assert_true(read(inotify, events, sizeof(events)) > 0);
	/* to be opened, and not watched; and the other way round */
	assert_int_equal(files_watch(t->files, inotify, sub, on_watch, t), 0);
	turn(t);
	assert_int_equal(t->r, -EACCES);
	assert_int_equal(files_open(t->files, t->dir, on_open, t), 0);
	turn(t);
	assert_int_equal(t->r, -EACCES);
	assert_int_equal(files_watch(t->files, -1, t->dir, on_watch, t), 0);
	turn(t);
	assert_int_equal(t->r, -EBADF);
	assert_int_equal(files_watch(t->files, inotify, t->dir, on_watch, t), 0);
	files_cancel(t->files, t);
	turn(t);
	assert_int_equal(t->answers, 4);
}

static void missing_file_is_said(void **state)
{
	struct rig *t = *state;
	cleanup_free char *path = file_join(t->dir, "none");

	assert_int_equal(files_allow_file(t->files, path), 0);
	assert_int_equal(files_open(t->files, path, on_open, t), 0);
	turn(t);
	assert_int_equal(t->r, -ENOENT);
}

static void list_is_fixed_with_the_first_request(void **state)
{
	struct rig *t = *state;
	cleanup_free char *path = make(t, "a");

	assert_int_equal(files_allow_file(t->files, "relative"), -EINVAL);
	assert_int_equal(files_allow_file(t->files, path), 0);
	assert_int_equal(files_open(t->files, path, on_open, t), 0);
	assert_int_equal(files_allow_file(t->files, "/x"), -EPERM);
	assert_int_equal(files_allow_dir(t->files, "/x"), -EPERM);
}

static void cancelled_requests_are_not_answered(void **state)
{
	struct rig *t = *state;
	cleanup_free char *path = make(t, "a");
	struct rig other = { .answers = 0 };

	assert_int_equal(files_allow_file(t->files, path), 0);
	assert_int_equal(files_open(t->files, path, on_open, t), 0);
	assert_int_equal(files_open(t->files, path, on_open, &other), 0);
	assert_int_equal(files_open(t->files, path, on_open, t), 0);
	files_cancel(t->files, t);
	turn(t);
	assert_int_equal(t->answers, 0);
	assert_int_equal(other.answers, 1);
}

static void free_with_requests_open_leaks_nothing(void **state)
{
	struct rig *t = *state;
	cleanup_free char *path = make(t, "a");

	assert_int_equal(files_allow_file(t->files, path), 0);
	assert_int_equal(files_open(t->files, path, on_open, t), 0);
}

static void beneath_is_by_name_and_without_a_way_out(void **state)
{
	static const struct {
		const char *path, *dir;
		bool beneath;
	} cases[] = {
		{ "/m/a", "/m", true },	     { "/m/a", "/m/", true },	{ "/m/a/b", "/m", true },
		{ "/a", "/", true },	     { "/m/..a", "/m", true },	{ "/m/../m/a", "/m", false },
		{ "/m/a/..", "/m", false },  { "/m", "/m", false },	{ "/m/", "/m", false },
		{ "/mm/a", "/m", false },    { "/other", "/m", false }, { "m/a", "/m", false },
		{ "/../etc/x", "/", false }, { "", "/m", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (files_is_beneath(cases[i].path, cases[i].dir) != cases[i].beneath)
			fail_msg("%s beneath %s", cases[i].path, cases[i].dir);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(beneath_is_by_name_and_without_a_way_out),
		TEST(file_on_the_list_is_opened_later),
		TEST(several_requests_are_each_answered),
		TEST(what_is_not_on_the_list_is_refused),
		TEST(only_folders_on_the_list_are_watched),
		TEST(missing_file_is_said),
		TEST(list_is_fixed_with_the_first_request),
		TEST(cancelled_requests_are_not_answered),
		TEST(free_with_requests_open_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
