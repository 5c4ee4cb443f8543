/* fuzz: at most 2048 bytes
 * Link: a keeper whose agent sends anything, and an agent whose keeper does. No fd is left over, and what is opened lies
 * beneath what was allowed before the list was sealed, and never where nothing may be opened: judged by where the fd
 * leads, not by its name. What is watched is a folder that might be, by its name.
 *
 * Input: one operation after the other. */
#include "test/fuzz/fuzz.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/files_keeper.h"
#include "agent/link.h"
#include "agent/opener.h"
#include "common/log.h"

#define FDS_MAX	    24
#define OPS_MAX	    200
#define ALLOWED_MAX OPS_MAX /* the same one counts each time */

static char base[] = "/tmp/fuzz_link.XXXXXX", never[64];
static int inotify;

static const char *const FILES[] = { "ok/a", "ok/sub/b", "okay/c", "never/d", "never/sub/e", "f" };

static void remove_files(void)
{
	static const char *const dirs[] = { "ok/sub", "ok", "okay", "never/sub", "never", "" };
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(FILES); i++) {
		snprintf(path, sizeof path, "%s/%s", base, FILES[i]);
		unlink(path);
	}
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof path, "%s/%s", base, dirs[i]);
		rmdir(path);
	}
}

static void make_files(void)
{
	static const char *const dirs[] = { "ok", "ok/sub", "okay", "never", "never/sub" };
	char path[PATH_MAX];

	FUZZ_CHECK(mkdtemp(base));
	atexit(remove_files);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof path, "%s/%s", base, dirs[i]);
		FUZZ_CHECK(mkdir(path, 0700) == 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(FILES); i++) {
		snprintf(path, sizeof path, "%s/%s", base, FILES[i]);
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	}
	snprintf(never, sizeof never, "%s/never", base);
}

static size_t count_fds(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 128; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* --- the model: where files that may be opened lie --- */

static struct {
	char path[ALLOWED_MAX][PATH_MAX]; /* real ones */
	bool dir[ALLOWED_MAX];
	char watch[ALLOWED_MAX][PATH_MAX]; /* as they are written */
	size_t n, n_watch;
	bool sealed;
} may;

static void may_add(const char *path, bool dir)
{
	FUZZ_CHECK(may.n < ALLOWED_MAX);
	if (realpath(path, may.path[may.n])) {
		may.dir[may.n] = dir;
		may.n++;
	}
}

static void check_watched(const char *path)
{
	bool good = false;

	FUZZ_CHECK(may.sealed);
	for (size_t i = 0; i < may.n_watch && !good; i++)
		good = str_eq(path, may.watch[i]);
	FUZZ_CHECK(good);
}

static bool is_in(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == 0 || path[len] == '/' || str_eq(dir, "/"));
}

static void check_opened(int fd)
{
	char link[64], path[PATH_MAX];
	ssize_t n;
	bool good = false;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	FUZZ_CHECK(n > 0);
	path[n] = 0;
	FUZZ_CHECK(may.sealed);
	FUZZ_CHECK(!is_in(path, never));
	for (size_t i = 0; i < may.n && !good; i++)
		good = may.dir[i] ? is_in(path, may.path[i]) : str_eq(path, may.path[i]);
	FUZZ_CHECK(good);
}

/* --- input --- */

static void make_path(struct fuzz_input *in, char path[PATH_MAX])
{
	static const char *const parts[] = {
		"ok", "okay", "never", "sub", "a", "b", "c", "d", "e", "f", "..", ".", ""
	};
	size_t len, n = fuzz_u8(in) % 8;

	len = (size_t)snprintf(path, PATH_MAX, "%s%s", n == 7 ? "/" : "", base);
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(path + len, PATH_MAX - len, "/%s", parts[fuzz_u8(in) % ARRAY_SIZE(parts)]);
	if (n == 6) { /* in and out of the base again */
		char copy[PATH_MAX + 64];

		len = (size_t)snprintf(copy, sizeof copy, "%s/..%s", base, path + strlen("/tmp"));
		FUZZ_CHECK(len < PATH_MAX);
		memcpy(path, copy, len + 1);
	}
}

static void send_raw(int to, struct fuzz_input *in)
{
	static uint8_t message[sizeof(struct link_message) + 64];
	union {
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	size_t n_fds = fuzz_u8(in) % (FDS_MAX + 1), len = (fuzz_u8(in) << 8 | fuzz_u8(in)) % sizeof message;
	struct fuzz_input bytes = fuzz_take(in, fuzz_u8(in));
	struct iovec iov = { .iov_base = message, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	int fds[FDS_MAX] = { 0 };

	memset(message, fuzz_u8(in), sizeof message);
	if (bytes.len > 0)
		memcpy(message, bytes.data, MIN(bytes.len, sizeof message));
	if (n_fds > 0) {
		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		FUZZ_CHECK(c);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	(void)!sendmsg(to, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* --- the keeper's side, as keeper_link.c does it --- */

static void keeper_read(struct opener *o, int link)
{
	static struct link_message m;
	int fd, r;

	for (;;) {
		if (opener_flush(o, link) == -EAGAIN)
			return;
		fd = -1;
		r = link_receive(link, &m, &fd);
		if (r == -EAGAIN || r == -EPIPE)
			return;
		if (r == 0 && m.type == LINK_WATCH && opener_watch(o, link, m.id, m.path, fd) != -EACCES)
			check_watched(m.path);
		close_fd(fd);
		if (r < 0)
			continue;
		FUZZ_CHECK(strlen(m.path) == m.path_len);
		if (m.type == LINK_ALLOW_FILE || m.type == LINK_ALLOW_DIR) {
			r = opener_allow(o, m.path, m.type == LINK_ALLOW_DIR);
			FUZZ_CHECK(r == 0 || r == -EPERM || r == -EINVAL || r == -EDEADLK);
			FUZZ_CHECK(r != 0 || !may.sealed);
			if (r == 0)
				may_add(m.path, m.type == LINK_ALLOW_DIR);
		} else if (m.type == LINK_ALLOW_WATCH) {
			r = opener_allow_watch(o, m.path, (uint32_t)m.value);
			FUZZ_CHECK(r == 0 || r == -EPERM || r == -EINVAL || r == -EDEADLK);
			FUZZ_CHECK(r != 0 || (!may.sealed && may.n_watch < ALLOWED_MAX));
			if (r == 0)
				memcpy(may.watch[may.n_watch++], m.path, m.path_len + 1);
		} else if (m.type == LINK_SEAL) {
			opener_seal(o);
			may.sealed = true;
		} else if (m.type == LINK_OPEN) {
			opener_answer(o, link, m.id, m.path);
		}
	}
}

/* --- the agent's side --- */

struct waiting {
	size_t n_told;
	int r;
};

static void opened(void *userdata, int fd, int r)
{
	struct waiting *w = userdata;

	FUZZ_CHECK(r <= 0 && (fd >= 0) == (r == 0));
	w->n_told++;
	w->r = r;
	close_fd(fd);
}

static void watched(void *userdata, int wd)
{
	opened(userdata, -1, MIN(wd, -1));
}

/* What the agent has not read yet. `from_keeper`: it was the keeper who sent it all. */
static void agent_read(struct files *f, int link, bool from_keeper)
{
	static struct link_message m;
	int fd, r;

	for (;;) {
		fd = -1;
		r = link_receive(link, &m, &fd);
		if (r == -EAGAIN || r == -EPIPE)
			return;
		if (r < 0)
			continue;
		if (from_keeper) {
			FUZZ_CHECK(m.type == LINK_OPENED && (fd >= 0) == (m.value == 0));
			if (fd >= 0)
				check_opened(fd);
		}
		if (m.type == LINK_OPENED)
			files_keeper_opened(f, &m, fd);
		else
			close_fd(fd);
	}
}

static void run(struct fuzz_input *in, int agent, int keeper, bool mad_keeper)
{
	struct opener o = OPENER_INIT;
	struct waiting w[4] = { 0 };
	size_t n_asked[ARRAY_SIZE(w)] = { 0 };
	static char path[PATH_MAX];
	struct files *f;

	o.never[0] = never;
	FUZZ_CHECK(files_keeper_new(agent, &f) == 0);
	for (int i = 0; i < OPS_MAX && in->len > 0; i++) {
		uint8_t op = fuzz_u8(in), which = op >> 4 & 3;

		switch (op & 7) {
		case 0:
			send_raw(mad_keeper ? keeper : agent, in);
			break;
		case 1:
			make_path(in, path);
			link_send(agent,
				  op & 64  ? LINK_ALLOW_WATCH
				  : op & 8 ? LINK_ALLOW_DIR
					   : LINK_ALLOW_FILE,
				  0, IN_CREATE | IN_MASK_ADD, path, -1);
			break;
		case 2:
			link_send(agent, LINK_SEAL, 0, 0, NULL, -1);
			break;
		case 3:
			make_path(in, path);
			n_asked[which] += (op & 8 ? files_watch(f, op & 64 ? inotify : 0, path, watched, &w[which])
						  : files_open(f, path, opened, &w[which])) == 0;
			break;
		case 4:
			agent_read(f, agent, !mad_keeper);
			break;
		case 5:
			if (mad_keeper)
				link_send(keeper, LINK_OPENED, fuzz_u8(in) % 8, (int8_t)fuzz_u8(in), NULL,
					  op & 8 ? 0 : -1);
			else
				keeper_read(&o, keeper);
			break;
		case 6:
			files_cancel(f, &w[which]);
			break;
		case 7:
			if (op & 8) {
				opener_reset(&o);
				may.sealed = false;
				may.n = may.n_watch = 0;
				agent_read(f, agent, false);
			}
			break;
		}
		for (size_t k = 0; k < ARRAY_SIZE(w); k++)
			FUZZ_CHECK(w[k].n_told <= n_asked[k]);
	}
	opener_deinit(&o);
	files_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .data = data, .len = size };
	size_t n_fds;
	bool mad_keeper;
	int ends[2];

	if (!*never) {
		log_set_level(LOG_LEVEL_ERROR);
		make_files();
		inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		FUZZ_CHECK(inotify >= 0);
	}
	may.n = may.n_watch = 0;
	may.sealed = false;
	mad_keeper = fuzz_u8(&in) & 1;
	n_fds = count_fds();
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	run(&in, ends[0], ends[1], mad_keeper);
	close(ends[0]);
	close(ends[1]);
	FUZZ_CHECK(count_fds() == n_fds);
	return 0;
}
