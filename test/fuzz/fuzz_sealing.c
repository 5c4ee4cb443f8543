/* Sealing: key files; sealed values that somebody has changed or put elsewhere: one opens as what was sealed, for the
 * Secret and the key that it was sealed for, or not at all; and whole Secrets. The first byte says which. */
#include "test/fuzz/fuzz.h"

#include <sodium.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "agent/sealing.h"
#include "common/b64.h"
#include "common/str.h"

enum { SECMEM_BYTES = 16 << 20 };

#define PRIVATE_PREFIX "secretlet-private-key v1 "

static struct sealing_public to, foreign;
static struct sealing_keys *keys;

/* NULL: it is no key file. */
static struct sealing_keys *read_keys(const void *data, size_t len)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC), r;
	struct sealing_keys *k = NULL;
	struct err e = ERR_INIT;

	FUZZ_CHECK(fd >= 0 && fchmod(fd, 0600) == 0 && write(fd, data, len) == (ssize_t)len);
	FUZZ_CHECK(lseek(fd, 0, SEEK_SET) == 0);
	r = sealing_keys_read_fd(fd, "key", &k, &e);
	FUZZ_CHECK((r == 0) == (k != NULL) && (r == 0 || *err_text(&e)));
	return k;
}

static int read_public(const void *data, size_t len, struct sealing_public *ret)
{
	cleanup_fd int fd = memfd_create("fuzz", MFD_CLOEXEC);
	char path[64];

	FUZZ_CHECK(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return sealing_public_read(path, ret, NULL);
}

static void pair(uint8_t fill, struct sealing_public *ret_public, char line[static 128])
{
	uint8_t private[SEALING_KEY_LEN], public[SEALING_KEY_LEN];
	char base64[64], text[128];

	memset(private, fill, sizeof(private));
	FUZZ_CHECK(crypto_scalarmult_base(public, private) == 0);
	sodium_bin2base64(base64, sizeof(base64), private, sizeof(private), sodium_base64_VARIANT_ORIGINAL);
	snprintf(line, 128, PRIVATE_PREFIX "%s\n", base64);
	sodium_bin2base64(base64, sizeof(base64), public, sizeof(public), sodium_base64_VARIANT_ORIGINAL);
	snprintf(text, sizeof(text), "secretlet-public-key v1 %s\n", base64);
	FUZZ_CHECK(read_public(text, strlen(text), ret_public) == 0);
}

static void set_up(void)
{
	char line[128];

	if (keys)
		return;
	json_setup();
	FUZZ_CHECK(secmem_init(SECMEM_BYTES, NULL) == 0);
	pair(9, &foreign, line);
	pair(7, &to, line);
	keys = read_keys(line, strlen(line));
	FUZZ_CHECK(keys);
}

/* --- key files --- */

/* A file that is taken has a line for each key, and one that was good stays good when a comment is put in front. */
static void try_keys(const uint8_t *data, size_t size)
{
	static const char comment[] = "# x\n\n";
	struct sealing_keys *k = read_keys(data, size), *again;
	cleanup_free char *text = malloc(size + sizeof(comment));
	struct sealing_public p;

	if (size > 0)
		FUZZ_CHECK(!k || memmem(data, size, PRIVATE_PREFIX, strlen(PRIVATE_PREFIX)));
	if (k) {
		memcpy(text, comment, sizeof(comment) - 1);
		memcpy(text + sizeof(comment) - 1, data, size);
		again = read_keys(text, size + sizeof(comment) - 1);
		FUZZ_CHECK(!again || sealing_keys_same(k, again));
		FUZZ_CHECK(again || size > 8000);
		sealing_keys_free(again);
	}
	sealing_keys_free(k);
	if (read_public(data, size, &p) == 0)
		FUZZ_CHECK(strlen(p.id) == SEALING_ID_LEN && strspn(p.id, "0123456789abcdef") == SEALING_ID_LEN);
}

/* --- one value --- */

static const char *any_name(uint8_t n)
{
	static const char *const names[] = { "default", "db", "a", "", "default\tdb", "password", "tls.crt", "d" };

	return names[n % ARRAY_SIZE(names)];
}

static void damage(struct fuzz_input *in, char *text, size_t size)
{
	size_t len = strlen(text), at = fuzz_u32(in) % (len + 1), n;
	struct fuzz_input bytes;

	switch (fuzz_u8(in) % 6) {
	case 0: /* one character */
		if (at < len)
			text[at] = (char)(fuzz_u8(in) ?: 1);
		break;
	case 1:
		text[at] = '\0';
		break;
	case 2: /* some in between */
		bytes = fuzz_take(in, fuzz_u8(in));
		n = MIN(bytes.len, size - 1 - len);
		memmove(text + at + n, text + at, len - at + 1);
		for (size_t i = 0; i < n; i++)
			text[at + i] = (char)(bytes.data[i] ?: 'A');
		break;
	case 3: /* some less */
		n = MIN((size_t)fuzz_u8(in), len - at);
		memmove(text + at, text + at + n, len - at - n + 1);
		break;
	case 4: /* a key that is not there, or is another one */
		if (len > 3 + SEALING_ID_LEN)
			memcpy(text + 3, fuzz_u8(in) & 1 ? foreign.id : to.id, SEALING_ID_LEN);
		break;
	case 5: /* the base64 once more in other words: it may open */
		if (len + 2 < size) {
			memmove(text + at + 1, text + at, len - at + 1);
			text[at] = fuzz_u8(in) & 1 ? '\n' : '\r';
		}
		break;
	}
}

static void try_value(struct fuzz_input in)
{
	uint8_t how = fuzz_u8(&in), names = fuzz_u8(&in), asked = fuzz_u8(&in);
	const char *ns = any_name(names & 7), *name = any_name(names >> 3), *key = any_name(how >> 5);
	const char *ns2 = ns, *name2 = name, *key2 = key, *reason = NULL;
	cleanup_secblock struct secblock *value = NULL;
	struct fuzz_input bytes = fuzz_take(&in, fuzz_u8(&in));
	cleanup_free char *sealed = NULL;
	char text[4096];
	bool same;
	int r;

	FUZZ_CHECK(sealing_seal(how & 1 ? &foreign : &to, ns, name, key, bytes.data ?: (const uint8_t *)"", bytes.len,
				&sealed) == 0);
	snprintf(text, sizeof(text), "%s", sealed);
	if (how & 2)
		ns2 = any_name(asked & 7);
	if (how & 4)
		name2 = any_name(asked >> 3);
	if (how & 8)
		key2 = any_name(asked >> 6 | (asked & 1) << 2);
	for (int i = 0; i < 8 && in.len > 0; i++)
		damage(&in, text, sizeof(text));
	r = sealing_open(keys, ns2, name2, key2, text, strlen(text), &value, &reason);
	FUZZ_CHECK(r == 0 || (r == -EINVAL && reason && *reason && !value));
	same = str_eq(text, sealed) && str_eq(ns, ns2) && str_eq(name, name2) && str_eq(key, key2) && !(how & 1);
	FUZZ_CHECK(!same || r == 0);
	if (r < 0)
		return;
	FUZZ_CHECK(!(how & 1) && str_eq(ns, ns2) && str_eq(name, name2) && str_eq(key, key2));
	FUZZ_CHECK(value->len == bytes.len && (bytes.len == 0 || memcmp(value->data, bytes.data, bytes.len) == 0));
}

/* A box that was made without sealing_seal(), of whatever is in the input. */
static void try_own_box(struct fuzz_input in)
{
	static const char domain[] = "secretlet sealed value v1", head[] = "secretlet sealed value v1\0default\0db\0k";
	size_t n_domain = fuzz_u8(&in) & 1 ? sizeof(domain) : 0, len = n_domain + in.len;
	cleanup_free uint8_t *plain = malloc(len + 1), *box = malloc(len + crypto_box_SEALBYTES);
	cleanup_secblock struct secblock *value = NULL;
	cleanup_free char *base64 = NULL, *text = NULL;
	const char *reason = NULL;
	bool good;
	int r;

	memcpy(plain, domain, n_domain);
	if (in.len > 0)
		memcpy(plain + n_domain, in.data, in.len);
	FUZZ_CHECK(crypto_box_seal(box, plain, len, to.key) == 0);
	FUZZ_CHECK(b64_encode(box, len + crypto_box_SEALBYTES, &base64) == 0);
	text = str_format("v1:%s:%s", to.id, base64);
	good = len >= sizeof(head) && memcmp(plain, head, sizeof(head)) == 0;
	r = sealing_open(keys, "default", "db", "k", text, strlen(text), &value, &reason);
	FUZZ_CHECK(r == (good ? 0 : -EINVAL));
	if (good)
		FUZZ_CHECK(value->len == len - sizeof(head) &&
			   memcmp(value->data, plain + sizeof(head), value->len) == 0);
}

/* --- a Secret: each value "@KEY" becomes one that was sealed for that key --- */

static void seal_in(json_t *obj)
{
	const char *key, *text;
	json_t *value;

	json_object_foreach (json_object_get(obj, "sealedData"), key, value) {
		cleanup_free char *sealed = NULL;

		text = json_string_value(value);
		if (!text || *text != '@')
			continue;
		FUZZ_CHECK(sealing_seal(&to, "default", "db", text + 1, "v", 1, &sealed) == 0);
		FUZZ_CHECK(json_string_set(value, sealed) == 0);
	}
}

static void try_secret(struct fuzz_input in)
{
	uint8_t which = fuzz_u8(&in) % 3;
	const struct sealing_keys *with = which == 0 ? keys : which == 1 ? sealing_form_only() : NULL;
	cleanup_json json_t *doc = NULL, *before = NULL;
	struct json_issue issue = { .reason = "" };
	const json_t *value, *data;
	const char *key;
	int r;

	if (json_parse((const char *)in.data, in.len, &doc, NULL) < 0 || !json_is_object(doc))
		return;
	seal_in(doc);
	before = json_deep_copy(doc);
	FUZZ_CHECK(before);
	r = sealing_open_secret(with, "default", "db", doc, &issue);
	FUZZ_CHECK(r == 0 || (r == -EINVAL && *issue.reason));
	if (r < 0)
		return;
	FUZZ_CHECK(!json_object_get(doc, "sealedData"));
	data = json_object_get(doc, "data");
	FUZZ_CHECK(with || !json_is_object(json_object_get(before, "sealedData")) ||
		   json_object_size(json_object_get(before, "sealedData")) == 0);
	json_object_foreach (json_object_get(before, "sealedData"), key, value)
		FUZZ_CHECK(str_eq(json_string_value(json_object_get(data, key)), which == 0 ? "dg==" : "e30=") &&
			   !json_object_get(json_object_get(before, "data"), key));
	if (!json_is_object(json_object_get(before, "data")))
		return;
	json_object_foreach (json_object_get(before, "data"), key, value)
		FUZZ_CHECK(json_equal(json_object_get(data, key), value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };
	size_t n_blocks;

	set_up();
	n_blocks = secmem_stats().n_blocks;
	switch (fuzz_u8(&in)) {
	case 'k':
		try_keys(in.data, in.len);
		break;
	case 'b':
		try_own_box(in);
		break;
	case 's':
		try_secret(in);
		break;
	default:
		try_value(in);
	}
	FUZZ_CHECK(secmem_stats().n_blocks == n_blocks);
	return 0;
}
