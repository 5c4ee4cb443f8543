/* What the parts of publish share: publish.c (the jobs), publish_queue.c (which of them is next), publish_volumes.c (what is known
 * of what is shown), publish_order.c (what the publisher is sent), publish_held.c (where one hangs) and publish_resume.c (what an
 * earlier process has left). For nobody else. */
#pragma once

#include "common/list.h"
#include "common/map.h"
#include "fusefs/plan.h"
#include "fusefs/publish.h"

/* The error of a volume of an earlier process, until somebody vouches for it. */
#define UNHEARD "secretlet has started anew and has not heard of it yet"
/* The error of whatever concerns a pod in whose folders a publisher hangs. */
#define HELD "the publisher hangs in a folder of this pod, which one of its processes keeps locked"

struct volume {
	char *path; /* the map's key: uid/volumes/plugin/name */
	struct digest digest; /* of what is published */
	uint64_t doubted; /* a folder of it, of whose names the kernel's list may be old; 0: none */
	bool good; /* false: nothing is, or nobody knows how far the last update came */
	char *error; /* publish_set_error(); NULL: all is well */
	uint64_t realtime_usec; /* since when it shows that; 0: it has shown nothing */
	size_t bytes; /* locked memory that the published version holds on to */
	struct list retired; /* oldest first */
	size_t n_retired, retired_bytes;
	bool rests; /* an update of it is among those whose rest is put off */
};

/* A version in its grace. */
struct retired {
	struct list link, in_volume; /* all of them, and those of the volume; oldest first */
	struct volume *volume;
	uint64_t due_usec;
	size_t bytes;
	char version[PLAN_VERSION_MAX];
};

enum job_kind { JOB_VOLUME, JOB_REMOVE_VOLUME, JOB_REMOVE_POD, JOB_NAME_POD, JOB_EXPIRE, JOB_HEAL, JOB_SWEEP };

/* A pod for which there are jobs, those that are not told yet included. */
struct pod_jobs {
	struct map *pods; /* publish's */
	char *uid;
	size_t n_jobs;
	struct list waiting; /* of them, those that have not begun */
	size_t n_later; /* of these, those that are among publish->later */
	struct payload_size fresh; /* of these, what the new volumes that are not large are together */
};

struct job {
	struct list link;
	enum job_kind kind;
	struct pod_jobs *pod;
	struct list in_pod; /* while it waits */
	const char *uid; /* the pod's */
	char *plugin, *name, *ns; /* which of them are set depends on the kind */
	char *path; /* of the volume, or the pod's folder */
	struct payload *payload;
	struct retired *old; /* for the version that an update replaces: what is switched must not lack memory */
	publish_fn fn;
	void *userdata;

	struct plan plan;
	size_t n_done, n_sent; /* steps that are answered for, steps that are on their way */
	uint64_t touch; /* JOB_HEAL: a folder of whose names the kernel's list may be old; 0: none */
	unsigned n_read_only; /* times that it waited for the file system to be made writable */
	bool waits; /* for that */
	bool fresh; /* JOB_VOLUME: of a new one */
	bool large; /* the same, with many files when it came, alone or with its pod's small new ones that waited */
	bool later; /* it is among publish->later */
	bool mends; /* JOB_VOLUME: the new content is there, and some names that were in the way of others have gone */
	bool shown; /* JOB_VOLUME, held: where a reader finds what is new */
	bool cleaning; /* the job has failed, its steps take back what they can */
	uint64_t order_id, realtime_usec;
	uint64_t rests_since_usec; /* CLOCK_MONOTONIC, when it was put off first; 0: it was never */
	bool flat; /* JOB_VOLUME, done: what the volume is */

	int r;
	struct err err;
};

struct publish {
	struct loop *loop;
	struct tree *tree;
	struct map volumes;
	struct map pods; /* of all jobs: struct pod_jobs, by uid */
	struct list queue, done, retired;
	struct list later; /* what waits until the queue is empty; the first one is large */
	size_t n_overtaken; /* jobs that came before it since one of it was put into the queue, or it was empty */
	struct map waiting; /* what of these two is a payload, by the volume's path: at most one for each */
	struct list
		rests; /* jobs whose new content is visible, and that go on when nobody waits for content any more */
	size_t n_rests;
	size_t n_before_rests; /* updates that came before them, less what was taken up of them */
	struct list held; /* pods in whose folders a publisher hangs, or did */
	struct loop_source *held_timer;
	void (*freed)(void *userdata);
	void *freed_userdata;
	struct job *current;
	struct loop_source *turn, *timer, *io;
	int fd, fuse;
	pid_t pid;
	void (*lost)(void *userdata);
	void *lost_userdata;
	uint64_t *doubt; /* the arena's */
	bool unheard; /* the volumes of an earlier process are still to be found */
	publish_read_only_fn read_only;
	void *read_only_userdata;
	publish_healed_fn healed;
	void *healed_userdata;
	bool is_telling, is_freed; /* while results are told, publish_free() leaves the memory to who tells them */
	uint64_t n_answers;
	uint64_t last_order_id, sent_usec; /* sent: when the order went out that has no answer yet; 0: none */
	uint64_t asked_id, asked_usec; /* the same of an order without steps, which is nobody's */
	struct publish_stats stats;
};

/* ---- publish_volumes.c ---- */

/* NULL: no memory. */
char *volume_path_text(const struct volume_path *at);
/* The volume of this path, which is made if there is none. -ENOMEM. */
int volume_get(struct publish *p, const char *path, struct volume **ret_v);
/* 0: nobody has noted it. */
uint64_t version_updated(const struct node *version);
/* Makes room for one more version in its grace. Those that are taken out here are in nobody's grace any more, so that
 * the next plan removes them. */
void volume_trim(struct volume *v);
/* A plan's; userdata is the volume. */
bool volume_in_grace(void *userdata, const char *version);
/* Says of the shown version what its files are made of. Without memory for it the next look does it. */
void volume_label(struct publish *p, const struct plan_shown *s, const struct payload *pl, uint64_t updated_usec);
/* A job (JOB_VOLUME) ends behind its switch, held: `shown`, where a reader finds all that is new, and nothing else. */
void volume_shown(struct job *j);
/* What becomes of the volume when all steps of its job are done: JOB_VOLUME, JOB_HEAL. */
void volume_published(struct publish *p, struct job *j);
void volume_healed(struct publish *p, struct job *j);
/* It is not there any more; those of a pod are not. */
void volume_drop(struct publish *p, const char *path);
void volumes_drop_pod(struct publish *p, const char *uid);
/* How far a removal of top (a volume's path, or a pod's), or whatever hung there, came, nobody knows. */
void volumes_doubt(struct publish *p, const char *top);
/* The job was to end a version, and cannot yet: its grace begins anew. */
void version_stays(struct publish *p, const struct job *j);
void volumes_free(struct publish *p);
/* publish->timer's: versions whose grace is over are ordered to be removed. */
void retired_due(struct loop_source *s, void *userdata);

/* ---- publish.c ---- */

int job_new(struct publish *p, enum job_kind kind, const char *uid, struct job **ret_j);
void job_free(struct job *j);
DEFINE_CLEANUP(struct job *, job_free);
#define cleanup_job cleanup(job_freep)
/* A copy; s may be NULL. -ENOMEM. */
int string_set(char **field, const char *s);
/* touch: a folder of whose names the kernel's list may be old; 0: none. */
int heal_enqueue(struct publish *p, const char *uid, const char *path, uint64_t touch);
/* When its new content is visible: somebody else waits for his. The next update of its own volume has to wait for its rest. */
bool job_may_rest(const struct publish *p, const struct job *j);
/* The publisher will not answer any more: it is detached, and the current job fails, without taking back what it has
 * made, which would have to be done where the publisher hangs. */
void publish_give_up(struct publish *p);

/* ---- publish_queue.c ---- */

/* For one more job; pod_jobs_put() when there is one less. NULL is fine. -ENOMEM. */
int pod_jobs_get(struct publish *p, const char *uid, struct pod_jobs **ret_pod);
void pod_jobs_put(struct pod_jobs *pod);
void job_enqueue(struct publish *p, struct job *j);
/* j, which was not put into the queue, is of the volume of a payload that waits. true: they have been exchanged, and
 * what is to be told of the older one is j's now. false: the place is not for what is newer: a small new volume has
 * become a large one, or a large one is among the later ones, and somebody reads the volume by now. */
bool job_renew(struct job *waits, struct job *j);
/* NULL: there is none. */
struct job *job_next(const struct publish *p);
void job_leave_queue(struct publish *p, struct job *j);

/* ---- publish_held.c ---- */

/* A publisher would hang if it were sent this job, which has its plan or not yet: -ETIMEDOUT: in a folder of its pod; -ENOLCK: in a
 * rename between folders. */
int held_refuses(const struct publish *p, const struct job *j, struct err *e);
/* Publishers that were put aside and have not ended. */
size_t held_count(const struct publish *p);
void held_free_all(struct publish *p);
/* publish->held_timer's: some pods can be tried again. */
void held_due(struct loop_source *s, void *userdata);

/* ---- publish_order.c ---- */

/* Sends as many of the next steps as fit into one message, and may be in one. A repeated order leaves out what the tree
 * shows. -ENOMEM, -ENOBUFS (a step that is too long for any message): nothing was sent and nothing can be; otherwise the publisher
 * is gone. */
int job_send(struct publish *p, struct job *j);
/* What a step does, as a verb. */
const char *order_op_name(enum order_op op);
