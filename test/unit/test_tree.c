/* Tree: nothing appears or goes but by a staged change and its commit; what is out of the tree lives until it is
 * forgotten. */
#include "fusefs/tree.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/buf.h"

static int setup(void **state)
{
	return secmem_init(8 << 20, NULL);
}

static int teardown(void **state)
{
	secmem_deinit();
	return 0;
}

static struct tree *tree_make(void)
{
	struct tree *t = NULL;

	assert_int_equal(tree_new(1000000, &t), 0);
	return t;
}
#define cleanup_tree cleanup(tree_freep)

static struct node *root_of(struct tree *t)
{
	return tree_node(t, TREE_ROOT_ID);
}

static struct node *find(struct tree *t, struct node *dir, const char *name)
{
	bool hidden;

	return tree_lookup(t, dir, name, &hidden);
}

static bool is_hidden(struct tree *t, struct node *dir, const char *name)
{
	bool hidden = false;

	assert_non_null(tree_lookup(t, dir, name, &hidden));
	return hidden;
}

/* "a b c " as readdir lists them; fresh. */
static char *list(struct node *dir)
{
	struct buf b = BUF_INIT(4096);

	for (struct node *n = node_next_child(dir, 0); n; n = node_next_child(dir, node_cookie(n)))
		assert_int_equal(buf_printf(&b, "%s ", node_name(n)), 0);
	return buf_take(&b);
}

static void assert_list(struct node *dir, const char *want)
{
	cleanup_free char *have = list(dir);

	assert_string_equal(have, want);
}

static struct node *make_dir(struct tree *t, struct node *parent, const char *name)
{
	struct node *n;

	assert_int_equal(tree_stage_dir(t, parent, name, 0755, 0, &n), 0);
	assert_int_equal(tree_commit_mkdir(t, parent, name, &n), 0);
	return n;
}

static struct node *fill_file(struct tree *t, struct node *dir, const char *name, const char *text)
{
	struct payload_file f = { .mode = 0644 };
	cleanup_secblock struct secblock *b = NULL;
	struct node *n;

	assert_int_equal(secblock_new(strlen(text), &b, NULL), 0);
	memcpy(b->data, text, strlen(text));
	f.content = (struct secspan){ .block = b, .len = strlen(text) };
	assert_int_equal(tree_fill_file(t, dir, name, &f, &n), 0);
	return n;
}

static unsigned n_links(struct node *n)
{
	struct stat st;

	node_stat(n, &st);
	return st.st_nlink;
}

static void what_is_not_staged_is_refused(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *root = root_of(t), *dir = make_dir(t, root, "dir"), *n = NULL;

	fill_file(t, dir, "file", "x");
	assert_int_equal(tree_commit_mkdir(t, root, "new", &n), -EROFS);
	assert_int_equal(tree_commit_symlink(t, root, "new", "target", &n), -EROFS);
	assert_int_equal(tree_commit_unlink(t, dir, "file"), -EROFS);
	assert_int_equal(tree_commit_rmdir(t, root, "dir"), -EROFS);
	assert_int_equal(tree_commit_rename(t, dir, "file", dir, "other"), -EROFS);
	assert_int_equal(tree_commit_unlink(t, dir, "nothing"), -ENOENT);
	assert_int_equal(tree_commit_rmdir(t, dir, "nothing"), -ENOENT);
	assert_int_equal(tree_commit_rename(t, dir, "nothing", dir, "other"), -ENOENT);
	assert_null(n);
	assert_list(root, "dir ");
	assert_list(dir, "file ");
}

static void a_call_must_match_what_is_staged(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *root = root_of(t), *dir, *link, *n = NULL;

	assert_int_equal(tree_stage_dir(t, root, "dir", 0755, 0, &dir), 0);
	assert_int_equal(tree_stage_link(t, root, "tmp", "target", "final", &link), 0);
	assert_int_equal(tree_commit_symlink(t, root, "dir", "x", &n), -EROFS);
	assert_int_equal(tree_commit_mkdir(t, root, "tmp", &n), -EROFS);
	assert_int_equal(tree_commit_symlink(t, root, "tmp", "elsewhere", &n), -EROFS);
	assert_int_equal(tree_commit_symlink(t, root, "final", "target", &n), -EROFS);
	assert_int_equal(tree_commit_rename(t, root, "tmp", root, "final"), -ENOENT);
	assert_null(n);
	assert_int_equal(tree_commit_symlink(t, root, "tmp", "target", &n), 0);
	assert_ptr_equal(n, link);
	assert_true(node_is_linked(link));
	assert_false(node_is_committed(link));
	assert_int_equal(tree_commit_rename(t, root, "tmp", root, "other"), -EROFS);
	assert_int_equal(tree_commit_mkdir(t, root, "dir", &n), 0);
	assert_int_equal(tree_commit_rename(t, root, "tmp", dir, "final"), -EROFS);
	assert_int_equal(tree_commit_rename(t, root, "tmp", root, "final"), 0);
	assert_true(node_is_committed(link));
	assert_list(root, "dir final ");
}

static void staged_nodes_are_not_seen(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *root = root_of(t), *dir, *n;

	assert_int_equal(tree_stage_dir(t, root, "dir", 0755, 0, &dir), 0);
	fill_file(t, dir, "file", "x");
	assert_null(find(t, root, "dir"));
	assert_ptr_equal(tree_find(t, root, "dir"), dir);
	assert_list(root, "");
	assert_int_equal(n_links(root), 2);
	assert_int_equal(tree_stage_dir(t, root, "dir", 0755, 0, &n), -EEXIST);
	assert_int_equal(tree_commit_mkdir(t, root, "dir", &n), 0);
	assert_ptr_equal(n, dir);
	assert_ptr_equal(find(t, root, "dir"), dir);
	assert_non_null(find(t, dir, "file"));
	assert_int_equal(n_links(root), 3);
}

static void repeated_commits_give_what_the_vfs_gives(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *root = root_of(t), *dir = make_dir(t, root, "dir"), *link, *n = NULL;

	assert_int_equal(tree_commit_mkdir(t, root, "dir", &n), -EEXIST);
	assert_int_equal(tree_stage_link(t, root, "link", "x", NULL, &link), 0);
	assert_int_equal(tree_commit_symlink(t, root, "link", "x", &n), 0);
	assert_int_equal(tree_commit_symlink(t, root, "link", "x", &n), -EEXIST);
	tree_stage_removal(t, link);
	tree_stage_removal(t, dir);
	assert_int_equal(tree_commit_rmdir(t, root, "link"), -ENOTDIR);
	assert_int_equal(tree_commit_unlink(t, root, "dir"), -EISDIR);
	assert_int_equal(tree_commit_unlink(t, root, "link"), 0);
	assert_int_equal(tree_commit_unlink(t, root, "link"), -ENOENT);
	assert_int_equal(tree_commit_rmdir(t, root, "dir"), 0);
	assert_int_equal(tree_commit_rmdir(t, root, "dir"), -ENOENT);
	assert_int_equal(tree_stats(t).n_nodes, 1);
}

static void a_rename_replaces_the_old_link(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *root = root_of(t), *n;
	uint64_t first, second;

	for (int round = 0; round < 3; round++) {
		char target[2] = { '0' + round, 0 };

		assert_int_equal(tree_stage_link(t, root, "tmp", target, "data", &n), 0);
		assert_int_equal(tree_commit_symlink(t, root, "tmp", target, &n), 0);
		assert_int_equal(tree_commit_rename(t, root, "tmp", root, "data"), 0);
		assert_string_equal(node_target(find(t, root, "data")), target);
		assert_string_equal(node_name(find(t, root, "data")), "data");
		assert_null(find(t, root, "tmp"));
		assert_list(root, "data ");
	}
	assert_int_equal(tree_stats(t).n_nodes, 2);

	/* the kernel still knows the one that goes */
	first = node_id(find(t, root, "data"));
	tree_ref_lookup(t, find(t, root, "data"));
	assert_int_equal(tree_stage_link(t, root, "tmp", "x", "data", &n), 0);
	assert_int_equal(tree_commit_symlink(t, root, "tmp", "x", &n), 0);
	assert_int_equal(tree_commit_rename(t, root, "tmp", root, "data"), 0);
	second = node_id(find(t, root, "data"));
	assert_true(second > first);
	assert_string_equal(node_target(tree_node(t, first)), "2");
	assert_int_equal(n_links(tree_node(t, first)), 0);
	assert_int_equal(tree_stats(t).n_detached, 1);
	tree_forget(t, first, 1);
	assert_null(tree_node(t, first));
	assert_int_equal(tree_stats(t).n_detached, 0);
}

static void unstaging_leaves_no_trace(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *root = root_of(t), *dir, *sub, *link, *n;

	assert_int_equal(tree_stage_dir(t, root, "dir", 0755, 0, &dir), 0);
	assert_int_equal(tree_fill_dir(t, dir, "sub", 0755, 0, &sub), 0);
	fill_file(t, sub, "file", "bytes");
	assert_int_equal(tree_stage_link(t, root, "tmp", "x", "final", &link), 0);
	assert_int_equal(tree_stats(t).content_bytes, 5);
	tree_unstage(t, dir);
	tree_unstage(t, link);
	assert_int_equal(tree_stats(t).n_nodes, 1);
	assert_int_equal(tree_stats(t).content_bytes, 0);
	assert_int_equal(secmem_stats().n_blocks, 0);
	assert_int_equal(tree_commit_mkdir(t, root, "dir", &n), -EROFS);

	/* half committed: the rename is taken back, the link stays and can be removed */
	assert_int_equal(tree_stage_link(t, root, "tmp", "x", "final", &link), 0);
	assert_int_equal(tree_commit_symlink(t, root, "tmp", "x", &n), 0);
	tree_unstage(t, link);
	assert_int_equal(tree_commit_rename(t, root, "tmp", root, "final"), -EROFS);
	tree_stage_removal(t, link);
	tree_unstage(t, link);
	assert_int_equal(tree_commit_unlink(t, root, "tmp"), -EROFS);
	tree_stage_removal(t, link);
	assert_int_equal(tree_commit_unlink(t, root, "tmp"), 0);
	assert_int_equal(tree_stage_dir(t, root, "final", 0755, 0, &n), 0);
}

static void ids_are_never_used_again(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *root = root_of(t), *n;
	uint64_t last = TREE_ROOT_ID;

	for (int i = 0; i < 100; i++) {
		n = make_dir(t, root, "dir");
		assert_true(node_id(n) > last);
		last = node_id(n);
		tree_stage_removal(t, n);
		assert_int_equal(tree_commit_rmdir(t, root, "dir"), 0);
		assert_null(tree_node(t, last));
	}
}

static void a_detached_subtree_lives_until_it_is_forgotten(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *root = root_of(t), *dir = make_dir(t, root, "dir"), *sub, *file;
	uint64_t dir_id, file_id;

	assert_int_equal(tree_fill_dir(t, dir, "sub", 0755, 0, &sub), 0);
	file = fill_file(t, sub, "file", "bytes");
	fill_file(t, sub, "unknown", "more");
	dir_id = node_id(dir);
	file_id = node_id(file);
	tree_ref_lookup(t, dir);
	tree_ref_lookup(t, file);
	tree_ref_lookup(t, file);
	tree_stage_removal(t, dir);
	assert_int_equal(tree_commit_rmdir(t, root, "dir"), 0);

	assert_int_equal(tree_stats(t).n_nodes, 3);
	assert_int_equal(tree_stats(t).n_detached, 2);
	assert_int_equal(tree_stats(t).content_bytes, 5);
	assert_null(find(t, tree_node(t, dir_id), "sub"));
	assert_memory_equal(secspan_data(node_content(tree_node(t, file_id))), "bytes", 5);
	assert_null(node_parent(tree_node(t, file_id)));
	assert_string_equal(node_name(tree_node(t, file_id)), "");
	tree_forget(t, file_id, 1);
	assert_non_null(tree_node(t, file_id));
	tree_forget(t, file_id, 1);
	assert_null(tree_node(t, file_id));
	assert_int_equal(secmem_stats().n_blocks, 0);
	tree_forget(t, dir_id, 1000);
	assert_int_equal(tree_stats(t).n_nodes, 1);
}

static void forgetting_what_is_not_known_is_harmless(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *dir = make_dir(t, root_of(t), "dir");

	tree_forget(t, 12345, 1);
	tree_forget(t, UINT64_MAX, UINT64_MAX);
	tree_forget(t, 0, 1);
	tree_forget(t, TREE_ROOT_ID, 1000);
	tree_forget(t, node_id(dir), 1000);
	assert_ptr_equal(find(t, root_of(t), "dir"), dir);
	assert_non_null(root_of(t));
}

static void a_retired_version_hides_what_is_unlinked(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *root = root_of(t), *version, *sub, *a, *b, *n;

	assert_int_equal(tree_stage_dir(t, root, "..v", 0755, 0, &version), 0);
	assert_int_equal(tree_fill_dir(t, version, "sub", 0755, 0, &sub), 0);
	a = fill_file(t, version, "a", "1");
	b = fill_file(t, sub, "b", "2");
	assert_int_equal(tree_commit_mkdir(t, root, "..v", &n), 0);
	assert_true(node_is_immutable(version) && node_is_immutable(sub));
	assert_false(node_is_immutable(root));

	tree_retire(t, version);
	assert_int_equal(tree_commit_unlink(t, version, "a"), -EROFS);
	tree_stage_removal(t, a);
	tree_stage_removal(t, b);
	assert_int_equal(tree_commit_unlink(t, version, "a"), 0);
	assert_int_equal(tree_commit_unlink(t, sub, "b"), 0);
	assert_int_equal(tree_commit_unlink(t, version, "a"), -ENOENT);
	assert_list(version, "sub ");
	assert_list(sub, "");
	assert_true(is_hidden(t, version, "a"));
	assert_true(is_hidden(t, sub, "b"));
	assert_false(is_hidden(t, version, "sub"));
	assert_int_equal(n_links(a), 0);

	tree_stage_removal(t, sub);
	tree_stage_removal(t, version);
	assert_int_equal(tree_commit_rmdir(t, version, "sub"), 0);
	assert_int_equal(tree_commit_rmdir(t, root, "..v"), 0);
	assert_int_equal(tree_stats(t).n_nodes, 1);
	assert_int_equal(tree_stats(t).content_bytes, 0);
}

/* Not before: an update may come to nothing until then. */
static void the_switch_retires_the_version_before(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *root = root_of(t), *vol, *one, *two, *a, *b, *n;

	assert_int_equal(tree_stage_dir(t, root, "vol", 0755, 0, &vol), 0);
	assert_int_equal(tree_fill_dir(t, vol, "..1", 0755, 0, &one), 0);
	a = fill_file(t, one, "a", "1");
	b = fill_file(t, one, "b", "1");
	assert_int_equal(tree_fill_link(t, vol, TREE_DATA_LINK, "..1", &n), 0);
	assert_int_equal(tree_commit_mkdir(t, root, "vol", &n), 0);

	assert_int_equal(tree_stage_dir(t, vol, "..2", 0755, 0, &two), 0);
	assert_int_equal(tree_commit_mkdir(t, vol, "..2", &n), 0);
	assert_int_equal(tree_stage_link(t, vol, "..data_tmp", "..2", TREE_DATA_LINK, &n), 0);
	assert_int_equal(tree_commit_symlink(t, vol, "..data_tmp", "..2", &n), 0);
	tree_stage_removal(t, a);
	assert_int_equal(tree_commit_unlink(t, one, "a"), 0);
	assert_null(find(t, one, "a"));
	assert_int_equal(tree_commit_rename(t, vol, "..data_tmp", vol, TREE_DATA_LINK), 0);
	tree_stage_removal(t, b);
	assert_int_equal(tree_commit_unlink(t, one, "b"), 0);
	assert_true(is_hidden(t, one, "b"));
}

static void hidden_copies_are_found_and_not_listed(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *root = root_of(t), *old = make_dir(t, root, "..1"), *new = make_dir(t, root, "..2"), *dir, *deep,
		    *n;

	assert_int_equal(tree_fill_dir(t, old, "dir", 02755, 7, &dir), 0);
	assert_int_equal(tree_fill_dir(t, dir, "deep", 0755, 0, &deep), 0);
	fill_file(t, deep, "file", "bytes");
	fill_file(t, deep, "hidden", "more");
	tree_hide(t, find(t, deep, "hidden"));
	assert_int_equal(tree_fill_link(t, dir, "link", "target", &n), 0);
	fill_file(t, new, "own", "x");

	assert_int_equal(tree_fill_copy(t, new, dir, &n), 0);
	assert_int_equal(tree_fill_copy(t, new, dir, &n), -EEXIST);
	tree_hide(t, find(t, new, "dir"));
	assert_list(new, "own ");
	assert_int_equal(n_links(new), 2);
	assert_true(is_hidden(t, new, "dir"));
	n = find(t, new, "dir");
	assert_true(n != dir);
	assert_list(n, "deep link ");
	assert_true(is_hidden(t, n, "deep"));
	assert_true(is_hidden(t, find(t, n, "deep"), "file"));
	assert_null(find(t, find(t, n, "deep"), "hidden"));
	assert_memory_equal(secspan_data(node_content(find(t, find(t, n, "deep"), "file"))), "bytes", 5);
	assert_false(is_hidden(t, find(t, old, "dir"), "deep"));

	tree_drop_hidden(t, new);
	assert_null(find(t, new, "dir"));
	assert_list(new, "own ");
	assert_list(find(t, old, "dir"), "deep link ");
}

static void listings_go_on_where_they_were_while_the_folder_changes(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *root = root_of(t), *n;
	uint64_t cookie;
	char name[16];

	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof name, "d%d", i);
		make_dir(t, root, name);
	}
	n = node_next_child(root, 0);
	n = node_next_child(root, node_cookie(n));
	cookie = node_id(n);
	assert_string_equal(node_name(n), "d1");
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "d%d", i);
		tree_stage_removal(t, find(t, root, name));
		assert_int_equal(tree_commit_rmdir(t, root, name), 0);
	}
	make_dir(t, root, "new");
	assert_string_equal(node_name(node_next_child(root, cookie)), "d4");
	assert_null(node_next_child(root, node_cookie(find(t, root, "new"))));
	assert_null(node_next_child(root, UINT64_MAX));
}

static void attributes_say_what_the_node_is(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct payload_file f = { .mode = 04755, .uid = 5, .gid = 6 };
	struct node *dir, *file, *link;
	struct stat st;

	tree_set_time(t, 1700000000123456);
	assert_int_equal(tree_stage_dir(t, root_of(t), "..v", 03777, 9, &dir), 0);
	assert_int_equal(tree_fill_file(t, dir, "f", &f, &file), 0);
	assert_int_equal(tree_fill_link(t, dir, "l", "some/where", &link), 0);
	node_stat(dir, &st);
	assert_int_equal(st.st_mode, S_IFDIR | 03777);
	assert_int_equal(st.st_gid, 9);
	assert_int_equal(st.st_mtim.tv_sec, 1700000000);
	assert_int_equal(st.st_ctim.tv_nsec, 123456000);
	node_stat(file, &st);
	assert_int_equal(st.st_mode, S_IFREG | 0755); /* never setuid */
	assert_int_equal(st.st_uid, 5);
	assert_int_equal(st.st_gid, 6);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(st.st_nlink, 1);
	node_stat(link, &st);
	assert_int_equal(st.st_mode, S_IFLNK | 0777);
	assert_int_equal(st.st_gid, 9); /* the setgid folder's */
	assert_int_equal(st.st_size, 10);
}

static void names_that_no_folder_can_have_are_not_found(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	char name[PAYLOAD_NAME_MAX + 2];
	struct node *n;

	memset(name, 'a', sizeof name);
	name[sizeof name - 1] = 0;
	assert_null(find(t, root_of(t), name));
	assert_null(find(t, root_of(t), ""));
	assert_int_equal(tree_stage_dir(t, root_of(t), name, 0755, 0, &n), -ENAMETOOLONG);
	assert_int_equal(tree_stage_dir(t, root_of(t), "", 0755, 0, &n), -ENAMETOOLONG);
	name[PAYLOAD_NAME_MAX] = 0;
	n = make_dir(t, root_of(t), name);
	assert_ptr_equal(find(t, root_of(t), name), n);
}

static void a_deep_tree_needs_no_stack(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *top = make_dir(t, root_of(t), "..1"), *to = make_dir(t, root_of(t), "..2"), *dir = top, *n;

	for (int i = 0; i < 20000; i++)
		assert_int_equal(tree_fill_dir(t, dir, "d", 0755, 0, &dir), 0);
	assert_int_equal(tree_fill_copy(t, to, find(t, top, "d"), &n), 0);
	assert_int_equal(tree_stats(t).n_nodes, 40003);
	tree_stage_removal(t, top);
	tree_stage_removal(t, to);
	assert_int_equal(tree_commit_rmdir(t, root_of(t), "..1"), 0);
	assert_int_equal(tree_commit_rmdir(t, root_of(t), "..2"), 0);
	assert_int_equal(tree_stats(t).n_nodes, 1);
}

/* pod/volumes/p/v with a version that ..data names. */
static struct node *make_volume(struct tree *t, const char *text)
{
	struct node *vol = make_dir(t, make_dir(t, make_dir(t, make_dir(t, root_of(t), "pod"), "volumes"), "p"), "v");
	struct node *v, *n;

	assert_int_equal(tree_fill_version(t, vol, "..1", 0755, 0, NULL, &v), 0);
	fill_file(t, v, "key", text);
	assert_int_equal(tree_fill_link(t, vol, "..data", "..1", &n), 0);
	return vol;
}

static void switch_to(struct tree *t, struct node *vol, const char *version, const char *text)
{
	struct node *v, *n;

	assert_int_equal(tree_fill_version(t, vol, version, 0755, 0, NULL, &v), 0);
	if (text)
		fill_file(t, v, "key", text);
	assert_int_equal(tree_stage_link(t, vol, "..data_tmp", version, "..data", &n), 0);
	assert_int_equal(tree_commit_symlink(t, vol, "..data_tmp", version, &n), 0);
	assert_int_equal(tree_commit_rename(t, vol, "..data_tmp", vol, "..data"), 0);
}

static struct node *make_live(struct tree *t)
{
	struct node *n;

	assert_int_equal(tree_commit_mknod(t, root_of(t), "live", &n), -EROFS);
	assert_int_equal(tree_stage_live(t, root_of(t), "live", "pod/volumes/p/v/..data/key", &n), 0);
	assert_null(find(t, root_of(t), "live"));
	assert_int_equal(tree_commit_mknod(t, root_of(t), "live", &n), 0);
	assert_int_equal(tree_commit_mknod(t, root_of(t), "live", &n), -EEXIST);
	return n;
}

static uint64_t shown_size(struct tree *t, struct node *live)
{
	struct stat st;

	return tree_stat(t, live, &st) < 0 ? UINT64_MAX : (uint64_t)st.st_size;
}

static void a_live_file_shows_the_newest_version(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *vol = make_volume(t, "one"), *live = make_live(t);
	struct stat st;

	assert_int_equal(tree_stat(t, live, &st), 0);
	assert_int_equal(st.st_size, 3);
	assert_int_equal(st.st_ino, node_id(live));
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	switch_to(t, vol, "..2", "number two");
	assert_int_equal(shown_size(t, live), 10);
	/* not in this version: it is not found, and what is hidden in it does not count */
	switch_to(t, vol, "..3", NULL);
	assert_null(tree_follow(t, live));
	assert_int_equal(tree_stat(t, live, &st), -ESTALE);
	assert_null(find(t, root_of(t), "live"));
	tree_hide(t, fill_file(t, find(t, vol, "..3"), "key", "old"));
	assert_null(tree_follow(t, live));
	switch_to(t, vol, "..4", "again");
	assert_ptr_equal(find(t, root_of(t), "live"), live);
	assert_int_equal(shown_size(t, live), 5);
	/* one that is to go is found for that */
	switch_to(t, vol, "..5", NULL);
	tree_stage_removal(t, live);
	assert_ptr_equal(find(t, root_of(t), "live"), live);
	tree_ref_lookup(t, live);
	assert_int_equal(tree_commit_unlink(t, root_of(t), "live"), 0);
	switch_to(t, vol, "..6", "never seen");
	assert_int_equal(tree_stat(t, live, &st), -ESTALE);
}

static void in_flux_no_time_is_told_twice(void **state)
{
	cleanup_tree struct tree *t = tree_make();
	struct node *vol = make_volume(t, "one"), *live = make_live(t);
	struct stat settled, last, st;

	assert_int_equal(tree_stat(t, live, &settled), 0);
	tree_unsettle(t, live);
	last = settled;
	for (int i = 0; i < 3000; i++) {
		if (i == 1500)
			switch_to(t, vol, "..2", "two");
		assert_int_equal(tree_stat(t, live, &st), 0);
		assert_true(st.st_mtim.tv_nsec % 1000 != 0);
		assert_true(i == 0 || st.st_mtim.tv_sec > last.st_mtim.tv_sec ||
			    (st.st_mtim.tv_sec == last.st_mtim.tv_sec && st.st_mtim.tv_nsec > last.st_mtim.tv_nsec));
		last = st;
	}
	tree_settle(t, live);
	assert_int_equal(tree_stat(t, live, &st), 0);
	assert_int_equal(st.st_mtim.tv_nsec % 1000, 0);
}

#define PAGES(n) ((n)*4096u)

/* The kernel is told the size of before until it has the page with the first of both ends, or no page of before. */
static void in_flux_the_size_is_that_of_the_pages(void **state)
{
	static const struct {
		uint32_t before, now, off, size;
		bool known;
	} cases[] = {
		{ 10, 20, 0, PAGES(1), true },
		{ 20, 10, 0, PAGES(1), true },
		{ PAGES(2), 10, PAGES(1), PAGES(1), false },
		{ PAGES(2), 10, 0, PAGES(2), true },
		{ 10, PAGES(2), PAGES(1), PAGES(1), false },
		{ 10, PAGES(2), 0, PAGES(1), true },
		{ PAGES(1), PAGES(2), 0, PAGES(1), false },
		{ PAGES(1), PAGES(2), PAGES(1), PAGES(1), true },
		{ 0, 10, 0, PAGES(32), true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_tree struct tree *t = tree_make();
		cleanup_free char *before = calloc(1, cases[i].before + 1), *now = calloc(1, cases[i].now + 1);
		struct node *vol, *live;

		memset(before, 'b', cases[i].before);
		memset(now, 'n', cases[i].now);
		vol = make_volume(t, before);
		live = make_live(t);
		tree_unsettle(t, live);
		assert_int_equal(shown_size(t, live), cases[i].before);
		switch_to(t, vol, "..2", now);
		assert_int_equal(shown_size(t, live), cases[i].before);
		tree_note_read(t, live, cases[i].off, cases[i].size);
		assert_int_equal(shown_size(t, live), cases[i].known ? cases[i].now : cases[i].before);
		tree_note_dropped(t, live);
		assert_int_equal(shown_size(t, live), cases[i].now);
		assert_true(node_is_in_flux(live));
		tree_settle(t, live);
		assert_int_equal(shown_size(t, live), cases[i].now);
	}
}

/* Whoever reads the listing in parts is not told of a name twice because it has been renamed over in between. */
static void what_takes_a_name_takes_its_place_in_the_listing(void **state)
{
	struct tree *t = tree_make();
	struct node *root = root_of(t), *dir, *from, *n, *a, *b;
	struct payload_file none = { .mode = 0644 };
	uint64_t at, moved;

	assert_int_equal(tree_stage_dir(t, root, "dir", 0755, 0, &dir), 0);
	assert_int_equal(tree_fill_file(t, dir, "a", &none, &a), 0);
	assert_int_equal(tree_fill_file(t, dir, "b", &none, &b), 0);
	assert_int_equal(tree_commit_mkdir(t, root, "dir", &n), 0);
	assert_int_equal(tree_stage_dir(t, root, "from", 0755, 0, &from), 0);
	assert_int_equal(tree_fill_file(t, from, "a", &none, &n), 0);
	moved = node_id(n);
	assert_int_equal(tree_stage_move(t, n, dir), 0);
	assert_int_equal(tree_fill_file(t, from, "c", &none, &n), 0);
	assert_int_equal(tree_stage_move(t, n, dir), 0);
	assert_int_equal(tree_commit_mkdir(t, root, "from", &n), 0);
	at = node_cookie(node_next_child(dir, 0));
	assert_int_equal(tree_commit_rename(t, from, "a", dir, "a"), 0);
	assert_int_equal(tree_commit_rename(t, from, "c", dir, "c"), 0);
	n = node_next_child(dir, 0);
	assert_int_equal(node_id(n), moved);
	assert_int_equal(node_cookie(n), at);
	n = node_next_child(dir, at);
	assert_ptr_equal(n, b);
	n = node_next_child(dir, node_cookie(n));
	assert_string_equal(node_name(n), "c");
	assert_null(node_next_child(dir, node_cookie(n)));
	assert_null(node_next_child(from, 0));
	tree_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_staged_is_refused),
		cmocka_unit_test(a_call_must_match_what_is_staged),
		cmocka_unit_test(staged_nodes_are_not_seen),
		cmocka_unit_test(repeated_commits_give_what_the_vfs_gives),
		cmocka_unit_test(a_rename_replaces_the_old_link),
		cmocka_unit_test(unstaging_leaves_no_trace),
		cmocka_unit_test(ids_are_never_used_again),
		cmocka_unit_test(a_detached_subtree_lives_until_it_is_forgotten),
		cmocka_unit_test(forgetting_what_is_not_known_is_harmless),
		cmocka_unit_test(a_retired_version_hides_what_is_unlinked),
		cmocka_unit_test(the_switch_retires_the_version_before),
		cmocka_unit_test(hidden_copies_are_found_and_not_listed),
		cmocka_unit_test(listings_go_on_where_they_were_while_the_folder_changes),
		cmocka_unit_test(attributes_say_what_the_node_is),
		cmocka_unit_test(names_that_no_folder_can_have_are_not_found),
		cmocka_unit_test(a_deep_tree_needs_no_stack),
		cmocka_unit_test(a_live_file_shows_the_newest_version),
		cmocka_unit_test(in_flux_no_time_is_told_twice),
		cmocka_unit_test(in_flux_the_size_is_that_of_the_pages),
		cmocka_unit_test(what_takes_a_name_takes_its_place_in_the_listing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
