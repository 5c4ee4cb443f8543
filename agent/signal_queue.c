/* Signal queue. An order names a version. It is signalled when it is another one than that which was known before: so an agent
 * that begins anew tells all that there is, and what changed while nobody was there to tell is found. What is not known, and the
 * agent has not seen change, is only remembered: the first publication is no change. "Done" is answered when everybody was
 * signalled, and if this process dies before that, the agent tells the next one: a container may get a signal twice then, and
 * none is lost.
 *
 * All that is due is done in one walk over /proc, and walks keep their distance: however much is ordered, most of the time is
 * left to others. */
#include "agent/signal_queue.h"

#include <sys/socket.h>

#include "agent/container_signal.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/map.h"
#include "common/str.h"

#define TURN_MAX	64 /* orders in one turn of the loop */
#define WALK_PAUSE_USEC (100 * USEC_PER_MSEC) /* between two walks, at least */
#define WALK_SHARE	10 /* and so many times as long as one takes */
#define SEND_BUFFER	(512 << 10)

/* A volume. */
struct entry {
	struct list link; /* in idle, the one heard of last at the end, or waiting */
	char key[SIGNAL_UID_MAX + SIGNAL_VOLUME_MAX];
	char uid[SIGNAL_UID_MAX], volume[SIGNAL_VOLUME_MAX], version[SIGNAL_VERSION_MAX], pod[SIGNAL_POD_MAX];
	int signo;
	bool waits;
	uint64_t since_usec; /* whoever was signalled later knows of it */
	uint64_t due_usec, again_usec; /* again: 0: done, after a walk */
	unsigned n_tries;
	bool shown; /* by some container, in this walk */
};

/* Who was signalled, and when with what. */
struct process {
	uint64_t pid, start_ticks; /* of one size: it is compared byte by byte */
};
struct sent {
	struct process process; /* the key */
	uint64_t when_usec[CONTAINER_SIGNALS]; /* 0: not yet */
	uint64_t last_usec; /* the last of them */
};

struct signal_queue {
	struct loop *loop;
	const struct signal_finder *finder;
	signal_queue_lost_fn lost;
	void *userdata;
	int socket; /* -1: there is no agent */
	struct loop_source *source, *timer;
	struct map by_key, sent;
	struct list idle, waiting;
	uint64_t due_usec; /* what the timer is set to; USEC_INFINITY: nothing waits */
	uint64_t free_usec; /* no walk before that */
	bool finishes;
	struct signal_counts counts;
	struct log_limit refusals;
};

/* ---- the agent ---- */

static void let_go(struct signal_queue *q)
{
	if (q->socket < 0)
		return;
	loop_source_free(TAKE_PTR(q->source));
	q->socket = close_fd(q->socket);
	q->lost(q->userdata);
}

/* Not waited for: the next agent, or this one when it is connected anew, asks again by telling. What one that has gone had said
 * is read to its end. */
static void report(struct signal_queue *q, const struct entry *e, struct signal_report *r)
{
	if (q->socket < 0)
		return;
	r->signo = e->signo;
	r->counts = q->counts;
	memcpy(r->uid, e->uid, sizeof(r->uid));
	memcpy(r->volume, e->volume, sizeof(r->volume));
	memcpy(r->version, e->version, sizeof(r->version));
	if (send(q->socket, r, sizeof(*r), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
		let_go(q);
}

static void report_done(struct signal_queue *q, const struct entry *e)
{
	report(q, e, &(struct signal_report){ .done = true });
}

/* ---- what is told ---- */

static bool is_name(const char *s, size_t size)
{
	return memchr(s, '\0', size) && *s && !strchr(s, '/') && !str_eq(s, ".") && !str_eq(s, "..");
}

static bool is_order(const struct signal_order *o)
{
	return (o->kind == SIGNAL_ORDER_TELL || o->kind == SIGNAL_ORDER_FORGET) && is_name(o->uid, sizeof(o->uid)) &&
	       is_name(o->volume, sizeof(o->volume)) && memchr(o->version, '\0', sizeof(o->version)) &&
	       memchr(o->pod, '\0', sizeof(o->pod)) &&
	       (o->kind == SIGNAL_ORDER_FORGET || container_signal_name(o->signo));
}

static void entry_free(struct signal_queue *q, struct entry *e)
{
	list_remove(&e->link);
	map_remove_str(&q->by_key, e->key);
	free(e);
}

static void key_of(const struct signal_order *o, char key[static SIGNAL_UID_MAX + SIGNAL_VOLUME_MAX])
{
	snprintf(key, SIGNAL_UID_MAX + SIGNAL_VOLUME_MAX, "%s/%s", o->uid, o->volume);
}

/* NULL: no memory, or so many wait that there is no room. */
static struct entry *entry_new(struct signal_queue *q, const struct signal_order *o)
{
	struct entry *e;

	if (map_count(&q->by_key) >= SIGNAL_QUEUE_MAX) {
		e = list_first(&q->idle, struct entry, link);
		if (!e)
			return NULL;
		entry_free(q, e);
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	key_of(o, e->key);
	memcpy(e->uid, o->uid, sizeof(e->uid));
	memcpy(e->volume, o->volume, sizeof(e->volume));
	list_init(&e->link);
	if (map_add_str(&q->by_key, e->key, e) < 0) {
		free(e);
		return NULL;
	}
	return e;
}

static void wake_at(struct signal_queue *q, uint64_t due_usec)
{
	uint64_t now = clock_monotonic_usec();

	if (due_usec >= q->due_usec)
		return;
	q->due_usec = due_usec;
	due_usec = MAX(due_usec, q->free_usec);
	loop_timer_set(q->timer, due_usec > now ? due_usec - now : 0);
}

static void refuse(struct signal_queue *q, const char *why)
{
	q->counts.n_refused++;
	if (log_limit_ok(&q->refusals, clock_monotonic_usec()))
		log_warning(NULL, "an order of the agent is refused: %s", why);
}

static void begin(struct signal_queue *q, struct entry *e)
{
	uint64_t now = clock_monotonic_usec();

	q->counts.n_changes++;
	e->since_usec = now;
	e->n_tries = 0;
	if (!e->waits)
		e->due_usec = now + SIGNAL_SETTLE_USEC;
	e->waits = true;
	list_remove(&e->link);
	list_append(&q->waiting, &e->link);
	wake_at(q, e->due_usec);
}

static void take_order(struct signal_queue *q, const struct signal_order *o)
{
	char key[SIGNAL_UID_MAX + SIGNAL_VOLUME_MAX];
	struct entry *e;
	bool changed;

	key_of(o, key);
	e = map_get_str(&q->by_key, key);
	if (o->kind == SIGNAL_ORDER_FORGET) {
		if (e)
			entry_free(q, e);
		return;
	}
	changed = e ? !str_eq(e->version, o->version) : o->changed;
	if (!e)
		e = entry_new(q, o);
	if (!e) {
		refuse(q, "too many volumes");
		return;
	}
	memcpy(e->version, o->version, sizeof(e->version));
	memcpy(e->pod, o->pod, sizeof(e->pod));
	e->signo = o->signo;
	if (changed) {
		begin(q, e);
	} else if (!e->waits) {
		list_remove(&e->link);
		list_append(&q->idle, &e->link);
		report_done(q, e);
	}
}

/* 0: there may be more. */
static int receive(struct signal_queue *q)
{
	struct signal_order o;
	ssize_t n = recv(q->socket, &o, sizeof(o), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	if (n != sizeof(o) || !is_order(&o))
		refuse(q, "it is none");
	else
		take_order(q, &o);
	return 0;
}

static void on_agent(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct signal_queue *q = userdata;
	int r = 0;

	for (int i = 0; i < TURN_MAX && r == 0 && q->socket >= 0; i++)
		r = receive(q);
	if (r < 0 && r != -EAGAIN)
		let_go(q);
}

/* ---- what is sent ---- */

static struct sent *sent_get(struct signal_queue *q, const struct signal_target *t)
{
	const struct process p = { .pid = (uint64_t)t->pid, .start_ticks = t->start_ticks };
	struct sent *s = map_get(&q->sent, &p, sizeof(p));

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->process = p;
	if (map_add(&q->sent, &s->process, sizeof(s->process), s) < 0) {
		free(s);
		return NULL;
	}
	return s;
}

/* Of what was before all that waits nothing follows any more, but for the distance between two. However long it has waited: walks
 * may be far from each other. */
static void sent_clean(struct signal_queue *q, uint64_t now)
{
	uint64_t since = USEC_INFINITY;
	const struct entry *e;
	struct sent *s;

	list_for_each (e, &q->waiting, link)
		since = MIN(since, e->since_usec);

	for (size_t it = 0; (s = map_next(&q->sent, &it));) {
		if (s->last_usec >= since || now - s->last_usec < SIGNAL_INTERVAL_USEC)
			continue;
		map_remove(&q->sent, &s->process, sizeof(s->process));
		free(s);
	}
}

static void again_at(struct entry *e, uint64_t when_usec)
{
	e->again_usec = e->again_usec ? MIN(e->again_usec, when_usec) : when_usec;
}

static void say(struct signal_queue *q, const struct entry *e, const struct signal_target *t, int r)
{
	const char *signal = container_signal_name(e->signo), *container = t->id.container[0] ? t->id.container : NULL;
	const struct log_field fields[] = { { "pod", e->pod },	     { "uid", e->uid },
					    { "volume", e->volume }, { "container", container },
					    { "cgroup", t->cgroup }, { NULL, NULL } };
	struct signal_report rep = { .pid = t->pid };

	snprintf(rep.container, sizeof(rep.container), "%.*s", (int)sizeof(rep.container) - 1, container ?: t->cgroup);
	if (r == 0) {
		q->counts.n_sent++;
		rep.outcome = SIGNAL_OUTCOME_SENT;
		log_info(fields, "sent %s to process %d (%s): the volume has changed", signal, (int)t->pid, t->comm);
	} else if (r > 0) {
		q->counts.n_not_caught++;
		rep.outcome = SIGNAL_OUTCOME_NOT_CAUGHT;
		log_warning(fields, "%s is not sent to process %d (%s), which does not catch it", signal, (int)t->pid,
			    t->comm);
	} else {
		q->counts.n_failed++;
		rep.outcome = SIGNAL_OUTCOME_FAILED;
		rep.error = -r;
		log_warning(fields, "%s cannot be sent to process %d (%s): %s", signal, (int)t->pid, t->comm,
			    strerror(-r));
	}
	report(q, e, &rep);
}

static void on_found(void *userdata, const struct signal_wanted *w, const struct signal_target *t)
{
	struct signal_queue *q = userdata;
	struct entry *e = w->userdata;
	struct sent *s = sent_get(q, t);
	size_t signal = container_signal_index(e->signo);
	uint64_t now = clock_monotonic_usec();
	int r;

	e->shown = true;
	if (!s) {
		again_at(e, now + SIGNAL_INTERVAL_USEC);
		return;
	}
	if (s->when_usec[signal] >= e->since_usec)
		return; /* for another volume, or in an earlier walk */
	if (s->last_usec && now - s->last_usec < SIGNAL_INTERVAL_USEC && !q->finishes) {
		again_at(e, s->last_usec + SIGNAL_INTERVAL_USEC);
		return;
	}
	r = signal_send(q->finder, w, t, e->signo);
	if (r == -ESRCH)
		return; /* there is nobody any more who has to know */
	/* it may be about to set it up */
	if (r > 0 && e->n_tries < SIGNAL_TRIES && !q->finishes) {
		again_at(e, now + SIGNAL_INTERVAL_USEC);
		return;
	}
	/* said once, whatever it was */
	s->when_usec[signal] = s->last_usec = now;
	say(q, e, t, r);
}

static void entry_end(struct signal_queue *q, struct entry *e, uint64_t now)
{
	if (e->again_usec) {
		e->due_usec = e->again_usec;
		e->n_tries++;
		return;
	}
	if (!e->shown) {
		q->counts.n_unmounted++;
		log_debug(LOG_F({ "pod", e->pod }, { "volume", e->volume }), "no running container shows the volume");
		report(q, e, &(struct signal_report){ .outcome = SIGNAL_OUTCOME_UNMOUNTED });
	}
	e->waits = false;
	list_remove(&e->link);
	list_append(&q->idle, &e->link);
	report_done(q, e);
}

/* Everything that is due by then. */
static void walk(struct signal_queue *q, uint64_t until_usec)
{
	cleanup_free struct signal_wanted *wanted = NULL;
	uint64_t begun = clock_monotonic_usec(), now;
	struct entry *e;
	size_t n = 0;
	int r;

	wanted = calloc(map_count(&q->by_key) + 1, sizeof(*wanted));
	if (!wanted)
		return;
	list_for_each (e, &q->waiting, link) {
		if (e->due_usec > until_usec)
			continue;
		e->again_usec = 0;
		e->shown = false;
		wanted[n++] = (struct signal_wanted){ .uid = e->uid, .volume = e->volume, .userdata = e };
	}
	if (n == 0)
		return;
	sent_clean(q, begun);
	r = signal_find(q->finder, wanted, n, on_found, q);
	now = clock_monotonic_usec();
	q->free_usec = now + MAX(WALK_PAUSE_USEC, WALK_SHARE * (now - begun));
	if (r < 0)
		log_error(NULL, "look for containers: %s", strerror(-r));
	for (size_t i = 0; i < n; i++) {
		e = wanted[i].userdata;
		if (r < 0)
			again_at(e, now + SIGNAL_INTERVAL_USEC);
		entry_end(q, e, now);
	}
	log_debug(NULL, "looked for the containers of %zu volumes in %llu us", n, (unsigned long long)(now - begun));
}

static void on_timer(struct loop_source *s, void *userdata)
{
	struct signal_queue *q = userdata;
	struct entry *e;

	/* a timer may be early by what it is rounded */
	walk(q, clock_monotonic_usec() + USEC_PER_MSEC);
	q->due_usec = USEC_INFINITY;
	list_for_each (e, &q->waiting, link)
		wake_at(q, e->due_usec);
}

void signal_queue_finish(struct signal_queue *q)
{
	while (q->socket >= 0 && receive(q) == 0)
		;
	q->finishes = true;
	walk(q, USEC_INFINITY);
}

/* ---- life ---- */

int signal_queue_new(struct loop *l, const struct signal_finder *f, signal_queue_lost_fn lost, void *userdata,
		     struct signal_queue **ret_q)
{
	cleanup(signal_queue_freep) struct signal_queue *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return -ENOMEM;
	*q = (struct signal_queue){ .loop = l,
				    .finder = f,
				    .lost = lost,
				    .userdata = userdata,
				    .socket = -1,
				    .due_usec = USEC_INFINITY,
				    .by_key = MAP_INIT,
				    .sent = MAP_INIT,
				    .refusals = LOG_LIMIT_INIT(10 * USEC_PER_SEC, 3) };
	list_init(&q->idle);
	list_init(&q->waiting);
	r = loop_add_timer(l, on_timer, q, &q->timer);
	if (r < 0)
		return r;
	*ret_q = TAKE_PTR(q);
	return 0;
}

void signal_queue_free(struct signal_queue *q)
{
	struct entry *e;
	struct sent *s;

	if (!q)
		return;
	loop_source_free(q->source);
	loop_source_free(q->timer);
	close_fd(q->socket);
	for (size_t it = 0; (e = map_next(&q->by_key, &it));)
		free(e);
	for (size_t it = 0; (s = map_next(&q->sent, &it));)
		free(s);
	map_deinit(&q->by_key);
	map_deinit(&q->sent);
	free(q);
}

int signal_queue_attach(struct signal_queue *q, int take_fd)
{
	const int room = SEND_BUFFER;
	int r;

	loop_source_free(TAKE_PTR(q->source));
	close_fd(q->socket);
	q->socket = take_fd;
	(void)setsockopt(take_fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	r = loop_add_io(q->loop, q->socket, EPOLLIN, on_agent, q, &q->source);
	if (r < 0)
		q->socket = close_fd(q->socket);
	return r;
}

bool signal_queue_is_attached(const struct signal_queue *q)
{
	return q->socket >= 0;
}

const struct signal_counts *signal_queue_counts(const struct signal_queue *q)
{
	return &q->counts;
}
