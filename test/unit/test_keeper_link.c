/* The keeper's side of the link: what an agent says that has not been asked, and one that does not listen. */
#include "agent/keeper_internal.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <cmocka.h>

#include "agent/link.h"

struct rig {
	struct keeper k;
	int agent, manager; /* the other ends */
	struct loop_source *source;
};

static int open_manager(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int len = snprintf(a.sun_path, sizeof(a.sun_path), "@secretlet-test-keeper-link-%d", (int)getpid());
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	setenv("NOTIFY_SOCKET", a.sun_path, 1);
	a.sun_path[0] = 0;
	assert_true(fd >= 0);
	assert_int_equal(
		bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)), 0);
	return fd;
}

static int setup(void **state)
{
	struct rig *t = calloc(1, sizeof(*t));
	int pair[2];

	t->k = (struct keeper){ .stage = STAGE_READY,
				.opener = OPENER_INIT,
				.notify = NOTIFY_INIT,
				.complaints = LOG_LIMIT_INIT(USEC_PER_SEC, 10) };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	t->k.link = pair[0];
	t->agent = pair[1];
	t->manager = open_manager();
	assert_int_equal(notify_open(&t->k.notify), 0);
	assert_int_equal(loop_new(&t->k.loop), 0);
	assert_int_equal(loop_add_io(t->k.loop, t->k.link, EPOLLIN, keeper_link_readable, &t->k, &t->k.link_source), 0);
	log_set_level(LOG_LEVEL_WARNING);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct rig *t = *state;

	loop_source_free(t->k.link_source);
	loop_free(t->k.loop);
	notify_close(&t->k.notify);
	opener_deinit(&t->k.opener);
	close_fd(t->k.link);
	close_fd(t->agent);
	close_fd(t->manager);
	free(t);
	return 0;
}

static void say(struct rig *t, uint32_t id, int value)
{
	assert_int_equal(link_send(t->agent, LINK_RELOADED, id, value, NULL, -1), 0);
	assert_true(loop_run_once(t->k.loop, USEC_PER_SEC) >= 0);
}

/* The id of the reload that the agent is asked for. */
static uint32_t asked(struct rig *t)
{
	struct link_message m;
	int fd;

	assert_int_equal(link_receive(t->agent, &m, &fd), 0);
	assert_int_equal(m.type, LINK_RELOAD);
	return m.id;
}

/* How often the service manager was told READY=1 since the last time. */
static int n_ready(struct rig *t)
{
	char text[256];
	ssize_t len;
	int n = 0;

	while ((len = recv(t->manager, text, sizeof(text) - 1, 0)) > 0) {
		text[len] = 0;
		n += strcmp(text, "READY=1") == 0;
	}
	return n;
}

static void a_reload_that_nobody_asked_for_changes_no_level(void **state)
{
	struct rig *t = *state;

	say(t, 0, LOG_LEVEL_ERROR);
	say(t, 1, LOG_LEVEL_DEBUG);
	assert_int_equal(log_get_level(), LOG_LEVEL_WARNING);
	assert_int_equal(n_ready(t), 0);
	/* asked of the next agent, which has not been told */
	t->k.stage = STAGE_SERVES;
	t->k.n_reload_tries = 1;
	say(t, t->k.reload_id, LOG_LEVEL_ERROR);
	assert_int_equal(log_get_level(), LOG_LEVEL_WARNING);
	assert_int_equal(t->k.n_reload_tries, 1);
	assert_int_equal(n_ready(t), 0);
}

static void a_reload_is_answered_once(void **state)
{
	struct rig *t = *state;
	uint32_t id;

	keeper_tell_reload(&t->k);
	id = asked(t);
	say(t, id, LOG_LEVEL_DEBUG);
	assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
	assert_int_equal(n_ready(t), 1);
	say(t, id, LOG_LEVEL_ERROR);
	assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
	assert_int_equal(n_ready(t), 0);
	/* refused: everything stays, and that is an end, too */
	keeper_tell_reload(&t->k);
	say(t, asked(t), -EINVAL);
	assert_int_equal(log_get_level(), LOG_LEVEL_DEBUG);
	assert_int_equal(n_ready(t), 1);
}

/* As two SIGHUPs in a row do it: the agent may answer both, or the second one alone. */
static void of_reloads_in_a_row_the_last_one_counts(void **state)
{
	struct rig *t = *state;

	for (int both = 0; both < 2; both++) {
		uint32_t first, last;

		t->k.n_reload_tries = 0;
		keeper_tell_reload(&t->k);
		first = asked(t);
		t->k.n_reload_tries = 0;
		keeper_tell_reload(&t->k);
		last = asked(t);
		log_set_level(LOG_LEVEL_WARNING);
		if (both) {
			say(t, first, LOG_LEVEL_ERROR);
			assert_int_equal(log_get_level(), LOG_LEVEL_WARNING);
			assert_int_equal(n_ready(t), 0);
		}
		say(t, last, LOG_LEVEL_INFO);
		assert_int_equal(log_get_level(), LOG_LEVEL_INFO);
		assert_int_equal(n_ready(t), 1);
	}
}

static size_t count_messages(struct rig *t, enum link_type type, int value)
{
	struct link_message m;
	size_t n = 0;
	int fd;

	while (link_receive(t->agent, &m, &fd) == 0)
		n += m.type == type && m.value == value;
	return n;
}

/* An agent that does not read is not forgotten. */
static void the_end_of_a_publisher_is_told_until_the_agent_has_heard_of_it(void **state)
{
	struct rig *t = *state;
	struct aside *a = &t->k.aside[0];

	*a = (struct aside){ .child = CHILD_INIT("publisher"), .pod = strdup("uid") };
	a->child.pid = INT_MAX; /* no process */
	while (link_send(t->k.link, LINK_RESTARTS, 0, 0, NULL, -1) == 0)
		;
	assert_true(keeper_aside_died(&t->k, INT_MAX));
	keeper_look_after_aside(&t->k);
	assert_int_equal(count_messages(t, LINK_PUBLISHER_ENDED, INT_MAX), 0);
	keeper_look_after_aside(&t->k);
	assert_int_equal(count_messages(t, LINK_PUBLISHER_ENDED, INT_MAX), 1);
	keeper_look_after_aside(&t->k);
	assert_int_equal(count_messages(t, LINK_PUBLISHER_ENDED, INT_MAX), 0);
}

/* The next one has never heard of it. */
static void the_end_of_a_publisher_is_not_told_to_the_next_agent(void **state)
{
	struct rig *t = *state;

	t->k.aside[0] = (struct aside){ .child = CHILD_INIT("publisher"), .pod = strdup("uid") };
	t->k.aside[0].child.pid = INT_MAX;
	while (link_send(t->k.link, LINK_RESTARTS, 0, 0, NULL, -1) == 0)
		;
	assert_true(keeper_aside_died(&t->k, INT_MAX));
	(void)count_messages(t, LINK_RESTARTS, 0);
	keeper_tell_aside(&t->k);
	keeper_look_after_aside(&t->k);
	assert_int_equal(count_messages(t, LINK_PUBLISHER_ENDED, INT_MAX), 0);
}

/* Or it would be given the order that the other one hangs in. */
static void the_next_publisher_comes_when_the_agent_knows_of_the_one_before(void **state)
{
	struct rig *t = *state;
	struct keeper *k = &t->k;
	pid_t pid = fork();
	struct link_message m;
	int fd;

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	k->world.loop = k->loop;
	k->publisher = CHILD_INIT("publisher");
	k->publisher.pid = pid;
	k->publisher_killed_usec = 1;
	keeper_note_hanging(k, "uid/volumes", false);
	assert_int_equal(loop_add_timer(k->loop, keeper_publisher_restart, k, &k->publisher.restart), 0);
	while (link_send(k->link, LINK_RESTARTS, 0, 0, NULL, -1) == 0)
		;
	keeper_look_after_aside(k);
	assert_int_equal(k->aside[0].pid, pid);
	assert_true(loop_run_once(k->loop, USEC_PER_SEC) >= 0); /* the timer's */
	assert_int_equal(k->publisher.pid, 0);
	assert_int_equal(count_messages(t, LINK_PUBLISHER, 0), 0);

	keeper_look_after_aside(k);
	while (k->publisher.pid == 0)
		assert_true(loop_run_once(k->loop, USEC_PER_SEC) >= 0);
	assert_int_equal(link_receive(t->agent, &m, &fd), 0);
	assert_int_equal(m.type, LINK_PUBLISHER_ASIDE);
	assert_int_equal(m.value, pid);
	assert_string_equal(m.path, "uid");
	do {
		assert_int_equal(link_receive(t->agent, &m, &fd), 0);
	} while (m.type == LINK_RESTARTS);
	assert_int_equal(m.type, LINK_PUBLISHER);
	assert_int_equal(m.value, k->publisher.pid);
	close_fd(fd);
	child_kill(&k->publisher);
	child_kill(&k->aside[0].child);
	keeper_forget_aside(k);
	loop_source_free(k->publisher.restart);
}

/* It had nothing of the agent's to be told any more. */
static void the_next_publisher_comes_when_one_has_ended_that_nobody_knew_of(void **state)
{
	struct rig *t = *state;
	struct keeper *k = &t->k;

	k->world.loop = k->loop;
	k->publisher = CHILD_INIT("publisher");
	assert_int_equal(loop_add_timer(k->loop, keeper_publisher_restart, k, &k->publisher.restart), 0);
	k->aside[0] = (struct aside){ .child = CHILD_INIT("publisher"), .untold = true };
	k->aside[0].child.pid = INT_MAX;
	keeper_publisher_restart(NULL, k);
	assert_int_equal(k->publisher.pid, 0);
	assert_true(keeper_aside_died(k, INT_MAX));
	keeper_look_after_aside(k);
	while (k->publisher.pid == 0)
		assert_true(loop_run_once(k->loop, USEC_PER_SEC) >= 0);
	child_kill(&k->publisher);
	loop_source_free(k->publisher.restart);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_reload_that_nobody_asked_for_changes_no_level),
		TEST(a_reload_is_answered_once),
		TEST(of_reloads_in_a_row_the_last_one_counts),
		TEST(the_end_of_a_publisher_is_told_until_the_agent_has_heard_of_it),
		TEST(the_end_of_a_publisher_is_not_told_to_the_next_agent),
		TEST(the_next_publisher_comes_when_the_agent_knows_of_the_one_before),
		TEST(the_next_publisher_comes_when_one_has_ended_that_nobody_knew_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
