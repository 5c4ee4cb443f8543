/* Jumps: a timer on CLOCK_REALTIME that never comes, but is cancelled by the kernel when that clock jumps; waking up from
 * a sleep is such a jump, too (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET; on resume since Linux 5.15). Nothing is
 * polled. What happened is told from three clocks: BOOTTIME goes on during sleep, MONOTONIC does not, REALTIME is set. */
#include "common/jumps.h"

#include <sys/timerfd.h>
#include <time.h>

static const int64_t SMALL_USEC = 10 * (int64_t)USEC_PER_MSEC;

struct jumps {
	jumps_fn fn;
	void *userdata;
	struct jumps_times last;
	struct loop_source *source;
	int fd;
};

static uint64_t read_one(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * USEC_PER_SEC + (uint64_t)t.tv_nsec / NSEC_PER_USEC;
}

void jumps_read(struct jumps_times *ret)
{
	ret->realtime_usec = read_one(CLOCK_REALTIME);
	ret->monotonic_usec = read_one(CLOCK_MONOTONIC);
	ret->boottime_usec = read_one(CLOCK_BOOTTIME);
}

static int64_t beyond(uint64_t before, uint64_t now, uint64_t elapsed_usec)
{
	int64_t jump = (int64_t)(now - before) - (int64_t)elapsed_usec;

	return jump > -SMALL_USEC && jump < SMALL_USEC ? 0 : jump;
}

struct jump jumps_compare(const struct jumps_times *before, const struct jumps_times *now)
{
	uint64_t awake = now->monotonic_usec - before->monotonic_usec, all = now->boottime_usec - before->boottime_usec;
	int64_t slept = beyond(before->boottime_usec, now->boottime_usec, awake);

	return (struct jump){ .slept_usec = slept > 0 ? (uint64_t)slept : 0,
			      .set_usec = beyond(before->realtime_usec, now->realtime_usec, all) };
}

void jumps_look(struct jumps *c, const struct jumps_times *now)
{
	struct jump jump = jumps_compare(&c->last, now);

	c->last = *now;
	if (jump.slept_usec > 0 || jump.set_usec != 0)
		c->fn(c->userdata, &jump);
}

static int arm(const struct jumps *c)
{
	/* the year 2242; the kernel's times end in 2262 */
	const struct itimerspec never = { .it_value.tv_sec = INT64_C(8589934592) };

	return timerfd_settime(c->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0 ? -errno : 0;
}

static void on_jump(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct jumps_times now;
	struct jumps *c = userdata;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0 && errno == EAGAIN)
		return;
	/* armed before the clocks are read: a jump in between is told twice rather than never */
	arm(c);
	jumps_read(&now);
	jumps_look(c, &now);
}

int jumps_new(struct loop *l, jumps_fn fn, void *userdata, struct jumps **ret_c)
{
	cleanup(jumps_freep) struct jumps *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->fn = fn;
	c->userdata = userdata;
	c->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (c->fd < 0)
		return -errno;
	r = arm(c);
	if (r < 0)
		return r;
	r = loop_add_io(l, c->fd, EPOLLIN, on_jump, c, &c->source);
	if (r < 0)
		return r;
	jumps_read(&c->last);
	*ret_c = TAKE_PTR(c);
	return 0;
}

void jumps_free(struct jumps *c)
{
	if (!c)
		return;
	loop_source_free(c->source);
	close_fd(c->fd);
	free(c);
}
