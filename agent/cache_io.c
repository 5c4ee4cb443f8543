/* Cache io. Orders and answers are a fixed head and bytes over a stream socket; the child takes one after the other. It
 * makes the folder and locks it first: one of an earlier agent that still hangs in a write cannot come back into a newer
 * state. All of that is the child's, for even a look at a folder can take for ever, and an agent that starts has readers
 * who wait for it.
 *
 * The child ends when its agent does (the socket is closed, and PR_SET_PDEATHSIG), and nothing waits for that. */
#include "agent/cache_io.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/file.h"
#include "common/log.h"
#include "common/str.h"

#define ANSWER_MAX (CACHE_FILE_MAX + 131072)

#define ENDED "the process that reads and writes the folder has ended"

enum { FD_SOCKET = 3 }; /* the child's, and all that it has when it begins */

enum op { OP_LIST, OP_READ, OP_WRITE, OP_COMMIT, OP_REMOVE };

struct order {
	uint32_t op;
	uint32_t len; /* bytes behind it */
	char name[CACHE_NAME_MAX];
};
struct answer {
	int32_t r;
	uint32_t len; /* of the data, or of the sentence */
};

struct cache_io {
	struct loop *loop;
	struct loop_source *source, *watch;
	int socket;
	pid_t pid; /* the child's; 0: it has been reaped, or somebody else has started it */
	struct buf out, in;
	bool ended, writes;
	bool replaced; /* the socket is another process's than pid's */
	void (*ended_fn)(void *userdata);
	void *ended_userdata;
	cache_io_fn fn; /* NULL: no order is under way */
	void *userdata;
	uint64_t since_usec;
};

/* ---- the child ---- */

static bool read_all(int fd, void *data, size_t len)
{
	for (char *at = data; len > 0;) {
		ssize_t n = read(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static int child_do(int dirfd, const struct order *o, struct buf *data, struct err *e)
{
	cleanup_free struct cache_file *files = NULL;
	size_t n;
	int r;

	switch (o->op) {
	case OP_LIST:
		r = cache_dir_list(dirfd, &files, &n, e);
		return r < 0 ? r : buf_add(data, files ? (void *)files : "", n * sizeof(*files));
	case OP_READ:
		return cache_dir_read(dirfd, o->name, data, e);
	case OP_WRITE:
	case OP_COMMIT:
		r = cache_dir_write(dirfd, o->name, data->data ?: "", data->len, o->op == OP_COMMIT, e);
		buf_clear(data);
		return r;
	case OP_REMOVE:
		return cache_dir_remove(dirfd, o->name, e);
	}
	return err_set(e, -EINVAL, "unknown order");
}

static bool child_serve_one(int socket, int dirfd, const struct err *unusable)
{
	cleanup_buf struct buf data = BUF_INIT(ANSWER_MAX);
	struct err e = *unusable;
	struct answer a;
	struct order o;
	char *room;

	if (!read_all(socket, &o, sizeof(o)) || buf_reserve(&data, o.len, &room) < 0 || !read_all(socket, room, o.len))
		return false;
	buf_advance(&data, o.len);
	o.name[sizeof(o.name) - 1] = '\0';
	a.r = e.code < 0 ? e.code : child_do(dirfd, &o, &data, &e);
	if (a.r != 0) {
		buf_clear(&data);
		if (buf_add_str(&data, err_text(&e)) < 0)
			return false;
	}
	a.len = (uint32_t)data.len;
	return file_write_all(socket, &a, sizeof(a)) == 0 && file_write_all(socket, data.data ?: "", data.len) == 0;
}

_Noreturn void cache_io_run(const char *path, const struct sandbox_user *user)
{
	struct err e = ERR_INIT, unusable = ERR_INIT;
	int dirfd = -1;

	prctl(PR_SET_NAME, "secretlet-cache");
	/* 0 to 2 are the log's; all else is somebody else's business */
	if (close_range(FD_SOCKET + 1, ~0U, 0) < 0)
		_exit(EXIT_FAILURE);
	(void)cache_dir_make(path, user ? user->uid : geteuid(), user ? user->gid : getegid(), &dirfd, &unusable);
	if (user && (sandbox_drop(user, &e) < 0 || sandbox_confine_cache(dirfd, &e) < 0)) {
		log_error(NULL, "offline cache: %s", err_text(&e));
		_exit(EXIT_FAILURE);
	}
	if (dirfd >= 0)
		(void)cache_dir_lock(dirfd, true, &unusable);
	while (child_serve_one(FD_SOCKET, dirfd, &unusable))
		;
	_exit(EXIT_SUCCESS);
}

static _Noreturn void child_run(int socket, const char *path, const struct sandbox_user *user, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if ((socket != FD_SOCKET && dup2(socket, FD_SOCKET) < 0) || getppid() != parent)
		_exit(EXIT_FAILURE);
	cache_io_run(path, user);
}

/* ---- the agent's side ---- */

int cache_io_start(const char *path, const struct sandbox_user *user, struct cache_io **ret_io, struct err *e)
{
	cleanup_fd int ours = -1, theirs = -1;
	cleanup(cache_io_freep) struct cache_io *io = calloc(1, sizeof(*io));
	pid_t parent = getpid();
	int pair[2];

	if (!io)
		return err_set(e, -ENOMEM, "out of memory");
	io->socket = -1;
	io->out = io->in = BUF_INIT(ANSWER_MAX);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, -errno, "socketpair: %m");
	ours = pair[0];
	theirs = pair[1];
	io->pid = fork();
	if (io->pid < 0) {
		io->pid = 0;
		return err_set(e, -errno, "fork: %m");
	}
	if (io->pid == 0)
		child_run(theirs, path, user, parent);
	io->socket = TAKE_FD(ours);
	*ret_io = TAKE_PTR(io);
	return 0;
}

void cache_io_free(struct cache_io *io)
{
	if (!io)
		return;
	loop_source_free(io->source);
	loop_source_free(io->watch);
	close_fd(io->socket);
	if (io->pid > 0) {
		/* in a call that hangs it cannot even be killed: init reaps it */
		kill(io->pid, SIGKILL);
		(void)waitpid(io->pid, NULL, WNOHANG);
	}
	buf_deinit(&io->out);
	buf_deinit(&io->in);
	free(io);
}

static void finish(struct cache_io *io, int r, const void *data, size_t len, const char *error)
{
	cache_io_fn fn = TAKE_PTR(io->fn);

	if (fn)
		fn(io->userdata, r, data, len, error);
}

static void end(struct cache_io *io)
{
	if (io->ended)
		return;
	io->ended = true;
	loop_source_free(TAKE_PTR(io->source));
	if (io->ended_fn)
		io->ended_fn(io->ended_userdata);
	finish(io, -EPIPE, NULL, 0, ENDED);
}

static void on_died(struct loop_source *s, pid_t pid, int code, int status, void *userdata)
{
	struct cache_io *io = userdata;

	io->pid = 0; /* may be somebody else's from now on */
	loop_source_free(TAKE_PTR(io->watch));
	log_error(NULL, "offline cache: its process (pid %d) has ended (%s %d)", (int)pid,
		  code == CLD_EXITED ? "exit status" : "signal", status);
	if (!io->replaced)
		end(io);
}

static int send_more(struct cache_io *io)
{
	ssize_t n;

	while (io->out.len > 0) {
		n = send(io->socket, io->out.data, io->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return -errno;
		buf_consume(&io->out, (size_t)n);
	}
	if (io->writes == (io->out.len > 0))
		return 0;
	io->writes = io->out.len > 0;
	return loop_io_set_events(io->source, EPOLLIN | (io->writes ? EPOLLOUT : 0));
}

/* 1: more may come; 0: it has ended. */
static int receive_more(struct cache_io *io)
{
	char *room;
	ssize_t n;

	if (buf_reserve(&io->in, 65536, &room) < 0)
		return -ENOMEM;
	n = recv(io->socket, room, 65536, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 1 : -errno;
	buf_advance(&io->in, (size_t)n);
	return n > 0;
}

static void on_io(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct cache_io *io = userdata;
	cleanup_buf struct buf in = BUF_INIT(0);
	struct answer a;

	if (send_more(io) < 0 || (revents & ~(uint32_t)EPOLLOUT && receive_more(io) <= 0)) {
		end(io);
		return;
	}
	if (io->in.len < sizeof(a))
		return;
	memcpy(&a, io->in.data, sizeof(a));
	if (io->in.len < sizeof(a) + a.len)
		return;
	/* whoever is told gives the next order */
	in = io->in;
	io->in = BUF_INIT(ANSWER_MAX);
	finish(io, a.r, in.data + sizeof(a), a.len, a.r != 0 ? in.data + sizeof(a) : "");
}

int cache_io_attach(struct cache_io *io, struct loop *l, void (*ended)(void *userdata), void *userdata)
{
	int r;

	io->loop = l;
	io->ended_fn = ended;
	io->ended_userdata = userdata;
	r = loop_add_child(l, io->pid, on_died, io, &io->watch);
	return r < 0 ? r : loop_add_io(l, io->socket, EPOLLIN, on_io, io, &io->source);
}

int cache_io_replace(struct cache_io *io, int take_fd)
{
	struct loop_source *source;
	int r;

	r = loop_add_io(io->loop, take_fd, EPOLLIN, on_io, io, &source);
	if (r < 0) {
		close_fd(take_fd);
		return r;
	}
	end(io); /* if nobody has noticed yet */
	close_fd(io->socket);
	io->socket = take_fd;
	io->source = source;
	io->replaced = true;
	io->ended = io->writes = false;
	buf_clear(&io->out);
	buf_clear(&io->in);
	return 0;
}

static int give(struct cache_io *io, enum op op, const char *name, const void *data, size_t len, cache_io_fn fn,
		void *userdata)
{
	struct order o = { .op = op, .len = (uint32_t)len };
	int r;

	if (io->ended)
		return -EPIPE;
	if (io->fn)
		return -EBUSY;
	if (len > CACHE_FILE_MAX)
		return -EFBIG;
	snprintf(o.name, sizeof(o.name), "%s", name);
	r = buf_add(&io->out, &o, sizeof(o));
	if (r == 0 && len > 0)
		r = buf_add(&io->out, data, len);
	if (r < 0) {
		buf_clear(&io->out);
		return r;
	}
	io->fn = fn;
	io->userdata = userdata;
	io->since_usec = loop_now(io->loop);
	r = send_more(io);
	if (r < 0)
		io->fn = NULL;
	return r;
}

int cache_io_list(struct cache_io *io, cache_io_fn fn, void *userdata)
{
	return give(io, OP_LIST, "", NULL, 0, fn, userdata);
}

int cache_io_read(struct cache_io *io, const char *name, cache_io_fn fn, void *userdata)
{
	return give(io, OP_READ, name, NULL, 0, fn, userdata);
}

int cache_io_write(struct cache_io *io, const char *name, const void *data, size_t len, bool commit, cache_io_fn fn,
		   void *userdata)
{
	return give(io, commit ? OP_COMMIT : OP_WRITE, name, data, len, fn, userdata);
}

int cache_io_remove(struct cache_io *io, const char *name, cache_io_fn fn, void *userdata)
{
	return give(io, OP_REMOVE, name, NULL, 0, fn, userdata);
}

uint64_t cache_io_busy_usec(const struct cache_io *io)
{
	return io->fn ? loop_now(io->loop) - io->since_usec : 0;
}

const char *cache_io_ended(const struct cache_io *io)
{
	return io->ended ? ENDED : NULL;
}
