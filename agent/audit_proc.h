/* Audit proc: what /proc says of the process that opened a file. */
#pragma once

#include "agent/cgroup.h"
#include "common/base.h"
#include "common/json.h"

struct audit_proc {
	char comm[64]; /* the kernel's own threads have longer ones */
	uint64_t start_ticks; /* since the boot, as in /proc/PID/stat */
	bool exiting;
	uid_t uid, euid;
	gid_t gid;
	uid_t login_uid; /* -1: not set, or the kernel does not know */
	char cgroup[4096]; /* "": not known */
	struct cgroup_id id;
};

/* The fields of /proc/PID/stat and /proc/PID/status. false: this is not such a text. */
bool audit_proc_parse_stat(const char *text, struct audit_proc *p);
bool audit_proc_parse_status(const char *text, struct audit_proc *p);
/* From now on /proc is this process's root folder. */
void audit_proc_is_root(void);
/* Of the process that pidfd is of. false: it has gone, or is about to. */
bool audit_proc_read(pid_t pid, int pidfd, struct audit_proc *ret_p);
/* As it stands in a record. NULL: out of memory. boot_usec: CLOCK_REALTIME of the boot. */
json_t *audit_proc_json(pid_t pid, const struct audit_proc *p, uint64_t boot_usec);
/* The same of one that has gone. */
json_t *audit_proc_gone(pid_t pid);
