/* Files. Contents pass through a struct buf, so that what may be a credential is wiped whenever it moves and when
 * reading fails. */
#include "common/file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "common/buf.h"

#define FILE_READ_STEP ((size_t)4096)

static ssize_t read_retry(int fd, void *data, size_t len)
{
	ssize_t n;

	do
		n = read(fd, data, len);
	while (n < 0 && errno == EINTR);
	return n;
}

/* Reads into b's free room, making some first. 0 at the end, 1 while there may be more. */
static int read_some(int fd, struct buf *b)
{
	size_t room_len = b->data ? b->size - b->len - 1 : 0;
	char probe, *room;
	ssize_t n;
	int r;

	if (b->len == b->max) {
		n = read_retry(fd, &probe, 1);
		explicit_bzero(&probe, 1);
		return n < 0 ? -errno : n == 0 ? 0 : -EFBIG;
	}
	if (room_len == 0)
		room_len = MAX(b->len, FILE_READ_STEP);
	room_len = MIN(room_len, b->max - b->len);
	r = buf_reserve(b, room_len, &room);
	if (r < 0)
		return r;

	n = read_retry(fd, room, room_len);
	if (n < 0)
		return -errno;
	buf_advance(b, (size_t)n);
	return n > 0;
}

int file_read_fd(int fd, const char *name, size_t max, char **ret_data, size_t *ret_len, struct err *e)
{
	cleanup_buf struct buf b = BUF_INIT(max);
	struct stat st;
	char *data;
	size_t len;
	int r;

	/* the usual file is read in one go, with one byte of room to see its end */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 0 && (uint64_t)st.st_size < max) {
		r = buf_reserve(&b, (size_t)st.st_size + 1, &data);
		if (r < 0)
			return err_set(e, r, "read %s: out of memory", name);
	}
	do
		r = read_some(fd, &b);
	while (r > 0);
	if (r == -EFBIG)
		return err_set(e, r, "%s is larger than %zu bytes", name, max);
	if (r < 0)
		return err_set(e, r, "read %s: %s", name, strerrordesc_np(-r));

	len = b.len;
	data = buf_take(&b);
	if (!data)
		return err_set(e, -ENOMEM, "read %s: out of memory", name);
	*ret_data = data;
	*ret_len = len;
	return 0;
}

int file_read(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len, struct err *e)
{
	cleanup_fd int fd = -1;

	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_set(e, -errno, "open %s: %m", path);
	return file_read_fd(fd, path, max, ret_data, ret_len, e);
}

int file_write_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_and_rename(int fd, const char *temp, const char *path, const void *data, size_t len, mode_t mode,
			    struct err *e)
{
	int r;

	r = file_write_all(fd, data, len);
	if (r < 0)
		return err_set(e, r, "write %s: %s", temp, strerrordesc_np(-r));
	if (fchmod(fd, mode) < 0)
		return err_set(e, -errno, "chmod %s: %m", temp);
	if (fsync(fd) < 0)
		return err_set(e, -errno, "fsync %s: %m", temp);
	if (rename(temp, path) < 0)
		return err_set(e, -errno, "rename %s to %s: %m", temp, path);
	return 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	cleanup_free char *temp = NULL;
	cleanup_fd int fd = -1;
	int r;

	if (asprintf(&temp, "%s.XXXXXX", path) < 0) {
		temp = NULL;
		return err_set(e, -ENOMEM, "write %s: out of memory", path);
	}
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "create a temporary file for %s: %m", path);

	r = write_and_rename(fd, temp, path, data, len, mode, e);
	if (r < 0)
		unlink(temp);
	return r;
}

static int mkdir_one(const char *path, mode_t mode, struct err *e)
{
	struct stat st;
	int r;

	if (mkdir(path, mode) == 0) {
		if (chmod(path, mode) == 0)
			return 0;
		r = -errno;
		rmdir(path);
		return err_set(e, r, "chmod folder %s: %s", path, strerrordesc_np(-r));
	}

	/* mkdir's reason is the better one (EROFS, EACCES) unless something is there */
	r = -errno;
	if (stat(path, &st) < 0)
		return err_set(e, r, "create folder %s: %s", path, strerrordesc_np(-r));
	if (!S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "%s is not a folder", path);
	return 0;
}

int file_mkdirs(const char *path, mode_t mode, struct err *e)
{
	cleanup_free char *copy = strdup(path);
	int r;

	if (!copy)
		return err_set(e, -ENOMEM, "create folder %s: out of memory", path);

	for (char *c = copy; *c; c++) {
		if (*c != '/' || c == copy || c[-1] == '/')
			continue;
		*c = '\0';
		r = mkdir_one(copy, mode, e);
		*c = '/';
		if (r < 0)
			return r;
	}
	return mkdir_one(copy, mode, e);
}

char *file_join(const char *dir, const char *name)
{
	size_t len = strlen(dir);
	char *path;

	if (name[0] == '/')
		return strdup(name);
	return asprintf(&path, "%s%s%s", dir, len > 0 && dir[len - 1] == '/' ? "" : "/", name) < 0 ? NULL : path;
}

char *file_dirname(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}
