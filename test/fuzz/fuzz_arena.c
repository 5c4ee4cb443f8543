/* fuzz: at most 1024 bytes
 * Arena: a tree is made and changed in it, and at some stores of the last change its process dies; what the next one
 * finds is the tree before or after the change that was under way, and nothing is left over. Or the memory is damaged
 * afterwards, or never was an arena: then it is refused, or what it shows was written, for that volume and no other.
 * Or whoever damages it has the digests' key, as an agent has: then it is refused, or is some tree that can be used.
 *
 * A store is seen by its fault: the memory is read-only, and each store to it runs alone, as a single step. A death leaves
 * the memory as it is at that moment, so a copy that is taken then is what the next process finds.
 *
 * Input: how it ends, at which store, the changes, and the damage. */
#include "test/fuzz/fuzz.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "common/log.h"
#include "common/str.h"
#include "fusefs/tree.h"
#include "test/fuzz/unlocked.h"

#define HEAP	    (64u << 10)
#define SIZE	    (ARENA_HEAD_SIZE + HEAP)
#define N_VOLUMES   3
#define TEXT_MAX    64
#define CHANGES_MAX 24

#if defined(__x86_64__)
#define CAN_STEP 1
#else
#define CAN_STEP 0
#endif

static const char *const VOLUMES[N_VOLUMES] = { "vol0", "vol1", "vol2" };

struct model {
	uint32_t shows[N_VOLUMES]; /* serial number of the version; 0: there is no volume */
	uint64_t lookups[N_VOLUMES]; /* of the volume's folder */
	uint64_t id[N_VOLUMES];
};

static struct {
	int fd;
	uint8_t *view; /* the same memory, never read-only */
	struct arena *arena;
	struct tree *tree;
	uint32_t serial;
	struct model before, after; /* the change that is under way */
} f;

#define HEAD_USED 4096u /* all of the head but most of the request's slot */
#define N_DEATHS  16

/* What a death has left. */
struct remains {
	uint64_t n; /* stores before it */
	struct model before, after;
	uint8_t head[HEAD_USED], heap[HEAP];
};

static struct {
	uint8_t *head, *heap;
	uint64_t n, dies_at, and_every; /* stores */
	bool stepping;
	size_t n_remains;
	struct remains remains[N_DEATHS];
	uint8_t copy[SIZE];
} stores;

/* --- stores --- */

static void protect(const uint8_t *at, int protection)
{
	if (at == stores.head)
		mprotect(stores.head, HEAD_USED, protection);
	else
		mprotect(stores.heap, HEAP, protection);
}

#if CAN_STEP
#define TRAP_FLAG 0x100

static uint8_t *region_of(const uint8_t *at)
{
	if (at >= stores.head && at < stores.head + HEAD_USED)
		return stores.head;
	return at >= stores.heap && at < stores.heap + HEAP ? stores.heap : NULL;
}

static void note_death(void)
{
	struct remains *r;

	if (++stores.n < stores.dies_at || stores.n_remains == N_DEATHS)
		return;
	r = &stores.remains[stores.n_remains++];
	r->n = stores.n;
	r->before = f.before;
	r->after = f.after;
	memcpy(r->head, f.view, HEAD_USED);
	memcpy(r->heap, f.view + ARENA_HEAD_SIZE, HEAP);
	stores.dies_at = stores.n + stores.and_every;
}

static uint8_t *stepping_in;

static void store_faults(int signal_number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uint8_t *region = region_of(info->si_addr);

	if (!region || stores.stepping) {
		signal(SIGSEGV, SIG_DFL); /* it is run again, and ends the process */
		return;
	}
	note_death();
	protect(region, PROT_READ | PROT_WRITE);
	if (stores.n_remains == N_DEATHS)
		return; /* that is enough of them */
	stores.stepping = true;
	stepping_in = region;
	uc->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void store_done(int signal_number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	protect(stepping_in, PROT_READ);
	stores.stepping = false;
	uc->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

static void stores_watch(bool on)
{
	static struct sigaction old_segv, old_trap;
	struct sigaction segv = { .sa_sigaction = store_faults, .sa_flags = SA_SIGINFO };
	struct sigaction trap = { .sa_sigaction = store_done, .sa_flags = SA_SIGINFO };

	if (on) {
		stores.head = (uint8_t *)((uintptr_t)arena_connection(f.arena) & ~(uintptr_t)4095);
		stores.heap = (uint8_t *)secmem_at(16, 0) - 16;
		stores.n = 0;
		sigaction(SIGSEGV, &segv, &old_segv);
		sigaction(SIGTRAP, &trap, &old_trap);
		protect(stores.head, PROT_READ);
		protect(stores.heap, PROT_READ);
	} else {
		protect(stores.head, PROT_READ | PROT_WRITE);
		protect(stores.heap, PROT_READ | PROT_WRITE);
		sigaction(SIGSEGV, &old_segv, NULL);
		sigaction(SIGTRAP, &old_trap, NULL);
	}
}
#else
static void stores_watch(bool on)
{
}
#endif

/* --- a process --- */

static int begin(struct err *e)
{
	int r = arena_open(f.fd, &f.arena, e);

	return r ?: tree_open(1000000, f.arena, &f.tree, e);
}

static void end(void)
{
	tree_free(TAKE_PTR(f.tree));
	secmem_deinit();
	arena_close(TAKE_PTR(f.arena));
}

static struct node *root(void)
{
	return tree_node(f.tree, TREE_ROOT_ID);
}

/* --- changes, as the publisher makes them --- */

static size_t text_make(int volume, uint32_t serial, char text[TEXT_MAX])
{
	return (size_t)snprintf(text, TEXT_MAX, "%d:%u:%.*s", volume, serial, (int)(serial % 40),
				"........................................");
}

static void version_fill(struct node *version, int volume, uint32_t serial)
{
	struct payload_file file = { .mode = 0640 };
	struct secblock *b;
	char text[TEXT_MAX];
	struct node *n;

	FUZZ_CHECK(secblock_new(text_make(volume, serial, text), &b, NULL) == 0);
	memcpy(b->data, text, b->len);
	file.content = (struct secspan){ .block = b, .len = b->len };
	file.digest = digest_of(b->data, b->len);
	FUZZ_CHECK(tree_fill_file(f.tree, version, "key", &file, &n) == 0);
	secblock_unref(b);
}

static void volume_make(int volume)
{
	char name[32];
	struct node *vol, *v, *n;

	f.after.shows[volume] = ++f.serial;
	snprintf(name, sizeof name, "..%u", f.serial);
	FUZZ_CHECK(tree_stage_dir(f.tree, root(), VOLUMES[volume], 01777, 5, &vol) == 0);
	f.after.id[volume] = node_id(vol);
	FUZZ_CHECK(tree_fill_version(f.tree, vol, name, 0755, 0, NULL, &v) == 0);
	version_fill(v, volume, f.serial);
	FUZZ_CHECK(tree_fill_link(f.tree, vol, "..data", name, &n) == 0);
	FUZZ_CHECK(tree_commit_mkdir(f.tree, root(), VOLUMES[volume], &n) == 0);
}

static void volume_update(int volume)
{
	char name[32], old_name[32];
	struct node *vol = tree_find(f.tree, root(), VOLUMES[volume]), *old, *v, *n;

	snprintf(old_name, sizeof old_name, "..%u", f.before.shows[volume]);
	f.after.shows[volume] = ++f.serial;
	snprintf(name, sizeof name, "..%u", f.serial);
	old = tree_find(f.tree, vol, old_name);
	FUZZ_CHECK(tree_stage_version(f.tree, vol, name, 0755, 0, NULL, &v) == 0);
	version_fill(v, volume, f.serial);
	FUZZ_CHECK(tree_commit_mkdir(f.tree, vol, name, &n) == 0);
	FUZZ_CHECK(tree_stage_link(f.tree, vol, "..data_tmp", name, "..data", &n) == 0);
	FUZZ_CHECK(tree_commit_symlink(f.tree, vol, "..data_tmp", name, &n) == 0);
	FUZZ_CHECK(tree_commit_rename(f.tree, vol, "..data_tmp", vol, "..data") == 0);
	tree_retire(f.tree, old);
	tree_stage_removal(f.tree, tree_find(f.tree, old, "key"));
	FUZZ_CHECK(tree_commit_unlink(f.tree, old, "key") == 0);
	tree_stage_removal(f.tree, old);
	FUZZ_CHECK(tree_commit_rmdir(f.tree, vol, old_name) == 0);
}

static void volume_remove(int volume)
{
	tree_stage_removal(f.tree, tree_find(f.tree, root(), VOLUMES[volume]));
	f.after.shows[volume] = 0;
	FUZZ_CHECK(tree_commit_rmdir(f.tree, root(), VOLUMES[volume]) == 0);
}

/* Something that is staged and never comes. */
static void volume_fail(int volume)
{
	struct node *vol;

	if (tree_stage_dir(f.tree, root(), "staged", 0755, 0, &vol) < 0)
		return;
	version_fill(vol, volume, ++f.serial);
	tree_unstage(f.tree, vol);
}

static void change(uint8_t what)
{
	int volume = what % N_VOLUMES;
	bool there = f.before.shows[volume] > 0;

	f.after = f.before;
	switch (what / N_VOLUMES % 8) {
	case 0:
	case 1:
	case 2:
		if (there)
			volume_update(volume);
		else
			volume_make(volume);
		break;
	case 3:
		if (there)
			volume_remove(volume);
		break;
	case 4:
		volume_fail(volume);
		break;
	case 5:
	case 6:
		if (!there)
			break;
		f.after.lookups[volume]++;
		tree_ref_lookup(f.tree, tree_node(f.tree, f.before.id[volume]));
		break;
	case 7:
		f.after.lookups[volume] = 0;
		if (f.before.id[volume])
			tree_forget(f.tree, f.before.id[volume], UINT64_MAX);
		break;
	}
	f.before = f.after;
	/* a folder that is gone is not asked for again */
	if (!f.before.shows[volume] && !f.before.lookups[volume])
		f.before.id[volume] = 0;
	if (!f.before.shows[volume] && f.before.lookups[volume]) {
		tree_forget(f.tree, f.before.id[volume], UINT64_MAX);
		f.before.lookups[volume] = f.before.id[volume] = 0;
	}
	f.after = f.before;
}

/* --- what the next process shows --- */

/* The serial number of what the volume shows; 0: there is none. Everything in it was written for it. */
static uint32_t shown(int volume)
{
	struct node *vol = tree_find(f.tree, root(), VOLUMES[volume]), *data, *version, *key;
	char text[TEXT_MAX + 1], want[TEXT_MAX];
	const struct secspan *span;
	unsigned serial;
	int whose;

	if (!vol)
		return 0;
	data = tree_find(f.tree, vol, "..data");
	if (!data || node_kind(data) != NODE_LINK)
		return UINT32_MAX;
	version = tree_find(f.tree, vol, node_target(data));
	key = version && node_kind(version) == NODE_DIR ? tree_find(f.tree, version, "key") : NULL;
	if (!key || node_kind(key) != NODE_FILE)
		return UINT32_MAX;
	span = node_content(key);
	FUZZ_CHECK(span->len > 0 && span->len < TEXT_MAX);
	memcpy(text, secspan_data(span), span->len);
	text[span->len] = 0;
	FUZZ_CHECK(sscanf(text, "%d:%u:", &whose, &serial) == 2);
	FUZZ_CHECK(whose == volume && serial > 0 && serial <= f.serial);
	text_make(volume, serial, want);
	FUZZ_CHECK(str_eq(text, want));
	return serial;
}

/* The folder of a pod can be listed to its end and removed, and then nothing is in use. */
static void check_clear(void)
{
	struct node *n;

	while ((n = node_next_child(root(), 0))) {
		static char name[4097];

		snprintf(name, sizeof name, "%s", node_name(n));
		tree_stage_removal(f.tree, n);
		FUZZ_CHECK((node_kind(n) == NODE_DIR ? tree_commit_rmdir(f.tree, root(), name)
						     : tree_commit_unlink(f.tree, root(), name)) == 0);
	}
	tree_drop_hidden(f.tree, root());
}

static void check_after_death(const struct remains *left)
{
	struct err e = ERR_INIT;

	memcpy(f.view, left->head, HEAD_USED);
	memcpy(f.view + ARENA_HEAD_SIZE, left->heap, HEAP);
	if (begin(&e) < 0) {
		fprintf(stderr, "after %ju stores: %s\n", (uintmax_t)left->n, err_text(&e));
		abort();
	}
	for (int i = 0; i < N_VOLUMES; i++) {
		uint32_t is = shown(i);
		const struct node *n = is ? tree_find(f.tree, root(), VOLUMES[i]) : NULL;

		FUZZ_CHECK(is == left->before.shows[i] || is == left->after.shows[i]);
		if (n)
			FUZZ_CHECK(node_lookups(n) == left->before.lookups[i] ||
				   node_lookups(n) == left->after.lookups[i]);
	}
	check_clear();
	for (uint64_t id = TREE_ROOT_ID + 1; id < arena_next_id(f.arena); id++)
		tree_forget(f.tree, id, UINT64_MAX);
	FUZZ_CHECK(tree_stats(f.tree).n_nodes == 1 && tree_stats(f.tree).n_detached == 0);
	FUZZ_CHECK(tree_stats(f.tree).content_bytes == 0);
	FUZZ_CHECK(secmem_stats().n_blocks == 0 && secmem_stats().used_bytes == 0);
}

/* --- damage --- */

/* Where things are in version 1 of the head and of a record. */
enum {
	HEAD_KEY = 24,
	HEAD_FIRST = HEAD_KEY + DIGEST_KEY_LEN,
	RECORD_NEXT = 0,
	RECORD_CHECK = 40,
	RECORD_CHECKED = 56,
	RECORD_SIZE = 60,
	RECORD_BLOCK = 96,
	RECORD_BLOCK_LEN = 104,
	RECORD_OFF = 112,
	RECORD_LEN = 120,
	RECORD_DIGEST = 128,
	RECORD_MIN = 160,
	BLOCK_DATA = sizeof(struct secblock),
};

static bool signed_; /* damaged by somebody with the key */

static uint64_t word_at(const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof word);
	return word;
}

/* Makes the records' checks right again, and, if asked for, those of their contents. */
static void sign(uint8_t *all, bool contents)
{
	uint8_t *heap = all + ARENA_HEAD_SIZE;
	uint64_t at = word_at(all + HEAD_FIRST);
	struct digest d;

	signed_ = true;
	digest_set_key(all + HEAD_KEY);
	for (int i = 0; i < 200 && at > 0 && at <= HEAP - RECORD_MIN && at % 16 == 0; i++) {
		uint8_t *r = heap + at;
		uint64_t block = word_at(r + RECORD_BLOCK), off = word_at(r + RECORD_OFF),
			 len = word_at(r + RECORD_LEN);
		uint32_t size;

		memcpy(&size, r + RECORD_SIZE, sizeof size);
		if (contents && block > 0 && block < HEAP && off < HEAP && len < HEAP &&
		    block + BLOCK_DATA + off + len <= HEAP) {
			d = digest_of(heap + block + BLOCK_DATA + off, len);
			memcpy(r + RECORD_DIGEST, d.b, sizeof d.b);
		}
		if (size > RECORD_CHECKED && size <= HEAP - at) {
			d = digest_quick(r + RECORD_CHECKED, size - RECORD_CHECKED);
			memcpy(r + RECORD_CHECK, d.b, sizeof d.b);
		}
		at = word_at(r + RECORD_NEXT);
	}
}

/* A word of a record of the chain, so that it is one that counts. */
static uint8_t *record_word(uint8_t *all, uint8_t n, uint8_t word)
{
	uint64_t at = word_at(all + HEAD_FIRST), next;

	for (; at > 0 && at <= HEAP - 256; at = next, n--) {
		next = word_at(all + ARENA_HEAD_SIZE + at + RECORD_NEXT);
		if (n == 0 || next == 0 || next > HEAP - 256)
			return all + ARENA_HEAD_SIZE + at + word % (RECORD_MIN / 4 + 8) * 4;
	}
	return all;
}

/* A place that is in use, in the head or the heap. */
static size_t place(struct fuzz_input *in)
{
	uint32_t n = fuzz_u32(in);

	if (n >> 30 == 0)
		return n % 160; /* of the head's own words */
	if (n >> 30 == 1)
		return n % SIZE;
	return ARENA_HEAD_SIZE + n % (8u << 10);
}

static void damage(struct fuzz_input *in)
{
	uint8_t *all = stores.copy, *found, swap[512];
	char text[TEXT_MAX];
	size_t at = place(in), to = place(in) & ~(size_t)15, len;
	uint8_t op = fuzz_u8(in);
	struct fuzz_input bytes;
	uint64_t word;

	if (op >= 0xf0) {
		sign(all, op & 1);
		return;
	}
	if (op >= 0xc0) {
		found = record_word(all, fuzz_u8(in), fuzz_u8(in));
		word = op & 1 ? fuzz_u32(in) : op & 2 ? to % HEAP : fuzz_u8(in);
		if (op & 4)
			word ^= word_at(found);
		memcpy(found, &word, op & 8 ? 4 : sizeof word);
		return;
	}
	switch (op % 8) {
	case 0:
		all[at] ^= 1u << (fuzz_u8(in) & 7);
		break;
	case 1:
		bytes = fuzz_take(in, 1 + fuzz_u8(in) % 32);
		if (bytes.len > 0)
			memcpy(all + MIN(at, SIZE - bytes.len), bytes.data, bytes.len);
		break;
	case 2: /* a word that could be one of its own: an offset, a small number */
		word = fuzz_u8(in) & 1 ? fuzz_u8(in) : (uint64_t)(to % HEAP) | (fuzz_u8(in) & 1 ? 0 : 16);
		memcpy(all + MIN(at & ~(size_t)7, SIZE - sizeof word), &word, sizeof word);
		break;
	case 3: /* two pieces of the size of a record, or so */
		len = 16 + fuzz_u8(in) % 30 * 16;
		at = MIN(at & ~(size_t)15, SIZE - len);
		to = MIN(to, SIZE - len);
		memcpy(swap, all + at, len);
		memmove(all + at, all + to, len);
		memcpy(all + to, swap, len);
		break;
	case 4: /* the same piece twice */
		len = 16 + fuzz_u8(in) % 30 * 16;
		memmove(all + MIN(at & ~(size_t)15, SIZE - len), all + MIN(to, SIZE - len), len);
		break;
	case 5:
		memset(all + MIN(at, SIZE - 64), fuzz_u8(in), 64);
		break;
	case 7: /* one byte of what a volume shows */
		len = text_make(at % N_VOLUMES, f.before.shows[at % N_VOLUMES], text);
		found = f.before.shows[at % N_VOLUMES] ? memmem(all + ARENA_HEAD_SIZE, HEAP, text, len) : NULL;
		if (found)
			found[to % len] ^= 1 + fuzz_u8(in) % 255;
		break;
	case 6: /* all behind it was never written */
		memset(all + at, 0, SIZE - at);
		break;
	}
}

/* All that a kernel could ask for. */
static void check_usable(void)
{
	unsigned sum = 0;

	for (uint64_t id = 0; id <= 1000; id++) {
		struct node *n = tree_node(f.tree, id), *child;
		const char *name;
		struct stat st;

		if (!n)
			continue;
		node_stat(n, &st);
		tree_origin(f.tree, n, &name);
		FUZZ_CHECK(!node_parent(n) || node_kind(node_parent(n)) == NODE_DIR);
		if (node_kind(n) == NODE_FILE) {
			const struct secspan *span = node_content(n);

			FUZZ_CHECK(!span->block ||
				   (span->off <= span->block->len && span->len <= span->block->len - span->off));
			for (size_t i = 0; i < span->len; i++)
				sum += secspan_data(span)[i];
		}
		if (node_kind(n) == NODE_LINK)
			sum += strlen(node_target(n));
		if (node_kind(n) == NODE_DIR)
			for (uint64_t after = 0; (child = node_next_child(n, after)); after = node_cookie(child))
				FUZZ_CHECK(node_parent(child) == n && tree_find(f.tree, n, node_name(child)) == child);
	}
	__asm__ volatile("" : : "r"(sum));
}

/* Taken or refused; whatever is taken can be used. */
static void check_damaged(const uint8_t *bytes)
{
	struct err e = ERR_INIT;

	memcpy(f.view, bytes, SIZE);
	if (begin(&e) < 0) {
		FUZZ_CHECK(*err_text(&e));
		return;
	}
	if (signed_)
		check_usable();
	for (int i = 0; i < N_VOLUMES && !signed_; i++)
		shown(i);
	check_clear();
	for (uint64_t id = TREE_ROOT_ID + 1; id <= 1000; id++)
		tree_forget(f.tree, id, UINT64_MAX);
}

/* A file that is shorter than it says. */
static void check_short(struct fuzz_input *in)
{
	struct arena_connection *c;
	struct err e = ERR_INIT;
	uint64_t size, device;
	int fd = memfd_create("fuzz_arena", MFD_CLOEXEC);
	size_t len = fuzz_u32(in) % SIZE;

	FUZZ_CHECK(fd >= 0 && write(fd, stores.copy, len) == (ssize_t)len);
	FUZZ_CHECK(arena_map(fd, &c, &size, &e) < 0 && *err_text(&e));
	arena_device(fd, &device);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t fresh[SIZE];
	struct fuzz_input in = { .data = data, .len = size }, bytes;
	uint8_t how;

	if (!f.view) {
		log_set_level(LOG_LEVEL_ERROR);
		FUZZ_CHECK(arena_create(HEAP, &f.fd, NULL) == 0);
		f.view = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
		FUZZ_CHECK(f.view != MAP_FAILED);
		memcpy(fresh, f.view, SIZE);
	}
	how = fuzz_u8(&in);
	if (how >= 0xf0) { /* no arena at all, or its first words alone */
		memset(stores.copy, 0, SIZE);
		memcpy(stores.copy, fresh, how & 1 ? 24 + DIGEST_KEY_LEN : 0);
		if (in.len > 0)
			memcpy(stores.copy + (how & 2 ? 24 + DIGEST_KEY_LEN : 0), in.data, in.len);
		signed_ = false;
		check_damaged(stores.copy);
		end();
		return 0;
	}
	memcpy(f.view, fresh, SIZE);
	f.serial = 0;
	f.before = f.after = (struct model){ 0 };
	FUZZ_CHECK(begin(NULL) == 0);
	stores.n_remains = 0;
	signed_ = false;
	stores.dies_at = (uint64_t)fuzz_u8(&in) << 8 | fuzz_u8(&in);
	stores.and_every = 1 + stores.dies_at % 29;
	stores.dies_at = 1 + stores.dies_at % (how & 1 ? 64 : 1024);
	bytes = fuzz_take(&in, how % CHANGES_MAX);
	while (bytes.len > 1)
		change(fuzz_u8(&bytes));
	/* a fault for each store takes its time: the last change alone is watched */
	if (how < 0x40)
		stores_watch(true);
	change(fuzz_u8(&bytes));
	if (how < 0x40)
		stores_watch(false);
	end();
	if (how < 0x40 && stores.n_remains > 0) {
		for (size_t i = 0; i < stores.n_remains; i++) {
			check_after_death(&stores.remains[i]);
			end();
		}
		return 0;
	}
	memcpy(stores.copy, f.view, SIZE);
	while (in.len > 0)
		damage(&in);
	check_damaged(stores.copy);
	end();
	if (how & 2)
		check_short(&in);
	return 0;
}
