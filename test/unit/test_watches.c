#include "agent/watches.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

static bool is_inotify(int fd)
{
	char path[64], target[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (readlink(path, target, sizeof(target) - 1) < 0)
		return false;
	return strstr(target, "inotify");
}

static size_t n_instances(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += is_inotify(fd);
	return n;
}

static void each_agent_has_its_own_and_a_dead_ones_stays_for_a_while(void **state)
{
	struct watches w = WATCHES_INIT;
	int first;

	assert_int_equal(watches_renew(&w), 0);
	first = w.fd;
	assert_true(is_inotify(first));
	assert_int_equal(watches_renew(&w), 0);
	assert_true(w.fd != first);
	assert_true(is_inotify(first));
	assert_true(is_inotify(w.fd));
	watches_tidy(&w);
	assert_false(is_inotify(first));
	assert_true(is_inotify(w.fd));
	watches_tidy(&w);
	assert_true(is_inotify(w.fd));
	watches_deinit(&w);
	assert_int_equal(n_instances(), 0);
}

static void however_many_die_they_stay_few(void **state)
{
	struct watches w = WATCHES_INIT;

	for (int i = 0; i < 3 * WATCHES_SPENT_MAX; i++) {
		assert_int_equal(watches_renew(&w), 0);
		assert_true(n_instances() <= WATCHES_SPENT_MAX + 1);
	}
	assert_int_equal(n_instances(), WATCHES_SPENT_MAX + 1);
	/* one at a time: each makes its caller wait */
	for (size_t n = WATCHES_SPENT_MAX; n > 0; n--) {
		watches_tidy(&w);
		assert_int_equal(n_instances(), n);
	}
	watches_deinit(&w);
	assert_int_equal(n_instances(), 0);
}

/* Renews it when so many fds may be open. */
static int renew_within(struct watches *w, rlim_t n_fds)
{
	struct rlimit limit, less;
	int r;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	less = limit;
	less.rlim_cur = n_fds;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &less), 0);
	r = watches_renew(w);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return r;
}

static void where_there_is_no_other_the_dead_ones_is_given_up(void **state)
{
	struct watches w = WATCHES_INIT;

	assert_int_equal(watches_renew(&w), 0);
	assert_int_equal(watches_renew(&w), 0);
	assert_int_equal(renew_within(&w, (rlim_t)w.fd + 1), 0);
	assert_true(is_inotify(w.fd));
	assert_int_equal(n_instances(), 1);
	watches_deinit(&w);
}

static void where_there_is_none_nothing_is_held(void **state)
{
	struct watches w = WATCHES_INIT;

	assert_int_equal(watches_renew(&w), 0);
	assert_int_equal(renew_within(&w, 0), -EMFILE);
	assert_int_equal(w.fd, -1);
	assert_int_equal(n_instances(), 0);
	watches_deinit(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_agent_has_its_own_and_a_dead_ones_stays_for_a_while),
		cmocka_unit_test(however_many_die_they_stay_few),
		cmocka_unit_test(where_there_is_no_other_the_dead_ones_is_given_up),
		cmocka_unit_test(where_there_is_none_nothing_is_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
