/* The event loop over sd-event. A source is kept for as long as its callback runs, even when the callback frees it;
 * that is all the state this layer adds. Callbacks return nothing: what goes wrong in one is its owner's business and
 * never stops the loop.
 *
 * Before each turn the stack below is wiped, in which libraries leave what they have worked on. */
#include "common/loop.h"

#include <sodium.h>
#include <systemd/sd-event.h>
#include <time.h>

#define STACK_WIPED ((size_t)32 << 10) /* more than what handles secret bytes is seen to use */

struct loop {
	sd_event *event;
};

struct loop_source {
	sd_event_source *source;
	union {
		loop_io_fn io;
		loop_fn plain;
		loop_signal_fn signal;
		loop_child_fn child;
	} fn;
	loop_fn before_wait;
	void *userdata;
	bool running; /* its callback is on the stack */
	bool freed; /* by that callback */
};

int loop_new(struct loop **ret_loop)
{
	struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	r = sd_event_new(&l->event);
	if (r < 0) {
		free(l);
		return r;
	}
	*ret_loop = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	sd_event_unref(l->event);
	free(l);
}

int loop_run(struct loop *l)
{
	int r = 0, code = 0;

	while (sd_event_get_state(l->event) != SD_EVENT_FINISHED) {
		sodium_stackzero(STACK_WIPED);
		r = sd_event_run(l->event, UINT64_MAX);
		if (r < 0)
			return r;
	}
	r = sd_event_get_exit_code(l->event, &code);
	return r < 0 ? r : code;
}

int loop_run_once(struct loop *l, uint64_t timeout_usec)
{
	return sd_event_run(l->event, timeout_usec);
}

void loop_exit(struct loop *l, int code)
{
	sd_event_exit(l->event, code);
}

uint64_t loop_now(struct loop *l)
{
	uint64_t usec = 0;

	sd_event_now(l->event, CLOCK_MONOTONIC, &usec);
	return usec;
}

static void source_begin(struct loop_source *s)
{
	s->running = true;
}

/* Returns what an sd-event handler returns. */
static int source_end(struct loop_source *s)
{
	s->running = false;
	if (s->freed)
		free(s);
	return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct loop_source *s = userdata;

	source_begin(s);
	s->fn.io(s, fd, revents, s->userdata);
	return source_end(s);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct loop_source *s = userdata;

	source_begin(s);
	s->fn.plain(s, s->userdata);
	return source_end(s);
}

static int on_defer(sd_event_source *source, void *userdata)
{
	return on_time(source, 0, userdata);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
	struct loop_source *s = userdata;

	source_begin(s);
	s->fn.signal(s, (int)si->ssi_signo, s->userdata);
	return source_end(s);
}

static int on_child(sd_event_source *source, const siginfo_t *si, void *userdata)
{
	struct loop_source *s = userdata;

	source_begin(s);
	s->fn.child(s, si->si_pid, si->si_code, si->si_status, s->userdata);
	return source_end(s);
}

static struct loop_source *source_new(void *userdata)
{
	struct loop_source *s = calloc(1, sizeof(*s));

	if (s)
		s->userdata = userdata;
	return s;
}

void loop_source_free(struct loop_source *s)
{
	if (!s)
		return;
	s->source = sd_event_source_disable_unref(s->source);
	s->freed = true;
	if (!s->running)
		free(s);
}

int loop_add_io(struct loop *l, int fd, uint32_t events, loop_io_fn fn, void *userdata, struct loop_source **ret_source)
{
	cleanup(loop_source_freep) struct loop_source *s = source_new(userdata);
	int r;

	if (!s)
		return -ENOMEM;
	s->fn.io = fn;
	r = sd_event_add_io(l->event, &s->source, fd, events, on_io, s);
	if (r < 0)
		return r;
	*ret_source = TAKE_PTR(s);
	return 0;
}

int loop_io_set_events(struct loop_source *s, uint32_t events)
{
	return sd_event_source_set_io_events(s->source, events);
}

static int on_prepare(sd_event_source *source, void *userdata)
{
	struct loop_source *s = userdata;

	s->before_wait(s, s->userdata);
	return 0;
}

int loop_io_before_wait(struct loop_source *s, loop_fn fn)
{
	s->before_wait = fn;
	return sd_event_source_set_prepare(s->source, on_prepare);
}

bool loop_source_is_pending(const struct loop_source *s)
{
	return sd_event_source_get_pending(s->source) > 0;
}

int loop_add_timer(struct loop *l, loop_fn fn, void *userdata, struct loop_source **ret_source)
{
	cleanup(loop_source_freep) struct loop_source *s = source_new(userdata);
	int r;

	if (!s)
		return -ENOMEM;
	s->fn.plain = fn;
	r = sd_event_add_time(l->event, &s->source, CLOCK_MONOTONIC, USEC_INFINITY, 1, on_time, s);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(s->source, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret_source = TAKE_PTR(s);
	return 0;
}

static uint64_t now_usec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / NSEC_PER_USEC;
}

/* Counts from the clock and not from loop_now(): a turn may have taken long. */
int loop_timer_set(struct loop_source *s, uint64_t delay_usec)
{
	uint64_t slack_usec = delay_usec < USEC_PER_SEC ? USEC_PER_MSEC : delay_usec / 20;
	uint64_t at_usec;
	int r;

	if (__builtin_add_overflow(now_usec(), delay_usec, &at_usec))
		at_usec = USEC_INFINITY;
	r = sd_event_source_set_time(s->source, at_usec);
	if (r < 0)
		return r;
	r = sd_event_source_set_time_accuracy(s->source, slack_usec);
	if (r < 0)
		return r;
	return sd_event_source_set_enabled(s->source, SD_EVENT_ONESHOT);
}

void loop_timer_off(struct loop_source *s)
{
	sd_event_source_set_enabled(s->source, SD_EVENT_OFF);
}

static int signal_block(int signo)
{
	sigset_t set;

	if (sigemptyset(&set) < 0 || sigaddset(&set, signo) < 0)
		return -errno;
	return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int loop_add_signal(struct loop *l, int signo, loop_signal_fn fn, void *userdata, struct loop_source **ret_source)
{
	cleanup(loop_source_freep) struct loop_source *s = source_new(userdata);
	int r;

	if (!s)
		return -ENOMEM;
	r = signal_block(signo);
	if (r < 0)
		return r;
	s->fn.signal = fn;
	r = sd_event_add_signal(l->event, &s->source, signo, on_signal, s);
	if (r < 0)
		return r;
	*ret_source = TAKE_PTR(s);
	return 0;
}

int loop_add_child(struct loop *l, pid_t pid, loop_child_fn fn, void *userdata, struct loop_source **ret_source)
{
	cleanup(loop_source_freep) struct loop_source *s = source_new(userdata);
	int r;

	if (!s)
		return -ENOMEM;
	/* sd-event insists on it even though it waits by pidfd */
	r = signal_block(SIGCHLD);
	if (r < 0)
		return r;
	s->fn.child = fn;
	r = sd_event_add_child(l->event, &s->source, pid, WEXITED, on_child, s);
	if (r < 0)
		return r;
	*ret_source = TAKE_PTR(s);
	return 0;
}

int loop_add_defer(struct loop *l, loop_fn fn, void *userdata, struct loop_source **ret_source)
{
	cleanup(loop_source_freep) struct loop_source *s = source_new(userdata);
	int r;

	if (!s)
		return -ENOMEM;
	s->fn.plain = fn;
	r = sd_event_add_defer(l->event, &s->source, on_defer, s);
	if (r < 0)
		return r;
	r = sd_event_source_set_enabled(s->source, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret_source = TAKE_PTR(s);
	return 0;
}

/* One of sd-event's is pending from its making on, and who is pending longest comes first: ahead of all timers and fds, however
 * often it is set again. So it is made anew, and waits like everybody else. Without memory it does not. */
int loop_defer_set(struct loop_source *s)
{
	sd_event_source *fresh = NULL;
	int64_t priority = 0;
	int enabled, r;

	r = sd_event_source_get_enabled(s->source, &enabled);
	if (r < 0 || enabled != SD_EVENT_OFF)
		return r < 0 ? r : 0;
	r = sd_event_source_get_priority(s->source, &priority);
	r = r < 0 ? r : sd_event_add_defer(sd_event_source_get_event(s->source), &fresh, on_defer, s);
	if (r >= 0 && priority != 0)
		r = sd_event_source_set_priority(fresh, priority);
	if (r < 0) {
		sd_event_source_disable_unref(fresh);
		return sd_event_source_set_enabled(s->source, SD_EVENT_ONESHOT);
	}
	sd_event_source_disable_unref(s->source);
	s->source = fresh;
	return 0;
}

int loop_source_set_priority(struct loop_source *s, int64_t priority)
{
	return sd_event_source_set_priority(s->source, priority);
}
