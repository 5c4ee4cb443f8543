/* Signal finder. One walk over /proc reads of each process its cgroup and its stat, a hundred bytes each, and finds the oldest
 * process of each container (or unit). Of those alone the mounts are read: how long it takes depends on how many containers there
 * are, and not on how many processes or mount namespaces one of them makes.
 *
 * Containers without a cgroup of their own (cgroups switched off, one container in another) are told from their surroundings by the
 * pid namespace that they are the first process of. Where there is neither, nobody is signalled: a process that has bound the
 * volume somewhere is no container.
 *
 * What is bound in the host's own mount namespace is copied into that of each unit that has one (PrivateTmp=, ProtectSystem=), and
 * into whatever has the host's root folder mounted: it says nothing of who shows it. It counts only for what its cgroup calls a
 * container, and none of another pod.
 *
 * A pid may be another process's by the time that the signal is sent. The pidfd is opened first, then everything is looked at
 * again, then it is sent through the pidfd: had the process ended in between, there would be nobody to take it. */
#include "agent/signal_finder.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/syscall.h>

#include "agent/container_signal.h"
#include "common/map.h"
#include "common/str.h"

/* fields in proc(5) */
#define STAT_START 22
#define PF_EXITING 0x4u /* linux/sched.h */
#define PF_KTHREAD 0x200000u

#define TEXT_MAX   8192
#define MOUNTS_MAX ((size_t)4 << 20) /* bytes that are read of one process's mounts; some ten thousand mounts */
#define ROOT_MAX   4096
#define PROCS_MAX  ((size_t)1 << 20)
#define DEPTH_MAX  64 /* of parents that are looked for */

struct group {
	char *key; /* the cgroup */
	struct cgroup_id id;
	struct proc *oldest;
	bool found; /* the oldest shows something that is wanted */
};

struct proc {
	pid_t pid, parent;
	uint64_t start_ticks;
	struct group *group;
	uint32_t next_shown; /* of the wanted that it shows, 1 + index into walk.shown; 0: none */
	char comm[64];
};

/* A chain for each process: what of the wanted it shows. */
struct shown {
	uint32_t wanted, next;
};

/* What all of the host sees. */
struct host {
	uint64_t root; /* of process 1 */
	struct map bound; /* roots of our mounts; what is none of ours, and the whole file system, is not in it */
	bool is_known; /* false: anything may be bound */
};

struct walk {
	const struct signal_finder *finder;
	const struct signal_wanted *wanted;
	size_t n_wanted;
	struct host host;
	struct proc *procs;
	size_t n_procs, room_procs;
	struct map groups, by_pid;
	struct shown *shown;
	size_t n_shown, room_shown;
};

/* ---- texts of /proc ---- */

/* "": it could not be read. */
static const char *read_text(int proc, const char *pid, const char *name, char text[static TEXT_MAX])
{
	cleanup_fd int fd = -1;
	ssize_t n;
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", pid, name);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, TEXT_MAX - 1);
	text[MAX(n, (ssize_t)0)] = '\0';
	return text;
}

static const char *pid_text(pid_t pid, char text[static 16])
{
	snprintf(text, 16, "%d", (int)pid);
	return text;
}

/* What we have to do with. The name may have anything in it, so that fields are counted from its end. */
static bool parse_stat(const char *text, struct proc *p)
{
	const char *open = strchr(text, '('), *close = strrchr(text, ')');
	unsigned long long start = 0;
	unsigned flags = 0;
	int parent = 0;
	char state = 0;

	if (!open || !close || close < open)
		return false;
	snprintf(p->comm, sizeof(p->comm), "%.*s", (int)(close - open - 1), open + 1);
	if (sscanf(close + 1, " %c %d %*d %*d %*d %*d %u", &state, &parent, &flags) != 3)
		return false;
	for (int field = 2; field < STAT_START; field++) {
		close = strchr(close, ' ');
		if (!close)
			return false;
		close++;
	}
	if (sscanf(close, "%llu", &start) != 1 || (flags & (PF_EXITING | PF_KTHREAD)) || state == 'Z' || state == 'X')
		return false;
	p->parent = parent;
	p->start_ticks = start;
	return true;
}

/* What is behind "\nName:" in /proc/PID/status: a program's own name cannot begin a line there. NULL: there is none. */
static const char *status_line(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? at + strlen(name) : NULL;
}

static bool status_has_signal(const char *text, const char *name, int signo)
{
	const char *at = status_line(text, name);

	return at && (strtoull(at, NULL, 16) >> (signo - 1) & 1);
}

/* The first process of a pid namespace beneath that of /proc: "NSpid: 4711 1". */
static bool is_first_of_namespace(const char *status)
{
	const char *at = status_line(status, "\nNSpid:");
	size_t len = at ? strcspn(at, "\n") : 0;
	int n = 0, last = 0;

	for (size_t i = 0; i < len;) {
		size_t blank = strspn(at + i, " \t"), digits = strspn(at + i + blank, "0123456789");

		if (digits == 0)
			break;
		last = atoi(at + i + blank);
		n++;
		i += blank + digits;
	}
	return n > 1 && last == 1;
}

/* ---- mounts ---- */

/* seq_path()'s \040, in place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; to++) {
		if (s[0] == '\\' && strspn(s + 1, "01234567") >= 3) {
			*to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to = *s++;
		}
	}
	*to = '\0';
}

/* The next part of a path is `name` (NULL: any): goes on behind it. */
static bool goes_down(const char **path, const char *name)
{
	const char *part = **path == '/' ? *path + 1 : *path;
	size_t len = strcspn(part, "/");

	if (**path != '/' || len == 0 || (name && (strlen(name) != len || memcmp(part, name, len) != 0)))
		return false;
	*path = part + len;
	return true;
}

bool signal_root_shows(const char *root, const char *uid, const char *volume)
{
	const char *at = root;

	if (!goes_down(&at, uid))
		return false;
	if (!*at)
		return true; /* the whole pod */
	if (goes_down(&at, "live"))
		/* a live file follows its key; see secretlet-live(7) */
		return !*at || (goes_down(&at, volume) && (!*at || (goes_down(&at, NULL) && !*at)));
	if (!goes_down(&at, "volumes"))
		return false;
	if (!*at)
		return true;
	if (!goes_down(&at, NULL))
		return false;
	/* what is beneath the volume is of one version, and stays as it is */
	return !*at || (goes_down(&at, volume) && !*at);
}

/* "36 35 0:98 /root /where ...": the root, if it is a mount of ours. In place. */
static char *own_root(const struct signal_finder *f, char *line)
{
	unsigned major, minor;
	int at = 0;
	char *root;

	if (sscanf(line, "%*u %*u %u:%u %n", &major, &minor, &at) != 2 || at == 0 || major != f->major ||
	    minor != f->minor)
		return NULL;
	root = line + at;
	root[strcspn(root, " ")] = '\0';
	unescape(root);
	return root;
}

/* Calls fn for the root of each mount of ours, until it returns false. false: it is no container's process, or cannot be read.
 * host NULL: it is the host's own. */
typedef bool (*root_fn)(void *userdata, const char *root);
static bool read_roots(const struct signal_finder *f, const struct host *host, const char *pid, root_fn fn,
		       void *userdata)
{
	static char text[4 * TEXT_MAX]; /* one thread */
	cleanup_fd int fd = -1;
	size_t len = 0, total = 0;
	bool first = true;
	ssize_t n = 0;
	char path[64];

	snprintf(path, sizeof(path), "%s/mountinfo", pid);
	fd = openat(f->proc, path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (!host || total < MOUNTS_MAX)) {
		char *line = text, *end;

		n = read(fd, text + len, sizeof(text) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
		total += (size_t)n;
		text[len] = '\0';
		if (first) {
			uint64_t root = strtoull(text, NULL, 10);

			/* whoever has the host's root folder is no container, whatever is mounted in it */
			if (host && (root == 0 || root == f->own_root || root == host->root))
				return false;
			first = false;
		}
		for (; (end = strchr(line, '\n')); line = end + 1) {
			const char *root;

			*end = '\0';
			root = own_root(f, line);
			if (root && !fn(userdata, root))
				return true;
		}
		len -= (size_t)(line - text);
		memmove(text, line, len);
		if (len == sizeof(text) - 1)
			len = 0; /* no line of the kernel's is so long */
	}
	return !first && n >= 0;
}

uint64_t signal_finder_root(int proc, const char *pid)
{
	char text[TEXT_MAX];

	return strtoull(read_text(proc, pid, "mountinfo", text), NULL, 10);
}

/* ---- the host's mounts ---- */

static void host_deinit(struct host *h)
{
	char *root;

	for (size_t it = 0; (root = map_next(&h->bound, &it));)
		free(root);
	map_deinit(&h->bound);
}

static bool add_bound(void *userdata, const char *root)
{
	struct host *h = userdata;
	char *copy;

	if (str_eq(root, "/") || map_get_str(&h->bound, root))
		return true;
	copy = strdup(root);
	if (copy && map_add_str(&h->bound, copy, copy) == 0)
		return true;
	free(copy);
	h->is_known = false;
	return false;
}

/* We ourselves see nothing but /proc: our parent's are ours. */
static void read_host(const struct signal_finder *f, struct host *h)
{
	char keeper[16];

	h->is_known = true;
	if (!read_roots(f, NULL, "1", add_bound, h) ||
	    (f->keeper > 0 && !read_roots(f, NULL, pid_text(f->keeper, keeper), add_bound, h)))
		h->is_known = false;
}

/* Whoever it is, and whatever is bound on the host: it is a container, and of no other pod. */
static bool is_told_by_cgroup(const struct cgroup_id *id, const char *uid)
{
	return id->container[0] && (!id->pod[0] || str_eq(id->pod, uid));
}

static bool is_own_mount(const struct host *h, const char *root)
{
	return h->is_known && !map_get_str(&h->bound, root);
}

/* ---- cgroups ---- */

/* `text` is /proc/PID/cgroup, and becomes the path of the container's own cgroup: whatever it has made beneath is still it. */
static const char *container_path(char *text, struct cgroup_id *ret_id)
{
	char *path = (char *)(uintptr_t)cgroup_parse(text, ret_id); /* in text */

	if (path)
		path[cgroup_own_len(path, ret_id)] = '\0';
	return path;
}

/* ---- the walk ---- */

static void walk_deinit(struct walk *w)
{
	struct group *g;

	for (size_t it = 0; (g = map_next(&w->groups, &it));) {
		free(g->key);
		free(g);
	}
	map_deinit(&w->groups);
	map_deinit(&w->by_pid);
	host_deinit(&w->host);
	free(w->procs);
	free(w->shown);
}

static int walk_group(struct walk *w, const char *path, const struct cgroup_id *id, struct group **ret_group)
{
	struct group *g = map_get_str(&w->groups, path);
	int r;

	if (!g) {
		g = calloc(1, sizeof(*g));
		if (g)
			g->key = strdup(path);
		r = g && g->key ? map_add_str(&w->groups, g->key, g) : -ENOMEM;
		if (r < 0) {
			if (g)
				free(g->key);
			free(g);
			return r;
		}
		g->id = *id;
	}
	*ret_group = g;
	return 0;
}

static int grow(void *array, size_t n, size_t *room, size_t size)
{
	void **at = array, *more;
	size_t wanted = *room ? 2 * *room : 256;

	if (n < *room)
		return 0;
	more = reallocarray(*at, wanted, size);
	if (!more)
		return -ENOMEM;
	*at = more;
	*room = wanted;
	return 0;
}

static bool is_ours(const struct signal_finder *f, const struct proc *p)
{
	return p->pid == getpid() || (f->keeper > 0 && (p->pid == f->keeper || p->parent == f->keeper));
}

static int walk_process(struct walk *w, const char *name)
{
	static char text[TEXT_MAX]; /* one thread */
	struct proc p = { .pid = (pid_t)strtol(name, NULL, 10) };
	struct cgroup_id id;
	const char *path;
	int r;

	if (!parse_stat(read_text(w->finder->proc, name, "stat", text), &p) || is_ours(w->finder, &p))
		return 0;
	path = container_path((char *)(uintptr_t)read_text(w->finder->proc, name, "cgroup", text), &id);
	if (!path)
		return 0;
	r = walk_group(w, path, &id, &p.group);
	if (r == 0)
		r = grow(&w->procs, w->n_procs, &w->room_procs, sizeof(*w->procs));
	if (r < 0)
		return r;
	w->procs[w->n_procs++] = p;
	return 0;
}

static bool is_older(const struct proc *a, const struct proc *b)
{
	return a->start_ticks != b->start_ticks ? a->start_ticks < b->start_ticks : a->pid < b->pid;
}

/* Once they stay where they are in memory. */
static int walk_order(struct walk *w)
{
	for (size_t i = 0; i < w->n_procs; i++) {
		struct proc *p = &w->procs[i];
		int r = map_add(&w->by_pid, &p->pid, sizeof(p->pid), p);

		if (r < 0 && r != -EEXIST)
			return r;
		if (!p->group->oldest || is_older(p, p->group->oldest))
			p->group->oldest = p;
	}
	return 0;
}

static int walk_all(struct walk *w)
{
	cleanup_fd int fd = openat(w->finder->proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int r = 0;

	if (!dir)
		return -errno;
	(void)TAKE_FD(fd);
	while (r == 0 && w->n_procs < PROCS_MAX && (entry = readdir(dir)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			r = walk_process(w, entry->d_name);
	closedir(dir);
	return r < 0 ? r : walk_order(w);
}

/* ---- who shows what ---- */

struct look {
	struct walk *walk;
	struct proc *proc;
	int r;
};

static bool has_shown(const struct walk *w, const struct proc *p, size_t wanted)
{
	for (uint32_t i = p->next_shown; i > 0; i = w->shown[i - 1].next)
		if (w->shown[i - 1].wanted == wanted)
			return true;
	return false;
}

static bool look_at_root(void *userdata, const char *root)
{
	struct look *l = userdata;
	struct walk *w = l->walk;

	for (size_t i = 0; i < w->n_wanted && l->r == 0; i++) {
		const struct signal_wanted *wanted = &w->wanted[i];

		if (!signal_root_shows(root, wanted->uid, wanted->volume) || has_shown(w, l->proc, i))
			continue;
		if (!is_told_by_cgroup(&l->proc->group->id, wanted->uid) && !is_own_mount(&w->host, root))
			continue;
		l->r = grow(&w->shown, w->n_shown, &w->room_shown, sizeof(*w->shown));
		if (l->r < 0)
			return false;
		w->shown[w->n_shown++] = (struct shown){ .wanted = (uint32_t)i, .next = l->proc->next_shown };
		l->proc->next_shown = (uint32_t)w->n_shown;
	}
	return l->r == 0;
}

static int look_at(struct walk *w, struct proc *p)
{
	struct look l = { .walk = w, .proc = p };
	char pid[16];

	(void)read_roots(w->finder, &w->host, pid_text(p->pid, pid), look_at_root, &l);
	return l.r;
}

static void tell(const struct walk *w, const struct proc *p, size_t wanted, signal_found_fn fn, void *userdata)
{
	struct signal_target t = { .pid = p->pid, .start_ticks = p->start_ticks, .id = p->group->id };

	memcpy(t.comm, p->comm, sizeof(t.comm));
	snprintf(t.cgroup, sizeof(t.cgroup), "%s", p->group->key);
	fn(userdata, &w->wanted[wanted], &t);
}

static int find_by_cgroup(struct walk *w, signal_found_fn fn, void *userdata)
{
	struct group *g;

	for (size_t it = 0; (g = map_next(&w->groups, &it));) {
		int r = look_at(w, g->oldest);

		if (r < 0)
			return r;
		g->found = g->oldest->next_shown > 0;
		for (uint32_t i = g->oldest->next_shown; i > 0; i = w->shown[i - 1].next)
			tell(w, g->oldest, w->shown[i - 1].wanted, fn, userdata);
	}
	return 0;
}

/* A container in the container, which shares what the outer one shows. */
static bool is_inside(const struct walk *w, const struct proc *p, size_t wanted)
{
	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		p = map_get(&w->by_pid, &p->parent, sizeof(p->parent));
		if (!p)
			return false;
		if (has_shown(w, p, wanted))
			return true;
	}
	return true;
}

static bool may_be_first(const struct walk *w, const struct proc *p)
{
	static char text[TEXT_MAX]; /* one thread */
	char pid[16];

	return !p->group->id.container[0] && !p->group->found && p != p->group->oldest &&
	       is_first_of_namespace(read_text(w->finder->proc, pid_text(p->pid, pid), "status", text));
}

static int find_by_namespace(struct walk *w, signal_found_fn fn, void *userdata)
{
	int r = 0;

	for (size_t i = 0; i < w->n_procs && r == 0; i++)
		if (may_be_first(w, &w->procs[i]))
			r = look_at(w, &w->procs[i]);
	for (size_t i = 0; i < w->n_procs && r == 0; i++) {
		const struct proc *p = &w->procs[i];

		if (p->group->found || p == p->group->oldest)
			continue;
		for (uint32_t k = p->next_shown; k > 0; k = w->shown[k - 1].next)
			if (!is_inside(w, p, w->shown[k - 1].wanted))
				tell(w, p, w->shown[k - 1].wanted, fn, userdata);
	}
	return r;
}

int signal_find(const struct signal_finder *f, const struct signal_wanted *wanted, size_t n, signal_found_fn fn,
		void *userdata)
{
	cleanup(walk_deinit) struct walk w = { .finder = f,
					       .wanted = wanted,
					       .n_wanted = n,
					       .host = { .root = signal_finder_root(f->proc, "1"), .bound = MAP_INIT },
					       .groups = MAP_INIT,
					       .by_pid = MAP_INIT };
	int r;

	read_host(f, &w.host);
	r = walk_all(&w);
	if (r == 0)
		r = find_by_cgroup(&w, fn, userdata);
	return r < 0 ? r : find_by_namespace(&w, fn, userdata);
}

/* ---- the signal ---- */

struct recheck {
	const struct signal_wanted *wanted;
	const struct host *host; /* NULL: whatever is bound there */
	bool shows;
};

static bool recheck_root(void *userdata, const char *root)
{
	struct recheck *c = userdata;

	c->shows =
		signal_root_shows(root, c->wanted->uid, c->wanted->volume) && (!c->host || is_own_mount(c->host, root));
	return !c->shows;
}

static bool is_same(const struct signal_finder *f, const struct signal_wanted *w, const struct signal_target *t,
		    struct proc *ret_p)
{
	static char text[TEXT_MAX]; /* one thread */
	cleanup(host_deinit) struct host host = { .root = signal_finder_root(f->proc, "1"), .bound = MAP_INIT };
	struct recheck c = { .wanted = w };
	struct cgroup_id id;
	const char *path;
	char pid[16];

	pid_text(t->pid, pid);
	if (!parse_stat(read_text(f->proc, pid, "stat", text), ret_p) || ret_p->start_ticks != t->start_ticks)
		return false;
	path = container_path((char *)(uintptr_t)read_text(f->proc, pid, "cgroup", text), &id);
	if (!path || strncmp(path, t->cgroup, sizeof(t->cgroup) - 1) != 0)
		return false;
	if (!is_told_by_cgroup(&id, w->uid)) {
		read_host(f, &host);
		c.host = &host;
	}
	return read_roots(f, &host, pid, recheck_root, &c) && c.shows;
}

/* A program that has not set up what it does with the signal would be ended by it. For the first process of a pid namespace it
 * would be nothing at all. */
static bool is_caught(const struct signal_finder *f, pid_t pid, int signo)
{
	static char text[TEXT_MAX]; /* one thread */
	char name[16];

	(void)read_text(f->proc, pid_text(pid, name), "status", text);
	if (status_has_signal(text, "\nSigIgn:", signo))
		return false;
	/* blocked: it takes it with sigwait(3) or a signalfd(2) */
	return status_has_signal(text, "\nSigCgt:", signo) || status_has_signal(text, "\nSigBlk:", signo);
}

int signal_send(const struct signal_finder *f, const struct signal_wanted *w, const struct signal_target *t, int signo)
{
	cleanup_fd int pidfd = -1;
	struct proc p = { .pid = t->pid };

	if (!container_signal_name(signo))
		return -EINVAL;
	pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	if (pidfd < 0)
		return -errno;
	if (!is_same(f, w, t, &p))
		return -ESRCH;
	if (t->pid <= 1 || is_ours(f, &p))
		return -EACCES;
	/* runc in the container, before it becomes the program. It is written in Go, which catches every signal, to end by it */
	if (str_starts(p.comm, "runc:["))
		return SIGNAL_NOT_BEGUN;
	if (container_signal_is_notice(signo) && !is_caught(f, t->pid, signo))
		return SIGNAL_NOT_CAUGHT;
	return syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}
