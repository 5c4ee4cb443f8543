/* Publish: from payloads to the kubelet's order of calls, and the queue to the publisher. One order at a time; for each
 * volume only the newest payload counts. See tree.h for how a change becomes visible.
 *
 * A new volume: parent folders that are missing, then one mkdir of the volume folder that commits all of it.
 * An update: mkdir ..<timestamp>, chmod it, symlink ..data_tmp, rename over ..data, symlink new top-level names, unlink
 * gone ones, unlink the old version's files; its folders are removed PUBLISH_GRACE_USEC later, so that no path walk
 * that was overtaken fails. While updates of other volumes wait, the old files' unlinks and the reads are put off.
 *
 * A flat volume has files where the other has links. An update: mkdir <pod>/staging/<volume>/<timestamp>, with all that is new
 * in it; rename of each file over its key; unlink of those that are gone (plan_flat.c). Files are switched one by one, each at
 * once: a volume whose update fails or waits in the middle shows some old and some new ones, until the next one ends it. */
#pragma once

#include "common/err.h"
#include "common/loop.h"
#include "fusefs/payload.h"
#include "fusefs/tree.h"

#define PUBLISH_GRACE_USEC (200 * USEC_PER_MSEC)

struct publish;

/* Where a volume is: <pod_uid>/volumes/<plugin>/<name>, plugin being "kubernetes.io~secret" and the like. */
struct volume_path {
	const char *pod_uid, *plugin, *name;
};

enum { PUBLISH_UNCHANGED = 1 };

struct publish_result {
	const char *version; /* "..2026_11_22_02_52_48.1104889105", borrowed for the call */
	uint64_t realtime_usec; /* when ..data was switched, or the last file of a flat volume */
	uint64_t rested_usec; /* how long ago that was, where other volumes came before its rest; 0: just now */
	bool flat; /* what it is, whatever the payload asks for: a volume stays as it was made */
};
/* r: 0 published (and read once through the mount, so that it is warm), PUBLISH_UNCHANGED, -ESTALE: overtaken by a
 * newer payload or by the removal, -ECANCELED: publish_free() came first, -ETIMEDOUT, -ENOLCK: see
 * publish_put_aside(), otherwise why it failed. Before ..data is switched that leaves the volume as it was; after it,
 * and in a flat volume, what has changed stays, and the next payload makes it whole. res is NULL unless r >= 0, or
 * -ETIMEDOUT and the new content is what the volume shows, though not whole.
 * e->reason: SECMEM_FULL, or none. */
typedef void (*publish_fn)(void *userdata, int r, const struct publish_result *res, const struct err *e);

struct publish_stats {
	uint64_t n_published, n_unchanged, n_failed, n_removed;
	size_t n_queued;
	size_t n_retired; /* versions in their grace */
	size_t n_volumes; /* that can be read, those of an earlier process included */
	size_t n_aside; /* publishers that were put aside and have not ended */
	bool attached;
	uint64_t unanswered_usec; /* age of what the publisher was sent and has not answered, or asked; 0: nothing */
	uint64_t n_answers; /* of publishers */
};

/* Microseconds since the epoch come from clock_realtime(2) in here; the tests look at names and order only. */
int publish_new(struct loop *l, struct tree *t, struct publish **ret_p);
/* Ends what is under way with -ECANCELED; the callbacks must not call publish any more. */
void publish_free(struct publish *p);
DEFINE_CLEANUP(struct publish *, publish_free);

/* publish_resume() is still to come, when those who wait have been answered: until then nothing has been heard of any volume. */
void publish_will_resume(struct publish *p);
/* Finds the volumes that an earlier process has published (tree_open()), and orders what it has left undone. Once, before
 * anything else is asked for. *doubt (borrowed): session_note_doubt(); 0 again when that is settled. */
int publish_resume(struct publish *p, uint64_t *doubt);
/* Whether the volume can be read, and since when in which version (borrowed until the next call). *ret_whole: an update that
 * its process did not end has left nothing undone. */
bool publish_find(const struct publish *p, const struct volume_path *at, struct publish_result *ret_res,
		  bool *ret_whole);
/* Why the volume does not show the newest state of things ("": it does), for those who read it. Of a volume of an earlier
 * process it is that nothing has been heard of it, until this is called. */
void publish_set_error(struct publish *p, const struct volume_path *at, const char *error);
/* Of uid/volumes/plugin/name; borrowed until the next publish_set_error(). NULL: there is none. */
const char *publish_error(const struct publish *p, const char *path);
/* Of what the shown version is made; borrowed for the moment. NULL: nothing is shown, or nobody has said. */
const struct origins *publish_origins(const struct publish *p, const struct volume_path *at);
/* fn is told of each volume of an earlier process that has become whole. One at a time; NULL: nobody. */
typedef void (*publish_healed_fn)(void *userdata, const char *uid, const char *volume);
void publish_on_healed(struct publish *p, publish_healed_fn fn, void *userdata);
/* The pods that have a name link, and so volumes; fn may not change anything. */
void publish_names(const struct publish *p,
		   void (*fn)(void *userdata, const char *ns, const char *name, const char *uid), void *userdata);
/* fn is asked about each pod that is in the tree (plugin and volume NULL), and where it says true, about each of its volumes. It may
 * order something. */
typedef bool (*publish_visit_fn)(void *userdata, const char *uid, const char *plugin, const char *volume);
void publish_visit(const struct publish *p, publish_visit_fn fn, void *userdata);

/* A publisher process is there: its end of a SOCK_SEQPACKET pair (taken) and its pid. An order that was under way is
 * given again. The socket's end of file detaches it (and `lost` is called if not NULL). */
int publish_attach(struct publish *p, int take_fd, pid_t pid, void (*lost)(void *userdata), void *userdata);
bool publish_is_publisher(const struct publish *p, pid_t pid);
/* Where the publisher is that does not answer: a path that begins with the pod's uid (borrowed for the moment), or
 * NULL: nowhere, it has no job. *ret_moves: it may be renaming between folders, which the kernel then lets nobody
 * else do. */
const char *publish_hanging(const struct publish *p, bool *ret_moves);
/* This publisher, the present one or one before it, was killed and does not end, because somebody has a folder of
 * this pod locked in the kernel; another will be attached. Jobs in the pod's folders fail with -ETIMEDOUT, the
 * current one first, until it has ended and some time longer; while it is there and `moves`, updates of other pods'
 * flat volumes do with -ENOLCK. path: as above, "" if nobody knows. */
void publish_put_aside(struct publish *p, pid_t pid, const char *path, bool moves);
void publish_aside_ended(struct publish *p, pid_t pid);
/* fn is told when what has failed with -ETIMEDOUT or -ENOLCK can be tried again; NULL: nobody. */
void publish_on_freed(struct publish *p, void (*fn)(void *userdata), void *userdata);
/* /dev/fuse (borrowed), which orders that concern live files take along. */
void publish_set_fuse(struct publish *p, int fd);

/* fn is told when a call of the publisher was refused with EROFS: somebody has made the file system read-only. true: what is
 * under way waits for publish_repeat() or another publisher. Some times for each change; then, or without fn, it fails. */
typedef bool (*publish_read_only_fn)(void *userdata);
void publish_on_read_only(struct publish *p, publish_read_only_fn fn, void *userdata);
/* It is writable again, or will not be: what waits is begun once more. */
void publish_repeat(struct publish *p);

/* <pods>/by-name/<ns>/<name> -> ../../<uid>, made before the pod's first volume and kept until publish_remove_pod().
 * A link of that name to another uid is replaced. */
int publish_name_pod(struct publish *p, const char *uid, const char *ns, const char *name, publish_fn fn,
		     void *userdata);
/* Shows `payload` (sealed, taken in every case) as the volume's contents. fn is called exactly once, never from inside
 * this call; at the latest by publish_free(), so userdata can be the callback's to free. */
int publish_volume(struct publish *p, const struct volume_path *at, struct payload *take_payload, publish_fn fn,
		   void *userdata);
/* Takes the volume (all volumes and the name link of the pod) out of the tree. Nothing there is a success. What waits for the
 * volume (for the pod, a removal of one volume or a name, too) ends with -ESTALE. */
int publish_remove_volume(struct publish *p, const struct volume_path *at, publish_fn fn, void *userdata);
int publish_remove_pod(struct publish *p, const char *uid, publish_fn fn, void *userdata);
/* Asks the publisher for a sign of life, if it has nothing to do: one that does nothing is not noticed otherwise. Its answer is one
 * of publish_stats()'s. */
void publish_ask(struct publish *p);
struct publish_stats publish_stats(const struct publish *p);
