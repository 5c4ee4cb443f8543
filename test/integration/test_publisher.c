/* The publisher process on a folder of its own: what somebody else does to the files must not keep it from answering. */
#include "fusefs/publisher.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "fusefs/order.h"

static char dir[32];
static int root, sock;
static pid_t pid;

static int setup(void **state)
{
	int fds[2];

	signal(SIGIO, SIG_IGN); /* of a lease that is broken */
	snprintf(dir, sizeof dir, "/tmp/test_publisher.XXXXXX");
	assert_non_null(mkdtemp(dir));
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		publisher_run(fds[1], root);
		_exit(1);
	}
	close(fds[1]);
	sock = fds[0];
	return 0;
}

static int teardown(void **state)
{
	close(sock);
	close(root);
	waitpid(pid, NULL, 0);
	rmdir(dir);
	return 0;
}

/* One step without a second path, and its answer; false when none comes. */
static bool run_step(enum order_op op, const char *path, struct order_answer *ret_a)
{
	struct {
		struct order_head head;
		struct order_step step;
		char path[64];
	} msg = { .head = { .id = 7, .n_steps = 1 }, .step = { .op = op, .path_len = strlen(path) + 1 } };
	size_t len = sizeof msg.head + sizeof msg.step + msg.step.path_len;

	memcpy(msg.path, path, msg.step.path_len);
	assert_int_equal(send(sock, &msg, len, 0), len);
	if (poll(&(struct pollfd){ .fd = sock, .events = POLLIN }, 1, 20000) != 1)
		return false;
	assert_int_equal(recv(sock, ret_a, sizeof *ret_a, 0), sizeof *ret_a);
	assert_int_equal(ret_a->id, 7);
	return true;
}

static void a_lease_of_somebody_elses_keeps_nobody_waiting(void **state)
{
	cleanup_fd int fd = openat(root, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	struct order_answer a;
	bool answered;

	assert_true(fd >= 0);
	assert_true(run_step(ORDER_READ_FILE, "file", &a));
	assert_int_equal(a.failed, ORDER_DONE);
	assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
	answered = run_step(ORDER_READ_FILE, "file", &a);
	assert_int_equal(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
	assert_int_equal(unlinkat(root, "file", 0), 0);
	assert_true(answered);
	assert_int_equal(a.failed, 0);
	assert_int_equal(a.error, EAGAIN);
}

/* A folder beside ours: by its path, by what is above us, and by links in the tree, which are the agent's. */
static void no_order_reaches_what_is_outside_the_mount(void **state)
{
	char outside[] = "/tmp/test_publisher_out.XXXXXX", file[64], link[64], up[64];
	const char *const paths[] = { file, up, "link/file" };
	cleanup_fd int fd = -1;
	struct order_answer a;
	struct stat st;

	assert_non_null(mkdtemp(outside));
	snprintf(file, sizeof file, "%s/file", outside);
	snprintf(up, sizeof up, "../%s/file", outside + strlen("/tmp/"));
	snprintf(link, sizeof link, "%s/link", dir);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(symlink(outside, link), 0);

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		assert_true(run_step(ORDER_CHMOD, paths[i], &a));
		assert_int_equal(a.error, ENOENT);
		assert_true(run_step(ORDER_UNLINK, paths[i], &a));
		assert_int_equal(a.error, ENOENT);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
		assert_int_equal(st.st_nlink, 1);
	}
	assert_int_equal(unlink(file), 0);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(rmdir(outside), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_lease_of_somebody_elses_keeps_nobody_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(no_order_reaches_what_is_outside_the_mount, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
