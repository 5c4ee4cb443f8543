/* fuzz: at most 512 bytes
 * Offline cache, the whole folder: four generations of it are written in cache.c's order. Then comes somebody who has all
 * the files that were ever in it, and not the key: puts any of them in any place, changes, cuts, removes or renames them,
 * or writes files of his own. The next agent, cache.c with cache_dir.c, is to take exactly what a model says:
 * nothing without an index of ours that is not older than a record; of one, each record that is byte for byte the one that
 * was written with it; of each pod all or nothing.
 *
 * Input: the generation that is there, then one operation after the other. */
#include "test/fuzz/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The folder's process is left out: its orders are carried out here, and answered from the loop as it does. */
#define cache_io_list	     orders_list
#define cache_io_read	     orders_read
#define cache_io_write	     orders_write
#define cache_io_remove	     orders_remove
#define cache_io_busy_usec   orders_busy_usec
#define cache_io_ended	     orders_ended
#define cache_new	     fuzz_cache_new
#define cache_free	     fuzz_cache_free
#define cache_restore	     fuzz_cache_restore
#define cache_restore_cancel fuzz_cache_restore_cancel
#define cache_touch	     fuzz_cache_touch
#define cache_resume	     fuzz_cache_resume
#define cache_stats	     fuzz_cache_stats
#include "agent/cache.c" /* NOLINT(bugprone-suspicious-include): under the names above */

#include "agent/codec.h"
#include "common/str.h"

enum { SECMEM_BYTES = 16 << 20, GENERATIONS = 4, FILES_MAX = 16, OPS_MAX = 40, TURNS_MAX = 1000 };

/* The log says what was refused, millions of times. */
ssize_t write(int fd, const void *data, size_t len)
{
	return fd == STDERR_FILENO ? (ssize_t)len : syscall(SYS_write, fd, data, len);
}

/* --- what was written --- */

static const char NODE[] = "node-1";

/* Which revision each object has in each generation; 0: none, -1: the API server has not got it. */
static const struct {
	enum cache_kind kind;
	const char *id, *needs[2]; /* Secrets */
	int revisions[GENERATIONS];
} OBJECTS[] = {
	{ CACHE_POD, "default/web/u1", { "default/db", "default/tls" }, { 1, 1, 1, 0 } },
	{ CACHE_POD, "default/api/u2", { "default/tls", NULL }, { 0, 1, 1, 2 } },
	{ CACHE_SECRET, "default/db", { NULL }, { 1, 2, 2, 3 } },
	{ CACHE_SECRET, "default/tls", { NULL }, { 1, 1, -1, 2 } },
};

struct file {
	char name[CACHE_NAME_MAX];
	struct buf bytes;
};

static struct {
	struct file records[FILES_MAX], indexes[GENERATIONS];
	size_t n_records;
	int of[GENERATIONS][ARRAY_SIZE(OBJECTS)]; /* index of the record; -1: none */
	char *texts[FILES_MAX]; /* what the record says */
} history;

static struct cache_key *keys[2];

static char *object_text(size_t object, int revision)
{
	const char *id = OBJECTS[object].id, *const *needs = OBJECTS[object].needs;
	cleanup_free char *copy = strdup(id);
	char *save = NULL, *ns = strtok_r(copy, "/", &save), *name = strtok_r(NULL, "/", &save),
	     *uid = strtok_r(NULL, "/", &save);

	if (OBJECTS[object].kind == CACHE_SECRET)
		return str_format(
			"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"namespace\":\"%s\",\"name\":"
			"\"%s\",\"uid\":\"s\",\"resourceVersion\":\"%d\"},\"data\":{\"k%d\":\"YQ==\"}}",
			ns, name, revision, revision);
	return str_format(
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\","
		"\"uid\":\"%s\"},\"spec\":{\"nodeName\":\"r%d\",\"volumes\":[{\"name\":\"a\",\"secret\":{"
		"\"secretName\":\"%s\"}},{\"name\":\"b\",\"secret\":{\"secretName\":\"%s\"}}],\"containers\":[{"
		"\"name\":\"c\",\"volumeMounts\":[{\"name\":\"a\",\"mountPath\":\"/a\"},{\"name\":\"b\","
		"\"mountPath\":\"/b\"}]}]}}",
		ns, name, uid, revision, needs[0] + strlen("default/"), (needs[1] ?: needs[0]) + strlen("default/"));
}

static void item_encode(const struct cache_item *item, struct buf *out)
{
	FUZZ_CHECK((item->pod ? cache_pod_encode(item->pod, out) : cache_secret_encode(item->secret, out)) == 0);
}

static int record_write(size_t object, int revision, uint64_t generation)
{
	cleanup_cache_set struct cache_set s = { .generation = 0 };
	cleanup_buf struct buf plain = BUF_INIT(CACHE_PLAINTEXT_MAX);
	cleanup_free char *text = object_text(object, revision);
	struct file *f = &history.records[history.n_records];
	struct cache_item *item;
	struct err e = ERR_INIT;

	FUZZ_CHECK(history.n_records < FILES_MAX && text);
	snprintf(f->name, sizeof(f->name), "%032zx", history.n_records + 0xabc0);
	f->bytes = BUF_INIT(CACHE_FILE_MAX);
	FUZZ_CHECK(cache_set_add(&s, OBJECTS[object].kind, OBJECTS[object].id, &item) == 0);
	FUZZ_CHECK(cache_item_decode(item, text, strlen(text), &e) == 0);
	item_encode(item, &plain);
	FUZZ_CHECK(cache_seal(keys[0],
			      &(struct cache_bind){ .node = NODE,
						    .kind = cache_kind_name(item->kind),
						    .id = item->id,
						    .file = f->name,
						    .generation = generation },
			      plain.data, plain.len, &f->bytes) == 0);
	history.texts[history.n_records] = buf_take(&plain);
	return (int)history.n_records++;
}

static void index_write(int g)
{
	cleanup_cache_set struct cache_set s = { .generation = (uint64_t)g + 1, .written_usec = 1 };
	cleanup_buf struct buf plain = BUF_INIT(CACHE_PLAINTEXT_MAX);
	struct file *f = &history.indexes[g];

	for (size_t i = 0; i < ARRAY_SIZE(OBJECTS); i++) {
		struct cache_item *item;
		const struct file *record;

		if (OBJECTS[i].revisions[g] == 0)
			continue;
		FUZZ_CHECK(cache_set_add(&s, OBJECTS[i].kind, OBJECTS[i].id, &item) == 0);
		item->absent = OBJECTS[i].revisions[g] < 0;
		if (item->absent)
			continue;
		record = &history.records[history.of[g][i]];
		item->revision = str_format("%d", OBJECTS[i].revisions[g]);
		item->generation = cache_generation(record->bytes.data, record->bytes.len);
		snprintf(item->file, sizeof(item->file), "%s", record->name);
		cache_digest(record->bytes.data, record->bytes.len, item->digest);
	}
	snprintf(f->name, sizeof(f->name), CACHE_INDEX_NAME);
	f->bytes = BUF_INIT(CACHE_FILE_MAX);
	FUZZ_CHECK(cache_index_encode(&s, &plain) == 0);
	FUZZ_CHECK(cache_seal(keys[0],
			      &(struct cache_bind){ .node = NODE,
						    .kind = CACHE_INDEX_KIND,
						    .id = "",
						    .file = CACHE_INDEX_NAME,
						    .generation = s.generation },
			      plain.data, plain.len, &f->bytes) == 0);
}

static void history_write(void)
{
	for (int g = 0; g < GENERATIONS; g++) {
		for (size_t i = 0; i < ARRAY_SIZE(OBJECTS); i++) {
			int revision = OBJECTS[i].revisions[g];

			if (revision <= 0)
				history.of[g][i] = -1;
			else if (g > 0 && OBJECTS[i].revisions[g - 1] == revision)
				history.of[g][i] = history.of[g - 1][i];
			else
				history.of[g][i] = record_write(i, revision, (uint64_t)g + 1);
		}
		index_write(g);
	}
}

/* --- the folder, as a model --- */

enum place_kind { NOTHING, FILE_, LINK, DIR_, FIFO };

struct place {
	char name[CACHE_NAME_MAX];
	enum place_kind kind;
	uint8_t *data;
	size_t len;
};

/* those of all records, the index, and some that were never written */
static struct place places[FILES_MAX + 4];
static size_t n_places;

static void place_empty(struct place *p)
{
	free(p->data);
	p->data = NULL;
	p->len = 0;
	p->kind = NOTHING;
}

static void place_fill(struct place *p, const void *data, size_t len)
{
	uint8_t *copy = malloc(len + 1);

	FUZZ_CHECK(copy);
	if (len > 0)
		memcpy(copy, data, len);
	place_empty(p);
	p->kind = FILE_;
	p->data = copy;
	p->len = len;
}

static const struct file *any_file(uint8_t n)
{
	n %= (uint8_t)(history.n_records + GENERATIONS);
	return n < GENERATIONS ? &history.indexes[n] : &history.records[n - GENERATIONS];
}

static void places_name(void)
{
	static const char *const others[] = { CACHE_INDEX_NAME, "ffffffffffffffffffffffffffffffff", "tmp-1", "other" };

	for (size_t i = 0; i < history.n_records; i++)
		snprintf(places[n_places++].name, CACHE_NAME_MAX, "%s", history.records[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		snprintf(places[n_places++].name, CACHE_NAME_MAX, "%s", others[i]);
}

static struct place *place_of(const char *name)
{
	for (size_t i = 0; i < n_places; i++)
		if (str_eq(places[i].name, name))
			return &places[i];
	abort();
}

/* As the last flush has left it. */
static void places_fill(int g)
{
	const struct buf *index = &history.indexes[g].bytes;

	for (size_t i = 0; i < n_places; i++)
		place_empty(&places[i]);
	for (size_t i = 0; i < ARRAY_SIZE(OBJECTS); i++) {
		const struct file *f = history.of[g][i] < 0 ? NULL : &history.records[history.of[g][i]];

		if (f)
			place_fill(place_of(f->name), f->bytes.data, f->bytes.len);
	}
	place_fill(place_of(CACHE_INDEX_NAME), index->data, index->len);
}

static struct place *any_place(struct fuzz_input *in)
{
	uint8_t n = fuzz_u8(in);

	/* the index as often as all others */
	return n & 1 ? place_of(CACHE_INDEX_NAME) : &places[(n >> 1) % n_places];
}

static void operation(struct fuzz_input *in)
{
	uint8_t op = fuzz_u8(in);
	struct place *p = any_place(in), *other, swap;
	const struct file *f, *f2;
	struct fuzz_input bytes;
	uint32_t at;

	switch (op % 10) {
	case 0: /* one that was there once, here or elsewhere */
	case 1:
		f = any_file(fuzz_u8(in));
		place_fill(p, f->bytes.data, f->bytes.len);
		break;
	case 2:
		place_empty(p);
		break;
	case 3:
		at = fuzz_u32(in);
		if (p->len > 0)
			p->data[at % p->len] ^= (uint8_t)(1u << (at >> 28 & 7));
		break;
	case 4:
		if (p->kind == FILE_)
			p->len = fuzz_u32(in) % (p->len + 1);
		break;
	case 5: /* something behind it */
		at = fuzz_u8(in) & 1 ? CACHE_BLOCK : fuzz_u8(in);
		if (p->kind != FILE_ || p->len > 4 * CACHE_BLOCK)
			break;
		p->data = realloc(p->data, p->len + at + 1);
		FUZZ_CHECK(p->data);
		memset(p->data + p->len, 0, at);
		p->len += at;
		break;
	case 6: /* his own; perhaps with the right head, of any generation */
		at = fuzz_u8(in);
		bytes = fuzz_take(in, fuzz_u8(in));
		place_fill(p, bytes.data, bytes.len);
		if (at & 1) {
			f = any_file((uint8_t)(at >> 1));
			place_fill(p, f->bytes.data, f->bytes.len);
			memcpy(p->data + CACHE_MAGIC_LEN, bytes.data ?: (const uint8_t *)"", MIN(bytes.len, (size_t)8));
		}
		break;
	case 7: /* what is no file */
		place_empty(p);
		p->kind = (enum place_kind)(LINK + fuzz_u8(in) % 3);
		break;
	case 8:
		other = any_place(in);
		swap = *p;
		p->kind = other->kind;
		p->data = other->data;
		p->len = other->len;
		other->kind = swap.kind;
		other->data = swap.data;
		other->len = swap.len;
		break;
	case 9: /* one's head and another's end */
		f = any_file(fuzz_u8(in));
		f2 = any_file(fuzz_u8(in));
		at = fuzz_u32(in) % (uint32_t)MIN(f->bytes.len, f2->bytes.len);
		place_fill(p, f2->bytes.data, f2->bytes.len);
		memcpy(p->data, f->bytes.data, at);
		break;
	}
}

/* --- the folder, really --- */

static char folder[] = "/dev/shm/fuzz_offline.XXXXXX";
static int folder_fd;
static struct place there[ARRAY_SIZE(places)]; /* what is in it */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_folder(void)
{
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void folder_write(void)
{
	for (size_t i = 0; i < n_places; i++) {
		struct place *p = &places[i];
		int fd;

		if (p->kind == there[i].kind && p->len == there[i].len &&
		    (p->len == 0 || memcmp(p->data, there[i].data, p->len) == 0))
			continue;
		if (unlinkat(folder_fd, p->name, 0) < 0 && errno == EISDIR)
			FUZZ_CHECK(unlinkat(folder_fd, p->name, AT_REMOVEDIR) == 0);
		switch (p->kind) {
		case NOTHING:
			break;
		case FILE_:
			fd = openat(folder_fd, p->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
			FUZZ_CHECK(fd >= 0 && write(fd, p->data, p->len) == (ssize_t)p->len);
			close(fd);
			break;
		case LINK:
			FUZZ_CHECK(symlinkat("other", folder_fd, p->name) == 0);
			break;
		case DIR_:
			FUZZ_CHECK(mkdirat(folder_fd, p->name, 0700) == 0);
			break;
		case FIFO:
			FUZZ_CHECK(mkfifoat(folder_fd, p->name, 0600) == 0);
			break;
		}
		place_empty(&there[i]);
		if (p->kind == FILE_)
			place_fill(&there[i], p->data, p->len);
		there[i].kind = p->kind;
	}
}

/* --- what is to be taken --- */

struct expected {
	int g; /* -1: none, nothing is taken */
	bool refused; /* and it is said */
	bool taken[ARRAY_SIZE(OBJECTS)];
};

static bool place_is(const struct place *p, const struct file *f)
{
	return p->kind == FILE_ && p->len == f->bytes.len && memcmp(p->data, f->bytes.data, p->len) == 0;
}

static void expect(bool our_key, bool our_node, struct expected *x)
{
	const struct place *index = place_of(CACHE_INDEX_NAME);
	uint64_t newest = 0;

	*x = (struct expected){ .g = -1 };
	for (size_t i = 0; i < n_places; i++)
		if (places[i].kind == FILE_ && cache_name_is_record(places[i].name))
			newest = MAX(newest, cache_generation(places[i].data, places[i].len));
	if (index->kind == NOTHING) {
		x->refused = newest > 1;
		return;
	}
	for (int g = 0; g < GENERATIONS && our_key && our_node; g++)
		if (place_is(index, &history.indexes[g]) && newest <= (uint64_t)g + 2)
			x->g = g;
	x->refused = x->g < 0;
	for (size_t i = 0; x->g >= 0 && i < ARRAY_SIZE(OBJECTS); i++) {
		const struct file *f = history.of[x->g][i] < 0 ? NULL : &history.records[history.of[x->g][i]];

		x->taken[i] = f && place_is(place_of(f->name), f);
	}
	for (size_t i = 0; x->g >= 0 && i < ARRAY_SIZE(OBJECTS); i++)
		for (size_t k = 0; k < ARRAY_SIZE(OBJECTS) && OBJECTS[i].kind == CACHE_POD; k++)
			for (size_t n = 0; n < ARRAY_SIZE(OBJECTS[i].needs); n++)
				if (OBJECTS[i].needs[n] && str_eq(OBJECTS[i].needs[n], OBJECTS[k].id) &&
				    history.of[x->g][k] >= 0 && !x->taken[k])
					x->taken[i] = false;
}

/* --- the next agent --- */

static struct {
	cache_io_fn fn; /* NULL: no order is under way */
	void *userdata;
	char name[CACHE_NAME_MAX]; /* "": list it */
} order;

static int order_give(const char *name, cache_io_fn fn, void *userdata)
{
	FUZZ_CHECK(!order.fn);
	order.fn = fn;
	order.userdata = userdata;
	snprintf(order.name, sizeof(order.name), "%s", name);
	return 0;
}

int cache_io_list(struct cache_io *io, cache_io_fn fn, void *userdata)
{
	return order_give("", fn, userdata);
}

int cache_io_read(struct cache_io *io, const char *name, cache_io_fn fn, void *userdata)
{
	FUZZ_CHECK(*name && !strchr(name, '/'));
	return order_give(name, fn, userdata);
}

int cache_io_write(struct cache_io *io, const char *name, const void *data, size_t len, bool commit, cache_io_fn fn,
		   void *userdata)
{
	FUZZ_CHECK(!"nobody has told what there is");
	return -EPIPE;
}

int cache_io_remove(struct cache_io *io, const char *name, cache_io_fn fn, void *userdata)
{
	FUZZ_CHECK(!"nobody has told what there is");
	return -EPIPE;
}

uint64_t cache_io_busy_usec(const struct cache_io *io)
{
	return 0;
}

const char *cache_io_ended(const struct cache_io *io)
{
	return NULL;
}

static void order_answer(void)
{
	cleanup_buf struct buf data = BUF_INIT(CACHE_FILE_MAX);
	cleanup_free struct cache_file *files = NULL;
	cache_io_fn fn = TAKE_PTR(order.fn);
	struct err e = ERR_INIT;
	size_t n;
	int r;

	if (*order.name) {
		r = cache_dir_read(folder_fd, order.name, &data, &e);
		fn(order.userdata, r, data.data, r < 0 ? 0 : data.len, r < 0 ? err_text(&e) : "");
		return;
	}
	r = cache_dir_list(folder_fd, &files, &n, &e);
	FUZZ_CHECK(r == 0);
	fn(order.userdata, 0, files, n * sizeof(*files), "");
}

struct world {
	struct expected x;
	bool restored;
};

static int on_collect(void *userdata, struct cache_set *want)
{
	FUZZ_CHECK(!"nobody has told what there is");
	return -ENOMEM;
}

static void on_restored(void *userdata, const struct cache_set *s)
{
	struct world *w = userdata;

	FUZZ_CHECK(!w->restored);
	w->restored = true;
	FUZZ_CHECK(w->x.g >= 0 || s->n_items == 0);
	for (size_t i = 0; i < ARRAY_SIZE(OBJECTS) && w->x.g >= 0; i++) {
		const struct cache_item *item = cache_set_find(s, OBJECTS[i].kind, OBJECTS[i].id);
		cleanup_buf struct buf text = BUF_INIT(CACHE_PLAINTEXT_MAX);

		FUZZ_CHECK((item != NULL) == (OBJECTS[i].revisions[w->x.g] != 0));
		if (!item)
			continue;
		FUZZ_CHECK(item->absent == (OBJECTS[i].revisions[w->x.g] < 0));
		FUZZ_CHECK((item->pod || item->secret) == w->x.taken[i]);
		if (!w->x.taken[i])
			continue;
		item_encode(item, &text);
		FUZZ_CHECK(str_eq(text.data, history.texts[history.of[w->x.g][i]]));
	}
}

static void on_changed(void *userdata)
{
}

static const struct cache_ops OPS = { .collect = on_collect, .restored = on_restored, .changed = on_changed };

static void next_agent(struct loop *loop, bool our_key, bool our_node)
{
	struct world w = { .restored = false };
	struct cache_stats stats;
	struct cache *c;

	expect(our_key, our_node, &w.x);
	FUZZ_CHECK(cache_new(loop, NULL, keys[our_key ? 0 : 1], our_node ? NODE : "node-2", &OPS, &w, &c) == 0);
	cache_restore(c);
	for (int i = 0; i < TURNS_MAX && !w.restored; i++) {
		if (order.fn)
			order_answer();
		else
			FUZZ_CHECK(loop_run_once(loop, 0) > 0);
	}
	FUZZ_CHECK(w.restored && !order.fn);
	cache_stats(c, &stats);
	FUZZ_CHECK(stats.refused == w.x.refused && stats.generation == (uint64_t)(w.x.g + 1));
	FUZZ_CHECK(!stats.refused || *stats.error);
	cache_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct loop *loop;
	struct fuzz_input in = { .data = data, .len = size };
	uint8_t how;

	if (!loop) {
		static const uint8_t bytes[2][CACHE_KEY_LEN] = { { 7 }, { 8 } };

		FUZZ_CHECK(mkdtemp(folder));
		folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		FUZZ_CHECK(folder_fd >= 0 && loop_new(&loop) == 0);
		atexit(remove_folder);
		json_setup();
		FUZZ_CHECK(secmem_init(SECMEM_BYTES, NULL) == 0);
		FUZZ_CHECK(cache_key_new(bytes[0], &keys[0], NULL) == 0 &&
			   cache_key_new(bytes[1], &keys[1], NULL) == 0);
		history_write();
		places_name();
	}
	how = fuzz_u8(&in);
	places_fill(how % GENERATIONS);
	for (int i = 0; i < OPS_MAX && in.len > 0; i++)
		operation(&in);
	folder_write();
	next_agent(loop, (how & 0xc0) != 0xc0, (how & 0x30) != 0x30);
	return 0;
}
