/* Files: limits, refusals and what is left in the folder afterwards. Each test works in a folder of its own. */
#include "common/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

struct dir {
	char path[64];
	int fd;
};

static int dir_setup(void **state)
{
	struct dir *d = calloc(1, sizeof(*d));

	snprintf(d->path, sizeof(d->path), "/tmp/test_file.XXXXXX");
	if (!mkdtemp(d->path))
		return -1;
	d->fd = open(d->path, O_DIRECTORY | O_CLOEXEC);
	*state = d;
	return d->fd < 0;
}

static int dir_teardown(void **state)
{
	struct dir *d = *state;
	char command[128];
	int r;

	snprintf(command, sizeof(command), "rm -rf '%s'", d->path);
	r = system(command);
	close(d->fd);
	free(d);
	return r;
}

static void put(const struct dir *d, const char *name, const void *data, size_t len)
{
	int fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, data, len), 0);
	close(fd);
}

static size_t count_entries(const char *path)
{
	DIR *dir = opendir(path);
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

static void read_returns_all_bytes_terminated(void **state)
{
	static const size_t SIZES[] = { 0, 1, 4095, 4096, 4097, 100000 };
	struct dir *d = *state;
	char *bytes = malloc(100000);

	for (size_t i = 0; i < 100000; i++)
		bytes[i] = (char)(i * 31);
	for (size_t i = 0; i < ARRAY_SIZE(SIZES); i++) {
		cleanup_free char *data = NULL;
		struct err e = ERR_INIT;
		size_t len = 4711;

		put(d, "f", bytes, SIZES[i]);
		assert_int_equal(file_read(d->fd, "f", 100000, &data, &len, &e), 0);
		assert_int_equal(len, SIZES[i]);
		assert_memory_equal(data, bytes, len);
		assert_int_equal(data[len], '\0');
		assert_int_equal(e.code, 0);
	}
	free(bytes);
}

static void read_refuses_one_byte_more_than_the_maximum(void **state)
{
	static const size_t MAXIMA[] = { 0, 1, 100, 4096, 5000 };
	struct dir *d = *state;
	char bytes[5001] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(MAXIMA); i++) {
		char *data = NULL, *ok = NULL;
		struct err e = ERR_INIT;
		size_t len = 4711;

		put(d, "f", bytes, MAXIMA[i] + 1);
		assert_int_equal(file_read(d->fd, "f", MAXIMA[i], &data, &len, &e), -EFBIG);
		assert_null(data);
		assert_int_equal(len, 4711);
		assert_non_null(strstr(err_text(&e), "f is larger than "));

		put(d, "f", bytes, MAXIMA[i]);
		assert_int_equal(file_read(d->fd, "f", MAXIMA[i], &ok, &len, &e), 0);
		assert_int_equal(len, MAXIMA[i]);
		free(ok);
	}
}

static void read_reports_what_cannot_be_opened_or_read(void **state)
{
	struct dir *d = *state;
	struct err e = ERR_INIT;
	char *data = NULL;
	size_t len;

	assert_int_equal(file_read(d->fd, "missing", 10, &data, &len, &e), -ENOENT);
	assert_string_equal(err_text(&e), "open missing: No such file or directory");
	assert_int_equal(file_read(d->fd, ".", 10, &data, &len, &e), -EISDIR);
	assert_string_equal(err_text(&e), "read .: Is a directory");
	assert_int_equal(file_read(AT_FDCWD, "/dev/zero", 1000, &data, &len, &e), -EFBIG);
	assert_int_equal(file_read_fd(-1, "none", 10, &data, &len, NULL), -EBADF);
	assert_null(data);
}

static void read_takes_pipes_and_files_that_claim_no_size(void **state)
{
	cleanup_free char *data = NULL, *status = NULL;
	size_t len = 0;
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(file_write_all(p[1], "through a pipe", 14), 0);
	close(p[1]);
	assert_int_equal(file_read_fd(p[0], "pipe", 14, &data, &len, NULL), 0);
	close(p[0]);
	assert_int_equal(len, 14);
	assert_string_equal(data, "through a pipe");

	assert_int_equal(file_read(AT_FDCWD, "/proc/self/status", 100000, &status, &len, NULL), 0);
	assert_true(len > 100);
}

static void read_fd_starts_at_the_offset(void **state)
{
	struct dir *d = *state;
	cleanup_free char *data = NULL;
	cleanup_fd int fd = -1;
	size_t len = 0;

	put(d, "f", "0123456789", 10);
	fd = openat(d->fd, "f", O_RDONLY);
	assert_int_equal(lseek(fd, 4, SEEK_SET), 4);
	assert_int_equal(file_read_fd(fd, "f", 6, &data, &len, NULL), 0);
	assert_string_equal(data, "456789");
}

static void write_replaces_in_one_step_with_the_mode_asked_for(void **state)
{
	cleanup_free char *data = NULL, *path = NULL;
	struct dir *d = *state;
	cleanup_fd int old = -1;
	char byte = 0;
	struct stat st;
	size_t len;

	umask(077);
	put(d, "f", "old", 3);
	old = openat(d->fd, "f", O_RDONLY);
	path = file_join(d->path, "f");
	assert_int_equal(file_write_atomic(path, "new\0!", 5, 0644, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(file_read(AT_FDCWD, path, 10, &data, &len, NULL), 0);
	assert_int_equal(len, 5);
	assert_memory_equal(data, "new\0!", 5);
	assert_int_equal(read(old, &byte, 1), 1);
	assert_int_equal(byte, 'o'); /* a reader of the old file keeps it */
	assert_int_equal(count_entries(d->path), 1);
}

static void write_that_fails_leaves_nothing(void **state)
{
	cleanup_free char *folder = NULL, *missing = NULL;
	struct dir *d = *state;
	struct err e = ERR_INIT;

	folder = file_join(d->path, "folder");
	missing = file_join(folder, "nowhere/f");
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(file_write_atomic(missing, "x", 1, 0600, &e), -ENOENT);
	assert_non_null(strstr(err_text(&e), missing));
	assert_int_equal(file_write_atomic(folder, "x", 1, 0600, &e), -EISDIR);
	assert_int_equal(count_entries(d->path), 1);
	assert_int_equal(count_entries(folder), 0);
}

static void write_all_reports_errors(void **state)
{
	cleanup_fd int full = open("/dev/full", O_WRONLY);

	assert_int_equal(file_write_all(full, "x", 1), -ENOSPC);
	assert_int_equal(file_write_all(full, NULL, 0), 0);
	assert_int_equal(file_write_all(-1, "x", 1), -EBADF);
}

static void mkdirs_makes_what_is_missing(void **state)
{
	static const char *const NAMES[] = { "a", "a/b/c", "a//d///e", "f/g/", "a/b/c" };
	struct dir *d = *state;

	umask(0077); /* what is asked for counts */
	for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
		cleanup_free char *path = file_join(d->path, NAMES[i]);
		struct stat st;

		assert_int_equal(file_mkdirs(path, 0750, NULL), 0);
		assert_int_equal(stat(path, &st), 0);
		assert_true(S_ISDIR(st.st_mode));
		assert_int_equal(st.st_mode & 0777, 0750);
	}
	umask(0022);
	assert_int_equal(file_mkdirs("/", 0700, NULL), 0);
}

static void mkdirs_leaves_existing_folders_and_follows_links(void **state)
{
	cleanup_free char *path = NULL, *link = NULL, *below = NULL;
	struct dir *d = *state;
	struct stat st;

	path = file_join(d->path, "a");
	link = file_join(d->path, "link");
	below = file_join(link, "b");
	assert_int_equal(mkdir(path, 0711), 0);
	assert_int_equal(symlink("a", link), 0);
	assert_int_equal(file_mkdirs(below, 0700, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0711);
}

static void mkdirs_refuses_what_is_not_a_folder(void **state)
{
	cleanup_free char *file = NULL, *below = NULL, *dangling = NULL;
	struct dir *d = *state;
	struct err e = ERR_INIT;

	file = file_join(d->path, "file");
	below = file_join(file, "x");
	dangling = file_join(d->path, "dangling");
	put(d, "file", "", 0);
	assert_int_equal(symlink("nowhere", dangling), 0);
	assert_int_equal(file_mkdirs(file, 0700, &e), -ENOTDIR);
	assert_int_equal(file_mkdirs(below, 0700, &e), -ENOTDIR);
	assert_non_null(strstr(err_text(&e), "file is not a folder"));
	assert_true(file_mkdirs(dangling, 0700, &e) < 0);
	assert_int_equal(file_mkdirs("", 0700, &e), -ENOENT);
	assert_true(file_mkdirs("/proc/secretlet/x", 0700, &e) < 0);
}

static void paths_are_joined_and_split(void **state)
{
	static const char *const JOINS[][3] = {
		{ "/a", "b", "/a/b" }, { "/a/", "b", "/a/b" },	{ "/", "b", "/b" },
		{ "a", "/b", "/b" },   { "a", "b/c", "a/b/c" },
	};
	static const char *const DIRS[][2] = {
		{ "/a/b", "/a" }, { "/a", "/" }, { "a", "." }, { "a/b", "a" }, { "", "." }, { "/", "/" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(JOINS); i++) {
		cleanup_free char *path = file_join(JOINS[i][0], JOINS[i][1]);

		assert_string_equal(path, JOINS[i][2]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(DIRS); i++) {
		cleanup_free char *path = file_dirname(DIRS[i][0]);

		assert_string_equal(path, DIRS[i][1]);
	}
}

#define in_dir(test) cmocka_unit_test_setup_teardown(test, dir_setup, dir_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_dir(read_returns_all_bytes_terminated),
		in_dir(read_refuses_one_byte_more_than_the_maximum),
		in_dir(read_reports_what_cannot_be_opened_or_read),
		in_dir(read_takes_pipes_and_files_that_claim_no_size),
		in_dir(read_fd_starts_at_the_offset),
		in_dir(write_replaces_in_one_step_with_the_mode_asked_for),
		in_dir(write_that_fails_leaves_nothing),
		in_dir(write_all_reports_errors),
		in_dir(mkdirs_makes_what_is_missing),
		in_dir(mkdirs_leaves_existing_folders_and_follows_links),
		in_dir(mkdirs_refuses_what_is_not_a_folder),
		cmocka_unit_test(paths_are_joined_and_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
