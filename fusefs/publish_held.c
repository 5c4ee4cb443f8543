/* Publish: folders that somebody holds. Whoever can open a folder can have it locked in the kernel for as long as he
 * likes: he lists it into memory that does not come, as that of a file on a server that he has stopped. A publisher
 * that is to change the folder then waits where no signal reaches it. The keeper puts it aside and starts another;
 * its job fails, and so does whatever else is to be done in that pod's folders, at once, until the one that was put
 * aside has ended, and the more often that happens the longer after that: each time costs all others the time until
 * it is noticed.
 *
 * One that was put aside has been killed. When its call goes on, the kernel may still send what it asked for: it is
 * nobody's then, and nothing of its job is staged any more. */
#include "common/backoff.h"
#include "common/log.h"
#include "fusefs/publish_internal.h"

/* When that one has ended. */
#define HUNG "the publisher hung in a folder of this pod; it is tried again in a while"

#define HELD_RESET_USEC (3600 * USEC_PER_SEC)

/* After its end, until the pod is tried again. */
static const struct backoff_policy HELD_AGAIN = { .first_usec = USEC_PER_SEC,
						  .max_usec = 600 * USEC_PER_SEC,
						  .reset_usec = HELD_RESET_USEC,
						  .factor = 3.0,
						  .jitter = 0.2 };

struct held {
	struct list link;
	char *pod; /* "": nobody knows */
	pid_t pid; /* 0: it has ended */
	bool moves;
	uint64_t until_usec; /* when it has ended: the pod is to be left alone */
	struct backoff backoff;
};

static void held_free(struct held *h)
{
	list_remove(&h->link);
	free(h->pod);
	free(h);
}

void held_free_all(struct publish *p)
{
	struct held *h;

	while ((h = list_first(&p->held, struct held, link)))
		held_free(h);
}

static bool held_is_of(const struct held *h, const char *pod, size_t len)
{
	return len > 0 && strlen(h->pod) == len && memcmp(h->pod, pod, len) == 0;
}

/* Of a pod that has had one, and is not forgotten: how often that was counts. */
static struct held *held_get(struct publish *p, const char *pod)
{
	uint64_t now = loop_now(p->loop);
	struct held *h, *found = NULL;

	list_for_each (h, &p->held, link) {
		if (h->pid == 0 && now > h->until_usec && now - h->until_usec > HELD_RESET_USEC)
			held_free(h);
		else if (h->pid == 0 && held_is_of(h, pod, strlen(pod)))
			found = h;
	}
	if (found)
		return found;
	found = calloc(1, sizeof *found);
	if (!found)
		return NULL;
	found->pod = strdup(pod);
	if (!found->pod) {
		free(found);
		return NULL;
	}
	found->backoff = BACKOFF_INIT(&HELD_AGAIN);
	list_init(&found->link);
	list_append(&p->held, &found->link);
	return found;
}

/* The kernel renames between folders for one at a time, in all of the file system. */
static bool step_moves(const struct step *s)
{
	const char *from = s->path, *to = s->path2;
	size_t len;

	if (s->op != ORDER_RENAME)
		return false;
	len = (size_t)(strrchr(from, '/') - from);
	return strncmp(from, to, len) != 0 || strrchr(to, '/') != to + len;
}

static bool moves(const struct plan *plan, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (step_moves(&plan->steps[i]))
			return true;
	return false;
}

const char *publish_hanging(const struct publish *p, bool *ret_moves)
{
	const struct job *j = p->sent_usec ? p->current : NULL;

	*ret_moves = j && moves(&j->plan, j->n_done, j->n_sent);
	return j ? j->path : NULL;
}

void publish_put_aside(struct publish *p, pid_t pid, const char *path, bool moves_files)
{
	cleanup_free char *pod = strndup(path, strcspn(path, "/"));
	struct held *h = pod ? held_get(p, pod) : NULL;

	if (h) {
		h->pid = pid;
		h->moves = moves_files;
	} else {
		log_error(NULL, "note a publisher that was put aside: out of memory");
	}
	if (publish_is_publisher(p, pid))
		publish_give_up(p);
}

static bool is_left_alone(const struct publish *p, const struct held *h)
{
	return h->pid > 0 || loop_now(p->loop) < h->until_usec;
}

static void held_arm(struct publish *p)
{
	uint64_t next = UINT64_MAX;
	const struct held *h;

	list_for_each (h, &p->held, link)
		if (h->pid == 0 && is_left_alone(p, h))
			next = MIN(next, h->until_usec);
	if (next != UINT64_MAX)
		loop_timer_set(p->held_timer, next - loop_now(p->loop));
}

void held_due(struct loop_source *s, void *userdata)
{
	struct publish *p = userdata;

	held_arm(p);
	if (p->freed)
		p->freed(p->freed_userdata);
}

void publish_on_freed(struct publish *p, void (*fn)(void *userdata), void *userdata)
{
	p->freed = fn;
	p->freed_userdata = userdata;
}

void publish_aside_ended(struct publish *p, pid_t pid)
{
	uint64_t now = loop_now(p->loop);
	bool was_moving = false;
	struct held *h;

	list_for_each (h, &p->held, link) {
		if (h->pid != pid)
			continue;
		h->pid = 0;
		h->until_usec = now + backoff_next(&h->backoff, now, random01());
		was_moving |= h->moves;
		if (!h->pod[0])
			held_free(h);
	}
	held_arm(p);
	if (was_moving)
		loop_timer_set(p->held_timer, 0); /* other pods' flat volumes */
}

size_t held_count(const struct publish *p)
{
	const struct held *h;
	size_t n = 0;

	list_for_each (h, &p->held, link)
		n += h->pid > 0;
	return n;
}

/* The end of a pod is one rmdir, and that and its name are made in folders that it does not see. */
static bool goes_where_no_pod_is(const struct job *j)
{
	return j->kind == JOB_REMOVE_POD || j->kind == JOB_NAME_POD;
}

int held_refuses(const struct publish *p, const struct job *j, struct err *e)
{
	size_t len = strcspn(j->path, "/");
	bool is_moving = moves(&j->plan, j->n_done, j->plan.n_steps);
	const struct held *h;

	list_for_each (h, &p->held, link) {
		if (held_is_of(h, j->path, len) && is_left_alone(p, h) && !goes_where_no_pod_is(j))
			return err_set(e, -ETIMEDOUT, "publish %s: %s", j->path, h->pid > 0 ? HELD : HUNG);
		if (h->pid > 0 && h->moves && is_moving)
			return err_set(e, -ENOLCK,
				       "publish %s: the publisher hangs in a flat volume%s%s; until it has ended no "
				       "file can be renamed into another",
				       j->path, h->pod[0] ? " of the pod with the uid " : "", h->pod);
	}
	return 0;
}
