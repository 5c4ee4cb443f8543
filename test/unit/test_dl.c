/* Libraries that are loaded when they are first used: what is missing is said, and the program does not have them before. */
#include "common/dl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/str.h"

static void a_library_that_is_not_there_is_named(void **state)
{
	struct dl lib = { .name = "libno-such-thing.so.7" };
	struct err e = ERR_INIT;

	assert_int_equal(dl_load(&lib, &e), -ELIBACC);
	assert_non_null(strstr(err_text(&e), "libno-such-thing.so.7"));
	assert_null(lib.handle);
}

static void what_is_there_is_found(void **state)
{
	struct dl lib = { .name = "libm.so.6" };
	double (*root)(double) = (double (*)(double))dl_symbol(&lib, "sqrt");

	assert_true(root(9) > 2.9 && root(9) < 3.1);
	assert_int_equal(dl_load(&lib, NULL), 0);
}

/* In a child: its exit status and what it said. */
static void end_of(struct dl *lib, const char *symbol, int *ret_status, char text[static 512])
{
	int out[2];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		dup2(out[1], STDERR_FILENO);
		dl_symbol(lib, symbol);
		_exit(0);
	}
	close(out[1]);
	n = read(out[0], text, 511);
	text[MAX(n, 0)] = '\0';
	close(out[0]);
	assert_int_equal(waitpid(pid, ret_status, 0), pid);
}

static void a_program_without_its_library_ends_with_a_line(void **state)
{
	struct dl missing = { .name = "libno-such-thing.so.7" }, other = { .name = "libm.so.6" };
	char text[512];
	int status;

	end_of(&missing, "f", &status, text);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_non_null(strstr(text, "libno-such-thing.so.7"));
	end_of(&other, "no_such_function", &status, text);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_non_null(strstr(text, "libm.so.6 has no function no_such_function"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_library_that_is_not_there_is_named),
		cmocka_unit_test(what_is_there_is_found),
		cmocka_unit_test(a_program_without_its_library_ends_with_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
