/* Signal finder: the main process of each container that shows a volume of a pod, from /proc, and a signal to it.
 *
 * That a container shows the volume is said by no name that anybody could choose, but by the mounts that its process sees: one of
 * our file system (its device number) whose root is that volume's folder. Which of its processes is the main one is said by
 * the cgroup: the oldest in it. */
#pragma once

#include "agent/cgroup.h"
#include "common/base.h"

#define SIGNAL_CGROUP_MAX 512

struct signal_finder {
	int proc; /* /proc; borrowed */
	uint32_t major, minor; /* of our file system */
	uint64_t own_root; /* signal_finder_root() of ourselves: who has the same is no container; 0: not known */
	pid_t keeper; /* it and its children are never looked at; 0: there is none */
};

/* What is looked for: a volume of a pod. */
struct signal_wanted {
	const char *uid, *volume;
	void *userdata;
};

struct signal_target {
	pid_t pid;
	uint64_t start_ticks; /* with pid: which process it is */
	char comm[64];
	char cgroup[SIGNAL_CGROUP_MAX]; /* the container's, or the unit's; cut if it is longer */
	struct cgroup_id id;
};

/* The mount that is the root folder of a process: "self" or a pid as text. 0: not known. */
uint64_t signal_finder_root(int proc, const char *pid);
/* Calls fn for each of `wanted` and each main process that shows it. -ENOMEM, or why /proc cannot be read. */
typedef void (*signal_found_fn)(void *userdata, const struct signal_wanted *w, const struct signal_target *t);
int signal_find(const struct signal_finder *f, const struct signal_wanted *wanted, size_t n, signal_found_fn fn,
		void *userdata);
/* The mount's root (as in /proc/PID/mountinfo, not escaped) shows what is in the volume now, whatever that is. For tests. */
bool signal_root_shows(const char *root, const char *uid, const char *volume);

/* Conditions of signal_send(). */
enum {
	SIGNAL_NOT_CAUGHT = 1, /* the program does not wait for it: it would be ended, or take no notice; not sent */
	SIGNAL_NOT_BEGUN, /* the runtime is still at it, the program is yet to begin; not sent */
};
/* Looks once more whether the target is what it was and shows w, and sends. -ESRCH: it has ended, or is something else now.
 * -EACCES: never to this one. -EINVAL: never this signal. */
int signal_send(const struct signal_finder *f, const struct signal_wanted *w, const struct signal_target *t, int signo);
