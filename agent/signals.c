/* Signals. Nothing is told of single updates: the version that a volume has now is compared with the one that was told last,
 * so that whatever happened in between, the newest counts. What the signaller has not called done is told again to the next
 * one, as a change. Nothing here waits: what the socket does not take is told when it does. */
#include "agent/signals.h"

#include <sys/socket.h>

#include "agent/container_signal.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/map.h"
#include "common/str.h"

#define TURN_MAX    64 /* answers in one turn of the loop */
#define SEND_BUFFER (512 << 10)
#define LOOK_USEC   (10 * USEC_PER_MSEC) /* between two looks */

#define UNSENT_WINDOW_USEC (60 * USEC_PER_SEC)
#define UNSENT_BURST	   20

/* A volume that asks. */
struct asker {
	struct list link; /* in untold, told or gone */
	struct signal_order order; /* as it is, or will be told; of one that has gone the last one */
	char done[SIGNAL_VERSION_MAX]; /* this version needs no signal any more */
	char *key;
	bool seen; /* in this look */
};

struct recent {
	struct signal_report report;
	uint64_t realtime_usec;
	char pod[SIGNAL_POD_MAX];
};

struct signals {
	struct loop *loop;
	const struct pods *pods;
	bool enabled;
	int socket; /* -1: there is no signaller */
	struct presence presence;
	struct loop_source *source, *look;
	bool look_is_due;
	uint64_t looked_usec;
	struct map askers;
	struct list untold, told, gone;
	struct signal_counts counts;
	struct log_limit unsent; /* lines about those that ask in vain */
	struct recent recent[SIGNALS_RECENT];
	size_t n_recent; /* of all time */
};

static void asker_free(struct signals *s, struct asker *a)
{
	list_remove(&a->link);
	/* of one that has gone and come again the key is another one's */
	if (map_get_str(&s->askers, a->key) == a)
		map_remove_str(&s->askers, a->key);
	free(a->key);
	free(a);
}

/* ---- the socket ---- */

static void let_go(struct signals *s)
{
	struct asker *a;

	loop_source_free(TAKE_PTR(s->source));
	presence_went(&s->presence, loop_now(s->loop));
	s->socket = close_fd(s->socket);
	/* the next one is told all of it */
	list_for_each (a, &s->told, link) {
		list_remove(&a->link);
		list_append(&s->untold, &a->link);
	}
}

static int tell(struct signals *s, struct asker *a)
{
	a->order.changed = !str_eq(a->order.version, a->done);
	return send(s->socket, &a->order, sizeof(a->order), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int tell_all(struct signals *s)
{
	struct asker *a;
	int r;

	while ((a = list_first(&s->gone, struct asker, link))) {
		r = tell(s, a);
		if (r < 0)
			return r;
		asker_free(s, a);
	}
	while ((a = list_first(&s->untold, struct asker, link))) {
		r = tell(s, a);
		if (r < 0)
			return r;
		list_remove(&a->link);
		list_append(&s->told, &a->link);
	}
	return 0;
}

static void tell_now(struct signals *s)
{
	int r;

	if (s->socket < 0)
		return;
	r = tell_all(s);
	if (r < 0 && r != -EAGAIN) {
		let_go(s);
		return;
	}
	loop_io_set_events(s->source, r < 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void note(struct signals *s, const struct signal_report *r, const struct asker *a)
{
	struct recent *recent;

	if (r->outcome == SIGNAL_OUTCOME_NONE)
		return;
	recent = &s->recent[s->n_recent++ % SIGNALS_RECENT];
	recent->report = *r;
	recent->realtime_usec = clock_realtime_usec();
	snprintf(recent->pod, sizeof(recent->pod), "%s", a ? a->order.pod : "");
}

static void take_report(struct signals *s, struct signal_report *r)
{
	cleanup_free char *key = NULL;
	struct asker *a;

	r->uid[sizeof(r->uid) - 1] = r->volume[sizeof(r->volume) - 1] = r->version[sizeof(r->version) - 1] =
		r->container[sizeof(r->container) - 1] = '\0';
	s->counts = r->counts;
	key = str_format("%s/%s", r->uid, r->volume);
	a = key ? map_get_str(&s->askers, key) : NULL;
	if (a && r->done)
		memcpy(a->done, r->version, sizeof(a->done));
	note(s, r, a);
}

static void on_socket(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct signals *s = userdata;
	struct signal_report r;

	for (int i = 0; i < TURN_MAX; i++) {
		ssize_t n = recv(fd, &r, sizeof(r), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n != sizeof(r)) {
			let_go(s);
			return;
		}
		take_report(s, &r);
	}
	tell_now(s);
}

int signals_attach(struct signals *s, int take_fd)
{
	const int room = SEND_BUFFER;
	int r;

	let_go(s);
	s->socket = take_fd;
	presence_came(&s->presence, loop_now(s->loop));
	(void)setsockopt(take_fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	r = loop_add_io(s->loop, s->socket, EPOLLIN, on_socket, s, &s->source);
	if (r < 0) {
		let_go(s);
		return r;
	}
	tell_now(s);
	return 0;
}

/* ---- the volumes ---- */

static bool fits(const struct volume *v)
{
	return strlen(v->pod->uid) < SIGNAL_UID_MAX && strlen(v->spec->name) < SIGNAL_VOLUME_MAX;
}

static struct asker *asker_new(struct signals *s, const struct volume *v, const char *key)
{
	struct asker *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	list_init(&a->link);
	a->order.kind = SIGNAL_ORDER_TELL;
	snprintf(a->order.uid, sizeof(a->order.uid), "%s", v->pod->uid);
	snprintf(a->order.volume, sizeof(a->order.volume), "%s", v->spec->name);
	snprintf(a->order.pod, sizeof(a->order.pod), "%s", pod_display(v->pod->pod));
	/* what is there when we first see it is no change */
	snprintf(a->done, sizeof(a->done), "%s", v->version);
	a->key = strdup(key);
	if (!a->key || map_add_str(&s->askers, a->key, a) < 0) {
		free(a->key);
		free(a);
		return NULL;
	}
	if (!s->enabled && log_limit_ok(&s->unsent, loop_now(s->loop)))
		log_warning(
			LOG_F({ "pod", a->order.pod }, { "volume", a->order.volume }),
			"asks for %s when it changes (onChange), but signalContainers is not set here: none is sent",
			container_signal_name(v->spec->on_change) ?: "a signal");
	return a;
}

static void look_at(struct signals *s, const struct volume *v)
{
	cleanup_free char *key = NULL;
	struct asker *a;

	if (!*v->version || v->condition != VOLUME_READY || !fits(v))
		return;
	key = str_format("%s/%s", v->pod->uid, v->spec->name);
	a = key ? map_get_str(&s->askers, key) : NULL;
	if (key && !a)
		a = asker_new(s, v, key);
	if (!a)
		return; /* no memory: the next look may have some */
	a->seen = true;
	if (str_eq(a->order.version, v->version) && a->order.signo == v->spec->on_change)
		return;
	memcpy(a->order.version, v->version, sizeof(a->order.version));
	a->order.signo = v->spec->on_change;
	list_remove(&a->link);
	list_append(&s->untold, &a->link);
}

/* A volume that is not ready for a while is none that has gone. */
static bool is_kept(const struct signals *s, const struct asker *a)
{
	const struct pod_state *pod = pods_find(s->pods, a->order.uid);

	for (size_t i = 0; pod && i < pod->n_volumes; i++)
		if (pod->volumes[i].spec->on_change && str_eq(pod->volumes[i].spec->name, a->order.volume))
			return true;
	return false;
}

static void drop_what_has_gone(struct signals *s)
{
	struct asker *a;

	for (size_t it = 0; (a = map_next(&s->askers, &it));) {
		if (a->seen || is_kept(s, a)) {
			a->seen = false;
			continue;
		}
		map_remove_str(&s->askers, a->key);
		a->order.kind = SIGNAL_ORDER_FORGET;
		list_remove(&a->link);
		list_append(&s->gone, &a->link);
	}
}

static void on_look(struct loop_source *source, void *userdata)
{
	struct signals *s = userdata;
	struct asker *a;

	s->look_is_due = false;
	s->looked_usec = loop_now(s->loop);
	for (const struct volume *v = pods_next_asking(s->pods, NULL); v; v = pods_next_asking(s->pods, v))
		look_at(s, v);
	drop_what_has_gone(s);
	tell_now(s);
	/* nobody has to be told */
	while (s->socket < 0 && (a = list_first(&s->gone, struct asker, link)))
		asker_free(s, a);
}

/* Of many changes the first is looked at soon, and those that follow together: each look is at all that ask. */
void signals_look(struct signals *s)
{
	uint64_t now, due = s->looked_usec + LOOK_USEC;

	if (s->look_is_due || (!pods_next_asking(s->pods, NULL) && map_count(&s->askers) == 0))
		return;
	now = loop_now(s->loop);
	/* refused: out of memory; the next change asks again */
	s->look_is_due = loop_timer_set(s->look, due > now ? due - now : 0) == 0;
}

/* ---- life ---- */

int signals_new(struct loop *l, const struct pods *pods, bool enabled, struct signals **ret_s)
{
	cleanup(signals_freep) struct signals *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	*s = (struct signals){ .loop = l,
			       .pods = pods,
			       .enabled = enabled,
			       .socket = -1,
			       .unsent = LOG_LIMIT_INIT(UNSENT_WINDOW_USEC, UNSENT_BURST),
			       .presence.absent_since_usec = loop_now(l),
			       .askers = MAP_INIT };
	list_init(&s->untold);
	list_init(&s->told);
	list_init(&s->gone);
	r = loop_add_timer(l, on_look, s, &s->look);
	if (r < 0)
		return r;
	*ret_s = TAKE_PTR(s);
	return 0;
}

static void askers_free(struct signals *s, struct list *askers)
{
	struct asker *a;

	while ((a = list_first(askers, struct asker, link)))
		asker_free(s, a);
}

void signals_free(struct signals *s)
{
	if (!s)
		return;
	loop_source_free(s->source);
	loop_source_free(s->look);
	close_fd(s->socket);
	askers_free(s, &s->untold);
	askers_free(s, &s->told);
	askers_free(s, &s->gone);
	map_deinit(&s->askers);
	free(s);
}

/* ---- what is told of it ---- */

bool signals_is_running(const struct signals *s)
{
	return !s->enabled || s->socket >= 0;
}

const struct presence *signals_presence(const struct signals *s)
{
	return &s->presence;
}

static json_t *report_recent(const struct recent *r)
{
	static const char *const names[SIGNAL_OUTCOMES_N] = { [SIGNAL_OUTCOME_NONE] = "",
							      [SIGNAL_OUTCOME_SENT] = "sent",
							      [SIGNAL_OUTCOME_FAILED] = "failed",
							      [SIGNAL_OUTCOME_NOT_CAUGHT] = "notCaught",
							      [SIGNAL_OUTCOME_UNMOUNTED] = "unmounted" };
	const char *outcome = r->report.outcome < SIGNAL_OUTCOMES_N ? names[r->report.outcome] : "";
	char time[STR_TIME_MAX];

	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:o*, s:o*, s:o*}", "time",
			 str_format_time(r->realtime_usec, time), "pod", json_text(r->pod), "volume",
			 json_text(r->report.volume), "version", json_text(r->report.version), "signal",
			 container_signal_name(r->report.signo) ?: "", "outcome", outcome, "pid",
			 r->report.pid ? json_integer(r->report.pid) : NULL, "container",
			 r->report.container[0] ? json_text(r->report.container) : NULL, "error",
			 r->report.error ? json_text(strerror(r->report.error)) : NULL);
}

/* The newest first. */
static json_t *report_all_recent(const struct signals *s)
{
	cleanup_json json_t *all = json_array();

	for (size_t i = 0; i < SIGNALS_RECENT && i < s->n_recent; i++)
		if (json_array_append_new(all, report_recent(&s->recent[(s->n_recent - 1 - i) % SIGNALS_RECENT])) < 0)
			return NULL;
	return TAKE_PTR(all);
}

/* Volumes whose containers are yet to be signalled. */
static size_t count_pending(const struct signals *s)
{
	const struct asker *a;
	size_t n = 0;

	for (size_t it = 0; (a = map_next(&s->askers, &it));)
		n += !str_eq(a->order.version, a->done);
	return s->enabled ? n : 0;
}

json_t *signals_report(const struct signals *s)
{
	const struct signal_counts *c = &s->counts;

	return json_pack("{s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "enabled", s->enabled, "running",
			 s->socket >= 0, "volumes", (json_int_t)map_count(&s->askers), "pending",
			 (json_int_t)count_pending(s), "changes", (json_int_t)c->n_changes, "sent",
			 (json_int_t)c->n_sent, "notCaught", (json_int_t)c->n_not_caught, "failed",
			 (json_int_t)c->n_failed, "unmounted", (json_int_t)c->n_unmounted, "refused",
			 (json_int_t)c->n_refused, "recent", report_all_recent(s));
}
