/* Arena: the state that outlives an agent, in shared memory that the keeper has made. A head, in which the connection to
 * the kernel is described, and a heap (secmem.h's region) with the contents and one record for each node of the tree.
 *
 *   memfd: | head: version, digest key, INIT, request under way, heartbeat | heap: blocks and records |
 *
 * A death at any instruction leaves a state that can be read: records are chained in one direction, and each comes, goes
 * and changes by the store of one aligned word. What no record names was not published and is wiped by the next process.
 * Nothing but offsets is kept, because every process maps the memory elsewhere.
 *
 * Kinds of nodes and states may be added without a new version: an arena in which none of them occurs is read by an older
 * binary as ever, and one that knows them not says -EBADMSG to those in which they do, and begins anew. So with the number that
 * stands beside a record's state in one word. Notes it leaves out.
 *
 * One process at a time writes. The keeper reads the head's numbers only, and takes none of them for more than a number. */
#pragma once

#include "common/base.h"
#include "common/err.h"
#include "common/secmem.h"

#define ARENA_VERSION	  1
#define ARENA_HEAD_SIZE	  (128u << 10)
#define ARENA_INIT_MAX	  256 /* bytes of a FUSE_INIT request; protocol 7.45 has 104 */
#define ARENA_REQUEST_MAX (64u << 10) /* the kernel wants at least 8 KiB; a batch of FORGETs fills what it gets */

/* The request that is being answered: requests are answered one after the other, so there is never more than one. */
struct arena_slot {
	uint64_t since_usec; /* CLOCK_MONOTONIC; 0: none is under way, or nobody has come to it since a counted death */
	/* the request that an agent died of last, and how many did */
	uint64_t deadly_unique, n_deaths;
	/* the lookup count that this request has changed: of which node, and what it was to become */
	uint64_t count_id, count_after;
	uint64_t n_forgotten; /* how much of a batch of FORGETs is done */
	uint8_t request[ARENA_REQUEST_MAX] __attribute__((__aligned__(8))); /* its first word, the length, is 0: none */
};

/* What belongs to the connection and not to the tree. */
struct arena_connection {
	uint64_t flags; /* that INIT has negotiated */
	uint32_t init_len; /* 0: INIT has not come yet */
	int32_t publisher; /* pid; 0: none */
	uint64_t device; /* st_dev of the mount, the keeper's; 0: not known */
	uint64_t heartbeat_usec; /* CLOCK_MONOTONIC: the agent's loop ran then */
	uint64_t notes[7]; /* an agent's to its successor; 0 in a new arena */
	uint64_t doubt; /* id of a folder of which the kernel may not know a change; 0: none */
	uint8_t init[ARENA_INIT_MAX] __attribute__((__aligned__(8)));
	struct arena_slot slot;
};

struct arena;
struct arena_record;

/* --- the keeper's side --- */

/* A new arena, sealed in size: a memfd with a heap of heap_size bytes (whole pages, at most SECMEM_LIMIT_MAX). */
int arena_create(uint64_t heap_size, int *ret_fd, struct err *e);
/* The head of an arena, shared, valid until arena_unmap(). -EBADMSG: this is no arena; -EPROTO: of a version that this
 * binary does not read. */
int arena_map(int fd, struct arena_connection **ret_c, uint64_t *ret_heap_size, struct err *e);
void arena_unmap(struct arena_connection *c);
/* The device of the mount, of an arena of any version. -EBADMSG: this is no arena. -ENODATA: it is not known. */
int arena_device(int fd, uint64_t *ret_device);

/* --- the agent's side --- */

/* Maps it and sets up secmem in its heap, and the digests' key. Once per process. */
int arena_open(int fd, struct arena **ret_a, struct err *e);
/* Unmaps it; what is in it stays. */
void arena_close(struct arena *a);
DEFINE_CLEANUP(struct arena *, arena_close);
struct arena_connection *arena_connection(struct arena *a);

/* The next node id; grows for ever. */
uint64_t arena_next_id(const struct arena *a);
void arena_set_next_id(struct arena *a, uint64_t id);
/* The root's time. */
uint64_t arena_root_changed(const struct arena *a);
void arena_set_root_changed(struct arena *a, uint64_t realtime_usec);
/* CLOCK_MONOTONIC since when the agents have been without a source; 0, as in a new arena: they are not. */
uint64_t arena_sourceless(const struct arena *a);
void arena_set_sourceless(struct arena *a, uint64_t since_usec);

enum arena_state {
	ARENA_COMMITTED = 1 << 0,
	ARENA_HIDDEN = 1 << 1,
	ARENA_RETIRED = 1 << 2,
	ARENA_RENAMED = 1 << 3, /* final_name is its name */
	ARENA_DETACHED = 1 << 4,
	ARENA_FLUX = 1 << 5, /* the kernel may show what the node showed before */
	ARENA_MOVED = 1 << 6, /* it is in the folder whose id is the record's number */
};

/* What a record says of a node for good. */
struct arena_node {
	uint64_t id, parent_id; /* of a record: the folder that it is in now */
	uint32_t kind, mode, uid, gid;
	const char *name;
	const char *final_name, *target; /* NULL: none. What is the final one of a file, is the tree's business */
	struct secspan content;
	struct digest digest; /* of the content; of a version's folder: what its volume is to contain */
};

/* A record of n, found by the next process from now on. The names are copied; the content's block must live as long as
 * the record does. -ENOMEM; -ENAMETOOLONG. */
int arena_add(struct arena *a, const struct arena_node *n, unsigned state, uint64_t changed_usec,
	      struct arena_record **ret_r);
/* Wiped. NULL is fine. */
void arena_remove(struct arena *a, struct arena_record *r);
/* The strings and the content lie in the arena; the block is not the caller's. */
struct arena_node arena_record_node(const struct arena_record *r);
unsigned arena_record_state(const struct arena_record *r);
void arena_record_set_state(struct arena_record *r, unsigned state);
/* A number of the record's, 0 at first, that is set with its state by one store. At most 2^56 - 1. */
uint64_t arena_record_number(const struct arena_record *r);
void arena_record_set_number(struct arena_record *r, unsigned state, uint64_t number);
/* The folder that it was made in, whatever has moved since. */
uint64_t arena_record_made_in(const struct arena_record *r);
uint64_t arena_record_lookups(const struct arena_record *r);
/* Also notes in the connection's slot what the request under way has changed. */
void arena_record_set_lookups(struct arena *a, struct arena_record *r, uint64_t n);
uint64_t arena_record_changed(const struct arena_record *r);
void arena_record_set_changed(struct arena_record *r, uint64_t realtime_usec);

/* A note: what is worth finding again and not worth a node that cannot be read. A binary that does not know of notes loses
 * them; one that is damaged is not found, nor are those written before it. */
struct arena_note;
struct arena_piece {
	const void *data;
	size_t len;
};
/* word: one of the note's own that may change later. -ENOMEM. */
int arena_note_add(struct arena *a, const struct arena_piece *pieces, size_t n, uint64_t word,
		   struct arena_note **ret_note);
/* Wiped. NULL is fine. */
void arena_note_remove(struct arena *a, struct arena_note *note);
/* The pieces, one behind the other; 8-byte aligned. */
const void *arena_note_data(const struct arena_note *note, size_t *ret_len);
uint64_t arena_note_word(const struct arena_note *note);
void arena_note_set_word(struct arena_note *note, uint64_t word);

/* How many records there are, about: nothing of them is checked. */
size_t arena_count(const struct arena *a);
/* What an earlier process has left: the records, checked one by one (in range, their own digest, their content's
 * digest), by id. *ret_records is the caller's to free. -EBADMSG: something in it was not written by arena_add(); then
 * nothing of it may be used. */
int arena_load(struct arena *a, struct arena_record ***ret_records, size_t *ret_n, struct err *e);
/* The notes of an earlier process, the newest first, with their own digest checked. *ret_notes is the caller's to free.
 * -ENOMEM. */
int arena_load_notes(struct arena *a, struct arena_note ***ret_notes, size_t *ret_n);
/* Once, after arena_load(): the n records that stay (NULLs are skipped), and the notes; those become NULL if they and the
 * records cannot all have been written. All else in the heap is wiped, and only now can something be added. The block of a
 * content has one reference for each record that names it, the caller's. */
int arena_keep(struct arena *a, struct arena_record **records, size_t n, struct arena_note **notes, size_t n_notes,
	       struct err *e);
