/* Places: checks before anything is mounted, and what is left behind by whoever was here before. */
#include "agent/places.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent/sandbox.h"
#include "common/file.h"
#include "common/log.h"
#include "fusefs/mount.h"

/* As file_mkdirs(); *ret_made is the first folder that was not there. Paths are absolute and clean, as config.c has them. */
static int make_dirs(const char *path, mode_t mode, char **ret_made, struct err *e)
{
	cleanup_free char *made = strdup(path);
	struct stat st;
	int r;

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	for (char *slash = made; (slash = strchr(slash + 1, '/'));) {
		*slash = 0;
		if (lstat(made, &st) < 0 && errno == ENOENT)
			break;
		*slash = '/';
	}
	r = file_mkdirs(path, mode, e);
	if (r < 0)
		return r;
	*ret_made = TAKE_PTR(made);
	return 0;
}

/* path and its parents up to `made`, as long as nobody else has put something there. */
static void remove_dirs(const char *path, const char *made)
{
	cleanup_free char *dir = made ? strdup(path) : NULL;

	while (dir && rmdir(dir) == 0 && !str_eq(dir, made))
		*strrchr(dir, '/') = 0;
}

static int lock_take(struct places *p, struct err *e)
{
	char pid[32] = "";
	struct stat st;

	p->lock_path = file_join(p->config->runtime_dir, "lock");
	if (!p->lock_path)
		return err_set(e, -ENOMEM, "out of memory");
	do {
		close_fd(p->lock);
		p->lock = open(p->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (p->lock < 0)
			return err_set(e, -errno, "open %s: %m", p->lock_path);
		if (flock(p->lock, LOCK_EX | LOCK_NB) < 0) {
			ssize_t n = pread(p->lock, pid, sizeof(pid) - 1, 0);

			pid[n > 0 ? n : 0] = 0;
			pid[strcspn(pid, "\n")] = 0;
			p->lock = close_fd(p->lock);
			return err_set(e, -EBUSY, "another secretlet (pid %s) already runs with %s",
				       *pid ? pid : "unknown", p->config->runtime_dir);
		}
		/* one that was just ending has removed the file between our open and our lock */
		if (fstat(p->lock, &st) < 0)
			return err_set(e, -errno, "stat %s: %m", p->lock_path);
	} while (st.st_nlink == 0);
	snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(p->lock, 0) < 0 || pwrite(p->lock, pid, strlen(pid), 0) < 0)
		return err_set(e, -errno, "write %s: %m", p->lock_path);
	return 0;
}

int places_lock(struct places *p, struct err *e)
{
	const char *runtime_dir = p->config->runtime_dir;
	struct stat st;
	int r;

	if (lstat(runtime_dir, &st) < 0 && errno == ENOENT)
		r = make_dirs(runtime_dir, 0755, &p->made_runtime_dir, e);
	else
		r = file_mkdirs(runtime_dir, 0755, e);
	if (r < 0)
		return err_wrap(e, r, "runtime dir");
	return lock_take(p, e);
}

/* Whether the socket that an earlier keeper listened on is still the one at our path. */
static bool control_is_there(const struct places *p)
{
	struct sockaddr_un a = { .sun_family = AF_UNSPEC };
	socklen_t len = sizeof(a);
	struct stat st;

	return getsockname(p->control, (struct sockaddr *)&a, &len) == 0 && a.sun_family == AF_UNIX &&
	       strncmp(a.sun_path, p->control_path, sizeof(a.sun_path)) == 0 && lstat(p->control_path, &st) == 0 &&
	       S_ISSOCK(st.st_mode);
}

/* Who may connect: its owner, and the group that is configured. */
static int control_give(const struct places *p, struct err *e)
{
	const char *group = p->config->control_group;
	gid_t gid = 0;
	int r;

	if (group) {
		r = sandbox_find_group(group, &gid, e);
		if (r < 0)
			return err_wrap(e, r, "controlSocketGroup");
	}
	/* never open to a group that it does not belong to yet */
	if (chmod(p->control_path, 0600) < 0 || lchown(p->control_path, 0, gid) < 0 ||
	    (group && chmod(p->control_path, 0660) < 0))
		return err_set(e, -errno, "give %s to group %s: %m", p->control_path, group ? group : "root");
	return 0;
}

int places_listen(struct places *p, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct stat st;

	p->control_path = file_join(p->config->runtime_dir, "control.sock");
	if (!p->control_path)
		return err_set(e, -ENOMEM, "out of memory");
	if (strlen(p->control_path) >= sizeof(a.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s is too long for a unix socket (%zu characters at most)",
			       p->control_path, sizeof(a.sun_path) - 1);
	if (p->control >= 0 && control_is_there(p))
		return control_give(p, e); /* the configuration may be another one now */
	p->control = close_fd(p->control);
	/* we hold the lock: a socket here is left over */
	if (lstat(p->control_path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			return err_set(e, -EEXIST, "%s is in the way: it is not a socket", p->control_path);
		if (unlink(p->control_path) < 0)
			return err_set(e, -errno, "remove %s: %m", p->control_path);
	}
	memcpy(a.sun_path, p->control_path, strlen(p->control_path));
	p->control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->control < 0)
		return err_set(e, -errno, "socket: %m");
	/* the umask is 077: nobody else can connect between bind and chmod */
	if (bind(p->control, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(p->control, 64) < 0)
		return err_set(e, -errno, "listen on %s: %m", p->control_path);
	return control_give(p, e);
}

/* realpath() reads links only, so it neither hangs in nor fails on a mount of an earlier run. */
int places_resolve_pods_dir(struct places *p, struct err *e)
{
	const char *dir = p->config->pods_dir;
	int r;

	p->pods_dir = realpath(dir, NULL);
	if (!p->pods_dir && errno == ENOENT) {
		r = make_dirs(dir, 0711, &p->made_pods_dir, e);
		if (r < 0)
			return err_wrap(e, r, "pods dir");
		p->pods_dir = realpath(dir, NULL);
	}
	if (!p->pods_dir)
		return err_set(e, -errno, "pods dir %s: %m", dir);
	return 0;
}

static int clear(const char *dir, struct err *e)
{
	char fstype[64] = "";
	enum mount_state state;
	int r;

	r = mount_probe(dir, &state, fstype, sizeof(fstype), e);
	if (r == 0 && state == MOUNT_DEAD) {
		log_warning(LOG_F({ "dir", dir }), "clearing the dead mount of an earlier run");
		r = mount_clear(dir, true, e);
		r = r ?: mount_probe(dir, &state, fstype, sizeof(fstype), e);
	}
	if (r < 0)
		return r;
	if (state == MOUNT_ALIVE)
		return err_set(e, -EBUSY, "pods dir %s is served by another secretlet", dir);
	if (state != MOUNT_NONE)
		return err_set(e, -EBUSY, "pods dir %s is already mounted by something else (%s)", dir, fstype);
	return 0;
}

int places_clear_pods_dir(const struct places *p, struct err *e)
{
	struct stat st;
	int r;

	r = clear(p->pods_dir, e);
	if (r < 0)
		return r;
	if (stat(p->pods_dir, &st) < 0)
		return err_set(e, -errno, "pods dir %s: %m", p->pods_dir);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "pods dir %s is not a folder", p->pods_dir);
	return 0;
}

void places_remove(const struct places *p)
{
	if (p->control >= 0)
		unlink(p->control_path);
	if (p->lock >= 0)
		unlink(p->lock_path);
	remove_dirs(p->config->runtime_dir, p->made_runtime_dir);
	remove_dirs(p->config->pods_dir, p->made_pods_dir);
}

void places_deinit(struct places *p)
{
	close_fd(p->control);
	close_fd(p->lock);
	free(p->pods_dir);
	free(p->made_pods_dir);
	free(p->made_runtime_dir);
	free(p->lock_path);
	free(p->control_path);
}
