/* The API server as a source: a reflector for this node's pods, and a reflector or a poller (source_api_objects.c) for
 * each wanted Secret, by name, because that is all that a node's identity may read. All their requests go over one HTTP
 * client.
 *
 * What is told to the sink is compared with what was told before: a relist that brings nothing new stays silent, and so
 * does a retry that fails in the same way. The sink may call back (want, unwant, refresh) at any time; so they are
 * started, refreshed and freed by a deferred call, never under their own feet. */
#include "agent/source_api_internal.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/str.h"
#include "common/version.h"

enum {
	REFUSALS_BURST = 20, /* lines of log about refused objects in REFUSALS_WINDOW_USEC */
	SAID_BURST = 4, /* about one object in SAID_WINDOW_USEC */
};
static const uint64_t REFUSALS_WINDOW_USEC = 60 * USEC_PER_SEC;
static const uint64_t SAID_WINDOW_USEC = 600 * USEC_PER_SEC;

/* Keeps a copy; what cannot be kept is told again, that is all. */
void api_keep_text(char **where, const char *text)
{
	free(*where);
	*where = text ? strdup(text) : NULL;
}

bool api_is_news(struct source_api *s, struct said *said, const char *text)
{
	uint64_t now = loop_now(s->loop);
	bool is_same = str_eq(said->text, text) && now - said->last_usec < SAID_WINDOW_USEC;

	said->last_usec = now;
	if (is_same)
		return false;
	api_keep_text(&said->text, text);
	if (said->limit.burst == 0)
		said->limit = LOG_LIMIT_INIT(SAID_WINDOW_USEC, SAID_BURST);
	return log_limit_ok(&said->limit, now);
}

bool api_warn_of_refusal(struct source_api *s, const struct log_field *fields, const char *text)
{
	if (!log_limit_ok(&s->refusals, loop_now(s->loop)))
		return false;
	if (s->refusals.n_held_before > 0)
		log_warning(NULL, "%" PRIu64 " more objects were refused and not logged", s->refusals.n_held_before);
	log_warning(fields, "%s", text);
	return true;
}

/* ---- the source ---- */

/* Not before the start: the library is loaded for it, and an agent that takes over has readers to answer first. */
static int make_http(struct source_api *s, struct err *e)
{
	const struct kubeconfig *k = s->kubeconfig;
	const struct http_options options = { .server = k->server,
					      .tls_server_name = k->tls_server_name,
					      .tls = { .ca = k->ca, .cert = k->client_cert, .key = k->client_key },
					      .proxy = k->proxy,
					      .insecure = k->insecure,
					      .ping_usec = s->ping_usec,
					      .user_agent = "secretlet/" SECRETLET_VERSION };
	int r;

	r = http_new(s->loop, &options, &s->http, e);
	if (r < 0)
		return r;
	if (k->insecure)
		log_warning(
			LOG_F({ "server", k->server }),
			"insecure-skip-tls-verify: the server is NOT authenticated; anybody in between can read and "
			"change every Secret");
	if (str_starts(k->server, "http://"))
		log_warning(LOG_F({ "server", k->server }),
			    "no TLS: no credentials are sent, and all can be read on the way");
	r = http_set_token(s->http, k->token);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

static int api_start(struct source *source, struct err *e)
{
	struct source_api *s = api_of(source);
	int r;

	if (s->started)
		return 0;
	r = make_http(s, e);
	if (r < 0)
		return err_wrap(e, r, "%s", s->where);
	r = follower_do_later(&s->pods, TODO_START);
	if (r == 0)
		r = api_node_start(s);
	if (r == 0)
		r = api_objects_start(s);
	if (r == 0)
		r = credentials_start(s->credentials, s->http);
	if (r < 0)
		return err_set(e, r, "start the API server source: %s", strerror(-r));
	s->started = true;
	api_tokens_start(s);
	log_info(LOG_F({ "server", http_server(s->http) }, { "node", s->node_name }), "following the API server");
	return 0;
}

/* 0: it is not away. */
static uint64_t next_try_realtime(const struct source_api *s)
{
	uint64_t at = api_next_try(s), now = loop_now(s->loop);

	return at > 0 ? clock_realtime_usec() + (at > now ? at - now : 0) : 0;
}

static void api_health(const struct source *source, struct source_health *ret)
{
	const struct source_api *s = api_of(source);
	const struct http_stats stats = s->http ? http_stats(s->http) : (struct http_stats){ .n_requests = 0 };
	const char *no_room = api_pod_no_room(s);

	*ret = (struct source_health){ .kind = "api-server" };
	snprintf(ret->location, sizeof(ret->location), "%s", s->kubeconfig->server);
	snprintf(ret->last_error, sizeof(ret->last_error), "%s",
		 s->pods_failure    ? s->pods_failure
		 : s->doubt.failure ? s->doubt.failure
		 : no_room	    ? no_room
				    : "");
	if (s->pods_failure) {
		ret->reason = s->pods_reason;
		ret->failed_usec = s->pods_failed_usec;
	} else if (s->doubt.failure) {
		ret->reason = REASON_LIST_DOUBTED;
	} else if (no_room) {
		ret->reason = REASON_NO_ROOM_FOR_POD;
	}
	ret->next_try_usec = next_try_realtime(s);
	ret->strategy = source_strategy_name(s->tuning.strategy);
	ret->connected = follower_is_watching(&s->pods);
	ret->pods_synced = s->pods_told;
	ret->last_contact_usec = s->last_contact_usec;
	ret->n_watches = ret->connected;
	api_objects_health(s, ret);
	ret->n_rejected = s->n_rejected;
	ret->n_requests = stats.n_requests;
	ret->n_connections = stats.n_connections;
	ret->n_reconnects = s->n_reconnects;
}

static void set_tuning(struct source_api *s, const struct source_tuning *tuning)
{
	s->tuning = *tuning;
	if (!s->tuning.sync_usec)
		s->tuning.sync_usec = SOURCE_SYNC_USEC;
}

static void api_tune(struct source *source, const struct source_tuning *tuning)
{
	struct source_api *s = api_of(source);
	enum source_strategy before = s->tuning.strategy;

	set_tuning(s, tuning);
	api_node_retune(s);
	api_objects_retune(s, before);
	api_ask_whether_back(s);
}

static void api_free(struct source *source)
{
	struct source_api *s = api_of(source);
	struct follower *f;

	credentials_free(s->credentials);
	api_fetches_deinit(s);
	api_objects_deinit(s);
	api_tokens_deinit(s);
	api_pods_deinit(s);
	api_node_deinit(s);
	api_away_deinit(s);
	while ((f = list_first(&s->todo, struct follower, todo_link)))
		f->free(f);
	http_free(s->http);
	kubeconfig_free(s->kubeconfig);
	loop_source_free(s->do_todo);
	loop_source_free(s->awake);
	free(s->node_name);
	free(s->where);
	free(s);
}

/* All go over to new connections; whoever waited for the server need not wait on. */
static void on_awake(struct loop_source *source, void *userdata)
{
	struct source_api *s = userdata;

	http_reopen(s->http);
	api_awake(s);
	api_tokens_slept(s);
}

/* Later: what runs ends, and nobody is told of anything from inside a source_*() call. */
static void api_slept(struct source *source)
{
	struct source_api *s = api_of(source);

	if (s->started)
		loop_defer_set(s->awake);
}

static const struct source_vtable VTABLE = {
	.start = api_start,
	.expect_pod = api_expect_pod,
	.want = api_want,
	.unwant = api_unwant,
	.need = api_need,
	.need_node = api_need_node,
	.tune = api_tune,
	.refresh = api_refresh,
	.fetch = api_fetch,
	.unfetch = api_unfetch,
	.slept = api_slept,
	.health = api_health,
	.refusals = api_pod_refusals,
	.free = api_free,
};

struct http_target source_api_target(struct source *source)
{
	return http_target(api_of(source)->http);
}

uint64_t source_api_admit(struct source *source)
{
	struct source_api *s = api_of(source);

	if (!s->started || s->server_away)
		return USEC_INFINITY;
	return server_admit_spare(&s->server, loop_now(s->loop));
}

void source_api_answered(struct source *source, int status)
{
	struct source_api *s = api_of(source);

	s->last_contact_usec = clock_realtime_usec();
	api_answered(s, status);
}

struct http *source_api_http(struct source *source)
{
	return api_of(source)->http;
}

static int make_loop_sources(struct source_api *s)
{
	int r;

	r = loop_add_defer(s->loop, follower_on_todo, s, &s->do_todo);
	if (r == 0)
		r = loop_add_defer(s->loop, on_awake, s, &s->awake);
	if (r == 0)
		r = api_objects_init(s);
	if (r == 0)
		r = api_tokens_init(s);
	return r;
}

static int load_credentials(struct source_api *s, const struct source_api_options *o, struct err *e)
{
	if (o->kubeconfig)
		return kubeconfig_load(o->kubeconfig, &s->kubeconfig, e);
	return kubeconfig_in_cluster(o->service_account_dir ? o->service_account_dir : KUBECONFIG_IN_CLUSTER_DIR,
				     &s->kubeconfig, e);
}

static int setup(struct source_api *s, const struct source_api_options *options, struct err *e)
{
	int r;

	s->node_name = strdup(options->node_name);
	s->where = strdup(options->kubeconfig ? options->kubeconfig : "in-cluster credentials");
	if (!s->node_name || !s->where)
		return err_set(e, -ENOMEM, "out of memory");
	r = make_loop_sources(s);
	if (r < 0)
		return err_set(e, r, "event loop: %s", strerror(-r));
	api_pods_init(s);
	api_doubt_init(s);
	api_node_init(s);
	r = load_credentials(s, options, e);
	if (r < 0)
		return r;
	r = credentials_new(s->loop, s->files, s->kubeconfig, options->credentials_usec, &s->credentials, e);
	if (r == 0)
		credentials_on_read(s->credentials, follower_on_credentials, s);
	return r;
}

int source_api_new(struct loop *l, struct files *files, const struct source_api_options *options,
		   const struct source_sink *sink, void *userdata, struct source **ret_s, struct err *e)
{
	struct source_api *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->source.vtable = &VTABLE;
	s->loop = l;
	s->files = files;
	s->server = SERVER_INIT;
	s->server.qps = options->kube_api_qps;
	s->server.burst = options->kube_api_burst;
	s->sink = sink;
	s->userdata = userdata;
	s->refusals = LOG_LIMIT_INIT(REFUSALS_WINDOW_USEC, REFUSALS_BURST);
	s->ping_usec = options->ping_usec;
	set_tuning(s, &options->tuning);
	list_init(&s->fetches);
	list_init(&s->todo);
	list_init(&s->refused);
	list_init(&s->untimed);
	list_init(&s->pods.todo_link);
	list_init(&s->pods.refused_link);
	list_init(&s->node.todo_link);
	list_init(&s->node.refused_link);
	list_init(&s->pods.held_link);
	list_init(&s->node.held_link);
	api_away_init(s);
	r = setup(s, options, e);
	if (r < 0) {
		api_free(&s->source);
		return r;
	}
	*ret_s = &s->source;
	return 0;
}
