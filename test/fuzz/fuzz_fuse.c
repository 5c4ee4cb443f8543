/* fuzz: at most 2048 bytes
 * FUSE requests in random order, against a model of the tree that is nothing but arrays. The harness is the kernel and the
 * publisher in one: it makes volumes, updates and removes them in the publisher's order of calls, and between any two
 * calls it asks for whatever a kernel could ask for, and for what none would. Agents die between two requests or before
 * the answer to one, and the next one goes on.
 *
 * What must hold: each request has one answer, the right one; a node has exactly the lookup count that its answers have
 * given it; it exists as long as it has a name or a count, and no longer; a live file has the content, and in flux the size,
 * that it should have at that moment; and when all is removed and forgotten, the arena is empty.
 *
 * Input: one operation after the other. Ids are counted from the first one of the run. */
#include "test/fuzz/fuzz.h"

#include <linux/fuse.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "common/log.h"
#include "common/str.h"
#include "fusefs/label.h"
#include "fusefs/ops.h"
#include "fusefs/plan.h"
#include "fusefs/publish.h"
#include "fusefs/session.h"
#include "test/fuzz/unlocked.h"

#define HEAP	    (2u << 20)
#define PUBLISHER   77
#define STRANGER    78
#define NODES_MAX   2048
#define STALE_MAX   64
#define N_PODS	    3
#define N_VOLUMES   2
#define OPS_MAX	    150
#define PLUGIN	    "kubernetes.io~secret"
#define RESENT	    (UINT64_C(1) << 63)
#define ANSWER_NONE 1000

static const char *const PODS[N_PODS] = { "uid-a", "uid-b", "uid-c" };
/* a pod can have the name of one that is gone */
static const char *const NAMES[N_PODS] = { "x", "y", "x" };
static const char *const VOLUMES[N_VOLUMES] = { "one", "two" };
static const char *const FILES[] = { "a", "b", "password", "d/x", "d/y", "e/f/g", ".hidden", "d" };
enum { FILE_D = 7, FILES_IN_D = 1 << 3 | 1 << 4 }; /* there is one or the others */

/* --- the model --- */

enum { ROOT = 0, DETACHED = -2 };

struct mnode {
	bool used, hidden, retired, immutable;
	bool flux, removal; /* a live file's: its attributes are good for one answer; it is to go */
	int parent;
	enum node_kind kind;
	char name[64], target[128];
	mode_t mode;
	gid_t gid;
	uint64_t id, count; /* id 0: the kernel has not learned it */
	uint32_t block; /* serial number of the payload whose block this is */
	uint32_t label; /* and of the one that it says it is of; 0: it says nothing */
	bool copied; /* for a path walk that was overtaken: the next agent does not know of what it is */
	size_t len;
	uint8_t fill; /* what the content consists of, from its first byte on */
	uint64_t shown; /* the size that a live file in flux has; SIZE_UNKNOWN: that of what it shows */
};
#define SIZE_UNKNOWN UINT64_MAX
#define KERNEL_PAGE  4096u

struct expected { /* what a staged folder or link will be */
	bool used;
	int pod, volume, n_hidden;
	uint32_t files; /* bits of FILES */
	uint32_t serial;
	bool fs_group, nested, live;
};

struct version { /* in its grace */
	int pod, volume;
	char name[PLAN_VERSION_MAX];
};

static struct {
	struct mnode nodes[NODES_MAX];
	int top; /* all that are used lie below */
	uint64_t stale[STALE_MAX];
	size_t n_stale;
	uint32_t serial;
	struct expected staged; /* of the plan that is under way */
	struct version grace[64];
	size_t n_grace;
	uint64_t base_id;
} m;

static struct {
	int fd, kernel;
	struct loop *loop;
	struct arena *arena;
	struct tree *tree;
	struct publish *publish;
	struct session *session;
	struct plan plan;
	bool planned; /* a plan is under way, from step `step` on */
	bool undoing;
	size_t step;
	struct payload *payload;
	char path[256];
	int job;
	uint64_t unique;
	uint8_t request[ARENA_REQUEST_MAX]; /* the last one */
	size_t request_len;
	uint8_t answer[256 << 10];
	size_t answer_len; /* behind its head */
	bool caller_gone, resent;
	uint64_t count_id, count_after; /* the slot's, before the last answer */
	uint64_t flux_sec; /* the time that was answered last for a live file in flux */
	uint32_t flux_nsec;
	int restarts;
} f;

static bool is_dotted(const char *name)
{
	return name[0] == '.' && name[1] == '.';
}

static int m_new(int parent, const char *name, enum node_kind kind, mode_t mode, gid_t gid)
{
	for (int i = 1; i < NODES_MAX; i++) {
		struct mnode *n = &m.nodes[i];

		if (n->used)
			continue;
		m.top = MAX(m.top, i + 1);
		*n = (struct mnode){ .used = true, .parent = parent, .kind = kind, .mode = mode, .gid = gid };
		n->immutable = m.nodes[parent].immutable || (kind == NODE_DIR && is_dotted(name));
		snprintf(n->name, sizeof n->name, "%s", name);
		return i;
	}
	FUZZ_CHECK(!"the model has room");
	return -1;
}

static int m_child(int parent, const char *name)
{
	for (int i = 1; i < m.top; i++)
		if (m.nodes[i].used && m.nodes[i].parent == parent && str_eq(m.nodes[i].name, name))
			return i;
	return -1;
}

static int m_by_id(uint64_t id)
{
	for (int i = 0; i < m.top; i++)
		if (m.nodes[i].used && m.nodes[i].id == id && id)
			return i;
	return -1;
}

static int m_below(int i, const char *path)
{
	char copy[512], *save = NULL;

	snprintf(copy, sizeof copy, "%s", path);
	for (char *s = strtok_r(copy, "/", &save); s && i >= 0; s = strtok_r(NULL, "/", &save))
		i = m_child(i, s);
	return i;
}

static int m_at(const char *path)
{
	return m_below(ROOT, path);
}

static void m_free_if_unused(int i)
{
	struct mnode *n = &m.nodes[i];

	if (n->parent != DETACHED || n->count > 0)
		return;
	if (n->id)
		m.stale[m.n_stale++ % STALE_MAX] = n->id;
	n->used = false;
}

static void m_detach(int i)
{
	for (int k = 1; m.nodes[i].kind == NODE_DIR && k < m.top; k++)
		if (m.nodes[k].used && m.nodes[k].parent == i)
			m_detach(k);
	m.nodes[i].parent = DETACHED;
	m_free_if_unused(i);
}

/* --- live files: <pod>/live/<volume>/<key> shows <pod>/volumes/<plugin>/<volume>/..data/<key> --- */

static bool m_is_attached(int i)
{
	while (i > ROOT)
		/* cppcheck-suppress arrayIndexOutOfBoundsCond ; an index of nodes */
		i = m.nodes[i].parent;
	return i == ROOT;
}

/* The file at a path of names below dir. hidden: also one that is not listed. -1: there is none. */
static int m_file_below(int dir, const char *path, bool hidden)
{
	char copy[128], *save = NULL;
	int i = dir;

	snprintf(copy, sizeof copy, "%s", path);
	for (char *s = strtok_r(copy, "/", &save); s && i >= 0; s = strtok_r(NULL, "/", &save)) {
		i = m_child(i, s);
		if (i >= 0 && m.nodes[i].hidden && !hidden)
			i = -1;
	}
	return i >= 0 && m.nodes[i].kind == NODE_FILE ? i : -1;
}

/* The volume's folder, and the path of what is shown in a version. */
static int m_live_volume(int live, const char **ret_path)
{
	const char *at = strstr(m.nodes[live].target, "/" PLAN_DATA_LINK "/");
	char volume[128];

	snprintf(volume, sizeof volume, "%.*s", (int)(at - m.nodes[live].target), m.nodes[live].target);
	*ret_path = at + strlen("/" PLAN_DATA_LINK "/");
	return m_at(volume);
}

/* What node i shows: itself, or the file that a live file shows now. -1: nothing. */
static int m_follow(int i)
{
	const char *path;
	int vol, data;

	if (m.nodes[i].kind != NODE_LIVE)
		return i;
	if (!m_is_attached(i))
		return -1;
	vol = m_live_volume(i, &path);
	data = vol >= 0 ? m_child(vol, PLAN_DATA_LINK) : -1;
	if (data < 0)
		return -1;
	vol = m_child(vol, m.nodes[data].target);
	return vol < 0 ? -1 : m_file_below(vol, path, false);
}

static uint64_t m_size(int i)
{
	const struct mnode *n = &m.nodes[i];
	int file = m_follow(i);

	if (n->kind == NODE_LIVE)
		return n->flux && n->shown != SIZE_UNKNOWN ? n->shown : m.nodes[file].len;
	return n->kind == NODE_FILE ? n->len : n->kind == NODE_LINK ? strlen(n->target) : 0;
}

/* The kernel has been given these bytes. If the end that came first is among them, what it has is of now. */
static void m_note_read(int live, uint64_t off, uint64_t size)
{
	struct mnode *n = &m.nodes[live];
	int file = m_follow(live);
	uint64_t first, end;

	if (n->kind != NODE_LIVE || !n->flux || file < 0 || off > INT64_MAX)
		return;
	first = n->shown < m.nodes[file].len ? n->shown : m.nodes[file].len;
	end = first - first % KERNEL_PAGE;
	if (off <= end && end - off < size)
		n->shown = m.nodes[file].len;
}

/* The next process does not know of which version the kernel has bytes: of the smallest. */
static void m_restore_flux(int live)
{
	struct mnode *n = &m.nodes[live];
	const char *path;
	int vol, file;

	n->removal = false;
	if (!n->flux)
		return;
	n->shown = SIZE_UNKNOWN;
	vol = m_is_attached(live) ? m_live_volume(live, &path) : -1;
	for (int k = 1; vol >= 0 && k < m.top; k++) {
		if (!m.nodes[k].used || m.nodes[k].parent != vol || m.nodes[k].kind != NODE_DIR)
			continue;
		file = m_file_below(k, path, true);
		if (file >= 0 && m.nodes[file].len < n->shown)
			n->shown = m.nodes[file].len;
	}
}

static bool m_in_retired(int i)
{
	for (; i >= 0; i = i == ROOT ? -1 : m.nodes[i].parent)
		if (m.nodes[i].retired)
			return true;
	return false;
}

static bool m_short_lived(int i)
{
	for (; i > ROOT; i = m.nodes[i].parent)
		if (m.nodes[i].hidden)
			return true;
	return false;
}

static mode_t m_dir_mode(const struct expected *x)
{
	return x->fs_group ? 02755 : 0755;
}

static gid_t m_dir_gid(const struct expected *x)
{
	return x->fs_group ? 4711 : 0;
}

static size_t file_len(uint32_t serial, size_t k)
{
	return (serial * 31 + k * 7) % 3 == 0 ? 0 : (serial * 131 + k * 17) % 5000;
}

static uint8_t file_byte(uint32_t serial, size_t k)
{
	return (uint8_t)(serial * 8 + k);
}

static uint8_t byte_at(uint8_t fill, size_t i)
{
	return (uint8_t)(fill + i / 7);
}

static void m_add_files(int version, const struct expected *x)
{
	m.nodes[version].label = x->serial;
	for (size_t k = 0; k < ARRAY_SIZE(FILES); k++) {
		char copy[64], *save = NULL, *s, *next;
		int dir = version, i;

		if (!(x->files >> k & 1))
			continue;
		snprintf(copy, sizeof copy, "%s", FILES[k]);
		s = strtok_r(copy, "/", &save);
		while ((next = strtok_r(NULL, "/", &save))) {
			i = m_child(dir, s);
			dir = i >= 0 ? i : m_new(dir, s, NODE_DIR, m_dir_mode(x), m_dir_gid(x));
			m.nodes[dir].label = x->serial;
			s = next;
		}
		i = m_new(dir, s, NODE_FILE, x->fs_group ? 0640 : 0600, m_dir_gid(x));
		m.nodes[i].block = m.nodes[i].label = x->serial;
		m.nodes[i].len = file_len(x->serial, k);
		m.nodes[i].fill = file_byte(x->serial, k);
	}
}

static void m_add_live(int parent, const char *name, const char *path)
{
	struct mnode *n = &m.nodes[m_new(parent, name, NODE_LIVE, 0, 0)];

	FUZZ_CHECK(snprintf(n->target, sizeof n->target, "%s/" PLAN_DATA_LINK "/%s", f.path, path) <
		   (int)sizeof n->target);
}

/* A folder for live files has come, with one for each file below this folder of the version. */
static void m_fill_live(int dir, int like, const char *path)
{
	m.nodes[dir].mode = m.nodes[like].mode;
	m.nodes[dir].gid = m.nodes[like].gid;
	for (int k = 1, top = m.top; k < top; k++) {
		char below[128];

		if (!m.nodes[k].used || m.nodes[k].parent != like || m.nodes[k].hidden)
			continue;
		snprintf(below, sizeof below, "%s%s%s", path, *path ? "/" : "", m.nodes[k].name);
		if (m.nodes[k].kind == NODE_DIR)
			m_fill_live(m_new(dir, m.nodes[k].name, NODE_DIR, 0, 0), k, below);
		else
			m_add_live(dir, m.nodes[k].name, below);
	}
}

/* Behind <pod>/live/<volume>, if the path is of such a folder or in it; NULL: it is not. */
static const char *live_path(const char *path)
{
	char start[64];
	int len = snprintf(start, sizeof start, "%s/" PLAN_LIVE "/%s", PODS[m.staged.pod], VOLUMES[m.staged.volume]);

	if (strncmp(path, start, (size_t)len) != 0 || (path[len] != 0 && path[len] != '/'))
		return NULL;
	return path + len + (path[len] == '/');
}

static int m_live_folder(void)
{
	char path[64];

	snprintf(path, sizeof path, "%s/" PLAN_LIVE "/%s", PODS[m.staged.pod], VOLUMES[m.staged.volume]);
	return m_at(path);
}

static bool m_is_in(int i, int top)
{
	while (i > ROOT && i != top)
		/* cppcheck-suppress arrayIndexOutOfBoundsCond ; an index of nodes */
		i = m.nodes[i].parent;
	return i == top;
}

static int m_add_link(int parent, const char *name, const char *target)
{
	int i = m_new(parent, name, NODE_LINK, 0777, m.nodes[parent].mode & 02000 ? m.nodes[parent].gid : 0);

	snprintf(m.nodes[i].target, sizeof m.nodes[i].target, "%s", target);
	return i;
}

static void m_copy_into(int from, int dir, bool top)
{
	struct mnode *n = &m.nodes[from];
	int i = m_new(dir, n->name, n->kind, n->mode, n->gid);

	m.nodes[i].block = n->block;
	m.nodes[i].label = n->kind == NODE_FILE ? n->label : 0;
	m.nodes[i].copied = true;
	m.nodes[i].len = n->len;
	m.nodes[i].fill = n->fill;
	m.nodes[i].hidden = top;
	for (int k = 1; n->kind == NODE_DIR && k < m.top; k++)
		if (m.nodes[k].used && m.nodes[k].parent == from && !m.nodes[k].hidden)
			m_copy_into(k, i, false);
}

/* What has come with a folder's mkdir: a volume's whole content, or a version's, or live files. */
static void m_fill_new(int dir, const char *path)
{
	const struct expected *x = &m.staged;
	const char *rest = live_path(path);
	struct mnode *n = &m.nodes[dir];
	int old, version;

	if (rest) {
		version = m_at(f.path);
		version = version >= 0 ? m_child(version, f.plan.version) : -1;
		version = version >= 0 ? m_below(version, rest) : -1;
		FUZZ_CHECK(version >= 0);
		m_fill_live(dir, version, rest);
		if (!*rest) { /* the group is that of the volume, as it was made */
			n->mode = (m.nodes[m_at(f.path)].mode & S_ISGID) | 0755;
			n->gid = m.nodes[m_at(f.path)].gid;
		}
		return;
	}
	if (!x->used)
		return;
	if (is_dotted(n->name)) {
		int data = m_child(n->parent, PLAN_DATA_LINK);

		n->mode = m_dir_mode(x);
		n->gid = m_dir_gid(x);
		m_add_files(dir, x);
		old = data >= 0 ? m_child(n->parent, m.nodes[data].target) : -1;
		for (int k = 1; old >= 0 && k < m.top; k++)
			if (m.nodes[k].used && m.nodes[k].parent == old && !m.nodes[k].hidden &&
			    m_child(dir, m.nodes[k].name) < 0)
				m_copy_into(k, dir, true);
	} else if (str_eq(n->name, VOLUMES[x->volume]) && m.nodes[n->parent].parent > ROOT &&
		   str_eq(m.nodes[n->parent].name, PLUGIN)) {
		n->mode = x->fs_group ? 03777 : 01777;
		n->gid = m_dir_gid(x);
		version = m_new(dir, f.plan.version, NODE_DIR, m_dir_mode(x), m_dir_gid(x));
		m_add_files(version, x);
		m_add_link(dir, PLAN_DATA_LINK, f.plan.version);
		for (int k = 1; k < m.top; k++) {
			char target[128];

			if (!m.nodes[k].used || m.nodes[k].parent != version)
				continue;
			snprintf(target, sizeof target, PLAN_DATA_LINK "/%s", m.nodes[k].name);
			m_add_link(dir, m.nodes[k].name, target);
		}
		if (x->nested)
			m_new(m_new(dir, "nest", NODE_DIR, m_dir_mode(x), m_dir_gid(x)), "deep", NODE_DIR,
			      m_dir_mode(x), m_dir_gid(x));
	} else if (str_eq(n->name, "nest") || str_eq(n->name, "deep")) {
		n->mode = m_dir_mode(x);
		n->gid = m_dir_gid(x);
		if (str_eq(n->name, "nest"))
			m_new(dir, "deep", NODE_DIR, m_dir_mode(x), m_dir_gid(x));
	}
}

/* --- the kernel's end --- */

/* Notes what the slot says before an answer goes out: here an agent can die of it. And the caller may have been killed
 * meanwhile: the answer has nobody to go to. */
ssize_t writev(int fd, const struct iovec *iov, int n)
{
	const struct fuse_out_header *head = iov->iov_base;

	if (f.arena && fd != f.kernel) {
		const struct arena_slot *slot = &arena_connection(f.arena)->slot;

		f.count_id = slot->count_id;
		f.count_after = slot->count_after;
	}
	/* not by the answer to an interrupt, which libfuse gives back when the next request comes */
	if (f.caller_gone && fd != f.kernel && iov->iov_len >= sizeof(*head) && head->unique == f.unique) {
		f.caller_gone = false;
		errno = ENOENT;
		return -1;
	}
	return syscall(SYS_writev, fd, iov, n);
}

static void ended(void *userdata, int r)
{
	FUZZ_CHECK(!"the connection has ended");
}

/* Takes the answer to `unique`; ANSWER_NONE: there is none. At most one comes. */
static int take_answer(uint64_t unique)
{
	struct fuse_out_header head;
	int error = ANSWER_NONE;
	ssize_t n;

	for (;;) {
		static uint8_t raw[256 << 10];

		n = recv(f.kernel, raw, sizeof raw, MSG_DONTWAIT);
		if (n < 0) {
			FUZZ_CHECK(errno == EAGAIN);
			return error;
		}
		FUZZ_CHECK((size_t)n >= sizeof head);
		memcpy(&head, raw, sizeof head);
		FUZZ_CHECK(head.len == (size_t)n);
		if (head.unique == 0 && head.error == 7) { /* a successor asks for what has no answer */
			f.resent = true;
			continue;
		}
		if (head.unique & 1) { /* an interrupt's: libfuse gives it back when it finds nothing to interrupt */
			FUZZ_CHECK(head.error == -EAGAIN || head.error == -EINVAL); /* EINVAL: it was not whole */
			continue;
		}
		FUZZ_CHECK(head.unique == unique && error == ANSWER_NONE);
		FUZZ_CHECK(head.error <= 0 && head.error > -512);
		error = head.error;
		f.answer_len = (size_t)n - sizeof head;
		memcpy(f.answer, raw + sizeof head, f.answer_len);
	}
}

/* Where there is a LeakSanitizer. libfuse keeps an interrupt of a request that it does not know until the next request comes, and
 * forgets it when the session ends. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static int ask_raw(void)
{
	struct fuse_in_header head;
	bool may_be_kept;

	memcpy(&head, f.request, sizeof head);
	may_be_kept = head.opcode == FUSE_INTERRUPT && __lsan_disable && __lsan_enable;
	FUZZ_CHECK(send(f.kernel, f.request, f.request_len, 0) == (ssize_t)f.request_len);
	if (may_be_kept)
		__lsan_disable();
	session_answer(f.session);
	if (may_be_kept)
		__lsan_enable();
	return take_answer(head.unique);
}

static void request_make(uint32_t opcode, uint64_t nodeid, pid_t pid, const void *body, size_t len)
{
	struct fuse_in_header head = { .opcode = opcode, .nodeid = nodeid, .pid = (uint32_t)pid };

	FUZZ_CHECK(len <= sizeof f.request - sizeof head);
	f.unique += 2;
	head.unique = f.unique;
	head.len = (uint32_t)(sizeof head + len);
	head.uid = head.gid = UINT32_MAX;
	memcpy(f.request, &head, sizeof head);
	if (len > 0)
		memcpy(f.request + sizeof head, body, len);
	f.request_len = head.len;
}

static int ask(uint32_t opcode, uint64_t nodeid, pid_t pid, const void *body, size_t len)
{
	request_make(opcode, nodeid, pid, body, len);
	return ask_raw();
}

/* Up to two strings behind some fixed bytes. */
static int ask_names(uint32_t opcode, uint64_t nodeid, pid_t pid, const void *fixed, size_t len, const char *a,
		     const char *b)
{
	static uint8_t body[16 << 10]; /* two of the longest names that random_name() gives, and more */

	if (len > 0)
		memcpy(body, fixed, len);
	for (int i = 0; i < 2; i++) {
		const char *s = i ? b : a;

		if (!s)
			continue;
		FUZZ_CHECK(len + strlen(s) + 1 <= sizeof body);
		memcpy(body + len, s, strlen(s) + 1);
		len += strlen(s) + 1;
	}
	return ask(opcode, nodeid, pid, body, len);
}

static void init(void)
{
	struct fuse_init_in in = { .major = FUSE_KERNEL_VERSION,
				   .minor = 45,
				   .max_readahead = 131072,
				   .flags = UINT32_MAX,
				   .flags2 = UINT32_MAX };

	FUZZ_CHECK(ask(FUSE_INIT, 0, 0, &in, sizeof in) == 0);
}

/* --- processes --- */

static void process_begin(void)
{
	struct arena_connection *c;
	struct err e = ERR_INIT;
	int ends[2], orders[2];

	if (arena_open(f.fd, &f.arena, &e) < 0 || tree_open(1000000, f.arena, &f.tree, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		abort();
	}
	c = arena_connection(f.arena);
	c->publisher = PUBLISHER;
	FUZZ_CHECK(publish_new(f.loop, f.tree, &f.publish) == 0);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, orders) == 0);
	close(orders[0]);
	FUZZ_CHECK(publish_attach(f.publish, orders[1], PUBLISHER, NULL, NULL) == 0);
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	f.kernel = ends[0];
	if (session_new(f.loop, ends[1], f.tree, f.publish, c, ended, NULL, &f.session, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		abort();
	}
	f.plan = PLAN_INIT(f.tree);
	f.flux_sec = 0; /* its clock stands still from one process to the next */
}

static void plan_end(void)
{
	plan_clear(&f.plan);
	f.plan = PLAN_INIT(f.tree);
	f.planned = f.undoing = false;
	payload_free(TAKE_PTR(f.payload));
	m.staged.used = false;
}

static void process_end(void)
{
	plan_end();
	session_free(TAKE_PTR(f.session));
	publish_free(TAKE_PTR(f.publish));
	f.kernel = close_fd(f.kernel);
	tree_free(TAKE_PTR(f.tree));
	secmem_deinit();
	arena_close(TAKE_PTR(f.arena));
}

/* --- answers --- */

static void check_attr(const struct fuse_attr *a, int i)
{
	static const mode_t types[] = {
		[NODE_DIR] = S_IFDIR, [NODE_FILE] = S_IFREG, [NODE_LINK] = S_IFLNK, [NODE_LIVE] = S_IFREG
	};
	const struct mnode *n = &m.nodes[i], *shows;
	int file = m_follow(i);
	uint32_t links = 1;

	/* one that is found although it shows nothing, because it is to be unlinked, has attributes of its own */
	shows = file >= 0 ? &m.nodes[file] : n;

	if (n->kind == NODE_DIR) {
		links = 2;
		for (int k = 1; k < m.top; k++)
			links += m.nodes[k].used && m.nodes[k].parent == i && m.nodes[k].kind == NODE_DIR &&
				 !m.nodes[k].hidden;
	}
	FUZZ_CHECK(a->ino == n->id);
	FUZZ_CHECK(a->mode == (types[n->kind] | shows->mode));
	FUZZ_CHECK(a->uid == 0 && a->gid == shows->gid);
	FUZZ_CHECK(a->size == (file >= 0 ? m_size(i) : 0));
	/* times are whole microseconds; only one of a file in flux is not, and no two answers have the same */
	FUZZ_CHECK((a->mtimensec % 1000 != 0) == (n->flux && file >= 0));
	if (n->flux && file >= 0) {
		FUZZ_CHECK(a->mtime != f.flux_sec || a->mtimensec != f.flux_nsec);
		f.flux_sec = a->mtime;
		f.flux_nsec = a->mtimensec;
	}
	FUZZ_CHECK(a->nlink == (n->hidden || n->parent == DETACHED ? 0 : links));
}

/* The kernel learns a node, or finds the one that it knows. */
static void m_learn(int i, uint64_t id)
{
	struct mnode *n = &m.nodes[i];

	if (n->id == 0) {
		FUZZ_CHECK(id >= m.base_id && m_by_id(id) < 0);
		for (size_t k = 0; k < MIN(m.n_stale, (size_t)STALE_MAX); k++)
			FUZZ_CHECK(m.stale[k] != id);
		n->id = id;
	}
	FUZZ_CHECK(n->id == id);
}

/* LOOKUP's and the makers' answer is about model node i. */
static void check_entry(int i)
{
	struct fuse_entry_out out;
	bool short_lived = m_short_lived(i);

	FUZZ_CHECK(f.answer_len == sizeof out);
	memcpy(&out, f.answer, sizeof out);
	m_learn(i, out.nodeid);
	check_attr(&out.attr, i);
	FUZZ_CHECK((out.entry_valid == 0) == short_lived);
	FUZZ_CHECK((out.attr_valid == 0) == (short_lived || m.nodes[i].kind == NODE_LIVE));
	FUZZ_CHECK(out.generation == 0);
	m.nodes[i].count++;
}

static void check_all(void)
{
	size_t n_nodes = 0, n_detached = 0, bytes = 0, n_blocks = 0, n_labels = 0;
	struct tree_stats stats = tree_stats(f.tree);
	static uint32_t blocks[NODES_MAX], labels[NODES_MAX];

	for (int i = 0; i < m.top; i++) {
		struct mnode *n = &m.nodes[i];
		struct node *real;
		size_t k = 0;

		if (!n->used)
			continue;
		n_nodes++;
		n_detached += n->parent == DETACHED;
		bytes += n->kind == NODE_FILE ? n->len : 0;
		while (n->block && k < n_blocks && blocks[k] != n->block)
			k++;
		if (n->block && k == n_blocks)
			blocks[n_blocks++] = n->block;
		for (k = 0; n->label && k < n_labels && labels[k] != n->label; k++)
			continue;
		if (n->label && k == n_labels)
			labels[n_labels++] = n->label;
		if (!n->id)
			continue;
		real = tree_node(f.tree, n->id);
		FUZZ_CHECK(real != NULL);
		FUZZ_CHECK(i == ROOT || node_lookups(real) == n->count);
		FUZZ_CHECK(node_is_in_flux(real) == n->flux);
	}
	for (size_t k = 0; k < MIN(m.n_stale, (size_t)STALE_MAX); k++)
		FUZZ_CHECK(!tree_node(f.tree, m.stale[k]));
	FUZZ_CHECK(stats.n_detached == n_detached);
	if (f.planned) /* what is staged counts too */
		return;
	FUZZ_CHECK(stats.n_nodes == n_nodes && stats.content_bytes == bytes);
	FUZZ_CHECK(arena_count(f.arena) == n_nodes - 1);
	FUZZ_CHECK(secmem_stats().n_blocks == n_nodes - 1 + n_blocks + n_labels);
}

/* --- queries --- */

static int random_node(struct fuzz_input *in)
{
	int want = fuzz_u8(in), found = ROOT;

	for (int i = 1; i < m.top && want > 0; i++)
		if (m.nodes[i].used && m.nodes[i].id) {
			found = i;
			want--;
		}
	return found;
}

/* An id that the kernel knows, has known, or never had. */
static uint64_t random_id(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint64_t id;

	if (how < 0xc0)
		return m.nodes[random_node(in)].id;
	if (how < 0xd8 && m.n_stale > 0)
		return m.stale[fuzz_u8(in) % MIN(m.n_stale, (size_t)STALE_MAX)];
	id = how < 0xf0 ? fuzz_u8(in) : (uint64_t)fuzz_u32(in) << 32 | fuzz_u32(in);
	/* the kernel knows none that is only staged, and asks for none */
	return m_by_id(id) < 0 && tree_node(f.tree, id) ? 0 : id;
}

/* A child's name as often as not, or one that no folder can have. */
static const char *random_name(struct fuzz_input *in, int dir)
{
	static const char *const names[] = { ".",	   "..",      "",  "a/b",      "..data",
					     "..data_tmp", "a",	      "d", "volumes",  PLUGIN,
					     "live",	   "by-name", "/", "..data/a", "\xff\xfe" };
	static char longest[5000];
	uint8_t how = fuzz_u8(in);
	int want = how % 32, found = -1;

	for (int i = 1; how < 0xc0 && dir >= 0 && i < m.top && want >= 0; i++)
		if (m.nodes[i].used && m.nodes[i].parent == dir) {
			found = i;
			want--;
		}
	if (found >= 0)
		return m.nodes[found].name;
	if (how < 0xf0)
		return names[how % ARRAY_SIZE(names)];
	memset(longest, 'x', sizeof longest);
	longest[how == 0xf0 ? 255 : how == 0xf1 ? 256 : how == 0xf2 ? 4096 : 300] = 0;
	return longest;
}

static void lookup(uint64_t parent_id, const char *name)
{
	int dir = m_by_id(parent_id), child = dir >= 0 && m.nodes[dir].kind == NODE_DIR ? m_child(dir, name) : -1;
	bool gone = f.caller_gone;
	int r = ask_names(FUSE_LOOKUP, parent_id, STRANGER, NULL, 0, name, NULL);
	struct fuse_entry_out out;

	if (gone && !f.caller_gone) {
		FUZZ_CHECK(r == ANSWER_NONE);
		f.request_len = 0; /* nobody sends it again */
	} else if (dir < 0 || m.nodes[dir].kind != NODE_DIR) {
		FUZZ_CHECK(r == -ESTALE);
	} else if (child >= 0 && (m_follow(child) >= 0 || m.nodes[child].removal)) {
		FUZZ_CHECK(r == 0);
		check_entry(child);
	} else if (m.nodes[dir].parent == DETACHED && r == -ENOENT) {
		/* of a folder that is gone the next process does not know that nothing could appear in it */
	} else if (m.nodes[dir].immutable) {
		FUZZ_CHECK(r == 0 && f.answer_len == sizeof out);
		memcpy(&out, f.answer, sizeof out);
		FUZZ_CHECK(out.nodeid == 0 && out.entry_valid > 0);
	} else {
		FUZZ_CHECK(r == -ENOENT);
	}
	f.caller_gone = false;
}

static void m_forget(uint64_t id, uint64_t n)
{
	int i = m_by_id(id);

	if (i <= ROOT)
		return;
	m.nodes[i].count -= MIN(n, m.nodes[i].count);
	m_free_if_unused(i);
}

static void forget(uint64_t id, uint64_t n)
{
	struct fuse_forget_in in = { .nlookup = n };

	FUZZ_CHECK(ask(FUSE_FORGET, id, 0, &in, sizeof in) == ANSWER_NONE);
	m_forget(id, n);
}

static void forget_batch(struct fuzz_input *in)
{
	static uint8_t body[8192];
	uint8_t how = fuzz_u8(in);
	struct fuse_batch_forget_in head = { .count = how % 40 };
	struct fuse_forget_one one[40] = { { .nodeid = 0 } };
	bool lies = how >= 0xf0;

	for (uint32_t i = 0; i < head.count; i++)
		one[i] = (struct fuse_forget_one){ .nodeid = random_id(in), .nlookup = fuzz_u8(in) % 4 };
	memcpy(body + sizeof head, one, head.count * sizeof *one);
	if (!lies)
		for (uint32_t i = 0; i < head.count; i++)
			m_forget(one[i].nodeid, one[i].nlookup);
	if (lies)
		head.count += 1 + (uint32_t)fuzz_u8(in) * 0x00fffffe;
	memcpy(body, &head, sizeof head);
	FUZZ_CHECK(ask(FUSE_BATCH_FORGET, 0, 0, body, sizeof head + (how % 40) * sizeof *one) == ANSWER_NONE);
}

static void getattr(uint64_t id)
{
	struct fuse_getattr_in in = { 0 };
	struct fuse_attr_out out;
	int i = m_by_id(id), r = ask(FUSE_GETATTR, id, STRANGER, &in, sizeof in);

	if (i < 0 || m_follow(i) < 0) {
		FUZZ_CHECK(r == -ESTALE);
		return;
	}
	FUZZ_CHECK(r == 0 && f.answer_len == sizeof out);
	memcpy(&out, f.answer, sizeof out);
	check_attr(&out.attr, i);
	FUZZ_CHECK((out.attr_valid == 0) == (out.attr.nlink == 0 || m.nodes[i].flux));
}

static void readlink_of(uint64_t id)
{
	int i = m_by_id(id), r = ask(FUSE_READLINK, id, STRANGER, NULL, 0);

	if (i < 0 || m.nodes[i].kind != NODE_LINK) {
		FUZZ_CHECK(r == (i < 0 ? -ESTALE : -EINVAL));
		return;
	}
	FUZZ_CHECK(r == 0 && f.answer_len == strlen(m.nodes[i].target));
	FUZZ_CHECK(memcmp(f.answer, m.nodes[i].target, f.answer_len) == 0);
}

static void read_of(uint64_t id, uint64_t off, uint32_t size)
{
	struct fuse_read_in in = { .offset = off, .size = size, .fh = off };
	int live = m_by_id(id), r = ask(FUSE_READ, id, STRANGER, &in, sizeof in), i = live < 0 ? -1 : m_follow(live);
	size_t len;

	if (i < 0 || m.nodes[i].kind != NODE_FILE) {
		FUZZ_CHECK(r == (i < 0 ? -ESTALE : -EISDIR));
		return;
	}
	m_note_read(live, off, size);
	len = m.nodes[i].len;
	FUZZ_CHECK(r == 0);
	FUZZ_CHECK(f.answer_len == (off > INT64_MAX || off >= len ? 0 : MIN((uint64_t)size, len - off)));
	for (size_t k = 0; k < f.answer_len; k++)
		FUZZ_CHECK(f.answer[k] == byte_at(m.nodes[i].fill, off + k));
}

/* One READDIR; returns the last cookie, `off` at the end. Marks what it has seen. */
static uint64_t readdir_once(int dir, uint64_t off, uint32_t size, bool seen[NODES_MAX], size_t *n_dots)
{
	struct fuse_read_in in = { .offset = off, .size = size };
	int r = ask(FUSE_READDIR, m.nodes[dir].id, STRANGER, &in, sizeof in);
	size_t at = 0;

	FUZZ_CHECK(r == 0 && f.answer_len <= size);
	while (at < f.answer_len) {
		struct fuse_dirent d;
		char name[256] = "";
		int i;

		FUZZ_CHECK(f.answer_len - at >= FUSE_NAME_OFFSET);
		memcpy(&d, f.answer + at, FUSE_NAME_OFFSET);
		FUZZ_CHECK(d.namelen < sizeof name && f.answer_len - at >= FUSE_NAME_OFFSET + d.namelen);
		memcpy(name, f.answer + at + FUSE_NAME_OFFSET, d.namelen);
		at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + d.namelen);
		FUZZ_CHECK(d.off > off || off > INT64_MAX);
		off = d.off;
		if (str_eq(name, ".") || str_eq(name, "..")) {
			++*n_dots;
			continue;
		}
		i = m_child(dir, name);
		FUZZ_CHECK(i >= 0 && !m.nodes[i].hidden && m_follow(i) >= 0 && !seen[i]);
		m_learn(i, d.ino);
		seen[i] = true;
	}
	return off;
}

static void readdir_all(uint64_t id, uint32_t size)
{
	static bool seen[NODES_MAX];
	uint64_t off = 0, next;
	size_t n_dots = 0;
	int dir = m_by_id(id);

	if (dir < 0 || m.nodes[dir].kind != NODE_DIR) {
		struct fuse_read_in in = { .size = size };

		FUZZ_CHECK(ask(FUSE_READDIR, id, STRANGER, &in, sizeof in) == (dir < 0 ? -ESTALE : -ENOTDIR));
		return;
	}
	memset(seen, 0, sizeof seen);
	while ((next = readdir_once(dir, off, size, seen, &n_dots)) != off)
		off = next;
	FUZZ_CHECK(n_dots == 2);
	for (int i = 1; i < m.top; i++)
		FUZZ_CHECK(seen[i] ==
			   (m.nodes[i].used && m.nodes[i].parent == dir && !m.nodes[i].hidden && m_follow(i) >= 0));
}

static void readdir_from(struct fuzz_input *in, uint64_t id)
{
	static bool seen[NODES_MAX];
	uint64_t off = fuzz_u8(in) < 0xc0 ? random_id(in) : (uint64_t)fuzz_u32(in) << 32 | fuzz_u32(in);
	uint32_t size = fuzz_u8(in) < 0xc0 ? fuzz_u8(in) * 8u : fuzz_u32(in);
	size_t n_dots = 0;
	int dir = m_by_id(id);

	if (dir < 0 || m.nodes[dir].kind != NODE_DIR)
		return;
	memset(seen, 0, sizeof seen);
	readdir_once(dir, off, size, seen, &n_dots);
}

/* The volume whose live files are in this folder, or in one above it; i: it is no such folder. */
static int m_volume_of_live_folder(int i)
{
	for (int k = i; m.nodes[k].parent > ROOT; k = m.nodes[k].parent) {
		const struct mnode *up = &m.nodes[m.nodes[k].parent];
		char path[256];

		if (!str_eq(up->name, PLAN_LIVE) || up->parent <= ROOT || m.nodes[up->parent].parent != ROOT)
			continue;
		snprintf(path, sizeof path, "%s/volumes/" PLUGIN "/%s", m.nodes[up->parent].name, m.nodes[k].name);
		return m_at(path);
	}
	return i;
}

/* Of which payload it is: a file or folder of a version, or the volume of what it shows; 0: of none. */
static uint32_t m_label(int i)
{
	const struct mnode *n = &m.nodes[i];
	int version, data;

	if (n->kind == NODE_LIVE) {
		version = n->flux && n->shown != SIZE_UNKNOWN ? -1 : m_follow(i);
	} else {
		version = n->kind == NODE_DIR ? m_volume_of_live_folder(i) : i;
		data = version >= 0 && n->kind == NODE_DIR ? m_child(version, PLAN_DATA_LINK) : -1;
		version = data >= 0 ? m_child(version, m.nodes[data].target) : version;
	}
	return version >= 0 ? m.nodes[version].label : 0;
}

static void xattr_of(struct fuzz_input *in, uint64_t id)
{
	static const char *const names[] = {
		"user.secretlet.resourceVersion",
		"user.secretlet.uid",
		"user.secretlet.updated",
		"user.secretlet.error",
		"user.secretlet.",
		"user.other",
		"security.capability",
		"",
	};
	const char *name = names[fuzz_u8(in) % ARRAY_SIZE(names)];
	uint8_t how = fuzz_u8(in);
	struct fuse_getxattr_in get = { .size = how & 1 ? 0 : how & 2 ? how : how & 4 ? fuzz_u32(in) : 1 << 16 };
	int i = m_by_id(id), r = ask_names(FUSE_GETXATTR, id, STRANGER, &get, sizeof get, name, NULL);
	size_t len = f.answer_len;
	char want[16];

	FUZZ_CHECK(r == 0 || r == -ENODATA || r == -EOPNOTSUPP || r == -ERANGE || r == -ESTALE);
	FUZZ_CHECK((r == -ESTALE) == (i < 0));
	FUZZ_CHECK((r == -EOPNOTSUPP) == (i >= 0 && !str_starts(name, "user.")));
	FUZZ_CHECK(r != 0 || (get.size == 0 ? len == sizeof(struct fuse_getxattr_out) : len > 0 && len <= get.size));
	if (i >= 0 && m.nodes[i].kind != NODE_LINK && str_eq(name, names[0]) && r != -ERANGE) {
		snprintf(want, sizeof want, "%u", m_label(i));
		FUZZ_CHECK((r == 0) == (m_label(i) != 0));
		FUZZ_CHECK(r < 0 || get.size == 0 || (len == strlen(want) && memcmp(f.answer, want, len) == 0));
	}
	r = ask(FUSE_LISTXATTR, id, STRANGER, &get, sizeof get);
	FUZZ_CHECK(r == 0 || r == -ERANGE || (r == -ESTALE && i < 0));
	FUZZ_CHECK(r < 0 ||
		   (get.size == 0 ? f.answer_len == sizeof(struct fuse_getxattr_out) : f.answer_len <= get.size));
	FUZZ_CHECK(r < 0 || get.size == 0 || f.answer_len == 0 || f.answer[f.answer_len - 1] == 0);
}

/* --- what is refused --- */

static void change(struct fuzz_input *in)
{
	static const uint32_t opcodes[] = { FUSE_MKDIR,	      FUSE_SYMLINK,   FUSE_UNLINK,	   FUSE_RMDIR,
					    FUSE_RENAME,      FUSE_RENAME2,   FUSE_MKNOD,	   FUSE_LINK,
					    FUSE_CREATE,      FUSE_WRITE,     FUSE_SETATTR,	   FUSE_SETXATTR,
					    FUSE_REMOVEXATTR, FUSE_FALLOCATE, FUSE_COPY_FILE_RANGE };
	uint32_t opcode = opcodes[fuzz_u8(in) % ARRAY_SIZE(opcodes)];
	uint8_t how = fuzz_u8(in), zero[128] = { 0 };
	/* the publisher does what it is told, and it is told only what is staged */
	bool publisher = (how & 1) && !f.planned;
	pid_t pid = publisher ? PUBLISHER : STRANGER;
	uint64_t id = random_id(in), to = how & 2 ? id : random_id(in), refused = session_stats(f.session)->n_refused;
	int dir = m_by_id(id), child, r;
	const char *name = random_name(in, dir), *second;
	bool is_dir = dir >= 0 && m.nodes[dir].kind == NODE_DIR;
	struct fuse_rename2_in rename = { .newdir = to, .flags = how >> 4 };
	struct fuse_setattr_in attr = { .valid = FATTR_MODE, .mode = 0777u & fuzz_u32(in) };
	struct fuse_mknod_in mknod = { .mode = 0 };
	char copy[5000];

	snprintf(copy, sizeof copy, "%s", name);
	name = copy;
	second = random_name(in, m_by_id(to));
	child = is_dir ? m_child(dir, name) : -1;
	switch (opcode) {
	case FUSE_MKDIR:
		r = ask_names(opcode, id, pid, zero, 8, name, NULL);
		FUZZ_CHECK(r == (publisher && child >= 0 ? -EEXIST : -EROFS));
		break;
	case FUSE_SYMLINK:
		r = ask_names(opcode, id, pid, NULL, 0, name, second);
		FUZZ_CHECK(r == (publisher && child >= 0 ? -EEXIST : -EROFS));
		break;
	case FUSE_UNLINK:
		r = ask_names(opcode, id, pid, NULL, 0, name, NULL);
		if (!publisher || !is_dir)
			FUZZ_CHECK(r == -EROFS);
		else if (child < 0 || m.nodes[child].hidden)
			FUZZ_CHECK(r == -ENOENT);
		else
			FUZZ_CHECK(r == (m.nodes[child].kind == NODE_DIR ? -EISDIR : -EROFS));
		break;
	case FUSE_RMDIR:
		r = ask_names(opcode, id, pid, NULL, 0, name, NULL);
		if (!publisher || !is_dir)
			FUZZ_CHECK(r == -EROFS);
		else if (child < 0 || m.nodes[child].hidden)
			FUZZ_CHECK(r == -ENOENT);
		else
			FUZZ_CHECK(r == (m.nodes[child].kind == NODE_DIR ? -EROFS : -ENOTDIR));
		break;
	case FUSE_RENAME:
	case FUSE_RENAME2:
		r = opcode == FUSE_RENAME
			    ? ask_names(opcode, id, pid, &rename, sizeof(struct fuse_rename_in), name, second)
			    : ask_names(opcode, id, pid, &rename, sizeof rename, name, second);
		FUZZ_CHECK(r == -EROFS || (publisher && (child < 0 || m.nodes[child].hidden) && r == -ENOENT));
		break;
	case FUSE_SETATTR:
		if (how & 16)
			attr.valid = FATTR_MTIME | FATTR_MTIME_NOW;
		r = ask(opcode, id, pid, &attr, sizeof attr);
		if (!publisher || dir < 0 || m.nodes[dir].kind != (how & 16 ? NODE_LIVE : NODE_DIR))
			FUZZ_CHECK(r == -EROFS);
		else
			FUZZ_CHECK(r == (m_follow(dir) >= 0 ? 0 : -ESTALE));
		break;
	case FUSE_MKNOD:
		mknod.mode = how & 8 ? S_IFREG | 0644 : S_IFCHR | 0644;
		r = ask_names(opcode, id, pid, &mknod, sizeof mknod, name, NULL);
		FUZZ_CHECK(r == (publisher && child >= 0 && S_ISREG(mknod.mode) ? -EEXIST : -EROFS));
		break;
	case FUSE_CREATE:
		r = ask_names(opcode, id, pid, zero, 16, name, NULL);
		FUZZ_CHECK(r == -EROFS);
		break;
	case FUSE_SETXATTR:
	case FUSE_LINK:
		r = ask_names(opcode, id, pid, zero, 8, name, second);
		FUZZ_CHECK(r == -EROFS);
		break;
	case FUSE_REMOVEXATTR:
		r = ask_names(opcode, id, pid, NULL, 0, name, NULL);
		FUZZ_CHECK(r == -EROFS);
		break;
	default:
		r = ask(opcode, id, pid, zero, 64);
		FUZZ_CHECK(r == -EROFS);
	}
	FUZZ_CHECK((session_stats(f.session)->n_refused == refused + 1) == (r == -EROFS));
}

/* Whatever else there is, and what there is not; nothing may come of it. */
static void strange(struct fuzz_input *in)
{
	static uint8_t body[ARENA_REQUEST_MAX - sizeof(struct fuse_in_header)];
	uint32_t opcode = fuzz_u8(in);
	uint8_t how = fuzz_u8(in);
	size_t len = how & 1 ? fuzz_u8(in) : how & 2 ? sizeof body - fuzz_u8(in) : 64;
	struct fuzz_input bytes = fuzz_take(in, fuzz_u8(in) % 64);
	struct fuse_in_header head;
	int r;

	if (opcode == 0xff)
		opcode = fuzz_u32(in);
	memset(body, how & 4 ? 'x' : 0, sizeof body);
	if (bytes.len > 0)
		memcpy(body, bytes.data, bytes.len);
	request_make(opcode, random_id(in), STRANGER, body, len);
	if (how & 8) {
		memcpy(&head, f.request, sizeof head);
		head.len = how & 16 ? fuzz_u32(in) : head.len + 1;
		memcpy(f.request, &head, sizeof head);
	}
	memcpy(&head, f.request, sizeof head);
	switch (opcode) {
	case FUSE_INTERRUPT:
		head.unique |= 1; /* as the kernel marks them */
		memcpy(f.request, &head, sizeof head);
		r = ask_raw();
		FUZZ_CHECK(r == ANSWER_NONE);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_LOOKUP: /* these are for lookup() and forget(): here only those that are not whole */
		if (!(how & 8)) {
			uint32_t longer = head.len + 1;

			memcpy(f.request, &longer, sizeof longer);
		}
		r = ask_raw();
		FUZZ_CHECK(r == (opcode == FUSE_LOOKUP ? -EINVAL : ANSWER_NONE));
		break;
	case FUSE_NOTIFY_REPLY:
		FUZZ_CHECK(ask_raw() == ANSWER_NONE);
		break;
	default:
		r = ask_raw();
		FUZZ_CHECK(r != ANSWER_NONE);
		if ((how & 8) && head.len != f.request_len)
			FUZZ_CHECK(r == -EINVAL);
	}
}

/* --- the publisher --- */

static void serve_answered(int r)
{
	FUZZ_CHECK(r == 0);
}

/* The folder that a path ends in, with ids learned on the way, as a path walk does. -1: it is not there. */
static int walk_to_parent(const char *path, char leaf[64])
{
	char copy[512], *save = NULL, *s, *next;
	int dir = ROOT;

	snprintf(copy, sizeof copy, "%s", path);
	s = strtok_r(copy, "/", &save);
	while ((next = strtok_r(NULL, "/", &save))) {
		int child = m_child(dir, s);

		lookup(m.nodes[dir].id, s);
		if (child < 0)
			return -1;
		dir = child;
		s = next;
	}
	snprintf(leaf, 64, "%s", s);
	return dir;
}

/* What is dropped of a node is written to /dev/fuse, by its id. */
static void step_drop(const struct step *s)
{
	int i = m_at(s->path);

	FUZZ_CHECK(i >= 0 && (m.nodes[i].id == 0 || m.nodes[i].id == s->node_id));
	if (s->settles) {
		tree_note_dropped(f.tree, tree_node(f.tree, s->node_id));
		m.nodes[i].shown = SIZE_UNKNOWN;
	}
}

/* Nothing of before is left in the kernel. */
static void step_settle(const struct step *s)
{
	int i = m_at(s->path);

	FUZZ_CHECK(i >= 0);
	tree_settle(f.tree, tree_node(f.tree, s->node_id));
	m.nodes[i].flux = false;
}

/* What has not been learned on the way has to be looked up for what follows. */
static void step_run(const struct step *s)
{
	uint8_t zero[16] = { 0 };
	char leaf[64], leaf2[64];
	int dir, child, old, r;

	if (order_op_needs_fuse(s->op)) {
		step_drop(s);
		return;
	}
	dir = walk_to_parent(s->path, leaf);
	if (dir < 0) { /* the kernel does not get that far */
		FUZZ_CHECK(s->ignored == ENOENT || s->ignored == ORDER_IGNORE_ALL);
		return;
	}
	child = m_child(dir, leaf);
	switch (s->op) {
	case ORDER_MKDIR:
		FUZZ_CHECK(child < 0);
		r = ask_names(FUSE_MKDIR, m.nodes[dir].id, PUBLISHER, zero, 8, leaf, NULL);
		serve_answered(r);
		child = m_new(dir, leaf, NODE_DIR,
			      strncmp(s->path, PLAN_BY_NAME, strlen(PLAN_BY_NAME)) == 0 ? 0711 : 0750, 0);
		m_fill_new(child, s->path);
		check_entry(child);
		break;
	case ORDER_SYMLINK:
		FUZZ_CHECK(child < 0);
		r = ask_names(FUSE_SYMLINK, m.nodes[dir].id, PUBLISHER, NULL, 0, leaf, s->path2);
		serve_answered(r);
		child = m_add_link(dir, leaf, s->path2);
		check_entry(child);
		break;
	case ORDER_RENAME: {
		struct fuse_rename_in rename = { .newdir = m.nodes[dir].id };

		FUZZ_CHECK(child >= 0 && walk_to_parent(s->path2, leaf2) == dir);
		r = ask_names(FUSE_RENAME, m.nodes[dir].id, PUBLISHER, &rename, sizeof rename, leaf, leaf2);
		serve_answered(r);
		old = m_child(dir, leaf2);
		if (old >= 0)
			m_detach(old);
		snprintf(m.nodes[child].name, sizeof m.nodes[child].name, "%s", leaf2);
		break;
	}
	case ORDER_MKNOD: {
		struct fuse_mknod_in mknod = { .mode = S_IFREG | 0644 };

		FUZZ_CHECK(child < 0);
		r = ask_names(FUSE_MKNOD, m.nodes[dir].id, PUBLISHER, &mknod, sizeof mknod, leaf, NULL);
		serve_answered(r);
		m_add_live(dir, leaf, live_path(s->path));
		check_entry(m_child(dir, leaf));
		break;
	}
	case ORDER_TOUCH: {
		struct fuse_setattr_in attr = { .valid = FATTR_MTIME | FATTR_MTIME_NOW };

		lookup(m.nodes[dir].id, leaf);
		if (child >= 0 && m_follow(child) >= 0)
			serve_answered(ask(FUSE_SETATTR, m.nodes[child].id, PUBLISHER, &attr, sizeof attr));
		break;
	}
	case ORDER_STAT:
		lookup(m.nodes[dir].id, leaf);
		if (child >= 0 && m.nodes[child].id)
			getattr(m.nodes[child].id);
		if (s->settles)
			step_settle(s);
		break;
	case ORDER_UNLINK:
		r = ask_names(FUSE_UNLINK, m.nodes[dir].id, PUBLISHER, NULL, 0, leaf, NULL);
		if (child < 0 || m.nodes[child].hidden) {
			FUZZ_CHECK(r == -ENOENT);
			break;
		}
		serve_answered(r);
		if (m_in_retired(dir))
			m.nodes[child].hidden = true;
		else
			m_detach(child);
		break;
	case ORDER_RMDIR:
		r = ask_names(FUSE_RMDIR, m.nodes[dir].id, PUBLISHER, NULL, 0, leaf, NULL);
		if (child < 0) {
			FUZZ_CHECK(r == -ENOENT);
			break;
		}
		serve_answered(r);
		m_detach(child);
		break;
	case ORDER_CHMOD: {
		struct fuse_setattr_in attr = { .valid = FATTR_MODE, .mode = 0755 };

		lookup(m.nodes[dir].id, leaf);
		if (child >= 0)
			serve_answered(ask(FUSE_SETATTR, m.nodes[child].id, PUBLISHER, &attr, sizeof attr));
		break;
	}
	default: /* it only reads */
		lookup(m.nodes[dir].id, leaf);
		if (child < 0)
			break;
		if (m_follow(child) < 0)
			break;
		if (m.nodes[child].kind == NODE_FILE || m.nodes[child].kind == NODE_LIVE)
			read_of(m.nodes[child].id, 0, 1 << 17);
		else if (m.nodes[child].kind == NODE_LINK)
			readlink_of(m.nodes[child].id);
		else
			readdir_all(m.nodes[child].id, 4096);
	}
}

enum job { JOB_VOLUME, JOB_REMOVE_VOLUME, JOB_REMOVE_POD, JOB_NAME_POD, JOB_EXPIRE, JOB_HEAL };

static bool in_grace(void *userdata, const char *version)
{
	for (size_t i = 0; i < m.n_grace; i++)
		if (str_eq(m.grace[i].name, version))
			return true;
	return false;
}

static void grace_add(int pod, int volume, const char *version)
{
	if (m.n_grace == ARRAY_SIZE(m.grace))
		memmove(m.grace, m.grace + 1, --m.n_grace * sizeof *m.grace);
	m.grace[m.n_grace] = (struct version){ .pod = pod, .volume = volume };
	snprintf(m.grace[m.n_grace++].name, PLAN_VERSION_MAX, "%s", version);
}

static void payload_make(uint8_t files, uint8_t how)
{
	cleanup_secblock struct secblock *b = NULL;
	struct expected *x = &m.staged;
	size_t size = 0, at = 0;
	char version[16];

	x->used = true;
	x->files = files & (files >> FILE_D & 1 ? ~FILES_IN_D : UINT8_MAX);
	x->fs_group = how & 1;
	x->nested = how & 2;
	x->live = how & 4;
	x->serial = ++m.serial;
	snprintf(version, sizeof version, "%u", x->serial);
	FUZZ_CHECK(payload_new(&f.payload) == 0);
	FUZZ_CHECK(payload_add_origin(f.payload, "secret/x", "uid", version) == 0);
	for (size_t k = 0; k < ARRAY_SIZE(FILES); k++)
		size += file_len(x->serial, k);
	FUZZ_CHECK(secblock_new(size, &b, NULL) == 0);
	for (size_t k = 0; k < ARRAY_SIZE(FILES); k++) {
		struct secspan span = { .block = b, .off = at, .len = file_len(x->serial, k) };
		struct digest d;

		for (size_t i = 0; i < span.len; i++)
			b->data[at + i] = byte_at(file_byte(x->serial, k), i);
		at += span.len;
		d = digest_of(b->data + span.off, span.len);
		if (x->files >> k & 1)
			FUZZ_CHECK(payload_add(f.payload, FILES[k], &span, &d, 0600, NULL) == 0);
	}
	if (x->nested)
		FUZZ_CHECK(payload_add_mount_dir(f.payload, "nest/deep", NULL) == 0);
	if (x->fs_group)
		payload_set_fs_group(f.payload, 4711);
	if (x->live)
		payload_set_live(f.payload);
	FUZZ_CHECK(payload_seal(f.payload, NULL) == 0);
}

static int volume_node(int pod, int volume)
{
	char path[256];

	snprintf(path, sizeof path, "%s/volumes/" PLUGIN "/%s", PODS[pod], VOLUMES[volume]);
	return m_at(path);
}

/* Whether these two, of which either may be missing, are the same to a reader. */
static bool m_same(const struct mnode *a, const struct mnode *b)
{
	if (!a || !b)
		return a == b;
	return a->len == b->len && (a->len == 0 || a->fill == b->fill) && a->mode == b->mode && a->gid == b->gid;
}

/* An update puts those in flux whose content it changes. */
static void m_unsettle(void)
{
	const struct expected *x = &m.staged;
	int vol = m_at(f.path), live = vol >= 0 ? m_live_folder() : -1;

	for (int i = 1; live >= 0 && i < m.top; i++) {
		struct mnode *n = &m.nodes[i], next = { .kind = NODE_FILE };
		const char *path;
		bool there = false;
		int now;

		if (!n->used || n->kind != NODE_LIVE || !m_is_in(i, live))
			continue;
		m_live_volume(i, &path);
		for (size_t k = 0; k < ARRAY_SIZE(FILES); k++) {
			if (!(x->files >> k & 1) || !str_eq(FILES[k], path))
				continue;
			there = true;
			next.len = file_len(x->serial, k);
			next.fill = file_byte(x->serial, k);
			next.mode = x->fs_group ? 0640 : 0600;
			next.gid = m_dir_gid(x);
		}
		now = m_follow(i);
		if (n->flux || m_same(now >= 0 ? &m.nodes[now] : NULL, there ? &next : NULL))
			continue;
		n->flux = true;
		n->shown = now >= 0 ? m.nodes[now].len : SIZE_UNKNOWN;
	}
}

/* A live file that is in the way of a folder is found, so that it can be unlinked, even if it shows nothing. */
static void m_note_removals(bool removal)
{
	for (size_t k = 0; k < f.plan.n_steps; k++) {
		int i = f.plan.steps[k].op == ORDER_UNLINK ? m_at(f.plan.steps[k].path) : -1;

		if (i >= 0 && m.nodes[i].kind == NODE_LIVE)
			m.nodes[i].removal = removal;
	}
}

/* A plan retires what it found as current. */
static void m_retire_old(void)
{
	int vol = m_at(f.path), data = vol >= 0 ? m_child(vol, PLAN_DATA_LINK) : -1;
	int old = data >= 0 ? m_child(vol, m.nodes[data].target) : -1;

	if (old >= 0)
		m.nodes[old].retired = true;
}

static void plan_begin(enum job job, int pod, int volume, struct fuzz_input *in)
{
	struct node *real;
	int r, vol;

	plan_end();
	tree_set_time(f.tree, 1000000 + m.serial);
	m.staged.pod = pod;
	m.staged.volume = volume;
	f.job = job;
	f.plan.uid = PODS[pod];
	f.plan.plugin = PLUGIN;
	f.plan.name = job == JOB_NAME_POD ? NAMES[pod] : VOLUMES[volume];
	f.plan.ns = "ns";
	snprintf(f.path, sizeof f.path, "%s/volumes/" PLUGIN "/%s", PODS[pod], VOLUMES[volume]);
	f.plan.path = job == JOB_REMOVE_POD || job == JOB_NAME_POD ? PODS[pod] : f.path;
	vol = m_at(f.path);
	switch (job) {
	case JOB_VOLUME:
		payload_make(fuzz_u8(in), fuzz_u8(in));
		r = plan_volume(&f.plan, f.payload, in_grace, NULL);
		if (r == 0) {
			m_unsettle();
			m_retire_old();
			real = tree_find(f.tree, plan_find(&f.plan, f.path), f.plan.version);
			FUZZ_CHECK(label_version(f.tree, real, real, f.payload, 0) == 0);
		}
		break;
	case JOB_REMOVE_VOLUME:
		r = plan_remove_volume(&f.plan);
		break;
	case JOB_REMOVE_POD:
		r = plan_remove_pod(&f.plan);
		break;
	case JOB_NAME_POD:
		r = plan_name_pod(&f.plan);
		break;
	case JOB_EXPIRE:
		r = plan_expire(&f.plan);
		break;
	default:
		r = plan_heal(&f.plan, fuzz_u8(in) & 1 && vol >= 0 ? m.nodes[vol].id : 0);
		FUZZ_CHECK(r == 0 || vol < 0);
		for (int i = 1; r == 0 && i < m.top; i++) {
			struct mnode *n = &m.nodes[i];

			if (n->used && n->parent == vol && n->kind == NODE_DIR && is_dotted(n->name) && !n->hidden &&
			    !str_eq(n->name, f.plan.version))
				n->retired = true;
		}
	}
	FUZZ_CHECK(r == 0 || job == JOB_HEAL);
	m_note_removals(true);
	f.planned = true;
	f.undoing = false;
	f.step = 0;
}

static void drop_hidden(int dir, const char *version)
{
	struct node *vol = plan_find(&f.plan, f.path), *real = vol ? tree_find(f.tree, vol, version) : NULL;

	if (!real)
		return;
	tree_drop_hidden(f.tree, real);
	f.request_len = 0; /* its answer would be another now */
	for (int i = 1; i < m.top; i++)
		if (m.nodes[i].used && m.nodes[i].parent == dir && m.nodes[i].hidden)
			m_detach(i);
}

static void check_live(int version)
{
	int live = m_live_folder();

	FUZZ_CHECK(plan_live_is_whole(&f.plan, m.staged.used && m.staged.live));
	FUZZ_CHECK(live >= 0 || !m.staged.used || !m.staged.live);
	for (int i = 1; live >= 0 && i < m.top; i++) {
		struct mnode *n = &m.nodes[i];
		const char *path;

		if (n->used && n->kind == NODE_LIVE && m_is_in(i, live)) {
			FUZZ_CHECK(!n->flux);
			m_live_volume(i, &path);
			FUZZ_CHECK(m_follow(i) == (version >= 0 ? m_file_below(version, path, false) : -1));
		}
	}
	for (size_t k = 0; live >= 0 && version >= 0 && k < ARRAY_SIZE(FILES); k++) {
		int i = m_file_below(version, FILES[k], false) >= 0 ? m_below(live, FILES[k]) : ROOT;

		FUZZ_CHECK(i == ROOT || (i > ROOT && m.nodes[i].kind == NODE_LIVE));
	}
}

/* What publish_volumes.c does when all the steps are done. */
static void plan_done(void)
{
	int pod = m.staged.pod, volume = m.staged.volume, vol = volume_node(pod, volume);
	int version = vol >= 0 ? m_child(vol, f.plan.version) : -1;
	bool again = !f.undoing && f.job == JOB_VOLUME && f.plan.live_again;

	if (!f.undoing && (f.job == JOB_VOLUME || f.job == JOB_HEAL) && version >= 0) {
		drop_hidden(version, f.plan.version);
		if (f.job == JOB_VOLUME && f.plan.old_version[0])
			grace_add(pod, volume, f.plan.old_version);
		for (int i = 1; f.job == JOB_HEAL && i < m.top; i++)
			if (m.nodes[i].used && m.nodes[i].parent == vol && m.nodes[i].kind == NODE_DIR &&
			    is_dotted(m.nodes[i].name) && i != version && !in_grace(NULL, m.nodes[i].name))
				grace_add(pod, volume, m.nodes[i].name);
	}
	if (!f.undoing && f.job == JOB_REMOVE_POD)
		FUZZ_CHECK(m_at(PODS[pod]) < 0);
	if (!f.undoing && f.job == JOB_REMOVE_VOLUME)
		FUZZ_CHECK(vol < 0 && m_live_folder() < 0);
	/* each file of the newest version has a live one, and all of them are settled */
	if (!f.undoing && (f.job == JOB_VOLUME || f.job == JOB_HEAL) && !f.plan.live_again)
		check_live(version);
	plan_end();
	if (again) {
		struct fuzz_input none = { .len = 0 };

		plan_begin(JOB_HEAL, pod, volume, &none);
	}
}

static void plan_step(void)
{
	if (!f.planned)
		return;
	if (f.step < f.plan.n_steps)
		step_run(&f.plan.steps[f.step++]);
	if (f.step == f.plan.n_steps)
		plan_done();
}

static void plan_run(void)
{
	while (f.planned)
		plan_step();
}

/* The publisher cannot do it: what has been made is unmade. */
static void plan_fail(void)
{
	if (!f.planned || f.undoing)
		return;
	m_note_removals(false);
	plan_roll_back(&f.plan);
	m_note_removals(true);
	f.undoing = true;
	f.step = 0;
	if (f.plan.n_steps == 0)
		plan_end();
}

static void heal_all(struct fuzz_input *in)
{
	for (int pod = 0; pod < N_PODS; pod++)
		for (int volume = 0; volume < N_VOLUMES; volume++)
			if (volume_node(pod, volume) >= 0) {
				plan_begin(JOB_HEAL, pod, volume, in);
				plan_run();
			}
}

static void expire(struct fuzz_input *in)
{
	struct version v;
	size_t i;

	if (m.n_grace == 0)
		return;
	i = fuzz_u8(in) % m.n_grace;
	v = m.grace[i];
	m.grace[i] = m.grace[--m.n_grace];
	plan_end();
	m.staged.pod = v.pod;
	m.staged.volume = v.volume;
	snprintf(f.path, sizeof f.path, "%s/volumes/" PLUGIN "/%s", PODS[v.pod], VOLUMES[v.volume]);
	f.plan.path = f.path;
	snprintf(f.plan.old_version, sizeof f.plan.old_version, "%s", v.name);
	f.job = JOB_EXPIRE;
	FUZZ_CHECK(plan_expire(&f.plan) == 0);
	f.planned = true;
	f.step = 0;
}

/* --- death --- */

/* The agent has died, and the next one finds what it has left. `again`: before the kernel had the answer to the last
 * request, which has changed the tree already. */
static void die(struct fuzz_input *in, bool again)
{
	struct arena_slot *slot = &arena_connection(f.arena)->slot;
	static uint8_t answer[sizeof f.answer];
	struct fuse_in_header head;
	size_t len = f.answer_len;
	int r;

	if (f.restarts++ >= 3)
		return;
	memcpy(&head, f.request, sizeof head);
	memcpy(answer, f.answer, len);
	again = again && f.request_len > 0 && head.len == f.request_len && head.opcode == FUSE_LOOKUP;
	if (again) {
		memcpy(slot->request, f.request, f.request_len);
		slot->since_usec = 1;
		slot->count_id = f.count_id;
		slot->count_after = f.count_after;
	}
	m.n_grace = 0;
	for (int i = 1; i < m.top; i++)
		m.nodes[i].label = m.nodes[i].copied ? 0 : m.nodes[i].label;
	process_end();
	process_begin();
	for (int i = 1; i < m.top; i++)
		if (m.nodes[i].used && m.nodes[i].kind == NODE_LIVE)
			m_restore_flux(i);
	f.resent = false;
	FUZZ_CHECK(take_answer(0) == ANSWER_NONE);
	FUZZ_CHECK(f.resent);
	if (again) {
		head.unique |= RESENT;
		memcpy(f.request, &head, sizeof head);
		r = ask_raw();
		FUZZ_CHECK(r != ANSWER_NONE);
		/* the same node as before, if the first answer had one, and it is counted once */
		FUZZ_CHECK(f.answer_len == len && (len < 8 || memcmp(f.answer, answer, 8) == 0));
		check_all();
	}
	check_all();
	heal_all(in);
}

/* --- the program --- */

static void operation(struct fuzz_input *in)
{
	uint8_t op = fuzz_u8(in);
	uint64_t id;
	int i;

	switch (op % 24) {
	case 0:
	case 1:
		plan_run();
		plan_begin(JOB_VOLUME, op / 24 % N_PODS, op / 72 % N_VOLUMES, in);
		break;
	case 2:
		plan_run();
		plan_begin(op & 64 ? JOB_REMOVE_POD : JOB_REMOVE_VOLUME, op / 24 % N_PODS, fuzz_u8(in) % N_VOLUMES, in);
		break;
	case 3:
		plan_run();
		plan_begin(JOB_NAME_POD, op / 24 % N_PODS, 0, in);
		break;
	case 4:
		plan_run();
		expire(in);
		break;
	case 5:
	case 6:
		plan_step();
		break;
	case 7:
		plan_run();
		break;
	case 8:
		plan_fail();
		break;
	case 9:
		die(in, op & 128);
		break;
	case 10:
	case 11:
		id = random_id(in);
		f.caller_gone = op > 240;
		lookup(id, random_name(in, m_by_id(id)));
		break;
	case 12:
		id = random_id(in);
		i = m_by_id(id);
		forget(id, fuzz_u8(in) < 0x80 && i >= 0 ? m.nodes[i].count
			   : fuzz_u8(in) == 0xff	? UINT64_MAX
							: fuzz_u8(in));
		break;
	case 13:
		forget_batch(in);
		break;
	case 14:
		getattr(random_id(in));
		break;
	case 15:
		readlink_of(random_id(in));
		break;
	case 16:
		id = random_id(in);
		read_of(id, fuzz_u8(in), fuzz_u8(in) * 64u);
		break;
	case 17:
		id = random_id(in);
		read_of(id, (uint64_t)fuzz_u32(in) << 32 | fuzz_u32(in), fuzz_u32(in));
		break;
	case 18:
		readdir_all(random_id(in), 300 + fuzz_u8(in) * 16u);
		break;
	case 19:
		readdir_from(in, random_id(in));
		break;
	case 20:
	case 21:
		change(in);
		break;
	case 22:
		strange(in);
		break;
	case 23:
		xattr_of(in, random_id(in));
		FUZZ_CHECK(ask(FUSE_STATFS, random_id(in), STRANGER, NULL, 0) == 0);
		break;
	}
	check_all();
}

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	FUZZ_CHECK(loop_new(&f.loop) == 0);
	FUZZ_CHECK(arena_create(HEAP, &f.fd, NULL) == 0);
	f.unique = 2;
	process_begin();
	init();
}

/* All is removed and forgotten: nothing is left. */
static void clear(struct fuzz_input *in)
{
	plan_run();
	for (int pod = 0; pod < N_PODS; pod++) {
		plan_begin(JOB_REMOVE_POD, pod, 0, in);
		plan_run();
	}
	plan_end();
	check_all();
	for (int i = 1; i < m.top; i++)
		if (m.nodes[i].used && m.nodes[i].count > 0)
			forget(m.nodes[i].id, m.nodes[i].count);
	check_all();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };
	int left;

	if (!f.loop)
		setup();
	memset(m.nodes, 0, (size_t)m.top * sizeof *m.nodes);
	m.n_stale = m.n_grace = 0;
	m.serial = 0;
	m.top = 1;
	m.nodes[ROOT] =
		(struct mnode){ .used = true, .parent = -1, .kind = NODE_DIR, .mode = 0711, .id = FUSE_ROOT_ID };
	m.base_id = arena_next_id(f.arena);
	left = m_at("by-name");
	FUZZ_CHECK(left < 0);
	f.restarts = 0;
	for (int i = 0; i < OPS_MAX && in.len > 0; i++)
		operation(&in);
	clear(&in);
	/* by-name stays, with folders of namespaces whose link a process did not live to make; the next run begins without */
	left = m_at("by-name");
	if (left >= 0) {
		struct node *n = tree_find(f.tree, tree_node(f.tree, TREE_ROOT_ID), "by-name");

		tree_stage_removal(f.tree, n);
		FUZZ_CHECK(tree_commit_rmdir(f.tree, tree_node(f.tree, TREE_ROOT_ID), "by-name") == 0);
	}
	FUZZ_CHECK(tree_stats(f.tree).n_nodes == 1 && tree_stats(f.tree).n_detached == 0);
	FUZZ_CHECK(secmem_stats().n_blocks == 0 && secmem_stats().used_bytes == 0);
	return 0;
}
