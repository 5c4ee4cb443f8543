/* Running: the built secretlet while it runs, for tests of what it says as time goes by; to a pipe or to a terminal. */
#pragma once

#include "common/base.h"

#define RUNNING_TEXT_MAX 262144

struct running {
	pid_t pid;
	int out, err; /* where its output is read from; out is the terminal's other end, which is its stdin, too */
	char *text, *errors; /* what it has said so far */
};

/* With these words (NULL-terminated, without argv[0]). tty: on a terminal with this TERM; NULL: on a pipe. The test fails if
 * that is impossible, as with the next ones. */
void running_start(struct running *p, const char *tty, const char *const *words);
/* Reads what there is, or waits a moment for it. false: nothing will come any more. */
bool running_read(struct running *p);
/* Until `what` is in text, which is p->text or p->errors. */
void running_until(struct running *p, const char *text, const char *what);
/* As if it had said nothing. */
void running_forget(struct running *p);
/* Ends it by a signal, unless that is 0: then it ends by itself. Its exit status; 128 + signal. What it has said last is in
 * text and errors until running_deinit(). */
int running_end(struct running *p, int signo);
void running_deinit(struct running *p);
#define cleanup_running cleanup(running_deinit)
