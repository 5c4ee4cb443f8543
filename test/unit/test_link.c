/* Link and files_keeper: what travels between keeper and agent, and what must not. */
#include "agent/link.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "agent/files_keeper.h"
#include "agent/opener.h"
#include "test/lib/skip.h"
#include "test/lib/valgrind.h"

static int ends[2];

static int open_pair(void **state)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int close_pair(void **state)
{
	ends[0] = close_fd(ends[0]);
	ends[1] = close_fd(ends[1]);
	return 0;
}

static size_t count_fds(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int open_null(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void a_message_arrives_as_it_was_sent(void **state)
{
	struct link_message m;
	int fd = 99;

	assert_int_equal(link_send(ends[0], LINK_OPEN, 7, -3, "/etc/passwd", -1), 0);
	assert_int_equal(link_receive(ends[1], &m, &fd), 0);
	assert_int_equal(m.type, LINK_OPEN);
	assert_int_equal(m.id, 7);
	assert_int_equal(m.value, -3);
	assert_string_equal(m.path, "/etc/passwd");
	assert_int_equal(fd, -1);
}

static void an_fd_travels_with_it(void **state)
{
	cleanup_fd int null = open_null();
	cleanup_fd int fd = -1;
	struct link_message m;
	struct stat a, b;

	assert_int_equal(link_send(ends[0], LINK_OPENED, 1, 0, NULL, null), 0);
	assert_int_equal(link_receive(ends[1], &m, &fd), 0);
	assert_int_equal(fstat(null, &a), 0);
	assert_int_equal(fstat(fd, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void the_end_and_the_silence_of_the_other_side_are_told_apart(void **state)
{
	struct link_message m;
	int fd;

	assert_int_equal(link_receive(ends[1], &m, &fd), -EAGAIN);
	ends[0] = close_fd(ends[0]);
	assert_int_equal(link_receive(ends[1], &m, &fd), -EPIPE);
	assert_int_equal(link_send(ends[1], LINK_READY, 0, 0, NULL, -1), -EPIPE);
}

static void a_path_that_is_too_long_is_not_sent(void **state)
{
	char path[PATH_MAX + 1];
	struct link_message m;
	int fd;

	memset(path, 'a', PATH_MAX);
	path[PATH_MAX] = 0;
	assert_int_equal(link_send(ends[0], LINK_OPEN, 0, 0, path, -1), -ENAMETOOLONG);
	assert_int_equal(link_receive(ends[1], &m, &fd), -EAGAIN);
}

static void send_raw(const void *data, size_t len, const int *fds, size_t n_fds)
{
	union {
		char bytes[CMSG_SPACE(3 * sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	struct msghdr h = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.bytes,
			    .msg_controllen = CMSG_SPACE(n_fds * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	assert_non_null(c);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	assert_true(sendmsg(ends[0], &h, 0) >= 0);
}

/* Packets that are not exactly a header and its path are refused, and their fds do not pile up. */
static void malformed_packets_are_refused_and_their_fds_closed(void **state)
{
	const size_t head = offsetof(struct link_message, path);
	const struct {
		size_t len, path_len;
		const char *path;
	} cases[] = {
		{ 1, 4, "/etc" }, /* shorter than the header */
		{ head, 4, "/etc" }, /* path missing */
		{ head + 3, 4, "/etc" }, /* path cut */
		{ head + 5, 4, "/etc" }, /* something behind it */
		{ head + 4, 4, "/\0tc" }, /* a NUL in the path */
		{ sizeof(struct link_message), PATH_MAX, "/etc" }, /* no room for the NUL behind it */
	};
	size_t before = count_fds();
	struct link_message m;
	int fd = -1;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct link_message raw = { .type = LINK_OPEN, .path_len = cases[i].path_len };

		memset(raw.path, 'a', sizeof(raw.path));
		memcpy(raw.path, cases[i].path, MIN(cases[i].path_len, (size_t)4));
		/* one fd, which alone is no reason to refuse it */
		send_raw(&raw, cases[i].len, (int[]){ 0 }, 1);
		assert_int_equal(link_receive(ends[1], &m, &fd), -EBADMSG);
		assert_int_equal(fd, -1);
		assert_int_equal(count_fds(), before);
	}
	/* an empty one is not the end of the other side, and its fds count as well */
	send_raw("", 0, (int[]){ 0, 0, 0 }, 3);
	assert_int_equal(link_receive(ends[1], &m, &fd), -EBADMSG);
	assert_int_equal(count_fds(), before);
	/* a good one with too many fds is no good one */
	m = (struct link_message){ .type = LINK_READY };
	send_raw(&m, head, (int[]){ 0, 1 }, 2);
	assert_int_equal(link_receive(ends[1], &m, &fd), -EBADMSG);
	assert_int_equal(count_fds(), before);
	/* and the next good one is read as if nothing had been */
	assert_int_equal(link_send(ends[0], LINK_READY, 0, 0, NULL, -1), 0);
	assert_int_equal(link_receive(ends[1], &m, &fd), 0);
	assert_int_equal(m.type, LINK_READY);
}

/* The kernel drops an fd for which there is no room, and only says so with a flag. */
static void a_message_whose_fd_was_lost_is_refused(void **state)
{
	struct rlimit before, full;
	struct link_message m;
	int fd = -1, r;

	if (under_valgrind())
		skip_because("valgrind keeps the limit of open files to itself");
	assert_int_equal(link_send(ends[0], LINK_OPENED, 1, 0, NULL, 0), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	full = before;
	full.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
	r = link_receive(ends[1], &m, &fd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(r, -EBADMSG);
	assert_int_equal(fd, -1);
}

static void nobody_waits_for_one_who_does_not_read(void **state)
{
	int r = 0;

	alarm(30);
	for (unsigned i = 0; i < 100000 && r == 0; i++)
		r = link_send(ends[0], LINK_OPEN, i, 0, "/etc/hostname", -1);
	alarm(0);
	assert_int_equal(r, -EAGAIN);
}

/* --- files_keeper --- */

struct opened {
	int n, fd, r;
};

static void on_open(void *userdata, int fd, int r)
{
	struct opened *o = userdata;

	o->n++;
	o->fd = fd;
	o->r = r;
}

static void answers_find_their_request(void **state)
{
	struct opened a = { .fd = -1 }, b = { .fd = -1 };
	struct link_message first, second;
	struct files *f;
	int fd, null = open_null();

	assert_int_equal(files_keeper_new(ends[0], &f), 0);
	assert_int_equal(files_open(f, "/a", on_open, &a), 0);
	assert_int_equal(files_open(f, "/b", on_open, &b), 0);
	assert_int_equal(link_receive(ends[1], &first, &fd), 0);
	assert_int_equal(link_receive(ends[1], &second, &fd), 0);
	second.value = 0; /* answered in the other order */
	files_keeper_opened(f, &second, null);
	assert_int_equal(a.n, 0);
	assert_int_equal(b.n, 1);
	assert_int_equal(b.r, 0);
	assert_int_equal(b.fd, null);
	first.value = -ENOENT;
	files_keeper_opened(f, &first, -1);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.r, -ENOENT);
	assert_int_equal(a.fd, -1);
	close(null);
	files_free(f);
}

static void success_without_an_fd_is_a_failure(void **state)
{
	struct opened a = { .fd = 99 };
	struct link_message m;
	struct files *f;
	int fd;

	assert_int_equal(files_keeper_new(ends[0], &f), 0);
	assert_int_equal(files_open(f, "/a", on_open, &a), 0);
	assert_int_equal(link_receive(ends[1], &m, &fd), 0);
	m.value = 0;
	files_keeper_opened(f, &m, -1);
	assert_int_equal(a.r, -EBADMSG);
	assert_int_equal(a.fd, -1);
	files_free(f);
}

static void a_cancelled_request_is_not_answered_and_its_fd_is_closed(void **state)
{
	struct opened a = { .fd = -1 };
	size_t before = count_fds();
	struct link_message m;
	struct files *f;
	int fd;

	assert_int_equal(files_keeper_new(ends[0], &f), 0);
	assert_int_equal(files_open(f, "/a", on_open, &a), 0);
	files_cancel(f, &a);
	assert_int_equal(link_receive(ends[1], &m, &fd), 0);
	m.value = 0;
	files_keeper_opened(f, &m, open_null());
	assert_int_equal(a.n, 0);
	assert_int_equal(count_fds(), before);
	m.id = 4711; /* an answer to nothing at all */
	files_keeper_opened(f, &m, open_null());
	assert_int_equal(count_fds(), before);
	files_free(f);
}

static void nothing_is_added_to_the_list_once_it_is_sealed(void **state)
{
	struct link_message m;
	struct files *f;
	int fd;

	assert_int_equal(files_keeper_new(ends[0], &f), 0);
	assert_int_equal(files_allow_file(f, "relative"), -EINVAL);
	assert_int_equal(files_allow_file(f, "/token"), 0);
	assert_int_equal(files_keeper_seal(f), 0);
	assert_int_equal(files_allow_file(f, "/etc/shadow"), -EPERM);
	assert_int_equal(files_allow_dir(f, "/etc"), -EPERM);
	assert_int_equal(link_receive(ends[1], &m, &fd), 0);
	assert_int_equal(m.type, LINK_ALLOW_FILE);
	assert_string_equal(m.path, "/token");
	assert_int_equal(link_receive(ends[1], &m, &fd), 0);
	assert_int_equal(m.type, LINK_SEAL);
	assert_int_equal(link_receive(ends[1], &m, &fd), -EAGAIN);
	files_free(f);
}

static void only_what_is_on_the_fixed_list_is_opened(void **state)
{
	static const struct {
		const char *path;
		int value;
	} cases[] = {
		{ "/dev/null", 0 },
		{ "/etc/passwd", 0 },
		{ "/etc/secretlet-does-not-exist", -ENOENT },
		{ "/etc/../dev/zero", -EACCES },
		{ "/dev/zero", -EACCES },
		{ "/etc/ssl/openssl.cnf", -EACCES },
		{ "", -EACCES },
	};
	struct opener o = OPENER_INIT;
	struct link_message m;
	int fd = -1;

	o.never[0] = "/etc/ssl";
	assert_int_equal(opener_allow(&o, "/etc/ssl/openssl.cnf", false), -EDEADLK);
	assert_int_equal(opener_allow(&o, "/etc/ssl", true), -EDEADLK);
	/* however it is written */
	assert_int_equal(opener_allow(&o, "/etc//ssl/openssl.cnf", false), -EDEADLK);
	assert_int_equal(opener_allow(&o, "/etc/./ssl/", true), -EDEADLK);
	assert_int_equal(opener_allow(&o, "/../usr/../etc/x/.././ssl", true), -EDEADLK);
	assert_int_equal(opener_allow(&o, "/etc/ssl/x/../../sslx", false), -EDEADLK);
	assert_int_equal(opener_allow(&o, "/etc/sslx/../ssl.x", false), 0);
	assert_int_equal(opener_allow(&o, "/dev/null", false), 0);
	assert_int_equal(opener_allow(&o, "/etc", true), 0);
	assert_int_equal(opener_allow(&o, "relative", false), -EINVAL);
	assert_int_equal(opener_answer(&o, ends[0], 1, "/dev/null"), -EACCES);
	assert_int_equal(link_receive(ends[1], &m, &fd), 0);
	opener_seal(&o);
	assert_int_equal(opener_allow(&o, "/dev/zero", false), -EPERM);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(opener_answer(&o, ends[0], (uint32_t)i, cases[i].path),
				 cases[i].value == -EACCES ? -EACCES : 0);
		assert_int_equal(link_receive(ends[1], &m, &fd), 0);
		assert_int_equal(m.id, i);
		assert_int_equal(m.value, cases[i].value);
		assert_int_equal(fd >= 0, cases[i].value == 0);
		close_fd(fd);
	}
	opener_deinit(&o);
}

static void on_watch(void *userdata, int wd)
{
	struct opened *o = userdata;

	o->n++;
	o->r = wd;
}

static void a_watch_is_asked_for_with_the_instance_it_is_for(void **state)
{
	static const int answers[] = { 3, -ENOENT, 0 };
	cleanup_fd int inotify = inotify_init1(IN_CLOEXEC);
	size_t before = count_fds();
	struct link_message m;
	struct files *f;
	int fd = -1;

	assert_int_equal(files_keeper_new(ends[0], &f), 0);
	assert_int_equal(files_allow_watch(f, "/a", IN_DELETE | IN_ONLYDIR), 0);
	assert_int_equal(link_receive(ends[1], &m, &fd), 0);
	assert_int_equal(m.type, LINK_ALLOW_WATCH);
	assert_int_equal(m.value, IN_DELETE | IN_ONLYDIR);
	assert_string_equal(m.path, "/a");
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct opened a = { .n = 0 };

		assert_int_equal(files_watch(f, inotify, "/a", on_watch, &a), 0);
		assert_int_equal(link_receive(ends[1], &m, &fd), 0);
		assert_int_equal(m.type, LINK_WATCH);
		assert_true(inotify_add_watch(fd, "/", IN_DELETE) > 0);
		close_fd(fd);
		m.value = answers[i];
		/* nothing that comes with the answer stays open */
		files_keeper_opened(f, &m, open_null());
		assert_int_equal(a.n, 1);
		assert_int_equal(a.r, answers[i] ?: -EBADMSG);
	}
	/* one that nobody waits for any more */
	assert_int_equal(files_watch(f, inotify, "/a", on_watch, state), 0);
	files_cancel(f, state);
	assert_int_equal(link_receive(ends[1], &m, &fd), 0);
	close_fd(fd);
	m.value = 3;
	files_keeper_opened(f, &m, -1);
	assert_int_equal(count_fds(), before);
	assert_int_equal(files_keeper_seal(f), 0);
	assert_int_equal(files_allow_watch(f, "/b", IN_DELETE), -EPERM);
	files_free(f);
}

static void only_folders_of_the_fixed_list_are_watched(void **state)
{
	cleanup_fd int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char dir[] = "/tmp/test_link.XXXXXX", file[64], gone[64];
	struct inotify_event events[4];
	struct opener o = OPENER_INIT;
	int fd = -1, null = open_null();
	struct link_message m;
	const struct {
		const char *path;
		int inotify, value; /* value 1: it is watched */
	} cases[] = {
		{ dir, inotify, 1 },	      { dir, null, -EINVAL }, /* whatever the agent sends */
		{ dir, -1, -EBADF },	      { gone, inotify, -ENOENT },
		{ file, inotify, -EACCES }, /* to be opened only */
		{ "/tmp", inotify, -EACCES }, { "/tmp/../tmp", inotify, -EACCES },
		{ "", inotify, -EACCES },
	};

	assert_non_null(mkdtemp(dir));
	snprintf(file, sizeof(file), "%s/file", dir);
	snprintf(gone, sizeof(gone), "%s/gone", dir);
	o.never[0] = "/etc/ssl";
	assert_int_equal(opener_allow(&o, file, true), 0);
	assert_int_equal(opener_allow_watch(&o, dir, IN_DELETE), 0);
	assert_int_equal(opener_allow_watch(&o, dir, IN_CREATE | IN_MASK_ADD), 0);
	assert_int_equal(opener_allow_watch(&o, gone, IN_DELETE), 0);
	assert_int_equal(opener_allow_watch(&o, "/etc/ssl/certs", IN_DELETE), -EDEADLK);
	assert_int_equal(opener_watch(&o, ends[0], 7, dir, inotify), -EACCES);
	assert_int_equal(link_receive(ends[1], &m, &fd), 0);
	assert_int_equal(m.value, -EACCES);
	opener_seal(&o);
	assert_int_equal(opener_allow_watch(&o, "/tmp", IN_DELETE), -EPERM);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(opener_watch(&o, ends[0], (uint32_t)i, cases[i].path, cases[i].inotify),
				 cases[i].value == -EACCES ? -EACCES : 0);
		assert_int_equal(link_receive(ends[1], &m, &fd), 0);
		assert_int_equal(m.type, LINK_OPENED);
		assert_int_equal(m.id, i);
		assert_int_equal(MIN(m.value, 1), cases[i].value);
		assert_int_equal(fd, -1);
	}
	/* for all that it is on the list for, and nothing else; and it may not be opened for that */
	assert_int_equal(mkdir(file, 0700), 0);
	assert_int_equal(rmdir(file), 0);
	assert_int_equal(read(inotify, events, sizeof(events)), 2 * (sizeof(struct inotify_event) + 16));
	assert_int_equal(opener_answer(&o, ends[0], 8, dir), -EACCES);
	assert_int_equal(rmdir(dir), 0);
	close(null);
	opener_deinit(&o);
}

static void an_answer_that_is_not_taken_at_once_is_not_lost(void **state)
{
	struct opener o = OPENER_INIT;
	size_t before = count_fds();
	struct link_message m;
	uint32_t n = 0, told = 0;
	int fd = -1;

	assert_int_equal(opener_allow(&o, "/dev/null", false), 0);
	opener_seal(&o);
	while (n < 100000 && opener_flush(&o, ends[0]) == 0)
		assert_int_equal(opener_answer(&o, ends[0], n++, "/dev/null"), 0);
	assert_int_equal(opener_flush(&o, ends[0]), -EAGAIN);
	assert_true(n > 1);
	while (link_receive(ends[1], &m, &fd) == 0) {
		assert_int_equal(m.id, told++);
		assert_int_equal(m.value, 0);
		assert_true(fd >= 0);
		close_fd(fd);
		assert_int_equal(opener_flush(&o, ends[0]), 0);
	}
	assert_int_equal(told, n);
	/* nobody is left who could be told */
	while (n < 100000 && opener_flush(&o, ends[0]) == 0)
		assert_int_equal(opener_answer(&o, ends[0], n++, "/dev/null"), 0);
	ends[1] = close_fd(ends[1]);
	assert_int_equal(opener_flush(&o, ends[0]), -EPIPE);
	assert_int_equal(opener_flush(&o, ends[0]), 0);
	opener_deinit(&o);
	assert_int_equal(count_fds(), before - 1);
}

#define with_pair(test) cmocka_unit_test_setup_teardown(test, open_pair, close_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_pair(a_message_arrives_as_it_was_sent),
		with_pair(an_fd_travels_with_it),
		with_pair(the_end_and_the_silence_of_the_other_side_are_told_apart),
		with_pair(a_path_that_is_too_long_is_not_sent),
		with_pair(malformed_packets_are_refused_and_their_fds_closed),
		with_pair(a_message_whose_fd_was_lost_is_refused),
		with_pair(nobody_waits_for_one_who_does_not_read),
		with_pair(answers_find_their_request),
		with_pair(success_without_an_fd_is_a_failure),
		with_pair(a_cancelled_request_is_not_answered_and_its_fd_is_closed),
		with_pair(nothing_is_added_to_the_list_once_it_is_sealed),
		with_pair(only_what_is_on_the_fixed_list_is_opened),
		with_pair(a_watch_is_asked_for_with_the_instance_it_is_for),
		with_pair(only_folders_of_the_fixed_list_are_watched),
		with_pair(an_answer_that_is_not_taken_at_once_is_not_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
