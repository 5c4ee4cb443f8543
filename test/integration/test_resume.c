/* Resuming: an agent dies at a chosen moment of a chosen request, and whoever waits for the answer gets it from the next
 * one, once; on kernels that send unanswered requests again, and on those that do not (before 6.9), where the copy in the
 * arena's slot is all there is. Agents are children of this program, with the session's system calls in its hand.
 * It takes long under ASan. */
#include "fusefs/session.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "common/log.h"
#include "common/str.h"
#include "fusefs/mount.h"
#include "fusefs/publish.h"

#define HEAP	   (1u << 20)
#define BASE	   "/mnt" /* hidden by a tmpfs, in this process's mount namespace alone */
#define TEXT	   "the bytes of a secret"
#define VERSION	   "..2026"
#define RESEND	   7
#define RESENT	   (UINT64_C(1) << 63)
#define LIMIT_MSEC 30000

/* Where the agent dies. */
enum moment {
	TAKEN, /* it has read the request, and that is all */
	CARRIED_OUT, /* it is about to answer */
	ANSWERED, /* the kernel has the answer, and the slot says that the request is under way */
};

/* Seen by all processes. */
struct shared {
	uint32_t opcode;
	enum moment moment;
	bool without_resend;
	unsigned n_deaths_left, n_deaths;
	uint64_t unique; /* of the request that they died of; 0: none has */
	unsigned n_answers; /* to that request, which the kernel has taken */
	unsigned n_resend, n_refused; /* that were asked for, and refused */
	unsigned n_agents;
	bool go; /* an agent serves */
};

static struct {
	struct shared *shared;
	char dir[64];
	struct mount_fds mount;
	int arena, answer; /* answer: of the reader, a pipe */
	pid_t agent, reader;
} f;

/* --- the agent's system calls --- */

static const struct fuse_in_header *request; /* in the slot; NULL: this is no agent */

static uint64_t request_unique(void)
{
	return request->unique & ~RESENT;
}

static bool is_deadly(enum moment moment)
{
	struct shared *s = f.shared;

	return s->moment == moment && s->n_deaths_left > 0 && request->opcode == s->opcode &&
	       (s->unique == 0 || s->unique == request_unique());
}

static void die(void)
{
	f.shared->n_deaths_left--;
	f.shared->n_deaths++;
	f.shared->unique = request_unique();
	kill(getpid(), SIGKILL);
}

ssize_t read(int fd, void *buf, size_t len)
{
	ssize_t n = syscall(SYS_read, fd, buf, len);

	if (request && buf == request && n > 0 && is_deadly(TAKEN))
		die();
	return n;
}

ssize_t writev(int fd, const struct iovec *iov, int n_iov)
{
	bool last, counted;
	ssize_t n;

	if (request && is_deadly(CARRIED_OUT))
		die();
	if (!request)
		return syscall(SYS_writev, fd, iov, n_iov);
	last = is_deadly(ANSWERED);
	counted = last || request_unique() == f.shared->unique;
	f.shared->n_answers += counted; /* before it wakes the reader */
	n = syscall(SYS_writev, fd, iov, n_iov);
	if (n < 0)
		f.shared->n_answers -= counted;
	if (last)
		die();
	return n;
}

ssize_t write(int fd, const void *buf, size_t len)
{
	const struct fuse_out_header *head = buf;

	if (request && len == sizeof *head && head->unique == 0 && head->error == RESEND) {
		f.shared->n_resend++;
		if (f.shared->without_resend) {
			f.shared->n_refused++;
			errno = EINVAL; /* what fuse_dev_write() says to a notification that it does not know */
			return -1;
		}
	}
	return syscall(SYS_write, fd, buf, len);
}

/* --- agents --- */

static void must(int r, const struct err *e)
{
	if (r >= 0)
		return;
	fprintf(stderr, "agent: %s\n", err_text(e));
	_exit(1);
}

static void volume_make(struct tree *t)
{
	cleanup_secblock struct secblock *b = NULL;
	struct payload_file file = { .mode = 0644, .digest = digest_of(TEXT, strlen(TEXT)) };
	struct node *root = tree_node(t, TREE_ROOT_ID), *vol, *v, *n;
	struct err e = ERR_INIT;

	must(secblock_new(strlen(TEXT), &b, &e), &e);
	memcpy(b->data, TEXT, strlen(TEXT));
	file.content = (struct secspan){ .block = b, .len = strlen(TEXT) };
	must(tree_stage_dir(t, root, "vol", 0755, 0, &vol), &e);
	must(tree_fill_version(t, vol, VERSION, 0755, 0, &file.digest, &v), &e);
	must(tree_fill_file(t, v, "key", &file, &n), &e);
	must(tree_fill_link(t, vol, "..data", VERSION, &n), &e);
	must(tree_fill_link(t, vol, "key", "..data/key", &n), &e);
	must(tree_commit_mkdir(t, root, "vol", &n), &e);
	/* and what the publisher is about to do */
	must(tree_stage_dir(t, root, "new", 0755, 0, &n), &e);
}

static void ended(void *userdata, int r)
{
	_exit(0);
}

static _Noreturn void agent_main(void)
{
	struct err e = ERR_INIT;
	struct arena *arena;
	struct loop *loop;
	struct tree *tree;
	struct publish *publish;
	struct session *session;
	int fds[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(f.answer);
	must(arena_open(f.arena, &arena, &e), &e);
	must(loop_new(&loop), &e);
	must(tree_open(1000000, arena, &tree, &e), &e);
	must(publish_new(loop, tree, &publish), &e);
	if (!tree_find(tree, tree_node(tree, TREE_ROOT_ID), "vol")) {
		volume_make(tree);
		must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), &e);
		must(publish_attach(publish, fds[0], f.reader, NULL, NULL), &e);
		arena_connection(arena)->publisher = f.reader;
	}
	request = (const void *)arena_connection(arena)->slot.request;
	must(session_new(loop, f.mount.fuse, tree, publish, arena_connection(arena), ended, NULL, &session, &e), &e);
	__atomic_store_n(&f.shared->go, true, __ATOMIC_SEQ_CST);
	loop_run(loop);
	_exit(0);
}

static void agent_start(void)
{
	f.shared->go = false;
	f.shared->n_agents++;
	f.agent = fork();
	assert_true(f.agent >= 0);
	if (f.agent == 0)
		agent_main();
}

static void agent_end(void)
{
	if (f.agent > 0) {
		kill(f.agent, SIGKILL);
		waitpid(f.agent, NULL, 0);
	}
	f.agent = 0;
}

/* The keeper's part: a new agent for each that has died, until the reader's answer is there. */
static const char *answer_wait(void)
{
	static char text[128];
	struct pollfd p = { .fd = f.answer, .events = POLLIN };
	ssize_t n;

	for (int i = 0; i < LIMIT_MSEC / 10 && poll(&p, 1, 10) == 0; i++) {
		if (waitpid(f.agent, NULL, WNOHANG) == f.agent)
			agent_start();
	}
	if (!(p.revents & POLLIN))
		return "nobody answers";
	n = read(f.answer, text, sizeof text - 1);
	text[MAX(n, 0)] = 0;
	return text;
}

/* An agent that dies after its answer: nobody waits for the next one, which has its request all the same. */
static void next_agent_wait(void)
{
	if (f.shared->n_agents == 1) {
		assert_int_equal(waitpid(f.agent, NULL, 0), f.agent);
		agent_start();
	}
	for (int i = 0; i < LIMIT_MSEC && !__atomic_load_n(&f.shared->go, __ATOMIC_SEQ_CST); i++)
		usleep(1000);
	assert_true(f.shared->go);
}

/* Lookup count of what is called `name` in the root, as a next agent finds it. -1: there is no such thing. */
static int lookups_of(const char *name)
{
	int status;
	pid_t pid;

	agent_end();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct err e = ERR_INIT;
		struct arena *arena;
		struct tree *tree;
		struct node *n;

		must(arena_open(f.arena, &arena, &e), &e);
		must(tree_open(1000000, arena, &tree, &e), &e);
		n = tree_find(tree, tree_node(tree, TREE_ROOT_ID), name);
		_exit(n ? (int)MIN(node_lookups(n), UINT64_C(99)) : 100);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status) == 100 ? -1 : WEXITSTATUS(status);
}

/* --- readers: their answer is a text --- */

static const char *path(const char *rest)
{
	static char p[128];

	snprintf(p, sizeof p, "%s/%s", f.dir, rest);
	return p;
}

static void do_stat(const char *rest, char text[static 100])
{
	struct stat st;

	if (lstat(path(rest), &st) < 0)
		snprintf(text, 100, "%s", strerrorname_np(errno));
	else
		snprintf(text, 100, "%o", st.st_mode);
}

static void do_lookup(char text[static 100])
{
	do_stat("vol", text);
}

static void do_getattr(char text[static 100])
{
	do_stat("", text);
}

static void do_readlink(char text[static 100])
{
	ssize_t n = readlink(path("vol/..data"), text, 99);

	if (n < 0)
		snprintf(text, 100, "%s", strerrorname_np(errno));
	else
		text[n] = 0;
}

static void do_read(char text[static 100])
{
	cleanup_fd int fd = open(path("vol/key"), O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, 99);

	if (n < 0)
		snprintf(text, 100, "%s", strerrorname_np(errno));
	else
		text[n] = 0;
}

static void do_readdir(char text[static 100])
{
	DIR *d = opendir(path("vol"));
	int n = 0;

	while (d && (errno = 0, readdir(d)))
		n++;
	snprintf(text, 100, "%s, %d entries", errno ? strerrorname_np(errno) : "good", n);
}

static void do_getxattr(char text[static 100])
{
	ssize_t n = getxattr(path("vol"), "user.secretlet.uid", text, 99);

	snprintf(text, 100, "%s", n < 0 ? strerrorname_np(errno) : "there is one");
}

static void do_listxattr(char text[static 100])
{
	ssize_t n = listxattr(path("vol"), text, 99);

	snprintf(text, 100, "%s", n < 0 ? strerrorname_np(errno) : n == 0 ? "none" : "some");
}

/* As the publisher. */
static void do_mkdir(char text[static 100])
{
	snprintf(text, 100, "%s", mkdirat(f.mount.private, "new", 0755) < 0 ? strerrorname_np(errno) : "made");
}

static const struct request {
	const char *name;
	uint32_t opcode;
	void (*fn)(char text[static 100]);
	const char *answer;
	bool is_change;
} REQUESTS[] = {
	{ "LOOKUP", FUSE_LOOKUP, do_lookup, "40755" },
	{ "GETATTR", FUSE_GETATTR, do_getattr, "40711" },
	{ "READLINK", FUSE_READLINK, do_readlink, VERSION },
	{ "READ", FUSE_READ, do_read, TEXT },
	{ "READDIR", FUSE_READDIR, do_readdir, "good, 5 entries" },
	{ "OPEN", FUSE_OPEN, do_read, TEXT },
	{ "OPENDIR", FUSE_OPENDIR, do_readdir, "good, 5 entries" },
	{ "GETXATTR", FUSE_GETXATTR, do_getxattr, "ENODATA" },
	{ "LISTXATTR", FUSE_LISTXATTR, do_listxattr, "none" },
	{ "MKDIR", FUSE_MKDIR, do_mkdir, "made", true },
};

static void reader_start(const struct request *r)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	f.answer = fds[0];
	f.reader = fork();
	assert_true(f.reader >= 0);
	if (f.reader == 0) {
		char text[100] = "";

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(f.mount.fuse);
		while (!__atomic_load_n(&f.shared->go, __ATOMIC_SEQ_CST))
			usleep(1000);
		r->fn(text);
		_exit(write(fds[1], text, strlen(text)) > 0 ? 0 : 1);
	}
	close(fds[1]);
}

/* --- a connection --- */

static void connection_begin(void)
{
	static int n;
	struct err e = ERR_INIT;

	snprintf(f.dir, sizeof f.dir, BASE "/pods%d", n++);
	assert_int_equal(mkdir(f.dir, 0755), 0);
	if (mount_create(f.dir, &f.mount, &e) < 0 || arena_create(HEAP, &f.arena, &e) < 0)
		fail_msg("%s", err_text(&e));
	*f.shared = (struct shared){ 0 };
}

/* Whoever still waits for an answer is let go. */
static void connection_end(void)
{
	agent_end();
	f.mount.fuse = close_fd(f.mount.fuse);
	f.mount.private = close_fd(f.mount.private);
	f.arena = close_fd(f.arena);
	f.answer = close_fd(f.answer);
	umount2(f.dir, MNT_DETACH);
	if (f.reader > 0) {
		kill(f.reader, SIGKILL);
		waitpid(f.reader, NULL, 0);
	}
	f.reader = 0;
}

static int setup_group(void **state)
{
	f.shared = mmap(NULL, sizeof *f.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	f.mount = (struct mount_fds){ -1, -1 };
	f.arena = f.answer = -1;
	log_init("test", LOG_LEVEL_ERROR);
	return f.shared != MAP_FAILED && unshare(CLONE_NEWNS) == 0 &&
			       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
			       mount("test", BASE, "tmpfs", 0, "mode=0755") == 0
		       ? 0
		       : -1;
}

static int teardown(void **state)
{
	connection_end();
	return 0;
}

static void die_at(const struct request *r, enum moment moment, unsigned n_deaths, bool without_resend)
{
	connection_begin();
	f.shared->opcode = r->opcode;
	f.shared->moment = moment;
	f.shared->n_deaths_left = n_deaths;
	f.shared->without_resend = without_resend;
	reader_start(r);
	agent_start();
}

/* Every request, each moment, and after the last death an answer. */
static void deaths(unsigned n_deaths, bool without_resend)
{
	for (size_t i = 0; i < ARRAY_SIZE(REQUESTS); i++) {
		const struct request *r = &REQUESTS[i];

		for (enum moment moment = TAKEN; moment <= ANSWERED; moment++) {
			bool lost = r->is_change && moment == TAKEN; /* the order is given again, with what is staged */
			/* what is not read again cannot kill when it is read */
			bool once = moment == ANSWERED || (moment == TAKEN && without_resend);
			unsigned want_deaths = once ? 1 : n_deaths;
			const char *answer;
			int count;

			die_at(r, moment, want_deaths, without_resend);
			answer = answer_wait();
			if (!str_eq(answer, lost ? "EROFS" : r->answer))
				fail_msg("%s, moment %u: '%s'", r->name, moment, answer);
			if (moment == ANSWERED)
				next_agent_wait();
			if (f.shared->n_deaths != want_deaths || f.shared->n_answers != 1)
				fail_msg("%s, moment %u: %u deaths, %u answers", r->name, moment, f.shared->n_deaths,
					 f.shared->n_answers);
			assert_int_equal(f.shared->n_resend, want_deaths);
			assert_int_equal(f.shared->n_refused, without_resend ? f.shared->n_resend : 0);
			count = lookups_of(r->is_change ? "new" : "vol");
			if (count != (lost ? -1 : r->opcode == FUSE_GETATTR ? 0 : 1))
				fail_msg("%s, moment %u: lookup count %d", r->name, moment, count);
			connection_end();
		}
	}
}

static void request_under_way_is_sent_again(void **state)
{
	deaths(1, false);
}

static void request_under_way_is_answered_without_being_sent_again(void **state)
{
	deaths(1, true);
}

static void the_second_that_dies_of_it_too(void **state)
{
	deaths(2, false);
}

static void the_second_that_dies_of_it_too_without_being_sent_again(void **state)
{
	deaths(2, true);
}

static void deadly(bool without_resend)
{
	die_at(&REQUESTS[2], CARRIED_OUT, 1000, without_resend); /* the kernel tries a READ that failed once more */
	assert_string_equal(answer_wait(), "EIO");
	assert_int_equal(f.shared->n_deaths, SESSION_DEATHS_MAX);
}

static void three_deaths_are_an_error(void **state)
{
	deadly(false);
}

static void three_deaths_are_an_error_without_being_sent_again(void **state)
{
	deadly(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(request_under_way_is_sent_again, teardown),
		cmocka_unit_test_teardown(request_under_way_is_answered_without_being_sent_again, teardown),
		cmocka_unit_test_teardown(the_second_that_dies_of_it_too, teardown),
		cmocka_unit_test_teardown(the_second_that_dies_of_it_too_without_being_sent_again, teardown),
		cmocka_unit_test_teardown(three_deaths_are_an_error, teardown),
		cmocka_unit_test_teardown(three_deaths_are_an_error_without_being_sent_again, teardown),
	};

	return cmocka_run_group_tests(tests, setup_group, NULL);
}
