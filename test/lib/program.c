/* Program: runs the built secretlet as a user would, for tests of its command line. */

#include "test/lib/program.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/str.h"

#define WORDS_MAX 32

/* The first of dir/name, dir/../name, ... that is a regular file. */
static bool find_above(const char *dir, const char *name, char found[static PATH_MAX])
{
	char at[PATH_MAX];
	struct stat st;
	char *slash;

	snprintf(at, sizeof(at), "%s", dir);
	do {
		if (snprintf(found, PATH_MAX, "%s/%s", at, name) < PATH_MAX && stat(found, &st) == 0 &&
		    S_ISREG(st.st_mode))
			return true;
		slash = strrchr(at, '/');
		if (slash)
			*slash = '\0';
	} while (slash);
	return false;
}

static const char *own_dir(void)
{
	static char dir[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	char *slash;

	assert_true(len > 0);
	dir[len] = '\0';
	slash = strrchr(dir, '/');
	assert_non_null(slash);
	*slash = '\0';
	return dir;
}

const char *program_path(void)
{
	static char path[PATH_MAX];

	return find_above(getenv("TEST_BUILD_DIR") ?: own_dir(), "secretlet", path) ? path : NULL;
}

const char *program_source(const char *name)
{
	static char path[PATH_MAX];

	return find_above(own_dir(), name, path) ? path : NULL;
}

void program_result_deinit(struct program_result *r)
{
	free(TAKE_PTR(r->out));
	free(TAKE_PTR(r->err));
}

static char *read_all(int fd)
{
	char *text = calloc(1, PROGRAM_TEXT_MAX + 1);
	ssize_t n;

	assert_non_null(text);
	n = pread(fd, text, PROGRAM_TEXT_MAX, 0);
	assert_true(n >= 0);
	return text;
}

static void child(const char *path, char *const *argv, int out, int err)
{
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(126);
	execv(path, argv);
	_exit(127);
}

struct program_result program_run(const char *const *words)
{
	struct program_result result = { .status = -1 };
	const char *path = program_path();
	const char *argv[WORDS_MAX] = { "secretlet" }; /* execv() promises not to change it */
	cleanup_fd int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
	int status;
	pid_t pid;

	assert_non_null(path);
	assert_true(out > 2 && err > 2);
	for (size_t i = 0; words[i]; i++) {
		assert_true(i + 2 < WORDS_MAX);
		argv[i + 1] = words[i];
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(path, (char *const *)(uintptr_t)argv, out, err);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	result.out = read_all(out);
	result.err = read_all(err);
	return result;
}
