/* Audit sink. A record is in the file as a whole line or not at all: what a full disk has cut is cut off again, and a file
 * that ends in half a line (of a machine that lost its power) gets a line end first.
 *
 * The journal is given its native datagrams (systemd.io/JOURNAL_NATIVE_PROTOCOL): sd_journal_sendv(3) says that all is well
 * when there is no journal, and records that nobody took must be counted. */
#include "agent/audit_sink.h"

#include <ctype.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent/audit.h"
#include "common/buf.h"
#include "common/file.h"
#include "common/str.h"

#define JOURNAL_DIR	 "/run/systemd/journal"
#define JOURNAL_NAME	 "socket"
#define JOURNAL_SOCKET	 JOURNAL_DIR "/" JOURNAL_NAME
#define JOURNAL_WAIT_SEC 1
#define DATAGRAM_MAX	 ((size_t)128 * 1024) /* a path and a cgroup of 4 KiB, escaped, twice */
#define NAME_MAX_BYTES	 64
#define LOOK_USEC	 USEC_PER_SEC /* between two looks at whether the file still has its name */

/* journalctl MESSAGE_ID=...: each of our records */
#define MESSAGE_ID "3f1c0d4f8a0b4f5e9f0a6a2d1c7be8a4"

struct audit_sink {
	char *path; /* NULL: the journal */
	int dir; /* only with keeps_folder: its folder, or why there is none */
	bool keeps_folder, lost;
	int fd; /* -1: not open */
	uint64_t looked_usec;
	bool broken; /* the file ends in a part of a line */
};

int audit_sink_new(const char *target, struct audit_sink **ret_s)
{
	cleanup(audit_sink_freep) struct audit_sink *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->fd = s->dir = -1;
	if (!str_eq(target, AUDIT_JOURNAL)) {
		s->path = strdup(target);
		if (!s->path)
			return -ENOMEM;
	}
	*ret_s = TAKE_PTR(s);
	return 0;
}

void audit_sink_free(struct audit_sink *s)
{
	if (!s)
		return;
	close_fd(s->fd);
	close_fd(s->dir);
	free(s->path);
	free(s);
}

int audit_sink_open_folder(const struct audit_sink *s, struct err *e)
{
	cleanup_free char *dir = s->path ? file_dirname(s->path) : strdup(JOURNAL_DIR);
	int fd, r;

	if (!dir)
		return err_set(e, -ENOMEM, "out of memory");
	r = s->path ? file_mkdirs(dir, 0700, e) : 0;
	if (r < 0)
		return r;
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_set(e, -errno, "open folder %s: %m", dir) : fd;
}

void audit_sink_keep_folder(struct audit_sink *s, int take_dirfd)
{
	audit_sink_reopen(s);
	s->dir = take_dirfd;
	s->keeps_folder = true;
	s->lost = take_dirfd < 0;
}

bool audit_sink_is_lost(const struct audit_sink *s)
{
	return s->lost;
}

void audit_sink_reopen(struct audit_sink *s)
{
	s->fd = close_fd(s->fd);
}

bool audit_sink_is_journal(const struct audit_sink *s)
{
	return !s->path;
}

/* ---- the file ---- */

static const char *file_name(const struct audit_sink *s)
{
	const char *slash = strrchr(s->path, '/');

	return slash ? slash + 1 : s->path;
}

/* The folder; *own, if it is to be closed. */
static int folder(const struct audit_sink *s, int *own, struct err *e)
{
	if (!s->keeps_folder)
		return *own = audit_sink_open_folder(s, e);
	if (s->dir < 0)
		return err_set(e, s->dir, "the folder of %s: %s", s->path ?: JOURNAL_SOCKET, strerror(-s->dir));
	return s->dir;
}

static int file_open(struct audit_sink *s, struct err *e)
{
	cleanup_fd int fd = -1, own = -1;
	int dir = folder(s, &own, e);
	struct stat st;
	char last;

	if (dir < 0)
		return dir;
	/* not through a link, and nothing that an open could wait for: whoever may write to its folder is not believed */
	fd = openat(dir, file_name(s), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK,
		    0600);
	s->lost = s->keeps_folder && fd < 0 && errno == ENOENT; /* it was removed */
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -errno, "open %s: %m", s->path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: is no regular file", s->path);
	s->broken = st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 && last != '\n';
	s->fd = TAKE_FD(fd);
	return 0;
}

/* Whoever rotates it renames it; we follow the name. */
static void file_look(struct audit_sink *s, uint64_t now_usec)
{
	struct stat ours, named;

	if (s->fd < 0 || (s->looked_usec && now_usec - s->looked_usec < LOOK_USEC))
		return;
	s->looked_usec = now_usec;
	if (fstat(s->fd, &ours) < 0 ||
	    (s->keeps_folder ? fstatat(s->dir, file_name(s), &named, AT_SYMLINK_NOFOLLOW) : lstat(s->path, &named)) <
		    0 ||
	    ours.st_dev != named.st_dev || ours.st_ino != named.st_ino)
		audit_sink_reopen(s);
}

/* n bytes of `lines` are in the file, which had room for no more. */
static size_t cut_off(struct audit_sink *s, const char *lines, size_t n)
{
	const char *end = n > 0 ? memrchr(lines, '\n', n) : NULL;
	size_t whole = end ? (size_t)(end - lines) + 1 : 0;
	struct stat st;

	if (whole < n &&
	    (fstat(s->fd, &st) < 0 || ftruncate(s->fd, MAX(st.st_size - (off_t)(n - whole), (off_t)0)) < 0))
		s->broken = true;
	return whole;
}

int audit_sink_write(struct audit_sink *s, const char *lines, size_t len, uint64_t now_usec, size_t *ret_taken,
		     struct err *e)
{
	size_t done = 0;
	int r;

	*ret_taken = 0;
	file_look(s, now_usec);
	if (s->fd < 0) {
		r = file_open(s, e);
		if (r < 0)
			return r;
	}
	if (s->broken && write(s->fd, "\n", 1) != 1)
		return err_set(e, -errno, "write %s: %m", s->path);
	s->broken = false;
	while (done < len) {
		ssize_t n = write(s->fd, lines + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r = n < 0 ? -errno : -ENOSPC;
			*ret_taken = cut_off(s, lines, done);
			/* it may be another file system's next time */
			if (r == -EIO || r == -EROFS || r == -ESTALE)
				audit_sink_reopen(s);
			return err_set(e, r, "write %s: %s", s->path, strerror(-r));
		}
		done += (size_t)n;
	}
	*ret_taken = len;
	return 0;
}

/* ---- the journal ---- */

static int journal_open(struct audit_sink *s, struct err *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET };
	const struct timeval limit = { .tv_sec = JOURNAL_WAIT_SEC };
	cleanup_fd int fd = -1, own = -1;
	int dir = s->keeps_folder ? folder(s, &own, e) : 0;

	if (dir < 0)
		return dir;
	/* /proc is the root folder then, and this is the only way to connect beneath a folder that is open */
	if (s->keeps_folder)
		snprintf(address.sun_path, sizeof(address.sun_path), "/self/fd/%d/" JOURNAL_NAME, dir);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return err_set(e, -errno, "the journal (" JOURNAL_SOCKET "): %m");
	s->fd = TAKE_FD(fd);
	return 0;
}

/* What others choose, as the record has it between its quotes. journalctl(1) hides a field with control characters in it,
 * and what forwards it may not. */
static int add_text(struct buf *b, const char *name, const json_t *value)
{
	cleanup_free char *text = json_dump_printable(value);

	return text ? buf_printf(b, "%s=%.*s\n", name, (int)strlen(text) - 2, text + 1) : -ENOMEM;
}

/* "startTicks" below "process" is SECRETLET_PROCESS_START_TICKS. */
static void field_name(const char *prefix, const char *key, char name[static NAME_MAX_BYTES])
{
	size_t len;

	snprintf(name, NAME_MAX_BYTES, "%s_", prefix);
	len = strlen(name);
	for (const char *k = key; *k && len + 2 < NAME_MAX_BYTES; k++) {
		if (k > key && isupper((unsigned char)*k) && islower((unsigned char)k[-1]))
			name[len++] = '_';
		name[len++] = (char)toupper((unsigned char)*k);
	}
	name[len] = '\0';
}

static int add_fields(struct buf *b, const char *prefix, json_t *record)
{
	char name[NAME_MAX_BYTES];
	const json_t *value;
	const char *key;
	int r = 0;

	json_object_foreach (record, key, value) {
		field_name(prefix, key, name);
		if (json_is_string(value)) {
			r = add_text(b, name, value);
		} else if (json_is_integer(value)) {
			r = buf_printf(b, "%s=%lld\n", name, (long long)json_integer_value(value));
		} else if (json_is_true(value)) {
			r = buf_printf(b, "%s=1\n", name);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int audit_sink_send(struct audit_sink *s, const char *message, json_t *record, const char *line, struct err *e)
{
	cleanup_buf struct buf b = BUF_INIT(DATAGRAM_MAX);
	cleanup_json json_t *text = json_text(message);
	json_t *pod = json_object_get(record, "pod"), *process = json_object_get(record, "process");
	int r;

	r = buf_printf(&b, "SYSLOG_IDENTIFIER=secretlet-audit\nPRIORITY=5\nMESSAGE_ID=" MESSAGE_ID "\n");
	if (r == 0)
		r = add_text(&b, "MESSAGE", text);
	if (r == 0)
		r = buf_printf(&b, "SECRETLET_RECORD=%s\n", line);
	if (r == 0)
		r = add_fields(&b, "SECRETLET", record);
	if (r == 0 && pod)
		r = add_fields(&b, "SECRETLET_POD", pod);
	if (r == 0 && process)
		r = add_fields(&b, "SECRETLET_PROCESS", process);
	if (r < 0)
		return err_set(e, r, "a record for the journal: %s", strerror(-r));
	/* one that was restarted refuses the old connection once */
	for (int i = 0; i < 2; i++) {
		if (s->fd < 0) {
			r = journal_open(s, e);
			if (r < 0)
				return r;
		}
		if (send(s->fd, b.data, b.len, MSG_NOSIGNAL) >= 0)
			return 0;
		r = -errno;
		s->fd = close_fd(s->fd);
		if (r != -ECONNREFUSED && r != -ENOTCONN)
			break;
	}
	return err_set(e, r, "the journal (" JOURNAL_SOCKET "): %s", strerror(-r));
}
