/* Signaller process, with the test as its keeper: that it asks to be connected, whatever has become of the last time. */
#include "agent/signaller.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/keeper.h"
#include "agent/link.h"
#include "test/lib/valgrind.h"

#define WAIT_MSEC 30000
#define LONG_MSEC 3000 /* some times as long as it takes to ask */

static struct {
	pid_t pid;
	int link;
} t;

static int begin(void **state)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	t.pid = fork();
	assert_true(t.pid >= 0);
	if (t.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (dup2(pair[1], KEEPER_FD_LINK) < 0)
			_exit(EXIT_FAILURE);
		close_range(KEEPER_FD_LINK + 1, ~0u, 0);
		_exit(signaller_run(makedev(0, 98)));
	}
	close(pair[1]);
	t.link = pair[0];
	return 0;
}

static int end(void **state)
{
	int status;

	assert_int_equal(link_send(t.link, LINK_STOP, 0, 0, NULL, -1), 0);
	assert_int_equal(waitpid(t.pid, &status, 0), t.pid);
	close(t.link);
	return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS ? 0 : -1;
}

static bool asks(int wait_msec)
{
	struct pollfd p = { .fd = t.link, .events = POLLIN };
	static struct link_message m;
	int fd;

	if (poll(&p, 1, wait_msec) != 1)
		return false;
	assert_int_equal(link_receive(t.link, &m, &fd), 0);
	assert_int_equal(m.type, LINK_SIGNALLER);
	assert_int_equal(fd, -1);
	return true;
}

/* What it has asked until now; it may ask once more while it is answered. */
static void connect_it(int pair[static 2])
{
	while (asks(0))
		;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(link_send(t.link, LINK_SIGNALLER, 0, 0, NULL, pair[1]), 0);
	close(pair[1]);
	(void)asks(LONG_MSEC / 2);
}

static void it_asks_until_it_is_connected(void **state)
{
	int pair[2];

	assert_true(asks(WAIT_MSEC));
	assert_true(asks(WAIT_MSEC));
	connect_it(pair);
	assert_false(asks(LONG_MSEC));
	/* and when the agent has gone */
	close(pair[0]);
	assert_true(asks(WAIT_MSEC));
}

/* A connection that did not come through. */
static void it_asks_again_when_it_cannot_be_connected(void **state)
{
	int pair[2], none = memfd_create("none", MFD_CLOEXEC); /* epoll(7) does not take it */

	assert_true(none >= 0);
	connect_it(pair);
	assert_false(asks(LONG_MSEC));
	assert_int_equal(link_send(t.link, LINK_SIGNALLER, 0, 0, NULL, none), 0);
	close(none);
	assert_true(asks(WAIT_MSEC));
	close(pair[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_asks_until_it_is_connected),
		TEST(it_asks_again_when_it_cannot_be_connected),
	};

	/* its system calls are not valgrind's */
	if (geteuid() != 0 || under_valgrind())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
