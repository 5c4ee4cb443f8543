/* Publish queue: which job is next. First come, first served; but a new volume of many files, which nobody reads
 * before it is whole, and of which the publisher makes and reads some hundred files in a message, waits until nobody
 * else does: it is among the later ones. Otherwise a pod with some of them would keep everybody's updates waiting for
 * as many seconds; and so would one that has as many files in more volumes. What concerns one pod stays in its order:
 * behind a large one of it that is among the later ones all else of it is, too. Somebody may always wait: so after a
 * number of others the first of the later ones is put behind those that are in the queue by then, and overtaken by
 * nobody any more. A newer payload has the place of the one that waits for its volume: those that come faster than
 * their turn would have none. */
#include "fusefs/publish_internal.h"

#define OVERTAKEN_MAX 1000

int pod_jobs_get(struct publish *p, const char *uid, struct pod_jobs **ret_pod)
{
	struct pod_jobs *pod = map_get_str(&p->pods, uid);
	int r;

	if (!pod) {
		pod = calloc(1, sizeof *pod);
		if (!pod)
			return -ENOMEM;
		list_init(&pod->waiting);
		pod->pods = &p->pods;
		pod->uid = strdup(uid);
		r = pod->uid ? map_add_str(&p->pods, pod->uid, pod) : -ENOMEM;
		if (r < 0) {
			free(pod->uid);
			free(pod);
			return r;
		}
	}
	pod->n_jobs++;
	*ret_pod = pod;
	return 0;
}

void pod_jobs_put(struct pod_jobs *pod)
{
	if (!pod || --pod->n_jobs > 0)
		return;
	map_remove_str(pod->pods, pod->uid);
	free(pod->uid);
	free(pod);
}

/* Nothing of its pod is before it but what has come before it. */
static void later_to_queue(struct publish *p, struct job *j)
{
	list_remove(&j->link);
	list_append(&p->queue, &j->link);
	j->later = false;
	j->pod->n_later--;
}

/* What has waited behind a large one of its pod waits for the next one of it, if there is one, and for no other
 * pod's. */
static void pod_goes_on(struct publish *p, struct pod_jobs *pod)
{
	struct job *j;

	if (pod->n_later == 0)
		return;
	list_for_each (j, &pod->waiting, in_pod) {
		if (j->later && j->large)
			return;
		if (j->later)
			later_to_queue(p, j);
	}
}

static void later_have_a_turn(struct publish *p)
{
	struct job *j = list_first(&p->later, struct job, link);

	p->n_overtaken = 0;
	later_to_queue(p, j);
	pod_goes_on(p, j->pod);
}

/* Alone, or together with the small ones of its pod that wait: its large ones are in no small one's way. */
static bool fresh_is_large(const struct pod_jobs *pod, const struct job *j)
{
	struct payload_size s = payload_size(j->payload);

	s.n_nodes += pod->fresh.n_nodes;
	s.n_bytes += pod->fresh.n_bytes;
	return payload_size_is_large(s);
}

static void fresh_add(struct pod_jobs *pod, const struct job *j)
{
	struct payload_size s;

	if (!j->fresh || j->large)
		return;
	s = payload_size(j->payload);
	pod->fresh.n_nodes += s.n_nodes;
	pod->fresh.n_bytes += s.n_bytes;
}

static void fresh_take(struct pod_jobs *pod, const struct job *j)
{
	struct payload_size s;

	if (!j->fresh || j->large)
		return;
	s = payload_size(j->payload);
	pod->fresh.n_nodes -= s.n_nodes;
	pod->fresh.n_bytes -= s.n_bytes;
}

void job_enqueue(struct publish *p, struct job *j)
{
	j->large = j->fresh && fresh_is_large(j->pod, j);
	fresh_add(j->pod, j);
	j->later = j->large || j->pod->n_later > 0;
	if (j->later && list_empty(&p->later))
		p->n_overtaken = 0;
	j->pod->n_later += j->later;
	list_append(j->later ? &p->later : &p->queue, &j->link);
	list_append(&j->pod->waiting, &j->in_pod);
	p->stats.n_queued++;
	if (!j->later && !list_empty(&p->later) && ++p->n_overtaken >= OVERTAKEN_MAX)
		later_have_a_turn(p);
	loop_defer_set(p->turn);
}

static void job_swap_payloads(struct job *a, struct job *b)
{
	struct payload *payload = a->payload;
	void *userdata = a->userdata;
	publish_fn fn = a->fn;

	a->payload = b->payload;
	a->fn = b->fn;
	a->userdata = b->userdata;
	b->payload = payload;
	b->fn = fn;
	b->userdata = userdata;
}

bool job_renew(struct job *waits, struct job *j)
{
	struct pod_jobs *pod = j->pod;

	fresh_take(pod, waits);
	if (j->fresh ? !waits->large && fresh_is_large(pod, j) : waits->large && waits->later) {
		fresh_add(pod, waits);
		return false;
	}
	waits->fresh = j->fresh;
	j->fresh = false;
	job_swap_payloads(waits, j);
	fresh_add(pod, waits);
	return true;
}

struct job *job_next(const struct publish *p)
{
	return list_first(&p->queue, struct job, link) ?: list_first(&p->later, struct job, link);
}

void job_leave_queue(struct publish *p, struct job *j)
{
	list_remove(&j->link);
	list_remove(&j->in_pod);
	fresh_take(j->pod, j);
	if (j->later) {
		j->later = false;
		j->pod->n_later--;
		pod_goes_on(p, j->pod);
	}
	if (j->kind == JOB_VOLUME)
		map_remove_str(&p->waiting, j->path);
}
