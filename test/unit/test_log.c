/* The log: the shape of a line, what foreign text may do to it, and that nobody ever waits for its reader. Stderr is
 * exchanged for a pipe while a line is written. */
#include "common/log.h"

#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "common/file.h"
#include "common/str.h"
#include "test/lib/skip.h"

struct captured {
	int saved, fds[2];
};

static void capture_begin(struct captured *c)
{
	c->saved = dup(STDERR_FILENO);
	assert_int_equal(pipe(c->fds), 0);
	assert_int_equal(dup2(c->fds[1], STDERR_FILENO), STDERR_FILENO);
	log_init("agent", LOG_LEVEL_DEBUG);
}

/* All that is in the pipe now. */
static const char *capture_read(struct captured *c)
{
	static char text[1 << 17];
	struct pollfd pfd = { .fd = c->fds[0], .events = POLLIN };
	size_t len = 0;

	while (poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLIN)) {
		ssize_t n = read(c->fds[0], text + len, sizeof(text) - 1 - len);

		assert_true(n > 0);
		len += (size_t)n;
	}
	text[len] = '\0';
	return text;
}

static void capture_end(struct captured *c)
{
	dup2(c->saved, STDERR_FILENO);
	close(c->saved);
	close_fd(c->fds[0]);
	close_fd(c->fds[1]);
	log_init("test", LOG_LEVEL_INFO);
}

/* The rest of the line behind the time. */
static const char *after_time(const char *line)
{
	const char *space = strchr(line, ' ');

	assert_non_null(space);
	return space + 1;
}

static bool matches(const char *text, const char *pattern)
{
	regex_t re;
	int r;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	r = regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	return r == 0;
}

static void line_has_time_level_program_message_and_fields(void **state)
{
	struct captured c;
	const char *text;

	capture_begin(&c);
	log_info(LOG_F({ "pod", "web-1" }, { "left-out", NULL }, { "n", "3" }), "published %d files", 3);
	text = capture_read(&c);
	assert_true(matches(text, "^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{3}Z info agent: "
				  "published 3 files pod=web-1 n=3\n$"));
	log_error(NULL, "%s", "bad");
	assert_string_equal(after_time(capture_read(&c)), "error agent: bad\n");
	capture_end(&c);
}

static void levels_above_the_maximum_are_silent(void **state)
{
	static const struct {
		enum log_level max;
		const char *pattern;
	} CASES[] = {
		{ LOG_LEVEL_ERROR, "^[^ ]+ error agent: e\n$" },
		{ LOG_LEVEL_WARNING, "^[^ ]+ error agent: e\n[^ ]+ warning agent: w\n$" },
		{ LOG_LEVEL_INFO, "^[^\n]+\n[^\n]+\n[^ ]+ info agent: i\n$" },
		{ LOG_LEVEL_DEBUG, "^[^\n]+\n[^\n]+\n[^\n]+\n[^ ]+ debug agent: d\n$" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		struct captured c;
		bool ok;

		capture_begin(&c);
		log_set_level(CASES[i].max);
		log_error(NULL, "e");
		log_warning(NULL, "w");
		log_info(NULL, "i");
		log_debug(NULL, "d");
		ok = matches(capture_read(&c), CASES[i].pattern);
		assert_int_equal(log_get_level(), CASES[i].max);
		capture_end(&c);
		assert_true(ok);
	}
}

static void level_names_are_exact(void **state)
{
	static const char *const BAD[] = { "", "Info", "info ", "warn", "trace", "0" };
	enum log_level level = LOG_LEVEL_ERROR;

	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_int_equal(log_level_parse("warning", &level), 0);
	assert_int_equal(level, LOG_LEVEL_WARNING);
	for (size_t i = 0; i < ARRAY_SIZE(BAD); i++)
		assert_int_equal(log_level_parse(BAD[i], &level), -EINVAL);
	assert_int_equal(level, LOG_LEVEL_WARNING);
}

static void foreign_text_cannot_forge_lines_or_fields(void **state)
{
	static const struct {
		const char *in, *message, *field;
	} CASES[] = {
		{ "plain", "plain", "plain" },
		{ "", "", "\"\"" },
		{ "two words", "two words", "\"two words\"" },
		{ "a=b", "a=b", "\"a=b\"" },
		{ "say \"hi\"", "say \"hi\"", "\"say \\\"hi\\\"\"" },
		{ "back\\slash", "back\\slash", "\"back\\\\slash\"" },
		{ "a\nerror agent: forged", "a\\x0aerror agent: forged", "\"a\\\\x0aerror" },
		{ "\x1b[2J", "\\x1b[2J", "\"" },
		{ "\r\t\x7f", "\\x0d\\x09\\x7f", "\"\\x0d\\x09\\x7f\"" },
		{ "\xc2\x9b", "\\xc2\\x9b", "\\xc2\\x9b" },
		{ "caf\xc3\xa9", "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "\xff\xc3", "\\xff\\xc3", "\\xff\\xc3" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80", "\\xed\\xa0\\x80" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
		char want[256];
		struct captured c;
		const char *text;

		capture_begin(&c);
		log_info(NULL, "%s", CASES[i].in);
		snprintf(want, sizeof(want), "info agent: %s\n", CASES[i].message);
		assert_string_equal(after_time(capture_read(&c)), want);

		log_info(LOG_F({ "k", CASES[i].in }), "m");
		text = capture_read(&c);
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
		assert_null(strpbrk(text, "\x1b\r\t\x7f"));
		if (!strpbrk(CASES[i].in, "\n\x1b")) {
			snprintf(want, sizeof(want), "info agent: m k=%s\n", CASES[i].field);
			assert_string_equal(after_time(text), want);
		}
		capture_end(&c);
	}
}

static void long_line_is_cut_to_one_atomic_write(void **state)
{
	char big[10000];
	struct captured c;
	const char *text;

	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	capture_begin(&c);
	log_info(LOG_F({ "k", "v" }), "%s", big);
	text = capture_read(&c);
	assert_int_equal(strlen(text), 4096);
	assert_string_equal(text + 4096 - 5, "x...\n");

	log_info(LOG_F({ "a", big }, { "b", "v" }), "m");
	text = capture_read(&c);
	assert_int_equal(strlen(text), 4096);
	assert_non_null(strstr(text, " m a=xxx"));
	assert_string_equal(text + 4096 - 5, "x...\n");
	capture_end(&c);
}

static void cut_does_not_split_characters_or_escapes(void **state)
{
	for (size_t shift = 0; shift < 4; shift++) {
		char big[8192];
		struct captured c;
		const char *text;
		size_t n = 0;

		while (n < shift)
			big[n++] = 'x';
		for (; n + 5 < sizeof(big); n += 5)
			memcpy(big + n, "\xf0\x9f\x98\x80\x01", 5);
		big[n] = '\0';
		capture_begin(&c);
		log_info(NULL, "%s", big);
		text = capture_read(&c);
		assert_true(strlen(text) <= 4096);
		assert_true(str_is_utf8(text, strlen(text)));
		assert_true(matches(text, "(\xf0\x9f\x98\x80|\\\\x01)[.]{3}\n$"));
		capture_end(&c);
	}
}

static void errno_is_kept_and_percent_m_works(void **state)
{
	struct captured c;

	capture_begin(&c);
	errno = ENOENT;
	log_warning(NULL, "open: %m");
	assert_int_equal(errno, ENOENT);
	assert_string_equal(after_time(capture_read(&c)), "warning agent: open: No such file or directory\n");
	close(TAKE_FD(c.fds[0])); /* the write fails */
	errno = EBUSY;
	log_warning(NULL, "x");
	assert_int_equal(errno, EBUSY);
	capture_end(&c);
}

static void full_pipe_drops_lines_and_says_so_later(void **state)
{
	uint64_t before = log_dropped(), n_dropped;
	char want[64], filler[3000];
	struct captured c;
	const char *text;

	memset(filler, 'f', sizeof(filler));
	filler[sizeof(filler) - 1] = '\0';
	capture_begin(&c);
	for (int i = 0; i < 100; i++)
		log_info(NULL, "%d %s", i, filler);
	n_dropped = log_dropped() - before;
	assert_true(n_dropped > 50 && n_dropped < 100);
	assert_int_equal(fcntl(c.fds[1], F_GETFL) & O_NONBLOCK, 0);
	text = capture_read(&c);
	assert_string_equal(text + strlen(text) - 4, "fff\n"); /* no half lines */

	log_info(NULL, "after");
	text = after_time(capture_read(&c));
	snprintf(want, sizeof(want), "warning agent: %llu log lines were dropped\n", (unsigned long long)n_dropped);
	assert_int_equal(strncmp(text, want, strlen(want)), 0);
	assert_string_equal(after_time(text + strlen(want)), "info agent: after\n");

	log_info(NULL, "once");
	assert_string_equal(after_time(capture_read(&c)), "info agent: once\n");
	capture_end(&c);
}

static void pipe_without_a_reader_does_not_kill(void **state)
{
	uint64_t before = log_dropped();
	struct captured c;

	capture_begin(&c);
	close(TAKE_FD(c.fds[0]));
	log_info(NULL, "into the void");
	capture_end(&c);
	assert_int_equal(log_dropped() - before, 1);
	log_set_level(LOG_LEVEL_DEBUG);
}

static void journal_stream_of_something_else_means_stderr(void **state)
{
	static const char *const STREAMS[] = { "0:0", "", "1", "x:y", ":", "99999999999999999999:1" };
	struct captured c;

	for (size_t i = 0; i < ARRAY_SIZE(STREAMS); i++) {
		setenv("JOURNAL_STREAM", STREAMS[i], 1);
		capture_begin(&c);
		log_info(NULL, "here");
		assert_non_null(strstr(capture_read(&c), "info agent: here\n"));
		capture_end(&c);
	}
	unsetenv("JOURNAL_STREAM");
}

/* ---- the journal, played by a socket in a mount namespace of a child ---- */

enum { CHILD_OK, CHILD_FAILED = 1, CHILD_CANNOT = 77 };

static int journal_listen(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket" };
	int fd;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0 || file_mkdirs("/run/systemd/journal", 0755, NULL) < 0)
		_exit(CHILD_CANNOT);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		_exit(CHILD_CANNOT);
	return fd;
}

static void journal_pretend(void)
{
	char stream[64];
	struct stat st;

	if (fstat(STDERR_FILENO, &st) < 0)
		_exit(CHILD_CANNOT);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("agent", LOG_LEVEL_INFO);
}

static void child_fail(int line, const char *condition)
{
	printf("# line %d: not true: %s\n", line, condition);
	fflush(stdout);
	_exit(CHILD_FAILED);
}

#define CHILD_CHECK(condition)                                                                                         \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			child_fail(__LINE__, #condition);                                                              \
	} while (0)

static const char *journal_receive(int fd)
{
	static char data[1 << 16];
	ssize_t n = recv(fd, data, sizeof(data) - 1, 0);

	if (n < 0)
		return NULL;
	data[n] = '\0';
	return data;
}

static void in_child(void (*run)(int journal))
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		run(journal_listen());
		_exit(CHILD_OK);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CHILD_CANNOT)
		skip_because("needs root and mount namespaces");
	assert_int_equal(WEXITSTATUS(status), CHILD_OK);
}

static void run_journal_fields(int journal)
{
	char big[6000];
	const char *data;

	journal_pretend();
	log_warning(LOG_F({ "pod", "a b" }, { "none", NULL }, { "node-name", "x\ny" }), "hello\nMESSAGE_ID=1");
	data = journal_receive(journal);
	CHILD_CHECK(data);
	CHILD_CHECK(str_eq(data, "PRIORITY=4\nSYSLOG_IDENTIFIER=secretlet-agent\n"
				 "MESSAGE=hello\\x0aMESSAGE_ID=1 pod=\"a b\" node-name=\"x\\x0ay\"\n"
				 "SECRETLET_POD=a b\nSECRETLET_NODENAME=x\\x0ay\n"));

	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	log_info(LOG_F({ "a", "1" }, { "b", big }, { "c", big }, { "d", big }, { "e", "5" }), "%s", big);
	data = journal_receive(journal);
	CHILD_CHECK(data && strlen(data) < 16384);
	CHILD_CHECK(strstr(data, "x...\nSECRETLET_A=1\nSECRETLET_B=xxx"));
	CHILD_CHECK(str_eq(data + strlen(data) - strlen("\nSECRETLET_E=5\n"), "\nSECRETLET_E=5\n"));
}

static void run_journal_full(int journal)
{
	uint64_t before = log_dropped(), n;
	const char *data;

	journal_pretend();
	for (int i = 0; i < 2000; i++)
		log_info(NULL, "line %d", i);
	n = log_dropped() - before;
	CHILD_CHECK(n > 0 && n < 2000);
	while ((data = journal_receive(journal)))
		CHILD_CHECK(strstr(data, "MESSAGE=line "));
	log_info(NULL, "after");
	data = journal_receive(journal);
	CHILD_CHECK(data && strstr(data, " log lines were dropped\n"));
	data = journal_receive(journal);
	CHILD_CHECK(data && strstr(data, "MESSAGE=after\n"));
}

static void run_journal_restarts(int journal)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket" };
	const char *data;

	journal_pretend();
	close(journal);
	unlink(address.sun_path);
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CHILD_CHECK(bind(journal, (struct sockaddr *)&address, sizeof(address)) == 0);
	log_info(NULL, "again");
	data = journal_receive(journal);
	CHILD_CHECK(data && strstr(data, "MESSAGE=again\n"));
}

static void run_journal_ends(int journal)
{
	struct captured c;

	close(journal);
	c.saved = dup(STDERR_FILENO);
	CHILD_CHECK(pipe(c.fds) == 0 && dup2(c.fds[1], STDERR_FILENO) == STDERR_FILENO);
	journal_pretend();
	log_info(NULL, "to stderr");
	CHILD_CHECK(strstr(capture_read(&c), "info agent: to stderr\n"));
}

static void journal_gets_message_and_fields(void **state)
{
	in_child(run_journal_fields);
}

static void full_journal_drops_lines_and_says_so_later(void **state)
{
	in_child(run_journal_full);
}

static void restarted_journal_is_found_again(void **state)
{
	in_child(run_journal_restarts);
}

static void journal_that_is_gone_means_stderr(void **state)
{
	in_child(run_journal_ends);
}

static void limit_lets_a_burst_through_per_window(void **state)
{
	struct log_limit l = LOG_LIMIT_INIT(10 * USEC_PER_SEC, 3);
	uint64_t now = 1000 * USEC_PER_SEC;

	for (int i = 0; i < 3; i++)
		assert_true(log_limit_ok(&l, now + (uint64_t)i));
	for (int i = 0; i < 5; i++)
		assert_false(log_limit_ok(&l, now + 9 * USEC_PER_SEC));
	assert_true(log_limit_ok(&l, now + 10 * USEC_PER_SEC));
	assert_int_equal(l.n_held_before, 5);
	assert_true(log_limit_ok(&l, now + 11 * USEC_PER_SEC));
	assert_int_equal(l.n_held_before, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(line_has_time_level_program_message_and_fields),
		cmocka_unit_test(levels_above_the_maximum_are_silent),
		cmocka_unit_test(level_names_are_exact),
		cmocka_unit_test(foreign_text_cannot_forge_lines_or_fields),
		cmocka_unit_test(long_line_is_cut_to_one_atomic_write),
		cmocka_unit_test(cut_does_not_split_characters_or_escapes),
		cmocka_unit_test(errno_is_kept_and_percent_m_works),
		cmocka_unit_test(full_pipe_drops_lines_and_says_so_later),
		cmocka_unit_test(pipe_without_a_reader_does_not_kill),
		cmocka_unit_test(journal_stream_of_something_else_means_stderr),
		cmocka_unit_test(journal_gets_message_and_fields),
		cmocka_unit_test(full_journal_drops_lines_and_says_so_later),
		cmocka_unit_test(restarted_journal_is_found_again),
		cmocka_unit_test(journal_that_is_gone_means_stderr),
		cmocka_unit_test(limit_lets_a_burst_through_per_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
