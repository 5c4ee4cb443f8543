/* Mounts of an earlier run: what mount_probe() says of them and what mount_clear() takes away. The servers are children
 * that never answer a request: a living one is a daemon that hangs, a killed one leaves a dead mount. */
#include "fusefs/mount.h"

#include <dirent.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/clock.h"
#include "test/lib/rig.h"

/* What keeps a child that asks from getting on: it has no processor, or sleeps before it has asked at all. */
static enum { KEPT_BY_NOTHING, KEPT_BY_WORK, KEPT_BY_SLEEP } kept;
static const uint64_t KEPT_USEC = 4500 * USEC_PER_MSEC; /* longer than one that sleeps in the call is watched */

int statfs(const char *path, struct statfs *st)
{
	uint64_t until = clock_monotonic_usec() + KEPT_USEC;

	while (kept == KEPT_BY_WORK && clock_monotonic_usec() < until)
		;
	return syscall(SYS_statfs, path, st);
}

int close_range(unsigned first, unsigned last, int flags)
{
	if (kept == KEPT_BY_SLEEP)
		usleep(KEPT_USEC);
	return syscall(SYS_close_range, first, last, flags);
}

#define BASE "/mnt" /* hidden by a tmpfs, in this process's mount namespace alone */

static int setup_group(void **state)
{
	alarm(120); /* whatever hangs here would hang for ever */
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("test", BASE, "tmpfs", 0, "mode=0755"), 0);
	return 0;
}

static void make_dir(const char *dir)
{
	if (mkdir(dir, 0755) < 0)
		assert_int_equal(errno, EEXIST);
}

static void make_tmpfs(const char *dir)
{
	assert_int_equal(mount("test", dir, "tmpfs", 0, NULL), 0);
}

/* A process that mounts on dir and hangs. */
static pid_t serve_nothing(const char *dir)
{
	int ready[2];
	char c = 0;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct err e = ERR_INIT;
		struct mount_fds fds;

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails does not get to end() */
		if (mount_create(dir, &fds, &e) < 0 || write(ready[1], &c, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

static void end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void mount_dead(const char *dir)
{
	end(serve_nothing(dir));
}

static void assert_state(const char *dir, enum mount_state want, const char *want_fstype)
{
	char fstype[64] = "?";
	enum mount_state state;
	struct err e = ERR_INIT;

	if (mount_probe(dir, &state, fstype, sizeof fstype, &e) < 0)
		fail_msg("%s: %s", dir, err_text(&e));
	if (state != want)
		fail_msg("%s: state %d instead of %d", dir, state, want);
	assert_string_equal(fstype, want_fstype);
	assert_int_equal(mount_probe(dir, &state, NULL, 0, &e), 0);
	assert_int_equal(state, want);
}

static void clear(const char *dir)
{
	struct err e = ERR_INIT;

	if (mount_clear(dir, false, &e) < 0)
		fail_msg("%s: %s", dir, err_text(&e));
}

static void a_plain_folder_is_no_mount(void **state)
{
	make_dir(BASE "/none");
	make_dir(BASE "/none/sub");
	assert_state(BASE "/none", MOUNT_NONE, "");
	assert_state(BASE "/not-there", MOUNT_NONE, "");
	clear(BASE "/none");
	clear(BASE "/not-there");
	/* only what is mounted on exactly this path counts */
	assert_state(BASE, MOUNT_FOREIGN, "tmpfs");
	mount_dead(BASE "/none/sub");
	assert_state(BASE "/none", MOUNT_NONE, "");
	assert_state(BASE "/none/su", MOUNT_NONE, "");
	clear(BASE "/none");
	assert_state(BASE "/none/sub", MOUNT_DEAD, MOUNT_FSTYPE);
	clear(BASE "/none/sub");
}

static void what_is_served_is_alive(void **state)
{
	struct rig *rig = rig_new(NULL);

	assert_state(rig_dir(rig), MOUNT_ALIVE, MOUNT_FSTYPE);
	rig_free(rig);
}

static void a_killed_server_leaves_a_dead_mount(void **state)
{
	struct stat st;

	make_dir(BASE "/dead");
	mount_dead(BASE "/dead");
	assert_int_equal(stat(BASE "/dead/x", &st), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_state(BASE "/dead", MOUNT_DEAD, MOUNT_FSTYPE);
	clear(BASE "/dead");
	assert_state(BASE "/dead", MOUNT_NONE, "");
	clear(BASE "/dead");
}

/* Neither waits for the server, and the mount is not taken for dead. */
static void a_server_that_hangs_is_not_dead(void **state)
{
	pid_t pid;

	make_dir(BASE "/hung");
	pid = serve_nothing(BASE "/hung");
	assert_state(BASE "/hung", MOUNT_ALIVE, MOUNT_FSTYPE);
	clear(BASE "/hung");
	assert_state(BASE "/hung", MOUNT_NONE, "");
	end(pid);
	while (waitpid(-1, NULL, 0) > 0) /* those that asked: the connection has ended */
		;
}

static void a_probe_that_gets_no_processor_finds_a_dead_mount_dead(void **state)
{
	make_dir(BASE "/slow");
	mount_dead(BASE "/slow");
	for (kept = KEPT_BY_WORK; kept <= KEPT_BY_SLEEP; kept++) {
		enum mount_state found;

		assert_int_equal(mount_probe(BASE "/slow", &found, NULL, 0, NULL), 0);
		assert_int_equal(found, MOUNT_DEAD);
	}
	kept = KEPT_BY_NOTHING;
	clear(BASE "/slow");
}

/* As the agent of a keeper that was killed: it is about to go. */
static void a_server_that_ends_while_it_is_asked_is_dead(void **state)
{
	enum mount_state found;
	pid_t pid, killer;

	make_dir(BASE "/ends");
	pid = serve_nothing(BASE "/ends");
	killer = fork();
	assert_true(killer >= 0);
	if (killer == 0) {
		usleep(1300 * USEC_PER_MSEC);
		_exit(kill(pid, SIGKILL));
	}
	assert_int_equal(mount_probe(BASE "/ends", &found, NULL, 0, NULL), 0);
	assert_int_equal(found, MOUNT_DEAD);
	while (waitpid(-1, NULL, 0) > 0)
		;
	clear(BASE "/ends");
}

static void another_file_system_is_foreign_and_stays(void **state)
{
	make_dir(BASE "/foreign");
	make_tmpfs(BASE "/foreign");
	assert_state(BASE "/foreign", MOUNT_FOREIGN, "tmpfs");
	clear(BASE "/foreign");
	assert_state(BASE "/foreign", MOUNT_FOREIGN, "tmpfs");
}

static void of_stacked_mounts_the_topmost_counts(void **state)
{
	make_dir(BASE "/stack");
	make_tmpfs(BASE "/stack");
	mount_dead(BASE "/stack");
	make_tmpfs(BASE "/stack");
	assert_state(BASE "/stack", MOUNT_FOREIGN, "tmpfs");
	clear(BASE "/stack");
	assert_state(BASE "/stack", MOUNT_FOREIGN, "tmpfs");
	assert_int_equal(umount2(BASE "/stack", UMOUNT_NOFOLLOW), 0);
	/* two dead ones on top of somebody else's: the latter is left */
	mount_dead(BASE "/stack");
	assert_state(BASE "/stack", MOUNT_DEAD, MOUNT_FSTYPE);
	clear(BASE "/stack");
	assert_state(BASE "/stack", MOUNT_FOREIGN, "tmpfs");
	assert_int_equal(umount2(BASE "/stack", UMOUNT_NOFOLLOW), 0);
	assert_state(BASE "/stack", MOUNT_NONE, "");
}

static void strange_paths_are_found(void **state)
{
	static const char *const names[] = {
		"with space", " - ",	      "back\\slash",	     "\\040",	 "\\134",   "tab\there", "new\nline",
		"#hash",      "\xc3\xa4\xff", "ends in backslash\\", "quote\"'", "a - b c",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char dir[128];

		snprintf(dir, sizeof dir, BASE "/%s", names[i]);
		make_dir(dir);
		mount_dead(dir);
		assert_state(dir, MOUNT_DEAD, MOUNT_FSTYPE);
		clear(dir);
		assert_state(dir, MOUNT_NONE, "");
	}
}

static size_t n_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void what_cannot_be_mounted_leaves_nothing(void **state)
{
	static const struct {
		const char *dir;
		int r;
	} cases[] = {
		{ BASE "/missing", -ENOENT },
		{ BASE "/file/below", -ENOTDIR },
		{ "", -ENOENT },
	};
	size_t n_before = n_fds();
	FILE *file = fopen(BASE "/file", "w");

	assert_non_null(file);
	fclose(file);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mount_fds fds = { .fuse = -2, .private = -2 };
		struct err e = ERR_INIT;

		assert_int_equal(mount_create(cases[i].dir, &fds, &e), cases[i].r);
		assert_non_null(strstr(err_text(&e), strerror(-cases[i].r)));
		assert_non_null(strstr(err_text(&e), cases[i].dir));
		assert_int_equal(fds.fuse, -2);
		assert_int_equal(fds.private, -2);
		assert_int_equal(n_fds(), n_before);
	}
}

/* Read-only and nothing else, or runc cannot use it for a container in a user namespace. */
static void the_public_mount_is_read_only_and_nothing_else(void **state)
{
	char line[1024], found[1024] = "";
	struct mount_fds fds;
	FILE *info;

	make_dir(BASE "/flags");
	assert_int_equal(mount_create(BASE "/flags", &fds, NULL), 0);
	info = fopen("/proc/self/mountinfo", "r");
	assert_non_null(info);
	while (fgets(line, sizeof line, info))
		if (strstr(line, " " BASE "/flags "))
			snprintf(found, sizeof found, "%s", line);
	fclose(info);
	assert_non_null(strstr(found, " " BASE "/flags ro,relatime "));
	assert_non_null(strstr(found, " - " MOUNT_FSTYPE " secretlet rw,"));
	assert_non_null(strstr(found, ",default_permissions,allow_other"));
	close(fds.fuse);
	close(fds.private);
	assert_state(BASE "/flags", MOUNT_DEAD, MOUNT_FSTYPE);
	clear(BASE "/flags");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_folder_is_no_mount),
		cmocka_unit_test(a_killed_server_leaves_a_dead_mount),
		cmocka_unit_test(a_server_that_hangs_is_not_dead),
		cmocka_unit_test(a_probe_that_gets_no_processor_finds_a_dead_mount_dead),
		cmocka_unit_test(a_server_that_ends_while_it_is_asked_is_dead),
		cmocka_unit_test(another_file_system_is_foreign_and_stays),
		cmocka_unit_test(of_stacked_mounts_the_topmost_counts),
		cmocka_unit_test(strange_paths_are_found),
		cmocka_unit_test(what_cannot_be_mounted_leaves_nothing),
		cmocka_unit_test(the_public_mount_is_read_only_and_nothing_else),
		cmocka_unit_test(what_is_served_is_alive),
	};

	return cmocka_run_group_tests(tests, setup_group, NULL);
}
