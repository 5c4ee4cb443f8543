/* Pulse: which sockets are taken for dead. */
#include "agent/pulse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <sys/socket.h>

struct rig {
	struct pulse pulse;
	int ours, theirs;
};

static int setup(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cleanup_fd int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct rig *t = calloc(1, sizeof(*t));
	socklen_t len = sizeof(sin);

	assert_int_equal(bind(listener, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sin, &len), 0);
	t->ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(t->ours, (struct sockaddr *)&sin, sizeof(sin)), 0);
	t->theirs = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	pulse_init(&t->pulse);
	assert_int_equal(pulse_add(&t->pulse, t->ours), 0);
	assert_int_equal(write(t->ours, "hello", 5), 5);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct rig *t = *state;

	pulse_deinit(&t->pulse);
	close_fd(t->ours);
	close_fd(t->theirs);
	free(t);
	return 0;
}

static void ask(struct rig *t, const char *question)
{
	pulse_before_asking(&t->pulse);
	assert_int_equal(write(t->ours, question, strlen(question)), strlen(question));
	pulse_after_asking(&t->pulse);
}

static bool is_shut(const struct rig *t)
{
	char c;

	return recv(t->ours, &c, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

static void unanswered_question_ends_the_connection(void **state)
{
	struct rig *t = *state;
	bool silent = false;

	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_true(silent);
	ask(t, "?");
	assert_int_equal(pulse_judge(&t->pulse, &silent), 1);
	assert_true(is_shut(t));
}

static void any_byte_is_an_answer(void **state)
{
	struct rig *t = *state;
	bool silent = false;

	ask(t, "?");
	assert_int_equal(write(t->theirs, "!", 1), 1);
	for (unsigned i = 0; i < 1000 && recv(t->ours, &(char){ 0 }, 1, MSG_DONTWAIT | MSG_PEEK) != 1; i++)
		usleep(1000);
	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_false(silent);
	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_true(silent);
	assert_false(is_shut(t));
}

static void who_was_not_asked_is_not_judged(void **state)
{
	struct rig *t = *state;
	bool silent = false;

	ask(t, "");
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_true(silent);
	assert_false(is_shut(t));
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in sin = { .sin_port = 0 };
	socklen_t len = sizeof(sin);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	return ntohs(sin.sin_port);
}

static void hear(struct rig *t)
{
	assert_int_equal(write(t->theirs, "!", 1), 1);
	for (unsigned i = 0; i < 1000 && recv(t->ours, &(char){ 0 }, 1, MSG_DONTWAIT) != 1; i++)
		usleep(1000);
}

static void silent_one_is_to_be_asked_until_it_is(void **state)
{
	uint16_t port = port_of(((struct rig *)*state)->ours);
	struct rig *t = *state;
	bool silent = false;

	hear(t);
	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_false(pulse_is_to_ask(&t->pulse, port));
	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_true(pulse_is_to_ask(&t->pulse, port));
	assert_false(pulse_is_to_ask(&t->pulse, port_of(t->theirs)));
	ask(t, "");
	assert_true(pulse_is_to_ask(&t->pulse, port));
	ask(t, "?");
	assert_false(pulse_is_to_ask(&t->pulse, port));
	hear(t);
	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_false(silent || pulse_is_to_ask(&t->pulse, port));
}

static void one_that_was_tried_is_to_be_asked_the_next_time(void **state)
{
	uint16_t port = port_of(((struct rig *)*state)->ours);
	struct rig *t = *state;
	bool silent = false;

	hear(t);
	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	pulse_tried(&t->pulse, port_of(t->theirs));
	assert_true(pulse_is_to_ask(&t->pulse, port));
	pulse_tried(&t->pulse, port);
	assert_false(pulse_is_to_ask(&t->pulse, port));
	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_true(silent && pulse_is_to_ask(&t->pulse, port));
}

/* It may have been a reply: that there is room for more, say. */
static void what_is_written_where_something_has_come_needs_no_answer(void **state)
{
	struct rig *t = *state;
	bool silent = false;

	hear(t);
	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	ask(t, "?");
	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_true(silent);
	assert_false(is_shut(t));
}

/* It may not be made yet, and a kernel that does not tell would not tell of an answer. */
static void who_has_never_said_anything_is_not_to_be_asked(void **state)
{
	struct rig *t = *state;
	bool silent = false;

	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_true(silent);
	assert_false(pulse_is_to_ask(&t->pulse, port_of(t->ours)));
}

/* A connection that was opened for the question is young, and its handshake may take its time. */
static void who_is_spoken_to_for_the_first_time_is_not_judged(void **state)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cleanup_fd int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
		       fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct rig *t = *state;
	socklen_t len = sizeof(sin);
	bool silent = false;

	pulse_remove(&t->pulse, t->ours);
	assert_int_equal(bind(listener, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sin, &len), 0);
	assert_int_equal(pulse_add(&t->pulse, fresh), 0);
	pulse_before_asking(&t->pulse);
	assert_int_equal(connect(fresh, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(write(fresh, "?", 1), 1);
	pulse_after_asking(&t->pulse);
	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_true(silent);
	pulse_remove(&t->pulse, fresh);
}

static void older_sockets_are_shut_and_newer_ones_are_not(void **state)
{
	struct rig *t = *state;

	pulse_shut_older(&t->pulse);
	assert_false(is_shut(t));
	pulse_begin_generation(&t->pulse);
	pulse_shut_older(&t->pulse);
	assert_true(is_shut(t));
}

static void removed_socket_is_left_alone(void **state)
{
	struct rig *t = *state;
	bool silent = false;

	ask(t, "?");
	pulse_remove(&t->pulse, t->ours);
	assert_true(pulse_is_empty(&t->pulse));
	assert_int_equal(pulse_judge(&t->pulse, &silent), 0);
	assert_false(silent);
	assert_false(is_shut(t));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(unanswered_question_ends_the_connection),
		TEST(any_byte_is_an_answer),
		TEST(who_was_not_asked_is_not_judged),
		TEST(silent_one_is_to_be_asked_until_it_is),
		TEST(one_that_was_tried_is_to_be_asked_the_next_time),
		TEST(what_is_written_where_something_has_come_needs_no_answer),
		TEST(who_has_never_said_anything_is_not_to_be_asked),
		TEST(who_is_spoken_to_for_the_first_time_is_not_judged),
		TEST(older_sockets_are_shut_and_newer_ones_are_not),
		TEST(removed_socket_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
