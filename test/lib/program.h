/* Program: runs the built secretlet as a user would, for tests of its command line. */
#pragma once

#include "common/base.h"

/* The program that belongs to this test program: the nearest file "secretlet" in $TEST_BUILD_DIR or in the folders
 * above it. NULL: it has not been built. */
const char *program_path(void);
/* A file of the repository ("man/secretlet.8"), found from the folders above this test program. NULL: not there. */
const char *program_source(const char *name);

#define PROGRAM_TEXT_MAX ((size_t)256 * 1024)

struct program_result {
	int status; /* exit status; 128 + signal */
	char *out, *err;
};
void program_result_deinit(struct program_result *r);
#define cleanup_program_result cleanup(program_result_deinit)
/* Runs it with these words (NULL-terminated, without argv[0]), stdin from /dev/null, and waits for its end. The test
 * fails if that is impossible. */
struct program_result program_run(const char *const *words);
