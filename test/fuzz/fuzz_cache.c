/* Offline cache: bytes that nobody wrote are never accepted, with or without the right key in hand; and what is inside a
 * file that is ours is decoded as carefully as what comes from the network. The first byte says what the rest is. */
#include "test/fuzz/fuzz.h"

#include "agent/cache_set.h"
#include "common/json.h"
#include "common/str.h"

enum { SECMEM_BYTES = 16 << 20 };

static const char NODE[] = "node-1", FILE_NAME[] = "0123456789abcdef0123456789abcdef";
static struct cache_key *key;

static void set_up(void)
{
	static const uint8_t bytes[CACHE_KEY_LEN] = { 7 };

	if (key)
		return;
	json_setup();
	FUZZ_CHECK(secmem_init(SECMEM_BYTES, NULL) == 0);
	FUZZ_CHECK(cache_key_new(bytes, &key, NULL) == 0);
}

static void try_index(const uint8_t *data, size_t size)
{
	cleanup_cache_set struct cache_set s = { .generation = 0 }, again = { .generation = 0 };
	cleanup_buf struct buf text = BUF_INIT(CACHE_PLAINTEXT_MAX), text_again = BUF_INIT(CACHE_PLAINTEXT_MAX);
	struct err e = ERR_INIT;

	if (cache_index_decode((const char *)data, size, &s, &e) < 0) {
		FUZZ_CHECK(str_starts(err_text(&e), "index: "));
		return;
	}
	for (size_t i = 0; i < s.n_items; i++)
		FUZZ_CHECK(s.items[i]->absent ? !*s.items[i]->file : cache_name_is_record(s.items[i]->file));
	FUZZ_CHECK(cache_index_encode(&s, &text) == 0);
	FUZZ_CHECK(cache_index_decode(text.data, text.len, &again, &e) == 0);
	FUZZ_CHECK(cache_index_encode(&again, &text_again) == 0);
	FUZZ_CHECK(str_eq(text.data, text_again.data));
}

static void try_record(const uint8_t *data, size_t size, enum cache_kind kind, const char *id)
{
	cleanup_cache_set struct cache_set s = { .generation = 0 };
	struct cache_item *item = NULL;
	struct err e = ERR_INIT;
	int r;

	FUZZ_CHECK(cache_set_add(&s, kind, id, &item) == 0);
	r = cache_item_decode(item, (const char *)data, size, &e);
	FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -ENOMEM);
	FUZZ_CHECK(kind == CACHE_POD ? !item->pod == (r < 0) : !item->secret == (r < 0));
	FUZZ_CHECK(r == 0 || *err_text(&e));
	if (item->secret)
		FUZZ_CHECK(str_eq(item->secret->ns, "default") && str_eq(item->secret->name, "db"));
	if (item->pod)
		FUZZ_CHECK(str_eq(item->pod->uid, "u1"));
}

/* Nobody has the key but us, so nothing that is fed in may open. */
static void try_foreign(const uint8_t *data, size_t size)
{
	cleanup_cache_set struct cache_set s = { .generation = 0 };
	cleanup_buf struct buf scratch = BUF_INIT(CACHE_FILE_MAX);

	FUZZ_CHECK(cache_index_open(&s, key, NODE, data, size, &scratch, NULL) == -EBADMSG);
	FUZZ_CHECK(s.n_items == 0 && scratch.len == 0);
}

/* A file of ours with one byte changed, cut, or put in another's place. */
static void try_damaged(struct fuzz_input in)
{
	struct cache_bind bind = {
		.node = NODE, .kind = "Secret", .id = "default/db", .file = FILE_NAME, .generation = 5
	};
	cleanup_buf struct buf file = BUF_INIT(CACHE_FILE_MAX), out = BUF_INIT(CACHE_FILE_MAX);
	uint32_t at = fuzz_u32(&in);
	uint8_t flip = fuzz_u8(&in), how = fuzz_u8(&in) % 6;

	FUZZ_CHECK(cache_seal(key, &bind, in.data, in.len, &file) == 0 && file.len % CACHE_BLOCK == 0);
	FUZZ_CHECK(cache_unseal(key, &bind, file.data, file.len, &out, NULL) == 0);
	FUZZ_CHECK(out.len == in.len && (in.len == 0 || memcmp(out.data, in.data, in.len) == 0));
	at %= (uint32_t)file.len;
	if (how == 0)
		file.data[at] = (char)(file.data[at] ^ (flip ? flip : 1));
	else if (how == 1)
		file.len = at;
	else if (how == 2)
		bind.generation ^= flip ? flip : 1;
	else if (how == 3)
		bind.node = "node-2";
	else if (how == 4)
		bind.id = "default/other";
	else
		bind.kind = "Pod";
	FUZZ_CHECK(cache_unseal(key, &bind, file.data, file.len, &out, NULL) == -EBADMSG && out.len == 0);
}

static void try_name(struct fuzz_input in)
{
	cleanup_free char *name = fuzz_text(in);

	if (cache_name_is_record(name))
		FUZZ_CHECK(strlen(name) == CACHE_NAME_LEN && strspn(name, "0123456789abcdef") == CACHE_NAME_LEN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };

	set_up();
	switch (fuzz_u8(&in)) {
	case 'i':
		try_index(in.data, in.len);
		break;
	case 's':
		try_record(in.data, in.len, CACHE_SECRET, "default/db");
		break;
	case 'p':
		try_record(in.data, in.len, CACHE_POD, "default/web/u1");
		break;
	case 'd':
		try_damaged(in);
		break;
	case 'n':
		try_name(in);
		break;
	default:
		try_foreign(in.data, in.len);
	}
	return 0;
}
