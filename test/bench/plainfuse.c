/* What people would write with libfuse to show files of another folder: the high-level API with the settings of its
 * example hello.c (kernel_cache, timeouts of one second, threads), read-only. readpath.sh measures it beside secretlet.
 *
 *   plainfuse FOLDER COUNTER MOUNTPOINT [LIBFUSE-OPTION...]
 *
 * COUNTER is a file that gets, as a uint64_t, the number of requests that the kernel has sent (except FORGET). */
#define FUSE_USE_VERSION 312
#include <dirent.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/base.h"

static int root_fd;
static _Atomic(uint64_t) *n_requests;

/* Counts the request; libfuse's paths begin with a slash, the root folder's is nothing else. */
static const char *below_root(const char *path)
{
	atomic_fetch_add(n_requests, 1);
	return path[1] ? path + 1 : ".";
}

static void *plain_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	cfg->kernel_cache = 1;
	return NULL;
}

static int plain_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	return fstatat(root_fd, below_root(path), st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int plain_readlink(const char *path, char *target, size_t size)
{
	ssize_t n = readlinkat(root_fd, below_root(path), target, size - 1);

	if (n < 0)
		return -errno;
	target[n] = 0;
	return 0;
}

static int plain_open(const char *path, struct fuse_file_info *fi)
{
	int fd = openat(root_fd, below_root(path), fi->flags | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	fi->fh = (uint64_t)fd;
	return 0;
}

static int plain_read(const char *path, char *bytes, size_t size, off_t at, struct fuse_file_info *fi)
{
	ssize_t n;

	below_root(path);
	n = pread((int)fi->fh, bytes, size, at);
	return n < 0 ? -errno : (int)n;
}

static int plain_release(const char *path, struct fuse_file_info *fi)
{
	below_root(path);
	close((int)fi->fh);
	return 0;
}

static int plain_opendir(const char *path, struct fuse_file_info *fi)
{
	int fd = openat(root_fd, below_root(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (!dir) {
		close_fd(fd);
		return -errno;
	}
	fi->fh = (uint64_t)(uintptr_t)dir;
	return 0;
}

static int plain_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t at, struct fuse_file_info *fi,
			 enum fuse_readdir_flags flags)
{
	DIR *dir = (void *)(uintptr_t)fi->fh;

	below_root(path);
	seekdir(dir, at);
	for (struct dirent *entry; (entry = readdir(dir));) {
		struct stat st = { .st_ino = entry->d_ino, .st_mode = (mode_t)entry->d_type << 12 };

		if (fill(buf, entry->d_name, &st, telldir(dir), 0))
			break;
	}
	return 0;
}

static int plain_releasedir(const char *path, struct fuse_file_info *fi)
{
	below_root(path);
	closedir((DIR *)(uintptr_t)fi->fh);
	return 0;
}

static const struct fuse_operations operations = {
	.init = plain_init,
	.getattr = plain_getattr,
	.readlink = plain_readlink,
	.open = plain_open,
	.read = plain_read,
	.release = plain_release,
	.opendir = plain_opendir,
	.readdir = plain_readdir,
	.releasedir = plain_releasedir,
};

int main(int argc, char **argv)
{
	int fd;

	if (argc < 4) {
		fprintf(stderr, "usage: plainfuse FOLDER COUNTER MOUNTPOINT [LIBFUSE-OPTION...]\n");
		return 2;
	}
	root_fd = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (root_fd < 0 || fd < 0 || ftruncate(fd, sizeof(*n_requests)) < 0) {
		perror("plainfuse");
		return 1;
	}
	n_requests = mmap(NULL, sizeof(*n_requests), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (n_requests == MAP_FAILED) {
		perror("plainfuse: mmap");
		return 1;
	}
	argv[2] = argv[0];
	return fuse_main(argc - 2, argv + 2, &operations, NULL);
}
