/* Session: requests are read from /dev/fuse here and given to libfuse one by one; its answers come back through one
 * writev callback, where INIT's is patched. libfuse 3.14 replies INIT with flags that it knows itself, drops
 * PARALLEL_DIROPS by mistake (fixed in 3.17) and limits a request to as many pages as one write may have.
 *
 * Requests are read straight into the arena's slot. So a successor knows the one that was under way even if its process
 * died between the end of the read(2) and the next instruction. Kernels since 6.9 send what is unanswered again
 * (FUSE_NOTIFY_RESEND, with a bit in `unique`); with older ones the slot's copy is all there is. FORGETs have no answer, so
 * nobody sends them again. */
#include "fusefs/session.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "common/clock.h"
#include "common/log.h"
#include "fusefs/ops.h"
#include "fusefs/publish.h"

#define REQUESTS_PER_TURN 64
#define MAX_PAGES	  32 /* 128 KiB per READ, the kernel's readahead */

/* from newer linux/fuse.h */
#define INIT_NO_EXPORT_SUPPORT (UINT64_C(1) << 38)
#define INIT_ALLOW_IDMAP       (UINT64_C(1) << 40)
#define NOTIFY_RESEND	       7
#define UNIQUE_RESEND	       (UINT64_C(1) << 63)

#define UNIQUE_REPLAY (UINT64_C(0x7ffffffffffffffe)) /* an id that the kernel, which counts up, never has */

#define INIT_PATCHED                                                                                                   \
	((uint64_t)FUSE_PARALLEL_DIROPS | FUSE_EXPLICIT_INVAL_DATA | FUSE_MAX_PAGES | INIT_NO_EXPORT_SUPPORT |         \
	 INIT_ALLOW_IDMAP)

static const struct {
	uint64_t flag;
	const char *sentence;
} FEATURES[] = {
	{ FUSE_NO_OPEN_SUPPORT, "the kernel asks for every open: opening a file takes microseconds longer" },
	{ FUSE_NO_OPENDIR_SUPPORT, "the kernel asks for every opendir: folders are listed more slowly" },
	{ FUSE_CACHE_SYMLINKS, "the kernel does not keep symbolic links: every path takes a request more" },
	{ FUSE_PARALLEL_DIROPS, "look-ups in one folder wait for each other" },
	{ INIT_NO_EXPORT_SUPPORT, "file handles cannot be switched off: a container with CAP_DAC_READ_SEARCH can read "
				  "other pods' files" },
	{ INIT_ALLOW_IDMAP, "mounts cannot be idmapped: in pods with user namespaces files belong to nobody" },
};

struct init_reply {
	struct fuse_out_header head;
	struct fuse_init_out out;
};

struct session {
	struct ops ops; /* libfuse's userdata */
	struct loop_source *source;
	struct fuse_session *fuse;
	int fd; /* libfuse's, closed by it */
	struct arena_connection *connection, *own; /* own: if nothing is kept */
	struct loop *loop;
	/* CLOCK_MONOTONIC: what has not been read came later, the loop's waits since then not counted */
	uint64_t unread_since_usec;
	uint64_t wait_usec; /* when the loop's last wait began; 0: it is counted */
	uint64_t init_unique;
	struct init_reply init_reply;
	size_t init_reply_len;
	uint64_t replay_unique; /* what is in `replay` is about this request */
	struct ops_replay replay, resent; /* resent: about any other one that comes again */
	session_end_fn end;
	void *userdata;
	struct session_stats stats;
	const char *noted, *missing[ARRAY_SIZE(FEATURES) + 2]; /* noted: the last one of them, or NULL */
};

const char *session_opcode_name(unsigned opcode)
{
	static const char *const names[SESSION_OPCODES] = {
		[FUSE_LOOKUP] = "LOOKUP",
		[FUSE_FORGET] = "FORGET",
		[FUSE_GETATTR] = "GETATTR",
		[FUSE_SETATTR] = "SETATTR",
		[FUSE_READLINK] = "READLINK",
		[FUSE_SYMLINK] = "SYMLINK",
		[FUSE_MKNOD] = "MKNOD",
		[FUSE_MKDIR] = "MKDIR",
		[FUSE_UNLINK] = "UNLINK",
		[FUSE_RMDIR] = "RMDIR",
		[FUSE_RENAME] = "RENAME",
		[FUSE_LINK] = "LINK",
		[FUSE_OPEN] = "OPEN",
		[FUSE_READ] = "READ",
		[FUSE_WRITE] = "WRITE",
		[FUSE_STATFS] = "STATFS",
		[FUSE_RELEASE] = "RELEASE",
		[FUSE_FSYNC] = "FSYNC",
		[FUSE_SETXATTR] = "SETXATTR",
		[FUSE_GETXATTR] = "GETXATTR",
		[FUSE_LISTXATTR] = "LISTXATTR",
		[FUSE_REMOVEXATTR] = "REMOVEXATTR",
		[FUSE_FLUSH] = "FLUSH",
		[FUSE_INIT] = "INIT",
		[FUSE_OPENDIR] = "OPENDIR",
		[FUSE_READDIR] = "READDIR",
		[FUSE_RELEASEDIR] = "RELEASEDIR",
		[FUSE_FSYNCDIR] = "FSYNCDIR",
		[FUSE_GETLK] = "GETLK",
		[FUSE_SETLK] = "SETLK",
		[FUSE_SETLKW] = "SETLKW",
		[FUSE_ACCESS] = "ACCESS",
		[FUSE_CREATE] = "CREATE",
		[FUSE_INTERRUPT] = "INTERRUPT",
		[FUSE_BMAP] = "BMAP",
		[FUSE_DESTROY] = "DESTROY",
		[FUSE_IOCTL] = "IOCTL",
		[FUSE_POLL] = "POLL",
		[FUSE_NOTIFY_REPLY] = "NOTIFY_REPLY",
		[FUSE_BATCH_FORGET] = "BATCH_FORGET",
		[FUSE_FALLOCATE] = "FALLOCATE",
		[FUSE_READDIRPLUS] = "READDIRPLUS",
		[FUSE_RENAME2] = "RENAME2",
		[FUSE_LSEEK] = "LSEEK",
		[FUSE_COPY_FILE_RANGE] = "COPY_FILE_RANGE",
		[FUSE_SETUPMAPPING] = "SETUPMAPPING",
		[FUSE_REMOVEMAPPING] = "REMOVEMAPPING",
		[FUSE_SYNCFS] = "SYNCFS",
		[51] = "TMPFILE",
		[52] = "STATX",
	};

	return opcode < SESSION_OPCODES ? names[opcode] : NULL;
}

const char *session_slot_name(const struct arena_slot *slot)
{
	struct fuse_in_header head;

	if (!slot->since_usec)
		return NULL;
	memcpy(&head, slot->request, sizeof head);
	return session_opcode_name(head.opcode) ?: "request";
}

/* --- INIT --- */

static void init_note(struct session *s, const struct fuse_in_header *head, size_t len)
{
	struct fuse_init_in in = { 0 };
	size_t n = 0;

	memcpy(&in, head + 1, MIN(len - sizeof *head, sizeof in));
	s->init_unique = head->unique;
	s->stats.proto_major = in.major;
	s->stats.proto_minor = in.minor;
	s->stats.kernel_flags = in.flags;
	if (in.flags & FUSE_INIT_EXT)
		s->stats.kernel_flags |= (uint64_t)in.flags2 << 32;
	for (size_t i = 0; i < ARRAY_SIZE(FEATURES); i++)
		if (!(s->stats.kernel_flags & FEATURES[i].flag))
			s->missing[n++] = FEATURES[i].sentence;
	s->missing[n++] = s->noted;
	s->missing[n] = NULL;
}

/* For a successor. Before the answer: one that finds no INIT would wait for one for ever. */
static void init_save(struct session *s, const struct fuse_in_header *head, size_t len)
{
	struct arena_connection *c = s->connection;

	if (len > sizeof c->init)
		return;
	memcpy(c->init, head, len);
	atomic_signal_fence(memory_order_seq_cst);
	c->init_len = len;
}

static void init_patch(struct session *s, struct fuse_init_out *out)
{
	uint64_t grant = s->stats.kernel_flags & INIT_PATCHED, flags = out->flags;

	if (s->stats.kernel_flags & FUSE_INIT_EXT)
		flags |= FUSE_INIT_EXT | (uint64_t)out->flags2 << 32;
	flags |= grant;
	if (!(flags & FUSE_INIT_EXT))
		flags &= UINT32_MAX;
	if (flags & FUSE_MAX_PAGES)
		out->max_pages = MAX_PAGES;
	out->flags = flags;
	out->flags2 = flags >> 32;
	s->stats.our_flags = flags;
	s->stats.initialised = true;
}

/* The kernel has its answer since the connection began; it counts, whatever this binary would ask for. */
static void init_adopt(struct session *s, struct fuse_init_out *out)
{
	uint64_t flags = s->connection->flags;

	if (flags == 0 || flags == s->stats.our_flags)
		return;
	log_info(NULL, "the connection keeps the capabilities that an earlier version has negotiated (%#jx, not %#jx)",
		 (uintmax_t)flags, (uintmax_t)s->stats.our_flags);
	s->stats.our_flags = flags;
	out->flags = flags;
	out->flags2 = flags >> 32;
}

/* libfuse's answer to INIT, patched. The replayed one goes nowhere. */
static ssize_t init_write(struct session *s, int fd, const struct iovec *iov, int n)
{
	struct init_reply *reply = &s->init_reply;
	bool replayed = s->init_unique == UNIQUE_REPLAY;
	size_t len = 0;
	ssize_t r;

	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len > sizeof *reply - len) {
			errno = EMSGSIZE;
			return -1;
		}
		memcpy((char *)reply + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	s->init_unique = 0;
	s->init_reply_len = len;
	if (reply->head.error == 0 && len >= sizeof reply->head + offsetof(struct fuse_init_out, unused))
		init_patch(s, &reply->out);
	if (replayed) {
		init_adopt(s, &reply->out);
		return (ssize_t)len;
	}
	for (size_t i = 0; s->missing[i] && s->missing[i] != s->noted; i++)
		log_warning(NULL, "this kernel lacks a feature: %s", s->missing[i]);
	r = write(fd, reply, len);
	if (r == (ssize_t)len && s->stats.initialised)
		s->connection->flags = s->stats.our_flags;
	return r;
}

/* An INIT whose answer a process did not live to send. */
static void init_again(struct session *s, uint64_t unique)
{
	s->init_reply.head.unique = unique;
	if (write(s->fd, &s->init_reply, s->init_reply_len) == (ssize_t)s->init_reply_len)
		s->connection->flags = s->stats.our_flags;
}

static ssize_t io_writev(int fd, struct iovec *iov, int n, void *userdata)
{
	struct session *s = container_of((struct ops *)userdata, struct session, ops);
	const struct fuse_out_header *head = iov[0].iov_base;

	if (s->init_unique && iov[0].iov_len >= sizeof *head && head->unique == s->init_unique)
		return init_write(s, fd, iov, n);
	return writev(fd, iov, n);
}

/* Never called: requests are read in session_readable(). libfuse insists on it. */
static ssize_t io_read(int fd, void *buf, size_t len, void *userdata)
{
	return read(fd, buf, len);
}

/* --- requests --- */

static void session_finish(struct session *s, int r)
{
	loop_source_free(s->source);
	s->source = NULL;
	s->end(s->userdata, r); /* may free s */
}

static bool is_forget(unsigned opcode)
{
	return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET;
}

static void session_answer_error(struct session *s, const struct fuse_in_header *head, int error)
{
	struct fuse_out_header out = { .len = sizeof out, .error = -error, .unique = head->unique };
	bool waits = !is_forget(head->opcode) && head->opcode != FUSE_NOTIFY_REPLY;

	if (waits && write(s->fd, &out, sizeof out) < 0 && errno != ENOENT)
		log_warning(NULL, "answer it: %m");
}

/* EIO for this request alone; a FORGET is passed over. */
static void session_refuse(struct session *s, const struct fuse_in_header *head)
{
	s->stats.n_poison++;
	log_error(NULL, "%ju agents died of this request, it is answered with an error: %s of node %ju by pid %u",
		  (uintmax_t)s->connection->slot.n_deaths, session_opcode_name(head->opcode) ?: "an unknown operation",
		  (uintmax_t)head->nodeid, head->pid);
	session_answer_error(s, head, EIO);
}

/* How each of OPS_TABLE's requests is built: so many bytes, at least, behind the header, then so many names. */
static const struct {
	uint16_t fixed;
	uint8_t n_names;
} SHAPES[SESSION_OPCODES] = {
	[FUSE_LOOKUP] = { 0, 1 },
	[FUSE_FORGET] = { sizeof(struct fuse_forget_in) },
	[FUSE_GETATTR] = { sizeof(struct fuse_getattr_in) },
	[FUSE_SETATTR] = { sizeof(struct fuse_setattr_in) },
	[FUSE_SYMLINK] = { 0, 2 },
	[FUSE_MKNOD] = { sizeof(struct fuse_mknod_in), 1 },
	[FUSE_MKDIR] = { sizeof(struct fuse_mkdir_in), 1 },
	[FUSE_UNLINK] = { 0, 1 },
	[FUSE_RMDIR] = { 0, 1 },
	[FUSE_RENAME] = { sizeof(struct fuse_rename_in), 2 },
	[FUSE_LINK] = { sizeof(struct fuse_link_in), 1 },
	[FUSE_READ] = { sizeof(struct fuse_read_in) },
	[FUSE_WRITE] = { sizeof(struct fuse_write_in) },
	[FUSE_SETXATTR] = { FUSE_COMPAT_SETXATTR_IN_SIZE, 1 },
	[FUSE_GETXATTR] = { sizeof(struct fuse_getxattr_in), 1 },
	[FUSE_LISTXATTR] = { sizeof(struct fuse_getxattr_in) },
	[FUSE_REMOVEXATTR] = { 0, 1 },
	[FUSE_READDIR] = { sizeof(struct fuse_read_in) },
	[FUSE_CREATE] = { sizeof(struct fuse_create_in), 1 },
	[FUSE_BATCH_FORGET] = { sizeof(struct fuse_batch_forget_in) },
	[FUSE_FALLOCATE] = { sizeof(struct fuse_fallocate_in) },
	[FUSE_RENAME2] = { sizeof(struct fuse_rename2_in), 2 },
	[FUSE_COPY_FILE_RANGE] = { sizeof(struct fuse_copy_file_range_in) },
};

/* libfuse takes it on trust that all of a request is there. The kernel can be trusted with that, but not what is found in
 * the slot. Nor that nobody answers a question that was never asked (libfuse forgets to free that), or says good-bye, which
 * the kernel does on block devices only. */
static bool request_is_good(const struct fuse_in_header *head, size_t len)
{
	const char *at = (const char *)(head + 1), *end = (const char *)head + len;

	if (head->len != len || head->opcode == FUSE_NOTIFY_REPLY || head->opcode == FUSE_DESTROY)
		return false;
	if (head->opcode >= SESSION_OPCODES)
		return true;
	if ((size_t)(end - at) < SHAPES[head->opcode].fixed)
		return false;
	if (head->opcode == FUSE_BATCH_FORGET) {
		const struct fuse_batch_forget_in *in = (const void *)at;

		return in->count <= ((size_t)(end - at) - sizeof *in) / sizeof(struct fuse_forget_one);
	}
	at += SHAPES[head->opcode].fixed;
	for (int i = 0; i < SHAPES[head->opcode].n_names; i++) {
		at = memchr(at, 0, (size_t)(end - at));
		if (!at)
			return false;
		at++;
	}
	return true;
}

/* The request in the slot. `again`: an earlier process has had it. */
static void session_process(struct session *s, size_t len, bool again)
{
	struct arena_slot *slot = &s->connection->slot;
	const struct fuse_in_header *head = (const void *)slot->request;
	struct fuse_buf buf = { .size = len, .mem = slot->request };
	uint64_t unique = head->unique & ~UNIQUE_RESEND;

	if (head->opcode < SESSION_OPCODES)
		s->stats.requests[head->opcode]++;
	if (!request_is_good(head, len)) {
		log_warning(NULL, "not a request: %s, %zu bytes", session_opcode_name(head->opcode) ?: "unknown", len);
		session_answer_error(s, head, EINVAL);
		return;
	}
	if (slot->n_deaths >= SESSION_DEATHS_MAX && slot->deadly_unique == unique) {
		session_refuse(s, head);
		return;
	}
	if (head->opcode == FUSE_INIT && s->stats.initialised) {
		init_again(s, head->unique);
		return;
	}
	if (head->opcode == FUSE_INIT) {
		init_note(s, head, len);
		init_save(s, head, len);
	}
	if (again)
		s->ops.replay = s->replay_unique == unique ? &s->replay : &s->resent;
	fuse_session_process_buf(s->fuse, &buf);
	s->ops.replay = NULL;
}

static void slot_begin(struct arena_slot *slot)
{
	struct fuse_in_header *head = (void *)slot->request;

	head->len = 0;
	slot->count_id = slot->n_forgotten = 0;
	atomic_signal_fence(memory_order_seq_cst);
}

static void slot_end(struct arena_slot *slot)
{
	struct fuse_in_header *head = (void *)slot->request;

	atomic_signal_fence(memory_order_seq_cst);
	head->len = 0;
	slot->since_usec = 0;
}

/* The loop does not wait while there is a request: it came when a wait ended, or later. */
static uint64_t session_unread_since(const struct session *s)
{
	uint64_t woke = loop_now(s->loop);

	return s->unread_since_usec + (s->wait_usec && woke > s->wait_usec ? woke - s->wait_usec : 0);
}

static void session_note_read(struct session *s, uint64_t until_usec)
{
	s->unread_since_usec = until_usec;
	s->wait_usec = 0;
}

static void session_before_wait(struct loop_source *source, void *userdata)
{
	struct session *s = userdata;

	s->unread_since_usec = session_unread_since(s);
	/* when the last wait ended there was none, or it has had its turn since */
	if (!loop_source_is_pending(source))
		s->unread_since_usec = MAX(s->unread_since_usec, loop_now(s->loop));
	s->wait_usec = clock_monotonic_usec();
}

static void session_readable(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct session *s = userdata;
	struct arena_slot *slot = &s->connection->slot;
	uint64_t begun = clock_monotonic_usec();

	for (int i = 0; i < REQUESTS_PER_TURN; i++) {
		const struct fuse_in_header *head = (const void *)slot->request;
		ssize_t n;

		slot_begin(slot);
		n = read(fd, slot->request, sizeof slot->request);
		if (n < 0 && errno == EAGAIN)
			session_note_read(s, clock_monotonic_usec());
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0 && errno == ENOENT) /* the caller gave up before we had read it */
			continue;
		if (n < (ssize_t)sizeof(struct fuse_in_header)) {
			session_finish(s, n < 0 ? -errno : -EIO);
			return;
		}
		slot->since_usec = clock_monotonic_usec();
		session_process(s, n, head->unique & UNIQUE_RESEND);
		slot_end(slot);
	}
	/* a turn full: of the others it is not known. As long as turns come, nobody waits for them */
	session_note_read(s, begun);
}

/* --- resuming --- */

static int resume_init(struct session *s, struct err *e)
{
	struct arena_connection *c = s->connection;
	uint8_t request[ARENA_INIT_MAX] __attribute__((__aligned__(8)));
	struct fuse_buf buf = { .size = c->init_len, .mem = request };
	struct fuse_in_header *head = (void *)request;

	if (c->init_len > sizeof request || c->init_len < sizeof *head + offsetof(struct fuse_init_in, flags2))
		return err_set(e, -EBADMSG, "state arena: its INIT request is damaged");
	memcpy(request, c->init, c->init_len);
	head->unique = UNIQUE_REPLAY;
	if (head->opcode != FUSE_INIT || head->len != c->init_len)
		return err_set(e, -EBADMSG, "state arena: its INIT request is damaged");
	init_note(s, head, c->init_len);
	fuse_session_process_buf(s->fuse, &buf);
	if (!s->stats.initialised)
		return err_set(e, -EPROTO, "libfuse does not take the connection over");
	return 0;
}

/* Whether the request that was under way is in the slot. Its death is counted once: a successor that dies before it gets to
 * the request leaves it without its time. */
static bool resume_note_death(struct session *s)
{
	struct arena_slot *slot = &s->connection->slot;
	const struct fuse_in_header *head = (const void *)slot->request;

	if (head->len < sizeof *head || head->len > sizeof slot->request)
		return false;
	s->replay_unique = head->unique & ~UNIQUE_RESEND;
	s->replay.count_id = slot->count_id;
	s->replay.count_after = slot->count_after;
	s->replay.n_forgotten = is_forget(head->opcode) ? slot->n_forgotten : 0;
	if (slot->since_usec == 0)
		return true;
	slot->since_usec = 0;
	atomic_signal_fence(memory_order_seq_cst);
	if (slot->deadly_unique != s->replay_unique)
		slot->n_deaths = 0;
	slot->deadly_unique = s->replay_unique;
	slot->n_deaths++;
	return true;
}

static int session_resume(struct session *s, struct err *e)
{
	const struct fuse_out_header resend = { .len = sizeof resend, .error = NOTIFY_RESEND };
	struct arena_slot *slot = &s->connection->slot;
	const struct fuse_in_header *head = (const void *)slot->request;
	bool under_way = resume_note_death(s), resent;
	int r;

	s->stats.resumed = true;
	s->replay.publisher = s->resent.publisher = s->connection->publisher;
	r = resume_init(s, e);
	if (r < 0)
		return r;
	resent = write(s->fd, &resend, sizeof resend) == (ssize_t)sizeof resend;
	if (!resent && errno != EINVAL)
		return err_set(e, -errno, "resume the connection: %m");
	if (under_way && (!resent || is_forget(head->opcode))) {
		slot->since_usec = clock_monotonic_usec();
		session_process(s, head->len, true);
	}
	slot_end(slot);
	return 0;
}

/* The kernel gives INIT out once: it may have been read by a process that did not live to keep it. */
static void session_take_init(struct session *s)
{
	struct arena_slot *slot = &s->connection->slot;
	const struct fuse_in_header *head = (const void *)slot->request;

	if (head->opcode != FUSE_INIT || !resume_note_death(s))
		return;
	slot->since_usec = clock_monotonic_usec();
	session_process(s, head->len, true);
	slot_end(slot);
}

static void fuse_message(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char text[256];

	if (log_get_level() < LOG_LEVEL_DEBUG)
		return;
	vsnprintf(text, sizeof text, fmt, ap);
	text[strcspn(text, "\n")] = 0;
	log_debug(NULL, "libfuse: %s", text);
}

int session_new(struct loop *l, int take_fuse_fd, struct tree *t, struct publish *p, struct arena_connection *c,
		session_end_fn end, void *userdata, struct session **ret_s, struct err *e)
{
	static const struct fuse_custom_io io = { .read = io_read, .writev = io_writev };
	char *argv[] = { (char[]){ "secretlet" }, NULL };
	cleanup(fuse_opt_free_args) struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	cleanup_fd int fd = take_fuse_fd;
	cleanup(session_freep) struct session *s = NULL;
	int flags, r;

	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_set(e, -errno, "/dev/fuse: %m");
	s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	if (!c) {
		s->own = calloc(1, sizeof *s->own);
		if (!s->own)
			return err_set(e, -ENOMEM, "out of memory");
	}
	s->connection = c ?: s->own;
	s->loop = l;
	session_note_read(s, clock_monotonic_usec());
	s->ops.tree = t;
	s->ops.publish = p;
	s->ops.slot = &s->connection->slot;
	s->ops.n_refused = &s->stats.n_refused;
	s->end = end;
	s->userdata = userdata;

	fuse_set_log_func(fuse_message);
	s->fuse = fuse_session_new(&args, &OPS_TABLE, sizeof OPS_TABLE, &s->ops);
	if (!s->fuse)
		return err_set(e, -ENOMEM, "libfuse cannot make a session");
	r = fuse_session_custom_io(s->fuse, &io, fd);
	if (r < 0)
		return err_set(e, r, "libfuse does not take /dev/fuse");
	s->fd = TAKE_FD(fd);
	r = loop_add_io(l, s->fd, EPOLLIN, session_readable, s, &s->source);
	if (r < 0)
		return err_set(e, r, "cannot watch /dev/fuse: %s", strerror(-r));
	r = loop_io_before_wait(s->source, session_before_wait);
	if (r < 0)
		return err_set(e, r, "cannot watch /dev/fuse: %s", strerror(-r));
	if (s->connection->init_len == 0) {
		session_take_init(s);
	} else {
		r = session_resume(s, e);
		if (r < 0)
			return r;
	}
	*ret_s = TAKE_PTR(s);
	return 0;
}

void session_note_doubt(struct arena_connection *c)
{
	const struct fuse_in_header *head = (const void *)c->slot.request;
	const struct fuse_rename_in *rename = (const void *)(head + 1); /* RENAME2's begins alike */

	if (head->len < sizeof *head || head->len > sizeof c->slot.request)
		return;
	switch (head->opcode) {
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
	case FUSE_UNLINK:
	case FUSE_RMDIR:
		c->doubt = head->nodeid;
		break;
	case FUSE_RENAME: /* what it leaves is staging alone, if it is not the same folder */
	case FUSE_RENAME2:
		if (head->len >= sizeof *head + sizeof *rename)
			c->doubt = rename->newdir;
		break;
	default:
		break;
	}
}

void session_hide_xattrs(struct session *s)
{
	s->ops.hide_xattrs = true;
}

void session_answer(struct session *s)
{
	session_readable(s->source, s->fd, EPOLLIN, s);
}

void session_free(struct session *s)
{
	if (!s)
		return;
	loop_source_free(s->source);
	if (s->fuse)
		fuse_session_destroy(s->fuse);
	free(s->own);
	free(s);
}

const struct session_stats *session_stats(const struct session *s)
{
	return &s->stats;
}

uint64_t session_waiting_usec(const struct session *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents & POLLIN ? clock_monotonic_usec() - session_unread_since(s) : 0;
}

void session_note_missing(struct session *s, const char *sentence)
{
	size_t n = 0;

	while (s->missing[n] != s->noted)
		n++;
	s->missing[n] = s->noted = sentence;
}

const char *const *session_missing(const struct session *s)
{
	return s->missing;
}
