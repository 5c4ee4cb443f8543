/* Arena: see arena.h for the picture. The order of stores is what makes it safe: a record is complete before the chain
 * leads to it, and the chain leads past it before it is wiped. A process that dies loses no store, so nothing but the
 * compiler has to be kept from changing their order. */
#include "fusefs/arena.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/map.h"

#define NAME_LEN_MAX 4096 /* of the three strings of a record each, with the NUL */
#define HEAP_MAX     SECMEM_LIMIT_MAX
#define RECORD_MAGIC UINT32_C(0x5ec2e7a1)
#define NOTE_MAGIC   UINT32_C(0x5ec207e5)
#define NOTE_MAX     (16u << 20)

static const uint8_t MAGIC[8] = "SecArena";

struct head {
	uint8_t magic[sizeof MAGIC];
	uint32_t version, head_size;
	uint64_t heap_size;
	uint8_t digest_key[DIGEST_KEY_LEN];
	uint64_t first; /* record; 0: none */
	uint64_t next_id, root_changed_usec;
	struct arena_connection connection;
	uint64_t first_note; /* offset; 0: none. An older binary leaves it as it is and wipes what it leads to */
	uint64_t sourceless_usec; /* an older binary leaves it as it is */
};
static_assert(sizeof(struct head) <= ARENA_HEAD_SIZE, "the head fits");
#define HEAD_DEVICE (offsetof(struct head, connection) + offsetof(struct arena_connection, device))
static_assert(HEAD_DEVICE == 96, "in every version at the same place");

struct arena_record {
	uint64_t next; /* offset; 0: the last one */
	uint64_t prev; /* only for the process that has written it: set by arena_keep() */
	uint64_t state; /* and, above STATE_BITS, a number */
	uint64_t n_lookup, changed_usec;
	struct digest check; /* of all that follows */

	uint32_t magic, size; /* with the strings */
	uint64_t id, parent_id;
	uint32_t kind, mode, uid, gid;
	uint64_t block, block_len, content_off, content_len; /* block: offset of a struct secblock; 0: none */
	struct digest digest;
	uint32_t name_len, final_len, target_len, reserved; /* with the NUL; 0: none */
	char strings[];
};
#define RECORD_CHECKED offsetof(struct arena_record, magic)
#define STATE_BITS     8
#define STATE_MASK     ((UINT64_C(1) << STATE_BITS) - 1)
#define NUMBER_MAX     (UINT64_MAX >> STATE_BITS)
#define STATE_ALL                                                                                                      \
	(ARENA_COMMITTED | ARENA_HIDDEN | ARENA_RETIRED | ARENA_RENAMED | ARENA_DETACHED | ARENA_FLUX | ARENA_MOVED)

struct arena_note {
	uint64_t next, prev; /* as of a record */
	uint64_t word;
	struct digest check; /* of all that follows */

	uint32_t magic, reserved;
	uint64_t len;
	uint8_t data[];
};
#define NOTE_CHECKED offsetof(struct arena_note, magic)
static_assert(offsetof(struct arena_note, data) % sizeof(uint64_t) == 0, "the data is aligned");

struct arena {
	struct head *head;
};

/* One word, seen after all that was written before. */
static void word_set(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static uint64_t word_get(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* --- the memory --- */

static int head_map(int fd, struct head **ret_head, struct err *e)
{
	struct head *h;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "state arena: %m");
	if (st.st_size < (off_t)ARENA_HEAD_SIZE)
		return err_set(e, -EBADMSG, "state arena: too short (%jd bytes)", (intmax_t)st.st_size);
	h = mmap(NULL, ARENA_HEAD_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (h == MAP_FAILED)
		return err_set(e, -errno, "state arena: %m");
	madvise(h, ARENA_HEAD_SIZE, MADV_DONTDUMP);
	*ret_head = h;
	return 0;
}

static int head_check(const struct head *h, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "state arena: %m");
	if (memcmp(h->magic, MAGIC, sizeof MAGIC) != 0)
		return err_set(e, -EBADMSG, "state arena: this is none");
	if (h->version != ARENA_VERSION)
		return err_set(e, -EPROTO, "state arena: version %" PRIu32 ", and this binary reads %d", h->version,
			       ARENA_VERSION);
	if (h->head_size != ARENA_HEAD_SIZE || h->heap_size == 0 || h->heap_size > HEAP_MAX ||
	    (uint64_t)st.st_size != ARENA_HEAD_SIZE + h->heap_size)
		return err_set(e, -EBADMSG, "state arena: its sizes do not fit together");
	return 0;
}

int arena_create(uint64_t heap_size, int *ret_fd, struct err *e)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	cleanup_fd int fd = -1;
	struct head *h;
	int r;

	if (heap_size == 0 || heap_size > HEAP_MAX || heap_size % page != 0)
		return err_set(e, -EINVAL, "state arena: a heap of %" PRIu64 " bytes is not possible", heap_size);
	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium cannot start");
	fd = memfd_create("secretlet-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_set(e, -errno, "state arena: %m");
	/* nobody who has the fd can take memory away under somebody's feet */
	if (ftruncate(fd, (off_t)(ARENA_HEAD_SIZE + heap_size)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return err_set(e, -errno, "state arena: %m");
	r = head_map(fd, &h, e);
	if (r < 0)
		return r;
	memcpy(h->magic, MAGIC, sizeof MAGIC);
	h->version = ARENA_VERSION;
	h->head_size = ARENA_HEAD_SIZE;
	h->heap_size = heap_size;
	randombytes_buf(h->digest_key, sizeof h->digest_key);
	munmap(h, ARENA_HEAD_SIZE);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int arena_map(int fd, struct arena_connection **ret_c, uint64_t *ret_heap_size, struct err *e)
{
	struct head *h;
	int r;

	r = head_map(fd, &h, e);
	if (r < 0)
		return r;
	r = head_check(h, fd, e);
	if (r < 0) {
		munmap(h, ARENA_HEAD_SIZE);
		return r;
	}
	*ret_heap_size = h->heap_size;
	*ret_c = &h->connection;
	return 0;
}

void arena_unmap(struct arena_connection *c)
{
	if (c)
		munmap(container_of(c, struct head, connection), ARENA_HEAD_SIZE);
}

int arena_device(int fd, uint64_t *ret_device)
{
	uint8_t magic[sizeof MAGIC];
	uint64_t device;

	if (pread(fd, magic, sizeof magic, 0) != sizeof magic || memcmp(magic, MAGIC, sizeof magic) != 0 ||
	    pread(fd, &device, sizeof device, HEAD_DEVICE) != sizeof device)
		return -EBADMSG;
	if (device == 0)
		return -ENODATA;
	*ret_device = device;
	return 0;
}

int arena_open(int fd, struct arena **ret_a, struct err *e)
{
	cleanup(arena_closep) struct arena *a = calloc(1, sizeof *a);
	int r;

	if (!a)
		return err_set(e, -ENOMEM, "out of memory");
	r = head_map(fd, &a->head, e);
	r = r ?: head_check(a->head, fd, e);
	r = r ?: secmem_init_shared(fd, ARENA_HEAD_SIZE, a->head->heap_size, e);
	if (r < 0)
		return r;
	digest_set_key(a->head->digest_key);
	*ret_a = TAKE_PTR(a);
	return 0;
}

void arena_close(struct arena *a)
{
	if (!a)
		return;
	if (a->head)
		munmap(a->head, ARENA_HEAD_SIZE);
	free(a);
}

struct arena_connection *arena_connection(struct arena *a)
{
	return &a->head->connection;
}

uint64_t arena_next_id(const struct arena *a)
{
	return a->head->next_id;
}

void arena_set_next_id(struct arena *a, uint64_t id)
{
	word_set(&a->head->next_id, id);
}

uint64_t arena_root_changed(const struct arena *a)
{
	return a->head->root_changed_usec;
}

void arena_set_root_changed(struct arena *a, uint64_t realtime_usec)
{
	word_set(&a->head->root_changed_usec, realtime_usec);
}

uint64_t arena_sourceless(const struct arena *a)
{
	return a->head->sourceless_usec;
}

void arena_set_sourceless(struct arena *a, uint64_t since_usec)
{
	word_set(&a->head->sourceless_usec, since_usec);
}

/* --- records --- */

static struct arena_record *record_at(uint64_t offset)
{
	return offset ? secmem_at(offset, sizeof(struct arena_record)) : NULL;
}

static struct secblock *record_block(const struct arena_record *r)
{
	return r->block ? secmem_at(r->block, sizeof(struct secblock)) : NULL;
}

static struct digest record_check(const struct arena_record *r)
{
	return digest_quick((const uint8_t *)r + RECORD_CHECKED, r->size - RECORD_CHECKED);
}

static size_t string_len(const char *s)
{
	return s ? strlen(s) + 1 : 0;
}

static char *string_put(char *at, const char *s, size_t len)
{
	if (len > 0)
		memcpy(at, s, len);
	return at + len;
}

int arena_add(struct arena *a, const struct arena_node *n, unsigned state, uint64_t changed_usec,
	      struct arena_record **ret_r)
{
	size_t name = string_len(n->name), final = string_len(n->final_name), target = string_len(n->target), size;
	struct arena_record *r, *next = record_at(a->head->first);
	char *at;

	if (name > NAME_LEN_MAX || final > NAME_LEN_MAX || target > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	size = sizeof *r + name + final + target;
	r = secmem_alloc(size);
	if (!r)
		return -ENOMEM;
	r->next = a->head->first;
	r->state = state;
	r->changed_usec = changed_usec;
	r->magic = RECORD_MAGIC;
	r->size = size;
	r->id = n->id;
	r->parent_id = n->parent_id;
	r->kind = n->kind;
	r->mode = n->mode;
	r->uid = n->uid;
	r->gid = n->gid;
	if (n->content.block) {
		r->block = secmem_offset(n->content.block);
		r->block_len = n->content.block->len;
		r->content_off = n->content.off;
		r->content_len = n->content.len;
	}
	r->digest = n->digest;
	r->name_len = name;
	r->final_len = final;
	r->target_len = target;
	at = string_put(r->strings, n->name, name);
	at = string_put(at, n->final_name, final);
	string_put(at, n->target, target);
	r->check = record_check(r);

	word_set(&a->head->first, secmem_offset(r));
	if (next)
		next->prev = secmem_offset(r);
	*ret_r = r;
	return 0;
}

static void chain_leave(struct arena *a, struct arena_record *r)
{
	struct arena_record *prev = record_at(r->prev), *next = record_at(r->next);

	word_set(prev ? &prev->next : &a->head->first, r->next);
	if (next)
		next->prev = r->prev;
}

void arena_remove(struct arena *a, struct arena_record *r)
{
	if (!r)
		return;
	chain_leave(a, r);
	secmem_free(r);
}

struct arena_node arena_record_node(const struct arena_record *r)
{
	const char *final = r->strings + r->name_len, *target = final + r->final_len;
	struct arena_node n = {
		.id = r->id,
		.parent_id = r->state & ARENA_MOVED ? arena_record_number(r) : r->parent_id,
		.kind = r->kind,
		.mode = r->mode,
		.uid = r->uid,
		.gid = r->gid,
		.name = r->strings,
		.final_name = r->final_len ? final : NULL,
		.target = r->target_len ? target : NULL,
		.digest = r->digest,
	};

	if (r->block)
		n.content = (struct secspan){ .block = record_block(r), .off = r->content_off, .len = r->content_len };
	return n;
}

unsigned arena_record_state(const struct arena_record *r)
{
	return word_get(&r->state) & STATE_MASK;
}

void arena_record_set_state(struct arena_record *r, unsigned state)
{
	word_set(&r->state, (r->state & ~STATE_MASK) | state);
}

uint64_t arena_record_number(const struct arena_record *r)
{
	return word_get(&r->state) >> STATE_BITS;
}

void arena_record_set_number(struct arena_record *r, unsigned state, uint64_t number)
{
	assert(number <= NUMBER_MAX);
	word_set(&r->state, number << STATE_BITS | state);
}

uint64_t arena_record_made_in(const struct arena_record *r)
{
	return r->parent_id;
}

uint64_t arena_record_lookups(const struct arena_record *r)
{
	return r->n_lookup;
}

void arena_record_set_lookups(struct arena *a, struct arena_record *r, uint64_t n)
{
	struct arena_slot *slot = &a->head->connection.slot;

	/* no id beside another's count, whenever this ends */
	word_set(&slot->count_id, 0);
	word_set(&slot->count_after, n);
	word_set(&slot->count_id, r->id);
	word_set(&r->n_lookup, n);
}

uint64_t arena_record_changed(const struct arena_record *r)
{
	return r->changed_usec;
}

void arena_record_set_changed(struct arena_record *r, uint64_t realtime_usec)
{
	word_set(&r->changed_usec, realtime_usec);
}

/* --- notes --- */

static struct arena_note *note_at(uint64_t offset)
{
	return offset ? secmem_at(offset, sizeof(struct arena_note)) : NULL;
}

static struct digest note_check(const struct arena_note *n)
{
	return digest_quick((const uint8_t *)n + NOTE_CHECKED, sizeof *n + n->len - NOTE_CHECKED);
}

int arena_note_add(struct arena *a, const struct arena_piece *pieces, size_t n, uint64_t word,
		   struct arena_note **ret_note)
{
	struct arena_note *note, *next = note_at(a->head->first_note);
	size_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += pieces[i].len;
	if (len > NOTE_MAX)
		return -ENOMEM;
	note = secmem_alloc(sizeof *note + len);
	if (!note)
		return -ENOMEM;
	note->next = a->head->first_note;
	note->word = word;
	note->magic = NOTE_MAGIC;
	for (size_t i = 0; i < n; i++) {
		if (pieces[i].len > 0)
			memcpy(note->data + note->len, pieces[i].data, pieces[i].len);
		note->len += pieces[i].len;
	}
	note->check = note_check(note);

	word_set(&a->head->first_note, secmem_offset(note));
	if (next)
		next->prev = secmem_offset(note);
	*ret_note = note;
	return 0;
}

static void note_leave(struct arena *a, struct arena_note *n)
{
	struct arena_note *prev = note_at(n->prev), *next = note_at(n->next);

	word_set(prev ? &prev->next : &a->head->first_note, n->next);
	if (next)
		next->prev = n->prev;
}

void arena_note_remove(struct arena *a, struct arena_note *note)
{
	if (!note)
		return;
	note_leave(a, note);
	secmem_free(note);
}

const void *arena_note_data(const struct arena_note *note, size_t *ret_len)
{
	*ret_len = note->len;
	return note->data;
}

uint64_t arena_note_word(const struct arena_note *note)
{
	return word_get(&note->word);
}

void arena_note_set_word(struct arena_note *note, uint64_t word)
{
	word_set(&note->word, word);
}

/* --- what an earlier process has left --- */

static bool string_is_good(const char *s, uint32_t len)
{
	return len == 0 || (s[len - 1] == 0 && strlen(s) == len - 1);
}

static bool strings_are_good(const struct arena_record *r)
{
	const char *final = r->strings + r->name_len, *target = final + r->final_len;

	return r->name_len > 0 && string_is_good(r->strings, r->name_len) && string_is_good(final, r->final_len) &&
	       string_is_good(target, r->target_len);
}

/* The block's own words are not looked at: they are the allocator's of a process that is gone. */
static bool content_is_in_range(const struct arena_record *r)
{
	if (!r->block)
		return r->block_len == 0 && r->content_off == 0 && r->content_len == 0;
	return r->block_len <= HEAP_MAX && secmem_at(r->block, sizeof(struct secblock) + r->block_len) &&
	       r->content_off <= r->block_len && r->content_len <= r->block_len - r->content_off;
}

static bool record_is_good(const struct arena_record *r)
{
	struct digest check;

	if (r->magic != RECORD_MAGIC || r->name_len > NAME_LEN_MAX || r->final_len > NAME_LEN_MAX ||
	    r->target_len > NAME_LEN_MAX || r->size != sizeof *r + r->name_len + r->final_len + r->target_len ||
	    !secmem_at(secmem_offset(r), r->size))
		return false;
	check = record_check(r);
	return digest_eq(&check, &r->check) && strings_are_good(r) && content_is_in_range(r) &&
	       (r->state & STATE_MASK & ~(uint64_t)STATE_ALL) == 0;
}

/* Pods share Secrets: each piece of content is looked at once. Seen: the first record of each, which was found to be right. */
#define SEEN_KEY_LEN (offsetof(struct arena_record, digest) - offsetof(struct arena_record, block))
static_assert(SEEN_KEY_LEN == 4 * sizeof(uint64_t), "the key is which part of which block");

/* -EBADMSG: the content is not what was written. */
static int content_check(struct arena_record *r, struct map *seen)
{
	const struct secblock *block;
	struct digest digest;
	int err;

	if (!r->block)
		return 0;
	err = map_add(seen, &r->block, SEEN_KEY_LEN, r);
	if (err == -EEXIST) {
		digest = ((const struct arena_record *)map_get(seen, &r->block, SEEN_KEY_LEN))->digest;
		err = 0;
	} else {
		block = secmem_at(r->block, sizeof *block);
		digest = digest_of(block->data + r->content_off, r->content_len);
	}
	return err < 0 ? err : digest_eq(&digest, &r->digest) ? 0 : -EBADMSG;
}

static int compare_ids(const void *a, const void *b)
{
	const struct arena_record *x = *(struct arena_record *const *)a, *y = *(struct arena_record *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* By id. They come from the newest to the oldest, because that is how they are chained. */
static void records_order(struct arena_record **records, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		struct arena_record *r = records[i];

		records[i] = records[n - 1 - i];
		records[n - 1 - i] = r;
	}
	for (size_t i = 1; i < n; i++) {
		if (records[i - 1]->id > records[i]->id) {
			qsort(records, n, sizeof(struct arena_record *), compare_ids);
			return;
		}
	}
}

size_t arena_count(const struct arena *a)
{
	size_t n = 0, n_max = a->head->heap_size / sizeof(struct arena_record);
	const struct arena_record *r;

	for (uint64_t at = a->head->first; at && n < n_max; at = r->next) {
		r = record_at(at);
		if (!r)
			break;
		n++;
	}
	return n;
}

int arena_load(struct arena *a, struct arena_record ***ret_records, size_t *ret_n, struct err *e)
{
	size_t n = 0, size = 0, n_max = a->head->heap_size / sizeof(struct arena_record);
	cleanup_free struct arena_record **records = NULL;
	cleanup(map_deinit) struct map seen = MAP_INIT;
	int err;

	for (uint64_t at = a->head->first, next; at; at = next) {
		struct arena_record *r = record_at(at);

		if (!r || n == n_max || !record_is_good(r))
			return err_set(e, -EBADMSG, "state arena: the record at offset %" PRIu64 " is damaged", at);
		err = content_check(r, &seen);
		if (err < 0)
			return err_set(e, err, "state arena: node %" PRIu64 ": %s", r->id,
				       err == -EBADMSG ? "its content is damaged" : strerror(-err));
		if (n == size) {
			struct arena_record **grown;

			size = size ? size * 2 : 256;
			grown = reallocarray(records, size, sizeof(struct arena_record *));
			if (!grown)
				return err_set(e, -ENOMEM, "out of memory");
			records = grown;
		}
		next = r->next;
		records[n++] = r;
	}
	records_order(records, n);
	for (size_t i = 0; i < n; i++)
		if (records[i]->id >= a->head->next_id || (i > 0 && records[i]->id == records[i - 1]->id))
			return err_set(e, -EBADMSG, "state arena: node id %" PRIu64 " cannot be", records[i]->id);
	*ret_records = TAKE_PTR(records);
	*ret_n = n;
	return 0;
}

/* left: how many bytes of the heap it can have. */
static bool note_is_good(const struct arena_note *n, uint64_t left)
{
	struct digest check;

	if (n->magic != NOTE_MAGIC || n->len > NOTE_MAX || sizeof *n + n->len > left ||
	    !secmem_at(secmem_offset(n), sizeof *n + n->len))
		return false;
	check = note_check(n);
	return digest_eq(&check, &n->check);
}

/* Those in a circle are no more than the heap can hold; that they overlap is found later. */
int arena_load_notes(struct arena *a, struct arena_note ***ret_notes, size_t *ret_n)
{
	cleanup_free struct arena_note **notes = NULL;
	uint64_t left = a->head->heap_size;
	size_t n = 0, size = 0;

	for (uint64_t at = a->head->first_note; at; at = notes[n - 1]->next) {
		struct arena_note *note = note_at(at);

		/* an older binary was here, or it is damaged: what is behind it is lost */
		if (!note || !note_is_good(note, left))
			break;
		left -= sizeof *note + note->len;
		if (n == size) {
			struct arena_note **grown;

			size = size ? size * 2 : 64;
			grown = reallocarray(notes, size, sizeof(struct arena_note *));
			if (!grown)
				return -ENOMEM;
			notes = grown;
		}
		notes[n++] = note;
	}
	*ret_notes = TAKE_PTR(notes);
	*ret_n = n;
	return 0;
}

/* Both in order. */
static void uses_merge(const struct secmem_use *a, size_t n_a, const struct secmem_use *b, size_t n_b,
		       struct secmem_use *to)
{
	while (n_a > 0 || n_b > 0) {
		if (n_b == 0 || (n_a > 0 && a->offset <= b->offset)) {
			*to++ = *a++;
			n_a--;
		} else {
			*to++ = *b++;
			n_b--;
		}
	}
}

/* The blocks of the records, in order, each once. -EBADMSG: they are not all of one opinion about one. */
static int uses_of_blocks(struct arena_record **records, size_t n, struct secmem_use *uses, size_t *ret_n)
{
	size_t n_all = 0, n_uses = 0;

	for (size_t i = 0; i < n; i++)
		if (records[i] && records[i]->block)
			uses[n_all++] = (struct secmem_use){ .offset = records[i]->block,
							     .len = sizeof(struct secblock) + records[i]->block_len };
	secmem_sort_uses(uses, n_all);
	for (size_t i = 0; i < n_all; i++) {
		if (n_uses == 0 || uses[n_uses - 1].offset != uses[i].offset)
			uses[n_uses++] = uses[i];
		else if (uses[n_uses - 1].len != uses[i].len)
			return -EBADMSG;
	}
	*ret_n = n_uses;
	return 0;
}

/* The pieces of the heap that the records need, in order, each once. Records and blocks each come in order, mostly: one after
 * the other they have been put into an empty heap. */
static int uses_of(struct arena_record **records, size_t n, struct secmem_use **ret_uses, size_t *ret_n, struct err *e)
{
	cleanup_free struct secmem_use *uses = calloc(2 * n + 1, sizeof *uses),
				       *parts = calloc(2 * n + 1, sizeof *parts);
	size_t n_records = 0, n_blocks = 0;

	if (!uses || !parts)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (records[i])
			parts[n_records++] =
				(struct secmem_use){ .offset = secmem_offset(records[i]), .len = records[i]->size };
	secmem_sort_uses(parts, n_records);
	if (uses_of_blocks(records, n, parts + n_records, &n_blocks) < 0)
		return err_set(e, -EBADMSG, "state arena: two nodes' content is not in the same place");
	uses_merge(parts, n_records, parts + n_records, n_blocks, uses);
	*ret_uses = TAKE_PTR(uses);
	*ret_n = n_records + n_blocks;
	return 0;
}

/* The chain as it is, without those that do not stay. Its `prev` words are made anew: a death in the middle of a removal
 * leaves them wrong. Until then they say which of the records it is, so that those which do not stay are known by not being
 * it. Nothing is written into what does not stay: it may overlap with what does. */
static void chain_drop_others(struct arena *a, struct arena_record **records, size_t n)
{
	struct arena_record *prev = NULL, *r;

	for (size_t i = 0; i < n; i++)
		if (records[i])
			records[i]->prev = i;
	for (uint64_t at = a->head->first; at; at = r->next) {
		r = record_at(at);
		assert(r);
		if (r->prev >= n || records[r->prev] != r)
			continue;
		word_set(prev ? &prev->next : &a->head->first, at);
		r->prev = prev ? secmem_offset(prev) : 0;
		prev = r;
	}
	word_set(prev ? &prev->next : &a->head->first, 0);
}

/* As arena_load_notes() has found them; `prev` is as wrong as a record's. */
static void notes_link(struct arena *a, struct arena_note **notes, size_t n)
{
	word_set(n > 0 ? &notes[n - 1]->next : &a->head->first_note, 0);
	for (size_t i = 0; i < n; i++)
		notes[i]->prev = i > 0 ? secmem_offset(notes[i - 1]) : 0;
}

/* With the notes, if they can be: nothing of them is worth the records. Nothing is written into them before that is known. */
static int heap_adopt(struct arena *a, struct secmem_use *uses, size_t n, struct arena_note **notes, size_t n_notes,
		      struct err *e)
{
	cleanup_free struct secmem_use *all = calloc(n + n_notes + 1, sizeof *all),
				       *own = calloc(n_notes + 1, sizeof *own);

	if (!all || !own)
		return err_set(e, -ENOMEM, "out of memory");
	/* they come from the newest to the oldest, as records do */
	for (size_t i = 0; i < n_notes; i++)
		own[i] = (struct secmem_use){ .offset = secmem_offset(notes[n_notes - 1 - i]),
					      .len = sizeof *notes[0] + notes[n_notes - 1 - i]->len };
	secmem_sort_uses(own, n_notes);
	uses_merge(uses, n, own, n_notes, all);
	if (n_notes > 0 && secmem_adopt(all, n + n_notes, NULL) == 0) {
		notes_link(a, notes, n_notes);
		return 0;
	}
	notes_link(a, notes, 0);
	for (size_t i = 0; i < n_notes; i++)
		notes[i] = NULL;
	return secmem_adopt(uses, n, e);
}

int arena_keep(struct arena *a, struct arena_record **records, size_t n, struct arena_note **notes, size_t n_notes,
	       struct err *e)
{
	cleanup_free struct secmem_use *uses = NULL;
	size_t n_uses = 0;
	int err;

	err = uses_of(records, n, &uses, &n_uses, e);
	if (err < 0)
		return err;
	err = secmem_check_uses(uses, n_uses, e);
	if (err < 0)
		return err_wrap(e, err, "state arena");
	/* out of the chain before they are wiped: a successor would find a damaged record */
	chain_drop_others(a, records, n);
	err = heap_adopt(a, uses, n_uses, notes, n_notes, e);
	if (err < 0)
		return err;
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < n; i++) {
			struct secblock *block = records[i] ? record_block(records[i]) : NULL;

			if (!block)
				continue;
			block->refs = pass == 0 ? 0 : block->refs + 1;
			block->len = records[i]->block_len;
		}
	}
	return 0;
}
