/* The server is away: all followers stand still, and the node as a whole asks whether it is back (outage.h), by the request
 * of one of them, and not always the same, so that what is wrong with one request keeps nobody away. Nothing less than a
 * request would do: a load balancer accepts connections for servers that are not there. What a person asks for is asked at once,
 * and is as good an answer.
 *
 * An outage is when nobody is answered: a request was not, and no watch runs. Where watches run, the server is well, and
 * what fails is the business of whoever it fails for, with his own backoff. 502, 503 and 504 are no answer either: they come from
 * somebody in front of the server, or from one that is not ready; and 429 does not end an outage, for it is no invitation. Who is
 * answered so comes back with all others, but not before the Retry-After that came with it. An answer to an Event counts as any
 * other, though the sender asks at times of its own.
 *
 * All come back when one is answered, in turns: the pods first, then what pods wait for, then tokens, and last what is merely stale. */
#include "agent/source_api_internal.h"

static const uint64_t LOST_EACH_USEC = 60 * USEC_PER_MSEC, LOST_MOST_USEC = 2 * USEC_PER_SEC;
static const uint64_t LOST_TOGETHER_USEC = USEC_PER_SEC;

enum { STATUS_TOO_MANY = 429, STATUS_SERVER_ERROR = 500, STATUS_BAD_GATEWAY = 502, STATUS_GATEWAY_TIMEOUT = 504 };

static bool is_nobody(int status)
{
	return status >= STATUS_BAD_GATEWAY && status <= STATUS_GATEWAY_TIMEOUT;
}

/* It says that the server is there, to whomever. */
static bool is_sign_of_life(int status)
{
	return status > 0 && status != STATUS_TOO_MANY && status < STATUS_SERVER_ERROR;
}

bool api_is_still_away(const struct source_api *s, int status)
{
	return s->away.outage.runs && status > 0 && !is_sign_of_life(status);
}

/* Not where the client itself gives a connection up, for it has new credentials. */
static bool is_silence(int status, const struct err *e)
{
	return status == 0 && e->code != 0 && e->code != -ECONNABORTED && http_is_silence(e->code);
}

/* ---- asking ---- */

static void set_timer(struct source_api *s)
{
	uint64_t now = loop_now(s->loop), wait = outage_next(&s->away.outage, now);

	s->away.next_usec = now + wait;
	(void)loop_timer_set(s->away.timer, wait);
}

/* It waits within kubeAPIQPS, and has been admitted for when it is its turn. */
static bool waits_for_turn(const struct follower *f)
{
	if (f->reflector)
		return reflector_waits(f->reflector) && reflector_is_listing(f->reflector);
	return f->poller && poller_waits_for_turn(f->poller);
}

static bool waits(const struct follower *f)
{
	return f->reflector ? reflector_waits(f->reflector) : f->poller && poller_waits(f->poller);
}

/* Every second time the pods, for they matter most; else who has not asked for the longest time. */
static struct follower *next_to_ask(struct source_api *s)
{
	struct follower *f = list_first(&s->away.held, struct follower, held_link);

	s->away.pods_asked = !s->away.pods_asked && !list_empty(&s->pods.held_link);
	return s->away.pods_asked ? &s->pods : f;
}

/* One that waits for its turn goes on with it: another would have to wait behind it. */
static void ask(struct source_api *s)
{
	struct follower *f;

	if (s->away.asks && waits_for_turn(s->away.asks))
		return;
	f = next_to_ask(s);
	s->away.is_due = !f;
	if (!f)
		return;
	api_release(f);
	s->away.asks = f;
	follower_wake(f);
}

static void on_timer(struct loop_source *source, void *userdata)
{
	struct source_api *s = userdata;

	if (!s->away.outage.runs)
		return;
	/* one that still waits for an answer asks already */
	if (!s->away.asks || !s->away.asks->request)
		ask(s);
	set_timer(s);
}

/* ---- away ---- */

static bool any_watch_runs(const struct source_api *s)
{
	return follower_is_watching(&s->pods) || api_objects_any_watch(s);
}

static void begin(struct source_api *s)
{
	if (!s->away.timer && loop_add_timer(s->loop, on_timer, s, &s->away.timer) < 0)
		return; /* each has its own backoff */
	outage_begin(&s->away.outage, loop_now(s->loop), random01());
	s->pods_lost = true;
	s->away.is_due = false;
	s->away.asks = NULL;
	set_timer(s);
}

void api_unanswered(struct source_api *s, int status, int64_t retry_after_sec, const struct err *e)
{
	bool is_silent = is_silence(status, e);

	if ((is_silent || is_nobody(status)) && !s->away.outage.runs && !any_watch_runs(s))
		begin(s);
	if (!s->away.outage.runs)
		return;
	if (is_silent) {
		s->server_away = true;
		s->away.why = *e;
	} else if (is_nobody(status)) {
		err_set(&s->away.why, -EAGAIN, "the server answers %d", status);
	}
	if (retry_after_sec > 0) {
		outage_wait(&s->away.outage, loop_now(s->loop), (uint64_t)retry_after_sec * USEC_PER_SEC);
		set_timer(s);
	}
}

static void hold(struct follower *f)
{
	struct source_api *s = f->source;

	s->away.is_due = false;
	list_remove(&f->held_link);
	list_append(&s->away.held, &f->held_link);
}

/* Its own time does not count any more. why: to be told, NULL: it was. */
static void stop_waiting(struct follower *f, const struct err *why)
{
	if (f->reflector)
		reflector_hold(f->reflector, why);
	else
		poller_hold(f->poller, why);
}

bool api_holds(struct follower *f)
{
	struct source_api *s = f->source;

	if (!s->away.outage.runs || !waits(f) || s->away.asks == f)
		return false;
	/* whoever asks may have to wait for its turn (kubeAPIQPS): then one whose turn has come asks in its place */
	if (s->away.is_due || (s->away.asks && waits_for_turn(s->away.asks) && waits_for_turn(f))) {
		s->away.is_due = false;
		s->away.asks = f;
		return false;
	}
	stop_waiting(f, &s->away.why);
	if (follower_waits_for_server(f))
		hold(f);
	return true;
}

void api_hold_if_waiting(struct follower *f, int status)
{
	struct source_api *s = f->source;

	if (s->away.asks == f && !f->request)
		s->away.asks = NULL;
	if (!s->away.outage.runs)
		return;
	/* what it was answered is no more than what the others know: it comes back with them */
	if (api_is_still_away(s, status) && waits(f) && !waits_for_turn(f))
		stop_waiting(f, NULL);
	if (!follower_waits_for_server(f))
		return;
	if (f->timer)
		loop_timer_off(f->timer);
	hold(f);
}

void api_release(struct follower *f)
{
	list_remove(&f->held_link);
}

void api_gone(struct follower *f)
{
	api_release(f);
	if (f->source && f->source->away.asks == f)
		f->source->away.asks = NULL;
}

void api_ask_whether_back(struct source_api *s)
{
	if (s->away.outage.runs)
		ask(s);
}

uint64_t api_next_try(const struct source_api *s)
{
	if (!s->away.outage.runs)
		return 0;
	/* who waits for its turn (kubeAPIQPS), or for an answer */
	if (s->away.is_due || (s->away.asks && (s->away.asks->request || waits_for_turn(s->away.asks))))
		return loop_now(s->loop);
	return s->away.next_usec;
}

/* ---- back ---- */

static void come_back(struct source_api *s)
{
	uint64_t now = loop_now(s->loop);
	struct outage_turns turns = {
		.n = (size_t)follower_waits_for_server(&s->pods) + follower_waits_for_server(&s->node) +
		     api_objects_n_waiting(s) + api_tokens_n_waiting(s),
	};

	turns.window_usec = outage_window(&s->away.outage, now, turns.n);
	if (follower_waits_for_server(&s->pods))
		follower_server_answers(&s->pods, outage_turn(&turns, 0));
	api_objects_server_answers(s, true, &turns);
	api_tokens_server_answers(s, &turns);
	if (follower_waits_for_server(&s->node))
		follower_server_answers(&s->node, outage_turn(&turns, random01()));
	api_objects_server_answers(s, false, &turns);
}

void api_answered(struct source_api *s, int status)
{
	if (!s->away.outage.runs || !is_sign_of_life(status))
		return;
	come_back(s);
	if (s->pods_lost && s->pods.reflector && !follower_list_next(&s->pods))
		follower_do_later(&s->pods, TODO_REFRESH);
	outage_end(&s->away.outage, loop_now(s->loop));
	loop_timer_off(s->away.timer);
	s->n_reconnects += s->server_away;
	s->server_away = false;
	server_was_away(&s->server);
}

void api_awake(struct source_api *s)
{
	if (!s->away.outage.runs) {
		come_back(s);
		return;
	}
	outage_restart(&s->away.outage, loop_now(s->loop), random01());
	ask(s);
	set_timer(s);
}

/* ---- a watch is lost ---- */

/* The first one at once: whether the server is well is not known before. If it is, as after a GOAWAY or a change from one
 * server to another, the others need not come at the same moment, for other nodes do so, too. */
uint64_t api_lost(struct follower *f)
{
	struct source_api *s = f->source;
	uint64_t now = loop_now(s->loop), window;

	if (now - s->away.lost_usec > LOST_TOGETHER_USEC)
		s->away.n_lost = 0;
	s->away.lost_usec = now;
	if (s->away.n_lost++ == 0)
		return 0;
	window = MIN((map_count(&s->wanted) + 1) * LOST_EACH_USEC, LOST_MOST_USEC);
	return (uint64_t)(random01() * (double)window);
}

/* ---- */

void api_away_init(struct source_api *s)
{
	s->away.outage = OUTAGE_INIT;
	list_init(&s->away.held);
}

void api_away_deinit(struct source_api *s)
{
	loop_source_free(s->away.timer);
}
