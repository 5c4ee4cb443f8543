/* Reflector: a server that answers anything, in pieces, at any moment, to lists, streams and watches. It keeps to its
 * environment's contract, hands on only objects of what was asked for, and is never stuck: while it is not stopped, a
 * request runs or it will be woken. */
#include "test/fuzz/fuzz.h"

#include "agent/codec.h"
#include "agent/reflector.h"
#include "common/str.h"

enum { COMMANDS_MAX = 200 };

struct world {
	struct reflector *r;
	struct server server;
	uint64_t now, delay;
	int status;
	bool runs, by_name, lists;
	uint8_t random;
};

static uint64_t env_now(void *userdata)
{
	return ((struct world *)userdata)->now;
}

static double env_random01(void *userdata)
{
	return ((struct world *)userdata)->random / 256.0;
}

static int env_get(void *userdata, const struct reflector_get *get)
{
	struct world *w = userdata;

	FUZZ_CHECK(!w->runs && str_starts(get->target, "/api/v1/"));
	for (const char *c = get->target; *c; c++)
		FUZZ_CHECK(*c > 0x20 && *c < 0x7f);
	w->runs = true;
	w->status = 0;
	return 0;
}

static void env_cancel(void *userdata)
{
	struct world *w = userdata;

	FUZZ_CHECK(w->runs);
	w->runs = false;
}

static void env_wake_after(void *userdata, uint64_t delay_usec)
{
	((struct world *)userdata)->delay = delay_usec + 1;
}

static void env_wake_off(void *userdata)
{
	((struct world *)userdata)->delay = 0;
}

static void env_went_back(void *userdata)
{
}

static void on_list_begin(void *userdata)
{
	((struct world *)userdata)->lists = true;
}

static void on_object(void *userdata, enum reflector_event event, const json_t *obj)
{
	const json_t *meta = json_object_get(obj, "metadata");
	struct world *w = userdata;

	FUZZ_CHECK(json_is_object(obj));
	FUZZ_CHECK(event != REFLECTOR_LISTED || w->lists);
	FUZZ_CHECK(!w->by_name || str_eq(json_string_value(json_object_get(meta, "name")), "db"));
	FUZZ_CHECK(!w->by_name || str_eq(json_string_value(json_object_get(meta, "namespace")), "default"));
}

static void on_list_end(void *userdata)
{
	struct world *w = userdata;

	FUZZ_CHECK(w->lists);
	w->lists = false;
}

static void on_failed(void *userdata, const struct err *e, int status)
{
	FUZZ_CHECK(*err_text(e));
}

static void on_recovered(void *userdata)
{
}

static const struct reflector_env ENV = {
	.now = env_now,
	.random01 = env_random01,
	.get = env_get,
	.cancel = env_cancel,
	.wake_after = env_wake_after,
	.wake_off = env_wake_off,
	.went_back = env_went_back,
};
static const struct reflector_handler HANDLER = {
	.list_begin = on_list_begin,
	.object = on_object,
	.list_end = on_list_end,
	.failed = on_failed,
	.recovered = on_recovered,
};
static const struct api_resource ONE = { .plural = "secrets",
					 .kind = "Secret",
					 .list_kind = "SecretList",
					 .ns = "default",
					 .field = "metadata.name",
					 .field_value = "db" },
				 ALL = { .plural = "secrets", .kind = "Secret", .list_kind = "SecretList" };

static void head(struct world *w, int status)
{
	if (!w->runs || w->status != 0)
		return;
	w->status = status;
	reflector_head(w->r, status);
}

static void body(struct world *w, struct fuzz_input piece)
{
	cleanup_free char *exact = NULL;

	if (!w->runs || w->status == 0 || piece.len == 0)
		return;
	exact = fuzz_text(piece);
	reflector_body(w->r, exact, piece.len);
}

static void done(struct world *w, bool good, uint8_t detail)
{
	static const int codes[] = { -ECONNREFUSED, -ETIMEDOUT, -ECONNRESET, -ECONNABORTED };
	struct http_result result = { .status = w->status, .retry_after_sec = detail % 4 ? -1 : detail };

	if (!w->runs)
		return;
	if (!good || w->status == 0)
		err_set(&result.err, codes[detail % ARRAY_SIZE(codes)], "the server is gone");
	w->runs = false;
	reflector_done(w->r, &result);
}

static void wake(struct world *w)
{
	if (w->delay == 0)
		return;
	w->now += w->delay;
	w->delay = 0;
	reflector_wake(w->r);
}

static void command(struct world *w, struct fuzz_input *in)
{
	static const int statuses[] = { 200, 400, 401, 403, 404, 410, 429, 500, 504, 302 };
	uint8_t c = fuzz_u8(in);
	size_t len;

	w->now += c >> 4 << 18;
	switch (c & 7) {
	case 0:
		head(w, 200);
		break;
	case 1:
		head(w, statuses[fuzz_u8(in) % ARRAY_SIZE(statuses)]);
		break;
	case 2:
		body(w, fuzz_take(in, fuzz_u8(in)));
		break;
	case 3:
		len = fuzz_u8(in);
		body(w, fuzz_take(in, len << 8 | fuzz_u8(in)));
		break;
	case 4:
		done(w, true, fuzz_u8(in));
		break;
	case 5:
		done(w, false, fuzz_u8(in));
		break;
	case 6:
		wake(w);
		break;
	default:
		reflector_refresh(w->r);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };
	uint8_t flags = fuzz_u8(&in);
	struct world w = { .server = SERVER_INIT, .now = USEC_PER_SEC, .by_name = flags & 1 };

	json_setup();
	w.random = flags;
	w.server.stream = flags & 2 ? SERVER_STREAM_UNKNOWN : SERVER_STREAM_REFUSED;
	w.server.refused_usec = w.now;
	FUZZ_CHECK(reflector_new(w.by_name ? &ONE : &ALL, &w.server, &ENV, &HANDLER, &w, &w.r) == 0);
	if (flags & 4)
		reflector_be_sentinel(w.r);
	reflector_start(w.r);
	for (int i = 0; i < COMMANDS_MAX && in.len > 0; i++) {
		command(&w, &in);
		FUZZ_CHECK(w.runs || w.delay > 0);
	}
	reflector_free(w.r);
	FUZZ_CHECK(!w.runs);
	return 0;
}
