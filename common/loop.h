/* The event loop: fds, timers, signals, children and deferred calls on one thread. A thin face over sd-event, so
 * that exchanging it stays a matter of one file. Callbacks run one after the other, never nested. A callback may
 * free any source, its own included. */
#pragma once

#include <signal.h>
#include <sys/epoll.h>

#include "common/base.h"

struct loop;
struct loop_source;

int loop_new(struct loop **ret_loop);
void loop_free(struct loop *l);
DEFINE_CLEANUP(struct loop *, loop_free);
/* Runs until loop_exit(); returns the code given there, or negative errno. */
int loop_run(struct loop *l);
/* One turn: waits at most timeout_usec (USEC_INFINITY: for ever) and dispatches one source. For tests. */
int loop_run_once(struct loop *l, uint64_t timeout_usec);
void loop_exit(struct loop *l, int code);
/* CLOCK_MONOTONIC in microseconds, cached for this turn of the loop. */
uint64_t loop_now(struct loop *l);

typedef void (*loop_io_fn)(struct loop_source *s, int fd, uint32_t revents, void *userdata);
typedef void (*loop_fn)(struct loop_source *s, void *userdata);
typedef void (*loop_signal_fn)(struct loop_source *s, int signo, void *userdata);
/* status as from waitid(2): code is CLD_EXITED, CLD_KILLED or CLD_DUMPED, status the exit code or signal */
typedef void (*loop_child_fn)(struct loop_source *s, pid_t pid, int code, int status, void *userdata);

/* The fd is not owned. events: EPOLLIN and so on. */
int loop_add_io(struct loop *l, int fd, uint32_t events, loop_io_fn fn, void *userdata,
		struct loop_source **ret_source);
int loop_io_set_events(struct loop_source *s, uint32_t events);
/* Calls fn before each wait of the loop. It frees no source. */
int loop_io_before_wait(struct loop_source *s, loop_fn fn);
/* It is ready, and its callback is still to come. */
bool loop_source_is_pending(const struct loop_source *s);
/* A timer that is off until loop_timer_set(). One shot: it must be set again from its callback if wanted. */
int loop_add_timer(struct loop *l, loop_fn fn, void *userdata, struct loop_source **ret_source);
/* Fires once, `delay_usec` from now, within 1 ms (delays under 1 s) or 5 % (longer ones: so that timers coalesce). */
int loop_timer_set(struct loop_source *s, uint64_t delay_usec);
void loop_timer_off(struct loop_source *s);
/* Blocks the signal in this thread and takes it from signalfd. */
int loop_add_signal(struct loop *l, int signo, loop_signal_fn fn, void *userdata, struct loop_source **ret_source);
/* Waits for the child by pidfd and reaps it. Blocks SIGCHLD in this thread, which sd-event asks for: whoever starts
 * programs resets the signal mask. */
int loop_add_child(struct loop *l, pid_t pid, loop_child_fn fn, void *userdata, struct loop_source **ret_source);
/* Runs once after loop_defer_set(), however often that is called until then; off until set. The loop waits for nothing
 * meanwhile, but what is ready before it, of the same priority, comes before it. */
int loop_add_defer(struct loop *l, loop_fn fn, void *userdata, struct loop_source **ret_source);
int loop_defer_set(struct loop_source *s);
/* Lower runs first; 0 by default. */
int loop_source_set_priority(struct loop_source *s, int64_t priority);
/* Removes the source at once; NULL is fine. */
void loop_source_free(struct loop_source *s);
DEFINE_CLEANUP(struct loop_source *, loop_source_free);
