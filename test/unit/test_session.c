/* Session: what a successor makes of the connection that it finds. The kernel is one end of a socket pair. */
#include "fusefs/session.h"

#include <linux/fuse.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "common/clock.h"
#include "fusefs/publish.h"

#define UNIQUE 42

static struct arena_connection c;
static struct loop *loop;
static int kernel = -1;

/* The kernel before 6.9: it knows no notification to send requests again. */
ssize_t write(int fd, const void *data, size_t len)
{
	const struct fuse_out_header *head = data;

	if (fd != STDERR_FILENO && len == sizeof *head && head->unique == 0 && head->error > 0) {
		errno = EINVAL;
		return -1;
	}
	return syscall(SYS_write, fd, data, len);
}

#define PUBLISHER 77

static void ended(void *userdata, int r)
{
}

static int setup(void **state)
{
	struct {
		struct fuse_in_header head;
		struct fuse_init_in in;
	} init = {
		.head = { .len = sizeof init, .opcode = FUSE_INIT, .unique = 2 },
		.in = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_readahead = 131072 }
	};

	memset(&c, 0, sizeof c);
	memcpy(c.init, &init, sizeof init);
	c.init_len = sizeof init;
	return loop_new(&loop);
}

static int teardown(void **state)
{
	loop_free(loop);
	kernel = close_fd(kernel);
	return 0;
}

/* An agent was answering this when it died. */
static void die_of_a_request(void)
{
	const struct fuse_in_header head = { .len = sizeof head, .opcode = 63, .unique = UNIQUE };

	memcpy(c.slot.request, &head, sizeof head);
	c.slot.since_usec = 1;
}

/* A session on what is there. Returns the error that the request is answered with; 1: it is not answered. */
static int resume(bool works)
{
	struct fuse_out_header out;
	uint32_t init_len = c.init_len;
	struct session *s = NULL;
	int ends[2], r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	close_fd(kernel);
	kernel = ends[0];
	if (!works)
		c.init_len = 1;
	r = session_new(loop, ends[1], NULL, NULL, &c, ended, NULL, &s, NULL);
	assert_int_equal(r, works ? 0 : -EBADMSG);
	c.init_len = init_len;
	session_free(s);
	if (recv(kernel, &out, sizeof out, MSG_DONTWAIT) != sizeof out)
		return 1;
	assert_int_equal(out.unique, UNIQUE);
	return out.error;
}

static void a_request_that_agents_die_of_is_refused(void **state)
{
	for (int i = 1; i < SESSION_DEATHS_MAX; i++) {
		die_of_a_request();
		assert_int_equal(resume(true), -ENOSYS);
		assert_int_equal(c.slot.n_deaths, i);
	}
	die_of_a_request();
	assert_int_equal(resume(true), -EIO);
	assert_int_equal(resume(true), 1);
}

static void a_successor_that_does_not_get_to_it_is_no_death(void **state)
{
	die_of_a_request();
	for (int i = 0; i < SESSION_DEATHS_MAX + 1; i++) {
		assert_int_equal(resume(false), 1);
		assert_int_equal(c.slot.n_deaths, 1);
	}
	assert_int_equal(resume(true), -ENOSYS);
}

static void one_that_dies_of_it_again_is(void **state)
{
	die_of_a_request();
	assert_int_equal(resume(false), 1);
	die_of_a_request();
	assert_int_equal(resume(false), 1);
	assert_int_equal(c.slot.n_deaths, 2);
	c.slot.since_usec = 0;
	assert_int_equal(resume(true), -ENOSYS);
}

/* A batch that says that it is longer than it is, and names without an end. */
static void a_request_that_is_not_whole_is_not_carried_out(void **state)
{
	const struct {
		uint32_t opcode;
		size_t len;
		int answer;
	} cases[] = {
		{ FUSE_BATCH_FORGET, sizeof(struct fuse_batch_forget_in) + 3 * sizeof(struct fuse_forget_one), 1 },
		{ FUSE_FORGET, 7, 1 },
		{ FUSE_LOOKUP, 8, -EINVAL },
		{ FUSE_RENAME, sizeof(struct fuse_rename_in) + 4, -EINVAL },
		{ FUSE_READ, sizeof(struct fuse_read_in) - 1, -EINVAL },
		{ FUSE_NOTIFY_REPLY, 64, 1 },
		{ FUSE_DESTROY, 0, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fuse_in_header head = { .len = sizeof head + cases[i].len,
						     .opcode = cases[i].opcode,
						     .unique = UNIQUE };

		memset(c.slot.request, 'x', sizeof c.slot.request);
		memcpy(c.slot.request, &head, sizeof head);
		c.slot.since_usec = 1;
		c.slot.n_deaths = 0;
		assert_int_equal(resume(true), cases[i].answer);
	}
}

/* INIT was read and not yet kept. */
static void die_of_init(void)
{
	memcpy(c.slot.request, c.init, sizeof c.init);
	((struct fuse_in_header *)c.slot.request)->unique = UNIQUE;
	c.slot.since_usec = 1;
	c.init_len = 0;
}

static void an_init_that_was_only_read_is_answered(void **state)
{
	struct {
		struct fuse_out_header head;
		struct fuse_init_out out;
	} answer;
	uint32_t len = c.init_len;
	struct session *s;
	int ends[2];

	die_of_init();
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	kernel = ends[0];
	assert_int_equal(session_new(loop, ends[1], NULL, NULL, &c, ended, NULL, &s, NULL), 0);
	assert_int_equal(recv(kernel, &answer, sizeof answer, MSG_DONTWAIT), sizeof answer);
	assert_int_equal(answer.head.unique, UNIQUE);
	assert_int_equal(answer.head.error, 0);
	assert_int_equal(answer.out.major, FUSE_KERNEL_VERSION);
	assert_true(session_stats(s)->initialised);
	assert_false(session_stats(s)->resumed);
	session_free(s);
	/* and the next one finds it where it should be */
	assert_int_equal(c.init_len, len);
	assert_int_equal(resume(true), 1);
}

static void an_init_that_agents_die_of_is_refused(void **state)
{
	die_of_init();
	c.slot.n_deaths = SESSION_DEATHS_MAX - 1;
	c.slot.deadly_unique = UNIQUE;
	assert_int_equal(resume(true), -EIO);
	/* nor is anything else taken that is found there */
	die_of_a_request();
	assert_int_equal(resume(true), 1);
}

static struct fuse_attr_out set_mode(struct session *s, uint32_t pid, uint64_t id, int *ret_error)
{
	struct {
		struct fuse_in_header head;
		struct fuse_setattr_in in;
	} ask = { .head = { .len = sizeof ask, .opcode = FUSE_SETATTR, .unique = UNIQUE, .nodeid = id, .pid = pid },
		  .in = { .valid = FATTR_MODE, .mode = S_IFDIR | 0755 } };
	struct {
		struct fuse_out_header head;
		struct fuse_attr_out out;
	} answer = { .head.unique = 0 };

	assert_int_equal(send(kernel, &ask, sizeof ask, 0), sizeof ask);
	session_answer(s);
	assert_true(recv(kernel, &answer, sizeof answer, MSG_DONTWAIT) >= (ssize_t)sizeof answer.head);
	assert_int_equal(answer.head.unique, UNIQUE);
	*ret_error = answer.head.error;
	return answer.out;
}

static void ask_attr(uint64_t id)
{
	struct {
		struct fuse_in_header head;
		struct fuse_getattr_in in;
	} ask = { .head = { .len = sizeof ask, .opcode = FUSE_GETATTR, .unique = UNIQUE, .nodeid = id } };

	assert_int_equal(send(kernel, &ask, sizeof ask, 0), sizeof ask);
}

/* More requests than a turn of the loop reads: what is left has not waited since there was none. */
static void what_a_full_turn_leaves_waits_since_that_turn(void **state)
{
	uint64_t begun, waiting;
	struct session *s;
	struct tree *t;
	int ends[2];

	assert_int_equal(tree_new(1, &t), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	kernel = ends[0];
	assert_int_equal(session_new(loop, ends[1], t, NULL, &c, ended, NULL, &s, NULL), 0);
	assert_int_equal(session_waiting_usec(s), 0);
	usleep(2000);
	for (int i = 0; i < 100; i++)
		ask_attr(TREE_ROOT_ID);
	begun = clock_monotonic_usec();
	session_answer(s);
	waiting = session_waiting_usec(s);
	assert_in_range(waiting, 1, clock_monotonic_usec() - begun);
	session_answer(s);
	assert_int_equal(session_waiting_usec(s), 0);
	session_free(s);
	kernel = close_fd(kernel);
	tree_free(t);
}

/* It has one mode for all folders, a volume's folder has another: what counts is that the kernel is told the time again. */
static void the_publisher_may_touch_a_folder_of_any_mode(void **state)
{
	struct fuse_attr_out out;
	struct publish *p;
	struct session *s;
	struct node *dir;
	struct tree *t;
	int ends[2], orders[2], error;

	assert_int_equal(tree_new(1, &t), 0);
	assert_int_equal(tree_fill_dir(t, tree_node(t, TREE_ROOT_ID), "volume", 03777, 5, &dir), 0);
	assert_int_equal(publish_new(loop, t, &p), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, orders), 0);
	assert_int_equal(publish_attach(p, orders[0], PUBLISHER, NULL, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	kernel = ends[0];
	assert_int_equal(session_new(loop, ends[1], t, p, &c, ended, NULL, &s, NULL), 0);

	out = set_mode(s, PUBLISHER, node_id(dir), &error);
	assert_int_equal(error, 0);
	assert_int_equal(out.attr.mode, S_IFDIR | 03777);
	set_mode(s, PUBLISHER + 1, node_id(dir), &error);
	assert_int_equal(error, -EROFS);

	session_free(s);
	publish_free(p);
	tree_free(t);
	close(orders[1]);
}

#define with_connection(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_connection(a_request_that_agents_die_of_is_refused),
		with_connection(a_successor_that_does_not_get_to_it_is_no_death),
		with_connection(one_that_dies_of_it_again_is),
		with_connection(a_request_that_is_not_whole_is_not_carried_out),
		with_connection(an_init_that_was_only_read_is_answered),
		with_connection(an_init_that_agents_die_of_is_refused),
		with_connection(what_a_full_turn_leaves_waits_since_that_turn),
		with_connection(the_publisher_may_touch_a_folder_of_any_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
