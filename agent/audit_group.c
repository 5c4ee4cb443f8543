/* Audit group. The flags, one by one:
 *
 *   FAN_CLASS_NOTIF       nobody waits for an answer
 *   FAN_NONBLOCK          its reader has a loop
 *   FAN_REPORT_PIDFD      what /proc says can be proved to be of the process that opened (Linux 5.15)
 *   no FAN_UNLIMITED_QUEUE: the kernel may then fail to note an event instead of making the opener find memory for it
 *                         (fanotify_handle_event(): __GFP_RETRY_MAYFAIL), and each event holds a mount busy
 *   no FAN_REPORT_FID     refused on FUSE, which has no file system id; an event comes with a file descriptor instead, the
 *                         opening of which sends no request (ENOSYS to OPEN, see ops.c)
 *
 * The mark is the audit process's to set: fanotify_mark(2) asks for the root's permissions, and for them the kernel may ask
 * the agent. */
#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#include "agent/audit.h"

static const char *const REASONS[] = {
	[AUDIT_START] = "start", [AUDIT_PROCESS] = "process", [AUDIT_KEEPER] = "keeper"
};
static_assert(ARRAY_SIZE(REASONS) == AUDIT_REASONS_N, "a name for each reason");

const char *audit_reason_name(enum audit_reason r)
{
	return REASONS[r];
}

const char *audit_missing(const char *release)
{
	unsigned major, minor;
	struct utsname u;

	if (!release)
		release = uname(&u) == 0 ? u.release : "";
	/* overlayfs kept the opens of its layers' files from fanotify (FMODE_NONOTIFY) until Linux 6.5, bc2473c90fca. There is
	 * nothing to ask but the version: to try it takes a mount namespace */
	if (sscanf(release, "%u.%u", &major, &minor) != 2 || major > 6 || (major == 6 && minor >= 5))
		return NULL;
	return "opens through overlayfs are not told to auditLog: who can mount one over a volume reads without a "
	       "record";
}

int audit_group_open(struct audit_group *g, struct err *e)
{
	if (g->counts < 0) {
		cleanup_fd int fd = memfd_create("secretlet-audit", MFD_CLOEXEC);

		if (fd < 0 || ftruncate(fd, sizeof(struct audit_counts)) < 0)
			return err_set(e, -errno, "memory for the audit's counts: %m");
		g->counts = TAKE_FD(fd);
	}
	if (g->group >= 0)
		return 0;
	g->group = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_PIDFD, O_RDONLY | O_CLOEXEC);
	if (g->group < 0)
		return err_set(e, -errno, "fanotify_init: %m%s",
			       errno == ENOSYS	 ? " (the kernel has no FANOTIFY)"
			       : errno == EINVAL ? " (Linux 5.15 or newer is needed)"
			       : errno == EPERM	 ? " (CAP_SYS_ADMIN is needed)"
						 : "");
	return 0;
}

void audit_group_close(struct audit_group *g)
{
	g->group = close_fd(g->group);
	g->reason = AUDIT_START;
}

void audit_group_deinit(struct audit_group *g)
{
	audit_group_close(g);
	g->counts = close_fd(g->counts);
	g->link = close_fd(g->link);
}
