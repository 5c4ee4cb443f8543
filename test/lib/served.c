/* Served: a control socket with made-up answers, on a loop in a thread of its own. */

#include "test/lib/served.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

#include "common/str.h"

struct served {
	struct loop *loop;
	struct loop_source *source;
	struct control *control;
	int command; /* eventfd */
	pthread_t thread;
	gid_t group;
	sem_t group_allowed;
};
enum { COMMAND_NOTIFY = 1, COMMAND_GROUP = 1000, COMMAND_STOP = 1000000 }; /* they are added up until they are read */

static void on_command(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct served *s = userdata;
	uint64_t n;

	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	if (n >= COMMAND_STOP) {
		loop_exit(s->loop, 0);
		return;
	}
	if (n >= COMMAND_GROUP) {
		control_allow_group(s->control, s->group);
		sem_post(&s->group_allowed);
	}
	if (n % COMMAND_GROUP)
		control_notify(s->control);
}

static void *thread_main(void *userdata)
{
	struct served *s = userdata;

	loop_run(s->loop);
	control_free(TAKE_PTR(s->control));
	return NULL;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	assert_true(strlen(path) < sizeof(sa.sun_path));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	return sa;
}

int served_listen(const char *path)
{
	struct sockaddr_un sa = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 128), 0);
	assert_int_equal(chmod(path, 0666), 0);
	return fd;
}

int served_connect(const char *path)
{
	struct sockaddr_un sa = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return close_fd(fd);
	return fd;
}

static void command(struct served *s, uint64_t n)
{
	assert_int_equal(write(s->command, &n, sizeof(n)), sizeof(n));
}

struct served *served_start(const char *dir, const struct control_ops *ops, void *userdata)
{
	cleanup_free char *path = str_format("%s/control.sock", dir);
	struct served *s = calloc(1, sizeof(*s));
	struct err e = ERR_INIT;

	assert_non_null(path);
	assert_non_null(s);
	assert_int_equal(sem_init(&s->group_allowed, 0, 0), 0);
	s->command = eventfd(0, EFD_CLOEXEC);
	assert_true(s->command >= 0);
	assert_int_equal(loop_new(&s->loop), 0);
	if (control_new(s->loop, served_listen(path), ops, userdata, &s->control, &e) < 0)
		fail_msg("%s", err_text(&e));
	if (geteuid() != 0) /* the test is to be answered */
		control_allow_group(s->control, getegid());
	assert_int_equal(loop_add_io(s->loop, s->command, EPOLLIN, on_command, s, &s->source), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, thread_main, s), 0);
	return s;
}

void served_allow_group(struct served *s, gid_t gid)
{
	s->group = gid;
	command(s, COMMAND_GROUP);
	while (sem_wait(&s->group_allowed) < 0)
		assert_int_equal(errno, EINTR);
}

void served_notify(struct served *s)
{
	command(s, COMMAND_NOTIFY);
}

void served_stop(struct served *s)
{
	if (!s)
		return;
	command(s, COMMAND_STOP);
	pthread_join(s->thread, NULL);
	loop_source_free(s->source);
	loop_free(s->loop);
	close(s->command);
	sem_destroy(&s->group_allowed);
	free(s);
}
