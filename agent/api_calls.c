/* API calls: the labels are client-go's (verb, code "<error>"), the values few. */
#include "agent/api_calls.h"

#include "common/str.h"

static const char *const verbs[API_VERBS_N] = {
	[API_GET] = "GET", [API_LIST] = "LIST", [API_WATCH] = "WATCH", [API_POST] = "POST", [API_PATCH] = "PATCH",
};

static const char *const kinds[API_KINDS_N] = {
	[API_PODS] = "pods",
	[API_SECRETS] = "secrets",
	[API_CONFIG_MAPS] = "configmaps",
	[API_NODES] = "nodes",
	[API_ACCOUNTS] = "serviceaccounts",
	[API_TOKENS] = "serviceaccounts/token",
	[API_EVENTS] = "events",
	[API_HEALTH] = "livez",
	[API_OTHER] = "other",
};

/* The last ones are classes: what is in none of the others. */
static const struct {
	int status;
	const char *name;
} codes[API_CODES_N] = {
	{ 0, "<error>" }, { 200, "200" }, { 201, "201" }, { 202, "202" }, { 400, "400" }, { 401, "401" },
	{ 403, "403" },	  { 404, "404" }, { 409, "409" }, { 410, "410" }, { 413, "413" }, { 415, "415" },
	{ 422, "422" },	  { 429, "429" }, { 500, "500" }, { 502, "502" }, { 503, "503" }, { 504, "504" },
	{ -1, "1xx" },	  { -2, "2xx" },  { -3, "3xx" },  { -4, "4xx" },  { -5, "5xx" },  { -6, "other" },
};

/* The part of the path that begins at s. */
static size_t part_len(const char *s)
{
	return strcspn(s, "/?");
}

static bool part_is(const char *s, const char *word)
{
	return part_len(s) == strlen(word) && strncmp(s, word, strlen(word)) == 0;
}

/* Behind the next slash; NULL: there is none. */
static const char *next_part(const char *s)
{
	s += part_len(s);
	return *s == '/' ? s + 1 : NULL;
}

static enum api_kind kind_of(const char *s)
{
	for (enum api_kind kind = 0; kind < API_KINDS_N; kind++)
		if (part_is(s, kinds[kind]))
			return kind;
	return API_OTHER;
}

/* "pods/NAME?..." of "/api/v1/namespaces/NS/pods/NAME?..." or of "/apis/GROUP/VERSION/..." */
static const char *resource_of(const char *target)
{
	const char *s = *target == '/' ? target + 1 : target;

	if (part_is(s, "apis"))
		s = next_part(s);
	else if (!part_is(s, "api"))
		return s;
	s = s ? next_part(s) : NULL;
	s = s ? next_part(s) : NULL;
	if (s && part_is(s, "namespaces")) {
		s = next_part(s);
		s = s ? next_part(s) : NULL;
	}
	return s;
}

struct api_call api_call_of(const char *method, const char *target, bool watch)
{
	const char *s = resource_of(target), *name = s ? next_part(s) : NULL, *sub = name ? next_part(name) : NULL;
	struct api_call call = { .verb = watch ? API_WATCH : name ? API_GET : API_LIST, .kind = API_OTHER };

	if (s)
		call.kind = kind_of(s);
	if (call.kind == API_ACCOUNTS && sub && part_is(sub, "token"))
		call.kind = API_TOKENS;
	if (call.kind == API_HEALTH || call.kind == API_OTHER)
		call.verb = API_GET;
	if (method && str_eq(method, "POST"))
		call.verb = API_POST;
	else if (method && str_eq(method, "PATCH"))
		call.verb = API_PATCH;
	return call;
}

static size_t code_of(int status)
{
	size_t i = 0;

	if (status != 0 && (status < 100 || status >= 600))
		return API_CODES_N - 1;
	while (codes[i].status != status && codes[i].status != -(status / 100))
		i++;
	return i;
}

void api_calls_count(struct api_calls *c, struct api_call call, int status)
{
	c->n[call.verb][call.kind][code_of(status)]++;
}

const char *api_verb_name(enum api_verb verb)
{
	return verbs[verb];
}

const char *api_kind_name(enum api_kind kind)
{
	return kinds[kind];
}

const char *api_code_name(size_t code)
{
	return codes[code].name;
}
