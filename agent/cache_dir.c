/* Cache dir: a file is written under another name, flushed and renamed; a crash leaves the old one or the new one, and
 * perhaps a temporary one, which the next writer removes. Names that are not ours are left alone. */
#include "agent/cache_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/file.h"
#include "common/str.h"

#define FILES_MAX ((size_t)200000)

static inline void dir_closep(DIR **d)
{
	if (*d)
		closedir(*d);
}

bool cache_name_is_record(const char *name)
{
	return strlen(name) == CACHE_NAME_LEN && strspn(name, "0123456789abcdef") == CACHE_NAME_LEN;
}

static bool is_ours(const char *name)
{
	return str_eq(name, CACHE_INDEX_NAME) || cache_name_is_record(name) ||
	       (str_starts(name, CACHE_TEMPORARY_PREFIX) && strlen(name) < CACHE_NAME_MAX);
}

int cache_dir_open(const char *path, int *ret_fd, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return err_set(e, -errno, "open %s: %m", path);
	*ret_fd = fd;
	return 0;
}

static int open_stream(int dirfd, DIR **ret_dir, struct err *e)
{
	/* a stream of its own: its position is no business of dirfd's other users */
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		int r = err_set(e, -errno, "read the folder: %m");

		close_fd(fd);
		return r;
	}
	*ret_dir = d;
	return 0;
}

/* A wrong path in the configuration must not take a folder away from whoever needs it. */
static int check_contents(int dirfd, const char *path, struct err *e)
{
	cleanup(dir_closep) DIR *d = NULL;
	const struct dirent *entry;
	int r;

	r = open_stream(dirfd, &d, e);
	if (r < 0)
		return r;
	while ((entry = readdir(d)))
		if (!str_eq(entry->d_name, ".") && !str_eq(entry->d_name, "..") && !is_ours(entry->d_name))
			return err_set(e, -ENOTEMPTY, "%s: is no folder of an offline cache: `%.64s` is in it", path,
				       entry->d_name);
	return 0;
}

/* Takes no more than CAP_CHOWN: the mode is changed while the folder is our own. One that an earlier user of the agent
 * had is right but for its owner. */
static int give_to(int fd, const struct stat *st, uid_t uid, gid_t gid)
{
	bool right = (st->st_mode & 07777) == 0700;

	if (!right && st->st_uid == uid && fchown(fd, geteuid(), (gid_t)-1) < 0)
		return -errno;
	if (!right && fchmod(fd, 0700) < 0)
		return -errno;
	return fchown(fd, uid, gid) < 0 ? -errno : 0;
}

int cache_dir_make(const char *path, uid_t uid, gid_t gid, int *ret_fd, struct err *e)
{
	cleanup_free char *parent = file_dirname(path);
	cleanup_fd int fd = -1;
	struct stat st;
	int r;

	if (!parent)
		return err_set(e, -ENOMEM, "out of memory");
	r = file_mkdirs(parent, 0755, e);
	if (r < 0)
		return r;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(e, -errno, "make %s: %m", path);
	r = cache_dir_open(path, &fd, e);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "stat %s: %m", path);
	if (st.st_uid == uid && st.st_gid == gid && (st.st_mode & 07777) == 0700) {
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	r = check_contents(fd, path, e);
	if (r < 0)
		return r;
	if (give_to(fd, &st, uid, gid) < 0)
		return err_set(e, -errno, "give %s to the agent: %m", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int cache_dir_lock(int dirfd, bool wait, struct err *e)
{
	int r;

	do
		r = flock(dirfd, LOCK_EX | (wait ? 0 : LOCK_NB));
	while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EWOULDBLOCK)
		return err_set(e, -EBUSY, "it is in use by a running daemon");
	return r < 0 ? err_set(e, -errno, "lock it: %m") : 0;
}

static uint64_t read_generation(int dirfd, const char *name)
{
	cleanup_fd int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	uint8_t head[CACHE_MAGIC_LEN + 8];
	uint64_t generation = 0;

	if (fd < 0 || pread(fd, head, sizeof(head), 0) != sizeof(head) ||
	    memcmp(head, CACHE_MAGIC, CACHE_MAGIC_LEN) != 0)
		return 0;
	for (size_t i = 8; i > 0; i--)
		generation = generation << 8 | head[CACHE_MAGIC_LEN + i - 1];
	return generation;
}

int cache_dir_list(int dirfd, struct cache_file **ret_files, size_t *ret_n, struct err *e)
{
	cleanup_free struct cache_file *files = NULL;
	cleanup(dir_closep) DIR *d = NULL;
	const struct dirent *entry;
	size_t n = 0, size = 0;
	int r;

	r = open_stream(dirfd, &d, e);
	if (r < 0)
		return r;
	while ((errno = 0, entry = readdir(d))) {
		if (!is_ours(entry->d_name))
			continue;
		if (n >= FILES_MAX)
			return err_set(e, -EFBIG, "more than %zu files", FILES_MAX);
		if (n == size) {
			struct cache_file *grown = reallocarray(files, size ? 2 * size : 64, sizeof(*grown));

			if (!grown)
				return err_set(e, -ENOMEM, "out of memory");
			files = grown;
			size = size ? 2 * size : 64;
		}
		memcpy(files[n].name, entry->d_name, strlen(entry->d_name) + 1); /* is_ours(): short */
		files[n].generation = read_generation(dirfd, entry->d_name);
		n++;
	}
	if (errno)
		return err_set(e, -errno, "read the folder: %m");
	*ret_files = TAKE_PTR(files);
	*ret_n = n;
	return 0;
}

int cache_files_take(const void *data, size_t len, struct cache_file **ret_files, size_t *ret_n)
{
	cleanup_free struct cache_file *files = NULL;
	size_t n = len / sizeof(*files);

	if (len % sizeof(*files) != 0 || n > FILES_MAX)
		return -EBADMSG;
	files = malloc(len + 1);
	if (!files)
		return -ENOMEM;
	if (len > 0) /* there is no data of an empty folder */
		memcpy(files, data, len);
	for (size_t i = 0; i < n; i++)
		if (!memchr(files[i].name, '\0', sizeof(files[i].name)) || !is_ours(files[i].name) ||
		    strchr(files[i].name, '/'))
			return -EBADMSG;
	*ret_files = TAKE_PTR(files);
	*ret_n = n;
	return 0;
}

int cache_dir_read(int dirfd, const char *name, struct buf *out, struct err *e)
{
	cleanup_fd int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -errno, "%s: %m", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: is not a regular file", name);
	for (;;) {
		char *room;
		ssize_t n;

		r = buf_reserve(out, 65536, &room);
		if (r < 0)
			return err_set(e, r == -ENOBUFS ? -EFBIG : r, "%s: %s", name,
				       r == -ENOBUFS ? "is too large" : "out of memory");
		n = read(fd, room, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, -errno, "read %s: %m", name);
		if (n == 0)
			return 0;
		buf_advance(out, (size_t)n);
	}
}

static int write_temporary(int dirfd, const void *data, size_t len, struct err *e)
{
	cleanup_fd int fd = openat(dirfd, CACHE_TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return err_set(e, -errno, "create " CACHE_TEMPORARY ": %m");
	r = file_write_all(fd, data, len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r < 0 ? err_set(e, r, "write " CACHE_TEMPORARY ": %s", strerror(-r)) : 0;
}

int cache_dir_write(int dirfd, const char *name, const void *data, size_t len, bool commit, struct err *e)
{
	int r;

	(void)unlinkat(dirfd, CACHE_TEMPORARY, 0);
	r = write_temporary(dirfd, data, len, e);
	/* what the index speaks of is there before it speaks of it */
	if (r == 0 && commit && fsync(dirfd) < 0)
		r = err_set(e, -errno, "flush the folder: %m");
	if (r == 0 && renameat(dirfd, CACHE_TEMPORARY, dirfd, name) < 0)
		r = err_set(e, -errno, "rename " CACHE_TEMPORARY " to %s: %m", name);
	if (r < 0) {
		(void)unlinkat(dirfd, CACHE_TEMPORARY, 0);
		return r;
	}
	if (!commit || fsync(dirfd) == 0)
		return 0;
	err_set(e, -errno, "flush the folder: %m");
	return CACHE_DIR_UNSURE;
}

int cache_dir_remove(int dirfd, const char *name, struct err *e)
{
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return err_set(e, -errno, "remove %s: %m", name);
	return 0;
}
