/* Sealing. What is encrypted is
 *
 *	"secretlet sealed value v1" NUL namespace NUL name NUL key NUL value
 *
 * Names have no NUL, so this can be taken apart in one way only. The box has the recipient's public key in its nonce and
 * is authenticated, but by nobody in particular: who has the public key can seal. So a sealed value that was copied under
 * another name is found out, while one that a writer of the manifests made is as good as any other; who may write them is
 * the business of the place that keeps them.
 *
 * A key file is lines of text, `secretlet-private-key v1 BASE64`; empty ones and those that begin with # do not count. */
#include "agent/sealing.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>

#include "agent/secret.h"
#include "common/b64.h"
#include "common/file.h"
#include "common/str.h"

#define KEY_FILE_MAX   8192
#define PRIVATE_PREFIX "secretlet-private-key v1 "
#define PUBLIC_PREFIX  "secretlet-public-key v1 "
#define VALUE_PREFIX   "v1:"
#define DOMAIN	       "secretlet sealed value v1"
#define KEY_BASE64_LEN sodium_base64_ENCODED_LEN(SEALING_KEY_LEN, sodium_base64_VARIANT_ORIGINAL)
#define HEADER_MAX     ((size_t)1024) /* domain, namespace, name, key */
#define BOX_MAX	       (crypto_box_SEALBYTES + HEADER_MAX + SECRET_BYTES_MAX)

/* In place of a value that cannot be opened: good for every type of Secret. */
#define PLACEHOLDER "{}"

/* NOLINTNEXTLINE(misc-redundant-expression): they are equal, that is what it says */
static_assert(SEALING_KEY_LEN == crypto_box_PUBLICKEYBYTES && SEALING_KEY_LEN == crypto_box_SECRETKEYBYTES,
	      "one length for both");

struct sealing_keys {
	bool form_only;
	size_t n_keys;
	struct sealing_public publics[SEALING_KEYS_MAX];
	struct secblock *privates; /* n_keys times SEALING_KEY_LEN */
};

static void set_id(struct sealing_public *p)
{
	uint8_t hash[crypto_generichash_BYTES_MIN];

	crypto_generichash(hash, sizeof(hash), p->key, sizeof(p->key), NULL, 0);
	sodium_bin2hex(p->id, sizeof(p->id), hash, SEALING_ID_LEN / 2);
}

/* ---- key files ---- */

/* The next line that counts, up to its end; NULL: there is none. *text is moved behind it. */
static const char *next_line(const char **text, size_t *ret_len)
{
	while (**text) {
		const char *line = *text;
		size_t len = strcspn(line, "\n");

		*text += len + (line[len] == '\n');
		while (len > 0 && strchr(" \t\r", line[len - 1]))
			len--;
		if (len == 0 || *line == '#')
			continue;
		*ret_len = len;
		return line;
	}
	return NULL;
}

static bool is_ascii(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] > 0x7f)
			return false;
	return true;
}

static int parse_key(const char *line, size_t len, const char *prefix, uint8_t key[static SEALING_KEY_LEN])
{
	size_t n = strlen(prefix), n_key = 0;

	/* libsodium takes some bytes that are not ASCII for an 'A' */
	if (len <= n || strncmp(line, prefix, n) != 0 || !is_ascii(line, len))
		return -EINVAL;
	if (sodium_base642bin(key, SEALING_KEY_LEN, line + n, len - n, NULL, &n_key, NULL,
			      sodium_base64_VARIANT_ORIGINAL) < 0 ||
	    n_key != SEALING_KEY_LEN)
		return -EINVAL;
	return 0;
}

int sealing_public_read(const char *path, struct sealing_public *ret_public, struct err *e)
{
	struct sealing_public p = { .id = "" };
	cleanup_free char *text = NULL;
	const char *at, *line;
	size_t len;
	int r;

	r = file_read(AT_FDCWD, path, KEY_FILE_MAX, &text, &len, e);
	if (r < 0)
		return r;
	at = text;
	line = next_line(&at, &len);
	if (!line || parse_key(line, len, PUBLIC_PREFIX, p.key) < 0 || next_line(&at, &len))
		return err_set(e, -EINVAL, "%s: is not a public key as secretlet keygen makes it", path);
	set_id(&p);
	*ret_public = p;
	return 0;
}

static int check_private(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: %m", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: is not a regular file", path);
	if (st.st_mode & 077)
		return err_set(e, -EPERM, "%s: others may use this private key (mode %04o); chmod 600 ends that", path,
			       (unsigned)st.st_mode & 07777);
	return 0;
}

int sealing_keys_open(const char *path, int *ret_fd, struct err *e)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int r;

	if (fd < 0)
		return err_set(e, -errno, "%s: %m", path);
	r = check_private(fd, path, e);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Into memory of the caller, NUL-terminated; no buffer in between. */
static int read_private(int fd, const char *path, char *text, size_t size, struct err *e)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, text + len, size - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	} while ((n > 0 && len < size - 1) || (n < 0 && errno == EINTR));
	if (n < 0)
		return err_set(e, -errno, "%s: %m", path);
	if (len == size - 1)
		return err_set(e, -EFBIG, "%s: is too large for a private key file", path);
	text[len] = '\0';
	return 0;
}

static int take_private(struct sealing_keys *k, const char *line, size_t len)
{
	uint8_t *key = k->privates->data + k->n_keys * SEALING_KEY_LEN;
	struct sealing_public *p = &k->publics[k->n_keys];

	assert(k->privates);
	if (k->n_keys == SEALING_KEYS_MAX || parse_key(line, len, PRIVATE_PREFIX, key) < 0 ||
	    crypto_scalarmult_base(p->key, key) < 0)
		return -EINVAL;
	set_id(p);
	k->n_keys++;
	return 0;
}

int sealing_keys_read(const char *path, struct sealing_keys **ret_keys, struct err *e)
{
	int fd, r;

	r = sealing_keys_open(path, &fd, e);
	return r < 0 ? r : sealing_keys_read_fd(fd, path, ret_keys, e);
}

int sealing_keys_read_fd(int take_fd, const char *path, struct sealing_keys **ret_keys, struct err *e)
{
	cleanup_fd int fd = take_fd;
	cleanup_sealing_keys struct sealing_keys *k = calloc(1, sizeof(*k));
	cleanup_secblock struct secblock *text = NULL;
	const char *at, *line;
	size_t len;
	int r;

	if (!k)
		return err_set(e, -ENOMEM, "out of memory");
	r = check_private(fd, path, e);
	if (r == 0)
		r = secblock_new(KEY_FILE_MAX, &text, e);
	if (r == 0)
		r = secblock_new(SEALING_KEYS_MAX * SEALING_KEY_LEN, &k->privates, e);
	if (r == 0)
		r = read_private(fd, path, (char *)text->data, text->len, e);
	if (r < 0)
		return r;
	at = (const char *)text->data;
	for (size_t n = 1; (line = next_line(&at, &len)); n++)
		if (take_private(k, line, len) < 0)
			return err_set(e, -EINVAL,
				       "%s: key %zu is not a private key as secretlet keygen makes it (at most %d)",
				       path, n, SEALING_KEYS_MAX);
	if (k->n_keys == 0)
		return err_set(e, -EINVAL, "%s: has no private key in it", path);
	*ret_keys = TAKE_PTR(k);
	return 0;
}

void sealing_keys_free(struct sealing_keys *k)
{
	if (!k || k->form_only)
		return;
	secblock_unref(k->privates);
	free(k);
}

bool sealing_keys_same(const struct sealing_keys *a, const struct sealing_keys *b)
{
	if (a->n_keys != b->n_keys)
		return false;
	for (size_t i = 0; i < a->n_keys; i++)
		if (memcmp(a->publics[i].key, b->publics[i].key, SEALING_KEY_LEN) != 0)
			return false;
	return true;
}

const struct sealing_keys *sealing_form_only(void)
{
	static const struct sealing_keys none = { .form_only = true };

	return &none;
}

/* A file of its own: nothing that exists is written to. */
static int write_new(const char *path, mode_t mode, const char *text, struct err *e)
{
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return err_set(e, -errno,
			       errno == EEXIST ? "%s: exists already; a key is never written over" : "%s: %m", path);
	r = file_write_all(fd, text, strlen(text));
	if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		r = -errno;
	if (r == 0)
		return 0;
	unlink(path);
	return err_set(e, r, "write %s: %s", path, strerror(-r));
}

static void make_line(char *text, size_t size, const char *prefix, const uint8_t key[static SEALING_KEY_LEN])
{
	size_t n = strlen(prefix);

	memcpy(text, prefix, n);
	sodium_bin2base64(text + n, size - n - 1, key, SEALING_KEY_LEN, sodium_base64_VARIANT_ORIGINAL);
	n = strlen(text);
	memcpy(text + n, "\n", 2);
}

int sealing_generate(const char *private_path, const char *public_path, struct sealing_public *ret_public,
		     struct err *e)
{
	char public_line[sizeof(PUBLIC_PREFIX) + KEY_BASE64_LEN + 1];
	cleanup_secblock struct secblock *key = NULL, *line = NULL;
	struct sealing_public p = { .id = "" };
	int r;

	r = secblock_new(SEALING_KEY_LEN, &key, e);
	if (r == 0)
		r = secblock_new(sizeof(PRIVATE_PREFIX) + KEY_BASE64_LEN + 1, &line, e);
	if (r < 0)
		return r;
	assert(key && line);
	crypto_box_keypair(p.key, key->data);
	set_id(&p);
	make_line(public_line, sizeof(public_line), PUBLIC_PREFIX, p.key);
	make_line((char *)line->data, line->len, PRIVATE_PREFIX, key->data);

	r = write_new(private_path, 0600, (const char *)line->data, e);
	if (r < 0)
		return r;
	r = write_new(public_path, 0644, public_line, e);
	if (r < 0) {
		unlink(private_path);
		return r;
	}
	*ret_public = p;
	return 0;
}

/* ---- values ---- */

static size_t add(uint8_t *to, size_t at, const char *text)
{
	size_t len = strlen(text) + 1;

	memcpy(to + at, text, len);
	return at + len;
}

int sealing_seal(const struct sealing_public *to, const char *ns, const char *name, const char *key, const void *value,
		 size_t len, char **ret_text)
{
	size_t n_header = sizeof(DOMAIN) + strlen(ns) + strlen(name) + strlen(key) + 3, at = 0;
	cleanup_free char *base64 = NULL, *box = NULL;
	cleanup_secblock struct secblock *plain = NULL;
	int r;

	r = secblock_new(n_header + len, &plain, NULL);
	if (r < 0)
		return r;
	at = add(plain->data, at, DOMAIN);
	at = add(plain->data, at, ns);
	at = add(plain->data, at, name);
	at = add(plain->data, at, key);
	if (len > 0)
		memcpy(plain->data + at, value, len);
	box = malloc(plain->len + crypto_box_SEALBYTES);
	if (!box)
		return -ENOMEM;
	if (crypto_box_seal((uint8_t *)box, plain->data, plain->len, to->key) < 0)
		return -EINVAL;
	r = b64_encode(box, plain->len + crypto_box_SEALBYTES, &base64);
	if (r < 0)
		return r;
	return str_printf(ret_text, VALUE_PREFIX "%s:%s", to->id, base64);
}

static int refuse(const char **ret_reason, const char *reason)
{
	*ret_reason = reason;
	return -EINVAL;
}

/* v1:KEYID:BASE64 -> where the base64 is. */
static int check_form(const char *text, size_t len, const char **ret_base64, const char **ret_reason)
{
	const char *id = text + strlen(VALUE_PREFIX), *base64 = id + SEALING_ID_LEN + 1;
	size_t n = (size_t)(base64 - text);

	if (strlen(text) != len || !str_starts(text, VALUE_PREFIX))
		return refuse(ret_reason, "is not a sealed value as secretlet seal makes it (v1:...)");
	if (len <= n || strspn(id, "0123456789abcdef") != SEALING_ID_LEN || base64[-1] != ':')
		return refuse(ret_reason, "is damaged: it does not begin with v1: and the id of a key");
	if (b64_decoded_max(len - n) > BOX_MAX + 4)
		return refuse(ret_reason, "is larger than a Secret may be");
	*ret_base64 = base64;
	return 0;
}

static int decode_box(const char *base64, size_t len, uint8_t **ret_box, size_t *ret_len, const char **ret_reason)
{
	size_t size = b64_decoded_max(len);
	cleanup_free uint8_t *box = malloc(size + 1);

	if (!box)
		return -ENOMEM;
	if (b64_decode(base64, len, box, size, ret_len) < 0)
		return refuse(ret_reason, "is damaged: illegal base64 data");
	if (*ret_len < crypto_box_SEALBYTES + sizeof(DOMAIN))
		return refuse(ret_reason, "is damaged: it is too short");
	*ret_box = TAKE_PTR(box);
	return 0;
}

/* Is the next text of the plaintext this one? */
static bool next_is(const struct secblock *plain, size_t *at, const char *text)
{
	size_t len = strlen(text) + 1;

	if (plain->len - *at < len || memcmp(plain->data + *at, text, len) != 0)
		return false;
	*at += len;
	return true;
}

static int check_binding(const struct secblock *plain, const char *ns, const char *name, const char *key,
			 size_t *ret_at, const char **ret_reason)
{
	size_t at = 0;

	if (!next_is(plain, &at, DOMAIN))
		return refuse(ret_reason, "was not sealed by secretlet seal");
	if (!next_is(plain, &at, ns))
		return refuse(ret_reason, "was sealed for a Secret of another namespace");
	if (!next_is(plain, &at, name))
		return refuse(ret_reason, "was sealed for a Secret of another name");
	if (!next_is(plain, &at, key))
		return refuse(ret_reason, "was sealed for another key");
	*ret_at = at;
	return 0;
}

static int open_box(const struct sealing_keys *keys, const char *id, const uint8_t *box, size_t len,
		    struct secblock **ret_plain, const char **ret_reason)
{
	cleanup_secblock struct secblock *plain = NULL;
	bool known = false;
	int r;

	r = secblock_new(len - crypto_box_SEALBYTES, &plain, NULL);
	if (r < 0)
		return r;
	for (size_t i = 0; i < keys->n_keys; i++) {
		if (strncmp(keys->publics[i].id, id, SEALING_ID_LEN) != 0)
			continue;
		known = true;
		if (crypto_box_seal_open(plain->data, box, len, keys->publics[i].key,
					 keys->privates->data + i * SEALING_KEY_LEN) == 0) {
			*ret_plain = TAKE_PTR(plain);
			return 0;
		}
	}
	return refuse(ret_reason, known ? "is damaged: it cannot be opened"
					: "is sealed to another public key than those of the private key file");
}

int sealing_open(const struct sealing_keys *keys, const char *ns, const char *name, const char *key, const char *text,
		 size_t len, struct secblock **ret_value, const char **ret_reason)
{
	cleanup_secblock struct secblock *plain = NULL, *value = NULL;
	cleanup_free uint8_t *box = NULL;
	const char *base64 = NULL;
	size_t n_box = 0, at = 0;
	int r;

	r = check_form(text, len, &base64, ret_reason);
	if (r < 0)
		return r;
	r = decode_box(base64, len - (size_t)(base64 - text), &box, &n_box, ret_reason);
	if (r < 0)
		return r;
	if (keys->form_only) {
		r = secblock_new(strlen(PLACEHOLDER), &value, NULL);
		if (r < 0)
			return r;
		memcpy(value->data, PLACEHOLDER, strlen(PLACEHOLDER));
		*ret_value = TAKE_PTR(value);
		return 0;
	}
	r = open_box(keys, text + strlen(VALUE_PREFIX), box, n_box, &plain, ret_reason);
	if (r < 0)
		return r;
	assert(plain);
	r = check_binding(plain, ns, name, key, &at, ret_reason);
	if (r < 0)
		return r;
	r = secblock_new(plain->len - at, &value, NULL);
	if (r < 0)
		return r;
	memcpy(value->data, plain->data + at, plain->len - at);
	*ret_value = TAKE_PTR(value);
	return 0;
}

/* ---- a Secret ---- */

static int no_memory(struct json_issue *issue, const struct json_at *at)
{
	json_issue_set(issue, at, "out of memory");
	return -ENOMEM;
}

static int open_value(const struct sealing_keys *keys, const char *ns, const char *name, const char *key,
		      const json_t *sealed, json_t *data, const struct json_at *at, struct json_issue *issue)
{
	cleanup_secblock struct secblock *value = NULL;
	cleanup_secret char *base64 = NULL;
	const char *reason = "";
	struct err e = ERR_INIT;
	int r;

	if (!json_is_string(sealed))
		return json_issue_set(issue, at, "must be a string");
	r = sealing_open(keys, ns, name, key, json_string_value(sealed), json_string_length(sealed), &value, &reason);
	if (r == -EINVAL)
		return json_issue_set(issue, at, "%s", reason);
	if (r == -ENOMEM && secmem_was_full(&e)) {
		json_issue_set(issue, at, "%s", err_text(&e));
		return r;
	}
	if (r < 0 || b64_encode(value->data, value->len, &base64) < 0 ||
	    json_object_set_new(data, key, json_string(base64)) < 0)
		return no_memory(issue, at);
	return 0;
}

/* The member `data`, made if there is none. NULL: out of memory. */
static json_t *get_data(json_t *obj)
{
	json_t *data = json_object_get(obj, "data");

	if (data && !json_is_null(data))
		return data;
	data = json_object();
	return json_object_set_new(obj, "data", data) < 0 ? NULL : data;
}

int sealing_open_secret(const struct sealing_keys *keys, const char *ns, const char *name, json_t *obj,
			struct json_issue *issue)
{
	const struct json_at root = JSON_ROOT, at = JSON_AT(&root, "sealedData"), data_at = JSON_AT(&root, "data");
	cleanup_json json_t *sealed = json_incref(json_object_get(obj, "sealedData"));
	const json_t *strings = json_object_get(obj, "stringData");
	const char *key;
	json_t *value, *data;
	int r;

	if (!sealed || json_is_null(sealed) || (json_is_object(sealed) && json_object_size(sealed) == 0)) {
		json_object_del(obj, "sealedData");
		return 0;
	}
	if (!json_is_object(sealed))
		return json_issue_set(issue, &at, "must be an object");
	if (!keys)
		return json_issue_set(issue, &at,
				      "sealed values cannot be opened: there is no private key (sealedSecretsKeyFile)");
	data = get_data(obj);
	if (!data)
		return no_memory(issue, &at);
	if (!json_is_object(data))
		return json_issue_set(issue, &data_at, "must be an object");
	json_object_foreach (sealed, key, value) {
		const struct json_at here = JSON_AT(&at, key);

		if (json_object_get(data, key) || json_object_get(strings, key))
			return json_issue_set(issue, &here, "is in data or stringData as well");
		r = open_value(keys, ns, name, key, value, data, &here, issue);
		if (r < 0)
			return r;
	}
	json_object_del(obj, "sealedData");
	return 0;
}
