/* Payload: the kubelet's path rules (atomic_writer_test.go) and their words, cleaning, clashes, fsGroup, digests. */
#include "fusefs/payload.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* tables leave out what is empty */

static int setup(void **state)
{
	return secmem_init(8 << 20, NULL);
}

static int teardown(void **state)
{
	secmem_deinit();
	return 0;
}

static struct payload *payload_make(void)
{
	struct payload *p = NULL;

	assert_int_equal(payload_new(&p), 0);
	return p;
}

static int add(struct payload *p, const char *path, const char *text, mode_t mode, struct err *e)
{
	size_t len = strlen(text);
	struct digest digest = digest_of(text, len);
	cleanup_secblock struct secblock *b = NULL;
	struct secspan span = { .len = len };

	assert_int_equal(secblock_new(len, &b, NULL), 0);
	memcpy(b->data, text, len);
	span.block = b;
	return payload_add(p, path, &span, &digest, mode, e);
}

#define A16  "aaaaaaaaaaaaaaaa"
#define A64  A16 A16 A16 A16
#define A255 A64 A64 A64 A16 A16 A16 "aaaaaaaaaaaaaaa"

static void bad_paths_are_refused_in_the_kubelets_words(void **state)
{
	static const struct {
		const char *path, *text;
	} rows[] = {
		{ "", "invalid path: must not be empty: \"\"" },
		{ "/", "invalid path: must be relative path: /" },
		{ "/dev/null", "invalid path: must be relative path: /dev/null" },
		{ "..", "invalid path: must not contain '..': .." },
		{ "../etc/passwd", "invalid path: must not contain '..': ../etc/passwd" },
		{ "a/..", "invalid path: must not contain '..': a/.." },
		{ "hello/../etc/somethingbad", "invalid path: must not contain '..': hello/../etc/somethingbad" },
		{ "..sneaky.txt", "invalid path: must not start with '..': ..sneaky.txt" },
		{ "...", "invalid path: must not start with '..': ..." },
		{ "..data", "invalid path: must not start with '..': ..data" },
		{ "..a/b", "invalid path: must not start with '..': ..a/b" },
		{ "./..data", "invalid path: must not start with '..': ./..data" },
		{ "x/" A255 "a", "invalid path: filenames must be less than or equal to 255 characters" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cleanup_payload struct payload *p = payload_make();
		struct err e = ERR_INIT;

		assert_int_equal(add(p, rows[i].path, "x", 0644, &e), -EINVAL);
		assert_string_equal(err_text(&e), rows[i].text);
		assert_int_equal(payload_add_mount_dir(p, rows[i].path, &e), -EINVAL);
		assert_string_equal(err_text(&e), rows[i].text);
		assert_int_equal(p->n_files, 0);
		assert_int_equal(p->n_mount_dirs, 0);
	}
}

static void a_path_of_4096_is_taken_and_one_more_is_not(void **state)
{
	cleanup_payload struct payload *p = payload_make();
	char path[PAYLOAD_PATH_MAX + 2];
	struct err e = ERR_INIT;

	for (size_t i = 0; i < sizeof path - 1; i++)
		path[i] = i % 64 ? 'a' : '/';
	path[0] = 'a';
	path[PAYLOAD_PATH_MAX] = 'a';
	path[PAYLOAD_PATH_MAX + 1] = 0;
	assert_int_equal(add(p, path, "x", 0644, &e), -EINVAL);
	assert_string_equal(err_text(&e), "invalid path: must be less than or equal to 4096 characters");
	path[PAYLOAD_PATH_MAX] = 0;
	assert_int_equal(add(p, path, "x", 0644, &e), 0);
	assert_int_equal(payload_seal(p, &e), 0);
}

/* PREFIX/a/a/.../a/SUFFIX with `levels` names in all. */
static const char *deep_path(const char *prefix, size_t levels, const char *suffix)
{
	static char path[PAYLOAD_PATH_MAX];
	size_t len = (size_t)snprintf(path, sizeof path, "%s/", prefix);

	for (size_t i = 2; i < levels; i++) {
		path[len++] = 'a';
		path[len++] = '/';
	}
	snprintf(path + len, sizeof path - len, "%s", suffix);
	return path;
}

static void paths_of_too_many_names_are_refused(void **state)
{
	cleanup_payload struct payload *p = payload_make();
	struct err e = ERR_INIT;

	assert_int_equal(add(p, deep_path("x", PAYLOAD_LEVELS_MAX + 1, "k"), "x", 0644, &e), -E2BIG);
	assert_non_null(strstr(err_text(&e), "more than 64 names in one path: x/a/a/"));
	assert_int_equal(payload_add_mount_dir(p, deep_path("m", PAYLOAD_LEVELS_MAX + 1, "k"), &e), -E2BIG);
	assert_non_null(strstr(err_text(&e), "more than 64 names in one path: m/a/a/"));
	assert_int_equal(p->n_files + p->n_mount_dirs, 0);
	/* of what is no name nothing is made */
	assert_int_equal(add(p, deep_path(".//x", PAYLOAD_LEVELS_MAX, "./k/."), "x", 0644, &e), 0);
	assert_int_equal(payload_add_mount_dir(p, deep_path("m", PAYLOAD_LEVELS_MAX, "k/"), &e), 0);
	assert_int_equal(payload_seal(p, &e), 0);
	assert_int_equal(p->n_nodes, 2 * PAYLOAD_LEVELS_MAX);
}

/* Files N/a/.../a/k and nested mount points mN/a/.../a/k, of 60 names; one more file of one name for each of `more`. Two ways
 * lead to each of the first, and share all but the last. */
static int seal_deep(size_t files, size_t mount_dirs, size_t more, struct err *e)
{
	cleanup_payload struct payload *p = payload_make();
	const struct secspan nothing = { .len = 0 };
	const struct digest digest = { 0 };
	char prefix[32];

	for (size_t i = 0; i < files; i++) {
		snprintf(prefix, sizeof prefix, "%zu", i);
		assert_int_equal(payload_add(p, deep_path(prefix, 60, "k"), &nothing, &digest, 0644, NULL), 0);
		assert_int_equal(payload_add(p, deep_path(prefix, 60, "k-"), &nothing, &digest, 0644, NULL), 0);
	}
	for (size_t i = 0; i < mount_dirs; i++) {
		snprintf(prefix, sizeof prefix, "m%zu", i);
		assert_int_equal(payload_add_mount_dir(p, deep_path(prefix, 60, "k"), NULL), 0);
		assert_int_equal(payload_add_mount_dir(p, deep_path(prefix, 59, "a"), NULL), 0);
	}
	for (size_t i = 0; i < more; i++) {
		snprintf(prefix, sizeof prefix, "x%zu", i);
		assert_int_equal(payload_add(p, prefix, &nothing, &digest, 0644, NULL), 0);
	}
	return payload_seal(p, e);
}

static void too_many_files_and_folders_are_refused(void **state)
{
	static const struct {
		size_t files, mount_dirs, more;
		int r;
	} rows[] = {
		{ 1074, 0, 22, 0 }, /* 61 each */
		{ 1074, 0, 23, -E2BIG },  { 1000, 75, 36, 0 }, /* 60 each: of two, one is on the way to the other */
		{ 1000, 75, 37, -E2BIG }, { 0, 1092, 16, 0 },  { 0, 1093, 0, -E2BIG }, { 0, 0, 65536, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = ERR_INIT;
		int r = seal_deep(rows[i].files, rows[i].mount_dirs, rows[i].more, &e);

		if (r != rows[i].r)
			fail_msg("row %zu: %d", i, r);
		if (r < 0)
			assert_string_equal(err_text(&e), "more than 65536 files and folders in one volume");
	}
}

static void paths_are_cleaned(void **state)
{
	static const struct {
		const char *path, *clean;
	} rows[] = {
		{ "foo", "foo" },
		{ "foo//bar", "foo/bar" },
		{ "./a", "a" },
		{ "a/", "a" },
		{ "a/./b", "a/b" },
		{ "bar///bar/z", "bar/bar/z" },
		{ "a/..foo", "a/..foo" },
		{ ".hidden", ".hidden" },
		{ "with space", "with space" },
		{ "line\nfeed", "line\nfeed" },
		{ A255, A255 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cleanup_payload struct payload *p = payload_make();

		assert_int_equal(add(p, rows[i].path, "x", 0644, NULL), 0);
		assert_int_equal(payload_seal(p, NULL), 0);
		assert_int_equal(p->n_files, 1);
		assert_string_equal(p->files[0].path, rows[i].clean);
	}
}

static void what_cannot_be_is_found_by_sealing(void **state)
{
	static const struct {
		const char *files[4], *mount_dirs[2], *names[2];
	} rows[] = {
		{ { "." }, {}, { "." } },
		{ { "./" }, {}, { "." } },
		{ { "foo", "foo/bar" }, {}, { "foo", "foo/bar" } },
		{ { "foo/bar", "foo-bar", "foo" }, {}, { "foo", "foo/bar" } },
		{ { "a/b/c", "a/b" }, {}, { "a/b", "a/b/c" } },
		{ { "nested" }, { "nested" }, { "nested", "nested" } },
		{ { "a", "nested/key" }, { "nested/mount" }, { "nested", "nested/mount" } },
		{ { "nested!", "nested", "z" }, { "a", "nested/x/y" }, { "nested", "nested/x/y" } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cleanup_payload struct payload *p = payload_make();
		struct err e = ERR_INIT;

		for (size_t f = 0; f < 4 && rows[i].files[f]; f++)
			assert_int_equal(add(p, rows[i].files[f], "x", 0644, NULL), 0);
		for (size_t m = 0; m < 2 && rows[i].mount_dirs[m]; m++)
			assert_int_equal(payload_add_mount_dir(p, rows[i].mount_dirs[m], NULL), 0);
		if (payload_seal(p, &e) != -EINVAL)
			fail_msg("row %zu is taken", i);
		for (size_t n = 0; n < 2 && rows[i].names[n]; n++)
			assert_non_null(strstr(err_text(&e), rows[i].names[n]));
		assert_false(p->sealed);
	}
}

static void what_only_looks_like_a_clash_is_taken(void **state)
{
	static const struct {
		const char *files[4], *mount_dirs[2];
	} rows[] = {
		{ { "foo", "foobar/x", "foo-bar/x", "foo.d/x" }, {} },
		{ { "a/b", "a/c", "ab" }, {} },
		{ { "nested1", "neste", "nested.d/x" }, { "nested", "nested/double" } },
		{ { NULL }, { "x", "x/y" } },
		{ { NULL }, {} },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cleanup_payload struct payload *p = payload_make();

		for (size_t f = 0; f < 4 && rows[i].files[f]; f++)
			assert_int_equal(add(p, rows[i].files[f], "x", 0644, NULL), 0);
		for (size_t m = 0; m < 2 && rows[i].mount_dirs[m]; m++)
			assert_int_equal(payload_add_mount_dir(p, rows[i].mount_dirs[m], NULL), 0);
		if (payload_seal(p, NULL) != 0)
			fail_msg("row %zu is refused", i);
	}
}

static void the_last_of_equal_paths_wins(void **state)
{
	cleanup_payload struct payload *p = payload_make();

	assert_int_equal(add(p, "k", "first", 0600, NULL), 0);
	assert_int_equal(add(p, "other", "x", 0600, NULL), 0);
	assert_int_equal(add(p, "./k", "second", 0640, NULL), 0);
	assert_int_equal(add(p, "k/", "third!", 0644, NULL), 0);
	assert_int_equal(payload_seal(p, NULL), 0);
	assert_int_equal(p->n_files, 2);
	assert_string_equal(p->files[0].path, "k");
	assert_int_equal(p->files[0].mode, 0644);
	assert_memory_equal(secspan_data(&p->files[0].content), "third!", 6);
	assert_int_equal(secmem_stats().n_blocks, 2);
}

static void modes_lose_what_is_not_a_permission(void **state)
{
	cleanup_payload struct payload *p = payload_make();

	assert_int_equal(add(p, "k", "x", 07777, NULL), 0);
	assert_int_equal(payload_seal(p, NULL), 0);
	assert_int_equal(p->files[0].mode, 0777);
}

static void fs_group_changes_mode_and_group_of_files(void **state)
{
	static const struct {
		mode_t mode, with_group;
	} rows[] = { { 0400, 0440 }, { 0644, 0644 }, { 0, 0440 }, { 0600, 0640 }, { 0440, 0440 }, { 0777, 0777 } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (int with = 0; with < 2; with++) {
			cleanup_payload struct payload *p = payload_make();

			assert_int_equal(add(p, "k", "x", rows[i].mode, NULL), 0);
			if (with)
				payload_set_fs_group(p, 1001);
			assert_int_equal(payload_seal(p, NULL), 0);
			assert_int_equal(p->files[0].mode, with ? rows[i].with_group : rows[i].mode);
			assert_int_equal(p->files[0].gid, with ? 1001 : 0);
			assert_int_equal(p->files[0].uid, 0);
		}
	}
}

static void what_is_asked_exactly_is_so_with_fs_group_too(void **state)
{
	static const struct {
		struct payload_exact x;
		mode_t mode, mode_with_group;
		uid_t uid;
		gid_t gid, gid_with_group;
	} rows[] = {
		{ { 0 }, 0400, 0440, 9, 0, 1001 },
		{ { .has_mode = true, .mode = 0400 }, 0400, 0400, 9, 0, 1001 },
		{ { .has_mode = true, .mode = 0 }, 0, 0, 9, 0, 1001 },
		{ { .has_mode = true, .mode = 07777 }, 0777, 0777, 9, 0, 1001 },
		{ { .has_gid = true, .gid = 0 }, 0400, 0440, 9, 0, 0 },
		{ { .has_gid = true, .gid = 7 }, 0400, 0440, 9, 7, 7 },
		{ { .has_uid = true, .uid = 1000 }, 0400, 0440, 1000, 0, 1001 },
		{ { .has_uid = true, .uid = 0 }, 0400, 0440, 0, 0, 1001 },
		{ { .has_uid = true, .has_gid = true, .has_mode = true, .uid = 1, .gid = 2, .mode = 3 },
		  3,
		  3,
		  1,
		  2,
		  2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (int with = 0; with < 2; with++) {
			cleanup_payload struct payload *p = payload_make();
			const struct payload_file *f;

			assert_int_equal(payload_add_owned(p, "k", &(struct secspan){ .len = 0 }, &(struct digest){ 0 },
							   0400, 9, NULL),
					 0);
			assert_int_equal(add(p, "other", "x", 0600, NULL), 0);
			payload_set_exact(p, 0, &rows[i].x);
			if (with)
				payload_set_fs_group(p, 1001);
			assert_int_equal(payload_seal(p, NULL), 0);
			f = &p->files[0];
			assert_int_equal(f->mode, with ? rows[i].mode_with_group : rows[i].mode);
			assert_int_equal(f->uid, rows[i].uid);
			assert_int_equal(f->gid, with ? rows[i].gid_with_group : rows[i].gid);
			assert_int_equal(p->files[1].mode, with ? 0640 : 0600);
			assert_int_equal(p->files[1].gid, with ? 1001 : 0);
		}
	}
}

/* One letter per thing that can differ; the last payload is the first one again, put together in another order. */
static struct payload *variant(char what)
{
	struct payload *p = payload_make();

	if (what == '=') {
		assert_int_equal(payload_add_mount_dir(p, "m", NULL), 0);
		assert_int_equal(add(p, "./b", "2", 0644, NULL), 0);
	}
	assert_int_equal(add(p, what == 'p' ? "c" : "a", what == 'c' ? "9" : "1", what == 'm' ? 0600 : 0644, NULL), 0);
	if (what != '=')
		assert_int_equal(add(p, "b", "2", 0644, NULL), 0);
	if (what == 'f')
		assert_int_equal(add(p, "d", "", 0644, NULL), 0);
	if (what != '=' && what != 'd')
		assert_int_equal(payload_add_mount_dir(p, "m", NULL), 0);
	if (what == 'u' || what == 'i')
		payload_set_exact(
			p, 0,
			&(struct payload_exact){ .has_uid = what == 'u', .has_gid = what == 'i', .uid = 5, .gid = 5 });
	if (what == 'g' || what == 'G')
		payload_set_fs_group(p, what == 'g' ? 0 : 7);
	assert_int_equal(payload_seal(p, NULL), 0);
	return p;
}

static void digests_differ_exactly_when_payloads_do(void **state)
{
	static const char kinds[] = "0pcmfdgGui";
	struct payload *p[sizeof kinds - 1];

	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = variant(kinds[i]);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		for (size_t j = 0; j < ARRAY_SIZE(p); j++)
			if (digest_eq(&p[i]->digest, &p[j]->digest) != (i == j))
				fail_msg("%c and %c", kinds[i], kinds[j]);
	for (size_t i = 1; i < ARRAY_SIZE(p); i++)
		payload_free(p[i]);

	p[1] = variant('=');
	assert_true(digest_eq(&p[0]->digest, &p[1]->digest));
	payload_free(p[0]);
	payload_free(p[1]);
}

static void a_path_is_found_as_file_or_folder(void **state)
{
	static const struct {
		const char *path;
		enum payload_kind kind;
	} rows[] = {
		{ "a", PAYLOAD_FILE },		{ "a-b", PAYLOAD_FILE },   { "a/b", PAYLOAD_NOTHING },
		{ "b", PAYLOAD_FOLDER },	{ "b/c", PAYLOAD_FOLDER }, { "b/c/d", PAYLOAD_FILE },
		{ "b/c/d/e", PAYLOAD_NOTHING }, { "b/", PAYLOAD_NOTHING }, { "b-", PAYLOAD_NOTHING },
		{ "m", PAYLOAD_FOLDER },	{ "m/n", PAYLOAD_FOLDER }, { "m/n/o", PAYLOAD_NOTHING },
		{ "z", PAYLOAD_NOTHING },	{ "", PAYLOAD_NOTHING },
	};
	cleanup_payload struct payload *p = payload_make(), *none = payload_make();

	assert_int_equal(add(p, "b/c/d", "1", 0644, NULL), 0);
	assert_int_equal(add(p, "a-b", "1", 0644, NULL), 0);
	assert_int_equal(add(p, "a", "1", 0644, NULL), 0);
	assert_int_equal(payload_add_mount_dir(p, "m/n", NULL), 0);
	assert_int_equal(payload_seal(p, NULL), 0);
	assert_int_equal(payload_seal(none, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (payload_find(p, rows[i].path) != rows[i].kind)
			fail_msg("%s: %d", rows[i].path, payload_find(p, rows[i].path));
		assert_int_equal(payload_find(none, rows[i].path), PAYLOAD_NOTHING);
		if (payload_has_mount_dir(p, rows[i].path) !=
		    (str_eq(rows[i].path, "m") || str_eq(rows[i].path, "m/n")))
			fail_msg("%s", rows[i].path);
	}
}

static void too_many_files_are_refused(void **state)
{
	cleanup_payload struct payload *p = payload_make();
	struct err e = ERR_INIT;
	char path[32];
	int r = 0;

	for (int i = 0; i < 70000 && r == 0; i++) {
		snprintf(path, sizeof path, "k%d", (i * 7919) % 70000);
		r = payload_add(p, path, &(struct secspan){ .len = 0 }, &(struct digest){ 0 }, 0644, &e);
	}
	assert_int_equal(r, -E2BIG);
	assert_int_equal(payload_seal(p, &e), 0);
	for (size_t i = 1; i < p->n_files; i++)
		assert_true(strcmp(p->files[i - 1].path, p->files[i].path) < 0);
}

static void files_folders_or_bytes_make_it_large(void **state)
{
	static const struct {
		size_t files, levels, mount_dirs, bytes; /* of each file */
		bool large;
	} rows[] = {
		{ 1, 1, 0, 1, false },	      { 1024, 1, 0, 1, false },	   { 1025, 1, 0, 1, true },
		{ 20, 51, 4, 1, false },      { 20, 51, 5, 1, true },	   { 1, 1, 1023, 1, false },
		{ 16, 1, 0, 1 << 20, false }, { 17, 1, 0, 1 << 20, true },
	};
	cleanup_secblock struct secblock *b = NULL;

	assert_int_equal(secblock_new(1 << 20, &b, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cleanup_payload struct payload *p = payload_make();
		const struct secspan span = { .block = b, .len = rows[i].bytes };
		char prefix[32];

		for (size_t k = 0; k < rows[i].files; k++) {
			snprintf(prefix, sizeof prefix, "%zu", k);
			assert_int_equal(
				payload_add(p, rows[i].levels > 1 ? deep_path(prefix, rows[i].levels, "k") : prefix,
					    &span, &(struct digest){ 0 }, 0644, NULL),
				0);
		}
		for (size_t k = 0; k < rows[i].mount_dirs; k++) {
			snprintf(prefix, sizeof prefix, "m%zu", k);
			assert_int_equal(payload_add_mount_dir(p, prefix, NULL), 0);
		}
		assert_int_equal(payload_seal(p, NULL), 0);
		if (payload_is_large(p) != rows[i].large)
			fail_msg("row %zu", i);
	}
}

static void blocks_are_given_back(void **state)
{
	struct payload *p = payload_make();

	assert_int_equal(add(p, "a", "x", 0644, NULL), 0);
	assert_int_equal(add(p, "a", "y", 0644, NULL), 0);
	assert_int_equal(add(p, "b", "z", 0644, NULL), 0);
	payload_free(p);
	assert_int_equal(secmem_stats().n_blocks, 0);
	payload_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_paths_are_refused_in_the_kubelets_words),
		cmocka_unit_test(a_path_of_4096_is_taken_and_one_more_is_not),
		cmocka_unit_test(paths_of_too_many_names_are_refused),
		cmocka_unit_test(too_many_files_and_folders_are_refused),
		cmocka_unit_test(paths_are_cleaned),
		cmocka_unit_test(what_cannot_be_is_found_by_sealing),
		cmocka_unit_test(what_only_looks_like_a_clash_is_taken),
		cmocka_unit_test(the_last_of_equal_paths_wins),
		cmocka_unit_test(modes_lose_what_is_not_a_permission),
		cmocka_unit_test(fs_group_changes_mode_and_group_of_files),
		cmocka_unit_test(what_is_asked_exactly_is_so_with_fs_group_too),
		cmocka_unit_test(digests_differ_exactly_when_payloads_do),
		cmocka_unit_test(a_path_is_found_as_file_or_folder),
		cmocka_unit_test(too_many_files_are_refused),
		cmocka_unit_test(files_folders_or_bytes_make_it_large),
		cmocka_unit_test(blocks_are_given_back),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
