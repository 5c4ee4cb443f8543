/* The offline cache's files: what was written opens again under its own name with its own key, whatever else is there does
 * not, and a writer that dies at any system call leaves the cache of before or of after. */
#include "agent/cache_set.h"

#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/codec.h"
#include "common/file.h"
#include "common/str.h"
#include "test/lib/skip.h"
#include "test/lib/valgrind.h"

#define SECMEM_BYTES (8 * 1024 * 1024)
#define NODE	     "node-1"
#define CANARY	     "correct-horse-battery-staple"

static struct cache_key *key, *other_key;
static char dir_path[64];
static int dirfd_;

static struct cache_key *key_of(uint8_t fill)
{
	uint8_t bytes[CACHE_KEY_LEN];
	struct cache_key *k = NULL;
	struct err e = ERR_INIT;

	memset(bytes, fill, sizeof(bytes));
	if (cache_key_new(bytes, &k, &e) < 0)
		fail_msg("%s", err_text(&e));
	return k;
}

static int setup(void **state)
{
	struct err e = ERR_INIT;

	snprintf(dir_path, sizeof(dir_path), "/tmp/test-cache-XXXXXX");
	assert_non_null(mkdtemp(dir_path));
	if (secmem_init(SECMEM_BYTES, &e) < 0 || cache_dir_open(dir_path, &dirfd_, &e) < 0)
		fail_msg("%s", err_text(&e));
	key = key_of(7);
	other_key = key_of(8);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static int teardown(void **state)
{
	cache_key_free(key);
	cache_key_free(other_key);
	assert_int_equal(secmem_stats().n_blocks, 0);
	secmem_deinit();
	close_fd(dirfd_);
	return nftw(dir_path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- box ---- */

static const struct cache_bind BIND = {
	.node = NODE, .kind = "Secret", .id = "default/db", .file = "0123456789abcdef0123456789abcdef", .generation = 5
};

static void seal(const void *data, size_t len, struct buf *file)
{
	*file = BUF_INIT(CACHE_FILE_MAX);
	assert_int_equal(cache_seal(key, &BIND, data, len, file), 0);
}

/* Nothing comes out of it, and it says which file it was. */
static void assert_refused(const struct cache_key *k, const struct cache_bind *b, const void *file, size_t len)
{
	cleanup_buf struct buf out = BUF_INIT(CACHE_FILE_MAX);
	struct err e = ERR_INIT;

	assert_int_equal(cache_unseal(k, b, file, len, &out, &e), -EBADMSG);
	assert_non_null(strstr(err_text(&e), b->file));
	assert_int_equal(out.len, 0);
}

static void what_was_sealed_opens(void **state)
{
	static const size_t lens[] = { 0, 1, 100, 4000, 4015, 4016, 4017, 4096, 70000, 1500000 };

	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		cleanup_buf struct buf file, out = BUF_INIT(CACHE_FILE_MAX);
		cleanup_free char *data = malloc(lens[i] + 1);
		struct err e = ERR_INIT;

		assert_non_null(data);
		randombytes_buf(data, lens[i]);
		seal(data, lens[i], &file);
		assert_int_equal(file.len % CACHE_BLOCK, 0);
		assert_int_equal(cache_generation(file.data, file.len), 5);
		if (cache_unseal(key, &BIND, file.data, file.len, &out, &e) < 0)
			fail_msg("%zu bytes: %s", lens[i], err_text(&e));
		assert_int_equal(out.len, lens[i]);
		assert_memory_equal(out.data ?: "", data, lens[i]);
	}
}

static void a_file_shows_nothing_of_its_content(void **state)
{
	cleanup_buf struct buf one, two;

	seal(CANARY, strlen(CANARY), &one);
	seal(CANARY, strlen(CANARY), &two);
	assert_null(memmem(one.data, one.len, CANARY, strlen(CANARY)));
	assert_null(memmem(one.data, one.len, "default", 7));
	/* the same twice looks different from the header on */
	assert_int_equal(one.len, two.len);
	assert_memory_not_equal(one.data + 16, two.data + 16, one.len - 16);
}

static void every_changed_byte_is_refused(void **state)
{
	cleanup_buf struct buf file;

	seal(CANARY, strlen(CANARY), &file);
	for (size_t i = 0; i < file.len; i++) {
		file.data[i] ^= (char)(1 << i % 8);
		assert_refused(key, &BIND, file.data, file.len);
		file.data[i] ^= (char)(1 << i % 8);
	}
}

static void every_other_length_is_refused(void **state)
{
	cleanup_free char *data = calloc(1, 20000);
	cleanup_buf struct buf file;
	char *room;

	assert_non_null(data);
	seal(data, 20000, &file);
	for (size_t len = 0; len<file.len; len += len % CACHE_BLOCK> 90 && len % CACHE_BLOCK < 4000 ? 97 : 1)
		assert_refused(key, &BIND, file.data, len);
	assert_int_equal(buf_reserve(&file, CACHE_BLOCK, &room), 0);
	memset(room, 0, CACHE_BLOCK);
	assert_refused(key, &BIND, file.data, file.len + CACHE_BLOCK);
}

static void random_bytes_are_refused(void **state)
{
	char file[2 * CACHE_BLOCK];

	for (int i = 0; i < 2000; i++) {
		randombytes_buf(file, sizeof(file));
		if (i % 2) /* as far as it can be right without the key */
			memcpy(file, CACHE_MAGIC "\5\0\0\0\0\0\0\0", 16);
		assert_refused(key, &BIND, file, i % 3 ? sizeof(file) : CACHE_BLOCK);
	}
}

static void a_file_opens_as_nothing_else(void **state)
{
	struct cache_bind b = BIND;
	cleanup_buf struct buf file;

	seal(CANARY, strlen(CANARY), &file);
	assert_refused(other_key, &BIND, file.data, file.len);
	b.node = "node-2";
	assert_refused(key, &b, file.data, file.len);
	b = BIND;
	b.kind = "Pod";
	assert_refused(key, &b, file.data, file.len);
	b = BIND;
	b.id = "default/d";
	assert_refused(key, &b, file.data, file.len);
	b = BIND;
	b.file = "1123456789abcdef0123456789abcdef";
	assert_refused(key, &b, file.data, file.len);
	b = BIND;
	b.generation = 6;
	assert_refused(key, &b, file.data, file.len);
	/* also when the file says so itself */
	file.data[CACHE_MAGIC_LEN] = 6;
	assert_refused(key, &b, file.data, file.len);
}

static void what_is_too_large_is_not_sealed(void **state)
{
	cleanup_free char *data = calloc(1, CACHE_PLAINTEXT_MAX + 1);
	cleanup_free char *id = calloc(1, 4096);
	cleanup_buf struct buf file = BUF_INIT(CACHE_FILE_MAX);
	struct cache_bind b = BIND;

	assert_true(data && id);
	assert_int_equal(cache_seal(key, &BIND, data, CACHE_PLAINTEXT_MAX + 1, &file), -EFBIG);
	memset(id, 'x', 4095);
	b.id = id;
	assert_int_equal(cache_seal(key, &b, data, 1, &file), -ENAMETOOLONG);
}

/* ---- key files ---- */

static int read_key(const void *text, size_t len, struct cache_key **ret, struct err *e)
{
	cleanup_free char *path = file_join(dir_path, "key"), *where = NULL;
	cleanup_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), in = -1;
	int r;

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, len), 0);
	r = cache_key_open(path, NULL, &in, &where, e);
	r = r ?: cache_key_read(in, where, ret, e);
	unlink(path);
	return r;
}

static void keys_are_32_bytes_or_their_base64(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		bool good;
	} cases[] = {
		{ "01234567890123456789012345678901", 32, true },
		{ "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=", 44, true },
		{ "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n", 45, true },
		{ "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= \r\n", 47, true },
		{ "", 0, false },
		{ "0123456789012345678901234567890", 31, false },
		{ "012345678901234567890123456789012", 33, false },
		{ "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw==", 44, false }, /* 31 bytes */
		{ "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc", 43, false },
		{ "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=BwcH", 48, false },
		{ "-wcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=", 44, false },
		/* libsodium takes it for an 'A' */
		{ "\xe4wcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=", 44, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cache_key *k = NULL;
		struct err e = ERR_INIT;
		int r = read_key(cases[i].text, cases[i].len, &k, &e);

		if (r != (cases[i].good ? 0 : -EINVAL))
			fail_msg("case %zu: %d", i, r);
		if (!cases[i].good)
			assert_non_null(strstr(err_text(&e), "must have 32 bytes"));
		cache_key_free(k);
	}
}

static void a_key_in_base64_is_the_same_key(void **state)
{
	cleanup_buf struct buf file, out = BUF_INIT(CACHE_FILE_MAX);
	cleanup(cache_key_freep) struct cache_key *k = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(read_key("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n", 45, &k, &e), 0);
	seal(CANARY, strlen(CANARY), &file);
	assert_int_equal(cache_unseal(k, &BIND, file.data, file.len, &out, &e), 0);
}

/* ---- index ---- */

static struct cache_item *add(struct cache_set *s, enum cache_kind kind, const char *id, char fill)
{
	struct cache_item *item = NULL;

	assert_int_equal(cache_set_add(s, kind, id, &item), 0);
	item->revision = strdup("u-1/7");
	memset(item->file, fill, CACHE_NAME_LEN);
	memset(item->digest, fill, sizeof(item->digest));
	item->generation = 3;
	item->written_usec = 1234567;
	return item;
}

static void an_index_is_read_as_it_was_written(void **state)
{
	cleanup_cache_set struct cache_set s = { .generation = 3, .written_usec = 99 }, back = { .generation = 0 };
	cleanup_buf struct buf text = BUF_INIT(CACHE_FILE_MAX);
	struct cache_item *item;
	struct err e = ERR_INIT;

	add(&s, CACHE_POD, "default/web/u-2", 'a');
	add(&s, CACHE_SECRET, "default/db", 'b');
	assert_int_equal(cache_set_add(&s, CACHE_SECRET, "default/none", &item), 0);
	item->absent = true;
	assert_int_equal(cache_set_add(&s, CACHE_SECRET, "default/db", &item), -EEXIST);
	assert_int_equal(cache_index_encode(&s, &text), 0);
	if (cache_index_decode(text.data, text.len, &back, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_int_equal(back.n_items, 3);
	assert_int_equal(back.generation, 3);
	assert_int_equal(back.written_usec, 99);
	item = cache_set_find(&back, CACHE_SECRET, "default/db");
	assert_non_null(item);
	assert_string_equal(item->revision, "u-1/7");
	assert_string_equal(item->file, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
	assert_int_equal(item->digest[31], 'b');
	assert_int_equal(item->generation, 3);
	assert_int_equal(item->written_usec, 1234567);
	assert_true(cache_set_find(&back, CACHE_SECRET, "default/none")->absent);
	assert_null(cache_set_find(&back, CACHE_POD, "default/db"));
}

#define FILE_A	  "\"file\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""
#define DIGEST_A  "\"digest\": \"6161616161616161616161616161616161616161616161616161616161616161\""
#define ITEM(...) "{\"version\": 1, \"generation\": 3, \"written\": 9, \"items\": [" __VA_ARGS__ "]}"

static void what_is_no_index_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{\"version\": 2, \"generation\": 3, \"written\": 9, \"items\": []}",
		"{\"version\": 1, \"generation\": -3, \"written\": 9, \"items\": []}",
		"{\"version\": 1, \"generation\": 3, \"written\": 9, \"items\": {}}",
		ITEM("3"),
		ITEM("{\"kind\": \"Node\", \"id\": \"a\", \"written\": 1, \"absent\": true}"),
		ITEM("{\"kind\": \"Pod\", \"written\": 1, \"absent\": true}"),
		ITEM("{\"kind\": \"Pod\", \"id\": \"a\", \"absent\": true}"),
		ITEM("{\"kind\": \"Pod\", \"id\": \"a\", \"written\": 1}"),
		ITEM("{\"kind\": \"Pod\", \"id\": \"a\", \"written\": 1, \"revision\": \"\", \"generation\": 4, " FILE_A
		     ", " DIGEST_A "}"),
		ITEM("{\"kind\": \"Pod\", \"id\": \"a\", \"written\": 1, \"revision\": \"\", \"generation\": 1, "
		     "\"file\": \"../../../../../../etc/shadow.....\", " DIGEST_A "}"),
		ITEM("{\"kind\": \"Pod\", \"id\": \"a\", \"written\": 1, \"revision\": \"\", \"generation\": 1, "
		     "\"file\": \"index\", " DIGEST_A "}"),
		ITEM("{\"kind\": \"Pod\", \"id\": \"a\", \"written\": 1, \"revision\": \"\", \"generation\": 1, " FILE_A
		     ", \"digest\": \"6161\"}"),
		ITEM("{\"kind\": \"Pod\", \"id\": \"a\", \"written\": 1, \"absent\": true}, "
		     "{\"kind\": \"Pod\", \"id\": \"a\", \"written\": 1, \"absent\": true}"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		cleanup_cache_set struct cache_set s = { .generation = 0 };
		struct err e = ERR_INIT;

		if (cache_index_decode(texts[i], strlen(texts[i]), &s, &e) != -EBADMSG)
			fail_msg("%s", texts[i]);
		if (!str_starts(err_text(&e), CACHE_INDEX_NAME ": "))
			fail_msg("%s: %s", texts[i], err_text(&e));
	}
}

static void a_folder_that_is_newer_than_its_index_is_refused(void **state)
{
	struct cache_file files[] = { { .name = "index", .generation = 4 },
				      { .name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", .generation = 4 },
				      { .name = "tmp-17", .generation = 900 } };
	const struct cache_set none = { .generation = 0 }, four = { .generation = 4 };

	assert_int_equal(cache_index_check(&four, true, files, 3, NULL), 0);
	files[1].generation = 5; /* a flush that was cut off */
	assert_int_equal(cache_index_check(&four, true, files, 3, NULL), 0);
	files[1].generation = 6; /* the index of 5 or 6 was there once */
	assert_int_equal(cache_index_check(&four, true, files, 3, NULL), -EBADMSG);
	assert_int_equal(cache_index_check(&none, false, files, 3, NULL), -EBADMSG);
	files[1].generation = 1; /* the very first flush was cut off */
	assert_int_equal(cache_index_check(&none, false, files, 3, NULL), 0);
}

/* ---- objects ---- */

static json_t *parse(const char *text)
{
	struct err e = ERR_INIT;
	json_t *doc = NULL;

	if (json_parse(text, strlen(text), &doc, &e) < 0)
		fail_msg("%s", err_text(&e));
	return doc;
}

static const char POD_TEXT[] =
	"{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"namespace\": \"default\", \"name\": \"web\","
	" \"uid\": \"u-2\", \"resourceVersion\": \"70\", \"labels\": {\"a\": \"1\"}, \"annotations\": "
	"{\"secretlet.dev/live\": \"creds\"}}, \"spec\": {\"nodeName\": "
	"\"node-1\", \"serviceAccountName\": \"reader\", \"securityContext\":"
	" {\"fsGroup\": 0}, \"volumes\": [{\"name\": \"creds\", \"secret\": {\"secretName\": \"db\", \"optional\": "
	"true,"
	" \"defaultMode\": 256, \"items\": [{\"key\": \"a\", \"path\": \"x/y\", \"mode\": 288}, {\"key\": \"b\","
	" \"path\": \"b\"}]}}, {\"name\": \"plain\", \"secret\": {\"secretName\": \"other\"}}, {\"name\": \"scratch\","
	" \"emptyDir\": {}}, {\"name\": \"all\", \"projected\": {\"defaultMode\": 292, \"sources\": [{\"secret\": "
	"{\"name\":"
	" \"db\", \"items\": [{\"key\": \"a\", \"path\": \"a\"}]}}, {\"configMap\": {\"name\": \"tls\", \"optional\": "
	"true}}]}}, {\"name\": \"config\", \"configMap\": {\"name\": \"c\", \"defaultMode\": 256}},"
	" {\"name\": \"self\", \"projected\": {\"sources\": [{\"downwardAPI\": {\"items\": [{\"path\": \"l\", "
	"\"fieldRef\": "
	"{\"fieldPath\": \"metadata.labels\"}}, {\"path\": \"c\", \"mode\": 256, \"resourceFieldRef\": "
	"{\"containerName\": "
	"\"main\", \"resource\": \"limits.cpu\", \"divisor\": \"1m\"}}]}}, {\"serviceAccountToken\": {\"path\": \"t\", "
	"\"audience\": \"vault\", \"expirationSeconds\": 700}}]}},"
	" {\"name\": \"none\", \"projected\": {}}], \"initContainers\": [{\"name\": \"init\", \"env\": [{\"name\": "
	"\"Y\"}], "
	"\"volumeMounts\": "
	"[{\"name\": \"creds\","
	" \"mountPath\": \"/c\", \"subPath\": \"x/y\", \"readOnly\": true}]}], \"containers\": [{\"name\": \"main\", "
	"\"resources\": {\"limits\": {\"cpu\": \"2\"}}, \"securityContext\": {\"runAsUser\": 1000},"
	" \"env\": [{\"name\": \"X\", \"value\": \"x\"}],"
	" \"volumeMounts\": [{\"name\": \"creds\", \"mountPath\": \"/c\"}, {\"name\": \"scratch\", \"mountPath\":"
	" \"/c/scratch\"}, {\"name\": \"plain\", \"mountPath\": \"/p\", \"subPathExpr\": \"$(X)\"}]}]},"
	" \"status\": {\"phase\": \"Running\"}}";

static void a_pod_comes_back_as_it_was(void **state)
{
	cleanup_buf struct buf text = BUF_INIT(CACHE_FILE_MAX), again = BUF_INIT(CACHE_FILE_MAX);
	cleanup_cache_set struct cache_set s = { .generation = 1 };
	cleanup_json json_t *doc = parse(POD_TEXT);
	cleanup_free char *id = NULL;
	cleanup_pod struct pod *pod = NULL;
	const struct pod_volume *v;
	struct json_issue issue;
	struct cache_item *item;
	struct err e = ERR_INIT;

	assert_int_equal(codec_pod(doc, &pod, &issue), 0);
	id = cache_pod_id(pod);
	assert_string_equal(id, "default/web/u-2");
	assert_int_equal(cache_pod_encode(pod, &text), 0);
	item = add(&s, CACHE_POD, id, 'a');
	if (cache_item_decode(item, text.data, text.len, &e) < 0)
		fail_msg("%s: %s", err_text(&e), text.data);
	/* what is written of what was read is the same */
	assert_int_equal(cache_pod_encode(item->pod, &again), 0);
	assert_string_equal(again.data, text.data);
	assert_true(item->pod->has_fs_group);
	assert_int_equal(item->pod->fs_group, 0);
	v = pod_find_volume(item->pod, "creds");
	assert_non_null(v);
	assert_true(v->live);
	assert_true(v->sources[0].optional);
	assert_int_equal(v->default_mode, 0400);
	assert_int_equal(v->sources[0].n_items, 2);
	assert_string_equal(v->sources[0].items[0].path, "x/y");
	assert_int_equal(v->sources[0].items[0].mode, 0440);
	assert_false(v->sources[0].items[1].has_mode);
	assert_int_equal(pod_find_volume(item->pod, "plain")->default_mode, 0644);
	assert_int_equal(pod_find_volume(item->pod, "scratch")->kind, POD_VOLUME_OTHER);
	v = pod_find_volume(item->pod, "all");
	assert_int_equal(v->kind, POD_VOLUME_PROJECTED);
	assert_int_equal(v->default_mode, 0444);
	assert_int_equal(v->n_sources, 2);
	assert_string_equal(v->sources[0].name, "db");
	assert_string_equal(v->sources[0].items[0].path, "a");
	assert_false(v->sources[0].optional);
	assert_string_equal(v->sources[1].name, "tls");
	assert_true(v->sources[1].optional);
	assert_int_equal(v->sources[0].kind, POD_SOURCE_SECRET);
	assert_int_equal(v->sources[1].kind, POD_SOURCE_CONFIG_MAP);
	v = pod_find_volume(item->pod, "self");
	assert_int_equal(v->sources[0].kind, POD_SOURCE_DOWNWARD_API);
	assert_string_equal(v->sources[0].items[0].key, "metadata.labels");
	assert_string_equal(v->sources[0].items[1].container, "main");
	assert_string_equal(v->sources[0].items[1].divisor, "1m");
	assert_string_equal(item->pod->labels.all[0].value, "1");
	assert_string_equal(pod_find_container(item->pod, "main")->limits.all[0].value, "2");
	assert_int_equal(v->sources[1].kind, POD_SOURCE_TOKEN);
	assert_string_equal(v->sources[1].audience, "vault");
	assert_int_equal(v->sources[1].expiration_sec, 700);
	assert_string_equal(item->pod->service_account, "reader");
	assert_int_equal(pod_find_container(item->pod, "main")->user, 1000);
	v = pod_find_volume(item->pod, "config");
	assert_int_equal(v->kind, POD_VOLUME_CONFIG_MAP);
	assert_string_equal(v->sources[0].name, "c");
	assert_int_equal(pod_find_volume(item->pod, "none")->kind, POD_VOLUME_PROJECTED);
	assert_int_equal(item->pod->n_containers, 2);
	assert_string_equal(pod_find_container(item->pod, "init")->mounts[0].sub_path, "x/y");
	assert_true(pod_find_container(item->pod, "init")->mounts[0].read_only);
	assert_string_equal(pod_find_container(item->pod, "main")->mounts[2].sub_path_expr, "$(X)");
	/* an environment is kept where a path is made of it */
	assert_string_equal(pod_find_container(item->pod, "main")->env, "{\"env\":[{\"name\":\"X\",\"value\":\"x\"}]}");
	assert_null(pod_find_container(item->pod, "init")->env);
	assert_string_equal(item->pod->phase, "Running");
}

/* No process can be given it, but an API server takes it. */
static void an_environment_with_nul_in_it_comes_back(void **state)
{
	cleanup_buf struct buf text = BUF_INIT(CACHE_FILE_MAX);
	cleanup_cache_set struct cache_set s = { .generation = 1 };
	cleanup_json json_t *doc = parse(
		"{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"namespace\": \"default\", \"name\": "
		"\"web\", \"uid\": \"u-2\"}, \"spec\": {\"nodeName\": \"n\", \"containers\": [{\"name\": \"main\", "
		"\"env\": [{\"name\": \"X\", \"value\": \"a\\u0000b\"}], \"volumeMounts\": [{\"name\": \"v\", "
		"\"mountPath\": \"/p\", \"subPathExpr\": \"$(Y)\"}]}]}}");
	cleanup_pod struct pod *pod = NULL;
	struct cache_item *item;
	struct json_issue issue;
	struct err e = ERR_INIT;

	assert_int_equal(codec_pod(doc, &pod, &issue), 0);
	assert_int_equal(cache_pod_encode(pod, &text), 0);
	item = add(&s, CACHE_POD, "default/web/u-2", 'a');
	if (cache_item_decode(item, text.data, text.len, &e) < 0)
		fail_msg("%s: %s", err_text(&e), text.data);
	assert_string_equal(pod_find_container(item->pod, "main")->env, pod_find_container(pod, "main")->env);
}

static struct secret *secret_of(const char *value)
{
	cleanup_free char *text = str_format(
		"{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {\"namespace\": \"default\", \"name\": "
		"\"db\","
		" \"uid\": \"u-1\", \"resourceVersion\": \"7\", \"labels\": {\"app\": \"x\", \"empty\": \"\"}},"
		" \"type\": \"my/type\", \"immutable\": true, \"data\": {\"a\": \"%s\", \"empty\": \"\", \"bytes\":"
		" \"AAECAwQF/v8=\"}}",
		value);
	cleanup_json json_t *doc = parse(text);
	struct secret *secret = NULL;
	struct json_issue issue;

	assert_int_equal(codec_secret(doc, &secret, &issue), 0);
	return secret;
}

static void a_secret_comes_back_as_it_was(void **state)
{
	cleanup_buf struct buf text = BUF_INIT(CACHE_FILE_MAX);
	cleanup_cache_set struct cache_set s = { .generation = 1 };
	cleanup_secret_object struct secret *secret = secret_of("b25l");
	struct cache_item *item = add(&s, CACHE_SECRET, "default/db", 'a');
	struct err e = ERR_INIT;

	assert_int_equal(cache_secret_encode(secret, &text), 0);
	if (cache_item_decode(item, text.data, text.len, &e) < 0)
		fail_msg("%s: %s", err_text(&e), text.data);
	assert_true(secret_same(secret, item->secret));
	assert_string_equal(item->secret->resource_version, "7");
	assert_true(item->secret->immutable);
}

static void a_config_map_comes_back_as_it_was(void **state)
{
	cleanup_buf struct buf text = BUF_INIT(CACHE_FILE_MAX);
	cleanup_cache_set struct cache_set s = { .generation = 1 };
	cleanup_json json_t *doc = parse(
		"{\"metadata\": {\"namespace\": \"default\", \"name\": \"db\", \"resourceVersion\": \"7\"}, \"data\":"
		" {\"text\": \"one\", \"empty\": \"\"}, \"binaryData\": {\"bytes\": \"AAECAwQF/v8=\"}, \"immutable\": "
		"true}");
	cleanup_secret_object struct secret *config_map = NULL;
	struct cache_item *item = add(&s, CACHE_CONFIG_MAP, "default/db", 'a');
	struct cache_item *secret = add(&s, CACHE_SECRET, "default/db", 'b');
	struct json_issue issue;
	struct err e = ERR_INIT;

	assert_int_equal(codec_object(OBJECT_CONFIG_MAP, doc, &config_map, &issue), 0);
	assert_int_equal(cache_secret_encode(config_map, &text), 0);
	if (cache_item_decode(item, text.data, text.len, &e) < 0)
		fail_msg("%s: %s", err_text(&e), text.data);
	assert_true(secret_same(config_map, item->secret));
	assert_true(secret_find_key(item->secret, "bytes")->binary);
	assert_false(secret_find_key(item->secret, "text")->binary);
	assert_int_equal(item->secret->kind, OBJECT_CONFIG_MAP);
	assert_string_equal(item->secret->resource_version, "7");
	/* one is not the other */
	assert_int_equal(cache_item_decode(secret, text.data, text.len, NULL), -EBADMSG);
}

static void a_record_of_another_object_is_refused(void **state)
{
	cleanup_buf struct buf text = BUF_INIT(CACHE_FILE_MAX);
	cleanup_cache_set struct cache_set s = { .generation = 1 };
	cleanup_secret_object struct secret *secret = secret_of("b25l");
	struct cache_item *other = add(&s, CACHE_SECRET, "default/other", 'a');
	struct cache_item *pod = add(&s, CACHE_POD, "default/db/u-1", 'b');
	struct err e = ERR_INIT;

	assert_int_equal(cache_secret_encode(secret, &text), 0);
	assert_int_equal(cache_item_decode(other, text.data, text.len, &e), -EBADMSG);
	assert_non_null(strstr(err_text(&e), "is the Secret default/db"));
	assert_null(other->secret);
	assert_int_equal(cache_item_decode(pod, text.data, text.len, NULL), -EBADMSG);
	assert_null(pod->pod);
	assert_int_equal(cache_item_decode(other, "{}", 2, NULL), -EBADMSG);
	assert_int_equal(cache_item_decode(other, "", 0, NULL), -EBADMSG);
}

/* ---- a whole folder, and a writer that dies ---- */

/* The bytes of a generation. Made before the writer is forked, which inherits no secret memory. */
struct generation {
	char name[CACHE_NAME_LEN + 1], old[CACHE_NAME_LEN + 1];
	struct buf record, index;
};

static void seal_record(struct cache_set *s, const char *id, char fill, const char *value, struct generation *g)
{
	cleanup_secret_object struct secret *secret = secret_of(value);
	struct cache_bind b = { .node = NODE, .kind = "Secret", .id = id, .generation = s->generation };
	cleanup_buf struct buf text = BUF_INIT(CACHE_FILE_MAX);
	struct cache_item *item = cache_set_find(s, CACHE_SECRET, id);

	if (item)
		memcpy(g->old, item->file, sizeof(g->old));
	else
		item = add(s, CACHE_SECRET, id, fill);
	memset(item->file, fill, CACHE_NAME_LEN);
	memcpy(g->name, item->file, sizeof(g->name));
	item->generation = s->generation;
	b.file = item->file;
	assert_int_equal(cache_secret_encode(secret, &text), 0);
	assert_int_equal(cache_seal(key, &b, text.data, text.len, &g->record), 0);
	cache_digest(g->record.data, g->record.len, item->digest);
}

static void seal_generation(struct cache_set *s, const char *value, char fill, struct generation *g)
{
	struct cache_bind b = { .node = NODE, .kind = CACHE_INDEX_KIND, .id = "", .file = CACHE_INDEX_NAME };
	cleanup_buf struct buf text = BUF_INIT(CACHE_FILE_MAX);

	*g = (struct generation){ .record = BUF_INIT(CACHE_FILE_MAX), .index = BUF_INIT(CACHE_FILE_MAX) };
	s->generation++;
	seal_record(s, "default/db", fill, value, g);
	b.generation = s->generation;
	assert_int_equal(cache_index_encode(s, &text), 0);
	assert_int_equal(cache_seal(key, &b, text.data, text.len, &g->index), 0);
}

/* In the order of cache.c: the new record, the index, and then the old record goes. */
static bool write_files(const struct generation *g)
{
	return cache_dir_write(dirfd_, g->name, g->record.data, g->record.len, false, NULL) == 0 &&
	       cache_dir_write(dirfd_, CACHE_INDEX_NAME, g->index.data, g->index.len, true, NULL) == 0 &&
	       (!*g->old || cache_dir_remove(dirfd_, g->old, NULL) == 0);
}

static void generation_deinit(struct generation *g)
{
	buf_deinit(&g->record);
	buf_deinit(&g->index);
}

static void write_generation(struct cache_set *s, const char *value, char fill)
{
	cleanup(generation_deinit) struct generation g;

	seal_generation(s, value, fill, &g);
	assert_true(write_files(&g));
}

/* The value that the cache has; all that a daemon checks is checked. */
static void read_folder(char value[static 16])
{
	cleanup_cache_set struct cache_set s = { .generation = 0 };
	cleanup_buf struct buf file = BUF_INIT(CACHE_FILE_MAX), scratch = BUF_INIT(CACHE_FILE_MAX);
	cleanup_free struct cache_file *files = NULL;
	const struct secret_key *k;
	struct cache_item *item;
	struct err e = ERR_INIT;
	size_t n;

	if (cache_dir_list(dirfd_, &files, &n, &e) < 0 || cache_dir_read(dirfd_, CACHE_INDEX_NAME, &file, &e) < 0 ||
	    cache_index_open(&s, key, NODE, file.data, file.len, &scratch, &e) < 0 ||
	    cache_index_check(&s, true, files, n, &e) < 0)
		fail_msg("%s", err_text(&e));
	item = cache_set_find(&s, CACHE_SECRET, "default/db");
	assert_non_null(item);
	buf_clear(&file);
	if (cache_dir_read(dirfd_, item->file, &file, &e) < 0 ||
	    cache_item_open(item, key, NODE, file.data, file.len, &scratch, &e) < 0)
		fail_msg("%s", err_text(&e));
	k = secret_find_key(item->secret, "a");
	assert_non_null(k);
	snprintf(value, 16, "%.*s", (int)k->value.len, (const char *)secspan_data(&k->value));
}

static void clear_folder(void)
{
	cleanup_free struct cache_file *files = NULL;
	size_t n;

	assert_int_equal(cache_dir_list(dirfd_, &files, &n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(cache_dir_remove(dirfd_, files[i].name, NULL), 0);
}

/* Writes the files in a child that is killed at the n-th stop before or behind a system call. False: it has come to its end
 * before that. */
static bool write_and_die(const struct generation *g, unsigned n)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(write_files(g) ? 0 : 1);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	for (unsigned i = 0; i < n; i++) {
		assert_true(WIFSTOPPED(status));
		assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status)) {
			assert_int_equal(WEXITSTATUS(status), 0);
			return false;
		}
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return true;
}

static void a_writer_that_dies_at_any_system_call_leaves_one_or_the_other(void **state)
{
	unsigned n_old = 0, n_new = 0;
	bool died = true;
	char value[16];

	if (under_valgrind())
		skip_because("the system calls would be valgrind's");
	for (unsigned n = 1; died; n++) {
		cleanup_cache_set struct cache_set s = { .generation = 0 };
		cleanup(generation_deinit) struct generation g;

		write_generation(&s, "b25l", 'a');
		seal_generation(&s, "dHdv", 'b', &g);
		died = write_and_die(&g, n);
		read_folder(value);
		n_old += str_eq(value, "one");
		n_new += str_eq(value, "two");
		assert_int_equal(n_old + n_new, n);
		/* the next writer comes through, whatever is left over */
		write_generation(&s, "dGhyZWU=", 'c');
		read_folder(value);
		assert_string_equal(value, "three");
		clear_folder();
	}
	assert_true(n_old > 10);
	assert_true(n_new > 2);
}

static void the_records_of_one_generation_do_not_do_for_another(void **state)
{
	cleanup_buf struct buf old_index = BUF_INIT(CACHE_FILE_MAX), old_record = BUF_INIT(CACHE_FILE_MAX);
	cleanup_buf struct buf scratch = BUF_INIT(CACHE_FILE_MAX);
	cleanup_cache_set struct cache_set s = { .generation = 0 }, back = { .generation = 0 };
	cleanup_free struct cache_file *files = NULL;
	char name[CACHE_NAME_LEN + 1];
	struct err e = ERR_INIT;
	size_t n;

	write_generation(&s, "b25l", 'a');
	assert_int_equal(cache_dir_read(dirfd_, CACHE_INDEX_NAME, &old_index, NULL), 0);
	memset(name, 'a', CACHE_NAME_LEN);
	name[CACHE_NAME_LEN] = '\0';
	assert_int_equal(cache_dir_read(dirfd_, name, &old_record, NULL), 0);
	write_generation(&s, "dHdv", 'b');
	write_generation(&s, "dGhyZWU=", 'c');
	/* the old record in the new one's place */
	assert_int_equal(cache_item_open(cache_set_find(&s, CACHE_SECRET, "default/db"), key, NODE, old_record.data,
					 old_record.len, &scratch, &e),
			 -EBADMSG);
	/* the old index and its record, put back beside what is there */
	assert_int_equal(cache_dir_write(dirfd_, CACHE_INDEX_NAME, old_index.data, old_index.len, true, NULL), 0);
	assert_int_equal(cache_dir_write(dirfd_, name, old_record.data, old_record.len, true, NULL), 0);
	assert_int_equal(cache_index_open(&back, key, NODE, old_index.data, old_index.len, &scratch, NULL), 0);
	assert_int_equal(cache_dir_list(dirfd_, &files, &n, NULL), 0);
	assert_int_equal(cache_index_check(&back, true, files, n, &e), -EBADMSG);
	assert_non_null(strstr(err_text(&e), "is older (generation 1) than the record"));
	clear_folder();
}

/* What reads the folder is another process, which may have been taken over. */
static void a_list_of_files_that_cannot_be_is_refused(void **state)
{
	static const char *const NAMES[] = {
		"", ".", "..", "x", "tmp-/../../x", "/index", "index ", "0123456789abcdef"
	};
	struct cache_file files[2] = { { .name = CACHE_INDEX_NAME, .generation = 7 }, { .name = "tmp-1" } },
			  *taken = NULL;
	size_t n = 9;

	assert_int_equal(cache_files_take(files, sizeof(files), &taken, &n), 0);
	assert_int_equal(n, 2);
	assert_memory_equal(taken, files, sizeof(files));
	free(TAKE_PTR(taken));
	assert_int_equal(cache_files_take("", 0, &taken, &n), 0);
	assert_int_equal(n, 0);
	free(TAKE_PTR(taken));
	for (size_t len = 1; len < sizeof(files); len++)
		if (len % sizeof(*files) != 0)
			assert_int_equal(cache_files_take(files, len, &taken, &n), -EBADMSG);
	for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
		snprintf(files[1].name, sizeof(files[1].name), "%s", NAMES[i]);
		assert_int_equal(cache_files_take(files, sizeof(files), &taken, &n), -EBADMSG);
	}
	/* no end */
	memset(files[1].name, 'a', sizeof(files[1].name));
	assert_int_equal(cache_files_take(files, sizeof(files), &taken, &n), -EBADMSG);
	memcpy(files[1].name, "tmp-", 4);
	assert_int_equal(cache_files_take(files, sizeof(files), &taken, &n), -EBADMSG);
	assert_null(taken);
	assert_int_equal(n, 0);
}

static void a_folder_with_other_things_in_it_is_refused(void **state)
{
	cleanup_free char *path = file_join(dir_path, "sub"), *file = file_join(path, "somebody's");
	cleanup_fd int fd = -1, made = -1;
	struct err e = ERR_INIT;
	struct stat st;

	assert_int_equal(cache_dir_make(path, geteuid(), getegid(), &made, &e), 0);
	assert_int_equal(fstat(made, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(fchmod(made, 0755), 0);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	made = close_fd(made);
	assert_int_equal(cache_dir_make(path, geteuid(), getegid(), &made, &e), -ENOTEMPTY);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(symlink("/etc/shadow", file), 0); /* not followed, and none of ours */
	assert_int_equal(cache_dir_make(path, geteuid(), getegid(), &made, &e), -ENOTEMPTY);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/tmp", path), 0);
	assert_int_equal(cache_dir_make(path, geteuid(), getegid(), &made, &e), -ENOTDIR);
}

/* With the capabilities of the keeper that have to do with files. */
static int make_as_the_keeper(const char *path, uid_t uid, gid_t gid)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { 0 };
	struct err e = ERR_INIT;
	int status, made = -1;
	pid_t pid = fork();

	if (pid == 0) {
		caps[0].effective = caps[0].permitted = 1U << CAP_CHOWN | 1U << CAP_DAC_READ_SEARCH;
		if (syscall(SYS_capset, &head, caps) < 0)
			_exit(255);
		_exit(-cache_dir_make(path, uid, gid, &made, &e));
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return -WEXITSTATUS(status);
}

/* Or may have been: one that others may enter and that is neither root's nor the agent's is somebody's. */
static void a_folder_that_was_made_for_the_agent_becomes_the_agents(void **state)
{
	static const struct {
		uid_t uid;
		mode_t mode;
		int r;
	} before[] = { { 0, 0755, 0 },	   { 0, 0700, 0 },     { 61000, 0755, 0 },     { 61000, 02770, 0 },
		       { 61000, 0700, 0 }, { 61001, 0700, 0 }, { 61001, 0755, -EPERM } };
	cleanup_free char *path = file_join(dir_path, "made");
	struct stat st;

	if (geteuid() != 0)
		skip_because("needs root");
	for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
		assert_int_equal(mkdir(path, 0700), 0);
		assert_int_equal(chown(path, before[i].uid, before[i].uid), 0);
		assert_int_equal(chmod(path, before[i].mode), 0);
		assert_int_equal(make_as_the_keeper(path, 61000, 61000), before[i].r);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, before[i].r < 0 ? before[i].mode : 0700);
		assert_int_equal(st.st_uid, before[i].r < 0 ? before[i].uid : 61000);
		assert_int_equal(st.st_gid, st.st_uid);
		assert_int_equal(rmdir(path), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_sealed_opens),
		cmocka_unit_test(a_file_shows_nothing_of_its_content),
		cmocka_unit_test(every_changed_byte_is_refused),
		cmocka_unit_test(every_other_length_is_refused),
		cmocka_unit_test(random_bytes_are_refused),
		cmocka_unit_test(a_file_opens_as_nothing_else),
		cmocka_unit_test(what_is_too_large_is_not_sealed),
		cmocka_unit_test(keys_are_32_bytes_or_their_base64),
		cmocka_unit_test(a_key_in_base64_is_the_same_key),
		cmocka_unit_test(an_index_is_read_as_it_was_written),
		cmocka_unit_test(what_is_no_index_is_refused),
		cmocka_unit_test(a_folder_that_is_newer_than_its_index_is_refused),
		cmocka_unit_test(a_pod_comes_back_as_it_was),
		cmocka_unit_test(an_environment_with_nul_in_it_comes_back),
		cmocka_unit_test(a_secret_comes_back_as_it_was),
		cmocka_unit_test(a_config_map_comes_back_as_it_was),
		cmocka_unit_test(a_record_of_another_object_is_refused),
		cmocka_unit_test(a_writer_that_dies_at_any_system_call_leaves_one_or_the_other),
		cmocka_unit_test(the_records_of_one_generation_do_not_do_for_another),
		cmocka_unit_test(a_list_of_files_that_cannot_be_is_refused),
		cmocka_unit_test(a_folder_with_other_things_in_it_is_refused),
		cmocka_unit_test(a_folder_that_was_made_for_the_agent_becomes_the_agents),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
