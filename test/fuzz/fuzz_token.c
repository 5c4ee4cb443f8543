/* Token: a JSON text that is taken for the answer to a TokenRequest, and for a Pod whose tokens are asked for. What was accepted is one
 * value of sane times, and is asked for again neither in a hurry nor never; a token's name says all that it is asked for with. */
#include "test/fuzz/fuzz.h"

#include "agent/codec.h"
#include "agent/token.h"
#include "common/clock.h"
#include "common/str.h"

enum { SECMEM_BYTES = 16 << 20, TIME_MAX = 40, SOONEST_SEC = 5, LATEST_SEC = 24 * 3600 };

/* By clocks that are right, behind, ahead and at their ends. */
static void check_times(uint64_t expires_usec, int64_t expiration_sec)
{
	static const uint64_t clocks_sec[] = { 0, 1, 1795669200, UINT64_C(253402300800) };

	for (size_t i = 0; i < ARRAY_SIZE(clocks_sec); i++)
		for (size_t j = 0; j < ARRAY_SIZE(clocks_sec); j++) {
			const struct token_times now = { .realtime_usec = clocks_sec[i] * USEC_PER_SEC,
							 .boottime_usec = clocks_sec[j] * USEC_PER_SEC };
			struct token_times t = token_refresh_times(expires_usec, expiration_sec, 0.5, &now);
			uint64_t until = token_until_due(&t, &now);

			FUZZ_CHECK(until >= SOONEST_SEC * USEC_PER_SEC && until <= LATEST_SEC * USEC_PER_SEC);
		}
}

static void check_token(const json_t *doc, const struct secret *s)
{
	const char *token = json_string_value(json_object_get(json_object_get(doc, "status"), "token"));
	const struct secspan *value = &s->keys[0].value;

	FUZZ_CHECK(s->kind == OBJECT_TOKEN && str_eq(s->ns, "ns") && str_eq(s->name, "name"));
	FUZZ_CHECK(s->n_keys == 1 && str_eq(s->keys[0].name, TOKEN_KEY));
	FUZZ_CHECK(value->len > 0 && value->off + value->len <= s->block->len);
	FUZZ_CHECK(value->len == strlen(token) && memcmp(secspan_data(value), token, value->len) == 0);
	FUZZ_CHECK(strlen(s->resource_version) <= TIME_MAX);
}

static void try_answer(const json_t *doc)
{
	cleanup_secret_object struct secret *s = NULL;
	struct json_issue issue = { .reason = "" };
	uint64_t expires_usec = 1;
	int64_t expiration_sec = 1;
	int r = token_from_answer(doc, "ns", "name", &s, &expires_usec, &expiration_sec, &issue);

	FUZZ_CHECK(r == 0 || r == -EINVAL || r == -ENOMEM);
	FUZZ_CHECK((r == 0) == (s != NULL));
	if (r < 0) {
		FUZZ_CHECK(*issue.path && *issue.reason && expires_usec == 1 && expiration_sec == 1);
		return;
	}
	check_token(doc, s);
	check_times(expires_usec, expiration_sec);
}

static void check_request(const struct token_parts *p)
{
	cleanup_free char *target = NULL, *body = NULL;
	cleanup_json json_t *doc = NULL;
	const json_t *spec, *pod;

	FUZZ_CHECK(token_request("ns", p, &target, &body) == 0);
	FUZZ_CHECK(json_parse(body, strlen(body), &doc, NULL) == 0);
	spec = json_object_get(doc, "spec");
	pod = json_object_get(spec, "boundObjectRef");
	FUZZ_CHECK(str_eq(json_string_value(json_object_get(pod, "name")), p->pod));
	FUZZ_CHECK(str_eq(json_string_value(json_object_get(pod, "uid")), p->uid));
	FUZZ_CHECK(json_integer_value(json_object_get(spec, "expirationSeconds")) == p->expiration_sec);
	FUZZ_CHECK(str_eq(json_string_value(json_array_get(json_object_get(spec, "audiences"), 0)) ?: "", p->audience));
}

static void try_source(const struct pod *pod, const struct pod_volume_source *source)
{
	cleanup_free char *name = token_name(pod, source);
	char room[TOKEN_NAME_MAX];
	struct token_parts p;

	FUZZ_CHECK(name != NULL);
	/* of another account nothing is asked for */
	if (!str_is_dns_subdomain(pod->service_account))
		return;
	FUZZ_CHECK(token_parse_name(name, room, &p) == 0);
	FUZZ_CHECK(str_eq(p.account, pod->service_account) && str_eq(p.pod, pod->name) && str_eq(p.uid, pod->uid));
	FUZZ_CHECK(p.expiration_sec == source->expiration_sec && str_eq(p.audience, source->audience ?: ""));
	check_request(&p);
}

static void try_pod(const json_t *doc)
{
	cleanup_pod struct pod *pod = NULL;

	if (codec_pod(doc, &pod, NULL) < 0)
		return;
	for (size_t i = 0; i < pod->n_volumes; i++)
		for (size_t j = 0; j < pod->volumes[i].n_sources; j++)
			if (pod->volumes[i].sources[j].kind == POD_SOURCE_TOKEN)
				try_source(pod, &pod->volumes[i].sources[j]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_set_up;
	cleanup_json json_t *doc = NULL;

	if (!is_set_up) {
		json_setup();
		FUZZ_CHECK(secmem_init(SECMEM_BYTES, NULL) == 0);
		is_set_up = true;
	}
	if (json_parse((const char *)data, size, &doc, NULL) < 0)
		return 0;
	try_answer(doc);
	try_pod(doc);
	FUZZ_CHECK(secmem_stats().n_blocks == 0);
	return 0;
}
