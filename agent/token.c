/* Token: the request is bound to the pod, so the token is worth nothing once the pod has gone. */
#include "agent/token.h"

#include <inttypes.h>
#include <time.h>

#include "common/str.h"

#define MAX_AGE_USEC	 (UINT64_C(24) * 3600 * USEC_PER_SEC)
#define MAX_JITTER_USEC	 (10 * USEC_PER_SEC)
#define REFRESH_MIN_USEC (5 * USEC_PER_SEC)

enum { TIME_TEXT_MAX = 40 }; /* with nanoseconds it has 30 */

/* The audience comes last: it may have anything in it. */
char *token_name(const struct pod *pod, const struct pod_volume_source *source)
{
	return str_format("%s/%s/%s/%" PRIi64 "/%s", pod->service_account, pod->name, pod->uid, source->expiration_sec,
			  source->audience ?: "");
}

int token_parse_name(const char *name, char room[static TOKEN_NAME_MAX], struct token_parts *ret_p)
{
	const char *parts[5];
	size_t n = 0;
	uint64_t sec;
	char *p = room;

	if (strlen(name) >= TOKEN_NAME_MAX)
		return -EINVAL;
	memcpy(room, name, strlen(name) + 1);
	while (n < ARRAY_SIZE(parts) && p) {
		char *slash = n < ARRAY_SIZE(parts) - 1 ? strchr(p, '/') : NULL;

		parts[n++] = p;
		if (slash)
			*slash = '\0';
		p = slash ? slash + 1 : NULL;
	}
	if (n < ARRAY_SIZE(parts) || str_parse_u64(parts[3], INT64_MAX, &sec) < 0)
		return -EINVAL;
	*ret_p = (struct token_parts){ parts[0], parts[1], parts[2], (int64_t)sec, parts[4] };
	return 0;
}

int token_request(const char *ns, const struct token_parts *p, char **ret_target, char **ret_body)
{
	cleanup_free char *target = str_format("/api/v1/namespaces/%s/serviceaccounts/%s/token", ns, p->account);
	cleanup_json json_t *doc = json_pack("{s:s, s:s, s:{s:[], s:I, s:{s:s, s:s, s:s, s:s}}}", "apiVersion",
					     "authentication.k8s.io/v1", "kind", "TokenRequest", "spec", "audiences",
					     "expirationSeconds", (json_int_t)p->expiration_sec, "boundObjectRef",
					     "apiVersion", "v1", "kind", "Pod", "name", p->pod, "uid", p->uid);
	json_t *audiences = json_object_get(json_object_get(doc, "spec"), "audiences");
	cleanup_free char *body = NULL;

	if (!target || !doc || (*p->audience && json_array_append_new(audiences, json_string(p->audience)) < 0))
		return -ENOMEM;
	body = json_dumps(doc, JSON_COMPACT);
	if (!body)
		return -ENOMEM;
	*ret_target = TAKE_PTR(target);
	*ret_body = TAKE_PTR(body);
	return 0;
}

/* "2026-11-26T05:00:00Z" */
static int parse_time(const char *text, uint64_t *ret_usec)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	time_t t = end && strlen(text) <= TIME_TEXT_MAX ? timegm(&tm) : -1;

	/* Go writes fractions only where there are some */
	if (end && *end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	if (t < 0 || !str_eq(end, "Z"))
		return -EINVAL;
	*ret_usec = (uint64_t)t * USEC_PER_SEC;
	return 0;
}

static int make_secret(const char *ns, const char *name, const char *token, const char *expires, struct secret **ret_s,
		       struct err *e)
{
	cleanup_secret_object struct secret *s = NULL;
	size_t len = strlen(token);
	int r;

	r = secret_new(&s);
	if (r < 0)
		return r;
	s->kind = OBJECT_TOKEN;
	s->ns = strdup(ns);
	s->name = strdup(name);
	s->resource_version = strdup(expires);
	s->keys = calloc(1, sizeof(*s->keys));
	if (!s->ns || !s->name || !s->resource_version || !s->keys)
		return -ENOMEM;
	r = secblock_new(len, &s->block, e);
	if (r < 0)
		return r;
	memcpy(s->block->data, token, len);
	s->n_keys = 1;
	s->keys[0].value = (struct secspan){ .block = s->block, .len = len };
	s->keys[0].digest = digest_of(token, len);
	s->keys[0].name = strdup(TOKEN_KEY);
	if (!s->keys[0].name)
		return -ENOMEM;
	*ret_s = TAKE_PTR(s);
	return 0;
}

int token_from_answer(const json_t *answer, const char *ns, const char *name, struct secret **ret_s,
		      uint64_t *ret_expires_usec, int64_t *ret_expiration_sec, struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, status_at = JSON_AT(&root, "status"), spec_at = JSON_AT(&root, "spec");
	const json_t *status = NULL, *spec = NULL;
	const char *token = NULL, *expires = NULL;
	int64_t sec = 0;
	struct err e = ERR_INIT;
	uint64_t usec;
	int r;

	r = json_get_object(answer, "status", &root, &status, issue);
	if (r < 0)
		return r;
	r = json_get_object(answer, "spec", &root, &spec, issue);
	if (r < 0)
		return r;
	r = json_get_str_required(status, "token", &status_at, &token, issue);
	if (r < 0)
		return r;
	if (!*token)
		return json_issue_set(issue, &JSON_AT(&status_at, "token"), "must not be empty");
	r = json_get_str_required(status, "expirationTimestamp", &status_at, &expires, issue);
	if (r < 0)
		return r;
	if (parse_time(expires, &usec) < 0)
		return json_issue_set(issue, &JSON_AT(&status_at, "expirationTimestamp"), "is no time");
	r = json_get_int(spec, "expirationSeconds", &spec_at, 1, INT64_C(1) << 32, &sec, issue);
	if (r < 0)
		return r;
	r = make_secret(ns, name, token, expires, ret_s, &e);
	if (r < 0) {
		json_issue_set(issue, &status_at, "%s", e.code ? err_text(&e) : "out of memory");
		return r;
	}
	*ret_expires_usec = usec;
	*ret_expiration_sec = sec;
	return 0;
}

uint64_t token_refresh_usec(uint64_t expires_usec, int64_t expiration_sec, double random01)
{
	uint64_t lifetime = (uint64_t)expiration_sec * USEC_PER_SEC;
	uint64_t jitter = (uint64_t)(random01 * (double)MAX_JITTER_USEC);
	uint64_t issued = expires_usec > lifetime ? expires_usec - lifetime : 0;
	uint64_t by_age = issued + MAX_AGE_USEC - jitter;
	uint64_t by_life = issued + lifetime / 5 * 4;

	by_life -= MIN(by_life, jitter);
	return MIN(by_age, by_life);
}

/* A clock by which it is to be refreshed as soon as it has come is another than the server's, and says nothing. */
struct token_times token_refresh_times(uint64_t expires_usec, int64_t expiration_sec, double random01,
				       const struct token_times *now)
{
	uint64_t lifetime = (uint64_t)expiration_sec * USEC_PER_SEC;
	uint64_t realtime = token_refresh_usec(expires_usec, expiration_sec, random01);
	uint64_t boottime = token_refresh_usec(now->boottime_usec + lifetime, expiration_sec, random01);

	if (realtime <= now->realtime_usec)
		realtime = UINT64_MAX;
	realtime = MAX(realtime, now->realtime_usec + REFRESH_MIN_USEC);
	boottime = MAX(boottime, now->boottime_usec + REFRESH_MIN_USEC);
	return (struct token_times){ .realtime_usec = realtime, .boottime_usec = boottime };
}

uint64_t token_until_due(const struct token_times *refresh, const struct token_times *now)
{
	if (now->realtime_usec >= refresh->realtime_usec || now->boottime_usec >= refresh->boottime_usec)
		return 0;
	return MIN(refresh->realtime_usec - now->realtime_usec, refresh->boottime_usec - now->boottime_usec);
}
