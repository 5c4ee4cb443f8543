/* Publishing, for unit tests: a publisher in the test reads the orders and commits them in the tree by itself, so neither FUSE nor
 * root is needed. It fails and dies where it is told to. */
#pragma once

#include "fusefs/publish.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/str.h"
#include "fusefs/order.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* tables leave out what is empty */
#pragma GCC diagnostic ignored "-Wunused-function"

#define PID 4711

struct fixture {
	struct loop *loop;
	struct tree *tree;
	struct publish *publish;
	int fd; /* the publisher's end */
	struct buf log;
	size_t n_messages, biggest;
	int n_changes; /* steps so far that change something */
	int fail_at, die_before, die_after, hang_at; /* count of such a step; 0: never */
	bool lies, lies_of_removals, lies_of_renames; /* says that it has done what it has not */
	const uint32_t *strange_error; /* what a failed step answers instead of its errno */
	int n_fail; /* how many more fail after it, */
	int later_errno; /* with this; 0: as it did */
};

struct result {
	int n, r;
	unsigned reason;
	uint64_t rested_usec;
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

static struct node *folder_of(const char *path)
{
	size_t len = base(path) - path;

	return resolve(path, len ? len - 1 : 0);
}

static int commit(const struct order_step *s, const char *path, const char *path2)
{
	struct node *dir = folder_of(path), *to, *n;

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
		to = folder_of(path2);
		return to ? tree_commit_rename(f.tree, dir, base(path), to, base(path2)) : -ENOENT;
	case ORDER_UNLINK:
		return tree_commit_unlink(f.tree, dir, base(path));
	case ORDER_RMDIR:
		return tree_commit_rmdir(f.tree, dir, base(path));
	case ORDER_MKNOD:
		return tree_commit_mknod(f.tree, dir, base(path), &n);
	case ORDER_INVAL_ATTR:
	case ORDER_INVAL:
		return 0; /* also of a node that is gone */
	default:
		return str_eq(path, ".") || resolve(path, strlen(path)) ? 0 : -ENOENT;
	}
}

static bool is_version(const char *name)
{
	return strspn(name, "0123456789_") == strlen("2026_11_22_02_52_48") && name[4] == '_';
}

/* Names of versions lose their time. */
static void log_path(const char *path)
{
	assert_int_equal(buf_add_str(&f.log, " "), 0);
	for (const char *at = path; *at;) {
		size_t part = strcspn(at, "/");

		if (str_starts(at, "..20"))
			assert_int_equal(buf_add_str(&f.log, "..v"), 0);
		else if (is_version(at))
			assert_int_equal(buf_add_str(&f.log, "new"), 0);
		else
			assert_int_equal(buf_add(&f.log, at, part), 0);
		at += part;
		if (*at)
			assert_int_equal(buf_add(&f.log, at++, 1), 0);
	}
}

/* "mkdir v/..new" */
static void log_step(const struct order_step *s, const char *path, const char *path2)
{
	static const char *const names[ORDER_OPS] = { "mkdir", "chmod",	   "symlink",  "rename", "unlink",
						      "rmdir", "mknod",	   "forget",   "drop",	 "touch",
						      "stat",  "readfile", "readlink", "readdir" };

	assert_int_equal(buf_add_str(&f.log, names[s->op]), 0);
	log_path(path);
	if (*path2)
		log_path(path2);
	assert_int_equal(buf_add_str(&f.log, "\n"), 0);
}

static void publisher_dies(void)
{
	f.fd = close_fd(f.fd);
}

enum { DIES = -1, HANGS = -2 };

/* 0: go on; else the errno, or what becomes of the publisher. */
static int run_step(const struct order_step *s, const char *path, const char *path2)
{
	bool changes = s->op < ORDER_STAT;
	int r;

	f.n_changes += changes;
	if (changes && f.n_changes == f.hang_at)
		return HANGS;
	if (changes && f.n_changes == f.die_before)
		return DIES;
	if (changes && f.fail_at && f.n_changes >= f.fail_at && f.n_changes <= f.fail_at + f.n_fail)
		return f.n_changes > f.fail_at && f.later_errno ? f.later_errno : ENOSPC;
	log_step(s, path, path2);
	if (f.lies || (f.lies_of_removals && (s->op == ORDER_UNLINK || s->op == ORDER_RMDIR)) ||
	    (f.lies_of_renames && s->op == ORDER_RENAME))
		return 0;
	r = commit(s, path, path2);
	if (changes && f.n_changes == f.die_after)
		return DIES;
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
			if (r == DIES)
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
	out->reason = r < 0 ? e->reason : 0;
	assert_true((r >= 0) == (res != NULL) || r == -ETIMEDOUT);
	out->rested_usec = res ? res->rested_usec : 0;
	snprintf(out->version, sizeof out->version, "%s", res ? res->version : "");
	snprintf(out->error, sizeof out->error, "%s", r < 0 ? err_text(e) : "");
}

static const struct volume_path AT = { "uid", "p", "v" };

/* "a=1 dir/b=2", behind "@7" of revision 7 */
static struct payload *payload_make_unsealed(const char *spec)
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
		if (item[0] == '@') {
			assert_int_equal(payload_add_origin(p, "secret/db", "uid-of-db", item + 1), 0);
			continue;
		}
		if (str_eq(item, "FLAT")) {
			payload_set_flat(p);
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
	return p;
}

static struct payload *payload_make(const char *spec)
{
	struct payload *p = payload_make_unsealed(spec);

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
	char *lines[64] = { NULL };
	size_t n = 0;

	for (struct node *c = node_next_child(dir, 0); c; c = node_next_child(dir, node_cookie(c))) {
		const char *name = str_starts(node_name(c), "..20") ? "..v"
				   : is_version(node_name(c))	    ? "new"
								    : node_name(c);
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

/* Whoever calls unlink or rmdir is refused. */
static void assert_nothing_may_go(struct node *dir)
{
	for (struct node *n = node_next_child(dir, 0); n; n = node_next_child(dir, node_cookie(n))) {
		if (node_kind(n) == NODE_DIR) {
			assert_nothing_may_go(n);
			assert_int_equal(tree_commit_rmdir(f.tree, dir, node_name(n)), -EROFS);
		} else {
			assert_int_equal(tree_commit_unlink(f.tree, dir, node_name(n)), -EROFS);
		}
	}
}

static void assert_log(const char *want)
{
	assert_string_equal(f.log.data ?: "", want);
	buf_clear(&f.log);
}

#define V "uid/volumes/p/v"

static void note_healed(void *userdata, const char *uid, const char *volume)
{
	assert_string_equal(uid, AT.pod_uid);
	assert_string_equal(volume, AT.name);
	++*(int *)userdata;
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
