/* Cache box. A file is
 *
 *	"slcache1" generation(8) header(24) ciphertext
 *
 * one message of crypto_secretstream_xchacha20poly1305 with TAG_FINAL. Its plaintext is the length (8), the bytes, and
 * zeros up to where the file is a multiple of 4 KiB. Node, kind, name, the file's own name and its generation are
 * additional data: a file that is put in another's place does not open. Numbers are little-endian. */
#include "agent/cache_box.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>

#include "agent/cache_dir.h"
#include "common/file.h"
#include "common/secmem.h"
#include "common/str.h"

#define KEY_FILE_MAX ((size_t)256)
#define DOMAIN	     "secretlet offline cache v1"
#define KDF_CONTEXT  "slcache1"
#define CLEAR_LEN    (CACHE_MAGIC_LEN + 8)
#define HEADER_LEN   ((size_t)crypto_secretstream_xchacha20poly1305_HEADERBYTES)
#define TAIL_LEN     ((size_t)crypto_secretstream_xchacha20poly1305_ABYTES)
#define OVERHEAD     (CLEAR_LEN + HEADER_LEN + TAIL_LEN)
#define LENGTH_LEN   ((size_t)8)
#define BIND_MAX     ((size_t)2048)

enum { SUBKEY_STREAM = 1, SUBKEY_CONTENT };

struct subkeys {
	uint8_t stream[crypto_secretstream_xchacha20poly1305_KEYBYTES];
	uint8_t content[crypto_generichash_KEYBYTES];
};
struct cache_key {
	struct secblock *block; /* struct subkeys */
};

static_assert(CACHE_KEY_LEN == crypto_kdf_KEYBYTES, "a key to derive from");
static_assert(CACHE_MAGIC_LEN == sizeof(CACHE_MAGIC) - 1, "without NUL");

static const struct subkeys *subkeys_of(const struct cache_key *key)
{
	return (const struct subkeys *)(const void *)key->block->data;
}

/* ---- the key ---- */

int cache_key_new(const uint8_t bytes[static CACHE_KEY_LEN], struct cache_key **ret_key, struct err *e)
{
	cleanup(cache_key_freep) struct cache_key *key = calloc(1, sizeof(*key));
	struct subkeys *sub;
	int r;

	if (!key)
		return err_set(e, -ENOMEM, "out of memory");
	r = secblock_new(sizeof(*sub), &key->block, e);
	if (r < 0)
		return r;
	sub = (struct subkeys *)(void *)key->block->data;
	crypto_kdf_derive_from_key(sub->stream, sizeof(sub->stream), SUBKEY_STREAM, KDF_CONTEXT, bytes);
	crypto_kdf_derive_from_key(sub->content, sizeof(sub->content), SUBKEY_CONTENT, KDF_CONTEXT, bytes);
	*ret_key = TAKE_PTR(key);
	return 0;
}

void cache_key_free(struct cache_key *key)
{
	if (!key)
		return;
	secblock_unref(key->block);
	free(key);
}

static bool is_ascii(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] > 0x7f)
			return false;
	return true;
}

/* 32 bytes as they are, or in base64 with white space behind. */
static bool parse_key(const char *text, size_t len, uint8_t key[static CACHE_KEY_LEN])
{
	size_t n = 0;

	if (len == CACHE_KEY_LEN) {
		memcpy(key, text, len);
		return true;
	}
	while (len > 0 && strchr(" \t\r\n", text[len - 1]))
		len--;
	/* libsodium takes some of these bytes for an 'A' */
	if (!is_ascii(text, len))
		return false;
	return sodium_base642bin(key, CACHE_KEY_LEN, text, len, NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
	       n == CACHE_KEY_LEN;
}

/* $CREDENTIALS_DIRECTORY is the unit's own: a shell has none, and another unit has other credentials in its. */
static int key_path(const char *path, const char *unit_credentials, char **ret_path, struct err *e)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	cleanup_free char *where = NULL;

	if (!path && !dir && !unit_credentials)
		return err_set(e, -EINVAL,
			       "the offline cache has no key: offlineCacheKeyFile is not set, and there is no "
			       "credential " CACHE_CREDENTIAL " of systemd's");
	where = path ? strdup(path) : file_join(dir ?: unit_credentials, CACHE_CREDENTIAL);
	if (where && !path && dir && unit_credentials && access(where, F_OK) < 0 && errno == ENOENT) {
		free(where);
		where = file_join(unit_credentials, CACHE_CREDENTIAL);
	}
	if (!where)
		return err_set(e, -ENOMEM, "out of memory");
	*ret_path = TAKE_PTR(where);
	return 0;
}

int cache_key_open(const char *path, const char *unit_credentials, int *ret_fd, char **ret_path, struct err *e)
{
	cleanup_free char *where = NULL;
	cleanup_fd int fd = -1;
	struct stat st;
	int r;

	r = key_path(path, unit_credentials, &where, e);
	if (r < 0)
		return r;
	fd = open(where, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT && !path && unit_credentials)
		return err_set(e, -ENOENT,
			       "the offline cache has no key: offlineCacheKeyFile is not set, and the "
			       "credential " CACHE_CREDENTIAL
			       " is not in $CREDENTIALS_DIRECTORY, nor in %s, where the unit has it "
			       "while it runs",
			       unit_credentials);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -errno, "offline cache key %s: %m", where);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "offline cache key %s: is not a regular file", where);
	if (st.st_mode & 077)
		return err_set(e, -EPERM, "offline cache key %s: others may use it (mode %04o); chmod 600 ends that",
			       where, (unsigned)st.st_mode & 07777);
	if (st.st_uid != geteuid())
		return err_set(e, -EPERM, "offline cache key %s: belongs to uid %u, not to us (uid %u)", where,
			       (unsigned)st.st_uid, (unsigned)geteuid());
	*ret_fd = TAKE_FD(fd);
	*ret_path = TAKE_PTR(where);
	return 0;
}

int cache_key_read(int fd, const char *path, struct cache_key **ret_key, struct err *e)
{
	char text[KEY_FILE_MAX];
	uint8_t key[CACHE_KEY_LEN];
	ssize_t n = read(fd, text, sizeof(text));
	int r;

	if (n < 0)
		r = err_set(e, -errno, "offline cache key %s: %m", path);
	else if (!parse_key(text, (size_t)n, key))
		r = err_set(e, -EINVAL, "offline cache key %s: must have 32 bytes, as they are or in base64", path);
	else
		r = cache_key_new(key, ret_key, e);
	sodium_memzero(text, sizeof(text));
	sodium_memzero(key, sizeof(key));
	return r;
}

int cache_key_generate(const char *path, struct err *e)
{
	char text[sodium_base64_ENCODED_LEN(CACHE_KEY_LEN, sodium_base64_VARIANT_ORIGINAL) + 1];
	uint8_t key[CACHE_KEY_LEN];
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t len;
	int r;

	if (fd < 0)
		return err_set(e, -errno, "create %s: %m", path);
	randombytes_buf(key, sizeof(key));
	sodium_bin2base64(text, sizeof(text), key, sizeof(key), sodium_base64_VARIANT_ORIGINAL);
	len = strlen(text);
	text[len++] = '\n';
	r = fchmod(fd, 0600) < 0 ? -errno : file_write_all(fd, text, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	sodium_memzero(text, sizeof(text));
	sodium_memzero(key, sizeof(key));
	if (r < 0) {
		unlink(path);
		return err_set(e, r, "write %s: %s", path, strerror(-r));
	}
	return 0;
}

/* ---- files ---- */

static void put_u64(uint8_t *to, uint64_t v)
{
	for (size_t i = 0; i < 8; i++)
		to[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get_u64(const uint8_t *from)
{
	uint64_t v = 0;

	for (size_t i = 8; i > 0; i--)
		v = v << 8 | from[i - 1];
	return v;
}

/* Texts have no NUL, so this can be taken apart in one way only. */
static int bind_write(const struct cache_bind *b, uint8_t out[static BIND_MAX], size_t *ret_len)
{
	const char *const parts[] = { DOMAIN, b->node, b->kind, b->id, b->file };
	size_t at = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t len = strlen(parts[i]) + 1;

		if (len > BIND_MAX - at)
			return -ENAMETOOLONG;
		memcpy(out + at, parts[i], len);
		at += len;
	}
	if (BIND_MAX - at < 8)
		return -ENAMETOOLONG;
	put_u64(out + at, b->generation);
	*ret_len = at + 8;
	return 0;
}

int cache_seal(const struct cache_key *key, const struct cache_bind *b, const void *data, size_t len, struct buf *out)
{
	size_t size = (OVERHEAD + LENGTH_LEN + len + CACHE_BLOCK - 1) / CACHE_BLOCK * CACHE_BLOCK, bind_len;
	crypto_secretstream_xchacha20poly1305_state state;
	uint8_t bind[BIND_MAX], *file, *plain;
	char *room;
	int r;

	if (len > CACHE_PLAINTEXT_MAX)
		return -EFBIG;
	r = bind_write(b, bind, &bind_len);
	if (r < 0)
		return r;
	plain = calloc(1, size - OVERHEAD);
	if (!plain)
		return -ENOMEM;
	buf_clear(out);
	r = buf_reserve(out, size, &room);
	if (r < 0) {
		free(plain);
		return r == -ENOBUFS ? -EFBIG : r;
	}
	put_u64(plain, len);
	if (len > 0)
		memcpy(plain + LENGTH_LEN, data, len);
	file = (uint8_t *)room;
	memcpy(file, CACHE_MAGIC, CACHE_MAGIC_LEN);
	put_u64(file + CACHE_MAGIC_LEN, b->generation);
	crypto_secretstream_xchacha20poly1305_init_push(&state, file + CLEAR_LEN, subkeys_of(key)->stream);
	crypto_secretstream_xchacha20poly1305_push(&state, file + CLEAR_LEN + HEADER_LEN, NULL, plain, size - OVERHEAD,
						   bind, bind_len, crypto_secretstream_xchacha20poly1305_TAG_FINAL);
	buf_advance(out, size);
	sodium_memzero(&state, sizeof(state));
	sodium_memzero(plain, size - OVERHEAD);
	free(plain);
	return 0;
}

uint64_t cache_generation(const void *file, size_t len)
{
	const uint8_t *bytes = file;

	if (len < CLEAR_LEN || memcmp(bytes, CACHE_MAGIC, CACHE_MAGIC_LEN) != 0)
		return 0;
	return get_u64(bytes + CACHE_MAGIC_LEN);
}

static int not_ours(const struct cache_bind *b, const char *why, struct err *e)
{
	if (!*b->id)
		return err_set(e, -EBADMSG, "%s: %s", b->file, why);
	return err_set(e, -EBADMSG, "%s (%s %s): %s", b->file, b->kind, b->id, why);
}

int cache_unseal(const struct cache_key *key, const struct cache_bind *b, const void *file, size_t len, struct buf *out,
		 struct err *e)
{
	const uint8_t *bytes = file;
	crypto_secretstream_xchacha20poly1305_state state;
	uint8_t bind[BIND_MAX], tag = 0, *plain;
	unsigned long long n_plain = 0;
	size_t bind_len;
	uint64_t length;
	char *room;
	int r;

	buf_clear(out);
	if (len < OVERHEAD + LENGTH_LEN || len % CACHE_BLOCK != 0)
		return not_ours(b, "is truncated", e);
	if (memcmp(bytes, CACHE_MAGIC, CACHE_MAGIC_LEN) != 0)
		return not_ours(b, "is no file of an offline cache of this version", e);
	if (get_u64(bytes + CACHE_MAGIC_LEN) != b->generation)
		return not_ours(b, "is of another generation", e);
	r = bind_write(b, bind, &bind_len);
	if (r < 0)
		return not_ours(b, "names are too long", e);
	r = buf_reserve(out, len, &room);
	if (r < 0)
		return err_set(e, r, "%s: %s", b->file, r == -ENOBUFS ? "is too large" : "out of memory");
	plain = (uint8_t *)room;
	r = crypto_secretstream_xchacha20poly1305_init_pull(&state, bytes + CLEAR_LEN, subkeys_of(key)->stream);
	if (r == 0)
		r = crypto_secretstream_xchacha20poly1305_pull(&state, plain, &n_plain, &tag,
							       bytes + CLEAR_LEN + HEADER_LEN,
							       len - CLEAR_LEN - HEADER_LEN, bind, bind_len);
	sodium_memzero(&state, sizeof(state));
	if (r < 0 || tag != crypto_secretstream_xchacha20poly1305_TAG_FINAL || n_plain != len - OVERHEAD)
		return not_ours(b, "was changed, is another's, or was written with another key or for another node", e);
	length = get_u64(plain);
	if (length > n_plain - LENGTH_LEN) {
		sodium_memzero(plain, len);
		return not_ours(b, "has an impossible length", e);
	}
	memmove(plain, plain + LENGTH_LEN, length);
	sodium_memzero(plain + length, len - length);
	buf_advance(out, length);
	return 0;
}

void cache_digest(const void *data, size_t len, uint8_t ret[static CACHE_DIGEST_LEN])
{
	crypto_generichash(ret, CACHE_DIGEST_LEN, data, len, NULL, 0);
}

void cache_content_digest(const struct cache_key *key, const void *data, size_t len,
			  uint8_t ret[static CACHE_DIGEST_LEN])
{
	const struct subkeys *sub = subkeys_of(key);

	crypto_generichash(ret, CACHE_DIGEST_LEN, data, len, sub->content, sizeof(sub->content));
}
