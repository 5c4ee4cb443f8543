/* Locked memory. The region is one mapping that is reserved once, so that one mlock2(2) at the start covers it for
 * good, and an allocator with boundary tags works inside: 16 bytes in front of each chunk, free neighbours always
 * merged, free chunks in lists by size (eight per power of two). What is free is wiped, and whole free pages go back
 * to the kernel. The headers lie beside secrets of other pods, so each carries a keyed check, and a damaged one ends
 * the process: nothing in the region can be trusted then. */
#include "common/secmem.h"

#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/mman.h>

#include "common/log.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

#define UNIT		((size_t)16)
#define CHUNK_UNITS_MIN 2
#define N_BINS		240
#define LIMIT_BYTES_MAX (UNIT << 31)

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

static_assert(CHUNK_HEADER == UNIT, "user bytes are aligned");
static_assert(sizeof(struct chunk) == CHUNK_UNITS_MIN * UNIT, "the smallest chunk can be in a list");
static_assert(sizeof(struct secblock) == UNIT, "block data is aligned");

static struct {
	uint8_t *base; /* NULL: not set up */
	size_t size, page;
	bool locked;
	uint64_t check_key;
	size_t n_used_bytes, n_blocks;
	struct chunk *bins[N_BINS];
	uint64_t bins_filled[(N_BINS + 63) / 64];
} region;

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

/* In its own bin a chunk may be too small; in those behind each is large enough. */
static struct chunk *bin_find(size_t n_units)
{
	unsigned bin = bin_of(n_units);

	for (struct chunk *c = region.bins[bin]; c; c = c->next_free)
		if (chunk_verify(c)->n_units >= n_units)
			return c;
	bin = bin_filled_from(bin + 1);
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

/* Gives the pages back that lie in free chunk c and that `from`..`to`, the part which was just freed, touches. */
static void pages_release(const struct chunk *c, const uint8_t *from, const uint8_t *to)
{
	uintptr_t mask = ~(uintptr_t)(region.page - 1);
	uintptr_t low = ((uintptr_t)c + sizeof(*c) + region.page - 1) & mask;
	uintptr_t high = ((uintptr_t)c + chunk_bytes(c)) & mask;

	low = MAX(low, (uintptr_t)from & mask);
	high = MIN(high, ((uintptr_t)to + region.page - 1) & mask);
	if (low < high)
		madvise((void *)low, high - low, MADV_DONTNEED_LOCKED); /* or they stay: they are wiped */
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

/* Whether smaps shows the whole region as locked: an mlock2(2) that some sandbox only pretends is none. */
static bool region_is_locked(void)
{
	cleanup_file FILE *smaps = fopen("/proc/self/smaps", "re");
	uintptr_t base = (uintptr_t)region.base;
	bool ours = false;
	char line[1024];

	while (smaps && fgets(line, sizeof(line), smaps)) {
		uintptr_t start, end;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2)
			ours = start <= base && end >= base + region.size;
		else if (ours && strncmp(line, "VmFlags:", 8) == 0)
			return strstr(line, " lo ") || strstr(line, " lo\n");
	}
	return false;
}

static int region_map(size_t size, size_t page, struct err *e)
{
	uint8_t *base;
	int r = 0;

	base = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return err_set(e, -errno, "reserve %zu bytes of memory for secrets: %m", size);

	if (mprotect(base + page, size, PROT_READ | PROT_WRITE) < 0 || madvise(base + page, size, MADV_DONTDUMP) < 0 ||
	    madvise(base + page, size, MADV_WIPEONFORK) < 0)
		r = err_set(e, -errno, "set up memory for secrets: %m");
	if (r < 0) {
		munmap(base, size + 2 * page);
		return r;
	}
	madvise(base + page, size, MADV_NOHUGEPAGE); /* so that single pages can go back; fails without THP */
	region.base = base + page;
	region.size = size;
	region.page = page;
	return 0;
}

int secmem_init(size_t limit_bytes, struct err *e)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size;
	struct chunk *all;
	int r;

	if (region.base)
		return err_set(e, -EALREADY, "memory for secrets is set up already");
	if (limit_bytes == 0 || limit_bytes > LIMIT_BYTES_MAX - page)
		return err_set(e, -EINVAL, "memory for secrets: a limit of %zu bytes is not possible", limit_bytes);
	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium cannot start");

	size = (limit_bytes + page - 1) / page * page;
	r = region_map(size, page, e);
	if (r < 0)
		return r;
	region.locked = mlock2(region.base, size, MLOCK_ONFAULT) == 0 && region_is_locked();
	randombytes_buf(&region.check_key, sizeof(region.check_key));

	all = (struct chunk *)region.base;
	chunk_set(all, size / UNIT, false);
	bin_insert(all);
	return 0;
}

void secmem_deinit(void)
{
	if (!region.base)
		return;
	/* what is free is wiped already; touching it would fault all the pages in */
	for (struct chunk *c = (struct chunk *)region.base, *next; c; c = next) {
		next = chunk_next(c);
		if (c->used)
			explicit_bzero(c, chunk_bytes(c));
	}
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
	};
}

/* ---- blocks ---- */

int secblock_new(size_t len, struct secblock **ret_block, struct err *e)
{
	struct chunk *c = NULL;
	struct secblock *b;

	assert(region.base);
	if (len < region.size)
		c = chunk_alloc((CHUNK_HEADER + sizeof(*b) + len + UNIT - 1) / UNIT);
	if (!c)
		return err_set(e, -ENOMEM, "no memory for a secret of %zu bytes: %zu of %zu bytes are in use", len,
			       region.n_used_bytes, region.size);

	b = (struct secblock *)((uint8_t *)c + CHUNK_HEADER);
	memset(b, 0, chunk_bytes(c) - CHUNK_HEADER);
	b->refs = 1;
	b->len = len;
	region.n_used_bytes += chunk_bytes(c);
	region.n_blocks++;
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
	struct chunk *c;

	if (!b)
		return;
	c = chunk_verify((struct chunk *)((uint8_t *)b - CHUNK_HEADER));
	assert(c->used && b->refs > 0);
	if (--b->refs > 0)
		return;
	region.n_used_bytes -= chunk_bytes(c);
	region.n_blocks--;
	chunk_free(c);
}

bool secspan_eq(const struct secspan *a, const struct secspan *b)
{
	return a->len == b->len && sodium_memcmp(secspan_data(a), secspan_data(b), a->len) == 0;
}

/* ---- digests ---- */

static uint8_t digest_key[crypto_generichash_KEYBYTES];

static void digest_key_draw(void)
{
	randombytes_buf(digest_key, sizeof(digest_key));
}

struct digest digest_of(const void *data, size_t len)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct digest d;

	static_assert(DIGEST_LEN >= crypto_generichash_BYTES_MIN, "BLAKE2b makes digests of this length");
	pthread_once(&once, digest_key_draw);
	crypto_generichash(d.b, sizeof(d.b), data, len, digest_key, sizeof(digest_key));
	return d;
}
