/* Sealing: what is sealed opens with the right key under the right name only, whatever is done to it on the way; and key
 * files that are none are refused. */
#include "agent/sealing.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "agent/secret.h"
#include "common/b64.h"
#include "common/file.h"
#include "common/str.h"

#define CANARY "correct-horse-battery-staple"

struct world {
	char dir[64];
	char private_path[96], public_path[96];
	struct sealing_public to;
	struct sealing_keys *keys;
};

static struct sealing_keys *read_keys(const char *path)
{
	struct sealing_keys *keys = NULL;
	struct err e = ERR_INIT;

	if (sealing_keys_read(path, &keys, &e) < 0)
		fail_msg("%s", err_text(&e));
	return keys;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err e = ERR_INIT;

	assert_non_null(w);
	snprintf(w->dir, sizeof(w->dir), "/tmp/test-sealing-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->private_path, sizeof(w->private_path), "%s/k", w->dir);
	snprintf(w->public_path, sizeof(w->public_path), "%s/p", w->dir);
	assert_int_equal(sealing_generate(w->private_path, w->public_path, &w->to, &e), 0);
	w->keys = read_keys(w->private_path);
	*state = w;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct world *w = *state;

	sealing_keys_free(w->keys);
	nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

static char *seal(struct world *w, const void *value, size_t len)
{
	char *text = NULL;

	assert_int_equal(sealing_seal(&w->to, "default", "db", "password", value, len, &text), 0);
	return text;
}

static int open_as(const struct sealing_keys *keys, const char *ns, const char *name, const char *key, const char *text,
		   struct secblock **ret_value, const char **ret_reason)
{
	*ret_value = NULL;
	*ret_reason = "";
	return sealing_open(keys, ns, name, key, text, strlen(text), ret_value, ret_reason);
}

/* NULL: it was opened. */
static const char *refusal(const struct sealing_keys *keys, const char *ns, const char *name, const char *key,
			   const char *text)
{
	cleanup_secblock struct secblock *value = NULL;
	const char *reason;
	int r = open_as(keys, ns, name, key, text, &value, &reason);

	assert_true(r == 0 || r == -EINVAL);
	assert_int_equal(r == 0, value != NULL);
	return r == 0 ? NULL : reason;
}

static void what_is_sealed_can_be_opened(void **state)
{
	static const size_t lens[] = { 0, 1, 27, 28, 4096, SECRET_BYTES_MAX };
	struct world *w = *state;
	uint8_t *value = malloc(SECRET_BYTES_MAX);

	assert_non_null(value);
	randombytes_buf(value, SECRET_BYTES_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		cleanup_free char *text = seal(w, value, lens[i]);
		cleanup_secblock struct secblock *opened = NULL;
		const char *reason;

		assert_int_equal(open_as(w->keys, "default", "db", "password", text, &opened, &reason), 0);
		assert_int_equal(opened->len, lens[i]);
		assert_memory_equal(opened->data, value, lens[i]);
	}
	free(value);
}

static void the_same_value_is_sealed_anew_each_time(void **state)
{
	struct world *w = *state;
	cleanup_free char *one = seal(w, CANARY, strlen(CANARY)), *two = seal(w, CANARY, strlen(CANARY));

	assert_string_not_equal(one, two);
	assert_null(strstr(one, CANARY));
	assert_true(str_starts(one, "v1:"));
	assert_memory_equal(one + 3, w->to.id, SEALING_ID_LEN);
}

static void another_namespace_name_or_key_is_refused(void **state)
{
	static const struct {
		const char *ns, *name, *key, *reason;
	} cases[] = {
		{ "other", "db", "password", "was sealed for a Secret of another namespace" },
		{ "", "db", "password", "was sealed for a Secret of another namespace" },
		{ "defaultdb", "", "password", "was sealed for a Secret of another namespace" },
		{ "default", "db2", "password", "was sealed for a Secret of another name" },
		{ "default", "d", "bpassword", "was sealed for a Secret of another name" },
		{ "default", "db", "Password", "was sealed for another key" },
		{ "default", "db", "pass", "was sealed for another key" },
		{ "default", "db", "password" CANARY, "was sealed for another key" },
	};
	struct world *w = *state;
	cleanup_free char *text = seal(w, CANARY, strlen(CANARY));

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(refusal(w->keys, cases[i].ns, cases[i].name, cases[i].key, text), cases[i].reason);
}

static void every_changed_byte_is_found(void **state)
{
	struct world *w = *state;
	cleanup_free char *text = seal(w, "value", 5);
	size_t head = strlen("v1:") + SEALING_ID_LEN + 1, len = 0, size = strlen(text);
	cleanup_free uint8_t *box = malloc(size);

	assert_int_equal(b64_decode(text + head, size - head, box, size, &len), 0);
	for (size_t i = 0; i < len; i++) {
		cleanup_free char *base64 = NULL, *changed = NULL;

		box[i] ^= 1;
		assert_int_equal(b64_encode(box, len, &base64), 0);
		changed = str_format("%.*s%s", (int)head, text, base64);
		assert_string_equal(refusal(w->keys, "default", "db", "password", changed),
				    "is damaged: it cannot be opened");
		box[i] ^= 1;
	}
}

static void every_shorter_text_is_refused(void **state)
{
	struct world *w = *state;
	cleanup_free char *text = seal(w, "value", 5);

	assert_null(refusal(w->keys, "default", "db", "password", text));
	for (size_t len = strlen(text); len-- > 0;) {
		text[len] = '\0';
		assert_non_null(refusal(w->keys, "default", "db", "password", text));
	}
}

static void what_has_not_the_form_is_refused(void **state)
{
	static const struct {
		const char *text, *reason;
	} cases[] = {
		{ "", "is not a sealed value as secretlet seal makes it (v1:...)" },
		{ "aHVudGVyMg==", "is not a sealed value as secretlet seal makes it (v1:...)" },
		{ "v2:00000000:AAAA", "is not a sealed value as secretlet seal makes it (v1:...)" },
		{ "v1:", "is damaged: it does not begin with v1: and the id of a key" },
		{ "v1:00000000:", "is damaged: it does not begin with v1: and the id of a key" },
		{ "v1:0000000:AAAA", "is damaged: it does not begin with v1: and the id of a key" },
		{ "v1:0000000G:AAAA", "is damaged: it does not begin with v1: and the id of a key" },
		{ "v1:00000000:~~~~", "is damaged: illegal base64 data" },
		{ "v1:00000000:AAAA", "is damaged: it is too short" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_string_equal(refusal(w->keys, "default", "db", "password", cases[i].text), cases[i].reason);
		/* that much can be said without a key, too */
		assert_string_equal(refusal(sealing_form_only(), "default", "db", "password", cases[i].text),
				    cases[i].reason);
	}
}

static void a_text_is_bounded_and_has_no_nul(void **state)
{
	static const size_t size = 2 << 20;
	struct world *w = *state;
	cleanup_free char *good = seal(w, "value", 5), *huge = malloc(size + 1);
	cleanup_secblock struct secblock *value = NULL;
	const char *reason = "";

	assert_non_null(huge);
	memset(huge, 'A', size);
	huge[size] = '\0';
	memcpy(huge, good, strlen("v1:") + SEALING_ID_LEN + 1);
	assert_string_equal(refusal(w->keys, "default", "db", "password", huge), "is larger than a Secret may be");
	assert_int_equal(sealing_open(w->keys, "default", "db", "password", good, strlen(good) + 1, &value, &reason),
			 -EINVAL);
	assert_string_equal(reason, "is not a sealed value as secretlet seal makes it (v1:...)");
}

static void a_box_of_another_program_is_refused(void **state)
{
	static const char plain[] = "some other thing, long enough to look like one of ours";
	uint8_t box[sizeof(plain) + crypto_box_SEALBYTES];
	struct world *w = *state;
	cleanup_free char *base64 = NULL, *text = NULL;

	assert_int_equal(crypto_box_seal(box, (const uint8_t *)plain, sizeof(plain), w->to.key), 0);
	assert_int_equal(b64_encode(box, sizeof(box), &base64), 0);
	text = str_format("v1:%s:%s", w->to.id, base64);
	assert_string_equal(refusal(w->keys, "default", "db", "password", text), "was not sealed by secretlet seal");
}

static char *read_file(const char *path)
{
	struct err e = ERR_INIT;
	char *text = NULL;
	size_t len;

	assert_int_equal(file_read(-100, path, 65536, &text, &len, &e), 0);
	return text;
}

static void write_private(struct world *w, const char *text, mode_t mode)
{
	struct err e = ERR_INIT;

	assert_int_equal(file_write_atomic(w->private_path, text, strlen(text), mode, &e), 0);
}

static void another_key_is_refused_and_an_older_one_still_opens(void **state)
{
	struct world *w = *state;
	cleanup_free char *text = seal(w, CANARY, strlen(CANARY)), *old = read_file(w->private_path), *fresh = NULL,
			  *both = NULL;
	cleanup_sealing_keys struct sealing_keys *other = NULL, *all = NULL;
	struct sealing_public to;
	struct err e = ERR_INIT;

	assert_int_equal(unlink(w->private_path), 0);
	assert_int_equal(unlink(w->public_path), 0);
	assert_int_equal(sealing_generate(w->private_path, w->public_path, &to, &e), 0);
	other = read_keys(w->private_path);
	assert_string_equal(refusal(other, "default", "db", "password", text),
			    "is sealed to another public key than those of the private key file");
	/* the id is a hint and nothing else */
	memcpy(text + 3, to.id, SEALING_ID_LEN);
	assert_string_equal(refusal(other, "default", "db", "password", text), "is damaged: it cannot be opened");
	memcpy(text + 3, w->to.id, SEALING_ID_LEN);

	fresh = read_file(w->private_path);
	both = str_format("# new\n%s\n# old\n%s", fresh, old);
	write_private(w, both, 0600);
	all = read_keys(w->private_path);
	assert_null(refusal(all, "default", "db", "password", text));
}

static void key_pairs_have_their_modes_and_are_never_written_over(void **state)
{
	struct world *w = *state;
	cleanup_free char *before = read_file(w->private_path), *after = NULL, *fresh = str_format("%s/new", w->dir);
	struct sealing_public p;
	struct err e = ERR_INIT;
	struct stat st;

	assert_int_equal(stat(w->private_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(w->public_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(sealing_public_read(w->public_path, &p, &e), 0);
	assert_memory_equal(p.key, w->to.key, sizeof(p.key));
	assert_string_equal(p.id, w->to.id);

	assert_int_equal(sealing_generate(w->private_path, fresh, &p, &e), -EEXIST);
	assert_int_equal(access(fresh, F_OK), -1);
	assert_int_equal(sealing_generate(fresh, w->public_path, &p, &e), -EEXIST);
	assert_int_equal(access(fresh, F_OK), -1);
	after = read_file(w->private_path);
	assert_string_equal(before, after);
	assert_null(strstr(err_text(&e), before + strlen("secretlet-private-key v1 ")));
}

#define PRIVATE "secretlet-private-key v1 "
#define BYTES31 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
#define OTHER32 "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
#define BYTES32 "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

static void what_is_no_private_key_file_is_refused(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		const char *reason;
	} cases[] = {
		{ "", 0600, "has no private key in it" },
		{ "# " PRIVATE BYTES32 "\n\n", 0600, "has no private key in it" },
		{ PRIVATE BYTES32, 0600, NULL },
		{ PRIVATE BYTES32 " \r\n", 0400, NULL },
		{ PRIVATE BYTES32, 0640, "others may use this private key (mode 0640)" },
		{ PRIVATE BYTES32, 0604, "others may use this private key (mode 0604)" },
		{ PRIVATE BYTES31, 0600, "key 1 is not a private key" },
		{ PRIVATE BYTES32 "AAAA", 0600, "key 1 is not a private key" },
		{ PRIVATE BYTES32 "\nrubbish\n", 0600, "key 2 is not a private key" },
		{ BYTES32, 0600, "key 1 is not a private key" },
		{ PRIVATE, 0600, "key 1 is not a private key" },
		/* libsodium 1.0.18 takes it for an A */
		{ PRIVATE "\xe4"
			  "QEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
		  0600, "key 1 is not a private key" },
		{ "secretlet-public-key v1 " BYTES32, 0600, "key 1 is not a private key" },
		{ "secretlet-private-key v2 " BYTES32, 0600, "key 1 is not a private key" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_sealing_keys struct sealing_keys *keys = NULL;
		struct err e = ERR_INIT;
		int r;

		write_private(w, cases[i].text, cases[i].mode);
		r = sealing_keys_read(w->private_path, &keys, &e);
		assert_int_equal(r == 0, !cases[i].reason);
		if (!cases[i].reason)
			continue;
		assert_non_null(strstr(err_text(&e), cases[i].reason));
		assert_non_null(strstr(err_text(&e), w->private_path));
		assert_null(strstr(err_text(&e), "AQEB"));
	}
}

static void a_file_that_another_has_opened_is_looked_at_too(void **state)
{
	struct world *w = *state;
	struct sealing_keys *keys = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(chmod(w->private_path, 0640), 0);
	assert_int_equal(sealing_keys_read_fd(open(w->private_path, O_RDONLY | O_CLOEXEC), w->private_path, &keys, &e),
			 -EPERM);
	assert_int_equal(sealing_keys_read_fd(open(w->dir, O_RDONLY | O_CLOEXEC), w->dir, &keys, &e), -EINVAL);
	assert_null(keys);
}

static void keys_are_compared_in_their_order(void **state)
{
	struct world *w = *state;
	cleanup_sealing_keys struct sealing_keys *one = NULL, *two = NULL, *turned = NULL, *again = NULL;

	write_private(w, PRIVATE BYTES32 "\n", 0600);
	one = read_keys(w->private_path);
	write_private(w, PRIVATE BYTES32 "\n" PRIVATE OTHER32 "\n", 0600);
	two = read_keys(w->private_path);
	write_private(w, PRIVATE OTHER32 "\n" PRIVATE BYTES32 "\n", 0600);
	turned = read_keys(w->private_path);
	write_private(w, "# the same\n" PRIVATE OTHER32 "\n\n" PRIVATE BYTES32, 0600);
	again = read_keys(w->private_path);
	assert_true(sealing_keys_same(turned, again));
	assert_false(sealing_keys_same(one, two));
	assert_false(sealing_keys_same(two, one));
	assert_false(sealing_keys_same(two, turned));
}

static void key_files_have_their_number_of_keys(void **state)
{
	struct world *w = *state;
	cleanup_sealing_keys struct sealing_keys *keys = NULL;
	cleanup_free char *public = read_file(w->public_path), *two = str_format("%s%s", public, public);
	static const char line[] = PRIVATE BYTES32 "\n";
	char text[(SEALING_KEYS_MAX + 1) * sizeof(line)] = "";
	size_t n = strlen(line);
	struct sealing_public p;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < SEALING_KEYS_MAX; i++)
		memcpy(text + i * n, line, n);
	write_private(w, text, 0600);
	keys = read_keys(w->private_path);
	memcpy(text + SEALING_KEYS_MAX * n, line, n);
	write_private(w, text, 0600);
	sealing_keys_free(TAKE_PTR(keys));
	assert_int_equal(sealing_keys_read(w->private_path, &keys, &e), -EINVAL);
	assert_non_null(strstr(err_text(&e), "key 17 is not a private key as secretlet keygen makes it (at most 16)"));
	/* whoever seals to a file with two of them might mean the other */
	assert_int_equal(file_write_atomic(w->public_path, two, strlen(two), 0644, &e), 0);
	assert_int_equal(sealing_public_read(w->public_path, &p, &e), -EINVAL);
}

static void places_that_have_no_key_are_refused(void **state)
{
	struct world *w = *state;
	cleanup_free char *fifo = str_format("%s/fifo", w->dir), *huge = str_format("%s/huge", w->dir);
	struct sealing_keys *keys = NULL;
	struct sealing_public p;
	struct err e = ERR_INIT;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(file_write_atomic(huge, "#", 1, 0600, &e), 0);
	assert_int_equal(truncate(huge, 1 << 20), 0);
	assert_int_equal(sealing_keys_read("/nonexistent/key", &keys, &e), -ENOENT);
	assert_int_equal(sealing_keys_read(w->dir, &keys, &e), -EINVAL);
	assert_int_equal(sealing_keys_read(fifo, &keys, &e), -EINVAL);
	assert_int_equal(sealing_keys_read(huge, &keys, &e), -EFBIG);
	assert_null(keys);
	/* the halves are told apart */
	assert_int_equal(sealing_public_read(w->private_path, &p, &e), -EINVAL);
	assert_non_null(strstr(err_text(&e), "is not a public key as secretlet keygen makes it"));
	assert_int_equal(sealing_public_read("/nonexistent/key", &p, &e), -ENOENT);
}

static void a_secret_is_opened_or_refused_by_the_field(void **state)
{
	struct world *w = *state;
	cleanup_free char *good = seal(w, CANARY, strlen(CANARY));
	const struct {
		const char *obj; /* with %s for the sealed value */
		const struct sealing_keys *keys;
		const char *path, *reason; /* NULL: it is good */
	} cases[] = {
		{ "{}", NULL, NULL, NULL },
		{ "{\"sealedData\": null}", NULL, NULL, NULL },
		{ "{\"sealedData\": {}}", NULL, NULL, NULL },
		{ "{\"sealedData\": {\"password\": \"%s\"}}", w->keys, NULL, NULL },
		{ "{\"sealedData\": {\"password\": \"%s\"}, \"data\": null}", w->keys, NULL, NULL },
		{ "{\"sealedData\": {\"password\": \"%s\"}, \"data\": {\"x\": \"\"}}", w->keys, NULL, NULL },
		{ "{\"sealedData\": {\"password\": \"%s\"}}", sealing_form_only(), NULL, NULL },
		{ "{\"sealedData\": {\"password\": \"%s\"}}", NULL, "sealedData",
		  "sealed values cannot be opened: there is no private key (sealedSecretsKeyFile)" },
		{ "{\"sealedData\": []}", w->keys, "sealedData", "must be an object" },
		{ "{\"sealedData\": \"%s\"}", w->keys, "sealedData", "must be an object" },
		{ "{\"sealedData\": {\"password\": \"%s\"}, \"data\": []}", w->keys, "data", "must be an object" },
		{ "{\"sealedData\": {\"password\": 1}}", w->keys, "sealedData.password", "must be a string" },
		{ "{\"sealedData\": {\"password\": null}}", w->keys, "sealedData.password", "must be a string" },
		{ "{\"sealedData\": {\"tls.key\": \"%s\"}}", w->keys, "sealedData[tls.key]",
		  "was sealed for another key" },
		{ "{\"sealedData\": {\"password\": \"%s\"}, \"data\": {\"password\": \"\"}}", w->keys,
		  "sealedData.password", "is in data or stringData as well" },
		{ "{\"sealedData\": {\"password\": \"%s\"}, \"stringData\": {\"password\": \"\"}}", w->keys,
		  "sealedData.password", "is in data or stringData as well" },
		{ "{\"sealedData\": {\"password\": \"" CANARY "\"}}", w->keys, "sealedData.password",
		  "is not a sealed value as secretlet seal makes it (v1:...)" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *mark = strstr(cases[i].obj, "%s");
		int head = mark ? (int)(mark - cases[i].obj) : (int)strlen(cases[i].obj);
		cleanup_free char *text =
			str_format("%.*s%s%s", head, cases[i].obj, mark ? good : "", mark ? mark + 2 : "");
		cleanup_json json_t *obj = json_loads(text, 0, NULL);
		struct json_issue issue = { .path = "", .reason = "" };
		int r = sealing_open_secret(cases[i].keys, "default", "db", obj, &issue);

		assert_non_null(obj);
		assert_string_equal(issue.path, cases[i].path ?: "");
		assert_string_equal(issue.reason, cases[i].reason ?: "");
		assert_int_equal(r, cases[i].reason ? -EINVAL : 0);
		if (r < 0)
			continue;
		assert_null(json_object_get(obj, "sealedData"));
		if (cases[i].keys == w->keys)
			assert_string_equal(
				json_string_value(json_object_get(json_object_get(obj, "data"), "password")),
				"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ==");
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_sealed_can_be_opened),
		TEST(the_same_value_is_sealed_anew_each_time),
		TEST(another_namespace_name_or_key_is_refused),
		TEST(every_changed_byte_is_found),
		TEST(every_shorter_text_is_refused),
		TEST(what_has_not_the_form_is_refused),
		TEST(a_box_of_another_program_is_refused),
		TEST(another_key_is_refused_and_an_older_one_still_opens),
		TEST(key_pairs_have_their_modes_and_are_never_written_over),
		TEST(what_is_no_private_key_file_is_refused),
		TEST(a_file_that_another_has_opened_is_looked_at_too),
		TEST(keys_are_compared_in_their_order),
		TEST(a_text_is_bounded_and_has_no_nul),
		TEST(key_files_have_their_number_of_keys),
		TEST(places_that_have_no_key_are_refused),
		TEST(a_secret_is_opened_or_refused_by_the_field),
	};
	struct err e = ERR_INIT;

	json_setup();
	if (sodium_init() < 0 || secmem_init(16 << 20, &e) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
