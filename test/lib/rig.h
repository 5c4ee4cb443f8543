/* Rig: a really mounted tree inside a test process. A private mount namespace with a tmpfs of its own, the loop with
 * tree, session and publish on a thread, and a forked publisher. What the test does to files it does as any process
 * would, through rig_dir(). Nothing is left behind, also when the test is killed: the namespace and the publisher end
 * with it. Setup failures abort the test program. */
#pragma once

#include "fusefs/publish.h"
#include "fusefs/session.h"
#include "fusefs/tree.h"

struct rig;

struct rig_options {
	bool no_publisher; /* rig_start_publisher() comes later */
};

struct rig *rig_new(const struct rig_options *options);
void rig_free(struct rig *rig);

/* The public mount, read-only, and a folder on tmpfs beside it. */
const char *rig_dir(const struct rig *rig);
const char *rig_scratch(const struct rig *rig);
/* A writable bind of the tree for this process, which is not the publisher: made on first use. */
const char *rig_writable(struct rig *rig);

/* Runs fn(rig, arg) on the loop's thread and waits for it. Only there may these be used. */
void rig_call(struct rig *rig, void (*fn)(struct rig *rig, void *arg), void *arg);
struct tree *rig_tree(struct rig *rig);
struct publish *rig_publisher(struct rig *rig);
struct session *rig_session(struct rig *rig);
struct loop *rig_loop(struct rig *rig);

struct rig_result {
	int r;
	char version[64];
	uint64_t realtime_usec;
	char error[ERR_TEXT_MAX];
};
/* publish_volume() on <pods>/uid/volumes/kubernetes.io~secret/volume: start and wait, or start only. One rig_result per
 * call that is under way; rig_wait() returns its r. */
struct rig_wait {
	bool done;
	struct rig_result result;
};
void rig_publish_start(struct rig *rig, const char *uid, const char *volume, struct payload *take_payload,
		       struct rig_wait *w);
int rig_wait(struct rig *rig, struct rig_wait *w, struct rig_result *ret_result);
int rig_publish(struct rig *rig, const char *uid, const char *volume, struct payload *take_payload,
		struct rig_result *ret_result);
int rig_remove_volume(struct rig *rig, const char *uid, const char *volume);
int rig_remove_pod(struct rig *rig, const char *uid);
/* <public>/uid/volumes/kubernetes.io~secret/volume[/rest]; valid until the fourth call after it. */
const char *rig_path(struct rig *rig, const char *uid, const char *volume, const char *rest);

/* Requests that the kernel has sent so far, FORGETs left out. */
uint64_t rig_requests(struct rig *rig);
/* The same by opcode, into an array of SESSION_OPCODES. */
void rig_request_counts(struct rig *rig, uint64_t counts[SESSION_OPCODES]);

/* Waits until fn says true on the loop's thread; false after ten seconds. */
bool rig_until(struct rig *rig, bool (*fn)(struct rig *rig, void *arg), void *arg);
/* Waits until nothing is queued and no version is in its grace any more. */
void rig_settle(struct rig *rig);

pid_t rig_publisher_pid(const struct rig *rig);
/* Attaches a fresh publisher; kills the one that is there and waits until publish has noticed. */
void rig_start_publisher(struct rig *rig);
void rig_kill_publisher(struct rig *rig);
/* Stops the publisher (SIGSTOP; nothing that it has asked for is under way then) as soon as fn says true of what the files
 * show. false: w's call, which must have a chance to end, was done before; the publisher runs. */
bool rig_stop_publisher_when(struct rig *rig, struct rig_wait *w, bool (*fn)(void *arg), void *arg);
/* It goes on. */
void rig_continue_publisher(struct rig *rig);

/* Tables of files leave out what is 0. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* One file of a payload. len 0: the text's length. */
struct rig_file {
	const char *path, *text;
	mode_t mode; /* 0: 0644; RIG_MODE_0: really 0 */
	size_t len;
};
#define RIG_MODE_0 01000000
/* A sealed payload of files up to the first without a path. fs_group -1: none; mount_dirs ends with NULL or is NULL.
 * Aborts if it cannot be made. It belongs to the loop's thread: hand it to rig_publish(). */
struct payload *rig_payload(struct rig *rig, const struct rig_file *files, int64_t fs_group,
			    const char *const *mount_dirs);
/* The same for a volume with live files. */
struct payload *rig_payload_live(struct rig *rig, const struct rig_file *files, int64_t fs_group);
/* From now on payloads ask for a flat layout, or not. */
void rig_set_flat(struct rig *rig, bool flat);
/* What adding and sealing say; the payload itself is thrown away. */
int rig_payload_check(struct rig *rig, const struct rig_file *files, struct err *e);
