/* The loop: each kind of source, and above all that a callback may free any source, its own included. */
#include "common/loop.h"
#include "test/lib/skip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "test/lib/valgrind.h"

/* What the callbacks leave behind; `order` gets one letter per call. */
struct seen {
	struct loop *loop;
	char order[64];
	size_t n;
	struct loop_source *victim; /* freed by the callback, if set */
	struct loop_source *again; /* a timer or deferred call that is set again */
	pid_t pid;
	int code, status, signo;
	uint32_t revents;
	uintptr_t left; /* on the stack, by a callback that has returned */
	size_t n_left_now, n_left_then;
};

static void seen_add(struct seen *seen, char c)
{
	if (seen->n < sizeof(seen->order) - 1)
		seen->order[seen->n++] = c;
	loop_source_free(TAKE_PTR(seen->victim));
}

static void on_io(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct seen *seen = userdata;
	char byte = '?';

	seen->revents = revents;
	if (read(fd, &byte, 1) != 1)
		byte = '0';
	seen_add(seen, byte);
}

static void on_call(struct loop_source *s, void *userdata)
{
	struct seen *seen = userdata;

	seen_add(seen, 'c');
}

static void on_call_again(struct loop_source *s, void *userdata)
{
	struct seen *seen = userdata;

	seen_add(seen, 'a');
	if (seen->n == 3)
		loop_exit(seen->loop, 42);
	else if (seen->n % 2)
		assert_int_equal(loop_timer_set(seen->again, 1000), 0);
	else
		assert_int_equal(loop_timer_set(seen->again, 0), 0);
}

static void on_signal(struct loop_source *s, int signo, void *userdata)
{
	struct seen *seen = userdata;

	seen->signo = signo;
	seen_add(seen, 's');
}

static void on_child(struct loop_source *s, pid_t pid, int code, int status, void *userdata)
{
	struct seen *seen = userdata;

	seen->pid = pid;
	seen->code = code;
	seen->status = status;
	seen_add(seen, 'k');
}

static int loop_setup(void **state)
{
	struct seen *seen = calloc(1, sizeof(*seen));

	*state = seen;
	return loop_new(&seen->loop);
}

static int loop_teardown(void **state)
{
	struct seen *seen = *state;

	loop_free(seen->loop);
	free(seen);
	return 0;
}

/* Turns until nothing is ready any more. */
static void turn(struct seen *seen)
{
	int r;

	while ((r = loop_run_once(seen->loop, 0)) > 0)
		;
	assert_int_equal(r, 0);
}

/* Turns until `n` callbacks ran. */
static void turn_until(struct seen *seen, size_t n)
{
	while (seen->n < n)
		assert_true(loop_run_once(seen->loop, 10 * USEC_PER_SEC) > 0);
}

struct pipe_source {
	int fds[2];
	struct loop_source *source;
};

static struct pipe_source pipe_add(struct seen *seen)
{
	struct pipe_source p = { .source = NULL };

	assert_int_equal(pipe2(p.fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(loop_add_io(seen->loop, p.fds[0], EPOLLIN, on_io, seen, &p.source), 0);
	return p;
}

static void pipe_put(const struct pipe_source *p, const char *bytes)
{
	assert_int_equal(write(p->fds[1], bytes, strlen(bytes)), strlen(bytes));
}

static void pipe_end(struct pipe_source *p)
{
	close_fd(p->fds[0]);
	close_fd(p->fds[1]);
}

static pid_t child_start(int exit_code)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (exit_code < 0)
			for (;;)
				pause();
		_exit(exit_code);
	}
	assert_true(pid > 0);
	return pid;
}

static void nothing_to_do_is_a_turn_that_times_out(void **state)
{
	struct seen *seen = *state;

	assert_int_equal(loop_run_once(seen->loop, 0), 0);
	assert_int_equal(loop_run_once(seen->loop, 1000), 0);
}

static void io_is_reported_while_the_fd_is_ready(void **state)
{
	struct seen *seen = *state;
	struct pipe_source p = pipe_add(seen);

	turn(seen);
	assert_int_equal(seen->n, 0);
	pipe_put(&p, "xyz");
	turn(seen);
	assert_string_equal(seen->order, "xyz");
	assert_int_equal(seen->revents, EPOLLIN);

	close(TAKE_FD(p.fds[1]));
	assert_int_equal(loop_run_once(seen->loop, 0), 1);
	assert_true(seen->revents & EPOLLHUP);
	loop_source_free(p.source);
	pipe_end(&p);
}

static void io_events_can_be_changed(void **state)
{
	struct seen *seen = *state;
	struct pipe_source p = pipe_add(seen);

	pipe_put(&p, "x");
	assert_int_equal(loop_io_set_events(p.source, 0), 0);
	turn(seen);
	assert_int_equal(seen->n, 0);
	assert_int_equal(loop_io_set_events(p.source, EPOLLIN), 0);
	turn(seen);
	assert_string_equal(seen->order, "x");
	loop_source_free(p.source);
	pipe_end(&p);
}

static void io_on_what_cannot_be_polled_is_refused(void **state)
{
	struct seen *seen = *state;
	struct loop_source *s = NULL;
	cleanup_file FILE *file = tmpfile();

	assert_int_equal(loop_add_io(seen->loop, -1, EPOLLIN, on_io, seen, &s), -EBADF);
	assert_int_equal(loop_add_io(seen->loop, fileno(file), EPOLLIN, on_io, seen, &s), -EPERM);
	assert_null(s);
}

static void freed_source_is_never_called(void **state)
{
	struct seen *seen = *state;
	struct pipe_source p = pipe_add(seen);

	pipe_put(&p, "x");
	loop_source_free(p.source);
	turn(seen);
	assert_int_equal(seen->n, 0);
	loop_source_free(NULL);
	pipe_end(&p);
}

static void callback_may_free_its_own_io_source(void **state)
{
	struct seen *seen = *state;
	struct pipe_source p = pipe_add(seen);

	seen->victim = p.source;
	pipe_put(&p, "xy");
	turn(seen);
	assert_string_equal(seen->order, "x");
	pipe_end(&p);
}

static void callback_may_free_another_source_that_is_ready(void **state)
{
	struct seen *seen = *state;
	struct pipe_source first = pipe_add(seen), second = pipe_add(seen);

	assert_int_equal(loop_source_set_priority(first.source, -1), 0);
	pipe_put(&first, "x");
	pipe_put(&second, "y");
	seen->victim = second.source;
	turn(seen);
	assert_string_equal(seen->order, "x");
	loop_source_free(first.source);
	pipe_end(&first);
	pipe_end(&second);
}

static void lower_priority_runs_first(void **state)
{
	struct seen *seen = *state;
	struct pipe_source p[3];

	for (size_t i = 0; i < 3; i++) {
		p[i] = pipe_add(seen);
		assert_int_equal(loop_source_set_priority(p[i].source, (int64_t)i == 1 ? -10 : 10 - (int64_t)i), 0);
	}
	pipe_put(&p[0], "3");
	pipe_put(&p[1], "1");
	pipe_put(&p[2], "2");
	turn(seen);
	assert_string_equal(seen->order, "123");
	for (size_t i = 0; i < 3; i++) {
		loop_source_free(p[i].source);
		pipe_end(&p[i]);
	}
}

static void timer_is_off_until_set_and_fires_once(void **state)
{
	struct seen *seen = *state;
	struct loop_source *timer;
	uint64_t before;

	assert_int_equal(loop_add_timer(seen->loop, on_call, seen, &timer), 0);
	turn(seen);
	assert_int_equal(seen->n, 0);
	before = loop_now(seen->loop);
	assert_int_equal(loop_timer_set(timer, 5000), 0);
	turn_until(seen, 1);
	assert_true(loop_now(seen->loop) - before >= 5000);
	assert_int_equal(loop_run_once(seen->loop, 20000), 0);
	assert_int_equal(seen->n, 1);
	loop_source_free(timer);
}

static void timer_that_is_switched_off_or_far_away_does_not_fire(void **state)
{
	struct seen *seen = *state;
	struct loop_source *timer;

	assert_int_equal(loop_add_timer(seen->loop, on_call, seen, &timer), 0);
	assert_int_equal(loop_timer_set(timer, 0), 0);
	loop_timer_off(timer);
	turn(seen);
	assert_int_equal(loop_timer_set(timer, 0), 0);
	assert_int_equal(loop_timer_set(timer, 3600 * USEC_PER_SEC), 0);
	turn(seen);
	assert_int_equal(loop_timer_set(timer, USEC_INFINITY), 0);
	turn(seen);
	assert_int_equal(seen->n, 0);
	loop_source_free(timer);
}

static void timer_may_be_set_again_in_its_callback(void **state)
{
	struct seen *seen = *state;

	assert_int_equal(loop_add_timer(seen->loop, on_call_again, seen, &seen->again), 0);
	assert_int_equal(loop_timer_set(seen->again, 0), 0);
	assert_int_equal(loop_run(seen->loop), 42);
	assert_string_equal(seen->order, "aaa");
	loop_source_free(seen->again);
}

static void callback_may_free_its_own_timer(void **state)
{
	struct seen *seen = *state;

	assert_int_equal(loop_add_timer(seen->loop, on_call, seen, &seen->victim), 0);
	assert_int_equal(loop_timer_set(seen->victim, 0), 0);
	turn_until(seen, 1);
	turn(seen);
	assert_int_equal(seen->n, 1);
}

static void deferred_call_runs_once_per_set(void **state)
{
	struct seen *seen = *state;
	struct loop_source *defer;

	assert_int_equal(loop_add_defer(seen->loop, on_call, seen, &defer), 0);
	turn(seen);
	assert_int_equal(seen->n, 0);
	assert_int_equal(loop_defer_set(defer), 0);
	assert_int_equal(loop_defer_set(defer), 0);
	turn(seen);
	assert_int_equal(seen->n, 1);
	assert_int_equal(loop_defer_set(defer), 0);
	turn(seen);
	assert_int_equal(seen->n, 2);
	loop_source_free(defer);
}

static void on_call_for_ever(struct loop_source *s, void *userdata)
{
	assert_int_equal(loop_defer_set(s), 0);
}

/* Nor do two that set each other, nor one that was there before. */
static void deferred_call_that_sets_itself_starves_nobody(void **state)
{
	struct loop_source *again[2], *timer, *call;
	struct seen *seen = *state;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(loop_add_defer(seen->loop, on_call_for_ever, NULL, &again[i]), 0);
		assert_int_equal(loop_source_set_priority(again[i], 0), 0);
		assert_int_equal(loop_defer_set(again[i]), 0);
	}
	assert_int_equal(loop_add_timer(seen->loop, on_call, seen, &timer), 0);
	loop_timer_set(timer, 0);
	for (int i = 0; i < 1000 && seen->n == 0; i++)
		assert_true(loop_run_once(seen->loop, 0) >= 0);
	assert_int_equal(seen->n, 1);
	assert_int_equal(loop_add_defer(seen->loop, on_call, seen, &call), 0);
	assert_int_equal(loop_defer_set(call), 0);
	for (int i = 0; i < 10 && seen->n == 1; i++)
		assert_true(loop_run_once(seen->loop, 0) >= 0);
	assert_int_equal(seen->n, 2);
	for (int i = 0; i < 2; i++)
		loop_source_free(again[i]);
	loop_source_free(timer);
	loop_source_free(call);
}

static void callback_may_free_its_own_deferred_call(void **state)
{
	struct seen *seen = *state;

	assert_int_equal(loop_add_defer(seen->loop, on_call, seen, &seen->victim), 0);
	assert_int_equal(loop_defer_set(seen->victim), 0);
	turn(seen);
	assert_int_equal(seen->n, 1);
}

static void on_call_sets_and_frees_itself(struct loop_source *s, void *userdata)
{
	struct seen *seen = userdata;

	assert_ptr_equal(s, seen->victim);
	assert_int_equal(loop_defer_set(s), 0);
	seen_add(seen, 'c');
}

/* What was set is a source of its own below, with the priority of the one before. */
static void callback_may_free_its_own_deferred_call_that_is_set_again(void **state)
{
	struct seen *seen = *state;

	for (int64_t priority = -5; priority <= 5; priority += 5) {
		struct loop_source *call;
		struct seen other = { 0 };

		seen->n = 0;
		assert_int_equal(loop_add_defer(seen->loop, on_call_sets_and_frees_itself, seen, &seen->victim), 0);
		assert_int_equal(loop_source_set_priority(seen->victim, priority), 0);
		assert_int_equal(loop_defer_set(seen->victim), 0);
		turn(seen);
		assert_int_equal(seen->n, 1);
		assert_null(seen->victim);
		/* nothing of it is in the way of others */
		assert_int_equal(loop_add_defer(seen->loop, on_call, &other, &call), 0);
		assert_int_equal(loop_defer_set(call), 0);
		turn(seen);
		assert_int_equal(other.n, 1);
		assert_int_equal(seen->n, 1);
		loop_source_free(call);
	}
}

/* Its place among the others is kept, however often it is set. */
static void deferred_call_that_is_set_again_keeps_its_priority(void **state)
{
	struct loop_source *first, *second;
	struct seen *seen = *state, early = { 0 }, late = { 0 };

	assert_int_equal(loop_add_defer(seen->loop, on_call, &early, &first), 0);
	assert_int_equal(loop_add_defer(seen->loop, on_call, &late, &second), 0);
	assert_int_equal(loop_source_set_priority(first, -5), 0);
	for (size_t i = 1; i <= 3; i++) {
		assert_int_equal(loop_defer_set(second), 0);
		assert_int_equal(loop_defer_set(first), 0);
		assert_true(loop_run_once(seen->loop, 0) > 0);
		assert_int_equal(early.n, i);
		assert_int_equal(late.n, i - 1);
		turn(seen);
		assert_int_equal(late.n, i);
	}
	loop_source_free(first);
	loop_source_free(second);
}

static void signal_is_taken_from_the_loop(void **state)
{
	struct seen *seen = *state;
	struct loop_source *s;

	assert_int_equal(loop_add_signal(seen->loop, SIGUSR1, on_signal, seen, &s), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	turn(seen);
	assert_string_equal(seen->order, "s");
	assert_int_equal(seen->signo, SIGUSR1);
	assert_int_equal(raise(SIGUSR1), 0);
	seen->victim = s;
	turn(seen);
	assert_string_equal(seen->order, "ss");
}

static void second_source_of_a_signal_is_refused(void **state)
{
	struct seen *seen = *state;
	struct loop_source *s, *second = NULL;

	assert_int_equal(loop_add_signal(seen->loop, SIGUSR1, on_signal, seen, &s), 0);
	assert_int_equal(loop_add_signal(seen->loop, SIGUSR1, on_signal, seen, &second), -EBUSY);
	assert_int_equal(loop_add_signal(seen->loop, 4711, on_signal, seen, &second), -EINVAL);
	assert_null(second);
	loop_source_free(s);
}

static void child_that_exits_is_reported_and_reaped(void **state)
{
	struct seen *seen = *state;
	struct loop_source *s;
	pid_t pid = child_start(7);

	assert_int_equal(loop_add_child(seen->loop, pid, on_child, seen, &s), 0);
	turn_until(seen, 1);
	assert_int_equal(seen->pid, pid);
	assert_int_equal(seen->code, CLD_EXITED);
	assert_int_equal(seen->status, 7);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	turn(seen);
	assert_int_equal(seen->n, 1);
	loop_source_free(s);
}

static void child_that_is_killed_is_reaped_even_if_its_callback_frees_the_source(void **state)
{
	struct seen *seen = *state;
	pid_t pid = child_start(-1);

	assert_int_equal(loop_add_child(seen->loop, pid, on_child, seen, &seen->victim), 0);
	turn(seen);
	assert_int_equal(seen->n, 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	turn_until(seen, 1);
	assert_int_equal(seen->code, CLD_KILLED);
	assert_int_equal(seen->status, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void many_children_are_told_apart(void **state)
{
	struct seen *seen = *state;
	struct loop_source *s[8];
	struct seen each[8] = { 0 };

	for (int i = 0; i < 8; i++)
		assert_int_equal(loop_add_child(seen->loop, child_start(i), on_child, &each[i], &s[i]), 0);
	for (int i = 0; i < 8; i++) {
		while (each[i].n == 0)
			assert_true(loop_run_once(seen->loop, 10 * USEC_PER_SEC) > 0);
		assert_int_equal(each[i].status, i);
		loop_source_free(s[i]);
	}
}

static void exit_ends_run_with_its_code(void **state)
{
	struct seen *seen = *state;

	loop_exit(seen->loop, 3);
	assert_int_equal(loop_run(seen->loop), 3);
}

/* ---- the stack ---- */

#define LEFT ((size_t)8 << 10)

/* Not inlined: its frame is gone when it returns. */
__attribute__((__noinline__)) static uintptr_t leave_behind(void)
{
	volatile unsigned char frame[LEFT];

	for (size_t i = 0; i < LEFT; i++)
		frame[i] = 0xa5;
	return (uintptr_t)frame;
}

/* Runs of it: an address that somebody has put there since may have such a byte in it. */
__attribute__((__noinline__)) static size_t count_left(uintptr_t place)
{
	size_t n = 0, run = 0;

	for (size_t i = 0; i < LEFT; i++) {
		run = ((volatile unsigned char *)place)[i] == 0xa5 ? run + 1 : 0;
		n += run > sizeof(void *);
	}
	return n;
}

static void on_call_leaves_behind(struct loop_source *s, void *userdata)
{
	struct seen *seen = userdata;

	if (!seen->left) {
		seen->left = leave_behind();
		seen->n_left_now = count_left(seen->left);
		assert_int_equal(loop_defer_set(seen->again), 0);
		return;
	}
	seen->n_left_then = count_left(seen->left);
	loop_exit(seen->loop, 0);
}

static void what_a_turn_leaves_on_the_stack_is_gone_in_the_next(void **state)
{
	struct seen *seen = *state;

	if (under_valgrind())
		skip_because("what is below the stack pointer may not be looked at there");
	assert_int_equal(loop_add_defer(seen->loop, on_call_leaves_behind, seen, &seen->again), 0);
	assert_int_equal(loop_defer_set(seen->again), 0);
	assert_int_equal(loop_run(seen->loop), 0);
	assert_true(seen->n_left_now > LEFT / 2);
	assert_int_equal(seen->n_left_then, 0);
	loop_source_free(TAKE_PTR(seen->again));
}

static void now_stands_still_within_a_turn(void **state)
{
	struct seen *seen = *state;
	uint64_t now;

	assert_int_equal(loop_run_once(seen->loop, 0), 0);
	now = loop_now(seen->loop);
	usleep(2000);
	assert_int_equal(loop_now(seen->loop), now);
	assert_int_equal(loop_run_once(seen->loop, 0), 0);
	assert_true(loop_now(seen->loop) - now >= 2000);
}

static void source_may_be_freed_after_the_loop(void **state)
{
	struct pipe_source p;
	struct seen seen = { 0 };

	assert_int_equal(loop_new(&seen.loop), 0);
	p = pipe_add(&seen);
	loop_free(seen.loop);
	loop_source_free(p.source);
	pipe_end(&p);
	loop_free(NULL);
}

#define with_loop(test) cmocka_unit_test_setup_teardown(test, loop_setup, loop_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_loop(nothing_to_do_is_a_turn_that_times_out),
		with_loop(io_is_reported_while_the_fd_is_ready),
		with_loop(io_events_can_be_changed),
		with_loop(io_on_what_cannot_be_polled_is_refused),
		with_loop(freed_source_is_never_called),
		with_loop(callback_may_free_its_own_io_source),
		with_loop(callback_may_free_another_source_that_is_ready),
		with_loop(lower_priority_runs_first),
		with_loop(timer_is_off_until_set_and_fires_once),
		with_loop(timer_that_is_switched_off_or_far_away_does_not_fire),
		with_loop(timer_may_be_set_again_in_its_callback),
		with_loop(callback_may_free_its_own_timer),
		with_loop(deferred_call_runs_once_per_set),
		with_loop(callback_may_free_its_own_deferred_call),
		with_loop(callback_may_free_its_own_deferred_call_that_is_set_again),
		with_loop(deferred_call_that_is_set_again_keeps_its_priority),
		with_loop(deferred_call_that_sets_itself_starves_nobody),
		with_loop(signal_is_taken_from_the_loop),
		with_loop(second_source_of_a_signal_is_refused),
		with_loop(child_that_exits_is_reported_and_reaped),
		with_loop(child_that_is_killed_is_reaped_even_if_its_callback_frees_the_source),
		with_loop(many_children_are_told_apart),
		with_loop(exit_ends_run_with_its_code),
		with_loop(what_a_turn_leaves_on_the_stack_is_gone_in_the_next),
		with_loop(now_stands_still_within_a_turn),
		cmocka_unit_test(source_may_be_freed_after_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
