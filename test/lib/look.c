/* Look. */
#include "test/lib/look.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/file.h"
#include "common/str.h"

#define LOOK_MAX (64u << 20)

char *look_read(const char *path, size_t *ret_len)
{
	struct err e = ERR_INIT;
	char *data = NULL;
	size_t len;

	if (file_read(AT_FDCWD, path, LOOK_MAX, &data, &len, &e) < 0)
		fail_msg("%s", err_text(&e));
	if (ret_len)
		*ret_len = len;
	return data;
}

void look_is_text(const char *path, const char *text)
{
	look_is_bytes(path, text, strlen(text));
}

void look_is_bytes(const char *path, const void *want, size_t want_len)
{
	size_t len;
	cleanup_free char *data = look_read(path, &len);

	if (len != want_len)
		fail_msg("%s has %zu bytes and not %zu", path, len, want_len);
	assert_memory_equal(data, want, len);
}

static struct stat look_stat(const char *path, int flags)
{
	struct stat st;

	if (fstatat(AT_FDCWD, path, &st, flags) < 0)
		fail_msg("stat %s: %s", path, strerror(errno));
	return st;
}

mode_t look_mode(const char *path)
{
	return look_stat(path, 0).st_mode & 07777;
}

mode_t look_lmode(const char *path)
{
	return look_stat(path, AT_SYMLINK_NOFOLLOW).st_mode & 07777;
}

gid_t look_gid(const char *path)
{
	return look_stat(path, AT_SYMLINK_NOFOLLOW).st_gid;
}

uint64_t look_ino(const char *path)
{
	return look_stat(path, 0).st_ino;
}

const char *look_link(const char *path)
{
	static char targets[2][PATH_MAX];
	static unsigned next;
	char *target = targets[next++ % 2];
	ssize_t n = readlink(path, target, PATH_MAX - 1);

	if (n < 0)
		fail_msg("readlink %s: %s", path, strerror(errno));
	target[n] = 0;
	return target;
}

bool look_exists(const char *path)
{
	struct stat st;

	return fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

char *look_list(const char *path, const char *skip)
{
	struct buf b = BUF_INIT(LOOK_MAX);
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, by_name);

	if (n < 0)
		fail_msg("list %s: %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;

		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !(skip && str_starts(name, skip)))
			assert_int_equal(buf_printf(&b, "%s ", name), 0);
		free(entries[i]);
	}
	free(entries);
	return buf_take(&b);
}
