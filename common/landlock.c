/* Landlock: the kernel's interface, as its documentation (userspace-api/landlock.rst) has it up to ABI 6. A ruleset names what
 * it handles; what it handles and no rule allows is refused. */
#include "common/landlock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define FILES_ABI_1   ((1ull << 13) - 1)
#define FILES_REFER   (1ull << 13) /* ABI 2 */
#define FILES_IOCTL   (1ull << 15) /* ABI 5 */
#define NET_ALL	      3ull /* bind and connect */
#define NET_CONNECT   2ull
#define SCOPE_ALL     3ull /* abstract unix sockets and signals */
#define SCOPE_SIGNALS 2ull

#define FOR_A_FILE (LANDLOCK_READ_FILE | LANDLOCK_WRITE_FILE | LANDLOCK_TRUNCATE | FILES_IOCTL)

enum { RULESET_VERSION = 1 };
enum { RULE_PATH_BENEATH = 1, RULE_NET_PORT = 2 };

struct ruleset_attr {
	uint64_t handled_files, handled_net, scoped;
};
struct path_attr {
	uint64_t allowed;
	int32_t fd;
} __attribute__((__packed__));
struct port_attr {
	uint64_t allowed, port;
};

static long abi(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, RULESET_VERSION);
}

static unsigned known_of(long version)
{
	return (version >= 1 ? LANDLOCK_FILES : 0) | (version >= 4 ? LANDLOCK_TCP : 0) |
	       (version >= 5 ? LANDLOCK_DEVICES : 0) | (version >= 6 ? LANDLOCK_SCOPES : 0);
}

unsigned landlock_known(void)
{
	return known_of(abi());
}

int landlock_begin(struct landlock *l, unsigned what)
{
	struct ruleset_attr a = { 0 };
	bool but_reading = what & LANDLOCK_BUT_READING, but_signals = what & LANDLOCK_BUT_SIGNALS;
	long version = abi();

	what &= known_of(version);
	if (what & LANDLOCK_FILES)
		a.handled_files =
			FILES_ABI_1 | (version >= 2 ? FILES_REFER : 0) | (version >= 3 ? LANDLOCK_TRUNCATE : 0);
	if (but_reading)
		a.handled_files &= ~LANDLOCK_READ_FILE;
	if (what & LANDLOCK_DEVICES)
		a.handled_files |= FILES_IOCTL;
	if (what & LANDLOCK_TCP)
		a.handled_net = NET_ALL;
	if (what & LANDLOCK_SCOPES)
		a.scoped = but_signals ? SCOPE_ALL & ~SCOPE_SIGNALS : SCOPE_ALL;
	*l = LANDLOCK_INIT;
	if (!what)
		return -EOPNOTSUPP;
	l->fd = (int)syscall(SYS_landlock_create_ruleset, &a, sizeof(a), 0);
	l->files = a.handled_files;
	l->net = a.handled_net;
	return l->fd < 0 ? -errno : 0;
}

int landlock_allow(struct landlock *l, int dirfd, const char *path, uint64_t access)
{
	cleanup_fd int fd = path ? openat(dirfd, path, O_PATH | O_CLOEXEC) : -1;
	struct path_attr a = { .allowed = access & l->files, .fd = path ? fd : dirfd };
	struct stat st;

	if (path && fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -errno;
	if (fstat(a.fd, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		a.allowed &= FOR_A_FILE;
	if (!a.allowed)
		return 0;
	return syscall(SYS_landlock_add_rule, l->fd, RULE_PATH_BENEATH, &a, 0) < 0 ? -errno : 0;
}

int landlock_allow_connect(struct landlock *l, uint16_t port)
{
	const struct port_attr a = { .allowed = NET_CONNECT, .port = port };

	if (!l->net)
		return 0;
	return syscall(SYS_landlock_add_rule, l->fd, RULE_NET_PORT, &a, 0) < 0 ? -errno : 0;
}

int landlock_enforce(struct landlock *l)
{
	return syscall(SYS_landlock_restrict_self, l->fd, 0) < 0 ? -errno : 0;
}

void landlock_deinit(struct landlock *l)
{
	l->fd = close_fd(l->fd);
}
