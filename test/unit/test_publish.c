/* Publish: the order of the calls, failures and deaths of the publisher at every step. The publisher here is in the
 * test: it reads orders and commits them in the tree by itself, so neither FUSE nor root is needed. It mostly waits. */
#include "fusefs/publish.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/str.h"
#include "fusefs/order.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* tables leave out what is empty */

#define PID 4711

struct fixture {
	struct loop *loop;
	struct tree *tree;
	struct publish *publish;
	int fd; /* the publisher's end */
	struct buf log;
	size_t n_messages, biggest;
	int n_changes; /* steps so far that change something */
	int fail_at, die_before, die_after; /* count of such a step; 0: never */
	bool lies; /* says that it has done what it has not */
	const uint32_t *strange_error; /* what a failed step answers instead of its errno */
	int n_fail; /* how many more fail after it */
};

struct result {
	int n, r;
	char version[64], error[ERR_TEXT_MAX];
};

static struct fixture f;

static void attach(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(publish_attach(f.publish, fds[0], PID, NULL, NULL), 0);
	f.fd = fds[1];
}

static int setup(void **state)
{
	f = (struct fixture){ .log = BUF_INIT(1 << 20) };
	assert_int_equal(secmem_init(8 << 20, NULL), 0);
	assert_int_equal(loop_new(&f.loop), 0);
	assert_int_equal(tree_new(0, &f.tree), 0);
	assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
	attach();
	return 0;
}

static int teardown(void **state)
{
	publish_free(f.publish);
	tree_free(f.tree);
	loop_free(f.loop);
	close_fd(f.fd);
	buf_deinit(&f.log);
	assert_int_equal(secmem_stats().n_blocks, 0);
	secmem_deinit();
	return 0;
}

/* --- the publisher --- */

static struct node *resolve(const char *path, size_t len)
{
	struct node *n = tree_node(f.tree, TREE_ROOT_ID);
	char name[PAYLOAD_NAME_MAX + 1];
	bool hidden;

	for (const char *end = path + len; n && path < end; path += *path == '/') {
		size_t part = MIN(strcspn(path, "/"), (size_t)(end - path));

		memcpy(name, path, part);
		name[part] = 0;
		n = tree_lookup(f.tree, n, name, &hidden);
		path += part;
	}
	return n;
}

static const char *base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static int commit(const struct order_step *s, const char *path, const char *path2)
{
	size_t dir_len = base(path) - path;
	struct node *dir = resolve(path, dir_len ? dir_len - 1 : 0), *n;

	if (!dir)
		return -ENOENT;
	switch (s->op) {
	case ORDER_MKDIR:
		return tree_commit_mkdir(f.tree, dir, base(path), &n);
	case ORDER_CHMOD:
		return resolve(path, strlen(path)) ? 0 : -ENOENT;
	case ORDER_SYMLINK:
		return tree_commit_symlink(f.tree, dir, base(path), path2, &n);
	case ORDER_RENAME:
		return tree_commit_rename(f.tree, dir, base(path), dir, base(path2));
	case ORDER_UNLINK:
		return tree_commit_unlink(f.tree, dir, base(path));
	case ORDER_RMDIR:
		return tree_commit_rmdir(f.tree, dir, base(path));
	case ORDER_MKNOD:
		return tree_commit_mknod(f.tree, dir, base(path), &n);
	case ORDER_INVAL_ATTR:
	case ORDER_INVAL:
		return tree_node(f.tree, s->node) ? 0 : -EBADMSG;
	default:
		return str_eq(path, ".") || resolve(path, strlen(path)) ? 0 : -ENOENT;
	}
}

/* "mkdir v/..new": names of versions lose their time. */
static void log_step(const struct order_step *s, const char *path, const char *path2)
{
	static const char *const names[ORDER_OPS] = { "mkdir", "chmod",	   "symlink",  "rename", "unlink",
						      "rmdir", "mknod",	   "forget",   "drop",	 "touch",
						      "stat",  "readfile", "readlink", "readdir" };

	assert_int_equal(buf_printf(&f.log, "%s ", names[s->op]), 0);
	for (const char *at = path; *at;) {
		size_t part = strcspn(at, "/");

		if (str_starts(at, "..20"))
			assert_int_equal(buf_add_str(&f.log, "..v"), 0);
		else
			assert_int_equal(buf_add(&f.log, at, part), 0);
		at += part;
		if (*at)
			assert_int_equal(buf_add(&f.log, at++, 1), 0);
	}
	if (*path2)
		assert_int_equal(buf_printf(&f.log, " %s", str_starts(path2, "..20") ? "..v" : path2), 0);
	assert_int_equal(buf_add_str(&f.log, "\n"), 0);
}

static void publisher_dies(void)
{
	f.fd = close_fd(f.fd);
}

/* 0: go on; else the errno, or -1: the publisher has died. */
static int run_step(const struct order_step *s, const char *path, const char *path2)
{
	bool changes = s->op < ORDER_STAT;
	int r;

	f.n_changes += changes;
	if (changes && f.n_changes == f.die_before)
		return -1;
	if (changes && f.fail_at && f.n_changes >= f.fail_at && f.n_changes <= f.fail_at + f.n_fail)
		return ENOSPC;
	log_step(s, path, path2);
	if (f.lies)
		return 0;
	r = commit(s, path, path2);
	if (changes && f.n_changes == f.die_after)
		return -1;
	return r < 0 && s->ignored != -r && s->ignored != ORDER_IGNORE_ALL ? -r : 0;
}

static bool publisher_serve(void)
{
	struct order_answer a = { .failed = ORDER_DONE };
	static char msg[ORDER_MAX + 1];
	struct order_head head;
	size_t at = sizeof head;
	ssize_t n = f.fd < 0 ? -1 : recv(f.fd, msg, sizeof msg, 0);

	if (n < (ssize_t)sizeof head)
		return false;
	f.n_messages++;
	f.biggest = MAX(f.biggest, (size_t)n);
	memcpy(&head, msg, sizeof head);
	a.id = head.id;
	for (uint32_t i = 0; i < head.n_steps; i++) {
		struct order_step s;
		const char *path, *path2;
		int r;

		memcpy(&s, msg + at, sizeof s);
		path = msg + at + sizeof s;
		path2 = s.path2_len ? path + s.path_len : "";
		at += sizeof s + s.path_len + s.path2_len;
		r = run_step(&s, path, path2);
		if (r < 0) {
			publisher_dies();
			return true;
		}
		if (r > 0) {
			a.failed = s.index;
			a.error = f.strange_error ? *f.strange_error : (uint32_t)r;
			break;
		}
		if (s.mark)
			a.realtime_usec = 12345;
	}
	assert_int_equal(send(f.fd, &a, sizeof a, 0), sizeof a);
	return true;
}

/* Until nothing happens any more. A publisher that has died is replaced. */
static void run(void)
{
	for (int idle = 0; idle < 3;) {
		int r = loop_run_once(f.loop, 0);

		assert_true(r >= 0);
		idle = r > 0 || publisher_serve() ? 0 : idle + 1;
		if (f.fd < 0 && !publish_stats(f.publish).attached) {
			attach();
			idle = 0;
		}
	}
}

/* --- what is published --- */

static void result_fn(void *userdata, int r, const struct publish_result *res, const struct err *e)
{
	struct result *out = userdata;

	out->n++;
	out->r = r;
	assert_true((r >= 0) == (res != NULL));
	snprintf(out->version, sizeof out->version, "%s", res ? res->version : "");
	snprintf(out->error, sizeof out->error, "%s", r < 0 ? err_text(e) : "");
}

static const struct volume_path AT = { "uid", "p", "v" };

/* "a=1 dir/b=2" */
static struct payload *payload_make(const char *spec)
{
	cleanup_free char *copy = strdup(spec);
	struct payload *p = NULL;
	char *save = NULL;

	assert_int_equal(payload_new(&p), 0);
	for (char *item = strtok_r(copy, " ", &save); item; item = strtok_r(NULL, " ", &save)) {
		char *text = strchr(item, '=');
		cleanup_secblock struct secblock *b = NULL;
		struct digest digest;
		struct secspan span;

		if (str_eq(item, "LIVE")) {
			payload_set_live(p);
			continue;
		}
		if (!text) {
			assert_int_equal(payload_add_mount_dir(p, item, NULL), 0);
			continue;
		}
		*text++ = 0;
		digest = digest_of(text, strlen(text));
		assert_int_equal(secblock_new(strlen(text), &b, NULL), 0);
		memcpy(b->data, text, strlen(text));
		span = (struct secspan){ .block = b, .len = strlen(text) };
		assert_int_equal(payload_add(p, item, &span, &digest, 0644, NULL), 0);
	}
	assert_int_equal(payload_seal(p, NULL), 0);
	return p;
}

static int publish(const char *spec, struct result *res)
{
	struct result local = { 0 };

	assert_int_equal(publish_volume(f.publish, &AT, payload_make(spec), result_fn, &local), 0);
	assert_int_equal(local.n, 0);
	run();
	assert_int_equal(local.n, 1);
	if (res)
		*res = local;
	return local.r;
}

/* Everything that is listed below a folder: "..data>..v a>..data/a ..v/a=1 ", in the order of its names' sorting. */
static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void show(struct buf *out, struct node *dir, const char *prefix)
{
	char *lines[64];
	size_t n = 0;

	for (struct node *c = node_next_child(dir, 0); c; c = node_next_child(dir, node_cookie(c))) {
		const char *name = str_starts(node_name(c), "..20") ? "..v" : node_name(c);
		struct buf line = BUF_INIT(1 << 16);
		cleanup_free char *path = str_format("%s%s", prefix, name);

		if (node_kind(c) == NODE_LINK) {
			const char *target = node_target(c);

			assert_int_equal(buf_printf(&line, "%s>%s ", path, str_starts(target, "..20") ? "..v" : target),
					 0);
		} else if (node_kind(c) == NODE_FILE) {
			assert_int_equal(buf_printf(&line, "%s=%.*s ", path, (int)node_content(c)->len,
						    (const char *)secspan_data(node_content(c))),
					 0);
		} else {
			cleanup_free char *below = str_format("%s/", path);

			assert_int_equal(buf_printf(&line, "%s/ ", path), 0);
			show(&line, c, below);
		}
		assert_true(n < ARRAY_SIZE(lines));
		lines[n++] = buf_take(&line);
	}
	qsort(lines, n, sizeof *lines, by_text);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(buf_add_str(out, lines[i]), 0);
		free(lines[i]);
	}
}

static char *shown(const char *path)
{
	struct node *dir = resolve(path, strlen(path));
	struct buf b = BUF_INIT(1 << 20);

	if (!dir)
		return strdup("(nothing)");
	show(&b, dir, "");
	return buf_take(&b);
}

static void assert_shown(const char *path, const char *want)
{
	cleanup_free char *have = shown(path);

	assert_string_equal(have, want);
}

/* Lets the versions in their grace end. */
static void settle(void)
{
	for (int i = 0; i < 5000 && publish_stats(f.publish).n_retired; i++) {
		assert_true(loop_run_once(f.loop, 1000) >= 0);
		publisher_serve();
	}
	run();
	assert_int_equal(publish_stats(f.publish).n_retired, 0);
}

static void assert_log(const char *want)
{
	assert_string_equal(f.log.data ?: "", want);
	buf_clear(&f.log);
}

/* --- tests --- */

#define V "uid/volumes/p/v"

static void a_new_volume_is_one_mkdir_after_its_parents(void **state)
{
	struct result res;

	assert_int_equal(publish("a=1 dir/b=2 nested/mount", &res), 0);
	assert_log("mkdir uid\nmkdir uid/volumes\nmkdir uid/volumes/p\nmkdir " V "\n"
		   "readdir " V "\nreaddir " V "/..v\nreadfile " V "/..v/a\nreaddir " V "/..v/dir\n"
		   "readfile " V "/..v/dir/b\nreadlink " V "/..data\nreadlink " V "/a\nreadlink " V "/dir\n"
		   "readdir " V "/nested\nreaddir " V "/nested/mount\n"
		   "stat uid/volumes/p\nstat uid/volumes\nstat uid\nstat .\n");
	assert_shown(V,
		     "..data>..v ..v/ ..v/a=1 ..v/dir/ ..v/dir/b=2 a>..data/a dir>..data/dir nested/ nested/mount/ ");
	assert_true(str_starts(res.version, "..20"));
	assert_int_equal(publish_stats(f.publish).n_published, 1);
}

static void an_update_makes_the_kubelets_calls_in_order(void **state)
{
	assert_int_equal(publish("gone/x=1 kept=1 sub/y=1", NULL), 0);
	buf_clear(&f.log);
	assert_int_equal(publish("kept=2 new=2 sub/y=2", NULL), 0);
	assert_log("mkdir " V "/..v\nchmod " V "/..v\nsymlink " V "/..data_tmp ..v\n"
		   "rename " V "/..data_tmp " V "/..data\nsymlink " V "/new ..data/new\nunlink " V "/gone\n"
		   "unlink " V "/..v/gone/x\nunlink " V "/..v/kept\nunlink " V "/..v/sub/y\n"
		   "readdir " V "/..v\nreadfile " V "/..v/kept\nreadfile " V "/..v/new\nreaddir " V "/..v/sub\n"
		   "readfile " V "/..v/sub/y\nreadlink " V "/..data\nreadlink " V "/new\nreaddir " V "\n");
	settle();
	assert_log("rmdir " V "/..v/sub\nrmdir " V "/..v/gone\nrmdir " V "/..v\nreaddir " V "\n");
	assert_shown(V, "..data>..v ..v/ ..v/kept=2 ..v/new=2 ..v/sub/ ..v/sub/y=2 kept>..data/kept new>..data/new "
			"sub>..data/sub ");
}

static void an_unchanged_payload_sends_nothing(void **state)
{
	struct result first, again;
	size_t n;

	assert_int_equal(publish("a=1 b=2", &first), 0);
	n = f.n_messages;
	assert_int_equal(publish("b=2 ./a=1", &again), PUBLISH_UNCHANGED);
	assert_int_equal(f.n_messages, n);
	assert_string_equal(again.version, first.version);
	assert_int_equal(publish_stats(f.publish).n_unchanged, 1);
}

#define UPDATE_STEPS 11
static const char before_update[] = "..data>..v ..v/ ..v/gone=1 ..v/kept=1 ..v/sub/ ..v/sub/y=1 gone>..data/gone "
				    "kept>..data/kept sub>..data/sub ";
static const char after_update[] =
	"..data>..v ..v/ ..v/kept=2 ..v/new/ ..v/new/z=2 ..v/sub/ ..v/sub/y=2 kept>..data/kept "
	"new>..data/new sub>..data/sub ";

static void a_failure_before_the_switch_leaves_the_volume_as_it_was(void **state)
{
	struct result res;

	assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
	for (int step = 1; step <= 4; step++) {
		size_t n_nodes = tree_stats(f.tree).n_nodes;

		f.fail_at = f.n_changes + step;
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", &res), -ENOSPC);
		assert_non_null(strstr(res.error, V));
		assert_shown(V, before_update);
		assert_int_equal(tree_stats(f.tree).n_nodes, n_nodes);
	}
	f.fail_at = 0;
	assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), PUBLISH_UNCHANGED);
	assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), 0);
	settle();
	assert_shown(V, after_update);
	assert_int_equal(publish_stats(f.publish).n_failed, 4);
}

static void a_failure_after_the_switch_is_healed_by_the_next_update(void **state)
{
	char path[256];
	struct node *n;

	for (int step = 5; step <= 9; step++) {
		assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
		settle();
		f.fail_at = f.n_changes + step;
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), -ENOSPC);
		f.fail_at = 0;
		/* what readers see meanwhile is the new content */
		n = resolve(V "/..data", strlen(V "/..data"));
		assert_non_null(n);
		snprintf(path, sizeof path, V "/%s/new/z", node_target(n));
		assert_non_null(resolve(path, strlen(path)));
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), 0);
		settle();
		assert_shown(V, after_update);
	}
}

static void note_healed(void *userdata, const char *uid, const char *volume)
{
	assert_string_equal(uid, AT.pod_uid);
	assert_string_equal(volume, AT.name);
	++*(int *)userdata;
}

/* Another agent follows, in the middle of the links. */
static void what_an_earlier_process_left_undone_is_not_whole_until_it_is_healed(void **state)
{
	struct publish_result res;
	int n_healed = 0, n = 0;
	uint64_t doubt = 0;
	bool whole;

	for (int step = 5; step <= 6; step++) {
		assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
		settle();
		whole = false;
		assert_true(publish_find(f.publish, &AT, &res, &whole));
		assert_true(whole);
		f.fail_at = f.n_changes + step;
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), -ENOSPC);
		f.fail_at = 0;
		publish_free(f.publish);
		close_fd(f.fd);
		assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
		publish_on_healed(f.publish, note_healed, &n_healed);
		assert_int_equal(publish_resume(f.publish, &doubt), 0);
		whole = true;
		assert_true(publish_find(f.publish, &AT, &res, &whole));
		assert_false(whole);
		attach();
		run();
		settle();
		assert_int_equal(n_healed, ++n);
		assert_true(publish_find(f.publish, &AT, &res, &whole));
		assert_true(whole);
		assert_shown(V, after_update);
	}
}

/* The last change of an earlier process may have got no answer: the kernel is made to look again before all is well. */
static void a_folder_in_doubt_is_looked_at_again(void **state)
{
	struct publish_result res;
	uint64_t doubt;
	int n_healed = 0;
	bool whole = true;

	assert_int_equal(publish("a=1 b/c=2", NULL), 0);
	settle();
	doubt = node_id(resolve(V, strlen(V)));
	publish_free(f.publish);
	close_fd(f.fd);
	buf_clear(&f.log);
	assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
	publish_on_healed(f.publish, note_healed, &n_healed);
	assert_int_equal(publish_resume(f.publish, &doubt), 0);
	assert_true(publish_find(f.publish, &AT, &res, &whole));
	assert_false(whole);
	attach();
	run();
	assert_int_equal(n_healed, 1);
	assert_int_equal(doubt, 0);
	assert_true(publish_find(f.publish, &AT, &res, &whole));
	assert_true(whole);
	assert_log("chmod " V "\nreaddir " V "\n");
}

#define L "uid/live/v"

/* "a=1 s/b=2 " of what live files show; "!" behind one that is in flux. */
static char *live_shown(void)
{
	static const char *const paths[] = { "a", "b", "s", "s/c", "d" };
	struct buf b = BUF_INIT(4096);
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		const struct node *n, *file;

		snprintf(path, sizeof path, L "/%s", paths[i]);
		n = resolve(path, strlen(path));
		if (!n || node_kind(n) != NODE_LIVE)
			continue;
		file = tree_follow(f.tree, n);
		assert_int_equal(buf_printf(&b, "%s=%.*s%s ", paths[i], (int)node_content(file)->len,
					    (const char *)secspan_data(node_content(file)),
					    node_is_in_flux(n) ? "!" : ""),
				 0);
	}
	return b.data ? buf_take(&b) : strdup("");
}

static void assert_live(const char *want)
{
	cleanup_free char *have = live_shown();

	assert_string_equal(have, want);
}

static void live_files_are_forgotten_before_the_switch_and_dropped_after_it(void **state)
{
	size_t n;

	assert_int_equal(publish("LIVE a=1 b=1 s/c=1", NULL), 0);
	assert_live("a=1 b=1 s/c=1 ");
	buf_clear(&f.log);
	n = f.n_messages;
	assert_int_equal(publish("LIVE a=2 b=1 s/c=1 d=2", NULL), 0);
	assert_log("mkdir " V "/..v\nforget " L "/a\nchmod " V "/..v\nsymlink " V "/..data_tmp ..v\n"
		   "rename " V "/..data_tmp " V "/..data\ndrop " L "/a\ntouch " L "/a\nstat " L "/a\nmknod " L "/d\n"
		   "symlink " V "/d ..data/d\nunlink " V "/..v/a\nunlink " V "/..v/b\nunlink " V "/..v/s/c\n"
		   "readdir " V "/..v\nreadfile " V "/..v/a\nreadfile " V "/..v/b\nreadfile " V "/..v/d\n"
		   "readdir " V "/..v/s\nreadfile " V "/..v/s/c\nreadlink " V "/..data\nreadfile " L "/d\n"
		   "readlink " V "/d\nreadfile " L "/a\nreaddir " V "\n");
	/* what has /dev/fuse has nothing else in it, and what is waited for is not behind what is not */
	assert_int_equal(f.n_messages - n, 6);
	assert_live("a=2 b=1 s/c=1 d=2 ");
}

static void a_live_file_whose_key_goes_or_comes_changes_its_folder(void **state)
{
	assert_int_equal(publish("LIVE a=1 s/c=1", NULL), 0);
	assert_int_equal(publish("LIVE a=1", NULL), 0);
	assert_non_null(strstr(f.log.data, "drop " L "/s/c\ndrop " L "/s\n"));
	assert_live("a=1 ");
	buf_clear(&f.log);
	assert_int_equal(publish("LIVE a=1 s/c=3", NULL), 0);
	assert_non_null(strstr(f.log.data, "drop " L "/s/c\ndrop " L "/s\n"));
	assert_null(strstr(f.log.data, "mknod"));
	assert_live("a=1 s/c=3 ");
}

static void a_live_file_gives_way_to_a_folder_and_back(void **state)
{
	assert_int_equal(publish("LIVE s=1", NULL), 0);
	assert_live("s=1 ");
	assert_int_equal(publish("LIVE s/c=2", NULL), 0);
	assert_live("s/c=2 ");
	assert_int_equal(publish("LIVE s=3", NULL), 0);
	assert_live("s=3 ");
}

static void live_files_stay_with_the_volume_and_go_with_it(void **state)
{
	bool whole = false;

	assert_int_equal(publish("a=1", NULL), 0);
	assert_live("");
	assert_int_equal(publish("LIVE a=1", NULL), 0);
	assert_live("a=1 ");
	assert_int_equal(publish("LIVE a=1", NULL), PUBLISH_UNCHANGED);
	assert_int_equal(publish("a=2", NULL), 0);
	assert_live("a=2 ");
	assert_true(publish_find(f.publish, &AT, &(struct publish_result){ 0 }, &whole));
	assert_true(whole);
	assert_int_equal(publish_remove_volume(f.publish, &AT, NULL, NULL), 0);
	run();
	assert_null(resolve(L, strlen(L)));
}

#define LIVE_STEPS 20

/* The publisher's or the agent's; what is in flux is settled before all is well. */
static void live_files_survive_deaths_at_any_step(void **state)
{
	struct publish_result res;
	int n_healed = 0, n_unsettled = 0, r;
	uint64_t doubt = 0;
	bool whole;

	for (int step = 1; step <= LIVE_STEPS; step++) {
		for (int how = 0; how < 3; how++) {
			assert_true(publish("LIVE a=1 b=1 s/c=1", NULL) >= 0);
			settle();
			f.die_before = how == 0 ? f.n_changes + step : 0;
			f.die_after = how == 1 ? f.n_changes + step : 0;
			f.fail_at = how == 2 ? f.n_changes + step : 0;
			r = publish("LIVE a=2 b=1 d=2", NULL);
			/* a touch may fail */
			assert_true(r == 0 || (how == 2 && r == -ENOSPC));
			f.die_before = f.die_after = f.fail_at = 0;
			if (how < 2) {
				settle();
				assert_live("a=2 b=1 d=2 ");
				continue;
			}
			n_unsettled += node_is_in_flux(resolve(L "/a", strlen(L "/a")));
			publish_free(f.publish);
			close_fd(f.fd);
			assert_int_equal(publish_new(f.loop, f.tree, &f.publish), 0);
			publish_on_healed(f.publish, note_healed, &n_healed);
			assert_int_equal(publish_resume(f.publish, &doubt), 0);
			assert_true(publish_find(f.publish, &AT, &res, &whole));
			assert_true(!whole || !node_is_in_flux(resolve(L "/a", strlen(L "/a"))));
			attach();
			run();
			settle();
			assert_true(publish_find(f.publish, &AT, &res, &whole));
			assert_true(whole);
			if (resolve(L "/d", strlen(L "/d")))
				assert_live("a=2 b=1 d=2 ");
			else
				assert_live("a=1 b=1 s/c=1 ");
		}
	}
	assert_true(n_unsettled > 3 && n_unsettled < LIVE_STEPS);
}

/* A failed update is not wanted any more: what it has put in flux does not stay so. */
static void live_files_of_an_update_that_was_taken_back_are_settled(void **state)
{
	assert_int_equal(publish("LIVE a=1", NULL), 0);
	f.fail_at = f.n_changes + 3;
	assert_int_equal(publish("LIVE a=2", NULL), -ENOSPC);
	f.fail_at = 0;
	assert_live("a=1! ");
	assert_int_equal(publish("LIVE a=1", NULL), 0);
	assert_live("a=1 ");
	assert_int_equal(publish("LIVE a=1", NULL), PUBLISH_UNCHANGED);
}

static void a_new_volume_that_fails_leaves_nothing(void **state)
{
	for (int step = 1; step <= 4; step++) {
		f.fail_at = f.n_changes + step;
		assert_int_equal(publish("a=1 b/c=2", NULL), -ENOSPC);
		assert_shown("", "");
		assert_int_equal(tree_stats(f.tree).n_nodes, 1);
	}
	f.fail_at = 0;
	assert_int_equal(publish("a=1 b/c=2", NULL), 0);
}

static void a_publisher_may_die_at_any_step(void **state)
{
	for (int step = 1; step <= UPDATE_STEPS; step++) {
		for (int after = 0; after < 2; after++) {
			assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
			settle();
			assert_shown(V, before_update);
			f.die_before = after ? 0 : f.n_changes + step;
			f.die_after = after ? f.n_changes + step : 0;
			assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), 0);
			settle();
			assert_shown(V, after_update);
			f.die_before = f.die_after = 0;
		}
	}
}

static void a_publisher_may_die_in_a_new_volume(void **state)
{
	for (int step = 1; step <= 4; step++) {
		for (int after = 0; after < 2; after++) {
			struct result res = { 0 };

			f.die_before = after ? 0 : f.n_changes + step;
			f.die_after = after ? f.n_changes + step : 0;
			assert_int_equal(publish("a=1", NULL), 0);
			f.die_before = f.die_after = 0;
			assert_shown(V, "..data>..v ..v/ ..v/a=1 a>..data/a ");
			assert_int_equal(publish_remove_pod(f.publish, "uid", result_fn, &res), 0);
			run();
			assert_int_equal(res.n, 1);
			assert_int_equal(res.r, 0);
			assert_int_equal(tree_stats(f.tree).n_nodes, 1);
		}
	}
}

static void a_failure_and_a_death_while_it_is_taken_back(void **state)
{
	assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
	f.fail_at = f.n_changes + 4;
	f.die_before = f.n_changes + 5;
	assert_int_equal(publish("kept=2", NULL), -ENOSPC);
	assert_shown(V, before_update);
	f.fail_at = f.die_before = 0;
}

/* What could not be taken back is in nobody's way. */
static void a_failure_while_it_is_taken_back_is_healed_by_the_next_update(void **state)
{
	for (int step = 2; step <= 9; step++) {
		assert_int_equal(publish("gone=1 kept=1 sub/y=1", NULL), 0);
		settle();
		f.fail_at = f.n_changes + step;
		f.n_fail = 1;
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), -ENOSPC);
		f.fail_at = f.n_fail = 0;
		assert_int_equal(publish("kept=2 new/z=2 sub/y=2", NULL), 0);
		settle();
		assert_shown(V, after_update);
	}
}

static void a_name_that_could_not_be_taken_back_is_in_nobodys_way(void **state)
{
	struct result res = { 0 };

	assert_int_equal(publish_name_pod(f.publish, "uid", "ns", "web"), 0);
	run();
	f.fail_at = f.n_changes + 2; /* the rename, and the unlink that takes the link back */
	f.n_fail = 1;
	assert_int_equal(publish_name_pod(f.publish, "uid2", "ns", "web"), 0);
	run();
	f.fail_at = f.n_fail = 0;
	assert_int_equal(publish_name_pod(f.publish, "uid3", "ns", "web"), 0);
	run();
	assert_shown("by-name", "ns/ ns/web>../../uid3 ");
	assert_int_equal(publish_remove_pod(f.publish, "uid3", result_fn, &res), 0);
	run();
	assert_int_equal(res.r, 0);
	assert_shown("", "by-name/ ");
}

static void long_orders_are_cut_into_messages(void **state)
{
	cleanup_buf struct buf spec = BUF_INIT(1 << 20);

	for (int i = 0; i < 2000; i++)
		assert_int_equal(buf_printf(&spec, "%s%d=%d", i ? " key-" : "key-", i, i), 0);
	assert_int_equal(publish(spec.data, NULL), 0);
	assert_true(f.n_messages > 4);
	assert_true(f.biggest <= ORDER_MAX);
	assert_int_equal(publish("one=1", NULL), 0);
	settle();
	assert_shown(V, "..data>..v ..v/ ..v/one=1 one>..data/one ");
	assert_true(f.biggest <= ORDER_MAX);
}

static void waiting_payloads_are_overtaken(void **state)
{
	struct result res[4] = { 0 };
	struct volume_path other = { "uid", "p", "w" };

	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=1"), result_fn, &res[0]), 0);
	assert_int_equal(publish_volume(f.publish, &other, payload_make("a=1"), result_fn, &res[1]), 0);
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=2"), result_fn, &res[2]), 0);
	assert_int_equal(publish_stats(f.publish).n_queued, 2);
	run();
	assert_int_equal(res[0].r, -ESTALE);
	assert_string_equal(res[0].error, "overtaken by a newer payload");
	assert_int_equal(res[1].r, 0);
	assert_int_equal(res[2].r, 0);
	assert_shown(V, "..data>..v ..v/ ..v/a=2 a>..data/a ");

	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=3"), result_fn, &res[0]), 0);
	assert_int_equal(publish_remove_pod(f.publish, "uid", result_fn, &res[3]), 0);
	run();
	assert_int_equal(res[0].r, -ESTALE);
	assert_int_equal(res[3].r, 0);
	assert_shown("", "");
	for (size_t i = 0; i < ARRAY_SIZE(res); i++)
		assert_int_equal(res[i].n, i == 0 ? 2 : 1);
}

static void names_come_and_go_with_their_pods(void **state)
{
	struct result res = { 0 };

	assert_int_equal(publish_name_pod(f.publish, "uid", "ns", "web"), 0);
	assert_int_equal(publish("a=1", NULL), 0);
	assert_shown("by-name", "ns/ ns/web>../../uid ");
	assert_int_equal(publish_name_pod(f.publish, "uid2", "ns", "web"), 0);
	assert_int_equal(publish_name_pod(f.publish, "uid3", "ns", "db"), 0);
	run();
	assert_shown("by-name", "ns/ ns/db>../../uid3 ns/web>../../uid2 ");
	assert_int_equal(publish_remove_pod(f.publish, "uid", result_fn, &res), 0);
	run();
	assert_shown("by-name", "ns/ ns/db>../../uid3 ns/web>../../uid2 ");
	assert_int_equal(publish_remove_pod(f.publish, "uid2", result_fn, &res), 0);
	assert_int_equal(publish_remove_pod(f.publish, "uid3", NULL, NULL), 0);
	run();
	assert_shown("", "by-name/ ");
	assert_int_equal(res.n, 2);
}

static void what_is_under_way_ends_with_publish(void **state)
{
	struct result res = { 0 }, removed = { 0 };

	assert_int_equal(publish("a=1", NULL), 0);
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=2"), result_fn, &res), 0);
	assert_true(loop_run_once(f.loop, 0) >= 0);
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=3"), result_fn, &res), 0);
	assert_int_equal(publish_remove_pod(f.publish, "other", result_fn, &removed), 0);
	publish_free(f.publish);
	f.publish = NULL;
	assert_int_equal(res.n, 2);
	assert_int_equal(res.r, -ECANCELED);
	assert_int_equal(removed.n, 1);
	assert_int_equal(removed.r, -ECANCELED);
}

static void strange_answers_are_harmless(void **state)
{
	struct result res = { 0 };
	struct order_answer a = { .id = 999, .failed = 0, .error = EIO };
	static const uint32_t errors[] = { 0, 4096, INT32_MAX, UINT32_C(1) << 31, UINT32_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		f.strange_error = &errors[i];
		f.fail_at = f.n_changes + 1;
		assert_int_equal(publish("a=0", &res), -EIO);
		res = (struct result){ 0 };
	}
	f.fail_at = 0;
	f.strange_error = NULL;
	assert_int_equal(send(f.fd, &a, sizeof a, 0), sizeof a);
	assert_int_equal(publish("a=1", NULL), 0);
	/* not an answer: whoever sends that is no publisher of ours */
	assert_int_equal(send(f.fd, "x", 1, 0), 1);
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=2"), result_fn, &res), 0);
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(f.loop, 0) >= 0);
	assert_false(publish_stats(f.publish).attached);
	assert_false(publish_is_publisher(f.publish, PID));
	assert_false(publish_is_publisher(f.publish, 0));
	publisher_dies();
	run();
	assert_true(publish_is_publisher(f.publish, PID));
	assert_int_equal(res.n, 1);
	assert_int_equal(res.r, 0);
}

static void turn(int n)
{
	for (int i = 0; i < n; i++)
		assert_true(loop_run_once(f.loop, 0) >= 0);
}

/* An answer to an order that is not the present one says nothing of it, good or bad. */
static void an_answer_to_another_order_is_not_taken(void **state)
{
	static char msg[ORDER_MAX + 1];
	struct result res = { 0 };
	struct order_head head;
	uint64_t n_answers;

	assert_int_equal(publish("a=1", NULL), 0);
	n_answers = publish_stats(f.publish).n_answers;
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=2"), result_fn, &res), 0);
	turn(5);
	assert_true(recv(f.fd, msg, sizeof msg, MSG_PEEK) > (ssize_t)sizeof head);
	memcpy(&head, msg, sizeof head);
	for (int by = -1; by <= 1; by += 2) {
		struct order_answer done = { .id = head.id + by, .failed = ORDER_DONE },
				    failed = { .id = head.id + by, .failed = 0, .error = EIO };

		assert_int_equal(send(f.fd, &done, sizeof done, 0), sizeof done);
		assert_int_equal(send(f.fd, &failed, sizeof failed, 0), sizeof failed);
	}
	turn(10);
	assert_int_equal(res.n, 0);
	assert_int_equal(publish_stats(f.publish).n_answers, n_answers);
	run();
	assert_int_equal(res.n, 1);
	assert_int_equal(res.r, 0);
	assert_shown(V, "..data>..v ..v/ ..v/ ..v/a=2 a>..data/a ");
}

static int n_read_only;

static bool read_only_fn(void *userdata)
{
	n_read_only++;
	return userdata == NULL;
}

static void what_meets_a_read_only_file_system_waits_and_is_repeated(void **state)
{
	static const uint32_t error = EROFS;
	struct result last = { 0 };
	size_t n_messages, before;
	int n_waited = 0;

	publish_on_read_only(f.publish, read_only_fn, NULL);
	f.strange_error = &error;
	for (int step = 1;; step++, n_waited++) {
		cleanup_free char *spec = str_format("a=%d b%d=1", step, step);
		struct result res = { 0 };

		n_read_only = 0;
		f.fail_at = f.n_changes + step;
		assert_int_equal(publish_volume(f.publish, &AT, payload_make(spec), result_fn, &res), 0);
		run();
		if (n_read_only == 0)
			break; /* it has no such step */
		assert_int_equal(res.n, 0);
		assert_int_equal(publish_stats(f.publish).unanswered_usec, 0);
		if (step % 2) {
			publish_repeat(f.publish);
		} else { /* another publisher does it, too, and only once */
			publisher_dies();
			run();
			publish_repeat(f.publish);
		}
		run();
		assert_int_equal(res.n, 1);
		assert_int_equal(res.r, 0);
		assert_int_equal(n_read_only, 1);
	}
	assert_true(n_waited > 5);
	publish_repeat(f.publish); /* nothing waits */
	run();
	/* what is under way does not wait: it is not begun twice */
	f.fail_at = 0;
	n_messages = f.n_messages;
	assert_int_equal(publish("a=x", NULL), 0);
	n_messages = f.n_messages - n_messages;
	before = f.n_messages;
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=y"), result_fn, &last), 0);
	turn(5);
	publish_repeat(f.publish);
	run();
	assert_int_equal(last.n, 1);
	assert_int_equal(f.n_messages - before, n_messages);
}

static void a_file_system_that_stays_read_only_is_an_error(void **state)
{
	static const uint32_t error = EROFS;
	struct result res = { 0 };

	assert_int_equal(publish("a=1", NULL), 0);
	f.strange_error = &error;
	f.fail_at = f.n_changes + 1;
	f.n_fail = INT16_MAX;
	/* nobody would do anything about it */
	assert_int_equal(publish("a=2", NULL), -EROFS);
	publish_on_read_only(f.publish, read_only_fn, &res);
	assert_int_equal(publish("a=2", NULL), -EROFS);
	publish_on_read_only(f.publish, read_only_fn, NULL);
	n_read_only = 0;
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=2"), result_fn, &res), 0);
	for (int i = 0; i < 20 && res.n == 0; i++) {
		run();
		publish_repeat(f.publish);
	}
	assert_int_equal(res.n, 1);
	assert_int_equal(res.r, -EROFS);
	assert_in_range(n_read_only, 1, 5);
	f.fail_at = 0;
	assert_shown(V, "..data>..v ..v/ ..v/a=1 a>..data/a ");
	assert_int_equal(publish("a=2", NULL), 0);
}

static void an_order_without_an_answer_gets_older(void **state)
{
	struct result res = { 0 };

	assert_int_equal(publish_stats(f.publish).unanswered_usec, 0);
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=1"), result_fn, &res), 0);
	for (int i = 0; i < 1000 && publish_stats(f.publish).unanswered_usec < 2000; i++)
		assert_true(loop_run_once(f.loop, 1000) >= 0);
	assert_true(publish_stats(f.publish).unanswered_usec >= 2000);
	run();
	assert_int_equal(res.n, 1);
	assert_int_equal(publish_stats(f.publish).unanswered_usec, 0);
	/* nobody waits for one that is gone */
	assert_int_equal(publish_volume(f.publish, &AT, payload_make("a=2"), result_fn, &res), 0);
	assert_true(loop_run_once(f.loop, 0) >= 0);
	publisher_dies();
	for (int i = 0; i < 5; i++)
		assert_true(loop_run_once(f.loop, 1000) >= 0);
	assert_int_equal(publish_stats(f.publish).unanswered_usec, 0);
	run();
	assert_int_equal(res.n, 2);
}

static void a_publisher_that_lies_is_found_out(void **state)
{
	struct result res = { 0 };

	assert_int_equal(publish("a=1", NULL), 0);
	f.lies = true;
	assert_int_equal(publish("a=2", &res), -EIO);
	assert_non_null(strstr(res.error, "the publisher did not make " V));
	assert_int_equal(publish_remove_volume(f.publish, &AT, result_fn, &res), 0);
	run();
	assert_int_equal(res.r, -EIO);
	assert_int_equal(publish_remove_pod(f.publish, "uid", result_fn, &res), 0);
	run();
	assert_int_equal(res.r, -EIO);
	f.lies = false;
	assert_shown(V, "..data>..v ..v/ ..v/a=1 a>..data/a ");
	assert_int_equal(publish("a=1", NULL), PUBLISH_UNCHANGED);
	assert_int_equal(publish("a=2", NULL), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_new_volume_is_one_mkdir_after_its_parents),
		TEST(an_update_makes_the_kubelets_calls_in_order),
		TEST(an_unchanged_payload_sends_nothing),
		TEST(a_failure_before_the_switch_leaves_the_volume_as_it_was),
		TEST(a_failure_after_the_switch_is_healed_by_the_next_update),
		TEST(what_an_earlier_process_left_undone_is_not_whole_until_it_is_healed),
		TEST(a_folder_in_doubt_is_looked_at_again),
		TEST(a_new_volume_that_fails_leaves_nothing),
		TEST(live_files_are_forgotten_before_the_switch_and_dropped_after_it),
		TEST(a_live_file_whose_key_goes_or_comes_changes_its_folder),
		TEST(a_live_file_gives_way_to_a_folder_and_back),
		TEST(live_files_stay_with_the_volume_and_go_with_it),
		TEST(live_files_survive_deaths_at_any_step),
		TEST(live_files_of_an_update_that_was_taken_back_are_settled),
		TEST(a_publisher_may_die_at_any_step),
		TEST(a_publisher_may_die_in_a_new_volume),
		TEST(a_failure_and_a_death_while_it_is_taken_back),
		TEST(a_failure_while_it_is_taken_back_is_healed_by_the_next_update),
		TEST(a_name_that_could_not_be_taken_back_is_in_nobodys_way),
		TEST(long_orders_are_cut_into_messages),
		TEST(waiting_payloads_are_overtaken),
		TEST(names_come_and_go_with_their_pods),
		TEST(what_is_under_way_ends_with_publish),
		TEST(strange_answers_are_harmless),
		TEST(an_answer_to_another_order_is_not_taken),
		TEST(what_meets_a_read_only_file_system_waits_and_is_repeated),
		TEST(a_file_system_that_stays_read_only_is_an_error),
		TEST(an_order_without_an_answer_gets_older),
		TEST(a_publisher_that_lies_is_found_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
