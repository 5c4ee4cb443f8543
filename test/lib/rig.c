/* The rig. Calls for the loop's thread go through an eventfd; a condition variable says when they are done. */
#include "test/lib/rig.h"

#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "common/log.h"
#include "fusefs/mount.h"
#include "fusefs/publisher.h"

#define BASE	     "/mnt" /* hidden by a tmpfs, in this process's mount namespace alone */
#define PLUGIN	     "kubernetes.io~secret"
#define SECMEM_BYTES (256u << 20)
#define WAIT_SEC     30
#define STACK_LINES  4

struct attach {
	int fd;
	pid_t pid;
};

struct rig {
	char dir[64], scratch[64], writable[64];
	bool has_writable, flat;
	struct mount_fds mounts;
	struct loop *loop;
	struct tree *tree;
	struct publish *publish;
	struct session *session;
	pid_t publisher;

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int wake;
	struct loop_source *wake_source;
	void (*fn)(struct rig *rig, void *arg);
	void *arg;
	bool fn_done;
};

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "rig: %s: %s\n", what, strerror(errno));
	abort();
}

static void must_err(int r, const struct err *e, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "rig: %s: %s\n", what, err_text(e));
	abort();
}

/* --- the loop's thread --- */

static void rig_woken(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct rig *rig = userdata;
	uint64_t n;

	must(read(fd, &n, sizeof n) == sizeof n, "eventfd");
	rig->fn(rig, rig->arg);
	pthread_mutex_lock(&rig->lock);
	rig->fn_done = true;
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->lock);
}

static void *rig_thread(void *arg)
{
	struct rig *rig = arg;

	loop_run(rig->loop);
	return NULL;
}

/* Where each thread of a process is in the kernel, to stderr: what does not end is seen once, and then it is gone. */
static void say_where(pid_t pid)
{
	char pattern[64], call[128];
	glob_t g;

	snprintf(pattern, sizeof pattern, "/proc/%d/task/*/stack", pid);
	if (glob(pattern, 0, NULL, &g) != 0)
		return;
	for (size_t i = 0; i < g.gl_pathc; i++) {
		FILE *f = fopen(g.gl_pathv[i], "re");

		fprintf(stderr, "rig: %s:", g.gl_pathv[i]);
		for (int n = 0; f && n < STACK_LINES && fscanf(f, "%*s %127s", call) == 1; n++)
			fprintf(stderr, " %s", call);
		fputs("\n", stderr);
		if (f)
			fclose(f);
	}
	globfree(&g);
}

/* With the lock held; false when nothing has come in time. */
static bool rig_wait_changed(struct rig *rig)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_SEC;
	if (pthread_cond_timedwait(&rig->changed, &rig->lock, &until) == 0)
		return true;
	say_where(getpid());
	say_where(rig->publisher);
	return false;
}

void rig_call(struct rig *rig, void (*fn)(struct rig *rig, void *arg), void *arg)
{
	uint64_t one = 1;

	pthread_mutex_lock(&rig->lock);
	rig->fn = fn;
	rig->arg = arg;
	rig->fn_done = false;
	must(write(rig->wake, &one, sizeof one) == sizeof one, "eventfd");
	while (!rig->fn_done)
		must(rig_wait_changed(rig), "the loop does not answer");
	pthread_mutex_unlock(&rig->lock);
}

struct tree *rig_tree(struct rig *rig)
{
	return rig->tree;
}

struct publish *rig_publisher(struct rig *rig)
{
	return rig->publish;
}

struct loop *rig_loop(struct rig *rig)
{
	return rig->loop;
}

struct session *rig_session(struct rig *rig)
{
	return rig->session;
}

const char *rig_dir(const struct rig *rig)
{
	return rig->dir;
}

const char *rig_scratch(const struct rig *rig)
{
	return rig->scratch;
}

/* --- setup --- */

static void process_setup(void)
{
	static bool done;
	struct err e = ERR_INIT;

	if (done)
		return;
	done = true;
	must(unshare(CLONE_NEWNS) == 0, "unshare (root is needed)");
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "make mounts private");
	must(mount("rig", BASE, "tmpfs", 0, "mode=0755") == 0, "mount a tmpfs on " BASE);
	umask(022);
	log_init("rig", getenv("RIG_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING);
	must_err(secmem_init(SECMEM_BYTES, &e), &e, "secmem");
}

static void session_ended(void *userdata, int r)
{
	fprintf(stderr, "rig: the session has ended: %s\n", strerror(-r));
}

struct rig *rig_new(const struct rig_options *options)
{
	static int n_rigs;
	struct rig *rig = calloc(1, sizeof *rig);
	struct err e = ERR_INIT;

	must(rig != NULL, "calloc");
	process_setup();
	snprintf(rig->dir, sizeof rig->dir, BASE "/pods%d", ++n_rigs);
	snprintf(rig->scratch, sizeof rig->scratch, BASE "/scratch%d", n_rigs);
	snprintf(rig->writable, sizeof rig->writable, BASE "/writable%d", n_rigs);
	must(mkdir(rig->dir, 0755) == 0 && mkdir(rig->scratch, 0755) == 0 && mkdir(rig->writable, 0755) == 0, "mkdir");
	must_err(mount_create(rig->dir, &rig->mounts, &e), &e, "mount");

	pthread_mutex_init(&rig->lock, NULL);
	pthread_cond_init(&rig->changed, NULL);
	rig->wake = eventfd(0, EFD_CLOEXEC);
	must(rig->wake >= 0, "eventfd");
	must(loop_new(&rig->loop) == 0 && tree_new(0, &rig->tree) == 0, "loop and tree");
	must(publish_new(rig->loop, rig->tree, &rig->publish) == 0, "publish");
	publish_set_fuse(rig->publish, rig->mounts.fuse);
	must_err(session_new(rig->loop, TAKE_FD(rig->mounts.fuse), rig->tree, rig->publish, NULL, session_ended, rig,
			     &rig->session, &e),
		 &e, "session");
	must(loop_add_io(rig->loop, rig->wake, EPOLLIN, rig_woken, rig, &rig->wake_source) == 0, "loop_add_io");
	must(pthread_create(&rig->thread, NULL, rig_thread, rig) == 0, "thread");
	if (!options || !options->no_publisher)
		rig_start_publisher(rig);
	return rig;
}

static void rig_exit_fn(struct rig *rig, void *arg)
{
	loop_exit(rig->loop, 0);
}

void rig_free(struct rig *rig)
{
	if (!rig)
		return;
	rig_call(rig, rig_exit_fn, NULL);
	pthread_join(rig->thread, NULL);
	umount2(rig->dir, MNT_DETACH);
	if (rig->has_writable)
		umount2(rig->writable, MNT_DETACH);
	close_fd(rig->mounts.private);
	loop_source_free(rig->wake_source);
	session_free(rig->session);
	publish_free(rig->publish);
	tree_free(rig->tree);
	loop_free(rig->loop);
	if (rig->publisher > 0)
		waitpid(rig->publisher, NULL, 0);
	close_fd(rig->wake);
	pthread_cond_destroy(&rig->changed);
	pthread_mutex_destroy(&rig->lock);
	free(rig);
}

const char *rig_writable(struct rig *rig)
{
	struct mount_attr rw = { .attr_clr = MOUNT_ATTR_RDONLY };
	int fd;

	if (!rig->has_writable) {
		fd = open_tree(AT_FDCWD, rig->dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		must(fd >= 0 && mount_setattr(fd, "", AT_EMPTY_PATH, &rw, sizeof rw) == 0, "writable clone");
		must(move_mount(fd, "", AT_FDCWD, rig->writable, MOVE_MOUNT_F_EMPTY_PATH) == 0, "move_mount");
		close(fd);
		rig->has_writable = true;
	}
	return rig->writable;
}

/* --- the publisher --- */

static void attach_fn(struct rig *rig, void *arg)
{
	struct attach *a = arg;

	must(publish_attach(rig->publish, a->fd, a->pid, NULL, NULL) == 0, "attach");
}

/* The publisher is this program again, in a process of its own making: a fork of a process with threads must not
 * allocate (in the sanitizer build it would wait for a lock that nobody holds any more). */
#define PUBLISHER_ENV "RIG_PUBLISHER"

__attribute__((constructor)) static void publisher_main(void)
{
	if (getenv(PUBLISHER_ENV))
		_exit(publisher_run(3, 4));
}

static _Noreturn void publisher_child(int socket, int private)
{
	char *const argv[] = { (char[]){ "rig-publisher" }, NULL };
	char *const env[] = { (char[]){ PUBLISHER_ENV "=1" }, NULL };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	socket = fcntl(socket, F_DUPFD, 10);
	private = fcntl(private, F_DUPFD, 10);
	if (dup2(socket, 3) == 3 && dup2(private, 4) == 4 && close_range(5, ~0u, 0) == 0)
		execve("/proc/self/exe", argv, env);
	_exit(127);
}

void rig_start_publisher(struct rig *rig)
{
	int fds[2];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0, "socketpair");
	rig->publisher = fork();
	must(rig->publisher >= 0, "fork");
	if (rig->publisher == 0)
		publisher_child(fds[1], rig->mounts.private);
	close(fds[1]);
	rig_call(rig, attach_fn, &(struct attach){ fds[0], rig->publisher });
}

static bool is_detached(struct rig *rig, void *arg)
{
	return !publish_stats(rig->publish).attached;
}

void rig_kill_publisher(struct rig *rig)
{
	must(kill(rig->publisher, SIGKILL) == 0 && waitpid(rig->publisher, NULL, 0) == rig->publisher, "kill");
	rig->publisher = 0;
	must(rig_until(rig, is_detached, NULL), "publish does not notice the publisher's end");
}

pid_t rig_publisher_pid(const struct rig *rig)
{
	return rig->publisher;
}

/* --- publishing --- */

struct publish_call {
	struct rig *rig;
	struct volume_path at;
	struct payload *payload;
	struct rig_wait *wait;
	enum { CALL_VOLUME, CALL_REMOVE_VOLUME, CALL_REMOVE_POD } what;
};

/* What a callback needs after the call that started it has returned. */
struct pending {
	struct rig *rig;
	struct rig_wait *wait;
};

static void publish_result(void *userdata, int r, const struct publish_result *res, const struct err *e)
{
	struct pending *pending = userdata;
	struct rig *rig = pending->rig;
	struct rig_result *out = &pending->wait->result;

	must(res ? r >= 0 : r < 0, "a result comes with success and only then");
	out->r = r;
	snprintf(out->version, sizeof out->version, "%s", res ? res->version : "");
	out->realtime_usec = res ? res->realtime_usec : 0;
	snprintf(out->error, sizeof out->error, "%s", r < 0 ? err_text(e) : "");
	pthread_mutex_lock(&rig->lock);
	pending->wait->done = true;
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->lock);
	free(pending);
}

static void publish_call_fn(struct rig *rig, void *arg)
{
	struct publish_call *c = arg;
	struct pending *pending = malloc(sizeof *pending);
	int r = 0;

	must(pending != NULL, "malloc");
	*pending = (struct pending){ rig, c->wait };
	switch (c->what) {
	case CALL_VOLUME:
		r = publish_volume(rig->publish, &c->at, c->payload, publish_result, pending);
		break;
	case CALL_REMOVE_VOLUME:
		r = publish_remove_volume(rig->publish, &c->at, publish_result, pending);
		break;
	case CALL_REMOVE_POD:
		r = publish_remove_pod(rig->publish, c->at.pod_uid, publish_result, pending);
		break;
	}
	if (r < 0) {
		c->wait->result = (struct rig_result){ .r = r };
		c->wait->done = true;
		free(pending);
	}
}

void rig_publish_start(struct rig *rig, const char *uid, const char *volume, struct payload *take_payload,
		       struct rig_wait *w)
{
	struct publish_call c = {
		.at = { uid, PLUGIN, volume }, .payload = take_payload, .wait = w, .what = CALL_VOLUME
	};

	*w = (struct rig_wait){ .done = false };
	rig_call(rig, publish_call_fn, &c);
}

int rig_wait(struct rig *rig, struct rig_wait *w, struct rig_result *ret_result)
{
	pthread_mutex_lock(&rig->lock);
	while (!w->done)
		must(rig_wait_changed(rig), "publishing does not end");
	pthread_mutex_unlock(&rig->lock);
	if (ret_result)
		*ret_result = w->result;
	return w->result.r;
}

static bool is_done(struct rig *rig, const struct rig_wait *w)
{
	bool done;

	pthread_mutex_lock(&rig->lock);
	done = w->done;
	pthread_mutex_unlock(&rig->lock);
	return done;
}

bool rig_stop_publisher_when(struct rig *rig, struct rig_wait *w, bool (*fn)(void *arg), void *arg)
{
	int status;

	while (!is_done(rig, w)) {
		must(kill(rig->publisher, SIGSTOP) == 0, "kill");
		must(waitpid(rig->publisher, &status, WUNTRACED) == rig->publisher && WIFSTOPPED(status), "waitpid");
		/* done: it has stopped after its last step, and nothing is under way */
		if (!is_done(rig, w) && fn(arg))
			return true;
		rig_continue_publisher(rig);
		usleep(50); /* time for a step or two */
	}
	return false;
}

void rig_continue_publisher(struct rig *rig)
{
	must(kill(rig->publisher, SIGCONT) == 0, "kill");
}

int rig_publish(struct rig *rig, const char *uid, const char *volume, struct payload *take_payload,
		struct rig_result *ret_result)
{
	struct rig_wait w;

	rig_publish_start(rig, uid, volume, take_payload, &w);
	return rig_wait(rig, &w, ret_result);
}

static int remove_and_wait(struct rig *rig, struct publish_call *c)
{
	struct rig_wait w = { .done = false };

	c->wait = &w;
	rig_call(rig, publish_call_fn, c);
	return rig_wait(rig, &w, NULL);
}

int rig_remove_volume(struct rig *rig, const char *uid, const char *volume)
{
	return remove_and_wait(rig,
			       &(struct publish_call){ .at = { uid, PLUGIN, volume }, .what = CALL_REMOVE_VOLUME });
}

int rig_remove_pod(struct rig *rig, const char *uid)
{
	return remove_and_wait(rig, &(struct publish_call){ .at = { .pod_uid = uid }, .what = CALL_REMOVE_POD });
}

const char *rig_path(struct rig *rig, const char *uid, const char *volume, const char *rest)
{
	static char paths[4][8192];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s/volumes/" PLUGIN "/%s%s%s", rig->dir, uid, volume, rest ? "/" : "",
		 rest ?: "");
	return path;
}

/* --- looking --- */

static void counts_fn(struct rig *rig, void *arg)
{
	memcpy(arg, session_stats(rig->session)->requests, sizeof(uint64_t) * SESSION_OPCODES);
}

void rig_request_counts(struct rig *rig, uint64_t counts[SESSION_OPCODES])
{
	rig_call(rig, counts_fn, counts);
}

uint64_t rig_requests(struct rig *rig)
{
	uint64_t counts[SESSION_OPCODES], sum = 0;

	rig_request_counts(rig, counts);
	for (unsigned i = 0; i < SESSION_OPCODES; i++)
		if (!session_opcode_name(i) || !strstr(session_opcode_name(i), "FORGET"))
			sum += counts[i];
	return sum;
}

struct until {
	bool (*fn)(struct rig *rig, void *arg);
	void *arg;
	bool answer;
};

static void until_fn(struct rig *rig, void *arg)
{
	struct until *u = arg;

	u->answer = u->fn(rig, u->arg);
}

bool rig_until(struct rig *rig, bool (*fn)(struct rig *rig, void *arg), void *arg)
{
	struct until u = { fn, arg, false };

	for (int i = 0; i < 10000 && !u.answer; i++) {
		if (i > 0)
			usleep(1000);
		rig_call(rig, until_fn, &u);
	}
	return u.answer;
}

static bool is_idle(struct rig *rig, void *arg)
{
	struct publish_stats stats = publish_stats(rig->publish);

	return stats.n_queued == 0 && stats.n_retired == 0;
}

void rig_settle(struct rig *rig)
{
	must(rig_until(rig, is_idle, NULL), "publish does not come to rest");
}

/* --- payloads: secret memory belongs to the loop's thread --- */

struct payload_call {
	const struct rig_file *files;
	const char *const *mount_dirs;
	int64_t fs_group;
	bool only_check, live;
	struct payload *payload;
	struct err *e;
	int r;
};

static int payload_fill(struct payload *p, const struct rig_file *files, struct err *e)
{
	for (const struct rig_file *f = files; f->path; f++) {
		size_t len = f->len ?: strlen(f->text);
		mode_t mode = f->mode == RIG_MODE_0 ? 0 : f->mode ?: 0644;
		cleanup_secblock struct secblock *b = NULL;
		struct digest digest = digest_of(f->text, len);
		struct secspan span = { .len = len };
		int r;

		must_err(secblock_new(len, &b, e), e, "secblock");
		memcpy(b->data, f->text, len);
		span.block = b;
		r = payload_add(p, f->path, &span, &digest, mode, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static void payload_fn(struct rig *rig, void *arg)
{
	cleanup_payload struct payload *p = NULL;
	struct payload_call *c = arg;

	must(payload_new(&p) == 0, "payload_new");
	c->r = payload_fill(p, c->files, c->e);
	for (const char *const *dir = c->mount_dirs; c->r == 0 && dir && *dir; dir++)
		c->r = payload_add_mount_dir(p, *dir, c->e);
	if (c->r == 0 && c->fs_group >= 0)
		payload_set_fs_group(p, c->fs_group);
	if (c->r == 0 && c->live)
		payload_set_live(p);
	if (c->r == 0 && rig->flat)
		payload_set_flat(p);
	c->r = c->r ?: payload_seal(p, c->e);
	if (c->r == 0 && !c->only_check)
		c->payload = TAKE_PTR(p);
}

void rig_set_flat(struct rig *rig, bool flat)
{
	rig->flat = flat;
}

int rig_payload_check(struct rig *rig, const struct rig_file *files, struct err *e)
{
	struct payload_call c = { .files = files, .fs_group = -1, .only_check = true, .e = e };

	rig_call(rig, payload_fn, &c);
	return c.r;
}

struct payload *rig_payload(struct rig *rig, const struct rig_file *files, int64_t fs_group,
			    const char *const *mount_dirs)
{
	struct err e = ERR_INIT;
	struct payload_call c = { .files = files, .mount_dirs = mount_dirs, .fs_group = fs_group, .e = &e };

	rig_call(rig, payload_fn, &c);
	must_err(c.r, &e, "payload");
	return c.payload;
}

struct payload *rig_payload_live(struct rig *rig, const struct rig_file *files, int64_t fs_group)
{
	struct err e = ERR_INIT;
	struct payload_call c = { .files = files, .fs_group = fs_group, .live = true, .e = &e };

	rig_call(rig, payload_fn, &c);
	must_err(c.r, &e, "payload");
	return c.payload;
}
