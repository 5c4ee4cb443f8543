/* Flat volumes on a really mounted tree: what is in them, the events of an update, and what readers see while it is made.
 * It takes long under ASan. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/str.h"
#include "test/lib/look.h"
#include "test/lib/rig.h"

#define ROUNDS 400

static struct rig *rig;

static int setup(void **state)
{
	rig = rig_new(NULL);
	rig_set_flat(rig, true);
	return 0;
}

static int teardown(void **state)
{
	rig_free(rig);
	return 0;
}

#define FILES(...) ((const struct rig_file[]){ __VA_ARGS__, {} })

static int publish(const char *uid, const struct rig_file *files)
{
	struct rig_result res = { .r = 0 };
	int r = rig_publish(rig, uid, "v", rig_payload(rig, files, -1, NULL), &res);

	if (r < 0)
		print_message("publish: %s\n", res.error);
	return r;
}

static const char *path_of(const char *uid, const char *rest)
{
	return rig_path(rig, uid, "v", rest);
}

/* --- what is in one --- */

/* "a sub/ sub/b " in the order of the listing, sorted; what is neither file nor folder has a '?' behind it. */
static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_below(int dir, const char *prefix, char **lines, size_t *n)
{
	DIR *d = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d))) {
		cleanup_free char *path = str_format("%s%s", prefix, e->d_name);
		cleanup_fd int below = -1;

		if (str_eq(e->d_name, ".") || str_eq(e->d_name, ".."))
			continue;
		assert_true(*n < 256);
		lines[(*n)++] = str_format("%s%s", path, e->d_type == DT_DIR ? "/" : e->d_type == DT_REG ? "" : "?");
		if (e->d_type != DT_DIR)
			continue;
		below = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (below >= 0) {
			cleanup_free char *deeper = str_format("%s/", path);

			list_below(below, deeper, lines, n);
		}
	}
	closedir(d);
}

static char *list(const char *path)
{
	cleanup_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct buf b = BUF_INIT(1 << 20);
	char *lines[256];
	size_t n = 0;

	assert_true(dir >= 0);
	list_below(dir, "", lines, &n);
	qsort(lines, n, sizeof *lines, compare);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(buf_printf(&b, "%s ", lines[i]), 0);
		free(lines[i]);
	}
	return b.data ? buf_take(&b) : strdup("");
}

static void assert_list(const char *path, const char *want)
{
	cleanup_free char *have = list(path);

	assert_string_equal(have, want);
}

static void only_files_and_folders_are_in_one(void **state)
{
	cleanup_fd int fd = -1;
	char text[8] = { 0 };

	for (int i = 0; i < 3; i++) {
		assert_int_equal(publish("names", FILES({ "a", "1" }, { "s/t/b", i ? "2" : "1" })), 0);
		assert_list(path_of("names", NULL), "a s/ s/t/ s/t/b ");
		assert_int_equal(publish("names", FILES({ "a", "2" }, { "c", "2" })), 0);
		assert_list(path_of("names", NULL), "a c ");
		fd = close_fd(fd);
		fd = open(path_of("names", "a"), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		assert_int_equal(read(fd, text, sizeof text - 1), 1);
		assert_string_equal(text, "2");
	}
}

static void modes_and_groups_are_those_of_the_keys(void **state)
{
	static const char *const mounts[] = { "nested/mount", NULL };
	const struct rig_file *files = FILES({ "a", "1", 0400 }, { "s/b", "1", 0644 });
	struct stat st;

	assert_int_equal(rig_publish(rig, "modes", "v", rig_payload(rig, files, 1234, mounts), NULL), 0);
	files = FILES({ "a", "2", 0400 }, { "s/b", "1", 0600 });
	assert_int_equal(rig_publish(rig, "modes", "v", rig_payload(rig, files, 1234, mounts), NULL), 0);
	assert_list(path_of("modes", NULL), "a nested/ nested/mount/ s/ s/b ");
	assert_int_equal(look_mode(path_of("modes", NULL)), 03777);
	assert_int_equal(look_mode(path_of("modes", "s")), 02755);
	assert_int_equal(look_mode(path_of("modes", "nested/mount")), 02755);
	assert_int_equal(look_gid(path_of("modes", "s")), 1234);
	assert_int_equal(stat(path_of("modes", "a"), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0440);
	assert_int_equal(st.st_gid, 1234);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(stat(path_of("modes", "s/b"), &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(publish("modes2", FILES({ "a", "1", 0400 }, { "s/b", "1" })), 0);
	assert_int_equal(look_mode(path_of("modes2", NULL)), 01777);
	assert_int_equal(look_mode(path_of("modes2", "a")), 0400);
	assert_int_equal(look_mode(path_of("modes2", "s")), 0755);
}

static const char *staging(const char *uid)
{
	static char path[4096];

	snprintf(path, sizeof path, "%s/%s/staging", rig_dir(rig), uid);
	return path;
}

static void nothing_is_staged_when_no_update_is_under_way(void **state)
{
	cleanup_free char *have = NULL;

	assert_int_equal(publish("staged", FILES({ "a", "1" }, { "s/b", "1" })), 0);
	assert_int_equal(publish("staged", FILES({ "a", "2" }, { "s/b", "2" }, { "c", "2" })), 0);
	assert_int_equal(look_mode(staging("staged")), 0700);
	have = list(staging("staged"));
	/* one folder, that of the version */
	assert_true(str_starts(have, "v/ v/20"));
	assert_string_equal(strrchr(have, '/'), "/ ");
	assert_null(strstr(have, "files"));
}

/* --- an update --- */

static void an_open_file_keeps_its_bytes_and_an_unchanged_one_all(void **state)
{
	struct stat before[2], after[2];
	cleanup_fd int fd = -1;
	char text[8] = { 0 };

	assert_int_equal(publish("open", FILES({ "a", "old" }, { "same", "1" })), 0);
	fd = open(path_of("open", "a"), O_RDONLY | O_CLOEXEC);
	assert_int_equal(stat(path_of("open", "same"), &before[0]), 0);
	assert_int_equal(stat(path_of("open", "a"), &before[1]), 0);
	assert_int_equal(publish("open", FILES({ "a", "new" }, { "same", "1" })), 0);
	assert_int_equal(pread(fd, text, sizeof text - 1, 0), 3);
	assert_string_equal(text, "old");
	look_is_text(path_of("open", "a"), "new");
	assert_int_equal(stat(path_of("open", "same"), &after[0]), 0);
	assert_int_equal(stat(path_of("open", "a"), &after[1]), 0);
	assert_int_equal(before[0].st_ino, after[0].st_ino);
	assert_memory_equal(&before[0].st_mtim, &after[0].st_mtim, sizeof before[0].st_mtim);
	assert_memory_equal(&before[0].st_ctim, &after[0].st_ctim, sizeof before[0].st_ctim);
	assert_true(before[1].st_ino != after[1].st_ino);
	assert_int_equal(fstat(fd, &before[1]), 0);
	assert_int_equal(before[1].st_nlink, 0);
}

static void what_has_been_updated_is_warm(void **state)
{
	uint64_t before;

	assert_int_equal(publish("warm", FILES({ "a", "1" }, { "s/b", "1" }, { "gone", "1" }, { "same", "1" })), 0);
	for (int round = 2; round < 5; round++) {
		char text[2] = { '0' + round, 0 };

		assert_int_equal(publish("warm", FILES({ "a", text }, { "s/b", text }, { "same", "1" },
						       { round == 3 ? "three/x" : "x", "1" })),
				 0);
		rig_settle(rig);
		before = rig_requests(rig);
		for (int i = 0; i < 20; i++) {
			struct stat st;

			look_is_text(path_of("warm", "a"), text);
			look_is_text(path_of("warm", "s/b"), text);
			look_is_text(path_of("warm", "same"), "1");
			look_is_text(path_of("warm", round == 3 ? "three/x" : "x"), "1");
			assert_int_equal(stat(path_of("warm", "a"), &st), 0);
			assert_int_equal(st.st_size, 1);
			assert_list(path_of("warm", NULL),
				    round == 3 ? "a s/ s/b same three/ three/x " : "a s/ s/b same x ");
		}
		assert_int_equal(rig_requests(rig), before);
	}
}

#define WATCHED                                                                                                        \
	(IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF | IN_ATTRIB | IN_MODIFY | \
	 IN_CLOSE_WRITE)

static const char *event_name(uint32_t mask)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{ IN_CREATE, "CREATE" },	 { IN_DELETE, "DELETE" },     { IN_DELETE_SELF, "DELETE_SELF" },
		{ IN_MOVED_FROM, "MOVED_FROM" }, { IN_MOVED_TO, "MOVED_TO" }, { IN_MOVE_SELF, "MOVE_SELF" },
		{ IN_ATTRIB, "ATTRIB" },	 { IN_MODIFY, "MODIFY" },     { IN_CLOSE_WRITE, "CLOSE_WRITE" },
		{ IN_IGNORED, "IGNORED" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (mask & names[i].bit)
			return names[i].name;
	return "?";
}

static int watch(const char *path)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	assert_true(fd >= 0);
	if (inotify_add_watch(fd, path, WATCHED) < 0)
		fail_msg("watch %s: %s", path, strerror(errno));
	return fd;
}

static void assert_events(int fd, const char *want)
{
	char data[16384] __attribute__((__aligned__(8)));
	cleanup_buf struct buf b = BUF_INIT(1 << 20);
	ssize_t len;

	while ((len = read(fd, data, sizeof data)) > 0) {
		for (char *at = data; at < data + len;) {
			const struct inotify_event *e = (const void *)at;

			at += sizeof *e + e->len;
			assert_int_equal(buf_printf(&b, "%s%s%s%s; ", event_name(e->mask),
						    e->mask & IN_ISDIR ? "|ISDIR" : "", e->len ? " " : "",
						    e->len ? e->name : ""),
					 0);
		}
	}
	close(fd);
	assert_string_equal(b.data ?: "", want);
}

static void watchers_are_told_of_what_changes_and_of_nothing_else(void **state)
{
	int top, sub, kept, same, gone, old;

	assert_int_equal(publish("events", FILES({ "gone", "1" }, { "kept", "1" }, { "old/x", "1" }, { "same", "1" },
						 { "sub/a", "1" }, { "sub/c", "1" })),
			 0);
	top = watch(path_of("events", NULL));
	sub = watch(path_of("events", "sub"));
	kept = watch(path_of("events", "kept"));
	same = watch(path_of("events", "same"));
	gone = watch(path_of("events", "gone"));
	old = watch(path_of("events", "old"));
	assert_int_equal(publish("events", FILES({ "fresh", "2" }, { "kept", "2" }, { "more/y", "2" }, { "same", "1" },
						 { "sub/a", "2" }, { "sub/b", "2" })),
			 0);
	rig_settle(rig);
	assert_events(top, "MOVED_TO fresh; MOVED_TO kept; MOVED_TO|ISDIR more; DELETE gone; DELETE|ISDIR old; ");
	assert_events(sub, "MOVED_TO a; MOVED_TO b; DELETE c; ");
	assert_events(kept, "ATTRIB; DELETE_SELF; IGNORED; ");
	assert_events(gone, "ATTRIB; DELETE_SELF; IGNORED; ");
	assert_events(old, "DELETE x; DELETE_SELF; IGNORED; ");
	assert_events(same, "");
	top = watch(path_of("events", NULL));
	assert_int_equal(publish("events", FILES({ "fresh", "2" }, { "kept", "2" }, { "more/y", "2" }, { "same", "1" },
						 { "sub/a", "2" }, { "sub/b", "2" })),
			 PUBLISH_UNCHANGED);
	rig_settle(rig);
	assert_events(top, "");
}

/* --- who may change it --- */

/* --- in the middle of an update --- */

#define N_KEYS 64
#define TRIES  1000 /* on a machine with much else to do only one in many is stopped in time */
#define SPAN   9 /* keys: that many chances to stop it behind those that are to be switched by then */

static char key_names[N_KEYS][16];

/* Every other key is in a folder. */
static const struct rig_file *keys_that_say(const char *text)
{
	static struct rig_file files[N_KEYS + 1];

	for (int i = 0; i < N_KEYS; i++) {
		snprintf(key_names[i], sizeof key_names[i], i % 2 ? "k%d" : "d/k%d", i);
		files[i] = (struct rig_file){ .path = key_names[i], .text = text };
	}
	return files;
}

/* <pod>/staging/v/<version>/files, if there are any. */
static const char *staged_files(const char *uid)
{
	static char path[512];
	cleanup_fd int pods = open(rig_dir(rig), O_PATH | O_CLOEXEC);
	const char *found = NULL;
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof path, "%s/staging/v", uid);
	dir = fdopendir(openat(pods, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	while (!found && dir && (d = readdir(dir))) {
		snprintf(path, sizeof path, "%s/staging/v/%.64s/files", uid, d->d_name);
		if (d->d_name[0] != '.' && faccessat(pods, path, F_OK, 0) == 0)
			found = path;
	}
	if (dir)
		closedir(dir);
	return found;
}

struct middle {
	const char *uid, *text;
	int n_switched; /* at least so many, and one more is still to be */
};

static bool is_in_the_middle(void *arg)
{
	const struct middle *m = arg;
	int n = 0;

	if (!staged_files(m->uid))
		return false;
	for (int i = 0; i < N_KEYS; i++) {
		char text[16] = { 0 };
		int fd = open(path_of(m->uid, key_names[i]), O_RDONLY | O_CLOEXEC);

		assert_true(read(fd, text, sizeof text - 1) > 0);
		n += str_eq(text, m->text);
		close(fd);
	}
	return n >= m->n_switched && n < N_KEYS;
}

/* Updates the pod's volume, with other texts, until the publisher has been stopped in the middle of one; *w waits for its end. */
static void stop_in_the_middle(const char *uid, int n_switched, char text[static 16], struct rig_wait *w)
{
	static int round;

	for (int i = 0; i < TRIES; i++) {
		snprintf(text, 16, "%d", ++round);
		*w = (struct rig_wait){ 0 };
		rig_publish_start(rig, uid, "v", rig_payload(rig, keys_that_say(text), -1, NULL), w);
		if (rig_stop_publisher_when(rig, w, is_in_the_middle, &(struct middle){ uid, text, n_switched }))
			return;
		assert_int_equal(rig_wait(rig, w, NULL), 0);
	}
	fail_msg("never in the middle, with %d switched, in %d updates", n_switched, TRIES);
}

static void assert_all_say(const char *uid, const char *text)
{
	for (int i = 0; i < N_KEYS; i++)
		look_is_text(path_of(uid, key_names[i]), text);
}

static void assert_refused(const char *what, int r)
{
	if (r != -1 || errno != EROFS)
		fail_msg("%s by somebody else: %s", what, r == 0 ? "done" : strerror(errno));
}

static void nobody_else_touches_what_is_staged(void **state)
{
	char text[16], staged[1024], volume[1024], from[2048], to[2048];
	struct rig_wait w;

	assert_int_equal(publish("others", keys_that_say("0")), 0);
	snprintf(volume, sizeof volume, "%s/others/volumes/kubernetes.io~secret/v", rig_writable(rig));
	for (int n_switched = 0; n_switched + SPAN < N_KEYS; n_switched += 2 * SPAN) {
		int n_there = 0;

		stop_in_the_middle("others", n_switched, text, &w);
		snprintf(staged, sizeof staged, "%s/%s", rig_writable(rig), staged_files("others"));
		for (int i = 0; i < N_KEYS; i++) {
			snprintf(from, sizeof from, "%s/%s", staged, key_names[i]);
			snprintf(to, sizeof to, "%s/%s", volume, key_names[i]);
			if (access(from, F_OK) < 0)
				continue;
			n_there++;
			/* just what the publisher would do next, and what it would not */
			assert_refused("switched", rename(from, to));
			assert_refused("undone", rename(to, from));
			assert_refused("unlinked", unlink(from));
		}
		snprintf(to, sizeof to, "%s/moved", volume);
		assert_refused("moved", rename(staged, to));
		*strrchr(staged, '/') = 0;
		assert_refused("moved", rename(staged, to));
		if (n_there == 0)
			fail_msg("with %d switched nothing was staged", n_switched);
		rig_continue_publisher(rig);
		assert_int_equal(rig_wait(rig, &w, NULL), 0);
		assert_all_say("others", text);
	}
}

static void a_new_publisher_ends_what_the_old_one_began(void **state)
{
	char text[16];
	struct rig_wait w;

	assert_int_equal(publish("killed", keys_that_say("0")), 0);
	for (int n_switched = 0; n_switched + SPAN < N_KEYS; n_switched += SPAN) {
		stop_in_the_middle("killed", n_switched, text, &w);
		rig_kill_publisher(rig);
		rig_start_publisher(rig);
		assert_int_equal(rig_wait(rig, &w, NULL), 0);
		assert_all_say("killed", text);
		assert_null(staged_files("killed"));
	}
}

/* --- while it changes --- */

static struct {
	atomic_bool stop;
	atomic_int n_reads, n_lists, n_wrong;
	char what[256]; /* the first thing that was wrong */
	char dir[512];
} stress;

static void wrong(const char *fmt, ...) attr_printf(1, 2);
static void wrong(const char *fmt, ...)
{
	va_list ap;

	if (atomic_fetch_add(&stress.n_wrong, 1) > 0)
		return;
	va_start(ap, fmt);
	vsnprintf(stress.what, sizeof stress.what, fmt, ap);
	va_end(ap);
}

/* Of version g: so many bytes, all alike. */
static size_t size_of(int g)
{
	static const size_t sizes[] = { 1, 100, 4096, 5000, 20000 };

	return sizes[(unsigned)g % ARRAY_SIZE(sizes)];
}

static void *read_kept(void *arg)
{
	static const char *const names[] = { "kept", "sub/kept" };
	cleanup_fd int dir = open(stress.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static __thread char text[32768];
	int last[2] = { 0, 0 };

	for (unsigned i = 0; !atomic_load(&stress.stop); i++) {
		cleanup_fd int fd = openat(dir, names[i % 2], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		struct stat st;
		ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
		int g;

		if (n < 8 || fstat(fd, &st) < 0) {
			wrong("%s: %zd, %s", names[i % 2], n, strerror(errno));
			continue;
		}
		g = atoi(text);
		if ((size_t)n != 8 + size_of(g) || st.st_size != n)
			wrong("%s: %zd bytes of version %d, stat says %jd", names[i % 2], n, g, (intmax_t)st.st_size);
		for (ssize_t k = 8; k < n; k++)
			if (text[k] != 'a' + g % 26)
				wrong("%s: torn at %zd", names[i % 2], k);
		if (g < last[i % 2])
			wrong("%s: %d after %d", names[i % 2], g, last[i % 2]);
		last[i % 2] = g;
		atomic_fetch_add(&stress.n_reads, 1);
	}
	return NULL;
}

/* Names are those of keys, and those that are always there are always there, once. */
static void *list_all(void *arg)
{
	cleanup_fd int dir = open(stress.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *lines[256];

	while (!atomic_load(&stress.stop)) {
		int n_kept = 0, n_sub = 0;
		size_t n = 0;

		list_below(dir, "", lines, &n);
		for (size_t i = 0; i < n; i++) {
			const char *line = lines[i];

			n_kept += str_eq(line, "kept");
			n_sub += str_eq(line, "sub/kept");
			if (!str_eq(line, "kept") && !str_eq(line, "sub/") && !str_eq(line, "sub/kept") &&
			    !str_starts(line, "churn"))
				wrong("a foreign name: %s", line);
			if (line[strlen(line) - 1] == '?')
				wrong("no file: %s", line);
			free(lines[i]);
		}
		if (n_kept != 1 || n_sub != 1)
			wrong("%d kept, %d sub/kept in one listing", n_kept, n_sub);
		atomic_fetch_add(&stress.n_lists, 1);
	}
	return NULL;
}

static bool is_staged(void *arg)
{
	return staged_files("stress") != NULL;
}

/* With `die` the publisher is killed, and *die goes up if that was in the middle. */
static void publish_churn(int g, int *die)
{
	static char text[32768], names[8][16];
	struct rig_file files[11] = { 0 };
	struct rig_wait w = { 0 };
	size_t n = 0;

	snprintf(text, sizeof text, "%07d\n", g);
	memset(text + 8, 'a' + g % 26, size_of(g));
	text[8 + size_of(g)] = 0;
	files[n++] = (struct rig_file){ .path = "kept", .text = text };
	files[n++] = (struct rig_file){ .path = "sub/kept", .text = text };
	for (int i = 0; i < 8; i++) {
		/* some change from a file to a folder and back */
		snprintf(names[i], sizeof names[i], (i + g / 3) % 3 ? "churn%d" : "churn%d/f", i);
		if (((unsigned)g * 7 + i * 3) % 4 < 2)
			files[n++] = (struct rig_file){ .path = names[i], .text = i % 2 ? "1" : text };
	}
	if (!die) {
		assert_int_equal(publish("stress", files), 0);
		return;
	}
	rig_publish_start(rig, "stress", "v", rig_payload(rig, files, -1, NULL), &w);
	*die += rig_stop_publisher_when(rig, &w, is_staged, NULL);
	rig_kill_publisher(rig);
	rig_start_publisher(rig);
	assert_int_equal(rig_wait(rig, &w, NULL), 0);
}

static void readers_see_no_gap_and_no_foreign_name(void **state)
{
	static void *(*const readers[])(void *arg) = { read_kept, read_kept, list_all };
	pthread_t threads[ARRAY_SIZE(readers)] = { 0 };
	int n_deaths = 0;

	publish_churn(1, NULL);
	snprintf(stress.dir, sizeof stress.dir, "%s", path_of("stress", NULL));
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, readers[i], NULL), 0);
	for (int g = 2; g <= ROUNDS; g++) {
		publish_churn(g, g % 20 == 0 ? &n_deaths : NULL);
		usleep((unsigned)g % 5 * 1000);
	}
	atomic_store(&stress.stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(readers); i++)
		pthread_join(threads[i], NULL);
	print_message("# %d reads, %d listings, %d deaths in the middle, %d wrong\n", atomic_load(&stress.n_reads),
		      atomic_load(&stress.n_lists), n_deaths, atomic_load(&stress.n_wrong));
	if (atomic_load(&stress.n_wrong))
		fail_msg("%d wrong: %s", atomic_load(&stress.n_wrong), stress.what);
	assert_true(n_deaths > 0);
	assert_true(atomic_load(&stress.n_reads) > ROUNDS && atomic_load(&stress.n_lists) > ROUNDS / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_files_and_folders_are_in_one),
		cmocka_unit_test(modes_and_groups_are_those_of_the_keys),
		cmocka_unit_test(nothing_is_staged_when_no_update_is_under_way),
		cmocka_unit_test(an_open_file_keeps_its_bytes_and_an_unchanged_one_all),
		cmocka_unit_test(what_has_been_updated_is_warm),
		cmocka_unit_test(watchers_are_told_of_what_changes_and_of_nothing_else),
		cmocka_unit_test(nobody_else_touches_what_is_staged),
		cmocka_unit_test(a_new_publisher_ends_what_the_old_one_began),
		cmocka_unit_test(readers_see_no_gap_and_no_foreign_name),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
