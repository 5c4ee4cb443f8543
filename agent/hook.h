/* Hook: what an OCI runtime tells its hooks, and what is made of it: the container's state and configuration, the
 * annotations that name a pod, the mounts that are added. No files and no daemon here. Whoever may start containers
 * writes the annotations, and whoever made the image owns the root filesystem: neither is trusted. */
#pragma once

#include "common/err.h"
#include "common/json.h"

#define HOOK_STATE_MAX	   ((size_t)1 << 20)
#define HOOK_CONFIG_MAX	   ((size_t)16 << 20)
#define HOOK_WAIT_MAX_USEC (600 * USEC_PER_SEC)

#define HOOK_POD       "secretlet.dev/pod"
#define HOOK_POD_SELF  "self" /* its value: the pod that the CRI says this is */
#define HOOK_POD_MAX   512
#define HOOK_CONTAINER "secretlet.dev/container"
#define HOOK_TIMEOUT   "secretlet.dev/timeout"

/* What the annotations ask for; what is pointed to is borrowed from them. */
struct hook_request {
	char pod[HOOK_POD_MAX + 1]; /* NAMESPACE/POD or a UID */
	const char *container;
	const char *ns, *name, *uid; /* of the pod, as the CRI has it; ns NULL: no CRI, uid NULL: it does not say */
	uint64_t timeout_usec; /* 0: they do not say */
};
/* Of the member `annotations` of a state or a configuration. HOOK_NOT_ASKED: none of them is for us, or it is a pod's
 * sandbox. -EINVAL: half of a request, a name below secretlet.dev/ that there is not, or a CRI that does not say whose
 * container it is. -EACCES: not the pod that the CRI says this is. */
enum { HOOK_NOT_ASKED = 1 };
int hook_request_read(const json_t *doc, struct hook_request *ret, struct err *e);
/* What the daemon is to be asked for: by UID where it is known, since another pod may have the name by now. */
const char *hook_request_ref(const struct hook_request *req);
/* -EACCES: the pod that the daemon has found is not the one that the CRI names. */
int hook_request_check(const struct hook_request *req, const json_t *pod, struct err *e);

/* A container that is being created; borrowed from the document. */
struct hook_state {
	const char *id, *bundle; /* bundle: absolute */
	pid_t pid;
};
int hook_state_read(const json_t *state, struct hook_state *ret, struct err *e);

/* A config.json. Integers that are too large for jansson, as RLIM_INFINITY, have another value in what is returned. */
int hook_config_parse(const char *text, size_t len, json_t **ret_config, struct err *e);
/* Absolute. */
int hook_config_rootfs(const json_t *config, const char *bundle, char **ret_path, struct err *e);

/* Borrowed from the daemon's answer. */
struct hook_mount {
	const char *destination, *source;
};
/* The daemon's word is checked like anybody else's. What is nested comes behind what it is in. *ret: the caller's to
 * free. */
int hook_mounts_read(const json_t *answer, struct hook_mount **ret, size_t *ret_n, struct err *e);
/* -EINVAL: something that the configuration mounts would be hidden by one of these; e names both. */
int hook_mounts_check(const json_t *config, const struct hook_mount *mounts, size_t n, struct err *e);
/* The same of one mount whose place in the image is known: `place` is where its destination leads to there, and those of
 * `others`, an array of mounts, are such places, too. Also refused is what leads to the root folder, into /proc or /sys, or
 * into a mount that is shared with the host. HOOK_COVERED: something is mounted over the place, so what the image has there
 * does not count. */
enum { HOOK_COVERED = 1 };
int hook_place_check(const json_t *others, const char *place, const char *destination, struct err *e);
/* The text with the mounts behind those that it has, and not another byte changed. `config` is what
 * hook_config_parse() made of it. */
int hook_config_add(const char *text, size_t len, const json_t *config, const struct hook_mount *mounts, size_t n,
		    char **ret_text, size_t *ret_len, struct err *e);

/* One line of mountinfo (proc_pid_mountinfo(5)). */
struct hook_mountinfo {
	bool shared; /* what is mounted in it is seen elsewhere, too */
	char fstype[64];
};
/* -ENOENT: no mount has this id. */
int hook_mountinfo_find(const char *text, uint64_t id, struct hook_mountinfo *ret);
/* A mount point beneath the folder `path`, from there on, with mountinfo's escapes; NULL: there is none. Ends at the next
 * white space. */
const char *hook_mountinfo_beneath(const char *text, const char *path);
