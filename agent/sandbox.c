/* Sandbox: order matters. Seccomp and Landlock come in two steps, because readers wait for a new agent while it would load
 * libcurl and all that it brings along: first what needs no library, then, when they are loaded and nothing has come from
 * the network yet, the rest. Rules of Landlock are bound to folders and not to files, for resolv.conf and the like are
 * replaced while the agent runs. A folder that comes later has no rule, and none can be added: where resolv.conf leads to one,
 * the agent makes room for another.
 *
 * The death signal and the dumpable flag are reset by the kernel when ids change
 * (prctl(2), PR_SET_PDEATHSIG and PR_SET_DUMPABLE), so both are set again after it. */
#include "agent/sandbox.h"

#include <cap-ng.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <sodium.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <systemd/sd-id128.h>
#include <time.h>

#include "agent/sandbox_calls.h"
#include "common/buf.h"
#include "common/file.h"
#include "common/landlock.h"
#include "common/log.h"
#include "common/str.h"

#define DEFAULT_USER "secretlet"
/* systemd's range for DynamicUser= (UIDS-GIDS.md): nobody else hands these out */
#define DYNAMIC_UID_MIN 61184
#define DYNAMIC_UID_MAX 65519

#ifndef PR_SET_MDWE /* Linux 6.3 */
#define PR_SET_MDWE		 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

#define CAPABILITIES 64 /* that the kernel's sets have room for */

#define NAME_SERVERS "/etc/resolv.conf"
#define DNS_PORT     53 /* an answer that is too long for a datagram */

static const struct {
	const char *name, *missing;
	unsigned landlock;
} RULES[SANDBOX_RULES_N] = {
	[SANDBOX_SECCOMP] = { "seccomp", "seccomp (CONFIG_SECCOMP_FILTER)", 0 },
	[SANDBOX_FILES] = { "landlock-files", "Landlock (Linux 5.13, and lsm= on the kernel's command line)",
			    LANDLOCK_FILES },
	[SANDBOX_TCP] = { "landlock-tcp", "Landlock for TCP ports (Linux 6.7)", LANDLOCK_TCP },
	[SANDBOX_DEVICES] = { "landlock-devices", "Landlock for devices (Linux 6.10)", LANDLOCK_DEVICES },
	[SANDBOX_SCOPES] = { "landlock-scopes", "Landlock for signals and abstract sockets (Linux 6.12)",
			     LANDLOCK_SCOPES },
	[SANDBOX_MEMORY] = { "memory-deny-write-execute", "PR_SET_MDWE (Linux 6.3)", 0 },
};

static bool in_force[SANDBOX_RULES_N];
static bool hid_name_servers; /* from the moment when it was confined, though they were there before */
static bool saw_name_servers; /* they are needed, and were not hidden then; or not there */

static int sandbox_dynamic_user(const char *pods_dir, struct sandbox_user *ret_user, struct err *e)
{
	const uint32_t range = DYNAMIC_UID_MAX - DYNAMIC_UID_MIN + 1;
	uint32_t start;

	crypto_generichash((unsigned char *)&start, sizeof(start), (const unsigned char *)pods_dir, strlen(pods_dir),
			   NULL, 0);
	for (uint32_t i = 0; i < range; i++) {
		uid_t uid = DYNAMIC_UID_MIN + (start + i) % range;

		if (getpwuid(uid) || getgrgid(uid))
			continue;
		*ret_user = (struct sandbox_user){ .uid = uid, .gid = uid, .dynamic = true };
		return 0;
	}
	return err_set(e, -ENOENT, "no unused uid between %d and %d", DYNAMIC_UID_MIN, DYNAMIC_UID_MAX);
}

int sandbox_find_user(const char *name, const char *pods_dir, struct sandbox_user *ret_user, struct err *e)
{
	const struct passwd *p;

	p = getpwnam(name);
	if (!p && strcmp(name, DEFAULT_USER) == 0)
		return sandbox_dynamic_user(pods_dir, ret_user, e);
	if (!p)
		return err_set(e, -ENOENT, "user %s does not exist", name);
	if (p->pw_uid == 0)
		return err_set(e, -EINVAL, "user %s is root: the agent needs an account without privileges", name);
	*ret_user = (struct sandbox_user){ .uid = p->pw_uid, .gid = p->pw_gid };
	return 0;
}

int sandbox_find_group(const char *name, gid_t *ret_gid, struct err *e)
{
	const struct group *g = getgrnam(name);

	if (!g)
		return err_set(e, -ENOENT, "group %s does not exist", name);
	*ret_gid = g->gr_gid;
	return 0;
}

static int sandbox_set_process(struct err *e)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_set(e, -errno, "prctl(PR_SET_PDEATHSIG): %m");
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return err_set(e, -errno, "prctl(PR_SET_DUMPABLE): %m");
	return 0;
}

int sandbox_begin(struct err *e)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return err_set(e, -errno, "setrlimit(RLIMIT_CORE): %m");
	return sandbox_set_process(e);
}

int sandbox_drop(const struct sandbox_user *u, struct err *e)
{
	pid_t keeper = getppid();
	int r;

	if (setgroups(0, NULL) < 0)
		return err_set(e, -errno, "setgroups: %m");
	capng_clear(CAPNG_SELECT_ALL);
	/* the bounding set while CAP_SETPCAP is there; the rest goes with the ids */
	if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)
		return err_set(e, -EPERM, "drop the capability bounding set: failed");
	if (setresgid(u->gid, u->gid, u->gid) < 0 || setresuid(u->uid, u->uid, u->uid) < 0)
		return err_set(e, -errno, "become uid %u: %m", (unsigned)u->uid);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return err_set(e, -EPERM, "drop the capabilities: failed");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, -errno, "prctl(PR_SET_NO_NEW_PRIVS): %m");
	r = sandbox_set_process(e);
	if (r < 0)
		return r;
	if (setresuid(0, 0, 0) == 0 || capng_get_caps_process() < 0 ||
	    capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE)
		return err_set(e, -EPERM, "privileges are still there after dropping them");
	/* the keeper may have died while the death signal was off */
	if (getppid() != keeper)
		return err_set(e, -ESRCH, "the keeper has gone");
	return 0;
}

/* --- what the kernel enforces --- */

bool sandbox_has(enum sandbox_rule rule)
{
	return in_force[rule];
}

const char *sandbox_rule_name(enum sandbox_rule rule)
{
	return RULES[rule].name;
}

static int set_calls(const struct sandbox_calls *calls, struct err *e)
{
	int r = sysfilter_install(calls->rules, calls->n, calls->otherwise);

	if (r < 0 && r != -EOPNOTSUPP)
		return err_set(e, r, "seccomp: %s", strerror(-r));
	in_force[SANDBOX_SECCOMP] = r == 0;
	return 0;
}

/* The list of a process that starts no other. abort(3)'s signal, which all of them let pass, goes to itself alone: to others of
 * its user only Landlock would refuse it, since Linux 6.12, and of uid 0 these others are most of the host. */
static int set_own_calls(const struct sandbox_calls *calls, struct err *e)
{
	const struct sysfilter_rule rules[] = {
		CALL_ALLOW_IF(tgkill, ARG_IS(0, (uint32_t)getpid())),
		CALL_DO(tgkill, SYSFILTER_ERRNO(EPERM)),
	};
	const struct sandbox_calls own_signals = { rules, ARRAY_SIZE(rules), SECCOMP_RET_ALLOW };
	int r = set_calls(&own_signals, e);

	return r < 0 ? r : set_calls(calls, e);
}

static int set_memory(struct err *e)
{
	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0)
		in_force[SANDBOX_MEMORY] = true;
	else if (errno != EINVAL && errno != ENOSYS)
		return err_set(e, -errno, "prctl(PR_SET_MDWE): %m");
	return 0;
}

static int set_paths(struct landlock *l, unsigned what, struct err *e)
{
	int r = landlock_enforce(l);

	if (r < 0)
		return err_set(e, r, "Landlock: %s", strerror(-r));
	for (size_t i = 0; i < SANDBOX_RULES_N; i++)
		if (RULES[i].landlock & what & landlock_known())
			in_force[i] = true;
	return 0;
}

/* Reads only; a folder that is not there needs no rule. */
static int allow_reading(struct landlock *l, const char *const *paths, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		int r = landlock_allow(l, AT_FDCWD, paths[i], LANDLOCK_READ_FILE);

		if (r < 0)
			return err_set(e, r, "Landlock: %s: %s", paths[i], strerror(-r));
	}
	return 0;
}

/* resolv.conf, mostly a link to a file that is replaced whenever the network changes. */
static int allow_name_files(struct landlock *l, struct err *e)
{
	static const char *const folders[] = { "/etc", "/run/systemd/resolve", "/run/NetworkManager",
					       "/run/resolvconf" };
	cleanup_free char *real = realpath(NAME_SERVERS, NULL);
	cleanup_free char *folder = real ? file_dirname(real) : NULL;
	/* in the root folder, the file alone */
	const char *const own[] = { folder && str_eq(folder, "/") ? real : folder };
	int r = allow_reading(l, folders, ARRAY_SIZE(folders), e);

	return r < 0 || !folder ? r : allow_reading(l, own, 1, e);
}

static int allow_certificates(struct landlock *l, struct err *e)
{
	static const char *const folders[] = { "/etc/ssl", "/etc/pki", "/etc/ca-certificates",
					       "/usr/share/ca-certificates", "/usr/local/share/ca-certificates" };

	return allow_reading(l, folders, ARRAY_SIZE(folders), e);
}

/* Where libraries are, and what they read when they are loaded; and what confine_to_needs() may have to leave, for a file can be
 * opened only if the rules of both say so. */
static int confine_to_libraries(struct err *e)
{
	static const char *const folders[] = { "/lib",	   "/lib64",	  "/usr/lib", "/usr/lib64", "/usr/local/lib",
					       "/etc/ssl", "/etc/gnutls", "/etc",     "/nix/store", "/gnu/store" };
	cleanup_landlock struct landlock l = LANDLOCK_INIT;
	const unsigned what = LANDLOCK_FILES | LANDLOCK_DEVICES | LANDLOCK_SCOPES;
	int r = landlock_begin(&l, what);

	if (r == -EOPNOTSUPP)
		return 0;
	if (r < 0)
		return err_set(e, r, "Landlock: %s", strerror(-r));
	r = allow_reading(&l, folders, ARRAY_SIZE(folders), e);
	if (r == 0)
		r = allow_name_files(&l, e);
	if (r == 0)
		r = allow_certificates(&l, e);
	return r < 0 ? r : set_paths(&l, what, e);
}

/* access(2) asks the file's mode, and no rule of Landlock's. */
static bool name_servers_are_there(void)
{
	return access(NAME_SERVERS, R_OK) == 0;
}

static bool name_servers_are_hidden(void)
{
	cleanup_fd int fd = open(NAME_SERVERS, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 && errno == EACCES && name_servers_are_there();
}

int sandbox_confine(struct err *e)
{
	bool were_there = name_servers_are_there();
	sd_id128_t boot;
	int r;

	/* files that libc and libsystemd read when they first need them, and then have */
	tzset();
	(void)sd_id128_get_boot(&boot);
	r = set_memory(e);
	if (r == 0)
		r = confine_to_libraries(e);
	/* else they have come since then, and another one may read them */
	hid_name_servers = were_there && name_servers_are_hidden();
	return r < 0 ? r : set_own_calls(&SANDBOX_AGENT, e);
}

/* The modules that the resolver loads for the `hosts:` line of nsswitch.conf, so that they are there when nothing can be loaded
 * any more. One that is not goes without: it is no more than an unavailable service then. */
static void load_name_services(void)
{
	cleanup_file FILE *f = fopen("/etc/nsswitch.conf", "re");
	char line[1024], name[64];

	while (f && fgets(line, sizeof(line), f)) {
		const char *at = line + strspn(line, " \t");
		int len;

		if (strncmp(at, "hosts:", 6) != 0)
			continue;
		for (at += 6; sscanf(at, " %31[a-z0-9_]%n", name, &len) == 1; at += len + strspn(at + len, " \t")) {
			cleanup_free char *module = str_format("libnss_%s.so.2", name);

			if (module)
				(void)dlopen(module, RTLD_NOW);
			if (at[len + (int)strspn(at + len, " \t")] == '[')
				len += (int)strcspn(at + len, "]") + 1;
		}
	}
	/* what a thread's end takes */
	(void)dlopen("libgcc_s.so.1", RTLD_NOW);
}

bool sandbox_hides_name_servers(void)
{
	return saw_name_servers && name_servers_are_hidden();
}

static int confine_to_needs(const struct sandbox_needs *needs, struct err *e)
{
	cleanup_landlock struct landlock l = LANDLOCK_INIT;
	const unsigned what = LANDLOCK_FILES | LANDLOCK_TCP | LANDLOCK_DEVICES;
	int r = landlock_begin(&l, what);

	if (r == -EOPNOTSUPP)
		return 0;
	if (r < 0)
		return err_set(e, r, "Landlock: %s", strerror(-r));
	r = needs->names ? allow_name_files(&l, e) : 0;
	if (r == 0 && needs->names && landlock_allow_connect(&l, DNS_PORT) < 0)
		r = err_set(e, -EINVAL, "Landlock: port %u", DNS_PORT);
	if (r == 0 && needs->system_ca)
		r = allow_certificates(&l, e);
	if (r == 0 && needs->port && landlock_allow_connect(&l, needs->port) < 0)
		r = err_set(e, -EINVAL, "Landlock: port %u", needs->port);
	return r < 0 ? r : set_paths(&l, what, e);
}

static void say_what_holds(bool quiet)
{
	cleanup_buf struct buf has = BUF_INIT(1024), lacks = BUF_INIT(1024);
	struct utsname u = { .release = "?" };

	for (size_t i = 0; i < SANDBOX_RULES_N; i++) {
		struct buf *b = in_force[i] ? &has : &lacks;

		if (b->len > 0)
			(void)buf_add_str(b, ", ");
		(void)buf_add_str(b, in_force[i] ? RULES[i].name : RULES[i].missing);
		/* the others come with it */
		if (i == SANDBOX_FILES && !in_force[i])
			i = SANDBOX_SCOPES;
	}
	(void)uname(&u);
	log_write(quiet ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, NULL, "sandbox: %.*s", (int)has.len, has.data ?: "");
	if (lacks.len > 0)
		log_write(quiet ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, NULL,
			  "sandbox: the kernel (%s) does not have, and goes without: %.*s", u.release, (int)lacks.len,
			  lacks.data);
}

int sandbox_seal(const struct sandbox_needs *needs, bool quiet, struct err *e)
{
	bool opens_files = needs->names || needs->system_ca;
	int r;

	if (needs->names)
		load_name_services();
	r = confine_to_needs(needs, e);
	if (r == 0 && !opens_files)
		r = set_calls(&SANDBOX_NO_FILES, e);
	if (r == 0 && !needs->names)
		r = set_calls(&SANDBOX_NO_NAMES, e);
	if (r == 0 && !needs->port)
		r = set_calls(&SANDBOX_NO_INTERNET, e);
	if (r == 0)
		r = set_calls(&SANDBOX_NO_NEW_CODE, e);
	if (r == 0)
		say_what_holds(quiet);
	/* a folder that has come since it was confined has no rule in that one, whatever this one allows */
	saw_name_servers = r == 0 && needs->names && !hid_name_servers;
	return r;
}

int sandbox_confine_cache(int dirfd, struct err *e)
{
	const uint64_t access =
		LANDLOCK_READ_FILE | LANDLOCK_READ_DIR | LANDLOCK_WRITE_FILE | LANDLOCK_MAKE_REG | LANDLOCK_REMOVE_FILE;
	cleanup_landlock struct landlock l = LANDLOCK_INIT;
	int r;

	tzset();
	r = set_memory(e);
	if (r < 0)
		return r;
	r = landlock_begin(&l, LANDLOCK_ALL);
	if (r == 0 && dirfd >= 0)
		r = landlock_allow(&l, dirfd, NULL, access);
	if (r == 0)
		r = landlock_enforce(&l);
	if (r < 0 && r != -EOPNOTSUPP)
		return err_set(e, r, "Landlock: %s", strerror(-r));
	return set_own_calls(&SANDBOX_CACHE, e);
}

/* A mount of nobody's namespace, from which no way leads up. */
static int detached_mount(int dirfd, const char *path, unsigned attributes, int *ret_fd, struct err *e)
{
	cleanup_fd int fd = open_tree(dirfd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	struct mount_attr set = { .attr_set = attributes };

	if (fd < 0)
		return err_set(e, -errno, "open_tree %s: %m", path);
	if (attributes && mount_setattr(fd, "", AT_EMPTY_PATH, &set, sizeof(set)) < 0)
		return err_set(e, -errno, "mount_setattr %s: %m", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int sandbox_enter_proc(int *dirfd, struct err *e)
{
	cleanup_fd int proc = -1, dir = -1;
	sd_id128_t boot;
	int r;

	/* files that libraries read when they first need them, and then have */
	capng_clear(CAPNG_SELECT_ALL);
	tzset();
	(void)sd_id128_get_boot(&boot);
	r = detached_mount(AT_FDCWD, "/proc", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, &proc, e);
	if (r == 0 && *dirfd >= 0)
		r = detached_mount(*dirfd, "", 0, &dir, e);
	if (r < 0)
		return r;
	if (fchdir(proc) < 0 || chroot(".") < 0)
		return err_set(e, -errno, "chroot /proc: %m");
	if (*dirfd >= 0) {
		close_fd(*dirfd);
		*dirfd = TAKE_FD(dir);
	}
	return 0;
}

/* keep: the one that is left; -1: none. */
static bool has_more_capabilities(int keep)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];

	if (syscall(SYS_capget, &head, caps) < 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		uint32_t kept = keep >= 0 && (size_t)keep / 32 == i ? UINT32_C(1) << keep % 32 : 0;

		if (caps[i].effective != kept || caps[i].permitted != kept || caps[i].inheritable)
			return true;
	}
	return false;
}

static int drop_rights(int keep, struct err *e)
{
	/* as the publisher: without CAP_SETGID there is nothing that could have given it any */
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return err_set(e, -errno, "setgroups: %m");
	capng_clear(CAPNG_SELECT_ALL);
	/* the bounding set can go only while CAP_SETPCAP is there; where it never was, what is in it cannot come back either */
	(void)capng_apply(CAPNG_SELECT_BOUNDS);
	if (keep >= 0)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, (unsigned)keep);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0 || has_more_capabilities(keep))
		return err_set(e, -EPERM, "drop the capabilities: failed");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, -errno, "prctl(PR_SET_NO_NEW_PRIVS): %m");
	return 0;
}

/* The kernel opens for it what others have opened (fanotify(7)), by paths that begin in their roots: no rule of Landlock can
 * allow that and nothing else, so that reading is not ruled. What there is to be read the root folder says. */
int sandbox_confine_audit(int dirfd, struct err *e)
{
	cleanup_landlock struct landlock l = LANDLOCK_INIT;
	int r;

	r = drop_rights(-1, e);
	if (r == 0)
		r = set_memory(e);
	if (r < 0)
		return r;
	r = landlock_begin(&l, LANDLOCK_ALL | LANDLOCK_BUT_READING);
	if (r == 0 && dirfd >= 0)
		r = landlock_allow(&l, dirfd, NULL, LANDLOCK_WRITE_FILE | LANDLOCK_TRUNCATE | LANDLOCK_MAKE_REG);
	if (r == 0)
		r = landlock_enforce(&l);
	if (r < 0 && r != -EOPNOTSUPP)
		return err_set(e, r, "Landlock: %s", strerror(-r));
	return set_own_calls(&SANDBOX_AUDIT, e);
}

int sandbox_confine_signaller(int proc, struct err *e)
{
	cleanup_landlock struct landlock l = LANDLOCK_INIT;
	int r;

	r = drop_rights(CAP_KILL, e);
	if (r == 0)
		r = set_memory(e);
	if (r < 0)
		return r;
	r = landlock_begin(&l, LANDLOCK_ALL | LANDLOCK_BUT_SIGNALS);
	if (r == 0)
		r = landlock_allow(&l, proc, NULL, LANDLOCK_READ_FILE | LANDLOCK_READ_DIR);
	if (r == 0)
		r = landlock_enforce(&l);
	if (r < 0 && r != -EOPNOTSUPP)
		return err_set(e, r, "Landlock: %s", strerror(-r));
	return set_own_calls(&SANDBOX_SIGNALLER, e);
}

/* What deploy/secretlet.service leaves to it, where its comments say what for; and for its children's start, where no
 * unit is: the limit of locked memory is lifted (SYS_RESOURCE), and a metricsBindAddress or healthzPort may be one of
 * root's ports (NET_BIND_SERVICE). */
static bool is_keepers(unsigned capability)
{
	switch (capability) {
	case CAP_CHOWN:
	case CAP_DAC_READ_SEARCH:
	case CAP_IPC_LOCK:
	case CAP_KILL:
	case CAP_NET_BIND_SERVICE:
	case CAP_SETGID:
	case CAP_SETPCAP:
	case CAP_SETUID:
	case CAP_SYS_ADMIN:
	case CAP_SYS_CHROOT:
	case CAP_SYS_RESOURCE:
		return true;
	default:
		return false;
	}
}

static int drop_keepers_capabilities(struct err *e)
{
	if (capng_get_caps_process() < 0)
		return err_set(e, -EPERM, "read the capabilities: failed");
	/* without the inheritable ones there are no ambient ones. Capabilities that are newer than the headers are
	 * among these, too; for one that the kernel does not know this does nothing */
	for (unsigned i = 0; i < CAPABILITIES; i++) {
		(void)capng_update(CAPNG_DROP, CAPNG_INHERITABLE, i);
		if (!is_keepers(i))
			(void)capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, i);
	}
	/* the bounding set while CAP_SETPCAP is there; without it root gains nothing either, for it has no_new_privs */
	(void)capng_apply(CAPNG_SELECT_BOUNDS);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return err_set(e, -EPERM, "drop the capabilities: failed");
	if (capng_get_caps_process() < 0)
		return err_set(e, -EPERM, "read the capabilities: failed");
	for (unsigned i = 0; i < CAPABILITIES; i++)
		if (!is_keepers(i) &&
		    (capng_have_capability(CAPNG_EFFECTIVE, i) > 0 || capng_have_capability(CAPNG_PERMITTED, i) > 0))
			return err_set(e, -EPERM, "capability %u is still there after dropping it", i);
	return 0;
}

int sandbox_confine_keeper(struct err *e)
{
	int r;

	r = drop_keepers_capabilities(e);
	if (r < 0)
		return r;
	/* it executes nothing but itself, which has no more rights */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, -errno, "prctl(PR_SET_NO_NEW_PRIVS): %m");
	return set_calls(&SANDBOX_KEEPER, e);
}
