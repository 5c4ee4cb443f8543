/* Arena: what a tree leaves behind is what the next one finds, whenever its process dies and whatever is in the memory. A
 * "process" is here one round of arena_open() and tree_open() in this one, with the memory mapped elsewhere; those that die
 * at any instruction are children that are stepped through. */
#include "fusefs/arena.h"

#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/str.h"
#include "fusefs/label.h"
#include "fusefs/tree.h"
#include "test/lib/skip.h"
#include "test/lib/valgrind.h"

#define HEAP (256u << 10)

static struct {
	int fd;
	struct arena *arena;
	struct tree *tree;
	struct payload *revisions[3]; /* of the object that the volume is of: "1" and so on */
} f;

static int begin(struct err *e)
{
	int r;

	r = arena_open(f.fd, &f.arena, e);
	return r ?: tree_open(1000000, f.arena, &f.tree, e);
}

static void end(void)
{
	tree_free(TAKE_PTR(f.tree));
	secmem_deinit();
	arena_close(TAKE_PTR(f.arena));
}

/* The process ends and another begins. */
static void next_process(void)
{
	struct err e = ERR_INIT;

	end();
	if (begin(&e) < 0)
		fail_msg("%s", err_text(&e));
}

static struct payload *revision_make(const char *version)
{
	struct payload *p;

	assert_int_equal(payload_new(&p), 0);
	assert_int_equal(payload_add_origin(p, "secret/db", "uid-of-db", version), 0);
	assert_int_equal(payload_add(p, "key", &(struct secspan){ .len = 0 }, &(struct digest){ { 0 } }, 0, NULL), 0);
	assert_int_equal(payload_seal(p, NULL), 0);
	return p;
}

static int setup(void **state)
{
	f.fd = -1;
	assert_int_equal(arena_create(HEAP, &f.fd, NULL), 0);
	assert_int_equal(begin(NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(f.revisions); i++)
		f.revisions[i] = revision_make((char[]){ (char)('1' + i), 0 });
	return 0;
}

static int teardown(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(f.revisions); i++)
		payload_free(TAKE_PTR(f.revisions[i]));
	end();
	f.fd = close_fd(f.fd);
	return 0;
}

/* --- what a publisher makes of it --- */

static struct node *root(void)
{
	return tree_node(f.tree, TREE_ROOT_ID);
}

static struct node *at(const char *path)
{
	struct node *n = root();
	char name[PAYLOAD_NAME_MAX + 1];

	while (n && *path) {
		size_t len = strcspn(path, "/");

		memcpy(name, path, len);
		name[len] = 0;
		n = tree_find(f.tree, n, name);
		path += len + (path[len] == '/');
	}
	return n;
}

static struct payload_file file_make(const char *text, struct secblock **ret_b)
{
	struct payload_file file = { .mode = 0640, .uid = 7, .gid = 8, .digest = digest_of(text, strlen(text)) };

	assert_int_equal(secblock_new(strlen(text), ret_b, NULL), 0);
	memcpy((*ret_b)->data, text, strlen(text));
	file.content = (struct secspan){ .block = *ret_b, .len = strlen(text) };
	return file;
}

static struct node *fill(struct node *dir, const char *name, const char *text)
{
	cleanup_secblock struct secblock *b = NULL;
	struct payload_file file = file_make(text, &b);
	struct node *n;

	assert_int_equal(tree_fill_file(f.tree, dir, name, &file, &n), 0);
	return n;
}

static void volume_make(const char *version, const char *text)
{
	struct digest d = digest_of(text, strlen(text));
	struct node *vol, *v, *n;

	assert_int_equal(tree_stage_dir(f.tree, root(), "vol", 01777, 5, &vol), 0);
	assert_int_equal(tree_fill_version(f.tree, vol, version, 02755, 5, &d, &v), 0);
	fill(v, "key", text);
	assert_int_equal(label_version(f.tree, v, v, f.revisions[0], 0), 0);
	assert_int_equal(tree_fill_link(f.tree, vol, "..data", version, &n), 0);
	assert_int_equal(tree_fill_link(f.tree, vol, "key", "..data/key", &n), 0);
	assert_int_equal(tree_commit_mkdir(f.tree, root(), "vol", &n), 0);
}

/* The kubelet's order of calls; `old` goes. No assertions: this runs where each of its instructions may be the last. */
static void volume_update(const char *old, const char *version, const char *text)
{
	struct digest d = digest_of(text, strlen(text));
	struct payload_file file = { .mode = 0640, .digest = d };
	struct node *vol = at("vol"), *before = tree_find(f.tree, vol, old), *v, *n;
	struct secblock *b = NULL;

	tree_stage_version(f.tree, vol, version, 0755, 0, &d, &v);
	secblock_new(strlen(text), &b, NULL);
	memcpy(b->data, text, strlen(text));
	file.content = (struct secspan){ .block = b, .len = strlen(text) };
	tree_fill_file(f.tree, v, "key", &file, &n);
	secblock_unref(b);
	label_version(f.tree, v, v, f.revisions[1], 0);
	tree_commit_mkdir(f.tree, vol, version, &n);
	tree_ref_lookup(f.tree, n);
	tree_stage_link(f.tree, vol, "..data_tmp", version, "..data", &n);
	tree_commit_symlink(f.tree, vol, "..data_tmp", version, &n);
	tree_commit_rename(f.tree, vol, "..data_tmp", vol, "..data");
	tree_retire(f.tree, before);
	n = tree_find(f.tree, before, "key");
	tree_stage_removal(f.tree, n);
	tree_commit_unlink(f.tree, before, "key");
	tree_stage_removal(f.tree, before);
	tree_commit_rmdir(f.tree, vol, old);
	tree_forget(f.tree, node_id(v), 1);
}

static const char *content(const char *path, char text[64])
{
	struct node *n = at(path);
	const struct secspan *span = n && node_kind(n) == NODE_FILE ? node_content(n) : NULL;

	if (!span || span->len > 63)
		return "none";
	memcpy(text, secspan_data(span), span->len);
	text[span->len] = 0;
	return text;
}

/* Of the version that ..data names. */
static const char *current(char text[64])
{
	char path[128];
	struct node *data = at("vol/..data");

	if (!data || node_kind(data) != NODE_LINK)
		return "no ..data";
	snprintf(path, sizeof path, "vol/%s/key", node_target(data));
	return content(path, text);
}

/* The revision that the node is of; "?": it is not known. */
static const char *revision(const struct node *n)
{
	const struct origins *o;
	uint32_t index;

	o = n ? node_origins(n, &index) : NULL;
	if (!o || origins_count(o) != 1)
		return "?";
	assert_int_equal(index, node_kind(n) == NODE_FILE ? 1 : 0);
	assert_string_equal(origins_at(o, 0)->object, "secret/db");
	assert_string_equal(origins_at(o, 0)->uid, "uid-of-db");
	return origins_at(o, 0)->resource_version;
}

/* --- one process after the other --- */

static void a_tree_is_found_as_it_was_left(void **state)
{
	static const char *const paths[] = { "vol", "vol/..1", "vol/..1/key", "vol/..data", "vol/key", "" };
	struct stat before[ARRAY_SIZE(paths)], after;
	uint64_t next;
	char text[64];

	volume_make("..1", "first");
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		node_stat(at(paths[i]), &before[i]);
	tree_ref_lookup(f.tree, at("vol"));
	tree_ref_lookup(f.tree, at("vol"));
	tree_ref_lookup(f.tree, at("vol/key"));
	next = arena_next_id(f.arena);

	for (int round = 0; round < 3; round++) {
		struct digest d = digest_of("first", 5);

		next_process();
		for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
			assert_non_null(at(paths[i]));
			node_stat(at(paths[i]), &after);
			assert_memory_equal(&before[i], &after, sizeof after);
		}
		assert_string_equal(current(text), "first");
		assert_string_equal(node_target(at("vol/key")), "..data/key");
		assert_int_equal(node_lookups(at("vol")), 2);
		assert_int_equal(node_lookups(at("vol/key")), 1);
		assert_true(digest_eq(node_digest(at("vol/..1")), &d));
		assert_true(node_is_immutable(at("vol/..1")));
		assert_false(node_is_immutable(at("vol")));
		assert_int_equal(arena_next_id(f.arena), next);
		assert_int_equal(tree_stats(f.tree).content_bytes, 5);
		assert_int_equal(tree_stats(f.tree).n_nodes, 6);
	}
}

static void the_next_process_goes_on(void **state)
{
	char text[64];

	volume_make("..1", "first");
	next_process();
	volume_update("..1", "..2", "second");
	assert_string_equal(current(text), "second");
	next_process();
	assert_string_equal(current(text), "second");
	assert_null(at("vol/..1"));
	volume_update("..2", "..3", "third");
	next_process();
	assert_string_equal(current(text), "third");
	assert_int_equal(tree_stats(f.tree).n_nodes, 6);
}

static void what_was_only_staged_is_gone_and_wiped(void **state)
{
	size_t used, used_before = secmem_stats().used_bytes;
	struct node *dir, *n;
	uint8_t *all;

	assert_int_equal(tree_stage_dir(f.tree, root(), "staged", 0755, 0, &dir), 0);
	fill(dir, "key", "NEVER-COMMITTED");
	assert_int_equal(tree_stage_link(f.tree, root(), "link", "target", NULL, &n), 0);
	assert_true(secmem_stats().used_bytes > used_before);
	next_process();
	assert_null(at("staged"));
	assert_null(at("link"));
	assert_int_equal(tree_stats(f.tree).n_nodes, 1);
	used = secmem_stats().used_bytes;
	assert_int_equal(used, 0);
	all = mmap(NULL, HEAP, PROT_READ, MAP_SHARED, f.fd, ARENA_HEAD_SIZE);
	assert_ptr_not_equal(all, MAP_FAILED);
	assert_null(memmem(all, HEAP, "NEVER-COMMITTED", 15));
	assert_null(memmem(all, HEAP, "staged", 6));
	munmap(all, HEAP);
}

static void nodes_that_the_kernel_knows_stay_until_they_are_forgotten(void **state)
{
	char text[64];
	uint64_t id;
	struct node *n;

	volume_make("..1", "first");
	n = at("vol/..1/key");
	id = node_id(n);
	for (int i = 0; i < 3; i++)
		tree_ref_lookup(f.tree, n);
	volume_update("..1", "..2", "second");
	for (int i = 0; i < 2; i++) {
		next_process();
		assert_string_equal(current(text), "second");
		n = tree_node(f.tree, id);
		assert_non_null(n);
		assert_null(node_parent(n));
		assert_int_equal(node_content(n)->len, 5);
		assert_memory_equal(secspan_data(node_content(n)), "first", 5);
		assert_int_equal(tree_stats(f.tree).n_detached, 1);
	}
	tree_forget(f.tree, id, 2);
	next_process();
	assert_non_null(tree_node(f.tree, id));
	tree_forget(f.tree, id, 1);
	assert_null(tree_node(f.tree, id));
	next_process();
	assert_null(tree_node(f.tree, id));
	assert_int_equal(tree_stats(f.tree).n_detached, 0);
}

static void nothing_is_left_of_what_is_removed(void **state)
{
	struct node *n;

	volume_make("..1", "first");
	volume_update("..1", "..2", "second");
	next_process();
	n = at("vol");
	tree_stage_removal(f.tree, n);
	assert_int_equal(tree_commit_rmdir(f.tree, root(), "vol"), 0);
	assert_int_equal(secmem_stats().n_blocks, 0);
	next_process();
	assert_int_equal(tree_stats(f.tree).n_nodes, 1);
	assert_int_equal(secmem_stats().n_blocks, 0);
}

static void pods_share_a_block_across_processes(void **state)
{
	cleanup_secblock struct secblock *b = NULL;
	struct payload_file file = file_make("shared", &b);
	struct node *n;
	char text[64];

	for (int i = 0; i < 3; i++) {
		char name[2] = { 'a' + i, 0 };

		assert_int_equal(tree_fill_file(f.tree, root(), name, &file, &n), 0);
	}
	secblock_unref(TAKE_PTR(b));
	next_process();
	assert_int_equal(secmem_stats().n_blocks, 3 + 1);
	for (int i = 0; i < 3; i++) {
		char name[2] = { 'a' + i, 0 };

		assert_string_equal(content(name, text), "shared");
		n = at(name);
		tree_stage_removal(f.tree, n);
		assert_int_equal(tree_commit_unlink(f.tree, root(), name), 0);
	}
	assert_int_equal(secmem_stats().n_blocks, 0);
}

static void hidden_and_retired_stay_so(void **state)
{
	struct node *n, *version;

	volume_make("..1", "first");
	version = at("vol/..1");
	tree_retire(f.tree, version);
	n = at("vol/..1/key");
	tree_stage_removal(f.tree, n);
	assert_int_equal(tree_commit_unlink(f.tree, version, "key"), 0);
	next_process();
	assert_true(node_is_hidden(at("vol/..1/key")));
	assert_null(node_next_child(at("vol/..1"), 0));
	fill(at("vol/..1"), "late", "x");
	n = at("vol/..1/late");
	tree_stage_removal(f.tree, n);
	assert_int_equal(tree_commit_unlink(f.tree, at("vol/..1"), "late"), 0);
	assert_true(node_is_hidden(at("vol/..1/late")));
}

static void a_full_arena_refuses_and_loses_nothing(void **state)
{
	struct node *n, *dir;
	char name[32], text[64];
	int r = 0, i;

	volume_make("..1", "first");
	assert_int_equal(tree_stage_dir(f.tree, root(), "many", 0755, 0, &dir), 0);
	for (i = 0; r == 0 && i < 100000; i++) {
		snprintf(name, sizeof name, "d%d", i);
		r = tree_fill_dir(f.tree, dir, name, 0755, 0, &n);
	}
	assert_int_equal(r, -ENOMEM);
	assert_true(secmem_was_full(NULL));
	assert_null(tree_find(f.tree, dir, name));
	tree_unstage(f.tree, dir);
	volume_update("..1", "..2", "second");
	next_process();
	assert_string_equal(current(text), "second");
}

/* --- death --- */

/* In the memory, behind whoever has it open. */
static void poke(size_t offset, uint64_t word)
{
	uint8_t *all = mmap(NULL, ARENA_HEAD_SIZE + HEAP, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);

	assert_ptr_not_equal(all, MAP_FAILED);
	memcpy(all + offset, &word, sizeof word);
	munmap(all, ARENA_HEAD_SIZE + HEAP);
}

struct shot {
	uint8_t *bytes;
	size_t len;
};

static void restore_shot(const struct shot *s)
{
	assert_int_equal(pwrite(f.fd, s->bytes, s->len, 0), s->len);
}

static struct shot take_shot(void)
{
	struct shot s = { .len = ARENA_HEAD_SIZE + HEAP };

	s.bytes = malloc(s.len);
	assert_non_null(s.bytes);
	assert_int_equal(pread(f.fd, s.bytes, s.len, 0), s.len);
	return s;
}

/* An update that dies, and what is looked at then. */
struct mortal {
	void (*make)(const char *version, const char *text);
	void (*update)(const char *old, const char *version, const char *text);
	void (*check)(uint64_t n_steps, bool *ret_new);
};

/* A child that updates the volume and waits to be stepped through. */
static pid_t start_update(const struct mortal *m)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (begin(NULL) < 0)
			_exit(1);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		m->update("..1", "..2", "second");
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	return pid;
}

/* False: it has come to its end. */
static bool step(pid_t pid, uint64_t n)
{
	int status;

	for (uint64_t i = 0; i < n; i++) {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status)) {
			assert_int_equal(WEXITSTATUS(status), 0);
			return false;
		}
	}
	return true;
}

/* Whatever is left over can be removed, and then nothing is in use. */
static void check_leaves_nothing(const char *const *folders)
{
	for (; *folders; folders++) {
		struct node *n = at(*folders);

		if (!n)
			continue;
		tree_stage_removal(f.tree, n);
		assert_int_equal(tree_commit_rmdir(f.tree, root(), *folders), 0);
	}
	for (uint64_t id = 2; id < arena_next_id(f.arena); id++)
		tree_forget(f.tree, id, UINT64_MAX);
	assert_int_equal(tree_stats(f.tree).n_nodes, 1);
	assert_int_equal(secmem_stats().n_blocks, 0);
}

/* What a reader finds: the old or the new content, all of it; and the update can be made (again). */
static void check_after_death(uint64_t n_steps, bool *ret_new)
{
	char text[64], path[128];

	*ret_new = str_eq(current(text), "second");
	if (!*ret_new && !str_eq(current(text), "first"))
		fail_msg("after %ju instructions: the volume shows %s", (uintmax_t)n_steps, current(text));
	assert_string_equal(node_target(at("vol/key")), "..data/key");
	snprintf(path, sizeof path, "vol/%s/key", node_target(at("vol/..data")));
	if (!str_eq(revision(at(path)), *ret_new ? "2" : "1"))
		fail_msg("after %ju instructions: the %s content is of revision %s", (uintmax_t)n_steps,
			 *ret_new ? "new" : "old", revision(at(path)));
	check_leaves_nothing((const char *const[]){ "vol", NULL });
}

/* A death leaves the memory as it is at that moment, so a copy of it is what a successor finds; and where it is what it was
 * before, what is found is, too. Stopping after each instruction of an update would take too long for a test that runs often:
 * every so many, a prime number. */
static void die_at_any_instruction(const struct mortal *m)
{
	uint64_t n_old = 0, n_new = 0, stride = 23;
	bool running = true, is_new;
	struct shot last = {};
	int copy = -1, original;
	struct err e = ERR_INIT;
	pid_t pid;

#if defined(__SANITIZE_ADDRESS__)
	stride = 997;
#endif
	if (under_valgrind())
		skip_because("the instructions would be valgrind's");
	assert_int_equal(arena_create(HEAP, &copy, NULL), 0);
	original = f.fd;
	m->make("..1", "first");
	end();
	pid = start_update(m);
	for (uint64_t n = 0; running; n += stride) {
		struct shot shot;

		f.fd = original;
		shot = take_shot();
		f.fd = copy;
		if (last.bytes && memcmp(shot.bytes, last.bytes, shot.len) == 0) {
			free(shot.bytes);
			running = step(pid, stride);
			continue;
		}
		restore_shot(&shot);
		free(last.bytes);
		last = shot;
		if (begin(&e) < 0)
			fail_msg("after %ju instructions: %s", (uintmax_t)n, err_text(&e));
		m->check(n, &is_new);
		n_old += !is_new;
		n_new += is_new;
		end();
		running = step(pid, stride);
	}
	free(last.bytes);
	assert_true(n_old > 0);
	assert_true(n_new > 0);
	close(original);
	assert_int_equal(begin(NULL), 0);
}

static void a_death_at_any_instruction_leaves_the_old_or_the_new(void **state)
{
	die_at_any_instruction(&(struct mortal){ volume_make, volume_update, check_after_death });
}

/* --- what moves --- */

static struct node *folder(struct node *parent, const char *name)
{
	struct node *n;

	assert_int_equal(tree_stage_dir(f.tree, parent, name, 0755, 0, &n), 0);
	assert_int_equal(tree_commit_mkdir(f.tree, parent, name, &n), 0);
	return n;
}

static void flat_make(const char *version, const char *text)
{
	struct node *vol, *n;

	assert_int_equal(tree_stage_dir(f.tree, root(), "staging", 0700, 0, &n), 0);
	assert_int_equal(tree_commit_mkdir(f.tree, root(), "staging", &n), 0);
	assert_int_equal(tree_stage_dir(f.tree, root(), "vol", 01777, 5, &vol), 0);
	fill(vol, "key", text);
	fill(vol, "same", "same");
	assert_int_equal(label_version(f.tree, vol, vol, f.revisions[0], 0), 0);
	assert_int_equal(tree_commit_mkdir(f.tree, root(), "vol", &n), 0);
	tree_ref_lookup(f.tree, at("vol/key"));
}

/* A file over another, and a folder that is new. No assertions here either. */
static void flat_update(const char *old, const char *version, const char *text)
{
	struct payload_file file = { .mode = 0640, .digest = digest_of(text, strlen(text)) };
	struct node *staging = at("staging"), *vol = at("vol"), *dir, *sub, *n;
	struct secblock *b = NULL;

	secblock_new(strlen(text), &b, NULL);
	memcpy(b->data, text, strlen(text));
	file.content = (struct secspan){ .block = b, .len = strlen(text) };
	tree_stage_version(f.tree, staging, version, 0700, 0, &file.digest, &dir);
	tree_fill_file(f.tree, dir, "key", &file, &n);
	tree_fill_dir(f.tree, dir, "sub", 0755, 0, &sub);
	tree_fill_file(f.tree, sub, "deep", &file, &n);
	secblock_unref(b);
	label_version(f.tree, dir, dir, f.revisions[1], 0);
	tree_commit_mkdir(f.tree, staging, version, &n);
	tree_ref_lookup(f.tree, n);
	tree_stage_move(f.tree, tree_find(f.tree, dir, "key"), vol);
	tree_stage_move(f.tree, sub, vol);
	tree_commit_rename(f.tree, dir, "sub", vol, "sub");
	tree_commit_rename(f.tree, dir, "key", vol, "key");
	tree_stage_removal(f.tree, dir);
	tree_commit_rmdir(f.tree, staging, version);
	tree_forget(f.tree, node_id(dir), 1);
}

/* It has the key at any time, wherever the death was; and what is staged yet can be moved. */
static void check_flat_after_death(uint64_t n_steps, bool *ret_new)
{
	struct node *dir = at("staging/..2"), *n, *next;
	char text[64], deep[64], name[64];

	content("vol/key", text);
	*ret_new = str_eq(text, "second");
	if (!*ret_new && !str_eq(text, "first"))
		fail_msg("after %ju instructions: the key is %s", (uintmax_t)n_steps, text);
	assert_string_equal(revision(at("vol/key")), *ret_new ? "2" : "1");
	if (*ret_new)
		assert_string_equal(content("vol/sub/deep", deep), "second");
	assert_string_equal(content("vol/same", deep), "same");
	for (n = dir ? node_next_child(dir, 0) : NULL; n; n = next) {
		next = node_next_child(dir, node_cookie(n));
		snprintf(name, sizeof name, "%s", node_name(n)); /* which goes with its old place */
		assert_int_equal(tree_stage_move(f.tree, n, at("vol")), 0);
		assert_int_equal(tree_commit_rename(f.tree, dir, name, at("vol"), name), 0);
	}
	if (dir) {
		assert_string_equal(revision(dir), "2");
		assert_string_equal(content("vol/key", text), "second");
		assert_string_equal(revision(at("vol/key")), "2");
		assert_string_equal(content("vol/sub/deep", deep), "second");
	}
	check_leaves_nothing((const char *const[]){ "staging", "vol", NULL });
}

static void a_death_at_any_instruction_of_a_move_leaves_it_here_or_there(void **state)
{
	die_at_any_instruction(&(struct mortal){ flat_make, flat_update, check_flat_after_death });
}

static void what_has_moved_is_found_where_it_is(void **state)
{
	uint64_t key, old;
	const char *name;
	char text[64];

	flat_make("..1", "first");
	old = node_id(at("vol/key"));
	flat_update("..1", "..2", "second");
	key = node_id(at("vol/key"));
	for (int i = 0; i < 2; i++) {
		assert_string_equal(content("vol/key", text), "second");
		assert_string_equal(content("vol/sub/deep", text), "second");
		assert_null(node_next_child(at("staging"), 0));
		assert_int_equal(node_id(at("vol/key")), key);
		/* who has the old one open still has it, and it was there */
		assert_ptr_equal(tree_origin(f.tree, tree_node(f.tree, old), &name), at("vol"));
		assert_string_equal(name, "key");
		next_process();
	}
	tree_forget(f.tree, old, 1);
	assert_null(tree_node(f.tree, old));
	/* where it came from is known, too, for a rename that is asked for again */
	flat_update("..1", "..3", "third");
	assert_false(tree_was_renamed(f.tree, at("staging"), "key", at("vol"), "key"));
}

/* A listing that the kernel has begun with one process goes on with the next: a name that it has is not told again. */
static void what_has_moved_over_another_keeps_its_cookie(void **state)
{
	cleanup_secblock struct secblock *b = NULL;
	struct payload_file file = file_make("next", &b);
	uint64_t cookie, same;
	struct node *dir, *n;
	char text[64];

	flat_make("..1", "first");
	cookie = node_cookie(at("vol/key"));
	same = node_cookie(at("vol/same"));
	for (int i = 0; i < 4; i++) {
		assert_int_equal(tree_stage_dir(f.tree, at("staging"), "v", 0700, 0, &dir), 0);
		assert_int_equal(tree_fill_file_over(f.tree, dir, "key", &file, at("vol/key"), &n), 0);
		assert_int_equal(tree_commit_mkdir(f.tree, at("staging"), "v", &n), 0);
		if (i % 2)
			next_process();
		assert_int_equal(tree_stage_move(f.tree, at("staging/v/key"), at("vol")), 0);
		assert_int_equal(tree_commit_rename(f.tree, at("staging/v"), "key", at("vol"), "key"), 0);
		if (i > 1)
			next_process();
		assert_int_equal(node_cookie(at("vol/key")), cookie);
		assert_true(node_id(at("vol/key")) > same);
		assert_ptr_equal(node_next_child(at("vol"), 0), at("vol/key"));
		assert_ptr_equal(node_next_child(at("vol"), cookie), at("vol/same"));
		assert_null(node_next_child(at("vol"), same));
		assert_string_equal(content("vol/key", text), "next");
		tree_stage_removal(f.tree, at("staging/v"));
		assert_int_equal(tree_commit_rmdir(f.tree, at("staging"), "v"), 0);
	}
}

/* Who has read the list of names as far as to the link goes on behind it, whoever has updated the volume meanwhile. */
static void the_link_that_is_switched_keeps_its_cookie(void **state)
{
	uint64_t cookie;

	volume_make("..1", "first");
	cookie = node_cookie(at("vol/..data"));
	volume_update("..1", "..2", "second");
	assert_int_equal(node_cookie(at("vol/..data")), cookie);
	next_process();
	assert_int_equal(node_cookie(at("vol/..data")), cookie);
	volume_update("..2", "..3", "third");
	next_process();
	assert_int_equal(node_cookie(at("vol/..data")), cookie);
	for (struct node *n = node_next_child(at("vol"), cookie); n; n = node_next_child(at("vol"), node_cookie(n)))
		assert_string_not_equal(node_name(n), "..data");
}

/* As no tree can have written it: of what came later, or in other words. */
static void a_cookie_that_cannot_be_is_not_taken(void **state)
{
	static const char *const cookies[] = {
		"ffffffffffffffff", "-1", " 3", "+3", "0x3", "03", "3x", "2", "0", "id"
	};
	struct arena_node a = { .kind = NODE_FILE, .mode = 0640, .name = "key", .digest = digest_of("", 0) };
	struct arena_record *r;
	char its_own[32];

	folder(root(), "dir");
	for (size_t i = 0; i <= ARRAY_SIZE(cookies); i++) {
		bool good = i == ARRAY_SIZE(cookies);

		a.id = arena_next_id(f.arena);
		arena_set_next_id(f.arena, a.id + 1);
		a.parent_id = node_id(at("dir"));
		snprintf(its_own, sizeof its_own, "%jx", (uintmax_t)a.id);
		a.final_name = good ? "3" : str_eq(cookies[i], "id") ? its_own : cookies[i];
		assert_int_equal(arena_add(f.arena, &a, 0, 1, &r), 0);
		arena_record_set_number(r, ARENA_COMMITTED | ARENA_MOVED, TREE_ROOT_ID);
		next_process();
		if (node_cookie(at("key")) != (good ? 3 : a.id))
			fail_msg("%s is taken for %ju", a.final_name, (uintmax_t)node_cookie(at("key")));
	}
}

/* Staged, and the process ends: the names that were reserved are free. */
static void a_move_that_was_only_staged_is_forgotten(void **state)
{
	struct node *dir, *n;
	char text[64];

	flat_make("..1", "first");
	assert_int_equal(tree_stage_dir(f.tree, at("staging"), "v", 0700, 0, &dir), 0);
	fill(dir, "key", "second");
	fill(dir, "new", "second");
	assert_int_equal(tree_commit_mkdir(f.tree, at("staging"), "v", &n), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(tree_stage_move(f.tree, at("staging/v/key"), at("vol")), 0);
		assert_int_equal(tree_stage_move(f.tree, at("staging/v/new"), at("vol")), 0);
		assert_null(at("vol/new"));
		if (i == 0)
			next_process();
		else if (i == 1) {
			tree_unstage(f.tree, at("staging/v/key"));
			tree_unstage(f.tree, at("staging/v/new"));
			assert_int_equal(tree_commit_rename(f.tree, at("staging/v"), "key", at("vol"), "key"), -EROFS);
		}
	}
	/* what has the name may go before */
	tree_stage_removal(f.tree, at("vol/key"));
	assert_int_equal(tree_commit_unlink(f.tree, at("vol"), "key"), 0);
	assert_null(at("vol/key"));
	assert_int_equal(tree_commit_rename(f.tree, at("staging/v"), "key", at("staging"), "key"), -EROFS);
	assert_int_equal(tree_commit_rename(f.tree, at("staging/v"), "key", at("vol"), "other"), -EROFS);
	assert_int_equal(tree_commit_rename(f.tree, at("staging/v"), "key", at("vol"), "key"), 0);
	assert_true(tree_was_renamed(f.tree, at("staging/v"), "key", at("vol"), "key"));
	assert_false(tree_was_renamed(f.tree, at("staging"), "key", at("vol"), "key"));
	assert_string_equal(content("vol/key", text), "second");
	/* a folder goes with what is on its way out of it, and the other way round */
	tree_stage_removal(f.tree, at("vol"));
	assert_int_equal(tree_commit_rmdir(f.tree, root(), "vol"), 0);
	tree_stage_removal(f.tree, at("staging"));
	assert_int_equal(tree_commit_rmdir(f.tree, root(), "staging"), 0);
	assert_int_equal(tree_stats(f.tree).n_nodes, 2); /* the kernel knows the first key */
}

/* Between the store that renames and the one that takes the old node out both have the name. */
static void of_two_nodes_with_one_name_the_renamed_one_has_it(void **state)
{
	struct arena_node a = {
		.parent_id = 0, .kind = NODE_LINK, .mode = 0777, .name = "tmp", .final_name = "..data", .target = "..2"
	};
	struct arena_record *r;
	uint64_t old;
	char text[64];

	volume_make("..1", "first");
	volume_update("..1", "..2", "second");
	old = node_id(at("vol/..data"));
	a.parent_id = node_id(at("vol"));
	a.id = arena_next_id(f.arena);
	arena_set_next_id(f.arena, a.id + 1);
	assert_int_equal(arena_add(f.arena, &a, ARENA_COMMITTED | ARENA_RENAMED, 1, &r), 0);
	next_process();
	assert_int_equal(node_id(at("vol/..data")), a.id);
	assert_null(tree_node(f.tree, old));
	assert_string_equal(current(text), "second");
	assert_true(tree_was_renamed(f.tree, at("vol"), "tmp", at("vol"), "..data"));
	assert_false(tree_was_renamed(f.tree, at("vol"), "other", at("vol"), "..data"));
}

/* --- live files --- */

/* pod/volumes/p/v with two versions, of which the first is the newest. */
static struct node *live_make(void)
{
	struct node *vol = folder(folder(folder(folder(root(), "pod"), "volumes"), "p"), "v"), *v, *n;

	assert_int_equal(tree_fill_version(f.tree, vol, "..1", 0755, 0, NULL, &v), 0);
	fill(v, "key", "first");
	assert_int_equal(tree_fill_version(f.tree, vol, "..2", 0755, 0, NULL, &v), 0);
	fill(v, "key", "2nd");
	assert_int_equal(tree_fill_link(f.tree, vol, "..data", "..1", &n), 0);
	assert_int_equal(tree_stage_live(f.tree, root(), "live", "pod/volumes/p/v/..data/key", &n), 0);
	assert_int_equal(tree_commit_mknod(f.tree, root(), "live", &n), 0);
	return n;
}

static struct arena_record *record_of(const struct node *n)
{
	cleanup_free struct arena_record **records = NULL;
	size_t n_records;

	assert_int_equal(arena_load(f.arena, &records, &n_records, NULL), 0);
	for (size_t i = 0; i < n_records; i++)
		if (arena_record_node(records[i]).id == node_id(n))
			return records[i];
	fail();
	return NULL;
}

static void a_live_file_is_found_as_it_was_left(void **state)
{
	uint64_t id = node_id(live_make());
	struct stat st, last;

	next_process();
	assert_ptr_equal(at("live"), tree_node(f.tree, id));
	assert_int_equal(tree_stat(f.tree, at("live"), &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_false(node_is_in_flux(at("live")));

	/* its process has died while it changed: what the kernel knows of it may be of any version */
	tree_unsettle(f.tree, at("live"));
	assert_int_equal(tree_stat(f.tree, at("live"), &last), 0);
	for (int i = 0; i < 2; i++) {
		next_process();
		assert_true(node_is_in_flux(at("live")));
		assert_int_equal(tree_stat(f.tree, at("live"), &st), 0);
		assert_int_equal(st.st_size, 3);
		assert_ptr_equal(tree_follow(f.tree, at("live")), at("pod/volumes/p/v/..1/key"));
	}
	assert_true(arena_record_number(record_of(at("live"))) > 0);
	tree_settle(f.tree, at("live"));
	/* as a binary has written it that has no numbers */
	assert_int_equal(arena_record_number(record_of(at("live"))), 0);
	next_process();
	assert_false(node_is_in_flux(at("live")));
	assert_int_equal(tree_stat(f.tree, at("live"), &st), 0);
	assert_int_equal(st.st_size, 5);
}

static void a_live_file_that_leads_elsewhere_is_refused(void **state)
{
	static const char *const targets[] = {
		"key",
		"/pod/volumes/p/v/..data/key",
		"pod/volumes/p/v/..1/key",
		"pod/volumes/p/v/..data",
		"pod/volumes/p/v/..data/",
		"pod/volumes/p/v/..data/../..data/key",
		"pod/volumes/p/v/..data/./key",
		"pod/volumes/p/v/..data//key",
		"pod/volumes/p/../..data/key",
		"pod/other/p/v/..data/key",
		"../volumes/p/v/..data/key",
		"",
		NULL,
	};
	struct arena_node a = { .kind = NODE_LIVE, .name = "live", .parent_id = TREE_ROOT_ID };
	struct arena_record *r;
	struct err e = ERR_INIT;
	struct node *n;

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		if (targets[i])
			assert_int_equal(tree_stage_live(f.tree, root(), "x", targets[i], &n), -EINVAL);
		a.id = arena_next_id(f.arena);
		a.target = targets[i];
		arena_set_next_id(f.arena, a.id + 1);
		assert_int_equal(arena_add(f.arena, &a, ARENA_COMMITTED, 1, &r), 0);
		end();
		if (begin(&e) != -EBADMSG)
			fail_msg("%s is taken", targets[i]);
		end();
		close(f.fd);
		assert_int_equal(arena_create(HEAP, &f.fd, NULL), 0);
		assert_int_equal(begin(NULL), 0);
	}
}

/* --- of what it is made --- */

static void what_a_version_is_of_is_found_again(void **state)
{
	const struct node *held;
	uint64_t id, updated;
	uint32_t index;

	volume_make("..1", "first");
	held = at("vol/..1/key");
	id = node_id(held);
	tree_ref_lookup(f.tree, at("vol/..1/key"));
	updated = origins_updated(node_origins(held, &index));
	assert_int_equal(updated, 1000000);
	tree_set_time(f.tree, 2000000);
	volume_update("..1", "..2", "second");
	for (int i = 0; i < 3; i++) {
		assert_string_equal(revision(at("vol/..2")), "2");
		assert_string_equal(revision(at("vol/..2/key")), "2");
		assert_int_equal(origins_updated(node_origins(at("vol/..2"), &index)), 2000000);
		/* what somebody holds open is what it was */
		assert_string_equal(revision(tree_node(f.tree, id)), "1");
		assert_int_equal(origins_updated(node_origins(tree_node(f.tree, id), &index)), updated);
		next_process();
	}
	tree_forget(f.tree, id, 1);
	assert_null(tree_node(f.tree, id));
	next_process();
	assert_string_equal(revision(at("vol/..2/key")), "2");
}

static void another_revision_of_the_same_content_is_found_again(void **state)
{
	size_t n_blocks;
	uint32_t index;

	volume_make("..1", "first");
	n_blocks = secmem_stats().n_blocks;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(label_refresh(f.tree, at("vol/..1"), at("vol/..1"), f.revisions[2], 5), 0);
		assert_string_equal(revision(at("vol/..1/key")), "3");
		assert_int_equal(secmem_stats().n_blocks, n_blocks);
		next_process();
	}
	assert_string_equal(revision(at("vol/..1/key")), "3");
	assert_int_equal(origins_updated(node_origins(at("vol/..1"), &index)), 5);
	assert_int_equal(secmem_stats().n_blocks, n_blocks);
}

/* The content stays. */
static void revision_update(const char *old, const char *version, const char *text)
{
	label_refresh(f.tree, at("vol/..1"), at("vol/..1"), f.revisions[1], 5);
}

static void check_revision_after_death(uint64_t n_steps, bool *ret_new)
{
	const char *has = revision(at("vol/..1/key"));
	uint32_t index;

	*ret_new = str_eq(has, "2");
	if (!*ret_new && !str_eq(has, "1"))
		fail_msg("after %ju instructions: the revision is %s", (uintmax_t)n_steps, has);
	assert_string_equal(revision(at("vol/..1")), has);
	assert_int_equal(origins_updated(node_origins(at("vol/..1"), &index)), *ret_new ? 5 : 1000000);
	check_leaves_nothing((const char *const[]){ "vol", NULL });
}

static void a_death_at_any_instruction_leaves_the_old_or_the_new_revision(void **state)
{
	die_at_any_instruction(&(struct mortal){ volume_make, revision_update, check_revision_after_death });
}

/* There is no room for the new one, nor in the place of the old one. */
static void a_revision_that_could_not_be_kept_is_kept_at_the_next_look(void **state)
{
	static uint8_t bytes[HEAP / 4];
	static struct arena_note *notes[4096];
	struct arena_piece piece = { bytes, sizeof bytes };
	cleanup_payload struct payload *longer = NULL;
	char version[400];
	size_t n = 0;

	memset(version, '7', sizeof version - 1);
	version[sizeof version - 1] = 0;
	longer = revision_make(version);
	volume_make("..1", "first");
	for (; piece.len > 0; piece.len /= 2)
		for (; arena_note_add(f.arena, &piece, 1, 0, &notes[n]) == 0; n++)
			assert_true(n < ARRAY_SIZE(notes) - 1);
	assert_int_equal(label_refresh(f.tree, at("vol/..1"), at("vol/..1"), longer, 5), 0);
	assert_string_equal(revision(at("vol/..1/key")), version);
	while (n > 0)
		arena_note_remove(f.arena, notes[--n]);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(label_refresh(f.tree, at("vol/..1"), at("vol/..1"), longer, 5), 0);
		next_process();
		assert_string_equal(revision(at("vol/..1")), version);
		assert_string_equal(revision(at("vol/..1/key")), version);
	}
}

/* The head's last word in use: where the notes begin. */
static size_t first_note_at(const struct shot *s)
{
	uint64_t word;

	for (size_t i = ARENA_HEAD_SIZE - sizeof word;; i -= sizeof word) {
		memcpy(&word, s->bytes + i, sizeof word);
		if (word)
			return i;
		assert_true(i > 0);
	}
}

/* As an older binary leaves it, which knows of no notes: it has wiped them, and something else may be in their place. */
static void without_its_notes_an_arena_is_as_good(void **state)
{
	struct shot start, shot;
	uint64_t first, other;
	char text[64];

	volume_make("..1", "first");
	volume_update("..1", "..2", "second");
	start = take_shot();
	shot = start;
	shot.bytes = malloc(start.len);
	assert_non_null(shot.bytes);
	memcpy(&first, start.bytes + first_note_at(&start), sizeof first);
	assert_true(first > 0 && first < HEAP);
	end();
	for (int i = 0; i < 4; i++) {
		memcpy(shot.bytes, start.bytes, start.len);
		if (i == 0) { /* as before there were notes */
			memset(shot.bytes + first_note_at(&start), 0, sizeof first);
		} else if (i == 1) {
			memset(shot.bytes + ARENA_HEAD_SIZE + first, 0, 64);
		} else if (i == 2) { /* a record */
			memcpy(shot.bytes + first_note_at(&start), start.bytes + 24 + DIGEST_KEY_LEN, sizeof first);
		} else { /* nowhere */
			other = UINT64_MAX - 15;
			memcpy(shot.bytes + first_note_at(&start), &other, sizeof other);
		}
		restore_shot(&shot);
		assert_int_equal(begin(NULL), 0);
		assert_string_equal(current(text), "second");
		assert_string_equal(revision(at("vol/..2/key")), "?");
		/* until somebody says it again */
		assert_int_equal(label_refresh(f.tree, at("vol/..2"), at("vol/..2"), f.revisions[1], 7), 0);
		next_process();
		assert_string_equal(revision(at("vol/..2/key")), "2");
		end();
	}
	restore_shot(&start);
	assert_int_equal(begin(NULL), 0);
	assert_string_equal(revision(at("vol/..2/key")), "2");
	free(start.bytes);
	free(shot.bytes);
}

/* Any byte of them: what is said is right, or it is not known; and the volume is there. */
static void damage_to_a_note_loses_no_more_than_notes(void **state)
{
	struct shot start, shot;
	size_t n_lost = 0;
	uint64_t first;
	char text[64];

	volume_make("..1", "first");
	volume_update("..1", "..2", "second");
	start = take_shot();
	shot = start;
	shot.bytes = malloc(start.len);
	assert_non_null(shot.bytes);
	memcpy(&first, start.bytes + first_note_at(&start), sizeof first);
	end();
	for (size_t i = 0; i < 1000; i++) {
		/* all but the links and the word, which is a time */
		size_t where = ARENA_HEAD_SIZE + first + 24 + randombytes_uniform(140);

		memcpy(shot.bytes, start.bytes, start.len);
		shot.bytes[where] ^= (uint8_t)(1u << i % 8);
		restore_shot(&shot);
		if (begin(NULL) < 0) { /* it was the next thing's */
			end();
			continue;
		}
		assert_string_equal(current(text), "second");
		n_lost += str_eq(revision(at("vol/..2/key")), "?");
		if (!str_eq(revision(at("vol/..2/key")), "?"))
			assert_string_equal(revision(at("vol/..2/key")), "2");
		end();
	}
	assert_true(n_lost > 500);
	restore_shot(&start);
	free(start.bytes);
	free(shot.bytes);
	assert_int_equal(begin(NULL), 0);
}

static void notes_in_a_circle_are_lost(void **state)
{
	struct shot s;
	uint64_t first;
	size_t note;

	volume_make("..1", "first");
	s = take_shot();
	note = first_note_at(&s);
	memcpy(&first, s.bytes + note, sizeof first);
	memcpy(s.bytes + ARENA_HEAD_SIZE + first, s.bytes + note, sizeof first);
	end();
	restore_shot(&s);
	free(s.bytes);
	assert_int_equal(begin(NULL), 0);
	assert_string_equal(revision(at("vol/..1/key")), "?");
	next_process();
	volume_update("..1", "..2", "second");
	next_process();
	assert_string_equal(revision(at("vol/..2/key")), "2");
}

/* However big they are: no more is looked at than there can be. */
static void notes_in_a_circle_are_looked_at_once(void **state)
{
	cleanup_free struct arena_note **notes = NULL;
	static uint8_t bytes[HEAP / 5];
	struct arena_note *note;
	uint64_t offset;
	size_t n;

	assert_int_equal(arena_note_add(f.arena, &(struct arena_piece){ bytes, sizeof bytes }, 1, 0, &note), 0);
	offset = secmem_offset(note);
	poke(ARENA_HEAD_SIZE + offset, offset);
	assert_int_equal(arena_load_notes(f.arena, &notes, &n), 0);
	assert_int_equal(n, 4);
	next_process();
	assert_int_equal(secmem_stats().n_blocks, 0);
}

/* --- damage --- */

/* Any bytes in: it is refused, or what it shows was written. Never a crash. */
static void damage_is_refused_or_harmless(void **state)
{
	struct err e = ERR_INIT;
	struct shot start, shot;
	size_t n_refused = 0, n_taken = 0;
	char text[64];

	volume_make("..1", "first");
	for (int i = 0; i < 5; i++)
		tree_ref_lookup(f.tree, at("vol/key"));
	start = take_shot();
	end();
	shot = start;
	shot.bytes = malloc(start.len);
	assert_non_null(shot.bytes);
	for (int i = 0; i < 3000; i++) {
		uint32_t where = randombytes_uniform(4096), n = 1 + randombytes_uniform(4);

		memcpy(shot.bytes, start.bytes, start.len);
		/* the head's first part and the part of the heap that is used */
		if (i % 2)
			where = ARENA_HEAD_SIZE + where % 2048;
		else
			where %= 160;
		for (uint32_t k = 0; k < n; k++)
			shot.bytes[where + k] = i % 3 ? randombytes_uniform(256) : shot.bytes[where + k] ^ 1u << i % 8;
		restore_shot(&shot);
		e = ERR_INIT;
		if (begin(&e) < 0) {
			assert_true(*err_text(&e));
			n_refused++;
		} else {
			const char *now = current(text);

			/* a link or volume may be gone with a flag; what is there is right */
			if (!str_eq(now, "first") && !str_eq(now, "none") && !str_eq(now, "no ..data"))
				fail_msg("byte %u: the volume shows %s", where, now);
			n_taken++;
		}
		end();
	}
	assert_true(n_refused > 100);
	assert_true(n_taken > 100);
	restore_shot(&start);
	free(start.bytes);
	free(shot.bytes);
	assert_int_equal(begin(NULL), 0);
	assert_string_equal(current(text), "first");
}

static void refused_because(const void *bytes, size_t len, size_t offset, int want, const char *why)
{
	struct shot start = take_shot(), shot = start, after;
	struct err e = ERR_INIT;

	end();
	shot.bytes = malloc(start.len);
	assert_non_null(shot.bytes);
	memcpy(shot.bytes, start.bytes, start.len);
	memcpy(shot.bytes + offset, bytes, len);
	restore_shot(&shot);
	assert_int_equal(begin(&e), want);
	assert_non_null(strstr(err_text(&e), why));
	end();
	after = take_shot();
	assert_memory_equal(after.bytes + ARENA_HEAD_SIZE, shot.bytes + ARENA_HEAD_SIZE, HEAP);
	free(after.bytes);
	restore_shot(&start);
	free(start.bytes);
	free(shot.bytes);
	assert_int_equal(begin(NULL), 0);
}

static void refused(const void *bytes, size_t len, size_t offset, int want)
{
	refused_because(bytes, len, offset, want, "state arena");
}

static void another_version_is_named(void **state)
{
	struct arena_connection *c;
	uint64_t size;
	int fd;

	refused("\x02", 1, 8, -EPROTO);
	refused("X", 1, 0, -EBADMSG);
	assert_int_equal(arena_map(f.fd, &c, &size, NULL), 0);
	assert_int_equal(size, HEAP);
	arena_unmap(c);
	fd = memfd_create("none", MFD_CLOEXEC);
	assert_int_equal(arena_map(fd, &c, &size, NULL), -EBADMSG);
	close(fd);
	assert_int_equal(arena_create(0, &fd, NULL), -EINVAL);
	assert_int_equal(arena_create(4097, &fd, NULL), -EINVAL);
	assert_int_equal(arena_create(SECMEM_LIMIT_MAX + (uint64_t)sysconf(_SC_PAGESIZE), &fd, NULL), -EINVAL);
	assert_int_equal(arena_create(SECMEM_LIMIT_MAX, &fd, NULL), 0);
	assert_int_equal(arena_map(fd, &c, &size, NULL), 0);
	assert_int_equal(size, SECMEM_LIMIT_MAX);
	arena_unmap(c);
	close(fd);
}

/* A chain that leads in a circle, and a content that somebody has changed. */
static void changed_content_is_refused(void **state)
{
	uint8_t *all;
	char *at_text;

	volume_make("..1", "CHANGE-ME");
	all = mmap(NULL, ARENA_HEAD_SIZE + HEAP, PROT_READ, MAP_SHARED, f.fd, 0);
	at_text = memmem(all, ARENA_HEAD_SIZE + HEAP, "CHANGE-ME", 9);
	assert_non_null(at_text);
	refused("X", 1, (size_t)((uint8_t *)at_text - all), -EBADMSG);
	munmap(all, ARENA_HEAD_SIZE + HEAP);
}

static uint64_t word_at(const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof word);
	return word;
}

/* A record that whoever had the key has put into the middle of a file's content. Nothing is written into either before it is
 * known that they overlap; nor into a note, which may be there, too. */
static void records_that_overlap_are_refused_and_left_alone(void **state)
{
	static const size_t first = 24 + DIGEST_KEY_LEN; /* of the chain, in the head */
	struct arena_node a = {
		.kind = NODE_LINK, .mode = 0777, .name = "x", .target = "y", .parent_id = TREE_ROOT_ID
	};
	struct payload_file file = { .mode = 0640 };
	struct secblock *b = NULL;
	uint8_t forged[256];
	struct arena_record *r;
	struct shot shot;
	uint64_t at, last, place;
	struct node *n;
	size_t note;

	volume_make("..1", "first");
	a.id = arena_next_id(f.arena) + 100;
	assert_int_equal(arena_add(f.arena, &a, ARENA_COMMITTED, 1, &r), 0);
	memcpy(forged, r, sizeof forged);
	memset(forged, 0, 2 * sizeof(uint64_t)); /* next and prev: it is the last one */
	arena_remove(f.arena, r);
	assert_int_equal(secblock_new(sizeof forged, &b, NULL), 0);
	memcpy(b->data, forged, sizeof forged);
	file.content = (struct secspan){ .block = b, .len = b->len };
	file.digest = digest_of(b->data, b->len);
	assert_int_equal(tree_stage_dir(f.tree, root(), "dir", 0755, 0, &n), 0);
	assert_int_equal(tree_fill_file(f.tree, n, "key", &file, &n), 0);
	assert_int_equal(tree_commit_mkdir(f.tree, root(), "dir", &n), 0);
	place = secmem_offset(b->data);
	secblock_unref(b);

	arena_set_next_id(f.arena, a.id + 1);
	shot = take_shot();
	for (last = at = word_at(shot.bytes + first); at; at = word_at(shot.bytes + ARENA_HEAD_SIZE + at))
		last = at;
	note = ARENA_HEAD_SIZE + word_at(shot.bytes + first_note_at(&shot));
	poke(note, place); /* its next and prev */
	poke(note + sizeof place, place);
	refused_because(&place, sizeof place, ARENA_HEAD_SIZE + last, -EBADMSG, "in use of the secret memory");
	free(shot.bytes);
}

static void a_chain_that_leads_in_a_circle_is_refused(void **state)
{
	struct shot s;
	uint64_t first, next;

	volume_make("..1", "first");
	s = take_shot();
	/* the head: magic, version, head size, heap size, digest key, first */
	memcpy(&first, s.bytes + 24 + DIGEST_KEY_LEN, sizeof first);
	memcpy(&next, s.bytes + ARENA_HEAD_SIZE + first, sizeof next);
	assert_true(first > 0 && first < HEAP && next > 0 && next < HEAP);
	free(s.bytes);
	refused(&first, sizeof first, ARENA_HEAD_SIZE + next, -EBADMSG);
}

static void assert_origin(const struct node *n, uint64_t folder, const char *name)
{
	const char *got = NULL;
	const struct node *parent = tree_origin(f.tree, n, &got);

	assert_non_null(parent);
	assert_int_equal(node_id(parent), folder);
	assert_string_equal(got, name);
}

/* An opened file of a version that has gone: its audit record has the names that it had. */
static void what_is_out_of_the_tree_has_the_names_that_it_had(void **state)
{
	uint64_t vol, version, key;
	const char *name;

	volume_make("..1", "first");
	vol = node_id(at("vol"));
	version = node_id(at("vol/..1"));
	key = node_id(at("vol/..1/key"));
	assert_null(tree_origin(f.tree, root(), &name));
	assert_origin(at("vol/..1/key"), version, "key");
	/* the kernel knows a file's folder as long as it knows the file */
	tree_ref_lookup(f.tree, at("vol"));
	tree_ref_lookup(f.tree, at("vol/..1"));
	tree_ref_lookup(f.tree, at("vol/..1/key"));
	volume_update("..1", "..2", "second");
	assert_null(at("vol/..1"));
	for (int round = 0; round < 2; round++) {
		assert_origin(tree_node(f.tree, key), version, "key");
		assert_origin(tree_node(f.tree, version), vol, "..1");
		assert_origin(tree_node(f.tree, vol), TREE_ROOT_ID, "vol");
		/* the link that was renamed over the old one */
		assert_origin(at("vol/..data"), vol, "..data");
		next_process();
	}
	tree_forget(f.tree, version, 1);
	assert_null(tree_origin(f.tree, tree_node(f.tree, key), &name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(what_is_out_of_the_tree_has_the_names_that_it_had),
		TEST(a_tree_is_found_as_it_was_left),
		TEST(the_next_process_goes_on),
		TEST(what_was_only_staged_is_gone_and_wiped),
		TEST(nodes_that_the_kernel_knows_stay_until_they_are_forgotten),
		TEST(nothing_is_left_of_what_is_removed),
		TEST(pods_share_a_block_across_processes),
		TEST(hidden_and_retired_stay_so),
		TEST(a_full_arena_refuses_and_loses_nothing),
		TEST(a_death_at_any_instruction_leaves_the_old_or_the_new),
		TEST(of_two_nodes_with_one_name_the_renamed_one_has_it),
		TEST(a_death_at_any_instruction_of_a_move_leaves_it_here_or_there),
		TEST(what_has_moved_is_found_where_it_is),
		TEST(what_has_moved_over_another_keeps_its_cookie),
		TEST(the_link_that_is_switched_keeps_its_cookie),
		TEST(a_cookie_that_cannot_be_is_not_taken),
		TEST(a_move_that_was_only_staged_is_forgotten),
		TEST(a_live_file_is_found_as_it_was_left),
		TEST(a_live_file_that_leads_elsewhere_is_refused),
		TEST(what_a_version_is_of_is_found_again),
		TEST(another_revision_of_the_same_content_is_found_again),
		TEST(a_death_at_any_instruction_leaves_the_old_or_the_new_revision),
		TEST(a_revision_that_could_not_be_kept_is_kept_at_the_next_look),
		TEST(without_its_notes_an_arena_is_as_good),
		TEST(damage_to_a_note_loses_no_more_than_notes),
		TEST(notes_in_a_circle_are_lost),
		TEST(notes_in_a_circle_are_looked_at_once),
		TEST(damage_is_refused_or_harmless),
		TEST(another_version_is_named),
		TEST(changed_content_is_refused),
		TEST(records_that_overlap_are_refused_and_left_alone),
		TEST(a_chain_that_leads_in_a_circle_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
