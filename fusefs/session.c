/* Session: requests are read from /dev/fuse here and given to libfuse one by one; its answers come back through one
 * writev callback, where INIT's is patched. libfuse 3.14 replies INIT with flags that it knows itself, drops
 * PARALLEL_DIROPS by mistake (fixed in 3.17) and limits a request to as many pages as one write may have. */
#include "fusefs/session.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sys/uio.h>

#include "common/log.h"
#include "fusefs/ops.h"
#include "fusefs/publish.h"

#define REQUEST_MAX	  (64u << 10) /* the kernel wants at least 8 KiB; a batch of FORGETs fills what it gets */
#define REQUESTS_PER_TURN 64
#define MAX_PAGES	  32 /* 128 KiB per READ, the kernel's readahead */

/* from newer linux/fuse.h */
#define INIT_NO_EXPORT_SUPPORT (UINT64_C(1) << 38)
#define INIT_ALLOW_IDMAP       (UINT64_C(1) << 40)

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

struct session {
	struct ops ops; /* libfuse's userdata */
	struct loop_source *source;
	struct fuse_session *fuse;
	int fd; /* libfuse's, closed by it */
	uint64_t init_unique;
	session_end_fn end;
	void *userdata;
	struct session_stats stats;
	const char *missing[ARRAY_SIZE(FEATURES) + 1];
	uint8_t request[REQUEST_MAX] __attribute__((__aligned__(8)));
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
	s->missing[n] = NULL;
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

static ssize_t init_write(struct session *s, int fd, const struct iovec *iov, int n)
{
	struct {
		struct fuse_out_header head;
		struct fuse_init_out out;
	} reply = { 0 };
	size_t len = 0;

	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len > sizeof reply - len) {
			errno = EMSGSIZE;
			return -1;
		}
		memcpy((char *)&reply + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	s->init_unique = 0;
	if (reply.head.error == 0 && len >= sizeof reply.head + offsetof(struct fuse_init_out, unused))
		init_patch(s, &reply.out);
	return write(fd, &reply, len);
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

static void session_process(struct session *s, size_t len)
{
	const struct fuse_in_header *head = (const void *)s->request;
	struct fuse_buf buf = { .size = len, .mem = s->request };

	if (head->opcode < SESSION_OPCODES)
		s->stats.requests[head->opcode]++;
	if (head->opcode == FUSE_INIT)
		init_note(s, head, len);
	fuse_session_process_buf(s->fuse, &buf);
}

static void session_readable(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct session *s = userdata;

	for (int i = 0; i < REQUESTS_PER_TURN; i++) {
		ssize_t n = read(fd, s->request, sizeof s->request);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0 && errno == ENOENT) /* the caller gave up before we had read it */
			continue;
		if (n < (ssize_t)sizeof(struct fuse_in_header)) {
			session_finish(s, n < 0 ? -errno : -EIO);
			return;
		}
		session_process(s, n);
	}
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

int session_new(struct loop *l, int take_fuse_fd, struct tree *t, struct publish *p, session_end_fn end, void *userdata,
		struct session **ret_s, struct err *e)
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
	s->ops.tree = t;
	s->ops.publish = p;
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

	*ret_s = TAKE_PTR(s);
	return 0;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	loop_source_free(s->source);
	if (s->fuse)
		fuse_session_destroy(s->fuse);
	explicit_bzero(s->request, sizeof s->request);
	free(s);
}

const struct session_stats *session_stats(const struct session *s)
{
	return &s->stats;
}

const char *const *session_missing(const struct session *s)
{
	return s->missing;
}
