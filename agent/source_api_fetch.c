/* Objects that somebody asks for once. Each is one GET of the most recent state, never of a cache. It is repeated, within
 * SOURCE_FETCH_USEC, where a repetition may bring something else: while the Node authorizer has not yet noticed a fresh
 * pod (403), while the credentials are read again (401), and when the server asks for patience. Where nobody answers that
 * is said at once; or at the end of that time, where it waits behind a request that is still being connected. */
#include "agent/source_api_internal.h"

#include "agent/codec.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/str.h"

enum {
	BODY_MAX = 8 << 20, /* as for a poller: 1 MiB of text with escapes, and metadata */
	FORBIDDEN_TRIES = 9, /* two and a half seconds */
	STATUS_OK = 200,
	STATUS_UNAUTHORISED = 401,
	STATUS_FORBIDDEN = 403,
	STATUS_NOT_FOUND = 404,
	STATUS_TOO_MANY = 429,
	STATUS_SERVER_ERROR = 500,
};

struct source_fetch {
	struct list link;
	struct source_api *source;
	enum source_thing thing;
	char *ns, *name, *target;
	source_fetched_fn fn;
	void *userdata;
	uint64_t end_usec;
	struct backoff backoff;
	unsigned n_forbidden;
	bool admitted;
	struct loop_source *timer;
	struct http_request *request;
	struct buf body;
	int status; /* of the answer that comes */
	bool too_long;
};

static void fetch_free(struct source_fetch *f)
{
	if (!f)
		return;
	list_remove(&f->link);
	http_cancel(f->request);
	loop_source_free(f->timer);
	buf_deinit(&f->body);
	free(f->ns);
	free(f->name);
	free(f->target);
	free(f);
}
DEFINE_CLEANUP(struct source_fetch *, fetch_free);

/* It is gone before it is told: whoever is told may end everything. */
static void tell(struct source_fetch *f, const struct source_fetched *fetched)
{
	source_fetched_fn fn = f->fn;
	void *userdata = f->userdata;

	fetch_free(f);
	fn(userdata, fetched);
}

/* ---- answers ---- */

static const char *word_of(enum source_thing thing)
{
	static const char *const words[] = {
		[SOURCE_SECRET] = "secret", [SOURCE_CONFIG_MAP] = "configmap", [SOURCE_ACCOUNT] = "serviceaccount"
	};

	return words[thing];
}

static void tell_failed(struct source_fetch *f, int code, bool unanswered, const char *why)
{
	struct source_fetched fetched = { .unanswered = unanswered };

	err_set(&fetched.err, code, "%s %s/%s: %s%s", word_of(f->thing), f->ns, f->name,
		unanswered ? "the API server does not answer: " : "", why);
	tell(f, &fetched);
}

static void tell_absent(struct source_fetch *f)
{
	struct source_fetched fetched = { .secret = NULL };

	err_set(&fetched.err, -ENOENT, "%s \"%s\" not found", word_of(f->thing), f->name);
	tell(f, &fetched);
}

/* A server that lies must not have one object pass for another. */
static bool is_asked_for(const struct source_fetch *f, const json_t *doc)
{
	const json_t *meta = json_object_get(doc, "metadata");

	return str_eq(json_string_value(json_object_get(meta, "namespace")), f->ns) &&
	       str_eq(json_string_value(json_object_get(meta, "name")), f->name);
}

static int decode(const struct source_fetch *f, const json_t *doc, struct secret **ret_secret, struct json_issue *issue)
{
	int r;

	if (f->thing == SOURCE_ACCOUNT)
		return codec_check_account(doc, issue);
	r = codec_expect(doc, "v1", f->thing == SOURCE_SECRET ? "Secret" : "ConfigMap", issue);
	return r < 0 ? r
		     : codec_object(f->thing == SOURCE_SECRET ? OBJECT_SECRET : OBJECT_CONFIG_MAP, doc, ret_secret,
				    issue);
}

static void take_answer(struct source_fetch *f)
{
	cleanup_secret_object struct secret *secret = NULL;
	struct source_fetched fetched = { .secret = NULL };
	struct json_issue issue = { .reason = "" };
	cleanup_json json_t *doc = NULL;
	struct err e = ERR_INIT;
	int r;

	r = json_parse(f->body.data ?: "", f->body.len, &doc, &e);
	if (r == 0 && !is_asked_for(f, doc))
		r = err_set(&e, -EBADMSG, "it is another object");
	if (r == 0) {
		r = decode(f, doc, &secret, &issue);
		if (r < 0)
			err_set(&e, r, "%s: %s", issue.path, issue.reason);
	}
	if (r < 0) {
		err_wrap(&e, r, "the server's answer");
		/* -EINVAL would say that whoever asks has asked wrongly */
		tell_failed(f, r == -EINVAL ? -EBADMSG : r, false, err_text(&e));
		return;
	}
	fetched.secret = secret;
	fetched.account = f->thing == SOURCE_ACCOUNT ? doc : NULL;
	tell(f, &fetched);
}

/* ---- once more ---- */

static bool may_pass(struct source_fetch *f, int status)
{
	if (status == STATUS_FORBIDDEN)
		return f->thing != SOURCE_ACCOUNT && ++f->n_forbidden < FORBIDDEN_TRIES;
	return status == STATUS_UNAUTHORISED || status == STATUS_TOO_MANY || status >= STATUS_SERVER_ERROR;
}

/* false: there is no time left for it. */
static bool try_again(struct source_fetch *f, int64_t retry_after_sec)
{
	uint64_t now = loop_now(f->source->loop), delay = backoff_next(&f->backoff, now, random01());

	if (retry_after_sec > 0)
		delay = MAX(delay, (uint64_t)MIN(retry_after_sec, INT64_C(3600)) * USEC_PER_SEC);
	return now + delay < f->end_usec && loop_timer_set(f->timer, delay) == 0;
}

static void refused(struct source_fetch *f, const struct http_result *result)
{
	struct api_failure failure;

	api_failure_from_body(result->status, f->body.data ?: "", f->body.len, &failure);
	if (result->status == STATUS_NOT_FOUND && str_eq(failure.reason, "NotFound")) {
		tell_absent(f);
		return;
	}
	if (result->status == STATUS_UNAUTHORISED)
		(void)credentials_doubt(f->source->credentials);
	if (may_pass(f, result->status) && try_again(f, MAX(result->retry_after_sec, failure.retry_after_sec)))
		return;
	tell_failed(f, result->status == STATUS_FORBIDDEN ? -EACCES : -EREMOTEIO,
		    result->status == STATUS_TOO_MANY || result->status >= STATUS_SERVER_ERROR, err_text(&failure.err));
}

static void on_head(void *userdata, int status)
{
	struct source_fetch *f = userdata;

	f->status = status;
	f->source->last_contact_usec = clock_realtime_usec();
	api_answered(f->source, status);
}

static void on_done(void *userdata, const struct http_result *result)
{
	struct source_fetch *f = userdata;

	f->request = NULL;
	/* the client itself has given it up, after a sleep */
	if (result->err.code == -ECONNABORTED && try_again(f, -1))
		return;
	if (result->err.code != 0)
		tell_failed(f, result->err.code, http_is_silence(result->err.code), err_text(&result->err));
	else if (result->status == STATUS_OK && f->too_long)
		tell_failed(f, -EFBIG, false, "the server's answer is too long");
	else if (result->status == STATUS_OK)
		take_answer(f);
	else
		refused(f, result);
}

static void on_body(void *userdata, const char *data, size_t len)
{
	struct source_fetch *f = userdata;

	if (buf_add(&f->body, data, len) == 0)
		return;
	/* maybe without an end */
	f->too_long = true;
	http_cancel(TAKE_PTR(f->request));
	on_done(f, &(struct http_result){ .status = f->status, .retry_after_sec = -1 });
}

/* ---- requests ---- */

static int send_request(struct source_fetch *f, uint64_t now)
{
	static const struct http_callbacks callbacks = { .head = on_head, .body = on_body, .done = on_done };
	const struct http_get get = { .target = f->target, .timeout_usec = f->end_usec - now };
	int r;

	buf_clear(&f->body);
	f->too_long = false;
	/* the client's time begins when it has a connection for it, or may make one */
	r = loop_timer_set(f->timer, get.timeout_usec);
	return r < 0 ? r : http_get(f->source->http, &get, &callbacks, f, &f->request);
}

static void on_time(struct loop_source *source, void *userdata)
{
	struct source_fetch *f = userdata;
	uint64_t now = loop_now(f->source->loop), delay;
	int r;

	if (f->request) {
		tell_failed(f, -ETIMEDOUT, true, "timed out");
		return;
	}
	delay = f->admitted ? 0 : server_admit_prompt(&f->source->server, now, f->end_usec - MIN(now, f->end_usec));
	f->admitted = delay > 0;
	if (delay > 0 && now + delay < f->end_usec && loop_timer_set(f->timer, delay) == 0)
		return;
	if (delay > 0 || now >= f->end_usec) {
		tell_failed(f, -EAGAIN, true, "too many requests wait for it (kubeAPIQPS)");
		return;
	}
	r = f->source->started ? send_request(f, now) : -EAGAIN;
	if (r < 0)
		tell_failed(f, r, r == -EAGAIN, r == -EAGAIN ? "it has not been asked yet" : strerror(-r));
}

static int make_target(struct source_fetch *f)
{
	static const struct api_resource resources[] = {
		[SOURCE_SECRET] = { .plural = "secrets", .kind = "Secret" },
		[SOURCE_CONFIG_MAP] = { .plural = "configmaps", .kind = "ConfigMap" },
		[SOURCE_ACCOUNT] = { .plural = "serviceaccounts", .kind = "ServiceAccount" },
	};
	struct api_resource resource = resources[f->thing];

	resource.ns = f->ns;
	resource.field_value = f->name;
	return api_object_target(&resource, NULL, &f->target);
}

int api_fetch(struct source *source, enum source_thing thing, const char *ns, const char *name, source_fetched_fn fn,
	      void *userdata, struct source_fetch **ret_f)
{
	struct source_api *s = api_of(source);
	cleanup(fetch_freep) struct source_fetch *f = NULL;
	int r;

	if (!str_is_dns_label(ns) || !str_is_dns_subdomain(name))
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	list_init(&f->link);
	f->source = s;
	f->thing = thing;
	f->fn = fn;
	f->userdata = userdata;
	f->body = BUF_INIT(BODY_MAX);
	f->backoff = BACKOFF_INIT(&BACKOFF_FRESH);
	f->end_usec = loop_now(s->loop) + SOURCE_FETCH_USEC;
	f->ns = strdup(ns);
	f->name = strdup(name);
	r = f->ns && f->name ? make_target(f) : -ENOMEM;
	if (r == 0)
		r = loop_add_timer(s->loop, on_time, f, &f->timer);
	if (r == 0)
		r = loop_timer_set(f->timer, 0);
	if (r < 0)
		return r;
	list_append(&s->fetches, &f->link);
	*ret_f = TAKE_PTR(f);
	return 0;
}

void api_unfetch(struct source *source, struct source_fetch *f)
{
	fetch_free(f);
}

void api_fetches_deinit(struct source_api *s)
{
	struct source_fetch *f;

	while ((f = list_first(&s->fetches, struct source_fetch, link)))
		fetch_free(f);
}
