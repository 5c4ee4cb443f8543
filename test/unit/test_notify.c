/* Notify: what a service manager is told, by one that reads and by one that does not. */
#include "agent/notify.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct notify n;
static int manager = -1;

static void listen_at(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t len = strlen(name);

	memcpy(a.sun_path, name, len);
	if (name[0] == '@')
		a.sun_path[0] = 0;
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(manager >= 0);
	assert_int_equal(
		bind(manager, (struct sockaddr *)&a, offsetof(struct sockaddr_un, sun_path) + len + (name[0] != '@')),
		0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
}

static int setup(void **state)
{
	char name[64];

	snprintf(name, sizeof name, "@secretlet-test-notify-%d", (int)getpid());
	listen_at(name);
	return notify_open(&n);
}

static int teardown(void **state)
{
	notify_close(&n);
	manager = close_fd(manager);
	return 0;
}

/* The next message, with its fd if it has one; "" if there is none. */
static const char *told(int *ret_fd)
{
	static char text[256];
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = text, .iov_len = sizeof text - 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes
	};
	ssize_t len = recvmsg(manager, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;
	int fd = -1;

	text[len > 0 ? len : 0] = 0;
	if (len <= 0)
		return text;
	c = CMSG_FIRSTHDR(&m);
	if (c)
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
	if (ret_fd)
		*ret_fd = fd;
	else
		close_fd(fd);
	return text;
}

/* Until it would have to wait. Returns how many there are. */
static size_t fill(void)
{
	size_t i = 0;

	while (sendto(n.socket, "X=1", 3, MSG_DONTWAIT, (struct sockaddr *)&n.address, n.address_len) == 3)
		i++;
	assert_int_equal(errno, EAGAIN);
	assert_true(i > 0);
	return i;
}

static void drain(size_t n_messages)
{
	while (n_messages-- > 0)
		assert_string_equal(told(NULL), "X=1");
}

static void assert_same_file(int a, int b)
{
	struct stat x, y;

	assert_int_equal(fstat(a, &x), 0);
	assert_int_equal(fstat(b, &y), 0);
	assert_int_equal(x.st_ino, y.st_ino);
}

static void a_manager_that_reads_is_told_at_once(void **state)
{
	int fd = -1;

	assert_true(notify_is_open(&n));
	assert_null(getenv("NOTIFY_SOCKET"));
	notify_state(&n, "READY=1");
	notify_fd_store(&n, "one", n.socket);
	notify_fd_remove(&n, "one");
	notify_sign(&n, "WATCHDOG=1");
	assert_string_equal(told(NULL), "READY=1");
	assert_string_equal(told(&fd), "FDSTORE=1\nFDNAME=one");
	assert_same_file(fd, n.socket);
	close_fd(fd);
	assert_string_equal(told(NULL), "FDSTOREREMOVE=1\nFDNAME=one");
	assert_string_equal(told(NULL), "WATCHDOG=1");
	assert_string_equal(told(NULL), "");
}

static void what_a_full_queue_does_not_take_is_told_later_in_order(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), got = -1, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	size_t full = fill();

	notify_fd_store(&n, "arena", fd);
	notify_fd_store(&n, "fuse", fd);
	close(fd); /* it is the copy that counts */
	notify_state(&n, "STATUS=serving");
	notify_state(&n, "READY=1");
	notify_sign(&n, "WATCHDOG=1");
	notify_flush(&n);
	drain(full);
	assert_string_equal(told(NULL), "");
	/* what comes now must not overtake it */
	notify_state(&n, "STOPPING=1");
	assert_string_equal(told(&got), "FDSTORE=1\nFDNAME=arena");
	assert_same_file(got, null);
	close_fd(got);
	assert_string_equal(told(NULL), "FDSTORE=1\nFDNAME=fuse");
	assert_string_equal(told(NULL), "STATUS=serving");
	assert_string_equal(told(NULL), "READY=1");
	assert_string_equal(told(NULL), "STOPPING=1");
	assert_string_equal(told(NULL), "");
	close_fd(null);
}

static void only_the_last_of_what_contradicts_itself_is_owed(void **state)
{
	size_t full = fill();

	for (int i = 0; i < 100; i++) {
		char reloading[64];

		snprintf(reloading, sizeof reloading, "RELOADING=1\nMONOTONIC_USEC=%d", i);
		notify_state(&n, "STATUS=serving");
		notify_state(&n, "READY=1");
		notify_state(&n, "STATUS=restarting the agent");
		notify_state(&n, reloading);
		notify_fd_remove(&n, "fuse");
		notify_fd_store(&n, "fuse", n.socket);
		notify_fd_store(&n, "fuse", n.socket);
	}
	drain(full);
	notify_flush(&n);
	assert_string_equal(told(NULL), "READY=1");
	assert_string_equal(told(NULL), "STATUS=restarting the agent");
	assert_string_equal(told(NULL), "RELOADING=1\nMONOTONIC_USEC=99");
	assert_string_equal(told(NULL), "FDSTOREREMOVE=1\nFDNAME=fuse");
	assert_string_equal(told(NULL), "FDSTORE=1\nFDNAME=fuse");
	assert_string_equal(told(NULL), "");
}

static void an_fd_that_was_not_stored_yet_is_let_go_when_it_is_removed(void **state)
{
	int ends[2];
	char c;
	size_t full = fill();

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	notify_fd_store(&n, "fuse", ends[1]);
	close(ends[1]);
	assert_int_equal(read(ends[0], &c, 1), -1); /* the copy is open */
	notify_fd_remove(&n, "fuse");
	assert_int_equal(read(ends[0], &c, 1), 0);
	drain(full);
	notify_flush(&n);
	/* an earlier one may have been */
	assert_string_equal(told(NULL), "FDSTOREREMOVE=1\nFDNAME=fuse");
	assert_string_equal(told(NULL), "");
	close(ends[0]);
}

static void what_is_owed_is_bounded(void **state)
{
	char name[32];

	fill();
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "name-%d", i);
		notify_fd_store(&n, name, n.socket);
	}
	assert_int_equal(n.n_owed, NOTIFY_OWED_MAX);
}

static void a_manager_that_comes_back_is_told(void **state)
{
	char name[64];

	manager = close_fd(manager);
	notify_state(&n, "READY=1");
	snprintf(name, sizeof name, "@secretlet-test-notify-%d", (int)getpid());
	listen_at(name);
	notify_flush(&n);
	assert_string_equal(told(NULL), "READY=1");
}

static void it_may_listen_on_a_path(void **state)
{
	char dir[] = "/tmp/secretlet-notify-XXXXXX", path[64];

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/notify", dir);
	listen_at(path);
	assert_int_equal(notify_open(&n), 0);
	notify_state(&n, "READY=1");
	assert_string_equal(told(NULL), "READY=1");
	unlink(path);
	rmdir(dir);
}

static void without_a_manager_nothing_is_told(void **state)
{
	static const char *const bad[] = { "", "/", "@", "vsock:2:1234", "relative" };

	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_open(&n), 0);
	assert_false(notify_is_open(&n));
	notify_state(&n, "READY=1");
	notify_sign(&n, "WATCHDOG=1");
	notify_fd_store(&n, "one", STDIN_FILENO);
	notify_fd_remove(&n, "one");
	notify_flush(&n);
	assert_int_equal(n.n_owed, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(setenv("NOTIFY_SOCKET", bad[i], 1), 0);
		assert_int_equal(notify_open(&n), -EINVAL);
		assert_false(notify_is_open(&n));
		assert_null(getenv("NOTIFY_SOCKET"));
	}
}

#define managed(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		managed(a_manager_that_reads_is_told_at_once),
		managed(what_a_full_queue_does_not_take_is_told_later_in_order),
		managed(only_the_last_of_what_contradicts_itself_is_owed),
		managed(an_fd_that_was_not_stored_yet_is_let_go_when_it_is_removed),
		managed(what_is_owed_is_bounded),
		managed(a_manager_that_comes_back_is_told),
		cmocka_unit_test_teardown(it_may_listen_on_a_path, teardown),
		cmocka_unit_test_teardown(without_a_manager_nothing_is_told, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
