/* Signal finder: whom it finds in made-up trees of /proc, and whom it signals of real processes. */
#include "agent/signal_finder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/str.h"
#include "test/lib/skip.h"
#include "test/lib/valgrind.h"

#define UID	 "6a2c9a4e-1111-4c3d-8e5f-0123456789ab"
#define OTHER	 "0b7d2c55-2222-4c3d-8e5f-0123456789ab"
#define ID(x)	 "a" #x "00000000000000000000000000000000000000000000000000000000000000"
#define SCOPE(x) "/kubepods.slice/kubepods-pod6a2c9a4e_1111_4c3d_8e5f_0123456789ab.slice/cri-containerd-" ID(x) ".scope"
#define HOST	 10 /* the mount that is the host's root folder */
#define DAEMON	 11 /* and ours */
#define DEVICE	 "0:98"
#define ROOT	 "/" UID "/volumes/kubernetes.io~secret/creds"

static_assert(sizeof(ID(1)) == 64 + 1, "a container's id");

static char dir[] = "/tmp/test-signal-finder-XXXXXX";
static struct signal_finder finder = { .major = 0, .minor = 98, .own_root = DAEMON, .keeper = 400 };

static void put(int pid, const char *name, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%d", pid);
	(void)mkdirat(finder.proc, path, 0755);
	snprintf(path, sizeof(path), "%d/%s", pid, name);
	fd = openat(finder.proc, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* A process as the kernel shows it; what is 0 gets a default. */
struct made {
	int pid, parent, start;
	const char *comm, *cgroup, *nspid;
	char state;
	unsigned flags;
	int root_mount;
	const char *device, *root; /* of one mount; root NULL: it has none of ours */
	const char *more_mounts, *signals;
};

static void make(struct made m)
{
	cleanup_free char *stat = NULL, *cgroup = NULL, *status = NULL, *mounts = NULL;
	int root = m.root_mount ?: 1000 + m.pid;

	stat = str_format("%d (%s) %c %d 1 1 0 -1 %u 1 2 3 4 5 6 7 8 20 0 1 0 %d 1 2\n", m.pid, m.comm ?: "program",
			  m.state ?: 'S', m.pid == 1 ? 0 : m.parent ?: 1, m.flags, m.start ?: m.pid);
	cgroup = str_format("0::%s\n", m.cgroup ?: "/");
	status = str_format(
		"Name:\tprogram\nNSpid:\t%d%s\n%s", m.pid, m.nspid ?: "",
		m.signals ?: "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000001\n");
	mounts = str_format(
		"%d 1 0:50 / / rw - overlay overlay rw\n%s%d %d %s %s /creds ro master:1 - fuse.secretlet x ro\n", root,
		m.more_mounts ?: "", root + 5000, root, m.root ? m.device ?: DEVICE : "0:51", m.root ?: "/");
	assert_true(stat && cgroup && status && mounts);
	put(m.pid, "stat", stat);
	put(m.pid, "cgroup", cgroup);
	put(m.pid, "status", status);
	put(m.pid, "mountinfo", mounts);
}
#define MAKE(...) make((struct made){ __VA_ARGS__ })

static int begin(void **state)
{
	memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
	assert_non_null(mkdtemp(dir));
	finder.proc = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(finder.proc >= 0);
	MAKE(.pid = 1, .root_mount = HOST, .cgroup = "/init.scope");
	MAKE(.pid = 400, .root_mount = DAEMON, .cgroup = "/system.slice/secretlet.service");
	return 0;
}

static int end(void **state)
{
	char command[64];

	close(finder.proc);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static char found_text[1024];

static void on_found(void *userdata, const struct signal_wanted *w, const struct signal_target *t)
{
	size_t len = strlen(found_text);

	snprintf(found_text + len, sizeof(found_text) - len, "%s%s:%d", len ? " " : "", w->volume, (int)t->pid);
	if (userdata)
		*(struct signal_target *)userdata = *t;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "creds:5 creds:7", in order. */
static const char *found_of(const struct signal_wanted *wanted, size_t n)
{
	static char sorted[1024];
	char *words[64] = { NULL }, *save = NULL;
	size_t n_words = 0;

	found_text[0] = sorted[0] = '\0';
	assert_int_equal(signal_find(&finder, wanted, n, on_found, NULL), 0);
	for (char *word = strtok_r(found_text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		words[n_words++] = word;
	qsort(words, n_words, sizeof(*words), compare);
	for (size_t i = 0; i < n_words; i++)
		snprintf(sorted + strlen(sorted), sizeof(sorted) - strlen(sorted), "%s%s", i ? " " : "", words[i]);
	return sorted;
}

static const struct signal_wanted CREDS = { .uid = UID, .volume = "creds" };
#define FOUND() found_of(&CREDS, 1)

static void what_a_mounts_root_shows(void **state)
{
	static const struct {
		const char *root;
		bool shows;
	} roots[] = {
		{ ROOT, true },
		{ "/" UID, true },
		{ "/" UID "/volumes", true },
		{ "/" UID "/volumes/kubernetes.io~secret", true },
		{ "/" UID "/volumes/kubernetes.io~projected/creds", true },
		{ "/" UID "/live/creds/password", true },
		{ "/" UID "/live/creds", true },
		{ "/" UID "/live", true },
		/* all of it: the host's own */
		{ "/", false },
		{ "", false },
		/* one version's, which stays as it is */
		{ ROOT "/..2026_11_22_05_50_05.1/password", false },
		{ ROOT "/password", false },
		{ ROOT "//deleted", false },
		{ "/" UID "/live/other/password", false },
		{ "/" UID "/live/creds/a/b", false },
		{ "/" UID "/volumes/kubernetes.io~secret/creds2", false },
		{ "/" UID "/volumes/kubernetes.io~secret/cred", false },
		{ "/" UID "/elsewhere/kubernetes.io~secret/creds", false },
		{ "/" UID "0/volumes/kubernetes.io~secret/creds", false },
		{ "/" OTHER "/volumes/kubernetes.io~secret/creds", false },
		{ "/by-name/default/web", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(roots); i++)
		if (signal_root_shows(roots[i].root, UID, "creds") != roots[i].shows)
			fail_msg("%s", roots[i].root);
	assert_false(signal_root_shows("/", "", ""));
	assert_false(signal_root_shows("/", "", "creds"));
}

static void the_oldest_of_a_container_is_its_main_process(void **state)
{
	MAKE(.pid = 50, .start = 100, .cgroup = SCOPE(1), .root = ROOT, .nspid = "\t1");
	MAKE(.pid = 20, .start = 300, .cgroup = SCOPE(1), .root = ROOT,
	     .nspid = "\t7"); /* exec, a pid that was free again */
	MAKE(.pid = 60, .start = 101, .cgroup = SCOPE(1), .root = ROOT, .parent = 50, .nspid = "\t8");
	MAKE(.pid = 70, .cgroup = SCOPE(2), .root = ROOT, .nspid = "\t1");
	MAKE(.pid = 80, .cgroup = SCOPE(3), .nspid = "\t1"); /* another container of the pod, without it */
	MAKE(.pid = 90, .cgroup = SCOPE(4), .root = "/" UID "/volumes/kubernetes.io~secret/other", .nspid = "\t1");
	assert_string_equal(FOUND(), "creds:50 creds:70");
}

static void what_a_container_makes_beneath_its_cgroup_is_it(void **state)
{
	MAKE(.pid = 50, .cgroup = SCOPE(1) "/init.scope", .root = ROOT, .nspid = "\t1");
	MAKE(.pid = 51, .cgroup = SCOPE(1) "/system.slice/a.service", .root = ROOT, .nspid = "\t2");
	MAKE(.pid = 52, .cgroup = "/machine.slice/libpod-" ID(2) ".scope/container", .root = ROOT, .nspid = "\t1");
	MAKE(.pid = 53, .cgroup = "/machine.slice/libpod-" ID(2) ".scope/container/x", .root = ROOT, .nspid = "\t2");
	assert_string_equal(FOUND(), "creds:50 creds:52");
}

/* shareProcessNamespace: the pause container is process 1, and mounts nothing. hostPID: there is no namespace at all. */
static void pid_namespaces_may_be_others(void **state)
{
	MAKE(.pid = 50, .cgroup = SCOPE(1), .nspid = "\t1", .comm = "pause");
	MAKE(.pid = 60, .cgroup = SCOPE(2), .root = ROOT, .nspid = "\t7");
	MAKE(.pid = 70, .cgroup = SCOPE(3), .root = ROOT);
	assert_string_equal(FOUND(), "creds:60 creds:70");
}

/* The volume is the file system's and the pod's, not a name's. */
static void another_file_system_is_none_of_ours(void **state)
{
	MAKE(.pid = 50, .cgroup = SCOPE(1), .root = ROOT, .device = "0:99", .nspid = "\t1");
	MAKE(.pid = 51, .cgroup = SCOPE(2), .root = ROOT, .device = "98:0", .nspid = "\t1");
	MAKE(.pid = 52, .cgroup = SCOPE(3), .root = "/" OTHER "/volumes/kubernetes.io~secret/creds", .nspid = "\t1");
	assert_string_equal(FOUND(), "");
}

static void the_hosts_processes_are_no_containers(void **state)
{
	MAKE(.pid = 50, .cgroup = "/system.slice/a.service", .root = ROOT, .root_mount = HOST);
	MAKE(.pid = 51, .cgroup = "/system.slice/b.service", .root = ROOT, .root_mount = DAEMON);
	/* not even those that somebody has put into a container's cgroup, or into a namespace */
	MAKE(.pid = 52, .cgroup = SCOPE(1), .root = ROOT, .root_mount = HOST);
	MAKE(.pid = 53, .cgroup = "/x", .root = ROOT, .root_mount = HOST, .nspid = "\t1");
	assert_string_equal(FOUND(), "");
}

/* BindReadOnlyPaths=: a mount namespace of its own, and a cgroup. */
static void a_unit_is_a_container(void **state)
{
	MAKE(.pid = 50, .cgroup = "/system.slice/app.service", .root = ROOT);
	MAKE(.pid = 51, .cgroup = "/system.slice/app.service", .root = ROOT, .parent = 50);
	MAKE(.pid = 60, .cgroup = "/system.slice/more.service/main", .root = ROOT);
	MAKE(.pid = 61, .cgroup = "/system.slice/more.service/worker", .root = ROOT, .parent = 60);
	assert_string_equal(FOUND(), "creds:50 creds:60");
}

#define UNIT(name, pid_, ...) MAKE(.pid = pid_, .cgroup = "/system.slice/" name ".service", __VA_ARGS__)

/* mount --bind on the host: each unit with a mount namespace of its own (PrivateTmp=, ProtectSystem=) has it, too. */
static void bound_on_the_host_private_tmp_unit_is_not_signalled(void **state)
{
	MAKE(.pid = 1, .root_mount = HOST, .cgroup = "/init.scope", .root = ROOT);
	UNIT("systemd-logind", 50, .root = ROOT);
	/* with a pid namespace, too (PrivatePIDs=); somebody's sandbox, not the first of its cgroup */
	UNIT("private", 51, .root = ROOT, .nspid = "\t1");
	UNIT("sandbox", 52, .root_mount = HOST);
	UNIT("sandbox", 53, .root = ROOT, .parent = 52, .nspid = "\t1");
	/* a pod that watches the host, whose root folder it has mounted */
	MAKE(.pid = 54, .cgroup = "/kubepods/pod" OTHER "/" ID(4), .root = ROOT, .nspid = "\t1");
	assert_string_equal(FOUND(), "");
	/* the containers themselves are found as ever */
	MAKE(.pid = 60, .cgroup = SCOPE(1), .root = ROOT, .nspid = "\t1");
	MAKE(.pid = 61, .cgroup = "/machine.slice/libpod-" ID(2) ".scope", .root = ROOT, .nspid = "\t1");
	/* and a unit that has it bound for itself: another one, or another folder of it */
	UNIT("app", 62, .root = "/" UID "/volumes");
	assert_string_equal(FOUND(), "creds:60 creds:61 creds:62");
	assert_string_equal(found_of(&(struct signal_wanted){ .uid = UID, .volume = "other" }, 1), "other:62");
}

/* The keeper's own mount namespace is as good as the host's. */
static void bound_where_the_keeper_is_counts_for_nobody(void **state)
{
	MAKE(.pid = 400, .root_mount = DAEMON, .cgroup = "/system.slice/secretlet.service", .root = ROOT);
	UNIT("app", 50, .root = ROOT);
	MAKE(.pid = 60, .cgroup = SCOPE(1), .root = ROOT);
	assert_string_equal(FOUND(), "creds:60");
}

static void where_the_hosts_mounts_cannot_be_read_only_containers_count(void **state)
{
	assert_int_equal(unlinkat(finder.proc, "1/mountinfo", 0), 0);
	UNIT("app", 50, .root = ROOT);
	MAKE(.pid = 60, .cgroup = SCOPE(1), .root = ROOT);
	assert_string_equal(FOUND(), "creds:60");
}

/* unshare -m in somebody's session, with the volume bound somewhere. */
static void who_has_no_cgroup_of_its_own_is_none(void **state)
{
	MAKE(.pid = 50, .cgroup = "/user.slice/user-0.slice/session-1.scope", .root_mount = HOST);
	MAKE(.pid = 51, .cgroup = "/user.slice/user-0.slice/session-1.scope", .root = ROOT, .parent = 50);
	MAKE(.pid = 52, .cgroup = "/", .root = ROOT);
	MAKE(.pid = 53, .cgroup = "/", .root = ROOT, .nspid = "\t2");
	MAKE(.pid = 2, .cgroup = "/", .root_mount = HOST);
	assert_string_equal(FOUND(), "");
}

/* The main process is what counts, whatever others in the container have mounted. */
static void a_container_whose_main_process_does_not_show_it_is_none(void **state)
{
	MAKE(.pid = 50, .cgroup = SCOPE(1), .nspid = "\t1");
	MAKE(.pid = 51, .cgroup = SCOPE(1), .root = ROOT, .parent = 50, .nspid = "\t7");
	MAKE(.pid = 52, .cgroup = SCOPE(1), .root = ROOT, .parent = 50, .nspid = "\t8\t1");
	assert_string_equal(FOUND(), "");
}

/* Without cgroups a container is told by its pid namespace; what it starts in namespaces of its own is a part of it. */
static void without_cgroups_the_first_of_a_namespace_is_it(void **state)
{
	MAKE(.pid = 2, .cgroup = "/", .root_mount = HOST);
	MAKE(.pid = 50, .cgroup = "/", .root = ROOT, .nspid = "\t1", .parent = 2);
	MAKE(.pid = 51, .cgroup = "/", .root = ROOT, .nspid = "\t2", .parent = 50);
	MAKE(.pid = 52, .cgroup = "/", .root = ROOT, .nspid = "\t3\t1", .parent = 51);
	MAKE(.pid = 60, .cgroup = "/", .root = ROOT, .nspid = "\t1", .parent = 2);
	assert_string_equal(FOUND(), "creds:50 creds:60");
}

static void what_ends_and_what_is_the_kernels_is_passed_over(void **state)
{
	MAKE(.pid = 50, .cgroup = SCOPE(1), .root = ROOT, .state = 'Z');
	MAKE(.pid = 51, .cgroup = SCOPE(1), .root = ROOT, .flags = 4);
	MAKE(.pid = 52, .cgroup = SCOPE(1), .root = ROOT);
	MAKE(.pid = 60, .cgroup = "/a.service", .root = ROOT, .flags = 0x200000);
	put(70, "stat", "70 (x) S");
	put(71, "stat", "");
	assert_string_equal(FOUND(), "creds:52");
}

static void the_keeper_and_its_children_are_never_found(void **state)
{
	MAKE(.pid = 400, .cgroup = SCOPE(1), .root = ROOT);
	MAKE(.pid = 401, .cgroup = SCOPE(2), .root = ROOT, .parent = 400);
	MAKE(.pid = (int)getpid(), .cgroup = SCOPE(3), .root = ROOT);
	assert_string_equal(FOUND(), "");
}

static void many_volumes_are_found_in_one_walk(void **state)
{
	static const struct signal_wanted wanted[] = { { .uid = UID, .volume = "a" },
						       { .uid = UID, .volume = "b" },
						       { .uid = OTHER, .volume = "a" },
						       { .uid = UID, .volume = "none" } };

	MAKE(.pid = 50, .cgroup = SCOPE(1), .root = "/" UID "/volumes/kubernetes.io~secret/a",
	     .more_mounts = "7 8 0:98 /" UID "/volumes/kubernetes.io~projected/b /b ro - fuse x ro\n"
			    "9 8 0:98 /" UID "/volumes/kubernetes.io~secret/a /again ro - fuse x ro\n");
	MAKE(.pid = 51, .cgroup = SCOPE(2), .root = "/" UID "/volumes/kubernetes.io~secret/b");
	MAKE(.pid = 52, .cgroup = "/kubepods/pod" OTHER "/" ID(5), .root = "/" OTHER "/volumes/kubernetes.io~secret/a");
	assert_string_equal(found_of(wanted, ARRAY_SIZE(wanted)), "a:50 a:52 b:50 b:51");
}

/* More than what is read at once, and names with blanks. */
static void long_tables_of_mounts_are_read_whole(void **state)
{
	cleanup_free char *more = calloc(1, 1 << 20);

	assert_non_null(more);
	for (size_t i = 0, len = 0; i < 3000; i++)
		len += (size_t)snprintf(
			more + len, (1 << 20) - len,
			"%zu 8 0:77 /some/where/%zu /mnt/a\\040long\\040name/%zu rw shared:1 - ext4 /dev/x rw\n",
			100 + i, i, i);
	MAKE(.pid = 50, .cgroup = SCOPE(1), .root = ROOT, .more_mounts = more);
	MAKE(.pid = 51, .cgroup = SCOPE(2), .root = "/" UID "/volumes/kubernetes.io~secret/a\\040b");
	assert_string_equal(FOUND(), "creds:50");
	assert_string_equal(found_of(&(struct signal_wanted){ .uid = UID, .volume = "a b" }, 1), "a b:51");
}

static void a_target_says_what_it_is(void **state)
{
	struct signal_target t = { .pid = 0 };

	MAKE(.pid = 50, .start = 4711, .comm = "a (b) c", .cgroup = SCOPE(1) "/x", .root = ROOT);
	assert_int_equal(signal_find(&finder, &CREDS, 1, on_found, &t), 0);
	assert_int_equal(t.pid, 50);
	assert_int_equal(t.start_ticks, 4711);
	assert_string_equal(t.comm, "a (b) c");
	assert_string_equal(t.cgroup, SCOPE(1));
	assert_string_equal(t.id.container, ID(1));
	assert_string_equal(t.id.runtime, "containerd");
}

/* ---- signals to real processes, of which the tree says what it likes ---- */

/* valgrind 3.19 has no pidfd_open(2) */
#define NEEDS_PIDFDS()                                                                                                 \
	do {                                                                                                           \
		if (under_valgrind())                                                                                  \
			skip_because("valgrind does not know pidfd_open()");                                           \
	} while (0)

static volatile sig_atomic_t n_caught;

static void catch_it(int signo)
{
	n_caught++;
}

/* A child that ends with how many signals it has caught once it is told to by SIGURG; -1: it was ended. */
static pid_t start_child(void)
{
	pid_t pid;
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		sigset_t urg, old;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGTERM, SIG_DFL);
		signal(SIGHUP, catch_it);
		signal(SIGUSR1, catch_it);
		signal(SIGURG, catch_it);
		sigemptyset(&urg);
		sigaddset(&urg, SIGURG);
		sigprocmask(SIG_BLOCK, &urg, &old);
		if (write(ready[1], "r", 1) != 1)
			_exit(99);
		while (sigwaitinfo(&urg, NULL) != SIGURG)
			;
		_exit(n_caught);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static int end_child(pid_t pid)
{
	int status;

	kill(pid, SIGURG);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define CATCHES(mask) "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t" mask "\n"

static int send_to(pid_t pid, int signo, const char *comm, const char *signals)
{
	struct signal_target t;

	MAKE(.pid = (int)pid, .cgroup = SCOPE(1), .root = ROOT, .comm = comm, .signals = signals);
	memset(&t, 0, sizeof(t));
	found_text[0] = '\0';
	assert_int_equal(signal_find(&finder, &CREDS, 1, on_found, &t), 0);
	assert_int_equal(t.pid, pid);
	return signal_send(&finder, &CREDS, &t, signo);
}

static void a_signal_reaches_who_catches_it(void **state)
{
	pid_t pid = start_child();

	NEEDS_PIDFDS();
	assert_int_equal(send_to(pid, SIGHUP, NULL, CATCHES("0000000000000001")), 0);
	assert_int_equal(end_child(pid), 1);
}

static void who_does_not_catch_it_is_not_ended_by_it(void **state)
{
	pid_t pid = start_child();

	NEEDS_PIDFDS();
	assert_int_equal(send_to(pid, SIGHUP, NULL, CATCHES("0000000000000200")), SIGNAL_NOT_CAUGHT);
	assert_int_equal(send_to(pid, SIGUSR1, NULL, CATCHES("fffffffffffffdff")), SIGNAL_NOT_CAUGHT);
	assert_int_equal(send_to(pid, SIGUSR2, NULL, CATCHES("0000000000000001")), SIGNAL_NOT_CAUGHT);
	assert_int_equal(send_to(pid, SIGWINCH, NULL, CATCHES("0000000000000001")), SIGNAL_NOT_CAUGHT);
	/* ignored, whatever else; and no mask at all */
	assert_int_equal(send_to(pid, SIGHUP, NULL, "SigIgn:\t0000000000000001\nSigCgt:\t0000000000000001\n"),
			 SIGNAL_NOT_CAUGHT);
	assert_int_equal(send_to(pid, SIGHUP, NULL, "Threads:\t1\n"), SIGNAL_NOT_CAUGHT);
	assert_int_equal(end_child(pid), 0);
}

static void who_waits_for_it_blocked_gets_it(void **state)
{
	pid_t pid = start_child();

	NEEDS_PIDFDS();
	assert_int_equal(
		send_to(pid, SIGUSR1, NULL, "SigBlk:\t0000000000000200\nSigIgn:\t0000000000000000\nSigCgt:\t0\n"), 0);
	assert_int_equal(end_child(pid), 1);
}

static void the_end_is_sent_in_any_case(void **state)
{
	pid_t pid = start_child();

	NEEDS_PIDFDS();
	assert_int_equal(send_to(pid, SIGTERM, NULL, CATCHES("0000000000000000")), 0);
	assert_int_equal(end_child(pid), -SIGTERM);
}

static void other_signals_are_never_sent(void **state)
{
	static const int others[] = { 0, -1, SIGKILL, SIGSTOP, SIGCONT, SIGINT, SIGQUIT, SIGSEGV, SIGCHLD, 34, 64, 65 };
	pid_t pid = start_child();

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(send_to(pid, others[i], NULL, CATCHES("ffffffffffffffff")), -EINVAL);
	assert_int_equal(end_child(pid), 0);
}

/* runc in the container, and yet to become the program, catches all signals: to end by them. */
static void a_container_that_is_being_made_gets_none(void **state)
{
	pid_t pid = start_child();

	NEEDS_PIDFDS();
	assert_int_equal(send_to(pid, SIGHUP, "runc:[2:INIT]", CATCHES("ffffffffffffffff")), SIGNAL_NOT_BEGUN);
	assert_int_equal(send_to(pid, SIGTERM, "runc:[1:CHILD]", CATCHES("ffffffffffffffff")), SIGNAL_NOT_BEGUN);
	assert_int_equal(end_child(pid), 0);
}

/* What was found and what is there now: everything is looked at again. */
static void another_process_of_that_pid_gets_none(void **state)
{
	const char *all = CATCHES("ffffffffffffffff");
	struct signal_target t = { .pid = 0 };
	pid_t pid = start_child();

	NEEDS_PIDFDS();
	MAKE(.pid = (int)pid, .start = 500, .cgroup = SCOPE(1), .root = ROOT, .signals = all);
	assert_int_equal(signal_find(&finder, &CREDS, 1, on_found, &t), 0);
	assert_int_equal(t.pid, pid);
	MAKE(.pid = (int)pid, .start = 501, .cgroup = SCOPE(1), .root = ROOT, .signals = all);
	assert_int_equal(signal_send(&finder, &CREDS, &t, SIGHUP), -ESRCH);
	MAKE(.pid = (int)pid, .start = 500, .cgroup = SCOPE(2), .root = ROOT, .signals = all);
	assert_int_equal(signal_send(&finder, &CREDS, &t, SIGHUP), -ESRCH);
	MAKE(.pid = (int)pid, .start = 500, .cgroup = SCOPE(1), .signals = all);
	assert_int_equal(signal_send(&finder, &CREDS, &t, SIGHUP), -ESRCH);
	MAKE(.pid = (int)pid, .start = 500, .cgroup = SCOPE(1), .root = ROOT, .root_mount = HOST, .signals = all);
	assert_int_equal(signal_send(&finder, &CREDS, &t, SIGHUP), -ESRCH);
	MAKE(.pid = (int)pid, .start = 500, .cgroup = SCOPE(1), .root = ROOT, .state = 'Z', .signals = all);
	assert_int_equal(signal_send(&finder, &CREDS, &t, SIGHUP), -ESRCH);
	MAKE(.pid = (int)pid, .start = 500, .cgroup = SCOPE(1), .root = ROOT, .parent = 400, .signals = all);
	assert_int_equal(signal_send(&finder, &CREDS, &t, SIGHUP), -EACCES);
	MAKE(.pid = (int)pid, .start = 500, .cgroup = SCOPE(1), .root = ROOT, .signals = all);
	assert_int_equal(signal_send(&finder, &(struct signal_wanted){ .uid = UID, .volume = "other" }, &t, SIGHUP),
			 -ESRCH);
	assert_int_equal(signal_send(&finder, &CREDS, &t, SIGHUP), 0);
	assert_int_equal(end_child(pid), 1);
	assert_int_equal(signal_send(&finder, &CREDS, &t, SIGHUP), -ESRCH);
}

/* Bound on the host after it was found. */
static void what_is_bound_on_the_host_by_then_counts_no_more(void **state)
{
	struct signal_target t = { .pid = 0 };
	pid_t pid = start_child();

	NEEDS_PIDFDS();
	UNIT("app", (int)pid, .root = ROOT);
	found_text[0] = '\0';
	assert_int_equal(signal_find(&finder, &CREDS, 1, on_found, &t), 0);
	assert_int_equal(t.pid, pid);
	MAKE(.pid = 1, .root_mount = HOST, .cgroup = "/init.scope", .root = ROOT);
	assert_int_equal(signal_send(&finder, &CREDS, &t, SIGTERM), -ESRCH);
	MAKE(.pid = 1, .root_mount = HOST, .cgroup = "/init.scope");
	assert_int_equal(signal_send(&finder, &CREDS, &t, SIGHUP), 0);
	assert_int_equal(end_child(pid), 1);
}

static void process_1_gets_none(void **state)
{
	struct signal_target t = { .pid = 1, .start_ticks = 1, .cgroup = "/init.scope" };

	NEEDS_PIDFDS();
	MAKE(.pid = 1, .root = ROOT, .root_mount = 77, .cgroup = "/init.scope", .signals = CATCHES("ffffffffffffffff"));
	/* it is told by its root folder, and if that could not be read, by its number */
	assert_int_equal(signal_send(&finder, &CREDS, &t, SIGHUP), -ESRCH);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(what_a_mounts_root_shows),
		TEST(the_oldest_of_a_container_is_its_main_process),
		TEST(what_a_container_makes_beneath_its_cgroup_is_it),
		TEST(pid_namespaces_may_be_others),
		TEST(another_file_system_is_none_of_ours),
		TEST(the_hosts_processes_are_no_containers),
		TEST(a_unit_is_a_container),
		TEST(bound_on_the_host_private_tmp_unit_is_not_signalled),
		TEST(bound_where_the_keeper_is_counts_for_nobody),
		TEST(where_the_hosts_mounts_cannot_be_read_only_containers_count),
		TEST(who_has_no_cgroup_of_its_own_is_none),
		TEST(a_container_whose_main_process_does_not_show_it_is_none),
		TEST(without_cgroups_the_first_of_a_namespace_is_it),
		TEST(what_ends_and_what_is_the_kernels_is_passed_over),
		TEST(the_keeper_and_its_children_are_never_found),
		TEST(many_volumes_are_found_in_one_walk),
		TEST(long_tables_of_mounts_are_read_whole),
		TEST(a_target_says_what_it_is),
		TEST(a_signal_reaches_who_catches_it),
		TEST(who_does_not_catch_it_is_not_ended_by_it),
		TEST(who_waits_for_it_blocked_gets_it),
		TEST(the_end_is_sent_in_any_case),
		TEST(other_signals_are_never_sent),
		TEST(a_container_that_is_being_made_gets_none),
		TEST(another_process_of_that_pid_gets_none),
		TEST(what_is_bound_on_the_host_by_then_counts_no_more),
		TEST(process_1_gets_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
