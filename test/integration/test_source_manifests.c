/* The manifests source on a real folder: what it tells its sink while files come, change, break and go. Each test has a
 * folder, a loop and a sink of its own. "Nothing was told" is checked by a marker: a Secret that is written after the
 * change and waited for, since batches are taken in order. It takes long under ASan. */
#include "agent/source_manifests.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/manifest_set.h"
#include "agent/sealing.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/json.h"
#include "common/log.h"
#include "common/str.h"
#include "test/lib/full.h"
#include "test/lib/skip.h"

#define NODE	      "node-1"
#define DEADLINE_USEC (60 * USEC_PER_SEC)

struct world {
	char dir[64];
	struct loop *loop;
	struct files *files;
	struct source *source;
	char *log[512]; /* what the sink was told, one line each */
	size_t n_log, n_seen;
	size_t n_markers;
	enum reason reason; /* of the last failure that was told */
	bool synced, synced_early; /* early: the source said so before all pods were told */
};

/* ---- the sink ---- */

static void note(struct world *w, char *take_line)
{
	assert_non_null(take_line);
	assert_true(w->n_log < ARRAY_SIZE(w->log));
	w->log[w->n_log++] = take_line;
}

static void on_pod_changed(void *userdata, struct pod *pod)
{
	struct source_health h = { .kind = "" };
	struct world *w = userdata;

	source_health(w->source, &h);
	w->synced_early |= h.pods_synced && !w->synced;
	note(w, str_format("pod %s %zu volumes", pod_display(pod), pod->n_volumes));
}

static void on_pod_removed(void *userdata, const char *uid)
{
	note(userdata, str_format("removed %s", uid));
}

static void on_pods_synced(void *userdata)
{
	struct world *w = userdata;

	w->synced = true;
	note(w, str_format("synced"));
}

static void on_secret_changed(void *userdata, enum object_kind kind, const char *ns, const char *name,
			      struct secret *secret)
{
	struct buf b = BUF_INIT(4096);

	assert_int_equal(buf_printf(&b, "%s %s/%s", object_kind_word(kind), ns, name), 0);
	for (size_t i = 0; secret && i < secret->n_keys; i++)
		assert_int_equal(buf_printf(&b, " %s=%.*s", secret->keys[i].name, (int)secret->keys[i].value.len,
					    (const char *)secspan_data(&secret->keys[i].value)),
				 0);
	if (!secret)
		assert_int_equal(buf_add_str(&b, " absent"), 0);
	note(userdata, buf_take(&b));
}

static void on_secret_failed(void *userdata, enum object_kind kind, const char *ns, const char *name,
			     const struct err *e)
{
	((struct world *)userdata)->reason = reason_of_error(e);
	note(userdata, str_format("failed %s/%s %s", ns, name, err_text(e)));
}

static const struct source_sink sink = {
	.pod_changed = on_pod_changed,
	.pod_removed = on_pod_removed,
	.pods_synced = on_pods_synced,
	.object_changed = on_secret_changed,
	.object_failed = on_secret_failed,
};

/* ---- the folder ---- */

static char *path_in(struct world *w, const char *name)
{
	char *path = file_join(w->dir, name);

	assert_non_null(path);
	return path;
}

/* As editors and `kubectl`-like tools do it: complete before it appears. */
static void put(struct world *w, const char *name, const char *text)
{
	cleanup_free char *path = path_in(w, name);
	struct err e = ERR_INIT;

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, &e), 0);
}

static int begin_writing(struct world *w, const char *name, const char *text)
{
	cleanup_free char *path = path_in(w, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
	return fd;
}

static void move(struct world *w, const char *from, const char *to)
{
	cleanup_free char *old = path_in(w, from), *fresh = path_in(w, to);

	assert_int_equal(rename(old, fresh), 0);
}

static void drop(struct world *w, const char *name)
{
	cleanup_free char *path = path_in(w, name);

	assert_int_equal(unlink(path), 0);
}

/* Good YAML by itself. */
#define HALF "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\n"

static void put_secret(struct world *w, const char *file, const char *name, const char *value)
{
	cleanup_free char *text = str_format(
		"apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\nstringData: {k: \"%s\"}\n", name, value);

	assert_non_null(text);
	put(w, file, text);
}

static void make_link(struct world *w, const char *target, const char *name)
{
	cleanup_free char *path = path_in(w, name);

	assert_int_equal(symlink(target, path), 0);
}

/* As the kubelet's atomic writer does it; the folder is there. */
static void switch_data(struct world *w, const char *target)
{
	cleanup_free char *tmp = path_in(w, "..data_tmp"), *data = path_in(w, "..data");

	make_link(w, target, "..data_tmp");
	assert_int_equal(rename(tmp, data), 0);
}

static void make_folder(struct world *w, const char *name)
{
	cleanup_free char *path = path_in(w, name);

	assert_int_equal(mkdir(path, 0755), 0);
}

static char *text_of(const char *path)
{
	struct err e = ERR_INIT;
	char *text = NULL;
	size_t len;

	assert_int_equal(file_read(AT_FDCWD, path, 65536, &text, &len, &e), 0);
	return text;
}

static void write_key(const char *path, const char *text, mode_t mode)
{
	struct err e = ERR_INIT;

	assert_int_equal(file_write_atomic(path, text, strlen(text), mode, &e), 0);
}

/* ---- waiting ---- */

/* Runs the loop until cond holds, with a limit that only something broken reaches. */
#define eventually(world, cond)                                                                                        \
	do {                                                                                                           \
		uint64_t limit_ = clock_monotonic_usec() + DEADLINE_USEC;                                              \
		while (!(cond) && clock_monotonic_usec() < limit_)                                                     \
			assert_true(loop_run_once((world)->loop, 100 * USEC_PER_MSEC) >= 0);                           \
		assert_true(cond);                                                                                     \
	} while (0)

static void fail_with_log(struct world *w, const char *wanted)
{
	for (size_t i = 0; i < w->n_log; i++)
		print_error("%s %s\n", i < w->n_seen ? "  " : "->", w->log[i]);
	fail_msg("not told: %s", wanted);
}

/* The next line that was told must be this one; lines end at the given text if it ends in "...". */
static void expect(struct world *w, const char *line)
{
	uint64_t until_usec = clock_monotonic_usec() + DEADLINE_USEC;
	size_t len = strlen(line);
	bool open_end = len > 3 && str_eq(line + len - 3, "...");

	while (w->n_log == w->n_seen && clock_monotonic_usec() < until_usec)
		assert_true(loop_run_once(w->loop, 100 * USEC_PER_MSEC) >= 0);
	if (w->n_log == w->n_seen ||
	    (open_end ? strncmp(w->log[w->n_seen], line, len - 3) != 0 : !str_eq(w->log[w->n_seen], line)))
		fail_with_log(w, line);
	w->n_seen++;
}

static void want(struct world *w, const char *name)
{
	assert_int_equal(source_want(w->source, OBJECT_SECRET, "default", name), 0);
}

/* Everything that was changed before is taken and told when this returns; it must have been nothing. */
static void expect_nothing(struct world *w)
{
	cleanup_free char *value = str_format("%zu", ++w->n_markers);
	cleanup_free char *line = str_format("secret default/marker k=%zu", w->n_markers);

	if (w->n_markers == 1) {
		want(w, "marker");
		expect(w, "secret default/marker absent");
	}
	put_secret(w, "zz-marker.yaml", "marker", value);
	expect(w, line);
}

static struct source_health health(struct world *w)
{
	struct source_health h;

	source_health(w->source, &h);
	return h;
}

static void wait_for_rejected(struct world *w, size_t n)
{
	eventually(w, health(w).n_rejected == n);
}

/* ---- a world ---- */

static int new_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	snprintf(w->dir, sizeof(w->dir), "/tmp/test_source_manifests.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	assert_int_equal(loop_new(&w->loop), 0);
	assert_int_equal(files_direct_new(w->loop, &w->files), 0);
	*state = w;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static int free_world(void **state)
{
	struct world *w = *state;

	source_free(w->source);
	files_free(w->files);
	loop_free(w->loop);
	for (size_t i = 0; i < w->n_log; i++)
		free(w->log[i]);
	nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}

static void begin(struct world *w)
{
	const struct source_manifests_options o = { .dir = w->dir, .node_name = NODE };
	struct err e = ERR_INIT;

	if (source_manifests_new(w->loop, w->files, &o, &sink, w, &w->source, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_int_equal(source_start(w->source, &e), 0);
}

#define POD_WEB                                                                                                        \
	"apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n"                                                    \
	"  volumes:\n  - name: a\n    secret: {secretName: db}\n"                                                      \
	"  containers:\n  - name: main\n    volumeMounts: [{name: a, mountPath: /a}]\n"
#define POD_WEB_BARE "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [{name: main}]\n"

/* ---- the tests ---- */

static void nothing_is_told_before_start_and_from_inside_a_call(void **state)
{
	struct world *w = *state;
	const struct source_manifests_options o = { .dir = w->dir, .node_name = NODE };
	struct err e = ERR_INIT;

	put(w, "web.yaml", POD_WEB);
	assert_int_equal(source_manifests_new(w->loop, w->files, &o, &sink, w, &w->source, &e), 0);
	assert_int_equal(source_start(w->source, &e), 0);
	want(w, "db");
	assert_int_equal(w->n_log, 0);
	expect(w, "pod default/web 1 volumes");
	expect(w, "synced");
	expect(w, "secret default/db absent");
}

static void a_folder_that_is_none_is_refused_by_name(void **state)
{
	struct world *w = *state;
	struct source_manifests_options o = { .dir = "/nonexistent/manifests", .node_name = NODE };
	cleanup_free char *file = path_in(w, "file.yaml");
	struct err e = ERR_INIT;

	assert_int_equal(source_manifests_new(w->loop, w->files, &o, &sink, w, &w->source, &e), -ENOENT);
	assert_string_equal(err_text(&e), "manifests folder /nonexistent/manifests: No such file or directory");
	put(w, "file.yaml", POD_WEB);
	o.dir = file;
	assert_int_equal(source_manifests_new(w->loop, w->files, &o, &sink, w, &w->source, &e), -ENOTDIR);
	assert_non_null(strstr(err_text(&e), file));
	assert_null(w->source);
}

/* Whoever removes what no pod wants must not do so when it knows the first of them. */
static void synced_is_said_when_all_pods_are_told(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 3; i++) {
		cleanup_free char *file = str_format("p%d.yaml", i),
				  *pod = str_format("apiVersion: v1\nkind: Pod\nmetadata: {name: p%d}\n"
						    "spec:\n  containers: [{name: main}]\n",
						    i);

		put(w, file, pod);
	}
	begin(w);
	for (int i = 0; i < 3; i++)
		expect(w, "pod default/p...");
	expect(w, "synced");
	assert_false(w->synced_early);
	assert_true(health(w).pods_synced);
}

/* Each call of the sink may cost as much as the setting up of a pod, and the keeper waits for a sign of life of the loop. */
static void of_hundreds_of_objects_only_some_are_told_in_one_turn(void **state)
{
	struct world *w = *state;
	cleanup_buf struct buf b = BUF_INIT(1 << 20);
	size_t n_before, i;

	for (i = 0; i < 240; i++)
		assert_int_equal(buf_printf(&b,
					    "{apiVersion: v1, kind: Pod, metadata: {name: p%zu}, spec: {containers: "
					    "[{name: main}]}}\n---\n"
					    "{apiVersion: v1, kind: Secret, metadata: {name: s%zu}}\n---\n",
					    i, i),
				 0);
	put(w, "all.yaml", b.data);
	begin(w);
	for (i = 0; i < 240; i++) {
		cleanup_free char *name = str_format("s%zu", i);

		want(w, name);
	}
	while (w->n_log < 481) {
		n_before = w->n_log;
		assert_true(loop_run_once(w->loop, DEADLINE_USEC) > 0);
		assert_true(w->n_log - n_before <= MANIFEST_SET_TOLD_MAX + 1);
		assert_int_equal(health(w).pods_synced, w->n_log > 240);
	}
	assert_true(str_starts(w->log[239], "pod "));
	assert_string_equal(w->log[240], "synced");
	assert_false(w->synced_early);
	assert_true(str_starts(w->log[241], "secret "));
}

/* Those for which there is no room are named, and come as soon as there is. */
static void manifests_that_are_too_much_together_are_refused_and_come_later(void **state)
{
	struct world *w = *state;
	cleanup_buf struct buf b = BUF_INIT(4 << 20);

	for (int c = 'a'; c <= 'c'; c++) {
		char file[] = { (char)c, '.', 'y', 'a', 'm', 'l', 0 };

		buf_clear(&b);
		for (size_t i = 0; i < 8000; i++)
			assert_int_equal(
				buf_printf(&b, "--- {apiVersion: v1, kind: Secret, metadata: {name: %c%zu}}\n", c, i),
				0);
		put(w, file, b.data);
	}
	begin(w);
	expect(w, "synced");
	assert_int_equal(health(w).n_rejected, 1);
	assert_non_null(strstr(health(w).last_error,
			       "/c.yaml: no room for its 8000 objects: all manifests together may "
			       "have 20000, and the others have 16000"));
	want(w, "a0");
	expect(w, "secret default/a0");
	want(w, "c0");
	expect(w, "secret default/c0 absent");
	/* what was good stays when a file grows out of it */
	want(w, "d");
	expect(w, "secret default/d absent");
	put_secret(w, "d.yaml", "d", "one");
	expect(w, "secret default/d k=one");
	buf_clear(&b);
	for (size_t i = 0; i < 8000; i++)
		assert_int_equal(buf_printf(&b, "--- {apiVersion: v1, kind: Secret, metadata: {name: d%zu}}\n", i), 0);
	put(w, "d.yaml", b.data);
	wait_for_rejected(w, 2);
	expect(w, "failed default/d ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "/d.yaml: no room for its 8000 objects"));
	put_secret(w, "d.yaml", "d", "one");
	wait_for_rejected(w, 1);
	drop(w, "a.yaml");
	expect(w, "secret default/d k=one");
	expect(w, "secret default/a0 absent");
	expect(w, "secret default/c0");
	assert_int_equal(health(w).n_rejected, 0);
}

/* Both names count until the old one is found to be gone: what is in the file does not go for a moment. */
static void file_that_is_renamed_near_the_bound_takes_nothing_away(void **state)
{
	struct world *w = *state;
	cleanup_buf struct buf b = BUF_INIT(4 << 20);

	for (const char *c = "mz"; *c; c++) {
		char file[] = { *c, '.', 'y', 'a', 'm', 'l', 0 };

		buf_clear(&b);
		if (*c == 'z')
			assert_int_equal(buf_add_str(&b, POD_WEB), 0);
		for (size_t i = 0; i < 7500; i++)
			assert_int_equal(
				buf_printf(&b, "--- {apiVersion: v1, kind: Secret, metadata: {name: %c%zu}}\n", *c, i),
				0);
		put(w, file, b.data);
	}
	begin(w);
	expect(w, "pod default/web 1 volumes");
	expect(w, "synced");
	want(w, "z0");
	expect(w, "secret default/z0");
	move(w, "z.yaml", "a.yaml");
	expect_nothing(w);
	assert_int_equal(health(w).n_rejected, 0);
	/* and the new name is the one that counts */
	drop(w, "a.yaml");
	expect(w, "removed ...");
	expect(w, "secret default/z0 absent");
}

static void an_empty_folder_is_synced(void **state)
{
	struct world *w = *state;
	struct source_health h;

	begin(w);
	assert_false(health(w).pods_synced);
	expect(w, "synced");
	h = health(w);
	assert_true(h.pods_synced);
	assert_true(h.connected);
	assert_string_equal(h.kind, "manifests");
	assert_string_equal(h.location, w->dir);
	assert_string_equal(h.last_error, "");
	assert_int_equal(h.n_watches, 1);
	assert_true(h.last_contact_usec > 0);
}

static void files_that_come_change_and_go_are_told(void **state)
{
	struct world *w = *state;

	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db absent");
	put(w, "web.yaml", POD_WEB);
	expect(w, "pod default/web 1 volumes");
	put_secret(w, "db.yaml", "db", "one");
	expect(w, "secret default/db k=one");
	put_secret(w, "db.yaml", "db", "two");
	expect(w, "secret default/db k=two");
	put(w, "web.yaml", POD_WEB_BARE);
	expect(w, "pod default/web 0 volumes");
	drop(w, "db.yaml");
	expect(w, "secret default/db absent");
	drop(w, "web.yaml");
	expect(w, "removed ...");
	expect_nothing(w);
	put_secret(w, "db.yaml", "db", "three");
	expect(w, "secret default/db k=three");
	move(w, "db.yaml", ".away");
	expect(w, "secret default/db absent");
}

static void an_object_that_vanishes_from_its_file_is_removed(void **state)
{
	struct world *w = *state;

	put(w, "all.yaml",
	    "# two\napiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {k: A}\n---\n# nothing here\n---\n"
	    "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\nstringData: {k: B}\n...\n");
	begin(w);
	expect(w, "synced");
	want(w, "a");
	expect(w, "secret default/a k=A");
	want(w, "b");
	expect(w, "secret default/b k=B");
	put_secret(w, "all.yaml", "b", "B");
	expect(w, "secret default/a absent");
	expect_nothing(w);
}

static void a_config_map_is_told_as_a_secret_is(void **state)
{
	struct world *w = *state;

	put(w, "cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: A}\n");
	put_secret(w, "secret.yaml", "a", "hidden");
	begin(w);
	expect(w, "synced");
	assert_int_equal(source_want(w->source, OBJECT_CONFIG_MAP, "default", "a"), 0);
	expect(w, "configmap default/a k=A");
	put(w, "cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: B}\nimmutable: true\n");
	expect(w, "configmap default/a k=B");
	put(w, "cm.yaml",
	    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nbinaryData: {k: Qw==}\nimmutable: true\n");
	expect(w, "failed default/a ...");
	drop(w, "cm.yaml");
	expect(w, "configmap default/a absent");
	put_secret(w, "secret.yaml", "a", "hidden as before");
	expect_nothing(w);
}

static void unwanted_secrets_are_not_told(void **state)
{
	struct world *w = *state;

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	expect_nothing(w);
	want(w, "db");
	expect(w, "secret default/db k=one");
	source_unwant(w->source, OBJECT_SECRET, "default", "db");
	put_secret(w, "db.yaml", "db", "two");
	expect_nothing(w);
}

static void the_same_content_again_is_not_told(void **state)
{
	struct world *w = *state;

	put(w, "web.yaml", POD_WEB);
	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "pod default/web 1 volumes");
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	put(w, "web.yaml", "# a comment\n" POD_WEB);
	put(w, "db.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\ndata: {k: b25l}\n");
	expect_nothing(w);
}

static void refresh_reads_again_and_answers(void **state)
{
	struct world *w = *state;

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	assert_int_equal(source_refresh(w->source, OBJECT_SECRET, "default", "db"), -ENOENT);
	want(w, "db");
	expect(w, "secret default/db k=one");
	assert_int_equal(source_refresh(w->source, OBJECT_SECRET, "default", "db"), 0);
	expect(w, "secret default/db k=one");
}

static void refresh_sees_what_nobody_tells(void **state)
{
	struct world *w = *state;

	/* a link's target is not watched */
	put_secret(w, ".target", "db", "one");
	make_link(w, ".target", "db.yaml");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	close(begin_writing(w, ".target",
			    "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {k: two}\n"));
	for (int i = 0; i < 3; i++)
		assert_true(loop_run_once(w->loop, 20 * USEC_PER_MSEC) >= 0);
	assert_int_equal(w->n_log, w->n_seen);
	assert_int_equal(source_refresh(w->source, OBJECT_SECRET, "default", "db"), 0);
	expect(w, "secret default/db k=two");
}

static void the_newest_problem_is_shown(void **state)
{
	static const char bad[] = "apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\ndata: {k: '%s'}\n";
	struct world *w = *state;
	cleanup_free char *a = str_format(bad, "a", "?"), *b = str_format(bad, "b", "?"),
			  *c = str_format(bad, "c", "?"), *again = str_format(bad, "b", "', x*: '");

	begin(w);
	expect(w, "synced");
	put(w, "b.yaml", b);
	wait_for_rejected(w, 1);
	put(w, "a.yaml", a);
	wait_for_rejected(w, 2);
	assert_non_null(strstr(health(w).last_error, "/a.yaml:4:11: secret default/a: "));
	put(w, "c.yaml", c);
	wait_for_rejected(w, 3);
	assert_non_null(strstr(health(w).last_error, "/c.yaml:4:11: secret default/c: "));
	put(w, "c.yaml", "");
	wait_for_rejected(w, 2);
	assert_non_null(strstr(health(w).last_error, "/a.yaml:4:11: secret default/a: "));
	/* another reason makes it new */
	put(w, "b.yaml", again);
	eventually(w, strstr(health(w).last_error, "/b.yaml:"));
}

static void log_to(const char *path, enum log_level level, int *ret_before)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	*ret_before = dup(STDERR_FILENO);
	assert_true(*ret_before >= 0);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
	log_set_level(level);
}

static void log_back(int before)
{
	log_set_level(LOG_LEVEL_ERROR);
	assert_int_equal(dup2(before, STDERR_FILENO), STDERR_FILENO);
	close(before);
}

static size_t count(const char *text, const char *words)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, words)); at++)
		n++;
	return n;
}

/* The log is no place for thousands of lines, nor for what was said already. */
static void of_many_refusals_some_are_logged_and_once(void **state)
{
	struct world *w = *state;
	cleanup_free char *log = path_in(w, "log"), *text = NULL;
	struct buf b = BUF_INIT(65536);
	int before;

	for (int i = 0; i < 100; i++)
		assert_int_equal(buf_printf(&b,
					    "apiVersion: v1\nkind: Secret\nmetadata: {name: s%d}\ndata: {k: '?'}\n"
					    "---\n",
					    i),
				 0);
	begin(w);
	expect(w, "synced");
	log_to(log, LOG_LEVEL_WARNING, &before);
	put(w, "bad.yaml", b.data);
	wait_for_rejected(w, 100);
	assert_int_equal(buf_add_str(&b, "apiVersion: v1\nkind: Deployment\n"), 0);
	put(w, "bad.yaml", b.data);
	wait_for_rejected(w, 101);
	log_back(before);
	text = text_of(log);
	assert_int_equal(count(text, "illegal base64 data"), 20);
	assert_int_equal(count(text, "/bad.yaml: 80 more refusals and warnings"), 1);
	assert_int_equal(count(text, "Deployment"), 1);
	assert_int_equal(count(text, "\n"), 22);
	buf_deinit(&b);
}

static void of_many_files_that_fail_some_are_logged_and_once(void **state)
{
	struct world *w = *state;
	cleanup_free char *log = path_in(w, "log"), *text = NULL;
	char file[32];
	int before;

	begin(w);
	expect(w, "synced");
	log_to(log, LOG_LEVEL_WARNING, &before);
	for (int i = 0; i < 50; i++) {
		snprintf(file, sizeof(file), "%d.yaml", i);
		put(w, file, "kind: [");
	}
	expect_nothing(w);
	assert_int_equal(health(w).n_rejected, 50);
	put(w, "49.yaml", "kind: [");
	put(w, "50.yaml", "kind: [");
	expect_nothing(w);
	assert_int_equal(health(w).n_rejected, 51);
	log_back(before);
	text = text_of(log);
	assert_int_equal(count(text, ".yaml:2:1: "), 21);
	assert_int_equal(count(text, "/50.yaml:2:1: "), 1);
	assert_int_equal(count(text, "manifests: 30 more refusals"), 1);
	assert_int_equal(count(text, "\n"), 22);
}

static void changes_that_follow_each_other_are_one(void **state)
{
	struct world *w = *state;
	bool together = false;

	begin(w);
	expect(w, "synced");
	want(w, "a");
	expect(w, "secret default/a absent");
	want(w, "b");
	expect(w, "secret default/b absent");
	/* a slow machine may take longer between the two than is waited for: then once more */
	for (int i = 0; i < 50 && !together; i++) {
		char value[16];

		snprintf(value, sizeof(value), "%d", i);
		put_secret(w, "a.yaml", "a", value);
		for (int k = 0; k < 3; k++)
			assert_true(loop_run_once(w->loop, 0) >= 0);
		put_secret(w, "b.yaml", "b", value);
		eventually(w, w->n_log > w->n_seen);
		together = w->n_log == w->n_seen + 2;
		eventually(w, w->n_log >= w->n_seen + 2);
		w->n_seen = w->n_log;
	}
	assert_true(together);
}

static void a_folder_that_never_rests_is_read_all_the_same(void **state)
{
	struct world *w = *state;

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	put_secret(w, "db.yaml", "db", "two");
	for (int i = 0; i < 200 && w->n_log == w->n_seen; i++) {
		put_secret(w, "noise.yaml", "noise", "x");
		usleep(1000);
		assert_true(loop_run_once(w->loop, 0) >= 0);
	}
	assert_int_equal(w->n_log, w->n_seen + 1);
	expect(w, "secret default/db k=two");
}

static void a_file_is_read_when_its_writer_has_closed_it(void **state)
{
	struct world *w = *state;
	int fd;

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");

	fd = begin_writing(w, "db.yaml", HALF);
	expect_nothing(w);
	assert_int_equal(file_write_all(fd, "stringData: {k: two}\n", 21), 0);
	expect_nothing(w);
	close(fd);
	expect(w, "secret default/db k=two");

	/* a new file, too */
	want(w, "new");
	expect(w, "secret default/new absent");
	fd = begin_writing(w, "new.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: new}\n");
	expect_nothing(w);
	assert_int_equal(file_write_all(fd, "stringData: {k: new}\n", 21), 0);
	close(fd);
	expect(w, "secret default/new k=new");
	assert_int_equal(health(w).n_rejected, 0);
}

/* rm x; cmd > x: the end of the one is no sign that the other is complete. Half a list of pods is one that takes
 * some away. */
static void a_file_that_is_made_anew_is_read_when_its_writer_has_closed_it(void **state)
{
	struct world *w = *state;
	int fd, fd_too;

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");

	/* the loop does not run meanwhile: one batch */
	drop(w, "db.yaml");
	fd = begin_writing(w, "db.yaml", HALF);
	expect_nothing(w);
	/* nor is it read because all are */
	assert_int_equal(source_refresh(w->source, OBJECT_SECRET, "default", "db"), 0);
	expect(w, "secret default/db k=one");
	expect_nothing(w);
	assert_int_equal(file_write_all(fd, "stringData: {k: two}\n", 21), 0);
	close(fd);
	expect(w, "secret default/db k=two");

	/* what was closed before is another one */
	close(begin_writing(w, "db.yaml", HALF));
	drop(w, "db.yaml");
	fd = begin_writing(w, "db.yaml", HALF);
	expect_nothing(w);
	assert_int_equal(file_write_all(fd, "stringData: {k: three}\n", 23), 0);
	close(fd);
	expect(w, "secret default/db k=three");

	/* nor does the close of one that has lost its name count for it */
	fd_too = begin_writing(w, "db.yaml", HALF);
	drop(w, "db.yaml");
	fd = begin_writing(w, "db.yaml", HALF);
	close(fd_too);
	expect_nothing(w);
	assert_int_equal(file_write_all(fd, "stringData: {k: four}\n", 22), 0);
	close(fd);
	expect(w, "secret default/db k=four");
	/* gone for good */
	drop(w, "db.yaml");
	close(begin_writing(w, "db.yaml", HALF));
	drop(w, "db.yaml");
	expect(w, "secret default/db absent");
}

/* What is not told by then counts as what is not there: pods that an earlier agent has shown would lose their
 * volumes. */
static void a_file_that_is_being_written_at_the_start_is_not_taken_for_none(void **state)
{
	struct world *w = *state;
	int fd;

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	drop(w, "db.yaml");
	fd = begin_writing(w, "db.yaml", HALF);
	expect(w, "synced");
	assert_int_equal(health(w).n_rejected, 1);
	assert_non_null(strstr(health(w).last_error, "db.yaml: is being written"));
	want(w, "db");
	expect(w, "secret default/db absent");
	assert_int_equal(file_write_all(fd, "stringData: {k: two}\n", 21), 0);
	close(fd);
	expect(w, "secret default/db k=two");
	assert_int_equal(health(w).n_rejected, 0);
}

static void a_refused_object_keeps_its_last_good_version(void **state)
{
	struct world *w = *state;
	cleanup_free char *reason =
		str_format("%s/db.yaml:5:5: secret default/db: data.k: illegal base64 data", w->dir);
	cleanup_free char *line = str_format("failed default/db %s", reason);

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	put(w, "db.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\ndata:\n k: \"~~~\"\n");
	expect(w, line);
	assert_int_equal(health(w).n_rejected, 1);
	assert_string_equal(health(w).last_error, reason);
	/* the same refusal again is no news */
	put(w, "db.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\ndata:\n k: \"~~~\"\n#\n");
	expect_nothing(w);
	/* corrected: told even though the bytes are the old ones */
	put_secret(w, "db.yaml", "db", "one");
	expect(w, "secret default/db k=one");
	assert_int_equal(health(w).n_rejected, 0);
	assert_string_equal(health(w).last_error, "");
}

static void the_others_in_a_file_are_not_held_up_by_a_refused_one(void **state)
{
	struct world *w = *state;

	put(w, "all.yaml",
	    "apiVersion: v1\nkind: Secret\nmetadata: {name: bad}\nstringData: {'a*b': x}\n---\n"
	    "apiVersion: v1\nkind: Secret\nmetadata: {name: good}\nstringData: {k: x}\n---\n"
	    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: good}\n---\n"
	    "just words\n");
	begin(w);
	expect(w, "synced");
	want(w, "good");
	expect(w, "secret default/good k=x");
	want(w, "bad");
	expect(w, "failed default/bad ...");
	assert_non_null(
		strstr(w->log[w->n_seen - 1], "all.yaml:4:21: secret default/bad: stringData[a*b]: Invalid value"));
	assert_int_equal(health(w).n_rejected, 3);
}

static void a_file_that_is_no_yaml_keeps_what_it_gave(void **state)
{
	struct world *w = *state;
	cleanup_free char *line = str_format("failed default/db %s/db.yaml:1:7: ...", w->dir);

	put_secret(w, "db.yaml", "db", "one");
	put(w, "web.yaml", POD_WEB);
	begin(w);
	expect(w, "pod default/web 1 volumes");
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	put(w, "db.yaml", "kind: \x01\x02");
	expect(w, line);
	put(w, "web.yaml", "kind: [");
	expect_nothing(w);
	assert_int_equal(health(w).n_rejected, 2);
	put(w, "web.yaml", POD_WEB);
	expect_nothing(w);
	assert_int_equal(health(w).n_rejected, 1);
	/* without any bytes it is YAML: the file gives nothing any more */
	put(w, "db.yaml", "");
	expect(w, "secret default/db absent");
	assert_int_equal(health(w).n_rejected, 0);
}

static void an_object_in_two_files_changes_nothing(void **state)
{
	struct world *w = *state;

	put_secret(w, "b.yaml", "db", "from b");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=from b");
	put_secret(w, "a.yaml", "db", "from a");
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "/a.yaml:1:1: secret default/db: is in "));
	assert_non_null(strstr(w->log[w->n_seen - 1], "/b.yaml:1 as well; none of them is taken"));
	assert_int_equal(health(w).n_rejected, 2);
	/* whatever happens in the two of them */
	put_secret(w, "b.yaml", "db", "from b again");
	expect_nothing(w);
	put_secret(w, "c.yaml", "db", "from c");
	expect_nothing(w);
	assert_int_equal(health(w).n_rejected, 3);
	drop(w, "c.yaml");
	expect_nothing(w);
	drop(w, "a.yaml");
	expect(w, "secret default/db k=from b again");
	expect_nothing(w);
	assert_int_equal(health(w).n_rejected, 0);
}

static void an_object_that_two_files_have_from_the_start_is_not_served(void **state)
{
	struct world *w = *state;

	put_secret(w, "a.yaml", "db", "from a");
	put_secret(w, "b.yaml", "db", "from b");
	put(w, "c.yaml", POD_WEB "---\n" POD_WEB);
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "failed default/db ...");
	assert_int_equal(health(w).n_rejected, 4);
	/* one that is refused in itself claims the name as well */
	put(w, "a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {k: 1}\n");
	expect(w, "failed default/db ...");
	assert_non_null(
		strstr(w->log[w->n_seen - 1], "/a.yaml:4:17: secret default/db: stringData.k: must be a string"));
	put(w, "c.yaml", POD_WEB);
	expect(w, "pod default/web 1 volumes");
	drop(w, "a.yaml");
	expect(w, "secret default/db k=from b");
	assert_int_equal(health(w).n_rejected, 0);
	/* the last good version of a file is kept for it, also when it was none that counted */
	put(w, "e.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: d}\nstringData: {k: from e}\n");
	put(w, "f.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: d}\nstringData: {k: from f}\n");
	wait_for_rejected(w, 2);
	want(w, "d");
	expect(w, "failed default/d ...");
	put(w, "e.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: d}\nstringData: {k: 1}\n");
	expect(w, "failed default/d ...");
	drop(w, "f.yaml");
	expect(w, "secret default/d k=from e");
	expect(w, "failed default/d ...");
}

static void a_field_that_has_no_effect_is_counted_and_not_refused(void **state)
{
	struct world *w = *state;

	put(w, "db.yaml",
	    "apiVersion: v1\nkind: Secret\nmetadata: {name: db, color: red}\nstringData: {k: one}\nextra: 1\n");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	assert_int_equal(health(w).n_rejected, 0);
	assert_int_equal(health(w).n_warnings, 2);
	put_secret(w, "db.yaml", "db", "one");
	expect_nothing(w);
	assert_int_equal(health(w).n_warnings, 0);
}

static void a_secret_that_was_never_good_fails_until_it_is(void **state)
{
	struct world *w = *state;

	put(w, "db.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\ntype: kubernetes.io/tls\n");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "data[tls.crt]: Required value"));
	/* another reason is told */
	put(w, "db.yaml",
	    "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\ntype: kubernetes.io/tls\nstringData: {tls.crt: ''}\n");
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "data[tls.key]: Required value"));
	put_secret(w, "db.yaml", "db", "one");
	expect(w, "secret default/db k=one");
	/* gone is another thing than refused */
	put(w, "db.yaml", "# nothing\n");
	expect(w, "secret default/db absent");
}

static void an_object_that_moves_to_another_file_is_never_missing(void **state)
{
	struct world *w = *state;
	cleanup_free char *from = path_in(w, "b.yaml"), *to = path_in(w, "a.yaml");

	put(w, "b.yaml", POD_WEB);
	begin(w);
	expect(w, "pod default/web 1 volumes");
	expect(w, "synced");
	assert_int_equal(rename(from, to), 0);
	expect_nothing(w);
}

/* Of what is to be read, the first event is told at once, the others the next time. */
static struct {
	bool on;
	int fd;
	size_t len;
	char text[4096];
} torn = { .fd = -1 };

/* In front of libc's. */
ssize_t read(int fd, void *data, size_t size)
{
	const struct inotify_event *first = data;
	ssize_t n;

	if (torn.len > 0 && fd == torn.fd) {
		assert_true(size >= torn.len);
		memcpy(data, torn.text, torn.len);
		n = (ssize_t)torn.len;
		torn.len = 0;
		return n;
	}
	n = syscall(SYS_read, fd, data, size);
	if (!torn.on || n < (ssize_t)sizeof(*first) || size < 4096)
		return n;
	torn.on = false;
	torn.fd = fd;
	torn.len = (size_t)n - sizeof(*first) - first->len;
	assert_true(torn.len > 0 && torn.len <= sizeof(torn.text));
	memcpy(torn.text, (const char *)data + n - torn.len, torn.len);
	return n - (ssize_t)torn.len;
}

static void a_rename_that_is_told_in_two_parts_takes_nothing_away(void **state)
{
	struct world *w = *state;

	put_secret(w, "a.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	torn.on = true;
	move(w, "a.yaml", "b.yaml");
	expect_nothing(w);
	assert_false(torn.on);
	/* over one that is known */
	put_secret(w, "a.yaml", "other", "two");
	expect_nothing(w);
	torn.on = true;
	move(w, "b.yaml", "a.yaml");
	expect_nothing(w);
	assert_false(torn.on);
}

static void an_immutable_secret_stays(void **state)
{
	static const char text[] =
		"apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nimmutable: %s\nstringData: {k: %s}\n";
	struct world *w = *state;
	cleanup_free char *one = str_format(text, "true", "one"), *two = str_format(text, "true", "two"),
			  *open = str_format(text, "false", "one");

	put(w, "db.yaml", one);
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	put(w, "db.yaml", two);
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1],
			       "secret default/db: data: Forbidden: field is immutable when `immutable` is set"));
	put(w, "db.yaml", open);
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "secret default/db: immutable: Forbidden: field is immutable"));
	/* deleted and made anew is another matter */
	drop(w, "db.yaml");
	expect(w, "secret default/db absent");
	put(w, "db.yaml", two);
	expect(w, "secret default/db k=two");
}

static void the_type_of_a_secret_stays(void **state)
{
	struct world *w = *state;

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	put(w, "db.yaml",
	    "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\ntype: example.com/x\nstringData: {k: two}\n");
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "type: Invalid value: \"example.com/x\": field is immutable"));
}

static void a_pod_of_another_node_is_not_ours(void **state)
{
	struct world *w = *state;

	put(w, "web.yaml",
	    "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {nodeName: other, containers: [{name: c}]}\n");
	begin(w);
	expect(w, "synced");
	put(w, "web.yaml",
	    "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {nodeName: " NODE ", containers: [{name: c}]}\n");
	expect(w, "pod default/web 0 volumes");
	put(w, "web.yaml",
	    "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {nodeName: other, containers: [{name: c}]}\n");
	expect(w, "removed ...");
	drop(w, "web.yaml");
	expect_nothing(w);
}

static void a_uid_is_taken_and_belongs_to_one_pod(void **state)
{
	static const char text[] =
		"apiVersion: v1\nkind: Pod\nmetadata: {name: %s, uid: %s}\nspec: {containers: [{name: c}]}\n";
	struct world *w = *state;
	cleanup_free char *one = str_format(text, "one", "11111111-2222"),
			  *two = str_format(text, "two", "11111111-2222"),
			  *other = str_format(text, "one", "33333333-4444");

	put(w, "one.yaml", one);
	begin(w);
	expect(w, "pod default/one 0 volumes");
	expect(w, "synced");
	put(w, "two.yaml", two);
	expect_nothing(w);
	assert_non_null(
		strstr(health(w).last_error, "pod default/two: metadata.uid: is the uid of pod default/one as well"));
	put(w, "one.yaml", other);
	expect(w, "removed 11111111-2222");
	/* in no order */
	eventually(w, w->n_log >= w->n_seen + 2);
	w->n_seen += 2;
	expect_nothing(w);
	drop(w, "one.yaml");
	expect(w, "removed 33333333-4444");
}

static void links_are_followed_and_may_be_swapped(void **state)
{
	struct world *w = *state;
	cleanup_free char *v1 = path_in(w, "..v1"), *v2 = path_in(w, "..v2"), *data = path_in(w, "..data"),
			  *tmp = path_in(w, "..data_tmp"), *link = path_in(w, "db.yaml"),
			  *dangling = path_in(w, "no.yaml");

	/* as a mounted ConfigMap looks */
	assert_int_equal(mkdir(v1, 0755), 0);
	assert_int_equal(mkdir(v2, 0755), 0);
	put_secret(w, "..v1/db.yaml", "db", "one");
	put_secret(w, "..v2/db.yaml", "db", "two");
	assert_int_equal(symlink("..v1", data), 0);
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db absent");
	assert_int_equal(symlink("..data/db.yaml", link), 0);
	expect(w, "secret default/db k=one");
	assert_int_equal(symlink("..v2", tmp), 0);
	assert_int_equal(rename(tmp, data), 0);
	expect(w, "secret default/db k=two");
	assert_int_equal(symlink("nothing", dangling), 0);
	expect_nothing(w);
	assert_int_equal(health(w).n_rejected, 1);
	assert_non_null(strstr(health(w).last_error, "/no.yaml: is a link that leads to nothing"));
	drop(w, "no.yaml");
	expect_nothing(w);
	assert_int_equal(health(w).n_rejected, 0);
}

static void a_switch_is_one_change(void **state)
{
	struct world *w = *state;
	uint64_t n_requests;

	make_folder(w, "..v1");
	make_folder(w, "..v2");
	put_secret(w, "..v1/a.yaml", "a", "one");
	put_secret(w, "..v1/b.yaml", "b", "one");
	put_secret(w, "..v2/a.yaml", "a", "two");
	put_secret(w, "..v2/b.yaml", "b", "two");
	switch_data(w, "..v1");
	make_link(w, "..data/a.yaml", "a.yaml");
	make_link(w, "..data/b.yaml", "b.yaml");
	begin(w);
	expect(w, "synced");
	want(w, "a");
	want(w, "b");
	expect(w, "secret default/a k=one");
	expect(w, "secret default/b k=one");
	n_requests = health(w).n_requests;
	switch_data(w, "..v2");
	eventually(w, w->n_log > w->n_seen);
	/* both at once, and each was read once */
	assert_int_equal(w->n_log, w->n_seen + 2);
	assert_int_equal(health(w).n_requests, n_requests + 2);
	w->n_seen += 2;
	expect_nothing(w);
}

#define N_SWITCHED 40 /* more than are opened at one time */

static void a_switch_while_files_are_being_read_is_not_seen_half(void **state)
{
	struct world *w = *state;
	char name[64], target[64];

	make_folder(w, "..v1");
	make_folder(w, "..v2");
	switch_data(w, "..v1");
	for (int i = 0; i < N_SWITCHED; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		snprintf(target, sizeof(target), "..v1/%d.yaml", i);
		put_secret(w, target, name, "one");
		snprintf(target, sizeof(target), "..v2/%d.yaml", i);
		put_secret(w, target, name, "two");
		snprintf(target, sizeof(target), "..data/%d.yaml", i);
		make_link(w, target, strrchr(target, '/') + 1);
	}
	begin(w);
	for (int i = 0; i < N_SWITCHED; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		want(w, name);
	}
	eventually(w, health(w).n_requests > N_SWITCHED / 2);
	assert_true(health(w).n_requests < N_SWITCHED);
	switch_data(w, "..v2");
	expect(w, "synced");
	/* in no order */
	assert_int_equal(w->n_log, w->n_seen + N_SWITCHED);
	for (; w->n_seen < w->n_log; w->n_seen++)
		assert_non_null(strstr(w->log[w->n_seen], " k=two"));
	expect_nothing(w);
}

/* A key of the ConfigMap gets another name: between the switch and the last step both links, or none, may be good. */
static void an_object_that_moves_with_a_switch_is_never_missing(void **state)
{
	struct world *w = *state;

	make_folder(w, "..v1");
	make_folder(w, "..v2");
	put_secret(w, "..v1/old.yaml", "db", "one");
	put_secret(w, "..v2/new.yaml", "db", "two");
	switch_data(w, "..v1");
	make_link(w, "..data/old.yaml", "old.yaml");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	switch_data(w, "..v2");
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "/old.yaml: is a link that leads to nothing"));
	make_link(w, "..data/new.yaml", "new.yaml");
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "/old.yaml:1 as well; none of them is taken"));
	drop(w, "old.yaml");
	expect(w, "secret default/db k=two");
	expect_nothing(w);
	assert_int_equal(health(w).n_rejected, 0);
}

static void what_cannot_be_opened_or_is_too_large_keeps_what_it_gave(void **state)
{
	struct world *w = *state;
	cleanup_free char *db = path_in(w, "db.yaml"), *huge = path_in(w, "huge.yaml");

	put_secret(w, "db.yaml", "db", "one");
	put_secret(w, "huge.yaml", "huge", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	want(w, "huge");
	expect(w, "secret default/db k=one");
	expect(w, "secret default/huge k=one");
	/* a link to itself cannot be opened, not even by root */
	drop(w, "db.yaml");
	make_link(w, "db.yaml", "db.yaml");
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "/db.yaml: Too many levels of symbolic links"));
	close(begin_writing(w, "huge.yaml", "#"));
	expect(w, "secret default/huge absent");
	put_secret(w, "huge.yaml", "huge", "two");
	expect(w, "secret default/huge k=two");
	assert_int_equal(truncate(huge, (16 << 20) + 1), 0);
	close(open(huge, O_WRONLY | O_CLOEXEC));
	expect(w, "failed default/huge ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "/huge.yaml: has more than 16777216 bytes"));
	assert_int_equal(health(w).n_rejected, 2);
}

#define N_MANY 5000

static void of_thousands_of_files_only_the_changed_one_is_read(void **state)
{
	struct world *w = *state;
	char file[32], text[128];

	for (int i = 0; i < N_MANY; i++) {
		snprintf(file, sizeof(file), "%d.yaml", i);
		snprintf(text, sizeof(text),
			 "apiVersion: v1\nkind: Secret\nmetadata: {name: s%d}\nstringData: {k: one}\n", i);
		close(begin_writing(w, file, text));
	}
	begin(w);
	expect(w, "synced");
	assert_int_equal(health(w).n_requests, N_MANY);
	want(w, "s4321");
	expect(w, "secret default/s4321 k=one");
	put_secret(w, "4321.yaml", "s4321", "two");
	expect(w, "secret default/s4321 k=two");
	assert_int_equal(health(w).n_requests, N_MANY + 1);
	/* where no link is, the renaming of other things is nothing to anybody */
	put(w, "notes.txt", "not a manifest");
	drop(w, "4321.yaml");
	expect(w, "secret default/s4321 absent");
	/* it was looked for once more, the others were not */
	assert_int_equal(health(w).n_requests, N_MANY + 2);
	assert_int_equal(health(w).n_rejected, 0);
}

static void a_second_name_of_a_file_is_read_at_once(void **state)
{
	struct world *w = *state;
	cleanup_free char *hidden = path_in(w, ".hidden"), *name = path_in(w, "db.yaml");

	put_secret(w, ".hidden", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db absent");
	assert_int_equal(link(hidden, name), 0);
	expect(w, "secret default/db k=one");
}

/* It looks as if a writer had just begun, who will never be heard of again. */
static void a_file_whose_other_name_goes_is_read(void **state)
{
	struct world *w = *state;
	cleanup_free char *hidden = path_in(w, ".hidden"), *name = path_in(w, "db.yaml");
	int fd;

	put_secret(w, ".hidden", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db absent");
	assert_int_equal(link(hidden, name), 0);
	drop(w, ".hidden");
	expect(w, "secret default/db k=one");

	/* one that has none at first */
	want(w, "other");
	expect(w, "secret default/other absent");
	drop(w, "db.yaml");
	expect(w, "secret default/db absent");
	fd = open(w->dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (fd >= 0) { /* the file system can do that */
		static const char text[] =
			"{apiVersion: v1, kind: Secret, metadata: {name: other}, stringData: {k: two}}";
		cleanup_free char *magic = str_format("/proc/self/fd/%d", fd), *other = path_in(w, "other.yaml");

		assert_int_equal(file_write_all(fd, text, sizeof(text) - 1), 0);
		assert_int_equal(linkat(AT_FDCWD, magic, AT_FDCWD, other, AT_SYMLINK_FOLLOW), 0);
		close(fd);
		expect(w, "secret default/other k=two");
	}
}

/* As long as it goes on, however long that takes. */
static void a_file_whose_writer_goes_on_is_not_read(void **state)
{
	struct world *w = *state;
	uint64_t until_usec;
	int fd;

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "new");
	expect(w, "secret default/new absent");
	fd = begin_writing(w, "new.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: new}\n");
	until_usec = clock_monotonic_usec() + 7 * USEC_PER_SEC;
	while (clock_monotonic_usec() < until_usec) {
		assert_int_equal(file_write_all(fd, "#\n", 2), 0);
		assert_true(loop_run_once(w->loop, USEC_PER_SEC) >= 0);
	}
	assert_int_equal(w->n_log, w->n_seen);
	assert_int_equal(file_write_all(fd, "stringData: {k: new}\n", 21), 0);
	close(fd);
	expect(w, "secret default/new k=new");
}

static void only_manifest_names_are_read(void **state)
{
	static const char *const names[] = {
		".db.yaml", "db.yaml~", "db.yaml.swp", "db.txt", "README", ".yaml", "4913"
	};
	struct world *w = *state;
	cleanup_free char *sub = path_in(w, "sub.yaml");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		put_secret(w, names[i], "db", "wrong");
	assert_int_equal(mkdir(sub, 0755), 0);
	put_secret(w, "sub.yaml/db.yaml", "db", "wrong");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db absent");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		put_secret(w, names[i], "db", "wrong still");
	make_folder(w, "late.yaml");
	put_secret(w, "late.yaml/db.yaml", "db", "wrong");
	expect_nothing(w);
	assert_int_equal(health(w).n_rejected, 0);
	put_secret(w, "db.yml", "db", "right");
	expect(w, "secret default/db k=right");
	drop(w, "db.yml");
	expect(w, "secret default/db absent");
	put(w, "db.json",
	    "{\n\t\"apiVersion\": \"v1\", \"kind\": \"Secret\",\n\t\"metadata\": {\"name\": \"db\"}, "
	    "\"data\": {\"k\": \"anNvbg==\"}\n}\n");
	expect(w, "secret default/db k=json");
}

static void what_is_no_regular_file_is_refused(void **state)
{
	struct world *w = *state;
	cleanup_free char *fifo = path_in(w, "fifo.yaml"), *dir = path_in(w, "dir"), *link = path_in(w, "link.yaml");

	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(symlink("dir", link), 0);
	begin(w);
	expect(w, "synced");
	assert_int_equal(health(w).n_rejected, 2);
	assert_non_null(strstr(health(w).last_error, "is not a regular file"));
}

static void put_sealed(struct world *w, const struct sealing_public *to, const char *name, const char *value)
{
	cleanup_free char *sealed = NULL, *text = NULL;

	assert_int_equal(sealing_seal(to, "default", name, "k", value, strlen(value), &sealed), 0);
	text = str_format("apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nsealedData:\n  k: %s\n", sealed);
	assert_non_null(text);
	put(w, "db.yaml", text);
}

static void sealed_values_are_opened_and_what_is_wrong_keeps_the_last_good(void **state)
{
	struct world *w = *state;
	cleanup_free char *private_path = path_in(w, "k"), *public_path = path_in(w, "p"),
			  *other_path = path_in(w, "k2"), *other_public = path_in(w, "p2");
	const struct source_manifests_options o = { .dir = w->dir, .key_file = private_path, .node_name = NODE };
	struct sealing_public to, other;
	struct err e = ERR_INIT;
	void *held = NULL;

	assert_int_equal(sealing_generate(private_path, public_path, &to, &e), 0);
	assert_int_equal(sealing_generate(other_path, other_public, &other, &e), 0);
	put_sealed(w, &to, "db", "one");
	assert_int_equal(source_manifests_new(w->loop, w->files, &o, &sink, w, &w->source, &e), 0);
	assert_int_equal(source_start(w->source, &e), 0);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	put_sealed(w, &to, "another", "two");
	expect(w, "failed default/db ...");
	assert_non_null(
		strstr(w->log[w->n_seen - 1],
		       "/db.yaml:5:6: secret default/db: sealedData.k: was sealed for a Secret of another name"));
	put_sealed(w, &other, "db", "two");
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "sealedData.k: is sealed to another public key than those"));
	/* sealed anew, the same value is no change */
	put_sealed(w, &to, "db", "one");
	expect(w, "secret default/db k=one");
	put_sealed(w, &to, "db", "one");
	expect_nothing(w);
	put_sealed(w, &to, "db", "two");
	expect(w, "secret default/db k=two");
	put_sealed(w, &to, "db", "three");
	secmem_fill(&held);
	expect(w, "failed default/db ...");
	secmem_empty(&held);
	assert_non_null(strstr(w->log[w->n_seen - 1], "sealedData.k: no memory for a secret of "));
	assert_int_equal(w->reason, REASON_SECRET_MEMORY_FULL);
}

static void without_a_key_sealed_values_are_refused(void **state)
{
	struct world *w = *state;
	cleanup_free char *private_path = path_in(w, "k"), *public_path = path_in(w, "p");
	struct source_manifests_options o = { .dir = w->dir, .key_file = private_path, .node_name = NODE };
	struct sealing_public to;
	struct err e = ERR_INIT;

	/* a key file that is configured has to be there */
	assert_int_equal(source_manifests_new(w->loop, w->files, &o, &sink, w, &w->source, &e), -ENOENT);
	assert_non_null(strstr(err_text(&e), private_path));
	assert_null(w->source);
	assert_int_equal(sealing_generate(private_path, public_path, &to, &e), 0);
	put_sealed(w, &to, "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "there is no private key (sealedSecretsKeyFile)"));
	source_reread(w->source);
	expect_nothing(w);
}

static void begin_with_key(struct world *w, const char *key_file)
{
	const struct source_manifests_options o = { .dir = w->dir, .key_file = key_file, .node_name = NODE };
	struct err e = ERR_INIT;

	if (source_manifests_new(w->loop, w->files, &o, &sink, w, &w->source, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_int_equal(source_start(w->source, &e), 0);
}

static void keys_that_change_open_what_could_not_be_opened(void **state)
{
	struct world *w = *state;
	cleanup_free char *private_path = path_in(w, "keys/k"), *public_path = path_in(w, "keys/p"),
			  *other_path = path_in(w, "k2"), *other_public = path_in(w, "p2"), *old = NULL, *both = NULL;
	struct sealing_public to, other;
	struct err e = ERR_INIT;
	uint64_t n_requests;
	int fd;

	make_folder(w, "keys");
	assert_int_equal(sealing_generate(private_path, public_path, &to, &e), 0);
	assert_int_equal(sealing_generate(other_path, other_public, &other, &e), 0);
	old = text_of(private_path);
	put_secret(w, "steady.yaml", "steady", "one");
	put_sealed(w, &other, "db", "one");
	begin_with_key(w, private_path);
	expect(w, "synced");
	want(w, "steady");
	want(w, "db");
	expect(w, "secret default/steady k=one");
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "is sealed to another public key"));
	/* replaced */
	assert_int_equal(rename(other_path, private_path), 0);
	expect(w, "secret default/db k=one");
	assert_int_equal(health(w).n_rejected, 0);
	/* written to, as one adds a key: read when the writer has closed it */
	put_sealed(w, &to, "db", "two");
	expect(w, "failed default/db ...");
	fd = open(private_path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(file_write_all(fd, old, strlen(old)), 0);
	expect_nothing(w);
	close(fd);
	expect(w, "secret default/db k=two");
	/* the same keys again are no reason to read anything */
	both = text_of(private_path);
	n_requests = health(w).n_requests;
	write_key(private_path, both, 0600);
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(w->loop, 20 * USEC_PER_MSEC) >= 0);
	assert_int_equal(health(w).n_requests, n_requests);
	assert_int_equal(w->n_log, w->n_seen);
	assert_int_equal(health(w).n_rejected, 0);
}

/* The file is not touched again. */
static void what_there_was_no_memory_for_is_read_again(void **state)
{
	struct world *w = *state;
	void *held = NULL;

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	want(w, "db");
	expect(w, "synced");
	expect(w, "secret default/db k=one");
	secmem_fill(&held);
	put_secret(w, "db.yaml", "db", "two");
	expect(w, "failed default/db ...");
	assert_int_equal(w->reason, REASON_SECRET_MEMORY_FULL);
	assert_int_equal(health(w).n_rejected, 1);
	secmem_empty(&held);
	expect(w, "secret default/db k=two");
	assert_int_equal(health(w).n_rejected, 0);
}

static void keys_that_are_wrong_change_nothing(void **state)
{
	struct world *w = *state;
	cleanup_free char *private_path = path_in(w, "keys/k"), *public_path = path_in(w, "keys/p"),
			  *other_path = path_in(w, "k2"), *other_public = path_in(w, "p2"), *good = NULL, *other = NULL;
	struct sealing_public to, other_to;
	struct err e = ERR_INIT;

	make_folder(w, "keys");
	assert_int_equal(sealing_generate(private_path, public_path, &to, &e), 0);
	assert_int_equal(sealing_generate(other_path, other_public, &other_to, &e), 0);
	good = text_of(private_path);
	other = text_of(other_path);
	put_sealed(w, &to, "db", "one");
	begin_with_key(w, private_path);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");

	write_key(private_path, "secretlet-private-key v1 HUNTER2\n", 0600);
	wait_for_rejected(w, 1);
	assert_non_null(strstr(health(w).last_error, "/keys/k: key 1 is not a private key as secretlet keygen makes "
						     "it"));
	assert_non_null(strstr(health(w).last_error, "; the keys that were read before stay"));
	assert_null(strstr(health(w).last_error, "HUNTER2"));
	/* they still open what comes */
	put_sealed(w, &to, "db", "two");
	expect(w, "secret default/db k=two");
	/* right again */
	write_key(private_path, good, 0600);
	wait_for_rejected(w, 0);
	assert_string_equal(health(w).last_error, "");

	/* others may read it */
	write_key(private_path, other, 0644);
	wait_for_rejected(w, 1);
	assert_non_null(strstr(health(w).last_error, "/keys/k: others may use this private key (mode 0644)"));
	assert_int_equal(unlink(private_path), 0);
	source_reread(w->source);
	eventually(w, strstr(health(w).last_error, "No such file or directory"));
	put_sealed(w, &to, "db", "three");
	expect(w, "secret default/db k=three");

	/* good, but of somebody else: what is served stays, what comes is refused */
	write_key(private_path, other, 0600);
	expect(w, "failed default/db ...");
	assert_non_null(strstr(w->log[w->n_seen - 1], "is sealed to another public key"));
	assert_int_equal(health(w).n_rejected, 1);
	write_key(private_path, good, 0600);
	expect(w, "secret default/db k=three");
	assert_int_equal(health(w).n_rejected, 0);
}

/* A mounted Secret has the key behind two links; one that lies elsewhere is seen when somebody asks. */
static void keys_behind_links_are_read_again(void **state)
{
	struct world *w = *state;
	cleanup_free char *one = path_in(w, "keys/..v1/k"), *one_public = path_in(w, "keys/..v1/p"),
			  *two = path_in(w, "keys/..v2/k"), *two_public = path_in(w, "keys/..v2/p"),
			  *key = path_in(w, "keys/k"), *tmp = path_in(w, "keys/..data_tmp"),
			  *data = path_in(w, "keys/..data"), *both = NULL, *text_one = NULL, *text_two = NULL;
	struct sealing_public to_one, to_two;
	struct err e = ERR_INIT;

	make_folder(w, "keys");
	make_folder(w, "keys/..v1");
	make_folder(w, "keys/..v2");
	assert_int_equal(sealing_generate(one, one_public, &to_one, &e), 0);
	assert_int_equal(sealing_generate(two, two_public, &to_two, &e), 0);
	make_link(w, "..v1", "keys/..data");
	make_link(w, "..data/k", "keys/k");
	put_sealed(w, &to_two, "db", "two");
	begin_with_key(w, key);
	expect(w, "synced");
	want(w, "db");
	expect(w, "failed default/db ...");
	make_link(w, "..v2", "keys/..data_tmp");
	assert_int_equal(rename(tmp, data), 0);
	expect(w, "secret default/db k=two");

	put_sealed(w, &to_one, "db", "one");
	expect(w, "failed default/db ...");
	text_one = text_of(one);
	text_two = text_of(two);
	both = str_format("%s%s", text_one, text_two);
	write_key(two, both, 0600);
	expect_nothing(w);
	source_reread(w->source);
	source_reread(w->source);
	expect(w, "secret default/db k=one");
}

/* Whoever goes on where another has ended must not stay away for a key. */
static void a_wrong_key_keeps_only_the_first_from_starting(void **state)
{
	struct world *w = *state;
	cleanup_free char *private_path = path_in(w, "keys/k"), *public_path = path_in(w, "keys/p"), *good = NULL;
	struct source_manifests_options o = { .dir = w->dir, .key_file = private_path, .node_name = NODE };
	struct sealing_public to;
	struct err e = ERR_INIT;

	make_folder(w, "keys");
	assert_int_equal(sealing_generate(private_path, public_path, &to, &e), 0);
	good = text_of(private_path);
	put_sealed(w, &to, "db", "one");
	write_key(private_path, "rubbish\n", 0600);
	assert_int_equal(source_manifests_new(w->loop, w->files, &o, &sink, w, &w->source, &e), 0);
	assert_int_equal(source_start(w->source, &e), -EINVAL);
	source_free(w->source);
	write_key(private_path, good, 0644);
	assert_int_equal(source_manifests_new(w->loop, w->files, &o, &sink, w, &w->source, &e), -EPERM);
	o.resumes = true;
	for (int i = 0; i < 3; i++) {
		if (i == 0)
			write_key(private_path, good, 0644);
		else if (i == 1)
			write_key(private_path, "rubbish\n", 0600);
		else
			assert_int_equal(unlink(private_path), 0);
		assert_int_equal(source_manifests_new(w->loop, w->files, &o, &sink, w, &w->source, &e), 0);
		assert_int_equal(source_start(w->source, &e), 0);
		expect(w, "synced");
		want(w, "db");
		expect(w, "failed default/db ...");
		assert_non_null(strstr(w->log[w->n_seen - 1], "there is no private key"));
		assert_int_equal(health(w).n_rejected, 2);
		if (i == 2)
			break;
		source_free(w->source);
		files_free(w->files);
		assert_int_equal(files_direct_new(w->loop, &w->files), 0);
	}
	write_key(private_path, good, 0600);
	expect(w, "secret default/db k=one");
	assert_int_equal(health(w).n_rejected, 0);
}

static void a_source_can_be_freed_while_keys_are_being_opened(void **state)
{
	struct world *w = *state;
	cleanup_free char *private_path = path_in(w, "k"), *public_path = path_in(w, "p");
	struct sealing_public to;
	struct err e = ERR_INIT;

	assert_int_equal(sealing_generate(private_path, public_path, &to, &e), 0);
	begin_with_key(w, private_path);
	expect(w, "synced");
	source_reread(w->source);
	source_free(w->source);
	w->source = NULL;
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(w->loop, 0) >= 0);
}

static void the_folder_of_the_keys_may_go(void **state)
{
	struct world *w = *state;
	cleanup_free char *private_path = path_in(w, "keys/k"), *public_path = path_in(w, "keys/p"),
			  *folder = path_in(w, "keys");
	struct sealing_public to;
	struct err e = ERR_INIT;

	make_folder(w, "keys");
	assert_int_equal(sealing_generate(private_path, public_path, &to, &e), 0);
	put_sealed(w, &to, "db", "one");
	begin_with_key(w, private_path);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	assert_int_equal(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(w->loop, 20 * USEC_PER_MSEC) >= 0);
	assert_int_equal(health(w).n_watches, 1);
	assert_int_equal(health(w).n_rejected, 0);
	put_sealed(w, &to, "db", "two");
	expect(w, "secret default/db k=two");
}

static void a_list_is_taken_apart(void **state)
{
	struct world *w = *state;

	put(w, "list.yaml",
	    "apiVersion: v1\nkind: List\nitems:\n"
	    "- apiVersion: v1\n  kind: Secret\n  metadata: {name: a, namespace: other}\n  data: {k: QQ==}\n"
	    "- apiVersion: v1\n  kind: Pod\n  metadata: {name: p}\n  spec: {}\n"
	    "- apiVersion: v1\n  kind: List\n"
	    "- kind: Secret\n");
	begin(w);
	expect(w, "synced");
	assert_int_equal(source_want(w->source, OBJECT_SECRET, "other", "a"), 0);
	expect(w, "secret other/a k=A");
	assert_int_equal(health(w).n_rejected, 3);
}

static void many_changes_at_once_are_one(void **state)
{
	struct world *w = *state;

	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db absent");
	for (int i = 0; i < 200; i++) {
		char value[16];

		snprintf(value, sizeof(value), "%d", i);
		put_secret(w, "db.yaml", "db", value);
	}
	/* the loop did not run meanwhile: one batch */
	expect(w, "secret default/db k=199");
	expect_nothing(w);
}

static void the_folder_may_go_and_come_back(void **state)
{
	struct world *w = *state;
	cleanup_free char *away = str_format("%s.away", w->dir);

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	assert_int_equal(rename(w->dir, away), 0);
	eventually(w, health(w).n_watches == 0);
	assert_non_null(strstr(health(w).last_error, "the manifests folder is gone; what was read from it stays"));
	assert_int_equal(w->n_log, w->n_seen);
	assert_int_equal(mkdir(w->dir, 0755), 0);
	put_secret(w, "db.yaml", "db", "two");
	expect(w, "secret default/db k=two");
	assert_string_equal(health(w).last_error, "");
	assert_int_equal(nftw(away, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void the_folder_may_be_deleted_with_all_that_is_in_it(void **state)
{
	struct world *w = *state;

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	assert_int_equal(nftw(w->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	wait_for_rejected(w, 1);
	assert_non_null(strstr(health(w).last_error, "the manifests folder is gone; what was read from it stays"));
	assert_int_equal(w->n_log, w->n_seen);
	assert_int_equal(mkdir(w->dir, 0755), 0);
	put_secret(w, "db.yaml", "db", "two");
	expect(w, "secret default/db k=two");
}

/* rename(2) over an empty folder: of its end its own watch tells nothing, and the one above that something has come. */
static void an_empty_folder_may_be_replaced(void **state)
{
	struct world *w = *state;
	char *next = w->dir + strlen(w->dir);

	make_folder(w, "in");
	make_folder(w, "next");
	memcpy(next, "/next", 6);
	put_secret(w, "db.yaml", "db", "one");
	memcpy(next, "/in", 4);
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db absent");
	*next = '\0';
	move(w, "next", "in");
	memcpy(next, "/in", 4);
	expect(w, "secret default/db k=one");
	assert_string_equal(health(w).last_error, "");
	*next = '\0';
}

static void an_empty_folder_may_be_removed_and_made_again(void **state)
{
	struct world *w = *state;
	cleanup_free char *above = path_in(w, ""), *beside = path_in(w, "beside");
	uint64_t contact_usec;

	make_folder(w, "in");
	snprintf(w->dir + strlen(w->dir), 4, "/in");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db absent");
	/* what else goes from the folder above is nothing to us */
	contact_usec = health(w).last_contact_usec;
	assert_int_equal(mkdir(beside, 0755), 0);
	assert_int_equal(rmdir(beside), 0);
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(w->loop, 20 * USEC_PER_MSEC) >= 0);
	assert_int_equal(health(w).last_contact_usec, contact_usec);
	/* the second time it is another folder that is watched, and another one above */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(rmdir(w->dir), 0);
		assert_int_equal(rmdir(above), 0);
		wait_for_rejected(w, 1);
		assert_non_null(strstr(health(w).last_error, "the manifests folder is gone"));
		assert_int_equal(health(w).n_watches, 0);
		assert_int_equal(mkdir(above, 0755), 0);
		assert_int_equal(mkdir(w->dir, 0755), 0);
		put_secret(w, "db.yaml", "db", i == 0 ? "one" : "two");
		expect(w, i == 0 ? "secret default/db k=one" : "secret default/db k=two");
		assert_string_equal(health(w).last_error, "");
		drop(w, "db.yaml");
		expect(w, "secret default/db absent");
	}
	*strrchr(w->dir, '/') = '\0';
}

/* Of the only instance of this process. */
static size_t n_inotify_watches(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *d;
	size_t n = 0;

	assert_non_null(dir);
	while ((d = readdir(dir))) {
		cleanup_free char *path = str_format("/proc/self/fdinfo/%s", d->d_name);
		cleanup_file FILE *info = fopen(path, "re");
		char line[256];

		while (info && fgets(line, sizeof(line), info))
			n += str_starts(line, "inotify wd:");
	}
	closedir(dir);
	return n;
}

static void the_folder_above_may_be_renamed_and_leaves_nothing(void **state)
{
	struct world *w = *state;
	cleanup_free char *private_path = path_in(w, "k"), *public_path = path_in(w, "p"), *up = path_in(w, "up");
	struct sealing_public to;
	struct err e = ERR_INIT;

	assert_int_equal(sealing_generate(private_path, public_path, &to, &e), 0);
	make_folder(w, "up");
	make_folder(w, "up/in");
	snprintf(w->dir + strlen(w->dir), 7, "/up/in");
	begin_with_key(w, private_path);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db absent");
	for (int i = 0; i < 3; i++) {
		cleanup_free char *value = str_format("%d", i), *line = str_format("secret default/db k=%d", i),
				  *away = str_format("%s.%d", up, i);

		assert_int_equal(rename(up, away), 0);
		wait_for_rejected(w, 1);
		assert_int_equal(mkdir(up, 0755), 0);
		assert_int_equal(mkdir(w->dir, 0755), 0);
		put_sealed(w, &to, "db", value);
		expect(w, line);
		assert_int_equal(health(w).n_rejected, 0);
		/* the folder, the one above, and the keys' */
		eventually(w, n_inotify_watches() == 3);
	}
	w->dir[strlen(w->dir) - strlen("/up/in")] = '\0';
}

static void keys_may_lie_beside_the_folder(void **state)
{
	struct world *w = *state;
	cleanup_free char *private_path = path_in(w, "k"), *public_path = path_in(w, "p"),
			  *other_path = path_in(w, "k2"), *other_public = path_in(w, "p2");
	struct sealing_public to, other_to;
	struct err e = ERR_INIT;

	assert_int_equal(sealing_generate(private_path, public_path, &to, &e), 0);
	assert_int_equal(sealing_generate(other_path, other_public, &other_to, &e), 0);
	make_folder(w, "in");
	snprintf(w->dir + strlen(w->dir), 4, "/in");
	begin_with_key(w, private_path);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db absent");
	assert_int_equal(rmdir(w->dir), 0);
	wait_for_rejected(w, 1);
	assert_int_equal(mkdir(w->dir, 0755), 0);
	put_sealed(w, &other_to, "db", "one");
	expect(w, "failed default/db ...");
	assert_int_equal(rename(other_path, private_path), 0);
	expect(w, "secret default/db k=one");
	*strrchr(w->dir, '/') = '\0';
}

static void keys_in_a_folder_that_comes_back_are_read_again(void **state)
{
	struct world *w = *state;
	cleanup_free char *private_path = path_in(w, "k"), *public_path = path_in(w, "p"),
			  *other_path = path_in(w, "k2"), *other_public = path_in(w, "p2"), *other = NULL, *good = NULL,
			  *away = str_format("%s.away", w->dir);
	struct sealing_public to, other_to;
	struct err e = ERR_INIT;

	assert_int_equal(sealing_generate(private_path, public_path, &to, &e), 0);
	assert_int_equal(sealing_generate(other_path, other_public, &other_to, &e), 0);
	good = text_of(private_path);
	other = text_of(other_path);
	put_sealed(w, &other_to, "db", "one");
	begin_with_key(w, private_path);
	expect(w, "synced");
	want(w, "db");
	expect(w, "failed default/db ...");
	assert_int_equal(rename(w->dir, away), 0);
	eventually(w, health(w).n_watches == 0);
	assert_int_equal(mkdir(w->dir, 0755), 0);
	put_sealed(w, &other_to, "db", "two");
	write_key(private_path, other, 0600);
	expect(w, "secret default/db k=two");
	/* and from now on */
	put_sealed(w, &to, "db", "three");
	expect(w, "failed default/db ...");
	write_key(private_path, good, 0600);
	expect(w, "secret default/db k=three");
	assert_int_equal(nftw(away, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Files that are opened (folders: watched) at once, and told when the test says so. */
#define HELD_MAX 64
struct held_files {
	struct files files;
	struct {
		files_open_fn opened;
		files_watch_fn watched;
		void *userdata;
		int fd, r;
	} held[HELD_MAX];
	size_t n;
	int fail; /* instead of opening */
	bool makes; /* before opening: somebody has just made the file anew, and written half of it */
	int made_fd;
};

static int held_allow(struct files *f, const char *path)
{
	return 0;
}

static int held_allow_watch(struct files *f, const char *folder, uint32_t mask)
{
	return 0;
}

static int held_watch(struct files *f, int inotify_fd, const char *folder, files_watch_fn fn, void *userdata)
{
	struct held_files *h = container_of(f, struct held_files, files);
	/* the source's own mask is not wider */
	int wd = inotify_add_watch(inotify_fd, folder,
				   IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);

	assert_true(h->n < HELD_MAX);
	h->held[h->n].opened = NULL;
	h->held[h->n].watched = fn;
	h->held[h->n].userdata = userdata;
	h->held[h->n++].r = wd < 0 ? -errno : wd;
	return 0;
}

static int held_open(struct files *f, const char *path, files_open_fn fn, void *userdata)
{
	struct held_files *h = container_of(f, struct held_files, files);
	int fd, r;

	assert_true(h->n < HELD_MAX);
	if (h->makes) {
		assert_true(unlink(path) == 0 || errno == ENOENT);
		h->made_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		assert_true(h->made_fd >= 0);
		assert_int_equal(file_write_all(h->made_fd, HALF, strlen(HALF)), 0);
	}
	fd = h->fail ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	r = h->fail ?: fd < 0 ? -errno : 0;
	h->held[h->n].opened = fn;
	h->held[h->n].userdata = userdata;
	h->held[h->n].fd = fd;
	h->held[h->n++].r = r;
	return 0;
}

static void held_cancel(struct files *f, void *userdata)
{
}

static const struct files_vtable held_vtable = { .allow_file = held_allow,
						 .allow_dir = held_allow,
						 .allow_watch = held_allow_watch,
						 .open = held_open,
						 .watch = held_watch,
						 .cancel = held_cancel };

static void release(struct held_files *h)
{
	struct held_files now = *h;

	h->n = 0;
	for (size_t i = 0; i < now.n; i++) {
		if (now.held[i].opened)
			now.held[i].opened(now.held[i].userdata, now.held[i].fd, now.held[i].r);
		else
			now.held[i].watched(now.held[i].userdata, now.held[i].r);
	}
}

static void wait_for_held(struct world *w, struct held_files *h)
{
	eventually(w, h->n > 0);
}

static void begin_held(struct world *w, struct held_files *h)
{
	const struct source_manifests_options o = { .dir = w->dir, .node_name = NODE };
	struct err e = ERR_INIT;

	*h = (struct held_files){ .files = { .vtable = &held_vtable } };
	assert_int_equal(source_manifests_new(w->loop, &h->files, &o, &sink, w, &w->source, &e), 0);
	assert_int_equal(source_start(w->source, &e), 0);
	wait_for_held(w, h);
	release(h);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
}

/* As soon as something is told, or the time is up; everything that is asked for is answered. */
static void answer_until_told(struct world *w, struct held_files *h)
{
	eventually(w, (release(h), w->n_log > w->n_seen));
}

/* As often as there is something for it. */
static void answer_for(struct world *w, struct held_files *h, uint64_t usec)
{
	uint64_t until_usec = clock_monotonic_usec() + usec;

	while (clock_monotonic_usec() < until_usec) {
		assert_true(loop_run_once(w->loop, 5 * USEC_PER_MSEC) >= 0);
		release(h);
	}
}

static void a_file_that_changes_while_it_is_opened_is_read_once_more(void **state)
{
	struct world *w = *state;
	struct held_files h;

	put_secret(w, "db.yaml", "db", "one");
	begin_held(w, &h);
	put_secret(w, "db.yaml", "db", "two");
	wait_for_held(w, &h);
	/* the keeper has it open already */
	put_secret(w, "db.yaml", "db", "three");
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(w->loop, 20 * USEC_PER_MSEC) >= 0);
	assert_int_equal(h.n, 1);
	release(&h);
	expect(w, "secret default/db k=two");
	wait_for_held(w, &h);
	release(&h);
	expect(w, "secret default/db k=three");
}

static void a_file_that_comes_back_while_it_is_opened_is_read(void **state)
{
	struct world *w = *state;
	struct held_files h;

	put_secret(w, "db.yaml", "db", "one");
	begin_held(w, &h);
	drop(w, "db.yaml");
	wait_for_held(w, &h);
	/* the keeper has found nothing there */
	put_secret(w, "db.yaml", "db", "two");
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(w->loop, 20 * USEC_PER_MSEC) >= 0);
	assert_int_equal(h.n, 1);
	release(&h);
	wait_for_held(w, &h);
	release(&h);
	expect(w, "secret default/db k=two");
	/* and goes if it is gone again */
	drop(w, "db.yaml");
	wait_for_held(w, &h);
	put_secret(w, "db.yaml", "db", "three");
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(w->loop, 20 * USEC_PER_MSEC) >= 0);
	drop(w, "db.yaml");
	release(&h);
	wait_for_held(w, &h);
	release(&h);
	expect(w, "secret default/db absent");
}

/* A switch while files are being read puts the telling off, and one that comes each time must not do so for ever. */
static void a_folder_that_is_switched_all_the_time_is_told_all_the_same(void **state)
{
	struct world *w = *state;
	struct held_files h;

	make_folder(w, "..v1");
	make_folder(w, "..v2");
	put_secret(w, "..v1/db.yaml", "db", "one");
	put_secret(w, "..v2/db.yaml", "db", "two");
	switch_data(w, "..v1");
	make_link(w, "..data/db.yaml", "db.yaml");
	begin_held(w, &h);
	for (int i = 0; i < 2; i++) {
		const char *target = i == 0 ? "..v2" : "..v1";
		int n_read = 0;

		switch_data(w, target);
		for (; w->n_log == w->n_seen && n_read < 100; n_read++) {
			wait_for_held(w, &h);
			switch_data(w, target);
			release(&h);
		}
		expect(w, i == 0 ? "secret default/db k=two" : "secret default/db k=one");
		assert_true(n_read > 1);
		/* the last switch was seen, too */
		wait_for_held(w, &h);
		release(&h);
	}
}

/* That it went was heard, and that it comes again is not yet when it is opened. */
static void a_file_that_is_made_anew_while_it_is_opened_is_read_when_it_is_closed(void **state)
{
	struct world *w = *state;
	struct held_files h;

	put_secret(w, "db.yaml", "db", "one");
	begin_held(w, &h);
	drop(w, "db.yaml");
	h.makes = true;
	wait_for_held(w, &h);
	h.makes = false;
	release(&h);
	answer_for(w, &h, 20 * USEC_PER_MSEC);
	assert_int_equal(w->n_log, w->n_seen);
	assert_int_equal(file_write_all(h.made_fd, "stringData: {k: two}\n", 21), 0);
	close(h.made_fd);
	answer_until_told(w, &h);
	expect(w, "secret default/db k=two");
}

/* It is the old one that was a link, or had a second name. */
static void what_was_known_of_a_file_does_not_count_for_the_next_one(void **state)
{
	struct world *w = *state;
	cleanup_free char *name = path_in(w, "db.yaml"), *second = path_in(w, ".second"), *third = path_in(w, ".third");
	struct held_files h;

	put_secret(w, ".target", "db", "one");
	make_link(w, ".target", "db.yaml");
	begin_held(w, &h);
	assert_int_equal(source_refresh(w->source, OBJECT_SECRET, "default", "db"), 0);
	h.makes = true;
	wait_for_held(w, &h);
	h.makes = false;
	answer_until_told(w, &h);
	expect(w, "secret default/db k=one");
	answer_for(w, &h, 20 * USEC_PER_MSEC);
	assert_int_equal(w->n_log, w->n_seen);
	assert_int_equal(file_write_all(h.made_fd, "stringData: {k: two}\n", 21), 0);
	close(h.made_fd);
	answer_until_told(w, &h);
	expect(w, "secret default/db k=two");

	/* the keeper has the old one open already */
	assert_int_equal(link(name, second), 0);
	assert_int_equal(link(name, third), 0);
	assert_int_equal(source_refresh(w->source, OBJECT_SECRET, "default", "db"), 0);
	wait_for_held(w, &h);
	drop(w, "db.yaml");
	h.made_fd = begin_writing(w, "db.yaml", HALF);
	answer_until_told(w, &h);
	expect(w, "secret default/db k=two");
	answer_for(w, &h, 20 * USEC_PER_MSEC);
	assert_int_equal(w->n_log, w->n_seen);
	assert_int_equal(file_write_all(h.made_fd, "stringData: {k: three}\n", 23), 0);
	close(h.made_fd);
	answer_until_told(w, &h);
	expect(w, "secret default/db k=three");
}

static void keys_that_change_while_they_are_opened_are_read_once_more(void **state)
{
	struct world *w = *state;
	cleanup_free char *private_path = path_in(w, "keys/k"), *public_path = path_in(w, "keys/p"),
			  *other_path = path_in(w, "k2"), *other_public = path_in(w, "p2"), *other = NULL;
	const struct source_manifests_options o = { .dir = w->dir, .key_file = private_path, .node_name = NODE };
	struct held_files h = { .files = { .vtable = &held_vtable } };
	struct sealing_public to, other_to;
	struct err e = ERR_INIT;

	make_folder(w, "keys");
	assert_int_equal(sealing_generate(private_path, public_path, &to, &e), 0);
	assert_int_equal(sealing_generate(other_path, other_public, &other_to, &e), 0);
	other = text_of(other_path);
	put_sealed(w, &other_to, "db", "one");
	assert_int_equal(source_manifests_new(w->loop, &h.files, &o, &sink, w, &w->source, &e), 0);
	assert_int_equal(source_start(w->source, &e), 0);
	wait_for_held(w, &h);
	release(&h);
	expect(w, "synced");
	want(w, "db");
	expect(w, "failed default/db ...");
	source_reread(w->source);
	/* the keeper has the old ones open already, and watches their folder */
	write_key(private_path, other, 0600);
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(w->loop, 20 * USEC_PER_MSEC) >= 0);
	assert_int_equal(h.n, 2);
	release(&h);
	wait_for_held(w, &h);
	release(&h);
	wait_for_held(w, &h);
	release(&h);
	expect(w, "secret default/db k=one");
}

static void answers_that_come_when_the_folder_is_gone_do_not_count(void **state)
{
	struct world *w = *state;
	cleanup_free char *away = str_format("%s.away", w->dir);
	struct held_files h;

	put_secret(w, "db.yaml", "db", "one");
	begin_held(w, &h);
	assert_int_equal(source_refresh(w->source, OBJECT_SECRET, "default", "db"), 0);
	h.fail = -ENOENT;
	wait_for_held(w, &h);
	assert_int_equal(rename(w->dir, away), 0);
	eventually(w, health(w).n_watches == 0);
	release(&h);
	/* it is answered with what is known */
	expect(w, "secret default/db k=one");
	assert_int_equal(rename(away, w->dir), 0);
}

/* A folder, as far as what was asked for before leads to that. */
static void wait_for_opening(struct world *w, struct held_files *h)
{
	wait_for_held(w, h);
	while (!h->held[0].opened) {
		release(h);
		wait_for_held(w, h);
	}
}

/* What is opened is the folder of before: where it is watched, nobody tells that the one above is another one since. */
static void a_folder_above_that_goes_while_the_folder_is_opened_is_missed_by_nobody(void **state)
{
	struct world *w = *state;
	cleanup_free char *up = path_in(w, "up"), *away = path_in(w, "away"), *aside = path_in(w, "aside");
	struct held_files h;

	make_folder(w, "up");
	make_folder(w, "up/in");
	snprintf(w->dir + strlen(w->dir), 7, "/up/in");
	put_secret(w, "db.yaml", "db", "one");
	begin_held(w, &h);
	assert_int_equal(rename(up, aside), 0);
	eventually(w, health(w).n_watches == 0);
	assert_int_equal(mkdir(up, 0755), 0);
	assert_int_equal(mkdir(w->dir, 0755), 0);
	put_secret(w, "db.yaml", "db", "two");
	wait_for_opening(w, &h);
	assert_int_equal(rename(up, away), 0);
	assert_int_equal(mkdir(up, 0755), 0);
	assert_int_equal(mkdir(w->dir, 0755), 0);
	put_secret(w, "db.yaml", "db", "three");
	answer_until_told(w, &h);
	expect(w, "secret default/db k=three");
	/* and from now on */
	put_secret(w, "db.yaml", "db", "four");
	answer_until_told(w, &h);
	expect(w, "secret default/db k=four");
	w->dir[strlen(w->dir) - strlen("/up/in")] = '\0';
}

/* The watch is the first folder's, what is opened is the second. */
static void a_folder_that_goes_while_it_is_opened_is_not_followed(void **state)
{
	struct world *w = *state;
	cleanup_free char *away = str_format("%s.away", w->dir), *away_too = str_format("%s.away2", w->dir);
	struct held_files h;

	put_secret(w, "db.yaml", "db", "one");
	begin_held(w, &h);
	assert_int_equal(rename(w->dir, away), 0);
	eventually(w, health(w).n_watches == 0);
	assert_int_equal(mkdir(w->dir, 0755), 0);
	put_secret(w, "db.yaml", "db", "two");
	wait_for_held(w, &h); /* the watch of the one above */
	release(&h);
	wait_for_held(w, &h);
	assert_int_equal(rename(w->dir, away_too), 0);
	assert_int_equal(mkdir(w->dir, 0755), 0);
	put_secret(w, "db.yaml", "db", "three");
	/* its end is told before its watch is */
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(w->loop, 20 * USEC_PER_MSEC) >= 0);
	answer_until_told(w, &h);
	expect(w, "secret default/db k=three");
	put_secret(w, "db.yaml", "db", "four");
	answer_until_told(w, &h);
	expect(w, "secret default/db k=four");
	assert_int_equal(nftw(away, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	assert_int_equal(nftw(away_too, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void what_stands_in_the_folders_place_is_said(void **state)
{
	struct world *w = *state;
	cleanup_free char *away = str_format("%s.away", w->dir);
	int fd;

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	assert_int_equal(rename(w->dir, away), 0);
	fd = open(w->dir, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	eventually(w, strstr(health(w).last_error, "the manifests folder cannot be watched: Not a directory; "
						   "what was read from it stays"));
	assert_int_equal(unlink(w->dir), 0);
	eventually(w, strstr(health(w).last_error, "the manifests folder is gone"));
	assert_int_equal(rename(away, w->dir), 0);
	wait_for_rejected(w, 0);
	assert_int_equal(w->n_log, w->n_seen);
	put_secret(w, "db.yaml", "db", "two");
	expect(w, "secret default/db k=two");
}

static void a_folder_that_cannot_be_listed_keeps_what_it_gave(void **state)
{
	struct world *w = *state;
	struct rlimit before, none;

	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3;
	drop(w, "db.yaml");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	wait_for_rejected(w, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(w->n_log, w->n_seen);
	assert_string_not_equal(health(w).last_error, "");
	expect(w, "secret default/db absent");
	assert_string_equal(health(w).last_error, "");
}

#define N_TOO_MANY 10001

/* libc's, counted: each listing of the folder begins with it */
static size_t n_listings;

void rewinddir(DIR *dir)
{
	n_listings++;
	seekdir(dir, 0);
}

/* What `files` is asked to watch, counted. */
static const struct files_vtable *direct;
static size_t n_watched;

static int counted_watch(struct files *f, int inotify_fd, const char *folder, files_watch_fn fn, void *userdata)
{
	n_watched++;
	return direct->watch(f, inotify_fd, folder, fn, userdata);
}

/* Until all events have been read, as far as can be told: a batch follows soon after. */
static void wait_for_rest(struct world *w)
{
	uint64_t since_usec = clock_monotonic_usec();
	size_t n = n_listings;

	while (clock_monotonic_usec() - since_usec < USEC_PER_SEC) {
		assert_true(loop_run_once(w->loop, 100 * USEC_PER_MSEC) >= 0);
		if (n != n_listings)
			since_usec = clock_monotonic_usec();
		n = n_listings;
	}
}

/* For longer than a folder that cannot be listed is left alone, nothing at all is done. */
static void expect_rest(struct world *w)
{
	uint64_t until_usec = clock_monotonic_usec() + 3 * USEC_PER_SEC;
	cleanup_free char *path = str_format("%s.log", w->dir), *text = NULL;
	size_t n = n_listings;
	int before;

	n_watched = 0;
	log_to(path, LOG_LEVEL_INFO, &before);
	while (clock_monotonic_usec() < until_usec)
		assert_true(loop_run_once(w->loop, 100 * USEC_PER_MSEC) >= 0);
	log_back(before);
	text = text_of(path);
	assert_int_equal(unlink(path), 0);
	assert_string_equal(text, "");
	assert_int_equal(n_listings, n);
	assert_int_equal(n_watched, 0);
}

static void more_files_than_are_read_are_refused_as_a_whole(void **state)
{
	struct world *w = *state;
	struct files_vtable counted = *w->files->vtable;
	char file[32];

	direct = w->files->vtable;
	counted.watch = counted_watch;
	w->files->vtable = &counted;
	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	for (int i = 0; i < N_TOO_MANY; i++) {
		snprintf(file, sizeof(file), "%d.yaml", i);
		close(begin_writing(w, file, ""));
	}
	wait_for_rejected(w, 1);
	assert_non_null(strstr(health(w).last_error, ": more than 10000 manifest files"));
	assert_int_equal(w->n_log, w->n_seen);
	wait_for_rest(w);
	expect_rest(w);
	for (int i = 0; i < N_TOO_MANY; i++) {
		snprintf(file, sizeof(file), "%d.yaml", i);
		drop(w, file);
	}
	put_secret(w, "db.yaml", "db", "two");
	expect(w, "secret default/db k=two");
	assert_int_equal(health(w).n_rejected, 0);
	w->files->vtable = direct;
}

/* A name that was not known when there were too many counts as soon as there are fewer. */
static void a_folder_that_was_too_full_is_read_when_it_is_not(void **state)
{
	struct world *w = *state;
	char file[32];

	for (int i = 0; i < N_TOO_MANY - 2; i++) {
		snprintf(file, sizeof(file), "%d.yaml", i);
		close(begin_writing(w, file, ""));
	}
	put_secret(w, "db.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	want(w, "last");
	expect(w, "secret default/last absent");
	put_secret(w, "last.yaml", "last", "one");
	wait_for_rejected(w, 1);
	for (int i = 0; i < N_TOO_MANY - 2; i++) {
		snprintf(file, sizeof(file), "%d.yaml", i);
		drop(w, file);
	}
	expect(w, "secret default/last k=one");
	assert_int_equal(health(w).n_rejected, 0);
}

static void a_large_folder_may_be_replaced_by_one_with_other_names(void **state)
{
	struct world *w = *state;
	cleanup_free char *away = str_format("%s.away", w->dir);
	char file[32];

	for (int i = 0; i < N_TOO_MANY - 1; i++) {
		snprintf(file, sizeof(file), "%d.yaml", i);
		close(begin_writing(w, file, ""));
	}
	put_secret(w, "0.yaml", "db", "one");
	begin(w);
	expect(w, "synced");
	want(w, "db");
	expect(w, "secret default/db k=one");
	assert_int_equal(rename(w->dir, away), 0);
	eventually(w, health(w).n_watches == 0);
	assert_int_equal(mkdir(w->dir, 0755), 0);
	for (int i = 0; i < N_TOO_MANY - 1; i++) {
		snprintf(file, sizeof(file), "other-%d.yaml", i);
		close(begin_writing(w, file, ""));
	}
	put_secret(w, "other-9999.yaml", "db", "two");
	expect(w, "secret default/db k=two");
	assert_int_equal(health(w).n_rejected, 0);
	assert_int_equal(nftw(away, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static unsigned long queued_events_max(void)
{
	unsigned long n = 0;
	FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu", &n), 1);
	fclose(f);
	return n;
}

static void events_that_are_lost_are_made_up_for(void **state)
{
	struct world *w = *state;
	unsigned long n = queued_events_max();

	cleanup_free char *private_path = path_in(w, "keys/k"), *public_path = path_in(w, "keys/p"),
			  *other_path = path_in(w, "k2"), *other_public = path_in(w, "p2"), *other = NULL;
	struct sealing_public to, other_to;
	struct err e = ERR_INIT;

	if (n > 100000)
		skip_because("so many events are not lost in a test's time");
	make_folder(w, "keys");
	assert_int_equal(sealing_generate(private_path, public_path, &to, &e), 0);
	assert_int_equal(sealing_generate(other_path, other_public, &other_to, &e), 0);
	other = text_of(other_path);
	put_sealed(w, &other_to, "db", "one");
	begin_with_key(w, private_path);
	expect(w, "synced");
	want(w, "db");
	expect(w, "failed default/db ...");
	for (unsigned long i = 0; i < n / 2; i++) {
		close(begin_writing(w, "noise.yaml", ""));
		drop(w, "noise.yaml");
	}
	write_key(private_path, other, 0600);
	expect(w, "secret default/db k=one");
	for (unsigned long i = 0; i < n / 2; i++) {
		close(begin_writing(w, "noise.yaml", ""));
		drop(w, "noise.yaml");
	}
	put_sealed(w, &other_to, "db", "two");
	expect(w, "secret default/db k=two");
}

static void a_source_can_be_freed_while_files_are_being_opened(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 40; i++) {
		char name[32];

		snprintf(name, sizeof(name), "s%d.yaml", i);
		put_secret(w, name, "db", "one");
	}
	begin(w);
	assert_true(loop_run_once(w->loop, USEC_PER_SEC) >= 0);
	source_free(w->source);
	w->source = NULL;
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(w->loop, 0) >= 0);
	assert_int_equal(w->n_log, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, new_world, free_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_told_before_start_and_from_inside_a_call),
		TEST(a_folder_that_is_none_is_refused_by_name),
		TEST(of_hundreds_of_objects_only_some_are_told_in_one_turn),
		TEST(manifests_that_are_too_much_together_are_refused_and_come_later),
		TEST(file_that_is_renamed_near_the_bound_takes_nothing_away),
		TEST(an_empty_folder_is_synced),
		TEST(synced_is_said_when_all_pods_are_told),
		TEST(files_that_come_change_and_go_are_told),
		TEST(an_object_that_vanishes_from_its_file_is_removed),
		TEST(a_config_map_is_told_as_a_secret_is),
		TEST(unwanted_secrets_are_not_told),
		TEST(the_same_content_again_is_not_told),
		TEST(refresh_reads_again_and_answers),
		TEST(refresh_sees_what_nobody_tells),
		TEST(the_newest_problem_is_shown),
		TEST(of_many_refusals_some_are_logged_and_once),
		TEST(of_many_files_that_fail_some_are_logged_and_once),
		TEST(changes_that_follow_each_other_are_one),
		TEST(a_folder_that_never_rests_is_read_all_the_same),
		TEST(a_folder_that_is_switched_all_the_time_is_told_all_the_same),
		TEST(a_file_is_read_when_its_writer_has_closed_it),
		TEST(a_file_that_is_made_anew_is_read_when_its_writer_has_closed_it),
		TEST(a_file_that_is_being_written_at_the_start_is_not_taken_for_none),
		TEST(a_refused_object_keeps_its_last_good_version),
		TEST(the_others_in_a_file_are_not_held_up_by_a_refused_one),
		TEST(a_file_that_is_no_yaml_keeps_what_it_gave),
		TEST(an_object_in_two_files_changes_nothing),
		TEST(an_object_that_two_files_have_from_the_start_is_not_served),
		TEST(a_field_that_has_no_effect_is_counted_and_not_refused),
		TEST(a_secret_that_was_never_good_fails_until_it_is),
		TEST(an_object_that_moves_to_another_file_is_never_missing),
		TEST(a_rename_that_is_told_in_two_parts_takes_nothing_away),
		TEST(an_immutable_secret_stays),
		TEST(the_type_of_a_secret_stays),
		TEST(a_pod_of_another_node_is_not_ours),
		TEST(a_uid_is_taken_and_belongs_to_one_pod),
		TEST(links_are_followed_and_may_be_swapped),
		TEST(a_switch_is_one_change),
		TEST(a_switch_while_files_are_being_read_is_not_seen_half),
		TEST(an_object_that_moves_with_a_switch_is_never_missing),
		TEST(what_cannot_be_opened_or_is_too_large_keeps_what_it_gave),
		TEST(of_thousands_of_files_only_the_changed_one_is_read),
		TEST(a_second_name_of_a_file_is_read_at_once),
		TEST(a_file_whose_other_name_goes_is_read),
		TEST(a_file_whose_writer_goes_on_is_not_read),
		TEST(only_manifest_names_are_read),
		TEST(what_is_no_regular_file_is_refused),
		TEST(sealed_values_are_opened_and_what_is_wrong_keeps_the_last_good),
		TEST(without_a_key_sealed_values_are_refused),
		TEST(keys_that_change_open_what_could_not_be_opened),
		TEST(what_there_was_no_memory_for_is_read_again),
		TEST(keys_that_are_wrong_change_nothing),
		TEST(keys_behind_links_are_read_again),
		TEST(a_wrong_key_keeps_only_the_first_from_starting),
		TEST(a_source_can_be_freed_while_keys_are_being_opened),
		TEST(the_folder_of_the_keys_may_go),
		TEST(a_list_is_taken_apart),
		TEST(many_changes_at_once_are_one),
		TEST(the_folder_may_go_and_come_back),
		TEST(the_folder_may_be_deleted_with_all_that_is_in_it),
		TEST(an_empty_folder_may_be_replaced),
		TEST(an_empty_folder_may_be_removed_and_made_again),
		TEST(the_folder_above_may_be_renamed_and_leaves_nothing),
		TEST(keys_may_lie_beside_the_folder),
		TEST(keys_in_a_folder_that_comes_back_are_read_again),
		TEST(a_file_that_changes_while_it_is_opened_is_read_once_more),
		TEST(a_file_that_comes_back_while_it_is_opened_is_read),
		TEST(a_file_that_is_made_anew_while_it_is_opened_is_read_when_it_is_closed),
		TEST(what_was_known_of_a_file_does_not_count_for_the_next_one),
		TEST(keys_that_change_while_they_are_opened_are_read_once_more),
		TEST(answers_that_come_when_the_folder_is_gone_do_not_count),
		TEST(a_folder_that_goes_while_it_is_opened_is_not_followed),
		TEST(a_folder_above_that_goes_while_the_folder_is_opened_is_missed_by_nobody),
		TEST(what_stands_in_the_folders_place_is_said),
		TEST(a_folder_that_cannot_be_listed_keeps_what_it_gave),
		TEST(more_files_than_are_read_are_refused_as_a_whole),
		TEST(a_folder_that_was_too_full_is_read_when_it_is_not),
		TEST(a_large_folder_may_be_replaced_by_one_with_other_names),
		TEST(events_that_are_lost_are_made_up_for),
		TEST(a_source_can_be_freed_while_files_are_being_opened),
	};
	struct err e = ERR_INIT;

	json_setup();
	if (secmem_init(16 << 20, &e) < 0)
		return 1;
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
