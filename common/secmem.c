/* Locked memory. The region is one mapping that is reserved once, so that one mlock2(2) at the start covers it for
 * good, and an allocator with boundary tags works inside: 16 bytes in front of each chunk, free neighbours always
 * merged, free chunks in lists by size (eight per power of two). What is free is wiped, and whole free pages go back
 * to the kernel. The headers lie beside secrets of other pods, so each carries a keyed check, and a damaged one ends
 * the process: nothing in the region can be trusted then. */
#include "common/secmem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "common/log.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

#define UNIT		((size_t)16)
#define CHUNK_UNITS_MIN 2
#define N_BINS		240
#define BIN_LOOKS	16

/* Sizes are in units. Chunks lie side by side from the first byte of the region to its last. */
struct chunk {
	uint32_t n_units; /* with this header */
	uint32_t n_prev : 31; /* of the chunk in front of this one; 0: this is the first */
	uint32_t used : 1;
	uint64_t check;
	/* from here on: the user's bytes, or */
	struct chunk *next_free, *prev_free;
};
#define CHUNK_HEADER offsetof(struct chunk, next_free)

static_assert(SECMEM_LIMIT_MAX / UNIT <= UINT32_MAX, "the region can be one chunk");
static_assert(SECMEM_LIMIT_MAX / UNIT - CHUNK_UNITS_MIN <= INT32_MAX, "and one with another behind it has fewer units");

static_assert(CHUNK_HEADER == UNIT, "user bytes are aligned");
static_assert(sizeof(struct chunk) == CHUNK_UNITS_MIN * UNIT, "the smallest chunk can be in a list");
static_assert(sizeof(struct secblock) == UNIT, "block data is aligned");

static struct {
	uint8_t *base; /* NULL: not set up */
	size_t size, page;
	int fd; /* shared memory; -1: ours alone */
	uint64_t fd_offset;
	bool locked, undumped;
	uint64_t check_key;
	size_t n_used_bytes, n_blocks;
	size_t n_refused_bytes; /* what the last secmem_alloc() could not have; 0: it got what it wanted */
	struct chunk *bins[N_BINS];
	uint64_t bins_filled[(N_BINS + 63) / 64];
} region;

static bool process_locked;

/* ---- chunk headers ---- */

static uint64_t chunk_check(const struct chunk *c)
{
	uint64_t x = region.check_key ^ (uint64_t)(uintptr_t)c;

	/* splitmix64's finish over place and contents */
	x += (uint64_t)c->n_units << 32 | (uint64_t)c->n_prev << 1 | c->used;
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static void chunk_seal(struct chunk *c)
{
	c->check = chunk_check(c);
}

__attribute__((__noreturn__)) static void chunk_damaged(const struct chunk *c)
{
	log_error(NULL, "locked memory is damaged: block header at offset %zu; giving up",
		  (size_t)((const uint8_t *)c - region.base));
	abort();
}

static struct chunk *chunk_verify(struct chunk *c)
{
	if (c->check != chunk_check(c))
		chunk_damaged(c);
	return c;
}

static size_t chunk_bytes(const struct chunk *c)
{
	return c->n_units * UNIT;
}

static struct chunk *chunk_next(struct chunk *c)
{
	uint8_t *next = (uint8_t *)c + chunk_bytes(c);

	return next < region.base + region.size ? chunk_verify((struct chunk *)next) : NULL;
}

static struct chunk *chunk_prev(struct chunk *c)
{
	return c->n_prev > 0 ? chunk_verify((struct chunk *)((uint8_t *)c - c->n_prev * UNIT)) : NULL;
}

static void chunk_set(struct chunk *c, size_t n_units, bool used)
{
	struct chunk *next;

	c->n_units = (uint32_t)n_units;
	c->used = used;
	chunk_seal(c);

	next = chunk_next(c);
	if (next) {
		next->n_prev = c->n_units & INT32_MAX;
		chunk_seal(next);
	}
}

/* ---- free lists ---- */

/* Exact below 8 units, then eight bins for each power of two. */
static unsigned bin_of(size_t n_units)
{
	unsigned log2;

	if (n_units < 8)
		return (unsigned)n_units;
	log2 = 31u - (unsigned)__builtin_clz((uint32_t)n_units);
	return (log2 - 2) * 8 + ((unsigned)(n_units >> (log2 - 3)) & 7);
}

static void bin_insert(struct chunk *c)
{
	unsigned bin = bin_of(c->n_units);

	c->prev_free = NULL;
	c->next_free = region.bins[bin];
	if (c->next_free)
		c->next_free->prev_free = c;
	region.bins[bin] = c;
	region.bins_filled[bin / 64] |= UINT64_C(1) << (bin % 64);
}

static void bin_remove(struct chunk *c)
{
	unsigned bin = bin_of(c->n_units);

	/* the links have no check of their own: they have to agree with each other */
	if ((c->prev_free ? c->prev_free->next_free : region.bins[bin]) != c ||
	    (c->next_free && c->next_free->prev_free != c))
		chunk_damaged(c);

	if (c->prev_free)
		c->prev_free->next_free = c->next_free;
	else
		region.bins[bin] = c->next_free;
	if (c->next_free)
		c->next_free->prev_free = c->prev_free;
	if (!region.bins[bin])
		region.bins_filled[bin / 64] &= ~(UINT64_C(1) << (bin % 64));
	c->next_free = c->prev_free = NULL;
}

/* The first non-empty bin from `bin` on; N_BINS: there is none. */
static unsigned bin_filled_from(unsigned bin)
{
	uint64_t bits;

	for (unsigned i = bin / 64; i < ARRAY_SIZE(region.bins_filled); i++) {
		bits = region.bins_filled[i];
		if (i == bin / 64)
			bits &= UINT64_MAX << (bin % 64);
		if (bits)
			return i * 64 + (unsigned)__builtin_ctzll(bits);
	}
	return N_BINS;
}

/* In its own bin a chunk may be too small; in those behind each is large enough. Of its own only the first few are looked
 * at while there are others: thousands that are a little too small would be looked at each time. */
static struct chunk *bin_find(size_t n_units)
{
	unsigned own = bin_of(n_units), bin = bin_filled_from(own + 1);
	int n = 0;

	for (struct chunk *c = region.bins[own]; c && (bin == N_BINS || n < BIN_LOOKS); c = c->next_free, n++)
		if (chunk_verify(c)->n_units >= n_units)
			return c;
	return bin < N_BINS ? chunk_verify(region.bins[bin]) : NULL;
}

/* ---- chunks ---- */

static void chunk_split(struct chunk *c, size_t n_units)
{
	struct chunk *rest = (struct chunk *)((uint8_t *)c + n_units * UNIT);
	size_t n_rest = c->n_units - n_units;

	if (n_rest < CHUNK_UNITS_MIN)
		return;
	rest->n_prev = 0; /* chunk_set(c) puts it right */
	chunk_set(rest, n_rest, false);
	chunk_set(c, n_units, c->used);
	bin_insert(rest);
}

static struct chunk *chunk_alloc(size_t n_units)
{
	struct chunk *c = bin_find(n_units);

	if (!c)
		return NULL;
	bin_remove(c);
	chunk_split(c, n_units);
	chunk_set(c, c->n_units, true);
	return c;
}

/* From shared memory only a hole takes pages away; a locked mapping refuses MADV_REMOVE (madvise(2)). */
static int pages_drop(uint8_t *at, size_t len)
{
	if (region.fd < 0)
		return madvise(at, len, MADV_DONTNEED_LOCKED);
	return fallocate(region.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)(region.fd_offset + (uint64_t)(at - region.base)), (off_t)len);
}

/* Gives the pages back that lie in free chunk c and that `from`..`to`, the part which was just freed, touches. */
static void pages_release(const struct chunk *c, const uint8_t *from, const uint8_t *to)
{
	uintptr_t mask = ~(uintptr_t)(region.page - 1);
	uintptr_t low = ((uintptr_t)c + sizeof(*c) + region.page - 1) & mask;
	uintptr_t high = ((uintptr_t)c + chunk_bytes(c)) & mask;

	low = MAX(low, (uintptr_t)from & mask);
	high = MIN(high, ((uintptr_t)to + region.page - 1) & mask);
	if (low < high)
		pages_drop((uint8_t *)low, high - low); /* or they stay: they are wiped */
}

static void chunk_free(struct chunk *c)
{
	struct chunk *next = chunk_next(c), *prev = chunk_prev(c);
	uint8_t *from = (uint8_t *)c, *to = from + chunk_bytes(c);
	size_t n_units = c->n_units;

	if (next && !next->used) {
		bin_remove(next);
		n_units += next->n_units;
		explicit_bzero(next, CHUNK_HEADER);
		to += sizeof(*next);
	}
	explicit_bzero(from + CHUNK_HEADER, chunk_bytes(c) - CHUNK_HEADER);
	if (prev && !prev->used) {
		bin_remove(prev);
		n_units += prev->n_units;
		explicit_bzero(c, CHUNK_HEADER);
		c = prev;
	}
	chunk_set(c, n_units, false);
	bin_insert(c);
	pages_release(c, from, to);
}

/* ---- the region ---- */

struct secmem_look secmem_look(const void *at, size_t size)
{
	cleanup_file FILE *smaps = fopen("/proc/self/smaps", "re");
	uintptr_t base = (uintptr_t)at;
	bool ours = false;
	char line[1024];

	while (smaps && fgets(line, sizeof(line), smaps)) {
		uintptr_t start, end;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2)
			ours = start <= base && end >= base + size;
		else if (ours && strncmp(line, "VmFlags:", 8) == 0)
			return (struct secmem_look){ .locked = strstr(line, " lo ") || strstr(line, " lo\n"),
						     .undumped = strstr(line, " dd ") || strstr(line, " dd\n") };
	}
	return (struct secmem_look){ .locked = false };
}

/* Shared memory is seen by whoever has the fd; it only must not be inherited by a child. */
static int region_fill(uint8_t *base, size_t size, int fd, uint64_t offset)
{
	if (fd < 0)
		return mprotect(base, size, PROT_READ | PROT_WRITE) < 0 || madvise(base, size, MADV_WIPEONFORK) < 0
			       ? -errno
			       : 0;
	return mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) == MAP_FAILED ||
			       madvise(base, size, MADV_DONTFORK) < 0
		       ? -errno
		       : 0;
}

/* What an earlier process has left gets its page table entries at once: a page fault for each costs many times that, and whoever
 * reads it all is waited for. Best effort (Linux 5.14). */
static void region_populate(void)
{
	off_t end = (off_t)(region.fd_offset + region.size), from, to = (off_t)region.fd_offset;

	while (to < end) {
		from = lseek(region.fd, to, SEEK_DATA);
		to = from < 0 ? -1 : lseek(region.fd, from, SEEK_HOLE);
		if (to < 0)
			break;
		to = MIN(to, end);
		madvise(region.base + ((uint64_t)from - region.fd_offset), (size_t)(to - from), MADV_POPULATE_WRITE);
	}
}

static int region_map(size_t size, size_t page, int fd, uint64_t offset, struct err *e)
{
	struct secmem_look look;
	uint8_t *base;
	int r;

	base = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return err_set(e, -errno, "reserve %zu bytes of memory for secrets: %m", size);

	r = region_fill(base + page, size, fd, offset);
	if (r == 0 && madvise(base + page, size, MADV_DONTDUMP) < 0)
		r = -errno;
	if (r < 0) {
		err_set(e, r, "set up memory for secrets: %s", strerror(-r));
		munmap(base, size + 2 * page);
		return r;
	}
	madvise(base + page, size, MADV_NOHUGEPAGE); /* so that single pages can go back; fails without THP */
	region.base = base + page;
	region.size = size;
	region.page = page;
	r = mlock2(region.base, size, MLOCK_ONFAULT);
	look = secmem_look(region.base, size);
	region.locked = r == 0 && look.locked;
	region.undumped = look.undumped;
	randombytes_buf(&region.check_key, sizeof(region.check_key));
	return 0;
}

static int region_check(size_t size, struct err *e)
{
	if (region.base)
		return err_set(e, -EALREADY, "memory for secrets is set up already");
	if (size == 0 || size > SECMEM_LIMIT_MAX)
		return err_set(e, -EINVAL, "memory for secrets: a limit of %zu bytes is not possible", size);
	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium cannot start");
	return 0;
}

int secmem_init(size_t limit_bytes, struct err *e)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct chunk *all;
	int r;

	r = region_check(limit_bytes, e);
	r = r ?: region_map((limit_bytes + page - 1) / page * page, page, -1, 0, e);
	if (r < 0)
		return r;
	region.fd = -1;

	all = (struct chunk *)region.base;
	chunk_set(all, region.size / UNIT, false);
	bin_insert(all);
	return 0;
}

int secmem_init_shared(int fd, uint64_t offset, size_t size, struct err *e)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	cleanup_fd int copy = -1;
	int r;

	r = region_check(size, e);
	if (r < 0)
		return r;
	if (size % page != 0 || offset % page != 0)
		return err_set(e, -EINVAL, "memory for secrets: not whole pages");
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return err_set(e, -errno, "memory for secrets: %m");
	r = region_map(size, page, fd, offset, e);
	if (r < 0)
		return r;
	region.fd = TAKE_FD(copy);
	region.fd_offset = offset;
	region_populate();
	return 0;
}

/* ---- what an earlier process has left ---- */

static int compare_uses(const void *a, const void *b)
{
	const struct secmem_use *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static uint64_t use_first_unit(const struct secmem_use *u)
{
	return (u->offset - CHUNK_HEADER) / UNIT;
}

static uint64_t use_units(const struct secmem_use *u)
{
	return (CHUNK_HEADER + MAX(u->len, (uint64_t)UNIT) + UNIT - 1) / UNIT;
}

static bool uses_are_possible(const struct secmem_use *uses, size_t n)
{
	uint64_t end = 0; /* units */

	for (size_t i = 0; i < n; i++) {
		if (!secmem_at(uses[i].offset, uses[i].len) || use_first_unit(&uses[i]) < end ||
		    (i == 0 && use_first_unit(&uses[i]) == 1))
			return false;
		end = use_first_unit(&uses[i]) + use_units(&uses[i]);
	}
	return end <= region.size / UNIT;
}

/* Wipes free memory. Whole pages go back to the kernel, which is the cheapest way to wipe what may be a large hole. */
static void wipe_range(uint8_t *from, uint8_t *to)
{
	uintptr_t mask = ~(uintptr_t)(region.page - 1);
	uint8_t *low = (uint8_t *)(((uintptr_t)from + region.page - 1) & mask),
		*high = (uint8_t *)((uintptr_t)to & mask);

	if (low >= high || pages_drop(low, (size_t)(high - low)) < 0) {
		explicit_bzero(from, (size_t)(to - from));
		return;
	}
	explicit_bzero(from, (size_t)(low - from));
	explicit_bzero(high, (size_t)(to - high));
}

/* A chunk from unit `first` to unit `end`. n_prev is put right here, because there is nothing valid behind it yet. */
static void chunk_place(uint64_t first, uint64_t end, bool used, uint64_t *prev_units)
{
	struct chunk *c = (struct chunk *)(region.base + first * UNIT);

	if (!used)
		wipe_range((uint8_t *)c, region.base + end * UNIT);
	c->n_units = (uint32_t)(end - first);
	c->n_prev = *prev_units & INT32_MAX;
	c->used = used;
	chunk_seal(c);
	*prev_units = end - first;
	if (used) {
		region.n_used_bytes += chunk_bytes(c);
		region.n_blocks++;
	}
}

void secmem_sort_uses(struct secmem_use *uses, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (compare_uses(&uses[i - 1], &uses[i]) > 0) {
			qsort(uses, n, sizeof(*uses), compare_uses);
			return;
		}
	}
}

int secmem_check_uses(struct secmem_use *uses, size_t n, struct err *e)
{
	secmem_sort_uses(uses, n);
	if (!uses_are_possible(uses, n))
		return err_set(e, -EBADMSG, "what is said to be in use of the secret memory cannot be");
	return 0;
}

int secmem_adopt(struct secmem_use *uses, size_t n, struct err *e)
{
	uint64_t n_all = region.size / UNIT, at = 0, prev = 0;
	int r;

	assert(region.base && region.fd >= 0 && region.n_blocks == 0);
	r = secmem_check_uses(uses, n, e);
	if (r < 0)
		return r;

	for (size_t i = 0; i <= n; i++) {
		uint64_t first = i < n ? use_first_unit(&uses[i]) : n_all, end;

		if (first > at)
			chunk_place(at, first, false, &prev);
		if (i == n)
			break;
		/* what is too small for a chunk belongs to the one in front of it, as chunk_split() leaves it */
		end = first + use_units(&uses[i]);
		at = i + 1 < n ? use_first_unit(&uses[i + 1]) : n_all;
		if (at - end >= CHUNK_UNITS_MIN)
			at = end;
		chunk_place(first, at, true, &prev);
	}
	for (struct chunk *c = (struct chunk *)region.base; c; c = chunk_next(c))
		if (!c->used)
			bin_insert(c);
	return 0;
}

uint64_t secmem_offset(const void *p)
{
	assert((const uint8_t *)p >= region.base && (const uint8_t *)p < region.base + region.size);
	return (uint64_t)((const uint8_t *)p - region.base);
}

void *secmem_at(uint64_t offset, uint64_t len)
{
	if (offset % UNIT != 0 || offset < CHUNK_HEADER || offset > region.size || len > region.size - offset)
		return NULL;
	return region.base + offset;
}

int secmem_lock_process(void)
{
	cleanup_free void *block = malloc(1);
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	/* with a limit, allocations would fail some day: what is only reserved counts as well */
	(void)setrlimit(RLIMIT_MEMLOCK, &limit);
	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 || limit.rlim_cur != RLIM_INFINITY)
		return -EPERM;
	if (!block)
		return -ENOMEM;
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		return -errno;
	process_locked = secmem_look(block, 1).locked;
	return process_locked ? 0 : -EOPNOTSUPP;
}

void secmem_deinit(void)
{
	if (!region.base)
		return;
	/* what is free is wiped already; touching it would fault all the pages in */
	for (struct chunk *c = (struct chunk *)region.base, *next; c && region.fd < 0; c = next) {
		next = chunk_next(c);
		if (c->used)
			explicit_bzero(c, chunk_bytes(c));
	}
	close_fd(region.fd);
	munmap(region.base - region.page, region.size + 2 * region.page);
	explicit_bzero(&region, sizeof(region));
}

struct secmem_stats secmem_stats(void)
{
	return (struct secmem_stats){
		.limit_bytes = region.size,
		.used_bytes = region.n_used_bytes,
		.n_blocks = region.n_blocks,
		.locked = region.locked,
		.undumped = region.undumped,
		.process_locked = process_locked,
	};
}

/* ---- blocks ---- */

static struct chunk *chunk_of(void *p)
{
	return chunk_verify((struct chunk *)((uint8_t *)p - CHUNK_HEADER));
}

void *secmem_alloc(size_t len)
{
	struct chunk *c = NULL;
	uint8_t *p;

	assert(region.base);
	if (len < region.size)
		c = chunk_alloc((CHUNK_HEADER + MAX(len, UNIT) + UNIT - 1) / UNIT);
	region.n_refused_bytes = c ? 0 : MAX(len, (size_t)1);
	if (!c)
		return NULL;
	p = (uint8_t *)c + CHUNK_HEADER;
	memset(p, 0, chunk_bytes(c) - CHUNK_HEADER);
	region.n_used_bytes += chunk_bytes(c);
	region.n_blocks++;
	return p;
}

void secmem_free(void *p)
{
	struct chunk *c;

	if (!p)
		return;
	c = chunk_of(p);
	assert(c->used);
	region.n_used_bytes -= chunk_bytes(c);
	region.n_blocks--;
	chunk_free(c);
}

static int say_full(size_t len, struct err *e)
{
	err_set(e, -ENOMEM, "no memory for a secret of %zu bytes: %zu of %zu bytes (secretMemoryLimit) are in use", len,
		region.n_used_bytes, region.size);
	if (e)
		e->reason = SECMEM_FULL;
	return -ENOMEM;
}

bool secmem_was_full(struct err *e)
{
	if (region.n_refused_bytes == 0)
		return false;
	say_full(region.n_refused_bytes, e);
	return true;
}

int secblock_new(size_t len, struct secblock **ret_block, struct err *e)
{
	struct secblock *b = len <= SIZE_MAX - sizeof(*b) ? secmem_alloc(sizeof(*b) + len) : NULL;

	if (!b)
		return say_full(len, e);
	b->refs = 1;
	b->len = len;
	*ret_block = b;
	return 0;
}

struct secblock *secblock_ref(struct secblock *b)
{
	assert(b->refs > 0);
	b->refs++;
	return b;
}

void secblock_unref(struct secblock *b)
{
	if (!b)
		return;
	chunk_of(b);
	assert(b->refs > 0);
	if (--b->refs == 0)
		secmem_free(b);
}

bool secspan_eq(const struct secspan *a, const struct secspan *b)
{
	return a->len == b->len && sodium_memcmp(secspan_data(a), secspan_data(b), a->len) == 0;
}

/* ---- digests ---- */

static uint8_t digest_key[crypto_generichash_KEYBYTES];
static bool digest_key_given;

static void digest_key_draw(void)
{
	if (!digest_key_given)
		randombytes_buf(digest_key, sizeof(digest_key));
}

void digest_set_key(const uint8_t key[static DIGEST_KEY_LEN])
{
	static_assert(DIGEST_KEY_LEN == crypto_generichash_KEYBYTES, "BLAKE2b takes keys of this length");
	memcpy(digest_key, key, sizeof(digest_key));
	digest_key_given = true;
}

static void digest_key_need(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, digest_key_draw);
}

struct digest digest_quick(const void *data, size_t len)
{
	struct digest d;

	static_assert(DIGEST_LEN == crypto_shorthash_siphashx24_BYTES, "SipHash makes checksums of this length");
	static_assert(DIGEST_KEY_LEN >= crypto_shorthash_siphashx24_KEYBYTES, "the key is long enough");
	digest_key_need();
	crypto_shorthash_siphashx24(d.b, data, len, digest_key);
	return d;
}

struct digest digest_of(const void *data, size_t len)
{
	struct digest d;

	static_assert(DIGEST_LEN >= crypto_generichash_BYTES_MIN, "BLAKE2b makes digests of this length");
	digest_key_need();
	crypto_generichash(d.b, sizeof(d.b), data, len, digest_key, sizeof(digest_key));
	return d;
}
