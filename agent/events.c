/* Events: two things are kept apart. A trouble is a state: for each volume that is in one there is when it is due to be
 * told, and its words are asked for at that moment; so it is never told late, twice in a row, or when it is over, and
 * needs no queue. What happens once (a rotation, another mistake in a pod's annotations) is a notice: it is queued.
 *
 * What is to be told goes through the same three stages as client-go's (tools/record/events_cache.go), with its numbers:
 *
 *   combine    the tenth message of one pod and kind within ten minutes, and each further one that is new, becomes one event
 *              "(combined from similar events): ..." for all of them
 *   count      the same message again is no new object but a higher count
 *   hold back  25 of a pod, and then one in five minutes
 *
 * It differs in two ways. Each kind is held back by itself, so that a Secret that rotates all the time does not hide a
 * failure. And the object's name is made from what it says and not from the time: an agent that has forgotten what its
 * predecessor told finds the object there and counts it on. */
#include "agent/events.h"

#include <inttypes.h>
#include <sodium.h>

#include "common/list.h"
#include "common/map.h"
#include "common/str.h"

enum {
	CACHE_MAX = 4096, /* pods, and messages, that are remembered */
	SIMILAR_MAX = 10,
	BURST_OF_A_POD = 25,
	NAME_MAX_LEN = 253, /* of an object */
	NAME_SUFFIX_LEN = 17,
};
static const uint64_t SIMILAR_USEC = 600 * USEC_PER_SEC;
static const uint64_t REFILL_OF_A_POD_USEC = 300 * USEC_PER_SEC;
static const char COMBINED[] = "(combined from similar events): ";

static const uint64_t HOLD_USEC[EVENT_DOUBTS_N] = {
	[EVENT_CERTAIN] = EVENTS_CERTAIN_USEC,
	[EVENT_WAITING] = EVENTS_WAITING_USEC,
	[EVENT_STALE] = EVENTS_STALE_USEC,
	[EVENT_UNMOUNTED] = EVENTS_UNMOUNTED_USEC,
};

static const struct {
	const char *reason, *type;
} KINDS[EVENT_KINDS_N] = {
	[EVENT_FAILED_MOUNT] = { "FailedMount", "Warning" },
	[EVENT_SECRET_ROTATED] = { "SecretRotated", "Normal" },
	[EVENT_CONFIG_MAP_ROTATED] = { "ConfigMapRotated", "Normal" },
	[EVENT_INVALID_OPTION] = { "InvalidVolumeOption", "Warning" },
	[EVENT_NO_PULL_SECRET] = { "FailedToRetrieveImagePullSecret", "Warning" },
};

/* A volume that is in trouble, or a pod. */
struct trouble {
	char *key; /* "uid/volume", "uid/" */
	struct list ready_link; /* due */
	uint64_t generation; /* of the last look that had it */
	uint64_t text_hash; /* at that look */
	uint64_t due_usec, again_usec;
	bool resumed; /* not told yet by this agent */
};

/* The newest CACHE_MAX of what is remembered under a key. */
struct cache {
	struct map by_key;
	struct list used; /* the one that was used last at the end */
};
struct cached {
	struct event_key key;
	struct list used_link;
};

/* A pod, and what of one kind was told of it lately. */
struct subject {
	struct cached cached;
	uint64_t told_usec;
	uint64_t full_usec; /* when its bucket would be full again */
	uint64_t texts[SIMILAR_MAX - 1];
	size_t n_texts;
};

/* A message that was told. */
struct message {
	struct cached cached;
	unsigned count;
	uint64_t first_usec;
};

struct notice {
	struct list link;
	struct event *event;
};

struct events {
	struct source_events tuning;
	events_find_fn find;
	void *userdata;
	bool resumes; /* until the first look is over */

	struct map troubles;
	struct list ready;
	uint64_t generation, due_usec;

	struct list notices;
	size_t n_notices;

	struct cache subjects, messages;

	uint64_t full_usec; /* the bucket of them all */
	uint64_t n_held_back, n_dropped;
};

/* ---- small things ---- */

/* FNV-1a: for telling whether a text has changed. */
static uint64_t hash_of(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return hash;
}

/* A bucket is the time at which it would be full again, as in server.c. Returns how long to wait; 0: one was taken. */
static uint64_t bucket_take(uint64_t *full_usec, uint64_t token_usec, unsigned burst, uint64_t now_usec)
{
	uint64_t full = MAX(*full_usec, now_usec) + token_usec, limit = now_usec + token_usec * MAX(burst, 1u);

	if (full > limit)
		return full - limit;
	*full_usec = full;
	return 0;
}

/* The same in every process: no seed. message NULL: of all messages of the pod and the kind. */
static struct event_key key_of(const struct event *e, const char *message)
{
	const char *const parts[] = { KINDS[e->kind].reason, e->ns, e->pod, e->uid, message };
	crypto_generichash_state state;
	struct event_key key;

	crypto_generichash_init(&state, NULL, 0, sizeof(key.bytes));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i])
			crypto_generichash_update(&state, (const unsigned char *)parts[i], strlen(parts[i]) + 1);
	crypto_generichash_final(&state, key.bytes, sizeof(key.bytes));
	return key;
}

/* ---- one event ---- */

const char *event_reason(const struct event *e)
{
	return KINDS[e->kind].reason;
}

const char *event_type(const struct event *e)
{
	return KINDS[e->kind].type;
}

void event_free(struct event *e)
{
	if (!e)
		return;
	free(e->ns);
	free(e->pod);
	free(e->uid);
	free(e->resource_version);
	free(e->volume);
	free(e->message);
	free(e->name);
	free(e);
}

/* At most so many bytes, and no half of a character. */
static void cut(char *text, size_t max)
{
	size_t len = strlen(text);

	if (len <= max)
		return;
	for (len = max; len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80; len--)
		;
	text[len] = '\0';
}

static int event_new(enum event_kind kind, const struct event_pod *pod, uint64_t realtime_usec, struct event **ret_e)
{
	cleanup_event struct event *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->kind = kind;
	e->ns = strdup(pod->ns);
	e->pod = strdup(pod->name);
	e->uid = strdup(pod->uid);
	e->resource_version = strdup(pod->resource_version ? pod->resource_version : "");
	e->first_usec = e->last_usec = realtime_usec;
	e->count = 1;
	if (!e->ns || !e->pod || !e->uid || !e->resource_version)
		return -ENOMEM;
	*ret_e = TAKE_PTR(e);
	return 0;
}

/* The pod's name in front, as the kubelet's events have it. */
static int event_name(struct event *e)
{
	size_t len = MIN(strlen(e->pod), (size_t)(NAME_MAX_LEN - NAME_SUFFIX_LEN));
	uint64_t number = 0;

	for (size_t i = 0; i < sizeof(number); i++)
		number = number << 8 | e->key.bytes[i];
	while (len > 0 && strchr(".-", e->pod[len - 1])) /* where it was cut */
		len--;
	e->name = str_format("%.*s.%016" PRIx64, (int)len, e->pod, number);
	return e->name ? 0 : -ENOMEM;
}

/* ---- what is remembered ---- */

static void cache_remove(struct cache *c, struct cached *old)
{
	map_remove(&c->by_key, &old->key, sizeof(old->key));
	list_remove(&old->used_link);
	free(old);
}

static void cache_deinit(struct cache *c)
{
	struct cached *old;

	while ((old = list_first(&c->used, struct cached, used_link)))
		cache_remove(c, old);
	map_deinit(&c->by_key);
}

/* What is under the key, or `size` zero bytes that begin with a struct cached. NULL: out of memory. */
static void *cache_get(struct cache *c, const struct event_key *key, size_t size)
{
	struct cached *it = map_get(&c->by_key, key, sizeof(*key));

	if (!it) {
		if (map_count(&c->by_key) >= CACHE_MAX)
			cache_remove(c, list_first(&c->used, struct cached, used_link));
		it = calloc(1, size);
		if (!it)
			return NULL;
		it->key = *key;
		list_init(&it->used_link);
		if (map_add(&c->by_key, &it->key, sizeof(it->key), it) < 0) {
			free(it);
			return NULL;
		}
	}
	list_remove(&it->used_link);
	list_append(&c->used, &it->used_link);
	return it;
}

static struct subject *find_subject(struct events *ev, const struct event_key *key)
{
	static_assert(offsetof(struct subject, cached) == 0, "as cache_get() has it");
	return cache_get(&ev->subjects, key, sizeof(struct subject));
}

static struct message *find_message(struct events *ev, const struct event_key *key)
{
	static_assert(offsetof(struct message, cached) == 0, "as cache_get() has it");
	return cache_get(&ev->messages, key, sizeof(struct message));
}

/* ---- the three stages ---- */

/* Whether so many different messages came that this one goes with the others. */
static bool is_similar(struct subject *s, uint64_t text_hash, uint64_t now_usec)
{
	if (now_usec - s->told_usec > SIMILAR_USEC)
		s->n_texts = 0;
	s->told_usec = now_usec;
	for (size_t i = 0; i < s->n_texts; i++)
		if (s->texts[i] == text_hash)
			return false;
	if (s->n_texts == ARRAY_SIZE(s->texts))
		return true;
	s->texts[s->n_texts++] = text_hash;
	return false;
}

static int combine(struct event *e)
{
	char *message = str_format("%s%s", COMBINED, e->message);

	if (!message)
		return -ENOMEM;
	free(e->message);
	e->message = message;
	e->combined = true;
	return 0;
}

/* Names and counts it. *ret_held: it is not to be sent. */
static int correlate(struct events *ev, struct event *e, uint64_t now_usec, bool *ret_held)
{
	const struct event_key subject_key = key_of(e, NULL);
	struct subject *s = find_subject(ev, &subject_key);
	struct message *m;
	int r;

	if (!s)
		return -ENOMEM;
	if (is_similar(s, hash_of(e->message), now_usec)) {
		r = combine(e);
		if (r < 0)
			return r;
	}
	cut(e->message, EVENTS_MESSAGE_MAX);
	e->key = e->combined ? subject_key : key_of(e, e->message);
	r = event_name(e);
	if (r < 0)
		return r;
	m = find_message(ev, &e->key);
	if (!m)
		return -ENOMEM;
	if (m->count == 0)
		m->first_usec = e->first_usec;
	e->first_usec = m->first_usec;
	e->count = ++m->count;
	*ret_held = bucket_take(&s->full_usec, REFILL_OF_A_POD_USEC, BURST_OF_A_POD, now_usec) > 0;
	ev->n_held_back += *ret_held;
	return 0;
}

/* ---- troubles ---- */

static char *trouble_key(const char *uid, const char *volume)
{
	return str_format("%s/%s", uid, volume);
}

static void trouble_free(struct trouble *t)
{
	list_remove(&t->ready_link);
	free(t->key);
	free(t);
}

static void forget_troubles(struct events *ev)
{
	struct trouble *t;

	for (size_t it = 0; (t = map_next(&ev->troubles, &it));) {
		map_remove_str(&ev->troubles, t->key);
		trouble_free(t);
	}
	ev->due_usec = USEC_INFINITY;
}

void events_look_begin(struct events *ev)
{
	ev->generation++;
}

/* The kubelet says it again each time that it has waited for so long. */
static uint64_t first_again(enum event_doubt doubt)
{
	return doubt == EVENT_UNMOUNTED ? EVENTS_UNMOUNTED_USEC : EVENTS_AGAIN_USEC;
}

/* take_key is its own. NULL: out of memory; it is looked at again. */
static struct trouble *add_trouble(struct events *ev, char *take_key, enum event_doubt doubt, uint64_t now_usec)
{
	struct trouble *t = calloc(1, sizeof(*t));

	if (!t) {
		free(take_key);
		return NULL;
	}
	t->key = take_key;
	list_init(&t->ready_link);
	t->due_usec = USEC_INFINITY;
	t->again_usec = first_again(doubt);
	t->resumed = ev->resumes;
	if (t->resumed) {
		t->due_usec = now_usec + MAX(EVENTS_RESUMED_USEC, HOLD_USEC[doubt]);
		t->again_usec = EVENTS_AGAIN_MAX_USEC;
	}
	if (map_add_str(&ev->troubles, t->key, t) < 0) {
		trouble_free(t);
		return NULL;
	}
	return t;
}

void events_look(struct events *ev, const struct event_trouble *what, uint64_t now_usec)
{
	uint64_t hash = hash_of(what->text);
	struct trouble *t;
	char *key;

	if (!ev->tuning.failures)
		return;
	key = trouble_key(what->pod.uid, what->volume);
	if (!key)
		return;
	t = map_get_str(&ev->troubles, key);
	if (t)
		free(key);
	else
		t = add_trouble(ev, key, what->doubt, now_usec);
	if (!t)
		return;
	t->generation = ev->generation;
	if (t->text_hash != hash && !t->resumed) {
		t->due_usec = MIN(t->due_usec, now_usec + HOLD_USEC[what->doubt]);
		t->again_usec = first_again(what->doubt);
	}
	t->text_hash = hash;
}

void events_look_end(struct events *ev, uint64_t now_usec)
{
	struct trouble *t;

	ev->due_usec = USEC_INFINITY;
	for (size_t it = 0; (t = map_next(&ev->troubles, &it));) {
		if (t->generation != ev->generation) {
			map_remove_str(&ev->troubles, t->key);
			trouble_free(t);
		} else if (t->due_usec <= now_usec && list_empty(&t->ready_link)) {
			list_append(&ev->ready, &t->ready_link);
		} else if (t->due_usec > now_usec) {
			ev->due_usec = MIN(ev->due_usec, t->due_usec);
		}
	}
	ev->resumes = false;
}

uint64_t events_due(const struct events *ev)
{
	return ev->due_usec;
}

static bool find_trouble(struct events *ev, const char *key, struct event_trouble *ret)
{
	const char *slash = strchr(key, '/');
	cleanup_free char *uid = strndup(key, (size_t)(slash - key));

	return uid && ev->find(ev->userdata, uid, slash + 1, ret);
}

static int failed_mount(const struct event_trouble *what, uint64_t realtime_usec, struct event **ret_e)
{
	cleanup_event struct event *e = NULL;
	int r;

	r = event_new(EVENT_FAILED_MOUNT, &what->pod, realtime_usec, &e);
	if (r < 0)
		return r;
	e->volume = strdup(what->volume);
	if (*what->volume)
		e->message = str_format("MountVolume.SetUp failed for volume \"%s\" : %s", what->volume, what->text);
	else
		e->message = str_format("Unable to attach or mount volumes: %s", what->text);
	if (!e->volume || !e->message)
		return -ENOMEM;
	e->text_hash = hash_of(what->text);
	*ret_e = TAKE_PTR(e);
	return 0;
}

static bool is_rotation(enum event_kind kind)
{
	return kind == EVENT_SECRET_ROTATED || kind == EVENT_CONFIG_MAP_ROTATED;
}

static bool is_wanted(const struct source_events *tuning, enum event_kind kind)
{
	return is_rotation(kind) ? tuning->rotations : tuning->failures;
}

/* -ENOENT: it is over. */
static int tell_trouble(struct events *ev, struct trouble *t, uint64_t now_usec, uint64_t realtime_usec,
			struct event **ret_e)
{
	struct event_trouble what;

	list_remove(&t->ready_link);
	t->due_usec = now_usec + t->again_usec;
	ev->due_usec = MIN(ev->due_usec, t->due_usec);
	if (!find_trouble(ev, t->key, &what))
		return -ENOENT;
	t->again_usec = MIN(2 * t->again_usec, EVENTS_AGAIN_MAX_USEC);
	t->text_hash = hash_of(what.text);
	t->resumed = false;
	return failed_mount(&what, realtime_usec, ret_e);
}

bool events_holds(struct events *ev, const struct event *e)
{
	struct event_trouble what;

	if (e->kind != EVENT_FAILED_MOUNT)
		return is_wanted(&ev->tuning, e->kind);
	return ev->tuning.failures && ev->find(ev->userdata, e->uid, e->volume, &what) &&
	       hash_of(what.text) == e->text_hash;
}

/* ---- notices ---- */

static struct event *take_notice(struct events *ev, struct notice *m)
{
	struct event *e = m->event;

	list_remove(&m->link);
	free(m);
	ev->n_notices--;
	return e;
}

/* NULL: there is none. */
static struct event *take_first(struct events *ev)
{
	struct notice *first = list_first(&ev->notices, struct notice, link);

	return first ? take_notice(ev, first) : NULL;
}

/* Those that are not wanted. */
static void forget_notices(struct events *ev, const struct source_events *wanted)
{
	struct notice *n;

	list_for_each (n, &ev->notices, link)
		if (!is_wanted(wanted, n->event->kind))
			event_free(take_notice(ev, n));
}

/* Who asks over and over has it told once: others are not to be dropped for that. Rotations are counted, each of them. */
static bool is_queued(const struct events *ev, enum event_kind kind, const struct event_pod *pod, const char *message)
{
	const struct notice *n;

	if (is_rotation(kind))
		return false;
	list_for_each (n, &ev->notices, link)
		if (n->event->kind == kind && str_eq(n->event->uid, pod->uid) && str_eq(n->event->message, message))
			return true;
	return false;
}

static int queue_notice(struct events *ev, enum event_kind kind, const struct event_pod *pod, const char *message,
			uint64_t realtime_usec)
{
	cleanup_event struct event *e = NULL;
	struct notice *m;
	int r;

	r = event_new(kind, pod, realtime_usec, &e);
	if (r < 0)
		return r;
	e->message = strdup(message);
	m = e->message ? calloc(1, sizeof(*m)) : NULL;
	if (!m)
		return -ENOMEM;
	m->event = TAKE_PTR(e);
	list_append(&ev->notices, &m->link);
	ev->n_notices++;
	return 0;
}

void events_notice(struct events *ev, enum event_kind kind, const struct event_pod *pod, const char *message,
		   uint64_t realtime_usec)
{
	if (!is_wanted(&ev->tuning, kind))
		return;
	/* one that an agent finds when it takes over has been told by the one before */
	if (kind == EVENT_INVALID_OPTION && ev->resumes)
		return;
	if (is_queued(ev, kind, pod, message))
		return;
	if (queue_notice(ev, kind, pod, message, realtime_usec) < 0)
		ev->n_dropped++;
	if (ev->n_notices <= EVENTS_QUEUE_MAX)
		return;
	event_free(take_first(ev));
	ev->n_dropped++;
}

/* ---- all of them ---- */

/* The next, whatever is said of it; a failure counts more than a notice. */
static int next_raw(struct events *ev, uint64_t now_usec, uint64_t realtime_usec, struct event **ret_e)
{
	struct trouble *t;
	int r;

	while ((t = list_first(&ev->ready, struct trouble, ready_link))) {
		r = tell_trouble(ev, t, now_usec, realtime_usec, ret_e);
		if (r != -ENOENT)
			return r;
	}
	*ret_e = take_first(ev);
	return *ret_e ? 0 : -ENOENT;
}

int events_next(struct events *ev, uint64_t now_usec, uint64_t realtime_usec, struct event **ret_e)
{
	bool held = true;
	int r;

	while (held) {
		cleanup_event struct event *e = NULL;

		r = next_raw(ev, now_usec, realtime_usec, &e);
		if (r == 0)
			r = correlate(ev, e, now_usec, &held);
		if (r < 0)
			return r;
		if (!held)
			*ret_e = TAKE_PTR(e);
	}
	return 0;
}

void events_counted(struct events *ev, const struct event *e, unsigned count)
{
	struct message *m = find_message(ev, &e->key);

	if (m)
		m->count = count;
}

uint64_t events_admit(struct events *ev, uint64_t now_usec)
{
	if (ev->tuning.qps == 0)
		return 0;
	return bucket_take(&ev->full_usec, USEC_PER_SEC / ev->tuning.qps, ev->tuning.burst, now_usec);
}

struct events_stats events_stats(const struct events *ev)
{
	const struct trouble *t;
	size_t n_volumes = 0;

	for (size_t it = 0; (t = map_next(&ev->troubles, &it));)
		n_volumes += t->key[strlen(t->key) - 1] != '/';
	return (struct events_stats){ .n_troubled = n_volumes,
				      .n_queued = ev->n_notices,
				      .n_held_back = ev->n_held_back,
				      .n_dropped = ev->n_dropped };
}

void events_tune(struct events *ev, const struct source_events *tuning)
{
	ev->tuning = *tuning;
	if (!tuning->failures)
		forget_troubles(ev);
	forget_notices(ev, tuning);
}

int events_new(const struct source_events *tuning, bool resumes, events_find_fn find, void *userdata,
	       struct events **ret_ev)
{
	struct events *ev = calloc(1, sizeof(*ev));

	if (!ev)
		return -ENOMEM;
	ev->tuning = *tuning;
	ev->resumes = resumes;
	ev->find = find;
	ev->userdata = userdata;
	ev->due_usec = USEC_INFINITY;
	list_init(&ev->ready);
	list_init(&ev->notices);
	list_init(&ev->subjects.used);
	list_init(&ev->messages.used);
	*ret_ev = ev;
	return 0;
}

void events_free(struct events *ev)
{
	if (!ev)
		return;
	forget_troubles(ev);
	forget_notices(ev, &(struct source_events){ .failures = false });
	map_deinit(&ev->troubles);
	cache_deinit(&ev->subjects);
	cache_deinit(&ev->messages);
	free(ev);
}
