/* Updates on a really mounted tree: kubelet-parity 8.2, the events of 1.5 beside those that the kubelet's calls cause on
 * tmpfs, and what readers see while volumes change under them. It takes long under ASan. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/buf.h"
#include "common/str.h"
#include "fusefs/plan.h"
#include "fusefs/publish.h"
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

#define FILES(...) ((const struct rig_file[]){ __VA_ARGS__, {} })

static int publish(const char *uid, const struct rig_file *files, struct rig_result *res)
{
	return rig_publish(rig, uid, "v", rig_payload(rig, files, -1, NULL), res);
}

/* --- 8.2 --- */

/* "a/b:0644=text " of every file below path, sorted by folder walk. */
static void list_tree(struct buf *b, const char *path, const char *prefix)
{
	cleanup_free char *names = look_list(path, NULL);
	char *save = NULL;

	for (char *name = strtok_r(names, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		char child[8192], rest[4096];
		struct stat st;

		snprintf(child, sizeof child, "%s/%s", path, name);
		snprintf(rest, sizeof rest, "%s%s", prefix, name);
		assert_int_equal(lstat(child, &st), 0);
		if (S_ISDIR(st.st_mode)) {
			strncat(rest, "/", sizeof rest - strlen(rest) - 1);
			list_tree(b, child, rest);
		} else {
			cleanup_free char *text = look_read(child, NULL);

			assert_int_equal(buf_printf(b, "%s:%o=%s ", rest, st.st_mode & 07777, text), 0);
		}
	}
}

#define STATES_MAX 4
static const struct update_case {
	const char *name;
	struct {
		struct rig_file files[8];
		const char *top; /* names that the volume shows */
		const char *tree; /* what is in ..data */
		bool unchanged;
	} states[STATES_MAX];
} update_cases[] = {
	{ "30 content and mode",
	  { { { { "foo", "foo" }, { "bar", "bar" } }, "bar foo ", "bar:644=bar foo:644=foo " },
	    { { { "foo", "foo2" }, { "bar", "bar2", 0640 } }, "bar foo ", "bar:640=bar2 foo:644=foo2 " } } },
	{ "31 no change",
	  { { { { "foo", "foo" }, { "bar", "bar" } }, "bar foo ", "bar:644=bar foo:644=foo " },
	    { { { "bar", "bar" }, { "foo", "foo" } }, "bar foo ", "bar:644=bar foo:644=foo ", true } } },
	{ "32 no change, nested",
	  { { { { "foo/bar.txt", "1" }, { "bar/zab.txt", "2" } }, "bar foo ", "bar/zab.txt:644=2 foo/bar.txt:644=1 " },
	    { { { "foo//bar.txt", "1" }, { "bar/zab.txt", "2" } },
	      "bar foo ",
	      "bar/zab.txt:644=2 foo/bar.txt:644=1 ",
	      true } } },
	{ "33 mode alone (the kubelet does not; we do)",
	  { { { { "foo", "foo" } }, "foo ", "foo:644=foo " },
	    { { { "foo", "foo", 0600 } }, "foo ", "foo:600=foo " } } },
	{ "34 a key in a new folder",
	  { { { { "foo/bar.txt", "1" } }, "foo ", "foo/bar.txt:644=1 " },
	    { { { "foo/bar.txt", "1" }, { "blu/zip.txt", "2" } },
	      "blu foo ",
	      "blu/zip.txt:644=2 foo/bar.txt:644=1 " } } },
	{ "35 a deep key",
	  { { { { "foo/bar.txt", "1" } }, "foo ", "foo/bar.txt:644=1 " },
	    { { { "foo/bar.txt", "1" }, { "blu/two/2/3/4/5/zip.txt", "2" } },
	      "blu foo ",
	      "blu/two/2/3/4/5/zip.txt:644=2 foo/bar.txt:644=1 " } } },
	{ "36 a deep key in a folder that is there",
	  { { { { "bar/zab.txt", "1" } }, "bar ", "bar/zab.txt:644=1 " },
	    { { { "bar/zab.txt", "1" }, { "bar/2/3/4/5/zip.txt", "2" } },
	      "bar ",
	      "bar/2/3/4/5/zip.txt:644=2 bar/zab.txt:644=1 " } } },
	{ "37 a key goes with its folder",
	  { { { { "foo/bar.txt", "1" }, { "bar/zab.txt", "2" } }, "bar foo ", "bar/zab.txt:644=2 foo/bar.txt:644=1 " },
	    { { { "foo/bar.txt", "1" } }, "foo ", "foo/bar.txt:644=1 " } } },
	{ "38 a deep key goes",
	  { { { { "foo/bar.txt", "1" }, { "bar/1/2/3/zab.txt", "2" } },
	      "bar foo ",
	      "bar/1/2/3/zab.txt:644=2 foo/bar.txt:644=1 " },
	    { { { "foo/bar.txt", "1" } }, "foo ", "foo/bar.txt:644=1 " } } },
	{ "39 one of two in a folder goes",
	  { { { { "bar/1/2/sip.txt", "1" }, { "bar/1/2/3/zab.txt", "2" } },
	      "bar ",
	      "bar/1/2/3/zab.txt:644=2 bar/1/2/sip.txt:644=1 " },
	    { { { "bar/1/2/sip.txt", "1" } }, "bar ", "bar/1/2/sip.txt:644=1 " } } },
	{ "40 a deep sibling goes",
	  { { { { "bar/1/2/sip.txt", "1" }, { "bar/1/2/3/4/5/6zab.txt", "2" } },
	      "bar ",
	      "bar/1/2/3/4/5/6zab.txt:644=2 bar/1/2/sip.txt:644=1 " },
	    { { { "bar/1/2/sip.txt", "1" } }, "bar ", "bar/1/2/sip.txt:644=1 " } } },
	{ "41 all go",
	  { { { { "foo", "1" }, { "bar/a", "2" } }, "bar foo ", "bar/a:644=2 foo:644=1 " },
	    { { { NULL } }, "", "" } } },
	{ "42 one comes and one goes",
	  { { { { "foo/bar.txt", "1" } }, "foo ", "foo/bar.txt:644=1 " },
	    { { { "bar/baz.txt", "2" } }, "bar ", "bar/baz.txt:644=2 " } } },
	{ "43 stale",
	  { { { { "foo", "1" }, { "bar", "2" } }, "bar foo ", "bar:644=2 foo:644=1 " },
	    { { { "foo", "1" } }, "foo ", "foo:644=1 " } } },
	{ "44 stale nested",
	  { { { { "foo", "1" }, { "bar", "2" }, { "zip/zap/bar.txt", "3" } },
	      "bar foo zip ",
	      "bar:644=2 foo:644=1 zip/zap/bar.txt:644=3 " },
	    { { { "foo", "1" }, { "bar", "2" } }, "bar foo ", "bar:644=2 foo:644=1 " } } },
	{ "45 stale in a shared folder",
	  { { { { "zap/1/2/3/4/bar.txt", "1" }, { "zap/1/2/c/bar.txt", "2" }, { "zap/1/2/magic.txt", "3" } },
	      "zap ",
	      "zap/1/2/3/4/bar.txt:644=1 zap/1/2/c/bar.txt:644=2 zap/1/2/magic.txt:644=3 " },
	    { { { "zap/1/2/magic.txt", "3" } }, "zap ", "zap/1/2/magic.txt:644=3 " } } },
	{ "46 three with modes",
	  { { { { "foo", "foo" } }, "foo ", "foo:644=foo " },
	    { { { "foo", "foo2", 0400 } }, "foo ", "foo:400=foo2 " },
	    { { { "foo", "foo3", 0600 } }, "foo ", "foo:600=foo3 " } } },
	{ "47 four",
	  { { { { "foo", "foo" } }, "foo ", "foo:644=foo " },
	    { { { "foo", "foo2" } }, "foo ", "foo:644=foo2 " },
	    { { { "foo", "foo3" } }, "foo ", "foo:644=foo3 " },
	    { { { "foo", "foo4" } }, "foo ", "foo:644=foo4 " } } },
	{ "48 unclean and clean",
	  { { { { "bar//zab.txt", "1" } }, "bar ", "bar/zab.txt:644=1 " },
	    { { { "bar/zab.txt", "2" } }, "bar ", "bar/zab.txt:644=2 " } } },
	{ "49 step by step",
	  { { { { "a", "1" }, { "b/c", "2" }, { "b/d", "3" }, { "e", "4" } },
	      "a b e ",
	      "a:644=1 b/c:644=2 b/d:644=3 e:644=4 " },
	    { { { "a", "1" }, { "b/d", "3" } }, "a b ", "a:644=1 b/d:644=3 " },
	    { { { "b/d", "3" } }, "b ", "b/d:644=3 " } } },
	{ "a file becomes a folder and back",
	  { { { { "a", "1" } }, "a ", "a:644=1 " },
	    { { { "a/b", "2" } }, "a ", "a/b:644=2 " },
	    { { { "a", "3" } }, "a ", "a:644=3 " } } },
	{ "a key goes and comes again",
	  { { { { "a", "1" }, { "b", "1" } }, "a b ", "a:644=1 b:644=1 " },
	    { { { "a", "1" } }, "a ", "a:644=1 " },
	    { { { "a", "1" }, { "b", "2" } }, "a b ", "a:644=1 b:644=2 " } } },
};

static void check_state(const struct update_case *c, int i, const char *uid)
{
	cleanup_free char *top = look_list(rig_path(rig, uid, "v", NULL), "..");
	cleanup_buf struct buf b = BUF_INIT(1 << 20);

	if (strcmp(top, c->states[i].top) != 0)
		fail_msg("%s, state %d: the volume shows %s", c->name, i, top);
	list_tree(&b, rig_path(rig, uid, "v", "..data"), "");
	if (strcmp(b.data ?: "", c->states[i].tree) != 0)
		fail_msg("%s, state %d: ..data has %s", c->name, i, b.data ?: "nothing");
	/* every name leads somewhere */
	for (const struct rig_file *f = c->states[i].files; f->path; f++)
		look_is_text(rig_path(rig, uid, "v", f->path), f->text);
}

static void updates_end_as_under_the_kubelet(void **state)
{
	char uid[32];

	for (size_t i = 0; i < ARRAY_SIZE(update_cases); i++) {
		const struct update_case *c = &update_cases[i];
		char last[64] = "";

		snprintf(uid, sizeof uid, "case-%zu", i);
		for (int s = 0; s < STATES_MAX && c->states[s].top; s++) {
			struct rig_result res;
			int r = publish(uid, c->states[s].files, &res);

			if (r != (c->states[s].unchanged ? PUBLISH_UNCHANGED : 0))
				fail_msg("%s, state %d: %d %s", c->name, s, r, res.error);
			assert_int_equal(strcmp(res.version, last) == 0, c->states[s].unchanged);
			assert_string_equal(look_link(rig_path(rig, uid, "v", "..data")), res.version);
			snprintf(last, sizeof last, "%s", res.version);
			check_state(c, s, uid);
		}
	}
	rig_settle(rig);
	for (size_t i = 0; i < ARRAY_SIZE(update_cases); i++) {
		cleanup_free char *all = NULL;
		const char *version;
		char want[512];
		int s = 0;

		snprintf(uid, sizeof uid, "case-%zu", i);
		while (s + 1 < STATES_MAX && update_cases[i].states[s + 1].top)
			s++;
		check_state(&update_cases[i], s, uid);
		/* only one version is left */
		version = look_link(rig_path(rig, uid, "v", "..data"));
		all = look_list(rig_path(rig, uid, "v", NULL), NULL);
		snprintf(want, sizeof want, "%s ..data %s", version, update_cases[i].states[s].top);
		assert_string_equal(all, want);
	}
}

static void an_open_file_keeps_the_old_bytes(void **state)
{
	cleanup_fd int fd = -1;
	struct stat st;
	char b[8] = "";

	assert_int_equal(publish("open", FILES({ "k", "old" }), NULL), 0);
	fd = open(rig_path(rig, "open", "v", "k"), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(publish("open", FILES({ "k", "new!" }), NULL), 0);
	look_is_text(rig_path(rig, "open", "v", "k"), "new!");
	assert_int_equal(pread(fd, b, sizeof b, 0), 3);
	assert_string_equal(b, "old");
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	rig_settle(rig);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	assert_int_equal(pread(fd, b, sizeof b, 0), 3);
	assert_string_equal(b, "old");
}

static void an_overtaken_walk_finds_the_old_version_in_its_grace(void **state)
{
	cleanup_fd int dir = -1, fd = -1;
	char old[256], b[8] = "";

	assert_int_equal(publish("walk", FILES({ "k", "old" }, { "gone", "old" }, { "sub/k", "old" }), NULL), 0);
	dir = open(rig_path(rig, "walk", "v", "..data"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	snprintf(old, sizeof old, "%s/k", look_link(rig_path(rig, "walk", "v", "..data")));
	assert_int_equal(publish("walk", FILES({ "k", "new" }, { "sub/k", "new" }), NULL), 0);

	/* by folder, by the old version's name, and in a folder that is gone from the new version */
	fd = openat(dir, "k", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, b, sizeof b), 3);
	assert_string_equal(b, "old");
	look_is_text(rig_path(rig, "walk", "v", old), "old");
	assert_int_equal(faccessat(dir, "gone", R_OK, 0), 0);
	assert_int_equal(faccessat(dir, "sub/k", R_OK, 0), 0);
	assert_false(look_exists(rig_path(rig, "walk", "v", "gone")));
	assert_false(look_exists(rig_path(rig, "walk", "v", "..data/gone")));

	/* and then it is gone, as under the kubelet */
	rig_settle(rig);
	assert_int_equal(openat(dir, "k", O_RDONLY | O_CLOEXEC), -1);
	assert_int_equal(errno, ENOENT);
	assert_false(look_exists(rig_path(rig, "walk", "v", old)));
}

static int count_versions(const char *uid)
{
	cleanup_free char *names = look_list(rig_path(rig, uid, "v", NULL), "k");
	int n = 0;

	for (const char *at = names; (at = strstr(at, "..20")); at++)
		n++;
	return n;
}

static void quick_updates_of_big_values_keep_few_versions(void **state)
{
	static char big[400 << 10];

	for (int i = 0; i < 20; i++) {
		memset(big, 'a' + i, sizeof big);
		assert_int_equal(publish("quick", FILES({ "k", big, 0, sizeof big }, { "sub/k", "x" }), NULL), 0);
		look_is_bytes(rig_path(rig, "quick", "v", "k"), big, sizeof big);
		assert_true(count_versions("quick") <= 1 + 4);
	}
	rig_settle(rig);
	assert_int_equal(count_versions("quick"), 1);
}

static void quick_updates_of_small_values_are_bounded_too(void **state)
{
	char text[16];

	for (int i = 0; i < 200; i++) {
		snprintf(text, sizeof text, "%d", i);
		assert_int_equal(publish("quick-small", FILES({ "k", text }), NULL), 0);
	}
	assert_true(count_versions("quick-small") <= 1 + 64);
	rig_settle(rig);
	assert_int_equal(count_versions("quick-small"), 1);
}

static void only_the_newest_waiting_payload_is_published(void **state)
{
	struct rig_wait w[3];
	struct rig_result res;

	assert_int_equal(publish("queue", FILES({ "k", "0" }), NULL), 0);
	assert_int_equal(kill(rig_publisher_pid(rig), SIGSTOP), 0);
	for (int i = 0; i < 3; i++) {
		char text[2] = { '1' + i, 0 };

		rig_publish_start(rig, "queue", "v", rig_payload(rig, FILES({ "k", text }), -1, NULL), &w[i]);
		usleep(20000);
	}
	assert_int_equal(rig_wait(rig, &w[1], &res), -ESTALE);
	assert_string_equal(res.error, "overtaken by a newer payload");
	assert_int_equal(kill(rig_publisher_pid(rig), SIGCONT), 0);
	assert_int_equal(rig_wait(rig, &w[0], NULL), 0);
	assert_int_equal(rig_wait(rig, &w[2], NULL), 0);
	look_is_text(rig_path(rig, "queue", "v", "k"), "3");
}

/* --- events --- */

#define WATCHED                                                                                                        \
	(IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF | IN_ATTRIB | IN_MODIFY | \
	 IN_CLOSE_WRITE)

static const struct {
	const char *name, *path; /* "" : the volume itself */
	uint32_t flags;
} watches[] = {
	{ "volume", "", 0 },
	{ "..data, followed", "..data", 0 },
	{ "..data itself", "..data", IN_DONT_FOLLOW },
	{ "kept key", "kept", 0 },
	{ "kept key's link", "kept", IN_DONT_FOLLOW },
	{ "gone key", "gone", 0 },
	{ "gone key's link", "gone", IN_DONT_FOLLOW },
	{ "unchanged key", "same", 0 },
	{ "sub folder", "sub", 0 },
};
#define N_WATCHES ARRAY_SIZE(watches)

static void watch_start(const char *dir, int fds[N_WATCHES])
{
	for (size_t i = 0; i < N_WATCHES; i++) {
		char path[8192];

		snprintf(path, sizeof path, "%s/%s", dir, watches[i].path);
		fds[i] = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		assert_true(fds[i] >= 0);
		if (inotify_add_watch(fds[i], path, WATCHED | watches[i].flags) < 0)
			fail_msg("watch %s: %s", path, strerror(errno));
	}
}

static const char *event_name(uint32_t mask)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{ IN_CREATE, "CREATE" },	 { IN_DELETE, "DELETE" },     { IN_DELETE_SELF, "DELETE_SELF" },
		{ IN_MOVED_FROM, "MOVED_FROM" }, { IN_MOVED_TO, "MOVED_TO" }, { IN_MOVE_SELF, "MOVE_SELF" },
		{ IN_ATTRIB, "ATTRIB" },	 { IN_MODIFY, "MODIFY" },     { IN_CLOSE_WRITE, "CLOSE_WRITE" },
		{ IN_IGNORED, "IGNORED" },	 { IN_UNMOUNT, "UNMOUNT" },   { IN_Q_OVERFLOW, "OVERFLOW" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (mask & names[i].bit)
			return names[i].name;
	return "?";
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One event per line; versions are called ..old and ..new. The kubelet unlinks in the order in which a folder lists:
 * runs of DELETE are sorted. */
static char *watch_end(int fd, const char *old, const char *new)
{
	char *lines[256], data[16384] __attribute__((__aligned__(8)));
	cleanup_buf struct buf b = BUF_INIT(1 << 20);
	size_t n = 0, run = 0;
	ssize_t len;

	while ((len = read(fd, data, sizeof data)) > 0) {
		for (char *at = data; at < data + len;) {
			const struct inotify_event *e = (const void *)at;
			const char *name = e->len ? e->name : "";

			at += sizeof *e + e->len;
			name = str_eq(name, old) ? "..old" : str_eq(name, new) ? "..new" : name;
			assert_true(n < ARRAY_SIZE(lines));
			lines[n++] =
				str_format("%s%s %s", event_name(e->mask), e->mask & IN_ISDIR ? "|ISDIR" : "", name);
		}
	}
	close(fd);
	for (size_t i = 0; i <= n; i++) {
		if (i < n && str_starts(lines[i], "DELETE "))
			continue;
		qsort(lines + run, i - run, sizeof *lines, by_text);
		run = i + 1;
	}
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(buf_printf(&b, "%s\n", lines[i]), 0);
		free(lines[i]);
	}
	return buf_take(&b);
}

static void write_file(int dir, const char *path, const char *text)
{
	cleanup_fd int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmodat(dir, path, 0644, 0), 0);
}

static void remove_all(int dir, const char *path)
{
	char full[8192], *save = NULL;
	cleanup_free char *names = NULL;

	if (unlinkat(dir, path, 0) == 0)
		return;
	snprintf(full, sizeof full, "/proc/self/fd/%d/%s", dir, path);
	names = look_list(full, NULL);
	for (char *name = strtok_r(names, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		snprintf(full, sizeof full, "%s/%s", path, name);
		remove_all(dir, full);
	}
	assert_int_equal(unlinkat(dir, path, AT_REMOVEDIR), 0);
}

/* The calls of the kubelet's AtomicWriter, in the order of the versions since kubernetes PR 122807. */
static void kubelet_write(int dir, const char *version, const char *old, const struct rig_file *files,
			  const char *const *new_links, const char *const *gone_links)
{
	assert_int_equal(mkdirat(dir, version, 0700), 0);
	assert_int_equal(fchmodat(dir, version, 0755, 0), 0);
	for (const struct rig_file *f = files; f->path; f++) {
		char path[4096];
		char *slash;

		snprintf(path, sizeof path, "%s/%s", version, f->path);
		for (slash = strchr(path + strlen(version) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
			*slash = 0;
			assert_true(mkdirat(dir, path, 0755) == 0 || errno == EEXIST);
			*slash = '/';
		}
		write_file(dir, path, f->text);
	}
	assert_int_equal(symlinkat(version, dir, "..data_tmp"), 0);
	assert_int_equal(renameat(dir, "..data_tmp", dir, "..data"), 0);
	for (; *new_links; new_links++) {
		char target[256];

		snprintf(target, sizeof target, "..data/%s", *new_links);
		assert_int_equal(symlinkat(target, dir, *new_links), 0);
	}
	for (; *gone_links; gone_links++)
		assert_int_equal(unlinkat(dir, *gone_links, 0), 0);
	if (old)
		remove_all(dir, old);
}

static void watchers_see_what_the_kubelet_causes(void **state)
{
	const struct rig_file *first = FILES({ "gone", "1" }, { "kept", "1" }, { "same", "1" }, { "sub/a", "1" });
	const struct rig_file *second =
		FILES({ "fresh", "2" }, { "kept", "2" }, { "same", "1" }, { "sub/a", "2" }, { "sub/b", "2" });
	static const char *const links[] = { "gone", "kept", "same", "sub", NULL }, *const none[] = { NULL };
	static const char *const fresh[] = { "fresh", NULL }, *const gone[] = { "gone", NULL };
	int kubelet_fds[N_WATCHES], our_fds[N_WATCHES];
	struct rig_result res1, res2;
	cleanup_fd int dir = open(rig_scratch(rig), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	kubelet_write(dir, "..1", NULL, first, links, none);
	watch_start(rig_scratch(rig), kubelet_fds);
	kubelet_write(dir, "..2", "..1", second, fresh, gone);

	assert_int_equal(publish("events", first, &res1), 0);
	watch_start(rig_path(rig, "events", "v", NULL), our_fds);
	assert_int_equal(publish("events", second, &res2), 0);
	rig_settle(rig);

	for (size_t i = 0; i < N_WATCHES; i++) {
		cleanup_free char *want = watch_end(kubelet_fds[i], "..1", "..2");
		cleanup_free char *have = watch_end(our_fds[i], res1.version, res2.version);

		if (strcmp(want, have) != 0)
			fail_msg("watch on %s:\nkubelet:\n%sours:\n%s", watches[i].name, want, have);
		/* and the comparison is about something */
		assert_true(*want || str_starts(watches[i].name, "kept key's"));
	}
}

static void an_unchanged_payload_wakes_nobody(void **state)
{
	const struct rig_file *files = FILES({ "gone", "1" }, { "kept", "1" }, { "same", "1" }, { "sub/a", "1" });
	struct rig_result first, again;
	int fds[N_WATCHES];
	uint64_t before;

	assert_int_equal(publish("same", files, &first), 0);
	rig_settle(rig);
	watch_start(rig_path(rig, "same", "v", NULL), fds);
	before = rig_requests(rig);
	assert_int_equal(publish("same", files, &again), PUBLISH_UNCHANGED);
	assert_string_equal(again.version, first.version);
	assert_true(again.realtime_usec == first.realtime_usec);
	assert_int_equal(rig_requests(rig), before);
	for (size_t i = 0; i < N_WATCHES; i++) {
		cleanup_free char *have = watch_end(fds[i], "", "");

		assert_string_equal(have, "");
	}
}

/* --- while it changes --- */

#define ROUNDS	  400
#define CHURN_MAX 8

struct stress {
	atomic_bool stop;
	atomic_int n_reads, n_wrong;
	char what[256]; /* the first thing that was wrong */
	char dir[512];
};

static void wrong(struct stress *s, const char *what, int error)
{
	if (atomic_fetch_add(&s->n_wrong, 1) == 0)
		snprintf(s->what, sizeof s->what, "%s: %s", what, strerror(error));
}

/* Reads a small file below dir; -errno. */
static int read_at(int dir, const char *name, char *text, size_t size)
{
	cleanup_fd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	if (n < 0)
		return -errno;
	text[n] = 0;
	return 0;
}

/* Keys that every version has are always there, and never go back. */
static void *read_kept(void *arg)
{
	struct stress *s = arg;
	cleanup_fd int dir = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int last = 0;

	while (!atomic_load(&s->stop)) {
		static const char *const names[] = { "kept", "..data/kept", "sub/kept" };
		static _Atomic unsigned next;
		const char *name = names[next++ % 3];
		char text[32];
		int r = read_at(dir, name, text, sizeof text);

		if (r < 0)
			wrong(s, name, -r);
		else if (atoi(text) < last)
			wrong(s, "older than before", 0);
		else
			last = atoi(text);
		atomic_fetch_add(&s->n_reads, 1);
	}
	return NULL;
}

/* A link that is there before and after must have led somewhere in between. */
static void *read_churned(void *arg)
{
	struct stress *s = arg;
	cleanup_fd int dir = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned i = 0;

	while (!atomic_load(&s->stop)) {
		struct stat before, after;
		char name[32], text[32];
		int r;

		snprintf(name, sizeof name, "churn%u", i++ % CHURN_MAX);
		if (fstatat(dir, name, &before, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno != ENOENT)
				wrong(s, "lstat", errno);
			continue;
		}
		r = read_at(dir, name, text, sizeof text);
		if (r == -EISDIR) /* half of these keys are folders */
			continue;
		if (r < 0 && fstatat(dir, name, &after, AT_SYMLINK_NOFOLLOW) == 0 && before.st_ino == after.st_ino)
			wrong(s, "dangling link", -r);
		if (r < 0 && r != -ENOENT)
			wrong(s, name, -r);
		atomic_fetch_add(&s->n_reads, 1);
	}
	return NULL;
}

/* Through one ..data everything is of one version, which outlives its end by the grace; a reader that had to wait for a processor
 * for longer than that may find it gone. */
static void *read_one_version(void *arg)
{
	struct stress *s = arg;
	cleanup_fd int dir = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	while (!atomic_load(&s->stop)) {
		uint64_t began = clock_monotonic_usec();
		cleanup_fd int data = openat(dir, "..data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		char a[32], b[32];
		int r;

		if (data < 0) {
			wrong(s, "..data", errno);
			continue;
		}
		r = read_at(data, "kept", a, sizeof a);
		r = r ?: read_at(data, "sub/kept", b, sizeof b);
		if (r == -ENOENT && clock_monotonic_usec() - began >= PUBLISH_GRACE_USEC)
			continue;
		if (r < 0)
			wrong(s, "in one version", -r);
		else if (strcmp(a, b) != 0)
			wrong(s, "two versions in one", 0);
		atomic_fetch_add(&s->n_reads, 1);
	}
	return NULL;
}

static void publish_churn(int round)
{
	struct rig_file files[3 + CHURN_MAX] = { 0 };
	static char names[CHURN_MAX][16];
	char text[16];
	size_t n = 0;

	snprintf(text, sizeof text, "%d", round);
	files[n++] = (struct rig_file){ .path = "kept", .text = text };
	files[n++] = (struct rig_file){ .path = "sub/kept", .text = text };
	for (int i = 0; i < CHURN_MAX; i++) {
		snprintf(names[i], sizeof names[i], i % 2 ? "churn%d" : "churn%d/f", i);
		if (((unsigned)round * 7 + i * 3) % 4 < 2)
			files[n++] = (struct rig_file){ .path = names[i], .text = text };
	}
	assert_int_equal(publish("stress", files, NULL), 0);
}

static void readers_see_no_gap_while_it_is_updated(void **state)
{
	static void *(*const readers[])(void *arg) = { read_kept, read_churned, read_one_version };
	pthread_t threads[ARRAY_SIZE(readers)];
	struct stress s = { .stop = false };

	publish_churn(1);
	snprintf(s.dir, sizeof s.dir, "%s", rig_path(rig, "stress", "v", NULL));
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, readers[i], &s), 0);
	for (int round = 2; round <= ROUNDS; round++) {
		publish_churn(round);
		usleep(round % 5 * 1000);
	}
	atomic_store(&s.stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		pthread_join(threads[i], NULL);
	if (atomic_load(&s.n_wrong))
		fail_msg("%d of %d reads: %s", atomic_load(&s.n_wrong), atomic_load(&s.n_reads), s.what);
	assert_true(atomic_load(&s.n_reads) > ROUNDS);
}

/* --- the publisher dies --- */

static void a_new_publisher_completes_what_the_old_one_left(void **state)
{
	struct rig_file files[64] = { 0 };
	static char names[63][16];
	struct rig_wait w;
	char text[16];

	for (int i = 0; i < 63; i++)
		snprintf(names[i], sizeof names[i], i % 3 ? "key%d" : "dir%d/key", i);
	for (int round = 0; round < 40; round++) {
		snprintf(text, sizeof text, "%d", round);
		for (int i = 0; i < 63; i++)
			files[i] = (struct rig_file){ .path = (i + round) % 7 ? names[i] : "other", .text = text };
		rig_publish_start(rig, "killed", "v", rig_payload(rig, files, -1, NULL), &w);
		usleep(round * 60);
		rig_kill_publisher(rig);
		rig_start_publisher(rig);
		if (rig_wait(rig, &w, NULL) != 0)
			fail_msg("round %d: %s", round, w.result.error);
		for (int i = 0; i < 63; i++)
			look_is_text(rig_path(rig, "killed", "v", files[i].path), text);
	}
	assert_int_equal(rig_remove_pod(rig, "killed"), 0);
}

static void a_payload_waits_for_a_publisher(void **state)
{
	struct rig_wait w;

	rig_kill_publisher(rig);
	rig_publish_start(rig, "wait", "v", rig_payload(rig, FILES({ "k", "1" }), -1, NULL), &w);
	usleep(10000);
	assert_false(w.done);
	assert_false(look_exists(rig_path(rig, "wait", "v", NULL)));
	rig_start_publisher(rig);
	assert_int_equal(rig_wait(rig, &w, NULL), 0);
	look_is_text(rig_path(rig, "wait", "v", "k"), "1");
}

static uint64_t doubt;

static void doubt_the_volume(struct rig *r, void *arg)
{
	struct plan plan = PLAN_INIT(rig_tree(r));

	doubt = node_id(plan_find(&plan, "uid/volumes/kubernetes.io~secret/doubted"));
	assert_int_equal(publish_resume(rig_publisher(r), &doubt), 0);
}

static bool is_settled(struct rig *r, void *arg)
{
	return doubt == 0;
}

/* The kernel takes the publisher's chmod of a folder that has another mode, and the mode stays. */
static void a_folder_in_doubt_is_settled_through_the_kernel(void **state)
{
	const struct rig_file files[] = { { "a", "1" }, { NULL } };
	struct stat st;

	assert_int_equal(rig_publish(rig, "uid", "doubted", rig_payload(rig, files, -1, NULL), NULL), 0);
	rig_call(rig, doubt_the_volume, NULL);
	assert_true(rig_until(rig, is_settled, NULL));
	assert_int_equal(stat(rig_path(rig, "uid", "doubted", NULL), &st), 0);
	assert_int_equal(st.st_mode & 07777, 01777);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(updates_end_as_under_the_kubelet),
		cmocka_unit_test(an_open_file_keeps_the_old_bytes),
		cmocka_unit_test(an_overtaken_walk_finds_the_old_version_in_its_grace),
		cmocka_unit_test(quick_updates_of_big_values_keep_few_versions),
		cmocka_unit_test(quick_updates_of_small_values_are_bounded_too),
		cmocka_unit_test(only_the_newest_waiting_payload_is_published),
		cmocka_unit_test(watchers_see_what_the_kubelet_causes),
		cmocka_unit_test(an_unchanged_payload_wakes_nobody),
		cmocka_unit_test(readers_see_no_gap_while_it_is_updated),
		cmocka_unit_test(a_new_publisher_completes_what_the_old_one_left),
		cmocka_unit_test(a_payload_waits_for_a_publisher),
		cmocka_unit_test(a_folder_in_doubt_is_settled_through_the_kernel),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
