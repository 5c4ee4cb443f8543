/* fuzz: at most 4096 bytes
 * Orders: a publisher whose agent sends anything, and an agent whose publisher has gone mad.
 *
 * The publisher runs its orders in a thread whose root folder is a folder of ours, with links in it that lead out: beside
 * it is another, in which nothing may ever change. (It needs CAP_SYS_CHROOT; without, this half is left out.) The agent's
 * orders are well-formed and never climb; whatever it is told, each call is told its end once, and with a sane publisher it
 * comes to what it should be.
 *
 * Input: which half, then steps, or one operation after the other. */
#include "test/fuzz/fuzz.h"

#include <ftw.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/stat.h>

#define publisher_run	  fuzz_publisher_run /* its functions are what is tested */
#define publisher_confine fuzz_publisher_confine
#include "fusefs/publisher.c" /* NOLINT(bugprone-suspicious-include): under the names above */

#include "common/str.h"
#include "fusefs/publish.h"

/* --- the publisher's half --- */

static char base[] = "/tmp/fuzz_orders.XXXXXX", in_dir[64];

static struct {
	struct publisher p;
	sem_t asked, done;
	const char *message;
	size_t len;
	struct order_answer answer;
	bool works;
} worker;

static const char *const OUTSIDE[] = { ".", "out", "out/dir", "out/dir/file", "out/file", "out/link" };
static struct stat outside[ARRAY_SIZE(OUTSIDE)];

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	if (str_eq(path, in_dir))
		return 0;
	return remove(path);
}

static void remove_in(void)
{
	nftw(in_dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void remove_all(void)
{
	nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	rmdir(in_dir);
	rmdir(base);
}

static void *work(void *userdata)
{
	worker.works = syscall(SYS_unshare, CLONE_FS) == 0 && chroot(in_dir) == 0 && chdir("/") == 0;
	sem_post(&worker.done);
	for (;;) {
		sem_wait(&worker.asked);
		run_order(&worker.p, worker.message, worker.len, &worker.answer);
		sem_post(&worker.done);
	}
	return NULL;
}

static void outside_stat(struct stat st[ARRAY_SIZE(OUTSIDE)])
{
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(OUTSIDE); i++) {
		snprintf(path, sizeof path, "%s/%s", base, OUTSIDE[i]);
		FUZZ_CHECK(lstat(path, &st[i]) == 0);
		st[i].st_atim = (struct timespec){ 0 };
	}
}

static void worker_start(void)
{
	static const char *const dirs[] = { "in", "out", "out/dir" }, *const files[] = { "out/file", "out/dir/file" };
	pthread_t thread;
	char path[128];

	FUZZ_CHECK(mkdtemp(base));
	atexit(remove_all);
	snprintf(in_dir, sizeof in_dir, "%s/in", base);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof path, "%s/%s", base, dirs[i]);
		FUZZ_CHECK(mkdir(path, 0700) == 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof path, "%s/%s", base, files[i]);
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	}
	snprintf(path, sizeof path, "%s/out/link", base);
	FUZZ_CHECK(symlink("dir", path) == 0);
	outside_stat(outside);
	worker.p.root = open(in_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	worker.p.null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	worker.p.fuse = -1;
	sem_init(&worker.asked, 0, 0);
	sem_init(&worker.done, 0, 0);
	FUZZ_CHECK(pthread_create(&thread, NULL, work, NULL) == 0);
	pthread_detach(thread);
	sem_wait(&worker.done);
}

static void links_make(void)
{
	static const struct {
		const char *name, *to;
	} links[] = {
		{ "up", "../out" }, { "far", "../../../../../../../../tmp" }, { "root", "/" }, { "self", "self" }
	};
	char target[128];

	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		FUZZ_CHECK(symlinkat(links[i].to, worker.p.root, links[i].name) == 0);
	snprintf(target, sizeof target, "%s/out", base);
	FUZZ_CHECK(symlinkat(target, worker.p.root, "abs") == 0);
}

/* A path of parts; rarely any bytes. */
static size_t path_make(struct fuzz_input *in, char path[ORDER_PATH_MAX + 64])
{
	static const char *const parts[] = { "..",  ".",    "a",   "b",	   "up",   "abs", "far", "root",
					     "out", "file", "dir", "self", "link", "",	  "tmp", "c" };
	uint8_t n = fuzz_u8(in);
	size_t len = 0;

	if (n >= 0xf8) {
		struct fuzz_input bytes = fuzz_take(in, fuzz_u8(in));

		len = n & 1 ? (size_t)ORDER_PATH_MAX - 4 + (n & 6) : bytes.len;
		memset(path, 'x', len);
		if (bytes.len > 0)
			memcpy(path, bytes.data, MIN(bytes.len, len));
		return len;
	}
	if (n & 0x40)
		path[len++] = '/';
	if (n & 0x80) {
		memcpy(path + len, base + 1, strlen(base) - 1);
		len += strlen(base) - 1;
		path[len++] = '/';
	}
	for (int i = 0; i < n % 6; i++)
		len += (size_t)snprintf(path + len, 64, "%s%s", i ? "/" : "", parts[fuzz_u8(in) % ARRAY_SIZE(parts)]);
	path[len++] = 0;
	return len;
}

static void put(char *message, size_t *len, const void *data, size_t n)
{
	if (n > ORDER_MAX - *len)
		n = ORDER_MAX - *len;
	memcpy(message + *len, data, n);
	*len += n;
}

static void publisher_half(struct fuzz_input *in)
{
	static char message[ORDER_MAX], path[ORDER_PATH_MAX + 64], path2[ORDER_PATH_MAX + 64];
	struct order_head head = { .id = 0x1122334455667788, .n_steps = fuzz_u8(in) };
	struct stat now[ARRAY_SIZE(OUTSIDE)];
	size_t len = sizeof head;
	uint8_t how = fuzz_u8(in);
	uint32_t n = 0;

	if (how & 1)
		head.n_steps = UINT32_MAX;
	links_make();
	for (; in->len > 0 && n < 200; n++) {
		uint8_t lie = fuzz_u8(in);
		struct order_step s = { .index = n, .op = fuzz_u8(in) % (ORDER_OPS + 1), .mark = lie & 1 };

		s.path_len = (uint16_t)path_make(in, path);
		s.ignored = lie & 2 ? ORDER_IGNORE_ALL : lie & 4 ? ENOENT : 0;
		if (s.op == ORDER_SYMLINK || s.op == ORDER_RENAME || (lie & 8))
			s.path2_len = (uint16_t)path_make(in, path2);
		if (lie >= 0xf0) { /* another length than it has */
			struct order_step liar = s;

			liar.path_len += (uint16_t)(int8_t)fuzz_u8(in);
			liar.path2_len = fuzz_u8(in) & 1 ? UINT16_MAX : liar.path2_len;
			put(message, &len, &liar, sizeof liar);
		} else {
			put(message, &len, &s, sizeof s);
		}
		put(message, &len, path, s.path_len);
		put(message, &len, path2, s.path2_len);
	}
	if (!(how & 3))
		head.n_steps = n;
	memcpy(message, &head, sizeof head);

	/* no byte more than there is */
	worker.len = len;
	worker.message = memcpy(malloc(len), message, len);
	sem_post(&worker.asked);
	sem_wait(&worker.done);
	free((void *)(uintptr_t)worker.message);
	FUZZ_CHECK(worker.answer.id == head.id);
	FUZZ_CHECK((worker.answer.failed == ORDER_DONE) == (worker.answer.error == 0));
	FUZZ_CHECK(worker.answer.error <= 4095);
	outside_stat(now);
	FUZZ_CHECK(memcmp(now, outside, sizeof now) == 0);
	remove_in();
}

/* --- the agent's half --- */

#define N_CALLS 64

static struct {
	struct loop *loop;
	struct tree *tree;
	struct publish *publish;
	int publisher; /* its end of the socket; -1: it is dead */
	size_t n_calls, n_told[N_CALLS];
	int r[N_CALLS];
	uint32_t serial;
} a;

static const char *const UIDS[] = { "uid-1", "uid-2" };

static void told(void *userdata, int r, const struct publish_result *res, const struct err *e)
{
	size_t call = (size_t)(uintptr_t)userdata;

	FUZZ_CHECK(call < a.n_calls && a.n_told[call] == 0);
	/* a volume that cannot be made whole can show what is new all the same */
	FUZZ_CHECK(r >= 0 ? res != NULL : !res || r == -ETIMEDOUT);
	FUZZ_CHECK(r >= 0 || *err_text(e));
	a.n_told[call]++;
	a.r[call] = r;
}

static void turns(void)
{
	for (int i = 0; i < 400; i++)
		if (loop_run_once(a.loop, 0) <= 0)
			return;
	FUZZ_CHECK(!"the loop has nothing to do");
}

static void attach(void)
{
	int ends[2];

	close_fd(a.publisher);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	a.publisher = ends[0];
	FUZZ_CHECK(publish_attach(a.publish, ends[1], 77, NULL, NULL) == 0);
}

static struct payload *payload_make(uint8_t files)
{
	static const char *const paths[] = { "a", "b", "d/x", "d/y/z" };
	cleanup_secblock struct secblock *b = NULL;
	struct payload *p;
	struct digest d;

	FUZZ_CHECK(payload_new(&p) == 0 && secblock_new(sizeof a.serial, &b, NULL) == 0);
	a.serial++;
	memcpy(b->data, &a.serial, sizeof a.serial);
	d = digest_of(b->data, sizeof a.serial);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (files >> i & 1)
			FUZZ_CHECK(payload_add(p, paths[i], &(struct secspan){ .block = b, .len = sizeof a.serial }, &d,
					       0644, NULL) == 0);
	if (files & 16)
		FUZZ_CHECK(payload_add_mount_dir(p, "nest/deep", NULL) == 0);
	if (files & 32)
		payload_set_live(p);
	/* a file where another version has a folder */
	if (files & 64 && !(files & 12))
		FUZZ_CHECK(payload_add(p, "d", &(struct secspan){ .block = b, .len = sizeof a.serial }, &d, 0644,
				       NULL) == 0);
	FUZZ_CHECK(payload_seal(p, NULL) == 0);
	return p;
}

static void call(uint8_t what, uint8_t files)
{
	struct volume_path at = { .pod_uid = UIDS[what & 1], .plugin = "secret", .name = what & 2 ? "v" : "w" };
	void *userdata = (void *)(uintptr_t)a.n_calls;

	if (a.n_calls == N_CALLS)
		return;
	switch (what >> 2 & 3) {
	case 0:
	case 1:
		a.n_calls++;
		FUZZ_CHECK(publish_volume(a.publish, &at, payload_make(files), told, userdata) == 0);
		break;
	case 2:
		a.n_calls++;
		if (files & 1)
			FUZZ_CHECK(publish_remove_volume(a.publish, &at, told, userdata) == 0);
		else
			FUZZ_CHECK(publish_remove_pod(a.publish, at.pod_uid, told, userdata) == 0);
		break;
	case 3:
		FUZZ_CHECK(publish_name_pod(a.publish, at.pod_uid, "ns", "pod", NULL, NULL) == 0);
		break;
	}
}

/* What the kernel would make of the step. */
static int step_run(uint16_t op, const char *path, const char *path2)
{
	struct node *dir = tree_node(a.tree, TREE_ROOT_ID), *n;
	char copy[ORDER_PATH_MAX], *save = NULL, *s, *next;
	bool hidden;

	snprintf(copy, sizeof copy, "%s", path);
	s = strtok_r(copy, "/", &save);
	while ((next = strtok_r(NULL, "/", &save))) {
		dir = tree_lookup(a.tree, dir, s, &hidden);
		if (!dir)
			return -ENOENT;
		s = next;
	}
	switch (op) {
	case ORDER_MKDIR:
		return tree_commit_mkdir(a.tree, dir, s, &n);
	case ORDER_SYMLINK:
		return tree_commit_symlink(a.tree, dir, s, path2, &n);
	case ORDER_RENAME:
		return tree_commit_rename(a.tree, dir, s, dir, strrchr(path2, '/') + 1);
	case ORDER_UNLINK:
		return tree_commit_unlink(a.tree, dir, s);
	case ORDER_MKNOD:
		return tree_commit_mknod(a.tree, dir, s, &n);
	case ORDER_RMDIR:
		return tree_commit_rmdir(a.tree, dir, s);
	default:
		return 0;
	}
}

static bool path_is_good(const char *path)
{
	return path[0] && path[0] != '/' && !str_has_dotdot(path) && strlen(path) < ORDER_PATH_MAX;
}

/* Takes an order, if there is one, and runs its first n steps. */
static bool order_run(size_t n, struct order_answer *ret_a)
{
	static char message[ORDER_MAX];
	ssize_t len = a.publisher >= 0 ? recv(a.publisher, message, sizeof message, MSG_DONTWAIT) : -1;
	struct order_head head;
	size_t at = sizeof head;

	if (len <= 0)
		return false;
	FUZZ_CHECK((size_t)len >= sizeof head);
	memcpy(&head, message, sizeof head);
	*ret_a = (struct order_answer){ .id = head.id, .failed = ORDER_DONE };
	for (uint32_t i = 0; i < head.n_steps; i++) {
		struct order_step s;
		const char *path, *path2;
		int r;

		FUZZ_CHECK((size_t)len - at >= sizeof s);
		memcpy(&s, message + at, sizeof s);
		at += sizeof s;
		path = path_get(message, (size_t)len, &at, s.path_len);
		path2 = s.path2_len ? path_get(message, (size_t)len, &at, s.path2_len) : "";
		FUZZ_CHECK(path && path2 && s.op < ORDER_OPS && path_is_good(path));
		FUZZ_CHECK(s.op != ORDER_RENAME || path_is_good(path2));
		if (i >= n || ret_a->error)
			continue;
		r = step_run(s.op, path, path2);
		if (r < 0 && s.ignored != ORDER_IGNORE_ALL && s.ignored != -r) {
			ret_a->failed = s.index;
			ret_a->error = (uint32_t)-r;
		}
		if (s.mark)
			ret_a->realtime_usec = 1;
	}
	FUZZ_CHECK(at == (size_t)len);
	return true;
}

static void answer(const void *data, size_t len)
{
	if (a.publisher >= 0)
		(void)!send(a.publisher, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void mad_answer(struct fuzz_input *in)
{
	struct order_answer ans = { 0 };
	uint8_t how = fuzz_u8(in);
	uint8_t raw[64] = { 0 };

	order_run(how & 1 ? SIZE_MAX : fuzz_u8(in), &ans);
	switch (how >> 1 & 7) {
	case 0: /* a lie: it says that all is done */
		ans.failed = ORDER_DONE;
		ans.error = 0;
		break;
	case 1: /* the truth */
		break;
	case 2:
		ans.failed = fuzz_u8(in);
		ans.error = fuzz_u8(in);
		break;
	case 3:
		ans.failed = fuzz_u32(in);
		ans.error = fuzz_u32(in);
		break;
	case 4:
		ans.id += (uint64_t)(int8_t)fuzz_u8(in);
		break;
	case 5:
		ans.realtime_usec = UINT64_MAX;
		break;
	case 6: { /* another length */
		struct fuzz_input bytes = fuzz_take(in, fuzz_u8(in) % sizeof raw);

		if (bytes.len > 0)
			memcpy(raw, bytes.data, bytes.len);
		answer(raw, bytes.len);
		return;
	}
	case 7: /* none */
		return;
	}
	answer(&ans, sizeof ans);
	if (how & 0x80)
		answer(&ans, sizeof ans);
}

/* From here on the publisher does what it is told. */
static void sane(void)
{
	struct order_answer ans;

	attach();
	turns();
	for (int i = 0; i < 1000 && order_run(SIZE_MAX, &ans); i++) {
		answer(&ans, sizeof ans);
		turns();
	}
	FUZZ_CHECK(publish_stats(a.publish).n_queued == 0);
}

static void shows(const struct volume_path *at, uint32_t serial)
{
	struct publish_result res;
	struct node *n = tree_node(a.tree, TREE_ROOT_ID), *live;
	const char *const path[] = { at->pod_uid, "volumes", at->plugin, at->name, NULL, "a" }, *const live_path[] = {
		at->pod_uid, "live", at->name, "a"
	};
	bool whole = false;

	FUZZ_CHECK(publish_find(a.publish, at, &res, &whole) && whole);
	for (size_t i = 0; i < ARRAY_SIZE(path); i++) {
		n = tree_find(a.tree, n, path[i] ?: res.version);
		FUZZ_CHECK(n && node_is_committed(n));
	}
	FUZZ_CHECK(node_content(n)->len == sizeof serial);
	FUZZ_CHECK(memcmp(secspan_data(node_content(n)), &serial, sizeof serial) == 0);

	/* once made, live files stay with the volume */
	live = tree_node(a.tree, TREE_ROOT_ID);
	for (size_t i = 0; live && i < ARRAY_SIZE(live_path); i++)
		live = tree_find(a.tree, live, live_path[i]);
	FUZZ_CHECK(!live || (!node_is_in_flux(live) && tree_follow(a.tree, live) == n));
}

static void agent_half(struct fuzz_input *in)
{
	struct tree_stats stats;

	a.n_calls = 0;
	memset(a.n_told, 0, sizeof a.n_told);
	a.publisher = -1;
	FUZZ_CHECK(tree_new(1, &a.tree) == 0 && publish_new(a.loop, a.tree, &a.publish) == 0);
	for (int i = 0; i < 200 && in->len > 0; i++) {
		uint8_t op = fuzz_u8(in);

		if (op < 0x60)
			call(op, fuzz_u8(in));
		else if (op < 0xe0)
			mad_answer(in);
		else if (op < 0xf8)
			attach();
		else
			a.publisher = close_fd(a.publisher);
		if (op & 1)
			turns();
	}
	turns();
	sane();
	for (size_t i = 0; i < a.n_calls; i++)
		FUZZ_CHECK(a.n_told[i] == 1);
	for (int i = 0; i < 2 && a.n_calls < N_CALLS; i++) {
		struct volume_path at = { .pod_uid = UIDS[i], .plugin = "secret", .name = "v" };

		FUZZ_CHECK(publish_volume(a.publish, &at, payload_make(1), told, (void *)(uintptr_t)a.n_calls) == 0);
		a.n_calls++;
		sane();
		FUZZ_CHECK(a.n_told[a.n_calls - 1] == 1 && a.r[a.n_calls - 1] == 0);
		shows(&at, a.serial);
	}
	for (int i = 0; i < 2; i++)
		FUZZ_CHECK(publish_remove_pod(a.publish, UIDS[i], NULL, NULL) == 0);
	sane();
	/* the root and by-name, which stays with its folders */
	stats = tree_stats(a.tree);
	FUZZ_CHECK(stats.n_nodes <= 3 && stats.content_bytes == 0);
	publish_free(a.publish);
	tree_free(a.tree);
	a.publisher = close_fd(a.publisher);
	FUZZ_CHECK(secmem_stats().n_blocks == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };

	if (!a.loop) {
		log_set_level(LOG_LEVEL_ERROR);
		FUZZ_CHECK(loop_new(&a.loop) == 0 && secmem_init(1 << 20, NULL) == 0);
		worker_start();
	}
	if (fuzz_u8(&in) & 1)
		agent_half(&in);
	else if (worker.works)
		publisher_half(&in);
	return 0;
}
