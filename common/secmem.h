/* Locked memory for secret bytes: one region reserved at start, mlocked (on fault), left out of cores, wiped on
 * free. Values are kept in refcounted blocks, one per Secret revision and not per key.
 *
 * The region may be shared memory that outlives the process. Then only what was written down elsewhere as being in use
 * counts for a successor (secmem_adopt()); the allocator's own words are never trusted across processes. */
#pragma once

#include "common/base.h"
#include "common/err.h"

/* The largest region. */
#define SECMEM_LIMIT_MAX (UINT64_C(32) << 30)
/* err.reason where the budget is used up (secmem_was_full(), secblock_new()); whoever has a list of reasons has it there. */
#define SECMEM_FULL 1u

struct secmem_stats {
	size_t limit_bytes; /* the budget */
	size_t used_bytes; /* handed out, with the allocator's own overhead */
	size_t n_blocks; /* live blocks */
	bool locked; /* the kernel has really locked the region (checked, not assumed) */
	bool undumped; /* and leaves it out of cores (checked as well) */
	bool process_locked; /* and so is all else, see secmem_lock_process() */
};

/* What the kernel's smaps shows of the mapping in which all these bytes lie: an mlock2(2) or madvise(2) that some
 * sandbox only pretends is none. Both false where it cannot be read. */
struct secmem_look {
	bool locked, undumped;
};
struct secmem_look secmem_look(const void *at, size_t size);

/* Reserves `limit_bytes` (rounded up to pages) of address space: MAP_PRIVATE|MAP_ANONYMOUS, guard page at both ends,
 * MADV_DONTDUMP, MADV_WIPEONFORK, mlock2(MLOCK_ONFAULT). Called once per process, while it still has CAP_IPC_LOCK, so
 * that RLIMIT_MEMLOCK does not count; the lock stays when the capability is gone. When the lock is refused the region
 * is usable all the same: the caller looks at secmem_stats().locked and decides. -EALREADY on a second call, -EINVAL: 0
 * or above SECMEM_LIMIT_MAX. A forked child sees only zeros there and must not unref what it inherited: a damaged header ends the
 * process. */
int secmem_init(size_t limit_bytes, struct err *e);
/* The same on `size` bytes of the shared memory `fd` (borrowed for the call) from `offset` on, both multiples of the page
 * size. What is in it stays, and nothing can be had before secmem_adopt() has said what of it is in use. */
int secmem_init_shared(int fd, uint64_t offset, size_t size, struct err *e);
/* All else that the process has or will have (heap, stacks, libraries) stays out of the swap, too: what is touched, from then
 * on. For copies that pass through, and credentials. It takes that RLIMIT_MEMLOCK is unlimited, or can be made so
 * (CAP_SYS_RESOURCE); without a limit the lock outlives CAP_IPC_LOCK. -EPERM, -ENOMEM: refused, nothing has changed.
 * -EOPNOTSUPP: the kernel has agreed, and smaps shows nothing of it. */
int secmem_lock_process(void);
/* Wipes and unmaps everything; for tests and the end of the process. Shared memory is only unmapped. */
void secmem_deinit(void);

/* A piece of the region that somebody uses: where its bytes begin, from the region's start, and how many there are. */
struct secmem_use {
	uint64_t offset, len;
};
/* By where they are. Nothing is done where they are in order already, as they mostly are in the order in which they were made. */
void secmem_sort_uses(struct secmem_use *uses, size_t n);
/* -EBADMSG: they overlap, or no allocator of ours can have placed them so. Sorts the array. */
int secmem_check_uses(struct secmem_use *uses, size_t n, struct err *e);
/* Once, after secmem_init_shared(): from now on exactly these pieces are handed out (as by secmem_alloc()), all else is
 * wiped and free. -EBADMSG: as secmem_check_uses(); then nothing has changed. */
int secmem_adopt(struct secmem_use *uses, size_t n, struct err *e);
/* A piece of the region, zeroed, 16-byte aligned; NULL: the budget is used up. secmem_free() wipes it. */
void *secmem_alloc(size_t len);
/* For -ENOMEM of what takes pieces of the region among other memory: whether the last secmem_alloc() got none. Then e says so as
 * secblock_new() does. */
bool secmem_was_full(struct err *e);
void secmem_free(void *p);
/* Where something is, from the region's start, and what is there: the same in every process that has the region. */
uint64_t secmem_offset(const void *p);
/* NULL: `len` bytes at `offset` do not lie in the region, or offset is not one that secmem_alloc() gives out. */
void *secmem_at(uint64_t offset, uint64_t len);
struct secmem_stats secmem_stats(void);

/* A refcounted piece of locked memory. Not thread-safe: one loop thread owns them. */
struct secblock {
	size_t refs;
	size_t len;
	uint8_t data[];
};

/* A new block of `len` bytes (0 is allowed), zeroed, refs = 1, 16-byte aligned.
 * -ENOMEM: the budget is used up; e says how much was asked for and what the limit is. */
int secblock_new(size_t len, struct secblock **ret_block, struct err *e);
struct secblock *secblock_ref(struct secblock *b);
/* Drops one reference; the last one wipes the bytes and gives the pages back. NULL is fine. */
void secblock_unref(struct secblock *b);
DEFINE_CLEANUP(struct secblock *, secblock_unref);
#define cleanup_secblock cleanup(secblock_unrefp)

/* A view into a block; owns nothing unless its holder took a reference on `block`. No format and no compare but
 * secspan_eq on purpose. */
struct secspan {
	struct secblock *block; /* NULL: empty */
	size_t off, len;
};
static inline const uint8_t *secspan_data(const struct secspan *s)
{
	return s->block ? s->block->data + s->off : (const uint8_t *)"";
}
/* Constant time in the bytes; lengths may differ. */
bool secspan_eq(const struct secspan *a, const struct secspan *b);

/* Content digest: BLAKE2b-128, keyed with a key drawn once per process, so that a digest that is logged or shown
 * says nothing about a guessable value. */
#define DIGEST_LEN 16
struct digest {
	uint8_t b[DIGEST_LEN];
};
struct digest digest_of(const void *data, size_t len);
/* A checksum with the same key, SipHash-128: for what damage has to be noticed in and nobody chooses. Some ten times as
 * fast for some hundred bytes. */
struct digest digest_quick(const void *data, size_t len);
/* Another key, before the first digest: so that digests can be compared with those of an earlier process. */
#define DIGEST_KEY_LEN 32
void digest_set_key(const uint8_t key[static DIGEST_KEY_LEN]);
static inline bool digest_eq(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, DIGEST_LEN) == 0;
}
