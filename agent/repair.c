/* Repair. The child has nothing of the keeper's but the mount: it may outlive it while it hangs, and must hold no lock and no
 * connection then. Its exit status is what became of it. */
#include "agent/repair.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "fusefs/mount.h"

#define LIMIT_USEC   (5 * USEC_PER_SEC)
#define EXIT_NOTHING 254 /* it was writable; above any errno */

static _Noreturn void child_run(int private_mount)
{
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(private_mount, STDERR_FILENO + 1) < 0)
		_exit(errno);
	close_range(STDERR_FILENO + 2, ~0U, 0);
	r = mount_make_writable(STDERR_FILENO + 1);
	_exit(r == MOUNT_WRITABLE ? EXIT_NOTHING : -r);
}

static void child_died(struct loop_source *s, pid_t pid, int code, int status, void *userdata)
{
	struct repair *p = userdata;
	bool late = p->late;
	int r = code != CLD_EXITED ? -EINTR : status == EXIT_NOTHING ? MOUNT_WRITABLE : -status;

	loop_source_free(TAKE_PTR(p->watch));
	loop_timer_off(p->timer);
	p->pid = 0;
	p->late = false;
	if (!late)
		p->done(p->userdata, r);
}

static void child_late(struct loop_source *s, void *userdata)
{
	struct repair *p = userdata;

	p->late = true;
	kill(p->pid, SIGKILL);
	p->done(p->userdata, -ETIMEDOUT);
}

int repair_init(struct repair *p, struct loop *l, repair_fn done, void *userdata)
{
	*p = (struct repair){ .loop = l, .done = done, .userdata = userdata };
	return loop_add_timer(l, child_late, p, &p->timer);
}

int repair_begin(struct repair *p, int private_mount)
{
	int r;

	if (p->late)
		return -EBUSY;
	if (p->pid > 0)
		return 0;
	p->pid = fork();
	if (p->pid < 0) {
		p->pid = 0;
		return -errno;
	}
	if (p->pid == 0)
		child_run(private_mount);
	r = loop_add_child(p->loop, p->pid, child_died, p, &p->watch);
	r = r ?: loop_timer_set(p->timer, LIMIT_USEC);
	if (r < 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, WNOHANG);
		loop_source_free(TAKE_PTR(p->watch));
		p->pid = 0;
	}
	return r;
}

void repair_deinit(struct repair *p)
{
	if (p->pid > 0)
		kill(p->pid, SIGKILL);
	loop_source_free(p->watch);
	loop_source_free(p->timer);
}
