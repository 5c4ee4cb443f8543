/* Origins: one piece of memory for all texts. The note has what it takes to make the same again: a head, the nodes, and the
 * texts, of each object three, each with its NUL. */
#include "fusefs/origins.h"

#define TEXTS	  3 /* of an object */
#define COUNT_MAX 65536

struct origins {
	size_t refs;
	struct arena *arena;
	struct arena_note *note; /* NULL: not kept */
	struct digest digest;
	uint64_t updated_usec;
	size_t n, text_len;
	const char *text; /* behind `all` */
	struct origin all[];
};

struct wire {
	struct digest digest;
	uint32_t n, n_nodes;
};
static_assert(sizeof(struct wire) % sizeof(uint64_t) == 0, "the nodes behind it are aligned");

/* --- in memory --- */

/* The n objects whose texts follow each other in `text`, which is copied. */
static int origins_make(size_t n, const char *text, size_t len, struct origins **ret_o)
{
	struct origins *o = calloc(1, sizeof *o + n * sizeof o->all[0] + len + 1);
	char *at;

	if (!o)
		return -ENOMEM;
	at = (char *)&o->all[n];
	if (len > 0)
		memcpy(at, text, len);
	o->refs = 1;
	o->text = at;
	o->text_len = len;
	o->n = n;
	for (size_t i = 0; i < n; i++) {
		const char **texts[TEXTS] = { &o->all[i].object, &o->all[i].uid, &o->all[i].resource_version };

		for (size_t j = 0; j < TEXTS; j++) {
			*texts[j] = at;
			at += strlen(at) + 1;
		}
	}
	*ret_o = o;
	return 0;
}

int origins_new(const struct origin *all, size_t n, const struct digest *digest, uint64_t updated_usec,
		struct origins **ret_o)
{
	cleanup_free char *text = NULL;
	size_t len = 0, at = 0;
	int r;

	for (size_t i = 0; i < n; i++)
		len += strlen(all[i].object) + strlen(all[i].uid) + strlen(all[i].resource_version) + TEXTS;
	if (n > COUNT_MAX || len > ORIGINS_TEXT_MAX)
		n = len = 0;
	text = malloc(len + 1);
	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const char *const texts[TEXTS] = { all[i].object, all[i].uid, all[i].resource_version };

		for (size_t j = 0; j < TEXTS; j++) {
			memcpy(text + at, texts[j], strlen(texts[j]) + 1);
			at += strlen(texts[j]) + 1;
		}
	}
	r = origins_make(n, text, len, ret_o);
	if (r < 0)
		return r;
	(*ret_o)->digest = *digest;
	(*ret_o)->updated_usec = updated_usec;
	return 0;
}

struct origins *origins_ref(struct origins *o)
{
	o->refs++;
	return o;
}

void origins_unref(struct origins *o)
{
	if (!o || --o->refs > 0)
		return;
	arena_note_remove(o->arena, o->note);
	free(o);
}

size_t origins_count(const struct origins *o)
{
	return o->n;
}

const struct origin *origins_at(const struct origins *o, size_t i)
{
	return i < o->n ? &o->all[i] : NULL;
}

const struct digest *origins_digest(const struct origins *o)
{
	return &o->digest;
}

void origins_forget_digest(struct origins *o)
{
	assert(!o->note);
	o->digest = (struct digest){ { 0 } };
}

uint64_t origins_updated(const struct origins *o)
{
	return o->updated_usec;
}

void origins_set_updated(struct origins *o, uint64_t realtime_usec)
{
	o->updated_usec = realtime_usec;
	if (o->note)
		arena_note_set_word(o->note, realtime_usec);
}

/* --- in the arena --- */

int origins_keep(struct origins *o, struct arena *a, const struct origins_node *nodes, size_t n)
{
	struct wire wire = { .digest = o->digest, .n = (uint32_t)o->n, .n_nodes = (uint32_t)n };
	const struct arena_piece pieces[] = { { &wire, sizeof wire },
					      { nodes, n * sizeof *nodes },
					      { o->text, o->text_len } };
	int r;

	assert(!o->note);
	r = arena_note_add(a, pieces, ARRAY_SIZE(pieces), o->updated_usec, &o->note);
	if (r == 0)
		o->arena = a;
	return r;
}

void origins_leave(struct origins *o)
{
	o->note = NULL;
}

/* n texts of TEXTS strings each are all there is. */
static bool texts_are_good(const char *text, size_t len, size_t n)
{
	size_t strings = 0;

	for (size_t i = 0; i < len; i++)
		strings += text[i] == 0;
	return strings == n * TEXTS && (len == 0 || text[len - 1] == 0);
}

int origins_restore(struct arena *a, struct arena_note *note, struct origins **ret_o,
		    const struct origins_node **ret_nodes, size_t *ret_n)
{
	size_t len, nodes_len;
	const uint8_t *data = arena_note_data(note, &len);
	const struct wire *wire = (const void *)data;
	const char *text;
	int r;

	if (len < sizeof *wire || wire->n > COUNT_MAX)
		return -EBADMSG;
	len -= sizeof *wire;
	if (wire->n_nodes > len / sizeof(struct origins_node))
		return -EBADMSG;
	nodes_len = wire->n_nodes * sizeof(struct origins_node);
	text = (const char *)data + sizeof *wire + nodes_len;
	len -= nodes_len;
	if (len > ORIGINS_TEXT_MAX || !texts_are_good(text, len, wire->n))
		return -EBADMSG;
	r = origins_make(wire->n, text, len, ret_o);
	if (r < 0)
		return r;
	(*ret_o)->digest = wire->digest;
	(*ret_o)->updated_usec = arena_note_word(note);
	(*ret_o)->arena = a;
	(*ret_o)->note = note;
	*ret_nodes = (const void *)(data + sizeof *wire);
	*ret_n = wire->n_nodes;
	return 0;
}
