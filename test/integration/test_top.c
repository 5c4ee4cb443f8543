/* secretlet top as a user has it: the built program on a terminal, or not on one, and a control socket with made-up answers. It
 * mostly waits: a second between one frame and the next. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>

#include "common/clock.h"
#include "common/str.h"
#include "test/lib/program.h"
#include "test/lib/running.h"
#include "test/lib/served.h"

#define OTHER_SCREEN "\033[?1049h\033[?25l"
#define OWN_SCREEN   "\033[?25h\033[?1049l"
#define HOME	     "\033[H"

struct fixture {
	char dir[64];
	struct served *served;
	_Atomic(const char *) status, pods; /* JSON */
	_Atomic(const char *) metrics;
	int listener;
	atomic_int n_looks;
};

static int fake_status(void *userdata, json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	*ret = json_loads(f->status, 0, NULL);
	assert_non_null(*ret);
	return 0;
}

static int fake_pods(void *userdata, json_t **ret, struct err *e)
{
	struct fixture *f = userdata;

	f->n_looks++;
	*ret = json_loads(f->pods, 0, NULL);
	assert_non_null(*ret);
	return 0;
}

static const struct control_ops fake_ops = { .status = fake_status, .pods = fake_pods };

#define STATUS(healthy, published, requests)                                                                           \
	"{\"version\": \"1.2\", \"nodeName\": \"node-1\", \"uptimeSeconds\": 60, \"healthy\": " healthy                \
	", \"problems\": [\"one\"], \"source\": {\"kind\": \"api-server\", \"location\": \"https://a\", "              \
	"\"connected\": true, \"lastContact\": \"2999-01-01T00:00:00Z\", \"nextTry\": \"2001-01-01T00:00:00Z\", "      \
	"\"connections\": 3, \"watches\": 12, "                                                                        \
	"\"requests\": " requests                                                                                      \
	", \"rejected\": 2, \"lastError\": \"bad\\u001bone\"}, \"volumes\": {\"stale\": 1}, "                          \
	"\"publisher\": {\"published\": " published ", \"queued\": 4, \"failed\": 5}, \"fuse\": {\"refused\": 6}, "    \
	"\"log\": {\"dropped\": 7}}"
#define VOLUME(name, state, updated, error)                                                                            \
	"{\"name\": \"" name "\", \"type\": \"secret\", \"sources\": [{\"name\": \"s\"}], \"state\": \"" state         \
	"\", \"resourceVersion\": \"1\", \"updated\": " updated ", \"error\": \"" error "\"}"
#define PODS(volumes)                                                                                                  \
	"{\"pods\": [{\"namespace\": \"default\", \"name\": \"web\", \"uid\": \"u\", \"volumes\": [" volumes "]}]}"
#define OLD   "\"2020-01-01T00:00:00.000000Z\""
#define OLDER "\"2019-01-01T00:00:00.000000Z\""
#define FRESH "\"2999-01-01T00:00:00.000000Z\""

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test-top-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->status = STATUS("true", "100", "1000");
	f->pods = PODS(VOLUME("older", "ready", OLDER, "") "," VOLUME("fresh", "ready", FRESH, "") "," VOLUME(
		"stale", "ready", OLD, "last good") "," VOLUME("away", "waiting", "null", "not found"));
	f->served = served_start(f->dir, &fake_ops, f);
	*state = f;
	return program_path() ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[96];

	served_stop(f->served);
	snprintf(path, sizeof(path), "%s/control.sock", f->dir);
	unlink(path);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void start(struct running *p, const struct fixture *f, const char *tty)
{
	running_start(p, tty, (const char *const[]){ "top", "--runtime-dir", f->dir, NULL });
}

static void once_it_is_text(void **state)
{
	static const char *const words[] = { NULL, "--batch" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		cleanup_program_result struct program_result r =
			program_run((const char *const[]){ "top", "-r", f->dir, words[i], NULL });

		assert_string_equal(r.err, "");
		assert_int_equal(r.status, 0);
		assert_true(str_starts(
			r.out, "secretlet 1.2 on node-1, up 1m0s: healthy\n"
			       "source       api-server https://a: connected, last answer 0s ago, next try in 0s\n"
			       "API          3 connections, 12 watches, 1000 requests, 0/min\n"
			       "volumes      4: 3 ready, 0 publishing, 1 waiting, 0 failed, 1 outdated\n"
			       "rotations    1/min; 100 published, 4 queued\n"
			       "propagation  -\n"
			       "errors       2 rejected, 5 not published, 6 refused, 7 log lines dropped; bad\\x1bone\n"
			       "\n"
			       "NAMESPACE  POD  VOLUME  TYPE    SOURCES  STATE    REVISION  UPDATED "));
		/* what waits, what shows its last good content, and then by age */
		assert_non_null(strstr(r.out, "\ndefault    web  away    secret  s        waiting  1         - "));
		assert_true(strstr(r.out, "  away ") < strstr(r.out, "  stale "));
		assert_true(strstr(r.out, "  stale ") < strstr(r.out, "  fresh "));
		assert_true(strstr(r.out, "  fresh ") < strstr(r.out, "  older "));
	}
}

/* A daemon that has metrics; one connection for each request. */
static void *metrics_main(void *userdata)
{
	struct fixture *f = userdata;
	int fd;

	while ((fd = accept(f->listener, NULL, NULL)) >= 0) {
		char request[4096] = "";
		const char *body;

		for (size_t len = 0; !strstr(request, "\r\n\r\n") && len + 1 < sizeof(request);) {
			ssize_t n = read(fd, request + len, sizeof(request) - 1 - len);

			if (n <= 0)
				break;
			len += (size_t)n;
		}
		body = str_starts(request, "GET /metrics ")   ? f->metrics
		       : str_starts(request, "GET /v1/pods ") ? f->pods
							      : f->status;
		dprintf(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
			body);
		close(fd);
	}
	return NULL;
}

static void how_long_things_take_is_in_the_metrics(void **state)
{
	static const struct {
		const char *metrics, *line;
	} cases[] = {
		{ "# HELP secretlet_event_visible_seconds x\n"
		  "# TYPE secretlet_event_visible_seconds histogram\n"
		  "secretlet_event_visible_seconds_bucket{le=\"0.0005\"} 4\n"
		  "secretlet_event_visible_seconds_bucket{le=\"0.001\"} 50\n"
		  "secretlet_event_visible_seconds_bucket{le=\"2.5\"} 99\n"
		  "secretlet_event_visible_seconds_bucket{le=\"+Inf\"} 100\n"
		  "secretlet_event_visible_seconds_count 100\n",
		  "\npropagation  half within 1ms, 99% within 2.5s, of 100\n" },
		{ "secretlet_event_visible_seconds_bucket{type=\"secret\",le=\"0.001\"} 30\n"
		  "secretlet_event_visible_seconds_bucket{type=\"secret\",le=\"1\"} 60\n"
		  "secretlet_event_visible_seconds_bucket{type=\"secret\",le=\"+Inf\"} 60\n"
		  "secretlet_event_visible_seconds_bucket{type=\"projected\",le=\"0.001\"} 20\n"
		  "secretlet_event_visible_seconds_bucket{type=\"projected\",le=\"1\"} 40\n"
		  "secretlet_event_visible_seconds_bucket{type=\"projected\",le=\"+Inf\"} 40\n",
		  "\npropagation  half within 1ms, 99% within 1s, of 100\n" },
		{ "secretlet_event_visible_seconds_bucket{le=\"60\"} 1\n"
		  "secretlet_event_visible_seconds_bucket{le=\"+Inf\"} 3\n",
		  "\npropagation  half over 60s, 99% over 60s, of 3\n" },
		{ "secretlet_event_visible_seconds_bucket{le=\"+Inf\"} 0\n", "\npropagation  -\n" },
		{ "", "\npropagation  -\n" },
	};
	struct fixture *f = *state;
	cleanup_free char *path = str_format("%s/control.sock", f->dir);
	pthread_t thread;

	assert_non_null(path);
	served_stop(TAKE_PTR(f->served));
	f->listener = served_listen(path);
	assert_int_equal(pthread_create(&thread, NULL, metrics_main, f), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		f->metrics = cases[i].metrics;
		{
			cleanup_program_result struct program_result r =
				program_run((const char *const[]){ "top", "-b", "-r", f->dir, NULL });

			if (!strstr(r.out, cases[i].line))
				fail_msg("%s is not in\n%s", cases[i].line, r.out);
		}
	}
	shutdown(f->listener, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(f->listener);
}

static void a_dumb_terminal_gets_text(void **state)
{
	struct fixture *f = *state;
	cleanup_running struct running p;

	start(&p, f, "dumb");
	assert_int_equal(running_end(&p, 0), 0);
	assert_true(str_starts(p.text, "secretlet 1.2 on node-1, up 1m0s: healthy\r\n"));
	assert_null(strchr(p.text, '\033'));
}

static void without_a_daemon_there_is_no_screen(void **state)
{
	struct fixture *f = *state;
	cleanup_running struct running p;

	served_stop(TAKE_PTR(f->served));
	start(&p, f, "xterm");
	assert_int_equal(running_end(&p, 0), 3);
	assert_string_equal(p.text, "");
	assert_true(str_starts(p.errors, "secretlet: cannot reach secretlet at "));
}

static void on_a_terminal_it_is_drawn_anew(void **state)
{
	struct fixture *f = *state;
	cleanup_running struct running p;

	start(&p, f, "xterm");
	running_until(&p, p.text, "ERROR");
	assert_true(
		str_starts(p.text, OTHER_SCREEN HOME "secretlet 1.2 on node-1, up 1m0s: \033[32mhealthy\033[0m\033[K"));
	assert_null(strstr(p.text, "\\x1b")); /* beyond the 80th column */
	running_forget(&p);

	f->status = STATUS("false", "105", "1030");
	f->pods = PODS(VOLUME("other", "failed", "null", ""));
	running_until(&p, p.text, "other");
	assert_non_null(strstr(p.text, "\033[31mnot healthy\033[0m: one"));
	assert_non_null(strstr(p.text, "1030 requests, 30/min"));
	assert_non_null(strstr(p.text, "5/min; 105 published"));
	assert_non_null(strstr(p.text, "\033[31m, 1 failed\033[0m"));
	running_forget(&p);

	/* another agent counts from 0 */
	f->status = STATUS("true", "1", "1");
	running_until(&p, p.text, " 1 requests, 0/min");
	assert_int_equal(running_end(&p, SIGTERM), 128 + SIGTERM);
	assert_string_equal(p.errors, "");
}

/* The last frame that is whole: what stands between two homes. Without its sequences. */
static char *last_frame(const struct running *p)
{
	const char *end = p->text, *begin = NULL, *next;
	char *text = calloc(1, RUNNING_TEXT_MAX), *to = text;

	assert_non_null(text);
	while ((next = strstr(end, HOME))) {
		if (strstr(next + 1, HOME))
			begin = next + strlen(HOME);
		end = next + 1;
	}
	assert_non_null(begin);
	for (end--; begin < end; begin++) {
		if (*begin == '\033')
			begin += strcspn(begin, "hlmKJH");
		else
			*to++ = *begin;
	}
	return text;
}

static void it_fits_the_terminal(void **state)
{
	static const struct winsize sizes[] = { { .ws_col = 30, .ws_row = 10 },
						{ .ws_col = 200, .ws_row = 50 },
						{ .ws_col = 1, .ws_row = 1 },
						{ .ws_col = 40, .ws_row = 7 } };
	struct fixture *f = *state;
	cleanup_running struct running p;

	start(&p, f, "xterm");
	running_until(&p, p.text, "ERROR");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_free char *text = NULL;
		size_t n_lines = 1;
		int n = f->n_looks;

		assert_int_equal(ioctl(p.out, TIOCSWINSZ, &sizes[i]), 0);
		kill(p.pid, SIGWINCH);
		/* the second frame from now on is of the new size, whatever was on its way */
		while (f->n_looks < n + 3)
			running_read(&p);
		text = last_frame(&p);
		for (const char *line = text;; line = strchr(line, '\n') + 1, n_lines++) {
			size_t len = strcspn(line, "\r\n");

			if (len > sizes[i].ws_col)
				fail_msg("a line of %zu columns in %d:\n%s", len, sizes[i].ws_col, text);
			if (!strchr(line, '\n'))
				break;
		}
		if (n_lines > sizes[i].ws_row)
			fail_msg("%zu lines in %d:\n%s", n_lines, sizes[i].ws_row, text);
		/* what there is room for is there */
		assert_int_equal(!strstr(text, "older"), sizes[i].ws_row < 13);
		assert_int_equal(!strstr(text, "last good"), sizes[i].ws_col < 100);
		running_forget(&p);
	}
	assert_int_equal(running_end(&p, SIGTERM), 128 + SIGTERM);
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && str_eq(text + len - end_len, end);
}

static void the_terminal_is_left_as_it_was(void **state)
{
	static const struct {
		int signo; /* 0: by the key */
		int status;
	} cases[] = { { SIGINT, 128 + SIGINT },
		      { SIGTERM, 128 + SIGTERM },
		      { SIGHUP, 128 + SIGHUP },
		      { SIGQUIT, 128 + SIGQUIT },
		      { 0, 0 } };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_running struct running p;
		struct termios before, during, after;

		start(&p, f, "xterm");
		running_until(&p, p.text, "ERROR");
		assert_int_equal(tcgetattr(p.out, &during), 0);
		assert_int_equal(during.c_lflag & (ICANON | ECHO), 0);
		assert_int_equal(during.c_lflag & ISIG, ISIG);
		before = during;
		before.c_lflag |= ICANON | ECHO;
		if (!cases[i].signo)
			assert_int_equal(write(p.out, "xq", 2), 2);
		/* the terminal forgets its modes with the last who has it open */
		if (cases[i].signo)
			kill(p.pid, cases[i].signo);
		running_until(&p, p.text, OWN_SCREEN);
		assert_int_equal(running_end(&p, 0), cases[i].status);
		assert_true(ends_with(p.text, OWN_SCREEN));
		assert_int_equal(tcgetattr(p.out, &after), 0);
		assert_int_equal(after.c_lflag, before.c_lflag);
		assert_int_equal(after.c_iflag, before.c_iflag);
		assert_int_equal(after.c_oflag, before.c_oflag);
	}
}

/* What happens in between is the shell's: here nobody would continue it, so the kernel does not stop it. */
static void when_it_is_stopped_the_terminal_is_given_back(void **state)
{
	struct fixture *f = *state;
	cleanup_running struct running p;

	start(&p, f, "xterm");
	running_until(&p, p.text, "ERROR");
	running_forget(&p);
	kill(p.pid, SIGTSTP);
	running_until(&p, p.text, OWN_SCREEN OTHER_SCREEN);
	running_forget(&p);
	running_until(&p, p.text, "ERROR");
	assert_int_equal(running_end(&p, SIGINT), 128 + SIGINT);
}

/* Which nobody is told of: the shell has its terminal back, with its own modes. */
static void after_a_sigstop_the_terminal_is_taken_again(void **state)
{
	struct fixture *f = *state;
	cleanup_running struct running p;
	struct termios shell, during;
	int status;

	start(&p, f, "xterm");
	running_until(&p, p.text, "ERROR");
	kill(p.pid, SIGSTOP);
	assert_int_equal(waitpid(p.pid, &status, WUNTRACED), p.pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(tcgetattr(p.out, &shell), 0);
	shell.c_lflag |= ICANON | ECHO;
	assert_int_equal(tcsetattr(p.out, TCSANOW, &shell), 0);
	while (strstr(p.text, "ERROR")) { /* what was on its way */
		running_forget(&p);
		running_read(&p);
	}
	running_forget(&p);
	kill(p.pid, SIGCONT);
	running_until(&p, p.text, OTHER_SCREEN HOME);
	assert_int_equal(tcgetattr(p.out, &during), 0);
	assert_int_equal(during.c_lflag & (ICANON | ECHO), 0);
	running_until(&p, p.text, "ERROR");
	assert_int_equal(write(p.out, "q", 1), 1);
	running_until(&p, p.text, OWN_SCREEN);
	assert_int_equal(running_end(&p, 0), 0);
	assert_int_equal(tcgetattr(p.out, &during), 0);
	assert_int_equal(during.c_lflag, shell.c_lflag);
}

static void the_daemon_may_be_restarted(void **state)
{
	struct fixture *f = *state;
	cleanup_running struct running p;

	start(&p, f, "xterm");
	running_until(&p, p.text, "healthy");
	running_forget(&p);
	served_stop(TAKE_PTR(f->served));
	running_until(&p, p.text, "\033[31mcannot reach secretlet");
	running_until(&p, p.text, "ERROR"); /* what was known last */
	f->served = served_start(f->dir, &fake_ops, f);
	running_forget(&p);
	running_until(&p, p.text, "\033[32mhealthy");
	assert_int_equal(running_end(&p, SIGTERM), 128 + SIGTERM);
	assert_string_equal(p.errors, "");
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVED(once_it_is_text),
		SERVED(how_long_things_take_is_in_the_metrics),
		SERVED(a_dumb_terminal_gets_text),
		SERVED(without_a_daemon_there_is_no_screen),
		SERVED(on_a_terminal_it_is_drawn_anew),
		SERVED(it_fits_the_terminal),
		SERVED(the_terminal_is_left_as_it_was),
		SERVED(when_it_is_stopped_the_terminal_is_given_back),
		SERVED(after_a_sigstop_the_terminal_is_taken_again),
		SERVED(the_daemon_may_be_restarted),
	};

	unsetenv("NO_COLOR");
	json_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
