/* Volumes on a really mounted tree: kubelet-parity 8.1 (paths and writing) and 8.5 (fsGroup), what is refused, what is
 * remembered by the kernel, and how volumes go. */
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <dirent.h>

#include <cmocka.h>

#include "test/lib/look.h"
#include "test/lib/rig.h"

static struct rig *rig;

static int setup(void **state)
{
	rig = rig_new(NULL);
	return 0;
}

static int teardown(void **state)
{
	rig_free(rig);
	return 0;
}

/* --- 8.1 --- */

#define A50  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A250 A50 A50 A50 A50 A50
#define BINARY                                                                                                         \
	"\x7f"                                                                                                         \
	"ELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0\xff\xfe\n\r\0"

static const struct good_case {
	const char *name;
	struct rig_file files[10];
	const char *top; /* what the volume shows, version and ..data left out */
} good_cases[] = {
	{ "1 nested", { { "i/am/well/behaved.txt", "x" } }, "i " },
	{ "2 flat", { { "keepyourheaddownandfollowtherules.txt", "x" } }, "keepyourheaddownandfollowtherules.txt " },
	{ "5 element of 255", { { A250 "aaaaa", "x" } }, A250 "aaaaa " },
	{ "12 dots in a later element", { { "a/..foo", "x" } }, "a " },
	{ "17 two flat files", { { "foo", "foo" }, { "bar", "bar" } }, "bar foo " },
	{ "18 binary",
	  { { "binary.bin", BINARY, 0, sizeof BINARY }, { ".binary.bin", BINARY, 0, sizeof BINARY } },
	  ".binary.bin binary.bin " },
	{ "19 modes", { { "foo", "foo", 0777 }, { "bar", "bar", 0400 } }, "bar foo " },
	{ "20 dotfiles", { { ".dotfile", "a" }, { ".dotfile.file", "b" } }, ".dotfile .dotfile.file " },
	{ "21 odd modes",
	  { { "a", "a", 0407 }, { "b", "b", 0440 }, { "c", "c", 0777 }, { "d", "d", 0666 }, { "e", "e", RIG_MODE_0 } },
	  "a b c d e " },
	{ "22 sub folders", { { "foo/bar.txt", "a" }, { "bar/zab.txt", "b" } }, "bar foo " },
	{ "23 sub folder and mode", { { "foo/bar.txt", "a", 0400 } }, "foo " },
	{ "24 unclean", { { "foo//bar.txt", "a" }, { "bar///bar/zab.txt", "b" }, { "./dot", "c" } }, "bar dot foo " },
	{ "25 deep", { { "1/2/3/4/5/6/7/8/9/10/.dotfile.lib", "x", 0777 } }, "1 " },
	{ "26 kitchen sink",
	  { { "1/2/3/4/5/6/7/8/9/10/.dotfile.lib", "1" },
	    { "foo/bar.txt", "2" },
	    { "bar/zab.txt", "3" },
	    { ".dotfile", "4" },
	    { "a/b/.c", "5", 0600 },
	    { "bin", BINARY, 0, sizeof BINARY },
	    { "foo/zip//zap", "6" },
	    { "flat", "7" } },
	  ".dotfile 1 a bar bin flat foo " },
	{ "27 empty value", { { "k", "" } }, "k " },
	{ "28 odd characters",
	  { { "with space", "a" }, { "with\nnewline", "b" }, { "h\xc3\xa4", "c" } },
	  "h\xc3\xa4 with\nnewline with space " },
	{ "no files at all", { { NULL } }, "" },
};

static void check_files(const char *uid, const char *volume, const struct rig_file *files)
{
	for (const struct rig_file *f = files; f->path; f++) {
		const char *path = rig_path(rig, uid, volume, f->path);

		look_is_bytes(path, f->text, f->len ?: strlen(f->text));
		assert_int_equal(look_mode(path), f->mode == RIG_MODE_0 ? 0 : f->mode ?: 0644);
	}
}

/* Every folder below the version has this mode. */
static void check_sub_folders(const char *uid, const char *volume, const struct rig_file *files, mode_t mode)
{
	for (const struct rig_file *f = files; f->path; f++) {
		cleanup_free char *path = strdup(f->path);

		for (char *slash = path; (slash = strchr(slash, '/')); *slash++ = '/') {
			*slash = 0;
			if (strcmp(path, ".") != 0)
				assert_int_equal(look_mode(rig_path(rig, uid, volume, path)), mode);
		}
	}
}

static void good_payloads_can_be_read_back(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good_cases); i++) {
		const struct good_case *c = &good_cases[i];
		struct rig_result res;
		cleanup_free char *top = NULL;
		char uid[32];

		snprintf(uid, sizeof uid, "good-%zu", i);
		if (rig_publish(rig, uid, "v", rig_payload(rig, c->files, -1, NULL), &res) != 0)
			fail_msg("%s: %s", c->name, res.error);
		check_files(uid, "v", c->files);
		check_sub_folders(uid, "v", c->files, 0755);
		assert_string_equal(look_link(rig_path(rig, uid, "v", "..data")), res.version);
		assert_int_equal(look_mode(rig_path(rig, uid, "v", res.version)), 0755);
		assert_int_equal(look_mode(rig_path(rig, uid, "v", NULL)), 01777);
		top = look_list(rig_path(rig, uid, "v", NULL), "..");
		if (strcmp(top, c->top) != 0)
			fail_msg("%s: the volume shows %s", c->name, top);
	}
}

static const struct bad_case {
	const char *name, *path;
	int repeat; /* of the path's first character, instead of the path */
} bad_cases[] = {
	{ "3 too long", "a", 4097 },
	{ "4 element too long", "a", 256 },
	{ "6 absolute", "/dev/null" },
	{ "7 reserved prefix", "..sneaky.txt" },
	{ "8 three dots", "..." },
	{ "9 deep climb", "hello/there/../../../../../../etc/passwd" },
	{ "10 inner climb", "hello/../etc/somethingbad" },
	{ "11 empty", "" },
	{ "13 the volume itself", "." },
	{ "16 bad inner path", "foo/../bar" },
	{ "reserved after cleaning", "./..data" },
};

static void bad_paths_publish_nothing(void **state)
{
	struct rig_result res;

	assert_int_equal(rig_publish(rig, "bad", "v",
				     rig_payload(rig, (struct rig_file[]){ { "foo", "1" }, {} }, -1, NULL), &res),
			 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad_cases); i++) {
		char path[PAYLOAD_PATH_MAX + 2];
		const struct rig_file files[] = { { "foo", "2" }, { path, "x" }, { "binary.bin", BINARY }, {} };
		struct err e = ERR_INIT;

		memset(path, bad_cases[i].path[0], sizeof path);
		if (bad_cases[i].repeat)
			path[bad_cases[i].repeat] = 0;
		else
			snprintf(path, sizeof path, "%s", bad_cases[i].path);
		if (rig_payload_check(rig, files, &e) != -EINVAL)
			fail_msg("%s is taken", bad_cases[i].name);
		look_is_text(rig_path(rig, "bad", "v", "foo"), "1");
	}
}

static void a_path_too_long_with_its_volume_changes_nothing(void **state)
{
	char path[PAYLOAD_PATH_MAX];
	struct rig_result res;

	for (size_t i = 0; i < sizeof path - 1; i++)
		path[i] = i % 100 == 99 ? '/' : 'a';
	path[sizeof path - 1] = 0;
	assert_int_equal(rig_publish(rig, "long", "v",
				     rig_payload(rig, (struct rig_file[]){ { path, "1" }, {} }, -1, NULL), &res),
			 -ENAMETOOLONG);
	assert_false(look_exists(rig_path(rig, "long", "v", NULL)));
	assert_int_equal(rig_publish(rig, "long", "v",
				     rig_payload(rig, (struct rig_file[]){ { "k", "1" }, {} }, -1, NULL), &res),
			 0);
	assert_int_equal(rig_publish(rig, "long", "v",
				     rig_payload(rig, (struct rig_file[]){ { path, "1" }, {} }, -1, NULL), &res),
			 -ENAMETOOLONG);
	look_is_text(rig_path(rig, "long", "v", "k"), "1");
}

/* --- 8.5 --- */

static void fs_group_is_applied_as_the_kubelet_does(void **state)
{
	static const struct {
		const char *path;
		mode_t mode, with_group;
	} rows[] = {
		{ "m0400", 0400, 0440 }, { "m0644", 0644, 0644 },     { "m0000", RIG_MODE_0, 0440 },
		{ "m0600", 0600, 0640 }, { "sub/dir/f", 0400, 0440 },
	};
	struct rig_file files[ARRAY_SIZE(rows) + 1] = { 0 };
	struct rig_result res;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		files[i] = (struct rig_file){ rows[i].path, "x", rows[i].mode, 0 };
	assert_int_equal(rig_publish(rig, "group", "v", rig_payload(rig, files, 1001, NULL), &res), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char path[64];

		snprintf(path, sizeof path, "..data/%s", rows[i].path);
		assert_int_equal(look_mode(rig_path(rig, "group", "v", path)), rows[i].with_group);
		assert_int_equal(look_gid(rig_path(rig, "group", "v", path)), 1001);
	}
	check_sub_folders("group", "v", files, 02755);
	assert_int_equal(look_mode(rig_path(rig, "group", "v", NULL)), 03777);
	assert_int_equal(look_gid(rig_path(rig, "group", "v", NULL)), 1001);
	assert_int_equal(look_mode(rig_path(rig, "group", "v", res.version)), 02755);
	assert_int_equal(look_gid(rig_path(rig, "group", "v", res.version)), 1001);

	/* and after an update */
	files[0].text = "y";
	assert_int_equal(rig_publish(rig, "group", "v", rig_payload(rig, files, 1001, NULL), &res), 0);
	assert_int_equal(look_mode(rig_path(rig, "group", "v", res.version)), 02755);
	assert_int_equal(look_gid(rig_path(rig, "group", "v", res.version)), 1001);
	assert_int_equal(look_mode(rig_path(rig, "group", "v", "m0000")), 0440);
}

static void without_fs_group_root_owns_everything(void **state)
{
	assert_int_equal(rig_publish(rig, "nogroup", "v",
				     rig_payload(rig, (struct rig_file[]){ { "a/b", "x" }, {} }, -1, NULL), NULL),
			 0);
	assert_int_equal(look_mode(rig_path(rig, "nogroup", "v", NULL)), 01777);
	assert_int_equal(look_gid(rig_path(rig, "nogroup", "v", NULL)), 0);
	assert_int_equal(look_mode(rig_path(rig, "nogroup", "v", "a")), 0755);
	assert_int_equal(look_gid(rig_path(rig, "nogroup", "v", "..data/a/b")), 0);
	assert_int_equal(look_lmode(rig_path(rig, "nogroup", "v", "a")), 0777);
	assert_int_equal(look_mode(rig_path(rig, "nogroup", "../..", NULL)), 0750);
	assert_int_equal(look_mode(rig_dir(rig)), 0711);
}

static void mount_folders_appear_and_survive_updates(void **state)
{
	static const char *const dirs[] = { "nested/double", "nested2", "nested", NULL };
	static const char *const more[] = { "nested/double", "nested2", "nested", "nested/third/x", "new", NULL };
	struct rig_file files[] = { { "k", "1" }, {} };
	cleanup_free char *top = NULL;
	uint64_t ino;

	assert_int_equal(rig_publish(rig, "nest", "v", rig_payload(rig, files, -1, dirs), NULL), 0);
	assert_int_equal(look_lmode(rig_path(rig, "nest", "v", "nested/double")), 0755);
	ino = look_ino(rig_path(rig, "nest", "v", "nested/double"));
	files[0].text = "2";
	assert_int_equal(rig_publish(rig, "nest", "v", rig_payload(rig, files, -1, dirs), NULL), 0);
	rig_settle(rig);
	assert_int_equal(look_ino(rig_path(rig, "nest", "v", "nested/double")), ino);
	look_is_text(rig_path(rig, "nest", "v", "k"), "2");
	top = look_list(rig_path(rig, "nest", "v", NULL), "..");
	assert_string_equal(top, "k nested nested2 ");

	assert_int_equal(rig_publish(rig, "nest", "v", rig_payload(rig, files, -1, more), NULL), 0);
	assert_int_equal(look_ino(rig_path(rig, "nest", "v", "nested/double")), ino);
	assert_int_equal(look_lmode(rig_path(rig, "nest", "v", "nested/third/x")), 0755);
	assert_true(look_exists(rig_path(rig, "nest", "v", "new")));
	assert_int_equal(rig_publish(rig, "nest", "v", rig_payload(rig, files, -1, dirs), NULL), 0);
	assert_int_equal(look_ino(rig_path(rig, "nest", "v", "nested/double")), ino);
	assert_false(look_exists(rig_path(rig, "nest", "v", "nested/third")));
	assert_false(look_exists(rig_path(rig, "nest", "v", "new")));
}

static void a_name_is_a_key_a_mount_folder_and_a_key_again(void **state)
{
	static const char *const dirs[] = { "a/sub", NULL };
	const struct rig_file keys[] = { { "a", "1" }, { "b", "1" }, {} }, without[] = { { "b", "2" }, {} };

	assert_int_equal(rig_publish(rig, "turns", "v", rig_payload(rig, keys, -1, NULL), NULL), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rig_publish(rig, "turns", "v", rig_payload(rig, without, -1, dirs), NULL), 0);
		assert_int_equal(look_lmode(rig_path(rig, "turns", "v", "a/sub")), 0755);
		look_is_text(rig_path(rig, "turns", "v", "b"), "2");
		assert_int_equal(rig_publish(rig, "turns", "v", rig_payload(rig, keys, -1, NULL), NULL), 0);
		look_is_text(rig_path(rig, "turns", "v", "a"), "1");
		look_is_text(rig_path(rig, "turns", "v", "b"), "1");
	}
}

/* --- refusals --- */

static int try_mkdir(const char *dir, const char *file)
{
	char path[512];

	snprintf(path, sizeof path, "%s/new", dir);
	return mkdir(path, 0755);
}
static int try_mknod(const char *dir, const char *file)
{
	char path[512];

	snprintf(path, sizeof path, "%s/new", dir);
	return mknod(path, S_IFIFO | 0644, 0);
}
static int try_device(const char *dir, const char *file)
{
	char path[512];

	snprintf(path, sizeof path, "%s/new", dir);
	return mknod(path, S_IFCHR | 0644, 0x103);
}
static int try_create(const char *dir, const char *file)
{
	char path[512];

	snprintf(path, sizeof path, "%s/new", dir);
	return open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
}
static int try_symlink(const char *dir, const char *file)
{
	char path[512];

	snprintf(path, sizeof path, "%s/..data_tmp", dir);
	return symlink("/etc", path);
}
static int try_link(const char *dir, const char *file)
{
	char path[512];

	snprintf(path, sizeof path, "%s/new", dir);
	return link(file, path);
}
static int try_unlink(const char *dir, const char *file)
{
	return unlink(file);
}
static int try_unlink_link(const char *dir, const char *file)
{
	char path[512];

	snprintf(path, sizeof path, "%s/..data", dir);
	return unlink(path);
}
static int try_rmdir(const char *dir, const char *file)
{
	return rmdir(dir);
}
static int try_rename(const char *dir, const char *file)
{
	char path[512], to[512];

	snprintf(path, sizeof path, "%s/k", dir);
	snprintf(to, sizeof to, "%s/..data", dir);
	return rename(path, to);
}
static int try_exchange(const char *dir, const char *file)
{
	char path[512], to[512];

	snprintf(path, sizeof path, "%s/k", dir);
	snprintf(to, sizeof to, "%s/..data", dir);
	return renameat2(AT_FDCWD, path, AT_FDCWD, to, RENAME_EXCHANGE);
}
static int try_chmod(const char *dir, const char *file)
{
	return chmod(file, 0777);
}
static int try_chmod_dir(const char *dir, const char *file)
{
	return chmod(dir, 01777);
}
static int try_chown(const char *dir, const char *file)
{
	return chown(file, 1000, 1000);
}
static int try_truncate(const char *dir, const char *file)
{
	return truncate(file, 0);
}
static int try_open_truncate(const char *dir, const char *file)
{
	return open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
}
static int try_utime(const char *dir, const char *file)
{
	return utimensat(AT_FDCWD, file, NULL, 0);
}
static int try_setxattr(const char *dir, const char *file)
{
	return setxattr(file, "user.x", "y", 1, 0);
}
static int try_removexattr(const char *dir, const char *file)
{
	return removexattr(file, "user.x");
}
static int with_open(const char *file, int (*fn)(int fd))
{
	cleanup_fd int fd = open(file, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -1 : fn(fd);
}
static int do_write(int fd)
{
	return write(fd, "x", 1) == 1 ? 0 : -1;
}
static int do_fallocate(int fd)
{
	return fallocate(fd, 0, 0, 4096);
}
static int do_copy(int fd)
{
	return copy_file_range(fd, &(off_t){ 0 }, fd, &(off_t){ 4096 }, 1, 0) < 0 ? -1 : 0;
}
static int try_write(const char *dir, const char *file)
{
	return with_open(file, do_write);
}
static int try_fallocate(const char *dir, const char *file)
{
	return with_open(file, do_fallocate);
}
static int try_copy(const char *dir, const char *file)
{
	return with_open(file, do_copy);
}

static const struct {
	const char *name;
	int (*fn)(const char *dir, const char *file);
} changes[] = {
	{ "mkdir", try_mkdir },
	{ "mknod", try_mknod },
	{ "device", try_device },
	{ "create", try_create },
	{ "symlink", try_symlink },
	{ "link", try_link },
	{ "unlink", try_unlink },
	{ "unlink ..data", try_unlink_link },
	{ "rmdir", try_rmdir },
	{ "rename", try_rename },
	{ "exchange", try_exchange },
	{ "chmod", try_chmod },
	{ "chmod folder", try_chmod_dir },
	{ "chown", try_chown },
	{ "truncate", try_truncate },
	{ "open O_TRUNC", try_open_truncate },
	{ "utimensat", try_utime },
	{ "setxattr", try_setxattr },
	{ "removexattr", try_removexattr },
	{ "write", try_write },
	{ "fallocate", try_fallocate },
	{ "copy_file_range", try_copy },
};

static void check_changes_refused(const char *root)
{
	char dir[256], file[512];

	snprintf(dir, sizeof dir, "%s/erofs/volumes/kubernetes.io~secret/v", root);
	snprintf(file, sizeof file, "%s/k", dir);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		errno = 0;
		if (changes[i].fn(dir, file) >= 0 || errno != EROFS)
			fail_msg("%s below %s: %s", changes[i].name, root, strerror(errno));
		look_is_text(rig_path(rig, "erofs", "v", "k"), "value");
	}
}

static void every_change_is_refused_with_erofs(void **state)
{
	assert_int_equal(rig_publish(rig, "erofs", "v",
				     rig_payload(rig, (struct rig_file[]){ { "k", "value", 0666 }, {} }, -1, NULL),
				     NULL),
			 0);
	check_changes_refused(rig_dir(rig));
	check_changes_refused(rig_writable(rig));
	assert_int_equal(look_mode(rig_path(rig, "erofs", "v", "k")), 0666);
}

/* A change that is staged is the publisher's alone: others do not get it in before it. */
static void a_staged_change_of_somebody_else_is_refused(void **state)
{
	char dir[256], link_path[300];
	struct rig_wait w;

	assert_int_equal(rig_publish(rig, "steal", "v",
				     rig_payload(rig, (struct rig_file[]){ { "k", "1" }, {} }, -1, NULL), NULL),
			 0);
	snprintf(dir, sizeof dir, "%s/steal/volumes/kubernetes.io~secret/v", rig_writable(rig));
	snprintf(link_path, sizeof link_path, "%s/new", dir);
	assert_int_equal(kill(rig_publisher_pid(rig), SIGSTOP), 0);
	rig_publish_start(rig, "steal", "v",
			  rig_payload(rig, (struct rig_file[]){ { "k", "2" }, { "new", "2" }, {} }, -1, NULL), &w);
	assert_int_equal(symlink("..data/new", link_path), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(kill(rig_publisher_pid(rig), SIGCONT), 0);
	assert_int_equal(rig_wait(rig, &w, NULL), 0);
	look_is_text(rig_path(rig, "steal", "v", "new"), "2");
}

/* --- what the kernel remembers --- */

static void visit(const char *path)
{
	struct stat st;
	char buf[4096];

	if (lstat(path, &st) < 0)
		fail_msg("lstat %s: %s", path, strerror(errno));
	if (S_ISLNK(st.st_mode)) {
		assert_true(readlink(path, buf, sizeof buf) > 0);
		if (stat(path, &st) < 0)
			fail_msg("stat %s: %s", path, strerror(errno));
	}
	if (S_ISREG(st.st_mode)) {
		cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);

		assert_true(fd >= 0);
		while (read(fd, buf, sizeof buf) > 0)
			;
		assert_int_equal(fstat(fd, &st), 0);
	} else {
		DIR *d = opendir(path);
		struct dirent *e;

		if (!d)
			fail_msg("opendir %s: %s", path, strerror(errno));
		while ((e = readdir(d))) {
			char child[8192];

			snprintf(child, sizeof child, "%s/%s", path, e->d_name);
			if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
				visit(child);
		}
		closedir(d);
	}
}

/* Whether visiting the volume causes no request; *ret_what names those that it has caused. */
static bool is_warm(const char *uid, char what[256])
{
	uint64_t before[SESSION_OPCODES], after[SESSION_OPCODES];

	what[0] = 0;
	rig_request_counts(rig, before);
	visit(rig_path(rig, uid, "v", NULL));
	rig_request_counts(rig, after);
	for (unsigned i = 0; i < SESSION_OPCODES; i++) {
		const char *name = session_opcode_name(i) ?: "?";
		size_t len = strlen(what);

		if (after[i] != before[i] && !strstr(name, "FORGET"))
			snprintf(what + len, 256 - len, " %lu %s", (unsigned long)(after[i] - before[i]), name);
	}
	return !what[0];
}

/* The kernel is free to take a page back at any time (DAMON does it even when memory is plentiful), so one of some
 * tries has to do. */
#define WARM_TRIES 8

static bool try_to_read_without_requests(int round, char what[256])
{
	const struct rig_file files[] = { { "a", "1" },
					  { "b/c/d", "2" },
					  { "b/c/e", "3", 0400 },
					  { "empty", "" },
					  { "only-old", "1" },
					  { "sub/only-old", "1" },
					  {} };
	const struct rig_file other[] = { { "a", "2" }, { "b/c/d", "2" }, { "new/x", "3" }, { "sub/y", "3" }, {} };
	static const char *const dirs[] = { "mnt/x", NULL };
	char uid[24];

	snprintf(uid, sizeof uid, "warm-%d", round);
	assert_int_equal(rig_publish(rig, uid, "v", rig_payload(rig, files, -1, dirs), NULL), 0);
	if (!is_warm(uid, what))
		return false;
	assert_int_equal(rig_publish(rig, uid, "v", rig_payload(rig, other, -1, dirs), NULL), 0);
	rig_settle(rig);
	return is_warm(uid, what);
}

static void a_published_volume_is_read_without_any_request(void **state)
{
	char what[256];
	bool good = false;

	rig_settle(rig); /* the requests of other tests' versions would be counted */
	for (int round = 0; round < WARM_TRIES && !good; round++)
		good = try_to_read_without_requests(round, what);
	if (!good)
		fail_msg("each time there are requests, the last time%s", what);
}

static void names_that_are_not_there_are_remembered_in_a_version(void **state)
{
	const struct rig_file files[] = { { "a", "1" }, {} };
	uint64_t before, after = 0;

	rig_settle(rig);
	assert_int_equal(rig_publish(rig, "negative", "v", rig_payload(rig, files, -1, NULL), NULL), 0);
	assert_false(look_exists(rig_path(rig, "negative", "v", "..data/nothing")));
	before = rig_requests(rig);
	for (int i = 0; i < 100; i++)
		assert_false(look_exists(rig_path(rig, "negative", "v", "..data/nothing")));
	after = rig_requests(rig);
	assert_true(after - before < 10);
}

/* --- sizes --- */

static void a_value_of_one_mebibyte_is_whole(void **state)
{
	static char big[1 << 20];
	struct rig_file files[] = { { "big", big, 0, sizeof big }, {} };
	uint64_t before[SESSION_OPCODES], after[SESSION_OPCODES];

	for (size_t i = 0; i < sizeof big; i++)
		big[i] = i * 2654435761u >> 13;
	rig_request_counts(rig, before);
	assert_int_equal(rig_publish(rig, "big", "v", rig_payload(rig, files, -1, NULL), NULL), 0);
	rig_request_counts(rig, after);
	look_is_bytes(rig_path(rig, "big", "v", "big"), big, sizeof big);
	/* FUSE_READ is 15: in pieces of readahead size and not of single pages */
	assert_true(after[15] - before[15] <= 32);
}

static void a_thousand_keys_are_all_there(void **state)
{
	enum { N = 1000 };
	static char names[N][16];
	struct rig_file files[N + 1] = { 0 };
	DIR *d;
	int n = 0;

	for (int i = 0; i < N; i++) {
		snprintf(names[i], sizeof names[i], "key-%d", i);
		files[i] = (struct rig_file){ names[i], names[i], 0, 0 };
	}
	for (int round = 0; round < 2; round++) {
		assert_int_equal(rig_publish(rig, "many", "v", rig_payload(rig, files, -1, NULL), NULL), 0);
		for (int i = 0; i < N - round; i++)
			look_is_text(rig_path(rig, "many", "v", names[i]), names[i]);
		/* the next round is without the last one */
		files[N - 1].path = NULL;
	}
	d = opendir(rig_path(rig, "many", "v", NULL));
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += strncmp(e->d_name, "key-", 4) == 0;
	closedir(d);
	assert_int_equal(n, N - 1);
}

/* --- how volumes go --- */

static void stats_fn(struct rig *r, void *arg)
{
	*(struct tree_stats *)arg = tree_stats(rig_tree(r));
}

static bool is_forgotten(struct rig *r, void *arg)
{
	struct tree_stats stats = tree_stats(rig_tree(r));

	return stats.n_detached == 0 && stats.n_nodes == *(size_t *)arg;
}

static void a_removed_pod_leaves_nothing(void **state)
{
	struct tree_stats before, after;
	struct rig_file files[] = { { "a", "1" }, { "b/c", "2" }, {} };

	rig_settle(rig);
	rig_call(rig, stats_fn, &before);
	assert_int_equal(rig_publish(rig, "gone", "v1", rig_payload(rig, files, -1, NULL), NULL), 0);
	assert_int_equal(rig_publish(rig, "gone", "v2", rig_payload(rig, files, -1, NULL), NULL), 0);
	files[0].text = "3";
	assert_int_equal(rig_publish(rig, "gone", "v2", rig_payload(rig, files, -1, NULL), NULL), 0);
	visit(rig_path(rig, "gone", "v2", NULL));

	assert_int_equal(rig_remove_volume(rig, "gone", "v1"), 0);
	assert_false(look_exists(rig_path(rig, "gone", "v1", NULL)));
	assert_true(look_exists(rig_path(rig, "gone", "v2", "a")));
	assert_int_equal(rig_remove_volume(rig, "gone", "v1"), 0);
	assert_int_equal(rig_remove_pod(rig, "gone"), 0);
	assert_int_equal(rig_remove_pod(rig, "gone"), 0);
	assert_false(look_exists(rig_path(rig, "gone", "..", NULL)));
	assert_true(rig_until(rig, is_forgotten, &before.n_nodes));
	rig_call(rig, stats_fn, &after);
	assert_int_equal(after.content_bytes, before.content_bytes);

	/* it may come again */
	assert_int_equal(rig_publish(rig, "gone", "v1", rig_payload(rig, files, -1, NULL), NULL), 0);
	look_is_text(rig_path(rig, "gone", "v1", "a"), "3");
}

static void an_open_file_keeps_its_bytes_when_all_goes(void **state)
{
	cleanup_fd int fd = -1;
	char buf[8] = "";

	assert_int_equal(rig_publish(rig, "held", "v",
				     rig_payload(rig, (struct rig_file[]){ { "k", "old" }, {} }, -1, NULL), NULL),
			 0);
	fd = open(rig_path(rig, "held", "v", "k"), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(rig_remove_pod(rig, "held"), 0);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	assert_int_equal(pread(fd, buf, sizeof buf, 0), 3);
	assert_string_equal(buf, "old");
}

struct name_call {
	const char *uid, *ns, *name;
	int r;
};

static void name_fn(struct rig *r, void *arg)
{
	struct name_call *c = arg;

	c->r = publish_name_pod(rig_publisher(r), c->uid, c->ns, c->name, NULL, NULL);
}

static int name_pod(const char *uid, const char *ns, const char *name)
{
	struct name_call c = { uid, ns, name, 0 };

	rig_call(rig, name_fn, &c);
	return c.r;
}

static const char *name_path(const char *rest)
{
	static char path[512];

	snprintf(path, sizeof path, "%s/by-name%s", rig_dir(rig), rest);
	return path;
}

static void a_pod_is_found_by_its_name(void **state)
{
	struct rig_file files[] = { { "k", "1" }, {} };

	assert_int_equal(name_pod("named-1", "ns", "web"), 0);
	assert_int_equal(rig_publish(rig, "named-1", "v", rig_payload(rig, files, -1, NULL), NULL), 0);
	look_is_text(name_path("/ns/web/volumes/kubernetes.io~secret/v/k"), "1");
	assert_string_equal(look_link(name_path("/ns/web")), "../../named-1");
	assert_int_equal(look_mode(name_path("")), 0711);
	assert_int_equal(look_mode(name_path("/ns")), 0711);

	/* the pod is made again under its name before the old one is gone */
	assert_int_equal(name_pod("named-2", "ns", "web"), 0);
	assert_int_equal(name_pod("named-2", "ns", "web"), 0);
	files[0].text = "2";
	assert_int_equal(rig_publish(rig, "named-2", "v", rig_payload(rig, files, -1, NULL), NULL), 0);
	look_is_text(name_path("/ns/web/volumes/kubernetes.io~secret/v/k"), "2");
	assert_int_equal(rig_remove_pod(rig, "named-1"), 0);
	look_is_text(name_path("/ns/web/volumes/kubernetes.io~secret/v/k"), "2");
	assert_int_equal(rig_remove_pod(rig, "named-2"), 0);
	assert_false(look_exists(name_path("/ns")));
}

static void names_that_climb_are_refused(void **state)
{
	static const struct {
		const char *uid, *ns, *name;
	} rows[] = {
		{ "..", "ns", "n" },	  { "a/b", "ns", "n" }, { "", "ns", "n" },   { "u", "..", "n" },
		{ "u", "a/b", "n" },	  { "u", "", "n" },	{ "u", "ns", ".." }, { "u", "ns", "..data" },
		{ "by-name", "ns", "n" }, { "u", "ns", "." },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(name_pod(rows[i].uid, rows[i].ns, rows[i].name), -EINVAL);
	assert_int_equal(rig_publish(rig, "u", "..", rig_payload(rig, (struct rig_file[]){ {} }, -1, NULL), NULL),
			 -EINVAL);
	assert_int_equal(rig_publish(rig, "by-name", "v", rig_payload(rig, (struct rig_file[]){ {} }, -1, NULL), NULL),
			 -EINVAL);
	assert_int_equal(rig_remove_pod(rig, ".."), -EINVAL);
}

static void other_users_are_kept_out_by_the_modes(void **state)
{
	const char *path;
	pid_t pid;
	int status;

	assert_int_equal(
		rig_publish(rig, "users", "v",
			    rig_payload(rig, (struct rig_file[]){ { "open", "x", 0444 }, { "shut", "x", 0400 }, {} },
					-1, NULL),
			    NULL),
		0);
	path = rig_path(rig, "users", "v", NULL);
	pid = fork();
	if (pid == 0) {
		/* the pod's folder is 0750: a container enters through a bind mount of the volume, this process by fd */
		int dir = open(path, O_PATH | O_CLOEXEC);

		if (setgroups(0, NULL) < 0 || setgid(1000) < 0 || setuid(1000) < 0)
			_exit(1);
		if (openat(dir, "open", O_RDONLY | O_CLOEXEC) < 0)
			_exit(2);
		if (openat(dir, "shut", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
			_exit(3);
		_exit(open(path, O_PATH | O_CLOEXEC) >= 0 || errno != EACCES ? 4 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_payloads_can_be_read_back),
		cmocka_unit_test(bad_paths_publish_nothing),
		cmocka_unit_test(a_path_too_long_with_its_volume_changes_nothing),
		cmocka_unit_test(fs_group_is_applied_as_the_kubelet_does),
		cmocka_unit_test(without_fs_group_root_owns_everything),
		cmocka_unit_test(mount_folders_appear_and_survive_updates),
		cmocka_unit_test(a_name_is_a_key_a_mount_folder_and_a_key_again),
		cmocka_unit_test(every_change_is_refused_with_erofs),
		cmocka_unit_test(a_staged_change_of_somebody_else_is_refused),
		cmocka_unit_test(a_published_volume_is_read_without_any_request),
		cmocka_unit_test(names_that_are_not_there_are_remembered_in_a_version),
		cmocka_unit_test(a_value_of_one_mebibyte_is_whole),
		cmocka_unit_test(a_thousand_keys_are_all_there),
		cmocka_unit_test(a_removed_pod_leaves_nothing),
		cmocka_unit_test(an_open_file_keeps_its_bytes_when_all_goes),
		cmocka_unit_test(a_pod_is_found_by_its_name),
		cmocka_unit_test(names_that_climb_are_refused),
		cmocka_unit_test(other_users_are_kept_out_by_the_modes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
