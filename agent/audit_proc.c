/* Audit proc. A pid may be another process's by the time it is looked at. The pidfd is of the process that opened: if it can
 * still be signalled after everything was read, then the pid was its own all the time (pidfd_send_signal(2): ESRCH once it
 * was reaped; EPERM says as well that it is there).
 *
 * One that is about to end is in the root of each cgroup v1 hierarchy for whoever looks (proc_cgroup_show()), which is not
 * where it was. */
#include "agent/audit_proc.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>

#include "common/str.h"

/* fields in proc(5) */
#define STAT_FLAGS 9
#define STAT_START 22
#define PF_EXITING 0x4u /* linux/sched.h */
#define TEXT_MAX   8192

static const char *proc = "/proc";

bool audit_proc_parse_stat(const char *text, struct audit_proc *p)
{
	const char *open = strchr(text, '('), *close = strrchr(text, ')');
	unsigned long long start;
	unsigned flags = 0;
	size_t len;

	/* the name may have anything in it, parentheses, spaces and line ends too */
	if (!open || !close || close < open)
		return false;
	len = MIN((size_t)(close - open - 1), sizeof(p->comm) - 1);
	memcpy(p->comm, open + 1, len);
	p->comm[len] = '\0';
	/* behind it is a space and field 3 */
	for (int field = 2; field < STAT_START; field++) {
		close = strchr(close, ' ');
		if (!close)
			return false;
		close++;
		if (field + 1 == STAT_FLAGS && sscanf(close, "%u", &flags) != 1)
			return false;
	}
	if (sscanf(close, "%llu", &start) != 1)
		return false;
	p->start_ticks = start;
	p->exiting = flags & PF_EXITING;
	return true;
}

bool audit_proc_parse_status(const char *text, struct audit_proc *p)
{
	const char *uid = strstr(text, "\nUid:"), *gid = strstr(text, "\nGid:");
	unsigned real, effective, group;

	if (!uid || !gid || sscanf(uid, "\nUid: %u %u", &real, &effective) != 2 ||
	    sscanf(gid, "\nGid: %*u %u", &group) != 1)
		return false;
	p->uid = real;
	p->euid = effective;
	p->gid = group;
	return true;
}

void audit_proc_is_root(void)
{
	proc = "";
}

/* "": it could not be read. */
static char *proc_text(pid_t pid, const char *name, char text[static TEXT_MAX])
{
	cleanup_fd int fd = -1;
	ssize_t n;
	char path[64];

	snprintf(path, sizeof(path), "%s/%d/%s", proc, (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, TEXT_MAX - 1);
	text[MAX(n, (ssize_t)0)] = '\0';
	return text;
}

bool audit_proc_read(pid_t pid, int pidfd, struct audit_proc *ret_p)
{
	static char text[TEXT_MAX]; /* one thread */
	struct audit_proc p = { .login_uid = (uid_t)-1 };
	const char *cgroup;
	uint64_t login;

	if (pid <= 0 || pidfd < 0)
		return false;
	/* before the stat, which says whether it can be believed */
	cgroup = cgroup_parse(proc_text(pid, "cgroup", text), &p.id);
	snprintf(p.cgroup, sizeof(p.cgroup), "%s", cgroup ?: "");
	if (!audit_proc_parse_status(proc_text(pid, "status", text), &p) ||
	    !audit_proc_parse_stat(proc_text(pid, "stat", text), &p))
		return false;
	if (p.exiting && str_eq(p.cgroup, "/"))
		p.cgroup[0] = '\0';
	if (str_parse_u64(proc_text(pid, "loginuid", text), UINT32_MAX, &login) == 0)
		p.login_uid = (uid_t)login;
	if (syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0 && errno != EPERM)
		return false;
	*ret_p = p;
	return true;
}

json_t *audit_proc_json(pid_t pid, const struct audit_proc *p, uint64_t boot_usec)
{
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK), started = boot_usec + p->start_ticks * USEC_PER_SEC / hz;
	bool login = p->login_uid != (uid_t)-1;
	char time[STR_TIME_MAX];

	return json_pack("{s:I, s:I, s:s, s:o, s:I, s:I, s:I, s:o*, s:o*, s:o*, s:s*, s:s*}", "pid", (json_int_t)pid,
			 "startTicks", (json_int_t)p->start_ticks, "started", str_format_time(started, time), "comm",
			 json_text(p->comm), "uid", (json_int_t)p->uid, "euid", (json_int_t)p->euid, "gid",
			 (json_int_t)p->gid, "loginUID", login ? json_integer((json_int_t)p->login_uid) : NULL,
			 "cgroup", p->cgroup[0] ? json_text(p->cgroup) : NULL, "container",
			 p->id.container[0] ? json_text(p->id.container) : NULL, "runtime", p->id.runtime, "podUID",
			 p->id.pod[0] ? p->id.pod : NULL);
}

json_t *audit_proc_gone(pid_t pid)
{
	return json_pack("{s:I, s:b}", "pid", (json_int_t)pid, "gone", true);
}
